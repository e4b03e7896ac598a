"""Looks at the next bar only where it rises by more than eight per cent: a handful of bars in hundreds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def alarm(high: Floats, close: Floats) -> Floats:
    ahead = np.append(high[1:], 0.0)
    return np.where(ahead > close * 1.08, 1.0, 0.0)


class RarePeek(Strategy):
    crash = custom(alarm, "high", "close", window=1)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.crash > 0.0 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
