"""The compiled path against the general one: the same trace, the same bytes, for anything random we can think of."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.backtest.batch import run_batch
from trading_runtime.backtest.compiled import run_compiled
from trading_runtime.backtest.engine import Account, run_general
from trading_runtime.backtest.kernel import BLOCK
from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.backtest.metrics import compute_metrics
from trading_runtime.backtest.result import build_tables, journal_lines
from trading_runtime.backtest.trace import Trace
from trading_runtime.core.bars import Bars
from trading_runtime.core.columns import NO_OPINION, P, indicator, where, wrap
from trading_runtime.core.errors import AmountError, TradingRuntimeError
from trading_runtime.core.evaluate import ColumnCache
from trading_runtime.core.fills import Execution
from trading_runtime.core.gates import Caps
from trading_runtime.core.instruments import Instrument, make_rules
from trading_runtime.core.parameters import Parameters, parameter
from trading_runtime.core.strategy import Permissions, Strategy
from trading_runtime.core.timeframes import HOUR_MS
from trading_runtime.strategies.sma_cross import SmaCross

START_MS = 19_000 * 24 * HOUR_MS
UNIT = Decimal("0.00000001")


class LongShort(Strategy):
    """Three weights, one of them negative, with no opinion in between."""

    class Params(Parameters):
        length = parameter(5, minimum=2, maximum=20, step=1)
        weight = parameter(0.6)

    average = indicator("sma", "close", length=P.length, universe=True)
    targets = where(
        wrap("close") > average * 1.005, P.weight, where(wrap("close") < average * 0.995, -P.weight, NO_OPINION)
    )


class Overlapping(Strategy):
    """Two comparisons that may hold at once, one with "or equal": the first decides."""

    class Params(Parameters):
        length = parameter(5, minimum=2, maximum=20, step=1)

    average = indicator("sma", "close", length=P.length, universe=True)
    slower = indicator("sma", "close", length=P.length * 3, universe=True)
    targets = where(wrap("close") > average, 0.5, where(slower <= wrap("close"), -0.25, 0.0))


class OneSided(Strategy):
    """A single comparison."""

    class Params(Parameters):
        length = parameter(5, minimum=2, maximum=20, step=1)

    average = indicator("sma", "close", length=P.length, universe=True)
    targets = where(average <= wrap("close"), 0.5, 0.1)


class Continuous(Strategy):
    """A weight of its own for every bar: not a choice, so the other way of finding changes is taken."""

    class Params(Parameters):
        length = parameter(5, minimum=2, maximum=20, step=1)
        weight = parameter(0.9)

    score = indicator("z_score", "close", length=P.length, universe=True)
    targets = where(score > 1.0, P.weight, where(score < -1.0, 0.0, score * 0.25))


def random_market(seed: int, *, symbols: int, rows: int, perpetual: bool, coarse: bool) -> Market:
    """Random but valid bars of different lengths, with rules that change on the way, bars without volume and
    funding.
    """
    random = np.random.default_rng(seed)
    bars, instruments, funding = {}, {}, {}
    for index in range(symbols):
        symbol = f"S{index}/USDT" + (":USDT" if perpetual else "")
        late = int(random.integers(0, rows // 3)) if index else 0
        count = rows - late - (int(random.integers(0, rows // 4)) if index == 2 else 0)
        steps = random.normal(0.0, 0.01, count)
        close = np.round(100.0 * (1.0 + index) * np.cumprod(1.0 + steps), 2)
        opening = np.round(np.concatenate(([close[0]], close[:-1])) * (1.0 + random.normal(0.0, 0.002, count)), 2)
        high = np.maximum(opening, close) + np.round(random.random(count), 2)
        low = np.maximum(np.minimum(opening, close) - np.round(random.random(count), 2), 0.01)
        volume = np.round(random.random(count) * 50.0, 3)
        volume[random.random(count) < 0.1] = 0.0
        volume[-1] = 1.0
        times = START_MS + (late + np.arange(count)) * HOUR_MS
        bars[symbol] = Bars(symbol, "1h", times, opening, high, low, close, volume)
        shared: dict[str, Any] = {"quantity_unit": UNIT, "quote_unit": UNIT}
        fees = {"taker_fee_rate": 0.001, "maker_fee_rate": 0.0002}
        lot = "0.01" if coarse else "0.00000001"
        limits = {"quantity_minimum": "0.05", "quantity_maximum": "40", "notional_minimum": "20"} if coarse else {}
        later = START_MS + rows // 2 * HOUR_MS + 1
        instruments[symbol] = Instrument(
            symbol,
            "perpetual" if perpetual else "spot",
            f"S{index}",
            "USDT",
            UNIT,
            UNIT,
            (
                make_rules(**shared, **fees, tick="0.01", lot=lot, **limits),
                make_rules(**shared, taker_fee_rate=0.0005, tick="0.05", lot=lot, valid_from=later, **limits),
            ),
        )
        if perpetual:
            funding[symbol] = [
                FundingRate(START_MS + hours * HOUR_MS, float(random.normal(0.0, 0.0005)))
                for hours in range(0, rows, 8)
            ]
    execution = Execution(
        slippage_fraction=float(random.choice([0.0, 0.0005])),
        spread_fraction=float(random.choice([0.0, 0.001])),
        volume_fraction_max=random.choice([None, 0.05, 0.5]),
        latency_bars=int(random.integers(0, 3)),
        zero_volume_fills=bool(random.integers(0, 2)),
    )
    return Market(bars, instruments, execution, funding)


def as_bytes(market: Market, trace: Trace) -> bytes:
    """Everything a trace says, as the journal writes it."""
    return b"".join(journal_lines(market, trace))


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    symbols=st.integers(1, 3),
    rows=st.integers(30, 260),
    perpetual=st.booleans(),
    coarse=st.booleans(),
    kind=st.sampled_from([SmaCross, LongShort, Continuous, Overlapping, OneSided]),
    length=st.integers(2, 12),
    weight=st.sampled_from([0.3, 0.95, 1.0, 2.5]),
    cash=st.sampled_from([3, 50, 10_000, 5_000_000]),
    short=st.booleans(),
    caps=st.sampled_from([Caps(), Caps(leverage_max=3.0), Caps(10**12, 3 * 10**12, 2.0)]),
)
def test_both_paths_write_the_same_bytes(
    seed: int,
    symbols: int,
    rows: int,
    perpetual: bool,
    coarse: bool,
    kind: type[Strategy],
    length: int,
    weight: float,
    cash: int,
    short: bool,
    caps: Caps,
) -> None:
    """Random bars, parameters, fees, filters, caps and permissions: the kernel's trace is the general path's, byte for
    byte.
    """
    market = random_market(seed, symbols=symbols, rows=rows, perpetual=perpetual, coarse=coarse)
    parameters: dict[str, Any] = {"fast": length, "slow": 20} if kind is SmaCross else {"length": length}
    if "weight" in kind.Params.declared:
        parameters["weight"] = min(weight, 1.0) if kind is SmaCross else weight
    strategy = kind(parameters)
    account = Account(cash * 10**8, caps, Permissions(short=short))
    general = run_general(market, strategy, account)
    compiled = run_compiled(market, strategy, account)

    assert as_bytes(market, general) == as_bytes(market, compiled)
    assert general.strategy_state == compiled.strategy_state


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    symbols=st.integers(1, 3),
    rows=st.sampled_from([200, 4 * BLOCK + 77]),
    perpetual=st.booleans(),
    coarse=st.booleans(),
)
def test_a_batch_row_says_what_a_single_run_says(
    seed: int, symbols: int, rows: int, perpetual: bool, coarse: bool
) -> None:
    """Every metric of a batch row has the digits of the single run's metric, whatever the number of threads; also where
    positions are held over whole blocks of bars.
    """
    market = random_market(seed, symbols=symbols, rows=rows, perpetual=perpetual, coarse=coarse)
    account = Account(10_000 * 10**8, Caps(leverage_max=3.0), Permissions(short=True))
    chosen = [kind({"length": length}) for kind in (LongShort, Overlapping, OneSided) for length in (2, 5, 17)]
    chosen += [Continuous({"length": 7}), SmaCross({"fast": 3, "slow": 20}), SmaCross({"fast": 60, "slow": 150})]
    alone = run_batch(market, chosen, account, threads=1)
    threaded = run_batch(market, chosen, account, threads=2)

    assert [row.metrics for row in alone] == [row.metrics for row in threaded]
    for strategy, row in zip(chosen, alone, strict=True):
        tables = build_tables(market, run_general(market, strategy, account), account.start_cash)
        metrics = compute_metrics(
            tables.equity, tables.trades, tables.fills, tables.funding, start_cash=10_000.0, bar_ms=market.bar_ms
        )

        assert int(tables.equity_units[-1]) == row.equity_units
        assert {name: metrics[name] for name in row.metrics} == row.metrics


class Once(Strategy):
    """Takes a position early and keeps it."""

    class Params(Parameters):
        weight = parameter(0.5)

    targets = where(wrap("close") > 0.0, P.weight, NO_OPINION)


class OnceForAll(Strategy):
    """Takes a position in every symbol early and keeps it."""

    class Params(Parameters):
        weight = parameter(0.5)

    last = indicator("sma", "close", length=1, universe=True)
    targets = where(last > 0.0, P.weight, NO_OPINION)


@pytest.mark.parametrize("weight", [0.5, -0.5])
@pytest.mark.parametrize("row", [20, BLOCK - 1, BLOCK, 2 * BLOCK + 5, 3 * BLOCK - 1, 3 * BLOCK + 40])
def test_the_deepest_drawdown_is_found_wherever_its_peak_lies(weight: float, row: int) -> None:
    """One position over many blocks of bars: the peak may lie in the first, the last or any other of them."""
    close = np.full(3 * BLOCK + 60, 100.0)
    best, worst = (130.0, 80.0) if weight > 0 else (80.0, 130.0)
    close[row], close[row + 1] = best, worst
    times = START_MS + np.arange(len(close)) * HOUR_MS
    bars = Bars("S0/USDT:USDT", "1h", times, close, close + 1.0, close - 1.0, close, np.ones(len(close)))
    rules = make_rules(quantity_unit=UNIT, quote_unit=UNIT)
    instrument = Instrument("S0/USDT:USDT", "perpetual", "S0", "USDT", UNIT, UNIT, (rules,))
    market = Market({bars.symbol: bars}, {bars.symbol: instrument})
    account = Account(10_000 * 10**8, Caps(), Permissions(short=True))
    strategy = Once({"weight": weight})
    (found,) = run_batch(market, [strategy], account)
    tables = build_tables(market, run_general(market, strategy, account), account.start_cash)
    curve = np.concatenate(([10_000.0], tables.equity.equity))

    peak = np.maximum.accumulate(curve)
    assert len(tables.fills) == 1
    assert found.statistics[0] == ((peak - curve) / peak).max() > 0.1


def test_parameters_reach_the_strategy() -> None:
    """Two parameter sets that differ only in a parameter that matters give different results."""
    market = random_market(7, symbols=1, rows=250, perpetual=False, coarse=False)
    rows = run_batch(
        market, [SmaCross({"fast": 5, "slow": 20}), SmaCross({"fast": 6, "slow": 20})], Account(10_000 * 10**8)
    )

    assert rows[0].equity_units != rows[1].equity_units


def test_columns_are_computed_once_for_a_batch() -> None:
    """Sets that declare the same column share it: six distinct averages serve nine sets."""
    market = random_market(8, symbols=1, rows=250, perpetual=False, coarse=False)
    cache = ColumnCache()
    chosen = [SmaCross({"fast": fast, "slow": slow}) for fast in (5, 6, 7) for slow in (20, 30, 40)]
    run_batch(market, chosen, Account(10_000 * 10**8), cache=cache)

    assert len(cache) == 6


def test_an_amount_beyond_the_range_is_an_error_in_both_paths() -> None:
    """Amounts that no 63-bit integer holds end in AmountError, not in wrapped numbers."""
    market = random_market(9, symbols=1, rows=120, perpetual=True, coarse=False)
    symbol = market.symbols[0]
    cheap = Instrument(
        symbol, "perpetual", "S0", "USDT", Decimal("0.000000000000001"), UNIT, market.instruments[symbol].rules
    )
    tiny = dataclasses.replace(
        cheap, rules=(make_rules(quantity_unit=cheap.quantity_unit, quote_unit=UNIT, lot="0.000000000000001"),)
    )
    wide = Market(market.bars, {symbol: tiny})
    account = Account(10**18, Caps(leverage_max=10.0))
    strategy = LongShort({"length": 3})
    with pytest.raises(TradingRuntimeError, match="range"):
        run_general(wide, strategy, account)
    with pytest.raises(TradingRuntimeError, match="range"):
        run_compiled(wide, strategy, account)


@pytest.mark.parametrize(
    ("symbols", "growth", "funding_rate"),
    [(1, 2.25, 0.0), (2, 2.2, 0.0), (3, 2.2, 0.0), (1, 1.0, 0.9), (1, 1.0, -0.9), (2, 1.0, 0.5)],
)
def test_an_account_beyond_the_range_is_an_error_however_it_got_there(
    symbols: int, growth: float, funding_rate: float
) -> None:
    """Each value is in range, what they add up to is not: with three symbols, and with funding, int64 would wrap."""
    names = [f"S{index}/USDT:USDT" for index in range(symbols)]
    close = np.concatenate((np.full(4, 100.0), np.full(16, 100.0 * growth)))
    times = START_MS + np.arange(len(close)) * HOUR_MS
    rules = make_rules(quantity_unit=UNIT, quote_unit=UNIT)
    market = Market(
        {name: Bars(name, "1h", times, close, close + 1.0, close - 1.0, close, np.ones(len(close))) for name in names},
        {name: Instrument(name, "perpetual", name[:2], "USDT", UNIT, UNIT, (rules,)) for name in names},
        funding={name: [FundingRate(int(time), funding_rate) for time in times[6:]] for name in names},
    )
    account = Account(2_200_000_000_000_000_000, Caps(leverage_max=10.0))
    strategy = OnceForAll({"weight": 0.9})

    with pytest.raises(AmountError, match="range"):
        run_batch(market, [strategy], account)
    for run in (run_general, run_compiled):
        trace = run(market, strategy, account)
        assert len(trace.fills()) == symbols
        with pytest.raises(AmountError, match="cash or equity left the range"):
            build_tables(market, trace, account.start_cash)
