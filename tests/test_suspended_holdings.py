"""Holdings whose market is in a break or gone: frozen at their last known price, while everything else goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from live_pool_world import BNB, BTC, ETH, PLAIN, SECOND_POOL, SOL, STRATEGY, LivePoolWorld, events, traded
from live_world import Installed

from trading_runtime.cycle.compare_sides import recorded_instruments
from trading_runtime.cycle.recorded import read_session
from trading_runtime.stores.journal import Journal
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.stores.state_store import StateStore

Open = Callable[..., AbstractContextManager[LivePoolWorld]]
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
