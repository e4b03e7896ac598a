"""Labels made for training, next bar's close, left in as a feature."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def next_close(close: Floats) -> Floats:
    return np.roll(close, -1)


class FutureShift(Strategy):
    tomorrow = custom(next_close, "close", window=1)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.tomorrow > inputs.price * 1.001 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
