"""The symbols of a cycle: the configured ones, those of the publication, and what is still held of earlier ones.

    configured (fixed, first)  →  the publication's, in upstream's order  →  held or with open orders (retired)

What is configured or in use must be traded at the exchange, or the cycle refuses; a symbol of the publication that is
not is left out, and said to be. Which publication is in force is decided by the ladder, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import Instrument
from trading_runtime.cycle.account import Account
from trading_runtime.exchanges.port import Exchange


class Universe(NamedTuple):
    """Symbols in the order decisions know them; ``optional`` ones are of a publication and not in use."""

    symbols: tuple[str, ...]
    optional: frozenset[str]


def in_use(account: Account) -> set[str]:
    """Symbols that are held, have orders, or are being placed."""
    state = account.state
    held = {symbol for symbol, position in state.positions.items() if position.quantity}
    held |= {order.symbol for order in state.orders.values()}
    return held | {record.order.symbol for record in account.records.values()}


def universe_of(configured: Sequence[str], published: Sequence[str], account: Account | None) -> Universe:
    """Return the symbols of a cycle; ``published`` are the publication's, or those of the last cycle."""
    used = set[str]() if account is None else in_use(account)
    retired = sorted(used - set(configured) - set(published))
    symbols = tuple(dict.fromkeys([*configured, *published, *retired]))
    return Universe(symbols, frozenset(symbols) - set(configured) - used)


def ask_instruments(exchange: Exchange, universe: Universe) -> tuple[dict[str, Instrument], dict[str, str]]:
    """Return the instruments of a universe, and why optional symbols have none. Raises ConfigurationError when one that
    is not optional has none, ExchangeUnavailable.
    """
    try:
        return dict(exchange.instruments(universe.symbols)), {}
    except ConfigurationError:
        required = [symbol for symbol in universe.symbols if symbol not in universe.optional]
        found = dict(exchange.instruments(required))
    missing: dict[str, str] = {}
    for symbol in universe.symbols:
        if symbol not in found:
            try:
                found |= exchange.instruments([symbol])
            except ConfigurationError as error:
                missing[symbol] = f"not traded here: {error}"
    return {symbol: found[symbol] for symbol in universe.symbols if symbol in found}, missing


def admit(instruments: dict[str, Instrument], found: Mapping[str, Instrument]) -> list[str]:
    """Put what was found among the instruments that the steps of a cycle share; return what was not there before."""
    new = [symbol for symbol in found if symbol not in instruments]
    instruments |= found
    return new


def without(symbols: Iterable[str], missing: Mapping[str, str]) -> list[str]:
    """Return the symbols that have an instrument."""
    return [symbol for symbol in symbols if symbol not in missing]
