"""Really killed: a process that sends itself SIGKILL at each point of a cycle, on a SQLite file, over HTTP.

Then a fresh process runs until all is quiet, and what the crash matrix checks must hold.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from crash_behaviours import OK
from crash_checks import check
from crash_matrix import check_outcome, undisturbed, what_ran
from crash_process import Violation
from crash_scenarios import SCENARIOS, Scenario
from cycle_world import START_MS, World
from venue.binance_server import BinanceServer
from venue.clock import RealClock

from trading_runtime.stores.sqlite import SqliteDocuments

WORKER = Path(__file__).parent / "crash_kill_worker.py"
AT_ONCE = 8  # they mostly wait
CYCLES_MAX = 4

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked and killed as POSIX knows it")


class Worker:
    """One server of processes; it runs one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30.0)


class Place:
    """A venue over HTTP whose clock says that the first slot has just begun, and a store of its own."""

    def __init__(self, folder: Path, name: str, scenario: Scenario) -> None:
        self.store, self.scenario = folder / f"{name}.db", scenario
        documents = SqliteDocuments(self.store)
        self.world = World(strategy=scenario.strategy, documents=documents, **scenario.options)
        documents.close()
        self.clock = RealClock(START_MS + 2_000 - time.time_ns() // 1_000_000)
        self.world.venue.now_ms = self.world.venue.savings.now_ms = self.clock.now_ms
        self.server = BinanceServer(self.world.venue, clock=self.clock)

    def run(self, worker: Worker, holder: str, kill_at: int | None) -> dict[str, Any]:
        return worker.run(
            {
                "scenario": self.scenario.name,
                "store": str(self.store),
                "url": self.server.url,
                "key": self.world.account.api_key,
                "secret": self.world.account.api_secret,
                "offset_ms": self.clock.offset_ms,
                "slot": START_MS,
                "holder": holder,
                "kill_at": kill_at,
            }
        )

    def until_quiet(self, worker: Worker) -> list[str]:
        told: list[str] = []
        for _ in range(CYCLES_MAX):
            answer = self.run(worker, "one", None)
            told.append(f"{answer['exit_code']} {answer['points'][-1:]}")
            if answer["exit_code"] == 0:
                return told
        raise Violation("bound", f"not quiet after {CYCLES_MAX} cycles: {told}")

    def check(self) -> None:
        """What holds in every case of the matrix holds here, on what is in the file."""
        self.world.documents = SqliteDocuments(self.store)
        try:
            check_outcome(self.scenario, OK, what_ran(self.world, [], check(self.scenario, self.world)))
        finally:
            self.world.documents.close()


# Of a cycle with many points: before each write, and on both sides of what is sent. After a write is before the next.
_FEW = ("before create", "before replace", "before place", "after place", "before move_earn", "after move_earn")


@pytest.fixture(scope="module")
def workers() -> Iterator[list[Worker]]:
    started = [Worker() for _ in range(AT_ONCE)]
    yield started
    for worker in started:
        worker.stop()


@pytest.mark.parametrize(
    ("name", "only"),
    [
        ("first cycle, entry by market order", ()),
        ("live pool: entries and a BTC buy, then the rest is saved", _FEW),
    ],
)
def test_a_process_that_is_killed_at_any_point_doubles_nothing_and_loses_nothing(
    tmp_path: Path, workers: list[Worker], name: str, only: tuple[str, ...]
) -> None:
    scenario = SCENARIOS[name]
    idle: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def killed_at(point: int) -> str | None:
        worker = idle.get()
        try:
            place = Place(tmp_path, f"killed-{point}", scenario)
            with place.server:
                died = place.run(worker, "one", point)
                if died["signal"] != signal.SIGKILL:
                    return f"point {point} ({names[point]}): the process was to be killed, and ended with {died}"
                told = place.until_quiet(worker)
            place.check()
        except Violation as violation:
            return f"killed at point {point} ({names[point]}): {violation}"
        finally:
            idle.put(worker)
        assert told
        return None

    whole = Place(tmp_path, "undisturbed", scenario)
    with whole.server:
        names = whole.run(workers[0], "one", None)["points"]
    whole.check()
    assert names.count("before place") == len(undisturbed(scenario, OK).executed)
    assert names.count("before move_earn") == int(scenario.has_savings)
    chosen = [point for point, told in enumerate(names[:-1]) if not only or told.startswith(only)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = [one for one in pool.map(killed_at, chosen) if one is not None]
    assert len(names) > 40, names
    assert not found, "\n\n".join(found)
