"""A venue with markets, money and candles, and ways to open it: over HTTP through ccxt, or in process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import numpy as np
from venue.account import VenueAccount
from venue.binance_server import BinanceServer
from venue.bitfinex_server import BitfinexServer
from venue.clock import RealClock
from venue.faults import Faults
from venue.market import VenueMarket, make_markets
from venue.model import Venue
from venue.port import VenueExchange

from trading_runtime.core.bars import Bars
from trading_runtime.core.timeframes import HOUR_MS, bucket_open_ms
from trading_runtime.exchanges.ccxt_exchange import CcxtExchange
from trading_runtime.exchanges.credentials import Credentials
from trading_runtime.exchanges.port import Exchange

SPOT, PERPETUAL = "BTC/USDT", "BTC/USDT:USDT"
BARS = 600


class World:
    """One venue and its clock; ``offset_ms`` is how far the venue's clock is ahead of this computer's."""

    def __init__(self, *, offset_ms: int = 0, markets: list[VenueMarket] | None = None) -> None:
        self.clock = RealClock(offset_ms)
        self.account = VenueAccount(spot={"USDT": "100000", "BTC": "1", "SHIB": "100000000"}, futures={"USDT": "10000"})
        self.venue = Venue(self.clock.now_ms, markets or make_markets(), [self.account])
        self.faults = Faults()
        self.slot = bucket_open_ms(self.clock.now_ms(), HOUR_MS)
        for symbol, market in self.venue.markets.items():
            self.venue.set_bars(bars_of(symbol, self.slot, float(market.price)))

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.account.api_key, self.account.api_secret)

    @contextmanager
    def server(self) -> Iterator[BinanceServer]:
        with BinanceServer(self.venue, faults=self.faults, clock=self.clock) as server:
            yield server

    @contextmanager
    def bitfinex(self) -> Iterator[CcxtExchange]:
        with BitfinexServer(self.venue, faults=self.faults, clock=self.clock) as server:
            exchange = CcxtExchange(
                "bitfinex",
                [SPOT],
                base_url=server.url,
                credentials=self.credentials,
                clock=RealClock(),
                timeout_seconds=2.0,
            )
            yield exchange
            exchange.close()

    def over_ccxt(self, server: BinanceServer, symbol: str = SPOT, **settings: object) -> CcxtExchange:
        chosen = {"credentials": self.credentials, "clock": RealClock(), "timeout_seconds": 2.0, **settings}
        return CcxtExchange("binance", [symbol], base_url=server.url, **chosen)

    def in_process(self, symbol: str) -> Exchange:
        return VenueExchange(self.venue, self.faults, self.clock, is_perpetual=":" in symbol)


class VenueDriver:
    """Moves a venue's market."""

    def __init__(self, world: World, symbol: str) -> None:
        self._world = world
        self.symbol = symbol
        self.price = world.venue.markets[symbol].price
        self.quantity = Decimal("0.01")
        self.slot = world.slot
        self.refuses_open_ids = self.refuses_takers_at_once = world.venue.refuses_open_client_ids  # not Bitfinex

    def reach(self, price: Decimal) -> None:
        self._world.venue.set_price(self.symbol, price)


def bars_of(symbol: str, slot: int, price: float) -> Bars:
    """Return hourly candles up to ``slot`` and a few that are still to come."""
    step = np.arange(BARS + 3, dtype=np.float64)
    close = np.round(price * (1.0 + 0.001 * np.sin(step)), 8)
    opening = np.concatenate((close[:1], close[:-1]))
    return Bars(
        symbol,
        "1h",
        slot - BARS * HOUR_MS + HOUR_MS * np.arange(BARS + 3, dtype=np.int64),
        opening,
        np.maximum(opening, close),
        np.minimum(opening, close),
        close,
        10.0 + step,
    )
