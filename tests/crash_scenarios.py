"""What the crash matrix is made of: scenarios (a strategy and the slot under test) and the exchange's behaviours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from cycle_world import HOUR_MS, START_MS, Alternate, Bracket, World
from venue.faults import (
    Fate,
    error,
    late_request,
    late_trades,
    late_visibility,
    lost_answer,
    lost_request,
    partial,
    slow_answer,
)

from trading_runtime.core.intents import cancel, limit, market, stop, take_profit, target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

PERPETUAL = "BTC/USDT:USDT"
SECOND = "ETH/USDT"


class Flip(Strategy):
    """Long at even hours, short at odd ones."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.4 if inputs.as_of // HOUR_MS % 2 == 0 else -0.4
        return Proposal([target(inputs.symbol, weight, reason="flip")])


class Near(Strategy):
    """Buys with a stop far away and a take-profit that the next bar reaches."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.state.get("done") or inputs.position > 0.0:
            return None
        price = inputs.price
        intents = [
            market(inputs.symbol, "buy", notional=1000.0, leg="entry"),
            stop(inputs.symbol, "sell", price * 0.9, close_fraction=1.0, parent="entry"),
            take_profit(inputs.symbol, "sell", price * 1.002, close_fraction=1.0, parent="entry"),
        ]
        return Proposal(intents, state={"done": True})


class Bid(Strategy):
    """One bid far below the market that becomes a market order after a bar."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.position > 0.0 or inputs.orders:
            return None
        bid = limit(
            inputs.symbol, "buy", inputs.price * 0.9, notional=800.0, bars_max=1, fallback=("timeout",), leg="bid"
        )
        return Proposal([bid])


class Follow(Strategy):
    """A bid below the market that is taken back and placed again at every slot."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        bid = limit(inputs.symbol, "buy", inputs.price * 0.9, notional=800.0, leg="bid")
        return Proposal([cancel(inputs.symbol, "bid", reason="follow"), bid])


class Rotate(Strategy):
    """Holds the first symbol at even hours, the second at odd ones."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        even = inputs.as_of // HOUR_MS % 2 == 0
        first, second = inputs.symbols
        return Proposal([target(first, 0.3 if even else 0.0), target(second, 0.0 if even else 0.3)])


class Both(Strategy):
    """Buys two symbols at once, closes both at once."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        weight = 0.3 if inputs.as_of // HOUR_MS % 2 == 0 else 0.0
        return Proposal([target(symbol, weight) for symbol in inputs.symbols])


class Scenario(NamedTuple):
    """A strategy at one slot: ``warm`` slots are worked undisturbed before it; ``between`` is done to the world before
    the slot under test begins.
    """

    name: str
    strategy: type[Strategy]
    warm: int
    options: Mapping[str, Any] = {}
    between: Callable[[World], None] | None = None

    @property
    def slot(self) -> int:
        return START_MS + self.warm * HOUR_MS

    def begin(self) -> World:
        """A world of its own at the slot under test."""
        return _begun(self.name).copy()


def _fill_a_part_of_the_bid(world: World) -> None:
    """Somebody sells into the bid: two fifths of it fill, the rest stays."""
    (order,) = world.venue.open[world.symbol].values()
    order.fractions = partial("0.4").fractions
    assert order.price is not None
    price = world.market.price
    world.venue.set_price(world.symbol, order.price)
    world.venue.set_price(world.symbol, price)


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("first cycle, entry by market order", Alternate, 0),
        Scenario("entry by market order, fees in BNB", Alternate, 2, {"pays_in_bnb": True}),
        Scenario("close", Alternate, 1),
        Scenario("close, fees in BNB", Alternate, 1, {"pays_in_bnb": True}),
        Scenario("perpetual, reduce-only close", Alternate, 1, {"symbol": PERPETUAL}),
        Scenario("perpetual, target flips", Flip, 1, {"symbol": PERPETUAL}),
        Scenario("bracket of spot coins", Bracket, 0),
        Scenario("bracket of a perpetual", Bracket, 0, {"symbol": PERPETUAL}),
        Scenario("watched take-profit is reached", Near, 1),
        Scenario("take-profit filled at the exchange", Near, 1, {"symbol": PERPETUAL}),
        Scenario("resting limit", Bid, 0),
        Scenario("expired limit falls back to market", Bid, 1),
        Scenario("partly filled limit falls back to market", Bid, 1, {}, _fill_a_part_of_the_bid),
        Scenario("cancel and replace", Follow, 1),
        Scenario("two symbols bought at once", Both, 0, {"others": (SECOND,)}),
        Scenario("two symbols, one sold for the other", Rotate, 1, {"others": (SECOND,)}),
    )
}


@lru_cache(maxsize=64)
def _begun(name: str) -> World:
    scenario = SCENARIOS[name]
    world = World(strategy=scenario.strategy, **dict(scenario.options))
    for number in range(scenario.warm):
        slot = START_MS + number * HOUR_MS
        world.to_slot(slot)
        report = world.cycle(slot)
        assert report.status == "done", f"{name}: the slots before are not undisturbed: {report.reason}"
    world.to_slot(scenario.slot)
    if scenario.between is not None:
        scenario.between(world)
    return world


class Behaviour(NamedTuple):
    """What the exchange does to some of the requests, by kind and number.

    ``ticks``: the market goes on trading, so that what fills in parts goes on filling.
    """

    name: str
    script: Mapping[tuple[str, int], Fate]
    ticks: bool = False

    def start(self, world: World) -> None:
        if self.ticks:
            now = world.clock.now_ms()
            for second in range(2, 122, 4):
                world.clock.at(now + second * 1000, world.venue.tick)


class _Place(NamedTuple):
    name: str
    fates: tuple[Fate, ...]
    ticks: bool = False


_PLACE = (
    _Place("request lost", (lost_request(),)),
    _Place("request lost twice", (lost_request(), lost_request())),
    _Place("request lost until the attempts run out", (lost_request(), lost_request(), lost_request())),
    _Place("answer lost", (lost_answer(),)),
    _Place("request late, within its window", (late_request(2000),)),
    _Place("request late, at the end of its window", (late_request(5000),)),
    _Place("request late, after its window", (late_request(5001),)),
    _Place("request late and then invisible", (late_request(4900)._replace(invisible_ms=2900),)),
    _Place("request late, its repetition lost", (late_request(6000), lost_answer())),
    _Place("answer slow", (slow_answer(500),)),
    _Place("answer slower than the client waits", (slow_answer(2000),)),
    _Place("-1007, executed", (error(504, -1007, executed=True),)),
    _Place("-1007, not executed", (error(504, -1007),)),
    _Place("500, executed", (error(500, executed=True),)),
    _Place("500, not executed", (error(500),)),
    _Place("502, executed", (error(502, executed=True),)),
    _Place("503, not executed", (error(503),)),
    _Place("504, executed, no JSON", (error(504, executed=True),)),
    _Place("429, Retry-After 2", (error(429, -1003, retry_seconds=2),)),
    _Place("418, Retry-After 60", (error(418, -1003, retry_seconds=60),)),
    _Place("-1021", (error(400, -1021),)),
    _Place("-2010", (error(400, -2010),)),
    _Place("-1015", (error(429, -1015),)),
    _Place("order visible late", (late_visibility(2000),)),
    _Place("order visible as late as allowed", (late_visibility(7900),)),
    _Place("answer lost, order visible late", (lost_answer()._replace(invisible_ms=6900),)),
    _Place("fills visible late", (late_trades(3000),)),
    _Place("answer lost, fills visible late", (lost_answer()._replace(trades_late_ms=4000),)),
    _Place("fills in parts", (partial("0.25", "0.25"),), True),
    _Place("answer lost, fills in parts", (lost_answer()._replace(fractions=partial("0.5").fractions),), True),
    _Place("partly filled, the rest expires", (partial("0.5", rest_expires=True),)),
    _Place(
        "answer lost, partly filled, the rest expires",
        (lost_answer()._replace(fractions=partial("0.5").fractions, rest_expires=True),),
    ),
)
_CANCEL = (
    ("request lost", lost_request()),
    ("answer lost", lost_answer()),
    ("request late, within its window", late_request(2000)),
    ("request late, after its window", late_request(6000)),
    ("answer slow", slow_answer(500)),
    ("-1007, executed", error(504, -1007, executed=True)),
    ("-1007, not executed", error(504, -1007)),
    ("500, executed", error(500, executed=True)),
    ("503, not executed", error(503)),
    ("429, Retry-After 2", error(429, -1003, retry_seconds=2)),
    ("418, Retry-After 60", error(418, -1003, retry_seconds=60)),
    ("-1021", error(400, -1021)),
)
_ANSWERS_MISSING = 3  # a question is asked that often before it counts as not answered

OK = Behaviour("ok", {})


def place_behaviours(number: int = 0) -> list[Behaviour]:
    """What may happen to the order that is sent as the ``number``-th."""
    which = ("order", "second order", "third order")[number]
    return [
        Behaviour(
            f"{which}: {one.name}",
            {("place", number + index): fate for index, fate in enumerate(one.fates)},
            one.ticks,
        )
        for one in _PLACE
    ]


def cancel_behaviours() -> list[Behaviour]:
    return [Behaviour(f"cancel: {name}", {("cancel", 0): fate}) for name, fate in _CANCEL]


def question_behaviours() -> list[Behaviour]:
    """A question that is never answered, one that is answered at the second attempt, and a pair with a lost answer."""
    kinds = ("order", "trades", "balances", "open_orders", "positions", "markets", "bars", "time")
    found = [
        Behaviour(f"{kind}: not answered", {(kind, number): lost_request() for number in range(_ANSWERS_MISSING)})
        for kind in kinds
    ]
    found.append(Behaviour("order: 503, then answered", {("order", 0): error(503)}))
    found.append(Behaviour("trades: 429, then answered", {("trades", 0): error(429, -1003, retry_seconds=3)}))
    found.append(
        Behaviour(
            "answer lost, and nobody says what became of the order",
            {("place", 0): lost_answer(), **{("order", number): lost_request() for number in range(6)}},
        )
    )
    found.append(
        Behaviour(
            "request lost, and nobody says what became of the order",
            {("place", 0): lost_request(), **{("order", number): error(500) for number in range(6)}},
        )
    )
    return found


def behaviours_of(scenario: Scenario) -> list[Behaviour]:
    """All behaviours that reach the scenario: orders and cancels that it does not send are left out."""
    sent = _sent(scenario.name)
    found = [OK]
    for number in range(min(sent[0], 3)):
        found += place_behaviours(number)
    if sent[1]:
        found += cancel_behaviours()
    return found + question_behaviours()


@lru_cache(maxsize=64)
def _sent(name: str) -> tuple[int, int]:
    """How many orders and cancels the undisturbed slot sends."""
    from venue.faults import Faults

    scenario = SCENARIOS[name]
    world, faults = scenario.begin(), Faults()
    world.cycle(scenario.slot, exchange=world.exchange(faults))
    return faults.asked["place"], faults.asked["cancel"]
