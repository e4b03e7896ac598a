"""Live trading through the command line, real ccxt and HTTP, hour after hour; the book is the exchange to the digit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cycle_world import HOUR_MS
from live_world import COMMIT, Installed, LiveWorld
from venue.faults import error, late_trades, lost_answer, lost_request, partial

from trading_runtime.core.timeframes import iso_time

SPOT, PERPETUAL = "BTC/USDT", "BTC/USDT:USDT"
Open = Callable[..., AbstractContextManager[LiveWorld]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    code = Installed(tmp_path_factory.mktemp("image"))
    yield code
    code.close()


@pytest.fixture
def live(installed: Installed, tmp_path: Path) -> Open:
    def opened(strategy: str, **options: Any) -> AbstractContextManager[LiveWorld]:
        return LiveWorld(installed, tmp_path, strategy, **options).open()

    return opened


def phases(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(order["leg"], order["phase"]) for order in report["orders"]]


def filled(report: dict[str, Any]) -> list[tuple[str, Decimal]]:
    return [(fill["side"], Decimal(fill["quantity"])) for fill in report["fills"]]


def events(report: dict[str, Any]) -> list[str]:
    return [note["event"] for note in report["notes"]]


# Starting


def test_a_process_of_its_own_buys_and_the_book_is_what_the_exchange_has(installed: Installed, tmp_path: Path) -> None:
    this_hour = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS
    world = LiveWorld(installed, tmp_path, "BuyAndWait", start_ms=this_hour)
    world.clock.offset_ms = 0
    with world.open():
        run = [
            "cycle",
            "--mode",
            "live",
            "--json",
            "--config",
            str(world.config),
            "--set",
            "risk.bar_age_seconds_max=7200",
        ]
        ran = installed.start([*run, "--open-account"])
        assert ran.code == 0, ran.err
        assert ran.json["status"] == "done"
        assert ran.json["identity"]["commit"] == COMMIT
        assert [fill["side"] for fill in ran.json["fills"]] == ["buy"]
        assert installed.start(run).json["status"] in ("nothing_new", "done")
        world.check()
        assert len(world.orders()) == 1


GATE = [
    ("TRADING_RUNTIME_LIVE_ACCOUNT", None, "TRADING_RUNTIME_LIVE_ACCOUNT must name the account"),
    ("TRADING_RUNTIME_LIVE_ACCOUNT", "other", "TRADING_RUNTIME_LIVE_ACCOUNT must name the account"),
    ("TRADING_RUNTIME_LIVE_ACCOUNT", "yes", "TRADING_RUNTIME_LIVE_ACCOUNT must name the account"),
    ("BINANCE_API_KEY", None, "BINANCE_API_KEY"),
    ("BINANCE_API_SECRET", None, "BINANCE_API_SECRET"),
    ("TRADING_RUNTIME_COMMIT", None, "the commit of this code is unknown"),
    ("TRADING_RUNTIME_COMMIT", "main", "the commit of this code is unknown"),
    ("TRADING_RUNTIME_IMAGE_DIGEST", None, "TRADING_RUNTIME_IMAGE_DIGEST is missing"),
]


@pytest.mark.parametrize(("name", "value", "told"), GATE, ids=[f"{name}={value}" for name, value, _ in GATE])
def test_a_live_start_that_lacks_something_names_it_in_one_line_and_writes_nothing(
    live: Open, installed: Installed, name: str, value: str | None, told: str
) -> None:
    with live("BuyAndWait") as world:
        before = sorted(world.folder.iterdir())
        arguments = ["cycle", "--mode", "live", "--open-account", "--config", str(world.config)]
        ran = installed.run(arguments, world.clock.offset_ms, {name: value})
        assert ran.code == 77
        assert ran.out == ""
        assert len(ran.err.strip().splitlines()) == 1
        assert told in ran.err
        assert "secret-of-main" not in ran.err
        assert "key-of-main" not in ran.err
        assert sorted(world.folder.iterdir()) == before
        assert not world.orders()


def test_all_that_is_missing_is_named_at_once(live: Open, installed: Installed) -> None:
    with live("BuyAndWait", store={"kind": "memory"}) as world:
        names = ("TRADING_RUNTIME_LIVE_ACCOUNT", "BINANCE_API_KEY", "TRADING_RUNTIME_IMAGE_DIGEST")
        ran = installed.run(
            ["cycle", "--mode", "live", "--config", str(world.config)], world.clock.offset_ms, dict.fromkeys(names)
        )
        assert ran.code == 77
        for told in (*names, "store.kind memory"):
            assert told in ran.err


def test_an_account_the_store_does_not_know_is_not_opened_by_accident(live: Open) -> None:
    with live("BuyAndWait") as world:
        ran = world.command("cycle", "--mode", "live", "--json")
        assert ran.code == 77
        assert "--open-account" in ran.json["reason"]
        assert not world.orders()
        assert world.command("status").code == 3


def test_symbols_that_are_settled_in_different_money_are_refused(live: Open) -> None:
    with live("BuyAndWait", market={"symbols": [SPOT, "BTC/USDC"]}) as world:
        ran = world.command("cycle", "--mode", "live", "--open-account")
        assert ran.code == 77
        assert "BTC/USDC" in ran.err
        assert not (world.folder / "state.sqlite").exists()


@pytest.mark.parametrize("symbols", [["XXX/USDT"], [SPOT, PERPETUAL], [SPOT, SPOT]], ids=["unknown", "mixed", "twice"])
def test_symbols_that_cannot_be_traded_are_refused_before_anything_is_written(live: Open, symbols: list[str]) -> None:
    with live("BuyAndWait", market={"symbols": symbols}) as world:
        ran = world.command("cycle", "--mode", "live", "--open-account")
        assert ran.code == 77
        assert len(ran.err.strip().splitlines()) == 1
        assert [path.name for path in world.folder.iterdir()] == ["cycle.json"]


def test_a_wrong_key_ends_with_77_and_no_secret_is_told(live: Open, installed: Installed) -> None:
    with live("BuyAndWait") as world:
        ran = installed.run(
            ["cycle", "--mode", "live", "--open-account", "--config", str(world.config)],
            world.clock.offset_ms,
            {"BINANCE_API_SECRET": "a-wrong-secret-of-somebody"},
        )
        assert ran.code == 77
        assert "a-wrong-secret" not in ran.out + ran.err
        assert not world.orders()


# Orders of every kind


@pytest.mark.parametrize("pays_in_bnb", [False, True], ids=["fees in coins", "fees in BNB"])
def test_spot_is_bought_and_sold_with_nothing_left_but_dust(live: Open, pays_in_bnb: bool) -> None:
    with live("EntryExit", pays_in_bnb=pays_in_bnb) as world:
        assert filled(world.cycle()) == [("buy", Decimal("0.0328"))]
        world.check()
        world.next_slot()
        assert [side for side, _ in filled(world.cycle())] == ["sell"]
        world.check()
        assert 0 <= world.held() < world.venue.markets[SPOT].lot


def test_a_perpetual_is_opened_and_closed_and_its_funding_booked(live: Open) -> None:
    with live("LongThenShort", symbols=(PERPETUAL,)) as world:
        world.cycle()
        world.check()
        world.venue.pay_funding(PERPETUAL, "0.01")
        world.next_slot()
        world.cycle()
        world.check()
        assert world.account_kept().state.positions[PERPETUAL].funding > 0
        world.venue.pay_funding(PERPETUAL, "0.01")
        world.next_slot()
        world.cycle()
        world.check()


def test_a_target_turns_a_perpetual_round_through_zero_with_one_order_that_may_open(live: Open) -> None:
    with live("Flip", symbols=(PERPETUAL,)) as world:
        for _ in range(5):
            world.cycle()
            world.check()
            world.next_slot()
        told = [(order.side, order.reduce_only, order.status) for order in world.orders()]
        assert told == [(1, False, "FILLED"), (-1, False, "FILLED"), (1, False, "FILLED"), (-1, True, "FILLED")]
        assert world.held() == 0


def test_a_limit_order_rests_over_slots_is_moved_and_fills_at_its_price(live: Open) -> None:
    with live("BidThenMove") as world:
        assert phases(world.cycle()) == [("bid", "open")]
        first = world.orders()[0]
        world.next_slot()
        assert phases(world.cycle()) == [("bid", "open")]
        world.check()
        world.next_slot()
        assert phases(world.cycle()) == [("bid2", "open")]
        assert first.status == "CANCELED"
        world.check()
        low = float(world.orders()[1].price or 0)
        world.shape_bar(SPOT, low - 1.0, 31_000.0, 30_500.0)
        world.next_slot()
        report = world.cycle()
        assert filled(report) == [("buy", world.orders()[1].quantity)]
        assert report["fills"][0]["price"] == low
        assert report["fills"][0]["is_maker"] is True
        world.check()


@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
def test_a_limit_order_that_runs_out_becomes_a_market_order(live: Open, symbol: str) -> None:
    with live("BidFallsBack", symbols=(symbol,)) as world:
        assert phases(world.cycle()) == [("bid", "open")]
        world.next_slot()
        report = world.cycle()
        assert report["orders"] == []
        assert [order.status for order in world.orders()] == ["CANCELED", "FILLED"]
        world.check()


@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
def test_a_maker_order_that_would_take_becomes_a_market_order_where_that_is_allowed(live: Open, symbol: str) -> None:
    with live("MakerFallsBack", symbols=(symbol,)) as world:
        report = world.cycle()
        assert len(report["fills"]) == 1
        assert len(world.orders()) == 1
        world.check()
        world.next_slot()
        world.cycle()
        world.check()


def test_both_brackets_of_a_perpetual_rest_and_one_ends_the_other(live: Open) -> None:
    with live("BracketOnce", symbols=(PERPETUAL,)) as world:
        assert phases(world.cycle()) == [("stop", "open"), ("profit", "open")]
        assert [order.reduce_only for order in world.orders()] == [False, True, True]
        world.check()
        world.shape_bar(PERPETUAL, 25_000.0, 30_600.0, 30_100.0)
        world.next_slot()
        report = world.cycle()
        assert [side for side, _ in filled(report)] == ["sell"]
        assert report["orders"] == []
        assert world.held() == 0
        world.check()


@pytest.mark.parametrize(
    ("low", "high"), [(30_400.0, 33_000.0), (25_000.0, 30_500.0), (25_000.0, 33_000.0)], ids=["profit", "stop", "both"]
)
def test_of_spot_brackets_one_rests_one_is_watched_and_only_one_ever_sells(live: Open, low: float, high: float) -> None:
    with live("BracketOnce") as world:
        assert phases(world.cycle()) == [("stop", "open"), ("profit", "watched")]
        world.check()
        world.shape_bar(SPOT, low, high, 30_450.0)
        world.next_slot()
        report = world.cycle()
        assert filled(report) == [("sell", Decimal("0.03276"))]
        assert report["orders"] == []
        world.check()
        world.next_slot()
        assert filled(world.cycle()) == []
        world.check()


def test_coins_that_were_there_before_are_never_sold_by_brackets(live: Open) -> None:
    """With coins beside its own the exchange would take both brackets, and a wide bar would fill both."""
    with live("BracketOnce", free={"BTC": "1"}) as world:
        world.cycle()
        world.check()
        world.shape_bar(SPOT, 25_000.0, 33_000.0, 30_450.0)
        world.next_slot()
        world.cycle()
        assert world.held() >= 0, "coins that the strategy never bought were sold"
        world.check()


@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
@pytest.mark.parametrize("strategy", ["BracketThenExit", "BracketThenFlatTarget"])
def test_a_strategy_closes_its_position_although_a_stop_rests(live: Open, strategy: str, symbol: str) -> None:
    with live(strategy, symbols=(symbol,)) as world:
        for _ in range(3):
            world.cycle()
            world.check()
            world.next_slot()
        assert world.held() < world.venue.markets[symbol].lot, "the exit was refused: the stop locks the coins"
        assert not world.account_kept().records


@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
def test_a_part_is_closed_although_a_stop_rests_and_the_rest_stays_protected(live: Open, symbol: str) -> None:
    with live("BracketThenHalf", symbols=(symbol,)) as world:
        world.cycle()
        world.next_slot()
        world.cycle()
        world.check()
        half = world.held()
        assert Decimal(0) < half <= Decimal("0.0165"), "the exit was refused: the stop locks the coins"
        world.shape_bar(symbol, 25_000.0, 30_800.0, 30_100.0)
        world.next_slot()
        world.cycle()
        assert 0 <= world.held() < world.venue.markets[symbol].lot
        world.next_slot()
        assert world.cycle()["orders"] == []
        world.check()


def test_a_dry_run_over_a_live_account_closes_what_the_live_cycle_would_close_and_keeps_nothing(live: Open) -> None:
    with live("BracketThenExit") as world:
        world.cycle()
        world.next_slot()
        world.cycle()
        world.next_slot()
        sent, kept = len(world.orders()), world.account_kept().to_json()
        dry = world.cycle(mode="dry-run")
        assert len(world.orders()) == sent
        assert world.account_kept().to_json() == kept
        real = world.cycle()
        assert [(side, quantity) for side, quantity in filled(real)] == [("sell", Decimal("0.03276"))]
        assert filled(dry) == filled(real)
        world.check()


def test_two_symbols_are_bought_in_one_slot(live: Open) -> None:
    with live("TwoSymbols", symbols=(SPOT, "ETH/USDT")) as world:
        report = world.cycle()
        assert {fill["symbol"] for fill in report["fills"]} == {SPOT, "ETH/USDT"}
        world.check()


# What exchanges do


def test_an_entry_that_fills_in_parts_is_booked_once_with_every_fill(live: Open) -> None:
    with live("EntryExit") as world:
        world.faults.then("place", partial("0.25", "0.5", rest_expires=True))
        report = world.cycle()
        assert [quantity for _, quantity in filled(report)] == [Decimal("0.0082")]
        world.check()
        world.next_slot()
        world.cycle()
        world.check()
        assert 0 <= world.held() < world.venue.markets[SPOT].lot


@pytest.mark.parametrize(
    ("fate", "code"),
    [(error(400, -2010), 0), (error(400, -1013), 0), (error(400, -2019), 0)],
    ids=["funds", "filters", "margin"],
)
def test_a_rejected_entry_is_told_to_people_and_nothing_is_held(live: Open, fate: Any, code: int) -> None:
    with live("BuyAndWait") as world:
        world.faults.then("place", fate)
        ran = world.command("cycle", "--mode", "live", "--open-account")
        assert ran.code == code
        assert "not done" in ran.out, "the person who reads the table is not told that the entry was rejected"
        notified = [json.loads(line) for line in ran.err.splitlines() if '"notification"' in line]
        assert len(notified) == 1, "nobody is told that the entry was rejected"
        assert "entry" in notified[0]["text"]
        world.check()
        assert world.held() == 0


def test_an_answer_that_is_lost_is_found_by_asking_and_nothing_is_sent_twice(live: Open) -> None:
    with live("BuyAndWait") as world:
        world.faults.then("place", lost_answer())
        report = world.cycle()
        assert report["status"] == "done"
        assert "order_fate_unknown" in events(report)
        world.check()
        assert len(world.orders()) == 1


def test_a_request_that_is_lost_ends_as_unknown_and_the_next_cycle_of_the_slot_sends_it(live: Open) -> None:
    with live("BuyAndWait") as world:
        world.faults.then("place", lost_request())
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("unresolved", 76)
        assert SPOT in report["quarantine"]
        assert world.command("status").code == 3
        assert world.command("journal", "verify").code == 0
        world.clock.offset_ms += 5_000
        report = world.cycle()
        assert report["status"] == "done"
        assert len(report["fills"]) == 1
        world.check()
        assert world.command("status").code == 0


def test_fills_that_are_listed_late_end_as_unknown_and_are_booked_by_the_next_cycle(live: Open) -> None:
    with live("BuyAndWait") as world:
        world.faults.then("place", late_trades(60_000))
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("unresolved", 76)
        assert filled(report) == []
        world.clock.offset_ms += 61_000
        assert len(filled(world.cycle())) == 1
        world.check()


# People


def test_halt_refuses_entries_lets_exits_pass_and_resume_ends_it(live: Open) -> None:
    with live("EveryHour") as world:
        world.cycle()
        assert world.command("control", "halt", "--why", "wrong fills").code == 0
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("halted", 0)
        assert report["refusals_by_gate"] == {"control": 1}
        assert "wrong fills" in report["reason"]
        world.check()
        assert world.command("control", "resume", "--why", "repaired").code == 0
        world.next_slot()
        assert len(world.cycle()["fills"]) == 1
        world.check()
        assert len(world.orders()) == 2


def test_a_pause_ends_by_itself(live: Open) -> None:
    with live("EveryHour") as world:
        world.cycle()
        assert world.command("control", "pause", "--why", "news", "--for", "30m").code == 0
        world.cycle()
        world.next_slot()
        assert world.cycle()["status"] == "done"
        assert len(world.orders()) == 2
        world.check()


@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
def test_flatten_cancels_and_closes_everything_at_once_and_says_so(live: Open, symbol: str) -> None:
    with live("BracketOnce", symbols=(symbol,)) as world:
        world.cycle()
        assert world.command("control", "halt", "--flatten", "--why", "enough").code == 0
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("risk_halt", 78)
        assert report["reason"] == "everything is closed"
        assert report["orders"] == []
        assert world.held() < world.venue.markets[symbol].lot
        world.check()
        assert world.cycle()["reason"] == "everything is closed"
        world.next_slot()
        assert world.cycle()["exit_code"] == 78
        assert world.command("control", "resume", "--why", "calm").code == 0
        world.next_slot()
        assert world.cycle()["exit_code"] == 0
        world.check()


def test_flatten_closes_although_the_cancel_of_a_stop_was_lost_at_first(live: Open) -> None:
    with live("BracketOnce") as world:
        world.cycle()
        world.command("control", "halt", "--flatten", "--why", "enough")
        world.faults.then("cancel", lost_request())
        for _ in range(3):
            world.cycle()
            world.clock.offset_ms += 10_000
        assert world.held() < world.venue.markets[SPOT].lot, "what was to be closed at once is held for another bar"
        world.check()


def test_a_breaker_trips_with_78_blocks_entries_and_resume_measures_anew(live: Open) -> None:
    with live("EveryHour", risk={"drawdown_fraction_max": 0.001}) as world:
        world.cycle()
        world.shape_bar(SPOT, 24_000.0, 30_600.0, 24_500.0)
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("risk_halt", 78)
        assert report["refusals_by_gate"] == {"breakers": 1}
        assert world.command("status").code == 3
        world.next_slot()
        assert world.cycle()["exit_code"] == 78
        assert len(world.orders()) == 1
        world.command("control", "resume", "--why", "looked into it")
        world.next_slot()
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("done", 0)
        assert len(world.orders()) == 2
        world.check()


def test_an_override_lets_the_breaker_pass_until_it_is_revoked(live: Open) -> None:
    with live("EveryHour", risk={"drawdown_fraction_max": 0.001}) as world:
        world.cycle()
        world.shape_bar(SPOT, 24_000.0, 30_600.0, 24_500.0)
        world.next_slot()
        world.cycle()
        assert world.command("control", "override", "breaker", "--why", "known", "--for", "3h").code == 0
        world.next_slot()
        assert world.cycle()["status"] == "done"
        assert len(world.orders()) == 2
        assert world.command("control", "revoke", "breaker", "--why", "enough").code == 0
        world.next_slot()
        assert world.cycle()["exit_code"] == 78
        assert len(world.orders()) == 2
        world.check()


def test_missed_slots_are_shown_in_order_and_only_the_newest_buys(live: Open) -> None:
    with live("EveryHour") as world:
        world.cycle()
        world.next_slot(3)
        report = world.cycle()
        assert report["missed_slots"] == [iso_time(world.slot - 2 * HOUR_MS), iso_time(world.slot - HOUR_MS)]
        assert report["refusals_by_gate"] == {"risk_state": 2}
        assert len(world.orders()) == 2
        world.check()


def test_a_slot_that_is_asked_for_by_name_is_decided_once(live: Open) -> None:
    with live("EveryHour") as world:
        text = iso_time(world.slot)
        assert world.cycle("--slot", text)["status"] == "done"
        assert world.cycle("--slot", text)["status"] == "already_done"
        assert world.cycle("--slot", str(world.slot // 1000))["status"] == "already_done"
        assert world.cycle("--slot", str(world.slot))["status"] == "already_done"
        assert world.cycle("--slot", "{{workflow.scheduledTime}}")["status"] == "nothing_new"
        assert len(world.orders()) == 1
        report = world.cycle("--slot", iso_time(world.slot + HOUR_MS))
        assert (report["status"], report["exit_code"]) == ("no_decision", 75)
        world.check()


# What was there before


def test_a_position_that_was_there_before_is_left_alone_and_blocks_its_symbol(live: Open) -> None:
    with live("BuyAndWait", symbols=(PERPETUAL,)) as world:
        from venue.orders import NewOrder

        world.venue.place("main", NewOrder(PERPETUAL, 1, "MARKET", Decimal("0.5"), "by-hand"))
        report = world.cycle()
        assert report["refusals_by_gate"] == {"data_quality": 1}
        assert world.held() == Decimal("0.5")
        assert len(world.orders()) == 1


def test_an_open_order_of_somebody_else_blocks_new_risk_until_it_is_gone_or_overridden(live: Open) -> None:
    with live("EveryHour") as world:
        from venue.orders import NewOrder

        by_hand = NewOrder(SPOT, 1, "LIMIT", Decimal("0.001"), "by-hand", price=Decimal("20000"))
        world.venue.place("main", by_hand)
        assert world.cycle()["refusals_by_gate"] == {"risk_state": 1}
        assert len(world.orders()) == 1
        assert world.command("reconcile").code == 3
        world.command("control", "override", "untracked_orders", "--why", "mine", "--for", "90m")
        world.next_slot()
        assert len(world.cycle()["fills"]) == 1
        world.next_slot()
        assert len(world.cycle()["fills"]) == 0  # the override has run out
        world.venue.cancel("main", SPOT, None, "by-hand")
        world.next_slot()
        assert len(world.cycle()["fills"]) == 1
        world.check()


def test_an_account_with_less_money_than_the_settings_say_buys_nothing(live: Open) -> None:
    with live("BuyAndWait", account={"cash": 200_000}) as world:
        report = world.cycle()
        assert report["refusals_by_gate"] == {"risk_state": 1}
        assert not world.orders()
        assert any("the exchange holds 100000 USDT" in one["detail"] for one in report["mismatches"])


# Strategies that fail


@pytest.mark.parametrize(
    ("strategy", "told"), [("Raises", "no such day"), ("OddState", "not plain JSON"), ("HugeState", "bytes")]
)
def test_a_strategy_that_fails_ends_with_70_one_line_and_no_order(live: Open, strategy: str, told: str) -> None:
    with live(strategy) as world:
        ran = world.command("cycle", "--mode", "live", "--open-account")
        assert ran.code == 70, ran
        problems = [line for line in ran.err.splitlines() if line.startswith("error:")]
        assert len(problems) == 1
        assert told in problems[0]
        assert "Traceback" not in ran.err
        assert not world.orders()


# What is written


def test_the_report_file_is_what_the_process_said_and_tells_no_secret(live: Open) -> None:
    with live("EntryExit") as world:
        ran = world.command("cycle", "--mode", "live", "--open-account", "--json", "--run-id", "one")
        written = json.loads(
            (world.folder / "cycles" / f"{iso_time(world.slot).replace(':', '')}-one.json").read_text()
        )
        assert written == ran.json
        assert written["exit_code"] == ran.code == 0
        everything = (
            ran.out + ran.err + json.dumps(written) + (world.folder / "state.sqlite").read_bytes().decode("latin-1")
        )
        assert "secret-of-main" not in everything
        assert "key-of-main" not in everything
