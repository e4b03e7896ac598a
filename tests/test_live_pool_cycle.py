"""The live pool through whole live cycles: ten days of hours, each by a process of its own, and what goes wrong in one.

Columns are given (``crash_live_pool.py``); venue, savings, store, ladder, journal and cycle are real. Crashes at every
point are the crash matrix's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from crash_live_checks import accrued, check_decisions, check_flows, check_movements, sessions_of
from crash_live_pool import CORE, ETH, LTC, SOL, XRP, columns_at, live_pool
from cycle_world import HOUR_MS, START_MS, UNIT, World
from test_cycle_failures import FailingDocuments
from venue.faults import Fate, Faults, error, lost_answer, lost_request
from venue.port import VenueExchange

from trading_runtime.artifacts.payload import PayloadRules
from trading_runtime.core.errors import EXIT_CONFIGURATION, EXIT_DONE, EXIT_UNKNOWN, ConfigurationError
from trading_runtime.core.intents import market
from trading_runtime.core.state import Order
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.core.treasury import treasury_terms
from trading_runtime.cycle.messages import messages_of
from trading_runtime.cycle.report import CycleReport
from trading_runtime.exchanges.port import OrderReport
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.journal import START, Journal
from trading_runtime.strategies.crypto_live_pool_rotation import CryptoLivePoolRotation

BCH = "BCH/USDT"
OFFICIAL = ("ETHUSDT", "SOLUSDT", "XRPUSDT", "LTCUSDT", "BCHUSDT")
DAY = 24


def live_world(strong: dict[int, tuple[str, ...]], *others: str, **options: Any) -> World:
    return World(strategy=CryptoLivePoolRotation, **live_pool(strong, *(others or (ETH, SOL, XRP)), **options))


class Forgetful(VenueExchange):
    """Tells nothing of orders in a market that has stopped, not even whether it had them."""

    def order(self, order: Order) -> OrderReport | None:
        if order.symbol in self.venue.stopped:
            raise ConfigurationError(f"the venue has no {order.symbol}")
        return super().order(order)


class BothOnce(Strategy):
    """Holds a little of every symbol."""

    def decide(self, inputs: Inputs) -> Proposal:
        wanted = [symbol for symbol in inputs.symbols if not inputs.position_of(symbol)]
        return Proposal([market(symbol, "buy", notional=500.0, leg="in") for symbol in wanted])


class FirstOnce(Strategy):
    """Holds a little of the first symbol."""

    def decide(self, inputs: Inputs) -> Proposal:
        return Proposal([] if inputs.position else [market(inputs.symbol, "buy", notional=500.0, leg="in")])


def told(report: CycleReport, kind: str) -> list[str]:
    return [line for one in messages_of(report) if one.kind == kind for line in one.text.splitlines()]


def legs(world: World) -> list[str]:
    """The legs of all orders that the venue has taken, in that order."""
    return [f"{order.symbol} {order.client_id.rpartition('-')[2]}" for order in world.venue.accepted]


def facts_of(report: CycleReport) -> dict[str, Any]:
    facts: dict[str, Any] = report.decisions[-1]["facts"]
    return facts


def gates_of(report: CycleReport) -> set[str]:
    return {refusal["gate"] for decision in report.decisions for refusal in decision["refusals"]}


def events_of(world: World) -> list[dict[str, Any]]:
    """Every event of the account; raises StoreDamaged where the journal's chain does not hold."""
    journal = Journal(world.documents, "main", world.strategy.__qualname__)
    entries = [entry for session in journal.sessions() for entry in journal.entries(session)]
    assert all(journal.head(session) != START for session in journal.sessions())
    found = [event for entry in entries if entry.kind == "events" for event in entry.content["events"]]
    return found + world.kept().unjournaled


def check_whole(world: World, saved_before: str = "0") -> None:
    """The book is the venue's to the last unit, nothing is open, and every decision comes to the same bytes again."""
    account, events = world.kept(), events_of(world)
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert not account.records
    for symbol in world.symbols:
        assert account.state.quantity(symbol) == world.held(symbol), symbol
    assert account.state.cash == world.money() - accrued(world, Decimal(saved_before))
    assert max(world.venue.count_by_client_id().values(), default=0) <= 1
    check_movements(world, account, events)
    check_flows(world, events)
    check_decisions(world)


# Ten days.


def patient_columns(strong: dict[int, tuple[str, ...]], world: World, slot: int) -> dict[str, Any]:
    """Averages far below the prices of these days, so that sales come of the schedule or of the trailing stop; that of
    ETH is far away.
    """
    found: dict[str, Any] = columns_at(strong, 0.7, world, slot)
    for name in ("sma20", "sma60", "sma200"):
        found[name] = {symbol: value * 0.6 for symbol, value in found[name].items()}
    found["atr14"] = {**found["atr14"], ETH: found["atr14"][ETH] * 3.0}
    return found


def test_ten_days_of_hours_with_a_publication_that_grows_old() -> None:
    """Published 40 days before: of age until day 5, the last known good one until day 8, then the static universe."""
    strong = {0: (ETH, SOL), 7 * DAY: (SOL, XRP)}
    world = World(
        strategy=CryptoLivePoolRotation,
        others=(ETH, SOL, XRP, LTC, BCH),
        configured=(CORE,),
        bars_count=50 + 10 * DAY + 2,
        cash="5000",
        savings="1000",
        savings_rate="0.05",
        pool_rules=PayloadRules(),
        pool_days_max=48,
        columns=partial(patient_columns, strong),
        job_options={"treasury": treasury_terms(earn_buffer=True), "has_all_funds": True},
    )
    world.publish(OFFICIAL, as_of_date="2023-11-22")
    highest: dict[str, float] = {}
    sources: list[str] = []
    filled: dict[str, list[int]] = {}
    reasons: set[str] = set()
    profit = 0.0
    for hour in range(10 * DAY):
        slot = START_MS + hour * HOUR_MS
        if hour:
            world.to_slot(slot)
        if hour == 2 * DAY + 7:
            world.venue.savings.deposit("USDT", "500")
        report = world.cycle(slot, f"run {hour}")
        assert (report.status, report.exit_code) == ("done", EXIT_DONE), (hour, report.reason, report.defect)
        facts, day = facts_of(report), hour // DAY
        sources.append(facts["pool"]["source_kind"])
        if hour == 2 * DAY + 7:
            # The hour moved prices by some tens; the deposit of 500 is no part of it.
            assert abs(facts["breaker"]["profit"] - profit) < 100.0
        profit = facts["breaker"]["profit"]
        reasons |= {f"{name} {one['reason']}" for name, one in facts["intents"].items()}
        assert not facts["breaker"]["latched"]
        for fill in report.fills:
            leg = fill["order_id"].rpartition("-")[2]
            filled.setdefault(f"{fill['symbol']} {leg}", []).append(hour)
        _check_highs(world, highest)
        if sources[-1] != "fresh_upstream":
            assert "trend_buy_paused_degraded_mode" in gates_of(report)
            assert not [one for one in report.fills if one["order_id"].endswith("trend_buy")]
        assert report.publication is not None
        assert report.publication["is_incident"] is (day >= 9)
        assert facts["pool"]["version"] == "2023-11-22-core_major", "a degraded source replaces no lock"

    assert sources == ["fresh_upstream"] * 6 * DAY + ["last_known_good"] * 3 * DAY + ["static"] * DAY
    assert [hour // DAY for hour in filled[f"{CORE} dca_buy"]] == list(range(10)), "once a day, degraded or not"
    assert 7 * DAY in filled[f"{ETH} trend_sell"], "sells go on"
    assert f"{XRP} trend_buy" not in filled, "it qualifies when the publication is degraded already"
    assert f"{SOL} trend_sell trailing_stop" in reasons
    assert told(report, "artifact"), "a static universe is an incident that people are told of"
    assert abs(world.kept().state.flows - 500 * UNIT) < 5 * UNIT
    check_whole(world, "1000")
    (recorded,) = sessions_of(world)
    assert len(recorded.decisions()) == 10 * DAY


def _check_highs(world: World, highest: dict[str, float]) -> None:
    """Each process finds the highs that the one before has left, and only raises them."""
    state = world.kept().state
    kept = state.strategy_state["highest"]
    for symbol in kept:
        if symbol in highest:
            price = float(world.venue.markets[symbol].price)
            assert kept[symbol] == max(highest[symbol], price), symbol
    highest.clear()
    highest.update(kept)


# One slot goes wrong.


class Breaking(FailingDocuments):
    """A store that takes no more writes once it is told to."""

    def __init__(self, documents: Documents) -> None:
        super().__init__(documents)

    def fail(self) -> None:
        self._left = 0


@pytest.mark.parametrize("call", ["place", "move_earn"])
def test_a_state_that_cannot_be_written_stops_the_cycle_before_the_next_order(call: str) -> None:
    world = live_world({0: (), 1: (ETH, SOL)}, cash="60", savings="1940")
    assert world.cycle(START_MS).status == "done"
    before = len(world.venue.accepted)
    slot = START_MS + HOUR_MS
    world.to_slot(slot)
    store = Breaking(world.documents)

    def after(name: str) -> None:
        if name == call:
            store.fail()

    exchange = VenueExchange(world.venue, None, world.clock, after=after)
    report = world.cycle(slot, exchange=exchange, wrap=lambda _: store)
    sent = [len(world.venue.accepted) - before, len(world.account.earn_records) - 1]
    assert sent == ([1, 1] if call == "place" else [0, 1]), "nothing is sent after the write that failed"
    assert report.exit_code == EXIT_UNKNOWN, report.reason
    assert "store does not answer" in report.reason

    world.clock.sleep(60.0)
    report = world.cycle(slot)
    assert report.status == "done", report.reason
    assert legs(world)[before:] == [f"{ETH} trend_buy", f"{SOL} trend_buy"]
    check_whole(world, "1940")


@pytest.mark.parametrize("fate", [error(400, -2010), error(400, -1013)], ids=["-2010", "-1013"])
def test_an_order_that_is_refused_never_ends_as_its_success(fate: Fate) -> None:
    world = live_world({0: (ETH, SOL)})
    report = world.cycle(START_MS, exchange=world.exchange(Faults({("place", 0): fate})))
    assert legs(world) == [f"{SOL} trend_buy", f"{CORE} dca_buy"]
    (rejected,) = report.rejected
    assert rejected["order_id"].endswith("trend_buy")
    assert ETH not in {fill["symbol"] for fill in report.fills}
    outcomes = {one["symbol"]: one["outcome"] for one in report.to_json()["buy_sell_intents"]}
    assert outcomes[SOL] == "filled"
    assert outcomes[ETH] != "filled"
    assert any(ETH in line for line in told(report, "failed_order")), [one.text for one in messages_of(report)]
    assert not any(ETH in line for line in told(report, "trade"))
    check_whole(world)

    world.to_slot(START_MS + HOUR_MS)
    assert world.cycle(START_MS + HOUR_MS).status == "done"
    assert legs(world)[-1] == f"{ETH} trend_buy", "what changed nothing may be tried again on the same date"
    check_whole(world)


def test_a_movement_in_flight_that_nobody_can_be_asked_about_is_a_fate_unknown() -> None:
    world = live_world({0: ()})
    faults = Faults({("move_earn", 0): lost_answer()})

    def before(name: str) -> None:
        if name == "move_earn":
            faults.then("earn", *[lost_request()] * 30)

    first = world.cycle(START_MS, exchange=VenueExchange(world.venue, faults, world.clock, before=before))
    assert (first.status, first.exit_code) == ("unresolved", EXIT_UNKNOWN), first.reason
    world.clock.sleep(30.0)
    faults.then("balances", lost_request(), lost_request(), lost_request())
    second = world.cycle(START_MS, exchange=world.exchange(faults))
    assert second.exit_code == EXIT_UNKNOWN, second.reason
    world.clock.sleep(30.0)
    third = world.cycle(START_MS)
    assert third.exit_code == EXIT_DONE, third.reason
    assert len(world.account.earn_records) == 1
    check_whole(world)


# Symbols that come and go.


def publish_unknown(world: World) -> None:
    world.publish(("SOLUSDT", "ZZZUSDT", "XRPUSDT"), version="with one that is not traded here")


def delist_unheld(world: World) -> None:
    del world.venue.markets[XRP]


@pytest.mark.parametrize(
    ("change", "left_out"), [(publish_unknown, "ZZZUSDT"), (delist_unheld, "XRPUSDT")], ids=["published", "delisted"]
)
def test_a_symbol_that_is_not_traded_here_is_left_out_and_told(change: Callable[[World], None], left_out: str) -> None:
    world = live_world({0: (ETH, SOL)})
    assert world.cycle(START_MS).status == "done"
    change(world)
    for number in (1, 2):
        slot = START_MS + number * HOUR_MS
        world.clock.advance_to(slot - 1_000)
        for symbol in world.venue.markets:
            world.venue.set_price(symbol, world._price_at(slot, symbol))
        world.clock.advance_to(slot + 2_000)
        report = world.cycle(slot)
        assert (report.status, report.exit_code) == ("done", EXIT_DONE), report.reason
        assert report.publication is not None
        assert list(report.publication["excluded"]) == [left_out]
        assert "not traded here" in report.publication["excluded"][left_out]
        assert left_out not in facts_of(report)["pool"]["execution"]
        assert left_out in report.to_json()["upstream_pool_symbols"]
    if left_out == "ZZZUSDT":
        assert legs(world)[-1] == f"{ETH} trend_sell", "the one that left the pool is sold all the same"
    check_decisions(world)


def test_a_held_symbol_that_is_delisted_is_frozen_and_the_rest_goes_on() -> None:
    world = live_world({0: (ETH, SOL), 1: (LTC, XRP)}, ETH, SOL, XRP, LTC)
    assert world.cycle(START_MS).status == "done"
    before = world.kept()
    world.publish(("SOLUSDT", "XRPUSDT", "LTCUSDT"), version="next")
    del world.venue.markets[ETH]
    world.clock.advance_to(START_MS + HOUR_MS + 2_000)
    report = world.cycle(START_MS + HOUR_MS)
    assert (report.status, report.exit_code) == ("done", EXIT_DONE), report.reason
    assert [one["symbol"] for one in report.suspended] == [ETH]
    assert {f"{SOL} trend_sell", f"{LTC} trend_buy"} <= set(legs(world))
    assert f"{ETH} trend_sell" not in legs(world)
    assert world.kept().state.quantity(ETH) == before.state.quantity(ETH)
    assert len([line for line in told(report, "suspended") if ETH in line]) == 1
    check_decisions(world)


def test_an_order_of_unknown_fate_in_a_market_that_stops_is_asked_for_until_it_is_known() -> None:
    world = live_world({0: (ETH, SOL)})
    silent = {("order", number): error(500, -1000) for number in range(200)}
    report = world.cycle(START_MS, exchange=world.exchange(Faults({("place", 0): lost_answer(), **silent})))
    (claimed,) = world.kept().in_phase("claimed")
    symbol = claimed.order.symbol
    assert report.exit_code == EXIT_UNKNOWN
    world.venue.stopped.add(symbol)
    sent = len(world.venue.accepted)
    world.to_slot(START_MS + HOUR_MS)
    report = world.cycle(START_MS + HOUR_MS, exchange=Forgetful(world.venue, None, world.clock))
    assert (report.status, report.exit_code) == ("unresolved", EXIT_UNKNOWN), report.reason
    assert symbol in report.quarantine
    assert len(report.decisions) == 1, "the others go on"
    assert [one["symbol"] for one in report.suspended] == [symbol]
    world.to_slot(START_MS + 2 * HOUR_MS)
    report = world.cycle(START_MS + 2 * HOUR_MS)
    assert report.exit_code == EXIT_DONE, report.reason
    assert not [one for one in world.venue.accepted[sent:] if one.symbol == symbol], "no order while it is stopped"
    assert world.kept().state.quantity(symbol) == world.held(symbol) > 0
    world.venue.stopped.clear()
    world.to_slot(START_MS + 3 * HOUR_MS)
    assert world.cycle(START_MS + 3 * HOUR_MS).status == "done"
    check_whole(world)


def test_an_order_that_was_planned_and_not_sent_is_dropped_when_its_market_stops() -> None:
    world = live_world({0: (ETH, SOL), 1: (SOL, XRP)})
    assert world.cycle(START_MS).status == "done"
    slot = START_MS + HOUR_MS
    world.to_slot(slot)
    limited = Faults({("place", number): error(429, -1003, retry_seconds=600) for number in range(9)})
    report = world.cycle(slot, exchange=world.exchange(limited))
    assert report.status == "unfinished", report.reason
    assert ETH in {record.order.symbol for record in world.kept().in_phase("planned")}
    world.venue.stopped.add(ETH)
    world.clock.advance_to(slot + 60_000)
    report = world.cycle(slot)
    assert report.status == "done", report.reason
    dropped = [note for note in report.notes if note["event"] == "order_dropped"]
    assert [note["reason"] for note in dropped] == ["not_traded"]
    assert f"{ETH} trend_sell" not in legs(world)
    world.venue.stopped.clear()
    world.to_slot(slot + HOUR_MS)
    assert world.cycle(slot + HOUR_MS).status == "done"
    assert f"{ETH} trend_sell" in legs(world)
    check_whole(world)


@pytest.mark.parametrize("is_held", [True, False])
def test_of_symbols_that_the_settings_name_only_a_held_one_may_be_missing(is_held: bool) -> None:
    world = World(strategy=BothOnce if is_held else FirstOnce, others=(ETH,))
    assert world.cycle(START_MS).status == "done"
    assert (world.kept().state.quantity(ETH) > 0) is is_held
    world.venue.stopped.add(ETH)
    world.to_slot(START_MS + HOUR_MS)
    report = world.cycle(START_MS + HOUR_MS)
    if not is_held:
        assert (report.status, report.exit_code) == ("refused", EXIT_CONFIGURATION)
        return
    assert (report.status, [one["symbol"] for one in report.suspended]) == ("done", [ETH])
    world.venue.stopped = {world.symbol}
    world.to_slot(START_MS + 2 * HOUR_MS)
    report = world.cycle(START_MS + 2 * HOUR_MS)
    assert (report.status, report.exit_code) == ("refused", EXIT_CONFIGURATION)
    assert world.symbol in report.reason


def test_a_symbol_that_left_the_pool_is_sold_when_its_sale_failed_before() -> None:
    world = live_world({0: (ETH, SOL), 1: (SOL, LTC)}, ETH, SOL, XRP, LTC)
    assert world.cycle(START_MS).status == "done"
    world.publish(("SOLUSDT", "XRPUSDT", "LTCUSDT"), version="next")
    slot = START_MS + HOUR_MS
    world.to_slot(slot)
    report = world.cycle(slot, exchange=world.exchange(Faults({("place", 0): error(400, -2010)})))
    assert report.rejected
    assert facts_of(report)["pool"]["retired"] == [ETH]
    assert world.kept().state.quantity(ETH)
    world.to_slot(slot + HOUR_MS)
    report = world.cycle(slot + HOUR_MS)
    assert report.status == "done", report.reason
    assert f"{ETH} trend_sell" in legs(world)
    assert world.kept().state.quantity(ETH) < 1000, "less than a lot is left of it"
    check_whole(world)
