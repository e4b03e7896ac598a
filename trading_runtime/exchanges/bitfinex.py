"""Bitfinex: spot. Its requests carry no validity window, and client order ids are numbers of at most 45 bits.

Facts are from Bitfinex's REST v2 documentation ("Submit order", "Retrieve orders", "Orders history", "Trades", error
codes in "Abbreviations glossary"). Its refusals come with HTTP 500 and a list, ``["error", code, text]``, and the
texts of order states say more than ccxt reads from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from trading_runtime.core.errors import ExchangeUnavailable
from trading_runtime.core.state import Order
from trading_runtime.exchanges.answers import Answer, Word
from trading_runtime.exchanges.dialect import Dialect
from trading_runtime.exchanges.port import Status
from trading_runtime.exchanges.structures import OddAnswer, decimal_of

CLIENT_ID_BITS = 45
_POST_ONLY_ENDED = "POSTONLY"
_PRICE_DIGITS = 5  # "Price precision": all prices have at most five significant digits

_WORDS: dict[int, Word] = {
    10100: "credentials",
    10111: "credentials",
    10112: "credentials",
    10113: "credentials",
    10114: "too_late",  # the nonce is not greater than the last one: the request was not looked at
    11010: "rate_limit",
}
_TEXTS: tuple[tuple[str, Word], ...] = (
    ("api_key: permission invalid", "credentials"),
    ("apikey: ", "credentials"),
    ("not enough", "funds"),
    ("available balance is only", "funds"),
    ("minimum size", "filters"),
    ("maximum size", "filters"),
    ("order not found", "unknown_order"),
    ("invalid order:", "rejected"),
    ("symbol: invalid", "rejected"),
)


class Bitfinex(Dialect):
    """Bitfinex spot ("exchange" wallet and orders)."""

    all_open_orders: bool = True
    kinds: frozenset[str] = frozenset({"limit", "stop"})
    rows_max: int = 1000
    burst_seconds: float = 20.0  # limits are counted by the minute for each endpoint; ccxt counts all together

    def word(self, answer: Answer, error: Exception) -> Word | None:
        """Return the meaning of a refusal, whatever its HTTP status: 500 is the usual one."""
        code, text = _refusal(answer.content)
        if text is None:
            return None
        return _WORDS.get(code or 0) or next((word for part, word in _TEXTS if part in text), None)

    def status(self, parsed: Mapping[str, Any]) -> Status | None:
        """Read the text: ``EXECUTED @ 107.6(-0.2)``, ``CANCELED was: PARTIALLY FILLED @ ..``, ``POSTONLY CANCELED``."""
        text = _state(parsed)
        if text.startswith(("ACTIVE", "PARTIALLY FILLED")):
            return "open"
        if text.startswith("EXECUTED"):
            return "filled"
        if text.startswith(("RSN_", _POST_ONLY_ENDED)):
            return "rejected"
        return "cancelled" if "CANCELED" in text or text.startswith("INSUFFICIENT") else None

    def reason(self, parsed: Mapping[str, Any]) -> str:
        text = _state(parsed)
        return "post_only" if text.startswith(_POST_ONLY_ENDED) else text[:60]

    def client_id(self, order: Order) -> str:
        return str(client_number(order.order_id))

    def order_parameters(self, order: Order, price: str | None, stamp_ms: int, window_ms: int | None) -> dict[str, Any]:
        parameters = super().order_parameters(order, price, stamp_ms, window_ms)
        parameters["clientOrderId"] = client_number(order.order_id)
        if "stopLossPrice" in parameters:
            parameters["triggerPrice"] = parameters.pop("stopLossPrice")
        return parameters

    def find(self, client: Any, order: Order) -> Mapping[str, Any] | None:
        """Return the order of a client number among open and ended orders of its symbol since its slot; which day it
        was counted on does not matter then.
        """
        found = super().find(client, order)
        if found is not None and str(found.get("symbol")) != order.symbol:
            raise OddAnswer(f"the order of {order.order_id} is in another market")
        return found

    def open_orders(self, client: Any, symbols: Sequence[str]) -> list[Mapping[str, Any]]:
        return list(client.fetch_open_orders())

    def trades_page(
        self, client: Any, symbol: str, since_ms: int, until_ms: int, after_id: str | None
    ) -> list[Mapping[str, Any]]:
        return list(client.fetch_my_trades(symbol, since_ms, self.rows_max, {"end": until_ms, "sort": 1}))

    def tick(self, client: Any, market: Mapping[str, Any]) -> Decimal | None:
        """Return the step of prices as high as the last one; it is ten times as wide from the next power of ten on."""
        last = decimal_of(client.fetch_ticker(market["symbol"]).get("last"))
        if not last or last < 0:
            raise ExchangeUnavailable(
                f"{self.exchange_id}: {market['symbol']} has no last price, hence no step of prices"
            )
        return Decimal(1).scaleb(max(last.adjusted() - _PRICE_DIGITS + 1, -8))

    def lot(self, client: Any, market: Mapping[str, Any]) -> Decimal | None:
        return Decimal("0.00000001")


def client_number(order_id: str) -> int:
    """Return a client order id's 45-bit number: from its SHA-256, never 0.

    It must be unique within a UTC day. Of n orders a day, two share a number with odds of about n² / 7·10¹³: for a
    thousand orders a day once in 190,000 years. The second of the two would be taken for the first.
    """
    digest = hashlib.sha256(order_id.encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    return number % ((1 << CLIENT_ID_BITS) - 1) + 1


def _state(parsed: Mapping[str, Any]) -> str:
    """Return the text of an order's state; raises OddAnswer where there is none."""
    info = parsed.get("info")
    if not isinstance(info, list) or len(info) < 14:
        raise OddAnswer("an order without a state")
    return str(info[13])


def _refusal(content: Any) -> tuple[int | None, str | None]:
    """Return code and text of ``["error", code, text]`` or of a notification ``[.., "ERROR", text]``."""
    if isinstance(content, list) and len(content) == 3 and content[0] == "error":
        code = content[1] if isinstance(content[1], int) else None
        return code, str(content[2]).lower()
    if isinstance(content, list) and len(content) >= 8 and content[6] in ("ERROR", "FAILURE"):
        code = content[5] if isinstance(content[5], int) else None
        return code, str(content[7]).lower()
    return None, None
