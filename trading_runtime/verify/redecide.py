"""Deciding again: the inputs of one recorded bar, built anew from a cut of the market, for a fresh strategy.

The portfolio, the strategy state and the permissions are the recorded ones; columns and prices come from the
cut. Whatever a strategy can reach through the inputs, their private parts included, ends where the cut ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from trading_runtime.backtest.engine import Account
from trading_runtime.backtest.market import Market
from trading_runtime.core.money import quote_value
from trading_runtime.core.slot import inputs_class
from trading_runtime.core.state import Order
from trading_runtime.core.strategy import Inputs, Permissions, Strategy
from trading_runtime.verify.cuts import Cut
from trading_runtime.verify.record import Given, outcome_of
from trading_runtime.verify.sheet import Value


class Redecider:
    """Decides at recorded bars with a strategy made for each decision."""

    def __init__(self, strategy: Strategy, market: Market, account: Account, names: tuple[str, ...]) -> None:
        self._kind = type(strategy)
        self._parameters = strategy.params.to_json()
        self._market = market
        self._permissions = account.permissions
        self._names = names
        self._inputs_class = inputs_class(self._kind, names)

    def outcome(self, values: list[Value], given: Given, bar: int, cut: Cut | None) -> str | None:
        """Return what decide comes to on ``values`` at ``bar``; ``cut`` is None for the whole market."""
        inputs = self._inputs(values, given, bar, cut)
        try:
            return outcome_of(self._kind(self._parameters).decide(inputs))
        except Exception as error:  # noqa: BLE001 - a strategy may raise anything, and that is an outcome, too
            return json.dumps({"raised": f"{type(error).__name__}: {error}"})

    def _inputs(self, values: list[Value], given: Given, bar: int, cut: Cut | None) -> Inputs:
        inputs: Any = self._inputs_class()
        for name, value in zip(self._names, values, strict=False):  # the wake condition, if any, comes last
            setattr(inputs, name, value)
        inputs.symbols = self._market.symbols
        inputs.symbol = self._market.symbols[0]
        inputs.state = json.loads(given.state) if given.state != "{}" else {}
        permissions = self._permissions
        inputs.permissions = Permissions(new_risk=permissions.new_risk, short=permissions.short)
        inputs.artifact = deepcopy(self._market.artifact_at(bar))  # what is published does not depend on the cut
        inputs.index = bar if cut is None else cut.row
        inputs._source = _Source(self._market, given, bar, cut)
        made: Inputs = inputs
        return made


class _Source:
    """Answers what the inputs ask besides columns: as recorded at the bar, from the cut at any other."""

    def __init__(self, market: Market, given: Given, bar: int, cut: Cut | None) -> None:
        self._whole = market
        self._given = given
        self._bar = bar
        self._cut = cut
        self._row = bar if cut is None else cut.row

    def __getattr__(self, name: str) -> Any:
        # The engine's source has its market here. The contract forbids reading it, and the proof is to say
        # what came of that: so it is here, too, and holds no more than the cut.
        if name == "_market":
            if self._cut is None:
                return self._whole
            present = {symbol: bars for symbol, bars in self._cut.bars.items() if symbol not in self._cut.absent}
            whole = self._whole
            known = [one for one in whole.publications if one.time_ms <= whole.close_time(self._bar)]
            self._market = Market(present, whole.instruments, whole.execution, whole.funding, known)
            return self._market
        raise AttributeError(f"{name!r} is not among the inputs' public properties")

    def time_of(self, row: int) -> int:
        return self._whole.close_time(self._bar + row - self._row)

    def price_of(self, symbol: str, row: int) -> float:
        index = self._whole.symbols.index(symbol) if symbol in self._whole.bars else None
        if index is None:
            raise KeyError(symbol)
        cut = self._cut
        if cut is None or symbol in cut.absent:
            # A symbol without bars in the window keeps the mark that the account knows.
            return float(self._whole.mark[index][self._bar if cut is not None else row])
        if row >= cut.bars_count:
            raise IndexError(f"bar {row} lies beyond the {cut.bars_count} there are")
        bars = cut.bars[symbol]
        own_row = row - (int(bars.open_time[0]) - cut.start_ms) // bars.bar_ms
        return float(bars.close[min(own_row, len(bars) - 1)]) if own_row >= 0 else float("nan")

    def position_of(self, symbol: str) -> float:
        return self._given.book.positions.get(symbol, 0.0)

    def entry_price_of(self, symbol: str) -> float:
        return self._given.book.entry_prices.get(symbol, 0.0)

    def profit_of(self, symbol: str, row: int) -> float:
        position = self._given.book.ledger.get(symbol)
        if position is None:
            return 0.0
        value = 0
        instrument = self._whole.instruments[symbol]
        if position.quantity:
            value = quote_value(self.price_of(symbol, row), position.quantity, instrument.value_per_unit)
        return position.profit(value) * float(instrument.quote_unit)

    def lot_of(self, symbol: str, row: int) -> float:
        instrument = self._whole.instruments[symbol]
        return instrument.quantity_float(instrument.rules_at(self.time_of(row)).lot)

    def equity(self, row: int) -> float:
        if row == self._row:
            return self._given.equity
        held = self._given.book.positions
        return self._given.book.cash + sum(
            quantity * self.price_of(symbol, row) for symbol, quantity in held.items() if quantity
        )

    def cash(self) -> float:
        return self._given.book.cash

    def open_orders(self) -> Sequence[Order]:
        return self._given.book.orders
