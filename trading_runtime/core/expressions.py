"""Expressions: the tree that column declarations build before any data exists.

An expression knows how many bars it needs (``window``) and evaluates to one contiguous float64 column. Its value at bar
t depends, bit for bit, on the last ``window`` bars up to t only; that is what makes live trading, which fetches just
these bars, decide exactly as a backtest does. What strategies call is in ``core/columns.py``; evaluation over data is
in ``core/evaluate.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from trading_runtime.core.bars import FIELDS
from trading_runtime.core.errors import StrategyError, nearest_name
from trading_runtime.core.indicators import INDICATORS
from trading_runtime.core.timeframes import timeframe_ms

Values = Mapping[str, Any]


class Expression:
    """A value per bar. Arithmetic and comparisons build new expressions; nothing is computed here."""

    __slots__ = ()
    __hash__ = object.__hash__

    def children(self) -> tuple[Expression, ...]:
        return ()

    def key(self, values: Values) -> str:
        """Return a text that is equal exactly when the resolved expressions compute the same column."""
        raise NotImplementedError

    def window(self, values: Values, bar_ms: int) -> int:
        """Return the number of bars of ``bar_ms``, the present one included, that a value depends on."""
        return max((child.window(values, bar_ms) for child in self.children()), default=1)

    def lag(self, bars: Any) -> Lag:
        """The value ``bars`` bars ago."""
        return Lag(self, bars)

    def __add__(self, other: Any) -> Expression:
        return Operation("add", (self, wrap(other)))

    def __radd__(self, other: Any) -> Expression:
        return Operation("add", (wrap(other), self))

    def __sub__(self, other: Any) -> Expression:
        return Operation("subtract", (self, wrap(other)))

    def __rsub__(self, other: Any) -> Expression:
        return Operation("subtract", (wrap(other), self))

    def __mul__(self, other: Any) -> Expression:
        return Operation("multiply", (self, wrap(other)))

    def __rmul__(self, other: Any) -> Expression:
        return Operation("multiply", (wrap(other), self))

    def __truediv__(self, other: Any) -> Expression:
        return Operation("divide", (self, wrap(other)))

    def __rtruediv__(self, other: Any) -> Expression:
        return Operation("divide", (wrap(other), self))

    def __neg__(self) -> Expression:
        return Operation("negative", (self,))

    def __gt__(self, other: Any) -> Expression:
        return Operation("greater", (self, wrap(other)))

    def __ge__(self, other: Any) -> Expression:
        return Operation("greater_equal", (self, wrap(other)))

    def __lt__(self, other: Any) -> Expression:
        return Operation("less", (self, wrap(other)))

    def __le__(self, other: Any) -> Expression:
        return Operation("less_equal", (self, wrap(other)))

    # Per bar, like every other comparison: the identity Python would fall back on would decide once for all bars.
    def __eq__(self, other: object) -> Expression:  # type: ignore[override]  # not a bool, as for numpy's arrays
        return Operation("equal", (self, wrap(other)))

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return Operation("not_equal", (self, wrap(other)))

    def __and__(self, other: Any) -> Expression:
        return Operation("logical_and", (self, wrap(other)))

    def __or__(self, other: Any) -> Expression:
        return Operation("logical_or", (self, wrap(other)))

    def __invert__(self) -> Expression:
        return Operation("logical_not", (self,))

    def __bool__(self) -> bool:
        raise StrategyError(
            "a column expression has no truth value: combine conditions with & | ~ and choose with where(...)"
        )


@dataclass(frozen=True, eq=False, slots=True)
class Constant(Expression):
    """A number that is the same on every bar."""

    value: float

    def key(self, values: Values) -> str:
        return repr(self.value)


@dataclass(frozen=True, eq=False, slots=True)
class ParameterReference(Expression):
    """``P.name``: the value of a parameter, once there is one."""

    name: str

    def as_number(self, values: Values) -> float:
        """Return the parameter's value, which as a part of a column must be a number."""
        value = resolve(self, values)
        if not isinstance(value, (int, float)):
            raise StrategyError(f"P.{self.name} is {value!r}: only a number can be a part of a column")
        return float(value)

    def key(self, values: Values) -> str:
        return repr(self.as_number(values))


class _References:
    """``P``: every attribute is a reference to the parameter of that name."""

    def __getattr__(self, name: str) -> ParameterReference:
        if name.startswith("__"):
            raise AttributeError(name)
        return ParameterReference(name)


P = _References()


@dataclass(frozen=True, eq=False, slots=True)
class BarField(Expression):
    """One of open, high, low, close, volume of the bars themselves."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in FIELDS:
            near = nearest_name(self.name, list(FIELDS))
            hint = f"; did you mean {near!r}?" if near else ""
            raise StrategyError(f"unknown bar field {self.name!r}{hint} (known: {', '.join(FIELDS)})")

    def key(self, values: Values) -> str:
        return self.name


@dataclass(frozen=True, eq=False, slots=True)
class IndicatorColumn(Expression):
    """A registered indicator over source expressions, with parameters that may refer to strategy parameters."""

    name: str
    sources: tuple[Expression, ...]
    parameters: tuple[tuple[str, Any], ...]

    def children(self) -> tuple[Expression, ...]:
        return self.sources

    def arguments(self, values: Values) -> dict[str, Any]:
        return {name: resolve(value, values) for name, value in self.parameters}

    def key(self, values: Values) -> str:
        sources = ",".join(source.key(values) for source in self.sources)
        return f"{self.name}({sources};{self.arguments(values)})"

    def window(self, values: Values, bar_ms: int) -> int:
        own = INDICATORS[self.name].window(**self.arguments(values))
        return own + max(source.window(values, bar_ms) for source in self.sources) - 1


@dataclass(frozen=True, eq=False, slots=True)
class CustomColumn(Expression):
    """A user's own array function with the window it declares. ``verify`` proves that the declaration is true."""

    function: Callable[..., npt.NDArray[np.float64]]
    declared_window: Any
    sources: tuple[Expression, ...]
    parameters: tuple[tuple[str, Any], ...]
    # Two functions may have one name (lambdas, closures), so each declaration has a number of its own.
    number: int = field(default_factory=count().__next__)

    @property
    def name(self) -> str:
        return getattr(self.function, "__qualname__", type(self.function).__name__)

    def children(self) -> tuple[Expression, ...]:
        return self.sources

    def arguments(self, values: Values) -> dict[str, Any]:
        return {name: resolve(value, values) for name, value in self.parameters}

    def count(self, values: Values) -> int:
        count = resolve(self.declared_window, values)
        if not isinstance(count, int) or count < 1:
            raise StrategyError(f"column function {self.name} needs a window of whole bars, 1 or more, not {count!r}")
        return count

    def key(self, values: Values) -> str:
        sources = ",".join(source.key(values) for source in self.sources)
        return f"{self.name}#{self.number}[{self.count(values)}]({sources};{self.arguments(values)})"

    def window(self, values: Values, bar_ms: int) -> int:
        return self.count(values) + max(source.window(values, bar_ms) for source in self.sources) - 1


@dataclass(frozen=True, eq=False, slots=True)
class Lag(Expression):
    """The value some bars ago; looking ahead is refused."""

    source: Expression
    bars: Any

    def children(self) -> tuple[Expression, ...]:
        return (self.source,)

    def count(self, values: Values) -> int:
        count = resolve(self.bars, values)
        if not isinstance(count, int) or count < 0:
            raise StrategyError(
                f"lag takes a whole number of bars, 0 or more, not {count!r}: a negative lag would look ahead"
            )
        return count

    def key(self, values: Values) -> str:
        return f"lag({self.source.key(values)},{self.count(values)})"

    def window(self, values: Values, bar_ms: int) -> int:
        return self.source.window(values, bar_ms) + self.count(values)


@dataclass(frozen=True, eq=False, slots=True)
class Operation(Expression):
    """An elementwise numpy function of that name, or ``where``."""

    name: str
    operands: tuple[Expression, ...]

    def children(self) -> tuple[Expression, ...]:
        return self.operands

    def key(self, values: Values) -> str:
        return f"{self.name}({','.join(operand.key(values) for operand in self.operands)})"


@dataclass(frozen=True, eq=False, slots=True)
class OnTimeframe(Expression):
    """An expression over bars of a longer timeframe; each base bar sees the newest *closed* longer bar."""

    source: Expression
    timeframe: str
    bar_ms: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bar_ms", timeframe_ms(self.timeframe))

    def children(self) -> tuple[Expression, ...]:
        return (self.source,)

    def key(self, values: Values) -> str:
        return f"{self.timeframe}:{self.source.key(values)}"

    def window(self, values: Values, bar_ms: int) -> int:
        if self.bar_ms % bar_ms:
            raise StrategyError(f"a column on {self.timeframe} needs base bars that divide it evenly")
        ratio = self.bar_ms // bar_ms  # the newest longer bar may have closed up to ratio - 1 base bars ago
        return self.source.window(values, self.bar_ms) * ratio + ratio - 1


@dataclass(frozen=True, eq=False, slots=True)
class OfSymbol(Expression):
    """An expression over the bars of one named symbol instead of the symbol at hand."""

    source: Expression
    symbol: str

    def children(self) -> tuple[Expression, ...]:
        return (self.source,)

    def key(self, values: Values) -> str:
        return f"{self.symbol}|{self.source.key(values)}"


@dataclass(frozen=True, eq=False, slots=True)
class Window(Expression):
    """The last ``bars`` values of an expression, oldest first, given to ``decide`` as one read-only array."""

    source: Expression
    bars: Any

    def children(self) -> tuple[Expression, ...]:
        return (self.source,)

    def count(self, values: Values) -> int:
        count = resolve(self.bars, values)
        if not isinstance(count, int) or count < 1:
            raise StrategyError(f"a window takes a whole number of bars, 1 or more, not {count!r}")
        return count

    def key(self, values: Values) -> str:
        return f"window({self.source.key(values)},{self.count(values)})"

    def window(self, values: Values, bar_ms: int) -> int:
        return self.source.window(values, bar_ms) + self.count(values) - 1


@dataclass(frozen=True, eq=False, slots=True)
class Universe(Expression):
    """One value per symbol of the run, in the run's order, given to ``decide`` as a tuple."""

    source: Expression

    def children(self) -> tuple[Expression, ...]:
        return (self.source,)

    def key(self, values: Values) -> str:
        return f"universe({self.source.key(values)})"


def windowed_nodes(node: Expression) -> list[Expression]:
    """Return the parts of an expression that decide its window: arithmetic and comparisons only pass on their operands'
    windows.
    """
    if isinstance(node, (Operation, Universe)):
        return [part for child in node.children() for part in windowed_nodes(child)]
    return [node]


def parameter_names(part: Any) -> frozenset[str]:
    """Return the strategy parameters that an expression refers to anywhere; ``part`` may also be a piece of one."""
    if isinstance(part, ParameterReference):
        return frozenset((part.name,))
    pieces: Iterable[Any] = ()
    if isinstance(part, Expression):
        pieces = [getattr(part, name) for name in getattr(part, "__dataclass_fields__", ())]
    elif isinstance(part, tuple):
        pieces = part
    return frozenset().union(*map(parameter_names, pieces))


def named_symbols(node: Expression) -> set[str]:
    """Return the symbols that an expression names: those it reads besides the symbol at hand."""
    named = {node.symbol} if isinstance(node, OfSymbol) else set()
    return named.union(*map(named_symbols, node.children()))


def has_timeframe(node: Expression) -> bool:
    """Whether any part of an expression is on bars of a longer timeframe."""
    return isinstance(node, OnTimeframe) or any(map(has_timeframe, node.children()))


def is_of_universe(node: Expression) -> bool:
    """Whether an expression has one value per symbol: anything made of a universe column, unless it is of one named
    symbol.
    """
    if isinstance(node, (Universe, OfSymbol)):
        return isinstance(node, Universe)
    return any(map(is_of_universe, node.children()))


def wrap(value: Any) -> Expression:
    """Return ``value`` as an expression: a bar field's name, a number or an expression."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, str):
        return BarField(value)
    if isinstance(value, (int, float)):
        return Constant(float(value))
    raise StrategyError(f"a column is made of expressions, bar fields and numbers, not {value!r}")


def resolve(value: Any, values: Values) -> Any:
    """Return the number behind a parameter reference or an arithmetic of references; other values come back
    unchanged.
    """
    if isinstance(value, ParameterReference):
        try:
            return values[value.name]
        except KeyError:
            near = nearest_name(value.name, list(values))
            hint = f"; did you mean P.{near}?" if near else ""
            raise StrategyError(f"P.{value.name} names no parameter{hint}") from None
    if isinstance(value, Constant):
        return int(value.value) if value.value.is_integer() else value.value
    if isinstance(value, Operation):
        numbers = [resolve(operand, values) for operand in value.operands]
        match value.name:
            case "add":
                return numbers[0] + numbers[1]
            case "subtract":
                return numbers[0] - numbers[1]
            case "multiply":
                return numbers[0] * numbers[1]
            case "divide":
                return numbers[0] / numbers[1]
            case "negative":
                return -numbers[0]
        raise StrategyError(f"an indicator's parameter cannot be a {value.name!r} of parameters")
    if isinstance(value, Expression):
        raise StrategyError("an indicator's parameter must be a number or made of P references, not a column")
    return value
