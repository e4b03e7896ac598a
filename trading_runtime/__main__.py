"""``python -m trading_runtime``: the same as the command ``trading-runtime``."""

from trading_runtime.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
