"""Settling: asking the exchange what became of every order it may have, and booking the answer. Sends nothing.

    claimed  seen ─► open · asked after the request's validity window and not known ─► planned again, or dropped
    open     fills booked by trade id, in the order they happened · ended and all fills booked ─► gone

A timeout means unknown, not failed: what cannot be found out stays as it is, and its symbol is in quarantine until the
exchange has answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable
from trading_runtime.cycle.account import OrderRecord
from trading_runtime.cycle.brackets import MAKES_ROOM, fall_back, watch_rest
from trading_runtime.cycle.context import FORGOTTEN_MS, VISIBILITY_MS, Context
from trading_runtime.cycle.suspended import stopped
from trading_runtime.exchanges.port import OrderReport, Trade


def settle(context: Context) -> None:
    """Bring the book up to date with the exchange. Raises ExchangeUnavailable when it cannot be asked at all."""
    account = context.account
    claimed = account.in_phase("claimed")
    for record in claimed:
        find_out(context, record)
    if claimed:
        context.keeper.save()  # what was found out is kept, even if the next question is not answered
    refresh(context, account.in_phase("open"))
    for symbol, instrument in context.instruments.items():
        is_told = symbol in account.funding_since and symbol not in stopped(context.suspended)
        if instrument.kind == "perpetual" and is_told:
            context.booker.fund(account, symbol, account.funding_since[symbol])
    judge_quarantine(context)
    if account.unjournaled:
        context.keeper.save()


def find_out(context: Context, record: OrderRecord) -> bool:
    """Ask until it is certain whether the exchange has a claimed order. Returns False when it is not certain in the
    time there is; True leaves the record ``open`` or, if the exchange has no such order, ``planned``.
    """
    claim, window = record.claim, context.exchange.capabilities.validity_window_ms
    assert claim is not None
    waited = 0.0
    certain_ms = claim.stamp_ms + (FORGOTTEN_MS if window is None else window + VISIBILITY_MS)
    while True:
        asked_ms = context.exchange.server_time_ms()
        try:
            report = context.exchange.order(record.order)
        except (ExchangeUnavailable, ConfigurationError) as error:
            if isinstance(error, ConfigurationError) and record.order.symbol not in context.suspended:
                raise
            context.note("order_not_answered", order_id=record.order.order_id, detail=str(error))
            return False
        if report is not None:
            context.booker.see(context.account, record, report)
            return True
        if asked_ms > certain_ms:
            record.phase, record.claim = "planned", None
            context.account.note({"event": "order_not_there", "order_id": record.order.order_id})
            return True
        limit = context.patience.confirm_seconds
        if waited >= limit or window is None:
            return False
        pause = min(max((certain_ms - asked_ms) / 1000.0, 0.05), context.patience.pause_seconds * 4.0, limit)
        context.clock.sleep(pause)
        waited += pause


def refresh(context: Context, records: Sequence[OrderRecord]) -> bool:
    """Ask for each order, book new fills across all of them in the order they happened, take out what is finished.
    Returns whether every order was answered, with all the fills it says it has.
    """
    account, exchange, booker = context.account, context.exchange, context.booker
    reports: list[tuple[OrderRecord, OrderReport]] = []
    is_complete = True
    waiting = list(records)
    while waiting:
        record = waiting.pop(0)
        try:
            report = exchange.order(record.order)
            is_gone = report is None and _is_forgotten(context, record)
        except (ExchangeUnavailable, ConfigurationError) as error:
            if record.order.symbol not in context.suspended:
                raise
            # Of a market that is gone an exchange may not even tell orders: all other symbols go on.
            context.note("order_not_answered", order_id=record.order.order_id, detail=str(error))
            report, is_gone = None, False
        if report is None:
            if not is_gone:
                context.missing.add(record.order.order_id)
                is_complete = False
            continue
        context.missing.discard(record.order.order_id)
        booker.see(account, record, report)
        reports.append((record, report))
        successor = report.successor
        if successor is not None and successor.order_id not in account.records:
            following = OrderRecord(successor, "claimed", record.slot)
            account.records[successor.order_id] = following
            waiting.append(following)
    trades: list[Trade] = []
    for record, report in reports:
        if not record.is_booked:
            trades += exchange.trades(report)
    owners = {record.exchange_order_id: record for record, _ in reports}
    booker.book_trades(account, trades, owners)
    for record, report in sorted(reports, key=lambda pair: pair[1].time_ms):
        if booker.finished(account, record, report):
            _go_on(context, record, record.cancel or report.reason)
        elif report.status != "open":
            is_complete = False
    return is_complete


def _is_forgotten(context: Context, record: OrderRecord) -> bool:
    """Take out an order that the exchange had and does not know any more; False when that is not certain.

    Exchanges forget orders that ended without a fill (Binance USD-M after three days). It is over when its cancel was
    answered, or when it is long past and is not among the open ones; its fills are then all there will be.
    """
    account, exchange, order = context.account, context.exchange, record.order
    since_ms = order.slot if record.claim is None else record.claim.stamp_ms
    age_ms = exchange.server_time_ms() - since_ms
    window_ms = exchange.capabilities.validity_window_ms or 0
    was_cancelled = order.order_id in context.cancelled and age_ms > window_ms + VISIBILITY_MS
    if not was_cancelled and age_ms <= FORGOTTEN_MS:
        return False
    if any(one.client_order_id == order.order_id for one in exchange.open_orders([order.symbol])):
        return False
    trades = exchange.trades_since(order.symbol, since_ms)
    own = [trade for trade in trades if trade.exchange_order_id == record.exchange_order_id]
    context.booker.book_trades(account, own, {record.exchange_order_id: record})
    if not record.is_booked:
        return False
    context.note("order_forgotten", order_id=order.order_id, detail="the exchange does not know it any more")
    account.finish(record, "cancelled", record.cancel or "not_shown")
    _go_on(context, record, record.cancel or "")
    return True


def _go_on(context: Context, record: OrderRecord, reason: str) -> None:
    """What follows from an order that has ended short of its quantity."""
    if record.booked >= record.order.quantity or context.exchange.capabilities.keeps_brackets:
        return
    if reason == MAKES_ROOM:
        watch_rest(context, record)
    else:
        fall_back(context, record, reason)


def judge_quarantine(context: Context) -> None:
    """Symbols with an order of unknown fate take no new risk; the others are free again."""
    account = context.account
    found: dict[str, str] = {}
    for record in account.records.values():
        order = record.order
        if record.phase == "claimed":
            found[order.symbol] = f"the fate of order {order.order_id} is unknown"
        elif order.order_id in context.missing:
            found[order.symbol] = f"the exchange does not show order {order.order_id}, which it had accepted"
        elif record.phase == "open" and not record.is_booked:
            found[order.symbol] = f"the exchange has not shown all fills of order {order.order_id} yet"
    for symbol in sorted(set(found) | set(account.quarantine)):
        if found.get(symbol) != account.quarantine.get(symbol):
            account.note({"event": "quarantine", "symbol": symbol, "reason": found.get(symbol)})
    account.quarantine = found
