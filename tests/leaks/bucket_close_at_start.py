"""Closes of four-bar buckets, filled forward from each bucket's first bar: known three bars early."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def bucket_close(close: Floats) -> Floats:
    filled = np.empty_like(close)
    for start in range(0, len(close), 4):
        filled[start : start + 4] = close[start : start + 4][-1]
    return filled


class BucketCloseAtStart(Strategy):
    longer = custom(bucket_close, "close", window=8)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.longer > inputs.price else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
