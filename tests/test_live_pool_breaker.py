"""The daily breaker over real fills: what is no loss does not trip it, what is one does, once, and then it works on."""

from __future__ import annotations

import pytest
from live_pool_samples import DAY_MS, NOON, STRONG, WEAK, XRP, World, gate, gates, orders, publication
from market_samples import BTC, ETH, HOUR_MS, SOL

MIDNIGHT = NOON - 12 * HOUR_MS


def invested(cash: float = 1_000.0) -> World:
    """ETH and SOL, bought yesterday, with stops too far away to matter; today has begun."""
    own = {**STRONG, "sma20": 0.1, "sma60": 0.1, "sma200": 0.1, "atr14": 0.5}
    world = World(cash, own={ETH: own, SOL: own, XRP: WEAK}, parameters={"top_n": 3})
    world.slot = MIDNIGHT
    world.hold(ETH, 0.4)
    world.hold(SOL, 4.0)
    return world


def capital(world: World) -> float:
    allocation = world.decide().facts["allocation"]
    return float(allocation["trend_value"] + allocation["trend_cash"])


def test_half_the_sleeve_sold_at_flat_prices_does_not_trip() -> None:
    world = invested(0.0)
    world.step()
    world.sell(ETH)
    decision = world.step()
    assert decision.facts["breaker"]["profit_fraction"] == 0.0
    assert decision.facts["breaker"]["latched"] is False
    assert orders(decision) == [(ETH, "trend_buy", 1)]  # it qualifies as before; SOL is not sold


def test_buying_is_no_gain_and_its_fees_are_a_loss() -> None:
    world = World(1_000.0, own={ETH: STRONG}, fee_rate=0.001)
    world.step()
    breaker = world.step().facts["breaker"]
    bought = world.quantity(ETH) * world.prices[ETH]
    assert breaker["profit"] == pytest.approx(-0.001 * bought)


def test_deposits_withdrawals_and_interest_are_neither_profit_nor_loss() -> None:
    world = invested()
    base = world.step().facts["breaker"]["base"]
    for amount, why in ((5_000.0, "deposit"), (0.0123, "interest"), (-900.0, "withdrawal")):
        world.move_cash(amount, why)
        breaker = world.step().facts["breaker"]
        assert (breaker["profit"], breaker["base"], breaker["latched"]) == (0.0, base, False)


def test_a_loss_of_five_percent_trips_once_over_a_day_with_deposits_and_interest() -> None:
    world = invested()
    base = world.step().facts["breaker"]["base"]
    fall = 0.05 * base / world.quantity(ETH)
    trips = []
    for hour in range(23):
        if hour % 3 == 0:
            world.move_cash(0.01, "interest")
        if hour == 5:
            world.move_cash(700.0, "deposit")
        if hour < 10:
            world.prices[ETH] -= fall / 10
        trips.append(world.step().facts["breaker"]["tripped"])
    assert trips.count(True) == 1
    assert trips.index(True) == 9  # the fall is complete at the tenth step
    assert world.quantity(ETH) == world.quantity(SOL) == 0.0
    assert world.state.strategy_state["breaker"]["latched"] is True
    after = world.step()  # 00:00: the latch ends with the date
    assert after.facts["breaker"]["latched"] is False
    assert (ETH, "trend_buy", 1) in orders(after)


def test_one_percent_less_does_not_trip() -> None:
    world = invested()
    base = world.step().facts["breaker"]["base"]
    world.prices[ETH] -= 0.0499 * base / world.quantity(ETH)
    assert world.step().facts["breaker"]["latched"] is False
    world.prices[ETH] -= 0.0002 * base / world.quantity(ETH)
    assert world.step().facts["breaker"]["tripped"] is True


def test_a_realised_loss_counts_after_the_symbol_is_gone() -> None:
    world = invested(0.0)
    base = world.step().facts["breaker"]["base"]
    world.prices[ETH] -= 0.06 * base / world.quantity(ETH)
    world.sell(ETH)
    world.symbols.remove(ETH)  # neither held nor, by then, of the pool
    later = publication([SOL, XRP], version="later")
    decision = world.step(later)
    assert decision.facts["breaker"]["tripped"] is True
    assert orders(decision) == [(SOL, "breaker", -1)]


def tripped(world: World) -> None:
    base = world.step().facts["breaker"]["base"]
    world.prices[ETH] -= 0.06 * base / world.quantity(ETH)


def test_a_tripped_breaker_sells_all_that_is_worth_it_and_names_the_rest() -> None:
    world = invested()
    world.hold(XRP, 5.0)
    world.own[XRP] = world.indicators(XRP, {**STRONG, "roc20": 0.9})
    tripped(world)
    decision = world.step()
    assert orders(decision) == [(ETH, "breaker", -1), (SOL, "breaker", -1)]
    assert {one["reason"] for one in decision.facts["intents"].values()} == {"daily_circuit_breaker"}
    assert gate(decision, "circuit_breaker_sell_below_min_position").symbol == XRP
    assert any("daily_circuit_breaker" in reason for reason in decision.reasons)


def test_a_latched_breaker_goes_on_with_what_did_not_sell_and_buys_nothing() -> None:
    world = invested()
    world.hold(BTC, 0.02)
    tripped(world)
    world.columns.update(btc_geom200=60_000.0 / 0.4, btc_zscore=3.0)
    first = world.step(fills=False)
    assert (ETH, "breaker", -1) in orders(first)
    second = world.decide()
    assert [one for one in orders(second) if one[1] == "breaker"] == [(ETH, "breaker", -1), (SOL, "breaker", -1)]
    assert second.facts["breaker"]["tripped"] is False
    assert {"trend_buy_latched_breaker", "btc_dca_buy_latched_breaker"} <= set(gates(second))
    assert [one for one in orders(second) if one[2] > 0] == []
    assert [leg for _, leg, _ in orders(second)].count("dca_sell") == 1  # trims go on


def test_small_holdings_are_still_managed_while_it_is_latched() -> None:
    world = invested()
    world.hold(XRP, 5.0)
    world.own[XRP] = world.indicators(XRP, STRONG)
    tripped(world)
    world.step()
    world.own[XRP] = world.indicators(XRP, WEAK)
    decision = world.decide()
    assert orders(decision) == [(XRP, "trend_sell", -1)]


def test_the_next_day_begins_anew() -> None:
    world = invested()
    tripped(world)
    world.step()
    world.slot = MIDNIGHT + DAY_MS
    expected = capital(world)
    breaker = world.step().facts["breaker"]
    assert breaker["day"] == "2026-03-16"
    assert breaker["base"] == pytest.approx(expected)
    assert (breaker["profit"], breaker["latched"], breaker["tripped"]) == (0.0, False, False)


def test_what_is_lost_in_the_hour_before_midnight_counts_for_the_day_that_sees_it() -> None:
    world = invested()
    world.slot = MIDNIGHT + DAY_MS - HOUR_MS
    world.step()
    world.slot = MIDNIGHT + DAY_MS
    for symbol in list(world.prices):
        if symbol != BTC:
            world.prices[symbol] *= 0.85
    breaker = world.step().facts["breaker"]
    assert breaker["day"] == "2026-03-16"
    assert breaker["profit_fraction"] < -0.05
    assert breaker["tripped"] is True
