"""Real candles, where they are at hand: every strategy runs on them, and a known run gives the known figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trading_runtime.backtest.run import run_backtest
from trading_runtime.config.load import load_settings
from trading_runtime.strategies import EXAMPLES

MARKET_DATA = Path(__file__).parents[1].parent / "shared" / "market-data"
PERPETUAL = {"path": str(MARKET_DATA / "btc-perp-1m-2022-01.csv.gz"), "symbol": "BTC/USDT:USDT", "timeframe": "1m"}
DAILY = {"path": str(MARKET_DATA / "btc-usd-1d-2011-2025.csv"), "symbol": "BTC/USD", "timeframe": "1d"}

pytestmark = pytest.mark.skipif(not MARKET_DATA.is_dir(), reason="the folder with real market data is not here")


def settings_file(folder: Path, source: dict[str, str], strategy: dict[str, object]) -> Path:
    """Write a configuration with a start of a million, a fee of 0.1 % and no other cost."""
    path = folder / "config.json"
    fees = {"maker_fee_rate": 0.001, "taker_fee_rate": 0.001}
    path.write_text(
        json.dumps({"strategy": strategy, "data": [source], "account": {"cash": 1_000_000}, "instrument": fees})
    )
    return path


@pytest.mark.parametrize("engine", ["general", "compiled"])
def test_the_figure_that_other_engines_agree_on(tmp_path: Path, engine: str) -> None:
    """SMA cross 20/50 on a month of minutes: backtrader, basana and PyBroker end at 388,922.46 after 998 fills."""
    path = settings_file(tmp_path, PERPETUAL, {"class": "sma_cross", "fast": 20, "slow": 50})
    result = run_backtest(load_settings(path, [f"engine.path={engine}"])).result

    assert result["period"]["bars"] == 45_031
    assert result["metrics"]["fills"] == 998
    assert result["metrics"]["end_equity"] == pytest.approx(388_922.46, rel=1e-6)


@pytest.mark.parametrize("strategy", list(EXAMPLES))
@pytest.mark.parametrize("source", [PERPETUAL, DAILY], ids=["minutes", "days"])
def test_every_strategy_runs_on_real_candles(tmp_path: Path, strategy: str, source: dict[str, str]) -> None:
    """It trades, and what the trades earned is what equity gained (the run itself checks that to the unit)."""
    run = run_backtest(load_settings(settings_file(tmp_path, source, {"class": strategy})))

    assert run.result["metrics"]["fills"] >= 1
    assert run.result["data"][0]["quality"]["grade"] in ("A", "B")
