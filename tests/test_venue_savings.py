"""The venue's savings: interest by the clock, every coin accounted for, faults that lose, delay and hide."""

from __future__ import annotations

import pickle
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as generate
from venue.account import VenueAccount
from venue.clock import VirtualClock
from venue.faults import Faults, error, late_request, late_visibility, lost_answer, lost_request, pending
from venue.market import make_markets
from venue.model import Venue
from venue.orders import ZERO, VenueError
from venue.port import VenueExchange
from venue.savings import SPACING_MS, VenueProduct, total_of

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable, FateUnknown
from trading_runtime.exchanges.port import EarnProduct, NotPlaced, Savings

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000
USDT = EarnProduct("USDT001", "USDT", True, True, Decimal("0.1"))


class Desk:
    """A venue with ten thousand dollars in spot and a flexible product of them."""

    def __init__(self, *, can_trade: bool = True, **product: object) -> None:
        self.clock = VirtualClock(START_MS)
        self.account = VenueAccount(spot={"USDT": "10000"}, can_trade=can_trade)
        self.venue = Venue(self.clock.now_ms, make_markets(), [self.account])
        self.venue.savings.offer(VenueProduct("USDT", **product))
        self.faults = Faults()

    def savings(self) -> Savings:
        found = VenueExchange(self.venue, self.faults, self.clock, is_perpetual=False).savings
        assert found is not None
        return found

    def move(self, kind: str, amount: str) -> str:
        """Move money as soon as the venue's limit of requests allows."""
        self.clock.sleep(SPACING_MS / 1000)
        return self.savings().move_earn(kind, USDT, Decimal(amount), self.clock.now_ms())

    def free(self) -> Decimal:
        self.venue.savings.settle("main")
        return self.account.free["USDT"]


def test_money_that_is_subscribed_leaves_the_spot_balance_and_earns_by_the_clock() -> None:
    desk = Desk(yearly_rate="0.0876")
    assert desk.savings().earn_product("USDT") == USDT
    assert desk.savings().earn_product("BTC") is None
    assert desk.savings().earn_position("USDT") == ZERO
    desk.move("subscribe", "6000")
    assert desk.free() == Decimal(4000)
    assert desk.savings().earn_position("USDT") == Decimal(6000)
    desk.clock.advance_to(START_MS + 30 * 60_000)
    assert desk.savings().earn_position("USDT") == Decimal(6000) + 30 * Decimal("0.001")
    assert desk.savings().cash_flows("USDT", 0) == []
    desk.clock.advance_to(START_MS + HOUR_MS)
    (flow,) = desk.savings().cash_flows("USDT", 0)
    assert (flow.kind, flow.amount, flow.time_ms) == ("interest", Decimal("0.06"), START_MS + HOUR_MS)
    assert desk.savings().earn_position("USDT") == Decimal("6000.06")


def test_asking_changes_no_interest() -> None:
    asked, left_alone = Desk(), Desk()
    for desk in (asked, left_alone):
        desk.move("subscribe", "5000")
    for minute in range(1, 400):
        asked.clock.advance_to(START_MS + minute * 60_000 + 7)
        asked.savings().earn_position("USDT")
    for desk in (asked, left_alone):
        desk.clock.advance_to(START_MS + 10 * HOUR_MS + 123)
    assert asked.savings().earn_position("USDT") == left_alone.savings().earn_position("USDT")
    assert asked.savings().cash_flows("USDT", 0) == left_alone.savings().cash_flows("USDT", 0)


def test_all_of_a_position_can_be_redeemed() -> None:
    desk = Desk()
    desk.move("subscribe", "5000")
    desk.clock.advance_to(START_MS + 90 * 60_000)
    desk.clock.sleep(SPACING_MS / 1000)
    everything = desk.savings().earn_position("USDT")
    desk.savings().move_earn("redeem", USDT, everything, desk.clock.now_ms())
    assert desk.savings().earn_position("USDT") == ZERO
    assert desk.free() == Decimal(5000) + everything
    desk.clock.advance_to(START_MS + 5 * HOUR_MS)
    interest = [flow.amount for flow in desk.savings().cash_flows("USDT", 0)]
    assert sum(interest) == everything - 5000
    assert [one.kind for one in desk.savings().earn_operations("redeem", "USDT", 0)] == ["redeem"]


@pytest.mark.parametrize(
    ("kind", "amount", "reason"),
    [
        ("subscribe", "0.09", "filters"),
        ("subscribe", "10000.00000001", "funds"),
        ("subscribe", "1.000000001", "filters"),
        ("redeem", "0.00000001", "funds"),
    ],
)
def test_what_cannot_be_moved_is_refused(kind: str, amount: str, reason: str) -> None:
    desk = Desk()
    with pytest.raises(NotPlaced) as caught:
        desk.move(kind, amount)
    assert caught.value.reason == reason
    assert desk.free() == Decimal(10000)


def test_a_product_that_is_closed_takes_and_gives_nothing() -> None:
    desk = Desk()
    desk.move("subscribe", "100")
    desk.venue.savings.products["USDT"].can_subscribe = False
    desk.venue.savings.products["USDT"].can_redeem = False
    for kind in ("subscribe", "redeem"):
        with pytest.raises(NotPlaced) as caught:
            desk.move(kind, "50")
        assert caught.value.reason == "rejected"
    product = desk.savings().earn_product("USDT")
    assert product is not None
    assert (product.can_subscribe, product.can_redeem) == (False, False)


def test_operations_that_follow_too_fast_are_refused_each_kind_for_itself() -> None:
    desk = Desk()
    desk.move("subscribe", "100")
    desk.savings().move_earn("redeem", USDT, Decimal(10), desk.clock.now_ms())
    with pytest.raises(NotPlaced) as caught:
        desk.savings().move_earn("subscribe", USDT, Decimal(100), desk.clock.now_ms())
    assert caught.value.reason == "rate_limit"


def test_a_lost_request_moves_nothing_and_a_lost_answer_moves_all_and_both_are_unknown() -> None:
    for fate, moved in (
        (lost_request(), 0),
        (lost_answer(), 1),
        (error(504, -1007, executed=True), 1),
        (error(502), 0),
    ):
        desk = Desk()
        desk.faults.then("move_earn", fate)
        with pytest.raises(FateUnknown):
            desk.move("subscribe", "100")
        found = desk.savings().earn_operations("subscribe", "USDT", START_MS)
        assert [(one.amount, one.status) for one in found] == [(Decimal(100), "done")] * moved
        assert desk.free() == Decimal(10000) - 100 * moved


@pytest.mark.parametrize(("delay_ms", "moved"), [(1, 1), (4999, 1), (5000, 1), (5001, 0), (60_000, 0)])
def test_a_request_that_arrives_after_its_window_moves_nothing(delay_ms: int, moved: int) -> None:
    desk = Desk()
    desk.faults.then("move_earn", late_request(delay_ms))
    with pytest.raises(FateUnknown):
        desk.move("subscribe", "100")
    desk.clock.sleep(120)
    assert len(desk.savings().earn_operations("subscribe", "USDT", 0)) == moved
    assert desk.free() == Decimal(10000) - 100 * moved


def test_a_stamp_that_is_too_old_is_refused() -> None:
    desk = Desk()
    desk.clock.sleep(60)
    with pytest.raises(NotPlaced) as caught:
        desk.savings().move_earn("subscribe", USDT, Decimal(100), desk.clock.now_ms() - 5001)
    assert caught.value.reason == "too_late"


def test_a_record_may_show_later_than_the_money_moves() -> None:
    desk = Desk()
    desk.faults.then("move_earn", late_visibility(10_000))
    operation = desk.move("subscribe", "100")
    assert desk.savings().earn_operations("subscribe", "USDT", 0) == []
    assert desk.savings().earn_position("USDT") == Decimal(100)
    desk.clock.sleep(10)
    assert [one.operation_id for one in desk.savings().earn_operations("subscribe", "USDT", 0)] == [operation]


@pytest.mark.parametrize("fails", [False, True])
def test_money_may_be_on_its_way_and_come_back(fails: bool) -> None:
    desk = Desk(yearly_rate="0")
    desk.move("subscribe", "500")
    desk.faults.then("move_earn", pending(60_000, fails=fails))
    desk.move("redeem", "200")
    assert (desk.free(), desk.savings().earn_position("USDT")) == (Decimal(9500), Decimal(300))
    assert [one.status for one in desk.savings().earn_operations("redeem", "USDT", 0)] == ["pending"]
    desk.clock.sleep(60)
    back = (Decimal(9500), Decimal(500)) if fails else (Decimal(9700), Decimal(300))
    assert (desk.free(), desk.savings().earn_position("USDT")) == back
    status = "failed" if fails else "done"
    assert [one.status for one in desk.savings().earn_operations("redeem", "USDT", 0)] == [status]


def test_an_order_can_spend_what_has_been_redeemed_meanwhile() -> None:
    desk = Desk()
    desk.move("subscribe", "10000")
    desk.faults.then("move_earn", pending(1000))
    desk.move("redeem", "6000")
    exchange = VenueExchange(desk.venue, None, desk.clock, is_perpetual=False)
    assert "USDT" not in exchange.balances()
    desk.clock.sleep(1)
    assert exchange.balances()["USDT"].free == Decimal(6000)


def test_deposits_withdrawals_and_bonus_are_told_with_their_ids() -> None:
    desk = Desk()
    desk.venue.savings.deposit("USDT", "250", credited_after_ms=60_000)
    desk.venue.savings.deposit("BTC", "1")
    gone = desk.venue.savings.withdraw("USDT", "100", fee="1.5")
    for amount in ("0.5", "0.25"):
        desk.venue.savings.pay_bonus("USDT", amount)
    assert desk.free() == Decimal(10000) - Decimal("101.5") + Decimal("0.75")
    flows = desk.savings().cash_flows("USDT", START_MS)
    assert sorted((flow.kind, flow.amount) for flow in flows) == [
        ("interest", Decimal("0.25")),
        ("interest", Decimal("0.5")),
        ("withdrawal", Decimal("-101.5")),
    ]
    assert len({flow.flow_id for flow in flows}) == 3
    desk.clock.sleep(60)
    desk.venue.savings.send_back(gone)
    told = [(flow.kind, flow.amount) for flow in desk.savings().cash_flows("USDT", START_MS)]
    assert [one for one in told if one[0] != "interest"] == [("deposit", Decimal(250))]
    assert desk.free() == Decimal("10250.75")
    assert desk.savings().cash_flows("USDT", START_MS + 1) == []
    assert [flow.asset for flow in desk.savings().cash_flows("BTC", START_MS)] == ["BTC"]


def test_questions_are_asked_again_and_then_given_up() -> None:
    desk = Desk()
    desk.faults.then("earn", error(502), lost_request())
    assert desk.savings().earn_product("USDT") == USDT
    desk.faults.then("flows", *[error(502)] * 3)
    with pytest.raises(ExchangeUnavailable):
        desk.savings().cash_flows("USDT", 0)


def test_a_key_that_may_not_trade_moves_nothing() -> None:
    with pytest.raises(ConfigurationError):
        Desk(can_trade=False).move("subscribe", "100")


def test_perpetuals_have_no_savings() -> None:
    desk = Desk()
    assert VenueExchange(desk.venue, None, desk.clock, is_perpetual=True).savings is None


def test_a_copy_of_a_venue_has_savings_of_its_own() -> None:
    desk = Desk()
    desk.move("subscribe", "100")
    clock, venue = pickle.loads(pickle.dumps((desk.clock, desk.venue)))
    clock.sleep(HOUR_MS / 1000)
    assert venue.savings.position("main", "USDT") > Decimal(100)
    venue.savings.settle("main")
    assert venue.savings.accounts is venue.accounts
    assert desk.savings().cash_flows("USDT", 0) == []


_STEPS = generate.lists(
    generate.tuples(
        generate.sampled_from(("subscribe", "redeem", "deposit", "withdraw", "bonus", "send_back")),
        generate.decimals(min_value="0.00000001", max_value="6000", places=8),
        generate.integers(min_value=0, max_value=3 * HOUR_MS),
        generate.sampled_from((0, 1, 50_000, 4 * HOUR_MS)),
        generate.booleans(),
    ),
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(steps=_STEPS)
def test_every_coin_is_somewhere_and_every_change_of_the_sum_is_a_flow(
    steps: list[tuple[str, Decimal, int, int, bool]],
) -> None:
    desk = Desk(yearly_rate="0.3")
    savings, sent = desk.venue.savings, []
    for what, amount, wait_ms, pending_ms, fails in steps:
        try:
            if what in ("subscribe", "redeem"):
                savings.move("main", what, "USDT001", amount, pending_ms=pending_ms, fails=fails)
            elif what == "deposit":
                savings.deposit("USDT", str(amount), credited_after_ms=pending_ms)
            elif what == "withdraw":
                sent.append(savings.withdraw("USDT", str(amount), fee="0.5"))
            elif what == "bonus":
                savings.pay_bonus("USDT", str(amount))
            elif sent:
                savings.send_back(sent.pop())
        except (VenueError, ValueError):
            pass  # refused or not there: then nothing may have changed, which the sum below shows
        desk.clock.advance_to(desk.clock.now_ms() + wait_ms)
    desk.clock.advance_to((desk.clock.now_ms() // HOUR_MS + 5) * HOUR_MS)  # everything arrived, all interest recorded
    savings.settle("main")
    assert not desk.account.earn_on_the_way
    assert not desk.account.transfers_on_the_way
    flows = sum((flow.amount for flow in desk.savings().cash_flows("USDT", 0)), ZERO)
    assert total_of(desk.account, "USDT", desk.clock.now_ms()) == Decimal(10000) + flows
    assert desk.account.free["USDT"] >= 0
    assert desk.savings().earn_position("USDT") >= 0
