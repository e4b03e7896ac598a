"""A fixed cycle of the live-pool strategy on the snapshots of the tests; the options are those of
``trading-runtime replay-fixture``.

    python run_cycle_replay.py --run-id local-check

Nothing is sent, nothing is kept, and two runs print the same bytes.
"""

import sys
from pathlib import Path

from trading_runtime.cli.main import main, prepare_process

FIXTURES = Path(__file__).resolve().parent / "tests" / "data" / "cycle_replay"

if __name__ == "__main__":
    given = sys.argv[1:]
    folder = [] if any(word.split("=")[0] == "--fixtures-dir" for word in given) else ["--fixtures-dir", str(FIXTURES)]
    prepare_process()
    raise SystemExit(main(["replay-fixture", *folder, *given]))
