"""The symbols of a cycle: the configured ones, those of the publication, and what is still held of earlier ones.

    configured (fixed, first)  →  the publication's, in upstream's order  →  held or with open orders (retired)

What is configured must be traded at the exchange, or the cycle refuses; a symbol of the publication that is not is left
out, and said to be. So is one of which less than a lot is left, for that can never be sold: fees that are taken in
coins leave it behind, and a market that is closed one day must not stop everything. More of one that is not traded is
frozen (``suspended.py``), but for the first configured symbol, which the strategy is about. Which publication is in
force is decided by the ladder, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.state import BaseFeePaid
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.context import Context
from trading_runtime.exchanges.port import Exchange

if TYPE_CHECKING:
    from trading_runtime.config.cycle_schema import CycleSettings


class Universe(NamedTuple):
    """Symbols in the order decisions know them; ``optional`` ones are of a publication and not in use, or dust. Those
    that are ``held`` (or have orders) need not be traded either, the first of all symbols excepted.
    """

    symbols: tuple[str, ...]
    optional: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()


def in_use(account: Account) -> set[str]:
    """Symbols that are held, have orders, or are being placed."""
    state = account.state
    held = {symbol for symbol, position in state.positions.items() if position.quantity}
    held |= {order.symbol for order in state.orders.values()}
    return held | {record.order.symbol for record in account.records.values()}


def configured_symbols(settings: CycleSettings) -> tuple[str, ...]:
    """Return the symbols that are there whatever is published: those of the settings, and the market of the fuel."""
    symbols, fuel = settings.market.symbols, settings.treasury.fuel_symbol
    return tuple(symbols) if fuel is None or fuel in symbols else (*symbols, fuel)


def universe_of(configured: Sequence[str], published: Sequence[str], account: Account | None) -> Universe:
    """Return the symbols of a cycle; ``published`` are the publication's, or those of the last cycle."""
    used = set[str]() if account is None else in_use(account)
    retired = sorted(used - set(configured) - set(published))
    symbols = tuple(dict.fromkeys([*configured, *published, *retired]))
    needed = used if account is None else used - dust_of(account)
    return Universe(symbols, frozenset(symbols) - set(configured) - needed, frozenset(needed) - set(symbols[:1]))


def fixed_universe(configured: Sequence[str], account: Account | None) -> Universe:
    """Return the symbols of a cycle without publications: only a person changes them, and is told about one that is
    still held.
    """
    symbols = tuple(dict.fromkeys(configured))
    used = set[str]() if account is None else in_use(account) - dust_of(account)
    return Universe(symbols, held=frozenset(used & set(symbols[1:])))


def dust_of(account: Account) -> set[str]:
    """Symbols of which the last cycle left less than a lot, and nothing has been ordered since."""
    ordered = {order.symbol for order in account.state.orders.values()}
    ordered |= {record.order.symbol for record in account.records.values()}
    return set(account.dust) - ordered


def note_dust(context: Context) -> None:
    """Remember of which symbols less than a lot is held: whether that is so can only be told while they are traded."""
    account = context.account
    account.dust = sorted(
        symbol
        for symbol, position in account.state.positions.items()
        if position.quantity and symbol in context.instruments and not context.whole_lots(symbol)
    )


def write_off_dust(context: Context, symbols: Iterable[str]) -> None:
    """Take the dust of ``symbols``, which are not traded any more, out of the book as a loss: it has no price now."""
    account = context.account
    dust = dust_of(account)
    for symbol in symbols:
        quantity = account.state.quantity(symbol)
        if symbol in dust and quantity > 0:
            account.book(BaseFeePaid(symbol, quantity, 0), reason="dust of a market that is closed")
            context.note("dust_written_off", symbol=symbol, units=quantity)


def ask_instruments(exchange: Exchange, universe: Universe) -> tuple[dict[str, Instrument], dict[str, str]]:
    """Return the instruments of a universe, and why optional and held symbols have none. Raises ConfigurationError when
    another one has none, ExchangeUnavailable.
    """
    try:
        return dict(exchange.instruments(universe.symbols)), {}
    except ConfigurationError:
        required = [one for one in universe.symbols if one not in universe.optional | universe.held]
        found = dict(exchange.instruments(required)) if required else {}
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
