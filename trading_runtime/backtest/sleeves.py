"""Sleeves: the parts of a portfolio that a strategy names, each with the profit it made. Together they are the whole.

    profit of a sleeve = realised + unrealised − fees − funding, summed over its symbols, after every bar

Amounts are integers until they are published, and that the sleeves add up to the change of equity is checked on every
run. Cash belongs to no sleeve: it earns nothing here. Nothing in this file decides or draws anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trading_runtime.backtest.market import Market
from trading_runtime.backtest.result import Tables, symbol_holdings
from trading_runtime.backtest.return_metrics import published
from trading_runtime.backtest.tables import Integers, SleeveTable, money_float, money_floats
from trading_runtime.backtest.trace import Trace

# Where a strategy names sleeves, a symbol without one still earns and loses: its amounts stand under this name.
UNNAMED = "other"


@dataclass(slots=True, eq=False)
class Sleeve:
    """One part of the portfolio, amounts in quote units. ``profit_units`` is what it has earned after each bar, shape
    (n,); ``realised_units`` is before fees and funding, as in the table of trades.
    """

    name: str
    symbols: list[str]
    profit_units: Integers
    realised_units: int = 0
    unrealised_units: int = 0
    fees_units: int = 0
    funding_units: int = 0
    traded_units: int = 0
    orders: int = 0
    fills: int = 0
    trades: int = 0
    open_trades: int = 0
    bars_in_market: int = 0
    held: np.ndarray[Any, np.dtype[np.bool_]] = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    @property
    def net_units(self) -> int:
        return int(self.profit_units[-1])

    @property
    def drawdown_units(self) -> int:
        """How far the cumulative profit fell below the most it had been; it began at zero."""
        peak = np.maximum(np.maximum.accumulate(self.profit_units), 0)
        return int((peak - self.profit_units).max())


def build_sleeves(
    market: Market, trace: Trace, tables: Tables, start_cash: int, sleeve_of: Callable[[str], str]
) -> list[Sleeve]:
    """Return the sleeves in the order in which the symbols of the run name them; none when no symbol has one.

    Raises RuntimeError when they do not add up to the run's change of equity (a defect).
    """
    named = [sleeve_of(symbol) for symbol in market.symbols]
    if not any(named):
        return []
    sleeves: dict[str, Sleeve] = {}
    of_symbol: list[Sleeve] = []
    for symbol, given in zip(market.symbols, named, strict=True):
        name = given or UNNAMED
        if name not in sleeves:
            empty = np.zeros(market.count, dtype=np.int64)
            sleeves[name] = Sleeve(name, [], empty, held=np.zeros(market.count, dtype=np.bool_))
        sleeves[name].symbols.append(symbol)
        of_symbol.append(sleeves[name])
    _add_curves(market, tables, of_symbol)
    _add_amounts(tables, of_symbol)
    place = {symbol: index for index, symbol in enumerate(market.symbols)}
    for decided in trace.decisions():
        for order in decided.orders:
            of_symbol[place[order.symbol]].orders += 1
    found = list(sleeves.values())
    _check(found, tables, start_cash)
    return found


def sleeves_json(sleeves: Sequence[Sleeve], quote_unit: float, turnover_per_year: float | None) -> dict[str, Any]:
    """Return the figures of each sleeve by its name, in order. ``turnover_per_year`` is the whole run's."""
    total = sum(sleeve.net_units for sleeve in sleeves)
    traded = sum(sleeve.traded_units for sleeve in sleeves)
    figures: dict[str, Any] = {}
    for sleeve in sleeves:
        money = {
            "net_profit": sleeve.net_units,
            "realised": sleeve.realised_units,
            "unrealised": sleeve.unrealised_units,
            "fees": sleeve.fees_units,
            "funding": sleeve.funding_units,
            "traded_value": sleeve.traded_units,
            "maximum_drawdown": sleeve.drawdown_units,
        }
        turnover = turnover_per_year * (sleeve.traded_units / traded) if traded and turnover_per_year else None
        figures[sleeve.name] = {
            "symbols": list(sleeve.symbols),
            **{name: money_float(units, quote_unit) for name, units in money.items()},
            "profit_share_fraction": published(sleeve.net_units / total) if total else None,
            "turnover_per_year": published(turnover),
            "time_in_market_fraction": published(sleeve.bars_in_market / len(sleeve.profit_units)),
            "orders": sleeve.orders,
            "fills": sleeve.fills,
            "trades": sleeve.trades,
            "open_trades": sleeve.open_trades,
        }
    return figures


def sleeve_table(sleeves: Sequence[Sleeve], time_ms: Integers, quote_unit: float) -> SleeveTable:
    """Return the curves of the sleeves as they are written and drawn."""
    return SleeveTable(time_ms, {sleeve.name: money_floats(sleeve.profit_units, quote_unit) for sleeve in sleeves})


def _add_curves(market: Market, tables: Tables, of_symbol: Sequence[Sleeve]) -> None:
    for index, sleeve in enumerate(of_symbol):
        holdings = symbol_holdings(market, tables.fills, tables.funding, index)
        if holdings is None:
            continue
        sleeve.profit_units += holdings.cash + holdings.value
        sleeve.held |= holdings.quantity != 0
    for sleeve in {id(one): one for one in of_symbol}.values():
        sleeve.bars_in_market = int(np.count_nonzero(sleeve.held))


def _add_amounts(tables: Tables, of_symbol: Sequence[Sleeve]) -> None:
    fills, trades = tables.fills, tables.trades
    for index, traded in zip(fills.symbol_index.tolist(), fills.value_units.tolist(), strict=True):
        of_symbol[index].fills += 1
        of_symbol[index].traded_units += traded
    for row, index in enumerate(trades.symbol_index.tolist()):
        sleeve = of_symbol[index]
        realised, fees, funding = (
            int(column[row]) for column in (trades.realised_units, trades.fees_units, trades.funding_units)
        )
        sleeve.realised_units += realised
        sleeve.fees_units += fees
        sleeve.funding_units += funding
        sleeve.unrealised_units += int(trades.pnl_units[row]) - realised + fees + funding
        if trades.is_open[row]:
            sleeve.open_trades += 1
        else:
            sleeve.trades += 1


def _check(sleeves: Sequence[Sleeve], tables: Tables, start_cash: int) -> None:
    whole = np.sum([sleeve.profit_units for sleeve in sleeves], axis=0)
    if not np.array_equal(whole, tables.equity_units - start_cash):
        raise RuntimeError("the profits of the sleeves do not add up to the change of equity: the ledger is broken")
    for sleeve in sleeves:
        parts = sleeve.realised_units + sleeve.unrealised_units - sleeve.fees_units - sleeve.funding_units
        if parts != sleeve.net_units:
            raise RuntimeError(
                f"the trades of sleeve {sleeve.name} earned {parts} units but its positions {sleeve.net_units}: "
                "the ledger is broken"
            )
