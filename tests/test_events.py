"""Events as plain data: through JSON and back they change an account exactly as they did."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.events import event_from_json, event_to_json, order_from_json
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.state import (
    BaseFeePaid,
    CashMoved,
    CoinsSpent,
    Event,
    FundingPaid,
    Order,
    OrderEnded,
    OrderFilled,
    OrderPlaced,
    SlotDecided,
    State,
    apply,
)

symbols = some.sampled_from(("BTC/USDT", "ETH/USDT:USDT"))
ids = some.text("abc-123", min_size=1, max_size=12)
texts = some.text(max_size=20)
amounts = some.integers(-(10**15), 10**15)
quantities = some.integers(1, 10**12)
sides = some.sampled_from((1, -1))
prices = some.floats(0.01, 10**6)
plain = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(10**12), 10**12)
    | some.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
orders = some.builds(
    Order,
    ids,
    symbols,
    some.sampled_from(("market", "limit", "stop", "take_profit")),
    sides,
    quantities,
    slot=some.integers(0, 10**10).map(lambda seconds: seconds * 1000),
    leg=some.text("abc_1", min_size=1, max_size=10),
    price=some.none() | prices,
    reduce_only=some.booleans(),
    parent=some.none() | ids,
    time_in_force=some.sampled_from(("gtc", "ioc", "fok")),
    bars_max=some.none() | some.integers(1, 50),
    post_only=some.booleans(),
    fallback=some.lists(some.sampled_from(("timeout", "post_only")), unique=True).map(tuple),
    is_sized_by_runtime=some.booleans(),
    reason=texts,
)
events = some.one_of(
    some.builds(OrderPlaced, orders),
    some.builds(OrderFilled, ids, symbols, sides, quantities, prices, amounts, amounts),
    some.builds(OrderEnded, ids, some.sampled_from(("cancelled", "expired", "rejected")), texts),
    some.builds(FundingPaid, symbols, amounts),
    some.builds(CashMoved, amounts, texts),
    some.builds(BaseFeePaid, symbols, quantities, amounts),
    some.builds(CoinsSpent, symbols, quantities, amounts),
    some.builds(SlotDecided, some.integers(0, 10**13), some.dictionaries(texts, plain, max_size=3)),
)


def through_json(event: Event, **facts: Any) -> Event:
    return event_from_json(json.loads(canonical_json({**event_to_json(event), **facts})))


@given(events)
def test_an_event_comes_back_as_it_was_whatever_facts_stand_beside_it(event: Event) -> None:
    back = through_json(event, number=7, trade_id="1", fees=[["BNB", "0.1"]], time_ms=5)
    assert type(back) is type(event)
    assert canonical_json(event_to_json(back)) == canonical_json(event_to_json(event))


@given(some.lists(events, max_size=20))
def test_an_account_that_is_told_by_its_journal_is_the_account_itself(course: list[Event]) -> None:
    live, told = State(10**12), State(10**12)
    for event in course:
        try:
            live = apply(live, event)
        except StrategyError:
            with pytest.raises(StrategyError):
                apply(told, through_json(event))
            continue
        told = apply(told, through_json(event))
    assert canonical_json(told.to_json()) == canonical_json(live.to_json())


@given(orders)
def test_an_order_comes_back_as_it_was(order: Order) -> None:
    back = order_from_json(json.loads(canonical_json(order.to_json())))
    assert back.to_json() == order.to_json()
    assert type(back.fallback) is tuple


@given(events, some.data())
def test_an_event_that_lacks_something_is_refused(event: Event, data: some.DataObject) -> None:
    content = event_to_json(event)
    del content[data.draw(some.sampled_from(sorted(content)))]
    with pytest.raises(StrategyError):
        event_from_json(content)


@pytest.mark.parametrize(
    "content", [{}, {"event": None}, {"event": "quarantine"}, {"event": "order_placed", "order": {}}]
)
def test_what_is_no_event_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(StrategyError):
        event_from_json(content)
