"""What a cycle means: slots, warming up, breakers, people who step in, what people are told; crashes are elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import long_memory
import numpy as np
import pytest
from cycle_world import HOUR_MS, START_MS, UNIT, Alternate, Bracket, World
from live_strategies import BuysEach, EntryExit, EveryHour, FarBid, FarStop, Grid, LongThenShort
from operator_world import loaded, write_paper_config
from venue.faults import Faults, error, lost_answer, lost_request
from venue.orders import NewOrder
from venue.port import VenueExchange

from trading_runtime.cli.cycle import parse_slot
from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.intents import stop, target
from trading_runtime.core.risk import RiskLimits
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import DAY_MS, WEEK_ANCHOR_MS, WEEK_MS, iso_time
from trading_runtime.cycle.build import open_parts
from trading_runtime.cycle.context import Patience
from trading_runtime.cycle.messages import message_of
from trading_runtime.cycle.recorded import read_session
from trading_runtime.cycle.replay import replay_session
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.run import run_cycle
from trading_runtime.exchanges.port import OrderReport
from trading_runtime.stores.control import Control
from trading_runtime.stores.journal import Journal
from trading_runtime.telemetry.log import EventLog

PERPETUAL = "BTC/USDT:USDT"


# Slots


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("  ", None),
        ("{{workflow.scheduledTime}}", None),
        ("1704067200", START_MS),
        ("1704067200000", START_MS),
        (" 1704067200 ", START_MS),
        ("0", 0),
        ("2024-01-01", START_MS),
        ("20240101", START_MS),
        ("2024-01-01T00:00:00Z", START_MS),
        ("2024-01-01T00:00:00", START_MS),
        ("2024-01-01T00:00:00.250Z", START_MS + 250),
        ("2024-03-31T03:00:00+02:00", START_MS + 90 * DAY_MS + HOUR_MS),
        ("2023-12-31T19:00:00-05:00", START_MS),
    ],
)
def test_a_slot_is_told_in_seconds_milliseconds_or_as_a_time_with_or_without_a_zone(
    text: str, expected: int | None
) -> None:
    assert parse_slot(text) == expected


@pytest.mark.parametrize("text", ["tomorrow", "12:00", "-5", "1e9", "17040672000000000", "9" * 30, "١٢٣", "2024-13-01"])
def test_what_is_no_slot_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--slot"):
        parse_slot(text)


def long_bars(bar_ms: int, timeframe: str, count: int = 30) -> Bars:
    anchor = WEEK_ANCHOR_MS if bar_ms == WEEK_MS else 0
    first = (START_MS - anchor) // bar_ms * bar_ms + anchor - 20 * bar_ms
    close = 30_000.0 + np.arange(count, dtype=np.float64)
    times = first + bar_ms * np.arange(count, dtype=np.int64)
    return Bars("BTC/USDT", timeframe, times, close, close + 10.0, close - 10.0, close, np.full(count, 5.0))


@pytest.mark.parametrize(("timeframe", "bar_ms"), [("1d", DAY_MS), ("1w", WEEK_MS)])
def test_a_slot_of_days_and_weeks_is_asked_for_by_any_time_within_it(timeframe: str, bar_ms: int) -> None:
    """Weekly bars open on Mondays: 2024-01-01 was one."""
    world = World(strategy=EveryHour)
    world.venue.set_bars(long_bars(bar_ms, timeframe))
    job = replace(world.job(), timeframe=timeframe, bar_age_ms_max=bar_ms)
    report = run_cycle(job, START_MS + HOUR_MS, "asked")
    assert (report.status, report.slot) == ("done", START_MS)
    assert len(report.fills) == 1
    assert run_cycle(job, START_MS, "again").status == "already_done"
    assert run_cycle(job, None, "newest").status == "nothing_new"
    world.clock.advance_to(START_MS + bar_ms + 2_000)
    report = run_cycle(job, START_MS + bar_ms, "next")
    assert (report.status, report.slot) == ("done", START_MS + bar_ms)
    assert report.missed_slots == []


def test_an_older_slot_of_history_that_is_played_back_is_named_and_no_clock_is_blamed(tmp_path: Path) -> None:
    config = write_paper_config(tmp_path)

    def run(asked: int | None) -> CycleReport:
        # A process of its own each time: the feed knows no more than the files.
        parts = open_parts(loaded(config), "paper", {}, "test", EventLog(level="off"))
        try:
            return run_cycle(parts.job, asked, "run")
        finally:
            parts.documents.close()

    last = [run(None) for _ in range(5)][-1].slot
    assert last is not None
    report = run(last - 3 * HOUR_MS)
    assert (report.status, report.exit_code, report.slot) == ("already_done", 0, last - 3 * HOUR_MS)
    assert report.reason == f"slot {iso_time(last - 3 * HOUR_MS)} is past: slot {iso_time(last)} is done"
    assert report.mismatches == []
    report = run(last)
    assert (report.status, report.reason) == ("already_done", f"slot {iso_time(last)} is done")
    assert run(None).slot == last + HOUR_MS


def test_a_dry_run_leaves_the_store_closed(tmp_path: Path) -> None:
    config = write_paper_config(tmp_path)
    for mode in ("paper", "dry-run"):
        parts = open_parts(loaded(config), mode, {}, "test", EventLog(level="off"))
        assert run_cycle(parts.job, None, "run").status == "done"
        parts.documents.close()
        assert not (tmp_path / "state.sqlite-wal").exists(), f"{mode}: SQLite takes it away with the last connection"


# Warming up


def test_an_order_of_unknown_fate_is_told_although_the_strategy_warms_up() -> None:
    world = World(strategy=Alternate)
    patience = Patience(confirm_seconds=1.0)
    faults = Faults()
    faults.then("place", lost_answer())
    faults.then("order", *[error(503)] * 50)
    first = world.cycle(exchange=world.exchange(faults), patience=patience)
    assert first.exit_code == 76
    world.strategy = long_memory.Alternate
    world.to_slot(START_MS + HOUR_MS)
    faults.then("order", *[error(503)] * 50)
    report = world.cycle(exchange=world.exchange(faults), patience=patience)
    assert (report.status, report.exit_code) == ("unresolved", 76), report.reason


def test_what_is_watched_protects_while_the_strategy_warms_up() -> None:
    world = World(strategy=Bracket)
    world.cycle()
    watched = [record for record in world.kept().in_phase("watched") if record.watch]
    assert [record.watch.kind for record in watched if record.watch] == ["take_profit"]
    row = (START_MS + HOUR_MS - int(world.bars.open_time[0])) // HOUR_MS - 1
    columns = {name: getattr(world.bars, name).copy() for name in ("open", "high", "low", "close", "volume")}
    columns["high"][row] = 40_000.0
    bars = Bars("BTC/USDT", "1h", world.bars.open_time, *columns.values())
    world.bars = bars
    world.all_bars = {"BTC/USDT": bars}
    world.venue.set_bars(bars)
    world.to_slot(START_MS + HOUR_MS)
    world.strategy = long_memory.Bracket
    report = world.cycle()
    assert report.status == "warming_up"
    assert [fill["side"] for fill in report.fills] == ["sell"]
    assert not world.kept().records


def test_everything_can_be_closed_while_the_strategy_warms_up() -> None:
    world = World(strategy=Bracket)
    world.cycle()
    Control(world.documents, "main").halt("somebody", "enough", world.clock.now_ms(), flatten=True)
    world.to_slot(START_MS + HOUR_MS)
    world.strategy = long_memory.Bracket
    report = world.cycle()
    assert (report.status, report.reason) == ("risk_halt", "everything is closed")
    assert world.held() < 1000


def test_slots_that_warm_up_before_one_that_decides_do_not_hide_what_became_of_it() -> None:
    world = World(strategy=long_memory.EntryExit)  # 50 bars have closed by its first slot, it needs 53
    assert world.cycle().status == "warming_up"
    world.to_slot(START_MS + 4 * HOUR_MS)
    report = world.cycle()
    assert len(report.missed_slots) == 3
    assert report.status == "done"
    assert len(report.decisions) == 2


# Breakers


def test_the_first_entry_after_a_resume_is_really_placed() -> None:
    world = World(strategy=EveryHour)
    limits = RiskLimits(drawdown_fraction_max=0.0001)
    reports = [world.cycle(limits=limits)]
    while reports[-1].status == "done":
        world.to_slot(START_MS + len(reports) * HOUR_MS)
        reports.append(world.cycle(limits=limits))
    assert reports[-1].exit_code == 78
    Control(world.documents, "main").resume("somebody", "looked", world.clock.now_ms())
    world.to_slot(START_MS + len(reports) * HOUR_MS)
    report = world.cycle(limits=limits)
    assert report.status == "done"
    assert len(report.fills) == 1, report.notes


def test_a_resume_from_before_a_breaker_tripped_does_not_acknowledge_it() -> None:
    """After an outage a person resumes, then the missed slots are worked off, and in one of them a breaker trips."""
    world = World(strategy=EveryHour)
    limits = RiskLimits(drawdown_fraction_max=0.00005)
    world.cycle(limits=limits)
    control = Control(world.documents, "main")
    control.halt("somebody", "outage", world.clock.now_ms())
    world.to_slot(START_MS + 12 * HOUR_MS, seconds=1.0)
    control.resume("somebody", "over", world.clock.now_ms())
    world.clock.advance_to(world.clock.now_ms() + 1_000)
    report = world.cycle(limits=limits)
    assert report.risk is not None
    assert report.risk["tripped"] is not None, "nobody has seen the breaker that had tripped at a missed slot"
    assert report.exit_code == 78


# People who step in


def test_a_halt_in_the_middle_of_a_cycle_stops_the_entries_that_are_left() -> None:
    world = World(strategy=BuysEach, others=("ETH/USDT", "SOL/USDT"))
    control = Control(world.documents, "main")

    class HaltsAfterOne(VenueExchange):
        def place(self, order: Any, stamp_ms: int) -> OrderReport:
            report = super().place(order, stamp_ms)
            control.halt("somebody", "stop it", world.clock.now_ms())
            return report

    world.cycle(exchange=HaltsAfterOne(world.venue, None, world.clock))
    assert len(world.venue.accepted) == 1


def test_a_halt_lets_the_closing_half_of_a_flip_pass() -> None:
    world = World(strategy=LongThenShort, symbol=PERPETUAL)
    world.cycle()
    assert world.held() > 0
    Control(world.documents, "main").halt("somebody", "no new risk", world.clock.now_ms())
    world.to_slot(START_MS + HOUR_MS)
    world.cycle()
    assert world.held() == 0


@pytest.mark.parametrize("arrived", [True, False])
def test_flatten_while_the_fate_of_an_order_is_unknown_closes_what_it_turns_out_to_have_bought(arrived: bool) -> None:
    world = World(strategy=EntryExit)
    faults = Faults()
    faults.then("place", lost_answer() if arrived else lost_request())
    faults.then("order", *[error(503)] * 80)
    patience = Patience(confirm_seconds=2.0)
    assert world.cycle(exchange=world.exchange(faults), patience=patience).exit_code == 76
    Control(world.documents, "main").halt("somebody", "enough", world.clock.now_ms(), flatten=True)
    world.clock.sleep(60.0)
    still = world.cycle(exchange=world.exchange(faults), patience=patience)
    assert still.exit_code == 76
    world.clock.sleep(60.0)
    reports = [world.cycle() for _ in range(2)]
    assert reports[-1].reason == "everything is closed"
    assert not world.kept().records
    assert world.held() < 1000
    assert len(world.venue.accepted) == (2 if arrived else 0)


@pytest.mark.parametrize("strategy", [FarBid, FarStop])
def test_an_order_that_is_cancelled_after_days_is_not_in_doubt_for_ever(strategy: type[Strategy]) -> None:
    world = World(strategy=strategy, symbol=PERPETUAL)
    world.cycle(missed_slots_max=0)
    world.to_slot(START_MS + 80 * HOUR_MS)
    world.cycle(missed_slots_max=0)
    assert not any(book for book in world.venue.open.values())
    world.to_slot(START_MS + 81 * HOUR_MS)
    report = world.cycle()
    assert (report.status, report.exit_code) == ("done", 0), report.reason
    assert not world.kept().records
    assert not report.quarantine


def test_limit_orders_whose_legs_are_alike_each_become_a_market_order() -> None:
    world = World(strategy=Grid)
    assert len(world.cycle().orders) == 2
    world.to_slot(START_MS + HOUR_MS)
    assert len(world.cycle().fills) == 2
    assert not world.kept().records


# Sessions and markets that come and go


def test_a_perpetual_that_is_traded_later_pays_its_funding_too() -> None:
    world = World(strategy=EveryHour, symbol=PERPETUAL, others=("ETH/USDT:USDT",))
    world.symbols = ("ETH/USDT:USDT",)
    world.cycle()
    world.to_slot(START_MS + HOUR_MS)
    world.symbols = (PERPETUAL, "ETH/USDT:USDT")
    report = world.cycle()
    assert [fill["symbol"] for fill in report.fills] == [PERPETUAL]
    world.clock.sleep(1.0)
    world.venue.pay_funding(PERPETUAL, "0.01")
    world.to_slot(START_MS + 2 * HOUR_MS)
    world.cycle()
    assert world.kept().state.positions[PERPETUAL].funding > 0


def test_a_configuration_that_is_changed_and_changed_back_within_a_slot_leaves_every_session_replayable() -> None:
    world = World(strategy=EveryHour)
    first = world.job()
    other = replace(first, identity={**first.identity, "config_hash": "another"})
    assert run_cycle(first, None, "a").status == "done"
    run_cycle(other, None, "b")
    run_cycle(replace(first, stores=world.job().stores), None, "c")
    world.to_slot(START_MS + HOUR_MS)
    assert run_cycle(replace(first, stores=world.job().stores), None, "d").status == "done"
    journal = Journal(world.documents, "main", "EveryHour")
    sessions = journal.sessions()
    assert len(sessions) >= 2
    for session in sessions:
        assert journal.verify(session) == []
        found = replay_session(read_session(journal, session), EveryHour())
        assert found.is_same, (session, found.to_json())


# What is looked for at the exchange


def test_a_position_that_was_liquidated_is_noticed_although_a_stop_rests() -> None:
    world = World(strategy=FarStop, symbol=PERPETUAL)
    world.cycle()
    assert [record.phase for record in world.kept().records.values()] == ["open"]
    by_hand = NewOrder(PERPETUAL, -1, "MARKET", world.account.position(PERPETUAL), "liquidation", reduce_only=True)
    world.venue.place("main", by_hand)
    report = world.cycle()
    assert [(one["kind"], one["symbol"], one["blocks"]) for one in report.mismatches] == [
        ("divergence", PERPETUAL, "symbol")
    ]


def test_money_that_was_withdrawn_is_noticed_although_a_stop_rests() -> None:
    world = World(strategy=FarStop)
    world.cycle()
    assert not world.cycle().mismatches
    world.account.free["USDT"] -= 60_000
    report = world.cycle()
    assert [(one["kind"], one["blocks"]) for one in report.mismatches if one["blocks"]] == [("divergence", "all")]


@pytest.mark.parametrize("strategy", [Bracket, Alternate, EntryExit, FarBid])
@pytest.mark.parametrize("symbol", ["BTC/USDT", PERPETUAL])
def test_an_account_that_trades_alone_never_differs(strategy: type[Strategy], symbol: str) -> None:
    world = World(strategy=strategy, symbol=symbol)
    for number in range(40):
        report = world.cycle()
        assert not [one for one in report.mismatches if one["blocks"]]
        assert report.exit_code == 0
        world.to_slot(START_MS + (number + 1) * HOUR_MS)


# What people are told


def test_an_order_that_was_found_after_doubt_is_not_told_as_not_done() -> None:
    world = World(strategy=EntryExit)
    faults = Faults()
    faults.then("place", lost_answer())
    report = world.cycle(exchange=world.exchange(faults))
    assert report.status == "done"
    message = message_of(report)
    assert message is not None
    assert "bought" in message.text
    assert "not done" not in message.text
    assert "unknown" not in message.text


def test_an_order_of_unknown_fate_is_told_as_such() -> None:
    world = World(strategy=EntryExit)
    faults = Faults()
    faults.then("place", lost_answer())
    faults.then("order", *[error(503)] * 50)
    report = world.cycle(exchange=world.exchange(faults), patience=Patience(confirm_seconds=1.0))
    message = message_of(report)
    assert message is not None
    assert message.kind == "unresolved"
    assert f"fate unknown: {report.orders[0]['order_id']}" in message.text
    assert "not done" not in message.text


def test_a_rejection_that_the_exchange_gave_is_told_once_and_one_that_a_market_order_replaced_is_not() -> None:
    world = World(strategy=EntryExit)
    faults = Faults()
    faults.then("place", error(400, -2010))
    report = world.cycle(exchange=world.exchange(faults))
    assert [(one["leg"], one["reason"]) for one in report.rejected] == [("entry", "funds")]
    message = message_of(report)
    assert message is not None
    assert message.text.count("not done") == 1


def test_a_take_profit_that_is_watched_because_the_stop_locks_the_coins_is_no_failure() -> None:
    world = World(strategy=Bracket)
    report = world.cycle()
    assert [order["phase"] for order in report.orders] == ["open", "watched"]
    assert report.rejected == []
    message = message_of(report)
    assert message is not None
    assert "not done" not in message.text


def test_what_happened_before_the_store_failed_is_in_the_report() -> None:
    from trading_runtime.core.errors import StoreUnavailable

    world = World(strategy=EntryExit)

    class Failing:
        """The store fails once an order has been accepted."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            def asked(*arguments: Any, **options: Any) -> Any:
                if world.venue.accepted and name in ("replace", "create"):
                    raise StoreUnavailable("the store is gone")
                return getattr(self._inner, name)(*arguments, **options)

            return asked

    faults = Faults()
    faults.then("place", lost_answer())
    report = world.cycle(exchange=world.exchange(faults), wrap=Failing)
    assert report.exit_code == 76
    assert "order_fate_unknown" in [note["event"] for note in report.notes]
    world.clock.sleep(120.0)
    assert world.cycle().status == "done"
    assert world.kept().state.quantity("BTC/USDT") == world.held()
    assert len(world.venue.accepted) == 1


def test_a_report_says_in_its_json_what_its_status_and_exit_code_say() -> None:
    world = World(strategy=EntryExit)
    content = world.cycle().to_json()
    assert (content["status"], content["exit_code"]) == ("done", 0)
    assert content["slot"] == iso_time(START_MS)
    assert content["sent"] == len(content["fills"]) == len(world.venue.accepted) == 1
    assert content["equity"]["cash"] == f"{(world.kept().state.cash) / UNIT:.8f}".rstrip("0")
    assert target("BTC/USDT", 0.5).target_weight == 0.5
    assert stop("BTC/USDT", "sell", 1.0, close_fraction=1.0).reduce_only
