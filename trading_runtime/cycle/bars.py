"""The bars of a cycle: exactly the declared ones, closed, complete, fresh, and what of them the journal still lacks.

One bar more than declared is asked for: with it the bars that the journal holds can be recognised, so that only new
ones are recorded, and a source that has changed its past is caught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import DataError, TemporaryError
from trading_runtime.core.slot import bars_reference
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.clock import Clock
from trading_runtime.exchanges.port import Feed

PUBLISHED_SECONDS_MAX = 30.0
PAUSE_SECONDS = 2.0


class Rows(NamedTuple):
    """Bars that the journal lacks: [open time, open, high, low, close, volume] by symbol; ``revised`` are symbols whose
    recorded bars are not what the source says now.
    """

    rows: dict[str, list[list[float]]]
    revised: tuple[str, ...]


def gather_bars(
    feed: Feed, clock: Clock, symbols: Sequence[str], timeframe: str, bar_ms: int, count: int, slot: int
) -> dict[str, Bars]:
    """Return the last ``count`` closed bars of each symbol up to ``slot``, fewer where a symbol is younger.

    Waits a little for a bar that has just closed. Raises TemporaryError when bars are missing, gapped or not there yet.
    """
    found: dict[str, Bars] = {}
    waited = 0.0
    for symbol in symbols:
        while symbol not in found:
            try:
                series = feed.bars(symbol, timeframe, count, slot)
                if int(series.open_time[-1]) + bar_ms != slot:
                    newest = iso_time(int(series.open_time[-1]) + bar_ms)
                    raise DataError(f"{symbol} {timeframe}: the newest bar closed at {newest}, not at {iso_time(slot)}")
                found[symbol] = series.slice(max(len(series) - count, 0), len(series))
            except DataError as error:
                if waited >= PUBLISHED_SECONDS_MAX:
                    raise TemporaryError(f"no decision: {error}") from error
                clock.sleep(PAUSE_SECONDS)
                waited += PAUSE_SECONDS
    return found


def window(bars: Mapping[str, Bars], count: int, slot: int) -> dict[str, Bars]:
    """Return the last ``count`` bars of each symbol up to ``slot``; a symbol without any by then is left out."""
    cut: dict[str, Bars] = {}
    for symbol, series in bars.items():
        stop = (slot - int(series.open_time[0])) // series.bar_ms
        if stop >= 1:
            cut[symbol] = series.slice(max(stop - count, 0), stop)
    return cut


def rows_to_record(whole: Mapping[str, Bars], cut: Mapping[str, Bars], kept: Mapping[str, dict[str, Any]]) -> Rows:
    """Return what the journal needs to have every bar of ``cut``; ``kept`` names what it has by symbol."""
    rows: dict[str, list[list[float]]] = {}
    revised = []
    for symbol, series in cut.items():
        first, last = int(series.open_time[0]), int(series.open_time[-1])
        reference = kept.get(symbol)
        start = first
        if reference is not None and reference["timeframe"] == series.timeframe:
            known = _named(whole[symbol], reference)
            known_end = reference["first_open"] + reference["count"] * series.bar_ms
            if known is None:
                if known_end > first:
                    revised.append(symbol)
            elif reference["first_open"] <= first <= known_end:
                start = min(known_end, last + series.bar_ms)
        rows[symbol] = _rows(series, (start - first) // series.bar_ms)
    return Rows({symbol: new for symbol, new in rows.items() if new}, tuple(revised))


def bars_from_rows(symbol: str, timeframe: str, rows: Sequence[Sequence[float]]) -> Bars:
    """Return the bars that were recorded as rows, ascending; raises BarsError when they are none."""
    import numpy as np

    columns = list(zip(*rows, strict=True))
    return Bars(
        symbol,
        timeframe,
        np.array(columns[0], dtype=np.int64),
        *(np.array(one, dtype=np.float64) for one in columns[1:]),
    )


def keep(cut: Mapping[str, Bars]) -> dict[str, dict[str, Any]]:
    """Return the names of bars that the journal now has."""
    return {symbol: bars_reference(series) for symbol, series in cut.items()}


def _named(series: Bars, reference: Mapping[str, Any]) -> Bars | None:
    """Return the part of ``series`` that a reference names, None when the source no longer has just that."""
    start = (reference["first_open"] - int(series.open_time[0])) // series.bar_ms
    stop = start + reference["count"]
    if start < 0 or stop > len(series):
        return None
    part = series.slice(start, stop)
    return part if bars_reference(part) == reference else None


def _rows(series: Bars, start: int) -> list[list[float]]:
    columns = [series.open_time[start:].tolist(), *(getattr(series, name)[start:].tolist() for name in FIELDS)]
    return [list(row) for row in zip(*columns, strict=True)]
