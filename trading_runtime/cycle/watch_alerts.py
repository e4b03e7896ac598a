"""Telling people what a watcher found: each alert once, again after a while, and once that it is over.

What was told is remembered in the document ``watch/<account>.<strategy>`` of the store, so that a watcher that is
started anew, or each time, does not repeat itself; and in the process, for as long as the store is away. Nothing here
judges, and nothing here changes what is traded.

    a reason that was not told yet               alert, at once
    a reason that was told                       alert again after ``repeat_ms``, all reasons in one message
    healthy again, or halted and else healthy    recovery, once

A message that no channel took was not told: the next look tries again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import msgspec

from trading_runtime.core.errors import ConfigurationError, StoreDamaged, TradingRuntimeError
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.told.wording import Wording
from trading_runtime.cycle.watch import Assessment, WatchFacts
from trading_runtime.cycle.watch_facts import Retry
from trading_runtime.notify.deliver import deliver
from trading_runtime.notify.port import Delivery, Message, Notifier
from trading_runtime.stores.control import Moment
from trading_runtime.stores.documents import Conflict, Document, Documents, checked_name
from trading_runtime.stores.envelope import open_sealed, seal
from trading_runtime.telemetry.log import EventLog
from trading_runtime.telemetry.redact import redact

SCHEMA_VERSION = 1
_ATTEMPTS_MAX = 5
# What a delivery of notify/telegram.py says of a failure that may pass: no transport, 429 and 5xx.
_TRANSIENT = re.compile(r"HTTP (?:429|5\d\d)(?!\d)|no connection \(|no answer ")

Kind = Literal["alert", "recovery"]


class WatchMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was told of an account, and since when a lease is held. ``told_ms`` is by kind of reason; ``since_ms`` is
    when the first message of an incident that lasts was delivered, None when none lasts.
    """

    account: str
    strategy: str
    since_ms: Moment | None = None
    told_ms: dict[str, Moment] = {}
    lease_token: int | None = None
    lease_seen_ms: Moment | None = None


class Telling(NamedTuple):
    """How people are told: the channels, how often a channel is tried, after how long an alert is repeated, and the
    language.
    """

    notifiers: Sequence[Notifier]
    retry: Retry
    repeat_ms: int
    language: str = "en"


def watch_path(owner: str) -> str:
    """Return the document that remembers what was told about ``owner``."""
    return f"watch/{checked_name(owner)}"


def with_lease_seen(facts: WatchFacts, memory: WatchMemory, now_ms: int) -> tuple[WatchFacts, WatchMemory]:
    """Return the facts with the time since which the lease was seen held, and the memory that says so."""
    lease = facts.lease
    if facts.unreachable or facts.refused:
        return facts, memory  # nothing was seen
    if lease is None:
        return facts, msgspec.structs.replace(memory, lease_token=None, lease_seen_ms=None)
    seen_ms = memory.lease_seen_ms if memory.lease_token == lease.token else None
    seen_ms = now_ms if seen_ms is None or seen_ms > now_ms else seen_ms
    memory = msgspec.structs.replace(memory, lease_token=lease.token, lease_seen_ms=seen_ms)
    return replace(facts, lease=lease._replace(seen_ms=seen_ms)), memory


def merged(here: WatchMemory, stored: WatchMemory) -> WatchMemory:
    """Return what both know: of a process that could not read the store until now, and of the store."""
    told = {**stored.told_ms}
    for kind, at in here.told_ms.items():
        told[kind] = max(at, told.get(kind, 0))
    began = [one for one in (here.since_ms, stored.since_ms) if one is not None]
    return msgspec.structs.replace(stored, since_ms=min(began, default=None), told_ms=told)


def due(memory: WatchMemory, found: Assessment, repeat_ms: int) -> Kind | None:
    """Return what people are to be told now, None when nothing."""
    if found.state == "alert":
        told = [memory.told_ms.get(one.kind) for one in found.alerts]
        # What was told in the future was told by a clock that was wrong.
        is_due = any(at is None or at > found.as_of_ms or found.as_of_ms - at >= repeat_ms for at in told)
        return "alert" if is_due else None
    return "recovery" if memory.since_ms is not None and found.is_recovered else None


def remembered(memory: WatchMemory, found: Assessment, kind: Kind) -> WatchMemory:
    """Return the memory after a message of ``kind`` was delivered."""
    if kind == "recovery":
        return msgspec.structs.replace(memory, since_ms=None, told_ms={})
    told = dict(memory.told_ms)
    for one in found.alerts:
        told[one.kind] = found.as_of_ms
    since_ms = found.as_of_ms if memory.since_ms is None else memory.since_ms
    return msgspec.structs.replace(memory, since_ms=since_ms, told_ms=told)


def message_of(memory: WatchMemory, found: Assessment, kind: Kind, language: str = "en") -> Message:
    """Return the text people get, in ``language``: what is wrong, the worst first, or that it is over."""
    wording = Wording(language)
    who = f"{found.account} {found.strategy} [watch] {iso_time(found.as_of_ms)}"
    word = f"watch_{kind}"
    lines = [wording("head", who=who, title=wording(f"title_{word}"))]
    state = wording.named("state", found.state)
    if kind == "alert":
        lines += [wording.said(one.text) for one in found.reasons]
    elif memory.since_ms is None:
        lines.append(wording("watch_over", state=state))
    else:
        lines.append(wording("watch_over_since", state=state, since=iso_time(memory.since_ms)))
    beat = found.beat
    if beat is not None:
        status = wording.named("status", beat.status)
        lines.append(wording("watch_last", status=status, code=beat.exit_code, time=iso_time(beat.time_ms)))
    return Message(word, redact("\n".join(lines)), None if beat is None else beat.slot)


def tell(message: Message, telling: Telling, clock: Clock, log: EventLog) -> bool:
    """Send a message to all channels; tell whether people got it: one channel beside the log, or the log alone where
    there is no other. A channel whose failure may pass is tried again, others are not.
    """
    left: list[Notifier] = list(telling.notifiers)
    reached: list[str] = []
    for attempt in range(1, telling.retry.attempts + 1):
        deliveries = deliver(left, message)
        reached += [one.channel for one in deliveries if one.delivered]
        for one in deliveries:
            if not one.delivered:
                log.error("watch_not_delivered", channel=one.channel, detail=one.detail, attempt=attempt)
        left = [notifier for notifier, one in zip(left, deliveries, strict=True) if is_transient(one)]
        if not left or attempt == telling.retry.attempts:
            break
        clock.sleep(telling.retry.base_seconds * attempt)
    people = [one for one in telling.notifiers if one.channel != "log"]
    return any(channel != "log" for channel in reached) if people else bool(reached)


def is_transient(delivery: Delivery) -> bool:
    """Whether a message that was not delivered may be a moment later."""
    return not delivery.delivered and _TRANSIENT.match(delivery.detail) is not None


def read_memory(documents: Documents, owner: str, fresh: WatchMemory) -> WatchMemory:
    """Return what is remembered; ``fresh`` where nothing is, or nothing readable. Raises StoreUnavailable."""
    path = watch_path(owner)
    there = documents.read(path)
    found = None if there is None else _opened(path, there)
    return fresh if found is None else found


def write_memory(documents: Documents, owner: str, memory: WatchMemory, log: EventLog) -> bool:
    """Remember; tell whether it was written. Never raises: forgetting costs a message that is repeated."""
    path = watch_path(owner)
    try:
        raw, _ = seal(path, msgspec.to_builtins(memory), SCHEMA_VERSION)
        for _ in range(_ATTEMPTS_MAX):
            there = documents.read(path)
            if there is not None and there.content == raw:
                return True
            try:
                if there is None:
                    documents.create(path, raw)
                else:
                    documents.replace(path, raw, there.version)
            except Conflict:
                continue  # another watcher of the same account: whoever is last has told last
            return True
        detail = "was changed by others again and again"
    except (TradingRuntimeError, ValueError) as error:
        detail = " ".join(str(error).split())
    log.error("watch_not_remembered", path=path, detail=redact(detail))
    return False


def _opened(path: str, there: Document) -> WatchMemory | None:
    try:
        return msgspec.convert(open_sealed(path, there.content, SCHEMA_VERSION).content, WatchMemory)
    except (StoreDamaged, ConfigurationError, msgspec.ValidationError):
        return None
