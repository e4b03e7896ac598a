"""Refuses to act on old bars, by the clock of the machine: in a backtest every bar is old."""

from __future__ import annotations

import time

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "repeat"


class StaleByTheClock(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        age_hours = (time.time() * 1000 - inputs.as_of) / 3_600_000
        weight = 0.9 if age_hours % 48 < 24 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
