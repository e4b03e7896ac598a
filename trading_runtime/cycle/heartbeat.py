"""The heartbeat: one document for each account and strategy that says how the newest cycle ended, and when.

    heartbeat/<account>.<strategy>      written at the end of every cycle, whatever happened; read by watchers

Telling fails open: a heartbeat that cannot be written is a line in the log and changes nothing of the cycle. It is no
source of truth about money; that is the state document. Who judges a heartbeat is ``watch.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from trading_runtime.core.errors import EXIT_DONE, StoreDamaged, StoreUnavailable, TradingRuntimeError
from trading_runtime.core.timeframes import bucket_open_ms
from trading_runtime.cycle.clock import Clock
from trading_runtime.stores.control import Moment
from trading_runtime.stores.documents import Conflict, Document, Documents, checked_name
from trading_runtime.stores.envelope import open_sealed, owner_name, seal
from trading_runtime.telemetry.log import EventLog
from trading_runtime.telemetry.redact import redact

if TYPE_CHECKING:
    from trading_runtime.config.load import LoadedCycleSettings

SCHEMA_VERSION = 1
# Two clocks of which one is ahead by more cannot both be right.
AHEAD_MS_MAX = 120_000
# Cycles of one account that end within the same moments are few.
_ATTEMPTS_MAX = 10
_REASON_LENGTH_MAX = 300
# It says that another process is at work, and nothing of how the account's own cycles end.
_NOT_MINE = "not_mine"


class Ended(Protocol):
    """How a cycle ended: what ``CycleReport`` says of it. ``slot`` is in milliseconds, None when it came to none. What
    it may say beside, ``publication``, is a mapping with the ``source_kind`` of the ladder.
    """

    @property
    def run_id(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def strategy(self) -> str: ...
    @property
    def slot(self) -> int | None: ...
    @property
    def status(self) -> str: ...
    @property
    def exit_code(self) -> int: ...
    @property
    def reason(self) -> str: ...


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest cycle that ended with another exit code than 0."""

    run_id: str
    status: str
    exit_code: int
    reason: str
    time_ms: Moment


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is stored. Times are milliseconds UTC by the clock of whoever ran the cycle.

    ``time_ms`` is the end of the newest cycle, and ``run_id`` to ``reason`` are about it. ``ended_ms`` is the end of
    the newest one that had the lease, None when there was none yet: a cycle that found another at work
    (``not_mine``) tells that the schedule runs, and leaves all below as it was. ``failures`` counts cycles that failed
    in a row, ``failure`` is the last of them, None when there is none. ``slot_done`` is the newest slot a cycle that
    succeeded has worked on, ``next_slot_ms`` the close that the next cycle is expected for, None where history is
    played back. ``artifact`` is the rung of the ladder that held (``fresh_upstream``, ``static``, ...), None for a
    strategy without.
    """

    account: str
    strategy: str
    mode: str
    time_ms: Moment
    run_id: str
    status: str
    exit_code: int
    reason: str
    slot: Moment | None
    ended_ms: Moment | None
    failures: int
    failure: Failure | None
    last_success_ms: Moment | None
    slot_done: Moment | None
    next_slot_ms: Moment | None
    artifact: str | None = None


def heartbeat_path(owner: str) -> str:
    """Return the document of ``owner`` (``stores.envelope.owner_name``)."""
    return f"heartbeat/{checked_name(owner)}"


def beat(documents: Documents, owner: str, ended: Ended, clock: Clock, *, bar_ms: int | None, log: EventLog) -> bool:
    """Write the heartbeat of a cycle that has ended; tell whether it was written. Never raises.

    ``bar_ms`` is the length of a bar, None where history is played back. A dry run leaves none. Of several cycles that
    end at the same time the newest stays.
    """
    if ended.mode == "dry-run":
        return False
    try:
        return _write(documents, heartbeat_path(owner), ended, clock.now_ms(), bar_ms)
    except Exception as error:  # noqa: BLE001 - nothing that only watches may change how a cycle ends
        text = str(error) if isinstance(error, TradingRuntimeError) else type(error).__name__
        log.error("heartbeat_not_written", owner=owner, detail=redact(" ".join(text.split())))
        return False


def beat_refused_start(
    loaded: LoadedCycleSettings, mode: str, run_id: str, error: TradingRuntimeError, clock: Clock, log: EventLog
) -> bool:
    """Write the heartbeat of a cycle that could not even be put together (credentials, identity, exchange) into a store
    that is there already; tell whether it was written. Never raises.
    """
    if mode == "dry-run":
        return False
    try:
        from trading_runtime.config.cycle_build import load_strategy
        from trading_runtime.core.timeframes import timeframe_ms
        from trading_runtime.cycle.build import open_store
        from trading_runtime.cycle.outcome import close_with
        from trading_runtime.cycle.report import CycleReport
        from trading_runtime.cycle.status import is_store_there

        settings = loaded.settings
        if settings.store.kind == "sqlite" and not is_store_there(loaded.folder / settings.store.path):
            return False  # nobody watches what has never run, and a start that is refused leaves no file behind
        strategy = type(load_strategy(settings, loaded.folder)).__qualname__
        report = CycleReport(run_id, mode, settings.account.name, strategy, {})
        close_with(report, error)
        bar_ms = None if settings.feed.files else timeframe_ms(settings.market.timeframe)
        documents = open_store(settings, loaded.folder, create=False)
        try:
            return beat(documents, owner_name(report.account, strategy), report, clock, bar_ms=bar_ms, log=log)
        finally:
            documents.close()
    except Exception as problem:  # noqa: BLE001 - the error that kept the cycle from starting is the one to be told
        text = str(problem) if isinstance(problem, TradingRuntimeError) else type(problem).__name__
        log.error("heartbeat_not_written", detail=redact(" ".join(text.split())))
        return False


def read_heartbeat(documents: Documents, owner: str) -> Heartbeat | None:
    """Return the heartbeat, None when no cycle of ``owner`` has ever ended here. Raises StoreUnavailable, StoreDamaged,
    and ConfigurationError for one of a newer program.
    """
    path = heartbeat_path(owner)
    there = documents.read(path)
    return None if there is None else _opened(path, there)


def _opened(path: str, there: Document) -> Heartbeat:
    content = open_sealed(path, there.content, SCHEMA_VERSION).content
    try:
        return msgspec.convert(content, Heartbeat)
    except msgspec.ValidationError as error:
        raise StoreDamaged(f"{path}: is not a heartbeat ({error}); the next cycle writes it anew") from error


def _write(documents: Documents, path: str, ended: Ended, now_ms: int, bar_ms: int | None) -> bool:
    for _ in range(_ATTEMPTS_MAX):
        there = documents.read(path)
        before = None if there is None else _before(path, there)
        # One that lies far ahead was written by a clock that was wrong: it must not silence all that follow.
        if before is not None and now_ms < before.time_ms <= now_ms + AHEAD_MS_MAX:
            return False
        content = msgspec.to_builtins(_next(before, ended, now_ms, bar_ms))
        msgspec.convert(content, Heartbeat)  # nothing is left behind that a watcher could not read
        raw, _ = seal(path, content, SCHEMA_VERSION)
        try:
            if there is None:
                documents.create(path, raw)
            else:
                documents.replace(path, raw, there.version)
        except Conflict:
            continue
        return True
    raise StoreUnavailable(f"{path}: was changed by others {_ATTEMPTS_MAX} times in a row")


def _before(path: str, there: Document) -> Heartbeat | None:
    """Return the heartbeat that is there, None when it is not readable: then it is written anew."""
    try:
        return _opened(path, there)
    except StoreDamaged:
        return None


def _next(before: Heartbeat | None, ended: Ended, now_ms: int, bar_ms: int | None) -> Heartbeat:
    """Return the heartbeat after a cycle has ended."""
    reason = redact(" ".join(ended.reason.split()))[:_REASON_LENGTH_MAX]
    publication = getattr(ended, "publication", None)
    artifact = publication.get("source_kind") if isinstance(publication, Mapping) else None
    if artifact is None and before is not None and (ended.exit_code != EXIT_DONE or ended.status == _NOT_MINE):
        artifact = before.artifact  # it ended before it had asked
    beat_now = Heartbeat(
        account=ended.account,
        strategy=ended.strategy,
        mode=ended.mode,
        time_ms=now_ms,
        run_id=ended.run_id,
        status=ended.status,
        exit_code=ended.exit_code,
        reason=reason,
        slot=ended.slot,
        ended_ms=now_ms,
        failures=0,
        failure=None,
        last_success_ms=now_ms,
        slot_done=None if before is None else before.slot_done,
        next_slot_ms=None if bar_ms is None else bucket_open_ms(now_ms, bar_ms) + bar_ms,
        artifact=artifact,
    )
    if ended.status == _NOT_MINE:
        kept = ("ended_ms", "failures", "failure", "last_success_ms")
        return msgspec.structs.replace(
            beat_now,
            **{name: None if before is None else getattr(before, name) for name in kept}
            | {"failures": 0 if before is None else before.failures},
        )
    if ended.exit_code != EXIT_DONE:
        return msgspec.structs.replace(
            beat_now,
            failures=1 if before is None else before.failures + 1,
            failure=Failure(ended.run_id, ended.status, ended.exit_code, reason, now_ms),
            last_success_ms=None if before is None else before.last_success_ms,
        )
    if ended.slot is not None:
        # A late cycle may be asked for an older slot: what was done stays done.
        done = ended.slot if beat_now.slot_done is None else max(ended.slot, beat_now.slot_done)
        return msgspec.structs.replace(beat_now, slot_done=done)
    return beat_now
