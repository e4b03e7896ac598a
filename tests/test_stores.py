"""The contract of every store, and of the state, journal, lease and control that are built on it."""

from __future__ import annotations

import io
import multiprocessing
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import store_samples
from firestore_emulator import firestore_emulator, firestore_project  # noqa: F401 - a fixture, used by its name
from store_samples import KINDS, FirestoreStore, OverlayStore, SqliteStore, Store

from trading_runtime.core.errors import ConfigurationError, HaltError, StoreDamaged
from trading_runtime.core.hashing import canonical_json, sha256_hex
from trading_runtime.stores.control import Control, ControlRefused
from trading_runtime.stores.documents import DOCUMENT_BYTES_MAX, Conflict, Documents
from trading_runtime.stores.envelope import CONTENT_BYTES_MAX, DocumentTooLarge, open_sealed, seal
from trading_runtime.stores.journal import START, Head, Journal
from trading_runtime.stores.journal_check import read_export, verify_export
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.overlay import OverlayDocuments
from trading_runtime.stores.state_store import StaleToken, StateStore

HOUR_MS = 3_600_000


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store
    if request.param == "firestore":
        opened = FirestoreStore(request.getfixturevalue("firestore_project"))
    elif request.param == "sqlite":
        opened = SqliteStore(tmp_path / "folder" / "store.sqlite")
    else:
        opened = OverlayStore() if request.param == "overlay" else Store()
    yield opened
    opened.close()


@pytest.fixture
def documents(store: Store) -> Documents:
    return store.documents


# --- documents


@pytest.mark.parametrize("content", [b'{"a":1}', b"", bytes(range(256)), "größer ≥ ✓\n\0".encode()])
def test_what_was_created_is_read_back_by_everybody(store: Store, content: bytes) -> None:
    version = store.documents.create("state/main.sma_cross", content)
    assert store.documents.read("state/main.sma_cross") == (content, version)
    assert store.another().read("state/main.sma_cross") == (content, version)


def test_what_was_never_written_is_none(documents: Documents) -> None:
    documents.create("state/a", b"1")
    assert documents.read("state/b") is None
    assert documents.read("other/a") is None
    assert documents.read("state/a/state/a") is None


def test_a_document_is_created_once(documents: Documents) -> None:
    version = documents.create("state/a", b"first")
    for content in (b"second", b"first"):
        with pytest.raises(Conflict):
            documents.create("state/a", content)
    assert documents.read("state/a") == (b"first", version)


def test_only_the_newest_version_is_replaced(documents: Documents) -> None:
    first = documents.create("state/a", b"1")
    second = documents.replace("state/a", b"2", first)
    with pytest.raises(Conflict):
        documents.replace("state/a", b"3", first)
    assert documents.read("state/a") == (b"2", second)


def test_the_same_content_again_is_a_new_version(documents: Documents) -> None:
    """Else two processes that claim with the same bytes would both win."""
    first = documents.create("state/a", b"same")
    second = documents.replace("state/a", b"same", first)
    assert second != first
    with pytest.raises(Conflict):
        documents.replace("state/a", b"same", first)
    assert documents.read("state/a") == (b"same", second)


def test_a_version_that_never_was_replaces_nothing(documents: Documents) -> None:
    there, other = documents.create("state/a", b"1"), documents.create("state/other", b"other")
    years = ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00.123456789Z", "2099-01-01T00:00:00Z")
    for version in ["", "0", "77", "x", other, *years]:
        for path in ("state/absent", "state/a"):
            with pytest.raises(Conflict):
                documents.replace(path, b"2", version)
    assert documents.read("state/absent") is None
    assert documents.read("state/a") == (b"1", there)


def test_a_dry_run_changes_nothing_underneath_and_sees_what_others_write() -> None:
    base = MemoryDocuments()
    first, other = base.create("state/a", b"1"), base.create("state/b", b"1")
    dry = OverlayDocuments(base)
    seen = dry.read("state/a")
    assert seen is not None
    second = base.replace("state/a", b"2", first)
    with pytest.raises(Conflict):  # somebody wrote underneath
        dry.replace("state/a", b"dry", seen.version)
    for version in (first, second, "1", "above-1"):  # those of the store underneath are none of the dry run's
        with pytest.raises(Conflict):
            dry.replace("state/a", b"dry", version)
    with pytest.raises(Conflict):
        dry.create("state/a", b"dry")
    seen = dry.read("state/a")
    assert seen is not None
    mine = dry.replace("state/a", b"dry", seen.version)
    with pytest.raises(Conflict):
        dry.replace("state/a", b"again", seen.version)
    dry.create("state/c", b"new")
    base.replace("state/b", b"2", other)
    base.create("state/d", b"later")
    assert dry.read("state/a") == (b"dry", mine)
    assert [dry.read(f"state/{name}").content for name in "bcd"] == [b"2", b"new", b"later"]
    assert dry.names("state") == ["a", "b", "c", "d"]
    assert (dry.names("state", newest=2), dry.names("state", last="c", newest=1)) == (["c", "d"], ["c"])
    assert base.names("state") == ["a", "b", "d"]
    assert base.read("state/a") == (b"2", second)
    dry.close()
    assert OverlayDocuments(base).read("state/a").content == b"2"


def test_a_version_is_not_used_again_after_a_deletion_by_hand(store: Store) -> None:
    versions = [store.documents.create("state/a", b"1")]
    for _ in range(3):
        store.delete("state/a")
        versions.append(store.documents.create("state/a", b"1"))
        with pytest.raises(Conflict):
            store.documents.replace("state/a", b"2", versions[-2])
    assert len(set(versions)) == 4


def test_a_path_that_some_store_would_not_take_is_refused_by_all(documents: Documents) -> None:
    documents.create("a/b", b"1")
    bad = ["", "a", "a/", "/a", "a//b/c", "a/b/c", "a/..", "a/.", "./b", "a/b c", "a/ü", "a/__b__", "a/" + "x" * 201]
    for path in bad:
        with pytest.raises(ValueError, match="not the path of a document"):
            documents.read(path)
        with pytest.raises(ValueError, match="not the path of a document"):
            documents.create(path, b"1")
        with pytest.raises(ValueError, match="not the path of a document"):
            documents.replace(path, b"1", "1")
    for collection in ["", "a/b", "a/b/", "a//c", "a/../c"]:
        with pytest.raises(ValueError, match="not the path of a collection"):
            documents.names(collection)


def test_the_largest_document_fits_and_one_byte_more_does_not(documents: Documents) -> None:
    largest = b"x" * DOCUMENT_BYTES_MAX
    version = documents.create("state/a", largest)
    assert documents.read("state/a") == (largest, version)
    with pytest.raises(ValueError, match=f"state/b: {DOCUMENT_BYTES_MAX + 1} bytes"):
        documents.create("state/b", largest + b"x")
    with pytest.raises(ValueError, match=f"state/a: {DOCUMENT_BYTES_MAX + 1} bytes"):
        documents.replace("state/a", largest + b"x", version)
    assert documents.read("state/b") is None


def test_names_are_sorted_narrowed_and_of_one_collection(documents: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trading_runtime.stores.firestore._PAGE_NAMES", 7)  # several pages
    seed = 5
    draw = random.Random(seed)
    names = sorted(
        {"".join(draw.choices("aB0._-", k=draw.randint(1, 4))) for _ in range(40)} - {".", "..", "...", "...."}
    )
    for name in draw.sample(names, len(names)):
        documents.create(f"rows/{name}", b"1")
    documents.create("row/other", b"1")
    documents.create("rows/a/inner/deep", b"1")
    documents.create("rows/nobody/inner/deep", b"1")

    assert documents.names("rows") == names
    assert documents.names("none") == []
    assert documents.names("rows/nobody/inner") == ["deep"]
    bounds = [*draw.sample(names, 3), "0-"]
    for first in ["", *bounds]:
        for last in [None, *bounds]:
            within = [name for name in names if name >= first and (last is None or name <= last)]
            assert documents.names("rows", first=first, last=last) == within, (seed, first, last)
    for newest in (0, 1, 3, 100):
        within = [name for name in names if name <= bounds[0]]
        assert documents.names("rows", newest=newest) == names[max(len(names) - newest, 0) :]
        assert documents.names("rows", last=bounds[0], newest=newest) == within[max(len(within) - newest, 0) :]
    assert documents.names("rows", first=names[-1], newest=5) == names[-1:]
    with pytest.raises(ValueError, match="negative"):
        documents.names("rows", newest=-1)


@pytest.mark.parametrize("seed", range(3))
def test_every_store_behaves_like_a_plain_mapping(store: Store, seed: int) -> None:
    draw = random.Random(seed)
    clients = [store.documents, store.another()]
    model: dict[str, tuple[bytes, str]] = {}
    stale: list[str] = ["never"]
    for step in range(120):
        documents, path = draw.choice(clients), f"c{draw.randint(0, 1)}/{draw.randint(0, 4)}"
        content = b"%d" % draw.randint(0, 3)
        known = model.get(path)
        action = draw.choice(["create", "replace", "stale", "read", "names"])
        where = (seed, step, action, path)
        if action == "create" and known is None:
            model[path] = (content, documents.create(path, content))
        elif action == "create":
            with pytest.raises(Conflict):
                documents.create(path, content)
        elif action == "replace" and known is not None:
            stale.append(known[1])
            model[path] = (content, documents.replace(path, content, known[1]))
        elif action in ("replace", "stale"):
            with pytest.raises(Conflict):
                documents.replace(path, content, draw.choice(stale))
        elif action == "read":
            assert documents.read(path) == known, where
        else:
            names = sorted(key.partition("/")[2] for key in model if key.startswith("c0/"))
            assert documents.names("c0") == names, where
    versions = [version for _, version in model.values()] + stale
    assert len(set(versions)) == len(versions)


# --- several at once

WORKERS = 4


def race(store: Store, work: Callable[[Documents, int, int], list[int]], rounds: int) -> list[list[int]]:
    """Let workers loose on one store: processes where the store is shared by processes, else threads."""
    if isinstance(store, SqliteStore):
        jobs = [(work, str(store.path), worker, rounds) for worker in range(WORKERS)]
        with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
            return pool.map(store_samples.in_process, jobs, chunksize=1)
    clients = [store.another() for _ in range(2)]
    with ThreadPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(work, clients[worker % 2], worker, rounds) for worker in range(WORKERS)]
        return [future.result() for future in futures]


def test_of_several_that_create_exactly_one_wins(store: Store) -> None:
    rounds = 20
    won = race(store, store_samples.create_all, rounds)
    assert sorted(number for rounds_won in won for number in rounds_won) == list(range(rounds))


def test_of_several_that_replace_one_version_exactly_one_wins(store: Store) -> None:
    rounds = 20
    versions = [store.documents.create(f"race/replace-{number}", b"the same") for number in range(rounds)]
    store.documents.create("race/versions", " ".join(versions).encode())
    won = race(store, store_samples.replace_all, rounds)
    assert sorted(number for rounds_won in won for number in rounds_won) == list(range(rounds))


def test_compare_and_set_loses_no_update(store: Store) -> None:
    rounds = 10
    store.documents.create("race/counter", b"0")
    made = race(store, store_samples.count_up, rounds)
    assert sorted(number for numbers in made for number in numbers) == list(range(1, WORKERS * rounds + 1))


def test_no_two_acquisitions_share_a_token(store: Store) -> None:
    rounds = 5
    tokens = race(store, store_samples.acquire_all, rounds)
    assert all(before < after for mine in tokens for before, after in pairwise(mine))
    every = sorted(token for mine in tokens for token in mine)
    assert len(set(every)) == WORKERS * rounds


# --- the envelope


def test_a_document_opens_as_it_was_sealed() -> None:
    content = {"b": [1, 2.5, None, True, "ü"], "a": {"x": {}}}
    raw, checksum = seal("state/a", content, 3)
    assert open_sealed("state/a", raw, 3) == (content, 3, checksum)
    assert raw == canonical_json({**content, "schema_version": 3, "sha256": checksum})


def test_a_newer_document_names_both_versions() -> None:
    raw, _ = seal("state/a", {}, 7)
    with pytest.raises(ConfigurationError, match=r"^state/a: .*schema 7, this one knows 2"):
        open_sealed("state/a", raw, 2)


def test_a_document_with_any_byte_changed_is_damaged() -> None:
    raw, _ = seal("state/a", {"token": 12, "text": "a b", "number": 1.5}, 1)
    for index in range(len(raw)):
        for other in (raw[index] ^ 1, raw[index] ^ 0x20, 0x20, 0x39):
            if other == raw[index]:
                continue
            altered = raw[:index] + bytes([other]) + raw[index + 1 :]
            with pytest.raises(StoreDamaged, match=r"^state/a: "):
                open_sealed("state/a", altered, 1)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":NaN}', b'{"a":' + b"9" * 5000 + b"}", b'"\\ud800"'],
)
def test_what_is_no_document_is_damaged(raw: bytes) -> None:
    with pytest.raises(StoreDamaged, match=r"^state/a: "):
        open_sealed("state/a", raw, 1)


@pytest.mark.parametrize("version", [0, -1, True, "1", None, 1.0])
def test_a_schema_version_that_is_none_is_damage(version: object) -> None:
    rest = {"schema_version": version}
    raw = canonical_json({**rest, "sha256": sha256_hex(canonical_json(rest))})
    with pytest.raises(StoreDamaged, match=r"^state/a: has no schema version"):
        open_sealed("state/a", raw, 1)


@pytest.mark.parametrize("content", [{"sha256": "x"}, {"schema_version": 1}, {"a": float("nan")}])
def test_what_cannot_be_sealed_is_refused(content: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"envelope|JSON"):
        seal("state/a", content, 1)


@pytest.mark.parametrize("name", ["", "a/b/c", "..", "a b", "ü"])
def test_a_name_that_would_be_another_path_is_refused(name: str) -> None:
    documents = Store().documents
    journal = Journal(documents, "main", "sma_cross")
    for use in (
        lambda: StateStore(documents, name, "sma_cross"),
        lambda: StateStore(documents, "main", f"{name}/x"),
        lambda: Lease(documents, name, "holder", 1.0),
        lambda: Control(documents, name),
        lambda: journal.append(name, START, "kind", 1, "time", None),
        lambda: journal.head(name),
        lambda: journal.verify(name),
    ):
        with pytest.raises(ValueError, match="not "):
            use()
    assert documents.names("journal/main.sma_cross/sessions") == []


def test_an_account_with_a_dot_is_refused() -> None:
    """The account a.b with strategy c would be the account a with strategy b.c."""
    with pytest.raises(ValueError, match="not an account"):
        StateStore(Store().documents, "a.b", "c")


# --- the state

STATE = {"cash": 100, "positions": {"BTC/USDT": 3}}


def test_an_account_that_was_never_there_has_no_state(documents: Documents) -> None:
    assert StateStore(documents, "main", "sma_cross").load() is None


def test_a_state_is_created_saved_and_loaded(store: Store) -> None:
    states = StateStore(store.documents, "main", "sma_cross")
    first = states.create(STATE, 4)
    assert states.load() == first == (STATE, first.version, 4)
    second = states.save({"cash": 5}, first, 4)
    third = states.save({"cash": 6}, second, 9)
    assert StateStore(store.another(), "main", "sma_cross").load() == third == ({"cash": 6}, third.version, 9)
    with pytest.raises(Conflict):
        states.create(STATE, 10)


def test_accounts_and_strategies_have_states_of_their_own(documents: Documents) -> None:
    owners = [("main", "sma_cross"), ("main", "breakout"), ("other", "sma_cross"), ("main", "my.module:Mine")]
    for number, (account, strategy) in enumerate(owners):
        StateStore(documents, account, strategy).create({"cash": number}, 1)
    for number, (account, strategy) in enumerate(owners):
        saved = StateStore(documents, account, strategy).load()
        assert saved is not None
        assert saved.content == {"cash": number}


def test_a_save_over_another_version_conflicts(documents: Documents) -> None:
    states = StateStore(documents, "main", "sma_cross")
    first = states.create(STATE, 1)
    states.save({"cash": 1}, first, 1)
    with pytest.raises(Conflict) as caught:
        states.save({"cash": 2}, first, 1)
    assert not isinstance(caught.value, StaleToken)
    saved = states.load()
    assert saved is not None
    assert saved.content == {"cash": 1}


def test_a_smaller_token_is_refused_even_with_the_right_version(documents: Documents) -> None:
    states = StateStore(documents, "main", "sma_cross")
    first = states.create(STATE, 7)
    with pytest.raises(StaleToken, match="token 7; this process's 6"):
        states.save({"cash": 1}, first, 6)
    assert states.load() == first


def test_a_process_that_lost_its_lease_learns_so_when_it_saves(documents: Documents) -> None:
    slow, quick = (StateStore(documents, "main", "sma_cross") for _ in range(2))
    seen = slow.create(STATE, 1)
    quick.save({"cash": 1}, seen, 2)
    with pytest.raises(StaleToken, match="token 2; this process's 1"):
        slow.save({"cash": 2}, seen, 1)


def test_a_known_account_whose_state_is_gone_is_not_a_new_one(store: Store) -> None:
    states = StateStore(store.documents, "main", "sma_cross")
    states.create(STATE, 1)
    store.delete("state/main.sma_cross")
    with pytest.raises(StoreDamaged, match=r"the state of account main, strategy sma_cross is missing.*restore"):
        states.load()
    with pytest.raises(StoreDamaged, match="missing"):
        states.create(STATE, 2)


def test_a_crash_between_state_and_marker_is_neither_a_loss_nor_forgotten(store: Store) -> None:
    states = StateStore(store.documents, "main", "sma_cross")
    first = states.create(STATE, 1)
    store.delete("accounts/main.sma_cross")  # as if the process had ended before the second write
    assert states.load() == first
    store.delete("state/main.sma_cross")
    with pytest.raises(StoreDamaged, match="missing"):
        states.load()


class Crash(Exception):
    """The process ends here."""


class Crashing:
    """A store whose process ends at its n-th write, before it or right after it."""

    def __init__(self, base: Documents, writes: int, after: bool) -> None:
        self._base, self._left, self._after = base, writes, after
        self.read, self.names, self.close = base.read, base.names, base.close

    def create(self, path: str, content: bytes) -> str:
        return self._write(lambda: self._base.create(path, content))

    def replace(self, path: str, content: bytes, version: str) -> str:
        return self._write(lambda: self._base.replace(path, content, version))

    def _write(self, write: Callable[[], str]) -> str:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Crash
        version = write()
        if self._left == 0:
            raise Crash
        return version


@pytest.mark.parametrize("writes", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_wherever_the_creation_is_cut_off_the_next_process_goes_on(
    documents: Documents, writes: int, after: bool
) -> None:
    with pytest.raises(Crash):
        StateStore(Crashing(documents, writes, after), "main", "sma_cross").create(STATE, 1)
    states = StateStore(documents, "main", "sma_cross")
    there = states.load()
    assert (there is None) == (writes == 1 and not after)
    if there is None:
        there = states.create(STATE, 2)
    assert states.save({"cash": 1}, there, 3) == states.load()


@pytest.mark.parametrize("content", [b"{}", b"nonsense", b""])
def test_a_state_that_is_not_readable_is_damage_and_names_the_document(store: Store, content: bytes) -> None:
    states = StateStore(store.documents, "main", "sma_cross")
    first = states.create(STATE, 1)
    store.put("state/main.sma_cross", content)
    with pytest.raises(StoreDamaged, match=r"state/main\.sma_cross"):
        states.load()
    with pytest.raises((Conflict, StoreDamaged)):
        states.save({"cash": 1}, first, 1)


def test_the_state_of_somebody_else_is_damage(store: Store) -> None:
    StateStore(store.documents, "other", "sma_cross").create(STATE, 1)
    foreign = store.documents.read("state/other.sma_cross")
    assert foreign is not None
    store.put("state/main.sma_cross", foreign.content)
    with pytest.raises(StoreDamaged, match=r"state/main\.sma_cross: is the state of account other"):
        StateStore(store.documents, "main", "sma_cross").load()


def test_a_state_that_grew_too_large_is_refused_before_anything_is_written(documents: Documents) -> None:
    states = StateStore(documents, "main", "sma_cross")
    large = {"text": "x" * CONTENT_BYTES_MAX}
    with pytest.raises(DocumentTooLarge, match=rf"state/main\.sma_cross: .* {CONTENT_BYTES_MAX}"):
        states.create(large, 1)
    assert (documents.names("state"), documents.names("accounts")) == ([], [])
    first = states.create(STATE, 1)
    with pytest.raises(DocumentTooLarge):
        states.save(large, first, 1)
    assert states.load() == first
    assert DocumentTooLarge.exit_code == HaltError.exit_code == 78


# --- the journal


def write_session(journal: Journal, session: str, count: int) -> Head:
    head = START
    for number in range(count):
        slot = None if number == 0 else number * HOUR_MS
        head = journal.append(session, head, "decided", slot, f"2024-01-01T00:00:{number:02}Z", {"number": number})
    return head


def test_a_session_is_read_back_as_it_was_written(store: Store) -> None:
    journal = Journal(store.documents, "main", "sma_cross")
    head = write_session(journal, "s1", 12)
    other = Journal(store.another(), "main", "sma_cross")
    entries = list(other.entries("s1"))
    assert [entry.sequence for entry in entries] == list(range(12))
    assert [entry.content for entry in entries] == [{"number": number} for number in range(12)]
    assert (entries[0].previous, entries[0].slot, entries[1].slot) == (START.hash, None, HOUR_MS)
    assert (entries[3].kind, entries[3].time, entries[3].session) == ("decided", "2024-01-01T00:00:03Z", "s1")
    assert all(after.previous == before.hash for before, after in pairwise(entries))
    assert other.head("s1") == entries[-1].head == head
    assert [entry.sequence for entry in other.entries("s1", 3, 5)] == [3, 4, 5]
    assert other.verify("s1", head) == other.verify("s1") == []


def test_sessions_are_listed_by_name(documents: Documents) -> None:
    journal = Journal(documents, "main", "sma_cross")
    assert (journal.sessions(), journal.head("s1"), list(journal.entries("s1"))) == ([], START, [])
    for session in ("2024-01-02", "2024-01-01", "2024-01-03"):
        write_session(journal, session, 1)
    assert journal.sessions() == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert journal.sessions(newest=1) == ["2024-01-03"]
    assert Journal(documents, "main", "other").sessions() == []


def test_an_append_that_was_cut_off_is_repeated(documents: Documents) -> None:
    journal = Journal(documents, "main", "sma_cross")
    head = write_session(journal, "s1", 2)
    again = [journal.append("s1", head, "sent", 1, "now", {"a": [1]}) for _ in range(2)]
    assert again[0] == again[1] == journal.head("s1")
    assert journal.verify("s1", again[0]) == []


@pytest.mark.parametrize("writes", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_wherever_the_first_append_is_cut_off_it_can_be_repeated(
    documents: Documents, writes: int, after: bool
) -> None:
    with pytest.raises(Crash):
        Journal(Crashing(documents, writes, after), "main", "a").append("s1", START, "k", 1, "t", None)
    journal = Journal(documents, "main", "a")
    head = journal.append("s1", journal.head("s1") if after and writes == 1 else START, "k", 1, "t", None)
    assert (journal.head("s1"), journal.sessions(), journal.verify("s1", head)) == (head, ["s1"], [])


def test_two_writers_of_one_session_are_noticed(documents: Documents) -> None:
    journal = Journal(documents, "main", "sma_cross")
    head = write_session(journal, "s1", 2)
    journal.append("s1", head, "sent", 1, "now", "mine")
    with pytest.raises(Conflict, match="somebody else"):
        journal.append("s1", head, "sent", 1, "now", "theirs")
    assert [entry.content for entry in journal.entries("s1", 2)] == ["mine"]


def test_an_entry_that_is_too_large_is_refused_before_anything_is_written(documents: Documents) -> None:
    journal = Journal(documents, "main", "sma_cross")
    with pytest.raises(DocumentTooLarge, match=r"journal/main\.sma_cross/sessions/s1/entries/00000000"):
        journal.append("s1", START, "k", 1, "t", "x" * CONTENT_BYTES_MAX)
    assert journal.sessions() == []


def test_what_happened_to_a_session_in_the_store_is_found_and_named(store: Store) -> None:
    journal = Journal(store.documents, "main", "sma_cross")
    place = "journal/main.sma_cross/sessions/{}/entries/{:08}"
    heads = {session: write_session(journal, session, 6) for session in ("a", "b", "c", "d", "e", "f")}

    store.delete(place.format("a", 2))
    store.delete(place.format("a", 3))
    store.delete(place.format("b", 5))
    entry = store.documents.read(place.format("c", 1))
    assert entry is not None
    store.put(place.format("c", 1), entry.content.replace(b'"number":1', b'"number":2'))
    store.put(place.format("d", 4), store.documents.read(place.format("d", 2)).content)
    store.put(place.format("e", 0), store.documents.read(place.format("a", 0)).content)
    store.put("journal/main.sma_cross/sessions/e/entries/7", b"{}")
    store.delete("journal/main.sma_cross/sessions/f")

    def found(session: str) -> list[tuple[int, str]]:
        return [(finding.sequence, finding.what) for finding in journal.verify(session, heads[session])]

    assert found("a") == [(2, "missing: entries 2 to 3")]
    assert found("b") == [(5, "missing: entry 5: cut off, 5 was known as the last")]
    assert journal.verify("b") == []  # nobody kept the head: see Journal.verify
    assert found("c") == [(1, f"{place.format('c', 1)}: does not match its checksum; restore it from a backup")]
    assert found("d") == [(4, f"{place.format('d', 4)}: holds entry 2: moved or duplicated")]
    strange = "journal/main.sma_cross/sessions/e/entries/7: is no entry; who wrote it?"
    assert found("e") == [(-1, strange), (0, f"{place.format('e', 0)}: belongs to session a of main.sma_cross")]
    assert found("f") == [(-1, "the document of the session itself is missing")]
    for session in ("a", "c", "d", "e"):
        with pytest.raises(StoreDamaged):
            list(journal.entries(session))


def test_an_export_is_verified_and_read_alone(documents: Documents) -> None:
    journal = Journal(documents, "main", "sma_cross")
    head = write_session(journal, "s1", 5)
    stream = io.BytesIO()
    assert journal.export("s1", stream) == head
    lines = stream.getvalue().splitlines(keepends=True)
    assert len(lines) == 5
    assert list(read_export(lines)) == list(journal.entries("s1"))
    assert list(read_export(line.decode() for line in lines)) == list(journal.entries("s1"))
    assert verify_export(lines, head) == []


# --- the lease


def lease(documents: Documents, holder: str) -> Lease:
    return Lease(documents, "main.sma_cross", holder, 10.0)


def test_a_lease_has_one_holder(store: Store) -> None:
    first, second = lease(store.documents, "one"), lease(store.another(), "two")
    held = first.acquire(1_000)
    assert held == ("main.sma_cross", "one", 1, 11_000)
    assert second.acquire(10_999) is None
    assert second.other == held
    assert first.check(10_999)
    assert not second.check(10_999)
    taken = second.acquire(11_000)
    assert (taken is not None, second.other) == (True, None)


def test_an_expired_lease_is_taken_over_with_a_greater_token(documents: Documents) -> None:
    first, second = lease(documents, "one"), lease(documents, "two")
    first.acquire(1_000)
    assert not first.check(11_000)
    taken = second.acquire(11_000)
    assert taken is not None
    assert taken.token == 2
    assert not first.check(1_001)
    assert first.other == taken
    assert first.renew(1_001) is None
    first.release()  # of what is not ours any more: changes nothing
    assert second.check(11_001)


def test_a_renewed_lease_keeps_its_token(documents: Documents) -> None:
    first, second = lease(documents, "one"), lease(documents, "two")
    first.acquire(0)
    renewed = first.renew(9_000)
    assert renewed is not None
    assert (renewed.token, renewed.expires_ms) == (1, 19_000)
    assert second.acquire(18_999) is None
    late = first.renew(30_000)  # expired, but nobody took it
    assert late is not None
    assert late.token == 1
    assert first.check(39_999)


def test_a_released_lease_is_free_and_its_token_goes_on(documents: Documents) -> None:
    first, second = lease(documents, "one"), lease(documents, "two")
    first.acquire(0)
    first.release()
    assert not first.check(1)
    assert first.renew(1) is None
    taken = second.acquire(1)
    assert taken is not None
    assert taken.token == 2
    second.release()
    again = first.acquire(2)
    assert again is not None
    assert again.token == 3


def test_another_process_of_the_same_name_fences_the_first(documents: Documents) -> None:
    first, second = lease(documents, "pod"), lease(documents, "pod")
    first.acquire(0)
    taken = second.acquire(1)
    assert taken is not None
    assert taken.token == 2
    assert not first.check(2)
    assert first.renew(2) is None
    assert second.check(2)


def test_a_lost_lease_document_goes_on_above_the_token_of_the_state(store: Store) -> None:
    mine = lease(store.documents, "one")
    for _ in range(5):
        mine.acquire(0)
    store.delete("leases/main.sma_cross")
    assert not mine.check(1)
    held = mine.acquire(1)
    assert held is not None
    assert held.token == 1
    held = mine.acquire(2, above=5)
    assert held is not None
    assert held.token == 6
    held = mine.acquire(3, above=2)
    assert held is not None
    assert held.token == 7


def test_a_damaged_lease_stops_everybody(store: Store) -> None:
    mine = lease(store.documents, "one")
    mine.acquire(0)
    store.put("leases/main.sma_cross", b"{}")
    for ask in (mine.check, mine.renew, mine.acquire):
        with pytest.raises(StoreDamaged, match=r"leases/main\.sma_cross"):
            ask(1)


def test_a_holder_that_lost_its_lease_cannot_write_the_state(documents: Documents) -> None:
    slow, quick = lease(documents, "slow"), lease(documents, "quick")
    states = StateStore(documents, "main", "sma_cross")
    held = slow.acquire(0)
    assert held is not None
    seen = states.create(STATE, held.token)
    taken = quick.acquire(60_000)  # the slow one paused for a minute
    assert taken is not None
    seen = states.save({"cash": 1}, seen, taken.token)
    with pytest.raises(StaleToken):
        states.save({"cash": 2}, seen, held.token)


# --- the control document


def test_an_account_that_nobody_halted_runs(documents: Documents) -> None:
    view = Control(documents, "main").read(0)
    assert (view.risk, view.allows_risk, view.flatten, view.reason, view.unreadable) == ("run", True, False, "", False)


def test_a_halt_holds_until_somebody_resumes(store: Store) -> None:
    Control(store.documents, "main").halt("ann", "strange fills", 1_000, flatten=True)
    other = Control(store.another(), "main")
    view = other.read(10**12)
    assert (view.risk, view.allows_risk, view.flatten) == ("halt", False, True)
    for word in ("ann", "strange fills", "1970-01-01 00:00:01 UTC", "closed"):
        assert word in view.reason
    assert Control(store.documents, "other").read(0).allows_risk
    assert other.resume("bob", "checked", 2_000) == other.read(2_000)
    view = Control(store.documents, "main").read(2_000)
    assert (view.allows_risk, view.flatten, view.resumed_ms) == (True, False, 2_000)
    assert [change.action for change in other.history()] == ["halt", "resume"]


def test_a_pause_and_a_halt_with_an_end_are_over_then(documents: Documents) -> None:
    control = Control(documents, "main")
    control.pause("ann", "release", 0, 5_000)
    assert control.read(4_999).risk == "pause"
    assert control.read(5_000).allows_risk
    control.halt("ann", "release", 6_000, until_ms=7_000)
    assert not control.read(6_999).allows_risk
    assert control.read(7_000).allows_risk


def test_only_resume_loosens(documents: Documents) -> None:
    control = Control(documents, "main")
    control.halt("ann", "first", 0, flatten=True)
    view = control.halt("robot", "second", 1, until_ms=10)
    assert (view.flatten, view.until_ms) == (True, None)
    with pytest.raises(ControlRefused, match="halted by robot"):
        control.pause("bob", "lunch", 2, 3)
    assert not control.read(100).allows_risk
    control.resume("ann", "done", 3)
    control.pause("bob", "long", 4, 1_000)
    assert control.pause("bob", "short", 5, 10).until_ms == 1_000
    assert control.halt("bob", "short", 6, until_ms=10).until_ms == 1_000


def test_a_halt_that_was_not_seen_is_not_resumed(store: Store) -> None:
    control = Control(store.documents, "main")
    control.halt("ann", "first", 0)

    class Overtaken(Crashing):
        """Somebody halts again between this one's reading and writing."""

        def replace(self, path: str, content: bytes, version: str) -> str:
            Control(store.another(), "main").halt("bob", "worse", 5)
            return super().replace(path, content, version)

    with pytest.raises(ControlRefused, match="changed by bob"):
        Control(Overtaken(store.documents, 0, True), "main").resume("ann", "fine", 6)
    assert "worse" in control.read(7).reason


def test_changes_at_the_same_time_are_all_kept(store: Store) -> None:
    with ThreadPoolExecutor(3) as pool:
        clients = [Control(store.another(), "main") for _ in range(3)]
        jobs = [pool.submit(client.halt, f"who-{i}", "why", i) for i, client in enumerate(clients)]
        for job in jobs:
            job.result()
    history = Control(store.documents, "main").history()
    assert sorted(change.who for change in history) == ["who-0", "who-1", "who-2"]


def test_overrides_end_and_can_be_revoked(documents: Documents) -> None:
    control = Control(documents, "main")
    control.override("degraded", "ann", "upstream is down", 0, 5_000)
    control.override("breaker", "ann", "looked at it", 0, 9_000)
    view = control.read(4_999)
    assert [one.name for one in view.overrides] == ["breaker", "degraded"]
    assert view.overrides_guard("degraded")
    assert not view.overrides_guard("account_mismatch")
    assert view.allows_risk
    assert [one.name for one in control.read(5_000).overrides] == ["breaker"]
    control.override("breaker", "bob", "longer", 5_000, 20_000)
    assert [(one.who, one.until_ms) for one in control.read(9_500).overrides] == [("bob", 20_000)]
    assert control.revoke("breaker", "bob", "done", 9_600).overrides == ()


def test_what_makes_no_sense_is_refused_and_not_written(documents: Documents) -> None:
    control = Control(documents, "main")
    day_ms = 24 * HOUR_MS
    for refused in (
        lambda: control.halt("", "why", 0),
        lambda: control.halt("who", " ", 0),
        lambda: control.halt("who", "x" * 501, 0),
        lambda: control.halt("who", "why", 10, until_ms=10),
        lambda: control.pause("who", "why", 10, 9),
        lambda: control.resume("who", "", 0),
        lambda: control.override("everything", "who", "why", 0, 1),
        lambda: control.override("breaker", "who", "why", 0, day_ms + 1),
        lambda: control.override("breaker", "who", "why", 5, 5),
        lambda: control.revoke("everything", "who", "why", 0),
        lambda: control.halt("who", "why", -1),
        lambda: control.halt("who", "why", 0, until_ms=10**18),
        lambda: control.pause("who", "why", 1_700_000_000, 1_700_000_000_000_000_000),
    ):
        with pytest.raises(ControlRefused) as caught:
            refused()
        assert "\n" not in str(caught.value)
    assert documents.names("control") == []
    control.override("breaker", "who", "why", 0, day_ms)
    assert documents.names("control") == ["main"]


def test_the_history_keeps_the_last_fifty(documents: Documents) -> None:
    control = Control(documents, "main")
    for number in range(53):
        control.halt("ann", f"reason {number}", number)
    assert [change.why for change in control.history()] == [f"reason {number}" for number in range(3, 53)]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"nonsense",
        b"{}",
        seal("x", {"account": "main", "risk": "maybe"}, 1)[0],
        seal("x", {"account": "main", "risk": "run", "halted": False}, 1)[0],
        seal("x", {"account": "other", "risk": "run"}, 1)[0],
        seal("x", {"account": "main", "until_ms": "never"}, 1)[0],
        seal("x", {"account": "main", "risk": "halt", "until_ms": 10**18}, 1)[0],
        seal("x", {"account": "main", "risk": "halt", "since_ms": -(10**18)}, 1)[0],
    ],
)
def test_a_control_document_that_is_not_readable_is_a_halt(store: Store, damaged: bytes) -> None:
    control = Control(store.documents, "main")
    store.put("control/main", damaged)
    view = control.read(0)
    assert (view.risk, view.allows_risk, view.flatten, view.unreadable) == ("halt", False, False, True)
    assert "control/main" in view.reason
    with pytest.raises(StoreDamaged, match="control/main"):
        control.resume("ann", "why", 1)
    assert not control.read(1).allows_risk
    control.halt("ann", "write it anew", 2)
    assert control.resume("ann", "and go on", 3).allows_risk


def test_a_control_document_of_a_newer_program_is_a_halt_and_is_not_overwritten(store: Store) -> None:
    raw, _ = seal("control/main", {"account": "main", "risk": "run"}, 9)
    store.put("control/main", raw)
    control = Control(store.documents, "main")
    view = control.read(0)
    assert (view.allows_risk, view.unreadable) == (False, True)
    assert "schema 9" in view.reason
    with pytest.raises(ConfigurationError, match="schema 9"):
        control.halt("ann", "why", 1)


def test_a_store_that_is_not_there_is_a_halt(tmp_path: Path) -> None:
    opened = SqliteStore(tmp_path / "store.sqlite")
    control = Control(opened.documents, "main")
    control.resume("ann", "why", 0)
    assert control.read(1).allows_risk
    opened.path.unlink()
    view = control.read(2)
    assert (view.allows_risk, view.unreadable) == (False, True)
    assert "store.sqlite" in view.reason
    opened.close()
