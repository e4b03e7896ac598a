"""The account at the simulated exchange: what its one document holds, and how orders and bars change it.

    account after = account.advanced(window)    match, then funding, bar by bar: as a backtest does
                    account.placed(order)       active from the bar that follows the last matched one
                    account.cancelled(order)    at the close of the last matched bar

An account is never changed: each step returns a new one, so that a store that refuses it (another process was faster)
costs nothing. No store and no feed is asked here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from trading_runtime.backtest.matching import Matching, Working, order_from_json
from trading_runtime.backtest.trace import Ended, Entry, Fill
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.ledger import Position
from trading_runtime.core.money import funding_amount, quote_value
from trading_runtime.core.orders import parse_client_order_id
from trading_runtime.core.state import FundingPaid, Order, State, apply
from trading_runtime.exchanges.port import Status
from trading_runtime.exchanges.simulated_market import MarketWindow

# Whoever asks for an order does so within a few slots; the document must stay far below what a store takes.
ENDED_ORDERS_KEPT = 500
PAYMENTS_KEPT = 500
MISSING_BARS_KEPT = 100


class BookedFill(NamedTuple):
    """One fill of an order: amounts are units, ``time_ms`` is the close of the bar it happened in."""

    sequence: int
    time_ms: int
    quantity: int
    price: float
    value: int
    fee: int
    is_maker: bool


class Record(NamedTuple):
    """An order, open or ended, as the exchange remembers it; ``successor`` is the market order that took its place."""

    order: Order
    placed_ms: int
    status: Status = "open"
    reason: str = ""
    successor: Order | None = None
    fills: tuple[BookedFill, ...] = ()

    @property
    def filled(self) -> int:
        """Units filled so far."""
        return sum(fill.quantity for fill in self.fills)

    def to_json(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "order": self.order.to_json(),
            "successor": None if self.successor is None else self.successor.to_json(),
        }


def record_from_json(content: Mapping[str, Any]) -> Record:
    """Return the record that ``Record.to_json`` wrote."""
    successor = content["successor"]
    return Record(
        order_from_json(content["order"]),
        content["placed_ms"],
        content["status"],
        content["reason"],
        None if successor is None else order_from_json(successor),
        tuple(BookedFill(*fill) for fill in content["fills"]),
    )


class Payment(NamedTuple):
    """A funding payment: ``amount`` in quote units, positive when the account paid."""

    symbol: str
    time_ms: int
    amount: int


class Due(NamedTuple):
    """A funding rate that falls due: ``bar`` of the window, index of the symbol, its own time."""

    bar: int
    symbol_index: int
    rate: float
    time_ms: int


@dataclass(frozen=True)
class SimulatedAccount:
    """The account after the bar that closed at ``matched_ms``.

    state       cash and positions; open orders are in ``working``, which is what ``Matching`` writes and restores
    units       the quantity unit of each symbol it ever had an order in: amounts mean nothing without
    marks       the newest known close of the perpetuals that funding is paid on
    open        records of open orders; ``ended`` those of the others by id, oldest first, as the texts they are kept as
    """

    name: str
    strategy: str
    timeframe: str
    quote_unit: str
    matched_ms: int
    state: State
    sequence: int = 0
    working: Sequence[Mapping[str, Any]] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)
    open: Mapping[str, Record] = field(default_factory=dict)
    ended: Mapping[str, str] = field(default_factory=dict)
    payments: tuple[Payment, ...] = ()
    missing: tuple[tuple[str, int], ...] = ()

    def record(self, order_id: str) -> Record | None:
        """Return what is remembered of an order, None when it was never placed, or ended long ago."""
        found = self.open.get(order_id)
        if found is None and order_id in self.ended:
            found = record_from_json(json.loads(self.ended[order_id]))
        return found

    def lineage(self, order_id: str) -> list[Record]:
        """Return the records of an order and of what took its place: for their children they are one order."""
        found = []
        record = self.record(order_id)
        while record is not None:
            found.append(record)
            record = None if record.successor is None else self.record(record.successor.order_id)
        return found

    def records(self, symbol: str) -> list[Record]:
        """Return what is remembered of the orders of a symbol, ended ones first."""
        quoted = json.dumps(symbol, ensure_ascii=False)
        ended = [record_from_json(json.loads(text)) for text in self.ended.values() if quoted in text]
        return [record for record in (*ended, *self.open.values()) if record.order.symbol == symbol]

    def advanced(self, window: MarketWindow, funding: Sequence[Due]) -> SimulatedAccount:
        """Return the account after the window's new bars: each matched, then ``funding`` (ascending) paid."""
        entries: list[Entry] = []
        matching = self.matching(window, entries)
        payments = list(self.payments)
        dues = iter(funding)
        due = next(dues, None)
        for bar in range(1, window.count):
            if matching.working:
                matching.match(bar)
            while due is not None and due.bar <= bar:
                payment = self._payment(due, window, matching)
                if payment is not None:
                    payments.append(payment)
                due = next(dues, None)
        marks = dict(self.marks)
        for index, symbol in enumerate(window.symbols):
            close = window.last_close(index, window.count - 1)
            if close is not None:
                marks[symbol] = close
        after = self._booked(matching, entries, window)
        return replace(
            after,
            matched_ms=window.close_time(window.count - 1),
            payments=tuple(payments[-PAYMENTS_KEPT:]),
            marks={symbol: mark for symbol, mark in marks.items() if after.state.quantity(symbol)},
            missing=(*self.missing, *window.missing)[-MISSING_BARS_KEPT:],
        )

    def placed(self, order: Order, parents: Sequence[Record], window: MarketWindow) -> SimulatedAccount:
        """Return the account with ``order`` open. ``parents`` is empty or what ``lineage`` says of its parent."""
        entries: list[Entry] = []
        matching = self.matching(window, entries)
        if parents:
            newest = parents[-1].order.order_id
            working = next((one for one in matching.working if one.order.order_id == newest), None)
            matching.place_for(working or _ended_parent(parents), order, 0)
        else:
            matching.place((order,), 0)
        opened = {**self.open, order.order_id: Record(order, self.matched_ms)}
        units = {**self.units, order.symbol: str(window.instruments[order.symbol].quantity_unit)}
        return replace(self, open=opened, units=units)._booked(matching, entries, window)

    def cancelled(self, order_id: str, reason: str, window: MarketWindow) -> SimulatedAccount:
        """Return the account without the open order, and without those that waited for it in vain."""
        entries: list[Entry] = []
        matching = self.matching(window, entries)
        matching.cancel(order_id, reason, 0)
        return self._booked(matching, entries, window)

    def matching(self, window: MarketWindow, entries: list[Entry]) -> Matching:
        """Return the backtest's own matching with the open orders of this account."""
        matching = Matching(window, self.state, entries, self.name, self.strategy)
        matching.restore(self.working, (*self.ended, *self.open))
        return matching

    def _payment(self, due: Due, window: MarketWindow, matching: Matching) -> Payment | None:
        symbol = window.symbols[due.symbol_index]
        quantity = matching.state.quantity(symbol)
        if not quantity:
            return None
        mark = window.last_close(due.symbol_index, due.bar)
        value = quote_value(
            self.marks[symbol] if mark is None else mark, quantity, window.instruments[symbol].value_per_unit
        )
        amount = funding_amount(value, due.rate)
        matching.state = apply(matching.state, FundingPaid(symbol, amount))
        return Payment(symbol, due.time_ms, amount)

    def _booked(self, matching: Matching, entries: Sequence[Entry], window: MarketWindow) -> SimulatedAccount:
        """Return the account with what happened written into the records of its orders."""
        opened = dict(self.open)
        sequence = self.sequence
        for entry in entries:
            if isinstance(entry, Fill):
                sequence += 1
                record = opened[entry.order.order_id]
                time_ms = window.close_time(entry.bar)
                fill = BookedFill(
                    sequence, time_ms, entry.quantity, entry.price, entry.value, entry.fee, entry.is_maker
                )
                opened[entry.order.order_id] = record._replace(fills=(*record.fills, fill))
            elif isinstance(entry, Ended):
                successor = matching.successors.get(entry.order_id)
                status: Any = entry.status
                opened[entry.order_id] = opened[entry.order_id]._replace(
                    status=status, reason=entry.reason, successor=successor
                )
                if successor is not None:
                    opened[successor.order_id] = Record(successor, window.close_time(entry.bar))
        ended = dict(self.ended)
        for order_id in [order_id for order_id in opened if order_id not in matching.state.orders]:
            ended[order_id] = canonical_json(_as_ended(opened.pop(order_id)).to_json()).decode()
        state = matching.state
        return replace(
            self,
            state=State(state.cash, state.flows, state.positions),
            sequence=sequence,
            working=tuple(matching.to_json()),
            open=opened,
            ended=_newest(ended, opened, ENDED_ORDERS_KEPT),
        )

    def with_fewer_ended(self) -> SimulatedAccount:
        """Return the account with the newer half of its ended orders, of one with none."""
        ended = list(self.ended.items())
        return replace(self, ended=dict(ended[(len(ended) + 1) // 2 :]))

    def to_json(self) -> dict[str, Any]:
        """Return plain data that ``account_from_json`` turns back into an equal account."""
        return {
            "account": self.name,
            "strategy": self.strategy,
            "timeframe": self.timeframe,
            "quote_unit": self.quote_unit,
            "matched_ms": self.matched_ms,
            "cash": self.state.cash,
            "flows": self.state.flows,
            "positions": [position.to_json() for position in self.state.positions.values()],
            "sequence": self.sequence,
            "working": list(self.working),
            "units": dict(self.units),
            "marks": dict(self.marks),
            "open": [record.to_json() for record in self.open.values()],
            # One text of many lines: a document of 500 orders is written in three quarters of the time.
            "ended": "\n".join([f"{order_id} {text}" for order_id, text in self.ended.items()]),
            "payments": [list(payment) for payment in self.payments],
            "missing_bars": [list(one) for one in self.missing],
        }


def account_from_json(content: Mapping[str, Any]) -> SimulatedAccount:
    """Return the account; raises KeyError, TypeError or ValueError when it is not one."""
    positions = [Position(**position) for position in content["positions"]]
    records = [record_from_json(record) for record in content["open"]]
    return SimulatedAccount(
        name=content["account"],
        strategy=content["strategy"],
        timeframe=content["timeframe"],
        quote_unit=content["quote_unit"],
        matched_ms=content["matched_ms"],
        state=State(content["cash"], content["flows"], {position.symbol: position for position in positions}),
        sequence=content["sequence"],
        working=tuple(content["working"]),
        units=content["units"],
        marks=content["marks"],
        open={record.order.order_id: record for record in records},
        ended=dict(_ended_line(line) for line in content["ended"].split("\n") if line),
        payments=tuple(Payment(*payment) for payment in content["payments"]),
        missing=tuple((symbol, time_ms) for symbol, time_ms in content["missing_bars"]),
    )


def _ended_line(line: str) -> tuple[str, str]:
    order_id, _, text = line.partition(" ")
    return order_id, text


def _as_ended(record: Record) -> Record:
    """Return the record of an order that is open no more: filled, unless its end was told with a reason of its own."""
    if record.status != "open":
        return record
    return record._replace(
        status="filled", reason="" if record.filled == record.order.quantity else "parent_filled_less"
    )


def _ended_parent(records: Sequence[Record]) -> Working:
    """Return an order that has ended, with all it filled, as the parent of one that is placed only now."""
    parent = Working(records[-1].order, 0, 0)
    parent.placed_quantity = records[0].order.quantity
    parent.filled = sum(record.filled for record in records)
    parent.done = True
    return parent


def _newest(ended: Mapping[str, str], opened: Mapping[str, Record], count: int) -> Mapping[str, str]:
    """Return the newest ``count`` ended orders, and any of the slot of an open one: should that fall back to a market
    order, its new id is chosen beside theirs.
    """
    surplus = len(ended) - count
    if surplus <= 0:
        return ended
    slots = {record.order.slot for record in opened.values()}
    kept = {}
    for position, (order_id, text) in enumerate(ended.items()):
        if position >= surplus or _slot_of(order_id) in slots:
            kept[order_id] = text
    return kept


def _slot_of(order_id: str) -> int | None:
    parts = parse_client_order_id(order_id)
    return None if parts is None else parts.slot
