"""Standardised over the whole series, as one does to a training set."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def standardised(close: Floats) -> Floats:
    return (close - close.mean()) / (close.std() + 1e-12)


class WholeSeriesZScore(Strategy):
    score = custom(standardised, "close", window=50)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.score < -0.5 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
