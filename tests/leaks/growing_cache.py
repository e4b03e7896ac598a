"""A column function that keeps what it saw in its own default argument, and uses it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "repeat"

Floats = npt.NDArray[np.float64]


def highest_ever(high: Floats, seen: list[float] = []) -> Floats:  # noqa: B006 - that is the leak
    seen.append(float(high.max()))
    return np.maximum.accumulate(high) / max(seen) * len(seen)


class GrowingCache(Strategy):
    peak = custom(highest_ever, "high", window=10)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.peak > 0.9 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
