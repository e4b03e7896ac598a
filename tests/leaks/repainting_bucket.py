"""The high of the four-bar bucket at hand, finished or not: it moves until the bucket ends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def bucket_high(high: Floats) -> Floats:
    filled = np.empty_like(high)
    for start in range(0, len(high), 4):
        filled[start : start + 4] = high[start : start + 4].max()
    return filled


class RepaintingBucket(Strategy):
    ceiling = custom(bucket_high, "high", window=8)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.price >= inputs.ceiling * 0.995 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
