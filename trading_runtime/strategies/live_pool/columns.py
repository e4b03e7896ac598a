"""Columns that the rules define otherwise than the indicators of the core: sample deviations and a geometric mean.

Sample means divided by n - 1, as the upstream publisher does; ``rolling_std`` and ``z_score`` of the core divide by n.
As there, a value depends bit for bit on its window only. Rules that use the columns are not here.
"""

from __future__ import annotations

import math

import numpy as np

from trading_runtime.core.windows import Floats, MomentBlocks, fold, means, tiled
from trading_runtime.strategies.live_pool.logarithms import exponential, logarithm


def sample_deviation(source: Floats, length: int) -> Floats:
    """sqrt(sum of (x - mean)**2 / (length - 1)) over the last ``length`` bars, at least 2, in the unit of the source.
    Window ``length``; exactly 0 where all bars are equal.
    """
    return tiled(lambda x: _sample_moments(x, length)[1], length, source)


def sample_z_score(source: Floats, length: int) -> Floats:
    """(x - mean) / sample deviation over the last ``length`` bars, at least 2. Window ``length``.

    NaN where all bars are equal: a distance in deviations of zero is not known.
    """

    def kernel(x: Floats) -> Floats:
        mean, deviation = _sample_moments(x, length)
        values: Floats = (x[length - 1 :] - mean) / deviation
        return values

    return tiled(kernel, length, source)


def geometric_mean(source: Floats, length: int) -> Floats:
    """exp(mean of ln x) over the last ``length`` bars, in the unit of the source. Window ``length``; NaN where a bar of
    it is not positive and finite.
    """
    logarithms = np.array(
        [logarithm(value) if 0.0 < value < math.inf else math.nan for value in source.tolist()], dtype=np.float64
    )
    averages = tiled(lambda x: means(x, length), length, logarithms)
    known = [exponential(value) if math.isfinite(value) else math.nan for value in averages.tolist()]
    return np.array(known, dtype=np.float64)


def _sample_moments(tile: Floats, length: int) -> tuple[Floats, Floats]:
    """The means and sample standard deviations of the full windows of a tile, oldest first."""
    state = np.zeros((2, len(tile)))
    state[0] = tile
    mean, squares = fold(state, length, MomentBlocks(len(tile)))
    return mean, np.sqrt(squares / (length - 1))
