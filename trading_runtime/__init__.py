"""Trading Runtime: one strategy, decided the same way live and in a backtest.

    gather (edges) ──► decide (pure core) ──► apply (edges)

``core`` holds what must never differ between live trading and simulation, ``strategies`` what people write,
and everything else surrounds them. Nothing is imported here, so that a job pays only for what it uses.
"""

__version__ = "0.1.0"
