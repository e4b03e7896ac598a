"""The bars of a cycle: exactly the declared ones, closed, complete, fresh, and what of them the journal still lacks.

One bar more than declared is asked for: with it the bars that the journal holds can be recognised, so that only new
ones are recorded, and a source that has changed its past is caught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, NamedTuple

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import DataError, TemporaryError
from trading_runtime.core.slot import bars_reference
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.cycle.clock import Clock
from trading_runtime.exchanges.port import Feed, Interval, bars_over

PUBLISHED_SECONDS_MAX = 30.0
OPTIONAL_SECONDS_MAX = 4.0
PAUSE_SECONDS = 2.0
# Binance answers with at most 1,000 candles a request.
BARS_ASKED_MAX = 1_000


class Rows(NamedTuple):
    """Bars that the journal lacks: [open time, open, high, low, close, volume] by symbol; ``revised`` are symbols whose
    recorded bars are not what the source says now.
    """

    rows: dict[str, list[list[float]]]
    revised: tuple[str, ...]


def gather_bars(
    feed: Feed,
    clock: Clock,
    symbols: Sequence[str],
    timeframe: str,
    bar_ms: int,
    count: int,
    slot: int,
    patience_seconds: float = PUBLISHED_SECONDS_MAX,
    still: Mapping[str, Sequence[Interval]] = MappingProxyType({}),
) -> dict[str, Bars]:
    """Return the last ``count`` closed bars of each symbol up to ``slot``, fewer where a symbol is younger; flat ones
    within ``still``, when its market stood still, where there are no others.

    Waits a little for a bar that has just closed. Raises TemporaryError when bars are missing, gapped or not there yet.
    """
    found: dict[str, Bars] = {}
    waited = 0.0
    for symbol in symbols:
        while symbol not in found:
            try:
                series = bars_over(feed, symbol, timeframe, count, slot, still.get(symbol, ()))
                if int(series.open_time[-1]) + bar_ms != slot:
                    newest = iso_time(int(series.open_time[-1]) + bar_ms)
                    raise DataError(f"{symbol} {timeframe}: the newest bar closed at {newest}, not at {iso_time(slot)}")
                found[symbol] = series.slice(max(len(series) - count, 0), len(series))
            except DataError as error:
                if waited >= patience_seconds:
                    raise TemporaryError(f"no decision: {error}") from error
                clock.sleep(PAUSE_SECONDS)
                waited += PAUSE_SECONDS
    return found


class Needs(NamedTuple):
    """How many bars one decision depends on: of the slots' timeframe, and of longer ones that are asked for apart."""

    own: int
    longer: Mapping[str, int]


def needs_of(strategy: Strategy, bar_ms: int) -> Needs:
    """Return what to ask for. Two years of days are 700 bars of a day, and 17,000 of an hour: longer bars are asked for
    where the shorter ones would take more than one question.
    """
    count = strategy.bars_needed(bar_ms)
    if count <= BARS_ASKED_MAX:
        return Needs(count, {})
    return Needs(*strategy.longer_bars_needed(bar_ms))


def gather_all(
    feed: Feed,
    clock: Clock,
    symbols: Sequence[str],
    timeframe: str,
    needs: Needs,
    slots: Sequence[int],
    optional: Set[str] = frozenset(),
    still: Mapping[str, Sequence[Interval]] = MappingProxyType({}),
) -> dict[str, Bars]:
    """Return all that decisions at ``slots`` (ascending) depend on, by symbol, longer ones by their ``longer_name``;
    one bar more of each than is declared. ``still`` as in ``gather_bars``.

    Raises as ``gather_bars``, but an ``optional`` symbol without bars, or without longer ones, is left out: it may be
    too young, or not be traded any more, and nothing is held of it.
    """
    bar_ms, last = timeframe_ms(timeframe), slots[-1]
    found: dict[str, Bars] = {}

    def gather(symbol: str, of_timeframe: str, of_ms: int, count: int, close: int) -> Bars | None:
        patience = OPTIONAL_SECONDS_MAX if symbol in optional else PUBLISHED_SECONDS_MAX
        try:
            return gather_bars(feed, clock, [symbol], of_timeframe, of_ms, count, close, patience, still)[symbol]
        except TemporaryError:
            if symbol not in optional:
                raise
            return None

    for symbol in symbols:
        series = gather(symbol, timeframe, bar_ms, needs.own + len(slots), last)
        if series is None:
            continue
        found[symbol] = series
        for longer, count in needs.longer.items():
            longer_ms = timeframe_ms(longer)
            newest = bucket_open_ms(last, longer_ms)
            passed = (newest - bucket_open_ms(slots[0], longer_ms)) // longer_ms
            wider = gather(symbol, longer, longer_ms, count + 1 + passed, newest)
            if wider is not None:
                found[longer_name(symbol, longer)] = wider
    return found


def longer_name(symbol: str, timeframe: str) -> str:
    """Return what a series of a longer timeframe is called among bars by symbol."""
    return f"{symbol}@{timeframe}"


def is_longer_name(name: str) -> bool:
    return "@" in name


def longer_of(cut: Mapping[str, Bars]) -> dict[str, dict[str, Bars]]:
    """Return the series of longer timeframes among ``cut``, by timeframe and symbol."""
    found: dict[str, dict[str, Bars]] = {}
    for name, series in cut.items():
        if is_longer_name(name):
            found.setdefault(series.timeframe, {})[series.symbol] = series
    return found


def cut_at(bars: Mapping[str, Bars], needs: Needs, slot: int, more: int = 0) -> dict[str, Bars]:
    """Return the last of each series up to ``slot``: what a decision then depends on, and ``more`` bars before it."""
    cut = window(plain(bars), needs.own + more, slot)
    for timeframe, count in needs.longer.items():
        series = {name: one for name, one in bars.items() if is_longer_name(name) and one.timeframe == timeframe}
        cut |= window(series, count + more, bucket_open_ms(slot, timeframe_ms(timeframe)))
    return cut


def plain(cut: Mapping[str, Bars]) -> dict[str, Bars]:
    """Return the series of the slots' own timeframe, by symbol."""
    return {name: series for name, series in cut.items() if not is_longer_name(name)}


def lacking(cut: Mapping[str, Bars], needs: Needs) -> str:
    """Return what ``is_warm`` misses, in words."""
    have = max(map(len, plain(cut).values()), default=0)
    if have < needs.own:
        return f"the strategy needs {needs.own} bars, there are {have}"
    longer = longer_of(cut)
    for timeframe, count in needs.longer.items():
        have = max(map(len, longer.get(timeframe, {}).values()), default=0)
        if have < count:
            return f"the strategy needs {count} bars of {timeframe}, there are {have}"
    return "a symbol has no bar yet"


def is_warm(cut: Mapping[str, Bars], symbols: Sequence[str], needs: Needs) -> bool:
    """Whether every symbol has a bar, and the oldest one as many of each timeframe as the strategy declares."""
    own = plain(cut)
    if len(own) < len(symbols) or max(map(len, own.values()), default=0) < needs.own:
        return False
    longer = longer_of(cut)
    return all(
        max(map(len, longer.get(timeframe, {}).values()), default=0) >= count
        for timeframe, count in needs.longer.items()
    )


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
