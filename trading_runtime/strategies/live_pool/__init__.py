"""The parts of ``crypto_live_pool_rotation``.

    situation ──► draft ◄── trend_orders, core_orders          decision: the order of the steps
    allocation, pool, trend, accumulation, breaker, sizing, attempts: the rules, pure functions of plain values
    columns, logarithms: what the declared columns need beyond the indicators of the core

The strategy itself, with its parameters and columns, is in ``../crypto_live_pool_rotation.py``.
"""
