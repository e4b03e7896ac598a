"""Settings of a cycle: layers, one line for whatever is wrong, what they come to, documents that cannot drift."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from trading_runtime.backtest.run import run_backtest
from trading_runtime.cli.main import main
from trading_runtime.config.build import build_account as build_backtest_account
from trading_runtime.config.build import build_market
from trading_runtime.config.checking import item_of, known_keys, section_of
from trading_runtime.config.cycle_build import (
    bar_age_ms_max,
    build_account,
    build_execution,
    build_feed_bars,
    build_feed_files,
    build_funding,
    build_instruments,
    feed_exchange,
    feed_start_ms,
    filled_in,
    load_strategy,
)
from trading_runtime.config.cycle_schema import CycleSettings
from trading_runtime.config.load import (
    LoadedCycleSettings,
    config_hash,
    flatten,
    load_cycle_settings,
    load_settings,
    settings_json,
)
from trading_runtime.config.schema_json import cycle_json_schema
from trading_runtime.core.errors import EXIT_CONFIGURATION, ConfigurationError, DataError, TradingRuntimeError
from trading_runtime.core.instruments import Instrument, make_rules
from trading_runtime.core.timeframes import HOUR_MS, iso_time, parse_time

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "tests/data/parts"
LOCAL = ROOT / "trading_runtime/local/local.json"
PAPER = ROOT / "trading_runtime/local/paper.json"
BUNDLED = [PAPER, ROOT / "examples/paper_binance.json", ROOT / "examples/live_binance.yaml"]
DOCUMENT = ROOT / "docs/cycle-configuration.md"

Write = Callable[..., Path]
BASE: dict[str, Any] = {
    "strategy": {"class": "sma_cross", "fast": 20},
    "market": {"exchange": "binance", "symbols": ["BTC/USDT", "ETH/USDT"], "timeframe": "1h"},
}
SIMULATED: dict[str, Any] = {"exchange": "simulated", "symbols": ["BTC/USDT"], "timeframe": "1h"}
FILES = {"files": [{"path": str(PARTS / "BTC-USDT-1h.parquet")}]}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration: text as it is, anything else as JSON over the smallest one there is."""

    def to_file(content: Any = None, name: str = "cycle.json") -> Path:
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps({**BASE, **(content or {})})
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def refused(path: Path, *overrides: str, environment: dict[str, str] | None = None) -> str:
    """The one line that a wrong configuration is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        load_cycle_settings(path, overrides, environment)
    assert caught.value.exit_code == EXIT_CONFIGURATION
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def loaded_of(write: Write, **content: Any) -> LoadedCycleSettings:
    return load_cycle_settings(write(content))


# --- layers


def test_later_layers_win_and_every_value_says_where_it_is_from(write: Write) -> None:
    path = write({"risk": {"drawdown_fraction_max": 0.5}, "store": {"kind": "memory"}})
    loaded = load_cycle_settings(
        path,
        ["risk.drawdown_fraction_max=0.1", "account.name=spot-2"],
        {"TRADING_RUNTIME__RISK__DRAWDOWN_FRACTION_MAX": "0.2", "TRADING_RUNTIME__store__Kind": "sqlite"},
    )
    settings = loaded.settings
    assert (settings.risk.drawdown_fraction_max, settings.store.kind, settings.account.name) == (
        0.1,
        "sqlite",
        "spot-2",
    )
    assert loaded.origins["risk.drawdown_fraction_max"] == "--set"
    assert loaded.origins["store.kind"] == "environment TRADING_RUNTIME__store__Kind"
    assert loaded.origins["market.symbols"] == "file"
    assert loaded.origins["lease.seconds"] == "default"
    assert set(loaded.origins) == {key for key, _ in flatten(settings_json(settings))}
    assert (loaded.path, loaded.folder) == (path, path.parent)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ('market.symbols=["SOL/USDT"]', "market.symbols", ["SOL/USDT"]),
        ("market.symbols.1=SOL/USDT", "market.symbols", ["BTC/USDT", "SOL/USDT"]),
        ("market.symbols.2=SOL/USDT", "market.symbols", ["BTC/USDT", "ETH/USDT", "SOL/USDT"]),
        ("market.sandbox=true", "market.sandbox", True),
        ("risk.bar_age_seconds_max=600", "risk.bar_age_seconds_max", 600),
        ("risk.daily_loss_fraction_max=1", "risk.daily_loss_fraction_max", 1.0),
        ("store.project=123", "store.project", "123"),
        ("account.name=007", "account.name", "007"),
        ("account.order_notional_max=0.10", "account.order_notional_max", "0.1"),
        ("instruments.BTC/USDT.lot=1e-5", "instruments.BTC/USDT.lot", "0.00001"),
    ],
)
def test_an_override_reaches_its_key(write: Write, override: str, key: str, value: Any) -> None:
    loaded = load_cycle_settings(write(), [override])
    assert dict(flatten(settings_json(loaded.settings)))[key] == value
    assert loaded.origins[key] == "--set"


def test_a_list_is_set_by_the_environment_too(write: Write) -> None:
    for environment, symbols in (
        ({"TRADING_RUNTIME__MARKET__SYMBOLS": '["SOL/USDT"]'}, ["SOL/USDT"]),
        ({"TRADING_RUNTIME__MARKET__SYMBOLS__0": "SOL/USDT"}, ["SOL/USDT", "ETH/USDT"]),
        ({"TRADING_RUNTIME__FEED__EXCHANGE": "kraken"}, ["BTC/USDT", "ETH/USDT"]),
    ):
        assert load_cycle_settings(write(), [], environment).settings.market.symbols == symbols


def test_another_strategy_leaves_the_parameters_of_the_first_behind(write: Write) -> None:
    loaded = load_cycle_settings(write(), ["strategy.weight=0.5"], strategy="buy_and_hold")
    assert loaded.settings.strategy == {"class": "buy_and_hold", "weight": 0.5}
    assert loaded.origins["strategy.class"] == "--strategy"


def test_json_and_yaml_say_the_same(write: Write) -> None:
    text = """
strategy: {class: sma_cross, fast: 20}
market: {exchange: binance, symbols: [BTC/USDT, ETH/USDT], timeframe: 1h}
risk: {drawdown_fraction_max: 2e-1}
"""
    from_yaml = load_cycle_settings(write(text, "cycle.yaml")).settings
    from_json = load_cycle_settings(write({"risk": {"drawdown_fraction_max": 0.2}})).settings
    assert from_yaml == from_json
    assert config_hash(from_yaml) == config_hash(from_json)


# --- one line for whatever is wrong

MARKET = BASE["market"]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"marked": {}}, "marked is not a setting; did you mean 'market'?"),
    ({"engine": {}}, "engine is not a setting"),
    ({"drawdown_fraction_max": 1}, "is not a setting here; did you mean risk.drawdown_fraction_max?"),
    ({"risk": {"drawdown_fracton_max": 0.1}}, "did you mean 'drawdown_fraction_max'?"),
    ({"risk": {"drawdown_fraction_max": 0}}, "risk.drawdown_fraction_max must be above 0, not 0"),
    ({"risk": {"daily_loss_fraction_max": 5}}, "risk.daily_loss_fraction_max must be at most 1, not 5"),
    ({"risk": {"missed_slots_max": -1}}, "risk.missed_slots_max must be at least 0"),
    ({"risk": {"missed_slots_max": None}}, "risk.missed_slots_max must be a whole number, not null"),
    ({"risk": {"bar_age_seconds_max": 0}}, "risk.bar_age_seconds_max must be at least 1"),
    ({"lease": {"seconds": 1}}, "lease.seconds must be at least 30"),
    ({"placement": {"validity_window_ms": 500}}, "placement.validity_window_ms must be at least 1000"),
    ({"placement": {"validity_window_ms": 60_001}}, "placement.validity_window_ms must be at most 60000"),
    (
        {"placement": {"validity_window_ms": 20_000}},
        "placement.confirm_seconds must be longer than placement.validity_window_ms 20000",
    ),
    ({"store": {"kind": "firestone"}}, "did you mean 'firestore'?"),
    ({"store": {"kind": "firestore"}}, "store.project is missing: kind firestore needs"),
    ({"store": {"path": ""}}, "store.path must not be empty"),
    ({"store": {"prefix": "a/b"}}, "store.prefix must be at most 64 of the characters A-Z, a-z, 0-9, _ and -"),
    ({"account": {"name": "Main"}}, 'account.name must be 1 to 32 of the characters a-z, 0-9 and -, not "Main"'),
    ({"account": {"name": ""}}, "account.name must be 1 to 32 of the characters"),
    ({"account": {"name": "a" * 33}}, "account.name must be 1 to 32 of the characters"),
    ({"account": {"name": "main\n"}}, "account.name must be 1 to 32 of the characters"),
    ({"account": {"name": 7}}, "account.name must be text, not 7"),
    ({"account": {"cash": 0}}, "account.cash must be above 0"),
    ({"market": {**MARKET, "exchange": "Binance"}}, "market.exchange must be ccxt's id of an exchange"),
    ({"market": {**MARKET, "exchange": None}}, "market.exchange must be text, not null"),
    ({"market": {**MARKET, "symbols": []}}, "market.symbols must not be empty"),
    ({"market": {**MARKET, "symbols": "BTC/USDT"}}, "market.symbols must be a list"),
    ({"market": {**MARKET, "symbols": [7]}}, "market.symbols.0 must be text, not 7"),
    ({"market": {**MARKET, "symbols": ["BTCUSDT"]}}, "market.symbols.0 is wrong: symbol 'BTCUSDT' is not of the form"),
    ({"market": {**MARKET, "symbols": ["BTC/USD:BTC"]}}, "only contracts settled in their quote currency"),
    ({"market": {**MARKET, "symbols": ["BTC/USDT"] * 2}}, "market.symbols.1 names BTC/USDT a second time"),
    (
        {"market": {**MARKET, "symbols": ["BTC/USDT", "ETH/EUR"]}},
        "market.symbols must all be settled in one currency, not BTC/USDT in USDT, ETH/EUR in EUR",
    ),
    ({"market": {**MARKET, "timeframe": "1hh"}}, "did you mean '1h'?"),
    ({"market": {"exchange": "binance", "symbols": ["BTC/USDT"]}}, "market.timeframe is missing: length of the bars"),
    ({"market": {**MARKET, "exchange": "simulated"}}, "feed is missing: market.exchange simulated has bars from"),
    (
        {"market": {**SIMULATED, "sandbox": True}, "feed": FILES},
        "market.sandbox is for a real exchange's test network",
    ),
    ({"feed": FILES}, "feed.files are played back at market.exchange simulated only, not at binance"),
    ({"feed": {**FILES, "exchange": "binance"}}, "feed has both files and exchange"),
    ({"feed": {"exchange": "simulated"}}, "feed.exchange must be a real exchange"),
    ({"feed": {"start": "2024-01-01"}}, "feed.start is only for files"),
    ({"market": SIMULATED, "feed": {**FILES, "start": "soon"}}, "feed.start is not a time: 'soon'"),
    ({"market": SIMULATED, "feed": {"files": [{}]}}, "feed.files.0.path is missing"),
    ({"instruments": {"BTC/USD": {}}}, "instruments.BTC/USD is not traded; did you mean 'BTC/USDT'?"),
    ({"funding": {"XRP/EUR:EUR": {"rate": 0}}}, "funding.XRP/EUR:EUR is not traded"),
    ({"notify": {"telegram": "yes"}}, 'notify.telegram must be true or false, not "yes"'),
    ({"output": {"report": True}}, "output.report is not a setting"),
    ({"strategy": {}}, "strategy.class is missing"),
]


@pytest.mark.parametrize(("content", "expected"), WRONG, ids=[f"{n}-{line[:30]}" for n, (_, line) in enumerate(WRONG)])
def test_a_wrong_setting_names_file_and_key(write: Write, content: dict[str, Any], expected: str) -> None:
    path = write(content)
    message = refused(path)
    assert message.startswith(f"{path}: ")
    assert expected in message


@pytest.mark.parametrize("missing", ["strategy", "market"])
def test_what_has_no_default_must_be_given(write: Write, missing: str) -> None:
    path = write(json.dumps({key: value for key, value in BASE.items() if key != missing}))
    assert f"{missing} is missing: " in refused(path)


def test_a_wrong_override_or_variable_is_told_as_such(write: Write) -> None:
    path = write()
    assert refused(path, "risk.missed_slots_max=x").startswith("--set: risk.missed_slots_max must be a whole number")
    assert refused(path, "account.name=A").startswith("--set: account.name must be 1 to 32")
    assert "store.project is missing: kind firestore needs" in refused(path, "store.kind=firestore")
    variable = {"TRADING_RUNTIME__RISK__DRAWDOWN": "1"}
    assert "names no setting; did you mean TRADING_RUNTIME__RISK__DRAWDOWN_FRACTION_MAX?" in refused(
        path, environment=variable
    )
    assert "names no setting" in refused(path, environment={"TRADING_RUNTIME__DATA__0__PATH": "x"})


def test_a_backtest_given_to_the_cycle_is_recognised_and_the_other_way_round(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(LOCAL).startswith(f"{LOCAL}: this is a backtest's configuration")
    with pytest.raises(ConfigurationError, match="this is a cycle's configuration"):
        load_settings(PAPER)
    # What is neither gets the words of the verb it was given to.
    assert "market is missing" in refused(write('{"strategy": {"class": "sma_cross"}}'))
    assert "data is not a setting" in refused(write({"data": []}))
    assert main(["backtest", "--config", str(PAPER)]) == EXIT_CONFIGURATION
    assert "this is a cycle's configuration" in capsys.readouterr().err


# --- the hash


def test_settings_without_effect_leave_the_hash_alone(write: Write) -> None:
    base = config_hash(loaded_of(write).settings)
    for same in (
        {"name": "other"},
        {"output": {"folder": "elsewhere"}},
        {"notify": {"telegram": False}},
        {"lease": {"seconds": 60}},
        {"store": {"kind": "firestore", "project": "p", "prefix": "x"}},
        {"account": {"cash": 10000}},
    ):
        assert config_hash(loaded_of(write, **same).settings) == base, same
    for other in (
        {"account": {"cash": 9999}},
        {"account": {"name": "other"}},
        {"strategy": {"class": "sma_cross", "fast": 21}},
        {"market": {**MARKET, "sandbox": True}},
        {"market": {**MARKET, "symbols": ["ETH/USDT", "BTC/USDT"]}},
        {"feed": {"exchange": "kraken"}},
        {"risk": {"drawdown_fraction_max": 0.5}},
        {"placement": {"validity_window_ms": 6000}},
        {"execution": {"slippage_fraction": 0.001}},
    ):
        assert config_hash(loaded_of(write, **other).settings) != base, other


def test_where_files_lie_is_not_in_the_hash_but_their_number_is(write: Write) -> None:
    def hashed(*paths: str) -> str:
        feed = {"files": [{"path": path} for path in paths]}
        return config_hash(loaded_of(write, market=SIMULATED, feed=feed).settings)

    assert hashed("a.csv") == hashed("b/c.csv")
    assert hashed("a.csv") != hashed("a.csv", "b.csv")


# --- what settings come to


def test_paper_and_backtest_of_the_same_settings_have_the_same_account_and_instruments() -> None:
    """A strategy moves from one to the other with its settings."""
    paper, backtest = load_cycle_settings(PAPER), load_settings(LOCAL)
    market, _ = build_market(backtest.settings, backtest.folder)
    account = build_backtest_account(backtest.settings, market)

    instruments = build_instruments(paper.settings)
    terms = build_account(paper.settings, instruments)

    assert instruments == market.instruments
    assert (terms.start_cash, terms.caps) == (account.start_cash, account.caps)
    assert (terms.permissions.short, terms.permissions.new_risk) == (False, True)
    assert terms.name == "paper"
    assert build_execution(paper.settings) == market.execution
    strategy = load_strategy(paper.settings, paper.folder)
    assert strategy.params.to_json()["slow"] == 50


def test_the_account_counts_in_units(write: Write) -> None:
    settings = loaded_of(
        write, account={"cash": 1234.5, "short": True, "order_notional_max": "0.00000001", "leverage_max": 2}
    ).settings
    terms = build_account(settings, build_instruments(settings))
    assert (terms.start_cash, terms.caps.order_notional_max, terms.caps.symbol_notional_max) == (
        123_450_000_000,
        1,
        None,
    )
    assert (terms.caps.leverage_max, terms.permissions.short, terms.name) == (2.0, True, "main")


def exchange_instrument(**rules: Any) -> Instrument:
    unit = Decimal("0.00000001")
    return Instrument(
        "BTC/USDT", "spot", "BTC", "USDT", unit, unit, (make_rules(quantity_unit=unit, quote_unit=unit, **rules),)
    )


def test_settings_fill_in_what_an_exchange_leaves_open_and_nothing_else(write: Write) -> None:
    settings = loaded_of(
        write,
        instrument={"taker_fee_rate": 0.002, "maker_fee_rate": 0.001, "tick": "5"},
        instruments={
            "BTC/USDT": {"lot": "1", "notional_minimum": "10", "quantity_minimum": "2", "quantity_maximum": "9"}
        },
    ).settings
    said = exchange_instrument(tick="0.1", lot="0.001", quantity_minimum="0.001", taker_fee_rate=0.0004)

    rules = filled_in(settings, said, 0).rules[0]

    assert (rules.tick_numerator, rules.tick_denominator, rules.lot) == (1, 10, 100_000)
    assert rules.quantity_minimum == 100_000
    assert rules.quantity_maximum == 900_000_000
    assert rules.notional_minimum == 1_000_000_000
    assert (rules.taker_fee_rate, rules.maker_fee_rate) == (0.0004, 0.001)


def test_an_exchange_that_says_everything_is_not_contradicted(write: Write) -> None:
    settings = loaded_of(write, instrument={"quantity_maximum": "1", "notional_minimum": "99"}).settings
    said = exchange_instrument(
        quantity_minimum="1", quantity_maximum="7", notional_minimum="5", maker_fee_rate=0.1, taker_fee_rate=0.2
    )
    assert filled_in(settings, said, 0) == said
    nothing = exchange_instrument()
    assert filled_in(loaded_of(write).settings, nothing, 0) == nothing


def test_filling_in_counts_in_the_units_of_the_exchange(write: Write) -> None:
    unit = Decimal("0.0001")
    rules = make_rules(quantity_unit=unit, quote_unit=unit, lot="0.0001")
    said = Instrument("BTC/USDT", "spot", "BTC", "USDT", unit, unit, (rules,))
    settings = loaded_of(write, instrument={"quantity_minimum": "0.002", "quantity_maximum": "3"}).settings

    filled = filled_in(settings, said, 0).rules[0]

    assert (filled.quantity_minimum, filled.quantity_maximum) == (20, 30_000)
    finer = loaded_of(write, instrument={"notional_minimum": "0.00001"}).settings
    with pytest.raises(
        ConfigurationError, match=r"notional_minimum 0\.00001 cannot be counted in the exchange's units"
    ):
        filled_in(finer, said, 0)


def test_bars_come_from_files_or_from_an_exchange(write: Write) -> None:
    assert feed_exchange(loaded_of(write).settings) == "binance"
    assert feed_exchange(loaded_of(write, feed={"exchange": "kraken"}).settings) == "kraken"
    assert feed_exchange(loaded_of(write, market=SIMULATED, feed={"exchange": "kraken"}).settings) == "kraken"
    played = loaded_of(write, market=SIMULATED, feed={**FILES, "start": "2023-06-03"})
    assert feed_exchange(played.settings) is None
    assert feed_start_ms(played.settings) == parse_time("2023-06-03")
    (file,) = build_feed_files(played.settings, played.folder)
    assert (file.path, file.key) == (PARTS / "BTC-USDT-1h.parquet", "feed.files.0")
    bars, manifests = build_feed_bars(played.settings, played.folder)
    assert [bars["BTC/USDT"].timeframe, len(manifests)] == ["1h", 1]


@pytest.mark.parametrize(
    ("market", "feed", "expected"),
    [
        ({}, {"files": FILES["files"] * 2}, "feed.files.1: BTC/USDT is given twice"),
        ({"symbols": ["ETH/USDT"]}, FILES, "market.symbols: no file in feed.files holds ETH/USDT (they hold BTC/USDT)"),
        ({"timeframe": "30m"}, FILES, "feed.files.0: bars of 1h do not make up market.timeframe 30m"),
        ({}, {**FILES, "start": "2030-01-01"}, "feed.start 2030-01-01: the files end at"),
        ({}, {"files": [{"path": "nowhere.parquet"}]}, "nowhere.parquet"),
    ],
)
def test_files_that_do_not_fit_name_their_key(
    write: Write, market: dict[str, Any], feed: dict[str, Any], expected: str
) -> None:
    loaded = loaded_of(write, market={**SIMULATED, **market}, feed=feed)
    with pytest.raises(TradingRuntimeError) as caught:
        build_feed_bars(loaded.settings, loaded.folder)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_of_files_speak_of_settings(write: Write, tmp_path: Path) -> None:
    rows = [f"{1_704_067_200 + 3600 * hour},100,101,99,100,5" for hour in range(60) if hour not in (20, 21, 22)]
    (tmp_path / "bars.csv").write_text("time,open,high,low,close,volume\n" + "\n".join(rows))
    loaded = loaded_of(write, market=SIMULATED, feed={"files": [{"path": "bars.csv"}]})
    with pytest.raises(DataError, match=r"feed\.files\.0\.symbol="):
        build_feed_bars(loaded.settings, loaded.folder)
    feed = {"files": [{"path": "bars.csv", "symbol": "BTC/USDT"}]}
    with pytest.raises(DataError, match=r"quality\.gaps=fill"):
        build_feed_bars(loaded_of(write, market=SIMULATED, feed=feed).settings, loaded.folder)
    filled = loaded_of(write, market=SIMULATED, feed=feed, quality={"gaps": "fill"})
    bars, _ = build_feed_bars(filled.settings, filled.folder)
    assert bars["BTC/USDT"].open_time.size == 60


def test_funding_is_that_of_the_span_that_is_asked_for(write: Write, tmp_path: Path) -> None:
    symbol = "BTC/USDT:USDT"
    market = {**SIMULATED, "symbols": [symbol]}
    start = parse_time("2024-01-01")
    constant = loaded_of(write, market=market, feed={"exchange": "binance"}, funding={symbol: {"rate": 0.1}})
    rates = build_funding(
        constant.settings, constant.folder, build_instruments(constant.settings), start + 1, start + 16 * HOUR_MS
    )
    assert [(rate.time_ms - start, rate.rate) for rate in rates[symbol]] == [(8 * HOUR_MS, 0.1), (16 * HOUR_MS, 0.1)]

    (tmp_path / "rates.csv").write_text("time,rate\n2024-01-01,0.1\n2024-01-02,0.2\n2024-01-03,0.3\n")
    content: dict[str, Any] = {"market": market, "feed": {"exchange": "binance"}}
    listed = loaded_of(write, **content, funding={symbol: {"path": "rates.csv"}})
    rates = build_funding(
        listed.settings, listed.folder, build_instruments(listed.settings), start + 1, start + 24 * HOUR_MS
    )
    assert [rate.rate for rate in rates[symbol]] == [0.2]

    both = loaded_of(write, **content, funding={symbol: {}})
    with pytest.raises(ConfigurationError, match="give either rate or path"):
        build_funding(both.settings, both.folder, build_instruments(both.settings), start, start)


@pytest.mark.parametrize(
    ("timeframe", "given", "expected"), [("1h", None, 3_900_000), ("1m", None, 360_000), ("1h", 900, 900_000)]
)
def test_a_bar_is_stale_when_the_next_one_is_overdue(
    write: Write, timeframe: str, given: int | None, expected: int
) -> None:
    content = {"market": {**MARKET, "timeframe": timeframe}, "risk": {"bar_age_seconds_max": given}}
    assert bar_age_ms_max(loaded_of(write, **content).settings) == expected


# --- documents, examples, cost


def test_every_setting_is_explained_and_nothing_else() -> None:
    """The page has the schema's words and defaults."""
    rows = dict(
        re.findall(r"(?m)^\| `([a-z][\w.]*)` \| (.*) \|$", DOCUMENT.read_text(encoding="utf-8"), flags=re.IGNORECASE)
    )
    leaves = {
        key: field
        for key, field in known_keys(CycleSettings).items()
        if not any(section_of(kind) for kind in (field.type, item_of(field.type, list), item_of(field.type, dict)))
    }
    assert set(rows) == set(leaves)
    assert len(rows) == len(re.findall(r"(?m)^\| `", DOCUMENT.read_text(encoding="utf-8"))), "a key is explained twice"
    for key, field in leaves.items():
        description = next(meta.description for meta in field.type.__metadata__ if meta.description)
        assert description in rows[key], key
        if field.required:
            default = "required"
        elif field.default is msgspec.UNSET:
            default = "as the symbol" if ".rules." in key else "from `instrument`"
        else:
            value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            default = f"`{json.dumps(value)}`"
        assert rows[key].startswith(f"{default} | "), key


def test_the_committed_schema_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema", "--cycle"]) == 0
    printed = capsys.readouterr().out
    assert (ROOT / "docs/cycle-configuration.schema.json").read_text(encoding="utf-8") == printed


def test_the_schema_describes_itself_and_accepts_what_is_accepted(write: Write) -> None:
    schema = cycle_json_schema()
    Draft202012Validator.check_schema(schema)
    for section in (schema, *schema["$defs"].values()):
        assert section["description"]
        for name, shape in section["properties"].items():
            assert shape.get("description"), name
    validator = Draft202012Validator(schema)
    for path in BUNDLED:
        if path.suffix == ".json":
            validator.validate(json.loads(path.read_text()))
    good: list[dict[str, Any]] = [
        {},
        {"account": {"name": "a-1"}},
        {"risk": {"drawdown_fraction_max": None}},
        {"feed": {"exchange": None}},
    ]
    for content in good:
        validator.validate({**BASE, **content})
        load_cycle_settings(write(content))
    for wrong in (
        {"acount": {}},
        {"data": []},
        {"account": {"name": "Main"}},
        {"account": {"name": "main\n"}},
        {"market": {**MARKET, "symbols": []}},
        {"market": {**MARKET, "exchange": "Binance"}},
        {"risk": {"drawdown_fraction_max": 1.5}},
        {"store": {"kind": "mysql"}},
        {"store": {"prefix": "a/b"}},
    ):
        assert list(validator.iter_errors({**BASE, **wrong})), wrong
        refused(write(wrong))


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.name)
def test_the_bundled_configurations_are_good(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They load, show, and write where git does not look."""
    loaded = load_cycle_settings(path)
    settings = loaded.settings
    load_strategy(settings, loaded.folder)
    build_account(settings, build_instruments(settings))
    for place in (settings.output.folder, settings.store.path):
        assert (loaded.folder / place).resolve().is_relative_to(ROOT / "results")
    assert main(["config", "show", "--cycle", "--config", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["config_hash"] == config_hash(settings)
    assert shown["settings"]["market"] == settings_json(settings)["market"]
    assert shown["origins"]["market.exchange"] == "file"


def test_the_examples_that_are_paper_can_never_be_live() -> None:
    assert [load_cycle_settings(path).settings.market.exchange for path in BUNDLED] == [
        "simulated",
        "simulated",
        "binance",
    ]


def test_the_bundled_history_trades_within_its_first_three_slots() -> None:
    """Nothing in the first slot, an entry in the second, its fill in the third: a newcomer sees all of it at once."""
    loaded = load_cycle_settings(PAPER)
    start = feed_start_ms(loaded.settings)
    assert start is not None
    bars, _ = build_feed_bars(loaded.settings, loaded.folder)
    run = run_backtest(load_settings(LOCAL))

    first, second, third = (start + hour * HOUR_MS for hour in range(3))
    decided = {decision.slot: decision for decision in run.trace.decisions() if first <= decision.slot <= third}
    filled = [fill for fill in run.trace.fills() if first < run.market.close_time(fill.bar) <= third]

    assert [iso_time(slot) for slot, decision in decided.items() if decision.orders] == [iso_time(second)]
    assert [(run.market.close_time(fill.bar), fill.order.side) for fill in filled] == [(third, 1)]
    # Both averages are warm in the first slot: the strategy sees the window it declares.
    assert int((bars["BTC/USDT"].open_time < first).sum()) > 200


def test_the_example_in_the_documentation_is_a_configuration(write: Write) -> None:
    first = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert first is not None
    load_cycle_settings(write(first[1]))


def loaded_modules(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; before = set(sys.modules); {code}; print(*set(sys.modules) - before)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    return set(done.stdout.split())


def test_reading_settings_loads_msgspec_and_nothing_else() -> None:
    modules = loaded_modules(
        f"from trading_runtime.config.load import load_cycle_settings; load_cycle_settings({str(PAPER)!r})"
    )
    libraries = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    # typing_extensions: msgspec looks for it by itself.
    assert libraries - {"typing_extensions"} == {"msgspec", "trading_runtime"}


def test_building_a_live_cycle_loads_no_engine_and_no_heavy_library() -> None:
    modules = loaded_modules(
        "from pathlib import Path; from trading_runtime.config.load import load_cycle_settings; "
        "from trading_runtime.config.cycle_build import build_account, build_instruments, load_strategy; "
        f"loaded = load_cycle_settings({str(BUNDLED[1])!r}); load_strategy(loaded.settings, loaded.folder); "
        "build_account(loaded.settings, build_instruments(loaded.settings))"
    )
    heavy = {
        "ccxt",
        "google",
        "kubernetes",
        "numba",
        "pyarrow",
        "plotly",
        "trading_runtime.backtest",
        "trading_runtime.data",
    }
    assert {name for name in modules if name in heavy or any(name.startswith(f"{one}.") for one in heavy)} == set()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["treasury.earn_buffer=true"], "treasury.earn_buffer needs account.funds all"),
        (['account.adopt=["BTC/USDT"]'], "account.adopt.0 needs account.funds all"),
        (["account.funds=all", 'account.adopt=["ETH/BTC"]'], "account.adopt.0 must be a spot market against USDT"),
        (["account.funds=all", 'account.adopt=["ETH/USDT"]'], "account.adopt.0 is not traded: name ETH/USDT"),
        (["treasury.fuel_symbol=BNB/EUR"], "treasury.fuel_symbol must be a spot market against USDT, not BNB/EUR"),
        (["treasury.fuel_symbol=BNB"], "treasury.fuel_symbol is wrong"),
        (["treasury.buffer_minimum=400"], "treasury.buffer_minimum must not exceed treasury.buffer_maximum 300.0"),
    ],
)
def test_settings_of_money_that_contradict_each_other_are_one_line(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        load_cycle_settings(PAPER, overrides=overrides)


def test_the_live_pool_example_is_a_configuration() -> None:
    settings = load_cycle_settings(ROOT / "examples/live_pool_binance.yaml").settings
    assert settings.artifact is not None
    assert settings.account.funds == "all"
    assert settings.treasury.fuel_symbol == "BNB/USDT"
