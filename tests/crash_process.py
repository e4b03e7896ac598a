"""Processes of the crash matrix: a cycle's way to store, exchange and clock, through points where it may die or pause.

What happens at a point is the hook's business; nothing here knows of scenarios or of what must hold.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from cycle_world import World
from venue.clock import VirtualClock
from venue.faults import Faults
from venue.port import VenueExchange

from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.run import run_cycle
from trading_runtime.stores.documents import Document, Documents

LEASE_SECONDS = 60.0
_EFFECTS = ("create", "replace", "place", "cancel", "move_earn")


class Violation(AssertionError):
    """A promise was broken: ``check`` names which."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check


class Killed(BaseException):
    """The process ended here. No ``except Exception`` sees it, and nothing it calls afterwards works either."""


class Point(NamedTuple):
    """A place where a process may die or pause. ``is_effect``: next to something that others can see."""

    number: int
    name: str
    is_effect: bool


class Process:
    """One process: it holds a store, an exchange and a clock of its own over the world's, and counts what it does."""

    def __init__(
        self,
        world: World,
        faults: Faults,
        holder: str,
        *,
        hook: Callable[[Process, str], None] | None = None,
        sleep: Callable[[float], None] | None = None,
        names_writes: bool = False,
        lease_seconds: float = LEASE_SECONDS,
        offset_ms: int = 0,
    ) -> None:
        self.world, self.holder = world, holder
        self.points: list[Point] = []
        self.is_dead = False
        self.names_writes = names_writes
        self.clock = ProcessClock(world.clock, self, sleep, offset_ms)
        self._hook = hook
        exchange = VenueExchange(
            world.venue,
            faults,
            self.clock,
            before=lambda call: self.passes(f"before {call}", call in _EFFECTS),
            after=lambda call: self.passes(f"after {call}", call in _EFFECTS),
        )
        self.job = world.job(
            holder=holder,
            exchange=exchange,
            documents=HookedDocuments(world.documents, self),
            clock=self.clock,
            lease_seconds=lease_seconds,
        )

    def passes(self, name: str, is_effect: bool) -> None:
        """Count a point; the hook may raise, wait, or let others run."""
        self.lives()
        self.points.append(Point(len(self.points), name, is_effect))
        if self._hook is not None:
            self._hook(self, name)
            self.lives()

    def lives(self) -> None:
        if self.is_dead:
            raise Killed(self.holder)

    def die(self) -> None:
        self.is_dead = True
        raise Killed(self.holder)

    def run(self, slot: int | None) -> CycleReport | None:
        """Run a cycle; None when the process died in it."""
        try:
            return run_cycle(self.job, slot, self.holder)
        except Killed:
            return None


class ProcessClock:
    """The world's clock as one process sees it, ``offset_ms`` off; a dead process no longer waits."""

    def __init__(
        self, clock: VirtualClock, process: Process, sleep: Callable[[float], None] | None, offset_ms: int
    ) -> None:
        self._clock, self._process = clock, process
        self._sleep = sleep or clock.sleep
        self._offset_ms = offset_ms

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._offset_ms

    def sleep(self, seconds: float) -> None:
        self._process.lives()
        self._sleep(seconds)
        self._process.lives()

    def at(self, time_ms: int, action: Callable[[], None]) -> None:
        self._clock.at(time_ms - self._offset_ms, action)


class HookedDocuments:
    """Documents of which every write passes a point before and after; reads only need a living process."""

    def __init__(self, documents: Documents, process: Process) -> None:
        self._documents, self._process = documents, process

    def read(self, path: str) -> Document | None:
        self._process.lives()
        return self._documents.read(path)

    def names(
        self, collection: str, *, first: str = "", last: str | None = None, newest: int | None = None
    ) -> list[str]:
        self._process.lives()
        return self._documents.names(collection, first=first, last=last, newest=newest)

    def create(self, path: str, content: bytes) -> str:
        name = _write_name(path, content) if self._process.names_writes else "write"
        self._process.passes(f"before {name}", True)
        version = self._documents.create(path, content)
        self._process.passes(f"after {name}", True)
        return version

    def replace(self, path: str, content: bytes, version: str) -> str:
        name = _write_name(path, content) if self._process.names_writes else "write"
        self._process.passes(f"before {name}", True)
        version = self._documents.replace(path, content, version)
        self._process.passes(f"after {name}", True)
        return version

    def close(self) -> None:
        return None


def _write_name(path: str, content: bytes) -> str:
    """What a write is, in words for people."""
    value = json.loads(content)
    kind = path.split("/", maxsplit=1)[0]
    if kind == "state":
        phases = Counter(record["phase"] for record in value["state"]["records"])
        told = ", ".join(f"{count} {phase}" for phase, count in sorted(phases.items()))
        moves = [f"{one['kind']} {one['phase']}" for one in value["state"]["earn"]]
        return f"state ({', '.join([told, *moves] if told else moves) or 'nothing open'})"
    if kind == "journal":
        return f"journal ({value['kind']})" if "kind" in value else "journal (new session)"
    if kind == "leases":
        return "lease (given back)" if value["released"] else "lease (taken)"
    return "known account"
