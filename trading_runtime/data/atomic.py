"""Writing files whole or not at all: temporary files in the same folder, fsync, rename.

Nothing half-written is left by an error or Ctrl-C; after a power cut there is the old file or the new one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from trading_runtime.core.errors import OutputError


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, creating its folder; raises OutputError in one line when impossible."""
    write_together([(path, content)])


def write_together(files: Sequence[tuple[Path, bytes]], *, stale: Path | None = None) -> None:
    """Write several files: all contents are on disk before the first gets its name, in the order given.

    ``stale`` is removed once they are on disk and before the first is renamed. Raises OutputError naming the file
    when something is impossible; then none was touched, unless it was the renaming that failed.
    """
    temporaries: list[tuple[str, Path]] = []
    path = files[0][0]
    try:
        for path, content in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
            temporaries.append((temporary, path))
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes files that only their owner may read; data is shared like any other file.
            os.chmod(temporary, 0o666 & ~_umask())
        if stale is not None:
            stale.unlink(missing_ok=True)
        for temporary, path in temporaries:
            os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:  # after Ctrl-C too; what was renamed is not there any more
        for temporary, _ in temporaries:
            Path(temporary).unlink(missing_ok=True)
    for folder in {path.parent for path, _ in files}:
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut, where the system lets folders be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # some file systems do not allow it; the file itself is already safe
    try:
        os.fsync(handle)
    except OSError:
        return  # as above
    finally:
        os.close(handle)


def _umask() -> int:
    """Return the process's umask; the only way to read it is to set it."""
    current = os.umask(0)
    os.umask(current)
    return current
