"""The treasury's arithmetic: how much money stays free on spot, what is moved into savings or out of them, and when the
coin that fees are paid with is bought. Nothing here moves anything, or knows an exchange.

    buffer = max(minimum, min(fraction × all money, maximum))

    spot > buffer + tolerance   subscribe the excess
    spot < buffer - tolerance   redeem what is short of the buffer, at most what there is
    a buy lacks money           redeem 1.001 times what it lacks, at most what there is

Amounts are exact decimals of the asset, moved in whole steps of 1e-8: rounded down into savings, up out of them.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from typing import Literal, NamedTuple

from trading_runtime.core.instruments import decimal_text
from trading_runtime.core.intents import Intent, market
from trading_runtime.core.refusals import Refusal

FUEL_LEG = "fuel"
ZERO = Decimal(0)
# A redemption for a buy brings a little more than is short: interest and prices move between question and answer.
REDEEM_FACTOR = Decimal("1.001")
_STEP = Decimal("0.00000001")
# Amounts must not depend on the decimal context of the process, which libraries change.
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)


class TreasuryTerms(NamedTuple):
    """What an account wants of its treasury; amounts in quote money, ``buffer_fraction`` of all quote money."""

    earn_buffer: bool
    buffer_fraction: Decimal
    buffer_minimum: Decimal
    buffer_maximum: Decimal
    buffer_tolerance: Decimal
    subscribe_minimum: Decimal
    fuel_symbol: str | None
    fuel_minimum: Decimal
    fuel_top_up: Decimal


class Move(NamedTuple):
    """Money to be moved into savings or out of them; ``amount`` is positive and a whole number of steps."""

    kind: Literal["subscribe", "redeem"]
    amount: Decimal


def treasury_terms(
    *,
    earn_buffer: bool = False,
    buffer_fraction: float = 0.05,
    buffer_minimum: float = 50.0,
    buffer_maximum: float = 300.0,
    buffer_tolerance: float = 5.0,
    subscribe_minimum: float = 0.1,
    fuel_symbol: str | None = None,
    fuel_minimum: float = 10.0,
    fuel_top_up: float = 15.0,
) -> TreasuryTerms:
    """Return the terms that settings of these names mean: the decimal numbers that were written there."""
    return TreasuryTerms(
        earn_buffer=earn_buffer,
        buffer_fraction=_decimal(buffer_fraction),
        buffer_minimum=_decimal(buffer_minimum),
        buffer_maximum=_decimal(buffer_maximum),
        buffer_tolerance=_decimal(buffer_tolerance),
        subscribe_minimum=_decimal(subscribe_minimum),
        fuel_symbol=fuel_symbol,
        fuel_minimum=_decimal(fuel_minimum),
        fuel_top_up=_decimal(fuel_top_up),
    )


def buffer_of(total: Decimal, terms: TreasuryTerms) -> Decimal:
    """Return what stays free on spot of ``total``, the money on spot and in savings."""
    share = _CONTEXT.multiply(terms.buffer_fraction, total)
    return max(terms.buffer_minimum, min(share, terms.buffer_maximum))


def buffer_move(spot_free: Decimal, earn: Decimal, terms: TreasuryTerms) -> Move | None:
    """Return what brings spot back to the buffer, None while it is within the tolerance or there is too little to
    move.
    """
    buffer = buffer_of(_CONTEXT.add(spot_free, earn), terms)
    excess = _CONTEXT.subtract(spot_free, buffer)
    if excess > terms.buffer_tolerance:
        move = Move("subscribe", _rounded(excess, ROUND_FLOOR))
    elif excess < -terms.buffer_tolerance:
        move = Move("redeem", _at_most(earn, -excess))
    else:
        return None
    return move if move.amount > ZERO and move.amount >= terms.subscribe_minimum else None


def redeem_for(cost: Decimal, spot_free: Decimal, earn: Decimal) -> Decimal:
    """Return what to redeem so that ``cost`` can be paid from spot: zero when nothing is short, all there is when that
    is not enough.
    """
    short = _CONTEXT.subtract(cost, spot_free)
    return _at_most(earn, _CONTEXT.multiply(short, REDEEM_FACTOR)) if short > ZERO else ZERO


def fuel_needed(fuel_value: Decimal, cash: Decimal, terms: TreasuryTerms) -> bool:
    """Whether the coin that fees are paid with is to be bought: it is worth too little, and the money is there."""
    return terms.fuel_symbol is not None and fuel_value < terms.fuel_minimum and cash >= terms.fuel_top_up


def fuel_intent(fuel_value: Decimal, cash: Decimal, terms: TreasuryTerms) -> Intent | None:
    """Return the market buy that tops the coin up, None when none is needed. Gates judge it as any other intent."""
    if terms.fuel_symbol is None or not fuel_needed(fuel_value, cash, terms):
        return None
    reason = f"worth {_rounded(fuel_value, ROUND_FLOOR):f}, below {terms.fuel_minimum:f}"
    return market(terms.fuel_symbol, "buy", notional=float(terms.fuel_top_up), leg=FUEL_LEG, reason=reason)


def fuel_refusal(fuel_value: Decimal, cash: Decimal, terms: TreasuryTerms) -> Refusal | None:
    """Return why a coin that runs low is not topped up: the money is not there. None when it is, or none is needed."""
    if terms.fuel_symbol is None or fuel_value >= terms.fuel_minimum or fuel_needed(fuel_value, cash, terms):
        return None
    worth, money = (decimal_text(_rounded(amount, ROUND_FLOOR)) for amount in (fuel_value, cash))
    least, top_up = decimal_text(terms.fuel_minimum), decimal_text(terms.fuel_top_up)
    detail = f"worth {worth}, below {least}; the cash is {money}, a top-up takes {top_up}"
    return Refusal("fuel_short_of_cash", "money", terms.fuel_symbol, FUEL_LEG, detail)


def _decimal(value: float) -> Decimal:
    return Decimal(repr(float(value)))


def _at_most(there: Decimal, wanted: Decimal) -> Decimal:
    """``wanted`` rounded up to a step, or all whole steps that are there."""
    return max(min(_rounded(wanted, ROUND_CEILING), _rounded(there, ROUND_FLOOR)), ZERO)


def _rounded(amount: Decimal, rounding: str) -> Decimal:
    return amount.quantize(_STEP, rounding=rounding, context=_CONTEXT)
