"""Needs fifty bars and declares ten: a backtest never notices, a live cycle gets ten."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "past"
SPARED = ("future", "truncation")

Floats = npt.NDArray[np.float64]


def mean_of_fifty(close: Floats) -> Floats:
    means = np.full(len(close), np.nan)
    for bar in range(len(close)):
        means[bar] = np.mean(close[max(bar - 49, 0) : bar + 1])
    return means


class ShortDeclaration(Strategy):
    mean = custom(mean_of_fifty, "close", window=10)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.price > inputs.mean else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
