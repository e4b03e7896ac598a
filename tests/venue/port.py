"""The Exchange port straight over the venue, without HTTP, on a virtual clock: for thousands of simulated cycles.

It keeps the port's contract as the adapter for real exchanges must, and is nowhere kinder: questions fail after their
retries, an order whose answer is missing raises FateUnknown, a request may arrive after its sender has given up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError, DataError, ExchangeUnavailable, FateUnknown
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.state import Order
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.exchanges.port import (
    Balance,
    Capabilities,
    Exchange,
    FundingPayment,
    OrderReport,
    Trade,
)

from .clock import VenueClock, VirtualClock
from .faults import OK, Fate, Faults
from .market import VenueMarket
from .model import Venue
from .orders import ZERO, VenueError, VenueOrder
from .port_words import instrument_of, new_order_of, raise_not_placed, report_of, trade_of

__all__ = ["VenueExchange", "VirtualClock"]

Answer = TypeVar("Answer")
Hook = Callable[[str], None]

# A request may be that much ahead of the server (Binance, "Timing security").
AHEAD_MS_MAX = 1000
WINDOW_MS_MAX = 60_000
ATTEMPTS_MAX = 3
_PAUSE_SECONDS = 0.5
_UNKNOWN_ORDER = -2013


class _NoAnswerError(Exception):
    """The client has waited as long as it does."""


class VenueExchange:
    """One process's connection to one account, of spot or of perpetuals.

    timeout_ms   how long the client waits for an answer; lost requests and answers cost it that much time
    latency_ms   there and back, half each way
    before       called with the name of a call before it sends anything, ``after`` when its answer is there: either may
                 raise, as a crash at that point, or run another process
    """

    def __init__(
        self,
        venue: Venue,
        faults: Faults | None,
        clock: VenueClock,
        *,
        account: str = "main",
        is_perpetual: bool | None = None,
        validity_window_ms: int = 5000,
        timeout_ms: int = 1000,
        latency_ms: int = 0,
        before: Hook | None = None,
        after: Hook | None = None,
    ) -> None:
        self.venue = venue
        self.faults = faults or Faults()
        self.clock = clock
        self.account = account
        kinds = {market.is_perpetual for market in venue.markets.values()}
        self.is_perpetual = kinds == {True} if is_perpetual is None else is_perpetual
        self.validity_window_ms = validity_window_ms
        self.timeout_ms = timeout_ms
        self.latency_ms = latency_ms
        self.before = before
        self.after = after
        self._capabilities = Capabilities(
            validity_window_ms, True, frozenset(("limit", "stop", "take_profit")), self.is_perpetual, False
        )

    @property
    def name(self) -> str:
        return "venue"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    # Questions

    def server_time_ms(self) -> int:
        return self._ask("time", "server_time_ms", self.venue.now_ms)

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        bar_ms = timeframe_ms(timeframe)
        close_ms = bucket_open_ms(self._ask("time", "newest_close", self.venue.now_ms), bar_ms)
        return None if after is not None and close_ms <= after else close_ms

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        return self._ask("bars", "bars", lambda: self._bars(symbol, timeframe, count, close_ms))

    def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        def answer() -> dict[str, Instrument]:
            return {symbol: instrument_of(self._market(symbol)) for symbol in symbols}

        return self._ask("markets", "instruments", answer)

    def balances(self) -> Mapping[str, Balance]:
        return self._ask("balances", "balances", self._balances)

    def positions(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        def answer() -> dict[str, Decimal]:
            held = self.venue.accounts[self.account].positions
            return {name: held[name].quantity for name in symbols if name in held and held[name].quantity}

        return self._ask("positions", "positions", answer)

    def open_orders(self, symbols: Sequence[str]) -> list[OrderReport]:
        def answer() -> list[OrderReport]:
            return [report_of(order) for order in self.venue.open_orders(self.account, is_perpetual=self.is_perpetual)]

        return self._ask("open_orders", "open_orders", answer)

    def order(self, order: Order) -> OrderReport | None:
        def answer() -> OrderReport:
            is_algo = self._is_algo(order)
            return report_of(self.venue.order(self.account, order.symbol, None, order.order_id, is_algo=is_algo))

        try:
            return self._ask("order", "order", answer, answers=frozenset((_UNKNOWN_ORDER,)))
        except VenueError:
            return None

    def trades(self, report: OrderReport) -> list[Trade]:
        def answer() -> list[Trade]:
            order_id = int(report.exchange_order_id)
            order = self.venue.accounts[self.account].by_order_id.get((report.symbol, order_id))
            if order is not None and order.spawned is not None:
                order_id = order.spawned.order_id
            return [trade_of(trade) for trade in self.venue.trades(self.account, report.symbol, order_id=order_id)]

        return self._ask("trades", "trades", answer)

    def trades_since(self, symbol: str, since_ms: int) -> list[Trade]:
        def answer() -> list[Trade]:
            return [trade_of(trade) for trade in self.venue.trades(self.account, symbol, since_ms=since_ms)]

        return self._ask("trades", "trades_since", answer)

    def funding_since(self, symbol: str, since_ms: int) -> list[FundingPayment]:
        def answer() -> list[FundingPayment]:
            return [
                FundingPayment(str(income.income_id), symbol, -income.amount, income.time_ms)
                for income in self.venue.accounts[self.account].incomes
                if income.symbol == symbol and income.time_ms >= since_ms
            ]

        return self._ask("trades", "funding_since", answer)

    def quote_price(self, asset: str, quote: str) -> float | None:
        def answer() -> float | None:
            market = self.venue.markets.get(f"{asset}/{quote}")
            return float(market.price) if market is not None else None

        return self._ask("markets", "quote_price", answer)

    # Orders: sent once, whatever happens

    def place(self, order: Order, stamp_ms: int) -> OrderReport:
        if self.before is not None:
            self.before("place")
        fate = self.faults.next("place")
        self._market(order.symbol)
        new = new_order_of(order, fate, is_perpetual=self.is_perpetual)

        def execute() -> VenueOrder:
            self._check_stamp(stamp_ms)
            return self.venue.place(self.account, new)

        try:
            report = report_of(self._send(fate, execute))
        except _NoAnswerError:
            raise FateUnknown(f"{order.symbol}: no answer to order {order.order_id}") from None
        except VenueError as rejection:
            raise_not_placed(rejection, order)
        if self.after is not None:
            self.after("place")
        return report

    def cancel(self, order: Order, stamp_ms: int) -> None:
        if self.before is not None:
            self.before("cancel")
        is_algo = self._is_algo(order)

        def execute() -> VenueOrder:
            self._check_stamp(stamp_ms)
            return self.venue.cancel(self.account, order.symbol, None, order.order_id, is_algo=is_algo)

        try:
            self._send(self.faults.next("cancel"), execute)
        except _NoAnswerError:
            raise FateUnknown(f"{order.symbol}: no answer to the cancel of order {order.order_id}") from None
        except VenueError as rejection:
            if rejection.code in (-2014, -2015, -1022):
                raise ConfigurationError(f"the venue refuses the credentials: {rejection.message}") from None
            if rejection.code != -2011:
                raise FateUnknown(f"{order.symbol}: cancel of order {order.order_id}: {rejection}") from None
        if self.after is not None:
            self.after("cancel")

    # The way there and back

    def _send(self, fate: Fate, execute: Callable[[], Answer]) -> Answer:
        """Return the answer as the client sees it; raises _NoAnswerError, or VenueError."""
        if self.latency_ms:
            self.clock.sleep(self.latency_ms / 2000.0)
        if fate is OK or fate.way == "ok":
            answer = execute()
        elif fate.way == "slow_answer" and fate.delay_ms < self.timeout_ms:
            answer = execute()
            self.clock.sleep(fate.delay_ms / 1000.0)
        elif fate.way == "error":
            if fate.executed:
                self._quietly(execute)
            raise VenueError(fate.code, fate.message, fate.status, fate.retry_seconds)
        else:
            if fate.way in ("lost_answer", "slow_answer"):
                self._quietly(execute)
            elif fate.way == "late_request":
                self.clock.at(self.clock.now_ms() + fate.delay_ms, lambda: self._quietly(execute))
            self.clock.sleep(self.timeout_ms / 1000.0)
            raise _NoAnswerError
        if self.latency_ms:
            self.clock.sleep(self.latency_ms / 2000.0)
        return answer

    @staticmethod
    def _quietly(execute: Callable[[], object]) -> None:
        """Do what arrived; its refusal is an answer that nobody gets."""
        try:
            execute()
        except VenueError:
            return

    def _ask(
        self, kind: str, call: str, execute: Callable[[], Answer], *, answers: frozenset[int] = frozenset()
    ) -> Answer:
        """Return the answer, asked for a few times; raises VenueError for a code that is an answer too."""
        if self.before is not None:
            self.before(call)
        problem = "no answer"
        for attempt in range(ATTEMPTS_MAX):
            wait_seconds = _PAUSE_SECONDS * 2**attempt
            try:
                answer = self._send(self.faults.next(kind), execute)
            except _NoAnswerError:
                problem = "no answer"
            except VenueError as rejection:
                if rejection.code in answers:
                    if self.after is not None:
                        self.after(call)
                    raise
                if rejection.code in (-2014, -2015, -1022, -1121):
                    raise ConfigurationError(f"the venue refuses {call}: {rejection.message}") from None
                problem = f"{rejection.status} {rejection}"
                wait_seconds = max(wait_seconds, rejection.retry_seconds or 0)
            else:
                if self.after is not None:
                    self.after(call)
                return answer
            if attempt + 1 < ATTEMPTS_MAX:
                self.clock.sleep(wait_seconds)
        raise ExchangeUnavailable(f"the venue did not answer {call} in {ATTEMPTS_MAX} attempts: {problem}")

    def _check_stamp(self, stamp_ms: int) -> None:
        """Binance's rule of timestamp and recvWindow, by the venue's clock at the moment of arrival."""
        now = self.venue.now_ms()
        if not (stamp_ms < now + AHEAD_MS_MAX and now - stamp_ms <= self.validity_window_ms):
            raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")

    # Ours into theirs and back

    def _market(self, symbol: str) -> VenueMarket:
        market = self.venue.markets.get(symbol)
        if market is None or market.is_perpetual != self.is_perpetual:
            raise ConfigurationError(f"the venue has no {symbol}")
        return market

    def _is_algo(self, order: Order) -> bool:
        return self.is_perpetual and order.kind in ("stop", "take_profit")

    def _balances(self) -> dict[str, Balance]:
        account = self.venue.accounts[self.account]
        if self.is_perpetual:
            free = max(self.venue.futures_free(account), ZERO)
            return {asset: Balance(min(free, total), total) for asset, total in account.wallet.items() if total}
        found = {}
        for asset, free in account.free.items():
            total = free + account.locked.get(asset, ZERO)
            if total:
                found[asset] = Balance(free, total)
        return found

    def _bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        bars = self.venue.bars.get((symbol, timeframe))
        if bars is None:
            raise ConfigurationError(f"the venue has no {timeframe} candles of {symbol}")
        end = (close_ms - int(bars.open_time[0])) // bars.bar_ms
        is_closed = close_ms + self.venue.bars_delay_ms <= self.venue.now_ms()
        if end < 1 or end > len(bars) or not is_closed or int(bars.open_time[end - 1]) + bars.bar_ms != close_ms:
            raise DataError(f"{symbol} {timeframe}: the bar that closes at {iso_time(close_ms)} is not published yet")
        return bars.slice(max(end - count, 0), end)


_checked: type[Exchange] = VenueExchange  # for the type checker: nothing of the port is missing
