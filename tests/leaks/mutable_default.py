"""A default argument that is a list: made once, and never emptied."""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "memory"


class MutableDefault(Strategy):
    def decide(self, inputs: Inputs, seen: list[float] = []) -> Proposal | None:  # noqa: B006 - that is the leak
        seen.append(inputs.price)
        weight = 0.9 if inputs.price > sum(seen) / len(seen) else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
