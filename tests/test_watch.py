"""What a watcher makes of what it sees: each state by values, and that no combination is seen as better than it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as some
from watch_world import HOUR_MS, START_MS

from trading_runtime.core.errors import EXIT_DONE
from trading_runtime.core.timeframes import TIMEFRAME_MS, bucket_open_ms
from trading_runtime.cycle.heartbeat import AHEAD_MS_MAX, Failure, Heartbeat
from trading_runtime.cycle.watch import STATES, Assessment, HaltFacts, Kind, LeaseFacts, WatchFacts, assess
from trading_runtime.cycle.watch_limits import limits_of

LIMITS = limits_of(HOUR_MS)
HALT = HaltFacts("halted by ann since then until somebody resumes: rest", False)
FLATTEN = HALT._replace(flatten=True)


def beat_of(**changes: Any) -> Heartbeat:
    """A cycle of START_MS that ended well, five seconds after its close."""
    at = START_MS + 5_000
    values: dict[str, Any] = {
        "account": "main", "strategy": "Alternate", "mode": "live", "time_ms": at, "run_id": "run", "status": "done",
        "exit_code": 0, "reason": "", "slot": START_MS, "ended_ms": at, "failures": 0, "failure": None,
        "last_success_ms": at, "slot_done": START_MS, "next_slot_ms": START_MS + HOUR_MS,
    }  # fmt: skip
    return Heartbeat(**{**values, **changes})


def failed(exit_code: int, count: int = 1, status: str = "failed") -> Heartbeat:
    failure = Failure("run", status, exit_code, "it broke", START_MS + 5_000)
    return beat_of(status=status, exit_code=exit_code, failures=count, failure=failure)


def facts_of(**changes: Any) -> WatchFacts:
    values: dict[str, Any] = {"bar_ms": HOUR_MS, "beat": beat_of(), "slot": START_MS, **changes}
    return WatchFacts("main", "Alternate", **values)


def held(after_seconds: int, *, lasts_seconds: int = 60, seen_seconds: int | None = None) -> LeaseFacts:
    """A lease taken or renewed so long after START_MS."""
    at = START_MS + after_seconds * 1000
    seen_ms = None if seen_seconds is None else START_MS + seen_seconds * 1000
    return LeaseFacts("pod-7", 9, at, at + lasts_seconds * 1000, seen_ms)


def look(after_seconds: float, **changes: Any) -> Assessment:
    return assess(facts_of(**changes), START_MS + round(after_seconds * 1000), LIMITS)


def kinds(found: Assessment) -> list[str]:
    return [one.kind for one in found.reasons]


@pytest.mark.parametrize(
    ("after_seconds", "changes", "state", "expected"),
    [
        (600, {}, "healthy", []),
        (4_499, {}, "healthy", []),
        # The next slot has its 900 s; with the heartbeat's last second it counts as missed.
        (4_500, {}, "deferred", ["slots_missed"]),
        (4_505, {}, "deferred", ["slots_missed"]),
        (4_506, {}, "alert", ["heartbeat_old", "slots_missed"]),
        # Cycles end but decide nothing: two slots are tolerated.
        (2 * 3600 + 950, {"beat": beat_of(time_ms=START_MS + 7_300_000)}, "deferred", ["slots_missed"]),
        (3 * 3600 + 950, {"beat": beat_of(time_ms=START_MS + 10_900_000)}, "alert", ["slots_missed"]),
        # The state document knows of a later slot than the heartbeat.
        (8_150, {"beat": beat_of(time_ms=START_MS + 7_300_000), "slot": START_MS + 2 * HOUR_MS}, "healthy", []),
        (600, {"beat": failed(1)}, "alert", ["run_failed"]),
        (600, {"beat": failed(70)}, "alert", ["run_failed"]),
        (600, {"beat": failed(76, status="unresolved")}, "alert", ["run_failed"]),
        (600, {"beat": failed(77, status="refused")}, "alert", ["run_failed"]),
        (600, {"beat": failed(78, status="risk_halt")}, "alert", ["run_failed"]),
        (600, {"beat": failed(75, status="no_decision")}, "deferred", ["run_not_done"]),
        (600, {"beat": failed(75, 2, status="no_decision")}, "deferred", ["run_not_done"]),
        (600, {"beat": failed(75, 3, status="no_decision")}, "alert", ["failures_repeated"]),
        (600, {"halt": HALT}, "parked", ["halted"]),
        (600, {"halt": FLATTEN, "beat": failed(78, 9, status="risk_halt")}, "parked", ["halted"]),
        (600, {"halt": HALT, "beat": failed(78, status="risk_halt")}, "alert", ["run_failed", "halted"]),
        (4_600, {"halt": HALT}, "alert", ["heartbeat_old", "slots_missed", "halted"]),
        (3_630, {"lease": held(3_605)}, "parked", ["run_in_progress"]),
        (4_600, {"lease": held(4_590)}, "parked", ["heartbeat_old", "slots_missed", "run_in_progress"]),
        (3_700, {"lease": held(3_605)}, "deferred", ["run_cut_off"]),
        (600, {"lease": held(5)}, "healthy", []),
        (600, {"lease": held(4)}, "healthy", []),  # it told its end, and only could not give the lease back
        (8_000, {"lease": held(7_990, seen_seconds=4_401)}, "parked", None),
        (8_000, {"lease": held(7_990, seen_seconds=4_399)}, "alert", None),
        (9_000, {"lease": held(8_990)}, "alert", None),  # nobody saw it begin, but nothing has ended for too long
        (3_630, {"lease": held(3_605), "beat": failed(70)}, "alert", ["run_failed", "run_in_progress"]),
        (600, {"beat": None, "slot": None}, "alert", ["no_heartbeat"]),
        (600, {"beat": None, "slot": None, "lease": held(590)}, "parked", ["no_heartbeat", "run_in_progress"]),
        (600, {"problems": ("state/main.Alternate: does not match its checksum",)}, "alert", ["document_damaged"]),
        (600, {"control_unreadable": "the control document cannot be read"}, "alert", ["control_unreadable"]),
        (-130, {}, "alert", ["clock_ahead"]),
        (-100, {}, "healthy", []),
        (600, {"slot": START_MS + HOUR_MS}, "alert", ["clock_ahead"]),
        (10, {"unreachable": "no answer", "beat": None}, "alert", ["store_unreachable"]),
        (10, {"refused": "no permission", "beat": None}, "alert", ["store_refused"]),
        (10, {"missing": "there is no store", "beat": None}, "alert", ["no_store"]),
        (600, {"beat": beat_of(artifact="fresh_upstream")}, "healthy", []),
        (600, {"beat": beat_of(artifact="last_known_good")}, "deferred", ["artifact_degraded"]),
        (600, {"beat": beat_of(artifact="local_file")}, "deferred", ["artifact_degraded"]),
        (600, {"beat": beat_of(artifact="static")}, "alert", ["artifact_incident"]),
        # History that is played back: time says nothing, failures do.
        (10**7, {"bar_ms": None}, "healthy", []),
        (10**7, {"bar_ms": None, "beat": failed(70)}, "alert", ["run_failed"]),
    ],
)  # fmt: skip
def test_each_state_has_its_reasons(
    after_seconds: float, changes: dict[str, Any], state: str, expected: list[str] | None
) -> None:
    found = look(after_seconds, **changes)

    assert (found.state, expected if expected is None else kinds(found)) == (state, expected)


def test_the_exit_code_tells_what_to_do() -> None:
    assert look(600).exit_code == 0
    assert look(600, halt=HALT).exit_code == 0
    assert look(600, beat=failed(75)).exit_code == 0
    assert look(600, beat=failed(1)).exit_code == 78
    assert look(600, beat=None, unreachable="no answer").exit_code == 75
    assert look(600, beat=None, refused="no permission").exit_code == 77


def test_the_limits_follow_the_bars() -> None:
    assert limits_of(HOUR_MS) == (4_500_000, 2, 900_000, 2, 3_600_000)
    assert limits_of(60_000) == (75_000, 2, 15_000, 2, 300_000)
    assert limits_of(24 * HOUR_MS) == (30 * HOUR_MS, 2, 900_000, 2, 3_600_000)
    given_ = limits_of(HOUR_MS, heartbeat_seconds=60, slots_missed=0, failures=0, run_seconds=90)
    assert given_ == (60_000, 0, 900_000, 0, 90_000)


def test_weeks_are_counted_from_mondays() -> None:
    week_ms = TIMEFRAME_MS["1w"]
    monday = bucket_open_ms(START_MS, week_ms)
    limits = limits_of(week_ms)

    def missed(now_ms: int) -> int | None:
        beat = beat_of(time_ms=now_ms, ended_ms=now_ms, slot_done=monday)
        return assess(facts_of(bar_ms=week_ms, beat=beat, slot=monday), now_ms, limits).slots_missed

    assert missed(monday + week_ms + 899_000) == 0
    assert missed(monday + week_ms + 900_000) == 1
    assert missed(monday + 3 * week_ms + 900_000) == 3


# --- properties

_SECONDS = some.integers(0, 40_000)


@some.composite
def _facts(draw: some.DrawFn) -> WatchFacts:
    """Everything a store may say, with times around START_MS."""
    ended = START_MS + draw(_SECONDS) * 1000
    code = draw(some.sampled_from([0, 0, 1, 70, 75, 76, 77, 78]))
    status = "done" if code == EXIT_DONE else draw(some.sampled_from(["failed", "no_decision", "risk_halt"]))
    failure = None if code == EXIT_DONE else Failure("run", status, code, "it broke", ended)
    beat = beat_of(
        time_ms=ended + draw(some.integers(0, 100)) * 1000,
        ended_ms=draw(some.sampled_from([ended, None])),
        status=status,
        exit_code=code,
        failure=failure,
        failures=0 if failure is None else draw(some.integers(1, 5)),
        slot_done=draw(some.sampled_from([None, START_MS, START_MS - 3 * HOUR_MS])),
        artifact=draw(some.sampled_from([None, None, "fresh_upstream", "last_known_good", "static"])),
    )
    renewed = START_MS + draw(_SECONDS) * 1000
    seen = draw(some.one_of(some.none(), some.integers(0, 20_000)))
    lease = LeaseFacts("pod", 3, renewed, renewed + 60_000, None if seen is None else renewed - seen * 1000)
    return WatchFacts(
        "main",
        "Alternate",
        draw(some.sampled_from([HOUR_MS, HOUR_MS, None])),
        beat=draw(some.sampled_from([beat, beat, None])),
        lease=draw(some.sampled_from([lease, None])),
        halt=draw(some.sampled_from([None, HALT, FLATTEN])),
        slot=draw(some.sampled_from([None, START_MS, START_MS - HOUR_MS])),
        control_unreadable=draw(some.sampled_from(["", "", "cannot be read"])),
        problems=draw(some.sampled_from([(), (), ("damaged",)])),
        unreachable=draw(some.sampled_from(["", "", "no answer"])),
        missing=draw(some.sampled_from(["", "", "no store"])),
    )


@given(facts=_facts(), after=_SECONDS)
def test_every_combination_is_exactly_one_state_and_says_why(facts: WatchFacts, after: int) -> None:
    found = assess(facts, START_MS + after * 1000, LIMITS)

    assert found.state in STATES
    assert (found.state == "healthy") == (not found.reasons)
    assert not found.reasons or found.state == found.reasons[0].state
    assert len(set(kinds(found))) == len(found.reasons) or len(facts.problems) > 1
    assert all(one.text and "\n" not in one.text for one in found.reasons)
    assert (found.exit_code == 0) == (found.state != "alert")
    assert found.to_json()["state"] == found.state
    assert found == assess(facts, START_MS + after * 1000, LIMITS)


@given(facts=_facts(), after=_SECONDS, later=_SECONDS)
def test_nothing_looks_better_only_because_time_has_passed(facts: WatchFacts, after: int, later: int) -> None:
    """From when on no clock is ahead any more."""
    first_ms = START_MS + after * 1000
    if facts.beat is not None:
        first_ms = max(first_ms, facts.beat.time_ms - AHEAD_MS_MAX)
    if facts.lease is not None:
        first_ms = max(first_ms, facts.lease.renewed_ms)

    first = assess(facts, first_ms, LIMITS)
    then = assess(facts, first_ms + later * 1000, LIMITS)

    assert STATES.index(then.state) >= STATES.index(first.state)
    assert (then.slots_missed or 0) >= (first.slots_missed or 0)


@given(facts=_facts(), after=_SECONDS, harm=some.sampled_from(["problems", "control_unreadable", "unreachable"]))
def test_what_cannot_be_read_is_never_better_than_an_alert(facts: WatchFacts, after: int, harm: str) -> None:
    value: Any = ("damaged",) if harm == "problems" else "cannot be read"

    assert assess(replace(facts, **{harm: value}), START_MS + after * 1000, LIMITS).state == "alert"


@given(facts=_facts(), silent_seconds=some.integers(1, 10**6))
def test_nothing_excuses_silence_for_ever(facts: WatchFacts, silent_seconds: int) -> None:
    """Neither a lease that is renewed again and again, nor one that is gone, nor a person's halt."""
    beat = beat_of() if facts.beat is None else facts.beat
    beat = beat_of(time_ms=beat.time_ms, ended_ms=beat.time_ms, failure=beat.failure, failures=beat.failures)
    now_ms = beat.time_ms + LIMITS.heartbeat_ms_max + LIMITS.run_ms_max + silent_seconds * 1000
    silent = replace(facts, bar_ms=HOUR_MS, beat=beat)

    for lease in (LeaseFacts("pod", 3, now_ms, now_ms + 60_000, None), None):
        for halt in (HALT, FLATTEN, None):
            assert assess(replace(silent, lease=lease, halt=halt), now_ms, LIMITS).state == "alert"


def test_the_runbook_names_every_state_and_every_reason() -> None:
    text = (Path(__file__).parents[1] / "docs/operating.md").read_text(encoding="utf-8")

    assert [word for word in (*STATES, *get_args(Kind)) if f"`{word}`" not in text] == []
