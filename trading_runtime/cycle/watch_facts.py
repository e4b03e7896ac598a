"""What a watcher reads of a store: heartbeat, lease, control and the state's last slot. Reads only.

The store may be away for a moment: it is asked again, limited in attempts and seconds, before it counts as unreachable.
What all of it means is ``watch.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

from trading_runtime.core.errors import ConfigurationError, HaltError, StoreUnavailable
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.heartbeat import Heartbeat, heartbeat_path, read_heartbeat
from trading_runtime.cycle.status import holder_of, load_account
from trading_runtime.cycle.suspended import suspended_json, suspended_text
from trading_runtime.cycle.watch import HaltFacts, LeaseFacts, WatchFacts
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.envelope import owner_name

OpenStore = Callable[[], Documents | None]
_Told = TypeVar("_Told")


class Retry(NamedTuple):
    """How often something is tried, and the seconds after the first attempt; after the second it is twice as long, and
    so on. The original dispatch guard's: 4 attempts, 15 s.
    """

    attempts: int = 4
    base_seconds: float = 15.0


class Watched(NamedTuple):
    """Whose cycles are watched. ``bar_ms`` is None where history is played back; ``lease_ms`` is the length of a
    lease; ``missing`` is what to say where there is no store.
    """

    account: str
    strategy: str
    bar_ms: int | None
    lease_ms: int
    missing: str

    @property
    def owner(self) -> str:
        return owner_name(self.account, self.strategy)


class Seen(NamedTuple):
    """What was read, and the store it was read from, still open; None where nothing could be read."""

    facts: WatchFacts
    documents: Documents | None


def gather_facts(open_store: OpenStore, watched: Watched, clock: Clock, retry: Retry) -> Seen:
    """Return the facts of now. Never raises for what is wrong with the store: then that is the fact. ``open_store``
    returns None where there is none.
    """
    blind = WatchFacts(watched.account, watched.strategy, watched.bar_ms)
    problem = ""
    for attempt in range(1, retry.attempts + 1):
        documents: Documents | None = None
        try:
            documents = open_store()
            if documents is None:
                return Seen(replace(blind, missing=watched.missing), None)
            return Seen(read_facts(documents, watched, clock.now_ms()), documents)
        except StoreUnavailable as error:
            problem = str(error)
        except ConfigurationError as error:
            _close(documents)
            return Seen(replace(blind, refused=str(error)), None)
        except HaltError as error:
            _close(documents)
            return Seen(replace(blind, problems=(str(error),)), None)
        _close(documents)
        if attempt < retry.attempts:
            clock.sleep(retry.base_seconds * attempt)
    return Seen(replace(blind, unreachable=problem), None)


def _close(documents: Documents | None) -> None:
    if documents is not None:
        documents.close()


def read_facts(documents: Documents, watched: Watched, now_ms: int) -> WatchFacts:
    """Return what the store says. Raises StoreUnavailable when it cannot be asked, ConfigurationError when it refuses;
    documents that are damaged, or of a newer program, are facts.
    """
    account, strategy = watched.account, watched.strategy
    documents.read(heartbeat_path(watched.owner))  # a store that refuses does so here
    problems: list[str] = []

    def told(read: Callable[[], _Told | None]) -> _Told | None:
        try:
            return read()
        except (HaltError, ConfigurationError) as error:
            problems.append(str(error))
            return None

    beat: Heartbeat | None = told(lambda: read_heartbeat(documents, watched.owner))
    held = told(lambda: holder_of(documents, account, strategy))
    state = told(lambda: load_account(documents, account, strategy))
    control = Control(documents, account).read(now_ms)
    if control.unreadable:  # to a cycle that is a halt, whatever the cause; here a store that is away is told apart
        documents.read(f"control/{account}")
        control = Control(documents, account).read(now_ms)
    lease = None
    if held is not None:
        lease = LeaseFacts(held.holder, held.token, held.expires_ms - watched.lease_ms, held.expires_ms)
    is_halted = not control.allows_risk and not control.unreadable
    return WatchFacts(
        account,
        strategy,
        watched.bar_ms,
        beat=beat,
        lease=lease,
        halt=HaltFacts(control.reason, control.flatten) if is_halted else None,
        slot=None if state is None else state.state.slot,
        control_unreadable=control.reason if control.unreadable else "",
        suspended=() if state is None else tuple(suspended_text(one) for one in suspended_json(state)),
        problems=tuple(problems),
    )
