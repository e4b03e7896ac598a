"""Fills: what the next bar would have done to an order. One file, so that paper trading and backtests cannot drift
apart.

A bar tells four prices and not their order, so the pessimistic order is assumed: what hurts happens first. Every
assumption is named in ``LIMITATIONS.md``. The compiled kernel repeats ``market_price`` and ``volume_limit``; a property
test holds them together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import Rules
from trading_runtime.core.money import AMOUNT_MAX, tick_index, tick_price


@dataclass(frozen=True)
class Execution:
    """How a simulated exchange executes.

    slippage_fraction    what a taker loses against the reference price, as a fraction of it
    spread_fraction      the whole spread as a fraction of the price; a taker pays half of it
    volume_fraction_max  the largest share of a bar's volume that may be filled; None: no limit
    latency_bars         whole bars between a decision and its order reaching the exchange; 0 acts from the next open
    limit_fill           "through": a resting limit fills when the price trades beyond it; "touch": when it is reached
    zero_volume_fills    whether a bar in which nobody traded may fill an order
    """

    slippage_fraction: float = 0.0
    spread_fraction: float = 0.0
    volume_fraction_max: float | None = None
    latency_bars: int = 0
    limit_fill: Literal["through", "touch"] = "through"
    zero_volume_fills: bool = False

    def __post_init__(self) -> None:
        for name in ("slippage_fraction", "spread_fraction"):
            if not 0.0 <= getattr(self, name) < 0.5:
                raise ConfigurationError(
                    f"execution.{name} must be at least 0 and below 0.5, not {getattr(self, name)!r}"
                )
        if self.volume_fraction_max is not None and not 0.0 < self.volume_fraction_max <= 1.0:
            raise ConfigurationError(
                f"execution.volume_fraction_max must be above 0 and at most 1, not {self.volume_fraction_max!r}"
            )
        if type(self.latency_bars) is not int or self.latency_bars < 0:
            raise ConfigurationError(
                f"execution.latency_bars must be a whole number of at least 0, not {self.latency_bars!r}"
            )
        if self.limit_fill not in ("through", "touch"):
            raise ConfigurationError(f"execution.limit_fill must be 'through' or 'touch', not {self.limit_fill!r}")

    @property
    def adverse_fraction(self) -> float:
        """What a taker loses against the reference price: slippage and half the spread."""
        return self.slippage_fraction + 0.5 * self.spread_fraction


def market_price(reference: float, side: int, adverse_fraction: float, rules: Rules) -> float:
    """Return the price a taker gets: ``reference`` worsened by ``adverse_fraction``, on the tick grid, at least one
    tick.
    """
    index = tick_index(
        reference * (1.0 + side * adverse_fraction), rules.tick_numerator, rules.tick_denominator, side > 0
    )
    return tick_price(max(index, 1), rules.tick_numerator, rules.tick_denominator)


def marketable_limit_price(opening: float, limit: float, side: int, adverse_fraction: float, rules: Rules) -> float:
    """Return the price of a limit order that takes on arrival: the market's, but never beyond its limit."""
    price = market_price(opening, side, adverse_fraction, rules)
    return min(price, limit) if side > 0 else max(price, limit)


def is_marketable(opening: float, limit: float, side: int) -> bool:
    """Whether a limit order arriving at the open would take."""
    return limit >= opening if side > 0 else limit <= opening


def limit_is_reached(low: float, high: float, limit: float, side: int, limit_fill: str) -> bool:
    """Whether a resting limit order fills within the bar."""
    if limit_fill == "touch":
        return low <= limit if side > 0 else high >= limit
    return low < limit if side > 0 else high > limit


def stop_is_reached(low: float, high: float, trigger: float, side: int) -> bool:
    """Whether the price reaches a stop's trigger within the bar: from above for a sell, from below for a buy."""
    return high >= trigger if side > 0 else low <= trigger


def stop_is_beyond_open(opening: float, trigger: float, side: int) -> bool:
    """Whether the bar opens at or beyond a stop's trigger, so that the opening price and not the trigger is what one
    gets.
    """
    return opening >= trigger if side > 0 else opening <= trigger


def profit_is_reached(low: float, high: float, trigger: float, side: int) -> bool:
    """Whether the price reaches a take-profit's trigger within the bar: from below for a sell, from above for a buy."""
    return low <= trigger if side > 0 else high >= trigger


def volume_limit(volume: float, fraction_max: float, quantity_unit: float, lot: int) -> int:
    """Return how many units of a bar's base ``volume`` may be filled, rounded down to the lot."""
    units = volume * fraction_max / quantity_unit
    return math.floor(units) // lot * lot if units < AMOUNT_MAX else AMOUNT_MAX // lot * lot
