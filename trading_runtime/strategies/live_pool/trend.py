"""Trend rotation: which symbols of the pool qualify, how the best are weighted, and when a holding is sold.

    relative score    = (0.5 * (roc20 - btc20) + 0.3 * (roc60 - btc60) + 0.2 * (roc120 - btc120)) / vol20
    absolute momentum = 0.5 * roc20 + 0.3 * roc60 + 0.2 * roc120

All indicators are of closed daily bars; NaN is a missing one, and what is missing never qualifies. Cash is not counted
here (``allocation.py``), and no order is made.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

INVERSE_VOLATILITY = "inverse_volatility"
EQUAL = "equal"
WEIGHTINGS = (INVERSE_VOLATILITY, EQUAL)


class Indicators(NamedTuple):
    """One symbol's own indicators: averages and range are prices, changes and deviation are fractions."""

    sma20: float
    sma60: float
    sma200: float
    roc20: float
    roc60: float
    roc120: float
    vol20: float
    atr14: float

    def missing(self) -> list[str]:
        return [name for name, value in zip(self._fields, self, strict=True) if value != value]


UNKNOWN = Indicators(*[math.nan] * len(Indicators._fields))


class Benchmark(NamedTuple):
    """What the trend sleeve needs to know of BTC. ``ma200_slope`` is the 20-day change of ma200, a fraction."""

    price: float
    ma200: float
    ma200_slope: float
    roc20: float
    roc60: float
    roc120: float

    def missing(self) -> list[str]:
        return [name for name, value in zip(self._fields, self, strict=True) if value != value]

    def regime_on(self) -> bool | None:
        """Whether BTC rises: above its average, and that rising. None where it cannot be known."""
        if math.isnan(self.price) or math.isnan(self.ma200) or math.isnan(self.ma200_slope):
            return None
        return self.price > self.ma200 and self.ma200_slope > 0.0


class Candidate(NamedTuple):
    """One symbol of the pool, judged: ``reasons`` are all the conditions it fails, none when it qualifies. The scores
    are None where they cannot be worked out.
    """

    symbol: str
    reasons: tuple[str, ...]
    relative_score: float | None
    absolute_momentum: float | None
    vol20: float


def candidate(symbol: str, price: float, own: Indicators, btc: Benchmark) -> Candidate:
    """Return the judgement of one symbol; ``price`` is NaN where there is none."""
    reasons: list[str] = []
    regime_on = btc.regime_on()
    momentum_known = not (math.isnan(btc.roc20) or math.isnan(btc.roc60) or math.isnan(btc.roc120))
    if regime_on is False:
        reasons.append("btc_regime_off")
    if regime_on is None or not momentum_known:
        reasons.append("missing_btc_momentum")
    missing = own.missing()
    if len(missing) == len(own):
        reasons.append("missing_indicators")
    elif missing:
        reasons.append(f"missing_fields:{','.join(missing)}")
    if math.isnan(price):
        reasons.append("missing_price")
    for name, average in (("sma20", own.sma20), ("sma60", own.sma60), ("sma200", own.sma200)):
        if price <= average:
            reasons.append(f"price_lte_{name}")
    if own.vol20 <= 0.0:
        reasons.append("vol20_lte_zero")
    absolute = 0.5 * own.roc20 + 0.3 * own.roc60 + 0.2 * own.roc120
    relative = math.nan
    if own.vol20 > 0.0:
        ahead = 0.5 * (own.roc20 - btc.roc20) + 0.3 * (own.roc60 - btc.roc60) + 0.2 * (own.roc120 - btc.roc120)
        relative = ahead / own.vol20
    if relative <= 0.0:
        reasons.append("relative_score_lte_zero")
    if absolute <= 0.0:
        reasons.append("abs_momentum_lte_zero")
    if not reasons and not (math.isfinite(relative) and math.isfinite(absolute)):
        reasons.append("unknown_filter")
    return Candidate(symbol, tuple(reasons), _known(relative), _known(absolute), own.vol20)


def selected_weights(
    candidates: Sequence[Candidate], top_n: int, weighting: str = INVERSE_VOLATILITY
) -> dict[str, float]:
    """Return symbol -> weight of the best ``top_n`` that qualify, best first; the weights sum to 1. Of equal scores the
    one that comes first in the pool is better.
    """
    qualified = [(one, one.relative_score) for one in candidates if not one.reasons and one.relative_score is not None]
    best = [one for one, _ in sorted(qualified, key=lambda pair: -pair[1])[:top_n]]
    parts = {one.symbol: 1.0 if weighting == EQUAL else 1.0 / one.vol20 for one in best}
    return renormalised(parts)


def renormalised(parts: Mapping[str, float]) -> dict[str, float]:
    """Return the parts divided by their sum, in their order."""
    total = sum(parts.values())
    return {symbol: part / total for symbol, part in parts.items()}


def raised_high(kept: float | None, entry_price: float, price: float) -> float:
    """Return the highest price a holding has seen: from its entry price on, never falling. A price that is missing, or
    an entry price of 0, does not count.
    """
    known = [value for value in (kept, entry_price, price) if value is not None and value > 0.0]
    return max(known, default=0.0)


def exit_reason(
    price: float, own: Indicators, highest: float, atr_multiple: float, *, is_rotated_out: bool | None
) -> str | None:
    """Return why a holding is to be sold at ``price``, the first reason that holds, or None to keep it.

    ``is_rotated_out`` is None where that cannot be known; the reasons that need only the symbol's own data still hold.
    """
    if own.missing():
        return "indicators_missing"
    if is_rotated_out:
        return "rotated_out"
    if price < own.sma60:
        return "price_below_sma60"
    if price < highest - atr_multiple * own.atr14:
        return "trailing_stop"
    return None


def budgets(weights: Mapping[str, float], eligible: Collection[str], cash: float) -> dict[str, tuple[float, float]]:
    """Return symbol -> (budget, weight) of the eligible buys, in rank order: ``cash`` shared by the weights
    renormalised over them, so that it does not matter which is bought first.
    """
    shares = renormalised({symbol: weight for symbol, weight in weights.items() if symbol in eligible})
    return {symbol: (cash * weight, weight) for symbol, weight in shares.items()}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
