"""Savings at the exchanges: the contract over every implementation, and what Binance's adapter sends and hears."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from ccxt_world import bars_of
from hypothesis import given, settings
from hypothesis import strategies as generate
from market_samples import BTC, START_MS, make_bars, make_instrument
from savings_contract import FLOWS, SavingsContract, SavingsDriver, savings_contract, savings_of
from venue.account import VenueAccount
from venue.binance_server import BinanceServer
from venue.clock import VirtualClock
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
from venue.http_server import Answer, Request
from venue.market import make_markets
from venue.model import Venue
from venue.orders import VenueError
from venue.port import VenueExchange
from venue.savings import VenueProduct

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable, FateUnknown, TradingRuntimeError
from trading_runtime.core.fills import Execution
from trading_runtime.exchanges.ccxt_exchange import CcxtExchange
from trading_runtime.exchanges.credentials import Credentials
from trading_runtime.exchanges.dry_run import DryRunExchange
from trading_runtime.exchanges.file_feed import FileFeed
from trading_runtime.exchanges.port import Balance, CashFlow, EarnKind, EarnOperation, EarnProduct, Exchange, NotPlaced

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
USDT = EarnProduct("USDT001", "USDT", True, True, Decimal("0.1"))
SUBSCRIBE = "/sapi/v1/simple-earn/flexible/subscribe"


class SavingsWorld:
    """A venue with savings on a clock that only tests move, over HTTP through ccxt or in process."""

    has_connection = True

    def __init__(self, *, yearly_rate: str = "0") -> None:
        self.clock = VirtualClock(START_MS)
        self.account = VenueAccount(spot={"USDT": "9851.5", "BTC": "1", "LDO": "7", "LDX": "3"})
        self.venue = Venue(self.clock.now_ms, make_markets(), [self.account])
        self.venue.set_bars(bars_of(BTC, START_MS, 50000.0))
        self.venue.savings.offer(VenueProduct("USDT", yearly_rate=yearly_rate), VenueProduct("BTC"))
        self.venue.savings.deposit("USDT", "250")
        self.venue.savings.withdraw("USDT", "100", fee="1.5")
        self.clock.sleep(60)
        self.faults = Faults()

    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def lose_next_answer(self) -> None:
        self.faults.then("move_earn", lost_answer())

    def in_process(self) -> VenueExchange:
        return VenueExchange(self.venue, self.faults, self.clock, is_perpetual=False)

    @contextmanager
    def server(self) -> Iterator[BinanceServer]:
        with BinanceServer(self.venue, faults=self.faults, clock=self.clock) as server:
            yield server

    @contextmanager
    def over_ccxt(self, **options: Any) -> Iterator[tuple[CcxtExchange, BinanceServer]]:
        with self.server() as server:
            chosen: dict[str, Any] = {
                "credentials": Credentials(self.account.api_key, self.account.api_secret),
                "clock": self.clock,
                "timeout_seconds": 2.0,
                "base_url": server.url,
                **options,
            }
            exchange = CcxtExchange("binance", [BTC], **chosen)
            yield exchange, server
            exchange.close()


class DryDriver:
    """The dry run moves no time and has no connection."""

    has_connection = False

    def wait(self, seconds: float) -> None:
        return

    def lose_next_answer(self) -> None:
        raise AssertionError("a dry run has no connection")


def a_dry_run(**changed: Any) -> DryRunExchange:
    options: dict[str, Any] = {
        "instruments": {BTC: make_instrument(BTC, taker_fee_rate=0.001)},
        "execution": Execution(),
        "timeframe": "1h",
        "balances": {"USDT": Balance(Decimal(10_000), Decimal(10_000)), "BTC": Balance(Decimal(1), Decimal(1))},
        "products": {"USDT": USDT},
        "flows": [
            CashFlow("w1", "withdrawal", "USDT", FLOWS[1][1], START_MS + 2),
            CashFlow("d1", "deposit", "USDT", FLOWS[0][1], START_MS + 1),
        ],
        **changed,
    }
    return DryRunExchange(FileFeed([make_bars([(100.0, 101.0, 99.0, 100.0)] * 2, symbol=BTC)]), **options)


@contextmanager
def opened(name: str) -> Iterator[tuple[Exchange, SavingsDriver]]:
    world = SavingsWorld()
    if name == "dry run":
        yield a_dry_run(), DryDriver()
    elif name == "venue":
        yield world.in_process(), world
    else:
        with world.over_ccxt() as (exchange, _):
            yield exchange, world


@pytest.mark.parametrize("name", ["venue", "ccxt over Binance", "dry run"])
@pytest.mark.parametrize("part", savings_contract, ids=lambda part: part.__name__)
def test_every_exchange_with_savings_keeps_the_contract(part: SavingsContract, name: str) -> None:
    with opened(name) as (exchange, driver):
        part(exchange, driver)


# --- what Binance's adapter sends -----------------------------------------------------------------------------------


def move(world: SavingsWorld, exchange: CcxtExchange, kind: EarnKind, amount: str, age_ms: int = 0) -> str:
    world.clock.sleep(4)
    return savings_of(exchange).move_earn(kind, USDT, Decimal(amount), exchange.server_time_ms() - age_ms)


@pytest.mark.parametrize("kind", ["subscribe", "redeem"])
def test_moving_money_is_one_request_with_the_stamp_of_its_claim(kind: EarnKind) -> None:
    world = SavingsWorld()
    with world.over_ccxt(validity_window_ms=4321) as (exchange, server):
        move(world, exchange, "subscribe", "4000")
        world.clock.sleep(4)
        stamp = exchange.server_time_ms() - 1234
        del server.requests[:]
        savings_of(exchange).move_earn(kind, USDT, Decimal("12.50000000"), stamp)
        (request,) = server.requests
        assert (request.method, request.path) == ("POST", SUBSCRIBE.replace("subscribe", kind))
        sent = request.parameters()
        del sent["signature"]
        wanted = {"productId": "USDT001", "amount": "12.5", "timestamp": str(stamp), "recvWindow": "4321"}
        if kind == "subscribe":
            assert sent == {**wanted, "autoSubscribe": "false", "sourceAccount": "SPOT"}
        else:
            assert sent == {**wanted, "redeemAll": "false", "destAccount": "SPOT"}


def test_a_large_or_tiny_amount_is_sent_without_an_exponent() -> None:
    world = SavingsWorld()
    world.venue.savings.deposit("USDT", "123456789012")
    with world.over_ccxt() as (exchange, server):
        move(world, exchange, "subscribe", "1E+11")
        assert server.requests[-1].parameters()["amount"] == "100000000000"
        move(world, exchange, "redeem", "1E-8")
        assert server.requests[-1].parameters()["amount"] == "0.00000001"


_UNKNOWN_FATES: list[tuple[Fate, int]] = [
    (lost_request(), 0),
    (lost_answer(), 1),
    (error(504, -1007, executed=True), 1),
    (error(500, executed=False), 0),
    (error(503, -1008), 0),
    (error(400, -1000, executed=True), 1),
    (error(400, -6013, message="Purchasing failed."), 0),
    (error(400, -6019, message="Need confirm."), 0),
    (error(400, -9999, message="Something new."), 0),
    (late_request(4_999), 1),
    (late_request(5_001), 0),
]


@pytest.mark.parametrize(("fate", "moved"), _UNKNOWN_FATES, ids=[repr(fate)[:60] for fate, _ in _UNKNOWN_FATES])
def test_what_is_not_certain_is_unknown_and_never_sent_again(fate: Fate, moved: int) -> None:
    world = SavingsWorld()
    with world.over_ccxt() as (exchange, server):
        world.faults.then("move_earn", fate)
        world.clock.sleep(4)
        stamp = exchange.server_time_ms()
        with pytest.raises(FateUnknown):
            savings_of(exchange).move_earn("subscribe", USDT, Decimal(100), stamp)
        world.clock.sleep(30)
        assert len([one for one in server.requests if one.path == SUBSCRIBE]) == 1
        assert len(savings_of(exchange).earn_operations("subscribe", "USDT", stamp)) == moved
        assert exchange.balances()["USDT"].free == Decimal(10_000 - 100 * moved)


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (-1021, 400, "too_late"), (-1003, 429, "rate_limit"), (-1003, 418, "rate_limit"), (-6009, 400, "rate_limit"),
        (-6001, 400, "rejected"), (-6003, 400, "rejected"), (-6004, 400, "rejected"), (-6007, 400, "rejected"),
        (-6008, 400, "rejected"), (-6011, 400, "rejected"), (-6014, 400, "rejected"), (-6016, 400, "rejected"),
        (-6005, 400, "filters"), (-6006, 400, "funds"), (-6012, 400, "funds"), (-6018, 400, "funds"),
    ],
)  # fmt: skip
def test_a_certain_refusal_is_told_by_its_reason(code: int, status: int, reason: str) -> None:
    world = SavingsWorld()
    with world.over_ccxt() as (exchange, server):
        world.faults.then("move_earn", error(status, code, message="No."))
        with pytest.raises(NotPlaced) as caught:
            move(world, exchange, "subscribe", "100")
        assert caught.value.reason == reason
        assert len([one for one in server.requests if one.path == SUBSCRIBE]) == 1


def test_a_missing_permission_says_what_to_do_and_no_secret() -> None:
    world = SavingsWorld()
    with world.over_ccxt() as (exchange, _):
        world.account.can_trade = False
        with pytest.raises(ConfigurationError, match="for reading and for spot trading") as caught:
            move(world, exchange, "subscribe", "100")
        assert world.account.api_secret not in str(caught.value)
        world.faults.then("earn", error(401, -2015))
        with pytest.raises(ConfigurationError, match="needs the permissions") as caught:
            savings_of(exchange).earn_position("USDT")
        assert "signature" not in str(caught.value)
        world.faults.then("move_earn", error(400, -6017, message="Not in whitelist."))
        with pytest.raises(ConfigurationError, match="-6017"):
            move(world, exchange, "subscribe", "100")
    with world.over_ccxt(credentials=None) as (exchange, server):
        del server.requests[:]
        for call in (
            lambda: savings_of(exchange).earn_position("USDT"),
            lambda: savings_of(exchange).cash_flows("USDT", START_MS),
            lambda: savings_of(exchange).move_earn("subscribe", USDT, Decimal(1), START_MS),
        ):
            with pytest.raises(ConfigurationError, match="BINANCE_API_KEY"):
                call()
        assert server.requests == []


def test_there_are_no_savings_where_nobody_offers_them() -> None:
    world = SavingsWorld()
    options: dict[str, Any] = {"credentials": None, "clock": world.clock}
    assert CcxtExchange("binance", ["BTC/USDT:USDT"], **options).savings is None
    assert CcxtExchange("binance", [BTC], sandbox=True, **options).savings is None
    assert CcxtExchange("bitfinex", [BTC], **options).savings is None
    assert CcxtExchange("kraken", [BTC], **options).savings is None
    assert a_dry_run(products=None).savings is None


def test_savings_are_left_out_of_the_balances_and_coins_are_not() -> None:
    world = SavingsWorld()
    with world.over_ccxt() as (exchange, _):
        move(world, exchange, "subscribe", "4000")
        savings_of(exchange).move_earn(
            "redeem", USDT._replace(product_id="USDT001"), Decimal(1), exchange.server_time_ms()
        )
        found = exchange.balances()
        assert {asset: balance.total for asset, balance in found.items()} == {
            "USDT": Decimal(6001),
            "BTC": Decimal(1),
            "LDO": Decimal(7),
            "LDX": Decimal(3),
        }


# --- what it is told ------------------------------------------------------------------------------------------------


def test_histories_are_asked_for_in_slices_and_pages_until_all_is_told() -> None:
    world = SavingsWorld(yearly_rate="0.1")
    desk = world.venue.savings
    desk.spacing_ms = 0
    start = world.clock.now_ms()
    for day in range(200):
        world.clock.advance_to(start + day * DAY_MS)
        for _ in range(3):
            desk.move("main", "subscribe", "USDT001", Decimal("1.1"))
        desk.move("main", "redeem", "USDT001", Decimal("1.2"))
        desk.deposit("USDT", "5")
        desk.withdraw("USDT", "2", fee="0.1")
    with world.over_ccxt() as (exchange, server):
        ours, theirs = savings_of(exchange), savings_of(world.in_process())
        kinds: tuple[EarnKind, ...] = ("subscribe", "redeem")
        for kind in kinds:
            assert ours.earn_operations(kind, "USDT", start) == theirs.earn_operations(kind, "USDT", start)
        flows = ours.cash_flows("USDT", start)
        assert sorted(flows) == sorted(theirs.cash_flows("USDT", start))
        assert len(flows) == 199 * 24 + 400
        periods = [one.parameters() for one in server.requests if "startTime" in one.parameters()]
        assert max(int(one["endTime"]) - int(one["startTime"]) for one in periods) < 31 * DAY_MS


def test_a_withdrawal_of_the_second_that_is_asked_from_is_told_though_its_time_is_whole_seconds() -> None:
    world = SavingsWorld()
    world.clock.advance_to(START_MS + 90_000 + 700)
    world.venue.savings.withdraw("USDT", "3")
    with world.over_ccxt() as (exchange, _):
        flows = savings_of(exchange).cash_flows("USDT", START_MS + 90_000 + 500)
    assert [(flow.amount, flow.time_ms) for flow in flows] == [(Decimal(-3), START_MS + 90_000)]


def test_more_transfers_than_one_page_are_all_told() -> None:
    world = SavingsWorld()
    start = world.clock.now_ms()
    for count in range(1203):
        world.venue.savings.deposit("USDT", str(count + 1))
    with world.over_ccxt() as (exchange, _):
        flows = savings_of(exchange).cash_flows("USDT", start)
    assert sum(flow.amount for flow in flows) == 1203 * 1204 // 2


def test_what_takes_time_or_fails_is_told_so() -> None:
    world = SavingsWorld()
    with world.over_ccxt() as (exchange, _):
        world.faults.then("move_earn", pending(60_000), pending(30_000, fails=True))
        start = exchange.server_time_ms()
        move(world, exchange, "subscribe", "100")
        move(world, exchange, "subscribe", "200")
        told = savings_of(exchange).earn_operations
        assert [one.status for one in told("subscribe", "USDT", start)] == ["pending", "pending"]
        assert exchange.balances()["USDT"].free == Decimal(9700)
        world.clock.sleep(60)
        assert [one.status for one in told("subscribe", "USDT", start)] == ["done", "failed"]
        assert exchange.balances()["USDT"].free == Decimal(9900)
        world.faults.then("move_earn", late_visibility(10_000), pending(60_000))
        move(world, exchange, "redeem", "50")
        assert told("redeem", "USDT", start) == []
        move(world, exchange, "redeem", "20")
        world.clock.sleep(10)
        assert [one.status for one in told("redeem", "USDT", start)] == ["done", "pending"]


def test_questions_are_asked_again_and_then_given_up() -> None:
    world = SavingsWorld()
    with world.over_ccxt() as (exchange, _):
        world.faults.then("earn", error(502), error(429, -1003, retry_seconds=2))
        assert savings_of(exchange).earn_product("USDT") == USDT
        world.faults.then("flows", *[error(503)] * 4)
        with pytest.raises(ExchangeUnavailable):
            savings_of(exchange).cash_flows("USDT", world.clock.now_ms() - DAY_MS)
        with pytest.raises(ExchangeUnavailable, match="too long a time"):
            savings_of(exchange).cash_flows("USDT", 0)


class OddServer(BinanceServer):
    """Answers one path with a text of the test's."""

    def __init__(self, world: SavingsWorld, path: str, text: str) -> None:
        super().__init__(world.venue, faults=world.faults, clock=world.clock)
        self._odd = path, text

    def respond(self, request: Request, fate: Fate) -> Answer:
        if request.path.endswith(self._odd[0]):
            return Answer(200, self._odd[1], {"Content-Type": "application/json"})
        return super().respond(request, fate)


def odd(path: str, text: str, call: Any) -> Any:
    world = SavingsWorld()
    with OddServer(world, path, text) as server:
        exchange = CcxtExchange(
            "binance",
            [BTC],
            credentials=Credentials(world.account.api_key, world.account.api_secret),
            base_url=server.url,
            clock=world.clock,
        )
        try:
            return call(savings_of(exchange), exchange.server_time_ms())
        finally:
            exchange.close()


@pytest.mark.parametrize(
    "text",
    ["{}", "[]", '{"success": true}', '{"purchaseId": 1, "success": false}', '{"purchaseId": 1}', "null", "<html>"],
)
def test_an_answer_that_makes_no_sense_leaves_money_in_doubt(text: str) -> None:
    with pytest.raises(FateUnknown):
        odd("/subscribe", text, lambda savings, now: savings.move_earn("subscribe", USDT, Decimal(1), now))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/list", "{}"),
        ("/list", '{"rows": [{"asset": "USDT", "productId": "USDT001", "canPurchase": true, "canRedeem": true}]}'),
        ("/position", '{"rows": [{"asset": "USDT"}], "total": 1}'),
        ("/position", '{"rows": [{"asset": "USDT", "totalAmount": "NaN"}], "total": 1}'),
        (
            "/subscriptionRecord",
            '{"rows": [{"asset": "USDT", "amount": "1", "time": 1, "purchaseId": 1, "status": "?"}]}',
        ),
        ("/subscriptionRecord", '{"rows": [{"asset": "USDT", "amount": "1", "time": 1, "status": "SUCCESS"}]}'),
        ("/redemptionRecord", '{"rows": [{"asset": "USDT", "amount": "1", "time": 1, "redeemId": 1, "status": "?"}]}'),
        ("/rewardsRecord", '{"rows": [{"asset": "USDT", "rewards": "1", "type": "BONUS", "time": 1}]}'),
        ("/hisrec", '[{"coin": "USDT", "status": 1, "amount": "1", "insertTime": 1}]'),
        ("/hisrec", '{"rows": []}'),
        ("/withdraw/history", '[{"id": "1", "coin": "USDT", "status": 6, "amount": "1", "applyTime": "yesterday"}]'),
    ],
)
def test_a_history_that_makes_no_sense_is_no_answer(path: str, text: str) -> None:
    def ask(savings: Any, now: int) -> None:
        savings.earn_product("USDT")
        savings.earn_position("USDT")
        savings.earn_operations("subscribe", "USDT", now - DAY_MS)
        savings.earn_operations("redeem", "USDT", now - DAY_MS)
        savings.cash_flows("USDT", now - DAY_MS)

    with pytest.raises(ExchangeUnavailable):
        odd(path, text, ask)


def product_row(product_id: str = "A", **changed: Any) -> dict[str, Any]:
    row = {"asset": "USDT", "productId": product_id, "canPurchase": True, "isSoldOut": False, "canRedeem": True}
    return {**row, "minPurchaseAmount": "0.1", "status": "PURCHASING", **changed}


def told_product(*rows: dict[str, Any]) -> EarnProduct | None:
    text = json.dumps({"rows": rows, "total": len(rows)})
    found: EarnProduct | None = odd("/list", text, lambda savings, _: savings.earn_product("USDT"))
    return found


def test_a_product_is_open_only_when_everything_says_so() -> None:
    open_one = EarnProduct("A", "USDT", True, True, Decimal("0.1"))
    assert told_product(product_row()) == open_one
    for closing in ({"canPurchase": False}, {"isSoldOut": True}, {"status": "PREHEATING"}):
        assert told_product(product_row(**closing)) == open_one._replace(can_subscribe=False)
    assert told_product(product_row(canRedeem=False)) == open_one._replace(can_redeem=False)
    better = told_product(product_row("A", canPurchase=False), product_row("B"))
    assert better is not None
    assert better.product_id == "B"
    assert told_product(product_row(asset="USDTX")) is None
    assert told_product() is None


def test_what_touches_the_funding_wallet_only_is_no_flow_and_no_operation() -> None:
    deposits = [
        {"id": str(number), "coin": "USDT", "status": status, "amount": str(number), "insertTime": START_MS + 5}
        | {"walletType": wallet}
        for number, (status, wallet) in enumerate(((1, 1), (6, 0), (0, 0), (1, 0), (2, 0), (7, 0)))
    ]
    flows = odd("/hisrec", json.dumps(deposits), lambda savings, now: savings.cash_flows("USDT", now - DAY_MS))
    assert [flow.flow_id for flow in flows if flow.kind == "deposit"] == ["1", "3"]
    rows = [
        {
            "asset": "USDT",
            "amount": "1",
            "time": START_MS + 5,
            "redeemId": number,
            "status": "PAID",
            "destAccount": wallet,
        }
        for number, wallet in enumerate(("SPOT", "FUND"))
    ]
    text = json.dumps({"rows": rows, "total": 2})
    found = odd("/redemptionRecord", text, lambda savings, now: savings.earn_operations("redeem", "USDT", now - DAY_MS))
    assert found == [EarnOperation("0", "redeem", "USDT", Decimal(1), "done", START_MS + 5)]


@pytest.mark.parametrize(
    ("status", "is_gone"), [(0, True), (2, True), (4, True), (6, True), (1, False), (3, False), (5, False)]
)
def test_a_withdrawal_counts_with_its_fee_from_the_moment_its_money_is_gone(status: int, is_gone: bool) -> None:
    row = {"id": "w", "coin": "USDT", "amount": "8.91", "transactionFee": "0.004", "applyTime": "2024-01-01 00:00:01"}
    text = json.dumps([{**row, "status": status}])
    flows = odd("/withdraw/history", text, lambda savings, now: savings.cash_flows("USDT", START_MS))
    told = [flow for flow in flows if flow.kind == "withdrawal"]
    assert told == [CashFlow("w", "withdrawal", "USDT", Decimal("-8.914"), START_MS + 1000)] * is_gone


_STEPS = generate.lists(
    generate.tuples(
        generate.sampled_from(("subscribe", "redeem", "deposit", "withdraw", "send_back", "bonus")),
        generate.decimals(min_value="0.00000001", max_value="6000", places=8),
        generate.integers(min_value=0, max_value=90 * HOUR_MS),
        generate.sampled_from((0, 50_000, 100 * HOUR_MS)),
        generate.booleans(),
    ),
    max_size=15,
)


@settings(max_examples=25, deadline=None)
@given(steps=_STEPS, age_ms=generate.integers(0, 40 * DAY_MS))
def test_over_http_the_same_is_told_as_in_process(
    steps: list[tuple[str, Decimal, int, int, bool]], age_ms: int
) -> None:
    world = SavingsWorld(yearly_rate="0.2")
    desk, sent = world.venue.savings, []
    for what, amount, wait_ms, pending_ms, fails in steps:
        try:
            if what == "deposit":
                desk.deposit("USDT", str(amount), credited_after_ms=pending_ms, invisible_ms=pending_ms // 2)
            elif what == "withdraw":
                sent.append(desk.withdraw("USDT", str(amount), fee="0.5"))
            elif what == "send_back":
                desk.send_back(sent.pop())
            elif what == "bonus":
                desk.pay_bonus("USDT", str(amount))
            else:
                desk.move("main", what, "USDT001", amount, pending_ms=pending_ms, fails=fails)
        except (VenueError, ValueError, IndexError):
            pass  # refused, or not there: one step less
        world.clock.sleep(wait_ms / 1000)
    since = world.clock.now_ms() - age_ms
    since -= since % 1000
    with world.over_ccxt() as (exchange, _):
        ours, theirs = savings_of(exchange), savings_of(world.in_process())
        assert ours.earn_position("USDT") == theirs.earn_position("USDT")
        assert ours.earn_product("USDT") == theirs.earn_product("USDT")
        kinds: tuple[EarnKind, ...] = ("subscribe", "redeem")
        for kind in kinds:
            assert sorted(ours.earn_operations(kind, "USDT", since)) == sorted(
                theirs.earn_operations(kind, "USDT", since)
            )
        assert sorted(ours.cash_flows("USDT", since)) == sorted(
            flow._replace(time_ms=flow.time_ms // 1000 * 1000) if flow.kind == "withdrawal" else flow
            for flow in theirs.cash_flows("USDT", since)
        )
        totals = {asset: balance.total for asset, balance in exchange.balances().items()}
        assert totals == {asset: balance.total for asset, balance in world.in_process().balances().items()}


# --- the dry run ----------------------------------------------------------------------------------------------------


def test_a_dry_run_starts_with_what_the_exchange_said() -> None:
    known = EarnOperation("7", "redeem", "USDT", Decimal(5), "pending", START_MS)
    exchange = a_dry_run(earn={"USDT": Decimal(300)}, operations=[known])
    savings = savings_of(exchange)
    assert savings.earn_position("USDT") == Decimal(300)
    assert savings.earn_operations("redeem", "USDT", 0) == [known]
    now = exchange.server_time_ms()
    savings.move_earn("redeem", USDT, Decimal(300), now)
    assert exchange.balances()["USDT"] == Balance(Decimal(10_300), Decimal(10_300))
    assert [one.operation_id for one in savings.earn_operations("redeem", "USDT", START_MS + 1)] == ["dry-earn-1"]


def test_a_product_that_is_closed_moves_nothing_in_a_dry_run() -> None:
    closed = USDT._replace(can_subscribe=False, can_redeem=False)
    exchange = a_dry_run(earn={"USDT": Decimal(300)}, products={"USDT": closed})
    kinds: tuple[EarnKind, ...] = ("subscribe", "redeem")
    for kind in kinds:
        with pytest.raises(NotPlaced) as caught:
            savings_of(exchange).move_earn(kind, closed, Decimal(10), exchange.server_time_ms())
        assert caught.value.reason == "rejected"
    assert savings_of(exchange).earn_position("USDT") == Decimal(300)


def test_no_error_of_savings_holds_a_secret_or_a_signed_address() -> None:
    world = SavingsWorld()
    secrets = (world.account.api_key, world.account.api_secret, "signature=")
    with world.over_ccxt() as (exchange, _):
        savings = savings_of(exchange)
        world.faults.then("earn", *[lost_request()] * 4)
        world.faults.then("flows", error(400, -1022))
        world.faults.then("move_earn", error(502), lost_answer())
        calls: list[Callable[[], object]] = [
            lambda: savings.earn_position("USDT"),
            lambda: savings.cash_flows("USDT", world.clock.now_ms()),
            lambda: move(world, exchange, "subscribe", "1"),
            lambda: move(world, exchange, "subscribe", "1"),
        ]
        for call in calls:
            with pytest.raises(TradingRuntimeError) as caught:
                call()
            assert not [secret for secret in secrets if secret in str(caught.value)]
            assert caught.value.__context__ is None or not str(caught.value.__context__).count("signature=")
