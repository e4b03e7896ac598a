"""The live pool in bad company: markets that end, dust that stays, odd publications, people who ask in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_pool_world import (
    ADA,
    BCH,
    BNB,
    BTC,
    ETH,
    PLAIN,
    POOL,
    SECOND_POOL,
    SOL,
    XRP,
    LivePoolWorld,
    daily,
    events,
    traded,
)  # fmt: skip
from live_world import Installed
from venue.faults import error, lost_request

from trading_runtime.stores.sqlite import SqliteDocuments

Open = Callable[..., AbstractContextManager[LivePoolWorld]]
PUBLISHED = "strategy/CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL"
HOUR_MS = 3_600_000


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


def questions_for_markets(world: LivePoolWorld, since: int) -> list[dict[str, str]]:
    return [one.parameters() for one in world.server.requests[since:] if one.path == "/api/v3/exchangeInfo"]


# Markets


def test_a_symbol_that_the_exchange_does_not_have_is_left_out_and_spoils_nothing_else(live: Open) -> None:
    markets = (BTC, ETH, SOL, XRP, BCH, BNB)
    with live(markets=markets, **PLAIN) as world:
        world.publish()
        report = world.cycle()
        assert {("buy", ETH), ("buy", SOL)} <= traded(report)
        assert list(report["publication"]["excluded"]) == ["LTCUSDT"]
        world.check_book()
        world.next_slot()
        since = len(world.server.requests)
        assert world.cycle()["status"] == "done"
        asked = questions_for_markets(world, since)
        assert sum("symbols" not in one for one in asked) == 1, "the list of all markets is long: once is enough"
        assert sum("LTCUSDT" in one.get("symbols", "") for one in asked) == 1
        world.check_commands()


def test_margin_trading_is_never_asked_about(live: Open) -> None:
    with live(**PLAIN) as world:
        world.cycle()
        assert not [one for one in world.server.requests if "margin" in one.path]


def test_a_symbol_of_the_pool_whose_market_is_in_a_break_is_left_out_for_so_long(live: Open) -> None:
    with live(**PLAIN) as world:
        world.publish()
        world.cycle()
        world.server.halted.add("XRPUSDT")
        world.next_slot()
        report = world.cycle()
        assert report["status"] == "done"
        assert list(report["publication"]["excluded"]) == ["XRPUSDT"]
        world.server.halted.clear()
        world.next_slot()
        assert world.cycle()["publication"]["excluded"] == {}


def with_dust(world: LivePoolWorld) -> None:
    """Hold ETH, and have its pool leave: fees that were taken in coins leave less than a lot behind."""
    world.account.pays_fees_in_bnb = False
    world.publish()
    world.cycle()
    world.publish(SECOND_POOL, version="second")
    world.next_slot()
    assert ("sell", ETH) in traded(world.cycle())
    account = world.account_kept()
    assert account.dust == [ETH]
    assert 0 < account.state.quantity(ETH) < 10_000


@pytest.mark.parametrize("end", ["no market", "no bars"])
def test_dust_of_a_market_that_ends_is_written_off_and_stops_nothing(live: Open, end: str) -> None:
    with live(**PLAIN) as world:
        with_dust(world)
        if end == "no market":
            world.server.halted.add("ETHUSDT")
        else:
            del world.venue.bars[ETH, "1h"]
        world.next_slot()
        dry = world.cycle(mode="dry-run")
        assert (dry["status"], events(dry).count("dust_written_off")) == ("done", 1)
        report = world.cycle()
        assert (report["status"], events(report).count("dust_written_off")) == ("done", 1)
        account = world.account_kept()
        assert account.state.quantity(ETH) == 0
        assert account.dust == []
        world.check_commands()
        world.next_slot()
        report = world.cycle()
        assert (report["status"], events(report).count("dust_written_off")) == ("done", 0)
        world.check_commands()


def test_everything_is_closed_although_a_symbol_of_an_earlier_pool_is_known_no_more(live: Open) -> None:
    with live(spot={"BNB": "1"}) as world:
        world.publish()
        world.cycle()
        world.publish(SECOND_POOL, version="second")
        world.next_slot()
        world.cycle()
        world.next_slot()
        world.cycle()
        assert world.account_kept().state.positions[ETH].quantity == 0
        world.command("control", "halt", "--flatten", "--why", "the end")
        report = world.cycle()
        assert (report["status"], report["reason"]) == ("risk_halt", "everything is closed")
        assert {("sell", symbol) for symbol in (BTC, SOL, ADA, BNB)} == traded(report)
        world.check_book()


# Publications


def test_no_publication_however_odd_ends_a_cycle_or_has_the_wrong_coin_bought(live: Open) -> None:
    good = {"as_of_date": "2024-01-01", "mode": "core_major", "symbols": [one.replace("/", "") for one in POOL]}
    odd: list[tuple[bytes, str]] = [
        (b"", "static"),
        (b"null", "static"),
        (b"[" * 100_000, "static"),
        (b"\xff\xfe", "static"),
        (b"1" * 5_000, "static"),
        (json.dumps({**good, "symbols": {"ETHUSDT": {"base_asset": "BTC"}, "SOLUSDT": None, "XRPUSDT": 5,
                                         "LTCUSDT": [], "BCHUSDT": {}}}).encode(), "fresh_upstream"),
        (json.dumps({**good, "version": "a\nb"}).encode(), "last_known_good"),
        (json.dumps({**good, "as_of_date": "2024-13-45"}).encode(), "last_known_good"),
        (json.dumps({**good, "as_of_date": "2024-01-02"}).encode(), "last_known_good"),
    ]  # fmt: skip
    with live(**PLAIN) as world:
        world.cycle()
        for content, source_kind in odd:
            documents = SqliteDocuments(world.folder / "state.sqlite")
            there = documents.read(PUBLISHED)
            if there is None:
                documents.create(PUBLISHED, content)
            else:
                documents.replace(PUBLISHED, content, there.version)
            documents.close()
            world.next_slot()
            report = world.cycle()
            assert (report["status"], report["exit_code"]) == ("done", 0), (content[:60], report["reason"])
            assert report["publication"]["source_kind"] == source_kind, content[:60]
            assert ("buy", ETH) not in traded(report)
        assert world.account_kept().state.quantity(SOL) > 0
        world.check_book()
        world.check_commands()


def test_history_that_is_played_back_has_its_publication_judged_by_its_own_time(
    installed: Installed, tmp_path: Path
) -> None:
    files = []
    for symbol in (BTC, *POOL):
        days = daily(symbol)
        times = int(days.open_time[0]) + np.arange(24 * len(days), dtype=np.int64) * HOUR_MS
        opens, closes = np.repeat(days.open, 24), np.repeat(days.close, 24)
        rows = np.column_stack(
            [times, opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, np.full(len(times), 1_000.0)]
        )
        path = tmp_path / f"{symbol.replace('/', '')}.csv"
        np.savetxt(path, rows, fmt=["%d", *["%.10g"] * 5], delimiter=",",
                   header="timestamp,open,high,low,close,volume", comments="")  # fmt: skip
        files.append({"path": path.name, "symbol": symbol, "timeframe": "1h"})
    config, pool = tmp_path / "paper.json", tmp_path / "pool.json"
    pool.write_text(
        json.dumps(
            {
                "as_of_date": "2024-01-01", "version": "old", "mode": "core_major", "source_project": "upstream",
                "symbols": [one.replace("/", "") for one in POOL],
            }
        )
    )  # fmt: skip
    config.write_text(
        json.dumps(
            {
                "strategy": {"class": "crypto_live_pool_rotation"},
                "account": {"name": "paper", "cash": 10_000},
                "market": {"exchange": "simulated", "symbols": [BTC], "timeframe": "1h"},
                "feed": {"files": files, "start": "2024-01-01T00:00:00Z"},
                "store": {"kind": "sqlite", "path": "state.sqlite"},
                "artifact": {},
                "notify": {"telegram": False},
            }
        )
    )

    def run(*arguments: str) -> Any:
        return installed.run([*arguments, "--config", str(config)], 0)

    assert run("artifact", "publish", str(pool), "--now", "2024-01-02").code == 0
    reports = [run("cycle", "--mode", "paper", "--json").json for _ in range(2)]
    assert [one["publication"]["source_kind"] for one in reports] == ["fresh_upstream"] * 2
    assert {("buy", ETH), ("buy", SOL), ("buy", BTC)} <= traded(reports[1])
    validated = run("validate", "--mode", "paper", "--json")
    assert validated.code == 0, validated.out
    for command in (("journal", "verify"), ("replay", "--all"), ("reconcile",), ("status",), ("diagnose",)):
        assert run(*command).code == 0, command


def test_a_secret_that_somebody_else_wrote_is_in_no_report_journal_or_log(live: Open, installed: Installed) -> None:
    token = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
    with live(**PLAIN) as world:
        world.publish(source_project=f"by {token}", version=f"v {token}")
        refusal = error(400, -1013)._replace(message=f"Filter failure secret-of-main {token}")
        world.faults.then("place", refusal)
        arguments = ["cycle", "--mode", "live", "--config", str(world.config)]
        for more in (["--open-account", "--json"], []):
            ran = installed.run([*arguments, *more], world.clock.offset_ms, {"TG_TOKEN": token})
            assert ran.code == 0
            assert token not in ran.out + ran.err
            assert "secret-of-main" not in ran.out + ran.err
            world.next_slot()
        told = [path.read_text() for path in (world.folder / "cycles").iterdir()]
        assert len(told) == 2
        assert not [text for text in told if token in text or "secret-of-main" in text]
        kept = (world.folder / "state.sqlite").read_bytes()
        assert b"secret-of-main" not in kept
        assert b"Filter failure *** ***" in kept
        assert f"Filter failure *** {token}".encode() not in kept


# People


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STRATEGY_PROFILE", "sma_cross", "STRATEGY_PROFILE is 'sma_cross'"),
        ("RUNTIME_TARGET_JSON", "{", "RUNTIME_TARGET_JSON is not JSON"),
        (
            "RUNTIME_TARGET_JSON",
            '{"platform_id": "binance", "strategy_profile": "crypto_live_pool_rotation", "dry_run_only": true}',
            "dry_run_only is true",
        ),
    ],
)
def test_validate_refuses_what_a_cycle_would_refuse(
    live: Open, installed: Installed, name: str, value: str, told: str
) -> None:
    with live() as world:
        world.publish()
        for arguments in (["validate", "--json"], ["cycle", "--mode", "live", "--json", "--open-account"]):
            ran = installed.run([*arguments, "--config", str(world.config)], world.clock.offset_ms, {name: value})
            assert ran.code == 77, arguments
            assert told in ran.out + ran.err
        assert not world.orders()


def test_a_movement_of_savings_in_flight_is_told_to_whoever_asks(live: Open) -> None:
    with live() as world:
        world.publish()
        world.cycle()
        world.venue.savings.deposit("USDT", "1000")
        world.next_slot()
        world.faults.then("move_earn", lost_request())
        report = world.cycle()
        assert (report["status"], report["exit_code"]) == ("unresolved", 76), report["reason"]
        status, compared = world.command("status"), world.command("reconcile", "--json")
        assert status.code == 3
        assert "subscribe" in status.out
        assert "movement" in [one["class"] for one in compared.json["differences"]]
        world.clock.offset_ms += 5_000
        assert world.cycle()["exit_code"] == 0
        world.check_book()
        world.check_commands()


def test_status_and_reconcile_know_savings_and_the_coins_of_the_pool(live: Open) -> None:
    with live() as world:
        world.publish()
        world.cycle()
        compared = world.command("reconcile", "--json").json
        assert compared["equal"] is True
        assert float(compared["money"]["savings"]) > 2_000
        assert {one["symbol"] for one in compared["symbols"]} == {BTC, BNB, *POOL}
        world.next_slot()
        world.cycle()
        # Days are asked for, too: how old a price is, is said by the hours.
        assert world.command("status", "--json").json["marked"] == "2024-01-01T01:00:00Z"
        world.account.free["SOL"] -= 1
        compared = world.command("reconcile", "--json")
        assert compared.code == 3
        assert [(one["class"], one["symbol"]) for one in compared.json["differences"]] == [("divergence", SOL)]


def test_messages_in_chinese_have_no_english_reason(live: Open) -> None:
    with live(notify={"language": "zh"}, account=PLAIN["account"], treasury={"earn_buffer": False}) as world:
        world.publish()
        ran = world.command("cycle", "--mode", "live", "--open-account")
        texts = [json.loads(line)["text"] for line in ran.err.splitlines() if '"notification"' in line]
        trade = next(text for text in texts if "成交" in text)
        assert "BNB/USDT" in trade
        assert "below" not in trade


def test_a_coin_that_pays_fees_and_cannot_be_paid_for_is_told_once_a_day_and_recorded(live: Open) -> None:
    plain = {**PLAIN["account"], "cash": 14}
    with live(account=plain, treasury={"earn_buffer": False}) as world:
        world.publish()
        told = []
        for _ in range(2):
            report = world.cycle()
            assert report["status"] == "done"
            (refusal,) = (one for one in report["gating_events"] if one["gate"] == "fuel_short_of_cash")
            assert (refusal["symbol"], refusal["category"]) == (BNB, "money")
            told.append([one["kind"] for one in report["notifications"]].count("skipped"))
            world.next_slot()
        assert told == [1, 0]
        assert "fuel_short_of_cash" in world.command("diagnose").out
        world.check_commands()


def test_symbols_of_the_pool_that_cannot_be_traded_are_told_whenever_they_are_others(live: Open) -> None:
    with live(**PLAIN) as world:
        world.publish()

        def told() -> tuple[int, list[str]]:
            report = world.cycle()
            assert report["status"] == "done"
            world.next_slot()
            kinds = [one["kind"] for one in report["notifications"]]
            return kinds.count("excluded"), list(report["publication"]["excluded"])

        assert told() == (0, [])
        world.server.halted |= {"XRPUSDT"}
        assert told() == (1, ["XRPUSDT"])
        assert told() == (0, ["XRPUSDT"])
        world.server.halted |= {"BCHUSDT"}
        assert told() == (1, ["XRPUSDT", "BCHUSDT"])
        assert told() == (0, ["XRPUSDT", "BCHUSDT"])
        world.server.halted.clear()
        assert told() == (1, [])
        assert told() == (0, [])
        world.server.halted |= {"XRPUSDT"}
        assert told() == (1, ["XRPUSDT"])
        world.check_commands()
