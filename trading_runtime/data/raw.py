"""Raw bars: candles as a source wrote them, in columns, before anybody has judged them.

Every reader ends in a ``RawBars``; ``data/quality.py`` judges it and ``data/repair.py`` mends it. Nothing in
this file reads files, and nothing here refuses bad values: rows may be disordered, doubled, missing or
impossible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from trading_runtime.core.bars import FIELDS, Bars, Floats, Integers
from trading_runtime.core.errors import DataError
from trading_runtime.core.timeframes import iso_time, timeframe_of

# A hundred years of minutes; more rows than that are a mistake, not a market.
ROWS_MAX = 60_000_000


@dataclass(frozen=True)
class Source:
    """Where rows came from: the name of a file or exchange (never a path), the SHA-256 of its bytes, its
    rows.
    """

    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, eq=False)
class RawBars:
    """Candles of one symbol as read; every column has shape (n,), times are milliseconds UTC.

    ``row`` holds what a person finds in the source: the line number in a text file, the record number (from
    1) elsewhere. ``source_of_row`` indexes ``sources``. ``flaws`` maps a finding's kind to the positions (0
    to n-1) where the reader itself saw it. ``notes`` says what was detected or assumed: units, columns,
    order.
    """

    sources: tuple[Source, ...]
    symbol: str | None
    timeframe: str | None
    open_time: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    row: Integers
    source_of_row: Integers
    flaws: Mapping[str, Integers] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.open_time)

    @property
    def name(self) -> str:
        """What to call these bars in a message: the source's name, or the first and how many more."""
        first = self.sources[0].name if self.sources else "bars"
        return first if len(self.sources) < 2 else f"{first} and {len(self.sources) - 1} more"

    def take(self, positions: npt.NDArray[np.int64]) -> RawBars:
        """Return the rows at ``positions``, in that order; flaws follow their rows."""
        flaws: dict[str, Integers] = {}
        for kind, flawed in self.flaws.items():
            marked = np.zeros(len(self), dtype=np.bool_)
            marked[flawed] = True
            flaws[kind] = np.flatnonzero(marked[positions])
        columns = {name: getattr(self, name)[positions] for name in ("open_time", *FIELDS, "row", "source_of_row")}
        return replace(self, flaws=flaws, **columns)

    def to_bars(self, symbol: str, timeframe: str) -> Bars:
        """Return checked Bars; raises BarsError, naming the row, when the rows are not fit for any engine."""
        return Bars(symbol, timeframe, self.open_time, *(getattr(self, name) for name in FIELDS))


def raw_of_bars(bars: Bars, source: Source) -> RawBars:
    """Return ``bars`` as RawBars of one source: for judging data that an exchange or the generator made."""
    count = len(bars)
    return RawBars(
        sources=(source,),
        symbol=bars.symbol,
        timeframe=bars.timeframe,
        open_time=bars.open_time,
        open=bars.open,
        high=bars.high,
        low=bars.low,
        close=bars.close,
        volume=bars.volume,
        row=np.arange(1, count + 1, dtype=np.int64),
        source_of_row=np.zeros(count, dtype=np.int64),
    )


def join(parts: Sequence[RawBars]) -> RawBars:
    """Return the rows of several sources as one, ordered by each source's earliest time, whatever order they
    came in.

    Raises DataError when the sources disagree about symbol or timeframe, or when there are none.
    """
    if not parts:
        raise DataError("there are no files to join")
    if len(parts) == 1:
        return parts[0]
    for name in ("symbol", "timeframe"):
        known = {getattr(part, name): part.name for part in parts if getattr(part, name) is not None}
        if len(known) > 1:
            (one, where), (other, elsewhere) = list(known.items())[:2]
            raise DataError(f"{where} holds {name} {one} but {elsewhere} holds {other}; import them separately")
    ordered = sorted(parts, key=lambda part: (int(part.open_time.min()), part.name))
    sources: list[Source] = []
    origins: list[Integers] = []
    flaws: dict[str, list[Integers]] = {}
    offset = 0
    for part in ordered:
        origins.append(part.source_of_row + len(sources))
        sources.extend(part.sources)
        for kind, positions in part.flaws.items():
            flaws.setdefault(kind, []).append(positions + offset)
        offset += len(part)
    columns = {
        name: np.concatenate([getattr(part, name) for part in ordered]) for name in ("open_time", *FIELDS, "row")
    }
    return RawBars(
        sources=tuple(sources),
        symbol=next((part.symbol for part in ordered if part.symbol is not None), None),
        timeframe=next((part.timeframe for part in ordered if part.timeframe is not None), None),
        source_of_row=np.concatenate(origins),
        flaws={kind: np.concatenate(positions) for kind, positions in flaws.items()},
        notes=tuple(dict.fromkeys(note for part in ordered for note in part.notes)),
        **columns,
    )


def common_timeframe(open_time: Integers) -> str | None:
    """Return the timeframe of the most frequent positive step between sorted times, or None when it is not a
    timeframe.
    """
    steps = np.diff(np.sort(open_time))
    steps = steps[steps > 0]
    if not len(steps):
        return None
    values, counts = np.unique(steps, return_counts=True)
    return timeframe_of(int(values[np.argmax(counts)]))


def period_text(raw: RawBars) -> str:
    """Return ``2024-01-01T00:00:00Z to 2024-02-01T00:00:00Z``: first and last open time, for messages."""
    return f"{iso_time(int(raw.open_time.min()))} to {iso_time(int(raw.open_time.max()))}"
