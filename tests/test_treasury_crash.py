"""A crash, or a pause while another process goes on, at every point of a cycle that moves savings: nothing is moved
twice, nothing is forgotten, and the buy that needed the money is placed once. First the treasury's steps alone, then
whole live cycles that buy with savings, pay fees with the fuel they buy, and tidy.

Points lie before and after every write to the store and every call to the exchange (``crash_process.py``).
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import pytest
from cycle_world import START_MS, SYMBOL, World
from treasury_world import STEP_MS, TERMS, TreasuryProcess, check_world, make_world, position, run, spot, there
from venue.faults import (
    Fate,
    Faults,
    error,
    late_request,
    late_visibility,
    lost_answer,
    lost_request,
    pending,
)

CYCLES_MAX = 8
SLOT = START_MS + STEP_MS
SPEND = "600"

BEHAVIOURS: dict[str, dict[tuple[str, int], Fate]] = {
    "ok": {},
    **{
        f"{which} movement: {name}": {("move_earn", number): fate}
        for number, which in enumerate(("first", "second"))
        for name, fate in (
            ("request lost", lost_request()),
            ("answer lost", lost_answer()),
            ("late, in its window", late_request(2000)),
            ("late, after its window", late_request(6000)),
            ("-1007, executed", error(504, -1007, executed=True)),
            ("503", error(503)),
            ("429", error(429, -1003, retry_seconds=2)),
            ("-1021", error(400, -1021)),
            ("visible late", late_visibility(7900)),
            ("answer lost, visible late", lost_answer()._replace(invisible_ms=6900)),
            ("on its way", pending(15_000)),
            ("on its way, then back", pending(15_000, fails=True)),
        )
    },
    "order: answer lost": {("place", 0): lost_answer()},
    "answer lost, history silent": {
        ("move_earn", 0): lost_answer(),
        **{("earn", number): lost_request() for number in range(5, 11)},
    },
}
# Under bad behaviours every so-many-th point is played, another one for each.
EVERY = 4


@lru_cache(maxsize=1)
def _begun() -> World:
    """An account with 50 on spot and 950 in savings, at a slot that wants to spend 600."""
    world = make_world()
    run(world, START_MS)
    world.to_slot(SLOT)
    return world


def _until_quiet(world: World, faults: Faults, holder: str) -> None:
    for _ in range(CYCLES_MAX):
        world.clock.sleep(20.0)
        cycle = TreasuryProcess(world, faults, holder).work(SLOT, spend=SPEND)
        assert cycle is not None
        is_quiet = cycle.status == "done" and not cycle.doubts and not cycle.told("treasury_stopped")
        if is_quiet and not world.kept().records:
            return
    pytest.fail(f"not quiet after {CYCLES_MAX} cycles: {cycle}")


def _check(world: World, where: str) -> None:
    try:
        check_world(world)
        moves = [record for record in world.account.earn_records if not record.fails]
        for_buy = [one for one in moves if one.kind == "redeem" and one.amount > 500]
        assert len(for_buy) <= 1, f"redeemed for one buy: {for_buy}"
        bought = sum((order.executed for order in world.venue.accepted), Decimal(0))
        assert len(world.venue.accepted) == 1, "the buy was not placed"
        state = world.kept().state
        assert state.cash == int(there(world) * 10**8), "the book's money is the venue's"
        assert bought > 0
        assert abs(spot(world) - Decimal(50)) <= 5, f"spot is {spot(world)}, savings {position(world)}"
    except AssertionError as wrong:
        raise AssertionError(f"{where}: {wrong}") from wrong


def _points(behaviour: str) -> list[str]:
    world = _begun().copy()
    process = TreasuryProcess(world, Faults(BEHAVIOURS[behaviour]), "one")
    assert process.work(SLOT, spend=SPEND) is not None
    return [point.name for point in process.points]


def _chosen(behaviour: str) -> list[tuple[int, str]]:
    index = list(BEHAVIOURS).index(behaviour)
    names = _points(behaviour)
    assert len(names) > 60, names
    return [(number, name) for number, name in enumerate(names) if not index or (number + index) % EVERY == 0]


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_undisturbed_every_behaviour_ends_well(behaviour: str) -> None:
    world, faults = _begun().copy(), Faults(BEHAVIOURS[behaviour])
    TreasuryProcess(world, faults, "one").work(SLOT, spend=SPEND)
    _until_quiet(world, faults, "one")
    _check(world, behaviour)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_crash_at_any_point_moves_nothing_twice_and_forgets_nothing(behaviour: str) -> None:
    for number, name in _chosen(behaviour):
        world, faults = _begun().copy(), Faults(BEHAVIOURS[behaviour])

        def hook(process: TreasuryProcess, _: str, number: int = number) -> None:
            if len(process.points) == number + 1:
                process.die()

        died = TreasuryProcess(world, faults, "one", hook=hook)
        assert died.work(SLOT, spend=SPEND) is None, f"{name} was not reached"
        _until_quiet(world, faults, "one" if number % 2 else "two")
        _check(world, f"{behaviour}, crash at point {number} ({name})")


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize(("pause_seconds", "lease_seconds"), [(2.0, 1.0), (61.0, 60.0)])
def test_a_process_that_pauses_while_another_goes_on_does_no_harm(
    behaviour: str, pause_seconds: float, lease_seconds: float
) -> None:
    for number, name in _chosen(behaviour)[int(lease_seconds) % 2 :: 2]:
        world, faults = _begun().copy(), Faults(BEHAVIOURS[behaviour])

        def hook(process: TreasuryProcess, _: str, number: int = number, faults: Faults = faults) -> None:
            if len(process.points) == number + 1:
                process.world.clock.sleep(pause_seconds)
                _until_quiet(process.world, faults, "two")

        slow = TreasuryProcess(world, faults, "one", hook=hook, lease_seconds=lease_seconds)
        cycle = slow.work(SLOT, spend=SPEND)
        assert cycle is not None
        _until_quiet(world, faults, "three")
        _check(world, f"{behaviour}, pause of {pause_seconds} s at point {number} ({name}), then {cycle.status}")


# Whole live cycles.

FUEL = "BNB/USDT"
LIVE = TERMS._replace(fuel_symbol=FUEL, fuel_minimum=Decimal(40))
LIVE_SLOT = START_MS + 2 * STEP_MS
LIVE_EVERY = 12


@lru_cache(maxsize=1)
def _live_begun() -> World:
    """An account that is flat, its money in savings, at a slot that buys for half of it and tops the fuel up."""
    world = make_world(others=(FUEL,))
    world.symbols, world.account.pays_fees_in_bnb = (SYMBOL,), True
    for slot in (START_MS, START_MS + STEP_MS):
        world.to_slot(slot)
        report = TreasuryProcess(world, Faults(), "one").live(slot, LIVE)
        assert report is not None
        assert report.status == "done", report.reason
    world.to_slot(LIVE_SLOT)
    return world


def _live_until_quiet(world: World, faults: Faults, holder: str, slot: int = LIVE_SLOT) -> None:
    reasons = []
    for _ in range(CYCLES_MAX):
        world.clock.sleep(20.0)
        report = TreasuryProcess(world, faults, holder).live(slot, LIVE)
        assert report is not None
        assert not report.defect, report.defect
        reasons.append(f"{report.status} {report.reason}")
        account = world.kept()
        is_quiet = report.status in ("done", "already_done") and not account.earn and not account.records
        if is_quiet and not any(note["event"] == "treasury_stopped" for note in report.notes):
            return
    pytest.fail(f"not quiet after {CYCLES_MAX} cycles: {reasons}")


def _live_check(world: World, where: str) -> tuple[int, int, frozenset[str]]:
    """Return what is held in the end, by the book, of the coin and of the fuel, and why orders were left out."""
    try:
        events = check_world(world)
        state = world.kept().state
        assert state.cash == int(there(world) * 10**8), "the book's money is the venue's"
        assert state.flows == 0, "fees in the book's own fuel are no flow"
        assert state.quantity(SYMBOL) == world.held(SYMBOL)
        assert 0 <= world.held(FUEL) - state.quantity(FUEL) <= len(world.venue.accepted)
        reasons = frozenset(event["reason"] for event in events if event["event"] == "order_not_placed")
        return state.quantity(SYMBOL), state.quantity(FUEL), reasons
    except AssertionError as wrong:
        raise AssertionError(f"{where}: {wrong}") from wrong


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_crash_at_any_point_of_a_live_cycle_with_a_treasury_does_no_harm(behaviour: str) -> None:
    world, faults = _live_begun().copy(), Faults(BEHAVIOURS[behaviour])
    process = TreasuryProcess(world, faults, "one")
    process.live(LIVE_SLOT, LIVE)
    _live_until_quiet(world, faults, "one")
    wanted = _live_check(world, behaviour)
    assert wanted[0] > 0
    index = list(BEHAVIOURS).index(behaviour)
    for number, point in enumerate(process.points):
        if (number + index) % (LIVE_EVERY if index else 2):
            continue
        world, faults = _live_begun().copy(), Faults(BEHAVIOURS[behaviour])

        def hook(one: TreasuryProcess, _: str, number: int = number) -> None:
            if len(one.points) == number + 1:
                one.die()

        died = TreasuryProcess(world, faults, "one", hook=hook)
        assert died.live(LIVE_SLOT, LIVE) is None, f"{point.name} was not reached"
        _live_until_quiet(world, faults, "one" if number % 2 else "two")
        where = f"{behaviour}, crash at point {number} ({point.name})"
        ended = _live_check(world, where)
        # While savings cannot be asked, the book's money is not all to be seen: that stops new risk.
        assert ended == wanted or (ended[2] == {"risk_not_allowed"} and "silent" in behaviour), where
        world.to_slot(LIVE_SLOT + STEP_MS)
        _live_until_quiet(world, faults, "three", LIVE_SLOT + STEP_MS)
        _live_check(world, f"{where}, next slot")
        assert abs(spot(world) - Decimal(50)) <= 5, f"{where}: spot is {spot(world)}, savings {position(world)}"
