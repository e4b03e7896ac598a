"""Account sync: balances, positions and open orders of the exchange held against the book. Reads only.

    untracked    an open order that is not of this account and does not only reduce      no new risk at all
    orphan       an open order under an id of this account that the book does not know   no new risk at all
    duplicate    two open orders under one id                                            no new risk in the symbol
    divergence   less is there than the book says                                        no new risk in the symbol
                 the same of money                                                       no new risk at all
    negative     a balance below zero                                                    no new risk at all
    regression   the exchange's clock has gone back                                      no new risk at all
    unattributed more is there than the book says: not ours, never sold                  nothing, it is reported

A difference while an order is in motion is none. An order that rests, all its fills booked, is not in motion: a stop
may rest for weeks, and a position that was liquidated or coins that were withdrawn meanwhile must show.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from trading_runtime.core.instruments import Instrument, decimal_text
from trading_runtime.core.orders import order_owner, parse_client_order_id
from trading_runtime.cycle.account import Account, OrderRecord
from trading_runtime.exchanges.port import Balance, Exchange, OrderReport

# Rounding of fees, one unit a fill, may leave the book a little below the exchange, never above; funding may do either.
MONEY_TOLERANCE_UNITS = 10_000
REGRESSION_MS = 60_000


class Finding(NamedTuple):
    """What differs. ``blocks`` is ``all``, ``symbol`` or empty; ``override`` names what an operator may grant."""

    kind: str
    symbol: str | None
    detail: str
    blocks: str
    override: str = "account_mismatch"

    def to_json(self) -> dict[str, Any]:
        return self._asdict()


def find_mismatches(
    account: Account,
    exchange: Exchange,
    instruments: Mapping[str, Instrument],
    owner: tuple[str, str],
    savings: Decimal = Decimal(0),
    trouble: str = "",
    suspended: Collection[str] = (),
) -> tuple[list[Finding], dict[str, Balance]]:
    """Return what differs between book and exchange, and the balances; ``savings`` is money of the account that is not
    among them, ``trouble`` says why they could not be asked about. Of ``suspended`` symbols, which are not traded, only
    coins are compared. Raises ExchangeUnavailable.
    """
    symbols = [symbol for symbol in instruments if symbol not in suspended]
    now_ms = exchange.server_time_ms()
    orders = exchange.open_orders(symbols)
    balances = dict(exchange.balances())
    contracts = [symbol for symbol in symbols if instruments[symbol].kind == "perpetual"]
    positions = exchange.positions(contracts) if contracts else {}
    frozen = [symbol for symbol in suspended if instruments[symbol].kind == "perpetual"]
    found = _orders(account, orders, list(instruments), owner)
    found += _holdings(account, balances, positions, instruments, savings, trouble, frozen)
    if now_ms < account.exchange_ms - REGRESSION_MS:
        behind = (account.exchange_ms - now_ms) // 1000
        found.append(Finding("regression", None, f"the exchange's clock is {behind} s behind an earlier answer", "all"))
    account.exchange_ms = max(account.exchange_ms, now_ms)
    return found, balances


def _orders(account: Account, orders: list[OrderReport], symbols: list[str], owner: tuple[str, str]) -> list[Finding]:
    owners = {order_owner(owner[0], owner[1], symbol) for symbol in symbols}
    found: list[Finding] = []
    seen: set[str] = set()
    for order in orders:
        order_id = order.client_order_id
        name = f"{order.kind} {'buy' if order.side > 0 else 'sell'} {decimal_text(order.quantity)} {order.symbol}"
        if order_id and order_id in seen:
            found.append(Finding("duplicate", order.symbol, f"two open orders have the id {order_id}", "symbol"))
        seen.add(order_id)
        if order_id in account.records:
            continue
        parts = parse_client_order_id(order_id)
        if parts is not None and parts.owner in owners:
            found.append(
                Finding("orphan", order.symbol, f"{name} ({order_id}) is open, the book does not know it", "all")
            )
        else:
            which = f"{name} ({order_id or order.exchange_order_id})"
            blocks = "" if order.reduce_only else "all"
            found.append(
                Finding("untracked", order.symbol, f"{which} is not of this account", blocks, "untracked_orders")
            )
    return found


def _rests(record: OrderRecord) -> bool:
    """Whether nothing of an order is under way: it waits for its price, and the book has what it filled."""
    return record.phase == "open" and record.order.kind != "market" and record.is_booked and record.cancel is None


def _holdings(
    account: Account,
    balances: Mapping[str, Balance],
    positions: Mapping[str, Decimal],
    instruments: Mapping[str, Instrument],
    savings: Decimal,
    trouble: str,
    frozen: Collection[str],
) -> list[Finding]:
    found: list[Finding] = []
    moving = {record.order.symbol for record in account.in_phase("claimed", "open") if not _rests(record)}
    moving |= set(account.quarantine)
    for asset, balance in sorted(balances.items()):
        if balance.total < 0 or balance.free < 0:
            found.append(Finding("negative", None, f"the balance of {asset} is {decimal_text(balance.total)}", "all"))
    for symbol, instrument in instruments.items():
        unit, book = instrument.quantity_unit, account.state.quantity(symbol)
        text = decimal_text(book * unit)
        if symbol in moving or symbol in frozen:
            continue
        if instrument.kind == "perpetual":
            there = positions.get(symbol, Decimal(0))
            if there != book * unit:
                detail = f"the exchange holds {decimal_text(there)} {symbol}, the book {text}"
                found.append(Finding("divergence", symbol, detail, "symbol"))
            continue
        total = balances[instrument.base].total if instrument.base in balances else Decimal(0)
        if total < book * unit:
            detail = f"the exchange holds {decimal_text(total)} {instrument.base}, the book {text}"
            found.append(Finding("divergence", symbol, detail, "symbol"))
        elif total > book * unit:
            other = decimal_text(total - book * unit)
            detail = f"{other} {instrument.base} were not bought by this strategy: they are never sold"
            found.append(Finding("unattributed", symbol, detail, ""))
    instrument = next(iter(instruments.values()))
    if not moving and not account.earn:
        money = account.state.cash + sum(
            position.cost
            for symbol, position in account.state.positions.items()
            if symbol in instruments and instruments[symbol].kind == "perpetual"
        )
        quote = instrument.quote
        total = (balances[quote].total if quote in balances else Decimal(0)) + savings
        if total < (money - MONEY_TOLERANCE_UNITS) * instrument.quote_unit:
            detail = f"the exchange holds {decimal_text(total)} {quote}, the book {instrument.money_text(money)}"
            if trouble:
                detail = f"{detail}; savings could not be asked about: {trouble}"
            found.append(Finding("divergence", None, detail, "all"))
    return found
