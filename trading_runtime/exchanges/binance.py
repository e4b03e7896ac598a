"""Binance: spot (``binance``) and USD-M perpetuals (``binanceusdm``).

Facts are from Binance's REST documentation: "Error codes" and "Timing security" of spot and USD-M futures, "Filters",
"Account trade list", "Get income history", "New algo order". Conditional orders of perpetuals live in a book of their
own (algo orders): once triggered they send an ordinary order, whose id, fills and status are what counts.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from decimal import Decimal
from typing import Any

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable
from trading_runtime.core.instruments import split_symbol
from trading_runtime.core.state import Order
from trading_runtime.exchanges.answers import Answer, Word
from trading_runtime.exchanges.dialect import Dialect
from trading_runtime.exchanges.port import Balance, OrderReport, Status
from trading_runtime.exchanges.structures import OddAnswer, require_id, required

DAY_MS = 24 * 60 * 60_000
# recvWindow may not be longer ("Timing security").
WINDOW_MS_MAX = 60_000

# Only what is certainly not accepted. Left out on purpose, hence doubt: -1000 unknown, -1001 disconnected, -1006
# unexpected response, -1007 timeout ("execution status unknown"), -1008 overloaded.
_WORDS: dict[int, Word] = {
    -1002: "credentials",  # unauthorised
    -1022: "credentials",  # signature
    -2014: "credentials",  # key format
    -2015: "credentials",  # key, address or permission
    -4061: "credentials",  # the account is in hedge mode: a setting of the account that a person must change
    -1003: "rate_limit",
    -1015: "rate_limit",  # too many orders
    -1021: "too_late",  # outside of recvWindow
    -5028: "too_late",  # the same, found by the matching engine
    -1013: "filters",
    -1111: "filters",  # precision
    -4001: "filters", -4002: "filters", -4003: "filters", -4004: "filters", -4005: "filters",
    -4013: "filters", -4014: "filters", -4016: "filters", -4023: "filters", -4024: "filters",
    -4131: "filters", -4164: "filters",
    -2018: "funds", -2019: "funds",
    -4116: "duplicate",
    -5022: "post_only",
    -5021: "rejected",  # fill or kill that could not be filled
    -1014: "rejected",
    -1100: "rejected", -1101: "rejected", -1102: "rejected", -1103: "rejected", -1104: "rejected", -1105: "rejected",
    -1106: "rejected", -1112: "rejected", -1114: "rejected", -1115: "rejected", -1116: "rejected", -1117: "rejected",
    -1118: "rejected", -1121: "rejected", -1128: "rejected", -1130: "rejected", -1131: "rejected",
    -2020: "rejected", -2021: "rejected", -2022: "rejected", -2023: "rejected", -2024: "rejected", -2025: "rejected",
    -2026: "rejected", -2027: "rejected", -2028: "rejected", -4015: "rejected", -4045: "rejected", -4118: "rejected",
    -4120: "rejected", -4140: "rejected", -4141: "rejected", -4142: "rejected", -4183: "rejected", -4184: "rejected",
    -4192: "rejected", -4400: "rejected", -4411: "rejected",
    -2013: "unknown_order",
    # Savings ("Error codes", 6XXX). In doubt: -6013 "purchasing failed", -6019 "need confirm".
    -6001: "rejected", -6003: "rejected", -6004: "rejected", -6007: "rejected", -6008: "rejected",
    -6011: "rejected", -6014: "rejected", -6015: "rejected", -6016: "rejected", -6020: "rejected",
    -6005: "filters",  # less than the minimum
    -6006: "funds",  # more than there is to redeem
    -6012: "funds", -6018: "funds",
    -6009: "rate_limit",
    -6017: "credentials",  # not for this account
}  # fmt: skip
# A new order that was rejected says why in its text only.
_REJECTED = -2010
_REJECTED_TEXTS: tuple[tuple[str, Word], ...] = (
    ("insufficient balance", "funds"),
    ("duplicate", "duplicate"),
    ("immediately match", "post_only"),
)
_CANCEL_REJECTED = -2011

_STATUSES: dict[str, Status] = {
    "NEW": "open",
    "PENDING_NEW": "open",
    "PARTIALLY_FILLED": "open",
    "PENDING_CANCEL": "open",
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "CANCELLED": "cancelled",
    "REJECTED": "rejected",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "TRIGGERING": "open",
}
_TRIGGERED = frozenset({"TRIGGERED", "FINISHED"})
_STOP_TYPES = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "STOP", "STOP_MARKET", "TRAILING_STOP_MARKET"})
_TAKE_PROFIT_TYPES = frozenset({"TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "TAKE_PROFIT_MARKET"})
_SAVINGS_PREFIX = "LD"
_NEEDED_TYPE = {
    False: {"limit": "LIMIT", "stop": "STOP_LOSS", "take_profit": "TAKE_PROFIT"},
    True: {"limit": "LIMIT", "stop": "STOP_MARKET", "take_profit": "TAKE_PROFIT_MARKET"},
}


class Binance(Dialect):
    """Binance spot or USD-M perpetuals, by the symbols that are traded."""

    supports_contracts: bool = True
    has_validity_window: bool = True
    all_open_orders: bool = True
    kinds: frozenset[str] = frozenset({"limit", "stop", "take_profit"})
    rows_max: int = 1000
    burst_seconds: float = 10.0  # limits are counted by the minute, and ccxt uses half of them

    def __init__(self, exchange_id: str, is_contract: bool) -> None:
        super().__init__(exchange_id, is_contract)
        # Between startTime and endTime may lie 24 hours on spot, 7 days on USD-M ("Account trade list").
        self.trade_window_ms = 7 * DAY_MS if is_contract else DAY_MS
        self.has_savings = not is_contract

    def options(self) -> dict[str, Any]:
        return {
            "fetchMarkets": {"types": ["linear" if self.is_contract else "spot"]},
            "fetchMargins": False,  # two private questions about margin trading with every list of markets
            "fetchOpenOrders": {"warnWithoutSymbol": False},
            "leverageBrackets": {},  # positions are read without their margin tiers: one private question less
        }

    def enter_sandbox(self, client: Any) -> None:
        """Turn to the spot test network, or to demo trading: the test network of futures has been closed."""
        if self.is_contract:
            client.enable_demo_trading(True)
        else:
            client.set_sandbox_mode(True)

    def market_parameters(self, symbols: Sequence[str]) -> dict[str, Any]:
        """Ask for a few markets instead of thousands; only spot can be asked so."""
        if self.is_contract:
            return {}
        return {"symbols": json.dumps([_market_id(symbol) for symbol in symbols], separators=(",", ":"))}

    def kinds_of(self, market: Mapping[str, Any]) -> frozenset[str]:
        types = (market.get("info") or {}).get("orderTypes")
        if not isinstance(types, list):
            return self.kinds
        return frozenset(kind for kind, needed in _NEEDED_TYPE[self.is_contract].items() if needed in types)

    # Answers

    def word(self, answer: Answer, error: Exception) -> Word | None:
        """Return the meaning of a code; of a 5xx never: its order may have been executed all the same."""
        code = answer.code
        if not 400 <= answer.status < 500 or code is None:
            return None
        if code == _REJECTED:
            text = answer.message.lower()
            return next((word for part, word in _REJECTED_TEXTS if part in text), "rejected")
        if code == _CANCEL_REJECTED:
            return "unknown_order" if "unknown order" in answer.message.lower() else None
        return _WORDS.get(code)

    def status(self, parsed: Mapping[str, Any]) -> Status | None:
        info = parsed.get("info") or {}
        return _STATUSES.get(str(info.get("status") or info.get("algoStatus")))

    def reason(self, parsed: Mapping[str, Any]) -> str:
        info = parsed.get("info") or {}
        status = str(info.get("status") or info.get("algoStatus"))
        return "post_only" if status == "EXPIRED" and info.get("timeInForce") == "GTX" else status

    def kind(self, parsed: Mapping[str, Any]) -> str:
        info = parsed.get("info") or {}
        name = str(info.get("type") or info.get("orderType"))
        if name in _STOP_TYPES:
            return "stop"
        if name in _TAKE_PROFIT_TYPES:
            return "take_profit"
        return "market" if name == "MARKET" else "limit"

    # Orders

    def order_parameters(self, order: Order, price: str | None, stamp_ms: int, window_ms: int | None) -> dict[str, Any]:
        """Add timestamp and recvWindow, which ccxt lets parameters override."""
        return super().order_parameters(order, price, stamp_ms, window_ms) | _window(stamp_ms, window_ms)

    def find(self, client: Any, order: Order) -> Mapping[str, Any] | None:
        parameters: dict[str, Any] = {"clientOrderId": order.order_id}
        if not self._is_algo(order):
            return dict(client.fetch_order("", order.symbol, parameters))
        parsed = dict(client.fetch_order("", order.symbol, {**parameters, "trigger": True}))
        info = parsed.get("info") or {}
        sent_id = str(info.get("actualOrderId") or "")
        if info.get("algoStatus") not in _TRIGGERED and not sent_id:
            return parsed
        if not sent_id:
            raise ExchangeUnavailable(
                f"{self.exchange_id}: the order that {order.order_id} has triggered is not shown yet"
            )
        return self._triggered(parsed, client, order, sent_id)

    def _triggered(self, parsed: Mapping[str, Any], client: Any, order: Order, sent_id: str) -> Mapping[str, Any]:
        """Return the ordinary order that a conditional one has sent, with the price that triggered it."""
        import ccxt

        sent = None
        try:
            sent = client.fetch_order(sent_id, order.symbol)
        except ccxt.OperationFailed:
            raise
        except ccxt.BaseError:
            sent = None  # it was told about: that it is not found says nothing about the conditional order
        if sent is None:
            raise ExchangeUnavailable(
                f"{self.exchange_id}: order {sent_id}, which {order.order_id} has sent, is not shown"
            )
        return {**sent, "triggerPrice": parsed.get("triggerPrice"), "reduceOnly": parsed.get("reduceOnly")}

    def cancel(self, client: Any, order: Order, exchange_order_id: str, stamp_ms: int, window_ms: int | None) -> None:
        parameters: dict[str, Any] = {"clientOrderId": order.order_id, **_window(stamp_ms, window_ms)}
        if self._is_algo(order):
            parameters["trigger"] = True
        parsed = client.cancel_order("", order.symbol, parameters)
        require_id(parsed)
        if order.order_id not in (parsed.get("info") or {}).values():
            raise OddAnswer("the answer is about another order")

    @property
    def cancels_by_client_id(self) -> bool:
        return True

    def open_orders(self, client: Any, symbols: Sequence[str]) -> list[Mapping[str, Any]]:
        found = list(client.fetch_open_orders())
        if self.is_contract:
            found += client.fetch_open_orders(None, None, None, {"trigger": True})
        return found

    def _is_algo(self, order: Order) -> bool:
        return self.is_contract and order.kind in ("stop", "take_profit")

    # Account

    def has_trades(self, report: OrderReport) -> bool:
        """Not those of an algo order: its id is of another book, where an ordinary order may have the same."""
        return not (self.is_contract and report.kind in ("stop", "take_profit"))

    def order_trades(self, client: Any, exchange_order_id: str, symbol: str) -> list[Mapping[str, Any]]:
        parameters: dict[str, Any] = {"orderId": exchange_order_id}
        found: list[Mapping[str, Any]] = []
        while True:
            page = client.fetch_my_trades(symbol, None, self.rows_max, parameters)
            found += page
            if len(page) < self.rows_max:
                return found
            parameters = {"orderId": exchange_order_id, "fromId": max(int(one["id"]) for one in page) + 1}

    def trades_page(
        self, client: Any, symbol: str, since_ms: int, until_ms: int, after_id: str | None
    ) -> list[Mapping[str, Any]]:
        if after_id is not None:  # never together with times
            page = client.fetch_my_trades(symbol, None, self.rows_max, {"fromId": int(after_id) + 1})
            return [one for one in page if int(one["timestamp"]) <= until_ms]
        return list(client.fetch_my_trades(symbol, since_ms, self.rows_max, {"until": until_ms}))

    def balances(self, parsed: Mapping[str, Any], coins: Container[str]) -> dict[str, Balance]:
        """Spot: without savings, which are shown there once more. Futures: the wallet, without profits that are not
        realised; ccxt's total contains them.
        """
        if not self.is_contract:
            balances = super().balances(parsed, coins)
            return {asset: balance for asset, balance in balances.items() if not _is_savings(asset, coins)}
        found: dict[str, Balance] = {}
        for asset in (parsed.get("info") or {}).get("assets") or []:
            total = required(asset, "walletBalance")
            if total:
                found[str(asset["asset"])] = Balance(min(required(asset, "availableBalance"), total), total)
        return found

    def position(self, parsed: Mapping[str, Any]) -> Decimal:
        info = parsed.get("info") or {}
        if info.get("positionSide", "BOTH") != "BOTH":
            raise ConfigurationError("binanceusdm: the account is in hedge mode: set its position mode to one-way")
        return required(info, "positionAmt")

    def key_rights(self, client: Any) -> dict[str, bool | None]:
        """``GET /sapi/v1/account/apiRestrictions`` ("Get API Key Permission"), and ``canTrade`` of the account."""
        import ccxt

        answer: Mapping[str, Any] = {}
        if "sapi" in (client.urls.get("api") or {}):
            try:
                answer = client.sapiGetAccountApiRestrictions()
            except ccxt.AuthenticationError:
                raise
            except ccxt.BaseError:
                answer = {}  # a test network has no such address: what it would say stays unknown
        info = client.fetch_balance().get("info") or {}
        can_trade = info.get("canTrade") if isinstance(info, dict) else None

        def told(name: str) -> bool | None:
            value = answer.get(name)
            return value if isinstance(value, bool) else None

        return {
            "trade_spot": False if can_trade is False else told("enableSpotAndMarginTrading"),
            "trade_futures": False if can_trade is False else told("enableFutures"),
            "withdraw": told("enableWithdrawals"),
            "is_bound": told("ipRestrict"),
        }

    # Prices

    def last_price(self, client: Any, symbol: str) -> float | None:
        """Ask for one market by its id: it need not be among those that were loaded."""
        import ccxt

        base, quote, kind = split_symbol(symbol)
        request = {"symbol": base + quote}
        ask = client.fapiPublicGetTickerPrice if kind == "perpetual" else client.publicGetTickerPrice
        try:
            answer = ask(request)
        except ccxt.ExchangeError as error:
            if "-1121" not in str(error):  # no such symbol
                raise
            return None
        return float(required(answer, "price"))


def _is_savings(asset: str, coins: Container[str]) -> bool:
    """Whether a spot balance is what is in savings: LDUSDT for USDT. LDO is a coin, as is whatever is traded here."""
    return asset.startswith(_SAVINGS_PREFIX) and len(asset) > len(_SAVINGS_PREFIX) + 1 and asset not in coins


def _market_id(symbol: str) -> str:
    base, quote, _ = split_symbol(symbol)
    return base + quote


def _window(stamp_ms: int, window_ms: int | None) -> dict[str, Any]:
    return {"timestamp": stamp_ms} | ({} if window_ms is None else {"recvWindow": window_ms})
