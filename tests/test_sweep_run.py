"""Running and gathering sweeps: one root digest whatever the workers, shards, kills and repetitions."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweep_process import main
from sweep_samples import (
    SPACE,
    cell_files,
    made_bars,
    planned,
    process_environment,
    run_here,
    shard_command,
    whole_run,
    write_sweep,
)

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.sweep.gather import gather_sweep, write_results
from trading_runtime.sweep.results import cell_key
from trading_runtime.sweep.search import round_key
from trading_runtime.sweep.status import sweep_status
from trading_runtime.sweep.why import why_cell, why_recomputed

CELLS = 60


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str, dict[str, bytes]]:
    """The sample sweep's file, its id, its root digest and all bytes of its cells."""
    folder = tmp_path_factory.mktemp("reference")
    path, store = write_sweep(folder), FolderObjects(folder / "objects")
    found = whole_run(path, store)
    assert found.is_complete
    assert found.counts["done"] == CELLS
    return path, found.sweep.sweep_id, found.root_digest, cell_files(store)


Reference = tuple[Path, str, str, dict[str, bytes]]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_no_byte(reference: Reference, tmp_path: Path, workers: int) -> None:
    path, sweep_id, digest, cells = reference
    store = FolderObjects(tmp_path)
    assert planned(path, store).sweep.sweep_id == sweep_id

    done = run_here(store, sweep_id, workers=workers)

    assert (done.computed, done.found, done.failed) == (CELLS, 0, 0)
    assert gather_sweep(store, sweep_id).root_digest == digest
    assert cell_files(store) == cells


def test_shards_in_any_order_and_twice_change_no_byte(reference: Reference) -> None:
    path, sweep_id, digest, cells = reference
    for seed in range(3):
        store = MemoryObjects()
        planned(path, store)
        chosen = random.Random(seed)
        shards = chosen.randint(2, 9)
        order = [*range(shards), *chosen.sample(range(shards), 2)]
        chosen.shuffle(order)

        computed = sum(run_here(store, sweep_id, shard=shard, shards=shards).computed for shard in order)

        assert computed == CELLS, f"seed {seed}"
        assert gather_sweep(store, sweep_id).root_digest == digest, f"seed {seed}"
        assert {key: store.get(key) for key in store.keys("cells/")} == cells, f"seed {seed}"


def test_a_sweep_that_is_killed_at_random_goes_on_and_changes_no_byte(reference: Reference, tmp_path: Path) -> None:
    path, sweep_id, digest, cells = reference
    seed = 11
    chosen = random.Random(seed)
    store = FolderObjects(tmp_path)
    planned(path, store)
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(
            shard_command(str(tmp_path), sweep_id, "--workers", "1"),
            env=process_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        before = len(list(store.keys("cells/")))
        wanted = before + chosen.randint(0, 12)
        while process.poll() is None and len(list(store.keys("cells/"))) <= wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills, f"seed {seed}: no run was killed before its end"
    assert not gather_sweep(store, sweep_id).corrupt

    run_here(store, sweep_id)

    assert gather_sweep(store, sweep_id).root_digest == digest, f"seed {seed}"
    assert cell_files(store) == cells


def test_an_interrupted_sweep_ends_with_130_and_leaves_no_process(reference: Reference, tmp_path: Path) -> None:
    path, sweep_id, digest, _ = reference
    store = FolderObjects(tmp_path)
    planned(path, store)
    process = subprocess.Popen(
        shard_command(str(tmp_path), sweep_id, "--workers", "2"),
        env=process_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    while process.poll() is None and not list(store.keys("cells/")):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()

    assert process.returncode == 130, said
    assert said.strip().splitlines()[-1] == "interrupted: nothing was left half-written"
    while is_group_alive(process.pid):  # workers and the tracker that multiprocessing starts see their pipes close
        time.sleep(0.01)
    run_here(store, sweep_id)
    assert gather_sweep(store, sweep_id).root_digest == digest


def is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_planning_twice_is_one_sweep_and_computes_nothing_again(reference: Reference) -> None:
    path, sweep_id, _, _ = reference
    store = MemoryObjects()
    first = planned(path, store)
    run_here(store, sweep_id)
    second = planned(path, store)

    assert (first.is_new, second.is_new) == (True, False)
    assert second.sweep.sweep_id == sweep_id
    done = run_here(store, sweep_id)
    assert (done.computed, done.found) == (0, CELLS)


def test_gather_names_what_is_missing_and_never_calls_it_success(reference: Reference) -> None:
    path, sweep_id, digest, _ = reference
    store = MemoryObjects()
    planned(path, store)
    run_here(store, sweep_id, shard=0, shards=3)

    found = gather_sweep(store, sweep_id)

    assert not found.is_complete
    assert found.counts == {"planned": 60, "done": 20, "missing": 40, "failed": 0, "corrupt": 0, "reused": 0}
    assert found.missing == [index for index in range(CELLS) if index % 3]
    assert found.root_digest != digest


@pytest.mark.parametrize("how", ["cut", "flipped", "other cell", "no result", "empty"])
def test_a_corrupt_result_is_told_and_recomputed_and_never_reported(reference: Reference, how: str) -> None:
    path, sweep_id, digest, cells = reference
    store = MemoryObjects()
    planned(path, store)
    for key, content in cells.items():
        store.put(key, content)
    key, other = sorted(cells)[7:9]
    damaged = {
        "cut": cells[key][:-20],
        "flipped": cells[key].replace(b'"sharpe_ratio":', b'"sharpe_ratiO":'),
        "other cell": cells[other],
        "no result": b'{"a":1}',
        "empty": b"",
    }[how]
    assert damaged != cells[key]
    store.put(key, damaged)

    found = gather_sweep(store, sweep_id)

    cell_id = key.rpartition("/")[2].removesuffix(".json")
    assert list(found.corrupt) == [cell_id]
    assert not found.is_complete
    row = next(found.cells.row(place) for place in range(CELLS) if found.cells.columns["cell_id"][place] == cell_id)
    assert row["status"] == "corrupt"
    assert row["m_sharpe_ratio"] is None
    assert row["digest"] is None

    done = run_here(store, sweep_id)

    assert (done.computed, done.found, done.damaged) == (1, CELLS - 1, 1)
    assert gather_sweep(store, sweep_id).root_digest == digest
    assert store.get(key) == cells[key]


def test_one_candle_changed_recomputes_the_cells_that_read_it_and_the_answer_names_it(
    tmp_path: Path, reference: Reference
) -> None:
    path, before_id, _, cells = reference
    store = MemoryObjects()
    planned(path, store)
    run_here(store, before_id)
    bars = made_bars()
    volume = bars.volume.copy()
    row = 20 * 24 + 5  # 2023-01-21: in the second period, after the first
    volume[row] += 1.0
    columns = [getattr(bars, name) for name in FIELDS[:4]]
    changed = write_sweep(tmp_path, bars=Bars(bars.symbol, "1h", bars.open_time, *columns, volume))

    plan = planned(changed, store)
    done = run_here(store, plan.sweep.sweep_id)

    assert plan.sweep.sweep_id != before_id
    assert plan.reused == CELLS // 2
    assert (done.computed, done.found) == (CELLS // 2, CELLS // 2)
    found = gather_sweep(store, plan.sweep.sweep_id)
    assert found.counts["reused"] == CELLS // 2
    new = {
        found.cells.columns["period"][place]
        for place in range(CELLS)
        if cell_key(found.cells.columns["cell_id"][place]) not in cells
    }
    assert new == {"second"}
    why = why_recomputed(store, plan.sweep.sweep_id)
    assert why.against == before_id
    assert why.parts == ["candles"]
    assert (
        why.reasons[0]
        == "candles: BTC-USDT-1h.csv (BTC/USDT) differs, first in the bar that opens at 2023-01-21T05:00:00Z"
    )
    cell_id = found.cells.columns["cell_id"][CELLS - 1]
    assert why_cell_parts(store, cell_id, before_id) == ["candles"]


def why_cell_parts(store: MemoryObjects, cell_id: str, against: str) -> list[str]:
    gather_sweep(store, against)
    return why_cell(store, cell_id, against).parts


def test_a_candle_that_only_warms_up_longer_windows_recomputes_those_cells_alone(tmp_path: Path) -> None:
    """The first period begins on 2023-01-05 00:00; the bar 30 bars before it is read by windows of 32 and more."""
    store = MemoryObjects()
    whole_run(write_sweep(tmp_path / "before"), store)
    bars = made_bars()
    volume = bars.volume.copy()
    volume[4 * 24 - 30] += 1.0
    columns = [getattr(bars, name) for name in FIELDS[:4]]

    plan = planned(
        write_sweep(tmp_path / "after", bars=Bars(bars.symbol, "1h", bars.open_time, *columns, volume)), store
    )

    assert plan.reused == CELLS - 6 * 4  # slow 32, 40, 48, 56 of the first period
    assert run_here(store, plan.sweep.sweep_id).computed == 6 * 4


def test_a_comment_recomputes_nothing_and_a_changed_rule_everything(tmp_path: Path) -> None:
    source = (Path(__file__).parents[1] / "trading_runtime/strategies/sma_cross.py").read_text()
    strategy = tmp_path / "own.py"
    strategy.write_text(source)
    path = write_sweep(tmp_path, backtest={"strategy": {"class": "own.py:SmaCross"}})
    store = MemoryObjects()
    first = whole_run(path, store).sweep.sweep_id

    assert replanned(strategy, source + "\n# a comment\n", path, store) == (first, CELLS, ["nothing"])
    second, reused, parts = replanned(strategy, source.replace("parameter(0.95,", "parameter(0.9,"), path, store)
    assert second != first
    assert (reused, parts) == (0, ["code", "parameter default", "parameters"])


def replanned(strategy: Path, source: str, path: Path, store: MemoryObjects) -> tuple[str, int, list[str]]:
    """Plan with other source in a process of its own, as a module is imported once; return id, cells found, parts."""
    strategy.write_text(source)
    for name in [name for name in sys.modules if name == "strategy_file_own"]:
        del sys.modules[name]
    plan = planned(path, store)
    done = run_here(store, plan.sweep.sweep_id, strategy=plan.strategy)
    return plan.sweep.sweep_id, done.found, why_parts(store, plan.sweep.sweep_id)


def why_parts(store: MemoryObjects, sweep_id: str) -> list[str]:
    why = why_recomputed(store, sweep_id)
    return ["nothing"] if why.parts == ["first"] else why.parts


def test_code_that_was_not_planned_is_refused_with_the_file_that_differs(tmp_path: Path) -> None:
    source = (Path(__file__).parents[1] / "trading_runtime/strategies/sma_cross.py").read_text()
    strategy = tmp_path / "own2.py"
    strategy.write_text(source)
    store = MemoryObjects()
    plan = planned(write_sweep(tmp_path, backtest={"strategy": {"class": "own2.py:SmaCross"}}), store)
    strategy.write_text(source.replace("0.95", "0.9"))
    del sys.modules["strategy_file_own2"]

    with pytest.raises(ConfigurationError, match=r"planned with other code of SmaCross \(differs: own2.py\)"):
        run_here(store, plan.sweep.sweep_id, strategy=plan.strategy)


def test_costs_that_changed_are_named(tmp_path: Path) -> None:
    store = MemoryObjects()
    whole_run(write_sweep(tmp_path), store)
    dearer = planned(write_sweep(tmp_path, backtest={"instrument": {"taker_fee_rate": 0.002}}), store)

    why = why_recomputed(store, dearer.sweep.sweep_id)

    assert dearer.reused == 0
    assert why.reasons[0] == "instrument taker_fee_rate: 0.001 before, 0.002 now"


def test_a_wider_sweep_shares_the_cells_of_the_narrower_one(tmp_path: Path) -> None:
    store = MemoryObjects()
    whole_run(write_sweep(tmp_path), store)
    wider = planned(write_sweep(tmp_path, space={**SPACE, "fast": [2, 3, 5, 8, 13, 21, 22]}, name="wider"), store)

    assert wider.reused == CELLS
    done = run_here(store, wider.sweep.sweep_id)
    assert (done.computed, done.found) == (10, CELLS)


def test_status_counts_by_shard(reference: Reference) -> None:
    path, sweep_id, _, _ = reference
    store = MemoryObjects()
    planned(path, store)
    run_here(store, sweep_id, shard=1, shards=4)

    _, shards = sweep_status(store, sweep_id, 4)

    assert [(one.planned, one.done, one.missing) for one in shards] == [
        (15, 0, 15),
        (15, 15, 0),
        (15, 0, 15),
        (15, 0, 15),
    ]


OPTUNA = {
    "search": {"kind": "optuna", "count": 12, "seed": 3, "rounds": 3},
    "space": {"fast": "declared", "slow": {"start": 10, "stop": 90, "step": 10}},
    "where": ["fast < slow"],
}


def test_an_optuna_search_depends_on_its_seed_alone(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, **OPTUNA)
    one, two = MemoryObjects(), FolderObjects(tmp_path / "objects")
    found = whole_run(path, one)
    sweep_id = found.sweep.sweep_id
    planned(path, two)

    run_here(two, sweep_id, workers=2)

    assert found.counts["done"] == 24
    assert gather_sweep(two, sweep_id).root_digest == found.root_digest
    other = whole_run(write_sweep(tmp_path, **{**OPTUNA, "search": {**OPTUNA["search"], "seed": 4}}), MemoryObjects())
    assert other.root_digest != found.root_digest


def test_an_optuna_search_goes_on_from_its_recorded_rounds(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, **OPTUNA)
    whole, part = MemoryObjects(), MemoryObjects()
    sweep_id = whole_run(path, whole).sweep.sweep_id
    planned(path, part)
    for number in range(2):  # as if it had been killed in the second round, before any of its cells was there
        part.create(round_key(sweep_id, number), whole.get(round_key(sweep_id, number)))

    found = gather_sweep(part, sweep_id)
    run_here(part, sweep_id)

    assert (found.counts["missing"], found.counts["done"]) == (24, 0)
    assert gather_sweep(part, sweep_id).root_digest == gather_sweep(whole, sweep_id).root_digest


def test_a_shard_of_an_optuna_search_is_refused(tmp_path: Path) -> None:
    store = MemoryObjects()
    plan = planned(write_sweep(tmp_path, **OPTUNA), store)

    with pytest.raises(ConfigurationError, match="has one coordinator"):
        run_here(store, plan.sweep.sweep_id, shard=0, shards=2)


def test_a_walk_forward_chooses_in_train_and_writes_its_results(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, periods={"kind": "walk_forward", "train_days": 10, "test_days": 5})
    store = MemoryObjects()
    found = whole_run(path, store)

    files = write_results(store, found, tmp_path / "out")

    assert [one.name for one in files] == ["cells.parquet", "equity.parquet", "sweep.html", "sweep.json"]
    content = json.loads((tmp_path / "out" / "sweep.json").read_text())
    folds = content["walk_forward"]["folds"]
    assert [one["fold"] for one in folds] == [0, 1, 2, 3]
    for fold in folds:
        rows = [row for row in found.cells.rows() if row["period"] == fold["train"]]
        best = max(row["m_sharpe_ratio"] for row in rows if row["m_sharpe_ratio"] is not None)
        assert fold["train_metric"] == best
        assert fold["test_metric"] == next(
            row["m_sharpe_ratio"] for row in found.cells.rows() if row["cell_id"] == fold["test_cell"]
        )
    again = write_results(store, gather_sweep(store, found.sweep.sweep_id), tmp_path / "again")
    assert [one.read_bytes() for one in files] == [one.read_bytes() for one in again]


def test_results_never_replace_a_folder_of_other_things(tmp_path: Path, reference: Reference) -> None:
    path, sweep_id, _, _ = reference
    store = MemoryObjects()
    planned(path, store)
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(Exception, match="holds other things than results of a sweep"):
        write_results(store, gather_sweep(store, sweep_id), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_spec_is_refused(reference: Reference) -> None:
    path, sweep_id, _, _ = reference
    store = MemoryObjects()
    planned(path, store)
    key = f"sweeps/{sweep_id}/spec.json"
    store.put(key, store.get(key).replace(b'"sharpe_ratio"', b'"calmar_ratio"'))

    with pytest.raises(DataError, match="damaged"):
        run_here(store, sweep_id)


def test_a_workers_imports_hold_no_cloud_exchange_or_drawing_library(reference: Reference, tmp_path: Path) -> None:
    path, sweep_id, _, _ = reference
    planned(path, FolderObjects(tmp_path))
    code = (
        "import sys\n"
        "from trading_runtime.objects.open import open_objects\n"
        "from trading_runtime.sweep.run import RunOptions, run_sweep\n"
        f"store = open_objects({str(tmp_path)!r})\n"
        f"done = run_sweep(store, {sweep_id!r}, RunOptions({str(tmp_path)!r}))\n"
        "assert done.computed == 60, done\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=process_environment()
    )
    loaded = set(eval_list(said.stdout))

    assert "numpy" in loaded
    assert not loaded & {
        "ccxt",
        "google",
        "kubernetes",
        "hera",
        "plotly",
        "optuna",
        "obstore",
        "pyarrow",
        "pandas",
        "requests",
    }


def eval_list(text: str) -> list[str]:
    found: list[str] = json.loads(text.replace("'", '"'))
    return found


def test_the_verbs_from_configuration_to_leaderboard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, store = write_sweep(tmp_path), str(tmp_path / "objects")
    assert (
        main(["sweep", "plan", "--config", str(path), "--store", store, "--id-file", str(tmp_path / "id"), "--measure"])
        == 0
    )
    sweep_id = (tmp_path / "id").read_text().strip()
    assert f"sweep    {sweep_id}" in capsys.readouterr().out

    assert main(["sweep", "gather", "--sweep", sweep_id, "--store", store]) == 3
    assert "60 missing of 60" in capsys.readouterr().out
    assert (
        main(["sweep", "run", "--sweep", sweep_id, "--store", store, "--shard", "1", "--shards", "2", "--workers", "1"])
        == 0
    )
    assert main(["sweep", "status", "--sweep", sweep_id, "--store", store, "--shards", "2"]) == 3
    capsys.readouterr()
    assert (
        main(
            [
                "sweep",
                "run",
                "--config",
                str(path),
                "--store",
                store,
                "--workers",
                "1",
                "--folder",
                str(tmp_path / "out"),
                "--json",
            ]
        )
        == 0
    )
    ran = json.loads(capsys.readouterr().out)
    assert ran["run"] == {"computed": 30, "found": 30, "failed": 0, "damaged": 0}
    assert ran["complete"]
    assert main(["sweep", "gather", "--sweep", sweep_id, "--store", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["root_digest"] == ran["root_digest"]
    assert sorted(one.name for one in (tmp_path / "objects" / "sweeps" / sweep_id / "results").iterdir()) == [
        "cells.parquet",
        "sweep.html",
        "sweep.json",
    ]
    assert main(["sweep", "leaderboard", "--sweep", sweep_id, "--store", store, "--top", "3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert rows[0]["value"] >= rows[1]["value"] >= rows[2]["value"]
    assert main(["sweep", "why-recomputed", sweep_id, "--store", store]) == 0
    assert "is the first sweep" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "--sweep", "0123456789abcdef"], 77, "holds no sweep 0123456789abcdef"),
        (["run", "--sweep", "nonsense"], 77, "'nonsense' is no sweep id"),
        (["run"], 2, "one of the arguments --config --sweep is required"),
        (["run", "--sweep", "0123456789abcdef", "--shard", "4", "--shards", "4"], 77, "shards count from 0 to 3"),
        (["gathr"], 2, "did you mean gather?"),
        (["leaderboard", "--sweep", "0123456789abcdef", "--metric", "sharp"], 77, "did you mean 'sharpe_ratio'?"),
        (["why-recomputed", "ab" * 32], 77, "name it with --against SWEEP"),
    ],
)
def test_wrong_words_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    asked = ["sweep", *words, *(["--store", str(tmp_path)] if len(words) > 1 else [])]

    assert main(asked) == code

    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.soak
def test_a_thousand_cells_killed_at_random_many_times(tmp_path: Path) -> None:
    """The same with 1,000 cells of real size, two workers, and kills of workers and of the whole."""
    space = {"fast": {"start": 2, "stop": 51, "step": 1}, "slow": {"start": 60, "stop": 250, "step": 10}}
    path = write_sweep(tmp_path, bars=made_bars(5000), space=space, periods={"kind": "whole"})
    whole, broken = FolderObjects(tmp_path / "whole"), FolderObjects(tmp_path / "broken")
    found = whole_run(path, whole)
    sweep_id = found.sweep.sweep_id
    planned(path, broken)
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    kills = 0
    for _ in range(60):
        workers = chosen.choice(["1", "2", "4"])
        process = subprocess.Popen(
            shard_command(str(tmp_path / "broken"), sweep_id, "--workers", workers),
            env=process_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        wanted = len(list(broken.keys("cells/"))) + chosen.randint(0, 40)
        while process.poll() is None and len(list(broken.keys("cells/"))) <= wanted:
            time.sleep(0.005)  # between two looks for its cells
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if process.returncode == 0:
            break
    assert kills >= 5, f"seed {seed}: only {kills} kills"
    run_here(broken, sweep_id, workers=2)
    assert gather_sweep(broken, sweep_id).root_digest == found.root_digest, f"seed {seed}"
    assert cell_files(broken) == cell_files(whole), f"seed {seed}"
