"""Instruments: exact units, rules by date, symbols, and settings refused by name."""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as generate
from market_samples import START_MS, UNIT, make_instrument

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import Instrument, decimal_text, make_rules, split_symbol

BTC = make_instrument()
COARSE = make_instrument(unit="0.001", quote_unit="0.01", lot="0.001")


# --- units --------------------------------------------------------------------------------------------------


@given(generate.integers(0, 2**62), generate.sampled_from([BTC, COARSE]))
def test_units_and_texts_undo_each_other(units: int, instrument: Instrument) -> None:
    """The decimal text of any amount is exact, plain and read back as the same units."""
    text = instrument.quantity_text(units)

    assert units == instrument.quantity_units(text)
    assert Decimal(text) == units * instrument.quantity_unit
    assert not set(text) - set("0123456789.")
    assert instrument.money_units(instrument.money_text(units)) == units


@pytest.mark.parametrize(
    ("quantity", "units"),
    [
        (0.1, 10_000_000),
        (0.3, 30_000_000),
        ("0.123456789", 12_345_678),
        (1e-9, 0),
        (Decimal("1e-8"), 1),
        (-0.1, -10_000_000),
    ],
)
def test_a_quantity_is_what_its_decimal_says_rounded_towards_zero(quantity: Any, units: int) -> None:
    """0.3 is three tenths, not 0.299999999999999988."""
    assert units == BTC.quantity_units(quantity)


@pytest.mark.parametrize(("money", "units"), [(0.29, 29), ("1.005", 100), ("1.015", 102), (-0.29, -29), (1e6, 10**8)])
def test_money_is_rounded_half_to_even(money: Any, units: int) -> None:
    """To the unit of the quote."""
    assert units == COARSE.money_units(money)


@given(generate.integers(-(2**62), 2**62), generate.decimals(-(10**9), 10**9, places=10))
def test_no_amount_depends_on_the_decimal_context_of_the_process(units: int, money: Decimal) -> None:
    """ccxt sets another rounding for the whole process."""

    def told() -> list[Any]:
        return [
            BTC.quantity_text(units),
            BTC.money_text(units),
            BTC.quantity_float(units),
            BTC.money_float(units),
            BTC.quantity_units(money),
            BTC.money_units(money),
            COARSE.money_units(money),
        ]

    usual = told()
    with localcontext(Context(prec=5, rounding=ROUND_UP)):
        assert told() == usual


@given(generate.integers(-(2**62), 2**62))
def test_the_float_of_an_amount_is_the_nearest_one(units: int) -> None:
    """For people, charts and strategies: the double that its decimal names."""
    assert float(BTC.quantity_text(units)) == BTC.quantity_float(units)
    assert float(BTC.money_text(units)) == BTC.money_float(units)


@pytest.mark.parametrize(
    ("text", "expected"), [("1E+3", "1000"), ("1.500", "1.5"), ("-0.10", "-0.1"), ("0", "0"), ("1E-8", "0.00000001")]
)
def test_decimal_texts_are_plain(text: str, expected: str) -> None:
    """No exponent, no zeros at the end."""
    assert expected == decimal_text(Decimal(text))


def test_the_value_of_a_unit_is_the_ratio_of_the_units() -> None:
    """Quote units per quantity unit at a price of one."""
    assert BTC.value_per_unit == 1.0
    assert COARSE.value_per_unit == 0.1


# --- rules by date ------------------------------------------------------------------------------------------


def test_the_rules_of_the_day_hold() -> None:
    """From their date on, to the millisecond, until the next ones."""
    dated = make_instrument(
        valid_from=1000, later=[{"valid_from": 2000, "tick": "1"}, {"valid_from": 3000, "tick": "5"}]
    )

    ticks = [
        dated.rules_at(time).tick_numerator / dated.rules_at(time).tick_denominator
        for time in (1000, 1999, 2000, 2999, 3000, 10**15)
    ]

    assert ticks == [0.01, 0.01, 1.0, 1.0, 5.0, 5.0]


def test_a_time_before_all_rules_is_an_error() -> None:
    """Nothing is assumed about the past."""
    with pytest.raises(
        ConfigurationError, match=r"no rules hold at 2023-12-31T23:59:59\.999Z; the first are valid from 2024-01-01"
    ):
        make_instrument(valid_from=START_MS).rules_at(START_MS - 1)


@pytest.mark.parametrize("dates", [[], [2, 1], [1, 1]])
def test_rules_without_rising_dates_are_refused(dates: list[int]) -> None:
    """None, disorder and repetition."""
    rules = tuple(make_rules(quantity_unit=UNIT, quote_unit=UNIT, valid_from=date) for date in dates)
    with pytest.raises(ConfigurationError, match="rising"):
        Instrument("BTC/USDT", "spot", "BTC", "USDT", UNIT, UNIT, rules)


# --- settings -----------------------------------------------------------------------------------------------


def test_rules_are_exact_integers() -> None:
    """What exchanges write as decimals, in units."""
    rules = make_rules(
        quantity_unit=UNIT, quote_unit=Decimal("0.01"), tick="0.05", lot="0.001", quantity_minimum="0.002",
        quantity_maximum="100", notional_minimum="5",
    )  # fmt: skip

    assert (rules.tick_numerator, rules.tick_denominator) == (1, 20)
    assert (
        rules.lot, rules.quantity_minimum, rules.quantity_maximum, rules.notional_minimum,
    ) == (100_000, 200_000, 10**10, 500)  # fmt: skip


INVALID: list[dict[str, Any]] = [
    {"tick": "0"},
    {"tick": "-0.01"},
    {"tick": "one"},
    {"tick": "NaN"},
    {"tick": "Infinity"},
    {"lot": "0"},
    {"lot": "0.000000001"},
    {"lot": "1.000000001"},
    {"quantity_minimum": "0.000000001"},
    {"quantity_minimum": "-1"},
    {"quantity_minimum": "2", "quantity_maximum": "1"},
    {"notional_minimum": "0.000000001"},
    {"maker_fee_rate": -0.02},
    {"taker_fee_rate": 1.0},
    {"taker_fee_rate": float("nan")},
    {"lot": "100000000000"},
    {"quantity_maximum": "100000000000"},
]


@pytest.mark.parametrize("setting", INVALID, ids=str)
def test_a_setting_that_makes_no_sense_is_refused_by_name(setting: dict[str, Any]) -> None:
    """The message names the setting; what no 63-bit integer of the unit holds makes no sense either."""
    with pytest.raises(ConfigurationError, match=f"instrument.*{next(iter(setting))}"):
        make_rules(quantity_unit=UNIT, quote_unit=UNIT, **setting)


# --- symbols ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("BTC/USDT", ("BTC", "USDT", "spot")),
        ("BTC/USDT:USDT", ("BTC", "USDT", "perpetual")),
        ("1000PEPE/USDC:USDC", ("1000PEPE", "USDC", "perpetual")),
    ],
)
def test_symbols_are_read(symbol: str, expected: tuple[str, str, str]) -> None:
    """Base, quote and kind of a ccxt symbol."""
    assert expected == split_symbol(symbol)


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "BTCUSDT",
        "BTC/",
        "/USDT",
        "BTC/USDT/X",
        "BTC/USD:BTC",
        "BTC/USDT:",
        "BTC/USDT:USDT-240329",
        "BTC-USDT",
        "A/B:B:B",
    ],
)
def test_what_is_no_symbol_or_no_linear_one_is_refused(symbol: str) -> None:
    """Inverse and dated contracts included: their profit is not counted in the quote alone."""
    with pytest.raises(ConfigurationError, match="symbol"):
        split_symbol(symbol)
