"""The JSON forms of Binance's USD-M REST answers, field for field as its documentation shows them."""

from __future__ import annotations

from decimal import Decimal

from trading_runtime.core.instruments import decimal_text

from .account import VenueAccount
from .binance_numbers import WORDS, Json, eight, market_id, on_grid
from .market import VenueMarket
from .model import Venue
from .orders import ZERO, VenueOrder, VenueTrade

_PERPETUAL_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]


def perpetual_market(market: VenueMarket) -> Json:
    text = decimal_text
    lots = {
        "minQty": text(market.quantity_minimum),
        "stepSize": text(market.lot),
    }
    return {
        "symbol": market.id,
        "pair": market.id,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": market.base,
        "quoteAsset": market.quote,
        "marginAsset": market.quote,
        "pricePrecision": _decimals(market.tick),
        "quantityPrecision": _decimals(market.lot),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": text(market.price_minimum),
                "maxPrice": text(market.price_maximum),
                "tickSize": format(market.tick, "f"),
            },
            {"filterType": "LOT_SIZE", "maxQty": text(market.quantity_maximum), **lots},
            {"filterType": "MARKET_LOT_SIZE", "maxQty": text(market.market_quantity_maximum), **lots},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": text(market.notional_minimum)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": _PERPETUAL_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def _decimals(step: Decimal) -> int:
    exponent = step.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def perpetual_order(order: VenueOrder, market: VenueMarket) -> Json:
    average = order.value / order.executed if order.executed else ZERO
    return {
        "orderId": order.order_id,
        "symbol": market.id,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": on_grid(order.price, market.tick),
        "avgPrice": f"{average:.5f}",
        "origQty": on_grid(order.quantity, market.lot),
        "executedQty": on_grid(order.executed, market.lot),
        "cumQuote": f"{order.value:.5f}",
        "timeInForce": order.time_in_force,
        "type": order.kind,
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": WORDS[order.side],
        "positionSide": "BOTH",
        "stopPrice": on_grid(order.stop_price, market.tick),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.kind,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "time": order.time_ms,
        "updateTime": order.update_ms,
    }


def perpetual_order_placed(order: VenueOrder, market: VenueMarket, response_type: str) -> Json:
    """POST and DELETE order. RESULT shows what a market order has come to, the default ACK that it is NEW."""
    content = perpetual_order(order, market)
    del content["time"]
    content["cumQty"] = content["executedQty"]
    if response_type != "RESULT" and order.status != "CANCELED":
        empty = on_grid(ZERO, market.lot)
        content |= {"status": "NEW", "executedQty": empty, "cumQty": empty, "cumQuote": "0.00000", "avgPrice": "0.00"}
    return content


def algo_order(order: VenueOrder, market: VenueMarket) -> Json:
    """Conditional orders of USD-M, which live in a service of their own (since 2025-12-09)."""
    spawned = order.spawned
    status = order.status
    if status == "TRIGGERED" and (spawned is None or not spawned.is_open):
        status = "FINISHED"
    average = spawned.value / spawned.executed if spawned is not None and spawned.executed else ZERO
    return {
        "algoId": order.order_id,
        "clientAlgoId": order.client_id,
        "algoType": "CONDITIONAL",
        "orderType": order.kind,
        "symbol": market.id,
        "side": WORDS[order.side],
        "positionSide": "BOTH",
        "timeInForce": order.time_in_force,
        "quantity": on_grid(order.quantity, market.lot),
        "algoStatus": status,
        "actualOrderId": "" if spawned is None else str(spawned.order_id),
        "actualPrice": f"{average:.5f}",
        "triggerPrice": on_grid(order.stop_price, market.tick),
        "price": on_grid(order.price, market.tick),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": "CONTRACT_PRICE",
        "priceMatch": "NONE",
        "closePosition": False,
        "priceProtect": False,
        "reduceOnly": order.reduce_only,
        "createTime": order.time_ms,
        "updateTime": order.update_ms,
        "triggerTime": order.update_ms if order.is_triggered else 0,
        "goodTillDate": 0,
    }


def perpetual_trade(trade: VenueTrade) -> Json:
    return {
        "symbol": market_id(trade.order.symbol),
        "id": trade.trade_id,
        "orderId": trade.order.order_id,
        "side": WORDS[trade.order.side],
        "price": decimal_text(trade.price),
        "qty": decimal_text(trade.quantity),
        "realizedPnl": eight(trade.realised),
        "quoteQty": decimal_text(trade.value),
        "commission": eight(trade.commission),
        "commissionAsset": trade.commission_asset,
        "time": trade.time_ms,
        "positionSide": "BOTH",
        "maker": trade.is_maker,
        "buyer": trade.order.side > 0,
    }


def position_risk(venue: Venue, account: VenueAccount, now_ms: int) -> list[Json]:
    """GET v3/positionRisk: only symbols with a position."""
    rows = []
    for symbol, position in account.positions.items():
        if not position.quantity:
            continue
        market = venue.markets[symbol]
        notional = position.quantity * market.price
        margin = abs(notional) / account.leverage
        rows.append(
            {
                "symbol": market.id,
                "positionSide": "BOTH",
                "positionAmt": on_grid(position.quantity, market.lot),
                "entryPrice": decimal_text(position.entry_price.quantize(Decimal("0.00000001"))),
                "breakEvenPrice": decimal_text(position.entry_price.quantize(Decimal("0.00000001"))),
                "markPrice": eight(market.price),
                "unRealizedProfit": eight(notional - position.cost),
                "liquidationPrice": "0",
                "isolatedMargin": "0",
                "notional": eight(notional),
                "marginAsset": market.quote,
                "isolatedWallet": "0",
                "initialMargin": eight(margin),
                "maintMargin": eight(margin / 10),
                "positionInitialMargin": eight(margin),
                "openOrderInitialMargin": "0",
                "adl": 2,
                "bidNotional": "0",
                "askNotional": "0",
                "updateTime": now_ms,
            }
        )
    return rows


def perpetual_balances(venue: Venue, account: VenueAccount, now_ms: int) -> list[Json]:
    """GET v2/balance and v3/balance."""
    rows = []
    for asset, amount in account.wallet.items():
        profit = unrealised(venue, account, asset)
        free = max(min(venue.futures_free(account), amount + profit), ZERO)
        rows.append(
            {
                "accountAlias": "SgsR",
                "asset": asset,
                "balance": eight(amount),
                "crossWalletBalance": eight(amount),
                "crossUnPnl": eight(profit),
                "availableBalance": eight(free),
                "maxWithdrawAmount": eight(free),
                "marginAvailable": True,
                "updateTime": now_ms,
            }
        )
    return rows


def perpetual_account(venue: Venue, account: VenueAccount, now_ms: int) -> Json:
    """GET v2/account and v3/account."""
    assets = []
    for asset, amount in account.wallet.items():
        profit = unrealised(venue, account, asset)
        free = max(min(venue.futures_free(account), amount + profit), ZERO)
        assets.append(
            {
                "asset": asset,
                "walletBalance": eight(amount),
                "unrealizedProfit": eight(profit),
                "marginBalance": eight(amount + profit),
                "maintMargin": "0.00000000",
                "initialMargin": eight(amount + profit - free),
                "positionInitialMargin": eight(amount + profit - free),
                "openOrderInitialMargin": "0.00000000",
                "crossWalletBalance": eight(amount),
                "crossUnPnl": eight(profit),
                "availableBalance": eight(free),
                "maxWithdrawAmount": eight(free),
                "updateTime": now_ms,
            }
        )
    names = {
        "positionAmt", "symbol", "positionSide", "notional", "isolatedMargin", "isolatedWallet", "initialMargin",
        "maintMargin", "updateTime",
    }  # fmt: skip
    positions = []
    for row in position_risk(venue, account, now_ms):
        position = {name: row[name] for name in row if name in names}
        positions.append(position | {"unrealizedProfit": row["unRealizedProfit"], "entryPrice": row["entryPrice"]})
    wallet = sum(account.wallet.values(), ZERO)
    profit = sum((unrealised(venue, account, asset) for asset in account.wallet), ZERO)
    return {
        "feeTier": 0,
        "canTrade": account.can_trade,
        "canDeposit": True,
        "canWithdraw": False,
        "multiAssetsMargin": False,
        "totalWalletBalance": eight(wallet),
        "totalUnrealizedProfit": eight(profit),
        "totalMarginBalance": eight(wallet + profit),
        "totalCrossWalletBalance": eight(wallet),
        "totalCrossUnPnl": eight(profit),
        "availableBalance": eight(max(venue.futures_free(account), ZERO)),
        "maxWithdrawAmount": eight(max(venue.futures_free(account), ZERO)),
        "assets": assets,
        "positions": positions,
    }


def unrealised(venue: Venue, account: VenueAccount, asset: str) -> Decimal:
    return sum(
        (
            position.quantity * venue.markets[symbol].price - position.cost
            for symbol, position in account.positions.items()
            if venue.markets[symbol].quote == asset
        ),
        ZERO,
    )
