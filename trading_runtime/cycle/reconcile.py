"""Reconciliation: the book held against the exchange, in full and in words. Reads only, takes no lease, sends nothing.

    symbols, money   what the book says, what is there (money in savings, too, where they are the account's), the
                     difference
    orders           open ones on either side
    fills            what the exchange has executed since the last slot and the book does not have
    differences      each with its class, whether it is safe, and what to do

Which differences a cycle minds is ``sync.py``'s; here they are listed, and added to. It looks at a copy of the account,
at one moment: while a cycle is at work the two sides may differ by what it is doing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import Instrument, decimal_text
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.status import entries_backwards
from trading_runtime.cycle.sync import MONEY_TOLERANCE_UNITS, find_mismatches
from trading_runtime.cycle.treasury import money_in_savings
from trading_runtime.exchanges.port import Balance, Exchange, OrderReport, Trade
from trading_runtime.stores.journal import Journal

# A fill of the last slot was journaled a few entries ago; one that is not among so many is not in the book.
ENTRIES_MAX = 1_000

# What a person does about each class; "nothing" is said, too.
_TO_DO = {
    "untracked": "cancel it at the exchange, or let it pass for a time: control override untracked_orders",
    "untracked reduction": "nothing: it can only reduce; cancel it at the exchange if it is not wanted",
    "orphan": "cancel it at the exchange; was the store restored from a backup, or is the account name used twice?",
    "duplicate": "halt the account, cancel one of the two at the exchange, then look for a second installation",
    "divergence": "find out where the rest went (a transfer, a trade by hand) and move it back, or begin a new account",
    "negative": "look at the account at the exchange: margin, loans, fees that could not be paid",
    "regression": "wait until the exchange's clock is right; look at its status page if it stays",
    "unattributed": "nothing: the runtime never sells what it has not bought",
    "surplus": "nothing: money beyond the book is never used",
    "rounding": "nothing: fees are rounded in the book by at most one unit a fill",
    "unknown fate": "nothing: the next cycle asks the exchange, and only then sends it again or drops it",
    "movement": "nothing: the next cycle asks the history of the savings how it ended",
    "not open": "nothing: the next cycle asks what became of it and books its fills",
    "not booked": "nothing: the next cycle books it; run one if none is due soon",
    "foreign fill": "trade by hand on another account: the book does not know this fill and never will",
}
_IN_MOTION = frozenset({"unknown fate", "not open", "not booked"})
_SAFE = frozenset({"untracked reduction", "unattributed", "surplus", "rounding"})


@dataclass
class Reconciliation:
    """Book and exchange side by side; all amounts are exact decimal texts, times ISO texts."""

    account: str
    strategy: str
    exchange: str
    time: str
    slot: str | None
    symbols: list[dict[str, Any]] = field(default_factory=list)
    money: dict[str, Any] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    fills: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether there is no difference but safe ones."""
        return all(one["safe"] for one in self.differences)

    def to_json(self) -> dict[str, Any]:
        return {"equal": self.is_equal, **vars(self)}

    def differ(self, kind: str, symbol: str | None, detail: str, *, order_id: str = "") -> None:
        """Add a difference of a class of ``_TO_DO``; of an unknown one, what to do is to look."""
        self.differences.append(
            {
                "class": kind,
                "symbol": symbol,
                "order_id": order_id,
                "detail": detail,
                "safe": kind in _SAFE,
                "to_do": _TO_DO.get(kind, "look at the account at the exchange"),
            }
        )


def reconcile(
    account: Account,
    exchange: Exchange,
    instruments: Mapping[str, Instrument],
    owner: tuple[str, str],
    journal: Journal,
    *,
    has_savings: bool = False,
    suspended: Collection[str] = (),
) -> Reconciliation:
    """Return how the book and the exchange compare. ``account`` must be a copy: what is learned is noted in it.
    ``has_savings`` says that the account's money may be in savings. Of ``suspended`` symbols, which are not traded and
    of which ``instruments`` tell the units alone, coins are compared and nothing else.

    Raises ExchangeUnavailable, StoreUnavailable, StoreDamaged, ConfigurationError.
    """
    check_units(account, instruments)
    now_ms = exchange.server_time_ms()
    slot = account.state.slot
    found = Reconciliation(
        owner[0], owner[1], exchange.name, iso_time(now_ms), None if slot is None else iso_time(slot)
    )
    quote = next(iter(instruments.values())).quote
    saved = money_in_savings(account, exchange, quote) if has_savings else Decimal(0)
    findings, balances = find_mismatches(account, exchange, instruments, owner, saved, suspended=suspended)
    traded = {symbol: one for symbol, one in instruments.items() if symbol not in suspended}
    contracts = [symbol for symbol, one in traded.items() if one.kind == "perpetual"]
    positions = exchange.positions(contracts) if contracts else {}
    opened = exchange.open_orders(list(traded))
    for one in findings:
        is_reduction = one.kind == "untracked" and not one.blocks
        found.differ("untracked reduction" if is_reduction else one.kind, one.symbol, one.detail)
    coins = {symbol: one for symbol, one in instruments.items() if symbol in traded or one.kind == "spot"}
    _compare_symbols(found, account, balances, positions, coins)
    _compare_money(found, account, balances, instruments, saved)
    _compare_movements(found, account)
    _compare_orders(found, account, opened, instruments)
    if slot is not None:
        trades = [trade for symbol in traded for trade in exchange.trades_since(symbol, slot)]
        _compare_fills(found, account, trades, journal)
    _compare_what_moves(found, instruments)
    return found


def check_units(account: Account, instruments: Mapping[str, Instrument]) -> None:
    """Raise ConfigurationError when the book counts in other units than the instruments: its numbers mean others."""
    for symbol, one in instruments.items():
        unit = f"{one.quantity_unit}, {one.quote_unit}"
        if account.units.get(symbol, unit) != unit:
            raise ConfigurationError(
                f"{symbol}: the book counts in units of {account.units[symbol]} (quantity, money), the exchange or the "
                f"settings say {unit}: no cycle trades on that; begin a new account"
            )


def _compare_symbols(
    found: Reconciliation,
    account: Account,
    balances: Mapping[str, Balance],
    positions: Mapping[str, Decimal],
    instruments: Mapping[str, Instrument],
) -> None:
    for symbol, instrument in instruments.items():
        book = account.state.quantity(symbol) * instrument.quantity_unit
        if instrument.kind == "perpetual":
            there = positions.get(symbol, Decimal(0))
        else:
            there = balances[instrument.base].total if instrument.base in balances else Decimal(0)
        found.symbols.append({"symbol": symbol, **_sides(book, there)})


def _compare_money(
    found: Reconciliation,
    account: Account,
    balances: Mapping[str, Balance],
    instruments: Mapping[str, Instrument],
    saved: Decimal,
) -> None:
    """Money of the book: cash, and what perpetuals were built for, which a wallet does not pay. ``saved`` is what is
    there in savings.
    """
    first = next(iter(instruments.values()))
    units = account.state.cash + sum(
        position.cost
        for symbol, position in account.state.positions.items()
        if symbol in instruments and instruments[symbol].kind == "perpetual"
    )
    book = units * first.quote_unit
    there = (balances[first.quote].total if first.quote in balances else Decimal(0)) + saved
    found.money = {"currency": first.quote, **_sides(book, there), "savings": decimal_text(saved)}
    is_told = any(one["class"] == "divergence" and one["symbol"] is None for one in found.differences)
    if is_told or there == book:
        return
    detail = f"the exchange holds {decimal_text(there)} {first.quote}, the book {decimal_text(book)}"
    if there > book + MONEY_TOLERANCE_UNITS * first.quote_unit:
        found.differ("surplus", None, detail)
    elif there >= book - MONEY_TOLERANCE_UNITS * first.quote_unit:
        found.differ("rounding", None, detail)


def _compare_movements(found: Reconciliation, account: Account) -> None:
    """Money on its way into savings or out of them is on neither side for a while."""
    for record in account.earn.values():
        if record.phase != "planned":
            found.differ("movement", None, f"{record.name} was sent, how it ended is not known yet")


def _compare_what_moves(found: Reconciliation, instruments: Mapping[str, Instrument]) -> None:
    """A cycle leaves out symbols with an order at the exchange. Here their fills are known: unless one of them explains
    it, what is missing is missing.
    """
    moving = {one["symbol"] for one in found.differences if one["class"] in _IN_MOTION}
    told = {one["symbol"] for one in found.differences if one["class"] == "divergence"}
    for one in found.symbols:
        symbol, difference = one["symbol"], Decimal(one["difference"])
        is_less = difference < 0 if instruments[symbol].kind == "spot" else difference != 0
        if is_less and symbol not in moving | told:
            found.differ(
                "divergence", symbol, f"the exchange holds {one['exchange']} of {symbol}, the book {one['book']}"
            )
    money, unit = found.money, next(iter(instruments.values())).quote_unit
    moving |= {None for one in found.differences if one["class"] == "movement"}
    if Decimal(money["difference"]) < -MONEY_TOLERANCE_UNITS * unit and not moving and None not in told:
        text = f"the exchange holds {money['exchange']} {money['currency']}, the book {money['book']}"
        found.differ("divergence", None, text)


def _sides(book: Decimal, there: Decimal) -> dict[str, str]:
    return {"book": decimal_text(book), "exchange": decimal_text(there), "difference": decimal_text(there - book)}


def _compare_orders(
    found: Reconciliation, account: Account, opened: list[OrderReport], instruments: Mapping[str, Instrument]
) -> None:
    """One line for each order that either side knows. What the book only plans is not expected at the exchange."""
    there = {order.client_order_id or order.exchange_order_id: order for order in opened}
    for order_id, record in account.records.items():
        order, symbol = record.order, record.order.symbol
        quantity = instruments[symbol].quantity_text(order.quantity) if symbol in instruments else str(order.quantity)
        text = f"{order.kind} {'buy' if order.side > 0 else 'sell'} {quantity}"
        is_there = order_id in there
        found.orders.append(
            {
                "order_id": order_id,
                "symbol": symbol,
                "order": text,
                "book": record.phase,
                "exchange": _order_text(there[order_id]) if is_there else None,
            }
        )
        if record.phase == "claimed":
            found.differ("unknown fate", symbol, f"{text} {symbol} was sent, no answer is known", order_id=order_id)
        elif record.phase == "open" and not is_there:
            found.differ("not open", symbol, f"{text} {symbol} is open in the book, not there", order_id=order_id)
    for order_id, report in there.items():
        if order_id not in account.records:
            side = "buy" if report.side > 0 else "sell"
            found.orders.append(
                {
                    "order_id": order_id,
                    "symbol": report.symbol,
                    "order": f"{report.kind} {side} {decimal_text(report.quantity)}",
                    "book": None,
                    "exchange": _order_text(report),
                }
            )


def _order_text(report: OrderReport) -> str:
    return f"{report.status}, {decimal_text(report.filled)} filled"


def _compare_fills(
    found: Reconciliation,
    account: Account,
    trades: list[Trade],
    journal: Journal,
) -> None:
    """List the trades that are neither in the journal nor on their way to it: what is booked is in one of them."""
    missing = {(trade.symbol, trade.trade_id): trade for trade in trades}
    _forget(missing, account.unjournaled)
    if missing:
        for count, entry in enumerate(entries_backwards(journal, account.session)):
            if entry.kind == "events":
                _forget(missing, entry.content["events"])
            if not missing or count >= ENTRIES_MAX:
                break
    ours = {record.exchange_order_id: order_id for order_id, record in account.records.items()}
    for trade in missing.values():
        order_id = ours.get(trade.exchange_order_id) or (
            trade.client_order_id if trade.client_order_id in account.records else ""
        )
        side = "bought" if trade.side > 0 else "sold"
        text = f"{side} {decimal_text(trade.quantity)} {trade.symbol} at {trade.price!r} on {iso_time(trade.time_ms)}"
        found.fills.append(
            {
                "trade_id": trade.trade_id,
                "symbol": trade.symbol,
                "order_id": order_id or trade.client_order_id or trade.exchange_order_id,
                "side": "buy" if trade.side > 0 else "sell",
                "quantity": decimal_text(trade.quantity),
                "price": trade.price,
                "value": decimal_text(trade.value),
                "fees": [[fee.asset, decimal_text(fee.amount)] for fee in trade.fees],
                "time": iso_time(trade.time_ms),
                "ours": bool(order_id),
            }
        )
        claimed = any(
            record.phase == "claimed" and record.order.symbol == trade.symbol for record in account.records.values()
        )
        kind = "not booked" if order_id or claimed else "foreign fill"
        found.differ(kind, trade.symbol, f"trade {trade.trade_id}: {text}", order_id=order_id)


def _forget(missing: dict[tuple[str, str], Trade], events: list[dict[str, Any]]) -> None:
    for event in events:
        if event["event"] == "order_filled" and "trade_id" in event:
            missing.pop((event["symbol"], event["trade_id"]), None)
