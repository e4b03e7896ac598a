"""Deflated Sharpe ratio and overfitting: against the papers' worked examples, against direct computation, and by
invariants.

Examples: Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier" (2012), pages 10 to 18, and "The Deflated
Sharpe Ratio" (2014), its numerical example.
"""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.backtest.metrics import compute_metrics
from trading_runtime.backtest.tables import Floats
from trading_runtime.core.errors import DataError
from trading_runtime.sweep.deflated_sharpe import (
    DeflatedSharpe,
    Moments,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    normal_probability,
    normal_quantile,
    probabilistic_sharpe,
    return_moments,
)
from trading_runtime.sweep.overfitting import Overfitting, backtest_overfitting
from trading_runtime.sweep.statistics import rank_correlation, sweep_statistics
from trading_runtime.sweep.trial_returns import returns_matrix, trial_sharpes

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
DOCUMENT = Path(__file__).parent.parent / "docs" / "metrics.md"


def noise(seed: int, periods: int, trials: int, drift: float = 0.0) -> Floats:
    return np.random.default_rng(seed).normal(drift, 0.02, (periods, trials))


# The normal distribution.


@pytest.mark.parametrize("value", [-14.0, -8.0, -3.3, -1.0, -1e-9, 0.0, 0.5, 2.0, 6.0, 14.0])
def test_the_normal_distribution_agrees_with_the_complementary_error_function(value: float) -> None:
    assert normal_probability(value) == pytest.approx(0.5 * math.erfc(-value / math.sqrt(2.0)), rel=1e-14)


@given(st.floats(1e-40, 0.5))
def test_a_quantile_has_its_probability(probability: float) -> None:
    assert normal_probability(normal_quantile(probability)) == pytest.approx(probability, rel=1e-13)
    assert normal_quantile(probability) == pytest.approx(NormalDist().inv_cdf(probability), rel=1e-9, abs=1e-15)


def test_the_ends_of_the_normal_distribution() -> None:
    assert (normal_probability(-1e6), normal_probability(1e6)) == (0.0, 1.0)
    assert normal_quantile(0.5) == 0.0
    for outside in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            normal_quantile(outside)


# Worked examples.


def test_the_probabilistic_sharpe_ratio_of_the_paper() -> None:
    """24 months at 0.458 a month: 0.982 if returns were normal, 0.913 with their skewness and kurtosis."""
    assert probabilistic_sharpe(Moments(24, 0.458, 0.0, 3.0), 0.0) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(Moments(24, 0.458, -2.448, 10.164), 0.0) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(
    ("periods", "skewness", "kurtosis", "years"),
    [(250, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_minimum_track_record_of_the_paper(periods: int, skewness: float, kurtosis: float, years: float) -> None:
    """An annual Sharpe ratio of 2 against one of 1, by days, weeks and months, and for returns of hedge funds."""
    moments = Moments(100, 2.0 / math.sqrt(periods), skewness, kurtosis)
    length = minimum_track_record(moments, 1.0 / math.sqrt(periods))
    assert length is not None
    assert length / periods == pytest.approx(years, abs=5e-3)


def test_the_deflated_sharpe_ratio_of_the_paper() -> None:
    """Five years of days at an annual 2.5, trials with a variance of a half: 0.90 of 100 trials, 0.95 of 46, and of 88
    if returns were normal.
    """
    deviation = math.sqrt(0.5 / 250)
    skewed, plain = (Moments(1250, 2.5 / math.sqrt(250), *shape) for shape in ((-3.0, 10.0), (0.0, 3.0)))
    assert expected_maximum_sharpe(deviation, 100) == pytest.approx(0.1132, abs=5e-5)
    assert probabilistic_sharpe(skewed, expected_maximum_sharpe(deviation, 100)) == pytest.approx(0.9004, abs=5e-5)
    assert probabilistic_sharpe(skewed, expected_maximum_sharpe(deviation, 46)) == pytest.approx(0.9505, abs=5e-5)
    assert probabilistic_sharpe(plain, expected_maximum_sharpe(deviation, 88)) == pytest.approx(0.9505, abs=5e-5)


def test_the_expected_maximum_is_that_of_drawn_maxima() -> None:
    """The mean of the highest of 50 normal numbers, drawn 40,000 times, within three of its errors and the formula's
    own.
    """
    highest = np.random.default_rng(20_260_101).normal(0.0, 1.0, (40_000, 50)).max(axis=1)
    assert expected_maximum_sharpe(1.0, 50) == pytest.approx(highest.mean(), rel=0.015)
    assert expected_maximum_sharpe(1.0, 1) == 0.0
    assert expected_maximum_sharpe(0.0, 50) == 0.0


# Deflated Sharpe ratio.


def test_a_returns_moments_agree_with_numpy_and_with_the_metrics_of_a_run() -> None:
    returns = noise(3, 400, 1, 0.001)[:, 0]
    moments = return_moments(returns.tolist())
    offsets = returns - returns.mean()
    assert moments.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1), rel=1e-12)
    assert moments.skewness == pytest.approx((offsets**3).mean() / offsets.var() ** 1.5, rel=1e-12)
    assert moments.kurtosis == pytest.approx((offsets**4).mean() / offsets.var() ** 2, rel=1e-12)
    assert trial_sharpes(returns[:, None])[0] == pytest.approx(moments.sharpe, rel=1e-12)


def test_returns_that_do_not_spread_are_refused() -> None:
    for returns in ([], [0.01], [0.01] * 40, [0.0] * 40):
        moments = return_moments(returns)
        assert moments == Moments(len(returns), None, None, None)
        told = deflated_sharpe(moments, [0.1, None], periods_per_year=365, trials=2)
        assert told.probability is None
        assert told.refusal is not None
        assert "do not spread" in told.refusal
    assert trial_sharpes(np.column_stack([np.full(40, 0.01), np.zeros(40)])) == [None, None]
    with pytest.raises(ValueError, match="finite"):
        return_moments([0.1, math.inf])


def test_more_trials_deflate_more() -> None:
    returns = noise(4, 500, 60)
    sharpes = trial_sharpes(returns)
    best = max(range(60), key=lambda column: sharpes[column] or 0.0)
    moments = return_moments(returns[:, best].tolist())
    told = [deflated_sharpe(moments, sharpes, periods_per_year=365, trials=count) for count in (60, 600, 60_000)]
    values = [one.probability for one in told]
    assert values == sorted(values, key=lambda value: -(value or 0.0))
    assert len(set(values)) == 3
    first = told[0]
    assert first.probability_positive is not None
    assert first.probability is not None
    assert first.probability_positive > 0.97, "the best of sixty looks like skill"
    assert first.probability < 0.9, "and is not, once the sixty are counted"
    assert first.sharpe == pytest.approx((moments.sharpe or 0.0) * math.sqrt(365), rel=1e-11)
    alone = deflated_sharpe(moments, [moments.sharpe], periods_per_year=365, trials=1)
    assert alone.probability == alone.probability_positive
    assert alone.expected_maximum == 0.0


def test_a_losing_trial_has_no_track_record_that_is_long_enough() -> None:
    moments = return_moments(noise(5, 300, 1, -0.01)[:, 0].tolist())
    told = deflated_sharpe(moments, [moments.sharpe], periods_per_year=365, trials=1)
    assert told.minimum_track_record_returns is None
    assert told.minimum_track_record_years is None


@given(st.integers(0, 10_000), st.sampled_from([0.25, 4.0, 1024.0]))
@settings(max_examples=25)
def test_moments_do_not_know_the_size_of_returns(seed: int, factor: float) -> None:
    """Scaled by a power of two, to the last bit: leverage changes neither ratio nor shape."""
    returns = noise(seed, 50, 1)[:, 0].tolist()
    assert return_moments([value * factor for value in returns]) == return_moments(returns)


# Overfitting.


def directly(returns: Floats, blocks: int) -> tuple[float, float]:
    """Return probability of overfitting and of loss as the paper's text says it, by numpy's mean and deviation."""
    rows = len(returns) // blocks
    cut = returns[len(returns) - rows * blocks :].reshape(blocks, rows, returns.shape[1])
    overfitted = losses = 0
    ways = list(itertools.combinations(range(blocks), blocks // 2))
    for chosen in ways:
        rest = [block for block in range(blocks) if block not in chosen]
        first, second = (cut[list(part)].reshape(-1, returns.shape[1]) for part in (chosen, rest))
        best = int(np.argmax(first.mean(axis=0) / first.std(axis=0, ddof=1)))
        judged = second.mean(axis=0) / second.std(axis=0, ddof=1)
        rank = 1 + int(np.sum(judged < judged[best]))
        relative = rank / (returns.shape[1] + 1)
        overfitted += math.log(relative / (1 - relative)) <= 0.0
        losses += bool(judged[best] < 0.0)
    return overfitted / len(ways), losses / len(ways)


@pytest.mark.parametrize(
    ("blocks", "periods", "trials"), [(2, 40, 3), (4, 83, 7), (6, 61, 12), (8, 160, 30), (10, 205, 5)]
)
def test_agrees_with_the_direct_computation(blocks: int, periods: int, trials: int) -> None:
    for seed in range(4):
        returns = noise(seed * 100 + blocks, periods, trials)
        told = backtest_overfitting(returns, periods_per_year=365, blocks=blocks)
        assert (told.probability, told.probability_of_loss) == pytest.approx(directly(returns, blocks)), f"seed {seed}"
        assert told.combinations == math.comb(blocks, blocks // 2)
        assert math.fsum(told.rank_shares) == pytest.approx(1.0)


def test_two_trials_and_two_blocks_by_hand() -> None:
    """The first is better in the first block and worse in the second: what is chosen is the worse one then."""
    returns = np.array([[0.03, 0.01], [0.02, 0.00], [-0.01, 0.02], [0.00, 0.04]])
    told = backtest_overfitting(returns, periods_per_year=365, blocks=2)
    assert told.probability == 1.0
    assert told.logit_median == pytest.approx(math.log(0.5), rel=1e-11)
    assert told.rank_shares == (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    steady = backtest_overfitting(np.array([[0.03, 0.01], [0.02, 0.00]] * 2), periods_per_year=365, blocks=2)
    assert (steady.probability, steady.probability_of_loss) == (0.0, 0.0)


def test_skill_is_told_from_noise() -> None:
    """One trial that is truly better is chosen again and again; of pure noise, about every second choice is bad."""
    returns = noise(6, 320, 40)
    returns[:, 17] += 0.02
    told = backtest_overfitting(returns, periods_per_year=365)
    assert told.probability is not None
    assert told.probability < 0.01
    assert told.combinations == 12_870
    probabilities = [
        backtest_overfitting(noise(seed, 320, 40), periods_per_year=365, blocks=8).probability for seed in range(20)
    ]
    assert 0.35 < sum(value or 0.0 for value in probabilities) / 20 < 0.7


@given(st.integers(0, 10_000), st.sampled_from([0.5, 8.0]), st.sampled_from([2, 4, 6]))
@settings(max_examples=30)
def test_overfitting_knows_neither_the_order_of_trials_nor_of_blocks_nor_the_size_of_returns(
    seed: int, factor: float, blocks: int
) -> None:
    rng = np.random.default_rng(seed)
    returns = noise(seed, blocks * 9, 8)
    returns[:, 5] = returns[:, 2]  # equal trials tie everywhere
    returns[:, 6] = 0.0
    told = backtest_overfitting(returns, periods_per_year=365, blocks=blocks)
    assert backtest_overfitting(returns[:, rng.permutation(8)], periods_per_year=365, blocks=blocks) == told
    assert backtest_overfitting(returns * factor, periods_per_year=365, blocks=blocks) == told
    order = rng.permutation(blocks)
    moved = returns.reshape(blocks, 9, 8)[order].reshape(-1, 8)
    other = backtest_overfitting(moved, periods_per_year=365, blocks=blocks)
    assert other.probability == told.probability
    assert other.rank_shares == pytest.approx(told.rank_shares)


def test_the_oldest_returns_that_fill_no_block_are_left_out() -> None:
    returns = noise(8, 64, 5)
    longer = np.vstack([np.full((3, 5), 9.0), returns])
    short, long = (backtest_overfitting(part, periods_per_year=365, blocks=4) for part in (returns, longer))
    assert short.probability == long.probability
    assert short.sharpe_in_sample == long.sharpe_in_sample
    assert (short.returns, long.returns) == (64, 67)


def test_what_cannot_be_judged_is_refused_with_its_reason() -> None:
    for returns, blocks, reason in (
        (noise(1, 100, 1), 4, "one trial"),
        (noise(1, 31, 9), 16, "at least 32"),
        (np.full((64, 3), math.nan), 4, "not finite"),
    ):
        told = backtest_overfitting(returns, periods_per_year=365, blocks=blocks)
        assert told.probability is None
        assert told.refusal is not None
        assert reason in told.refusal
    for blocks in (0, 3, 20):
        with pytest.raises(ValueError, match="blocks must be even"):
            backtest_overfitting(noise(1, 100, 3), periods_per_year=365, blocks=blocks)


def test_trials_that_never_traded_do_no_harm() -> None:
    told = backtest_overfitting(np.zeros((64, 3)), periods_per_year=365, blocks=4)
    assert (told.probability, told.sharpe_in_sample, told.probability_of_loss) == (1.0, 0.0, 0.0)


# Returns from equity, and everything together.


def test_returns_are_those_that_the_metrics_of_a_run_sample() -> None:
    """Hours and their days give the same returns, and moments the published Sharpe ratio."""
    from backtest_samples import make_equity, make_fills

    from trading_runtime.backtest.tables import no_funding
    from trading_runtime.backtest.trades import build_trades

    rng = np.random.default_rng(11)
    hourly = make_equity((100.0 * np.cumprod(1 + rng.normal(0.0, 0.005, 24 * 30))).tolist(), bar_ms=HOUR_MS)
    days = slice(23, None, 24)
    by_hour = returns_matrix([(hourly.time_ms, hourly.equity)], start_cash=100.0, bar_ms=HOUR_MS)
    by_day = returns_matrix([(hourly.time_ms[days], hourly.equity[days])], start_cash=100.0, bar_ms=HOUR_MS)
    assert by_hour.shape == (30, 1)
    assert np.array_equal(by_hour, by_day)
    fills = make_fills([])
    trades = build_trades(fills, no_funding(), last_close=[1.0], last_time_ms=0, last_bar=0)
    metrics = compute_metrics(hourly, trades, fills, no_funding(), start_cash=100.0, bar_ms=HOUR_MS)
    moments = return_moments(by_hour[:, 0].tolist())
    assert metrics["sharpe_ratio"] == pytest.approx((moments.sharpe or 0.0) * math.sqrt(365), rel=1e-11)
    assert metrics["skewness"] == pytest.approx(moments.skewness, rel=1e-11)
    assert metrics["excess_kurtosis"] == pytest.approx((moments.kurtosis or 0.0) - 3.0, rel=1e-10)


def test_spent_accounts_and_foreign_times() -> None:
    time_ms = np.arange(1, 5, dtype=np.int64) * DAY_MS
    spent = np.array([50.0, 0.0, 10.0, 20.0])
    assert returns_matrix([(time_ms, spent)], start_cash=100.0, bar_ms=DAY_MS)[:, 0].tolist() == [-0.5, -1.0, 0.0, 0.0]
    with pytest.raises(DataError, match="trial 1 has other times"):
        returns_matrix([(time_ms, spent), (time_ms + DAY_MS, spent)], start_cash=100.0, bar_ms=DAY_MS)
    with pytest.raises(DataError, match="no trial"):
        returns_matrix([], start_cash=100.0, bar_ms=DAY_MS)
    with pytest.raises(DataError, match="not finite"):
        returns_matrix([(time_ms, np.full(4, math.nan))], start_cash=100.0, bar_ms=DAY_MS)


def test_the_statistics_of_a_sweep_are_one_json_document() -> None:
    import json

    told = sweep_statistics(noise(9, 128, 12), 4, periods_per_year=365, trials=30, blocks=8)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["trials"] == told["deflated_sharpe"]["trials"] == 30
    assert told["backtest_overfitting"]["trials"] == 12
    for chosen, trials in ((12, None), (-1, None), (0, 11)):
        with pytest.raises(ValueError, match="columns"):
            sweep_statistics(noise(9, 128, 12), chosen, periods_per_year=365, trials=trials)


def test_rank_correlation_by_hand() -> None:
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 400.0]) == 1.0
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == -1.0
    assert rank_correlation([1.0, 2.0, 2.0, 4.0], [1.0, 3.0, 2.0, 4.0]) == pytest.approx(4.5 / math.sqrt(4.5 * 5.0))
    assert rank_correlation([1.0, 1.0], [1.0, 2.0]) is None
    assert rank_correlation([], []) is None


def test_every_figure_of_the_statistics_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Statistics of a sweep")[2]
    documented = set(re.findall(r"`(\w+)`", text))
    for kind in (DeflatedSharpe, Overfitting):
        assert set(kind.__dataclass_fields__) - {"refusal"} <= documented, kind
