"""From a proposal to a decision: size each intent, pass it through the gates, name the order.

This is the one function that live, paper, replay and backtest share: given the same inputs it gives the same orders
under the same ids. It knows nothing of exchanges, files or time beyond the slot it is told.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.gates import Book, Refusal, refusal_by_gates
from trading_runtime.core.intents import Intent
from trading_runtime.core.money import affordable_quantity, quantity_for_value, tick_for_limit
from trading_runtime.core.orders import client_order_id
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
    if not isinstance(proposal, Proposal):
        raise StrategyError(f"decide must return a Proposal or None, not {type(proposal).__name__}")
    cancels: list[Cancel] = []
    orders: list[Order] = []
    refusals: list[Refusal] = []
    intents = tuple(proposal.intents)
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
        side, quantity, by_runtime = sized
        if side == 0:
            continue  # the target is already held
        order = Order(
            client_order_id(identity.account, identity.strategy, intent.symbol, slot, intent.leg),
            intent.symbol,
            intent.kind,
            side,
            quantity,
            slot=slot,
            leg=intent.leg,
            price=None if intent.price is None else _grid_price(intent, intent.price, side, book),
            reduce_only=intent.reduce_only,
            parent=None if intent.parent is None else _parent_id(intent, orders),
            time_in_force=intent.time_in_force,
            bars_max=intent.bars_max,
            post_only=intent.post_only,
            fallback=intent.fallback,
            is_sized_by_runtime=by_runtime,
            reason=intent.reason,
        )
        refusal = refusal_by_gates(order, book)
        if refusal is not None:
            refusals.append(refusal)
        else:
            orders.append(order)
            book.accept(order)
    strategy_state = state.strategy_state if proposal.state is None else proposal.state
    return Decision(
        slot, intents, tuple(cancels), tuple(orders), tuple(refusals), strategy_state, tuple(proposal.reasons)
    )


def _end_replaced_orders(intent: Intent, state: State, book: Book, cancels: list[Cancel]) -> None:
    """A cancel, and a target weight, end the open order of their leg."""
    if intent.kind != "cancel" and intent.target_weight is None:
        return
    for order in state.orders.values():
        if order.symbol == intent.symbol and order.leg == intent.leg:
            cancels.append(Cancel(order.order_id, intent.reason if intent.kind == "cancel" else "replaced"))
            book.open_legs.discard((order.symbol, order.leg))
            if order.side > 0 and not order.reduce_only and book.instruments[order.symbol].kind == "spot":
                book.available += book.cost(order.symbol, order.remaining, order.price)


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


def _size(intent: Intent, book: Book, orders: list[Order]) -> tuple[int, int, bool] | Refusal:
    """Return (side, units, whether the runtime chose the quantity), or a refusal; side 0 when there is nothing to
    do.
    """
    symbol = intent.symbol
    if symbol not in book.symbols:
        return Refusal("symbol", "limits", symbol, intent.leg, "the symbol is not part of this run")
    if symbol not in book.marks:
        return Refusal("data_quality", "data", symbol, intent.leg, "the symbol has no price at this bar")
    sizing = intent.sizing()
    side = _given_side(intent)
    held = book.quantities.get(symbol, 0)
    rules, instrument = book.rules[symbol], book.instruments[symbol]
    if sizing is None:
        return Refusal(
            "sizing", "strategy", symbol, intent.leg, "the intent names neither a quantity nor a sizing policy"
        )
    if intent.parent is not None:
        parent = next((order for order in orders if order.symbol == symbol and order.leg == intent.parent), None)
        if parent is None:
            return Refusal("sizing", "strategy", symbol, intent.leg, f"its parent {intent.parent!r} was not placed")
        if sizing == "parent":
            return side or -parent.side, parent.quantity, False
    if sizing == "target_weight":
        delta = _target_quantity(intent, book) - held
        if delta == 0:
            return 0, 0, True
        side = 1 if delta > 0 else -1
        quantity = abs(delta) // rules.lot * rules.lot
        return side, _affordable(side, quantity, held, None, symbol, book), True
    if sizing == "close_fraction":
        fraction = _positive(intent.close_fraction, intent, "close_fraction")
        if fraction > 1.0:
            raise StrategyError(f"{symbol} {intent.leg}: close_fraction is at most 1, not {fraction!r}")
        if held == 0:
            return Refusal("sizing", "strategy", symbol, intent.leg, "there is no position to close")
        units = abs(held) if fraction == 1.0 else math.floor(abs(held) * fraction)
        return (-1 if held > 0 else 1), units // rules.lot * rules.lot, False
    if side == 0:
        raise StrategyError(f"{symbol} {intent.leg}: an intent sized by {sizing} needs a side")
    if sizing == "notional":
        price = book.marks[symbol] if intent.price is None else intent.price
        money = _positive(intent.notional, intent, "notional") / float(instrument.quote_unit)
        quantity = quantity_for_value(money, price, instrument.value_per_unit, rules.lot)
        quantity = _affordable(side, quantity, held, intent.price, symbol, book)
    else:
        units = instrument.quantity_units(_positive(intent.quantity, intent, "quantity"))
        quantity = units // rules.lot * rules.lot
    if intent.reduce_only and intent.parent is None:
        if held * side >= 0:
            return Refusal("sizing", "strategy", symbol, intent.leg, "there is no position to reduce")
        quantity = min(quantity, abs(held))
    return side, quantity, sizing == "notional"


def _affordable(side: int, quantity: int, held: int, price: float | None, symbol: str, book: Book) -> int:
    """A spot buy whose size the runtime chose never asks for more than free cash pays for, fee included."""
    if side < 0 or held < 0 or book.instruments[symbol].kind != "spot":
        return quantity
    rules = book.rules[symbol]
    affordable = affordable_quantity(
        max(book.available, 0),
        book.marks[symbol] if price is None else price,
        rules.taker_fee_rate,
        book.instruments[symbol].value_per_unit,
        rules.lot,
    )
    return min(quantity, affordable)


def _given_side(intent: Intent) -> int:
    if intent.side is None:
        return 0
    if intent.side not in ("buy", "sell"):
        raise StrategyError(f"{intent.symbol} {intent.leg}: side must be 'buy' or 'sell', not {intent.side!r}")
    return 1 if intent.side == "buy" else -1


def _positive(value: float | None, intent: Intent, name: str) -> float:
    if value is None or not math.isfinite(value) or value <= 0.0:
        raise StrategyError(f"{intent.symbol} {intent.leg}: {name} must be a positive number, not {value!r}")
    return float(value)


def _grid_price(intent: Intent, price: float, side: int, book: Book) -> float:
    """A limit is rounded to the tick that never offers more; a trigger to the tick that acts later."""
    if not math.isfinite(price):
        raise StrategyError(f"{intent.symbol} {intent.leg}: price must be finite, not {price!r}")
    rules = book.rules[intent.symbol]
    rounds_as_buy = (side > 0) if intent.kind == "limit" else (side < 0)
    if intent.kind == "take_profit":
        rounds_as_buy = side > 0
    return tick_for_limit(price, rounds_as_buy, rules.tick_numerator, rules.tick_denominator)


def _parent_id(intent: Intent, orders: list[Order]) -> str | None:
    for order in orders:
        if order.symbol == intent.symbol and order.leg == intent.parent:
            return order.order_id
    return None
