"""The combinations of a sweep: which exist, in which order, and the one at a given place, without listing them all.

    values of each parameter → product (last name fastest, names sorted) → conditions → chosen combinations

A combination is a *place* in the product of all values, a whole number; numpy turns many places into columns of values
at once, so a million combinations take a moment and a few megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trading_runtime.config.checking import shown
from trading_runtime.core.errors import ConfigurationError, nearest_name
from trading_runtime.core.parameters import SWEEP_VALUES_MAX, Parameter, Parameters, Scalar
from trading_runtime.sweep.conditions import Column, Condition, kind_of, parse_condition
from trading_runtime.sweep.settings import CELLS_MAX

Places = npt.NDArray[np.int64]

BLOCK = 65_536  # places that are looked at together
PLACES_MAX = 2**60
DRAWS_PER_COMBINATION_MAX = 200
DECLARED = "declared"
_RANGE = ("start", "stop", "step")
_ROUNDS = 8


@dataclass(frozen=True)
class Space:
    """Values by parameter name, names ascending, and the conditions between them."""

    values: Mapping[str, tuple[Scalar, ...]]
    where: tuple[Condition, ...]
    fixed: Mapping[str, Scalar]

    @property
    def count(self) -> int:
        """Places of the product, conditions aside; 1 without any parameter."""
        return math.prod(len(values) for values in self.values.values())

    def parameters(self, place: int) -> dict[str, Scalar]:
        """Return the swept values at ``place``."""
        found: dict[str, Scalar] = {}
        for name in reversed(list(self.values)):
            values = self.values[name]
            place, index = divmod(place, len(values))
            found[name] = values[index]
        return {name: found[name] for name in self.values}

    def place(self, indices: Mapping[str, int]) -> int:
        """Return the place of the combination that takes the value at each index."""
        place = 0
        for name, values in self.values.items():
            place = place * len(values) + indices[name]
        return place

    def allowed(self, places: Places) -> npt.NDArray[np.bool_]:
        """Return where all conditions hold, shape (n,)."""
        held = np.ones(len(places), dtype=np.bool_)
        if not self.where or not len(places):
            return held
        columns = self._columns(places)
        for condition in self.where:
            held &= condition.holds(columns)
        return held

    def _columns(self, places: Places) -> dict[str, Column]:
        columns: dict[str, Column] = {
            name: np.full(len(places), value) for name, value in self.fixed.items() if name not in self.values
        }
        rest = places
        for name in reversed(list(self.values)):
            values = np.array(self.values[name])
            columns[name] = values[rest % len(values)]
            rest = rest // len(values)
        return columns


def make_space(
    wanted: Mapping[str, Any], where: Sequence[str], parameters: type[Parameters], fixed: Mapping[str, Scalar]
) -> Space:
    """Return the space that settings describe for a strategy's parameters; ``fixed`` are the values of all the others.

    Raises ConfigurationError, with the key, for an unknown parameter, values that do not fit it, or a condition that is
    none.
    """
    values: dict[str, tuple[Scalar, ...]] = {}
    for name in sorted(wanted):
        declared = parameters.declared.get(name)
        if declared is None:
            near = nearest_name(name, list(parameters.declared))
            hint = f"; did you mean {near!r}?" if near else ""
            known = ", ".join(parameters.declared) or "none"
            raise ConfigurationError(f"space.{name} is not a parameter of the strategy{hint} (known: {known})")
        try:
            values[name] = _values(name, wanted[name], declared)
        except ConfigurationError as error:
            raise ConfigurationError(f"space.{name}: {error}") from None
    kinds = {name: kind_of(declared.default) for name, declared in parameters.declared.items()}
    conditions = []
    for index, text in enumerate(where):
        try:
            conditions.append(parse_condition(text, kinds))
        except ConfigurationError as error:
            raise ConfigurationError(f"where.{index}: {error}") from None
    space = Space(values, tuple(conditions), dict(fixed))
    if space.count > PLACES_MAX:
        raise ConfigurationError(f"space: {space.count} combinations are more than can be counted")
    return space


def range_values(start: float, stop: float, step: float) -> list[float]:
    """Return start, start + step, ... up to ``stop``, both included; steps are counted, not added up, and rounded to
    ten decimals, so that steps of 0.1 give 0.3.
    """
    try:
        finite = all(math.isfinite(one) for one in (start, stop, step))
    except OverflowError:  # a whole number beyond float64
        finite = False
    if not finite:
        raise ConfigurationError("start, stop and step must be finite, as float64 has them")
    if step <= 0 or stop < start:
        raise ConfigurationError(
            f"needs a step above 0 and a stop not below start, not start {start}, stop {stop}, step {step}"
        )
    steps = (float(stop) - float(start)) / float(step) + 1e-9
    if steps >= SWEEP_VALUES_MAX:
        raise ConfigurationError(
            f"has more values than the {SWEEP_VALUES_MAX:,} that are allowed: use a larger step than {step:.6g}"
        )
    count = math.floor(steps) + 1
    return [round(start + index * step, 10) for index in range(count)]


def _values(name: str, wanted: Any, declared: Parameter) -> tuple[Scalar, ...]:
    found: Sequence[Any]
    if wanted == DECLARED:
        found = declared.sweep_values()
    elif isinstance(wanted, list):
        found = wanted
    elif isinstance(wanted, dict):
        found = _range(wanted)
    else:
        raise ConfigurationError(
            f"must be a list of values, a section of start, stop and step, or {DECLARED!r}, not {shown(wanted)}"
        )
    if not found:
        raise ConfigurationError("has no values: give at least one, or remove it")
    values = tuple(declared.check(name, value) for value in found)
    if len(set(values)) < len(values):
        doubled = next(value for index, value in enumerate(values) if value in values[:index])
        raise ConfigurationError(f"has the value {doubled!r} twice")
    return values


def _range(wanted: Mapping[str, Any]) -> list[float]:
    for key in wanted:
        if key not in _RANGE:
            near = nearest_name(str(key), list(_RANGE))
            hint = f"; did you mean {near!r}?" if near else ""
            raise ConfigurationError(f"{key!r} is not a setting here{hint} (known: {', '.join(_RANGE)})")
    for key in _RANGE:
        if key not in wanted:
            raise ConfigurationError(f"{key} is missing: a range has start, stop and step")
        if isinstance(wanted[key], bool) or not isinstance(wanted[key], int | float):
            raise ConfigurationError(f"{key} must be a number, not {wanted[key]!r}")
    return range_values(wanted["start"], wanted["stop"], wanted["step"])


def permuted(positions: npt.NDArray[np.uint64], count: int, seed: int) -> npt.NDArray[np.uint64]:
    """Return where a seeded shuffle of 0 to ``count`` - 1 puts each position, the same on every machine.

    A Feistel network over the next power of four, walked until the result lies inside (cycle walking; Black and
    Rogaway, 2002), with the finalizer of splitmix64 as its round function: any part of the shuffle is at hand without
    the rest of it.
    """
    half = max(1, -(-max(count - 1, 1).bit_length() // 2))
    mask = np.uint64(2**half - 1)
    result = positions.astype(np.uint64)
    keys = [_mixed(np.array([(seed * _ROUNDS + number) % 2**64], dtype=np.uint64))[0] for number in range(_ROUNDS)]
    waiting = np.arange(len(result))
    while len(waiting):
        left, right = result[waiting] >> np.uint64(half), result[waiting] & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right ^ key) & mask)
        result[waiting] = (left << np.uint64(half)) | right
        waiting = waiting[result[waiting] >= np.uint64(count)]
    return result


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def all_places(space: Space, parameters: type[Parameters]) -> Places:
    """Return every place that conditions and the strategy's own check allow, ascending."""
    if space.count > CELLS_MAX:
        raise ConfigurationError(
            f"space: a grid of {space.count:,} combinations; at most {CELLS_MAX:,} are allowed: "
            "use larger steps, or search.kind random"
        )
    found = [_accepted(space, block, parameters) for block in _blocks(space.count)]
    return np.concatenate(found)


def drawn_places(space: Space, parameters: type[Parameters], count: int, seed: int) -> Places:
    """Return ``count`` places in the order they are drawn, none twice; a longer draw begins with a shorter one.

    Raises ConfigurationError when conditions leave fewer.
    """
    found: list[Places] = []
    have = drawn = 0
    draws_max = min(space.count, DRAWS_PER_COMBINATION_MAX * count + BLOCK)
    while have < count and drawn < draws_max:
        positions = np.arange(drawn, min(drawn + BLOCK, draws_max), dtype=np.uint64)
        drawn += len(positions)
        places = permuted(positions, space.count, seed).astype(np.int64)
        found.append(_accepted(space, places, parameters))
        have += len(found[-1])
    if have < count:
        raise ConfigurationError(
            f"search.count {count}: only {have} of {drawn:,} drawn combinations hold the conditions; "
            "lower the count or loosen where"
        )
    return np.concatenate(found)[:count]


def is_accepted(space: Space, place: int, parameters: type[Parameters]) -> bool:
    """Whether conditions and the strategy's own check allow the combination at ``place``."""
    return bool(len(_accepted(space, np.array([place], dtype=np.int64), parameters)))


def _accepted(space: Space, places: Places, parameters: type[Parameters]) -> Places:
    allowed = places[space.allowed(places)]
    if parameters.check is Parameters.check:
        return allowed  # each value was checked when the space was made
    return np.array([place for place in allowed.tolist() if _is_consistent(space, place, parameters)], dtype=np.int64)


def _is_consistent(space: Space, place: int, parameters: type[Parameters]) -> bool:
    try:
        parameters({**space.fixed, **space.parameters(place)})
    except ConfigurationError:
        return False
    return True


def _blocks(count: int) -> Iterator[Places]:
    for start in range(0, count, BLOCK):
        yield np.arange(start, min(start + BLOCK, count), dtype=np.int64)
