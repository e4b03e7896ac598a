"""The Exchange port straight over the venue, without HTTP, on a virtual clock: for thousands of simulated cycles.

It keeps the port's contract as the adapter for real exchanges must, and is nowhere kinder: questions fail after their
retries, an order whose answer is missing raises FateUnknown, a request may arrive after its sender has given up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError, DataError, FateUnknown
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.state import Order
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.exchanges.ccxt_candles import Row, closed_bars
from trading_runtime.exchanges.port import (
    Balance,
    Capabilities,
    Exchange,
    FundingPayment,
    Interval,
    OrderReport,
    Savings,
    Trade,
)

from .clock import VenueClock, VirtualClock
from .faults import Faults
from .market import VenueMarket
from .model import Venue
from .orders import ZERO, VenueError, VenueOrder
from .port_savings import VenueSavings
from .port_words import instrument_of, new_order_of, raise_not_placed, report_of, trade_of
from .wire import Hook, NoAnswerError, Wire

__all__ = ["VenueExchange", "VirtualClock"]

_UNKNOWN_ORDER = -2013


class VenueExchange(Wire):
    """One process's connection to one account, of spot or of perpetuals; the way there is ``Wire``'s."""

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
        super().__init__(
            venue, faults, clock, account=account, validity_window_ms=validity_window_ms, timeout_ms=timeout_ms,
            latency_ms=latency_ms, before=before, after=after,
        )  # fmt: skip
        kinds = {market.is_perpetual for market in venue.markets.values()}
        self.is_perpetual = kinds == {True} if is_perpetual is None else is_perpetual
        self._capabilities = Capabilities(
            validity_window_ms, True, frozenset(("limit", "stop", "take_profit")), self.is_perpetual, False
        )

    @property
    def name(self) -> str:
        return "venue"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def savings(self) -> Savings | None:
        return None if self.is_perpetual else VenueSavings(self)

    # Questions

    def server_time_ms(self) -> int:
        return self.ask("time", "server_time_ms", self.venue.now_ms)

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        bar_ms = timeframe_ms(timeframe)
        close_ms = bucket_open_ms(self.ask("time", "newest_close", self.venue.now_ms), bar_ms)
        return None if after is not None and close_ms <= after else close_ms

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        return self.bars_over(symbol, timeframe, count, close_ms, ())

    def bars_over(self, symbol: str, timeframe: str, count: int, close_ms: int, still: Sequence[Interval]) -> Bars:
        return self.ask("bars", "bars", lambda: self._bars(symbol, timeframe, count, close_ms, still))

    def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        def answer() -> dict[str, Instrument]:
            for symbol in symbols:
                if symbol in self.venue.stopped:
                    raise ConfigurationError(f"the venue's {symbol} is not trading")
            return {symbol: instrument_of(self._market(symbol)) for symbol in symbols}

        return self.ask("markets", "instruments", answer)

    def balances(self) -> Mapping[str, Balance]:
        return self.ask("balances", "balances", self._balances)

    def positions(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        def answer() -> dict[str, Decimal]:
            held = self.venue.accounts[self.account].positions
            return {name: held[name].quantity for name in symbols if name in held and held[name].quantity}

        return self.ask("positions", "positions", answer)

    def open_orders(self, symbols: Sequence[str]) -> list[OrderReport]:
        def answer() -> list[OrderReport]:
            return [report_of(order) for order in self.venue.open_orders(self.account, is_perpetual=self.is_perpetual)]

        return self.ask("open_orders", "open_orders", answer)

    def order(self, order: Order) -> OrderReport | None:
        def answer() -> OrderReport:
            is_algo = self._is_algo(order)
            return report_of(self.venue.order(self.account, order.symbol, None, order.order_id, is_algo=is_algo))

        try:
            return self.ask("order", "order", answer, answers=frozenset((_UNKNOWN_ORDER,)))
        except VenueError:
            return None

    def trades(self, report: OrderReport) -> list[Trade]:
        def answer() -> list[Trade]:
            order_id = int(report.exchange_order_id)
            order = self.venue.accounts[self.account].by_order_id.get((report.symbol, order_id))
            if order is not None and order.spawned is not None:
                order_id = order.spawned.order_id
            return [trade_of(trade) for trade in self.venue.trades(self.account, report.symbol, order_id=order_id)]

        return self.ask("trades", "trades", answer)

    def trades_since(self, symbol: str, since_ms: int) -> list[Trade]:
        def answer() -> list[Trade]:
            return [trade_of(trade) for trade in self.venue.trades(self.account, symbol, since_ms=since_ms)]

        return self.ask("trades", "trades_since", answer)

    def funding_since(self, symbol: str, since_ms: int) -> list[FundingPayment]:
        def answer() -> list[FundingPayment]:
            return [
                FundingPayment(str(income.income_id), symbol, -income.amount, income.time_ms)
                for income in self.venue.accounts[self.account].incomes
                if income.symbol == symbol and income.time_ms >= since_ms
            ]

        return self.ask("trades", "funding_since", answer)

    def quote_price(self, asset: str, quote: str) -> float | None:
        def answer() -> float | None:
            market = self.venue.markets.get(f"{asset}/{quote}")
            return float(market.price) if market is not None else None

        return self.ask("markets", "quote_price", answer)

    # Orders: sent once, whatever happens

    def place(self, order: Order, stamp_ms: int) -> OrderReport:
        if self.before is not None:
            self.before("place")
        fate = self.faults.next("place")
        self._market(order.symbol)
        new = new_order_of(order, fate, is_perpetual=self.is_perpetual)

        def execute() -> VenueOrder:
            self.check_stamp(stamp_ms)
            return self.venue.place(self.account, new)

        try:
            report = report_of(self.send(fate, execute))
        except NoAnswerError:
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
            self.check_stamp(stamp_ms)
            return self.venue.cancel(self.account, order.symbol, None, order.order_id, is_algo=is_algo)

        try:
            self.send(self.faults.next("cancel"), execute)
        except NoAnswerError:
            raise FateUnknown(f"{order.symbol}: no answer to the cancel of order {order.order_id}") from None
        except VenueError as rejection:
            if rejection.code in (-2014, -2015, -1022):
                raise ConfigurationError(f"the venue refuses the credentials: {rejection.message}") from None
            if rejection.code != -2011:
                raise FateUnknown(f"{order.symbol}: cancel of order {order.order_id}: {rejection}") from None
        if self.after is not None:
            self.after("cancel")

    # Ours into theirs and back

    def _market(self, symbol: str) -> VenueMarket:
        market = self.venue.markets.get(symbol)
        if market is None or market.is_perpetual != self.is_perpetual:
            raise ConfigurationError(f"the venue has no {symbol}")
        return market

    def _is_algo(self, order: Order) -> bool:
        return self.is_perpetual and order.kind in ("stop", "take_profit")

    def _balances(self) -> dict[str, Balance]:
        self.venue.savings.settle(self.account)
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

    def _bars(self, symbol: str, timeframe: str, count: int, close_ms: int, still: Sequence[Interval]) -> Bars:
        bars = self.venue.bars.get((symbol, timeframe))
        if bars is None:
            raise ConfigurationError(f"the venue has no {timeframe} candles of {symbol}")
        end = (close_ms - int(bars.open_time[0])) // bars.bar_ms
        is_closed = close_ms + self.venue.bars_delay_ms <= self.venue.now_ms()
        if end < 1 or end > len(bars) or not is_closed or int(bars.open_time[end - 1]) + bars.bar_ms != close_ms:
            raise DataError(f"{symbol} {timeframe}: the bar that closes at {iso_time(close_ms)} is not published yet")
        holes = self.venue.holes.get(symbol)
        if not holes:
            return bars.slice(max(end - count, 0), end)

        def page(since_ms: int, wanted: int) -> list[Row]:
            columns = (bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume)
            rows: list[Row] = list(zip(*(column[:end].tolist() for column in columns), strict=True))
            return [row for row in rows if row[0] >= since_ms and row[0] not in holes][:wanted]

        return closed_bars(symbol, timeframe, count, close_ms, 1_000, page, still)


_checked: type[Exchange] = VenueExchange  # for the type checker: nothing of the port is missing
