"""Evaluation of column expressions over bars: each distinct column once, however many strategies or cells declare it.

Values are computed on a symbol's own bars, shape (n,), NaN where the declared window is not yet full. Only elementwise
IEEE operations in a fixed order are used, so a column has the same bytes on every processor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trading_runtime.core.bars import Bars, Floats, resample
from trading_runtime.core.columns import (
    BarField,
    Constant,
    CustomColumn,
    Expression,
    IndicatorColumn,
    Lag,
    OfSymbol,
    OnTimeframe,
    Operation,
    ParameterReference,
    Universe,
    Values,
    Window,
    resolve,
)
from trading_runtime.core.errors import BarsError, StrategyError
from trading_runtime.core.indicators import INDICATORS

CACHE_BYTES_MAX = 512 * 1024 * 1024

_BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
_COMPARISONS = ("greater", "greater_equal", "less", "less_equal")
_UNARY = {"negative": np.negative, "absolute": np.absolute, "logical_not": np.logical_not}


class ColumnCache:
    """Computed columns by (symbol, timeframe, key), bounded in bytes; the oldest go first. Not shared between
    processes.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._columns: dict[tuple[str, str, str], Any] = {}
        self._bytes = 0
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._columns)

    def get(self, key: tuple[str, str, str]) -> Any:
        return self._columns.get(key)

    def put(self, key: tuple[str, str, str], column: Any) -> None:
        self._columns[key] = column
        self._bytes += getattr(column, "nbytes", 0)
        while self._bytes > self._bytes_max and len(self._columns) > 1:
            self._bytes -= getattr(self._columns.pop(next(iter(self._columns))), "nbytes", 0)


class Columns:
    """Evaluates expressions for one set of parameter values over the bars of a run. Symbols may start and end at
    different times.
    """

    def __init__(self, bars: Mapping[str, Bars], values: Values, cache: ColumnCache | None = None) -> None:
        self._bars = bars
        self._values = values
        self._cache = cache if cache is not None else ColumnCache()
        self._longer: dict[tuple[str, str], Bars | None] = {}
        self._found: dict[tuple[int, str, str], Any] = {}

    def column(self, expression: Expression, symbol: str) -> Floats:
        """Return the expression on the bars of ``symbol``: contiguous float64, shape (n,). Conditions become 0.0 and
        1.0.
        """
        bars = self._bars[symbol]
        with np.errstate(all="ignore"):
            value = self._evaluate(expression, symbol, bars)
        if np.ndim(value) == 0:
            return np.full(len(bars), float(value))
        return np.ascontiguousarray(value, dtype=np.float64)

    def condition_into(self, expression: Expression, symbol: str, out: npt.NDArray[np.bool_]) -> None:
        """Write where the expression holds (is not 0) into ``out``, shape (n,), without a temporary for a plain
        comparison.
        """
        bars = self._bars[symbol]
        with np.errstate(all="ignore"):
            if isinstance(expression, Operation) and expression.name in _COMPARISONS:
                first, second = (self._evaluate(operand, symbol, bars) for operand in expression.operands)
                _BINARY[expression.name](first, second, out=out)
            else:
                np.not_equal(self._evaluate(expression, symbol, bars), 0, out=out)

    def _evaluate(self, node: Expression, symbol: str, bars: Bars) -> Any:
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, ParameterReference):
            return float(resolve(node, self._values))
        if isinstance(node, BarField):
            return getattr(bars, node.name)
        if isinstance(node, Operation):
            return self._operation(node, symbol, bars)
        if isinstance(node, (Window, Universe)):
            return self._evaluate(node.source, symbol, bars)
        place = (id(node), symbol, bars.timeframe)
        found = self._found.get(place)
        if found is None:
            key = (symbol, bars.timeframe, node.key(self._values))
            found = self._cache.get(key)
            if found is None:
                found = self._compute(node, symbol, bars)
                self._cache.put(key, found)
            self._found[place] = found
        return found

    def _compute(self, node: Expression, symbol: str, bars: Bars) -> Any:
        if isinstance(node, IndicatorColumn):
            sources = [self._source(source, symbol, bars) for source in node.sources]
            return INDICATORS[node.name].function(*sources, **node.arguments(self._values))
        if isinstance(node, Lag):
            count = node.count(self._values)
            return _shifted(self._source(node.source, symbol, bars), count)
        if isinstance(node, OnTimeframe):
            return self._on_timeframe(node, symbol, bars)
        if isinstance(node, OfSymbol):
            return self._of_symbol(node, bars)
        if isinstance(node, CustomColumn):
            sources = [self._source(source, symbol, bars) for source in node.sources]
            result = np.asarray(node.function(*sources, **node.arguments(self._values)), dtype=np.float64)
            if result.shape != (len(bars),):
                raise StrategyError(
                    f"column function {node.function.__qualname__} returned shape {result.shape} for {len(bars)} bars"
                )
            return result
        raise StrategyError(f"cannot evaluate {type(node).__name__}")

    def _source(self, node: Expression, symbol: str, bars: Bars) -> Floats:
        value = self._evaluate(node, symbol, bars)
        if np.ndim(value) == 0:
            return np.full(len(bars), float(value))
        return np.ascontiguousarray(value, dtype=np.float64)

    def _operation(self, node: Operation, symbol: str, bars: Bars) -> Any:
        operands = [self._evaluate(operand, symbol, bars) for operand in node.operands]
        if node.name == "where":
            return np.where(*operands)
        if node.name in _BINARY:
            return _BINARY[node.name](*operands)
        return _UNARY[node.name](*operands)

    def _on_timeframe(self, node: OnTimeframe, symbol: str, bars: Bars) -> Floats:
        longer = self._longer_bars(symbol, bars, node.timeframe)
        result = np.full(len(bars), np.nan)
        if longer is None:
            return result
        values = self._source(node.source, symbol, longer)
        newest = np.searchsorted(longer.close_time, bars.close_time, side="right") - 1
        known = newest >= 0
        result[known] = values[newest[known]]
        return result

    def _longer_bars(self, symbol: str, bars: Bars, timeframe: str) -> Bars | None:
        key = (symbol, timeframe)
        if key not in self._longer:
            try:
                self._longer[key] = resample(bars, timeframe)
            except BarsError:
                self._longer[key] = None  # not one longer bar is complete yet: its columns are unknown
        return self._longer[key]

    def _of_symbol(self, node: OfSymbol, bars: Bars) -> Floats:
        other = self._bars.get(node.symbol)
        if other is None:
            raise StrategyError(f"a column reads {node.symbol!r}, which is not among the symbols of this run")
        if other.bar_ms != bars.bar_ms:
            other = resample(other, bars.timeframe)
        values = self._source(node.source, node.symbol, other)
        return onto(values, other, int(bars.open_time[0]), len(bars))


def onto(values: Floats, bars: Bars, start_ms: int, count: int) -> Floats:
    """Return ``values`` of ``bars`` on the ``count`` bars that follow ``start_ms``; NaN where ``bars`` has none."""
    first = (int(bars.open_time[0]) - start_ms) // bars.bar_ms
    if first == 0 and len(values) == count:
        return values
    result = np.full(count, np.nan)
    low, high = max(first, 0), min(first + len(values), count)
    if high > low:
        result[low:high] = values[low - first : high - first]
    return result


def _shifted(values: Floats, count: int) -> Floats:
    result = np.full(len(values), np.nan)
    if count < len(values):
        result[count:] = values[: len(values) - count] if count else values
    return result
