"""Woken by tomorrow's bar: a backtest wakes it in time, a live cycle never does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom, wrap
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"


def next_close(close: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.append(close[1:], close[-1])


class WakeLooksAhead(Strategy):
    wake = custom(next_close, "close", window=1) > wrap("close")

    def decide(self, inputs: Inputs) -> Proposal | None:
        return None if inputs.position else Proposal([target(inputs.symbol, 0.9)])
