"""The report of one cycle: one JSON document in the field's terms. Status and exit code are derived from it, once.

status          exit  what it means
done               0  decided; what was wanted was done or refused with its reason
already_done       0  the slot was decided and finished before
nothing_new        0  no bar has closed since the last slot
not_mine           0  another process has the lease, or took over
halted             0  a person halted or paused: reductions only
warming_up         0  fewer bars than the strategy declares
no_decision       75  bars or the exchange are not there; nothing was sent
unfinished        75  something planned was not sent; running the slot again sends it
unresolved        76  the fate of an order is unknown; the next cycle asks before it acts
refused           77  configuration, credentials or identity
risk_halt         78  a breaker has tripped, or everything is being closed
failed          1..   an error; its own exit code

The fields that are derived from these, for whoever reads reports of the original engine, are ``report_fields.py``'s;
``docs/reports.md`` explains all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trading_runtime.core.errors import (
    EXIT_CONFIGURATION,
    EXIT_DONE,
    EXIT_HALT,
    EXIT_TEMPORARY,
    EXIT_UNKNOWN,
)
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.money import quote_value
from trading_runtime.core.orders import parse_client_order_id
from trading_runtime.core.state import State
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.account import OrderRecord
from trading_runtime.telemetry.redact import redact

SCHEMA_VERSION = 1
EXIT_OF = {
    "done": EXIT_DONE,
    "already_done": EXIT_DONE,
    "nothing_new": EXIT_DONE,
    "not_mine": EXIT_DONE,
    "halted": EXIT_DONE,
    "warming_up": EXIT_DONE,
    "no_decision": EXIT_TEMPORARY,
    "unfinished": EXIT_TEMPORARY,
    "unresolved": EXIT_UNKNOWN,
    "refused": EXIT_CONFIGURATION,
    "risk_halt": EXIT_HALT,
}


@dataclass
class CycleReport:
    """What one cycle saw, decided, sent and learned. Amounts are exact decimal texts, times ISO texts.

    ``writes`` are the documents that were saved, each ``{"reason", "executed"}``. ``deployment`` says where this ran
    (``report_fields.deployment_of``). ``happened`` are the account's entries of this cycle in people's words
    (``happened_json``); the derived fields are made of them, and they themselves are the journal's.
    """

    run_id: str
    mode: str
    account: str
    strategy: str
    identity: dict[str, Any]
    slot: int | None = None
    session: str | None = None
    status: str = "done"
    exit_code: int = EXIT_DONE
    reason: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    publication: dict[str, Any] | None = None
    control: dict[str, Any] = field(default_factory=dict)
    missed_slots: list[int] = field(default_factory=list)
    skipped_slots: list[int] = field(default_factory=list)
    mismatches: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    sent: int = 0
    orders: list[dict[str, Any]] = field(default_factory=list)
    fills: list[dict[str, Any]] = field(default_factory=list)
    equity: dict[str, Any] = field(default_factory=dict)
    risk: dict[str, Any] | None = None
    quarantine: dict[str, str] = field(default_factory=dict)
    suspended: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    defect: str = ""
    notifications: list[dict[str, Any]] = field(default_factory=list)
    writes: list[dict[str, Any]] = field(default_factory=list)
    deployment: dict[str, str] = field(default_factory=dict)
    happened: list[dict[str, Any]] = field(default_factory=list)
    started: str = ""
    ended: str = ""

    def close(self, status: str, reason: str = "", exit_code: int | None = None) -> None:
        """Say how the cycle ended. A reason may hold what a library put into its error: secrets are taken out."""
        self.status, self.reason = status, redact(reason) if reason else ""
        self.exit_code = EXIT_OF[status] if exit_code is None else exit_code

    def refusals_by_gate(self) -> dict[str, int]:
        """How many intents each gate refused, in the order of the first."""
        counts: dict[str, int] = {}
        for decision in self.decisions:
            for refusal in decision["refusals"]:
                counts[refusal["gate"]] = counts.get(refusal["gate"], 0) + 1
        return counts

    def to_json(self) -> dict[str, Any]:
        """Return the whole report as plain JSON; texts that come from outside are without secrets."""
        from trading_runtime.cycle.report_fields import report_fields, without_secrets

        content = {name: value for name, value in vars(self).items() if name not in ("deployment", "happened")}
        for name in ("slot",):
            content[name] = None if content[name] is None else iso_time(content[name])
        for name in ("missed_slots", "skipped_slots"):
            content[name] = [iso_time(slot) for slot in content[name]]
        content["refusals_by_gate"] = self.refusals_by_gate()
        return without_secrets({"schema_version": SCHEMA_VERSION, **content, **report_fields(self)})


def fill_json(event: Mapping[str, Any], instruments: Mapping[str, Instrument]) -> dict[str, Any]:
    """Return a fill of the book in the words and units people use."""
    instrument = instruments[event["symbol"]]
    return {
        "order_id": event["order_id"],
        "symbol": event["symbol"],
        "side": "buy" if event["side"] > 0 else "sell",
        "quantity": instrument.quantity_text(event["quantity"]),
        "price": event["price"],
        "value": instrument.money_text(event["value"]),
        "fee": instrument.money_text(event["fee"]),
        "fees": event.get("fees", []),
        "time": iso_time(event["time_ms"]) if "time_ms" in event else None,
        "is_maker": event.get("is_maker", False),
    }


def happened_json(happened: Sequence[Mapping[str, Any]], instruments: Mapping[str, Instrument]) -> list[dict[str, Any]]:
    """Return the account's entries of a cycle in the words and units people use; fills are told by ``fill_json``."""
    found = []
    for entry in happened:
        content = {name: value for name, value in entry.items() if name != "number"}
        event = content["event"]
        if event in ("order_planned", "order_placed"):
            order = content.pop("order")
            instrument = instruments.get(order["symbol"])
            content |= {
                "order_id": order["order_id"],
                "symbol": order["symbol"],
                "leg": order["leg"],
                "kind": order["kind"],
                "side": "buy" if order["side"] > 0 else "sell",
                "quantity": None if instrument is None else instrument.quantity_text(order["quantity"]),
                "price": order.get("price"),
            }
        elif event == "order_filled":
            content = {"event": event, "order_id": content["order_id"]}
        elif event == "cash_moved" and instruments:
            first = next(iter(instruments.values()))
            content |= {"amount": first.money_text(content["amount"]), "asset": first.quote}
        elif event == "slot_decided":
            content = {"event": event, "slot": iso_time(content["slot"])}
        found.append(content)
    return found


def rejected_orders(happened: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the orders that an exchange refused for good, or ended by itself, and that nothing has taken the place of.

    ``happened`` are the account's entries of this cycle; what the runtime itself has dropped is told by its notes.
    """
    told = {entry["order_id"]: entry["detail"] for entry in happened if entry["event"] == "order_refused"}
    replaced = {entry.get("instead_of") for entry in happened if entry["event"] == "order_planned"}
    found = []
    for entry in happened:
        order_id = entry.get("order_id", "")
        event, status, reason = entry["event"], entry.get("status"), entry.get("reason")
        is_refused = (
            event == "order_not_placed" and status == "rejected" and order_id in told and reason != "not_placed"
        )
        is_ended = event == "order_ended" and status in ("rejected", "expired") and reason != "timeout"
        parts = parse_client_order_id(order_id)
        leg = order_id if parts is None else parts.leg
        if not (is_refused or is_ended) or order_id in replaced:
            continue
        detail = told.get(order_id, f"the exchange ended it: {reason}")
        found.append({"order_id": order_id, "leg": leg, "reason": str(reason), "detail": detail})
    return found


def order_json(record: OrderRecord, instruments: Mapping[str, Instrument]) -> dict[str, Any]:
    """Return an unfinished order in the words and units people use."""
    order, instrument = record.order, instruments[record.order.symbol]
    return {
        "order_id": order.order_id,
        "symbol": order.symbol,
        "leg": order.leg,
        "kind": order.kind,
        "side": "buy" if order.side > 0 else "sell",
        "quantity": instrument.quantity_text(order.quantity),
        "filled": instrument.quantity_text(record.filled),
        "price": order.price,
        "phase": record.phase,
        "slot": iso_time(order.slot),
        "claimed": None if record.claim is None else iso_time(record.claim.stamp_ms),
        "attempts": record.attempts,
        "cancel": record.cancel,
        "reason": order.reason,
    }


def equity_json(state: State, marks: Mapping[str, float], instruments: Mapping[str, Instrument]) -> dict[str, Any]:
    """Return cash, positions and equity at the marks, as exact texts."""
    first = next(iter(instruments.values()))
    equity, positions = state.cash, []
    for symbol, position in state.positions.items():
        instrument = instruments.get(symbol)
        if instrument is None or (not position.quantity and not position.realised):
            continue
        value = quote_value(marks[symbol], position.quantity, instrument.value_per_unit) if symbol in marks else 0
        equity += value
        positions.append(
            {
                "symbol": symbol,
                "quantity": instrument.quantity_text(position.quantity),
                "mark": marks.get(symbol),
                "value": instrument.money_text(value),
                "realised": instrument.money_text(position.realised),
                "fees": instrument.money_text(position.fees),
                "funding": instrument.money_text(position.funding),
            }
        )
    return {
        "currency": first.quote,
        "equity": first.money_text(equity),
        "cash": first.money_text(state.cash),
        "flows": first.money_text(state.flows),
        "positions": positions,
    }
