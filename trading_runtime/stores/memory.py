"""Documents in this process's memory: for tests, simulations and what need not outlive the process.

Threads may share one. Nothing is written anywhere.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort

from trading_runtime.stores.documents import (
    Conflict,
    Document,
    checked_collection,
    checked_content,
    checked_path,
    selected_names,
)


class MemoryDocuments:
    """Documents that are gone with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._documents: dict[str, Document] = {}
        self._names: dict[str, list[str]] = {}  # by collection, ascending
        self._writes = 0

    def read(self, path: str) -> Document | None:
        checked_path(path)
        with self._lock:
            return self._documents.get(path)

    def create(self, path: str, content: bytes) -> str:
        checked_content(checked_path(path), content)
        with self._lock:
            if path in self._documents:
                raise Conflict(f"{path} exists already")
            return self._write(path, content)

    def replace(self, path: str, content: bytes, version: str) -> str:
        checked_content(checked_path(path), content)
        with self._lock:
            there = self._documents.get(path)
            if there is None:
                raise Conflict(f"{path} is not there")
            if there.version != version:
                raise Conflict(f"{path} was changed meanwhile")
            return self._write(path, content)

    def names(
        self, collection: str, *, first: str = "", last: str | None = None, newest: int | None = None
    ) -> list[str]:
        checked_collection(collection)
        with self._lock:
            names = self._names.get(collection, [])
            start = bisect_left(names, first)
            stop = len(names) if last is None else bisect_right(names, last)
            kept = names[start:stop] if newest is None else names[max(start, stop - newest) : stop]
        return selected_names(kept, first, last, newest)

    def close(self) -> None:
        return None

    def _write(self, path: str, content: bytes) -> str:
        self._writes += 1
        version = str(self._writes)
        if path not in self._documents:
            collection, _, name = path.rpartition("/")
            insort(self._names.setdefault(collection, []), name)
        self._documents[path] = Document(bytes(content), version)
        return version
