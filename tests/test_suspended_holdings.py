"""Holdings whose market is in a break or gone: frozen at their last known price, while everything else goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from crash_live_checks import check_decisions
from cycle_world import HOUR_MS, START_MS, World
from live_pool_world import (
    ADA,
    BNB,
    BTC,
    ETH,
    PLAIN,
    SECOND_POOL,
    SOL,
    STRATEGY,
    LivePoolWorld,
    StoppingWorld,
    events,
    traded,
)
from live_world import Installed

from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.cycle.compare_sides import recorded_instruments
from trading_runtime.cycle.recorded import read_session
from trading_runtime.stores.journal import Journal
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.stores.state_store import StateStore

Open = Callable[..., AbstractContextManager[LivePoolWorld]]
FIRST, SECOND = "BTC/USDT:USDT", "ETH/USDT:USDT"
READERS = (("journal", "verify"), ("replay", "--all"), ("reconcile",), ("diagnose",))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    code = Installed(tmp_path_factory.mktemp("image"))
    yield code
    code.close()


@pytest.fixture
def live(installed: Installed, tmp_path: Path) -> Open:
    def opened(**options: Any) -> AbstractContextManager[LivePoolWorld]:
        return LivePoolWorld(installed, tmp_path, **options).open()

    return opened


def kinds(report: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in report["notifications"]]


def position(report: dict[str, Any], symbol: str) -> dict[str, Any]:
    return next(one for one in report["equity"]["positions"] if one["symbol"] == symbol)


@pytest.mark.parametrize("end", ["halted", "gone"])
def test_a_holding_whose_market_ends_is_frozen_told_once_and_normal_again_when_it_trades(live: Open, end: str) -> None:
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        world.next_slot()
        first = world.cycle()
        before = world.account_kept()
        assert before.state.quantity(ETH) > 0
        mark = position(first, ETH)["mark"]
        markets: set[str] = getattr(world.server, end)
        markets.add("ETHUSDT")
        world.next_slot()
        dry = world.cycle(mode="dry-run")
        assert (dry["status"], [one["symbol"] for one in dry["suspended"]]) == ("done", [ETH])
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("done", 0), report["reason"]
        assert events(report).count("holding_suspended") == 1
        assert kinds(report).count("suspended") == 1
        (told,) = report["suspended"]
        assert (told["symbol"], told["price"], told["priced"]) == (ETH, mark, "2024-01-01T01:00:00Z")
        assert position(report, ETH)["mark"] == mark
        assert ETH not in {symbol for _, symbol in traded(report)}
        assert ETH not in report["publication"]["excluded"]
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["suspended"][0]["since"]) == ("done", "2024-01-01T02:00:00Z")
        assert "holding_suspended" not in events(report)
        assert "suspended" not in kinds(report)
        status = world.command("status", "--json")
        assert status.code == 3
        assert [one for one in status.json["reasons"] if ETH in one and "does not trade" in one]
        assert status.json["book"]["equity"] == report["equity"]["equity"]
        watched = world.command("watch", "--once", "--json")
        assert "holding_suspended" in [one["kind"] for one in watched.json["reasons"]]
        for command in READERS:
            ran = world.command(*command)
            assert ran.code == 0, (command, ran)
        kept = world.account_kept()
        assert kept.state.quantity(ETH) == before.state.quantity(ETH)
        highest = kept.state.strategy_state["highest"]
        assert ETH in highest

        markets.clear()
        world.clock.offset_ms += 11 * 60_000  # a market that was gone is not asked for again at once
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["suspended"]) == ("done", [])
        assert events(report).count("holding_resumed") == 1
        assert kinds(report).count("suspended") == 1
        assert world.account_kept().state.strategy_state["highest"][ETH] >= highest[ETH]
        world.check_book()
        world.check_commands()
        world.next_slot()
        assert "suspended" not in kinds(world.cycle())


def test_while_a_holding_is_frozen_other_symbols_are_sold_and_bought(live: Open) -> None:
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        world.server.halted.add("ETHUSDT")
        world.publish(SECOND_POOL, version="second")
        world.next_slot()
        report = world.cycle()
        assert report["status"] == "done"
        assert [one["symbol"] for one in report["suspended"]] == [ETH]
        facts = report["decisions"][-1]["facts"]
        held = position(report, ETH)
        # What is certain sizes orders; what the sleeve holds at its last price is no cash of it.
        assert facts["allocation"]["equity"] < float(report["equity"]["equity"]) - 0.9 * float(held["value"])
        assert facts["allocation"]["trend_value"] > float(held["value"])
        world.server.halted.clear()
        world.next_slot()
        report = world.cycle()
        assert ("sell", ETH) in traded(report)
        assert world.account_kept().state.quantity(ETH) < 10_000, "less than a lot: fees are taken in coins"
        world.check_book()
        world.check_commands()


def test_a_market_that_trades_again_without_bars_stays_frozen_and_stops_nothing(live: Open) -> None:
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        world.server.halted.add("ETHUSDT")
        world.next_slot()
        assert world.cycle()["suspended"]
        world.server.halted.clear()
        bars = world.venue.bars.pop((ETH, "1h"))
        world.next_slot()
        report = world.cycle()
        assert (report["status"], [one["symbol"] for one in report["suspended"]]) == ("done", [ETH])
        assert "bars are not complete" in report["suspended"][0]["reason"]
        assert "suspended" not in kinds(report)
        for command in READERS:
            assert world.command(*command).code == 0, command
        world.venue.bars[ETH, "1h"] = bars
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["suspended"], events(report).count("holding_resumed")) == ("done", [], 1)
        world.check_book()
        world.check_commands()


def test_a_session_with_a_frozen_holding_is_compared_by_the_rules_that_its_market_had(live: Open) -> None:
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        world.next_slot()
        world.cycle()
        world.server.halted.add("ETHUSDT")
        world.next_slot()
        assert world.cycle()["suspended"]
        documents = SqliteDocuments(world.folder / "state.sqlite")
        journal = Journal(documents, "main", STRATEGY)
        session = read_session(journal, journal.sessions()[-1])
        documents.close()
        rules = recorded_instruments(session.decisions())[ETH].rules
        assert {one.lot for one in rules} == {10_000}, "the lot of the market, not that of the book"
        ran = world.command("compare-live")
        assert ran.code == 66
        assert all(f"{symbol.replace('/', '-')}-1h from " in ran.err for symbol in (BTC, ETH, SOL)), ran.err
        assert ran.err.count("\n") == 1


def test_a_holding_that_never_had_a_price_stops_the_cycle(live: Open) -> None:
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        documents = SqliteDocuments(world.folder / "state.sqlite")
        store = StateStore(documents, "main", STRATEGY)
        saved = store.load()
        assert saved is not None
        store.save({**saved.content, "marks": {}}, saved, saved.token)
        documents.close()
        world.server.halted.add("ETHUSDT")
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("refused", 77)
        assert "ETH/USDT" in report["reason"]
        assert "price" in report["reason"]
        assert not report["fills"]


def test_the_symbol_that_the_strategy_is_about_must_trade(live: Open) -> None:
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        world.server.halted.add("BTCUSDT")
        world.next_slot()
        ran = world.command("cycle", "--mode", "live")
        assert ran.code == 77
        assert "BTC/USDT is not trading" in ran.err


def test_everything_is_closed_but_what_does_not_trade_and_that_when_it_does(live: Open) -> None:
    with live(spot={"BNB": "1"}) as world:
        world.publish()
        world.cycle()
        world.server.halted.add("ETHUSDT")
        world.next_slot()
        world.command("control", "halt", "--flatten", "--why", "the end")
        report = world.cycle()
        assert report["reason"] == "everything is closed, but ETH/USDT, whose market does not trade"
        assert traded(report) == {("sell", symbol) for symbol in (BTC, SOL, BNB)}
        details = [one["detail"] for one in report["decisions"][-1]["refusals"] if one["symbol"] == ETH]
        assert details == ["its market does not trade"]
        again = world.cycle()
        assert (again["reason"], again["decisions"]) == (report["reason"], [])
        world.server.halted.clear()
        report = world.cycle()
        assert not traded(report), "nobody has seen a price of it yet"
        assert report["suspended"][0]["reason"].endswith("its bars are not complete yet")
        world.next_slot()
        report = world.cycle()
        assert (traded(report), report["reason"]) == ({("sell", ETH)}, "everything is closed")
        world.check_book()


def test_the_coin_that_pays_fees_may_be_frozen_too(live: Open) -> None:
    with live(spot={"BNB": "1"}) as world:
        world.publish()
        world.cycle()
        world.server.halted.add("BNBUSDT")
        world.next_slot()
        report = world.cycle()
        assert (report["status"], [one["symbol"] for one in report["suspended"]]) == ("done", [BNB])
        for command in READERS:
            assert world.command(*command).code == 0, command
        preflight = world.command("validate", "--json")
        assert preflight.code == 0, preflight
        assert "frozen for so long: BNB/USDT" in json.dumps(preflight.json)


@pytest.mark.parametrize("hours", [1, 6, 75])
def test_a_market_that_is_back_is_judged_by_all_its_averages_at_its_first_bar(live: Open, hours: int) -> None:
    """After three days two candles of a day are missing for good: no reason to sell, nor to stop all others."""
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        world.next_slot()
        world.cycle()
        world.server.halted.add("ETHUSDT")
        for _ in range(hours):
            world.next_slot()
            if world.slot // HOUR_MS % 12 == 0 or hours < 12:
                assert world.cycle()["status"] == "done"
        world.server.halted.clear()
        world.next_slot()
        for _ in range(2):
            report = world.cycle()
            assert (report["status"], report["suspended"]) == ("done", []), report["reason"]
            eth = next(one for one in report["decisions"][-1]["facts"]["candidates"] if one["symbol"] == ETH)
            assert (eth["reasons"], eth["selected"]) == ([], True)
            assert not [one for one in traded(report) if one[0] == "sell"]
            world.next_slot()
        world.cycle()
        world.check_book()
        world.check_commands()
        preflight = world.command("validate", "--json")
        assert preflight.code == 0, preflight
        assert world.command("cycle", "--mode", "dry-run").code == 0
        (still,) = world.account_kept().stood_still[ETH]
        assert still[1] - still[0] == hours * HOUR_MS


def test_a_loss_of_a_frozen_holding_trips_the_breakers_when_it_is_known_and_not_before(live: Open) -> None:
    with live(**PLAIN, risk={"daily_loss_fraction_max": 0.2}) as world:
        world.publish()
        world.cycle()
        world.server.halted |= {"ETHUSDT", "SOLUSDT"}
        world.next_slot()
        report = world.cycle()
        assert [one["symbol"] for one in report["suspended"]] == [ETH, SOL]
        world.next_slot(24)
        report = world.cycle()
        assert (report["status"], report["risk"]["tripped"]) == ("done", None)
        worth = float(report["equity"]["equity"])
        assert abs(report["risk"]["day_base"] / 10**8 - worth) < 50.0, "each holding counts once, at its last price"
        breaker = report["decisions"][-1]["facts"]["breaker"]
        assert (breaker["profit"], breaker["latched"]) == (0.0, False)
        assert breaker["base"] > 5_000.0, "what is frozen is capital of the sleeve"
        world.server.halted.remove("ETHUSDT")
        world.shape_bar(ETH, 900.0, 2_000.0, 950.0)
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["risk"]["tripped"]["breaker"]) == ("risk_halt", "daily_loss")
        breaker = report["decisions"][-1]["facts"]["breaker"]
        assert (breaker["tripped"], breaker["profit_fraction"] < -0.2) == (True, True)
        assert traded(report) == {("sell", ETH)}
        assert [one["symbol"] for one in report["suspended"]] == [SOL]
        for command in READERS:
            assert world.command(*command).code == 0, command
        world.server.halted.clear()
        world.next_slot()
        report = world.cycle()
        assert ("sell", SOL) in traded(report), "the sleeve is sold on that day, what is back now as well"
        world.check_book()


def test_money_comes_and_savings_move_while_fuel_and_a_holding_are_frozen(live: Open) -> None:
    with live(spot={"BNB": "1"}) as world:
        world.publish()
        before = world.cycle()["equity"]["equity"]
        world.server.gone.add("BNBUSDT")
        world.server.halted.add("ETHUSDT")
        world.publish(SECOND_POOL, version="second")
        world.venue.savings.deposit("USDT", "3000")
        world.next_slot()
        report = world.cycle()
        assert (report["status"], [one["symbol"] for one in report["suspended"]]) == ("done", [BNB, ETH])
        assert "savings_moved" in events(report)
        assert 2_990.0 < float(report["equity"]["equity"]) - float(before) < 3_010.0
        for command in READERS:
            assert world.command(*command).code == 0, command
        assert world.command("cycle", "--mode", "dry-run").code == 0
        world.server.gone.clear()
        world.server.halted.clear()
        world.clock.offset_ms += 11 * 60_000
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["suspended"]) == ("done", [])
        assert {("sell", ETH), ("buy", ADA)} <= traded(report)
        world.check_book()
        world.check_commands()


@pytest.fixture
def scripted(installed: Installed, tmp_path: Path) -> Open:
    def opened(strategy: str) -> AbstractContextManager[StoppingWorld]:
        return StoppingWorld(installed, tmp_path, strategy, symbols=(BTC, ETH)).open()

    return opened


@pytest.mark.parametrize("strategy", ["BracketInSecond", "BidInSecond"])
def test_orders_that_rest_in_a_market_that_stops_are_left_alone_and_hold_their_money(
    scripted: Open, strategy: str
) -> None:
    with scripted(strategy) as world:
        world.cycle()
        resting = {order.client_id for order in world.orders() if order.status == "NEW"}
        assert resting
        world.server.halted.add("ETHUSDT")
        for _ in range(3):
            world.next_slot()
            report = world.cycle()
            assert (report["status"], [one["symbol"] for one in report["suspended"]]) == ("done", [ETH])
        spent = sum(float(fill["value"]) for one in world.reports for fill in one["fills"] if fill["symbol"] == BTC)
        left = 50_000.0 - spent - (20_000.0 if strategy == "BidInSecond" else 1_000.0)
        assert left > -200.0, "money that an order holds is not spent on another"
        dry = world.command("cycle", "--mode", "dry-run")
        assert dry.code == 0, dry
        for command in READERS:
            assert world.command(*command).code == 0, command
        assert {order.client_id for order in world.orders() if order.status == "NEW"} == resting
        world.server.halted.clear()
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["suspended"]) == ("done", [])
        world.check()


def test_a_cancel_waits_for_the_market_too(scripted: Open) -> None:
    with scripted("BidInSecondTakenBack") as world:
        world.cycle()
        world.server.halted.add("ETHUSDT")
        for _ in range(2):
            world.next_slot()
            report = world.cycle()
            assert report["status"] == "done"
            assert [order.status for order in world.orders()] == ["NEW"]
        world.server.halted.clear()
        world.next_slot()
        assert world.cycle()["status"] == "done"
        assert [order.status for order in world.orders()] == ["CANCELED"]
        world.check()


def test_a_stop_that_the_price_has_passed_meanwhile_sells_when_the_market_is_back(scripted: Open) -> None:
    with scripted("BracketInSecond") as world:
        world.cycle()
        world.server.halted.add("ETHUSDT")
        world.next_slot(5)
        assert world.cycle()["suspended"]
        world.server.halted.clear()
        world.shape_bar(ETH, 800.0, 2_100.0, 900.0)
        world.next_slot()
        world.cycle()
        world.next_slot()
        world.cycle()
        assert ("sell", ETH) in {one for report in world.reports for one in traded(report)}
        assert world.account_kept().state.quantity(ETH) < 1_000, "less than a lot"
        world.check()


def test_an_order_in_a_market_that_is_gone_is_in_doubt_and_all_others_go_on(scripted: Open) -> None:
    with scripted("BracketInSecond") as world:
        world.cycle()
        world.server.gone.add("ETHUSDT")
        for _ in range(2):
            world.next_slot()
            report = world.cycle()
            assert (report["status"], report["exit_code"]) == ("unresolved", 76)
            assert ETH in report["quarantine"]
        assert ("buy", BTC) in {one for report in world.reports for one in traded(report)}
        assert world.command("cycle", "--mode", "dry-run", "--json").code != 77
        for command in READERS:
            assert world.command(*command).code == 0, command


def test_a_state_of_the_version_before_is_read_and_goes_on(live: Open) -> None:
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        documents = SqliteDocuments(world.folder / "state.sqlite")
        store = StateStore(documents, "main", STRATEGY)
        saved = store.load()
        assert saved is not None
        new = ("marks", "suspended", "excluded", "stood_still")
        assert set(new) <= set(saved.content)
        old = {name: value for name, value in saved.content.items() if name not in new}
        store.save(old, saved, saved.token)
        documents.close()
        world.next_slot()
        report = world.cycle()
        assert report["status"] == "done"
        world.server.halted.add("ETHUSDT")
        world.next_slot()
        assert [one["symbol"] for one in world.cycle()["suspended"]] == [ETH], "a cycle has seen its price by now"


class Hold(Strategy):
    """Holds a part of the account in each of its contracts."""

    def decide(self, inputs: Inputs) -> Proposal:
        return Proposal([target(symbol, 0.3) for symbol in inputs.symbols])


def test_a_contract_is_frozen_too_and_its_funding_and_position_are_asked_for_when_it_trades_again() -> None:
    world = World(strategy=Hold, symbol=FIRST, others=(SECOND,), stops={SECOND: (1, 3)})
    found = []
    for hour in range(5):
        slot = START_MS + hour * HOUR_MS
        world.to_slot(slot)
        if hour == 3:
            world.venue.pay_funding(SECOND, "0.0002")
        report = world.cycle(slot)
        assert report.status == "done", report.reason
        happened = {(one["event"], one.get("symbol")) for one in report.happened}
        found.append(([one["symbol"] for one in report.suspended], ("funding_paid", SECOND) in happened))
        assert not report.mismatches
    assert found == [([], False), ([SECOND], False), ([SECOND], False), ([SECOND], True), ([], False)]
    assert world.kept().state.quantity(SECOND) == world.held(SECOND) > 0
    check_decisions(world)


def test_a_contract_that_was_closed_while_its_market_stood_still_takes_no_new_risk_when_it_is_back() -> None:
    world = World(strategy=Hold, symbol=FIRST, others=(SECOND,), stops={SECOND: (1, 2)})
    for hour in range(3):
        slot = START_MS + hour * HOUR_MS
        world.to_slot(slot)
        assert world.cycle(slot).status == "done"
    assert world.kept().suspended
    del world.account.positions[SECOND]
    sent = len(world.venue.accepted)
    world.to_slot(START_MS + 3 * HOUR_MS)
    report = world.cycle(START_MS + 3 * HOUR_MS)
    assert not report.suspended
    assert (SECOND, "divergence") in {(one["symbol"], one["kind"]) for one in report.mismatches}
    assert not [order for order in world.venue.accepted[sent:] if order.symbol == SECOND and order.side > 0]
