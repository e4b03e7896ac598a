"""Holdings whose market does not trade: frozen at the last known price, while the cycle goes on for all others.

    held · its market is in a break or gone ──► suspended (no order, last known price) ──► trades, has bars ──► normal

The price is that of the last decision that had a bar of the symbol, and is in every decision made meanwhile, so that a
replay counts with the same. When the market trades again, the time that it stood still has no bars: those are flat, for
there was no other price, so that what a strategy declares is known as soon as there is one new bar. Without any price
nobody can say what the account is worth: then the cycle refuses. So it does for the first configured symbol, which the
strategy is about. What is less than a lot is dust, see ``universe.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.account import Account, instrument_in_units
from trading_runtime.cycle.bars import longer_name
from trading_runtime.cycle.universe import Universe, in_use
from trading_runtime.exchanges.port import Interval
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
    return {symbol: instrument_in_units(symbol, account.units[symbol]) for symbol in sorted(stopped(suspended))}


def stopped(suspended: Mapping[str, Suspension]) -> frozenset[str]:
    """Return what cannot even be asked about, other than of orders and coins: its market does not trade."""
    return frozenset(symbol for symbol, one in suspended.items() if one.reason != RETURNING)


def returning(suspended: Mapping[str, Suspension]) -> frozenset[str]:
    """Return the symbols whose market trades again, and whose bars nobody has seen yet."""
    return frozenset(symbol for symbol, one in suspended.items() if one.reason == RETURNING)


def intervals_still(
    account: Account, suspended: Mapping[str, Suspension], until_ms: int
) -> dict[str, Sequence[Interval]]:
    """Return when the markets of what is held have stood still, as far as this account has seen it; what is returning
    now has not traded before ``until_ms``, when the newest bar opened: that one must be there.
    """
    found = {symbol: [(start, end) for start, end in one] for symbol, one in account.stood_still.items()}
    for symbol in returning(suspended):
        found[symbol] = [*found.get(symbol, []), (suspended[symbol].priced_slot, until_ms)]
    return {symbol: tuple(one) for symbol, one in found.items()}


def resume(context: Context, bars: dict[str, Bars], longer: Iterable[str], until_ms: int) -> None:
    """Let what is returning and has all its bars, those of the ``longer`` timeframes too, take part again; say so.
    ``until_ms`` as in ``intervals_still``. What lacks some stays frozen: nothing is decided on what is not told yet.
    """
    account, is_any = context.account, False
    for symbol in sorted(returning(context.suspended)):
        names = [symbol, *(longer_name(symbol, timeframe) for timeframe in longer)]
        if not all(name in bars for name in names):
            for name in names:
                bars.pop(name, None)
            continue
        account.stood_still.setdefault(symbol, []).append([context.suspended.pop(symbol).priced_slot, until_ms])
        is_any = True
    if is_any:
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
    used = in_use(account)
    account.stood_still = {symbol: one for symbol, one in account.stood_still.items() if symbol in used}


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
