"""The live pool from its documents alone: snapshots of another hand, a second ledger, a second validator's cases.

Nothing here uses the snapshots of the other tests: the fixed cycle's are written from the description of their schema,
indicators are worked out with loops over the real days of BTC, and the breaker is held to an account kept beside it.
"""

from __future__ import annotations

import copy
import csv
import json
import math
import random
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_pool_samples import BCH, BTC, DAY_MS, ETH, LTC, NOON, POOL, PRICES, SOL, STRONG, XRP, World, publication
from market_samples import HOUR_MS, random_bars
from msgspec import convert

from trading_runtime.artifacts.ladder import Ladder
from trading_runtime.artifacts.manifest import ManifestError, read_manifest
from trading_runtime.artifacts.payload import PayloadRules, validate_payload
from trading_runtime.artifacts.release import strict_findings
from trading_runtime.artifacts.sources import parse_json
from trading_runtime.cli.arguments import parse
from trading_runtime.cli.main import main
from trading_runtime.cli.verbs import make_parser
from trading_runtime.config.build import load_publications, load_strategy, reserved_symbols
from trading_runtime.config.schema import Settings
from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError, DataError, TradingRuntimeError
from trading_runtime.core.evaluate import Columns
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.timeframes import iso_time, parse_time
from trading_runtime.cycle.fixture.run import run_fixture
from trading_runtime.cycle.report import CycleReport
from trading_runtime.strategies.crypto_live_pool_rotation import CryptoLivePoolRotation

ROOT = Path(__file__).resolve().parents[1]
DAYS_OF_BTC = ROOT.parent / "shared/market-data/btc-usd-1d-2011-2025.csv"
REAL_POOL = ROOT.parent / "shared/pools/2026-06-01-core_major.json"
NOW = parse_time("2026-03-15T00:00:00Z")
Json = dict[str, Any]
Edit = Callable[[Json], object]

ACCOUNT, STATE, MARKET, PUBLISHED = "account_balances", "initial_state", "market_data", "pool_input"
NAMES = ["ETHUSDT", "SOLUSDT", "XRPUSDT", "LTCUSDT", "BCHUSDT"]


def of_one_symbol(price: float, relative_score: float, deviation: float) -> Json:
    """Indicators of a symbol that is ahead of BTC by as much in each of the three periods."""
    ahead = relative_score * deviation
    return {
        "close": price, "sma20": price * 0.97, "sma60": price * 0.93, "sma200": price * 0.81,
        "roc20": 0.05 + ahead, "roc60": 0.10 + ahead, "roc120": 0.15 + ahead, "vol20": deviation, "atr14": price * 0.02,
        "avg_quote_vol_180": 3e7, "trend_persist_90": 0.9, "age_days": 420,
    }  # fmt: skip


def snapshots() -> dict[str, Any]:
    """The four files of the documented cycle, by the names of their schema."""
    steps = {"ETH": ".001", "SOL": ".01", "XRP": ".1", "LTC": ".01", "BCH": ".001", "BTC": ".0001"}
    return {
        ACCOUNT: {
            "spot_balances": {
                "USDT": {"free": "1000", "locked": "0"},
                "BNB": {"free": "0.1", "locked": "0"},
                **{asset: {"free": "0", "locked": "0"} for asset in steps},
            },
            "earn_positions": {"USDT": {"rows": [{"productId": "USDT001", "totalAmount": "0"}]}},
            "earn_product_list": {"USDT": {"rows": [{"productId": "USDT001"}]}},
            "avg_prices": {
                "BTCUSDT": "60000", "ETHUSDT": "2500", "SOLUSDT": "150", "XRPUSDT": "1.2", "LTCUSDT": "100",
                "BCHUSDT": "420", "BNBUSDT": "300",
            },
            "symbol_info": {
                f"{asset}USDT": {"filters": [{"filterType": "LOT_SIZE", "stepSize": step}]}
                for asset, step in steps.items()
            },
        },
        STATE: {
            "BTCUSDT": {"holding_qty": 0.0, "avg_cost": 0.0}, "daily_equity_base": 0.0, "daily_trend_equity_base": 0.0,
            "daily_trend_pnl_basis": "trend_val", "last_reset_date": "", "is_circuit_broken": False,
            "dca_last_buy_date": "", "dca_last_sell_date": "", "rotation_pool_symbols": [],
            "trend_action_history": {}, "retired_trend_positions": {}, "last_balance_snapshot": {},
        },
        MARKET: {
            "btc_snapshot": {
                "ahr999": 0.7, "zscore": 1.2, "sell_trigger": 2.5, "regime_on": True,
                "btc_roc20": 0.05, "btc_roc60": 0.10, "btc_roc120": 0.15,
            },
            "trend_indicators": {
                "ETHUSDT": of_one_symbol(2500.0, 4.5, 0.04),
                "SOLUSDT": of_one_symbol(150.0, 2.6, 0.05),
                "XRPUSDT": of_one_symbol(1.2, 0.983333, 0.06),
                "LTCUSDT": of_one_symbol(100.0, -0.725, 0.04),
                "BCHUSDT": of_one_symbol(420.0, 0.466667, 0.06),
            },
        },
        PUBLISHED: {
            "as_of_date": "2026-03-10", "version": "2026-03-10-core_major", "mode": "core_major", "pool_size": 5,
            "symbols": list(NAMES), "symbol_map": {name: {"base_asset": name[:-4]} for name in NAMES},
            "source_project": "upstream",
        },
    }  # fmt: skip


def run(folder: Path, *edits: Edit, texts: dict[str, str] | None = None) -> CycleReport:
    content = snapshots()
    for edit in edits:
        edit(content)
    for name, part in content.items():
        text = (texts or {}).get(name) or json.dumps(part)
        (folder / f"{name}_snapshot.json").write_text(text, encoding="utf-8")
    return run_fixture(folder, NOW, "review")


def put(*keys: Any) -> Edit:
    """Put the last of the arguments where those before it say."""

    def edit(content: Json) -> None:
        part: Any = content
        for key in keys[:-2]:
            part = part[key]
        part[keys[-2]] = keys[-1]

    return edit


def drop(*keys: Any) -> Edit:
    def edit(content: Json) -> None:
        part: Any = content
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]

    return edit


def both(*edits: Edit) -> Edit:
    return lambda content: [edit(content) for edit in edits]


def put_all(whole: Json) -> Edit:
    return lambda content: content.update(whole)


def numbers_as_text(content: Json) -> None:
    for part in (content[MARKET]["btc_snapshot"], *content[MARKET]["trend_indicators"].values()):
        part.update({key: str(value) for key, value in part.items() if not isinstance(value, bool)})


def text_as_numbers(content: Json) -> None:
    account = content[ACCOUNT]
    for part in (account["avg_prices"], *account["spot_balances"].values()):
        part.update({key: float(value) for key, value in part.items()})
    for info in account["symbol_info"].values():
        info["filters"][0]["stepSize"] = float(info["filters"][0]["stepSize"])


def without_prefix(content: Json) -> None:
    btc = content[MARKET]["btc_snapshot"]
    for days in (20, 60, 120):
        btc[f"roc{days}"] = btc.pop(f"btc_roc{days}")


def done(report: CycleReport) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What was filled, and what was moved to or from savings."""
    moved = report.to_json()["redemption_subscription_intents"]
    return (
        [(fill["side"] + " " + fill["symbol"], fill["quantity"]) for fill in report.fills],
        [(one["action"], one["amount"]) for one in moved],
    )


GOLDEN = (
    [("buy ETH/USDT", "0.19"), ("buy SOL/USDT", "2.53"), ("buy BTC/USDT", "0.0004")],
    [("subscribe", "71.5")],
)


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: None,
        numbers_as_text,
        text_as_numbers,
        without_prefix,
        lambda content: [one.pop("locked") for one in content[ACCOUNT]["spot_balances"].values()],
        lambda content: [content[ACCOUNT]["spot_balances"].pop(name) for name in ("ETH", "BTC", "BCH")],
        put(ACCOUNT, "spot_balances", "ETH", None),
        put(ACCOUNT, "spot_balances", "SHIB", {"free": "5", "locked": "1"}),
        put(ACCOUNT, "earn_positions", {}),
        drop(ACCOUNT, "earn_positions"),
        put(ACCOUNT, "earn_positions", "USDT", None),
        put(ACCOUNT, "earn_positions", "USDT", {"rows": [], "total": 0}),
        put(ACCOUNT, "earn_positions", "USDT", [{"productId": "USDT001", "totalAmount": 0.0}]),
        drop(ACCOUNT, "earn_product_list"),  # the product is that of the position
        put(ACCOUNT, "earn_product_list", "USDT", [{"productId": 1, "asset": "USDT"}]),
        put(ACCOUNT, "avg_prices", "ETHUSDT", {"mins": 5, "price": "2500.00000000"}),
        put(ACCOUNT, "avg_prices", "SHIBUSDT", None),
        put(ACCOUNT, "symbol_info", "BNBUSDT", None),
        put(STATE, {}),
        put(STATE, "BTCUSDT", None),
        put(STATE, "BTCUSDT", {"holding_qty": "0", "avg_cost": "0"}),
        put(STATE, "last_reset_date", "2026-03-14"),
        both(put(STATE, "is_circuit_broken", True), put(STATE, "last_reset_date", "2026-03-14")),
        put(STATE, "dca_last_buy_date", "20260314"),
        put(STATE, "retired_trend_positions", "DOGEUSDT", {"is_holding": True, "entry_price": 0.1}),  # none is there
        both(put(MARKET, "btc_snapshot", "ma200", 45_000), put(MARKET, "btc_snapshot", "ma200_slope", 0.03)),
        both(put(MARKET, "btc_snapshot", "geom200", 60_000 / 0.7), drop(MARKET, "btc_snapshot", "ahr999")),
        put(MARKET, "trend_indicators", "BTCUSDT", None),
        put(PUBLISHED, "symbols", {name: {"base_asset": name[:-4]} for name in NAMES}),
        drop(PUBLISHED, "symbol_map"),
        put(PUBLISHED, "symbol_map", {"ETHUSDT": "ETH"}),
        put(PUBLISHED, "symbol_map", None),
        both(drop(PUBLISHED, "version"), drop(PUBLISHED, "source_project")),
        put(PUBLISHED, "pool_size", "5"),
    ],
)
def test_any_reasonable_form_of_the_snapshots_gives_the_documented_numbers(tmp_path: Path, edit: Edit) -> None:
    report = run(tmp_path, edit)
    assert report.status == "done", report.reason
    assert done(report) == GOLDEN
    allocation = report.decisions[0]["facts"]["allocation"]
    assert allocation["equity"] == 1030.0
    assert allocation["btc_ratio"] == pytest.approx(0.14 + 0.16 * math.log(1.103), abs=1e-12)
    assert allocation["trend_cash"] == pytest.approx(869.644039603279, abs=1e-9)
    assert allocation["btc_cash"] == pytest.approx(130.355960396721, abs=1e-9)
    scores = {one["symbol"]: one["relative_score"] for one in report.decisions[0]["facts"]["candidates"]}
    assert scores == {ETH: 4.5, SOL: 2.6, XRP: 0.983333, LTC: -0.725, BCH: 0.466667}
    assert list(scores) == list(POOL)
    assert report.equity["cash"] == "121.5"


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (drop(ACCOUNT, "avg_prices", "ETHUSDT"), "lack avg_prices of ETHUSDT"),
        (put(ACCOUNT, "avg_prices", "BCHUSDT", None), "lack avg_prices of BCHUSDT"),
        (drop(ACCOUNT, "avg_prices", "BNBUSDT"), "lack avg_prices of BNBUSDT"),
        (drop(MARKET, "trend_indicators", "LTCUSDT"), "lack trend_indicators of LTCUSDT"),
        (put(ACCOUNT, "avg_prices", "ETHUSDT", "0"), "avg_prices.ETHUSDT must be above zero"),
        (put(ACCOUNT, "spot_balances", "USDT", "free", "1e300"), "USDT.free must be a number from 0 to 1e18"),
        (drop(ACCOUNT, "spot_balances", "USDT", "free"), "USDT.free must be a number"),
        (put(ACCOUNT, "symbol_info", "ETHUSDT", {"filters": [5]}), "symbol_info.ETHUSDT.filters.0 must be a mapping"),
        (put(ACCOUNT, "symbol_info", "ETHUSDT", {"filters": {"LOT_SIZE": 1}}), "ETHUSDT.filters must be a list"),
        (put(ACCOUNT, "earn_positions", "USDT", 5), "earn_positions.USDT must be a mapping"),
        (put(ACCOUNT, "earn_product_list", "USDT", "rows", [{"productId": []}]), "productId must be a text"),
        (put(MARKET, "btc_snapshot", "regime_on", "yes"), "regime_on must be true or false"),
        (put(MARKET, "trend_indicators", "ETHUSDT", "vol20", math.inf), "ETH/USDT vol20 must be a number"),
        (put(MARKET, "trend_indicators", "ETHUSDT", "vol20", True), "ETH/USDT vol20 must be a number"),
        (put(STATE, "dca_last_buy_date", "yesterday"), "dca_last_buy_date must have a date"),
        (put(STATE, "trend_action_history", {"ETHUSDT": {"action": "buy", "date": 7}}), "must have a date"),
        (put(PUBLISHED, None), "must be a live pool, not null"),
    ],
)
def test_what_the_snapshots_lack_or_have_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        run(tmp_path, edit)
    assert main(["replay-fixture", "--fixtures-dir", str(tmp_path)]) == 77
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [("[" * 100_000, "nested too deeply"), ('{"version": "a", "version": "b"}', "'version' is given twice")],
)
def test_json_that_readers_would_not_agree_on_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        run(tmp_path, texts={PUBLISHED: text})


def places_in(content: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is something in a document, as the keys that lead there."""
    keys: list[Any] = list(content) if isinstance(content, dict) else []
    keys = list(range(len(content))) if isinstance(content, list) else keys
    return [place for key in keys for place in ((*above, key), *places_in(content[key], (*above, key)))]


def test_whatever_stands_anywhere_in_the_snapshots_is_a_cycle_or_one_line(tmp_path: Path) -> None:
    seed = 11
    chance = random.Random(seed)
    odd = [
        None, True, 0, -1, 1e15, math.nan, math.inf, "", "x", "0", "NaN", "ETHUSDT", [], {}, [1], [None], {"a": 1},
        {"rows": None}, {"rows": [None]}, {"rows": [{}]}, "2026-03-15", 10**30, {"is_holding": True},
        {"is_holding": True, "entry_price": "1", "highest_price": []},
    ]  # fmt: skip
    ended: dict[str, int] = {}
    told: list[str] = []
    for number in range(300):
        content = snapshots()
        content[ACCOUNT]["spot_balances"]["ETH"] = {"free": "0.1", "locked": "0"}
        content[STATE]["ETHUSDT"] = {"is_holding": True, "entry_price": 2400.0, "highest_price": 2600.0}
        for _ in range(chance.choice([1, 1, 2])):
            put(*chance.choice(places_in(content)), copy.deepcopy(chance.choice(odd)))(content)
        try:
            report = run(tmp_path, put_all(content))
        except TradingRuntimeError as error:
            told.append(str(error))
            continue
        assert report.status in ("done", "refused"), f"seed {seed}, case {number}: {report.reason}"
        ended[report.status] = ended.get(report.status, 0) + 1
    assert min(len(told), *ended.values()) > 5, ended
    assert [text for text in told if len(text.splitlines()) != 1] == [], f"seed {seed}"


def test_an_indicator_that_is_nan_or_null_is_missing_and_its_symbol_is_not_bought(tmp_path: Path) -> None:
    for value in (None, math.nan):
        report = run(tmp_path, put(MARKET, "trend_indicators", "ETHUSDT", "vol20", value))
        assert done(report)[0][0][0] == "buy SOL/USDT"
        judged = report.decisions[0]["facts"]["candidates"][0]
        assert (judged["symbol"], judged["reasons"]) == (ETH, ["missing_fields:vol20"])
    report = run(tmp_path, put(MARKET, "trend_indicators", "ETHUSDT", None))
    assert report.decisions[0]["facts"]["candidates"][0]["reasons"] == ["missing_indicators"]


@pytest.mark.parametrize("price", ["60000", "59000", "67000.01", "123456.78"])
@pytest.mark.parametrize(("ahr999", "orders"), [(0.4499, 5), (0.45, 2), (0.7999, 2), (0.8, 1), (1.1999, 1), (1.2, 0)])
def test_a_valuation_that_is_exactly_a_limit_is_not_below_it(
    tmp_path: Path, price: str, ahr999: float, orders: int
) -> None:
    report = run(
        tmp_path,
        put(MARKET, "btc_snapshot", "ahr999", ahr999),
        put(ACCOUNT, "avg_prices", "BTCUSDT", price),
        put(ACCOUNT, "symbol_info", "BTCUSDT", "filters", 0, "stepSize", "0.000001"),
    )
    intents = report.decisions[0]["facts"]["intents"]
    assert intents.get("BTC/USDT dca_buy", {}).get("budget", 0.0) == 15.0 * orders


def test_scores_are_told_with_six_decimals_where_nothing_is_selected(tmp_path: Path) -> None:
    """``{:g}`` has six digits, not six decimals."""
    behind = of_one_symbol(2500.0, -3.1234567, 0.04)
    report = run(
        tmp_path,
        lambda content: content[MARKET]["trend_indicators"].update(dict.fromkeys(NAMES, behind)),
    )
    (refusal,) = [one for one in report.decisions[0]["refusals"] if one["gate"] == "trend_no_selected_candidate"]
    assert "relative -3.123457, absolute -0.039938" in refusal["detail"]


@pytest.mark.parametrize("regime", [True, False])
def test_the_regime_of_the_snapshot_counts_over_numbers_that_say_otherwise(tmp_path: Path, regime: bool) -> None:
    average = 70_000.0 if regime else 50_000.0
    report = run(
        tmp_path,
        put(MARKET, "btc_snapshot", "regime_on", regime),
        put(MARKET, "btc_snapshot", "ma200", average),
        put(MARKET, "btc_snapshot", "ma200_slope", 0.02),
    )
    facts = report.decisions[0]["facts"]["btc"]
    assert facts["regime_on"] is regime
    assert bool([name for name, _ in done(report)[0] if name != "buy BTC/USDT"]) is regime
    assert "ma200" not in facts or facts["ma200"] == average


def test_no_average_and_no_slope_are_told_that_nobody_gave(tmp_path: Path) -> None:
    assert not {"ma200", "ma200_slope"} & set(run(tmp_path).decisions[0]["facts"]["btc"])
    given = {"ma200": 45_000.0, "ma200_slope": 0.03}
    report = run(tmp_path, lambda content: content[MARKET]["btc_snapshot"].update(given))
    assert given.items() <= report.decisions[0]["facts"]["btc"].items()


def test_a_breaker_that_the_earlier_engine_latched_today_stays_latched(tmp_path: Path) -> None:
    latched = both(put(STATE, "is_circuit_broken", True), put(STATE, "last_reset_date", "2026-03-15"))
    report = run(tmp_path, latched)
    assert done(report)[0] == []
    gates = {refusal["gate"] for refusal in report.decisions[0]["refusals"]}
    assert {"trend_buy_latched_breaker", "btc_dca_buy_latched_breaker"} <= gates


@pytest.mark.parametrize("written", ["20260315", "2026-03-15", "2026-03-15T04:00:00Z", 20260315])
def test_a_date_of_the_earlier_engine_counts_however_it_is_written(tmp_path: Path, written: Any) -> None:
    history = {"ETHUSDT": {"action": "buy", "date": written}}
    report = run(tmp_path, put(STATE, "dca_last_buy_date", written), put(STATE, "trend_action_history", history))
    assert [name for name, _ in done(report)[0]] == ["buy SOL/USDT"]
    gates = {refusal["gate"] for refusal in report.decisions[0]["refusals"]}
    assert {"btc_dca_buy_duplicate_cooldown", "trend_buy_duplicate_cooldown"} <= gates


def days_of_btc() -> Bars:
    with DAYS_OF_BTC.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    time = np.array([int(row["unix_timestamp"]) * 1000 for row in rows], dtype=np.int64)
    columns = [np.array([float(row[name]) for row in rows]) for name in ("open", "high", "low", "close", "volume")]
    return Bars(BTC, "1d", time, *columns)


@pytest.mark.skipif(not DAYS_OF_BTC.is_file(), reason="the folder with real market data is not here")
def test_on_fourteen_real_years_every_column_is_what_a_loop_computes() -> None:
    bars = days_of_btc()
    close, high, low = bars.close.tolist(), bars.high.tolist(), bars.low.tolist()

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    def deviation(values: list[float]) -> float:
        return math.sqrt(math.fsum((value - mean(values)) ** 2 for value in values) / (len(values) - 1))

    def last(day: int, length: int) -> list[float]:
        return close[day - length + 1 : day + 1]

    def zscore(day: int) -> float:
        return (close[day] - mean(last(day, 200))) / deviation(last(day, 200))

    def trigger(day: int) -> float:
        ordered = sorted(known[other] for other in range(day - 364, day + 1))
        whole, part = divmod((len(ordered) - 1) * 0.95, 1.0)
        below = ordered[int(whole)]
        return max(2.5, below + (ordered[int(whole) + 1] - below) * part)

    def true_range(day: int) -> float:
        return max(high[day] - low[day], abs(high[day] - close[day - 1]), abs(low[day] - close[day - 1]))

    def change(length: int) -> Callable[[int], float]:
        return lambda day: close[day] / close[day - length] - 1.0

    strategy = CryptoLivePoolRotation()
    days = range(700, len(close), 41)
    known = {day: zscore(day) for day in range(days.start - 364, len(close))}
    documented: dict[str, Callable[[int], float]] = {
        "sma20": lambda day: mean(last(day, 20)),
        "sma60": lambda day: mean(last(day, 60)),
        "sma200": lambda day: mean(last(day, 200)),
        **{f"{prefix}roc{length}": change(length) for length in (20, 60, 120) for prefix in ("", "btc_")},
        "vol20": lambda day: deviation([change(1)(other) for other in range(day - 19, day + 1)]),
        "atr14": lambda day: mean([true_range(other) for other in range(day - 13, day + 1)]),
        "btc_ma200": lambda day: mean(last(day, 200)),
        "btc_ma200_slope": lambda day: mean(last(day, 200)) / mean(last(day - 20, 200)) - 1.0,
        "btc_zscore": lambda day: known[day],
        "btc_sell_trigger": trigger,
        "btc_geom200": lambda day: math.exp(mean([math.log(value) for value in last(day, 200)])),
    }
    assert set(documented) == set(strategy.columns)
    columns = Columns({BTC: bars}, strategy.params.to_json())
    for name, expression in strategy.columns.items():
        found = columns.column(expression, BTC)
        for day in days:
            assert found[day] == pytest.approx(documented[name](day), rel=1e-9, abs=1e-12), (name, day)


def test_the_day_that_is_still_forming_changes_no_column() -> None:
    """Hours 1 to 23 of the last day, made wild: at each of them the columns are those of the days before."""
    calm = random_bars(11, 24 * 600 + 23, price=5_000.0, zero_volume=0.0)
    first = 24 * 600
    wild = {name: getattr(calm, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for values in wild.values():
        values[first:] *= 3.0
    changed = Bars(calm.symbol, calm.timeframe, calm.open_time, *wild.values())
    strategy = CryptoLivePoolRotation()
    values = strategy.params.to_json()
    one, other = Columns({BTC: calm}, values), Columns({BTC: changed}, values)
    for name, expression in strategy.columns.items():
        left, right = one.column(expression, BTC)[first - 1 :], other.column(expression, BTC)[first - 1 :]
        assert np.isfinite(left[0]), name
        assert left.tolist() == right.tolist() == [left[0]] * 24, name


class SecondLedger:
    """The trend sleeve's profit, kept in plain floats beside the account: what was paid, received and is there."""

    def __init__(self) -> None:
        self.money = dict.fromkeys(POOL, 0.0)
        self.coins = dict.fromkeys(POOL, 0.0)

    def fill(self, symbol: str, side: int, quantity: float, price: float, fee_rate: float) -> None:
        self.coins[symbol] += side * quantity
        self.money[symbol] -= side * quantity * price + quantity * price * fee_rate

    def profit(self, prices: dict[str, float]) -> float:
        return sum(self.money[symbol] + self.coins[symbol] * prices[symbol] for symbol in POOL)

    def value(self, prices: dict[str, float]) -> float:
        return sum(self.coins[symbol] * prices[symbol] for symbol in POOL)


@pytest.mark.parametrize("seed", [3, 4])
def test_over_months_the_breaker_says_what_a_second_ledger_says(seed: int) -> None:
    """Prices at random, fees, deposits, withdrawals, interest, pools that change, orders that come to nothing."""
    chance = random.Random(seed)
    fee_rate = 0.001
    own = {**STRONG, "sma20": 0.6, "sma60": 0.5, "sma200": 0.4, "atr14": 0.08}
    world = World(5_000.0, own=dict.fromkeys(POOL, own), fee_rate=fee_rate)
    world.slot = NOON // DAY_MS * DAY_MS
    ledger = SecondLedger()
    day, start_profit, base, latched = "", 0.0, 0.0, False
    newest: tuple[float, float] | None = None
    trips, bought, sizes = 0, set(), set()
    pool, version = list(POOL), 0
    for step in range(420):
        if step % 60 == 59:  # upstream publishes four of them, in another order
            pool, version = chance.sample(POOL, 4), version + 1
        artifact = publication(pool, version=f"{version}")
        today = iso_time(world.slot)[:10]
        cash = world.state.cash / 1e8
        equity = cash + ledger.value(world.prices) + world.quantity(BTC) * world.prices[BTC]
        ratio = min(0.65, 0.14 + 0.16 * math.log(1.0 + equity / 10_000.0))
        sleeve = ledger.value(world.prices)
        now = sleeve + max(0.0, min(cash, equity * (1.0 - ratio) - sleeve)), ledger.profit(world.prices)
        if today != day:  # measured from the last decision of the day before
            (base, start_profit), day, latched = newest or now, today, False
        newest = now
        profit = ledger.profit(world.prices) - start_profit
        before = set(world.state.strategy_state.get("highest", {}))
        decision = world.decide(artifact)
        told = decision.facts["breaker"]
        where = f"seed {seed}, step {step}"
        assert (told["day"], told["base"]) == (today, pytest.approx(base, abs=1e-5)), where
        assert told["profit"] == pytest.approx(profit, abs=1e-5), where
        tripped = not latched and profit <= -0.05 * base
        assert told["tripped"] is tripped, where
        latched = latched or tripped
        assert told["latched"] is latched, where
        trips += tripped
        assert before >= {order.symbol for order in decision.orders if order.side < 0 and order.symbol != BTC}, where
        world.keep(decision)
        for order in decision.orders:
            if order.side > 0:
                assert not latched, where
                assert (today, order.symbol) not in bought, where
                assert order.symbol in (*pool, BTC), where
            if chance.random() < 0.15:
                continue  # refused by the exchange
            if order.side > 0:
                bought.add((today, order.symbol))
            if order.symbol != BTC:
                quantity = world.instruments[order.symbol].quantity_float(order.quantity)
                ledger.fill(order.symbol, order.side, quantity, world.prices[order.symbol], fee_rate)
            world.fill(order)
        if chance.random() < 0.2:
            world.move_cash(chance.choice([250.0, 0.03, 0.003, -min(200.0, world.state.cash / 3e8)]))
        sizes.add(len(canonical_json(world.state.strategy_state)))
        world.slot += 2 * HOUR_MS
        world.restart()
        together = chance.gauss(0.0, 0.015)
        world.prices[BTC] *= math.exp(chance.gauss(0.0005, 0.002))
        for symbol in POOL:
            world.prices[symbol] = max(
                world.prices[symbol] * math.exp(together + chance.gauss(0.001, 0.01)), 0.7 * PRICES[symbol]
            )
    assert trips >= 2, f"seed {seed}: the prices must trip it for this to mean anything"
    assert max(sizes) < 2_000


def junk(chance: random.Random) -> Any:
    nested: Any = []
    for _ in range(chance.choice([1, 60, 900])):
        nested = [nested] if chance.random() < 0.5 else {"a": nested}
    return chance.choice(
        [
            None, True, False, 0, -1, 5, 5.0, 5.5, 1e308, math.nan, math.inf, -math.inf, 10**40, -(10**5000), "", " ",
            "\x00", "ETHUSDT", "ethusdt", " ETHUSDT ", "ETH/USDT", "ETHUSD", "USDT", "ＥＴＨＵＳＤＴ",
            "İUSDT", "é" * 300, "\ud800", "2026-06-01", "2026-02-30",
            "0000-00-00", "9999-12-31", "2026-06-01T00:00:00Z", "2026-6-1",
            "２０２６-06-01", "2026-06-01\n", "core_major", "CORE_MAJOR", [], {}, [[]], {"base_asset": "ETH"},
            {"base_asset": 5}, ["ETHUSDT"] * 5, ["ETHUSDT", 5, None, {}, []], {"ETHUSDT": None}, {5: 6}, {None: 1},
            b"bytes", (1, 2), {1, 2}, nested,
        ]
    )  # fmt: skip


def published() -> Json:
    if REAL_POOL.is_file():
        return dict(json.loads(REAL_POOL.read_text(encoding="utf-8")))
    return {
        "version": "2026-06-01-core_major", "as_of_date": "2026-06-01", "mode": "core_major", "pool_size": 5,
        "symbols": ["TRXUSDT", "DOGEUSDT", "XRPUSDT", "LTCUSDT", "LINKUSDT"], "generated_at": "2026-06-01T09:08:51Z",
    }  # fmt: skip


def test_five_thousand_payloads_get_a_verdict_with_reasons_and_never_an_exception() -> None:
    seed = 20_260_601
    chance = random.Random(seed)
    now = parse_time("2026-06-10T00:00:00Z")
    good = 0
    for number in range(5_000):
        content: Any = copy.deepcopy(published()) if chance.random() < 0.95 else junk(chance)
        for _ in range(chance.randint(1, 4) if isinstance(content, dict) else 0):
            kind = chance.random()
            if kind < 0.5:
                content[chance.choice([*content, "symbol_map", "source_project", 5, None])] = junk(chance)
            elif kind < 0.7 and content:
                content.pop(chance.choice(list(content)))
            elif isinstance(content.get("symbols"), list):
                content["symbols"].insert(chance.randint(0, 5), junk(chance))
        where = f"seed {seed}, case {number}"
        rules = chance.choice([PayloadRules(), PayloadRules(expected_size=None), PayloadRules(is_dated=False)])
        verdict = validate_payload(content, now_ms=now, rules=rules, enforce_freshness=chance.random() < 0.5)
        assert verdict.ok is (not verdict.errors), where
        for text in (*verdict.errors, *verdict.warnings):
            assert text, where
            assert text.isprintable(), where
            assert len(text.encode()) < 600, where
        if verdict.ok:
            assert verdict.payload is not None, where
            again = validate_payload(verdict.payload.to_json(), now_ms=now, rules=rules, enforce_freshness=False)
            assert (again.payload, again.warnings) == (verdict.payload, ()), where
            good += 1
        strict_findings(content)
        with pytest.raises(ManifestError, match=r"\A.+\Z"):
            read_manifest(content)
        kept = {"payload": content, "sha256": "0" * 64, "source_label": junk(chance), "loaded_at": junk(chance)}
        assert Ladder(PayloadRules()).resolve(now, kept).source_kind == "static", where
    assert 500 < good < 4_500, "the cases must be good and bad"


def test_damaged_bytes_of_a_payload_are_read_or_refused_in_one_line() -> None:
    seed = 20_260_602
    chance = random.Random(seed)
    text = json.dumps(published()).encode()
    refused: list[str] = []
    for _ in range(2_000):
        damaged = bytearray(text)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(damaged))
            what = chance.choice([b'"', b"{", b"NaN", b"1e999", b"\xff", b",", b'"mode":1,', b"9" * 5_000, b"x"])
            damaged[place : place + chance.randint(0, 3)] = what
        try:
            content: Any = parse_json(bytes(damaged), "pool.json")
        except DataError as error:
            refused.append(str(error))
            continue
        validate_payload(content, now_ms=NOW, rules=PayloadRules())
    assert 0 < len(refused) < 2_000
    assert not [text for text in refused if not text.startswith("pool.json: ") or len(text.splitlines()) > 1], seed


@pytest.mark.skipif(not REAL_POOL.is_file(), reason="the folder with a published pool is not here")
def test_the_published_file_has_exactly_the_warning_that_the_rules_say() -> None:
    now = parse_time("2026-06-10T00:00:00Z")
    verdict = validate_payload(published(), now_ms=now, rules=PayloadRules())
    assert (verdict.ok, verdict.errors, verdict.age_days) == (True, (), 9)
    assert verdict.warnings == ("source_project is missing: 'unknown' is assumed",)
    later = now + 37 * DAY_MS  # 46 days after its date
    assert not validate_payload(published(), now_ms=later, rules=PayloadRules()).is_fresh


def test_a_pool_that_names_the_fuel_needs_no_candles_of_it(tmp_path: Path) -> None:
    """As in a live cycle: it is listed as excluded, the others are traded."""
    names = ["BNBUSDT", "ETHUSDT"]
    content = {**published(), "as_of_date": "2024-01-01", "version": "2024-01-01-core_major", "symbols": names}
    (tmp_path / "pools").mkdir()
    (tmp_path / "pools/one.json").write_text(
        json.dumps({**content, "pool_size": 2, "generated_at": None}), encoding="utf-8"
    )
    wanted = {"folder": "pools", "expected_size": 2}
    settings = convert(
        {"strategy": {"class": "crypto_live_pool_rotation"}, "data": [{"path": "none.csv"}], "artifact": wanted},
        Settings,
    )
    bars = {
        symbol: random_bars(1, 200, symbol=symbol, start_ms=parse_time("2024-01-01T00:00:00Z")) for symbol in (BTC, ETH)
    }
    assert settings.artifact is not None
    reserved = reserved_symbols(load_strategy(settings, tmp_path))
    (published_once,), _ = load_publications(settings.artifact, tmp_path, bars, reserved)
    assert published_once.artifact["symbols"] == [ETH]
    assert published_once.artifact["official_symbols"] == names
    assert published_once.artifact["excluded"] == {"BNBUSDT": "reserved: fees are paid with it"}
    with pytest.raises(ConfigurationError, match="without candles: ETH/USDT"):
        load_publications(settings.artifact, tmp_path, {BTC: bars[BTC]}, reserved)


def commands_of(page: Path) -> list[str]:
    """The commands that a page shows in blocks, one a line."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
    whole = [line for line in lines if line.startswith("trading-runtime ")]
    return [line for line in whole if not re.search(r"[…|<>\[]", line)]


PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_pages_is_one(page: Path) -> None:
    for command in commands_of(page):
        words = shlex.split(command, comments=True)[1:]
        try:
            parse(make_parser(words), words)
        except (SystemExit, TradingRuntimeError) as error:
            pytest.fail(f"{page.name}: {command}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_verb_that_is_named_in_a_sentence_is_one(page: Path) -> None:
    """``trading-runtime strategies NAME`` was once in a page; the word after a group of verbs must be one of them."""
    for command in re.findall(r"`(trading-runtime (?!\.\.\.)[^`…]+)`", page.read_text(encoding="utf-8")):
        words = shlex.split(command)[1:]
        with pytest.raises(SystemExit) as ended:
            parse(make_parser([*words, "--help"]), [*words, "--help"])
        assert ended.value.code == 0, f"{page.name}: {command}"
