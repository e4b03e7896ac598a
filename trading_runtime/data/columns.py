"""Values of Arrow tables as numpy columns, and the one step every reader shares: a table and its layout
become RawBars.

Buffers are read directly: ``to_numpy`` of pyarrow imports pandas wherever that is installed, which costs more
than reading the file. Files and column names are decided elsewhere (``data/readers.py``, ``data/layout.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trading_runtime.core.bars import FIELDS, Floats, Integers
from trading_runtime.core.errors import DataError
from trading_runtime.core.timeframes import DAY_MS, iso_time
from trading_runtime.data.layout import Layout
from trading_runtime.data.names import symbol_of_text
from trading_runtime.data.raw import ROWS_MAX, RawBars, Source
from trading_runtime.data.times import (
    ARCHIVE_SWITCH_MS,
    Times,
    times_from_floats,
    times_from_integers,
    times_from_texts,
)

if TYPE_CHECKING:
    import pyarrow as pa

_UNIT_OF_ARROW = {"s": "s", "ms": "ms", "us": "us", "ns": "ns"}
_NONE = np.zeros(0, dtype=np.int64)


def float_column(column: pa.ChunkedArray, where: str) -> Floats:
    """Return a column as float64 of shape (n,); missing values become NaN. Raises DataError for a column that
    is not numbers.
    """
    import pyarrow as pa

    if column.type == pa.float64():
        return _joined([_values(chunk, np.dtype(np.float64), fill=np.nan) for chunk in column.chunks], np.float64)
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    # floats of other widths, integers, decimals, texts: rare, so the cost of the compute module does not
    # matter
    try:
        return float_column(column.cast(pa.float64()), where)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{where} holds {column.type}, not numbers: {_first_line(error)}") from error


def time_column(column: pa.ChunkedArray, rows: Integers, where: str, unit: str | None) -> Times:
    """Return a column of any type as Times; raises DataError naming the first row without a usable time."""
    import pyarrow as pa

    kind = column.type
    if column.null_count:
        missing = _joined([~_valid(chunk) for chunk in column.chunks], np.bool_)
        raise DataError(f"{where}: row {int(rows[int(np.argmax(missing))])} has no time")
    if pa.types.is_timestamp(kind):
        values = _joined([_values(chunk, np.dtype(np.int64)) for chunk in column.chunks], np.int64)
        times = times_from_integers(values, rows, where, _UNIT_OF_ARROW[kind.unit])
        return Times(times.milliseconds, f"timestamp[{kind.unit}]", _NONE, times.fractional)
    if pa.types.is_date32(kind):
        days = _joined([_values(chunk, np.dtype(np.int32)) for chunk in column.chunks], np.int32)
        return Times(days.astype(np.int64) * DAY_MS, "date", _NONE, _NONE)
    if pa.types.is_date64(kind):
        return Times(
            _joined([_values(chunk, np.dtype(np.int64)) for chunk in column.chunks], np.int64),
            "date",
            _NONE,
            _NONE,
        )
    if pa.types.is_integer(kind):
        wide = column if kind == pa.int64() else column.cast(pa.int64())
        return times_from_integers(
            _joined([_values(chunk, np.dtype(np.int64)) for chunk in wide.chunks], np.int64),
            rows,
            where,
            unit,
        )
    if pa.types.is_floating(kind):
        return times_from_floats(float_column(column, where), rows, where, unit)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return times_from_texts(column.to_pylist(), rows, where)
    raise DataError(f"{where} holds {kind}, which is not a time")


def raw_from_table(
    table: pa.Table,
    layout: Layout,
    *,
    names: Sequence[str],
    rows: Integers,
    source: Source,
    symbol: str | None,
    timeframe: str | None,
    time_unit: str | None,
    where: str,
) -> RawBars:
    """Return the rows of ``table`` (columns chosen by ``layout``) as RawBars; ``rows`` are what people call
    them in the source.

    Newest-first tables are turned around, which is noted. Raises DataError, naming column and row, for values
    that are not numbers or times, time columns that disagree, several symbols in one table, or no rows.
    """
    if table.num_rows == 0:
        raise DataError(f"{where}: there are no rows")
    if table.num_rows > ROWS_MAX:
        raise DataError(f"{where}: {table.num_rows} rows are more than the {ROWS_MAX} that are read")
    times, time_note = _agreed_times(table, layout.times, names, rows, where, time_unit)
    columns = {
        field: float_column(table.column(position), f"{where}: column {names[position]!r}")
        for field, position in zip(FIELDS, layout.fields, strict=True)
    }
    if symbol is None and layout.symbol is not None:
        symbol = _one_symbol(table.column(layout.symbol), where)
    flaws: dict[str, Integers] = {}
    if len(times.other_unit):
        flaws["mixed_units"] = times.other_unit
    if len(times.fractional):
        flaws["off_grid"] = times.fractional
    if times.switched:
        flaws["unit_switch"] = np.flatnonzero(times.milliseconds >= ARCHIVE_SWITCH_MS)[:1]
    notes = [*layout.notes, *([time_note] if time_note else []), f"time unit: {times.unit}"]
    raw = RawBars(
        sources=(source,),
        symbol=symbol,
        timeframe=timeframe,
        open_time=times.milliseconds,
        row=rows,
        source_of_row=np.zeros(len(rows), dtype=np.int64),
        flaws=flaws,
        notes=tuple(notes),
        **columns,
    )
    return _oldest_first(raw)


def _agreed_times(
    table: pa.Table,
    candidates: Sequence[int],
    names: Sequence[str],
    rows: Integers,
    where: str,
    unit: str | None,
) -> tuple[Times, str]:
    """Return the times of the least ambiguous candidate: a number before a timestamp before a text; all must
    agree.
    """
    import pyarrow as pa

    def rank(position: int) -> tuple[int, int]:
        kind = table.column(position).type
        if pa.types.is_integer(kind):
            return 0, position
        if pa.types.is_floating(kind):
            return 1, position
        return (2 if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else 3), position

    ordered = sorted(candidates, key=rank)
    chosen = ordered[0]
    times = time_column(table.column(chosen), rows, f"{where}: column {names[chosen]!r}", unit)
    notes = [f"open time from {names[chosen]!r}"] if len(ordered) > 1 else []
    for position in ordered[1:]:
        try:
            other = time_column(table.column(position), rows, f"{where}: column {names[position]!r}", None)
        except DataError:
            # A second time column in words we do not read cannot contradict the numeric one; it is said, not
            # hidden.
            notes.append(f"column {names[position]!r} was not understood as a time and not compared")
            continue
        wrong = _disagreement(times.milliseconds, other.milliseconds)
        if wrong is not None:
            one, two = iso_time(int(times.milliseconds[wrong])), iso_time(int(other.milliseconds[wrong]))
            raise DataError(
                f"{where}: row {int(rows[wrong])}: columns {names[chosen]!r} ({one}) and {names[position]!r} "
                f"({two}) disagree; "
                f"choose one with --column time={names[chosen]}"
            )
    return times, "; ".join(notes)


def _disagreement(exact: Integers, other: Integers) -> int | None:
    """Return the first position where two columns name different times; a column of whole days need only name
    the day.
    """
    if bool((other % DAY_MS == 0).all()):
        exact = exact // DAY_MS * DAY_MS
    # A text column may leave out what the number has: minutes and seconds may differ by less than a second.
    wrong = np.flatnonzero(np.abs(exact - other) >= 1_000)
    return int(wrong[0]) if len(wrong) else None


def _oldest_first(raw: RawBars) -> RawBars:
    """Turn a newest-first source around; it is an order some sources write, not damage."""
    if len(raw) < 3 or not bool((np.diff(raw.open_time) <= 0).all()) or raw.open_time[0] == raw.open_time[-1]:
        return raw
    turned = raw.take(np.arange(len(raw) - 1, -1, -1, dtype=np.int64))
    return replace(turned, notes=(*raw.notes, "rows were newest first"))


def _one_symbol(column: pa.ChunkedArray, where: str) -> str | None:
    found = {str(value) for value in column.unique().to_pylist() if value is not None}
    if len(found) > 1:
        shown = ", ".join(sorted(found)[:4])
        raise DataError(f"{where}: holds several symbols ({shown}); split it into one file for each")
    return symbol_of_text(found.pop()) if found else None


def _values(chunk: pa.Array, kind: np.dtype[Any], fill: float | None = None) -> npt.NDArray[Any]:
    if len(chunk) == 0:
        return np.zeros(0, dtype=kind)
    values = np.frombuffer(chunk.buffers()[1], dtype=kind, count=len(chunk), offset=chunk.offset * kind.itemsize)
    if fill is not None and chunk.null_count:
        values = np.where(_valid(chunk), values, fill)
    return values


def _valid(chunk: pa.Array) -> npt.NDArray[np.bool_]:
    bits = chunk.buffers()[0]
    if bits is None:
        return np.ones(len(chunk), dtype=np.bool_)
    unpacked = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), bitorder="little")
    return unpacked[chunk.offset : chunk.offset + len(chunk)].astype(np.bool_)


def _joined(parts: Sequence[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    if not parts:
        return np.zeros(0, dtype=kind)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
