"""Statistics that count the trials, as one document: how good a Sharpe ratio is after so many were tried, and how often
the best is luck.

Formulas, sources and units: ``docs/metrics.md``. Pure functions on returns of cells, each a fraction per period (a UTC
day, or a bar of a day or longer). What cannot be computed is refused with its reason in the result; only a call that no
data could mend raises ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from trading_runtime.backtest.tables import Floats
from trading_runtime.sweep.deflated_sharpe import deflated_sharpe, return_moments
from trading_runtime.sweep.overfitting import BLOCKS, backtest_overfitting
from trading_runtime.sweep.trial_returns import returns_matrix, trial_sharpes

__all__ = ["rank_correlation", "returns_matrix", "sweep_statistics"]


def sweep_statistics(
    returns: Floats, chosen: int, *, periods_per_year: float, trials: int | None = None, blocks: int = BLOCKS
) -> dict[str, Any]:
    """Return the part ``statistics`` of ``sweep.json``.

    ``returns`` has shape (periods, trials), ``chosen`` is the column of the trial that was chosen. ``trials`` is how
    many were tried, when more were than have a column: those that were tried before count as well.
    """
    periods, columns = returns.shape
    count = columns if trials is None else trials
    if not 0 <= chosen < columns or count < columns:
        raise ValueError(f"{columns} columns, but trial {chosen} was chosen of {count}")
    if not np.isfinite(returns).all():
        raise ValueError("a return is not finite")
    moments = return_moments(returns[:, chosen].tolist())
    deflated = deflated_sharpe(moments, trial_sharpes(returns), periods_per_year=periods_per_year, trials=count)
    overfitting = backtest_overfitting(returns, periods_per_year=periods_per_year, blocks=blocks)
    return {
        "trials": count,
        "returns": periods,
        "deflated_sharpe": asdict(deflated),
        "backtest_overfitting": asdict(overfitting) | {"rank_shares": list(overfitting.rank_shares)},
    }


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; equal values share their mean rank. None when one side does not vary."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values beside {len(second)}")
    one, other = _ranks(first), _ranks(second)
    middle = (len(first) + 1) / 2
    products = math.fsum((a - middle) * (b - middle) for a, b in zip(one, other, strict=True))
    spread = math.fsum((a - middle) ** 2 for a in one) * math.fsum((b - middle) ** 2 for b in other)
    return products / math.sqrt(spread) if spread else None


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            ranks[place] = (start + 1 + end) / 2
        start = end
    return ranks
