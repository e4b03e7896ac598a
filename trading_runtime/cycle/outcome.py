"""How a cycle ended, in the words of its report: its status, errors by kind, what is open, decisions and control as
plain data.
"""

from __future__ import annotations

from typing import Any

from trading_runtime.core.decision import Decision
from trading_runtime.core.errors import ConfigurationError, DataError, TemporaryError, TradingRuntimeError
from trading_runtime.core.slot import decision_to_json
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.keeper import Keeper
from trading_runtime.cycle.report import CycleReport, fill_json, happened_json, order_json, rejected_orders
from trading_runtime.cycle.suspended import suspended_json
from trading_runtime.cycle.treasury import savings_in_doubt
from trading_runtime.stores.control import ControlView
from trading_runtime.telemetry.redact import redact


def close_with(report: CycleReport, error: TradingRuntimeError) -> None:
    """An error of a known kind: its own exit code, and for what is only not there right now, 75."""
    text = redact(" ".join(str(error).split()))
    if isinstance(error, (TemporaryError, DataError)):
        report.close("no_decision", text)
    elif isinstance(error, ConfigurationError):
        report.close("refused", text)
    else:
        report.close("failed", text, error.exit_code)
    report.errors.append({"kind": type(error).__name__, "detail": text})


def control_json(control: ControlView) -> dict[str, Any]:
    return {
        "risk": control.risk,
        "allows_risk": control.allows_risk,
        "flatten": control.flatten,
        "reason": control.reason,
        "overrides": [one.name for one in control.overrides],
        "unreadable": control.unreadable,
    }


def decision_summary(decision: Decision) -> dict[str, Any]:
    content = decision_to_json(decision)
    del content["strategy_state"]
    return {**content, "slot": iso_time(decision.slot)}


def outcome_of(context: Context, control: ControlView, status: str, reason: str) -> tuple[str, str]:
    """Return how a cycle ends that has worked its slots: what is left open counts before what was done."""
    account = context.account
    tripped = None if account.risk is None else account.risk.tripped
    short = [one for one in account.in_phase("open") if not one.is_booked or one.order.order_id in context.missing]
    doubtful = [one.order.order_id for one in (*account.in_phase("claimed"), *short)]
    doubtful += savings_in_doubt(context)
    if doubtful:
        return "unresolved", f"the fate of {', '.join(doubtful)} is not fully known yet: the next cycle asks"
    if account.in_phase("planned"):
        return "unfinished", f"{len(account.in_phase('planned'))} order(s) were not sent yet"
    if control.flatten:
        is_flat = not account.records and not any(context.tradable(symbol) for symbol in account.state.positions)
        closed = "everything is closed" if is_flat else "everything is being closed"
        frozen = [symbol for symbol in sorted(context.suspended) if account.state.quantity(symbol)]
        return "risk_halt", f"{closed}, but {', '.join(frozen)}, whose market does not trade" if frozen else closed
    if tripped is not None and not control.overrides_guard("breaker"):
        return "risk_halt", tripped.detail
    if not control.allows_risk:
        return "halted", control.reason
    return status, reason


def tell_what_is_open(report: CycleReport, keeper: Keeper, context: Context | None) -> None:
    """Fill in what the report says of the account, however the cycle ended."""
    account: Account | None = getattr(keeper, "account", None)
    if account is None:
        return
    report.sent = 0 if context is None else context.sent
    report.writes = [{"reason": reason, "executed": report.mode != "dry-run"} for reason in keeper.writes]
    doubtful = account.in_phase("claimed") or any(not one.is_booked for one in account.in_phase("open"))
    moving = any(one.phase != "planned" for one in account.earn.values())
    if report.status == "no_decision" and (report.sent or doubtful or moving):
        what = "an order" if report.sent or doubtful else "a movement of savings"
        report.close("unresolved", f"{report.reason}; the fate of {what} is unknown, the next cycle asks")
    if context is None:
        return
    report.notes = list(context.notes)
    report.errors += [{"kind": "warning", "detail": text} for text in context.booker.warnings]
    report.rejected = rejected_orders(account.happened)
    report.orders = [order_json(record, context.instruments) for record in account.records.values()]
    report.fills = [
        fill_json(event, context.instruments) for event in account.happened if event["event"] == "order_filled"
    ]
    report.happened = happened_json(account.happened, context.instruments)
    report.quarantine = dict(account.quarantine)
    report.suspended = suspended_json(account)
    report.risk = None if account.risk is None else account.risk.to_json()
