"""Candles in Parquet, Arrow feather and JSON lists: opened from bytes, brought into the same columns as a
CSV.

Our own Parquet carries symbol and timeframe in its metadata; freqtrade's feather and JSON carry them in the
file name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from trading_runtime.core.errors import DataError
from trading_runtime.data.columns import raw_from_table
from trading_runtime.data.layout import named_layout
from trading_runtime.data.raw import RawBars, Source
from trading_runtime.data.times import times_from_floats

# Keys of the schema metadata of files this project writes.
SYMBOL_KEY = b"trading_runtime.symbol"
TIMEFRAME_KEY = b"trading_runtime.timeframe"


def read_parquet_table(content: bytes, where: str) -> pa.Table:
    """Return the table of a Parquet file's bytes; raises DataError when it is damaged."""
    # ParquetFile, not read_table: the latter loads the dataset module, which costs more than the file.
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{where}: not a readable Parquet file: {_first_line(error)}") from error


def read_feather_table(content: bytes, where: str) -> pa.Table:
    """Return the table of an Arrow feather (version 2) file's bytes; raises DataError when it is damaged or
    of version 1.
    """
    if content.startswith(b"FEA1"):
        raise DataError(
            f"{where}: a feather file of version 1, which nobody writes any more; save it as version 2 or Parquet"
        )
    try:
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
        table.validate()  # a damaged length would let us read beyond a column's end
        return table
    except (pa.ArrowException, OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{where}: not a readable feather file: {_first_line(error)}") from error


def raw_of_table(
    table: pa.Table,
    *,
    source_name: str,
    sha256: str,
    symbol: str | None,
    timeframe: str | None,
    overrides: Mapping[str, str],
    time_unit: str | None,
    where: str,
) -> RawBars:
    """Return a Parquet or feather table as RawBars; raises DataError for an unknown layout or values that are
    not numbers.
    """
    metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
    if SYMBOL_KEY in metadata and TIMEFRAME_KEY in metadata:
        symbol = symbol or metadata[SYMBOL_KEY].decode(errors="replace")
        timeframe = timeframe or metadata[TIMEFRAME_KEY].decode(errors="replace")
        time_unit = "ms"
    try:
        names = [" ".join(str(name).split()) for name in table.column_names]
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: a column name is not UTF-8 text; the file is damaged") from error
    return raw_from_table(
        table,
        named_layout(names, overrides, symbol, where),
        names=names,
        rows=np.arange(1, table.num_rows + 1, dtype=np.int64),
        source=Source(source_name, sha256, table.num_rows),
        symbol=symbol,
        timeframe=timeframe,
        time_unit=time_unit,
        where=where,
    )


def read_json(
    content: bytes,
    *,
    source_name: str,
    sha256: str,
    symbol: str | None,
    timeframe: str | None,
    time_unit: str | None,
    where: str,
) -> RawBars:
    """Return a JSON list of [time, open, high, low, close, volume, ...] (freqtrade, ccxt, Binance's API) as
    RawBars.

    Raises DataError naming the row that is not such a list.
    """
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not readable JSON: {_first_line(error)}") from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{where}: a list of [time, open, high, low, close, volume] is needed, and this is not one")
    values = np.empty((len(rows), 6), dtype=np.float64)
    for number, row in enumerate(rows, start=1):
        try:
            values[number - 1] = [float("nan") if value is None else float(value) for value in row[:6]]
        except (TypeError, ValueError, KeyError):
            raise DataError(
                f"{where}: row {number} is not [time, open, high, low, close, volume]: {str(row)[:80]}"
            ) from None
    numbers = np.arange(1, len(rows) + 1, dtype=np.int64)
    # Nanoseconds do not fit a float64; nobody writes them in such lists.
    times = times_from_floats(values[:, 0], numbers, where, time_unit)
    flaws = {"mixed_units": times.other_unit, "off_grid": times.fractional}
    return RawBars(
        sources=(Source(source_name, sha256, len(rows)),),
        symbol=symbol,
        timeframe=timeframe,
        open_time=times.milliseconds,
        open=values[:, 1].copy(),
        high=values[:, 2].copy(),
        low=values[:, 3].copy(),
        close=values[:, 4].copy(),
        volume=values[:, 5].copy(),
        row=numbers,
        source_of_row=np.zeros(len(rows), dtype=np.int64),
        flaws={kind: positions for kind, positions in flaws.items() if len(positions)},
        notes=(f"time unit: {times.unit}",),
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
