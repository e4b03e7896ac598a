"""From a proposal to a decision: sizes, placement, replacement, parents, refusals, contradictions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as generate
from market_samples import BTC, COIN, ETH, MONEY, PERP, make_book, make_instrument

from trading_runtime.core.decision import Cancel, Decision, Identity, decide, resolve
from trading_runtime.core.errors import StrategyError, TradingRuntimeError
from trading_runtime.core.intents import Intent, cancel, close, limit, market, stop, take_profit, target
from trading_runtime.core.ledger import Position
from trading_runtime.core.money import fee_amount, quote_value
from trading_runtime.core.orders import parse_client_order_id
from trading_runtime.core.state import Order, State, state_from_json
from trading_runtime.core.strategy import Inputs, Permissions, Proposal, Strategy

SLOT = 1_704_067_200_000
ME = Identity("test", "Test")
SHORT = Permissions(short=True)


def state(cash: float = 1000.0, orders: tuple[Order, ...] = (), **coins: float) -> State:
    """A state that holds ``btc``, ``eth`` and ``perp`` coins, bought at 100."""
    names = {"btc": BTC, "eth": ETH, "perp": PERP}
    positions = {
        names[name]: Position(names[name], round(held * COIN), round(held * 100 * MONEY))
        for name, held in coins.items()
    }
    return State(round(cash * MONEY), positions=positions, orders={each.order_id: each for each in orders})


def resting(leg: str, kind: str = "limit", side: int = 1, coins: float = 1.0, **options: Any) -> Order:
    price = options.pop("price", 90.0)
    return Order(f"id-{leg}", BTC, kind, side, round(coins * COIN), slot=1000, leg=leg, price=price, **options)


def decided(proposal: Any, account: State | None = None, **options: Any) -> Decision:
    """The decision of a proposal, or of one intent or a list of them, at prices of 100 and a fee of 0.1 %."""
    if isinstance(proposal, Intent):
        proposal = [proposal]
    if isinstance(proposal, list):
        proposal = Proposal(proposal)
    account = account or state()
    rules = options.pop("rules", {"taker_fee_rate": 0.001})
    instruments = [make_instrument(symbol, **rules) for symbol in (BTC, ETH, PERP)]
    return resolve(proposal, account, make_book(account, *instruments, **options), SLOT, ME)


def sized(intent: Intent, account: State | None = None, **options: Any) -> float | str:
    """Signed coins of the order an intent leads to, the gate that refused it, or 0.0 for nothing to do."""
    decision = decided(intent, account, **options)
    if decision.refusals:
        return decision.refusals[0].gate
    return sum(order.side * order.quantity for order in decision.orders) / COIN


# --- sizing -------------------------------------------------------------------------------------------------

SIZES: list[tuple[str, Intent, dict[str, float], float | str]] = [
    ("a quantity", market(BTC, "buy", quantity=1.5), {}, 1.5),
    ("a quantity is rounded down to the lot", market(BTC, "buy", quantity=1.2349), {}, 1.234),
    ("a quantity of exact lots stays", market(BTC, "buy", quantity=0.3), {}, 0.3),
    ("a quantity below a lot", market(BTC, "buy", quantity=0.0009), {}, "filters"),
    ("notional at the mark", market(BTC, "buy", notional=250.0), {}, 2.5),
    ("notional is rounded down to the lot", market(BTC, "buy", notional=250.09), {}, 2.5),
    ("notional at a limit's price", limit(BTC, "buy", 80.0, notional=400.0), {}, 5.0),
    ("notional at a stop's trigger", stop(BTC, "buy", 125.0, notional=250.0, reduce_only=False), {}, 2.0),
    ("notional is cut to free cash and fee", market(BTC, "buy", notional=5000.0), {}, 9.99),
    ("notional of a sell", market(BTC, "sell", notional=100.0), {"btc": 2.0}, -1.0),
    ("a target from flat", target(BTC, 0.5), {}, 5.0),
    ("a target of everything leaves the fee", target(BTC, 1.0), {}, 9.99),
    ("a target counts what is held", target(BTC, 0.5), {"btc": 2.0}, 4.0),
    ("a target below what is held sells", target(BTC, 0.1), {"btc": 2.5}, -1.25 - 0.0),
    ("a target that is held", target(BTC, 0.5), {"btc": 10.0}, 0.0),
    ("a target of nothing", target(BTC, 0.0), {"btc": 2.5}, -2.5),
    ("a target of nothing when flat", target(BTC, 0.0), {}, 0.0),
    ("a short target", target(PERP, -0.5), {}, -5.0),
    ("a target across zero", target(PERP, -0.5), {"perp": 5.0}, -12.5),
    ("a short target on spot", target(BTC, -0.5), {}, "permissions"),
    ("closing all", close(BTC), {"btc": 2.5}, -2.5),
    ("closing a part", close(BTC, 0.5), {"btc": 2.5}, -1.25),
    ("closing a part is rounded down to the lot", close(BTC, 0.5), {"btc": 0.003}, -0.001),
    ("closing a short", close(PERP), {"perp": -2.5}, 2.5),
    ("closing nothing", close(BTC), {}, "sizing"),
    (
        "a reducing quantity is cut to what is held",
        market(BTC, "sell", quantity=9.0, reduce_only=True),
        {"btc": 2.0},
        -2.0,
    ),
    (
        "a reducing order without a position",
        market(BTC, "sell", quantity=1.0, reduce_only=True),
        {},
        "sizing",
    ),
    (
        "a reducing order that would add",
        market(BTC, "buy", quantity=1.0, reduce_only=True),
        {"btc": 2.0},
        "sizing",
    ),
    ("a quantity beyond all integers", market(BTC, "buy", quantity=1e300), {}, "filters"),
    ("a limit without a price", Intent(BTC, "limit", "buy", leg="a", quantity=1.0), {}, "router"),
    ("no sizing at all", Intent(BTC, "market", "buy", leg="a"), {}, "sizing"),
    ("an unknown symbol", market("XRP/USDT", "buy", quantity=1.0), {}, "symbol"),
]


@pytest.mark.parametrize(("intent", "held", "expected"), [row[1:] for row in SIZES], ids=[row[0] for row in SIZES])
def test_sizes(intent: Intent, held: dict[str, float], expected: float | str) -> None:
    """Each way to size an intent, at a mark of 100 and 1000 of cash."""
    assert expected == sized(intent, state(**held), permissions=SHORT)


def test_a_symbol_without_a_price_is_refused_for_its_data() -> None:
    """No mark, no size."""
    assert sized(market(BTC, "buy", quantity=1.0), marks={ETH: 100.0}) == "data_quality"


@given(
    weight=generate.floats(0.0, 3.0),
    cash=generate.integers(0, 10**15),
    mark=generate.floats(0.01, 1e6),
    lot=generate.sampled_from(["0.00000001", "0.001", "1"]),
    rate=generate.sampled_from([0.0, 0.001, 0.0075]),
)
def test_what_the_runtime_sizes_is_never_refused_for_cash(
    weight: float, cash: int, mark: float, lot: str, rate: float
) -> None:
    """A spot target of any weight is cut to what free cash pays for, fee included, in whole lots."""
    rules = {"tick": "0.00000001", "lot": lot, "taker_fee_rate": rate}
    decision = decided(target(BTC, weight), State(cash), rules=rules, marks={BTC: mark})

    assert [refusal for refusal in decision.refusals if refusal.gate != "filters"] == []
    for order in decision.orders:
        value = quote_value(mark, order.quantity, 1.0)
        assert value + fee_amount(value, rate) <= cash
        assert order.quantity % (float(lot) * COIN) == 0


@given(lots=generate.integers(1, 1000), cents=generate.integers(1, 10**6))
def test_money_for_a_whole_number_of_lots_buys_that_many(lots: int, cents: int) -> None:
    """Three coins at 0.70 for 2.10: money for exactly some lots is not rounded to one lot less."""
    price = cents / 100
    rules = {"lot": "1", "taker_fee_rate": 0.0}
    wanted = market(BTC, "buy", notional=lots * cents / 100)

    assert lots == sized(wanted, state(2.0 * lots * price + 10.0), rules=rules, marks={BTC: price}), (
        f"{lots} coins at {price}"
    )


def test_a_small_order_of_a_cheap_coin_is_sized_in_a_rich_account() -> None:
    """What all the cash could buy may be beyond any integer; what is asked for is not."""
    asked = market(BTC, "buy", notional=10.0)

    assert sized(asked, state(1e6), rules={"tick": "0.0000001"}, marks={BTC: 1e-5}) == 1_000_000.0


# --- prices -------------------------------------------------------------------------------------------------

GRID = [
    ("a buy limit never offers more", limit(BTC, "buy", 90.017, quantity=1.0), 90.01),
    ("a sell limit never asks less", limit(BTC, "sell", 110.013, quantity=1.0), 110.02),
    ("a sell stop acts later", stop(BTC, "sell", 90.017, quantity=1.0), 90.01),
    ("a buy stop acts later", stop(BTC, "buy", 110.013, quantity=1.0, reduce_only=False), 110.02),
    ("a sell take-profit acts later", take_profit(BTC, "sell", 110.013, quantity=1.0), 110.02),
    ("a buy take-profit acts later", take_profit(PERP, "buy", 90.017, quantity=1.0), 90.01),
    ("a price on the grid stays", limit(BTC, "buy", 90.29, quantity=1.0), 90.29),
]


@pytest.mark.parametrize(("intent", "expected"), [row[1:] for row in GRID], ids=[row[0] for row in GRID])
def test_prices_are_rounded_to_the_cautious_tick(intent: Intent, expected: float) -> None:
    """A limit never offers more than asked, a trigger never acts earlier."""
    (order,) = decided(intent, state(btc=5.0, perp=-5.0)).orders

    assert expected == order.price


def test_a_limit_below_the_first_tick_is_refused() -> None:
    """A price that rounds down to zero is no price."""
    assert sized(limit(BTC, "buy", 0.004, quantity=1.0)) == "router"


# --- placement ----------------------------------------------------------------------------------------------


def test_reductions_come_first_then_new_risk_then_children() -> None:
    """Within each group the strategy's own order holds."""
    intents = [
        stop(BTC, "sell", 90.0, leg="child", parent="more"),
        market(BTC, "buy", quantity=1.0, leg="more"),
        target(ETH, 0.05, leg="less"),
        close(PERP, leg="out"),
        limit(BTC, "buy", 95.0, quantity=1.0, leg="bid"),
    ]

    decision = decided(intents, state(eth=2.0, perp=1.0))

    assert [order.leg for order in decision.orders] == ["less", "out", "more", "bid", "child"]
    assert decision.intents == tuple(intents)


def test_an_order_carries_what_its_intent_said() -> None:
    """Every field of an intent that an exchange must know reaches the order."""
    intent = limit(
        BTC, "buy", 90.0, quantity=1.0, time_in_force="ioc", bars_max=3, post_only=True,
        fallback=("timeout",), leg="bid", reason="cheap",
    )  # fmt: skip

    (order,) = decided(intent).orders

    assert (order.kind, order.side, order.quantity, order.price, order.slot) == ("limit", 1, COIN, 90.0, SLOT)
    assert (
        order.time_in_force, order.bars_max, order.post_only, order.fallback,
    ) == ("ioc", 3, True, ("timeout",))  # fmt: skip
    assert (order.leg, order.reason, order.reduce_only, order.parent) == ("bid", "cheap", False, None)


def test_the_order_id_says_slot_and_leg() -> None:
    """The id of an order is that of its account, strategy, symbol, slot and leg, and can be read back."""
    (order,) = decided(market(BTC, "buy", quantity=1.0, leg="bid")).orders
    parts = parse_client_order_id(order.order_id)

    assert parts is not None
    assert (parts.slot, parts.leg) == (SLOT, "bid")


def test_only_what_the_runtime_sized_is_marked_so() -> None:
    """Notional and targets are sized by the runtime, quantities and fractions by the strategy."""
    intents = [
        target(BTC, 0.1),
        market(ETH, "buy", notional=10.0),
        market(BTC, "buy", quantity=0.1, leg="b"),
        close(PERP),
    ]

    marked = {order.leg: order.is_sized_by_runtime for order in decided(intents, state(perp=1.0)).orders}

    assert marked == {"target": True, "entry": True, "b": False, "close": False}


def test_a_target_that_shrinks_a_position_only_reduces() -> None:
    """Whatever else fills first, an order that was meant to shrink a position cannot turn it round."""
    (order,) = decided(target(PERP, 0.0), state(perp=1.0)).orders

    assert order.reduce_only


# --- replacement and cancels --------------------------------------------------------------------------------


def test_a_target_replaces_the_open_order_of_its_leg() -> None:
    """The old order is cancelled first and its leg and money are free again."""
    account = state(orders=(resting("target", "market", coins=9.0, price=None),))

    decision = decided(target(BTC, 0.9), account)

    assert decision.cancels == (Cancel("id-target", "replaced"),)
    assert [order.quantity / COIN for order in decision.orders] == [9.0]


def test_a_cancel_ends_the_order_of_its_leg_and_symbol_only() -> None:
    """Other legs, and the same leg of another symbol, stay."""
    account = state(orders=(resting("a"), resting("b")))

    assert decided(cancel(BTC, "a", reason="why")).cancels == ()
    assert decided(cancel(BTC, "a", reason="why"), account).cancels == (Cancel("id-a", "why"),)
    assert decided(cancel(ETH, "a"), account).cancels == ()


def test_a_cancel_frees_leg_and_money_for_a_new_order() -> None:
    """Cancel and replace in one decision."""
    account = state(orders=(resting("a", coins=11.0),))
    again = limit(BTC, "buy", 95.0, quantity=10.0, leg="a")

    assert [each.gate for each in decided(again, account).refusals] == ["cash"]
    assert [order.quantity for order in decided([again, cancel(BTC, "a")], account).orders] == [10 * COIN]


@pytest.mark.parametrize(
    "intents",
    [[cancel(BTC, "a"), cancel(BTC, "a")], [cancel(BTC, "a"), target(BTC, 0.0, leg="a")]],
    ids=["two cancels", "a cancel and a target"],
)
def test_an_order_is_cancelled_once_and_frees_its_money_once(intents: list[Intent]) -> None:
    """Saying it twice cancels one order once, and does not make money."""
    account = state(orders=(resting("a", coins=10.0),))  # needs 900.9 of 1000
    more = limit(BTC, "buy", 100.0, quantity=12.0, leg="more")

    decision = decided([*intents, more], account)

    assert [cancelled.order_id for cancelled in decision.cancels] == ["id-a"]
    assert [each.gate for each in decision.refusals] == ["cash"]


# --- parents ------------------------------------------------------------------------------------------------


def test_children_take_quantity_and_opposite_side_of_their_parent() -> None:
    """A bracket needs neither quantity nor side."""
    intents = [
        market(BTC, "buy", quantity=1.5),
        Intent(BTC, "stop", None, leg="stop", price=90.0, parent="entry", reduce_only=True),
        take_profit(BTC, "sell", 110.0, parent="entry"),
    ]

    decision = decided(intents)
    entry = decision.orders[0]

    assert [(each.side, each.quantity / COIN) for each in decision.orders] == [(1, 1.5), (-1, 1.5), (-1, 1.5)]
    assert [None, entry.order_id, entry.order_id] == [each.parent for each in decision.orders]


def test_a_child_may_have_its_own_quantity() -> None:
    """Half at the first profit, half at the second."""
    children = [
        take_profit(BTC, "sell", price, quantity=0.5, parent="entry", leg=leg)
        for price, leg in ((105.0, "a"), (110.0, "b"))
    ]

    decision = decided([market(BTC, "buy", quantity=1.0), *children])

    assert [each.quantity / COIN for each in decision.orders] == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("price", [None, 95.0], ids=["market", "limit"])
def test_a_childs_fraction_is_one_of_its_parent(price: float | None) -> None:
    """Closing half of what the parent buys is not refused because nothing is held yet."""
    entry = Intent(BTC, "market" if price is None else "limit", "buy", leg="entry", quantity=1.0, price=price)
    child = take_profit(BTC, "sell", 105.0, close_fraction=0.5, parent="entry")

    decision = decided([entry, child])

    assert [each.quantity / COIN for each in decision.orders] == [1.0, 0.5]


@pytest.mark.parametrize("parent", ["entry", "nobody"])
def test_a_child_of_a_refused_or_unknown_parent_is_refused(parent: str) -> None:
    """No parent, no child."""
    entry = market(BTC, "buy", quantity=100.0)  # more than the cash
    child = stop(BTC, "sell", 90.0, parent=parent)

    decision = decided([entry, child])

    assert [(each.gate, each.leg) for each in decision.refusals] == [("cash", "entry"), ("sizing", "stop")]
    assert decision.orders == ()


# --- state, reasons, nothing --------------------------------------------------------------------------------


def test_the_state_is_the_proposals_or_the_present_one() -> None:
    """None keeps the state; an empty one empties it."""
    account = State(0, strategy_state={"a": 1})

    assert decided(Proposal(), account).strategy_state == {"a": 1}
    assert decided(Proposal(state={}), account).strategy_state == {}
    assert decided(Proposal(reasons=["x", "y"]), account).reasons == ("x", "y")


def test_a_strategy_that_proposes_nothing_decides_nothing() -> None:
    """None stays None."""

    class Silent(Strategy):
        def decide(self, inputs: Inputs) -> Proposal | None:
            return None

    assert decide(Silent(), Inputs(), state(), make_book(state()), SLOT, ME) is None


def test_the_same_proposal_gives_the_same_decision() -> None:
    """Orders, ids and refusals are a function of the arguments."""

    def once() -> list[Any]:
        intents = [
            market(BTC, "buy", quantity=1.0),
            stop(BTC, "sell", 90.0, parent="entry"),
            target(ETH, 9.0),
        ]
        decision = decided(intents)
        return [each.to_json() for each in (*decision.orders, *decision.refusals)]

    assert once() == once()


def test_orders_of_a_decision_survive_json() -> None:
    """A state document holds all there is to an order, also when a strategy computed with numpy."""
    intents = [
        market(BTC, "buy", quantity=np.float64(1.5)),
        stop(BTC, "sell", np.float64(90.0), parent="entry", bars_max=3),
    ]
    orders = {order.order_id: order for order in decided(intents).orders}
    content = State(0, orders=orders).to_json()

    assert content == state_from_json(json.loads(json.dumps(content))).to_json()


# --- contradictions -----------------------------------------------------------------------------------------

NAN = float("nan")

BROKEN: list[tuple[str, Any]] = [
    ("something else than a proposal", "buy"),
    ("a bare intent instead of a proposal", object()),
    ("one intent instead of several", Proposal(market(BTC, "buy", quantity=1.0))),
    ("None among the intents", Proposal([None])),
    ("a text among the intents", Proposal(["buy"])),
    ("intents that are nothing", Proposal(None)),
    ("two sizes", market(BTC, "buy", quantity=1.0, notional=100.0)),
    ("a quantity without a side", Intent(BTC, "market", None, leg="a", quantity=1.0)),
    ("a side that is none", Intent(BTC, "market", "long", leg="a", quantity=1.0)),
    ("a quantity of zero", market(BTC, "buy", quantity=0.0)),
    ("a negative quantity", market(BTC, "buy", quantity=-1.0)),
    ("a quantity that is no number", market(BTC, "buy", quantity=NAN)),
    ("an endless quantity", market(BTC, "buy", quantity=math.inf)),
    ("a quantity in a text", market(BTC, "buy", quantity="1")),
    ("a notional that is no number", market(BTC, "buy", notional=NAN)),
    ("a notional in a text", market(BTC, "buy", notional="100")),
    ("a weight that is no number", target(BTC, NAN)),
    ("an endless weight", target(BTC, math.inf)),
    ("a weight beyond all integers", target(BTC, 1e300)),
    ("a weight in a text", target(BTC, "0.5")),
    ("more than all of a position", close(BTC, 1.5)),
    ("none of a position", close(BTC, 0.0)),
    ("a limit that is no number", limit(BTC, "buy", NAN, quantity=1.0)),
    ("an endless limit", limit(BTC, "buy", math.inf, quantity=1.0)),
    ("the largest float as limit", limit(BTC, "buy", 1.7e308, quantity=1.0)),
    ("a limit in a text", limit(BTC, "buy", "90", quantity=1.0)),
    ("a market order with a price", Intent(BTC, "market", "buy", leg="a", quantity=20.0, price=0.01)),
    ("a kind that does not exist", Intent(BTC, "trailing", "buy", leg="a", quantity=1.0, price=90.0)),
    (
        "a time in force that does not exist",
        Intent(BTC, "market", "buy", leg="a", quantity=1.0, time_in_force="day"),
    ),
    ("a fallback that does not exist", limit(BTC, "buy", 90.0, quantity=1.0, fallback=("timout",))),
    ("a fallback that is a text", limit(BTC, "buy", 90.0, quantity=1.0, fallback="timeout")),
    ("no bars at all", limit(BTC, "buy", 90.0, quantity=1.0, bars_max=0)),
    ("half a bar", limit(BTC, "buy", 90.0, quantity=1.0, bars_max=1.5)),
    ("a leg with other characters", market(BTC, "buy", quantity=1.0, leg="Entry")),
    ("a leg that is too long", market(BTC, "buy", quantity=1.0, leg="a" * 11)),
    ("an empty leg", market(BTC, "buy", quantity=1.0, leg="")),
    ("a leg that is no text", market(BTC, "buy", quantity=1.0, leg=1)),
    ("a symbol that is no text", market([BTC], "buy", quantity=1.0)),
    ("a side for a target", Intent(BTC, "market", "sell", leg="a", target_weight=0.5)),
    ("a side that would not close", Intent(BTC, "market", "buy", leg="a", close_fraction=1.0)),
    ("a post-only market order", Intent(BTC, "market", "buy", leg="a", quantity=1.0, post_only=True)),
    ("reasons in one text", Proposal(reasons="breakout")),
    ("a state that is no mapping", Proposal(state=[1])),
]


@pytest.mark.parametrize("proposal", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_contradiction_is_told_in_one_line(proposal: Any) -> None:
    """What a strategy may not return ends in an error of our own, never in a traceback."""
    with pytest.raises(TradingRuntimeError):
        decided(proposal, state(btc=1.0))


def test_an_error_names_symbol_and_leg() -> None:
    """The message says which intent it was."""
    with pytest.raises(StrategyError, match=f"{BTC} bid: quantity must be a positive number, not -1"):
        decided(market(BTC, "buy", quantity=-1.0, leg="bid"))


WILD = generate.one_of(generate.none(), generate.floats(), generate.integers(), generate.sampled_from(["1", ""]))


@given(
    generate.fixed_dictionaries(
        {"leg": generate.sampled_from(["a", "b", "A", ""])},
        optional={
            "quantity": WILD,
            "notional": WILD,
            "close_fraction": WILD,
            "target_weight": WILD,
            "price": WILD,
            "reduce_only": generate.booleans(),
            "parent": generate.sampled_from([None, "a", "x"]),
            "bars_max": generate.none() | generate.integers(),
            "post_only": generate.booleans(),
        },
    ),
    generate.sampled_from(["market", "limit", "stop", "take_profit", "cancel", "other"]),
    generate.sampled_from(["buy", "sell", None, "x"]),
)
def test_no_intent_at_all_ends_in_a_traceback(fields: dict[str, Any], kind: Any, side: Any) -> None:
    """Any values whatever give orders, refusals or an error of our own."""
    try:
        decision = decided(
            [market(ETH, "buy", quantity=1.0, leg="a"), Intent(BTC, kind, side, **fields)], state(btc=1.0)
        )
    except TradingRuntimeError:
        return

    assert all(order.quantity > 0 and order.side in (1, -1) for order in decision.orders)
