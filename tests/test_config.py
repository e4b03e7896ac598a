"""Settings: layers and origins, one line for whatever is wrong, and documents that cannot drift from the schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from trading_runtime.config.build import (
    build_account,
    build_instrument,
    build_market,
    constant_funding,
    load_strategy,
)
from trading_runtime.config.checking import check_settings, item_of, known_keys, section_of
from trading_runtime.config.load import LoadedSettings, config_hash, flatten, load_settings, settings_json
from trading_runtime.config.schema import ExecutionSettings, Timeframe
from trading_runtime.config.schema_json import json_schema
from trading_runtime.core.errors import (
    EXIT_CONFIGURATION,
    ConfigurationError,
    DataError,
    StrategyError,
    TradingRuntimeError,
)
from trading_runtime.core.fills import Execution
from trading_runtime.core.timeframes import DAY_MS, HOUR_MS, TIMEFRAME_MS, parse_time
from trading_runtime.strategies import REGISTERED
from trading_runtime.strategies.registry import find_strategy

ROOT = Path(__file__).resolve().parent.parent
PARTS = ROOT / "tests/data/parts"
LOCAL = ROOT / "trading_runtime/local/local.json"
EXAMPLES = [ROOT / "examples" / name for name in ("breakout.json", "buy_and_hold.yaml", "momentum_rotation.json")]

Write = Callable[..., Path]
BASE: dict[str, Any] = {"strategy": {"class": "sma_cross", "fast": 20}, "data": [{"path": "bars.parquet"}]}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration: text as it is, anything else as JSON over the smallest one there is."""

    def to_file(content: Any = None, name: str = "run.json") -> Path:
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps({**BASE, **(content or {})})
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def refused(path: Path, *overrides: str, environment: dict[str, str] | None = None) -> str:
    """The one line that a wrong configuration is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, overrides, environment)
    assert caught.value.exit_code == EXIT_CONFIGURATION
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# --- layers


def test_later_layers_win_and_every_value_says_where_it_is_from(write: Write) -> None:
    """default < file < environment < --set."""
    path = write({"account": {"cash": 1, "leverage_max": 2}, "execution": {"latency_bars": 1}})
    loaded = load_settings(
        path,
        ["account.leverage_max=5"],
        {"TRADING_RUNTIME__ACCOUNT__LEVERAGE_MAX": "4", "TRADING_RUNTIME__execution__Latency_Bars": "3"},
    )
    assert loaded.settings.account.cash == 1.0
    assert loaded.settings.account.leverage_max == 5.0
    assert loaded.settings.execution.latency_bars == 3
    assert {key: loaded.origins[key] for key in ("account.cash", "account.short", "account.leverage_max")} == {
        "account.cash": "file",
        "account.short": "default",
        "account.leverage_max": "--set",
    }
    assert loaded.origins["execution.latency_bars"] == "environment TRADING_RUNTIME__execution__Latency_Bars"
    assert set(loaded.origins) == {key for key, _ in flatten(settings_json(loaded.settings))}
    assert (loaded.path, loaded.folder) == (path, path.parent)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("strategy.fast=10", "strategy.fast", 10),
        ("strategy.mode=on", "strategy.mode", "on"),
        ("name=2024", "name", "2024"),
        ("name=a=b", "name", "a=b"),
        ("period.start=20240131", "period.start", "20240131"),
        ("account.short=true", "account.short", True),
        ("account.order_notional_max=0.10", "account.order_notional_max", "0.1"),
        ("account.order_notional_max=null", "account.order_notional_max", None),
        ("instrument.tick=1e-8", "instrument.tick", "0.00000001"),
        ("instrument.tick=0.12345678901234567890123", "instrument.tick", "0.12345678901234567890123"),
        ("data.0.path=other.csv", "data.0.path", "other.csv"),
        ("data.0.columns.time=opened", "data.0.columns.time", "opened"),
        ("data.1.path=second.csv", "data.1.path", "second.csv"),
        ("instruments.BTC/USDT:USDT.lot=0.5", "instruments.BTC/USDT:USDT.lot", "0.5"),
        ("funding.BTC/USDT:USDT.rate=-0.0001", "funding.BTC/USDT:USDT.rate", -0.0001),
        ('account={"cash": 7}', "account.cash", 7.0),
        (
            "instruments.BTC/USDT.rules.0.valid_from=2024-01-01",
            "instruments.BTC/USDT.rules.0.valid_from",
            "2024-01-01",
        ),
    ],
)
def test_an_override_reaches_its_key(write: Write, override: str, key: str, value: Any) -> None:
    """Values are JSON where they can be and text where the schema wants text; sections are made as needed."""
    loaded = load_settings(write(), [override])
    values = dict(flatten(settings_json(loaded.settings)))
    assert values[key] == value
    assert type(values[key]) is type(value)
    assert loaded.origins[key] == "--set"


def test_a_section_given_as_a_whole_leaves_its_other_keys_at_their_defaults(write: Write) -> None:
    """``--set account={...}`` replaces the file's account and says so."""
    loaded = load_settings(write({"account": {"leverage_max": 3}}), ['account={"cash": 7}'])
    assert loaded.settings.account.leverage_max == 1.0
    assert loaded.origins["account.cash"] == "--set"
    assert loaded.origins["account.leverage_max"] == "default"


def test_environment_names_have_no_case_and_find_symbols_of_the_file(write: Write) -> None:
    """A variable reaches a symbol or parameter that the file spells in its own way."""
    path = write({"instruments": {"btc/USDT": {"tick": 1}}})
    environment = {
        "TRADING_RUNTIME__INSTRUMENTS__BTC/USDT__TICK": "0.5",
        "TRADING_RUNTIME__STRATEGY__SLOW": "60",
        "TRADING_RUNTIME__DATA__0__PATH": "x.csv",
        "TRADING_RUNTIME_COMMIT": "abc",
        "OTHER": "1",
    }
    settings = load_settings(path, [], environment).settings
    assert settings.instruments["btc/USDT"].tick == "0.5"
    assert settings.strategy == {"class": "sma_cross", "fast": 20, "slow": 60}
    assert settings.data[0].path == "x.csv"


def test_another_strategy_leaves_the_parameters_of_the_first_behind(write: Write) -> None:
    """What the file says about one class means nothing to another; what --set says is meant for the new one."""
    path = write()
    loaded = load_settings(path, ["strategy.weight=0.5"], strategy="buy_and_hold")
    assert loaded.settings.strategy == {"class": "buy_and_hold", "weight": 0.5}
    assert loaded.origins["strategy.class"] == "--strategy"
    assert load_settings(path, strategy="sma_cross").settings.strategy["fast"] == 20


# --- JSON and YAML


def test_json_and_yaml_say_the_same(write: Write) -> None:
    """One content in both formats gives equal settings and hashes."""
    text = """
# a comment
name: no
strategy: {class: sma_cross, fast: 010}
data:
  - path: bars.parquet
period: {start: 2024-01-01, end: 2024-02-01 12:00:00}
account: {cash: 1e4, short: false}
instrument: {tick: 0.5}
execution: {slippage_fraction: 5e-4, volume_fraction_max: ~}
"""
    document = {
        "name": "no",
        "strategy": {"class": "sma_cross", "fast": 10},
        "period": {"start": "2024-01-01", "end": "2024-02-01 12:00:00"},
        "account": {"cash": 10000},
        "instrument": {"tick": "0.50"},
        "execution": {"slippage_fraction": 0.0005},
    }
    from_yaml = load_settings(write(text, "run.yaml"))
    from_json = load_settings(write(document))
    assert from_yaml.settings == from_json.settings
    assert config_hash(from_yaml.settings) == config_hash(from_json.settings)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"a": 1,\n "a": 2}', "key 'a' is given twice"),
        ("a.json", '{"account": {"cash": 1, "cash": 2}}', "key 'cash' is given twice"),
        ("a.json", '{"name": "x",\n  tru}', "line 2 column 3"),
        ("a.json", '{"name": "x",}', "no comma before a closing bracket"),
        ("a.json", "// hello\n{}", "JSON has no comments"),
        ("a.json", '{"account": {"cash": NaN}}', "NaN is not a finite number"),
        ("a.json", '{"account": {"cash": -Infinity}}', "-Infinity is not a finite number"),
        ("a.json", '{"account": {"cash": ' + "1" * 5000 + "}}", "thousands of digits"),
        ("a.json", "", "is empty"),
        ("a.json", "null", "is empty"),
        ("a.json", "[]", "holds list"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", "{} {}", "Extra data"),
        ("a.yaml", "a: 1\na: 2", "line 2 column 1: key 'a' is given twice"),
        ("a.yaml", "a: [1", "line 1 column 6"),
        ("a.yaml", "a: &x 1\nb: *x", "line 2 column 4: aliases (*x) are not supported"),
        ("a.yaml", "a: .nan", ".nan is not a finite number"),
        ("a.yaml", "a: -.inf", "-.inf is not a finite number"),
        ("a.yaml", "1: 2", "keys must be text"),
        ("a.yaml", "? [a]\n: b", "keys must be text"),
        ("a.yaml", "!!python/object/apply:os.system [echo]", "could not determine a constructor"),
        ("a.yaml", "a: !!int abc", "invalid literal"),
        ("a.yaml", "a:\n\t- b", "line 2 column 1"),
        ("a.yaml", "a: 1\n---\nb: 2", "another document"),
        ("a.yaml", "", "is empty"),
        ("a.yml", "- 1", "holds list"),
        ("a.yaml", "[" * 3000, "nested too deeply"),
        ("a.yaml", "a: \x00", "special characters are not allowed"),
        ("a.toml", "a = 1", "ends in .json, .yaml or .yml"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(write: Write, name: str, text: str, expected: str) -> None:
    """Syntax errors name the file and, where the format knows them, line and column."""
    path = write(text, name)
    message = refused(path)
    assert message.startswith(f"{path}:")
    assert expected in message


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    """Missing files, folders, other encodings and data files."""
    assert "there is no such file" in refused(tmp_path / "missing.json")
    (tmp_path / "folder.json").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.json")
    (tmp_path / "latin.json").write_bytes(b'{"name": "\xe9"}')
    assert "not UTF-8" in refused(tmp_path / "latin.json")
    (tmp_path / "big.json").write_bytes(b" " * (5 * 1024 * 1024))
    assert "larger than" in refused(tmp_path / "big.json")


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    path = tmp_path / "run.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(BASE).encode())
    assert load_settings(path).settings.strategy["fast"] == 20


# --- one line for whatever is wrong

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"acount": {}}, "acount is not a setting; did you mean 'account'?"),
    ({"account": {"cassh": 1}}, "account.cassh is not a setting; did you mean 'cash'?"),
    ({"cash": 1}, "cash is not a setting here; did you mean account.cash?"),
    ({"zzz": 1}, "zzz is not a setting (known here: name, strategy"),
    ({"account": {"cash": "abc"}}, 'account.cash must be a number, not "abc"'),
    ({"account": {"cash": True}}, "account.cash must be a number, not true"),
    ({"account": {"cash": 0}}, "account.cash must be above 0, not 0"),
    ({"account": {"cash": 10**400}}, "account.cash is out of range"),
    ({"account": {"short": 1}}, "account.short must be true or false, not 1"),
    ({"account": None}, "account must be a section, not null"),
    ({"account": 5}, "account must be a section with keys such as cash"),
    ({"account": {"order_notional_max": -1}}, "account.order_notional_max must be finite and not negative"),
    ({"account": {"order_notional_max": "1e999999"}}, "has more digits than any amount"),
    ({"account": {"order_notional_max": []}}, "must be a decimal number"),
    ({"instrument": {"tick": None}}, "instrument.tick must be"),
    ({"instrument": {"tick": "abc"}}, 'instrument.tick must be a decimal number such as "0.01", not "abc"'),
    ({"instrument": {"tick": True}}, "instrument.tick must be a decimal number"),
    ({"instrument": {"taker_fee_rate": 1}}, "instrument.taker_fee_rate must be below 1, not 1"),
    ({"execution": {"latency_bars": 1.5}}, "execution.latency_bars must be a whole number, not 1.5"),
    ({"execution": {"limit_fill": "tuch"}}, "did you mean 'touch'?"),
    ({"data": []}, "data is empty: name at least one file"),
    ({"data": {}}, "data must be a list"),
    ({"data": [{}]}, "data.0.path is missing"),
    ({"data": [{"path": ""}]}, "data.0.path must not be empty"),
    ({"data": [{"path": "a", "timeframe": "1hh"}]}, "did you mean '1h'?"),
    ({"data": [{"path": "a", "columns": {"time": 1}}]}, "data.0.columns.time must be text, not 1"),
    ({"strategy": {}}, "strategy.class is missing"),
    ({"strategy": {"class": ""}}, "strategy.class is missing"),
    ({"strategy": "sma_cross"}, "strategy must be a section"),
    ({"strategy": {"class": "sma_cross", "fast": [1]}}, "strategy.fast must be"),
    ({"period": {"start": "yesterday"}}, "period.start is not a time: 'yesterday'"),
    ({"period": {"start": 1.5}}, "period.start must be a time"),
    ({"period": {"start": "2024-02-01", "end": "2024-01-01"}}, "period.end must be after period.start"),
    ({"instruments": {"BTC/USDT": {"tik": 1}}}, "instruments.BTC/USDT.tik is not a setting; did you mean"),
    (
        {"instruments": {"BTC/USDT": {"rules": [{"tick": 1}]}}},
        "instruments.BTC/USDT.rules.0.valid_from is missing",
    ),
    ({"funding": {"BTC/USDT:USDT": {"rate": 2}}}, "funding.BTC/USDT:USDT.rate must be below 1, not 2"),
    ({"name": "x" * 200}, "name must have at most 120 characters"),
]


@pytest.mark.parametrize(("content", "expected"), WRONG, ids=[expected[:40] for _, expected in WRONG])
def test_a_wrong_setting_names_file_and_key(write: Write, content: dict[str, Any], expected: str) -> None:
    """What, where, what to do."""
    path = write(content)
    message = refused(path)
    assert message.startswith(f"{path}: ")
    assert expected in message


@pytest.mark.parametrize("missing", ["strategy", "data"])
def test_what_has_no_default_must_be_given(write: Write, missing: str) -> None:
    """The message says what the key is for."""
    path = write(json.dumps({key: value for key, value in BASE.items() if key != missing}))
    assert f"{missing} is missing: " in refused(path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("foo", "--set foo: write --set section.key=value"),
        ("=3", "--set =3: write"),
        ("a..b=2", "--set a..b=2: write"),
        ("account.cash=abc", '--set: account.cash must be a number, not "abc"'),
        ("acount.cash=1", "--set: acount is not a setting; did you mean 'account'?"),
        ("account.cash.x=4", 'account.cash must be a number, not {"x": 4}'),
        ("name.x=4", "name.x: name is not a section"),
        ("data.7.path=x", "write a place in the list, 0 to 1"),
        ("data.x=1", "write a place in the list"),
        ("strategy.fast=NaN", None),
        ('account={"cash": 1, "cash": 2}', "is given twice"),
        ("period.end=1999-01-01", None),
    ],
)
def test_a_wrong_override_is_told_as_such(write: Write, override: str, expected: str | None) -> None:
    """Errors of the command line do not blame the file. Text that is no JSON is text."""
    if expected is None:
        load_settings(write(), [override])
    else:
        assert expected in refused(write({"name": "x"}), override)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("TRADING_RUNTIME__ACOUNT__CASH", "1", "did you mean TRADING_RUNTIME__ACCOUNT__CASH?"),
        ("TRADING_RUNTIME__CASH", "1", "did you mean TRADING_RUNTIME__ACCOUNT__CASH?"),
        ("TRADING_RUNTIME__", "1", "write TRADING_RUNTIME__SECTION__KEY"),
        ("TRADING_RUNTIME__ACCOUNT__", "1", "write TRADING_RUNTIME__SECTION__KEY"),
        ("TRADING_RUNTIME__ACCOUNT__CASH__X", "1", "account.cash is one value"),
        ("TRADING_RUNTIME__ACCOUNT__CASH", "abc", 'account.cash must be a number, not "abc"'),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(write: Write, name: str, value: str, expected: str) -> None:
    """A variable that names no setting would otherwise be silently without effect."""
    message = refused(write(), environment={name: value})
    assert f"environment variable {name}" in message
    assert expected in message


def test_two_variables_for_one_key_contradict_each_other(write: Write) -> None:
    """Names have no case, so both would set it, in an order nobody chose."""
    both = {"TRADING_RUNTIME__ACCOUNT__CASH": "1", "TRADING_RUNTIME__account__cash": "2"}
    assert "remove one" in refused(write(), environment=both)


# --- what settings come to


def settings_of(**content: Any) -> LoadedSettings:
    """Settings over the bundled data, as they are after reading."""
    document = {
        "strategy": {"class": "sma_cross"},
        "data": [{"path": str(PARTS / "BTC-USDT-1h.parquet")}],
        **content,
    }
    return LoadedSettings(check_settings(document, {}), {}, Path("run.json"), ROOT)


def test_settings_without_effect_leave_the_hash_alone() -> None:
    """Name, output, engine path and places of files change no result; everything else does."""
    base = config_hash(settings_of().settings)
    for same in (
        {"name": "other"},
        {"output": {"folder": "elsewhere"}},
        {"engine": {"path": "general"}},
        {"data": [{"path": "moved.parquet"}]},
        {"account": {"cash": 10000}},
    ):
        assert config_hash(settings_of(**same).settings) == base, same
    for other in (
        {"account": {"cash": 9999}},
        {"strategy": {"class": "sma_cross", "fast": 21}},
        {"data": [{"path": "a", "resample": "4h"}]},
        {"metrics": {"periods_per_year": 252}},
        {"funding": {"BTC/USDT": {"rate": 0.1}}},
    ):
        assert config_hash(settings_of(**other).settings) != base, other


def test_the_settings_of_execution_are_the_fields_of_execution() -> None:
    """The schema repeats them with their limits; neither may grow alone."""
    fields = {field.name: field.default for field in msgspec.structs.fields(ExecutionSettings)}
    assert fields == {name: getattr(Execution(), name) for name in Execution.__dataclass_fields__}


def test_timeframes_are_those_of_the_core() -> None:
    """The schema spells them out for editors."""
    assert Timeframe.__args__ == tuple(TIMEFRAME_MS)


def test_instruments_inherit_and_change_with_their_date() -> None:
    """instrument < instruments.SYMBOL < its dated rules."""
    settings = settings_of(
        instrument={"tick": "0.5", "lot": "0.001", "taker_fee_rate": 0.002},
        instruments={
            "BTC/USDT": {"lot": 0.01, "rules": [{"valid_from": "2024-01-01", "tick": "0.1"}]},
        },
    ).settings
    instrument = build_instrument(settings, "BTC/USDT")
    before, after = instrument.rules
    assert (before.tick_numerator, before.tick_denominator, before.lot) == (1, 2, 1_000_000)
    assert (after.tick_numerator, after.tick_denominator, after.lot) == (1, 10, 1_000_000)
    assert after.valid_from == parse_time("2024-01-01")
    assert after.taker_fee_rate == 0.002
    assert build_instrument(settings, "ETH/USDT:USDT").kind == "perpetual"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"instrument": {"lot": "0.000000001"}}, "instrument.lot 0.000000001 is not a whole multiple"),
        ({"instrument": {"tick": "0"}}, "instrument.tick must be positive"),
        ({"instrument": {"quote_unit": "0"}}, "instrument.quote_unit must be positive"),
        (
            {"instruments": {"BTC/USDT": {"rules": [{"valid_from": "20240101"}, {"valid_from": "2024-01-01"}]}}},
            "instruments.BTC/USDT.rules.1.valid_from must be later",
        ),
        ({"instruments": {"BTC/USD": {}}}, "instruments.BTC/USD: no data of this symbol; did you mean"),
        ({"funding": {"ETH/USDT": {"rate": 0}}}, "funding.ETH/USDT: no data of this symbol"),
        ({"funding": {"BTC/USDT": {"rate": 0.1}}}, "funding.BTC/USDT: spot pays no funding"),
        ({"funding": {"BTC/USDT": {}}}, "give either rate or path"),
        (
            {
                "data": [
                    {"path": "tests/data/parts/BTC-USDT-1h.parquet"},
                    {"path": "tests/data/parts/BTC-USDT-1h.parquet"},
                ]
            },
            "data.1: BTC/USDT is given twice",
        ),
        ({"period": {"start": "2030-01-01"}}, "no bar lies in the period; the data covers 2023-01-01"),
        ({"account": {"cash": 1e12}}, "account.cash 1000000000000.0 is more than amounts can hold"),
        ({"account": {"cash": 1e-9}}, "is less than one unit"),
    ],
)
def test_what_only_shows_together_names_its_key(content: dict[str, Any], expected: str) -> None:
    """Contradictions between settings, and between settings and data."""

    def build() -> None:
        loaded = settings_of(**content)
        market, _ = build_market(loaded.settings, loaded.folder)
        build_account(loaded.settings, market)

    with pytest.raises(TradingRuntimeError) as caught:
        build()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bars_are_resampled_and_cut_to_the_period() -> None:
    """Resampling comes before the cut, so that the first bar of a period is a whole one."""
    data = [{"path": "tests/data/parts/BTC-USDT-1h.parquet", "resample": "4h"}]
    loaded = settings_of(data=data, period={"start": "2023-02-01T02:00:00Z", "end": "2023-03-01"})
    market, manifests = build_market(loaded.settings, loaded.folder)
    assert market.bar_ms == 4 * HOUR_MS
    assert market.start_ms == parse_time("2023-02-01T04:00:00Z")
    assert market.close_time(market.count - 1) == parse_time("2023-03-01")
    assert manifests[0]["resampled_to"] == "4h"


def test_the_account_counts_in_units_and_never_bears_the_name_of_the_run() -> None:
    """A name in order ids would give one computation two digests."""
    loaded = settings_of(
        name="other",
        account={"cash": 1234.5, "short": True, "order_notional_max": "0.00000001", "leverage_max": 2},
    )
    market, _ = build_market(loaded.settings, loaded.folder)
    account = build_account(loaded.settings, market)
    assert account.start_cash == 123_450_000_000
    assert account.caps.order_notional_max == 1
    assert account.caps.symbol_notional_max is None
    assert account.caps.leverage_max == 2.0
    assert account.permissions.short
    assert account.name == "backtest"


def test_errors_of_data_speak_of_settings(tmp_path: Path) -> None:
    """Whoever runs a configuration has no --gaps option."""
    rows = [f"{1_704_067_200 + 3600 * hour},100,101,99,100,5" for hour in range(60) if hour not in (20, 21, 22)]
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text("time,open,high,low,close,volume\n" + "\n".join(rows))
    loaded = settings_of(data=[{"path": str(path), "symbol": "BTC/USDT"}])
    with pytest.raises(DataError) as caught:
        build_market(loaded.settings, loaded.folder)
    assert "quality.gaps=fill" in str(caught.value)
    assert "--" not in str(caught.value)
    filled = settings_of(data=[{"path": str(path), "symbol": "BTC/USDT"}], quality={"gaps": "fill"})
    _, manifests = build_market(filled.settings, filled.folder)
    assert "quality.minimum B, gaps fill" in manifests[0]["exception"]


# --- funding

PERPETUAL = {"data": [{"path": "tests/data/parts/BTC-USDT_USDT-1h.parquet"}]}


def test_a_constant_rate_is_paid_from_midnight_on() -> None:
    """Every eight hours: 08:00, 16:00, 00:00; an interval that does not divide a day starts again each day."""
    loaded = settings_of(**PERPETUAL, period={"start": "2023-01-01", "end": "2023-01-03"})
    market, _ = build_market(loaded.settings, loaded.folder)
    bars = market.bars["BTC/USDT:USDT"]
    start = parse_time("2023-01-01")
    times = [payment.time_ms - start for payment in constant_funding(bars, 0.1, 8)]
    assert times == [8 * HOUR_MS * index for index in range(1, 7)]
    assert [payment.time_ms - start for payment in constant_funding(bars, 0.1, 7)] == [
        *(7 * HOUR_MS * index for index in range(1, 4)),
        *(DAY_MS + 7 * HOUR_MS * index for index in range(4)),
        2 * DAY_MS,
    ]


def test_a_file_of_rates_is_read_and_named_by_its_content(tmp_path: Path) -> None:
    """Times as ISO text, seconds or milliseconds; further columns do not matter."""
    path = tmp_path / "funding.csv"
    path.write_text("time,symbol,rate\n2023-01-01T08:00:00Z,BTC,0.0001\n1672588800,BTC,-2e-4\n1672617600000,BTC,0\n")
    loaded = settings_of(**PERPETUAL, funding={"BTC/USDT:USDT": {"path": str(path)}})
    market, manifests = build_market(loaded.settings, loaded.folder)
    assert [(bar, rate) for bar, _, rate in market.funding_bars] == [(7, 0.0001), (15, -0.0002), (23, 0.0)]
    assert manifests[-1]["kind"] == "funding"
    assert manifests[-1]["rows"] == 3
    assert re.fullmatch("[0-9a-f]{64}", manifests[-1]["sha256"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "there is no such file"),
        ("", "the first line must name the columns time and rate"),
        ("when,rate\n", "must name the columns time and rate, not when, rate"),
        ("time,rate\n", "holds no rates"),
        ("time,rate\n2023-01-01\n", "line 2: has 1 values, the header has 2"),
        ("time,rate\nmonday,0.1\n", "line 2: not a time"),
        ("time,rate\n123456789,0.1\n", "line 2: 123456789 is no time"),
        ("time,rate\n2023-01-02,0.1\n2023-01-01,0.1\n", "line 3: 2023-01-01T00:00:00Z is not later"),
        ("time,rate\n2023-01-02,abc\n", "line 2: rate 'abc' is not a number"),
        ("time,rate\n2023-01-02,nan\n", "line 2: rate nan is not a fraction"),
        ("time,rate\n2023-01-02,1.5\n", "line 2: rate 1.5 is not a fraction"),
        ("time,rate\n2030-01-02,0.1\n", "lie outside the bars"),
    ],
)
def test_a_wrong_file_of_rates_names_its_line(tmp_path: Path, text: str | None, expected: str) -> None:
    """Funding that is not understood would be money that is not counted."""
    path = tmp_path / "funding.csv"
    if text is not None:
        path.write_text(text)
    loaded = settings_of(**PERPETUAL, funding={"BTC/USDT:USDT": {"path": str(path)}})
    with pytest.raises(TradingRuntimeError) as caught:
        build_market(loaded.settings, loaded.folder)
    assert expected in str(caught.value)


# --- strategies

STRATEGY_FILE = """
from trading_runtime.core.strategy import Strategy
from neighbour import VALUE
class Idea(Strategy):
    "An idea."
    def decide(self, inputs):
        return None
class Other:
    pass
"""


@pytest.fixture
def strategy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "neighbour.py").write_text("VALUE = 1\n")
    path = tmp_path / f"json_{tmp_path.name}.py"
    path.write_text(STRATEGY_FILE)
    return path


@pytest.mark.parametrize("name", list(REGISTERED))
def test_registered_names_and_module_paths_are_the_same_class(name: str) -> None:
    """Both ways of writing find it."""
    assert find_strategy(name) is find_strategy(REGISTERED[name])


def test_a_strategy_file_is_found_relative_to_the_configuration(strategy_file: Path) -> None:
    """With what lies beside it, and once: two look-ups give one class."""
    loaded = settings_of(strategy={"class": f"{strategy_file.name}:Idea"})
    strategy = load_strategy(loaded.settings, strategy_file.parent)
    assert type(strategy).__name__ == "Idea"
    assert find_strategy(f"{strategy_file}:Idea") is type(strategy)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("sma_crss", ConfigurationError, "unknown strategy 'sma_crss'; did you mean 'sma_cross'?"),
        (":X", ConfigurationError, "is not of the form module:Class"),
        ("x:", ConfigurationError, "is not of the form module:Class"),
        ("no_such_module:X", ConfigurationError, "there is no module 'no_such_module'"),
        (
            "trading_runtime.strategies.sma_cross:SmaCros",
            ConfigurationError,
            "did you mean 'SmaCross'? (strategies there: SmaCross)",
        ),
        ("json:nothing", ConfigurationError, "module json has no 'nothing' (it defines no strategy)"),
        ("json:loads", StrategyError, "is a function that does not inherit"),
        ("json:JSONDecoder", StrategyError, "is a class JSONDecoder that does not inherit"),
        ("trading_runtime.core.strategy:Strategy", StrategyError, "is the base class"),
        ("/nowhere/x.py:X", ConfigurationError, "strategy file /nowhere/x.py: there is no such file"),
    ],
)
def test_a_strategy_that_cannot_be_found_says_why(name: str, kind: type[Exception], expected: str) -> None:
    """Names, modules, classes and files."""
    with pytest.raises(kind) as caught:
        find_strategy(name)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("x = 1\nclass\n", 2, "invalid syntax"),
        ("import os\n\nx = 1 / 0\n", 3, "ZeroDivisionError: division by zero"),
        ("import no_such_library\n", 1, "No module named 'no_such_library'"),
        (
            "from trading_runtime.core.columns import indicator\na = 1\nx = indicator('smaa', 'close', length=2)\n",
            3,
            "smaa",
        ),
        (
            "from trading_runtime.core.strategy import Strategy\nfrom trading_runtime.core.columns import indicator\n"
            "class X(Strategy):\n    price = indicator('sma', 'close', length=2)\n",
            3,
            "a column cannot be called 'price'",
        ),
    ],
)
def test_a_strategy_that_cannot_be_imported_names_its_line(tmp_path: Path, text: str, line: int, expected: str) -> None:
    """The line in the author's file, not the one in ours that noticed."""
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(StrategyError) as caught:
        find_strategy(f"{path}:X")
    assert f"broken.py: line {line}: " in str(caught.value)
    assert expected in str(caught.value)
    assert "strategy_file_broken" not in sys.modules


def test_parameters_are_checked_by_the_strategy_itself() -> None:
    """With its own words, and the strategy's name in front."""
    for parameters, expected in (
        ({"fats": 1}, "strategy sma_cross: unknown parameter 'fats'; did you mean 'fast'?"),
        ({"fast": 1}, "parameter 'fast' must be at least 2"),
        ({"fast": "x"}, "parameter 'fast' must be int"),
    ):
        loaded = settings_of(strategy={"class": "sma_cross", **parameters})
        with pytest.raises(ConfigurationError) as caught:
            load_strategy(loaded.settings, loaded.folder)
        assert expected in str(caught.value)


# --- documents, examples, cost


def documented_rows() -> dict[str, str]:
    """Every key that docs/configuration.md explains, with its row."""
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `([a-z][\w.]*)` \| (.*) \|$", text, flags=re.IGNORECASE)
    assert len(rows) == len({key for key, _ in rows}), "a key is explained twice"
    return dict(rows)


def test_every_setting_is_explained_and_nothing_else() -> None:
    """The page has the schema's words and defaults."""
    rows = documented_rows()
    leaves = {
        key: field
        for key, field in known_keys().items()
        if not any(section_of(kind) for kind in (field.type, item_of(field.type, list), item_of(field.type, dict)))
    }
    assert set(rows) == set(leaves)
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


def test_the_committed_schema_is_in_step() -> None:
    """docs/configuration.schema.json is what `trading-runtime config schema` prints."""
    committed = (ROOT / "docs/configuration.schema.json").read_text(encoding="utf-8")
    assert committed == json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def test_the_schema_describes_itself_and_accepts_what_is_accepted() -> None:
    """Every section and key has a description; the examples are valid; unknown keys and wrong types are not."""
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    for section in (schema, *schema["$defs"].values()):
        assert section["description"]
        for name, shape in section["properties"].items():
            assert shape.get("description"), name
    validator = Draft202012Validator(schema)
    for path in (LOCAL, *(path for path in EXAMPLES if path.suffix == ".json")):
        validator.validate(json.loads(path.read_text()))
    validator.validate({**BASE, "instrument": {"tick": 0.5, "quantity_maximum": None}})
    for wrong in (
        {"strategy": {}},
        {"acount": {}},
        {"instrument": {"tick": True}},
        {"account": {"cash": 0}},
        {"data": []},
    ):
        assert list(validator.iter_errors({**BASE, **wrong})), wrong


@pytest.mark.parametrize("path", [LOCAL, *EXAMPLES], ids=lambda path: path.name)
def test_the_bundled_configurations_are_good(path: Path) -> None:
    """They load, name data that is there, and write where git does not look."""
    loaded = load_settings(path)
    load_strategy(loaded.settings, loaded.folder)
    assert build_market(loaded.settings, loaded.folder)[0].count > 500
    assert (loaded.folder / loaded.settings.output.folder).resolve().is_relative_to(ROOT / "results")


def test_the_example_in_the_documentation_is_a_configuration(write: Write) -> None:
    """What newcomers copy works."""
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    first = re.search(r"```json\n(.*?)```", text, flags=re.DOTALL)
    assert first is not None
    load_settings(write(first[1]))


def test_reading_settings_loads_msgspec_and_nothing_else() -> None:
    """Start-up is paid by every pod: no numpy, no YAML for JSON, no exchange, no Parquet."""
    code = (
        "import sys; before = set(sys.modules); from trading_runtime.config.load import load_settings; "
        f"load_settings({str(LOCAL)!r}); "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    # typing_extensions: msgspec looks for it by itself.
    assert set(done.stdout.split()) - {"typing_extensions"} == {"msgspec", "trading_runtime"}
