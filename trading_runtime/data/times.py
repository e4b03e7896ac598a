"""Open times as people and exchanges write them, turned into milliseconds: seconds to nanoseconds, dates, ISO
texts.

The unit of a number is read from its magnitude: between 2000 and 2100 the four units' ranges do not touch.
Nothing here decides what is good: rows in another unit than most, or between two milliseconds, are reported
to whoever judges the bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from trading_runtime.core.bars import Floats, Integers
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.timeframes import DAY_MS

# Units per second. Short names first: they are what --time-unit takes.
UNIT_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# 2000-01-01 and 2100-01-01 in seconds: no exchange candle lies outside, and the ranges of the four units stay
# apart.
_EARLIEST_S = 946_684_800
_LATEST_S = 4_102_444_800
# 2200-01-01 in seconds: the limit of times whose unit is given, so that every message can show them.
_BEYOND_S = 7_258_118_400
# Binance: "From 1st January 2025 onwards, all timestamps" of the spot archive are in microseconds
# (binance-public-data).
ARCHIVE_SWITCH_MS = 1_735_689_600_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Times:
    """Milliseconds UTC, shape (n,); the unit most rows had; positions in another unit and between two
    milliseconds.

    ``switched`` says that the rows change once, at 2025-01-01, from milliseconds to microseconds, as the
    Binance archive does.
    """

    milliseconds: Integers
    unit: str
    other_unit: Integers
    fractional: Integers
    switched: bool = False


_NONE = np.zeros(0, dtype=np.int64)


def times_from_integers(values: Integers, rows: Integers, where: str, unit: str | None = None) -> Times:
    """Return Times of whole numbers; the unit is detected row by row unless given.

    Raises DataError naming the first row whose number is no time in any unit, ConfigurationError for an
    unknown unit.
    """
    if unit is not None:
        per_second = _unit_per_second(unit)
        beyond = np.flatnonzero((values < 0) | (values >= _BEYOND_S * per_second))
        if len(beyond):
            first = int(beyond[0])
            raise DataError(
                f"{where}: row {int(rows[first])}: {int(values[first])} {unit} is not a time between 1970 and 2200"
            )
        if unit == "ms":
            return Times(values, unit, _NONE, _NONE)
        return _scaled(values, np.full(len(values), per_second, dtype=np.int64), unit, _NONE, switched=False)
    dates = _calendar_dates(values)
    if dates is not None:
        return Times(dates, "calendar date", _NONE, _NONE)
    per_second_of_row = np.zeros(len(values), dtype=np.int64)
    for per_second in UNIT_PER_SECOND.values():
        inside = (values >= _EARLIEST_S * per_second) & (values < _LATEST_S * per_second)
        per_second_of_row[inside] = per_second
    unknown = np.flatnonzero(per_second_of_row == 0)
    if len(unknown):
        first = int(unknown[0])
        raise DataError(
            f"{where}: row {int(rows[first])}: {int(values[first])} is not a time between 2000 and 2100 in "
            "seconds, milliseconds, "
            "microseconds or nanoseconds; name the right column with --column time=NAME or the unit with "
            "--time-unit"
        )
    kinds, counts = np.unique(per_second_of_row, return_counts=True)
    main = int(kinds[np.argmax(counts)])
    unit_name = next(name for name, per_second in UNIT_PER_SECOND.items() if per_second == main)
    other = np.flatnonzero(per_second_of_row != main)
    times = _scaled(values, per_second_of_row, unit_name, other, switched=False)
    if len(other) and set(kinds.tolist()) == {UNIT_PER_SECOND["ms"], UNIT_PER_SECOND["us"]}:
        is_new = times.milliseconds >= ARCHIVE_SWITCH_MS
        if bool(np.array_equal(is_new, per_second_of_row == UNIT_PER_SECOND["us"])):
            return Times(times.milliseconds, "ms, from 2025-01-01 us", _NONE, times.fractional, switched=True)
    return times


def times_from_floats(values: Floats, rows: Integers, where: str, unit: str | None = None) -> Times:
    """Return Times of numbers written with a decimal point (``1704067200.0``), rounded to the nearest
    millisecond.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(f"{where}: row {int(rows[bad[0]])} has no time")
    large = np.flatnonzero(np.abs(values) >= 2.0**62)
    if len(large):
        raise DataError(f"{where}: row {int(rows[large[0]])}: {float(values[large[0]])!r} is not a time")
    whole = np.rint(values)
    if bool((whole == values).all()):
        return times_from_integers(whole.astype(np.int64), rows, where, unit)
    # Only seconds are written with a fraction in practice; the fraction of finer units is below a
    # millisecond.
    kinds = times_from_integers(np.floor(values).astype(np.int64), rows, where, unit)
    if len(kinds.other_unit) or kinds.unit not in UNIT_PER_SECOND:
        return kinds
    exact = values * (1_000.0 / UNIT_PER_SECOND[kinds.unit])
    milliseconds = np.rint(exact).astype(np.int64)
    # Half a microsecond: what float64 keeps of today's seconds.
    fractional = np.flatnonzero(np.abs(exact - milliseconds) > 5e-4)
    return Times(milliseconds, kinds.unit, _NONE, fractional)


def times_from_texts(values: Sequence[str | None], rows: Integers, where: str) -> Times:
    """Return Times of ISO texts, with or without a zone (none means UTC); numbers among them are detected by
    magnitude.

    Raises DataError naming the first row that is neither.
    """
    milliseconds = np.empty(len(values), dtype=np.int64)
    fractional: list[int] = []
    for position, value in enumerate(values):
        text = (value or "").strip().removesuffix(" UTC")
        if text.isascii() and text.isdigit() and len(text) > 8:
            one = times_from_integers(np.array([int(text)]), rows[position : position + 1], where)
            milliseconds[position] = one.milliseconds[0]
            continue
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            shown = "no time" if not text else f"{text!r}, which is not an ISO time (2024-01-31 12:00:00)"
            raise DataError(f"{where}: row {int(rows[position])} has {shown}") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
        milliseconds[position] = microseconds // 1_000
        if microseconds % 1_000:
            fractional.append(position)
    return Times(milliseconds, "ISO text", _NONE, np.array(fractional, dtype=np.int64))


def _scaled(values: Integers, per_second: Integers, unit: str, other: Integers, *, switched: bool) -> Times:
    """Return milliseconds rounded down, and where something was lost by it."""
    milliseconds = np.array(values, dtype=np.int64)
    fractional = np.zeros(len(values), dtype=np.bool_)
    for scale in np.unique(per_second).tolist():
        chosen = per_second == scale
        if scale < 1_000:
            milliseconds[chosen] = values[chosen] * (1_000 // scale)
        else:
            divisor = scale // 1_000
            milliseconds[chosen] = values[chosen] // divisor
            fractional[chosen] = values[chosen] % divisor != 0
    return Times(milliseconds, unit, other, np.flatnonzero(fractional), switched)


def _calendar_dates(values: Integers) -> Integers | None:
    """Return midnights when every number reads as YYYYMMDD, else None."""
    if not len(values) or int(values.min()) < 19_900_101 or int(values.max()) > 21_001_231:
        return None
    midnights = np.empty(len(values), dtype=np.int64)
    for position, value in enumerate(values.tolist()):
        try:
            moment = datetime(value // 10_000, value // 100 % 100, value % 100, tzinfo=UTC)
        except ValueError:
            return None
        midnights[position] = (moment - _EPOCH).days * DAY_MS
    return midnights


def _unit_per_second(unit: str) -> int:
    try:
        return UNIT_PER_SECOND[unit]
    except KeyError:
        raise ConfigurationError(f"unknown time unit {unit!r} (known: {', '.join(UNIT_PER_SECOND)})") from None
