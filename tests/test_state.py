"""The state and apply: pure, plain data, and rebuilt by replaying its events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as generate

from trading_runtime.core.errors import StrategyError, TradingRuntimeError
from trading_runtime.core.state import (
    CashMoved,
    Event,
    FundingPaid,
    Order,
    OrderEnded,
    OrderFilled,
    OrderPlaced,
    SlotDecided,
    State,
    apply,
    state_from_json,
)

SYMBOLS = generate.sampled_from(["BTC/USDT", "ETH/USDT"])
IDS = generate.sampled_from(["a", "b", "c", "d"])
UNITS = generate.integers(1, 10**6)
MONEY = generate.integers(0, 10**12)
SIDES = generate.sampled_from([1, -1])
PLAIN = generate.recursive(
    generate.none()
    | generate.booleans()
    | generate.integers()
    | generate.floats(allow_nan=False)
    | generate.text(max_size=3),
    lambda inner: (
        generate.lists(inner, max_size=3) | generate.dictionaries(generate.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@generate.composite
def orders(draw: generate.DrawFn) -> Order:
    kind = draw(generate.sampled_from(["market", "limit", "stop", "take_profit"]))
    return Order(
        draw(IDS),
        draw(SYMBOLS),
        kind,
        draw(SIDES),
        draw(UNITS),
        slot=draw(generate.integers(0, 10**9)) * 1000,
        leg=draw(generate.sampled_from(["entry", "stop"])),
        price=None if kind == "market" else draw(generate.floats(0.01, 1e6)),
        reduce_only=draw(generate.booleans()),
        parent=draw(generate.none() | IDS),
        time_in_force=draw(generate.sampled_from(["gtc", "ioc", "fok"])),
        bars_max=draw(generate.none() | generate.integers(1, 9)),
        post_only=draw(generate.booleans()),
        fallback=tuple(draw(generate.lists(generate.sampled_from(["timeout", "post_only"]), unique=True))),
        is_sized_by_runtime=draw(generate.booleans()),
        reason=draw(generate.text(max_size=3)),
    )


EVENTS: generate.SearchStrategy[Event] = generate.one_of(
    generate.builds(OrderPlaced, orders()),
    generate.builds(
        OrderFilled, IDS, SYMBOLS, SIDES, UNITS, generate.floats(0.01, 1e6), MONEY, generate.integers(-10, 10**6)
    ),
    generate.builds(OrderEnded, IDS, generate.just("cancelled"), generate.just("test")),
    generate.builds(FundingPaid, SYMBOLS, generate.integers(-(10**6), 10**6)),
    generate.builds(CashMoved, generate.integers(-(10**9), 10**9), generate.just("deposit")),
    generate.builds(
        SlotDecided, generate.integers(0, 10**9), generate.dictionaries(generate.text(max_size=3), PLAIN, max_size=3)
    ),
)


def replay(state: State, events: list[Event]) -> list[State]:
    """Every state on the way; events that contradict the state are left out."""
    states = [state]
    for event in events:
        try:
            states.append(apply(states[-1], event))
        except TradingRuntimeError:
            states.append(states[-1])
    return states


def text(state: State) -> str:
    return json.dumps(state.to_json())


@given(generate.lists(EVENTS, max_size=25))
def test_apply_never_changes_the_state_it_was_given(events: list[Event]) -> None:
    """Every state of a replay still says at the end what it said when it was new."""
    state = State(10**12)
    seen = [(state, text(state))]
    for event in events:
        try:
            state = apply(state, event)
        except TradingRuntimeError:
            continue
        seen.append((state, text(state)))

    assert [content for _, content in seen] == [text(each) for each, _ in seen]


@given(generate.lists(EVENTS, max_size=25))
def test_replaying_the_events_rebuilds_every_state(events: list[Event]) -> None:
    """apply is a function of state and event alone."""
    assert [text(each) for each in replay(State(5), events)] == [text(each) for each in replay(State(5), events)]


@given(generate.lists(EVENTS, max_size=25), generate.integers(0, 25))
def test_a_state_read_back_from_json_goes_on_as_if_nothing_had_happened(events: list[Event], at: int) -> None:
    """A process that ends after any event and starts from the document continues with the same bytes."""
    straight = replay(State(5), events)
    at = min(at, len(events))
    resumed = replay(state_from_json(json.loads(text(straight[at]))), events[at:])

    assert text(straight[at]) == text(resumed[0])
    assert text(straight[-1]) == text(resumed[-1])


@given(generate.lists(EVENTS, max_size=25))
def test_cash_adds_up_to_the_unit_after_any_events(events: list[Event]) -> None:
    """cash = start + flows + realised - fees - funding - cost of what is held."""
    for state in replay(State(7), events):
        held = state.positions.values()
        earned = sum(each.realised - each.fees - each.funding - each.cost for each in held)

        assert state.cash == 7 + state.flows + earned


@given(orders())
def test_an_order_survives_json(order: Order) -> None:
    """Every field, the ones at their default included."""
    state = State(0, orders={order.order_id: order})
    read = state_from_json(json.loads(text(state))).orders[order.order_id]

    assert [getattr(order, name) for name in Order.__slots__] == [getattr(read, name) for name in Order.__slots__]


# --- orders -------------------------------------------------------------------------------------------------


def placed(quantity: int = 10) -> State:
    return apply(State(1000), OrderPlaced(Order("a", "BTC/USDT", "market", 1, quantity, slot=0, leg="entry")))


def filled(quantity: int, order_id: str = "a", side: int = 1) -> OrderFilled:
    return OrderFilled(order_id, "BTC/USDT", side, quantity, 10.0, 10 * quantity, 1)


def test_a_partial_fill_leaves_the_rest_open_and_the_last_one_nothing() -> None:
    """Remaining quantity counts down and the order goes when it is done."""
    part = apply(placed(), filled(4))
    done = apply(part, filled(6))

    assert part.orders["a"].remaining == 6
    assert (part.cash, part.quantity("BTC/USDT")) == (1000 - 40 - 1, 4)
    assert done.orders == {}
    assert (done.cash, done.quantity("BTC/USDT")) == (1000 - 100 - 2, 10)


def test_a_fill_of_an_order_that_is_not_open_still_counts() -> None:
    """An exchange may report late: money and position follow what happened."""
    ended = apply(placed(), OrderEnded("a", "cancelled", "test"))
    late = apply(ended, filled(4))

    assert late.quantity("BTC/USDT") == 4
    assert late.orders == {}


def test_the_end_of_an_order_leaves_the_others() -> None:
    """And of an unknown one all of them."""
    assert apply(placed(), OrderEnded("a", "cancelled", "test")).orders == {}
    assert list(apply(placed(), OrderEnded("x", "cancelled", "test")).orders) == ["a"]


def test_an_order_is_placed_once() -> None:
    """A second order under an open id is a contradiction."""
    with pytest.raises(StrategyError, match="order a is already open"):
        apply(placed(), OrderPlaced(Order("a", "BTC/USDT", "market", 1, 1, slot=0, leg="entry")))


CONTRADICTIONS: list[tuple[str, Any]] = [
    ("a fill on the other side of its order", filled(4, side=-1)),
    ("a fill of another symbol than its order's", OrderFilled("a", "ETH/USDT", 1, 4, 10.0, 40, 0)),
    ("a fill of nothing", filled(0)),
    ("something that is no event", object()),
    ("an event of another kind that has an amount", type("Deposit", (), {"amount": 5})()),
]


@pytest.mark.parametrize("event", [row[1] for row in CONTRADICTIONS], ids=[row[0] for row in CONTRADICTIONS])
def test_an_event_that_contradicts_the_state_is_refused(event: Any) -> None:
    """The one document that carries an account does not take in what cannot be."""
    with pytest.raises(TradingRuntimeError):
        apply(placed(), event)


def test_flat_symbols_keep_what_they_earned() -> None:
    """A position that was closed stays in the document with its profit, fees and funding."""
    state = apply(apply(placed(), filled(10)), OrderFilled("z", "BTC/USDT", -1, 10, 12.0, 120, 1))
    position = state.positions["BTC/USDT"]

    assert (position.quantity, position.cost, position.realised, position.fees) == (0, 0, 20, 2)


# --- the document -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_a_schema_of_another_version_is_refused(version: Any) -> None:
    """A newer document is never read as if it were an old one."""
    with pytest.raises(StrategyError, match="schema version"):
        state_from_json({**State(0).to_json(), "schema_version": version})


DAMAGED: list[tuple[str, dict[str, Any]]] = [
    ("a field is missing", {name: value for name, value in State(0).to_json().items() if name != "cash"}),
    ("a position has a field more", {**State(0).to_json(), "positions": [{"symbol": "A", "colour": 1}]}),
    ("an order lacks its id", {**State(0).to_json(), "orders": [{"symbol": "A"}]}),
    ("orders are no list", {**State(0).to_json(), "orders": 5}),
]


@pytest.mark.parametrize("content", [row[1] for row in DAMAGED], ids=[row[0] for row in DAMAGED])
def test_a_damaged_document_is_refused_in_one_line(content: dict[str, Any]) -> None:
    """Unreadable state means stop before trading: an error of our own, not a traceback from inside."""
    with pytest.raises(TradingRuntimeError):
        state_from_json(content)
