"""Columns of one symbol as rows of one array, which batch kernels read: each distinct column is made once for a market.

It is kept from batch to batch, so that a sweep copies a column once and not once for every chunk of its cells. Which
columns a rule compares is ``targets``' matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trading_runtime.backtest.market import Market
from trading_runtime.core.bars import Floats
from trading_runtime.core.columns import Expression
from trading_runtime.core.evaluate import ColumnCache, Columns

COLUMNS_BYTES_MAX = 256 * 1024 * 1024
_ROWS_MOST = 4096


class ColumnRows:
    """Rows of ``matrix``, shape (rows, n), by expression and parameter values. Threads may read it together; rows are
    added by one, while none reads.
    """

    def __init__(self, market: Market, cache: ColumnCache) -> None:
        self._market = market
        self._cache = cache
        # Memory that is not written to costs nothing: the array is as large as it may become.
        self._rows_max = min(_ROWS_MOST, max(4, COLUMNS_BYTES_MAX // (8 * market.count)))
        self.matrix: Floats = np.empty((self._rows_max, market.count))
        self.clear()

    def clear(self) -> None:
        """Forget all rows."""
        # By the texts of the parameter values that an expression depends on; a grid has few of each.
        self._places: dict[tuple[Any, ...], int] = {}
        self._distinct: dict[str, int] = {}
        self._wanted: list[tuple[Expression, Mapping[str, Any]]] = []
        self._filled = 0

    def has_room(self, rows: int) -> bool:
        """Whether so many more rows would fit."""
        return len(self._wanted) + rows <= self._rows_max

    def row(self, expression: Expression, names: Sequence[str], values: Mapping[str, Any]) -> int:
        """Return the row of an expression, which refers to the parameters ``names``; it is there after ``fill``."""
        place = (expression, *[repr(values[name]) for name in names if name in values])
        row = self._places.get(place)
        if row is None:
            row = self._places[place] = self._distinct.setdefault(expression.key(values), len(self._wanted))
            if row == len(self._wanted):
                self._wanted.append((expression, values))
        return row

    def fill(self) -> None:
        """Compute the rows that were asked for since the last time."""
        market, added = self._market, self._wanted[self._filled :]
        symbol = market.symbols[0]
        Columns(market.bars, {}, self._cache).prepare(added, symbol)
        for row, (expression, values) in enumerate(added, start=self._filled):
            self.matrix[row] = Columns(market.bars, values, self._cache).column(expression, symbol)
        self._filled = len(self._wanted)
