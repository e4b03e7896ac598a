"""Fingerprints of what a strategy could remember things in: instance, classes, defaults of functions.

Two fingerprints, before and after a run, tell by name what a run has left behind. Module-level containers are
listed too, but only as a hint: a cache is allowed to fill up as long as no decision depends on it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from types import CellType, FunctionType, ModuleType
from typing import Any

import numpy as np

from trading_runtime.core.columns import CustomColumn, Expression
from trading_runtime.core.parameters import Parameters
from trading_runtime.core.strategy import Strategy

_DEPTH_MAX = 5
# What Python itself writes into classes and instances.
_PYTHONS_OWN = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__abstractmethods__", "_abc_impl"})

Fingerprint = dict[str, str]


def memory_of(strategy: Strategy) -> Fingerprint:
    """Return name -> content, as text, of everything that outlives a call of decide."""
    found: Fingerprint = {}
    kind = type(strategy)
    for name, value in _attributes(strategy):
        found[f"self.{name}"] = _text(value)
    for owner in kind.__mro__:
        if owner is object:
            continue
        for name, value in vars(owner).items():
            if name not in _PYTHONS_OWN:
                found.update(_of_attribute(f"{owner.__qualname__}.{name}", value))
    for expression in _expressions(strategy):
        if isinstance(expression, CustomColumn) and isinstance(expression.function, FunctionType):
            found.update(_of_attribute(expression.function.__qualname__, expression.function))
    return found


def module_memory_of(strategy: Strategy) -> Fingerprint:
    """Return name -> content of the containers and numbers at the top of the strategy's module."""
    module = sys.modules.get(type(strategy).__module__)
    kinds = (list, dict, set, deque, bytearray, np.ndarray, int, float)
    return (
        {
            f"{type(strategy).__module__}.{name}": _text(value)
            for name, value in vars(module).items()
            if isinstance(value, kinds) and not name.startswith("__")
        }
        if module is not None
        else {}
    )


def changed_names(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what was added, removed or changed, sorted."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _attributes(thing: object) -> Iterator[tuple[str, Any]]:
    yield from vars(thing).items() if hasattr(thing, "__dict__") else ()
    for owner in type(thing).__mro__:
        slots = vars(owner).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield name, getattr(thing, name)


def _of_attribute(name: str, value: Any) -> Iterator[tuple[str, str]]:
    function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
    if isinstance(function, property):
        function = function.fget
    if not isinstance(function, FunctionType):
        yield name, _text(value)
        return
    yield f"{name} (defaults)", _text([function.__defaults__, function.__kwdefaults__])
    yield (
        f"{name} (attributes)",
        _text({key: one for key, one in vars(function).items() if key != "__wrapped__"}),
    )
    # __class__, which super() puts into a cell, is the class at hand and not a memory.
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    yield f"{name} (closure)", _text([_content(cell) for free, cell in cells if free != "__class__"])


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # not bound yet


def _expressions(strategy: Strategy) -> Iterator[Expression]:
    waiting = [*strategy.columns.values(), strategy.targets, strategy.wake]
    while waiting:
        expression = waiting.pop()
        if expression is not None:
            yield expression
            waiting.extend(expression.children())


def _text(value: Any, depth: int = 0) -> str:
    """Return a text that changes when the content does; objects nobody can look into go by their identity."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, bytearray)):
        return repr(value)
    if isinstance(value, np.ndarray):
        return f"array {value.dtype} {value.shape} {hash(value.tobytes())}"
    if depth >= _DEPTH_MAX:
        return f"{type(value).__name__} {id(value)}"
    if isinstance(value, Parameters):
        return repr(value.to_json())
    if isinstance(value, Mapping):
        return str([(_text(key, depth + 1), _text(one, depth + 1)) for key, one in value.items()])
    if isinstance(value, (list, tuple, deque)):
        return f"{type(value).__name__}[{', '.join(_text(one, depth + 1) for one in value)}]"
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(_text(one, depth + 1) for one in value)}"
    if isinstance(value, (type, FunctionType, ModuleType, Expression)) or not hasattr(value, "__dict__"):
        return f"{type(value).__name__} {id(value)}"
    inside = {name: one for name, one in vars(value).items() if name not in _PYTHONS_OWN}
    return f"{type(value).__name__} {id(value)} {_text(inside, depth + 1)}"
