"""Parameters: one declaration gives validation, documentation and the sweep space."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as generate

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.parameters import Parameter, Parameters, parameter


class Sample(Parameters):
    """One of each kind."""

    length = parameter(20, minimum=2, maximum=200, step=2, help="bars")
    width = parameter(0.5, minimum=0.1, maximum=1.0, step=0.1)
    is_long = parameter(True)
    mode = parameter("fast", choices=("fast", "slow"))


class Pair(Parameters):
    fast = parameter(10, minimum=1)
    slow = parameter(20, minimum=1)

    def check(self) -> None:
        if self.fast >= self.slow:
            raise ConfigurationError("fast must be below slow")


def test_defaults_hold_where_nothing_is_given() -> None:
    """In declaration order, as plain JSON."""
    assert list(Sample().to_json().items()) == [("length", 20), ("width", 0.5), ("is_long", True), ("mode", "fast")]
    assert Sample(json.loads(json.dumps(Sample({"length": 4}).to_json()))).to_json() == Sample({"length": 4}).to_json()


ACCEPTED = [
    ("length", 4, 4),
    ("length", 4.0, 4),
    ("width", 1, 1.0),
    ("width", 0.35, 0.35),
    ("is_long", False, False),
    ("mode", "slow", "slow"),
]


@pytest.mark.parametrize(("name", "given", "expected"), ACCEPTED)
def test_a_value_takes_the_type_of_its_declaration(name: str, given: Any, expected: Any) -> None:
    """Whole floats become integers and integers floats; nothing else is converted."""
    value = Sample({name: given}).to_json()[name]

    assert (expected, type(expected)) == (value, type(value))


REFUSED = [
    ("length", 1, "at least 2"),
    ("length", 201, "at most 200"),
    ("length", 4.5, "must be int"),
    ("length", "4", "must be int"),
    ("length", True, "must be int"),
    ("length", None, "must be int"),
    ("width", math.nan, "finite"),
    ("width", math.inf, "finite"),
    ("width", 0.0999, "at least 0.1"),
    ("width", "0.5", "must be float"),
    ("width", True, "must be float"),
    ("is_long", 1, "must be bool"),
    ("is_long", "true", "must be bool"),
    ("mode", "medium", "one of"),
    ("mode", 1, "must be str"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED)
def test_a_value_that_does_not_fit_is_refused_by_name(name: str, value: Any, message: str) -> None:
    """Type, range and choice are each said."""
    with pytest.raises(
        ConfigurationError, match=f"parameter '{name}' must be .*{message}|parameter '{name}' {message}"
    ):
        Sample({name: value})


def test_an_unknown_parameter_gets_the_nearest_name() -> None:
    """A typing error never runs with the default."""
    with pytest.raises(ConfigurationError, match="unknown parameter 'lenght'; did you mean 'length'"):
        Sample({"lenght": 4})
    with pytest.raises(ConfigurationError, match="known: none"):
        Parameters({"x": 1})


def test_values_that_contradict_each_other_are_refused() -> None:
    """The class's own check sees all of them."""
    with pytest.raises(ConfigurationError, match="below"):
        Pair({"fast": 20})


def test_parameters_do_not_change() -> None:
    """Neither a declared one nor a new one, nor by way of the mapping that was given."""
    given = {"length": 4}
    sample = Sample(given)
    given["length"] = 6
    for name in ("length", "other"):
        with pytest.raises(AttributeError, match=name):
            setattr(sample, name, 8)

    assert sample.length == 4


def test_a_default_outside_its_own_range_is_refused_when_the_class_is_made() -> None:
    """Not first when somebody sweeps."""
    with pytest.raises(ConfigurationError, match="at least 5"):
        type("Wrong", (Parameters,), {"x": parameter(1, minimum=5)})


@pytest.mark.parametrize("name", ["check", "to_json", "declared"])
def test_a_parameter_may_not_take_the_place_of_a_method(name: str) -> None:
    """The class itself still works, or says why it cannot."""
    with pytest.raises(ConfigurationError, match=name):
        type("Wrong", (Parameters,), {name: parameter(1)})()


def test_a_subclass_adds_and_overrides() -> None:
    """Declarations are inherited."""

    class More(Pair):
        slow = parameter(50, minimum=1)
        extra = parameter(1.5)

    assert More().to_json() == {"fast": 10, "slow": 50, "extra": 1.5}
    assert Pair().to_json() == {"fast": 10, "slow": 20}
    assert list(More()) == ["fast", "slow", "extra"]


# --- the sweep space ----------------------------------------------------------------------------------------


def test_sweep_values_are_the_decimals_one_means() -> None:
    """0.1 steps give 0.3 and not 0.30000000000000004, and both ends are included."""
    assert Sample.declared["width"].sweep_values() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert Sample.declared["length"].sweep_values()[-2:] == [198, 200]
    assert Sample.declared["mode"].sweep_values() == ["fast", "slow"]


@given(generate.integers(-1000, 1000), generate.integers(1, 50), generate.integers(0, 40), generate.integers(0, 4))
def test_every_sweep_value_is_accepted_and_there_is_one_for_each_step(
    start: int, step: int, count: int, decimals: int
) -> None:
    """From minimum to maximum, with no value twice and none left out."""
    scale = 10**decimals
    minimum, maximum = start / scale, (start + count * step) / scale
    declared = Parameter(minimum, minimum, maximum, step / scale)

    values = declared.sweep_values()

    assert [(start + index * step) / scale for index in range(count + 1)] == values
    assert values == [declared.check("x", value) for value in values]


def test_a_maximum_between_two_steps_is_not_swept_beyond() -> None:
    """The last value is the last step within."""
    assert Parameter(0.0, 0.0, 1.0, 0.3).sweep_values() == [0.0, 0.3, 0.6, 0.9]


@pytest.mark.parametrize("step", [0.5, 1.5])
def test_whole_numbers_are_not_swept_in_fractions(step: float) -> None:
    """No value twice and none rounded: either a refusal or whole steps."""
    with pytest.raises(ConfigurationError, match="step"):
        Parameter(1, 1, 4, step).sweep_values()


@pytest.mark.parametrize(
    "declared",
    [
        Parameter(1),
        Parameter(1, 0, 5),
        Parameter(1, 0, None, 1),
        Parameter(1, 0, 5, 0),
        Parameter(1, 0, 5, -1),
        Parameter("x"),
    ],
)
def test_without_a_whole_declaration_there_is_no_sweep(declared: Parameter) -> None:
    """Minimum, maximum and a positive step are needed."""
    with pytest.raises(ConfigurationError, match="minimum, maximum and step"):
        declared.sweep_values()


def test_a_sweep_too_large_to_be_meant_is_refused() -> None:
    """Before any memory is taken."""
    with pytest.raises(ConfigurationError, match="values to sweep over; at most"):
        Parameter(0.0, 0.0, 1.0, 1e-9).sweep_values()
