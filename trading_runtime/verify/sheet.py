"""The columns of a strategy as ``decide`` sees them at one bar, from whatever bars they are computed on.

``Sheet`` mirrors how the engine hands columns over: one value, one value per symbol, or a window of values.
The wake condition is kept beside them, as true or false: it is nothing decide sees, but it must not look
ahead. Nothing here decides or compares proposals.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import copysign
from typing import Any, NamedTuple

import numpy as np

from trading_runtime.backtest.market import Market
from trading_runtime.core.bars import Bars, Floats
from trading_runtime.core.columns import Universe, Window
from trading_runtime.core.evaluate import Columns, onto
from trading_runtime.core.strategy import Strategy
from trading_runtime.verify.cuts import Cut

Value = float | tuple[float, ...] | Floats | tuple[Floats, ...]
Arrays = list[list[Floats]]


class _Column(NamedTuple):
    """How one name of the inputs is made. ``length`` is 0 for a value and the number of bars for a window."""

    name: str
    expression: Any
    of_universe: bool
    length: int


class Unlike(NamedTuple):
    """The first thing two bars' columns do not have in common."""

    field: str
    expected: Any
    found: Any


class Sheet:
    """The declared columns of a strategy over the symbols of a market."""

    def __init__(self, strategy: Strategy, market: Market) -> None:
        self._values = strategy.params.to_json()
        self._symbols = market.symbols
        self._columns = [_column(name, one, self._values) for name, one in strategy.columns.items()]
        if strategy.targets is not None:
            self._columns.append(_Column("target", strategy.targets, True, 0))
        self.names = tuple(column.name for column in self._columns)
        self._wake = strategy.wake

    def of_market(self, market: Market) -> Arrays:
        """Return every column over the whole market, on its clock."""
        return self._arrays(market.bars, market.start_ms, market.count)

    def of_cut(self, cut: Cut) -> list[Value]:
        """Return what decide would see at the cut's bar; raises whatever a column function raises."""
        return self.at(self._arrays(cut.bars, cut.start_ms, cut.bars_count), cut.row)

    def at(self, arrays: Arrays, row: int) -> list[Value]:
        """Return the values of one row, in the order of the names, then the wake condition, if any."""
        values: list[Value] = []
        for column, rows in zip(self._columns, arrays, strict=False):
            if column.length:
                windows = tuple(array[row - column.length + 1 : row + 1] for array in rows)
                values.append(windows if column.of_universe else windows[0])
            elif column.of_universe:
                values.append(tuple([array.item(row) for array in rows]))
            else:
                values.append(rows[0].item(row))
        if self._wake is not None:
            values.append(tuple([_holds(array.item(row)) for array in arrays[-1]]))
        return values

    def unlike(self, expected: list[Value], found: list[Value]) -> Unlike | None:
        """Return the first difference, to the last bit, or None. All NaN are one, as they are for decide."""
        for position, (first, second) in enumerate(zip(expected, found, strict=True)):
            if _alike(first, second):
                continue
            name = f"column {self.names[position]}" if position < len(self.names) else "wake"
            return self._describe(name, first, second)
        return None

    def _describe(self, name: str, first: Any, second: Any) -> Unlike:
        if isinstance(first, tuple):
            for symbol, one, other in zip(self._symbols, first, second, strict=True):
                if not _alike(one, other):
                    return self._describe(f"{name} of {symbol}", one, other)
        if isinstance(first, np.ndarray):
            for age, (one, other) in enumerate(zip(first[::-1].tolist(), second[::-1].tolist(), strict=True)):
                if not _alike(one, other):
                    return Unlike(f"{name}, {age} bars ago", one, other)
        return Unlike(name, first, second)

    def _arrays(self, bars: Mapping[str, Bars], start_ms: int, count: int) -> Arrays:
        columns = Columns(bars, self._values)

        def on_clock(expression: Any, symbol: str) -> Floats:
            array = onto(columns.column(expression, symbol), bars[symbol], start_ms, count)
            array.flags.writeable = False
            return array

        arrays: Arrays = []
        for column in self._columns:
            symbols = self._symbols if column.of_universe else self._symbols[:1]
            arrays.append([on_clock(column.expression, symbol) for symbol in symbols])
        if self._wake is not None:
            arrays.append([on_clock(self._wake, symbol) for symbol in self._symbols])
        return arrays


def _column(name: str, expression: Any, values: Mapping[str, Any]) -> _Column:
    of_universe = isinstance(expression, Universe)
    inner = expression.source if of_universe else expression
    return _Column(name, inner, of_universe, inner.count(values) if isinstance(inner, Window) else 0)


def _holds(value: float) -> float:
    return 1.0 if value != 0.0 and value == value else 0.0


def _alike(first: Any, second: Any) -> bool:
    if isinstance(first, float):
        if first == second:
            return first != 0.0 or copysign(1.0, first) == copysign(1.0, second)
        return first != first and bool(second != second)
    if isinstance(first, tuple):
        return all(_alike(one, other) for one, other in zip(first, second, strict=True))
    if first.tobytes() == second.tobytes():
        return True
    return all(_alike(one, other) for one, other in zip(first.tolist(), second.tolist(), strict=True))
