"""The simulated exchange does to the unit what the backtest does, one stored slot at a time, whatever crashes or
doubles; and the feed of files it trades on.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as generate
from market_samples import (
    BTC,
    COIN,
    ETH,
    HOUR_MS,
    MONEY,
    PERP,
    START_MS,
    make_account,
    make_bars,
    make_instrument,
    make_market,
    random_bars,
    scripted,
)
from test_engine import RandomStrategy, random_market

from trading_runtime.backtest.engine import Account, run_general
from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.backtest.trace import Decided, Ended, Trace
from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import (
    ConfigurationError,
    DataError,
    ExchangeUnavailable,
    FateUnknown,
    StoreDamaged,
    StoreUnavailable,
)
from trading_runtime.core.fills import Execution
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.intents import Intent, limit, market, stop, take_profit
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.state import Order, State
from trading_runtime.core.strategy import Strategy
from trading_runtime.exchanges.file_feed import FileFeed
from trading_runtime.exchanges.port import Exchange, Feed, NotPlaced, OrderReport
from trading_runtime.exchanges.simulated import SimulatedExchange
from trading_runtime.stores.documents import Document, Documents
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.sqlite import SqliteDocuments

SEEDS = generate.integers(0, 2**32)
FLAT = (100.0, 101.0, 99.0, 100.0)


# --- parity with the backtest -----------------------------------------------------------------------------------


class Observed(Strategy):
    """A strategy and, of every bar it decides at, the account it saw: the backtest's own state, order for order."""

    def __init__(self, strategy: Strategy) -> None:
        super().__init__()
        self.strategy = strategy
        self.states: dict[int, dict[str, Any]] = {}

    def decide(self, inputs: Any) -> Any:
        state = inputs._source._matching.state
        self.states[inputs.as_of] = account_as_json(state)
        return self.strategy.decide(inputs)


def account_as_json(state: State) -> dict[str, Any]:
    content = state.to_json()
    return {name: content[name] for name in ("cash", "flows", "positions", "orders")}


def exchange_on(
    market_: Market,
    documents: Documents,
    account: Account,
    strategy: Strategy,
    feed: Feed | None = None,
    known: Sequence[str] | None = None,
) -> SimulatedExchange:
    """The exchange over a market; with ``known`` it has only these symbols, and looks up all others."""
    return SimulatedExchange(
        feed or FileFeed(list(market_.bars.values())),
        documents,
        account.name,
        type(strategy).__qualname__,
        market_.instruments if known is None else {symbol: market_.instruments[symbol] for symbol in known},
        market_.execution,
        account.start_cash,
        timeframe=next(iter(market_.bars.values())).timeframe,
        funding=market_.funding,
        lookup=None if known is None else market_.instruments.__getitem__,
    )


def state_at(exchange: SimulatedExchange) -> dict[str, Any]:
    """Cash, positions and open orders as the exchange has stored them, in the backtest's own form."""
    account, _ = exchange._load()
    matching = account.matching(exchange._empty_window(account), [])
    return account_as_json(matching.state)


def with_dated_rules(plain: Market, seed: int) -> Market:
    """The market with filters and fees that change on the way."""
    dice = random.Random(seed)
    changed = {
        "tick": "0.05",
        "lot": "0.005",
        "maker_fee_rate": -0.0001,
        "taker_fee_rate": 0.002,
        "notional_minimum": "2",
    }
    instruments = {}
    for symbol, instrument in plain.instruments.items():
        date = START_MS + dice.randint(0, 60 * 60) * 60_000
        later = [{**changed, "valid_from": date}] if dice.random() < 0.6 else []
        instruments[symbol] = make_instrument(
            symbol,
            later=later,
            quantity_minimum="0.002",
            notional_minimum="1",
            maker_fee_rate=0.0002,
            taker_fee_rate=0.0005,
        )
        assert instruments[symbol].quantity_unit == instrument.quantity_unit
    return Market(plain.bars, instruments, plain.execution, plain.funding)


class Replayed:
    """A run of the backtest done again at the simulated exchange, slot by slot, each slot by another process."""

    def __init__(
        self,
        market_: Market,
        strategy: Strategy,
        trace: Trace,
        account: Account,
        *,
        skips: random.Random | None = None,
        looks_up: random.Random | None = None,
    ) -> None:
        self.market = market_
        self.strategy = strategy
        self.account = account
        self.looks_up = looks_up
        self.documents = MemoryDocuments()
        self.feed = FileFeed(list(market_.bars.values()))
        self.orders: dict[str, Order] = {}
        self.trades: list[tuple[Any, ...]] = []
        self.states: dict[int, dict[str, Any]] = {}
        decisions = {entry.bar: position for position, entry in enumerate(trace.entries) if isinstance(entry, Decided)}
        for bar in range(trace.first_bar, market_.count):
            if skips is None or bar in decisions or bar in (trace.first_bar, market_.count - 1) or skips.random() < 0.3:
                self._slot(bar, trace.entries, decisions.get(bar))
        self._follow_successors(self.process())

    def process(self) -> SimulatedExchange:
        """An exchange that knows nothing but what is stored."""
        known = None
        if self.looks_up is not None:
            symbols = list(self.market.symbols)
            known = self.looks_up.sample(symbols, self.looks_up.randint(1, len(symbols)))
        return exchange_on(self.market, self.documents, self.account, self.strategy, self.feed, known)

    def _slot(self, bar: int, entries: list[Any], position: int | None) -> None:
        slot = self.market.close_time(bar)
        exchange = self.process()
        exchange.advance_to(slot)
        self.states[slot] = state_at(exchange)
        if position is None:
            return
        # What follows a decision at once, at the same bar, are the ends that its cancels brought about.
        for entry in entries[position + 1 :]:
            if not isinstance(entry, Ended) or entry.bar != bar:
                break
            exchange.cancel(self.orders[entry.order_id], slot, entry.reason)
        for order in entries[position].orders:
            exchange.instruments([order.symbol])
            report = exchange.place(order, slot)
            assert (report.client_order_id, report.status, report.filled) == (order.order_id, "open", 0)
            self.orders[order.order_id] = order
        self._follow_successors(exchange)

    def _follow_successors(self, exchange: SimulatedExchange) -> None:
        """Learn of the market orders that took the place of limits."""
        for order in [*self.orders.values()]:
            successor = followed(order, exchange).successor
            if successor is not None:
                self.orders[successor.order_id] = successor


def followed(order: Order, exchange: Exchange) -> OrderReport:
    report = exchange.order(order)
    assert report is not None, order.order_id
    return report


def assert_same_as_backtest(
    market_: Market, inner: Strategy, seed: int, *, skips: bool = False, looks_up: bool = False
) -> Trace:
    """Run both and compare every fill, end, payment and state; return the backtest's trace."""
    strategy = Observed(inner)
    account = make_account(100_000.0)
    trace = run_general(market_, strategy, account)
    replayed = Replayed(
        market_,
        strategy,
        trace,
        account,
        skips=random.Random(seed) if skips else None,
        looks_up=random.Random(seed) if looks_up else None,
    )
    where = f"seed {seed}"
    for slot, state in replayed.states.items():
        assert state == strategy.states[slot], f"{where}: the account at {slot}"

    exchange = replayed.process()
    expected = [
        (
            market_.close_time(fill.bar),
            fill.order.order_id,
            fill.order.side,
            fill.quantity * market_.instruments[fill.order.symbol].quantity_unit,
            fill.price,
            fill.value * market_.instruments[fill.order.symbol].quote_unit,
            fill.fee * market_.instruments[fill.order.symbol].quote_unit,
            fill.is_maker,
        )
        for fill in trace.fills()
    ]
    trades = sorted(
        (trade for symbol in market_.symbols for trade in exchange.trades_since(symbol, 0)),
        key=lambda trade: (trade.time_ms, trade.sequence),
    )
    shown = [
        (
            one.time_ms,
            one.client_order_id,
            one.side,
            one.quantity,
            one.price,
            one.value,
            one.fees[0].amount,
            one.is_maker,
        )
        for one in trades
    ]
    assert shown == expected, where
    assert [trade.sequence for trade in trades] == list(range(1, len(trades) + 1)), where

    ends = {entry.order_id: (entry.status, entry.reason) for entry in trace.entries if isinstance(entry, Ended)}
    filled = {order_id: sum(one[3] for one in expected if one[1] == order_id) for order_id in replayed.orders}
    still_open = {report.client_order_id for report in exchange.open_orders([])}
    for order_id, order in replayed.orders.items():
        report = followed(order, exchange)
        assert report.filled == filled[order_id], where
        assert (order_id in still_open) == (report.status == "open"), where
        if order_id in ends:
            assert (report.status, report.reason) == ends.pop(order_id), where
        elif report.status != "open":
            assert report.status == "filled", where
            assert report.filled == report.quantity or report.reason == "parent_filled_less", where
        assert [trade.client_order_id for trade in exchange.trades(report)] == [
            one[1] for one in expected if one[1] == order_id
        ], where
    assert ends == {}, where

    paid = [(entry.bar, market_.symbols[entry.symbol_index], entry.amount) for entry in trace.funding()]
    payments = sorted(
        (-((market_.start_ms - payment.time_ms) // market_.bar_ms) - 1, payment.symbol, payment.amount)
        for symbol in market_.symbols
        for payment in exchange.funding_since(symbol, 0)
    )
    units = {symbol: market_.instruments[symbol].quote_unit for symbol in market_.symbols}
    assert payments == sorted((bar, symbol, amount * units[symbol]) for bar, symbol, amount in paid), where
    return trace


@settings(max_examples=40)
@given(SEEDS)
def test_each_slot_from_the_stored_document_gives_what_the_backtest_gives(seed: int) -> None:
    assert_same_as_backtest(with_dated_rules(random_market(seed), seed), RandomStrategy(seed), seed)


@settings(max_examples=15)
@given(SEEDS)
def test_slots_that_no_process_came_for_are_caught_up_with(seed: int) -> None:
    assert_same_as_backtest(random_market(seed), RandomStrategy(seed), seed, skips=True)


@settings(max_examples=25)
@given(SEEDS)
def test_symbols_that_are_looked_up_trade_like_those_that_were_given(seed: int) -> None:
    whole = with_dated_rules(random_market(seed), seed)
    unfunded = Market(whole.bars, whole.instruments, whole.execution, {})
    assert_same_as_backtest(unfunded, RandomStrategy(seed), seed, looks_up=True)


VOLUME_10, VOLUME_20, VOLUME_1000 = ((100.0, 101.0, 99.0, 100.0, volume) for volume in (10.0, 20.0, 1000.0))
DIP = (100.0, 100.0, 90.0, 91.0, 10.0)


@pytest.mark.parametrize(
    ("intents", "candles"),
    [
        pytest.param(
            [
                limit(PERP, "buy", 99.5, quantity=4.0, leg="entry", bars_max=1, fallback=("timeout",)),
                stop(PERP, "sell", 95.0, parent="entry"),
                take_profit(PERP, "sell", 120.0, parent="entry"),
            ],
            [VOLUME_20, VOLUME_10, DIP, VOLUME_1000, VOLUME_1000],
            id="the children of a limit that filled in part and then became a market order",
        ),
        pytest.param(
            [
                limit(PERP, "buy", 50.0, quantity=1.0, leg="a", bars_max=2, fallback=("timeout",)),
                market(PERP, "buy", quantity=1.0, leg="a_m"),
            ],
            [VOLUME_1000, VOLUME_1000, VOLUME_1000],
            id="a fallback beside an order that has the leg of its first choice and has ended",
        ),
        pytest.param(
            [
                limit(PERP, "buy", 99.5, quantity=5.0, leg="entry", bars_max=2),
                stop(PERP, "sell", 95.0, parent="entry"),
            ],
            [VOLUME_10, VOLUME_10, VOLUME_1000, DIP, DIP, DIP],
            id="the child of a limit that expired half filled",
        ),
        pytest.param(
            [
                limit(BTC, "buy", 99.5, quantity=400.0, leg="entry", bars_max=1, fallback=("timeout",)),
                take_profit(BTC, "sell", 700.0, parent="entry"),
            ],
            [
                (100.0, 101.0, 99.0, 100.0, 2e3),
                (600.0, 601.0, 599.0, 600.0, 1e5),
                FLAT,
                (600.0, 710.0, 590.0, 700.0, 1e6),
            ],
            id="the child of a fallback that ran out of cash",
        ),
    ],
)
def test_orders_that_lean_on_ended_ones_survive_each_restart(
    intents: list[Intent], candles: list[tuple[float, ...]]
) -> None:
    plan = {0: intents, 1: [], 2: []}
    small = make_market(make_bars([FLAT, *candles], symbol=intents[0].symbol), execution={"volume_fraction_max": 0.1})
    trace = assert_same_as_backtest(small, scripted(plan), 0)
    assert len(trace.fills()) > 1


# --- one exchange, small scenes -----------------------------------------------------------------------------------


def an_exchange(
    *candles: tuple[float, ...],
    symbol: str = BTC,
    documents: Documents | None = None,
    feed: Feed | None = None,
    cash: int = 100_000 * MONEY,
    **changed: Any,
) -> SimulatedExchange:
    """An exchange over a few hourly candles that has arrived at the close of the first one."""
    settings_: dict[str, Any] = {
        "account": "paper",
        "strategy": "Strategy",
        "instruments": {symbol: make_instrument(symbol, taker_fee_rate=0.001)},
        "execution": Execution(),
        "timeframe": "1h",
        **changed,
    }
    exchange = SimulatedExchange(
        feed or FileFeed([make_bars([FLAT, *candles], symbol=symbol)]),
        documents or MemoryDocuments(),
        start_cash=cash,
        **settings_,
    )
    exchange.advance_to(slot_of(0))
    return exchange


def slot_of(bar: int) -> int:
    return START_MS + (bar + 1) * HOUR_MS


def an_order(
    leg: str = "entry", kind: str = "market", side: int = 1, coins: float = 1.0, *, bar: int = 0, **options: Any
) -> Order:
    symbol = options.pop("symbol", BTC)
    order_id = client_order_id("paper", "Strategy", symbol, slot_of(bar), leg)
    return Order(order_id, symbol, kind, side, round(coins * COIN), slot=slot_of(bar), leg=leg, **options)


class Interfering:
    """Documents where something happens just before, or instead of the answer after, the next write."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.before: list[Any] = []
        self.lose_request = False
        self.lose_answer = False

    def read(self, path: str) -> Document | None:
        return self.documents.read(path)

    def create(self, path: str, content: bytes) -> str:
        return self._written(lambda: self.documents.create(path, content))

    def replace(self, path: str, content: bytes, version: str) -> str:
        return self._written(lambda: self.documents.replace(path, content, version))

    def _written(self, write: Any) -> str:
        if self.before:
            self.before.pop(0)()
        if self.lose_request:
            raise StoreUnavailable("the request was lost")
        version: str = write()
        if self.lose_answer:
            raise StoreUnavailable("the answer was lost")
        return version

    def names(self, collection: str, **options: Any) -> list[str]:
        return self.documents.names(collection, **options)

    def close(self) -> None:
        self.documents.close()


def test_an_order_is_reported_from_its_placing_to_its_fill() -> None:
    exchange = an_exchange((102.0, 103.0, 101.0, 102.0))
    order = an_order()
    assert exchange.order(order) is None
    assert exchange.place(order, 0).status == "open"
    assert [report.client_order_id for report in exchange.open_orders([])] == [order.order_id]
    exchange.advance_to(slot_of(1))
    report = followed(order, exchange)
    assert (report.status, report.filled, report.quantity) == ("filled", Decimal(1), Decimal(1))
    (trade,) = exchange.trades(report)
    assert (trade.price, trade.value, trade.time_ms) == (102.0, Decimal(102), slot_of(1))
    assert trade.fees == (("USDT", Decimal("0.102")),)
    assert exchange.open_orders([]) == []
    assert {asset: balance.total for asset, balance in exchange.balances().items()} == {
        "BTC": Decimal(1),
        "USDT": Decimal("99897.898"),
    }


def test_the_same_id_is_refused_while_it_is_open_and_after_it_has_filled() -> None:
    exchange = an_exchange(FLAT, FLAT)
    exchange.place(an_order(), 0)
    for bar in (0, 1):
        exchange.advance_to(slot_of(bar))
        with pytest.raises(NotPlaced, match="is known already") as refused:
            exchange.place(an_order(), 0)
        assert refused.value.reason == "duplicate"
    assert len(exchange.trades_since(BTC, 0)) == 1


def test_of_two_processes_that_send_one_order_exactly_one_places_it() -> None:
    documents = Interfering(MemoryDocuments())
    ours, theirs = (an_exchange(FLAT, documents=documents) for _ in range(2))
    documents.before = [lambda: theirs.place(an_order(), 0)]
    with pytest.raises(NotPlaced) as refused:
        ours.place(an_order(), 0)
    assert refused.value.reason == "duplicate"
    ours.advance_to(slot_of(1))
    assert [trade.quantity for trade in ours.trades_since(BTC, 0)] == [Decimal(1)]


def test_what_another_process_does_in_between_is_kept() -> None:
    documents = Interfering(MemoryDocuments())
    ours, theirs = (an_exchange(FLAT, FLAT, documents=documents) for _ in range(2))
    documents.before = [lambda: theirs.place(an_order("theirs"), 0)]
    ours.place(an_order("ours"), 0)
    documents.before = [lambda: theirs.advance_to(slot_of(1))]
    ours.advance_to(slot_of(1))
    documents.before = [lambda: theirs.advance_to(slot_of(2))]
    ours.cancel(an_order("ours"), 0)
    assert [trade.sequence for trade in ours.trades_since(BTC, 0)] == [1, 2]
    assert state_at(ours) == state_at(theirs)
    assert ours.balances()["BTC"].total == 2


def test_two_processes_that_open_an_account_open_one() -> None:
    documents = Interfering(MemoryDocuments())
    documents.before = [lambda: an_exchange(FLAT, documents=documents, cash=500 * MONEY)]
    exchange = an_exchange(FLAT, documents=documents)
    assert exchange.balances()["USDT"].total == 500


RACE = """
import sys
sys.path.insert(0, sys.argv[2])
from test_exchanges_simulated import FLAT, NotPlaced, an_exchange, an_order, slot_of
from trading_runtime.stores.sqlite import SqliteDocuments

exchange = an_exchange(*[FLAT] * 25, documents=SqliteDocuments(sys.argv[1]))
for bar in range(25):
    exchange.advance_to(slot_of(bar))
    try:
        exchange.place(an_order(bar=bar), 0)
    except NotPlaced as refused:
        assert refused.reason == "duplicate", refused
exchange.advance_to(slot_of(25))
"""


def test_processes_that_race_through_the_same_slots_trade_each_order_once(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    command = [sys.executable, "-c", RACE, str(store), str(Path(__file__).parent)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    exchange = an_exchange(*[FLAT] * 25, documents=SqliteDocuments(store))
    trades = exchange.trades_since(BTC, 0)
    assert sorted(trade.client_order_id for trade in trades) == sorted(an_order(bar=bar).order_id for bar in range(25))
    assert [trade.sequence for trade in trades] == list(range(1, 26))
    assert exchange.balances()["BTC"].total == 25


def test_cancelling_where_there_is_no_account_does_nothing() -> None:
    documents = MemoryDocuments()
    exchange = an_exchange(FLAT)
    exchange._documents = documents
    exchange.cancel(an_order(), 0)
    assert documents.names("paper") == []
    assert (exchange.order(an_order()), exchange.open_orders([])) == (None, [])


def test_time_never_goes_back() -> None:
    exchange = an_exchange(FLAT, FLAT)
    exchange.advance_to(slot_of(2))
    exchange.place(an_order(bar=1), 0)  # a plan that comes late acts late
    exchange.advance_to(slot_of(1))
    exchange.advance_to(slot_of(2))
    assert exchange.trades_since(BTC, 0) == []
    assert followed(an_order(bar=1), exchange).time_ms == slot_of(2)


def test_an_order_of_a_slot_that_was_not_told_is_refused() -> None:
    with pytest.raises(NotPlaced, match="call advance_to first"):
        an_exchange(FLAT).place(an_order(bar=1), 0)


def test_a_lost_answer_of_the_store_leaves_the_fate_unknown_and_asking_tells_it() -> None:
    documents = Interfering(MemoryDocuments())
    exchange = an_exchange(FLAT, documents=documents)
    documents.lose_answer = True
    with pytest.raises(FateUnknown, match="is not known"):
        exchange.place(an_order(), 0)
    documents.lose_answer = False
    assert followed(an_order(), exchange).status == "open"
    documents.lose_request = True
    with pytest.raises(FateUnknown):
        exchange.cancel(an_order(), 0)
    with pytest.raises(ExchangeUnavailable):
        exchange.advance_to(slot_of(1))
    documents.lose_request = False
    assert followed(an_order(), exchange).status == "open"
    exchange.advance_to(slot_of(1))
    assert followed(an_order(), exchange).status == "filled"


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (an_order(symbol=ETH), "rejected"),
        (an_order(kind="iceberg"), "rejected"),
        (an_order(coins=0.0), "filters"),
        (an_order(kind="limit"), "filters"),
        (an_order(kind="stop", price=-1.0), "filters"),
        (an_order("child", "stop", -1, price=90.0, parent="tr-unknown"), "rejected"),
    ],
)
def test_what_no_exchange_would_take_is_not_placed(order: Order, reason: str) -> None:
    exchange = an_exchange(FLAT)
    with pytest.raises(NotPlaced) as refused:
        exchange.place(order, 0)
    assert refused.value.reason == reason
    assert exchange.order(order) is None


def test_cancelling_ends_an_order_and_those_that_wait_for_it_and_nothing_else() -> None:
    exchange = an_exchange(FLAT)
    entry = an_order("entry", "limit", price=90.0)
    child = an_order("child", "stop", -1, price=80.0, parent=entry.order_id, reduce_only=True)
    other = an_order("other", "limit", price=91.0)
    for order in (entry, child, other):
        exchange.place(order, 0)
    for _ in range(2):  # the second finds none to end
        exchange.cancel(entry, 0, "changed its mind")
        ends = [(followed(order, exchange).status, followed(order, exchange).reason) for order in (entry, child, other)]
        assert ends == [("cancelled", "changed its mind"), ("cancelled", "parent_ended"), ("open", "")]


def test_a_child_that_is_placed_after_its_parent_filled_acts_at_once_on_its_share() -> None:
    execution = Execution(volume_fraction_max=0.1)
    exchange = an_exchange((100.0, 101.0, 99.0, 100.0, 10.0), FLAT, DIP, DIP, execution=execution)
    entry = an_order("entry", "limit", coins=4.0, price=99.5, bars_max=1)
    exchange.place(entry, 0)
    exchange.advance_to(slot_of(1))
    assert (followed(entry, exchange).status, followed(entry, exchange).filled) == ("expired", Decimal(1))
    child = an_order("child", "stop", -1, coins=4.0, price=95.0, parent=entry.order_id, reduce_only=True)
    exchange.place(child, 0)
    exchange.advance_to(slot_of(4))
    assert [(trade.time_ms, trade.quantity) for trade in exchange.trades(followed(child, exchange))] == [
        (slot_of(3), Decimal(1))
    ]
    assert exchange.balances().keys() == {"USDT"}


def test_a_child_that_is_placed_after_a_fallback_waits_for_what_took_its_parents_place() -> None:
    execution = Execution(volume_fraction_max=0.1)
    exchange = an_exchange(VOLUME_20, VOLUME_10, VOLUME_10, DIP, DIP, DIP, execution=execution)
    entry = an_order("entry", "limit", coins=4.0, price=99.5, bars_max=1, fallback=("timeout",))
    exchange.place(entry, 0)
    exchange.advance_to(slot_of(1))
    assert followed(entry, exchange).successor is not None
    child = an_order("child", "stop", -1, coins=4.0, price=95.0, parent=entry.order_id, reduce_only=True)
    exchange.place(child, 0)
    exchange.advance_to(slot_of(6))
    bought = sum(trade.quantity for trade in exchange.trades_since(BTC, 0) if trade.side > 0)
    sold = [trade.quantity for trade in exchange.trades(followed(child, exchange))]
    assert bought == 4
    assert sold == [1, 1, 1]


def test_a_child_that_comes_late_goes_by_all_that_its_parent_and_its_successor_filled() -> None:
    candles = [VOLUME_20, (600.0, 601.0, 599.0, 600.0, 1e5), FLAT, (600.0, 710.0, 590.0, 700.0, 1e6), FLAT]
    exchange = an_exchange(*candles, execution=Execution(volume_fraction_max=0.1), cash=1_000 * MONEY)
    entry = an_order("entry", "limit", coins=4.0, price=99.5, bars_max=1, fallback=("timeout",))
    exchange.place(entry, 0)
    exchange.advance_to(slot_of(2))
    successor = followed(entry, exchange).successor
    assert successor is not None
    assert followed(successor, exchange).reason == "insufficient_cash"
    held = exchange.balances()["BTC"].total
    assert 2 < held < 4
    child = an_order("child", "take_profit", -1, coins=4.0, price=700.0, parent=entry.order_id, reduce_only=True)
    exchange.place(child, 0)
    exchange.advance_to(slot_of(5))
    report = followed(child, exchange)
    assert (report.filled, report.status, report.reason) == (held, "filled", "parent_filled_less")


def test_a_child_that_comes_when_its_parent_has_filled_in_part_does_not_wait_for_more() -> None:
    execution = Execution(volume_fraction_max=0.1)
    exchange = an_exchange(VOLUME_10, (100.0, 100.0, 99.5, 99.7, 1e5), DIP, execution=execution)
    entry = an_order("entry", "limit", coins=4.0, price=99.5)
    exchange.place(entry, 0)
    exchange.advance_to(slot_of(1))
    assert followed(entry, exchange).filled == 1
    child = an_order("child", "stop", -1, coins=4.0, price=99.6, parent=entry.order_id, reduce_only=True)
    exchange.place(child, 0)
    exchange.advance_to(slot_of(2))
    assert followed(child, exchange).filled == 1
    assert (followed(entry, exchange).status, followed(entry, exchange).reason) == ("cancelled", "closed_by_child")


def test_a_child_whose_parent_ended_without_a_fill_is_not_placed() -> None:
    exchange = an_exchange(FLAT)
    entry = an_order("entry", "limit", price=50.0)
    exchange.place(entry, 0)
    exchange.cancel(entry, 0)
    with pytest.raises(NotPlaced, match="ended without a fill"):
        exchange.place(an_order("child", "stop", -1, price=40.0, parent=entry.order_id), 0)


def test_resting_orders_lock_what_they_may_need() -> None:
    exchange = an_exchange(FLAT, cash=1_000 * MONEY)
    exchange.place(an_order("coins", coins=2.0), 0)
    exchange.advance_to(slot_of(1))
    exchange.place(an_order("bid", "limit", price=50.0, bar=1), 0)
    exchange.place(an_order("ask", "limit", -1, 0.5, price=150.0, bar=1), 0)
    exchange.place(an_order("exit", "stop", -1, 0.5, price=50.0, bar=1, reduce_only=True), 0)
    balances = exchange.balances()
    assert balances["BTC"] == (Decimal(1), Decimal(2))
    assert balances["USDT"].total == Decimal("799.8")
    assert balances["USDT"].free == Decimal("799.8") - Decimal("50.05")


def test_a_contract_moves_money_only_by_fees_funding_and_what_it_realises() -> None:
    rates = [FundingRate(slot_of(1) - 60_000, 0.01), FundingRate(slot_of(1), 0.001)]
    exchange = an_exchange(FLAT, (110.0, 111.0, 109.0, 110.0), symbol=PERP, funding={PERP: rates})
    exchange.place(an_order(symbol=PERP, side=-1, coins=2.0), 0)
    exchange.advance_to(slot_of(1))
    assert exchange.positions([PERP]) == {PERP: Decimal(-2)}
    paid = [(payment.payment_id, payment.amount) for payment in exchange.funding_since(PERP, 0)]
    assert paid == [(f"{PERP}:{slot_of(1) - 60_000}", Decimal(-2)), (f"{PERP}:{slot_of(1)}", Decimal("-0.2"))]
    assert exchange.funding_since(PERP, slot_of(1) + 1) == []
    assert exchange.balances() == {"USDT": (Decimal("100002"), Decimal("100002"))}  # 0.2 of fees, 2.2 of funding
    exchange.place(an_order("exit", symbol=PERP, coins=2.0, bar=1, reduce_only=True), 0)
    exchange.advance_to(slot_of(2))
    assert exchange.positions([PERP]) == {}
    assert exchange.balances()["USDT"].total == Decimal("100002") - 20 - Decimal("0.22")


def test_the_last_500_ended_orders_can_be_asked_for_and_what_is_open_always() -> None:
    bars = 620
    exchange = an_exchange(*[FLAT] * bars)
    resting = an_order("resting", "limit", coins=0.01, price=1.0)
    beside = an_order("beside", coins=0.01)
    exchange.place(resting, 0)
    exchange.place(beside, 0)
    placed = []
    for bar in range(1, bars):
        exchange.advance_to(slot_of(bar))
        placed.append(an_order("coin", coins=0.01, side=1 if bar % 2 else -1, bar=bar))
        exchange.place(placed[-1], 0)
    exchange.advance_to(slot_of(bars))
    known = [order for order in placed if exchange.order(order) is not None]
    assert known == placed[-500:]
    assert followed(resting, exchange).status == "open"
    assert followed(beside, exchange).status == "filled"  # of the same slot as one that is open
    assert len(exchange.trades_since(BTC, 0)) == 501


def test_long_reasons_make_old_orders_go_early_and_stop_nothing() -> None:
    exchange = an_exchange(*[FLAT] * 60)
    for bar in range(60):
        exchange.advance_to(slot_of(bar))
        exchange.place(an_order(coins=0.01, bar=bar, reason="why " * 4_000), 0)
    exchange.advance_to(slot_of(60))
    known = [bar for bar in range(60) if exchange.order(an_order(bar=bar)) is not None]
    assert known == list(range(60 - len(known), 60))
    assert 5 < len(known) < 60
    assert exchange.balances()["BTC"].total == Decimal("0.6")


def test_a_slot_whose_orders_do_not_fit_forgets_ended_ones_and_keeps_open_ones() -> None:
    exchange = an_exchange(FLAT)
    resting = an_order("resting", "limit", coins=0.01, price=1.0)
    exchange.place(resting, 0)
    for number in range(8):
        order = an_order(f"leg{number}", "limit", coins=0.01, price=1.0, reason="why " * 18_000)
        exchange.place(order, 0)
        exchange.cancel(order, 0)
    assert [exchange.order(an_order(f"leg{number}")) is None for number in (0, 7)] == [True, False]
    assert followed(resting, exchange).status == "open"


# --- the feed under it --------------------------------------------------------------------------------------------


class Holed:
    """A feed as an exchange is one: it does not know where its bars end, and some are missing."""

    def __init__(self, feed: FileFeed, missing: set[int]) -> None:
        self.feed = feed
        self.missing = missing
        self.name = "holed"
        self.asked = 0

    def server_time_ms(self) -> int:
        return self.feed.server_time_ms()

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        return self.feed.newest_close(timeframe, after)

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        self.asked += 1
        bars = self.feed.bars(symbol, timeframe, count, close_ms)
        if self.missing.intersection(bars.close_time.tolist()):
            raise DataError("a bar is missing")
        return bars


def test_without_the_newest_bar_nothing_moves() -> None:
    feed = Holed(FileFeed([make_bars([FLAT] * 4)]), {slot_of(2)})
    exchange = an_exchange(feed=feed)
    exchange.place(an_order("bid", "limit", price=99.5), 0)
    before = state_at(exchange)
    with pytest.raises(DataError, match="missing"):
        exchange.advance_to(slot_of(2))
    assert state_at(exchange) == before
    assert exchange.trades_since(BTC, 0) == []


@settings(max_examples=25)
@given(generate.sets(generate.integers(1, 18)), SEEDS)
def test_bars_that_never_came_are_bars_in_which_nobody_traded(missing: set[int], seed: int) -> None:
    full = random_bars(seed, 20, zero_volume=0.0)
    orders = [an_order("bid", "limit", price=round(float(full.close[0]) * 0.99, 2)), an_order("later", bar=0)]

    def fills(feed: Feed) -> list[tuple[int, float]]:
        exchange = an_exchange(feed=feed, execution=Execution(volume_fraction_max=0.02))
        for order in orders:
            exchange.place(order, 0)
        exchange.advance_to(slot_of(19))
        holes = set() if isinstance(feed, FileFeed) else {(BTC, slot_of(bar)) for bar in missing}
        assert set(exchange._load()[0].missing) == holes
        return [(trade.time_ms, trade.price) for trade in exchange.trades_since(BTC, 0)]

    volume = full.volume.copy()
    volume[sorted(missing)] = 0.0
    empty = Bars(BTC, "1h", full.open_time, full.open, full.high, full.low, full.close, volume)
    holed = Holed(FileFeed([full]), {slot_of(bar) for bar in missing})
    assert fills(holed) == fills(FileFeed([empty])), f"seed {seed}, missing {sorted(missing)}"


def test_with_nothing_open_no_bar_is_asked_for() -> None:
    feed = Holed(FileFeed([make_bars([FLAT] * 4)]), {slot_of(bar) for bar in range(4)})
    exchange = an_exchange(feed=feed)
    exchange.advance_to(slot_of(3))
    assert feed.asked == 0


def test_a_long_pause_is_caught_up_with_in_steps() -> None:
    candles = [FLAT] * 2_500 + [(100.0, 101.0, 40.0, 100.0)]
    exchange = an_exchange(*candles)
    exchange.place(an_order("bid", "limit", price=50.0), 0)
    exchange.advance_to(slot_of(2_501))
    assert [trade.time_ms for trade in exchange.trades_since(BTC, 0)] == [slot_of(2_501)]


# --- the document -------------------------------------------------------------------------------------------------


def test_a_damaged_account_stops_everything() -> None:
    documents = MemoryDocuments()
    exchange = an_exchange(FLAT, documents=documents)
    stored = documents.read(exchange.path)
    assert stored is not None
    documents.replace(exchange.path, stored.content.replace(b'"cash":1', b'"cash":2'), stored.version)
    with pytest.raises(StoreDamaged, match=r"paper/paper\.Strategy"):
        exchange.balances()
    with pytest.raises(StoreDamaged):
        exchange.place(an_order(), 0)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"timeframe": "30m"}, "timeframe 1h, now it is 30m"),
        ({"instruments": {BTC: make_instrument(unit="0.0001")}}, "quantity unit of BTC/USDT 1E-8, now it is 0.0001"),
        ({"instruments": {BTC: make_instrument(quote_unit="0.01")}}, "quote unit 1E-8, now it is 0.01"),
        ({"instruments": {ETH: make_instrument(ETH)}}, "quantity unit of BTC/USDT 1E-8, now it is unknown"),
    ],
)
def test_settings_that_contradict_the_stored_account_are_named(changed: Mapping[str, Any], named: str) -> None:
    documents = MemoryDocuments()
    exchange = an_exchange(FLAT, documents=documents)
    exchange.place(an_order("bid", "limit", price=50.0), 0)
    with pytest.raises(ConfigurationError, match=named):
        an_exchange(FLAT, documents=documents, **changed)


def test_two_strategies_whose_documents_have_one_name_do_not_share_an_account() -> None:
    documents = MemoryDocuments()
    an_exchange(FLAT, documents=documents, strategy="mine:Strategy")
    with pytest.raises(ConfigurationError, match="kept with strategy mine:Strategy, now it is mine-Strategy"):
        an_exchange(FLAT, documents=documents, strategy="mine-Strategy")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"account": "a.b"}, "name a document"),
        ({"instruments": {}}, "at least one instrument"),
        ({"instruments": {BTC: make_instrument(), "ETH/BTC": make_instrument("ETH/BTC")}}, "one currency"),
        ({"funding": {BTC: [FundingRate(0, 0.1)]}}, "pays no funding"),
        (
            {"instruments": {PERP: make_instrument(PERP)}, "funding": {PERP: [FundingRate(0, 0.1)] * 2}},
            "two funding rates",
        ),
    ],
)
def test_settings_that_make_no_exchange_are_named(changed: Mapping[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        an_exchange(FLAT, **changed)


# --- symbols that come later --------------------------------------------------------------------------------------


def a_lookup(**instruments: Any) -> Callable[[str], Instrument]:
    known = {BTC: make_instrument(BTC), ETH: make_instrument(ETH, taker_fee_rate=0.001), **instruments}

    def look_up(symbol: str) -> Instrument:
        if symbol not in known:
            raise ConfigurationError(f"nobody has {symbol}")
        return known[symbol]

    return look_up


def a_feed_of_two() -> FileFeed:
    return FileFeed([make_bars([FLAT] * 6, symbol=symbol) for symbol in (BTC, ETH)])


def test_a_position_in_a_symbol_that_is_not_given_any_more_is_kept_valued_and_sold() -> None:
    documents, feed = MemoryDocuments(), a_feed_of_two()
    exchange = an_exchange(documents=documents, feed=feed, lookup=a_lookup())
    assert exchange.instruments([BTC, ETH])[ETH].symbol == ETH
    exchange.place(an_order(symbol=ETH, coins=2.0), 0)
    exchange.advance_to(slot_of(1))

    later = an_exchange(documents=documents, feed=feed, lookup=a_lookup())
    assert later.balances()["ETH"].total == Decimal(2)
    later.place(an_order("stop", "stop", -1, 2.0, symbol=ETH, bar=1, price=50.0), 0)
    assert later.balances()["ETH"].free == Decimal(0)
    resting = an_exchange(documents=documents, feed=feed, lookup=a_lookup())
    assert [report.symbol for report in resting.open_orders([])] == [ETH]
    resting.place(an_order("exit", side=-1, coins=1.0, symbol=ETH, bar=1), 0)
    resting.advance_to(slot_of(2))
    assert resting.balances()["ETH"].total == Decimal(1)
    assert [trade.side for trade in resting.trades_since(ETH, 0)] == [1, -1]


def test_without_a_lookup_a_held_symbol_that_is_not_given_is_named() -> None:
    documents, feed = MemoryDocuments(), a_feed_of_two()
    exchange = an_exchange(documents=documents, feed=feed, lookup=a_lookup())
    exchange.instruments([ETH])
    exchange.place(an_order(symbol=ETH), 0)
    with pytest.raises(ConfigurationError, match="quantity unit of ETH/USDT"):
        an_exchange(documents=documents, feed=feed)


def test_what_cannot_be_looked_up_or_does_not_fit_is_named_and_changes_nothing() -> None:
    euros = make_instrument("ETH/EUR")
    exchange = an_exchange(feed=a_feed_of_two(), lookup=a_lookup(**{"ETH/EUR": euros}))
    for symbol, named in (("DOGE/USDT", "nobody has DOGE/USDT"), ("ETH/EUR", "settles in EUR")):
        with pytest.raises(ConfigurationError, match=named):
            exchange.instruments([symbol])
        with pytest.raises(NotPlaced):
            exchange.place(an_order(symbol=symbol), 0)
    with pytest.raises(ConfigurationError, match="the simulated exchange has no ETH/USDT"):
        an_exchange(FLAT).instruments([ETH])


def test_a_lookup_with_another_unit_than_the_account_was_kept_in_is_refused() -> None:
    documents, feed = MemoryDocuments(), a_feed_of_two()
    exchange = an_exchange(documents=documents, feed=feed, lookup=a_lookup())
    exchange.instruments([ETH])
    exchange.place(an_order(symbol=ETH), 0)
    coarser = a_lookup(**{ETH: make_instrument(ETH, unit="0.001")})
    with pytest.raises(ConfigurationError, match="quantity unit of ETH/USDT"):
        an_exchange(documents=documents, feed=feed, lookup=coarser)


def test_a_lookup_that_was_refused_is_refused_again() -> None:
    documents, feed = MemoryDocuments(), a_feed_of_two()
    exchange = an_exchange(documents=documents, feed=feed, lookup=a_lookup())
    exchange.instruments([ETH])
    exchange.place(an_order(symbol=ETH), 0)
    exchange.advance_to(slot_of(1))
    exchange.place(an_order("exit", side=-1, symbol=ETH, bar=1), 0)
    exchange.advance_to(slot_of(2))
    later = an_exchange(documents=documents, feed=feed, lookup=a_lookup(**{ETH: make_instrument(ETH, unit="0.001")}))
    assert "ETH" not in later.balances()
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="quantity unit of ETH/USDT"):
            later.instruments([ETH])


def test_an_instrument_that_is_not_told_leaves_an_order_certainly_unplaced() -> None:
    documents, feed = MemoryDocuments(), a_feed_of_two()
    exchange = an_exchange(documents=documents, feed=feed, lookup=a_lookup())
    exchange.instruments([ETH])
    exchange.place(an_order(symbol=ETH), 0)

    def unreachable(symbol: str) -> Instrument:
        raise ExchangeUnavailable(f"nobody tells of {symbol}")

    late = SimulatedExchange(
        feed,
        documents,
        "paper",
        "Strategy",
        {BTC: make_instrument(BTC)},
        Execution(),
        1,
        timeframe="1h",
        lookup=unreachable,
    )
    with pytest.raises(NotPlaced) as caught:
        late.place(an_order(), 0)
    assert caught.value.reason == "unreachable"
    with pytest.raises(ExchangeUnavailable):
        late.balances()
    assert exchange.order(an_order()) is None
