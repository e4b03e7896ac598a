"""CSV candles: delimiter, header and line numbers found out here, values parsed by pyarrow on one thread.

One thread, because only then does pyarrow say in which row it failed; what it reads does not depend on
threads. Files are opened elsewhere (``data/readers.py``): this file sees bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trading_runtime.core.bars import Integers
from trading_runtime.core.errors import DataError
from trading_runtime.data.columns import raw_from_table
from trading_runtime.data.layout import Layout, headerless_layout, named_layout
from trading_runtime.data.raw import RawBars, Source

# The comma last: between semicolons it may be the decimal point.
_DELIMITERS = ("\t", ";", "|", ",")
# Titles, addresses and comments before the header: CryptoDataDownload writes one line, others a few.
_TITLE_LINES_MAX = 8
_COLUMNS_MIN = 6
_HEAD_BYTES = 65_536


@dataclass(frozen=True)
class _Shape:
    """How a text is laid out: ``skipped`` lines before the data, of which the last is the header if there is
    one.
    """

    delimiter: str
    names: tuple[str, ...]
    has_header: bool
    skipped: int
    decimal_point: str
    notes: tuple[str, ...]


def read_csv(
    content: bytes,
    *,
    source_name: str,
    sha256: str,
    symbol: str | None,
    likely_symbol: str | None,
    timeframe: str | None,
    overrides: Mapping[str, str],
    time_unit: str | None,
    where: str,
) -> RawBars:
    """Return the rows of a CSV text as RawBars; ``where`` names the file in messages, ``likely_symbol`` tells
    volume columns apart.

    Raises DataError, with the line, for an unknown layout, a value that is not a number or a line of another
    length.
    """
    import pyarrow as pa
    import pyarrow.csv

    content = _decoded(content, where)
    shape = _shape(content, where)
    if shape.has_header:
        layout = named_layout(shape.names, overrides, likely_symbol, where)
    else:
        layout = headerless_layout(len(shape.names), overrides, where)
    wanted = _wanted(layout)
    keys = [str(position) for position in range(len(shape.names))]
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(use_threads=False, column_names=keys, skip_rows=shape.skipped),
            parse_options=pyarrow.csv.ParseOptions(delimiter=shape.delimiter),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=[keys[position] for position in wanted],
                column_types={keys[position]: pa.float64() for position in layout.fields},
                decimal_point=shape.decimal_point,
                timestamp_parsers=[pyarrow.csv.ISO8601],
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(_told(str(error), content, shape, where)) from None
    lines = _line_numbers(content, shape.skipped, table.num_rows)
    place = {position: index for index, position in enumerate(wanted)}
    narrowed = Layout(
        times=tuple(place[position] for position in layout.times),
        fields=tuple(place[position] for position in layout.fields),
        symbol=None if layout.symbol is None else place[layout.symbol],
        notes=(*shape.notes, *layout.notes),
    )
    return raw_from_table(
        table,
        narrowed,
        names=[shape.names[position] if shape.has_header else str(position + 1) for position in wanted],
        rows=lines,
        source=Source(source_name, sha256, table.num_rows),
        symbol=symbol,
        timeframe=timeframe,
        time_unit=time_unit,
        where=where,
    )


def _decoded(content: bytes, where: str) -> bytes:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{where}: the text is UTF-16; save it as UTF-8")
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\x00" in content[:_HEAD_BYTES]:
        raise DataError(f"{where}: not a text and no format that is known (CSV, zip, gzip, Parquet, feather, JSON)")
    if not content.strip():
        raise DataError(f"{where}: the file is empty")
    return content


def _shape(content: bytes, where: str) -> _Shape:
    head = content[:_HEAD_BYTES].decode("utf-8", errors="replace").splitlines()[: _TITLE_LINES_MAX + 2]
    splits = (mark for mark in _DELIMITERS if any(line.count(mark) >= _COLUMNS_MIN - 1 for line in head))
    delimiter = next(splits, ",")
    for skipped, line in enumerate(head):
        fields = [field.strip().strip('"') for field in line.split(delimiter)]
        if len(fields) < _COLUMNS_MIN or line.startswith("#"):
            continue
        has_header = not any(_is_number(field) for field in fields)
        after = head[skipped + 1] if has_header and skipped + 1 < len(head) else line
        comma = delimiter != "," and re.search(r"\d,\d", after) is not None and "." not in re.sub(r"\d{4}\.", "", after)
        notes = (f"{skipped} line(s) before the {'header' if has_header else 'data'} skipped",) if skipped else ()
        return _Shape(delimiter, tuple(fields), has_header, skipped + int(has_header), "," if comma else ".", notes)
    found = head[0][:120] if head else ""
    raise DataError(
        f"{where}: no table of candles: time, open, high, low, close and volume are needed, separated by "
        "comma, semicolon or tab; "
        f"the first line is {found!r}"
    )


def _wanted(layout: Layout) -> list[int]:
    chosen = [*layout.times, *layout.fields, *([] if layout.symbol is None else [layout.symbol])]
    return sorted(set(chosen))


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _line_numbers(content: bytes, skipped: int, count: int) -> Integers:
    """Return the line of each row, counted from 1; empty lines, which the parser passes over, are counted
    too.
    """
    plain = np.arange(skipped + 1, skipped + 1 + count, dtype=np.int64)
    if not _has_empty_lines(content):
        return plain
    filled = [number for number, line in enumerate(content.splitlines(), start=1) if number > skipped and line]
    return np.array(filled[:count], dtype=np.int64)


def _has_empty_lines(content: bytes) -> bool:
    body = content.rstrip(b"\r\n")
    return b"\n\n" in body or b"\n\r\n" in body


def _told(message: str, content: bytes, shape: _Shape, where: str) -> str:
    """Return pyarrow's complaint as one line that names the line of the file and the column's own name."""
    match = re.search(
        r"CSV column #(\d+): (?:Row #(\d+): )?CSV conversion error to (\w+): invalid value '(.*)'",
        message,
        re.DOTALL,
    )
    if match:
        # pyarrow numbers the columns of the file, not of the selection.
        index = int(match.group(1))
        name = shape.names[index] if shape.has_header and index < len(shape.names) else str(index + 1)
        value = match.group(4)[:60]
        return (
            f"{where}: row {_line(match.group(2), content, shape)}: column {name!r} holds {value!r}, "
            "which is not a number"
        )
    match = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", message)
    if match:
        line = _line(match.group(1), content, shape)
        return (
            f"{where}: row {line} has {match.group(3)} columns instead of {match.group(2)}: is the file "
            "cut off or damaged there?"
        )
    if "Could not skip initial" in message or "Empty CSV file" in message:
        return f"{where}: there are no rows under the header"
    first_line = message.splitlines()[0] if message else "unreadable"
    return f"{where}: not a readable CSV: {first_line}"


def _line(number: str | None, content: bytes, shape: _Shape) -> str:
    """Return the line of pyarrow's row number, which counts from 1 over the lines that are not empty."""
    if number is None:
        return "?"
    row = int(number)
    if not _has_empty_lines(content):
        return str(row)
    filled = [
        position for position, line in enumerate(content.splitlines(), start=1) if line or position <= shape.skipped
    ]
    return str(filled[row - 1]) if row <= len(filled) else number
