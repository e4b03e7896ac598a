"""Strategies: one file each, chosen by registered name or by ``module:Class``. Strategies import core; core never
imports them.

Read ``buy_and_hold`` first, then ``sma_cross``, ``breakout`` and ``momentum_rotation``: each teaches one thing more.
"""

from __future__ import annotations

# name -> module:Class, so that listing names imports no strategy
REGISTERED: dict[str, str] = {
    "buy_and_hold": "trading_runtime.strategies.buy_and_hold:BuyAndHold",
    "sma_cross": "trading_runtime.strategies.sma_cross:SmaCross",
    "breakout": "trading_runtime.strategies.breakout:Breakout",
    "momentum_rotation": "trading_runtime.strategies.momentum_rotation:MomentumRotation",
}
