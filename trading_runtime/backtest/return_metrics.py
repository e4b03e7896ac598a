"""Metrics that the returns of an equity curve and a kernel's statistics suffice for, of one run or of many at once.

What runs over the same bars share is computed once. Every reduction is exactly rounded or done on integers, as in
``metrics.py``, which says why, and adds what only trades and whole curves can tell. Formulas: ``docs/metrics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trading_runtime.backtest.compound import compound
from trading_runtime.backtest.tables import Floats, Integers
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.timeframes import DAY_MS

Value = float | int | str | None

# Twelve of float64's nearly sixteen digits are published: the rest is rounding, and a reader who recomputes a
# figure in another order of operations still finds the same text.
PUBLISHED_DIGITS = 12

# Returns are quotients near 1 less 1 and so carry an error near 2**-53; a spread below this is that error,
# not risk.
_NO_SPREAD = 2.0**-50

# Between these a float of PUBLISHED_DIGITS digits has one text of so few digits, and ``repr`` and the format "g" agree
# on it.
_PLAIN_MIN, _PLAIN_MAX = 1e-300, 1e11


class ReturnStatistics:
    """The metrics of many runs over the same bars that a kernel's statistics suffice for, to the same digits as
    ``compute_metrics``. What the runs share is computed once.

    ``unit`` is the quote unit as a fraction, ``time_ms`` the bars' closes.
    """

    def __init__(
        self,
        unit: tuple[int, int],
        start_cash: float,
        time_ms: Integers,
        bar_ms: int,
        periods_per_year: float = 365,
        risk_free_rate_annual: float = 0.0,
    ) -> None:
        self._unit = unit
        self._start_cash = start_cash
        self._bars = len(time_ms)
        self._basis = Basis(time_ms, bar_ms, periods_per_year, risk_free_rate_annual)
        self._templates: dict[int, tuple[str, list[str]]] = {}

    def values(self, samples: Integers, statistics: Floats) -> list[dict[str, Value]]:
        """Return the metrics of each run, not yet rounded to what is published.

        ``samples`` is the equity, in quote units, at ``sampled_bars``, shape (runs, samples); ``statistics`` is what
        ``kernel.equity_statistics`` fills, shape (runs, 6).
        """
        varying = self._varying(samples, statistics)
        return [{**self._shared(samples.shape[1]), **values} for values in varying]

    def texts(self, samples: Integers, statistics: Floats) -> list[bytes]:
        """Return the canonical JSON of each run's published metrics; arguments as ``values``."""
        varying = self._varying(samples, statistics)
        if not varying:
            return []
        count = samples.shape[1]
        if count not in self._templates:
            self._templates[count] = _template(self._shared(count), varying[0])
        template, names = self._templates[count]
        return [(template % tuple([published_text(values[name]) for name in names])).encode() for values in varying]

    def _shared(self, count: int) -> dict[str, Value]:
        return {**self._basis.values, "return_count": count, "start_equity": self._start_cash}

    def _varying(self, samples: Integers, statistics: Floats) -> list[dict[str, Value]]:
        numerator, denominator = self._unit
        sampled = np.empty((len(samples), samples.shape[1] + 1))
        sampled[:, 0] = self._start_cash
        sampled[:, 1:] = samples.astype(np.float64) * numerator / denominator
        start, exponent = self._start_cash, 1.0 / self._basis.years
        found: list[dict[str, Value]] = []
        for end, risk, figures in zip(
            sampled[:, -1].tolist(), risks_of(sampled, self._basis), statistics.tolist(), strict=True
        ):
            deepest, fees, slippage, funding, fills, exposed = figures
            total = (end - start) / start
            annual = compound(total, exponent)
            found.append(
                {
                    "end_equity": end,
                    "total_return_fraction": total,
                    "annual_return_fraction": annual,
                    "maximum_drawdown_fraction": deepest,
                    "calmar_ratio": quotient_of(annual, deepest),
                    "exposure_time_fraction": int(exposed) / self._bars,
                    "fills": int(fills),
                    "fees": fees * numerator / denominator,
                    "slippage": slippage * numerator / denominator,
                    "funding": funding * numerator / denominator,
                    **risk,
                }
            )
        return found


class Basis:
    """What returns are measured over: the sample, periods per year and the risk-free rate of one period."""

    def __init__(self, time_ms: Integers, bar_ms: int, periods_per_year: float, risk_free_rate_annual: float) -> None:
        self.daily = bar_ms < DAY_MS
        self.days_per_year = float(periods_per_year)
        self.returns_per_year = self.days_per_year if self.daily else periods_per_year * DAY_MS / bar_ms
        elapsed_ms = int(time_ms[-1]) - int(time_ms[0]) + bar_ms
        self.years = elapsed_ms / (periods_per_year * DAY_MS)
        exponent = 1.0 / self.returns_per_year
        self.free_rate = compound(risk_free_rate_annual, exponent) if risk_free_rate_annual else 0.0
        self.root = math.sqrt(self.returns_per_year)
        self.values: dict[str, Value] = {
            "return_sample": "UTC day" if self.daily else "bar",
            "periods_per_year": self.returns_per_year,
            "days_per_year": self.days_per_year,
            "risk_free_rate_annual": risk_free_rate_annual,
            "period_days": elapsed_ms / DAY_MS,
        }


def return_values(sampled: list[float], basis: Basis) -> dict[str, Value]:
    """Return the metrics of the first and last equity; ``sampled`` begins with the starting cash."""
    start, total = sampled[0], (sampled[-1] - sampled[0]) / sampled[0]
    return {
        **basis.values,
        "return_count": len(sampled) - 1,
        "start_equity": start,
        "end_equity": sampled[-1],
        "total_return_fraction": total,
        "annual_return_fraction": compound(total, 1.0 / basis.years),
    }


def sampled_bars(time_ms: Integers, bar_ms: int) -> Integers:
    """Return the bars at whose close returns are sampled: the last of each UTC day, or every bar of a day or
    longer.
    """
    return _day_ends(time_ms) if bar_ms < DAY_MS else np.arange(len(time_ms))


def published(value: Value) -> Value:
    """Return a float rounded to ``PUBLISHED_DIGITS`` significant digits, None when it is not finite; others
    unchanged.
    """
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return float(f"{value:.{PUBLISHED_DIGITS - 1}e}") + 0.0  # adding zero turns -0.0 into 0.0


def published_text(value: Value) -> str:
    """Return the canonical JSON of ``published(value)``."""
    if type(value) is int:
        return str(value)
    if not isinstance(value, float):
        return canonical_json(value).decode()
    if _PLAIN_MIN < value < _PLAIN_MAX or -_PLAIN_MAX < value < -_PLAIN_MIN:
        text = f"{value:.{PUBLISHED_DIGITS}g}"
        return text if "." in text or "e" in text else f"{text}.0"
    if value == 0.0:  # as costs often are
        return "0.0"
    return canonical_json(published(value)).decode()


def _template(shared: dict[str, Value], varying: dict[str, Value]) -> tuple[str, list[str]]:
    """Return the canonical JSON of metrics with %s in place of each that varies, and the names of those in order."""
    parts = []
    for name in sorted({*shared, *varying}):
        text = "%s" if name in varying else published_text(shared[name]).replace("%", "%%")
        parts.append(f'"{name}":{text}')
    return "{" + ",".join(parts) + "}", sorted(varying)


def _day_ends(time_ms: Integers) -> Integers:
    """Return the index of the last close of each UTC day; a close at midnight belongs to the day it ends."""
    day = (time_ms - 1) // DAY_MS
    return np.append(np.flatnonzero(day[1:] != day[:-1]), len(day) - 1)


def mean_of(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def variance_of(values: Sequence[float]) -> float:
    """Return the sample variance (n - 1); zero for a spread that is only rounding."""
    mean = mean_of(values)
    variance = math.fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1)
    return variance if variance > _NO_SPREAD * _NO_SPREAD else 0.0


def deviation_of(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, None for fewer than two values."""
    return math.sqrt(variance_of(values)) if len(values) > 1 else None


def quotient_of(dividend: Value, divisor: Value) -> float | None:
    """Return dividend / divisor, None when either is missing or the divisor is zero."""
    if not isinstance(dividend, int | float) or not isinstance(divisor, int | float) or not divisor:
        return None
    return dividend / divisor


def risks_of(sampled: Floats, basis: Basis) -> list[dict[str, Value]]:
    """Return volatility, Sharpe and Sortino ratio of each run: ``sampled`` is equity, shape (runs, samples), beginning
    with the starting cash.

    None where returns do not exist, because equity before one is not positive, and where there are too few of them.
    """
    with np.errstate(all="ignore"):  # of runs that have no returns
        known = np.isfinite(sampled).all(axis=1) & (sampled[:, :-1] > 0.0).all(axis=1)
        returns = (sampled[:, 1:] - sampled[:, :-1]) / sampled[:, :-1]
    unknown: dict[str, Value] = dict.fromkeys(("volatility_annual_fraction", "sharpe_ratio", "sortino_ratio"))
    found = [unknown] * len(sampled)
    places = np.flatnonzero(known)
    for place, values in zip(places.tolist(), _known_risks(returns[places], basis), strict=True):
        found[place] = values
    return found


def _known_risks(returns: Floats, basis: Basis) -> list[dict[str, Value]]:
    count, free_rate, root = returns.shape[1], basis.free_rate, basis.root
    means = [math.fsum(row) / count for row in returns.tolist()]
    with np.errstate(all="ignore"):  # beyond float64 is infinity, which is published as None
        offsets = returns - np.array(means)[:, np.newaxis]
        squares = (offsets * offsets).tolist()
        excess = returns if not free_rate else returns - free_rate
        losses = np.where(excess < 0.0, excess, 0.0)
        downsides = (losses * losses).tolist()
    if excess is not returns:
        means = [math.fsum(row) / count for row in excess.tolist()]
    found: list[dict[str, Value]] = []
    for mean, square, downside in zip(means, squares, downsides, strict=True):
        volatility = sharpe = sortino = None
        below = math.sqrt(math.fsum(downside) / count)
        if count > 1:
            variance = math.fsum(square) / (count - 1)
            deviation = math.sqrt(variance) if variance > _NO_SPREAD * _NO_SPREAD else 0.0
            volatility = deviation * root
            if free_rate is not None:
                sharpe = mean / deviation * root if deviation else None
                sortino = mean / below * root if below > _NO_SPREAD else None
        found.append({"volatility_annual_fraction": volatility, "sharpe_ratio": sharpe, "sortino_ratio": sortino})
    return found
