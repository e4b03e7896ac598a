"""Strategies: one file each, chosen by registered name or by ``module:Class``. Strategies import core; core never
imports them.

Read ``buy_and_hold`` first, then ``sma_cross``, ``breakout`` and ``momentum_rotation``: each teaches one thing more,
and each trades any market. ``crypto_live_pool_rotation`` is the production strategy; it needs an artifact, its pool.
"""

from __future__ import annotations

# name -> module:Class, so that listing names imports no strategy
EXAMPLES: dict[str, str] = {
    "buy_and_hold": "trading_runtime.strategies.buy_and_hold:BuyAndHold",
    "sma_cross": "trading_runtime.strategies.sma_cross:SmaCross",
    "breakout": "trading_runtime.strategies.breakout:Breakout",
    "momentum_rotation": "trading_runtime.strategies.momentum_rotation:MomentumRotation",
}
LIVE_POOL = "trading_runtime.strategies.crypto_live_pool_rotation:CryptoLivePoolRotation"
REGISTERED: dict[str, str] = {
    **EXAMPLES,
    "crypto_live_pool_rotation": LIVE_POOL,
    "crypto_leader_rotation": LIVE_POOL,  # its former name, still written in configurations
}
