"""The decision for one slot from its declared bars alone is the backtest's; its inputs survive JSON to the byte."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from market_samples import BTC, ETH, PERP, make_account, make_instrument, make_market, random_bars

from trading_runtime.backtest.engine import run_general
from trading_runtime.backtest.trace import Decided
from trading_runtime.core.bars import Bars
from trading_runtime.core.columns import indicator, window
from trading_runtime.core.decision import Identity
from trading_runtime.core.errors import StrategyError
from trading_runtime.core.gates import Caps, Guards
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.intents import close, market, target
from trading_runtime.core.ledger import Position
from trading_runtime.core.money import quote_value
from trading_runtime.core.slot import (
    SlotInputs,
    bars_reference,
    decide_slot,
    decision_to_json,
    slot_inputs_from_json,
    whole_lots,
)
from trading_runtime.core.state import Order, SlotDecided, State, apply
from trading_runtime.core.strategy import Inputs, Permissions, Proposal, Strategy
from trading_runtime.core.timeframes import HOUR_MS
from trading_runtime.cycle.bars import window as cut_window

START = 1_704_067_200_000
OWNER = Identity("main", "Observes")


class Observes(Strategy):
    """Tells everything it is given, to the last bit, and asks for what the gates refuse: nothing ever fills."""

    average = indicator("sma", "close", length=5, universe=True)
    strength = indicator("rsi", "close", length=4)
    coarse = indicator("sma", "close", length=2, timeframe="4h")
    last = window("close", 6)

    def decide(self, inputs: Inputs) -> Proposal:
        count = inputs.state.get("count", 0)
        seen = [
            [value.hex() for value in inputs.average],
            inputs.strength.hex(),
            inputs.coarse.hex(),
            [float(value).hex() for value in inputs.last],
            inputs.price.hex(),
            [inputs.price_of(symbol).hex() for symbol in inputs.symbols],
            inputs.as_of,
            inputs.equity.hex(),
            inputs.cash.hex(),
            inputs.position.hex(),
            count,
        ]
        return Proposal(
            [market(inputs.symbol, "buy", quantity=0.0001, leg="small")],
            state={"count": count + 1, "nested": {"seen": [count, None, True]}},
            reasons=[json.dumps(seen)],
        )


def decided_live(bars: dict[str, Bars], slots: list[int]) -> list[tuple[int, list[str], list[dict[str, str]]]]:
    """Decide slot by slot from windows alone, everything through JSON in between."""
    strategy = Observes()
    count = strategy.bars_needed(HOUR_MS)
    instruments = {symbol: make_instrument(symbol) for symbol in bars}
    state = State(10**14)
    found = []
    for slot in slots:
        cut = cut_window(bars, count, slot)
        cut = {symbol: cut[symbol] for symbol in bars if symbol in cut}
        given = SlotInputs(
            slot,
            cut,
            state,
            {symbol: instruments[symbol] for symbol in cut},
            OWNER,
            Permissions(short=True),
            Caps(),
            Guards(),
        )
        back = slot_inputs_from_json(json.loads(canonical_json(given.to_json())), cut)
        assert canonical_json(back.to_json()) == canonical_json(given.to_json())
        decision = decide_slot(strategy, back)
        assert canonical_json(decision_to_json(decision)) == canonical_json(
            decision_to_json(decide_slot(strategy, given))
        )
        found.append((slot, list(decision.reasons), [refusal.to_json() for refusal in decision.refusals]))
        state = apply(state, SlotDecided(slot, json.loads(canonical_json(dict(decision.strategy_state)))))
    return found


@settings(max_examples=40)
@given(some.integers(0, 2**16), some.integers(0, 70), some.integers(0, 5))
def test_a_slot_is_decided_as_the_backtest_decides_it(seed: int, younger_by: int, offset: int) -> None:
    """Windows, NaN at the start of a younger symbol, coarser timeframes: every value to the last bit."""
    start = START + offset * HOUR_MS
    bars = {
        BTC: random_bars(seed, 100, start_ms=start),
        ETH: random_bars(seed + 1, 100 - younger_by, symbol=ETH, start_ms=start + younger_by * HOUR_MS),
    }
    trace = run_general(make_market(*bars.values()), Observes(), make_account())
    expected = [
        (entry.slot, list(entry.reasons), [refusal.to_json() for refusal in entry.refusals])
        for entry in trace.entries
        if isinstance(entry, Decided)
    ]
    assert len(expected) > 20, f"seed {seed}"
    # Before a symbol has any bar a cycle decides nothing.
    later = [entry for entry in expected if entry[0] > start + younger_by * HOUR_MS]
    found = decided_live(bars, [slot for slot, _, _ in later])
    skipped = len(expected) - len(later)
    for theirs, ours in zip(later, found, strict=True):
        assert (ours[0], ours[2]) == (theirs[0], theirs[2])
        mine, other = json.loads(ours[1][0]), json.loads(theirs[1][0])
        assert mine[:-1] == other[:-1], f"seed {seed}"
        assert mine[-1] + skipped == other[-1]


def simple(state: State, **changes: object) -> SlotInputs:
    bars = random_bars(3, 40)
    given = SlotInputs(
        START + 40 * HOUR_MS,
        {BTC: bars},
        state,
        {BTC: make_instrument(BTC)},
        OWNER,
        Permissions(),
        Caps(10**10, None, 2.0),
        Guards(),
    )
    return given._replace(**changes)


guards = some.builds(
    Guards,
    armed=some.booleans(),
    control_allows_risk=some.booleans(),
    breakers_allow_risk=some.booleans(),
    distrusted_symbols=some.frozensets(some.sampled_from((BTC, ETH))),
    frozen_symbols=some.frozensets(some.sampled_from((BTC, ETH))),
    details=some.dictionaries(some.text(max_size=5), some.text(max_size=9), max_size=3),
)


@given(guards, some.integers(0, 10**9), some.none() | some.dictionaries(some.text(max_size=3), some.integers(-9, 9)))
def test_inputs_come_back_as_they_were_whatever_the_guards_say(guards: Guards, flatten: int, artifact: object) -> None:
    order = Order("tr-1", BTC, "limit", 1, 5_000_000, slot=START, leg="bid", price=10.0, fallback=("timeout",))
    state = State(10**12, orders={"tr-1": order}, strategy_state={"deep": [1, {"two": 0.1}]})
    given = simple(state, guards=guards, flatten=flatten, artifact=artifact)
    content = json.loads(canonical_json(given.to_json()))
    back = slot_inputs_from_json(content, given.bars)
    assert back.guards == given.guards
    assert canonical_json(back.to_json()) == canonical_json(given.to_json())
    assert canonical_json(decision_to_json(decide_slot(Observes(), back))) == canonical_json(
        decision_to_json(decide_slot(Observes(), given))
    )


def test_other_bars_than_the_recorded_ones_are_refused() -> None:
    given = simple(State(10**12))
    content = json.loads(canonical_json(given.to_json()))
    for other in ({}, {BTC: random_bars(4, 40)}, {BTC: given.bars[BTC].slice(1, 40)}):
        with pytest.raises(StrategyError, match="are not the recorded ones"):
            slot_inputs_from_json(content, other)
    assert bars_reference(given.bars[BTC])["count"] == 40


@pytest.mark.parametrize(("attempt", "leg"), [(1, "flatten"), (17, "f17"), (987_654_321, "f987654321")])
def test_flatten_cancels_and_closes_everything_and_its_ids_are_those_of_its_number(attempt: int, leg: str) -> None:
    order = Order("tr-1", BTC, "limit", 1, 5_000_000, slot=START, leg="bid", price=10.0)
    state = State(10**12, positions={BTC: Position(BTC, 123_456_789, 10**9)}, orders={"tr-1": order})
    decision = decide_slot(Observes(), simple(state, flatten=attempt))
    assert [one.order_id for one in decision.cancels] == ["tr-1"]
    assert [(one.leg, one.side, one.quantity) for one in decision.orders] == [(leg, -1, 123_400_000)]
    assert decision.orders[0].reduce_only
    assert dict(decision.strategy_state) == {}


def test_flatten_passes_every_guard_but_where_nobody_knows_what_is_held() -> None:
    state = State(10**12, positions={BTC: Position(BTC, 10**8, 10**9)})
    closed = Guards(control_allows_risk=False, risk_state_allows_risk=False, breakers_allow_risk=False)
    closed = closed._replace(distrusted_symbols=frozenset({BTC}))
    assert len(decide_slot(Observes(), simple(state, flatten=1, guards=closed)).orders) == 1
    frozen = closed._replace(frozen_symbols=frozenset({BTC}))
    assert decide_slot(Observes(), simple(state, flatten=1, guards=frozen)).orders == ()


@given(some.integers(-(10**12), 10**12))
def test_whole_lots_never_exceed_what_is_held(quantity: int) -> None:
    instrument = make_instrument(PERP)
    lot = instrument.rules_at(START).lot
    whole = whole_lots(quantity, instrument, START)
    assert whole % lot == 0
    assert abs(whole) <= abs(quantity) < abs(whole) + lot
    assert whole * quantity >= 0


def test_dust_is_no_position_for_a_strategy_but_counts_in_equity() -> None:
    state = State(10**12, positions={BTC: Position(BTC, 99_999, 10**6)})
    given = simple(state)
    seen = json.loads(decide_slot(Observes(), given).reasons[0])
    assert float.fromhex(seen[9]) == 0.0
    assert given.equity() > state.cash
    assert Decimal(given.equity()) * Decimal("1e-8") == pytest.approx(Decimal(float.fromhex(seen[7])))


def test_an_error_of_a_strategy_names_its_line() -> None:
    class Fails(Strategy):
        def decide(self, inputs: Inputs) -> Proposal | None:
            return Proposal([1 / 0])

    with pytest.raises(StrategyError, match=r"Fails.decide raised ZeroDivisionError: .* \(test_slot.py:\d+\) at 2024-"):
        decide_slot(Fails(), simple(State(10**12)))


class Looks(Strategy):
    """Tells what it sees of what is held, wants a tenth of equity in the first symbol, and all of it away."""

    def decide(self, inputs: Inputs) -> Proposal:
        told = {
            symbol: [price, inputs.price_of(symbol), inputs.position_of(symbol), inputs.profit_of(symbol)]
            for symbol, price in inputs.suspended.items()
        }
        facts = {"suspended": told, "symbols": list(inputs.symbols), "equity": inputs.equity}
        gone = [close(symbol, leg="out") for symbol in inputs.suspended]
        return Proposal([*gone, target(inputs.symbol, 0.1, leg="in")], facts=facts)


@pytest.mark.parametrize("symbol", [ETH, "ETH/USDT:USDT"])
@given(
    price=some.floats(0.01, 1e5),
    cost=some.integers(1, 10**12),
    units=some.integers(-(10**9), 10**9).filter(bool),
)
def test_a_suspended_holding_is_counted_at_its_last_price_and_nothing_is_sized_by_it(
    symbol: str, price: float, cost: int, units: int
) -> None:
    is_spot = symbol == ETH
    units = abs(units) if is_spot else units
    cost = cost if units > 0 else -cost
    cash = 10**13
    held = make_instrument(symbol)
    account = State(cash, positions={symbol: Position(symbol, units, cost)})
    instruments = {BTC: make_instrument(BTC, taker_fee_rate=0.001), symbol: held}
    given_ = simple(account)._replace(suspended={symbol: price}, instruments=instruments, caps=Caps())
    back = slot_inputs_from_json(json.loads(canonical_json(given_.to_json())), given_.bars)
    assert canonical_json(back.to_json()) == canonical_json(given_.to_json())
    value = quote_value(price, units, held.value_per_unit)
    assert back.equity() == cash + value
    certain = cash + min(value, 0 if is_spot else cost)
    decision = decide_slot(Looks(), back)
    assert canonical_json(decision_to_json(decision)) == canonical_json(decision_to_json(decide_slot(Looks(), given_)))
    assert decision.facts["symbols"] == [BTC]
    assert decision.facts["suspended"][symbol][:3] == [
        price,
        price,
        held.quantity_float(units // 100_000 * 100_000)
        if units > 0
        else -held.quantity_float(-units // 100_000 * 100_000),
    ]
    assert decision.facts["equity"] == certain * float(held.quote_unit)
    assert [(one.symbol, one.gate, one.detail) for one in decision.refusals if one.symbol == symbol] == [
        (symbol, "symbol", "its market does not trade")
    ]
    if certain > 10**12:
        assert [order.symbol for order in decision.orders] == [BTC], "cash buys it whatever is suspended"
    for order in decision.orders:
        spent = quote_value(back.marks()[BTC], order.quantity, instruments[BTC].value_per_unit)
        assert spent <= 0.1 * max(certain, 0) + 1
    flat = decide_slot(Looks(), back._replace(flatten=1))
    assert not flat.orders
    assert [one.detail for one in flat.refusals] == ["its market does not trade"]
