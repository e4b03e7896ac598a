"""Live trading through the front door: the command, real ccxt, Binance's HTTP on loopback, SQLite, hours that pass."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Self

from cycle_world import HOUR_MS, START_MS, UNIT, walk_bars
from venue.account import VenueAccount
from venue.binance_server import BinanceServer
from venue.clock import RealClock
from venue.faults import Faults
from venue.market import VenueMarket
from venue.model import Venue
from venue.orders import VenueOrder

from trading_runtime.core.bars import Bars
from trading_runtime.cycle.account import Account, account_from_json
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.stores.state_store import StateStore

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "trading_runtime"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
START_CASH = 50_000
PRICES = (30_000.0, 2_000.0, 100.0)


class Ran(NamedTuple):
    """What a command left: exit code, what it printed, what it complained of."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Installed:
    """The package as an image has it: without a clone around it, with a commit and a digest that are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PACKAGE, folder / "trading_runtime", ignore=shutil.ignore_patterns("__pycache__"))
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PYTHONPATH": f"{folder}{os.pathsep}{TESTS}",
            "TRADING_RUNTIME_COMMIT": COMMIT,
            "TRADING_RUNTIME_IMAGE_DIGEST": "sha256:" + "a" * 64,
            "TRADING_RUNTIME_LIVE_ACCOUNT": "main",
            "BINANCE_API_KEY": "key-of-main",
            "BINANCE_API_SECRET": "secret-of-main",
        }
        self._worker: subprocess.Popen[str] | None = None

    def run(self, arguments: list[str], offset_ms: int, changes: dict[str, str | None] | None = None) -> Ran:
        """Run the command in a process that stays: ccxt is loaded once. A variable that becomes None is taken away."""
        if self._worker is None:
            self._worker = subprocess.Popen(
                [sys.executable, str(TESTS / "live_worker.py")],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        worker = self._worker
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(
            json.dumps({"arguments": arguments, "offset_ms": offset_ms, "changes": changes or {}}) + "\n"
        )
        worker.stdin.flush()
        return Ran(**json.loads(worker.stdout.readline()))

    def start(self, arguments: list[str]) -> Ran:
        """Run the command in a process of its own, by this computer's clock."""
        done = subprocess.run(
            [sys.executable, "-m", "trading_runtime", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        if self._worker is not None and self._worker.stdin is not None:
            self._worker.stdin.close()
            self._worker.wait(timeout=20)


def _moved(bars: Bars, by_ms: int) -> Bars:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbol, bars.timeframe, bars.open_time + by_ms, *columns)


class LiveWorld:
    """One account at a venue, its configuration and store in ``folder``. Slots are hours from START_MS on."""

    def __init__(
        self,
        installed: Installed,
        folder: Path,
        strategy: str,
        *,
        symbols: tuple[str, ...] = ("BTC/USDT",),
        pays_in_bnb: bool = False,
        free: dict[str, str] | None = None,
        start_ms: int = START_MS,
        **sections: Any,
    ) -> None:
        self.installed, self.folder, self.symbols = installed, folder, symbols
        self.slot = start_ms
        self.clock = RealClock()
        self._set_clock(start_ms + 2_000)
        self.bars = {
            symbol: _moved(walk_bars(symbol, seed=7 + number, start=PRICES[number]), start_ms - START_MS)
            for number, symbol in enumerate(symbols)
        }
        self.is_perpetual = ":" in symbols[0]
        markets = [VenueMarket(symbol, self._price(symbol, start_ms)) for symbol in symbols]
        self.quote = markets[0].quote
        if pays_in_bnb:
            markets.append(VenueMarket(f"BNB/{self.quote}", "500"))
        spot = {self.quote: "100000", **({"BNB": "10"} if pays_in_bnb else {}), **(free or {})}
        self.account = VenueAccount(
            "main",
            pays_fees_in_bnb=pays_in_bnb,
            **({"futures": {self.quote: "100000"}} if self.is_perpetual else {"spot": spot}),
        )
        self.venue = Venue(self.clock.now_ms, markets, [self.account])
        for bars in self.bars.values():
            self.venue.set_bars(bars)
        self.faults = Faults()
        self.before = self._holdings()
        self.sections = sections
        self.strategy = strategy
        self.reports: list[dict[str, Any]] = []
        self.config = folder / "cycle.json"

    @contextmanager
    def open(self) -> Iterator[Self]:
        with BinanceServer(self.venue, faults=self.faults, clock=self.clock) as server:
            self.configure(server.url)
            yield self

    def configure(self, url: str) -> None:
        content: dict[str, Any] = {
            "strategy": {"class": f"live_strategies:{self.strategy}"},
            "account": {"name": "main", "cash": START_CASH, "short": self.is_perpetual},
            "market": {
                "exchange": "binance",
                "symbols": list(self.symbols),
                "timeframe": "1h",
                "base_url": url,
            },
            "store": {"kind": "sqlite", "path": "state.sqlite"},
            "placement": {"validity_window_ms": 1000, "confirm_seconds": 2, "request_seconds": 2},
            "notify": {"telegram": False},
        }
        for name, section in self.sections.items():
            content[name] = {**content.get(name, {}), **section}
        self.config.write_text(json.dumps(content))

    # Time and prices

    def _set_clock(self, now_ms: int) -> None:
        self.clock.offset_ms += now_ms - self.clock.now_ms()

    def _price(self, symbol: str, time_ms: int) -> str:
        bars = self.bars[symbol]
        return repr(float(bars.close[(time_ms - int(bars.open_time[0])) // HOUR_MS - 1]))

    def next_slot(self, count: int = 1) -> int:
        """Let hours pass: the path of each bar reaches what rests, then its close is the price."""
        for _ in range(count):
            self.slot += HOUR_MS
            self._set_clock(self.slot - 1_000)
            for symbol, bars in self.bars.items():
                row = (self.slot - int(bars.open_time[0])) // HOUR_MS - 1
                for price in (bars.low[row], bars.high[row], bars.close[row]):
                    self.venue.set_price(symbol, repr(float(price)))
            self._set_clock(self.slot + 2_000)
        return self.slot

    def shape_bar(self, symbol: str, low: float, high: float, close: float) -> None:
        """Change the bar that closes next, so that it reaches what a test wants."""
        bars = self.bars[symbol]
        row = (self.slot - int(bars.open_time[0])) // HOUR_MS
        columns = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close", "volume")}
        opening = float(columns["close"][row - 1])
        columns["open"][row] = opening
        columns["low"][row], columns["high"][row] = min(low, opening, close), max(high, opening, close)
        columns["close"][row] = close
        columns["open"][row + 1] = close
        columns["low"][row + 1] = min(float(columns["low"][row + 1]), close)
        columns["high"][row + 1] = max(float(columns["high"][row + 1]), close)
        changed = Bars(bars.symbol, bars.timeframe, bars.open_time, *columns.values())
        self.bars[symbol] = changed
        self.venue.set_bars(changed)

    # Commands

    def command(self, *arguments: str) -> Ran:
        return self.installed.run([*arguments, "--config", str(self.config)], self.clock.offset_ms)

    def cycle(self, *arguments: str, mode: str = "live") -> dict[str, Any]:
        """Run a live cycle and return its report, with what the process itself said."""
        opening = ("--open-account",) if not self.reports and mode == "live" else ()
        ran = self.command("cycle", "--mode", mode, "--json", *opening, *arguments)
        assert ran.out, ran.err
        report: dict[str, Any] = ran.json
        assert ran.code == report["exit_code"], ran
        self.reports.append(report)
        return report

    def account_kept(self) -> Account:
        documents = SqliteDocuments(self.folder / "state.sqlite")
        try:
            saved = StateStore(documents, "main", self.strategy).load()
        finally:
            documents.close()
        assert saved is not None
        return account_from_json(saved.content)

    # What must hold

    def orders(self) -> list[VenueOrder]:
        """Every order that the venue ever took, those it made itself of a trigger left out."""
        return [order for order in self.venue.accepted if order.parent is None]

    def held(self, symbol: str | None = None) -> Decimal:
        name = symbol or self.symbols[0]
        if self.is_perpetual:
            return self.account.position(name)
        base = self.venue.markets[name].base
        return self._total(base) - self.before.get(base, Decimal(0))

    def check(self) -> None:
        """The book is what the exchange has, to the last digit; and every command that looks at it agrees."""
        account = self.account_kept()
        state = account.state
        for symbol in self.symbols:
            assert state.quantity(symbol) == self.held(symbol) * UNIT, symbol
        money = state.cash + (sum(one.cost for one in state.positions.values()) if self.is_perpetual else 0)
        now = self._holdings()
        # The venue's wallet takes funding unrounded, its list of payments tells it in units.
        difference = money - START_CASH * UNIT - (now[self.quote] - self.before[self.quote]) * UNIT
        assert abs(difference) <= Decimal("0.5") * len(self.account.incomes)
        ids = self.venue.count_by_client_id()
        assert not [name for name, count in ids.items() if count > 1]
        open_there = {order.client_id for book in self.venue.open.values() for order in book.values()}
        assert {record.order.order_id for record in account.in_phase("open")} == open_there
        assert not account.in_phase("claimed", "planned")
        verified = self.command("journal", "verify")
        assert verified.code == 0, verified
        replayed = self.command("replay", "--all")
        assert replayed.code == 0, replayed
        compared = self.command("reconcile", "--json")
        assert compared.code == 0, compared
        status = self.command("status", "--json")
        positions = {one["symbol"]: Decimal(one["quantity"]) for one in status.json["book"]["positions"]}
        for symbol in self.symbols:
            assert positions.get(symbol, Decimal(0)) == self.held(symbol)

    def _total(self, asset: str) -> Decimal:
        return self.account.free.get(asset, Decimal(0)) + self.account.locked.get(asset, Decimal(0))

    def _holdings(self) -> dict[str, Decimal]:
        if self.is_perpetual:
            return dict(self.account.wallet)
        return {asset: self._total(asset) for asset in self.account.free}
