"""The verbs of sweeps as a person meets them: options refused before anything is written, interruptions, leftovers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_process import main
from sweep_samples import planned, process_environment, run_here, shard_command, whole_run, write_sweep

from trading_runtime.core.errors import ConfigurationError, OutputError
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.sweep.gather import gather_sweep, write_results
from trading_runtime.sweep.plan import plan_sweep
from trading_runtime.sweep.present import count_of, present_cells
from trading_runtime.sweep.result_folder import LEFT_BEHIND_SECONDS, clear_leftovers, refuse_other_folder
from trading_runtime.sweep.results import cell_key
from trading_runtime.sweep.status import sweep_status
from trading_runtime.sweep.tables import ranked
from trading_runtime.sweep.why import why_cell

SMALL = {"space": {"fast": [2, 5], "slow": [24, 40]}, "periods": {"kind": "whole"}}
INTERRUPTED = "interrupted: nothing was left half-written"

# Options.


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "--config", "sweep.json", "--workers", "0"], 77, "--workers must be 1 to 1024, not 0"),
        (["run", "--config", "sweep.json", "--workers", "-1"], 77, "--workers must be 1 to 1024, not -1"),
        (["run", "--config", "sweep.json", "--workers", "99999"], 77, "--workers must be 1 to 1024, not 99999"),
        (["run", "--config", "sweep.json", "--shards", "2"], 77, "--config runs the whole sweep"),
        (["run", "--config", "sweep.json", "--shards", "0"], 77, "--shards must be at least 1, not 0"),
        (["run", "--config", "sweep.json", "--shard", "-1"], 77, "shards count from 0 to 0"),
        (["run", "--config", "sweep.json", "--folder", "taken"], 73, "holds other things than results of a sweep"),
        (["run", "--config", "sweep.json", "--folder", "sweep.json"], 73, "holds other things than results of a sweep"),
        (["run", "--config", "sweep.json", "--folder", "sweep.json/results"], 73, "is no folder that this user may"),
        (["plan", "--config", "sweep.json", "--id-file", "taken"], 73, "--id-file taken: cannot be written there"),
        (["plan", "--config", "sweep.json", "--id-file", "sweep.json/id"], 73, "cannot be written there"),
        (["run", "--sweep", "0123456789abcdef", "--workers", "0"], 77, "--workers must be 1 to 1024, not 0"),
        (["run", "--sweep", "0123456789abcdef", "--folder", "x"], 77, "--folder is for `sweep run --config`"),
        (["gather", "--sweep", "0123456789abcdef", "--folder", "taken"], 73, "holds other things than results"),
        (["status", "--sweep", "0123456789abcdef", "--shards", "0"], 77, "--shards must be at least 1, not 0"),
        (["status", "--sweep", "0123456789abcdef", "--shards", "99999999"], 77, "--shards must be at most 10,000"),
        (["leaderboard", "--sweep", "0123456789abcdef", "--top", "0"], 77, "--top must be at least 1, not 0"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    write_sweep(tmp_path, **SMALL)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    assert main(["sweep", *words, "--store", "objects"]) == code

    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_shards_of_a_search_that_learns_are_refused_before_a_worker_is_started(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path / "objects")
    plan = planned(write_sweep(tmp_path, **{**SMALL, "search": {"kind": "optuna", "count": 3}}), store)

    with pytest.raises(ConfigurationError, match="it has one coordinator"):
        run_here(store, plan.sweep.sweep_id, shard=1, shards=2, workers=64)


# Interruptions.


@pytest.mark.parametrize(
    ("number", "whom", "code"),
    [(signal.SIGINT, "group", 130), (signal.SIGINT, "parent", 130), (signal.SIGTERM, "parent", 143)],
)
def test_an_interruption_while_workers_start_is_one_line(
    tmp_path: Path, number: signal.Signals, whom: str, code: int
) -> None:
    """Ctrl-C in a terminal goes to workers that are still importing, too."""
    store = FolderObjects(tmp_path / "objects")
    plan = planned(write_sweep(tmp_path), store)
    for wanted in range(1, 5):  # so many processes below the first one: the tracker of multiprocessing, then workers
        process = subprocess.Popen(
            shard_command(str(tmp_path / "objects"), plan.sweep.sweep_id, "--workers", "3"),
            env=process_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and len(children.read_text().split()) < wanted:
            time.sleep(0.0005)  # between two looks for its children
        (os.killpg if whom == "group" else os.kill)(process.pid, number)
        said, told = process.communicate(timeout=60)

        assert (process.returncode, said) == (code, ""), told
        assert told.strip().splitlines() == [INTERRUPTED]


def test_a_shard_that_is_told_to_end_keeps_what_it_computed(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    digest = whole_run(path, MemoryObjects()).root_digest
    store = FolderObjects(tmp_path / "objects")
    sweep_id = planned(path, store).sweep.sweep_id
    process = subprocess.Popen(
        shard_command(str(tmp_path / "objects"), sweep_id, "--workers", "2"),
        env=process_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not any(store.keys("cells/")):
        time.sleep(0.001)  # between two looks for its first cell
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)

    assert process.returncode == 143, told
    kept = len(list(store.keys("cells/")))
    assert kept > 0
    assert run_here(store, sweep_id).found == kept
    assert gather_sweep(store, sweep_id).root_digest == digest


# What was there already.


def test_cells_that_are_there_are_counted_from_a_listing_or_one_by_one(tmp_path: Path) -> None:
    store = MemoryObjects()
    found = whole_run(write_sweep(tmp_path, **SMALL), store)
    ids = [*found.cells.columns["cell_id"], "ab" * 32]
    told: list[tuple[int, int]] = []

    again = plan_sweep(write_sweep(tmp_path, **SMALL, name="other"), store, {}, lambda *counts: told.append(counts))
    assert again.reused == 4
    assert told == [(4, 4)]
    listed = present_cells(store, len(ids))
    assert listed is not None
    assert [one in listed for one in ids] == [True] * 4 + [False]
    assert count_of(store, ids, listed) == 4

    for number in range(10_001):  # a store of many other sweeps: asking for five is cheaper than listing it
        store.create(cell_key(f"{number:064x}"), b"")
    assert present_cells(store, len(ids)) is None
    assert count_of(store, ids, None) == 4
    assert planned(write_sweep(tmp_path, **SMALL, name="third"), store).reused == 4


def test_status_tells_the_same_from_a_listing_as_from_reading_everything(tmp_path: Path) -> None:
    store = MemoryObjects()
    plan = planned(write_sweep(tmp_path), store)
    run_here(store, plan.sweep.sweep_id, shard=1, shards=3)
    key = next(iter(store.keys("cells/")))
    store.put(key, b"damaged")
    told: list[tuple[int, int]] = []

    listed = sweep_status(store, plan.sweep.sweep_id, 3, progress=lambda *counts: told.append(counts))[1]
    for number in range(10_001):
        store.create(cell_key(f"{number:064x}"), b"")
    read = sweep_status(store, plan.sweep.sweep_id, 3)[1]

    assert listed == read
    assert [(one.planned, one.done, one.missing, one.corrupt) for one in listed] == [
        (20, 0, 20, 0),
        (20, 19, 0, 1),
        (20, 0, 20, 0),
    ]
    assert told == [(20, 60), (40, 60), (60, 60)]


# What was found.


def test_the_best_of_another_metric_is_its_good_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = FolderObjects(tmp_path / "objects")
    found = whole_run(write_sweep(tmp_path, **SMALL), store)

    def values(*words: str) -> list[float]:
        asked = [
            "sweep",
            "leaderboard",
            "--sweep",
            found.sweep.sweep_id,
            "--store",
            str(tmp_path / "objects"),
            "--json",
        ]
        assert main([*asked, *words]) == 0
        return [row["value"] for row in json.loads(capsys.readouterr().out)["rows"]]

    rows = found.cells.rows()
    for metric, highest in (("maximum_drawdown_fraction", False), ("fees", False), ("end_equity", True)):
        assert values("--metric", metric) == sorted((row[f"m_{metric}"] for row in rows), reverse=highest)
    fees = values("--metric", "fees")
    assert values("--metric", "fees", "--direction", "maximize") == fees[::-1]


@settings(max_examples=60)
@given(st.lists(st.none() | st.sampled_from([0.0, -0.0, 1.5, 2.5, -3.0])), st.sampled_from(["maximize", "minimize"]))
def test_ranks_are_by_score_then_by_the_text_of_parameters(scores: list[float | None], direction: Any) -> None:
    parameters = [{"n": (7 * place) % 11, "m": place} for place in range(len(scores))]

    order = ranked(scores, parameters, direction)

    assert sorted(order) == list(range(len(scores)))
    sign = -1 if direction == "maximize" else 1
    keys = [
        (1, 0.0, "", place) if (score := scores[place]) is None
        else (0, sign * score, json.dumps(dict(sorted(parameters[place].items())), separators=(",", ":")), 0)
        for place in order
    ]  # fmt: skip
    assert keys == sorted(keys)


def test_why_a_cell_is_another_names_the_place_inside_its_rules(tmp_path: Path) -> None:
    store = MemoryObjects()
    before = whole_run(write_sweep(tmp_path, **SMALL), store)
    after = whole_run(write_sweep(tmp_path, **SMALL, backtest={"instrument": {"notional_minimum": "7"}}), store)

    why = why_cell(store, after.cells.columns["cell_id"][0], before.sweep.sweep_id)

    assert why.parts == ["instruments"]
    assert any("notional_minimum" in reason for reason in why.reasons), why.reasons
    assert all("..." not in reason for reason in why.reasons)


# Folders of results.


def leave(parent: Path, name: str, files: dict[str, str], *, age_seconds: float = LEFT_BEHIND_SECONDS + 60) -> Path:
    """Make what a killed writer leaves: a folder with files, all so old."""
    folder = parent / name
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    folder.mkdir(exist_ok=True)
    then = time.time() - age_seconds
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then))
    return folder


def test_what_a_killed_writer_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    gone = [
        leave(tmp_path, ".mine.abcd1234", {"cells.parquet": "", ".sweep.html.partial": ""}),
        leave(tmp_path, ".mine._bcd1234", {}),
        leave(tmp_path, ".mine.old.abcd1234", {"results/sweep.json": "{}", "results/sweep.html": ""}),
    ]
    kept = [
        leave(tmp_path, ".mine.now12345", {"cells.parquet": ""}, age_seconds=60),
        leave(tmp_path, ".mine.a.file12", {"cells.parquet": ""}),
        leave(tmp_path, ".mine.notes123", {"cells.parquet": "", "notes.txt": ""}),
        leave(tmp_path, ".mine.deep1234", {"cells.parquet/inner": ""}),
        leave(tmp_path, ".other.abcd1234", {"cells.parquet": ""}),
        leave(tmp_path, "mine.abcd1234", {"cells.parquet": ""}),
        leave(tmp_path, "elsewhere", {"cells.parquet": ""}),
    ]
    (tmp_path / ".mine.link1234").symlink_to(tmp_path / "elsewhere")
    leave(tmp_path, "mine", {"sweep.json": "newer"})

    clear_leftovers(tmp_path / "mine")

    assert [path for path in gone if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []
    assert (tmp_path / ".mine.link1234").is_symlink()
    assert (tmp_path / "mine" / "sweep.json").read_text() == "newer"


def test_results_that_had_stepped_aside_come_back_when_their_writer_was_killed(tmp_path: Path) -> None:
    leave(tmp_path, ".mine.old.abcd1234", {"results/sweep.json": "earlier"})

    clear_leftovers(tmp_path / "mine")

    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine" / "sweep.json").read_text() == "earlier"


def test_a_killed_gather_leaves_nothing_for_ever(tmp_path: Path) -> None:
    """The form of the leftover is the one that writing really has: made by killing it."""
    store = FolderObjects(tmp_path / "objects")
    found = whole_run(write_sweep(tmp_path, **SMALL), store)
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "trading_runtime", "sweep", "gather", "--sweep", found.sweep.sweep_id]
    process = subprocess.Popen(
        [*command, "--store", "objects", "--folder", "out/mine"], cwd=tmp_path, env=process_environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not any(out.glob(".mine.*/cells.parquet")):
        time.sleep(0.0005)  # between two looks for its folder
    process.kill()
    process.wait()
    (left,) = out.glob(".mine.*")
    then = time.time() - LEFT_BEHIND_SECONDS - 60
    for path in [*left.rglob("*"), left]:
        os.utime(path, (then, then))

    assert main(["sweep", "gather", "--sweep", found.sweep.sweep_id, "--store", str(tmp_path / "objects"),
                 "--folder", str(out / "mine")]) == 0  # fmt: skip

    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_folder_for_results_is_new_empty_or_holds_results(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "sweep.json").write_text("{}")
    for name in ("empty", "earlier", "new", "new/deeper"):
        refuse_other_folder(tmp_path / name)
    with pytest.raises(OutputError, match="holds other things than results of a sweep"):
        refuse_other_folder(tmp_path)


# The settings of a sweep.


def optuna(**keys: Any) -> dict[str, Any]:
    return {"search": {"kind": "optuna", "count": 2, **keys}}


def walk(**keys: Any) -> dict[str, Any]:
    return {"periods": {"kind": "walk_forward", "train_days": 10, "test_days": 5, **keys}}


def listed(*periods: tuple[str, str, str]) -> dict[str, Any]:
    named = [dict(zip(("name", "start", "end"), one, strict=True)) for one in periods]
    return {"periods": {"kind": "list", "periods": named}}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spce": {}}, "spce is not a setting; did you mean 'space'?"),
        ({"metric": "sharp"}, "metric must be one of"),
        ({"direction": "up"}, "direction must be one of maximize, minimize"),
        ({"backtest": "none.json"}, "backtest 'none.json': "),
        ({"backtest": "sweep.json"}, "backtest 'sweep.json': "),
        ({"space": {"fst": [5]}}, "space.fst is not a parameter of the strategy; did you mean 'fast'?"),
        ({"space": {"fast": []}}, "space.fast: has no values"),
        ({"space": {"fast": "declrd"}}, "or 'declared', not \"declrd\""),
        ({"space": {"fast": [5.5]}}, "space.fast: parameter 'fast' must be int, not 5.5"),
        ({"space": {"fast": [5, 5]}}, "space.fast: has the value 5 twice"),
        ({"space": {"fast": {"start": 5, "stop": 9, "step": 0}}}, "not start 5, stop 9, step 0"),
        ({"space": {"fast": {"start": 9, "stop": 5, "step": 1}}}, "not start 9, stop 5, step 1"),
        ({"space": {"fast": {"start": 5, "stop": 9}}}, "space.fast: step is missing"),
        ({"space": {"weight": {"start": 0, "stop": 1, "step": 1e-12}}}, "use a larger step than 1e-12"),
        ({"where": ["fsat < slow"]}, "where.0: knows no parameter 'fsat'; did you mean 'fast'?"),
        ({"where": ["fast < slow", "fast <"]}, "where.1: \"fast <\" is not a condition"),
        ({"where": ["(" * 300 + "fast" + ")" * 190]}, "... is not a condition"),
        ({"where": ["fast + slow"]}, "where.0: \"fast + slow\" is a number, not a condition"),
        ({"where": ["fast > slow"]}, "where: no combination holds all conditions"),
        ({"where": ["fast > slow"], **optuna()}, "where: no combination holds all conditions"),
        ({"search": {"seed": 1}}, "search.seed is for kind random and optuna, and search.kind is grid: remove it"),
        ({"search": {"rounds": 1}}, "search.rounds is for kind optuna, and search.kind is grid"),
        ({"search": {"kind": "random", "count": 2, "sampler": "tpe"}}, "search.sampler is for kind optuna"),
        ({"search": {"kind": "random", "count": 5}}, "search.count 5: the space has only 4 combinations"),
        (optuna(count=5), "search.count 5: the space has only 4 combinations"),
        (optuna(sampler="cmaes"), "search.sampler must be one of tpe, random"),
        (optuna(rounds=0), "search.rounds must be at least 1"),
        (optuna(seed=2**31), "search.seed must be at most 2147483647"),
        ({**optuna(), **walk()}, "search.kind optuna cannot search walk_forward folds"),
        (walk(train_days=3000), "periods: one fold needs 3005 days, the data has 30.0"),
        (walk(train_days=10**18), "periods: one fold needs"),
        (walk(test_days="5"), "periods.test_days must be a whole number"),
        ({"periods": {"mode": "anchored"}}, "periods.mode is for kind walk_forward, and periods.kind is whole"),
        (listed(("../a", "2023-01-05", "2023-01-06")), "periods.periods.0.name must be of letters, digits"),
        (listed(("a", "2023-01-05", "2023-01-05")), "periods.periods.0.end must be after start"),
        (listed(("a", "2023-13-05", "2023-01-05")), "periods.periods.0.start is not a time"),
        (listed(("a", "2020-01-05", "2020-02-05")), "periods: a from 2020-01-05T00:00:00Z to 2020-02-05"),
        (listed(("a", "2023-01-05T00:10:00Z", "2023-01-05T00:20:00Z")), "no bar lies in a"),
    ],
)  # fmt: skip
def test_a_wrong_sweep_is_one_line_with_its_file_and_place_and_nothing_is_planned(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = write_sweep(tmp_path, **SMALL)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    store = MemoryObjects()

    with pytest.raises(ConfigurationError) as caught:
        planned(path, store)

    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert message in said
    assert "\n" not in said
    assert not any(store.keys("sweeps/"))


def test_periods_that_overlap_are_periods(tmp_path: Path) -> None:
    wanted = listed(("all", "2023-01-05", "2023-01-30"), ("part", "2023-01-10", "2023-01-20"))
    found = whole_run(write_sweep(tmp_path, **{**SMALL, **wanted}), MemoryObjects())

    assert found.is_complete
    assert sorted(set(found.cells.columns["period"])) == ["all", "part"]


def test_the_page_holds_the_numbers_of_the_table(tmp_path: Path) -> None:
    import pyarrow.parquet

    store = FolderObjects(tmp_path / "objects")
    found = whole_run(write_sweep(tmp_path), store)
    write_results(store, found, tmp_path / "out")
    columns = pyarrow.parquet.read_table(tmp_path / "out" / "cells.parquet").to_pydict()
    page = (tmp_path / "out" / "sweep.html").read_text()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])

    assert data["index"] == columns["index"]
    assert [cell[: len(mine)] for cell, mine in zip(columns["cell_id"], data["id"], strict=True)] == data["id"]
    for parameter in data["parameters"]:
        drawn = [parameter["values"][at] for at in parameter["at"]]
        assert drawn == columns[f"p_{parameter['name']}"]
    assert [data["periods"][at]["name"] for at in data["period"]] == columns["period"]
    assert {one["key"] for one in data["metrics"]} == {name[2:] for name in columns if name.startswith("m_")}
    for metric in data["metrics"]:
        for drawn, stored in zip(metric["values"], columns[f"m_{metric['key']}"], strict=True):
            assert (drawn is None) == (stored is None)
            assert stored is None or drawn == pytest.approx(stored, rel=1e-4, abs=1e-9), metric["key"]
    values = columns["m_sharpe_ratio"]
    best = max(range(len(values)), key=values.__getitem__)
    assert data["best"] == best
    assert f"is <b>{values[best]:.2f}</b>".replace("-", "−") in page
