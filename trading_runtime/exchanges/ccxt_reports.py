"""From ccxt's orders and trades to the port's reports, exactly; what makes no sense raises OddAnswer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from trading_runtime.core.state import Order
from trading_runtime.exchanges.dialect import Dialect
from trading_runtime.exchanges.port import Fee, OrderReport, Trade
from trading_runtime.exchanges.structures import OddAnswer, decimal_of, milliseconds_of, require_id, required, side_of


def report_of_ours(dialect: Dialect, parsed: Mapping[str, Any], order: Order) -> OrderReport:
    """Return the report of an order that was asked for by its client order id; raises OddAnswer when symbol or side
    are not the ones that were sent.
    """
    report = report_of(dialect, parsed, kind=order.kind)
    if report.symbol != order.symbol or report.side != order.side:
        raise OddAnswer(f"the order of {order.order_id} is another one: {report.symbol}, side {report.side}")
    return report._replace(client_order_id=order.order_id)


def report_of(dialect: Dialect, parsed: Mapping[str, Any], kind: str | None = None) -> OrderReport:
    """Return the report of any order of the account."""
    status = dialect.status(parsed)
    if status is None:
        raise OddAnswer(f"the status of an order is {str(parsed.get('status'))[:30]!r}")
    quantity, filled = required(parsed, "amount"), decimal_of(parsed.get("filled")) or Decimal(0)
    if filled > quantity or filled < 0:
        raise OddAnswer(f"{filled} of {quantity} are filled")
    price = decimal_of(parsed.get("triggerPrice")) or decimal_of(parsed.get("price"))
    return OrderReport(
        client_order_id=str(parsed.get("clientOrderId") or ""),
        exchange_order_id=require_id(parsed),
        symbol=str(parsed["symbol"]),
        side=side_of(parsed),
        kind=kind or dialect.kind(parsed),
        quantity=quantity,
        filled=filled,
        price=float(price) if price else None,
        status=status,
        reduce_only=bool(parsed.get("reduceOnly")),
        time_ms=milliseconds_of(parsed),
        reason="" if status in ("open", "filled") else dialect.reason(parsed),
    )


def trades_of(dialect: Dialect, parsed: Iterable[Mapping[str, Any]], client_order_id: str, symbol: str) -> list[Trade]:
    """Return trades, each once, in the order they happened; ``client_order_id`` is empty where nobody told it."""
    found: dict[str, Trade] = {}
    for one in parsed:
        trade_id = require_id(one)
        if one.get("symbol") != symbol:
            raise OddAnswer(f"trade {trade_id} is in {one.get('symbol')}")
        price = required(one, "price")
        found[trade_id] = Trade(
            trade_id=trade_id,
            sequence=int(trade_id) if trade_id.isdigit() else 0,
            client_order_id=client_order_id,
            exchange_order_id=str(one.get("order") or ""),
            symbol=symbol,
            side=side_of(one),
            quantity=required(one, "amount"),
            price=float(price),
            value=dialect.trade_value(one),
            fees=tuple(_fees(one)),
            time_ms=milliseconds_of(one),
            is_maker=one.get("takerOrMaker") == "maker",
        )
    return sorted(found.values(), key=lambda trade: (trade.time_ms, trade.sequence))


def _fees(parsed: Mapping[str, Any]) -> list[Fee]:
    """Return what a trade cost; ccxt tells one fee as ``fee`` and several as ``fees``, or the one in both."""
    told = parsed.get("fees") or [parsed.get("fee") or {}]
    fees = []
    for fee in told:
        amount = decimal_of(fee.get("cost"))
        if amount:
            if not fee.get("currency"):
                raise OddAnswer(f"the fee of trade {parsed['id']} has no asset")
            fees.append(Fee(str(fee["currency"]), amount))
    return fees
