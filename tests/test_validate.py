"""Validate: preflight's lines and the artifact, on real stores and Binance's REST over loopback; nothing is written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import ccxt_world
import pytest
from operator_world import (
    GOOD_RIGHTS,
    ImpatientClock,
    RightsServer,
    environment_of,
    live_cycle,
    loaded,
    store_of,
    write_config,
    write_paper_config,
)
from venue.faults import OK, Fate, Faults, error, lost_request
from watch_world import FlakyDocuments

from trading_runtime.artifacts.ladder import STATIC_CONTENT
from trading_runtime.cli import validate as validate_verb
from trading_runtime.cli.arguments import Parser
from trading_runtime.cli.preflight import text_of
from trading_runtime.core.timeframes import DAY_MS
from trading_runtime.cycle.preflight import VALIDATE_NAMES, Check, exit_code, validate
from trading_runtime.cycle.preflight.artifact import check_artifact
from trading_runtime.cycle.preflight.ground import Ground
from trading_runtime.cycle.preflight.run import ask_line
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.published import open_ladder, publish

Capture = pytest.CaptureFixture[str]
COLLECTION, DOCUMENT = "strategy", "CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL"
SYMBOLS = ["ETHUSDT", "SOLUSDT", "XRPUSDT", "LTCUSDT", "BCHUSDT"]


def payload(days_old: int, **changes: Any) -> dict[str, Any]:
    date = (datetime.now(UTC) - timedelta(days=days_old)).strftime("%Y-%m-%d")
    content = {
        "as_of_date": date, "version": f"{date}-core_major", "mode": "core_major", "pool_size": 5, "symbols": SYMBOLS,
        "source_project": "tests",
    }  # fmt: skip
    return {**content, **changes}


def rows_of(documents: Documents) -> list[Any]:
    collections = ("preflight", "state", "accounts", "leases", "control", "heartbeat", "watch", COLLECTION)
    return [documents.read(f"{one}/{name}") for one in collections for name in documents.names(one)]


class Venue:
    """A Binance over loopback with an account, and a configuration with an artifact that trades there."""

    def __init__(self, folder: Path, server: RightsServer, world: ccxt_world.World) -> None:
        self.folder, self.server, self.world = folder, server, world
        self.config = write_config(folder, artifact={})
        self.environment = environment_of(world)

    def publish(self, content: dict[str, Any]) -> None:
        documents = store_of(self.config)
        publish(documents, COLLECTION, DOCUMENT, json.dumps(content).encode())
        documents.close()

    def validate(self, *overrides: str) -> list[Check]:
        settings = loaded(self.config, *overrides)
        return validate(settings, "live", self.environment, ImpatientClock(), base_url=self.server.url)

    def artifact(self, *overrides: str) -> Check:
        return next(one for one in self.validate(*overrides) if one.name == "artifact")


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    world = ccxt_world.World()
    with RightsServer(world.venue, faults=world.faults, clock=world.clock) as server:
        server.rights = dict(GOOD_RIGHTS)
        yield Venue(tmp_path, server, world)


def without_gate(checks: list[Check]) -> list[Check]:
    """The lines that do not depend on how this code was checked out."""
    return [one for one in checks if one.name not in ("live gate", "code")]


def test_everything_is_looked_at_and_nothing_is_written(venue: Venue) -> None:
    venue.publish(payload(3))
    documents = store_of(venue.config)
    before = rows_of(documents)

    checks = venue.validate()

    assert list(dict.fromkeys(one.name for one in checks)) == list(VALIDATE_NAMES)
    assert exit_code(without_gate(checks)) == 0, text_of(checks, "live")
    assert rows_of(documents) == before
    assert documents.names("preflight") == []
    documents.close()
    assert [request.path for request in venue.server.requests if request.method != "GET"] == []
    store = next(one for one in checks if one.name == "store")
    assert (store.outcome, "can be read" in store.detail) == ("ok", True)
    text = text_of(checks, "live")
    assert venue.world.account.api_secret not in text
    assert venue.world.account.api_key not in text


def test_no_store_is_made(venue: Venue) -> None:
    checks = venue.validate()

    assert [path.name for path in venue.folder.iterdir()] == ["cycle.json"]
    assert next(one for one in checks if one.name == "artifact").outcome == "failed"


def test_a_strategy_without_an_artifact_needs_none(venue: Venue) -> None:
    write_config(venue.folder)

    assert venue.artifact() == Check("artifact", "ok", "not needed: the strategy consumes none")


def test_a_fresh_publication_is_told_with_all_that_names_it(venue: Venue) -> None:
    write_config(venue.folder, artifact={}, market={**MARKET, "exchange": "simulated"}, feed={"exchange": "binance"})
    venue.publish(payload(3))

    checks = validate(loaded(venue.config), "paper", {}, ImpatientClock(), base_url=venue.server.url)

    found = next(one for one in checks if one.name == "artifact")
    assert found.outcome == "ok", found
    for word in (
        "fresh_upstream from store strategy/CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL", f"{payload(3)['version']} of",
        "3 day(s) old, at most 45", "mode core_major", "5 symbols: ETHUSDT, SOLUSDT, XRPUSDT, LTCUSDT, BCHUSDT",
        "sha256 ",
    ):  # fmt: skip
        assert word in found.detail


MARKET = {"exchange": "binance", "symbols": ["BTC/USDT"], "timeframe": "1h"}


def test_symbols_that_are_not_traded_there_are_told(venue: Venue) -> None:
    venue.publish(payload(3, symbols=["BTCUSDT", "NOSUCHUSDT", *SYMBOLS[:3]]))

    found = venue.artifact()

    assert found.outcome == "warning"
    assert "BTCUSDT is left out (reserved: it is traded by the settings" in found.detail
    assert "NOSUCHUSDT is left out (not traded here: " in found.detail


@pytest.mark.parametrize(
    ("content_of", "why"),
    [
        (lambda: payload(46), " days old, at most 45"),
        (lambda: payload(-2), "is in the future"),
        (lambda: payload(3, mode="other"), "mode"),
        (lambda: payload(3, symbols=SYMBOLS[:3]), "pool_size"),
        (dict, "as_of_date"),
    ],
)
def test_what_is_not_good_is_an_incident_where_nothing_stands_in(
    venue: Venue, content_of: Callable[[], dict[str, Any]], why: str
) -> None:
    """The built-in universe is no answer, whatever is allowed. Contents are made now: midnight may have passed since
    tests were collected.
    """
    venue.publish(content_of())

    for override in ((), ("artifact.allow_new_entries_on_degraded=true",)):
        found = venue.artifact(*override)
        assert found.outcome == "failed"
        assert "INCIDENT, only the built-in universe is left: repair upstream" in found.detail
        assert why in found.detail
        assert str(STATIC_CONTENT["version"]) in found.detail


def test_stale_upstream_is_never_silently_healthy(venue: Venue) -> None:
    """A last good one stands in: cycles go on, validate says that a person must repair upstream."""
    venue.publish(payload(44))
    documents = store_of(venue.config)
    ladder = open_ladder(loaded(venue.config).settings, venue.folder, documents)
    report = live_cycle(venue.world, venue.server, documents, publications=ladder)
    assert report.status == "done", report.reason
    assert venue.artifact().outcome in ("ok", "warning")
    publish(documents, COLLECTION, DOCUMENT, json.dumps(payload(46)).encode())

    found = venue.artifact()

    assert found.outcome == "failed"
    assert "degraded, there are no new entries: repair upstream" in found.detail
    assert "last_known_good from store strategy/" in found.detail
    assert exit_code(without_gate(venue.validate())) == 77
    allowed = venue.artifact("artifact.allow_new_entries_on_degraded=true")
    assert (allowed.outcome, "better repair upstream" in allowed.detail) == ("warning", True)
    now_ms = ImpatientClock().now_ms()
    Control(documents, "main").override("degraded", "ann", "known", now_ms, now_ms + DAY_MS // 2)
    overridden = venue.artifact()
    assert (overridden.outcome, "control override degraded" in overridden.detail) == ("warning", True)
    documents.close()


def test_upstream_that_does_not_answer_is_no_configuration_error(venue: Venue) -> None:
    (venue.folder / "artifacts").mkdir()
    (venue.folder / "artifacts/live_pool_legacy.json").write_text(json.dumps(payload(3)))
    documents = FlakyDocuments(MemoryDocuments())
    ground = Ground(loaded(venue.config), "live", {}, ImpatientClock(), None, False, documents=documents)
    ground.is_state_known = True
    documents.failures = 2

    outcome, detail = ask_line(check_artifact, ground)

    assert outcome == "unreachable"
    assert "upstream cannot be asked: the store does not answer; meanwhile local_file from" in detail
    assert documents.failures == 0


def test_a_store_that_cannot_be_used_leaves_the_artifact_unchecked(venue: Venue) -> None:
    (venue.folder / "state.sqlite").write_bytes(b"this is no database at all" * 100)

    found = venue.artifact()

    assert (found.outcome, found.detail) == ("not checked", "the store cannot be used")
    assert exit_code(without_gate(venue.validate())) in (75, 77)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_the_exchange_answers_every_line_is_there_and_nothing_is_written(venue: Venue, seed: int) -> None:
    venue.publish(payload(3))
    refusals = [error(503), error(429, -1003, retry_seconds=1), error(400, -2015), error(500, -1000), lost_request()]

    def draw(kind: str, random: Random) -> Fate:
        return random.choice(refusals) if random.random() < 0.6 else OK

    faults = Faults(draw=draw, random=Random(f"validate {seed}"))
    documents = store_of(venue.config)
    before = rows_of(documents)
    with RightsServer(venue.world.venue, faults=faults, clock=venue.world.clock) as server:
        server.rights = dict(GOOD_RIGHTS)
        venue.server = server
        checks = venue.validate()

    assert list(dict.fromkeys(one.name for one in checks)) == list(VALIDATE_NAMES), seed
    assert exit_code(without_gate(checks)) in (75, 77), seed
    assert rows_of(documents) == before, seed
    assert venue.world.account.api_secret not in text_of(checks, "live"), seed
    documents.close()


def test_an_account_with_a_symbol_that_left_the_pool_is_ready(venue: Venue) -> None:
    """With an artifact a held symbol need not be configured; without one it must be."""
    documents = store_of(venue.config)
    ladder = open_ladder(loaded(venue.config).settings, venue.folder, documents)
    assert ladder is not None
    live_cycle(venue.world, venue.server, documents, publications=replace(ladder, given=payload(3)))
    documents.close()
    market = 'market.symbols=["ETH/USDT"]'

    outcomes = {one.name: one.outcome for one in venue.validate(market)}
    assert outcomes["state"] == "ok"
    write_config(venue.folder)
    assert {one.name: one.outcome for one in venue.validate(market)}["state"] == "failed"


# --- the command


def run(capsys: Capture, *words: str | Path) -> tuple[int, str]:
    parser = Parser(prog="trading-runtime")
    validate_verb.add_parser(parser.add_subparsers(dest="verb", required=True))
    arguments: argparse.Namespace = parser.parse_args(["validate", *map(str, words)])
    code: int = arguments.handler(arguments)
    return code, capsys.readouterr().out


def test_the_command_prints_a_table_or_json(capsys: Capture, tmp_path: Path) -> None:
    config = write_paper_config(tmp_path)

    code, out = run(capsys, "--config", config, "--mode", "paper")
    assert (code, out.splitlines()[-1].startswith("ready for paper")) == (0, True)
    assert "not needed: the strategy consumes none" in out
    code, out = run(capsys, "--config", config, "--mode", "paper", "--json")
    shown = json.loads(out)
    assert (code, shown["exit_code"], shown["mode"]) == (0, 0, "paper")
    assert [one["name"] for one in shown["checks"]] == list(VALIDATE_NAMES)


def test_a_wrong_configuration_is_the_first_line_and_the_others_wait(capsys: Capture, tmp_path: Path) -> None:
    config = tmp_path / "cycle.json"
    config.write_text('{"marked": {}}')

    code, out = run(capsys, "--config", config, "--json")

    shown = json.loads(out)
    assert (code, shown["checks"][0]["outcome"]) == (77, "failed")
    assert {one["outcome"] for one in shown["checks"][1:]} == {"not checked"}
    assert [one["name"] for one in shown["checks"]] == list(VALIDATE_NAMES)
