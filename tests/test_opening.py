"""Opening an account whose money is all the strategy's: what is there becomes the book, at what it is worth now."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from cycle_world import START_MS, UNIT, Alternate, World

from trading_runtime.cli.main import main
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.cycle.run import run_cycle


class Idle(Strategy):
    """Wants nothing."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        return None


ROOT = Path(__file__).resolve().parents[1]


def world_of(**free: str) -> World:
    return World(strategy=Idle, others=("ETH/USDT",), free=free)


def test_all_money_and_the_adopted_coins_are_the_book_and_the_rest_is_not() -> None:
    world = world_of(BTC="0.5", ETH="2")
    report = world.cycle(START_MS, has_all_funds=True, adopt=("BTC/USDT",))
    assert report.status == "done"
    state = world.kept().state
    price = float(world.venue.markets["BTC/USDT"].price)
    assert state.cash == 100_000 * UNIT
    assert state.quantity("BTC/USDT") == UNIT // 2
    assert state.positions["BTC/USDT"].cost == round(price * 0.5 * UNIT)
    assert state.quantity("ETH/USDT") == 0
    assert [one["kind"] for one in report.mismatches] == ["unattributed"]
    assert state.flows == 0


def test_coins_outside_the_settings_are_adopted_and_stay_known() -> None:
    world = world_of(ETH="2")
    job = replace(world.job(has_all_funds=True, adopt=("ETH/USDT",)), symbols=("BTC/USDT",))
    report = run_cycle(job, START_MS, "run")
    assert report.status == "done", report.reason
    assert world.kept().state.quantity("ETH/USDT") == 2 * UNIT


def test_an_adopted_coin_that_is_not_there_is_no_position() -> None:
    world = world_of()
    world.cycle(START_MS, has_all_funds=True, adopt=("BTC/USDT",))
    assert world.kept().state.positions == {}


def test_without_all_funds_the_account_begins_with_its_own_cash() -> None:
    world = world_of(BTC="0.5")
    world.cycle(START_MS)
    assert world.kept().state.cash == world.start_cash
    assert world.kept().state.positions == {}


@pytest.mark.parametrize("second", [START_MS, START_MS + 3_600_000])
def test_an_account_is_opened_once(second: int) -> None:
    world = world_of(BTC="0.5")
    options = {"has_all_funds": True, "adopt": ("BTC/USDT",)}
    world.cycle(START_MS, **options)
    world.account.free["BTC"] += Decimal(1)
    world.to_slot(second)
    world.cycle(second, **options)
    assert world.kept().state.quantity("BTC/USDT") == UNIT // 2, "what came later is not the strategy's"


def test_the_example_strategy_trades_what_it_adopted() -> None:
    world = World(strategy=Alternate, free={"BTC": "0.5"})
    world.cycle(START_MS, has_all_funds=True, adopt=("BTC/USDT",))
    assert world.kept().state.quantity("BTC/USDT") == 0, "it holds, so it closes"


def test_a_strategy_that_consumes_a_publication_does_not_start_without_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cycle.json"
    market = {"exchange": "simulated", "symbols": ["BTC/USDT"], "timeframe": "1h"}
    files = [{"path": str(ROOT / "tests/data/parts/BTC-USDT-1h.parquet")}]
    content = {"strategy": {"class": "crypto_live_pool_rotation"}, "market": market, "feed": {"files": files}}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert main(["cycle", "--config", str(path), "--mode", "paper"]) == 77
    assert "artifact is missing: CryptoLivePoolRotation consumes a publication" in capsys.readouterr().err
    assert main(["validate", "--config", str(path)]) == 77
    assert "the section artifact is missing" in capsys.readouterr().out
