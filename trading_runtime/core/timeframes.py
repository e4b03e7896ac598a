"""Timeframes and UTC times: the words users write (``1h``, ``2024-01-01``) and the milliseconds inside.

A bar is stamped by its open time and known from its close time on: ``close_time = open_time + bar_ms``.
All times are integers, milliseconds since 1970-01-01T00:00:00Z. Months are left out on purpose: they have no
fixed length, so a bar's close time would not follow from its open time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from trading_runtime.core.errors import ConfigurationError, nearest_name

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
# 1970-01-01 was a Thursday; exchanges open weekly bars on Mondays.
WEEK_ANCHOR_MS = 4 * DAY_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The intervals Binance publishes (its kline documentation), less the month, plus 1s.
TIMEFRAME_MS: dict[str, int] = {
    "1s": SECOND_MS,
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": WEEK_MS,
}


def timeframe_ms(timeframe: str) -> int:
    """Return the milliseconds of one bar; raises ConfigurationError for a word that is not a timeframe."""
    try:
        return TIMEFRAME_MS[timeframe]
    except KeyError:
        near = nearest_name(timeframe, list(TIMEFRAME_MS))
        hint = f"; did you mean {near!r}?" if near else ""
        known = ", ".join(TIMEFRAME_MS)
        raise ConfigurationError(f"unknown timeframe {timeframe!r}{hint} (known: {known})") from None


def timeframe_of(bar_ms: int) -> str | None:
    """Return the timeframe whose bars are ``bar_ms`` long, or None."""
    for name, milliseconds in TIMEFRAME_MS.items():
        if milliseconds == bar_ms:
            return name
    return None


def bucket_open_ms(time_ms: int, bar_ms: int) -> int:
    """Return the open time of the bar of length ``bar_ms`` that contains ``time_ms``; weeks open on Mondays."""
    anchor = WEEK_ANCHOR_MS if bar_ms == WEEK_MS else 0
    return (time_ms - anchor) // bar_ms * bar_ms + anchor


def iso_time(time_ms: int) -> str:
    """Return ``2024-01-31T12:00:00Z``; milliseconds are written only when there are any."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    text = moment.isoformat(timespec="milliseconds" if time_ms % SECOND_MS else "seconds")
    return f"{text.removesuffix('+00:00')}Z"


def parse_time(text: str) -> int:
    """Return the milliseconds of an ISO time or of ``YYYYMMDD``; a time without a zone is UTC.

    Raises ConfigurationError when the text is neither.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ConfigurationError(f"not a time: {text!r} (write 2024-01-31, 20240131 or 2024-01-31T12:00:00Z)") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
