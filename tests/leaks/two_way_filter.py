"""Smoothed forwards and then backwards, so that it does not lag: the backward pass comes from ahead."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def smooth(close: Floats) -> Floats:
    smoothed = close.copy()
    for bar in range(1, len(smoothed)):
        smoothed[bar] = 0.3 * smoothed[bar] + 0.7 * smoothed[bar - 1]
    for bar in range(len(smoothed) - 2, -1, -1):
        smoothed[bar] = 0.3 * smoothed[bar] + 0.7 * smoothed[bar + 1]
    return smoothed


class TwoWayFilter(Strategy):
    trend = custom(smooth, "close", window=40)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.price > inputs.trend else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
