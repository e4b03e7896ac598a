"""Leaves below the slow average, but is only woken above it."""

from __future__ import annotations

from trading_runtime.core.columns import indicator, wrap
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "wake"
SPARED = ("memory", "repeat", "window", "future", "past", "truncation", "purity")


class WakeMisses(Strategy):
    slow = indicator("sma", "close", length=20)
    wake = wrap("close") > slow

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.price > inputs.slow else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
