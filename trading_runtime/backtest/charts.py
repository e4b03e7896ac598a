"""What the report draws, as plain numbers: thinned curves, months, a histogram and groups of trades.

Thinning keeps the extremes of every bucket, so a spike of one bar is still there after a million bars have
become a few thousand points. Nothing here knows HTML, and nothing is averaged away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trading_runtime.backtest.tables import Floats, Integers

CURVE_BUCKETS = 700  # at most about seven points each: well below a quarter of a megabyte of text
HISTOGRAM_BINS_MAX = 30
MARKED_TRADES_MAX = 6_000


def thinned_rows(series: Sequence[Floats], buckets: int = CURVE_BUCKETS) -> Integers:
    """Return the rows to keep: first, last, and in each bucket the rows of every series' lowest and highest
    value.
    """
    rows = len(series[0])
    width = -(-rows // buckets)
    if width <= 4:  # at most one bucket's worth of points each: thinning would save nothing
        return np.arange(rows)
    whole = rows // width
    kept = [np.array([0, rows - 1])]
    for values in series:
        table = values[: whole * width].reshape(whole, width)
        starts = np.arange(whole) * width
        kept += [starts + table.argmin(axis=1), starts + table.argmax(axis=1)]
        if rest := rows - whole * width:
            tail = values[-rest:]
            kept.append(np.array([rows - rest + int(tail.argmin()), rows - rest + int(tail.argmax())]))
    return np.unique(np.concatenate(kept))


def compact(values: Floats, digits: int = 6) -> list[float | int | None]:
    """Return values rounded to ``digits`` significant digits, whole ones as integers: less than a pixel, half
    the text.
    """
    result: list[float | int | None] = []
    for value in values.tolist():
        if not math.isfinite(value):
            result.append(None)
            continue
        short = float(f"{value:.{digits}g}")
        result.append(int(short) if short.is_integer() and abs(short) < 1e15 else short)
    return result


def time_steps(time_ms: Integers) -> dict[str, Any]:
    """Return times as a first value, a common unit and differences in it: a few characters for each instead
    of ten.
    """
    if not len(time_ms):
        return {"first": 0, "unit": 1, "steps": []}
    steps = np.diff(time_ms)
    unit = int(np.gcd.reduce(steps)) if len(steps) else 1
    return {"first": int(time_ms[0]), "unit": max(unit, 1), "steps": (steps // max(unit, 1)).tolist()}


@dataclass(frozen=True)
class YearOfReturns:
    """Returns of one calendar year in UTC: twelve months (None outside the run) and the year as a whole."""

    year: int
    months: tuple[float | None, ...]
    total: float | None


def monthly_returns(time_ms: Integers, equity: Floats, start_equity: float) -> list[YearOfReturns]:
    """Return the months and years of an equity curve stamped at bar closes; the first month begins at the
    start.

    A return is None where the equity before it is not positive.
    """
    # A close at midnight belongs to the month it ends.
    month = (time_ms - 1).astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    ends = np.append(np.flatnonzero(month[1:] != month[:-1]), len(month) - 1)
    closes = dict(zip(month[ends].tolist(), equity[ends].tolist(), strict=True))
    years: list[YearOfReturns] = []
    before = start_equity
    for year in range(min(closes) // 12, max(closes) // 12 + 1):
        year_start = before
        months: list[float | None] = []
        for number in range(year * 12, year * 12 + 12):
            close = closes.get(number)
            months.append(None if close is None else _change(before, close))
            before = before if close is None else close
        years.append(YearOfReturns(1970 + year, tuple(months), _change(year_start, before)))
    return years


def _change(before: float, after: float) -> float | None:
    return (after - before) / before if before > 0.0 else None


@dataclass(frozen=True)
class Bin:
    """One column of a histogram: values from ``low`` to below ``high``; None is open towards that side."""

    low: float | None
    high: float | None
    count: int


def histogram(values: Sequence[float], bins_max: int = HISTOGRAM_BINS_MAX) -> list[Bin]:
    """Return bins of a round width with a border at zero; the outermost ones collect what lies far outside.

    The width follows the middle 96 % of the values, so that one outlier does not press all others into one
    bin.
    """
    if not values:
        return []
    ranked = sorted(values)
    low, high = ranked[len(ranked) // 50], ranked[-1 - len(ranked) // 50]
    width = _round_width((max(high, 0.0) - min(low, 0.0)) / (bins_max - 2))
    first, last = math.floor(min(low, 0.0) / width), max(math.floor(high / width), 0)
    counts: dict[int, int] = {}
    for value in ranked:
        place = min(max(math.floor(value / width), first), last)
        counts[place] = counts.get(place, 0) + 1
    open_low, open_high = ranked[0] < first * width, ranked[-1] >= (last + 1) * width
    return [
        Bin(
            None if place == first and open_low else place * width,
            None if place == last and open_high else (place + 1) * width,
            counts.get(place, 0),
        )
        for place in range(first, last + 1)
    ]


def _round_width(width: float) -> float:
    """Return the next of 1, 2, 2.5, 5, 10 times a power of ten that is not below ``width``."""
    if width <= 0.0:
        return 0.001
    power = float(f"1e{math.floor(math.log10(width))}")
    return next((step * power for step in (1.0, 2.0, 2.5, 5.0) if step * power >= width * (1.0 - 1e-9)), 10.0 * power)


@dataclass(frozen=True)
class TradeGroup:
    """Closed trades that share a word: their exit reason, or their symbol."""

    name: str
    trades: int
    wins: int
    pnl: float
    average_return: float
    average_bars: float


def group_trades(
    names: Sequence[str], pnl: Sequence[float], returns: Sequence[float], bars: Sequence[int]
) -> list[TradeGroup]:
    """Return groups of trades by name, the one that earned most first."""
    members: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        members.setdefault(name, []).append(row)
    groups = [
        TradeGroup(
            name,
            len(rows),
            sum(pnl[row] > 0.0 for row in rows),
            math.fsum(pnl[row] for row in rows),
            math.fsum(returns[row] for row in rows) / len(rows),
            sum(bars[row] for row in rows) / len(rows),
        )
        for name, rows in members.items()
    ]
    return sorted(groups, key=lambda group: (-group.pnl, group.name))


def marked_trades(pnl: Sequence[float], most: int = MARKED_TRADES_MAX) -> list[int]:
    """Return the rows of the trades a price chart marks: all, or those that moved the account most."""
    if len(pnl) <= most:
        return list(range(len(pnl)))
    largest = sorted(range(len(pnl)), key=lambda row: (-abs(pnl[row]), row))[:most]
    return sorted(largest)
