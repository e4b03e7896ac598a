"""Closed bars of an exchange: exactly the ones that are wanted, checked, never the one that is still forming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import DataError
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.exchanges.port import Interval
from trading_runtime.exchanges.structures import OddAnswer

Row = tuple[int | float, ...]
Page = Callable[[int, int], list[Row]]  # (first open time, number of rows) to candles


def closed_bars(
    symbol: str,
    timeframe: str,
    count: int,
    close_ms: int,
    rows_max: int,
    page: Page,
    still: Sequence[Interval] = (),
) -> Bars:
    """Return the ``count`` bars of which the last closed at ``close_ms``, or those since the symbol's first. What is
    missing within ``still``, when the market stood still, is flat at the close before, of volume 0.

    Raises DataError when the newest is not published yet or one is missing, BarsError (a DataError) when one cannot be.
    """
    bar_ms = timeframe_ms(timeframe)
    if count < 1 or bucket_open_ms(close_ms, bar_ms) != close_ms:
        raise DataError(f"{symbol} {timeframe}: no {count} bar(s) close at {iso_time(close_ms)}")
    first_ms, found = close_ms - count * bar_ms, dict[int, Row]()
    since_ms = min([first_ms, *(_bar_before(start, bar_ms) for start, end in still if start <= first_ms < end)])
    while since_ms < close_ms:
        wanted = min(rows_max, (close_ms - since_ms) // bar_ms)
        rows = {int(row[0]): row for row in page(since_ms, wanted)}
        new = {time: row for time, row in rows.items() if since_ms <= time < close_ms}
        found.update(new)
        if not new:
            break
        since_ms = max(new) + bar_ms
    for time in range(min(found, default=close_ms) + bar_ms, close_ms, bar_ms):
        if time not in found and any(start <= time and time + bar_ms <= end for start, end in still):
            before = found.get(time - bar_ms)
            if before is not None:
                found[time] = (time, before[4], before[4], before[4], before[4], 0.0)
    times = sorted(time for time in found if time >= first_ms)
    if not times or times[-1] != close_ms - bar_ms:
        raise DataError(f"{symbol} {timeframe}: the bar that closes at {iso_time(close_ms)} is not published yet")
    if times[0] != first_ms:
        oldest = min((int(row[0]) for row in page(0, 1)), default=times[0])
        if oldest < first_ms:
            raise DataError(
                f"{symbol} {timeframe}: the bars from {iso_time(first_ms)} to {iso_time(times[0])} are missing"
            )
    columns = np.array([found[time][1:6] for time in times], dtype=np.float64)
    return Bars(symbol, timeframe, np.array(times, dtype=np.int64), *(columns[:, index] for index in range(5)))


def _bar_before(time_ms: int, bar_ms: int) -> int:
    """Return the open time of the bar that was forming, or had just closed, at ``time_ms``."""
    return bucket_open_ms(time_ms - 1, bar_ms)


def checked_rows(rows: Any) -> list[Row]:
    """Return ccxt's candles as numbers: open time, four prices, volume; raises OddAnswer when they are not candles."""
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) >= 6 and row[0] for row in rows):
        raise OddAnswer("the answer is not a list of candles")
    return [(int(row[0]), *map(_number, row[1:6])) for row in rows]


def _number(value: object) -> float:
    """Return a price or volume; a missing one is not a number, which no bar may hold."""
    return float("nan") if value is None else float(str(value))
