"""Candles as one blob, and hashes of any part of them.

A blob is a line of JSON and then the columns as little-endian numbers: its bytes depend on the bars alone, not on the
version of a library, and a worker reads it without loading one.
"""

from __future__ import annotations

import json

import numpy as np

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import BarsError, DataError
from trading_runtime.core.hashing import array_hash, canonical_json, json_hash

FORMAT = 1
BLOCK_BARS = 4096


def candle_bytes(bars: Bars) -> bytes:
    """Return the blob of ``bars``; equal bars give equal bytes."""
    header = {"format": FORMAT, "rows": len(bars), "symbol": bars.symbol, "timeframe": bars.timeframe}
    columns = [bars.open_time.astype("<i8", copy=False).tobytes()]
    columns += [getattr(bars, name).astype("<f8", copy=False).tobytes() for name in FIELDS]
    return b"".join([canonical_json(header), b"\n", *columns])


def read_candles(content: bytes, where: str) -> Bars:
    """Return the bars of a blob; raises DataError when it is none, or of a newer format."""
    line, _, body = content.partition(b"\n")
    try:
        header = json.loads(line)
        version, rows = header["format"], int(header["rows"])
        symbol, timeframe = str(header["symbol"]), str(header["timeframe"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{where}: is no blob of candles") from None
    if version != FORMAT:
        raise DataError(f"{where}: candles of format {version}, this program reads {FORMAT}")
    if len(body) != 8 * rows * (1 + len(FIELDS)):
        raise DataError(f"{where}: {len(body)} bytes of candles do not make {rows} rows")
    times = np.frombuffer(body, "<i8", rows)
    columns = [np.frombuffer(body, "<f8", rows, 8 * rows * (1 + index)) for index in range(len(FIELDS))]
    try:
        return Bars(symbol, timeframe, times.astype(np.int64), *(column.astype(np.float64) for column in columns))
    except BarsError as error:
        raise DataError(f"{where}: {error}") from error


class CandleHashes:
    """Hashes of any stretch of one symbol's bars, at the cost of its edges.

    Bars are hashed in blocks that begin at whole multiples of ``BLOCK_BARS`` bars since 1970, so that the hash of a
    stretch depends on its bars alone and not on the file they came from.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._first = int(bars.open_time[0]) // bars.bar_ms
        self._blocks: dict[int, str] = {}

    def between(self, start: int, stop: int) -> str:
        """Return the SHA-256 that names rows ``start`` to ``stop`` (exclusive) with their symbol and timeframe."""
        bars, parts = self._bars, list[str]()
        row = start
        while row < stop:
            number = (self._first + row) // BLOCK_BARS
            end = min(stop, (number + 1) * BLOCK_BARS - self._first)
            if end - row < BLOCK_BARS:
                parts.append(self._hash(row, end))
            else:
                if number not in self._blocks:
                    self._blocks[number] = self._hash(row, end)
                parts.append(self._blocks[number])
            row = end
        return json_hash([bars.symbol, bars.timeframe, parts])

    def _hash(self, start: int, stop: int) -> str:
        bars = self._bars
        return array_hash(bars.open_time[start:stop], *(getattr(bars, name)[start:stop] for name in FIELDS))


def first_difference(one: Bars, other: Bars) -> int | None:
    """Return the open time of the first bar in which two series differ, None when they are equal."""
    if one.timeframe != other.timeframe:
        return min(int(one.open_time[0]), int(other.open_time[0]))
    start = max(int(one.open_time[0]), int(other.open_time[0]))
    if int(one.open_time[0]) != int(other.open_time[0]):
        return min(int(one.open_time[0]), int(other.open_time[0]))
    rows = min(len(one), len(other))
    differs = np.zeros(rows, dtype=np.bool_)
    for name in FIELDS:
        differs |= getattr(one, name)[:rows] != getattr(other, name)[:rows]
    if differs.any():
        return start + int(np.argmax(differs)) * one.bar_ms
    return None if len(one) == len(other) else start + rows * one.bar_ms
