"""The bars a simulated account goes on with: from the last one it was matched against to the slot it is told of.

What matching needs of a market, for a few bars instead of a whole run. Bar 0 is the last one that was matched and has
no prices any more; bars 1 and later are new. Nothing is matched here, and nothing is kept from slot to slot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from trading_runtime.backtest.market import Booleans
from trading_runtime.core.bars import FIELDS, Bars, Floats
from trading_runtime.core.errors import DataError
from trading_runtime.core.fills import Execution
from trading_runtime.core.instruments import Instrument, Rules
from trading_runtime.exchanges.port import Feed


@runtime_checkable
class RecordedFeed(Protocol):
    """A feed that knows where its bars begin and end for ever, as files do."""

    def span(self, symbol: str, timeframe: str) -> tuple[int, int] | None:
        """Return the first bar's open time and the last one's close time; None when there is no bar at all."""
        ...


class MarketWindow:
    """Bars of all symbols of an account on one short clock; where a symbol has none, prices are NaN and nothing fills.

    ``missing`` names (symbol, close time) of bars that the feed does not have although it has later ones: nobody traded
    in them, as far as anybody knows.
    """

    def __init__(
        self, instruments: Mapping[str, Instrument], execution: Execution, start_ms: int, bar_ms: int, count: int
    ) -> None:
        self.symbols = tuple(instruments)
        self.instruments = instruments
        self.execution = execution
        self.start_ms = start_ms
        self.bar_ms = bar_ms
        self.count = count
        self.missing: list[tuple[str, int]] = []
        nothing = np.full(count, np.nan)
        nowhere: Booleans = np.zeros(count, dtype=np.bool_)
        blank = (nothing,) * len(self.symbols)
        self.open: tuple[Floats, ...] = blank
        self.high: tuple[Floats, ...] = blank
        self.low: tuple[Floats, ...] = blank
        self.close: tuple[Floats, ...] = blank
        self.volume: tuple[Floats, ...] = blank
        self.tradable: tuple[Booleans, ...] = (nowhere,) * len(self.symbols)

    def close_time(self, bar: int) -> int:
        """Close time, milliseconds, of a bar of the clock."""
        return self.start_ms + (bar + 1) * self.bar_ms

    def rules_at(self, symbol_index: int, bar: int) -> Rules:
        """The rules that hold when ``bar`` opens; raises ConfigurationError before the first ones."""
        return self.instruments[self.symbols[symbol_index]].rules_at(self.start_ms + bar * self.bar_ms)

    def last_close(self, symbol_index: int, bar: int) -> float | None:
        """The newest known close up to ``bar``; None when there is none in the window."""
        known = self.close[symbol_index][: bar + 1]
        known = known[~np.isnan(known)]
        return float(known[-1]) if len(known) else None

    def load(self, feed: Feed, timeframe: str, symbols: Collection[str]) -> None:
        """Ask ``feed`` for the new bars of ``symbols``; raises DataError when the newest of one is not there yet."""
        columns = {name: list(getattr(self, name)) for name in FIELDS}
        tradable = list(self.tradable)
        for index, symbol in enumerate(self.symbols):
            if symbol not in symbols:
                continue
            rows = {name: np.full(self.count, np.nan) for name in FIELDS}
            for bars in self._asked(feed, symbol, timeframe):
                first = (int(bars.open_time[0]) - self.start_ms) // self.bar_ms
                for name, row in rows.items():
                    row[first : first + len(bars)] = getattr(bars, name)
            for name, row in rows.items():
                columns[name][index] = row
            volume = rows["volume"]
            tradable[index] = ~np.isnan(volume) if self.execution.zero_volume_fills else volume > 0.0
        self.open, self.high, self.low, self.close, self.volume = (tuple(columns[name]) for name in FIELDS)
        self.tradable = tuple(tradable)

    def _asked(self, feed: Feed, symbol: str, timeframe: str) -> list[Bars]:
        first_open, last_close = self.start_ms + self.bar_ms, self.close_time(self.count - 1)
        if isinstance(feed, RecordedFeed):
            span = feed.span(symbol, timeframe)
            if span is None:
                return []
            first_open, last_close = max(first_open, span[0]), min(last_close, span[1])
        count = (last_close - first_open) // self.bar_ms
        if count < 1:
            return []
        try:
            return [feed.bars(symbol, timeframe, count, last_close)]
        except DataError:
            feed.bars(symbol, timeframe, 1, last_close)  # without the newest bar there is nothing to go on with
        return self._pieces(feed, symbol, timeframe, count, last_close)

    def _pieces(self, feed: Feed, symbol: str, timeframe: str, count: int, close_ms: int) -> list[Bars]:
        """Return what the feed has of a stretch with holes, found by halving it.

        Exchanges publish bars in their order: one that is missing while a later one is there will not come any more. To
        wait for it would stop the account for ever.
        """
        half = count // 2
        found = []
        for part, end in ((count - half, close_ms - half * self.bar_ms), (half, close_ms)):
            if not part:
                continue
            try:
                found.append(feed.bars(symbol, timeframe, part, end))
            except DataError:
                if part == 1:
                    self.missing.append((symbol, end))
                else:
                    found.extend(self._pieces(feed, symbol, timeframe, part, end))
        return found
