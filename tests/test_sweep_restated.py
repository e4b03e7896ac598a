"""What a sweep comes to, restated: walk-forward from days and lists, statistics from their textbook formulas, and what
makes a cell another cell. Nothing here shares code with what it judges but the numbers of single cells.
"""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_samples import START_MS, made_bars, planned, run_here, whole_run, write_sweep

from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.sweep.gather import write_results
from trading_runtime.sweep.results import read_results
from trading_runtime.sweep.statistics import sweep_statistics

DAYS = 30  # of the sample's candles
FEW = {"fast": [2, 5, 8], "slow": [24, 40]}
CASH = 10_000.0
DAY_MS = 86_400_000


# Walk-forward.


def folds_by_days(mode: str, train: int, test: int, step: int, embargo: int) -> list[tuple[int, int, int, int]]:
    """Return the first and last days (exclusive) of train and test of every fold, counted from the first candle."""
    found = []
    day = 0
    while day + train + embargo + test <= DAYS:
        found.append(
            (0 if mode == "anchored" else day, day + train, day + train + embargo, day + train + embargo + test)
        )
        day += step
    return found


def utc(day: int) -> str:
    return (datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(
    ("mode", "train", "test", "step", "embargo"),
    [("rolling", 10, 5, None, 0), ("anchored", 8, 4, None, 2), ("rolling", 7, 3, 5, 1), ("anchored", 20, 10, None, 0)],
)
def test_a_walk_forward_is_what_days_and_lists_say(
    tmp_path: Path, mode: str, train: int, test: int, step: int | None, embargo: int, direction: str
) -> None:
    wanted = {"kind": "walk_forward", "mode": mode, "train_days": train, "test_days": test, "embargo_days": embargo}
    if step is not None:
        wanted["step_days"] = step
    path = write_sweep(
        tmp_path, space=FEW, periods=wanted, metric="total_return_fraction", direction=direction,
        backtest={"account": {"cash": CASH}},
    )  # fmt: skip
    store = MemoryObjects()
    found = whole_run(path, store)
    write_results(store, found, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "sweep.json").read_text())

    days = folds_by_days(mode, train, test, step or test, embargo)
    spans = [(one["start"], one["end"]) for one in told["periods"]]
    assert spans == [span for a, b, c, d in days for span in ((utc(a), utc(b)), (utc(c), utc(d)))]

    equity = CASH
    chosen = []
    for number in range(len(days)):
        rows = {
            role: [row for row in found.cells.rows() if (row["role"], row["fold"]) == (role, number)]
            for role in ("train", "test")
        }
        assert [len(one) for one in rows.values()] == [6, 6]
        sign = -1.0 if direction == "maximize" else 1.0
        winner = min(
            rows["train"],
            key=lambda row: (
                sign * row["m_total_return_fraction"],
                f'{{"fast":{row["p_fast"]},"slow":{row["p_slow"]}}}',
            ),
        )
        (judged,) = [
            row for row in rows["test"] if (row["p_fast"], row["p_slow"]) == (winner["p_fast"], winner["p_slow"])
        ]
        chosen.append(({"fast": winner["p_fast"], "slow": winner["p_slow"]}, winner["cell_id"], judged["cell_id"]))
        equity *= 1.0 + judged["m_total_return_fraction"]
    walk = told["walk_forward"]
    assert [(one["chosen"], one["train_cell"], one["test_cell"]) for one in walk["folds"]] == chosen
    metrics = walk["stitched"]["metrics"]
    assert metrics["end_equity"] == pytest.approx(equity, rel=1e-7)
    assert metrics["total_return_fraction"] == pytest.approx(equity / CASH - 1.0, rel=1e-6, abs=1e-9)


def test_a_fold_is_the_period_of_a_list_between_the_same_times(tmp_path: Path) -> None:
    """Train and test of a fold, warm-up included, are no other backtests than those of two named periods."""
    store = MemoryObjects()
    walked = whole_run(
        write_sweep(
            tmp_path, space=FEW, periods={"kind": "walk_forward", "train_days": 20, "test_days": 8, "embargo_days": 1}
        ),
        store,
    )
    parts = [("train", utc(0), utc(20)), ("test", utc(21), utc(29))]
    named = [dict(zip(("name", "start", "end"), one, strict=True)) for one in parts]
    again = whole_run(write_sweep(tmp_path, space=FEW, periods={"kind": "list", "periods": named}, name="list"), store)

    def figures(rows: list[dict[str, object]], names: list[str]) -> list[list[object]]:
        return [[row[name] for name in names] for row in rows]

    names = [name for name in again.cells.columns if name.startswith(("p_", "m_"))]
    assert figures(again.cells.rows(), names) == figures(walked.cells.rows(), names)


# What makes a cell another cell.


def test_a_sweep_under_another_name_metric_or_search_shares_all_its_cells(tmp_path: Path) -> None:
    store = MemoryObjects()
    first = whole_run(write_sweep(tmp_path, space=FEW), store)
    for other in (
        {"name": "another"},
        {"metric": "fees", "direction": "minimize"},
        {"where": ["fast < slow"]},
        {"search": {"kind": "random", "count": 6, "seed": 4}},
    ):
        plan = planned(write_sweep(tmp_path, space=FEW, **other), store)
        assert plan.sweep.sweep_id != first.sweep.sweep_id
        assert plan.reused == first.counts["done"] == 12
        done = run_here(store, plan.sweep.sweep_id)
        assert (done.computed, done.found) == (0, 12)


def test_a_module_that_the_strategy_imports_is_code_of_it_and_its_comments_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = (Path(__file__).parents[1] / "trading_runtime/strategies/sma_cross.py").read_text()
    helper = tmp_path / "helper_of_idea.py"
    (tmp_path / "idea_with_helper.py").write_text(
        source.replace("\nclass ", "\nfrom helper_of_idea import WEIGHT\n\n\nclass ", 1).replace(
            "parameter(0.95,", "parameter(WEIGHT,"
        )
    )
    store = MemoryObjects()

    def found_with(text: str) -> tuple[int, int]:
        helper.write_text(text)
        for name in ("helper_of_idea", "strategy_file_idea_with_helper"):
            sys.modules.pop(name, None)
        path = write_sweep(tmp_path, space=FEW, backtest={"strategy": {"class": "idea_with_helper.py:SmaCross"}})
        plan = planned(path, store)
        done = run_here(store, plan.sweep.sweep_id, strategy=plan.strategy)
        return done.computed, done.found

    assert found_with('"""Words."""\n\nWEIGHT = 0.95\n') == (12, 0)
    assert found_with('"""Other words."""\n\n# a comment\nWEIGHT = 0.95\n') == (0, 12)
    assert found_with('"""Words."""\n\nWEIGHT = 0.9\n') == (12, 0)
    assert found_with('"""Words."""\n\nWEIGHT = 0.95\nUNUSED = 1\n') == (12, 0)
    assert found_with('"""Words."""\n\nWEIGHT = 0.95\n') == (0, 12)


def test_the_last_bar_belongs_to_the_cells_that_reach_it_alone(tmp_path: Path) -> None:
    """Two periods, of which the first ends ten days before the data does: a longer file changes no cell at all."""
    store = MemoryObjects()
    first = whole_run(write_sweep(tmp_path / "short", space=FEW, bars=made_bars(720)), store)
    longer = planned(write_sweep(tmp_path / "long", space=FEW, bars=made_bars(744)), store)

    assert longer.sweep.sweep_id != first.sweep.sweep_id
    assert longer.reused == 12


# Statistics.


def slow_overfitting(returns: list[list[float]], blocks: int) -> float:
    """Return the probability of backtest overfitting as its paper writes it, with plain lists; ``returns[t][n]``."""

    def sharpe(rows: list[int], trial: int) -> float:
        values = [returns[row][trial] for row in rows]
        mean = sum(values) / len(values)
        return mean / math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))

    size, trials = len(returns) // blocks, len(returns[0])
    first = len(returns) - size * blocks
    parts = [list(range(first + size * block, first + size * (block + 1))) for block in range(blocks)]
    below = count = 0
    for chosen in combinations(range(blocks), blocks // 2):
        inside = [row for block in chosen for row in parts[block]]
        outside = [row for block in range(blocks) if block not in chosen for row in parts[block]]
        best = max(range(trials), key=lambda trial: sharpe(inside, trial))
        rank = sorted(range(trials), key=lambda trial: sharpe(outside, trial)).index(best) + 1
        below += math.log((rank / (trials + 1)) / (1 - rank / (trials + 1))) <= 0
        count += 1
    return below / count


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), periods=st.integers(40, 90), trials=st.integers(2, 7))
def test_the_statistics_are_those_of_the_textbook(seed: int, periods: int, trials: int) -> None:
    returns = np.random.default_rng(seed).normal(0.001, 0.02, (periods, trials))
    chosen, tried = seed % trials, trials + 3
    told = sweep_statistics(returns, chosen, periods_per_year=365, trials=tried, blocks=6)

    column = returns[:, chosen]
    sharpe = column.mean() / column.std(ddof=1)
    z = (column - column.mean()) / column.std()
    skewness, kurtosis = (z**3).mean(), (z**4).mean()
    deviation = (returns.mean(axis=0) / returns.std(axis=0, ddof=1)).std(ddof=1)
    normal, euler = NormalDist(), 0.5772156649015329
    highest = deviation * (
        (1 - euler) * normal.inv_cdf(1 - 1 / tried) + euler * normal.inv_cdf(1 - 1 / (tried * math.e))
    )
    error = math.sqrt((1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2) / (periods - 1))
    deflated = told["deflated_sharpe"]
    year = math.sqrt(365)
    assert deflated["sharpe"] == pytest.approx(sharpe * year, rel=1e-6)
    assert deflated["expected_maximum"] == pytest.approx(highest * year, rel=1e-6)
    assert deflated["probability"] == pytest.approx(normal.cdf((sharpe - highest) / error), rel=1e-6, abs=1e-9)
    assert deflated["probability_positive"] == pytest.approx(normal.cdf(sharpe / error), rel=1e-6, abs=1e-9)
    expected = slow_overfitting(returns.tolist(), 6)
    assert told["backtest_overfitting"]["probability"] == pytest.approx(expected, abs=1e-9)


def test_the_statistics_of_a_sweep_are_those_of_its_cells_equity(tmp_path: Path) -> None:
    """From the equity that results hold to the document: returns by hand, then the textbook again."""
    store = MemoryObjects()
    space = {"fast": [2, 5, 8], "slow": [24, 40, 56]}
    path = write_sweep(
        tmp_path, space=space, periods={"kind": "whole"}, bars=made_bars(24 * 70), backtest={"account": {"cash": CASH}}
    )
    found = whole_run(path, store)
    write_results(store, found, tmp_path / "out")
    told = json.loads((tmp_path / "out" / "sweep.json").read_text())["statistics"]

    curves = []
    for read in read_results(store, found.cells.columns["cell_id"]):
        assert read.content is not None
        equity = read.content["equity_daily"]
        curves.append([CASH, *(units * float(equity["unit"]) for units in equity["units"])])
    returns = np.array([[after / before - 1 for before, after in pairwise(one)] for one in curves]).T
    assert returns.shape == (70, 9)
    assert (told["trials"], told["returns"]) == (9, 70)
    sharpes = returns.mean(axis=0) / returns.std(axis=0, ddof=1) * math.sqrt(365)
    assert told["deflated_sharpe"]["sharpe"] == pytest.approx(sharpes.max(), rel=1e-6)
    assert told["deflated_sharpe"]["trials_deviation"] == pytest.approx(sharpes.std(ddof=1), rel=1e-6)
    best = returns[:, sharpes.argmax()]
    skewness = np.mean((best - best.mean()) ** 3) / best.std() ** 3
    assert told["deflated_sharpe"]["skewness"] == pytest.approx(float(skewness), rel=1e-6)
    assert told["backtest_overfitting"]["blocks"] == 16
