"""Trades from fills: which entries and exits belong together, in integers to the last unit.

A *round trip* begins when a symbol's position leaves zero and ends when it returns to zero or crosses it. A
fill that crosses zero is cut in two, and value, fee and slippage of the two parts add up to the whole fill.
Two ways to match:

    average   one row per round trip; what an exit realises is measured against the average cost of what is
    held fifo      one row per matched lot: each exit closes the oldest entries first, piece by piece

Both give the same total, and with open trades marked at the last close that total is the run's change of
equity. Nothing here looks at bars: the work is one step per fill or funding payment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

import numpy as np

from trading_runtime.backtest.tables import FillTable, FundingTable, TradeTable
from trading_runtime.core.money import quote_value

Method = Literal["average", "fifo"]


def build_trades(
    fills: FillTable,
    funding: FundingTable,
    *,
    last_close: Sequence[float],
    last_time_ms: int,
    last_bar: int,
    method: Method = "average",
) -> TradeTable:
    """Return the trades of a run, in the order they closed; positions still open come last, marked at
    ``last_close``.

    ``last_close`` has one price per symbol, ``last_time_ms`` is the close time of the last bar and
    ``last_bar`` its index. ``bars_held`` counts from the bar of the entry to the bar of the exit (0 within
    one bar) or, for an open trade, through the last bar. Raises ValueError for a fill without quantity and
    for funding of a symbol that was never held: the tables would contradict each other.
    """
    rows: dict[int, list[int]] = {}
    for index, symbol in enumerate(fills.symbol_index.tolist()):
        rows.setdefault(symbol, []).append(index)
    payments: dict[int, list[tuple[int, int]]] = {}
    for time_ms, symbol, amount in zip(
        funding.time_ms.tolist(), funding.symbol_index.tolist(), funding.amount_units.tolist(), strict=True
    ):
        payments.setdefault(symbol, []).append((time_ms, amount))
    never_held = sorted(set(payments) - set(rows))
    if never_held:
        names = ", ".join(fills.symbols[symbol] for symbol in never_held)
        raise ValueError(f"funding was paid on {names}, but there is no fill of it")

    columns = _FillColumns(
        fills.time_ms.tolist(),
        fills.side.tolist(),
        fills.quantity_units.tolist(),
        fills.value_units.tolist(),
        fills.fee_units.tolist(),
        fills.slippage_units.tolist(),
    )
    closed: list[_Trade] = []
    still_open: list[_Trade] = []
    for symbol, indices in sorted(rows.items()):
        book: _Book = _AverageBook(symbol) if method == "average" else _FifoBook(symbol)
        _walk(book, indices, payments.get(symbol, []), columns)
        closed += book.closed
        lots = book.open_trades()
        if lots:
            _mark(lots, float(last_close[symbol]), _value_per_unit(fills, symbol))
            still_open += lots
    closed.sort(key=lambda trade: trade.exit_index)  # stable: lots of one exit stay oldest first
    still_open.sort(key=lambda trade: trade.entry_index)
    return _table(closed, still_open, fills, last_time_ms, last_bar)


@dataclass(slots=True, eq=False)
class _FillColumns:
    """The columns of a FillTable as Python integers: indexing an array costs five times as much."""

    time_ms: list[int]
    side: list[int]
    quantity: list[int]
    value: list[int]
    fee: list[int]
    slippage: list[int]


@dataclass(slots=True, eq=False)
class _Trade:
    """A trade or lot while it is being put together; all amounts in units."""

    symbol: int
    direction: int
    entry_index: int
    exit_index: int = -1
    held: int = 0  # now
    held_most: int = 0
    entered: int = 0  # quantity over all entries
    exited: int = 0
    entry_value: int = 0
    exit_value: int = 0
    cost: int = 0  # entry value of what is still held
    realised: int = 0
    fees: int = 0
    funding: int = 0
    slippage: int = 0


class _Book(Protocol):
    """The open trades of one symbol under one matching method."""

    closed: list[_Trade]

    def enter(self, index: int, direction: int, quantity: int, value: int, fee: int, slippage: int) -> None: ...

    def leave(self, index: int, quantity: int, value: int, fee: int, slippage: int) -> None: ...

    def pay(self, amount: int) -> None: ...

    def open_trades(self) -> list[_Trade]: ...


def _walk(book: _Book, indices: list[int], payments: list[tuple[int, int]], fills: _FillColumns) -> None:
    """Apply one symbol's fills and funding to its book, in order of time.

    Funding at time t is paid by the position held before the fills of t. Bars are coarser than funding times,
    so a payment may meet a flat book: it then belongs to the trade that a fill at that very time opens, else
    to the trade that closed last (entered and left inside the bar that contains t), else to the first one to
    come.
    """
    position = 0
    waiting = 0  # funding for the next trade to open
    next_payment = 0
    for index in indices:
        time_ms = fills.time_ms[index]
        while next_payment < len(payments) and payments[next_payment][0] <= time_ms:
            paid_at, amount = payments[next_payment]
            next_payment += 1
            if position:
                book.pay(amount)
            elif book.closed and paid_at != time_ms:
                book.closed[-1].funding += amount
            else:
                waiting += amount
        direction, quantity = fills.side[index], fills.quantity[index]
        value, fee, slippage = fills.value[index], fills.fee[index], fills.slippage[index]
        if quantity <= 0:
            raise ValueError(f"fill {index} has quantity {quantity}")
        held = position if position > 0 else -position
        if held and (position > 0) != (direction > 0):
            closing = quantity if quantity < held else held
            if closing == quantity:
                book.leave(index, quantity, value, fee, slippage)
                quantity = 0
            else:
                parts = [_share(amount, closing, quantity) for amount in (value, fee, slippage)]
                book.leave(index, closing, *parts)
                value, fee, slippage = value - parts[0], fee - parts[1], slippage - parts[2]
                quantity -= closing
        if quantity:
            book.enter(index, direction, quantity, value, fee, slippage)
            if waiting:
                book.pay(waiting)
                waiting = 0
        position += direction * fills.quantity[index]
    for _, amount in payments[next_payment:]:
        if position:
            book.pay(amount)
        else:
            book.closed[-1].funding += amount


class _AverageBook:
    """One open round trip at most; exits are measured against the average cost of what is held."""

    def __init__(self, symbol: int) -> None:
        self.symbol = symbol
        self.closed: list[_Trade] = []
        self.trade: _Trade | None = None

    def enter(self, index: int, direction: int, quantity: int, value: int, fee: int, slippage: int) -> None:
        trade = self.trade
        if trade is None:
            trade = self.trade = _Trade(self.symbol, direction, index)
        trade.held += quantity
        if trade.held > trade.held_most:
            trade.held_most = trade.held
        trade.entered += quantity
        trade.entry_value += value
        trade.cost += value
        trade.fees += fee
        trade.slippage += slippage

    def leave(self, index: int, quantity: int, value: int, fee: int, slippage: int) -> None:
        trade = self._held()
        cost = _share(trade.cost, quantity, trade.held)
        trade.cost -= cost
        trade.realised += trade.direction * (value - cost)
        trade.held -= quantity
        trade.exited += quantity
        trade.exit_value += value
        trade.fees += fee
        trade.slippage += slippage
        trade.exit_index = index
        if not trade.held:
            self.closed.append(trade)
            self.trade = None

    def pay(self, amount: int) -> None:
        self._held().funding += amount

    def open_trades(self) -> list[_Trade]:
        return [] if self.trade is None else [self.trade]

    def _held(self) -> _Trade:
        assert self.trade is not None, "a position that is not zero has a trade"
        return self.trade


class _FifoBook:
    """Open lots, oldest first; an exit closes them piece by piece and each piece is a trade of its own."""

    def __init__(self, symbol: int) -> None:
        self.symbol = symbol
        self.closed: list[_Trade] = []
        self.lots: deque[_Trade] = deque()

    def enter(self, index: int, direction: int, quantity: int, value: int, fee: int, slippage: int) -> None:
        self.lots.append(
            _Trade(
                self.symbol,
                direction,
                index,
                held=quantity,
                held_most=quantity,
                entered=quantity,
                entry_value=value,
                cost=value,
                fees=fee,
                slippage=slippage,
            )
        )

    def leave(self, index: int, quantity: int, value: int, fee: int, slippage: int) -> None:
        while quantity:
            lot = self.lots[0]
            piece = self.lots.popleft() if lot.held <= quantity else _cut(lot, quantity)
            taken = piece.held
            part_value, part_fee = _share(value, taken, quantity), _share(fee, taken, quantity)
            part_slippage = _share(slippage, taken, quantity)
            piece.held = piece.cost = 0
            piece.exited = taken
            piece.exit_value = part_value
            piece.realised = piece.direction * (part_value - piece.entry_value)
            piece.fees += part_fee
            piece.slippage += part_slippage
            piece.exit_index = index
            self.closed.append(piece)
            value, fee, slippage = value - part_value, fee - part_fee, slippage - part_slippage
            quantity -= taken

    def pay(self, amount: int) -> None:
        held = sum(lot.held for lot in self.lots)
        for lot in self.lots:
            part = _share(amount, lot.held, held)
            lot.funding += part
            amount -= part
            held -= lot.held

    def open_trades(self) -> list[_Trade]:
        return list(self.lots)


def _cut(lot: _Trade, quantity: int) -> _Trade:
    """Take ``quantity`` out of a lot, with its share of value, fees, slippage and funding, as a lot of its
    own.
    """
    piece = _Trade(lot.symbol, lot.direction, lot.entry_index)
    piece.held = piece.held_most = piece.entered = quantity
    piece.entry_value = piece.cost = _share(lot.entry_value, quantity, lot.held)
    piece.fees = _share(lot.fees, quantity, lot.held)
    piece.slippage = _share(lot.slippage, quantity, lot.held)
    piece.funding = _share(lot.funding, quantity, lot.held)
    lot.held -= quantity
    lot.held_most = lot.entered = lot.held
    lot.entry_value -= piece.entry_value
    lot.cost -= piece.cost
    lot.fees -= piece.fees
    lot.slippage -= piece.slippage
    lot.funding -= piece.funding
    return piece


def _mark(lots: list[_Trade], close: float, value_per_unit: float) -> None:
    """Add what the whole position is worth at ``close`` to the lots it consists of, rounded once as the
    ledger does.
    """
    held = sum(lot.held for lot in lots)
    value = quote_value(close, held, value_per_unit)
    for lot in lots:
        part = _share(value, lot.held, held)
        lot.exit_value += part
        lot.exited += lot.held
        value -= part
        held -= lot.held


def _share(amount: int, part: int, whole: int) -> int:
    """Return the part of an amount, rounded down; the caller keeps the rest, so that nothing is lost."""
    return amount * part // whole


def _value_per_unit(fills: FillTable, symbol: int) -> float:
    """Return what ``Instrument.value_per_unit`` returns: the quotient of the decimals, not of two rounded
    floats.
    """
    return float(Decimal(repr(fills.quantity_unit[symbol])) / Decimal(repr(fills.quote_unit)))


def _table(
    closed: list[_Trade], still_open: list[_Trade], fills: FillTable, last_time_ms: int, last_bar: int
) -> TradeTable:
    trades = closed + still_open
    settled = len(closed)
    times, bars = fills.time_ms.tolist(), fills.bar.tolist()
    vpus = [_value_per_unit(fills, symbol) for symbol in range(len(fills.symbols))]
    pnl = [trade.direction * (trade.exit_value - trade.entry_value) - trade.fees - trade.funding for trade in trades]
    entry_bar = [bars[trade.entry_index] for trade in trades]
    exit_bar = [bars[trade.exit_index] for trade in closed] + [last_bar] * len(still_open)

    def integers(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    def floats(values: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(values, dtype=np.float64)

    return TradeTable(
        symbol_index=integers([trade.symbol for trade in trades]),
        direction=np.array([trade.direction for trade in trades], dtype=np.int8),
        entry_time_ms=integers([times[trade.entry_index] for trade in trades]),
        exit_time_ms=integers([times[trade.exit_index] for trade in closed] + [last_time_ms] * len(still_open)),
        entry_bar=integers(entry_bar),
        exit_bar=integers(exit_bar),
        quantity_units=integers([trade.held_most for trade in trades]),
        entry_price=floats([trade.entry_value / trade.entered / vpus[trade.symbol] for trade in trades]),
        exit_price=floats([trade.exit_value / trade.exited / vpus[trade.symbol] for trade in trades]),
        entry_value_units=integers([trade.entry_value for trade in trades]),
        pnl_units=integers(pnl),
        realised_units=integers([trade.realised for trade in trades]),
        fees_units=integers([trade.fees for trade in trades]),
        funding_units=integers([trade.funding for trade in trades]),
        slippage_units=integers([trade.slippage for trade in trades]),
        # A value that rounds to zero units has no meaningful return.
        return_fraction=floats(
            [
                profit / trade.entry_value if trade.entry_value else 0.0
                for profit, trade in zip(pnl, trades, strict=True)
            ]
        ),
        bars_held=integers(
            [
                left - entered + (0 if row < settled else 1)
                for row, (entered, left) in enumerate(zip(entry_bar, exit_bar, strict=True))
            ]
        ),
        entry_reason=[fills.reason[trade.entry_index] for trade in trades],
        exit_reason=[fills.reason[trade.exit_index] for trade in closed] + [""] * len(still_open),
        is_open=np.arange(len(trades)) >= settled,
        symbols=fills.symbols,
        quantity_unit=fills.quantity_unit,
        quote_unit=fills.quote_unit,
    )
