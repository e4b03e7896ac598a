"""The bars of a cycle: what is recorded slot by slot gives every window back, whatever the source does to its past."""

from __future__ import annotations

import json
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from venue.clock import VirtualClock

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import BarsError, DataError, TemporaryError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.slot import bars_reference
from trading_runtime.core.timeframes import HOUR_MS
from trading_runtime.cycle.bars import Rows, bars_from_rows, gather_bars, keep, rows_to_record, window
from trading_runtime.cycle.recorded import RecordedBars

START = 1_704_067_200_000
SYMBOLS = ("BTC/USDT", "ETH/USDT")


def make_bars(symbol: str, start: int, count: int, seed: int) -> Bars:
    random = Random(f"{symbol} {seed}")
    close = np.array([random.uniform(1.0, 100.0) for _ in range(count)])
    opens = np.concatenate((close[:1], close[:-1]))
    times = start + HOUR_MS * np.arange(count, dtype=np.int64)
    high, low = np.maximum(opens, close), np.minimum(opens, close)
    return Bars(symbol, "1h", times, opens, high, low, close, np.array([random.random() for _ in range(count)]))


def revised(bars: Bars, row: int) -> Bars:
    """The same bars, but for the volume of one."""
    volume = bars.volume.copy()
    volume[row] += 1.0
    return Bars(bars.symbol, bars.timeframe, bars.open_time, bars.open, bars.high, bars.low, bars.close, volume)


class Source:
    """A feed that answers from bars."""

    name = "source"

    def __init__(self, bars: Bars) -> None:
        self.bars_kept = bars
        self.asked = 0
        self.published_ms: int | None = None
        self.clock = VirtualClock(START)

    def bars(self, symbol: str, timeframe: str, count: int, close_ms: int) -> Bars:
        self.asked += 1
        if self.published_ms is not None and self.clock.now_ms() < self.published_ms:
            raise DataError(f"{symbol} {timeframe}: is not there yet")
        return window({symbol: self.bars_kept}, count, close_ms)[symbol]

    def server_time_ms(self) -> int:
        return self.clock.now_ms()

    def newest_close(self, timeframe: str, after: int | None) -> int | None:
        return None


# What one cycle after another does: how many slots it goes on, how many bars it declares, which bar of the window the
# source has changed since (from its end; None: none), whether the younger symbol is there.
steps = some.lists(
    some.tuples(
        some.integers(1, 9),
        some.integers(1, 12),
        some.none() | some.integers(1, 14),
    ),
    min_size=1,
    max_size=15,
)


@settings(max_examples=300)
@given(steps, some.integers(0, 40), some.integers(0, 2**16))
def test_every_window_comes_back_from_the_rows_with_its_hash(
    course: list[tuple[int, int, int | None]], younger_by: int, seed: int
) -> None:
    source = {
        SYMBOLS[0]: make_bars(SYMBOLS[0], START, 200, seed),
        SYMBOLS[1]: make_bars(SYMBOLS[1], START + younger_by * HOUR_MS, 200 - younger_by, seed),
    }
    recorded = RecordedBars("1h")
    kept: dict[str, dict[str, object]] = {}
    slot = START + 20 * HOUR_MS
    for ahead, count, changed in course:
        slot += ahead * HOUR_MS
        if changed is not None:
            for symbol, bars in source.items():
                row = (slot - int(bars.open_time[0])) // HOUR_MS - changed
                if row >= 0:
                    source[symbol] = revised(bars, row)
        cut, wider = window(source, count, slot), window(source, count + 1, slot)
        new = rows_to_record(wider, cut, kept)
        recorded.add(json.loads(canonical_json(new.rows)))
        for symbol, series in cut.items():
            back = recorded.window(symbol, int(series.open_time[0]), len(series))
            assert bars_reference(back) == bars_reference(series), f"seed {seed}"
        kept = json.loads(canonical_json(keep(cut)))


@given(some.integers(2, 12), some.integers(1, 30))
def test_bars_that_the_journal_has_are_not_written_again(count: int, slots: int) -> None:
    source = {SYMBOLS[0]: make_bars(SYMBOLS[0], START, 100, 1)}
    kept: dict[str, dict[str, object]] = {}
    written = 0
    for number in range(slots):
        slot = START + (20 + number) * HOUR_MS
        cut = window(source, count, slot)
        new = rows_to_record(window(source, count + 1, slot), cut, kept)
        assert new.revised == ()
        written += sum(len(rows) for rows in new.rows.values())
        kept = keep(cut)
    assert written == count + slots - 1


def test_a_changed_past_is_told_and_written_anew() -> None:
    source = {SYMBOLS[0]: make_bars(SYMBOLS[0], START, 100, 1)}
    slot = START + 30 * HOUR_MS
    kept = keep(window(source, 10, slot))
    source[SYMBOLS[0]] = revised(source[SYMBOLS[0]], 25)
    slot += HOUR_MS
    new = rows_to_record(window(source, 11, slot), window(source, 10, slot), kept)
    assert new.revised == (SYMBOLS[0],)
    assert len(new.rows[SYMBOLS[0]]) == 10


def test_rows_give_the_bars_and_nothing_else_does() -> None:
    bars = make_bars(SYMBOLS[0], START, 12, 3)
    rows: Rows = rows_to_record({SYMBOLS[0]: bars}, {SYMBOLS[0]: bars}, {})
    assert bars_from_rows(SYMBOLS[0], "1h", rows.rows[SYMBOLS[0]]).content_hash() == bars.content_hash()
    for damage in ([2, 1], [1, 1], [1, 3]):
        with pytest.raises(BarsError):
            bars_from_rows(SYMBOLS[0], "1h", [rows.rows[SYMBOLS[0]][row] for row in damage])
    recorded = RecordedBars("1h")
    recorded.add(rows.rows)
    with pytest.raises(BarsError, match="the journal has no bar"):
        recorded.window(SYMBOLS[0], START, 13)


@given(some.integers(1, 60), some.integers(1, 108))
def test_a_window_holds_no_bar_that_closes_later_than_its_slot(count: int, ahead: int) -> None:
    slot = START + ahead * HOUR_MS
    source = {
        SYMBOLS[0]: make_bars(SYMBOLS[0], START, 108, 1),
        SYMBOLS[1]: make_bars(SYMBOLS[1], START + 99 * HOUR_MS, 9, 1),
    }
    cut = window(source, count, slot)
    assert (SYMBOLS[1] in cut) == (slot >= START + 100 * HOUR_MS)
    for series in cut.values():
        assert 1 <= len(series) <= count
        assert int(series.open_time[-1]) + HOUR_MS <= slot


def test_bars_that_are_late_are_waited_for() -> None:
    source = Source(make_bars(SYMBOLS[0], START, 50, 1))
    source.published_ms = START + 5_000
    found = gather_bars(source, source.clock, [SYMBOLS[0]], "1h", HOUR_MS, 10, START + 20 * HOUR_MS)
    assert len(found[SYMBOLS[0]]) == 10
    assert source.clock.now_ms() >= START + 5_000


def test_bars_that_stay_away_end_in_a_reason_and_not_in_a_guess() -> None:
    source = Source(make_bars(SYMBOLS[0], START, 20, 1))
    with pytest.raises(
        TemporaryError, match="the newest bar closed at 2024-01-01T20:00:00Z, not at 2024-01-01T21:00:00Z"
    ):
        gather_bars(source, source.clock, [SYMBOLS[0]], "1h", HOUR_MS, 10, START + 21 * HOUR_MS)
    assert source.clock.now_ms() <= START + 60_000


def test_a_younger_symbol_gives_what_it_has() -> None:
    source = Source(make_bars(SYMBOLS[0], START, 50, 1))
    found = gather_bars(source, source.clock, [SYMBOLS[0]], "1h", HOUR_MS, 40, START + 7 * HOUR_MS)
    assert len(found[SYMBOLS[0]]) == 7
