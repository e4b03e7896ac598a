"""What a review of sweeps and objects found: every defect that was mended, as the person sees it who would meet it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_samples import planned, process_environment, run_here, whole_run, write_candles, write_sweep
from test_sweep_cells import write_pool

from trading_runtime.backtest.run import run_backtest
from trading_runtime.cli.main import main
from trading_runtime.config.load import load_settings
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.hashing import canonical_json, json_hash
from trading_runtime.data.synth import synthesize
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.objects.seal import object_text, seal, seal_texts, unseal_texts
from trading_runtime.sweep.cell import equity_series
from trading_runtime.sweep.cell_report import cell_run
from trading_runtime.sweep.conditions import parse_condition
from trading_runtime.sweep.gather import write_results
from trading_runtime.sweep.results import cell_key, read_results
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.space import range_values

FOLDS = {"kind": "walk_forward", "train_days": 10, "test_days": 5, "embargo_days": 1, "step_days": 6}
FEW = {"fast": [2, 5], "slow": [24, 40, 56]}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
    return content


# Settings.


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e999"])
def test_a_number_beyond_float64_in_a_condition_is_one_line(number: str) -> None:
    with pytest.raises(ConfigurationError, match="not finite"):
        parse_condition(f"fast < {number}", {"fast": "number"})


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [(1, 10**400, 1), (1, 2, 1e-300), (1.0, 1e308, 1e-300), (1, 10**400, 10**398), (0, 1_000_000, 1)],
)
def test_a_range_without_end_is_one_short_line(start: float, stop: float, step: float) -> None:
    with pytest.raises(ConfigurationError) as refused:
        range_values(start, stop, step)

    assert len(str(refused.value)) < 120


def test_the_longest_range_is_allowed() -> None:
    assert len(range_values(1, 1_000_000, 1)) == 1_000_000


def test_a_period_without_a_bar_is_refused_by_the_plan_and_nothing_is_planned(tmp_path: Path) -> None:
    between = {"name": "none", "start": "2023-01-10T00:10:00Z", "end": "2023-01-10T00:50:00Z"}
    store = MemoryObjects()

    with pytest.raises(ConfigurationError, match="no bar lies in none from 2023-01-10T00:10:00Z"):
        planned(write_sweep(tmp_path, periods={"kind": "list", "periods": [between]}), store)

    assert not list(store.keys("sweeps/"))


# Publications.

POOL_STRATEGY = """
from trading_runtime.core.columns import indicator
from trading_runtime.core.intents import target
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Proposal, Strategy

class WholePool(Strategy):
    class Params(Parameters):
        weight = parameter(0.5, minimum=0.0, maximum=1.0)
        fuel_symbol = parameter("DOGE/USDT")
    mean = indicator("sma", "close", length=5, universe=True)
    def decide(self, inputs):
        pool = inputs.artifact["symbols"] if inputs.artifact else []
        if inputs.state.get("held") == pool:
            return None
        share = self.params.weight / max(len(pool), 1)
        aims = [target(one, share if one in pool else 0.0, reason="x") for one in inputs.symbols]
        return Proposal(aims, state={"held": pool})
"""


def pool_sweep(folder: Path, **settings: Any) -> Path:
    """Two coins with candles, and pools that also name the coin that pays fees, of which there are none."""
    (folder / "whole_pool.py").write_text(POOL_STRATEGY)
    for number, name in enumerate(("ETH", "XRP")):
        bars = synthesize(f"{name}/USDT", "1d", 1_672_531_200_000, 60, number, start_price="20", tick="0.0001")
        write_candles(folder / f"{name}.csv", bars)
    write_pool(folder / "pools", 1, ["DOGE", "ETH", "XRP"])
    write_pool(folder / "pools", 2, ["DOGE", "XRP", "ETH"])
    backtest = {
        "strategy": {"class": "whole_pool.py:WholePool"},
        "artifact": {"folder": "pools", "expected_size": 3},
        "data": [{"path": f"{name}.csv", "symbol": f"{name}/USDT", "timeframe": "1d"} for name in ("ETH", "XRP")],
    }
    chosen: dict[str, Any] = {"space": {"weight": [0.3, 0.9]}, "periods": {"kind": "whole"}, **settings}
    return write_sweep(folder, backtest=backtest, **chosen)


def test_the_coin_that_pays_fees_is_no_part_of_a_pool_in_a_sweep_either(tmp_path: Path) -> None:
    found = whole_run(pool_sweep(tmp_path), MemoryObjects())
    backtest = run_backtest(load_settings(tmp_path / "backtest.json", ["strategy.weight=0.9"]))

    assert found.counts["done"] == 2
    assert backtest.result["metrics"]["fills"] >= 2
    assert found.cells.row(1)["m_fills"] == backtest.result["metrics"]["fills"]
    assert found.cells.row(1)["m_end_equity"] == backtest.result["metrics"]["end_equity"]


def test_a_sweep_over_the_coin_that_pays_fees_is_refused(tmp_path: Path) -> None:
    path = pool_sweep(tmp_path, space={"fuel_symbol": ["DOGE/USDT", "XRP/USDT"]})

    with pytest.raises(ConfigurationError, match=r"space\.fuel_symbol: decides what publications may trade"):
        planned(path, MemoryObjects())


# Statistics of a walk-forward.


def test_a_walk_forward_counts_its_trials_over_the_chained_tests(tmp_path: Path) -> None:
    store = MemoryObjects()
    found = whole_run(write_sweep(tmp_path, space=FEW, periods=FOLDS), store)
    write_results(store, found, tmp_path / "out")
    content = content_of(tmp_path / "out")
    tests = [period.name for period in found.sweep.periods if period.role == "test"]

    growth = {}
    for fast in FEW["fast"]:
        for slow in FEW["slow"]:
            ids = [
                next(
                    row["cell_id"]
                    for row in found.cells.rows()
                    if (row["period"], row["p_fast"], row["p_slow"]) == (name, fast, slow)
                )
                for name in tests
            ]
            series = [equity_series(one.content["equity_daily"]) for one in read_results(store, ids) if one.content]
            equity = [np.concatenate(([10_000.0], values)) for _, values in series]
            returns = [values[1:] / values[:-1] - 1.0 for values in equity]
            idle = [np.zeros(int((after[0][0] - before[0][-1]) // 86_400_000) - 1)
                    for before, after in pairwise(series)]  # fmt: skip
            growth[fast, slow] = np.concatenate([returns[0], *(part for pair in zip(idle, returns[1:], strict=True)
                                                               for part in pair)])  # fmt: skip
    best = content["best"]["parameters"]
    chosen = growth[best["fast"], best["slow"]]
    ratios = [one.mean() / one.std(ddof=1) for one in growth.values()]

    told = content["statistics"]
    assert len(tests) >= 2
    assert told["trials"] == 6
    assert told["returns"] == len(chosen) == told["deflated_sharpe"]["returns"]
    assert told["deflated_sharpe"]["sharpe"] == pytest.approx(chosen.mean() / chosen.std(ddof=1) * 365**0.5)
    assert told["deflated_sharpe"]["trials_deviation"] == pytest.approx(np.std(ratios, ddof=1) * 365**0.5)
    page = (tmp_path / "out" / "sweep.html").read_text()
    assert "With 6 trials counted, the best in hindsight is real" in page
    assert "Over the chained tests" in page


def test_trials_over_tests_that_overlap_or_over_unrelated_periods_are_not_compared(tmp_path: Path) -> None:
    for name, periods in (("overlap", {**FOLDS, "step_days": 3}), ("list", None)):
        store = MemoryObjects()
        settings = {} if periods is None else {"periods": periods}
        found = whole_run(write_sweep(tmp_path / name, space=FEW, **settings), store)
        write_results(store, found, tmp_path / name / "out")

        assert found.is_complete
        assert content_of(tmp_path / name / "out")["statistics"] is None


# Bytes: large parts are written once, and nothing else changes.


@given(st.dictionaries(st.text().filter(lambda name: name != "sha256"), JSON, max_size=6))
def test_a_document_is_the_same_bytes_from_its_parts(content: dict[str, Any]) -> None:
    texts = {name: canonical_json(value) for name, value in content.items()}
    whole = canonical_json({**content, "sha256": json_hash(content)})

    assert object_text(texts) == canonical_json(content)
    assert seal(content) == seal_texts(texts) == whole
    assert unseal_texts("key", whole) == (json.loads(canonical_json(content)), texts)


def test_the_text_of_an_identity_is_its_canonical_json(tmp_path: Path) -> None:
    store = MemoryObjects()
    plan = planned(write_sweep(tmp_path), store)
    runner = Runner(store, plan.sweep, data=plan.data, expected=1)

    for index in plan.sweep.indices():
        task = runner.task(index)
        assert task.cell_id == json_hash(runner.identity(task))


# What killed writers leave behind.


def test_a_listing_deletes_what_a_killed_writer_left_a_day_ago_and_nothing_else(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path)
    store.create("cells/ab/one.json", b"1")
    folder = tmp_path / "cells" / "ab"
    old, fresh, foreign = folder / ".0123456789abcdef.tmp", folder / ".fedcba9876543210.tmp", folder / ".mine.tmp"
    for path in (old, fresh, foreign):
        path.write_bytes(b"half")
    day_ago = time.time() - 90_000
    for path in (old, foreign, folder / "one.json"):
        os.utime(path, (day_ago, day_ago))

    assert list(store.keys("cells/")) == ["cells/ab/one.json"]
    assert [path.exists() for path in (old, fresh, foreign)] == [False, True, True]
    assert store.get("cells/ab/one.json") == b"1"


# The report of one cell.


def test_the_report_of_a_cell_is_the_backtest_that_the_cell_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sweep(tmp_path, space=FEW, periods={"kind": "whole"})
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "run", "--config", str(path), "--store", "store", "--workers", "1", "--json"]) == 0
    sweep_id = json.loads(capsys.readouterr().out)["sweep_id"]
    assert main(["sweep", "leaderboard", "--sweep", sweep_id, "--store", "store", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["rows"][0]
    cell_id = best["cells"][0]

    assert main(["sweep", "report", "--sweep", sweep_id, "--cell", cell_id[:12], "--store", "store"]) == 0

    assert cell_id in capsys.readouterr().out
    folder = tmp_path / "results" / "cells" / cell_id[:12]
    result = json.loads((folder / "result.json").read_text())
    assert result["metrics"]["sharpe_ratio"] == best["value"]
    assert result["strategy"]["params"].items() >= best["parameters"].items()
    assert result["config"]["strategy"].items() >= best["parameters"].items()
    assert (folder / "report.html").stat().st_size > 10_000
    (results,) = (tmp_path / "results" / "sweeps").iterdir()
    assert (
        f"trading-runtime sweep report --sweep {sweep_id} --cell {cell_id[:12]}" in (results / "sweep.html").read_text()
    )
    assert main(["sweep", "report", "--sweep", sweep_id, "--cell", "0" * 64, "--store", "store"]) == 77
    assert main(["sweep", "report", "--sweep", sweep_id, "--cell", "../..", "--store", "store"]) == 77


def test_the_report_of_a_warmed_up_cell_says_so_and_trades_as_the_cell(tmp_path: Path) -> None:
    store = MemoryObjects()
    found = whole_run(write_sweep(tmp_path, space=FEW), store)
    days = {"first": 10, "second": 14}

    for row in found.cells.rows():
        cell_id, run = cell_run(store, found.sweep.sweep_id, row["cell_id"][:16])

        assert cell_id == row["cell_id"]
        assert run.result["metrics"]["fills"] == row["m_fills"]
        assert run.result["metrics"]["end_equity"] == row["m_end_equity"]
        bars = run.result["period"]["bars"] - days[row["period"]] * 24
        assert bars == row["p_slow"]
        assert f"the {bars} bars before" in run.result["warnings"][-1]


def test_a_cell_whose_stored_result_is_damaged_is_not_reported(tmp_path: Path) -> None:
    store = MemoryObjects()
    found = whole_run(write_sweep(tmp_path, space=FEW), store)
    cell_id = found.cells.row(0)["cell_id"]
    raw = store.get(cell_key(cell_id))
    store.put(cell_key(cell_id), raw.replace(b'"fills":', b'"fills": '))

    with pytest.raises(DataError, match="run the sweep again"):
        cell_run(store, found.sweep.sweep_id, cell_id)

    assert run_here(store, found.sweep.sweep_id).damaged == 1
    assert store.get(cell_key(cell_id)) == raw


def test_run_and_gather_write_the_same_results(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, space=FEW, periods=FOLDS)

    def sweep(*words: str) -> None:
        command = [sys.executable, "-m", "trading_runtime", "sweep", *words, "--store", "store"]
        subprocess.run(command, cwd=tmp_path, env=process_environment(), check=True, capture_output=True, timeout=100)

    sweep("run", "--config", str(path), "--folder", "one", "--workers", "1")
    sweep("gather", "--sweep", content_of(tmp_path / "one")["sweep_id"], "--folder", "other")

    one, other = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("one", "other"))
    assert sorted(one) == ["cells.parquet", "equity.parquet", "sweep.html", "sweep.json"]
    assert one == other
