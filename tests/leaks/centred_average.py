"""A moving average whose window is centred on the bar instead of ending at it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def smooth(close: Floats) -> Floats:
    return np.convolve(close, np.ones(9) / 9, mode="same")


class CentredAverage(Strategy):
    trend = custom(smooth, "close", window=9)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.price > inputs.trend else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
