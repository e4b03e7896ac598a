"""The daily breaker of the trend sleeve: what it has lost since the day began, whatever cash came and went meanwhile.

    profit   = sum over the sleeve's symbols of (profit now - profit when the day began)
    fraction = profit / base,   base = value of the sleeve and its cash when the day began

Profits are of real fills, fees and prices. A deposit, a withdrawal, interest, or a sale at an unchanged price is no
profit and no loss. Days are of UTC. What a tripped breaker sells is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

# A loss of exactly the limit trips, although rounding to the unit of money and floats may have it a hair smaller.
TOLERANCE = 1e-9


class BreakerDay(NamedTuple):
    """One UTC day of the sleeve: the capital (quote money) and each symbol's profit (quote money, since ever) that the
    day is measured from, and whether the breaker has tripped on it. ``latest`` and ``latest_capital`` are the same at
    the newest decision: the next day is measured from there, so that no hour counts for no day.
    """

    day: str
    base: float
    profits: Mapping[str, float]
    latched: bool
    latest: Mapping[str, float] = MappingProxyType({})
    latest_capital: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "profits": dict(self.profits), "latest": dict(self.latest)}


def breaker_day_from_json(kept: Mapping[str, Any] | None) -> BreakerDay | None:
    if kept is None:
        return None
    latest, capital = kept.get("latest", {}), kept.get("latest_capital", 0.0)
    return BreakerDay(kept["day"], kept["base"], kept["profits"], kept["latched"], latest, capital)


def opened_day(
    kept: BreakerDay | None, day: str, capital: float, symbols: Iterable[str], profit_of: Callable[[str], float]
) -> BreakerDay:
    """Return the day to measure: the kept one while it lasts, otherwise a new one, from the newest decision of the one
    before, or from now on with ``capital`` where there was none.

    A symbol that joins the sleeve during the day is measured from then on. A day that began without capital takes the
    first there is.
    """
    if kept is None or kept.day != day:
        before = {} if kept is None else kept.latest
        # What has earned or lost since, and has left the sleeve meanwhile, belongs to the day as well.
        measured = {*symbols, *(symbol for symbol, profit in before.items() if profit_of(symbol) != profit)}
        base = capital if kept is None or kept.latest_capital <= 0.0 else kept.latest_capital
        profits = {symbol: before.get(symbol, profit_of(symbol)) for symbol in sorted(measured)}
        return BreakerDay(day, base, profits, latched=False)
    joined = {symbol: profit_of(symbol) for symbol in sorted(symbols) if symbol not in kept.profits}
    base = kept.base if kept.base > 0.0 else capital
    return kept._replace(base=base, profits={**kept.profits, **joined})


def decided_day(day: BreakerDay, capital: float, profit_of: Callable[[str], float]) -> BreakerDay:
    """Return the day as this decision leaves it: the next one begins with the ``capital`` and the profits of now."""
    return day._replace(latest={symbol: profit_of(symbol) for symbol in sorted(day.profits)}, latest_capital=capital)


def profit_since(day: BreakerDay, profit_of: Callable[[str], float]) -> float:
    """Return what the sleeve has earned since the day began, in quote money."""
    # In the order of names: the order of additions must not depend on the order in which symbols joined.
    return sum((profit_of(symbol) - day.profits[symbol] for symbol in sorted(day.profits)), 0.0)


def profit_fraction(profit: float, base: float) -> float:
    """Return the profit as a fraction of the base; 0.0 where there is no capital that could have been lost."""
    return profit / base if base > 0.0 else 0.0


def trips(fraction: float, loss_fraction: float) -> bool:
    """Whether a loss of ``loss_fraction`` or more has been made."""
    return fraction <= -loss_fraction + TOLERANCE
