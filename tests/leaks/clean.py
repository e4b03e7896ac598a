"""Strategies that look suspicious and are not: verify must pass every one of them on any data."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trading_runtime.core.columns import P, crossed_below, custom, indicator, where, window, wrap
from trading_runtime.core.intents import cancel, close, limit, stop, take_profit, target
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Inputs, Proposal, Strategy

Floats = npt.NDArray[np.float64]


def holding(inputs: Inputs, weight: float) -> Proposal | None:
    """Hold ``weight`` of the first symbol, and say so only when it changes."""
    if inputs.state.get("weight", 0.0) == weight:
        return None
    return Proposal([target(inputs.symbol, weight)], state={"weight": weight}, reasons=[f"weight {weight}"])


def place_in_range(close_: Floats, bars: int) -> Floats:
    places = np.full(len(close_), np.nan)
    for bar in range(bars - 1, len(close_)):
        seen = close_[bar - bars + 1 : bar + 1]
        lowest, highest = seen.min(), seen.max()
        places[bar] = (close_[bar] - lowest) / (highest - lowest) if highest > lowest else 0.5
    return places


class CustomColumn(Strategy):
    """A column function of its own, with its window declared truly."""

    class Params(Parameters):
        bars = parameter(17, minimum=2, maximum=100, step=1)

    place = custom(place_in_range, "close", window=P.bars, bars=P.bars)

    def decide(self, inputs: Inputs) -> Proposal | None:
        return holding(inputs, 0.8 if inputs.place > 0.6 else 0.0)


def carried_forward(volume: Floats) -> Floats:
    """The last volume of at most eight bars that was not zero."""
    values = np.full(len(volume), np.nan)
    for bar in range(len(volume)):
        for back in range(min(bar + 1, 8)):
            if volume[bar - back] > 0.0:
                values[bar] = volume[bar - back]
                break
    return values


class ForwardFill(Strategy):
    """Holes filled from behind, as far as the window reaches."""

    traded = custom(carried_forward, "volume", window=8)

    def decide(self, inputs: Inputs) -> Proposal | None:
        return holding(inputs, 0.7 if inputs.traded > 25.0 else 0.0)


class LongerTimeframe(Strategy):
    """Columns on four hours and on a day under hourly bars: only finished buckets are seen."""

    trend = indicator("sma", "close", length=3, timeframe="4h")
    day = indicator("rate_of_change", "close", length=1, timeframe="1d")

    def decide(self, inputs: Inputs) -> Proposal | None:
        return holding(inputs, 0.9 if inputs.price > inputs.trend and inputs.day > -0.02 else 0.0)


class NestedTimeframe(Strategy):
    """A daily mean of a change measured on the bars of every symbol."""

    pace = indicator("sma", indicator("change", "close", length=2), length=2, timeframe="1d", universe=True)

    def decide(self, inputs: Inputs) -> Proposal | None:
        wanted = {symbol: 0.3 if pace > 0.0 else 0.0 for symbol, pace in zip(inputs.symbols, inputs.pace, strict=True)}
        if inputs.state.get("wanted") == wanted:
            return None
        return Proposal([target(symbol, weight) for symbol, weight in wanted.items()], state={"wanted": wanted})


class WindowPattern(Strategy):
    """A window handed over as an array, read from its end."""

    closes = window("close", 12)
    volumes = window(indicator("rolling_sum", "volume", length=3), 4)

    def decide(self, inputs: Inputs) -> Proposal | None:
        rises = int((np.diff(inputs.closes) > 0.0).sum())
        return holding(inputs, 0.9 if rises >= 6 and inputs.volumes[-1] > inputs.volumes[0] else 0.0)


class FollowsLeader(Strategy):
    """A column of one named symbol, whatever the others are."""

    leader = indicator("rate_of_change", "close", length=6, symbol="BTC/USDT")

    def decide(self, inputs: Inputs) -> Proposal | None:
        wanted = 0.2 if inputs.leader > 0.0 else 0.0
        if inputs.state.get("wanted", 0.0) == wanted:
            return None
        return Proposal([target(symbol, wanted) for symbol in inputs.symbols], state={"wanted": wanted})


class Ladder(Strategy):
    """Resting orders with children, expiry and cancels; decisions depend on orders, position and cash."""

    deviation = indicator("rolling_std", "close", length=10)

    def decide(self, inputs: Inputs) -> Proposal | None:
        count = inputs.state.get("count", 0)
        symbol, price = inputs.symbol, inputs.price
        entry = [order for order in inputs.orders if order.leg == "entry"]
        if entry and entry[0].price is not None and price > entry[0].price + 4.0 * inputs.deviation:
            return Proposal([cancel(symbol, "entry", reason="too far")], reasons=["gave up"])
        if inputs.position and price > inputs.entry_price_of(symbol) * 1.04:
            return Proposal([close(symbol, 0.5, leg=f"half{count % 10}")], state={"count": count + 1})
        if inputs.position or inputs.orders or not inputs.deviation > 0.0 or inputs.cash < 100.0:
            return None
        below = price - inputs.deviation
        return Proposal(
            [
                limit(symbol, "buy", below, notional=0.2 * inputs.equity, bars_max=5, fallback=("timeout",)),
                stop(symbol, "sell", below - 2.0 * inputs.deviation, parent="entry"),
                take_profit(symbol, "sell", below + 3.0 * inputs.deviation, parent="entry"),
            ],
            state={"count": count + 1},
        )


class Awake(Strategy):
    """A wake condition that holds wherever decide may act, and orders that bring it news."""

    fast = indicator("sma", "close", length=4)
    slow = indicator("sma", "close", length=11)
    wake = (fast > slow) | crossed_below(fast, slow)

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.position or inputs.orders or not inputs.fast > inputs.slow:
            return None
        if inputs.state.get("bought_at") == inputs.slow:
            return None
        price = inputs.price
        return Proposal(
            [
                limit(inputs.symbol, "buy", price * 0.995, notional=0.3 * inputs.equity, bars_max=3),
                stop(inputs.symbol, "sell", price * 0.97, parent="entry"),
                take_profit(inputs.symbol, "sell", price * 1.03, parent="entry"),
            ],
            state={"bought_at": inputs.slow},
        )


class TargetsOnly(Strategy):
    """Targets on both sides, with bars on which they have no opinion."""

    score = indicator("z_score", "close", length=15)
    targets = where(score > 1.0, -0.5, where(score < -1.0, 0.5, float("nan")))


@lru_cache(maxsize=64)
def session_of(hour: int) -> str:
    return "day" if 8 <= hour < 20 else "night"


_weight_of: dict[str, float] = {}


class Remembering(Strategy):
    """Caches that decide nothing, a clock that is only read, and the time of the bar instead of now."""

    high = indicator("rolling_max", "high", length=5)

    def decide(self, inputs: Inputs) -> Proposal | None:
        started = time.perf_counter()
        moment = datetime.fromtimestamp(inputs.as_of / 1000, UTC)
        session = session_of(moment.hour)
        if session not in _weight_of:
            _weight_of[session] = 0.6 if session == "day" else 0.2
        weight = _weight_of[session] if isinstance(moment, datetime) and moment.weekday() < 5 else 0.0
        proposal = holding(inputs, weight if inputs.price < inputs.high else 0.0)
        if time.perf_counter() - started > 1e9:
            raise RuntimeError("this took longer than a life")
        return proposal


class SeededByTheBar(Strategy):
    """Chance that comes from the bar alone: the same bar throws the same die."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        die = random.Random(inputs.as_of).randrange(6)
        return holding(inputs, die / 10) if die in (0, 5) else None


class ReadsPrices(Strategy):
    """Prices, positions and equity of every symbol through the inputs' own questions."""

    ready = wrap("close") > 0.0

    def decide(self, inputs: Inputs) -> Proposal | None:
        known = [symbol for symbol in inputs.symbols if inputs.price_of(symbol) > 0.0]
        values = {symbol: inputs.position_of(symbol) * inputs.price_of(symbol) for symbol in known}
        if not known or sum(values.values()) > 0.5 * inputs.equity or len(inputs.orders) > 3:
            return None
        cheapest = min(known, key=lambda symbol: (values[symbol], symbol))
        return Proposal([target(cheapest, 0.9 / len(known))], state={"last": cheapest, "at": inputs.as_of})
