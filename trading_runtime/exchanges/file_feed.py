"""Closed bars from candle files, played back: for dry runs on recorded bars, paper trading over history, and tests.

A plain CSV (``time,open,high,low,close,volume``) is read without pyarrow, which a live cycle must not load; every other
file goes through ``data/files.py``, and both are judged by the same checks. Nothing is fetched here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trading_runtime.core.bars import Bars, resample
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.exchanges.plain_csv import read_plain_csv

SERVER_DELAY_MS = 1_000


class FileFeed:
    """A ``Feed`` over candle files or bars in memory, one per symbol. History is told bar by bar: after the close of
    one bar comes that of the next, from the first one at or after ``start_ms`` on.

    ``sources`` are paths and Bars, or a mapping from symbol to path where a file does not say its symbol itself. Raises
    DataError or ConfigurationError, in one line, for what cannot be read or names a symbol twice.
    """

    def __init__(
        self,
        sources: Sequence[Path | str | Bars] | Mapping[str, Path | str],
        *,
        start_ms: int | None = None,
        timeframe: str | None = None,
    ) -> None:
        named: list[tuple[str | None, Path | str | Bars]]
        named = list(sources.items()) if isinstance(sources, Mapping) else [(None, source) for source in sources]
        if not named:
            raise ConfigurationError("a feed of files needs at least one file")
        self._bars: dict[str, Bars] = {}
        names = []
        for symbol, source in named:
            bars = source if isinstance(source, Bars) else load_candles(Path(source), symbol, timeframe)
            if bars.symbol in self._bars:
                raise ConfigurationError(f"{bars.symbol} is given twice: a feed takes one file per symbol")
            self._bars[bars.symbol] = bars
            names.append(bars.symbol if isinstance(source, Bars) else Path(source).name)
        self._name = ", ".join(names)
        self._start_ms = start_ms
        self._told_ms: int | None = None
        self._resampled: dict[tuple[str, str], Bars | None] = {}

    @property
    def name(self) -> str:
        return self._name

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._bars)

    def server_time_ms(self) -> int:
        """Return a second after the newest bar that was told of: what is played back is never stale. Before any was, a
        second after the first one of the longest history.
        """
        if self._told_ms is not None:
            return self._told_ms + SERVER_DELAY_MS
        first = min(int(bars.close_time[0]) for bars in self._bars.values())
        return max(first, self._start_ms or first) + SERVER_DELAY_MS

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        """Return the close of the bar that follows ``after``, else of the first one that closes at or after the start;
        None at the end. The clock runs from the first symbol's first bar to the last symbol's last one.
        """
        bar_ms = timeframe_ms(timeframe)
        spans = [span for span in (self.span(symbol, timeframe) for symbol in self._bars) if span is not None]
        if not spans:
            return None
        close = min(first for first, _ in spans) + bar_ms
        if self._start_ms is not None:
            close = max(close, bucket_open_ms(self._start_ms - 1, bar_ms) + bar_ms)
        if after is not None:
            close = max(close, bucket_open_ms(after, bar_ms) + bar_ms)
        if close > max(last for _, last in spans):
            return None
        self._tell(close)
        return close

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        """Return the ``count`` bars of which the last closed at ``close_ms``, fewer where the file begins later; made
        of finer ones where the file has those. Raises DataError when the file has no such bar.
        """
        series = self._series(symbol, timeframe)
        if series is None:
            raise DataError(f"{symbol}: the file does not fill one bar of {timeframe}")
        stop, off_grid = divmod(close_ms - int(series.open_time[0]), series.bar_ms)
        if off_grid or not 0 < stop <= len(series):
            raise DataError(
                f"{symbol} {timeframe}: the file has no bar that closed at {iso_time(close_ms)}; it has those that "
                f"closed from {iso_time(int(series.close_time[0]))} to {iso_time(int(series.close_time[-1]))}"
            )
        if count < 1:
            raise ValueError(f"at least one bar is asked for, not {count}")
        self._tell(close_ms)
        return series.slice(max(stop - count, 0), stop)

    def span(self, symbol: str, timeframe: str) -> tuple[int, int] | None:
        """Return the first bar's open time and the last one's close time; None when the file does not fill one bar."""
        series = self._series(symbol, timeframe)
        return None if series is None else (int(series.open_time[0]), int(series.open_time[-1]) + series.bar_ms)

    def _tell(self, close_ms: int) -> None:
        self._told_ms = close_ms if self._told_ms is None else max(self._told_ms, close_ms)

    def _series(self, symbol: str, timeframe: str) -> Bars | None:
        if symbol not in self._bars:
            raise ConfigurationError(f"no file holds {symbol}; there is {', '.join(self._bars)}")
        bars = self._bars[symbol]
        if bars.timeframe == timeframe:
            return bars
        key = symbol, timeframe
        if key not in self._resampled:
            if timeframe_ms(timeframe) % bars.bar_ms:
                raise ConfigurationError(f"{symbol}: bars of {bars.timeframe} cannot be made into bars of {timeframe}")
            try:
                self._resampled[key] = resample(bars, timeframe)
            except BarsError:
                self._resampled[key] = None  # not even one bar is complete
        return self._resampled[key]


def load_candles(path: Path, symbol: str | None = None, timeframe: str | None = None) -> Bars:
    """Return the bars of a candle file, good enough by the default rules of ``data/files.py``; raises DataError."""
    bars = read_plain_csv(path, symbol, timeframe)
    if bars is None:
        from trading_runtime.data.files import load_bars

        bars = load_bars(path, symbol=symbol, timeframe=timeframe).bars
    return bars
