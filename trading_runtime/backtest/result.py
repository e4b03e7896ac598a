"""From a trace to tables: equity, fills, funding, trades and the journal. Pure; both paths of the engine end here.

Equity is derived once, vectorised, from the fills: positions and cash are sums of integers, and each bar's marks are
rounded exactly as ``core.money.quote_value`` rounds them. That the trades' profits add up to the change of equity is
checked on every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from trading_runtime.backtest.market import Market
from trading_runtime.backtest.tables import EquityTable, FillTable, FundingTable, Integers, TradeTable, money_floats
from trading_runtime.backtest.trace import Decided, Ended, Fill, Funded, Trace
from trading_runtime.backtest.trades import build_trades
from trading_runtime.core.bars import Floats
from trading_runtime.core.errors import AmountError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.money import AMOUNT_MAX
from trading_runtime.core.timeframes import iso_time


@dataclass
class Tables:
    """The tables of a run. ``equity_units`` is the exact equity per bar, from which the published floats were made."""

    equity: EquityTable
    fills: FillTable
    funding: FundingTable
    trades: TradeTable
    equity_units: Integers


class Holdings(NamedTuple):
    """One symbol after each bar, shape (n,): what it has paid (negative) or brought in since the start, what is held of
    it, and what that is worth at the marks; quantity and quote units.
    """

    cash: Integers
    quantity: Integers
    value: Integers


class Curve(NamedTuple):
    """What a run did to the account, without its trades: exact cash, gross value of positions and equity after each
    bar, shape (n,), quote units.
    """

    fills: FillTable
    funding: FundingTable
    cash_units: Integers
    gross_units: Integers
    equity_units: Integers


def build_curve(market: Market, trace: Trace, start_cash: int) -> Curve:
    """Return the curve of a run that started with ``start_cash`` quote units; raises AmountError when cash or equity
    leaves the range of amounts.
    """
    try:
        fills, funding = _fill_table(market, trace), _funding_table(market, trace)
    except OverflowError:
        raise AmountError("an amount of the run left the range of amounts") from None
    cash, gross, equity = _equity_units(market, fills, funding, start_cash)
    return Curve(fills, funding, cash, gross, equity)


def build_tables(market: Market, trace: Trace, start_cash: int) -> Tables:
    """Return the tables of a run that started with ``start_cash`` quote units.

    Raises AmountError when an amount leaves its range, RuntimeError when trades and equity do not add up (a defect).
    """
    fills, funding, cash, gross, equity = build_curve(market, trace, start_cash)
    unit = fills.quote_unit
    equity_floats = money_floats(equity, unit)
    exposure = np.zeros(market.count)
    np.divide(gross.astype(np.float64), equity, out=exposure, where=equity > 0)
    times = market.start_ms + market.bar_ms * np.arange(1, market.count + 1, dtype=np.int64)
    table = EquityTable(
        times, equity_floats, money_floats(cash, unit), exposure, _benchmark(market, trace, start_cash, unit)
    )
    try:
        trades = build_trades(
            fills,
            funding,
            last_close=[float(mark[-1]) for mark in market.mark],
            last_time_ms=int(times[-1]),
            last_bar=market.count - 1,
        )
    except OverflowError:
        raise AmountError("the entries of one trade add up to more than the range of amounts") from None
    earned = sum(trades.pnl_units.tolist())
    if earned != int(equity[-1]) - start_cash:
        raise RuntimeError(
            f"trades earned {earned} units but equity changed by {int(equity[-1]) - start_cash}: the ledger is broken"
        )
    return Tables(table, fills, funding, trades, equity)


def journal_lines(market: Market, trace: Trace) -> Iterator[bytes]:
    """Yield one canonical JSON line per entry: what was decided, filled, ended and paid, in order."""
    names = market.symbols
    instruments = [market.instruments[symbol] for symbol in names]
    for sequence, entry in enumerate(trace.entries):
        content: dict[str, Any]
        if isinstance(entry, Fill):
            instrument = instruments[entry.symbol_index]
            content = {
                "kind": "fill",
                "time": iso_time(market.close_time(entry.bar - 1)),
                "order_id": entry.order.order_id,
                "symbol": names[entry.symbol_index],
                "side": "buy" if entry.order.side > 0 else "sell",
                "quantity": instrument.quantity_text(entry.quantity),
                "price": entry.price,
                "value": instrument.money_text(entry.value),
                "fee": instrument.money_text(entry.fee),
                "slippage": instrument.money_text(entry.slippage),
                "liquidity": "maker" if entry.is_maker else "taker",
            }
        elif isinstance(entry, Decided):
            content = {
                "kind": "decision",
                "time": iso_time(entry.slot),
                "slot": entry.slot,
                "intents": [intent.to_json() for intent in entry.intents],
                "orders": [order.to_json() for order in entry.orders],
                "refusals": [refusal.to_json() for refusal in entry.refusals],
                "reasons": list(entry.reasons),
            }
            if entry.facts:
                content["facts"] = dict(entry.facts)
        elif isinstance(entry, Ended):
            content = {"kind": "ended", "order_id": entry.order_id, "status": entry.status, "reason": entry.reason}
        else:
            content = {
                "kind": "funding",
                "time": iso_time(market.close_time(entry.bar)),
                "symbol": names[entry.symbol_index],
                "rate": entry.rate,
                "amount": instruments[entry.symbol_index].money_text(entry.amount),
            }
        content["sequence"] = sequence
        content["bar"] = entry.bar
        yield canonical_json(content) + b"\n"


def refusals_by_gate(trace: Trace) -> dict[str, int]:
    """Return how many intents each gate refused, by gate name."""
    counts: dict[str, int] = {}
    for entry in trace.decisions():
        for refusal in entry.refusals:
            counts[refusal.gate] = counts.get(refusal.gate, 0) + 1
    return dict(sorted(counts.items()))


def refusals_by_category(trace: Trace) -> dict[str, dict[str, int]]:
    """Return how many intents each gate refused, by category and gate name."""
    counts: dict[str, dict[str, int]] = {}
    for entry in trace.decisions():
        for refusal in entry.refusals:
            gates = counts.setdefault(refusal.category, {})
            gates[refusal.gate] = gates.get(refusal.gate, 0) + 1
    return {category: dict(sorted(gates.items())) for category, gates in sorted(counts.items())}


def mark_units(price: Floats, quantity: Integers, value_per_unit: float) -> Integers:
    """Return ``core.money.quote_value`` of whole columns; raises AmountError beyond its range."""
    values = np.rint(price * (quantity * value_per_unit))
    if not (np.abs(values) < AMOUNT_MAX).all():
        raise AmountError("the value of a position left the range of amounts")
    result: Integers = values.astype(np.int64)
    return result


def _equity_units(
    market: Market, fills: FillTable, funding: FundingTable, start_cash: int
) -> tuple[Integers, Integers, Integers]:
    """Cash, gross position value and equity after each bar, quote units, shape (n,).

    Sums of int64 wrap, so that what is in range at the end is right however it came about; what is not is found by the
    same sums in float64.
    """
    cash = np.full(market.count, start_cash, dtype=np.int64)
    gross = np.zeros(market.count, dtype=np.int64)
    held = np.zeros(market.count, dtype=np.int64)
    net_value, gross_value = np.zeros(market.count), np.zeros(market.count)
    for index in range(len(market.symbols)):
        holdings = symbol_holdings(market, fills, funding, index)
        if holdings is not None:
            cash += holdings.cash
            held += holdings.value
            gross += np.abs(holdings.value)
            net_value += holdings.value
            gross_value += np.abs(holdings.value)
    paid = np.zeros(market.count)
    np.subtract.at(paid, fills.bar, fills.side * fills.value_units.astype(np.float64) + fills.fee_units)
    np.subtract.at(paid, _bars(market, funding.time_ms), funding.amount_units.astype(np.float64))
    cash_value = start_cash + np.cumsum(paid)
    for amounts in (cash_value, gross_value, cash_value + net_value):
        if not (np.abs(amounts) < AMOUNT_MAX).all():
            raise AmountError("the account's cash or equity left the range of amounts")
    return cash, gross, cash + held


def _bars(market: Market, close_ms: Integers) -> Integers:
    return (close_ms - market.start_ms) // market.bar_ms - 1


def symbol_holdings(market: Market, fills: FillTable, funding: FundingTable, index: int) -> Holdings | None:
    """Return what one symbol did to the account after each bar, or None for a symbol that was never traded."""
    rows = fills.symbol_index == index
    if not rows.any():
        return None
    bars, side, value_units = fills.bar[rows], fills.side[rows], fills.value_units[rows]
    cash = np.zeros(market.count, dtype=np.int64)
    np.subtract.at(cash, bars, side * value_units + fills.fee_units[rows])
    paid = funding.symbol_index == index
    if paid.any():
        np.subtract.at(cash, _bars(market, funding.time_ms[paid]), funding.amount_units[paid])
    quantity = np.zeros(market.count, dtype=np.int64)
    np.add.at(quantity, bars, side * fills.quantity_units[rows])
    quantity = np.cumsum(quantity)
    first = int(bars[0])
    value = np.zeros(market.count, dtype=np.int64)
    per_unit = market.instruments[market.symbols[index]].value_per_unit
    value[first:] = mark_units(market.mark[index][first:], quantity[first:], per_unit)
    return Holdings(np.cumsum(cash), quantity, value)


def _benchmark(market: Market, trace: Trace, start_cash: int, unit: float) -> Floats:
    """Equity of buying equal parts of all symbols at the open after the first decision and holding, without cost."""
    start = float(money_floats(np.array([start_cash], dtype=np.int64), unit)[0])
    result = np.full(market.count, start)
    bought = trace.first_bar + 1
    if bought >= market.count:
        return result
    share = start / len(market.symbols)
    result[bought:] = 0.0
    for index in range(len(market.symbols)):
        entry = max(bought, market.first[index])
        if entry >= market.count or np.isnan(market.open[index][entry]):
            result[bought:] += share  # the symbol had ended before: its part stays cash
            continue
        result[bought:entry] += share
        result[entry:] += share * (market.mark[index][entry:] / market.open[index][entry])
    return result


def _fill_table(market: Market, trace: Trace) -> FillTable:
    fills = trace.fills()
    instruments = [market.instruments[symbol] for symbol in market.symbols]
    bars = np.array([fill.bar for fill in fills], dtype=np.int64)
    return FillTable(
        time_ms=market.start_ms + bars * market.bar_ms,
        bar=bars,
        symbol_index=np.array([fill.symbol_index for fill in fills], dtype=np.int64),
        side=np.array([fill.order.side for fill in fills], dtype=np.int8),
        quantity_units=np.array([fill.quantity for fill in fills], dtype=np.int64),
        price=np.array([fill.price for fill in fills], dtype=np.float64),
        value_units=np.array([fill.value for fill in fills], dtype=np.int64),
        fee_units=np.array([fill.fee for fill in fills], dtype=np.int64),
        slippage_units=np.array([fill.slippage for fill in fills], dtype=np.int64),
        is_maker=np.array([fill.is_maker for fill in fills], dtype=np.bool_),
        order_id=[fill.order.order_id for fill in fills],
        leg=[fill.order.leg for fill in fills],
        reason=[fill.order.reason for fill in fills],
        symbols=list(market.symbols),
        quantity_unit=[float(instrument.quantity_unit) for instrument in instruments],
        quote_unit=float(instruments[0].quote_unit),
    )


def _funding_table(market: Market, trace: Trace) -> FundingTable:
    paid: list[Funded] = trace.funding()
    return FundingTable(
        time_ms=np.array([market.close_time(entry.bar) for entry in paid], dtype=np.int64),
        symbol_index=np.array([entry.symbol_index for entry in paid], dtype=np.int64),
        amount_units=np.array([entry.amount for entry in paid], dtype=np.int64),
    )
