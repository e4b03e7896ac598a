"""np.gradient takes the difference of both neighbours, and one of them is tomorrow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def slope(close: Floats) -> Floats:
    return np.gradient(close)


class CentralDifference(Strategy):
    slope = custom(slope, "close", window=3)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.slope > 0.0 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
