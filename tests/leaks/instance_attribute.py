"""Yesterday's price kept on self: a live cycle is a new process and knows no yesterday."""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "memory"


class InstanceAttribute(Strategy):
    previous = None

    def decide(self, inputs: Inputs) -> Proposal | None:
        before, self.previous = self.previous, inputs.price
        weight = 0.9 if before is not None and inputs.price > before else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
