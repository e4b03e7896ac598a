"""Money that came in or went out and is no trading result: deposits, withdrawals and interest, each booked once.

Only for accounts whose money is all the strategy's. What the exchange does not tell as one of these is never booked:
account sync reports it. Flows that were there when the account was opened are known and never booked; so are the ids of
those that are, and both are in the one document with the events, so a crash books none twice and loses none.

Interest is told once a day and is in the savings before: what an account was opened with contains some of what is told
later. So of interest no more is booked than is there beyond the book, and only while no order is in motion. A
withdrawal that is no longer told was refused or sent back: it is booked as returned once its money is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal
from decimal import Context as DecimalContext
from typing import NamedTuple

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable
from trading_runtime.core.instruments import Instrument, decimal_text
from trading_runtime.core.state import CashMoved
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.savings import stop_treasury
from trading_runtime.cycle.treasury import savings_of
from trading_runtime.exchanges.port import CashFlow, Exchange, Savings

# A deposit bears the time it was seen on its chain and is told when it is credited, hours later; days to be safe.
OVERLAP_MS = 7 * 24 * 3_600_000
# Beyond that many in the overlap, the oldest are no longer asked for.
SEEN_MAX = 2_000
_ATTEMPTS_MAX = 3
_CONTEXT = DecimalContext(prec=60)


class Opening(NamedTuple):
    """What an account begins with whose money is all the strategy's: on spot and in savings, and the flows that are in
    it already.
    """

    money: Decimal
    since_ms: int | None
    seen: dict[str, list[int]]


def opening_money(exchange: Exchange, asset: str) -> Opening:
    """Return all the money of an account as it is now. Raises ExchangeUnavailable, also while money keeps moving."""
    savings = exchange.savings
    if savings is None:
        return Opening(_on_spot(exchange, asset), None, {})
    for _ in range(_ATTEMPTS_MAX):
        since_ms = exchange.server_time_ms() - OVERLAP_MS
        before = savings.cash_flows(asset, since_ms)
        money = _CONTEXT.add(_on_spot(exchange, asset), savings.earn_position(asset))
        after = savings.cash_flows(asset, since_ms)
        if _keys(before) == _keys(after):
            return Opening(money, since_ms, _keys(after))
    raise ExchangeUnavailable(f"{asset} keep coming in or going out: the account cannot be opened in that moment")


def remember_opening(account: Account, opening: Opening) -> None:
    """What was there when the account was opened is no flow."""
    account.flows_since_ms, account.flows_seen = opening.since_ms, dict(opening.seen)


def book_flows(context: Context) -> None:
    """Book what came in or went out since the last time. Without an answer nothing is booked, with a note."""
    found = savings_of(context)
    if found is None:
        return
    savings, asset = found
    account = context.account
    try:
        now_ms = context.exchange.server_time_ms()
        is_first = account.flows_since_ms is None
        since_ms = now_ms - OVERLAP_MS if account.flows_since_ms is None else account.flows_since_ms
        told = [one for one in savings.cash_flows(asset, since_ms) if one.time_ms >= since_ms]
        if is_first:
            remember_opening(account, Opening(Decimal(0), since_ms, _keys(told)))
            context.note("flows_from_now", asset=asset)
        else:
            _book(context, savings, asset, told)
    except (ExchangeUnavailable, ConfigurationError) as error:
        stop_treasury(context, str(error))
        return
    _forget(account, now_ms)
    if account.unjournaled:
        context.keeper.save()


def _book(context: Context, savings: Savings, asset: str, told: list[CashFlow]) -> None:
    account = context.account
    instrument = next(one for one in context.instruments.values() if one.quote == asset)
    new = [one for one in told if _key(one) not in account.flows_seen and one.asset == asset]
    new.sort(key=lambda one: (one.time_ms, one.kind, one.flow_id))
    interest = [one for one in new if one.kind == "interest"]
    returned = sorted(_withdrawals(account) - set(_keys(told)))
    money = _money_there(context, savings, asset) if (interest or returned) and _is_still(account) else None
    for one in new:
        if one.kind != "interest":
            _book_one(account, one, _units(one.amount, instrument))
    if money is None:
        return  # interest can wait: it is asked for again
    there = _units(money, instrument)
    for key in returned:
        units = -account.flows_seen[key][1]
        if there - _book_money(account, context.instruments.values()) >= units:
            account.book(CashMoved(units, "withdrawal returned"), flow_id=key.partition(":")[2], asset=asset)
            del account.flows_seen[key]  # were it told again, it would be booked again
    for one in interest:
        amount = _units(one.amount, instrument)
        booked = min(amount, max(there - _book_money(account, context.instruments.values()), 0))
        _book_one(account, one, booked)
        if booked < amount:
            context.log.info("interest_was_there_before", flow_id=one.flow_id, units=amount - booked)


def _withdrawals(account: Account) -> set[str]:
    """Booked withdrawals that are still among what is asked for."""
    return {
        key
        for key, (time_ms, units) in account.flows_seen.items()
        if units < 0 and key.startswith("withdrawal:") and time_ms >= (account.flows_since_ms or 0)
    }


def _book_one(account: Account, flow: CashFlow, units: int) -> None:
    account.flows_seen[_key(flow)] = [flow.time_ms, units]
    facts = {"flow_id": flow.flow_id, "asset": flow.asset, "told": decimal_text(flow.amount), "time_ms": flow.time_ms}
    if units:
        account.book(CashMoved(units, flow.kind), **facts)
    else:
        account.note({"event": "flow_not_booked", "kind": flow.kind, **facts})


def _forget(account: Account, now_ms: int) -> None:
    """Keep the ids of what may be told again: what is older is not asked for any more."""
    assert account.flows_since_ms is not None
    since_ms = max(account.flows_since_ms, now_ms - OVERLAP_MS)
    times = sorted(time_ms for time_ms, _ in account.flows_seen.values())
    if len(times) > SEEN_MAX:
        since_ms = max(since_ms, times[-SEEN_MAX - 1] + 1)
    account.flows_since_ms = since_ms
    account.flows_seen = {key: seen for key, seen in account.flows_seen.items() if seen[0] >= since_ms}


def _is_still(account: Account) -> bool:
    """Whether no order and no movement of savings is under way: then book and exchange can be compared."""
    moving = [
        record
        for record in account.in_phase("claimed", "open")
        if record.phase == "claimed" or record.order.kind == "market" or not record.is_booked or record.cancel
    ]
    return not (moving or account.quarantine or account.earn)


def _money_there(context: Context, savings: Savings, asset: str) -> Decimal:
    return _CONTEXT.add(_on_spot(context.exchange, asset), savings.earn_position(asset))


def _book_money(account: Account, instruments: Iterable[Instrument]) -> int:
    """Quote units that the book says there are, what perpetuals cost included: opening one moves no money."""
    contracts = {one.symbol for one in instruments if one.kind == "perpetual"}
    costs = (position.cost for symbol, position in account.state.positions.items() if symbol in contracts)
    return account.state.cash + sum(costs)


def _on_spot(exchange: Exchange, asset: str) -> Decimal:
    balances = exchange.balances()
    return balances[asset].total if asset in balances else Decimal(0)


def _units(amount: Decimal, instrument: Instrument) -> int:
    """Whole quote units, rounded so that the book never has more than there is."""
    return int(_CONTEXT.divide(amount, instrument.quote_unit).to_integral_value(ROUND_FLOOR))


def _keys(flows: Iterable[CashFlow]) -> dict[str, list[int]]:
    """Flows that are known and not booked."""
    return {_key(one): [one.time_ms, 0] for one in flows}


def _key(flow: CashFlow) -> str:
    return f"{flow.kind}:{flow.flow_id}"
