"""The machinery of the crash matrix: processes that die or pause at any point, and what must hold whatever happens.

    until_quiet cycles by fresh processes until nothing is left to do
    check       the promises, each under a name; a broken one raises Violation
    play_...    one case: a crash, or a pause with others in between; crash_interleaving.py has those at once

Which scenarios and behaviours are crossed is ``crash_scenarios.py``'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, NamedTuple

from crash_process import LEASE_SECONDS, Point, Process
from crash_scenarios import OK, Behaviour, Scenario
from cycle_world import HOUR_MS, World
from venue.faults import Faults
from venue.orders import CONDITIONAL_KINDS

from trading_runtime.core.errors import EXIT_DONE, EXIT_TEMPORARY, EXIT_UNKNOWN, StoreDamaged
from trading_runtime.core.events import _KINDS as EVENT_KINDS
from trading_runtime.core.events import event_from_json
from trading_runtime.core.state import Event, State, apply, state_from_json
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.report import CycleReport
from trading_runtime.stores.journal import Journal

# What every cycle and every case must keep to. A cycle waits at most for: the end of its bar (20 s), three orders whose
# fate is asked for 20 s each and three attempts of a question that is not answered; measured, not reckoned.
CYCLE_SECONDS_MAX = 150.0
CYCLES_MAX = 8
# Why an order may be missing in the end that the undisturbed run has placed: docs/crash-matrix.md tells each.
SAFE_REASONS = frozenset({"slot_passed", "risk_not_allowed", "not_placed"})
_CLOSED = ("done", "already_done", "nothing_new")


class Violation(AssertionError):
    """A promise was broken: ``check`` names which."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check


class NotReachedError(Exception):
    """The process was to die at a point that it did not come to: it is not the program that the points are of."""


# What holds whatever happened.


def _events(world: World) -> Iterator[tuple[str, list[dict[str, Any]], dict[str, Any] | None]]:
    """Yield (session, its events in order, the content of its first entry) for every session; StoreDamaged where the
    chain of entries does not hold.
    """
    journal = Journal(world.documents, "main", world.strategy.__qualname__)
    for session in journal.sessions():
        entries = list(journal.entries(session))
        events = [event for entry in entries if entry.kind == "events" for event in entry.content["events"]]
        yield session, events, entries[0].content if entries else None


def event_of(entry: dict[str, Any]) -> Event | None:
    """The event of the book that a journal's entry tells, None for one that changes nothing in the book."""
    kind = EVENT_KINDS.get(entry["event"])
    if kind is None:
        return None
    return event_from_json({name: entry[name] for name in ("event", *kind.__slots__)})


@dataclass
class Baseline:
    """What the venue held before the account was opened."""

    money: int
    held: dict[str, int]


@lru_cache(maxsize=64)
def _baseline(name: str) -> Baseline:
    from crash_scenarios import SCENARIOS

    scenario = SCENARIOS[name]
    world = World(strategy=scenario.strategy, **dict(scenario.options))
    return Baseline(world.money(), {symbol: world.held(symbol) for symbol in world.symbols})


def check(scenario: Scenario, world: World) -> list[dict[str, Any]]:
    """Raise Violation for the first promise about orders, book and journal that the world breaks; return all that the
    journal tells.
    """
    account = world.kept()
    accepted = [order for order in world.venue.accepted if order.parent is None]
    for client_id, count in Counter(order.client_id for order in accepted).items():
        if count > 1:
            raise Violation("doubled order", f"the venue accepted {count} orders under {client_id}")
    all_events: list[dict[str, Any]] = []
    last: tuple[list[dict[str, Any]], dict[str, Any] | None] = ([], None)
    try:
        for session, events, first in _events(world):
            all_events += events
            if session == account.session:
                last = (events, first)
        if account.session is not None and account.head is not None:
            journal = Journal(world.documents, "main", world.strategy.__qualname__)
            if journal.entry(account.session, account.head[0]).hash != account.head[1]:
                raise Violation("journal", "the head in the document is not the entry in the journal")
    except StoreDamaged as damaged:
        raise Violation("journal", str(damaged)) from damaged
    all_events += account.unjournaled
    numbers = [event["number"] for event in all_events]
    if numbers != list(range(1, len(numbers) + 1)):
        raise Violation("journal", f"the events are not numbered one by one: {numbers}")
    planned = {event["order"]["order_id"]: event["order"] for event in all_events if event["event"] == "order_planned"}
    triggered = {event["order_id"] for event in all_events if event["event"] == "watched_order_triggered"}
    for order in accepted:
        plan = planned.get(order.client_id)
        if plan is None:
            raise Violation("unplanned order", f"{order} was never planned")
        there = (plan["symbol"], plan["side"], plan["quantity"])
        kind = "stop/take_profit" if order.kind in CONDITIONAL_KINDS else order.kind.lower()
        if order.client_id in triggered:
            kind += "/stop/take_profit"
        if there != (order.symbol, order.side, int(order.quantity * 10**8)) or plan["kind"] not in kind:
            raise Violation("unplanned order", f"{order} is not what was planned: {plan}")
    stuck = [record.order.order_id for record in account.in_phase("claimed", "planned")]
    if stuck:
        raise Violation("left open", f"{stuck} are planned or claimed although all is quiet")
    trades = {
        (symbol, str(trade.trade_id))
        for symbol in world.symbols
        for trade in world.account.trades.get(symbol, [])
        if (trade.order.parent or trade.order).client_id in planned
    }
    booked = Counter((one["symbol"], one["trade_id"]) for one in all_events if one["event"] == "order_filled")
    twice = [trade for trade, count in booked.items() if count > 1]
    if twice:
        raise Violation("fill booked twice", str(twice))
    if set(booked) != trades:
        missing, extra = trades - set(booked), set(booked) - trades
        raise Violation("fills", f"not booked: {sorted(missing)}; booked, but there are none: {sorted(extra)}")
    _check_amounts(scenario, world, account, all_events)
    _check_replay(last[0] + account.unjournaled, last[1], account)
    return all_events


def _check_amounts(scenario: Scenario, world: World, account: Account, events: list[dict[str, Any]]) -> None:
    state, baseline = account.state, _baseline(scenario.name)
    for symbol in world.symbols:
        book, there = state.quantity(symbol), world.held(symbol) - baseline.held[symbol]
        if book != there:
            raise Violation("position", f"{symbol}: the book holds {book} units, the venue {there}")
    money = state.cash - world.start_cash - state.flows
    paid_outside = sum(
        event["amount"] for event in events if event["event"] == "cash_moved"
    )  # fees in BNB: in the book as a flow, at the venue not in the quote's balance
    if world.market.is_perpetual:
        money += sum(position.cost for position in state.positions.values())
    there = world.money() - baseline.money
    if money + paid_outside != there:
        raise Violation("cash", f"the book's money changed by {money + paid_outside}, the venue's by {there}")


def _all_events(world: World, account: Account) -> list[dict[str, Any]]:
    found = [event for _, events, _ in _events(world) for event in events]
    return found + account.unjournaled


def _check_replay(events: list[dict[str, Any]], first: dict[str, Any] | None, account: Account) -> None:
    if first is None:
        raise Violation("replay", "the session has no first entry")
    state: State = state_from_json(first["state"])
    for entry in events:
        event = event_of(entry)
        if event is not None:
            state = apply(state, event)
    if state.to_json() != account.state.to_json():
        book = account.state.to_json()
        raise Violation("replay", f"the journal's events come to {state.to_json()}, the book is {book}")


def check_exit(world: World, report: CycleReport, *, is_overtaken: bool = False) -> None:
    """The exit code of a cycle that ran to its end, held against store and venue as they are right after it; of one
    that others overtook, 76 may be out of date.
    """
    if report.status == "not_mine":
        if report.exit_code != EXIT_DONE:
            raise Violation("exit code", f"the loser ends with {report.exit_code}")
        return
    try:
        account = world.kept()
    except AssertionError:
        if report.sent:
            raise Violation("exit code", "orders were sent before there was an account") from None
        return
    claimed = [record.order.order_id for record in account.in_phase("claimed")]
    doubtful = [record.order.order_id for record in account.in_phase("open")]
    if claimed and report.exit_code != EXIT_UNKNOWN:
        raise Violation("exit code", f"{claimed} claimed, exit code {report.exit_code} ({report.reason})")
    is_certain = not claimed and not doubtful and not report.sent and not is_overtaken
    if report.exit_code == EXIT_UNKNOWN and is_certain:
        raise Violation("exit code", f"76 although nothing is in doubt: {report.reason}")
    if report.exit_code == EXIT_TEMPORARY:
        known = set(account.records) | set(account.state.orders)
        known |= {event.get("order_id", "") for event in _all_events(world, account)}
        booked = {
            (event["symbol"], event["trade_id"])
            for event in _all_events(world, account)
            if event["event"] == "order_filled"
        }
        for order in world.venue.accepted:
            own = order.parent or order
            filled = {(own.symbol, str(trade.trade_id)) for trade in own.trades}
            if own.client_id not in known or (own.client_id not in account.records and not filled <= booked):
                raise Violation("exit code", f"75 ({report.reason}), but {own} was sent and is not accounted for")


@dataclass
class Ran:
    """What a case came to. ``safe`` are orders left out, by the reason."""

    account: Account
    executed: dict[str, Decimal]
    reports: list[CycleReport]
    safe: dict[str, str]
    events: list[dict[str, Any]]
    points: list[Point] = field(default_factory=list)


def what_ran(world: World, reports: list[CycleReport], events: list[dict[str, Any]]) -> Ran:
    """Gather what a case came to; ``events`` are all that the journal tells."""
    account = world.kept()
    safe = {
        event["order_id"]: event["reason"]
        for event in events
        if event["event"] == "order_not_placed"
        # A child that waits is an open order of the book already.
        or (event["event"] == "order_ended" and event["reason"] in ("parent_ended", "no_position"))
    }
    executed: dict[str, Decimal] = {}
    for order in world.venue.accepted:
        own = order.parent or order
        executed[own.client_id] = executed.get(own.client_id, Decimal(0)) + order.executed
    return Ran(account, executed, reports, safe, events)


def is_quiet(world: World, report: CycleReport) -> bool:
    """Whether nothing is left to do or to learn in this slot."""
    if report.status not in _CLOSED:
        return False
    account = world.kept()
    return not account.in_phase("planned", "claimed") and not any(
        record.order.kind == "market" or not record.is_booked or record.cancel for record in account.in_phase("open")
    )


def until_quiet(
    world: World, faults: Faults, slot: int, holder: str, *, wait_seconds: float = 20.0, cycles_max: int = CYCLES_MAX
) -> list[CycleReport]:
    """Run cycles of fresh processes until all is quiet; Violation when that takes too many cycles or too long."""
    reports: list[CycleReport] = []
    waits = 0
    while True:
        process = Process(world, faults, holder)
        began = world.clock.now_ms()
        report = process.run(slot)
        assert report is not None
        check_exit(world, report)
        took = (world.clock.now_ms() - began) / 1000.0
        if took > CYCLE_SECONDS_MAX:
            raise Violation("bound", f"a cycle took {took} s of virtual time: {report.status} {report.reason}")
        if report.status == "not_mine":
            waits += 1
            if waits > LEASE_SECONDS / wait_seconds + 1:
                raise Violation("bound", f"the lease is not given up: {report.reason}")
        else:
            reports.append(report)
            if is_quiet(world, report):
                return reports
            if len(reports) >= cycles_max:
                raise Violation("bound", f"not quiet after {cycles_max} cycles: {report.status} {report.reason}")
        world.clock.sleep(wait_seconds)


UNDISTURBED: dict[tuple[str, str], Ran] = {}


def undisturbed(scenario: Scenario, behaviour: Behaviour) -> Ran:
    """The run without a crash under a behaviour: its outcome, and the points its first cycle passes. Played once."""
    key = (scenario.name, behaviour.name)
    if key not in UNDISTURBED:
        UNDISTURBED[key] = _undisturbed(scenario, behaviour)
    return UNDISTURBED[key]


def _undisturbed(scenario: Scenario, behaviour: Behaviour) -> Ran:
    world, faults = scenario.begin(), Faults(behaviour.script)
    behaviour.start(world)
    process = Process(world, faults, "one", names_writes=True)
    report = process.run(scenario.slot)
    assert report is not None
    check_exit(world, report)
    reports = [report]
    if not is_quiet(world, report):
        world.clock.sleep(20.0)
        reports += until_quiet(world, faults, scenario.slot, "one")
    ran = what_ran(world, reports, check(scenario, world))
    ran.points = process.points
    return ran


def check_outcome(scenario: Scenario, behaviour: Behaviour, ran: Ran) -> str:
    """Hold the final state against the undisturbed run's; return how it ended, for the table."""
    reference = undisturbed(scenario, behaviour)
    if _comparable(ran.account) == _comparable(reference.account):
        return "same"
    if _comparable(ran.account) == _comparable(undisturbed(scenario, OK).account):
        # The fault hit the process that died: a refusal that nobody wrote down is asked for anew.
        return "same as without the fault"
    if _comparable(ran.account, where=False) == _comparable(reference.account, where=False):
        # An attempt was spent on a claim that nobody sent: what protects is watched by the runtime, and not lost.
        return "protection is watched"
    left_out = {name: reason for name, reason in ran.safe.items() if reference.safe.get(name) != reason}
    dropped = {name for name, reason in left_out.items() if reason in SAFE_REASONS}
    orders = {record.order.order_id: record.order for record in ran.account.records.values()}
    for name in set(reference.executed) | set(ran.executed):
        mine, theirs = ran.executed.get(name, Decimal(0)), reference.executed.get(name, Decimal(0))
        if mine == theirs or (name in dropped and not mine):
            continue
        parent = orders[name].parent if name in orders else None
        if parent in dropped or left_out.get(name) == "parent_ended":
            continue
        raise Violation(
            "outcome", f"{name} executed {mine}, undisturbed {theirs}; left out for a reason: {left_out or 'nothing'}"
        )
    if not dropped:
        raise Violation(
            "outcome",
            f"the final state differs without a reason:\n{_comparable(ran.account)}\n{_comparable(reference.account)}",
        )
    return "left out: " + ", ".join(sorted({left_out[name] for name in dropped}))


def _comparable(account: Account, *, where: bool = True) -> dict[str, Any]:
    """What must be the same in the end. Protection that was placed in parts, as fills became known, counts in sum;
    without ``where`` it does not matter who keeps it, the exchange or the runtime.
    """
    content = account.state.to_json()
    resting: Counter[tuple[Any, ...]] = Counter()
    for record in account.records.values():
        order = record.order
        kind = record.watch.kind if record.watch is not None else order.kind
        key = (order.symbol, kind, order.side, order.price, record.phase if where else "")
        resting[key] += order.quantity - record.booked
    in_book = {(order.symbol, order.kind, order.side, order.price) for order in account.state.orders.values()}
    content["positions"] = sorted(content["positions"], key=lambda position: str(position["symbol"]))
    content["orders"] = sorted(resting.items(), key=str)
    content["in_book"] = sorted(in_book, key=str) if where else []
    content["quarantine"] = account.quarantine
    return content


# Cases.


def play_crash(scenario: Scenario, behaviour: Behaviour, number: int, *, same_holder: bool, next_slot: bool) -> str:
    """A process dies at its ``number``-th point; others work the slot, or only the next one, until all is quiet.

    ``same_holder``: the next process starts at once under the same name, as a restarted container does; else it is
    another one that has to wait until the lease has run out. Returns how it ended.
    """
    world, faults = scenario.begin(), Faults(behaviour.script)
    behaviour.start(world)

    def hook(process: Process, name: str) -> None:
        if len(process.points) == number + 1:
            process.die()

    process = Process(world, faults, "one", hook=hook)
    if process.run(scenario.slot) is not None:
        raise NotReachedError(f"point {number} of {scenario.name}")
    slot = scenario.slot
    if next_slot:
        slot += HOUR_MS
        world.to_slot(slot)
        behaviour.start(world)
    reports = until_quiet(world, faults, slot, "one" if same_holder else "two")
    ran = what_ran(world, reports, check(scenario, world))
    if next_slot:
        return check_next_slot(scenario, behaviour, ran)
    ended = check_outcome(scenario, behaviour, ran)
    return f"{ended}, {len(reports)}"


def check_next_slot(scenario: Scenario, behaviour: Behaviour, ran: Ran) -> str:
    """Of what the undisturbed run placed in its slot, each order was placed just so or left out for a safe reason, and
    what is not decided until its slot has passed is never placed at all.
    """
    reference = undisturbed(scenario, behaviour)
    wanted = {
        name
        for one in (reference, undisturbed(scenario, OK))
        for name in (*one.executed, *one.safe, *one.account.records)
    }
    planned = {event["order"]["order_id"] for event in ran.events if event["event"] == "order_planned"}
    ended = set()
    of_slot = f"-{scenario.slot // 1000:x}-"
    for name in sorted(set(reference.executed) | set(ran.executed)):
        if of_slot not in name or name.endswith("_m"):  # what became of a limit order at the next slot
            continue
        mine = ran.executed.get(name)
        if mine is not None and name not in wanted:
            raise Violation("outcome", f"{name} was placed, which the undisturbed run did not")
        if mine is not None:
            ended.add("placed")
        elif name not in planned:
            ended.add("not decided")
        elif ran.safe.get(name) in SAFE_REASONS | {"parent_ended", "no_position"}:
            ended.add(f"left out: {ran.safe[name]}")
        elif name in ran.account.records:
            ended.add("watched")
        else:
            raise Violation("outcome", f"{name} was planned and is gone without a safe reason: {ran.safe}")
    return " + ".join(sorted(ended)) or "nothing to place"


def play_pause(
    scenario: Scenario, behaviour: Behaviour, number: int, *, pause_seconds: float, lease_seconds: float, others: int
) -> str:
    """A process pauses at its ``number``-th point, others work the slot until all is quiet, then it goes on."""
    world, faults = scenario.begin(), Faults(behaviour.script)
    behaviour.start(world)

    def hook(process: Process, name: str) -> None:
        if len(process.points) != number + 1:
            return
        world.clock.sleep(pause_seconds)
        for other in range(others):
            until_quiet(world, faults, scenario.slot, f"other {other}", wait_seconds=5.0, cycles_max=20)

    process = Process(world, faults, "one", hook=hook, lease_seconds=lease_seconds)
    report = process.run(scenario.slot)
    assert report is not None
    check_exit(world, report, is_overtaken=True)
    if behaviour is OK and report.exit_code != EXIT_DONE:
        raise Violation("exit code", f"the one that was overtaken ends with {report.exit_code}: {report.reason}")
    reports = until_quiet(world, faults, scenario.slot, "last")
    ran = what_ran(world, reports, check(scenario, world))
    return f"{check_outcome(scenario, behaviour, ran)}, {report.status}"


class Chosen(NamedTuple):
    """A case of the matrix: ``play`` plays it again, the rest says which it is."""

    kind: str
    behaviour: str
    point: Point
    settings: str
    play: Callable[[], str]


def crash_cases(scenario: Scenario, behaviours: list[Behaviour], *, every: int = 1) -> Iterator[Chosen]:
    """Yield a crash at every point of the undisturbed run; under a bad behaviour at every ``every``-th point next to
    something that others can see, a different one for each behaviour.

    The next process comes at once under the same name, or under another one that waits for the lease; every third case
    is played a second time with nobody there before the next slot.
    """
    for index, behaviour in enumerate(behaviours):
        for point in undisturbed(scenario, behaviour).points:
            if behaviour is not OK and (not point.is_effect or (point.number + index) % every):
                continue
            same = bool((point.number + index) % 2)
            slots = (False, True) if behaviour is OK or (point.number + index) % (3 * every) == 0 else (False,)
            for next_slot in slots:
                told = f"{'same' if same else 'another'} holder, {'next' if next_slot else 'same'} slot"
                yield Chosen(
                    "crash",
                    behaviour.name,
                    point,
                    told,
                    partial(play_crash, scenario, behaviour, point.number, same_holder=same, next_slot=next_slot),
                )


# (seconds of the pause, seconds of the lease, other processes): the lease runs out at once, or in its own good time.
PAUSES = ((2.0, 1.0, 1), (0.1, 0.05, 2), (61.0, 60.0, 1))


def pause_cases(scenario: Scenario, behaviours: list[Behaviour], *, every: int = 1) -> Iterator[Chosen]:
    """Yield a pause at every point of the undisturbed run, and as ``crash_cases`` does under bad behaviours."""
    for index, behaviour in enumerate(behaviours):
        for point in undisturbed(scenario, behaviour).points:
            if behaviour is not OK and (not point.is_effect or (point.number + index) % every):
                continue
            pauses = PAUSES if every == 1 else (PAUSES[(point.number // every + index) % len(PAUSES)],)
            for seconds, lease_seconds, others in pauses:
                yield Chosen(
                    "pause",
                    behaviour.name,
                    point,
                    f"{seconds} s, lease {lease_seconds} s, {others} other(s)",
                    partial(
                        play_pause,
                        scenario,
                        behaviour,
                        point.number,
                        pause_seconds=seconds,
                        lease_seconds=lease_seconds,
                        others=others,
                    ),
                )


def failures(scenario: Scenario, cases: Iterable[Chosen], most: int = 3) -> list[str]:
    """Play the cases and return what the first ``most`` that fail say, with all that is needed to play them again."""
    found: list[str] = []
    for case in cases:
        try:
            case.play()
        except Violation as violation:
            found.append(
                f"{violation}\n  scenario: {scenario.name}\n  behaviour: {case.behaviour}\n"
                f"  {case.kind} at point {case.point.number} ({case.point.name}), {case.settings}"
            )
            if len(found) >= most:
                break
    return found
