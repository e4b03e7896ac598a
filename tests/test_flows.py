"""Deposits, withdrawals and interest: booked once, as what they are, and never as profit."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from cycle_world import START_MS, SYMBOL, UNIT, World
from treasury_world import (
    STEP_MS,
    TreasuryProcess,
    check_world,
    journal_of,
    make_world,
    position,
    run,
    spot,
    there,
)
from venue.faults import Faults, error

from trading_runtime.core.errors import ExchangeUnavailable
from trading_runtime.core.state import State
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.flows import OVERLAP_MS, SEEN_MAX, _forget, opening_money

DAY_MS = 24 * STEP_MS


def flows_of(world: World) -> list[dict[str, Any]]:
    return [event for event in journal_of(world) if event["event"] == "cash_moved"]


def profit_of(world: World) -> int:
    """What the book says was earned by trading, in quote units, with positions at the venue's price."""
    state = world.kept().state
    found = state.positions.get(SYMBOL)
    return 0 if found is None else found.profit(int(found.quantity * world.market.price))


def test_what_was_there_when_the_account_was_opened_is_no_flow() -> None:
    world = make_world()
    world.venue.savings.deposit("USDT", "500")
    world.clock.sleep(60.0)
    run(world, START_MS)
    run(world, START_MS)
    assert flows_of(world) == []
    assert world.kept().state.cash == 1500 * UNIT


def test_a_deposit_a_withdrawal_and_interest_are_booked_once_under_their_names() -> None:
    world = make_world(rate="0.05")
    run(world, START_MS)
    deposit = world.venue.savings.deposit("USDT", "200")
    withdrawal = world.venue.savings.withdraw("USDT", "30", fee="1")
    world.to_slot(START_MS + 2 * STEP_MS)
    for _ in range(3):
        run(world, START_MS + 2 * STEP_MS)
    found = flows_of(world)
    assert [(one["reason"], one["flow_id"]) for one in found if one["reason"] != "interest"] == [
        ("deposit", deposit.transfer_id),
        ("withdrawal", withdrawal.transfer_id),
    ]
    assert [one["amount"] for one in found if one["reason"] != "interest"] == [200 * UNIT, -31 * UNIT]
    interest = [one for one in found if one["reason"] == "interest"]
    assert len(interest) == len({one["flow_id"] for one in interest}) == 2
    state = world.kept().state
    assert state.flows == sum(one["amount"] for one in found) == state.cash - 1000 * UNIT
    assert state.cash <= int(there(world) * UNIT), "the book never has more than there is"
    check_world(world)


def test_a_deposit_that_is_credited_hours_after_it_was_seen_is_booked_then() -> None:
    world = make_world()
    world.venue.savings.deposit("USDT", "200", credited_after_ms=5 * STEP_MS)
    run(world, START_MS)
    assert world.kept().state.cash == 1000 * UNIT
    world.to_slot(START_MS + 4 * STEP_MS)
    run(world, START_MS + 4 * STEP_MS)
    assert flows_of(world) == []
    world.to_slot(START_MS + 6 * STEP_MS)
    run(world, START_MS + 6 * STEP_MS)
    assert [one["amount"] for one in flows_of(world)] == [200 * UNIT]
    check_world(world)


def test_interest_that_was_in_the_opening_money_already_is_not_booked_again() -> None:
    world = make_world(cash="50", in_savings="100000", rate="0.5")
    world.clock.advance_to(START_MS + 2 * STEP_MS + 45 * 60_000)
    slot = START_MS + 2 * STEP_MS
    run(world, slot)
    opened = world.kept().state.cash
    assert opened == int(there(world) * UNIT)
    world.to_slot(slot + STEP_MS)
    run(world, slot + STEP_MS)
    (interest,) = flows_of(world)
    assert 0 < interest["amount"] < int(Decimal(interest["told"]) * UNIT) // 3, "a quarter of an hour of an hour's"
    assert opened + interest["amount"] == world.kept().state.cash <= int(there(world) * UNIT)


def test_a_withdrawal_that_is_sent_back_is_booked_as_returned_when_its_money_is_there() -> None:
    world = make_world()
    run(world, START_MS)
    withdrawal = world.venue.savings.withdraw("USDT", "30", fee="1")
    kept = world.venue.savings.withdraw("USDT", "7")
    run(world, START_MS)
    assert world.kept().state.cash == 962 * UNIT
    at = world.account.transfers.index(withdrawal)
    world.account.transfers[at] = withdrawal._replace(is_sent_back=True)  # told before the money is back
    run(world, START_MS)
    assert world.kept().state.cash == 962 * UNIT
    world.account.transfers[at] = withdrawal
    world.venue.savings.send_back(withdrawal)
    for _ in range(2):
        run(world, START_MS)
    found = [(one["reason"], one["flow_id"], one["amount"]) for one in flows_of(world)]
    assert found == [
        ("withdrawal", withdrawal.transfer_id, -31 * UNIT),
        ("withdrawal", kept.transfer_id, -7 * UNIT),
        ("withdrawal returned", withdrawal.transfer_id, 31 * UNIT),
    ]
    assert world.kept().state.cash == 993 * UNIT == int(there(world) * UNIT)
    check_world(world)


def test_what_has_no_name_is_never_booked() -> None:
    world = make_world()
    run(world, START_MS)
    world.account.free["USDT"] += Decimal(77)
    world.venue.savings.deposit("BTC", "1")
    world.to_slot(START_MS + STEP_MS)
    run(world, START_MS + STEP_MS)
    assert flows_of(world) == []
    assert world.kept().state.cash == 1000 * UNIT


def test_flows_that_are_not_answered_are_booked_by_a_later_cycle() -> None:
    world = make_world()
    run(world, START_MS)
    world.venue.savings.deposit("USDT", "200")
    world.to_slot(START_MS + STEP_MS)
    cycle = run(world, START_MS + STEP_MS, Faults({("flows", number): error(503) for number in range(9)}))
    assert cycle.status == "done"
    assert cycle.told("treasury_stopped")
    assert flows_of(world) == []
    run(world, START_MS + STEP_MS)
    assert [one["amount"] for one in flows_of(world)] == [200 * UNIT]


def test_an_account_from_before_flows_were_booked_begins_with_those_that_come() -> None:
    world = make_world()
    world.venue.savings.deposit("USDT", "500")
    world.clock.sleep(60.0)

    def forget(context: Any) -> None:
        context.account.flows_since_ms, context.account.flows_seen = None, {}

    run(world, START_MS, look=forget)
    first = run(world, START_MS)
    assert first.told("flows_from_now")
    assert flows_of(world) == []
    world.venue.savings.deposit("USDT", "20")
    run(world, START_MS)
    assert [one["amount"] for one in flows_of(world)] == [20 * UNIT]


def test_an_account_is_not_opened_while_money_comes_in_that_moment() -> None:
    world = make_world()
    exchange = world.exchange()

    def deposit(call: str) -> None:
        if call == "earn_position":
            world.venue.savings.deposit("USDT", "1")

    exchange.before = deposit
    with pytest.raises(ExchangeUnavailable, match="keep coming in or going out"):
        opening_money(exchange, "USDT")


def test_a_crash_at_any_point_books_every_flow_once() -> None:
    def begin() -> World:
        world = make_world(rate="0.05")
        run(world, START_MS)
        world.venue.savings.deposit("USDT", "200")
        world.venue.savings.withdraw("USDT", "30", fee="1")
        world.to_slot(START_MS + 2 * STEP_MS)
        return world

    world = begin()
    slot = START_MS + 2 * STEP_MS
    process = TreasuryProcess(world, Faults(), "one")
    process.work(slot)
    wanted = [(one["flow_id"], one["amount"]) for one in flows_of(world)]
    assert len(wanted) == 4
    for number, point in enumerate(process.points):
        world = begin()

        def hook(one: TreasuryProcess, _: str, number: int = number) -> None:
            if len(one.points) == number + 1:
                one.die()

        assert TreasuryProcess(world, Faults(), "one", hook=hook).work(slot) is None
        TreasuryProcess(world, Faults(), "one").work(slot)
        events = check_world(world)
        found = [(one["flow_id"], one["amount"]) for one in events if one["event"] == "cash_moved"]
        assert found == wanted, f"crash at point {number} ({point.name})"


@pytest.mark.parametrize("seed", range(6))
def test_over_days_of_deposits_withdrawals_and_interest_only_trades_make_profit(seed: int) -> None:
    random = Random(f"flows {seed}")
    world = make_world(cash="2000", rate="0.2")
    savings = world.venue.savings
    run(world, START_MS)
    outside = Decimal(0)
    for hour in range(1, 73):
        slot = START_MS + hour * STEP_MS
        if random.random() < 0.2:
            amount = random.randrange(1, 400)
            savings.deposit("USDT", str(amount), credited_after_ms=random.choice((0, STEP_MS, 3 * STEP_MS)))
            outside += amount
        if random.random() < 0.15 and spot(world) > 60:
            savings.withdraw("USDT", "20", fee="0.5")
            outside -= Decimal("20.5")
        if random.random() < 0.1:
            savings.pay_bonus("USDT", "0.25")
        world.to_slot(slot)
        spend = str(random.randrange(20, 60)) if random.random() < 0.3 else None
        faults = Faults({(kind, 0): error(503) for kind in ("flows", "earn") if random.random() < 0.2})
        assert run(world, slot, faults, spend=spend).status == "done", f"seed {seed}, hour {hour}"
        state = world.kept().state
        assert state.cash <= int(there(world) * UNIT), f"seed {seed}, hour {hour}: the book has more than there is"
    for more in range(73, 77):
        world.to_slot(START_MS + more * STEP_MS)
        run(world, START_MS + more * STEP_MS)
    state = world.kept().state
    paid = sum(trade.quantity * trade.price for trade in world.account.trades.get(SYMBOL, []))
    assert state.cash == 2000 * UNIT + state.flows - int(paid * UNIT), f"seed {seed}"
    found = flows_of(world)
    known = sum(one["amount"] for one in found if one["reason"] != "interest")
    assert known == int(outside * UNIT), f"seed {seed}"
    interest = int(sum((reward.amount for reward in world.account.rewards), Decimal(0)) * UNIT)
    assert sum(one["amount"] for one in found if one["reason"] == "interest") == interest, f"seed {seed}"
    assert int(there(world) * UNIT) - state.cash < UNIT // 10, f"seed {seed}: not yet told interest of an hour, no more"
    assert position(world) > 0
    # Without savings, deposits and interest: what the coins are worth, less what they cost, fees in coins being gone.
    assert profit_of(world) == int(world.held() * world.market.price) - int(paid * UNIT), f"seed {seed}"


def test_ids_are_kept_as_long_as_they_are_asked_for_and_no_longer() -> None:
    account = Account(State(0), flows_since_ms=0)
    account.flows_seen = {f"interest:{number}": [number, 1] for number in range(SEEN_MAX + 10)}
    _forget(account, OVERLAP_MS // 2)
    assert account.flows_since_ms == 10
    assert len(account.flows_seen) == SEEN_MAX
    assert min(account.flows_seen.values()) == [account.flows_since_ms, 1]
    _forget(account, OVERLAP_MS + DAY_MS)
    assert (account.flows_since_ms, account.flows_seen) == (DAY_MS, {})
