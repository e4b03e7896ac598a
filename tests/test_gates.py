"""The gates: what each blocks, in which order, counted together, and that a halt never blocks a close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from market_samples import BTC, COIN, ETH, MONEY, PERP, make_book, make_instrument

from trading_runtime.core.decision import Decision, Identity, resolve
from trading_runtime.core.gates import CATEGORY, GATES, Book, Caps, Guards, refusal_by_gates
from trading_runtime.core.intents import Intent, close, limit, market, stop
from trading_runtime.core.ledger import Position
from trading_runtime.core.state import Order, State
from trading_runtime.core.strategy import Permissions, Proposal

SLOT = 1_704_067_200_000
ME = Identity("test", "Test")
SPOT_RULES = {"quantity_minimum": "0.002", "quantity_maximum": "50", "notional_minimum": "5"}
CHAIN = [
    "armed", "mode", "control", "lease", "risk_state", "symbol", "filters", "caps",
    "breakers", "cash", "duplicates", "permissions", "data_quality", "router",
]  # fmt: skip


def order(symbol: str = BTC, kind: str = "market", side: int = 1, coins: float = 1.0, **options: Any) -> Order:
    leg = options.pop("leg", "entry")
    return Order(f"id-{symbol}-{leg}", symbol, kind, side, round(coins * COIN), slot=SLOT, leg=leg, **options)


def state(cash: float = 1000.0, orders: tuple[Order, ...] = (), **coins: float) -> State:
    """A state that holds ``btc``, ``eth`` and ``perp`` coins, bought at 100."""
    names = {"btc": BTC, "eth": ETH, "perp": PERP}
    positions = {
        names[name]: Position(names[name], round(held * COIN), round(held * 100 * MONEY))
        for name, held in coins.items()
    }
    return State(round(cash * MONEY), positions=positions, orders={each.order_id: each for each in orders})


def book(account: State | None = None, **options: Any) -> Book:
    instruments = [
        make_instrument(BTC, **SPOT_RULES),
        make_instrument(ETH),
        make_instrument(PERP, **SPOT_RULES),
    ]
    return make_book(account or state(), *instruments, **options)


def gate_of(wanted: Order, at: Book) -> str | None:
    refusal = refusal_by_gates(wanted, at)
    return None if refusal is None else refusal.gate


def decide(intents: list[Intent], account: State, **options: Any) -> Decision:
    return resolve(Proposal(intents), account, book(account, **options), SLOT, ME)


def outcome(decision: Decision) -> list[str]:
    """Accepted legs, and refused ones as gate:leg."""
    return [each.leg for each in decision.orders] + [f"{each.gate}:{each.leg}" for each in decision.refusals]


# --- each gate ----------------------------------------------------------------------------------------------

NEW_RISK: list[tuple[str, str | None, Callable[[], tuple[Order, Book]]]] = [
    ("an order within every limit passes", None, lambda: (order(), book())),
    ("not armed", "armed", lambda: (order(), book(guards=Guards(armed=False)))),
    ("a mode that sends nothing", "mode", lambda: (order(), book(guards=Guards(mode_allows_orders=False)))),
    ("halted", "control", lambda: (order(), book(guards=Guards(control_allows_risk=False)))),
    ("lease lost", "lease", lambda: (order(), book(guards=Guards(lease_held=False)))),
    ("risk state", "risk_state", lambda: (order(), book(guards=Guards(risk_state_allows_risk=False)))),
    ("unknown symbol", "symbol", lambda: (order("XRP/USDT"), book())),
    ("no lots", "filters", lambda: (order(coins=0.0), book())),
    ("below the smallest quantity", "filters", lambda: (order(coins=0.001), book(marks={BTC: 1e6}))),
    ("above the largest quantity", "filters", lambda: (order(coins=50.001), book(state(1e6)))),
    ("at the largest quantity", None, lambda: (order(coins=50.0), book(state(1e6)))),
    ("below the smallest value", "filters", lambda: (order(coins=0.049), book())),
    ("at the smallest value", None, lambda: (order(coins=0.05), book())),
    (
        "a limit's value is its own price's",
        "filters",
        lambda: (order(kind="limit", price=90.0, coins=0.05), book()),
    ),
    ("above the order cap", "caps", lambda: (order(coins=1.001), book(caps=Caps(100 * MONEY)))),
    ("at the order cap", None, lambda: (order(coins=1.0), book(caps=Caps(100 * MONEY)))),
    (
        "above the symbol cap",
        "caps",
        lambda: (order(coins=1.001), book(state(btc=1.0), caps=Caps(None, 200 * MONEY))),
    ),
    (
        "at the symbol cap",
        None,
        lambda: (order(coins=1.0), book(state(btc=1.0), caps=Caps(None, 200 * MONEY))),
    ),
    ("above the leverage", "caps", lambda: (order(PERP, coins=10.001), book())),
    ("at the leverage", None, lambda: (order(PERP, coins=10.0), book())),
    (
        "leverage counts every position",
        "caps",
        lambda: (order(PERP, coins=9.0), book(state(800.0, eth=2.0))),
    ),
    ("leverage of an account without equity", "caps", lambda: (order(PERP), book(state(0.0)))),
    ("leverage that is no number", "caps", lambda: (order(PERP), book(caps=Caps(leverage_max=float("nan"))))),
    ("breakers", "breakers", lambda: (order(), book(guards=Guards(breakers_allow_risk=False)))),
    ("more than the cash", "cash", lambda: (order(coins=10.001), book())),
    ("all of the cash", None, lambda: (order(coins=10.0), book())),
    ("a limit costs its own price", None, lambda: (order(kind="limit", price=50.0, coins=20.0), book())),
    (
        "cash that an open buy needs",
        "cash",
        lambda: (
            order(coins=6.0),
            book(state(orders=(order(coins=5.0, leg="open", kind="limit", price=90.0),))),
        ),
    ),
    ("a leg that is open", "duplicates", lambda: (order(), book(state(orders=(order(coins=1.0),))))),
    ("the leg of another symbol", None, lambda: (order(), book(state(orders=(order(ETH),))))),
    ("no new risk", "permissions", lambda: (order(), book(permissions=Permissions(new_risk=False)))),
    (
        "spot cannot go short",
        "permissions",
        lambda: (order(side=-1), book(permissions=Permissions(short=True))),
    ),
    ("a short that is not permitted", "permissions", lambda: (order(PERP, side=-1), book())),
    (
        "a short that is permitted",
        None,
        lambda: (order(PERP, side=-1), book(permissions=Permissions(short=True))),
    ),
    (
        "turning round without permission",
        "permissions",
        lambda: (order(PERP, side=-1, coins=2.0), book(state(perp=1.0))),
    ),
    (
        "distrusted data",
        "data_quality",
        lambda: (order(), book(guards=Guards(distrusted_symbols=frozenset({BTC})))),
    ),
    (
        "another symbol's distrusted data",
        None,
        lambda: (order(), book(guards=Guards(distrusted_symbols=frozenset({ETH})))),
    ),
    ("a stop without a price", "router", lambda: (order(PERP, kind="stop"), book())),
]


@pytest.mark.parametrize(("expected", "case"), [row[1:] for row in NEW_RISK], ids=[row[0] for row in NEW_RISK])
def test_each_gate(expected: str | None, case: Callable[[], tuple[Order, Book]]) -> None:
    """New risk is blocked by exactly the gate that is meant to block it, at exactly its limit."""
    assert expected == gate_of(*case())


def test_the_chain_is_the_contracts() -> None:
    """Names and order of the gates are those of the design, and each has a category."""
    assert [name for name, _, _ in GATES] == CHAIN
    assert set(CHAIN) == set(CATEGORY)


def test_the_first_gate_of_the_chain_that_blocks_is_reported() -> None:
    """An order that most gates would block is refused by them one after the other as each is satisfied."""
    blocked = {
        "armed": False, "mode_allows_orders": False, "control_allows_risk": False, "lease_held": False,
        "risk_state_allows_risk": False, "breakers_allow_risk": False,
    }  # fmt: skip
    opened = dict(blocked)
    seen = []
    caps: Caps | None = Caps(MONEY)
    cash = 1.0
    quantity = 100.0
    permissions = Permissions(new_risk=False)
    account = state(cash, orders=(order(),))
    distrusted = frozenset({BTC})
    for _ in range(len(CHAIN)):
        guards = Guards(**opened, distrusted_symbols=distrusted)
        account = state(cash, orders=(account.orders and (order(),)) or ())
        gate = gate_of(order(coins=quantity), book(account, caps=caps, guards=guards, permissions=permissions))
        seen.append(gate)
        match gate:
            case "armed":
                opened["armed"] = True
            case "mode":
                opened["mode_allows_orders"] = True
            case "control":
                opened["control_allows_risk"] = True
            case "lease":
                opened["lease_held"] = True
            case "risk_state":
                opened["risk_state_allows_risk"] = True
            case "filters":
                quantity = 1.0
            case "caps":
                caps = None
            case "breakers":
                opened["breakers_allow_risk"] = True
            case "cash":
                cash = 1000.0
            case "duplicates":
                account = state(cash)
            case "permissions":
                permissions = Permissions()
            case "data_quality":
                distrusted = frozenset()

    assert [name for name in CHAIN if name not in ("symbol", "router")] == [gate for gate in seen if gate]


def test_a_refusal_says_who_what_and_why() -> None:
    """A refusal carries gate, category, symbol, leg and a sentence with the amounts."""
    refusal = refusal_by_gates(order(coins=10.5), book())

    assert refusal is not None
    assert refusal[:4] == ("cash", "money", BTC, "entry")
    assert refusal.detail == "cost 1050 exceeds the free cash 1000"


# --- reductions ---------------------------------------------------------------------------------------------

SHUT = Guards(
    control_allows_risk=False,
    risk_state_allows_risk=False,
    breakers_allow_risk=False,
    distrusted_symbols=frozenset({BTC, ETH, PERP}),
)
NO_RISK = Permissions(new_risk=False)
NO_ROOM = Caps(0, 0, 0.0)

REDUCTIONS = [
    ("selling what is held", order(side=-1, coins=1.0), {"btc": 1.0}),
    ("a reducing stop", order(side=-1, kind="stop", price=90.0, reduce_only=True), {"btc": 1.0}),
    ("a limit that sells what is held", order(side=-1, kind="limit", price=110.0), {"btc": 1.0}),
    ("buying back a short", order(PERP, side=1, coins=1.0), {"perp": -1.0}),
    ("selling part of a long perpetual", order(PERP, side=-1, coins=0.5), {"perp": 1.0}),
    ("a perpetual's rest below the smallest value", order(PERP, side=-1, coins=0.01), {"perp": 0.01}),
]


@pytest.mark.parametrize(("wanted", "held"), [row[1:] for row in REDUCTIONS], ids=[row[0] for row in REDUCTIONS])
def test_a_halt_never_blocks_a_close(wanted: Order, held: dict[str, float]) -> None:
    """A reduction passes halt, risk state, breakers, caps, permissions and distrusted data all at once."""
    at = book(state(0.0, **held), guards=SHUT, permissions=NO_RISK, caps=NO_ROOM)

    assert refusal_by_gates(wanted, at) is None


TOO_MUCH = [
    ("more than is held", order(side=-1, coins=1.001), {"btc": 1.0}),
    ("more than a long perpetual", order(PERP, side=-1, coins=1.001), {"perp": 1.0}),
    ("adding to a short", order(PERP, side=-1), {"perp": -1.0}),
    ("adding to a long", order(), {"btc": 1.0}),
    ("from flat", order(PERP, side=-1), {}),
]


@pytest.mark.parametrize(("wanted", "held"), [row[1:] for row in TOO_MUCH], ids=[row[0] for row in TOO_MUCH])
def test_what_does_not_only_reduce_is_new_risk(wanted: Order, held: dict[str, float]) -> None:
    """An order that would add to a position, or turn it round, meets the halt."""
    assert gate_of(wanted, book(state(**held), guards=SHUT)) == "control"


@pytest.mark.parametrize("guard", ["armed", "mode_allows_orders", "lease_held"])
def test_no_order_at_all_leaves_a_process_that_may_not_send(guard: str) -> None:
    """Unarmed, in a mode without orders or without the lease even a reduction is refused."""
    at = book(state(btc=1.0), guards=Guards(**{guard: False}))

    assert refusal_by_gates(order(side=-1), at) is not None


# --- cumulative over a decision -----------------------------------------------------------------------------


def short(coins: float, leg: str, price: float | None = None, kind: Any = "market") -> Intent:
    return Intent(PERP, kind if price is None else "limit", "sell", leg=leg, quantity=coins, price=price)


def bid(coins: float, leg: str, price: float = 99.0, symbol: str = PERP) -> Intent:
    return limit(symbol, "buy", price, quantity=coins, leg=leg)


CUMULATIVE: list[tuple[str, list[Intent], dict[str, float], dict[str, Any], list[str]]] = [
    (
        "two buys share the cash",
        [market(BTC, "buy", quantity=6.0, leg="a"), market(ETH, "buy", quantity=6.0, leg="b")],
        {},
        {},
        ["a", "cash:b"],
    ),
    (
        "two resting buys share the cash",
        [bid(6.0, "a", symbol=BTC), bid(6.0, "b", symbol=ETH)],
        {},
        {},
        ["a", "cash:b"],
    ),
    (
        "two market buys share the symbol cap",
        [market(BTC, "buy", quantity=1.5, leg="a"), market(BTC, "buy", quantity=1.5, leg="b")],
        {},
        {"caps": Caps(None, 200 * MONEY)},
        ["a", "caps:b"],
    ),
    (
        "two resting buys share the symbol cap",
        [bid(1.5, "a", symbol=BTC), bid(1.5, "b", symbol=BTC)],
        {},
        {"caps": Caps(None, 200 * MONEY)},
        ["a", "caps:b"],
    ),
    (
        "two market buys share the leverage",
        [
            Intent(PERP, "market", "buy", leg="a", quantity=6.0),
            Intent(PERP, "market", "buy", leg="b", quantity=6.0),
        ],
        {},
        {},
        ["a", "caps:b"],
    ),
    ("two resting buys share the leverage", [bid(6.0, "a"), bid(6.0, "b")], {}, {}, ["a", "caps:b"]),
    (
        "two stop entries share the leverage",
        [stop(PERP, "buy", 105.0, quantity=6.0, leg=leg, reduce_only=False) for leg in ("a", "b")],
        {},
        {},
        ["a", "caps:b"],
    ),
    (
        "a close makes room for what follows it",
        [Intent(PERP, "market", "buy", leg="b", quantity=9.0), close(ETH, leg="a")],
        {"eth": 5.0},
        {},
        ["a", "b"],
    ),
    (
        "a leg is used once",
        [market(BTC, "buy", quantity=1.0, leg="a"), market(BTC, "buy", quantity=2.0, leg="a")],
        {},
        {},
        ["a", "duplicates:a"],
    ),
    (
        "a stop and a take-profit may both cover the whole position",
        [
            stop(PERP, "sell", 90.0, close_fraction=1.0),
            Intent(PERP, "take_profit", "sell", leg="profit", quantity=1.0, price=110.0, reduce_only=True),
        ],
        {"perp": 1.0},
        {"guards": SHUT},
        ["stop", "profit"],
    ),
]


@pytest.mark.parametrize(
    ("intents", "held", "options", "expected"),
    [row[1:] for row in CUMULATIVE],
    ids=[row[0] for row in CUMULATIVE],
)
def test_intents_of_one_decision_count_together(
    intents: list[Intent], held: dict[str, float], options: dict[str, Any], expected: list[str]
) -> None:
    """Two intents of one decision cannot together exceed what each alone may do."""
    assert expected == outcome(decide(intents, state(**held), **options))


OPEN: list[tuple[str, Order, Intent, dict[str, Any], list[str]]] = [
    (
        "leverage counts resting buys",
        order(PERP, "limit", coins=6.0, price=99.0, leg="open"),
        bid(6.0, "b"),
        {},
        ["caps:b"],
    ),
    (
        "leverage counts market orders that are still under way",
        order(PERP, coins=6.0, leg="open"),
        Intent(PERP, "market", "buy", leg="b", quantity=6.0),
        {},
        ["caps:b"],
    ),
    (
        "the symbol cap counts resting buys",
        order(PERP, "limit", coins=1.5, price=99.0, leg="open"),
        bid(1.5, "b"),
        {"caps": Caps(None, 200 * MONEY)},
        ["caps:b"],
    ),
    (
        "a resting stop does not stand in the way of a close",
        order(PERP, "stop", -1, coins=1.0, price=90.0, leg="open", reduce_only=True),
        close(PERP, leg="b"),
        {"guards": SHUT},
        ["b"],
    ),
]


@pytest.mark.parametrize(
    ("resting", "wanted", "options", "expected"), [row[1:] for row in OPEN], ids=[row[0] for row in OPEN]
)
def test_orders_still_open_count_too(
    resting: Order, wanted: Intent, options: dict[str, Any], expected: list[str]
) -> None:
    """An order of an earlier decision that may yet fill counts like one of this decision."""
    assert expected == outcome(decide([wanted], state(orders=(resting,), perp=1.0), **options))


OFFERS = {
    "market orders": [short(1.0, "a"), short(1.0, "b")],
    "limits": [short(1.0, "a", 105.0), short(1.0, "b", 106.0)],
    "a limit and a market order": [short(1.0, "a", 105.0), short(1.0, "b")],
}


@pytest.mark.parametrize("kind", list(OFFERS))
@pytest.mark.parametrize("symbol", [BTC, PERP])
@pytest.mark.parametrize("options", [{}, {"guards": SHUT, "permissions": Permissions(short=True)}], ids=["", "halted"])
def test_one_holding_is_offered_once(kind: str, symbol: str, options: dict[str, Any]) -> None:
    """Orders that could together sell more than is held do not all pass, unless they are reduce-only."""
    intents = [Intent(symbol, each.kind, "sell", leg=each.leg, quantity=1.0, price=each.price) for each in OFFERS[kind]]

    decision = decide(intents, state(btc=1.0, perp=1.0), **options)

    assert decision.orders[0].leg == "a"
    assert sum(each.quantity for each in decision.orders if not each.reduce_only) <= COIN


def test_a_resting_offer_is_not_repeated_under_a_halt() -> None:
    """What an order of an earlier decision may yet sell is not there to be reduced a second time."""
    resting = order(PERP, "limit", -1, coins=1.0, price=105.0, leg="open")
    permissions = Permissions(short=True)

    decision = decide(
        [short(1.0, "b", 106.0)], state(orders=(resting,), perp=1.0), guards=SHUT, permissions=permissions
    )

    assert [each for each in decision.orders if not each.reduce_only] == []
