"""Brackets, expiry and watched triggers, where the exchange does not keep them itself.

A child follows its parent's fills: a stop is placed for what has filled at once, everything else when its parent is
done. A position that is gone takes its reducing orders with it. What the exchange cannot keep (a second bracket of spot
coins, a kind of order it does not know) is watched at every slot. The simulated exchange does all this by itself, bar
by bar, as ``backtest/matching.py`` does.
"""

from __future__ import annotations

from collections.abc import Mapping

from trading_runtime.core.bars import Bars
from trading_runtime.core.fills import profit_is_reached, stop_is_reached
from trading_runtime.core.intents import LEG_LENGTH_MAX
from trading_runtime.core.state import Order, OrderPlaced
from trading_runtime.cycle.account import Account, OrderRecord, Watch, allowed_by
from trading_runtime.cycle.context import Context

# Ids of so many orders are kept, that none is given twice; a slot has a handful.
RECENT_IDS_MAX = 200
# Why a resting order ends when an exit needs the coins it locks.
MAKES_ROOM = "makes_room"


def activate_children(context: Context) -> None:
    """Plan what waiting children may trade by now."""
    account = context.account
    for record in account.in_phase("waiting"):
        order, child = record.order, record.child
        assert child is not None
        if order.symbol in context.suspended:
            continue  # nobody knows the lot of a market that does not trade: it is placed when that does
        parent = account.records.get(order.parent or "")
        if parent is not None:
            child.allowed = allowed_by(record, parent)
        elif not child.is_parent_done:
            child.is_parent_done = True  # its parent was never placed
        lot = context.instruments[order.symbol].rules_at(context.slot).lot
        due = child.allowed - child.activated
        if order.reduce_only:
            held = account.state.quantity(order.symbol)  # fees in coins leave less than was bought
            due = min(due, abs(held) - _covered_by_parts(context, record) if held * order.side < 0 else 0)
        due = due // lot * lot
        if due < lot:
            if child.is_parent_done:
                account.finish(record, "cancelled" if child.activated == 0 else "filled", "parent_ended")
            continue
        if child.is_parent_done and child.activated == 0:
            record.order, record.child = order.changed(quantity=due), None
            record.slot = context.slot
            _ready(context, record)
        elif child.is_parent_done or order.kind == "stop":
            part = _next_part(context, record, due)
            account.records[part.order.order_id] = part
            child.activated += due
            _ready(context, part)
            if child.is_parent_done:
                account.finish(record, "filled", "parent_ended")


def coins_missing(context: Context, record: OrderRecord) -> int:
    """Units by which a sell of spot and all others that are open would exceed what is held; 0 where they do not.

    An exchange sees coins, not whose they are: without this, two brackets could sell coins that were there before.
    """
    order, account = record.order, context.account
    if order.side > 0 or context.instruments[order.symbol].kind != "spot":
        return 0
    if context.exchange.capabilities.keeps_brackets:
        return 0  # it sees to that itself, when they fill
    others = sum(
        other.order.quantity - other.booked
        for other in account.in_phase("open", "claimed")
        if other is not record and other.order.symbol == order.symbol and other.order.side < 0
    )
    return max(order.quantity + others - account.state.quantity(order.symbol), 0)


def mark_to_make_room(context: Context, record: OrderRecord) -> list[OrderRecord]:
    """Mark the resting orders that lock the coins of an exit for ending, and return them: what protects is watched from
    then on.
    """
    marked = []
    for other in context.account.in_phase("open"):
        order = other.order
        if other is not record and order.symbol == record.order.symbol and order.side < 0 and order.reduce_only:
            other.cancel = other.cancel or MAKES_ROOM
            marked.append(other)
    return marked


def watch_rest(context: Context, record: OrderRecord) -> None:
    """Watch what a stop or take-profit that made room has not sold, under an id that no exchange has seen."""
    order = record.order
    if order.kind not in ("stop", "take_profit") or order.price is None:
        return
    order_id, leg = _unused_id(context.account, order, "_w")
    rest = order.changed(
        order_id=order_id,
        leg=leg,
        quantity=order.quantity - record.booked,
        filled=0,
        parent=None,
    )
    watched = OrderRecord(rest, "watched", record.slot, watch=Watch(order.kind, order.price))
    context.account.records[rest.order_id] = watched
    planned(context.account, watched, instead_of=order.order_id)


def end_what_reduces_nothing(context: Context) -> None:
    """Where a position is gone, its reducing orders end, and so does the rest of the order that had opened it."""
    account = context.account
    for record in list(account.records.values()):
        order = record.order
        if order.symbol in context.suspended or order.order_id not in account.records:
            continue
        if context.tradable(order.symbol) != 0:
            continue
        if order.reduce_only and order.parent not in account.records:
            if record.phase == "open":
                record.cancel = record.cancel or "no_position"
            elif record.phase in ("planned", "watched"):
                account.finish(record, "cancelled", "no_position")
        elif record.phase == "open" and record.booked > 0 and any(account.children_of(order.order_id)):
            record.cancel = record.cancel or "closed_by_child"


def fall_back(context: Context, record: OrderRecord, reason: str) -> None:
    """Plan a market order for what a limit order has not filled, if its intent permits it for exactly this reason.

    It belongs to the slot at which the limit order was to end: a later one drops it, unless it reduces.
    """
    order = record.order
    if order.kind != "limit" or reason not in order.fallback:
        return
    order_id, leg = _unused_id(context.account, order, "_m")
    following = Order(
        order_id,
        order.symbol,
        "market",
        order.side,
        order.quantity - record.booked,
        slot=order.slot,
        leg=leg,
        reduce_only=order.reduce_only,
        reason=order.reason,
    )
    account = context.account
    account.records[following.order_id] = successor = OrderRecord(following, "planned", record.slot)
    planned(account, successor, instead_of=order.order_id)
    for other in account.children_of(order.order_id):
        other.order = other.order.changed(parent=following.order_id)
        if other.child is not None:
            other.child.parent_before += record.booked
            other.child.is_parent_done = False


def expire(context: Context, bar_ms: int) -> None:
    """Mark orders for ending whose ``bars_max`` has passed at this slot: what follows from it belongs to this slot."""
    for record in context.account.in_phase("open", "watched"):
        order = record.order
        if order.bars_max is None or context.slot < record.slot + order.bars_max * bar_ms:
            continue
        if record.phase == "open":
            if record.cancel is None:
                record.cancel, record.slot = "timeout", context.slot
        else:
            context.account.finish(record, "expired", "timeout")


def trigger_watched(context: Context, bars: Mapping[str, Bars]) -> None:
    """Plan the market orders of watched stops and take-profits that the newest bar has reached; siblings that lock the
    coins end first.
    """
    account = context.account
    for record in account.in_phase("watched"):
        order, watch = record.order, record.watch
        series = bars.get(order.symbol)
        if series is None or watch is None:
            continue
        low, high = float(series.low[-1]), float(series.high[-1])
        reached = stop_is_reached if watch.kind == "stop" else profit_is_reached
        if not reached(low, high, watch.price, order.side):
            continue
        for other in account.in_phase("open"):
            if other.order.symbol == order.symbol and other.order.reduce_only and other.order.side == order.side:
                other.cancel = other.cancel or "sibling_triggered"
        quantity = order.quantity
        if order.reduce_only:  # a part may have been sold since
            quantity = min(quantity, abs(context.tradable(order.symbol)))
        record.order = order.changed(kind="market", price=None, quantity=quantity)
        record.phase, record.slot = "planned", context.slot
        context.note("watched_order_triggered", order_id=order.order_id, kind=watch.kind, price=watch.price)


def _ready(context: Context, record: OrderRecord) -> None:
    """The record can go to the exchange, or is watched where the exchange cannot keep it."""
    order = record.order
    if order.kind == "market" or order.kind in context.exchange.capabilities.kinds:
        record.phase = "planned"
    else:
        record.phase, record.watch = "watched", Watch(order.kind, order.price or 0.0)
    planned(context.account, record)


def _unused_id(account: Account, order: Order, suffix: str) -> tuple[str, str]:
    """Return an id and a leg for what takes an order's place, that no other order has or had lately: ids are what an
    exchange is asked by. The first is ``<leg><suffix>``, as in a backtest.
    """
    number = 1
    while True:
        ending = suffix if number == 1 else f"{suffix}{number}"
        leg = order.leg[: LEG_LENGTH_MAX - len(ending)] + ending
        order_id = order.order_id.removesuffix(order.leg) + leg  # the leg is how an id ends
        if order_id not in account.records and order_id not in account.state.orders and order_id not in account.recent:
            return order_id, leg
        number += 1


def planned(account: Account, record: OrderRecord, *, instead_of: str = "") -> None:
    """Tell the journal of a record. What waits for a parent or a price is an open order to the strategy already, as in
    a backtest; what is to be sent becomes one when the exchange has it.
    """
    order = record.order
    facts = {"instead_of": instead_of} if instead_of else {}
    account.note({"event": "order_planned", "order": order.to_json(), "phase": record.phase, **facts})
    if order.order_id not in account.recent:
        account.recent.append(order.order_id)
        del account.recent[:-RECENT_IDS_MAX]
    if record.phase in ("waiting", "watched") and order.order_id not in account.state.orders:
        account.book(OrderPlaced(order))


def _covered_by_parts(context: Context, record: OrderRecord) -> int:
    """Units that the parts of a child which are placed already may yet trade."""
    order = record.order
    return sum(
        other.order.quantity - other.booked
        for other in context.account.records.values()
        if other.phase != "waiting"
        and (other.order.parent, other.order.kind, other.order.price) == (order.parent, order.kind, order.price)
    )


def _next_part(context: Context, record: OrderRecord, quantity: int) -> OrderRecord:
    """A part of a child under an id of its own."""
    order, child = record.order, record.child
    assert child is not None
    child.parts += 1
    order_id, leg = _unused_id(context.account, order, f"_{child.parts + 1}")
    return OrderRecord(order.changed(order_id=order_id, leg=leg, quantity=quantity), "planned", context.slot)
