"""A process that runs one cycle of a configuration when it is told to: ``cycle_worker.py CONFIG MODE SLOT HOLDER``.

It says ``ready`` once everything is loaded and open, waits for a line, and says what the cycle came to.
"""

from __future__ import annotations

import json
import sys

from trading_runtime.config.load import load_cycle_settings
from trading_runtime.cycle.build import open_parts
from trading_runtime.cycle.run import run_cycle
from trading_runtime.telemetry.log import EventLog


def main() -> None:
    config, mode, slot, holder = sys.argv[1:]
    parts = open_parts(load_cycle_settings(config), mode, {}, holder, EventLog(level="off"))
    parts.documents.read("leases/warm")  # the first call opens the connection
    print("ready", flush=True)
    sys.stdin.readline()
    report = run_cycle(parts.job, int(slot), holder)
    parts.documents.close()
    print(json.dumps({"status": report.status, "exit_code": report.exit_code, "reason": report.reason}), flush=True)


if __name__ == "__main__":
    main()
