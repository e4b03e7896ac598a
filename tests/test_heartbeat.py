"""Heartbeats: what every way to end leaves behind, who wins when several write, and that telling fails no cycle."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cycle_world import World
from hypothesis import given, settings
from hypothesis import strategies as some
from operator_world import loaded, store_of, write_config
from venue.clock import VirtualClock
from watch_world import HOUR_MS, OWNER, QUIET, START_MS, End, FlakyDocuments, end

from trading_runtime.core.errors import ConfigurationError, StoreDamaged, StoreUnavailable
from trading_runtime.cycle.heartbeat import AHEAD_MS_MAX, beat, beat_refused_start, read_heartbeat
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.envelope import seal
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.telemetry.log import EventLog

SLOT = START_MS


@pytest.fixture(params=["memory", "sqlite"])
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Documents]:
    store: Documents = MemoryDocuments() if request.param == "memory" else SqliteDocuments(tmp_path / "state.sqlite")
    yield store
    store.close()


def test_a_cycle_that_succeeds_says_when_and_what_comes_next(documents: Documents) -> None:
    clock = VirtualClock(START_MS + 5_000)

    assert end(documents, clock, End(slot=SLOT))

    found = read_heartbeat(documents, OWNER)
    assert found is not None
    assert (found.account, found.strategy, found.mode, found.run_id) == ("main", "Alternate", "live", "run")
    assert (found.status, found.exit_code, found.slot, found.slot_done) == ("done", 0, SLOT, SLOT)
    assert (found.time_ms, found.ended_ms, found.last_success_ms) == (START_MS + 5_000,) * 3
    assert (found.failures, found.failure, found.next_slot_ms) == (0, None, START_MS + HOUR_MS)


def test_failures_are_counted_until_a_cycle_succeeds(documents: Documents) -> None:
    clock = VirtualClock(START_MS)
    end(documents, clock, End(slot=SLOT))
    for count in (1, 2, 3):
        clock.sleep(3600)
        end(documents, clock, End("failed", 70, SLOT + count * HOUR_MS, f"no {count}", run_id=f"run{count}"))
        found = read_heartbeat(documents, OWNER)
        assert found is not None
        assert found.failure is not None
        assert (found.failures, found.failure.run_id, found.failure.reason) == (count, f"run{count}", f"no {count}")
        assert (found.last_success_ms, found.slot_done) == (START_MS, SLOT)

    clock.sleep(3600)
    end(documents, clock, End(slot=SLOT + 4 * HOUR_MS))
    found = read_heartbeat(documents, OWNER)
    assert found is not None
    assert (found.failures, found.failure, found.slot_done) == (0, None, SLOT + 4 * HOUR_MS)


def test_a_cycle_that_found_another_at_work_hides_no_failure(documents: Documents) -> None:
    clock = VirtualClock(START_MS)
    end(documents, clock, End(slot=SLOT))
    clock.sleep(3600)
    end(documents, clock, End("failed", 1, SLOT + HOUR_MS, "a defect"))
    clock.sleep(5)
    end(documents, clock, End("not_mine", 0))

    found = read_heartbeat(documents, OWNER)
    assert found is not None
    assert (found.status, found.time_ms) == ("not_mine", START_MS + 3_605_000)
    assert (found.ended_ms, found.failures, found.last_success_ms) == (START_MS + HOUR_MS, 1, START_MS)


def test_an_older_slot_takes_nothing_back(documents: Documents) -> None:
    clock = VirtualClock(START_MS)
    end(documents, clock, End(slot=SLOT))
    end(documents, clock, End("already_done", 0, SLOT - 5 * HOUR_MS))

    found = read_heartbeat(documents, OWNER)
    assert found is not None
    assert (found.slot, found.slot_done) == (SLOT - 5 * HOUR_MS, SLOT)


def test_the_step_of_the_ladder_is_kept_until_a_cycle_knows_better(documents: Documents) -> None:
    clock = VirtualClock(START_MS)

    def kept(ended: End) -> str | None:
        clock.sleep(60)
        assert end(documents, clock, ended)
        found = read_heartbeat(documents, OWNER)
        assert found is not None
        return found.artifact

    assert kept(End(slot=SLOT)) is None
    assert kept(End(slot=SLOT, publication={"source_kind": "static"})) == "static"
    assert kept(End("not_mine")) == "static"
    assert kept(End("failed", 70)) == "static"
    assert kept(End(slot=SLOT, publication={"source_kind": "fresh_upstream"})) == "fresh_upstream"
    assert kept(End("failed", 70, publication={})) == "fresh_upstream"
    assert kept(End(slot=SLOT, publication={})) is None


def test_a_dry_run_leaves_none(documents: Documents) -> None:
    assert not end(documents, VirtualClock(START_MS), End(slot=SLOT, mode="dry-run"))
    assert read_heartbeat(documents, OWNER) is None


def test_the_newest_wins(documents: Documents) -> None:
    end(documents, VirtualClock(START_MS + 10_000), End(run_id="late", slot=SLOT))

    assert not end(documents, VirtualClock(START_MS + 9_000), End(run_id="early", slot=SLOT))
    found = read_heartbeat(documents, OWNER)
    assert found is not None
    assert found.run_id == "late"


def test_one_from_a_clock_far_ahead_does_not_silence_those_that_follow(documents: Documents) -> None:
    end(documents, VirtualClock(START_MS + AHEAD_MS_MAX + 1), End(run_id="ahead", slot=SLOT))

    assert end(documents, VirtualClock(START_MS), End(run_id="right", slot=SLOT))
    found = read_heartbeat(documents, OWNER)
    assert found is not None
    assert (found.run_id, found.time_ms) == ("right", START_MS)


def test_writers_at_once_leave_the_newest(tmp_path: Path) -> None:
    """Eight threads with a store and a clock each."""
    SqliteDocuments(tmp_path / "state.sqlite").close()

    def write(number: int) -> None:
        store = SqliteDocuments(tmp_path / "state.sqlite")
        for step in range(5):
            end(store, VirtualClock(START_MS + step * 8 + number), End(run_id=f"{step * 8 + number}", slot=SLOT))
        store.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = SqliteDocuments(tmp_path / "state.sqlite")
    found = read_heartbeat(store, OWNER)
    store.close()
    assert found is not None
    assert (found.run_id, found.time_ms) == ("39", START_MS + 39)


@pytest.mark.parametrize(("conflicts", "is_written"), [(1, True), (9, True), (10, False), (1000, False)])
def test_conflicts_are_tried_again_and_not_for_ever(conflicts: int, is_written: bool) -> None:
    store = FlakyDocuments(MemoryDocuments())
    store.conflicts = conflicts

    assert end(store, VirtualClock(START_MS), End(slot=SLOT)) is is_written
    assert (read_heartbeat(store.base, OWNER) is not None) is is_written
    assert store.conflicts == max(conflicts - 10, 0)


def test_what_cannot_be_written_is_a_line_in_the_log() -> None:
    store = FlakyDocuments(MemoryDocuments())
    store.failures = 1
    stream = io.StringIO()

    assert not beat(store, OWNER, End(slot=SLOT), VirtualClock(START_MS), bar_ms=HOUR_MS, log=EventLog(stream=stream))

    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"]) == ("heartbeat_not_written", "error")
    assert "the store does not answer" in line["detail"]


@settings(max_examples=300, deadline=None)
@given(
    status=some.text(),
    exit_code=some.integers(),
    slot=some.one_of(some.none(), some.integers()),
    reason=some.text(max_size=2000),
    run_id=some.text(),
    account=some.text(),
    owner=some.one_of(some.just(OWNER), some.text()),
    now_ms=some.integers(),
    bar_ms=some.one_of(some.none(), some.integers()),
)
def test_whatever_is_told_never_raises(
    status: str, exit_code: int, slot: int | None, reason: str, run_id: str, account: str, owner: str, now_ms: int,
    bar_ms: int | None,
) -> None:  # fmt: skip
    """What was written can be read, and what cannot be told is not written."""
    documents = MemoryDocuments()
    ended = End(status, exit_code, slot, reason, run_id, "live", account)

    if beat(documents, owner, ended, VirtualClock(now_ms), bar_ms=bar_ms, log=QUIET):
        found = read_heartbeat(documents, owner)
        assert found is not None
        assert (found.status, found.exit_code, found.slot) == (status, exit_code, slot)


def test_a_damaged_one_is_told_to_readers_and_written_anew(documents: Documents) -> None:
    documents.create(f"heartbeat/{OWNER}", b"{}")
    with pytest.raises(StoreDamaged, match=f"heartbeat/{OWNER}"):
        read_heartbeat(documents, OWNER)

    assert end(documents, VirtualClock(START_MS), End(slot=SLOT))
    assert read_heartbeat(documents, OWNER) is not None


def test_one_of_a_newer_program_stays(documents: Documents) -> None:
    path = f"heartbeat/{OWNER}"
    raw, _ = seal(path, {"what": "ever"}, 99)
    documents.create(path, raw)

    assert not end(documents, VirtualClock(START_MS), End(slot=SLOT))
    there = documents.read(path)
    assert there is not None
    assert there.content == raw
    with pytest.raises(ConfigurationError, match="newer program"):
        read_heartbeat(documents, OWNER)


def test_a_document_that_is_sealed_but_no_heartbeat_is_damaged(documents: Documents) -> None:
    path = f"heartbeat/{OWNER}"
    documents.create(path, seal(path, {"account": "main"}, 1)[0])

    with pytest.raises(StoreDamaged, match="is not a heartbeat"):
        read_heartbeat(documents, OWNER)


def test_a_store_that_does_not_answer_is_told_to_readers() -> None:
    store = FlakyDocuments(MemoryDocuments())
    store.failures = 1

    with pytest.raises(StoreUnavailable):
        read_heartbeat(store, OWNER)


def test_no_secret_gets_into_it(documents: Documents) -> None:
    end(documents, VirtualClock(START_MS), End("failed", 1, SLOT, "GET /x?signature=abcdef0123456789 failed"))

    there = documents.read(f"heartbeat/{OWNER}")
    assert there is not None
    assert b"abcdef0123456789" not in there.content


def test_the_report_of_a_cycle_can_be_told(documents: Documents) -> None:
    """What a real cycle says of itself is enough."""
    world = World(documents=documents)
    world.to_slot(START_MS)
    report = world.cycle()

    assert beat(documents, OWNER, report, world.clock, bar_ms=HOUR_MS, log=QUIET)

    found = read_heartbeat(documents, OWNER)
    assert found is not None
    assert (found.status, found.slot_done, found.run_id) == (report.status, START_MS, "run")


def test_history_that_is_played_back_expects_no_slot(documents: Documents) -> None:
    end(documents, VirtualClock(START_MS), End(slot=SLOT), bar_ms=None)

    found = read_heartbeat(documents, OWNER)
    assert found is not None
    assert found.next_slot_ms is None


def test_a_start_that_was_refused_is_told_where_there_is_a_store(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    clock, refusal = VirtualClock(START_MS), ConfigurationError("live trading does not start: no credentials")

    assert not beat_refused_start(loaded(config), "live", "run", refusal, clock, QUIET)
    assert not (tmp_path / "state.sqlite").exists()
    documents = store_of(config)
    assert not beat_refused_start(loaded(config), "dry-run", "run", refusal, clock, QUIET)
    for count in (1, 2):
        assert beat_refused_start(loaded(config), "live", "run", refusal, clock, QUIET)
        found = read_heartbeat(documents, "main.Buyer")
        assert found is not None
        assert (found.status, found.exit_code, found.failures, found.slot) == ("refused", 77, count, None)
        assert found.failure is not None
        assert found.failure.reason == "live trading does not start: no credentials"
    beat_refused_start(loaded(config), "live", "run", StoreUnavailable("no answer"), clock, QUIET)
    found = read_heartbeat(documents, "main.Buyer")
    assert found is not None
    assert (found.status, found.exit_code) == ("no_decision", 75)
    documents.close()
