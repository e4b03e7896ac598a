"""Returns of trials, compared: one matrix of all of them, and the Sharpe ratio of each.

Sums are added row by row in a fixed order: numpy's own choose theirs by processor. What the figures say about luck is
``deflated_sharpe``'s and ``overfitting``'s matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trading_runtime.backtest.return_metrics import published, sampled_bars
from trading_runtime.backtest.tables import Flags, Floats, Integers
from trading_runtime.core.errors import DataError

# A variance this small beside the mean square is what rounding leaves of returns that are all equal.
NO_SPREAD = 2.0**-40


def returns_matrix(series: Sequence[tuple[Integers, Floats]], *, start_cash: float, bar_ms: int) -> Floats:
    """Return shape (periods, trials): simple returns of each trial's equity at the last close of each UTC day, or at
    every close of longer bars, the first from the starting cash. After equity is spent, returns are zero.

    Raises DataError when the trials do not stand at the same times: their returns could not be compared.
    """
    if not series:
        raise DataError("there is no trial to take returns of")
    times = series[0][0][sampled_bars(series[0][0], bar_ms)]
    matrix = np.zeros((len(times), len(series)))
    for column, (time_ms, equity) in enumerate(series):
        samples = sampled_bars(time_ms, bar_ms)
        if not np.array_equal(time_ms[samples], times):
            raise DataError(f"trial {column} has other times than the first: returns of different periods")
        curve = np.concatenate(([start_cash], equity[samples]))
        if not np.isfinite(curve).all():
            raise DataError(f"trial {column}: its equity is not finite")
        alive = np.minimum.accumulate(curve[:-1]) > 0.0
        np.divide(curve[1:] - curve[:-1], curve[:-1], out=matrix[:, column], where=alive)
    return matrix


def trial_sharpes(returns: Floats) -> list[float | None]:
    """Return the Sharpe ratio of every trial per period, None where returns do not spread; ``returns`` has shape
    (periods, trials).
    """
    if len(returns) < 2:
        return [None] * returns.shape[1]
    (sums,), (squares,) = block_sums(returns, 1)
    sharpes, known = sharpes_of(sums, squares, len(returns))
    return [value if there else None for value, there in zip(sharpes.tolist(), known.tolist(), strict=True)]


def block_sums(returns: Floats, blocks: int) -> tuple[list[Floats], list[Floats]]:
    """Return for each block the sums of returns and of their squares, shape (trials,), added row by row in order:
    numpy's own sums choose their order by processor.
    """
    rows = len(returns) // blocks
    sums, squares = [], []
    for block in range(blocks):
        total, square = np.zeros(returns.shape[1]), np.zeros(returns.shape[1])
        for row in returns[block * rows : (block + 1) * rows]:
            total += row
            square += row * row
        sums.append(total)
        squares.append(square)
    return sums, squares


def sharpes_of(sums: Floats, squares: Floats, rows: int) -> tuple[Floats, Flags]:
    """Return Sharpe ratios and whether returns spread at all; where they do not, the ratio is 0."""
    spread = squares - sums * sums / rows
    known = spread > NO_SPREAD * squares
    result = np.zeros(len(sums))
    np.divide(sums / rows, np.sqrt(np.maximum(spread, 0.0) / (rows - 1)), out=result, where=known)
    return result, known


def published_number(value: float | None) -> float | None:
    """Return a figure with the digits that results have."""
    rounded = published(value)
    return rounded if isinstance(rounded, float) else None
