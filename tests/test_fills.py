"""Prices of fills: what a taker pays, when a limit, a stop or a take-profit is reached, how much volume allows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as generate
from market_samples import make_rule

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.fills import (
    Execution,
    is_marketable,
    limit_is_reached,
    market_price,
    marketable_limit_price,
    profit_is_reached,
    stop_is_beyond_open,
    stop_is_reached,
    volume_limit,
)
from trading_runtime.core.money import AMOUNT_MAX

RULES = make_rule()
PRICES = generate.integers(1, 10**7).map(lambda cents: cents / 100)
FRACTIONS = generate.floats(0.0, 0.4)
SIDES = generate.sampled_from([1, -1])


@given(PRICES, SIDES, FRACTIONS)
def test_a_taker_never_gains_against_the_reference(reference: float, side: int, adverse: float) -> None:
    """Slippage, spread and the tick all work against the taker, by no more than they say and one tick."""
    price = market_price(reference, side, adverse, RULES)

    assert side * (price - reference) >= -1e-7
    assert side * (price - reference) <= reference * adverse + 0.01 + 1e-6 or price == 0.01
    assert price >= 0.01


@given(PRICES, PRICES, SIDES, FRACTIONS)
def test_a_limit_that_takes_stays_within_its_limit(opening: float, limit: float, side: int, adverse: float) -> None:
    """Neither worse than the limit nor better than the open."""
    if is_marketable(opening, limit, side):
        price = marketable_limit_price(opening, limit, side, adverse, RULES)

        assert side * (price - limit) <= 0
        assert side * (price - opening) >= -1e-7


REACHED = [
    # side, low, high, price, touch, through, stop, profit
    (1, 99.0, 101.0, 99.0, True, False, True, True),
    (1, 99.0, 101.0, 99.01, True, True, True, True),
    (1, 99.0, 101.0, 98.99, False, False, True, False),
    (1, 99.0, 101.0, 101.01, True, True, False, True),
    (-1, 99.0, 101.0, 101.0, True, False, True, True),
    (-1, 99.0, 101.0, 100.99, True, True, True, True),
    (-1, 99.0, 101.0, 101.01, False, False, True, False),
    (-1, 99.0, 101.0, 98.99, True, True, False, True),
]


@pytest.mark.parametrize(("side", "low", "high", "price", "touch", "through", "stop", "profit"), REACHED)
def test_what_a_bar_reaches(
    side: int, low: float, high: float, price: float, touch: bool, through: bool, stop: bool, profit: bool
) -> None:
    """A limit and a take-profit wait for a better price, a stop for a worse one; a touch is enough for triggers."""
    assert touch == limit_is_reached(low, high, price, side, "touch")
    assert through == limit_is_reached(low, high, price, side, "through")
    assert stop == stop_is_reached(low, high, price, side)
    assert profit == profit_is_reached(low, high, price, side)


@pytest.mark.parametrize(
    ("opening", "trigger", "side", "expected"),
    [(100.0, 100.0, 1, True), (99.99, 100.0, 1, False), (100.0, 100.0, -1, True), (100.01, 100.0, -1, False)],
)
def test_an_open_at_the_trigger_is_beyond_it(opening: float, trigger: float, side: int, expected: bool) -> None:
    """A stop whose trigger the open is or has passed gets the open."""
    assert expected == stop_is_beyond_open(opening, trigger, side)


@pytest.mark.parametrize(
    ("opening", "limit", "side", "expected"),
    [(100.0, 100.0, 1, True), (100.01, 100.0, 1, False), (100.0, 100.0, -1, True), (99.99, 100.0, -1, False)],
)
def test_a_limit_at_the_open_takes(opening: float, limit: float, side: int, expected: bool) -> None:
    """A limit that the open satisfies would take on arrival."""
    assert expected == is_marketable(opening, limit, side)


@given(generate.floats(0.0, 1e9), generate.floats(0.001, 1.0), generate.sampled_from([1, 1000, 10**8]))
def test_volume_is_shared_in_whole_lots_and_never_exceeded(volume: float, share: float, lot: int) -> None:
    """The limit is a multiple of the lot and at most the share of the volume."""
    units = volume_limit(volume, share, 1e-8, lot)

    assert units % lot == 0
    assert 0 <= units <= volume * share / 1e-8
    assert units + lot > volume * share / 1e-8


def test_a_volume_beyond_all_integers_is_a_limit_still() -> None:
    """Meme coins trade volumes that no 63-bit integer of 1e-8 holds."""
    assert volume_limit(1e15, 1.0, 1e-8, 1000) <= AMOUNT_MAX


INVALID: list[dict[str, Any]] = [
    {"slippage_fraction": -0.1},
    {"slippage_fraction": 0.5},
    {"slippage_fraction": float("nan")},
    {"spread_fraction": -1e-9},
    {"spread_fraction": float("inf")},
    {"volume_fraction_max": 0.0},
    {"volume_fraction_max": 1.01},
    {"volume_fraction_max": float("nan")},
    {"latency_bars": -1},
    {"latency_bars": 1.5},
    {"limit_fill": "maybe"},
]


@pytest.mark.parametrize("setting", INVALID, ids=str)
def test_an_execution_that_makes_no_sense_is_refused_by_name(setting: dict[str, Any]) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match=f"execution.{next(iter(setting))}"):
        Execution(**setting)


def test_a_taker_pays_slippage_and_half_the_spread() -> None:
    """The adverse fraction is the one sum of both."""
    assert Execution(slippage_fraction=0.25, spread_fraction=0.25).adverse_fraction == 0.375
