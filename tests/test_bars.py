"""Bars: what no engine may ever see is refused with its row, and resampling loses and invents nothing."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as generate
from market_samples import BTC, HOUR_MS, START_MS, make_bars, random_bars

from trading_runtime.core.bars import FIELDS, Bars, resample
from trading_runtime.core.errors import BarsError, ConfigurationError
from trading_runtime.core.timeframes import TIMEFRAME_MS

GOOD = [(100.0, 101.0, 99.0, 100.0, 5.0)] * 4
TIMES = START_MS + HOUR_MS * np.arange(4)


def columns(row: int | None = None, **changed: float) -> dict[str, Any]:
    """Open time and the five fields of GOOD, with some values of one row changed."""
    table = dict(zip(FIELDS, np.array(GOOD).T.copy(), strict=True))
    for name, value in changed.items():
        assert row is not None
        table[name][row] = value
    return table


def bars_of(times: Any = TIMES, timeframe: str = "1h", **table: Any) -> Bars:
    return Bars(BTC, timeframe, times, **{**columns(), **table})


# --- refusals -----------------------------------------------------------------------------------------------

IMPOSSIBLE = [
    (1, {"open": float("nan")}, "row 1 .* has open nan"),
    (2, {"close": float("inf")}, "row 2 .* has close inf"),
    (0, {"low": 0.0}, "row 0 .* has low 0.0"),
    (3, {"high": -1.0}, "row 3 .* has high -1.0"),
    (1, {"volume": -0.5}, "row 1 .* has volume -0.5"),
    (1, {"volume": float("nan")}, "row 1 .* has volume nan"),
    (2, {"high": 99.5}, "row 2 .* is impossible"),
    (2, {"low": 100.5}, "row 2 .* is impossible"),
    (2, {"close": 101.5}, "row 2 .* is impossible"),
]


@pytest.mark.parametrize(("row", "changed", "message"), IMPOSSIBLE, ids=[row[2] for row in IMPOSSIBLE])
def test_an_impossible_candle_is_named(row: int, changed: dict[str, float], message: str) -> None:
    """The first offending row, its time and its value are in the message."""
    with pytest.raises(BarsError, match=message):
        bars_of(**columns(row, **changed))


DISORDER = [
    ([0, 1, 1, 2], "row 2 .* repeats row 1"),
    ([0, 2, 1, 3], "row 1 .* leaves a gap after row 0 .* 3 such step"),
    ([0, 1, 0, 1], "row 2 .* goes back from row 1"),
    ([0, 1, 3, 4], "row 2 .* leaves a gap after row 1 .* 1 such step"),
    ([0, 0.5, 1, 1.5], "row 1 .* is too close to row 0"),
    ([0.5, 1.5, 2.5, 3.5], "row 0 opens at .* not a bar boundary"),
]


@pytest.mark.parametrize(("hours", "message"), DISORDER, ids=[row[1] for row in DISORDER])
def test_disorder_is_named(hours: list[float], message: str) -> None:
    """Duplicates, gaps, steps back and times off the grid are each called what they are."""
    with pytest.raises(BarsError, match=message):
        bars_of(np.array([START_MS + round(hour * HOUR_MS) for hour in hours]))


@pytest.mark.parametrize("length", [0, 3, 5])
def test_columns_of_different_lengths_are_refused(length: int) -> None:
    """Every column has as many rows as there are times."""
    with pytest.raises(BarsError, match="differ in length"):
        bars_of(volume=np.ones(length))


def test_no_bars_are_refused() -> None:
    """Empty bars are none."""
    empty = np.array([])
    with pytest.raises(BarsError, match="no bars"):
        Bars(BTC, "1h", empty, empty, empty, empty, empty, empty)


def test_a_table_is_no_column() -> None:
    """Two dimensions are refused, not flattened."""
    with pytest.raises(BarsError, match="differ in length"):
        bars_of(volume=np.ones((4, 1)))


def test_an_unknown_timeframe_is_refused() -> None:
    """With the nearest name."""
    with pytest.raises(ConfigurationError, match="did you mean '1h'"):
        bars_of(timeframe="1hr")


# --- unchangeable -------------------------------------------------------------------------------------------


def test_bars_cannot_be_written() -> None:
    """Whoever holds bars may rely on them."""
    bars = make_bars(GOOD)

    for name in ("open_time", *FIELDS):
        with pytest.raises(ValueError, match="read-only"):
            getattr(bars, name)[0] = 1


def memory_map(values: Any, folder: Any) -> Any:
    mapped = np.memmap(folder / "column", dtype=np.float64, mode="w+", shape=len(values))
    mapped[:] = values
    return mapped


SOURCES = {
    "an array": lambda values, folder: np.array(values),
    "a slice": lambda values, folder: np.array([*values, 0.0])[:-1],
    "a view": lambda values, folder: np.array(values).view(),
    "a buffer": lambda values, folder: array("d", values),
    "a pandas series": lambda values, folder: pandas.Series(values),
    "a memory map": memory_map,
}


@pytest.mark.parametrize("kind", list(SOURCES))
def test_a_change_of_the_source_does_not_reach_the_bars(kind: str, tmp_path: Any) -> None:
    """Bars that were checked once stay as they were checked, whatever the caller does with its columns."""
    source = SOURCES[kind]([5.0, 5.0, 5.0, 5.0], tmp_path)
    bars = bars_of(volume=source)
    source[0] = -1.0

    assert bars.volume[0] == 5.0


def test_the_caller_may_still_write_its_own_column() -> None:
    """Making bars does not freeze what was given."""
    volume = np.full(4, 5.0)
    bars_of(volume=volume)
    volume[0] = 1.0

    assert volume[0] == 1.0


def test_a_frozen_column_is_not_copied() -> None:
    """Slices of bars share memory with them."""
    bars = make_bars(GOOD)

    assert np.shares_memory(bars.close, bars.slice(1, 3).close)


# --- times, slices, hashes ----------------------------------------------------------------------------------


def test_a_bar_is_known_from_its_close() -> None:
    """Close time is open time and the bar's length."""
    assert (make_bars(GOOD).close_time - make_bars(GOOD).open_time).tolist() == [HOUR_MS] * 4


PERIODS = [
    (None, None, [0, 1, 2, 3]),
    (0, 4, [0, 1, 2, 3]),
    (1, 3, [1, 2]),
    (0.5, 3.5, [1, 2]),
    (1, None, [1, 2, 3]),
    (None, 2, [0, 1]),
    (-9, 99, [0, 1, 2, 3]),
]


@pytest.mark.parametrize(("start", "end", "rows"), PERIODS)
def test_a_period_holds_the_bars_that_lie_in_it_whole(start: float | None, end: float | None, rows: list[int]) -> None:
    """Bars that open before the start or close after the end are outside."""
    bars = make_bars(GOOD)
    limits = [None if hour is None else START_MS + round(hour * HOUR_MS) for hour in (start, end)]

    assert [START_MS + row * HOUR_MS for row in rows] == bars.between(*limits).open_time.tolist()


@pytest.mark.parametrize(("start", "end"), [(1, 1), (3, 1), (4, 9), (0.5, 1.5)])
def test_a_period_without_bars_says_what_the_data_covers(start: float, end: float) -> None:
    """The message has both ends of the data."""
    with pytest.raises(BarsError, match="2024-01-01T00:00:00Z to 2024-01-01T04:00:00Z"):
        make_bars(GOOD).between(START_MS + round(start * HOUR_MS), START_MS + round(end * HOUR_MS))


def test_the_content_hash_is_of_the_content_alone() -> None:
    """Equal numbers have equal hashes from any source; any other number, time or timeframe another one."""
    bars = make_bars(GOOD)
    lists = bars_of(**{name: list(column) for name, column in columns().items()})
    others = [
        bars_of(**columns(2, close=100.5)),
        bars_of(TIMES + HOUR_MS),
        bars_of(START_MS + TIMEFRAME_MS["1m"] * np.arange(4), "1m"),
        bars.slice(0, 3),
    ]

    assert bars.content_hash() == lists.content_hash()
    assert bars.content_hash() not in {other.content_hash() for other in others}


# --- resampling ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeframe", "longer", "offset"),
    [
        ("1h", "4h", 0),
        ("1h", "4h", 3),
        ("15m", "1h", 1),
        ("1h", "1d", 5),
        ("1d", "1w", 3),
        ("1d", "3d", 1),
        ("1h", "1h", 0),
    ],
)
def test_resampling_agrees_with_pandas(timeframe: str, longer: str, offset: int) -> None:
    """Open, high, low, close and volume of every complete bucket, and of no other."""
    bar_ms, longer_ms = TIMEFRAME_MS[timeframe], TIMEFRAME_MS[longer]
    bars = random_bars(1, 200, timeframe=timeframe, start_ms=START_MS + offset * bar_ms)
    frame = pandas.DataFrame(
        {name: getattr(bars, name) for name in FIELDS}, index=pandas.to_datetime(bars.open_time, unit="ms")
    )
    if longer == "1w":
        grouped = frame.resample("W-MON", closed="left", label="left")
    else:
        grouped = frame.resample(pandas.Timedelta(longer_ms, unit="ms"), origin="epoch")
    expected = grouped.agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    expected = expected[grouped["close"].count() == longer_ms // bar_ms]

    result = resample(bars, longer)

    assert (expected.index.astype("datetime64[ms]").astype("int64") == result.open_time).all()
    for name in FIELDS[:4]:
        assert expected[name].tolist() == getattr(result, name).tolist()
    np.testing.assert_allclose(result.volume, expected["volume"], rtol=1e-12)


@given(generate.integers(0, 2**32), generate.integers(1, 60), generate.integers(0, 30))
def test_resampling_of_a_part_gives_a_part(seed: int, rows: int, offset: int) -> None:
    """A bucket's bytes do not depend on what else is there: live fetches less than a backtest has."""
    bars = random_bars(seed, rows + 60)
    whole, part = resample(bars, "4h"), resample(bars.slice(offset, rows + 40), "4h")
    first = int(np.searchsorted(whole.open_time, part.open_time[0]))

    for name in ("open_time", *FIELDS):
        assert getattr(whole, name)[first : first + len(part)].tobytes() == getattr(part, name).tobytes()


def test_too_few_bars_for_one_longer_bar_are_an_error() -> None:
    """Not even one bucket is complete."""
    with pytest.raises(BarsError, match="do not fill one bar of 4h"):
        resample(make_bars(GOOD).slice(1, 4), "4h")


def test_an_uneven_multiple_is_an_error() -> None:
    """Three days do not make a week."""
    with pytest.raises(BarsError, match="not a whole multiple"):
        resample(random_bars(1, 10, timeframe="3d", start_ms=0), "1w")
