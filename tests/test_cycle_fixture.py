"""The fixed cycle: the documented numbers, the same bytes every time, nothing made up where a snapshot is silent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trading_runtime.cli.main import main
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.timeframes import parse_time
from trading_runtime.cycle.fixture.run import run_fixture
from trading_runtime.cycle.report import CycleReport

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests/data/cycle_replay"
NOW = parse_time("2026-03-15T00:00:00Z")


def run(folder: Path = FIXTURES) -> CycleReport:
    return run_fixture(folder, NOW, "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES, tmp_path / "fixtures"))


def change(folder: Path, name: str, edit: Any) -> None:
    path = folder / f"{name}_snapshot.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(edit(content)), encoding="utf-8")


def put(*keys: str, value: Any) -> Any:
    def edit(content: Any) -> Any:
        part = content
        for key in keys[:-1]:
            part = part[key]
        if value is None:
            del part[keys[-1]]
        else:
            part[keys[-1]] = value
        return content

    return edit


def test_the_documented_numbers_come_out_of_the_whole_cycle() -> None:
    report = run()
    (decision,) = report.decisions
    facts = decision["facts"]
    assert report.status == "done"
    assert facts["allocation"]["equity"] == 1030.0
    assert facts["allocation"]["btc_ratio"] == pytest.approx(0.15568539844, abs=1e-11)
    assert facts["allocation"]["base_order"] == 15.0
    assert facts["allocation"]["trend_cash"] == pytest.approx(869.644039603279, abs=1e-9)
    assert facts["allocation"]["btc_cash"] == pytest.approx(130.355960396721, abs=1e-9)
    assert {one["symbol"]: one["relative_score"] for one in facts["candidates"]} == {
        "ETH/USDT": 4.5, "SOL/USDT": 2.6, "XRP/USDT": 0.983333, "LTC/USDT": -0.725, "BCH/USDT": 0.466667,
    }  # fmt: skip
    eth, sol = facts["intents"]["ETH/USDT trend_buy"], facts["intents"]["SOL/USDT trend_buy"]
    assert (round(eth["weight"], 6), round(sol["weight"], 6)) == (0.555556, 0.444444)
    assert (eth["budget"], sol["budget"]) == pytest.approx((483.135577557, 386.508462046), abs=1e-9)
    assert facts["intents"]["BTC/USDT dca_buy"]["budget"] == 30.0
    assert [(fill["symbol"], fill["quantity"], fill["value"]) for fill in report.fills] == [
        ("ETH/USDT", "0.19", "475"), ("SOL/USDT", "2.53", "379.5"), ("BTC/USDT", "0.0004", "24"),
    ]  # fmt: skip
    assert report.equity["cash"] == "121.5"
    (moved,) = [note for note in report.notes if note["event"] == "savings_moved"]
    assert (moved["kind"], moved["amount"]) == ("subscribe", "71.5")


def test_official_and_execution_pool_are_told_apart_and_in_upstreams_order() -> None:
    report = run()
    assert report.publication is not None
    assert report.publication["official_symbols"] == ["ETHUSDT", "SOLUSDT", "XRPUSDT", "LTCUSDT", "BCHUSDT"]
    assert report.publication["symbols"] == ["ETH/USDT", "SOL/USDT", "XRP/USDT", "LTC/USDT", "BCH/USDT"]
    assert report.publication["source_kind"] == "given"


def test_two_runs_print_the_same_bytes_whatever_the_hash_seed() -> None:
    def printed(seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(ROOT / "run_cycle_replay.py"), "--run-id", "local-check", "--json"]
        return subprocess.run(command, env=environment, capture_output=True, check=True, cwd="/").stdout

    assert printed("1") == printed("2")


def test_the_command_writes_the_report_and_prints_what_was_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    words = ["replay-fixture", "--fixtures-dir", str(FIXTURES), "--run-id", "mine", "--output", str(path)]
    assert main(words) == 0
    assert "buy 0.19 ETH/USDT at 2500.0" in capsys.readouterr().out
    assert json.loads(path.read_text(encoding="utf-8"))["run_id"] == "mine"


def test_money_in_savings_counts_and_comes_back_for_a_buy(folder: Path) -> None:
    change(folder, "account_balances", put("spot_balances", "USDT", "free", value="100"))
    rows = {"rows": [{"productId": "USDT001", "totalAmount": "900"}]}
    change(folder, "account_balances", put("earn_positions", "USDT", value=rows))
    report = run(folder)
    assert [fill["quantity"] for fill in report.fills] == ["0.19", "2.53", "0.0004"]
    moves = [note["kind"] for note in report.notes if note["event"] == "savings_moved"]
    assert "redeem" in moves
    assert report.equity["equity"] == "1030"


def test_a_state_that_cannot_be_loaded_ends_without_any_intent(folder: Path) -> None:
    change(folder, "initial_state", lambda _: None)
    report = run(folder)
    assert report.status == "refused"
    assert report.exit_code == 77
    assert "is not known in this store" in report.reason
    assert not report.decisions


def test_a_pool_that_is_not_a_good_one_has_no_substitute(folder: Path) -> None:
    change(folder, "pool_input", put("symbols", value=["ETHUSDT"]))
    report = run(folder)
    assert report.status == "refused"
    assert "the given publication is not a good one" in report.reason
    assert not report.decisions


@pytest.mark.parametrize("name", ["sell_trigger", "zscore", "ahr999"])
def test_what_a_snapshot_lacks_refuses_and_never_acts(folder: Path, name: str) -> None:
    change(folder, "market_data", put("btc_snapshot", name, value=None))
    report = run(folder)
    (decision,) = report.decisions
    assert not any(order["symbol"] == "BTC/USDT" and order["side"] < 0 for order in decision["orders"])
    assert any(refusal["category"] == "btc_dca" for refusal in decision["refusals"])


def test_a_regime_that_is_off_buys_no_trend(folder: Path) -> None:
    change(folder, "market_data", put("btc_snapshot", "regime_on", value=False))
    (decision,) = run(folder).decisions
    assert [order["symbol"] for order in decision["orders"]] == ["BTC/USDT"]
    reasons = {reason for one in decision["facts"]["candidates"] for reason in one["reasons"]}
    assert "btc_regime_off" in reasons
    assert "trend_no_selected_candidate" in {refusal["gate"] for refusal in decision["refusals"]}


def test_a_price_that_is_held_and_missing_is_an_error(folder: Path) -> None:
    change(folder, "account_balances", put("avg_prices", "SOLUSDT", value=None))
    held = {"is_holding": True, "entry_price": 140.0, "highest_price": 160.0}
    change(folder, "initial_state", put("SOLUSDT", value=held))
    change(folder, "account_balances", put("spot_balances", "SOL", value={"free": "1", "locked": "0"}))
    with pytest.raises(ConfigurationError, match="lack avg_prices of SOLUSDT, which is held"):
        run(folder)


def test_a_position_of_the_earlier_engine_is_taken_over_with_its_high(folder: Path) -> None:
    held = {"is_holding": True, "entry_price": 2000.0, "highest_price": 3000.0}
    change(folder, "initial_state", put("ETHUSDT", value=held))
    change(folder, "account_balances", put("spot_balances", "ETH", value={"free": "0.1", "locked": "0"}))
    report = run(folder)
    # 2,500 is below the high of 3,000 less 2.5 times the range of 125: the trailing stop has been passed.
    (sale,) = [fill for fill in report.fills if fill["side"] == "sell"]
    assert (sale["symbol"], sale["quantity"]) == ("ETH/USDT", "0.1")


def test_dates_of_the_earlier_engine_keep_a_day_from_being_done_twice(folder: Path) -> None:
    change(folder, "initial_state", put("dca_last_buy_date", value="20260315"))
    (decision,) = run(folder).decisions
    assert "BTC/USDT" not in [order["symbol"] for order in decision["orders"]]
    assert "btc_dca_buy_duplicate_cooldown" in {refusal["gate"] for refusal in decision["refusals"]}


@pytest.mark.parametrize(
    ("name", "keys", "value", "says"),
    [
        ("account_balances", ("spot_balances", "USDT", "free"), "many", "spot_balances.USDT.free must be a number"),
        ("account_balances", ("avg_prices", "ETHUSDT"), "-1", "avg_prices.ETHUSDT must be a number"),
        ("account_balances", ("avg_prices",), [], "avg_prices must be a mapping"),
        ("market_data", ("btc_snapshot",), None, "btc_snapshot must be a mapping"),
        ("market_data", ("trend_indicators", "ETHUSDT", "roc20"), "x", "ETH/USDT roc20 must be a number"),
    ],
)
def test_a_wrong_snapshot_is_one_line_with_file_and_key(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, keys: tuple[str, ...], value: Any, says: str
) -> None:
    change(folder, name, put(*keys, value=value))
    assert main(["replay-fixture", "--fixtures-dir", str(folder)]) == 77
    error = capsys.readouterr().err
    assert says in error
    assert f"{name}_snapshot.json" in error
    assert len(error.strip().splitlines()) == 1


def test_a_missing_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pool_input_snapshot.json").unlink()
    assert main(["replay-fixture", "--fixtures-dir", str(folder)]) == 77
    assert "pool_input_snapshot.json: the file is missing" in capsys.readouterr().err
