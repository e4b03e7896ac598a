"""The machinery of the crash matrix: processes that die or pause at any point, and what their cases must come to.

    until_quiet cycles by fresh processes until nothing is left to do
    check       the promises, each under a name; a broken one raises Violation (crash_checks.py)
    play_...    one case: a crash, or a pause with others in between; crash_interleaving.py has those at once

Which scenarios and behaviours are crossed is ``crash_scenarios.py``'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from crash_behaviours import OK, Behaviour
from crash_checks import check, check_exit
from crash_live_checks import check_buffer, sessions_of
from crash_live_pool import FUEL
from crash_process import LEASE_SECONDS, Point, Process, Violation
from crash_scenarios import Scenario
from cycle_world import HOUR_MS, World
from venue.faults import Faults

from trading_runtime.core.errors import EXIT_DONE
from trading_runtime.core.orders import client_order_id
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.report import CycleReport

# What every cycle and every case must keep to. A cycle waits at most for: the end of its bar (20 s), three orders whose
# fate is asked for 20 s each and three attempts of a question that is not answered; measured, not reckoned.
CYCLE_SECONDS_MAX = 150.0
CYCLES_MAX = 8
# Why an order may be missing in the end that the undisturbed run has placed: docs/crash-matrix.md tells each.
SAFE_REASONS = frozenset({"slot_passed", "risk_not_allowed", "not_placed"})
_CLOSED = ("done", "already_done", "nothing_new", "risk_halt")


class NotReachedError(Exception):
    """The process was to die at a point that it did not come to: it is not the program that the points are of."""


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
    safe = _refused(world) | {
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


# Gates that refuse because of what was known of the account at that moment, not of what was wanted.
_GATES_OF_RISK = ("control", "risk_state", "breakers", "data_quality")


def _refused(world: World) -> dict[str, str]:
    """Orders that were wanted and not planned, because the account could not be seen to be whole."""
    if not world.job_options:
        return {}
    name = world.strategy.__qualname__
    return {
        client_order_id("main", name, refusal["symbol"], decision.slot, refusal["leg"]): "risk_not_allowed"
        for recorded in sessions_of(world)
        for decision in recorded.decisions()
        if not decision.superseded
        for refusal in decision.decision["refusals"]
        if refusal["gate"] in _GATES_OF_RISK and refusal["symbol"]
    }


def is_quiet(world: World, report: CycleReport) -> bool:
    """Whether nothing is left to do or to learn in this slot."""
    if report.status not in _CLOSED:
        return False
    account = world.kept()
    if account.earn or any(note["event"] == "treasury_stopped" for note in report.notes):
        return False
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
    if _is_decided_blind(scenario, ran):
        return "decided before savings answered"
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


def _is_decided_blind(scenario: Scenario, ran: Ran) -> bool:
    """Whether the slot was decided while nobody answered about savings and flows: then by what was known before. What
    was planned so must have been done all the same, or be left out for a reason.
    """
    is_blind = False
    for event in ran.events:
        if event["event"] == "treasury_stopped":
            is_blind = True
        elif event["event"] == "slot_decided":
            if event["slot"] == scenario.slot:
                break
            is_blind = False
    if not is_blind:
        return False
    for event in ran.events:
        order = event["order"] if event["event"] == "order_planned" else None
        if order is None or order["slot"] != scenario.slot or order["order_id"] in ran.safe:
            continue
        mine = ran.executed.get(order["order_id"], Decimal(0))
        if int(mine * 10**8) != order["quantity"]:
            raise Violation("outcome", f"{order['order_id']} executed {mine}, planned {order['quantity']} units")
    return True


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
    for position in content["positions"]:
        if position["symbol"] == FUEL:  # how a fee's coins are split between cost and profit is rounded at each fee
            position["cost"] -= position.pop("realised")
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
    _let_arrive(scenario, world)
    ran = what_ran(world, reports, check(scenario, world))
    if scenario.has_savings and behaviour is OK:
        check_buffer(world)
    if next_slot:
        return check_next_slot(scenario, behaviour, ran)
    ended = check_outcome(scenario, behaviour, ran)
    return f"{ended}, {len(reports)}"


def _let_arrive(scenario: Scenario, world: World) -> None:
    """Let what was sent and is late come to the venue: a movement of savings that nobody waited for."""
    if scenario.has_savings:
        world.clock.sleep(10.0)


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
    if behaviour is OK and report.exit_code not in (EXIT_DONE, undisturbed(scenario, OK).reports[-1].exit_code):
        raise Violation("exit code", f"the one that was overtaken ends with {report.exit_code}: {report.reason}")
    reports = until_quiet(world, faults, scenario.slot, "last")
    _let_arrive(scenario, world)
    ran = what_ran(world, reports, check(scenario, world))
    return f"{check_outcome(scenario, behaviour, ran)}, {report.status}"


class Chosen(NamedTuple):
    """A case of the matrix: ``play`` plays it again, the rest says which it is."""

    kind: str
    behaviour: str
    point: Point
    settings: str
    play: Callable[[], str]


def _chosen(scenario: Scenario, behaviours: list[Behaviour], every: int) -> Iterator[tuple[int, Behaviour, Point]]:
    """Yield (number of the behaviour, behaviour, point): every point of the run without faults, of the others only
    every ``every``-th next to something that others can see. Of a thin scenario only such points, and of bad behaviours
    fewer, unless ``every`` is 1.
    """
    step = every * scenario.thin if every > 1 else 1
    is_thin = step > every
    for index, behaviour in enumerate(behaviours):
        for point in undisturbed(scenario, behaviour).points:
            if behaviour is OK:
                is_chosen = point.is_effect or not is_thin
            else:
                is_chosen = point.is_effect and (point.number + index) % step == 0
            if is_chosen:
                yield index, behaviour, point


def crash_cases(scenario: Scenario, behaviours: list[Behaviour], *, every: int = 1) -> Iterator[Chosen]:
    """Yield a crash at every point of the undisturbed run; under a bad behaviour at every ``every``-th point next to
    something that others can see, a different one for each behaviour.

    The next process comes at once under the same name, or under another one that waits for the lease; every third case
    is played a second time with nobody there before the next slot.
    """
    for index, behaviour, point in _chosen(scenario, behaviours, every):
        number = point.number + index
        step = every * scenario.thin if every > 1 else 1
        same = bool((number // step if step % 2 == 0 and behaviour is not OK else number) % 2)
        slots = (False, True) if behaviour is OK or number % (3 * step) == 0 else (False,)
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
    for index, behaviour, point in _chosen(scenario, behaviours, every):
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
