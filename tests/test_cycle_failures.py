"""When what surrounds a cycle fails: the right status and exit code, one clear line, and no order."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cycle_world import HOUR_MS, START_MS, UNIT, Alternate, Bracket, Resting, World
from venue.faults import Faults, error, lost_request, slow_answer
from venue.orders import NewOrder
from venue.port import VenueExchange

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import (
    EXIT_CONFIGURATION,
    EXIT_DONE,
    EXIT_HALT,
    EXIT_STRATEGY,
    EXIT_TEMPORARY,
    DataError,
    StoreUnavailable,
)
from trading_runtime.core.intents import cancel, limit
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.risk import RiskLimits
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.run import run_cycle
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Document, Documents
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.sqlite import SqliteDocuments

NEXT = START_MS + HOUR_MS
MINUTE_MS = 60_000


def ended(world: World, report: CycleReport, status: str, exit_code: int, says: str, orders: int = 0) -> None:
    """The report ends so, in one line that says ``says``, and the venue has accepted ``orders`` orders."""
    assert (report.status, report.exit_code) == (status, exit_code), report.reason
    assert says in report.reason, report.reason
    assert "\n" not in report.reason
    assert len(world.venue.accepted) == orders, world.venue.accepted


def with_position() -> World:
    """A world whose account has bought at the first slot, and where the second, at which it closes, has come."""
    world = World(strategy=Alternate)
    assert world.cycle(START_MS).status == "done"
    world.to_slot(NEXT)
    return world


class FailingDocuments:
    """A store that cannot be reached from its ``number``-th write on, or for one kind of document."""

    def __init__(self, documents: Documents, *, writes: int = 10**9, reads: bool = False, only: str = "") -> None:
        self._documents, self._left, self._reads, self._only = documents, writes, reads, only

    def _check(self, path: str, is_write: bool) -> None:
        if self._only and not path.startswith(self._only):
            return
        if is_write:
            self._left -= 1
        if self._left < 0 or (self._reads and not is_write):
            raise StoreUnavailable("the store does not answer; is it running?")

    def read(self, path: str) -> Document | None:
        self._check(path, False)
        return self._documents.read(path)

    def create(self, path: str, content: bytes) -> str:
        self._check(path, True)
        return self._documents.create(path, content)

    def replace(self, path: str, content: bytes, version: str) -> str:
        self._check(path, True)
        return self._documents.replace(path, content, version)

    def names(
        self, collection: str, *, first: str = "", last: str | None = None, newest: int | None = None
    ) -> list[str]:
        self._check(collection, False)
        return self._documents.names(collection, first=first, last=last, newest=newest)

    def close(self) -> None:
        self._documents.close()


# The store.


def test_a_store_that_cannot_be_reached_ends_the_cycle_before_it_begins() -> None:
    world = World()
    report = world.cycle(START_MS, wrap=lambda kept: FailingDocuments(kept, writes=0, reads=True))
    ended(world, report, "no_decision", EXIT_TEMPORARY, "the store does not answer")


def test_a_store_that_goes_away_in_the_middle_leaves_nothing_that_the_next_cycle_does_not_settle() -> None:
    statuses = set()
    for writes in range(20):
        world = World()
        report = world.cycle(START_MS, wrap=lambda kept, writes=writes: FailingDocuments(kept, writes=writes))
        statuses.add((report.status, report.exit_code))
        if report.sent:
            assert report.exit_code in (76, EXIT_DONE), (writes, report.reason)
        elif report.status != "done":
            assert report.exit_code == EXIT_TEMPORARY, (writes, report.reason)
            assert not world.venue.accepted
        world.clock.sleep(10.0)
        again = world.cycle(START_MS)
        assert again.exit_code == EXIT_DONE, (writes, again.reason)
        assert max(world.venue.count_by_client_id().values()) == 1, writes
        assert world.kept().state.quantity(world.symbol) == world.held(), writes
    assert {("no_decision", EXIT_TEMPORARY), ("unresolved", 76), ("done", EXIT_DONE)} <= statuses, statuses


def sqlite_world(path: Path) -> World:
    world = World(documents=SqliteDocuments(path))
    assert world.cycle(START_MS).status == "done"
    world.to_slot(NEXT)
    world.documents.close()
    return world


@pytest.mark.skipif(os.name != "posix", reason="file permissions of POSIX")
def test_a_read_only_store_ends_the_cycle_before_it_begins(tmp_path: Path) -> None:
    world = sqlite_world(tmp_path / "state.db")
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()

    class ReadOnly(SqliteDocuments):
        """As on a file system that was mounted so: permissions mean nothing to root, who runs tests in containers."""

        def _open(self) -> None:
            super()._open()
            assert self._connection is not None
            self._connection.execute("PRAGMA query_only=ON")

    report = world.cycle(NEXT, documents=ReadOnly(tmp_path / "state.db"))
    ended(world, report, "no_decision", EXIT_TEMPORARY, "state.db", orders=1)


def test_a_full_store_sends_nothing(tmp_path: Path) -> None:
    world = sqlite_world(tmp_path / "state.db")
    documents = SqliteDocuments(tmp_path / "state.db")
    assert documents._connection is not None
    (pages,) = documents._connection.execute("PRAGMA page_count").fetchone()
    documents._connection.execute(f"PRAGMA max_page_count={pages}")
    report = world.cycle(NEXT, documents=documents)
    ended(world, report, "no_decision", EXIT_TEMPORARY, "full", orders=1)


def test_a_corrupt_store_halts(tmp_path: Path) -> None:
    world = sqlite_world(tmp_path / "state.db")
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("UPDATE documents SET content = replace(content, 'main', 'mean') WHERE collection = 'state'")
    connection.commit()
    connection.close()
    report = world.cycle(NEXT, documents=SqliteDocuments(tmp_path / "state.db"))
    ended(world, report, "failed", EXIT_HALT, "state/main.Alternate", orders=1)


def test_a_lost_state_of_a_known_account_halts() -> None:
    world = with_position()
    kept = MemoryDocuments()
    for collection in ("accounts", "control", "leases"):
        for name in world.documents.names(collection):
            found = world.documents.read(f"{collection}/{name}")
            assert found is not None
            kept.create(f"{collection}/{name}", found.content)
    ended(world, world.cycle(NEXT, documents=kept), "failed", EXIT_HALT, "is missing", orders=1)


def test_a_state_of_a_newer_schema_is_refused() -> None:
    from trading_runtime.stores.envelope import open_sealed, seal
    from trading_runtime.stores.state_store import SCHEMA_VERSION

    world = with_position()
    path = "state/main.Alternate"
    found = world.documents.read(path)
    assert found is not None
    content = open_sealed(path, found.content, SCHEMA_VERSION).content
    world.documents.replace(path, seal(path, content, 99)[0], found.version)
    ended(world, world.cycle(NEXT), "refused", EXIT_CONFIGURATION, "newer program", orders=1)


# The exchange.


def test_an_exchange_that_cannot_be_reached_is_asked_a_limited_number_of_times() -> None:
    world = World()
    faults = Faults({(kind, number): lost_request() for kind in ("time", "markets") for number in range(30)})
    began = world.clock.now_ms()
    report = world.cycle(START_MS, exchange=world.exchange(faults))
    ended(world, report, "no_decision", EXIT_TEMPORARY, "did not answer")
    assert sum(faults.asked.values()) == 3
    assert world.clock.now_ms() - began < 30_000


@pytest.mark.parametrize("kind", ["balances", "open_orders", "bars"])
def test_an_exchange_that_does_not_answer_a_question_gives_no_decision(kind: str) -> None:
    world = World()
    faults = Faults({(kind, number): error(503) for number in range(300)})
    report = world.cycle(START_MS, exchange=world.exchange(faults))
    ended(world, report, "no_decision", EXIT_TEMPORARY, "did not answer")


def test_a_slow_exchange_is_waited_for() -> None:
    world = World()
    kinds = ("time", "markets", "balances", "open_orders", "bars", "order", "trades", "place")
    faults = Faults({(kind, number): slow_answer(900) for kind in kinds for number in range(100)})
    ended(world, world.cycle(START_MS, exchange=world.exchange(faults)), "done", EXIT_DONE, "", orders=1)


@pytest.mark.parametrize("minutes", [10, -10, 2])
def test_clocks_that_differ_stop_a_live_cycle(minutes: int) -> None:
    world = World()

    class OtherClock:
        def now_ms(self) -> int:
            return world.clock.now_ms() + minutes * MINUTE_MS

        def sleep(self, seconds: float) -> None:
            world.clock.sleep(seconds)

    report = world.cycle(START_MS, clock=OtherClock(), exchange=world.exchange())
    ended(world, report, "no_decision", EXIT_TEMPORARY, "set the wrong one")


def test_an_exchange_whose_clock_goes_back_opens_no_risk() -> None:
    world = World(strategy=Alternate)
    lead = 50_000
    ahead = VenueExchange(world.venue, None, world.clock)

    class Liar(VenueExchange):
        lie_ms = lead

        def server_time_ms(self) -> int:
            return super().server_time_ms() + self.lie_ms

    liar = Liar(world.venue, None, world.clock)
    world.to_slot(NEXT)  # odd: nothing to do
    assert world.cycle(NEXT, exchange=liar).status == "done"
    liar.lie_ms = -lead
    world.clock.sleep(30.0)
    even = NEXT + HOUR_MS
    world.venue.set_bars(world.bars)
    world.clock.advance_to(even - 20_000)
    report = world.cycle(None, exchange=liar)
    assert report.status == "nothing_new"
    assert not world.venue.accepted
    account = world.kept()
    account.exchange_ms = even + 5 * MINUTE_MS
    _write(world, account)
    world.to_slot(even)
    report = world.cycle(even, exchange=ahead)
    ended(world, report, "done", EXIT_DONE, "")
    assert [one["kind"] for one in report.mismatches] == ["regression"]
    assert report.refusals_by_gate() == {"risk_state": 1}


def _write(world: World, account: Any) -> None:
    from trading_runtime.stores.state_store import StateStore

    store = StateStore(world.documents, "main", world.strategy.__qualname__)
    saved = store.load()
    assert saved is not None
    store.save(account.to_json(), saved, saved.token)


# The control document.


def test_an_unreadable_control_document_opens_no_risk_and_closes_all_the_same() -> None:
    world = World(strategy=Alternate)
    world.documents.create("control/main", b"{}")
    report = world.cycle(START_MS)
    ended(world, report, "halted", EXIT_DONE, "control document cannot be read")
    assert report.refusals_by_gate() == {"control": 1}
    world = with_position()
    world.documents.create("control/main", b"{}")
    ended(world, world.cycle(NEXT), "halted", EXIT_DONE, "control document cannot be read", orders=2)
    assert world.held() < UNIT // 100_000, "less than a lot is left"


def test_a_control_document_that_cannot_be_reached_opens_no_risk() -> None:
    world = World()
    report = world.cycle(START_MS, wrap=lambda kept: FailingDocuments(kept, reads=True, only="control"))
    ended(world, report, "halted", EXIT_DONE, "control document cannot be read")


def test_an_expired_limit_does_not_fall_back_to_market_while_halted() -> None:
    world = World(strategy=Resting)
    assert world.cycle(START_MS).status == "done"
    Control(world.documents, "main").halt("somebody", "looks wrong", world.clock.now_ms())
    for number in (1, 2, 3):
        for order in list(world.venue.open[world.symbol].values()):
            assert order.price is not None
            order.price = Decimal("1.00")  # it never fills
        world.to_slot(START_MS + number * HOUR_MS)
        report = world.cycle(START_MS + number * HOUR_MS)
        assert report.status == "halted"
    assert len(world.venue.accepted) == 1, "the bid, and no market order after it"
    assert not world.venue.open[world.symbol], "a cancel passes"


class TakesBack(Strategy):
    """A bid that may become a market order when its time is over, and is taken back long before."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.orders:
            return Proposal([cancel(inputs.symbol, "bid", reason="timeout")], state={"done": True})
        if inputs.state.get("done"):
            return None
        price = inputs.price * 0.9
        return Proposal(
            [limit(inputs.symbol, "buy", price, notional=800.0, bars_max=9, fallback=("timeout",), leg="bid")]
        )


def test_an_order_that_the_strategy_takes_back_never_falls_back_to_market_whatever_the_reason_is_called() -> None:
    world = World(strategy=TakesBack)
    assert world.cycle(START_MS).status == "done"
    world.to_slot(NEXT)
    ended(world, world.cycle(NEXT), "done", EXIT_DONE, "", orders=1)
    assert not world.venue.open[world.symbol]


def test_a_limit_that_expired_at_a_missed_slot_does_not_fall_back_to_market() -> None:
    """Only the newest slot may open risk; what the strategy wants now, it says at the newest slot."""
    world = World(strategy=Resting)
    assert world.cycle(START_MS).status == "done"
    for order in world.venue.open[world.symbol].values():
        order.price = Decimal("1.00")
    late = START_MS + 3 * HOUR_MS  # the bid was to end a slot before
    world.to_slot(late)
    report = world.cycle(late)
    assert report.status == "done", report.reason
    assert report.missed_slots == [START_MS + HOUR_MS, START_MS + 2 * HOUR_MS]
    assert [order.kind for order in world.venue.accepted] == ["LIMIT", "LIMIT"], "the old bid and a new one"
    assert any(note["event"] == "order_dropped" for note in report.notes), report.notes


# Bars.


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda bars, stop: bars.slice(0, stop - 1), "not published", id="stale"),
        pytest.param(None, "newest bar closed", id="still forming"),
    ],
)
def test_stale_and_still_forming_bars_give_no_decision(spoil: Callable[[Bars, int], Bars] | None, says: str) -> None:
    world = World()
    stop = (START_MS - int(world.bars.open_time[0])) // HOUR_MS

    class Forming(VenueExchange):
        """Gives the bar that has not closed as if it had."""

        def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
            return world.bars.slice(stop + 1 - count, stop + 1)

    exchange = world.exchange()
    if spoil is None:
        exchange = Forming(world.venue, None, world.clock)
    else:
        world.venue.set_bars(spoil(world.bars, stop))
    ended(world, world.cycle(START_MS, exchange=exchange), "no_decision", EXIT_TEMPORARY, says)


def test_gapped_bars_give_no_decision() -> None:
    world = World(strategy=Bracket)

    class Gapped(VenueExchange):
        def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
            whole = super().bars(symbol, timeframe, count + 3, close_ms)
            keep = np.arange(len(whole)) != len(whole) - 2
            return Bars(symbol, timeframe, *(getattr(whole, name)[keep] for name in ("open_time", *_FIELDS)))

    report = world.cycle(START_MS, exchange=Gapped(world.venue, None, world.clock))
    assert report.exit_code == EXIT_TEMPORARY, report.reason
    assert report.status == "no_decision"
    assert not world.venue.accepted


_FIELDS = ("open", "high", "low", "close", "volume")


def test_a_bar_that_is_long_past_opens_no_risk() -> None:
    world = World()
    world.clock.advance_to(START_MS + 30 * MINUTE_MS)
    report = world.cycle(START_MS, bar_age_ms_max=10 * MINUTE_MS)
    ended(world, report, "done", EXIT_DONE, "")
    assert report.refusals_by_gate() == {"risk_state": 1}


def test_a_source_without_candles_says_so() -> None:
    world = World()

    class Empty(VenueExchange):
        def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
            raise DataError(f"{symbol} {timeframe}: no candles")

    report = world.cycle(START_MS, exchange=Empty(world.venue, None, world.clock))
    ended(world, report, "no_decision", EXIT_TEMPORARY, "no candles")


# The strategy.


class Raises(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        raise ZeroDivisionError("by zero")


def test_a_strategy_that_raises_is_named_with_file_and_line() -> None:
    world = World(strategy=Raises)
    report = world.cycle(START_MS)
    ended(world, report, "failed", EXIT_STRATEGY, "Raises.decide raised ZeroDivisionError")
    assert "test_cycle_failures.py:" in report.reason


# What is at the exchange and not in the book.


def by_hand(world: World, client_id: str, side: int = 1, kind: str = "LIMIT", quantity: str = "0.01") -> None:
    price = Decimal("20000") if kind == "LIMIT" else None
    world.venue.place("main", NewOrder(world.symbol, side, kind, Decimal(quantity), client_id, price))


def test_an_untracked_open_order_stops_new_risk() -> None:
    world = World()
    by_hand(world, "by-hand")
    report = world.cycle(START_MS)
    ended(world, report, "done", EXIT_DONE, "", orders=1)
    assert [one["kind"] for one in report.mismatches] == ["untracked"]
    assert report.refusals_by_gate() == {"risk_state": 1}


def test_an_orphan_under_an_id_of_this_account_stops_new_risk() -> None:
    world = World()
    by_hand(world, client_order_id("main", "Alternate", world.symbol, START_MS - HOUR_MS, "old"))
    report = world.cycle(START_MS)
    ended(world, report, "done", EXIT_DONE, "", orders=1)
    assert [one["kind"] for one in report.mismatches] == ["orphan"]
    assert report.refusals_by_gate() == {"risk_state": 1}


def test_coins_that_are_gone_stop_new_risk_in_their_symbol() -> None:
    world = with_position()
    world.account.free["BTC"] /= 2
    report = world.cycle(NEXT)
    assert [one["kind"] for one in report.mismatches] == ["divergence"]
    assert report.mismatches[0]["blocks"] == "symbol"


def test_money_that_is_gone_stops_all_new_risk() -> None:
    world = World()
    world.to_slot(NEXT)
    assert world.cycle(NEXT).status == "done"
    world.account.free["USDT"] = Decimal(10)
    world.to_slot(NEXT + HOUR_MS)
    report = world.cycle(NEXT + HOUR_MS)
    ended(world, report, "done", EXIT_DONE, "")
    assert [(one["kind"], one["blocks"]) for one in report.mismatches] == [("divergence", "all")]
    assert report.refusals_by_gate() == {"risk_state": 1}


def test_a_negative_balance_stops_all_new_risk() -> None:
    world = World(free={"BNB": "-1"})
    report = world.cycle(START_MS)
    ended(world, report, "done", EXIT_DONE, "")
    assert [one["kind"] for one in report.mismatches] == ["negative"]


def test_coins_that_others_bought_are_never_sold() -> None:
    world = World(strategy=Alternate, free={"BTC": "3"})
    assert world.cycle(START_MS).status == "done"
    bought = world.kept().state.quantity(world.symbol)
    world.to_slot(NEXT)
    report = world.cycle(NEXT)
    assert report.status == "done"
    assert [one["kind"] for one in report.mismatches] == ["unattributed"]
    sold = sum(order.executed for order in world.venue.accepted if order.side < 0)
    assert 0 < sold * UNIT <= bought
    assert world.held() >= 3 * UNIT


def test_a_planned_entry_is_not_sent_once_its_symbol_is_not_trusted() -> None:
    """The first cycle dies with the entry planned; by the time of the next, coins that the book has are gone."""
    world = World(strategy=Alternate)
    faults = Faults({("place", 0): error(418, -1003, retry_seconds=60)})
    assert world.cycle(START_MS, exchange=world.exchange(faults)).status == "unfinished"
    account = world.kept()
    position = account.state.positions.get(world.symbol)
    assert position is None
    from trading_runtime.core.state import OrderFilled

    account.book(OrderFilled("elsewhere", world.symbol, 1, UNIT, 1.0, 1, 0), trade_id="0")
    _write(world, account)
    report = world.cycle(START_MS)
    assert [one["kind"] for one in report.mismatches] == ["divergence"]
    assert not world.venue.accepted
    assert any(note["event"] == "order_dropped" for note in report.notes), report.notes


# Settings that do not fit the account.


def test_an_account_of_another_mode_is_refused() -> None:
    world = with_position()
    ended(world, world.cycle(NEXT, mode="paper"), "refused", EXIT_CONFIGURATION, "another account.name", orders=1)


def test_changed_units_are_refused() -> None:
    world = with_position()

    class Coarser(VenueExchange):
        def instruments(self, symbols: Any) -> Any:
            found = super().instruments(symbols)
            return {name: replace(one, quantity_unit=Decimal("0.00001")) for name, one in found.items()}

    report = world.cycle(NEXT, exchange=Coarser(world.venue, None, world.clock))
    ended(world, report, "refused", EXIT_CONFIGURATION, "units never change", orders=1)


def test_a_symbol_that_is_dropped_while_it_is_held_is_refused() -> None:
    world = World(strategy=Alternate, others=("ETH/USDT",))
    assert world.cycle(START_MS).status == "done"
    world.to_slot(NEXT)
    job = replace(world.job(), symbols=("ETH/USDT",))
    report = run_cycle(job, NEXT, "run")
    ended(world, report, "refused", EXIT_CONFIGURATION, "keep it in market.symbols until it is flat", orders=1)


def test_a_tripped_breaker_ends_with_its_exit_code_and_closes_all_the_same() -> None:
    world = with_position()
    world.start_cash *= 2
    account = world.kept()
    account.state.cash -= 40_000 * UNIT
    _write(world, account)
    report = world.cycle(NEXT, limits=RiskLimits(0.1, 0.1))
    assert (report.status, report.exit_code) == ("risk_halt", EXIT_HALT), report.reason
    assert "\n" not in report.reason


def test_no_report_of_a_failure_tells_a_secret() -> None:
    world = World()
    world.account.can_trade = False
    report = world.cycle(START_MS)
    text = json.dumps(report.to_json(), default=str)
    assert world.account.api_secret not in text
    assert not world.venue.accepted
    assert report.exit_code == EXIT_CONFIGURATION, report.reason
