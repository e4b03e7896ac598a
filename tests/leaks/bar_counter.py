"""Acts on every twelfth bar of the run: a live cycle does not know when the run began."""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "window"
SPARED = ("memory", "truncation")


class BarCounter(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.index % 12:
            return None
        weight = 0.0 if inputs.position else 0.9
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
