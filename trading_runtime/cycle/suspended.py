"""Holdings whose market does not trade: frozen at the last known price, while the cycle goes on for all others.

    held · its market is in a break or gone ──► suspended (no order, last known price) ──► trades, has bars ──► normal

The price is that of the last decision that had a bar of the symbol, and is in every decision made meanwhile, so that a
replay counts with the same. Without one nobody can say what the account is worth: then the cycle refuses. So it does
for the first configured symbol, which the strategy is about. What is less than a lot is dust, see ``universe.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.account import Account, instrument_in_units
from trading_runtime.cycle.universe import Universe
from trading_runtime.telemetry.redact import redact

if TYPE_CHECKING:
    from trading_runtime.core.bars import Bars
    from trading_runtime.cycle.context import Context


RETURNING = "its market trades again, its bars are not complete yet"


class Suspension(NamedTuple):
    """A frozen holding: its last known price, the slot that price was of, and what the exchange said."""

    price: float
    priced_slot: int
    reason: str


def suspensions(account: Account, universe: Universe, missing: Mapping[str, str]) -> dict[str, Suspension]:
    """Return what of ``missing``, the symbols that are not traded and why, is held, and what was suspended until now:
    that stays so until a decision has its bars (``resume``). Raises ConfigurationError for a holding that never had a
    price here.
    """
    found: dict[str, Suspension] = {}
    for symbol, reason in {**dict.fromkeys(account.suspended, RETURNING), **missing}.items():
        if symbol not in universe.held:
            continue
        mark = account.marks.get(symbol)
        if mark is None:
            raise ConfigurationError(
                f"{reason}; {symbol} is held or has open orders and no decision has ever seen a price of it, so nobody "
                "can say what the account is worth"
            )
        found[symbol] = Suspension(float(mark[1]), int(mark[0]), redact(reason))
    return found


def instruments_of_suspended(account: Account, suspended: Mapping[str, Suspension]) -> dict[str, Instrument]:
    """Return what holdings that are not traded are counted in. No filter is known of them, and none is needed."""
    stopped = [symbol for symbol, one in suspended.items() if one.reason != RETURNING]
    return {symbol: instrument_in_units(symbol, account.units[symbol]) for symbol in stopped}


def returning(context: Context) -> frozenset[str]:
    """Symbols whose market trades again, and whose bars nobody has seen yet."""
    return frozenset(symbol for symbol, one in context.suspended.items() if one.reason == RETURNING)


def resume(context: Context, bars: Mapping[str, Bars]) -> None:
    """Let what is returning and has its bars take part again; say so."""
    back = [symbol for symbol in returning(context) if symbol in bars]
    for symbol in back:
        del context.suspended[symbol]
    if back:
        note_suspended(context)


def note_suspended(context: Context) -> None:
    """Remember what is suspended since when, and say once what has been, and what trades again."""
    account, now = context.account, context.suspended
    for symbol in sorted(set(account.suspended) - set(now)):
        context.note("holding_resumed", symbol=symbol)
    for symbol in sorted(set(now) - set(account.suspended)):
        context.note("holding_suspended", symbol=symbol, price=now[symbol].price, detail=now[symbol].reason)
    account.suspended = {
        symbol: {
            "since": account.suspended.get(symbol, {}).get("since", context.slot),
            "price": one.price,
            "priced": one.priced_slot,
            "reason": one.reason,
        }
        for symbol, one in sorted(now.items())
    }


def keep_marks(context: Context, bars: Mapping[str, Bars], slot: int) -> None:
    """Remember the price of every symbol of a decision, in case its market does not trade at the next one."""
    known = {symbol: mark for symbol, mark in context.account.marks.items() if symbol in context.suspended}
    seen = {symbol: [slot, float(series.close[-1])] for symbol, series in bars.items()}
    context.account.marks = {**known, **seen}


def suspended_json(account: Account) -> list[dict[str, Any]]:
    """Return the suspended holdings of an account as reports tell them, times as ISO texts."""
    found = []
    for symbol, one in account.suspended.items():
        quantity, unit = account.state.quantity(symbol), instrument_in_units(symbol, account.units[symbol])
        found.append(
            {
                "symbol": symbol,
                "quantity": unit.quantity_text(quantity),
                "price": one["price"],
                "priced": iso_time(one["priced"]),
                "since": iso_time(one["since"]),
                "reason": one["reason"],
            }
        )
    return found


def suspended_text(one: Mapping[str, Any]) -> str:
    """Return one of ``suspended_json`` as a sentence."""
    return (
        f"{one['symbol']}: {one['quantity']} held, and its market does not trade since {one['since']} "
        f"({one['reason']}): no order in it, valued at {one['price']!r} of {one['priced']}"
    )
