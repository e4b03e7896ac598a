"""Columns: what a strategy may see of the market, declared as expressions before any data exists.

    fast = indicator("sma", "close", length=P.fast)     an indicator over a declared window
    trend = indicator("sma", length=50, timeframe="4h")
    targets = where((fast > slow) & (wrap("close") > trend), P.weight, 0.0)

This file holds what strategies call; everything here can be imported from here alone. The tree that the calls build is
in ``core/expressions.py``, its evaluation over data in ``core/evaluate.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from trading_runtime.core.errors import StrategyError, nearest_name
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
    P,
    ParameterReference,
    Universe,
    Values,
    Window,
    resolve,
    windowed_nodes,
    wrap,
)
from trading_runtime.core.indicators import INDICATORS

__all__ = [
    "NO_OPINION",
    "BarField",
    "Constant",
    "CustomColumn",
    "Expression",
    "IndicatorColumn",
    "Lag",
    "OfSymbol",
    "OnTimeframe",
    "Operation",
    "P",
    "ParameterReference",
    "Universe",
    "Values",
    "Window",
    "absolute",
    "crossed_above",
    "crossed_below",
    "custom",
    "indicator",
    "maximum",
    "minimum",
    "resolve",
    "where",
    "window",
    "windowed_nodes",
    "wrap",
]

# In ``targets``: the rule says nothing at this bar, so the last target stays.
NO_OPINION = float("nan")


def where(condition: Any, chosen: Any, otherwise: Any) -> Expression:
    """``chosen`` on bars where ``condition`` holds, ``otherwise`` elsewhere."""
    return Operation("where", (wrap(condition), wrap(chosen), wrap(otherwise)))


def maximum(first: Any, second: Any) -> Expression:
    """The larger of two values per bar; NaN when either is."""
    return Operation("maximum", (wrap(first), wrap(second)))


def minimum(first: Any, second: Any) -> Expression:
    """The smaller of two values per bar; NaN when either is."""
    return Operation("minimum", (wrap(first), wrap(second)))


def absolute(value: Any) -> Expression:
    """The magnitude of a value."""
    return Operation("absolute", (wrap(value),))


def crossed_above(first: Any, second: Any) -> Expression:
    """True on the bar where ``first`` is above ``second`` and was not on the bar before."""
    one, other = wrap(first), wrap(second)
    return (one > other) & (one.lag(1) <= other.lag(1))


def crossed_below(first: Any, second: Any) -> Expression:
    """True on the bar where ``first`` is below ``second`` and was not on the bar before."""
    one, other = wrap(first), wrap(second)
    return (one < other) & (one.lag(1) >= other.lag(1))


def indicator(
    name: str,
    *sources: Any,
    timeframe: str | None = None,
    symbol: str | None = None,
    universe: bool = False,
    **parameters: Any,
) -> Expression:
    """Declare a registered indicator as a column; see ``docs/indicators.md`` for the names.

    Without ``sources`` the indicator's own bar fields are read. ``timeframe`` computes it on longer bars, ``symbol`` on
    another symbol's, ``universe`` on every symbol of the run. Raises StrategyError for an unknown indicator or
    parameter.
    """
    known = INDICATORS.get(name)
    if known is None:
        near = nearest_name(name, list(INDICATORS))
        hint = f"; did you mean {near!r}?" if near else ""
        raise StrategyError(f"unknown indicator {name!r}{hint}")
    for given in parameters:
        if given not in known.parameters:
            near = nearest_name(given, list(known.parameters))
            hint = f"; did you mean {near!r}?" if near else ""
            raise StrategyError(
                f"indicator {name!r} has no parameter {given!r}{hint} (known: {', '.join(known.parameters)})"
            )
    missing = [required for required in known.required if required not in parameters]
    if missing:
        raise StrategyError(f"indicator {name!r} needs {' and '.join(missing)}")
    expressions = tuple(wrap(source) for source in (sources or known.sources))
    if len(expressions) != len(known.sources):
        raise StrategyError(f"indicator {name!r} reads {len(known.sources)} source(s), {len(expressions)} were given")
    return _placed(IndicatorColumn(name, expressions, tuple(sorted(parameters.items()))), timeframe, symbol, universe)


def custom(
    function: Callable[..., npt.NDArray[np.float64]],
    *sources: Any,
    window: Any,
    timeframe: str | None = None,
    symbol: str | None = None,
    universe: bool = False,
    **parameters: Any,
) -> Expression:
    """Declare a column computed by your own function of whole arrays, shape (n,) each, that returns shape (n,).

    ``window`` is the number of bars a value depends on. Nothing stops such a function from looking ahead, so run
    ``verify``.
    """
    expressions = tuple(wrap(source) for source in (sources or ("close",)))
    return _placed(
        CustomColumn(function, window, expressions, tuple(sorted(parameters.items()))), timeframe, symbol, universe
    )


def window(source: Any, bars: Any) -> Expression:
    """The last ``bars`` values of a field or column, oldest first, as an array."""
    return Window(wrap(source), bars)


def _placed(column: Expression, timeframe: str | None, symbol: str | None, universe: bool) -> Expression:
    if timeframe is not None:
        column = OnTimeframe(column, timeframe)
    if symbol is not None and universe:
        raise StrategyError("a column is either of one symbol or of the universe, not both")
    if symbol is not None:
        column = OfSymbol(column, symbol)
    return Universe(column) if universe else column
