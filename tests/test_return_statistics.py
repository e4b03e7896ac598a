"""Statistics of many runs at once: the formulas of docs/metrics.md written out slowly for one run, to the last bit."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trading_runtime.backtest.compound import by_definition
from trading_runtime.backtest.return_metrics import ReturnStatistics, published, published_text
from trading_runtime.core.hashing import canonical_json

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
UNIT = (1, 100)
SPREAD_LEAST = 2.0**-50


def restated(
    samples: list[int], figures: list[float], cash: float, bars: int, bar_ms: int, per_year: float, free: float
) -> dict[str, Any]:
    """Return the metrics of one run, formula by formula."""
    equity = [cash, *(units * UNIT[0] / UNIT[1] for units in samples)]
    periods = float(per_year) if bar_ms < DAY_MS else per_year * DAY_MS / bar_ms
    free_rate = grown(free, 1.0 / periods) if free else 0.0
    years = bars * bar_ms / (per_year * DAY_MS)
    total = (equity[-1] - cash) / cash
    annual = grown(total, 1.0 / years)
    deepest, fees, slippage, funding, fills, exposed = figures
    values: dict[str, Any] = {
        "return_sample": "UTC day" if bar_ms < DAY_MS else "bar",
        "return_count": len(samples),
        "periods_per_year": periods,
        "days_per_year": float(per_year),
        "risk_free_rate_annual": free,
        "period_days": bars * bar_ms / DAY_MS,
        "start_equity": cash,
        "end_equity": equity[-1],
        "total_return_fraction": total,
        "annual_return_fraction": annual,
        "maximum_drawdown_fraction": deepest,
        "calmar_ratio": None if annual is None or not deepest else annual / deepest,
        "exposure_time_fraction": int(exposed) / bars,
        "fills": int(fills),
        "fees": fees * UNIT[0] / UNIT[1],
        "slippage": slippage * UNIT[0] / UNIT[1],
        "funding": funding * UNIT[0] / UNIT[1],
        "volatility_annual_fraction": None,
        "sharpe_ratio": None,
        "sortino_ratio": None,
    }
    if any(value <= 0.0 for value in equity[:-1]) or len(samples) < 2:
        return values
    returns = [(after - before) / before for before, after in pairwise(equity)]
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((one - mean) * (one - mean) for one in returns) / (len(returns) - 1)
    deviation = math.sqrt(variance) if variance > SPREAD_LEAST**2 else 0.0
    values["volatility_annual_fraction"] = deviation * math.sqrt(periods)
    if free_rate is None:
        return values
    excess = [one - free_rate for one in returns]
    mean = math.fsum(excess) / len(excess)
    downside = math.sqrt(math.fsum(one * one for one in excess if one < 0.0) / len(excess))
    if deviation:
        values["sharpe_ratio"] = mean / deviation * math.sqrt(periods)
    if downside > SPREAD_LEAST:
        values["sortino_ratio"] = mean / downside * math.sqrt(periods)
    return values


def grown(total: float, exponent: float) -> float | None:
    return -1.0 if total == -1.0 else None if total < -1.0 else by_definition(total, exponent)


RUN = st.lists(
    st.integers(1, 10**13) | st.integers(999_900, 1_000_100) | st.integers(-100, 100), min_size=6, max_size=6
)


@settings(max_examples=150)
@given(
    runs=st.lists(RUN, min_size=1, max_size=5),
    count=st.integers(1, 6),
    deepest=st.floats(0.0, 2.0),
    costs=st.lists(st.integers(-(10**14), 10**14).map(float), min_size=3, max_size=3),
    cash=st.sampled_from([10_000.0, 1.0, 123_456.78]),
    bar_ms=st.sampled_from([60_000, HOUR_MS, DAY_MS, 7 * DAY_MS]),
    per_year=st.sampled_from([365, 252.0]),
    free=st.sampled_from([0.0, 0.04, -0.03, -1.0, -1.5]),
)
@example(
    runs=[[1_000_000] * 6, [0, 1, 2, 3, 4, 5], [1_000_000, 1_000_000, 1_000_000, 1_000_000, 1_000_000, 0]],
    count=6, deepest=0.0, costs=[0.0] * 3, cash=10_000.0, bar_ms=HOUR_MS, per_year=365, free=0.04,
)  # fmt: skip
def test_many_runs_at_once_have_the_digits_of_the_formulas(
    runs: list[list[int]],
    count: int,
    deepest: float,
    costs: list[float],
    cash: float,
    bar_ms: int,
    per_year: float,
    free: float,
) -> None:
    bars = 150
    times = bar_ms * np.arange(1, bars + 1, dtype=np.int64)
    figures = [[deepest, *costs, float(number), float(7 * number)] for number in range(len(runs))]
    samples = np.array([run[:count] for run in runs], dtype=np.int64)
    shared = ReturnStatistics(UNIT, cash, times, bar_ms, per_year, free)

    expected = [
        restated(run[:count], row, cash, bars, bar_ms, per_year, free) for run, row in zip(runs, figures, strict=True)
    ]

    assert shared.values(samples, np.array(figures)) == expected
    rounded = [{name: published(value) for name, value in values.items()} for values in expected]
    assert shared.texts(samples, np.array(figures)) == [canonical_json(values) for values in rounded]


def test_no_run_has_no_statistics() -> None:
    times = HOUR_MS * np.arange(1, 31, dtype=np.int64)
    shared = ReturnStatistics(UNIT, 100.0, times, HOUR_MS)

    assert shared.values(np.zeros((0, 2), dtype=np.int64), np.zeros((0, 6))) == []
    assert shared.texts(np.zeros((0, 2), dtype=np.int64), np.zeros((0, 6))) == []


@settings(max_examples=800)
@given(st.none() | st.booleans() | st.integers() | st.text() | st.floats() | st.floats(-2e12, 2e12) | st.floats(-1, 1))
@example(0.0001)
@example(0.00009999999999999)
@example(99_999_999_999.99999)
@example(1e16)
@example(-0.0)
@example(5e-324)
@example(1e-300)
def test_a_published_text_is_the_canonical_json_of_the_published_value(value: Any) -> None:
    text = published_text(value)

    assert text.encode() == canonical_json(published(value))
    assert json.loads(text) == published(value)
