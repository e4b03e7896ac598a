"""What can happen to an SQLite file, and to the processes that write it."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import store_samples

from trading_runtime.core.errors import ConfigurationError, StoreDamaged, StoreUnavailable
from trading_runtime.stores.documents import Conflict
from trading_runtime.stores.open import open_documents
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.stores.state_store import StateStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def opened(path: Path) -> Iterator[SqliteDocuments]:
    documents = SqliteDocuments(path)
    yield documents
    documents.close()


documents = pytest.fixture(opened)


def execute(path: Path, *statements: str) -> list[Any]:
    """Do something to the file by hand."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return [row for statement in statements for row in connection.execute(statement).fetchall()]
    finally:
        connection.close()


def test_everything_is_there_after_it_was_closed_and_opened_again(path: Path) -> None:
    first = SqliteDocuments(path)
    version = first.create("state/a", b"1")
    first.close()
    first.close()
    with pytest.raises(StoreUnavailable, match=r"store\.sqlite: the store was closed"):
        first.read("state/a")
    second = SqliteDocuments(path)
    assert second.read("state/a") == (b"1", version)
    assert second.replace("state/a", b"2", version) != version
    second.close()


def test_it_writes_ahead_and_to_the_disk(documents: SqliteDocuments, path: Path) -> None:
    """Else an acknowledged write could be lost in a power cut, or readers would wait for writers."""
    connection = documents._connection
    assert connection is not None
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "store.sqlite"
    SqliteDocuments(path).close()
    assert path.is_file()


def test_a_store_that_must_be_there_is_not_made(path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"store\.sqlite: there is no such store"):
        open_documents("sqlite", path=path, create=False)
    assert not path.exists()
    open_documents("sqlite", path=path).close()
    open_documents("sqlite", path=path, create=False).close()


def test_a_path_that_can_be_no_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        SqliteDocuments(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable, match="its folder cannot be made"):
        SqliteDocuments(tmp_path / "file" / "store.sqlite")


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 100, b"x"])
def test_a_file_that_is_no_database_is_damaged_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"store\.sqlite: is damaged or no database"):
        SqliteDocuments(path)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    SqliteDocuments(path).close()
    assert execute(path, "PRAGMA user_version") == [(1,)]


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE theirs (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"]
)
def test_the_database_of_another_program_is_left_alone(path: Path, statement: str) -> None:
    execute(path, statement)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"store\.sqlite: is the database of another program"):
        SqliteDocuments(path)
    assert path.read_bytes() == before


def test_a_newer_schema_names_both_versions(path: Path) -> None:
    SqliteDocuments(path).close()
    execute(path, "PRAGMA user_version = 9")
    with pytest.raises(ConfigurationError, match=r"schema 9, this one knows 1"):
        SqliteDocuments(path)


def test_a_byte_changed_on_the_disk_is_damage(path: Path) -> None:
    content = os.urandom(3_000)
    first = SqliteDocuments(path)
    first.create("state/a", content)
    first.create("state/b", b"whole")
    first.close()
    raw = bytearray(path.read_bytes())
    raw[raw.index(content[1_000:1_100])] ^= 1
    path.write_bytes(raw)
    second = SqliteDocuments(path)
    with pytest.raises(StoreDamaged, match=r"store\.sqlite: state/a does not match its checksum"):
        second.read("state/a")
    assert second.read("state/b") is not None
    second.close()


@pytest.mark.parametrize("page", range(4))
def test_a_page_overwritten_on_the_disk_is_damage_or_changes_nothing(path: Path, page: int) -> None:
    """Whatever page is hit: no wrong content, and no error that would be tried again for ever."""
    first = SqliteDocuments(path)
    contents = {f"state/{number:03}": os.urandom(500) for number in range(100)}
    for name, content in contents.items():
        first.create(name, content)
    first.close()
    raw = bytearray(path.read_bytes())
    size = 4096
    assert len(raw) > 8 * size
    raw[page * size : (page + 1) * size] = b"\xa5" * size
    path.write_bytes(raw)
    damaged = 0
    try:
        second = SqliteDocuments(path)
    except StoreDamaged:
        return
    for name, content in contents.items():
        try:
            there = second.read(name)
        except StoreDamaged:
            damaged += 1
            continue
        assert there is not None
        assert there.content == content
    try:
        second.create("state/new", b"1")
    except StoreDamaged:
        damaged += 1
    assert damaged
    second.close()


def test_a_table_that_was_dropped_is_damage(documents: SqliteDocuments, path: Path) -> None:
    execute(path, "DROP TABLE documents")
    for ask in (lambda: documents.read("a/b"), lambda: documents.names("a"), lambda: documents.create("a/b", b"1")):
        with pytest.raises(StoreDamaged, match=r"store\.sqlite"):
            ask()


def test_a_full_disk_is_unavailable_and_changes_nothing(documents: SqliteDocuments) -> None:
    version = documents.create("state/a", b"small")
    connection = documents._connection
    assert connection is not None
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match=r"store\.sqlite: cannot be written: database or disk is full"):
        documents.create("state/b", b"x" * 200_000)
    with pytest.raises(StoreUnavailable):
        documents.replace("state/a", b"x" * 200_000, version)
    assert documents.read("state/a") == (b"small", version)
    assert documents.read("state/b") is None
    connection.execute("PRAGMA max_page_count = 100000")
    documents.replace("state/a", b"x" * 200_000, version)


def in_child(work: Callable[[str], str], path: Path) -> str:
    """Run ``work`` in a process of its own, whose limits and rights are its own, and return what it returns."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (str(path),))


def fill(path: str) -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))  # the system refuses to write beyond
    documents = SqliteDocuments(path)
    for number in range(1_000):
        try:
            documents.create(f"fill/{number:04}", bytes(10_000))
        except StoreUnavailable as error:
            assert documents.read(f"fill/{number:04}") is None
            return f"{number} {error}"
    return "never full"


def write_without_rights(path: str) -> str:
    if os.geteuid() == 0:
        os.setuid(65534)  # root may write everything
    try:
        SqliteDocuments(path).create("state/a", b"1")
    except StoreUnavailable as error:
        return str(error)
    return "no error"


def test_a_disk_that_takes_no_more_bytes_is_unavailable_and_loses_nothing(path: Path) -> None:
    written, _, told = in_child(fill, path).partition(" ")
    assert "cannot be written" in told
    after = SqliteDocuments(path)
    assert after.names("fill") == [f"{number:04}" for number in range(int(written))]
    assert all(after.read(f"fill/{name}") is not None for name in after.names("fill"))
    after.create("fill/more", b"1")
    after.close()


@pytest.mark.parametrize(("rights", "told"), [(0o444, "cannot be"), (0o000, "cannot be opened")])
def test_a_file_that_may_not_be_written_or_read_is_unavailable(rights: int, told: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's folders are for their owner only
        path = Path(folder) / "store.sqlite"
        SqliteDocuments(path).close()
        path.chmod(rights)
        path.parent.chmod(0o555)
        assert f"store.sqlite: {told}" in in_child(write_without_rights, path)
        path.parent.chmod(0o755)


def test_a_writer_that_waits_too_long_is_unavailable_and_readers_do_not_wait(path: Path) -> None:
    mine = SqliteDocuments(path, busy_seconds=0.05)
    version = mine.create("state/a", b"1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match=r"store\.sqlite: cannot be written: database is locked"):
        mine.replace("state/a", b"2", version)
    assert mine.read("state/a") == (b"1", version)
    other.execute("ROLLBACK")
    other.close()
    mine.replace("state/a", b"2", version)
    mine.close()


@pytest.mark.parametrize("exchange", [False, True])
def test_a_file_removed_or_exchanged_in_use_is_unavailable(path: Path, exchange: bool) -> None:
    """Its writes would go to a file that nobody will ever open again."""
    mine = SqliteDocuments(path)
    mine.create("state/a", b"1")
    path.unlink()
    if exchange:
        other = path.with_name("other.sqlite")
        SqliteDocuments(other).close()
        other.rename(path)
    for ask in (lambda: mine.read("state/a"), lambda: mine.create("state/b", b"1"), lambda: mine.names("state")):
        with pytest.raises(StoreUnavailable, match=r"store\.sqlite: the file was removed or exchanged"):
            ask()
    mine.close()


class LateError:
    """A connection on which a commit is done and reported as failed, or fails and is not done."""

    def __init__(self, connection: sqlite3.Connection, done: bool) -> None:
        self._connection, self._done = connection, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if statement != "COMMIT":
            return self._connection.execute(statement, *values)
        if self._done:
            self._connection.execute(statement)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error


def test_a_commit_that_failed_is_looked_up(documents: SqliteDocuments) -> None:
    real = documents._connection
    assert real is not None
    documents._connection = LateError(real, True)
    version = documents.create("state/a", b"1")
    newer = documents.replace("state/a", b"2", version)
    documents._connection = LateError(real, False)
    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        documents.replace("state/a", b"2", newer)
    with pytest.raises(StoreUnavailable, match="disk I/O error"):
        documents.create("state/b", b"1")
    documents._connection = real
    assert documents.read("state/a") == (b"2", newer)
    assert documents.read("state/b") is None
    documents.create("state/b", b"1")


def test_what_a_killed_process_had_written_is_there(path: Path) -> None:
    for kill_after in (1, 7, 30):
        target = path.with_name(f"killed-{kill_after}.sqlite")
        writer = subprocess.Popen(
            [sys.executable, store_samples.__file__, str(target)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(kill_after)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout.read().split()]
        writer.wait()
        writer.stdout.close()
        after = SqliteDocuments(target)
        names = after.names("crash")
        assert names[: len(acknowledged)] == [f"{number:06}" for number in acknowledged]
        assert len(names) - len(acknowledged) in (0, 1)  # the last may be written and not yet told
        contents = {document.content for name in names if (document := after.read(f"crash/{name}")) is not None}
        assert len(contents) == 1
        after.create("crash/next", b"1")
        after.close()


def open_and_create(path: str) -> str:
    mine = SqliteDocuments(path)
    try:
        return mine.create("state/a", b"1")
    except Conflict:
        return "conflict"
    finally:
        mine.close()


def test_several_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for number in range(8):
            answers = pool.map(open_and_create, [str(tmp_path / f"{number}.sqlite")] * 4, chunksize=1)
            assert sorted(answers) == ["1", "conflict", "conflict", "conflict"]


def test_a_state_in_a_lost_file_is_a_new_account_only_if_the_file_may_be_made(path: Path) -> None:
    """The one thing that no store can tell: see docs/stores.md."""
    first = SqliteDocuments(path)
    StateStore(first, "main", "sma_cross").create({}, 1)
    first.close()
    path.unlink()
    with pytest.raises(StoreUnavailable):
        open_documents("sqlite", path=path, create=False)


# --- opening


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"no store 'sqllite'.*did you mean sqlite\?"):
        open_documents("sqllite")


@pytest.mark.parametrize(("kind", "setting"), [("sqlite", "store.path"), ("firestore", "store.project")])
def test_what_a_store_needs_is_named(kind: str, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{setting}: "):
        open_documents(kind)


def test_memory_needs_nothing() -> None:
    documents = open_documents("memory")
    documents.create("a/b", b"1")
    assert documents.names("a") == ["b"]
