"""Candles of an exchange through ccxt: opening it, asking it, and which of its errors are worth another try.

Public endpoints only: no credentials are read. Temporary errors are retried, limited in attempts and seconds;
everything else ends in one line. ccxt is imported when an exchange is opened and not before.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from trading_runtime.core.errors import ConfigurationError, DataError, nearest_name
from trading_runtime.core.instruments import split_symbol
from trading_runtime.data.pages import Candle

ATTEMPTS_MAX = 6
# The first wait; each next one is twice as long, until an attempt succeeds or the limit is reached.
WAIT_SECONDS_FIRST = 1.0
# Binance bans for 2 minutes at first (its limits page); a longer ban means stop and come back later.
WAIT_SECONDS_MAX = 180.0
# Answers that another try does not change although ccxt files them under "not available": refused, not found,
# blocked country.
_FINAL_STATUS = frozenset({400, 401, 403, 404, 405, 410, 451})
_STATUS_GOOD = 200
# What exchanges of unknown limits accept at least; more rows come in several answers.
PAGE_ROWS_DEFAULT = 500
PAGE_ROWS_MAX = 1_000

Answer = TypeVar("Answer")


class ExchangeCandles:
    """One symbol's candles at one exchange; raises ConfigurationError, with the nearest name, for what it
    does not know.

    ``base_url`` sends every request to another host (a recorded or simulated exchange); ``wait`` sleeps the
    given seconds.
    """

    def __init__(
        self,
        exchange: str,
        symbol: str,
        timeframe: str,
        *,
        base_url: str | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        import ccxt

        self._ccxt = ccxt
        self._wait = wait
        self.exchange, self.symbol, self.timeframe = exchange, symbol, timeframe
        _, _, kind = split_symbol(symbol)
        if exchange not in ccxt.exchanges:
            raise ConfigurationError(f"unknown exchange {exchange!r}{_did_you_mean(exchange, list(ccxt.exchanges))}")
        self._client: Any = getattr(ccxt, exchange)({"enableRateLimit": True})
        self._client.on_rest_response = self._noted
        self._status: int | None = None
        if exchange == "binance":  # one list of markets instead of three
            self._client.options["fetchMarkets"] = {"types": ["spot" if kind == "spot" else "linear"]}
        if base_url is not None:
            self._client.urls["api"] = _moved(self._client.urls["api"], base_url)
        if not self._client.has.get("fetchOHLCV"):
            raise ConfigurationError(f"{exchange} does not publish candles")
        self._ask("its markets", self._client.load_markets)
        if symbol not in self._client.markets:
            raise ConfigurationError(f"{exchange} has no {symbol}{_did_you_mean(symbol, list(self._client.markets))}")
        frames = list(self._client.timeframes or {})
        if frames and timeframe not in frames:
            raise ConfigurationError(f"{exchange} has no {timeframe} candles (it has {', '.join(frames)})")

    @property
    def page_rows(self) -> int:
        """How many candles the exchange gives at once, as far as ccxt knows."""
        kind = "spot" if ":" not in self.symbol else "swap"
        features = getattr(self._client, "features", None) or {}
        known = features.get(kind) or {}
        linear = known.get("linear") or {} if kind == "swap" else known
        limit = (linear.get("fetchOHLCV") or {}).get("limit")
        return min(int(limit), PAGE_ROWS_MAX) if limit else PAGE_ROWS_DEFAULT

    def now_ms(self, bar_ms: int) -> int:
        """Return the exchange's time; where it tells none, this computer's, one bar earlier to be safe."""
        if self._client.has.get("fetchTime"):
            return int(self._ask("its time", self._client.fetch_time))
        return int(self._client.milliseconds()) - bar_ms

    def page(self, start_ms: int, end_ms: int, bar_ms: int) -> tuple[list[Candle], int | None]:
        """Return the candles that open in [start_ms, end_ms), sorted and each once.

        When there are none, also the open time of the first later one the exchange offered, so that years
        before a listing need not be asked page by page. Raises DataError when the exchange cannot be asked.
        """
        limit = (end_ms - start_ms) // bar_ms
        found: dict[int, Candle] = {}
        since, later = start_ms, None
        for _ in range(limit + 1):  # every answer brings at least one new candle or ends the page
            batch = self._ask(f"candles since {since}", partial(self._candles, since, limit))
            times = [int(candle[0] or 0) for candle in batch]
            new = {
                t: candle for t, candle in zip(times, batch, strict=True) if start_ms <= t < end_ms and t not in found
            }
            found.update(new)
            later = min((t for t in times if t >= end_ms), default=None)
            if not new or max(times) >= end_ms - bar_ms:
                break
            since = max(new) + bar_ms
        return [found[t] for t in sorted(found)], later if not found else None

    def _candles(self, since: int, limit: int) -> list[Candle]:
        answer = self._client.fetch_ohlcv(self.symbol, self.timeframe, since, limit)
        if not isinstance(answer, list):
            raise self._ccxt.BadResponse("the answer is not a list of candles")
        candles: list[Candle] = []
        for row in answer:
            if not isinstance(row, (list, tuple)) or len(row) < 6 or not isinstance(row[0], (int, float)):
                raise self._ccxt.BadResponse(f"not a candle: {str(row)[:80]}")
            numbers = [None if value is None or not math.isfinite(value) else value for value in row[1:6]]
            candles.append([int(row[0]), *numbers])
        return candles

    def _ask(self, what: str, question: Callable[[], Answer]) -> Answer:
        """Return the answer to a question that changes nothing, asked again after temporary errors."""
        waited, pause = 0.0, WAIT_SECONDS_FIRST
        for attempt in range(1, ATTEMPTS_MAX + 1):
            self._status = None
            try:
                return question()
            except (self._ccxt.NetworkError, self._ccxt.BadResponse) as error:
                problem = _one_line(error)
                wanted = max(pause, self._retry_after() if _is_limit(self._ccxt, error) else 0.0)
                if self._status in _FINAL_STATUS:
                    raise DataError(f"{self.exchange} refuses to tell {what}: {problem}") from error
                if attempt == ATTEMPTS_MAX or waited + wanted > WAIT_SECONDS_MAX:
                    raise DataError(
                        f"{self.exchange} did not tell {what} in {attempt} attempt(s) and {waited:.0f} s of "
                        "waiting "
                        f"(the next wait would be {wanted:.0f} s): {problem}"
                    ) from error
                self._wait(wanted)
                waited, pause = waited + wanted, pause * 2.0
            except self._ccxt.BaseError as error:
                raise DataError(f"{self.exchange} does not tell {what}: {_one_line(error)}") from error
        raise DataError(f"{self.exchange} did not tell {what}")

    def _noted(self, status: int, _reason: str, _url: str, _method: str, _headers: Any, body: str, *_: Any) -> str:
        """Remember the HTTP status of an answer, which ccxt keeps nowhere, and refuse what is not whole JSON.

        ccxt turns an answer of maintenance pages or cut texts into an empty list, which would look like a gap.
        """
        self._status = status
        if status == _STATUS_GOOD:
            try:
                json.loads(body)
            except ValueError as error:
                raise self._ccxt.BadResponse(f"the answer is not JSON: {body[:60]!r}") from error
        return body.strip()

    def _retry_after(self) -> float:
        """Return the seconds the exchange asked to wait, 0 when it said nothing understandable."""
        headers = self._client.last_response_headers or {}
        text = str(headers.get("Retry-After", ""))
        return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else 0.0


def _is_limit(ccxt: Any, error: Exception) -> bool:
    return isinstance(error, (ccxt.RateLimitExceeded, ccxt.DDoSProtection))


def _one_line(error: Exception) -> str:
    cause = "" if error.__cause__ is None else f" ({type(error.__cause__).__name__})"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{cause}"


def _did_you_mean(name: str, known: list[str]) -> str:
    near = nearest_name(name, known)
    return f"; did you mean {near}?" if near else ""


def _moved(urls: Any, base_url: str) -> Any:
    """Return ccxt's addresses with another scheme and host; paths stay."""
    if isinstance(urls, dict):
        return {key: _moved(value, base_url) for key, value in urls.items()}
    if isinstance(urls, str) and urls.startswith("http"):
        return base_url.rstrip("/") + urlsplit(urls).path
    return urls
