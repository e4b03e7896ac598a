"""The one document an account carries from cycle to cycle: the book, and every order that is not finished.

    planned ──claim──► claimed ──seen at the exchange──► open ──finished──► (gone)
    waiting ──parent filled──► planned                   watched ──price reached──► planned

Money on its way into savings or out of them is kept likewise, one movement of an asset at a time:

    planned ──claim──► claimed ──the exchange says it is under way──► pending ──done or failed──► (gone)

``planned`` was never sent. ``claimed`` may have been. ``open`` is at the exchange. ``waiting`` is a child whose parent
has not filled; ``watched`` is a stop or take-profit that the exchange cannot keep, so the runtime does. Everything
that changes the book is an event, applied here and handed to the journal. Reading, writing, sending: not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, NamedTuple

from trading_runtime.core.errors import StoreDamaged, StrategyError
from trading_runtime.core.events import event_to_json, order_from_json
from trading_runtime.core.instruments import Instrument, decimal_text, make_rules, split_symbol
from trading_runtime.core.risk import RiskState, risk_from_json
from trading_runtime.core.state import Event, Order, OrderEnded, State, apply, state_from_json
from trading_runtime.exchanges.port import EarnKind

Phase = Literal["planned", "waiting", "watched", "claimed", "open"]
EarnPhase = Literal["planned", "claimed", "pending"]


class Claim(NamedTuple):
    """Who may send an order: ``stamp_ms`` is the exchange's time it was claimed at and is sent with it."""

    stamp_ms: int
    attempt: int
    token: int
    holder: str


class Watch(NamedTuple):
    """What a watched record waits for: a stop or a take-profit at a price."""

    kind: str
    price: float


@dataclass
class Child:
    """What an order that waits for its parent's fills must remember once the parent is gone.

    ``parent_quantity`` is what the parent was placed for, ``parent_before`` what it had filled before a market order
    took its place; ``allowed`` units may be placed by now, ``activated`` have been.
    """

    parent_quantity: int
    parent_before: int = 0
    allowed: int = 0
    activated: int = 0
    parts: int = 0
    is_parent_done: bool = False


@dataclass
class OrderRecord:
    """An order that is not finished, in the order of its life.

    ``slot`` is the slot that was being worked when it was planned: beyond it only reductions are still sent. ``claim``
    is the newest, ``attempts`` counts them. ``filled`` units the exchange says are filled, ``booked`` are in the book,
    by ``trades``' ids. ``cancel`` is the reason why it is to be ended.
    """

    order: Order
    phase: Phase
    slot: int
    claim: Claim | None = None
    attempts: int = 0
    exchange_order_id: str = ""
    filled: int = 0
    booked: int = 0
    trades: list[str] = field(default_factory=list)
    cancel: str | None = None
    watch: Watch | None = None
    child: Child | None = None

    @property
    def is_booked(self) -> bool:
        """Whether every fill that the exchange speaks of is in the book."""
        return self.booked >= self.filled

    def to_json(self) -> dict[str, Any]:
        """Return the fields that say something."""
        content: dict[str, Any] = {"order": self.order.to_json(), "phase": self.phase, "slot": self.slot}
        for name in ("attempts", "exchange_order_id", "filled", "booked", "trades", "cancel"):
            value = getattr(self, name)
            if value:
                content[name] = list(value) if isinstance(value, list) else value
        for name in ("claim", "watch"):
            if getattr(self, name) is not None:
                content[name] = getattr(self, name)._asdict()
        if self.child is not None:
            content["child"] = vars(self.child).copy()
        return content


def record_from_json(content: Mapping[str, Any]) -> OrderRecord:
    kinds: dict[str, Any] = {"claim": Claim, "watch": Watch, "child": Child}
    parts = {name: kind(**content[name]) for name, kind in kinds.items() if name in content}
    trades = list(content.get("trades", ()))
    return OrderRecord(**{**content, **parts, "trades": trades, "order": order_from_json(content["order"])})


@dataclass
class EarnRecord:
    """Money on its way into savings or out of them, until the exchange's history has told how it ended.

    ``number`` is that of its first entry, so it names the movement for ever; ``cause`` is ``buffer``, or the order that
    needs the money. ``operation_id`` is what the exchange calls it, empty until it has said so.
    """

    kind: EarnKind
    asset: str
    product_id: str
    amount: Decimal
    cause: str
    phase: EarnPhase
    slot: int
    number: int
    claim: Claim | None = None
    attempts: int = 0
    operation_id: str = ""

    @property
    def name(self) -> str:
        """What reports and messages call it."""
        return f"{self.kind} {decimal_text(self.amount)} {self.asset} (movement {self.number})"

    def to_json(self) -> dict[str, Any]:
        claim = None if self.claim is None else self.claim._asdict()
        return {**vars(self), "amount": decimal_text(self.amount), "claim": claim}


def earn_record_from_json(content: Mapping[str, Any]) -> EarnRecord:
    claim = None if content["claim"] is None else Claim(**content["claim"])
    return EarnRecord(**{**content, "amount": Decimal(content["amount"]), "claim": claim})


@dataclass
class Account:
    """The document in memory. ``unjournaled`` are the entries about this account that the journal may not hold yet;
    ``entries`` counts all there ever were, so that none is written twice; ``happened`` are those of this process.
    ``units`` are the units the book counts in, ``bars_kept`` names the bars of the session that the journal has.
    ``universe`` are symbols that were traded beyond the configured ones, ``dust`` those of which less than a lot is
    left, ``last_good`` is the last publication that came fresh from upstream, with where and when it was read. ``earn``
    is the movement of savings in flight by asset, ``earn_seen`` the ids of those that ended. Deposits and the like are
    asked for from ``flows_since_ms`` on, and ``flows_seen`` are those that are booked, or were there before: kind and
    id, with time and booked units. ``marks`` are slot and price of each symbol at the last decision that had them,
    ``suspended`` the holdings whose market does not trade (``suspended.py``), ``excluded`` the symbols of the
    publication that cannot be traded, with the slot since which it is these. ``stood_still`` tells of what is held when
    its market did not trade, as times from and to, oldest first.
    """

    state: State
    mode: str = "paper"
    units: dict[str, str] = field(default_factory=dict)
    records: dict[str, OrderRecord] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    session: str | None = None
    head: tuple[int, str] | None = None
    bars_kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    risk: RiskState | None = None
    funding_since: dict[str, int] = field(default_factory=dict)
    funding_seen: dict[str, list[str]] = field(default_factory=dict)
    inventory: dict[str, str] = field(default_factory=dict)
    exchange_ms: int = 0
    completed: int | None = None
    flattened: int | None = None
    recent: list[str] = field(default_factory=list)
    entries: int = 0
    unjournaled: list[dict[str, Any]] = field(default_factory=list)
    happened: list[dict[str, Any]] = field(default_factory=list)
    universe: list[str] = field(default_factory=list)
    dust: list[str] = field(default_factory=list)
    last_good: dict[str, Any] | None = None
    earn: dict[str, EarnRecord] = field(default_factory=dict)
    earn_seen: list[str] = field(default_factory=list)
    flows_since_ms: int | None = None
    flows_seen: dict[str, list[int]] = field(default_factory=dict)
    marks: dict[str, list[Any]] = field(default_factory=dict)
    suspended: dict[str, dict[str, Any]] = field(default_factory=dict)
    excluded: dict[str, Any] = field(default_factory=dict)
    stood_still: dict[str, list[list[int]]] = field(default_factory=dict)

    def book(self, event: Event, **facts: Any) -> None:
        """Apply an event to the book and keep it for the journal, with the facts it came from."""
        self.state = apply(self.state, event)
        self.note({**event_to_json(event), **facts})

    def note(self, entry: dict[str, Any]) -> None:
        """Keep an entry for the journal that changes nothing in the book."""
        self.entries += 1
        numbered = {"number": self.entries, **entry}
        self.unjournaled.append(numbered)
        self.happened.append(numbered)

    def in_phase(self, *phases: Phase) -> list[OrderRecord]:
        """Records in one of the phases, oldest first."""
        return [record for record in self.records.values() if record.phase in phases]

    def children_of(self, order_id: str) -> Iterator[OrderRecord]:
        for record in list(self.records.values()):
            if record.order.parent == order_id:
                yield record

    def finish(self, record: OrderRecord, status: str, reason: str) -> None:
        """Take a record out; an order that is in the book and has not filled in full ends there, too. Its children
        are told how much of them may be placed.
        """
        order = record.order
        del self.records[order.order_id]
        for other in self.children_of(order.order_id):
            if other.child is not None:
                other.child.allowed = allowed_by(other, record)
                other.child.is_parent_done = True
        if order.order_id not in self.state.orders and status == "filled":
            return
        if order.order_id in self.state.orders:
            self.book(OrderEnded(order.order_id, status, reason))
        else:
            self.note({"event": "order_not_placed", "order_id": order.order_id, "status": status, "reason": reason})

    def to_json(self) -> dict[str, Any]:
        return {
            "state": self.state.to_json(),
            "mode": self.mode,
            "units": dict(self.units),
            "records": [record.to_json() for record in self.records.values()],
            "quarantine": dict(self.quarantine),
            "session": self.session,
            "head": None if self.head is None else list(self.head),
            "bars_kept": self.bars_kept,
            "risk": None if self.risk is None else self.risk.to_json(),
            "funding_since": dict(self.funding_since),
            "funding_seen": self.funding_seen,
            "inventory": dict(self.inventory),
            "exchange_ms": self.exchange_ms,
            "completed": self.completed,
            "flattened": self.flattened,
            "recent": list(self.recent),
            "entries": self.entries,
            "unjournaled": self.unjournaled,
            "universe": list(self.universe),
            "dust": list(self.dust),
            "last_good": self.last_good,
            "earn": [record.to_json() for record in self.earn.values()],
            "earn_seen": list(self.earn_seen),
            "flows_since_ms": self.flows_since_ms,
            "flows_seen": dict(self.flows_seen),
            "marks": dict(self.marks),
            "suspended": dict(self.suspended),
            "excluded": dict(self.excluded),
            "stood_still": dict(self.stood_still),
        }


def instrument_in_units(symbol: str, units: str) -> Instrument:
    """Return what ``Account.units`` says of a symbol, as an instrument without any filter or fee: enough to count its
    amounts and to write them as text, not to trade.
    """
    quantity_unit, quote_unit = (Decimal(text) for text in units.split(", "))
    base, quote, kind = split_symbol(symbol)
    rules = make_rules(quantity_unit=quantity_unit, quote_unit=quote_unit, lot=decimal_text(quantity_unit))
    return Instrument(symbol, kind, base, quote, quantity_unit, quote_unit, (rules,))


def allowed_by(record: OrderRecord, parent: OrderRecord) -> int:
    """Units of a child that may be traded: the share of it that its parent has filled."""
    child = record.child
    if child is None:
        return record.order.quantity
    filled = child.parent_before + parent.booked
    if filled >= child.parent_quantity:
        return record.order.quantity
    return record.order.quantity * filled // child.parent_quantity


def account_from_json(content: Mapping[str, Any]) -> Account:
    """Return the account that ``Account.to_json`` wrote; raises StoreDamaged when it is not one. Fields that an older
    version did not write yet have their defaults.
    """
    try:
        records: Sequence[OrderRecord] = [record_from_json(record) for record in content["records"]]
        movements = [earn_record_from_json(record) for record in content.get("earn", ())]
        head = content["head"]
        return Account(
            **{
                **content,
                "state": state_from_json(content["state"]),
                "records": {record.order.order_id: record for record in records},
                "head": None if head is None else (head[0], head[1]),
                "risk": None if content["risk"] is None else risk_from_json(content["risk"]),
                "earn": {record.asset: record for record in movements},
            }
        )
    except (KeyError, TypeError, AttributeError, ValueError, InvalidOperation, StrategyError) as error:
        raise StoreDamaged(f"the state document is damaged: {type(error).__name__}: {error}") from error
