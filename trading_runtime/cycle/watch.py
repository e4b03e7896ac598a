"""Whether the cycles of an account go on as they should: facts in, one assessment out. Pure: no store, no clock.

    healthy    cycles end well and in time
    parked     a run is in progress, or a person has halted or paused the account; the reasons say which
    deferred   something is late or has failed in a way that the next cycle may mend; within tolerance
    alert      a person must look

What is worst counts. A run in progress excuses what its end will mend (an old heartbeat, missed slots) as long as it
is not in progress for too long, and never what has failed before it. A halt excuses nothing but closing everything
(``--flatten``) ending as a risk halt: a halted account needs its cycles to keep reducing. Facts are read by
``watch_facts.py``, people are told by ``watch_alerts.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from trading_runtime.artifacts.ladder import FRESH_UPSTREAM, GIVEN, STATIC
from trading_runtime.core.errors import EXIT_CONFIGURATION, EXIT_DONE, EXIT_HALT, EXIT_TEMPORARY
from trading_runtime.core.timeframes import bucket_open_ms, iso_time
from trading_runtime.cycle.heartbeat import AHEAD_MS_MAX, Heartbeat
from trading_runtime.cycle.watch_limits import Limits

SCHEMA_VERSION = 1
State = Literal["healthy", "parked", "deferred", "alert"]
STATES: tuple[State, ...] = ("healthy", "parked", "deferred", "alert")  # the worst last
Kind = Literal[
    "store_unreachable", "store_refused", "no_store", "document_damaged", "control_unreadable", "clock_ahead",
    "no_heartbeat", "heartbeat_old", "run_failed", "failures_repeated", "run_too_long", "slots_missed", "run_not_done",
    "run_cut_off", "run_in_progress", "halted", "artifact_incident", "artifact_degraded", "holding_suspended",
]  # fmt: skip


_FRESH = (FRESH_UPSTREAM, GIVEN)


class LeaseFacts(NamedTuple):
    """A lease that was not given back. ``renewed_ms`` is when it was last taken or renewed, ``seen_ms`` when a watcher
    first saw this very acquisition, None when it never did.
    """

    holder: str
    token: int
    renewed_ms: int
    expires_ms: int
    seen_ms: int | None = None


class HaltFacts(NamedTuple):
    """A halt or pause by a person: the sentence that tells of it, and whether everything is to be closed."""

    reason: str
    flatten: bool


@dataclass(frozen=True)
class WatchFacts:
    """What the store says. ``bar_ms`` is None where history is played back: wall time says nothing there. ``slot`` is
    the last one of the state document, ``suspended`` tells of its holdings whose market does not trade. ``problems``
    are documents that are damaged or of a newer program; ``unreachable``, ``refused`` (credentials) and ``missing`` say
    why the store told nothing at all.
    """

    account: str
    strategy: str
    bar_ms: int | None
    beat: Heartbeat | None = None
    lease: LeaseFacts | None = None
    halt: HaltFacts | None = None
    slot: int | None = None
    control_unreadable: str = ""
    suspended: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    unreachable: str = ""
    refused: str = ""
    missing: str = ""


class Reason(NamedTuple):
    """Why it is not simply healthy: how bad it is, one word that stays the same while it lasts, and a sentence."""

    state: State
    kind: Kind
    text: str


@dataclass(frozen=True)
class Assessment:
    """What holds at ``as_of_ms``; ``reasons`` the worst first. ``slots_missed`` and ``heartbeat_age_ms`` are None where
    nobody can know. ``notes`` are worth knowing and change nothing.
    """

    account: str
    strategy: str
    as_of_ms: int
    state: State
    reasons: tuple[Reason, ...]
    slots_missed: int | None
    heartbeat_age_ms: int | None
    beat: Heartbeat | None
    notes: tuple[str, ...] = ()

    @property
    def alerts(self) -> tuple[Reason, ...]:
        return tuple(one for one in self.reasons if one.state == "alert")

    @property
    def is_recovered(self) -> bool:
        """Whether an alert before is over: a run in progress or something late does not say so yet."""
        return {one.kind for one in self.reasons} <= {"halted", "artifact_degraded", "holding_suspended"}

    @property
    def exit_code(self) -> int:
        """0, or 78 for an alert; 75 when the store could not be reached, 77 when it refused."""
        if self.state != "alert":
            return EXIT_DONE
        kinds = {one.kind for one in self.reasons}
        if "store_unreachable" in kinds:
            return EXIT_TEMPORARY
        return EXIT_CONFIGURATION if "store_refused" in kinds else EXIT_HALT

    def to_json(self) -> dict[str, Any]:
        beat = self.beat
        last = beat and {
            "run_id": beat.run_id,
            "mode": beat.mode,
            "status": beat.status,
            "exit_code": beat.exit_code,
            "reason": beat.reason,
            "slot": _time(beat.slot),
            "time": _time(beat.time_ms),
            "failures": beat.failures,
            "last_success": _time(beat.last_success_ms),
            "slot_done": _time(beat.slot_done),
            "next_slot": _time(beat.next_slot_ms),
            "artifact": beat.artifact,
        }
        age_ms = self.heartbeat_age_ms
        return {
            "schema_version": SCHEMA_VERSION,
            "account": self.account,
            "strategy": self.strategy,
            "as_of": iso_time(self.as_of_ms),
            "state": self.state,
            "exit_code": self.exit_code,
            "reasons": [one._asdict() for one in self.reasons],
            "notes": list(self.notes),
            "slots_missed": self.slots_missed,
            "heartbeat_age_seconds": None if age_ms is None else age_ms / 1000,
            "last_cycle": last,
        }


def assess(facts: WatchFacts, now_ms: int, limits: Limits) -> Assessment:
    """Return what holds at ``now_ms``. The same facts never look better later, unless a clock was ahead."""
    reasons = _blind(facts)
    missed: int | None = None
    if not reasons:
        progress = _progress(facts, now_ms, limits)
        is_excused = any(one.kind == "run_in_progress" for one in progress)
        missed = _slots_missed(facts, now_ms, limits)
        silence = _heartbeat(facts, now_ms, limits, is_excused=is_excused)
        reasons = [
            *_damaged(facts),
            *_clocks(facts, now_ms),
            *silence,
            *_failures(facts, limits),
            *_slots(missed, limits, is_excused=is_excused, is_silent=bool(silence)),
            *progress,
            *_artifact(facts),
            *(Reason("deferred", "holding_suspended", text) for text in facts.suspended),
        ]
        if facts.halt is not None:
            reasons.append(Reason("parked", "halted", facts.halt.reason))
    reasons.sort(key=lambda one: -STATES.index(one.state))  # stable: of two that are as bad the first stays first
    played_back = "history is played back: age and slots by wall time say nothing" if facts.bar_ms is None else ""
    return Assessment(
        facts.account,
        facts.strategy,
        now_ms,
        reasons[0].state if reasons else "healthy",
        tuple(reasons),
        missed,
        None if facts.beat is None else max(now_ms - facts.beat.time_ms, 0),
        facts.beat,
        (played_back,) if played_back else (),
    )


def _blind(facts: WatchFacts) -> list[Reason]:
    """Why nothing could be seen at all: a watcher that cannot see says so."""
    if facts.unreachable:
        return [
            Reason("alert", "store_unreachable", f"the store cannot be read, nothing is known: {facts.unreachable}")
        ]
    if facts.refused:
        return [Reason("alert", "store_refused", f"the store refuses the watcher, nothing is known: {facts.refused}")]
    return [Reason("alert", "no_store", facts.missing)] if facts.missing else []


def _damaged(facts: WatchFacts) -> list[Reason]:
    found = [Reason("alert", "document_damaged", problem) for problem in facts.problems]
    if facts.control_unreadable:
        found.append(Reason("alert", "control_unreadable", facts.control_unreadable))
    return found


def _clocks(facts: WatchFacts, now_ms: int) -> list[Reason]:
    """What lies in the future would look fresh for as long."""
    if facts.beat is not None and facts.beat.time_ms > now_ms + AHEAD_MS_MAX:
        when = f"the heartbeat is of {iso_time(facts.beat.time_ms)}"
    elif facts.slot is not None and facts.bar_ms is not None and facts.slot > now_ms + AHEAD_MS_MAX:
        when = f"the last slot is {iso_time(facts.slot)}"
    else:
        return []
    return [
        Reason("alert", "clock_ahead", f"{when}, ahead of this computer's clock ({iso_time(now_ms)}): set the clock")
    ]


def _heartbeat(facts: WatchFacts, now_ms: int, limits: Limits, *, is_excused: bool) -> list[Reason]:
    beat = facts.beat
    state: State = "parked" if is_excused else "alert"
    if beat is None:
        if facts.problems:
            return []  # it may be the one that is damaged
        who = f"{facts.strategy} on account {facts.account}"
        text = f"no cycle of {who} has ended in this store yet"
        if facts.slot is not None:
            text = (
                f"{who} has no heartbeat although slot {iso_time(facts.slot)} was decided: see the logs of its cycles"
            )
        return [Reason(state, "no_heartbeat", text)]
    age_ms = now_ms - beat.time_ms
    if facts.bar_ms is None or age_ms <= limits.heartbeat_ms_max:
        return []
    text = (
        f"the heartbeat is {_span(age_ms)} old, at most {_span(limits.heartbeat_ms_max)} are right: no cycle has ended "
        f"since {iso_time(beat.time_ms)} ({beat.status}); look at the schedule"
    )
    return [Reason(state, "heartbeat_old", text)]


def _failures(facts: WatchFacts, limits: Limits) -> list[Reason]:
    beat = facts.beat
    if beat is None or beat.failure is None:
        return []
    last = beat.failure
    if last.status == "risk_halt" and facts.halt is not None and facts.halt.flatten:
        return []  # a person wants everything closed, and so it ends
    told = (
        f"{last.status}, exit code {last.exit_code}, {iso_time(last.time_ms)}: {last.reason or 'no reason was given'}"
    )
    if beat.failures > limits.failures_max:
        return [Reason("alert", "failures_repeated", f"{beat.failures} runs failed in a row, the last as {told}")]
    if last.exit_code == EXIT_TEMPORARY:
        return [Reason("deferred", "run_not_done", f"the last run came to nothing and will be tried again ({told})")]
    return [Reason("alert", "run_failed", f"the last run failed ({told})")]


def _slots_missed(facts: WatchFacts, now_ms: int, limits: Limits) -> int | None:
    """How many slots in a row are not done although their time is over; None where nobody can know."""
    told = None if facts.beat is None else facts.beat.slot_done
    done = [one for one in (facts.slot, told) if one is not None]
    if facts.bar_ms is None or not done:
        return None
    due = bucket_open_ms(now_ms - limits.slot_grace_ms, facts.bar_ms)
    return max((due - max(done)) // facts.bar_ms, 0)


def _slots(missed: int | None, limits: Limits, *, is_excused: bool, is_silent: bool) -> list[Reason]:
    if not missed:
        return []
    # Where no cycle ends at all, missed slots are what follows and no second alert.
    state: State = "alert" if missed > limits.slots_missed_max and not is_silent else "deferred"
    text = f"{missed} slot{'s' if missed > 1 else ''} missed in a row, {limits.slots_missed_max} are tolerated"
    return [Reason("parked" if is_excused else state, "slots_missed", text)]


def _artifact(facts: WatchFacts) -> list[Reason]:
    """What is not fresh must not look healthy, and the built-in universe is an incident."""
    kind = None if facts.beat is None else facts.beat.artifact
    if kind is None or kind in _FRESH:
        return []
    if kind == STATIC:
        text = "only the built-in universe is left: nothing that upstream published can be used; repair upstream"
        return [Reason("alert", "artifact_incident", text)]
    return [Reason("deferred", "artifact_degraded", f"the publication is {kind}, not fresh: repair upstream")]


def _progress(facts: WatchFacts, now_ms: int, limits: Limits) -> list[Reason]:
    """What a lease that was not given back tells, unless the run it belongs to has told its end."""
    lease, beat = facts.lease, facts.beat
    ended_ms = None if beat is None else beat.ended_ms
    if lease is None or (ended_ms is not None and lease.renewed_ms <= ended_ms):
        return []
    if lease.expires_ms <= now_ms:
        text = f"{lease.holder} ended without telling how and did not give the lease back: the next cycle settles it"
        return [Reason("deferred", "run_cut_off", text)]
    run_ms = 0 if lease.seen_ms is None else now_ms - lease.seen_ms
    if run_ms > limits.run_ms_max:
        text = f"{lease.holder} is at work for more than {_span(run_ms)}, at most {_span(limits.run_ms_max)} are right"
        return [Reason("alert", "run_too_long", text)]
    since_ms = None if ended_ms is None or facts.bar_ms is None else now_ms - ended_ms
    if since_ms is not None and since_ms > limits.heartbeat_ms_max + limits.run_ms_max:
        text = f"{lease.holder} is at work, and no run has ended for {_span(since_ms)}"
        return [Reason("alert", "run_too_long", text)]
    return [Reason("parked", "run_in_progress", f"a run is in progress: {lease.holder} has the lease")]


def _span(milliseconds: int) -> str:
    """Return a length of time as people say it: ``1 h 15 min``."""
    seconds = max(milliseconds, 0) // 1000
    parts = ((seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    told = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(told[:2]) or "0 s"


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else iso_time(time_ms)
