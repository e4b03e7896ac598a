"""Prices gathered in a list of the module: full in a backtest, empty in every live cycle."""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "memory"

_prices: list[float] = []


class ModuleList(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        _prices.append(inputs.price)
        recent = _prices[-20:]
        weight = 0.9 if inputs.price > sum(recent) / len(recent) else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
