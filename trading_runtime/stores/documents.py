"""The port every store implements: single documents with create-if-absent and compare-and-set. Nothing else is needed.

    state, journal, lease and control  ──►  Documents  ──►  sqlite · firestore · memory

Only operations on one document, each atomic and durable when it returns: no transactions that read and write, no
locks. A path is ``collection/name`` or ``collection/name/collection/name``, and so on: always an even number of parts
of the characters A-Z, a-z, 0-9, ``.``, ``_`` and ``-``; a collection's path has one part less. What the bytes of a
document mean is the business of the files beside this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

# Firestore stops at 1 MiB for a whole document (its quotas page); half of it leaves room for names and indexes.
DOCUMENT_BYTES_MAX = 512 * 1024
_PART = re.compile(r"[A-Za-z0-9._-]{1,200}")


class Document(NamedTuple):
    """What was read: the bytes, and the version that ``replace`` must be given. Versions are opaque; one is never used
    for two contents.
    """

    content: bytes
    version: str


class Conflict(Exception):
    """The document is not as the caller believed: it exists already, is gone, or has another version."""


class Documents(Protocol):
    """Documents by path. Every method raises StoreUnavailable when the store cannot be asked, ValueError for a path
    or a size that no store takes.
    """

    def read(self, path: str) -> Document | None:
        """Return the document, None when there is none. Reads what was last written, by whomever."""
        ...

    def create(self, path: str, content: bytes) -> str:
        """Write a new document and return its version; raises Conflict when there is one already.

        Raises StoreUnavailable when it is not known whether it was written.
        """
        ...

    def replace(self, path: str, content: bytes, version: str) -> str:
        """Write over the document that has ``version`` and return the new one; raises Conflict when it has another or
        is not there. Raises StoreUnavailable when it is not known whether it was written.
        """
        ...

    def names(
        self, collection: str, *, first: str = "", last: str | None = None, newest: int | None = None
    ) -> list[str]:
        """Return the names of the documents of a collection, ascending: from ``first`` on, up to and including
        ``last``; with ``newest`` only that many of the greatest.
        """
        ...

    def close(self) -> None:
        """Release what is held open. Nothing is lost by not calling it."""
        ...


def checked_path(path: str) -> str:
    """Return the path of a document; raises ValueError when no store would take it."""
    parts = path.split("/")
    if len(parts) % 2 or not all(map(_is_part, parts)):
        raise ValueError(f"not the path of a document: {path!r}")
    return path


def checked_collection(collection: str) -> str:
    """Return the path of a collection; raises ValueError when no store would take it."""
    parts = collection.split("/")
    if len(parts) % 2 == 0 or not all(map(_is_part, parts)):
        raise ValueError(f"not the path of a collection: {collection!r}")
    return collection


def checked_name(name: str) -> str:
    """Return the name of a document, one part of its path; raises ValueError when no store would take it."""
    if not _is_part(name):
        raise ValueError(f"not the name of a document: {name!r}")
    return name


def selected_names(names: Iterable[str], first: str, last: str | None, newest: int | None) -> list[str]:
    """Return what ``Documents.names`` promises of all the names of a collection; raises ValueError for a negative
    ``newest``.
    """
    if newest is not None and newest < 0:
        raise ValueError(f"newest must not be negative: {newest}")
    kept = sorted(name for name in names if name >= first and (last is None or name <= last))
    return kept if newest is None else kept[max(len(kept) - newest, 0) :]


def _is_part(part: str) -> bool:
    # Firestore keeps names of dots alone and __names__ like this for itself (its limits page).
    reserved = not part.strip(".") or (len(part) >= 4 and part.startswith("__") and part.endswith("__"))
    return _PART.fullmatch(part) is not None and not reserved


def checked_content(path: str, content: bytes) -> bytes:
    """Return the content; raises ValueError when it is too large to be kept anywhere."""
    if len(content) > DOCUMENT_BYTES_MAX:
        raise ValueError(f"{path}: {len(content)} bytes are more than a document may have ({DOCUMENT_BYTES_MAX})")
    return content
