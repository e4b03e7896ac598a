"""Breakers: latched, flow-adjusted, acknowledged only by a resume that came after them; properties on any course."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.risk import RiskLimits, RiskState, Tripped, drawdown_fraction, risk_from_json, watched
from trading_runtime.core.timeframes import DAY_MS, HOUR_MS

START = 19_723 * DAY_MS  # 2024-01-01
NOBODY = RiskLimits()
amounts = some.integers(-(10**15), 10**15)
limits = some.builds(
    RiskLimits,
    some.none() | some.floats(0.001, 1.0, exclude_min=True),
    some.none() | some.floats(0.001, 1.0, exclude_min=True),
)
courses = some.lists(some.tuples(amounts, amounts, some.integers(1, 40)), min_size=1, max_size=30)


def run(course: list[tuple[int, int, int]], limits: RiskLimits, resumed: int | None = None) -> list[RiskState]:
    """Watch (equity, flow, hours passed) after each other; return every state."""
    states: list[RiskState] = []
    slot, flows = START, 0
    for equity, flow, hours in course:
        slot += hours * HOUR_MS
        flows += flow
        states.append(watched(states[-1] if states else None, limits, equity, flows, slot, resumed))
    return states


@given(courses, limits)
def test_a_state_is_read_back_as_it_was(course: list[tuple[int, int, int]], limits: RiskLimits) -> None:
    for state in run(course, limits):
        assert risk_from_json(state.to_json()) == state
        assert canonical_json(risk_from_json(state.to_json()).to_json()) == canonical_json(state.to_json())


@given(courses, limits)
def test_once_tripped_it_stays_tripped_by_the_same_breaker_until_somebody_resumes(
    course: list[tuple[int, int, int]], limits: RiskLimits
) -> None:
    tripped: Tripped | None = None
    for state in run(course, limits):
        if tripped is not None:
            assert state.tripped == tripped
        tripped = state.tripped


@given(courses, limits, some.integers(0, 100))
def test_a_resume_that_was_known_when_it_tripped_never_acknowledges_it(
    course: list[tuple[int, int, int]], limits: RiskLimits, hours: int
) -> None:
    """Slots are worked off long after they closed: the resume may be younger than the slot, and still no answer."""
    resumed = START + hours * HOUR_MS
    states = run(course, limits, resumed)
    for before, after in pairwise(states):
        if before.tripped is not None:
            assert after.tripped == before.tripped


@given(courses, limits, amounts)
def test_a_resume_after_it_tripped_measures_from_the_equity_of_then(
    course: list[tuple[int, int, int]], limits: RiskLimits, equity: int
) -> None:
    last = run(course, limits)[-1]
    if last.tripped is None:
        return
    slot = last.tripped.slot + HOUR_MS
    state = watched(last, limits, equity, last.flows, slot, slot)
    assert state.peak == state.day_base == equity
    assert state.tripped is None


@given(courses)
def test_without_limits_nothing_ever_trips_and_the_peak_is_the_highest_equity_but_for_flows(
    course: list[tuple[int, int, int]],
) -> None:
    highest: int | None = None
    for (equity, flow, _), state in zip(course, run(course, NOBODY), strict=True):
        highest = equity if highest is None else max(highest + flow, equity)
        assert state.tripped is None
        assert state.peak == highest >= equity


@given(courses, limits, amounts)
def test_money_that_is_moved_is_no_result(course: list[tuple[int, int, int]], limits: RiskLimits, moved: int) -> None:
    """A deposit or withdrawal in the middle moves equity, peak and base alike and trips nothing by itself."""
    last = run(course, NOBODY)[-1]
    slot = last.day * DAY_MS + DAY_MS - 1
    same = watched(last, limits, last.peak, last.flows, slot, None)
    paid = watched(last, limits, last.peak + moved, last.flows + moved, slot, None)
    assert (paid.peak - same.peak, paid.day_base - same.day_base) == (moved, moved)
    if last.peak > 0 and last.peak + moved > 0:
        drawdown = RiskLimits(drawdown_fraction_max=limits.drawdown_fraction_max)
        assert watched(last, drawdown, last.peak + moved, last.flows + moved, slot, None).tripped is None


@given(some.integers(1, 10**15), some.integers(-(10**15), 10**15), some.floats(0.001, 1.0))
def test_a_breaker_trips_exactly_when_the_loss_reaches_its_limit(peak: int, equity: int, limit: float) -> None:
    before = RiskState(peak, START // DAY_MS, peak, 0)
    after = watched(before, RiskLimits(drawdown_fraction_max=limit), equity, 0, START, None)
    lost = Fraction(max(max(peak, equity) - equity, 0), max(peak, equity))
    if abs(lost - Fraction(limit)) > Fraction(1, 10**12):
        assert (after.tripped is not None) == (lost > Fraction(limit))


@given(some.integers(-(10**15), 10**15), some.integers(-(10**15), 10**15))
def test_what_is_lost_is_never_negative_and_all_of_it_when_there_is_nothing_to_lose(base: int, equity: int) -> None:
    lost = drawdown_fraction(base, equity)
    assert lost >= 0.0
    assert (lost == 0.0) == (equity >= base)
    if base <= 0 and equity < base:
        assert lost == 1.0


def test_the_daily_loss_is_measured_from_the_first_slot_of_the_utc_day() -> None:
    limits = RiskLimits(daily_loss_fraction_max=0.05)
    state = watched(None, limits, 1000, 0, START + 23 * HOUR_MS, None)
    state = watched(state, limits, 960, 0, START + 23 * HOUR_MS + 1000, None)
    assert state.tripped is None
    state = watched(state, limits, 920, 0, START + DAY_MS, None)
    assert (state.tripped, state.day_base) == (None, 920)
    state = watched(state, limits, 874, 0, START + DAY_MS + HOUR_MS, None)
    assert state.tripped is not None
    assert (state.tripped.breaker, state.tripped.slot) == ("daily_loss", START + DAY_MS + HOUR_MS)


@pytest.mark.parametrize(
    ("known", "resumed", "expected"),
    [
        (None, None, False),
        (None, START - 1, False),
        (None, START, True),
        (START + 5, START + 5, False),
        (START + 5, START + 6, True),
        (START - 5, START - 5, False),
        (START - 5, None, False),
    ],
)
def test_only_a_resume_after_it_acknowledges_a_breaker(known: int | None, resumed: int | None, expected: bool) -> None:
    assert Tripped("drawdown", START, "", known).is_acknowledged(resumed) is expected


def test_a_document_of_before_is_read_as_if_nobody_had_resumed() -> None:
    content = {
        "peak": 1,
        "day": 1,
        "day_base": 1,
        "flows": 0,
        "tripped": {"breaker": "b", "slot": START, "detail": "d"},
    }
    assert risk_from_json(content).tripped == Tripped("b", START, "d", None)
