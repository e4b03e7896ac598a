"""A world for cycles: a venue with candles, a store, a virtual clock, and processes that run cycles in it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from venue.account import VenueAccount
from venue.clock import VirtualClock
from venue.faults import Faults
from venue.market import VenueMarket
from venue.model import Venue
from venue.port import VenueExchange
from venue.savings import VenueProduct, total_of

from trading_runtime.artifacts.ladder import Ladder
from trading_runtime.artifacts.payload import PayloadRules
from trading_runtime.core.bars import Bars
from trading_runtime.core.intents import close, limit, market, stop, take_profit, target
from trading_runtime.core.strategy import Inputs, Permissions, Proposal, Strategy
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.account import Account, account_from_json
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.keeper import Stores
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.run import run_cycle
from trading_runtime.source import strategy_code_hash
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.journal import Journal
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.published import DocumentsPublished, publish
from trading_runtime.stores.state_store import StateStore
from trading_runtime.telemetry.log import EventLog

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
SYMBOL = "BTC/USDT"
UNIT = 10**8
# Where upstream publishes, and the first prices of a world's symbols in their order.
COLLECTION, DOCUMENT = "strategy", "CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL"
PRICES = (30_000.0, 2_000.0, 100.0, 60.0, 400.0, 250.0, 80.0, 120.0)

_QUIET = EventLog(level="off")


class Alternate(Strategy):
    """Buys at even hours, closes at odd ones: an order at every slot."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        hour = inputs.as_of // HOUR_MS
        count = inputs.state.get("count", 0) + 1
        if inputs.position > 0.0:
            return Proposal([close(inputs.symbol, reason="odd")], state={"count": count})
        if hour % 2 == 0:
            return Proposal([target(inputs.symbol, 0.5, reason="even")], state={"count": count})
        return None


class Bracket(Strategy):
    """Buys with a stop and a take-profit whenever it holds nothing."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.position > 0.0 or inputs.orders:
            return None
        price = inputs.price
        return Proposal(
            [
                market(inputs.symbol, "buy", notional=1000.0, leg="entry"),
                stop(inputs.symbol, "sell", price * 0.97, close_fraction=1.0, parent="entry"),
                take_profit(inputs.symbol, "sell", price * 1.03, close_fraction=1.0, parent="entry"),
            ]
        )


class Resting(Strategy):
    """Keeps a bid below the market that becomes a market order after two bars, and sells what it has above."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        open_legs = {order.leg for order in inputs.orders}
        intents = []
        if inputs.position == 0.0 and "bid" not in open_legs:
            intents.append(
                limit(
                    inputs.symbol,
                    "buy",
                    inputs.price * 0.99,
                    notional=800.0,
                    bars_max=2,
                    fallback=("timeout",),
                    leg="bid",
                )
            )
        if inputs.position > 0.0 and "offer" not in open_legs:
            intents.append(
                limit(inputs.symbol, "sell", inputs.price * 1.01, close_fraction=1.0, leg="offer", bars_max=3)
            )
        return Proposal(intents) if intents else None


@lru_cache(maxsize=64)
def walk_bars(
    symbol: str = SYMBOL,
    count: int = 200,
    seed: int = 7,
    start: float = 30_000.0,
    fall: tuple[int, float] | None = None,
) -> Bars:
    """Candles from 50 hours before START_MS on; ``fall`` is an hour after it and the factor of all prices from its
    close on.
    """
    random = Random(f"walk {seed}")
    closes = [start]
    for _ in range(count):
        closes.append(round(closes[-1] * (1.0 + (random.random() - 0.5) * 0.02), 2))
    if fall is not None:
        first = 50 + fall[0]
        closes[first:] = [round(close * fall[1], 2) for close in closes[first:]]
    opens, ends = np.array(closes[:-1]), np.array(closes[1:])
    high = np.round(np.maximum(opens, ends) * 1.004, 2)
    low = np.round(np.minimum(opens, ends) * 0.996, 2)
    times = START_MS - 50 * HOUR_MS + np.arange(count, dtype=np.int64) * HOUR_MS
    return Bars(symbol, "1h", times, opens, high, low, ends, np.full(count, 1000.0))


@lru_cache(maxsize=64)
def _identity(kind: Any) -> dict[str, Any]:
    described = {
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "parameters": kind().params.to_json(),
        "code_hash": strategy_code_hash(kind),
    }
    return {"commit": "0" * 40, "config_hash": "c", "strategy": described}


class World:
    """One venue, one store, one clock, as many processes as wanted.

    others       symbols that have a market beside ``symbol``; ``configured`` are those of the settings, by default all
    falls        symbol -> hour after START_MS and the factor of all its prices from that hour's close on
    stops        symbol -> hours after START_MS at which its market stops and trades again; without candles between
    savings      quote money that is in the flexible product already, None: there is no product; ``savings_rate`` a year
    job_options  what every job has beyond the usual
    pool         what is published at the beginning, by official names; None: the strategy consumes no publication
    columns      the columns of a slot, in place of computed ones
    """

    def __init__(
        self,
        *,
        strategy: type[Strategy] = Alternate,
        documents: Documents | None = None,
        symbol: str = SYMBOL,
        others: tuple[str, ...] = (),
        cash: str = "100000",
        free: dict[str, str] | None = None,
        seed: int = 7,
        pays_in_bnb: bool = False,
        venue_options: dict[str, Any] | None = None,
        configured: tuple[str, ...] | None = None,
        bars_count: int = 200,
        falls: Mapping[str, tuple[int, float]] | None = None,
        stops: Mapping[str, tuple[int, int]] | None = None,
        savings: str | None = None,
        savings_rate: str = "0",
        job_options: Mapping[str, Any] | None = None,
        pool: Sequence[str] | None = None,
        pool_rules: PayloadRules | None = None,
        pool_days_max: int = 90,
        columns: Callable[[World, int], Mapping[str, Any]] | None = None,
    ) -> None:
        self.symbol = symbol
        self.symbols = (symbol, *others)
        self.configured = self.symbols if configured is None else configured
        self.clock = VirtualClock(START_MS + 2_000)
        self.all_bars = {
            name: walk_bars(name, bars_count, seed + number, PRICES[number], (falls or {}).get(name))
            for number, name in enumerate(self.symbols)
        }
        self.bars = self.all_bars[symbol]
        markets = [VenueMarket(name, self._price_at(START_MS, name), **(venue_options or {})) for name in self.symbols]
        self.market = markets[0]
        quote = self.market.quote
        if self.market.is_perpetual:
            self.account = VenueAccount("main", pays_fees_in_bnb=pays_in_bnb, futures={quote: cash})
        else:
            spot = {quote: cash, **({"BNB": "10"} if pays_in_bnb else {}), **(free or {})}
            self.account = VenueAccount("main", pays_fees_in_bnb=pays_in_bnb, spot=spot)
            if pays_in_bnb and f"BNB/{quote}" not in self.symbols:
                markets.append(VenueMarket(f"BNB/{quote}", "500"))
        self.venue = Venue(self.clock.now_ms, markets, [self.account])
        for bars in self.all_bars.values():
            self.venue.set_bars(bars)
        self.stops = dict(stops or {})
        for name, hours in self.stops.items():
            self.venue.holes[name] = {START_MS + hour * HOUR_MS for hour in range(*hours)}
        self.documents: Documents = documents if documents is not None else MemoryDocuments()
        self.strategy = strategy
        self.start_cash = 50_000 * UNIT
        self.job_options = dict(job_options or {})
        self.columns, self.pool_rules, self.pool_days_max = columns, pool_rules, pool_days_max
        if savings is not None:
            self.venue.savings.offer(VenueProduct(quote, yearly_rate=savings_rate))
            if Decimal(savings):
                self.account.free[quote] += Decimal(savings)
                self.venue.savings.move("main", "subscribe", f"{quote}001", Decimal(savings))
                self.account.earn_records.clear()
                self.account.earned_at.clear()
        if self.job_options.get("has_all_funds"):
            self.start_cash = self.money()
        if pool is not None:
            self.pool_rules = pool_rules or PayloadRules(expected_size=len(pool))
            self.publish(pool)

    def publish(self, symbols: Sequence[str], *, as_of_date: str | None = None, **fields: Any) -> None:
        """Let upstream publish a pool of these official symbols, by default of today."""
        date = iso_time(self.clock.now_ms())[:10] if as_of_date is None else as_of_date
        payload = {
            "as_of_date": date, "version": f"{date}-core_major", "mode": "core_major", "pool_size": len(symbols),
            "symbols": list(symbols), "source_project": "upstream", **fields,
        }  # fmt: skip
        publish(self.documents, COLLECTION, DOCUMENT, json.dumps(payload).encode())

    def copy(self) -> World:
        """Another world in the same state, sharing nothing that changes; only where the documents are in memory and
        nothing is due at the clock.
        """
        assert isinstance(self.documents, MemoryDocuments)
        other = copy(self)
        self.venue.bars, bars = {}, self.venue.bars
        other.clock, other.account, other.venue = pickle.loads(pickle.dumps((self.clock, self.account, self.venue)))
        self.venue.bars, other.venue.bars = bars, bars
        other.market = other.venue.markets[self.symbol]
        other.documents = MemoryDocuments()
        kept = {name: value for name, value in vars(self.documents).items() if name != "_lock"}
        vars(other.documents).update(pickle.loads(pickle.dumps(kept)))
        return other

    def _price_at(self, time_ms: int, symbol: str | None = None) -> str:
        bars = self.bars if symbol is None else self.all_bars[symbol]
        row = (time_ms - int(bars.open_time[0])) // HOUR_MS - 1
        return repr(float(bars.close[row]))

    def to_slot(self, slot: int, *, seconds: float = 2.0) -> None:
        """Move to ``slot``: the bar's path reaches resting orders, then its close is the price."""
        self.clock.advance_to(slot - 1_000)
        hour = (slot - START_MS) // HOUR_MS
        self.venue.stopped -= {name for name, (_, end) in self.stops.items() if hour >= end}
        for symbol, bars in self.all_bars.items():
            row = (slot - int(bars.open_time[0])) // HOUR_MS - 1
            for price in (bars.low[row], bars.high[row], bars.close[row]):
                self.venue.set_price(symbol, repr(float(price)))
        self.venue.stopped |= {name for name, (start, end) in self.stops.items() if start <= hour < end}
        self.clock.advance_to(slot + round(seconds * 1000))

    def exchange(self, faults: Faults | None = None, **options: Any) -> VenueExchange:
        return VenueExchange(self.venue, faults, self.clock, **options)

    def job(
        self,
        *,
        holder: str = "one",
        exchange: Any = None,
        documents: Documents | None = None,
        wrap: Callable[[Documents], Documents] | None = None,
        mode: str = "live",
        lease_seconds: float = 60.0,
        clock: Any = None,
        **options: Any,
    ) -> Job:
        kept = documents if documents is not None else self.documents
        if wrap is not None:
            kept = wrap(kept)
        name = self.strategy.__qualname__
        stores = Stores(
            StateStore(kept, "main", name),
            Journal(kept, "main", name),
            Lease(kept, f"main.{name}", holder, lease_seconds),
        )
        return Job(
            mode=mode,
            account="main",
            strategy=self.strategy(),
            symbols=self.configured,
            timeframe="1h",
            start_cash=self.start_cash,
            exchange=exchange if exchange is not None else self.exchange(),
            stores=stores,
            control=Control(kept, "main"),
            clock=clock if clock is not None else self.clock,
            log=_QUIET,
            identity=self.identity(),
            permissions=Permissions(short=self.market.is_perpetual),
            **{**self._job_options(kept), **options},
        )

    def _job_options(self, documents: Documents) -> dict[str, Any]:
        found = dict(self.job_options)
        if self.columns is not None:
            found["columns"] = self.columns(self, self.clock.now_ms() // HOUR_MS * HOUR_MS)
        if self.pool_rules is not None:
            upstream = DocumentsPublished(documents, COLLECTION, DOCUMENT)
            found["publications"] = Ladder(self.pool_rules, self.pool_days_max, upstream)
        return found

    def identity(self) -> dict[str, Any]:
        """What a session is of, as the settings would say it."""
        kind: Any = self.strategy
        return dict(_identity(kind))

    def cycle(self, slot: int | None = None, run_id: str = "run", **options: Any) -> CycleReport:
        return run_cycle(self.job(**options), slot, run_id)

    def kept(self) -> Account:
        """The account as the store has it now."""
        saved = StateStore(self.documents, "main", self.strategy.__qualname__).load()
        assert saved is not None
        return account_from_json(saved.content)

    def held(self, symbol: str | None = None) -> int:
        """Units of the base asset (or of the position) that the venue says the account has."""
        name = self.symbol if symbol is None else symbol
        market = self.venue.markets[name]
        if market.is_perpetual:
            return int(self.account.position(name) * UNIT)
        base = market.base
        total = self.account.free.get(base, Decimal(0)) + self.account.locked.get(base, Decimal(0))
        return int(total * UNIT)

    def money(self) -> int:
        """Quote units that the venue says the account has: free, locked and in savings, or its wallet."""
        account, quote = self.account, self.market.quote
        if self.market.is_perpetual:
            return int(account.wallet[quote] * UNIT)
        self.venue.savings.settle(account.name)
        return int(total_of(account, quote, self.clock.now_ms()) * UNIT)
