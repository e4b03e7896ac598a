"""Conditions between parameters, as people write them: ``fast < slow and slow <= 4 * fast``.

A small language of its own, read with Python's parser and evaluated here over whole columns: parameter names, numbers,
texts, ``+ - * /``, comparisons, ``and``, ``or``, ``not``. Nothing else exists in it, so nothing else can be run.
Numbers are float64; a quotient by zero makes every comparison with it false.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trading_runtime.config.checking import shown
from trading_runtime.core.errors import ConfigurationError, nearest_name

Kind = Literal["number", "text", "truth"]
Column = npt.NDArray[Any]

LENGTH_MAX = 500  # characters of one condition
_ARITHMETIC = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide}
_COMPARISONS = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_KINDS: dict[type, Kind] = {bool: "truth", int: "number", float: "number", str: "text"}
_NAMES: dict[Kind, str] = {"number": "a number", "text": "a text", "truth": "true or false"}


def kind_of(value: object) -> Kind:
    """Return how a parameter's value takes part in conditions."""
    return _KINDS[type(value)]


@dataclass(frozen=True)
class Condition:
    """One checked condition; ``holds`` says where it is true."""

    text: str
    _tree: ast.expr

    def holds(self, columns: Mapping[str, Column]) -> npt.NDArray[np.bool_]:
        """Return where the condition holds, shape (n,); ``columns`` gives every parameter's values, shape (n,) each."""
        count = len(next(iter(columns.values())))
        with np.errstate(all="ignore"):
            found = _value(self._tree, columns)
        return np.broadcast_to(np.asarray(found, dtype=np.bool_), (count,)).copy()


def parse_condition(text: str, kinds: Mapping[str, Kind]) -> Condition:
    """Return the condition that ``text`` says about the parameters in ``kinds``.

    Raises ConfigurationError, one line, for anything that is not one.
    """
    if len(text) > LENGTH_MAX:
        raise ConfigurationError(f"has {len(text)} characters; at most {LENGTH_MAX} are allowed")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        kind = _kind(tree, kinds)
    except (SyntaxError, ValueError, MemoryError) as error:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigurationError(
            f"{shown(text)} is not a condition: {message}; write for example fast < slow"
        ) from None
    except RecursionError:
        raise ConfigurationError("is nested too deeply") from None
    if kind != "truth":
        raise ConfigurationError(f"{shown(text)} is {_NAMES[kind]}, not a condition; write for example fast < slow")
    return Condition(text, tree)


def _kind(node: ast.expr, kinds: Mapping[str, Kind]) -> Kind:
    """Return what an expression gives; raises ConfigurationError for whatever the language does not have."""
    if isinstance(node, ast.Name):
        if node.id not in kinds:
            near = nearest_name(node.id, list(kinds))
            hint = f"; did you mean {near!r}?" if near else ""
            raise ConfigurationError(f"knows no parameter {node.id!r}{hint} (known: {', '.join(kinds)})")
        return kinds[node.id]
    if isinstance(node, ast.Constant) and type(node.value) in _KINDS:
        if isinstance(node.value, int | float) and not _is_finite(node.value):
            raise ConfigurationError(f"has a number that is not finite: {ast.unparse(node)}")
        return kind_of(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        for side in (node.left, node.right):
            _expect(side, "number", kinds)
        return "number"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        return _expect(node.operand, "number" if isinstance(node.op, ast.USub) else "truth", kinds)
    if isinstance(node, ast.BoolOp):
        for side in node.values:
            _expect(side, "truth", kinds)
        return "truth"
    if isinstance(node, ast.Compare) and all(type(operator) in _COMPARISONS for operator in node.ops):
        sides = [node.left, *node.comparators]
        first = _kind(sides[0], kinds)
        for operator, side in zip(node.ops, sides[1:], strict=True):
            _expect(side, first, kinds)
            if first != "number" and not isinstance(operator, ast.Eq | ast.NotEq):
                raise ConfigurationError(f"compares {_NAMES[first]} by size: {ast.unparse(node)}; use == or !=")
        return "truth"
    raise ConfigurationError(
        f"{ast.unparse(node)!r} is not allowed in a condition: it has parameters, numbers, texts, + - * /, "
        "comparisons, and, or, not"
    )


def _is_finite(value: float) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except OverflowError:  # a whole number beyond float64
        return False


def _expect(node: ast.expr, wanted: Kind, kinds: Mapping[str, Kind]) -> Kind:
    found = _kind(node, kinds)
    if found != wanted:
        raise ConfigurationError(f"{ast.unparse(node)!r} is {_NAMES[found]} where {_NAMES[wanted]} is needed")
    return found


def _value(node: ast.expr, columns: Mapping[str, Column]) -> Any:
    if isinstance(node, ast.Name):
        column = columns[node.id]
        return column.astype(np.float64) if column.dtype.kind in "iu" else column
    if isinstance(node, ast.Constant):
        value: Any = node.value
        return float(value) if kind_of(value) == "number" else value
    if isinstance(node, ast.BinOp):
        return _ARITHMETIC[type(node.op)](_value(node.left, columns), _value(node.right, columns))
    if isinstance(node, ast.UnaryOp):
        operand = _value(node.operand, columns)
        return np.logical_not(operand) if isinstance(node.op, ast.Not) else np.negative(operand)
    if isinstance(node, ast.BoolOp):
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        result = _value(node.values[0], columns)
        for side in node.values[1:]:
            result = join(result, _value(side, columns))
        return result
    assert isinstance(node, ast.Compare)
    left = _value(node.left, columns)
    held: Any = True
    for operator, side in zip(node.ops, node.comparators, strict=True):
        right = _value(side, columns)
        held = np.logical_and(held, _COMPARISONS[type(operator)](left, right))
        left = right
    return held
