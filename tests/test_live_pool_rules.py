"""The rules of the live pool as pure functions: golden numbers, borders, and what must hold for any numbers."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as some
from live_pool_samples import POOL, degraded, publication
from market_samples import BTC, ETH, SOL

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.strategies.live_pool.accumulation import buy_multiplier, trim_fraction
from trading_runtime.strategies.live_pool.allocation import AllocationRules, allocate, base_order, btc_ratio
from trading_runtime.strategies.live_pool.attempts import is_done, new_attempt, settled_attempts
from trading_runtime.strategies.live_pool.breaker import BreakerDay, opened_day, profit_fraction, profit_since, trips
from trading_runtime.strategies.live_pool.logarithms import exponential, logarithm
from trading_runtime.strategies.live_pool.pool import locked_pool, publication_of
from trading_runtime.strategies.live_pool.sizing import lots_for_budget, lots_of_share, quantity_of_lots
from trading_runtime.strategies.live_pool.trend import (
    UNKNOWN,
    Benchmark,
    Candidate,
    Indicators,
    budgets,
    candidate,
    exit_reason,
    raised_high,
    selected_weights,
)

MONEY = some.floats(0.0, 1e9)
RISING = Benchmark(60_000.0, 50_000.0, 0.02, 0.05, 0.10, 0.15)
GOOD = Indicators(90.0, 80.0, 70.0, 0.3, 0.4, 0.5, 0.05, 4.0)


# --- allocation ---


@pytest.mark.parametrize(
    ("equity", "ratio"),
    [
        (1030.0, "0.155685398443"),
        (10_000.0, "0.250903548890"),
        (50_000.0, "0.426681515076"),  # the published ...075 has its last digit wrong: 0.14 + 0.16 * ln 6 is ...07649
        (100_000.0, "0.523663243648"),
        (250_000.0, "0.65"),
    ],
)
def test_the_btc_ratio_is_the_published_one(equity: float, ratio: str) -> None:
    """The formula to 1e-12 by the mathematical library, and its twelve digits to the last of them."""
    formula = min(0.65, max(0.0, 0.14 + 0.16 * math.log(1.0 + max(equity, 1.0) / 10_000.0)))
    assert abs(btc_ratio(equity) - formula) <= 1e-12
    assert abs(btc_ratio(equity) - float(ratio)) <= 5.01e-13


def test_the_budgets_are_the_published_ones() -> None:
    before = allocate(1030.0, 1000.0, 0.0, 0.0)
    assert before.trend_cash == pytest.approx(869.644039603279, abs=1e-12)
    assert before.btc_cash == pytest.approx(130.355960396721, abs=1e-12)
    assert before.base_order == 15.0
    after = allocate(1030.0, 145.5, 854.5, 0.0)
    assert after.trend_cash == pytest.approx(15.144039603279, abs=1e-9)
    assert after.btc_cash == pytest.approx(130.355960396721, abs=1e-9)


def test_the_base_order_grows_with_equity_above_its_minimum() -> None:
    found = [base_order(equity) for equity in (0.0, 12_499.0, 12_500.0, 100_000.0)]
    assert found == pytest.approx([15.0, 15.0, 15.0, 120.0], rel=1e-15)


@given(some.floats(-1e9, 1e12))
def test_the_btc_ratio_never_leaves_its_bounds(equity: float) -> None:
    assert 0.14 <= btc_ratio(equity) <= 0.65
    assert btc_ratio(equity, AllocationRules(ratio_base=0.0, ratio_slope=0.0)) == 0.0


@given(MONEY, some.floats(-1e6, 1e9), MONEY, MONEY)
def test_budgets_never_exceed_the_cash(equity: float, cash: float, trend_value: float, btc_value: float) -> None:
    found = allocate(equity, cash, trend_value, btc_value)
    assert found.trend_cash >= 0.0
    assert found.btc_cash >= 0.0
    assert found.trend_cash + found.btc_cash <= max(cash, 0.0) * (1.0 + 1e-15)
    assert found.trend_cash <= max(0.0, equity * (1.0 - found.btc_ratio) - trend_value)
    assert found.btc_cash <= max(0.0, equity * found.btc_ratio - btc_value)


@given(some.floats(1e-9, 1e12))
def test_logarithms_are_right_to_the_last_bit_or_its_neighbour(value: float) -> None:
    assert logarithm(value) == pytest.approx(math.log(value), rel=4e-16, abs=1e-300)
    assert exponential(logarithm(value)) == pytest.approx(value, rel=1e-14)


# --- sizing ---


@pytest.mark.parametrize(
    ("budget", "price", "lot", "lots"),
    [
        (0.3, 1.0, 0.1, 3),  # 0.3 / 0.1 is 2.9999999999999996 in floats
        (0.1 + 0.7, 1.0, 0.1, 8),  # the sum is 0.7999999999999999
        (0.29, 1.0, 0.01, 29),
        (0.2999, 1.0, 0.1, 2),
        (483.135577557 * 0.985, 2500.0, 0.001, 190),
        (386.508462046 * 0.985, 150.0, 0.01, 253),
        (0.0, 1.0, 0.1, 0),
        (-5.0, 1.0, 0.1, 0),
        (math.nan, 1.0, 0.1, 0),
        (5.0, math.nan, 0.1, 0),
        (5.0, 0.0, 0.1, 0),
    ],
)
def test_no_lot_is_lost_to_binary_fractions(budget: float, price: float, lot: float, lots: int) -> None:
    assert lots_for_budget(budget, 1.0, price, lot) == lots


@given(some.integers(0, 10**9), some.integers(0, 8), some.integers(1, 10**9), some.integers(0, 4))
def test_whole_lots_are_found_again(count: int, places: int, price_ticks: int, tick_places: int) -> None:
    """What so many lots cost buys so many lots, for decimal lots and prices; a little less buys one lot less."""
    lot, price = float(Fraction(1, 10**places)), float(Fraction(price_ticks, 10**tick_places))
    cost = Fraction(count * price_ticks, 10 ** (places + tick_places))
    if cost.numerator and len(str(count * price_ticks)) > 15:
        return  # more digits than a float holds
    assert lots_for_budget(float(cost), 1.0, price, lot) == count
    if count:
        assert lots_for_budget(float(cost) * (1.0 - 1e-12), 1.0, price, lot) == count - 1
    assert Fraction(str(quantity_of_lots(count, lot))) == Fraction(count, 10**places)


@given(MONEY, some.floats(0.5, 1.0), some.floats(1e-8, 1e7), some.sampled_from([1.0, 0.1, 0.01, 0.001, 1e-5, 1e-8]))
def test_a_buy_never_costs_more_than_its_share_of_the_budget(
    budget: float, fraction: float, price: float, lot: float
) -> None:
    quantity = quantity_of_lots(lots_for_budget(budget, fraction, price, lot), lot)
    assert quantity * price <= budget * fraction * (1.0 + 3e-15)


@pytest.mark.parametrize(
    ("quantity", "share", "lots"), [(0.01, 0.1, 10), (0.001, 0.3, 3), (0.0009, 0.1, 0), (0.0, 0.5, 0), (0.0003, 0.5, 1)]
)
def test_a_share_is_rounded_down_to_lots(quantity: float, share: float, lots: int) -> None:
    assert lots_of_share(quantity, share, 0.0001) == lots


# --- trend ---


def test_a_good_symbol_has_no_reasons_and_the_documented_scores() -> None:
    one = candidate(ETH, 100.0, GOOD, RISING)
    assert one.reasons == ()
    assert one.relative_score == (0.5 * (0.3 - 0.05) + 0.3 * (0.4 - 0.10) + 0.2 * (0.5 - 0.15)) / 0.05
    assert one.absolute_momentum == 0.5 * 0.3 + 0.3 * 0.4 + 0.2 * 0.5


@pytest.mark.parametrize(
    ("price", "own", "btc", "reasons"),
    [
        (100.0, GOOD, RISING._replace(price=49_000.0), ["btc_regime_off"]),
        (100.0, GOOD, RISING._replace(price=50_000.0), ["btc_regime_off"]),
        (100.0, GOOD, RISING._replace(ma200_slope=0.0), ["btc_regime_off"]),
        (100.0, GOOD, RISING._replace(ma200=math.nan), ["missing_btc_momentum"]),
        (100.0, GOOD, RISING._replace(ma200_slope=math.nan), ["missing_btc_momentum"]),
        (100.0, GOOD, RISING._replace(roc60=math.nan), ["missing_btc_momentum"]),
        (100.0, UNKNOWN, RISING, ["missing_indicators"]),
        (100.0, GOOD._replace(sma200=math.nan, atr14=math.nan), RISING, ["missing_fields:sma200,atr14"]),
        (math.nan, GOOD, RISING, ["missing_price"]),
        (math.nan, UNKNOWN, RISING, ["missing_indicators", "missing_price"]),
        (90.0, GOOD, RISING, ["price_lte_sma20"]),
        (80.0, GOOD, RISING, ["price_lte_sma20", "price_lte_sma60"]),
        (70.0, GOOD, RISING, ["price_lte_sma20", "price_lte_sma60", "price_lte_sma200"]),
        (100.0, GOOD._replace(vol20=0.0), RISING, ["vol20_lte_zero"]),
        (100.0, GOOD._replace(roc20=0.05, roc60=0.1, roc120=0.15), RISING, ["relative_score_lte_zero"]),
        (
            100.0,
            GOOD._replace(roc20=-0.1, roc60=-0.1, roc120=-0.1),
            RISING._replace(roc20=-0.2, roc60=-0.2, roc120=-0.2),
            ["abs_momentum_lte_zero"],
        ),
        (100.0, GOOD._replace(roc20=math.inf), RISING, ["unknown_filter"]),
    ],
)
def test_every_condition_that_fails_is_named(price: float, own: Indicators, btc: Benchmark, reasons: list[str]) -> None:
    assert list(candidate(ETH, price, own, btc).reasons) == reasons


FLOATS = some.floats(allow_nan=True, allow_infinity=True)


@given(FLOATS, some.tuples(*[FLOATS] * 8), some.tuples(*[FLOATS] * 6))
def test_whatever_the_numbers_only_known_ones_qualify(
    price: float, own: tuple[float, ...], btc: tuple[float, ...]
) -> None:
    """Never an error, and nothing qualifies on a number that is missing or not finite where it counts."""
    one = candidate(ETH, price, Indicators(*own), Benchmark(*btc))
    for score in (one.relative_score, one.absolute_momentum):
        assert score is None or math.isfinite(score)
    if not one.reasons:
        assert one.relative_score is not None
        assert one.relative_score > 0.0
        assert not any(map(math.isnan, (price, *own, *btc)))
        assert price > own[0]
        assert btc[0] > btc[1]


def scored(symbol: str, score: float, vol20: float, *reasons: str) -> Candidate:
    return Candidate(symbol, reasons, score, 1.0, vol20)


def test_the_best_are_taken_in_rank_order_and_weighted_by_inverse_volatility() -> None:
    """The published weights: volatilities 0.04 and 0.05 give 0.555556 and 0.444444."""
    judged = [scored(SOL, 2.6, 0.05), scored(ETH, 4.5, 0.04), scored("X/USDT", 9.0, 0.01, "btc_regime_off")]
    weights = selected_weights([*judged, scored("Y/USDT", 0.9, 0.01)], 2)
    assert list(weights) == [ETH, SOL]
    assert [round(weight, 6) for weight in weights.values()] == [0.555556, 0.444444]
    assert selected_weights(judged, 2, "equal") == {ETH: 0.5, SOL: 0.5}
    assert selected_weights([], 2) == {}


def test_of_equal_scores_the_first_of_the_pool_is_better() -> None:
    judged = [scored(symbol, 1.0, 0.05) for symbol in POOL]
    assert list(selected_weights(judged, 2)) == list(POOL[:2])
    assert list(selected_weights(judged[::-1], 2)) == list(POOL[::-1][:2])


@given(some.lists(some.tuples(some.floats(1e-6, 1e3), some.floats(1e-6, 10.0)), max_size=8), some.integers(1, 5), MONEY)
def test_budgets_share_the_cash_and_no_more(pairs: list[tuple[float, float]], top_n: int, cash: float) -> None:
    judged = [scored(f"S{index}/USDT", score, vol) for index, (score, vol) in enumerate(pairs)]
    weights = selected_weights(judged, top_n)
    assert len(weights) == min(top_n, len(pairs))
    ranked = [next(one.relative_score for one in judged if one.symbol == symbol) for symbol in weights]
    assert ranked == sorted(ranked, key=lambda score: -(score or 0.0))
    shares = budgets(weights, list(weights)[:1], cash)
    assert all(weight == 1.0 for _, weight in shares.values())
    everything = budgets(weights, weights, cash)
    assert sum(budget for budget, _ in everything.values()) <= cash * (1.0 + 1e-14)
    assert list(everything) == list(weights)


@pytest.mark.parametrize(
    ("price", "own", "highest", "rotated", "reason"),
    [
        (100.0, GOOD, 100.0, False, None),
        (100.0, GOOD._replace(sma60=math.nan), 100.0, False, "indicators_missing"),
        (100.0, UNKNOWN, 100.0, True, "indicators_missing"),
        (100.0, GOOD, 100.0, True, "rotated_out"),
        (79.99, GOOD, 79.99, True, "rotated_out"),
        (79.99, GOOD, 79.99, False, "price_below_sma60"),
        (79.99, GOOD, 79.99, None, "price_below_sma60"),
        (80.0, GOOD, 80.0, False, None),
        (99.99, GOOD, 110.0, None, "trailing_stop"),
        (100.0, GOOD, 110.0, False, None),  # 110 - 2.5 * 4 is 100: not below
    ],
)
def test_the_first_reason_to_sell_is_given(
    price: float, own: Indicators, highest: float, rotated: bool | None, reason: str | None
) -> None:
    assert exit_reason(price, own, highest, 2.5, is_rotated_out=rotated) == reason


@given(some.lists(some.floats(0.01, 1e6), min_size=1), some.floats(0.01, 1e6))
def test_the_highest_price_never_falls(prices: list[float], entry: float) -> None:
    high: float | None = None
    for price in prices:
        before, high = high, raised_high(high, entry, price)
        assert high >= (before or entry)
    assert high == max(entry, *prices)
    assert raised_high(high, entry, math.nan) == high


# --- accumulation ---


@pytest.mark.parametrize(
    ("ahr999", "multiplier"),
    [(0.0, 5.0), (0.4499, 5.0), (0.45, 2.0), (0.7999, 2.0), (0.8, 1.0), (1.1999, 1.0), (1.2, 0.0), (math.nan, 0.0)],
)
def test_more_is_bought_the_cheaper_it_is(ahr999: float, multiplier: float) -> None:
    assert buy_multiplier(ahr999) == multiplier


@pytest.mark.parametrize(
    ("zscore", "trigger", "fraction"),
    [
        (2.5, 2.5, 0.0),
        (2.51, 2.5, 0.1),
        (4.0, 2.5, 0.1),
        (4.01, 2.5, 0.3),
        (5.0, 2.5, 0.3),
        (5.01, 2.5, 0.5),
        (5.01, 6.0, 0.0),
        (3.0, math.nan, 0.0),  # a missing trigger never sells
        (math.nan, 2.5, 0.0),
    ],
)
def test_more_is_trimmed_the_dearer_it_is(zscore: float, trigger: float, fraction: float) -> None:
    assert trim_fraction(zscore, trigger) == fraction


# --- pool ---


def lock_of(artifact: object, kept: object = None) -> object:
    pool = locked_pool(kept, publication_of(artifact, (BTC,)))
    return None if pool is None else json.loads(canonical_json(pool.to_json()))


def test_the_pool_changes_only_when_upstream_publishes_anew() -> None:
    first = lock_of(publication())
    later = {"version": "2026-04-01-core_major", "as_of_date": "2026-04-01"}
    assert lock_of(None) is None
    assert lock_of(None, first) == first
    assert lock_of(publication([SOL, ETH]), first) == first
    assert lock_of(degraded([SOL, ETH], **later), first) == first
    assert lock_of(publication([SOL, ETH], **later), first)["symbols"] == [SOL, ETH]
    assert lock_of(publication([SOL], as_of_date="2026-04-01"), first)["symbols"] == [SOL]
    assert lock_of(publication([SOL], version="again"), first)["symbols"] == [SOL]
    assert lock_of(degraded([SOL], **later))["symbols"] == [SOL]


def test_symbols_of_other_sleeves_and_repeated_ones_are_not_of_the_pool() -> None:
    assert lock_of(publication([SOL, BTC, ETH, SOL]))["symbols"] == [SOL, ETH]


@pytest.mark.parametrize("artifact", [{}, "pool", 3, {**publication(), "symbols": None}, ["ETH/USDT"]])
def test_what_is_no_pool_is_an_error(artifact: object) -> None:
    with pytest.raises(StrategyError, match="no live pool"):
        publication_of(artifact, ())


@pytest.mark.parametrize(("flag", "value"), [("degraded", None), ("degraded", 0), ("new_entries", 1)])
def test_a_flag_that_is_not_clear_means_no_entries_and_no_lock(flag: str, value: object) -> None:
    found = publication_of({**publication(), flag: value}, ())
    assert found is not None
    assert found.degraded or not found.new_entries


# --- breaker and attempts ---


def test_a_day_measures_profit_from_where_it_began() -> None:
    profits = {ETH: 40.0, SOL: -10.0}
    day = opened_day(None, "2026-03-15", 1000.0, [SOL, ETH], profits.__getitem__)
    assert profit_since(day, profits.__getitem__) == 0.0
    profits[ETH] = -10.0
    assert profit_since(day, profits.__getitem__) == -50.0
    same = opened_day(day, "2026-03-15", 5000.0, [SOL, ETH], profits.__getitem__)
    assert same == day
    following = opened_day(day._replace(latched=True), "2026-03-16", 950.0, [ETH], profits.__getitem__)
    assert following == BreakerDay("2026-03-16", 950.0, {ETH: -10.0}, latched=False)


def test_a_symbol_that_joins_is_measured_from_then_on_and_a_day_takes_its_first_capital() -> None:
    profits = {ETH: 40.0, SOL: 7.0}
    day = opened_day(None, "2026-03-15", 0.0, [], profits.__getitem__)
    assert profit_fraction(-5.0, day.base) == 0.0
    day = opened_day(day, "2026-03-15", 800.0, [SOL], profits.__getitem__)
    assert day == BreakerDay("2026-03-15", 800.0, {SOL: 7.0}, latched=False)


@pytest.mark.parametrize(
    ("fraction", "tripped"), [(-0.05, True), (-0.049999, False), (-0.3, True), (0.05, False), (0.1 - 0.15, True)]
)
def test_a_loss_of_the_limit_trips(fraction: float, tripped: bool) -> None:
    assert trips(fraction, 0.05) is tripped


def test_what_changed_the_position_is_done_and_what_did_not_is_forgotten() -> None:
    quantities = {ETH: 1.0, SOL: 0.0, BTC: 0.5}
    kept = {
        f"{ETH} trend_buy": new_attempt("2026-03-15", 0.0),
        f"{SOL} trend_buy": new_attempt("2026-03-15", 0.0),
        f"{BTC} dca_buy": new_attempt("2026-03-15", 0.5),
        f"{BTC} dca_sell": {**new_attempt("2026-03-14", 0.2), "done": True},
    }
    settled = settled_attempts(kept, "2026-03-15", {f"{BTC} dca_buy"}, quantities.__getitem__)
    assert list(settled) == [f"{BTC} dca_buy", f"{ETH} trend_buy"]
    assert is_done(settled, ETH, "trend_buy")
    assert not is_done(settled, BTC, "dca_buy")
    quantities[ETH] = 0.0  # sold later: it was bought all the same
    assert is_done(settled_attempts(settled, "2026-03-15", (), quantities.__getitem__), ETH, "trend_buy")
    assert settled_attempts(settled, "2026-03-16", (), quantities.__getitem__) == {}
