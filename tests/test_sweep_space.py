"""Which combinations a sweep has: ranges, conditions, order, draws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.strategies.sma_cross import SmaCross
from trading_runtime.sweep.conditions import parse_condition
from trading_runtime.sweep.space import (
    Space,
    all_places,
    drawn_places,
    make_space,
    permuted,
    range_values,
)


class Quantities(Parameters):
    order_qty = parameter(0.1)
    spread = parameter(2.0)
    side = parameter("both", choices=("both", "long"))
    hedge = parameter(default=False)


def space_of(wanted: dict[str, object], *where: str, fixed: dict[str, object] | None = None) -> Space:
    return make_space(wanted, where, Quantities, fixed or {})


def combinations(space: Space) -> list[dict[str, object]]:
    return [dict(space.parameters(place)) for place in all_places(space, Quantities).tolist()]


def test_the_replaced_systems_example_gives_its_four_combinations_in_its_order() -> None:
    space = space_of({"spread": {"start": 2, "stop": 3, "step": 1}, "order_qty": [0.1, 0.2]})

    assert combinations(space) == [
        {"order_qty": 0.1, "spread": 2.0},
        {"order_qty": 0.1, "spread": 3.0},
        {"order_qty": 0.2, "spread": 2.0},
        {"order_qty": 0.2, "spread": 3.0},
    ]


@pytest.mark.parametrize(
    ("start", "stop", "step", "expected"),
    [
        (0.1, 0.3, 0.1, [0.1, 0.2, 0.3]),
        (2, 3, 1, [2.0, 3.0]),
        (0, 1, 0.3, [0.0, 0.3, 0.6, 0.9]),
        (5, 5, 1, [5.0]),
        (-1, 1, 0.5, [-1.0, -0.5, 0.0, 0.5, 1.0]),
    ],
)
def test_ranges_include_both_ends_and_count_their_steps(
    start: float, stop: float, step: float, expected: list[float]
) -> None:
    assert range_values(start, stop, step) == expected


def test_a_declared_space_is_what_the_strategy_declares() -> None:
    space = make_space({"fast": "declared"}, (), SmaCross.Params, {})

    assert space.values["fast"] == tuple(range(2, 101, 2))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"spred": [1]}, "space.spred is not a parameter of the strategy; did you mean 'spread'"),
        ({"spread": []}, "space.spread: has no values"),
        ({"spread": [2.0, 2]}, "space.spread: has the value 2.0 twice"),
        ({"spread": ["wide"]}, "space.spread: parameter 'spread' must be float"),
        ({"spread": {"start": 1, "stop": 2}}, "space.spread: step is missing"),
        (
            {"spread": {"start": 1, "stop": 2, "stepp": 1}},
            "space.spread: 'stepp' is not a setting here; did you mean 'step'",
        ),
        ({"spread": {"start": 2, "stop": 1, "step": 1}}, "a stop not below start"),
        ({"spread": {"start": 1, "stop": 2, "step": 0}}, "a step above 0"),
        ({"spread": 3}, "space.spread: must be a list of values"),
        ({"spread": "declared"}, "declares no minimum, maximum and step"),
    ],
)
def test_a_wrong_space_is_one_clear_line(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=r"space") as caught:
        space_of(wanted)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_conditions_choose_the_same_as_python_does() -> None:
    wanted: dict[str, object] = {"order_qty": [0.1, 0.2, 0.5], "spread": [1, 2, 3, 4], "hedge": [False, True]}
    space = space_of(wanted, "spread * order_qty < 0.8", "not hedge or spread >= 2 and spread != 3")

    assert combinations(space) == [
        {"hedge": hedge, "order_qty": quantity, "spread": float(spread)}
        for hedge, quantity, spread in product([False, True], [0.1, 0.2, 0.5], [1, 2, 3, 4])
        if spread * quantity < 0.8 and (not hedge or (spread >= 2 and spread != 3))
    ]


def test_conditions_know_parameters_that_are_not_swept() -> None:
    space = space_of(
        {"spread": [1, 2, 3]},
        "spread > order_qty",
        "side == 'long'",
        fixed={"order_qty": 1.5, "side": "long", "hedge": False},
    )

    assert [one["spread"] for one in combinations(space)] == [2.0, 3.0]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "spread.real < 1",
        "(lambda: spread)() < 1",
        "[spread][0] < 1",
        "spread ** 99 < 1",
        "spread if hedge else order_qty",
        "spread",
        "spread < ",
        "spred < 1",
        "side < 'long'",
        "hedge < 1",
        "spread and hedge",
        "not spread",
        "f'{spread}' == 'a'",
        "spread := 1",
        "spread < 1e999",
        "spread in [1, 2]",
        "spread % 2 == 0",
    ],
)
def test_what_is_no_condition_is_refused_and_never_run(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_condition(text, {"spread": "number", "order_qty": "number", "side": "text", "hedge": "truth"})


def test_a_quotient_by_zero_holds_for_nothing() -> None:
    condition = parse_condition("spread / order_qty > 0", {"spread": "number", "order_qty": "number"})

    assert condition.holds({"spread": np.array([0.0, 1.0]), "order_qty": np.array([0.0, 2.0])}).tolist() == [
        False,
        True,
    ]


def test_combinations_that_the_strategy_itself_refuses_are_left_out() -> None:
    space = make_space({"fast": [10, 20], "slow": [10, 20]}, (), SmaCross.Params, {"weight": 0.95})

    assert [tuple(space.parameters(place).values()) for place in all_places(space, SmaCross.Params).tolist()] == [
        (10, 20),
        (20, 10),
    ]


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 3000), seed=st.integers(0, 2**31 - 1))
def test_a_shuffle_takes_every_place_exactly_once(count: int, seed: int) -> None:
    places = permuted(np.arange(count, dtype=np.uint64), count, seed)

    assert sorted(places.tolist()) == list(range(count))


def test_the_shuffle_is_the_same_on_every_machine() -> None:
    """Vectors of this implementation: a change here changes the cells of every random sweep."""
    assert permuted(np.arange(6, dtype=np.uint64), 1000, 7).tolist() == VECTOR


VECTOR = [518, 82, 426, 243, 593, 233]


def test_a_longer_draw_begins_with_the_shorter_one_and_repeats_nothing() -> None:
    space = make_space({"fast": "declared", "slow": "declared"}, ("fast < slow",), SmaCross.Params, {"weight": 0.95})
    short, long = drawn_places(space, SmaCross.Params, 50, 3), drawn_places(space, SmaCross.Params, 200, 3)
    other = drawn_places(space, SmaCross.Params, 50, 4)

    assert long[:50].tolist() == short.tolist()
    assert len(set(long.tolist())) == 200
    assert other.tolist() != short.tolist()
    assert all(space.parameters(place)["fast"] < space.parameters(place)["slow"] for place in long.tolist())


def test_a_draw_that_conditions_leave_too_little_for_says_so() -> None:
    space = make_space({"fast": [2, 4, 6], "slow": [10, 20]}, ("fast > 5",), SmaCross.Params, {"weight": 0.95})

    with pytest.raises(ConfigurationError, match="only 2 of 6 drawn combinations hold the conditions"):
        drawn_places(space, SmaCross.Params, 3, 1)


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4), data=st.data())
def test_places_and_values_are_each_others_inverse(sizes: list[int], data: st.DataObject) -> None:
    names = [f"p{number}" for number in range(len(sizes))]
    space = Space({name: tuple(range(size)) for name, size in zip(names, sizes, strict=True)}, (), {})
    place = data.draw(st.integers(0, space.count - 1))

    assert space.place({name: int(value) for name, value in space.parameters(place).items()}) == place
