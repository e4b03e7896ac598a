"""Whole decisions of the live pool: the golden cycle, every gate, exits, entries, accumulation, restarts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from live_pool_samples import (
    BCH,
    BNB,
    DAY_MS,
    LOTS,
    LTC,
    NOON,
    POOL,
    PRICES,
    STRONG,
    WEAK,
    XRP,
    World,
    degraded,
    gate,
    gates,
    orders,
    publication,
    reasons_of,
)
from market_samples import BTC, ETH, HOUR_MS, SOL

from trading_runtime.core.decision import Decision
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.slot import decision_to_json, inputs_class
from trading_runtime.core.strategy import Permissions

CHEAP = {"btc_geom200": 60_000.0 / 0.7}
DEAR = {"btc_zscore": 3.0}
BTC_ROCS = {"btc_roc20": 0.05, "btc_roc60": 0.10, "btc_roc120": 0.15}


def golden_world() -> World:
    """The published inputs. Indicators are chosen to give the published scores at the published volatilities."""
    scores = {ETH: (4.5, 0.04), SOL: (2.6, 0.05), XRP: (0.983333, 0.06), LTC: (-0.725, 0.04), BCH: (0.466667, 0.06)}
    own = {}
    for symbol, (score, vol20) in scores.items():
        ahead = score * vol20  # by the same amount over 20, 60 and 120 days
        own[symbol] = {"vol20": vol20, "roc20": 0.05 + ahead, "roc60": 0.10 + ahead, "roc120": 0.15 + ahead}
    world = World(1000.0, own=own, columns={**BTC_ROCS, **CHEAP})
    world.hold(BNB, 0.1)
    return world


# --- the golden cycle ---


def test_the_golden_cycle_comes_out_to_the_last_digit() -> None:
    decision = golden_world().decide()
    facts = decision.facts
    assert facts["allocation"]["equity"] == pytest.approx(1030.0, abs=1e-9)
    assert facts["allocation"]["btc_ratio"] == pytest.approx(0.15568539844, abs=1e-11)
    assert facts["allocation"]["base_order"] == 15.0
    assert facts["allocation"]["trend_cash"] == pytest.approx(869.644039603279, abs=1e-9)
    assert facts["allocation"]["btc_cash"] == pytest.approx(130.355960396721, abs=1e-9)
    scores = {one["symbol"]: one["relative_score"] for one in facts["candidates"]}
    assert scores == {ETH: 4.5, SOL: 2.6, XRP: 0.983333, LTC: -0.725, BCH: 0.466667}
    assert [one["symbol"] for one in facts["candidates"] if one["selected"]] == [ETH, SOL]
    assert reasons_of(decision, LTC) == ["relative_score_lte_zero"]
    told = facts["intents"]
    assert told[f"{ETH} trend_buy"]["budget"] == pytest.approx(483.135577557, abs=1e-9)
    assert told[f"{SOL} trend_buy"]["budget"] == pytest.approx(386.508462046, abs=1e-9)
    assert told[f"{BTC} dca_buy"]["budget"] == 30.0
    bought = [(intent.symbol, intent.leg, intent.quantity) for intent in decision.intents]
    assert bought == [(ETH, "trend_buy", 0.19), (SOL, "trend_buy", 2.53), (BTC, "dca_buy", 0.0004)]
    assert [(order.symbol, order.quantity) for order in decision.orders] == [
        (ETH, 19_000_000), (SOL, 253_000_000), (BTC, 40_000),
    ]  # fmt: skip
    assert gates(decision) == []
    spent = sum(intent.quantity * PRICES[intent.symbol] for intent in decision.intents if intent.quantity is not None)
    assert 1000.0 - spent == pytest.approx(121.5)


def test_the_golden_cycle_filled_leaves_the_published_cash_and_does_nothing_more() -> None:
    world = golden_world()
    world.step()
    assert world.state.cash == 12_150_000_000
    following = world.step()
    assert orders(following) == []
    assert gates(following) == ["trend_no_eligible_buy", "btc_dca_buy_duplicate_cooldown"]


# --- what the order of things must not change ---


@settings(max_examples=40, deadline=None)
@given(some.permutations([*POOL, BNB]), some.sets(some.sampled_from([ETH, SOL, "DOGE/USDT", "ADA/USDT"])))
def test_neither_order_nor_number_of_the_symbols_of_a_run_matters(given: list[str], held: set[str]) -> None:
    decisions = []
    for symbols in ([*POOL, BNB, "ADA/USDT", "DOGE/USDT"], ["DOGE/USDT", *given, "LINK/USDT", "ADA/USDT"]):
        world = World(own={ETH: STRONG, XRP: STRONG}, columns=CHEAP)
        for extra in ("DOGE/USDT", "ADA/USDT", "LINK/USDT"):
            add_symbol(world, extra)
        world.symbols = [BTC, *symbols]
        for symbol in sorted(held):
            world.hold(symbol, 2.0)
        decisions.append(canonical_json(decision_to_json(world.decide())))
    assert decisions[0] == decisions[1]


def add_symbol(world: World, symbol: str, price: float = 10.0) -> None:
    from market_samples import make_instrument

    world.symbols.append(symbol)
    world.prices[symbol] = price
    world.own[symbol] = world.indicators(symbol, WEAK)
    world.instruments[symbol] = make_instrument(symbol, lot="0.1", tick="0.00000001")


def test_upstreams_order_is_kept_and_buys_go_by_rank() -> None:
    world = World(own={BCH: {**STRONG, "roc20": 0.5}, XRP: STRONG})
    decision = world.decide(publication([LTC, XRP, BCH, ETH, SOL]))
    assert [one["symbol"] for one in decision.facts["candidates"]] == [LTC, XRP, BCH, ETH, SOL]
    assert decision.facts["pool"]["official"] == ["LTCUSDT", "XRPUSDT", "BCHUSDT", "ETHUSDT", "SOLUSDT"]
    assert orders(decision) == [(BCH, "trend_buy", 1), (XRP, "trend_buy", 1)]


def test_a_symbol_of_the_pool_that_the_run_lacks_has_no_price() -> None:
    world = World(own={ETH: STRONG})
    world.symbols.remove(XRP)
    decision = world.decide()
    assert reasons_of(decision, XRP) == ["missing_indicators", "missing_price"]
    assert orders(decision) == [(ETH, "trend_buy", 1)]


# --- gates ---


def test_degraded_pauses_entries_and_nothing_else() -> None:
    world = World(own={ETH: STRONG}, columns={**CHEAP, **DEAR})
    world.hold(SOL, 10.0)
    world.hold(BTC, 0.01)
    decision = world.decide(degraded())
    assert orders(decision) == [(SOL, "trend_sell", -1), (BTC, "dca_sell", -1), (BTC, "dca_buy", 1)]
    refusal = gate(decision, "trend_buy_paused_degraded_mode")
    assert (refusal.category, refusal.detail) == ("trend", "last_known_good")
    assert decision.facts["pool"]["degraded"] is True
    allowed = world.decide(degraded(new_entries=True))
    assert (ETH, "trend_buy", 1) in orders(allowed)
    assert "trend_buy_paused_degraded_mode" not in gates(allowed)


def test_without_an_artifact_the_lock_stays_and_nothing_is_entered() -> None:
    world = World(own={ETH: STRONG, SOL: STRONG})
    world.hold(XRP, 100.0)
    world.step(degraded(), fills=False)
    decision = world.decide(None)
    assert gate(decision, "trend_no_artifact").category == "trend"
    assert orders(decision) == [(XRP, "trend_sell", -1)]
    assert decision.facts["pool"]["execution"] == list(POOL)
    assert "source_kind" not in decision.facts["pool"]


def test_without_any_pool_nothing_is_rotated_out_but_stops_hold() -> None:
    """Nobody can say what has left a pool that nobody knows."""
    world = World()
    world.hold(SOL, 10.0)
    world.hold(ETH, 1.0, entry_price=2_800.0)
    decision = world.decide(None)
    assert orders(decision) == [(ETH, "trend_sell", -1)]
    assert decision.facts["intents"][f"{ETH} trend_sell"]["reason"] == "trailing_stop"
    assert decision.facts["candidates"] == []
    assert decision.facts["pool"] == {"retired": []}


def test_nothing_selected_says_why_for_each_symbol() -> None:
    world = World(columns={"btc_ma200_slope": -0.1})
    detail = gate(world.decide(), "trend_no_selected_candidate").detail
    assert detail.startswith("pool size 5; ETH/USDT: btc_regime_off relative_score_lte_zero abs_momentum_lte_zero")
    assert "(relative -1.7, absolute 0)" in detail


def test_a_budget_must_be_larger_than_the_minimum() -> None:
    world = World(30.0, own={ETH: STRONG, SOL: STRONG})
    decision = world.decide()
    assert orders(decision) == []
    assert gates(decision).count("trend_buy_below_min_budget") == 2


def test_a_budget_that_buys_no_lot_is_a_refusal() -> None:
    world = World(1000.0, own={ETH: STRONG}, lots={ETH: "1", BTC: "0.1"}, columns=CHEAP)
    decision = world.decide()
    assert gate(decision, "trend_buy_zero_order_size").symbol == ETH
    assert gate(decision, "btc_dca_buy_zero_order_size").category == "btc_dca"


def test_a_bought_symbol_is_not_bought_again_on_that_date() -> None:
    world = World(own={ETH: STRONG})
    world.step()
    world.step()
    world.sell(ETH)
    assert gate(world.step(), "trend_buy_duplicate_cooldown").symbol == ETH
    world.slot = NOON + DAY_MS
    assert orders(world.decide()) == [(ETH, "trend_buy", 1)]


def test_an_order_that_came_to_nothing_is_tried_again() -> None:
    world = World(own={ETH: STRONG}, columns=CHEAP)
    first = world.step(fills=False)
    assert orders(first) == [(ETH, "trend_buy", 1), (BTC, "dca_buy", 1)]
    second = world.step()
    assert orders(second) == orders(first)
    assert orders(world.step()) == []


def test_an_order_that_is_still_open_is_not_doubled() -> None:
    world = World(own={ETH: STRONG}, columns=CHEAP)
    decision = world.decide()
    world.keep(decision)
    for order in decision.orders:
        world.leave_open(order)
    world.slot += HOUR_MS
    following = world.decide()
    assert following.intents == ()
    assert "still open" in " ".join(following.reasons)
    assert {"ETH/USDT trend_buy", "BTC/USDT dca_buy"} <= set(following.strategy_state["attempts"])


def test_a_sale_that_is_still_open_is_not_doubled_under_another_leg() -> None:
    world = World()
    world.hold(SOL, 10.0)
    decision = world.decide()
    world.keep(decision)
    world.leave_open(decision.orders[0])
    world.slot += HOUR_MS
    world.prices[SOL] *= 0.1
    following = world.decide()
    assert following.facts["breaker"]["tripped"]
    assert following.intents == ()


def test_an_account_without_permission_buys_nothing() -> None:
    world = World(own={ETH: STRONG}, columns={**CHEAP, **DEAR})
    world.hold(SOL, 10.0)
    world.hold(BTC, 0.01)
    world.new_risk = False
    decision = world.decide()
    assert orders(decision) == [(SOL, "trend_sell", -1), (BTC, "dca_sell", -1)]
    assert {"trend_buy_new_risk_withheld", "btc_dca_buy_new_risk_withheld"} <= set(gates(decision))


@pytest.mark.parametrize("column", ["btc_ma200", "btc_ma200_slope", "btc_roc20", "btc_roc60", "btc_roc120"])
def test_without_btc_nothing_is_entered_or_rotated_but_own_stops_hold(column: str) -> None:
    world = World(own={ETH: STRONG, LTC: STRONG})
    world.columns[column] = None
    world.hold(SOL, 10.0)  # weak: with BTC known it would be rotated out
    world.hold(XRP, 100.0, entry_price=1.4)
    world.hold(BCH, 1.0)
    world.prices[BCH] = 300.0
    decision = world.decide()
    assert orders(decision) == [(XRP, "trend_sell", -1), (BCH, "trend_sell", -1)]
    told = decision.facts["intents"]
    assert told[f"{XRP} trend_sell"]["reason"] == "trailing_stop"
    assert told[f"{BCH} trend_sell"]["reason"] == "price_below_sma60"
    assert column.removeprefix("btc_") in gate(decision, "trend_missing_inputs").detail
    assert "missing_btc_momentum" in reasons_of(decision, ETH)
    assert column.removeprefix("btc_") not in decision.facts["btc"]


def test_a_holding_without_a_price_is_not_sold_blindly() -> None:
    """A runtime that knows the equity but not this price: no market order goes out on nothing."""
    world = World(own={ETH: STRONG})
    world.hold(SOL, 10.0)
    given = world.given(publication())
    inputs: Any = inputs_class(type(world.strategy), tuple(world.strategy.columns))()
    for name in world.strategy.columns:
        setattr(inputs, name, (given.columns or {})[name])
    inputs.symbols, inputs.symbol = tuple(world.symbols), BTC
    inputs.state, inputs.permissions, inputs.artifact, inputs.index = {}, Permissions(), publication(), 0
    inputs._source = PriceLost(world, SOL)
    proposal = world.strategy.decide(inputs)
    assert [intent.symbol for intent in proposal.intents] == [ETH]
    refused = [refusal for refusal in proposal.refusals if refusal.symbol == SOL]
    assert [(refusal.gate, refusal.leg) for refusal in refused] == [("trend_missing_inputs", "trend_sell")]


class PriceLost:
    """What stands behind the inputs, with one price gone."""

    def __init__(self, world: World, symbol: str) -> None:
        self._world = world
        self._symbol = symbol

    def time_of(self, row: int) -> int:
        return self._world.slot

    def price_of(self, symbol: str, row: int) -> float:
        return math.nan if symbol == self._symbol else self._world.prices[symbol]

    def position_of(self, symbol: str) -> float:
        return self._world.quantity(symbol)

    def entry_price_of(self, symbol: str) -> float:
        return PRICES[symbol] if self._world.quantity(symbol) else 0.0

    def profit_of(self, symbol: str, row: int) -> float:
        return 0.0

    def lot_of(self, symbol: str, row: int) -> float:
        return float(LOTS[symbol])

    def equity(self, row: int) -> float:
        return 11_500.0

    def cash(self) -> float:
        return 10_000.0

    def open_orders(self) -> tuple[()]:
        return ()


@pytest.mark.parametrize("column", ["btc_geom200", "btc_zscore", "btc_sell_trigger"])
def test_btc_is_neither_bought_nor_trimmed_on_missing_inputs(column: str) -> None:
    world = World(columns={**CHEAP, "btc_zscore": 9.0})
    world.hold(BTC, 0.01)
    assert orders(world.decide()) == [(BTC, "dca_sell", -1), (BTC, "dca_buy", 1)]
    world.columns[column] = None
    decision = world.decide()
    assert decision.intents == ()
    assert gate(decision, "btc_dca_missing_inputs").detail.startswith("missing: ")


# --- exits ---


def test_what_has_left_the_pool_is_sold_until_it_is_gone_and_never_bought() -> None:
    world = World(own={ETH: STRONG, SOL: STRONG})
    world.step()
    others = publication([XRP, LTC, BCH], version="2026-04-01-core_major", as_of_date="2026-04-01")
    assert orders(world.step(degraded([XRP], version="later"))) == []  # a degraded pool replaces no lock
    decision = world.step(others, fills=False)
    assert decision.facts["pool"]["retired"] == [ETH, SOL]
    assert orders(decision) == [(ETH, "trend_sell", -1), (SOL, "trend_sell", -1)]
    assert {one["reason"] for one in decision.facts["intents"].values()} == {"rotated_out"}
    world.columns["btc_roc20"] = None  # to leave the pool needs no BTC
    again = world.decide(others)
    world.keep(again)
    world.fill(again.orders[0], 0.5)
    world.slot += HOUR_MS
    third = world.step(others)
    assert orders(third) == orders(decision)
    last = world.decide(others)
    assert last.facts["pool"]["retired"] == []
    assert orders(last) == []


def test_what_is_no_longer_among_the_best_is_sold_and_pays_for_what_is() -> None:
    world = World(1.0, own={ETH: STRONG, SOL: {**STRONG, "roc20": 0.4}, XRP: {**STRONG, "roc20": 0.5}})
    world.hold(ETH, 0.4)
    decision = world.decide()
    assert orders(decision) == [(ETH, "trend_sell", -1), (XRP, "trend_buy", 1), (SOL, "trend_buy", 1)]
    assert decision.facts["allocation"]["trend_cash"] == pytest.approx(1.0 * 1, abs=1.0)
    after = decision.facts["intents"][f"{XRP} trend_buy"]["budget"]
    assert after == pytest.approx(0.5 * (1001.0 * (1.0 - decision.facts["allocation"]["btc_ratio"])), rel=1e-9)
    world.step()
    assert world.state.cash > 0


def test_indicators_that_are_missing_sell_a_holding_with_a_price() -> None:
    world = World(own={ETH: STRONG})
    world.hold(ETH, 1.0)
    world.own[ETH]["sma200"] = None
    decision = world.decide()
    assert decision.facts["intents"][f"{ETH} trend_sell"]["reason"] == "indicators_missing"
    assert reasons_of(decision, ETH) == ["missing_fields:sma200"]


def test_the_trailing_stop_trails_across_restarts() -> None:
    """Up by 20 %, then down by more than 2.5 ATR from there, still far above the entry: every step is a new process."""
    world = World(own={ETH: STRONG})
    world.step()
    world.own[ETH]["atr14"] = 100.0
    seen = []
    for price in (2_600.0, 2_900.0, 3_000.0, 2_751.0, 2_749.0):
        world.prices[ETH] = price
        decision = world.step()
        seen.append((decision.strategy_state["highest"][ETH], orders(decision)))
    assert [highest for highest, _ in seen] == [2_600.0, 2_900.0, 3_000.0, 3_000.0, 3_000.0]
    assert [found for _, found in seen] == [[], [], [], [], [(ETH, "trend_sell", -1)]]
    assert world.step().strategy_state["highest"] == {}


# --- accumulation ---


@pytest.mark.parametrize(("ahr999", "budget"), [(0.44, 75.0), (0.7, 30.0), (1.1, 15.0)])
def test_btc_is_bought_by_valuation_once_a_day(ahr999: float, budget: float) -> None:
    world = World(1_000.0, columns={"btc_geom200": 60_000.0 / ahr999}, lots={BTC: "0.00001"})
    decision = world.step()
    assert decision.facts["intents"][f"{BTC} dca_buy"]["budget"] == pytest.approx(budget)
    assert gate(world.step(), "btc_dca_buy_duplicate_cooldown").detail == "bought on 2026-03-15 already"
    world.slot = NOON - 12 * HOUR_MS + DAY_MS  # midnight is the next date
    assert orders(world.step()) == [(BTC, "dca_buy", 1)]


@pytest.mark.parametrize(("zscore", "quantity"), [(2.6, 0.01), (4.5, 0.03), (5.5, 0.05)])
def test_btc_is_trimmed_above_the_trigger_once_a_day(zscore: float, quantity: float) -> None:
    world = World(0.0, columns={"btc_zscore": zscore})
    world.hold(BTC, 0.1)
    decision = world.step()
    assert decision.facts["intents"][f"{BTC} dca_sell"]["quantity"] == quantity
    assert world.quantity(BTC) == pytest.approx(0.1 - quantity)
    assert gate(world.step(), "btc_dca_sell_duplicate_cooldown").symbol == BTC


def test_a_purchase_and_a_trim_that_cancel_out_are_not_repeated() -> None:
    """Both in one slot, of the same size: the quantity is what it was, and yet both have happened."""
    world = World(5_000.0, columns={**CHEAP, **DEAR})
    world.hold(BTC, 0.004)
    first = world.step()
    assert [(order.leg, order.quantity) for order in first.orders] == [("dca_sell", 40_000), ("dca_buy", 40_000)]
    assert world.quantity(BTC) == 0.004
    assert gates(world.step())[-2:] == ["btc_dca_buy_duplicate_cooldown", "btc_dca_sell_duplicate_cooldown"]


def test_the_gates_of_btc_name_what_stood_in_the_way() -> None:
    poor = World(12.0, columns=CHEAP)
    assert gate(poor.decide(), "btc_dca_pool_too_small").category == "btc_dca"
    invested = World(1.0, columns={**CHEAP, **DEAR})
    invested.hold(BTC, 0.0003)
    assert gates(invested.decide())[-2:] == ["btc_dca_buy_below_min_budget", "btc_dca_sell_below_min_position"]
    assert gate(World().decide(), "btc_dca_buy_valuation_gate_off").detail == "ahr999 1.5"
    coarse = World(1.0, columns=DEAR, lots={BTC: "0.001"})
    coarse.hold(BTC, 0.001)
    assert gate(coarse.decide(), "btc_dca_sell_zero_order_size").leg == "dca_sell"


def test_fuel_is_never_traded_and_no_part_of_the_sleeve() -> None:
    world = World(own={BNB: STRONG})
    world.hold(BNB, 10.0)
    decision = world.decide(publication([BNB, BTC, ETH]))
    assert decision.facts["pool"]["execution"] == [ETH]
    assert decision.facts["allocation"]["trend_value"] == 0.0
    assert decision.facts["allocation"]["equity"] == pytest.approx(13_000.0)
    assert orders(decision) == []


# --- state ---


def test_unknown_keys_of_the_state_survive_and_it_stays_small() -> None:
    world = World(own={ETH: STRONG}, columns=CHEAP)
    world.keep(world.decide()._replace(strategy_state={"of_a_later_version": {"kept": True}}))
    for hour in range(24 * 3):
        for symbol in POOL:
            world.own[symbol] = world.indicators(symbol, STRONG if (hour + ord(symbol[0])) % 3 else WEAK)
        world.step()
    assert world.state.strategy_state["of_a_later_version"] == {"kept": True}
    assert len(canonical_json(dict(world.state.strategy_state))) < 2_000


LEVELS = some.floats(0.8, 1.25)


@settings(max_examples=40, deadline=None)
@given(some.data(), some.floats(0.0, 50_000.0), some.sampled_from([0.0, 0.001]))
def test_random_days_never_overspend_and_never_repeat(data: some.DataObject, cash: float, fee_rate: float) -> None:
    """Over two days of any prices, indicators and sources: what is bought fits the cash and the budgets, a degraded
    source enters nothing, nothing is bought twice on a date, and nothing is bought and sold at once.
    """
    world = World(cash, fee_rate=fee_rate)
    done: set[tuple[str, str, int]] = set()
    for _ in range(data.draw(some.integers(2, 8), "slots")):
        for symbol in (*POOL, BTC):
            world.prices[symbol] *= data.draw(LEVELS)
            world.own[symbol]["roc20"] = data.draw(some.sampled_from([0.3, 0.5, -0.2, None]))
        world.columns["btc_geom200"] = world.prices[BTC] / data.draw(some.sampled_from([0.4, 0.7, 1.0, 1.5]))
        world.columns["btc_zscore"] = data.draw(some.sampled_from([1.0, 3.0, 4.5, 6.0]))
        artifact = data.draw(some.sampled_from([publication(), degraded(), publication([SOL, XRP, BCH]), None]))
        free = world.state.cash
        decision = world.decide(artifact)
        check_decision(decision, free, fee_rate, artifact, world)
        held = dict(world.state.positions)
        world.keep(decision)
        for order in decision.orders:
            day = (order.symbol, order.leg, decision.slot // DAY_MS)
            if order.side > 0 or order.leg == "dca_sell":
                assert day not in done, f"{day} again"
                done.add(day)
            else:
                assert order.quantity <= held[order.symbol].quantity
            world.fill(order)
        assert world.state.cash >= 0
        world.slot += 6 * HOUR_MS
        world.restart()


def check_decision(decision: Decision, free: int, fee_rate: float, artifact: Any, world: World) -> None:
    sides: dict[str, set[int]] = {}
    for order in decision.orders:
        sides.setdefault(order.symbol, set()).add(order.side)
    assert all(len(found) == 1 for symbol, found in sides.items() if symbol != BTC)
    assert [refusal for refusal in decision.refusals if refusal.gate in ("cash", "sizing", "duplicates")] == []
    entered = [order for order in decision.orders if order.leg == "trend_buy"]
    told = decision.facts["intents"]
    if artifact is None or artifact["degraded"] or decision.facts["breaker"]["latched"]:
        assert entered == []
    for one in told.values():
        if one["action"] == "buy":
            assert one["quantity"] * one["price"] <= one["budget"] * 0.985 * (1.0 + 1e-12)
    ranked = [one.symbol for one in entered]
    scores = {one["symbol"]: one.get("relative_score") for one in decision.facts["candidates"]}
    assert ranked == sorted(ranked, key=lambda symbol: -scores[symbol])
    proceeds = sum(one["quantity"] * one["price"] for one in told.values() if one["action"] == "sell")
    budgets = sum(one["budget"] for one in told.values() if one["action"] == "buy")
    assert budgets <= (free / 1e8 + proceeds) * (1.0 + 1e-9) + 1e-6
