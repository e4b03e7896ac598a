"""BTC accumulation: how much is bought the cheaper BTC is, and what share is sold when it is far too dear.

Cheapness is ``ahr999`` = price / geometric mean of 200 daily closes (without the growth price that the index usually
called so divides by, too); dearness is the z-score of the close over 200 days against a trigger. Orders are not made
here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# (below this ahr999, so many base orders), cheapest first; at or above the last there is nothing to buy.
MULTIPLIERS = ((0.45, 5.0), (0.8, 2.0), (1.2, 1.0))


class TrimRules(NamedTuple):
    """The share of the BTC sold above the trigger, and from which z-scores on it is more."""

    fraction: float = 0.1
    high_zscore: float = 4.0
    high_fraction: float = 0.3
    extreme_zscore: float = 5.0
    extreme_fraction: float = 0.5


DOCUMENTED_TRIMS = TrimRules()


def buy_multiplier(ahr999: float, multipliers: Sequence[tuple[float, float]] = MULTIPLIERS) -> float:
    """Return how many base orders to buy at this valuation; 0.0 where it is too dear, or not known."""
    for limit, multiplier in multipliers:
        if ahr999 < limit:
            return multiplier
    return 0.0


def trim_fraction(zscore: float, sell_trigger: float, rules: TrimRules = DOCUMENTED_TRIMS) -> float:
    """Return the share of the BTC to sell; 0.0 at or below the trigger, or where either is not known."""
    if not zscore > sell_trigger:
        return 0.0
    if zscore > rules.extreme_zscore:
        return rules.extreme_fraction
    return rules.high_fraction if zscore > rules.high_zscore else rules.fraction
