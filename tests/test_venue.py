"""The test venue is right itself: its model conserves money, its faults do what they say, real ccxt talks to its
servers. What is built on it can then be trusted to fail for its own reasons.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as generate
from market_samples import START_MS, make_bars
from venue.account import VenueAccount
from venue.binance_server import BinanceServer
from venue.bitfinex_server import BitfinexServer
from venue.clock import RealClock, VirtualClock
from venue.faults import (
    CALL_KINDS,
    OK,
    Fate,
    Faults,
    error,
    late_request,
    late_trades,
    late_visibility,
    lost_answer,
    lost_request,
    partial,
    slow_answer,
    stormy,
)
from venue.market import VenueMarket, make_markets
from venue.model import Venue
from venue.orders import ZERO, NewOrder, VenueError, VenueOrder
from venue.port import VenueExchange
from venue.wire import ATTEMPTS_MAX

from trading_runtime.core.errors import ConfigurationError, DataError, ExchangeUnavailable, FateUnknown
from trading_runtime.core.state import Order
from trading_runtime.core.timeframes import HOUR_MS
from trading_runtime.exchanges.port import NotPlaced

BTC, ETH, PERP = "BTC/USDT", "ETH/USDT", "BTC/USDT:USDT"
COIN = 10**8
SPOT = {"USDT": "100000", "BTC": "5", "ETH": "10"}
FUTURES = {"USDT": "100000"}


class Crash(BaseException):
    """A process that ends in the middle of a call."""


def make_venue(clock: VirtualClock | RealClock, **account: Any) -> Venue:
    return Venue(clock.now_ms, make_markets(), [VenueAccount(**{"spot": SPOT, "futures": FUTURES, **account})])


def new(symbol: str = BTC, side: int = 1, kind: str = "MARKET", quantity: str = "0.1", **changes: Any) -> NewOrder:
    for name in ("price", "stop_price"):
        if name in changes:
            changes[name] = Decimal(changes[name])
    return NewOrder(symbol, side, kind, Decimal(quantity), **changes)


def intended(
    order_id: str = "tr-1",
    symbol: str = BTC,
    kind: str = "market",
    side: int = 1,
    quantity: float = 0.1,
    **changes: Any,
) -> Order:
    return Order(order_id, symbol, kind, side, round(quantity * COIN), slot=START_MS, leg="entry", **changes)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START_MS)


@pytest.fixture
def venue(clock: VirtualClock) -> Venue:
    return make_venue(clock)


# --- the model keeps its books


@settings(max_examples=60, deadline=None)
@given(generate.integers(0, 2**63), generate.booleans())
def test_money_and_coins_change_only_by_trades_fees_and_funding(seed: int, in_bnb: bool) -> None:
    act_randomly(seed, in_bnb)


def test_random_orders_come_to_every_end_there_is() -> None:
    accounts = [act_randomly(seed, False) for seed in range(12)]
    orders = [order for account in accounts for found in account.orders.values() for order in found]
    ends = {"NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED", "TRIGGERED"}
    assert {order.status for order in orders} >= ends
    assert sum(len(order.trades) for order in orders) > 100


def act_randomly(seed: int, in_bnb: bool) -> VenueAccount:
    random, clock = Random(seed), VirtualClock(START_MS)
    spot = {**SPOT, "BNB": "0.5"}
    venue = make_venue(clock, spot=spot, pays_fees_in_bnb=in_bnb)
    venue.markets[BTC].depth = ((Decimal("0.4"), 0), (Decimal(1), 3))
    account = venue.accounts["main"]
    for _ in range(80):
        act(venue, random.choice(("place", "place", "place", "price", "price", "cancel", "tick", "funding")), random)
        clock.sleep(1)
        assert_books_agree(venue, account, spot)
    return account


def act(venue: Venue, action: str, random: Random) -> None:
    market = venue.markets[random.choice((BTC, ETH, PERP))]
    if action == "price":
        price = market.price * Decimal(random.choice(("0.9", "0.97", "1", "1.02", "1.1")))
        venue.set_price(market.symbol, max(price.quantize(market.tick), Decimal(100)))
    elif action == "tick":
        venue.tick()
    elif action == "funding":
        venue.pay_funding(PERP, random.choice(("0.0001", "-0.0003")))
    elif action == "cancel":
        orders = venue.open_orders("main", is_perpetual=market.is_perpetual)
        if orders:
            order = random.choice(orders)
            venue.cancel("main", order.symbol, order.order_id, "", is_algo=order.is_algo)
    else:
        try:
            venue.place("main", random_order(market, random))
        except VenueError:
            return


def random_order(market: VenueMarket, random: Random) -> NewOrder:
    spot = ("MARKET", "LIMIT", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
    kind = random.choice(("MARKET", "LIMIT", "STOP_MARKET", "TAKE_PROFIT_MARKET") if market.is_perpetual else spot)
    near = (market.price * Decimal(random.choice(("0.95", "0.99", "1", "1.01", "1.05")))).quantize(market.tick)
    far = (market.price * Decimal(random.choice(("0.93", "1.07")))).quantize(market.tick)
    return NewOrder(
        market.symbol,
        random.choice((1, -1)),
        kind,
        market.lot * random.randrange(1, 4000),
        random.choice(("", "a", "b")),
        near if "LIMIT" in kind else None,
        far if kind not in ("MARKET", "LIMIT", "LIMIT_MAKER") else None,
        random.choice(("GTC", "GTC", "IOC", "FOK")) if kind == "LIMIT" else "GTC",
        market.is_perpetual and random.random() < 0.3,
        random.choice(((), (Decimal("0.3"),), (Decimal("0.5"), Decimal("0.1")))),
        random.random() < 0.3,
    )


def assert_books_agree(venue: Venue, account: VenueAccount, spot: dict[str, str]) -> None:
    coins = {asset: Decimal(amount) for asset, amount in spot.items()}
    wallet, cost, position = Decimal(FUTURES["USDT"]), ZERO, ZERO
    trades = sorted((trade for found in account.trades.values() for trade in found), key=lambda trade: trade.time_ms)
    for trade in trades:
        market, order = venue.markets[trade.order.symbol], trade.order
        assert trade.value == trade.price * trade.quantity
        assert order.price is None or (order.price - trade.price) * order.side >= 0
        if market.is_perpetual:
            wallet += trade.realised - trade.commission
            cost += order.side * trade.value + trade.realised
            assert not order.reduce_only or abs(position + order.side * trade.quantity) < abs(position)
            position += order.side * trade.quantity
        else:
            coins[market.base] = coins.get(market.base, ZERO) + order.side * trade.quantity
            coins[market.quote] -= order.side * trade.value
            coins[trade.commission_asset] = coins.get(trade.commission_asset, ZERO) - trade.commission
    wallet += sum((income.amount for income in account.incomes), ZERO)
    held = account.positions.get(PERP)
    assert account.wallet["USDT"] == wallet
    assert (held.quantity, held.cost) == (position, cost) if held is not None else not position
    assert {asset: account.free.get(asset, ZERO) + account.locked.get(asset, ZERO) for asset in coins} == coins
    assert all(amount >= 0 for amount in (*account.free.values(), *account.locked.values()))
    assert sum(account.locked.values(), ZERO) == sum((order.locked for order in venue.accepted), ZERO)
    for order in venue.accepted:
        assert_order_agrees(venue, order)


def assert_order_agrees(venue: Venue, order: VenueOrder) -> None:
    assert order.executed == sum((trade.quantity for trade in order.trades), ZERO)
    assert order.value == sum((trade.value for trade in order.trades), ZERO)
    assert order.is_open == (order.order_id in venue.open[order.symbol])
    assert (order.status == "FILLED") == (order.executed == order.quantity)
    assert order.is_open or not order.locked
    assert order.executed <= order.quantity


def test_a_market_order_pays_its_fee_in_what_it_receives(venue: Venue) -> None:
    bought = venue.place("main", new(BTC, 1, quantity="0.1"))
    sold = venue.place("main", new(BTC, -1, quantity="0.1"))
    assert [(trade.commission_asset, trade.commission) for trade in bought.trades] == [("BTC", Decimal("0.0001"))]
    assert [(trade.commission_asset, trade.commission) for trade in sold.trades] == [("USDT", Decimal("5"))]
    assert venue.accounts["main"].free["BTC"] == Decimal("4.9999")


def test_fees_are_paid_in_bnb_as_long_as_there_is_enough(clock: VirtualClock) -> None:
    venue = make_venue(clock, spot={**SPOT, "BNB": "0.01"}, pays_fees_in_bnb=True)
    first, second = (venue.place("main", new(BTC, 1, quantity="0.1")) for _ in range(2))
    assert (first.trades[0].commission_asset, first.trades[0].commission) == ("BNB", Decimal("0.0075"))
    assert second.trades[0].commission_asset == "BTC"


def test_a_resting_limit_fills_as_maker_at_its_price_in_the_scripted_parts(venue: Venue) -> None:
    order = venue.place("main", new(BTC, 1, "LIMIT", "0.1", price="49000", fractions=(Decimal("0.3"),)))
    assert order.status == "NEW"
    assert venue.accounts["main"].locked["USDT"] == 4900
    venue.set_price(BTC, "48000")
    assert (order.status, order.executed) == ("PARTIALLY_FILLED", Decimal("0.03"))
    venue.tick()
    assert (order.status, order.value) == ("FILLED", Decimal(4900))
    assert [trade.is_maker for trade in order.trades] == [True, True]
    assert venue.accounts["main"].locked["USDT"] == 0


def test_a_deep_taking_order_makes_several_trades_none_worse_than_its_limit(venue: Venue) -> None:
    venue.markets[BTC].depth = ((Decimal("0.5"), 0), (Decimal("0.3"), 10), (Decimal(1), 500))
    order = venue.place("main", new(BTC, 1, "LIMIT", "1", price="50001"))
    assert [float(trade.price) for trade in order.trades] == [50000.0, 50000.1, 50001.0]
    assert [trade.quantity for trade in order.trades] == [Decimal("0.5"), Decimal("0.3"), Decimal("0.2")]


@pytest.mark.parametrize(
    ("order", "code", "text"),
    [
        (new(BTC, quantity="0.000011"), -1013, "LOT_SIZE"),
        (new(BTC, quantity="0.00001"), -1013, "NOTIONAL"),
        (new(BTC, kind="LIMIT", price="49000.001"), -1013, "PRICE_FILTER"),
        (new(BTC, quantity="1001"), -1013, "MARKET_LOT_SIZE"),
        (new(BTC, quantity="3"), -2010, "insufficient balance"),
        (new(BTC, -1, quantity="6"), -2010, "insufficient balance"),
        (new(BTC, kind="LIMIT_MAKER", price="50000"), -2010, "immediately match"),
        (new(BTC, -1, "STOP_LOSS", stop_price="50001"), -2010, "trigger immediately"),
        (new("DOGE/USDT"), -1121, "Invalid symbol"),
        (new(BTC, kind="STOP_MARKET", stop_price="51000"), -1116, "orderType"),
        (new(BTC, kind="LIMIT"), -1102, "price"),
        (new(PERP, quantity="0.0005"), -1111, "Precision"),
        (new(PERP, quantity="0.001"), -4164, "notional"),
        (new(PERP, kind="LIMIT", price="49000.05"), -4014, "tick"),
        (new(PERP, quantity="50"), -2019, "Margin"),
        (new(PERP, reduce_only=True), -2022, "ReduceOnly"),
        (new(PERP, kind="LIMIT", price="50000", time_in_force="GTX"), -5022, "Post Only"),
        (new(PERP, kind="LIMIT", price="49000", time_in_force="FOK"), -5021, "FOK"),
        (new(PERP, 1, "STOP_MARKET", stop_price="49000"), -2021, "immediately trigger"),
    ],
)
def test_an_order_that_is_refused_leaves_no_trace(venue: Venue, order: NewOrder, code: int, text: str) -> None:
    with pytest.raises(VenueError) as caught:
        venue.place("main", order)
    assert (caught.value.code, text in caught.value.message) == (code, True)
    assert venue.accepted == []
    assert venue.accounts["main"].free == {asset: Decimal(amount) for asset, amount in SPOT.items()}


def test_a_client_id_is_free_again_once_its_order_has_ended(venue: Venue) -> None:
    limit = new(BTC, kind="LIMIT", price="49000", client_id="one")
    venue.place("main", limit)
    with pytest.raises(VenueError, match="Duplicate"):
        venue.place("main", limit)
    venue.cancel("main", BTC, None, "one")
    venue.place("main", new(BTC, client_id="one"))
    newest = venue.place("main", new(BTC, -1, client_id="one"))
    assert venue.count_by_client_id()["one"] == 3
    assert venue.order("main", BTC, None, "one") is newest


def test_a_stop_goes_off_at_the_price_that_reaches_it_and_a_take_profit_on_the_other_side(venue: Venue) -> None:
    stop = venue.place("main", new(BTC, -1, "STOP_LOSS", stop_price="48000"))
    profit = venue.place("main", new(BTC, -1, "TAKE_PROFIT", stop_price="52000"))
    venue.set_price(BTC, "47500")
    assert (stop.status, stop.trades[0].price, profit.status) == ("FILLED", Decimal(47500), "NEW")
    venue.set_price(BTC, "52500")
    assert (profit.status, profit.trades[0].price) == ("FILLED", Decimal(52500))


def test_a_conditional_order_of_a_perpetual_sends_an_order_of_its_own(venue: Venue) -> None:
    venue.place("main", new(PERP, 1, quantity="0.2"))
    stop = venue.place("main", new(PERP, -1, "STOP_MARKET", "0.5", stop_price="48000", reduce_only=True, client_id="s"))
    venue.set_price(PERP, "47000")
    spawned = stop.spawned
    assert spawned is not None
    assert (stop.status, stop.executed) == ("TRIGGERED", 0)
    assert (spawned.status, spawned.executed) == ("EXPIRED", Decimal("0.2"))  # reduce-only: no more than there is
    assert spawned.client_id != "s"
    assert venue.accounts["main"].position(PERP) == 0
    assert venue.accounts["main"].wallet["USDT"] == 100_000 - 600 - 5 - Decimal("4.7")


def test_what_reduces_a_position_ends_with_it(venue: Venue) -> None:
    venue.place("main", new(PERP, 1))
    resting = venue.place("main", new(PERP, -1, "LIMIT", price="60000", reduce_only=True))
    venue.place("main", new(PERP, -1, reduce_only=True))
    assert resting.status == "EXPIRED"


def test_funding_is_paid_by_the_longs(venue: Venue) -> None:
    venue.place("main", new(PERP, 1))
    before = venue.accounts["main"].wallet["USDT"]
    venue.pay_funding(PERP, "0.0001")
    assert before - venue.accounts["main"].wallet["USDT"] == Decimal("0.5")


# --- the port keeps its contract

DONE_UNSEEN = (lost_answer(), error(504, -1007, executed=True), error(500, executed=True))
NEVER_DONE = (lost_request(), error(504, -1007), error(503), error(502, -1006), error(500, -1001))


@pytest.mark.parametrize("fate", [*DONE_UNSEEN, *NEVER_DONE, late_request(3000), slow_answer(1000)])
def test_an_order_without_a_clear_answer_has_an_unknown_fate(clock: VirtualClock, venue: Venue, fate: Fate) -> None:
    exchange = VenueExchange(venue, Faults({("place", 0): fate}), clock)
    with pytest.raises(FateUnknown):
        exchange.place(intended(), clock.now_ms())
    clock.sleep(10)
    assert len(venue.accepted) == (fate not in NEVER_DONE)
    assert (exchange.order(intended()) is None) == (fate in NEVER_DONE)


@pytest.mark.parametrize(
    ("fate", "reason", "retry_seconds"),
    [
        (error(400, -1021), "too_late", None),
        (error(429, -1003, retry_seconds=7), "rate_limit", 7),
        (error(418, -1003, retry_seconds=120), "rate_limit", 120),
        (error(400, -1015), "rate_limit", None),
        (error(400, -2010), "funds", None),
        (error(400, -2010, message="Duplicate order sent."), "duplicate", None),
    ],
)
def test_an_order_that_is_certainly_refused_is_not_placed(
    clock: VirtualClock, venue: Venue, fate: Fate, reason: str, retry_seconds: float | None
) -> None:
    exchange = VenueExchange(venue, Faults({("place", 0): fate}), clock)
    with pytest.raises(NotPlaced) as caught:
        exchange.place(intended(), clock.now_ms())
    assert (caught.value.reason, caught.value.retry_seconds) == (reason, retry_seconds)
    assert venue.accepted == []


def test_refusals_of_the_model_reach_the_port_by_their_reason(clock: VirtualClock, venue: Venue) -> None:
    exchange = VenueExchange(venue, None, clock)
    perpetual = VenueExchange(venue, None, clock, is_perpetual=True)
    exchange.place(intended("open", kind="limit", price=40000.0), clock.now_ms())
    cases = [
        (exchange, intended("open", kind="limit", price=40000.0), "duplicate"),
        (exchange, intended(quantity=3), "funds"),
        (exchange, intended(quantity=0.000001), "filters"),
        (exchange, intended(kind="limit", price=50000.0, post_only=True), "post_only"),
        (perpetual, intended(symbol=PERP, kind="limit", price=50000.0, post_only=True), "post_only"),
        (perpetual, intended(symbol=PERP, reduce_only=True), "rejected"),
        (perpetual, intended(symbol=PERP, quantity=0.001), "filters"),
        (perpetual, intended(symbol=PERP, quantity=99), "funds"),
    ]
    for asked, order, reason in cases:
        with pytest.raises(NotPlaced) as caught:
            asked.place(order, clock.now_ms())
        assert caught.value.reason == reason, order.to_json()


@pytest.mark.parametrize(("age_ms", "is_taken"), [(5000, True), (5001, False), (-999, True), (-1000, False)])
def test_a_stamp_counts_inside_its_window_only(clock: VirtualClock, venue: Venue, age_ms: int, is_taken: bool) -> None:
    exchange = VenueExchange(venue, None, clock, validity_window_ms=5000)
    if is_taken:
        assert exchange.place(intended(), clock.now_ms() - age_ms).status == "filled"
    else:
        with pytest.raises(NotPlaced) as caught:
            exchange.place(intended(), clock.now_ms() - age_ms)
        assert caught.value.reason == "too_late"


@pytest.mark.parametrize(("delay_ms", "orders"), [(4999, 1), (5000, 1), (5001, 0), (60_000, 0)])
def test_a_late_request_counts_only_while_its_stamp_does(
    clock: VirtualClock, venue: Venue, delay_ms: int, orders: int
) -> None:
    exchange = VenueExchange(venue, Faults({("place", 0): late_request(delay_ms)}), clock)
    with pytest.raises(FateUnknown):
        exchange.place(intended(), clock.now_ms())
    assert venue.accepted == []
    clock.sleep(120)
    assert len(venue.accepted) == orders
    assert [order.time_ms for order in venue.accepted] == [START_MS + delay_ms] * orders


@pytest.mark.parametrize("fate", [lost_request(), error(503), error(429, -1003, retry_seconds=2), error(400, -1021)])
def test_a_question_is_asked_again_and_then_given_up(clock: VirtualClock, venue: Venue, fate: Fate) -> None:
    faults = Faults()
    exchange = VenueExchange(venue, faults, clock, is_perpetual=False)
    questions: dict[str, Callable[[], object]] = {
        "time": exchange.server_time_ms,
        "balances": exchange.balances,
        "positions": lambda: exchange.positions([BTC]),
        "open_orders": lambda: exchange.open_orders([BTC]),
        "order": lambda: exchange.order(intended()),
        "trades": lambda: exchange.trades_since(BTC, 0),
        "markets": lambda: exchange.instruments([BTC]),
    }
    for kind, question in questions.items():
        faults.then(kind, *[fate] * (ATTEMPTS_MAX - 1))
        question()
        faults.then(kind, *[fate] * ATTEMPTS_MAX)
        with pytest.raises(ExchangeUnavailable):
            question()
        assert faults.asked[kind] == 2 * ATTEMPTS_MAX


def test_only_the_definite_answer_means_that_there_is_no_order(clock: VirtualClock, venue: Venue) -> None:
    exchange = VenueExchange(venue, Faults({("order", 0): error(400, -2013), ("order", 1): error(504, -1007)}), clock)
    exchange.place(intended(), clock.now_ms())
    assert exchange.order(intended()) is None
    assert exchange.order(intended()) is not None
    assert exchange.order(intended("never")) is None


def test_a_cancel_returns_when_there_is_nothing_to_end_and_says_when_it_does_not_know(
    clock: VirtualClock, venue: Venue
) -> None:
    exchange = VenueExchange(venue, Faults({("cancel", 1): lost_answer(), ("cancel", 2): lost_request()}), clock)
    exchange.cancel(intended("none"), clock.now_ms())
    order = intended(kind="limit", price=40000.0)
    exchange.place(order, clock.now_ms())
    with pytest.raises(FateUnknown):
        exchange.cancel(order, clock.now_ms())
    report = exchange.order(order)
    assert report is not None
    assert report.status == "cancelled"
    with pytest.raises(FateUnknown):
        exchange.cancel(order, clock.now_ms())


def test_an_order_may_stay_invisible_and_its_trades_may_come_later(clock: VirtualClock, venue: Venue) -> None:
    faults = Faults({("place", 0): late_visibility(2000), ("place", 1): late_trades(3000)})
    exchange = VenueExchange(venue, faults, clock)
    hidden, late = intended("hidden"), intended("late")
    exchange.place(hidden, clock.now_ms())
    report = exchange.place(late, clock.now_ms())
    assert exchange.order(hidden) is None
    assert report.filled == Decimal("0.1")
    assert exchange.trades(report) == []
    clock.sleep(2)
    assert exchange.order(hidden) is not None
    assert [trade.client_order_id for trade in exchange.trades_since(BTC, 0)] == ["hidden"]
    clock.sleep(1)
    assert [trade.client_order_id for trade in exchange.trades_since(BTC, 0)] == ["hidden", "late"]
    assert sum(trade.quantity for trade in exchange.trades(report)) == report.filled


def test_a_market_order_may_fill_in_parts_or_lose_its_rest(clock: VirtualClock, venue: Venue) -> None:
    faults = Faults({("place", 0): partial("0.25"), ("place", 1): partial("0.5", rest_expires=True)})
    exchange = VenueExchange(venue, faults, clock)
    parts, cut = intended("parts"), intended("cut")
    assert (exchange.place(parts, clock.now_ms()).status, venue.accepted[0].executed) == ("open", Decimal("0.025"))
    report = exchange.place(cut, clock.now_ms())
    assert (report.status, report.filled) == ("expired", Decimal("0.05"))
    venue.tick()
    whole = exchange.order(parts)
    assert whole is not None
    assert (whole.status, whole.filled, len(exchange.trades(whole))) == ("filled", Decimal("0.1"), 2)


def test_a_triggered_stop_of_a_perpetual_reports_what_its_order_did(clock: VirtualClock, venue: Venue) -> None:
    exchange = VenueExchange(venue, None, clock, is_perpetual=True)
    exchange.place(intended("in", PERP), clock.now_ms())
    stop = intended("out", PERP, "stop", -1, price=48000.0, reduce_only=True)
    assert exchange.place(stop, clock.now_ms()).status == "open"
    assert [report.client_order_id for report in exchange.open_orders([])] == ["out"]
    venue.set_price(PERP, "47000")
    report = exchange.order(stop)
    assert report is not None
    assert (report.status, report.filled) == ("filled", Decimal("0.1"))
    assert [(trade.client_order_id, trade.price) for trade in exchange.trades(report)] == [("out", 47000.0)]
    assert exchange.positions([PERP]) == {}


def test_a_hook_may_crash_a_process_before_or_after_its_call(clock: VirtualClock, venue: Venue) -> None:
    def crash(call: str) -> None:
        if call == "place":
            raise Crash

    with pytest.raises(Crash):
        VenueExchange(venue, None, clock, before=crash).place(intended("before"), clock.now_ms())
    with pytest.raises(Crash):
        VenueExchange(venue, None, clock, after=crash).place(intended("after"), clock.now_ms())
    assert venue.count_by_client_id() == {"after": 1}


def test_two_processes_share_one_account_and_one_clock(clock: VirtualClock, venue: Venue) -> None:
    first, second = (VenueExchange(venue, None, clock, latency_ms=40) for _ in range(2))
    first.place(intended(kind="limit", price=40000.0), clock.now_ms())
    with pytest.raises(NotPlaced) as caught:
        second.place(intended(kind="limit", price=40000.0), clock.now_ms())
    assert caught.value.reason == "duplicate"
    assert first.open_orders([]) == second.open_orders([])
    assert clock.now_ms() > START_MS


@pytest.mark.parametrize("seed", range(20))
def test_a_storm_is_the_same_for_the_same_seed_and_never_invents_an_order(seed: int) -> None:
    def run() -> list[str]:
        clock = VirtualClock(START_MS)
        venue = make_venue(clock)
        faults = Faults(draw=stormy(0.7, invisible_ms_max=500), random=Random(seed))
        exchange = VenueExchange(venue, faults, clock)
        seen = []
        for number in range(30):
            order = intended(f"o{number}", side=1 if number % 2 else -1)
            try:
                seen.append(str(exchange.place(order, clock.now_ms())))
            except (FateUnknown, NotPlaced) as failure:
                seen.append(str(failure))
            try:
                seen.append(str(exchange.order(order)))
                exchange.cancel(order, clock.now_ms())
            except (ExchangeUnavailable, FateUnknown) as failure:
                seen.append(str(failure))
        clock.sleep(60)
        assert max(venue.count_by_client_id().values()) == 1, seed
        assert len({fate.way for _, _, fate in faults.bad}) > 3, seed
        return [*seen, *map(str, venue.accepted)]

    assert run() == run()


def orders_after_a_storm(seed: int, *, asks: bool) -> int:
    """How often one order was taken, sent until there was an answer: blindly, or after asking for it."""
    clock = VirtualClock(START_MS)
    venue = make_venue(clock)
    exchange = VenueExchange(venue, Faults(draw=stormy(0.6), random=Random(seed)), clock)
    order, is_done = intended(), False
    while not is_done:
        try:
            exchange.place(order, clock.now_ms())
            is_done = True
        except NotPlaced:
            clock.sleep(1)
        except FateUnknown:
            if asks:
                clock.sleep((exchange.validity_window_ms + 1) / 1000)
                is_done = is_known(exchange, order)
    clock.sleep(60)
    return venue.count_by_client_id()[order.order_id]


def is_known(exchange: VenueExchange, order: Order) -> bool:
    while True:
        try:
            return exchange.order(order) is not None
        except ExchangeUnavailable:
            exchange.clock.sleep(1)


def test_sending_again_doubles_orders_unless_the_venue_was_asked_after_the_window() -> None:
    assert max(orders_after_a_storm(seed, asks=False) for seed in range(60)) > 1
    assert {orders_after_a_storm(seed, asks=True) for seed in range(200)} == {1}


def test_bars_are_given_when_they_are_closed_and_published(clock: VirtualClock, venue: Venue) -> None:
    venue.set_bars(make_bars([(100, 120, 99, 100 + step) for step in range(10)]))
    exchange = VenueExchange(venue, None, clock)
    clock.advance_to(START_MS + 4 * HOUR_MS)
    assert exchange.newest_close("1h", None) == START_MS + 4 * HOUR_MS
    assert exchange.newest_close("1h", START_MS + 4 * HOUR_MS) is None
    assert exchange.bars(BTC, "1h", 3, START_MS + 4 * HOUR_MS).close.tolist() == [101.0, 102.0, 103.0]
    assert len(exchange.bars(BTC, "1h", 30, START_MS + 4 * HOUR_MS)) == 4
    with pytest.raises(DataError, match="not published"):
        exchange.bars(BTC, "1h", 3, START_MS + 5 * HOUR_MS)
    venue.bars_delay_ms = 1500
    with pytest.raises(DataError, match="not published"):
        exchange.bars(BTC, "1h", 3, START_MS + 4 * HOUR_MS)


def test_what_the_venue_does_not_have_or_not_allow_is_a_matter_of_configuration(clock: VirtualClock) -> None:
    exchange = VenueExchange(make_venue(clock, can_trade=False), None, clock)
    with pytest.raises(ConfigurationError, match="credentials"):
        exchange.place(intended(), clock.now_ms())
    with pytest.raises(ConfigurationError, match="DOGE"):
        exchange.instruments(["DOGE/USDT"])
    assert exchange.quote_price("DOGE", "USDT") is None
    assert exchange.quote_price("BTC", "USDT") == 50000.0


def test_instruments_and_balances_say_what_the_venue_enforces(clock: VirtualClock, venue: Venue) -> None:
    exchange = VenueExchange(venue, None, clock)
    rules = exchange.instruments([BTC])[BTC].rules[0]
    assert (rules.lot, rules.tick_numerator, rules.tick_denominator, rules.notional_minimum) == (1000, 1, 100, 5 * COIN)
    exchange.place(intended(kind="limit", price=40000.0), clock.now_ms())
    assert exchange.balances()["USDT"] == (Decimal(96000), Decimal(100_000))


def test_a_script_names_calls_that_exist() -> None:
    with pytest.raises(ValueError, match="plce"):
        Faults({("plce", 0): OK})
    assert Faults().next("place") is OK
    assert "place" in CALL_KINDS


def test_what_a_late_request_does_happens_at_its_time(clock: VirtualClock) -> None:
    seen: list[int] = []
    clock.at(START_MS + 500, lambda: seen.append(clock.now_ms()))
    clock.at(START_MS + 200, lambda: clock.at(START_MS + 300, lambda: seen.append(clock.now_ms())))
    clock.sleep(1)
    assert seen == [START_MS + 300, START_MS + 500]
    assert clock.now_ms() == START_MS + 1000


# --- real ccxt talks to the Binance server

Names = tuple[str, str]
SPOT_CLIENT: Names = ("binance", BTC)
PERPETUAL_CLIENT: Names = ("binanceusdm", PERP)


def moved(urls: Any, base_url: str) -> Any:
    """The addresses of ccxt, on the loopback server."""
    if isinstance(urls, dict):
        return {key: moved(value, base_url) for key, value in urls.items()}
    if isinstance(urls, str) and urls.startswith("http"):
        return base_url + "/" + urls.split("/", 3)[3] if urls.count("/") > 2 else base_url
    return urls


def make_client(name: str, server: Any, key: str = "key-of-main", secret: str = "secret-of-main") -> Any:
    import ccxt

    client = getattr(ccxt, name)(
        {"apiKey": key, "secret": secret, "enableRateLimit": False, "timeout": 5000, "options": OPTIONS}
    )
    client.urls["api"] = moved(client.urls["api"], server.url)
    return client


OPTIONS = {"warnOnFetchOpenOrdersWithoutSymbol": False, "fetchMargins": False}


@pytest.fixture
def server() -> Iterator[BinanceServer]:
    clock = RealClock()
    with BinanceServer(make_venue(clock), clock=clock) as server:
        yield server


def of_client(names: Names) -> dict[str, Any]:
    return {"trigger": True} if names is PERPETUAL_CLIENT else {}


@pytest.mark.parametrize("names", [SPOT_CLIENT, PERPETUAL_CLIENT])
def test_ccxt_places_finds_cancels_and_lists_orders(server: BinanceServer, names: Names) -> None:
    import ccxt

    name, symbol = names
    client = make_client(name, server)
    placed = client.create_order(symbol, "limit", "buy", 0.01, 40000, {"clientOrderId": "tr-a-1"})
    assert (placed["clientOrderId"], placed["status"], placed["amount"]) == ("tr-a-1", "open", 0.01)
    with pytest.raises((ccxt.InvalidOrder, ccxt.ExchangeError)):
        client.create_order(symbol, "limit", "buy", 0.01, 40000, {"clientOrderId": "tr-a-1"})
    assert [order["clientOrderId"] for order in client.fetch_open_orders()] == ["tr-a-1"]
    assert client.fetch_order(None, symbol, {"clientOrderId": "tr-a-1"})["id"] == placed["id"]
    assert client.cancel_order(None, symbol, {"clientOrderId": "tr-a-1"})["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(None, symbol, {"clientOrderId": "tr-a-1"})
    with pytest.raises(ccxt.OrderNotFound):
        client.fetch_order(None, symbol, {"clientOrderId": "tr-none"})
    filled = client.create_order(symbol, "market", "buy", 0.01, None, {"clientOrderId": "tr-a-1"})
    assert (filled["status"], filled["filled"], filled["average"]) == ("closed", 0.01, 50000.0)
    assert client.fetch_order(None, symbol, {"clientOrderId": "tr-a-1"})["id"] == filled["id"]
    trades = client.fetch_my_trades(symbol, params={"orderId": filled["id"]})
    fee = {"currency": "BTC", "cost": 0.00001} if names is SPOT_CLIENT else {"currency": "USDT", "cost": 0.25}
    assert [(trade["amount"], trade["cost"], trade["fee"]) for trade in trades] == [(0.01, 500.0, fee)]
    assert len(client.fetch_orders(symbol)) == 2
    assert server.venue.count_by_client_id() == {"tr-a-1": 2}


@pytest.mark.parametrize("names", [SPOT_CLIENT, PERPETUAL_CLIENT])
def test_ccxt_places_a_stop_that_goes_off(server: BinanceServer, names: Names) -> None:
    name, symbol = names
    client = make_client(name, server)
    reduce_only = {"reduceOnly": True} if names is PERPETUAL_CLIENT else {}
    client.create_order(symbol, "market", "buy", 0.01)
    stop = {"stopLossPrice": 45000, "clientOrderId": "tr-a-stop", **reduce_only}
    assert client.create_order(symbol, "market", "sell", 0.01, None, stop)["status"] == "open"
    assert [order["clientOrderId"] for order in client.fetch_open_orders(symbol, params=of_client(names))] == [
        "tr-a-stop"
    ]
    with server.lock:
        server.venue.set_price(symbol, "44000")
    gone = client.fetch_order(None, symbol, {"clientOrderId": "tr-a-stop", **of_client(names)})
    assert gone["status"] == "closed"
    order_id = gone["info"]["actualOrderId"] if names is PERPETUAL_CLIENT else gone["id"]
    assert [trade["price"] for trade in client.fetch_my_trades(symbol, params={"orderId": order_id})] == [44000.0]


def test_ccxt_reads_markets_fees_balances_positions_and_funding(server: BinanceServer) -> None:
    spot, perpetual = make_client("binance", server), make_client("binanceusdm", server)
    spot.load_markets()
    assert (spot.markets[BTC]["precision"]["amount"], spot.markets[BTC]["limits"]["cost"]["min"]) == (0.00001, 5.0)
    assert spot.fetch_trading_fee(BTC)["taker"] == 0.001
    assert spot.fetch_balance()["BTC"]["free"] == 5.0
    assert perpetual.fetch_trading_fee(PERP)["maker"] == 0.0002
    perpetual.create_order(PERP, "market", "sell", 0.02)
    with server.lock:
        server.venue.pay_funding(PERP, "0.0001")
    assert [(one["side"], one["contracts"]) for one in perpetual.fetch_positions([PERP])] == [("short", 0.02)]
    assert [payment["amount"] for payment in perpetual.fetch_funding_history(PERP)] == [0.1]
    assert perpetual.fetch_balance()["info"]["totalWalletBalance"] == "99999.60000000"
    assert perpetual.fetch_position_mode()["hedged"] is False
    assert abs(perpetual.fetch_time() - server.venue.now_ms()) < 60_000
    assert spot.fetch_last_prices([BTC])[BTC]["price"] == 50000.0
    assert spot.fetch_ticker(BTC)["last"] == 50000.0


def test_ccxt_reads_candles_of_which_the_last_is_still_forming(clock: VirtualClock, venue: Venue) -> None:
    venue.set_bars(make_bars([(100, 103, 99, 102)] * 20))
    clock.advance_to(START_MS + 9 * HOUR_MS + 1000)
    with BinanceServer(venue, clock=clock) as server:
        client = make_client("binance", server, key="", secret="")
        hours = [START_MS + hour * HOUR_MS for hour in range(10)]
        candles = client.fetch_ohlcv(BTC, "1h", limit=3)
        assert [(candle[0], candle[4]) for candle in candles] == list(
            zip(hours[7:], (102.0, 102.0, 100.0), strict=True)
        )
        assert [candle[0] for candle in client.fetch_ohlcv(BTC, "1h", since=START_MS)] == hours
        venue.bars_delay_ms = 1500
        assert [candle[4] for candle in client.fetch_ohlcv(BTC, "1h", limit=2)] == [102.0, 100.0]


@pytest.mark.parametrize(
    ("fate", "expected", "orders"),
    [
        (error(504, -1007), "RequestTimeout", 0),
        (error(504, -1007, executed=True), "RequestTimeout", 1),
        (error(500), "ExchangeNotAvailable", 0),
        (error(502, executed=True), "ExchangeNotAvailable", 1),
        (error(503), "ExchangeNotAvailable", 0),
        (error(504), "RequestTimeout", 0),
        (error(429, -1003, retry_seconds=3), "DDoSProtection", 0),
        (error(418, -1003, retry_seconds=3), "DDoSProtection", 0),
        (error(400, -1021), "InvalidNonce", 0),
        (error(400, -1015), "RateLimitExceeded", 0),
        (error(400, -2010), "InsufficientFunds", 0),
        (lost_request(), "NetworkError", 0),
        (lost_answer(), "NetworkError", 1),
        (slow_answer(700), "RequestTimeout", 1),
        (lost_answer(silence_ms=700), "RequestTimeout", 1),
    ],
)
def test_each_fault_of_an_order_ends_in_ccxts_exception_for_it(
    server: BinanceServer, fate: Fate, expected: str, orders: int
) -> None:
    import ccxt

    client = make_client("binance", server)
    client.load_markets()
    client.timeout = 400
    server.faults.then("place", fate)
    with pytest.raises(getattr(ccxt, expected)):
        client.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": "tr-x"})
    assert len(server.venue.accepted) == orders
    assert server.counts()["POST", "/api/v3/order"] == 1


def test_a_late_request_is_executed_after_its_sender_has_gone(server: BinanceServer) -> None:
    import ccxt

    client = make_client("binance", server)
    client.load_markets()
    server.faults.then("place", late_request(100), late_request(100))
    for window in (5000, 50):
        with pytest.raises(ccxt.NetworkError):
            client.create_order(BTC, "market", "buy", 0.01, None, {"recvWindow": window})
    wait_for(lambda: len(server.venue.accepted) == 1)
    time.sleep(0.2)  # nothing is to happen: twice the time that the other request takes to arrive
    assert len(server.venue.accepted) == 1


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)  # between two looks


@pytest.mark.parametrize(
    ("key", "secret", "code"),
    [("key-of-main", "wrong", -1022), ("wrong", "secret-of-main", -2015)],
)
def test_a_wrong_key_or_signature_is_refused(server: BinanceServer, key: str, secret: str, code: int) -> None:
    import ccxt

    client = make_client("binance", server, key, secret)
    client.options["fetchCurrencies"] = False
    with pytest.raises(ccxt.AuthenticationError, match=str(code)):
        client.fetch_balance()


@pytest.mark.parametrize("offset_ms", [-6000, 2000])
def test_a_clock_that_is_off_is_refused(offset_ms: int) -> None:
    import ccxt

    clock = RealClock(offset_ms=-offset_ms)
    with BinanceServer(make_venue(clock), clock=clock) as server:
        client = make_client("binance", server)
        client.options["fetchCurrencies"] = False
        with pytest.raises(ccxt.InvalidNonce, match="-1021"):
            client.fetch_balance({"recvWindow": 5000})


def signed(server: BinanceServer, path: str, query: str, *, method: str = "GET", stamp_ms: int | None = None) -> str:
    """The answer to a request signed by hand, or the code of its error."""
    stamp_ms = server.venue.now_ms() if stamp_ms is None else stamp_ms
    text = f"{query}&timestamp={stamp_ms}" if query else f"timestamp={stamp_ms}"
    signature = hmac.new(b"secret-of-main", text.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(f"{server.url}{path}?{text}&signature={signature}", method=method)
    request.add_header("X-MBX-APIKEY", "key-of-main")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as failure:
        return str(failure.read().decode())


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/api/v3/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1e-3", -1100),
        ("/api/v3/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.0000000001", -1111),
        ("/api/v3/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&reduceOnly=true", -1104),
        ("/api/v3/order", "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=40000", -1102),
        ("/api/v3/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1&newClientOrderId=" + "a" * 37, -1100),
        ("/api/v3/order", "symbol=BTCUSD&side=BUY&type=MARKET&quantity=1", -1121),
        ("/api/v3/order", "symbol=BTCUSDT&side=BUY&quantity=1", -1102),
        ("/fapi/v1/order", "symbol=BTCUSDT&side=SELL&type=STOP_MARKET&quantity=1&stopPrice=40000", -4120),
        ("/fapi/v1/algoOrder", "symbol=BTCUSDT&side=SELL&type=STOP_MARKET&quantity=1&triggerPrice=4", -1102),
    ],
)
def test_a_malformed_order_is_refused_by_its_code(server: BinanceServer, path: str, query: str, code: int) -> None:
    assert f'"code": {code}' in signed(server, path, query, method="POST")
    assert server.venue.accepted == []


def test_the_server_keeps_the_limits_of_time_and_of_periods(server: BinanceServer) -> None:
    now = server.venue.now_ms()
    assert '"balances"' in signed(server, "/api/v3/account", "recvWindow=60000", stamp_ms=now - 30_000)
    assert '"code": -1021' in signed(server, "/api/v3/account", "recvWindow=60000", stamp_ms=now - 61_000)
    assert '"code": -1021' in signed(server, "/api/v3/account", "", stamp_ms=now - 6_000)
    assert '"code": -1131' in signed(server, "/api/v3/account", "recvWindow=60001")
    period = f"symbol=BTCUSDT&startTime={now - 90_000_000}&endTime={now}"
    assert '"code": -1127' in signed(server, "/api/v3/myTrades", period)
    assert '"code": -1102' in signed(server, "/api/v3/order", "symbol=BTCUSDT")


def test_weights_are_told_and_too_many_requests_refused() -> None:
    clock = RealClock()
    with BinanceServer(make_venue(clock), clock=clock, weight_limit=40) as server:
        with urllib.request.urlopen(f"{server.url}/api/v3/exchangeInfo", timeout=5) as answer:
            assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "20"
        for _ in range(2):
            last = signed(server, "/api/v3/account", "")
        assert '"code": -1003' in last


def test_connections_can_be_dropped_between_two_requests(server: BinanceServer) -> None:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/api/v3/ping")
    assert connection.getresponse().read() == b"{}"
    server.drop_connections()
    with pytest.raises(ConnectionError):
        answer_of(connection)
    connection.close()
    connection.request("GET", "/api/v3/nothing")
    assert connection.getresponse().status == 404
    connection.close()


def answer_of(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/api/v3/ping")
    return connection.getresponse().status


def test_a_defect_of_the_server_is_not_taken_for_a_fault(clock: VirtualClock, venue: Venue) -> None:
    venue.set_bars(make_bars([(100, 103, 99, 102)]))
    with pytest.raises(ValueError, match="invalid literal"):
        ask_nonsense(venue, clock)


def ask_nonsense(venue: Venue, clock: VirtualClock) -> None:
    with BinanceServer(venue, clock=clock) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
        connection.request("GET", "/api/v3/klines?symbol=BTCUSDT&interval=1h&startTime=soon")
        with pytest.raises(ConnectionError):
            connection.getresponse()
        connection.close()


# --- real ccxt talks to the Bitfinex server


@pytest.fixture
def bitfinex() -> Iterator[BitfinexServer]:
    clock = RealClock()
    markets = [
        VenueMarket(BTC, "50000", tick="1", lot="0.00000001", quantity_minimum="0.00004", taker_fee_rate="0.002")
    ]
    venue = Venue(clock.now_ms, markets, [VenueAccount(spot=SPOT)])
    with BitfinexServer(venue, clock=clock) as server:
        yield server


def today(server: BitfinexServer) -> str:
    return datetime.fromtimestamp(server.venue.now_ms() / 1000, UTC).strftime("%Y-%m-%d")


def test_ccxt_trades_on_the_bitfinex_server(bitfinex: BitfinexServer) -> None:
    import ccxt

    client = make_client("bitfinex", bitfinex)
    client.load_markets()
    assert client.markets[BTC]["limits"]["amount"]["min"] == 0.00004
    assert client.fetch_trading_fees()[BTC]["taker"] == 0.002
    assert client.fetch_ticker(BTC)["last"] == 50000.0
    assert client.fetch_balance()["BTC"]["free"] == 5.0
    resting = client.create_order(BTC, "limit", "buy", 0.01, 40000, {"clientOrderId": 123})
    assert (resting["status"], resting["clientOrderId"]) == ("open", "123")
    assert [order["id"] for order in client.fetch_open_orders(BTC, params={"cid": 123})] == [resting["id"]]
    assert client.fetch_open_orders(BTC, params={"cid": 124}) == []
    assert client.fetch_open_orders(BTC, params={"cid": 123, "cid_date": "2001-01-01"}) == []
    assert client.fetch_balance()["USDT"]["free"] == 99600.0
    client.cancel_order(None, BTC, {"cid": 123, "cidDate": "-", "cid_date": today(bitfinex)})
    assert client.fetch_open_orders() == []
    assert [order["status"] for order in client.fetch_closed_orders(BTC)] == ["canceled"]
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(resting["id"])
    bought = client.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": 125})
    assert bought["status"] == "open"  # acknowledged before it is matched
    found = client.fetch_closed_order(bought["id"], BTC)
    assert (found["status"], found["filled"], found["average"]) == ("closed", 0.01, 50000.0)
    fee = {"currency": "BTC", "cost": 0.00002}
    assert [(one["amount"], one["fee"]) for one in client.fetch_order_trades(bought["id"], BTC)] == [(0.01, fee)]
    assert [one["order"] for one in client.fetch_my_trades(BTC)] == [bought["id"]]


def test_bitfinex_takes_a_client_number_twice(bitfinex: BitfinexServer) -> None:
    client = make_client("bitfinex", bitfinex)
    for _ in range(2):
        client.create_order(BTC, "limit", "buy", 0.01, 40000, {"clientOrderId": 7})
    assert bitfinex.venue.count_by_client_id() == {"7": 2}


def test_bitfinex_keeps_what_became_of_orders_that_may_not_rest(bitfinex: BitfinexServer) -> None:
    client = make_client("bitfinex", bitfinex)
    client.create_order(BTC, "limit", "buy", 0.01, 50000, {"postOnly": True})
    client.create_order(BTC, "limit", "buy", 0.01, 49000, {"timeInForce": "IOC"})
    client.create_order(BTC, "market", "sell", 0.01, None, {"triggerPrice": 45000})
    with bitfinex.lock:
        bitfinex.venue.set_price(BTC, "44000")
    ended = sorted(client.fetch_closed_orders(BTC), key=lambda order: int(order["id"]))
    texts = [order["info"][13] for order in ended]
    assert texts == ["POSTONLY CANCELED", "IOC CANCELED", "EXECUTED @ 44000.0(-0.01)"]


@pytest.mark.parametrize(
    ("fate", "expected", "orders"),
    [
        (lost_request(), "NetworkError", 0),
        (lost_answer(), "NetworkError", 1),
        (error(429, 11010, message="ratelimit: error"), "RateLimitExceeded", 0),
        (error(500, 20060, message="maintenance"), "OnMaintenance", 0),
        (error(502, executed=True), "ExchangeNotAvailable", 1),
    ],
)
def test_faults_of_bitfinex_end_in_ccxts_exceptions(
    bitfinex: BitfinexServer, fate: Fate, expected: str, orders: int
) -> None:
    import ccxt

    client = make_client("bitfinex", bitfinex)
    bitfinex.faults.then("place", fate)
    with pytest.raises(getattr(ccxt, expected)):
        client.create_order(BTC, "market", "buy", 0.01, None, {"clientOrderId": 9})
    assert len(bitfinex.venue.accepted) == orders
    assert bitfinex.counts()["POST", "/v2/auth/w/order/submit"] == 1


def test_bitfinex_refuses_in_its_own_words(bitfinex: BitfinexServer) -> None:
    import ccxt

    client = make_client("bitfinex", bitfinex)
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order(BTC, "market", "buy", 9)
    with pytest.raises(ccxt.PermissionDenied, match="minimum size"):  # code 10001 is also used for everything else
        client.create_order(BTC, "market", "buy", 0.00001)
    with pytest.raises(ccxt.AuthenticationError):
        make_client("bitfinex", bitfinex, secret="wrong").fetch_balance()
    bitfinex.faults.then("balances", error(500, 10114, message="nonce: small"))
    with pytest.raises(ccxt.InvalidNonce):
        client.fetch_balance()


def test_bitfinex_shows_candles_from_both_ends(clock: VirtualClock, venue: Venue) -> None:
    venue.set_bars(make_bars([(100, 103, 99, 102)] * 20))
    clock.advance_to(START_MS + 9 * HOUR_MS + 1000)
    with BitfinexServer(venue, clock=clock) as server:
        client = make_client("bitfinex", server)
        hours = [START_MS + hour * HOUR_MS for hour in range(10)]
        assert client.fetch_ohlcv(BTC, "1h", limit=2)[-1] == [hours[-1], 100.0, 100.0, 100.0, 100.0, 500.0]
        assert [candle[0] for candle in client.fetch_ohlcv(BTC, "1h", since=START_MS, limit=3)] == hours[:3]
        assert client.fetch_ohlcv(BTC, "1h", since=START_MS, limit=1) == [[START_MS, 100.0, 103.0, 99.0, 102.0, 1000.0]]
