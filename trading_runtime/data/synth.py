"""Synthetic candles: seeded, with regimes, several correlated symbols, and the same bytes on every machine.

Everything random is 64-bit integer arithmetic (SplitMix64 by Steele, Lea and Flood, addressed by a counter),
everything that moves a price is integer arithmetic too, and the only floating-point step is the last one: a
whole number of ticks divided by a whole number. No exp, log, normal or library generator, so bytes depend
neither on libm nor on numpy's version.

The market has one shape for a seed: a common move per bar and a regime per stretch of bars, both addressed by
the bar's number since 1970, so that symbols made separately are aligned and correlated. These are plausible
prices for tests and first steps, not a model of a market: no strategy's result on them says anything about
money.
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np
import numpy.typing as npt

from trading_runtime.core.bars import Bars, Floats, Integers
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.hashing import sha256_hex
from trading_runtime.core.instruments import split_symbol
from trading_runtime.core.timeframes import HOUR_MS, bucket_open_ms, iso_time, timeframe_ms

Words = npt.NDArray[np.uint64]

ROWS_MAX = 20_000_000
# Moves are whole billionths of the price; prices are carried in 1/4096 of a tick so that small moves are not
# lost.
PARTS = 1_000_000_000
_TICK_PARTS = 4_096
# Every product of whole numbers below stays inside 63 bits for prices up to this many ticks.
_TICKS_MAX = 2**44
# Whole numbers up to here are exact in float64, so that one division gives the nearest float of a decimal.
_EXACT_MAX = 2**53
# One hour of a large coin moves by about half a percent (standard deviation); other lengths by the square
# root of time.
_HOUR_MOVE_PARTS = 5_000_000
# Regimes last five days; of 16 stretches 6 trend up, 4 trend down, 5 go sideways and 1 crashes and recovers.
_REGIME_MS = 5 * 24 * HOUR_MS
_UP, _DOWN, _SIDEWAYS, _CRASH = 0, 1, 2, 3
_REGIME_OF_DRAW = (
    _UP,
    _UP,
    _UP,
    _UP,
    _UP,
    _UP,
    _DOWN,
    _DOWN,
    _DOWN,
    _DOWN,
    _SIDEWAYS,
    _SIDEWAYS,
    _SIDEWAYS,
    _SIDEWAYS,
    _SIDEWAYS,
    _CRASH,
)
# Per regime: drift over the whole stretch in thousandths of the price, and size of the moves in percent of
# the usual.
_DRIFT = {_UP: 85, _DOWN: -60, _SIDEWAYS: 5, _CRASH: -160}
_SIZE = {_UP: 85, _DOWN: 105, _SIDEWAYS: 70, _CRASH: 260}
# Share of the common move in a symbol's own, in percent; the rest is its own. Squares add up to one: 0.8 and
# 0.6.
_COMMON_SHARE, _OWN_SHARE = 80, 60
# A perpetual's close differs from its spot's by a bell-shaped basis of this many millionths.
_BASIS_PPM = 150
# Within this factor of the start price a symbol wanders freely; beyond, it is drawn back so that years stay
# realistic.
_FREE_FACTOR = 4

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def synthesize(
    symbol: str,
    timeframe: str,
    start_ms: int,
    rows: int,
    seed: int,
    *,
    start_price: str = "30000",
    tick: str = "0.01",
    volume_lots: int = 400_000,
    lot: str = "0.001",
    move_percent: int = 100,
) -> Bars:
    """Return ``rows`` bars from ``start_ms`` on; the same arguments give the same bytes on every machine.

    Prices are on the decimal grid of ``tick``; volumes are multiples of ``lot`` around ``volume_lots`` lots
    for each hour; ``move_percent`` scales the moves. Symbols made with the same seed share the market's
    regimes and most of its moves; a perpetual (``BTC/USDT:USDT``) made with the start and price of its spot
    stays close to it. Raises ConfigurationError for a start off the grid, a tick or price that is not a
    positive decimal, or too many rows.
    """
    bar_ms = timeframe_ms(timeframe)
    base, quote, kind = split_symbol(symbol)
    if bucket_open_ms(start_ms, bar_ms) != start_ms:
        raise ConfigurationError(f"start {iso_time(start_ms)} is not a boundary of {timeframe} bars")
    if not 1 <= rows <= ROWS_MAX:
        raise ConfigurationError(f"rows must be between 1 and {ROWS_MAX}, not {rows}")
    grid, volume_grid = _positive(tick, "tick"), _positive(lot, "lot")
    start_ticks = int(_positive(start_price, "start_price") / grid)
    if not 100 <= start_ticks < 2**40:
        raise ConfigurationError(
            f"start_price {start_price} is {start_ticks} ticks of {tick}; choose between 100 and 2**40 ticks"
        )
    if volume_lots < 1 or volume_lots > 2**40:
        raise ConfigurationError(f"volume_lots must be between 1 and 2**40, not {volume_lots}")
    if not 1 <= move_percent <= 1_000:
        raise ConfigurationError(f"move_percent must be between 1 and 1000, not {move_percent}")
    number = start_ms // bar_ms + np.arange(rows, dtype=np.int64)
    market, own = _stream(seed, f"market {timeframe}"), _stream(seed, f"{symbol} {timeframe}")
    spot = _stream(seed, f"{base}/{quote} {timeframe}")
    regime = _regimes(number, bar_ms, _stream(seed, "regime"))
    size = _table(_SIZE, regime) * move_percent // 100
    bar_move = _HOUR_MOVE_PARTS * isqrt(bar_ms * 1_000_000 // HOUR_MS) // 1_000
    common, alone = _bell(market, number, 1), _bell(spot, number, 2)
    shock = (_COMMON_SHARE * common + _OWN_SHARE * alone) // 100 * bar_move // _BELL_ONE * size // 100
    drift = _table(_DRIFT, regime) * (PARTS // 1_000) * bar_ms // _REGIME_MS
    closes = _walk(start_ticks, shock + drift * move_percent // 100)
    if kind == "perpetual":
        closes = closes + closes * _BASIS_PPM // 1_000 * _bell(own, number, 6) // _BELL_ONE // 1_000
    opens = np.concatenate([np.array([start_ticks], dtype=np.int64), closes[:-1]])
    reach = np.maximum(np.maximum(opens, closes) // 1_000, 1) * bar_move // 1_000_000 * size // 100
    high = np.maximum(opens, closes) + _fraction(own, number, 3, reach)
    low = np.maximum(np.minimum(opens, closes) - _fraction(own, number, 4, reach), 1)
    return Bars(
        symbol,
        timeframe,
        number * bar_ms + start_ms % bar_ms,
        _decimal(opens, grid),
        _decimal(high, grid),
        _decimal(low, grid),
        _decimal(closes, grid),
        _decimal(_volumes(volume_lots, bar_ms, shock, bar_move, own, number), volume_grid),
    )


def _stream(seed: int, name: str) -> np.uint64:
    """Return the start of an independent stream of words for a seed and a name."""
    return np.uint64(int(sha256_hex(f"{seed} {name}".encode())[:16], 16))


def _words(stream: np.uint64, number: Integers, lane: int) -> Words:
    """Return one 64-bit word for each bar number: SplitMix64 at a place, modulo 2**64 as intended."""
    place = number.astype(np.uint64) * np.uint64(8) + np.uint64(lane)
    with np.errstate(over="ignore"):
        z = stream + place * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


# Four 16-bit numbers add up to a bell with standard deviation 2**16 / sqrt(3): the unit in which _bell
# counts.
_BELL_ONE = 37_837


def _bell(stream: np.uint64, number: Integers, lane: int) -> Integers:
    """Return whole numbers around 0, shape (n,), with a bell-shaped distribution of standard deviation
    _BELL_ONE.
    """
    words = _words(stream, number, lane)
    mask = np.uint64(0xFFFF)
    total = sum(((words >> np.uint64(shift)) & mask).astype(np.int64) for shift in (0, 16, 32, 48))
    centred: Integers = np.asarray(total, dtype=np.int64) - 2 * 65_535
    return centred


def _fraction(stream: np.uint64, number: Integers, lane: int, limit: Integers) -> Integers:
    """Return whole numbers from 0 to ``limit``, small ones more often: the product of two draws."""
    words = _words(stream, number, lane)
    one = (words & np.uint64(0xFFFF)).astype(np.int64)
    two = ((words >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.int64)
    return limit * one // 65_536 * two // 65_536


def _regimes(number: Integers, bar_ms: int, stream: np.uint64) -> Integers:
    stretch = number * bar_ms // _REGIME_MS
    draw = (_words(stream, stretch, 0) >> np.uint64(60)).astype(np.int64)
    return np.array(_REGIME_OF_DRAW, dtype=np.int64)[draw]


def _table(values: dict[int, int], regime: Integers) -> Integers:
    return np.array([values[kind] for kind in sorted(values)], dtype=np.int64)[regime]


def _walk(start_ticks: int, moves: Integers) -> Integers:
    """Return closing prices in ticks: each move is in billionths of the price before it. Python integers
    cannot overflow.
    """
    price = start = start_ticks * _TICK_PARTS
    upper, lower = start * _FREE_FACTOR, start // _FREE_FACTOR
    half = _TICK_PARTS // 2
    floor, ceiling = 2 * _TICK_PARTS, _TICKS_MAX * _TICK_PARTS
    closes: list[int] = []
    for move in moves.tolist():
        drawn = -(abs(move) // 4) if price > upper else abs(move) // 4 if price < lower else 0
        price += price * (move + drawn) // PARTS
        # A price neither falls to nothing nor leaves the range of what follows, however wild the moves.
        price = floor if price < floor else ceiling if price > ceiling else price
        closes.append((price + half) // _TICK_PARTS)
    return np.array(closes, dtype=np.int64)


def _volumes(
    volume_lots: int, bar_ms: int, shock: Integers, bar_move: int, stream: np.uint64, number: Integers
) -> Integers:
    """Return volumes in lots: more when the price moves, less at night (the busiest hour is 15:00 UTC), never
    zero.
    """
    per_bar = max(volume_lots * bar_ms // HOUR_MS, 8)
    hour = number * bar_ms // HOUR_MS % 24
    daily = (
        150 - 8 * np.minimum(np.abs(hour - 15), 24 - np.abs(hour - 15))
        if bar_ms < 24 * HOUR_MS
        else np.full(len(number), 100)
    )
    activity = 40 + 60 * np.abs(shock) // bar_move
    noise = 50 + (_words(stream, number, 5) >> np.uint64(57)).astype(np.int64)
    volumes: Integers = np.maximum(per_bar * activity // 100 * daily // 100 * noise // 100, 1)
    return volumes


def _decimal(units: Integers, grid: Fraction) -> Floats:
    """Return ``units * grid`` as the nearest float64 of the decimal number: one division of whole numbers.

    Raises ConfigurationError when the whole numbers are too large to be exact.
    """
    if int(units.max()) * grid.numerator >= _EXACT_MAX:
        raise ConfigurationError(
            f"values of {int(units.max())} times {grid} are too large; choose a larger tick or lot"
        )
    exact = (units * grid.numerator).astype(np.float64)
    return exact if grid.denominator == 1 else exact / np.float64(grid.denominator)


def _positive(text: str, name: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ConfigurationError(f"{name} must be a decimal number, not {text!r}") from None
    if value <= 0 or value.denominator > 10**12:
        raise ConfigurationError(f"{name} must be a positive decimal of at most 12 places, not {text!r}")
    return value
