"""A server of processes that really die: started once, it forks one process for each cycle it is asked to run.

    one line of JSON in: {"scenario", "store", "url", "key", "secret", "offset_ms", "slot", "holder", "kill_at"}
    one line of JSON out: {"signal", "exit_code", "points"}

Forking from a process that has loaded everything, and has neither threads nor connections, makes a fresh process in
milliseconds. ``kill_at`` is the point at which the process sends itself SIGKILL; None: it runs to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt  # noqa: F401 - loaded once, here
from crash_scenarios import SCENARIOS
from cycle_world import World
from venue.clock import RealClock

from trading_runtime.cycle.run import run_cycle
from trading_runtime.exchanges.ccxt_exchange import CcxtExchange
from trading_runtime.exchanges.credentials import Credentials
from trading_runtime.stores.documents import Document
from trading_runtime.stores.sqlite import SqliteDocuments

WINDOW_MS = 1_000
_CALLS = frozenset(
    (
        "server_time_ms", "newest_close", "bars", "instruments", "balances", "positions", "open_orders", "order",
        "place", "cancel", "trades",
        "earn_product", "earn_position", "move_earn", "earn_operations", "cash_flows",
    )
)  # fmt: skip


class Killer:
    """Counts points and ends the process at one of them, as kill -9 does."""

    def __init__(self, kill_at: int | None) -> None:
        self.points: list[str] = []
        self._kill_at = kill_at

    def passes(self, name: str) -> None:
        if len(self.points) == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.points.append(name)


class PointedDocuments(SqliteDocuments):
    def __init__(self, path: Path, killer: Killer) -> None:
        super().__init__(path)
        self._killer = killer

    def create(self, path: str, content: bytes) -> str:
        self._killer.passes(f"before create {path}")
        version = super().create(path, content)
        self._killer.passes(f"after create {path}")
        return version

    def replace(self, path: str, content: bytes, version: str) -> str:
        self._killer.passes(f"before replace {path}")
        version = super().replace(path, content, version)
        self._killer.passes(f"after replace {path}")
        return version

    def read(self, path: str) -> Document | None:
        return super().read(path)


class PointedExchange:
    """The exchange through ccxt, or its savings, with a point before and after each call."""

    def __init__(self, exchange: Any, killer: Killer) -> None:
        self._exchange, self._killer = exchange, killer

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._exchange, name)
        if name == "savings":
            return None if found is None else PointedExchange(found, self._killer)
        if name not in _CALLS:
            return found
        return self._pointed(name, found)

    def _pointed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            self._killer.passes(f"before {name}")
            answer = call(*arguments)
            self._killer.passes(f"after {name}")
            return answer

        return called


def cycle(request: dict[str, Any]) -> tuple[int, list[str]]:
    """Run one cycle in this process and return its exit code and the points it has passed."""
    killer, scenario = Killer(request["kill_at"]), SCENARIOS[request["scenario"]]
    clock = RealClock(request["offset_ms"])
    exchange = CcxtExchange(
        "binance",
        ["BTC/USDT", *scenario.options.get("others", ())],
        base_url=request["url"],
        credentials=Credentials(request["key"], request["secret"]),
        validity_window_ms=WINDOW_MS,
        timeout_seconds=2.0,
        clock=clock,
    )
    documents = PointedDocuments(Path(request["store"]), killer)
    world = World(strategy=scenario.strategy, documents=documents, **scenario.options)
    job = world.job(holder=request["holder"], exchange=PointedExchange(exchange, killer), clock=clock)
    report = run_cycle(job, request["slot"], request["holder"])
    return report.exit_code, [*killer.points, f"{report.status}: {report.reason}"]


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        # The strategy's code is read once, here: every process of a case is of the same program.
        World(strategy=SCENARIOS[request["scenario"]].strategy).identity()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            exit_code, points = cycle(request)
            with os.fdopen(writing, "w") as stream:
                json.dump(points, stream)
            os._exit(exit_code)
        os.close(writing)
        with os.fdopen(reading) as stream:
            told = stream.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status)
        answer = {
            "signal": os.WTERMSIG(status) if killed else None,
            "exit_code": None if killed else os.WEXITSTATUS(status),
            "points": json.loads(told) if told else [],
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
