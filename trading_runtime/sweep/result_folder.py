"""The folder that a sweep's results are written to: whether it may be, and what killed writers left beside it.

Results are made in a hidden folder beside their place, ``.<name>.<8 characters>``, which is then renamed; results that
are replaced step aside into ``.<name>.old.<8 characters>/results`` first. Whoever is killed in between leaves one of
these. What the files hold is ``gather``'s business.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from trading_runtime.core.errors import OutputError
from trading_runtime.sweep.folder_lock import alone_in
from trading_runtime.sweep.gather import CELLS_FILE, CELLS_FOLDER, EQUITY_FILE, REPORT_FILE, SWEEP_FILE, holds_results

_FILES = frozenset({SWEEP_FILE, CELLS_FILE, EQUITY_FILE, REPORT_FILE, f".{REPORT_FILE}.partial"})
_OLD = "results"
# Writing results takes seconds to minutes, and a writer touches its folder all along.
LEFT_BEHIND_SECONDS = 3600.0


def refuse_other_folder(folder: Path) -> None:
    """Raise OutputError for a folder that results cannot go to: a file, or one that holds other things."""
    folder = folder.absolute()
    try:
        above = next(one for one in folder.parents if one.exists())
        with alone_in(above):
            taken = folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not holds_results(folder)))
        blocked = not above.is_dir() or not os.access(above, os.W_OK)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from None
    if taken:
        raise OutputError(f"{folder} holds other things than results of a sweep: name another folder")
    if blocked:
        raise OutputError(f"{folder} cannot be written: {above} is no folder that this user may write to")


def clear_leftovers(folder: Path) -> None:
    """Delete what a writer of ``folder`` that was killed over an hour ago left beside it, and nothing else: a hidden
    folder of its form, with files of a sweep alone. Results that had stepped aside when their writer was killed go
    back where no others have come meanwhile.
    """
    folder = folder.absolute()
    form = re.compile(rf"\.{re.escape(folder.name)}\.(old\.)?[a-z0-9_]{{8}}")
    with suppress(OSError):  # it lies in nobody's way: what cannot be listed or deleted stays
        for entry in list(os.scandir(folder.parent)):
            found = form.fullmatch(entry.name)
            if found is not None and entry.is_dir(follow_symlinks=False):
                _clear(Path(entry.path), folder, stepped_aside=found[1] is not None)


def _clear(leftover: Path, folder: Path, *, stepped_aside: bool) -> None:
    inner = leftover / _OLD if stepped_aside else leftover
    paths = [leftover, *leftover.rglob("*")]
    reports = inner / CELLS_FOLDER
    files = [path for path in paths if path not in (leftover, inner, reports) and reports not in path.parents]
    if any(path.parent != inner or path.name not in _FILES or not _is_file(path) for path in files):
        return
    if time.time() - max(path.lstat().st_mtime for path in paths) <= LEFT_BEHIND_SECONDS:
        return
    if stepped_aside and holds_results(inner) and not folder.exists():
        os.rename(inner, folder)
    shutil.rmtree(leftover)


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)
