"""Indicators: what strategies name when they declare columns; each with its formula, window and origin.

A value at bar t depends, bit for bit, on the bars of the declared window up to t: ``core/windows.py`` says
how and why. ``INDICATORS`` lists every indicator with the function that derives its window from its
parameters.

Each takes its sources, contiguous float64 columns of shape (n,), then its parameters, and returns a float64
column of shape (n,): NaN in the first window - 1 rows and wherever a NaN is read. Unless a docstring says
otherwise, ``length`` counts bars, is at least 1 and is the window; a result has the unit of its source.
Parameters that make no sense raise StrategyError.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.windows import (
    Floats,
    decayed_means,
    deviations,
    finite_number,
    maxima,
    mean_rows,
    means,
    minima,
    moments,
    quantiles,
    sums,
    tiled,
    whole_number,
)

# Default windows of decaying averages, in multiples of the length: less than e**-10 of the weight is outside.
EMA_SPANS = 5
WILDER_LENGTHS = 10


@dataclass(frozen=True)
class Indicator:
    """A registered indicator: ``function(*sources, **parameters)`` needs ``window(**parameters)`` bars.

    ``sources`` are the bar fields read unless others are named, ``parameters`` the names accepted and
    ``required`` those among them without a default. ``rows``, for an indicator of one source and one parameter,
    computes many values of that parameter at once: an array with a row for each, bit for bit what ``function`` gives.
    """

    name: str
    function: Callable[..., Floats]
    window: Callable[..., int]
    sources: tuple[str, ...]
    parameters: tuple[str, ...]
    required: tuple[str, ...]
    rows: Callable[[Floats, Sequence[int]], Floats] | None = None


# --- windows in bars, as functions of the parameters; they also refuse parameters that make no sense --------


def length_window(length: int) -> int:
    """Return length, at least 1."""
    return whole_number("length", length, 1)


def change_window(length: int = 1) -> int:
    """Return length + 1: the bar ``length`` bars ago is read, too."""
    return whole_number("length", length, 1) + 1


def deviation_window(length: int) -> int:
    """Return length, at least 2: one bar deviates from nothing."""
    return whole_number("length", length, 2)


def bollinger_window(length: int, width: float = 2.0) -> int:
    """Return length, at least 2; width must be positive."""
    if finite_number("width", width) <= 0.0:
        raise StrategyError(f"width must be positive, not {width!r}")
    return deviation_window(length)


def quantile_window(length: int, quantile: float) -> int:
    """Return length, at least 1; quantile must lie in [0, 1]."""
    if not 0.0 <= finite_number("quantile", quantile) <= 1.0:
        raise StrategyError(f"quantile must lie between 0 and 1, not {quantile!r}")
    return length_window(length)


def ema_window(span: int, window: int | None = None) -> int:
    """Return window, at least span; 5 * span when it is None."""
    span = whole_number("span", span, 1)
    return EMA_SPANS * span if window is None else whole_number("window", window, span)


def wilder_window(length: int, window: int | None = None) -> int:
    """Return window, at least length; 10 * length when it is None."""
    length = whole_number("length", length, 1)
    return WILDER_LENGTHS * length if window is None else whole_number("window", window, length)


def wilder_change_window(length: int, window: int | None = None) -> int:
    """Return window, at least length + 1; 10 * length + 1 when it is None: a change needs the bar before."""
    length = whole_number("length", length, 1)
    return WILDER_LENGTHS * length + 1 if window is None else whole_number("window", window, length + 1)


def true_range_window() -> int:
    """Return 2: the bar and the close before it."""
    return 2


# --- building blocks ----------------------------------------------------------------------------------------


def lag(source: Floats, length: int = 1) -> Floats:
    """x[t - length]. Window length + 1."""
    return tiled(lambda x: x[:-length], change_window(length), source)


def change(source: Floats, length: int = 1) -> Floats:
    """x[t] - x[t - length]. Window length + 1. TA-Lib calls it MOM."""
    return tiled(lambda x: x[length:] - x[:-length], change_window(length), source)


def rate_of_change(source: Floats, length: int) -> Floats:
    """x[t] / x[t - length] - 1, a fraction (0.01 is 1 %). Window length + 1.

    TA-Lib calls it ROCP; its ROC and most charts multiply by 100.
    """
    return tiled(lambda x: x[length:] / x[:-length] - 1.0, change_window(length), source)


def rolling_sum(source: Floats, length: int) -> Floats:
    """Sum of the last ``length`` bars, added in pairs, which rounds less than a running sum does."""
    length = length_window(length)
    return tiled(lambda x: sums(x, length), length, source)


def rolling_max(source: Floats, length: int) -> Floats:
    """Largest of the last ``length`` bars, the present one included. As TA-Lib's MAX."""
    length = length_window(length)
    return tiled(lambda x: maxima(x, length), length, source)


def rolling_min(source: Floats, length: int) -> Floats:
    """Smallest of the last ``length`` bars, the present one included. As TA-Lib's MIN."""
    length = length_window(length)
    return tiled(lambda x: minima(x, length), length, source)


def rolling_std(source: Floats, length: int) -> Floats:
    """sqrt(mean of (x - mean)**2) over the last ``length`` bars, at least 2: the population deviation.

    As TA-Lib's STDDEV and numpy's std; pandas divides by length - 1 unless told ddof=0. Exactly 0 on a flat
    window.
    """
    length = deviation_window(length)
    return tiled(lambda x: deviations(x, length), length, source)


def rolling_quantile(source: Floats, length: int, quantile: float) -> Floats:
    """Quantile of the last ``length`` bars; 0.5 is the median.

    R. J. Hyndman, Y. Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996),
    type 7: linear between neighbours, as numpy and pandas do by default.
    """
    length = quantile_window(length, quantile)
    fraction = float(quantile)
    return tiled(lambda x: quantiles(x, length, fraction), length, source)


def z_score(source: Floats, length: int) -> Floats:
    """(x - mean) / rolling_std over the last ``length`` bars, at least 2: distance in population deviations.

    0 on a flat window, where the value is its mean. pandas' std divides by length - 1 unless told ddof=0.
    """
    length = deviation_window(length)

    def kernel(x: Floats) -> Floats:
        mean, deviation = moments(x, length)
        values = (x[length - 1 :] - mean) / deviation
        values[deviation == 0.0] = 0.0
        return values

    return tiled(kernel, length, source)


# --- averages -----------------------------------------------------------------------------------------------


def sma(source: Floats, length: int) -> Floats:
    """Simple moving average: rolling_sum / length.

    On a flat series averages of different lengths may differ in the last bit; those of ``ema`` do not.
    """
    length = length_window(length)
    return tiled(lambda x: means(x, length), length, source)


def sma_rows(source: Floats, lengths: Sequence[int]) -> Floats:
    """``sma`` of each length in one array of shape (len(lengths), n), bit for bit equal: for sweeps."""
    return mean_rows(source, [length_window(length) for length in lengths])


def ema(source: Floats, span: int, window: int | None = None) -> Floats:
    """Exponential moving average: weights 1, d, d**2, ... backwards, to sum 1; d = (span - 1) / (span + 1).

    Window ``window``, at least span, by default 5 * span: what an endless average would give to older bars,
    d**window, is then below e**-10 = 0.0045 % of the weight. The same as pandas' ewm(span=span).mean(), whose
    default is adjust=True, over the bars of the window. TA-Lib's EMA and most charts start from an SMA and
    never forget, so that a value depends on where the data begins; ours forgets by design, because live
    trading sees exactly this window.
    """
    bars = ema_window(span, window)
    decay = (int(span) - 1) / (int(span) + 1)
    return tiled(lambda x: decayed_means(x, decay, bars), bars, source)


def wilder_average(source: Floats, length: int, window: int | None = None) -> Floats:
    """Wilder's average (RMA): as ``ema`` with d = (length - 1) / length, that is alpha = 1 / length.

    Window ``window``, at least length, by default 10 * length (weight outside below e**-10).
    J. Welles Wilder, New Concepts in Technical Trading Systems (1978), starts from an SMA and never forgets.
    """
    bars = wilder_window(length, window)
    decay = _wilder_decay(length)
    return tiled(lambda x: decayed_means(x, decay, bars), bars, source)


def _wilder_decay(length: int) -> float:
    return (int(length) - 1) / int(length)


# --- momentum and range -------------------------------------------------------------------------------------


def rsi(source: Floats, length: int, window: int | None = None) -> Floats:
    """Relative strength index: 100 * up / (up + down), Wilder averages of rises and of falls; from 0 to 100.

    Window ``window``, at least length + 1, by default 10 * length + 1. 50 when nothing moved at all: no
    movement is neither strength nor weakness, while TA-Lib's 0 would read as oversold. J. Welles Wilder, New
    Concepts in Technical Trading Systems (1978), whose averages start from an SMA and never forget.
    """
    bars = wilder_change_window(length, window)
    decay = _wilder_decay(length)

    def kernel(x: Floats) -> Floats:
        moves = x[1:] - x[:-1] + 0.0  # + 0.0: minus zero becomes zero
        up = decayed_means(np.maximum(moves, 0.0), decay, bars - 1)
        down = decayed_means(np.minimum(moves, 0.0), decay, bars - 1)  # zero or negative
        total = up - down
        values: Floats = 100.0 * (up / total)  # the share cannot exceed 1, so the index cannot exceed 100
        values[total == 0.0] = 50.0
        return values

    return tiled(kernel, bars, source)


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """max(high, previous close) - min(low, previous close). Window 2.

    J. Welles Wilder, New Concepts in Technical Trading Systems (1978); the largest of his three differences.
    """
    return tiled(_true_ranges, true_range_window(), high, low, close)


def atr(high: Floats, low: Floats, close: Floats, length: int, window: int | None = None) -> Floats:
    """Average true range: Wilder average of the true range.

    Window ``window``, at least length + 1, by default 10 * length + 1. J. Welles Wilder, New Concepts in
    Technical Trading Systems (1978), whose average, like TA-Lib's, starts from an SMA and never forgets.
    """
    bars = wilder_change_window(length, window)
    decay = _wilder_decay(length)

    def kernel(high: Floats, low: Floats, close: Floats) -> Floats:
        return decayed_means(_true_ranges(high, low, close), decay, bars - 1)

    return tiled(kernel, bars, high, low, close)


def _true_ranges(high: Floats, low: Floats, close: Floats) -> Floats:
    before = close[:-1]
    # + 0.0: minus zero becomes zero
    ranges: Floats = np.maximum(high[1:], before) - np.minimum(low[1:], before) + 0.0
    return ranges


# --- bands and channels -------------------------------------------------------------------------------------


def bollinger_middle(source: Floats, length: int) -> Floats:
    """Middle Bollinger band: sma. Length at least 2. J. Bollinger, Bollinger on Bollinger Bands (2001)."""
    deviation_window(length)
    return sma(source, length)


def bollinger_upper(source: Floats, length: int, width: float = 2.0) -> Floats:
    """Upper Bollinger band: sma + width * rolling_std; length >= 2, width > 0. As TA-Lib's BBANDS."""
    length = bollinger_window(length, width)
    return tiled(lambda x: means(x, length) + deviations(x, length) * float(width), length, source)


def bollinger_lower(source: Floats, length: int, width: float = 2.0) -> Floats:
    """Lower Bollinger band: sma - width * rolling_std; length >= 2, width > 0. As TA-Lib's BBANDS."""
    length = bollinger_window(length, width)
    return tiled(lambda x: means(x, length) - deviations(x, length) * float(width), length, source)


def bollinger_percent_b(source: Floats, length: int, width: float = 2.0) -> Floats:
    """(x - lower) / (upper - lower) of the Bollinger bands: 0 at the lower one, 1 at the upper one.

    0.5, the middle, when the bands coincide. J. Bollinger, Bollinger on Bollinger Bands (2001).
    """
    length = bollinger_window(length, width)

    def kernel(x: Floats) -> Floats:
        middle, reach = means(x, length), deviations(x, length) * float(width)
        lower = middle - reach
        between = middle + reach - lower
        values = (x[length - 1 :] - lower) / between
        values[between == 0.0] = 0.5
        return values

    return tiled(kernel, length, source)


def bollinger_bandwidth(source: Floats, length: int, width: float = 2.0) -> Floats:
    """(upper - lower) / middle of the Bollinger bands, a fraction (0.01 is 1 %; some charts multiply by 100).

    J. Bollinger, Bollinger on Bollinger Bands (2001).
    """
    length = bollinger_window(length, width)

    def kernel(x: Floats) -> Floats:
        middle, reach = means(x, length), deviations(x, length) * float(width)
        values: Floats = (middle + reach - (middle - reach)) / middle
        return values

    return tiled(kernel, length, source)


def donchian_high(high: Floats, length: int) -> Floats:
    """Upper Donchian channel: highest high of the last ``length`` bars, the present one included.

    A close never lies above it: a breakout compares with ``lag(donchian_high, 1)``, the channel of the bars
    before. Richard Donchian's weekly rule, with the present bar included as in TA-Lib's MAX.
    """
    return rolling_max(high, length)


def donchian_low(low: Floats, length: int) -> Floats:
    """Lower Donchian channel: lowest low of the last ``length`` bars; see ``donchian_high``."""
    return rolling_min(low, length)


def donchian_middle(high: Floats, low: Floats, length: int) -> Floats:
    """Middle of the Donchian channel: (donchian_high + donchian_low) / 2. As TA-Lib's MIDPRICE."""
    length = length_window(length)
    return tiled(lambda high, low: (maxima(high, length) + minima(low, length)) * 0.5, length, high, low)


# --- the registry -------------------------------------------------------------------------------------------


def _registered(
    function: Callable[..., Floats],
    window: Callable[..., int],
    *sources: str,
    rows: Callable[[Floats, Sequence[int]], Floats] | None = None,
) -> Indicator:
    """Return the registry's entry; names and defaults of parameters are those of the function."""
    parameters = list(inspect.signature(function).parameters.values())[len(sources) :]
    required = tuple(parameter.name for parameter in parameters if parameter.default is parameter.empty)
    names = tuple(parameter.name for parameter in parameters)
    return Indicator(function.__name__, function, window, sources, names, required, rows)


INDICATORS: dict[str, Indicator] = {
    indicator.name: indicator
    for indicator in (
        _registered(sma, length_window, "close", rows=sma_rows),
        _registered(ema, ema_window, "close"),
        _registered(wilder_average, wilder_window, "close"),
        _registered(rsi, wilder_change_window, "close"),
        _registered(true_range, true_range_window, "high", "low", "close"),
        _registered(atr, wilder_change_window, "high", "low", "close"),
        _registered(bollinger_middle, deviation_window, "close"),
        _registered(bollinger_upper, bollinger_window, "close"),
        _registered(bollinger_lower, bollinger_window, "close"),
        _registered(bollinger_percent_b, bollinger_window, "close"),
        _registered(bollinger_bandwidth, bollinger_window, "close"),
        _registered(donchian_high, length_window, "high"),
        _registered(donchian_low, length_window, "low"),
        _registered(donchian_middle, length_window, "high", "low"),
        _registered(rate_of_change, change_window, "close"),
        _registered(change, change_window, "close"),
        _registered(lag, change_window, "close"),
        _registered(z_score, deviation_window, "close"),
        _registered(rolling_sum, length_window, "close"),
        _registered(rolling_std, deviation_window, "close"),
        _registered(rolling_max, length_window, "close"),
        _registered(rolling_min, length_window, "close"),
        _registered(rolling_quantile, quantile_window, "close"),
    )
}
