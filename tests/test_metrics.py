"""Metrics: by hand where small, against empyrical where it has them, and by properties everywhere."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backtest_samples import DAY_MS, HOUR_MS, START_MS, make_equity, make_fills, make_funding
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.backtest.metrics import METRICS, compute_metrics
from trading_runtime.backtest.return_metrics import Value, published
from trading_runtime.backtest.tables import EquityTable, FillTable, FundingTable, no_funding
from trading_runtime.backtest.trades import build_trades

UNIT = 100_000_000
DOCUMENT = Path(__file__).parent.parent / "docs" / "metrics.md"


def metrics_of(
    equity: EquityTable,
    fills: FillTable | None = None,
    funding: FundingTable | None = None,
    *,
    start_cash: float = 100.0,
    bar_ms: int = DAY_MS,
    close: float = 100.0,
    **options: Any,
) -> dict[str, Value]:
    fills = make_fills([], bar_ms=bar_ms) if fills is None else fills
    funding = no_funding() if funding is None else funding
    trades = build_trades(
        fills,
        funding,
        last_close=[close] * len(fills.symbols),
        last_time_ms=int(equity.time_ms[-1]),
        last_bar=len(equity) - 1,
    )
    return compute_metrics(equity, trades, fills, funding, start_cash=start_cash, bar_ms=bar_ms, **options)


def number(values: dict[str, Value], key: str) -> float:
    value = values[key]
    assert isinstance(value, int | float), f"{key} is {value!r}"
    return float(value)


def walk(seed: int, days: int, start: float = 100.0, drift: float = 0.0005, spread: float = 0.03) -> list[float]:
    rng = np.random.default_rng(seed)
    return (start * np.exp(np.cumsum(rng.normal(drift, spread, days)))).tolist()


def test_every_metric_is_documented_and_nothing_else_is() -> None:
    """The table in docs/metrics.md has the keys of the result, in their order."""
    documented = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert documented == [metric.key for metric in METRICS]
    assert list(metrics_of(make_equity([101.0]))) == documented


def test_returns_and_annual_return_by_hand() -> None:
    """Doubling in 73 days is two to the fifth in 365, less one."""
    equity = [100.0] * 72 + [200.0]
    values = metrics_of(make_equity(equity))
    assert values["total_return_fraction"] == 1.0
    assert values["annual_return_fraction"] == 31.0
    assert values["period_days"] == 73.0
    assert values["return_count"] == 73
    assert values["start_equity"] == 100.0
    assert values["end_equity"] == 200.0


def test_the_annualisation_base_is_stated_and_used() -> None:
    """Daily bars use 365 periods, weekly bars a seventh of it, and hours are sampled at ends of UTC days."""
    daily = metrics_of(make_equity(walk(1, 10)))
    assert (daily["return_sample"], daily["periods_per_year"], daily["return_count"]) == ("bar", 365.0, 10)
    weekly = metrics_of(make_equity(walk(1, 10), bar_ms=7 * DAY_MS), bar_ms=7 * DAY_MS)
    assert weekly["return_sample"] == "bar"
    assert number(weekly, "periods_per_year") == pytest.approx(365 / 7)
    hourly = metrics_of(make_equity(walk(1, 60), bar_ms=HOUR_MS), bar_ms=HOUR_MS)
    assert (hourly["return_sample"], hourly["periods_per_year"], hourly["return_count"]) == (
        "UTC day",
        365.0,
        3,
    )
    stocks = metrics_of(make_equity(walk(1, 10)), periods_per_year=252)
    assert (stocks["periods_per_year"], stocks["days_per_year"]) == (252.0, 252.0)


def test_hours_give_the_ratios_of_their_days() -> None:
    """A close at midnight belongs to the day it ends, so hourly bars have the risk figures of daily ones."""
    days = walk(2, 40)
    hours = [value for close in days for value in [close * 1.5] * 23 + [close]]
    by_day = metrics_of(make_equity(days))
    by_hour = metrics_of(make_equity(hours, bar_ms=HOUR_MS), bar_ms=HOUR_MS)
    for key in (
        "sharpe_ratio",
        "sortino_ratio",
        "volatility_annual_fraction",
        "annual_return_fraction",
        "skewness",
    ):
        assert by_hour[key] == by_day[key]
    assert by_hour["maximum_drawdown_fraction"] != by_day["maximum_drawdown_fraction"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("free_rate", [0.0, 0.04])
def test_agrees_with_empyrical(seed: int, free_rate: float) -> None:
    """Where empyrical has a metric, ours is the same, signs and the annualisation of alpha aside."""
    empyrical = pytest.importorskip("empyrical")
    pandas = pytest.importorskip("pandas")
    own, other = walk(seed, 400), walk(seed + 100, 400)
    values = metrics_of(make_equity(own, benchmark=other), risk_free_rate_annual=free_rate)
    index = pandas.date_range("2024-01-01", periods=400)
    returns = pandas.Series(own, index=index).div(pandas.Series([100.0, *own[:-1]], index=index)) - 1.0
    benchmark = pandas.Series(other, index=index).div(pandas.Series([100.0, *other[:-1]], index=index)) - 1.0
    rate = (1.0 + free_rate) ** (1 / 365) - 1.0
    alpha, beta = empyrical.alpha_beta(returns, benchmark, risk_free=rate, annualization=365)
    expected = {
        "total_return_fraction": empyrical.cum_returns_final(returns),
        "annual_return_fraction": empyrical.annual_return(returns, annualization=365),
        "volatility_annual_fraction": empyrical.annual_volatility(returns, annualization=365),
        "sharpe_ratio": empyrical.sharpe_ratio(returns, risk_free=rate, annualization=365),
        "sortino_ratio": empyrical.sortino_ratio(returns, required_return=rate, annualization=365),
        "calmar_ratio": empyrical.calmar_ratio(returns, annualization=365),
        "maximum_drawdown_fraction": -empyrical.max_drawdown(returns),
        "value_at_risk_95_fraction": -empyrical.value_at_risk(returns),
        "expected_shortfall_95_fraction": -empyrical.conditional_value_at_risk(returns),
        "beta": beta,
        "skewness": float(returns.skew()) * (400 - 2) / math.sqrt(400 * 399),  # pandas corrects for n
        "correlation": float(returns.corr(benchmark)),
        "benchmark_return_fraction": empyrical.cum_returns_final(benchmark),
        "information_ratio": empyrical.excess_sharpe(returns, benchmark) * math.sqrt(365),
        "tracking_error_annual_fraction": float((returns - benchmark).std()) * math.sqrt(365),
    }
    for key, value in expected.items():
        assert number(values, key) == pytest.approx(value, rel=1e-9, abs=1e-12), key
    compounded = (1.0 + number(values, "alpha_annual_fraction") / 365) ** 365 - 1.0
    assert compounded == pytest.approx(alpha, rel=1e-9, abs=1e-12)


def test_drawdown_and_its_duration_by_hand() -> None:
    """A drawdown lasts from the last bar at the peak to the first bar back at it, or to the end."""
    recovered = metrics_of(make_equity([110.0, 110.0, 99.0, 88.0, 105.0, 110.0, 120.0, 119.0]))
    assert recovered["maximum_drawdown_fraction"] == 0.2
    assert recovered["maximum_drawdown_bars"] == 4
    assert recovered["maximum_drawdown_days"] == 4.0
    assert recovered["longest_drawdown_days"] == 4.0
    assert number(recovered, "average_drawdown_fraction") == pytest.approx(
        (11 / 110 + 22 / 110 + 5 / 110 + 1 / 120) / 8
    )
    unrecovered = metrics_of(make_equity([90.0, 100.0, 99.0, 98.0, 99.0]))
    assert unrecovered["maximum_drawdown_fraction"] == 0.1  # the starting cash is the first peak
    assert unrecovered["maximum_drawdown_bars"] == 2
    assert unrecovered["longest_drawdown_days"] == 3.0


def test_rising_equity_has_no_drawdown() -> None:
    """Without a loss there is no drawdown, no duration and no Calmar ratio."""
    values = metrics_of(make_equity([101.0, 102.0, 104.0]))
    assert values["maximum_drawdown_fraction"] == 0.0
    assert values["maximum_drawdown_bars"] == 0
    assert values["longest_drawdown_days"] == 0.0
    assert values["calmar_ratio"] is None


def test_flat_equity_defines_no_ratio() -> None:
    """Nothing happened: zero return and volatility, and every ratio that would divide by them is None."""
    values = metrics_of(make_equity([100.0] * 30))
    assert values["total_return_fraction"] == values["volatility_annual_fraction"] == 0.0
    for key in (
        "sharpe_ratio",
        "sortino_ratio",
        "calmar_ratio",
        "skewness",
        "beta",
        "correlation",
        "information_ratio",
    ):
        assert values[key] is None, key
    for key in (
        "win_rate_fraction",
        "profit_factor",
        "expectancy",
        "sqn",
        "average_win",
        "average_holding_days",
    ):
        assert values[key] is None, key
    assert values["trades"] == values["open_trades"] == values["fills"] == 0


def test_steady_growth_has_no_spread() -> None:
    """Returns that differ only by rounding do not make a Sharpe ratio of millions."""
    values = metrics_of(make_equity([100.0 * 1.001**day for day in range(1, 200)]))
    assert values["volatility_annual_fraction"] == 0.0
    assert values["sharpe_ratio"] is None


@pytest.mark.parametrize("end", [0.0, -50.0])
def test_a_lost_account_defines_what_it_can(end: float) -> None:
    """Equity at or below zero ends the returns: total and drawdown are stated, what needs returns after it is
    None.
    """
    values = metrics_of(make_equity([90.0, end, end]))
    assert values["total_return_fraction"] == (end - 100.0) / 100.0
    assert values["annual_return_fraction"] == (-1.0 if end == 0.0 else None)
    assert values["maximum_drawdown_fraction"] == (100.0 - end) / 100.0
    for key in ("volatility_annual_fraction", "sharpe_ratio", "value_at_risk_95_fraction", "beta"):
        assert values[key] is None, key


def test_an_annual_return_beyond_float64_is_none() -> None:
    """Ten times in a minute compounds to more than a float64 holds."""
    values = metrics_of(make_equity([1000.0], bar_ms=60_000), bar_ms=60_000)
    assert values["annual_return_fraction"] is None
    assert values["total_return_fraction"] == 9.0


def test_tail_by_hand() -> None:
    """The 5 % quantile of 21 returns is the second lowest; the shortfall is the mean of it and the lowest."""
    returns = [-0.10, -0.05] + [0.01] * 19
    equity, level = [], 100.0
    for value in returns:
        level *= 1.0 + value
        equity.append(level)
    values = metrics_of(make_equity(equity))
    assert number(values, "value_at_risk_95_fraction") == pytest.approx(0.05)
    assert number(values, "expected_shortfall_95_fraction") == pytest.approx(0.075)


def test_trade_statistics_by_hand() -> None:
    """Three closed trades (+20, -10, +5) and one open: counts, averages, factor and SQN."""
    rows = [(0, 0, UNIT, 100.0), (2, 0, -UNIT, 120.0), (2, 0, UNIT, 100.0), (3, 0, -UNIT, 90.0)]
    rows += [(4, 0, -UNIT, 100.0), (8, 0, UNIT, 95.0), (9, 0, UNIT, 100.0)]
    fills = make_fills(rows, bar_ms=DAY_MS, slippage=[UNIT, 0, 0, UNIT, 0, 0, 0], fees=[0, 0, 0, 0, 0, 0, -UNIT])
    equity = make_equity([1000.0] * 10)
    equity.exposure = np.array([0.1] * 5 + [0.0] * 5)
    values = metrics_of(equity, fills, make_funding([(START_MS + 9 * DAY_MS + 1, 0, 3 * UNIT)]), close=104.0)
    assert values["trades"] == 3
    assert values["open_trades"] == 1
    assert values["open_pnl"] == 4.0 + 1.0 - 3.0
    assert values["win_rate_fraction"] == published(2 / 3)
    assert values["profit_factor"] == 2.5
    assert values["expectancy"] == 5.0
    assert values["average_win"] == 12.5
    assert values["average_loss"] == -10.0
    assert values["sqn"] == published(math.sqrt(3) * 5.0 / 15.0)
    assert values["average_trade_return_fraction"] == published((0.2 - 0.1 + 0.05) / 3)
    assert values["best_trade_return_fraction"] == 0.2
    assert values["worst_trade_return_fraction"] == -0.1
    assert values["average_holding_bars"] == published(7 / 3)
    assert values["average_holding_days"] == published(7 / 3)
    assert values["fees"] == -1.0
    assert values["slippage"] == 2.0
    assert values["funding"] == 3.0
    assert values["fills"] == 7
    assert values["exposure_time_fraction"] == 0.5
    assert values["exposure_mean_fraction"] == 0.05
    assert values["turnover_per_year"] == published(705 / 1000 / (10 / 365))


def test_one_trade_has_no_sqn_and_one_winner_no_profit_factor() -> None:
    """What needs two trades, or a loser, is None with one winner."""
    values = metrics_of(make_equity([110.0] * 5), make_fills([(0, 0, UNIT, 100.0), (1, 0, -UNIT, 110.0)]))
    assert values["win_rate_fraction"] == 1.0
    assert values["profit_factor"] is None
    assert values["sqn"] is None
    assert values["average_loss"] is None
    assert values["expectancy"] == 10.0


def test_impossible_input_is_refused() -> None:
    """No bars, or a start that is not positive, is an error of the caller."""
    with pytest.raises(ValueError, match="no bar"):
        _no_bars()
    with pytest.raises(ValueError, match="start_cash must be positive"):
        metrics_of(make_equity([1.0]), start_cash=0.0)


def _no_bars() -> None:
    fills = make_fills([])
    trades = build_trades(fills, no_funding(), last_close=[1.0], last_time_ms=0, last_bar=0)
    compute_metrics(make_equity([]), trades, fills, no_funding(), start_cash=1.0, bar_ms=DAY_MS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1 + 0.2, 0.3),
        (-0.0, 0.0),
        (math.nan, None),
        (-math.inf, None),
        (123456789012345.6, 123456789012000.0),
        (7, 7),
        ("bar", "bar"),
        (None, None),
    ],
)
def test_published_values_have_twelve_digits(value: Value, expected: Value) -> None:
    """Twelve significant digits, no negative zero, no NaN; whatever is not a float is left alone."""
    result = published(value)
    assert result == expected
    assert math.copysign(1.0, result) > 0 if result == 0.0 else True


curves = st.lists(st.floats(1.0, 1e4), min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(curve=curves, benchmark_seed=st.integers(0, 1000), bar_ms=st.sampled_from([HOUR_MS, DAY_MS, 7 * DAY_MS]))
def test_values_are_finite_and_bounded(curve: list[float], benchmark_seed: int, bar_ms: int) -> None:
    """Any positive equity gives finite numbers or None, inside the bounds their definitions imply."""
    other = walk(benchmark_seed, len(curve))
    values = metrics_of(make_equity(curve, bar_ms=bar_ms, benchmark=other), bar_ms=bar_ms)
    assert all(math.isfinite(value) for value in values.values() if isinstance(value, float))
    deepest = number(values, "maximum_drawdown_fraction")
    assert 0.0 <= number(values, "average_drawdown_fraction") <= deepest < 1.0
    assert number(values, "maximum_drawdown_days") <= number(values, "longest_drawdown_days")
    assert number(values, "longest_drawdown_days") <= number(values, "period_days")
    if values["correlation"] is not None:
        assert abs(number(values, "correlation")) <= 1.0
    if values["expected_shortfall_95_fraction"] is not None:
        shortfall = number(values, "expected_shortfall_95_fraction")
        assert shortfall >= number(values, "value_at_risk_95_fraction") - 1e-12


@settings(max_examples=60, deadline=None)
@given(curve=curves, exponent=st.integers(-20, 20))
def test_scaling_the_account_changes_no_relative_figure(curve: list[float], exponent: int) -> None:
    """A thousand times the money, in powers of two so that floats scale exactly, changes money and nothing
    else.
    """
    factor = 2.0**exponent
    plain = metrics_of(make_equity(curve))
    scaled = metrics_of(make_equity([value * factor for value in curve]), start_cash=100.0 * factor)
    money = {metric.key for metric in METRICS if metric.kind == "money"}
    assert {key: value for key, value in scaled.items() if key not in money} == {
        key: value for key, value in plain.items() if key not in money
    }
    assert number(scaled, "end_equity") == pytest.approx(number(plain, "end_equity") * factor)


@settings(max_examples=40, deadline=None)
@given(curve=st.lists(st.floats(50.0, 200.0), min_size=3, max_size=60))
def test_the_benchmark_against_itself(curve: list[float]) -> None:
    """A run that is its benchmark has beta and correlation one, alpha and tracking error zero."""
    values = metrics_of(make_equity(curve))
    if values["beta"] is None:
        return
    assert values["beta"] == values["correlation"] == 1.0
    assert values["alpha_annual_fraction"] == values["tracking_error_annual_fraction"] == 0.0
    assert values["information_ratio"] is None


def test_the_order_of_additions_does_not_matter() -> None:
    """Reductions are exactly rounded: mirrored returns give the same digits, where a naive sum would not."""
    returns = [round(value, 6) for value in np.random.default_rng(3).normal(0.0, 0.02, 500).tolist()]
    forward, backward = _from_returns(returns), _from_returns(returns[::-1])
    for key in ("volatility_annual_fraction", "sharpe_ratio", "skewness", "excess_kurtosis"):
        assert number(forward, key) == pytest.approx(number(backward, key), rel=2e-11), key


def _from_returns(returns: Sequence[float]) -> dict[str, Value]:
    return metrics_of(make_equity(np.cumprod(1.0 + np.array(returns)).tolist()), start_cash=1.0)


def test_known_digits() -> None:
    """A fixed walk gives fixed text: a change of any digit on any machine is a change of results."""
    level, curve, other = 1000.0, [], []
    for day in range(1, 400):
        level *= 1.0 + ((day * 7919) % 211 - 104) / 4000.0
        curve.append(level)
        other.append(1000.0 + (day * 104729) % 307)
    values = metrics_of(make_equity(curve, benchmark=other), start_cash=1000.0, risk_free_rate_annual=0.03)
    assert {key: repr(values[key]) for key in KNOWN} == KNOWN


KNOWN = {
    "total_return_fraction": "0.0406985359357",
    "annual_return_fraction": "0.0371668625177",
    "volatility_annual_fraction": "0.290812225658",
    "sharpe_ratio": "0.168877632062",
    "sortino_ratio": "0.240849443729",
    "calmar_ratio": "0.48728256938",
    "maximum_drawdown_fraction": "0.076273736951",
    "average_drawdown_fraction": "0.0371585408021",
    "skewness": "0.000228229112583",
    "excess_kurtosis": "-1.20261618665",
    "value_at_risk_95_fraction": "0.023275",
    "expected_shortfall_95_fraction": "0.024725",
    "alpha_annual_fraction": "0.0625499410507",
    "beta": "-0.00862529339066",
    "correlation": "-0.0472723783993",
    "information_ratio": "-0.923646818984",
    "tracking_error_annual_fraction": "1.63362720308",
}
