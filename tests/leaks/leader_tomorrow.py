"""Follows the leading symbol, whose next bar it joins by mistake: a merge that is off by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"


def change_ahead(close: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.append(np.diff(close) / close[:-1], 0.0)


class LeaderTomorrow(Strategy):
    lead = custom(change_ahead, "close", window=2, universe=True)

    def decide(self, inputs: Inputs) -> Proposal | None:
        best = max(range(len(inputs.symbols)), key=lambda index: (inputs.lead[index], -index))
        chosen = inputs.symbols[best]
        if inputs.state.get("chosen") == chosen:
            return None
        intents = [target(symbol, 0.9 if symbol == chosen else 0.0) for symbol in inputs.symbols]
        return Proposal(intents, state={"chosen": chosen})
