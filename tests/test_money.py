"""Amounts: one rounding rule for each operation, never in the account's favour, the same on every machine."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as generate

from trading_runtime.core.errors import AmountError
from trading_runtime.core.money import (
    AMOUNT_MAX,
    affordable_quantity,
    fee_amount,
    funding_amount,
    quantity_for_value,
    quote_value,
    tick_against_taker,
    tick_for_limit,
    tick_index,
    tick_price,
)

PRICES = generate.floats(1e-6, 1e6)
MONEY = generate.integers(0, 10**12)
STEPS = generate.sampled_from([1, 10, 1000, 10**5, 10**8])
RATES = generate.sampled_from([0.0, 0.0002, 0.001, 0.0075, 0.5])


# --- value, fee, funding ------------------------------------------------------------------------------------


@given(PRICES, generate.integers(-(10**12), 10**12))
def test_a_value_is_the_exact_product_rounded_to_the_nearest_unit(price: float, quantity: int) -> None:
    """Within the 53 bits of a double the value is off by no more than the one rounding."""
    exact = Fraction(price) * quantity
    value = quote_value(price, quantity, 1.0)

    assert abs(value - exact) <= Fraction(1, 2) + abs(exact) * Fraction(1, 2**52)


@pytest.mark.parametrize(("price", "expected"), [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2)])
def test_half_a_unit_goes_to_the_even_neighbour(price: float, expected: int) -> None:
    """Neither side of a trade is favoured."""
    assert expected == quote_value(price, 1, 1.0)


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, 5e18])
def test_a_value_out_of_range_is_an_error(price: float) -> None:
    """An amount that no 63-bit integer holds is refused, not wrapped round."""
    with pytest.raises(AmountError):
        quote_value(price, 1, 1.0)


@given(generate.integers(-(10**15), 10**15), RATES)
def test_a_fee_is_rounded_up_and_ignores_the_sign(value: int, rate: float) -> None:
    """A fee is never below the exact one, by more than rounding noise, and never a whole unit above it."""
    exact = abs(value) * Fraction(rate)
    fee = fee_amount(value, rate)

    assert fee_amount(-value, rate) == fee
    assert -abs(exact) * Fraction(1, 2**52) <= fee - exact < 1 + abs(exact) * Fraction(1, 2**52)


@pytest.mark.parametrize(
    ("value", "rate", "expected"), [(1, 0.001, 1), (0, 0.001, 0), (1999, -0.001, -1), (10, 0.0, 0)]
)
def test_fees_by_hand(value: int, rate: float, expected: int) -> None:
    """The smallest fee is one unit, no value no fee, and a rebate is rounded towards less of it."""
    assert expected == fee_amount(value, rate)


@given(generate.integers(-(10**15), 10**15), generate.floats(-0.01, 0.01))
def test_funding_is_symmetric(value: int, rate: float) -> None:
    """What a long pays a short of the same size receives, to the unit."""
    assert funding_amount(value, rate) == -funding_amount(-value, rate)


# --- quantity from money ------------------------------------------------------------------------------------


@given(MONEY, PRICES, STEPS)
def test_a_quantity_is_worth_at_most_its_money_and_one_lot_more_is_not(money: int, price: float, step: int) -> None:
    """The largest number of whole lots, but for the last rounding."""
    quantity = quantity_for_value(money, price, 1.0, step)
    noise = 1 + Fraction(money, 2**50)

    assert quantity % step == 0
    assert quantity >= 0
    assert quantity * Fraction(price) <= money + noise
    assert (quantity + step) * Fraction(price) > money - noise


@given(generate.integers(1, 10**4), generate.integers(1, 10**6))
def test_the_value_of_some_lots_buys_as_many(lots: int, cents: int) -> None:
    """Money that is exactly the value of a number of whole lots is not rounded to one lot less."""
    price, lot = cents / 100, 10**8
    money = quote_value(price, lots * lot, 1.0)

    assert lots * lot == quantity_for_value(money, price, 1.0, lot), f"{lots} lots at {price}"


@pytest.mark.parametrize(("money", "price"), [(-1.0, 1.0), (0.0, 1.0), (0.5, 1.0)])
def test_no_money_buys_nothing(money: float, price: float) -> None:
    """Debt and less than one unit give zero, not a negative quantity."""
    assert quantity_for_value(money, price, 1.0, 1) == 0


@pytest.mark.parametrize(("money", "price"), [(math.nan, 1.0), (math.inf, 1.0), (1e18, 1e-3), (1.0, math.nan)])
def test_a_quantity_out_of_range_is_an_error(money: float, price: float) -> None:
    """No number, no quantity."""
    with pytest.raises(AmountError):
        quantity_for_value(money, price, 1.0, 1)


@given(MONEY, PRICES, RATES, STEPS)
def test_an_affordable_quantity_is_paid_with_fee_and_much_more_is_not(
    money: int, price: float, rate: float, step: int
) -> None:
    """Value and fee stay within the money; a lot and the rounding of a few units more would not."""

    def cost(quantity: int) -> int:
        value = quote_value(price, quantity, 1.0)
        return value + fee_amount(value, rate)

    quantity = affordable_quantity(money, price, rate, 1.0, step)
    few_units = math.ceil(4 / price / step) * step + math.ceil(quantity * 1e-15) * step

    assert quantity % step == 0
    assert cost(quantity) <= money
    assert cost(quantity + step + few_units) > money


def test_what_is_affordable_of_a_cheap_coin_is_found_at_once() -> None:
    """Where rounding leaves the first guess too dear by one unit, no walk over millions of lots follows."""
    quantity = affordable_quantity(1_000_000_002, 1e-9, 0.001, 1.0, 1)  # lot by lot this would take hours

    assert quantity > 9.9 * 10**17


# --- ticks --------------------------------------------------------------------------------------------------

TICKS = generate.sampled_from(["0.01", "0.5", "0.05", "0.00001", "1", "10", "0.00000001", "0.25"])


@given(generate.integers(1, 10**9), TICKS)
def test_a_price_on_the_grid_stays_there(index: int, tick: str) -> None:
    """The decimal an exchange shows for a grid price is that price's repr, and rounding leaves it alone."""
    numerator, denominator = Decimal(tick).as_integer_ratio()
    price = tick_price(index, numerator, denominator)

    assert float(Decimal(tick) * index) == price
    assert index == tick_index(price, numerator, denominator, True) == tick_index(price, numerator, denominator, False)
    assert price == tick_for_limit(price, True, numerator, denominator)
    assert price == tick_against_taker(price, False, numerator, denominator)


@given(generate.floats(1e-3, 1e7), TICKS)
def test_rounding_to_the_tick_goes_the_cautious_way(price: float, tick: str) -> None:
    """A taker's price gets worse and a limit better, by less than a tick, within the tolerance of a grid point."""
    numerator, denominator = Decimal(tick).as_integer_ratio()
    width = Fraction(tick)
    slack = width * Fraction(2, 10**6) + Fraction(price) * Fraction(1, 2**51)
    bought = Fraction(tick_against_taker(price, True, numerator, denominator))
    sold = Fraction(tick_against_taker(price, False, numerator, denominator))

    assert -slack <= bought - Fraction(price) < width + slack
    assert -slack <= Fraction(price) - sold < width + slack
    assert sold == Fraction(tick_for_limit(price, True, numerator, denominator))
    assert bought == Fraction(tick_for_limit(price, False, numerator, denominator))


@given(generate.integers(1, 10**8))
def test_tick_rounding_agrees_with_decimals(thousandths: int) -> None:
    """Prices of three decimals on a grid of two: as exact decimal arithmetic rounds them."""
    exact = Decimal(thousandths).scaleb(-3)
    price = float(exact)

    assert float(exact.quantize(Decimal("0.01"), ROUND_CEILING)) == tick_against_taker(price, True, 1, 100)
    assert float(exact.quantize(Decimal("0.01"), ROUND_FLOOR)) == tick_for_limit(price, True, 1, 100)


@given(generate.integers(0, 10**12), generate.integers(1, 10**6))
def test_values_agree_with_decimals(units: int, cents: int) -> None:
    """A value in units of 1e-8 is what exact decimal arithmetic gives, where doubles are exact enough to tell."""
    exact = (Decimal(units) * Decimal(cents) / 100).quantize(Decimal(1), ROUND_HALF_EVEN)

    assert abs(quote_value(cents / 100, units, 1.0) - int(exact)) <= max(1, int(exact) >> 52)


def test_the_range_leaves_room_for_one_addition() -> None:
    """Two legal amounts add up within 64 bits, which the compiled kernel relies on."""
    assert 2 * AMOUNT_MAX < 2**63 + 1
