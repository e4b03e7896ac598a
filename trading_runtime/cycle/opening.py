"""Before anything is decided: clocks that agree, an account that is the one meant, a session to write into."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from trading_runtime.core.errors import ConfigurationError, TemporaryError
from trading_runtime.core.hashing import json_hash
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.ledger import Position
from trading_runtime.core.money import quote_value
from trading_runtime.core.state import State
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.flows import opening_money, remember_opening
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.keeper import Keeper
from trading_runtime.cycle.universe import dust_of

# Two clocks that differ more than this cannot both be right, and nobody here can tell which is.
CLOCK_DIFFERENCE_MS_MAX = 60_000


def check_clocks(job: Job) -> None:
    """Raise TemporaryError when the exchange and this computer disagree about the time; only live trading cares."""
    before, there, here = job.clock.now_ms(), job.exchange.server_time_ms(), job.clock.now_ms()
    # The answer may have taken long: it was true at some moment between the two.
    if job.mode == "live" and max(before - there, there - here) > CLOCK_DIFFERENCE_MS_MAX:
        raise TemporaryError(
            f"the exchange's clock says {iso_time(there)}, this computer's {iso_time(here)}: set the wrong one"
        )


def open_account(job: Job, keeper: Keeper, instruments: Mapping[str, Instrument]) -> Account:
    """Write and return a new account; raises ConfigurationError where a lost store would pass for a new one."""
    if not job.may_open_account:
        raise ConfigurationError(
            f"account {job.account!r} with strategy {job.owner.strategy} is not known in this store: if it has "
            "never traded, open it with --open-account; if it has, the store is another one or was lost: restore it"
        )
    mode = "paper" if job.mode == "dry-run" else job.mode
    account = Account(State(job.start_cash), mode=mode, units=_units(instruments))
    if job.has_all_funds:
        _take_over(job, account, instruments)
    fund_from_now(job, account, instruments)
    keeper.open(account)
    return account


def _take_over(job: Job, account: Account, instruments: Mapping[str, Instrument]) -> None:
    """The account begins with all the money there is, and with the coins it adopts at what they cost right now."""
    first = next(iter(instruments.values()))
    opening = opening_money(job.exchange, job.quote)
    remember_opening(account, opening)
    balances = job.exchange.balances()
    positions = {}
    for symbol in job.adopt:
        instrument = instruments[symbol]
        there = balances[instrument.base].total if instrument.base in balances else Decimal(0)
        quantity = instrument.quantity_units(there)
        if quantity <= 0:
            continue
        price = job.exchange.quote_price(instrument.base, job.quote)
        if price is None or not 0.0 < price < float("inf"):
            raise TemporaryError(f"account.adopt: nobody tells the price of {symbol} right now")
        cost = quote_value(price, quantity, instrument.value_per_unit)
        positions[symbol] = Position(symbol, quantity, cost)
    account.state = State(first.money_units(opening.money), positions=positions)


def fund_from_now(job: Job, account: Account, instruments: Mapping[str, Instrument]) -> None:
    """Funding of a perpetual counts from when the account first trades it, which may be after it was opened."""
    exchange = job.exchange
    for symbol, one in instruments.items():
        if one.kind == "perpetual" and symbol not in account.funding_since:
            account.funding_since[symbol] = 0 if exchange.capabilities.keeps_brackets else exchange.server_time_ms()


def check_account(job: Job, account: Account, instruments: Mapping[str, Instrument]) -> None:
    """Raise ConfigurationError when the account is not one that these settings may go on with."""
    if job.mode != "dry-run" and account.mode != job.mode:
        raise ConfigurationError(
            f"account {job.account!r} in this store is a {account.mode} account: give the {job.mode} one another "
            "account.name or another store"
        )
    for symbol, unit in _units(instruments).items():
        if account.units.setdefault(symbol, unit) != unit:
            raise ConfigurationError(
                f"{symbol}: the book counts in units of {account.units[symbol]} (quantity, money), the "
                f"settings say {unit}: units never change in the life of an account"
            )
    held = {symbol for symbol, position in account.state.positions.items() if position.quantity}
    held |= {record.order.symbol for record in account.records.values()}
    for symbol in sorted(held - set(instruments) - dust_of(account)):
        raise ConfigurationError(f"{symbol} is held or has open orders: keep it in market.symbols until it is flat")


def begin_session(job: Job, keeper: Keeper, slot: int) -> str | None:
    """Return the session to write into: a new one when code, settings, strategy or market are not the last one's."""
    account = keeper.account
    described = {**job.identity, "symbols": list(job.symbols), "timeframe": job.timeframe, "mode": job.mode}
    mark = json_hash(described)[:8]
    if account.session is None or not account.session.endswith(f"-{mark}"):
        session = f"{iso_time(slot).replace(':', '').replace('.', '')}-{mark}"
        content = {**described, "start_slot": slot, "state": account.state.to_json(), "units": dict(account.units)}
        keeper.begin_session(session, slot, content)
    return account.session


def _units(instruments: Mapping[str, Instrument]) -> dict[str, str]:
    return {symbol: f"{one.quantity_unit}, {one.quote_unit}" for symbol, one in instruments.items()}
