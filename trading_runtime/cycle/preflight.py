"""Preflight: everything a start needs, asked before it is needed, line by line. Sends no order.

    configuration · strategy · code · live gate · store · state · control · lease
    exchange · markets · account · key rights · fees · cash · open orders · book · bars · notifications

Every line is there whatever became of the others; one that cannot be asked says what it waits for. Only one thing is
ever written, and only into a store that exists: the document ``preflight/<account>``, which proves that it can be
written to. It is the same each time and nobody reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from trading_runtime.config.cycle_build import (
    bar_age_ms_max,
    build_account,
    build_instruments,
    filled_in,
    load_strategy,
)
from trading_runtime.config.cycle_schema import SIMULATED
from trading_runtime.config.load import LoadedCycleSettings, config_hash
from trading_runtime.core.errors import (
    EXIT_CONFIGURATION,
    EXIT_DONE,
    EXIT_TEMPORARY,
    ConfigurationError,
    DataError,
    TemporaryError,
    TradingRuntimeError,
)
from trading_runtime.core.instruments import Instrument, decimal_text, split_symbol
from trading_runtime.core.state import State
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import iso_time, timeframe_ms
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.bars import gather_bars
from trading_runtime.cycle.build import live_obstacles, open_feed, open_live_exchange, open_store
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.opening import CLOCK_DIFFERENCE_MS_MAX
from trading_runtime.cycle.reconcile import check_units
from trading_runtime.cycle.status import holder_of, is_store_there, load_account
from trading_runtime.cycle.sync import Finding, find_mismatches
from trading_runtime.exchanges.port import Balance, Exchange, Feed
from trading_runtime.provenance import UNKNOWN, code_commit, image_digest, is_dirty
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Conflict, Documents
from trading_runtime.stores.envelope import seal
from trading_runtime.telemetry.redact import redact

if TYPE_CHECKING:
    pass

Outcome = Literal["ok", "warning", "failed", "unreachable", "not checked"]
NAMES = (
    "configuration", "strategy", "code", "live gate", "store", "state", "control", "lease", "exchange", "markets",
    "account", "key rights", "fees", "cash", "open orders", "book", "bars", "notifications",
)  # fmt: skip
_NOT_IN_PAPER = "not needed: paper trades at the simulated exchange"
_PROBE_SCHEMA = 1


class Check(NamedTuple):
    """One line: ``failed`` needs a person, ``unreachable`` may pass; ``detail`` says what is, or what to do."""

    name: str
    outcome: Outcome
    detail: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "outcome": self.outcome, "detail": self.detail}


class _NotChecked(Exception):
    """What a line needs is not there; the text says what."""


class _Failed(Exception):
    """A line that a person must do something about; the text says what."""


class _Warned(Exception):
    """A line that is good enough, with something to know about it."""


def exit_code(checks: list[Check]) -> int:
    """Return 77 when a person must change something, 75 when something was not there, 0 otherwise."""
    outcomes = {one.outcome for one in checks}
    if "failed" in outcomes:
        return EXIT_CONFIGURATION
    return EXIT_TEMPORARY if "unreachable" in outcomes else EXIT_DONE


def nothing_checked(error: ConfigurationError) -> list[Check]:
    """Return all lines where the configuration itself cannot be read."""
    rest: list[Check] = [Check(name, "not checked", "the configuration is wrong") for name in NAMES[1:]]
    return [Check("configuration", "failed", " ".join(str(error).split())), *rest]


def preflight(
    loaded: LoadedCycleSettings,
    mode: str,
    environment: Mapping[str, str],
    clock: Clock,
    *,
    base_url: str | None = None,
) -> list[Check]:
    """Return every line for a start in ``mode`` (live or paper), in the order of ``NAMES``; ``live gate`` may come
    several times. Never raises for what is wrong with the world.
    """
    run = _Preflight(loaded, mode, environment, clock, base_url)
    try:
        run.all()
    finally:
        run.close()
    return run.checks


class _Preflight:
    """What one line finds the next ones use; None where it is not there."""

    def __init__(
        self,
        loaded: LoadedCycleSettings,
        mode: str,
        environment: Mapping[str, str],
        clock: Clock,
        base_url: str | None,
    ) -> None:
        self.checks: list[Check] = []
        self._loaded, self._settings = loaded, loaded.settings
        self._is_live = mode == "live"
        self._environment, self._clock, self._base_url = environment, clock, base_url
        self._strategy: Strategy | None = None
        self._documents: Documents | None = None
        self._is_state_known = False
        self._account: Account | None = None
        self._feed: Feed | None = None
        self._is_feed_there = False
        self._opened: list[Feed] = []
        self._private: Exchange | None = None
        self._instruments: Mapping[str, Instrument] | None = None
        self._balances: Mapping[str, Balance] | None = None
        self._findings: list[Finding] | None = None

    def all(self) -> None:
        steps: tuple[Callable[[], str], ...] = (
            self._configuration, self._load_strategy, self._code, self._gate, self._store, self._state, self._control,
            self._lease, self._exchange, self._markets, self._ask_account, self._key_rights, self._fees, self._cash,
            self._open_orders, self._book, self._bars, self._notifications,
        )  # fmt: skip
        for name, step in zip(NAMES, steps, strict=True):
            self._check(name, step)

    def close(self) -> None:
        """Close the store and the sockets of exchanges; a feed of files has none."""
        if self._documents is not None:
            self._documents.close()
        for one in self._opened:
            close: Callable[[], None] | None = getattr(one, "close", None)
            if close is not None:
                close()

    def _check(self, name: str, step: Callable[[], str]) -> None:
        outcome: Outcome = "ok"
        try:
            detail = step()
        except _NotChecked as reason:
            outcome, detail = "not checked", str(reason)
        except _Warned as warning:
            outcome, detail = "warning", str(warning)
        except (TemporaryError, DataError) as error:
            outcome, detail = "unreachable", str(error)
        except (_Failed, TradingRuntimeError) as error:
            outcome, detail = "failed", str(error)
        if detail:
            self.checks.append(Check(name, outcome, redact(" ".join(detail.split()), self._environment)))

    # What is here

    def _configuration(self) -> str:
        account = self._settings.account
        return f"{self._loaded.path}: account {account.name}, hash {config_hash(self._settings)[:12]}"

    def _load_strategy(self) -> str:
        strategy = load_strategy(self._settings, self._loaded.folder)
        count = strategy.bars_needed(self._bar_ms)
        self._strategy = strategy
        return f"{self._settings.strategy['class']} needs {count} bars of {self._settings.market.timeframe}"

    def _code(self) -> str:
        commit, dirty = code_commit(), is_dirty()
        tree = {True: "changed since", False: "clean", None: "not known whether changed"}[dirty]
        text = f"commit {commit}, {tree}; image digest {image_digest() or 'none'}"
        if commit == UNKNOWN or dirty is not False:
            raise _Warned(text)
        return text

    def _gate(self) -> str:
        if not self._is_live:
            return "not needed: paper sends nothing"
        obstacles = live_obstacles(self._settings, self._environment)
        if obstacles:
            self.checks += [Check("live gate", "failed", redact(one, self._environment)) for one in obstacles]
            return ""
        return f"real money of account {self._settings.account.name} is acknowledged, credentials and code are in order"

    # What is in the store

    def _store(self) -> str:
        settings, account = self._settings, self._settings.account.name
        store = settings.store
        if store.kind == "memory":
            raise _Warned("kind memory forgets everything when the process ends: only to try things out")
        path = self._loaded.folder / store.path
        if store.kind == "sqlite" and not is_store_there(path):
            self._is_state_known = True
            return f"{path} is not there yet: the first cycle creates it, in {_writable_folder(path)}"
        documents = open_store(settings, self._loaded.folder, create=False)
        self._documents = documents
        probe = f"preflight/{account}"
        _write_probe(documents, probe, account)
        where = str(path) if store.kind == "sqlite" else f"{store.kind}, project {store.project}"
        return f"{where}: can be read and written (proved on the document {probe})"

    def _state(self) -> str:
        settings, name = self._settings, self._settings.account.name
        strategy = self._needed(self._strategy, "the strategy")
        if self._documents is not None:
            self._account = load_account(self._documents, name, type(strategy).__qualname__)
            self._is_state_known = True
        elif settings.store.kind == "memory":
            self._is_state_known = True
        elif not self._is_state_known:
            raise _NotChecked("the store cannot be used")
        account = self._account
        mode = "live" if self._is_live else "paper"
        if account is None:
            quote = split_symbol(settings.market.symbols[0])[1]
            return f"a new account: its first {mode} cycle opens it with {settings.account.cash:.10g} {quote}"
        if account.mode != mode:
            raise _Failed(
                f"account {name!r} in this store is a {account.mode} account: give the {mode} one another account.name "
                "or another store"
            )
        used = {symbol for symbol, position in account.state.positions.items() if position.quantity}
        used |= {record.order.symbol for record in account.records.values()}
        gone = sorted(used - set(settings.market.symbols))
        if gone:
            raise _Failed(f"{', '.join(gone)} is held or has open orders: keep it in market.symbols until it is flat")
        slot = "no slot yet" if account.state.slot is None else f"last slot {iso_time(account.state.slot)}"
        if account.quarantine or account.in_phase("claimed"):
            raise _Warned(f"{slot}; the fate of an order is unknown, the next cycle asks: see trading-runtime status")
        return f"a {mode} account, {slot}, {len(account.records)} unfinished order(s)"

    def _control(self) -> str:
        if self._documents is None:
            if not self._is_state_known:
                raise _NotChecked("the store cannot be used")
            return "never written: risk is allowed"
        shown = Control(self._documents, self._settings.account.name).read(self._clock.now_ms())
        if shown.unreadable:
            raise _Failed(shown.reason)
        given = ", ".join(f"{one.name} until {iso_time(one.until_ms)}" for one in shown.overrides)
        text = f"; overridden: {given}" if given else ""
        if not shown.allows_risk:
            raise _Warned(f"{shown.reason}: a cycle only reduces{text}")
        return f"risk is allowed{text}"

    def _lease(self) -> str:
        strategy = self._needed(self._strategy, "the strategy")
        if self._documents is None:
            if not self._is_state_known:
                raise _NotChecked("the store cannot be used")
            return "free"
        held = holder_of(self._documents, self._settings.account.name, type(strategy).__qualname__)
        if held is None or held.expires_ms <= self._clock.now_ms():
            return "free"
        raise _Warned(f"{held.holder} has it until {iso_time(held.expires_ms)}: a cycle started now ends as not_mine")

    # What is at the exchange

    def _exchange(self) -> str:
        if self._is_live:
            # Without credentials: what everybody may ask is told apart from what they are for.
            self._feed = open_live_exchange(self._loaded, {}, self._clock, self._base_url)
        else:
            self._feed = open_feed(self._loaded, self._environment, self._clock, self._base_url)
        self._opened.append(self._feed)
        if self._settings.feed.files:
            self._is_feed_there = True
            return f"{self._feed.name}: history is played back, no exchange is asked"
        there_ms, here_ms = self._feed.server_time_ms(), self._clock.now_ms()
        self._is_feed_there = True
        apart_ms = there_ms - here_ms
        if abs(apart_ms) > CLOCK_DIFFERENCE_MS_MAX:
            raise _Failed(
                f"the exchange's clock says {iso_time(there_ms)}, this computer's {iso_time(here_ms)}: set the wrong "
                f"one (at most {CLOCK_DIFFERENCE_MS_MAX // 1000} s apart)"
            )
        return f"{self._feed.name} answers, its clock is {apart_ms / 1000:+.1f} s from this computer's"

    def _markets(self) -> str:
        settings, feed = self._settings, self._reached()
        ask: Any = getattr(feed, "instruments", None)
        if self._is_live:
            found: Mapping[str, Instrument] = ask(settings.market.symbols)
        elif ask is None or settings.market.exchange == SIMULATED:
            found = build_instruments(settings)
        else:
            asked = ask(settings.market.symbols)
            found = {symbol: filled_in(settings, one, self._clock.now_ms()) for symbol, one in asked.items()}
        self._instruments = found
        return "; ".join(_filters_text(one) for one in found.values())

    def _ask_account(self) -> str:
        if not self._is_live:
            return _NOT_IN_PAPER
        self._reached()
        self._require_credentials()
        private = open_live_exchange(self._loaded, self._environment, self._clock, self._base_url)
        self._opened.append(private)
        balances = dict(private.balances())
        contracts = [symbol for symbol in self._settings.market.symbols if ":" in symbol]
        if contracts:
            private.positions(contracts)  # an account in hedge mode says so here
        self._private, self._balances = private, balances
        held = ", ".join(f"{decimal_text(one.total)} {asset}" for asset, one in sorted(balances.items())[:8])
        more = f" and {len(balances) - 8} more" if len(balances) > 8 else ""
        return f"the credentials are accepted; balances: {held or 'nothing'}{more}"

    def _key_rights(self) -> str:
        if not self._is_live:
            return _NOT_IN_PAPER
        private: Any = self._needed(self._private, "the account")
        return _judge_rights(private.key_rights(), is_contract=":" in self._settings.market.symbols[0])

    def _fees(self) -> str:
        instruments = self._needed(self._instruments, "the markets")
        warnings: list[str] = []
        if self._is_live:
            private: Any = self._needed(self._private, "the account")
            instruments = self._instruments = private.instruments(self._settings.market.symbols)
            warnings = private.warnings
        rates = "; ".join(_fees_text(one) for one in instruments.values())
        if warnings:
            raise _Warned(f"{rates} ({'; '.join(warnings)})")
        return rates

    def _cash(self) -> str:
        instruments = self._needed(self._instruments, "the markets")
        first = next(iter(instruments.values()))
        start = build_account(self._settings, instruments).start_cash
        if not self._is_live:
            return f"starts with {first.money_text(start)} {first.quote} of the simulated exchange"
        balances = self._needed(self._balances, "the account")
        self._known_state()
        if self._account is not None:
            return f"the account has its own book: {first.money_text(self._account.state.cash)} {first.quote} of cash"
        there = balances.get(first.quote)
        free, wanted = there.free if there is not None else Decimal(0), start * first.quote_unit
        if free < wanted:
            raise _Failed(
                f"account.cash is {decimal_text(wanted)} {first.quote}, {decimal_text(free)} are free at the exchange: "
                "lower account.cash or pay in"
            )
        return f"{decimal_text(free)} {first.quote} are free, account.cash uses {decimal_text(wanted)} of them"

    def _open_orders(self) -> str:
        if not self._is_live:
            return _NOT_IN_PAPER
        private = self._needed(self._private, "the account")
        instruments = self._needed(self._instruments, "the markets")
        strategy = self._needed(self._strategy, "the strategy")
        self._known_state()
        account = self._account
        if account is not None:
            check_units(account, instruments)
        else:
            account = Account(State(build_account(self._settings, instruments).start_cash), mode="live")
        owner = self._settings.account.name, type(strategy).__qualname__
        self._findings, _ = find_mismatches(account, private, instruments, owner)
        found = [one for one in self._findings if one.kind in ("untracked", "orphan", "duplicate")]
        blocking = [one for one in found if one.blocks]
        if blocking:
            raise _Failed(
                f"{'; '.join(one.detail for one in blocking)}: no new risk as long as it is open; cancel it, or "
                "trading-runtime control override untracked_orders"
            )
        if found:
            raise _Warned(f"{'; '.join(one.detail for one in found)}; it can only reduce")
        return "none but those of this account"

    def _book(self) -> str:
        if not self._is_live:
            return _NOT_IN_PAPER
        findings = self._needed(self._findings, "the open orders")
        about = [one for one in findings if one.kind not in ("untracked", "orphan", "duplicate")]
        if self._account is None:  # of money the line before has spoken
            about = [one for one in about if one.kind != "divergence" or one.symbol is not None]
        blocking = [one for one in about if one.blocks]
        if blocking:
            raise _Failed(f"{'; '.join(one.detail for one in blocking)}: see trading-runtime reconcile")
        if about:
            return "; ".join(one.detail for one in about)
        return "nothing is held yet" if self._account is None else "the exchange has what the book says"

    def _bars(self) -> str:
        settings, feed = self._settings, self._reached()
        strategy = self._needed(self._strategy, "the strategy")
        timeframe, symbols = settings.market.timeframe, settings.market.symbols
        needed = strategy.bars_needed(self._bar_ms)
        is_history = bool(settings.feed.files)
        after = self._account.state.slot if is_history and self._account is not None else None
        newest = feed.newest_close(timeframe, after)
        if newest is None:
            raise _Warned("history is played to its end" if is_history else "there is no closed bar")
        bars = gather_bars(feed, self._clock, symbols, timeframe, self._bar_ms, needed, newest)
        short = {symbol: len(series) for symbol, series in bars.items() if len(series) < needed}
        if len(short) == len(bars):
            have = max(short.values())
            raise _Warned(f"there are {have} bars of the {needed} the strategy needs: it decides nothing until then")
        younger = f"; {', '.join(sorted(short))} has fewer" if short else ""
        age_ms, age_ms_max = feed.server_time_ms() - newest, bar_age_ms_max(settings)
        is_old = age_ms > age_ms_max and not is_history
        old = f"; too old for new risk now ({age_ms // 1000} s, at most {age_ms_max // 1000})" if is_old else ""
        return f"{needed} bars up to {iso_time(newest)} are there{younger}{old}"

    def _notifications(self) -> str:
        from trading_runtime.notify.telegram import telegram_notifiers

        if not self._settings.notify.telegram:
            raise _Warned("notify.telegram is off: nobody is told of anything")
        chats = telegram_notifiers(self._environment)
        if not chats:
            raise _Warned("TG_TOKEN and TG_CHAT_ID or GLOBAL_TELEGRAM_CHAT_ID are not set: nobody is told of anything")
        return f"{len(chats)} Telegram chat(s)"

    # What lines need of each other

    @property
    def _bar_ms(self) -> int:
        return timeframe_ms(self._settings.market.timeframe)

    def _reached(self) -> Feed:
        if self._feed is None or not self._is_feed_there:
            raise _NotChecked("the exchange cannot be asked")
        return self._feed

    def _known_state(self) -> None:
        if not self._is_state_known:
            raise _NotChecked("the state cannot be read")

    def _require_credentials(self) -> None:
        from trading_runtime.exchanges.credentials import credentials_from_environment

        if credentials_from_environment(self._settings.market.exchange, self._environment) is None:
            raise _NotChecked("the credentials are missing")

    @staticmethod
    def _needed(value: Any, what: str) -> Any:
        if value is None:
            raise _NotChecked(f"{what} could not be had")
        return value


def _judge_rights(rights: Mapping[str, bool | None], *, is_contract: bool) -> str:
    kind = "futures" if is_contract else "spot"
    trade, withdraw = rights[f"trade_{kind}"], rights["withdraw"]
    wrong = []
    if trade is False:
        wrong.append(f"the key or the account may not trade {kind}: permit it at the exchange")
    if withdraw:
        wrong.append("the key may withdraw: take that right away, the runtime never needs it")
    if wrong:
        raise _Failed("; ".join(wrong))
    if trade is None or withdraw is None:
        raise _Warned(f"the exchange does not tell: see yourself that the key may trade {kind} and may not withdraw")
    if rights["is_bound"] is False:
        raise _Warned(f"may trade {kind}, may not withdraw; bind the key to your addresses")
    return f"may trade {kind}, may not withdraw"


def _filters_text(one: Instrument) -> str:
    rules = one.rules[-1]
    tick = rules.tick_numerator / rules.tick_denominator
    minimum = f", at least {one.money_text(rules.notional_minimum)} {one.quote}" if rules.notional_minimum else ""
    return f"{one.symbol}: tick {tick:.10g}, lot {one.quantity_text(rules.lot)}{minimum}"


def _fees_text(one: Instrument) -> str:
    rules = one.rules[-1]
    return f"{one.symbol}: maker {rules.maker_fee_rate:.4%}, taker {rules.taker_fee_rate:.4%}"


def _writable_folder(path: Path) -> Path:
    """Return the nearest folder there is above a file to be created; raises _Failed when it cannot be written to."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise _Failed(f"{path} cannot be created: {folder} is not a folder that can be written to")
    return folder


def _write_probe(documents: Documents, path: str, account: str) -> None:
    """Write the document that proves that the store can be written to."""
    content = {"account": account, "purpose": "written by trading-runtime preflight; read by nobody"}
    raw, _ = seal(path, content, _PROBE_SCHEMA)
    there = documents.read(path)
    try:
        if there is None:
            documents.create(path, raw)
        else:
            documents.replace(path, raw, there.version)
    except Conflict:
        return  # another preflight has written it just now: that is a proof, too
