"""The treasury: how much is moved, when fuel is bought, and what a cycle does with savings, undisturbed and disturbed.

Crashes at every point are in ``test_treasury_crash.py``, deposits and interest in ``test_flows.py``.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, getcontext, localcontext

import pytest
from cycle_world import START_MS, SYMBOL, UNIT, World
from hypothesis import example, given
from hypothesis import strategies as generate
from treasury_world import (
    STEP_MS,
    TERMS,
    Cycle,
    TreasuryProcess,
    check_world,
    journal_of,
    make_world,
    position,
    run,
    spot,
    there,
    treasury_cycle,
    with_bnb,
)
from venue.faults import (
    Fate,
    Faults,
    error,
    late_request,
    late_visibility,
    lost_answer,
    lost_request,
    pending,
    slow_answer,
)
from venue.savings import VenueProduct

from trading_runtime.core.decision import Identity, resolve
from trading_runtime.core.gates import Book, Caps, Guards
from trading_runtime.core.intents import market
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.state import OrderFilled, State
from trading_runtime.core.strategy import Permissions, Proposal
from trading_runtime.core.treasury import (
    Move,
    TreasuryTerms,
    buffer_move,
    buffer_of,
    fuel_intent,
    fuel_needed,
    redeem_for,
    treasury_terms,
)
from trading_runtime.cycle.account import Account, EarnRecord, account_from_json
from trading_runtime.cycle.booking import Booker
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.messages import QUIET_GATES
from trading_runtime.cycle.treasury import Fuel, Treasury, plan_fuel
from trading_runtime.exchanges.port import Balance, Fee, Trade

ZERO = Decimal(0)
STEP = Decimal("0.00000001")
MONEY = generate.decimals("0", "1000000000", places=8)
FUEL = TERMS._replace(fuel_symbol="BNB/USDT")


@generate.composite
def terms_of_any_kind(draw: generate.DrawFn) -> TreasuryTerms:
    number = generate.integers(0, 10**8).map(lambda cents: cents / 100)
    return treasury_terms(
        earn_buffer=True,
        buffer_fraction=draw(generate.integers(0, 1000)) / 1000,
        buffer_minimum=draw(number),
        buffer_maximum=draw(number),
        buffer_tolerance=draw(number),
        subscribe_minimum=draw(number),
    )


# How much.


@pytest.mark.parametrize(
    ("total", "buffer"), [("0", "50"), ("1000", "50"), ("1001", "50.05"), ("6000", "300"), ("9999999", "300")]
)
def test_the_buffer_is_five_percent_within_its_limits(total: str, buffer: str) -> None:
    assert buffer_of(Decimal(total), TERMS) == Decimal(buffer)


@pytest.mark.parametrize(
    ("spot_free", "earn", "move"),
    [
        ("121.5", "0", Move("subscribe", Decimal("71.5"))),
        ("145.5", "0", Move("subscribe", Decimal("95.5"))),
        ("55", "0", None),
        ("55.00000001", "0", Move("subscribe", Decimal("5.00000001"))),
        ("45", "1000", Move("redeem", Decimal("7.25"))),
        ("48", "1000", None),
        ("44.99999999", "100", Move("redeem", Decimal("5.00000001"))),
        ("45", "100", None),
        ("10", "20", Move("redeem", Decimal("20"))),
        ("10", "0", None),
        ("10", "0.09999999", None),
        ("10", "0.123456789", Move("redeem", Decimal("0.12345678"))),
    ],
)
def test_what_exceeds_the_buffer_is_subscribed_and_what_is_short_redeemed(
    spot_free: str, earn: str, move: Move | None
) -> None:
    assert buffer_move(Decimal(spot_free), Decimal(earn), TERMS) == move


def test_an_excess_below_the_minimum_stays_where_it_is() -> None:
    terms = treasury_terms(earn_buffer=True, buffer_tolerance=0.0)
    assert buffer_move(Decimal("50.09"), ZERO, terms) is None
    assert buffer_move(Decimal("50.1"), ZERO, terms) == Move("subscribe", Decimal("0.1"))


@given(MONEY, MONEY, terms_of_any_kind())
@example(Decimal("0.00000001"), Decimal("0.00000001"), TERMS)
def test_after_a_move_nothing_is_left_to_move(spot_free: Decimal, earn: Decimal, terms: TreasuryTerms) -> None:
    move = buffer_move(spot_free, earn, terms)
    buffer = buffer_of(spot_free + earn, terms)
    if move is None:
        # Either all is well, or what could be moved is too little, or there is none.
        movable = abs(spot_free - buffer) if spot_free > buffer else min(earn, buffer - spot_free)
        assert abs(spot_free - buffer) <= terms.buffer_tolerance or movable < max(terms.subscribe_minimum, STEP)
        return
    assert move.amount > 0
    assert move.amount % STEP == 0
    assert move.amount >= terms.subscribe_minimum
    signed = move.amount if move.kind == "redeem" else -move.amount
    after, left = spot_free + signed, earn - signed
    assert after >= 0
    assert left >= 0
    assert after - buffer < STEP or move.kind == "subscribe"
    assert after >= buffer or left < STEP or move.kind == "subscribe"
    assert buffer <= after < buffer + STEP or move.kind == "redeem"
    again = buffer_move(after, left, terms)
    assert again is None or (move.kind == "redeem" and left == 0) or terms.buffer_tolerance < STEP


@given(MONEY, MONEY, MONEY)
def test_a_redemption_covers_the_cost_or_is_all_there_is(cost: Decimal, spot_free: Decimal, earn: Decimal) -> None:
    amount = redeem_for(cost, spot_free, earn)
    if cost <= spot_free:
        assert amount == 0
        return
    short = cost - spot_free
    assert amount % STEP == 0
    assert amount <= earn
    assert amount == earn or (short * Decimal("1.001") <= amount < short * Decimal("1.001") + STEP)


def test_a_redemption_is_a_thousandth_more_than_is_short() -> None:
    assert redeem_for(Decimal("475"), Decimal("50"), Decimal("1000")) == Decimal("425.425")
    assert redeem_for(Decimal("50.00000001"), Decimal("50"), Decimal("1000")) == Decimal("0.00000002")


def test_amounts_do_not_depend_on_the_decimal_context_of_the_process() -> None:
    amounts = (Decimal("123456789.12345678"), Decimal("987654321.87654321"))
    expected = (buffer_move(*amounts, TERMS), redeem_for(*reversed(amounts), amounts[1]))
    with localcontext() as context:
        context.prec, context.rounding = 6, ROUND_HALF_UP
        assert getcontext().prec == 6
        assert (buffer_move(*amounts, TERMS), redeem_for(*reversed(amounts), amounts[1])) == expected


@pytest.mark.parametrize(
    ("value", "cash", "is_needed"),
    [("9.99", "15", True), ("10", "1000", False), ("0", "14.99", False), ("0", "15", True)],
)
def test_fuel_is_needed_below_its_minimum_while_there_is_money(value: str, cash: str, is_needed: bool) -> None:
    assert fuel_needed(Decimal(value), Decimal(cash), FUEL) is is_needed
    assert (fuel_intent(Decimal(value), Decimal(cash), FUEL) is not None) is is_needed
    assert not fuel_needed(Decimal(value), Decimal(cash), TERMS)


# In a cycle.


def test_money_beyond_the_buffer_goes_into_savings_once() -> None:
    world = make_world()
    run(world, START_MS)
    assert (spot(world), position(world)) == (Decimal(50), Decimal(950))
    again = run(world, START_MS)
    assert again.notes == []
    assert (again.seen, spot(world)) == (Decimal(950), Decimal(50))
    events = check_world(world)
    moved = [event for event in events if event["event"] == "savings_moved"]
    assert [(event["kind"], event["amount"], event["cause"]) for event in moved] == [("subscribe", "950", "buffer")]


def test_a_movement_is_in_the_document_before_it_is_claimed_and_claimed_before_it_is_sent() -> None:
    world = make_world()
    phases: list[tuple[str, str]] = []

    def before(call: str) -> None:
        saved = world.kept().earn if phases or call == "earn_product" else {}
        phases.extend((call, record.phase) for record in saved.values())
        if call == "earn_product":
            phases.append((call, "not yet"))

    treasury_cycle(world.job(exchange=world.exchange(before=before)), START_MS)
    assert phases[:3] == [("earn_product", "not yet"), ("server_time_ms", "planned"), ("move_earn", "claimed")]
    order = [event["event"] for event in journal_of(world) if event["event"].startswith("savings")]
    assert order == ["savings_planned", "savings_claimed", "savings_moved"]


def test_what_a_buy_lacks_is_redeemed_before_it_is_sent_and_the_rest_goes_back() -> None:
    world = make_world()
    run(world, START_MS)
    world.to_slot(START_MS + STEP_MS)
    cycle = run(world, START_MS + STEP_MS, spend="600")
    assert cycle.status == "done"
    for_buy, tidied = cycle.told("savings_moved")
    assert for_buy["kind"] == "redeem"
    assert for_buy["cause"].endswith("-b")
    assert Decimal(552) < Decimal(for_buy["amount"]) < Decimal(556)  # 600, fee and margin, less 50, times 1.001
    assert tidied["cause"] == "buffer"
    assert spot(world) == Decimal(50)
    assert world.held() > 0
    check_world(world)


def test_a_buy_that_spot_can_pay_moves_nothing() -> None:
    world = make_world(cash="112", in_savings="500")
    cycle = run(world, START_MS + 2 * STEP_MS, spend="60")
    assert cycle.told("savings_planned") == []
    assert world.held() > 0


def test_a_sell_asks_nothing_of_savings() -> None:
    from trading_runtime.core.state import Order
    from trading_runtime.cycle.treasury import make_room_for

    world = make_world()

    def look(context: Context) -> None:
        calls: list[str] = []
        context.exchange.before = calls.append
        assert make_room_for(context, Order("s", SYMBOL, "market", -1, UNIT, slot=START_MS, leg="s"))
        assert calls == []
        context.exchange.before = None

    assert run(world, START_MS, look=look).status == "done"


def test_a_buy_beyond_all_money_is_left_to_the_exchange_to_refuse() -> None:
    world = make_world()
    run(world, START_MS)
    world.to_slot(START_MS + STEP_MS)
    cycle = run(world, START_MS + STEP_MS, spend="5000")
    assert [one["reason"] for one in cycle.told("order_refused")] == ["funds"]
    assert there(world) == Decimal(1000)
    assert spot(world) == Decimal(50), "what was redeemed in vain goes back"
    check_world(world)


def test_without_new_risk_nothing_goes_into_savings_and_the_buffer_is_still_filled() -> None:
    world = make_world()
    assert run(world, START_MS, is_risk_allowed=False).notes == []
    assert spot(world) == Decimal(1000)
    short = make_world(cash="10", in_savings="500")
    run(short, START_MS + 2 * STEP_MS, is_risk_allowed=False)
    assert spot(short) == Decimal(50)


def test_nothing_is_moved_where_the_buffer_is_not_wanted() -> None:
    world = make_world()
    assert run(world, START_MS, terms=treasury_terms()).notes == []
    assert position(world) == 0


def test_a_product_that_takes_nothing_is_said_and_left() -> None:
    world = make_world()
    world.venue.savings.offer(VenueProduct("USDT", can_subscribe=False))
    assert [one["kind"] for one in run(world, START_MS).told("savings_closed")] == ["subscribe"]
    world.venue.savings.offer(VenueProduct("USDT", minimum="2000"))
    assert run(world, START_MS).notes == []
    assert spot(world) == Decimal(1000)


def test_a_buy_waits_while_its_money_cannot_be_redeemed() -> None:
    world = make_world(cash="112", in_savings="500")
    world.venue.savings.offer(VenueProduct("USDT", can_redeem=False))
    world.account.holdings["USDT"].product = world.venue.savings.products["USDT"]
    cycle = run(world, START_MS + 2 * STEP_MS, spend="200")
    assert cycle.status == "waits"
    assert cycle.told("order_waits")
    assert world.venue.accepted == []
    assert cycle.told("savings_planned") == [], "nor does what it waits with go into savings"


# Disturbed.

LOST = [
    pytest.param(lost_request(), id="request lost"),
    pytest.param(lost_answer(), id="answer lost"),
    pytest.param(late_request(2000), id="late, in its window"),
    pytest.param(late_request(6000), id="late, after its window"),
    pytest.param(slow_answer(500), id="slow"),
    pytest.param(slow_answer(2000), id="slower than the client waits"),
    pytest.param(error(504, -1007, executed=True), id="-1007, executed"),
    pytest.param(error(504, -1007), id="-1007, not executed"),
    pytest.param(error(500, executed=True), id="500, executed"),
    pytest.param(error(503), id="503"),
    pytest.param(error(429, -1003, retry_seconds=2), id="429"),
    pytest.param(error(400, -1021), id="-1021"),
    pytest.param(error(400, -6009), id="-6009"),
    pytest.param(late_visibility(7900), id="visible as late as allowed"),
    pytest.param(lost_answer()._replace(invisible_ms=6900), id="answer lost, visible late"),
    pytest.param(pending(4000), id="on its way for 4 s"),
    pytest.param(pending(4000, fails=True), id="on its way, then back"),
]


@pytest.mark.parametrize("fate", LOST)
def test_whatever_becomes_of_a_movement_it_is_done_once(fate: Fate) -> None:
    world = make_world()
    cycle = run(world, START_MS, Faults({("move_earn", 0): fate}))
    assert (cycle.status, cycle.doubts) == ("done", [])
    assert (spot(world), position(world)) == (Decimal(50), Decimal(950))
    assert sum(not record.fails for record in world.account.earn_records) == 1
    check_world(world)


@pytest.mark.parametrize("fate", LOST)
def test_whatever_becomes_of_the_redemption_a_buy_is_placed_once(fate: Fate) -> None:
    world = make_world()
    run(world, START_MS)
    world.to_slot(START_MS + STEP_MS)
    assert run(world, START_MS + STEP_MS, Faults({("move_earn", 0): fate}), spend="600").status == "done"
    assert len(world.venue.accepted) == 1
    check_world(world)


def test_a_redemption_that_stays_on_its_way_makes_the_buy_wait_and_is_asked_for_by_the_next_cycle() -> None:
    world = make_world()
    run(world, START_MS)
    slot = START_MS + STEP_MS
    world.to_slot(slot)
    first = run(world, slot, Faults({("move_earn", 0): pending(600_000)}), spend="600")
    assert first.status == "waits"
    assert len(first.doubts) == 1
    assert "redeem" in first.doubts[0]
    assert world.venue.accepted == []
    assert world.kept().earn["USDT"].phase == "pending"
    (record,) = world.kept().earn.values()
    second = run(world, slot)
    assert second.seen == position(world) + record.amount, "what is on its way is the account's money"
    assert second.status == "waits"
    world.clock.sleep(600.0)
    third = run(world, slot)
    assert (third.status, third.doubts) == ("done", [])
    assert len(world.venue.accepted) == 1
    assert len([one for one in world.account.earn_records if one.kind == "redeem"]) == 2, "one for the buy, one tidies"
    check_world(world)


def test_an_operation_that_history_hides_is_not_repeated_because_what_is_needed_is_measured_anew() -> None:
    world = make_world()
    cycle = run(world, START_MS, Faults({("move_earn", 0): lost_answer()._replace(invisible_ms=600_000)}))
    assert cycle.doubts == []
    assert [one["reason"] for one in cycle.told("savings_not_moved")] == ["not_there"]
    assert len(world.account.earn_records) == 1
    assert (spot(world), position(world)) == (Decimal(50), Decimal(950))


def test_while_nobody_says_what_became_of_it_nothing_else_of_the_asset_is_moved() -> None:
    world = make_world()
    faults = Faults({("move_earn", 0): lost_request(), **{("earn", number): lost_request() for number in range(4, 40)}})
    first = run(world, START_MS, faults)
    assert len(first.doubts) == 1
    assert faults.asked["move_earn"] == 1
    second = run(world, START_MS, faults)
    assert len(second.doubts) == 1
    assert second.told("treasury_stopped")
    assert faults.asked["move_earn"] == 1
    third = run(world, START_MS)
    assert third.doubts == []
    assert position(world) == Decimal(950)
    check_world(world)


def test_a_movement_that_was_planned_and_never_claimed_is_given_up_whatever_is_wanted_now() -> None:
    world = make_world()
    run(world, START_MS, terms=treasury_terms())

    def hook(process: TreasuryProcess, _: str) -> None:
        if world.kept().earn:
            process.die()

    assert TreasuryProcess(world, Faults(), "one", hook=hook).work(START_MS) is None
    assert [record.phase for record in world.kept().earn.values()] == ["planned"]
    cycle = run(world, START_MS, terms=treasury_terms())
    assert [one["reason"] for one in cycle.told("savings_not_moved")] == ["never_sent"]
    assert world.account.earn_records == []
    check_world(world)


FIXED = TERMS._replace(buffer_fraction=ZERO)


def test_a_movement_is_not_taken_for_the_one_before_it_of_the_same_amount() -> None:
    world = make_world()
    run(world, START_MS, terms=FIXED)
    world.venue.savings.deposit("USDT", "950")
    world.account.earned_at.clear()  # the next one comes within the second
    cycle = run(world, START_MS, Faults({("move_earn", 0): lost_request()}), terms=FIXED)
    assert (cycle.doubts, position(world)) == ([], Decimal(1900))
    assert [record.amount for record in world.account.earn_records] == [Decimal(950), Decimal(950)]
    check_world(world)


def test_a_movement_is_not_taken_for_one_that_a_person_made_before() -> None:
    world = make_world(cash="1950")
    world.venue.savings.move("main", "subscribe", "USDT001", Decimal(950))
    world.clock.sleep(10.0)
    cycle = run(world, START_MS, Faults({("move_earn", 0): lost_request()}), terms=FIXED)
    assert (cycle.doubts, position(world), spot(world)) == ([], Decimal(1900), Decimal(50))


def test_savings_that_cannot_be_asked_end_the_treasury_and_not_the_cycle() -> None:
    world = make_world()
    run(world, START_MS, terms=treasury_terms())
    cycle = run(world, START_MS, Faults({("earn", number): error(503) for number in range(99)}), spend="300")
    assert cycle.status == "done"
    assert cycle.told("treasury_stopped")
    assert (cycle.seen, spot(world)) == (ZERO, Decimal(1000))


def test_savings_that_cannot_be_asked_make_only_those_buys_wait_that_need_them() -> None:
    slot = START_MS + 2 * STEP_MS
    for spend, status, count in (("60", "done", 1), ("200", "waits", 0)):
        world = make_world(cash="112", in_savings="500")
        run(world, slot - STEP_MS, terms=treasury_terms())
        cycle = run(world, slot, Faults({("earn", number): error(503) for number in range(99)}), spend=spend)
        assert (cycle.status, len(world.venue.accepted)) == (status, count)
        assert cycle.doubts == []


def test_a_key_without_the_permission_ends_the_treasury_and_not_the_cycle() -> None:
    world = make_world()
    world.account.can_trade = False
    cycle = run(world, START_MS)
    assert (cycle.status, cycle.doubts) == ("done", [])
    assert "refuses the credentials" in cycle.told("treasury_stopped")[0]["detail"]
    assert len(cycle.told("savings_planned")) == 1, "it is not tried again and again"
    assert (spot(world), world.account.earn_records) == (Decimal(1000), [])


# The document.


def test_a_document_from_before_savings_is_read_with_nothing_in_flight() -> None:
    content = Account(State(7)).to_json()
    for name in ("earn", "earn_seen", "flows_since_ms", "flows_seen"):
        del content[name]
    account = account_from_json(content)
    assert (account.earn, account.earn_seen, account.flows_since_ms, account.flows_seen) == ({}, [], None, {})
    assert account_from_json(account.to_json()).to_json() == account.to_json()


@given(MONEY, generate.sampled_from(["planned", "claimed", "pending"]), generate.booleans())
def test_a_movement_in_flight_is_read_as_it_was_written(amount: Decimal, phase: str, is_claimed: bool) -> None:
    from trading_runtime.cycle.account import Claim

    claim = Claim(5, 1, 9, "one") if is_claimed else None
    record = EarnRecord("redeem", "USDT", "p", amount, "buffer", phase, 3, 4, claim, 1, "7")
    account = Account(State(7), earn={"USDT": record}, earn_seen=["redeem:1"], flows_seen={"deposit:1": [2, 3]})
    again = account_from_json(account.to_json())
    assert again.earn == {"USDT": record}
    assert again.to_json() == account.to_json()


# Fuel.


def _fuel_context(world: World, *, fuel: str = "BNB/USDT") -> Context:
    found: list[Context] = []
    world.symbols = world.configured = (SYMBOL, fuel)
    run(world, START_MS, look=found.append)
    context = found[0]
    context.treasury = Treasury(TERMS._replace(fuel_symbol=fuel), "USDT")
    return context


def test_fuel_is_bought_by_an_intent_that_the_gates_judge() -> None:
    world = make_world()
    with_bnb(world)
    context = _fuel_context(world)
    marks = {SYMBOL: 30_000.0, "BNB/USDT": 300.0}
    fuel = plan_fuel(context, {"BNB": Balance(Decimal("0.01"), Decimal("0.01"))}, marks)
    assert fuel is not None
    assert fuel.facts["category"] == "fuel"
    assert (fuel.facts["budget"], fuel.facts["value"]) == (15.0, 3.0)
    rules = {symbol: one.rules_at(START_MS) for symbol, one in context.instruments.items()}
    for guards, count in ((Guards(), 1), (Guards(control_allows_risk=False), 0)):
        state = context.account.state
        book = Book(state, context.instruments, rules, marks, Permissions(), Caps(), guards)
        decision = resolve(Proposal([fuel.intent]), state, book, START_MS, Identity("main", "s"))
        assert len(decision.orders) == count
    assert plan_fuel(context, {"BNB": Balance(Decimal("0.04"), Decimal("0.04"))}, marks) is None
    assert plan_fuel(context, {}, {SYMBOL: 30_000.0}) is None
    context.account.state = State(14 * UNIT)
    refusal = plan_fuel(context, {}, marks)
    assert refusal == Refusal(
        "fuel_short_of_cash",
        "money",
        "BNB/USDT",
        "fuel",
        "worth 0, below 10; the cash is 14, a top-up takes 15",
    )


def test_fuel_is_bought_with_what_the_strategys_buys_leave_and_is_refused_when_that_is_too_little() -> None:
    world = make_world()
    with_bnb(world)
    context = _fuel_context(world)
    context.account.state = State(100 * UNIT)
    marks = {SYMBOL: 30_000.0, "BNB/USDT": 300.0}
    fuel = plan_fuel(context, {}, marks)
    assert isinstance(fuel, Fuel)
    rules = {symbol: one.rules_at(START_MS) for symbol, one in context.instruments.items()}
    bought: dict[float, Decimal | str] = {}
    for spent in (0.0, 88.0, 99.0):
        book = Book(context.account.state, context.instruments, rules, marks, Permissions(), Caps(), Guards())
        first = [market(SYMBOL, "buy", notional=spent, leg="entry")] if spent else []
        decision = resolve(
            Proposal([*first, fuel.intent]), context.account.state, book, START_MS, Identity("main", "s")
        )
        coins = [one.quantity for one in decision.orders if one.symbol == "BNB/USDT"]
        gates = [one.gate for one in decision.refusals]
        bought[spent] = Decimal(coins[0]) / UNIT * 300 if coins else gates[0]
        assert len(decision.orders) == (1 if coins else 0) + len(first), decision.refusals
    assert bought[0.0] == 15
    assert isinstance(bought[88.0], Decimal)
    assert 9 < bought[88.0] < 13
    assert bought[99.0] == "filters"
    assert not QUIET_GATES & {"filters", "fuel_short_of_cash"}, "people are told"


def _bnb_fee(amount: str) -> Trade:
    fees = (Fee("BNB", Decimal(amount)),)
    return Trade("t1", 1, "o", "x", SYMBOL, 1, Decimal("0.01"), 30_000.0, Decimal("300"), fees, START_MS, False)


def _booked(world: World, held: int, fee: str) -> tuple[Account, Booker]:
    from trading_runtime.core.state import Order, apply
    from trading_runtime.cycle.account import OrderRecord

    exchange = world.exchange()
    booker = Booker(exchange, dict(exchange.instruments([SYMBOL, "BNB/USDT"])))
    account = Account(State(1000 * UNIT))
    if held:
        account.state = apply(account.state, OrderFilled("f", "BNB/USDT", 1, held, 300.0, held * 300, 0))
    record = OrderRecord(Order("o", SYMBOL, "market", 1, UNIT // 100, slot=START_MS, leg="b"), "open", START_MS)
    record.exchange_order_id = "x"
    booker.book_trades(account, [_bnb_fee(fee)], {"x": record})
    return account, booker


def test_a_fee_in_fuel_is_taken_from_the_books_own_coins() -> None:
    world = make_world()
    with_bnb(world)
    account, booker = _booked(world, 5_000_000, "0.00075")
    state = account.state
    assert state.quantity("BNB/USDT") == 5_000_000 - 75_000
    assert state.positions["BNB/USDT"].fees == 0
    assert state.positions[SYMBOL].fees == 75_000 * 300, "the trade that cost the fee has it"
    assert state.cash == 1000 * UNIT - 15 * UNIT - 300 * UNIT
    assert state.flows == 0
    assert booker.warnings == []
    profit = sum(
        position.profit(value)
        for position, value in (
            (state.positions["BNB/USDT"], state.quantity("BNB/USDT") * 300),
            (state.positions[SYMBOL], 300 * UNIT),
        )
    )
    assert profit == -75_000 * 300, "the fee, and nothing else, is lost"


@pytest.mark.parametrize("held", [0, 74_999])
def test_a_fee_in_a_coin_that_the_book_does_not_hold_whole_is_paid_from_outside(held: int) -> None:
    world = make_world()
    with_bnb(world)
    account, _ = _booked(world, held, "0.00075")
    assert account.state.quantity("BNB/USDT") == held
    assert account.state.flows == 75_000 * 300
    assert account.state.positions[SYMBOL].fees == 75_000 * 300


def test_a_cycle_is_equal_to_itself() -> None:
    def story() -> list[Cycle]:
        world = make_world(rate="0.05")
        cycles = [run(world, START_MS, Faults({("move_earn", 0): lost_answer()}))]
        for hour in range(1, 4):
            world.to_slot(START_MS + hour * STEP_MS)
            cycles.append(run(world, START_MS + hour * STEP_MS, spend="100"))
        return cycles

    assert story() == story()
