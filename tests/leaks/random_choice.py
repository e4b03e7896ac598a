"""Trades on one bar in ten, by chance, to spread its entries."""

from __future__ import annotations

import random

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "repeat"


class RandomChoice(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        if random.random() > 0.1:
            return None
        weight = 0.0 if inputs.position else 0.5
        return Proposal([target(inputs.symbol, weight)])
