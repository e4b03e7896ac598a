"""One writer at a time where a folder of results is put in its place: two runs of a sweep may end at the same moment.

The lock is on the folder above and lasts for a moment; the system lets go of it when its holder is killed, and nothing
is left behind. What is written is ``gather``'s business.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes and threads out of the same block for ``folder``. Where the system or the file system has no
    locks on folders, nobody waits: writers that meet there end in an error, and no result is mixed from two.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
