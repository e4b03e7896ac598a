"""Bars: closed candles of one symbol, as contiguous columns that have been checked once.

Nothing downstream checks again: whoever holds a ``Bars`` may rely on equal lengths, strictly even steps, positive
finite prices and a possible high and low. What is *good* data beyond that (outliers, zero volume, revisions) is the
business of ``data/quality.py``; this file only refuses what no engine may ever see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trading_runtime.core.errors import BarsError
from trading_runtime.core.hashing import array_hash
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False)
class Bars:
    """Closed bars of one symbol and timeframe; every column has shape (n,), times are milliseconds UTC.

    Raises BarsError, naming the first offending row, for unequal lengths, no rows, disorder, duplicates, gaps, open
    times off the timeframe's grid, NaN, non-positive prices, negative volume or an impossible high or low.
    """

    symbol: str
    timeframe: str
    open_time: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    bar_ms: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bar_ms", timeframe_ms(self.timeframe))
        object.__setattr__(self, "open_time", _frozen(self.open_time, np.int64))
        for name in FIELDS:
            object.__setattr__(self, name, _frozen(getattr(self, name), np.float64))
        _check_times(self)
        _check_prices(self)

    def __len__(self) -> int:
        return len(self.open_time)

    @property
    def close_time(self) -> Integers:
        """Close times, milliseconds, shape (n,): the moment from which each bar is known."""
        return self.open_time + self.bar_ms

    def slice(self, start: int, stop: int) -> Bars:
        """Return rows ``start`` to ``stop`` (exclusive) as Bars of their own."""
        return Bars(
            self.symbol,
            self.timeframe,
            self.open_time[start:stop],
            *(getattr(self, name)[start:stop] for name in FIELDS),
        )

    def between(self, start_ms: int | None, end_ms: int | None) -> Bars:
        """Return the bars that open at or after ``start_ms`` and close at or before ``end_ms``; raises BarsError if
        none do.
        """
        first = 0 if start_ms is None else int(np.searchsorted(self.open_time, start_ms, side="left"))
        last = len(self) if end_ms is None else int(np.searchsorted(self.open_time, end_ms - self.bar_ms, side="right"))
        if last <= first:
            raise BarsError(
                f"{self.symbol} {self.timeframe}: no bar lies in the period; "
                f"the data covers {iso_time(int(self.open_time[0]))} to {iso_time(int(self.close_time[-1]))}"
            )
        return self.slice(first, last)

    def content_hash(self) -> str:
        """Return the SHA-256 of timeframe and columns: equal bars have equal hashes whatever file they came from."""
        return array_hash(
            np.array([self.bar_ms], dtype=np.int64), self.open_time, *(getattr(self, name) for name in FIELDS)
        )


def resample(bars: Bars, timeframe: str) -> Bars:
    """Return ``bars`` aggregated to a longer timeframe; incomplete first and last buckets are dropped.

    Raises BarsError when the timeframe is not a whole multiple, or when not even one bucket is complete.
    """
    target_ms = timeframe_ms(timeframe)
    if target_ms % bars.bar_ms:
        raise BarsError(f"{bars.symbol}: {timeframe} is not a whole multiple of {bars.timeframe}")
    ratio = target_ms // bars.bar_ms
    first_time = int(bars.open_time[0])
    bucket = bucket_open_ms(first_time, target_ms)
    skip = 0 if bucket == first_time else (bucket + target_ms - first_time) // bars.bar_ms
    count = (len(bars) - skip) // ratio
    if count < 1:
        raise BarsError(f"{bars.symbol}: the {len(bars)} bars of {bars.timeframe} do not fill one bar of {timeframe}")
    end = skip + count * ratio

    def table(column: npt.NDArray[np.float64]) -> Floats:
        return column[skip:end].reshape(count, ratio)

    volume = np.zeros(count)
    for offset in range(ratio):  # a fixed order of additions: numpy's own sum may order them by processor
        volume += table(bars.volume)[:, offset]
    return Bars(
        bars.symbol,
        timeframe,
        bars.open_time[skip:end:ratio],
        table(bars.open)[:, 0],
        table(bars.high).max(axis=1),
        table(bars.low).min(axis=1),
        table(bars.close)[:, -1],
        volume,
    )


def _frozen(column: npt.ArrayLike, kind: type) -> npt.NDArray[Any]:
    """Return a contiguous read-only column; only one that nobody else can write, such as a slice of bars, is not
    copied.
    """
    if isinstance(column, np.ndarray) and column.dtype == kind and column.flags.c_contiguous and _is_frozen(column):
        return column
    array: npt.NDArray[Any] = np.array(column, dtype=kind, order="C")
    array.flags.writeable = False
    return array


def _is_frozen(array: npt.NDArray[Any]) -> bool:
    """Whether the memory is numpy's own and read-only from view to owner: a read-only view of a writable array or of a
    foreign buffer (Python array, memory map, pandas) may still change.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        if owner.base is None:
            return owner.flags.owndata
        owner = owner.base
    return False


def _check_times(bars: Bars) -> None:
    where = f"{bars.symbol} {bars.timeframe}"
    rows = len(bars.open_time)
    if bars.open_time.ndim != 1 or any(getattr(bars, name).shape != (rows,) for name in FIELDS):
        raise BarsError(f"{where}: columns differ in length")
    if rows == 0:
        raise BarsError(f"{where}: there are no bars")
    if bucket_open_ms(int(bars.open_time[0]), bars.bar_ms) != int(bars.open_time[0]):
        raise BarsError(f"{where}: row 0 opens at {iso_time(int(bars.open_time[0]))}, which is not a bar boundary")
    steps = np.diff(bars.open_time)
    wrong = np.flatnonzero(steps != bars.bar_ms)
    if len(wrong):
        row = int(wrong[0]) + 1
        step = int(steps[row - 1])
        kind = (
            "repeats"
            if step == 0
            else "goes back from"
            if step < 0
            else "leaves a gap after"
            if step > bars.bar_ms
            else "is too close to"
        )
        raise BarsError(
            f"{where}: row {row} ({iso_time(int(bars.open_time[row]))}) {kind} row {row - 1} "
            f"({iso_time(int(bars.open_time[row - 1]))}); {len(wrong)} such step(s) in all"
        )


def _check_prices(bars: Bars) -> None:
    where = f"{bars.symbol} {bars.timeframe}"
    for name in FIELDS:
        column = getattr(bars, name)
        bad = ~np.isfinite(column) | (column < 0.0 if name == "volume" else column <= 0.0)
        if bad.any():
            row = int(np.argmax(bad))
            raise BarsError(
                f"{where}: row {row} ({iso_time(int(bars.open_time[row]))}) has {name} {float(column[row])!r}"
            )
    top = np.maximum(bars.open, bars.close)
    bottom = np.minimum(bars.open, bars.close)
    bad = (bars.high < top) | (bars.low > bottom)
    if bad.any():
        row = int(np.argmax(bad))
        prices = ", ".join(f"{name} {float(getattr(bars, name)[row])!r}" for name in FIELDS[:4])
        raise BarsError(f"{where}: row {row} ({iso_time(int(bars.open_time[row]))}) is impossible: {prices}")
