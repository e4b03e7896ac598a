"""The general path of the engine: exact money, no look-ahead, and the same trace however a run is cut or gated."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
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
    Balance,
    comparable,
    happenings,
    make_account,
    make_bars,
    make_market,
    random_bars,
    run,
    scripted,
)

from trading_runtime.backtest import engine
from trading_runtime.backtest.engine import run_general
from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.backtest.trace import Fill, Funded, Trace
from trading_runtime.core.columns import NO_OPINION, indicator, where, window, wrap
from trading_runtime.core.errors import ConfigurationError, StrategyError
from trading_runtime.core.intents import Intent, cancel, close, limit, market, stop, take_profit, target
from trading_runtime.core.ledger import Position
from trading_runtime.core.money import quote_value
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.strategies.breakout import Breakout
from trading_runtime.strategies.momentum_rotation import MomentumRotation
from trading_runtime.strategies.sma_cross import SmaCross

FLAT = (100.0, 101.0, 99.0, 100.0)
SEEDS = generate.integers(0, 2**32)


# --- random runs --------------------------------------------------------------------------------------------


def random_intents(dice: random.Random, inputs: Inputs) -> list[Intent]:
    """Up to three legal wishes for one symbol: any kind, any sizing, brackets, cancels."""
    symbol = dice.choice(inputs.symbols)
    price = inputs.price_of(symbol)
    if price != price:
        return []
    leg = dice.choice("abc")
    side: Any = dice.choice(["buy", "sell"])
    other: Any = "sell" if side == "buy" else "buy"
    near = round(price * dice.uniform(0.95, 1.05), 2)
    quantity = round(dice.uniform(0.001, 3.0), 3)
    options: dict[str, Any] = {
        "time_in_force": dice.choice(["gtc", "gtc", "ioc", "fok"]),
        "bars_max": dice.choice([None, 1, 3]),
        "post_only": dice.random() < 0.2,
        "fallback": dice.choice([(), ("timeout",), ("post_only",), ("timeout", "post_only")]),
    }
    bracket = [
        limit(symbol, side, near, quantity=quantity, leg="entry", bars_max=options["bars_max"]),
        stop(symbol, other, near * (0.98 if side == "buy" else 1.02), parent="entry"),
        take_profit(symbol, other, near * (1.02 if side == "buy" else 0.98), parent="entry"),
    ]
    wishes = [
        [target(symbol, dice.uniform(-1.0, 1.0))],
        [market(symbol, side, quantity=quantity, leg=leg)],
        [market(symbol, side, notional=dice.uniform(1.0, 500.0), leg=leg)],
        [close(symbol, dice.choice([0.5, 1.0]), leg=leg)],
        [limit(symbol, side, near, quantity=quantity, leg=leg, **options)],
        [stop(symbol, side, near, quantity=quantity, leg=leg, reduce_only=dice.random() < 0.5)],
        [take_profit(symbol, side, near, quantity=quantity, leg=leg)],
        [cancel(symbol, leg)],
        bracket,
        [market(symbol, side, quantity=quantity, leg="entry"), *bracket[1:]],
    ]
    return dice.choice(wishes)


class RandomStrategy(Strategy):
    """Wishes that depend on seed and time alone, and what it saw of its account at every bar."""

    seed = 0

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.seen: list[tuple[int, float, float, tuple[float, ...]]] = []

    def decide(self, inputs: Inputs) -> Proposal | None:
        positions = tuple(inputs.position_of(symbol) for symbol in inputs.symbols)
        self.seen.append((inputs.index, inputs.equity, inputs.cash, positions))
        dice = random.Random(f"{self.seed} {inputs.as_of}")
        intents = random_intents(dice, inputs) if dice.random() < 0.5 else []
        return Proposal(intents, state={"bars": inputs.state.get("bars", 0) + 1}) if intents else None


def random_market(seed: int, rows: int = 60, *, kinds: tuple[str, ...] = (BTC, PERP, ETH)) -> Market:
    """Some symbols that start and end at different times, every cost and limit that execution knows, and funding."""
    dice = random.Random(seed)
    series = []
    for index, symbol in enumerate(dice.sample(kinds, dice.randint(1, len(kinds)))):
        start = dice.randint(0, 10) if index else 0
        series.append(random_bars(seed + index, rows - start, symbol=symbol, start_ms=START_MS + start * HOUR_MS))
    rates = [FundingRate(START_MS + hours * HOUR_MS, dice.uniform(-0.001, 0.001)) for hours in range(0, rows, 8)]
    execution = {
        "slippage_fraction": dice.choice([0.0, 0.001]),
        "spread_fraction": dice.choice([0.0, 0.0005]),
        "volume_fraction_max": dice.choice([None, 0.05]),
        "latency_bars": dice.choice([0, 0, 1, 2]),
        "limit_fill": dice.choice(["through", "touch"]),
        "zero_volume_fills": dice.random() < 0.3,
    }
    rules = {"quantity_minimum": "0.002", "notional_minimum": "1", "maker_fee_rate": 0.0002, "taker_fee_rate": 0.0005}
    funding = {PERP: rates} if any(each.symbol == PERP for each in series) else {}
    return make_market(*series, funding=funding, execution=execution, **rules)


def books(trace: Trace) -> list[Fill | Funded]:
    return [entry for entry in trace.entries if isinstance(entry, (Fill, Funded))]


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_the_equity_identity_holds_to_the_unit_after_every_event(seed: int) -> None:
    """equity = start + realised + unrealised - fees - funding, in integers, and the strategy saw just that equity."""
    market = random_market(seed)
    account = make_account(1000.0)
    strategy = RandomStrategy(seed)
    trace = run(market, strategy, account)
    balance = Balance(market, account.start_cash)
    positions = {symbol: Position(symbol) for symbol in market.symbols}
    events = books(trace)
    at = 0
    for bar, equity, cash, quantities in strategy.seen:
        while at < len(events) and events[at].bar <= bar:
            entry = events[at]
            at += 1
            balance.book(entry)
            symbol = market.symbols[entry.symbol_index]
            if isinstance(entry, Fill):
                positions[symbol] = positions[symbol].filled(entry.order.side, entry.quantity, entry.value, entry.fee)
            else:
                positions[symbol] = positions[symbol].funded(entry.amount)
        earned = sum(each.realised - each.fees - each.funding - each.cost for each in positions.values())

        assert balance.cash + balance.value(bar) == account.start_cash + earned + balance.value(bar), f"seed {seed}"
        assert balance.cash + balance.value(bar) == round(equity * MONEY), f"seed {seed}, bar {bar}"
        if PERP not in market.symbols:  # trading contracts moves no cash that spot could be bought with
            assert balance.cash == round(cash * MONEY), f"seed {seed}, bar {bar}"
        assert [quantity / COIN for quantity in balance.quantity] == list(quantities), f"seed {seed}, bar {bar}"


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_spot_alone_never_borrows(seed: int) -> None:
    """Neither money nor coins go below zero at any moment."""
    market = random_market(seed, kinds=(BTC, ETH))
    account = make_account(200.0)
    balance = Balance(market, account.start_cash)
    for entry in books(run(market, RandomStrategy(seed), account)):
        balance.book(entry)

        assert balance.cash >= 0, f"seed {seed}, bar {entry.bar}"
        assert min(balance.quantity) >= 0, f"seed {seed}, bar {entry.bar}"


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_fills_respect_the_book_of_rules(seed: int) -> None:
    """Whole lots, prices on the tick, volume caps, latency, and nothing on a bar that nobody traded."""
    market = random_market(seed)
    trace = run(market, RandomStrategy(seed), make_account(1000.0))
    decided = {order.order_id: entry.bar for entry in trace.decisions() for order in entry.orders}
    taken: dict[tuple[int, int], int] = {}
    for fill in trace.fills():
        rules = market.rules_at(fill.symbol_index, fill.bar)
        parent = fill.order.parent
        taken[fill.bar, fill.symbol_index] = taken.get((fill.bar, fill.symbol_index), 0) + fill.quantity

        assert fill.quantity > 0
        assert fill.quantity % rules.lot == 0, f"seed {seed}"
        assert abs(fill.price * 100 - round(fill.price * 100)) < 1e-6, f"seed {seed}"
        assert market.tradable[fill.symbol_index][fill.bar], f"seed {seed}"
        if fill.order.order_id in decided and parent is None:
            assert fill.bar > decided[fill.order.order_id] + market.execution.latency_bars, f"seed {seed}"
        if not fill.is_maker:
            assert fill.slippage >= 0
    for (bar, symbol_index), units in taken.items():
        share = market.execution.volume_fraction_max
        assert share is None or units <= market.volume[symbol_index][bar] * share * COIN, f"seed {seed}, bar {bar}"


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_two_runs_are_one(seed: int) -> None:
    """The same market and strategy give the same trace."""
    market = random_market(seed)
    first, second = (run(market, RandomStrategy(seed), make_account(1000.0)) for _ in range(2))

    assert comparable(first) == comparable(second), f"seed {seed}"


@settings(max_examples=40, deadline=None)
@given(SEEDS, generate.integers(20, 59))
def test_the_future_changes_nothing(seed: int, rows: int) -> None:
    """A run over the first bars is the beginning of the run over all of them."""
    whole = random_market(seed)
    parts = [series.between(None, START_MS + rows * HOUR_MS) for series in whole.bars.values()]
    part = Market({each.symbol: each for each in parts}, whole.instruments, whole.execution, whole.funding)
    traces = [run(each, RandomStrategy(seed), make_account(1000.0)) for each in (part, whole)]
    for trace in traces:
        trace.entries = [entry for entry in trace.entries if entry.bar < rows]
        trace.strategy_state = None

    assert comparable(traces[0]) == comparable(traces[1]), f"seed {seed}"


PROGRAM = """
import hashlib, sys
sys.path.insert(0, {tests!r})
from test_engine import RandomStrategy, random_market, run, comparable, make_account
trace = run(random_market(5), RandomStrategy(5), make_account(1000.0))
print(hashlib.sha256(repr(comparable(trace)).encode()).hexdigest(), len(trace.entries))
"""


def test_no_hash_seed_changes_a_run() -> None:
    """Other processes with other values of PYTHONHASHSEED give the same bytes."""
    printed = set()
    for seed in ("0", "1", "77"):
        program = PROGRAM.format(tests=str(Path(__file__).parent))
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        printed.add(ran.stdout)

    assert len(printed) == 1
    assert int(printed.pop().split()[1]) > 10


# --- cut into blocks, gated by wake -------------------------------------------------------------------------


class Windows(Strategy):
    """Every shape a column can be handed over in."""

    value = indicator("sma", length=3)
    every = indicator("sma", length=2, universe=True)
    last = window("close", 4)

    def decide(self, inputs: Inputs) -> Proposal | None:
        total = inputs.value + sum(inputs.last.tolist()) + sum(each for each in inputs.every if each == each)
        weight = round(total * 1000) % 7 / 10
        return Proposal([target(inputs.symbol, weight)], reasons=[repr(total)])


@pytest.mark.parametrize("bars", [1, 2, 3, 7, 55, 56, 57])
def test_where_a_block_ends_does_not_matter(bars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns become lists block by block: every block length gives the trace of one block."""
    market = random_market(11)
    whole = [comparable(run(market, strategy, make_account(1000.0))) for strategy in (Windows(), RandomStrategy(1))]
    monkeypatch.setattr(engine, "BLOCK_BARS", bars)
    cut = [comparable(run(market, strategy, make_account(1000.0))) for strategy in (Windows(), RandomStrategy(1))]

    assert whole == cut


def test_windows_are_the_last_values_and_cannot_be_written() -> None:
    """Oldest first, ending with the present bar, read-only."""
    seen = []

    class Reader(Strategy):
        last = window("close", 3)

        def decide(self, inputs: Inputs) -> None:
            seen.append((inputs.last.tolist(), inputs.last.flags.writeable))

    run(make_market(make_bars([(price, price, price, price) for price in (1.0, 2.0, 3.0, 4.0)])), Reader())

    assert seen == [([1.0, 2.0, 3.0], False), ([2.0, 3.0, 4.0], False)]


class Gated(RandomStrategy):
    """Acts at random, but only where its wake expression holds."""

    average = indicator("sma", length=4)
    wake = wrap("close") > average

    def decide(self, inputs: Inputs) -> Proposal | None:
        return super().decide(inputs) if inputs.price > inputs.average else None


class Ungated(Gated):
    wake = None


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_wake_skips_nothing_that_matters(seed: int) -> None:
    """A run that calls decide only on wake bars and after news equals the run that calls it on every bar."""
    market = random_market(seed)
    traces = [run_general(market, kind(seed), make_account(1000.0)) for kind in (Gated, Ungated)]

    assert named(comparable(traces[1])) == named(comparable(traces[0])), f"seed {seed}"


def named(content: Any) -> str:
    """The trace as text without the 12 characters of an order id that stand for the strategy's class."""
    return re.sub(r"tr-[0-9a-z]{12}-", "tr-", repr(content))


class UngatedBreakout(Breakout):
    wake = None


class UngatedCross(SmaCross):
    targets = None


class DerivedCross(Strategy):
    """SmaCross without its written-out decide."""

    Params = SmaCross.Params
    fast, slow = SmaCross.fast, SmaCross.slow
    targets = SmaCross.targets


PAIRS = [
    ("breakout", Breakout, UngatedBreakout, {"channel": 10, "atr": 5}),
    ("sma_cross", SmaCross, UngatedCross, {"fast": 5, "slow": 20}),
    ("derived sma_cross", DerivedCross, UngatedCross, {"fast": 5, "slow": 20}),
]


@pytest.mark.parametrize(("gated", "ungated", "parameters"), [row[1:] for row in PAIRS], ids=[row[0] for row in PAIRS])
@pytest.mark.parametrize("seed", range(6))
def test_the_strategies_that_come_with_it_decide_alike_gated_and_not(
    gated: Any, ungated: Any, parameters: dict[str, int], seed: int
) -> None:
    """The fast way of each registered strategy is its slow way."""
    late = random_bars(seed + 50, 250, symbol=ETH, start_ms=START_MS + 50 * HOUR_MS)
    market = make_market(random_bars(seed, 300), late, taker_fee_rate=0.001)
    traces = [run_general(market, kind(parameters), make_account(1000.0)) for kind in (gated, ungated)]

    assert traces[0].fills()
    assert named(comparable(traces[1])) == named(comparable(traces[0])), f"seed {seed}"


class AfterTheEnd(Strategy):
    """Wakes on bars of large volume: bids, then takes the bid back, and buys at once when no order is left."""

    wake = wrap("volume") > 500

    def decide(self, inputs: Inputs) -> Proposal | None:
        step = inputs.state.get("step", 0)
        if step == 0:
            return Proposal([limit(inputs.symbol, "buy", 50.0, quantity=1.0)], state={"step": 1})
        if step == 1 and inputs.orders and inputs.as_of >= START_MS + 4 * HOUR_MS:
            return Proposal([cancel(inputs.symbol, "entry")], state={"step": 2})
        if step == 2 and not inputs.orders:
            return Proposal([market(inputs.symbol, "buy", quantity=1.0)], state={"step": 3})
        return None


class AfterTheEndUngated(AfterTheEnd):
    wake = None


def test_decide_is_called_after_the_end_of_an_order_also_of_one_it_ended_itself() -> None:
    """News is news: the bar after a cancel is seen whether or not other orders are open and wake holds."""
    volumes = [1000.0, 1.0, 1.0, 1000.0, 1.0, 1.0, 1.0, 1.0, 1000.0, 1.0]
    market = make_market(make_bars([(*FLAT, volume) for volume in volumes]))

    fills = [[fill.bar for fill in run(market, kind()).fills()] for kind in (AfterTheEnd, AfterTheEndUngated)]

    assert fills[1] == fills[0]


def test_wake_that_is_unknown_does_not_wake() -> None:
    """NaN is no reason to act."""
    called = []

    class Unknown(Strategy):
        wake = indicator("z_score", length=2) * NO_OPINION

        def decide(self, inputs: Inputs) -> None:
            called.append(inputs.index)

    run(make_market(make_bars([FLAT] * 5)), Unknown())

    assert called == []


# --- what decide sees ---------------------------------------------------------------------------------------


def test_inputs_say_what_the_account_holds() -> None:
    """Time, prices, position, average entry price, equity, cash and open orders at the close of each bar."""
    seen: dict[int, tuple[Any, ...]] = {}

    def plan(inputs: Inputs) -> Any:
        seen[inputs.index] = (
            inputs.as_of, inputs.price, inputs.position, inputs.entry_price_of(BTC), inputs.equity, inputs.cash,
            [order.leg for order in inputs.orders],
        )  # fmt: skip
        wanted = {
            0: [market(BTC, "buy", quantity=1.0), limit(BTC, "buy", 50.0, quantity=1.0, leg="low")],
            1: [market(BTC, "buy", quantity=3.0, leg="more")],
        }
        return wanted.get(inputs.index)

    candles = [FLAT, (100, 111, 99, 110), (120, 121, 119, 120)]
    run(make_market(make_bars(candles), taker_fee_rate=0.01), plan, make_account(1000.0))

    assert seen == {
        0: (START_MS + HOUR_MS, 100.0, 0.0, 0.0, 1000.0, 1000.0, []),
        1: (START_MS + 2 * HOUR_MS, 110.0, 1.0, 100.0, 1009.0, 899.0, ["low"]),
        2: (START_MS + 3 * HOUR_MS, 120.0, 4.0, 115.0, 1015.4, 535.4, ["low"]),
    }


def test_a_strategys_state_travels_and_starts_empty() -> None:
    """What a proposal gives is what the next decide gets, and the trace ends with the last one."""
    seen = []

    def plan(inputs: Inputs) -> Any:
        seen.append(dict(inputs.state))
        return Proposal(state={"count": inputs.index}) if inputs.index % 2 == 0 else None

    trace = run(make_market(make_bars([FLAT] * 4)), plan)

    assert seen == [{}, {"count": 0}, {"count": 0}, {"count": 2}]
    assert trace.strategy_state == {"count": 2}


def test_a_state_that_a_strategy_changes_in_place_does_not_travel() -> None:
    """State changes by proposals alone: what is written into the inputs is an error or is lost, as it would be live."""
    seen = []

    def plan(inputs: Inputs) -> Any:
        seen.append(dict(inputs.state))
        try:
            inputs.state["hidden"] = True
        except TypeError:
            return None
        return None

    run(make_market(make_bars([FLAT] * 3)), plan)

    assert seen == [{}, {}, {}]


def test_decide_sees_nothing_after_its_bar() -> None:
    """Prices and columns at each bar are those of that bar's close."""
    prices = [float(price) for price in range(10, 30)]
    seen = []

    class Reader(Strategy):
        mean = indicator("sma", length=2)

        def decide(self, inputs: Inputs) -> None:
            seen.append((inputs.index, inputs.price, inputs.mean))

    run(make_market(make_bars([(price, price, price, price) for price in prices])), Reader())

    assert [(row, prices[row], (prices[row] + prices[row - 1]) / 2) for row in range(1, 20)] == seen


# --- targets ------------------------------------------------------------------------------------------------


class Scheduled(Strategy):
    """Weights by the hundreds of the volume; 900 is no opinion."""

    targets = where(wrap("volume") > 850, NO_OPINION, wrap("volume") / 1000)


def test_a_target_is_sent_when_it_changes_and_no_opinion_changes_nothing() -> None:
    """Zero at the start is no change; a repeated weight, also across bars of no opinion, is none either."""
    volumes = [0.001, 500.0, 500.0, 900.0, 500.0, 250.0, 900.0, 0.001]
    trace = run(make_market(make_bars([(*FLAT, volume) for volume in volumes])), Scheduled())

    sent = [(entry.bar, [intent.target_weight for intent in entry.intents]) for entry in trace.decisions()]
    assert sent == [(0, [1e-06]), (1, [0.5]), (5, [0.25]), (7, [1e-06])]


# --- edges of the data --------------------------------------------------------------------------------------


class Slow(Strategy):
    mean = indicator("sma", length=10)

    def decide(self, inputs: Inputs) -> Proposal | None:
        return Proposal([market(inputs.symbol, "buy", quantity=1.0, leg=f"l{inputs.index}")])


class SlowTargets(Strategy):
    targets = where(wrap("close") >= indicator("sma", length=10), 0.5, 0.25)


@pytest.mark.parametrize("kind", [Slow, SlowTargets])
@pytest.mark.parametrize(("rows", "decisions"), [(1, 0), (9, 0), (10, 1), (11, 2)])
def test_nothing_is_decided_before_the_windows_are_full(kind: type[Strategy], rows: int, decisions: int) -> None:
    """Data shorter than the window decides nothing; with exactly the window there is one decision."""
    trace = run(make_market(make_bars([FLAT] * rows)), kind())

    assert trace.first_bar == 9
    assert len(trace.decisions()) == (min(decisions, 1) if kind is SlowTargets else decisions)


def test_orders_of_the_last_bar_stay_open() -> None:
    """They are decided and recorded, and neither filled nor ended."""
    trace = run(
        make_market(make_bars([FLAT] * 2)),
        {1: [market(BTC, "buy", quantity=1.0), limit(BTC, "buy", 90, quantity=1.0, leg="b")]},
    )

    assert happenings(trace) == []
    assert [len(entry.orders) for entry in trace.decisions()] == [2]


def test_funding_is_paid_to_the_last_bar_gated_and_not() -> None:
    """Every payment on a position that is held, whether or not decide is called any more."""

    class Once(Strategy):
        wake = wrap("volume") > 1500

        def decide(self, inputs: Inputs) -> Proposal | None:
            return Proposal([target(inputs.symbol, 0.5)]) if not inputs.position else None

    class Always(Once):
        wake = None

    rates = [FundingRate(START_MS + hours * HOUR_MS, 0.001) for hours in range(1, 9)]
    bars = make_bars([FLAT, (*FLAT, 2000.0), *[FLAT] * 6], symbol=PERP)
    market_of_perp = make_market(bars, funding={PERP: rates})

    assert [entry.bar for entry in run(market_of_perp, Once()).funding()] == [2, 3, 4, 5, 6, 7]
    bars = make_bars([(*FLAT, 2000.0), *[FLAT] * 7], symbol=PERP)
    market_of_perp = make_market(bars, funding={PERP: rates})
    assert [entry.bar for entry in run(market_of_perp, Always()).funding()] == [1, 2, 3, 4, 5, 6, 7]


# --- the market ---------------------------------------------------------------------------------------------


def test_symbols_share_one_clock() -> None:
    """From the first bar of any to the last of any; before its bars a symbol is unknown, after them its close stays."""
    late = make_bars([(7.0, 7.0, 7.0, 7.0), (8.0, 8.0, 8.0, 8.0)], symbol=ETH, start_ms=START_MS + HOUR_MS)
    market_of_two = make_market(make_bars([FLAT] * 5), late)

    assert (market_of_two.count, market_of_two.start_ms, market_of_two.first) == (5, START_MS, (0, 1))
    assert repr(market_of_two.close[1].tolist()) == "[nan, 7.0, 8.0, nan, nan]"
    assert repr(market_of_two.mark[1].tolist()) == "[nan, 7.0, 8.0, 8.0, 8.0]"
    assert market_of_two.tradable[1].tolist() == [False, True, True, False, False]


MISFITS: list[tuple[str, Any]] = [
    ("no bars", lambda: Market({}, {})),
    ("two timeframes", lambda: make_market(make_bars([FLAT]), make_bars([FLAT], symbol=ETH, timeframe="1d"))),
    ("two currencies", lambda: make_market(make_bars([FLAT]), make_bars([FLAT], symbol="ETH/EUR"))),
    ("funding of spot", lambda: make_market(make_bars([FLAT]), funding={BTC: [FundingRate(START_MS, 0.1)]})),
    (
        "funding of a symbol that is not there",
        lambda: make_market(make_bars([FLAT]), funding={PERP: [FundingRate(0, 0.1)]}),
    ),
    ("no volume at all", lambda: make_market(make_bars([(*FLAT, 0.0)] * 2))),
    ("no instrument", lambda: Market({BTC: make_bars([FLAT])}, {})),
    ("rules that begin too late", lambda: make_market(make_bars([FLAT]), valid_from=START_MS + 1)),
    (
        "a funding rate that is no number",
        lambda: make_market(make_bars([FLAT], symbol=PERP), funding={PERP: [FundingRate(START_MS, float("nan"))]}),
    ),
]


@pytest.mark.parametrize("make", [row[1] for row in MISFITS], ids=[row[0] for row in MISFITS])
def test_a_market_that_cannot_be_run_is_refused_in_one_line(make: Any) -> None:
    """Before the first bar, with what is wrong."""
    with pytest.raises(ConfigurationError):
        make()


@given(generate.integers(-10, 10 * 3_600_000 * 3))
def test_funding_falls_on_the_bar_that_closes_with_it_or_contains_it(offset: int) -> None:
    """A payment at a close belongs to the bar that ends there; outside the data it belongs to none."""
    bars = make_bars([FLAT] * 24, symbol=PERP)
    due = make_market(bars, funding={PERP: [FundingRate(START_MS + offset, 0.1)]}).funding_bars
    expected = [row for row in range(24) if row * HOUR_MS < offset <= (row + 1) * HOUR_MS]

    assert expected == [bar for bar, _, _ in due]


def test_a_strategy_that_breaks_its_contract_ends_the_run_in_one_line() -> None:
    """A proposal that is none is told by name."""
    with pytest.raises(StrategyError, match="must return a Proposal or None, not str"):
        run(make_market(make_bars([FLAT] * 3)), scripted(lambda inputs: "buy"))


def test_momentum_rotation_trades_and_its_trace_is_plain_data() -> None:
    """Several symbols, universe columns, targets of two symbols in one decision."""
    series = [random_bars(seed, 120, symbol=symbol) for seed, symbol in enumerate((BTC, ETH, "SOL/USDT"))]
    trace = run(make_market(*series), MomentumRotation({"lookback": 24, "rebalance_hours": 12}), make_account(1000.0))
    sold_first = [[order.side for order in entry.orders] for entry in trace.decisions() if len(entry.orders) > 1]

    assert sold_first
    assert sold_first == [sorted(sides) for sides in sold_first]
    json.dumps(comparable(trace))


def test_values_in_a_trace_are_what_prices_and_quantities_say() -> None:
    """Each fill's value is its price times its quantity, rounded once; its slippage the distance to the reference."""
    market_of_all = random_market(3)
    for fill in run(market_of_all, RandomStrategy(3), make_account(1000.0)).fills():
        per_unit = market_of_all.instruments[fill.order.symbol].value_per_unit

        assert quote_value(fill.price, fill.quantity, per_unit) == fill.value
        assert isinstance(fill.price, float)
        assert not isinstance(fill.price, np.floating)
