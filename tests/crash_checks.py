"""What must hold of orders, fills, book and journal in every case of the crash matrix, each promise under a name.

What concerns savings, flows and the live pool is in ``crash_live_checks.py``; how cases are played, and what their
outcome is held against, in ``crash_matrix.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from crash_live_checks import accrued, check_decisions, check_flows, check_movements, check_strategy_state
from crash_process import Violation
from crash_scenarios import SCENARIOS, Scenario, account_before
from cycle_world import World
from venue.orders import CONDITIONAL_KINDS

from trading_runtime.core.errors import EXIT_DONE, EXIT_TEMPORARY, EXIT_UNKNOWN, StoreDamaged
from trading_runtime.core.events import _KINDS as EVENT_KINDS
from trading_runtime.core.events import event_from_json
from trading_runtime.core.state import Event, State, apply, state_from_json
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.report import CycleReport
from trading_runtime.stores.journal import Journal


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
    """What the venue held before the account was opened, and of it what the account takes over or had saved."""

    money: int
    held: dict[str, int]
    adopted: frozenset[str]
    saved: Decimal


@lru_cache(maxsize=64)
def _baseline(name: str) -> Baseline:
    scenario = SCENARIOS[name]
    world = World(strategy=scenario.strategy, **dict(scenario.options))
    adopted = frozenset(world.job_options.get("adopt", ()))
    saved = world.venue.savings.position("main", world.market.quote)
    return Baseline(world.money(), {symbol: world.held(symbol) for symbol in world.symbols}, adopted, saved)


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
    if scenario.has_savings:
        check_movements(world, account, all_events)
        check_flows(world, all_events)
    _check_amounts(scenario, world, account, all_events)
    _check_replay(last[0] + account.unjournaled, last[1], account)
    if scenario.has_savings:
        check_strategy_state(world, account_before(scenario.name), account, all_events)
        check_decisions(world)
    return all_events


def _check_amounts(scenario: Scenario, world: World, account: Account, events: list[dict[str, Any]]) -> None:
    state, baseline = account.state, _baseline(scenario.name)
    for symbol in world.symbols:
        before = 0 if symbol in baseline.adopted else baseline.held[symbol]
        book, there = state.quantity(symbol), world.held(symbol) - before
        if book != there:
            raise Violation("position", f"{symbol}: the book holds {book} units, the venue {there}")
    money = state.cash - world.start_cash - state.flows
    paid_outside = sum(
        event["amount"] for event in events if event["event"] == "cash_moved"
    )  # what is in the book as a flow: fees in BNB, at the venue not in the quote's balance; deposits and the like
    if world.market.is_perpetual:
        money += sum(position.cost for position in state.positions.values())
    there = world.money() - baseline.money
    if scenario.has_savings:
        there -= accrued(world, baseline.saved)
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
    moving = [one.name for one in account.earn.values() if one.phase != "planned"]
    if moving and report.exit_code != EXIT_UNKNOWN:
        raise Violation("exit code", f"{moving} in flight, exit code {report.exit_code} ({report.reason})")
    is_certain = not claimed and not doubtful and not moving and not report.sent and not is_overtaken
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
