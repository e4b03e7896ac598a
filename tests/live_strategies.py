"""Strategies of the end-to-end tests: each does one thing at each of its slots, counted from 0 in its own state."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trading_runtime.core.intents import Intent, cancel, close, limit, market, stop, take_profit, target
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

Step = Callable[[Inputs], Sequence[Intent]]


class Scripted(Strategy):
    """Does ``step(inputs)`` of its slot; nothing when the script has ended."""

    script: tuple[Step, ...] = ()

    def decide(self, inputs: Inputs) -> Proposal | None:
        count = inputs.state.get("count", 0)
        intents = list(self.script[count](inputs)) if count < len(self.script) else []
        return Proposal(intents, state={"count": count + 1})


def nothing(inputs: Inputs) -> Sequence[Intent]:
    return []


def buy(inputs: Inputs) -> Sequence[Intent]:
    return [market(inputs.symbol, "buy", notional=1000.0, leg="entry")]


def sell_all(inputs: Inputs) -> Sequence[Intent]:
    return [close(inputs.symbol)]


def bracket(inputs: Inputs) -> Sequence[Intent]:
    return [
        *buy(inputs),
        stop(inputs.symbol, "sell", inputs.price * 0.97, close_fraction=1.0, parent="entry"),
        take_profit(inputs.symbol, "sell", inputs.price * 1.03, close_fraction=1.0, parent="entry"),
    ]


def bid(inputs: Inputs) -> Sequence[Intent]:
    return [limit(inputs.symbol, "buy", inputs.price * 0.98, notional=1000.0, leg="bid")]


def bid_anew(inputs: Inputs) -> Sequence[Intent]:
    return [
        cancel(inputs.symbol, "bid"),
        limit(inputs.symbol, "buy", inputs.price * 0.97, notional=1000.0, leg="bid2"),
    ]


def bid_that_becomes_market(inputs: Inputs) -> Sequence[Intent]:
    return [
        limit(inputs.symbol, "buy", inputs.price * 0.9, notional=1000.0, leg="bid", bars_max=1, fallback=("timeout",))
    ]


def maker_or_market(inputs: Inputs) -> Sequence[Intent]:
    return [
        limit(
            inputs.symbol,
            "buy",
            inputs.price * 1.01,
            notional=1000.0,
            leg="maker",
            post_only=True,
            fallback=("post_only",),
        )
    ]


def weight(of: float) -> Step:
    return lambda inputs: [target(inputs.symbol, of)]


def half_out(inputs: Inputs) -> Sequence[Intent]:
    return [close(inputs.symbol, 0.5, leg="half")]


class EntryExit(Scripted):
    script = (buy, sell_all)


class BuyAndWait(Scripted):
    script = (buy,)


class BuyTwice(Scripted):
    script = (buy, lambda inputs: [market(inputs.symbol, "buy", notional=1000.0, leg="more")])


class BracketOnce(Scripted):
    script = (bracket,)


class BracketThenExit(Scripted):
    script = (bracket, nothing, sell_all)


class BracketThenHalf(Scripted):
    script = (bracket, half_out)


class BracketThenFlatTarget(Scripted):
    script = (bracket, weight(0.0))


class BidThenMove(Scripted):
    script = (bid, nothing, bid_anew)


class FarBid(Scripted):
    """A bid that never fills is given up after it has rested for days."""

    script = (
        lambda inputs: [limit(inputs.symbol, "buy", inputs.price * 0.5, notional=1000.0, leg="far")],
        lambda inputs: [cancel(inputs.symbol, "far")],
    )


class FarStop(Scripted):
    """A position is closed whose stop has rested for days."""

    script = (
        lambda inputs: [
            *buy(inputs),
            stop(inputs.symbol, "sell", inputs.price * 0.5, close_fraction=1.0, parent="entry"),
        ],
        sell_all,
    )


class BidFallsBack(Scripted):
    script = (bid_that_becomes_market,)


class MakerFallsBack(Scripted):
    script = (maker_or_market, sell_all)


class Flip(Scripted):
    script = (weight(0.5), weight(-0.5), weight(0.25), weight(0.0))


class LongThenShort(Scripted):
    script = (weight(0.5), weight(-0.5), weight(-0.5))


class EveryHour(Scripted):
    """Tries to buy a little more at every slot."""

    script = tuple(
        (lambda inputs, number=number: [market(inputs.symbol, "buy", notional=500.0, leg=f"b{number}")])
        for number in range(50)
    )


class TwoSymbols(Strategy):
    """Buys both at once."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        count = inputs.state.get("count", 0)
        if count:
            return None
        return Proposal(
            [market(symbol, "buy", notional=1000.0, leg="entry") for symbol in inputs.symbols], state={"count": 1}
        )


class Raises(Strategy):
    def decide(self, inputs: Inputs) -> Proposal | None:
        raise ValueError("no such day")


class OddState(Strategy):
    """Carries on what is no JSON."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        return Proposal([market(inputs.symbol, "buy", notional=1000.0)], state={"seen": {1, 2, 3}})


class HugeState(Strategy):
    """Carries on more and more."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        seen = list(inputs.state.get("seen", ()))
        return Proposal([], state={"seen": seen + [float(number) for number in range(50_000)]})


class BuysEach(Strategy):
    """Buys every symbol in one slot, one order after the other."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.state:
            return None
        return Proposal([market(one, "buy", notional=500.0, leg="entry") for one in inputs.symbols], state={"done": 1})


class Grid(Strategy):
    """Two bids whose legs differ in their last character alone."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.state:
            return None
        bids = [
            limit(inputs.symbol, "buy", inputs.price * 0.5, notional=500.0, leg=leg, bars_max=1, fallback=("timeout",))
            for leg in ("grid_buy_1", "grid_buy_2")
        ]
        return Proposal(bids, state={"done": 1})


SECOND = "ETH/USDT"


def bracket_in_second(inputs: Inputs) -> Sequence[Intent]:
    price = inputs.price_of(SECOND)
    return [
        market(SECOND, "buy", notional=1000.0, leg="entry"),
        stop(SECOND, "sell", price * 0.9, close_fraction=1.0, parent="entry"),
        take_profit(SECOND, "sell", price * 1.1, close_fraction=1.0, parent="entry"),
    ]


def bid_in_second(inputs: Inputs) -> Sequence[Intent]:
    return [limit(SECOND, "buy", inputs.price_of(SECOND) * 0.9, notional=20_000.0, leg="bid")]


def buy_first(inputs: Inputs) -> Sequence[Intent]:
    return [market(inputs.symbol, "buy", notional=45_000.0, leg=f"first{inputs.state.get('count', 0)}")]


class BracketInSecond(Scripted):
    """A bracket in the second symbol; then as much of the first as there is money for, again and again."""

    script = (bracket_in_second, *(buy_first for _ in range(20)))


class BidInSecondTakenBack(Scripted):
    """A bid in the second symbol that is not wanted any more at the next slot."""

    script = (bid_in_second, lambda inputs: [cancel(SECOND, "bid")])


class BidInSecond(Scripted):
    """A bid in the second symbol that holds money back; then the first is wanted for more than is left."""

    script = (bid_in_second, *(buy_first for _ in range(20)))
