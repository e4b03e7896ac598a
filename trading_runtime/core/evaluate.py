"""Evaluation of column expressions over bars: each distinct column once, however many strategies or cells declare it.

Values are computed on a symbol's own bars, shape (n,). Only elementwise IEEE operations in a fixed order are used, so a
column has the same bytes on every processor.

What is declared is NaN until its whole window is there, whatever it makes of numbers that are not there yet: the
negation of an unknown comparison does not hold. Indicators, lags and the like are masked once, when they are computed;
an elementwise operation is masked when it is asked for as a column, and its parts pass on what they get.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import ref

import numpy as np
import numpy.typing as npt

from trading_runtime.core.bars import Bars, Floats, resample
from trading_runtime.core.errors import BarsError, StrategyError
from trading_runtime.core.expressions import (
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
    named_symbols,
    windowed_nodes,
)
from trading_runtime.core.indicators import INDICATORS

CACHE_BYTES_MAX = 512 * 1024 * 1024
# Sets of bars that a cache tells apart at a time; beyond, it starts anew.
DATA_MAX = 64

_BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
_COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
_UNARY = {"negative": np.negative, "absolute": np.absolute, "logical_not": np.logical_not}

Key = tuple[object, str, str, str]


class ColumnCache:
    """Computed columns by (data, symbol, timeframe, key), bounded in bytes; the oldest go first.

    Threads may share it, processes do not: each step below is one that Python does as a whole, so that two threads at
    once can do no worse than compute a column twice.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._columns: dict[Key, Floats] = {}
        self._oldest: deque[Key] = deque()
        self._data: dict[tuple[tuple[str, ref[Bars]], ...], object] = {}
        self._bytes = 0
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._columns)

    def data(self, bars: Mapping[str, Bars]) -> object:
        """Return what stands for exactly these bars in keys: they are told apart by identity, for bars never change.

        Weak references, so that a cache keeps no bars alive; those of bars that are gone equal no other.
        """
        present = tuple([(symbol, ref(series)) for symbol, series in bars.items()])
        found = self._data.get(present)
        if found is None:
            if len(self._data) >= DATA_MAX:
                self._data.clear()
            found = self._data.setdefault(present, object())
        return found

    def get(self, key: Key) -> Floats | None:
        return self._columns.get(key)

    def put(self, key: Key, column: Floats) -> None:
        if self._columns.setdefault(key, column) is not column:
            return  # another thread was faster
        self._oldest.append(key)
        size = column.nbytes
        self._bytes += size
        while self._bytes > self._bytes_max and len(self._oldest) > 1:
            gone = self._columns.pop(self._oldest.popleft(), None)
            size = 0 if gone is None else gone.nbytes
            self._bytes -= size


class Columns:
    """Evaluates expressions for one set of parameter values over the bars of a run. Symbols may start and end at
    different times.

    Bars of longer timeframes are made of the given ones, unless ``longer`` (by timeframe, then symbol) has them: what
    is declared on such a timeframe is then known as soon as its window of those bars is full.
    """

    def __init__(
        self,
        bars: Mapping[str, Bars],
        values: Values,
        cache: ColumnCache | None = None,
        longer: Mapping[str, Mapping[str, Bars]] | None = None,
    ) -> None:
        self._bars = bars
        self._given = {} if longer is None else longer
        self._values = values
        self._cache = cache if cache is not None else ColumnCache()
        self._data = self._cache.data(bars)
        self._longer: dict[tuple[str, str], Bars | None] = {}
        # By identity; the expression is kept beside its column, so that no other can come to have its id.
        self._found: dict[tuple[int, str, str], tuple[Expression, Floats]] = {}

    def prepare(self, wanted: Iterable[tuple[Expression, Values]], symbol: str) -> None:
        """Put columns of ``symbol`` into the cache where many together cost less than one by one: those of an indicator
        that has ``rows``. ``wanted`` names expressions with the parameter values of each.
        """
        bars = self._bars[symbol]
        together: dict[tuple[str, str], dict[int, tuple[Key, int]]] = {}
        for expression, values in wanted:
            node = _inner(expression)
            if not isinstance(node, IndicatorColumn) or INDICATORS[node.name].rows is None:
                continue
            (source,) = node.sources
            (argument,) = node.arguments(values).values()
            key = (self._data, symbol, bars.timeframe, node.key(values))
            if isinstance(source, BarField) and self._cache.get(key) is None:
                known_from = self._known_from(node, bars, values)
                together.setdefault((node.name, source.name), {})[argument] = (key, known_from)
        for (name, field), columns in together.items():
            rows = INDICATORS[name].rows
            assert rows is not None, "only such indicators were collected"
            found = rows(getattr(bars, field), list(columns))
            for row, (key, known_from) in zip(found, columns.values(), strict=True):
                self._cache.put(key, _masked(row, known_from))

    def column(self, expression: Expression, symbol: str) -> Floats:
        """Return the expression on the bars of ``symbol``: contiguous float64, shape (n,), NaN before ``known_from``.
        Conditions become 0.0 and 1.0. The array may be shared, so it may be read-only.
        """
        expression = _inner(expression)
        bars = self._bars[symbol]
        with np.errstate(all="ignore"):
            values = self._source(expression, symbol, bars)
        if isinstance(expression, Operation):
            values[: self._known_from(expression, bars)] = np.nan
        return values

    def known_from(self, expression: Expression, symbol: str) -> int:
        """Return the first row, among the bars of ``symbol``, at which every window that the expression declares is
        full.
        """
        return self._known_from(expression, self._bars[symbol])

    def _known_from(self, expression: Expression, bars: Bars, values: Values | None = None) -> int:
        values = self._values if values is None else values
        if len(self._bars) == 1 and not self._given:
            return expression.window(values, bars.bar_ms) - 1
        rows = [0]
        for node in windowed_nodes(expression):
            if isinstance(node, OnTimeframe) and node.timeframe in self._given:
                continue  # its own column, on the longer bars, is unknown until its window is full
            # The symbols a column names need the whole window, too, and may have begun later.
            opens = [int(self._named(symbol).open_time[0]) for symbol in named_symbols(node)]
            late = max(0, -((int(bars.open_time[0]) - max(opens)) // bars.bar_ms)) if opens else 0
            rows.append(late + node.window(values, bars.bar_ms) - 1)
        return max(rows)

    def condition_into(self, expression: Expression, symbol: str, out: npt.NDArray[np.bool_]) -> None:
        """Write where the expression holds (is not 0) into ``out``, shape (n,), without a temporary for a plain
        comparison. Nothing holds before ``known_from``.
        """
        bars = self._bars[symbol]
        with np.errstate(all="ignore"):
            if isinstance(expression, Operation) and expression.name in _COMPARISONS:
                first, second = expression.operands
                _BINARY[expression.name](
                    self._evaluate(first, symbol, bars), self._evaluate(second, symbol, bars), out=out
                )
                if expression.name != "not_equal" and _is_masked(first) and _is_masked(second):
                    return  # compared with NaN nothing holds, so there is nothing left to mask
            else:
                np.not_equal(self._evaluate(expression, symbol, bars), 0, out=out)
        out[: self._known_from(expression, bars)] = False

    def _evaluate(self, node: Expression, symbol: str, bars: Bars) -> Any:
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, ParameterReference):
            return node.as_number(self._values)
        if isinstance(node, BarField):
            return getattr(bars, node.name)
        if isinstance(node, Operation):
            return self._operation(node, symbol, bars)
        if isinstance(node, (Window, Universe)):
            return self._evaluate(node.source, symbol, bars)
        place = (id(node), symbol, bars.timeframe)
        found = self._found.get(place)
        if found is not None:
            return found[1]
        key = (self._data, symbol, bars.timeframe, node.key(self._values))
        column = self._cache.get(key)
        if column is None:
            column = _masked(self._compute(node, symbol, bars), self._known_from(node, bars))
            self._cache.put(key, column)
        self._found[place] = (node, column)
        return column

    def _compute(self, node: Expression, symbol: str, bars: Bars) -> Floats:
        if isinstance(node, IndicatorColumn):
            sources = [self._source(source, symbol, bars) for source in node.sources]
            column: Floats = INDICATORS[node.name].function(*sources, **node.arguments(self._values))
            return column
        if isinstance(node, Lag):
            count = node.count(self._values)
            return _shifted(self._source(node.source, symbol, bars), count)
        if isinstance(node, OnTimeframe):
            return self._on_timeframe(node, symbol, bars)
        if isinstance(node, OfSymbol):
            return self._of_symbol(node, bars)
        if isinstance(node, CustomColumn):
            sources = [self._source(source, symbol, bars) for source in node.sources]
            # A copy: what the function returned may be its source, or something that it keeps.
            result = np.array(node.function(*sources, **node.arguments(self._values)), dtype=np.float64, order="C")
            if result.shape != (len(bars),):
                raise StrategyError(f"column function {node.name} returned shape {result.shape} for {len(bars)} bars")
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
        if timeframe in self._given:
            return self._given[timeframe].get(symbol)
        key = (symbol, timeframe)
        if key not in self._longer:
            try:
                self._longer[key] = resample(bars, timeframe)
            except BarsError:
                self._longer[key] = None  # not one longer bar is complete yet: its columns are unknown
        return self._longer[key]

    def _named(self, symbol: str) -> Bars:
        bars = self._bars.get(symbol)
        if bars is None:
            raise StrategyError(f"a column reads {symbol!r}, which is not among the symbols of this run")
        return bars

    def _of_symbol(self, node: OfSymbol, bars: Bars) -> Floats:
        other = self._named(node.symbol)
        if other.bar_ms != bars.bar_ms:
            longer = self._longer_bars(node.symbol, other, bars.timeframe)
            if longer is None:
                return np.full(len(bars), np.nan)
            other = longer
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


def _inner(expression: Expression) -> Expression:
    """Return what a column is made of: a universe and a declared window change no value."""
    while isinstance(expression, (Universe, Window)):
        expression = expression.source
    return expression


def _masked(values: Floats, known_from: int) -> Floats:
    """Return the column as it is kept: NaN before the row ``known_from``, read-only. Copied only if somebody else's."""
    if not np.isnan(values[:known_from]).all():
        if not values.flags.writeable:
            values = values.copy()
        values[:known_from] = np.nan
    values.flags.writeable = False
    return values


def _is_masked(node: Expression) -> bool:
    """Whether the values of a node are NaN until its window is full: all but those of elementwise operations."""
    while isinstance(node, Universe):
        node = node.source
    return not isinstance(node, (Operation, Window))


def _shifted(values: Floats, count: int) -> Floats:
    result = np.full(len(values), np.nan)
    if count < len(values):
        result[count:] = values[: len(values) - count] if count else values
    return result
