"""The results of a sweep from the object store into a folder. What is there already is not written again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.core.errors import DataError, OutputError

if TYPE_CHECKING:
    from trading_runtime.objects.port import ObjectStore

SWEEP_FILE = "sweep.json"


@dataclass(frozen=True)
class Fetched:
    """The folder, its files, how many of them were new, and what the sweep says of itself."""

    folder: Path
    files: list[str]
    written: int
    sweep: dict[str, Any]


def fetch_results(store: ObjectStore, sweep: str, folder: Path) -> Fetched:
    """Copy ``sweeps/SWEEP/results/`` into ``folder``. ``sweep.json`` is written last: where it is, the others are.

    Raises DataError when the sweep was not gathered, or the files are another sweep's, OutputError when a file cannot
    be written, and what the store raises.
    """
    from trading_runtime.data.atomic import write_whole

    prefix = f"sweeps/{sweep}/results/"
    keys = list(store.keys(prefix))
    names = [key.removeprefix(prefix) for key in keys]
    if SWEEP_FILE not in names:
        raise DataError(f"{store.label}: {prefix}{SWEEP_FILE} is not there: was the sweep gathered? see `argo status`")
    content = store.get(prefix + SWEEP_FILE)
    told = _told(content, f"{store.label}: {prefix}{SWEEP_FILE}", sweep)
    written = 0
    for name in [*(one for one in names if one != SWEEP_FILE), SWEEP_FILE]:
        path = folder / name
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise DataError(f"{store.label}: {prefix}{name} is no name of a file")
        new = content if name == SWEEP_FILE else store.get(prefix + name)
        if not _holds(path, new):
            write_whole(path, new)
            written += 1
    return Fetched(folder, names, written, told)


def _told(content: bytes, where: str, sweep: str) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except ValueError:
        raise DataError(f"{where}: is damaged: gather the sweep again") from None
    if not isinstance(told, dict) or told.get("sweep_id") != sweep:
        raise DataError(f"{where}: is not of sweep {sweep}: gather the sweep again")
    return told


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError as error:
        raise OutputError(f"{path}: cannot be read: {error.strerror or error}") from error
