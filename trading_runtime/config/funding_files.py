"""Funding rates from a CSV file with the columns ``time`` and ``rate``, in rising order of time.

Small files that people export from an exchange; read with the standard library, so that every error has its
line. What the rates do is decided in ``backtest/market.py``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from pathlib import Path
from typing import Any

from trading_runtime.backtest.market import FundingRate
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.timeframes import iso_time, parse_time

# Times written as numbers are told apart by size, as everywhere: 2000-01-01 to 2100-01-01 in seconds and in
# milliseconds.
_SECONDS = range(946_684_800, 4_102_444_801)
_MILLISECONDS = range(946_684_800_000, 4_102_444_800_001)


def read_funding_file(path: Path, symbol: str) -> tuple[list[FundingRate], dict[str, Any]]:
    """Return the rates of a file and a manifest that names its content. Raises DataError with the line for
    anything wrong.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file (funding.{symbol}.path)") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save the funding rates as CSV") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: not CSV: {error}") from None
    names = [name.strip().lower() for name in rows[0][1]] if rows else []
    if "time" not in names or "rate" not in names:
        raise DataError(
            f"{path}: the first line must name the columns time and rate, not {', '.join(names) or 'nothing'}"
        )
    time_column, rate_column = names.index("time"), names.index("rate")
    rates: list[FundingRate] = []
    for line, row in rows[1:]:
        where = f"{path}: line {line}"
        if len(row) != len(names):
            raise DataError(f"{where}: has {len(row)} values, the header has {len(names)}")
        found = FundingRate(_time(row[time_column].strip(), where), _rate(row[rate_column].strip(), where))
        if rates and found.time_ms <= rates[-1].time_ms:
            raise DataError(f"{where}: {iso_time(found.time_ms)} is not later than the line before")
        rates.append(found)
    if not rates:
        raise DataError(f"{path}: holds no rates")
    manifest = {
        "kind": "funding",
        "symbol": symbol,
        "source": path.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": len(rates),
        "first_time": iso_time(rates[0].time_ms),
        "last_time": iso_time(rates[-1].time_ms),
    }
    return rates, manifest


def _time(text: str, where: str) -> int:
    if text.isascii() and text.isdigit() and len(text) > 8:
        number = int(text) if len(text) < 20 else 0
        if number in _SECONDS:
            return number * 1_000
        if number in _MILLISECONDS:
            return number
        raise DataError(f"{where}: {text} is no time in seconds or milliseconds between 2000 and 2100")
    try:
        return parse_time(text)
    except ConfigurationError as error:
        raise DataError(f"{where}: {error}") from None


def _rate(text: str, where: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        raise DataError(f"{where}: rate {text!r} is not a number") from None
    if not math.isfinite(rate) or not -1.0 < rate < 1.0:
        raise DataError(f"{where}: rate {text} is not a fraction between -1 and 1 (0.0001 is 0.01 %)")
    return rate
