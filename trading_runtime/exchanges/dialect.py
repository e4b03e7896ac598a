"""Dialects: what an exchange has of its own behind ccxt's common tongue. This one knows nothing in particular.

A dialect says which words an answer stands for, how an order is written and found again, and how account data that
ccxt simplifies are read. It holds no connection and asks nothing by itself: methods that need an answer are given the
client. A further exchange works as far as ccxt's unified methods go; what it does better belongs into a file like
``binance.py``.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from decimal import Decimal
from typing import Any

from trading_runtime.core.errors import ExchangeUnavailable
from trading_runtime.core.state import Order
from trading_runtime.exchanges.answers import Answer, Word
from trading_runtime.exchanges.port import Balance, FundingPayment, OrderReport, Status
from trading_runtime.exchanges.structures import decimal_of, milliseconds_of, require_id, required, signed_quantity

# Orders are looked for from this long before their slot: an exchange's clock may lag behind a bar's close.
_BEFORE_SLOT_MS = 60_000
_ROWS_MAX = 500
_STATUSES: dict[str, Status] = {
    "open": "open",
    "canceling": "open",
    "canceled": "cancelled",
    "expired": "expired",
    "rejected": "rejected",
}


class Dialect:
    """An exchange without facts of its own: no validity window, limit orders only, refusals as ccxt classes them.

    supports_contracts   whether perpetuals may be traded there: it needs facts that ccxt does not unify
    trade_window_ms      the longest period one question about trades or funding may span; None: any
    rows_max             how many trades, payments or candles one answer holds
    burst_seconds        how much of its long-run allowance of requests may be used at once
    has_savings          whether money that is not needed can be kept in flexible savings (``binance_savings``)
    """

    supports_contracts: bool = False
    has_validity_window: bool = False
    all_open_orders: bool = False
    kinds: frozenset[str] = frozenset({"limit"})
    trade_window_ms: int | None = None
    rows_max: int = _ROWS_MAX
    burst_seconds: float = 0.5
    has_savings: bool = False

    def __init__(self, exchange_id: str, is_contract: bool) -> None:
        self.exchange_id = exchange_id
        self.is_contract = is_contract

    # Opening

    def options(self) -> dict[str, Any]:
        """Return ccxt options to set."""
        return {}

    def enter_sandbox(self, client: Any) -> None:
        """Turn to the exchange's test system; raises a ccxt error when there is none."""
        if not client.urls.get("test"):
            import ccxt

            raise ccxt.NotSupported("no test system")
        client.set_sandbox_mode(True)

    def market_parameters(self, symbols: Sequence[str]) -> dict[str, Any]:
        """Return what limits the list of markets to ``symbols``; empty where it always comes whole."""
        return {}

    def kinds_of(self, market: Mapping[str, Any]) -> frozenset[str]:
        """Return the kinds of orders that may rest in one market."""
        return self.kinds

    # Answers

    def word(self, answer: Answer, error: Exception) -> Word | None:
        """Return what an answer certainly means; of a plain refusal only what ccxt's class says beyond doubt."""
        if not 400 <= answer.status < 500:
            return None
        import ccxt

        table: tuple[tuple[type[Exception], Word], ...] = (
            (ccxt.OrderNotFound, "unknown_order"),
            (ccxt.InsufficientFunds, "funds"),
            (ccxt.AuthenticationError, "credentials"),
            (ccxt.DuplicateOrderId, "duplicate"),
            (ccxt.OrderImmediatelyFillable, "post_only"),
        )
        return next((word for kind, word in table if isinstance(error, kind)), None)

    def status(self, parsed: Mapping[str, Any]) -> Status | None:
        """Return the status of a parsed order; None for one that we do not understand.

        ``closed`` is filled only when all of it is: ccxt calls an order closed for other reasons, too.
        """
        word = parsed.get("status")
        if word == "closed":
            amount, filled = decimal_of(parsed.get("amount")), decimal_of(parsed.get("filled"))
            return "filled" if amount is not None and filled is not None and filled >= amount else "cancelled"
        return _STATUSES.get(str(word))

    def reason(self, parsed: Mapping[str, Any]) -> str:
        """Return why an order has ended, in the exchange's word; ``post_only`` where it would have taken."""
        return str(parsed.get("status") or "")[:60]

    def kind(self, parsed: Mapping[str, Any]) -> str:
        """Return the kind of an order that is not known to be one of ours."""
        if parsed.get("triggerPrice") is not None:
            return "stop"
        return "market" if parsed.get("type") == "market" else "limit"

    # Orders

    def client_id(self, order: Order) -> str:
        """Return the client order id as the exchange will tell it."""
        return order.order_id

    def order_parameters(self, order: Order, price: str | None, stamp_ms: int, window_ms: int | None) -> dict[str, Any]:
        """Return ccxt's extra parameters of one order; ``price`` is its limit or trigger."""
        parameters: dict[str, Any] = {"clientOrderId": self.client_id(order)}
        if order.kind == "limit":
            if order.post_only:
                parameters["postOnly"] = True  # and no time in force: it would override the one that means post-only
            else:
                parameters["timeInForce"] = order.time_in_force.upper()
        elif order.kind == "stop":
            parameters["stopLossPrice"] = price
        elif order.kind == "take_profit":
            parameters["takeProfitPrice"] = price
        if order.reduce_only and self.is_contract:
            parameters["reduceOnly"] = True
        return parameters

    def find(self, client: Any, order: Order) -> Mapping[str, Any] | None:
        """Return the parsed order of a client order id, None when the exchange certainly does not know it.

        Open orders first, then those that have ended: an order that ends in between is seen by the second question.
        """
        wanted = self.client_id(order)
        for parsed in client.fetch_open_orders(order.symbol):
            if str(parsed.get("clientOrderId")) == wanted:
                return dict(parsed)
        since_ms = order.slot - _BEFORE_SLOT_MS
        lists = [client.fetch_closed_orders]
        if client.has.get("fetchCanceledOrders") is True:  # then they are not among the closed ones
            lists.append(client.fetch_canceled_orders)
        for fetch in lists:
            ended = fetch(order.symbol, since_ms, self.rows_max)
            for parsed in ended:
                if str(parsed.get("clientOrderId")) == wanted:
                    return dict(parsed)
            if len(ended) >= self.rows_max:
                raise ExchangeUnavailable(
                    f"{self.exchange_id}: {order.symbol} has too many ended orders to rule out {order.order_id}"
                )
        return None

    def cancel(self, client: Any, order: Order, exchange_order_id: str, stamp_ms: int, window_ms: int | None) -> None:
        """Ask to end an order: one request. Raises OddAnswer when the answer is about no order."""
        require_id(client.cancel_order(exchange_order_id, order.symbol))

    @property
    def cancels_by_client_id(self) -> bool:
        """Whether ``cancel`` works without the exchange's own id of the order."""
        return False

    def open_orders(self, client: Any, symbols: Sequence[str]) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for symbol in symbols:
            found += client.fetch_open_orders(symbol)
        return found

    # Account

    def has_trades(self, report: OrderReport) -> bool:
        """Whether trades can be asked for by the id in a report of an order that has not filled."""
        return True

    def order_trades(self, client: Any, exchange_order_id: str, symbol: str) -> list[Mapping[str, Any]]:
        """Return the parsed trades of one order."""
        return list(client.fetch_order_trades(exchange_order_id, symbol))

    def trades_page(
        self, client: Any, symbol: str, since_ms: int, until_ms: int, after_id: str | None
    ) -> list[Mapping[str, Any]]:
        """Return parsed trades from ``since_ms`` on, oldest first; ``after_id`` is the last one known already."""
        return list(client.fetch_my_trades(symbol, since_ms, self.rows_max))

    def trade_value(self, parsed: Mapping[str, Any]) -> Decimal:
        """Return a trade's exact value in quote money."""
        told = decimal_of(parsed.get("cost"))
        if told is not None and not self.is_contract:
            return told
        return required(parsed, "price") * required(parsed, "amount")

    def balances(self, parsed: Mapping[str, Any], coins: Container[str]) -> dict[str, Balance]:
        """Return the balances of ccxt's structure that are not zero; ``coins`` are those of the markets known here."""
        found: dict[str, Balance] = {}
        totals = parsed.get("total") or {}
        for asset in sorted(totals):
            total = decimal_of(totals[asset])
            free = decimal_of((parsed.get("free") or {}).get(asset))
            if total:
                found[asset] = Balance(total if free is None else free, total)
        return found

    def position(self, parsed: Mapping[str, Any]) -> Decimal:
        """Return the signed quantity of a parsed position."""
        return signed_quantity(parsed)

    def funding_page(self, client: Any, symbol: str, since_ms: int, until_ms: int) -> list[FundingPayment]:
        """Return funding payments of a perpetual, oldest first."""
        payments = client.fetch_funding_history(symbol, since_ms, self.rows_max, {"until": until_ms})
        return [
            FundingPayment(str(one["id"]), symbol, -required(one, "amount"), milliseconds_of(one)) for one in payments
        ]

    # Prices

    def key_rights(self, client: Any) -> dict[str, bool | None]:
        """Return what the exchange tells of the key: ``trade_spot``, ``trade_futures``, ``withdraw``, ``is_bound`` (to
        addresses); None where it does not tell.
        """
        return dict.fromkeys(("trade_spot", "trade_futures", "withdraw", "is_bound"))

    def last_price(self, client: Any, symbol: str) -> float | None:
        """Return the price of the last trade, None when the exchange has no such market."""
        if symbol not in client.markets:
            return None
        last = decimal_of(client.fetch_ticker(symbol).get("last"))
        return None if last is None or last <= 0 else float(last)

    def tick(self, client: Any, market: Mapping[str, Any]) -> Decimal | None:
        """Return the step of prices, None when the exchange does not tell one."""
        import ccxt

        value = decimal_of((market.get("precision") or {}).get("price"))
        return _step(value, client.precisionMode == ccxt.TICK_SIZE)

    def lot(self, client: Any, market: Mapping[str, Any]) -> Decimal | None:
        """Return the step of quantities, None when the exchange does not tell one."""
        import ccxt

        value = decimal_of((market.get("precision") or {}).get("amount"))
        return _step(value, client.precisionMode == ccxt.TICK_SIZE)


def _step(value: Decimal | None, is_step: bool) -> Decimal | None:
    """Return a step from ccxt's precision, which is the step itself or a number of decimals."""
    if value is None:
        return None
    return value if is_step else Decimal(1).scaleb(-int(value))
