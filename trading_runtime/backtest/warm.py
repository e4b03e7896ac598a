"""Fill every cache that a fresh process would otherwise fill itself: ``python -m trading_runtime.backtest.warm``.

Run once when an image is built. Kernels have fixed signatures and compile when their module is imported, so importing
is all it takes; the code hashes of the registered strategies are kept beside the bytecode.
"""

from __future__ import annotations

import time


def main() -> None:
    """Import the kernels, hash the strategies, and say how long it took."""
    started = time.perf_counter()
    import trading_runtime.backtest.kernel  # noqa: F401 -- importing compiles
    from trading_runtime.source import strategy_code_hash
    from trading_runtime.strategies import REGISTERED
    from trading_runtime.strategies.registry import find_strategy

    for name in REGISTERED:
        strategy_code_hash(find_strategy(name))
    print(f"kernels and code hashes are ready after {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
