"""Index -1 means this bar to its author; of a whole array it is the last bar of the data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def distance(close: Floats) -> Floats:
    return close / close[-1] - 1.0


class LastValue(Strategy):
    gap = custom(distance, "close", window=20)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.gap < -0.02 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
