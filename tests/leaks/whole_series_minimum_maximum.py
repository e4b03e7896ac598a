"""Scaled to 0..1 between the lowest and the highest price there will ever be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def scaled(close: Floats) -> Floats:
    lowest, highest = close.min(), close.max()
    return (close - lowest) / (highest - lowest + 1e-12)


class WholeSeriesMinimumMaximum(Strategy):
    place = custom(scaled, "close", window=30)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.place < 0.3 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
