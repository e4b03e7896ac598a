"""Column layouts: which column of a foreign table is the open time, which are prices, which is the volume.

Only names are decided here; values are read in ``data/columns.py``. A name that could mean two things is
refused with the columns found and how to say which one is meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trading_runtime.core.bars import FIELDS
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.data.names import QUOTES

# Names seen in the wild, normalised (lower case, words joined by _). The first that is present wins, except
# for times.
_TIME_NAMES = (
    *(
        "open_time",
        "open_time_ms",
        "opentime",
        "open_timestamp",
        "timestamp",
        "timestamp_ms",
        "unix_timestamp",
        "unix_time",
        "unix",
    ),
    *(
        "time",
        "time_ms",
        "ts",
        "t",
        "epoch",
        "date",
        "datetime",
        "date_time",
        "timestamp_utc",
        "time_utc",
        "date_utc",
        "datetime_utc",
    ),
    *("start", "start_time", "time_period_start", "begin", "candle_begin_time", "kline_open_time"),
)
# An unnamed first column is how pandas writes its index; looked at only when nothing else is a time.
_INDEX_NAMES = ("", "index", "index_level_0", "unnamed_0")
_FIELD_NAMES: dict[str, tuple[str, ...]] = {
    "open": ("open", "o", "open_price", "price_open", "opening_price"),
    "high": ("high", "h", "high_price", "price_high", "max", "highest_price"),
    "low": ("low", "l", "low_price", "price_low", "min", "lowest_price"),
    "close": ("close", "c", "close_price", "price_close", "closing_price", "last"),
    "volume": (
        "volume",
        "v",
        "vol",
        "base_volume",
        "volume_base",
        "basevolume",
        "base_asset_volume",
        "volume_traded",
        "baseassetvolume",
    ),
}
_SYMBOL_NAMES = ("symbol", "pair", "ticker", "market", "instrument")
# Headerless layouts by number of columns, all beginning with time, open, high, low, close, volume: ccxt and
# freqtrade lists (6), Kraken's OHLCVT downloads (7), Binance klines (12).
HEADERLESS_COLUMNS = (6, 7, 12)


@dataclass(frozen=True)
class Layout:
    """Positions of columns: ``times`` are candidates (at least one), ``fields`` the five of FIELDS,
    ``symbol`` may be None.
    """

    times: tuple[int, ...]
    fields: tuple[int, ...]
    symbol: int | None
    notes: tuple[str, ...] = ()


def headerless_layout(count: int, overrides: Mapping[str, str], where: str) -> Layout:
    """Return the layout of a table without a header; overrides name columns by their number from 1.

    Raises DataError for a number of columns that no known source writes and that is not mapped.
    """
    if not overrides and count not in HEADERLESS_COLUMNS:
        raise DataError(
            f"{where}: no header and {count} columns, which is no known layout; number the columns from 1: "
            "--column time=1 --column open=2 --column high=3 --column low=4 --column close=5 --column "
            "volume=6"
        )
    chosen = {name: position + 1 for position, name in enumerate(("time", *FIELDS))}
    for name, text in _checked(overrides).items():
        if not text.isdigit() or not 1 <= int(text) <= count:
            raise ConfigurationError(
                f"{where}: --column {name}={text}: there is no header; give a number from 1 to {count}"
            )
        chosen[name] = int(text)
    if max(chosen.values()) > count:
        raise DataError(
            f"{where}: no header and only {count} columns; time, open, high, low, close and volume are needed"
        )
    note = f"no header: {count} columns read as time, open, high, low, close, volume"
    notes = () if overrides else (note,)
    return Layout((chosen["time"] - 1,), tuple(chosen[name] - 1 for name in FIELDS), None, notes)


def named_layout(names: Sequence[str], overrides: Mapping[str, str], symbol: str | None, where: str) -> Layout:
    """Return the layout of a table with the column ``names``; overrides map time, open, high, low, close or
    volume to a name.

    Raises DataError naming what is missing or ambiguous and the columns found, ConfigurationError for a wrong
    override.
    """
    plain = [normal_name(name) for name in names]
    checked = _checked(overrides)
    chosen: dict[str, int] = {}
    for key, text in checked.items():
        matches = [position for position, name in enumerate(names) if name.strip().lower() == text.lower()]
        if not matches and text.isdigit() and 1 <= int(text) <= len(names):
            matches = [int(text) - 1]
        if not matches:
            raise ConfigurationError(
                f"{where}: --column {key}={text}: there is no such column (found: {', '.join(names)})"
            )
        chosen[key] = matches[0]
    missing: list[str] = []
    for key in FIELDS:
        if key in chosen:
            continue
        position = _first(plain, _FIELD_NAMES[key])
        if position is None and key == "volume":
            position = _volume(plain, symbol)
        if position is None:
            missing.append(key)
        else:
            chosen[key] = position
    times = (chosen["time"],) if "time" in chosen else tuple(p for p, name in enumerate(plain) if name in _TIME_NAMES)
    if not times:
        times = tuple(p for p, name in enumerate(plain) if name in _INDEX_NAMES)[:1]
    if not times:
        missing.insert(0, "time")
    if missing:
        example = " ".join(f"--column {name}=NAME" for name in missing)
        raise DataError(f"{where}: no column for {', '.join(missing)} (found: {', '.join(names)}); map with {example}")
    fields = tuple(chosen[name] for name in FIELDS)
    mapped = ", ".join(
        f"{name} from {names[position]!r}"
        for name, position in zip(FIELDS, fields, strict=True)
        if names[position] != name
    )
    return Layout(times, fields, _first(plain, _SYMBOL_NAMES), (f"columns: {mapped}",) if mapped else ())


def normal_name(name: str) -> str:
    """Return a name in lower case with words joined by one underscore: ``Volume (BTC)`` is volume_btc."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def _first(plain: Sequence[str], wanted: Sequence[str]) -> int | None:
    """Return where the first of the ``wanted`` names stands."""
    return next((plain.index(name) for name in wanted if name in plain), None)


def _volume(plain: Sequence[str], symbol: str | None) -> int | None:
    """Return the volume in the base currency among columns such as volume_btc and volume_usdt, or None if
    that is not clear.
    """
    units = {position: name[len("volume_") :] for position, name in enumerate(plain) if name.startswith("volume_")}
    if symbol is not None:
        base = symbol.partition("/")[0].lower()
        named = [position for position, unit in units.items() if unit == base]
        if named:
            return named[0]
    money = {quote.lower() for quote in QUOTES} - {
        "btc",
        "xbt",
        "eth",
        "bnb",
        "sol",
        "xrp",
        "trx",
        "doge",
        "dot",
    }
    coins = [
        position
        for position, unit in units.items()
        if unit not in money and unit not in ("currency", "quote", "from", "to")
    ]
    return coins[0] if len(coins) == 1 else None


def _checked(overrides: Mapping[str, str]) -> Mapping[str, str]:
    for name in overrides:
        if name not in ("time", *FIELDS):
            raise ConfigurationError(f"--column {name}=...: unknown name (known: time, {', '.join(FIELDS)})")
    return overrides
