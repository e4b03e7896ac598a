"""Windows: sums, averages, deviations and extremes that are functions of the last n bars and nothing else.

The promise under every indicator: the value at row t depends, bit for bit, on the source rows
[t - window + 1, t] and on nothing else. A live cycle that holds just the declared bars and a backtest over
years get the same bytes; a NaN, an infinity or 1e300 before the window leaves no trace. So there are no
cumulative sums and no recursion over history.

The promise is cheap by doubling: a block of 2k bars is two neighbouring blocks of k bars, and a window of n
bars is put together from the blocks that the binary digits of n name, newest first. That takes log2(n) passes
over whole columns, and one more for each 1 among the digits. The order of operations is a function of n
alone, and only + - * / sqrt, comparisons and sorting are used, element by element: IEEE 754 fixes each to the
last bit, so every processor gives the same bytes. numpy's own sum, mean, std, dot and cumsum along the data
are ruled out (the order of their additions depends on the processor), and so are exp, log and pow (not
correctly rounded).

Two loose ends of IEEE 754 are tied here. Minus zero becomes zero before maxima, minima and sorting, because
which of two zeros wins is up to the processor. Every NaN leaves as the same NaN: its sign and payload are up
to the processor, too.

So the functions here work on a *tile*, consecutive rows of a source, and return the values of its full
windows only. ``tiled`` makes a whole column of that, and is where sources are checked; nothing ever writes to
a source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trading_runtime.core.errors import StrategyError

Floats = npt.NDArray[np.float64]

# Rows worked on at a time: the few columns of a tile stay in the processor's nearer caches, and its temporary
# arrays, two columns at most, below the 128 KB from which malloc asks the system for fresh pages each time.
# Twice as fast as whole columns; no bit of a result depends on it.
TILE_ROWS = 7 * 2**10
# Elements sorted at a time by ``quantiles``: 2 MB of float64.
SORTED_AT_A_TIME = 2**18
# Sums of values below this cannot overflow to infinity, so none can become NaN (float64 ends at 1.8e308).
SUMMABLE = 1e290


class Merge(Protocol):
    """Writes what two neighbouring blocks of bars are together to ``out``, which may be ``newer`` itself."""

    def __call__(self, newer: Floats, older: Floats, newer_bars: int, older_bars: int, out: Floats, /) -> None:
        """Merge blocks of shape (..., n), of ``newer_bars`` and ``older_bars`` bars each."""


# --- parameters and columns ---------------------------------------------------------------------------------


def whole_number(name: str, value: object, minimum: int) -> int:
    """Return ``value`` as int; raises StrategyError unless it is an integer (no bool, no 20.0) >= minimum."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= minimum:
        return int(value)
    raise StrategyError(f"{name} must be a whole number of at least {minimum}, not {value!r}")


def finite_number(name: str, value: object) -> float:
    """Return ``value`` as float; raises StrategyError unless it is a finite number."""
    kinds = (int, float, np.integer, np.floating)
    if isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise StrategyError(f"{name} must be a finite number, not {value!r}")


def columns(*sources: Floats) -> tuple[Floats, ...]:
    """Return the sources as contiguous float64 columns, uncopied if they are that already.

    Raises StrategyError for another shape than (n,) or for different lengths.
    """
    result = tuple(np.asarray(source, dtype=np.float64, order="C") for source in sources)
    if any(source.ndim != 1 or len(source) != len(result[0]) for source in result):
        shapes = ", ".join(str(source.shape) for source in result)
        raise StrategyError(f"an indicator reads columns of one and the same shape (n,), not {shapes}")
    return result


def finished(values: Floats, window: int) -> Floats:
    """Return ``values``, changed in place: NaN before the first full window, and every NaN the same NaN."""
    values[: window - 1] = np.nan
    known = values[window - 1 :]
    unknown = np.isnan(known)
    if unknown.any():
        known[unknown] = np.nan
    return values


def tiled(kernel: Callable[..., Floats], window: int, *sources: Floats) -> Floats:
    """Return a column of shape (n,) worked out tile by tile; NaN in the rows before the first full window.

    ``kernel`` gets consecutive rows of every source and returns the values at those rows that end a full
    window: all but the first window - 1. A value depends on its window alone, so where a tile begins cannot
    matter. Raises StrategyError when the sources are not columns of one length.
    """
    sources = columns(*sources)
    rows = len(sources[0])
    result = np.empty(rows)
    step = max(TILE_ROWS, 4 * window)  # the first window - 1 rows of a tile are read twice
    with np.errstate(all="ignore"):
        for first in range(0, rows - window + 1, step):
            last = min(first + step + window - 1, rows)
            result[first + window - 1 : last] = kernel(*(source[first:last] for source in sources))
    return finished(result, window)


# --- doubling -----------------------------------------------------------------------------------------------


def doublings(state: Floats, length: int, merge: Merge) -> Iterator[tuple[int, Floats]]:
    """Yield (1, blocks of 1 bar), (2, blocks of 2 bars), (4, ...), up to ``length`` bars.

    ``state`` has shape (..., n) and is yielded as it is; blocks of k bars have shape (..., n - k + 1), oldest
    first.
    """
    bars = 1
    while True:
        yield bars, state
        if 2 * bars > length:
            return
        older, newer = state[..., :-bars], state[..., bars:]
        state = np.empty_like(newer)
        merge(newer, older, bars, bars, state)
        bars *= 2


def fold(state: Floats, length: int, merge: Merge) -> Floats:
    """Return all windows of ``length`` bars, merged, shape (..., n - length + 1), oldest first.

    n must reach ``length``; the result is a view of ``state`` when ``length`` is 1.
    """
    count = state.shape[-1] - length + 1
    merged = state
    covered = 0
    owned = False  # whether ``merged`` is ours to write to
    for bars, blocks in doublings(state, length, merge):
        if not length & bars:
            continue
        # The newest ``covered`` bars of each window are merged: the next block ends that many bars before it.
        start = length - covered - bars
        older = blocks[..., start : start + count]
        if covered == 0:
            merged = older
        else:
            out = merged if owned else np.empty_like(merged)
            merge(merged, older, covered, bars, out)
            merged, owned = out, True
        covered += bars
    return merged


def add_blocks(newer: Floats, older: Floats, newer_bars: int, older_bars: int, out: Floats) -> None:
    """Merge sums."""
    np.add(newer, older, out=out)


def larger_blocks(newer: Floats, older: Floats, newer_bars: int, older_bars: int, out: Floats) -> None:
    """Merge maxima."""
    np.maximum(newer, older, out=out)


def smaller_blocks(newer: Floats, older: Floats, newer_bars: int, older_bars: int, out: Floats) -> None:
    """Merge minima."""
    np.minimum(newer, older, out=out)


class DecayBlocks:
    """Merges averages in which a bar weighs ``decay`` times the bar after it and the weights sum to 1.

    The newer average moves towards the older one by the older block's share of the weight. Adding up sums and
    dividing at the end would save a pass, but this way a flat series averages to exactly itself, whatever the
    length: two averages of it are equal to the last bit and never seem to cross.
    """

    def __init__(self, decay: float, rows: int) -> None:
        self._scratch = np.empty(rows)
        # By bars in a block: decay ** bars, multiplied out, and the block's weight 1 + decay + decay**2 + ...
        self._power = {1: decay}
        self._weight = {1: 1.0}

    def __call__(self, newer: Floats, older: Floats, newer_bars: int, older_bars: int, out: Floats, /) -> None:
        """Merge averages."""
        bars = newer_bars + older_bars
        older_weight = self._power[newer_bars] * self._weight[older_bars]
        self._weight[bars] = self._weight[newer_bars] + older_weight
        self._power[bars] = self._power[newer_bars] * self._power[older_bars]
        step = self._scratch[: newer.shape[-1]]
        np.subtract(older, newer, out=step)
        np.multiply(step, older_weight / self._weight[bars], out=step)
        np.add(newer, step, out=out)


class MomentBlocks:
    """Merges [mean, sum of squared deviations from it], of shape (2, n).

    T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for Computing the Sample Variance", The American
    Statistician 37 (1983). At least as accurate as two passes (the error grows with log n), never negative,
    and exactly zero for a flat window, which a mean with a rounding error would spoil.
    """

    def __init__(self, rows: int) -> None:
        self._scratch = np.empty((2, rows))

    def __call__(self, newer: Floats, older: Floats, newer_bars: int, older_bars: int, out: Floats, /) -> None:
        """Merge means and sums of squared deviations."""
        bars = newer_bars + older_bars
        difference, step = self._scratch[:, : newer.shape[-1]]
        np.subtract(older[0], newer[0], out=difference)
        np.multiply(difference, older_bars / bars, out=step)
        np.add(newer[0], step, out=out[0])
        np.multiply(difference, difference, out=difference)
        np.multiply(difference, newer_bars * older_bars / bars, out=difference)
        np.add(newer[1], older[1], out=out[1])
        np.add(out[1], difference, out=out[1])


# --- all windows of a tile ----------------------------------------------------------------------------------
# Each takes m rows and returns the m - length + 1 values of the full windows, oldest first.


def sums(tile: Floats, length: int) -> Floats:
    """Return the sums over windows of ``length`` bars."""
    return fold(tile, length, add_blocks)


def means(tile: Floats, length: int) -> Floats:
    """Return the arithmetic means over windows of ``length`` bars: the sums divided by ``length``."""
    return np.divide(fold(tile, length, add_blocks), length)


def decayed_means(tile: Floats, decay: float, window: int) -> Floats:
    """Return averages over windows of ``window`` bars; each bar weighs ``decay`` times the one after it."""
    return fold(tile, window, DecayBlocks(decay, len(tile)))


def moments(tile: Floats, length: int) -> tuple[Floats, Floats]:
    """Return the means and population standard deviations over windows of ``length`` bars.

    Where all bars of a window are equal, the mean is exactly their value and the deviation exactly 0.
    """
    state = np.zeros((2, len(tile)))
    state[0] = tile
    mean, squares = fold(state, length, MomentBlocks(len(tile)))
    return mean, np.sqrt(squares / length)


def deviations(tile: Floats, length: int) -> Floats:
    """Return the population standard deviations over windows of ``length`` bars."""
    return moments(tile, length)[1]


def maxima(tile: Floats, length: int) -> Floats:
    """Return the largest of each window of ``length`` bars; NaN when one of them is NaN."""
    return _extremes(tile, length, larger_blocks)


def minima(tile: Floats, length: int) -> Floats:
    """Return the smallest of each window of ``length`` bars; NaN when one of them is NaN."""
    return _extremes(tile, length, smaller_blocks)


def _extremes(tile: Floats, length: int, merge: Merge) -> Floats:
    bars, blocks = list(doublings(tile + 0.0, length, merge))[-1]  # + 0.0: minus zero becomes zero
    extremes = np.empty(len(tile) - length + 1)
    # Blocks may overlap here: the newest and the oldest of the largest power of two cover any window.
    merge(blocks[-len(extremes) :], blocks[: len(extremes)], bars, bars, extremes)
    return extremes


def quantiles(tile: Floats, length: int, quantile: float) -> Floats:
    """Return a quantile of each window of ``length`` bars, linear between neighbours; NaN if one bar is NaN.

    Sorts every window, in portions of bounded memory: time grows with n * length * log(length).
    """
    position = quantile * (length - 1)
    lower = min(int(position), length - 1)
    upper = min(lower + 1, length - 1)
    share = position - lower
    windows = np.lib.stride_tricks.sliding_window_view(tile + 0.0, length)  # + 0.0: minus zero becomes zero
    portion = max(SORTED_AT_A_TIME // length, 1)
    result = np.empty(len(windows))
    for start in range(0, len(windows), portion):
        ordered = np.sort(windows[start : start + portion], axis=1)
        low, high = ordered[:, lower], ordered[:, upper]
        # As numpy's own: from the nearer neighbour, and the neighbour itself where the position names one.
        if share == 0.0:
            values = low
        elif share < 0.5:
            values = low + (high - low) * share
        else:
            values = high - (high - low) * (1.0 - share)
        unknown = np.isnan(ordered[:, -1])  # sorting puts NaN last
        result[start : start + portion] = np.where(unknown, np.nan, values)
    return result


# --- many lengths at once -----------------------------------------------------------------------------------


def mean_rows(source: Floats, lengths: Sequence[int]) -> Floats:
    """Return the means of many lengths as columns, shape (len(lengths), n), bit for bit those of ``means``.

    Faster than one by one because the blocks are made once for all lengths.
    """
    (source,) = columns(source)
    rows = len(source)
    result = np.empty((len(lengths), rows))
    longest = max((length for length in lengths if length <= rows), default=1)
    step = max(2 * TILE_ROWS, 4 * longest)  # temporary arrays hold one column here, not two
    with np.errstate(all="ignore"):
        summable = bool(np.all(np.abs(source) < SUMMABLE))
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            first = max(start - longest + 1, 0)
            levels = list(doublings(source[first:stop], min(longest, stop - first), add_blocks))
            for row, length in zip(result, lengths, strict=True):
                begin = max(start, length - 1)
                if begin >= stop:
                    continue
                part = row[begin:stop]
                oldest = begin - first + 1  # within the tile: one past the bar that ends the first window
                total = part
                for bars, blocks in levels:
                    if length & bars:
                        oldest -= bars
                        older = blocks[oldest : oldest + len(part)]
                        # As in ``fold``: the newest block is the first sum, and is read where it lies.
                        total = older if bars == length & -length else np.add(total, older, out=part)
                np.divide(total, length, out=part)
    for row, length in zip(result, lengths, strict=True):
        if summable:
            row[: length - 1] = np.nan
        else:
            finished(row, length)
    return result
