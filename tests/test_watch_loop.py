"""A watcher at work: real stores and cycles, a clock that moves when told, and channels that keep what people got."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cycle_world import World
from operator_world import store_of, write_config, write_paper_config
from venue.clock import VirtualClock
from watch_world import (
    HOUR_MS,
    OWNER,
    QUIET,
    START_MS,
    TOKEN,
    BotServer,
    Channel,
    End,
    FlakyDocuments,
    end,
)

from trading_runtime.cli import watch as watch_verb
from trading_runtime.cli.arguments import Parser
from trading_runtime.cli.main import main
from trading_runtime.core.errors import ConfigurationError, StoreDamaged, StoreUnavailable
from trading_runtime.cycle.heartbeat import beat
from trading_runtime.cycle.watch import Assessment
from trading_runtime.cycle.watch_alerts import Telling, is_transient, tell, watch_path
from trading_runtime.cycle.watch_facts import Retry, Watched
from trading_runtime.cycle.watch_limits import limits_of
from trading_runtime.cycle.watch_loop import Watcher, watch
from trading_runtime.notify.log import LogNotifier
from trading_runtime.notify.port import Message, Notifier, delivery_of
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.telemetry.log import EventLog

REPEAT_MS = 6 * HOUR_MS
WATCHED = Watched("main", "Alternate", HOUR_MS, 60_000, "there is no store")
Capture = pytest.CaptureFixture[str]


class Ward:
    """A watcher over a store, with a clock of its own and one channel to people."""

    def __init__(self, open_store: Callable[[], Documents | None], clock: VirtualClock, **options: Any) -> None:
        self.open_store, self.clock, self.options = open_store, clock, options
        self.channel = Channel()
        self.watcher = self.another()

    def another(self) -> Watcher:
        """A watcher that begins anew: another process."""
        telling = Telling([LogNotifier(QUIET), self.channel], Retry(), REPEAT_MS)
        limits = limits_of(HOUR_MS)
        return Watcher(self.open_store, self.options.get("watched", WATCHED), limits, telling, self.clock, QUIET)

    def look(self) -> Assessment:
        return self.watcher.look()

    def look_each_minute(self, minutes: int) -> list[str]:
        """Look once a minute; return the states in turn, each once."""
        states: list[str] = []
        for _ in range(minutes):
            self.clock.sleep(60)
            state = self.look().state
            if not states or states[-1] != state:
                states.append(state)
        return states


@pytest.fixture(params=["memory", "sqlite"])
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Documents]:
    store: Documents = MemoryDocuments() if request.param == "memory" else SqliteDocuments(tmp_path / "state.sqlite")
    yield store
    store.close()


@pytest.fixture
def open_store(documents: Documents, tmp_path: Path) -> Callable[[], Documents]:
    """How another process opens the store of ``documents``."""
    if isinstance(documents, MemoryDocuments):
        return lambda: documents
    return lambda: SqliteDocuments(tmp_path / "state.sqlite", create=False)


@pytest.fixture
def bot(monkeypatch: pytest.MonkeyPatch) -> Iterator[BotServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = BotServer()
    yield server
    server.close()


# --- cycles that stop, fail and come back


def test_cycles_that_run_are_healthy_and_nobody_is_told(documents: Documents, open_store: Any) -> None:
    world = World(documents=documents)
    ward = Ward(open_store, world.clock)
    for slot in range(START_MS, START_MS + 6 * HOUR_MS, HOUR_MS):
        world.to_slot(slot)
        assert beat(documents, OWNER, world.cycle(), world.clock, bar_ms=HOUR_MS, log=QUIET)
        for _ in range(5):
            found = ward.look()
            assert (found.state, found.slots_missed) == ("healthy", 0)
            world.clock.sleep(600)
    assert ward.channel.got == []


def test_cycles_that_stop_are_told_in_time_once_and_again_when_they_are_back(
    documents: Documents, open_store: Any
) -> None:
    world = World(documents=documents)
    ward = Ward(open_store, world.clock)
    world.to_slot(START_MS)
    assert beat(documents, OWNER, world.cycle(), world.clock, bar_ms=HOUR_MS, log=QUIET)
    ended_ms = world.clock.now_ms()

    told_ms = 0
    for _ in range(300):
        world.clock.sleep(60)
        ward.look()
        if ward.channel.got and not told_ms:
            told_ms = world.clock.now_ms()
    assert 4_500_000 < told_ms - ended_ms <= 4_560_000
    assert ward.channel.kinds() == ["watch_alert"]
    assert "the heartbeat is 1 h 16 min old, at most 1 h 15 min" in ward.channel.got[0].text
    # One more when it gets worse is part of the same incident; six hours later it is told again.
    ward.look_each_minute(360)
    assert ward.channel.kinds() == ["watch_alert"] * 2
    assert len(ward.channel.got[1].text.splitlines()) >= 4

    slot = START_MS + 12 * HOUR_MS
    world.to_slot(slot)
    assert beat(documents, OWNER, world.cycle(), world.clock, bar_ms=HOUR_MS, log=QUIET)
    ward.look_each_minute(30)
    assert ward.channel.kinds() == ["watch_alert"] * 2 + ["watch_recovery"]
    assert "the alert is over, told first 2024-01-01T01:" in ward.channel.got[2].text


def test_a_run_that_failed_is_told_at_once(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    end(documents, clock, End("failed", 70, START_MS, "the strategy broke its contract"))

    assert ward.look().state == "alert"
    assert ward.channel.got[0].text.splitlines() == [
        "main Alternate [watch] 2024-01-01T00:00:05Z: ALERT",
        "the last run failed (failed, exit code 70, 2024-01-01T00:00:05Z: the strategy broke its contract)",
        "last cycle: failed (exit code 70), 2024-01-01T00:00:05Z",
    ]
    clock.sleep(5)
    end(documents, clock, End("not_mine"))
    assert ward.look().state == "alert"
    clock.sleep(5)
    end(documents, clock, End(slot=START_MS))
    assert ward.look().state == "healthy"
    assert ward.channel.kinds() == ["watch_alert", "watch_recovery"]


def test_what_fails_again_after_it_was_over_is_told_again_at_once(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    for _ in range(3):
        for ended in (End("failed", 70, START_MS, "it broke"), End(slot=START_MS)):
            end(documents, clock, ended)
            ward.look()
            clock.sleep(60)
    assert ward.channel.kinds() == ["watch_alert", "watch_recovery"] * 3


def test_what_was_told_by_a_clock_that_was_ahead_keeps_nobody_quiet(documents: Documents, open_store: Any) -> None:
    ahead, clock = VirtualClock(START_MS + 30 * HOUR_MS), VirtualClock(START_MS + 5_000)
    end(documents, clock, End("failed", 70, START_MS, "it broke"))
    Ward(open_store, ahead).look()

    ward = Ward(open_store, clock)
    ward.look()
    ward.look()
    assert ward.channel.kinds() == ["watch_alert"]


def test_a_run_that_will_be_tried_again_is_told_only_when_it_goes_on(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    states = []
    for _ in range(4):
        end(documents, clock, End("no_decision", 75, None, "the exchange does not answer"))
        states.append(ward.look().state)
        clock.sleep(60)
    assert states == ["deferred", "deferred", "alert", "alert"]
    assert ward.channel.kinds() == ["watch_alert"]
    end(documents, clock, End(slot=START_MS))
    ward.look()
    assert ward.channel.kinds() == ["watch_alert", "watch_recovery"]


def test_something_new_that_is_wrong_is_told_at_once(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    end(documents, clock, End("failed", 70, START_MS, "it broke"))
    ward.look()
    clock.sleep(60)
    Control(documents, "main").halt("ann", "stop", clock.now_ms())
    there = documents.read("control/main")
    assert there is not None
    documents.replace("control/main", b"{}", there.version)

    found = ward.look()

    assert [one.kind for one in found.alerts] == ["control_unreadable", "run_failed"]
    assert ward.channel.kinds() == ["watch_alert"] * 2
    assert ward.look_each_minute(30) == ["alert"]
    assert len(ward.channel.got) == 2


def test_no_watch_however_it_flaps_tells_more_than_its_kinds_allow(documents: Documents, open_store: Any) -> None:
    """A day of minutes in which the reasons come and go but the alert never ends."""
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    for minute in range(24 * 60):
        end(documents, clock, End("failed", 70 if minute % 2 else 75, START_MS, "it broke"))
        ward.look()
        clock.sleep(60)
    # run_failed, failures_repeated and slots_missed: together again every six hours, and each once more when it is new.
    assert 4 <= len(ward.channel.got) <= 3 * 4 + 1


def test_stale_upstream_is_seen_and_the_built_in_universe_is_told(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    end(documents, clock, End(slot=START_MS, publication={"source_kind": "last_known_good"}))
    assert ward.look().state == "deferred"
    clock.sleep(1)
    end(documents, clock, End(slot=START_MS, publication={"source_kind": "static"}))
    assert ward.look().state == "alert"
    assert ward.channel.kinds() == ["watch_alert"]
    assert "only the built-in universe is left" in ward.channel.got[0].text
    clock.sleep(1)
    end(documents, clock, End(slot=START_MS, publication={"source_kind": "last_known_good"}))
    assert ward.look().state == "deferred"
    assert ward.channel.kinds() == ["watch_alert", "watch_recovery"]


def test_a_store_that_fails_in_the_middle_is_asked_again_and_is_no_halt(tmp_path: Path) -> None:
    """Whichever of a look's questions it leaves unanswered."""
    waited = []
    for nth in range(12):
        store = FlakyDocuments(MemoryDocuments())
        clock = VirtualClock(START_MS + 5_000)
        end(store, clock, End(slot=START_MS))
        ward = Ward(lambda store=store: store, clock)
        store.fails_at = nth

        found = ward.look()

        assert found.state == "healthy", nth
        waited.append(clock.now_ms() - START_MS - 5_000)
    assert set(waited) == {0, 15_000}


# --- people and leases


def test_a_halt_by_a_person_is_parked_and_needs_its_cycles(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    end(documents, clock, End("halted", 0, START_MS))
    Control(documents, "main").halt("ann", "fills look wrong", clock.now_ms())

    found = ward.look()
    assert (found.state, [one.kind for one in found.reasons]) == ("parked", ["halted"])
    assert "halted by ann" in found.reasons[0].text
    assert ward.look_each_minute(90) == ["parked", "deferred", "alert"]
    assert "halted by ann" in ward.channel.got[0].text
    end(documents, clock, End("halted", 0, START_MS + HOUR_MS))
    assert ward.look().state == "parked"
    assert ward.channel.kinds() == ["watch_alert", "watch_recovery"]


def test_a_run_in_progress_is_parked_until_it_takes_too_long(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    end(documents, clock, End(slot=START_MS))
    clock.advance_to(START_MS + HOUR_MS + 5_000)
    lease = Lease(documents, OWNER, "pod-7", 60.0)
    assert lease.acquire(clock.now_ms()) is not None

    seen: list[str] = []
    for minute in range(70):
        clock.sleep(60)
        assert lease.renew(clock.now_ms()) is not None
        if minute % 2:
            ward.watcher = ward.another()  # also when each look is another process
        seen.append(ward.look().state)
    assert seen == ["parked"] * 61 + ["alert"] * 9
    assert ward.channel.kinds() == ["watch_alert"]
    assert "pod-7 is at work for more than 1 h" in ward.channel.got[0].text
    lease.release()
    end(documents, clock, End(slot=START_MS + HOUR_MS))
    assert ward.look().state in ("healthy", "deferred")


def test_a_run_that_was_cut_off_is_deferred_until_the_next_one(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    end(documents, clock, End(slot=START_MS))
    clock.sleep(100)
    assert Lease(documents, OWNER, "pod-7", 60.0).acquire(clock.now_ms()) is not None
    assert ward.look().state == "parked"
    clock.sleep(120)

    found = ward.look()
    assert (found.state, found.reasons[0].kind) == ("deferred", "run_cut_off")
    end(documents, clock, End("already_done", 0, START_MS))
    assert ward.look().state == "healthy"
    assert ward.channel.got == []


def test_a_watcher_takes_no_lease_and_writes_only_what_it_told(documents: Documents, open_store: Any) -> None:
    world = World(documents=documents)
    world.to_slot(START_MS)
    world.cycle()
    paths = ("state/main.Alternate", "accounts/main.Alternate", "leases/main.Alternate", "control/main")
    before = [documents.read(path) for path in paths]
    ward = Ward(open_store, world.clock)

    ward.look()
    ward.look_each_minute(100)

    assert [documents.read(path) for path in paths] == before
    assert documents.read(watch_path(OWNER)) is not None
    assert documents.names("watch") == [OWNER]


# --- what was told is remembered


def test_a_watcher_that_begins_anew_does_not_repeat_what_was_told(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    end(documents, clock, End("failed", 70, START_MS, "it broke"))
    for _ in range(20):
        ward.watcher = ward.another()
        assert ward.look().exit_code == 78
        clock.sleep(60)
    assert ward.channel.kinds() == ["watch_alert"]
    end(documents, clock, End(slot=START_MS))
    for _ in range(5):
        ward.watcher = ward.another()
        ward.look()
    assert ward.channel.kinds() == ["watch_alert", "watch_recovery"]


def test_two_watchers_share_what_they_told(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    second = ward.another()
    end(documents, clock, End(slot=START_MS))
    ward.look()
    second.look()
    end(documents, clock, End("failed", 70, START_MS, "it broke"))
    for _ in range(10):
        ward.look()
        second.look()
        clock.sleep(60)
    assert ward.channel.kinds() == ["watch_alert"]


def test_a_store_that_cannot_be_written_makes_no_storm() -> None:
    store = FlakyDocuments(MemoryDocuments())
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(lambda: store, clock)
    end(store, clock, End("failed", 70, START_MS, "it broke"))
    store.reads_only = True

    ward.look_each_minute(60)
    assert ward.channel.kinds() == ["watch_alert"]
    end(store.base, clock, End(slot=START_MS))
    ward.look_each_minute(5)
    assert ward.channel.kinds() == ["watch_alert", "watch_recovery"]


@pytest.mark.parametrize("content", [b"{}", b'{"account":"main"}'])
def test_what_cannot_be_recalled_is_told_again_and_remembered_anew(content: bytes) -> None:
    documents = MemoryDocuments()
    documents.create(watch_path(OWNER), content)
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(lambda: documents, clock)
    end(documents, clock, End("failed", 70, START_MS, "it broke"))

    for _ in range(3):
        ward.watcher = ward.another()
        ward.look()
    assert ward.channel.kinds() == ["watch_alert"]


def test_what_could_not_be_recalled_for_a_moment_is_not_forgotten() -> None:
    """A watcher that begins anew each time, with a store that leaves one question in each look unanswered."""
    store = FlakyDocuments(MemoryDocuments())
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(lambda: store, clock)
    end(store, clock, End("failed", 70, START_MS, "it broke"))
    ward.look()
    there = store.base.read(watch_path(OWNER))
    assert there is not None
    since_ms = json.loads(there.content)["since_ms"]

    for nth in range(12):
        ward.watcher = ward.another()
        store.fails_at = nth
        clock.sleep(1)
        ward.look()
        now = store.base.read(watch_path(OWNER))
        assert now is not None
        assert json.loads(now.content)["since_ms"] == since_ms, nth
    assert len(ward.channel.got) == 2  # once more by the one that could not know


# --- a store that is away


def test_a_store_that_is_away_for_a_moment_is_asked_again() -> None:
    store = FlakyDocuments(MemoryDocuments())
    clock = VirtualClock(START_MS + 5_000)
    end(store, clock, End(slot=START_MS))
    ward = Ward(lambda: store, clock)
    store.failures = 3

    assert ward.look().state == "healthy"
    assert clock.now_ms() == START_MS + 5_000 + 15_000 + 30_000 + 45_000
    assert store.closed == 4
    assert ward.channel.got == []


def test_a_watcher_that_cannot_see_says_so_and_says_when_it_can_again() -> None:
    store = FlakyDocuments(MemoryDocuments())
    clock = VirtualClock(START_MS + 5_000)
    end(store, clock, End(slot=START_MS))
    ward = Ward(lambda: store, clock)
    store.failures = 4 * 5

    for _ in range(5):
        found = ward.look()
        assert (found.state, found.exit_code, found.slots_missed) == ("alert", 75, None)
    assert ward.channel.kinds() == ["watch_alert"]
    assert "the store cannot be read, nothing is known: the store does not answer" in ward.channel.got[0].text
    assert ward.look().state == "healthy"
    assert ward.channel.kinds() == ["watch_alert", "watch_recovery"]
    assert ward.look().state == "healthy"
    assert len(ward.channel.got) == 2


@pytest.mark.parametrize(
    ("error", "exit_code", "kind"),
    [
        (StoreUnavailable("no route"), 75, "store_unreachable"),
        (ConfigurationError("the credentials are not accepted"), 77, "store_refused"),
        (StoreDamaged("state.sqlite is no database"), 78, "document_damaged"),
    ],
)
def test_a_store_that_cannot_be_opened_is_an_alert(error: Exception, exit_code: int, kind: str) -> None:
    def broken() -> Documents | None:
        raise error

    ward = Ward(broken, VirtualClock(START_MS))

    found = ward.look()

    assert (found.exit_code, found.alerts[0].kind) == (exit_code, kind)
    assert ward.channel.kinds() == ["watch_alert"]


def test_no_store_at_all_is_an_alert() -> None:
    ward = Ward(lambda: None, VirtualClock(START_MS))

    assert ward.look().exit_code == 78
    assert "there is no store" in ward.channel.got[0].text


# --- delivery


@pytest.mark.parametrize(
    ("script", "requests", "waits", "is_told"),
    [
        ([], 1, 0, True),
        # A channel repeats once by itself, at once; that is one attempt here.
        ([503, 503], 3, 15, True),
        ([429, 429, 500, 502], 5, 45, True),
        ([0, 0, 504, 504, 0, 0], 7, 90, True),
        ([503] * 50, 8, 90, False),
        ([400], 1, 0, False),
        ([401], 1, 0, False),
        ([403], 1, 0, False),
        ([404], 1, 0, False),
    ],
)
def test_telegram_is_tried_four_times_when_it_may_help(
    bot: BotServer, script: list[int], requests: int, waits: int, is_told: bool
) -> None:
    bot.script = list(script)
    clock = VirtualClock(START_MS)
    telling = Telling([LogNotifier(QUIET), bot.notifier()], Retry(), REPEAT_MS)

    assert tell(Message("watch_alert", "something stopped"), telling, clock, QUIET) is is_told

    assert bot.requests == requests
    assert clock.now_ms() == START_MS + waits * 1000
    assert bot.texts == (["something stopped"] if is_told else [])


def test_a_telegram_that_does_not_answer_at_all_is_tried_again() -> None:
    closed = BotServer()
    closed.close()
    clock = VirtualClock(START_MS)
    telling = Telling([closed.notifier()], Retry(), REPEAT_MS)

    assert not tell(Message("watch_alert", "something stopped"), telling, clock, QUIET)
    assert clock.now_ms() == START_MS + 90_000


def test_a_timeout_may_pass_and_a_broken_channel_may_not() -> None:
    message = Message("watch_alert", "something stopped")

    def said(detail: str) -> bool:
        return is_transient(delivery_of(message, "telegram", delivered=False, detail=detail, attempts=1))

    assert said("no answer within 10 s; it may have arrived")
    assert said("no answer in time; it may have arrived")
    assert not said("no trusted connection (TLS)")
    assert not said("the channel failed: KeyError")
    assert not said("HTTP 5000")
    assert not is_transient(delivery_of(message, "telegram", delivered=True, detail="HTTP 500", attempts=1))


def test_an_alert_that_nobody_got_is_tried_with_each_look_until_somebody_does() -> None:
    documents = MemoryDocuments()
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(lambda: documents, clock)
    end(documents, clock, End("failed", 70, START_MS, "it broke"))
    ward.channel.script = ["HTTP 403: blocked", "HTTP 403: blocked"]

    for _ in range(5):
        ward.look()
    assert (ward.channel.tried, ward.channel.kinds()) == (3, ["watch_alert"])


def test_a_recovery_of_what_nobody_was_told_is_not_told() -> None:
    documents = MemoryDocuments()
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(lambda: documents, clock)
    end(documents, clock, End("failed", 70, START_MS, "it broke"))
    ward.channel.script = ["HTTP 403: blocked"]
    ward.look()
    end(documents, clock, End(slot=START_MS))

    ward.look()
    assert ward.channel.got == []


def test_one_channel_that_is_blocked_keeps_nothing_from_the_other() -> None:
    blocked, open_, clock = Channel("telegram:one"), Channel("telegram:two"), VirtualClock(START_MS)
    blocked.script = ["HTTP 403: blocked"] * 9
    open_.script = ["HTTP 503: later"]
    notifiers: list[Notifier] = [blocked, open_]

    assert tell(Message("watch_alert", "x"), Telling(notifiers, Retry(), REPEAT_MS), clock, QUIET)
    assert (blocked.tried, open_.tried, len(open_.got)) == (1, 2, 1)


def test_without_a_channel_to_people_the_log_has_it_once_per_incident(tmp_path: Path) -> None:
    lines = tmp_path / "log"
    with lines.open("w") as stream:
        log = EventLog(stream=stream)
        documents, clock = MemoryDocuments(), VirtualClock(START_MS + 5_000)
        telling = Telling([LogNotifier(log)], Retry(), REPEAT_MS)
        watcher = Watcher(lambda: documents, WATCHED, limits_of(HOUR_MS), telling, clock, log)
        end(documents, clock, End("failed", 70, START_MS, "it broke"))
        for _ in range(5):
            watcher.look()
    written = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [one["event"] for one in written].count("notification") == 1
    assert [one["state"] for one in written if one["event"] == "watch"] == ["alert"] * 5


def test_no_secret_reaches_people_or_the_log(bot: BotServer, tmp_path: Path) -> None:
    documents, clock = MemoryDocuments(), VirtualClock(START_MS + 5_000)
    bot.script = [401]
    lines = tmp_path / "log"
    with lines.open("w") as stream:
        log = EventLog(stream=stream)
        telling = Telling([LogNotifier(log), bot.notifier()], Retry(), REPEAT_MS)

        def broken() -> Documents | None:
            raise StoreUnavailable("GET https://x/?signature=abcdef0123456789 did not answer")

        watcher = Watcher(broken, WATCHED, limits_of(HOUR_MS), telling, clock, log)
        watcher.look()
        watcher.look()
        del documents
    assert len(bot.texts) == 1
    assert "signature=***" in bot.texts[0]
    assert TOKEN not in lines.read_text()
    assert "abcdef0123456789" not in lines.read_text()


# --- the loop and the command


def test_the_loop_looks_again_and_again_until_it_is_ended(documents: Documents, open_store: Any) -> None:
    clock = VirtualClock(START_MS + 5_000)
    ward = Ward(open_store, clock)
    end(documents, clock, End(slot=START_MS))

    def stop() -> None:
        raise KeyboardInterrupt

    clock.at(START_MS + 3 * HOUR_MS, stop)
    shown: list[Assessment] = []
    with pytest.raises(KeyboardInterrupt):
        watch(ward.watcher, 600.0, clock, shown.append)
    assert len(shown) == 18
    assert [one.state for one in shown] == ["healthy"] * 8 + ["alert"] * 10
    assert ward.channel.kinds() == ["watch_alert"]


def run(capsys: Capture, *words: str | Path) -> tuple[int, str, str]:
    """Run the command in this process: exit code, stdout, stderr."""
    parser = Parser(prog="trading-runtime")
    watch_verb.add_parser(parser.add_subparsers(dest="verb", required=True))
    arguments: argparse.Namespace = parser.parse_args(["watch", *map(str, words)])
    code = arguments.handler(arguments)
    done = capsys.readouterr()
    return code, done.out, done.err


def now_clock() -> VirtualClock:
    from trading_runtime.cycle.clock import SystemClock

    return VirtualClock(SystemClock().now_ms())


def test_once_ends_with_an_exit_code(capsys: Capture, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    code, out, _ = run(capsys, "--config", config, "--once")
    assert code == 78
    assert "there is no store at" in out
    assert not (tmp_path / "state.sqlite").exists()

    documents, clock = store_of(config), now_clock()
    code, out, _ = run(capsys, "--config", config, "--once")
    assert code == 78
    assert "no cycle of Buyer on account main has ended in this store yet" in out
    buyer = End(slot=clock.now_ms() // HOUR_MS * HOUR_MS, strategy="Buyer")
    beat(documents, "main.Buyer", buyer, clock, bar_ms=HOUR_MS, log=QUIET)
    code, out, _ = run(capsys, "--config", config, "--once")
    assert code == 0
    assert out.splitlines()[0].endswith("main (Buyer): healthy")
    assert "last cycle: done (exit code 0)" in out
    code, out, _ = run(capsys, "--config", config, "--once", "--json")
    shown = json.loads(out)
    assert (code, shown["state"], shown["reasons"], shown["last_cycle"]["status"]) == (0, "healthy", [], "done")
    beat(documents, "main.Buyer", buyer._replace(status="failed", exit_code=70), clock, bar_ms=HOUR_MS, log=QUIET)
    code, out, _ = run(capsys, "--config", config, "--once", "--json")
    assert (code, json.loads(out)["exit_code"]) == (78, 78)
    documents.close()


def test_a_store_that_is_no_store_is_an_alert(capsys: Capture, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "state.sqlite").write_bytes(b"this is no database at all" * 100)

    code, out, _ = run(capsys, "--config", config, "--once", "--retry-seconds", "1", "--json")

    assert code in (75, 78)
    assert json.loads(out)["state"] == "alert"


def test_a_store_of_this_process_alone_is_refused(capsys: Capture, tmp_path: Path) -> None:
    config = write_config(tmp_path, store={"kind": "memory"})

    with pytest.raises(ConfigurationError, match="seen by no other process"):
        run(capsys, "--config", config, "--once")


def test_history_that_is_played_back_is_judged_without_wall_time(capsys: Capture, tmp_path: Path) -> None:
    config = write_paper_config(tmp_path)
    documents = store_of(config)
    ended = End(slot=START_MS, mode="paper", account="paper", strategy="Buyer")
    beat(documents, "paper.Buyer", ended, VirtualClock(START_MS), bar_ms=None, log=QUIET)
    documents.close()

    code, out, _ = run(capsys, "--config", config, "--once", "--json")

    shown = json.loads(out)
    assert (code, shown["state"], shown["slots_missed"]) == (0, "healthy", None)
    assert shown["notes"] == ["history is played back: age and slots by wall time say nothing"]


@pytest.mark.parametrize(
    "words", [("--every", "0"), ("--every", "soon"), ("--slots-missed", "-1"), ("--heartbeat-seconds", "nan")]
)
def test_limits_that_are_none_are_refused(capsys: Capture, tmp_path: Path, words: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(capsys, "--config", write_config(tmp_path), *words)
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_loop_prints_a_line_for_each_look_and_ends_on_terminate(tmp_path: Path) -> None:
    """A process of its own, as in a pod."""
    config = write_config(tmp_path)
    store_of(config).close()
    program = (
        "import sys\n"
        "from trading_runtime.cli.arguments import Parser\n"
        "from trading_runtime.cli import main, watch\n"
        "main.prepare_process()\n"
        "parser = Parser(prog='x')\n"
        "watch.add_parser(parser.add_subparsers(dest='verb'))\n"
        f"arguments = parser.parse_args(['watch', '--config', {str(config)!r}, '--every', '1', '--json'])\n"
        "try:\n"
        "    arguments.handler(arguments)\n"
        "except main.Terminated:\n"
        "    sys.exit(143)\n"
    )
    path = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{path}:{path.parent}"},
    )
    guard = threading.Timer(60.0, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
        guard.cancel()
    assert [one["state"] for one in lines] == ["alert", "alert"]
    assert process.returncode == 143


def test_a_watcher_loads_no_heavy_library(tmp_path: Path) -> None:
    """It may run in a small pod for months."""
    config = write_config(tmp_path)
    store_of(config).close()
    program = (
        "import sys\n"
        "from trading_runtime.cli.arguments import Parser\n"
        "from trading_runtime.cli import watch\n"
        "parser = Parser(prog='x')\n"
        "watch.add_parser(parser.add_subparsers(dest='verb'))\n"
        f"arguments = parser.parse_args(['watch', '--config', {str(config)!r}, '--once'])\n"
        "assert arguments.handler(arguments) == 78\n"
        "heavy = ('numba', 'pyarrow', 'plotly', 'pandas', 'ccxt', 'google.cloud.firestore', 'kubernetes', 'hera')\n"
        "print('loaded', [name for name in heavy if name in sys.modules])\n"
    )
    path = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=path,
        check=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{path}:{path.parent}"},
    )
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_the_cycles_of_the_command_are_seen_by_the_watch_of_the_command(capsys: Capture, tmp_path: Path) -> None:
    """Cycle and watch as people start them; the last cycle has a strategy that breaks its contract."""
    config = write_paper_config(tmp_path)
    for _ in range(2):
        assert main(["cycle", "--config", str(config), "--mode", "paper"]) == 0
    capsys.readouterr()
    assert main(["watch", "--config", str(config), "--once", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["last_cycle"]["status"]) == ("healthy", "done")
    assert shown["last_cycle"]["slot_done"] == shown["last_cycle"]["slot"]

    (tmp_path / "broken.py").write_text(
        "from trading_runtime.core.strategy import Strategy\n\n\n"
        "class Buyer(Strategy):\n"
        "    def decide(self, inputs):\n"
        "        raise ValueError('it broke')\n"
    )
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "strategy": {"class": "broken.py:Buyer"}}))
    code = main(["cycle", "--config", str(config), "--mode", "paper"])
    assert code == 70
    capsys.readouterr()
    assert main(["watch", "--config", str(config), "--once", "--json"]) == 78
    shown = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in shown["reasons"]] == ["run_failed"]
    assert "exit code 70" in shown["reasons"][0]["text"]
