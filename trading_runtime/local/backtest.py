"""A backtest on this machine, with the options of ``trading-runtime backtest``; nothing has to be installed
as a package.

    python trading_runtime/local/backtest.py --config trading_runtime/local/local.json

Works from any folder, by its path or as ``python -m trading_runtime.local.backtest``. What it defines would
exist twice, as ``__main__`` and as itself, so it defines nothing.
"""

import sys
from pathlib import Path

if not __package__:  # started by its path: look for packages in the repository, not in this folder
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from trading_runtime.cli.main import main, prepare_process

if __name__ == "__main__":
    prepare_process()
    raise SystemExit(main(["backtest", *sys.argv[1:]]))
