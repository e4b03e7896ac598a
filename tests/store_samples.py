"""Stores for the contract suite: each kind opened, opened again by somebody else, and harmed behind its back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trading_runtime.stores.documents import Conflict, Documents
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.overlay import OverlayDocuments
from trading_runtime.stores.sqlite import SqliteDocuments

KINDS = ("memory", "sqlite", "firestore", "overlay")


class Store:
    """One store of the contract suite. ``another`` opens it once more, as another process would."""

    kind = "memory"

    def __init__(self) -> None:
        self.documents: Documents = MemoryDocuments()

    def another(self) -> Documents:
        return self.documents

    def delete(self, path: str) -> None:
        """Remove a document by hand: the port has no way to."""
        del self.documents._documents[path]

    def put(self, path: str, content: bytes) -> None:
        """Write a document by hand, whatever is there."""
        there = self.documents.read(path)
        if there is None:
            self.documents.create(path, content)
        else:
            self.documents.replace(path, content, there.version)

    def close(self) -> None:
        self.documents.close()


class OverlayStore(Store):
    """Documents written over an empty store."""

    kind = "overlay"

    def __init__(self) -> None:
        self.base = MemoryDocuments()
        self.documents = OverlayDocuments(self.base)

    def delete(self, path: str) -> None:
        del self.documents._above._documents[path]


class SqliteStore(Store):
    """One file, opened by as many as like."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.documents = SqliteDocuments(path)
        self._opened: list[Documents] = []

    def another(self) -> Documents:
        self._opened.append(SqliteDocuments(self.path))
        return self._opened[-1]

    def delete(self, path: str) -> None:
        collection, _, name = path.rpartition("/")
        self.execute("DELETE FROM documents WHERE collection = ? AND name = ?", collection, name)

    def execute(self, statement: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    def close(self) -> None:
        for documents in [self.documents, *self._opened]:
            documents.close()


class FirestoreStore(Store):
    """A project of its own in the emulator."""

    kind = "firestore"

    def __init__(self, project: str) -> None:
        self.project = project
        self._opened: list[Documents] = []
        self.documents = self.another()

    def another(self) -> Documents:
        from trading_runtime.stores.firestore import FirestoreDocuments

        self._opened.append(FirestoreDocuments(self.project))
        return self._opened[-1]

    def reference(self, path: str) -> Any:
        return self.documents._client().document(path)

    def delete(self, path: str) -> None:
        self.reference(path).delete()

    def close(self) -> None:
        for documents in self._opened:
            documents.close()


# --- work for several writers at once; called in threads, and in processes by their module and name


def create_all(documents: Documents, worker: int, rounds: int) -> list[int]:
    """Create each round's document, all with the same content; return the rounds that this worker won."""
    won = []
    for number in range(rounds):
        try:
            documents.create(f"race/create-{number}", b"the same")
        except Conflict:
            continue
        won.append(number)
    return won


def replace_all(documents: Documents, worker: int, rounds: int) -> list[int]:
    """Replace each round's document from its first version, all with the same content; return the rounds won."""
    won = []
    for number in range(rounds):
        version = documents.read("race/versions")
        assert version is not None
        try:
            documents.replace(f"race/replace-{number}", b"the same", version.content.decode().split()[number])
        except Conflict:
            continue
        won.append(number)
    return won


def count_up(documents: Documents, worker: int, rounds: int) -> list[int]:
    """Add one, ``rounds`` times, by compare-and-set; return what this worker made of it each time."""
    made = []
    while len(made) < rounds:
        there = documents.read("race/counter")
        assert there is not None
        number = int(there.content) + 1
        try:
            documents.replace("race/counter", b"%d" % number, there.version)
        except Conflict:
            continue
        made.append(number)
    return made


def acquire_all(documents: Documents, worker: int, rounds: int) -> list[int]:
    """Acquire and release a lease, each time later than every expiry; return the tokens."""
    from trading_runtime.stores.lease import Lease

    tokens = []
    lease = Lease(documents, "race", f"worker-{worker}", 1.0)
    now_ms = 0
    while len(tokens) < rounds:
        now_ms += 10_000
        held = lease.acquire(now_ms)
        if held is not None:
            tokens.append(held.token)
    return tokens


def in_process(job: tuple[Callable[[Documents, int, int], list[int]], str, int, int]) -> list[int]:
    """Do one worker's share in this process, on the SQLite file."""
    work, path, worker, rounds = job
    documents = SqliteDocuments(path)
    try:
        return work(documents, worker, rounds)
    finally:
        documents.close()


def write_without_end(path: str) -> None:
    """Write document after document and print each number once it is written, until killed."""
    documents = SqliteDocuments(path)
    content = os.urandom(20_000)
    number = 0
    while True:
        documents.create(f"crash/{number:06}", content)
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    import sys

    write_without_end(sys.argv[1])
