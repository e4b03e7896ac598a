"""``trading-runtime artifact``: check, show, publish, as a person or a script uses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from artifact_samples import REAL, SYMBOLS, file_bytes, manifest, payload

from trading_runtime.cli import artifact
from trading_runtime.cli.arguments import Parser, parse
from trading_runtime.core.errors import EXIT_CONFIGURATION, EXIT_DONE, EXIT_USAGE, ConfigurationError

Run = Callable[..., tuple[int, str]]
NOW = ("--now", "2026-06-10")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line of the group; returns its exit code and what it printed."""

    def with_words(*words: object) -> tuple[int, str]:
        parser = Parser(prog="trading-runtime")
        artifact.add_parser(parser.add_subparsers(dest="verb", metavar="COMMAND", required=True))
        arguments = parse(parser, ["artifact", *map(str, words)])
        code = arguments.handler(arguments)
        return code, capsys.readouterr().out

    return with_words


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cycle.json"
    content = {
        "strategy": {"class": "buy_and_hold"},
        "market": {"exchange": "simulated", "symbols": ["BTC/USDT"], "timeframe": "1h"},
        "feed": {"exchange": "binance"},
        "treasury": {"fuel_symbol": "TRX/USDT"},
        "artifact": {},
    }
    path.write_text(json.dumps(content))
    return path


def test_check_says_good_its_warnings_its_age_and_its_symbols_in_order(run: Run) -> None:
    code, told = run("check", REAL, *NOW)
    assert code == EXIT_DONE
    assert told.splitlines() == [
        "verdict   good",
        "warning   source_project is missing: 'unknown' is assumed",
        "version   2026-06-01-core_major",
        "date      2026-06-01 (9 days old)",
        "mode      core_major",
        "source    unknown",
        "symbol 1  TRXUSDT",
        "symbol 2  DOGEUSDT",
        "symbol 3  XRPUSDT",
        "symbol 4  LTCUSDT",
        "symbol 5  LINKUSDT",
    ]


def test_check_of_a_stale_one_is_77_and_as_json_the_same(run: Run) -> None:
    code, told = run("check", REAL, "--now", "2026-07-17", "--json")
    assert code == EXIT_CONFIGURATION
    found = json.loads(told)
    assert (found["ok"], found["is_fresh"], found["age_days"]) == (False, False, 46)
    assert found["errors"] == ["as_of_date 2026-06-01 is stale: 46 days old, at most 45 are accepted"]
    assert found["payload"]["symbols"][0] == "TRXUSDT"
    code, told = run("check", REAL, "--now", "2026-07-17", "--max-age-days", "46")
    assert code == EXIT_DONE


def test_check_takes_other_modes_and_sizes(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wide.json"
    path.write_bytes(file_bytes(payload("2026-06-01", mode="wide", symbols=SYMBOLS[:3], pool_size=3)))
    assert run("check", path, *NOW)[0] == EXIT_CONFIGURATION
    assert run("check", path, *NOW, "--modes", "wide,other", "--size", "3")[0] == EXIT_DONE


def test_strict_holds_it_to_the_publishers_contract(run: Run, tmp_path: Path) -> None:
    code, told = run("check", REAL, "--strict", *NOW)
    assert code == EXIT_CONFIGURATION
    assert "strict    source_project is missing" in told
    path = tmp_path / "whole.json"
    path.write_bytes(file_bytes(payload("2026-06-01")))
    ranking = tmp_path / "ranking.csv"
    rows = [f"{symbol},true,{rank}" for rank, symbol in enumerate(SYMBOLS, start=1)]
    ranking.write_text("\n".join(["symbol,selected_flag,current_rank", *rows]))
    assert run("check", path, "--strict", "--ranking", ranking, *NOW)[0] == EXIT_DONE
    ranking.write_text("\n".join(["symbol,selected_flag,current_rank", *rows[:-1]]))
    code, told = run("check", path, "--strict", "--ranking", ranking, *NOW)
    assert code == EXIT_CONFIGURATION
    assert "BCHUSDT is not in the ranking" in told


def test_check_against_a_manifest(run: Run, tmp_path: Path) -> None:
    content = json.loads(REAL.read_text())
    vouching = tmp_path / "artifact_manifest.json"
    vouching.write_bytes(file_bytes(manifest(content, REAL.read_bytes())))
    assert run("check", REAL, "--manifest", vouching, *NOW)[0] == EXIT_DONE
    vouching.write_bytes(file_bytes(manifest(content, b"other bytes")))
    code, told = run("check", REAL, "--manifest", vouching, *NOW)
    assert code == EXIT_CONFIGURATION
    assert "manifest  the bytes of the payload have the SHA-256" in told


@pytest.mark.parametrize(("content", "told"), [(None, "there is no such file"), (b"{", "not JSON"), (b"[]", "")])
def test_check_of_what_is_no_payload_is_77(run: Run, tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    if content == b"[]":
        assert run("check", path)[0] == EXIT_CONFIGURATION
        return
    with pytest.raises(ConfigurationError, match=told) as caught:
        run("check", path)
    assert caught.value.exit_code == EXIT_CONFIGURATION


def test_wrong_words_are_refused(run: Run) -> None:
    with pytest.raises(ConfigurationError, match="--ranking is for --strict"):
        run("check", REAL, "--ranking", "x.csv")
    with pytest.raises(SystemExit) as caught:
        run("check", REAL, "--size", "none")
    assert caught.value.code == EXIT_USAGE


def test_publish_then_show_is_what_a_cycle_would_use(run: Run, config: Path) -> None:
    code, told = run("publish", REAL, "--config", config, *NOW)
    assert code == EXIT_DONE
    assert told.startswith("published 2026-06-01-core_major to strategy/CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL: TRXUSDT,")
    code, told = run("show", "--config", config, *NOW)
    assert code == EXIT_DONE
    assert "counts          fresh_upstream\n" in told
    assert "official pool   TRXUSDT, DOGEUSDT, XRPUSDT, LTCUSDT, LINKUSDT\n" in told
    assert "execution pool  DOGE/USDT, XRP/USDT, LTC/USDT, LINK/USDT\n" in told
    assert "excluded        TRXUSDT: reserved: fees are paid with it\n" in told
    assert "new entries     allowed\n" in told


def test_show_tells_rung_by_rung_why_only_the_static_universe_is_left(run: Run, config: Path) -> None:
    code, told = run("show", "--config", config, "--json", *NOW)
    assert code == EXIT_DONE
    found = json.loads(told)
    assert [one["source_kind"] for one in found["rungs"]] == [
        "fresh_upstream",
        "last_known_good",
        "local_file",
        "static",
    ]
    assert (found["is_incident"], found["degraded"], found["new_entries"]) == (True, True, False)
    assert found["notes"] == [f"there is no store at {config.parent / 'state/trading-runtime.sqlite'} yet"]
    assert not (config.parent / "state").exists(), "looking makes no file"
    code, told = run("show", "--config", config, *NOW)
    assert told.startswith("INCIDENT        only the built-in universe is left; repair upstream\n")


def test_show_falls_back_on_what_the_account_keeps(run: Run, config: Path) -> None:
    """The account's document, as a cycle writes it."""
    from artifact_samples import RULES, Shelf

    from trading_runtime.artifacts.ladder import Ladder
    from trading_runtime.core.state import State
    from trading_runtime.core.timeframes import parse_time
    from trading_runtime.cycle.account import Account
    from trading_runtime.stores.open import open_documents
    from trading_runtime.stores.state_store import StateStore

    content = json.loads(REAL.read_text())
    kept = Ladder(RULES, upstream=Shelf(content)).resolve(parse_time("2026-06-10"), None).last_good
    run("publish", REAL, "--config", config, *NOW)
    documents = open_documents("sqlite", path=config.parent / "state/trading-runtime.sqlite")
    account = Account(State(cash=1), last_good=kept)
    StateStore(documents, "main", "BuyAndHold").create(account.to_json(), 1)
    documents.close()
    code, told = run("show", "--config", config, "--now", "2026-07-17T06:00")
    assert code == EXIT_DONE
    assert "counts          last_known_good (degraded)\n" in told
    assert "new entries     not allowed\n" in told
    assert "as_of_date 2026-06-01 is stale: 46 days old, at most 45 are accepted" in told
    assert 'read from "shelf" at "2026-06-10T00:00:00Z"' in told
    code, told = run(
        "show", "--config", config, "--now", "2026-07-17", "--set", "artifact.allow_new_entries_on_degraded=true"
    )
    assert "new entries     allowed although it is degraded" in told


@pytest.mark.parametrize("content", [payload("2026-01-01"), payload("2026-06-01", pool_size=9), [1]])
def test_what_is_not_good_is_not_published(run: Run, config: Path, tmp_path: Path, content: Any) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(file_bytes(content))
    with pytest.raises(ConfigurationError, match=r"bad.json: not published: "):
        run("publish", path, "--config", config, *NOW)
    assert not (tmp_path / "state").exists()


def test_a_configuration_without_an_artifact_is_told_so(run: Run, config: Path) -> None:
    config.write_text(json.dumps({**json.loads(config.read_text()), "artifact": None}))
    for words in (("show",), ("publish", REAL)):
        with pytest.raises(ConfigurationError, match="has no section artifact"):
            run(*words, "--config", config)


def test_a_store_that_no_other_process_sees_is_refused(run: Run, config: Path) -> None:
    for words in (("show",), ("publish", REAL)):
        with pytest.raises(ConfigurationError, match=r"store.kind memory"):
            run(*words, "--config", config, "--set", "store.kind=memory")


def test_a_secret_that_a_publication_carries_is_printed_by_no_command(
    run: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, key = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0", "hush-hush-hush"
    monkeypatch.setenv("BINANCE_API_SECRET", key)
    path = tmp_path / "telling.json"
    source = f"by {key} api_key=abcdef123456"
    path.write_bytes(file_bytes(payload(as_of_date="2026-06-01", version=f"v {token}", source_project=source)))
    commands = (("check", path), ("publish", path, "--config", config), ("show", "--config", config))
    told = [run(*words, *NOW, *form) for words in commands for form in ((), ("--json",))]
    for code, text in told:
        assert code == EXIT_DONE, text
        assert "***" in text
        assert not [secret for secret in (token, key, "abcdef123456") if secret in text], text
    shown = json.loads(told[-1][1])
    assert shown["source_kind"] == "fresh_upstream"
    assert shown["symbols"][0] == "ETH/USDT"
