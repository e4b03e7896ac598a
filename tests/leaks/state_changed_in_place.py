"""Counts in the state it was given instead of returning a new one: the count is never saved."""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "purity"


class StateChangedInPlace(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        inputs.state["bars"] = inputs.state.get("bars", 0) + 1
        if inputs.state["bars"] % 10:
            return None
        weight = 0.0 if inputs.position else 0.9
        return Proposal([target(inputs.symbol, weight)])
