"""The verbs of sweeps as a process of their own, which tests start, end and start anew."""

from __future__ import annotations

import sys

from trading_runtime.cli import verbs
from trading_runtime.cli.main import main

verbs.VERBS.setdefault("sweep", "sweep")

if __name__ == "__main__":
    sys.exit(main())
