"""The declared columns are what the documents say, computed another way, and the whole strategy passes ``verify``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from live_pool_samples import BNB, STRONG
from market_samples import BTC, ETH, SOL, START_MS, make_account, make_bars, make_market, random_bars

from trading_runtime.core.bars import resample
from trading_runtime.core.columns import Universe
from trading_runtime.core.errors import ConfigurationError, StrategyError
from trading_runtime.core.evaluate import Columns
from trading_runtime.core.timeframes import DAY_MS, HOUR_MS
from trading_runtime.strategies.crypto_live_pool_rotation import CryptoLivePoolRotation
from trading_runtime.strategies.live_pool.columns import geometric_mean, sample_deviation, sample_z_score
from trading_runtime.strategies.registry import find_strategy
from trading_runtime.verify.probes import verify_strategy

DAYS = 600


def daily(seed: int, symbol: str = BTC, days: int = DAYS) -> Any:
    return random_bars(seed, days, symbol=symbol, timeframe="1d", price=5_000.0, zero_volume=0.0)


def documented(bars: Any) -> dict[str, Any]:
    """Every column as pandas computes it from the definition in the documents."""
    close, high, low = (pandas.Series(getattr(bars, name)) for name in ("close", "high", "low"))
    before = close.shift(1)
    ranges = pandas.concat([high - low, (high - before).abs(), (low - before).abs()], axis=1)
    ma200 = close.rolling(200).mean()
    zscore = (close - ma200) / close.rolling(200).std()
    return {
        **{f"sma{length}": close.rolling(length).mean() for length in (20, 60, 200)},
        **{f"roc{length}": close.pct_change(length) for length in (20, 60, 120)},
        "vol20": close.pct_change().rolling(20).std(),
        "atr14": ranges.max(axis=1, skipna=False).where(before.notna()).rolling(14).mean(),
        "btc_ma200": ma200,
        "btc_ma200_slope": ma200.pct_change(20),
        "btc_zscore": zscore,
        "btc_sell_trigger": zscore.rolling(365).quantile(0.95).clip(lower=2.5),
        "btc_geom200": np.exp(np.log(close).rolling(200).mean()),
        **{f"btc_roc{length}": close.pct_change(length) for length in (20, 60, 120)},
    }


def test_every_column_is_the_documented_one() -> None:
    bars = daily(3)
    strategy = CryptoLivePoolRotation({"sell_trigger_floor": 0.5})
    expected = documented(bars)
    zscore = expected["btc_zscore"]
    expected["btc_sell_trigger"] = zscore.rolling(365).quantile(0.95).clip(lower=0.5)
    assert set(strategy.columns) == set(expected)
    columns = Columns({BTC: bars}, strategy.params.to_json())
    for name, expression in strategy.columns.items():
        found = columns.column(expression, BTC)
        np.testing.assert_allclose(found, expected[name].to_numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
        assert np.isfinite(found).sum() >= DAYS - 563, name
        assert isinstance(expression, Universe) == (name in STRONG)


def test_the_trigger_never_falls_below_its_floor() -> None:
    bars = make_bars([(100.0 + day % 7,) * 4 for day in range(DAYS)], timeframe="1d")
    strategy = CryptoLivePoolRotation()
    found = Columns({BTC: bars}, strategy.params.to_json()).column(strategy.columns["btc_sell_trigger"], BTC)
    assert set(found[563:]) == {2.5}


def test_hourly_bars_give_the_values_of_the_closed_days() -> None:
    """At 23:00 a day is not over; at its last close, and until the next, the columns are those of its daily bar."""
    bars = random_bars(5, 24 * 230, price=5_000.0)
    days = resample(bars, "1d")
    strategy = CryptoLivePoolRotation()
    values = strategy.params.to_json()
    hourly, by_day = Columns({BTC: bars}, values), Columns({BTC: days}, values)
    for name in ("sma200", "vol20", "atr14", "btc_geom200", "btc_zscore", "btc_ma200_slope"):
        expression = strategy.columns[name]
        found, expected = hourly.column(expression, BTC), by_day.column(expression, BTC)
        start = 24 * 225
        day = expected[(bars.close_time[start:] - START_MS) // DAY_MS - 1]
        assert np.isfinite(day).all()
        assert found[start:].tolist() == day.tolist(), name


def test_the_bars_needed_are_those_of_the_longest_column() -> None:
    """200 days of z-scores for 365 days of their quantile."""
    assert CryptoLivePoolRotation().bars_needed(DAY_MS) == 564
    assert CryptoLivePoolRotation().bars_needed(HOUR_MS) == 564 * 24 + 23


@settings(max_examples=50)
@given(some.lists(some.floats(0.01, 1e6), min_size=5, max_size=40), some.integers(2, 5))
def test_sample_deviations_divide_by_one_less(values: list[float], length: int) -> None:
    source = np.array(values)
    found, scores = sample_deviation(source, length), sample_z_score(source, length)
    for row in range(length - 1, len(values)):
        window = source[row - length + 1 : row + 1]
        expected = float(np.std(window, ddof=1))
        assert found[row] == pytest.approx(expected, rel=1e-9, abs=1e-9 * max(values))
        if len(set(window)) == 1:
            assert found[row] == 0.0
            assert math.isnan(scores[row])
    assert np.isnan(found[: length - 1]).all()


def test_the_geometric_mean_knows_no_prices_that_are_not_positive() -> None:
    found = geometric_mean(np.array([1.0, 100.0, 10.0, 0.0, 4.0, 9.0, math.nan, 1.0]), 2)
    assert np.isnan(found[[0, 3, 4, 6, 7]]).all()
    assert found[[1, 2, 5]] == pytest.approx([10.0, math.sqrt(1000.0), 6.0], rel=1e-15)
    assert geometric_mean(np.full(5, 60_000.0), 3)[2:] == pytest.approx(60_000.0, rel=1e-14)


def test_the_strategy_passes_verify() -> None:
    """Columns depend on their declared windows alone, decisions on the inputs alone; nothing else is kept or read."""
    market = make_market(
        daily(11), daily(12, ETH), random_bars(13, 400, symbol=SOL, timeframe="1d", start_ms=START_MS + 200 * DAY_MS)
    )
    certificate = verify_strategy(CryptoLivePoolRotation(), market, make_account())
    assert certificate.passed, certificate.to_json()


@pytest.mark.parametrize("name", ["crypto_live_pool_rotation", "crypto_leader_rotation"])
def test_both_names_find_it(name: str) -> None:
    assert find_strategy(name) is CryptoLivePoolRotation


def test_parameters_have_help_and_limits_and_the_documented_defaults() -> None:
    declared = CryptoLivePoolRotation.Params.declared
    for name, one in declared.items():
        assert one.help, name
        assert one.choices is not None or one.kind is str or None not in (one.minimum, one.maximum, one.step), name
        if one.kind is float:
            assert one.default in one.sweep_values() or name == "buy_budget_fraction", name
    assert CryptoLivePoolRotation().params.to_json() == {
        "btc_ratio_base": 0.14, "btc_ratio_slope": 0.16, "btc_ratio_scale": 10_000.0, "btc_ratio_maximum": 0.65,
        "base_order_minimum": 15.0, "base_order_fraction": 0.0012, "buy_budget_fraction": 0.985,
        "buy_budget_minimum": 15.0, "top_n": 2, "weighting": "inverse_volatility", "atr_multiple": 2.5,
        "breaker_loss_fraction": 0.05, "breaker_sell_minimum": 10.0, "dca_pool_minimum": 10.0,
        "dca_deep_ahr999": 0.45, "dca_deep_multiplier": 5.0, "dca_low_ahr999": 0.8, "dca_low_multiplier": 2.0,
        "dca_fair_ahr999": 1.2, "dca_fair_multiplier": 1.0, "sell_trigger_floor": 2.5, "sell_trigger_quantile": 0.95,
        "trim_position_minimum": 20.0, "trim_fraction": 0.1, "trim_high_zscore": 4.0, "trim_high_fraction": 0.3,
        "trim_extreme_zscore": 5.0, "trim_extreme_fraction": 0.5, "fuel_symbol": "BNB/USDT",
    }  # fmt: skip


@pytest.mark.parametrize(
    "parameters",
    [
        {"fuel_symbol": "BNB"},
        {"weighting": "much"},
        {"top_n": 0},
        {"dca_low_ahr999": 0.4},
        {"trim_high_zscore": 6.0},
        {"trim_extreme_fraction": 1.5},
    ],
)
def test_parameters_that_make_no_sense_are_errors(parameters: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(parameters))):
        CryptoLivePoolRotation(parameters)


def test_every_symbol_belongs_to_a_sleeve() -> None:
    strategy = CryptoLivePoolRotation()
    assert [strategy.sleeve_of(symbol) for symbol in (BTC, BNB, ETH)] == ["btc_core", "fuel", "trend_rotation"]


def test_a_run_whose_first_symbol_is_not_btc_is_an_error() -> None:
    from live_pool_samples import World

    world = World(symbols=(ETH, BTC))
    with pytest.raises(StrategyError, match="first symbol of the run must be the one of BTC"):
        world.decide()
