"""Compile every kernel into its cache: run once when an image is built (``python -m trading_runtime.backtest.warm``).

Kernels have fixed signatures and compile when their module is imported, so importing is all it takes.
"""

from __future__ import annotations

import time


def main() -> None:
    """Import the kernels and say how long it took."""
    started = time.perf_counter()
    import trading_runtime.backtest.kernel  # noqa: F401 -- importing compiles

    print(f"kernels are ready after {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
