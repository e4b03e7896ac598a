"""A little noise against overfitting, different each time it is computed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "repeat"

Floats = npt.NDArray[np.float64]


def noisy(close: Floats) -> Floats:
    return close * (1.0 + np.random.normal(0.0, 1e-4, len(close)))


class NoisyColumn(Strategy):
    seen = custom(noisy, "close", window=1)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.seen > inputs.price else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
