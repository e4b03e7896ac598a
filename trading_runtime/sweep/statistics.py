"""Statistics that count the trials: how good a Sharpe ratio is after so many were tried, and how often the best is
luck.

Formulas, sources and units: ``docs/metrics.md``. Pure functions on returns of cells, each a fraction per period (a UTC
day, or a bar of a day or longer). As in ``backtest.metrics`` nothing depends on the processor: sums are exactly rounded
or added element by element in a fixed order, logarithm and normal distribution go through ``decimal``.

What cannot be computed is refused with its reason in the result; only a call that no data could mend raises ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Context, Decimal
from statistics import NormalDist
from typing import Any

import numpy as np

from trading_runtime.backtest.metrics import published, sampled_bars
from trading_runtime.backtest.tables import Flags, Floats, Integers
from trading_runtime.core.errors import DataError

CONFIDENCE = 0.95
BLOCKS = 16  # as the paper: 12,870 ways to choose half of them
BLOCKS_MOST = 18  # 48,620 ways; each two more quadruple the time
BLOCK_ROWS_LEAST = 2
RANK_BINS = 10

_DECIMAL = Context(prec=90)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
_EULER = Decimal("0.57721566490153286060651209008240243104215933593992359880576723")  # Euler and Mascheroni
_TAIL = 15  # beyond, the normal distribution's tail is below 1e-50: zero for every purpose

# A variance this small beside the mean square is what rounding leaves of returns that are all equal.
_NO_SPREAD = 2.0**-40


@dataclass(frozen=True)
class Moments:
    """Returns of one trial, per period: their Sharpe ratio (mean / sample deviation, not annualised), skewness g₁ and
    kurtosis (3 for a normal distribution, not the excess). All None when the returns do not spread.
    """

    count: int
    sharpe: float | None
    skewness: float | None
    kurtosis: float | None


@dataclass(frozen=True)
class DeflatedSharpe:
    """The Sharpe ratio of the chosen trial, judged. Ratios are annual; ``probability`` is the deflated Sharpe ratio:
    the probability that the true one exceeds ``expected_maximum``, what the best of so many trials without skill shows.
    ``probability_positive`` judges as if there had been one trial. The track record is in returns and in years.
    """

    probability: float | None = None
    probability_positive: float | None = None
    sharpe: float | None = None
    expected_maximum: float | None = None
    trials: int = 0
    trials_deviation: float | None = None
    returns: int = 0
    skewness: float | None = None
    kurtosis: float | None = None
    minimum_track_record_returns: float | None = None
    minimum_track_record_years: float | None = None
    refusal: str | None = None


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


def return_moments(returns: Sequence[float]) -> Moments:
    """Return the moments of one trial's returns. Raises ValueError for a return that is not finite."""
    count = len(returns)
    if not all(math.isfinite(value) for value in returns):
        raise ValueError("a return is not finite")
    if count < 2:
        return Moments(count, None, None, None)
    mean = math.fsum(returns) / count
    offsets = [value - mean for value in returns]
    squares = [offset * offset for offset in offsets]
    total = math.fsum(squares)
    if total <= _NO_SPREAD * math.fsum(value * value for value in returns):
        return Moments(count, None, None, None)
    variance = total / count
    third = math.fsum(square * offset for square, offset in zip(squares, offsets, strict=True)) / count
    fourth = math.fsum(square * square for square in squares) / count
    return Moments(
        count,
        mean / math.sqrt(total / (count - 1)),
        third / (variance * math.sqrt(variance)),
        fourth / (variance * variance),
    )


def trial_sharpes(returns: Floats) -> list[float | None]:
    """Return the Sharpe ratio of every trial per period, None where returns do not spread; ``returns`` has shape
    (periods, trials).
    """
    if len(returns) < 2:
        return [None] * returns.shape[1]
    (sums,), (squares,) = _block_sums(returns, 1)
    sharpes, known = _sharpes(sums, squares, len(returns))
    return [value if there else None for value, there in zip(sharpes.tolist(), known.tolist(), strict=True)]


def deflated_sharpe(
    chosen: Moments, sharpes: Sequence[float | None], *, periods_per_year: float, trials: int
) -> DeflatedSharpe:
    """Return the deflated Sharpe ratio of a chosen trial (Bailey and López de Prado 2014).

    ``sharpes`` are those of all trials, per period and not annualised, None where there is none. ``trials`` counts
    every trial, those without a Sharpe ratio too: they were tried.
    """
    year = math.sqrt(periods_per_year)
    told = DeflatedSharpe(trials=trials, returns=chosen.count)
    if chosen.sharpe is None or chosen.skewness is None or chosen.kurtosis is None:
        return replace(told, refusal=f"the {chosen.count} returns of the chosen cell do not spread")
    known = [value for value in sharpes if value is not None]
    deviation = _deviation(known) if len(known) > 1 else 0.0
    benchmark = expected_maximum_sharpe(deviation, trials)
    spread = estimate_variance(chosen)
    if spread <= 0.0:
        return replace(told, refusal="skewness and kurtosis of so few returns allow no error of the Sharpe ratio")
    length = minimum_track_record(chosen)
    return replace(
        told,
        probability=_published(probabilistic_sharpe(chosen, benchmark)),
        probability_positive=_published(probabilistic_sharpe(chosen, 0.0)),
        sharpe=_published(chosen.sharpe * year),
        expected_maximum=_published(benchmark * year),
        trials_deviation=_published(deviation * year),
        skewness=_published(chosen.skewness),
        kurtosis=_published(chosen.kurtosis),
        minimum_track_record_returns=_published(length),
        minimum_track_record_years=_published(None if length is None else length / periods_per_year),
    )


def estimate_variance(moments: Moments) -> float:
    """Return (n − 1) times the variance of the estimated Sharpe ratio: 1 − γ₃·SR + (γ₄ − 1)/4·SR² (Mertens 2002)."""
    sharpe, skewness, kurtosis = moments.sharpe, moments.skewness, moments.kurtosis
    if sharpe is None or skewness is None or kurtosis is None:
        raise ValueError("returns that do not spread have no Sharpe ratio")
    return 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe


def probabilistic_sharpe(moments: Moments, benchmark: float) -> float:
    """Return the probability that the true Sharpe ratio exceeds ``benchmark``, both per period (Bailey and López de
    Prado 2012): Φ((SR − SR*)·√(n − 1) / √(1 − γ₃·SR + (γ₄ − 1)/4·SR²)). Raises ValueError where that root does not
    exist.
    """
    variance = estimate_variance(moments)
    if moments.sharpe is None or not variance > 0.0:
        raise ValueError("these moments allow no error of the Sharpe ratio")
    return normal_probability((moments.sharpe - benchmark) * math.sqrt((moments.count - 1) / variance))


def minimum_track_record(moments: Moments, benchmark: float = 0.0, confidence: float = CONFIDENCE) -> float | None:
    """Return how many returns it takes to say with ``confidence`` that the true Sharpe ratio exceeds ``benchmark``
    (Bailey and López de Prado 2012): 1 + (1 − γ₃·SR + (γ₄ − 1)/4·SR²)·(Z / (SR − SR*))². None when SR does not exceed
    it at all.
    """
    if moments.sharpe is None or moments.sharpe <= benchmark:
        return None
    ratio = normal_quantile(confidence) / (moments.sharpe - benchmark)
    return 1.0 + estimate_variance(moments) * ratio * ratio


def expected_maximum_sharpe(deviation: float, trials: int) -> float:
    """Return what the best of ``trials`` shows when none has skill, for trials whose Sharpe ratios have this standard
    deviation: σ·((1 − γ)·Φ⁻¹(1 − 1/N) + γ·Φ⁻¹(1 − 1/(N·e))), γ being Euler's constant. Zero for a single trial.
    """
    if trials < 1 or deviation < 0.0:
        raise ValueError(f"{trials} trials with a deviation of {deviation!r}")
    if trials == 1 or deviation == 0.0:
        return 0.0
    one = Decimal(1)
    first = _quantile(_DECIMAL.subtract(one, _DECIMAL.divide(one, trials)))
    second = _quantile(_DECIMAL.subtract(one, _DECIMAL.divide(one, _DECIMAL.multiply(trials, _DECIMAL.exp(one)))))
    weighted = _DECIMAL.add(_DECIMAL.multiply(_DECIMAL.subtract(one, _EULER), first), _DECIMAL.multiply(_EULER, second))
    return deviation * float(weighted)


def normal_probability(value: float) -> float:
    """Return Φ(value), the standard normal distribution, correctly rounded down to 1e-50; 0 or 1 beyond."""
    return float(_probability(Decimal(value)))


def normal_quantile(probability: float) -> float:
    """Return Φ⁻¹(probability). Raises ValueError outside (0, 1)."""
    if not 0.0 < probability < 1.0:
        raise ValueError(f"a probability between 0 and 1 has a quantile, not {probability!r}")
    return float(_quantile(Decimal(probability)))


def _density(value: Decimal) -> Decimal:
    square = _DECIMAL.multiply(value, value)
    return _DECIMAL.divide(_DECIMAL.exp(_DECIMAL.divide(square, -2)), _DECIMAL.sqrt(_DECIMAL.multiply(2, _PI)))


def _probability(value: Decimal) -> Decimal:
    """Φ(x) = ½ + φ(x)·(x + x³/3 + x⁵/(3·5) + …): all terms have one sign, so nothing cancels but the ½ of a lower tail,
    which ninety digits outlast.
    """
    if not -_TAIL <= value <= _TAIL:
        return Decimal(1 if value > 0 else 0)
    square = _DECIMAL.multiply(value, value)
    term = total = value
    divisor = 1
    while term and term.adjusted() > total.adjusted() - _DECIMAL.prec:
        divisor += 2
        term = _DECIMAL.divide(_DECIMAL.multiply(term, square), divisor)
        total = _DECIMAL.add(total, term)
    return _DECIMAL.add(Decimal("0.5"), _DECIMAL.multiply(_density(value), total))


def _quantile(probability: Decimal) -> Decimal:
    """Newton's steps from the float answer: each doubles its digits, so where they began no longer shows."""
    low = min(probability, _DECIMAL.subtract(Decimal(1), probability))
    value = Decimal(NormalDist().inv_cdf(float(low)))
    for _ in range(3):
        error = _DECIMAL.subtract(_probability(value), low)
        value = _DECIMAL.subtract(value, _DECIMAL.divide(error, _density(value)))
    return value if low == probability else value.copy_negate()


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
    sums, squares = _block_sums(returns[periods - rows * blocks :], blocks)
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
        probability=_published(math.fsum(weight for rank, weight in weights.items() if 2 * rank <= trials + 1) / count),
        probability_of_loss=_published(math.fsum(losses) / count),
        logit_median=_published(_logit(_median(weights, count), trials)),
        sharpe_in_sample=_published(math.fsum(inside) / count * year),
        sharpe_out_of_sample=_published(math.fsum(outside) / count * year),
        rank_shares=tuple(float(published(weight / count) or 0.0) for weight in bins),
    )


def _block_sums(returns: Floats, blocks: int) -> tuple[list[Floats], list[Floats]]:
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
            yield _sharpes(*one, rows)[0], _sharpes(*other, rows)[0]
            return
        if counts[0] < half:
            grown = (one[0] + sums[place], one[1] + squares[place])
            yield from descend(place + 1, (counts[0] + 1, counts[1]), grown, other)
        if counts[1] < half:
            grown = (other[0] + sums[place], other[1] + squares[place])
            yield from descend(place + 1, (counts[0], counts[1] + 1), one, grown)

    yield from descend(1, (1, 0), (sums[0], squares[0]), (nothing, nothing))


def _sharpes(sums: Floats, squares: Floats, rows: int) -> tuple[Floats, Flags]:
    """Return Sharpe ratios and whether returns spread at all; where they do not, the ratio is 0."""
    spread = squares - sums * sums / rows
    known = spread > _NO_SPREAD * squares
    result = np.zeros(len(sums))
    np.divide(sums / rows, np.sqrt(np.maximum(spread, 0.0) / (rows - 1)), out=result, where=known)
    return result, known


def _median(weights: dict[float, float], count: int) -> float:
    """Return the lowest rank that at least half of the combinations do not exceed."""
    total = 0.0
    for rank, weight in weights.items():
        total += weight
        if total * 2.0 >= count * (1.0 - _NO_SPREAD):
            return rank
    raise AssertionError("the weights of all combinations are their number")


def _logit(rank: float, trials: int) -> float:
    odds = _DECIMAL.divide(Decimal(rank), _DECIMAL.subtract(Decimal(trials + 1), Decimal(rank)))
    return float(_DECIMAL.ln(odds))


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


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1))


def _published(value: float | None) -> float | None:
    rounded = published(value)
    return rounded if isinstance(rounded, float) else None
