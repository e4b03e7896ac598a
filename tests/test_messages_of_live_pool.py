"""What the live-pool strategy's own decisions give to report and messages: no hand-made facts."""

from __future__ import annotations

from typing import Any

import pytest
from live_pool_samples import BTC, ETH, NOON, POOL, SOL, STRONG, World, degraded

from trading_runtime.core.decision import Decision
from trading_runtime.core.hashing import canonical_json
from trading_runtime.cycle.messages import messages_of
from trading_runtime.cycle.outcome import decision_summary
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.told.wording import LANGUAGES

RISING = {ETH: STRONG, SOL: {**STRONG, "vol20": 0.1}}


def report_of(decision: Decision, world: World, mode: str = "live") -> CycleReport:
    """The report of a cycle in which every order filled at once."""
    report = CycleReport("run", mode, "main", "CryptoLivePoolRotation", {}, slot=decision.slot)
    report.decisions = [decision_summary(decision)]
    report.equity = {"currency": "USDT", "equity": "1", "cash": "1", "flows": "0", "positions": []}
    for order in decision.orders:
        quantity = world.instruments[order.symbol].quantity_text(order.quantity)
        side = "buy" if order.side > 0 else "sell"
        report.fills.append({"order_id": order.order_id, "symbol": order.symbol, "side": side, "quantity": quantity,
                             "price": world.prices[order.symbol]})  # fmt: skip
        report.happened.append({"event": "order_claimed", "order_id": order.order_id})
    return report


def told(report: CycleReport, kind: str, language: str = "en") -> list[str]:
    found = [message for message in messages_of(report, language, status_hours=1) if message.kind == kind]
    return found[0].text.splitlines()[1:] if found else []


def test_buys_are_told_with_what_they_were_decided_by() -> None:
    world = World(own=RISING, columns={"btc_geom200": 100_000.0})
    decision = world.decide()
    report = report_of(decision, world)
    content = report.to_json()

    assert [one["symbol"] for one in content["buy_sell_intents"]] == [ETH, SOL]
    for one in content["buy_sell_intents"]:
        assert (one["category"], one["action"], one["outcome"]) == ("trend", "buy", "filled")
        assert {"quantity", "budget", "weight", "relative_score", "order_id"} <= set(one)
    (dca,) = content["btc_dca_intents"]
    assert (dca["symbol"], dca["action"], dca["ahr999"]) == (BTC, "buy", 0.6)
    assert content["selected_symbols"] == {"active_trend_pool": list(POOL), "selected_candidates": [ETH, SOL]}
    assert content["total_equity_usdt"] == 10_000.0
    trades = told(report, "trade")
    assert [line.split(" (")[0] for line in trades] == [
        f"bought {fill['quantity']} {fill['symbol']} at {fill['price']:g}" for fill in report.fills
    ]
    assert all("budget" in line for line in trades)
    canonical_json(content)


def test_the_status_of_a_real_decision_knows_everything() -> None:
    world = World(own=RISING)
    for language in LANGUAGES:
        lines = told(report_of(world.decide(), world), "status", language)
        assert len(lines) == 8
        assert not any(word in line for line in lines for word in ("unknown", "未知"))
    assert "BTC target: 25.1 %" in told(report_of(world.decide(), world), "status")


def test_missing_inputs_of_btc_are_unknown_in_the_status_and_told_as_skipped() -> None:
    world = World(own=RISING, columns={"btc_sell_trigger": None, "btc_ma200": None})
    report = report_of(world.decide(), world)
    lines = told(report, "status")
    assert "regime gate: unknown" in lines
    assert any(line.endswith("trigger unknown") for line in lines)
    assert any("inputs of the BTC rules are missing" in line for line in told(report, "skipped"))


@pytest.mark.parametrize(
    ("artifact", "level", "title"),
    [
        (degraded(), "last_known_good", "degraded"),
        (degraded(source_kind="static"), "static", "INCIDENT: trading by the built-in universe"),
        (None, "unavailable", "INCIDENT: there is no pool"),
    ],
)
def test_a_pool_that_is_not_fresh_is_told_and_reported(artifact: Any, level: str, title: str) -> None:
    world = World(own=RISING)
    report = report_of(world.decide(artifact), world)
    assert report.to_json()["degraded_mode_level"] == level
    (message,) = [one for one in messages_of(report) if one.kind == "artifact"]
    assert title in message.text.splitlines()[0]


def test_the_breaker_is_told_once_and_reported_while_it_is_latched() -> None:
    world = World(own=RISING)
    first = world.step()
    world.prices |= {ETH: 2_000.0, SOL: 120.0}
    tripping = world.step()
    after = world.decide()

    assert [bool(told(report_of(one, world), "breaker")) for one in (first, tripping, after)] == [False, True, False]
    assert [report_of(one, world).to_json()["circuit_breaker_triggered"] for one in (first, tripping, after)] == [
        False,
        True,
        True,
    ]
    line = told(report_of(tripping, world), "breaker")[0]
    assert line.startswith("trend sleeve today: -")
    intents = report_of(tripping, world).to_json()["buy_sell_intents"]
    assert {one["reason"] for one in intents} == {"daily_circuit_breaker"}


def test_an_hour_without_news_is_quiet() -> None:
    """Nothing qualifies, BTC is not cheap: gates are in the report, and nobody is woken."""
    world = World()
    world.slot = NOON + 3_600_000
    report = report_of(world.decide(), world)
    assert set(report.to_json()["gating_summary"]) >= {"trend_no_selected_candidate", "btc_dca_buy_valuation_gate_off"}
    assert messages_of(report) == []
