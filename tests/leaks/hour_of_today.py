"""Wants to know the hour of the bar and asks for the hour of now."""

from __future__ import annotations

from datetime import UTC, datetime

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "repeat"


class HourOfToday(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if datetime.now(UTC).hour < 12 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
