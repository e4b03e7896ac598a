"""Indicators: a value depends on its declared window alone, bit for bit, and is what its definition says."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as generate

from trading_runtime.core import indicators as library
from trading_runtime.core import windows
from trading_runtime.core.errors import StrategyError
from trading_runtime.core.indicators import INDICATORS, Indicator

Floats = npt.NDArray[np.float64]

ROWS = 3000
CONVERGED = math.exp(-10)  # the most weight that a default window leaves outside


def wave(rows: int = ROWS, seed: int = 7) -> Floats:
    """A series around 100 that swings widely enough for TA-Lib's running sums to keep nine digits."""
    noise = np.random.default_rng(seed).standard_normal(rows)
    return 100.0 + 20.0 * np.sin(np.arange(rows) / 50.0) + 3.0 * noise


def candles(rows: int = ROWS) -> tuple[Floats, Floats, Floats]:
    close = wave(rows)
    spread = np.abs(np.random.default_rng(8).standard_normal((2, rows))) + 0.1
    return close + spread[0], close - spread[1], close


def agree(ours: Floats, theirs: npt.ArrayLike, **tolerance: float) -> None:
    np.testing.assert_allclose(ours, np.asarray(theirs), **({"rtol": 1e-9, "atol": 0.0} | tolerance))


# --- the contract ---

PARAMETERS: dict[str, generate.SearchStrategy[Any]] = {
    "length": generate.integers(2, 40),
    "span": generate.integers(1, 12),
    "window": generate.none() | generate.integers(41, 90),
    "width": generate.floats(0.1, 5.0),
    "quantile": generate.sampled_from([0.0, 0.25, 0.5, 1.0]) | generate.floats(0.0, 1.0),
}


@generate.composite
def cases(draw: generate.DrawFn, indicator: Indicator) -> tuple[dict[str, Any], list[Floats]]:
    """Parameters, and sources of at most some 60 rows more than the window, of a kind drawn at random."""
    parameters = {
        name: draw(PARAMETERS[name])
        for name in indicator.parameters
        if name in indicator.required or draw(generate.booleans())
    }
    rows = indicator.window(**parameters) + draw(generate.integers(-2, 60))
    random = np.random.default_rng(draw(generate.integers(0, 2**32)))
    kind = draw(generate.sampled_from(["walk", "flat", "jumps", "zeros", "holes"]))
    sources = []
    for _ in indicator.sources:
        source = 100.0 + np.cumsum(random.standard_normal(max(rows, 0)))
        if kind == "flat":
            source[:] = draw(generate.floats(-1e6, 1e6))
        elif kind == "jumps":
            source *= 10.0 ** random.integers(-300, 300, len(source))
        elif kind == "zeros":
            source = random.choice([0.0, -0.0, 1.0, -1.0], len(source))
        elif kind == "holes":
            source[random.random(len(source)) < 0.05] = draw(generate.sampled_from([np.nan, -np.nan, np.inf]))
        sources.append(source)
    return parameters, sources


@pytest.mark.parametrize("name", INDICATORS)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=generate.data())
def test_a_value_depends_on_its_declared_window_alone(name: str, data: generate.DataObject) -> None:
    """The whole series, the bare window and the window between poisoned bars give the same bytes."""
    indicator = INDICATORS[name]
    parameters, sources = data.draw(cases(indicator))
    window = indicator.window(**parameters)
    before = [source.copy() for source in sources]
    whole = indicator.function(*sources, **parameters)
    assert whole.dtype == np.float64
    assert whole.shape == sources[0].shape
    assert np.isnan(whole[: window - 1]).all()
    for source, copy in zip(sources, before, strict=True):
        assert source.tobytes() == copy.tobytes()
    for row in range(window - 1, len(whole)):
        only = [source[row - window + 1 : row + 1] for source in sources]
        assert indicator.function(*only, **parameters)[-1].tobytes() == whole[row].tobytes()
    if len(whole) >= window:
        row = data.draw(generate.integers(window - 1, len(whole) - 1))
        poison = data.draw(generate.sampled_from([np.nan, -np.nan, np.inf, -np.inf, 1e300, -0.0]))
        history, future = data.draw(generate.integers(0, 70)), data.draw(generate.integers(0, 70))
        poisoned = [
            np.concatenate([np.full(history, poison), source[row - window + 1 : row + 1], np.full(future, poison)])
            for source in sources
        ]
        value = indicator.function(*poisoned, **parameters)[history + window - 1]
        assert value.tobytes() == whole[row].tobytes()


@pytest.mark.parametrize("name", INDICATORS)
def test_the_size_of_tiles_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long series are worked out tile by tile, and where a tile begins leaves no trace in the bytes."""
    indicator = INDICATORS[name]
    parameters = {"length": 9, "span": 9, "quantile": 0.3}
    chosen = {key: parameters[key] for key in indicator.required}
    sources = candles(20_000)[: len(indicator.sources)]
    expected = indicator.function(*sources, **chosen).tobytes()
    for rows in (1, 700, 10**6):
        monkeypatch.setattr(windows, "TILE_ROWS", rows)
        monkeypatch.setattr(windows, "SORTED_AT_A_TIME", rows)
        assert indicator.function(*sources, **chosen).tobytes() == expected


@pytest.mark.parametrize("name", INDICATORS)
def test_fewer_bars_than_the_window_give_nothing(name: str) -> None:
    """A series shorter than the window, even an empty one, gives only NaN."""
    indicator = INDICATORS[name]
    parameters = {key: {"length": 9, "span": 9, "quantile": 0.3}[key] for key in indicator.required}
    for rows in {0, 1, indicator.window(**parameters) - 1}:
        result = indicator.function(*([np.ones(rows)] * len(indicator.sources)), **parameters)
        assert result.shape == (rows,)
        assert np.isnan(result).all()


@pytest.mark.parametrize("name", [name for name, indicator in INDICATORS.items() if indicator.rows is not None])
def test_rows_are_what_the_indicator_gives_one_by_one(name: str) -> None:
    """An indicator with ``rows`` has one source and one parameter, and both ways give the same bytes."""
    indicator = INDICATORS[name]
    assert len(indicator.sources) == len(indicator.parameters) == 1
    assert indicator.rows is not None
    source = wave(900, 5)
    for row, value in zip(indicator.rows(source, [2, 7, 300, 899, 901]), [2, 7, 300, 899, 901], strict=True):
        alone = indicator.function(source, **{indicator.parameters[0]: value})
        assert row.tobytes() == alone.tobytes()


@pytest.mark.parametrize("seed", range(3))
def test_sma_rows_are_sma(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many lengths at once give the bytes of each alone, holes, infinities and too long lengths included."""
    random = np.random.default_rng(seed)
    source = wave(2000, seed)
    if seed == 1:
        source[random.integers(0, 2000, 5)] = [np.nan, np.inf, -np.inf, 1e308, 1e308]
        source[700:702] = [np.inf, -np.inf]
    lengths = [1, 2, 3, 2000, 2001, *(int(length) for length in random.integers(1, 300, 12))]
    for rows in (64, 10**6):
        monkeypatch.setattr(windows, "TILE_ROWS", rows)
        together = library.sma_rows(source, lengths)
        for row, length in zip(together, lengths, strict=True):
            assert row.tobytes() == library.sma(source, length).tobytes()
    assert library.sma_rows(source, []).shape == (0, 2000)


@pytest.mark.parametrize("name", sorted(set(INDICATORS) - {"lag", "change", "rate_of_change"}))
def test_a_missing_bar_is_missed_for_one_window(name: str) -> None:
    """A NaN makes the values of all windows that hold it NaN, and those only; three indicators skip bars."""
    indicator = INDICATORS[name]
    chosen = {key: {"length": 6, "span": 6, "quantile": 0.4}[key] for key in indicator.required}
    window = indicator.window(**chosen)
    sources = [source[: 4 * window].copy() for source in candles()[: len(indicator.sources)]]
    hole = 2 * window
    for source in sources:
        source[hole] = np.nan
    missing = np.flatnonzero(np.isnan(indicator.function(*sources, **chosen)))
    assert list(missing) == [*range(window - 1), *range(hole, hole + window)]


@pytest.mark.parametrize(
    "name", ["rolling_max", "rolling_min", "donchian_middle", "rolling_quantile", "true_range", "atr", "rsi"]
)
def test_minus_zero_is_zero(name: str) -> None:
    """Which zero wins a comparison is up to the processor, so minus zero never reaches one."""
    indicator = INDICATORS[name]
    chosen = {key: {"length": 4, "quantile": 0.5}[key] for key in indicator.required}
    zeros = np.random.default_rng(1).choice([0.0, -0.0], (3, 500))
    values = indicator.function(*zeros[: len(indicator.sources)], **chosen)
    assert not np.signbit(values[indicator.window(**chosen) - 1 :]).any()


ALL_BYTES = """
import hashlib, sys
import numpy as np
from trading_runtime.core.indicators import INDICATORS
random = np.random.default_rng(5)
rough = random.choice([0.0, -0.0, 1.0, -1.0], 3000)
rough[random.integers(0, 3000, 40)] = np.resize([np.nan, -np.nan, np.inf, 1e300], 40)
digest = hashlib.sha256()
for source in (100.0 + np.cumsum(random.standard_normal(3001)), rough):
    for indicator in INDICATORS.values():
        chosen = {key: {"length": 5, "span": 5, "quantile": 0.3}[key] for key in indicator.required}
        digest.update(indicator.function(*([source] * len(indicator.sources)), **chosen).tobytes())
print(digest.hexdigest())
"""


def test_every_processor_gives_the_same_bytes() -> None:
    """With numpy's code for newer processors switched off, down to the oldest it supports, no bit changes."""
    core = import_module("numpy._core._multiarray_umath")
    newer = [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]
    digests = set()
    for disabled in ("", *([" ".join(newer), newer[-1]] if newer else [])):
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled}
        command = [sys.executable, "-c", ALL_BYTES]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_integers_of_numpy_are_integers() -> None:
    """A narrow numpy integer, as a parameter grid may hold, gives the bytes of the Python integer."""
    source = wave(500)
    assert library.ema(source, np.int8(20)).tobytes() == library.ema(source, 20).tobytes()
    assert library.rsi(source, np.int8(20)).tobytes() == library.rsi(source, 20).tobytes()
    assert library.rate_of_change(source, np.int8(20)).tobytes() == library.rate_of_change(source, 20).tobytes()
    assert library.rolling_std(source, np.int8(20)).tobytes() == library.rolling_std(source, 20).tobytes()


# --- the same as other libraries, where the definitions coincide ---

HIGH, LOW, CLOSE = candles()

SAME: dict[str, tuple[Callable[[], Floats], Callable[[], Any]]] = {
    "sma": (lambda: library.sma(CLOSE, 50), lambda: talib.SMA(CLOSE, 50)),
    "sum": (lambda: library.rolling_sum(CLOSE, 50), lambda: talib.SUM(CLOSE, 50)),
    "deviation": (lambda: library.rolling_std(CLOSE, 20), lambda: talib.STDDEV(CLOSE, 20)),
    "middle": (lambda: library.bollinger_middle(CLOSE, 20), lambda: talib.BBANDS(CLOSE, 20, 2.5, 2.5)[1]),
    "upper": (lambda: library.bollinger_upper(CLOSE, 20, 2.5), lambda: talib.BBANDS(CLOSE, 20, 2.5, 2.5)[0]),
    "lower": (lambda: library.bollinger_lower(CLOSE, 20, 2.5), lambda: talib.BBANDS(CLOSE, 20, 2.5, 2.5)[2]),
    "channel high": (lambda: library.donchian_high(HIGH, 55), lambda: talib.MAX(HIGH, 55)),
    "channel low": (lambda: library.donchian_low(LOW, 55), lambda: talib.MIN(LOW, 55)),
    "channel middle": (lambda: library.donchian_middle(HIGH, LOW, 55), lambda: talib.MIDPRICE(HIGH, LOW, 55)),
    "largest": (lambda: library.rolling_max(CLOSE, 8), lambda: talib.MAX(CLOSE, 8)),
    "smallest": (lambda: library.rolling_min(CLOSE, 8), lambda: talib.MIN(CLOSE, 8)),
    "change": (lambda: library.change(CLOSE, 3), lambda: talib.MOM(CLOSE, 3)),
    "true range": (lambda: library.true_range(HIGH, LOW, CLOSE), lambda: talib.TRANGE(HIGH, LOW, CLOSE)),
    "lag": (lambda: library.lag(CLOSE, 3), lambda: pandas.Series(CLOSE).shift(3)),
    "quantile": (
        lambda: library.rolling_quantile(CLOSE, 30, 0.15),
        lambda: pandas.Series(CLOSE).rolling(30).quantile(0.15),
    ),
    "median": (
        lambda: library.rolling_quantile(CLOSE, 31, 0.5),
        lambda: pandas.Series(CLOSE).rolling(31).median(),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_agrees_with_the_common_definition(name: str) -> None:
    """TA-Lib and pandas give the same values, and NaN in the same rows, where they define the same thing."""
    ours, theirs = SAME[name]
    agree(ours(), theirs())


def test_rate_of_change_is_a_fraction() -> None:
    """TA-Lib's ROCP is the same figure; near zero both lose digits to the subtraction."""
    agree(library.rate_of_change(CLOSE, 10), talib.ROCP(CLOSE, 10), atol=1e-14)


def test_z_score_and_percent_b_agree_with_pandas() -> None:
    """The two relative positions follow from pandas' mean and population deviation."""
    rolling = pandas.Series(CLOSE).rolling(20)
    mean, deviation = rolling.mean(), rolling.std(ddof=0)
    agree(library.z_score(CLOSE, 20), (CLOSE - mean) / deviation, atol=1e-11)
    position = (CLOSE - (mean - 2.0 * deviation)) / (4.0 * deviation)
    agree(library.bollinger_percent_b(CLOSE, 20), position, atol=1e-11)
    agree(library.bollinger_bandwidth(CLOSE, 20), 4.0 * deviation / mean)


def test_quantile_is_numpys_to_the_bit() -> None:
    """Every window's quantile is what numpy's default method gives for it."""
    for quantile in (0.0, 0.1, 0.37, 0.5, 0.9, 1.0):
        ours = library.rolling_quantile(CLOSE[:300], 13, quantile)
        assert [float(value) for value in ours[12:]] == [
            float(np.quantile(CLOSE[row : row + 13], quantile)) for row in range(288)
        ]


@pytest.mark.parametrize(("span", "window"), [(1, None), (2, None), (20, None), (20, 20), (50, 333)])
def test_ema_is_pandas_over_the_window(span: int, window: int | None) -> None:
    """Each value is the last of pandas' adjusted ewm over just the window; so is Wilder's."""
    bars = library.ema_window(span, window)
    ours = library.ema(CLOSE[:1000], span, window)
    wilder = library.wilder_average(CLOSE[:1000], span, bars)
    for row in range(bars - 1, 1000, 97):
        inside = pandas.Series(CLOSE[row - bars + 1 : row + 1])
        assert ours[row] == pytest.approx(inside.ewm(span=span).mean().iloc[-1], rel=1e-12)
        assert wilder[row] == pytest.approx(inside.ewm(alpha=1.0 / span).mean().iloc[-1], rel=1e-12)


@pytest.mark.parametrize("length", [2, 9, 14, 50, 100])
def test_default_windows_leave_e_to_the_minus_ten_outside(length: int) -> None:
    """An average that never forgets gives older bars at most e**-10 of its weight, as the docs say."""
    assert ((length - 1) / (length + 1)) ** library.ema_window(length) <= CONVERGED
    assert ((length - 1) / length) ** library.wilder_window(length) <= CONVERGED


@pytest.mark.parametrize("length", [2, 9, 14, 50])
def test_averages_that_never_forget_differ_by_the_forgotten_weight(length: int) -> None:
    """TA-Lib's averages keep everything: ema and atr differ by at most e**-10 of the source's range."""
    reach = CONVERGED * np.ptp(CLOSE)
    known = slice(library.ema_window(length) - 1 + length, None)
    agree(library.ema(CLOSE, length)[known], talib.EMA(CLOSE, length)[known], rtol=1e-12, atol=reach)
    reach = CONVERGED * np.nanmax(library.true_range(HIGH, LOW, CLOSE))
    known = slice(11 * length, None)
    ours = library.atr(HIGH, LOW, CLOSE, length)
    agree(ours[known], talib.ATR(HIGH, LOW, CLOSE, length)[known], rtol=1e-12, atol=reach)
    # A ratio of two such averages: older moves ten times the recent ones shift it by 100 * 10 * e**-10.
    agree(library.rsi(CLOSE, length)[known], talib.RSI(CLOSE, length)[known], rtol=0.0, atol=0.05)


# --- by hand ---

NAN = math.nan
BY_HAND: list[tuple[str, list[list[float]], dict[str, Any], list[float]]] = [
    ("sma", [[1, 2, 3, 4, 9]], {"length": 3}, [NAN, NAN, 2, 3, 16 / 3]),
    (
        "ema",
        [[0, 0, 4, 0]],
        {"span": 3, "window": 3},
        [NAN, NAN, 16 / 7, 8 / 7],
    ),  # d = 1/2, weights 4 2 1 of 7
    ("wilder_average", [[0, 0, 7, 0]], {"length": 2, "window": 3}, [NAN, NAN, 4, 2]),
    ("rsi", [[1, 2, 4, 3]], {"length": 1, "window": 2}, [NAN, 100, 100, 0]),
    ("rsi", [[1, 1, 4, 3]], {"length": 2, "window": 3}, [NAN, NAN, 100, 60]),  # up 3/2 of 2.5
    ("true_range", [[5, 9, 7], [4, 6, 6], [5, 8, 6]], {}, [NAN, 4, 2]),  # gap up from 5; gap down from 8
    ("atr", [[5, 9, 7], [4, 6, 6], [5, 8, 6]], {"length": 2, "window": 3}, [NAN, NAN, 8 / 3]),
    ("bollinger_middle", [[2, 4, 4, 4, 5, 5, 7, 9]], {"length": 8}, [NAN] * 7 + [5]),
    ("bollinger_upper", [[2, 4, 4, 4, 5, 5, 7, 9]], {"length": 8}, [NAN] * 7 + [9]),
    ("bollinger_lower", [[2, 4, 4, 4, 5, 5, 7, 9]], {"length": 8, "width": 1.0}, [NAN] * 7 + [3]),
    ("bollinger_percent_b", [[2, 4, 4, 4, 5, 5, 7, 9]], {"length": 8}, [NAN] * 7 + [1]),
    ("bollinger_bandwidth", [[2, 4, 4, 4, 5, 5, 7, 9]], {"length": 8}, [NAN] * 7 + [1.6]),
    ("donchian_high", [[3, 1, 2, 5]], {"length": 2}, [NAN, 3, 2, 5]),
    ("donchian_low", [[3, 1, 2, 5]], {"length": 2}, [NAN, 1, 1, 2]),
    ("donchian_middle", [[3, 4, 5], [1, 2, 2]], {"length": 2}, [NAN, 2.5, 3.5]),
    ("rate_of_change", [[4, 5, 6]], {"length": 2}, [NAN, NAN, 0.5]),
    ("change", [[4, 5, 3]], {}, [NAN, 1, -2]),
    ("lag", [[4, 5, 3]], {}, [NAN, 4, 5]),
    ("z_score", [[2, 4, 4, 4, 5, 5, 7, 9]], {"length": 8}, [NAN] * 7 + [2]),
    ("rolling_sum", [[1, 2, 3, 4]], {"length": 3}, [NAN, NAN, 6, 9]),
    ("rolling_std", [[2, 4, 4, 4, 5, 5, 7, 9]], {"length": 8}, [NAN] * 7 + [2]),
    ("rolling_max", [[3, 1, 2, 0]], {"length": 3}, [NAN, NAN, 3, 2]),
    ("rolling_min", [[3, 1, 2, 4]], {"length": 3}, [NAN, NAN, 1, 1]),
    ("rolling_quantile", [[3, 1, 2, 10]], {"length": 3, "quantile": 0.75}, [NAN, NAN, 2.5, 6]),
]


@pytest.mark.parametrize(("name", "sources", "parameters", "expected"), BY_HAND)
def test_by_hand(name: str, sources: list[list[float]], parameters: dict[str, Any], expected: list[float]) -> None:
    """Small examples worked out by hand."""
    arrays = [np.array(source, dtype=np.float64) for source in sources]
    agree(INDICATORS[name].function(*arrays, **parameters), expected, rtol=1e-14)


def test_every_indicator_is_worked_out_by_hand() -> None:
    """No indicator lacks a hand-computed example."""
    assert {name for name, *_ in BY_HAND} == set(INDICATORS)


# --- special cases ---


@pytest.mark.parametrize("price", [0.1, 1 / 3, 30_000.7, 1e-8])
def test_a_flat_market_has_no_movement(price: float) -> None:
    """On a flat series deviations are exactly 0, averages exactly the price, ratios exactly neutral."""
    flat = np.full(400, price)
    for length in (3, 7, 23):
        assert set(library.rolling_std(flat, length)[length - 1 :]) == {0.0}
        assert set(library.z_score(flat, length)[length - 1 :]) == {0.0}
        assert set(library.bollinger_percent_b(flat, length)[length - 1 :]) == {0.5}
        assert set(library.bollinger_bandwidth(flat, length)[length - 1 :]) == {0.0}
        assert set(library.ema(flat, length)[5 * length - 1 :]) == {price}
        assert set(library.rsi(flat, length)[10 * length :]) == {50.0}
        assert set(library.atr(flat, flat, flat, length)[10 * length :]) == {0.0}


def test_rsi_stays_within_its_scale() -> None:
    """A market that only rises has 100, one that only falls 0, and none leaves the scale."""
    rising = np.cumsum(np.random.default_rng(3).random(2000)) + 1.0
    assert set(library.rsi(rising, 14)[140:]) == {100.0}
    assert set(library.rsi(rising[::-1].copy(), 14)[140:]) == {0.0}
    values = library.rsi(wave() * 1e-7, 2)[20:]
    assert values.min() >= 0.0
    assert values.max() <= 100.0


def test_deviation_keeps_its_digits_far_from_zero() -> None:
    """A small swing on a price of a hundred million comes out, where sums of squares would give noise."""
    swing = np.resize([0.0, 0.25], 200)
    agree(library.rolling_std(swing + 1e8, 20)[19:], np.full(181, 0.125), rtol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3, 31, 64, 100])
def test_sums_are_accurate(length: int) -> None:
    """A sum is within a few units of the last place of the exact one, however long the series is."""
    source = wave() ** 3
    ours = library.rolling_sum(source, length)
    for row in range(length - 1, ROWS, 211):
        assert ours[row] == pytest.approx(
            math.fsum(source[row - length + 1 : row + 1]), rel=1e-15 * (2 + length.bit_length())
        )


# --- parameters, registry, documentation ---

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("sma", {"length": 0}, "length must be a whole number of at least 1, not 0"),
    ("sma", {"length": 20.0}, "length must be a whole number of at least 1, not 20.0"),
    ("sma", {"length": True}, "length must be a whole number of at least 1, not True"),
    ("sma", {"length": "20"}, "length must be a whole number of at least 1, not '20'"),
    ("lag", {"length": -1}, "length must be a whole number of at least 1, not -1"),
    ("rolling_std", {"length": 1}, "length must be a whole number of at least 2, not 1"),
    ("ema", {"span": 0}, "span must be a whole number of at least 1, not 0"),
    ("ema", {"span": 20, "window": 19}, "window must be a whole number of at least 20, not 19"),
    ("wilder_average", {"length": 14, "window": 13}, "window must be a whole number of at least 14, not 13"),
    ("rsi", {"length": 14, "window": 14}, "window must be a whole number of at least 15, not 14"),
    ("atr", {"length": 14, "window": 1.5}, "window must be a whole number of at least 15, not 1.5"),
    ("bollinger_upper", {"length": 20, "width": 0.0}, "width must be positive, not 0.0"),
    ("bollinger_upper", {"length": 20, "width": NAN}, "width must be a finite number, not nan"),
    ("rolling_quantile", {"length": 9, "quantile": 1.01}, "quantile must lie between 0 and 1, not 1.01"),
    ("rolling_quantile", {"length": 9, "quantile": None}, "quantile must be a finite number, not None"),
]


@pytest.mark.parametrize(("name", "parameters", "message"), WRONG)
def test_wrong_parameters_are_refused_in_one_line(name: str, parameters: dict[str, Any], message: str) -> None:
    """The function and its window refuse the same parameters with the same words."""
    indicator = INDICATORS[name]
    with pytest.raises(StrategyError) as refusal:
        indicator.window(**parameters)
    assert str(refusal.value) == message
    with pytest.raises(StrategyError) as refusal:
        indicator.function(*([CLOSE] * len(indicator.sources)), **parameters)
    assert str(refusal.value) == message


def test_columns_must_match() -> None:
    """Tables, scalars and columns of different lengths are refused."""
    with pytest.raises(StrategyError, match=re.escape("one and the same shape (n,), not (3000,), (2999,), (3000,)")):
        library.true_range(HIGH, LOW[1:], CLOSE)
    with pytest.raises(StrategyError, match=re.escape("(1500, 2)")):
        library.sma(CLOSE.reshape(-1, 2), 3)
    with pytest.raises(StrategyError, match=re.escape("not ()")):
        library.sma(np.float64(3.0), 3)


def test_default_windows() -> None:
    """The declared windows are these functions of the parameters."""
    assert INDICATORS["sma"].window(length=50) == 50
    assert INDICATORS["ema"].window(span=20) == 100
    assert INDICATORS["ema"].window(span=20, window=64) == 64
    assert INDICATORS["wilder_average"].window(length=14) == 140
    assert INDICATORS["rsi"].window(length=14) == 141
    assert INDICATORS["atr"].window(length=14) == 141
    assert INDICATORS["rate_of_change"].window(length=10) == 11
    assert INDICATORS["lag"].window() == 2
    assert INDICATORS["true_range"].window() == 2


def test_registry_is_consistent() -> None:
    """A function and its window take the same parameters, and the registry knows them."""
    for name, indicator in INDICATORS.items():
        given = indicator.window.__code__.co_varnames[: indicator.window.__code__.co_argcount]
        assert set(given) <= set(indicator.parameters), name
        assert set(indicator.required) <= set(given), name
        assert getattr(library, name) is indicator.function
        assert indicator.function.__doc__


def test_documentation_lists_the_registry() -> None:
    """docs/indicators.md has one row per registered indicator, with its sources and its default window."""
    text = (Path(__file__).parents[1] / "docs" / "indicators.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, flags=re.MULTILINE)
    assert [name for name, _ in rows] == list(INDICATORS)
    for name, row in rows:
        indicator = INDICATORS[name]
        _, sources, default, _ = (cell.strip() for cell in row.split("|"))
        assert tuple(sources.split(", ")) == indicator.sources
        chosen = {key: {"length": 7, "span": 7, "quantile": 0.5}[key] for key in indicator.required}
        factor, name_of_factor, extra = re.fullmatch(r"(?:(\d+) · )?(\w+)(?: \+ (\d+))?", default).groups()
        value = {"n": chosen.get("length", 1), "span": chosen.get("span"), "2": 2}[name_of_factor]
        assert int(factor or 1) * value + int(extra or 0) == indicator.window(**chosen), name
