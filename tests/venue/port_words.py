"""The port's words and the venue's: orders, reports, trades, instruments and refusals translated, nothing decided."""

from __future__ import annotations

from decimal import Decimal
from typing import NoReturn

from trading_runtime.core.errors import ConfigurationError, FateUnknown
from trading_runtime.core.instruments import Instrument, decimal_text, make_rules
from trading_runtime.core.state import Order
from trading_runtime.exchanges.port import Fee, NotPlaced, OrderReport, Status, Trade

from .faults import Fate
from .market import UNIT, VenueMarket
from .orders import CONDITIONAL_KINDS, STOP_KINDS, NewOrder, VenueError, VenueOrder, VenueTrade

_STATUSES: dict[str, Status] = {
    "NEW": "open",
    "PARTIALLY_FILLED": "open",
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "EXPIRED": "expired",
    "REJECTED": "rejected",
}
_KINDS = {
    ("market", False): "MARKET", ("market", True): "MARKET",
    ("limit", False): "LIMIT", ("limit", True): "LIMIT",
    ("stop", False): "STOP_LOSS", ("stop", True): "STOP_MARKET",
    ("take_profit", False): "TAKE_PROFIT", ("take_profit", True): "TAKE_PROFIT_MARKET",
}  # fmt: skip


def new_order_of(order: Order, fate: Fate, *, is_perpetual: bool) -> NewOrder:
    """Return the order in the venue's words, with what its fate makes of it."""
    price = None if order.price is None else Decimal(repr(order.price))
    kind, limit_price, stop_price, time_in_force = _KINDS[order.kind, is_perpetual], None, None, "GTC"
    if order.kind == "limit":
        limit_price, time_in_force = price, order.time_in_force.upper()
        if order.post_only:
            kind, time_in_force = ("LIMIT", "GTX") if is_perpetual else ("LIMIT_MAKER", "GTC")
    elif order.kind != "market":
        stop_price = price
    return NewOrder(
        order.symbol, order.side, kind, order.quantity * UNIT, order.order_id, limit_price, stop_price, time_in_force,
        order.reduce_only and is_perpetual, fate.fractions, fate.rest_expires, fate.invisible_ms, fate.trades_late_ms,
    )  # fmt: skip


def instrument_of(market: VenueMarket) -> Instrument:
    return Instrument(
        market.symbol,
        "perpetual" if market.is_perpetual else "spot",
        market.base,
        market.quote,
        UNIT,
        UNIT,
        (
            make_rules(
                quantity_unit=UNIT,
                quote_unit=UNIT,
                tick=decimal_text(market.tick),
                lot=decimal_text(market.lot),
                quantity_minimum=decimal_text(market.quantity_minimum),
                quantity_maximum=decimal_text(market.quantity_maximum),
                notional_minimum=decimal_text(market.notional_minimum),
                maker_fee_rate=float(market.maker_fee_rate),
                taker_fee_rate=float(market.taker_fee_rate),
            ),
        ),
    )


def report_of(order: VenueOrder) -> OrderReport:
    """What the venue says of an order; a triggered conditional one is told together with the order it sent."""
    acting = order.spawned or order
    if order.kind in CONDITIONAL_KINDS:
        kind = "stop" if order.kind in STOP_KINDS else "take_profit"
    else:
        kind = "market" if order.kind == "MARKET" else "limit"
    price = order.stop_price if order.stop_price is not None else order.price
    return OrderReport(
        order.client_id, str(order.order_id), order.symbol, order.side, kind, order.quantity, acting.executed,
        None if price is None else float(price), _STATUSES[acting.status], order.reduce_only, order.time_ms,
        "" if acting.is_open or acting.status == "FILLED" else acting.status,
    )  # fmt: skip


def trade_of(trade: VenueTrade) -> Trade:
    order = trade.order.parent or trade.order
    fees = (Fee(trade.commission_asset, trade.commission),) if trade.commission else ()
    return Trade(
        str(trade.trade_id), trade.trade_id, order.client_id, str(order.order_id), order.symbol, order.side,
        trade.quantity, float(trade.price), trade.value, fees, trade.time_ms, trade.is_maker,
    )  # fmt: skip


_FILTER_CODES = frozenset((-1013, -1111, -4001, -4002, -4003, -4004, -4005, -4013, -4014, -4023, -4164))
_REFUSED_CODES = frozenset((-1102, -1106, -1115, -1116, -1121, -2021, -2022, -5021))
_UNKNOWN_CODES = frozenset((-1000, -1001, -1006, -1007, -1008))


def raise_not_placed(rejection: VenueError, order: Order) -> NoReturn:
    """Raise what a refusal of an order means: certain only where the code says so."""
    code, what = rejection.code, f"{order.symbol}: order {order.order_id}: {rejection.status} {rejection}"
    if code in (-2014, -2015, -1022):
        raise ConfigurationError(f"the venue refuses the credentials: {rejection.message}") from None
    if rejection.status in (418, 429):
        raise NotPlaced("rate_limit", what, retry_seconds=rejection.retry_seconds) from None
    if rejection.status >= 500 or code in _UNKNOWN_CODES:
        raise FateUnknown(what) from None
    reason = None
    if code == -1021:
        reason = "too_late"
    elif code == -1015:
        reason = "rate_limit"
    elif code == -2010:
        reason = next((word for text, word in _REASONS if text in rejection.message), "rejected")
    elif code == -4116:
        reason = "duplicate"
    elif code == -2019:
        reason = "funds"
    elif code == -5022:
        reason = "post_only"
    elif code in _FILTER_CODES:
        reason = "filters"
    elif code in _REFUSED_CODES:
        reason = "rejected"
    if reason is None:
        raise FateUnknown(what) from None
    raise NotPlaced(reason, what) from None


_EARN_REASONS = {
    -6001: "rejected", -6003: "rejected", -6004: "rejected", -6007: "rejected", -6008: "rejected",
    -6005: "filters", -6006: "funds", -6012: "funds", -6018: "funds",
    -6009: "rate_limit", -1021: "too_late", -1111: "filters", -1102: "rejected",
}  # fmt: skip


def raise_not_moved(rejection: VenueError, what: str) -> NoReturn:
    """Raise what a refusal to move money into savings, or out of them, means."""
    text = f"{what}: {rejection.status} {rejection}"
    if rejection.code in (-2014, -2015, -1022):
        raise ConfigurationError(f"the venue refuses the credentials: {rejection.message}") from None
    if rejection.status in (418, 429):
        raise NotPlaced("rate_limit", text, retry_seconds=rejection.retry_seconds) from None
    reason = _EARN_REASONS.get(rejection.code) if rejection.status < 500 else None
    if reason is None:
        raise FateUnknown(text) from None
    raise NotPlaced(reason, text) from None


_REASONS = (("Duplicate", "duplicate"), ("insufficient", "funds"), ("immediately match", "post_only"))
