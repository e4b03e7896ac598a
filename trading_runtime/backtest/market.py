"""The market of one run: all symbols on one clock, with their instruments, funding, the cost of trading, and what was
published beside prices.

The clock ticks once per bar from the first symbol's first bar to the last symbol's last one. A symbol has bars on one
contiguous stretch of it; outside, its prices are NaN and nothing of it fills. Built once per run or sweep; never
changed afterwards.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trading_runtime.core.bars import Bars, Floats
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.evaluate import onto
from trading_runtime.core.fills import Execution
from trading_runtime.core.instruments import Instrument, Rules
from trading_runtime.core.timeframes import iso_time

Booleans = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class FundingRate:
    """At ``time_ms`` a perpetual's longs pay ``rate`` of their position's value to its shorts."""

    time_ms: int
    rate: float


class Publication(NamedTuple):
    """From ``time_ms`` on strategies see ``artifact``, plain JSON, as ``inputs.artifact``; None ends the one before."""

    time_ms: int
    artifact: Any


@dataclass(frozen=True, eq=False)
class Market:
    """Bars and rules on one clock. Rows of every array are bars of the clock, shape (n,)."""

    bars: Mapping[str, Bars]
    instruments: Mapping[str, Instrument]
    execution: Execution = field(default_factory=Execution)
    funding: Mapping[str, Sequence[FundingRate]] = field(default_factory=dict)
    publications: Sequence[Publication] = ()

    symbols: tuple[str, ...] = field(init=False)
    bar_ms: int = field(init=False)
    start_ms: int = field(init=False)
    count: int = field(init=False)
    open: tuple[Floats, ...] = field(init=False)
    high: tuple[Floats, ...] = field(init=False)
    low: tuple[Floats, ...] = field(init=False)
    close: tuple[Floats, ...] = field(init=False)
    volume: tuple[Floats, ...] = field(init=False)
    mark: tuple[Floats, ...] = field(init=False)
    tradable: tuple[Booleans, ...] = field(init=False)
    first: tuple[int, ...] = field(init=False)
    rules: tuple[tuple[tuple[int, Rules], ...], ...] = field(init=False)
    funding_bars: tuple[tuple[int, int, float], ...] = field(init=False)
    publication_bars: tuple[tuple[int, Any], ...] = field(init=False)
    _constant_rules: Mapping[str, Rules] | None = field(init=False)

    def __post_init__(self) -> None:
        if not self.bars:
            raise ConfigurationError("a run needs the bars of at least one symbol")
        timeframes = sorted({bars.timeframe for bars in self.bars.values()})
        if len(timeframes) > 1:
            raise ConfigurationError(
                f"all symbols of a run need bars of one timeframe, not {' and '.join(timeframes)}: resample some"
            )
        for symbol in self.bars:
            if symbol not in self.instruments:
                raise ConfigurationError(f"{symbol}: there are bars but no instrument")
        for symbol in self.funding:  # a symbol may be known and have no bars in this period, but not be unknown
            if symbol not in self.instruments:
                raise ConfigurationError(f"{symbol}: there is funding but no instrument")
        quotes = sorted({self.instruments[symbol].quote for symbol in self.bars})
        units = {self.instruments[symbol].quote_unit for symbol in self.bars}
        if len(quotes) > 1 or len(units) > 1:
            raise ConfigurationError(
                f"all symbols of a run settle in one currency and unit, not {' and '.join(quotes)}"
            )
        put = object.__setattr__
        all_bars = list(self.bars.values())
        bar_ms = all_bars[0].bar_ms
        start = min(int(bars.open_time[0]) for bars in all_bars)
        count = (max(int(bars.open_time[-1]) for bars in all_bars) - start) // bar_ms + 1
        put(self, "symbols", tuple(self.bars))
        put(self, "bar_ms", bar_ms)
        put(self, "start_ms", start)
        put(self, "count", count)
        put(self, "first", tuple((int(bars.open_time[0]) - start) // bar_ms for bars in all_bars))
        for name in ("open", "high", "low", "close", "volume"):
            put(self, name, tuple(onto(getattr(bars, name), bars, start, count) for bars in all_bars))
        put(
            self,
            "mark",
            tuple(
                _last_known(column, len(bars), first)
                for column, bars, first in zip(self.close, all_bars, self.first, strict=True)
            ),
        )
        put(self, "tradable", tuple(_tradable(volume, self.execution.zero_volume_fills) for volume in self.volume))
        for symbol, tradable in zip(self.symbols, self.tradable, strict=True):
            if not tradable.any():
                raise ConfigurationError(
                    f"{symbol}: every bar has zero volume, so nothing could ever fill; "
                    "set execution.zero_volume_fills if the data has no volumes"
                )
        put(
            self,
            "rules",
            tuple(self._rules_by_bar(symbol, first) for symbol, first in zip(self.symbols, self.first, strict=True)),
        )
        put(self, "funding_bars", self._funding_by_bar())
        put(self, "publication_bars", self._publications_by_bar())
        constant = all(len(versions) == 1 for versions in self.rules)
        first_rules = {symbol: versions[0][1] for symbol, versions in zip(self.symbols, self.rules, strict=True)}
        put(self, "_constant_rules", first_rules if constant else None)

    def close_time(self, bar: int) -> int:
        """Close time, milliseconds, of a bar of the clock."""
        return self.start_ms + (bar + 1) * self.bar_ms

    def rules_at(self, symbol_index: int, bar: int) -> Rules:
        """The rules that hold when ``bar`` opens."""
        versions = self.rules[symbol_index]
        for start, rules in reversed(versions):
            if start <= bar:
                return rules
        return versions[0][1]

    def all_rules_at(self, bar: int) -> Mapping[str, Rules]:
        """The rules of every symbol that hold when ``bar`` opens; mostly the same mapping for all bars."""
        if self._constant_rules is not None:
            return self._constant_rules
        return {symbol: self.rules_at(index, bar) for index, symbol in enumerate(self.symbols)}

    def artifact_at(self, bar: int) -> Any:
        """What is published by the close of ``bar``; None before the first publication."""
        known = bisect_right(self.publication_bars, bar, key=lambda published: published[0])
        return self.publication_bars[known - 1][1] if known else None

    def _rules_by_bar(self, symbol: str, first: int) -> tuple[tuple[int, Rules], ...]:
        """(first bar, rules), ascending: versions that begin within the run start at the first bar opening at or after
        their date.
        """
        instrument = self.instruments[symbol]
        opening = self.start_ms + first * self.bar_ms
        versions = [(0, instrument.rules_at(opening))]
        for rules in instrument.rules:
            bar = -((self.start_ms - rules.valid_from) // self.bar_ms)
            if rules.valid_from > opening and bar < self.count:
                versions.append((bar, rules))
        return tuple(versions)

    def _funding_by_bar(self) -> tuple[tuple[int, int, float], ...]:
        """(bar, symbol index, rate), ascending: a payment falls on the bar that closes at its time, or that contains
        it.
        """
        found = []
        for index, symbol in enumerate(self.symbols):
            if self.instruments[symbol].kind != "perpetual":
                if self.funding.get(symbol):
                    raise ConfigurationError(f"{symbol} is spot and pays no funding")
                continue
            for payment in self.funding.get(symbol, ()):
                if not math.isfinite(payment.rate):
                    raise ConfigurationError(
                        f"{symbol}: the funding rate at {iso_time(payment.time_ms)} is {payment.rate!r}"
                    )
                bar = -((self.start_ms - payment.time_ms) // self.bar_ms) - 1
                if 0 <= bar < self.count:
                    found.append((bar, index, payment.rate))
        return tuple(sorted(found))

    def _publications_by_bar(self) -> tuple[tuple[int, Any], ...]:
        """(bar, artifact), ascending, changes only: each is in force from the first close at or after its time, what
        was published before the clock from bar 0. Of several within one bar the newest counts.
        """
        found: list[tuple[int, Any]] = []
        before: int | None = None
        for time_ms, artifact in self.publications:
            if before is not None and time_ms <= before:
                raise ConfigurationError(
                    f"publications must ascend in time: {iso_time(time_ms)} comes after {iso_time(before)}"
                )
            before = time_ms
            bar = max(-((self.start_ms - time_ms) // self.bar_ms) - 1, 0)
            if bar >= self.count:
                break
            if found and found[-1][0] == bar:
                found.pop()
            if artifact != (found[-1][1] if found else None):
                found.append((bar, artifact))
        return tuple(found)


def fast_reads(column: npt.NDArray[Any]) -> Sequence[Any]:
    """Return a view of a column that is read one value at a time: Python numbers, at a third of an array's cost, no
    copy.
    """
    view: Any = memoryview(column)  # type: ignore[arg-type]  # numpy's stubs know the buffer protocol from 3.12 on
    reads: Sequence[Any] = view
    return reads


def _last_known(column: Floats, length: int, first: int) -> Floats:
    """Closes carried on after a symbol's last bar, so that what is still held keeps a mark."""
    if first + length == len(column):
        return column
    carried = column.copy()
    carried[first + length :] = column[first + length - 1]
    return carried


def _tradable(volume: Floats, zero_volume_fills: bool) -> Booleans:
    with np.errstate(invalid="ignore"):
        return ~np.isnan(volume) if zero_volume_fills else volume > 0.0
