"""The simulated exchange: candles and orders in, fills and ends out, as tables of scenarios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from market_samples import (
    BTC,
    COIN,
    ETH,
    HOUR_MS,
    MONEY,
    PERP,
    START_MS,
    Balance,
    Candle,
    happenings,
    make_account,
    make_bars,
    make_market,
    refusals,
    run,
)

from trading_runtime.backtest.engine import Account
from trading_runtime.backtest.market import FundingRate
from trading_runtime.backtest.trace import Fill
from trading_runtime.core.intents import Intent, cancel, close, limit, market, stop, take_profit, target
from trading_runtime.core.money import fee_amount, quote_value

FLAT = (100.0, 101.0, 99.0, 100.0)
DEAD = (100.0, 100.0, 100.0, 100.0, 0.0)  # nobody traded


class Scenario(NamedTuple):
    """What is decided at the close of some bars of a perpetual, and what happens then; bar 0 is FLAT."""

    name: str
    candles: Sequence[Candle]
    plan: Mapping[int, Sequence[Intent]]
    expected: Sequence[tuple[Any, ...]]
    execution: Mapping[str, Any] = {}


def buy(quantity: float = 1.0, leg: str = "entry", **options: Any) -> Intent:
    return Intent(PERP, "market", "buy", leg=leg, quantity=quantity, **options)


def sell(quantity: float = 1.0, leg: str = "exit", **options: Any) -> Intent:
    return Intent(PERP, "market", "sell", leg=leg, quantity=quantity, **options)


def buy_at(price: float, quantity: float = 1.0, leg: str = "entry", **options: Any) -> Intent:
    return limit(PERP, "buy", price, quantity=quantity, leg=leg, **options)


def sell_at(price: float, quantity: float = 1.0, leg: str = "exit", **options: Any) -> Intent:
    return limit(PERP, "sell", price, quantity=quantity, leg=leg, **options)


def stop_at(price: float, side: str = "sell", **options: Any) -> Intent:
    return stop(PERP, side, price, **({"quantity": 1.0} | options))


def profit_at(price: float, side: str = "sell", **options: Any) -> Intent:
    return take_profit(PERP, side, price, **({"quantity": 1.0} | options))


def child_stop(price: float, side: str = "sell", **options: Any) -> Intent:
    return stop(PERP, side, price, parent="entry", **options)


def child_profit(price: float, side: str = "sell", **options: Any) -> Intent:
    return take_profit(PERP, side, price, parent="entry", **options)


MARKET = [
    Scenario("a market buy gets the next open", [(102, 103, 101, 102)], {0: [buy()]}, [(1, "entry", 1.0, 102.0)]),
    Scenario("a market sell gets the next open", [(102, 103, 101, 102)], {0: [sell()]}, [(1, "exit", -1.0, 102.0)]),
    Scenario(
        "a taker buys above the open by slippage and half the spread, rounded up to the tick",
        [(102, 103, 101, 102)],
        {0: [buy()]},
        [(1, "entry", 1.0, 102.21)],
        {"slippage_fraction": 0.001, "spread_fraction": 0.002},
    ),
    Scenario(
        "a taker sells below the open by slippage and half the spread, rounded down to the tick",
        [(102, 103, 101, 102)],
        {0: [sell()]},
        [(1, "exit", -1.0, 101.79)],
        {"slippage_fraction": 0.001, "spread_fraction": 0.002},
    ),
    Scenario("an order decided at the last bar never acts", [], {0: [buy()]}, []),
    Scenario(
        "a bar without volume fills nothing and the market order waits",
        [DEAD, (103, 104, 102, 103)],
        {0: [buy()]},
        [(2, "entry", 1.0, 103.0)],
    ),
    Scenario(
        "a bar without volume fills when the run says so",
        [DEAD, (103, 104, 102, 103)],
        {0: [buy()]},
        [(1, "entry", 1.0, 100.0)],
        {"zero_volume_fills": True},
    ),
    Scenario(
        "latency of two bars reaches the third open",
        [(101, 102, 100, 101), (102, 103, 101, 102), (103, 104, 102, 103)],
        {0: [buy()]},
        [(3, "entry", 1.0, 103.0)],
        {"latency_bars": 2},
    ),
    Scenario(
        "a volume cap spreads a market order over several opens",
        [(101, 101, 101, 101, 10), (102, 102, 102, 102, 5), (103, 103, 103, 103, 100)],
        {0: [buy(2.5)]},
        [(1, "entry", 1.0, 101.0), (2, "entry", 0.5, 102.0), (3, "entry", 1.0, 103.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "an ioc market order ends with what its first bar could fill",
        [(101, 101, 101, 101, 10), FLAT],
        {0: [buy(2.5, time_in_force="ioc")]},
        [(1, "entry", 1.0, 101.0), (1, "entry", "expired", "not_filled_at_once")],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "a fok market order that the bar cannot fill whole fills nothing",
        [(101, 101, 101, 101, 10), FLAT],
        {0: [buy(2.5, time_in_force="fok")]},
        [(1, "entry", "expired", "not_filled_at_once")],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "a fok market order that the bar can fill whole fills",
        [(101, 101, 101, 101, 25), FLAT],
        {0: [buy(2.5, time_in_force="fok")]},
        [(1, "entry", 2.5, 101.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "two orders share one bar's volume, the earlier one first",
        [(101, 101, 101, 101, 20), (102, 102, 102, 102, 20)],
        {0: [buy(1.5, leg="a"), buy(1.5, leg="b")]},
        [(1, "a", 1.5, 101.0), (1, "b", 0.5, 101.0), (2, "b", 1.0, 102.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "bars_max ends a market order that volume kept waiting",
        [(101, 101, 101, 101, 10), (102, 102, 102, 102, 10), FLAT],
        {0: [buy(5.0, bars_max=2)]},
        [(1, "entry", 1.0, 101.0), (2, "entry", 1.0, 102.0), (2, "entry", "expired", "timeout")],
        {"volume_fraction_max": 0.1},
    ),
]

LIMITS = [
    Scenario(
        "a limit that is only touched does not fill",
        [(100, 101, 99, 100), (100, 101, 98.99, 100)],
        {0: [buy_at(99)]},
        [(2, "entry", 1.0, 99.0)],
    ),
    Scenario(
        "a limit that is touched fills when the run says so",
        [(100, 101, 99, 100)],
        {0: [buy_at(99)]},
        [(1, "entry", 1.0, 99.0)],
        {"limit_fill": "touch"},
    ),
    Scenario(
        "a sell limit fills when the price trades above it",
        [(100, 102, 99, 100), (100, 102.01, 99, 100)],
        {0: [sell_at(102)]},
        [(2, "exit", -1.0, 102.0)],
    ),
    Scenario("a buy limit above the open takes at the open", [FLAT], {0: [buy_at(105)]}, [(1, "entry", 1.0, 100.0)]),
    Scenario(
        "a sell limit below the open takes at the open",
        [FLAT],
        {0: [sell_at(95)]},
        [(1, "exit", -1.0, 100.0)],
    ),
    Scenario(
        "a limit that takes never pays more than its limit",
        [FLAT],
        {0: [buy_at(100.05)]},
        [(1, "entry", 1.0, 100.05)],
        {"slippage_fraction": 0.01},
    ),
    Scenario(
        "a resting limit that the open jumps over fills at its own price, not the better one",
        [FLAT, (90, 92, 88, 91)],
        {0: [buy_at(95)]},
        [(2, "entry", 1.0, 95.0)],
    ),
    Scenario(
        "an ioc limit that does not take at the open ends, though its bar reaches it later",
        [(100, 101, 90, 100), FLAT],
        {0: [buy_at(95, time_in_force="ioc")]},
        [(1, "entry", "expired", "not_filled_at_once")],
    ),
    Scenario(
        "an ioc limit that takes ends with what volume allows",
        [(100, 101, 99, 100, 5), FLAT],
        {0: [buy_at(101, time_in_force="ioc")]},
        [(1, "entry", 0.5, 100.0), (1, "entry", "expired", "not_filled_at_once")],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "a fok limit that does not take at the open ends",
        [(100, 101, 90, 100), FLAT],
        {0: [buy_at(95, time_in_force="fok")]},
        [(1, "entry", "expired", "not_filled_at_once")],
    ),
    Scenario(
        "a post-only limit that would take is rejected",
        [FLAT],
        {0: [buy_at(100, post_only=True)]},
        [(1, "entry", "rejected", "post_only")],
    ),
    Scenario(
        "a post-only limit that would take becomes a market order when the intent permits it",
        [(100, 101, 99, 100)],
        {0: [buy_at(102, post_only=True, fallback=("post_only",))]},
        [(1, "entry", "rejected", "post_only"), (1, "entry_m", 1.0, 100.0)],
    ),
    Scenario(
        "a permission to fall back on timeout is none to fall back on rejection",
        [FLAT],
        {0: [buy_at(102, post_only=True, fallback=("timeout",))]},
        [(1, "entry", "rejected", "post_only")],
    ),
    Scenario(
        "a post-only limit that rests fills like any other",
        [(100, 101, 98, 100)],
        {0: [buy_at(99, post_only=True)]},
        [(1, "entry", 1.0, 99.0)],
    ),
    Scenario(
        "bars_max ends a limit after that many bars",
        [FLAT, FLAT, (100, 101, 90, 95)],
        {0: [buy_at(95, bars_max=2)]},
        [(2, "entry", "expired", "timeout")],
    ),
    Scenario(
        "a timed-out limit becomes a market order at the next open when the intent permits it",
        [FLAT, FLAT, (103, 104, 102, 103)],
        {0: [buy_at(95, bars_max=2, fallback=("timeout",))]},
        [(2, "entry", "expired", "timeout"), (3, "entry_m", 1.0, 103.0)],
    ),
    Scenario(
        "a fallback takes only what the limit left",
        [(100, 101, 94, 95, 4), (103, 104, 102, 103, 100)],
        {0: [buy_at(95, bars_max=1, fallback=("timeout",))]},
        [(1, "entry", 0.4, 95.0), (1, "entry", "expired", "timeout"), (2, "entry_m", 0.6, 103.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "a resting limit is filled bit by bit when volume is short",
        [(100, 101, 94, 95, 4), (96, 97, 95, 96, 100), (96, 97, 94, 96, 100)],
        {0: [buy_at(95)]},
        [(1, "entry", 0.4, 95.0), (3, "entry", 0.6, 95.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "what a limit took at the open is missing from its bar's volume",
        [(100, 101, 94, 95, 4), FLAT],
        {0: [buy_at(100), buy_at(95, leg="lower")]},
        [(1, "entry", 0.4, 100.0), (2, "entry", 0.6, 100.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "latency keeps a limit away from a bar that would have filled it",
        [(100, 101, 90, 100), FLAT, (100, 101, 90, 100)],
        {0: [buy_at(95)]},
        [(3, "entry", 1.0, 95.0)],
        {"latency_bars": 1},
    ),
    Scenario(
        "a cancel ends a resting order before the next bar",
        [FLAT, (100, 101, 90, 100)],
        {0: [buy_at(95)], 1: [cancel(PERP, "entry", reason="changed my mind")]},
        [(1, "entry", "cancelled", "changed my mind")],
    ),
    Scenario(
        "a limit that arrives while nobody trades takes at the next real open, not at its own price",
        [DEAD, FLAT],
        {0: [buy_at(110)]},
        [(2, "entry", 1.0, 100.0)],
    ),
    Scenario(
        "a post-only limit that arrives while nobody trades is still judged by the first real open",
        [DEAD, FLAT],
        {0: [buy_at(110, post_only=True)]},
        [(2, "entry", "rejected", "post_only")],
    ),
]

STOPS = [
    Scenario(
        "a stop sells at its trigger, worsened like any taker",
        [FLAT, (100, 101, 94, 95)],
        {0: [buy()], 1: [stop_at(96)]},
        [(1, "entry", 1.0, 100.10), (2, "stop", -1.0, 95.90)],
        {"slippage_fraction": 0.001},
    ),
    Scenario(
        "a stop that is exactly touched triggers",
        [FLAT, (100, 101, 96, 97)],
        {0: [buy()], 1: [stop_at(96)]},
        [(1, "entry", 1.0, 100.0), (2, "stop", -1.0, 96.0)],
    ),
    Scenario(
        "a gap through a stop gets the open, not the trigger",
        [FLAT, (90, 91, 89, 90)],
        {0: [buy()], 1: [stop_at(96)]},
        [(1, "entry", 1.0, 100.0), (2, "stop", -1.0, 90.0)],
    ),
    Scenario(
        "a gap through a short's stop gets the open, not the trigger",
        [FLAT, (110, 111, 109, 110)],
        {0: [sell()], 1: [stop_at(104, "buy")]},
        [(1, "exit", -1.0, 100.0), (2, "stop", 1.0, 110.0)],
    ),
    Scenario(
        "a stop entry buys at its trigger",
        [(100, 106, 99, 105)],
        {0: [stop_at(104, "buy", reduce_only=False)]},
        [(1, "stop", 1.0, 104.0)],
    ),
    Scenario(
        "a stop entry that the open has passed buys at the open",
        [(107, 108, 106, 107)],
        {0: [stop_at(104, "buy", reduce_only=False)]},
        [(1, "stop", 1.0, 107.0)],
    ),
    Scenario(
        "a triggered stop takes the rest at later opens when volume is short, whatever the price",
        [FLAT, (100, 101, 94, 95, 4), (120, 121, 119, 120, 100)],
        {0: [buy()], 1: [stop_at(96)]},
        [(1, "entry", 1.0, 100.0), (2, "stop", -0.4, 96.0), (3, "stop", -0.6, 120.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "a take-profit sells at its trigger, worsened like any taker",
        [FLAT, (100, 106, 99, 105)],
        {0: [buy()], 1: [profit_at(104)]},
        [(1, "entry", 1.0, 100.10), (2, "profit", -1.0, 103.89)],
        {"slippage_fraction": 0.001},
    ),
    Scenario(
        "a resting take-profit that the open jumps over gets its trigger, not the better open",
        [FLAT, FLAT, (110, 111, 109, 110)],
        {0: [buy()], 1: [profit_at(104)]},
        [(1, "entry", 1.0, 100.0), (3, "profit", -1.0, 104.0)],
    ),
    Scenario(
        "a take-profit that arrives beyond its trigger sells at the open",
        [FLAT, (110, 111, 109, 110)],
        {0: [buy()], 1: [profit_at(104)]},
        [(1, "entry", 1.0, 100.0), (2, "profit", -1.0, 110.0)],
    ),
    Scenario(
        "when one bar reaches stop and take-profit, the stop was first",
        [FLAT, (100, 110, 90, 105)],
        {0: [buy()], 1: [profit_at(104), stop_at(96)]},
        [(1, "entry", 1.0, 100.0), (2, "stop", -1.0, 96.0), (2, "profit", "cancelled", "no_position")],
    ),
    Scenario(
        "when one bar reaches a short's stop and take-profit, the stop was first",
        [FLAT, (100, 110, 90, 95)],
        {0: [sell()], 1: [profit_at(96, "buy"), stop_at(104, "buy")]},
        [(1, "exit", -1.0, 100.0), (2, "stop", 1.0, 104.0), (2, "profit", "cancelled", "no_position")],
    ),
    Scenario(
        "when one bar reaches a stop and a reducing limit, the stop was first",
        [FLAT, (100, 110, 90, 105)],
        {0: [buy()], 1: [sell_at(104, reduce_only=True), stop_at(96)]},
        [(1, "entry", 1.0, 100.0), (2, "stop", -1.0, 96.0), (2, "exit", "cancelled", "no_position")],
    ),
    Scenario(
        "reducing orders end when the position does",
        [FLAT, FLAT, FLAT],
        {0: [buy()], 1: [stop_at(90), profit_at(110)], 2: [close(PERP)]},
        [
            (1, "entry", 1.0, 100.0),
            (3, "close", -1.0, 100.0),
            (3, "stop", "cancelled", "no_position"),
            (3, "profit", "cancelled", "no_position"),
        ],
    ),
    Scenario(
        "a reducing order never turns a position round",
        [FLAT, FLAT, (100, 101, 94, 95)],
        {0: [buy(2.0)], 1: [stop_at(96, quantity=2.0), sell(1.5)]},
        [
            (1, "entry", 2.0, 100.0),
            (2, "exit", -1.5, 100.0),
            (3, "stop", -0.5, 96.0),
            (3, "stop", "cancelled", "no_position"),
        ],
    ),
    Scenario(
        "a close and a stop that meet the same open close once",
        [FLAT, FLAT, (90, 91, 89, 90), FLAT],
        {0: [buy()], 1: [stop_at(96)], 2: [close(PERP)]},
        [(1, "entry", 1.0, 100.0), (3, "stop", -1.0, 90.0), (3, "close", "cancelled", "no_position")],
    ),
    Scenario(
        "a target of zero and a stop that meet the same open close once and do not go short",
        [FLAT, FLAT, (90, 91, 89, 90), FLAT],
        {0: [buy()], 1: [stop_at(96)], 2: [target(PERP, 0.0)]},
        [(1, "entry", 1.0, 100.0), (3, "stop", -1.0, 90.0), (3, "target", "cancelled", "no_position")],
    ),
    Scenario(
        "a stop of one bar's life is gone the bar after",
        [FLAT, FLAT, (90, 91, 89, 90)],
        {0: [buy()], 1: [stop_at(96, bars_max=1)]},
        [(1, "entry", 1.0, 100.0), (2, "stop", "expired", "timeout")],
    ),
]

BRACKETS = [
    Scenario(
        "children follow a parent filled at the open and may act in the same bar",
        [(100, 101, 94, 95)],
        {0: [buy(), child_stop(96), child_profit(104)]},
        [(1, "entry", 1.0, 100.0), (1, "stop", -1.0, 96.0), (1, "profit", "cancelled", "no_position")],
    ),
    Scenario(
        "of a parent filled at the open the same bar reaches the take-profit too, and the stop was first",
        [(100, 110, 90, 95)],
        {0: [buy(), child_profit(104), child_stop(96)]},
        [(1, "entry", 1.0, 100.0), (1, "stop", -1.0, 96.0), (1, "profit", "cancelled", "no_position")],
    ),
    Scenario(
        "a child stop that the parent's own open has passed sells at that open",
        [(95, 101, 94, 95)],
        {0: [buy(), child_stop(96)]},
        [(1, "entry", 1.0, 95.0), (1, "stop", -1.0, 95.0)],
    ),
    Scenario(
        "of a parent filled inside the bar the stop may act in the same bar",
        [(100, 101, 90, 95)],
        {0: [buy_at(95), child_stop(92)]},
        [(1, "entry", 1.0, 95.0), (1, "stop", -1.0, 92.0)],
    ),
    Scenario(
        "of a parent filled inside the bar the take-profit waits for the next bar",
        [(100, 110, 94, 95), (96, 105, 95, 104)],
        {0: [buy_at(95), child_profit(104), child_stop(90)]},
        [(1, "entry", 1.0, 95.0), (2, "profit", -1.0, 104.0), (2, "stop", "cancelled", "no_position")],
    ),
    Scenario(
        "of a parent filled inside the bar a reducing limit waits for the next bar",
        [(100, 110, 94, 95), (96, 105, 95, 104)],
        {0: [buy_at(95), sell_at(104, leg="out", parent="entry", reduce_only=True)]},
        [(1, "entry", 1.0, 95.0), (2, "out", -1.0, 104.0)],
    ),
    Scenario(
        "a stop entry and its stop inside one bar lose at once",
        [(100, 106, 97, 100)],
        {
            0: [
                stop_at(104, "buy", leg="entry", reduce_only=False),
                child_stop(98),
            ]
        },
        [(1, "entry", 1.0, 104.0), (1, "stop", -1.0, 98.0)],
    ),
    Scenario(
        "a child whose trigger lies beyond its parent's fill sells at that fill, not at the better trigger",
        [(100, 101, 94, 95), FLAT],
        {0: [buy_at(95), child_stop(98)]},
        [(1, "entry", 1.0, 95.0), (1, "stop", -1.0, 95.0)],
    ),
    Scenario(
        "a short's child whose trigger lies beyond its parent's fill buys at that fill",
        [(100, 106, 99, 105), FLAT],
        {0: [sell_at(105, leg="entry"), child_stop(102, "buy")]},
        [(1, "entry", -1.0, 105.0), (1, "stop", 1.0, 105.0)],
    ),
    Scenario(
        "children end with a parent that never fills",
        [FLAT, FLAT],
        {0: [buy_at(90, bars_max=1), child_stop(80), child_profit(104)]},
        [
            (1, "entry", "expired", "timeout"),
            (1, "stop", "cancelled", "parent_ended"),
            (1, "profit", "cancelled", "parent_ended"),
        ],
    ),
    Scenario(
        "children follow the market order that their parent falls back to on timeout",
        [FLAT, FLAT, (100, 101, 90, 95)],
        {0: [buy_at(95, bars_max=1, fallback=("timeout",)), child_stop(92)]},
        [(1, "entry", "expired", "timeout"), (2, "entry_m", 1.0, 100.0), (3, "stop", -1.0, 92.0)],
    ),
    Scenario(
        "children follow the market order that their parent falls back to on rejection",
        [FLAT, (100, 101, 90, 95)],
        {0: [buy_at(102, post_only=True, fallback=("post_only",)), child_stop(92)]},
        [(1, "entry", "rejected", "post_only"), (1, "entry_m", 1.0, 100.0), (2, "stop", -1.0, 92.0)],
    ),
    Scenario(
        "a grandchild waits for the child",
        [(100, 101, 94, 95), (95, 96, 80, 85)],
        {
            0: [
                buy(),
                child_stop(96, leg="out"),
                Intent(PERP, "market", "sell", leg="turn", quantity=2.0, parent="out"),
            ]
        },
        [(1, "entry", 1.0, 100.0), (1, "out", -1.0, 96.0), (2, "turn", -2.0, 95.0)],
    ),
    Scenario(
        "a stop covers what its parent buys over several bars",
        [(100, 101, 99, 100, 5), (100, 101, 99, 100, 100), (100, 101, 90, 95, 100)],
        {0: [buy(), child_stop(96)]},
        [(1, "entry", 0.5, 100.0), (2, "entry", 0.5, 100.0), (3, "stop", -1.0, 96.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "a child that may open risk never trades more than its parent filled",
        [(100, 101, 94, 95, 4), (96, 105, 95, 104, 1000)],
        {0: [buy_at(95, bars_max=1), sell_at(104, leg="out", parent="entry")]},
        [(1, "entry", 0.4, 95.0), (1, "entry", "expired", "timeout"), (2, "out", -0.4, 104.0)],
        {"volume_fraction_max": 0.1},
    ),
    Scenario(
        "a child that still waits for its parent can be cancelled",
        [FLAT, (100, 101, 90, 92)],
        {0: [buy_at(95), child_stop(93)], 1: [cancel(PERP, "stop", reason="no stop")]},
        [(1, "stop", "cancelled", "no stop"), (2, "entry", 1.0, 95.0)],
    ),
]


@pytest.mark.parametrize("scenario", [*MARKET, *LIMITS, *STOPS, *BRACKETS], ids=lambda scenario: scenario.name)
def test_scenarios(scenario: Scenario) -> None:
    """Each scenario's name says what it proves."""
    bars = make_bars([FLAT, *scenario.candles], symbol=PERP)
    market = make_market(bars, execution=scenario.execution)

    assert list(scenario.expected) == happenings(run(market, scenario.plan))


def test_a_fallback_keeps_its_id_apart_from_legs_that_begin_alike() -> None:
    """Two long leg names that differ at their end may both time out into market orders in one bar."""
    market = make_market(make_bars([FLAT, FLAT, FLAT], symbol=PERP))
    legs = ("ladder_001", "ladder_002")
    plan = {0: [buy_at(90, leg=leg, bars_max=1, fallback=("timeout",)) for leg in legs]}

    fills = run(market, plan).fills()

    assert [fill.price for fill in fills] == [100.0, 100.0]
    assert len({fill.order.order_id for fill in fills}) == 2


def test_a_fallback_keeps_its_id_apart_from_the_strategys_own_legs() -> None:
    """A strategy may call a leg what the runtime would have called another one's fallback."""
    market = make_market(make_bars([FLAT, FLAT, FLAT], symbol=PERP))
    plan = {0: [buy_at(90, bars_max=1, fallback=("timeout",)), buy_at(80, leg="entry_m")]}

    fills = run(market, plan).fills()

    assert [fill.price for fill in fills] == [100.0]


# --- fees, money and holdings -------------------------------------------------------------------------------


def test_makers_and_takers_pay_their_own_fee_rounded_up() -> None:
    """A resting limit pays the maker rate and no slippage; whatever takes pays the taker rate."""
    market = make_market(
        make_bars([FLAT, (100, 101, 94, 95), (95, 96, 94, 95)], symbol=PERP),
        maker_fee_rate=0.0002,
        taker_fee_rate=0.0005,
        execution={"slippage_fraction": 0.001},
    )

    maker, taker = run(market, {0: [buy_at(95)], 1: [sell()]}).fills()

    assert (maker.is_maker, maker.price, maker.fee, maker.slippage) == (True, 95.0, 1_900_000, 0)
    assert (taker.is_maker, taker.price, taker.fee, taker.slippage) == (False, 94.9, 4_745_000, MONEY // 10)


def test_a_maker_rebate_is_paid_to_the_account() -> None:
    """A negative maker rate gives a negative fee."""
    market = make_market(make_bars([FLAT, (100, 101, 94, 95)], symbol=PERP), maker_fee_rate=-0.0001)

    (fill,) = run(market, {0: [buy_at(95)]}).fills()

    assert fill.fee == -95 * MONEY // 10_000


SPOT_SHORTAGES = [
    (
        "a buy that the open made too dear is cut to the cash and ended",
        [FLAT, (125, 126, 124, 125)],
        {0: [market(BTC, "buy", quantity=1.0)]},
        [(1, "entry", 0.8, 125.0), (1, "entry", "cancelled", "insufficient_cash")],
    ),
    (
        "a buy that finds no cash left ends unfilled",
        [FLAT, (200, 201, 199, 200)],
        {0: [market(BTC, "buy", quantity=0.5, leg="a"), market(BTC, "buy", quantity=0.5, leg="b")]},
        [(1, "a", 0.5, 200.0), (1, "b", "cancelled", "insufficient_cash")],
    ),
    (
        "a sell of coins that are gone ends",
        [FLAT, FLAT, (100, 105, 99, 100), FLAT],
        {0: [market(BTC, "buy", quantity=1.0)], 1: [limit(BTC, "sell", 103, quantity=1.0)], 2: [close(BTC)]},
        [(1, "entry", 1.0, 100.0), (2, "entry", -1.0, 103.0), (2, "close", "refused", "sizing")],
    ),
]


@pytest.mark.parametrize(
    ("candles", "plan", "expected"),
    [row[1:] for row in SPOT_SHORTAGES],
    ids=[row[0] for row in SPOT_SHORTAGES],
)
def test_spot_money(candles: Any, plan: Any, expected: Any) -> None:
    """Spot never spends money or coins that it does not have."""
    trace = run(make_market(make_bars(candles)), plan, make_account(100.0))
    refused = [(bar, leg, "refused", gate) for bar, gate, leg in refusals(trace)]

    assert expected == happenings(trace) + refused


def test_cash_never_goes_below_zero_when_money_is_counted_in_cents() -> None:
    """An order that costs one cent too much is cut, also where only rounding decides that it does."""
    rate = 0.001
    market_of_cents = make_market(
        make_bars([(50, 50, 50, 50), (99.37, 100, 99, 100)]),
        lot="0.0001",
        taker_fee_rate=rate,
        quote_unit="0.01",
    )
    for lots in range(9_000, 9_200):
        value = quote_value(99.37, lots * 10_000, 1e-6)
        cents = value + fee_amount(value, rate) - 1
        trace = run(market_of_cents, {0: [market(BTC, "buy", quantity=lots / 10_000)]}, Account(cents))
        balance = Balance(market_of_cents, cents)
        for fill in trace.fills():
            balance.book(fill)

        assert balance.cash >= 0, f"{lots} lots for {cents} cents left {balance.cash}"


def test_sells_of_one_decision_pay_for_its_buys() -> None:
    """A rotation sells first, in whatever order it was written, and the proceeds buy at the same open."""
    market = make_market(make_bars([FLAT] * 4), make_bars([FLAT] * 4, symbol=ETH))
    plan = {0: [target(BTC, 1.0)], 1: [target(ETH, 1.0), target(BTC, 0.0)]}

    trace = run(market, plan, make_account(1000.0))

    assert happenings(trace) == [
        (1, "target", 10.0, 100.0),
        (2, "target", -10.0, 100.0),
        (2, "target", 10.0, 100.0),
    ]
    assert [fill.symbol_index for fill in trace.fills()] == [0, 0, 1]


def test_proceeds_of_a_short_perpetual_buy_no_spot() -> None:
    """Selling a perpetual short brings no money that spot could be bought with."""
    market = make_market(make_bars([FLAT] * 4), make_bars([FLAT] * 4, symbol=PERP))
    plan = {0: [sell(10.0)], 1: [Intent(BTC, "market", "buy", leg="spot", quantity=15.0)]}

    trace = run(market, plan, make_account(1000.0))

    assert refusals(trace) == [(1, "cash", "spot")]
    assert [fill.order.side * fill.quantity for fill in trace.fills()] == [-10 * COIN]


def test_a_long_perpetual_leaves_cash_for_spot() -> None:
    """Buying a perpetual spends no cash but its fee, so spot may still be bought."""
    market = make_market(make_bars([FLAT] * 4), make_bars([FLAT] * 4, symbol=PERP))
    plan = {0: [buy(10.0)], 1: [Intent(BTC, "market", "buy", leg="spot", quantity=5.0)]}

    trace = run(market, plan, make_account(1000.0))

    assert happenings(trace) == [(1, "entry", 10.0, 100.0), (2, "spot", 5.0, 100.0)]


def test_an_entry_that_was_stopped_out_while_it_filled_leaves_nothing_unprotected() -> None:
    """A stop covers all its parent buys, also what the parent buys after the stop has sold the first part."""
    candles = [FLAT, (100, 101, 94, 95, 5), (90, 91, 85, 88, 100), (88, 89, 70, 75, 100), FLAT]
    market = make_market(make_bars(candles, symbol=PERP), execution={"volume_fraction_max": 0.1})

    fills = run(market, {0: [buy_at(95), child_stop(92)]}).fills()

    assert sum(fill.order.side * fill.quantity for fill in fills) == 0


# --- several symbols, dates, funding ------------------------------------------------------------------------


def test_orders_of_several_symbols_fill_in_order_of_placement() -> None:
    """At one open the order of fills is the order of placement, across symbols."""
    market = make_market(make_bars([FLAT] * 2), make_bars([FLAT] * 2, symbol=ETH))
    legs = [(ETH, "a"), (BTC, "b"), (ETH, "c")]
    plan = {0: [Intent(symbol, "market", "buy", leg=leg, quantity=1.0) for symbol, leg in legs]}

    fills = run(market, plan).fills()

    assert legs == [(fill.order.symbol, fill.order.leg) for fill in fills]


def test_a_symbol_that_starts_later_is_refused_until_it_has_a_price() -> None:
    """An intent for a symbol without a bar yet is refused for its data, and works once the symbol trades."""
    late = make_bars([FLAT] * 3, symbol=ETH, start_ms=START_MS + 2 * HOUR_MS)
    market = make_market(make_bars([FLAT] * 5), late)
    wanted = [Intent(ETH, "market", "buy", leg="late", quantity=1.0)]

    trace = run(market, {1: wanted, 2: wanted})

    assert refusals(trace) == [(1, "data_quality", "late")]
    assert happenings(trace) == [(3, "late", 1.0, 100.0)]


def test_a_symbol_that_ended_fills_nothing_and_keeps_its_mark() -> None:
    """After a symbol's last bar its orders stay unfilled and its position is valued at the last close."""
    ended = make_bars([FLAT, FLAT, (100, 101, 99, 101)], symbol=ETH)
    market = make_market(make_bars([FLAT] * 6), ended)
    seen = {}

    def plan(inputs: Any) -> Any:
        seen[inputs.index] = inputs.equity
        wanted = {0: "buy", 3: "sell"}.get(inputs.index)
        return [Intent(ETH, "market", wanted, leg=wanted, quantity=1.0)] if wanted else None

    trace = run(market, plan, make_account(1000.0))

    assert happenings(trace) == [(1, "buy", 1.0, 100.0)]
    assert seen[5] == 1001.0


def test_fees_ticks_and_lots_change_on_their_date() -> None:
    """A fill uses the rules that hold when its bar opens, a decision those that hold from its close on."""
    change = START_MS + 3 * HOUR_MS  # the close of bar 2, the open of bar 3
    later = {"valid_from": change, "taker_fee_rate": 0.01, "tick": "1", "lot": "0.5"}
    market = make_market(make_bars([FLAT] * 5, symbol=PERP), later=[later], taker_fee_rate=0.001)
    wanted = {bar: [buy_at(100.6, 0.7, leg=f"a{bar}")] for bar in (1, 2)}

    trace = run(market, wanted)

    fills = [(fill.bar, fill.quantity / COIN, fill.order.price, fill.fee / fill.value) for fill in trace.fills()]
    assert fills == [(2, 0.7, 100.6, 0.001), (3, 0.5, 100.0, 0.01)]


@pytest.mark.parametrize(("side", "sign"), [("buy", 1), ("sell", -1)])
def test_longs_pay_funding_and_shorts_receive_it(side: Any, sign: int) -> None:
    """A positive rate is paid by longs to shorts, on the value at the close; a negative one by shorts."""
    rates = [
        FundingRate(START_MS + 2 * HOUR_MS, 0.001),
        FundingRate(START_MS + 3 * HOUR_MS + 60_000, -0.0005),
    ]
    bars = make_bars([FLAT, FLAT, (100, 111, 99, 110), (110, 121, 109, 120)], symbol=PERP)
    market = make_market(bars, funding={PERP: rates})

    paid = run(market, {0: [Intent(PERP, "market", side, leg="entry", quantity=1.0)]}).funding()

    assert [(1, sign * 10_000_000), (3, -sign * 6_000_000)] == [(entry.bar, entry.amount) for entry in paid]


def test_funding_is_paid_on_what_is_held_after_the_bars_fills_and_before_its_decision() -> None:
    """A position opened at the bar's open pays; one that the bar closed does not."""
    rates = [FundingRate(START_MS + bar * HOUR_MS, 0.001) for bar in (1, 2, 3, 4)]
    market = make_market(make_bars([FLAT] * 5, symbol=PERP), funding={PERP: rates})

    paid = run(market, {0: [buy()], 2: [close(PERP)]}).funding()

    assert [entry.bar for entry in paid] == [1, 2]


def test_no_fill_lies_outside_what_its_bar_traded_unless_it_rested_before() -> None:
    """An order that has met no real bar before never gets a price that its bar did not trade."""
    candles = [FLAT, DEAD, (100, 101, 99, 100), (100, 102, 98, 101), DEAD, (101, 103, 100, 102)]
    for price in (90.0, 95.0, 99.5, 105.0, 110.0):
        for kind, side in (("limit", "buy"), ("limit", "sell"), ("stop", "buy"), ("stop", "sell")):
            wanted = Intent(PERP, kind, side, leg="entry", quantity=1.0, price=price)
            trace = run(make_market(make_bars(candles, symbol=PERP)), {0: [wanted]})
            for fill in trace.fills():
                assert candles[fill.bar][2] <= fill.price <= candles[fill.bar][1], (
                    kind,
                    side,
                    price,
                    fill.price,
                )


def test_every_fill_belongs_to_an_order_and_no_order_fills_beyond_its_quantity() -> None:
    """Fills of one order add up to at most its quantity."""
    market = make_market(
        make_bars([FLAT, *[(100, 101, 94, 95, 7)] * 6], symbol=PERP), execution={"volume_fraction_max": 0.1}
    )
    trace = run(market, {0: [buy(2.0), child_stop(96), buy_at(95, 3.0, leg="more")]})

    filled: dict[str, int] = {}
    for entry in trace.entries:
        if isinstance(entry, Fill):
            filled[entry.order.order_id] = filled.get(entry.order.order_id, 0) + entry.quantity

            assert filled[entry.order.order_id] <= entry.order.quantity
