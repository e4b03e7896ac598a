"""Whatever crashes, pauses, times out or runs twice: no order twice, none forgotten, and the book is the venue's.

The machinery is in ``crash_matrix.py``, what is crossed in ``crash_scenarios.py``; ``docs/crash-matrix.md`` tells what
is proven. ``test_crash_soak.py`` plays what is left out here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, RLock, Thread
from typing import Any

import pytest
from crash_behaviours import OK
from crash_checks import check
from crash_interleaving import play_interleaved
from crash_live_checks import check_strategy_state
from crash_matrix import (
    NotReachedError,
    crash_cases,
    failures,
    pause_cases,
    play_crash,
    undisturbed,
    until_quiet,
)
from crash_process import Process, Violation
from crash_scenarios import SCENARIOS, Scenario, account_before, behaviours_of
from crash_table import CASES_MINIMUM, INTERLEAVED_SEEDS, WIDE_CRASH_EVERY, WIDE_PAUSE_EVERY, counted, document
from cycle_world import START_MS, Alternate, World
from firestore_emulator import firestore_emulator, firestore_project  # noqa: F401 - fixtures
from venue.faults import Faults
from venue.port import VenueExchange

from trading_runtime.core.errors import EXIT_DONE, FateUnknown
from trading_runtime.core.instruments import decimal_text
from trading_runtime.core.state import CashMoved
from trading_runtime.core.treasury import Move
from trading_runtime.cycle import flows, placement, savings, settle, treasury
from trading_runtime.cycle.account import Account, Claim, EarnRecord, OrderRecord
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.run import run_cycle
from trading_runtime.exchanges.port import CashFlow, EarnProduct, Savings
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.state_store import Saved, StateStore

DOCUMENT = Path(__file__).parents[1] / "docs" / "crash-matrix.md"
EVERY_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS))


def told(found: list[str]) -> str:
    return "\n\n".join(found)


@EVERY_SCENARIO
def test_a_crash_at_any_point_doubles_nothing_and_loses_nothing(scenario: Scenario) -> None:
    found = failures(scenario, crash_cases(scenario, behaviours_of(scenario), every=WIDE_CRASH_EVERY))
    assert not found, told(found)


@EVERY_SCENARIO
def test_a_process_that_pauses_at_any_point_while_others_go_on_does_no_harm(scenario: Scenario) -> None:
    found = failures(scenario, pause_cases(scenario, behaviours_of(scenario), every=WIDE_PAUSE_EVERY))
    assert not found, told(found)


@EVERY_SCENARIO
def test_processes_that_run_at_once_in_bad_weather_do_no_harm(scenario: Scenario) -> None:
    for seed in range(INTERLEAVED_SEEDS):
        for processes in (2, 3):
            try:
                play_interleaved(scenario, seed, processes)
            except Violation as violation:
                pytest.fail(f"seed {seed}, {processes} processes, {scenario.name}: {violation}")


def test_the_matrix_is_as_wide_as_it_says() -> None:
    assert sum(row.wide for row in counted()) >= CASES_MINIMUM


def test_the_document_is_what_the_matrix_shows() -> None:
    assert DOCUMENT.read_text() == document(), "docs/crash-matrix.md: write it anew with python tests/crash_table.py"


# The matrix can fail.


def _send_before_save(context: Context, record: OrderRecord) -> bool:
    """Placement as it is often written: submit, then save."""
    record.claim, record.phase = Claim(context.exchange.server_time_ms(), 1, 0, ""), "claimed"
    context.sent += 1
    report = context.exchange.place(record.order, record.claim.stamp_ms)
    context.booker.see(context.account, record, report)
    settle.refresh(context, [record])
    context.keeper.save()
    return True


def _not_asked(context: Context, record: OrderRecord) -> bool:
    """A timeout taken for a failure: it is sent again."""
    record.phase, record.claim = "planned", None
    return True


def _not_compared(self: StateStore, content: dict[str, Any], previous: Saved, token: int) -> Saved:
    """The last one to write wins."""
    there = self._read()
    assert there is not None
    version = self._documents.replace(self._state_path, self._sealed(content, token), there.version)
    return Saved(dict(content), version, token)


def _caught(scenario: Scenario, break_it: Callable[[], None], *, every: int = 12) -> set[str]:
    """The checks that fail once the program is broken."""
    behaviours = behaviours_of(scenario)
    for behaviour in behaviours:
        undisturbed(scenario, behaviour)  # what is right is found out before
    cases = [*crash_cases(scenario, behaviours, every=every), *pause_cases(scenario, behaviours, every=every + 4)]
    break_it()
    checks: set[str] = set()
    for case in cases:
        try:
            case.play()
        except Violation as violation:
            checks.add(violation.check)
        except NotReachedError:
            continue  # the broken program takes another way
    return checks


def _caught_late(scenario: Scenario, break_it: Callable[[], None]) -> set[str]:
    """The checks that fail once the program that moves savings is broken: a crash at every point of its own, while the
    first request to move is late.
    """
    late = [one for one in behaviours_of(scenario) if one.name.startswith("movement: request late")]
    for behaviour in (OK, *late):
        undisturbed(scenario, behaviour)  # what is right is found out before
    break_it()
    checks: set[str] = set()
    for behaviour in late:
        world = scenario.begin()
        process = Process(world, Faults(behaviour.script), "one")
        process.run(scenario.slot)
        for point in process.points:
            for same_holder in (True, False) if point.is_effect else ():
                try:
                    play_crash(scenario, behaviour, point.number, same_holder=same_holder, next_slot=False)
                except Violation as violation:
                    checks.add(violation.check)
    return checks


def test_submitting_before_saving_is_caught_as_a_doubled_order(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = _caught(
        SCENARIOS["first cycle, entry by market order"],
        lambda: monkeypatch.setattr(placement, "_place", _send_before_save),
    )
    assert "doubled order" in checks, checks


def test_sending_again_without_asking_is_caught_as_a_doubled_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_it() -> None:
        for module in (settle, placement):  # the one function, under both names it goes by
            monkeypatch.setattr(module, "find_out", _not_asked)

    checks = _caught(SCENARIOS["first cycle, entry by market order"], break_it)
    assert "doubled order" in checks, checks


def test_claiming_without_comparing_is_caught_as_a_doubled_order(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = _caught(
        SCENARIOS["first cycle, entry by market order"], lambda: monkeypatch.setattr(StateStore, "save", _not_compared)
    )
    assert "doubled order" in checks, checks


def _move_before_save(
    context: Context, there: Savings, product: EarnProduct, move: Move, cause: str, attempt: int
) -> savings.Fate:
    """Money is moved first, and written down when it has been."""
    account, keeper = context.account, context.keeper
    claim = Claim(context.exchange.server_time_ms(), attempt, keeper.token, keeper.holder)
    number = account.entries + 1
    record = EarnRecord(
        move.kind,
        product.asset,
        product.product_id,
        move.amount,
        cause,
        "claimed",
        context.slot,
        number,
        claim,
        attempt,
    )
    context.sent += 1
    try:
        operation_id = there.move_earn(record.kind, product, record.amount, claim.stamp_ms)
    except FateUnknown:
        operation_id = ""
    account.earn[record.asset] = record
    facts = {"kind": record.kind, "asset": record.asset, "amount": decimal_text(record.amount), "cause": cause}
    account.note({"event": "savings_planned", "movement": number, **facts})
    account.note({"event": "savings_claimed", "movement": number, **claim._asdict()})
    record.operation_id = operation_id
    keeper.save()
    fate = savings.follow(context, there, record)
    keeper.save()
    return fate


def _history_not_asked(context: Context, there: Savings, record: EarnRecord) -> savings.Fate:
    """A movement whose answer is missing is taken for one that was not made."""
    if record.operation_id:
        return _FOLLOW(context, there, record)
    savings.end_movement(context, record, "not_there")
    return "not_moved"


_FOLLOW = savings.follow


def _flow_not_remembered(account: Account, flow: CashFlow, units: int) -> None:
    """Booked, and told again by the exchange at the next question."""
    facts = {"flow_id": flow.flow_id, "asset": flow.asset, "told": str(flow.amount), "time_ms": flow.time_ms}
    account.book(CashMoved(units, flow.kind), **facts)


QUIET = "live pool: a quiet slot saves what came in"


def test_moving_savings_before_saving_is_caught_as_a_doubled_movement(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = _caught_late(SCENARIOS[QUIET], lambda: monkeypatch.setattr(savings, "_move", _move_before_save))
    assert "doubled movement" in checks, checks


def test_taking_a_late_movement_for_none_is_caught_as_a_forgotten_movement(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_it() -> None:
        for module in (savings, treasury):  # the one function, under both names it goes by
            monkeypatch.setattr(module, "follow", _history_not_asked)

    checks = _caught_late(SCENARIOS[QUIET], break_it)
    assert "forgotten movement" in checks, checks


def test_flows_whose_ids_are_not_kept_are_caught_as_booked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = _caught(SCENARIOS[QUIET], lambda: monkeypatch.setattr(flows, "_book_one", _flow_not_remembered))
    assert "flow booked twice" in checks, checks


ROTATION = SCENARIOS["live pool: rotation: one retired, another bought, the rest is saved"]


@pytest.mark.parametrize(
    ("where", "lost"),
    [
        (("pool",), None),
        (("attempts",), {}),
        (("highest", "SOL/USDT"), 1.0),
        (("breaker", "base"), 1.0),
        (("breaker", "profits"), {}),
    ],
    ids=["lock", "attempts", "high", "base", "profits"],
)
def test_what_the_strategys_state_has_lost_is_caught(where: tuple[str, ...], lost: Any) -> None:
    world = ROTATION.begin()
    assert world.cycle(ROTATION.slot).status == "done"
    before, account = account_before(ROTATION.name), world.kept()
    events = check(ROTATION, world)
    check_strategy_state(world, before, account, events)
    part: Any = account.state.strategy_state
    for name in where[:-1]:
        part = part[name]
    part[where[-1]] = lost
    with pytest.raises(Violation, match="strategy state"):
        check_strategy_state(world, before, account, events)


# Leases and tokens, on every store.


@pytest.fixture(params=["memory", "sqlite", "firestore"])
def open_documents(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Documents]:
    """Opens the same store, each time as another process would."""
    if request.param == "memory":
        shared = MemoryDocuments()
        return lambda: shared
    if request.param == "sqlite":
        from trading_runtime.stores.sqlite import SqliteDocuments

        return lambda: SqliteDocuments(tmp_path / "state.db")
    project = request.getfixturevalue("firestore_project")
    from trading_runtime.stores.firestore import FirestoreDocuments

    return lambda: FirestoreDocuments(project)


@pytest.mark.parametrize("stage", ["1 planned", "1 claimed"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_process_whose_lease_was_stolen_sends_nothing(
    open_documents: Callable[[], Documents], stage: str, side: str
) -> None:
    world = World(strategy=Alternate, documents=open_documents())
    faults, late = Faults(), Faults()
    done: list[str] = []

    def hook(process: Process, name: str) -> None:
        if name == f"{side} state ({stage})" and not done:
            done.append(name)
            world.clock.sleep(2.0)  # its lease is over, its stamp would still be good
            until_quiet(world, faults, START_MS, "thief")

    slow = Process(world, late, "slow", hook=hook, names_writes=True, lease_seconds=1.0)
    report = slow.run(START_MS)
    assert done
    assert report is not None
    assert (report.status, report.exit_code) == ("not_mine", EXIT_DONE)
    assert max(world.venue.count_by_client_id().values()) == 1
    if (side, stage) != ("after", "1 claimed"):
        assert late.asked["place"] == 0
    check(SCENARIOS["first cycle, entry by market order"], world)


def test_a_claim_whose_window_has_passed_is_refused_by_the_exchange(open_documents: Callable[[], Documents]) -> None:
    world = World(strategy=Alternate, documents=open_documents())
    late = Faults()

    def hook(process: Process, name: str) -> None:
        if name == "before place" and len(world.venue.accepted) == 0:
            world.clock.sleep(2.0)
            until_quiet(world, Faults(), START_MS, "thief")

    slow = Process(world, late, "slow", hook=hook, lease_seconds=1.0)
    report = slow.run(START_MS)
    assert report is not None
    assert report.status == "not_mine"
    assert late.asked["place"] == 1, "it was to send: what stops it here is its stamp"
    assert len(world.venue.accepted) == 1
    check(SCENARIOS["first cycle, entry by market order"], world)


class OneAtATime(VenueExchange):
    """The venue is no server: requests of two threads must not overlap in it."""

    guard = RLock()

    def _send(self, fate: Any, execute: Any) -> Any:
        with self.guard:
            return super()._send(fate, execute)


def test_of_two_processes_that_start_at_the_same_instant_one_acts_and_the_other_says_not_mine(
    open_documents: Callable[[], Documents],
) -> None:
    world = World(strategy=Alternate, documents=open_documents())
    start, end = Barrier(2), Barrier(2)
    reports: dict[str, CycleReport] = {}
    errors: list[BaseException] = []

    class HeldToTheEnd(Lease):
        """Both have asked for the lease before one gives it back: else the slower one just finds the slot done."""

        def release(self) -> None:
            end.wait(30.0)
            super().release()

    def work(holder: str) -> None:
        try:
            documents = open_documents()
            job = world.job(
                holder=holder,
                documents=documents,
                exchange=OneAtATime(world.venue, None, world.clock),
                clock=world.clock,
            )
            lease = HeldToTheEnd(documents, "main.Alternate", holder, 60.0)
            job.stores.state.load()  # connected: the race is about the lease
            start.wait(30.0)
            reports[holder] = run_cycle(_with_lease(job, lease), START_MS, holder)
            if reports[holder].status == "not_mine":
                end.wait(30.0)
        except BaseException as error:  # noqa: BLE001 - told by the test
            errors.append(error)
            start.abort()
            end.abort()

    threads = [Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert sorted(report.status for report in reports.values()) == ["done", "not_mine"]
    assert {report.exit_code for report in reports.values()} == {EXIT_DONE}
    assert len(world.venue.accepted) == 1
    check(SCENARIOS["first cycle, entry by market order"], world)


def _with_lease(job: Any, lease: Lease) -> Any:
    from dataclasses import replace

    return replace(job, stores=job.stores._replace(lease=lease))


def test_the_undisturbed_run_under_every_behaviour_is_what_the_others_are_held_against() -> None:
    for scenario in SCENARIOS.values():
        assert undisturbed(scenario, OK).reports[0].status in ("done", "risk_halt"), scenario.name
