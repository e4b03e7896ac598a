"""The ccxt adapter: what is sent, how often, and what each answer becomes; the rest is in the contract of the port."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from ccxt_world import PERPETUAL, SPOT, World
from venue import faults
from venue.binance_server import BinanceServer
from venue.bitfinex_server import BitfinexServer
from venue.clock import RealClock
from venue.faults import Fate
from venue.http_server import Answer as HttpAnswer
from venue.http_server import Request
from venue.market import VenueMarket, make_markets

from trading_runtime.core.errors import ConfigurationError, DataError, ExchangeUnavailable, FateUnknown
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.money import AMOUNT_MAX
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.state import Order
from trading_runtime.exchanges.answers import shown
from trading_runtime.exchanges.bitfinex import client_number
from trading_runtime.exchanges.ccxt_candles import Page, Row, checked_rows, closed_bars
from trading_runtime.exchanges.ccxt_exchange import CcxtExchange
from trading_runtime.exchanges.ccxt_instruments import instrument_of
from trading_runtime.exchanges.connection import ATTEMPTS_MAX, WAIT_SECONDS_MAX
from trading_runtime.exchanges.credentials import Credentials, credentials_from_environment
from trading_runtime.exchanges.port import Fee, NotPlaced

ORDER_PATHS = ("/api/v3/order", "/fapi/v1/order", "/fapi/v1/algoOrder")


class WaitingClock(RealClock):
    """This computer's clock; waiting is only written down."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class Opened:
    """A server with ccxt before it."""

    def __init__(self, world: World, server: BinanceServer, symbol: str, **settings: object) -> None:
        self.world, self.server, self.symbol = world, server, symbol
        self.clock = WaitingClock()
        self.exchange = world.over_ccxt(server, symbol, **{"clock": self.clock, "timeout_seconds": 0.5, **settings})
        self._leg = 0

    def order(self, kind: str = "market", side: int = 1, quantity: str = "0.01", **settings: object) -> Order:
        self._leg += 1
        leg = f"leg{self._leg}"
        order_id = client_order_id("account", "strategy", self.symbol, self.world.slot, leg)
        units = int(Decimal(quantity) * 10**8)
        return Order(order_id, self.symbol, kind, side, units, slot=self.world.slot, leg=leg, **settings)

    def place(self, order: Order) -> object:
        return self.exchange.place(order, self.exchange.server_time_ms())

    def cancel(self, order: Order) -> None:
        self.exchange.cancel(order, self.exchange.server_time_ms())

    def sent(self, method: str) -> list[dict[str, str]]:
        """Return the parameters of every order request that reached the server."""
        return [
            request.parameters()
            for request in self.server.requests
            if request.method == method and request.path in ORDER_PATHS
        ]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)  # between two looks


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def spot(world: World) -> Iterator[Opened]:
    with world.server() as server:
        opened = Opened(world, server, SPOT)
        yield opened
        opened.exchange.close()


@pytest.fixture
def perpetual(world: World) -> Iterator[Opened]:
    with world.server() as server:
        opened = Opened(world, server, PERPETUAL)
        yield opened
        opened.exchange.close()


# Orders are sent once, and what is not certain is unknown


@pytest.mark.parametrize(
    "fate",
    [
        faults.lost_request(),
        faults.lost_answer(),
        faults.late_request(50),
        faults.lost_answer(900),  # the client gives up waiting first
        faults.error(504, -1007, executed=True),
        faults.error(504, -1007),
        faults.error(500, executed=True),
        faults.error(502),
        faults.error(503, -1008),
        faults.error(503, message="Service Unavailable"),
        faults.error(400, -1006, executed=True),
        faults.error(400, -1001),
        faults.error(400, -9999, message="a code of the future"),
        faults.error(400),
        faults.error(200, message="a page where JSON should be"),
        faults.error(500, -2010),  # of a 5xx no code is believed
        faults.error(302),
    ],
    ids=lambda fate: f"{fate.way}-{fate.status}-{fate.code}-{fate.executed}",
)
@pytest.mark.parametrize("kind", ["place", "cancel"])
def test_an_uncertain_answer_is_unknown_and_nothing_is_sent_again(spot: Opened, fate: Fate, kind: str) -> None:
    order = spot.order("limit", price=40000.0)
    if kind == "cancel":
        spot.place(order)
    spot.exchange.open_orders([SPOT])
    spot.world.faults.then(kind, fate)
    with pytest.raises(FateUnknown, match=order.order_id):
        (spot.place if kind == "place" else spot.cancel)(order)
    if fate.way == "late_request":
        ended = "open" if kind == "place" else "cancelled"
        wait_for(lambda: (report := spot.exchange.order(order)) is not None and report.status == ended)
    assert len(spot.sent("POST")) == 1
    assert len(spot.sent("DELETE")) == (kind == "cancel")
    was_executed = fate.executed or fate.way in ("lost_answer", "late_request")
    report = spot.exchange.order(order)
    if kind == "place":
        assert (report is not None) == was_executed
    else:
        assert report is not None
        assert (report.status == "cancelled") == was_executed


@pytest.mark.parametrize(
    ("status", "code", "message", "reason"),
    [
        (400, -2010, "Account has insufficient balance for requested action.", "funds"),
        (400, -2010, "Duplicate order sent.", "duplicate"),
        (400, -2010, "Order would immediately match and take.", "post_only"),
        (400, -2010, "Stop price would trigger immediately.", "rejected"),
        (400, -2010, "Market is closed.", "rejected"),
        (400, -1013, "Filter failure: LOT_SIZE", "filters"),
        (400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE", "filters"),
        (400, -1111, "Precision is over the maximum defined for this asset.", "filters"),
        (400, -1021, "Timestamp for this request is outside of the recvWindow.", "too_late"),
        (400, -1015, "Too many new orders; current limit is 50 orders per 10 SECOND.", "rate_limit"),
        (429, -1003, "Too many requests.", "rate_limit"),
        (418, -1003, "Way too many requests; IP banned until 1700000000000.", "rate_limit"),
        (403, 0, "Forbidden by the firewall", "rate_limit"),
        (400, -2019, "Margin is insufficient.", "funds"),
        (400, -4164, "Order's notional must be no smaller than 5.0", "filters"),
        (400, -5022, "the Post Only order will be rejected.", "post_only"),
        (400, -5021, "the FOK order has been rejected.", "rejected"),
        (400, -2022, "ReduceOnly Order is rejected.", "rejected"),
        (400, -2021, "Order would immediately trigger.", "rejected"),
        (400, -4116, "ClientOrderId is duplicated.", "duplicate"),
    ],
)
@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
def test_a_certain_refusal_is_not_placed(
    world: World, symbol: str, status: int, code: int, message: str, reason: str
) -> None:
    with world.server() as server:
        opened = Opened(world, server, symbol)
        world.faults.then("place", faults.error(status, code, message=message, retry_seconds=7))
        with pytest.raises(NotPlaced) as caught:
            opened.place(opened.order())
        opened.exchange.close()
    assert caught.value.reason == reason
    assert caught.value.retry_seconds == 7
    assert len(opened.sent("POST")) == 1
    if code:
        assert str(code) in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code"), [(401, -2014), (401, -2015), (400, -1022), (400, -2015), (401, 0), (451, 0), (400, -4061)]
)
def test_refused_credentials_are_a_matter_of_configuration(spot: Opened, status: int, code: int) -> None:
    fate = faults.error(status, code, message="refused")
    order = spot.order()
    calls: list[tuple[faults.CallKind, Callable[[], object]]] = [
        ("place", lambda: spot.place(order)),
        ("cancel", lambda: spot.cancel(order)),
        ("order", lambda: spot.exchange.order(order)),
        ("balances", spot.exchange.balances),
    ]
    for kind, call in calls:
        spot.world.faults.then(kind, fate)
        with pytest.raises(ConfigurationError):
            call()
    assert spot.clock.waits == []


def test_wrong_credentials_are_refused_by_the_server(world: World) -> None:
    with world.server() as server:
        for wrong in (Credentials(world.account.api_key, "x"), Credentials("x", world.account.api_secret)):
            exchange = world.over_ccxt(server, SPOT, credentials=wrong)
            with pytest.raises(ConfigurationError, match=r"-1022|-2015|-2014"):
                exchange.balances()
            exchange.close()


def test_a_cancel_that_is_refused_for_certain_says_so(spot: Opened) -> None:
    order = spot.order("limit", price=40000.0)
    spot.place(order)
    for fate, reason in (
        (faults.error(429, -1003, retry_seconds=2), "rate_limit"),
        (faults.error(400, -1021), "too_late"),
    ):
        spot.world.faults.then("cancel", fate)
        with pytest.raises(NotPlaced) as caught:
            spot.cancel(order)
        assert caught.value.reason == reason
    spot.cancel(order)
    assert len(spot.sent("DELETE")) == 3


def test_a_cancel_rejected_for_another_reason_is_unknown(spot: Opened) -> None:
    spot.world.faults.then("cancel", faults.error(400, -2011, message="This action is disabled on this account."))
    with pytest.raises(FateUnknown):
        spot.cancel(spot.order())


def test_no_connection_means_that_nothing_was_sent(spot: Opened) -> None:
    spot.exchange.instruments([SPOT])
    stamp = spot.exchange.server_time_ms()
    with socket.socket() as taken:  # bound, but nobody listens: every connection is refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        api = spot.exchange._client.urls["api"]
        spot.exchange._client.urls["api"] = {
            name: url.replace(spot.server.url, f"http://127.0.0.1:{port}") for name, url in api.items()
        }
        for call in (spot.exchange.place, spot.exchange.cancel):
            with pytest.raises(NotPlaced) as caught:
                call(spot.order(), stamp)
            assert caught.value.reason == "unreachable"
        with pytest.raises(ExchangeUnavailable, match="no connection"):
            spot.exchange.balances()
    assert spot.sent("POST") == []


def test_a_connection_that_was_not_understood_is_doubt(spot: Opened) -> None:
    stamp = spot.exchange.server_time_ms()
    spot.exchange.instruments([SPOT])
    client = spot.exchange._client
    client.urls["api"] = {name: url.replace("http://", "https://") for name, url in client.urls["api"].items()}
    with pytest.raises(FateUnknown):
        spot.exchange.place(spot.order(), stamp)


def test_a_connection_that_was_closed_meanwhile_is_no_doubt(spot: Opened) -> None:
    for _ in range(5):
        spot.exchange.balances()
        for connection in list(spot.server._connections):
            with contextlib.suppress(OSError):  # it may just have gone by itself
                connection.shutdown(socket.SHUT_RDWR)  # the client learns it when it uses the connection
        spot.place(spot.order())
    assert len(spot.sent("POST")) == 5


def test_each_order_has_a_connection_of_its_own(spot: Opened) -> None:
    spot.exchange.balances()
    seen: set[socket.socket] = set(spot.server._connections)
    spot.place(spot.order())
    assert not seen & set(spot.server._connections)


class RedirectingServer(BinanceServer):
    status = 307

    def respond(self, request: Request, fate: Fate) -> HttpAnswer:
        if request.method == "POST":
            return HttpAnswer(self.status, "", {"Location": f"{self.url}/api/v3/order?moved=1"})
        return super().respond(request, fate)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_order_is_not_redirected(world: World, status: int) -> None:
    with RedirectingServer(world.venue, clock=world.clock) as server:
        server.status = status
        opened = Opened(world, server, SPOT)
        with pytest.raises(FateUnknown):
            opened.place(opened.order())
        opened.exchange.close()
        assert [one.query for one in server.requests if "order" in one.path] == [""]
        assert world.venue.accepted == []


class LyingServer(BinanceServer):
    """Answers every order with one that is not the one that was sent."""

    change: tuple[str, str] = ("", "")

    def respond(self, request: Request, fate: Fate) -> HttpAnswer:
        answer = super().respond(request, fate)
        if request.path in ORDER_PATHS and request.method != "DELETE":
            return HttpAnswer(answer.status, answer.body.replace(*self.change), answer.headers)
        return answer


@pytest.mark.parametrize(
    "change",
    [
        ('"clientOrderId": "tr-', '"clientOrderId": "xx-'),
        ('"side": "BUY"', '"side": "SELL"'),
        ('"side": "BUY"', '"side": "LEFT"'),
        ('"status": "FILLED"', '"status": "A_NEW_ONE"'),
        ('"executedQty": "0.01', '"executedQty": "5.01'),
        ('"executedQty": "0.01', '"executedQty": "none'),
        ('"orderId"', '"orderNumber"'),
        ("{", "["),
    ],
    ids=lambda change: change[1],
)
def test_an_answer_that_makes_no_sense_is_unknown(world: World, change: tuple[str, str]) -> None:
    with LyingServer(world.venue, clock=world.clock) as server:
        opened = Opened(world, server, SPOT)
        opened.exchange.instruments([SPOT])
        server.change = change
        order = opened.order()
        with pytest.raises(FateUnknown):
            opened.place(order)
        if "clientOrderId" not in change[0]:  # asked for by it, so that it is known
            with pytest.raises(ExchangeUnavailable):
                opened.exchange.order(order)
        opened.exchange.close()
    assert len(world.venue.accepted) == 1


class GarbageServer(BinanceServer):
    """Answers requests whose path ends in ``path`` with ``garbage``, without looking at them."""

    path = "nothing"
    garbage = (200, "")

    def respond(self, request: Request, fate: Fate) -> HttpAnswer:
        if request.path.endswith(self.path):
            status, body = self.garbage
            return HttpAnswer(status, body, {"Content-Type": "application/json"})
        return super().respond(request, fate)


BODIES = (
    "", "null", "7", '"text"', "[]", "[[]]", "[null]", "[1, 2]", "[[1, 2, 3, 4, 5, 6]]", "[" * 5000,
    '[["a", "b", "c", "d", "e", "f"]]', '[[1700000000000, "x", "y", "z", "1", "2"]]',
    "{}", "[{}]", '{"code": null}', '{"code": "x"}', '{"code": {}}', '{"code": 5, "msg": []}', '{"symbols": [{}]}',
    '{"symbols": 5}', '{"serverTime": "soon"}', '{"balances": [{"asset": "A", "free": "x", "locked": "y"}]}',
    '[{"id": 1, "price": "x", "qty": "y", "time": "z", "symbol": "BTCUSDT"}]', '[{"symbol": "BTCUSDT"}]',
    '[{"maker": "x"}]', '{"price": "free"}', '{"orderId": 1, "status": "NEW"}', "<html>busy</html>",
)  # fmt: skip


@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
@pytest.mark.parametrize("status", [200, 204, 400, 502])
def test_no_answer_whatever_leads_to_another_error_than_the_port_s(world: World, symbol: str, status: int) -> None:
    api = "/fapi/v1/" if ":" in symbol else "/api/v3/"
    account = "/fapi/v3/account" if ":" in symbol else "/api/v3/account"
    trades = "userTrades" if ":" in symbol else "myTrades"
    with GarbageServer(world.venue, clock=world.clock) as server:
        opened = Opened(world, server, symbol)
        exchange = opened.exchange
        report = exchange.place(opened.order(), exchange.server_time_ms())
        questions: list[tuple[str, Callable[[], object]]] = [
            (account, exchange.balances),
            (f"{api}openOrders", lambda: exchange.open_orders([symbol])),
            (f"{api}order", lambda: exchange.order(opened.order())),
            (f"{api}{trades}", lambda: exchange.trades(report)),
            (f"{api}{trades}", lambda: exchange.trades_since(symbol, world.slot)),
            (f"{api}klines", lambda: exchange.bars(symbol, "1h", 3, world.slot)),
            (f"{api}ticker/price", lambda: exchange.quote_price("BTC", "USDT")),
            (f"{api}exchangeInfo", lambda: exchange.instruments([symbol])),
            ("commissionRate" if ":" in symbol else "tradeFee", lambda: exchange.instruments([symbol])),
        ]
        if ":" in symbol:
            questions += [
                ("/fapi/v3/positionRisk", lambda: exchange.positions([symbol])),
                ("/fapi/v1/income", lambda: exchange.funding_since(symbol, world.slot)),
                ("/fapi/v1/openAlgoOrders", lambda: exchange.open_orders([symbol])),
            ]
        for path, question in questions:
            server.path = path
            for body in BODIES:
                server.garbage = (status, body)
                try:
                    question()
                except (ExchangeUnavailable, ConfigurationError, DataError) as error:
                    assert "\n" not in str(error)  # noqa: PT017 - every kind of error is looked at
                else:
                    assert status == 200, f"{path} {status} {body}"
        server.path = f"{api}order"
        for body in BODIES:
            server.garbage = (status, body)
            with pytest.raises(FateUnknown):
                opened.place(opened.order())
            with pytest.raises(FateUnknown):
                opened.cancel(opened.order())
        exchange.close()


# What is sent


def test_the_stamp_and_the_window_of_an_order_are_the_ones_given(world: World) -> None:
    for symbol in (SPOT, PERPETUAL):
        with world.server() as server:
            opened = Opened(world, server, symbol, validity_window_ms=4321)
            stamp = opened.exchange.server_time_ms() - 137
            order = opened.order("limit", price=40000.0)
            opened.exchange.place(order, stamp)
            opened.exchange.cancel(order, stamp + 1)
            stop = opened.order("stop", -1, price=40000.0)
            opened.exchange.place(stop, stamp)
            opened.exchange.cancel(stop, stamp + 1)
            opened.exchange.close()
        stamps = [(one["timestamp"], one["recvWindow"]) for one in opened.sent("POST")]
        assert stamps == [(str(stamp), "4321")] * 2
        stamps = [(one["timestamp"], one["recvWindow"]) for one in opened.sent("DELETE")]
        assert stamps == [(str(stamp + 1), "4321")] * 2
        assert opened.exchange.capabilities.validity_window_ms == 4321


@pytest.mark.parametrize(
    ("symbol", "order", "expected"),
    [
        (SPOT, {"kind": "market"}, {"type": "MARKET"}),
        (SPOT, {"kind": "limit", "price": 40000.5}, {"type": "LIMIT", "timeInForce": "GTC", "price": "40000.5"}),
        (
            SPOT,
            {"kind": "limit", "price": 40000.0, "time_in_force": "ioc"},
            {"type": "LIMIT", "timeInForce": "IOC", "price": "40000"},
        ),
        (
            SPOT,
            {"kind": "limit", "price": 40000.0, "time_in_force": "fok"},
            {"type": "LIMIT", "timeInForce": "FOK", "price": "40000"},
        ),
        (SPOT, {"kind": "limit", "price": 40000.0, "post_only": True}, {"type": "LIMIT_MAKER", "price": "40000"}),
        (SPOT, {"kind": "stop", "side": -1, "price": 40000.0}, {"type": "STOP_LOSS", "stopPrice": "40000"}),
        (
            SPOT,
            {"kind": "take_profit", "side": -1, "price": 60000.0, "reduce_only": True},
            {"type": "TAKE_PROFIT", "stopPrice": "60000"},
        ),
        (PERPETUAL, {"kind": "market"}, {"type": "MARKET"}),
        (PERPETUAL, {"kind": "limit", "price": 40000.1}, {"type": "LIMIT", "timeInForce": "GTC", "price": "40000.1"}),
        (
            PERPETUAL,
            {"kind": "limit", "price": 40000.0, "post_only": True},
            {"type": "LIMIT", "timeInForce": "GTX", "price": "40000"},
        ),
        (
            PERPETUAL,
            {"kind": "stop", "side": -1, "price": 40000.0, "reduce_only": True},
            {"type": "STOP_MARKET", "triggerPrice": "40000", "reduceOnly": "true", "algoType": "CONDITIONAL"},
        ),
        (
            PERPETUAL,
            {"kind": "take_profit", "side": -1, "price": 60000.0, "reduce_only": True},
            {"type": "TAKE_PROFIT_MARKET", "triggerPrice": "60000", "reduceOnly": "true", "algoType": "CONDITIONAL"},
        ),
    ],
)
def test_an_order_is_written_as_the_exchange_expects_it(
    world: World, symbol: str, order: dict[str, object], expected: dict[str, str]
) -> None:
    with world.server() as server:
        opened = Opened(world, server, symbol)
        one = opened.order(**order)
        opened.place(one)
        opened.exchange.close()
    (sent,) = opened.sent("POST")
    for name in ("timestamp", "recvWindow", "signature", "newOrderRespType"):
        sent.pop(name)
    id_name = "clientAlgoId" if "algoType" in expected else "newClientOrderId"
    side = "BUY" if one.side > 0 else "SELL"
    common = {"symbol": "BTCUSDT", "side": side, "quantity": "0.01", id_name: one.order_id}
    assert sent == common | expected


def test_quantities_and_prices_arrive_to_the_last_digit() -> None:
    seed = 20240131
    chance = random.Random(seed)
    markets = [
        VenueMarket(
            "SHIB/USDT", "0.00002", tick="0.00000001", lot="1", quantity_maximum="46116860414", notional_minimum="1"
        ),
        VenueMarket("BTC/USDT", "50000", tick="0.01", lot="0.00001", notional_minimum="1"),
        VenueMarket("ETH/BTC", "0.05", tick="0.00001", lot="0.001", notional_minimum="0.0001"),
    ]
    world = World(markets=markets)
    world.account.free["USDT"] = world.account.free["BTC"] = Decimal(10**12)
    with world.server() as server:
        for market in markets:
            opened = Opened(world, server, market.symbol)
            instrument = opened.exchange.instruments([market.symbol])[market.symbol]
            for _ in range(25):
                low = int(market.price / 2 / market.tick)
                price = market.tick * chance.randrange(low, low * 19 // 10)
                smallest = int(market.notional_minimum / price / market.lot) + 1
                quantity = market.lot * chance.randrange(smallest, smallest * 1000)
                order = opened.order("limit", quantity=str(quantity), price=float(price))
                report = opened.exchange.place(order, opened.exchange.server_time_ms())
                sent = server.requests[-1].parameters()
                assert Decimal(sent["quantity"]) == quantity == report.quantity, f"seed {seed}"
                assert Decimal(sent["price"]) == price, f"seed {seed}"
                assert "e" not in (sent["quantity"] + sent["price"]).lower(), f"seed {seed}"
                assert report.price == float(price)
                assert instrument.quantity_text(order.quantity) == sent["quantity"]
                opened.cancel(order)
            opened.exchange.close()


@pytest.mark.parametrize(
    ("quantity", "price"), [("0.000015", None), ("0.01", 40000.001), ("0.00000001", None), ("0.010000009", 40000.0)]
)
def test_what_is_not_on_the_steps_is_refused_before_it_is_sent(
    spot: Opened, quantity: str, price: float | None
) -> None:
    order = spot.order("market" if price is None else "limit", quantity=quantity, price=price)
    if Decimal(quantity) % Decimal("0.00000001"):
        order.quantity += 1
    with pytest.raises(NotPlaced) as caught:
        spot.place(order)
    assert caught.value.reason == "filters"
    assert spot.sent("POST") == []


def test_a_kind_of_order_that_the_market_does_not_know_is_not_sent(spot: Opened) -> None:
    spot.exchange.instruments([SPOT])
    spot.exchange._client.markets[SPOT]["info"]["orderTypes"] = ["LIMIT", "MARKET"]
    assert spot.exchange.capabilities.kinds == {"limit"}
    with pytest.raises(NotPlaced) as caught:
        spot.place(spot.order("stop", -1, price=40000.0))
    assert caught.value.reason == "rejected"
    assert spot.sent("POST") == []


# Questions


@pytest.mark.parametrize(
    "fate",
    [
        faults.error(503),
        faults.error(500, -1000),
        faults.lost_answer(),
        faults.lost_request(),
        faults.error(400, -1021),
    ],
)
def test_a_question_is_asked_again_after_temporary_trouble(spot: Opened, fate: Fate) -> None:
    spot.exchange.instruments([SPOT])
    spot.world.faults.then("balances", *[fate] * (ATTEMPTS_MAX - 1))
    assert spot.exchange.balances()["USDT"].total == 100000
    assert spot.world.faults.asked["balances"] == ATTEMPTS_MAX


def test_a_question_is_not_asked_for_ever(spot: Opened) -> None:
    spot.world.faults.then("balances", *[faults.error(503)] * 99)
    with pytest.raises(ExchangeUnavailable, match="HTTP 503"):
        spot.exchange.balances()
    assert spot.world.faults.asked["balances"] == ATTEMPTS_MAX
    assert len(spot.clock.waits) == ATTEMPTS_MAX - 1
    assert sum(spot.clock.waits) <= WAIT_SECONDS_MAX


def test_the_exchange_is_left_alone_for_as_long_as_it_asks(spot: Opened) -> None:
    spot.world.faults.then("balances", faults.error(429, -1003, retry_seconds=3))
    spot.exchange.balances()
    assert spot.clock.waits == [3.0]
    spot.world.faults.then("balances", faults.error(418, -1003, retry_seconds=120))
    with pytest.raises(ExchangeUnavailable, match="418"):
        spot.exchange.balances()
    assert spot.clock.waits == [3.0]


def test_only_the_word_of_the_exchange_makes_an_order_unknown(spot: Opened) -> None:
    order = spot.order("limit", price=40000.0)
    spot.place(order)
    for fate in (
        faults.error(500),
        faults.error(404),
        faults.error(400, -1100),
        faults.error(400),
        faults.lost_answer(),
    ):
        spot.world.faults.then("order", *[fate] * ATTEMPTS_MAX)
        with pytest.raises(ExchangeUnavailable):
            spot.exchange.order(order)
        spot.world.faults.then("order")
        spot.world.faults.script.clear()
    report = spot.exchange.order(order)
    assert report is not None
    assert report.status == "open"


def test_an_order_that_is_not_visible_yet_is_not_known(spot: Opened) -> None:
    spot.world.faults.then("place", faults.late_visibility(200))
    order = spot.order()
    spot.place(order)
    assert spot.exchange.order(order) is None
    wait_for(lambda: spot.exchange.order(order) is not None)


# Time


@pytest.mark.parametrize("offset_ms", [-3_600_000, -700, 0, 900, 3_600_000])
@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
def test_the_exchange_s_clock_counts(offset_ms: int, symbol: str) -> None:
    world = World(offset_ms=offset_ms)
    with world.server() as server:
        opened = Opened(world, server, symbol)
        assert abs(opened.exchange.server_time_ms() - world.clock.now_ms()) < 250
        opened.exchange.balances()
        opened.place(opened.order())
        opened.exchange.balances()
        opened.exchange.close()
    assert sum(opened.clock.waits) < 5.0


def test_the_clock_is_looked_at_again_when_a_stamp_was_wrong(spot: Opened) -> None:
    spot.exchange.balances()
    spot.world.clock.offset_ms = 60_000
    assert spot.exchange.balances()
    spot.world.clock.offset_ms = -60_000
    with pytest.raises(NotPlaced) as caught:
        spot.place(spot.order())
    assert caught.value.reason == "too_late"
    spot.place(spot.order())
    assert len(spot.world.venue.accepted) == 1


def test_a_clock_that_is_set_back_does_not_stop_questions(spot: Opened) -> None:
    spot.exchange.balances()
    spot.clock.offset_ms -= 3_600_000
    for _ in range(20):
        spot.exchange.balances()
    assert max(spot.clock.waits, default=0.0) < 60.0


def test_the_clock_is_measured_once_in_a_while(spot: Opened) -> None:
    for _ in range(5):
        spot.exchange.server_time_ms()
    assert spot.world.faults.asked["time"] == 1
    spot.clock.offset_ms += 6 * 60_000
    assert abs(spot.exchange.server_time_ms() - spot.world.clock.now_ms()) < 250
    assert spot.world.faults.asked["time"] == 2


# Reports and trades


def test_what_was_filled_before_the_rest_expired_is_told(spot: Opened) -> None:
    spot.world.faults.then("place", faults.partial("0.5", rest_expires=True))
    order = spot.order()
    report = spot.exchange.place(order, spot.exchange.server_time_ms())
    assert (report.status, report.filled, report.quantity) == ("expired", Decimal("0.005"), Decimal("0.01"))
    assert report.reason == "EXPIRED"
    assert sum(trade.quantity for trade in spot.exchange.trades(report)) == report.filled


def test_a_partly_filled_order_that_is_cancelled_keeps_its_fills(spot: Opened) -> None:
    spot.world.faults.then("place", faults.partial("0.25"))
    order = spot.order("limit", price=50000.0)
    report = spot.exchange.place(order, spot.exchange.server_time_ms())
    assert (report.status, report.filled) == ("open", Decimal("0.0025"))
    spot.cancel(order)
    ended = spot.exchange.order(order)
    assert ended is not None
    assert (ended.status, ended.filled, ended.client_order_id) == ("cancelled", Decimal("0.0025"), order.order_id)


def test_trades_may_come_later_than_the_fill(spot: Opened) -> None:
    spot.world.faults.then("place", faults.late_trades(200))
    report = spot.exchange.place(spot.order(), spot.exchange.server_time_ms())
    assert report.filled == Decimal("0.01")
    assert spot.exchange.trades(report) == []
    wait_for(lambda: spot.exchange.trades(report) != [])
    assert sum(trade.quantity for trade in spot.exchange.trades(report)) == report.filled


class ExactBitfinexServer(BitfinexServer):
    """Tells one balance with all its digits, as a number."""

    def respond(self, request: Request, fate: Fate) -> HttpAnswer:
        answer = super().respond(request, fate)
        return answer._replace(body=answer.body.replace(str(12345678901.12345678), "12345678901.12345678"))


def test_a_balance_is_exact_to_its_last_digit(world: World) -> None:
    world.account.free["USDT"] = Decimal("12345678901.12345678")  # more digits than a float has
    world.account.free["BTC"] = Decimal("0.00000001")
    with world.server() as server:
        exchange = world.over_ccxt(server)
        found = exchange.balances()
        assert found["USDT"].total == found["USDT"].free == Decimal("12345678901.12345678")
        assert found["BTC"].total == Decimal("0.00000001")
        exchange.close()
    with ExactBitfinexServer(world.venue, clock=world.clock) as bitfinex:
        exchange = CcxtExchange(
            "bitfinex", [SPOT], base_url=bitfinex.url, credentials=world.credentials, clock=RealClock()
        )
        assert exchange.balances()["USDT"].total == Decimal("12345678901.12345678")
        exchange.close()


def test_orders_of_others_are_among_the_open_ones(world: World) -> None:
    for symbol, other in ((SPOT, "ETH/USDT"), (PERPETUAL, "ETH/USDT:USDT")):
        with world.server() as server:
            opened = Opened(world, server, symbol)
            stranger = world.over_ccxt(server, other)
            foreign = opened.order("limit", quantity="0.1", price=2000.0)
            foreign.symbol, foreign.order_id = other, "web_12345"
            stranger.place(foreign, stranger.server_time_ms())
            ours = opened.order("limit", price=40000.0)
            opened.place(ours)
            found = {one.client_order_id: one for one in opened.exchange.open_orders([symbol])}
            assert set(found) == {"web_12345", ours.order_id}
            assert found["web_12345"].quantity == Decimal("0.1")
            assert opened.exchange.capabilities.all_open_orders
            stranger.close()
            opened.exchange.close()


def test_fees_are_told_in_the_asset_that_was_taken(world: World) -> None:
    world.account.pays_fees_in_bnb = True
    world.account.free["BNB"] = Decimal(1)
    with world.server() as server:
        opened = Opened(world, server, SPOT)
        report = opened.exchange.place(opened.order(), opened.exchange.server_time_ms())
        (trade,) = opened.exchange.trades(report)
        assert trade.fees == (Fee("BNB", Decimal("0.00075")),)  # 500 x 0.1 % x 0.75, at 500 a coin
        assert opened.exchange.quote_price("BNB", "USDT") == 500.0
        assert opened.exchange.quote_price("USDT", "USDT") == 1.0
        assert opened.exchange.quote_price("USDT", "BTC") == 1 / 50000.0
        opened.exchange.close()


@pytest.mark.parametrize("symbol", [SPOT, PERPETUAL])
def test_trades_come_page_by_page_each_once(symbol: str) -> None:
    world = World(markets=make_markets(depth=(("0.2", 0), ("0.2", 1), ("0.2", 2), ("0.2", 3), ("0.2", 4))))
    with world.server() as server:
        opened = Opened(world, server, symbol)
        opened.exchange._dialect.rows_max = 3  # fewer than one order's fills in one millisecond
        start = opened.exchange.server_time_ms() - 1000
        reports = [
            opened.exchange.place(opened.order(side=side), opened.exchange.server_time_ms()) for side in (1, -1, 1)
        ]
        for report in reports:
            trades = opened.exchange.trades(report)
            assert len(trades) == 5
            assert sum(trade.quantity for trade in trades) == Decimal("0.01")
        found = opened.exchange.trades_since(symbol, start - 86_400_000 * 20)
        opened.exchange.close()
    assert [trade.sequence for trade in found] == sorted({trade.sequence for trade in found})
    assert len(found) == 15
    spans = [
        int(one["endTime"]) - int(one["startTime"])
        for one in (request.parameters() for request in server.requests)
        if "startTime" in one and "endTime" in one
    ]
    assert spans
    assert max(spans) < (86_400_000 if symbol == SPOT else 7 * 86_400_000)


def test_funding_is_positive_when_the_account_paid(perpetual: Opened) -> None:
    start = perpetual.exchange.server_time_ms() - 1000  # the clock is measured, not known to the millisecond
    perpetual.place(perpetual.order())
    perpetual.world.venue.pay_funding(PERPETUAL, "0.0001")
    perpetual.world.venue.pay_funding(PERPETUAL, "-0.0002")
    payments = perpetual.exchange.funding_since(PERPETUAL, start)
    assert [payment.amount for payment in payments] == [Decimal("0.05"), Decimal("-0.1")]
    assert len({payment.payment_id for payment in payments}) == 2
    assert perpetual.exchange.funding_since(PERPETUAL, perpetual.exchange.server_time_ms() + 1000) == []


def test_the_balance_of_a_futures_account_has_no_unrealised_profit(perpetual: Opened) -> None:
    perpetual.place(perpetual.order())
    before = perpetual.exchange.balances()["USDT"]
    perpetual.world.venue.set_price(PERPETUAL, "60000")
    after = perpetual.exchange.balances()["USDT"]
    assert before.total == after.total == 10000 - Decimal("0.25")
    assert after.free <= after.total


def test_a_resting_algo_order_s_id_is_not_taken_for_an_order_s(perpetual: Opened) -> None:
    report = perpetual.exchange.place(perpetual.order("stop", -1, price=45000.0), perpetual.exchange.server_time_ms())
    assert perpetual.exchange.trades(report) == []
    assert perpetual.world.faults.asked["trades"] == 0


class HedgingServer(BinanceServer):
    """Answers as for an account in hedge mode."""

    def respond(self, request: Request, fate: Fate) -> HttpAnswer:
        answer = super().respond(request, fate)
        return answer._replace(body=answer.body.replace('"positionSide": "BOTH"', '"positionSide": "LONG"'))


def test_an_account_in_hedge_mode_is_a_matter_of_configuration(world: World) -> None:
    with HedgingServer(world.venue, clock=world.clock) as server:
        opened = Opened(world, server, PERPETUAL)
        opened.place(opened.order())
        with pytest.raises(ConfigurationError, match="one-way"):
            opened.exchange.positions([PERPETUAL])
        opened.exchange.close()


def test_a_triggered_stop_is_told_by_the_order_it_sent(perpetual: Opened) -> None:
    perpetual.place(perpetual.order())
    stop = perpetual.order("stop", -1, price=45000.0, reduce_only=True)
    perpetual.place(stop)
    perpetual.world.venue.set_price(PERPETUAL, "44000")
    sent = perpetual.world.venue.accepted[-1]
    report = perpetual.exchange.order(stop)
    assert report is not None
    assert (report.status, report.filled, report.exchange_order_id) == ("filled", Decimal("0.01"), str(sent.order_id))
    assert report.client_order_id == stop.order_id
    assert {trade.client_order_id for trade in perpetual.exchange.trades(report)} == {stop.order_id}
    sent.invisible_until_ms = perpetual.world.clock.now_ms() + 60_000
    with pytest.raises(ExchangeUnavailable, match="is not shown"):
        perpetual.exchange.order(stop)


# Markets


def test_instruments_carry_the_filters_and_the_account_s_fees(world: World) -> None:
    with world.server() as server:
        exchange = world.over_ccxt(server, SPOT)
        instrument = exchange.instruments([SPOT])[SPOT]
        rules = instrument.rules[-1]
        assert (rules.tick_numerator, rules.tick_denominator, rules.lot) == (1, 100, 1000)
        assert (rules.quantity_maximum, rules.notional_minimum) == (
            1000 * 10**8,
            5 * 10**8,
        )  # the market orders' maximum
        assert (rules.maker_fee_rate, rules.taker_fee_rate) == (0.001, 0.001)
        assert exchange.warnings == []
        exchange.close()
        anonymous = world.over_ccxt(server, SPOT, credentials=None)
        anonymous.instruments([SPOT])
        assert anonymous.warnings == ["binance: BTC/USDT: fees are the exchange's usual ones, not the account's"]
        anonymous.close()


def test_a_maximum_beyond_all_amounts_is_none() -> None:
    world = World(markets=[VenueMarket("SHIB/USDT", "0.00002", tick="0.00000001", lot="1", quantity_maximum="92141578",
                                       market_quantity_maximum="99999999999999", notional_minimum="1")])  # fmt: skip
    with world.server() as server:
        exchange = world.over_ccxt(server, "SHIB/USDT")
        assert exchange.instruments(["SHIB/USDT"])["SHIB/USDT"].rules[-1].quantity_maximum == 92141578 * 10**8
        exchange.close()


class StrictServer(BinanceServer):
    """Refuses a list of markets that names one it does not have, as Binance does."""

    def respond(self, request: Request, fate: Fate) -> HttpAnswer:
        wanted = request.parameters().get("symbols", "[]")
        if request.path == "/api/v3/exchangeInfo" and "NOSUCH" in wanted:
            return HttpAnswer(400, '{"code": -1121, "msg": "Invalid symbol."}', {"Content-Type": "application/json"})
        return super().respond(request, fate)


def test_a_symbol_that_spoils_the_question_for_all_is_found(world: World) -> None:
    with StrictServer(world.venue, clock=world.clock) as server:
        exchange = world.over_ccxt(server, SPOT)
        with pytest.raises(ConfigurationError, match="binance has no NOSUCH/USDT"):
            exchange.instruments([SPOT, "NOSUCH/USDT"])
        with pytest.raises(ConfigurationError, match="did you mean BTC/USDT"):
            exchange.instruments(["BTCC/USDT"])
        exchange.close()


def test_only_the_markets_that_are_traded_are_loaded_from_binance_spot(spot: Opened) -> None:
    spot.exchange.instruments([SPOT])
    queries = [dict(parse_qsl(one.query)) for one in spot.server.requests if one.path.endswith("exchangeInfo")]
    assert queries == [{"symbols": '["BTCUSDT"]'}]


# Opening


def test_a_test_system_is_not_asked_for_fees(world: World) -> None:
    with world.server() as server:
        for symbol in (SPOT, PERPETUAL):
            exchange = world.over_ccxt(server, symbol, sandbox=True)
            exchange.instruments([symbol])
            assert len(exchange.warnings) == 1
            exchange.close()
        assert not [one for one in server.requests if "Fee" in one.path or "commission" in one.path]


def test_without_credentials_public_questions_work_and_private_ones_name_what_is_missing(world: World) -> None:
    with world.server() as server:
        opened = Opened(world, server, SPOT, credentials=None)
        exchange, order = opened.exchange, opened.order()
        assert len(exchange.bars(SPOT, "1h", 5, world.slot)) == 5
        assert exchange.quote_price("BTC", "USDT") == 50000.0
        for call in (
            exchange.balances,
            lambda: exchange.order(order),
            lambda: exchange.open_orders([SPOT]),
            lambda: exchange.trades_since(SPOT, world.slot),
            lambda: exchange.place(order, world.slot),
            lambda: exchange.cancel(order, world.slot),
        ):
            with pytest.raises(ConfigurationError, match="BINANCE_API_KEY and BINANCE_API_SECRET are not set"):
                call()
        exchange.close()


def test_credentials_come_from_variables_or_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    both = {"BINANCE_API_KEY": "a key", "BINANCE_API_SECRET_FILE": str(secret)}
    for exchange_id in ("binance", "binanceusdm"):
        assert credentials_from_environment(exchange_id, both) == Credentials("a key", "from a file")
    assert credentials_from_environment("bitfinex", both) is None
    assert credentials_from_environment(
        "okx", {f"OKX_API_{n}": n for n in ("KEY", "SECRET", "PASSWORD")}
    ) == Credentials("KEY", "SECRET", "PASSWORD")
    for wrong, message in (
        ({"BINANCE_API_KEY": "a key"}, "BINANCE_API_SECRET is missing"),
        ({"BINANCE_API_SECRET": "a key"}, "BINANCE_API_KEY is missing"),
        (both | {"BINANCE_API_SECRET": "x"}, "both set"),
        ({"BINANCE_API_KEY": "k", "BINANCE_API_SECRET_FILE": str(tmp_path / "none")}, "cannot be read"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            credentials_from_environment("binance", wrong)


@pytest.mark.parametrize(
    ("exchange_id", "symbols", "message"),
    [
        ("binanse", [SPOT], "did you mean binance"),
        ("binance", [SPOT, PERPETUAL], "one kind"),
        ("binance", [], "one kind"),
        ("binanceusdm", [SPOT], "is binance"),
        ("bitfinex", [PERPETUAL], "perpetuals are not supported"),
        ("kraken", ["BTC/USD:USD"], "perpetuals are not supported"),
    ],
)
def test_what_cannot_be_opened_is_told_at_once(exchange_id: str, symbols: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CcxtExchange(exchange_id, symbols, credentials=None, clock=RealClock())


def test_a_sandbox_is_another_host_or_a_mistake() -> None:
    spot = CcxtExchange("binance", [SPOT], credentials=None, sandbox=True, clock=RealClock())
    assert spot._client.urls["api"]["private"].startswith("https://testnet.binance.vision/")
    futures = CcxtExchange("binance", [PERPETUAL], credentials=None, sandbox=True, clock=RealClock())
    assert futures.name == "binanceusdm"
    assert futures._client.urls["api"]["fapiPrivate"].startswith("https://demo-fapi.binance.com/")
    with pytest.raises(ConfigurationError, match="no sandbox"):
        CcxtExchange("bitfinex", [SPOT], credentials=None, sandbox=True, clock=RealClock())


def test_an_exchange_without_facts_can_do_little_for_certain() -> None:
    exchange = CcxtExchange("kraken", ["BTC/USD"], credentials=None, clock=RealClock())
    assert exchange.capabilities == (None, False, frozenset({"limit"}), False, False)
    with pytest.raises(ConfigurationError, match="KRAKEN_API_KEY"):
        exchange.balances()


def test_the_adapter_is_loaded_without_ccxt() -> None:
    code = (
        "import sys, trading_runtime.exchanges.ccxt_exchange\n"
        "found = {'ccxt', 'requests', 'urllib3', 'numba', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {found}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Secrets


def test_no_text_holds_a_secret(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    with world.server() as server:
        for symbol in (SPOT, PERPETUAL):
            opened = Opened(world, server, symbol)
            exchange = opened.exchange
            exchange.instruments([symbol])
            order = opened.order()
            echo = f"https://x/api?apiKey={world.account.api_key}&signature=abc {world.account.api_secret}"
            calls: list[tuple[faults.CallKind, Callable[[], object]]] = [
                ("place", lambda: opened.place(opened.order())),  # noqa: B023 - called before the loop goes on
                ("cancel", lambda: opened.cancel(order)),  # noqa: B023 - called before the loop goes on
                ("order", lambda: exchange.order(order)),  # noqa: B023 - called before the loop goes on
                ("balances", exchange.balances),
                ("open_orders", lambda: exchange.open_orders([symbol])),  # noqa: B023 - called before the loop goes on
                ("trades", lambda: exchange.trades_since(symbol, world.slot)),  # noqa: B023 - called before the loop goes on
            ]
            for kind, call in calls:
                for fate in (
                    faults.lost_answer(),
                    faults.error(500),
                    faults.error(400, -1102, message=echo),
                    faults.error(401, -2015, message=echo),
                    faults.error(429, -1003, message=echo, retry_seconds=900),
                    faults.error(400, message=echo),
                    faults.error(200, message=echo),
                ):
                    world.faults.then(kind, *[fate] * ATTEMPTS_MAX)
                    with pytest.raises((FateUnknown, NotPlaced, ExchangeUnavailable, ConfigurationError)) as caught:
                        call()
                    world.faults.script.clear()
                    assert caught.value.__cause__ is None
                    chain = caught.value.__context__
                    texts += traceback.format_exception(caught.value)
                    while chain is not None:
                        texts.append(str(chain))
                        chain = chain.__context__
            texts += [
                repr(exchange),
                str(exchange.warnings),
                repr(world.credentials),
                str(vars(world.credentials) and ""),
            ]
            exchange.close()
    texts += [record.getMessage() for record in caplog.records]
    everything = "\n".join(texts)
    signatures = [dict(parse_qsl(f"{one.query}&{one.body}")).get("signature", "-") for one in server.requests]
    assert len(set(signatures)) > 50
    for secret in (world.account.api_key, world.account.api_secret, *set(signatures) - {"-"}):
        assert secret not in everything


def test_a_text_that_is_shown_is_one_line_without_addresses() -> None:
    text = "GET https://api.x/order?symbol=A&signature=abc failed\nkey 'KEY' Signature: dd"
    assert shown(text, ["KEY"]) == "GET https://api.x/order?*** failed key '***' Signature=***"
    assert len(shown("x" * 1000)) == 200


# Bitfinex


def test_a_bitfinex_order_is_found_by_its_number(world: World) -> None:
    with world.bitfinex() as exchange:
        order = Order("tr-000000000000-1-a", SPOT, "limit", 1, 10**6, slot=world.slot, leg="a", price=40000.0)
        assert 0 < client_number(order.order_id) < 2**45
        assert exchange.order(order) is None
        exchange.place(order, exchange.server_time_ms())
        assert world.venue.accepted[0].client_id == str(client_number(order.order_id))
        report = exchange.order(order)
        assert report is not None
        assert (report.client_order_id, report.status) == (order.order_id, "open")
        exchange.cancel(order, exchange.server_time_ms())
        report = exchange.order(order)
        assert report is not None
        assert report.status == "cancelled"
        assert exchange.capabilities.validity_window_ms is None


def test_a_bitfinex_answer_is_certain_only_where_its_text_is(world: World) -> None:
    with world.bitfinex() as exchange:
        exchange.instruments([SPOT])
        for number, (fate, expected) in enumerate(
            (
                (faults.lost_answer(), "unknown"),
                (faults.error(500), "unknown"),
                (faults.error(500, 20060, message="maintenance"), "unknown"),
                (faults.error(500, 10001, message="something broke"), "unknown"),
                (faults.error(500, 10001, message="Invalid order: not enough exchange balance for 1 BTCUST"), "funds"),
                (faults.error(500, 10001, message="Invalid order: minimum size for BTCUST is 0.1"), "filters"),
                (faults.error(500, 10001, message="Invalid order: unknown type"), "rejected"),
                (faults.error(500, 10114, message="nonce: small"), "too_late"),
                (faults.error(500, 11010, message="ratelimit: error"), "rate_limit"),
                (faults.error(429), "rate_limit"),
                (faults.error(500, 10100, message="apikey: invalid"), "credentials"),
            )
        ):
            order = Order(f"tr-{number}", SPOT, "market", 1, 10**6, slot=world.slot, leg="a")
            world.faults.then("place", fate)
            with pytest.raises((FateUnknown, NotPlaced, ConfigurationError)) as caught:
                exchange.place(order, exchange.server_time_ms())
            error = caught.value
            told = error.reason if isinstance(error, NotPlaced) else None
            told = told or ("unknown" if isinstance(error, FateUnknown) else "credentials")
            assert told == expected, f"{fate} became {error!r}"
            assert world.faults.asked["place"] == number + 1


# Candles and markets, without a server


HOUR = 3_600_000
NOON = 1_700_006_400_000 // (24 * HOUR) * (24 * HOUR) + 12 * HOUR


def candles(first: int, last: int, *, without: tuple[int, ...] = ()) -> list[Row]:
    """Return hourly candles that open from ``first`` to ``last`` hours after noon."""
    return [candle(hour) for hour in range(first, last + 1) if hour not in without]


def candle(hour: int, high: str = "1.3", close: str | None = "1.2") -> Row:
    """Return one candle as it is read from ccxt, whose numbers are decimal strings."""
    return checked_rows([[NOON + hour * HOUR, "1.1", high, "0.9", close, "7"]])[0]


def pages_of(rows: list[Row], asked: list[tuple[int, int]]) -> Page:
    def page(since_ms: int, count: int) -> list[Row]:
        asked.append((since_ms, count))
        return [row for row in rows if row[0] >= since_ms][:count]

    return page


def test_bars_come_in_pages_without_one_too_many() -> None:
    asked: list[tuple[int, int]] = []
    bars = closed_bars(SPOT, "1h", 10, NOON, 4, pages_of(candles(-50, 5), asked))
    assert bars.open_time.tolist() == [NOON + hour * HOUR for hour in range(-10, 0)]
    assert bars.close.tolist() == [1.2] * 10
    assert asked == [(NOON - 10 * HOUR, 4), (NOON - 6 * HOUR, 4), (NOON - 2 * HOUR, 2)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (candles(-50, -2), "not published yet"),
        ([], "not published yet"),
        (candles(-50, 5, without=(-3,)), "leaves a gap"),
        (candles(-50, 5, without=(-10, -9)), "are missing"),
        ([*candles(-50, -2), candle(-1, close=None)], "close nan"),
        ([*candles(-50, -2), candle(-1, high="1.0")], "impossible"),
    ],
)
def test_bars_that_cannot_be_trusted_are_refused(rows: list[Row], message: str) -> None:
    with pytest.raises(DataError, match=message):
        closed_bars(SPOT, "1h", 10, NOON, 1000, pages_of(rows, []))


@pytest.mark.parametrize(
    ("without", "still", "flat"),
    [
        ((-3,), (-3, -2), [-3]),
        ((-5, -4, -3), (-6, -2), [-5, -4, -3]),
        ((-12, -11, -10, -9), (-12, -8), [-10, -9]),
        ((-11, -10), (-11, -9), [-10]),
        ((-10,), (-10, -9), [-10]),
        ((-2, -1), (-2, 0), [-2, -1]),
        (tuple(range(-30, -1)), (-30, -1), list(range(-10, -1))),
    ],
)
def test_bars_of_a_time_when_the_market_stood_still_are_flat_at_the_close_before(
    without: tuple[int, ...], still: tuple[int, int], flat: list[int]
) -> None:
    rows = candles(-50, 5, without=without)
    close = next(float(row[4]) for row in reversed(rows) if row[0] < NOON + without[0] * HOUR)
    interval = (NOON + still[0] * HOUR, NOON + still[1] * HOUR)
    for rows_max in (3, 1000):
        bars = closed_bars(SPOT, "1h", 10, NOON, rows_max, pages_of(rows, []), [interval])
        assert bars.open_time.tolist() == [NOON + hour * HOUR for hour in range(-10, 0)]
        for hour in flat:
            row = 10 + hour
            assert [getattr(bars, name)[row] for name in ("open", "high", "low", "close")] == [close] * 4
            assert bars.volume[row] == 0.0
        assert [10 + hour for hour in flat] == [row for row in range(10) if bars.volume[row] == 0.0]


@pytest.mark.parametrize(
    ("without", "still", "message"),
    [
        ((-3,), (-4, -3), "leaves a gap"),
        ((-3,), (-3, -3), "leaves a gap"),
        ((-6, -3), (-3, -2), "leaves a gap"),
        ((-10, -9), (-9, -8), "are missing"),
        ((-1,), (-2, -1), "not published yet"),
        (tuple(range(-50, 5)), (-50, 0), "not published yet"),
    ],
)
def test_only_what_lies_within_that_time_is_flat(
    without: tuple[int, ...], still: tuple[int, int], message: str
) -> None:
    interval = (NOON + still[0] * HOUR, NOON + still[1] * HOUR)
    with pytest.raises(DataError, match=message):
        closed_bars(SPOT, "1h", 10, NOON, 1000, pages_of(candles(-50, 5, without=without), []), [interval])


def market_of(**changes: object) -> dict[str, object]:
    limits = {"amount": {"min": "0.001", "max": "9000"}, "market": {"min": "0", "max": "120.5"}, "cost": {"min": "5"}}
    return {"symbol": SPOT, "active": True, "contractSize": None, "limits": limits, **changes}


def instrument(market: dict[str, object], tick: str = "0.01", lot: str = "0.001") -> Instrument:
    return instrument_of(
        market, tick=Decimal(tick), lot=Decimal(lot), maker_fee_rate=0.0, taker_fee_rate=0.0, where="x"
    )


def test_the_narrower_of_two_limits_holds() -> None:
    rules = instrument(market_of()).rules[-1]
    assert (rules.quantity_minimum, rules.quantity_maximum) == (100_000, 120_5000_0000)
    assert rules.notional_minimum == 5 * 10**8


def test_a_finer_lot_has_a_finer_unit() -> None:
    fine = instrument(market_of(limits={"amount": {"min": "1e-12", "max": "9000000000"}}), lot="0.000000000001")
    assert fine.quantity_unit == Decimal("1e-12")
    assert fine.rules[-1].lot == fine.rules[-1].quantity_minimum == 1
    assert fine.rules[-1].quantity_maximum == AMOUNT_MAX  # 9·10²¹ units are more than an amount may be
    assert instrument(market_of(limits={}), lot="100").quantity_unit == Decimal("1e-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"active": False}, "is not trading"),
        ({"symbol": PERPETUAL, "contractSize": "0.01"}, "one contract"),
        ({"symbol": PERPETUAL}, "one contract"),
    ],
)
def test_a_market_that_cannot_be_traded_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        instrument(market_of(**changes))


class ForgetfulServer(BinanceServer):
    """Lists no trades by order id, as after a week."""

    forgets = False

    def respond(self, request: Request, fate: Fate) -> HttpAnswer:
        answer = super().respond(request, fate)
        forgotten = self.forgets and "orderId" in request.parameters() and request.path.endswith("userTrades")
        return answer._replace(body="[]") if forgotten else answer


def test_old_fills_are_found_by_time_when_they_are_not_found_by_order(world: World) -> None:
    with ForgetfulServer(world.venue, clock=world.clock) as server:
        opened = Opened(world, server, PERPETUAL)
        report = opened.exchange.place(opened.order(), opened.exchange.server_time_ms())
        expected = opened.exchange.trades(report)
        week_ms = opened.exchange._dialect.trade_window_ms
        assert week_ms is not None
        server.forgets = True
        assert opened.exchange.trades(report) == []
        old = report._replace(time_ms=report.time_ms - week_ms - 1)
        assert opened.exchange.trades(old) == expected
        opened.exchange.close()


def test_years_of_trades_are_not_asked_for(spot: Opened) -> None:
    with pytest.raises(ExchangeUnavailable, match="too long a time"):
        spot.exchange.trades_since(SPOT, 0)
