"""Reads the next close through the private part of the inputs."""

from __future__ import annotations

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"


class PrivateSource(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        closes = inputs._source._market.close[0]
        ahead = closes[min(inputs.index + 1, len(closes) - 1)]
        weight = 0.9 if ahead > inputs.price else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
