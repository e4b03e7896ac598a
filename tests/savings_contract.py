"""What every exchange with savings must do, as functions over the port: ``savings_contract`` lists them.

A function gets an exchange whose account has 10,000 USDT on spot and none in savings, a deposit of 250 and a withdrawal
of 100 with a fee of 1.5 behind it, and a ``SavingsDriver`` that moves its time and breaks its connection.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

import pytest

from trading_runtime.core.errors import FateUnknown
from trading_runtime.exchanges.port import EarnKind, EarnProduct, Exchange, NotPlaced, Savings

ASSET = "USDT"
MONEY = Decimal(10_000)
FLOWS = [("deposit", Decimal(250)), ("withdrawal", Decimal("-101.5"))]


class SavingsDriver(Protocol):
    """What stands behind an exchange with savings. ``has_connection``: an answer can be lost on the way."""

    has_connection: bool

    def wait(self, seconds: float) -> None: ...

    def lose_next_answer(self) -> None: ...


SavingsContract = Callable[[Exchange, SavingsDriver], None]
savings_contract: list[SavingsContract] = []


def part(function: SavingsContract) -> SavingsContract:
    savings_contract.append(function)
    return function


def savings_of(exchange: Exchange) -> Savings:
    found = exchange.savings
    assert found is not None
    return found


def product_of(exchange: Exchange) -> EarnProduct:
    found = savings_of(exchange).earn_product(ASSET)
    assert found is not None
    return found


def move(exchange: Exchange, driver: SavingsDriver, kind: EarnKind, amount: str) -> str:
    driver.wait(4)
    product = product_of(exchange)
    return savings_of(exchange).move_earn(kind, product, Decimal(amount), exchange.server_time_ms())


def money(exchange: Exchange) -> tuple[Decimal, Decimal, Decimal]:
    """Return what is free on spot, all of spot, and what is in savings."""
    balance = exchange.balances().get(ASSET)
    free, total = (Decimal(0), Decimal(0)) if balance is None else (balance.free, balance.total)
    return free, total, savings_of(exchange).earn_position(ASSET)


@part
def the_product_of_an_asset_is_told(exchange: Exchange, driver: SavingsDriver) -> None:
    product = product_of(exchange)
    assert (product.asset, product.can_subscribe, product.can_redeem) == (ASSET, True, True)
    assert product.product_id
    assert product.subscribe_minimum == Decimal("0.1")
    assert savings_of(exchange).earn_product("NOSUCHCOIN") is None
    assert savings_of(exchange).earn_position("NOSUCHCOIN") == 0


@part
def money_moves_between_spot_and_savings_and_none_is_lost(exchange: Exchange, driver: SavingsDriver) -> None:
    assert money(exchange) == (MONEY, MONEY, Decimal(0))
    move(exchange, driver, "subscribe", "71.5")
    assert money(exchange) == (Decimal("9928.5"), Decimal("9928.5"), Decimal("71.5"))
    move(exchange, driver, "redeem", "21.12345678")
    assert money(exchange) == (Decimal("9949.62345678"), Decimal("9949.62345678"), Decimal("50.37654322"))
    move(exchange, driver, "redeem", "50.37654322")
    assert money(exchange) == (MONEY, MONEY, Decimal(0))


@part
def savings_are_no_balance(exchange: Exchange, driver: SavingsDriver) -> None:
    before = set(exchange.balances())
    move(exchange, driver, "subscribe", "1000")
    assert set(exchange.balances()) == before


@part
def an_operation_is_told_by_its_kind_amount_and_time(exchange: Exchange, driver: SavingsDriver) -> None:
    start = exchange.server_time_ms()
    ids = [move(exchange, driver, "subscribe", amount) for amount in ("10", "20.5", "10")]
    redeemed = move(exchange, driver, "redeem", "20.5")
    found = savings_of(exchange).earn_operations("subscribe", ASSET, start)
    assert [one.operation_id for one in found] == ids
    assert len(set(ids)) == 3
    assert [one.amount for one in found] == [Decimal(10), Decimal("20.5"), Decimal(10)]
    assert {(one.kind, one.asset, one.status) for one in found} == {("subscribe", ASSET, "done")}
    assert [one.time_ms for one in found] == sorted(one.time_ms for one in found)
    assert all(one.time_ms >= start for one in found)
    (back,) = savings_of(exchange).earn_operations("redeem", ASSET, start)
    assert (back.operation_id, back.kind, back.amount) == (redeemed, "redeem", Decimal("20.5"))
    later = [one for one in found if one.time_ms >= found[1].time_ms]
    assert savings_of(exchange).earn_operations("subscribe", ASSET, found[1].time_ms) == later
    assert savings_of(exchange).earn_operations("subscribe", "NOSUCHCOIN", start) == []


@part
def moving_money_is_no_flow(exchange: Exchange, driver: SavingsDriver) -> None:
    move(exchange, driver, "subscribe", "500")
    move(exchange, driver, "redeem", "200")
    flows = savings_of(exchange).cash_flows(ASSET, exchange.server_time_ms() - 10**9)
    assert sorted((flow.kind, flow.amount) for flow in flows) == FLOWS
    assert len({(flow.kind, flow.flow_id) for flow in flows}) == 2
    assert {flow.asset for flow in flows} == {ASSET}
    assert savings_of(exchange).cash_flows(ASSET, exchange.server_time_ms() + 2000) == []


@part
def what_cannot_be_moved_is_refused_and_moves_nothing(exchange: Exchange, driver: SavingsDriver) -> None:
    move(exchange, driver, "subscribe", "100")
    start, before = exchange.server_time_ms(), money(exchange)
    driver.wait(4)
    for kind, amount, reason in (
        ("subscribe", "0.09999999", "filters"),
        ("subscribe", "9900.00000001", "funds"),
        ("subscribe", "1.000000001", "filters"),
        ("subscribe", "0", "filters"),
        ("redeem", "100.00000001", "funds"),
        ("redeem", "1.000000001", "filters"),
        ("redeem", "-1", "filters"),
    ):
        with pytest.raises(NotPlaced) as caught:
            move(exchange, driver, kind, amount)
        assert (kind, amount, caught.value.reason) == (kind, amount, reason)
    other = product_of(exchange)._replace(product_id="NOSUCH001")
    with pytest.raises(NotPlaced) as caught:
        savings_of(exchange).move_earn("subscribe", other, Decimal(1), exchange.server_time_ms())
    assert caught.value.reason == "rejected"
    assert money(exchange) == before
    assert savings_of(exchange).earn_operations("subscribe", ASSET, start + 1) == []
    assert savings_of(exchange).earn_operations("redeem", ASSET, start) == []


@part
def a_stamp_that_is_too_old_never_moves_money(exchange: Exchange, driver: SavingsDriver) -> None:
    window = exchange.capabilities.validity_window_ms
    assert window is not None
    product, start = product_of(exchange), exchange.server_time_ms()
    with pytest.raises(NotPlaced) as caught:
        savings_of(exchange).move_earn("subscribe", product, Decimal(100), start - window - 1)
    assert caught.value.reason == "too_late"
    driver.wait(60)
    assert money(exchange) == (MONEY, MONEY, Decimal(0))
    assert savings_of(exchange).earn_operations("subscribe", ASSET, start - 60_000) == []


@part
def a_lost_answer_is_found_in_the_history_once(exchange: Exchange, driver: SavingsDriver) -> None:
    if not driver.has_connection:
        return  # in one process nothing can get lost on the way
    move(exchange, driver, "subscribe", "100")
    driver.wait(4)
    stamp = exchange.server_time_ms()
    product = product_of(exchange)
    driver.lose_next_answer()
    with pytest.raises(FateUnknown):
        savings_of(exchange).move_earn("subscribe", product, Decimal(100), stamp)
    found = savings_of(exchange).earn_operations("subscribe", ASSET, stamp)
    assert [(one.amount, one.status) for one in found] == [(Decimal(100), "done")]
    assert money(exchange) == (Decimal(9800), Decimal(9800), Decimal(200))
