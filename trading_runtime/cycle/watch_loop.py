"""One look after the other: read, judge, tell, remember. What each step means is in the files it is named after.

A watcher is a process of its own, in another pod and best on another machine than the cycles it watches. It takes no
lease and writes nothing but what it has told (``watch/<account>.<strategy>``).
"""

from __future__ import annotations

from collections.abc import Callable

from trading_runtime.core.errors import TradingRuntimeError
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.watch import Assessment, assess
from trading_runtime.cycle.watch_alerts import (
    Telling,
    WatchMemory,
    due,
    merged,
    message_of,
    read_memory,
    remembered,
    tell,
    with_lease_seen,
    write_memory,
)
from trading_runtime.cycle.watch_facts import OpenStore, Watched, gather_facts
from trading_runtime.cycle.watch_limits import Limits
from trading_runtime.stores.documents import Documents
from trading_runtime.telemetry.log import EventLog


class Watcher:
    """Watches the cycles of one strategy's account; keeps what it has told for as long as the store is away."""

    def __init__(
        self,
        open_store: OpenStore,
        watched: Watched,
        limits: Limits,
        telling: Telling,
        clock: Clock,
        log: EventLog,
    ) -> None:
        """``telling.retry`` also says how often the store is asked before it counts as unreachable."""
        self._open_store, self._watched, self._limits = open_store, watched, limits
        self._telling, self._clock, self._log = telling, clock, log
        self._memory = WatchMemory(watched.account, watched.strategy)
        self._stored: WatchMemory | None = None  # as this process last read or wrote it

    def look(self) -> Assessment:
        """Look once, tell people what is due, and return what was found. Raises nothing the world does."""
        facts, documents = gather_facts(self._open_store, self._watched, self._clock, self._telling.retry)
        try:
            if documents is not None:
                self._recall(documents)
            now_ms = self._clock.now_ms()
            facts, self._memory = with_lease_seen(facts, self._memory, now_ms)
            found = assess(facts, now_ms, self._limits)
            level = "error" if found.state == "alert" else "info"
            self._log.write(level, "watch", {"state": found.state, "reasons": [one.kind for one in found.reasons]})
            kind = due(self._memory, found, self._telling.repeat_ms)
            if kind is not None:
                message = message_of(self._memory, found, kind, self._telling.language)
                if tell(message, self._telling, self._clock, self._log):
                    self._memory = remembered(self._memory, found, kind)
            # What could not be recalled is not written over.
            if documents is not None and self._stored is not None and self._memory != self._stored:
                is_kept = write_memory(documents, self._watched.owner, self._memory, self._log)
                self._stored = self._memory if is_kept else self._stored
            return found
        finally:
            if documents is not None:
                documents.close()

    def _recall(self, documents: Documents) -> None:
        """Take over what another watcher, or an earlier one, has told. What could not be written here stays known."""
        fresh = WatchMemory(self._watched.account, self._watched.strategy)
        try:
            stored = read_memory(documents, self._watched.owner, fresh)
        except TradingRuntimeError as error:
            self._log.error("watch_not_recalled", detail=" ".join(str(error).split()))
            return
        if self._stored is None:
            self._memory = merged(self._memory, stored)
        elif stored != self._stored:
            self._memory = stored
        self._stored = stored


def watch(watcher: Watcher, every_seconds: float, clock: Clock, show: Callable[[Assessment], None]) -> None:
    """Look again and again, until the process is ended."""
    while True:
        show(watcher.look())
        clock.sleep(every_seconds)
