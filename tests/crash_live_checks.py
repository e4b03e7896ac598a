"""What must hold of an account whose money is partly in savings, and of the live pool, whatever crashed.

    movements      the venue has moved what the journal says was moved, each movement once, none forgotten
    flows          deposits, withdrawals and interest are booked, each once
    strategy       the pool's lock, the trailing highs, the breaker's day and the attempts of the day are not lost
    decisions      decided again from the journal, each comes to the same bytes

Orders, fills and the book are ``crash_matrix.py``'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from crash_process import Violation
from cycle_world import UNIT, World
from venue.savings import EarnRecord

from trading_runtime.core.instruments import decimal_text
from trading_runtime.core.timeframes import iso_time
from trading_runtime.core.treasury import buffer_move
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.recorded import RecordedSession, read_session
from trading_runtime.cycle.replay import replay_session
from trading_runtime.stores.control import Control
from trading_runtime.stores.journal import START, Journal

Events = list[dict[str, Any]]


def check_movements(world: World, account: Account, events: Events) -> None:
    """Raise Violation for a movement of savings that was made twice, without a plan, or that is forgotten."""
    if account.earn:
        raise Violation("left open", f"{[one.name for one in account.earn.values()]} although all is quiet")
    planned = {event["movement"]: event for event in events if event["event"] == "savings_planned"}
    claims = Counter(event["movement"] for event in events if event["event"] == "savings_claimed")
    ended = [event for event in events if event["event"] in ("savings_moved", "savings_not_moved")]
    moved = [event for event in ended if event["event"] == "savings_moved"]
    _check_ends(planned, claims, ended)
    told = {(one["kind"], one["operation_id"]): one for one in moved}
    if len(told) != len(moved):
        raise Violation("doubled movement", f"one operation of the venue is noted for two movements: {moved}")
    done = {(one.kind, str(one.record_id)): one for one in world.account.earn_records if not one.fails}
    for key, record in done.items():
        if key in told:
            event = told[key]
            if (event["asset"], event["amount"]) != (record.asset, decimal_text(record.amount)):
                raise Violation("forgotten movement", f"{event} is not what the venue has done: {record}")
            continue
        raise _beyond_the_journal(record, planned, done.values())
    for key, event in told.items():
        if key not in done:
            raise Violation("forgotten movement", f"{event} is noted, but the venue has no such movement")


def _check_ends(planned: Mapping[int, Any], claims: Mapping[int, int], ended: Events) -> None:
    ends = Counter(event["movement"] for event in ended)
    for number, count in ends.items():
        if count > 1 or number not in planned:
            raise Violation("forgotten movement", f"movement {number} ended {count} times; planned: {list(planned)}")
    missing = set(planned) - set(ends)
    if missing:
        raise Violation("forgotten movement", f"nobody says how movements {sorted(missing)} ended")
    for number, count in claims.items():
        if count > 1:
            raise Violation("doubled movement", f"movement {number} was claimed {count} times")
    unclaimed = [one["movement"] for one in ended if one["event"] == "savings_moved" and not claims[one["movement"]]]
    if unclaimed:
        raise Violation("unplanned movement", f"movements {unclaimed} were made without a claim")


def _beyond_the_journal(record: EarnRecord, planned: Mapping[int, Any], done: Iterable[EarnRecord]) -> Violation:
    """The venue has done what nobody noted: more of something than was planned, something that never was, or something
    that is held to have come to nothing.
    """
    what = (record.kind, record.asset, record.amount)
    same = [one for one in planned.values() if (one["kind"], one["asset"], Decimal(one["amount"])) == what]
    count = sum((one.kind, one.asset, one.amount) == what for one in done)
    check = "forgotten movement" if count <= len(same) else "doubled movement" if same else "unplanned movement"
    return Violation(check, f"the venue has done {record}, {count} of its like; planned: {same}")


def check_buffer(world: World) -> None:
    """Raise Violation where money should be moved into savings or out of them, and was not."""
    asset, terms = world.market.quote, world.job_options["treasury"]
    spot, saved = world.account.free[asset], world.venue.savings.position(world.account.name, asset)
    move = buffer_move(spot, saved, terms)
    allows_risk = Control(world.documents, "main").read(world.clock.now_ms()).allows_risk
    if move is not None and (move.kind == "redeem" or allows_risk):  # nothing is saved while no new risk is allowed
        raise Violation("buffer", f"{spot} {asset} on spot, {saved} in savings: {move} was left undone")


def accrued(world: World, saved_before: Decimal) -> int:
    """Quote units of interest that are in the savings already and that no record of the venue tells yet."""
    asset = world.market.quote
    explained = saved_before
    for one in world.account.earn_records:
        if one not in world.account.earn_on_the_way and not one.fails and one.asset == asset:
            explained += one.amount if one.kind == "subscribe" else -one.amount
    explained -= sum(
        (one.amount for one in world.account.earn_on_the_way if one.kind == "redeem" and one.asset == asset), Decimal(0)
    )
    explained += sum((one.amount for one in world.account.rewards if one.kind == "REALTIME"), Decimal(0))
    return int((world.venue.savings.position(world.account.name, asset) - explained) * UNIT)


def check_flows(world: World, events: Events) -> None:
    """Raise Violation for money that came or went and is not booked, or not once."""
    expected: dict[tuple[str, str], int] = {}
    for transfer in world.account.transfers:
        if transfer.kind == "deposit":
            expected["deposit", transfer.transfer_id] = int(transfer.amount * UNIT)
        else:
            expected["withdrawal", transfer.transfer_id] = -int((transfer.amount + transfer.fee) * UNIT)
    for reward in world.account.rewards:
        flow_id = f"{reward.product_id}:{reward.kind}:{reward.time_ms}:{decimal_text(reward.amount)}"
        expected["interest", flow_id] = int(reward.amount * UNIT)
    booked = [event for event in events if event["event"] == "cash_moved" and "flow_id" in event]
    counts = Counter((event["reason"], event["flow_id"]) for event in booked)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise Violation("flow booked twice", str(twice))
    amounts = {(event["reason"], event["flow_id"]): event["amount"] for event in booked}
    if amounts != expected:
        raise Violation("flows", f"booked: {amounts}; came and went: {expected}")


def sessions_of(world: World) -> Iterable[RecordedSession]:
    journal = Journal(world.documents, "main", world.strategy.__qualname__)
    for session in journal.sessions():
        if journal.head(session) != START:  # a crash came before the first entry of one
            yield read_session(journal, session)


def check_decisions(world: World) -> None:
    """Raise Violation for a decision that comes to something else when it is decided again from the journal."""
    for recorded in sessions_of(world):
        replay = replay_session(recorded, world.strategy())
        if not replay.is_same:
            raise Violation("decision", f"decided again: {replay.to_json()}")


def check_strategy_state(world: World, before: Account | None, account: Account, events: Events) -> None:
    """Raise Violation for something that the strategy's state has lost since ``before`` the slot under test."""
    state = account.state.strategy_state
    if account.state.slot is None:
        return
    today = iso_time(account.state.slot)[:10]
    if state.get("pool") is None:
        raise Violation("strategy state", "the pool's lock is gone")
    for event in events:
        if event["event"] != "order_planned" or event["order"]["leg"] in ("fuel", ""):
            continue
        order = event["order"]
        if order.get("reason") == "flatten":
            continue  # by order of a person: the strategy was not asked
        key = f"{order['symbol']} {order['leg']}"
        if order["slot"] == account.state.slot and state["attempts"].get(key, {}).get("date") != today:
            raise Violation("strategy state", f"{key} was planned, its attempt is gone: {state['attempts']}")
    if before is None or "highest" not in before.state.strategy_state:
        return
    was = before.state.strategy_state
    for symbol, highest in was["highest"].items():
        is_held = account.state.quantity(symbol) >= world.venue.markets[symbol].lot * UNIT  # less is the dust of a sale
        if is_held and not state["highest"].get(symbol, 0.0) >= highest:
            raise Violation("strategy state", f"the high of {symbol} was {highest}: {state['highest']}")
    if was["breaker"]["day"] != state["breaker"]["day"]:
        return
    for name in ("base", "latched"):
        if was["breaker"][name] and was["breaker"][name] != state["breaker"][name]:
            raise Violation("strategy state", f"the breaker's {name}: {was['breaker']} became {state['breaker']}")
    changed = {
        symbol: profit
        for symbol, profit in was["breaker"]["profits"].items()
        if state["breaker"]["profits"].get(symbol) != profit
    }
    if changed:
        raise Violation("strategy state", f"the breaker's day began with {changed}, now {state['breaker']['profits']}")
