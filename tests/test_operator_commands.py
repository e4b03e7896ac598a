"""What an operator does: control, status, preflight and reconcile, on real stores and Binance's REST over loopback."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import ccxt_world
import cycle_world
import pytest
from hypothesis import given
from hypothesis import strategies as some
from operator_world import (
    GOOD_RIGHTS,
    Bidder,
    ImpatientClock,
    RightsServer,
    environment_of,
    live_cycle,
    loaded,
    store_of,
    write_config,
    write_paper_config,
)
from venue.faults import OK, Fate, Faults, error, lost_answer, lost_request
from venue.orders import NewOrder

from trading_runtime.cli.main import main
from trading_runtime.cli.preflight import text_of as preflight_text
from trading_runtime.cli.reconcile import compare
from trading_runtime.cli.reconcile import text_of as reconcile_text
from trading_runtime.cli.status import text_of as status_text
from trading_runtime.cli.verbs import make_parser
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.risk import RiskLimits
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import parse_time
from trading_runtime.cycle.build import live_obstacles
from trading_runtime.cycle.preflight import NAMES, Check, exit_code, preflight
from trading_runtime.cycle.reconcile import Reconciliation, reconcile
from trading_runtime.cycle.run import run_cycle
from trading_runtime.cycle.status import AccountStatus, holder_of, read_status
from trading_runtime.stores.control import Control
from trading_runtime.stores.journal import Journal
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.state_store import StateStore

HOUR_MS = cycle_world.HOUR_MS
START_MS = cycle_world.START_MS
ROOT = Path(__file__).parents[1]

Capture = pytest.CaptureFixture[str]


def run(capture: Capture, *words: str | Path) -> tuple[int, str, str]:
    """Run a command in this process: exit code, stdout, stderr."""
    code = main([str(word) for word in words])
    done = capture.readouterr()
    return code, done.out, done.err


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def rows_of(path: Path) -> list[Any]:
    """Every document of a SQLite store with its version: what a reader must leave as it was."""
    with sqlite3.connect(path.parent / "state.sqlite") as connection:
        return connection.execute("SELECT collection, name, content, version FROM documents ORDER BY 1, 2").fetchall()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


# --- control


def test_an_account_can_be_halted_before_any_cycle_ran(capsys: Capture, config: Path) -> None:
    code, out, err = run(capsys, "control", "halt", "--config", config, "--why", "not yet", "--who", "ann")

    assert code == 0
    assert "halted by ann" in out
    assert "until somebody resumes: not yet" in out
    assert "reductions and cancels still pass" in out.lower()
    assert "trading-runtime cycle --config" in out
    assert "--flatten" in out
    assert "no cycle of account main has run in this store" in err
    view = Control(store_of(config), "main").read(START_MS)
    assert (view.risk, view.allows_risk, view.flatten, view.until_ms) == ("halt", False, False, None)


def test_a_halt_reaches_the_next_cycle_and_flatten_the_slot_that_is_done(capsys: Capture, tmp_path: Path) -> None:
    config = write_paper_config(tmp_path)
    for _ in range(3):
        assert run(capsys, "cycle", "--config", config, "--mode", "paper")[0] == 0
    held = run(capsys, "reconcile", "--config", config, "--json")[1]
    assert json.loads(held)["symbols"][0]["book"] != "0"

    assert run(capsys, "control", "halt", "--config", config, "--why", "stop")[0] == 0
    code, out, _ = run(capsys, "cycle", "--config", config, "--mode", "paper", "--json")
    assert (code, json.loads(out)["status"]) == (0, "halted")
    code, out, err = run(capsys, "control", "halt", "--config", config, "--why", "all of it", "--flatten")
    assert code == 0
    assert "also one of a slot that was decided already" in out
    assert err == ""
    for _ in range(2):
        code, out, _ = run(capsys, "cycle", "--config", config, "--mode", "paper", "--json")
    assert (code, json.loads(out)["reason"]) == (78, "everything is closed")
    held = run(capsys, "reconcile", "--config", config, "--json")[1]
    assert json.loads(held)["symbols"][0]["book"] == "0"


def test_a_halt_replaces_a_document_that_cannot_be_read(capsys: Capture, config: Path) -> None:
    documents = store_of(config)
    documents.create("control/main", b'{"nonsense": 1}')

    code, out, _ = run(capsys, "control", "show", "--config", config)
    assert code == 78
    assert "cannot be read, so there is no new risk" in out
    code, _, err = run(capsys, "control", "resume", "--config", config, "--why", "fine")
    assert code == 78
    assert "acts as if halted" in err
    assert run(capsys, "control", "halt", "--config", config, "--why", "write it anew", "--flatten")[0] == 0
    code, out, _ = run(capsys, "control", "show", "--config", config, "--json")
    shown = json.loads(out)
    assert (code, shown["risk"], shown["flatten"], shown["unreadable"]) == (0, "halt", True, False)


def test_everything_that_was_changed_is_shown_with_who_and_why(
    capsys: Capture, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "grace")
    word = ["--config", str(config)]

    assert run(capsys, "control", "pause", *word, "--why", "rate decision", "--for", "2h")[0] == 0
    code, _, _ = run(capsys, "control", "override", "breaker", *word, "--why", "known", "--for", "3h", "--who", "ann")
    assert code == 0
    assert run(capsys, "control", "revoke", "breaker", *word, "--why", "over", "--who", "ann")[0] == 0
    assert run(capsys, "control", "resume", *word, "--why", "done")[0] == 0
    code, _, _ = run(capsys, "control", "override", "untracked_orders", *word, "--why", "my own bid", "--for", "1d")
    assert code == 0
    code, out, _ = run(capsys, "control", "show", *word, "--json")

    shown = json.loads(out)
    assert code == 0
    assert [(one["action"], one["name"], one["who"], one["why"]) for one in shown["changes"]] == [
        ("override", "untracked_orders", "grace", "my own bid"),
        ("resume", "", "grace", "done"),
        ("revoke", "breaker", "ann", "over"),
        ("override", "breaker", "ann", "known"),
        ("pause", "", "grace", "rate decision"),
    ]
    (override,) = shown["overrides"]
    assert parse_time(override["until"]) - parse_time(override["since"]) == 24 * HOUR_MS
    _, out, _ = run(capsys, "control", "show", *word, "--changes", "2")
    assert "my own bid" in out
    assert "rate decision" not in out


@given(count=some.integers(1, 999), unit=some.sampled_from("smhdw"))
def test_a_length_of_time_ends_that_much_later(count: int, unit: str) -> None:
    from trading_runtime.cli.control import _end_ms

    words = ["control", "pause", "--config", "x", "--why", "y", "--for", f"{count}{unit}"]
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[unit]

    assert _end_ms(make_parser().parse_args(words), START_MS) == START_MS + count * seconds * 1000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pause", "--why", "x"], "one of the arguments --until --for is required"),
        (["pause", "--why", "x", "--for", "soon"], "--for: not a length of time: 'soon'"),
        (["pause", "--why", "x", "--for", "0h"], "not a length of time"),
        (["pause", "--why", "x", "--until", "tomorrow"], "--until: not a time: 'tomorrow'"),
        (["pause", "--why", "x", "--until", "2020-01-01"], "is not after now"),
        (["pause", "--why", "x", "--until", "2199-01-01", "--for", "2h"], "not allowed with argument"),
        (["halt"], "needs --why"),
        (["halt", "--why", " "], "say why"),
        (["resume", "--why", "x" * 501], "say why"),
        (["override", "everything", "--why", "x", "--for", "1h"], "there is no override 'everything'"),
        (["override", "breaker", "--why", "x", "--for", "2d"], "lasts at most 24 hours"),
        (["revoke", "everything", "--why", "x"], "there is no override 'everything'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    capsys: Capture, config: Path, words: list[str], expected: str
) -> None:
    code, out, err = run(capsys, "control", words[0], *words[1:], "--config", config)

    assert code == 2
    assert out == ""
    assert expected in err
    assert len(err.splitlines()) == 1
    store = config.parent / "state.sqlite"
    assert not store.exists() or [row[:2] for row in rows_of(config)] == []


def test_a_control_document_whose_bytes_the_disk_changed_is_a_halt_and_that_is_said(
    capsys: Capture, config: Path
) -> None:
    assert run(capsys, "control", "override", "breaker", "--config", config, "--why", "x", "--for", "1h")[0] == 0
    with sqlite3.connect(config.parent / "state.sqlite") as connection:
        connection.execute("UPDATE documents SET content = ? WHERE collection = 'control'", [b"{}"])

    code, out, err = run(capsys, "control", "halt", "--config", config, "--why", "x")
    assert (code, out) == (78, "")
    assert "every cycle acts as if halted" in err
    assert not Control(store_of(config), "main").read(START_MS).allows_risk


def test_a_pause_does_not_end_a_halt(capsys: Capture, config: Path) -> None:
    assert run(capsys, "control", "halt", "--config", config, "--why", "stop", "--who", "ann")[0] == 0
    before = rows_of(config)

    code, _, err = run(capsys, "control", "pause", "--config", config, "--why", "lunch", "--for", "1h")

    assert code == 2
    assert "is halted by ann (stop)" in err
    assert rows_of(config) == before


def test_a_store_that_cannot_be_reached_is_said_and_nothing_else(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = write_config(tmp_path, store={"kind": "sqlite", "path": "file/state.sqlite"})

    code, out, err = run(capsys, "control", "halt", "--config", config, "--why", "x")

    assert (code, out, len(err.splitlines())) == (75, "", 1)


@pytest.mark.parametrize("words", [["control", "halt", "--why", "x"], ["control", "show"], ["status"], ["reconcile"]])
def test_a_store_that_no_other_process_sees_is_refused(capsys: Capture, tmp_path: Path, words: list[str]) -> None:
    config = write_config(tmp_path, store={"kind": "memory"})

    code, _, err = run(capsys, *words, "--config", config)

    assert code == 77
    assert "store.kind memory is seen by no other process" in err


def test_an_account_can_be_halted_whose_strategy_is_broken(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    config = write_config(tmp_path, strategy={"class": "broken.py:Broken"})

    assert run(capsys, "control", "halt", "--config", config, "--why", "x")[0] == 0
    assert run(capsys, "status", "--config", config)[0] == 70


def test_looking_at_the_control_document_creates_no_store(capsys: Capture, config: Path) -> None:
    before = everything(config.parent)

    code, out, _ = run(capsys, "control", "show", "--config", config)

    assert (code, everything(config.parent)) == (0, before)
    assert "run: risk is allowed" in out


# --- status


def status_of(world: cycle_world.World, *, seconds: float = 5.0, slots: int = 0, **options: Any) -> AccountStatus:
    """The status ``seconds`` and ``slots`` after the world's present."""
    now_ms = world.clock.now_ms() + round(seconds * 1000) + slots * HOUR_MS
    return read_status(world.documents, "main", world.strategy.__qualname__, "1h", now_ms, **options)


def test_where_nothing_is_there_status_says_so_in_one_line(capsys: Capture, config: Path) -> None:
    before = everything(config.parent)

    code, out, _ = run(capsys, "status", "--config", config)
    assert (code, len(out.splitlines()), everything(config.parent)) == (3, 1, before)
    assert f"there is no store at {config.parent / 'state.sqlite'}" in out
    store_of(config).close()
    code, out, _ = run(capsys, "status", "--config", config)
    assert (code, len(out.splitlines())) == (3, 1)
    assert "no cycle of Buyer on account main has run in this store yet" in out


def test_status_tells_what_the_cycles_reported() -> None:
    world = cycle_world.World()
    reports = []
    for number in range(8):
        world.to_slot(START_MS + number * HOUR_MS)
        reports.append(world.cycle(run_id=f"run-{number}"))
    status = status_of(world, cycles=5)

    assert (status.verdict, status.slots_behind, status.mode) == ("healthy", 0, "live")
    assert [one["run_id"] for one in status.cycles] == [f"run-{number}" for number in (7, 6, 5, 4, 3)]
    for one, report in zip(status.cycles, reversed(reports), strict=False):
        told = report.to_json()
        assert (one["slot"], one["status"], one["sent"]) == (told["slot"], told["status"], told["sent"])
        assert one["orders"] == sum(len(decision["orders"]) for decision in report.decisions)
        assert one["fills"] == len(report.fills)
    equity = reports[-1].equity
    assert {name: status.book[name] for name in ("equity", "cash", "flows", "currency", "positions")} == equity
    assert status.marked == reports[-1].to_json()["slot"]
    state, book = world.kept().state, status.book
    unrealised = sum(
        Decimal(one["value"]) - Decimal(state.positions[one["symbol"]].cost) / cycle_world.UNIT
        for one in book["positions"]
    )
    start = Decimal(world.start_cash) / cycle_world.UNIT
    earned = Decimal(book["realised"]) - Decimal(book["fees"]) - Decimal(book["funding"])
    assert Decimal(book["equity"]) == start + Decimal(book["flows"]) + earned + unrealised
    text = status_text(status)
    assert "healthy: slot 2024-01-01T07:00:00Z, 0 slots behind" in text
    assert len(re.findall(r"^  2024-01-01T0\d:00:00Z", text, flags=re.MULTILINE)) == 5


def test_reading_the_status_writes_nothing() -> None:
    documents = MemoryDocuments()
    world = cycle_world.World(documents=documents)
    world.cycle()
    Lease(documents, "main.Alternate", "two", 60.0).acquire(world.clock.now_ms())
    del documents._documents["accounts/main.Alternate"]  # what a cycle would write anew
    before = dict(documents._documents)

    for seconds in (5.0, 500.0):
        status_of(world, seconds=seconds)

    assert documents._documents == before


@pytest.mark.parametrize("slots", [0, 1, 2, 3, 100])
def test_more_than_two_slots_behind_need_a_person(slots: int) -> None:
    world = cycle_world.World()
    world.cycle()

    status = status_of(world, slots=slots)

    assert status.slots_behind == slots
    assert status.verdict == ("attention" if slots > 2 else "healthy")
    assert status_of(world, slots=slots, plays_back=True).reasons == []
    assert any(f"{slots} slots behind" in reason for reason in status.reasons) == (slots > 2)


def test_an_order_of_unknown_fate_needs_a_person_unless_a_cycle_is_at_work() -> None:
    world = cycle_world.World()
    faults = Faults()
    faults.then("place", lost_answer())
    faults.then("order", *[error(503)] * 40)
    report = world.cycle(exchange=world.exchange(faults))
    assert report.status == "unresolved"

    status = status_of(world)
    assert status.verdict == "attention"
    (order,) = status.orders
    assert order["phase"] == "claimed"
    assert any(f"the fate of order {order['order_id']}" in reason for reason in status.reasons)
    assert list(status.quarantine) == ["BTC/USDT"]
    lease = Lease(world.documents, "main.Alternate", "two", 60.0)
    lease.acquire(world.clock.now_ms())
    running = status_of(world)
    assert running.lease["state"] == "held"
    assert any("a cycle is at work: the fate of order" in note for note in running.notes)
    lease.release()
    assert world.cycle().status == "done"
    assert status_of(world).reasons == []


def test_a_breaker_needs_a_person_until_somebody_resumes_or_overrides() -> None:
    world = cycle_world.World()
    limits = RiskLimits(drawdown_fraction_max=0.0001)
    for number in range(6):
        world.to_slot(START_MS + number * HOUR_MS)
        world.cycle(limits=limits)
    now_ms = world.clock.now_ms()

    assert world.kept().risk is not None
    assert any("a breaker has tripped: drawdown" in reason for reason in status_of(world).reasons)
    Control(world.documents, "main").override("breaker", "ann", "known", now_ms, now_ms + HOUR_MS)
    overridden = status_of(world)
    assert overridden.verdict == "healthy"
    assert any("is overridden" in note for note in overridden.notes)
    Control(world.documents, "main").revoke("breaker", "ann", "looked", now_ms)
    assert status_of(world).verdict == "attention"
    Control(world.documents, "main").resume("ann", "looked", now_ms)
    assert status_of(world).verdict == "healthy"


def test_a_foreign_order_needs_a_person_until_it_is_overridden() -> None:
    world = cycle_world.World()
    world.venue.place("main", NewOrder("BTC/USDT", 1, "LIMIT", Decimal("0.1"), "by-hand", Decimal("100")))
    world.cycle()
    now_ms = world.clock.now_ms()

    assert any("by-hand" in reason and "untracked" in reason for reason in status_of(world).reasons)
    Control(world.documents, "main").override("untracked_orders", "ann", "mine", now_ms, now_ms + HOUR_MS)
    assert status_of(world).verdict == "healthy"


def test_a_cycle_that_was_cut_off_is_shown_as_such() -> None:
    world = cycle_world.World()

    class Killed(BaseException):
        pass

    def kill(call: str) -> None:
        if call == "place":
            raise Killed

    with pytest.raises(Killed):
        world.cycle(exchange=world.exchange(before=kill))
    status = status_of(world)

    assert [one["status"] for one in status.cycles] == ["not ended"]
    assert status.cycles[0]["orders"] == 1
    assert status.verdict == "attention"  # the order was claimed, and nobody is at work
    world.cycle()
    assert [one["status"] for one in status_of(world).cycles] == ["done"]


def test_cycles_of_earlier_sessions_are_listed_too() -> None:
    world = cycle_world.World()
    for number in range(6):
        world.to_slot(START_MS + number * HOUR_MS)
        job = replace(world.job(), identity={"commit": str(number // 2)})
        run_cycle(job, None, f"run-{number}")

    status = status_of(world, cycles=6)

    assert [one["run_id"] for one in status.cycles] == [f"run-{number}" for number in (5, 4, 3, 2, 1, 0)]
    assert len({one["session"] for one in status.cycles}) == 3


def test_halts_and_leases_are_told_and_damage_needs_a_person() -> None:
    documents = MemoryDocuments()
    world = cycle_world.World(documents=documents)
    world.cycle()
    now_ms = world.clock.now_ms()
    Control(documents, "main").halt("ann", "stop", now_ms)
    Lease(documents, "main.Alternate", "two", 60.0).acquire(now_ms)

    status = status_of(world)
    assert status.verdict == "healthy"
    assert any(note.startswith("halted by ann") for note in status.notes)
    assert (status.lease["state"], status.lease["holder"]) == ("held", "two")
    expired = status_of(world, seconds=120)
    assert expired.lease["state"] == "expired"
    assert any("two ended without giving the lease back" in note for note in expired.notes)
    for path, expected in (("control/main", "cannot be read"), ("leases/main.Alternate", "leases/main.Alternate")):
        there = documents.read(path)
        assert there is not None
        documents.replace(path, b"{}", there.version)
        assert any(expected in reason for reason in status_of(world).reasons)
    there = documents.read("state/main.Alternate")
    assert there is not None
    documents.replace("state/main.Alternate", b"{}", there.version)
    broken = status_of(world)
    assert not broken.is_known
    assert len(broken.reasons) == 3
    assert len(status_text(broken).splitlines()) > 3


def test_a_journal_that_lost_entries_needs_a_person(config: Path) -> None:
    documents = store_of(config)
    world = cycle_world.World(documents=documents)
    world.cycle()
    entries = [row[1] for row in rows_of(config) if row[0].endswith("/entries")]

    def lose(name: str) -> None:
        with sqlite3.connect(config.parent / "state.sqlite") as connection:
            connection.execute("DELETE FROM documents WHERE name = ?", [name])

    lose(entries[-1])
    assert any("entries were lost" in reason for reason in status_of(world).reasons)
    lose(entries[1])
    assert any("the journal is damaged" in reason for reason in status_of(world).reasons)
    assert status_of(world).is_known


def test_status_as_json_is_one_document(capsys: Capture, tmp_path: Path) -> None:
    config = write_paper_config(tmp_path)
    for _ in range(3):
        run(capsys, "cycle", "--config", config, "--mode", "paper")
    before = rows_of(config)

    code, out, _ = run(capsys, "status", "--config", config, "--json", "--cycles", "2")

    status = json.loads(out)
    assert (code, status["verdict"], status["slots_behind"]) == (0, "healthy", None)
    assert len(status["cycles"]) == 2
    assert rows_of(config) == before
    code, _, err = run(capsys, "status", "--config", config, "--cycles", "0")
    assert (code, len(err.splitlines())) == (2, 1)


# --- preflight


def outcomes(checks: list[Check]) -> dict[str, str]:
    return {one.name: one.outcome for one in checks}


def detail(checks: list[Check], name: str) -> str:
    return " | ".join(one.detail for one in checks if one.name == name)


def without_gate(checks: list[Check]) -> list[Check]:
    """The lines that do not depend on how this code was checked out."""
    return [one for one in checks if one.name not in ("live gate", "code")]


class Venue:
    """A Binance over loopback with an account, and a configuration that trades there."""

    def __init__(self, folder: Path, server: RightsServer, world: ccxt_world.World) -> None:
        self.config = write_config(folder)
        self.server, self.world = server, world
        self.environment = environment_of(world)

    def preflight(self, **changes: str) -> list[Check]:
        environment = {**self.environment, **changes}
        return preflight(loaded(self.config), "live", environment, ImpatientClock(), base_url=self.server.url)

    def reconcile(self) -> Reconciliation:
        documents = store_of(self.config)
        try:
            return compare(
                loaded(self.config), None, self.environment, documents, ImpatientClock(), base_url=self.server.url
            )
        finally:
            documents.close()

    def cycle(self, **options: Any) -> Any:
        documents = store_of(self.config)
        try:
            return live_cycle(self.world, self.server, documents, **options)
        finally:
            documents.close()

    def sent(self) -> list[str]:
        """Requests that change something."""
        return [request.path for request in self.server.requests if request.method != "GET"]


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    world = ccxt_world.World()
    with RightsServer(world.venue, faults=world.faults, clock=world.clock) as server:
        server.rights = dict(GOOD_RIGHTS)
        yield Venue(tmp_path, server, world)


def test_a_live_start_is_checked_line_by_line_and_nothing_is_sent(venue: Venue) -> None:
    checks = venue.preflight()

    assert list(dict.fromkeys(one.name for one in checks)) == list(NAMES)
    assert {one.outcome for one in without_gate(checks)} == {"ok", "warning"}, preflight_text(checks, "live")
    assert [one.name for one in without_gate(checks) if one.outcome == "warning"] == ["notifications"]
    assert exit_code(without_gate(checks)) == 0
    obstacles = live_obstacles(loaded(venue.config).settings, venue.environment)
    assert (outcomes(checks)["live gate"] == "ok") == (not obstacles)
    assert not obstacles or detail(checks, "live gate") == " | ".join(obstacles)
    assert "may trade spot, may not withdraw" in detail(checks, "key rights")
    assert "tick 0.01, lot 0.00001" in detail(checks, "markets")
    assert "100000 USDT are free, account.cash uses 50000 of them" in detail(checks, "cash")
    assert venue.sent() == []
    assert everything(venue.config.parent) == {"cycle.json"}  # not even a store
    text = preflight_text(checks, "live") + json.dumps([one.to_json() for one in checks])
    assert venue.world.account.api_secret not in text
    assert venue.world.account.api_key not in text


def test_an_existing_store_is_proved_writable_by_one_document(venue: Venue) -> None:
    store_of(venue.config).close()

    for _ in range(2):
        checks = venue.preflight()
        assert "proved on the document preflight/main" in detail(checks, "store")
        assert [f"{row[0]}/{row[1]}" for row in rows_of(venue.config)] == ["preflight/main"]


@pytest.mark.parametrize(
    ("changes", "outcome", "expected"),
    [
        ({"enableWithdrawals": True}, "failed", "may withdraw: take that right away"),
        ({"enableSpotAndMarginTrading": False}, "failed", "may not trade spot"),
        ({"ipRestrict": False}, "warning", "bind the key"),
        (None, "warning", "does not tell"),
    ],
)
def test_the_rights_of_the_key_are_judged(
    venue: Venue, changes: dict[str, bool] | None, outcome: str, expected: str
) -> None:
    venue.server.rights = None if changes is None else {**GOOD_RIGHTS, **changes}

    checks = venue.preflight()

    assert outcomes(checks)["key rights"] == outcome
    assert expected in detail(checks, "key rights")
    assert exit_code(without_gate(checks)) == (77 if outcome == "failed" else 0)


def test_an_account_that_may_not_trade_is_told(venue: Venue) -> None:
    venue.world.account.can_trade = False

    assert outcomes(venue.preflight())["key rights"] == "failed"


def test_missing_credentials_leave_what_everybody_may_ask(venue: Venue) -> None:
    checks = venue.preflight(BINANCE_API_KEY="", BINANCE_API_SECRET="")

    assert "BINANCE_API_KEY and BINANCE_API_SECRET are missing" in detail(checks, "live gate")
    found = outcomes(checks)
    assert [found[name] for name in ("exchange", "markets", "bars")] == ["ok"] * 3
    for name in ("account", "key rights", "fees", "cash", "open orders", "book"):
        assert found[name] == "not checked"
    assert detail(checks, "account") == "the credentials are missing"
    assert exit_code(checks) == 77


def test_refused_credentials_fail_and_are_not_shown(venue: Venue) -> None:
    checks = venue.preflight(BINANCE_API_SECRET="a-wrong-secret-of-somebody")

    assert outcomes(checks)["account"] == "failed"
    assert outcomes(checks)["bars"] == "ok"
    assert exit_code(without_gate(checks)) == 77
    assert "a-wrong-secret-of-somebody" not in preflight_text(checks, "live")
    half = venue.preflight(BINANCE_API_SECRET="")
    assert "BINANCE_API_SECRET is missing" in detail(half, "live gate")
    assert outcomes(half)["account"] == "failed"


def test_an_exchange_that_is_not_there_is_no_configuration_error(venue: Venue) -> None:
    checks = preflight(loaded(venue.config), "live", venue.environment, ImpatientClock(), base_url="http://127.0.0.1:9")

    assert list(dict.fromkeys(one.name for one in checks)) == list(NAMES)
    assert outcomes(checks)["exchange"] == "unreachable"
    assert detail(checks, "markets") == "the exchange cannot be asked"
    assert outcomes(checks)["store"] == "ok"
    assert exit_code(without_gate(checks)) == 75


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_exchange_answers_every_line_is_there(venue: Venue, seed: int) -> None:
    refusals = [error(503), error(429, -1003, retry_seconds=1), error(400, -2015), error(500, -1000), lost_request()]

    def draw(kind: str, random: Random) -> Fate:
        return random.choice(refusals) if random.random() < 0.6 else OK

    faults = Faults(draw=draw, random=Random(f"preflight {seed}"))
    with RightsServer(venue.world.venue, faults=faults, clock=venue.world.clock) as server:
        server.rights = dict(GOOD_RIGHTS)
        venue.server = server
        checks = venue.preflight()

    assert list(dict.fromkeys(one.name for one in checks)) == list(NAMES), seed
    text = preflight_text(checks, "live")
    assert venue.world.account.api_secret not in text, seed
    assert "signature=" not in text, seed
    assert exit_code(without_gate(checks)) in (75, 77), f"{seed}: {text}"


@pytest.mark.parametrize("offset_ms", [-120_000, 120_000])
def test_clocks_that_differ_are_told(tmp_path: Path, offset_ms: int) -> None:
    world = ccxt_world.World(offset_ms=offset_ms)
    with RightsServer(world.venue, faults=world.faults, clock=world.clock) as server:
        checks = Venue(tmp_path, server, world).preflight()

    assert outcomes(checks)["exchange"] == "failed"
    assert "set the wrong one" in detail(checks, "exchange")


def test_what_a_cycle_would_stumble_over_is_told_before(venue: Venue) -> None:
    venue.world.venue.place("main", NewOrder("BTC/USDT", 1, "LIMIT", Decimal("0.1"), "by-hand", Decimal("10000")))
    checks = venue.preflight()
    assert outcomes(checks)["open orders"] == "failed"
    assert "by-hand" in detail(checks, "open orders")
    poor = preflight(
        loaded(venue.config, "account.cash=99500"), "live", venue.environment, ImpatientClock(),
        base_url=venue.server.url,
    )  # fmt: skip
    assert "account.cash is 99500 USDT, 99000 are free" in detail(poor, "cash")
    unknown = preflight(
        loaded(venue.config, 'market.symbols=["BTCC/USDT"]'), "live", venue.environment, ImpatientClock(),
        base_url=venue.server.url,
    )  # fmt: skip
    assert outcomes(unknown)["markets"] == "failed"
    assert "has no BTCC/USDT" in detail(unknown, "markets")
    venue.world.venue.bars_delay_ms = 12 * HOUR_MS
    assert outcomes(venue.preflight())["bars"] == "unreachable"


def test_the_account_in_the_store_is_looked_at(venue: Venue) -> None:
    assert venue.cycle().status == "done"
    documents = store_of(venue.config)
    Lease(documents, "main.Buyer", "another-process", 3600.0).acquire(ImpatientClock().now_ms())
    Control(documents, "main").halt("ann", "stop", ImpatientClock().now_ms())

    checks = venue.preflight()

    assert "a live account, last slot" in detail(checks, "state")
    assert (outcomes(checks)["lease"], outcomes(checks)["control"]) == ("warning", "warning")
    assert "another-process" in detail(checks, "lease")
    assert "halted by ann" in detail(checks, "control")
    assert outcomes(checks)["book"] == "ok"
    paper = preflight(loaded(venue.config), "paper", venue.environment, ImpatientClock(), base_url=venue.server.url)
    assert "is a live account" in detail(paper, "state")
    assert outcomes(paper)["markets"] == "ok"
    dropped = preflight(
        loaded(venue.config, 'market.symbols=["ETH/USDT"]'), "live", venue.environment, ImpatientClock(),
        base_url=venue.server.url,
    )  # fmt: skip
    assert "BTC/USDT is held or has open orders" in detail(dropped, "state")
    venue.world.account.free["BTC"] = Decimal(0)
    assert outcomes(venue.preflight())["book"] == "failed"
    there = documents.read("state/main.Buyer")
    assert there is not None
    documents.replace("state/main.Buyer", b"{}", there.version)
    broken = venue.preflight()
    assert outcomes(broken)["state"] == "failed"
    assert detail(broken, "cash") == "the state cannot be read"
    assert exit_code(without_gate(broken)) == 77


def test_perpetuals_need_the_right_to_trade_futures(venue: Venue) -> None:
    market = {"exchange": "binance", "symbols": ["BTC/USDT:USDT"], "timeframe": "1h"}
    write_config(venue.config.parent, account={"name": "main", "cash": 9_000}, market=market)

    refused = venue.preflight()
    assert "may not trade futures" in detail(refused, "key rights")
    assert venue.server.rights is not None
    venue.server.rights["enableFutures"] = True
    checks = venue.preflight()
    assert exit_code(without_gate(checks)) == 0, preflight_text(checks, "live")
    assert "10000 USDT are free" in detail(checks, "cash")
    assert venue.sent() == []


def test_paper_with_an_exchanges_candles_asks_it_for_filters_and_bars(venue: Venue) -> None:
    simulated = {"exchange": "simulated", "symbols": ["BTC/USDT"], "timeframe": "1h"}
    write_config(venue.config.parent, market=simulated, feed={"exchange": "binance"})

    checks = preflight(loaded(venue.config), "paper", {}, ImpatientClock(), base_url=venue.server.url)

    assert exit_code(checks) == 0, preflight_text(checks, "paper")
    assert [outcomes(checks)[name] for name in ("exchange", "markets", "bars")] == ["ok"] * 3
    assert {request.headers.get("x-mbx-apikey") for request in venue.server.requests} == {None}


def test_a_bar_too_old_for_new_risk_is_told_and_no_obstacle(tmp_path: Path) -> None:
    half_past = ccxt_world.World(offset_ms=HOUR_MS // 2 - ImpatientClock().now_ms() % HOUR_MS)
    with RightsServer(half_past.venue, faults=half_past.faults, clock=half_past.clock) as server:
        venue = Venue(tmp_path, server, half_past)
        write_config(tmp_path, risk={"bar_age_seconds_max": 900})
        checks = venue.preflight()
        write_config(tmp_path, risk={"bar_age_seconds_max": 2400})
        fresh = venue.preflight()

    assert outcomes(checks)["bars"] == outcomes(fresh)["bars"] == "ok"
    assert "too old for new risk now (18" in detail(checks, "bars")
    assert "at most 900)" in detail(checks, "bars")
    assert "too old" not in detail(fresh, "bars")


def test_what_looks_like_a_secret_of_the_environment_is_hidden(venue: Venue) -> None:
    checks = venue.preflight(SOME_SECRET="cycle.json")

    assert "cycle.json" in detail(venue.preflight(), "configuration")
    assert "cycle.json" not in preflight_text(checks, "live")


def test_paper_on_files_needs_nothing_but_files(capsys: Capture, tmp_path: Path) -> None:
    config = write_paper_config(tmp_path)
    before = everything(tmp_path)

    code, out, _ = run(capsys, "preflight", "--config", config, "--mode", "paper", "--json")

    answer = json.loads(out)
    assert (code, answer["exit_code"]) == (0, 0)
    assert [one["name"] for one in answer["checks"]] == list(NAMES)
    assert everything(tmp_path) == before
    code, out, _ = run(capsys, "preflight", "--config", config)
    assert code == 77
    assert "market.exchange is simulated" in out


def test_a_wrong_configuration_still_shows_every_line(capsys: Capture, tmp_path: Path) -> None:
    config = write_config(tmp_path, market={"exchange": "binance", "symbols": ["BTCUSDT"], "timeframe": "1h"})

    code, out, _ = run(capsys, "preflight", "--config", config, "--json")

    checks = json.loads(out)["checks"]
    assert code == 77
    assert [one["name"] for one in checks] == list(NAMES)
    assert [one["outcome"] for one in checks] == ["failed", *["not checked"] * (len(NAMES) - 1)]


# --- reconcile


def classes(found: Reconciliation) -> list[str]:
    return [one["class"] for one in found.differences]


_SOME_BNB = {"BNB": "10"}


def reconciled(world: cycle_world.World) -> Reconciliation:
    """The book of a world against its venue, in process."""
    exchange, owner = world.exchange(), ("main", world.strategy.__qualname__)
    journal = Journal(world.documents, *owner)
    return reconcile(world.kept(), exchange, exchange.instruments([world.symbol]), owner, journal)


def test_after_a_cycle_book_and_exchange_are_equal(venue: Venue) -> None:
    assert venue.cycle().sent == 1
    before, sent = rows_of(venue.config), venue.sent()

    found = venue.reconcile()

    assert found.is_equal, reconcile_text(found)
    assert set(classes(found)) == {"unattributed", "surplus"}  # the account had a coin and money of its own
    (symbol,) = found.symbols
    assert Decimal(symbol["difference"]) == 1
    assert found.fills == []  # the fill since the slot is found in the journal
    assert found.orders == []
    assert rows_of(venue.config) == before
    assert venue.sent() == sent
    assert holder_of(store_of(venue.config), "main", "Buyer") is None


def test_coins_and_money_that_are_missing_are_differences(venue: Venue) -> None:
    venue.cycle()
    venue.world.account.free["BTC"] = Decimal("0.001")
    venue.world.account.free["USDT"] = Decimal("10")

    found = venue.reconcile()

    assert not found.is_equal
    assert classes(found).count("divergence") == 2
    assert Decimal(found.symbols[0]["difference"]) < 0
    assert Decimal(found.money["difference"]) < 0
    assert "find out where the rest went" in reconcile_text(found)


@pytest.mark.parametrize("strategy", [cycle_world.Alternate, cycle_world.Bracket, cycle_world.Resting])
@pytest.mark.parametrize(("symbol", "pays_in_bnb"), [("BTC/USDT", False), ("BTC/USDT", True), ("BTC/USDT:USDT", False)])
def test_after_every_cycle_nothing_is_unsafe(strategy: type[Strategy], symbol: str, pays_in_bnb: bool) -> None:
    world = cycle_world.World(strategy=strategy, symbol=symbol, pays_in_bnb=pays_in_bnb, free=_SOME_BNB)
    for number in range(12):
        world.to_slot(START_MS + number * HOUR_MS)
        world.cycle()
        found = reconciled(world)
        assert found.is_equal, reconcile_text(found)
        assert found.fills == []


def test_what_is_taken_while_an_order_rests_is_missed() -> None:
    """A cycle compares no symbol with an order at the exchange; a person wants to know all the same."""
    world = cycle_world.World(strategy=cycle_world.Resting)
    world.cycle()
    assert [one["book"] for one in reconciled(world).orders] == ["open"]

    world.account.free["USDT"] = Decimal(1000)

    found = reconciled(world)
    assert [(one["class"], one["symbol"]) for one in found.differences] == [("divergence", None)]


def test_a_position_that_was_closed_by_hand_is_a_divergence() -> None:
    world = cycle_world.World(symbol="BTC/USDT:USDT")
    world.cycle()
    held = world.account.position(world.symbol)
    world.venue.place("main", NewOrder(world.symbol, -1, "MARKET", held, "by-hand"))

    found = reconciled(world)

    assert not found.is_equal
    assert {"divergence", "foreign fill"} <= set(classes(found))
    assert Decimal(found.symbols[0]["difference"]) == -held


def test_a_book_in_other_units_is_not_compared(venue: Venue) -> None:
    venue.cycle()
    documents = store_of(venue.config)
    states = StateStore(documents, "main", "Buyer")
    saved = states.load()
    assert saved is not None
    states.save({**saved.content, "units": {"BTC/USDT": "0.001, 0.01"}}, saved, saved.token)

    with pytest.raises(ConfigurationError, match=r"counts in units of 0.001, 0.01"):
        venue.reconcile()
    assert "counts in units of 0.001, 0.01" in detail(venue.preflight(), "open orders")


def test_a_fill_on_its_way_to_the_journal_is_in_the_book() -> None:
    """A cycle dies after it has saved a fill and before it has journaled it."""
    world = cycle_world.World()
    faults = Faults()
    faults.then("place", lost_answer())
    faults.then("order", *[error(503)] * 40)
    assert world.cycle(exchange=world.exchange(faults)).status == "unresolved"

    class Killed(BaseException):
        pass

    def kill(call: str) -> None:
        if call == "balances":
            raise Killed

    with pytest.raises(Killed):
        world.cycle(exchange=world.exchange(before=kill))
    assert any(event["event"] == "order_filled" for event in world.kept().unjournaled)
    found = reconciled(world)

    assert found.fills == []
    assert found.is_equal, reconcile_text(found)


def test_an_order_that_filled_between_cycles_is_not_booked_yet(venue: Venue) -> None:
    write_config(venue.config.parent, strategy={"class": "operator_world:Bidder"})
    venue.cycle(strategy=Bidder)
    resting = venue.reconcile()
    assert resting.is_equal, reconcile_text(resting)
    ((order_id, book),) = [(one["order_id"], one["book"]) for one in resting.orders]
    assert book == "open"
    assert resting.orders[0]["exchange"] == "open, 0 filled"

    with venue.server.lock:
        venue.world.venue.set_price("BTC/USDT", "40000")
    found = venue.reconcile()

    assert {"not open", "not booked"} <= set(classes(found))
    (fill,) = found.fills
    assert (fill["order_id"], fill["ours"]) == (order_id, True)
    assert not found.is_equal
    venue.cycle(strategy=Bidder)
    after = venue.reconcile()
    assert after.is_equal, reconcile_text(after)
    assert after.fills == []


def test_what_others_did_on_the_account_is_told(venue: Venue) -> None:
    venue.cycle()
    with venue.server.lock:
        place = venue.world.venue.place
        place("main", NewOrder("BTC/USDT", 1, "LIMIT", Decimal("0.1"), "by-hand", Decimal("10000")))
        place("main", NewOrder("BTC/USDT", -1, "MARKET", Decimal("0.5"), "sold-by-hand"))

    found = venue.reconcile()

    assert {"untracked", "foreign fill"} <= set(classes(found))
    assert not found.is_equal
    (fill,) = found.fills
    assert (fill["ours"], fill["quantity"], fill["side"]) == (False, "0.5", "sell")
    assert [one["order_id"] for one in found.orders if one["book"] is None] == ["by-hand"]


@pytest.mark.parametrize("arrived", [True, False])
def test_an_order_of_unknown_fate_is_a_difference(venue: Venue, arrived: bool) -> None:
    venue.world.faults.then("place", lost_answer() if arrived else lost_request())
    venue.world.faults.then("order", *[error(503)] * 60)
    assert venue.cycle().status == "unresolved"

    found = venue.reconcile()

    assert "unknown fate" in classes(found)
    assert ("not booked" in classes(found)) is arrived
    assert not found.is_equal


def test_paper_is_compared_with_the_simulated_exchange(capsys: Capture, tmp_path: Path) -> None:
    config = write_paper_config(tmp_path)
    for _ in range(4):
        assert run(capsys, "cycle", "--config", config, "--mode", "paper")[0] == 0
    before = rows_of(config)

    code, out, err = run(capsys, "reconcile", "--config", config)

    assert (code, err) == (0, "")
    assert out.startswith("equal: ")
    assert rows_of(config) == before
    code, _, err = run(capsys, "reconcile", "--config", config, "--mode", "live")
    assert code == 77
    assert "is a paper account" in err


def test_without_an_account_there_is_nothing_to_compare(capsys: Capture, config: Path) -> None:
    before = everything(config.parent)
    code, _, err = run(capsys, "reconcile", "--config", config)
    assert (code, everything(config.parent)) == (77, before)
    assert "there is no store" in err
    store_of(config).close()
    code, _, err = run(capsys, "reconcile", "--config", config)
    assert code == 77
    assert "nothing to compare" in err


def test_comparing_a_live_account_needs_credentials_and_nothing_else(venue: Venue) -> None:
    venue.cycle()
    venue.environment = {}

    with pytest.raises(ConfigurationError, match="BINANCE_API_KEY and BINANCE_API_SECRET are not set"):
        venue.reconcile()


# --- the runbook


def runbook_commands() -> list[str]:
    text = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("trading-runtime ")]


@pytest.mark.parametrize("command", runbook_commands())
def test_every_command_of_the_runbook_is_one(command: str) -> None:
    assert make_parser().parse_args(shlex.split(command)[1:]).handler is not None


def test_the_runbook_names_what_there_is() -> None:
    """Every status, every exit code, every class of difference, every line of preflight, every override."""
    from trading_runtime.cycle.reconcile import _TO_DO
    from trading_runtime.cycle.report import EXIT_OF
    from trading_runtime.stores.control import OVERRIDES

    text = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    words = [*EXIT_OF, *_TO_DO, *NAMES, *OVERRIDES]

    assert len(runbook_commands()) > 10
    assert [word for word in words if f"`{word}`" not in text] == []
    assert [code for code in (0, 1, 2, 3, 75, 76, 77, 78) if f"| {code} |" not in text] == []
