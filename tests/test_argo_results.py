"""Fetching gathered results: once, whole, and of one gather whatever is being gathered meanwhile."""

import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sweep_samples import planned, run_here, write_sweep

from trading_runtime.argo.results import fetch_results
from trading_runtime.cli.main import main
from trading_runtime.core.errors import DataError, OutputError, TemporaryError
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.objects.open import open_objects
from trading_runtime.sweep.gather import gather_sweep, upload_results

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def gathers(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Files, Files]:
    """The id of a sweep and its results, gathered twice: with a third of its cells, and with all."""
    folder = tmp_path_factory.mktemp("gathered")
    store = open_objects(str(folder / "objects"))
    sweep = planned(write_sweep(folder / "sweep"), store).sweep.sweep_id
    found = []
    for shards in ([0], [1, 2]):
        for shard in shards:
            run_here(store, sweep, shard=shard, shards=3)
        keys = upload_results(store, gather_sweep(store, sweep))
        found.append({key.rpartition("/")[2]: store.get(key) for key in keys})
    return sweep, found[0], found[1]


def put(store: Any, sweep: str, files: Files) -> None:
    for name, content in files.items():
        store.put(f"sweeps/{sweep}/results/{name}", content)


def on_disk(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_results_are_copied_once(
    gathers: tuple[str, Files, Files], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, first, second = gathers
    store, folder = open_objects(str(tmp_path / "objects")), tmp_path / "results"
    asking = ["argo", "fetch-results", "--sweep", sweep, "--store", store.label, "--folder", str(folder)]
    put(store, sweep, first)
    assert main(asking) == 0
    told = capsys.readouterr().out
    assert "3 file(s)" in told
    assert "3 of them new" in told
    assert "incomplete: 40 missing" in told
    assert on_disk(folder) == first

    (folder / "sweep.html").write_bytes(b"half of")
    assert main(asking) == 0
    assert "1 of them new" in capsys.readouterr().out
    assert on_disk(folder) == first

    put(store, sweep, second)
    assert main([*asking, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["written"], told["counts"]["done"]) == (3, 60)
    assert on_disk(folder) == second


class GatheredMeanwhile(MemoryObjects):
    """A store in which another gather writes: so many of its files before each question."""

    def __init__(self, writes: list[Callable[[], None]], before: tuple[int, ...]) -> None:
        super().__init__()
        self._writes, self._before = iter(writes), list(before)

    def get(self, key: str) -> bytes:
        for write in itertools.islice(self._writes, self._before.pop(0)):
            write()
        return super().get(key)


def test_whatever_is_gathered_meanwhile_the_files_are_of_one_gather_or_refused(
    gathers: tuple[str, Files, Files], tmp_path: Path
) -> None:
    sweep, first, second = gathers
    writes: list[Callable[[], None]] = []
    seen = set()
    # All ways to lay the three writes of a gather, in its order, among the three questions; some come too late.
    for number, before in enumerate(itertools.product(range(4), repeat=3)):
        if sum(before) > 3:
            continue
        store = GatheredMeanwhile(writes, before)
        put(store, sweep, first)
        writes[:] = [partial(put, store, sweep, {name: second[name]}) for name in second]
        folder = tmp_path / str(number)
        with suppress(TemporaryError):
            fetch_results(store, sweep, folder)
        found = on_disk(folder)
        assert found in ({}, first, second), before
        seen.add("refused" if not found else "first" if found == first else "second")
    assert seen == {"refused", "first", "second"}


def test_a_gather_that_was_cut_off_is_said_with_what_to_do(
    gathers: tuple[str, Files, Files], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, first, second = gathers
    store = open_objects(str(tmp_path / "objects"))
    put(store, sweep, first | {"cells.parquet": second["cells.parquet"]})
    asking = ["argo", "fetch-results", "--sweep", sweep, "--store", store.label, "--folder", str(tmp_path / "results")]
    assert main(asking) == 75
    told = capsys.readouterr().err
    assert f"else `sweep gather --sweep {sweep}`" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("change", [{"failed": 1}, {"corrupt": 1}], ids=str)
def test_cells_that_failed_since_are_another_gather(
    gathers: tuple[str, Files, Files], change: dict[str, int], tmp_path: Path
) -> None:
    """A failure changes no root digest: what is done stays done."""
    sweep, first, _ = gathers
    store = MemoryObjects()
    told = json.loads(first["sweep.json"])
    told["counts"] |= change
    put(store, sweep, first | {"sweep.json": json.dumps(told).encode()})
    with pytest.raises(TemporaryError, match="of two gathers"):
        fetch_results(store, sweep, tmp_path / "results")


def test_a_folder_of_another_sweep_is_left_alone(gathers: tuple[str, Files, Files], tmp_path: Path) -> None:
    sweep, first, _ = gathers
    store = MemoryObjects()
    put(store, sweep, first)
    (tmp_path / "sweep.json").write_text('{"sweep_id": "ffffffffffffffff"}')
    with pytest.raises(OutputError, match=r"holds the results of sweep f{16}: name another --folder"):
        fetch_results(store, sweep, tmp_path)
    assert list(on_disk(tmp_path)) == ["sweep.json"]


def test_a_sweep_that_was_not_gathered_has_no_results(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was the sweep gathered"):
        fetch_results(MemoryObjects(), "0123456789abcdef", tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("sweep.json", b"{"),
        ("sweep.json", b"[]"),
        ("sweep.json", b'{"sweep_id": "other"}'),
        ("cells.parquet", b""),
        ("cells.parquet", b"PAR1"),
    ],
)
def test_results_of_another_sweep_or_damaged_ones_are_refused(
    gathers: tuple[str, Files, Files], name: str, content: bytes, tmp_path: Path
) -> None:
    sweep, first, _ = gathers
    store = MemoryObjects()
    put(store, sweep, first | {name: content})
    with pytest.raises(DataError, match="gather the sweep again") as refused:
        fetch_results(store, sweep, tmp_path / "results")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "results").exists()


def test_a_gather_leaves_nothing_of_an_older_one(tmp_path: Path) -> None:
    """The cells come first and ``sweep.json`` last; a file that the sweep no longer has is gone before that."""
    store = MemoryObjects()
    sweep = planned(write_sweep(tmp_path / "sweep"), store).sweep.sweep_id
    old = f"sweeps/{sweep}/results/equity.parquet"
    store.put(old, b"of an older gather")
    keys = upload_results(store, gather_sweep(store, sweep))

    assert [key.rpartition("/")[2] for key in keys] == ["cells.parquet", "sweep.html", "sweep.json"]
    assert not store.exists(old)
    assert sorted(keys) == list(store.keys(f"sweeps/{sweep}/results/"))
