"""Bars without volume have no price per unit; the holes are filled from the bar after them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import custom
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

CAUGHT_BY = "future"

Floats = npt.NDArray[np.float64]


def range_per_unit(high: Floats, low: Floats, volume: Floats) -> Floats:
    with np.errstate(all="ignore"):
        values = np.where(volume > 0.0, (high - low) / volume, np.nan)
    for bar in range(len(values) - 2, -1, -1):
        if np.isnan(values[bar]):
            values[bar] = values[bar + 1]
    return values


class Backfill(Strategy):
    effort = custom(range_per_unit, "high", "low", "volume", window=1)

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.9 if inputs.effort < 0.05 else 0.0
        if inputs.state.get("weight", 0.0) == weight:
            return None
        return Proposal([target(inputs.symbol, weight)], state={"weight": weight})
