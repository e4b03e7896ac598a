"""Typed strategy parameters: one declaration gives validation, documentation and the sweep space.

    class Params(Parameters):
        fast = parameter(20, minimum=2, maximum=200, step=1, help="bars of the fast average")

``P.fast`` stands for the value inside column declarations, before any value is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from trading_runtime.core.errors import ConfigurationError, nearest_name

Scalar = int | float | bool | str

SWEEP_VALUES_MAX = 1_000_000


@dataclass(frozen=True)
class Parameter:
    """One parameter: its default fixes the type; minimum, maximum and step (inclusive) or choices fix the sweep
    space.
    """

    default: Scalar
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[Scalar, ...] | None = None
    help: str = ""

    @property
    def kind(self) -> type:
        return type(self.default)

    def check(self, name: str, value: Any) -> Scalar:
        """Return ``value`` in the parameter's type; raises ConfigurationError when it does not fit."""
        kind = self.kind
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not kind:
            raise ConfigurationError(f"parameter {name!r} must be {kind.__name__}, not {value!r}")
        if self.choices is not None and value not in self.choices:
            raise ConfigurationError(f"parameter {name!r} must be one of {list(self.choices)}, not {value!r}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise ConfigurationError(f"parameter {name!r} must be finite, not {value!r}")
            if self.minimum is not None and value < self.minimum:
                raise ConfigurationError(f"parameter {name!r} must be at least {self.minimum}, not {value!r}")
            if self.maximum is not None and value > self.maximum:
                raise ConfigurationError(f"parameter {name!r} must be at most {self.maximum}, not {value!r}")
        return cast(Scalar, value)

    def sweep_values(self) -> list[Scalar]:
        """Return the values of the sweep space in order; raises ConfigurationError when none is declared.

        Steps are counted, not accumulated, and rounded to ten decimals, so that 0.1 steps give 0.3 and not
        0.30000000000000004.
        """
        if self.choices is not None:
            return list(self.choices)
        if self.minimum is None or self.maximum is None or self.step is None or self.step <= 0:
            raise ConfigurationError("the parameter declares no minimum, maximum and step to sweep over")
        if self.kind is int and not (float(self.minimum).is_integer() and float(self.step).is_integer()):
            raise ConfigurationError(
                f"a whole-number parameter is swept in whole steps: not from {self.minimum!r} in steps of {self.step!r}"
            )
        count = math.floor((self.maximum - self.minimum) / self.step + 1e-9) + 1
        if count > SWEEP_VALUES_MAX:
            raise ConfigurationError(
                f"the parameter has {count} values to sweep over; at most {SWEEP_VALUES_MAX} are allowed"
            )
        values = [round(self.minimum + index * self.step, 10) for index in range(count)]
        return [int(value) for value in values] if self.kind is int else list(values)


def parameter(
    default: Any,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    step: float | None = None,
    choices: tuple[Scalar, ...] | None = None,
    help: str = "",  # noqa: A002 -- the word argparse and every user knows
) -> Any:
    """Declare a parameter in a ``Parameters`` class; typed as Any so that ``self.params.fast`` reads as its value."""
    return Parameter(default, minimum, maximum, step, choices, help)


class Parameters:
    """Validated, unchangeable parameter values. Subclasses declare them with ``parameter`` and may override
    ``check``.
    """

    declared: ClassVar[Mapping[str, Parameter]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Parameter)}
        for name in own:
            if hasattr(Parameters, name):
                raise ConfigurationError(
                    f"a parameter cannot be called {name!r}: every Parameters class has that already"
                )
        cls.declared = {**cls.declared, **own}
        for name, declaration in own.items():
            declaration.check(name, declaration.default)

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        given = dict(values or {})
        for name in given:
            if name not in self.declared:
                near = nearest_name(name, list(self.declared))
                hint = f"; did you mean {near!r}?" if near else ""
                known = ", ".join(self.declared) or "none"
                raise ConfigurationError(f"unknown parameter {name!r}{hint} (known: {known})")
        for name, declaration in self.declared.items():
            object.__setattr__(self, name, declaration.check(name, given.get(name, declaration.default)))
        self.check()

    def check(self) -> None:
        """Raise ConfigurationError when values contradict each other; the default accepts everything."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"parameters do not change: {name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.declared)

    def to_json(self) -> dict[str, Scalar]:
        """Return name -> value in declaration order."""
        return {name: getattr(self, name) for name in self.declared}
