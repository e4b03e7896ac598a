"""Repair: what may be mended in raw bars, and the list of what was done, for the manifest.

Sorting, dropping identical duplicates and dropping bars that are not closed lose nothing and are always done.
Filling gaps invents bars and dropping bad rows loses some: both only happen when asked for. A conflict is
never resolved by choosing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from trading_runtime.core.bars import Floats, Integers
from trading_runtime.core.errors import BarsError
from trading_runtime.core.timeframes import iso_time
from trading_runtime.data.findings import SEVERITY, QualityReport
from trading_runtime.data.raw import ROWS_MAX, RawBars

GapPolicy = Literal["refuse", "fill"]

# Kinds of error whose rows can be left out one by one.
DROPPABLE = tuple(kind for kind, severity in SEVERITY.items() if severity == "error")


@dataclass(frozen=True)
class Repair:
    """One thing that was done, to how many rows, and the open time of the first of them (ISO UTC)."""

    action: str
    count: int
    first_time: str

    def to_json(self) -> dict[str, Any]:
        """Return the repair as plain data."""
        return {"action": self.action, "count": self.count, "first_time": self.first_time}


def repair(
    raw: RawBars, report: QualityReport, bar_ms: int, *, gaps: GapPolicy = "refuse", drop: Sequence[str] = ()
) -> tuple[RawBars, tuple[Repair, ...]]:
    """Return ``raw`` mended and what was done; ``report`` must be of these very rows.

    ``drop`` names kinds of error (see DROPPABLE) whose rows are left out; of conflicting duplicates, all rows
    of that time. ``gaps="fill"`` inserts flat bars: the close before, volume 0. Raises BarsError when nothing
    is left or a gap is absurdly long.
    """
    keep = np.ones(len(raw), dtype=np.bool_)
    done: list[Repair] = []
    for kind in (*drop, "unclosed_last_bar", "identical_duplicates"):
        positions = report.positions.get(kind)
        if positions is None:
            continue
        if kind == "conflicting_duplicates":
            positions = np.flatnonzero(np.isin(raw.open_time, raw.open_time[positions]))
        positions = positions[keep[positions]]
        if len(positions):
            keep[positions] = False
            done.append(Repair(f"dropped {kind}", len(positions), iso_time(int(raw.open_time[positions[0]]))))
    kept = np.flatnonzero(keep)
    if not len(kept):
        raise BarsError(f"{raw.name}: no row is left after dropping what is wrong")
    times = raw.open_time[kept]
    if bool((np.diff(times) < 0).any()):
        moved = int(np.count_nonzero(np.diff(times) < 0))
        first = int(kept[int(np.argmax(np.diff(times) < 0)) + 1])
        done.append(Repair("sorted by time", moved, iso_time(int(raw.open_time[first]))))
        kept = kept[np.argsort(times, kind="stable")]
    mended = raw.take(kept)
    if gaps == "fill":
        mended, filled = _filled(mended, bar_ms)
        done.extend(filled)
    return mended, tuple(done)


def _filled(raw: RawBars, bar_ms: int) -> tuple[RawBars, list[Repair]]:
    """Return sorted rows with flat bars in the gaps; inserted rows carry row number 0."""
    steps = np.diff(raw.open_time)
    missing = np.maximum(steps // bar_ms - 1, 0)
    total = int(missing.sum())
    if total == 0 or bool((steps % bar_ms != 0).any()):
        return raw, []
    if total + len(raw) > ROWS_MAX:
        raise BarsError(
            f"{raw.name}: {total} bars are missing, which is more than can be filled; are the open times right?"
        )
    repeats = np.concatenate([missing + 1, [1]])
    origin = np.repeat(np.arange(len(raw), dtype=np.int64), repeats)
    starts = np.cumsum(repeats) - repeats
    offset = np.arange(len(origin), dtype=np.int64) - starts[origin]
    is_new = offset > 0
    close = raw.close[origin]

    def flat(column: Floats) -> Floats:
        return np.where(is_new, close, column[origin])

    row: Integers = np.where(is_new, 0, raw.row[origin])
    open_time: Integers = raw.open_time[origin] + offset * bar_ms
    filled = replace(
        raw,
        open_time=open_time,
        open=flat(raw.open),
        high=flat(raw.high),
        low=flat(raw.low),
        close=close,
        volume=np.where(is_new, 0.0, raw.volume[origin]),
        row=row,
        source_of_row=raw.source_of_row[origin],
        flaws={},
    )
    first = iso_time(int(open_time[int(np.argmax(is_new))]))
    return filled, [Repair("filled gaps with flat bars", total, first)]
