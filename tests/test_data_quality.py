"""Judging and mending bars: every kind of damage is found in the right row, good data is left alone, repairs
do what they say.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import BarsError, DataError
from trading_runtime.core.timeframes import HOUR_MS, iso_time, parse_time
from trading_runtime.data.findings import GRADES, SEVERITY, is_below
from trading_runtime.data.quality import assess
from trading_runtime.data.raw import RawBars, Source, raw_of_bars
from trading_runtime.data.readers import read_raw
from trading_runtime.data.repair import DROPPABLE, repair
from trading_runtime.data.synth import synthesize

MARKET_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "market-data"
START = parse_time("2024-01-01")
ROWS = 400
BARS = synthesize("BTC/USDT", "1h", START, ROWS, 3)
GOOD = raw_of_bars(BARS, Source("good.csv", "0" * 64, ROWS))


def changed(raw: RawBars, name: str, position: int, value: float) -> RawBars:
    column = getattr(raw, name).copy()
    column[position] = value
    return replace(raw, **{name: column})


def inserted(raw: RawBars, position: int, *, close_factor: float = 1.0) -> RawBars:
    """Repeat the row at ``position`` right after it; with a factor, saying something else."""
    order = np.insert(np.arange(len(raw)), position + 1, position)
    doubled = raw.take(order)
    rows = np.arange(1, len(doubled) + 1)
    doubled = replace(doubled, row=rows)
    if close_factor == 1.0:
        return doubled
    return changed(doubled, "volume", position + 1, float(doubled.volume[position + 1]) * close_factor + 1.0)


def spiked(raw: RawBars, position: int, factor: float) -> RawBars:
    for name in FIELDS[:4]:
        raw = changed(raw, name, position, float(getattr(raw, name)[position]) * factor)
    return raw


# Kind of damage: how it is done to the row at a position, and the position that must be named.
DAMAGE: dict[str, tuple[str, Callable[[RawBars, int], RawBars], int]] = {
    "missing value": ("not_a_number", lambda raw, at: changed(raw, "close", at, np.nan), 0),
    "infinite value": ("not_a_number", lambda raw, at: changed(raw, "high", at, np.inf), 0),
    "missing volume": ("not_a_number", lambda raw, at: changed(raw, "volume", at, np.nan), 0),
    "zero price": ("non_positive_price", lambda raw, at: changed(raw, "low", at, 0.0), 0),
    "negative price": ("non_positive_price", lambda raw, at: changed(raw, "open", at, -1.0), 0),
    "negative volume": ("negative_volume", lambda raw, at: changed(raw, "volume", at, -0.5), 0),
    "high too low": (
        "impossible_bar",
        lambda raw, at: changed(raw, "high", at, float(raw.low[at]) * 0.99),
        0,
    ),
    "low too high": (
        "impossible_bar",
        lambda raw, at: changed(raw, "low", at, float(raw.high[at]) * 1.01),
        0,
    ),
    "off grid": (
        "off_grid",
        lambda raw, at: replace(raw, open_time=raw.open_time + (np.arange(len(raw)) == at) * 1_000),
        0,
    ),
    "conflict": ("conflicting_duplicates", lambda raw, at: inserted(raw, at, close_factor=2.0), 1),
    "duplicate": ("identical_duplicates", inserted, 1),
    "missing bar": ("gaps", lambda raw, at: raw.take(np.delete(np.arange(len(raw)), at)), 0),
    "swapped": ("disorder", lambda raw, at: raw.take(np.r_[0:at, at + 1, at, at + 2 : len(raw)]), 1),
    "no trade": ("zero_volume", lambda raw, at: changed(raw, "volume", at, 0.0), 0),
    "spike up": ("outliers", lambda raw, at: spiked(raw, at, 1.5), 0),
    "spike down": ("outliers", lambda raw, at: spiked(raw, at, 0.5), 0),
    "decimal shift": ("outliers", lambda raw, at: spiked(raw, at, 10.0), 0),
    "wick": ("outliers", lambda raw, at: changed(raw, "high", at, float(raw.high[at]) * 1.6), 0),
    "other unit": ("mixed_units", lambda raw, at: replace(raw, flaws={"mixed_units": np.array([at])}), 0),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
@given(at=st.integers(2, ROWS - 4), seed=st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_every_damage_is_found_where_it_was_done(damage: str, at: int, seed: int) -> None:
    """Damage at a random place of random good data is found, with its severity, source row and time."""
    good = raw_of_bars(synthesize("BTC/USDT", "1h", START, ROWS, seed), Source("good.csv", "0" * 64, ROWS))
    kind, harm, offset = DAMAGE[damage]

    bad = harm(good, at)
    report = assess(bad, HOUR_MS)

    finding = report.finding(kind)
    assert finding is not None, f"seed {seed}, row {at}: {report.to_json()}"
    assert finding.severity == SEVERITY[kind]
    assert at + offset in report.positions[kind], f"seed {seed}, row {at}: {report.to_json()}"
    place = next(place for place in finding.first if place.row == int(bad.row[at + offset]))
    assert place.time == iso_time(int(bad.open_time[at + offset]))
    assert finding.count == 1
    assert report.grade == {"error": "D", "repairable": "C", "warning": "B"}[finding.severity]


@given(
    seed=st.integers(0, 10_000),
    timeframe=st.sampled_from(["1m", "15m", "1h", "4h", "1d", "1w"]),
    rows=st.integers(1, 900),
)
@settings(max_examples=60, deadline=None)
def test_good_data_is_never_called_repairable_or_untrustworthy(seed: int, timeframe: str, rows: int) -> None:
    """Generated markets, crashes included, of every length and timeframe are graded A or B and score 1."""
    start = START - START % 604_800_000 + 4 * 86_400_000 if timeframe == "1w" else START
    bars = synthesize("SOL/USDT", timeframe, start, rows, seed, start_price="100")

    report = assess(raw_of_bars(bars, Source("x", "", rows)), bars.bar_ms, now_ms=int(bars.close_time[-1]))

    assert report.grade in ("A", "B"), report.to_json()
    assert report.score == 1.0


@given(
    kinds=st.lists(st.sampled_from(sorted(DAMAGE)), min_size=2, max_size=5, unique=True),
    seed=st.integers(0, 9_999),
)
@settings(max_examples=60, deadline=None)
def test_several_damages_at_once_are_all_found(kinds: list[str], seed: int) -> None:
    """Damage in different places does not hide other damage; the grade is that of the worst."""
    rng = np.random.default_rng(seed)
    places = sorted(int(5 + 70 * slot + rng.integers(0, 60)) for slot in range(len(kinds)))[::-1]
    # From the end to the front, so that inserted and removed rows do not move the places to come.
    bad = GOOD
    flawed = []
    for kind, at in zip(kinds, places, strict=True):
        if kind == "other unit":
            flawed.append(at)
            continue
        bad = DAMAGE[kind][1](bad, at)
    if flawed:
        bad = replace(bad, flaws={"mixed_units": np.array(flawed)})

    report = assess(bad, HOUR_MS)

    wanted = {DAMAGE[kind][0] for kind in kinds}
    assert wanted <= {finding.kind for finding in report.findings}, (
        f"seed {seed}: {kinds} at {places}: {report.to_json()}"
    )
    worst = max({"error": "D", "repairable": "C", "warning": "B"}[SEVERITY[kind]] for kind in wanted)
    assert report.grade == worst


def test_unclosed_bars_are_found_only_when_the_present_is_given() -> None:
    """The last bar is open until its close time has come; without a present time nothing is said."""
    last_close = int(BARS.close_time[-1])

    assert assess(GOOD, HOUR_MS).grade == "A"
    assert assess(GOOD, HOUR_MS, now_ms=last_close).grade == "A"
    report = assess(GOOD, HOUR_MS, now_ms=last_close - 1)
    assert report.grade == "C"
    assert report.positions["unclosed_last_bar"].tolist() == [ROWS - 1]


def test_rows_that_changed_since_an_earlier_import_are_found() -> None:
    """A revised value in the common period is a warning that names the row; other rows are not compared."""
    earlier = BARS.slice(100, 200)

    assert assess(GOOD, HOUR_MS, earlier=earlier).grade == "A"
    report = assess(changed(changed(GOOD, "volume", 150, 1.0), "volume", 250, 1.0), HOUR_MS, earlier=earlier)
    assert report.positions["revisions"].tolist() == [150]
    assert report.grade == "B"


def test_a_feed_that_repeats_itself_is_found() -> None:
    """Three equal bars with the same traded volume are suspicious, two are not."""
    twice, thrice = GOOD, GOOD
    for name in FIELDS:
        twice = changed(twice, name, 51, float(getattr(GOOD, name)[50]))
        for at in (51, 52):
            thrice = changed(thrice, name, at, float(getattr(GOOD, name)[50]))

    assert assess(twice, HOUR_MS).finding("stuck_feed") is None
    assert assess(thrice, HOUR_MS).positions["stuck_feed"].tolist() == [50, 51, 52]


def test_a_lasting_jump_is_found_but_a_crash_inside_a_bar_is_not() -> None:
    """A level that shifts between two bars is no trade; a bar that falls by itself is a market."""
    shifted = GOOD
    for name in FIELDS[:4]:
        column = getattr(GOOD, name).copy()
        column[200:] = column[200:] * 2.0
        shifted = replace(shifted, **{name: column})
    crash_open = float(GOOD.open[200])
    fallen = GOOD
    for name in FIELDS[:4]:
        column = getattr(GOOD, name).copy()
        column[200:] = column[200:] * 0.6
        fallen = replace(fallen, **{name: column})
    fallen = changed(changed(fallen, "open", 200, crash_open), "high", 200, crash_open * 1.001)

    assert 200 in assess(shifted, HOUR_MS).positions["outliers"]
    assert assess(fallen, HOUR_MS).finding("outliers") is None


def test_the_score_is_the_share_of_expected_bars_without_error() -> None:
    """Ten bars missing and five impossible of four hundred leave 385 good ones."""
    bad = GOOD
    for at in range(10, 15):
        bad = changed(bad, "high", at, 1.0)
    bad = bad.take(np.delete(np.arange(ROWS), np.arange(100, 110)))

    report = assess(bad, HOUR_MS)

    assert (report.rows, report.expected) == (ROWS - 10, ROWS)
    assert report.score == round(385 / 400, 6)
    assert report.finding("gaps").count == 10


def test_the_wrong_timeframe_is_told() -> None:
    """Hourly rows judged as two-hourly bars open off the grid; judged as minutes they leave gaps."""
    assert assess(GOOD, 2 * HOUR_MS).finding("off_grid") is not None
    assert assess(GOOD, 60_000).finding("gaps") is not None


def test_reports_are_plain_data_and_a_table() -> None:
    """The JSON form can be written without NaN, lists the worst first, and the table has a row for each
    finding.
    """
    bad = changed(changed(GOOD, "close", 20, np.nan), "volume", 30, 0.0)

    report = assess(bad, HOUR_MS)
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))

    assert [finding["kind"] for finding in document["findings"]] == ["not_a_number", "zero_volume"]
    assert document["grade"] == "D"
    assert len(report.table().splitlines()) == 3
    assert "21 (2024-01-01T20:00:00Z)" in report.table()
    assert report.worst().startswith("not_a_number: ")


def test_nothing_to_judge_is_an_error() -> None:
    """No rows are no data."""
    with pytest.raises(DataError, match="no rows"):
        assess(GOOD.take(np.zeros(0, dtype=np.int64)), HOUR_MS)


def test_grades_are_ordered() -> None:
    """B is below A and not below itself."""
    assert [is_below(grade, "B") for grade in GRADES] == [False, False, True, True]


@given(order=st.permutations(range(60)), repeats=st.lists(st.integers(0, 59), max_size=20))
@settings(max_examples=80, deadline=None)
def test_sorting_and_dropping_repeated_rows_restores_the_original(order: list[int], repeats: list[int]) -> None:
    """Any shuffling and doubling of rows is undone without a trace in the bars; what was done is listed."""
    sixty = GOOD.take(np.arange(60))
    bad = sixty.take(np.array([*order, *repeats]))

    report = assess(bad, HOUR_MS)
    mended, repairs = repair(bad, report, HOUR_MS)

    assert mended.to_bars("BTC/USDT", "1h").content_hash() == BARS.slice(0, 60).content_hash()
    actions = {done.action for done in repairs}
    assert ("dropped identical_duplicates" in actions) == bool(repeats)
    assert actions or (order == list(range(60)) and not repeats)


@given(lost=st.sets(st.integers(1, ROWS - 2), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_gaps_are_filled_with_flat_bars_only_when_asked(lost: set[int]) -> None:
    """Filled bars have the close before as every price and no volume; all other bars stay as they are."""
    kept = np.delete(np.arange(ROWS), sorted(lost))
    bad = GOOD.take(kept)
    report = assess(bad, HOUR_MS)

    untouched, nothing = repair(bad, report, HOUR_MS)
    mended, repairs = repair(bad, report, HOUR_MS, gaps="fill")

    assert nothing == ()
    assert len(untouched) == len(kept)
    bars = mended.to_bars("BTC/USDT", "1h")
    assert len(bars) == ROWS
    assert repairs[0].count == len(lost)
    assert repairs[0].first_time == iso_time(int(BARS.open_time[min(lost)]))
    for name in FIELDS:
        assert np.array_equal(getattr(bars, name)[kept], getattr(BARS, name)[kept])
    for at in lost:
        before = max(position for position in kept.tolist() if position < at)
        assert [float(getattr(bars, name)[at]) for name in FIELDS] == [float(BARS.close[before])] * 4 + [0.0]


@pytest.mark.parametrize("name", ["high", "low"])
def test_a_high_or_low_inside_the_body_is_impossible(name: str) -> None:
    """Between open and close is not enough: the high must reach the higher of the two, the low the lower."""
    at = int(np.argmax(np.abs(GOOD.close - GOOD.open)))
    inside = (float(GOOD.open[at]) + float(GOOD.close[at])) / 2.0

    assert assess(changed(GOOD, name, at, inside), HOUR_MS).positions["impossible_bar"].tolist() == [at]


def test_a_row_with_two_faults_is_dropped_and_counted_once() -> None:
    """The list of what was done adds up to the rows that are gone."""
    bad = changed(changed(GOOD, "close", 20, np.nan), "volume", 20, -1.0)

    mended, repairs = repair(bad, assess(bad, HOUR_MS), HOUR_MS, drop=DROPPABLE)

    assert len(mended) == ROWS - 1
    assert [(done.action, done.count) for done in repairs] == [("dropped not_a_number", 1)]


def test_rows_that_cannot_be_true_are_dropped_only_when_asked() -> None:
    """Errors stay unless their kinds are named; of conflicting rows all of that time go, since neither is
    known to be right.
    """
    bad = inserted(changed(GOOD, "close", 20, np.nan), 40, close_factor=2.0)
    report = assess(bad, HOUR_MS)

    kept, nothing = repair(bad, report, HOUR_MS)
    mended, repairs = repair(bad, report, HOUR_MS, drop=DROPPABLE, gaps="fill")

    assert len(kept) == len(bad)
    assert nothing == ()
    assert [(done.action, done.count) for done in repairs] == [
        ("dropped not_a_number", 1),
        ("dropped conflicting_duplicates", 2),
        ("filled gaps with flat bars", 2),
    ]
    assert assess(mended, HOUR_MS).grade == "B"


def test_an_unclosed_bar_is_always_dropped() -> None:
    """The bar that is still open never reaches anybody."""
    report = assess(GOOD, HOUR_MS, now_ms=int(BARS.close_time[-1]) - 1)

    mended, repairs = repair(GOOD, report, HOUR_MS)

    assert len(mended) == ROWS - 1
    assert [done.action for done in repairs] == ["dropped unclosed_last_bar"]


def test_a_repair_that_leaves_nothing_or_would_fill_a_century_is_refused() -> None:
    """No rows are no data, and a gap of millions of bars is a wrong time."""
    report = assess(GOOD, HOUR_MS, now_ms=0)
    with pytest.raises(BarsError, match="no row is left"):
        repair(GOOD, report, HOUR_MS)
    far = replace(
        GOOD,
        open_time=np.where(np.arange(ROWS) == ROWS - 1, GOOD.open_time + 65_000_000 * HOUR_MS, GOOD.open_time),
    )
    with pytest.raises(BarsError, match="are the open times right"):
        repair(far, assess(far, HOUR_MS), HOUR_MS, gaps="fill")


@pytest.mark.skipif(not MARKET_DATA.is_dir(), reason="the folder with real market data is not here")
def test_real_data_is_good_and_damage_in_it_is_found() -> None:
    """A real month is grade A, the days of a young market carry warnings only, and damage is found."""
    minutes = read_raw(MARKET_DATA / "btc-perp-1m-2022-01.csv.gz")
    days = read_raw(MARKET_DATA / "btc-usd-1d-2011-2025.csv")

    assert assess(minutes, 60_000).grade in ("A", "B")
    assert assess(days, 86_400_000).grade == "B"
    rng = np.random.default_rng(11)
    for kind, (expected, harm, offset) in DAMAGE.items():
        for at in rng.integers(5, len(minutes) - 5, 5).tolist():
            report = assess(harm(minutes, at), 60_000)
            assert at + offset in report.positions.get(expected, []), f"{kind} at {at}"


def test_bars_accept_whatever_the_judge_calls_good() -> None:
    """Grade A or B means that the engine's own check passes too."""
    assert isinstance(GOOD.to_bars("BTC/USDT", "1h"), Bars)
