"""The results of a sweep from the object store into a folder: all files of one gather, or none.

A gather replaces files one by one, ``cells.parquet`` first and ``sweep.json`` last (``sweep/gather.py``, in the order
of their names). So they are read the other way round: when the cells, read last, are still those that ``sweep.json``,
read first, speaks of, no other gather had begun before the files between were read.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.core.errors import DataError, OutputError, TemporaryError
from trading_runtime.core.hashing import sha256_hex

if TYPE_CHECKING:
    from trading_runtime.objects.port import ObjectStore

# Named here and not imported: gathering loads the engine, fetching must not.
SWEEP_FILE, CELLS_FILE = "sweep.json", "cells.parquet"


@dataclass(frozen=True)
class Fetched:
    """The folder, its files, how many of them were new, and what the sweep says of itself."""

    folder: Path
    files: list[str]
    written: int
    sweep: dict[str, Any]


def fetch_results(store: ObjectStore, sweep: str, folder: Path) -> Fetched:
    """Copy ``sweeps/SWEEP/results/`` into ``folder``. ``sweep.json`` is written last: where it is, the others are.

    Raises DataError when the sweep was not gathered, or the files are damaged or another sweep's; TemporaryError when
    they are of two gathers; OutputError when a file cannot be written; and what the store raises.
    """
    from trading_runtime.data.atomic import write_together
    from trading_runtime.objects.port import ObjectMissing

    prefix = f"sweeps/{sweep}/results/"
    names = sorted(key.removeprefix(prefix) for key in store.keys(prefix))
    for name in (SWEEP_FILE, CELLS_FILE):
        if name not in names:
            raise DataError(f"{store.label}: {prefix}{name} is not there: was the sweep gathered? see `argo status`")
    for name in names:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise DataError(f"{store.label}: {prefix}{name} is no name of a file")
    others = [name for name in names if name not in (SWEEP_FILE, CELLS_FILE)]
    try:
        contents = {name: store.get(prefix + name) for name in [SWEEP_FILE, *reversed(others), CELLS_FILE]}
    except ObjectMissing as error:
        raise TemporaryError(f"{error}: it was a moment ago; somebody clears the results away, try again") from None
    told = _told(contents[SWEEP_FILE], f"{store.label}: {prefix}{SWEEP_FILE}", sweep)
    _refuse_another_sweep(folder, sweep)
    if not _is_of_these_cells(told, contents[CELLS_FILE], f"{store.label}: {prefix}{CELLS_FILE}"):
        raise TemporaryError(
            f"{store.label}: {prefix}: {CELLS_FILE} and {SWEEP_FILE} are of two gathers: one is under way, or was cut "
            f"off; try again in a minute, else `sweep gather --sweep {sweep}`"
        )
    files = [(folder / name, contents[name]) for name in [CELLS_FILE, *others, SWEEP_FILE]]
    new = [(path, content) for path, content in files if not _holds(path, content)]
    if new:
        # Until the last file is there no sweep.json says that they belong together.
        write_together(new, stale=folder / SWEEP_FILE if new[-1][0].name == SWEEP_FILE else None)
    return Fetched(folder, names, len(new), told)


def _told(content: bytes, where: str, sweep: str) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except ValueError:
        raise DataError(f"{where}: is damaged: gather the sweep again") from None
    if not isinstance(told, dict) or told.get("sweep_id") != sweep:
        raise DataError(f"{where}: is not of sweep {sweep}: gather the sweep again")
    return told


def _refuse_another_sweep(folder: Path, sweep: str) -> None:
    """Raise OutputError for a folder that holds the results of another sweep: some of its files would stay."""
    try:
        there = json.loads((folder / SWEEP_FILE).read_bytes())
    except (OSError, ValueError):
        return  # none, or half of one: it is replaced
    other = there.get("sweep_id") if isinstance(there, dict) else None
    if other is not None and other != sweep:
        raise OutputError(f"{folder} holds the results of sweep {other}: name another --folder")


def _is_of_these_cells(told: dict[str, Any], content: bytes, where: str) -> bool:
    """Return whether a table holds the cells whose root digest and counts ``sweep.json`` tells."""
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(arrow.BufferReader(content), columns=["cell_id", "digest", "status"])
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{where}: is damaged: gather the sweep again ({str(error).splitlines()[0][:100]})") from None
    columns = [table.column(name).to_pylist() for name in ("cell_id", "digest", "status")]
    rows = list(zip(*columns, strict=True))
    lines = {f"{cell_id} {digest}\n" for cell_id, digest, status in rows if status == "done"}
    found = Counter(status for _, status in {(cell_id, status) for cell_id, _, status in rows})
    counts = told.get("counts")
    return (
        told.get("root_digest") == sha256_hex("".join(sorted(lines)).encode())
        and isinstance(counts, dict)
        and all(counts.get(name) == found[name] for name in ("failed", "corrupt"))
    )


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from error
