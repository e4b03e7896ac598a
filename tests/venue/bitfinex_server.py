"""The part of Bitfinex's REST v2 on loopback that ccxt's ``bitfinex`` needs for spot: markets, candles, wallets,
orders, trades.

What differs from Binance, and is kept here: requests have no validity window; a client id is a number of 45 bits, asked
for together with its UTC day, and one used twice is taken twice ("should be unique in the day, not enforced"); a
submission is acknowledged as ACTIVE before it is matched; refusals come as HTTP 500 with ``["error", code, text]``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from .account import VenueAccount
from .clock import VenueClock
from .faults import Fate, Faults
from .http_server import Answer, LoopbackServer, Request
from .market import VenueMarket
from .model import Venue
from .orders import ZERO, NewOrder, VenueError, VenueOrder, VenueTrade

CID_BITS = 45
_POST_ONLY = 4096
_TWO_WEEKS_MS = 14 * 86_400_000
_PRICE_DIGITS = 5
_CODES = {"USDT": "UST"}
_KINDS = {
    "EXCHANGE MARKET": "MARKET",
    "EXCHANGE LIMIT": "LIMIT",
    "EXCHANGE IOC": "LIMIT",
    "EXCHANGE FOK": "LIMIT",
    "EXCHANGE STOP": "STOP_LOSS",
    "EXCHANGE STOP LIMIT": "STOP_LOSS_LIMIT",
}
_PATHS = (
    (r"/v2/conf/(?P<labels>.+)", "markets", "_conf"),
    (r"/v2/platform/status", None, "_status"),
    (r"/v2/tickers", "markets", "_tickers"),
    (r"/v2/ticker/(?P<symbol>[^/]+)", "markets", "_ticker"),
    (r"/v2/candles/trade:(?P<timeframe>\w+):(?P<symbol>[^/]+)/hist", "bars", "_candles"),
    (r"/v2/auth/r/wallets", "balances", "_wallets"),
    (r"/v2/auth/r/summary", "markets", "_summary"),
    (r"/v2/auth/r/positions", "positions", "_positions"),
    (r"/v2/auth/r/orders(/(?P<symbol>t[^/]+))?", "open_orders", "_orders"),
    (r"/v2/auth/r/orders(/(?P<symbol>t[^/]+))?/hist", "order", "_orders_ended"),
    (r"/v2/auth/r/order/(?P<symbol>t.+):(?P<id>\d+)/trades", "trades", "_order_trades"),
    (r"/v2/auth/r/trades(/(?P<symbol>t[^/]+))?/hist", "trades", "_trades"),
    (r"/v2/auth/w/order/submit", "place", "_submit"),
    (r"/v2/auth/w/order/cancel", "cancel", "_cancel"),
)
_ROUTES = tuple((re.compile(path), kind, name) for path, kind, name in _PATHS)
Fields = dict[str, Any]


class BitfinexServer(LoopbackServer):
    """Spot markets of the venue under Bitfinex's names: ``BTC/USDT`` is ``tBTCUST``."""

    def __init__(self, venue: Venue, *, faults: Faults | None = None, clock: VenueClock | None = None) -> None:
        super().__init__(venue, faults=faults, clock=clock)
        venue.refuses_open_client_ids = False
        self._markets = {pair(market): market for market in venue.markets.values() if not market.is_perpetual}
        self._nonces: dict[str, int] = {}
        self._post_only_cancelled: set[int] = set()

    def kind(self, request: Request) -> str | None:
        return next((kind for path, kind, _ in _ROUTES if path.fullmatch(request.path)), None)

    def refusal(self, fate: Fate) -> Answer:
        if not fate.code:
            return Answer(fate.status, f"<html><body>{fate.message}</body></html>", {"Content-Type": "text/html"})
        return _answer(["error", fate.code, fate.message], fate.status)

    def respond(self, request: Request, fate: Fate) -> Answer:
        matches = ((path.fullmatch(request.path), name) for path, _, name in _ROUTES)
        match, name = next(((match, name) for match, name in matches if match), (None, ""))
        if match is None:
            return _answer({"message": "not found"}, 404)
        parts: Fields = {key: value for key, value in match.groupdict().items() if value is not None}
        try:
            if not request.path.startswith("/v2/auth/"):
                return _answer(getattr(self, name)(parts | request.parameters()))
            account = self._account(request)
            fields = parts | json.loads(request.body or "{}")
            if name == "_submit":
                return _answer(self._submit(account, fields, fate))
            return _answer(getattr(self, name)(account, fields))
        except VenueError as error:
            return _answer(["error", *_in_their_words(error, request)], 500)

    def _account(self, request: Request) -> VenueAccount:
        """Return whose request it is; a nonce must be greater than the last one of its key."""
        key, nonce = request.headers.get("bfx-apikey", ""), request.headers.get("bfx-nonce", "")
        account = next((one for one in self.venue.accounts.values() if one.api_key == key), None)
        if account is None:
            raise VenueError(10100, "apikey: invalid")
        text = f"/api{request.path}{nonce}{request.body}"
        expected = hmac.new(account.api_secret.encode(), text.encode(), hashlib.sha384).hexdigest()
        if not hmac.compare_digest(request.headers.get("bfx-signature", ""), expected):
            raise VenueError(10100, "apikey: digest invalid")
        if not nonce.isdigit() or int(nonce) <= self._nonces.get(key, 0):
            raise VenueError(10114, "nonce: small")
        self._nonces[key] = int(nonce)
        return account

    # Public

    def _conf(self, fields: Fields) -> list[Any]:
        assets = sorted({_code(asset) for market in self._markets.values() for asset in (market.base, market.quote)})
        known: Fields = {
            "pub:info:pair": [
                [name[1:], [None, None, None, str(market.quantity_minimum), str(market.quantity_maximum), *[None] * 7]]
                for name, market in self._markets.items()
            ],
            "pub:list:currency": assets,
        }
        return [known.get(label, []) for label in fields["labels"].split(",")]

    def _status(self, _: Fields) -> list[int]:
        return [1]

    def _ticker(self, fields: Fields) -> list[float]:
        market = self._market(fields)
        price, bid, ask = float(market.price), float(market.bid), float(market.ask)
        return [bid, 10.0, ask, 10.0, 0.0, 0.0, price, 1000.0, price, price]

    def _tickers(self, fields: Fields) -> list[list[Any]]:
        wanted = fields.get("symbols", "ALL").split(",")
        names = [name for name in self._markets if wanted == ["ALL"] or name in wanted]
        return [[name, *self._ticker({"symbol": name})] for name in names]

    def _candles(self, fields: Fields) -> list[list[float]]:
        """Open, close, high, low: in this order. The newest first unless ``sort`` is 1."""
        timeframe = str(fields["timeframe"])
        timeframe = {"1D": "1d", "1W": "1w"}.get(timeframe, timeframe)
        bars = self.venue.bars.get((self._market(fields).symbol, timeframe))
        if bars is None:
            return []
        seen = self.venue.now_ms() - self.venue.bars_delay_ms
        first, last = int(fields.get("start", 0)), min(int(fields.get("end", seen)), seen)
        rows: list[list[float]] = []
        for row in range(
            int(bars.open_time.searchsorted(first, "left")), int(bars.open_time.searchsorted(last, "right"))
        ):
            opened, price = int(bars.open_time[row]), float(bars.open[row])
            if opened + bars.bar_ms <= seen:
                prices = [float(getattr(bars, name)[row]) for name in ("open", "close", "high", "low")]
                rows.append([opened, *prices, float(bars.volume[row])])
            else:
                rows.append([opened, price, price, price, price, float(bars.volume[row]) / 2.0])
        return _page(rows, fields, 100)

    # The account

    def _wallets(self, account: VenueAccount, _: Fields) -> list[list[Any]]:
        return [
            ["exchange", _code(asset), float(free + account.locked.get(asset, ZERO)), 0, float(free), None, None]
            for asset, free in account.free.items()
        ]

    def _summary(self, _: VenueAccount, __: Fields) -> list[Any]:
        market = next(iter(self._markets.values()))
        maker, taker = float(market.maker_fee_rate), float(market.taker_fee_rate)
        rates = [[maker, maker, maker, None, None, 0.0002], [taker, taker, taker, None, None, 0.00065]]
        return [None, None, None, None, rates, [[{}], {}, 0], [None, {}, 0], None, None, {"leo_lev": 0}]

    def _positions(self, _: VenueAccount, __: Fields) -> list[Any]:
        return []

    def _market(self, fields: Fields) -> VenueMarket:
        market = self._markets.get(str(fields.get("symbol", "")))
        if market is None:
            raise VenueError(10020, "symbol: invalid")
        return market

    def _visible(self, account: VenueAccount, fields: Fields, *, is_open: bool) -> list[VenueOrder]:
        now = self.venue.now_ms()
        symbol = self._market(fields).symbol if "symbol" in fields else None
        ids = fields.get("id")
        return [
            order
            for name, orders in account.orders.items()
            if symbol in (None, name)
            for order in orders
            if order.is_open == is_open
            and order.invisible_until_ms <= now
            and (ids is None or order.order_id in ids)
            and ("cid" not in fields or _is_cid(order, fields))
        ]

    def _orders(self, account: VenueAccount, fields: Fields) -> list[list[Any]]:
        return [self._form(order) for order in self._visible(account, fields, is_open=True)]

    def _orders_ended(self, account: VenueAccount, fields: Fields) -> list[list[Any]]:
        """Ended orders of the last two weeks, the newest first; it cannot be asked for a client id."""
        now = self.venue.now_ms()
        fields = {name: value for name, value in fields.items() if name not in ("cid", "cid_date")}
        first, last = int(fields.get("start", 0)), int(fields.get("end", now))
        found: list[tuple[int, VenueOrder]] = [
            (order.update_ms, order)
            for order in self._visible(account, fields, is_open=False)
            if first <= order.update_ms <= last and order.update_ms >= now - _TWO_WEEKS_MS
        ]
        found.sort(key=lambda row: (row[0], row[1].order_id))
        return [self._form(order) for _, order in _page(found, fields, 25)]

    def _order_trades(self, account: VenueAccount, fields: Fields) -> list[list[Any]]:
        symbol = self._market(fields).symbol
        found = self.venue.trades(account.name, symbol, order_id=int(fields["id"]))
        return [self._trade_form(trade) for trade in reversed(found)]

    def _trades(self, account: VenueAccount, fields: Fields) -> list[list[Any]]:
        symbols = [self._market(fields).symbol] if "symbol" in fields else list(account.trades)
        first, last = int(fields.get("start", 0)), int(fields.get("end", self.venue.now_ms()))
        found: list[tuple[int, VenueTrade]] = [
            (trade.time_ms, trade)
            for symbol in symbols
            for trade in self.venue.trades(account.name, symbol)
            if first <= trade.time_ms <= last
        ]
        found.sort(key=lambda row: (row[0], row[1].trade_id))
        return [self._trade_form(trade) for _, trade in _page(found, fields, 25)]

    # Orders

    def _submit(self, account: VenueAccount, fields: Fields, fate: Fate) -> list[Any]:
        market, kind = self._market(fields), str(fields.get("type", ""))
        if kind not in _KINDS:
            raise VenueError(10020, "type: invalid")
        cid = fields.get("cid")
        if cid is not None and (type(cid) is not int or not 0 <= cid < 2**CID_BITS):
            raise VenueError(10020, "cid: invalid")
        amount = _amount(fields)
        price = _cut(fields["price"]) if kind != "EXCHANGE MARKET" else None
        is_stop = "STOP" in kind
        is_post_only = bool(int(fields.get("flags") or 0) & _POST_ONLY)
        new = NewOrder(
            market.symbol,
            1 if amount > 0 else -1,
            "LIMIT_MAKER" if is_post_only and kind == "EXCHANGE LIMIT" else _KINDS[kind],
            abs(amount),
            "" if cid is None else str(cid),
            _cut(fields["price_aux_limit"]) if kind == "EXCHANGE STOP LIMIT" else None if is_stop else price,
            price if is_stop else None,
            {"EXCHANGE IOC": "IOC", "EXCHANGE FOK": "FOK"}.get(kind, "GTC"),
            False,
            fate.fractions,
            fate.rest_expires,
            fate.invisible_ms,
            fate.trades_late_ms,
        )
        try:
            order = self.venue.place(account.name, new)
        except VenueError as error:
            if new.kind != "LIMIT_MAKER" or "immediately match" not in error.message:
                raise
            order = self.venue.record(account.name, new, "CANCELED")
            self._post_only_cancelled.add(order.order_id)
        form = self._form(order)
        form[6], form[13], form[17] = form[7], "ACTIVE", 0.0  # before it is matched
        return [order.time_ms // 1000, "on-req", None, None, [form], None, "SUCCESS", "Submitting 1 orders."]

    def _cancel(self, account: VenueAccount, fields: Fields) -> list[Any]:
        ids = None if fields.get("id") is None else [int(fields["id"])]
        wanted: Fields = {name: fields[name] for name in ("cid", "cid_date") if name in fields}
        if ids is None and set(wanted) != {"cid", "cid_date"}:
            raise VenueError(10020, "id: invalid")
        found = [
            order
            for symbol in account.orders
            for order in self.venue.open.get(symbol, {}).values()
            if order.account == account.name and (order.order_id in ids if ids is not None else _is_cid(order, wanted))
        ]
        if not found:
            raise VenueError(10001, "Order not found.")
        order = found[-1]
        form = self._form(order)
        self.venue.cancel(account.name, order.symbol, order.order_id, "")
        text = f"Submitted for cancellation; waiting for confirmation (ID: {order.order_id})."
        return [self.venue.now_ms(), "oc-req", None, None, form, None, "SUCCESS", text]

    # Forms

    def _form(self, order: VenueOrder) -> list[Any]:
        market = self.venue.markets[order.symbol]
        average = float(order.value / order.executed) if order.executed else 0.0
        is_stop = order.stop_price is not None
        row: list[Any] = [None] * 32
        row[0], row[2], row[3] = (
            order.order_id,
            int(order.client_id) if order.client_id.isdigit() else None,
            pair(market),
        )
        row[4], row[5] = order.time_ms, order.update_ms
        row[6], row[7] = float(order.remaining * order.side), float(order.quantity * order.side)
        row[8] = _their_kind(order)
        row[12] = _POST_ONLY if order.kind == "LIMIT_MAKER" else 0
        row[13] = self._status_text(order, average)
        row[16] = float((order.stop_price if is_stop else order.price) or 0)
        row[17], row[18] = average, 0
        row[19] = float(order.price or 0) if is_stop else 0
        row[23], row[24], row[28], row[31] = 0, 0, "API>BFX", {}
        return row

    def _status_text(self, order: VenueOrder, average: float) -> str:
        filled = f"@ {average}({float(order.executed * order.side)})"
        if order.order_id in self._post_only_cancelled:
            return "POSTONLY CANCELED"
        if order.status == "NEW":
            return "ACTIVE"
        if order.status == "PARTIALLY_FILLED":
            return f"PARTIALLY FILLED {filled}"
        if order.status == "FILLED":
            return f"EXECUTED {filled}"
        word = {"IOC": "IOC CANCELED", "FOK": "FILLORKILL CANCELED"}.get(order.time_in_force, "CANCELED")
        return f"{word} was: PARTIALLY FILLED {filled}" if order.executed else word

    def _trade_form(self, trade: VenueTrade) -> list[Any]:
        order = trade.order
        price = float(order.price or order.stop_price or trade.price)
        cid = int(order.client_id) if order.client_id.isdigit() else None
        return [
            trade.trade_id, pair(self.venue.markets[order.symbol]), trade.time_ms, order.order_id,
            float(trade.quantity * order.side), float(trade.price), _their_kind(order), price,
            1 if trade.is_maker else -1, float(-trade.commission), _code(trade.commission_asset), cid,
        ]  # fmt: skip


def pair(market: VenueMarket) -> str:
    """Return ``tBTCUST``; assets of more than three letters are parted by a colon."""
    base, quote = _code(market.base), _code(market.quote)
    return f"t{base}{quote}" if len(base) == len(quote) == 3 else f"t{base}:{quote}"


def _code(asset: str) -> str:
    return _CODES.get(asset, asset)


def _their_kind(order: VenueOrder) -> str:
    if order.time_in_force != "GTC":
        return f"EXCHANGE {order.time_in_force}"
    kind = "LIMIT" if order.kind == "LIMIT_MAKER" else order.kind
    return next(theirs for theirs, ours in _KINDS.items() if ours == kind)


def _is_cid(order: VenueOrder, fields: Fields) -> bool:
    day = datetime.fromtimestamp(order.time_ms / 1000, UTC).strftime("%Y-%m-%d")
    return order.client_id == str(fields["cid"]) and fields.get("cid_date") in (None, day)


def _amount(fields: Fields) -> Decimal:
    text = str(fields.get("amount", ""))
    if not re.fullmatch(r"-?\d+(\.\d+)?", text) or not Decimal(text):
        raise VenueError(10020, "amount: invalid")
    return Decimal(text).quantize(Decimal("0.00000001"))


def _cut(text: object) -> Decimal:
    """Return a price cut to five significant digits and eight decimals, as the exchange does."""
    if not re.fullmatch(r"\d+(\.\d+)?", str(text)):
        raise VenueError(10020, "price: invalid")
    price = Decimal(str(text))
    finest = max(price.adjusted() - _PRICE_DIGITS + 1, -8)
    return (price / Decimal(1).scaleb(finest)).to_integral_value(ROUND_DOWN) * Decimal(1).scaleb(finest)


def _page(rows: list[Any], fields: Fields, limit_default: int) -> list[Any]:
    """Return the first rows where ``sort`` is 1, else the last ones, the newest first; rows are ascending."""
    limit = int(fields.get("limit") or limit_default)
    return rows[:limit] if str(fields.get("sort", -1)) == "1" else rows[::-1][:limit]


def _in_their_words(error: VenueError, request: Request) -> tuple[int, str]:
    if error.code > 0:
        return error.code, error.message
    fields = json.loads(request.body or "{}")
    what = f"{fields.get('amount')} {str(fields.get('symbol'))[1:]} at {fields.get('price', 'market')}"
    if "insufficient" in error.message:
        return 10001, f"Invalid order: not enough exchange balance for {what}"
    if error.code == -1013:
        return 10001, f"Invalid order: minimum size for {str(fields.get('symbol'))[1:]}"
    return 10001, f"Invalid order: {error.message}"


def _answer(content: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(content), {"Content-Type": "application/json; charset=utf-8"})
