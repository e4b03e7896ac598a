"""The markets of one exchange: loaded once and whenever instruments are asked for, with filters, fees and prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable, nearest_name
from trading_runtime.core.instruments import Instrument, decimal_text, split_symbol
from trading_runtime.core.state import Order
from trading_runtime.exchanges.ccxt_instruments import instrument_of
from trading_runtime.exchanges.connection import Connection
from trading_runtime.exchanges.dialect import Dialect
from trading_runtime.exchanges.structures import decimal_of, required

_NO_SUCH_SYMBOL = "-1121"
# How long a symbol that an exchange does not have is not asked for again: it would spoil the question for all others.
UNKNOWN_MS = 10 * 60 * 1000


class MarketList:
    """What an exchange lets one trade, as ccxt tells it. ``symbols`` are those that are traded here; more are added as
    they are asked for.

    asks_for_fees   whether the account's own fees can be asked for; else the usual ones are taken, with a warning
    warnings        what is not as good as it should be
    """

    def __init__(self, connection: Connection, dialect: Dialect, symbols: Sequence[str], asks_for_fees: bool) -> None:
        self.symbols = tuple(dict.fromkeys(symbols))
        self.warnings: list[str] = []
        self._connection = connection
        self._dialect = dialect
        self._client = connection.client
        self._asks_for_fees = asks_for_fees
        self._are_loaded = False
        self._unknown: dict[str, int] = {}
        self._instruments: dict[str, Instrument] = {}
        self._client.has["fetchCurrencies"] = False  # networks and deposits: private questions that nothing here needs

    def load(self, symbols: Sequence[str] = (), *, again: bool = False) -> None:
        """Have the markets of all symbols named so far, but of those that the exchange said it does not have; raises
        ExchangeUnavailable.
        """
        missing = [symbol for symbol in symbols if symbol not in self.symbols]
        if self._are_loaded and not again and not missing:
            return
        self.symbols += tuple(dict.fromkeys(missing))
        now_ms = self._connection.clock.now_ms()
        self._unknown = {symbol: since for symbol, since in self._unknown.items() if now_ms - since < UNKNOWN_MS}
        known = [symbol for symbol in self.symbols if symbol not in self._unknown]
        parameters = self._dialect.market_parameters(known) if known else {}
        try:
            self._connection.ask("its markets", partial(self._client.load_markets, True, parameters))
        except ExchangeUnavailable as error:
            if not parameters or _NO_SUCH_SYMBOL not in str(error):
                raise
            # One symbol it does not know spoils the question for all: the whole list tells which one.
            self._connection.ask("its markets", partial(self._client.load_markets, True))
            self._unknown |= {symbol: now_ms for symbol in known if symbol not in self._client.markets}
        self._are_loaded = True

    def market(self, symbol: str) -> Mapping[str, Any]:
        """Return a market; raises ConfigurationError, with the nearest name, for one that is not traded."""
        self.load([symbol])
        market: Mapping[str, Any] | None = self._client.markets.get(symbol)
        where = self._connection.exchange_id
        if market is None:
            near = nearest_name(symbol, list(self._client.markets))
            raise ConfigurationError(f"{where} has no {symbol}{f'; did you mean {near}?' if near else ''}")
        if split_symbol(symbol)[2] == "perpetual" and not (market.get("swap") and market.get("linear")):
            raise ConfigurationError(f"{where}: {symbol} is not a perpetual settled in its quote")
        return market

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of orders that may rest in all markets; before they are loaded, what the exchange knows at all."""
        kinds = self._dialect.kinds
        if self._are_loaded:
            for symbol in self.symbols:
                kinds &= self._dialect.kinds_of(self._client.markets.get(symbol) or {})
        return kinds

    def instruments(self, symbols: Sequence[str]) -> Mapping[str, Instrument]:
        """Return filters and fees as they are now; raises ConfigurationError when one of the symbols is not traded."""
        now_ms = self._connection.clock.now_ms()
        if all(now_ms - self._unknown.get(symbol, -UNKNOWN_MS) >= UNKNOWN_MS for symbol in symbols):
            self.load(symbols, again=True)
        self.warnings = []
        found = {}
        for symbol in symbols:
            self.market(symbol)  # before fees are asked for: all of them, or none
        for symbol in symbols:
            maker, taker = self._fee_rates(symbol)
            found[symbol] = self._instrument(symbol, maker, taker)
        self._instruments |= found
        return found

    def last_price(self, symbol: str) -> float | None:
        """Return the price of the last trade, None when there is no such market."""
        self.load()
        question = partial(self._dialect.last_price, self._client, symbol)
        return self._connection.ask(f"the price of {symbol}", question)

    def texts(self, order: Order) -> tuple[str | None, str | None, str | None]:
        """Return (quantity, price, trouble): exact decimals, and the one of them that ccxt would change.

        ccxt cuts quantities and rounds prices to a market's steps without a word.
        """
        instrument = self._instruments.get(order.symbol) or self._instrument(order.symbol, 0.0, 0.0)
        quantity = instrument.quantity_text(order.quantity)
        price = None if order.price is None else decimal_text(Decimal(repr(float(order.price))))
        written = [(quantity, self._client.amount_to_precision)]
        if price is not None:
            written.append((price, self._client.price_to_precision))
        for text, write in written:
            sent, _ = self._connection.attempt(partial(write, order.symbol, text))
            if sent is None or decimal_of(sent) != Decimal(text):
                return quantity, price, text
        return quantity, price, None

    def _instrument(self, symbol: str, maker_fee_rate: float, taker_fee_rate: float) -> Instrument:
        market = self.market(symbol)

        def question() -> Instrument:
            return instrument_of(
                market,
                tick=self._dialect.tick(self._client, market),
                lot=self._dialect.lot(self._client, market),
                maker_fee_rate=maker_fee_rate,
                taker_fee_rate=taker_fee_rate,
                where=self._connection.exchange_id,
            )

        return self._connection.ask(f"the filters of {symbol}", question)

    def _fee_rates(self, symbol: str) -> tuple[float, float]:
        """Return maker and taker rates: the account's own, or the exchange's usual ones with a warning."""
        market, connection, client = self.market(symbol), self._connection, self._client
        if self._asks_for_fees and connection.has("fetchTradingFee"):
            return connection.ask_privately(f"the fees of {symbol}", lambda: _rates(client.fetch_trading_fee(symbol)))
        if self._asks_for_fees and connection.has("fetchTradingFees"):
            return connection.ask_privately("its fees", lambda: _rates(client.fetch_trading_fees()[symbol]))
        self.warnings.append(
            f"{connection.exchange_id}: {symbol}: fees are the exchange's usual ones, not the account's"
        )
        return connection.ask(f"the fees of {symbol}", lambda: _rates(market))


def _rates(fees: Mapping[str, Any]) -> tuple[float, float]:
    return float(required(fees, "maker")), float(required(fees, "taker"))
