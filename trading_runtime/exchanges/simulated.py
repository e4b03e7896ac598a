"""The simulated exchange: an account that trades real closed bars with imagined money, by the backtest's own matching.

    feed ─ bars ─► advance_to(slot) ─┐
    cycle ─ place, cancel ───────────┼─► one document per account and strategy, replaced by compare-and-set
    cycle ─ order, balances, ... ◄───┘

Nothing is kept in the process: any number of processes may come, crash and come back, and each step is done once. The
exchange's time is that of the last matched bar; it moves when a cycle says which slot it decides for, never by itself.
What an order does then is what it does in a backtest over the same bars, to the unit. Real orders are sent elsewhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from trading_runtime.backtest.market import FundingRate
from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import (
    ConfigurationError,
    ExchangeUnavailable,
    FateUnknown,
    StoreDamaged,
    StoreUnavailable,
)
from trading_runtime.core.fills import Execution
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.money import fee_amount, quote_value
from trading_runtime.core.state import Order, State
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.exchanges.port import (
    Balance,
    Capabilities,
    Fee,
    Feed,
    FundingPayment,
    Interval,
    NotPlaced,
    OrderReport,
    Savings,
    Trade,
    bars_over,
)
from trading_runtime.exchanges.simulated_account import Due, Record, SimulatedAccount, account_from_json
from trading_runtime.exchanges.simulated_market import MarketWindow
from trading_runtime.stores.documents import Conflict, Documents, checked_path
from trading_runtime.stores.envelope import DocumentTooLarge, open_sealed, owner_name, seal

SCHEMA_VERSION = 1
KINDS = frozenset({"market", "limit", "stop", "take_profit"})
# Requests to the simulated exchange arrive at once: no stamp is ever too old. The number is Binance's default.
VALIDITY_WINDOW_MS = 5_000
# Each conflict means that another process got something done.
_ATTEMPTS_MAX = 50
# After a long pause the account catches up in steps of this many bars.
_BARS_AT_ONCE = 1_000

Step = Callable[[SimulatedAccount], SimulatedAccount]


class SimulatedExchange:
    """An ``Exchange`` over a feed of closed bars. ``start_cash`` is in quote units and counts when the account's
    document is made; ``account`` and ``strategy`` name it, and are part of the ids of fallback orders.

    Ended orders and their fills can be asked for until 500 later ones have ended, and fewer only if 500 do not fit into
    the document. ``lookup`` returns the instrument of a symbol that is not among ``instruments``, or raises
    ConfigurationError: it is used for symbols that are asked for, and for those in which the stored account holds
    something or has an open order. A perpetual that was looked up pays no funding. Savings there are none.

    Raises ConfigurationError for settings that contradict the account that is stored.
    """

    def __init__(
        self,
        feed: Feed,
        documents: Documents,
        account: str,
        strategy: str,
        instruments: Mapping[str, Instrument],
        execution: Execution,
        start_cash: int,
        *,
        timeframe: str,
        funding: Mapping[str, Sequence[FundingRate]] | None = None,
        lookup: Callable[[str], Instrument] | None = None,
    ) -> None:
        if not instruments:
            raise ConfigurationError("a simulated exchange needs at least one instrument")
        monies = {(one.quote, one.quote_unit) for one in instruments.values()}
        if len(monies) > 1:
            raise ConfigurationError("all symbols of a simulated account settle in one currency and unit")
        try:
            self.path = checked_path(f"paper/{owner_name(account, strategy)}")
        except ValueError:
            raise ConfigurationError(
                f"account {account!r} and strategy {strategy!r} name a document: use letters, digits, '_' and '-'"
            ) from None
        self._feed = feed
        self._documents = documents
        self._name, self._strategy = account, strategy
        self._instruments = dict(instruments)
        self._execution = execution
        self._start_cash = start_cash
        self._timeframe, self._bar_ms = timeframe, timeframe_ms(timeframe)
        self._quote, self._quote_unit = next(iter(monies))
        self._funding = _sorted_funding(self._instruments, funding or {})
        self._funding_times = [time_ms for time_ms, _, _ in self._funding]
        self._lookup = lookup
        self._read: tuple[str, SimulatedAccount] | None = None

    # The feed.
    @property
    def name(self) -> str:
        return f"simulated on {self._feed.name}"

    def server_time_ms(self) -> int:
        return self._feed.server_time_ms()

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        return self._feed.newest_close(timeframe, after)

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        return self.bars_over(symbol, timeframe, count, close_ms, ())

    def bars_over(self, symbol: str, timeframe: str, count: int, close_ms: int, still: Sequence[Interval]) -> Bars:
        """Return bars as ``port.StillFeed`` says."""
        return bars_over(self._feed, symbol, timeframe, count, close_ms, still)

    # The exchange's time.
    def advance_to(self, slot: int) -> None:
        """Match everything up to the bar that closed at ``slot``, once: a slot that has been matched changes nothing.

        Opens the account when there is none. To be called before anything is settled or placed in a slot. Raises
        DataError when a bar is not there yet, ExchangeUnavailable when feed or store cannot be asked.
        """
        if bucket_open_ms(slot, self._bar_ms) != slot:
            raise ValueError(f"slot {slot} is not the close of a {self._timeframe} bar")
        conflicts = 0
        while True:
            try:
                account, version = self._load()
                if version is None:
                    self._store(self._opened(slot), None)
                elif account.matched_ms < slot:
                    self._store(self._next(account, slot), version)
                else:
                    return
            except StoreUnavailable as error:
                raise ExchangeUnavailable(f"the simulated account {self.path} cannot be asked: {error}") from error
            except Conflict as error:
                conflicts += 1
                if conflicts == _ATTEMPTS_MAX:
                    raise ExchangeUnavailable(f"others change the account {self.path} all the time") from error

    def _next(self, account: SimulatedAccount, slot: int) -> SimulatedAccount:
        """Return the account after its next bars: all up to ``slot``, or as many as are asked for at once."""
        wanted = {item["order"]["symbol"] for item in account.working if not item["done"]}
        paying = {self._symbols[index] for _, index, _ in self._funding}
        wanted |= {symbol for symbol in paying if account.state.quantity(symbol)}
        start_ms = account.matched_ms - self._bar_ms
        count = (slot - account.matched_ms) // self._bar_ms
        if not wanted:  # nothing can happen, so no bar need be asked for
            return replace(account, matched_ms=slot)
        window = MarketWindow(self._instruments, self._execution, start_ms, self._bar_ms, min(count, _BARS_AT_ONCE) + 1)
        window.load(self._feed, self._timeframe, wanted)
        return account.advanced(window, self._dues(window))

    def _dues(self, window: MarketWindow) -> list[Due]:
        """The funding of the window's new bars: a payment falls on the bar that closes at its time, or contains it."""
        first = bisect_right(self._funding_times, window.close_time(0))
        last = bisect_right(self._funding_times, window.close_time(window.count - 1))
        dues = [
            Due(-((window.start_ms - time_ms) // self._bar_ms) - 1, index, rate, time_ms)
            for time_ms, index, rate in self._funding[first:last]
        ]
        return sorted(dues)

    # The account.
    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            validity_window_ms=VALIDITY_WINDOW_MS,
            all_open_orders=True,
            kinds=KINDS - {"market"},
            reduce_only=True,
            keeps_brackets=True,
        )

    @property
    def savings(self) -> Savings | None:
        return None

    def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return the instruments with all their dated rules."""
        for symbol in symbols:
            if symbol not in self._instruments:
                self._admit(symbol)
        return {symbol: self._instruments[symbol] for symbol in symbols}

    def balances(self) -> Mapping[str, Balance]:
        """Return money and coins. The money is what an account that trades contracts on margin would show: trading one
        moves none until it is closed, while the ledger books its whole value. Locked is what resting orders may need.
        """
        account = self._asked()
        cash = account.state.cash
        locked = dict.fromkeys(self._symbols, 0)
        locked_cash = 0
        for item in account.working:
            record = account.open.get(item["order"]["order_id"])
            if item["done"] or item["active_ms"] is None or record is None:
                continue  # it waits for its parent: a real exchange would not have it yet
            order, instrument = record.order, self._instruments[record.order.symbol]
            rest = order.quantity - record.filled
            if instrument.kind != "spot":
                continue
            if order.side < 0:
                locked[order.symbol] += rest
            elif order.kind == "limit" and order.price is not None:
                value = quote_value(order.price, rest, instrument.value_per_unit)
                locked_cash += value + max(fee_amount(value, instrument.rules_at(account.matched_ms).taker_fee_rate), 0)
        found: dict[str, Balance] = {}
        for symbol, position in account.state.positions.items():
            if symbol not in self._instruments:
                continue  # no longer configured, so it is flat
            instrument = self._instruments[symbol]
            if instrument.kind != "spot":
                cash += position.cost
            elif position.quantity:
                free = max(position.quantity - locked[symbol], 0)
                unit = instrument.quantity_unit
                found[instrument.base] = Balance(free * unit, position.quantity * unit)
        if cash:
            free_cash = max(cash - locked_cash, 0) if cash > 0 else cash
            found[self._quote] = Balance(free_cash * self._quote_unit, cash * self._quote_unit)
        return found

    def positions(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        return {
            symbol: position.quantity * self._instruments[symbol].quantity_unit
            for symbol, position in self._asked().state.positions.items()
            if symbol in symbols and position.quantity and self._instruments[symbol].kind != "spot"
        }

    def open_orders(self, symbols: Sequence[str]) -> list[OrderReport]:
        """Return all open orders, whatever their symbol, in the order in which they were placed."""
        return [self._report(record) for record in self._asked().open.values()]

    def order(self, order: Order) -> OrderReport | None:
        record = self._asked().record(order.order_id)
        return None if record is None else self._report(record)

    def place(self, order: Order, stamp_ms: int) -> OrderReport:
        """Open an order; it acts from the bar after the last matched one, or when its parent fills. ``stamp_ms`` is of
        no interest here. A child whose parent has filled meanwhile acts at once, on its share of it.
        """

        def step(account: SimulatedAccount) -> SimulatedAccount:
            if account.matched_ms < order.slot:
                raise NotPlaced(
                    "rejected",
                    f"order {order.order_id} was decided at {iso_time(order.slot)}, where the simulated exchange has "
                    "not arrived: call advance_to first",
                )
            if account.record(order.order_id) is not None:
                raise NotPlaced("duplicate", f"order {order.order_id} is known already")
            parents = [] if order.parent is None else account.lineage(order.parent)
            if order.parent is not None and not parents:
                raise NotPlaced("rejected", f"order {order.order_id}: there is no order {order.parent} to wait for")
            if parents and parents[-1].status != "open" and not any(record.filled for record in parents):
                raise NotPlaced("rejected", f"order {order.order_id}: order {order.parent} has ended without a fill")
            return account.placed(order, parents, self._empty_window(account))

        self._check(order)
        return self._report(self._changed(step, order).open[order.order_id])

    def cancel(self, order: Order, stamp_ms: int, reason: str = "cancelled") -> None:
        """End an order at the close of the last matched bar; ``reason`` is what its report will say."""

        def step(account: SimulatedAccount) -> SimulatedAccount:
            if order.order_id not in account.open:
                return account
            return account.cancelled(order.order_id, reason, self._empty_window(account))

        self._changed(step, order)

    def trades(self, report: OrderReport) -> list[Trade]:
        record = self._asked().record(report.client_order_id)
        return [] if record is None else self._trades(record)

    def trades_since(self, symbol: str, since_ms: int) -> list[Trade]:
        records = self._asked().records(symbol)
        found = [trade for record in records for trade in self._trades(record) if trade.time_ms >= since_ms]
        return sorted(found, key=lambda trade: trade.sequence)

    def funding_since(self, symbol: str, since_ms: int) -> list[FundingPayment]:
        """Return payments by the time they fell due, which may lie inside the bar they were booked in."""
        payments = sorted(self._asked().payments, key=lambda payment: payment.time_ms)
        return [
            FundingPayment(f"{symbol}:{payment.time_ms}", symbol, payment.amount * self._quote_unit, payment.time_ms)
            for payment in payments
            if payment.symbol == symbol and payment.time_ms >= since_ms
        ]

    def quote_price(self, asset: str, quote: str) -> float | None:
        """Return 1 for the quote asset itself, in which every fee is taken; None for all others."""
        return 1.0 if asset == quote else None

    # The document.
    @property
    def _symbols(self) -> tuple[str, ...]:
        return tuple(self._instruments)

    def _admit(self, symbol: str) -> None:
        """Trade one more symbol, behind all others; raises ConfigurationError when it cannot be."""
        if self._lookup is None:
            raise ConfigurationError(f"the simulated exchange has no {symbol}; it has {', '.join(self._symbols)}")
        instrument = self._lookup(symbol)
        if (instrument.quote, instrument.quote_unit) != (self._quote, self._quote_unit):
            raise ConfigurationError(
                f"{symbol} settles in {instrument.quote} of {instrument.quote_unit}, the simulated account in "
                f"{self._quote} of {self._quote_unit}"
            )
        self._instruments[symbol] = instrument
        try:
            if self._read is not None:
                self._check_settings(self._read[1])
        except ConfigurationError:
            del self._instruments[symbol]
            raise

    def _opened(self, slot: int) -> SimulatedAccount:
        return SimulatedAccount(
            self._name, self._strategy, self._timeframe, str(self._quote_unit), slot, State(self._start_cash)
        )

    def _load(self) -> tuple[SimulatedAccount, str | None]:
        """Return the stored account and its version; a new one, without a version, when there is none."""
        document = self._documents.read(self.path)
        if document is None:
            return self._opened(0), None
        if self._read is None or self._read[0] != document.version:
            account = self._decoded(document.content)
            for symbol in account.units:
                is_used = account.state.quantity(symbol) or _has_open(account, symbol)
                if is_used and symbol not in self._instruments and self._lookup is not None:
                    self._admit(symbol)
            self._check_settings(account)
            self._read = document.version, account
        return self._read[1], document.version

    def _decoded(self, content: bytes) -> SimulatedAccount:
        opened = open_sealed(self.path, content, SCHEMA_VERSION)
        try:
            return account_from_json(opened.content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreDamaged(
                f"the simulated account {self.path} is damaged ({type(error).__name__}: {error}); restore it from a "
                "backup, or use another account name"
            ) from error

    def _store(self, account: SimulatedAccount, version: str | None) -> None:
        content = b""
        while not content:
            try:
                content, _ = seal(self.path, account.to_json(), SCHEMA_VERSION)
            except DocumentTooLarge:
                if not account.ended:
                    raise
                account = account.with_fewer_ended()
        if version is None:
            new_version = self._documents.create(self.path, content)
        else:
            new_version = self._documents.replace(self.path, content, version)
        self._read = new_version, account

    def _asked(self) -> SimulatedAccount:
        """Return the account as it is stored now, for a question."""
        try:
            return self._load()[0]
        except StoreUnavailable as error:
            raise ExchangeUnavailable(f"the simulated account {self.path} cannot be asked: {error}") from error

    def _changed(self, step: Step, order: Order) -> SimulatedAccount:
        """Return the account after ``step``, stored; when another process was faster, after its and then ours."""
        for _ in range(_ATTEMPTS_MAX):
            try:
                account, version = self._load()
                after = step(account)
                if after is not account:
                    self._store(after, version)
                return after
            except StoreUnavailable as error:
                raise FateUnknown(
                    f"whether {order.order_id} reached the simulated exchange is not known: {error}"
                ) from error
            except ExchangeUnavailable as error:  # the instrument of something the account holds is not told
                raise NotPlaced("unreachable", f"{order.order_id}: was not sent: {error}") from error
            except Conflict:
                continue
        raise FateUnknown(f"{order.order_id}: the simulated account {self.path} was changed by others all the time")

    def _check(self, order: Order) -> None:
        if order.symbol not in self._instruments:
            raise NotPlaced("rejected", f"order {order.order_id}: the simulated exchange has no {order.symbol}")
        if order.kind not in KINDS:
            raise NotPlaced("rejected", f"order {order.order_id}: there is no kind of order called {order.kind!r}")
        if order.quantity <= 0 or (order.kind != "market" and not (order.price is not None and order.price > 0.0)):
            raise NotPlaced("filters", f"order {order.order_id}: quantity and price must be positive")

    def _check_settings(self, account: SimulatedAccount) -> None:
        kept = {
            "account": account.name,
            "strategy": account.strategy,
            "timeframe": account.timeframe,
            "quote unit": account.quote_unit,
        }
        now = {
            "account": self._name,
            "strategy": self._strategy,
            "timeframe": self._timeframe,
            "quote unit": str(self._quote_unit),
        }
        for symbol, unit in account.units.items():
            instrument = self._instruments.get(symbol)
            if instrument is None and not account.state.quantity(symbol) and not _has_open(account, symbol):
                continue
            kept[f"quantity unit of {symbol}"] = unit
            now[f"quantity unit of {symbol}"] = "unknown" if instrument is None else str(instrument.quantity_unit)
        for name, value in kept.items():
            if now[name] != value:
                raise ConfigurationError(
                    f"the simulated account {self.path} was kept with {name} {value}, now it is {now[name]}; "
                    "restore the setting or use another account name"
                )

    def _empty_window(self, account: SimulatedAccount) -> MarketWindow:
        return MarketWindow(self._instruments, self._execution, account.matched_ms - self._bar_ms, self._bar_ms, 1)

    def _report(self, record: Record) -> OrderReport:
        order = record.order
        unit = self._unit(order.symbol)
        return OrderReport(
            client_order_id=order.order_id,
            exchange_order_id=order.order_id,
            symbol=order.symbol,
            side=order.side,
            kind=order.kind,
            quantity=order.quantity * unit,
            filled=record.filled * unit,
            price=order.price,
            status=record.status,
            reduce_only=order.reduce_only,
            time_ms=record.placed_ms,
            reason=record.reason,
            successor=record.successor,
        )

    def _trades(self, record: Record) -> list[Trade]:
        order = record.order
        unit = self._unit(order.symbol)
        return [
            Trade(
                trade_id=str(fill.sequence),
                sequence=fill.sequence,
                client_order_id=order.order_id,
                exchange_order_id=order.order_id,
                symbol=order.symbol,
                side=order.side,
                quantity=fill.quantity * unit,
                price=fill.price,
                value=fill.value * self._quote_unit,
                fees=(Fee(self._quote, fill.fee * self._quote_unit),),
                time_ms=fill.time_ms,
                is_maker=fill.is_maker,
            )
            for fill in record.fills
        ]

    def _unit(self, symbol: str) -> Decimal:
        """The quantity unit of a symbol; of one that is no longer configured, the unit of its orders."""
        instrument = self._instruments.get(symbol)
        return Decimal(self._asked().units[symbol]) if instrument is None else instrument.quantity_unit


def _has_open(account: SimulatedAccount, symbol: str) -> bool:
    return any(record.order.symbol == symbol for record in account.open.values())


def _sorted_funding(
    instruments: Mapping[str, Instrument], funding: Mapping[str, Sequence[FundingRate]]
) -> list[tuple[int, int, float]]:
    """Return (time, index of the symbol, rate), ascending; raises ConfigurationError for what pays none, or twice."""
    symbols = list(instruments)
    found = []
    for symbol, rates in funding.items():
        if symbol not in instruments or (rates and instruments[symbol].kind != "perpetual"):
            raise ConfigurationError(f"{symbol} is no perpetual of this account and pays no funding")
        times = {payment.time_ms for payment in rates}
        if len(times) != len(rates):
            raise ConfigurationError(f"{symbol}: there are two funding rates for one time")
        found += [(payment.time_ms, symbols.index(symbol), payment.rate) for payment in rates]
    return sorted(found)
