"""What an operator works with: a configuration in a folder, a store, a venue over HTTP, strategies that act at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ccxt_world import World
from venue.binance_requests import authenticated
from venue.binance_server import BinanceServer
from venue.clock import RealClock
from venue.faults import Fate
from venue.http_server import Answer, Request
from venue.orders import VenueError

from trading_runtime.config.load import LoadedCycleSettings, load_cycle_settings
from trading_runtime.core.intents import limit, market
from trading_runtime.core.strategy import Inputs, Proposal, Strategy
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.keeper import Stores
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.run import run_cycle
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.journal import Journal
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.stores.state_store import StateStore
from trading_runtime.telemetry.log import EventLog

PARTS = Path(__file__).parent / "data/parts"
UNIT = 10**8


class Buyer(Strategy):
    """Buys once and holds."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.position > 0.0 or inputs.orders:
            return None
        return Proposal([market(inputs.symbol, "buy", notional=1000.0, leg="entry")])


class Bidder(Strategy):
    """Keeps a bid one percent below the market."""

    def decide(self, inputs: Inputs) -> Proposal | None:
        if inputs.position > 0.0 or inputs.orders:
            return None
        return Proposal([limit(inputs.symbol, "buy", inputs.price * 0.99, notional=1000.0, leg="bid")])


class ImpatientClock(RealClock):
    """This computer's clock; waiting takes no time."""

    def sleep(self, seconds: float) -> None:
        return None


class RightsServer(BinanceServer):
    """Binance's server that also tells the rights of a key ("Get API Key Permission"); ``rights`` None: it does not."""

    rights: dict[str, bool] | None = None

    def respond(self, request: Request, fate: Fate) -> Answer:
        if request.path != "/sapi/v1/account/apiRestrictions" or self.rights is None:
            return super().respond(request, fate)
        try:
            authenticated(self.venue, request, request.parameters())
        except VenueError as error:
            return Answer(error.status, json.dumps({"code": error.code, "msg": error.message}), {})
        return Answer(200, json.dumps(self.rights), {"Content-Type": "application/json"})


GOOD_RIGHTS = {
    "ipRestrict": True,
    "enableReading": True,
    "enableSpotAndMarginTrading": True,
    "enableFutures": False,
    "enableWithdrawals": False,
}


def write_config(folder: Path, **changes: Any) -> Path:
    """Write the configuration of a live account at Binance; ``changes`` replace whole sections."""
    content: dict[str, Any] = {
        "strategy": {"class": "operator_world:Buyer"},
        "account": {"name": "main", "cash": 50_000},
        "market": {"exchange": "binance", "symbols": ["BTC/USDT"], "timeframe": "1h"},
        "store": {"kind": "sqlite", "path": "state.sqlite"},
        "notify": {"telegram": False},
        **changes,
    }
    path = folder / "cycle.json"
    path.write_text(json.dumps(content))
    return path


def write_paper_config(folder: Path) -> Path:
    """Write the configuration of a paper account that plays back bundled candles."""
    return write_config(
        folder,
        strategy={"class": "operator_world:Buyer"},
        account={"name": "paper", "cash": 10_000},
        market={"exchange": "simulated", "symbols": ["BTC/USDT"], "timeframe": "1h"},
        feed={"files": [{"path": str(PARTS / "BTC-USDT-1h.parquet")}], "start": "2023-06-03T15:00:00Z"},
        instrument={"tick": "0.01", "lot": "0.00001", "taker_fee_rate": 0.001},
        output={"folder": "cycles"},
    )


def loaded(path: Path, *overrides: str) -> LoadedCycleSettings:
    return load_cycle_settings(path, overrides, {})


def store_of(path: Path) -> SqliteDocuments:
    """Open the store of a configuration."""
    return SqliteDocuments(path.parent / "state.sqlite")


def environment_of(world: World) -> dict[str, str]:
    """What a live start has in its environment."""
    return {
        "BINANCE_API_KEY": world.account.api_key,
        "BINANCE_API_SECRET": world.account.api_secret,
        "TRADING_RUNTIME_LIVE_ACCOUNT": "main",
    }


def live_cycle(
    world: World, server: BinanceServer, documents: Documents, strategy: type[Strategy] = Buyer, **changes: Any
) -> CycleReport:
    """Run a live cycle of account main over ccxt, as the command would; the gate in front of it is left out."""
    name = strategy.__qualname__
    exchange = world.over_ccxt(server, clock=ImpatientClock())
    lease = Lease(documents, f"main.{name}", "one", 60.0)
    stores = Stores(StateStore(documents, "main", name), Journal(documents, "main", name), lease)
    job = Job(
        mode="live",
        account="main",
        strategy=strategy(),
        symbols=("BTC/USDT",),
        timeframe="1h",
        start_cash=50_000 * UNIT,
        exchange=exchange,
        stores=stores,
        control=Control(documents, "main"),
        clock=ImpatientClock(),
        log=EventLog(level="off"),
        identity={"commit": "0" * 40},
    )
    try:
        return run_cycle(replace(job, **changes), None, "run")
    finally:
        exchange.close()
