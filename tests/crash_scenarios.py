"""The scenarios of the crash matrix: a strategy and the slot under test, and which behaviours each is crossed with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from crash_behaviours import (
    OK,
    Behaviour,
    behaviours_called,
    cancel_behaviours,
    place_behaviours,
    question_behaviours,
)
from crash_live_pool import (
    ETH,
    FAIR,
    LTC,
    SOL,
    XRP,
    a_held_market_stops,
    a_little_comes,
    everything_is_to_be_closed,
    flows_come_and_go,
    live_pool,
    publish_next,
)
from cycle_world import HOUR_MS, START_MS, Alternate, Bracket, World
from venue.faults import partial

from trading_runtime.core.intents import cancel, limit, market, stop, take_profit, target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.cycle.account import Account
from trading_runtime.strategies.crypto_live_pool_rotation import CryptoLivePoolRotation

PERPETUAL = "BTC/USDT:USDT"
SECOND = "ETH/USDT"
# A cycle of the live pool has three times the points of others, each of which takes three times as long.
LIVE_THIN = 2


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
    the slot under test begins. ``thin``: of the points only every so-many-th is played in `make test`; ``meets`` are
    the groups of behaviours that it is crossed with, all that there are where it is empty.
    """

    name: str
    strategy: type[Strategy]
    warm: int
    options: Mapping[str, Any] = {}
    between: Callable[[World], None] | None = None
    thin: int = 1
    meets: tuple[str, ...] = ()

    @property
    def has_savings(self) -> bool:
        return self.strategy is CryptoLivePoolRotation

    @property
    def slot(self) -> int:
        return START_MS + self.warm * HOUR_MS

    def begin(self) -> World:
        """A world of its own at the slot under test."""
        return _begun(self.name).copy()


def _live(
    name: str,
    warm: int,
    options: Mapping[str, Any],
    meets: tuple[str, ...],
    between: Callable[[World], None] | None = None,
) -> Scenario:
    return Scenario(f"live pool: {name}", CryptoLivePoolRotation, warm, options, between, LIVE_THIN, meets)


def _fill_a_part_of_the_bid(world: World) -> None:
    """Somebody sells into the bid: two fifths of it fill, the rest stays."""
    (order,) = world.venue.open[world.symbol].values()
    order.fractions = partial("0.4").fractions
    assert order.price is not None
    price = world.market.price
    world.venue.set_price(world.symbol, order.price)
    world.venue.set_price(world.symbol, price)


_HELD = (ETH, SOL)
_NOBODY: tuple[str, ...] = ()
_LIVE_POOL = (
    _live(
        "entries and a BTC buy, then the rest is saved", 0, live_pool({0: _HELD}, ETH, SOL, XRP),
        ("order", "third order, few", "movement, few", "savings"),
    ),
    _live(
        "each buy has its money taken out of savings", 1,
        live_pool({0: _NOBODY, 1: _HELD}, ETH, SOL, XRP, cash="60", savings="1940"),
        ("movement", "second movement, few", "order, few", "savings"),
    ),
    _live(
        "entries beside a top-up of the fuel that pays their fees", 0,
        live_pool({0: _HELD}, ETH, SOL, XRP, fuel=True, pays_in_bnb=True, free={"BNB": "0.02"}),
        ("fourth order", "order, few", "questions"),
    ),
    _live(
        "rotation: one retired, another bought, the rest is saved", 2,
        live_pool({0: _HELD, 2: (SOL, LTC)}, ETH, SOL, XRP, LTC),
        ("order, few", "second order", "movement, few"), publish_next,
    ),
    _live(
        "the market of one that is held has stopped, another is bought", 2,
        live_pool({0: _HELD, 2: (SOL, LTC)}, ETH, SOL, XRP, LTC),
        ("order, few", "movement, few", "questions"), a_held_market_stops,
    ),
    _live(
        "a market that had stopped trades again, what has left the pool is sold", 3,
        live_pool({0: _HELD, 3: (SOL, LTC)}, ETH, SOL, XRP, LTC, stops={ETH: (1, 2)}),
        ("order, few", "second order", "movement, few"), publish_next,
    ),
    _live(
        "all is closed but what is held in a market that has stopped", 2,
        live_pool({0: _HELD}, ETH, SOL, XRP, stops={ETH: (1, 9)}),
        ("order, few", "second order", "questions"), everything_is_to_be_closed,
    ),
    _live(
        "the breaker sells two and latches", 2,
        live_pool({0: _HELD}, ETH, SOL, XRP, falls={ETH: (2, 0.92), SOL: (2, 0.93)}),
        ("order", "second order, few", "movement, few", "savings"),
    ),
    _live(
        "a deposit, a withdrawal and interest beside entries", 1,
        live_pool({0: _NOBODY, 1: _HELD}, ETH, SOL, XRP, savings="500", savings_rate="0.05"),
        ("order, few", "movement, few", "savings", "questions"), flows_come_and_go,
    ),
    _live(
        "a quiet slot saves what came in", 1,
        live_pool({0: _NOBODY}, ETH, SOL, XRP, ahr999=FAIR),
        ("movement", "savings"), a_little_comes,
    ),
)  # fmt: skip

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
        *_LIVE_POOL,
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


@lru_cache(maxsize=64)
def account_before(name: str) -> Account | None:
    """The account as it is before the slot under test; None where that slot opens it."""
    return _begun(name).kept() if SCENARIOS[name].warm else None


def behaviours_of(scenario: Scenario) -> list[Behaviour]:
    """All behaviours that reach the scenario: orders and cancels that it does not send are left out. A scenario that
    names groups meets those.
    """
    if scenario.meets:
        return [OK, *(one for name in scenario.meets for one in behaviours_called(name))]
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
