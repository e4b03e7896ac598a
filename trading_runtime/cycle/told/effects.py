"""What a cycle did to the world, and what became of it: orders, cancels, savings, saved documents, messages.

Made from what the report tells. A side effect is executed only when it was really done: in a dry run none is, an order
that failed is not, and of one whose fate is unknown nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from trading_runtime.cycle.report import CycleReport


class Movement(NamedTuple):
    """A movement of savings of this cycle. ``outcome``: done, failed, unknown or not_sent."""

    action: str
    asset: str
    amount: str
    cause: str
    outcome: str
    detail: str


def movements_of(report: CycleReport) -> list[Movement]:
    """Return the movements of savings that this cycle planned or learned the end of, in order. One that failed and was
    made good by a later one is left out.
    """
    found: dict[Any, dict[str, str]] = {}
    for entry in report.happened:
        event = str(entry.get("event", ""))
        if not event.startswith("savings_") or "movement" not in entry:
            continue
        one = found.setdefault(entry["movement"], {"outcome": "not_sent", "detail": ""})
        one |= {name: str(entry[name]) for name in ("kind", "asset", "amount", "cause") if name in entry}
        if event == "savings_claimed":
            one["outcome"] = "unknown"
        elif event == "savings_moved":
            one["outcome"] = "done"
        elif event == "savings_not_moved":
            one["outcome"] = "failed"
            one["detail"] = one["detail"] or str(entry.get("reason", ""))
        elif event in ("savings_refused", "savings_fate_unknown"):
            one["detail"] = str(entry.get("detail", ""))
    movements = [
        Movement(
            one.get("kind", ""), one.get("asset", ""), one.get("amount", ""), one.get("cause", ""),
            one["outcome"], "" if one["outcome"] == "done" else one["detail"],
        )
        for one in found.values()
    ]  # fmt: skip
    done = {(one.action, one.asset, one.cause): place for place, one in enumerate(movements) if one.outcome == "done"}
    return [
        one
        for place, one in enumerate(movements)
        if one.outcome != "failed" or done.get((one.action, one.asset, one.cause), -1) < place
    ]


def order_outcomes(report: CycleReport) -> dict[str, str]:
    """Return what became of each order of this cycle, by id: filled, open, ended, waiting, not_sent, dropped, failed or
    unknown.
    """
    found: dict[str, str] = {}
    for entry in report.happened:
        order_id = str(entry.get("order_id", ""))
        if not order_id:
            continue
        if entry["event"] in ("order_planned", "order_not_placed"):
            found[order_id] = "not_sent"
        elif entry["event"] in ("order_placed", "order_claimed"):
            found[order_id] = "open"
        elif entry["event"] == "order_ended":
            found[order_id] = "ended"
    found |= {fill["order_id"]: "filled" for fill in report.fills}
    phases = {"claimed": "unknown", "planned": "not_sent", "waiting": "waiting", "watched": "waiting"}
    for order in report.orders:
        if order["phase"] in phases:
            found[order["order_id"]] = phases[order["phase"]]
    for note in report.notes:
        if note.get("event") in ("order_dropped", "order_rejected"):
            found[note["order_id"]] = "dropped" if note["event"] == "order_dropped" else "failed"
    return found | {one["order_id"]: "failed" for one in report.rejected}


def said_outcome(report: CycleReport, outcome: str) -> str:
    """In a dry run nothing was done, whatever it came to."""
    is_done = outcome in ("done", "filled", "open", "ended")
    return "suppressed" if is_done and report.mode == "dry-run" else outcome


def side_effects(report: CycleReport) -> dict[str, Any]:
    """Everything that acts on the world: orders, cancels, savings, writes and messages. A log line does not."""
    is_dry = report.mode == "dry-run"
    log = [*_order_effects(report), *_movement_effects(report)]
    for write in report.writes:
        outcome = "done" if write.get("executed") else "failed"
        log.append(_effect("state_write", str(write.get("reason", "")), {}, outcome, is_dry))
    for delivery in report.notifications:
        if delivery["channel"] != "log":
            payload: dict[str, Any] = {name: delivery.get(name) for name in ("kind", "text_sha256", "length")}
            outcome = "done" if delivery["delivered"] else "failed"
            log.append(_effect("notification", delivery["channel"], payload, outcome, is_dry))
    return {
        "executed_call_count": sum(one["executed"] is True for one in log),
        "suppressed_call_count": sum(one["outcome"] == "suppressed" for one in log),
        "failed_call_count": sum(one["outcome"] == "failed" for one in log),
        "unknown_call_count": sum(one["executed"] is None for one in log),
        "log": log,
    }


def _effect(effect_type: str, target: str, payload: dict[str, Any], outcome: str, is_dry: bool) -> dict[str, Any]:
    """``executed`` is null where nobody knows."""
    said = "suppressed" if is_dry else outcome
    executed = None if said == "unknown" else said == "done"
    return {"effect_type": effect_type, "target": target, "payload": payload, "executed": executed, "outcome": said}


def _order_effects(report: CycleReport) -> Iterable[dict[str, Any]]:
    """One for each order that was claimed to be sent, and for each that was cancelled."""
    is_dry = report.mode == "dry-run"
    outcomes = order_outcomes(report)
    known: dict[str, dict[str, Any]] = {order["order_id"]: order for order in report.orders}
    known |= {one["order_id"]: one for one in report.happened if one["event"] in ("order_planned", "order_placed")}
    told: set[tuple[str, str]] = set()
    unknown_cancels = {note.get("order_id") for note in report.notes if note.get("event") == "cancel_unknown"}
    for entry in report.happened:
        order_id, event = str(entry.get("order_id", "")), entry["event"]
        is_cancel = event == "order_ended" and entry.get("status") == "cancelled"
        is_cancel = is_cancel or event in ("cancel_unknown", "cancel_refused")
        effect_type = "cancel_order" if is_cancel else "order" if event == "order_claimed" else ""
        if not effect_type or (effect_type, order_id) in told:
            continue
        told.add((effect_type, order_id))
        order = known.get(order_id, {})
        names = ("leg", "kind", "side", "quantity", "price")
        payload = {"order_id": order_id, **{name: order[name] for name in names if order.get(name) is not None}}
        if is_cancel:
            is_unknown = order_id in unknown_cancels and event != "order_ended"
            outcome = "unknown" if is_unknown else "failed" if event == "cancel_refused" else "done"
        else:
            became = outcomes.get(order_id, "open")
            # What was claimed and is planned again was certainly refused, and is to be sent once more.
            outcome = {"unknown": "unknown", "failed": "failed", "dropped": "failed", "not_sent": "failed"}.get(
                became, "done"
            )
        yield _effect(effect_type, str(order.get("symbol", "")), payload, outcome, is_dry)


def _movement_effects(report: CycleReport) -> Iterable[dict[str, Any]]:
    for one in movements_of(report):
        if one.outcome != "not_sent":
            payload = {"amount": one.amount, "cause": one.cause}
            yield _effect(f"earn_{one.action}", one.asset, payload, one.outcome, report.mode == "dry-run")
