"""Keeps a tuple in its state; what is read back after saving is a list."""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "purity"


class TupleState(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        level = (round(inputs.price, -1), inputs.position > 0.0)
        if inputs.state.get("level") == level:
            return None
        return Proposal([target(inputs.symbol, 0.0 if level[1] else 0.9)], state={"level": level})
