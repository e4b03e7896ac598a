"""Walk-forward: chosen on train alone, ties by rule, tests chained by returns, and refusals instead of flattery."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from backtest_samples import make_equity, make_fills
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.backtest.metrics import METRICS, compute_metrics
from trading_runtime.backtest.tables import Floats, Integers, no_funding
from trading_runtime.backtest.trades import build_trades
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.sweep.walk_forward import (
    Fold,
    Series,
    choose,
    curve_metrics,
    stability,
    stitch,
    trials_of,
    walk_forward,
)

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000
FOLDS = (Fold(0, "train-0", "test-0"), Fold(1, "train-1", "test-1"))


def row(period: str, metric: float | None, *, status: str = "done", **chosen: Any) -> dict[str, Any]:
    role, _, fold = period.partition("-")
    named = "_".join(f"{name}{value}" for name, value in chosen.items())
    return {
        "index": 0,
        "cell_id": f"{period}_{named}",
        "period": period,
        "role": role,
        "fold": int(fold),
        **{f"p_{name}": value for name, value in chosen.items()},
        "m_sharpe_ratio": metric,
        "trades": 3,
        "status": status,
    }


def days(fold: int, values: list[float], first_day: int | None = None) -> Series:
    """Return equity at the ends of consecutive days; folds follow each other unless told otherwise."""
    start = fold * len(values) if first_day is None else first_day
    times: Integers = START_MS + (np.arange(len(values), dtype=np.int64) + start + 1) * DAY_MS
    return times, np.array(values)


def sample_rows() -> list[dict[str, Any]]:
    return [
        row("train-0", 1.0, fast=5, slow=20),
        row("train-0", 2.0, fast=10, slow=20),
        row("test-0", 0.5, fast=5, slow=20),
        row("test-0", -0.5, fast=10, slow=20),
        row("train-1", 3.0, fast=5, slow=20),
        row("train-1", None, fast=10, slow=20),
        row("test-1", 0.25, fast=5, slow=20),
        row("test-1", 9.0, fast=10, slow=20),
    ]


SERIES = {"test-0_fast10_slow20": days(0, [110.0, 121.0]), "test-1_fast5_slow20": days(1, [50.0, 200.0])}


def test_the_best_of_train_is_judged_on_test_and_the_tests_are_chained() -> None:
    told = walk_forward(
        sample_rows(), FOLDS, "sharpe_ratio", "maximize", SERIES.__getitem__, start_cash=100.0, bar_ms=DAY_MS
    )
    first, second = told.folds
    assert (first.chosen, first.train_metric, first.test_metric) == ({"fast": 10, "slow": 20}, 2.0, -0.5)
    assert (second.chosen, second.train_metric, second.test_metric) == ({"fast": 5, "slow": 20}, 3.0, 0.25)
    assert (first.candidates, second.candidates, first.ties) == (2, 1, 0)
    assert told.stitched is not None
    assert told.stitched.equity.tolist() == [110.0, 121.0, 60.5, 242.0]
    assert told.stitched.fold.tolist() == [0, 0, 1, 1]
    assert told.stitched.metrics["total_return_fraction"] == 1.42
    assert told.stitched.metrics["maximum_drawdown_fraction"] == 0.5
    assert told.stitched.metrics["trades"] == 6
    assert told.stability["fast"] == {"distinct": 2, "changes": 1, "mean": 7.5, "deviation": 3.53553390593}
    assert told.stability["slow"] == {"distinct": 1, "changes": 0, "mean": 20.0, "deviation": 0.0}
    document = told.document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["folds"][0]["test_cell"] == "test-0_fast10_slow20"


def test_the_lowest_can_be_the_best() -> None:
    first, second = choose(sample_rows(), FOLDS, "sharpe_ratio", "minimize")
    assert (first.chosen, second.chosen) == ({"fast": 5, "slow": 20}, {"fast": 5, "slow": 20})


@given(st.permutations(range(6)), st.sampled_from(["maximize", "minimize"]))
def test_of_equal_cells_the_smallest_parameter_text_wins_whatever_the_order_of_rows(
    order: list[int], direction: Any
) -> None:
    """ "10" comes before "5" as text: a rule on bytes, not on numbers, so that every kind of parameter has an order."""
    values = [("a", 5), ("a", 10), ("b", 5), ("b", 10), ("a", 7), ("b", 1)]
    rows = [row("train-0", 1.5, kind=kind, size=size) for kind, size in values]
    rows += [row("test-0", 0.0, kind=kind, size=size) for kind, size in values]
    (result,) = choose([rows[place] for place in order] + rows[6:], FOLDS[:1], "sharpe_ratio", direction)
    assert (result.chosen, result.ties) == ({"kind": "a", "size": 10}, 5)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_what_is_not_a_number_never_wins(direction: Any) -> None:
    rows = [
        row("train-0", math.nan, fast=1),
        row("train-0", math.inf, fast=2),
        row("train-0", -math.inf, fast=3),
        row("train-0", None, fast=4),
        row("train-0", 99.0 if direction == "maximize" else -99.0, fast=5, status="corrupt"),
        row("train-0", 0.0, fast=6),
        row("test-0", 1.0, fast=6),
    ]
    (result,) = choose(rows, FOLDS[:1], "sharpe_ratio", direction)
    assert (result.chosen, result.candidates) == ({"fast": 6}, 1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4), st.integers(0, 1000))
@settings(max_examples=40)
def test_what_happened_in_test_cannot_change_the_choice(tests: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    train = [row(f"train-{fold}", float(rng.normal()), fast=fast) for fold in (0, 1) for fast in (5, 10)]

    def chosen(values: list[float]) -> list[Any]:
        rows = [row(f"test-{place % 2}", value, fast=5 + 5 * (place // 2)) for place, value in enumerate(values)]
        return [one.chosen for one in choose(train + rows, FOLDS, "sharpe_ratio", "maximize")]

    assert chosen(tests) == chosen([-value for value in tests]), f"seed {seed}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({4: {"m_sharpe_ratio": None}}, "fold 1: no cell of train-1 has a sharpe_ratio (2 done)"),
        ({4: {"status": "failed", "m_sharpe_ratio": None}}, "no cell of train-1 has a sharpe_ratio (1 done, 1 failed)"),
        ({3: {"status": "missing", "m_sharpe_ratio": None}}, "fold 0: the chosen cell is missing in test-0"),
        ({3: {"period": "elsewhere"}}, "fold 0: the chosen cell is not planned in test-0"),
        ({4: {"period": "x"}, 5: {"period": "x"}}, "fold 1: there is no cell of period train-1"),
    ],
)
def test_a_fold_that_cannot_be_decided_says_why_and_there_is_no_curve(
    changes: dict[int, dict[str, Any]], reason: str
) -> None:
    rows = sample_rows()
    for place, change in changes.items():
        rows[place] |= change
    told = walk_forward(rows, FOLDS, "sharpe_ratio", "maximize", SERIES.__getitem__, start_cash=100.0, bar_ms=DAY_MS)
    assert told.stitched is None
    assert told.refusal is not None
    assert reason in told.refusal
    assert told.document()["stitched"] == {"metrics": None, "refusal": told.refusal}


def test_rows_that_contradict_each_other_are_refused() -> None:
    rows = sample_rows()
    with pytest.raises(DataError, match="two cells of the same parameters"):
        choose([*rows, row("train-0", 2.0, fast=10, slow=20)], FOLDS, "sharpe_ratio", "maximize")
    with pytest.raises(DataError, match="2 cells of the chosen parameters"):
        choose([*rows, row("test-0", 2.0, fast=10, slow=20)], FOLDS, "sharpe_ratio", "maximize")
    with pytest.raises(ConfigurationError, match=r'has a metric .sharp_ratio.: did you mean "sharpe_ratio"'):
        choose(rows, FOLDS, "sharp_ratio", "maximize")
    with pytest.raises(ConfigurationError, match="direction"):
        choose(rows, FOLDS, "sharpe_ratio", "upwards")
    assert (
        walk_forward([], [], "x", "maximize", SERIES.__getitem__, start_cash=1.0, bar_ms=1).refusal
        == "there is no fold"
    )


def test_values_read_from_a_table_are_told_as_plain_values() -> None:
    rows = [
        row("train-0", 1.0, fast=np.int64(5), on=np.bool_(True)),
        row("test-0", 1.0, fast=np.int64(5), on=np.bool_(True)),
    ]
    (result,) = choose(rows, FOLDS[:1], "sharpe_ratio", "maximize")
    assert json.dumps(result.chosen) == '{"fast": 5, "on": true}'
    assert stability([result])["on"] == {"distinct": 1, "changes": 0, "mean": None, "deviation": None}


def test_trials_are_sets_of_parameters_with_every_test() -> None:
    rows = sample_rows()
    five, ten = '{"fast":5,"slow":20}', '{"fast":10,"slow":20}'
    assert trials_of(rows[::-1], FOLDS) == {
        ten: [(0, "test-0_fast10_slow20"), (1, "test-1_fast10_slow20")],
        five: [(0, "test-0_fast5_slow20"), (1, "test-1_fast5_slow20")],
    }
    rows[3]["status"] = "failed"
    assert list(trials_of(rows, FOLDS)) == [five]


# The chain.


@given(st.integers(0, 100_000), st.integers(1, 6))
@settings(max_examples=40)
def test_returns_of_the_chain_are_those_of_its_parts(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for fold in range(count):
        parts.append((fold, days(fold, (100.0 * np.cumprod(1 + rng.normal(0, 0.03, 12))).tolist())))
    curve = stitch(parts, start_cash=100.0, bar_ms=DAY_MS)
    whole = np.concatenate([[100.0], curve.equity])
    apart = [np.concatenate([[100.0], series[1]]) for _, series in parts]
    expected = np.concatenate([one[1:] / one[:-1] for one in apart])
    assert np.allclose(whole[1:] / whole[:-1], expected, rtol=1e-12), f"seed {seed}"
    product = math.prod(float(series[1][-1]) / 100.0 for _, series in parts)
    assert curve.equity[-1] == pytest.approx(100.0 * product, rel=1e-12)
    assert (np.diff(curve.time_ms) == DAY_MS).all()
    assert curve.equity[:12].tolist() == parts[0][1][1].tolist(), "the first fold stays as it is"


def test_one_fold_has_the_metrics_of_its_cell() -> None:
    """Over days nothing is lost: every figure that equity has is the run's own."""
    values = (100.0 * np.cumprod(1 + np.random.default_rng(2).normal(0.001, 0.02, 90))).tolist()
    time_ms, equity = days(0, values)
    fills = make_fills([])
    trades = build_trades(fills, no_funding(), last_close=[1.0], last_time_ms=0, last_bar=0)
    own = compute_metrics(make_equity(values), trades, fills, no_funding(), start_cash=100.0, bar_ms=DAY_MS)
    told = curve_metrics(time_ms, equity, start_cash=100.0, bar_ms=DAY_MS)
    assert told == {key: own[key] for key in told}
    assert set(told) == {metric.key for metric in METRICS if metric.group in ("Return", "Basis", "Risk", "Tail")}


def test_every_bar_or_only_the_ends_of_days_give_the_same_figures() -> None:
    rng = np.random.default_rng(3)
    equity: Floats = 100.0 * np.cumprod(1 + rng.normal(0, 0.004, 24 * 40))
    time_ms: Integers = START_MS + (np.arange(24 * 40, dtype=np.int64) + 1) * HOUR_MS
    ends = slice(23, None, 24)
    by_hour = curve_metrics(time_ms, equity, start_cash=100.0, bar_ms=HOUR_MS)
    assert by_hour == curve_metrics(time_ms[ends], equity[ends], start_cash=100.0, bar_ms=HOUR_MS)
    assert (by_hour["return_sample"], by_hour["return_count"]) == ("UTC day", 40)


def test_between_tests_that_do_not_touch_the_account_idles() -> None:
    parts = [(0, days(0, [110.0, 120.0])), (1, days(1, [50.0, 100.0], first_day=5))]
    curve = stitch(parts, start_cash=100.0, bar_ms=DAY_MS)
    assert curve.equity.tolist() == [110.0, 120.0, 120.0, 120.0, 120.0, 60.0, 120.0]
    assert curve.fold.tolist() == [0, 0, -1, -1, -1, 1, 1]
    assert (np.diff(curve.time_ms) == DAY_MS).all()


def test_a_fold_that_leaves_nothing_ends_the_account() -> None:
    parts = [(0, days(0, [50.0, -5.0])), (1, days(1, [150.0, 300.0]))]
    curve = stitch(parts, start_cash=100.0, bar_ms=DAY_MS)
    assert curve.equity.tolist() == [50.0, -5.0, -5.0, -5.0]
    metrics = curve_metrics(curve.time_ms, curve.equity, start_cash=100.0, bar_ms=DAY_MS)
    assert metrics["sharpe_ratio"] is None
    assert metrics["total_return_fraction"] == -1.05


def test_tests_that_cannot_be_chained_are_refused() -> None:
    overlapping = [(0, days(0, [1.0, 2.0])), (1, days(1, [1.0, 2.0], first_day=1))]
    with pytest.raises(DataError, match=r"tests of folds 0 and 1 overlap.*step of at least the test length"):
        stitch(overlapping, start_cash=1.0, bar_ms=DAY_MS)
    series = SERIES | {"test-1_fast5_slow20": days(1, [50.0, 200.0], first_day=1)}
    told = walk_forward(
        sample_rows(), FOLDS, "sharpe_ratio", "maximize", series.__getitem__, start_cash=100.0, bar_ms=DAY_MS
    )
    assert told.refusal is not None
    assert "overlap" in told.refusal
    with pytest.raises(DataError, match="no test to chain"):
        stitch([], start_cash=1.0, bar_ms=DAY_MS)
    time_ms, equity = days(0, [1.0, 2.0])
    for broken in ((time_ms[:0], equity[:0]), (time_ms, equity[:1])):
        with pytest.raises(DataError, match="fold 0: the equity of its test has"):
            stitch([(0, broken)], start_cash=1.0, bar_ms=DAY_MS)
    for broken in ((time_ms[::-1], equity), (time_ms, np.array([1.0, math.nan]))):
        with pytest.raises(DataError, match="not finite or not in order"):
            stitch([(0, broken)], start_cash=1.0, bar_ms=DAY_MS)
    with pytest.raises(ValueError, match="start_cash"):
        stitch([(0, (time_ms, equity))], start_cash=0.0, bar_ms=DAY_MS)


def test_equity_is_asked_for_the_chosen_cells_only() -> None:
    asked: list[str] = []

    def equity_of(cell: str) -> Series:
        asked.append(cell)
        return SERIES[cell]

    walk_forward(sample_rows(), FOLDS, "sharpe_ratio", "maximize", equity_of, start_cash=100.0, bar_ms=DAY_MS)
    assert asked == ["test-0_fast10_slow20", "test-1_fast5_slow20"]
