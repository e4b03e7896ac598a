"""Objects in a folder: killed writers, racing processes, full disks and strangers' files."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects import many
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.many import create_many
from trading_runtime.objects.port import ObjectMissing

ROOT = Path(__file__).resolve().parents[1]
SIZE = 200_000


def begin(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_a_killed_writer_leaves_whole_objects_only(tmp_path: Path) -> None:
    seed = 77
    chance = random.Random(seed)
    store = FolderObjects(tmp_path)
    for turn in range(4):
        writer = begin(
            """
            import sys
            from trading_runtime.objects.folder import FolderObjects
            store = FolderObjects(sys.argv[1])
            for number in range(100_000):
                store.create(f"cells/{sys.argv[2]}-{number:05d}", bytes([number % 256]) * int(sys.argv[3]))
                print(number, flush=True)
            """,
            str(tmp_path),
            str(turn),
            str(SIZE),
        )
        assert writer.stdout is not None
        told = chance.randint(1, 12)
        for _ in range(told):
            assert writer.stdout.readline()
        writer.kill()
        told += len(writer.stdout.read().splitlines())
        writer.wait()
        writer.stdout.close()
        written = list(store.keys(f"cells/{turn}-"))
        assert written == [f"cells/{turn}-{number:05d}" for number in range(len(written))], seed
        assert len(written) >= told
        for number, key in enumerate(written):
            assert store.get(key) == bytes([number % 256]) * SIZE, (seed, key)
            assert store.create(key, b"again") is False
        assert store.create(f"cells/{turn}-{len(written):05d}", b"the next one") is True


def test_a_killed_writer_of_recomputable_objects_leaves_whole_objects_only(tmp_path: Path) -> None:
    """Whoever is killed loses nothing that he told of: only a power cut may."""
    seed = 78
    chance = random.Random(seed)
    store = FolderObjects(tmp_path)
    for turn in range(4):
        writer = begin(
            """
            import sys
            from trading_runtime.objects.folder import FolderObjects
            from trading_runtime.objects.many import create_many
            store = FolderObjects(sys.argv[1])
            for number in range(0, 100_000, 3):
                keys = [f"cells/{sys.argv[2]}/{number % 7}/{one:05d}" for one in range(number, number + 3)]
                create_many(store, [(key, key.encode() * 20_000) for key in keys], recomputable=True)
                print(*keys, flush=True)
            """,
            str(tmp_path),
            str(turn),
        )
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(chance.randint(1, 12))]
        writer.kill()
        told += writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        written = list(store.keys(f"cells/{turn}/"))
        assert {key for line in told for key in line.split()} <= set(written), seed
        for key in written:
            assert store.get(key) == key.encode() * 20_000, (seed, key)
            assert store.create(key, b"again") is False


def test_recomputable_objects_leave_no_other_file_and_have_the_rights_of_files(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path / "objects")
    before = os.umask(0o022)
    try:
        create_many(store, [(f"a/{number % 3}/{number}", b"1") for number in range(20)] * 2, recomputable=True)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert len(files) == 20
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}
    assert {path.stat().st_nlink for path in files} == {1}


@pytest.mark.parametrize("waited_seconds", [0.0, 1e9])
def test_threads_write_what_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waited_seconds: float) -> None:
    """They are used where the first objects took long, which is decided here; results come in the order given."""
    monkeypatch.setattr(many, "_WAITED_SECONDS", waited_seconds)
    store = FolderObjects(tmp_path)
    pairs = [(f"m/{number % 5}/{number}", b"%d" % number) for number in range(100)]
    twice = [pair for pair in pairs for _ in range(1 + (pair[1] < b"4"))][:8] + pairs[50:]
    expected = [place == [key for key, _ in twice].index(key) for place, (key, _) in enumerate(twice)]

    assert create_many(store, twice, recomputable=True, threads=3) == expected

    assert {key: store.get(key) for key in store.keys("")} == dict(twice)


def test_of_racing_processes_one_wins_each_object(tmp_path: Path) -> None:
    keys = 60
    writers = [
        begin(
            """
            import json, sys
            from trading_runtime.objects.folder import FolderObjects
            store = FolderObjects(sys.argv[1])
            print("ready", flush=True)
            while not store.exists("begin"):
                pass
            won = [n for n in range(int(sys.argv[3])) if store.create(f"race/{n:03d}", sys.argv[2].encode() * 5000)]
            print(json.dumps(won))
            """,
            str(tmp_path / "made/by/the/first"),
            str(writer),
            str(keys),
        )
        for writer in range(3)
    ]
    outputs = [writer.stdout for writer in writers if writer.stdout is not None]
    assert [output.readline() for output in outputs] == ["ready\n"] * 3
    store = FolderObjects(tmp_path / "made/by/the/first")
    store.create("begin", b"")
    won = [json.loads(writer.communicate(timeout=60)[0]) for writer in writers]
    assert sorted(number for numbers in won for number in numbers) == list(range(keys))
    for writer, numbers in enumerate(won):
        assert {store.get(f"race/{number:03d}") for number in numbers} <= {b"%d" % writer * 5000}
    assert sorted(os.listdir(tmp_path / "made/by/the/first/race")) == [f"{number:03d}" for number in range(keys)]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    writer = begin(
        """
        import resource, sys
        from trading_runtime.core.errors import OutputError
        from trading_runtime.objects.folder import FolderObjects
        from trading_runtime.objects.many import create_many
        store = FolderObjects(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        def create_recomputable(key, content):
            return create_many(store, [(key, content)], recomputable=True)
        for write in (store.create, store.put, create_recomputable):
            try:
                write("cells/large", b"x" * 10_001)
            except OutputError as error:
                print(error.exit_code, error)
        print(store.create("cells/small", b"x" * 10_000))
        """,
        str(tmp_path),
    )
    said, _ = writer.communicate(timeout=60)
    line = f"73 {tmp_path}: cells/large cannot be written: File too large; make room and run it again"
    assert said.splitlines() == [line, line, line, "True"]
    assert os.listdir(tmp_path / "cells") == ["small"]


def test_a_file_where_the_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file")
    store = FolderObjects(tmp_path / "objects")
    assert list(store.keys("")) == []
    assert not store.exists("cells/a")
    with pytest.raises(ObjectMissing):
        store.get("cells/a")
    store.delete("cells/a")
    with pytest.raises(ConfigurationError, match="cells/a cannot be written"):
        create_many(store, [("cells/a", b"1")], recomputable=True)
    for write in (store.create, store.put):
        with pytest.raises(ConfigurationError, match="cells/a cannot be written"):
            write("cells/a", b"1")
    assert (tmp_path / "objects").read_text() == "a file"


def test_what_others_put_into_the_folder_is_no_object(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path)
    store.create("cells/a", b"1")
    (tmp_path / "cells" / ".0123456789abcdef.tmp").write_bytes(b"left by a killed writer")
    (tmp_path / "cells" / "read me.txt").write_bytes(b"a note")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"")
    (tmp_path / "an empty folder").mkdir()
    assert list(store.keys("")) == ["cells/a"]


def test_objects_are_files_like_any_other(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path)
    before = os.umask(0o022)
    try:
        store.create("a/b", b"1")
        store.put("a/c", b"1")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()} == {0o644}
    assert (tmp_path / "a" / "b").stat().st_nlink == 1
