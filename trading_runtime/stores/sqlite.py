"""Documents in one SQLite file: the embedded store of a single machine, shared by any number of its processes.

    unreachable, read-only, locked, full            StoreUnavailable
    no database, corrupt, checksum wrong            StoreDamaged
    another program's, or of a newer version        ConfigurationError

Write-ahead log with ``synchronous=FULL``: what was written outlives a power cut. The file must lie on a disk of this
machine: the write-ahead log does not work over a network (SQLite's documentation of WAL).
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trading_runtime.core.errors import ConfigurationError, StoreDamaged, StoreUnavailable
from trading_runtime.core.hashing import sha256_hex
from trading_runtime.stores.documents import (
    Conflict,
    Document,
    checked_collection,
    checked_content,
    checked_path,
)

SCHEMA_VERSION = 1
# How long a statement waits for another process's write; ours take milliseconds.
BUSY_SECONDS = 10.0
# "TRun", in the file's header: tells our files from those of other programs.
_APPLICATION_ID = 0x5452756E
_HEADER = b"SQLite format 3\0"  # of every file of SQLite 3 (its file format page)
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH})
# Turning on the write-ahead log does not wait for others as other statements do.
_OPEN_ATTEMPTS_MAX = 40
_OPEN_PAUSE_SECONDS = 0.05

# The counter gives each write its version, so that none is used twice, not even after rows were deleted by hand.
# write_id is different for every attempt to write: a write whose commit failed can be looked up afterwards.
_SCHEMA = """
CREATE TABLE documents (
    collection TEXT NOT NULL,
    name       TEXT NOT NULL,
    content    BLOB NOT NULL,
    sha256     TEXT NOT NULL,
    version    INTEGER NOT NULL,
    write_id   TEXT NOT NULL,
    UNIQUE (collection, name)
);
CREATE TABLE counter (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL);
INSERT INTO counter VALUES (1, 0);
"""


class SqliteDocuments:
    """Documents in the file ``path``, which is created, with its folder, unless ``create`` is False.

    Threads may share one; a process that was forked must open its own (SQLite's rule). Raises StoreUnavailable,
    StoreDamaged and ConfigurationError as the file's docstring tells.
    """

    def __init__(self, path: str | Path, *, create: bool = True, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = Path(path)
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        if create:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailable(f"{self._path}: its folder cannot be made: {error.strerror or error}") from error
        elif not self._path.exists():
            raise StoreUnavailable(f"{self._path}: there is no such store")
        with self._errors_named("opened"):
            self._open()
        self._file = self._identity()

    def read(self, path: str) -> Document | None:
        collection, name = _split(path)
        with self._using("read") as connection:
            row = connection.execute(
                "SELECT content, sha256, version FROM documents WHERE collection = ? AND name = ?", (collection, name)
            ).fetchone()
        if row is None:
            return None
        content, checksum, version = row
        if not isinstance(content, bytes) or sha256_hex(content) != checksum:
            raise StoreDamaged(f"{self._path}: {path} does not match its checksum; restore the file from a backup")
        return Document(content, str(version))

    def create(self, path: str, content: bytes) -> str:
        return self._write(path, content, None)

    def replace(self, path: str, content: bytes, version: str) -> str:
        return self._write(path, content, version)

    def names(
        self, collection: str, *, first: str = "", last: str | None = None, newest: int | None = None
    ) -> list[str]:
        checked_collection(collection)
        if newest is not None and newest < 0:
            raise ValueError(f"newest must not be negative: {newest}")
        query = "SELECT name FROM documents WHERE collection = ? AND name >= ?"
        arguments: list[str | int] = [collection, first]
        if last is not None:
            query += " AND name <= ?"
            arguments.append(last)
        query += " ORDER BY name DESC"
        if newest is not None:
            query += " LIMIT ?"
            arguments.append(newest)
        with self._using("read") as connection:
            rows = connection.execute(query, arguments).fetchall()
        return [name for (name,) in reversed(rows)]

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with self._errors_named("closed"):
                    connection.close()

    def _write(self, path: str, content: bytes, expected: str | None) -> str:
        """Write one document in one transaction; ``expected`` is the version to replace, None to create."""
        content = bytes(checked_content(checked_path(path), content))
        write_id = secrets.token_hex(16)
        with self._using("written") as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                version = _put(connection, path, content, expected, write_id)
                connection.execute("COMMIT")
            except BaseException as error:
                if connection.in_transaction:  # after some errors SQLite has rolled back by itself
                    connection.execute("ROLLBACK")
                # A commit that failed may have been written all the same: only the file knows.
                written = self._written(connection, path, write_id) if isinstance(error, sqlite3.Error) else None
                if written is None:
                    raise
                version = written
        return str(version)

    @staticmethod
    def _written(connection: sqlite3.Connection, path: str, write_id: str) -> int | None:
        """Return the version of what this very attempt wrote, None when it wrote nothing."""
        row = connection.execute(
            "SELECT version FROM documents WHERE collection = ? AND name = ? AND write_id = ?",
            (*_split(path), write_id),
        ).fetchone()
        return None if row is None else int(row[0])

    @contextmanager
    def _using(self, what: str) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors_named(what):
            if self._connection is None:
                raise StoreUnavailable(f"{self._path}: the store was closed")
            if self._identity() != self._file:
                raise StoreUnavailable(f"{self._path}: the file was removed or exchanged while it was in use")
            yield self._connection

    @contextmanager
    def _errors_named(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest is detail
            if code in _DAMAGED:
                raise StoreDamaged(
                    f"{self._path}: is damaged or no database of this program ({error}); restore it from a backup"
                ) from error
            raise StoreUnavailable(f"{self._path}: cannot be {what}: {error}") from error

    def _identity(self) -> tuple[int, int] | None:
        """Return what tells this file from another at the same path, None when there is none."""
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _check_header(self) -> None:
        """Raise StoreDamaged for a file that SQLite would take for an empty one because it is so short."""
        try:
            with self._path.open("rb") as file:
                header = file.read(len(_HEADER))
        except OSError:
            return  # it is not there, or SQLite will tell what is wrong with it
        if header and header != _HEADER:
            raise StoreDamaged(f"{self._path}: is damaged or no database of this program; restore it from a backup")

    def _open(self) -> None:
        self._check_header()
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            self._check_owner(connection)
            self._write_ahead(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        """Raise ConfigurationError for a database that is not ours to write to, before anything is written."""
        connection.execute("BEGIN")  # all of it as of one moment: another process may be creating the tables
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("COMMIT")
        if application != _APPLICATION_ID and (tables or version or application):
            raise ConfigurationError(f"{self._path}: is the database of another program; name another file")
        if version > SCHEMA_VERSION:
            raise ConfigurationError(
                f"{self._path}: was written by a newer program (schema {version}, this one knows {SCHEMA_VERSION}); "
                "use that program"
            )

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        for attempt in range(1, _OPEN_ATTEMPTS_MAX + 1):
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or attempt == _OPEN_ATTEMPTS_MAX:
                    raise
                time.sleep(_OPEN_PAUSE_SECONDS)
        else:  # the last attempt raises
            raise AssertionError("unreachable")
        if mode != "wal":
            raise ConfigurationError(
                f"{self._path}: this file system cannot hold a write-ahead log; name a file on a local disk"
            )


def _split(path: str) -> tuple[str, str]:
    collection, _, name = checked_path(path).rpartition("/")
    return collection, name


def _put(connection: sqlite3.Connection, path: str, content: bytes, expected: str | None, write_id: str) -> int:
    """Write the document inside the transaction that is open and return its version; raises Conflict."""
    where = _split(path)
    row = connection.execute("SELECT version FROM documents WHERE collection = ? AND name = ?", where).fetchone()
    if expected is None and row is not None:
        raise Conflict(f"{path} exists already")
    if expected is not None and row is None:
        raise Conflict(f"{path} is not there")
    if expected is not None and str(row[0]) != expected:
        raise Conflict(f"{path} was changed meanwhile")
    connection.execute("UPDATE counter SET version = version + 1")
    (version,) = connection.execute("SELECT version FROM counter").fetchone()
    if expected is None:
        statement = (
            "INSERT INTO documents (content, sha256, version, write_id, collection, name) VALUES (?, ?, ?, ?, ?, ?)"
        )
    else:
        statement = (
            "UPDATE documents SET content = ?, sha256 = ?, version = ?, write_id = ? WHERE collection = ? AND name = ?"
        )
    connection.execute(statement, (content, sha256_hex(content), version, write_id, *where))
    return int(version)
