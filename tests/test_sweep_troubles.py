"""Sweeps with cells that cannot be, amounts beyond their range, and stores that may only be read."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep_process import main
from sweep_samples import made_bars, planned, process_environment, run_here, whole_run, write_candles, write_sweep

from trading_runtime.backtest.run import run_backtest
from trading_runtime.config.load import load_settings
from trading_runtime.data.synth import synthesize
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.sweep.cell import CellError, Measures, batch_outcomes
from trading_runtime.sweep.gather import gather_sweep, write_results
from trading_runtime.sweep.measure import measure_sweep
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.why import why_recomputed

FEW: dict[str, Any] = {"space": {"fast": [2, 5], "slow": [24, 40]}, "periods": {"kind": "whole"}}
COMPILED, GENERAL = 10**9, 1  # so many cells to expect make compiling worth it, or not

WINDOWED = """
from trading_runtime.core.columns import NO_OPINION, P, indicator, where, wrap
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Strategy

class Windowed(Strategy):
    class Params(Parameters):
        span = parameter(5, minimum=2, maximum=60)
        window = parameter(20, minimum=2, maximum=90)
    mean = indicator("ema", "close", span=P.span, window=P.window)
    targets = where(wrap("close") > mean, 0.5, 0.0)
"""


@pytest.mark.parametrize("expected", [COMPILED, GENERAL])
def test_windows_that_cannot_be_fail_their_cells_alone(tmp_path: Path, expected: int) -> None:
    (tmp_path / "windowed.py").write_text(WINDOWED)
    path = write_sweep(
        tmp_path,
        backtest={"strategy": {"class": "windowed.py:Windowed"}},
        space={"span": [3, 30], "window": [20, 40]},
        periods={"kind": "whole"},
    )
    store = MemoryObjects()
    plan = planned(path, store)
    assert measure_sweep(store, plan.sweep, plan.data).cells_measured == 4
    runner = Runner(store, plan.sweep, data=plan.data, expected=expected)
    assert runner.run(range(4)) == (3, 0, 1, 0)

    found = gather_sweep(store, plan.sweep.sweep_id, strategy=plan.strategy)

    assert found.counts["done"] == 3
    ((cell_id, message),) = found.failed.items()
    assert message == "StrategyError: window must be a whole number of at least 30, not 20"
    assert (found.cells.row(2)["cell_id"], found.cells.row(2)["status"]) == (cell_id, "failed")
    assert (found.cells.row(2)["p_span"], found.cells.row(2)["p_window"]) == (30, 20)
    again = run_here(store, plan.sweep.sweep_id, strategy=plan.strategy, retry_failed=True)
    assert again == (0, 3, 1, 0)


def test_a_batch_computes_the_cells_beside_those_that_are_too_long(tmp_path: Path) -> None:
    """One cell whose windows never fill does not send its whole chunk to the path that is a hundred times slower."""
    path = write_sweep(
        tmp_path, bars=made_bars(100), space={"fast": [2, 3], "slow": [20, 40, 300]}, periods={"kind": "whole"}
    )
    store = MemoryObjects()
    plan = planned(path, store)
    runner = Runner(store, plan.sweep, data=plan.data, expected=COMPILED)
    tasks = [runner.task(index) for index in range(6)]
    prepared = runner._markets.market(plan.sweep.periods[0], 300)

    found = batch_outcomes(prepared, [task.cell.strategy for task in tasks], Measures(prepared, 365.0, 0.0), None)

    assert found is not None
    assert [isinstance(one, CellError) for one in found] == [False, False, True] * 2
    assert "needs 300 bars before its first decision, the data has 100" in str(found[2])
    one_by_one = Runner(store, plan.sweep, data=plan.data, expected=GENERAL).outcomes(tasks)
    for batch, single in zip(found, one_by_one, strict=True):
        if isinstance(batch, CellError) or isinstance(single, CellError):
            assert str(batch) == str(single)
        else:
            assert batch.texts == single.texts
    alone = batch_outcomes(prepared, [tasks[2].cell.strategy], Measures(prepared, 365.0, 0.0), None)
    assert alone is not None
    assert str(alone[0]) == str(found[2])


@pytest.mark.parametrize("expected", [COMPILED, GENERAL])
def test_an_account_beyond_the_range_fails_its_cell_and_never_has_figures(tmp_path: Path, expected: int) -> None:
    """Funding of a half a day ruins whoever holds much: beyond 2^62 units there are no amounts any more."""
    kept = WINDOWED.replace("Windowed", "Kept").replace(
        'wrap("close") > mean, 0.5, 0.0', "mean > 0.0, P.span * 0.03, 0.0"
    )
    (tmp_path / "kept.py").write_text(kept)
    symbol = "BTC/USDT:USDT"
    path = write_sweep(
        tmp_path,
        bars=synthesize(symbol, "1h", 1_672_531_200_000, 480, 5, start_price="20000", tick="0.01"),
        backtest={
            "strategy": {"class": "kept.py:Kept"},
            "data": [{"path": "BTC-USDT-1h.csv", "symbol": symbol, "timeframe": "1h"}],
            "account": {"cash": 20_000_000_000, "leverage_max": 100},
            "funding": {symbol: {"rate": 0.5, "interval_hours": 24}},
        },
        space={"span": [5, 60], "window": [60]},
        periods={"kind": "whole"},
    )
    store = MemoryObjects()
    plan = planned(path, store)
    runner = Runner(store, plan.sweep, data=plan.data, expected=expected)
    little, much = runner.outcomes([runner.task(0), runner.task(1)])

    assert isinstance(much, CellError)
    assert much.message == "the account's cash or equity left the range of amounts"
    assert not isinstance(little, CellError), little.message
    backtest = run_backtest(load_settings(tmp_path / "backtest.json", ["strategy.span=5", "strategy.window=60"]))
    assert min(little["equity"]["units"]) < 0, "ruined, and still holding: the backtest counts these bars as well"
    assert {name: backtest.result["metrics"][name] for name in little["metrics"]} == little["metrics"]
    assert little["metrics"]["fills"] == 1
    assert little["metrics"]["funding"] > 1e9


def test_a_trade_without_end_changes_no_cell(tmp_path: Path) -> None:
    """Weights that follow the price trade at every bar and never close: what one trade bought in all is beyond the
    range, the account is not.
    """
    (tmp_path / "restless.py").write_text(
        WINDOWED.replace("Windowed", "Restless").replace(
            'where(wrap("close") > mean, 0.5, 0.0)',
            'where(mean > 0.0, (wrap("close") - mean) / mean * P.span + 1.5, 0.0)',
        )
    )
    symbol = "BTC/USDT:USDT"
    path = write_sweep(
        tmp_path,
        bars=synthesize(symbol, "1h", 1_672_531_200_000, 1500, 5, start_price="20000", tick="0.01"),
        backtest={
            "strategy": {"class": "restless.py:Restless"},
            "data": [{"path": "BTC-USDT-1h.csv", "symbol": symbol, "timeframe": "1h"}],
            "account": {"cash": 8_000_000_000, "leverage_max": 5},
            "instrument": {"taker_fee_rate": 0.0},
        },
        space={"span": [20], "window": [20]},
        periods={"kind": "whole"},
    )
    store = MemoryObjects()
    plan = planned(path, store)
    texts = []
    for expected in (COMPILED, GENERAL):
        runner = Runner(store, plan.sweep, data=plan.data, expected=expected)
        (found,) = runner.outcomes([runner.task(0)])
        assert not isinstance(found, CellError), found.message
        texts.append(found.texts)

    assert texts[0] == texts[1]


def test_who_gathers_does_not_show_in_the_results(tmp_path: Path) -> None:
    """A process that compiled kernels and one that loaded no compiler write the same files."""
    import numba

    store = FolderObjects(tmp_path / "store")
    found = whole_run(write_sweep(tmp_path, **FEW), store)
    write_results(store, found, tmp_path / "here")
    words = ["gather", "--sweep", found.sweep.sweep_id, "--store", "store", "--folder", "there"]
    command = [sys.executable, "-m", "trading_runtime", "sweep", *words]
    subprocess.run(command, cwd=tmp_path, env=process_environment(), check=True, capture_output=True, timeout=100)

    here, there = ({one.name: one.read_bytes() for one in (tmp_path / name).iterdir()} for name in ("here", "there"))
    assert here == there
    libraries = json.loads(here["sweep.json"])["provenance"]["libraries"]
    assert libraries["numba"] == numba.__version__
    assert libraries["numpy"] == np.__version__


def test_the_leaderboard_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FolderObjects(tmp_path / "store")
    plan = planned(write_sweep(tmp_path, **FEW), store)
    run_here(store, plan.sweep.sweep_id)
    before = {key: store.get(key) for key in store.keys("")}

    assert main(["sweep", "leaderboard", "--sweep", plan.sweep.sweep_id, "--store", store.label]) == 0

    assert "sharpe_ratio" in capsys.readouterr().out
    assert {key: store.get(key) for key in store.keys("")} == before


def test_a_sweep_is_compared_with_the_one_that_was_planned_last_also_if_that_was_planned_before(tmp_path: Path) -> None:
    store = MemoryObjects()
    path = write_sweep(tmp_path, **FEW)
    first = planned(path, store).sweep.sweep_id
    write_candles(tmp_path / "BTC-USDT-1h.csv", made_bars(seed=2))
    planned(path, store)
    write_candles(tmp_path / "BTC-USDT-1h.csv", made_bars())
    assert planned(path, store).sweep.sweep_id == first
    settings = json.loads((tmp_path / "backtest.json").read_text())
    (tmp_path / "backtest.json").write_text(json.dumps({**settings, "instrument": {"taker_fee_rate": 0.002}}))
    last = planned(path, store).sweep.sweep_id

    why = why_recomputed(store, last)

    assert (why.against, why.parts) == (first, ["instrument"])


def test_several_writers_of_one_folder_take_turns(tmp_path: Path) -> None:
    """Two runs of one sweep end at the same moment: the folder is whole, and nothing is left beside it."""
    store = MemoryObjects()
    found = whole_run(write_sweep(tmp_path, **FEW), store)
    folder = tmp_path / "out" / "results"
    start = threading.Barrier(6)

    def write(_: int) -> list[str]:
        start.wait()
        return [one.name for _ in range(4) for one in write_results(store, found, folder)]

    with ThreadPoolExecutor(6) as pool:
        written = list(pool.map(write, range(6)))

    assert written == [["cells.parquet", "sweep.html", "sweep.json"] * 4] * 6
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["results"]
