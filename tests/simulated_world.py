"""The simulated exchange with a market that a test moves bar by bar."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from ccxt_world import BARS, bars_of

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import DataError
from trading_runtime.core.fills import Execution
from trading_runtime.core.instruments import Instrument, make_rules, split_symbol
from trading_runtime.core.timeframes import HOUR_MS
from trading_runtime.exchanges.port import Exchange
from trading_runtime.exchanges.simulated import SimulatedExchange
from trading_runtime.stores.memory import MemoryDocuments

UNIT = Decimal("0.00000001")


class GrowingFeed:
    """Closed bars of one symbol, to which more can be added."""

    name = "growing bars"

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @property
    def newest_ms(self) -> int:
        return int(self._bars.close_time[-1])

    @property
    def last_price(self) -> float:
        return float(self._bars.close[-1])

    def append(self, price: float) -> None:
        """Add a bar that opens where the last one closed and trades straight to ``price``."""
        bars, opening = self._bars, self.last_price
        row = (opening, max(opening, price), min(opening, price), price, 100.0)
        columns = [np.append(getattr(bars, name), value) for name, value in zip(FIELDS, row, strict=True)]
        self._bars = Bars(bars.symbol, bars.timeframe, np.append(bars.open_time, self.newest_ms), *columns)

    def server_time_ms(self) -> int:
        return self.newest_ms + 1000

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        return None if after is not None and self.newest_ms <= after else self.newest_ms

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        stop = (close_ms - int(self._bars.open_time[0])) // HOUR_MS
        if (symbol, timeframe) != (self._bars.symbol, "1h") or not 0 < stop <= len(self._bars):
            raise DataError(f"{symbol} {timeframe}: the bar that closes at {close_ms} ms is not published yet")
        return self._bars.slice(max(stop - count, 0), stop)


class SimulatedDriver:
    """Moves the simulated exchange by one bar at a time."""

    refuses_open_ids = True
    refuses_takers_at_once = False

    def __init__(self, symbol: str) -> None:
        base, quote, kind = split_symbol(symbol)
        rules = make_rules(quantity_unit=UNIT, quote_unit=UNIT, tick="0.01", lot="0.00001", taker_fee_rate=0.001)
        self.symbol = symbol
        self.slot = 1_700_000_000_000 // HOUR_MS * HOUR_MS
        self.feed = GrowingFeed(bars_of(symbol, self.slot, 50000.0).slice(0, BARS))
        self.feed.append(50000.0)
        self.slot = self.feed.newest_ms
        self.price = Decimal(str(self.feed.last_price))
        self.quantity = Decimal("0.01")
        self._exchange = SimulatedExchange(
            self.feed,
            MemoryDocuments(),
            "contract",
            "test",
            {symbol: Instrument(symbol, kind, base, quote, UNIT, UNIT, (rules,))},
            Execution(),
            100_000 * 10**8,
            timeframe="1h",
        )
        self._exchange.advance_to(self.slot)

    @property
    def exchange(self) -> Exchange:
        return self._exchange

    def reach(self, price: Decimal) -> None:
        self.feed.append(float(price))
        self._exchange.advance_to(self.feed.newest_ms)
