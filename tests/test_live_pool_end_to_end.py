"""The live pool through the front door: real command, ccxt and HTTP, days of one account from its first hour on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from live_pool_world import ADA, BCH, BNB, BTC, ETH, LTC, POOL, SOL, XRP, LivePoolWorld
from live_world import Installed


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    code = Installed(tmp_path_factory.mktemp("image"))
    yield code
    code.close()


def bought(report: dict[str, Any]) -> set[str]:
    return {fill["symbol"] for fill in report["fills"] if fill["side"] == "buy"}


def sold(report: dict[str, Any]) -> set[str]:
    return {fill["symbol"] for fill in report["fills"] if fill["side"] == "sell"}


def gates(report: dict[str, Any]) -> set[str]:
    return {refusal["gate"] for decision in report["decisions"] for refusal in decision["refusals"]}


def moved(report: dict[str, Any]) -> list[tuple[str, Decimal, str]]:
    return [
        (note["kind"], Decimal(note["amount"]), note["cause"])
        for note in report["notes"]
        if note["event"] == "savings_moved"
    ]


def told(report: dict[str, Any]) -> set[str]:
    return {one["kind"] for one in report["notifications"]}


def test_an_account_lives_through_days_of_its_pool_and_every_command_agrees(
    installed: Installed, tmp_path: Path
) -> None:
    with LivePoolWorld(installed, tmp_path).open() as world:
        # Nothing is published yet: the built-in universe is an incident; BTC, savings and fuel go on.
        report = world.cycle()
        assert report["exit_code"] == 0, report["reason"]
        assert report["publication"]["source_kind"] == "static"
        assert "trend_buy_paused_degraded_mode" in gates(report)
        assert bought(report) == {BTC, BNB}
        kind, amount, cause = moved(report)[-1]
        assert (kind, cause) == ("subscribe", "buffer")
        # buffer = max(50, min(5 % of all money, 300)): what is free on spot is exactly that.
        everything = world.account.free["USDT"] + amount
        assert abs(world.account.free["USDT"] - max(Decimal(50), min(everything / 20, Decimal(300)))) < Decimal("0.01")
        assert {"artifact", "trade", "skipped", "status"} <= told(report)
        world.check_book()
        assert world.command("validate", "--json").code == 77, "a static universe passes for healthy"

        # Upstream publishes: two symbols are bought with money that comes back from savings first.
        assert world.publish().code == 0
        world.next_slot()
        report = world.cycle()
        assert bought(report) >= {ETH, SOL}
        redeemed = [one for one in moved(report) if one[0] == "redeem" and one[2].endswith("trend_buy")]
        assert len(redeemed) == 2
        assert report["publication"]["symbols"] == list(POOL)
        assert "btc_dca_buy_duplicate_cooldown" in gates(report)
        world.check_book()
        world.check_commands()

        # The same slot again changes nothing; a quiet hour asks for little.
        sent = len(world.orders())
        assert world.cycle()["status"] == "nothing_new"
        assert len(world.orders()) == sent
        world.next_slot()
        world.cycle()  # fees were paid from the fuel, which is topped up
        world.next_slot()
        before = len(world.server.requests)
        report = world.cycle()
        assert not report["fills"]
        assert "trend_no_eligible_buy" in gates(report)
        assert len(world.server.requests) - before <= 40
        world.check_book()

        # Money comes in, and is no profit.
        world.venue.savings.deposit("USDT", "500")
        before_equity = Decimal(report["equity"]["equity"])
        world.next_slot()
        report = world.cycle()
        assert Decimal(report["equity"]["flows"]) >= 500
        assert abs(Decimal(report["equity"]["equity"]) - before_equity - 500) < 100
        world.check_book()

        # Upstream publishes another pool: what left it is sold, what came is bought, in one slot.
        assert world.publish((ADA, SOL, XRP, LTC, BCH), "2024-01-01", version="2024-01-01-second").code == 0
        world.next_slot()
        report = world.cycle()
        assert sold(report) == {ETH}
        assert ADA in bought(report)
        facts = report["decisions"][-1]["facts"]
        assert facts["pool"]["retired"] == [ETH]
        assert facts["intents"][f"{ETH} trend_sell"]["reason"] == "rotated_out"
        world.check_book()
        world.check_commands()
        assert world.command("validate", "--json").code == 0
        watched = world.command("watch", "--once", "--json")
        assert (watched.code, watched.json["state"]) == (0, "healthy"), watched

        # The pool grows old: nothing is opened by it, BTC is still bought once a day.
        old = json.loads(world.config.read_text())
        old["artifact"]["max_age_days"] = 1
        world.config.write_text(json.dumps(old))
        world.next_slot(44)
        report = world.cycle()
        assert report["publication"]["source_kind"] == "last_known_good"
        assert report["publication"]["errors"]
        assert "trend_buy_paused_degraded_mode" in gates(report)
        assert bought(report) == {BTC}
        assert world.command("validate", "--json").code == 77
        world.check_book()
        world.check_commands()

        # Who looks from outside.
        watched = world.command("watch", "--once", "--json")
        assert (watched.code, watched.json["state"]) == (0, "deferred"), watched
        assert [one["kind"] for one in watched.json["reasons"]] == ["artifact_degraded"]
        for period in (("--day", "2024-01-02"), ("--month", "2024-01"), ()):
            answer = world.command("diagnose", "--json", *period)
            assert answer.code == 0, answer
        month = world.command("diagnose", "--json", "--month", "2024-01").json
        assert "trend_buy_paused_degraded_mode" in json.dumps(month)
        assert world.command("diagnose", "--month", "2024-01").out.count("Trend Rotation") >= 1
        assert world.command("status").code == 0

        # Everything is closed by order of a person, although a symbol of the past has left the universe.
        assert world.command("control", "halt", "--flatten", "--why", "the end").code == 0
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("risk_halt", 78), report["reason"]
        assert sold(report) >= {BTC, SOL, ADA}
        world.check_book()
        for symbol in (BTC, ETH, SOL, ADA):
            assert world.held_coins(symbol) < Decimal("0.001") * (1000 if symbol == ADA else 1)
