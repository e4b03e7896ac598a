"""A moving average by differences of a running sum: its last digits depend on where the data begins."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "past"
SPARED = ("future", "truncation")

Floats = npt.NDArray[np.float64]


def quick_mean(close: Floats) -> Floats:
    total = np.cumsum(close)
    means = np.full(len(close), np.nan)
    means[19] = total[19] / 20
    means[20:] = (total[20:] - total[:-20]) / 20
    return means


class RunningSum(Strategy):
    mean = custom(quick_mean, "close", window=20)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.price > inputs.mean else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
