"""Every registered strategy keeps the contract: documented, validated, pure, exact in its accounts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as generate
from market_samples import (
    BTC,
    ETH,
    HOUR_MS,
    PERP,
    SOL,
    START_MS,
    Balance,
    comparable,
    make_account,
    make_market,
    random_bars,
)

from trading_runtime.backtest.engine import first_decision_bar, run_general
from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.backtest.trace import Fill, Funded, Trace
from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.state import FundingPaid, OrderFilled, State, apply
from trading_runtime.core.strategy import Strategy
from trading_runtime.strategies import EXAMPLES
from trading_runtime.strategies.registry import find_strategy
from trading_runtime.strategies.sma_cross import SmaCross
from trading_runtime.verify.cuts import Cutter
from trading_runtime.verify.probes import verify_strategy
from trading_runtime.verify.record import record
from trading_runtime.verify.sheet import Sheet

NAMES = list(EXAMPLES)
# Parameters that act often on short random data.
LIVELY: dict[str, dict[str, Any]] = {
    "buy_and_hold": {"weight": 0.6},
    "sma_cross": {"fast": 5, "slow": 20},
    "breakout": {"channel": 10, "atr": 5, "stop_atr": 0.5, "profit_atr": 1.0},
    "momentum_rotation": {"lookback": 24, "rebalance_hours": 5},
}


def lively(name: str) -> Strategy:
    return find_strategy(name)(LIVELY.get(name, {}))


def three_symbols(seed: int, rows: int = 240) -> Market:
    return make_market(
        random_bars(seed, rows),
        random_bars(seed + 50, rows, symbol=ETH, start_ms=START_MS + 31 * HOUR_MS, price=40.0),
        random_bars(seed + 90, rows // 2, symbol=SOL, start_ms=START_MS + 9 * HOUR_MS, price=15.0),
        taker_fee_rate=0.001,
        maker_fee_rate=0.0002,
    )


def perpetual(seed: int, rows: int = 240) -> Market:
    rates = [FundingRate(START_MS + hour * HOUR_MS, 0.0002) for hour in range(8, rows, 8)]
    return make_market(random_bars(seed, rows, symbol=PERP), funding={PERP: rates}, taker_fee_rate=0.0005)


MARKETS = {
    "one symbol": lambda seed: make_market(random_bars(seed, 240)),
    "three": three_symbols,
    "perpetual": perpetual,
}


# --- what a person reads ---


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_says_what_it_is(name: str) -> None:
    """Module and class have a docstring, every parameter a help text, and the file is short enough to read."""
    kind = find_strategy(name)
    module = inspect.getmodule(kind)
    assert module is not None
    assert len(inspect.getdoc(module) or "") > 80
    assert kind.__doc__
    assert all(declared.help for declared in kind.Params.declared.values())
    assert len(inspect.getsource(module).splitlines()) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_parameters_validate(name: str) -> None:
    """Defaults and limits pass where nothing else forbids them; beyond the limits and of the wrong type they do not."""
    kind = find_strategy(name)
    defaults = kind().params.to_json()
    for key, declared in kind.Params.declared.items():
        assert kind({key: defaults[key]}).params.to_json() == defaults
        for limit, step in ((declared.minimum, -1), (declared.maximum, 1)):
            if limit is not None:
                with pytest.raises(ConfigurationError, match=key):
                    kind({key: declared.kind(limit + step)})
        with pytest.raises(ConfigurationError, match=key):
            kind({key: "much"})


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_parameter_gets_the_nearest_name(name: str) -> None:
    """A misspelt parameter is an error that suggests the right one."""
    kind = find_strategy(name)
    for key in kind.Params.declared:
        with pytest.raises(ConfigurationError, match=re.escape(f"did you mean {key!r}?")):
            kind({key + "s": 1})


# --- what it may look at ---


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_declared_bars_are_enough(name: str, seed: int) -> None:
    """Columns of exactly the declared bars equal those of all bars, to the last bit, at every bar."""
    strategy, market = lively(name), three_symbols(seed, 160)
    sheet = Sheet(strategy, market)
    whole = sheet.of_market(market)
    cutter = Cutter(market, strategy.bars_needed(market.bar_ms), seed)
    for bar in range(first_decision_bar(market, strategy), market.count):
        unlike = sheet.unlike(sheet.at(whole, bar), sheet.of_cut(cutter.window(bar)))
        assert unlike is None, f"seed {seed}, bar {bar}: {unlike}"


def poisoned(bars: Bars, open_ms: int) -> Bars:
    """The bars with everything from ``open_ms`` on a thousand times dearer."""
    factor = np.where(bars.open_time >= open_ms, 1000.0, 1.0)
    prices = [getattr(bars, name) * factor for name in FIELDS[:4]]
    return Bars(bars.symbol, bars.timeframe, bars.open_time, *prices, bars.volume)


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_poisoning_the_future_changes_nothing_before_it(name: str, seed: int) -> None:
    """What is decided up to a bar, and what has happened by then, is the same whatever comes after."""
    market = three_symbols(seed)
    clean = record(market, lively(name), make_account())
    assert clean.acting, f"seed {seed}: nothing was ever decided"
    for bar in (clean.acting[0], 60, 61, 62, 110, 180, 230):
        open_ms = market.start_ms + (bar + 1) * market.bar_ms
        other = make_market(*(poisoned(bars, open_ms) for bars in market.bars.values()), taker_fee_rate=0.001,
                            maker_fee_rate=0.0002)  # fmt: skip
        dirty = record(other, lively(name), make_account())
        assert dirty.outcomes[: bar + 1] == clean.outcomes[: bar + 1], f"seed {seed}, bar {bar}"
        for was, now in zip(clean.given[: bar + 1], dirty.given[: bar + 1], strict=True):
            assert (was is None) == (now is None)
            assert was is None or now is None or (was.state, was.equity) == (now.state, now.equity)


# --- two ways to say the same ---


@settings(max_examples=25, deadline=None)
@given(
    seed=generate.integers(0, 10_000),
    fast=generate.sampled_from([5, 10, 25]),
    slow=generate.sampled_from([20, 40]),
    weight=generate.floats(0.0, 1.0),
    starts=generate.lists(generate.integers(0, 60), max_size=2),
)
def test_the_written_decide_is_the_derived_one(
    seed: int, fast: int, slow: int, weight: float, starts: list[int]
) -> None:
    """SmaCross.decide and the decide that follows from its targets propose the same on every bar."""
    later = [
        random_bars(seed + 1 + index, 90, symbol=symbol, start_ms=START_MS + start * HOUR_MS)
        for index, (symbol, start) in enumerate(zip((ETH, SOL), starts, strict=False))
    ]
    market = make_market(random_bars(seed, 120), *later)
    recording = record(market, SmaCross({"fast": fast, "slow": slow, "weight": weight}), make_account())
    assert len(recording.derived) == market.count - recording.first_bar
    for bar, derived in recording.derived.items():
        assert derived == recording.outcomes[bar], f"seed {seed}, bar {bar}"


@pytest.mark.parametrize("seed", [5, 6])
def test_the_derived_decide_trades_the_same(seed: int) -> None:
    """The strategy without its written decide leaves the same trace."""

    class SmaCrossDerived(SmaCross):
        decide = Strategy.decide

    SmaCrossDerived.__qualname__ = SmaCross.__qualname__  # part of the order ids
    market = three_symbols(seed)
    traces = [run_general(market, kind(LIVELY["sma_cross"]), make_account()) for kind in (SmaCross, SmaCrossDerived)]
    assert traces[0].fills()
    assert comparable(traces[0]) == comparable(traces[1]), f"seed {seed}"


# --- whole runs ---


@pytest.mark.parametrize("seed", [7, 8, 9])
@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("name", NAMES)
def test_every_unit_of_money_is_accounted_for(name: str, kind: str, seed: int) -> None:
    """At every bar equity = start + realised + unrealised - fees - funding, in whole units and without tolerance."""
    market, account = MARKETS[kind](seed), make_account()
    trace = run_general(market, lively(name), account)
    assert trace.fills(), f"seed {seed}: nothing was traded"
    balance = Balance(market, account.start_cash)
    state = State(account.start_cash)
    for bar, entries in _by_bar(trace, market.count):
        for entry in entries:
            balance.book(entry)
            symbol = market.symbols[entry.symbol_index]
            if isinstance(entry, Fill):
                order = entry.order
                state = apply(
                    state,
                    OrderFilled(
                        order.order_id, symbol, order.side, entry.quantity, entry.price, entry.value, entry.fee
                    ),
                )
            else:
                state = apply(state, FundingPaid(symbol, entry.amount))
        positions = list(state.positions.values())
        assert [state.quantity(symbol) for symbol in market.symbols] == balance.quantity
        assert state.cash == balance.cash
        held = balance.value(bar)
        unrealised = held - sum(position.cost for position in positions)
        realised = sum(position.realised for position in positions)
        fees = sum(position.fees for position in positions)
        funding = sum(position.funding for position in positions)
        assert state.cash + held == account.start_cash + realised + unrealised - fees - funding, (
            f"{name}, seed {seed}, bar {bar}"
        )
        assert (fees, funding) == (sum(balance.fees), sum(balance.funding))


def _by_bar(trace: Trace, count: int) -> Sequence[tuple[int, list[Fill | Funded]]]:
    booked = [entry for entry in trace.entries if isinstance(entry, (Fill, Funded))]
    return [(bar, [entry for entry in booked if entry.bar == bar]) for bar in range(count)]


@pytest.mark.parametrize("kind", MARKETS)
@pytest.mark.parametrize("name", NAMES)
def test_two_runs_are_the_same(name: str, kind: str) -> None:
    """A second run of another instance leaves an equal trace: nothing was kept from the first."""
    first, second = (run_general(MARKETS[kind](10), lively(name), make_account()) for _ in range(2))
    assert first.entries
    assert comparable(first) == comparable(second)


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_proven(name: str) -> None:
    """Every registered strategy passes verify with its default parameters."""
    strategy = find_strategy(name)()
    market = make_market(random_bars(13, strategy.bars_needed(HOUR_MS) + 60))
    certificate = verify_strategy(strategy, market, make_account())
    assert certificate.passed, certificate.to_json()
    assert certificate.data[0]["symbol"] == BTC
