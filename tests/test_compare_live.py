"""A session beside its backtest: paper is the backtest to the unit, and every unit of any difference has its line."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from cycle_world import HOUR_MS, START_MS, Alternate, Bracket, Resting, World, walk_bars
from hypothesis import given
from hypothesis import strategies as st
from parity import instruments_of
from recorded_sessions import entries_of, identity_of, journal_of, recorded, run_live, run_paper, written_anew
from venue.faults import Faults, error, partial

from trading_runtime.backtest.engine import Account, Start, run_general
from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import DataError, StoreDamaged
from trading_runtime.core.fills import Execution
from trading_runtime.core.intents import target
from trading_runtime.core.money import quote_value
from trading_runtime.core.state import BaseFeePaid, FundingPaid, Order, OrderFilled, State, apply
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.compare_classes import CLASSES, Mark, Side, explain, profit, totals
from trading_runtime.cycle.compare_live import LiveComparison, compare_session
from trading_runtime.cycle.compare_sides import recorded_instruments
from trading_runtime.cycle.recorded import RecordedSession, session_from_entries
from trading_runtime.cycle.replay import replay_session
from trading_runtime.stores.control import Control
from trading_runtime.strategies.breakout import Breakout
from trading_runtime.strategies.sma_cross import SmaCross

SYMBOLS = ("BTC/USDT", "ETH/USDT")


class Holder(Strategy):
    """Keeps half of everything in the first symbol, bought once."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        return None if inputs.position != 0.0 else Proposal([target(inputs.symbol, 0.5)])


def paper(strategy: Strategy, bars: dict[str, Bars], slots: int, **options: Any) -> RecordedSession:
    return session_from_entries(entries_of(run_paper(strategy, bars, slots, **options)), "paper")


def adds_up(comparison: LiveComparison) -> bool:
    """Whether lines and classes add up to the difference, each line being of a known class and not zero."""
    assert all(line.amount and line.kind in CLASSES for line in comparison.lines)
    assert sum(comparison.classes().values()) == comparison.difference
    return sum(line.amount for line in comparison.lines) == comparison.difference


def of_class(comparison: LiveComparison, kind: str) -> list[Any]:
    return [line for line in comparison.lines if line.kind == kind]


# --- the arithmetic


@st.composite
def fills(draw: st.DrawFn) -> tuple[Any, ...]:
    """An order's fill: number, symbol, side, quantity, price, fee, units of coins, bar. The number makes the id."""
    return (
        draw(st.integers(0, 5)),
        draw(st.sampled_from(SYMBOLS)),
        draw(st.sampled_from((1, -1))),
        draw(st.integers(1, 10**9)),
        draw(st.floats(0.5, 60_000.0)),
        draw(st.integers(-(10**6), 10**7)),
        draw(st.sampled_from((0, 0, 1, 12_345))),
        draw(st.integers(0, 3)),
    )


SIDES = st.lists(fills(), max_size=8)
PAID = st.lists(st.tuples(st.sampled_from(SYMBOLS), st.integers(-(10**8), 10**8)), max_size=3)


def told(items: list[tuple[Any, ...]], paid: list[tuple[str, int]], start: State) -> tuple[Side, State]:
    """Return a side, and the state that the same events lead to."""
    side, state = Side(), start
    for number, symbol, first_direction, quantity, price, fee, coins, bar in items:
        # One id is one order: one symbol and one direction on this side.
        order_id = f"{symbol}-{number}"
        known = side.orders.get(order_id)
        direction = first_direction if known is None else known.side
        order = side.order(order_id, symbol, number, direction)
        value = quote_value(price, quantity, 1.0)
        order.fill(quantity, value, fee, bar)
        state = apply(state, OrderFilled(order_id, symbol, direction, quantity, price, value, fee))
        if coins:
            worth = quote_value(price, coins, 1.0)
            order.coins += coins
            order.coins_value += worth
            state = apply(state, BaseFeePaid(symbol, coins, worth))
    for symbol, amount in paid:
        side.funding[symbol] = side.funding.get(symbol, 0) + amount
        state = apply(state, FundingPaid(symbol, amount))
    return side, state


@given(
    SIDES,
    SIDES,
    PAID,
    PAID,
    st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**9)),
    st.tuples(st.floats(0.5, 60_000.0), st.floats(0.5, 60_000.0)),
    st.sampled_from(("decision", "data_revision", "rejected_or_partial")),
)
def test_the_lines_add_up_to_the_difference_of_equity_exactly(
    one: list[tuple[Any, ...]],
    other: list[tuple[Any, ...]],
    paid: list[tuple[str, int]],
    simulated: list[tuple[str, int]],
    held: tuple[int, int],
    prices: tuple[float, float],
    kind: str,
) -> None:
    marks = {symbol: Mark(price, 1.0) for symbol, price in zip(SYMBOLS, prices, strict=True)}
    start = State(10**15)
    begun = dict(zip(SYMBOLS, held, strict=True))
    for symbol, quantity in begun.items():
        if quantity:
            side = 1 if quantity > 0 else -1
            start = apply(start, OrderFilled("before", symbol, side, abs(quantity), 1.0, abs(quantity), 0))
    live, live_state = told(one, paid, start)
    backtest, backtest_state = told(other, simulated, start)

    def equity(state: State) -> int:
        return state.cash + sum(
            quote_value(marks[symbol].price, position.quantity, 1.0) for symbol, position in state.positions.items()
        )

    lines = explain(live, backtest, begun, marks, lambda slot, order_id: kind)
    assert sum(line.amount for line in lines) == equity(live_state) - equity(backtest_state)
    assert sum(totals(lines).values()) == equity(live_state) - equity(backtest_state)
    assert profit(live, begun, marks) == equity(live_state) - equity(start)
    # Rounding is what valuing in parts leaves and never a place to hide things: half a unit for each part.
    parts = sum(2 * len(side.orders) + 2 for side in (live, backtest)) + 4
    assert abs(totals(lines)["rounding"]) <= parts


@given(SIDES, PAID, st.floats(0.5, 60_000.0))
def test_two_equal_sides_have_no_line(items: list[tuple[Any, ...]], paid: list[tuple[str, int]], price: float) -> None:
    side, _ = told(items, paid, State(0))
    same, _ = told(items, paid, State(0))
    assert explain(side, same, {}, {symbol: Mark(price, 1.0) for symbol in SYMBOLS}, lambda *_: "decision") == []


def one_order(quantity: int, value: int, fee: int, bar: int) -> Side:
    side = Side()
    side.order("a", "BTC/USDT", 7, 1).fill(quantity, value, fee, bar)
    return side


@pytest.mark.parametrize(
    ("live", "backtest", "expected"),
    [
        ((10, 1010, 3, 1), (10, 1000, 2, 1), {"price": -10, "fee": -1}),
        ((10, 1010, 3, 2), (10, 1000, 2, 1), {"timing": -10, "fee": -1}),
        # Of 10 units at 101 six were filled: price and fee of those, and the rest of the backtest's own ones.
        ((6, 606, 6, 1), (10, 1000, 10, 1), {"price": -6, "rejected_or_partial": -4 * 150 + 400 + 4}),
        (None, (10, 1000, 2, 1), {"rejected_or_partial": -(10 * 150 - 1000 - 2)}),
        ((10, 1000, 2, 1), None, {"rejected_or_partial": 10 * 150 - 1000 - 2}),
    ],
    ids=["price", "timing", "partial", "missing", "extra"],
)
def test_what_both_filled_is_price_timing_and_fee_and_the_rest_is_quantity(
    live: tuple[int, int, int, int] | None, backtest: tuple[int, int, int, int] | None, expected: dict[str, int]
) -> None:
    sides = [Side() if one is None else one_order(*one) for one in (live, backtest)]
    lines = explain(sides[0], sides[1], {}, {"BTC/USDT": Mark(150.0, 1.0)}, lambda *_: "rejected_or_partial")
    assert {line.kind: line.amount for line in lines} == expected


def test_coins_that_a_fee_took_go_with_the_order_that_sells_that_much_less() -> None:
    live, backtest = one_order(100, 10_000, 0, 1), one_order(100, 10_000, 100, 1)
    live.orders["a"].coins, live.orders["a"].coins_value = 1, 100
    live.order("b", "BTC/USDT", 8, -1).fill(99, 99 * 120, 99, 2)
    backtest.order("b", "BTC/USDT", 8, -1).fill(100, 100 * 120, 100, 2)
    lines = explain(live, backtest, {}, {"BTC/USDT": Mark(150.0, 1.0)}, lambda *_: "decision")
    # One coin less sold at 120 instead of 100, and its fee of 1; the final mark of 150 is of no account.
    assert {kind: amount for kind, amount in totals(lines).items() if amount} == {"decision": -20 + 1}


# --- whole sessions


@pytest.mark.parametrize(
    "strategy",
    [SmaCross({"fast": 5, "slow": 20}), Breakout({"channel": 10}), Bracket(), Resting(), Alternate()],
    ids=lambda one: type(one).__name__,
)
def test_a_paper_session_is_its_backtest_to_the_unit(strategy: Strategy) -> None:
    bars = walk_bars(count=260, seed=5)
    comparison = compare_session(paper(strategy, {bars.symbol: bars}, 70), strategy)
    assert comparison.live_fills == comparison.backtest_fills >= 2
    assert comparison.lines == []
    assert comparison.live == comparison.backtest != 0
    assert comparison.differing == []


def test_a_paper_session_of_several_symbols_is_its_backtest_to_the_unit() -> None:
    names = ("SOL/USDT", "BTC/USDT")
    bars = {name: walk_bars(name, seed=seed, count=90) for seed, name in enumerate(names)}
    comparison = compare_session(paper(Alternate(), bars, 40), Alternate())
    assert comparison.live_fills > 20
    assert comparison.lines == []
    assert comparison.differing == []


@pytest.mark.parametrize(
    "strategy",
    [SmaCross({"fast": 5, "slow": 20}), Bracket(), Resting(), Alternate()],
    ids=lambda one: type(one).__name__,
)
def test_a_session_that_begins_in_the_middle_takes_up_position_orders_and_memory(strategy: Strategy) -> None:
    bars = walk_bars(count=120, seed=5)
    execution = Execution(slippage_fraction=0.0005)
    carried = set()
    for cut in (11, 12, 13, 14):
        other = {**identity_of(strategy, execution), "commit": "1" * 40}
        journal = run_paper(strategy, {bars.symbol: bars}, 40, changes={cut: {"identity": other}})
        assert len(journal.sessions()) == 2
        second = session_from_entries(entries_of(journal), "second")
        comparison = compare_session(second, strategy)
        assert comparison.decisions == 40 - cut
        assert comparison.lines == [], cut
        assert comparison.differing == [], cut
        start = second.decisions()[0].seen["state"]
        carried |= {name for name in ("orders", "positions", "strategy_state") if start[name]}
    assert carried, "nothing was carried on"


def market_of(bars: Bars, **options: Any) -> Market:
    return Market({bars.symbol: bars}, instruments_of({bars.symbol: bars}), **options)


def test_a_run_that_goes_on_decides_at_its_first_slot_though_nothing_wakes_it() -> None:
    bars = walk_bars(count=120, seed=3)
    strategy, market = SmaCross({"fast": 5, "slow": 20}), market_of(bars)
    decisions = run_general(market, strategy, Account(10**13)).decisions()
    sale = next(
        one.slot for one, after in pairwise(decisions) if one.orders[0].side < 0 and after.slot > one.slot + HOUR_MS
    )
    slot = sale + HOUR_MS  # the target is zero already, and does not change at this bar
    held = {"targets": {bars.symbol: 0.95}}
    bought = apply(State(10**13, strategy_state=held), OrderFilled("before", bars.symbol, 1, 10**8, 3e4, 3 * 10**12, 0))
    trace = run_general(market, strategy, Account(10**13), start=Start(bought, slot))
    first = trace.decisions()[0]
    assert (first.slot, [order.side for order in first.orders]) == (slot, [-1])


def test_a_run_that_goes_on_pays_no_funding_of_before() -> None:
    name = "BTC/USDT:USDT"
    bars = walk_bars(name, count=60)
    first = int(bars.open_time[0])
    rates = {name: [FundingRate(first + hour * HOUR_MS, 0.001) for hour in (8, 16, 24, 32)]}
    held = apply(State(10**13), OrderFilled("before", name, 1, 10**8, 3e4, 3 * 10**12, 0))
    market = market_of(bars, funding=rates)
    trace = run_general(market, Holder(), Account(10**13), start=Start(held, first + 20 * HOUR_MS))
    assert [market.close_time(entry.bar) - first for entry in trace.funding()] == [24 * HOUR_MS, 32 * HOUR_MS]


@pytest.mark.parametrize("filled", [0, 4 * 10**7])
def test_an_order_that_is_taken_up_rests_and_fills_only_what_is_left_of_it(filled: int) -> None:
    bars = walk_bars(count=60)
    slot = int(bars.open_time[0]) + 20 * HOUR_MS
    offer = Order(
        "tr-000000000000-1-offer", bars.symbol, "limit", -1, 10**8, slot=slot, leg="offer", price=100.0, filled=filled
    )
    held = apply(State(10**13), OrderFilled("before", bars.symbol, 1, 3 * 10**8, 3e4, 9 * 10**12, 0))
    state = State(held.cash, positions=held.positions, orders={offer.order_id: offer})
    trace = run_general(market_of(bars), Holder(), Account(10**13), start=Start(state, slot))
    found = [fill for fill in trace.fills() if fill.order.order_id == offer.order_id]
    assert [(fill.bar, fill.quantity, fill.is_maker, fill.price) for fill in found] == [
        (20, 10**8 - filled, True, 100.0)
    ]


def test_funding_is_paid_at_the_rates_that_the_payments_come_to() -> None:
    name = "BTC/USDT:USDT"
    bars = walk_bars(name, count=120, seed=4)
    first = int(bars.open_time[0])
    rates = {name: [FundingRate(first + hour * HOUR_MS, 0.0001 * (hour % 5 - 2)) for hour in range(8, 100, 8)]}
    session = paper(Holder(), {name: bars}, 60, funding=rates, short=True)
    paid = [
        event for step in session.steps for event in getattr(step, "events", ()) if event["event"] == "funding_paid"
    ]
    assert len(paid) >= 5
    other = {**session.identity, "commit": "1" * 40}
    later = paper(Holder(), {name: bars}, 60, funding=rates, short=True, changes={23: {"identity": other}})
    assert later.start.quantity(name)
    for one in (session, later):
        comparison = compare_session(one, Holder())
        assert comparison.lines == []
        assert comparison.notes == []
        assert comparison.live == comparison.backtest


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT"])
@pytest.mark.parametrize("strategy", [Alternate, Bracket, Resting])
@pytest.mark.parametrize("pays_in_bnb", [False, True], ids=["own fees", "fees in BNB"])
def test_every_unit_of_a_live_session_has_its_line(symbol: str, strategy: type[Strategy], pays_in_bnb: bool) -> None:
    world = World(strategy=strategy, symbol=symbol, pays_in_bnb=pays_in_bnb)
    run_live(world, 40)
    comparison = compare_session(recorded(world), strategy())
    assert comparison.live_fills >= 5
    assert comparison.lines
    assert adds_up(comparison)
    assert comparison.unexplained == []
    assert json.loads(json.dumps(comparison.to_json())) == comparison.to_json()


def test_coins_below_a_lot_that_an_earlier_session_left_are_no_position_of_the_backtest_either() -> None:
    world = World(strategy=Alternate)
    run_live(world, 6)
    described = {**world.identity(), "commit": "1" * 40}
    world.identity = lambda: described
    run_live(world, 8, first=6)
    session = recorded(world)
    left = session.decisions()[0].seen["state"]["positions"][0]["quantity"]
    assert 0 < left < 1000, "a test without left over coins proves nothing"
    comparison = compare_session(session, Alternate())
    assert comparison.decisions == 8
    assert session.start.slot not in [one.slot for one in comparison.differing]
    assert all(one.slot > START_MS + 6 * HOUR_MS for one in comparison.differing)
    assert comparison.unexplained == []
    assert adds_up(comparison)


def test_a_stop_or_profit_reached_in_another_bar_is_timing() -> None:
    world = World(strategy=Bracket)
    run_live(world, 60)
    comparison = compare_session(recorded(world), Bracket())
    assert of_class(comparison, "timing")
    assert adds_up(comparison)


def test_an_order_that_the_exchange_rejects_is_its_whole_result_in_the_backtest() -> None:
    world = World(strategy=Holder)
    faults = Faults({("place", 0): error(400, -2010)})
    world.cycle(START_MS, exchange=world.exchange(faults))
    for index in range(1, 4):
        world.to_slot(START_MS + index * HOUR_MS)
        world.cycle(START_MS + index * HOUR_MS)
    comparison = compare_session(recorded(world), Holder())
    rejected = [line for line in of_class(comparison, "rejected_or_partial") if line.slot == START_MS]
    assert [line.detail for line in rejected] == ["filled in the backtest only"]
    assert rejected[0].amount
    assert adds_up(comparison)
    assert comparison.unexplained == []


def test_a_part_that_was_not_filled_is_its_own_line() -> None:
    world = World(strategy=Holder, symbol="BTC/USDT:USDT")
    faults = Faults({("place", 0): partial("0.5", rest_expires=True)})
    world.cycle(START_MS, exchange=world.exchange(faults))
    for index in range(1, 4):
        world.to_slot(START_MS + index * HOUR_MS)
        world.cycle(START_MS + index * HOUR_MS)
    comparison = compare_session(recorded(world), Holder())
    lines = of_class(comparison, "rejected_or_partial")
    assert len(lines) == 1
    assert lines[0].detail.startswith("filled ")
    assert adds_up(comparison)


def test_other_costs_are_price_and_fee() -> None:
    bars = walk_bars(count=120, seed=3)
    session = paper(Alternate(), {bars.symbol: bars}, 40)
    session.identity = {**session.identity, "execution": dict(vars(Execution()))}
    comparison = compare_session(session, Alternate())
    assert of_class(comparison, "price")
    assert all(line.amount < 0 for line in of_class(comparison, "price"))
    assert adds_up(comparison)


def test_data_that_was_revised_since_is_found() -> None:
    bars = walk_bars(count=140, seed=3)
    strategy = SmaCross({"fast": 5, "slow": 20})
    session = paper(strategy, {bars.symbol: bars}, 80)
    traded = [one for one in session.decisions() if one.decision["orders"]]
    row = (traded[1].slot - int(bars.open_time[0])) // HOUR_MS - 1
    prices = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close")}
    for name in ("high", "close"):  # the crossing disappears
        prices[name][row] = bars.high[row] * 1.2
    prices["high"][row] = max(prices["high"][row], prices["close"][row])
    revised = replace_prices(bars, prices)
    same = compare_session(session, strategy, data={bars.symbol: bars})
    assert same.lines == []
    comparison = compare_session(session, strategy, data={bars.symbol: revised})
    assert of_class(comparison, "data_revision")
    assert adds_up(comparison)
    assert comparison.unexplained == []
    assert "its bars were others" in comparison.differing[0].reasons


def replace_prices(bars: Bars, prices: dict[str, Any]) -> Bars:
    return Bars(bars.symbol, bars.timeframe, bars.open_time, *(prices[name] for name in prices), bars.volume)


def test_a_decision_that_its_inputs_do_not_give_has_no_reason() -> None:
    world = World(symbol="BTC/USDT:USDT")
    run_live(world, 6)
    session = recorded(world)
    assert compare_session(session, Alternate()).unexplained == []

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        decisions = [content for kind, _, content in items if kind == "decision"]
        decisions[3]["decision"]["orders"][0]["quantity"] += 1000

    comparison = compare_session(written_anew(journal_of(world), edit), Alternate())
    assert [one.slot for one in comparison.unexplained] == [START_MS + 3 * HOUR_MS]
    assert comparison.unexplained[0].difference.path == "orders.0.quantity"
    assert "trading-runtime replay" in comparison.notes[-1]


def test_other_code_is_a_reason() -> None:
    world = World()
    run_live(world, 6)
    comparison = compare_session(recorded(world), Holder())
    assert comparison.differing
    assert all("the strategy's code has changed since" in one.reasons for one in comparison.differing)
    assert adds_up(comparison)


def test_a_halt_is_a_reason_and_its_orders_are_decisions() -> None:
    world = World(symbol="BTC/USDT:USDT")
    run_live(world, 2)
    slot = START_MS + 2 * HOUR_MS
    world.to_slot(slot)
    Control(world.documents, "main").halt("test", "a test", world.clock.now_ms())
    assert world.cycle(slot).status == "halted"
    for index in (3, 4):
        world.to_slot(START_MS + index * HOUR_MS)
        world.cycle(START_MS + index * HOUR_MS)
    comparison = compare_session(recorded(world), Alternate())
    assert comparison.differing[0].slot == slot
    assert comparison.differing[0].reasons[0].startswith("guards: control_allows_risk")
    assert [line.slot for line in of_class(comparison, "decision")][:1] == [slot]
    assert comparison.unexplained == []
    assert adds_up(comparison)


def test_closing_everything_is_a_second_decision_for_a_slot_and_a_reason() -> None:
    world = World(strategy=Holder)
    run_live(world, 3)
    Control(world.documents, "main").halt("test", "a test", world.clock.now_ms(), flatten=True)
    slot = START_MS + 2 * HOUR_MS
    assert world.cycle(slot).status == "risk_halt"
    world.to_slot(slot + HOUR_MS)
    world.cycle(slot + HOUR_MS)
    session = recorded(world)
    assert [one.slot for one in session.decisions()].count(slot) == 2
    assert not any(one.superseded for one in session.decisions())
    assert replay_session(session, Holder()).is_same
    comparison = compare_session(session, Holder())
    assert "a person had everything closed" in next(one for one in comparison.differing if one.slot == slot).reasons
    assert of_class(comparison, "decision")
    assert comparison.unexplained == []
    assert adds_up(comparison)


def test_slots_that_no_cycle_decided_are_a_reason() -> None:
    world = World(symbol="BTC/USDT:USDT")
    run_live(world, 3)
    slot = START_MS + 6 * HOUR_MS
    for index in range(3, 7):
        world.to_slot(START_MS + index * HOUR_MS)
    assert world.cycle(slot, missed_slots_max=1).skipped_slots
    session = recorded(world)
    with pytest.raises(
        DataError, match="because slots were skipped or its market stood still; give the bars with --data"
    ):
        compare_session(session, Alternate())
    comparison = compare_session(session, Alternate(), data={world.symbol: world.bars})
    reasons = {iso_time(one.slot): one.reasons[0] for one in comparison.differing}
    assert reasons["2024-01-01T04:00:00Z"] == "no cycle decided this slot"
    assert comparison.unexplained == []
    assert adds_up(comparison)


def test_one_decision_alone_has_no_difference() -> None:
    world = World()
    run_live(world, 1)
    comparison = compare_session(recorded(world), Alternate())
    assert (comparison.live, comparison.backtest, comparison.lines) == (0, 0, [])


def test_what_cannot_be_compared_is_said() -> None:
    world = World()
    run_live(world, 4)
    session = recorded(world)
    first, last = session.decisions()[0], session.decisions()[-1]
    span = f"{iso_time(first.seen['bars']['BTC/USDT']['first_open'])} to {iso_time(last.slot)}"
    with pytest.raises(DataError, match=f"missing: BTC-USDT-1h from {span}$"):
        compare_session(session, Alternate(), data={"ETH/USDT": walk_bars("ETH/USDT")})
    short = world.bars.slice(0, 51)
    given = f"{iso_time(int(short.open_time[0]))} to {iso_time(int(short.close_time[-1]))}"
    with pytest.raises(DataError, match=rf"BTC-USDT-1h from {span} \(what was given goes from {given}\)$"):
        compare_session(session, Alternate(), data={"BTC/USDT": short})

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        events = next(content for kind, _, content in items if kind == "events")
        next(one for one in events["events"] if one["event"] == "order_filled")["value"] += 1

    with pytest.raises(StoreDamaged, match="events do not lead from its first to its last decision"):
        compare_session(written_anew(journal_of(world), edit), Alternate())
    session.steps.clear()
    with pytest.raises(DataError, match="has no decision to compare"):
        compare_session(session, Alternate())


def test_rules_that_changed_hold_from_the_slot_that_saw_them() -> None:
    world = World()
    run_live(world, 4)

    def edit(items: list[tuple[str, int | None, Any]]) -> None:
        for decision in [content for kind, _, content in items if kind == "decision"][2:]:
            for rules in decision["seen"]["instruments"]["BTC/USDT"]["rules"]:
                rules["taker_fee_rate"] = 0.5

    session = written_anew(journal_of(world), edit)
    instrument = recorded_instruments(session.decisions())["BTC/USDT"]
    assert instrument.rules_at(START_MS + HOUR_MS).taker_fee_rate != 0.5
    assert instrument.rules_at(START_MS + 2 * HOUR_MS).taker_fee_rate == 0.5
    assert len(instrument.rules) == 2
