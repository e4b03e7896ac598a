"""Binance's REST on loopback, spot and USD-M, as unmodified ccxt speaks it: keys, signatures, time, errors, weights.

What it checks, and in which words it refuses, follows Binance's REST documentation ("Request security", "Timing
security", "Error codes"); the forms of the answers are in ``binance_spot_forms`` and ``binance_perpetual_forms``.
Endpoints that nobody here asks for answer 404, so that a new one is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from . import binance_perpetual_forms as perpetual_forms
from . import binance_spot_forms as spot_forms
from .account import VenueAccount
from .binance_endpoints import BRACKET, DAY_MS, ENDPOINTS, INTERVALS, PUBLIC, SPOT_ORDER_PARAMETERS, ticker
from .binance_numbers import eight, klines, market_id
from .binance_requests import authenticated, in_period, integer, missing, new_order, page, which_order
from .binance_savings import SavingsEndpoints
from .clock import VenueClock
from .faults import Fate, Faults
from .http_server import Answer, LoopbackServer, Request
from .market import UNIT, VenueMarket
from .model import Venue
from .orders import CONDITIONAL_KINDS, VenueError, VenueOrder, VenueTrade


class BinanceServer(LoopbackServer):
    """``weight_limit`` is the request weight of a minute from which on it answers 429; None: it only counts."""

    def __init__(
        self,
        venue: Venue,
        *,
        faults: Faults | None = None,
        clock: VenueClock | None = None,
        weight_limit: int | None = None,
    ) -> None:
        super().__init__(venue, faults=faults, clock=clock)
        finer = [market.symbol for market in venue.markets.values() if market.tick * market.lot % UNIT]
        if finer:
            raise ValueError(f"{', '.join(finer)}: a lot times a tick is finer than {UNIT}, values would be rounded")
        self.weight_limit = weight_limit
        self._minute = 0
        self._weight = 0
        self._savings = SavingsEndpoints(venue.savings)
        self._market_of = {(market.id, market.is_perpetual): market for market in venue.markets.values()}

    def kind(self, request: Request) -> str | None:
        return ENDPOINTS.get((request.method, request.path), (None, 0))[0]

    def refusal(self, fate: Fate) -> Answer:
        headers = {"Content-Type": "application/json;charset=UTF-8"}
        if fate.retry_seconds is not None:
            headers["Retry-After"] = str(fate.retry_seconds)
        if not fate.code:
            page = f"<html>\r\n<head><title>{fate.status}</title></head>\r\n<body>{fate.message}</body>\r\n</html>\r\n"
            return Answer(fate.status, page, headers | {"Content-Type": "text/html"})
        return Answer(fate.status, json.dumps({"code": fate.code, "msg": fate.message}), headers)

    def respond(self, request: Request, fate: Fate) -> Answer:
        endpoint = ENDPOINTS.get((request.method, request.path))
        headers = {"Content-Type": "application/json;charset=UTF-8"}
        if endpoint is None:
            known = any(path == request.path for _, path in ENDPOINTS)
            return Answer(405 if known else 404, "{}", headers)
        headers |= self._weigh(request, endpoint[1])
        try:
            if self.weight_limit is not None and self._weight > self.weight_limit:
                raise VenueError(-1003, "Too much request weight used; current limit is "
                                 f"{self.weight_limit} request weight per 1 MINUTE.", 429, 10)  # fmt: skip
            content = self._content(request, fate)
        except VenueError as error:
            if error.retry_seconds is not None:
                headers["Retry-After"] = str(error.retry_seconds)
            return Answer(error.status, json.dumps({"code": error.code, "msg": error.message}), headers)
        return Answer(200, json.dumps(content), headers)

    def _weigh(self, request: Request, weight: int) -> dict[str, str]:
        minute = self.venue.now_ms() // 60_000
        self._weight = weight + (self._weight if minute == self._minute else 0)
        self._minute = minute
        headers = {"X-MBX-USED-WEIGHT-1M": str(self._weight)}
        if not request.path.startswith("/fapi"):
            headers["X-MBX-USED-WEIGHT"] = str(self._weight)
        return headers

    def _market(self, parameters: dict[str, str], is_perpetual: bool) -> VenueMarket:
        if not parameters.get("symbol"):
            raise missing("symbol")
        market = self._market_of.get((parameters["symbol"], is_perpetual))
        if market is None:
            raise VenueError(-1121, "Invalid symbol.")
        return market

    # What is answered

    def _content(self, request: Request, fate: Fate) -> Any:
        parameters = request.parameters()
        is_perpetual = request.path.startswith("/fapi")
        if PUBLIC.fullmatch(request.path):
            return self._public(request.path, parameters, is_perpetual)
        account = authenticated(self.venue, request, parameters)
        self.venue.savings.settle(account.name)
        name = request.path.split("/", 3)[3]
        if self._savings.knows(name):
            return self._savings.answer(name, account, parameters, fate)
        answers: dict[str, Callable[[VenueAccount, dict[str, str]], Any]]
        answers = self._perpetual_answers() if is_perpetual else self._spot_answers()
        if name == "order":
            return self._order(request.method, account, parameters, fate, is_perpetual)
        if name == "algoOrder":
            return self._algo_order(request.method, account, parameters, fate)
        return answers[name](account, parameters)

    def _public(self, path: str, parameters: dict[str, str], is_perpetual: bool) -> Any:
        name = path.split("/", 3)[3]
        markets = [market for market in self.venue.markets.values() if market.is_perpetual == is_perpetual]
        if path.startswith("/dapi"):
            return {"timezone": "UTC", "serverTime": self.venue.now_ms(), "symbols": []}
        if name == "ping":
            return {}
        if name == "time":
            return {"serverTime": self.venue.now_ms()}
        if name == "exchangeInfo":
            form = perpetual_forms.perpetual_market if is_perpetual else spot_forms.spot_market
            return {
                "timezone": "UTC",
                "serverTime": self.venue.now_ms(),
                "rateLimits": [],
                "exchangeFilters": [],
                "symbols": [form(market) for market in markets if parameters.get("symbol") in (None, market.id)],
            }
        if name == "klines":
            return self._klines(parameters, self._market(parameters, is_perpetual))
        rows = [ticker(name, market, self.venue.now_ms()) for market in markets]
        if "symbols" in parameters:
            wanted = json.loads(parameters["symbols"])
            return [row for row in rows if row["symbol"] in wanted]
        if "symbol" not in parameters:
            return rows
        market = self._market(parameters, is_perpetual)
        return next(row for row in rows if row["symbol"] == market.id)

    def _klines(self, parameters: dict[str, str], market: VenueMarket) -> list[list[Any]]:
        interval = parameters.get("interval", "")
        if interval not in INTERVALS:
            raise VenueError(-1120, "Invalid interval.")
        bars = self.venue.bars.get((market.symbol, interval))
        if bars is None:
            return []
        seen = self.venue.now_ms() - self.venue.bars_delay_ms
        limit = min(integer("limit", parameters.get("limit", "500")), 1500 if market.is_perpetual else 1000)
        times = bars.open_time
        start, end = parameters.get("startTime"), parameters.get("endTime")
        first = 0 if start is None else int(times.searchsorted(int(start), "left"))
        last = int(times.searchsorted(min(seen, int(end)) if end is not None else seen, "right"))
        if start is not None:
            last = min(last, first + limit)
        else:
            first = max(first, last - limit)
        return klines(bars, first, max(last, first), seen)

    def _spot_answers(self) -> dict[str, Callable[[VenueAccount, dict[str, str]], Any]]:
        return {
            "account": lambda account, _: spot_forms.spot_account(account, self.venue.now_ms()),
            "openOrders": lambda account, parameters: self._open_orders(account, parameters, False, False),
            "allOrders": lambda account, parameters: self._all_orders(account, parameters, False, False),
            "myTrades": lambda account, parameters: self._trades(account, parameters, False),
            "asset/tradeFee": lambda _, parameters: [
                {
                    "symbol": market.id,
                    "makerCommission": str(market.maker_fee_rate),
                    "takerCommission": str(market.taker_fee_rate),
                }
                for market in self.venue.markets.values()
                if not market.is_perpetual and parameters.get("symbol") in (None, market.id)
            ],
            "capital/config/getall": lambda *_: [],
            "margin/allPairs": lambda *_: [],
            "margin/isolated/allPairs": lambda *_: [],
        }

    def _perpetual_answers(self) -> dict[str, Callable[[VenueAccount, dict[str, str]], Any]]:
        now = self.venue.now_ms
        return {
            "account": lambda account, _: perpetual_forms.perpetual_account(self.venue, account, now()),
            "balance": lambda account, _: perpetual_forms.perpetual_balances(self.venue, account, now()),
            "positionRisk": lambda account, parameters: [
                row
                for row in perpetual_forms.position_risk(self.venue, account, now())
                if parameters.get("symbol") in (None, row["symbol"])
            ],
            "openOrders": lambda account, parameters: self._open_orders(account, parameters, True, False),
            "openAlgoOrders": lambda account, parameters: self._open_orders(account, parameters, True, True),
            "allOrders": lambda account, parameters: self._all_orders(account, parameters, True, False),
            "allAlgoOrders": lambda account, parameters: self._all_orders(account, parameters, True, True),
            "userTrades": lambda account, parameters: self._trades(account, parameters, True),
            "income": self._income,
            "commissionRate": self._commission_rate,
            "positionSide/dual": lambda *_: {"dualSidePosition": False},
            "leverageBracket": lambda *_: [
                {"symbol": market.id, "brackets": [BRACKET]}
                for market in self.venue.markets.values()
                if market.is_perpetual
            ],
            "symbolConfig": lambda account, _: [
                {
                    "symbol": market.id,
                    "marginType": "CROSSED",
                    "isAutoAddMargin": False,
                    "leverage": account.leverage,
                    "maxNotionalValue": "1000000",
                }
                for market in self.venue.markets.values()
                if market.is_perpetual
            ],
            "accountConfig": lambda account, _: {
                "feeTier": 0,
                "canTrade": account.can_trade,
                "canDeposit": True,
                "canWithdraw": False,
                "dualSidePosition": False,
                "updateTime": 0,
                "multiAssetsMargin": False,
                "tradeGroupId": -1,
            },
        }

    # Orders

    def _order(
        self, method: str, account: VenueAccount, parameters: dict[str, str], fate: Fate, is_perpetual: bool
    ) -> Any:
        market = self._market(parameters, is_perpetual)
        if method == "POST":
            if is_perpetual and parameters.get("type") in CONDITIONAL_KINDS:
                raise VenueError(
                    -4120,
                    "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
                )
            if not is_perpetual:
                unread = sorted(set(parameters) - SPOT_ORDER_PARAMETERS)
                if unread:
                    raise VenueError(
                        -1104,
                        f"Not all sent parameters were read; read '{len(parameters) - len(unread)}' parameter(s) "
                        f"but was sent '{len(parameters)}'.",
                    )
            order = self.venue.place(account.name, new_order(market, parameters, fate, "newClientOrderId", "stopPrice"))
            response_type = parameters.get("newOrderRespType", "")
            if is_perpetual:
                return perpetual_forms.perpetual_order_placed(order, market, response_type)
            default = "FULL" if order.kind in ("MARKET", "LIMIT") else "ACK"
            return spot_forms.spot_order_placed(order, response_type or default)
        order_id, client_id = which_order(parameters, "orderId", "origClientOrderId")
        if method == "DELETE":
            order = self.venue.cancel(account.name, market.symbol, order_id, client_id)
            if is_perpetual:
                return perpetual_forms.perpetual_order_placed(order, market, "RESULT")
            return spot_forms.spot_order_cancelled(order, parameters.get("newClientOrderId", f"c{order.order_id}"))
        order = self.venue.order(account.name, market.symbol, order_id, client_id)
        return perpetual_forms.perpetual_order(order, market) if is_perpetual else spot_forms.spot_order(order)

    def _algo_order(self, method: str, account: VenueAccount, parameters: dict[str, str], fate: Fate) -> Any:
        if method == "POST":
            market = self._market(parameters, True)
            if parameters.get("algoType") != "CONDITIONAL":
                raise missing("algoType")
            if parameters.get("type") not in CONDITIONAL_KINDS:
                raise VenueError(-1116, "Invalid orderType.")
            order = self.venue.place(account.name, new_order(market, parameters, fate, "clientAlgoId", "triggerPrice"))
            return perpetual_forms.algo_order(order, market)
        order_id, client_id = which_order(parameters, "algoId", "clientAlgoId")
        symbol = self._algo_symbol(account, order_id, client_id)
        if method == "DELETE":
            if symbol is None:
                raise VenueError(-2011, "Unknown order sent.")
            order = self.venue.cancel(account.name, symbol, order_id, client_id, is_algo=True)
            return {"algoId": order.order_id, "clientAlgoId": order.client_id, "code": "200", "msg": "success"}
        if symbol is None:
            raise VenueError(-2013, "Order does not exist.")
        order = self.venue.order(account.name, symbol, order_id, client_id, is_algo=True)
        return perpetual_forms.algo_order(order, self.venue.markets[symbol])

    def _algo_symbol(self, account: VenueAccount, order_id: int | None, client_id: str) -> str | None:
        """Algo orders are asked for without a symbol: return the newest one's."""
        for symbol, orders in account.orders.items():
            for order in reversed(orders):
                if order.is_algo and (
                    order.order_id == order_id if order_id is not None else order.client_id == client_id
                ):
                    return symbol
        return None

    def _open_orders(self, account: VenueAccount, parameters: dict[str, str], is_perpetual: bool, is_algo: bool) -> Any:
        symbol = self._market(parameters, is_perpetual).symbol if "symbol" in parameters else None
        found = self.venue.open_orders(account.name, is_perpetual=is_perpetual, symbol=symbol, is_algo=is_algo)
        return [self._form(order) for order in found]

    def _all_orders(self, account: VenueAccount, parameters: dict[str, str], is_perpetual: bool, is_algo: bool) -> Any:
        market, now = self._market(parameters, is_perpetual), self.venue.now_ms()
        orders: list[VenueOrder] = [
            order
            for order in account.orders.get(market.symbol, [])
            if order.is_algo == is_algo
            and order.invisible_until_ms <= now
            and in_period(order.time_ms, parameters, now)
            and order.order_id >= int(parameters.get("algoId" if is_algo else "orderId", "0"))
        ]
        return [self._form(order) for order in page(orders, parameters)]

    def _form(self, order: VenueOrder) -> dict[str, Any]:
        market = self.venue.markets[order.symbol]
        if order.is_algo:
            return perpetual_forms.algo_order(order, market)
        return perpetual_forms.perpetual_order(order, market) if market.is_perpetual else spot_forms.spot_order(order)

    def _trades(self, account: VenueAccount, parameters: dict[str, str], is_perpetual: bool) -> Any:
        market, now = self._market(parameters, is_perpetual), self.venue.now_ms()
        start, end = parameters.get("startTime"), parameters.get("endTime")
        if "fromId" in parameters and (start is not None or end is not None):
            raise VenueError(-1128, "Combination of optional parameters invalid.")
        if start is not None and end is not None:
            longest = 7 * DAY_MS if is_perpetual else DAY_MS
            if int(end) - int(start) > longest:
                raise VenueError(-1127, f"More than {longest // 3_600_000} hours between startTime and endTime.")
        order_id = int(parameters["orderId"]) if "orderId" in parameters else None
        if is_perpetual and order_id is None and "fromId" not in parameters:
            first = now - 7 * DAY_MS if start is None else int(start)
            parameters = {"endTime": str(first + 7 * DAY_MS), **parameters, "startTime": str(first)}
        trades: list[VenueTrade] = [
            trade
            for trade in self.venue.trades(account.name, market.symbol, order_id=order_id)
            if in_period(trade.time_ms, parameters, now) and trade.trade_id >= int(parameters.get("fromId", "0"))
        ]
        form = perpetual_forms.perpetual_trade if is_perpetual else spot_forms.spot_trade
        return [form(trade) for trade in page(trades, parameters)]

    def _income(self, account: VenueAccount, parameters: dict[str, str]) -> Any:
        now = self.venue.now_ms()
        if "startTime" not in parameters and "endTime" not in parameters:
            parameters = {**parameters, "startTime": str(now - 7 * DAY_MS)}
        found = [
            {
                "symbol": market_id(income.symbol),
                "incomeType": income.kind,
                "income": eight(income.amount),
                "asset": self.venue.markets[income.symbol].quote,
                "time": income.time_ms,
                "info": "",
                "tranId": income.income_id,
                "tradeId": "",
            }
            for income in account.incomes
            if parameters.get("symbol") in (None, market_id(income.symbol))
            and parameters.get("incomeType") in (None, income.kind)
            and in_period(income.time_ms, parameters, now)
        ]
        limit = int(parameters.get("limit", "100"))
        return found[:limit]

    def _commission_rate(self, _: VenueAccount, parameters: dict[str, str]) -> Any:
        market = self._market(parameters, True)
        return {
            "symbol": market.id,
            "makerCommissionRate": str(market.maker_fee_rate),
            "takerCommissionRate": str(market.taker_fee_rate),
            "rpiCommissionRate": "0.00005",
        }
