"""Which code made a result: commit, whether the tree was changed since, versions. Never raises, never guesses.

Reads the repository's own files and asks git once; knows nothing of strategies (``source.py`` hashes those) or results.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import trading_runtime

UNKNOWN = "unknown"
GIT_SECONDS_MAX = 5.0
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_LIBRARIES = ("numpy", "numba", "pyarrow", "msgspec")


def code_commit() -> str:
    """Return the commit this code is of: TRADING_RUNTIME_COMMIT (set in the image), the repository's HEAD, or
    ``unknown``.
    """
    declared = os.environ.get("TRADING_RUNTIME_COMMIT", "").strip().lower()
    if _COMMIT.fullmatch(declared):
        return declared
    folder = _repository()
    return _head_commit(folder) if folder is not None else UNKNOWN


def is_dirty() -> bool | None:
    """Return whether tracked files differ from the commit; None when that cannot be known. An image is built from a
    commit: False.
    """
    folder = _repository()
    if folder is None:
        return False if code_commit() != UNKNOWN else None
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            timeout=GIT_SECONDS_MAX,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(answer.stdout.strip())


def image_digest() -> str | None:
    """Return the digest of the image this runs in, as its manifest names it (TRADING_RUNTIME_IMAGE_DIGEST)."""
    return os.environ.get("TRADING_RUNTIME_IMAGE_DIGEST", "").strip() or None


def is_in_repository() -> bool:
    """Return whether this code is a git clone; in an image it is not."""
    return _repository() is not None


def environment() -> dict[str, Any]:
    """Return commit, dirty flag, package, Python and library versions, and platform, for a result's provenance."""
    libraries = {name: sys.modules[name].__version__ for name in _LIBRARIES if name in sys.modules}
    return {
        "commit": code_commit(),
        "dirty": is_dirty(),
        "image_digest": image_digest(),
        "package_version": trading_runtime.__version__,
        "python": platform.python_version(),
        "libraries": libraries,
        "platform": f"{sys.platform}-{platform.machine()}",
    }


def _repository() -> Path | None:
    folder = Path(trading_runtime.__file__).resolve().parents[1]
    return folder if (folder / ".git").exists() else None


def _head_commit(folder: Path) -> str:
    """Return the commit of HEAD, read from the files git documents (gitrepository-layout): starting git costs ten times
    as much.
    """
    git = folder / ".git"
    try:
        if git.is_file():  # a worktree: "gitdir: <path>"
            git = (folder / git.read_text().partition(":")[2].strip()).resolve()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref:"):
            return head if _COMMIT.fullmatch(head) else UNKNOWN
        name = head.partition(":")[2].strip()
        common = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
        loose = common / name
        if loose.exists():
            return loose.read_text().strip()
        for line in (common / "packed-refs").read_text().splitlines():
            commit, _, reference = line.partition(" ")
            if reference == name:
                return commit
    except OSError:
        return UNKNOWN
    return UNKNOWN
