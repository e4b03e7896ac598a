"""Compound growth: the quick road to it and its definition never differ, by a single bit."""

from __future__ import annotations

import math
import random
from decimal import Decimal, localcontext

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trading_runtime.backtest import compound as module
from trading_runtime.backtest.compound import by_definition, compound

ABOVE_TOTAL_LOSS = st.floats(-1.0, 1e30, exclude_min=True)
EXPONENTS = st.floats(-2000.0, 2000.0)


@settings(max_examples=700)
@given(total=ABOVE_TOTAL_LOSS, exponent=EXPONENTS)
@example(total=5e-324, exponent=1.0)
@example(total=-5e-324, exponent=365.0)
@example(total=1e-40, exponent=12.0)
@example(total=math.nextafter(-1.0, 0.0), exponent=1e-3)
@example(total=1.0, exponent=1024.0)
@example(total=0.4, exponent=0.0)
@example(total=0.1, exponent=-0.0)
def test_the_result_is_the_definitions(total: float, exponent: float) -> None:
    assert compound(total, exponent) == by_definition(total, exponent)


@settings(max_examples=700)
@given(total=st.floats(-0.999, 20.0), years=st.floats(0.003, 30.0))
def test_returns_over_usual_times_are_the_definitions(total: float, years: float) -> None:
    assert compound(total, 1.0 / years) == by_definition(total, 1.0 / years)


def test_usual_returns_need_no_second_road() -> None:
    """So that the tests above hold the quick one to the definition, and not the definition to itself."""
    seed = 20_261_121
    chance = random.Random(seed)
    quick = [
        module._in_fixed_point(chance.choice((-1, 1)) * 10 ** chance.uniform(-4.0, -0.01), 1 / chance.uniform(0.01, 10))
        for _ in range(1000)
    ]

    assert quick.count(None) == 0, f"seed {seed}"


def test_a_result_too_near_to_two_numbers_goes_by_the_definition() -> None:
    tiny = 1e-25

    assert module._in_fixed_point(tiny, 12.0) is None
    assert compound(tiny, 12.0) == by_definition(tiny, 12.0) == pytest.approx(12e-25)


def test_the_error_of_the_quick_road_is_within_what_its_bound_allows_sixteen_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against sixty digits, with the bound made as narrow as the error that is claimed."""
    monkeypatch.setattr(module, "_BOUND_BITS", 92)
    seed = 5
    chance = random.Random(seed)
    compared = 0
    with localcontext() as context:
        context.prec = 60
        assert round(Decimal(2).ln() * 2**module._BITS) == module._LN_2
        for _ in range(1000):
            logarithm, exponent = chance.uniform(-2.0, 3.0), chance.uniform(-1000.0, 1000.0)
            if abs(logarithm * exponent) > 44.0:
                continue
            total = math.expm1(logarithm)
            exact = ((1 + Decimal(total)).ln() * Decimal(exponent)).exp() - 1
            quick = module._in_fixed_point(total, exponent)
            assert quick is None or quick == float(exact), f"seed {seed}: {total!r} {exponent!r}"
            compared += quick is not None
    assert compared > 50, f"seed {seed}"


@pytest.mark.parametrize("total", [math.nan, math.inf, -math.inf, -1.5, math.nextafter(-1.0, -2.0)])
def test_what_cannot_grow_has_no_result(total: float) -> None:
    assert compound(total, 2.0) is None


def test_edges() -> None:
    assert compound(-1.0, 3.0) == -1.0
    assert compound(0.0, 3.0) == by_definition(0.0, 3.0) == 0.0
    assert compound(1e300, 50.0) is None
    assert compound(1.0, 5.0) == 31.0
