"""Cells of sweeps: the same bytes on every path, however far the market reaches back, and what names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_samples import made_bars, planned, run_here, whole_run, write_candles, write_sweep

from trading_runtime.backtest.run import run_backtest
from trading_runtime.config.load import load_settings
from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import DataError
from trading_runtime.core.hashing import canonical_json, sha256_hex
from trading_runtime.data.synth import synthesize
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.sweep.candles import BLOCK_BARS, CandleHashes, candle_bytes, first_difference, read_candles
from trading_runtime.sweep.cell import CellError, equity_series
from trading_runtime.sweep.plan import Planned
from trading_runtime.sweep.results import result_bytes
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.settings import MetricName

COMPILED, GENERAL = 10**9, 1  # so many cells to expect make compiling worth it, or not


def all_bytes(store: MemoryObjects, plan: Planned, expected: int, *, one_by_one: bool = False) -> list[bytes]:
    """Return the bytes of every cell, computed on one path; nothing is stored."""
    runner = Runner(store, plan.sweep, data=plan.data, expected=expected)
    found = []
    for number in range(len(plan.sweep.periods)):
        first = number * plan.sweep.combinations
        indices = range(first, first + plan.sweep.combinations)
        for group in [[index] for index in indices] if one_by_one else [list(indices)]:
            if one_by_one:  # a market of its own for every cell: it reaches back as far as this one needs
                runner = Runner(store, plan.sweep, data=plan.data, expected=expected)
            tasks = [runner.task(index) for index in group]
            for task, outcome in zip(tasks, runner.outcomes(tasks), strict=True):
                assert not isinstance(outcome, CellError), outcome.message
                found.append(result_bytes(task.cell_id, task.text, outcome))
    return found


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**31),
    perpetual=st.booleans(),
    slippage=st.sampled_from([0.0, 0.001]),
    latency=st.integers(0, 3),
)
def test_batch_and_single_cells_are_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, seed: int, perpetual: bool, slippage: float, latency: int
) -> None:
    symbol = "BTC/USDT:USDT" if perpetual else "BTC/USDT"
    bars = synthesize(symbol, "1h", 1_672_531_200_000, 400, seed, start_price="20000", tick="0.01")
    path = write_sweep(
        tmp_path_factory.mktemp("cells"),
        bars=bars,
        backtest={
            "data": [{"path": "BTC-USDT-1h.csv", "symbol": symbol, "timeframe": "1h"}],
            "execution": {"slippage_fraction": slippage, "latency_bars": latency},
            **({"funding": {symbol: {"rate": 0.0005}}} if perpetual else {}),
        },
        space={"fast": [2, 7, 30], "slow": [10, 40]},
        periods={
            "kind": "list",
            "periods": [
                {"name": "early", "start": "2023-01-01T05:00:00Z", "end": "2023-01-08"},
                {"name": "late", "start": "2023-01-09T07:00:00Z", "end": "2023-01-16"},
            ],
        },
    )
    store = MemoryObjects()
    plan = planned(path, store)

    general = all_bytes(store, plan, GENERAL)

    assert all_bytes(store, plan, COMPILED) == general, f"seed {seed}"
    assert all_bytes(store, plan, GENERAL, one_by_one=True) == general, f"seed {seed}"
    assert all_bytes(store, plan, COMPILED, one_by_one=True) == general, f"seed {seed}"


def test_a_cell_over_the_whole_data_says_what_the_backtest_says(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, space={"fast": [3], "slow": [20]}, periods={"kind": "whole"})
    found = whole_run(path, MemoryObjects())
    backtest = run_backtest(load_settings(tmp_path / "backtest.json", ["strategy.fast=3", "strategy.slow=20"]))

    row = found.cells.row(0)

    assert row["status"] == "done"
    for name in get_args(MetricName):
        assert row[f"m_{name}"] == backtest.result["metrics"][name], name


def test_a_period_begins_with_its_first_bar_and_full_windows(tmp_path: Path) -> None:
    """What a strategy would hold already at the start is bought at the period's first open: bars before it warm up."""
    bars = made_bars(200)
    rising = Bars(
        bars.symbol, "1h", bars.open_time, *(np.linspace(100.0, 300.0, 200) for _ in range(4)), bars.volume + 1
    )
    path = write_sweep(
        tmp_path,
        bars=rising,
        backtest={"instrument": {"taker_fee_rate": 0.0}},
        space={"fast": [2, 3], "slow": [10, 60], "weight": [1.0]},
        periods={"kind": "list", "periods": [{"name": "late", "start": "2023-01-04", "end": "2023-01-08"}]},
    )
    found = whole_run(path, MemoryObjects())
    start, end = 3 * 24, 7 * 24

    for position in range(4):
        row = found.cells.row(position)
        assert row["m_fills"] == 1
        assert row["m_exposure_time_fraction"] == 1.0
        # Sized at the close that was decided at: at the next open cash allows a little less.
        expected = float(rising.close[end - 1] / rising.open[start] - 1.0)
        assert row["m_total_return_fraction"] == pytest.approx(expected, rel=1e-3)


def test_two_cells_that_differ_in_one_parameter_differ_in_their_result(tmp_path: Path) -> None:
    """The system this replaces never applied the parameters of its sweeps: every cell was the same backtest."""
    path = write_sweep(tmp_path, space={"fast": [3, 5], "slow": [20]}, periods={"kind": "whole"})
    found = whole_run(path, MemoryObjects())

    first, second = found.cells.row(0), found.cells.row(1)

    assert (first["p_fast"], second["p_fast"]) == (3, 5)
    assert first["cell_id"] != second["cell_id"]
    assert first["digest"] != second["digest"]
    assert first["m_end_equity"] != second["m_end_equity"]


def test_a_cells_id_is_the_hash_of_the_identity_it_carries(tmp_path: Path) -> None:
    store = MemoryObjects()
    plan = planned(write_sweep(tmp_path), store)
    runner = Runner(store, plan.sweep, data=plan.data, expected=GENERAL)
    task = runner.task(17)

    assert task.cell_id == sha256_hex(canonical_json(runner.identity(task)))


def test_the_equity_of_a_cell_has_the_times_of_its_days(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, space={"fast": [3], "slow": [20]})
    store = MemoryObjects()
    plan = planned(path, store)
    runner = Runner(store, plan.sweep, data=plan.data, expected=GENERAL)
    (outcome,) = runner.outcomes([runner.task(0)])
    assert not isinstance(outcome, CellError)

    times, equity = equity_series(outcome["equity"])

    day = 24 * 3_600_000
    start = plan.sweep.periods[0].start_ms
    assert times.tolist() == [start + day * number for number in range(1, 11)]
    assert equity[-1] == outcome["metrics"]["end_equity"]


def test_a_cell_whose_windows_never_fill_fails_and_says_so(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, bars=made_bars(48), space={"fast": [3], "slow": [20, 100]}, periods={"kind": "whole"})
    store = MemoryObjects()

    found = whole_run(path, store)

    assert found.counts == {"planned": 2, "done": 1, "missing": 0, "failed": 1, "corrupt": 0, "reused": 0}
    (message,) = found.failed.values()
    assert "needs 100 bars before its first decision, the data has 48" in message
    again = run_here(store, found.sweep.sweep_id)
    assert (again.computed, again.found, again.failed) == (0, 1, 1)
    retried = run_here(store, found.sweep.sweep_id, retry_failed=True)
    assert (retried.computed, retried.found, retried.failed) == (0, 1, 1)


def test_a_strategy_that_breaks_fails_its_cells_alone(tmp_path: Path) -> None:
    strategy = tmp_path / "breaks.py"
    strategy.write_text(
        "from trading_runtime.core.columns import indicator\n"
        "from trading_runtime.core.intents import target\n"
        "from trading_runtime.core.parameters import Parameters, parameter\n"
        "from trading_runtime.core.strategy import Proposal, Strategy\n\n"
        "class Breaks(Strategy):\n"
        "    class Params(Parameters):\n"
        "        divisor = parameter(1, minimum=0, maximum=9, step=1)\n"
        "    mean = indicator('sma', 'close', length=3)\n"
        "    def decide(self, inputs):\n"
        "        return Proposal([target(inputs.symbol, 1 // self.params.divisor, reason='x')])\n"
    )
    path = write_sweep(
        tmp_path,
        backtest={"strategy": {"class": "breaks.py:Breaks"}},
        space={"divisor": [0, 1, 2]},
        periods={"kind": "whole"},
    )
    found = whole_run(path, MemoryObjects())

    assert [found.cells.row(position)["status"] for position in range(3)] == ["failed", "done", "done"]
    (message,) = found.failed.values()
    assert "ZeroDivisionError" in message


def test_candles_come_out_of_their_blob_as_they_went_in() -> None:
    bars = made_bars()
    read = read_candles(candle_bytes(bars), "blob")

    assert (read.symbol, read.timeframe) == (bars.symbol, bars.timeframe)
    assert read.content_hash() == bars.content_hash()
    assert candle_bytes(read) == candle_bytes(bars)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}\n", candle_bytes(made_bars(10))[:-1]])
def test_what_is_no_blob_of_candles_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="blob"):
        read_candles(content, "blob")


@settings(max_examples=60)
@given(
    first=st.integers(0, 3 * BLOCK_BARS),
    count=st.integers(1, 2 * BLOCK_BARS + 5),
    cut=st.integers(0, 500),
    data=st.data(),
)
def test_the_hash_of_a_stretch_depends_on_its_bars_alone(first: int, count: int, cut: int, data: st.DataObject) -> None:
    """Whatever the file holds before and after; and it differs as soon as one bar of the stretch does."""
    rows = first % 700 + count + cut
    times = 3_600_000 * (np.arange(rows, dtype=np.int64) + first)
    prices = 100.0 + np.arange(rows) % 13
    bars = Bars("BTC/USDT", "1h", times, prices, prices, prices, prices, np.ones(rows))
    start = first % 700
    stop = start + count
    inside = CandleHashes(bars).between(start, stop)

    assert CandleHashes(bars.slice(start, stop)).between(0, count) == inside
    changed_row = data.draw(st.integers(0, rows - 1))
    volume = np.ones(rows)
    volume[changed_row] = 2.0
    changed = CandleHashes(Bars("BTC/USDT", "1h", times, prices, prices, prices, prices, volume)).between(start, stop)
    assert (changed != inside) == (start <= changed_row < stop)


def test_the_first_difference_of_two_series_is_found() -> None:
    bars = made_bars(50)
    volume = bars.volume.copy()
    volume[31] += 1.0
    columns = [getattr(bars, name) for name in FIELDS[:4]]
    changed = Bars(bars.symbol, bars.timeframe, bars.open_time, *columns, volume)

    assert first_difference(bars, bars) is None
    assert first_difference(bars, changed) == int(bars.open_time[31])
    assert first_difference(bars, bars.slice(0, 40)) == int(bars.open_time[40])
    assert first_difference(bars, bars.slice(2, 50)) == int(bars.open_time[0])


def change_candle(folder: Path, row: int) -> None:
    """Change the volume of one candle, nothing else."""
    bars = made_bars()
    volume = bars.volume.copy()
    volume[row] += 1.0
    columns: list[Any] = [getattr(bars, name) for name in FIELDS[:4]]
    write_candles(folder / "BTC-USDT-1h.csv", Bars(bars.symbol, bars.timeframe, bars.open_time, *columns, volume))


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**31), late=st.integers(0, 260), strategy=st.sampled_from(["sma_cross", "momentum_rotation"])
)
def test_cells_over_several_symbols_do_not_depend_on_how_far_the_market_reaches(
    tmp_path_factory: pytest.TempPathFactory, seed: int, late: int, strategy: str
) -> None:
    """One symbol may be listed before the period, while others warm up, or inside it."""
    folder = tmp_path_factory.mktemp("symbols")
    names = ("BTC", "ETH")
    space = {
        "sma_cross": {"fast": [2, 30], "slow": [10, 50]},
        "momentum_rotation": {"lookback": [24, 48], "rebalance_hours": [5]},
    }
    path = write_sweep(
        folder,
        backtest={
            "strategy": {"class": strategy},
            "data": [{"path": f"{name}.csv", "symbol": f"{name}/USDT", "timeframe": "1h"} for name in names],
        },
        space=space[strategy],
        periods={
            "kind": "list",
            "periods": [{"name": "late", "start": "2023-01-06T03:00:00Z", "end": "2023-01-13"}],
        },
    )
    for number, name in enumerate(names):
        bars = synthesize(f"{name}/USDT", "1h", 1_672_531_200_000, 330, seed + number, start_price="2000", tick="0.01")
        write_candles(folder / f"{name}.csv", bars.slice(late, 330) if number else bars)
    store = MemoryObjects()
    plan = planned(path, store)

    general = all_bytes(store, plan, GENERAL)

    assert all_bytes(store, plan, COMPILED) == general, f"seed {seed}"
    assert all_bytes(store, plan, COMPILED, one_by_one=True) == general, f"seed {seed}"
    assert all_bytes(store, plan, GENERAL, one_by_one=True) == general, f"seed {seed}"


def test_funding_rates_of_a_file_reach_the_cells_through_the_store(tmp_path: Path) -> None:
    symbol = "BTC/USDT:USDT"
    bars = synthesize(symbol, "1h", 1_672_531_200_000, 300, 5, start_price="20000", tick="0.01")
    rates = "".join(f"{int(bars.open_time[row])},0.00{row % 7}\n" for row in range(8, 290, 8))
    (tmp_path / "funding.csv").write_text("time,rate\n" + rates)
    path = write_sweep(
        tmp_path,
        bars=bars,
        backtest={
            "data": [{"path": "BTC-USDT-1h.csv", "symbol": symbol, "timeframe": "1h"}],
            "funding": {symbol: {"path": "funding.csv"}},
        },
        space={"fast": [3], "slow": [20]},
        periods={"kind": "whole"},
    )
    found = whole_run(path, MemoryObjects())
    backtest = run_backtest(load_settings(tmp_path / "backtest.json", ["strategy.fast=3", "strategy.slow=20"]))

    assert backtest.result["metrics"]["funding"] != 0.0
    assert found.cells.row(0)["m_funding"] == backtest.result["metrics"]["funding"]
    assert found.cells.row(0)["m_end_equity"] == backtest.result["metrics"]["end_equity"]


def test_publications_reach_the_cells_through_the_store(tmp_path: Path) -> None:
    """A strategy that holds what is in the pool gets the same pools at the same times from a shard as in a backtest;
    a pool that changes after a period recomputes nothing of it.
    """
    names = ("DOGE", "ETH", "XRP", "LINK", "ADA")
    for month, first in ((1, "DOGE"), (2, "ADA"), (3, "ETH")):
        write_pool(tmp_path / "pools", month, [first, *(name for name in names if name != first)])
    (tmp_path / "first_of_pool.py").write_text(
        "from trading_runtime.core.columns import indicator\n"
        "from trading_runtime.core.intents import target\n"
        "from trading_runtime.core.parameters import Parameters, parameter\n"
        "from trading_runtime.core.strategy import Proposal, Strategy\n\n"
        "class FirstOfPool(Strategy):\n"
        "    class Params(Parameters):\n"
        "        weight = parameter(0.5, minimum=0.0, maximum=1.0)\n"
        "    mean = indicator('sma', 'close', length=5, universe=True)\n"
        "    def decide(self, inputs):\n"
        "        wanted = inputs.artifact['symbols'][0] if inputs.artifact else None\n"
        "        if inputs.state.get('held') == wanted:\n"
        "            return None\n"
        "        weights = [self.params.weight if one == wanted else 0.0 for one in inputs.symbols]\n"
        "        aims = [target(one, weight, reason='x') for one, weight in zip(inputs.symbols, weights)]\n"
        "        return Proposal(aims, state={'held': wanted})\n"
    )
    path = write_sweep(
        tmp_path,
        backtest={
            "strategy": {"class": "first_of_pool.py:FirstOfPool"},
            "artifact": {"folder": "pools"},
            "data": [{"path": f"{name}.csv", "symbol": f"{name}/USDT", "timeframe": "1d"} for name in names],
        },
        space={"weight": [0.3, 0.9]},
        periods={"kind": "whole"},
    )
    for number, name in enumerate(names):
        bars = synthesize(f"{name}/USDT", "1d", 1_672_531_200_000, 80, number, start_price="20", tick="0.0001")
        write_candles(tmp_path / f"{name}.csv", bars)
    found = whole_run(path, MemoryObjects())
    backtest = run_backtest(load_settings(tmp_path / "backtest.json", ["strategy.weight=0.9"]))

    assert backtest.result["metrics"]["fills"] >= 5
    assert found.cells.row(1)["m_fills"] == backtest.result["metrics"]["fills"]
    assert found.cells.row(1)["m_end_equity"] == backtest.result["metrics"]["end_equity"]

    store = MemoryObjects()
    months = [("one", "2023-01-10", "2023-02-01"), ("two", "2023-02-10", "2023-03-01")]
    listed = {"kind": "list", "periods": [{"name": name, "start": start, "end": end} for name, start, end in months]}
    sweep = json.loads(path.read_text())
    path.write_text(json.dumps({**sweep, "periods": listed}))
    before = whole_run(path, store)
    write_pool(tmp_path / "pools", 2, ["LINK", *(name for name in names if name != "LINK")])

    plan = planned(path, store)

    assert before.counts["done"] == 4
    assert plan.reused == 2
    assert run_here(store, plan.sweep.sweep_id, strategy=plan.strategy).computed == 2


def write_pool(folder: Path, month: int, names: list[str]) -> None:
    """Write a publication of the first of a month."""
    folder.mkdir(exist_ok=True)
    day = f"2023-{month:02d}-01"
    payload = {
        "version": f"{day}-core_major",
        "as_of_date": day,
        "mode": "core_major",
        "pool_size": len(names),
        "symbols": [f"{name}USDT" for name in names],
        "symbol_map": {f"{name}USDT": {"base_asset": name} for name in names},
        "source_project": "example",
        "generated_at": f"{day}T06:52:00+00:00",
    }
    (folder / f"{day}-core_major.json").write_text(json.dumps(payload))
