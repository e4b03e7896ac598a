"""Columns: what an expression needs, what it evaluates to, and that a value depends on its declared window alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as generate
from market_samples import BTC, ETH, HOUR_MS, START_MS, make_account, make_bars, make_market, random_bars, run

from trading_runtime.core.bars import Bars, resample
from trading_runtime.core.columns import (
    NO_OPINION,
    Expression,
    P,
    absolute,
    crossed_above,
    crossed_below,
    custom,
    indicator,
    maximum,
    minimum,
    resolve,
    where,
    window,
    wrap,
)
from trading_runtime.core.errors import StrategyError
from trading_runtime.core.evaluate import ColumnCache, Columns, onto
from trading_runtime.core.expressions import parameter_names
from trading_runtime.core.indicators import sma
from trading_runtime.core.strategy import Inputs, Strategy

Floats = npt.NDArray[np.float64]
NAN = float("nan")
CLOSES = [3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0]


def bars_of(closes: list[float], symbol: str = BTC, start: int = 0) -> Bars:
    """Bars whose open, high and low follow from their closes."""
    candles = [(close, close + 1.0, close / 2.0, close, 10.0 * row) for row, close in enumerate(closes)]
    return make_bars(candles, symbol=symbol, start_ms=START_MS + start * HOUR_MS)


def values(expression: Any, bars: Bars | None = None, *others: Bars, **parameters: Any) -> list[float]:
    """The column of an expression over CLOSES, or over the first of some bars."""
    every = (bars or bars_of(CLOSES), *others)
    return Columns({each.symbol: each for each in every}, parameters).column(wrap(expression), every[0].symbol).tolist()


def same(expected: Any, found: Any) -> None:
    """Equal numbers, NaN where NaN is expected."""
    assert [repr(float(value)) for value in expected] == [repr(float(value)) for value in found]


def same_when_known(expected: Any, expression: Expression, *bars: Bars) -> None:
    """Equal numbers from the bar on at which the declared window is full."""
    first = expression.window({}, HOUR_MS) - 1
    same(list(expected)[first:], values(expression, *bars)[first:])


def nan_to_zero(column: list[float]) -> list[float]:
    return [0.0 if value != value else value for value in column]


# --- elementwise --------------------------------------------------------------------------------------------

CLOSE = wrap("close")
ELEMENTWISE: list[tuple[str, Expression, Callable[[float], float]]] = [
    ("a field", CLOSE, lambda x: x),
    ("plus", CLOSE + 1, lambda x: x + 1),
    ("plus, reflected", 1 + CLOSE, lambda x: 1 + x),
    ("minus", CLOSE - 1, lambda x: x - 1),
    ("minus, reflected", 1 - CLOSE, lambda x: 1 - x),
    ("times", CLOSE * 2.5, lambda x: x * 2.5),
    ("divided", CLOSE / 3, lambda x: x / 3),
    ("divided, reflected", 3 / CLOSE, lambda x: 3 / x),
    ("negative", -CLOSE, lambda x: -x),
    ("greater", CLOSE > 3, lambda x: float(x > 3)),
    ("at least", CLOSE >= 3, lambda x: float(x >= 3)),
    ("less", CLOSE < 3, lambda x: float(x < 3)),
    ("at most", CLOSE <= 3, lambda x: float(x <= 3)),
    ("less, reflected", 3 < CLOSE, lambda x: float(x > 3)),  # noqa: SIM300 - the reflection is what is tested
    ("and", (CLOSE > 1) & (CLOSE < 4), lambda x: float(1 < x < 4)),
    ("or", (CLOSE < 2) | (CLOSE > 4), lambda x: float(x < 2 or x > 4)),
    ("not", ~(CLOSE > 3), lambda x: float(not x > 3)),
    ("where", where(CLOSE > 3, 1, -1), lambda x: 1.0 if x > 3 else -1.0),
    ("maximum", maximum(CLOSE, 3), lambda x: max(x, 3.0)),
    ("minimum", minimum(3, CLOSE), lambda x: min(x, 3.0)),
    ("absolute", absolute(CLOSE - 4), lambda x: abs(x - 4)),
    ("a parameter", CLOSE * P.factor, lambda x: x * 7.0),
    ("only a parameter", P.factor + 0, lambda x: 7.0),
    ("a number", wrap(5), lambda x: 5.0),
    ("a bool", wrap(True), lambda x: 1.0),
]


@pytest.mark.parametrize(
    ("expression", "function"), [row[1:] for row in ELEMENTWISE], ids=[row[0] for row in ELEMENTWISE]
)
def test_elementwise_operations(expression: Expression, function: Callable[[float], float]) -> None:
    """Each operation means per bar what Python's means for one number."""
    same([function(close) for close in CLOSES], values(expression, factor=7))


def test_a_crossing_is_the_first_bar_beyond() -> None:
    """Above now and not above the bar before; the first bar cannot know and does not cross."""
    level = [1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 3.0]

    same(
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        [value or 0.0 for value in nan_to_zero(values(crossed_above("close", 2), bars_of(level)))],
    )
    same([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0], nan_to_zero(values(crossed_below("close", 2), bars_of(level))))


def test_an_expression_has_no_truth() -> None:
    """``and``, ``or``, ``not``, ``if`` and chained comparisons would decide once for all bars."""
    for misuse in (
        lambda: CLOSE > 1 and CLOSE < 4,
        lambda: not CLOSE > 1,
        lambda: 1 < CLOSE < 4,
        lambda: 1 if CLOSE > 1 else 0,
    ):
        with pytest.raises(StrategyError, match="no truth value"):
            misuse()


@pytest.mark.parametrize("compare", [lambda a, b: a == b, lambda a, b: a != b], ids=["==", "!="])
def test_equality_is_per_bar_or_an_error_but_never_decided_once(compare: Callable[[Any, Any], Any]) -> None:
    """``fast == slow`` in a rule is not silently False for ever."""
    try:
        result = compare(CLOSE, wrap("open"))
    except StrategyError:
        return

    assert isinstance(result, Expression)


@pytest.mark.parametrize("wrong", [None, [1], {"a": 1}, object()])
def test_what_is_no_column_is_refused(wrong: Any) -> None:
    """Only expressions, names of bar fields and numbers."""
    with pytest.raises(StrategyError, match="a column is made of"):
        CLOSE + wrong


def test_a_wrong_field_gets_the_nearest_name() -> None:
    """When the expression is made, not when it runs."""
    with pytest.raises(StrategyError, match="unknown bar field 'clsoe'; did you mean 'close'"):
        wrap("clsoe")


# --- indicators, parameters ---------------------------------------------------------------------------------


def test_an_indicator_reads_its_parameters() -> None:
    """Numbers, references, and arithmetic of references."""
    expected = sma(np.array(CLOSES), 4).tolist()

    same(expected, values(indicator("sma", length=4)))
    same(expected, values(indicator("sma", "close", length=P.n), n=4))
    same(expected, values(indicator("sma", length=P.n * 2 - P.m), n=3, m=2))
    same(expected, values(indicator("sma", length=(-P.n) * -1 + 1), n=3))


def test_indicators_nest() -> None:
    """The source of an indicator may be any expression; windows add up."""
    inner = indicator("sma", CLOSE * 2, length=2)
    outer = indicator("rolling_max", inner, length=3)
    doubled = sma(np.array(CLOSES) * 2, 2)

    assert outer.window({}, HOUR_MS) == 4
    same([NAN] * 3 + [max(doubled[row - 2 : row + 1]) for row in range(3, 7)], values(outer))


DECLARED_WRONGLY: list[tuple[str, Callable[[], Any], str]] = [
    ("an unknown indicator", lambda: indicator("smaa", length=3), "unknown indicator 'smaa'; did you mean 'sma'"),
    ("an unknown parameter", lambda: indicator("sma", lenght=3), "no parameter 'lenght'; did you mean 'length'"),
    ("too many sources", lambda: indicator("sma", "close", "open", length=3), r"reads 1 source\(s\), 2 were given"),
    ("symbol and universe", lambda: indicator("sma", length=3, symbol=ETH, universe=True), "not both"),
    ("a parameter that is missing", lambda: values(indicator("sma", length=P.nn), n=3), "did you mean P.n"),
    ("a parameter of no sense", lambda: values(indicator("sma", length=0)), "length"),
    ("half a bar", lambda: values(indicator("sma", length=P.n / 2), n=3), "length"),
    ("a column as parameter", lambda: values(indicator("sma", length=CLOSE)), "not a column"),
    ("a comparison as parameter", lambda: values(indicator("sma", length=P.n > 2), n=3), "cannot be"),
    ("a required parameter left out", lambda: values(indicator("sma")), "length"),
    ("a lag into the future", lambda: values(CLOSE.lag(-1)), "look ahead"),
    ("half a lag", lambda: values(CLOSE.lag(1.5)), "whole number"),
    ("a window of nothing", lambda: window("close", 0).count({}), "1 or more"),
    ("a text parameter in arithmetic", lambda: values(CLOSE * P.mode, mode="fast"), "mode"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("declare", "message"), [row[1:] for row in DECLARED_WRONGLY], ids=[row[0] for row in DECLARED_WRONGLY]
)
def test_a_wrong_declaration_is_told_in_one_line(declare: Callable[[], Any], message: str) -> None:
    """An error of our own that names what is wrong."""
    with pytest.raises(StrategyError, match=message):
        declare()


def test_a_lag_is_the_value_some_bars_ago() -> None:
    """NaN where there was none yet; a lag of zero is the value itself."""
    same([NAN, NAN, *CLOSES[:-2]], values(CLOSE.lag(2)))
    same(CLOSES, values(CLOSE.lag(0)))
    same([NAN] * 7, values(CLOSE.lag(99)))
    same([NAN, *CLOSES[:-1]], values(CLOSE.lag(P.n), n=1))


# --- own functions ------------------------------------------------------------------------------------------


def doubled(close: Floats, factor: float = 2.0) -> Floats:
    return close * factor


def wrong_shape(close: Floats) -> Floats:
    return close[:-1]


def test_an_own_function_is_a_column() -> None:
    """With sources, parameters and a window of its own, before which it is as unknown as any other column."""
    column = custom(doubled, "open", window=P.n, factor=P.n)

    same([NAN, NAN, *(close * 3 for close in CLOSES[2:])], values(column, n=3))
    assert column.window({"n": 3}, HOUR_MS) == 3


def test_an_own_function_must_return_one_value_per_bar() -> None:
    """Fewer values would be shifted in time."""
    with pytest.raises(StrategyError, match=r"wrong_shape returned shape \(6,\) for 7 bars"):
        values(custom(wrong_shape, window=1))


def test_two_own_functions_are_two_columns() -> None:
    """Also when both are lambdas: a name that two functions share does not make them one."""
    columns = Columns({BTC: bars_of(CLOSES)}, {})
    twice, thrice = custom(lambda close: close * 2, window=1), custom(lambda close: close * 3, window=1)

    same([close * 2 for close in CLOSES], columns.column(twice, BTC).tolist())
    same([close * 3 for close in CLOSES], columns.column(thrice, BTC).tolist())


# --- longer timeframes --------------------------------------------------------------------------------------


def test_a_longer_bar_is_seen_from_its_close_on() -> None:
    """Four-hour closes on hourly bars: known at the bar that closes with them, held until the next one."""
    bars = bars_of([float(row) for row in range(1, 18)], start=2)  # 02:00 to 18:00; whole: 04-07, 08-11, 12-15
    expected = [NAN] * 5 + [6.0] * 4 + [10.0] * 4 + [14.0] * 4

    same_when_known(expected, indicator("sma", length=1, timeframe="4h"), bars)


def test_windows_on_longer_bars_are_counted_in_base_bars() -> None:
    """So many longer bars, and up to one less than a longer bar since the last one closed."""
    assert indicator("sma", length=3, timeframe="4h").window({}, HOUR_MS) == 3 * 4 + 3
    assert indicator("sma", length=3, timeframe="1h").window({}, HOUR_MS) == 3
    assert indicator("sma", length=3, timeframe="4h").lag(2).window({}, HOUR_MS) == 17
    with pytest.raises(StrategyError, match="divide it evenly"):
        indicator("sma", length=3, timeframe="4h").window({}, 3 * 24 * HOUR_MS)


def test_a_timeframe_that_is_not_complete_once_is_unknown() -> None:
    """No error: just NaN."""
    same([NAN] * 7, values(indicator("sma", length=1, timeframe="1d")))


@pytest.mark.parametrize("seed", range(5))
def test_a_column_on_a_longer_timeframe_is_that_of_the_resampled_bars(seed: int) -> None:
    """At every base bar: the value of the newest longer bar that has closed by then."""
    bars = random_bars(seed, 100, start_ms=START_MS + seed * HOUR_MS)
    longer = resample(bars, "4h")
    slow = sma(longer.close, 3)
    expected = [
        next((value for value, known in zip(slow[::-1], longer.close_time[::-1], strict=True) if known <= close), NAN)
        for close in bars.close_time
    ]

    same_when_known(expected, indicator("sma", length=3, timeframe="4h"), bars)


# --- other symbols, universe --------------------------------------------------------------------------------


def test_another_symbols_column_is_on_this_symbols_bars() -> None:
    """By time, NaN where the other one has no bar."""
    here, there = bars_of([1.0] * 6), bars_of([5.0, 6.0, 7.0], ETH, start=2)
    other = indicator("sma", length=1, symbol=ETH)

    same([NAN, NAN, 5.0, 6.0, 7.0, NAN], values(other, here, there))
    same([1.0, 1.0, 1.0], values(indicator("sma", length=1, symbol=BTC), there, here))


def test_another_symbols_column_keeps_its_own_history() -> None:
    """A window may reach back to before this symbol's first bar."""
    here, there = bars_of([1.0] * 4, start=2), bars_of([2.0, 4.0, 6.0, 8.0, 10.0, 12.0], ETH)

    same_when_known([4.0, 6.0, 8.0, 10.0], indicator("sma", length=3, symbol=ETH), here, there)


def test_another_symbol_on_a_longer_timeframe() -> None:
    """Both placements at once."""
    here, there = bars_of([1.0] * 9), bars_of([float(row) for row in range(1, 10)], ETH)
    expected = [NAN] * 3 + [4.0] * 4 + [8.0] * 2

    same_when_known(expected, indicator("sma", length=1, symbol=ETH, timeframe="4h"), here, there)


def test_an_unknown_symbol_is_an_error() -> None:
    """The run does not have it."""
    with pytest.raises(StrategyError, match="'XRP/USDT', which is not among the symbols"):
        values(indicator("sma", length=1, symbol="XRP/USDT"))


def test_arithmetic_of_universe_columns_is_of_the_universe() -> None:
    """A spread of two universe columns is one value per symbol, not the first symbol's."""

    class Spread(Strategy):
        fast = indicator("sma", length=1, universe=True)
        slow = indicator("sma", length=2, universe=True)
        spread = fast - slow

        def decide(self, inputs: Inputs) -> None:
            seen.append((inputs.fast, inputs.slow, inputs.spread))

    seen: list[Any] = []
    try:
        run(make_market(bars_of([1.0, 3.0, 2.0]), bars_of([5.0, 5.0, 6.0], ETH)), Spread())
    except StrategyError:
        return  # refusing it is honest, too

    assert [tuple(a - b for a, b in zip(fast, slow, strict=True)) for fast, slow, _ in seen] == [row[2] for row in seen]


@pytest.mark.parametrize(
    ("start", "count", "expected"),
    [
        (0, 3, [1.0, 2.0, 3.0]),
        (-2, 6, [NAN, NAN, 1.0, 2.0, 3.0, NAN]),
        (1, 2, [2.0, 3.0]),
        (1, 4, [2.0, 3.0, NAN, NAN]),
        (-1, 2, [NAN, 1.0]),
        (9, 2, [NAN, NAN]),
        (-9, 2, [NAN, NAN]),
        (0, 2, [1.0, 2.0]),
    ],
)
def test_values_are_put_onto_another_clock_by_time(start: int, count: int, expected: list[float]) -> None:
    """Rows keep their time; what lies outside is cut, what is missing is NaN."""
    bars = bars_of([1.0, 2.0, 3.0])

    same(expected, onto(bars.close, bars, START_MS + start * HOUR_MS, count).tolist())


# --- the window contract ------------------------------------------------------------------------------------

RULES: list[tuple[str, Expression]] = [
    ("an average", indicator("sma", length=5)),
    ("a decaying average", indicator("ema", span=3)),
    ("a nested indicator", indicator("z_score", indicator("rate_of_change", length=2), length=6)),
    ("a longer timeframe", indicator("sma", length=2, timeframe="4h")),
    ("a lagged longer timeframe", indicator("rsi", length=2, timeframe="2h").lag(3)),
    ("a lag of a nested indicator", indicator("donchian_high", length=4).lag(2)),
    ("a comparison", indicator("sma", length=3) > indicator("sma", length=6)),
    ("a negation", ~(indicator("sma", length=3) > indicator("sma", length=6))),
    ("a lagged condition", (indicator("sma", length=3) > "close").lag(2)),
    ("a crossing", crossed_above("close", indicator("sma", length=4))),
    ("a negated crossing", ~crossed_above("close", indicator("sma", length=4))),
    ("a rule", where(indicator("sma", length=3) > indicator("sma", length=6), 1.0, NO_OPINION)),
    ("a rule with an else", where(indicator("sma", length=3) > indicator("sma", length=6), 1.0, 0.5)),
    ("a condition that is a number", where(indicator("sma", length=3) - 100.0, 1.0, 0.5)),
    ("two timeframes", indicator("sma", length=3) - indicator("sma", length=1, timeframe="4h")),
]


@pytest.mark.parametrize("expression", [row[1] for row in RULES], ids=[row[0] for row in RULES])
@settings(max_examples=15)
@given(seed=generate.integers(0, 2**32), start=generate.integers(0, 30))
def test_a_value_depends_on_its_declared_window_alone(expression: Expression, seed: int, start: int) -> None:
    """The last bars of exactly the declared number give the same last value, bit for bit: live equals backtest."""
    bars = random_bars(seed, 120, start_ms=START_MS + start * HOUR_MS)
    needed = expression.window({}, HOUR_MS)
    whole = Columns({BTC: bars}, {}).column(expression, BTC)

    for end in (needed, needed + 1, 97, 120):
        alone = Columns({BTC: bars.slice(end - needed, end)}, {}).column(expression, BTC)

        assert whole[end - 1].tobytes() == alone[-1].tobytes(), f"seed {seed}, bar {end - 1}"


@pytest.mark.parametrize("expression", [row[1] for row in RULES], ids=[row[0] for row in RULES])
def test_a_value_is_unknown_until_its_window_is_full(expression: Expression) -> None:
    """NaN in the first window - 1 rows, whatever the rule makes of numbers that are not there."""
    column = Columns({BTC: random_bars(3, 120)}, {}).column(expression, BTC)
    needed = expression.window({}, HOUR_MS)

    assert np.isnan(column[: needed - 1]).all()


def test_a_rule_does_not_decide_for_a_symbol_whose_window_is_not_full() -> None:
    """A symbol listed later is not bought because a negated comparison of unknown numbers is true."""

    class NotFalling(Strategy):
        targets = where(~(wrap("close") < indicator("sma", length=4)), 0.4, 0.0)

    early, late = bars_of([10.0] * 12), bars_of([10.0] * 6, ETH, start=6)
    fills = run(make_market(early, late), NotFalling(), make_account(1000.0)).fills()

    assert [(fill.bar, fill.order.symbol) for fill in fills] == [(4, BTC), (10, ETH)]


# --- the cache ----------------------------------------------------------------------------------------------


def test_a_column_is_computed_once_for_all_that_declare_it() -> None:
    """Two strategies, or two parameter sets that resolve to the same column, share it."""
    calls = []

    def counted(close: Floats) -> Floats:
        calls.append(len(close))
        return close

    cache = ColumnCache()
    bars = {BTC: bars_of(CLOSES)}
    column = custom(counted, window=1)
    for n in (1, 2):
        Columns(bars, {"n": n}, cache).column(column + P.n, BTC)

    assert calls == [7]


def test_parameters_that_matter_make_different_columns() -> None:
    """Within one cache."""
    cache = ColumnCache()
    bars = {BTC: bars_of(CLOSES), ETH: bars_of(CLOSES[::-1], ETH)}
    seen = {
        Columns(bars, {"n": n}, cache).column(expression, symbol).tobytes()
        for n in (2, 3)
        for expression in (
            indicator("sma", length=P.n),
            indicator("sma", "open", length=P.n) + 0.25,
            indicator("sma", CLOSE * 2, length=P.n),
            indicator("rolling_max", length=P.n),
            CLOSE.lag(P.n),
            indicator("sma", length=P.n).lag(1),
        )
        for symbol in (BTC, ETH)
    }

    assert len(seen) == 24


def test_columns_made_together_are_those_made_one_by_one() -> None:
    """``prepare`` leaves the bytes in the cache that asking for each column would, also inside ``universe`` and
    ``window``, for two symbols that begin at different times; what it cannot make together is left alone.
    """
    bars = {BTC: random_bars(3, 40), ETH: random_bars(4, 30, symbol=ETH, start_ms=START_MS + 10 * HOUR_MS)}
    average = indicator("sma", "close", length=P.length)
    of_universe = indicator("sma", "volume", length=P.length + 1, universe=True)
    wanted = [
        (one, {"length": length})
        for length in (2, 3, 7, 40, 41)
        for one in (average, of_universe, window(average, 50), indicator("ema", "close", span=P.length), wrap("close"))
    ]
    for symbol in bars:
        cache = ColumnCache()
        Columns(bars, {}, cache).prepare(wanted, symbol)
        assert len(cache) == 10, "five lengths of two averages"
        for expression, chosen in wanted:
            alone = Columns(bars, chosen).column(expression, symbol)
            assert Columns(bars, chosen, cache).column(expression, symbol).tobytes() == alone.tobytes()


def test_parameters_are_found_wherever_an_expression_refers_to_them() -> None:
    """In arguments, arithmetic of arguments, lags, declared windows, weights and nested columns."""
    own = custom(doubled, "close", window=P.window, factor=P.factor)
    nested = indicator("sma", indicator("ema", "close", span=P.span), length=P.length * 2 + P.more)
    everything = where(nested.lag(P.back) > own, P.weight, wrap("close"))

    assert parameter_names(everything) == {"window", "factor", "span", "length", "more", "back", "weight"}
    assert parameter_names(wrap("close") + 1.0) == frozenset()


def test_columns_of_expressions_that_are_gone_are_not_mixed_up() -> None:
    """An expression made for one question leaves nothing behind that the next one at its address could find."""
    columns = Columns({BTC: bars_of(CLOSES)}, {})
    lengths = [1 + index % 5 for index in range(200)]
    found = [columns.column(indicator("sma", length=length), BTC) for length in lengths]

    assert [sma(np.array(CLOSES), length)[-1] for length in lengths] == [column[-1] for column in found]


def test_a_cache_never_answers_with_columns_of_other_data() -> None:
    """Two periods of one symbol through one cache: each gets its own columns."""
    cache = ColumnCache()
    bars = bars_of(CLOSES)
    for part in (bars.slice(0, 4), bars.slice(3, 7), bars):
        found = Columns({BTC: part}, {}, cache).column(indicator("sma", length=2), BTC)

        same(sma(part.close, 2).tolist(), found.tolist())


def test_a_small_cache_forgets_the_oldest_and_stays_right() -> None:
    """Bounded in bytes, without an effect on values."""
    cache = ColumnCache(bytes_max=3 * 7 * 8)
    for _ in range(2):
        for length in range(1, 7):
            columns = Columns({BTC: bars_of(CLOSES)}, {"n": length}, cache)

            same(sma(np.array(CLOSES), length).tolist(), columns.column(indicator("sma", length=P.n), BTC).tolist())
            assert len(cache) <= 3


def test_a_cached_column_cannot_be_spoilt_by_who_asked_for_it() -> None:
    """Either a copy or read-only."""
    columns = Columns({BTC: bars_of(CLOSES)}, {})
    expression = indicator("sma", length=1)
    found = columns.column(expression, BTC)
    with suppress(ValueError):
        found[0] = -1.0

    assert columns.column(expression, BTC)[0] == CLOSES[0]


# --- declarations on a strategy -----------------------------------------------------------------------------


def test_a_strategy_needs_as_many_bars_as_its_hungriest_column() -> None:
    """Columns, targets and wake count; a strategy without any needs one bar."""

    class Hungry(Strategy):
        fast = indicator("sma", length=5)
        last = window(indicator("sma", length=4), 6)
        targets = where(wrap("close") > fast.lag(7), 1.0, 0.0)
        wake = wrap("close") > indicator("sma", length=3, timeframe="4h")

    assert Hungry().bars_needed(HOUR_MS) == 15
    assert Strategy().bars_needed(HOUR_MS) == 1


def test_a_subclass_inherits_columns_and_may_replace_them() -> None:
    """By name."""

    class First(Strategy):
        a = indicator("sma", length=5)
        b = indicator("sma", length=6)

    class Second(First):
        b = indicator("sma", length=9)

    assert (First().bars_needed(HOUR_MS), Second().bars_needed(HOUR_MS)) == (6, 9)
    assert list(Second.columns) == ["a", "b"]


@pytest.mark.parametrize(
    "name", ["price", "state", "orders", "as_of", "index", "target", "_hidden", "decide", "params"]
)
def test_a_column_cannot_take_a_name_that_has_a_meaning(name: str) -> None:
    """Refused when the class is made."""
    with pytest.raises(StrategyError, match=name):
        type("Wrong", (Strategy,), {name: indicator("sma", length=2)})


@pytest.mark.parametrize("name", ["targets", "wake"])
@pytest.mark.parametrize("wrong", [0.5, "close", window("close", 3)], ids=["number", "text", "window"])
def test_targets_and_wake_are_one_value_per_bar(name: str, wrong: Any) -> None:
    """Anything else is refused when the class is made."""
    with pytest.raises(StrategyError, match=name):
        type("Wrong", (Strategy,), {name: wrong})


def test_numbers_behind_references() -> None:
    """resolve gives plain numbers and keeps whole ones whole."""
    found = [
        resolve(value, {"n": 6, "x": 0.5}) for value in (P.n, P.n * 2, P.n - 1, P.n * P.x, 5, "text", -P.n, 2 + P.n)
    ]

    assert found == [6, 12, 5, 3.0, 5, "text", -6, 8]
    assert [int, int, int, float] == [type(each) for each in found[:4]]
