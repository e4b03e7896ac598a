"""The report's derived fields: what they say of intents, side effects, gates and errors, and that docs tell of each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cycle_world import Bracket, World
from hypothesis import given, settings
from hypothesis import strategies as st
from live_strategies import EntryExit
from told_samples import BTC_ORDER, ETH_ORDER, FACTS, Telling, decision_of, report_of, told_cycle
from venue.faults import Faults, error, lost_answer

from trading_runtime.core.hashing import canonical_json
from trading_runtime.cycle.context import Patience
from trading_runtime.cycle.report_fields import deployment_of, report_fields
from trading_runtime.cycle.told.effects import movements_of

DOCUMENT = Path(__file__).parents[1] / "docs/reports.md"
SECRET = "hush-hush-hush"


def effects(report: Any) -> list[tuple[str, str, bool | None, str]]:
    log = report.to_json()["side_effect_summary"]["log"]
    told = [(one["effect_type"], one["target"], one["executed"], one["outcome"]) for one in log]
    return [one for one in told if one[0] != "state_write"]


def test_the_fields_say_what_was_selected_wanted_and_done() -> None:
    content = report_of().to_json()

    assert content["selected_symbols"] == {
        "active_trend_pool": ["ETH/USDT", "SOL/USDT", "LTC/USDT"],
        "selected_candidates": ["ETH/USDT", "SOL/USDT"],
    }
    assert content["upstream_pool_symbols"] == ["ETHUSDT", "SOLUSDT", "LTCUSDT"]
    assert content["degraded_mode_level"] == "none"
    assert content["total_equity_usdt"] == 1030.0
    assert content["trend_equity_usdt"] == 869.644039603279
    assert content["circuit_breaker_triggered"] is False
    (trend,) = content["buy_sell_intents"]
    assert trend == {
        "slot": "2026-03-15T00:00:00Z",
        "category": "trend",
        "action": "buy",
        "symbol": "ETH/USDT",
        "leg": "trend_buy",
        "quantity": 0.19,
        "reason": "selected",
        "budget": 483.135577557,
        "weight": 0.555556,
        "relative_score": 4.5,
        "price": 2500.0,
        "order_id": ETH_ORDER,
        "outcome": "filled",
    }
    (dca,) = content["btc_dca_intents"]
    assert (dca["symbol"], dca["budget"], dca["ahr999"], dca["outcome"]) == ("BTC/USDT", 30.0, 0.7, "filled")
    assert content["gating_summary"] == {"trend_buy_below_min_budget": 1} == content["refusals_by_gate"]
    assert content["gating_events"] == [
        {
            "slot": "2026-03-15T00:00:00Z",
            "gate": "trend_buy_below_min_budget",
            "category": "trend",
            "symbol": "SOL/USDT",
            "leg": "trend_buy",
            "detail": "budget 9.1, not more than 15",
        }
    ]
    assert content["error_summary"] == {"errors": []}
    assert "bought 0.19 ETH/USDT at 2500.0" in content["log_lines"]
    assert effects(report_of()) == [("order", "ETH/USDT", True, "done"), ("order", "BTC/USDT", True, "done")]


def test_in_a_dry_run_every_side_effect_is_told_and_none_is_executed() -> None:
    report = report_of(
        mode="dry-run",
        writes=[{"reason": "slot_decided", "executed": False}],
        notifications=[
            {"kind": "trade", "channel": "log", "delivered": True, "detail": "", "text_sha256": "a", "length": 1},
            {"kind": "trade", "channel": "telegram:TG_CHAT_ID", "delivered": False, "detail": "", "text_sha256": "a",
             "length": 1},
        ],
    )  # fmt: skip
    report.happened += [
        {"event": "savings_planned", "movement": 9, "kind": "subscribe", "asset": "USDT", "amount": "71.5",
         "cause": "buffer"},
        {"event": "savings_claimed", "movement": 9},
        {"event": "savings_moved", "movement": 9, "operation_id": "1"},
    ]  # fmt: skip
    summary = report.to_json()["side_effect_summary"]

    assert (summary["executed_call_count"], summary["suppressed_call_count"]) == (0, 5)
    assert [one["effect_type"] for one in summary["log"]] == [
        "order", "order", "earn_subscribe", "state_write", "notification",
    ]  # fmt: skip
    assert {one["executed"] for one in summary["log"]} == {False}
    content = report.to_json()
    assert content["redemption_subscription_intents"] == [
        {"action": "subscribe", "asset": "USDT", "amount": "71.5", "cause": "buffer", "outcome": "suppressed",
         "detail": ""}
    ]  # fmt: skip
    assert {one["outcome"] for one in [*content["buy_sell_intents"], *content["btc_dca_intents"]]} == {"suppressed"}
    assert content["error_summary"]["errors"] == []


def test_an_order_that_failed_is_an_error_and_never_a_success() -> None:
    world = World(strategy=EntryExit)
    faults = Faults()
    faults.then("place", error(400, -2010))
    report = told_cycle(world, exchange=world.exchange(faults))

    content = report.to_json()

    assert effects(report) == [("order", "BTC/USDT", False, "failed")]
    assert [one["stage"] for one in content["error_summary"]["errors"]] == ["order"]
    assert report.rejected[0]["order_id"] in content["error_summary"]["errors"][0]["message"]
    assert [one["outcome"] for one in content["buy_sell_intents"]] == ["failed"]


def test_an_order_of_unknown_fate_is_neither_executed_nor_suppressed() -> None:
    world = World(strategy=EntryExit)
    faults = Faults()
    faults.then("place", lost_answer())
    faults.then("order", *[error(503)] * 50)
    report = told_cycle(world, exchange=world.exchange(faults), patience=Patience(confirm_seconds=1.0))

    content = report.to_json()

    assert effects(report) == [("order", "BTC/USDT", None, "unknown")]
    assert content["side_effect_summary"]["unknown_call_count"] == 1
    assert [one["outcome"] for one in content["buy_sell_intents"]] == ["unknown"]
    assert any("fate is unknown" in one["message"] for one in content["error_summary"]["errors"])


def test_a_cycle_at_the_venue_tells_its_orders_as_executed() -> None:
    report = told_cycle(World(strategy=Telling))
    content = report.to_json()

    assert report.status == "done"
    assert effects(report) == []  # hour 0 of that day is no fifth one
    assert content["gating_summary"]["btc_dca_buy_valuation_gate_off"] == 1
    writes = [one["reason"] for one in content["state_write_intents"]]
    assert writes[0] == "account_opened"
    filled = told_cycle(World(strategy=EntryExit))
    assert effects(filled) == [("order", "BTC/USDT", True, "done")]
    bracket = told_cycle(World(strategy=Bracket))
    assert [one[3] for one in effects(bracket)] == ["done", "done"]  # the entry and its stop; the rest is watched
    assert [one["outcome"] for one in bracket.to_json()["buy_sell_intents"]] == ["filled", "open", "waiting"]


def test_a_strategy_without_facts_has_a_report_all_the_same() -> None:
    report = report_of(decisions=[decision_of(facts={})])
    content = report.to_json()

    assert content["total_equity_usdt"] == 1029.5  # what the book is worth
    assert content["trend_equity_usdt"] is None
    assert content["degraded_mode_level"] is None
    assert content["btc_dca_intents"] == []
    assert [one["category"] for one in content["buy_sell_intents"]] == ["strategy", "strategy"]
    report.equity = {**report.equity, "currency": "EUR"}
    assert report.to_json()["total_equity_usdt"] is None


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "none"),
        ({"source_kind": "static", "degraded": True}, "static"),
        ({"source_kind": "last_known_good", "degraded": True}, "last_known_good"),
        ({"source_kind": "", "degraded": None}, "unavailable"),
    ],
)
def test_the_degraded_level_is_the_step_of_the_ladder(changes: dict[str, Any], level: str) -> None:
    facts = {**FACTS, "pool": {**FACTS["pool"], **changes}}
    assert report_of(decisions=[decision_of(facts=facts)]).to_json()["degraded_mode_level"] == level


def test_either_breaker_is_told() -> None:
    latched = {**FACTS, "breaker": {**FACTS["breaker"], "latched": True}}
    assert report_of(decisions=[decision_of(facts=latched)]).to_json()["circuit_breaker_triggered"] is True
    tripped = {"tripped": {"breaker": "drawdown", "slot": 0, "detail": "x", "resumed_at": None}}
    assert report_of(risk=tripped).to_json()["circuit_breaker_triggered"] is True


def test_a_movement_of_savings_that_was_made_good_is_no_error() -> None:
    report = report_of()
    again = {"kind": "redeem", "asset": "USDT", "amount": "10", "cause": "buffer"}
    report.happened = [
        {"event": "savings_planned", "movement": 1, **again},
        {"event": "savings_claimed", "movement": 1},
        {"event": "savings_refused", "movement": 1, "reason": "too_late", "detail": "late"},
        {"event": "savings_not_moved", "movement": 1, **again, "reason": "too_late"},
    ]
    assert [(one.outcome, one.detail) for one in movements_of(report)] == [("failed", "late")]
    assert report.to_json()["error_summary"]["errors"] == [{"stage": "savings", "message": "redeem 10 USDT: late"}]
    report.happened += [
        {"event": "savings_planned", "movement": 2, **again},
        {"event": "savings_claimed", "movement": 2},
        {"event": "savings_moved", "movement": 2, **again, "operation_id": "7"},
    ]
    assert [one.outcome for one in movements_of(report)] == ["done"]
    assert report.to_json()["error_summary"]["errors"] == []
    report.notes = [{"event": "treasury_stopped", "detail": "no answer"}, {"event": "savings_closed", "kind": "redeem"}]
    assert report.to_json()["error_summary"]["errors"] == [
        {"stage": "savings", "message": "treasury_stopped: no answer"},
        {"stage": "savings", "message": "savings_closed"},
    ]
    report.happened = [{"event": "savings_claimed", "movement": 3}]
    assert [one.outcome for one in movements_of(report)] == ["unknown"]


def test_a_message_or_a_write_that_failed_is_an_error_and_does_not_change_the_status() -> None:
    report = report_of(
        writes=[{"reason": "slot_decided", "executed": True}, {"reason": "cycle_complete", "executed": False}],
        notifications=[{"kind": "trade", "channel": "telegram:X", "delivered": False, "detail": "HTTP 500",
                        "text_sha256": "", "length": 3}],
    )  # fmt: skip
    content = report.to_json()
    assert [one["stage"] for one in content["error_summary"]["errors"]] == ["state_write", "notification_delivery"]
    assert (content["status"], content["exit_code"]) == ("done", 0)


def test_the_environment_says_where_a_cycle_ran() -> None:
    target = json.dumps({"platform_id": "binance", "account_group": "core", "service_name": "other"})
    environment = {
        "LOG_DEPLOY_TARGET": "vps",
        "SERVICE_NAME": "engine",
        "ACCOUNT_SCOPE": "a",
        "RUNTIME_TARGET_JSON": target,
    }
    report = report_of(deployment=deployment_of(environment, "binance", "crypto_live_pool_rotation"))
    content = report.to_json()

    assert (content["platform"], content["strategy_profile"]) == ("binance", "crypto_live_pool_rotation")
    assert (content["deploy_target"], content["service_name"], content["account_scope"]) == ("vps", "engine", "a")
    assert (content["account_group"], content["account_region"]) == ("core", "")
    assert deployment_of({"RUNTIME_TARGET_JSON": "{no json"}, "binance", "x")["service_name"] == ""


def test_no_secret_of_the_environment_is_in_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_API_SECRET", SECRET)
    report = report_of(
        errors=[{"kind": "ExchangeUnavailable", "detail": f"GET https://x/?signature={SECRET}"}],
        defect=f"Traceback: {SECRET}",
        rejected=[{"order_id": ETH_ORDER, "leg": "trend_buy", "reason": "x", "detail": f"key {SECRET}"}],
        notes=[{"event": "order_dropped", "order_id": BTC_ORDER, "detail": SECRET}],
    )
    report.close("failed", f"a defect: {SECRET}", 1)
    report.happened.append({"event": "cash_moved", "reason": SECRET, "amount": "1", "asset": "USDT"})

    text = canonical_json(report.to_json()).decode()

    assert SECRET not in text
    assert "***" in text
    assert SECRET not in report.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(sorted({name for part in FACTS.values() if isinstance(part, dict) for name in part}))


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(list(FACTS)), JSON | st.dictionaries(NAMES, JSON, max_size=4)))
def test_whatever_a_strategy_calls_its_facts_there_is_a_report(facts: dict[str, Any]) -> None:
    fields = report_fields(report_of(decisions=[decision_of(facts=facts)]))
    canonical_json(fields)  # no NaN, nothing that is no JSON


def test_equal_cycles_have_equal_reports() -> None:
    assert canonical_json(report_of().to_json()) == canonical_json(report_of().to_json())


def test_every_field_of_a_report_is_documented_and_nothing_else_is() -> None:
    """The tables of docs/reports.md have the report's fields, in their order."""
    tables = [table for table in DOCUMENT.read_text(encoding="utf-8").split("\n\n") if table.startswith("| field |")]
    documented = [name for table in tables for name in re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)]
    report = report_of(deployment=deployment_of({}, "binance", "x"))
    assert documented == list(report.to_json())
