"""The deflated Sharpe ratio (Bailey and López de Prado 2014): how good a Sharpe ratio is after so many were tried.

Formulas, sources and units: ``docs/metrics.md``. Nothing depends on the processor: sums are exactly rounded, logarithm
and normal distribution go through ``decimal``. What cannot be computed is refused with its reason in the result; only a
call that no data could mend raises ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from statistics import NormalDist

from trading_runtime.sweep.trial_returns import NO_SPREAD, published_number

CONFIDENCE = 0.95

_DECIMAL = Context(prec=90)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
_EULER = Decimal("0.57721566490153286060651209008240243104215933593992359880576723")  # Euler and Mascheroni
_TAIL = 15  # beyond, the normal distribution's tail is below 1e-50: zero for every purpose


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
    if total <= NO_SPREAD * math.fsum(value * value for value in returns):
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
        probability=published_number(probabilistic_sharpe(chosen, benchmark)),
        probability_positive=published_number(probabilistic_sharpe(chosen, 0.0)),
        sharpe=published_number(chosen.sharpe * year),
        expected_maximum=published_number(benchmark * year),
        trials_deviation=published_number(deviation * year),
        skewness=published_number(chosen.skewness),
        kurtosis=published_number(chosen.kurtosis),
        minimum_track_record_returns=published_number(length),
        minimum_track_record_years=published_number(None if length is None else length / periods_per_year),
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


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1))
