"""The endpoints of Binance that the server knows, what faults call them, what they weigh, and their fixed answers."""

from __future__ import annotations

import re
from typing import Any

from .binance_numbers import eight
from .market import VenueMarket

DAY_MS = 86_400_000
INTERVALS = frozenset(("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"))

# (method, path) -> what ``faults`` calls it, and its weight.
_SPOT = {
    ("GET", "/api/v3/ping"): (None, 1),
    ("GET", "/api/v3/time"): ("time", 1),
    ("GET", "/api/v3/exchangeInfo"): ("markets", 20),
    ("GET", "/api/v3/klines"): ("bars", 2),
    ("GET", "/api/v3/ticker/price"): ("markets", 2),
    ("GET", "/api/v3/ticker/bookTicker"): ("markets", 2),
    ("GET", "/api/v3/ticker/24hr"): ("markets", 2),
    ("GET", "/api/v3/account"): ("balances", 20),
    ("GET", "/api/v3/order"): ("order", 4),
    ("POST", "/api/v3/order"): ("place", 1),
    ("DELETE", "/api/v3/order"): ("cancel", 1),
    ("GET", "/api/v3/openOrders"): ("open_orders", 6),
    ("GET", "/api/v3/allOrders"): ("order", 20),
    ("GET", "/api/v3/myTrades"): ("trades", 20),
    ("GET", "/sapi/v1/asset/tradeFee"): ("markets", 1),
    ("GET", "/sapi/v1/capital/config/getall"): (None, 10),
    ("GET", "/sapi/v1/capital/deposit/hisrec"): ("flows", 1),
    ("GET", "/sapi/v1/capital/withdraw/history"): ("flows", 1),
    ("GET", "/sapi/v1/simple-earn/flexible/list"): ("earn", 150),
    ("GET", "/sapi/v1/simple-earn/flexible/position"): ("earn", 150),
    ("POST", "/sapi/v1/simple-earn/flexible/subscribe"): ("move_earn", 1),
    ("POST", "/sapi/v1/simple-earn/flexible/redeem"): ("move_earn", 1),
    ("GET", "/sapi/v1/simple-earn/flexible/history/subscriptionRecord"): ("earn", 150),
    ("GET", "/sapi/v1/simple-earn/flexible/history/redemptionRecord"): ("earn", 150),
    ("GET", "/sapi/v1/simple-earn/flexible/history/rewardsRecord"): ("flows", 150),
    ("GET", "/sapi/v1/margin/allPairs"): (None, 1),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): (None, 10),
    ("GET", "/dapi/v1/exchangeInfo"): (None, 1),
}
_PERPETUAL = {
    ("GET", "/fapi/v1/ping"): (None, 1),
    ("GET", "/fapi/v1/time"): ("time", 1),
    ("GET", "/fapi/v1/exchangeInfo"): ("markets", 1),
    ("GET", "/fapi/v1/klines"): ("bars", 5),
    ("GET", "/fapi/v1/ticker/price"): ("markets", 1),
    ("GET", "/fapi/v2/ticker/price"): ("markets", 1),
    ("GET", "/fapi/v1/ticker/bookTicker"): ("markets", 2),
    ("GET", "/fapi/v1/ticker/24hr"): ("markets", 1),
    ("GET", "/fapi/v1/premiumIndex"): ("markets", 1),
    ("GET", "/fapi/v2/account"): ("balances", 5),
    ("GET", "/fapi/v3/account"): ("balances", 5),
    ("GET", "/fapi/v2/balance"): ("balances", 5),
    ("GET", "/fapi/v3/balance"): ("balances", 5),
    ("GET", "/fapi/v2/positionRisk"): ("positions", 5),
    ("GET", "/fapi/v3/positionRisk"): ("positions", 5),
    ("GET", "/fapi/v1/leverageBracket"): (None, 1),
    ("GET", "/fapi/v1/symbolConfig"): (None, 5),
    ("GET", "/fapi/v1/accountConfig"): (None, 5),
    ("GET", "/fapi/v1/order"): ("order", 1),
    ("POST", "/fapi/v1/order"): ("place", 0),
    ("DELETE", "/fapi/v1/order"): ("cancel", 1),
    ("GET", "/fapi/v1/openOrders"): ("open_orders", 1),
    ("GET", "/fapi/v1/allOrders"): ("order", 5),
    ("GET", "/fapi/v1/algoOrder"): ("order", 1),
    ("POST", "/fapi/v1/algoOrder"): ("place", 0),
    ("DELETE", "/fapi/v1/algoOrder"): ("cancel", 1),
    ("GET", "/fapi/v1/openAlgoOrders"): ("open_orders", 1),
    ("GET", "/fapi/v1/allAlgoOrders"): ("order", 5),
    ("GET", "/fapi/v1/userTrades"): ("trades", 5),
    ("GET", "/fapi/v1/income"): ("trades", 30),
    ("GET", "/fapi/v1/commissionRate"): ("markets", 20),
    ("GET", "/fapi/v1/positionSide/dual"): (None, 30),
}
ENDPOINTS = _SPOT | _PERPETUAL
PUBLIC = re.compile(r"/(api|fapi)/v\d/(ping|time|exchangeInfo|klines|ticker/\w+|premiumIndex)|/dapi/v1/exchangeInfo")
SPOT_ORDER_PARAMETERS = frozenset(
    (
        "symbol", "side", "type", "timeInForce", "quantity", "price", "newClientOrderId", "stopPrice",
        "newOrderRespType", "selfTradePreventionMode", "recvWindow", "timestamp", "signature",
    )
)  # fmt: skip

BRACKET = {
    "bracket": 1,
    "initialLeverage": 125,
    "notionalCap": 50_000_000,
    "notionalFloor": 0,
    "maintMarginRatio": 0.004,
    "cum": 0.0,
}


def ticker(name: str, market: VenueMarket, now: int) -> dict[str, Any]:
    if name == "ticker/bookTicker":
        best = {"bidPrice": eight(market.bid), "askPrice": eight(market.ask)}
        return {"symbol": market.id, **best, "bidQty": "1.00000000", "askQty": "1.00000000"}
    if name == "premiumIndex":
        return {
            "symbol": market.id,
            "markPrice": eight(market.price),
            "indexPrice": eight(market.price),
            "lastFundingRate": "0.00010000",
            "nextFundingTime": now - now % 28_800_000 + 28_800_000,
            "time": now,
        }
    if name == "ticker/24hr":
        price = eight(market.price)
        return {
            "symbol": market.id,
            "lastPrice": price,
            "openPrice": price,
            "highPrice": price,
            "lowPrice": price,
            "bidPrice": eight(market.bid),
            "askPrice": eight(market.ask),
            "volume": "1.00000000",
            "quoteVolume": price,
            "openTime": now - DAY_MS,
            "closeTime": now,
        }
    row: dict[str, Any] = {"symbol": market.id, "price": eight(market.price)}
    return {**row, "time": now} if market.is_perpetual else row
