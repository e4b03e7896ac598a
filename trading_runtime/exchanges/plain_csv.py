"""The plainest candle file, read with numpy alone: ``time,open,high,low,close,volume``, commas, one row per bar.

Any other layout is left to ``data/readers.py``, which knows many and loads pyarrow. What is read here is the same, to
the last bit, and passes the same checks.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np

from trading_runtime.core.bars import FIELDS, Bars, Floats
from trading_runtime.core.instruments import split_symbol
from trading_runtime.core.timeframes import timeframe_ms

_HEADER = b"time,open,high,low,close,volume"
_COLUMNS = 6
# Digits, ISO times, signs, exponents and line ends, and no blank or plus before or after a comma: nothing that float()
# would read and a CSV reader would not.
_PLAIN = re.compile(rb"[0-9A-Za-z.,:+\- \n]*")
_BLANKS = re.compile(rb",[ +]| [,\n]")


def read_plain_csv(path: Path, symbol: str | None = None, timeframe: str | None = None) -> Bars | None:
    """Return the bars of a plain CSV; None when the file is anything else, or its bars are not good enough by the rules
    of ``data/quality.py``: that is then for ``data/files.py`` to read or refuse, in its words.
    """
    if path.suffix.lower() != ".csv" or path.with_name(path.name + ".CHECKSUM").exists():
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None  # the general reader says what is wrong with it
    header, _, body = content.replace(b"\r\n", b"\n").partition(b"\n")
    body = body.rstrip(b"\n")
    if header.lower() != _HEADER or not body or not _PLAIN.fullmatch(body) or _BLANKS.search(body):
        return None
    rows = body.count(b"\n") + 1
    if any(line.count(b",") != _COLUMNS - 1 for line in body.split(b"\n")):
        return None
    fields = body.replace(b"\n", b",").split(b",")
    columns: dict[str, Floats] = {}
    try:
        for position, name in enumerate(FIELDS, start=1):
            columns[name] = np.array(list(map(float, fields[position::_COLUMNS])), dtype=np.float64)
    except ValueError:
        return None

    from trading_runtime.data.findings import GRADE_DEFAULT, is_below
    from trading_runtime.data.names import guess_from_name
    from trading_runtime.data.quality import assess
    from trading_runtime.data.raw import RawBars, Source, common_timeframe
    from trading_runtime.data.times import Times, times_from_integers, times_from_texts

    where = str(path)
    lines = np.arange(2, rows + 2, dtype=np.int64)
    written = fields[0::_COLUMNS]
    times: Times
    if all(map(bytes.isdigit, written)):
        times = times_from_integers(np.array(list(map(int, written)), dtype=np.int64), lines, where)
    else:
        times = times_from_texts([text.decode("ascii") for text in written], lines, where)
    ascending = bool((np.diff(times.milliseconds) > 0).all())
    if len(times.other_unit) or len(times.fractional) or times.switched or not ascending:
        return None  # flaws that the general reader reports, and newest-first files, which it turns around
    guess = guess_from_name(path, timeframe_given=timeframe is not None)
    symbol, timeframe = symbol or guess.symbol, timeframe or guess.timeframe or common_timeframe(times.milliseconds)
    if symbol is None or timeframe is None:
        return None
    split_symbol(symbol)
    raw = RawBars(
        sources=(Source(path.name, hashlib.sha256(content).hexdigest(), rows),),
        symbol=symbol,
        timeframe=timeframe,
        open_time=times.milliseconds,
        open=columns["open"],
        high=columns["high"],
        low=columns["low"],
        close=columns["close"],
        volume=columns["volume"],
        row=lines,
        source_of_row=np.zeros(rows, dtype=np.int64),
    )
    report = assess(raw, timeframe_ms(timeframe))
    if is_below(report.grade, GRADE_DEFAULT) or any(finding.severity != "warning" for finding in report.findings):
        return None
    return raw.to_bars(symbol, timeframe)
