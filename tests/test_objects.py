"""The contract of object stores, over every implementation of the port."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from object_samples import KINDS, Objects, new_objects
from s3_server import SECRET, s3_server  # noqa: F401 - a fixture, used by its name

from trading_runtime.core.hashing import sha256_hex
from trading_runtime.objects.blobs import blob_key, get_blob, put_blob
from trading_runtime.objects.many import create_many, get_many
from trading_runtime.objects.port import ObjectDamaged, ObjectMissing
from trading_runtime.objects.seal import seal, unseal

WRITERS = 8
NO_KEYS = ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", ".hidden", "a/.b", "a b", "ä", "a\\b", "a\n", "a?b"]
NO_KEYS += ["a%2e", "x" * 201, "/".join(["x" * 100] * 8)]
# Pages of more than a thousand: see test_objects_faults.py.
MANY = 60


@pytest.fixture(params=KINDS)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return new_objects(request.param, tmp_path, request)


def test_what_was_created_is_read_back_by_everybody(objects: Objects) -> None:
    content = bytes(range(256)) * 40
    assert objects.store.create("cells/ab/abcd.json", content) is True
    assert objects.another().get("cells/ab/abcd.json") == content
    assert objects.another().exists("cells/ab/abcd.json")


def test_an_empty_object_is_an_object(objects: Objects) -> None:
    assert objects.store.create("empty", b"")
    assert objects.store.get("empty") == b""
    assert objects.store.exists("empty")
    assert not objects.store.create("empty", b"not any more")


def test_what_is_not_there_is_missing_by_name(objects: Objects) -> None:
    objects.store.create("cells/there", b"1")
    for key in ("cells/not-there", "nowhere/at/all", "cells"):
        assert not objects.store.exists(key)
        with pytest.raises(ObjectMissing, match=f"there is no {key}$"):
            objects.store.get(key)


def test_a_created_object_is_never_written_over(objects: Objects) -> None:
    assert objects.store.create("once", b"first")
    assert objects.store.create("once", b"second") is False
    assert objects.another().create("once", b"first") is False
    assert objects.store.get("once") == b"first"


def test_put_writes_over_what_is_there(objects: Objects) -> None:
    objects.store.put("view.json", b"first")
    objects.store.put("view.json", b"second, and longer")
    assert objects.store.get("view.json") == b"second, and longer"
    assert objects.store.create("view.json", b"third") is False


def test_what_was_deleted_can_be_created_again_and_deleting_nothing_is_nothing(objects: Objects) -> None:
    objects.store.create("cells/x", b"damaged")
    objects.store.delete("cells/x")
    objects.store.delete("cells/x")
    objects.store.delete("never/there")
    assert not objects.store.exists("cells/x")
    assert objects.store.create("cells/x", b"good")
    assert objects.store.get("cells/x") == b"good"


def test_of_eight_racing_writers_one_wins_and_its_content_stays(objects: Objects) -> None:
    stores = [objects.another() for _ in range(WRITERS)]
    for turn in range(6):
        barrier = threading.Barrier(WRITERS)

        def write(writer: int, barrier: threading.Barrier = barrier, turn: int = turn) -> bool:
            barrier.wait()
            return stores[writer].create(f"race/{turn}", b"%d" % writer * 1000)

        with ThreadPoolExecutor(WRITERS) as pool:
            won = list(pool.map(write, range(WRITERS)))
        assert sum(won) == 1
        assert objects.store.get(f"race/{turn}") == b"%d" % won.index(True) * 1000


def test_a_reader_never_sees_a_part_of_an_object(objects: Objects) -> None:
    sizes = {size: bytes([size]) * (50_000 + size) for size in range(1, 6)}
    stop = threading.Event()
    seen: list[bytes] = []
    objects.store.put("view", sizes[1])

    def read() -> None:
        store = objects.another()
        while not stop.is_set():
            seen.append(store.get("view"))

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for content in [*sizes.values()] * 4:
                objects.store.put("view", content)
        finally:
            stop.set()
        reading.result()
    assert seen
    assert set(seen) <= set(sizes.values())


def test_keys_come_ascending_and_only_those_of_the_prefix(objects: Objects) -> None:
    seed = 20_261_121
    shuffled = [f"cells/{number:05d}.json" for number in range(MANY)]
    random.Random(seed).shuffle(shuffled)
    others = ["cells-2/x", "cells.json", "cella/x", "sweeps/a/spec.json", "sweeps/ab/spec.json", "sweeps/a.b"]
    assert all(create_many(objects.store, [(key, b"1") for key in [*shuffled, *others]]))
    everything = sorted([*shuffled, *others])
    store = objects.another()
    assert list(store.keys("")) == everything, seed
    for prefix in ("cells/", "cells", "cells/0001", "cells/00042.json", "sweeps/a", "sweeps/a/", "sweeps/b", "none/"):
        assert list(store.keys(prefix)) == [key for key in everything if key.startswith(prefix)], prefix


def test_a_listing_need_not_be_read_to_its_end(objects: Objects) -> None:
    create_many(objects.store, [(f"a/{number}", b"1") for number in range(5)])
    keys = objects.store.keys("a/")
    assert [next(keys), next(keys)] == ["a/0", "a/1"]


def test_no_store_takes_what_is_no_key(objects: Objects) -> None:
    store = objects.store
    calls: list[Callable[[str], object]] = [
        store.get,
        lambda key: store.create(key, b"1"),
        lambda key: store.put(key, b"1"),
        store.exists,
        store.delete,
    ]
    for key in NO_KEYS:
        for call in calls:
            with pytest.raises(ValueError, match="not the key of an object"):
                call(key)
    for prefix in ("/", "a//", "../", "a/../", "a b", "*", ".a"):
        with pytest.raises(ValueError, match="no key of an object begins with"):
            store.keys(prefix)
    assert list(store.keys("")) == []


def test_every_character_of_a_key_stays_itself(objects: Objects) -> None:
    keys = ["A-Z_a.z=0/part=1/x--y..z", "a=b", "=", "-", "_", "x" * 200, "/".join(["d" * 99] * 7)]
    for number, key in enumerate(keys):
        assert objects.store.create(key, b"%d" % number)
    assert list(objects.store.keys("")) == sorted(keys)
    assert [objects.store.get(key) for key in keys] == [b"%d" % number for number in range(len(keys))]


def test_neither_label_nor_repr_nor_state_shows_a_secret(objects: Objects) -> None:
    objects.store.exists("opened")
    shown = f"{objects.store.label} {objects.store!r} {objects.store}"
    assert objects.store.label in repr(objects.store)
    assert SECRET not in shown
    opened = getattr(objects.store, "_opened", None)
    assert SECRET not in f"{opened!r} {getattr(opened, 'config', '')}"


def test_a_blob_lies_under_its_digest_and_is_stored_once(objects: Objects) -> None:
    content = b"candles" * 1000
    digest = put_blob(objects.store, content)
    assert digest == sha256_hex(content) == put_blob(objects.another(), content)
    assert list(objects.store.keys("")) == [f"blobs/sha256/{digest[:2]}/{digest}"]
    assert get_blob(objects.store, digest) == content
    with pytest.raises(ObjectMissing):
        get_blob(objects.store, sha256_hex(b"something else"))


def test_a_flipped_byte_of_a_blob_is_damage_and_putting_it_again_repairs_it(objects: Objects) -> None:
    content = b"candles" * 1000
    digest = put_blob(objects.store, content)
    for harmed in (bytes([content[0] ^ 1]) + content[1:], content[:-1], content + b"\n", b""):
        objects.store.put(blob_key(digest), harmed)
        with pytest.raises(ObjectDamaged, match=digest):
            get_blob(objects.store, digest)
    assert put_blob(objects.store, content) == digest
    assert get_blob(objects.store, digest) == content


def test_a_sealed_document_survives_the_store_and_every_flipped_bit_is_damage(objects: Objects) -> None:
    document = {"cell_id": "ab", "metrics": {"sharpe": 1.25, "trades": 3}, "tags": ["a", "ä"], "none": None}
    objects.store.create("cells/ab.json", seal(document))
    raw = objects.store.get("cells/ab.json")
    assert unseal("cells/ab.json", raw) == document
    for position in range(len(raw)):
        for bit in (1, 32):
            harmed = raw[:position] + bytes([raw[position] ^ bit]) + raw[position + 1 :]
            with pytest.raises(ObjectDamaged, match=r"^cells/ab\.json: is damaged"):
                unseal("cells/ab.json", harmed)


def test_many_objects_come_in_the_order_asked_for(objects: Objects) -> None:
    pairs = [(f"m/{number:03d}", b"%d" % number) for number in range(40)]
    assert create_many(objects.store, pairs[:25]) == [True] * 25
    assert create_many(objects.store, iter(pairs), threads=3) == [False] * 25 + [True] * 15
    asked = [key for key, _ in reversed(pairs)] + ["m/none", "m/000"]
    expected = [*reversed(pairs), ("m/none", None), ("m/000", b"0")]
    assert list(get_many(objects.store, asked)) == expected


# Objects that can be made again: the same contract, less what a power cut may take.


def test_recomputable_objects_are_written_once_and_read_by_everybody(objects: Objects) -> None:
    pairs = [(f"cells/{number % 7}/{number:03d}", bytes([number]) * (100 * number)) for number in range(40)]
    assert create_many(objects.store, pairs[:25], recomputable=True) == [True] * 25
    changed = [(key, b"other") for key, _ in pairs]
    assert create_many(objects.another(), iter(changed[:30]), recomputable=True) == [False] * 25 + [True] * 5
    assert objects.store.create(*changed[3]) is False
    expected = [*pairs[:25], *changed[25:30]]
    assert list(get_many(objects.another(), [key for key, _ in expected])) == expected
    assert list(objects.another().keys("")) == sorted(key for key, _ in expected)
    assert create_many(objects.store, [], recomputable=True) == []


def test_of_racing_writers_of_recomputable_objects_one_wins_each(objects: Objects) -> None:
    keys = [f"race/{number % 3}/{number}" for number in range(12)]
    stores = [objects.another() for _ in range(WRITERS)]
    barrier = threading.Barrier(WRITERS)

    def write(writer: int) -> list[bool]:
        barrier.wait()
        return create_many(stores[writer], [(key, b"%d" % writer * 1000) for key in keys], recomputable=True)

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(write, range(WRITERS)))
    for place, key in enumerate(keys):
        winners = [writer for writer in range(WRITERS) if won[writer][place]]
        assert len(winners) == 1, key
        assert objects.store.get(key) == b"%d" % winners[0] * 1000


def test_no_store_takes_what_is_no_key_among_recomputable_objects(objects: Objects) -> None:
    for key in NO_KEYS:
        with pytest.raises(ValueError, match="not the key of an object"):
            create_many(objects.store, [(key, b"1")], recomputable=True)
    assert list(objects.store.keys("")) == []
