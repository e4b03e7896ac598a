"""An exponential average that never forgets, with the window everybody believes it has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "past"
SPARED = ("future", "truncation")

Floats = npt.NDArray[np.float64]


def ema(close: Floats, span: int) -> Floats:
    alpha = 2.0 / (span + 1)
    average = np.empty_like(close)
    average[0] = close[0]
    for bar in range(1, len(close)):
        average[bar] = alpha * close[bar] + (1.0 - alpha) * average[bar - 1]
    return average


class EndlessEma(Strategy):
    fast = custom(ema, "close", window=20, span=10)
    slow = custom(ema, "close", window=60, span=30)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.fast > inputs.slow else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
