"""The exchange port over ccxt: one code path for every exchange, with a dialect for what each has of its own.

Questions may be asked again, orders and cancels are sent once. What an answer means is decided in ``answers.py`` and
the dialects, how requests travel in ``connection.py``; here both are turned into the port's answers and errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError, DataError, ExchangeUnavailable
from trading_runtime.core.instruments import Instrument, split_symbol
from trading_runtime.core.state import Order
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.exchanges.answers import raise_refused
from trading_runtime.exchanges.binance import WINDOW_MS_MAX, Binance
from trading_runtime.exchanges.binance_savings import BinanceSavings
from trading_runtime.exchanges.bitfinex import Bitfinex
from trading_runtime.exchanges.ccxt_candles import Row, checked_rows, closed_bars
from trading_runtime.exchanges.ccxt_history import funding_since, trades_since
from trading_runtime.exchanges.ccxt_markets import MarketList
from trading_runtime.exchanges.ccxt_reports import report_of, report_of_ours, trades_of
from trading_runtime.exchanges.connection import Clock, Connection, Failure
from trading_runtime.exchanges.credentials import Credentials
from trading_runtime.exchanges.dialect import Dialect
from trading_runtime.exchanges.port import (
    Balance,
    Capabilities,
    FundingPayment,
    Interval,
    NotPlaced,
    OrderReport,
    Savings,
    Trade,
)

_DIALECTS: dict[str, type[Dialect]] = {"binance": Binance, "binanceusdm": Binance, "bitfinex": Bitfinex}
Result = TypeVar("Result")


class CcxtExchange:
    """An account at an exchange, of spot or of perpetuals: the kind of ``symbols``, all of one kind.

    ``exchange_id`` is ccxt's; ``binance`` with perpetuals is ``binanceusdm``. Without ``credentials`` public questions
    are answered and private ones raise ConfigurationError. ``base_url`` sends every request to another host.
    ``validity_window_ms`` is how old an order may arrive, where the exchange knows such a window.

    Raises ConfigurationError for an unknown exchange, mixed symbols, or perpetuals where they are not supported.
    """

    def __init__(
        self,
        exchange_id: str,
        symbols: Sequence[str],
        *,
        credentials: Credentials | None,
        sandbox: bool = False,
        base_url: str | None = None,
        validity_window_ms: int = 5000,
        timeout_seconds: float = 10.0,
        clock: Clock,
    ) -> None:
        kinds = {split_symbol(symbol)[2] for symbol in symbols}
        if len(kinds) != 1:
            raise ConfigurationError(f"{exchange_id}: name symbols of one kind, spot or perpetuals: each is an account")
        is_contract = kinds == {"perpetual"}
        if exchange_id == "binance" and is_contract:
            exchange_id = "binanceusdm"
        self._dialect = _DIALECTS.get(exchange_id, Dialect)(exchange_id, is_contract)
        if is_contract and not self._dialect.supports_contracts:
            raise ConfigurationError(f"{exchange_id}: perpetuals are not supported, only spot")
        if exchange_id == "binanceusdm" and not is_contract:
            raise ConfigurationError("binanceusdm has no spot markets: the exchange of spot is binance")
        if not 1 <= validity_window_ms <= WINDOW_MS_MAX:
            raise ConfigurationError(f"validity_window_ms must be 1 to {WINDOW_MS_MAX}, not {validity_window_ms}")
        self._is_contract = is_contract
        self._window_ms = validity_window_ms if self._dialect.has_validity_window else None
        self._connection = Connection(
            exchange_id,
            self._dialect.word,
            options=self._dialect.options(),
            credentials=credentials,
            sandbox=self._dialect.enter_sandbox if sandbox else None,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            burst_seconds=self._dialect.burst_seconds,
            clock=clock,
        )
        self._client = self._connection.client
        asks_for_fees = credentials is not None and not sandbox  # test systems do not tell them
        self._markets = MarketList(self._connection, self._dialect, symbols, asks_for_fees)
        has_savings = self._dialect.has_savings and "sapi" in self._client.urls["api"]
        self._savings = BinanceSavings(self._connection, self._window_ms) if has_savings else None

    def __repr__(self) -> str:
        return f"CcxtExchange({self.name!r}, {list(self._markets.symbols)!r})"

    def close(self) -> None:
        """Close the sockets that are held open."""
        self._connection.close()

    @property
    def warnings(self) -> list[str]:
        """What is not as good as it should be, since the instruments were last asked for."""
        return list(self._markets.warnings)

    @property
    def name(self) -> str:
        return self._connection.exchange_id

    @property
    def capabilities(self) -> Capabilities:
        """What the exchange can do; once its markets are known, only kinds that rest in all of them."""
        kinds = self._markets.kinds
        return Capabilities(self._window_ms, self._dialect.all_open_orders, kinds, self._is_contract, False)

    @property
    def savings(self) -> Savings | None:
        """Binance's Simple Earn for its spot accounts; a test network has none."""
        return self._savings

    # The feed

    def server_time_ms(self) -> int:
        return self._connection.server_time_ms()

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        close_ms = bucket_open_ms(self.server_time_ms(), timeframe_ms(timeframe))
        return None if after is not None and close_ms <= after else close_ms

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        return self.bars_over(symbol, timeframe, count, close_ms, ())

    def bars_over(self, symbol: str, timeframe: str, count: int, close_ms: int, still: Sequence[Interval]) -> Bars:
        """Return bars as ``port.StillFeed`` says."""
        self._markets.market(symbol)
        if timeframe not in (self._client.timeframes or {}):
            raise ConfigurationError(f"{self.name} has no {timeframe} bars")
        if self.server_time_ms() < close_ms:  # what the exchange shows of it by now is the forming bar
            raise DataError(f"{symbol} {timeframe}: the bar that closes at {iso_time(close_ms)} is not published yet")

        def page(since_ms: int, rows: int) -> list[Row]:
            def question() -> list[Row]:
                return checked_rows(self._client.fetch_ohlcv(symbol, timeframe, since_ms, rows))

            return self._connection.ask(f"{timeframe} bars of {symbol}", question)

        return closed_bars(symbol, timeframe, count, close_ms, self._dialect.rows_max, page, still)

    # Markets

    def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        return self._markets.instruments(symbols)

    def quote_price(self, asset: str, quote: str) -> float | None:
        if asset == quote:
            return 1.0
        if self._is_contract:
            return self._markets.last_price(f"{asset}/{quote}:{quote}")
        price = self._markets.last_price(f"{asset}/{quote}")
        if price is None:
            turned = self._markets.last_price(f"{quote}/{asset}")
            return None if turned is None else 1.0 / turned
        return price

    # The account

    def balances(self) -> Mapping[str, Balance]:
        def question() -> Mapping[str, Balance]:
            parsed = self._client.fetch_balance()
            return self._dialect.balances(parsed, self._client.currencies or {})

        return self._private("its balances", question)

    def key_rights(self) -> dict[str, bool | None]:
        """Return what the exchange tells of the key, see ``Dialect.key_rights``."""
        return self._private("the rights of the key", lambda: self._dialect.key_rights(self._client))

    def positions(self, symbols: Sequence[str]) -> Mapping[str, Decimal]:
        if not self._is_contract:
            return {}

        def question() -> Mapping[str, Decimal]:
            found: dict[str, Decimal] = {}
            for parsed in self._client.fetch_positions(list(symbols)):
                quantity = self._dialect.position(parsed)
                if quantity:
                    found[str(parsed["symbol"])] = quantity
            return found

        return self._private("its positions", question, symbols)

    def open_orders(self, symbols: Sequence[str]) -> list[OrderReport]:
        def question() -> list[OrderReport]:
            return [report_of(self._dialect, one) for one in self._dialect.open_orders(self._client, symbols)]

        return self._private("its open orders", question, symbols)

    def order(self, order: Order) -> OrderReport | None:
        self._connection.require_credentials()
        self._markets.load([order.symbol])

        def question() -> OrderReport | None:
            parsed = self._dialect.find(self._client, order)
            return None if parsed is None else report_of_ours(self._dialect, parsed, order)

        return self._connection.ask_for_order(f"order {order.order_id}", question)

    def trades(self, report: OrderReport) -> list[Trade]:
        if not report.filled and not self._dialect.has_trades(report):
            return []

        def question() -> list[Trade]:
            parsed = self._dialect.order_trades(self._client, report.exchange_order_id, report.symbol)
            return trades_of(self._dialect, parsed, report.client_order_id, report.symbol)

        trades = self._private(f"trades of order {report.exchange_order_id}", question, [report.symbol])
        window_ms = self._dialect.trade_window_ms
        is_old = window_ms is not None and self.server_time_ms() - report.time_ms > window_ms
        if is_old and sum((trade.quantity for trade in trades), Decimal(0)) < report.filled:
            # By order id an exchange may only look at its last days.
            trades = [
                trade._replace(client_order_id=report.client_order_id)
                for trade in self.trades_since(report.symbol, report.time_ms)
                if trade.exchange_order_id == report.exchange_order_id
            ]
        return trades

    def trades_since(self, symbol: str, since_ms: int) -> list[Trade]:
        self._connection.require_credentials()
        self._markets.load([symbol])
        return trades_since(self._connection, self._dialect, symbol, since_ms)

    def funding_since(self, symbol: str, since_ms: int) -> list[FundingPayment]:
        if not self._is_contract:
            return []
        self._connection.require_credentials()
        self._markets.load([symbol])
        return funding_since(self._connection, self._dialect, symbol, since_ms)

    # Orders

    def place(self, order: Order, stamp_ms: int) -> OrderReport:
        """Send one order, once. Raises NotPlaced, FateUnknown or ConfigurationError, never ExchangeUnavailable."""
        what = f"{order.symbol}: order {order.order_id}"
        self._connection.require_credentials()
        self._prepare(order, what)
        if order.kind != "market" and order.kind not in self.capabilities.kinds:
            # ccxt sends what it cannot express as the market order that is left of it.
            raise NotPlaced("rejected", f"{self.name}: {what}: a {order.kind} order cannot rest there")
        quantity, price, trouble_text = self._markets.texts(order)
        if trouble_text is not None:
            raise NotPlaced("filters", f"{self.name}: {what}: {trouble_text} is not on the steps of the market")
        parameters = self._dialect.order_parameters(order, price, stamp_ms, self._window_ms)
        kind = "limit" if order.kind == "limit" else "market"
        side = "buy" if order.side > 0 else "sell"
        limit = price if order.kind == "limit" else None
        wanted = self._dialect.client_id(order)

        def request() -> OrderReport:
            parsed = self._client.create_order(order.symbol, kind, side, quantity, limit, parameters)
            if str(parsed.get("clientOrderId")) != wanted:
                raise ValueError("the answer is about another order")
            return report_of_ours(self._dialect, parsed, order)

        try:
            return self._connection.send(request)
        except Failure as failure:
            trouble = failure.trouble
        raise_refused(self.name, what, trouble)

    def cancel(self, order: Order, stamp_ms: int) -> None:
        """Ask to end an order, once. A cancel that was certainly not accepted raises NotPlaced, too."""
        what = f"{order.symbol}: cancel of order {order.order_id}"
        self._connection.require_credentials()
        self._prepare(order, what)
        exchange_order_id = ""
        if not self._dialect.cancels_by_client_id:
            try:
                report = self.order(order)
            except ExchangeUnavailable as error:
                raise NotPlaced("unreachable", f"{what}: was not sent: {error}") from None
            if report is None or report.status != "open":
                return
            exchange_order_id = report.exchange_order_id
        try:
            self._connection.send(
                lambda: self._dialect.cancel(self._client, order, exchange_order_id, stamp_ms, self._window_ms)
            )
            return
        except Failure as failure:
            trouble = failure.trouble
        if trouble.word != "unknown_order":
            raise_refused(self.name, what, trouble)

    def _prepare(self, order: Order, what: str) -> None:
        """Have everything that an order needs: nothing else may be asked while it is sent."""
        try:
            self._markets.market(order.symbol)
            if self._window_ms is None:  # else the stamp was taken from the exchange's clock already
                self._connection.server_time_ms()
        except ExchangeUnavailable as error:
            raise NotPlaced("unreachable", f"{what}: was not sent: {error}") from None

    def _private(self, what: str, question: Callable[[], Result], symbols: Sequence[str] = ()) -> Result:
        """Ask with credentials, and with the markets that ccxt needs to read any answer."""
        self._connection.require_credentials()
        self._markets.load(symbols)
        return self._connection.ask_privately(what, question)
