"""Cycles of the treasury alone, in a world with savings: what settles, flows, one buy and the buffer, step by step.

The steps are those of the live cycle that concern savings, in its order; strategies, bars and reports are left out, so
that a crash can be played at every point of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from crash_process import Killed, Process
from cycle_world import START_MS, SYMBOL, UNIT, Alternate, World
from venue.faults import Faults
from venue.market import VenueMarket
from venue.savings import VenueProduct, total_of

from trading_runtime.core.errors import TradingRuntimeError
from trading_runtime.core.events import _KINDS as EVENT_KINDS
from trading_runtime.core.events import event_from_json
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.state import Order, SlotDecided, State, apply, state_from_json
from trading_runtime.core.treasury import TreasuryTerms, treasury_terms
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.booking import Booker
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.flows import book_flows, opening_money, remember_opening
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.keeper import Keeper, TakenOver
from trading_runtime.cycle.opening import begin_session
from trading_runtime.cycle.placement import drop_what_is_late, place_all, plan
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.settle import settle
from trading_runtime.cycle.treasury import (
    Treasury,
    make_room_for,
    savings_balance,
    savings_in_doubt,
    settle_savings,
    tidy_savings,
)
from trading_runtime.stores.journal import Journal

TERMS = treasury_terms(earn_buffer=True)
STEP_MS = 3_600_000


@dataclass
class Cycle:
    """How a cycle of the treasury ended."""

    status: str
    reason: str = ""
    doubts: list[str] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    seen: Decimal = Decimal(0)

    def told(self, event: str) -> list[dict[str, Any]]:
        return [note for note in self.notes if note["event"] == event]


def make_world(*, cash: str = "1000", rate: str = "0", in_savings: str = "0", **options: Any) -> World:
    """A world whose account has ``cash`` on spot and ``in_savings`` in the flexible product."""
    world = World(cash=str(Decimal(cash) + Decimal(in_savings)), **options)
    world.venue.savings.offer(VenueProduct("USDT", yearly_rate=rate))
    if Decimal(in_savings):
        world.venue.savings.move("main", "subscribe", "USDT001", Decimal(in_savings))
        world.clock.sleep(3600.0)
        world.account.earn_records.clear()
        world.to_slot(START_MS + 2 * STEP_MS)
    return world


def treasury_cycle(
    job: Job,
    slot: int,
    *,
    terms: TreasuryTerms = TERMS,
    spend: str | None = None,
    is_risk_allowed: bool = True,
    look: Callable[[Context], None] | None = None,
) -> Cycle:
    """Settle, book flows, buy for ``spend`` once in the slot, tidy. ``look`` is shown the context before the end."""
    held = job.stores.lease.acquire(job.clock.now_ms())
    if held is None:
        return Cycle("not_mine", "another process has the lease")
    keeper, context = Keeper(job.stores, held, job.clock), None
    try:
        instruments = dict(job.exchange.instruments(job.symbols))
        account = keeper.load()
        if account is None:
            opening = opening_money(job.exchange, "USDT")
            account = Account(State(int(opening.money * UNIT)), mode=job.mode)
            remember_opening(account, opening)
            keeper.open(account)
        keeper.fence()
        context = Context(
            job.exchange, keeper, Booker(job.exchange, instruments), job.clock, job.log, instruments, job.patience
        )
        context.treasury, context.slot = Treasury(terms, "USDT"), slot
        begin_session(job, keeper, slot)
        settle(context)
        settle_savings(context)
        book_flows(context)
        seen = savings_balance(context)
        drop_what_is_late(context, is_risk_allowed=is_risk_allowed)
        if account.state.slot != slot:
            account.book(SlotDecided(slot, {}))
            plan(context, [] if spend is None else [_buy(context, slot, spend)])
            keeper.save()
        waiting = [one for one in account.in_phase("planned") if not make_room_for(context, one.order)]
        if not waiting:
            place_all(context)
        tidy_savings(context)
        if look is not None:
            look(context)
        keeper.flush(slot)
        keeper.save()
        return Cycle("waits" if waiting else "done", "", savings_in_doubt(context), context.notes, seen)
    except TakenOver as taken:
        return Cycle("not_mine", str(taken))
    except TradingRuntimeError as error:
        return Cycle("error", f"{type(error).__name__}: {error}", [], [] if context is None else context.notes)
    finally:
        keeper.release()


def _buy(context: Context, slot: int, spend: str) -> Order:
    """A market order worth ``spend`` at the present price, rounded down to the lot."""
    instrument = context.instruments[SYMBOL]
    price = context.exchange.quote_price(instrument.base, instrument.quote)
    assert price is not None
    lot = instrument.rules_at(slot).lot
    units = int(Decimal(spend) / Decimal(repr(price)) / instrument.quantity_unit) // lot * lot
    order_id = client_order_id("main", Alternate.__qualname__, SYMBOL, slot, "b")
    return Order(order_id, SYMBOL, "market", 1, units, slot=slot, leg="b")


class TreasuryProcess(Process):
    """A process of the crash matrix whose cycle is the treasury's."""

    def work(self, slot: int, **options: Any) -> Cycle | None:
        """Run a cycle; None when the process died in it."""
        try:
            return treasury_cycle(self.job, slot, **options)
        except Killed:
            return None

    def live(self, slot: int, terms: TreasuryTerms) -> CycleReport | None:
        """Run a whole live cycle that has a treasury; None when the process died in it."""
        self.job = replace(self.job, treasury=terms, has_all_funds=True)
        return self.run(slot)


def run(world: World, slot: int, faults: Faults | None = None, **options: Any) -> Cycle:
    """One undisturbed process."""
    return treasury_cycle(world.job(exchange=world.exchange(faults)), slot, **options)


# What there is, and what must hold.


def there(world: World) -> Decimal:
    """All the quote money that the venue says is the account's: spot, savings, and on its way between them."""
    world.venue.savings.settle("main")
    return total_of(world.account, "USDT", world.clock.now_ms())


def spot(world: World) -> Decimal:
    world.venue.savings.settle("main")
    return world.account.free.get("USDT", Decimal(0))


def position(world: World) -> Decimal:
    return world.venue.savings.position("main", "USDT")


def journal_of(world: World) -> list[dict[str, Any]]:
    """Every event of the account, in order; raises StoreDamaged where a chain does not hold."""
    journal = Journal(world.documents, "main", world.strategy.__qualname__)
    entries = [entry for session in journal.sessions() for entry in journal.entries(session)]
    return [event for entry in entries if entry.kind == "events" for event in entry.content["events"]]


def check_world(world: World) -> list[dict[str, Any]]:
    """Assert what must hold when all is quiet; return all that the journal and the document tell."""
    account = world.kept()
    events = journal_of(world) + account.unjournaled
    numbers = [event["number"] for event in events]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    assert account.earn == {}, account.earn
    _check_movements(world, events)
    _check_replay(world, account, events)
    booked = {event["trade_id"] for event in events if event["event"] == "order_filled"}
    assert booked == {str(trade.trade_id) for trades in world.account.trades.values() for trade in trades}
    assert max(world.venue.count_by_client_id().values(), default=0) <= 1
    return events


def _check_movements(world: World, events: list[dict[str, Any]]) -> None:
    """Every movement that the venue has made was planned, claimed and noted, once."""
    planned = {event["movement"]: event for event in events if event["event"] == "savings_planned"}
    claimed = {event["movement"] for event in events if event["event"] == "savings_claimed"}
    ended = [event for event in events if event["event"] in ("savings_moved", "savings_not_moved")]
    assert len({event["movement"] for event in ended}) == len(ended), "a movement ended twice"
    assert {event["movement"] for event in ended} == set(planned), "a movement that was planned is forgotten"
    moved = {event["operation_id"]: event for event in ended if event["event"] == "savings_moved"}
    assert len(moved) == sum(event["event"] == "savings_moved" for event in ended), "an operation is noted twice"
    records = {str(record.record_id): record for record in world.account.earn_records}
    done = {name for name, record in records.items() if not record.fails}
    assert set(moved) == done, f"noted: {sorted(moved)}, done by the venue: {sorted(done)}"
    for name, event in moved.items():
        assert (event["kind"], event["amount"]) == (records[name].kind, f"{records[name].amount.normalize():f}")
        assert event["movement"] in claimed


def _check_replay(world: World, account: Account, events: list[dict[str, Any]]) -> None:
    """The events, applied to the first state, give the document's."""
    journal = Journal(world.documents, "main", world.strategy.__qualname__)
    first = next(iter(journal.entries(next(iter(journal.sessions())))))
    state = state_from_json(first.content["state"])
    for event in events:
        kind = EVENT_KINDS.get(event["event"])
        if kind is not None:
            state = apply(state, event_from_json({name: event[name] for name in ("event", *kind.__slots__)}))
    assert state.to_json() == account.state.to_json()


def with_bnb(world: World, price: str = "300") -> None:
    """Let the venue have a market of the coin that fees are paid with."""
    world.venue.markets["BNB/USDT"] = VenueMarket("BNB/USDT", price)
