"""Placement: from saved intents to orders at the exchange, none twice, none forgotten.

    saved plan ─► claim (compare-and-set) ─► send, stamped with the claim's time ─► confirm by asking ─► apply ─► save

Each record is claimed, sent and confirmed before the next. A process that pauses between claim and send sends a stamp
that the exchange refuses; one that has lost the lease, or finds the document changed, stops before it sends. Nothing
is sent a second time before the exchange, asked later than the request's validity window, has said that it does not
know the order. Cancels come first, and before one is believed the order's last fills are booked.
"""

from __future__ import annotations

from collections.abc import Sequence

from trading_runtime.core.errors import ExchangeUnavailable, FateUnknown
from trading_runtime.core.state import Order
from trading_runtime.cycle.account import Child, Claim, OrderRecord, Watch
from trading_runtime.cycle.brackets import (
    activate_children,
    coins_missing,
    end_what_reduces_nothing,
    fall_back,
    mark_to_make_room,
    planned,
)
from trading_runtime.cycle.context import ATTEMPTS_MAX, Context
from trading_runtime.cycle.settle import find_out, judge_quarantine, refresh
from trading_runtime.cycle.treasury import make_room_for
from trading_runtime.exchanges.port import NotPlaced

RATE_LIMIT_SECONDS_MAX = 30.0


def place_all(context: Context) -> None:
    """Work off every cancel and every planned record, and what follows from their fills, until nothing is left that
    can be done now.
    """
    account = context.account
    tried: set[str] = set()
    while True:
        for record in account.in_phase("open"):
            if record.cancel is not None and record.order.order_id not in tried:
                tried.add(record.order.order_id)
                if record.order.symbol not in context.suspended:  # a market that does not trade ends no order either
                    _end(context, record)
        if not context.exchange.capabilities.keeps_brackets:
            activate_children(context)
            end_what_reduces_nothing(context)
        following = next((one for one in account.in_phase("planned") if _may_go(context, one, tried)), None)
        if following is not None:
            tried.add(following.order.order_id)
            if not _place(context, following):
                tried.update(one.order.order_id for one in account.in_phase("planned"))
        elif not any(one.cancel and one.order.order_id not in tried for one in account.in_phase("open")):
            break
    judge_quarantine(context)
    if account.unjournaled:
        context.keeper.save()


def drop_what_is_late(context: Context, *, is_risk_allowed: bool) -> None:
    """Give up planned records that would open risk where that is not allowed (any more), or whose slot has passed.
    What still reduces stays to be sent.
    """
    account = context.account
    context.is_risk_allowed = is_risk_allowed
    for record in account.in_phase("planned"):
        order = record.order
        if _reduces(context, order) or (is_risk_allowed and record.slot == context.slot):
            continue
        reason = "slot_passed" if record.slot != context.slot else "risk_not_allowed"
        context.note("order_dropped", order_id=order.order_id, reason=reason)
        account.finish(record, "rejected", reason)
    if account.unjournaled:
        context.keeper.save()


def _reduces(context: Context, order: Order) -> bool:
    """Whether the order as a whole only shrinks what is held right now."""
    held = context.account.state.quantity(order.symbol)
    return held * order.side < 0 and order.quantity <= abs(held)


def _may_go(context: Context, record: OrderRecord, tried: set[str]) -> bool:
    """Whether a planned record may be sent now: not tried yet, and what it replaces is gone."""
    order = record.order
    if order.order_id in tried:
        return False
    return not any(
        other is not record and other.order.symbol == order.symbol and other.order.leg == order.leg
        for other in context.account.in_phase("open", "claimed")
    )


def _place(context: Context, record: OrderRecord) -> bool:
    """Claim, send and confirm one order. Returns False when nothing more should be sent for now."""
    keeper, exchange, order = context.keeper, context.exchange, record.order
    account = context.account
    if order.symbol in context.suspended:
        if not _watch_instead(record):  # what protects waits for the market
            context.note("order_dropped", order_id=order.order_id, reason="not_traded")
            account.finish(record, "rejected", "not_traded")
        return True
    is_free = context.is_risk_allowed and order.symbol not in context.distrusted
    opens_risk = not order.reduce_only and not _reduces(context, order)
    if opens_risk and is_free and context.control is not None:
        # A cycle may take minutes: a person's halt acts on what is left of it.
        is_free = context.is_risk_allowed = context.control.read(context.clock.now_ms()).allows_risk
    if opens_risk and not is_free:
        # What passed the gates at its own slot and comes to be sent at a later one (a child, a fallback, a trigger that
        # was watched) opens no risk that would not be allowed by now.
        context.note("order_dropped", order_id=order.order_id, reason="risk_not_allowed")
        account.finish(record, "rejected", "risk_not_allowed")
        return True
    if opens_risk and not make_room_for(context, order):
        return True
    if coins_missing(context, record):
        if _watch_instead(record):
            planned(account, record)
            return True  # its sibling has the coins
        for other in mark_to_make_room(context, record):
            _end(context, other)
        if coins_missing(context, record):
            context.note("order_waits", order_id=order.order_id, detail="resting orders still lock its coins")
            return True
    if record.attempts >= ATTEMPTS_MAX:
        context.note("order_rejected", order_id=order.order_id, detail=f"not placed in {ATTEMPTS_MAX} attempts")
        if not _watch_instead(record):
            account.finish(record, "rejected", "not_placed")
        return True
    keeper.hold()
    record.attempts += 1
    record.claim = Claim(exchange.server_time_ms(), record.attempts, keeper.token, keeper.holder)
    record.phase = "claimed"
    account.note({"event": "order_claimed", "order_id": order.order_id, **record.claim._asdict()})
    try:
        keeper.save()
    except BaseException:
        record.phase = "planned"  # whatever became of the write: this process will not send it
        raise
    context.sent += 1
    try:
        report = exchange.place(order, record.claim.stamp_ms)
    except NotPlaced as refused:
        return _not_placed(context, record, refused)
    except FateUnknown as unknown:
        context.note("order_fate_unknown", order_id=order.order_id, detail=str(unknown))
        return _after_doubt(context, record)
    context.booker.see(account, record, report)
    _confirm(context, record)
    keeper.save()
    return True


def _after_doubt(context: Context, record: OrderRecord) -> bool:
    """The answer to a send is missing: ask, and send again only what is certainly not there."""
    if not find_out(context, record):
        context.keeper.save()
        return True  # stays claimed: its symbol is in quarantine, the next cycle asks again
    if record.phase == "planned":
        context.keeper.save()
        return _place(context, record)
    _confirm(context, record)
    context.keeper.save()
    return True


def _not_placed(context: Context, record: OrderRecord, refused: NotPlaced) -> bool:
    """The exchange certainly does not have it: try again where that helps, else book the rejection."""
    account, order = context.account, record.order
    context.note("order_refused", order_id=order.order_id, reason=refused.reason, detail=str(refused))
    if refused.reason == "duplicate":
        return _after_doubt(context, record)
    record.claim, record.phase = None, "planned"
    if refused.reason in ("too_late", "rate_limit", "unreachable"):
        context.keeper.save()
        if refused.reason == "too_late":
            return _place(context, record)
        pause = refused.retry_seconds if refused.retry_seconds is not None else 1.0
        if pause > RATE_LIMIT_SECONDS_MAX or record.attempts >= ATTEMPTS_MAX:
            record.attempts = 0  # stays planned: the next run of this slot sends it
            context.keeper.save()
            return False
        context.clock.sleep(pause)
        return _place(context, record)
    if not _watch_instead(record):
        fall_back(context, record, refused.reason)
        account.finish(record, "rejected", refused.reason)
    context.keeper.save()
    return True


def _watch_instead(record: OrderRecord) -> bool:
    """Let the runtime watch a stop or take-profit that the exchange does not take: its coins are locked by a sibling,
    the price has passed its trigger, it does not know the kind, or it could not be reached. What protects a position is
    never lost. False for any other order.
    """
    order = record.order
    is_protection = order.reduce_only and order.kind in ("stop", "take_profit")
    if not is_protection and record.watch is None:
        return False
    record.phase, record.attempts = "watched", 0
    record.watch = record.watch or Watch(order.kind, order.price or 0.0)
    return True


def _confirm(context: Context, record: OrderRecord) -> None:
    """Ask until a market order is done and all its fills are booked; of others once is enough."""
    if context.exchange.capabilities.keeps_brackets:
        return
    order_id = record.order.order_id
    for _ in context.looks():
        try:
            refresh(context, [record])
        except ExchangeUnavailable as error:
            context.note("order_not_answered", order_id=order_id, detail=str(error))
        if order_id not in context.account.records:
            return
        if order_id not in context.missing and record.order.kind != "market" and record.is_booked:
            return


def _end(context: Context, record: OrderRecord) -> None:
    """Book what an open order has filled, save that it is to end, cancel it, ask what became of it and book that."""
    keeper, exchange, order = context.keeper, context.exchange, record.order
    if not exchange.capabilities.keeps_brackets:
        refresh(context, [record])
        if order.order_id not in context.account.records:
            keeper.save()
            return  # it had ended by itself
    keeper.save()  # whoever finds it cancelled later must know why
    keeper.hold()
    stamp_ms = exchange.server_time_ms()
    context.sent += 1
    try:
        exchange.cancel(order, stamp_ms)
    except FateUnknown as unknown:
        context.note("cancel_unknown", order_id=order.order_id, detail=str(unknown))
    except NotPlaced as refused:
        context.note("cancel_refused", order_id=order.order_id, detail=str(refused))
    else:
        context.cancelled.add(order.order_id)
    for _ in context.looks():
        try:
            refresh(context, [record])
        except ExchangeUnavailable as error:
            context.note("order_not_answered", order_id=order.order_id, detail=str(error))
        if order.order_id not in context.account.records:
            break
    keeper.save()


def plan(context: Context, orders: Sequence[Order]) -> None:
    """Add orders to the document as planned; children of an order wait where the exchange does not keep them."""
    account = context.account
    keeps = context.exchange.capabilities.keeps_brackets
    for order in orders:
        record = OrderRecord(order, "planned", context.slot)
        if order.parent is not None and not keeps:
            record.phase = "waiting"
            record.child = Child(account.records[order.parent].order.quantity)
        elif order.kind != "market" and order.kind not in context.exchange.capabilities.kinds:
            record.phase = "watched"
            record.watch = Watch(order.kind, order.price or 0.0)
        account.records[order.order_id] = record
        planned(account, record)
