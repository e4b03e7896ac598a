"""The situation of one slot: what the inputs and the kept state come to, before anything is decided.

The pool, what is held, the indicators by symbol, the candidates with their weights, and what the account is worth.
Nothing here makes an order or changes: what a decision does to cash and sleeve is in ``draft.py``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.strategy import Inputs
from trading_runtime.core.timeframes import iso_time
from trading_runtime.strategies.live_pool.allocation import AllocationRules
from trading_runtime.strategies.live_pool.pool import locked_pool, publication_of
from trading_runtime.strategies.live_pool.trend import (
    UNKNOWN,
    Benchmark,
    Indicators,
    candidate,
    raised_high,
    selected_weights,
)

CORE_BASE = "BTC"


class Holding(NamedTuple):
    """A position of the trend sleeve: quantity in base units, price in quote money, NaN where there is none."""

    quantity: float
    price: float

    @property
    def value(self) -> float:
        return self.quantity * self.price


class Situation:
    """Reads ``inputs`` once. ``params`` are the strategy's. Raises StrategyError when the first symbol is not BTC, or
    the artifact no live pool.

    ``held`` is in the order of the pool, what is not of the pool after it by name: never in the order of the run's
    symbols, because a backtest has more of them than a cycle and must decide the same. ``suspended`` is what is held
    and cannot be traded now, at its last known price.
    """

    def __init__(self, inputs: Inputs, params: Any) -> None:
        self.inputs = inputs
        self.params = params
        self.core = core = inputs.symbol
        if core.partition("/")[0] != CORE_BASE:
            raise StrategyError(f"the first symbol of the run must be the one of {CORE_BASE}, not {core}")
        self._rows = {symbol: row for row, symbol in enumerate(inputs.symbols)}
        self.today = iso_time(inputs.as_of)[:10]

        reserved = (core, params.fuel_symbol)
        self.publication = publication_of(inputs.artifact, reserved)
        self.pool = locked_pool(inputs.state.get("pool"), self.publication)
        pooled = self.pooled = () if self.pool is None else self.pool.symbols
        outside = [symbol for symbol in sorted(inputs.symbols) if symbol not in reserved and symbol not in pooled]
        self.held = {
            symbol: Holding(quantity, inputs.price_of(symbol))
            for symbol in (*pooled, *outside)
            if symbol in self._rows and (quantity := self.position_of(symbol)) > 0.0
        }
        # No order passes in what is suspended: it is nothing to sell, and its value is no cash of the sleeve.
        self.suspended = {
            symbol: Holding(self.position_of(symbol), price)
            for symbol, price in sorted(inputs.suspended.items())
            if symbol not in reserved
        }
        # Without a pool nobody can say what has left it.
        self.retired = [symbol for symbol in self.held if symbol not in pooled] if self.pool is not None else []

        values: Any = inputs
        self.btc = Benchmark(
            inputs.price,
            number_of(values.btc_ma200),
            number_of(values.btc_ma200_slope),
            number_of(values.btc_roc20),
            number_of(values.btc_roc60),
            number_of(values.btc_roc120),
        )
        self.zscore = number_of(values.btc_zscore)
        self.sell_trigger = number_of(values.btc_sell_trigger)
        geometric_mean = number_of(values.btc_geom200)
        self.ahr999 = inputs.price / geometric_mean if geometric_mean > 0.0 else math.nan

        self.own = {symbol: self._indicators(symbol) for symbol in (*pooled, *self.retired, *self.held)}
        self.candidates = [candidate(symbol, self._price_of(symbol), self.own[symbol], self.btc) for symbol in pooled]
        self.weights = selected_weights(self.candidates, params.top_n, params.weighting)
        highest = inputs.state.get("highest", {})
        self.highest = {
            symbol: raised_high(highest.get(symbol), inputs.entry_price_of(symbol), held.price)
            for symbol, held in self.held.items()
        }

        self.highest |= {symbol: highest[symbol] for symbol in self.suspended if symbol in highest}

        self.equity = inputs.equity
        self.btc_quantity = max(0.0, inputs.position)
        self.btc_value = self.btc_quantity * inputs.price if self.btc_quantity else 0.0
        sleeve = (*self.held.values(), *self.suspended.values())
        self.trend_value = sum((held.value for held in sleeve if not math.isnan(held.price)), 0.0)
        self.allocation_rules = AllocationRules(
            params.btc_ratio_base,
            params.btc_ratio_slope,
            params.btc_ratio_scale,
            params.btc_ratio_maximum,
            params.base_order_minimum,
            params.base_order_fraction,
        )

    def position_of(self, symbol: str) -> float:
        """The quantity held in base units; 0.0 of a symbol that is not part of the run."""
        is_known = symbol in self._rows or symbol in self.inputs.suspended
        return self.inputs.position_of(symbol) if is_known else 0.0

    def _price_of(self, symbol: str) -> float:
        return self.inputs.price_of(symbol) if symbol in self._rows else math.nan

    def _indicators(self, symbol: str) -> Indicators:
        row = self._rows.get(symbol)
        if row is None:
            return UNKNOWN
        inputs = self.inputs
        return Indicators(*[number_of(getattr(inputs, name)[row]) for name in Indicators._fields])


def number_of(value: float | None) -> float:
    """Return a column's value; NaN for None, which stands for a missing one where columns come from JSON."""
    return math.nan if value is None else value
