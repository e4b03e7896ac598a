"""Quality: what is wrong with raw bars, found and graded; nothing is changed here and no clock is read.

Every test is arithmetic of + - * / and comparisons, so that the same rows give the same report on every
machine.

**Outliers** (warnings, because real markets do crash). With ``move(a, b) = max(a, b) / min(a, b) - 1``, which
is ``exp(|log(b / a)|) - 1`` without a logarithm, the *scale* at a bar is the median of ``move(close[i-1],
close[i])`` over its block of 256 bars, or over all bars if that is larger (so that a quiet night does not
turn a small step into an outlier). A bar is an outlier when it is one of

    spike  the moves into and out of its close both exceed max(3 %, 25 scales), and the closes before and
           after it are within half of the smaller of the two: the price went away and came straight back
    wick   its high exceeds max(open, close), or its low falls short of min(open, close), by more than
           max(10 %, 50 scales)
    jump   its open is further than max(5 %, 25 scales) from the close before, and no bar is missing
           between the two, and that close was no spike: markets that never shut open where they closed
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_runtime.core.bars import FIELDS, Bars, Floats, Integers
from trading_runtime.core.errors import DataError
from trading_runtime.core.timeframes import WEEK_ANCHOR_MS, WEEK_MS, iso_time
from trading_runtime.data.findings import SEVERITY, Finding, Place, QualityReport
from trading_runtime.data.raw import RawBars

Mask = npt.NDArray[np.bool_]

FIRST_ROWS = 5
SCALE_BLOCK_BARS = 256
SPIKE_MOVE_MIN, SPIKE_SCALES = 0.03, 25.0
WICK_MOVE_MIN, WICK_SCALES = 0.10, 50.0
JUMP_MOVE_MIN, JUMP_SCALES = 0.05, 25.0
# Two equal bars follow each other in quiet markets; three with the same volume are a feed repeating itself.
STUCK_BARS_MIN = 3

_NONE = np.zeros(0, dtype=np.int64)


def assess(raw: RawBars, bar_ms: int, *, now_ms: int | None = None, earlier: Bars | None = None) -> QualityReport:
    """Return what is wrong with ``raw``, whose bars should be ``bar_ms`` long.

    ``now_ms`` is the present time, for bars that are not closed yet; None leaves that out. ``earlier`` is an
    earlier import of the same market, for rows that have changed since. Raises DataError when there are no
    rows.
    """
    if len(raw) == 0:
        raise DataError(f"{raw.name}: there are no rows")
    anchor = WEEK_ANCHOR_MS if bar_ms == WEEK_MS else 0
    found: dict[str, Integers] = {kind: np.unique(positions) for kind, positions in raw.flaws.items() if len(positions)}
    prices_are_good = _values(raw, found)
    off_grid = (raw.open_time - anchor) % bar_ms != 0
    _add(found, "off_grid", np.union1d(found.get("off_grid", _NONE), np.flatnonzero(off_grid)))
    going_back = np.flatnonzero(np.diff(raw.open_time) < 0) + 1
    _add(found, "disorder", going_back)
    order = np.argsort(raw.open_time, kind="stable")
    _duplicates(raw, order, found)
    if now_ms is not None:
        _add(found, "unclosed_last_bar", np.flatnonzero(raw.open_time + bar_ms > now_ms))
    _add(found, "zero_volume", np.flatnonzero(raw.volume == 0.0))
    distinct = _distinct(raw, order, ~off_grid & _outside(len(raw), found.get("off_grid", _NONE)))
    _unusual(raw, distinct, prices_are_good, bar_ms, found)
    gaps, missing, expected = _gaps(raw, distinct, bar_ms)
    _add(found, "gaps", gaps)
    _add(found, "revisions", _revisions(raw, earlier) if earlier is not None else _NONE)
    findings = [_told(raw, kind, found[kind], bar_ms, missing) for kind in SEVERITY if kind in found]
    in_error = np.zeros(len(raw), dtype=np.bool_)
    for kind, positions in found.items():
        if SEVERITY[kind] == "error":
            in_error[positions] = True
    good = int(np.count_nonzero(~in_error[distinct])) if len(distinct) else 0
    score = round(good / expected, 6) if expected else 0.0
    return QualityReport(len(raw), expected, score, tuple(findings), found)


def price_move(before: Floats, after: Floats) -> Floats:
    """Return how far two prices lie apart as a fraction of the lower one: symmetric, 0 for equal prices,
    shape (n,).
    """
    with np.errstate(over="ignore"):  # damaged prices may lie more than all floats apart: infinitely far
        moves: Floats = np.maximum(before, after) / np.minimum(before, after) - 1.0
    return moves


def _add(found: dict[str, Integers], kind: str, positions: Integers) -> None:
    if len(positions):
        found[kind] = positions


def _outside(count: int, positions: Integers) -> Mask:
    mask = np.ones(count, dtype=np.bool_)
    mask[positions] = False
    return mask


def _values(raw: RawBars, found: dict[str, Integers]) -> Mask:
    """Find rows whose values cannot be; return where the four prices are positive numbers."""
    finite = np.isfinite(raw.volume)
    positive = np.ones(len(raw), dtype=np.bool_)
    for name in FIELDS[:4]:
        column = getattr(raw, name)
        finite &= np.isfinite(column)
        positive &= ~(column <= 0.0)
    prices_are_good = (
        positive & np.isfinite(raw.open) & np.isfinite(raw.high) & np.isfinite(raw.low) & np.isfinite(raw.close)
    )
    top, bottom = np.maximum(raw.open, raw.close), np.minimum(raw.open, raw.close)
    _add(found, "not_a_number", np.flatnonzero(~finite))
    _add(found, "non_positive_price", np.flatnonzero(~positive))
    _add(found, "negative_volume", np.flatnonzero(raw.volume < 0.0))
    _add(found, "impossible_bar", np.flatnonzero(prices_are_good & ((raw.high < top) | (raw.low > bottom))))
    return prices_are_good


def _duplicates(raw: RawBars, order: Integers, found: dict[str, Integers]) -> None:
    """Find rows that repeat an earlier row's time: identical ones, and those that say something else."""
    same_time = np.flatnonzero(np.diff(raw.open_time[order]) == 0) + 1
    if not len(same_time):
        return
    # Each row is compared with the first of its time, which is the one that would be kept.
    first_of_time = np.searchsorted(raw.open_time[order], raw.open_time[order[same_time]], side="left")
    kept, repeated = order[first_of_time], order[same_time]
    equal = np.ones(len(repeated), dtype=np.bool_)
    for name in FIELDS:
        one, other = getattr(raw, name)[kept], getattr(raw, name)[repeated]
        equal &= (one == other) | (np.isnan(one) & np.isnan(other))
    _add(found, "identical_duplicates", np.sort(repeated[equal]))
    _add(found, "conflicting_duplicates", np.sort(repeated[~equal]))


def _distinct(raw: RawBars, order: Integers, on_grid: Mask) -> Integers:
    """Return the positions of rows on the grid, in time order, the first of each time only."""
    kept = order[on_grid[order]]
    if not len(kept):
        return kept
    times = raw.open_time[kept]
    chosen: Integers = kept[np.concatenate([[True], times[1:] != times[:-1]])]
    return chosen


def _gaps(raw: RawBars, distinct: Integers, bar_ms: int) -> tuple[Integers, int, int]:
    """Return positions of the rows after a gap, the number of missing bars and of expected ones."""
    if not len(distinct):
        return _NONE, 0, 0
    times = raw.open_time[distinct]
    steps = np.diff(times) // bar_ms
    after = np.flatnonzero(steps > 1) + 1
    expected = int((times[-1] - times[0]) // bar_ms) + 1
    return distinct[after], expected - len(distinct), expected


def _unusual(raw: RawBars, distinct: Integers, prices_are_good: Mask, bar_ms: int, found: dict[str, Integers]) -> None:
    """Find outliers and runs of repeated bars among the rows in time order whose prices are numbers."""
    rows = distinct[prices_are_good[distinct]]
    if len(rows) < STUCK_BARS_MIN:
        return
    opens, closes = raw.open[rows], raw.close[rows]
    follows = np.diff(raw.open_time[rows]) == bar_ms
    moves = price_move(closes[:-1], closes[1:])
    scale = _scales(moves)
    is_spike = np.zeros(len(rows), dtype=np.bool_)
    into, out, net = moves[:-1], moves[1:], price_move(closes[:-2], closes[2:])
    limit = np.maximum(SPIKE_MOVE_MIN, SPIKE_SCALES * scale[1:-1])
    is_spike[1:-1] = (into > limit) & (out > limit) & (net < 0.5 * np.minimum(into, out))
    top, bottom = np.maximum(opens, closes), np.minimum(opens, closes)
    limit = np.maximum(WICK_MOVE_MIN, WICK_SCALES * scale)
    is_outlier = is_spike | (raw.high[rows] > top * (1.0 + limit)) | (raw.low[rows] * (1.0 + limit) < bottom)
    limit = np.maximum(JUMP_MOVE_MIN, JUMP_SCALES * scale[1:])
    # The way back from a spike is no finding of its own.
    is_outlier[1:] |= follows & ~is_spike[:-1] & (price_move(closes[:-1], opens[1:]) > limit)
    _add(found, "outliers", np.sort(rows[is_outlier]))
    same = follows & (raw.volume[rows][1:] > 0.0)
    for name in FIELDS:
        same &= np.diff(getattr(raw, name)[rows]) == 0.0
    _add(found, "stuck_feed", np.sort(rows[_run_members(same)]))


def _scales(moves: Floats) -> Floats:
    """Return the scale of each bar, shape (len(moves) + 1,): the median move of its block, or of all if that
    is larger.
    """
    overall = _median(moves)
    blocks = [_median(moves[start : start + SCALE_BLOCK_BARS]) for start in range(0, len(moves), SCALE_BLOCK_BARS)]
    by_move = np.repeat(np.maximum(np.array(blocks), overall), SCALE_BLOCK_BARS)[: len(moves)]
    return np.concatenate([by_move[:1], by_move])


def _median(values: Floats) -> float:
    """Return what ``np.median`` returns, which loads 9 ms of masked arrays to do so; NaN when there are no values."""
    if not len(values):
        return float("nan")
    middle = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, middle)[middle])
    pair = np.partition(values, [middle - 1, middle])
    return float((pair[middle - 1] + pair[middle]) / 2.0)


def _run_members(same: Mask) -> Integers:
    """Return the bars inside runs of at least STUCK_BARS_MIN equal ones; ``same[i]`` says that bar i+1 equals
    bar i.
    """
    edges = np.diff(np.concatenate([[False], same, [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    members = [
        np.arange(start, end + 1) for start, end in zip(starts, ends, strict=True) if end - start + 1 >= STUCK_BARS_MIN
    ]
    return np.concatenate(members) if members else _NONE


def _revisions(raw: RawBars, earlier: Bars) -> Integers:
    """Return positions of rows that an earlier import also had, with other values."""
    place = np.searchsorted(earlier.open_time, raw.open_time)
    inside = place < len(earlier)
    place = np.minimum(place, len(earlier) - 1)
    inside &= earlier.open_time[place] == raw.open_time
    differs = np.zeros(len(raw), dtype=np.bool_)
    for name in FIELDS:
        differs |= getattr(raw, name) != getattr(earlier, name)[place]
    return np.flatnonzero(inside & differs)


def _told(raw: RawBars, kind: str, positions: Integers, bar_ms: int, missing: int) -> Finding:
    count = missing if kind == "gaps" else len(positions)
    places = tuple(
        Place(
            raw.sources[int(raw.source_of_row[position])].name if raw.sources else "",
            int(raw.row[position]),
            iso_time(int(raw.open_time[position])),
        )
        for position in positions[:FIRST_ROWS]
    )
    where = f"row {places[0].row} ({places[0].time})"
    position = int(positions[0])
    prices = ", ".join(f"{name} {float(getattr(raw, name)[position])!r}" for name in FIELDS)
    message = {
        "not_a_number": f"{count} row(s) hold a value that is missing or not finite, first {where}: {prices}",
        "non_positive_price": f"{count} row(s) have a price of zero or less, first {where}: {prices}",
        "negative_volume": (
            f"{count} row(s) have a negative volume, first {where}: volume {float(raw.volume[position])!r}"
        ),
        "impossible_bar": (
            f"{count} row(s) cannot be: the high must be the highest and the low the lowest "
            f"price; first {where}: {prices}"
        ),
        "conflicting_duplicates": f"{count} row(s) repeat a time with other values, first {where}",
        "mixed_units": f"{count} row(s) have their time in another unit than the rest, first {where}",
        "off_grid": f"{count} row(s) do not open on a bar boundary, first {where}; is the timeframe right?",
        "gaps": f"{count} bar(s) are missing in {len(positions)} gap(s), the first before {where}",
        "identical_duplicates": f"{count} row(s) repeat an earlier row exactly, first {where}",
        "disorder": f"{count} row(s) are older than the row before, first {where}",
        "unclosed_last_bar": f"{count} bar(s) are not closed yet, first {where}",
        "zero_volume": f"{count} bar(s) without any trade, first {where}",
        "outliers": (f"{count} bar(s) with a spike, wick or jump far beyond the usual, first {where}: {prices}"),
        "stuck_feed": f"{count} bar(s) repeat the bar before, traded volume included, first {where}",
        "unit_switch": f"times are milliseconds before 2025-01-01 and microseconds from {where} on",
        "revisions": f"{count} row(s) differ from the earlier import, first {where}",
    }[kind]
    return Finding(kind, SEVERITY[kind], count, message, places)
