"""The report's derived fields: the terms of the original engine's execution report, made from what a cycle has told.

Pure: nothing here is measured, and nothing that a strategy's facts may lack or get wrong ends in an error. What is
unknown is null or empty, never 0. What was done to the world is ``told/effects.py``'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from trading_runtime.cycle.told.effects import movements_of, order_outcomes, said_outcome, side_effects
from trading_runtime.cycle.told.facts import flag_of, mapping_of, number_of, part_of, parts_of, text_of, texts_of
from trading_runtime.cycle.told.status_message import trend_equity

if TYPE_CHECKING:
    from trading_runtime.cycle.report import CycleReport

# What ended the cycle, and what part of it that was.
_STAGES: Final = {
    "StoreDamaged": "state_load",
    "StoreUnavailable": "store",
    "ConfigurationError": "configuration",
    "StrategyError": "decide",
    "DataError": "bars",
    "BarsError": "bars",
    "ExchangeUnavailable": "exchange",
    "warning": "account",
}
_STAGE_OTHER: Final = "execute_cycle"
# Fields whose texts may come from an exchange, a store or a library.
_FREE_TEXTS: Final = (
    "reason", "errors", "defect", "notes", "rejected", "mismatches", "error_summary", "log_lines",
    "side_effect_summary", "publication", "decisions", "gating_events",
)  # fmt: skip
_SOURCE_NONE: Final = "unavailable"


def report_fields(report: CycleReport) -> dict[str, Any]:
    """Return the derived fields of a report, in the order of ``docs/reports.md``."""
    facts = _facts(report)
    pool = part_of(facts, "pool")
    trades, accumulation = _intents(report)
    return {
        **report.deployment,
        "dry_run": report.mode == "dry-run",
        "selected_symbols": {
            "active_trend_pool": texts_of(pool, "execution"),
            "selected_candidates": [
                text_of(one, "symbol") for one in parts_of(facts, "candidates") if flag_of(one, "selected")
            ],
        },
        "upstream_pool_symbols": texts_of(pool, "official"),
        "degraded_mode_level": _degraded_level(facts),
        "total_equity_usdt": _total_equity(report, facts),
        "trend_equity_usdt": trend_equity(facts),
        "circuit_breaker_triggered": _is_breaker_on(report),
        "buy_sell_intents": trades,
        "btc_dca_intents": accumulation,
        "redemption_subscription_intents": [
            {**one._asdict(), "outcome": said_outcome(report, one.outcome)} for one in movements_of(report)
        ],
        "state_write_intents": [dict(one) for one in report.writes],
        "side_effect_summary": side_effects(report),
        "gating_summary": report.refusals_by_gate(),
        "gating_events": _gating_events(report),
        "error_summary": {"errors": _errors(report)},
        "log_lines": log_lines(report),
    }


def deployment_of(environment: Mapping[str, str], platform: str, profile: str) -> dict[str, str]:
    """Return where a cycle ran, as its environment tells it; ``platform`` is the exchange, ``profile`` the configured
    strategy. What nobody has said is an empty text.
    """
    target = _runtime_target(environment.get("RUNTIME_TARGET_JSON", ""))
    names = {
        "deploy_target": "LOG_DEPLOY_TARGET",
        "service_name": "SERVICE_NAME",
        "deployment_selector": "DEPLOYMENT_SELECTOR",
        "account_selector": "ACCOUNT_SELECTOR",
        "account_scope": "ACCOUNT_SCOPE",
    }
    said = {name: environment.get(variable, "").strip() or text_of(target, name) for name, variable in names.items()}
    return {
        "platform": platform,
        "strategy_profile": profile,
        "strategy_domain": "crypto",
        **said,
        "account_group": text_of(target, "account_group"),
        "account_region": text_of(target, "account_region"),
    }


def log_lines(report: CycleReport) -> list[str]:
    """Return the cycle as lines for people, in the order things came about; without times, so that equal cycles have
    equal lines.
    """
    lines = [f"control: {report.control['reason']}"] if report.control.get("reason") else []
    lines += [f"account: {one['detail']}" for one in report.mismatches]
    for decision in report.decisions:
        lines.append(f"decided for {decision['slot']}: {_wanted(decision)}")
        lines += [f"reason: {reason}" for reason in decision["reasons"]]
        lines += [
            f"refused: {' '.join(filter(None, (one['symbol'], one['leg'], one['gate'])))}"
            + (f": {one['detail']}" if one["detail"] else "")
            for one in decision["refusals"]
        ]
    lines += [
        f"{'bought' if fill['side'] == 'buy' else 'sold'} {fill['quantity']} {fill['symbol']} at {fill['price']!r}"
        for fill in report.fills
    ]
    lines += [f"not done: {one['leg']}: {one['detail']}" for one in report.rejected]
    lines += [f"{note['event']}: {_rest(note)}" for note in report.notes]
    lines += [f"{entry['event']}: {_rest(entry)}" for entry in report.happened if entry["event"] == "cash_moved"]
    return [*lines, f"{report.status}: {report.reason}" if report.reason else report.status]


def without_secrets(content: dict[str, Any]) -> dict[str, Any]:
    """Return a report whose free texts are without the secrets of this process's environment."""
    free = cleaned({name: value for name, value in content.items() if name in _FREE_TEXTS})
    return {name: free.get(name, value) for name, value in content.items()}


def cleaned(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain data whose texts are without the secrets of this process's environment, and whose fields that are
    called like a secret say nothing.
    """
    import os

    from trading_runtime.telemetry.redact import HIDDEN, Redactor, is_secret_name

    redactor = Redactor(os.environ)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return redactor(value)
        if isinstance(value, Mapping):
            return {
                redactor(str(name)): HIDDEN if is_secret_name(str(name)) and inner is not None else clean(inner)
                for name, inner in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [clean(inner) for inner in value]
        return value

    found: dict[str, Any] = clean(content)
    return found


def _facts(report: CycleReport) -> Mapping[str, Any]:
    """The facts of the newest decision, empty when there is none."""
    return part_of(report.decisions[-1], "facts") if report.decisions else {}


def _degraded_level(facts: Mapping[str, Any]) -> str | None:
    """none, or the step of the ladder that had to stand in; null for a strategy without a pool."""
    if "pool" not in facts:
        return None
    pool = part_of(facts, "pool")
    source = text_of(pool, "source_kind") or _SOURCE_NONE
    return source if flag_of(pool, "degraded") or source == _SOURCE_NONE else "none"


def _total_equity(report: CycleReport, facts: Mapping[str, Any]) -> float | None:
    """What the decision counted with, else what the book is worth where it counts in dollars' kind."""
    equity = number_of(part_of(facts, "allocation"), "equity")
    if equity is not None or text_of(report.equity, "currency") != "USDT":
        return equity
    return float(report.equity["equity"])


def _is_breaker_on(report: CycleReport) -> bool:
    """Whether a breaker, the strategy's or the account's, keeps new risk away."""
    of_strategy = [part_of(decision.get("facts"), "breaker") for decision in report.decisions]
    is_on = any(flag_of(one, "latched") or flag_of(one, "tripped") for one in of_strategy)
    return is_on or mapping_of(report.risk).get("tripped") is not None


def _intents(report: CycleReport) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the intents of all decisions: trend, breaker, fuel and other ones, and those of accumulating BTC."""
    outcomes = order_outcomes(report)
    trades: list[dict[str, Any]] = []
    accumulation: list[dict[str, Any]] = []
    for decision in report.decisions:
        told = part_of(decision.get("facts"), "intents")
        refused = {(one["symbol"], one["leg"]) for one in decision["refusals"]}
        orders = {(order["symbol"], order["leg"]): order for order in decision["orders"]}
        for intent in decision["intents"]:
            if intent.get("kind") == "cancel":
                continue
            key = intent["symbol"], intent["leg"]
            one = _intent(intent, part_of(told, f"{key[0]} {key[1]}"), orders.get(key))
            if key in orders:
                order_id = orders[key]["order_id"]
                one |= {"order_id": order_id, "outcome": said_outcome(report, outcomes.get(order_id, "not_sent"))}
            else:
                one["outcome"] = "refused" if key in refused else "not_needed"
            (accumulation if one["category"] == "btc_dca" else trades).append({"slot": decision["slot"], **one})
    return trades, accumulation


def _intent(intent: Mapping[str, Any], facts: Mapping[str, Any], order: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return one intent in the original's terms: only the fields that are known."""
    is_fuel = intent["leg"] == "fuel"
    side = intent.get("side") or ("" if order is None else "buy" if order["side"] > 0 else "sell")
    quantity = number_of(facts, "quantity")
    content: dict[str, Any] = {
        "category": text_of(facts, "category") or ("fuel" if is_fuel else "strategy"),
        "action": text_of(facts, "action") or side,
        "symbol": intent["symbol"],
        "leg": intent["leg"],
        "quantity": quantity if quantity is not None else number_of(intent, "quantity"),
        "quote_order_qty": number_of(intent, "notional"),
        "reason": text_of(facts, "reason") or intent.get("reason") or None,
        "sell_pct": number_of(facts, "sell_fraction"),
        **{
            name: number_of(facts, name)
            for name in ("budget", "weight", "relative_score", "price", "ahr999", "zscore")
        },
    }  # fmt: skip
    return {name: value for name, value in content.items() if value is not None}


def _gating_events(report: CycleReport) -> list[dict[str, Any]]:
    events = []
    for decision in report.decisions:
        for refusal in decision["refusals"]:
            told = {name: refusal[name] for name in ("symbol", "leg", "detail") if refusal[name]}
            events.append({"slot": decision["slot"], "gate": refusal["gate"], "category": refusal["category"], **told})
    return events


def _errors(report: CycleReport) -> list[dict[str, str]]:
    """Everything that went wrong, with the part of the cycle it went wrong in; an order that failed among it."""
    found = [{"stage": _STAGES.get(one["kind"], _STAGE_OTHER), "message": one["detail"]} for one in report.errors]
    if report.defect:
        found.append({"stage": _STAGE_OTHER, "message": report.reason})
    found += [{"stage": "account_sync", "message": one["detail"]} for one in report.mismatches if one["blocks"]]
    found += [{"stage": "order", "message": f"{one['order_id']}: {one['detail']}"} for one in report.rejected]
    for note in report.notes:
        if note.get("event") in ("order_rejected", "order_dropped"):
            detail = note.get("detail") or note.get("reason", "")
            found.append({"stage": "order", "message": f"{note['order_id']}: {detail}"})
        elif note.get("event") in ("treasury_stopped", "savings_given_up", "savings_closed"):
            found.append({"stage": "savings", "message": f"{note['event']}: {note.get('detail', '')}".rstrip(": ")})
    found += [
        {"stage": "order", "message": f"{one['order_id']}: its fate is unknown"}
        for one in report.orders
        if one["phase"] == "claimed"
    ]
    for movement in movements_of(report):
        if movement.outcome in ("failed", "unknown"):
            what = f"{movement.action} {movement.amount} {movement.asset}"
            found.append({"stage": "savings", "message": f"{what}: {movement.detail or movement.outcome}"})
    if report.mode != "dry-run":
        found += [
            {"stage": "state_write", "message": f"{one.get('reason', '')}: not written"}
            for one in report.writes
            if not one.get("executed")
        ]
        found += [
            {"stage": "notification_delivery", "message": f"{one['channel']}: {one['detail']}"}
            for one in report.notifications
            if not one["delivered"] and one["channel"] != "log"
        ]
    return found


def _wanted(decision: Mapping[str, Any]) -> str:
    wanted = [
        f"{order['kind']} {'buy' if order['side'] > 0 else 'sell'} {order['symbol']} ({order['leg']})"
        for order in decision["orders"]
    ]
    wanted += [f"cancel {one['order_id']}" for one in decision["cancels"]]
    return ", ".join(wanted) or "nothing"


def _rest(entry: Mapping[str, Any]) -> str:
    """What an entry says beside its event."""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in entry.items()
        if name != "event"
    )


def _runtime_target(text: str) -> Mapping[str, Any]:
    try:
        return mapping_of(json.loads(text)) if text.strip() else {}
    except (ValueError, RecursionError):
        return {}
