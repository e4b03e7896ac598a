"""Cuts: the market as it would have been, seen from one bar, with everything else missing or replaced.

    window     the declared bars up to the bar, nothing before or after: what a live cycle fetches
    past       random bars before the window
    future     random bars after the bar
    prefix     every bar up to the bar

Random bars are valid and wilder than any market: they gap away from the real ones, jump, and sometimes trade
nothing, so that a condition on what lies ahead, however rare it is in the data, is met on some bar. They come
from a seed. All arrays of a cut are copies, so that not even the memory around them holds the bars cut off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import NamedTuple

import numpy as np

from trading_runtime.backtest.market import Market
from trading_runtime.core.bars import FIELDS, Bars, Floats

# Random bars on each side of a window: at least enough for a longer timeframe's bucket or a far peek, at most
# what keeps a check of every bar affordable.
SCRAMBLED_BARS_MIN = 64
SCRAMBLED_BARS_MAX = 512

_POOL_BARS = 8192
# Standard deviations, relative: of a step, of one in twelve steps, of the gap to the real bars.
_STEP, _JUMP, _GAP = 0.02, 0.3, 0.3
_VOLUMES = (0.0625, 0.25, 1.0, 4.0, 16.0)


class Cut(NamedTuple):
    """Bars of every symbol on a clock that starts at ``start_ms``; ``row`` is the bar to decide at.

    ``absent`` are the symbols without a bar in the cut. They get some bars long before it, because bars
    cannot be empty: on the cut's clock they have no value.
    """

    bars: Mapping[str, Bars]
    start_ms: int
    bars_count: int
    row: int
    absent: frozenset[str]


class Cutter:
    """Makes cuts of one market for a strategy that declares ``bars_needed``. A seed makes the random bars."""

    def __init__(self, market: Market, bars_needed: int, seed: int) -> None:
        self._market = market
        self._needed = bars_needed
        self.scrambled_bars = min(max(bars_needed, SCRAMBLED_BARS_MIN), SCRAMBLED_BARS_MAX)
        random = Random(f"scrambled bars {seed}")
        self._pool = _random_walk(random)
        places = _POOL_BARS - self.scrambled_bars - 1
        # Only random() has the same stream on every version of Python.
        self._places = [1 + int(random.random() * places) for _ in range(min(market.count, 100_003))]

    def window(self, bar: int, *, past: bool = False, future: bool = False) -> Cut:
        """Return the last declared bars up to ``bar``, between random ones where asked for."""
        return self._cut(bar, bar - self._needed + 1, past, future, self.scrambled_bars)

    def prefix(self, bar: int, *, future: bool = False) -> Cut:
        """Return all bars up to ``bar``, followed by as many random ones as there were real ones, if asked for."""
        rest = min(max(self._market.count - 1 - bar, self.scrambled_bars), _POOL_BARS - 2)
        return self._cut(bar, 0, False, future, rest)

    def _cut(self, bar: int, start: int, past: bool, future: bool, extra: int) -> Cut:
        market = self._market
        first_row = start - extra if past else start
        last_row = bar + extra if future else bar
        cut: dict[str, Bars] = {}
        absent: list[str] = []
        for index, (symbol, bars) in enumerate(market.bars.items()):
            begins = market.first[index]
            ends = begins + len(bars) - 1
            low, high = max(start, begins), min(bar, ends)
            before = extra if past and begins <= start <= ends else 0
            after = 0
            if future and ends >= bar:
                after = last_row - max(begins - 1, bar)
            if after <= 0 and high < low:
                absent.append(symbol)
                cut[symbol] = self._stand_in(bars, first_row)
                continue
            opens = max(begins, bar + 1) if high < low else low
            cut[symbol] = self._joined(bars, opens - before, before, low - begins, high - begins + 1, after, bar)
        return Cut(
            cut, market.start_ms + first_row * market.bar_ms, last_row - first_row + 1, bar - first_row,
            frozenset(absent),
        )  # fmt: skip

    def _joined(self, bars: Bars, row: int, before: int, low: int, high: int, after: int, bar: int) -> Bars:
        """Return random bars, real ones from ``low`` until ``high``, random bars; the first at ``row``."""
        real = max(high - low, 0)
        if not before and not after:
            columns = [getattr(bars, name)[low:high].copy() for name in FIELDS]
        else:
            place = self._places[bar % len(self._places)]
            place = min(place, _POOL_BARS - 1 - max(before, after))  # all the rest of the pool, if need be
            anchor = min(max(low, 0), len(bars) - 1)
            last = high - 1 if real else anchor
            parts = (
                self._scrambled(place, before, float(bars.close[anchor]), float(bars.volume[anchor])),
                [getattr(bars, name)[low : low + real] for name in FIELDS],
                self._scrambled(place + 1, after, float(bars.close[last]), float(bars.volume[last])),
            )
            columns = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
        start_ms = self._market.start_ms + row * self._market.bar_ms
        return _trusted(bars, start_ms, columns)

    def _scrambled(self, place: int, count: int, price: float, volume: float) -> list[Floats]:
        """Return open, high, low, close and volume of ``count`` random bars that begin at ``price``."""
        pool = self._pool
        factor = price / float(pool[3][place - 1]) * float(pool[5][place])
        columns = [column[place : place + count] * factor for column in pool[:4]]
        columns.append(pool[4][place : place + count] * (volume or 1.0))
        return columns

    def _stand_in(self, bars: Bars, first_row: int) -> Bars:
        columns = self._scrambled(1, min(self._needed, _POOL_BARS - 1), float(bars.close[0]), 1.0)
        row = first_row - len(columns[0]) - 1
        return _trusted(bars, self._market.start_ms + row * self._market.bar_ms, columns)


def _random_walk(random: Random) -> list[Floats]:
    """Return open, high, low, close, volume and gap of a long random walk around 1, made of valid bars."""
    rows: list[tuple[float, ...]] = []
    close = 1.0
    for _ in range(_POOL_BARS):
        step = _JUMP if random.random() < 1 / 12 else _STEP
        opening = close * _growth(_STEP * _normal(random) / 2)
        # Pulled back towards 1, so that no stretch of the pool leaves the range of prices.
        close = opening * _growth(step * _normal(random) - 0.1 * (close - 1.0) / (close + 1.0))
        high = max(opening, close) * _growth(_STEP * random.random())
        low = min(opening, close) * _growth(-_STEP * random.random())
        volume = _VOLUMES[int(random.random() * len(_VOLUMES))] * (0.5 + random.random())
        if random.random() < 1 / 12:
            volume = 0.0
        rows.append((opening, high, low, close, volume, _growth(_GAP * _normal(random))))
    return [np.array(column) for column in zip(*rows, strict=True)]


def _growth(rate: float) -> float:
    """Return nearly exp(rate), for rates between -2 and 2: exp itself differs between processors in the last bit."""
    return (2.0 + rate) / (2.0 - rate)


def _normal(random: Random) -> float:
    """Return a number that is close enough to normal: the sum of four uniform ones, to variance 1."""
    return (sum(random.random() for _ in range(4)) - 2.0) * math.sqrt(3.0)


def _trusted(bars: Bars, start_ms: int, columns: list[Floats]) -> Bars:
    """Return Bars without checking them again.

    They are parts of checked bars and random bars that are valid as they are made; a test checks both. The
    check would be half of the whole cost of a proof.
    """
    made = object.__new__(Bars)
    put = object.__setattr__
    put(made, "symbol", bars.symbol)
    put(made, "timeframe", bars.timeframe)
    put(made, "bar_ms", bars.bar_ms)
    opens = np.arange(start_ms, start_ms + len(columns[0]) * bars.bar_ms, bars.bar_ms, dtype=np.int64)
    put(made, "open_time", opens)
    for name, column in zip(FIELDS, columns, strict=True):
        column.flags.writeable = False
        put(made, name, column)
    opens.flags.writeable = False
    return made
