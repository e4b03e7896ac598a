"""Objects as files of a folder, shared by any number of processes, threads and machines that see it.

An object is written beside its place under a name that begins with a dot, brought to the disk, and then given its name:
by ``link``, which fails when there is one (``create``), or by ``rename`` (``put``). Whoever is killed in between leaves
at most such a hidden file, which is never listed; a listing of its folder deletes it once it is a day old. Objects that
can be made again are not brought to the disk (``create_recomputable``).
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

from trading_runtime.core.errors import ConfigurationError, OutputError, TradingRuntimeError
from trading_runtime.data.atomic import sync_folder
from trading_runtime.objects.port import ObjectMissing, ObjectsUnavailable, checked_key, checked_prefix, is_key

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# ENOTDIR and EEXIST: a file lies where a folder must be.
_REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
)
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
# Nobody writes one object for so long, and no two machines that share a folder have clocks so far apart.
_LEFT_BEHIND_SECONDS = 86_400.0


class FolderObjects:
    """Objects below ``folder``, which is made when the first one is written. What was written outlives a power cut,
    less what ``create_recomputable`` wrote.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self.label = str(folder)

    def get(self, key: str) -> bytes:
        checked_key(key)
        try:
            with open(f"{self._folder}/{key}", "rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectMissing(f"{self.label}: there is no {key}") from None
        except OSError as error:
            raise self._failed(key, "read", error) from None

    def create(self, key: str, content: bytes) -> bool:
        path = self._path(key)
        if self.exists(key):
            return False
        return self._write(key, path, content, self._link)

    def create_recomputable(self, objects: Iterable[tuple[str, bytes]]) -> list[bool]:
        """Create objects as ``create`` does and return what it says of each, but leave it to the system when they reach
        the disk: after a power cut they may be gone, cut off or empty (``port.py`` says what they must be for that).
        """
        begun = secrets.token_hex(4)  # once for all: what tells them apart is counted
        parents: set[Path] = set()
        created: list[bool] = []
        try:
            for number, (key, content) in enumerate(objects):
                path = f"{self._folder}/{checked_key(key)}"
                folder = path.rpartition("/")[0]
                try:
                    temporary = f"{folder}/.{begun}{number:08x}.tmp"
                    try:
                        file = _new_file(temporary)
                    except FileNotFoundError:
                        parents |= _make_folder_loose(Path(folder))
                        file = _new_file(temporary)
                    created.append(self._write_and_link(file, temporary, path, content))
                except OSError as error:
                    raise self._failed(key, "written", error) from None
        finally:
            for parent in parents:
                sync_folder(parent)
        return created

    def put(self, key: str, content: bytes) -> None:
        self._write(key, self._path(key), content, _rename)

    def exists(self, key: str) -> bool:
        path = self._path(key)
        try:
            return path.is_file()
        except OSError as error:
            raise self._failed(key, "read", error) from None

    def keys(self, prefix: str) -> Iterator[str]:
        # checked now, not when the first key is asked for
        return self._below(checked_prefix(prefix).rpartition("/")[0], prefix)

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
            sync_folder(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._failed(key, "deleted", error) from None

    def __repr__(self) -> str:
        return f"FolderObjects({self.label!r})"

    def _path(self, key: str) -> Path:
        return self._folder / checked_key(key)

    def _write(self, key: str, path: Path, content: bytes, name: Callable[[Path, Path], bool]) -> bool:
        temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
        try:
            _make_folder(path.parent)
            try:
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                named = name(temporary, path)
            finally:  # after Ctrl-C too; what was renamed is not there any more
                temporary.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as error:
            raise self._failed(key, "written", error) from None
        return named

    def _write_and_link(self, file: FileIO, temporary: str, path: str, content: bytes) -> bool:
        try:
            with file:
                written = 0
                while written < len(content):
                    written += file.write(content[written:] if written else content)
            return self._link(temporary, path)
        finally:  # after Ctrl-C too
            os.unlink(temporary)

    def _link(self, temporary: str | Path, path: str | Path) -> bool:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise ConfigurationError(
                    f"{self.label}: its file system has no hard links, so that nothing can be written exactly once; "
                    "use a folder on another disk"
                ) from None
            raise
        return True

    def _below(self, folder: str, prefix: str) -> Iterator[str]:
        """The keys below one folder, ascending: a folder takes part in the order with its slash, as keys do."""
        try:
            with os.scandir(self._folder / folder) as entries:
                names = sorted(entry.name + "/" if entry.is_dir() else entry.name for entry in _tidied(entries))
        except (FileNotFoundError, NotADirectoryError):
            return  # nothing was written there, or it was deleted meanwhile
        except OSError as error:
            raise self._failed(folder or "its files", "listed", error) from None
        for name in names:
            key = f"{folder}/{name}" if folder else name
            if not is_key(key.removesuffix("/")) or not key.startswith(prefix):
                continue
            if key.endswith("/"):
                yield from self._below(key[:-1], prefix)
            else:
                yield key

    def _failed(self, key: str, done: str, error: OSError) -> TradingRuntimeError:
        text = f"{self.label}: {key} cannot be {done}: {error.strerror or type(error).__name__}"
        if error.errno in _FULL:
            return OutputError(f"{text}; make room and run it again")
        if error.errno in _REFUSED:
            return ConfigurationError(f"{text}; check the folder and who may write there")
        return ObjectsUnavailable(text)


def _tidied(entries: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    """Yield entries, less what killed writers left behind: that is deleted, where this process may."""
    for entry in entries:
        if not _TEMPORARY.fullmatch(entry.name):
            yield entry
            continue
        with suppress(OSError):  # somebody else deleted it, or the folder is for reading only: it does no harm
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_BEHIND_SECONDS:
                os.unlink(entry)


def _rename(temporary: Path, path: Path) -> bool:
    temporary.replace(path)
    return True


def _new_file(path: str) -> FileIO:
    return open(path, "xb", buffering=0)


def _make_folder_loose(folder: Path) -> set[Path]:
    """Make a folder and those above it; return the folders whose new names are not yet brought to the disk."""
    parents = set()
    above = folder
    while not above.is_dir():
        above = above.parent
        parents.add(above)
    folder.mkdir(parents=True, exist_ok=True)
    return parents


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it; each outlives a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
