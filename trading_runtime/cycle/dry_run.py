"""The exchange of a dry run, as the account is right now: of the real one where it may be asked, else of the book.

A paper account is run dry on a copy of its simulated exchange. Nothing is sent and nothing is kept: whoever calls this
has put an overlay over the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from trading_runtime.config.cycle_build import AccountTerms
from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable
from trading_runtime.core.fills import Execution
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.state import State
from trading_runtime.cycle.account import Account, OrderRecord, account_from_json, instrument_in_units
from trading_runtime.cycle.flows import OVERLAP_MS
from trading_runtime.cycle.savings import HISTORY_TOLERANCE_MS
from trading_runtime.cycle.universe import in_use
from trading_runtime.exchanges.dry_run import DryRunExchange
from trading_runtime.exchanges.port import Balance, EarnOperation, Exchange, Feed, OrderReport, Trade
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.state_store import StateStore


def open_dry_run(
    feed: Feed,
    documents: Documents,
    terms: AccountTerms,
    strategy: str,
    instruments: Mapping[str, Instrument],
    execution: Execution,
    timeframe: str,
    real: Exchange | None = None,
    lookup: Callable[[str], Instrument] | None = None,
) -> Exchange:
    """Return the exchange to run dry on; ``real`` answers for the account where credentials allow it. ``lookup``
    returns the instrument of a symbol that is not among ``instruments``.
    """
    saved = StateStore(documents, terms.name, strategy).load()
    account = Account(State(terms.start_cash)) if saved is None else account_from_json(saved.content)
    if saved is not None and account.mode == "paper":
        from trading_runtime.exchanges.simulated import SimulatedExchange

        return SimulatedExchange(
            feed,
            documents,
            terms.name,
            strategy,
            instruments,
            execution,
            terms.start_cash,
            timeframe=timeframe,
            lookup=lookup,
        )
    counted = dict(instruments)
    if lookup is not None:
        # What is held or open of earlier publications counts, too.
        for symbol in sorted(in_use(account) - set(instruments)):
            try:
                instruments = {**instruments, symbol: lookup(symbol)}
                counted[symbol] = instruments[symbol]
            except ConfigurationError:
                # It is not traded, and what that means is the cycle's to say: it is there all the same.
                if symbol in account.units:
                    counted[symbol] = instrument_in_units(symbol, account.units[symbol])
    if real is not None:
        known = [record for record in account.records.values() if record.phase in ("claimed", "open")]
        reports = {report.client_order_id: report for report in real.open_orders(list(instruments))}
        for record in known:
            try:
                report = real.order(record.order)
            except (ConfigurationError, ExchangeUnavailable):
                if record.order.symbol in instruments or record.phase != "open":
                    raise
                report = _as_reported(record, counted)  # of a market that is gone an exchange may not even tell orders
            if report is not None:
                reports[report.client_order_id] = report
        trades: list[Trade] = []
        for record in known:
            if record.order.order_id in reports:
                trades += real.trades(reports[record.order.order_id])
        contracts = [symbol for symbol, one in instruments.items() if one.kind == "perpetual"]
        return DryRunExchange(
            feed,
            instruments,
            execution,
            timeframe=timeframe,
            balances=real.balances(),
            positions=real.positions(contracts) if contracts else {},
            orders=list(reports.values()),
            trades=trades,
            lookup=lookup,
            **_savings(account, real, next(iter(instruments.values())).quote),
        )
    return DryRunExchange(
        feed,
        instruments,
        execution,
        timeframe=timeframe,
        balances=_balances(account, counted),
        positions=_positions(account.state, counted),
        orders=[_as_reported(record, counted) for record in account.in_phase("open")],
        lookup=lookup,
    )


def _savings(account: Account, real: Exchange, asset: str) -> dict[str, Any]:
    """What the exchange's savings hold of the money, and what their history tells that the book may lack."""
    savings = real.savings
    product = None if savings is None else savings.earn_product(asset)
    if savings is None or product is None:
        return {}
    record = account.earn.get(asset)
    operations: list[EarnOperation] = []
    if record is not None and record.claim is not None:
        operations = savings.earn_operations(record.kind, asset, record.claim.stamp_ms - HISTORY_TOLERANCE_MS)
    since_ms = account.flows_since_ms
    return {
        "earn": {asset: savings.earn_position(asset)},
        "products": {asset: product},
        "operations": operations,
        "flows": savings.cash_flows(asset, real.server_time_ms() - OVERLAP_MS if since_ms is None else since_ms),
    }


def _balances(account: Account, instruments: Mapping[str, Instrument]) -> dict[str, Balance]:
    """Money and coins as the book has them, less what its open orders of spot lock."""
    state = account.state
    money = state.cash
    totals: dict[str, Decimal] = {}
    for symbol, position in state.positions.items():
        instrument = instruments.get(symbol)
        if instrument is None:
            continue
        if instrument.kind == "spot":
            totals[instrument.base] = position.quantity * instrument.quantity_unit
        else:
            money += position.cost
    first = next(iter(instruments.values()))
    totals[first.quote] = money * first.quote_unit
    free = dict(totals)
    for record in account.in_phase("open"):
        order, instrument = record.order, instruments.get(record.order.symbol)
        if instrument is None or instrument.kind != "spot":
            continue
        rest = (order.quantity - record.booked) * instrument.quantity_unit
        if order.side < 0:
            free[instrument.base] = free.get(instrument.base, Decimal(0)) - rest
        elif order.price is not None:
            free[first.quote] -= rest * Decimal(repr(order.price))
    return {asset: Balance(free[asset], total) for asset, total in totals.items()}


def _positions(state: State, instruments: Mapping[str, Instrument]) -> dict[str, Decimal]:
    return {
        symbol: position.quantity * instruments[symbol].quantity_unit
        for symbol, position in state.positions.items()
        if symbol in instruments and instruments[symbol].kind == "perpetual" and position.quantity
    }


def _as_reported(record: OrderRecord, instruments: Mapping[str, Instrument]) -> OrderReport:
    order, unit = record.order, instruments[record.order.symbol].quantity_unit
    return OrderReport(
        order.order_id,
        record.exchange_order_id,
        order.symbol,
        order.side,
        order.kind,
        order.quantity * unit,
        record.booked * unit,
        order.price,
        "open",
        order.reduce_only,
        order.slot,
    )
