"""From a proposal to a decision: size each intent, pass it through the gates, name the order.

This is the one function that live, paper, replay and backtest share: given the same inputs it gives the same orders
under the same ids. It knows nothing of exchanges, files or time beyond the slot it is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.gates import Book, not_traded_detail, refusal_by_gates
from trading_runtime.core.intents import Intent, checked_intent
from trading_runtime.core.money import affordable_quantity, quantity_for_value, tick_for_limit
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.state import Order, State
from trading_runtime.core.strategy import Inputs, Proposal, Strategy


class Identity(NamedTuple):
    """Whose orders these are: part of every client order id."""

    account: str
    strategy: str


class Cancel(NamedTuple):
    """An open order that the decision ends."""

    order_id: str
    reason: str


class Decision(NamedTuple):
    """What a slot's decision came to: cancels first, then orders in the order to place them, and what was refused."""

    slot: int
    intents: tuple[Intent, ...]
    cancels: tuple[Cancel, ...]
    orders: tuple[Order, ...]
    refusals: tuple[Refusal, ...]
    strategy_state: Any
    reasons: tuple[str, ...]
    facts: Mapping[str, Any] = MappingProxyType({})


def decide(
    strategy: Strategy, inputs: Inputs, state: State, book: Book, slot: int, identity: Identity
) -> Decision | None:
    """Return the decision for ``slot``, or None when the strategy proposes nothing."""
    proposal = strategy.decide(inputs)
    return None if proposal is None else resolve(proposal, state, book, slot, identity)


def resolve(proposal: Proposal, state: State, book: Book, slot: int, identity: Identity) -> Decision:
    """Return the decision that ``proposal`` comes to. ``book`` is used up: it must have been made from ``state`` for
    this decision.

    Cancels act first, then reductions, then new risk, then orders that wait for a parent; within each, the strategy's
    own order. Raises StrategyError for a proposal that is not one, or an intent that contradicts itself.
    """
    intents, reasons = checked_proposal(proposal)
    cancels: list[Cancel] = []
    orders: list[Order] = []
    refusals: list[Refusal] = list(checked_refusals(proposal.refusals)) if proposal.refusals else []
    if state.orders:
        for intent in intents:
            _end_replaced_orders(intent, state, book, cancels)
    waiting = [intent for intent in intents if intent.kind != "cancel"]
    if len(waiting) > 1:
        waiting.sort(key=lambda intent: _placement_rank(intent, book))
    for intent in waiting:
        sized = _size(intent, book, orders)
        if isinstance(sized, Refusal):
            refusals.append(sized)
            continue
        side, quantity, parent = sized
        if side == 0:
            continue  # the target is already held
        reduce_only = intent.reduce_only
        if intent.target_weight is not None:
            # A target that only shrinks a position must never turn it round, whatever else fills at the same open.
            held = book.quantities.get(intent.symbol, 0)
            reduce_only = held * side < 0 and quantity <= abs(held)
        order = Order(
            client_order_id(identity.account, identity.strategy, intent.symbol, slot, intent.leg),
            intent.symbol,
            intent.kind,
            side,
            quantity,
            slot=slot,
            leg=intent.leg,
            price=None if intent.price is None else _grid_price(intent, intent.price, side, book),
            reduce_only=reduce_only,
            parent=parent,
            time_in_force=intent.time_in_force,
            bars_max=intent.bars_max,
            post_only=intent.post_only,
            fallback=intent.fallback,
            is_sized_by_runtime=intent.target_weight is not None or intent.notional is not None,
            reason=intent.reason,
        )
        refusal = refusal_by_gates(order, book)
        if refusal is not None:
            refusals.append(refusal)
            half = _closing_half(order, refusal, book)
            if half is not None:
                orders.append(half)
                book.accept(half)
        else:
            orders.append(order)
            book.accept(order)
    strategy_state = state.strategy_state if proposal.state is None else proposal.state
    facts = proposal.facts
    if facts is None:
        return Decision(slot, intents, tuple(cancels), tuple(orders), tuple(refusals), strategy_state, reasons)
    return Decision(slot, intents, tuple(cancels), tuple(orders), tuple(refusals), strategy_state, reasons, facts)


def _closing_half(order: Order, refusal: Refusal, book: Book) -> Order | None:
    """Return the part of a refused order that only closes the position, if what refused it guards new risk alone: a
    halt never blocks a close. A backtest knows none of those gates.
    """
    held = book.quantities.get(order.symbol, 0)
    if refusal.gate not in ("control", "risk_state", "breakers", "data_quality"):
        return None
    if order.kind != "market" or held * order.side >= 0 or order.quantity <= abs(held):
        return None
    lot = book.rules[order.symbol].lot
    half = order.changed(quantity=abs(held) // lot * lot, reduce_only=True)
    return half if half.quantity and refusal_by_gates(half, book) is None else None


def checked_proposal(proposal: Proposal) -> tuple[tuple[Intent, ...], tuple[str, ...]]:
    """Return the intents and reasons of what a strategy returned; raises StrategyError when it is not a proposal."""
    if not isinstance(proposal, Proposal):
        raise StrategyError(f"decide must return a Proposal or None, not {type(proposal).__name__}")
    given, reasons = proposal.intents, proposal.reasons
    if type(given) not in (list, tuple):
        raise StrategyError(f"the intents of a proposal are a list or a tuple, not {type(given).__name__}")
    if type(reasons) not in (list, tuple) or not all(isinstance(reason, str) for reason in reasons):
        raise StrategyError(f"the reasons of a proposal are a list of texts, not {reasons!r}")
    if proposal.state is not None and not isinstance(proposal.state, Mapping):
        raise StrategyError(f"the state of a proposal is a mapping, not {type(proposal.state).__name__}")
    if proposal.facts is not None and not isinstance(proposal.facts, Mapping):
        raise StrategyError(f"the facts of a proposal are a mapping, not {type(proposal.facts).__name__}")
    return tuple([checked_intent(intent) for intent in given]), tuple(reasons)


def checked_refusals(given: Sequence[Refusal]) -> Sequence[Refusal]:
    """Return the refusals of a proposal; raises StrategyError when they are none."""
    if type(given) not in (list, tuple) or not all(type(one) is Refusal for one in given):
        raise StrategyError(f"the refusals of a proposal are a list of Refusal, not {given!r}")
    for one in given:
        if not all(isinstance(text, str) for text in one):
            raise StrategyError(f"a refusal is made of texts: {one!r}")
    return given


def _end_replaced_orders(intent: Intent, state: State, book: Book, cancels: list[Cancel]) -> None:
    """A cancel, and a target weight, end the open order of their leg."""
    if intent.kind != "cancel" and intent.target_weight is None:
        return
    for order in state.orders.values():
        if order.symbol == intent.symbol and order.leg == intent.leg and not _is_cancelled(order, cancels):
            cancels.append(Cancel(order.order_id, intent.reason if intent.kind == "cancel" else "replaced"))
            book.count(order, -1)


def _is_cancelled(order: Order, cancels: list[Cancel]) -> bool:
    return any(cancel.order_id == order.order_id for cancel in cancels)


def _placement_rank(intent: Intent, book: Book) -> int:
    if intent.parent is not None:
        return 2
    held = book.quantities.get(intent.symbol, 0)
    if intent.reduce_only:
        return 0
    if intent.target_weight is not None and held and intent.symbol in book.marks:
        target = _target_quantity(intent, book)
        return 0 if abs(target) < abs(held) and target * held >= 0 else 1
    if intent.side is not None and held:
        return 0 if (1 if intent.side == "buy" else -1) * held < 0 else 1
    return 1


def _target_quantity(intent: Intent, book: Book) -> int:
    """Signed units of ``target_weight`` of the present equity at the mark, rounded down to the lot."""
    weight = intent.target_weight
    if weight is None or not math.isfinite(weight):
        raise StrategyError(f"{intent.symbol} {intent.leg}: target weight must be finite, not {weight!r}")
    symbol = intent.symbol
    quantity = quantity_for_value(
        abs(weight) * book.equity, book.marks[symbol], book.instruments[symbol].value_per_unit, book.rules[symbol].lot
    )
    return quantity if weight >= 0.0 else -quantity


def _size(intent: Intent, book: Book, orders: list[Order]) -> tuple[int, int, str | None] | Refusal:
    """Return (side, units, id of the parent order), or a refusal; side 0 when there is nothing to do."""
    symbol = intent.symbol
    if symbol not in book.symbols:
        return Refusal("symbol", "limits", symbol, intent.leg, not_traded_detail(symbol, book))
    if symbol not in book.marks:
        return Refusal("data_quality", "data", symbol, intent.leg, "the symbol has no price at this bar")
    sizing = intent.sizing()
    lot = book.rules[symbol].lot
    if sizing is None:
        return _refused(intent, "the intent names neither a quantity nor a sizing policy")
    if intent.parent is not None:
        return _size_of_child(intent, sizing, lot, book, orders)
    held = book.quantities.get(symbol, 0)
    side = 0 if intent.side is None else 1 if intent.side == "buy" else -1
    if sizing == "target_weight":
        delta = _target_quantity(intent, book) - held
        if delta == 0:
            return 0, 0, None
        side = 1 if delta > 0 else -1
        quantity = abs(delta) // lot * lot
        return side, _affordable(side, quantity, held, None, symbol, book), None
    if sizing == "close_fraction":
        if held == 0:
            return _refused(intent, "there is no position to close")
        if side * held > 0:
            raise StrategyError(
                f"{symbol} {intent.leg}: {intent.side!r} would add to the position instead of closing it"
            )
        return (-1 if held > 0 else 1), _fraction_of(abs(held), intent, lot), None
    if side == 0:
        raise StrategyError(f"{symbol} {intent.leg}: an intent sized by {sizing} needs a side")
    quantity = _given_quantity(intent, lot, book)
    if sizing == "notional":
        quantity = _affordable(side, quantity, held, intent.price, symbol, book)
    if intent.reduce_only:
        if held * side >= 0:
            return _refused(intent, "there is no position to reduce")
        quantity = min(quantity, abs(held))
    return side, quantity, None


def _size_of_child(
    intent: Intent, sizing: str, lot: int, book: Book, orders: list[Order]
) -> tuple[int, int, str | None] | Refusal:
    """A child is measured against what its parent was placed for; it never trades more than its parent has filled."""
    parent = next((order for order in orders if order.symbol == intent.symbol and order.leg == intent.parent), None)
    if parent is None:
        return _refused(intent, f"its parent {intent.parent!r} was not placed")
    side = -parent.side if intent.side is None else 1 if intent.side == "buy" else -1
    if sizing == "parent":
        return side, parent.quantity, parent.order_id
    if sizing == "close_fraction":
        return side, _fraction_of(parent.quantity, intent, lot), parent.order_id
    if sizing == "target_weight":
        raise StrategyError(f"{intent.symbol} {intent.leg}: a target weight cannot wait for a parent")
    return side, _given_quantity(intent, lot, book), parent.order_id


def _given_quantity(intent: Intent, lot: int, book: Book) -> int:
    """Units of an intent sized by quantity or notional, rounded down to the lot."""
    instrument = book.instruments[intent.symbol]
    if intent.quantity is not None:
        return instrument.quantity_units(_positive(intent.quantity, intent, "quantity")) // lot * lot
    money = instrument.money_units(_positive(intent.notional, intent, "notional"))
    price = book.marks[intent.symbol] if intent.price is None else intent.price
    return quantity_for_value(money, price, instrument.value_per_unit, lot)


def _fraction_of(units: int, intent: Intent, lot: int) -> int:
    fraction = _positive(intent.close_fraction, intent, "close_fraction")
    if fraction > 1.0:
        raise StrategyError(f"{intent.symbol} {intent.leg}: close_fraction is at most 1, not {fraction!r}")
    return (units if fraction == 1.0 else math.floor(units * fraction)) // lot * lot


def _affordable(side: int, quantity: int, held: int, price: float | None, symbol: str, book: Book) -> int:
    """A spot buy whose size the runtime chose never asks for more than free cash pays for, fee included."""
    if side < 0 or held < 0 or book.instruments[symbol].kind != "spot" or not quantity:
        return quantity
    if book.cost(symbol, quantity, price) <= book.available:
        return quantity
    rules = book.rules[symbol]
    return affordable_quantity(
        max(book.available, 0),
        book.marks[symbol] if price is None else price,
        rules.taker_fee_rate,
        book.instruments[symbol].value_per_unit,
        rules.lot,
    )


def _refused(intent: Intent, detail: str) -> Refusal:
    return Refusal("sizing", "strategy", intent.symbol, intent.leg, detail)


def _positive(value: float | None, intent: Intent, name: str) -> float:
    if value is None or not math.isfinite(value) or value <= 0.0:
        raise StrategyError(f"{intent.symbol} {intent.leg}: {name} must be a positive number, not {value!r}")
    return float(value)


def _grid_price(intent: Intent, price: float, side: int, book: Book) -> float:
    """A limit is rounded to the tick that never offers more; a trigger to the tick that acts later."""
    rules = book.rules[intent.symbol]
    rounds_as_buy = (side < 0) if intent.kind == "stop" else (side > 0)
    return tick_for_limit(price, rounds_as_buy, rules.tick_numerator, rules.tick_denominator)
