"""Timeframes and times: the words users write and the milliseconds inside, both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as generate

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.timeframes import (
    DAY_MS,
    TIMEFRAME_MS,
    WEEK_MS,
    bucket_open_ms,
    iso_time,
    parse_time,
    timeframe_ms,
    timeframe_of,
)

MONDAY_MS = 1_704_067_200_000  # 2024-01-01
YEAR_9999_MS = 253_402_300_799_999
TIMES = generate.integers(-10 * 366 * DAY_MS, YEAR_9999_MS)


@pytest.mark.parametrize("name", list(TIMEFRAME_MS))
def test_a_timeframe_and_its_length_name_each_other(name: str) -> None:
    """Word to milliseconds and back."""
    assert timeframe_of(timeframe_ms(name)) == name


@pytest.mark.parametrize(("wrong", "near"), [("1hr", "1h"), ("15min", "15m")])
def test_a_wrong_timeframe_gets_the_nearest_one(wrong: str, near: str) -> None:
    """The message suggests what was probably meant."""
    with pytest.raises(ConfigurationError, match=f"unknown timeframe '{wrong}'; did you mean '{near}'"):
        timeframe_ms(wrong)


def test_a_month_is_no_timeframe_and_no_minute() -> None:
    """Months have no fixed length, and a capital letter is no reason to take minutes for them."""
    with pytest.raises(ConfigurationError, match=r"unknown timeframe '1M' \(known"):
        timeframe_ms("1M")


def test_a_length_without_a_name_has_none() -> None:
    """No exception: the caller asks."""
    assert timeframe_of(7 * 60_000) is None


@given(TIMES, generate.sampled_from(sorted(TIMEFRAME_MS.values())))
def test_a_bucket_contains_its_time_and_lies_on_the_grid(time_ms: int, bar_ms: int) -> None:
    """Also before 1970."""
    opening = bucket_open_ms(time_ms, bar_ms)

    assert opening <= time_ms < opening + bar_ms
    assert bucket_open_ms(opening, bar_ms) == opening


@given(TIMES)
def test_weeks_open_on_mondays_and_days_at_midnight(time_ms: int) -> None:
    """As exchanges have them."""
    assert (bucket_open_ms(time_ms, WEEK_MS) - MONDAY_MS) % WEEK_MS == 0
    assert bucket_open_ms(time_ms, DAY_MS) % DAY_MS == 0


@given(TIMES)
def test_a_time_written_is_the_time_read(time_ms: int) -> None:
    """iso_time and parse_time undo each other to the millisecond."""
    assert parse_time(iso_time(time_ms)) == time_ms


@given(TIMES.filter(lambda time_ms: time_ms >= 0))
def test_iso_time_is_that_of_datetime(time_ms: int) -> None:
    """The same text as the standard library's, with Z for UTC."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    precision = "milliseconds" if time_ms % 1000 else "seconds"

    assert moment.isoformat(timespec=precision).replace("+00:00", "Z") == iso_time(time_ms)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01", "20240101", " 2024-01-01 ", "2024-01-01T00:00", "2024-01-01 00:00:00", "2024-01-01T00:00:00Z",
        "2024-01-01T01:00:00+01:00", "2023-12-31T19:00:00.000-05:00",
    ],
)  # fmt: skip
def test_one_moment_may_be_written_in_many_ways(text: str) -> None:
    """A time without a zone is UTC, one with a zone is converted."""
    assert parse_time(text) == MONDAY_MS


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "2024-02-30", "01/02/2024", "1704067200000", "2024"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigurationError, match=r"not a time: .*2024-01-31"):
        parse_time(text)
