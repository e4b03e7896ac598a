"""Sessions to read again: live ones at the venue, paper ones over bars, with crashes, and with entries written anew."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from cycle_world import HOUR_MS, START_MS, UNIT, World
from parity import instruments_of
from venue.clock import VirtualClock

from trading_runtime.core.bars import Bars
from trading_runtime.core.fills import Execution
from trading_runtime.core.strategy import Permissions, Strategy
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.keeper import Stores
from trading_runtime.cycle.recorded import RecordedSession, read_session, session_from_entries
from trading_runtime.cycle.run import run_cycle
from trading_runtime.exchanges.file_feed import FileFeed
from trading_runtime.exchanges.simulated import SimulatedExchange
from trading_runtime.source import strategy_code_hash
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Document, Documents
from trading_runtime.stores.journal import START, Entry, Journal
from trading_runtime.stores.lease import Lease
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.state_store import StateStore
from trading_runtime.telemetry.log import EventLog

CASH = 100_000 * UNIT
QUIET = EventLog(level="off")


class Killed(BaseException):
    """The process ended here."""


class Crashing:
    """Documents whose process is killed before or after its write number ``count``; then it writes nothing more."""

    def __init__(self, base: Documents, count: int, *, is_written: bool) -> None:
        self._base, self._left, self._is_written = base, count, is_written

    def read(self, path: str) -> Document | None:
        return self._base.read(path)

    def create(self, path: str, content: bytes) -> str:
        return self._write(lambda: self._base.create(path, content))

    def replace(self, path: str, content: bytes, version: str) -> str:
        return self._write(lambda: self._base.replace(path, content, version))

    def names(self, collection: str, **narrowed: Any) -> list[str]:
        return self._base.names(collection, **narrowed)

    def close(self) -> None:
        return None

    def _write(self, write: Callable[[], str]) -> str:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._is_written):
            raise Killed
        version = write()
        if self._left == 0:
            raise Killed
        return version


def run_live(world: World, count: int, first: int = 0, **options: Any) -> None:
    """Run one cycle for each of ``count`` slots; each must end as done."""
    for index in range(first, first + count):
        slot = START_MS + index * HOUR_MS
        if index:
            world.to_slot(slot)
        report = world.cycle(slot, **options)
        assert report.status == "done", (index, report.status, report.reason)


def journal_of(world: World) -> Journal:
    return Journal(world.documents, "main", world.strategy.__qualname__)


def recorded(world: World, session: int = -1) -> RecordedSession:
    journal = journal_of(world)
    return read_session(journal, journal.sessions()[session])


def entries_of(journal: Journal, session: int = -1) -> list[Entry]:
    return list(journal.entries(journal.sessions()[session]))


def exported(journal: Journal, session: int = -1) -> bytes:
    stream = io.BytesIO()
    journal.export(journal.sessions()[session], stream)
    return stream.getvalue()


def written_anew(journal: Journal, edit: Callable[[list[tuple[str, int | None, Any]]], None]) -> RecordedSession:
    """Return the newest session as it would be had its entries been written after ``edit`` changed (kind, slot,
    content): the chain is whole.
    """
    entries = entries_of(journal)
    items = [(entry.kind, entry.slot, deepcopy(entry.content)) for entry in entries]
    edit(items)
    account, _, strategy = entries[0].journal.partition(".")
    other = Journal(MemoryDocuments(), account, strategy)
    head = START
    for kind, slot, content in items:
        head = other.append(entries[0].session, head, kind, slot, "2024-01-01T00:00:00Z", content)
    return session_from_entries(other.entries(entries[0].session), "the session written anew")


def identity_of(strategy: Strategy, execution: Execution) -> dict[str, Any]:
    kind = type(strategy)
    return {
        "commit": "0" * 40,
        "strategy": {
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "parameters": strategy.params.to_json(),
            "code_hash": strategy_code_hash(kind),
        },
        "account": "main",
        "execution": dict(vars(execution)),
    }


def run_paper(
    strategy: Strategy,
    bars: Mapping[str, Bars],
    slots: int,
    *,
    done: int = 0,
    documents: Documents | None = None,
    execution: Execution | None = None,
    changes: Mapping[int, dict[str, Any]] | None = None,
    short: bool = False,
    funding: Any = None,
) -> Journal:
    """Run cycles on the simulated exchange over ``bars`` up to that many, of which ``done`` were run before;
    ``changes`` are other options of the job from a cycle's number on.
    """
    kept: Documents = MemoryDocuments() if documents is None else documents
    execution = Execution(slippage_fraction=0.0005) if execution is None else execution
    name = type(strategy).__qualname__
    some = next(iter(bars.values()))
    first = int(some.open_time[0]) + strategy.bars_needed(some.bar_ms) * some.bar_ms
    instruments = instruments_of(bars)
    options: dict[str, Any] = {"identity": identity_of(strategy, execution)}
    for number in range(done, slots):
        options |= (changes or {}).get(number, {})
        slot = first + number * some.bar_ms
        feed = FileFeed(list(bars.values()), start_ms=first)
        exchange = SimulatedExchange(
            feed, kept, "main", name, instruments, execution, CASH, timeframe=some.timeframe, funding=funding
        )
        clock = VirtualClock(slot + 1_000)
        stores = Stores(
            StateStore(kept, "main", name), Journal(kept, "main", name), Lease(kept, f"main.{name}", "one", 60.0)
        )
        job = Job(
            mode="paper",
            account="main",
            strategy=strategy,
            symbols=tuple(bars),
            timeframe=some.timeframe,
            start_cash=CASH,
            exchange=exchange,
            stores=stores,
            control=Control(kept, "main"),
            clock=clock,
            log=QUIET,
            permissions=Permissions(short=short),
            **options,
        )
        report = run_cycle(job, slot, f"run {number}")
        assert report.status == "done", (number, report.status, report.reason)
    return Journal(kept, "main", name)
