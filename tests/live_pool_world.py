"""The live pool at a Binance on loopback: real days and hours of candles, savings, a published pool, the real command.

It differs from ``live_world`` in what this strategy needs: many markets, daily candles of two years, all the money of
the account, and an exchange that, as Binance does, answers a question for markets with an error when one is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Self

import numpy as np
from cycle_world import HOUR_MS, START_MS, UNIT
from live_world import Installed, LiveWorld, Ran
from venue.account import VenueAccount
from venue.binance_numbers import market_id
from venue.binance_server import BinanceServer
from venue.clock import RealClock
from venue.faults import Fate, Faults
from venue.http_server import Request
from venue.market import VenueMarket
from venue.model import Venue
from venue.orders import VenueError
from venue.savings import VenueProduct

from trading_runtime.core.bars import Bars
from trading_runtime.core.timeframes import timeframe_ms
from trading_runtime.cycle.account import Account, account_from_json
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.stores.state_store import StateStore

DAY_MS = 24 * HOUR_MS
STRATEGY = "CryptoLivePoolRotation"
BTC, ETH, SOL, XRP, LTC, BCH, ADA, BNB = (
    f"{base}/USDT" for base in ("BTC", "ETH", "SOL", "XRP", "LTC", "BCH", "ADA", "BNB")
)
POOL = (ETH, SOL, XRP, LTC, BCH)
SECOND_POOL = (ADA, SOL, XRP, LTC, BCH)
# Without savings and fuel: an hour of them is many requests, which are sent no faster than the exchange likes.
PLAIN: dict[str, Any] = {
    "account": {"funds": "given", "cash": 10_000, "adopt": []},
    "treasury": {"earn_buffer": False, "fuel_symbol": None},
}
# Price at the start, growth of a day, and how much a day's growth may differ from that.
PATHS: dict[str, tuple[float, float, float]] = {
    BTC: (30_000.0, 0.0008, 0.004),
    ETH: (2_000.0, 0.0040, 0.010),
    SOL: (100.0, 0.0035, 0.012),
    XRP: (0.6, -0.0010, 0.010),
    LTC: (70.0, -0.0010, 0.010),
    BCH: (250.0, -0.0010, 0.010),
    ADA: (0.5, 0.0080, 0.010),
    BNB: (300.0, 0.0005, 0.010),
}
LOTS = {BTC: "0.00001", ETH: "0.0001", SOL: "0.001", XRP: "1", LTC: "0.001", BCH: "0.001", ADA: "0.1", BNB: "0.001"}
TICKS = {XRP: "0.0001", ADA: "0.0001"}
DAYS_BEFORE, DAYS_AFTER = 620, 6


def traded(report: dict[str, Any]) -> set[tuple[str, str]]:
    """Sides and symbols of a report's fills."""
    return {(fill["side"], fill["symbol"]) for fill in report["fills"]}


def events(report: dict[str, Any]) -> list[str]:
    """What happened beside the plan, by name."""
    return [note["event"] for note in report["notes"]]


def _bars(symbol: str, timeframe: str, first_ms: int, bar_ms: int, closes: list[float]) -> Bars:
    digits = 4 if symbol in TICKS else 2
    opens, ends = np.round(np.array(closes[:-1]), digits), np.round(np.array(closes[1:]), digits)
    high = np.round(np.maximum(opens, ends) * 1.002, digits)
    low = np.round(np.minimum(opens, ends) * 0.998, digits)
    times = first_ms + np.arange(len(ends), dtype=np.int64) * bar_ms
    return Bars(symbol, timeframe, times, opens, high, low, ends, np.full(len(ends), 10_000.0))


def daily(symbol: str, days_before: int = DAYS_BEFORE) -> Bars:
    """Days up to START_MS, where the price is the one of ``PATHS``, and a few beyond it."""
    price, growth, width = PATHS[symbol]
    random = Random(f"days {symbol}")
    count = days_before + DAYS_AFTER
    logarithms = [0.0]
    for _ in range(count):
        logarithms.append(logarithms[-1] + growth + (random.random() - 0.5) * width)
    at_start = logarithms[days_before]
    closes = [price * float(np.exp(one - at_start)) for one in logarithms]
    return _bars(symbol, "1d", START_MS - days_before * DAY_MS, DAY_MS, closes)


def hourly(symbol: str) -> Bars:
    """Two days of hours before START_MS and some beyond it, about the price of ``PATHS``."""
    price = PATHS[symbol][0]
    random = Random(f"hours {symbol}")
    closes = [price * (1.0 + (random.random() - 0.5) * 0.002) for _ in range(48 + 24 * DAYS_AFTER + 1)]
    return _bars(symbol, "1h", START_MS - 48 * HOUR_MS, HOUR_MS, closes)


class StrictBinance(BinanceServer):
    """Answers a question for named markets as Binance does: only those, and -1121 when one of them is unknown. Markets
    in ``halted`` are in a break, those in ``gone`` are no more: neither takes an order, and of the hours in ``holes``
    (open times by market) and of days of nothing else there are no candles.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.halted: set[str] = set()
        self.gone: set[str] = set()
        self.holes: dict[str, set[int]] = {}

    def _content(self, request: Request, fate: Fate) -> Any:
        if request.parameters().get("symbol") in self.gone:
            raise VenueError(-1121, "Invalid symbol.")
        stopped = self.halted | self.gone
        self.venue.stopped = {symbol for symbol in self.venue.markets if market_id(symbol) in stopped}
        return super()._content(request, fate)

    def _klines(self, parameters: dict[str, str], market: VenueMarket) -> list[list[Any]]:
        hours = self.holes.get(market.id)
        if not hours:
            return super()._klines(parameters, market)
        bar_ms = timeframe_ms(parameters["interval"])
        rows = super()._klines({**parameters, "limit": "1000"}, market)
        shown = [row for row in rows if not set(range(row[0], row[0] + bar_ms, HOUR_MS)) <= hours]
        count = int(parameters.get("limit", "500"))
        return shown[:count] if "startTime" in parameters else shown[-count:]

    def _public(self, path: str, parameters: dict[str, str], is_perpetual: bool) -> Any:
        answer = super()._public(path, parameters, is_perpetual)
        if path.endswith("/exchangeInfo") and not path.startswith("/dapi"):
            rows = {row["symbol"]: row for row in answer["symbols"] if row["symbol"] not in self.gone}
            for symbol in self.halted:
                if symbol in rows:
                    rows[symbol]["status"] = "BREAK"
            if "symbols" in parameters:
                wanted = json.loads(parameters["symbols"])
                if not set(wanted) <= set(rows):
                    raise VenueError(-1121, "Invalid symbol.")
                rows = {symbol: rows[symbol] for symbol in wanted}
            answer["symbols"] = list(rows.values())
        return answer


class StoppingWorld(LiveWorld):
    """A live world at a ``StrictBinance``, whose markets may stop."""

    server: StrictBinance

    @contextmanager
    def open(self) -> Iterator[Self]:
        with StrictBinance(self.venue, faults=self.faults, clock=self.clock) as server:
            self.server = server
            self.configure(server.url)
            yield self

    def next_slot(self, count: int = 1) -> int:
        """Let hours pass, without a candle where the market does not trade."""
        for _ in range(count):
            stopped = self.server.halted | self.server.gone
            self.venue.stopped = {symbol for symbol in self.venue.markets if market_id(symbol) in stopped}
            for market in stopped:
                self.server.holes.setdefault(market, set()).add(self.slot)
            super().next_slot()
        return self.slot


class LivePoolWorld(StoppingWorld):
    """``symbols`` is what the settings name; ``markets`` is what the venue has."""

    def __init__(
        self,
        installed: Installed,
        folder: Path,
        *,
        cash: str = "10000",
        spot: dict[str, str] | None = None,
        markets: tuple[str, ...] = tuple(PATHS),
        days_before: dict[str, int] | None = None,
        **sections: Any,
    ) -> None:
        self.installed, self.folder, self.symbols = installed, folder, (BTC,)
        self.slot = START_MS
        self.clock = RealClock()
        self._set_clock(START_MS + 2_000)
        self.is_perpetual, self.quote = False, "USDT"
        self.account = VenueAccount("main", pays_fees_in_bnb=True, spot={"USDT": cash, **(spot or {})})
        self.bars = {symbol: hourly(symbol) for symbol in markets}
        self.venue = Venue(
            self.clock.now_ms,
            [
                VenueMarket(
                    symbol,
                    repr(self._close(symbol)),
                    lot=LOTS[symbol],
                    tick=TICKS.get(symbol, "0.01"),
                    quantity_maximum="900000",
                    market_quantity_maximum="900000",
                )
                for symbol in markets
            ],
            [self.account],
        )
        for symbol in markets:
            self.venue.set_bars(self.bars[symbol])
            self.venue.set_bars(daily(symbol, (days_before or {}).get(symbol, DAYS_BEFORE)))
        self.venue.savings.offer(VenueProduct("USDT"))
        self.venue.savings.spacing_ms = 0
        self.faults = Faults()
        self.before = self._holdings()
        self.sections, self.strategy = sections, STRATEGY
        self.reports: list[dict[str, Any]] = []
        self.config = folder / "cycle.json"

    def _close(self, symbol: str) -> float:
        bars = self.bars[symbol]
        return float(bars.close[(self.slot - int(bars.open_time[0])) // HOUR_MS - 1])

    def configure(self, url: str) -> None:
        content: dict[str, Any] = {
            "strategy": {"class": "crypto_live_pool_rotation"},
            "account": {"name": "main", "funds": "all", "adopt": [BNB]},
            "market": {"exchange": "binance", "symbols": [BTC], "timeframe": "1h", "base_url": url},
            "store": {"kind": "sqlite", "path": "state.sqlite"},
            "artifact": {"max_age_days": 45, "expected_size": 5},
            "treasury": {"earn_buffer": True, "fuel_symbol": BNB},
            "placement": {"validity_window_ms": 1000, "confirm_seconds": 2, "request_seconds": 5},
            "notify": {"telegram": False},
        }
        for name, section in self.sections.items():
            content[name] = {**content.get(name, {}), **section} if section is not None else None
        self.config.write_text(json.dumps(content))

    def publish(self, symbols: tuple[str, ...] = POOL, as_of_date: str = "2024-01-01", **changes: Any) -> Ran:
        """Publish a pool with the command."""
        content = {
            "as_of_date": as_of_date,
            "version": f"{as_of_date}-core_major",
            "mode": "core_major",
            "pool_size": len(symbols),
            "symbols": [symbol.replace("/", "") for symbol in symbols],
            "source_project": "crypto-live-pool-pipelines",
            **changes,
        }
        path = self.folder / "pool.json"
        path.write_text(json.dumps(content))
        return self.command("artifact", "publish", str(path))

    def account_kept(self) -> Account:
        documents = SqliteDocuments(self.folder / "state.sqlite")
        try:
            saved = StateStore(documents, "main", STRATEGY).load()
        finally:
            documents.close()
        assert saved is not None
        return account_from_json(saved.content)

    def savings(self) -> Decimal:
        """What is in savings right now."""
        return self.venue.savings.position("main", "USDT")

    def held_coins(self, symbol: str) -> Decimal:
        return self._total(symbol.partition("/")[0])

    def check_book(self) -> None:
        """The book is what the exchange has, savings included, but for interest that is not told yet."""
        account = self.account_kept()
        for symbol, position in account.state.positions.items():
            assert Decimal(position.quantity) == self.held_coins(symbol) * UNIT, symbol
        there = (self._total("USDT") + self.savings()) * UNIT
        unbooked = there - account.state.cash
        # Interest of the last hour and the rounding of each fee to a whole unit.
        assert -100 <= unbooked <= Decimal("0.5") * UNIT, (there, account.state.cash)
        assert not account.in_phase("claimed", "planned", "open")
        assert not account.earn
        assert not [name for name, count in self.venue.count_by_client_id().items() if count > 1]

    def check_commands(self) -> None:
        """Every command that looks at the account agrees."""
        for arguments in (
            ("journal", "verify"), ("replay", "--all"), ("reconcile", "--json"), ("status", "--json"),
        ):  # fmt: skip
            ran = self.command(*arguments)
            assert ran.code == 0, (arguments, ran)
