"""Amounts: integers of the smallest unit, and the one rounding rule of each money operation.

Quantities are integers of an instrument's ``quantity_unit``, money is an integer of its ``quote_unit``; prices and
weights are float64. Each operation below is a fixed sequence of IEEE-754 double operations followed by one rounding,
so Python, numpy and the compiled kernel (``backtest/kernel.py``, which repeats these lines) give the same integers on
every machine. An operation whose float part exceeds 2**53 units still rounds to one deterministic integer.

    operation            rounding                     why
    value of a quantity  half to even                 neither side is favoured
    fee                  up, away from the account    a venue never rounds a fee in your favour
    funding              half to even                 it is paid in both directions
    quantity from money  down to the lot              an order may never exceed what it was sized for
    price to tick        against the taker / away     see ``tick_against_taker`` and ``tick_for_limit``
"""

from __future__ import annotations

import math

from trading_runtime.core.errors import AmountError

# Half of the int64 range: sums of two legal amounts never overflow in the compiled kernel.
AMOUNT_MAX = 2**62

# Two prices closer than this fraction of a tick are the same grid point: 0.29 / 0.01 is 28.999999999999996.
TICK_TOLERANCE = 1e-6


def quote_value(price: float, quantity: int, value_per_unit: float) -> int:
    """Return the money value, in quote units, of ``quantity`` units at ``price``; rounds half to even.

    ``value_per_unit`` is quantity_unit / quote_unit. Raises AmountError beyond ``AMOUNT_MAX`` or for a price that is
    not finite.
    """
    value = price * (quantity * value_per_unit)
    if not -AMOUNT_MAX < value < AMOUNT_MAX:
        raise AmountError(f"the value of {quantity} units at price {price!r} is outside the range of amounts")
    return round(value)


def fee_amount(value: int, rate: float) -> int:
    """Return the fee, in quote units and rounded up, on a traded ``value`` (its sign is ignored).

    A negative rate is a maker rebate; it too is rounded up, towards less rebate.
    """
    return math.ceil(abs(value) * rate)


def funding_amount(position_value: int, rate: float) -> int:
    """Return what a position pays (positive) or receives (negative) at one funding time; rounds half to even.

    Longs pay when the rate is positive, as Binance's funding documentation states; ``position_value`` is negative for a
    short.
    """
    return round(position_value * rate)


def quantity_for_value(value: float, price: float, value_per_unit: float, step: int) -> int:
    """Return a multiple of ``step`` units worth at most ``value`` quote units at ``price`` (0 if none): the largest
    one.

    Raises AmountError when the quantity is not finite or too large.
    """
    units = value / (price * value_per_unit)
    if not -AMOUNT_MAX < units < AMOUNT_MAX:
        raise AmountError(f"a value of {value!r} quote units at price {price!r} is outside the range of quantities")
    if not units > 0.0:
        return 0
    quantity = math.floor(units) // step * step
    # The division may have come out a hair below a whole number: 0.29 / 0.01 is 28.999999999999996.
    more = quantity + step
    return more if round(price * (more * value_per_unit)) <= value else quantity


def affordable_quantity(money: int, price: float, fee_rate: float, value_per_unit: float, step: int) -> int:
    """Return a multiple of ``step`` units whose value and fee ``money`` quote units can pay, the largest but for
    rounding.

    Raises AmountError when the quantity is not finite or too large.
    """
    quantity = quantity_for_value(money / (1.0 + max(fee_rate, 0.0)), price, value_per_unit, step)
    while quantity > 0:
        value = quote_value(price, quantity, value_per_unit)
        excess = value + fee_amount(value, fee_rate) - money
        if excess <= 0:
            return quantity
        # Rounding left it too dear by a few quote units, which may be many lots of something cheap.
        quantity -= max(1, math.ceil(excess / (price * value_per_unit * step))) * step
    return 0


def tick_index(price: float, tick_numerator: int, tick_denominator: int, upwards: bool) -> int:
    """Return the number of ticks in ``price``, rounded up or down unless it already lies on the grid.

    Raises AmountError for a price that is not finite or has too many ticks.
    """
    ratio = price * tick_denominator / tick_numerator
    if not abs(ratio) < AMOUNT_MAX:
        raise AmountError(f"price {price!r} is outside the range of prices")
    nearest = round(ratio)
    if abs(ratio - nearest) <= TICK_TOLERANCE:
        return nearest
    return math.ceil(ratio) if upwards else math.floor(ratio)


def tick_price(index: int, tick_numerator: int, tick_denominator: int) -> float:
    """Return the float64 nearest to ``index`` ticks: its ``repr`` is the exact decimal the exchange expects."""
    return float(index * tick_numerator) / tick_denominator


def tick_against_taker(price: float, is_buy: bool, tick_numerator: int, tick_denominator: int) -> float:
    """Return ``price`` on the tick grid, rounded against the one who takes: up for a buy, down for a sell."""
    return tick_price(tick_index(price, tick_numerator, tick_denominator, is_buy), tick_numerator, tick_denominator)


def tick_for_limit(price: float, is_buy: bool, tick_numerator: int, tick_denominator: int) -> float:
    """Return a limit price on the tick grid that never offers more than asked: down for a buy, up for a sell."""
    return tick_price(tick_index(price, tick_numerator, tick_denominator, not is_buy), tick_numerator, tick_denominator)
