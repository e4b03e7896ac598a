"""What every exchange must do, as functions over the port: ``contract`` lists them, a test module runs them on each.

A function gets a new exchange whose account has money, and a ``Driver`` that moves its market. It says nothing about
one exchange in particular; where the port lets exchanges differ, ``capabilities`` tells.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

import pytest

from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.instruments import Rules
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.state import Order
from trading_runtime.core.timeframes import HOUR_MS
from trading_runtime.exchanges.port import Exchange, NotPlaced, OrderReport, Trade


class Driver(Protocol):
    """The market behind an exchange.

    symbol     what is traded; it can be bought and sold for ``quantity`` (base units) several times over
    price      the last price when the test begins
    slot       the newest bar close: orders carry it in their ids
    refuses_open_ids        whether the exchange refuses a client order id that is open already
    refuses_takers_at_once  whether it refuses a post-only order that would take, or takes it and then ends it itself
    """

    symbol: str
    price: Decimal
    quantity: Decimal
    slot: int
    refuses_open_ids: bool
    refuses_takers_at_once: bool

    def reach(self, price: Decimal) -> None:
        """Let the market trade at ``price``: what was placed before can fill, what rests there does."""
        ...


Contract = Callable[[Exchange, Driver], None]
contract: list[Contract] = []


def part(function: Contract) -> Contract:
    contract.append(function)
    return function


def make_order(
    exchange: Exchange,
    driver: Driver,
    leg: str,
    side: int,
    *,
    kind: str = "market",
    price: Decimal | None = None,
    quantity: Decimal | None = None,
    reduce_only: bool = False,
    time_in_force: str = "gtc",
    post_only: bool = False,
) -> Order:
    """Return an order of the driver's symbol under an id of its leg."""
    instrument = exchange.instruments([driver.symbol])[driver.symbol]
    return Order(
        client_order_id("contract", "test", driver.symbol, driver.slot, leg),
        driver.symbol,
        kind,
        side,
        instrument.quantity_units(quantity if quantity is not None else driver.quantity),
        slot=driver.slot,
        leg=leg,
        price=None if price is None else float(price),
        reduce_only=reduce_only,
        time_in_force=time_in_force,
        post_only=post_only,
    )


def place(exchange: Exchange, order: Order) -> OrderReport:
    return exchange.place(order, exchange.server_time_ms())


def asked(exchange: Exchange, order: Order) -> OrderReport:
    report = exchange.order(order)
    assert report is not None, f"the exchange does not know {order.order_id}"
    return report


def executed(exchange: Exchange, driver: Driver, order: Order) -> tuple[OrderReport, list[Trade]]:
    """Place a market order, let the market trade on at its price, and return what became of it."""
    place(exchange, order)
    driver.reach(driver.price)
    report = asked(exchange, order)
    return report, exchange.trades(report)


def refused(exchange: Exchange, order: Order) -> str:
    """Return the reason for which an order is refused."""
    with pytest.raises(NotPlaced) as caught:
        place(exchange, order)
    assert exchange.order(order) is None
    return caught.value.reason


@part
def a_market_order_fills_and_its_trades_add_up(exchange: Exchange, driver: Driver) -> None:
    order = make_order(exchange, driver, "entry", +1)
    report, trades = executed(exchange, driver, order)
    assert (report.client_order_id, report.symbol, report.side) == (order.order_id, driver.symbol, +1)
    assert report.status == "filled"
    assert report.kind == "market"
    assert report.quantity == report.filled == driver.quantity == sum(trade.quantity for trade in trades)
    assert all(trade.exchange_order_id == report.exchange_order_id for trade in trades)
    assert all(trade.client_order_id == order.order_id for trade in trades)
    assert all((trade.side, trade.symbol) == (+1, driver.symbol) for trade in trades)
    assert len({trade.trade_id for trade in trades}) == len(trades)
    assert trades == sorted(trades, key=lambda trade: (trade.time_ms, trade.sequence))
    for trade in trades:
        assert float(trade.value) == pytest.approx(trade.price * float(trade.quantity), rel=1e-9)


@part
def what_a_trade_costs_is_taken_from_the_account(exchange: Exchange, driver: Driver) -> None:
    instrument = exchange.instruments([driver.symbol])[driver.symbol]
    before = exchange.balances()
    _, trades = executed(exchange, driver, make_order(exchange, driver, "entry", +1))
    after = exchange.balances()
    changes = {asset: after[asset].total - before[asset].total for asset in before.keys() & after.keys()}
    changes |= {asset: after[asset].total for asset in after.keys() - before.keys()}
    expected: dict[str, Decimal] = {}
    for trade in trades:
        for fee in trade.fees:
            expected[fee.asset] = expected.get(fee.asset, Decimal(0)) - fee.amount
        if instrument.kind == "spot":
            expected[instrument.quote] = expected.get(instrument.quote, Decimal(0)) - trade.value
            expected[instrument.base] = expected.get(instrument.base, Decimal(0)) + trade.quantity
    assert {asset: change for asset, change in changes.items() if change} == expected


@part
def trades_since_a_time_are_those_of_the_orders(exchange: Exchange, driver: Driver) -> None:
    start = exchange.server_time_ms() - HOUR_MS
    _, bought = executed(exchange, driver, make_order(exchange, driver, "entry", +1))
    _, sold = executed(exchange, driver, make_order(exchange, driver, "close", -1))
    found = exchange.trades_since(driver.symbol, start)
    assert [trade.trade_id for trade in found] == [trade.trade_id for trade in bought + sold]
    assert [trade.fees for trade in found] == [trade.fees for trade in bought + sold]
    last = max(trade.time_ms for trade in found)
    assert exchange.trades_since(driver.symbol, last + 1) == []


@part
def a_position_is_what_was_traded(exchange: Exchange, driver: Driver) -> None:
    instrument = exchange.instruments([driver.symbol])[driver.symbol]
    if instrument.kind == "spot":
        assert exchange.positions([driver.symbol]) == {}
        return
    executed(exchange, driver, make_order(exchange, driver, "entry", -1))
    assert exchange.positions([driver.symbol]) == {driver.symbol: -driver.quantity}
    executed(exchange, driver, make_order(exchange, driver, "close", +1, reduce_only=True))
    assert exchange.positions([driver.symbol]) == {}


@part
def a_limit_order_rests_until_it_is_cancelled(exchange: Exchange, driver: Driver) -> None:
    price = (driver.price * Decimal("0.9")).quantize(Decimal(1))
    order = make_order(exchange, driver, "entry", +1, kind="limit", price=price)
    placed = place(exchange, order)
    assert placed.status == "open"
    report = asked(exchange, order)
    assert (report.status, report.kind, report.filled, report.price) == ("open", "limit", 0, float(price))
    assert report.exchange_order_id == placed.exchange_order_id
    mine = [one for one in exchange.open_orders([driver.symbol]) if one.exchange_order_id == report.exchange_order_id]
    assert [(one.symbol, one.side, one.quantity) for one in mine] == [(driver.symbol, +1, driver.quantity)]
    assert exchange.trades(report) == []
    exchange.cancel(order, exchange.server_time_ms())
    report = asked(exchange, order)
    assert (report.status, report.filled) == ("cancelled", 0)
    assert report.reason
    assert exchange.open_orders([driver.symbol]) == []
    exchange.cancel(order, exchange.server_time_ms())  # nothing to end is no error


@part
def a_limit_order_fills_at_its_price(exchange: Exchange, driver: Driver) -> None:
    price = (driver.price * Decimal("0.9")).quantize(Decimal(1))
    order = make_order(exchange, driver, "entry", +1, kind="limit", price=price)
    place(exchange, order)
    driver.reach((driver.price * Decimal("0.8")).quantize(Decimal(1)))
    report = asked(exchange, order)
    assert (report.status, report.filled) == ("filled", driver.quantity)
    trades = exchange.trades(report)
    assert {(trade.price, trade.is_maker) for trade in trades} == {(float(price), True)}
    assert sum(trade.value for trade in trades) == price * driver.quantity


@part
def an_order_nobody_sent_is_not_known(exchange: Exchange, driver: Driver) -> None:
    for kind in ("market", "limit", "stop"):
        price = None if kind == "market" else driver.price
        order = make_order(exchange, driver, "never", +1, kind=kind, price=price)
        assert exchange.order(order) is None
        exchange.cancel(order, exchange.server_time_ms())


@part
def an_id_that_is_open_is_refused_a_second_time(exchange: Exchange, driver: Driver) -> None:
    price = (driver.price * Decimal("0.9")).quantize(Decimal(1))
    order = make_order(exchange, driver, "entry", +1, kind="limit", price=price)
    place(exchange, order)
    if not driver.refuses_open_ids:
        return
    with pytest.raises(NotPlaced) as caught:
        place(exchange, order)
    assert caught.value.reason == "duplicate"
    assert len(exchange.open_orders([driver.symbol])) == 1


@part
def a_stop_becomes_a_market_order_when_it_is_reached(exchange: Exchange, driver: Driver) -> None:
    _reached(exchange, driver, "stop", Decimal("0.9"), Decimal("0.85"))


@part
def a_take_profit_becomes_a_market_order_when_it_is_reached(exchange: Exchange, driver: Driver) -> None:
    _reached(exchange, driver, "take_profit", Decimal("1.1"), Decimal("1.15"))


def _reached(exchange: Exchange, driver: Driver, kind: str, trigger: Decimal, beyond: Decimal) -> None:
    instrument = exchange.instruments([driver.symbol])[driver.symbol]
    executed(exchange, driver, make_order(exchange, driver, "entry", +1, quantity=driver.quantity * 2))
    price = (driver.price * trigger).quantize(Decimal(1))
    order = make_order(exchange, driver, kind[:4], -1, kind=kind, price=price, reduce_only=instrument.kind != "spot")
    if kind not in exchange.capabilities.kinds:
        assert refused(exchange, order) == "rejected"
        return
    place(exchange, order)
    report = asked(exchange, order)
    assert (report.status, report.kind, report.filled, report.price) == ("open", kind, 0, float(price))
    assert report.reduce_only == (instrument.kind != "spot")
    open_ones = exchange.open_orders([driver.symbol])
    assert [(one.kind, one.side, one.price) for one in open_ones] == [(kind, -1, float(price))]
    driver.reach((driver.price * beyond).quantize(Decimal(1)))
    report = asked(exchange, order)
    assert (report.status, report.filled, report.client_order_id) == ("filled", driver.quantity, order.order_id)
    trades = exchange.trades(report)
    assert sum(trade.quantity for trade in trades) == driver.quantity
    assert not any(trade.is_maker for trade in trades)
    assert exchange.open_orders([driver.symbol]) == []


@part
def a_stop_can_be_cancelled(exchange: Exchange, driver: Driver) -> None:
    if "stop" not in exchange.capabilities.kinds:
        return
    executed(exchange, driver, make_order(exchange, driver, "entry", +1, quantity=driver.quantity * 2))
    price = (driver.price * Decimal("0.9")).quantize(Decimal(1))
    order = make_order(exchange, driver, "stop", -1, kind="stop", price=price)
    place(exchange, order)
    exchange.cancel(order, exchange.server_time_ms())
    assert asked(exchange, order).status == "cancelled"
    exchange.cancel(order, exchange.server_time_ms())
    driver.reach(price / 2)
    assert asked(exchange, order).filled == 0


@part
def what_would_take_is_no_post_only_order(exchange: Exchange, driver: Driver) -> None:
    price = (driver.price * Decimal("1.1")).quantize(Decimal(1))
    order = make_order(exchange, driver, "entry", +1, kind="limit", price=price, post_only=True)
    if driver.refuses_takers_at_once:
        assert refused(exchange, order) == "post_only"
        return
    place(exchange, order)
    driver.reach(driver.price)
    report = asked(exchange, order)
    assert (report.status, report.reason, report.filled) == ("rejected", "post_only", 0)


@part
def what_would_rest_is_a_post_only_order(exchange: Exchange, driver: Driver) -> None:
    price = (driver.price * Decimal("0.9")).quantize(Decimal(1))
    order = make_order(exchange, driver, "entry", +1, kind="limit", price=price, post_only=True)
    assert place(exchange, order).status == "open"


@part
def immediate_or_cancel_does_not_rest(exchange: Exchange, driver: Driver) -> None:
    price = (driver.price * Decimal("0.9")).quantize(Decimal(1))
    order = make_order(exchange, driver, "entry", +1, kind="limit", price=price, time_in_force="ioc")
    place(exchange, order)
    driver.reach(driver.price)
    report = asked(exchange, order)
    assert (report.status in ("expired", "cancelled"), report.filled) == (True, 0)


@part
def immediate_or_cancel_takes_what_there_is(exchange: Exchange, driver: Driver) -> None:
    price = (driver.price * Decimal("1.1")).quantize(Decimal(1))
    order = make_order(exchange, driver, "entry", +1, kind="limit", price=price, time_in_force="ioc")
    place(exchange, order)
    driver.reach(driver.price)
    report = asked(exchange, order)
    assert (report.status, report.filled) == ("filled", driver.quantity)
    assert all(trade.price <= float(price) for trade in exchange.trades(report))


@part
def less_than_the_minimum_is_refused(exchange: Exchange, driver: Driver) -> None:
    rules = _rules(exchange, driver)
    instrument = exchange.instruments([driver.symbol])[driver.symbol]
    if not rules.notional_minimum and rules.quantity_minimum <= rules.lot:
        return
    smallest = instrument.quantity_unit * rules.lot
    assert refused(exchange, make_order(exchange, driver, "entry", +1, quantity=smallest)) == "filters"


@part
def more_than_there_is_money_for_is_refused(exchange: Exchange, driver: Driver) -> None:
    if exchange.capabilities.keeps_brackets:
        return  # money is the business of the gates there, and of matching
    instrument = exchange.instruments([driver.symbol])[driver.symbol]
    rules = _rules(exchange, driver)
    money = exchange.balances()[instrument.quote].total
    lots = int(money * 200 / driver.price / (instrument.quantity_unit * rules.lot))
    quantity = min(lots * rules.lot, rules.quantity_maximum) * instrument.quantity_unit
    price = (driver.price * Decimal("0.99")).quantize(Decimal(1))
    order = make_order(exchange, driver, "entry", +1, kind="limit", price=price, quantity=quantity)
    assert refused(exchange, order) == "funds"


@part
def an_order_older_than_its_window_is_refused(exchange: Exchange, driver: Driver) -> None:
    window = exchange.capabilities.validity_window_ms
    if window is None or exchange.capabilities.keeps_brackets:
        return
    order = make_order(exchange, driver, "entry", +1)
    with pytest.raises(NotPlaced) as caught:
        exchange.place(order, exchange.server_time_ms() - window - 1500)
    assert caught.value.reason == "too_late"
    assert exchange.order(order) is None


@part
def a_symbol_that_is_not_traded_is_a_mistake(exchange: Exchange, driver: Driver) -> None:
    base, _, rest = driver.symbol.partition("/")
    with pytest.raises(ConfigurationError, match=f"{base}X/"):
        exchange.instruments([f"{base}X/{rest}"])


@part
def bars_are_the_closed_ones_that_were_asked_for(exchange: Exchange, driver: Driver) -> None:
    bars = exchange.bars(driver.symbol, "1h", 24, driver.slot)
    assert (len(bars), bars.symbol, bars.timeframe) == (24, driver.symbol, "1h")
    assert int(bars.close_time[-1]) == driver.slot
    more = exchange.bars(driver.symbol, "1h", 25, driver.slot)
    assert more.slice(1, 25).content_hash() == bars.content_hash()


@part
def the_bar_that_has_not_closed_is_not_there_yet(exchange: Exchange, driver: Driver) -> None:
    with pytest.raises(DataError, match="not published yet"):
        exchange.bars(driver.symbol, "1h", 24, driver.slot + HOUR_MS)


@part
def a_young_symbol_has_fewer_bars(exchange: Exchange, driver: Driver) -> None:
    bars = exchange.bars(driver.symbol, "1h", 10_000, driver.slot)
    assert 24 < len(bars) < 10_000
    assert int(bars.close_time[-1]) == driver.slot


@part
def the_newest_close_is_told_once(exchange: Exchange, driver: Driver) -> None:
    newest = exchange.newest_close("1h", driver.slot - HOUR_MS)
    assert newest == driver.slot
    assert exchange.newest_close("1h", driver.slot) is None


@part
def what_one_coin_costs_is_told(exchange: Exchange, driver: Driver) -> None:
    instrument = exchange.instruments([driver.symbol])[driver.symbol]
    if exchange.capabilities.keeps_brackets:
        return
    assert exchange.quote_price(instrument.base, instrument.quote) == float(driver.price)
    assert exchange.quote_price("NOSUCHCOIN", instrument.quote) is None


def _rules(exchange: Exchange, driver: Driver) -> Rules:
    return exchange.instruments([driver.symbol])[driver.symbol].rules[-1]
