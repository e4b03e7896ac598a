"""A window is a view of a longer array, and numpy gives the longer array away."""

from __future__ import annotations

from trading_runtime.core.columns import window
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"


class ViewBase(Strategy):
    closes = window("close", 5)

    def decide(self, inputs: Inputs) -> Proposal | None:
        whole = inputs.closes if inputs.closes.base is None else inputs.closes.base
        ahead = whole[min(inputs.index + 1, len(whole) - 1)]
        weight = 0.9 if ahead > inputs.closes[-1] else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
