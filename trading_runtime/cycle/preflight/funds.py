"""What only the account's owner may ask: the key's rights, fees, money, open orders, and whether the book agrees."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from trading_runtime.config.cycle_build import build_account
from trading_runtime.core.instruments import Instrument, decimal_text
from trading_runtime.core.state import State
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.build import open_live_exchange
from trading_runtime.cycle.preflight.check import Failed, NotChecked, Warned
from trading_runtime.cycle.preflight.ground import NOT_IN_PAPER, Ground, needed
from trading_runtime.cycle.reconcile import check_units
from trading_runtime.cycle.sync import find_mismatches
from trading_runtime.exchanges.port import Exchange


def check_account(ground: Ground) -> str:
    if not ground.is_live:
        return NOT_IN_PAPER
    ground.reached()
    _require_credentials(ground)
    private = open_live_exchange(ground.loaded, ground.environment, ground.clock, ground.base_url)
    ground.opened.append(private)
    balances = dict(private.balances())
    contracts = [symbol for symbol in ground.settings.market.symbols if ":" in symbol]
    if contracts:
        private.positions(contracts)  # an account in hedge mode says so here
    ground.private, ground.balances = private, balances
    held = ", ".join(f"{decimal_text(one.total)} {asset}" for asset, one in sorted(balances.items())[:8])
    more = f" and {len(balances) - 8} more" if len(balances) > 8 else ""
    return f"the credentials are accepted; balances: {held or 'nothing'}{more}"


def check_key_rights(ground: Ground) -> str:
    if not ground.is_live:
        return NOT_IN_PAPER
    private: Any = needed(ground.private, "the account")  # what only ccxt's exchanges tell
    return _judge_rights(private.key_rights(), is_contract=":" in ground.settings.market.symbols[0])


def check_fees(ground: Ground) -> str:
    instruments = needed(ground.instruments, "the markets")
    warnings: list[str] = []
    if ground.is_live:
        private: Any = needed(ground.private, "the account")
        instruments = ground.instruments = private.instruments(list(instruments))
        warnings = private.warnings
    rates = "; ".join(_fees_text(one) for one in instruments.values())
    if warnings:
        raise Warned(f"{rates} ({'; '.join(warnings)})")
    return rates


def check_cash(ground: Ground) -> str:
    instruments = needed(ground.instruments, "the markets")
    first = next(iter(instruments.values()))
    start = build_account(ground.settings, instruments).start_cash
    if not ground.is_live:
        return f"starts with {first.money_text(start)} {first.quote} of the simulated exchange"
    balances = needed(ground.balances, "the account")
    account = ground.known_state()
    if account is not None:
        return f"the account has its own book: {first.money_text(account.state.cash)} {first.quote} of cash"
    there = balances.get(first.quote)
    free, wanted = there.free if there is not None else Decimal(0), start * first.quote_unit
    if ground.settings.account.funds == "all":
        return f"{decimal_text(free)} {first.quote} are free: account.funds all begins with these, and with savings"
    if free < wanted:
        raise Failed(
            f"account.cash is {decimal_text(wanted)} {first.quote}, {decimal_text(free)} are free at the exchange: "
            "lower account.cash or pay in"
        )
    return f"{decimal_text(free)} {first.quote} are free, account.cash uses {decimal_text(wanted)} of them"


def check_open_orders(ground: Ground) -> str:
    if not ground.is_live:
        return NOT_IN_PAPER
    private = needed(ground.private, "the account")
    instruments = needed(ground.instruments, "the markets")
    strategy = needed(ground.strategy, "the strategy")
    account = ground.known_state()
    if account is not None:
        check_units(account, instruments)
    else:
        account = Account(State(build_account(ground.settings, instruments).start_cash), mode="live")
    owner = ground.settings.account.name, type(strategy).__qualname__
    savings = _savings(ground, private, account, next(iter(instruments.values())).quote)
    ground.findings, _ = find_mismatches(account, private, instruments, owner, savings)
    found = [one for one in ground.findings if one.kind in ("untracked", "orphan", "duplicate")]
    blocking = [one for one in found if one.blocks]
    if blocking:
        raise Failed(
            f"{'; '.join(one.detail for one in blocking)}: no new risk as long as it is open; cancel it, or "
            "trading-runtime control override untracked_orders"
        )
    if found:
        raise Warned(f"{'; '.join(one.detail for one in found)}; it can only reduce")
    return "none but those of this account"


def check_book(ground: Ground) -> str:
    if not ground.is_live:
        return NOT_IN_PAPER
    findings = needed(ground.findings, "the open orders")
    about = [one for one in findings if one.kind not in ("untracked", "orphan", "duplicate")]
    if ground.account is None:  # of money the line before has spoken
        about = [one for one in about if one.kind != "divergence" or one.symbol is not None]
    blocking = [one for one in about if one.blocks]
    if blocking:
        raise Failed(f"{'; '.join(one.detail for one in blocking)}: see trading-runtime reconcile")
    if about:
        return "; ".join(one.detail for one in about)
    return "nothing is held yet" if ground.account is None else "the exchange has what the book says"


def _savings(ground: Ground, private: Exchange, account: Account, asset: str) -> Decimal:
    """Return the account's money in savings and on its way there or back; see ``treasury.savings_balance``."""
    if not ground.settings.treasury.earn_buffer or private.savings is None:
        return Decimal(0)
    record = account.earn.get(asset)
    under_way = record.amount if record is not None and record.phase == "pending" else Decimal(0)
    return private.savings.earn_position(asset) + under_way


def _require_credentials(ground: Ground) -> None:
    from trading_runtime.exchanges.credentials import credentials_from_environment

    if credentials_from_environment(ground.settings.market.exchange, ground.environment) is None:
        raise NotChecked("the credentials are missing")


def _judge_rights(rights: Mapping[str, bool | None], *, is_contract: bool) -> str:
    kind = "futures" if is_contract else "spot"
    trade, withdraw = rights[f"trade_{kind}"], rights["withdraw"]
    wrong = []
    if trade is False:
        wrong.append(f"the key or the account may not trade {kind}: permit it at the exchange")
    if withdraw:
        wrong.append("the key may withdraw: take that right away, the runtime never needs it")
    if wrong:
        raise Failed("; ".join(wrong))
    if trade is None or withdraw is None:
        raise Warned(f"the exchange does not tell: see yourself that the key may trade {kind} and may not withdraw")
    if rights["is_bound"] is False:
        raise Warned(f"may trade {kind}, may not withdraw; bind the key to your addresses")
    return f"may trade {kind}, may not withdraw"


def _fees_text(one: Instrument) -> str:
    rules = one.rules[-1]
    return f"{one.symbol}: maker {rules.maker_fee_rate:.4%}, taker {rules.taker_fee_rate:.4%}"
