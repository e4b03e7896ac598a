"""The JSON forms of Binance's spot REST answers, field for field as its documentation shows them."""

from __future__ import annotations

from .account import VenueAccount
from .binance_numbers import WORDS, Json, eight, market_id
from .market import VenueMarket
from .orders import ZERO, VenueOrder, VenueTrade

_SPOT_TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]


def spot_market(market: VenueMarket) -> Json:
    filters = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": eight(market.price_minimum),
            "maxPrice": eight(market.price_maximum),
            "tickSize": eight(market.tick),
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": eight(market.quantity_minimum),
            "maxQty": eight(market.quantity_maximum),
            "stepSize": eight(market.lot),
        },
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": eight(ZERO),
            "maxQty": eight(market.market_quantity_maximum),
            "stepSize": eight(ZERO),
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": eight(market.notional_minimum),
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
    ]
    return {
        "symbol": market.id,
        "status": "TRADING",
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _SPOT_TYPES,
        "icebergAllowed": True,
        "ocoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters,
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def spot_order(order: VenueOrder) -> Json:
    """GET order, openOrders, allOrders."""
    return {
        "symbol": market_id(order.symbol),
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        "price": eight(order.price),
        "origQty": eight(order.quantity),
        "executedQty": eight(order.executed),
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": eight(order.value),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.kind,
        "side": WORDS[order.side],
        "stopPrice": eight(order.stop_price),
        "icebergQty": "0.00000000",
        "time": order.time_ms,
        "updateTime": order.update_ms,
        "isWorking": order.is_triggered,
        "workingTime": order.time_ms if order.is_triggered else -1,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def spot_order_placed(order: VenueOrder, response_type: str) -> Json:
    """POST order: ACK, RESULT or FULL."""
    whole = spot_order(order)
    head = {name: whole[name] for name in ("symbol", "orderId", "orderListId", "clientOrderId")}
    head["transactTime"] = order.time_ms
    if response_type == "ACK":
        return head
    names = (
        "price", "origQty", "executedQty", "origQuoteOrderQty", "cummulativeQuoteQty", "status", "timeInForce", "type",
        "side", "workingTime", "selfTradePreventionMode",
    )  # fmt: skip
    head |= {name: whole[name] for name in names}
    if order.stop_price is not None:
        head["stopPrice"] = whole["stopPrice"]
    if response_type == "FULL":
        head["fills"] = [
            {
                "price": eight(trade.price),
                "qty": eight(trade.quantity),
                "commission": eight(trade.commission),
                "commissionAsset": trade.commission_asset,
                "tradeId": trade.trade_id,
            }
            for trade in order.trades
        ]
    return head


def spot_order_cancelled(order: VenueOrder, request_id: str) -> Json:
    """DELETE order: the client id is a new one, the order's own is ``origClientOrderId``."""
    content = spot_order(order)
    for name in ("icebergQty", "time", "updateTime", "isWorking", "workingTime"):
        del content[name]
    return content | {
        "origClientOrderId": order.client_id,
        "clientOrderId": request_id,
        "transactTime": order.update_ms,
    }


def spot_trade(trade: VenueTrade) -> Json:
    return {
        "symbol": market_id(trade.order.symbol),
        "id": trade.trade_id,
        "orderId": trade.order.order_id,
        "orderListId": -1,
        "price": eight(trade.price),
        "qty": eight(trade.quantity),
        "quoteQty": eight(trade.value),
        "commission": eight(trade.commission),
        "commissionAsset": trade.commission_asset,
        "time": trade.time_ms,
        "isBuyer": trade.order.side > 0,
        "isMaker": trade.is_maker,
        "isBestMatch": True,
    }


def spot_account(account: VenueAccount, now_ms: int) -> Json:
    balances = [
        {"asset": asset, "free": eight(free), "locked": eight(account.locked.get(asset, ZERO))}
        for asset, free in account.free.items()
    ]
    # Savings are shown once more, as assets of their own.
    balances += [
        {"asset": f"LD{asset}", "free": eight(holding.value(now_ms)), "locked": eight(ZERO)}
        for asset, holding in account.holdings.items()
    ]
    rates = {"maker": "0.00100000", "taker": "0.00100000", "buyer": "0.00000000", "seller": "0.00000000"}
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": rates,
        "canTrade": account.can_trade,
        "canWithdraw": False,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": now_ms,
        "accountType": "SPOT",
        "balances": balances,
        "permissions": ["SPOT"],
        "uid": 354937868,
    }
