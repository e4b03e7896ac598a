"""The probability of backtest overfitting (Bailey, Borwein, López de Prado and Zhu 2015): how often the best is luck.

Formulas, sources and units: ``docs/metrics.md``. Nothing depends on the processor: sums are added in a fixed order, the
logarithm goes through ``decimal``. What cannot be computed is refused with its reason in the result; only a call that
no data could mend raises ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal

import numpy as np

from trading_runtime.backtest.return_metrics import published
from trading_runtime.backtest.tables import Floats
from trading_runtime.sweep.trial_returns import NO_SPREAD, block_sums, published_number, sharpes_of

BLOCKS = 16  # as the paper: 12,870 ways to choose half of them
BLOCKS_MOST = 18  # 48,620 ways; each two more quadruple the time
BLOCK_ROWS_LEAST = 2
RANK_BINS = 10

_DECIMAL = Context(prec=90)


@dataclass(frozen=True)
class Overfitting:
    """Combinatorially symmetric cross-validation. ``probability`` is that of overfitting: how often the best of one
    half is in the lower half of the other. ``rank_shares`` says how often its relative rank there fell into each tenth,
    worst first. Ratios are annual means over the combinations, of the chosen one in its half and in the other.
    """

    probability: float | None = None
    probability_of_loss: float | None = None
    logit_median: float | None = None
    sharpe_in_sample: float | None = None
    sharpe_out_of_sample: float | None = None
    rank_shares: tuple[float, ...] = ()
    trials: int = 0
    returns: int = 0
    blocks: int = 0
    combinations: int = 0
    refusal: str | None = None


def backtest_overfitting(returns: Floats, *, periods_per_year: float, blocks: int = BLOCKS) -> Overfitting:
    """Return the probability of backtest overfitting by combinatorially symmetric cross-validation (Bailey, Borwein,
    López de Prado and Zhu 2015), judging trials by their Sharpe ratio.

    ``returns`` has shape (periods, trials). The periods are cut into ``blocks`` equal ones, an even number; the oldest
    that do not fill a block are left out. Every choice of half of the blocks is one combination: the best trial there
    is ranked among all in the other half, relative rank ω = rank / (N + 1), logit λ = ln(ω / (1 − ω)), and the
    probability is the share of λ ≤ 0. Trials that share the best count in equal parts, equal ones in the ranking share
    its mean. A trial whose returns do not spread has the Sharpe ratio 0.

    Takes C(blocks, blocks/2) · trials steps: seconds for 16 blocks and 10,000 trials. Memory: a copy of nothing but
    sums.
    """
    if blocks < 2 or blocks % 2 or blocks > BLOCKS_MOST:
        raise ValueError(f"blocks must be even, 2 to {BLOCKS_MOST}, not {blocks}")
    periods, trials = returns.shape
    count = math.comb(blocks, blocks // 2)
    told = Overfitting(trials=trials, returns=periods, blocks=blocks, combinations=count)
    rows = periods // blocks
    if trials < 2:
        return replace(told, refusal="overfitting is a matter of choosing: there is one trial")
    if rows < BLOCK_ROWS_LEAST:
        least = blocks * BLOCK_ROWS_LEAST
        return replace(told, refusal=f"{periods} returns are too few for {blocks} blocks: at least {least} are needed")
    if not np.isfinite(returns).all():
        return replace(told, refusal="a return is not finite")
    sums, squares = block_sums(returns[periods - rows * blocks :], blocks)
    year = math.sqrt(periods_per_year)
    ranks: dict[float, list[float]] = {}
    inside: list[float] = []
    outside: list[float] = []
    losses: list[float] = []
    for first, second in _halves(sums, squares, rows * blocks // 2):
        for chosen_on, judged_on in ((first, second), (second, first)):
            winners = np.flatnonzero(chosen_on == chosen_on.max())
            share = 1.0 / len(winners)
            for winner in winners.tolist():
                value = judged_on[winner]
                below, equal = np.count_nonzero(judged_on < value), np.count_nonzero(judged_on == value)
                ranks.setdefault(below + (equal + 1) / 2, []).append(share)
                outside.append(share * float(value))
                losses.append(share if value < 0.0 else 0.0)
            inside.append(float(chosen_on[winners[0]]))
    weights = {rank: math.fsum(shares) for rank, shares in sorted(ranks.items())}
    bins = [0.0] * RANK_BINS
    for rank, weight in weights.items():
        bins[int(rank / (trials + 1) * RANK_BINS)] += weight
    return replace(
        told,
        probability=published_number(
            math.fsum(weight for rank, weight in weights.items() if 2 * rank <= trials + 1) / count
        ),
        probability_of_loss=published_number(math.fsum(losses) / count),
        logit_median=published_number(_logit(_median(weights, count), trials)),
        sharpe_in_sample=published_number(math.fsum(inside) / count * year),
        sharpe_out_of_sample=published_number(math.fsum(outside) / count * year),
        rank_shares=tuple(float(published(weight / count) or 0.0) for weight in bins),
    )


def _halves(sums: Sequence[Floats], squares: Sequence[Floats], rows: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield the Sharpe ratios of both halves, shape (trials,) each, for every way to cut the blocks in two; the first
    block is always in the first half, so that each cut comes once. Halves that begin alike share their sums.
    """
    half = len(sums) // 2
    nothing = np.zeros_like(sums[0])

    def descend(
        place: int, counts: tuple[int, int], one: tuple[Floats, Floats], other: tuple[Floats, Floats]
    ) -> Iterator[tuple[Floats, Floats]]:
        if place == len(sums):
            yield sharpes_of(*one, rows)[0], sharpes_of(*other, rows)[0]
            return
        if counts[0] < half:
            grown = (one[0] + sums[place], one[1] + squares[place])
            yield from descend(place + 1, (counts[0] + 1, counts[1]), grown, other)
        if counts[1] < half:
            grown = (other[0] + sums[place], other[1] + squares[place])
            yield from descend(place + 1, (counts[0], counts[1] + 1), one, grown)

    yield from descend(1, (1, 0), (sums[0], squares[0]), (nothing, nothing))


def _median(weights: dict[float, float], count: int) -> float:
    """Return the lowest rank that at least half of the combinations do not exceed."""
    total = 0.0
    for rank, weight in weights.items():
        total += weight
        if total * 2.0 >= count * (1.0 - NO_SPREAD):
            return rank
    raise AssertionError("the weights of all combinations are their number")


def _logit(rank: float, trials: int) -> float:
    odds = _DECIMAL.divide(Decimal(rank), _DECIMAL.subtract(Decimal(trials + 1), Decimal(rank)))
    return float(_DECIMAL.ln(odds))
