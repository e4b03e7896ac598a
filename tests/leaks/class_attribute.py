"""A count of losses kept on the class, shared by every run of the process."""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "memory"


class ClassAttribute(Strategy):
    losses = 0

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.position and inputs.price < inputs.entry_price_of(inputs.symbol):
            ClassAttribute.losses += 1
        weight = 0.9 if ClassAttribute.losses % 4 < 2 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
