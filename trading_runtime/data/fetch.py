"""Downloading candles from an exchange into a stored file: page by page, resumable, closed bars only.

The pages lie in ``<file>.partial`` until all are there; the file itself appears whole. The bytes depend on
what the exchange answers and on nothing else: not on interruptions, retries or the size of pages.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.hashing import json_hash
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.data.exchange_candles import ExchangeCandles
from trading_runtime.data.files import accept, store
from trading_runtime.data.findings import GRADE_DEFAULT, Grade
from trading_runtime.data.pages import Candle, Pages, Request, partial_folder
from trading_runtime.data.raw import ROWS_MAX, RawBars, Source
from trading_runtime.data.repair import GapPolicy


def fetch_bars(
    path: Path,
    *,
    exchange: str,
    symbol: str,
    timeframe: str,
    start_ms: int,
    end_ms: int | None = None,
    gaps: GapPolicy = "refuse",
    quality_minimum: Grade = GRADE_DEFAULT,
    base_url: str | None = None,
    page_rows: int | None = None,
    progress: bool | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Download the bars that open at or after ``start_ms`` and close at or before ``end_ms`` (None: now) and
    return the manifest.

    A download of the same request that was interrupted goes on. ``progress`` None shows a bar on a terminal
    only. Raises ConfigurationError for an unknown exchange, symbol or timeframe, DataError when the exchange
    cannot be asked or has no bars, BarsError when they are below ``quality_minimum``; complete pages stay for
    the next attempt in every case.
    """
    bar_ms = timeframe_ms(timeframe)
    first = bucket_open_ms(start_ms + bar_ms - 1, bar_ms)
    candles = ExchangeCandles(exchange, symbol, timeframe, base_url=base_url, wait=wait)
    closed_ms = bucket_open_ms(candles.now_ms(bar_ms), bar_ms)
    last = closed_ms if end_ms is None else min(bucket_open_ms(end_ms, bar_ms), closed_ms)
    if last <= first:
        raise ConfigurationError(f"no {timeframe} bar closes between {iso_time(start_ms)} and {iso_time(last)}")
    if (last - first) // bar_ms > ROWS_MAX:
        raise ConfigurationError(
            f"{(last - first) // bar_ms} bars are more than the {ROWS_MAX} that are fetched at once"
        )
    asked = Request(exchange, symbol, timeframe, first, end_ms, last, page_rows or candles.page_rows)
    pages = Pages(partial_folder(path), asked)
    try:
        rows = _collect(candles, pages, bar_ms, progress)
    except DataError as error:
        raise DataError(f"{error}; {resume_hint(path)}") from error
    if not rows:
        pages.remove()
        raise DataError(f"{exchange} has no {symbol} {timeframe} bars from {iso_time(first)} to {iso_time(last)}")
    raw = _raw(rows, pages.request)
    where = f"{exchange} {symbol} {timeframe}"
    accepted = accept(raw, where=where, gaps=gaps, quality_minimum=quality_minimum)
    manifest = store(
        path,
        accepted.bars,
        sources=raw.sources,
        source_kind="exchange",
        report=accepted.report,
        grade=accepted.grade,
        repairs=accepted.repairs,
        notes=raw.notes,
    )
    pages.remove()
    return manifest


def resume_hint(path: Path) -> str:
    """Return how to go on after an interruption, for messages; empty when nothing was kept."""
    folder = partial_folder(path)
    count = sum(1 for _ in folder.glob("page-*.json")) if folder.is_dir() else 0
    return f"{count} complete page(s) are kept in {folder}; run the same command again to go on from there"


def _collect(candles: ExchangeCandles, pages: Pages, bar_ms: int, progress: bool | None) -> list[Candle]:
    """Return all candles of the request, page by page, from the folder where they are already there."""
    from tqdm import tqdm

    request = pages.request
    page_ms = request.page_rows * bar_ms
    rows: list[Candle] = []
    total = (request.end_ms - request.start_ms) // bar_ms
    hidden = None if progress is None else not progress
    with tqdm(
        total=total,
        unit=" bars",
        desc=f"{request.symbol} {request.timeframe}",
        disable=hidden,
        file=sys.stderr,
    ) as bar:
        start = request.start_ms
        while start < request.end_ms:
            end = min(start + page_ms, request.end_ms)
            page, later = pages.read(start), None
            if page is None:
                page, later = candles.page(start, end, bar_ms)
                if later is None:
                    pages.write(start, page)
            rows.extend(page)
            following = start + page_ms
            if later is not None:
                # Nothing here but something later: not listed yet. Go to the page in which that begins.
                pages_ahead = (min(later, request.end_ms) - request.start_ms) // page_ms
                following = max(following, request.start_ms + pages_ahead * page_ms)
            bar.update((min(following, request.end_ms) - start) // bar_ms)
            start = following
    return rows


def _raw(rows: list[Candle], request: Request) -> RawBars:
    values = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float64)
    count = len(rows)
    return RawBars(
        sources=(Source(request.exchange, json_hash(rows), count),),
        symbol=request.symbol,
        timeframe=request.timeframe,
        open_time=np.array([int(row[0] or 0) for row in rows], dtype=np.int64),
        open=values[:, 1].copy(),
        high=values[:, 2].copy(),
        low=values[:, 3].copy(),
        close=values[:, 4].copy(),
        volume=values[:, 5].copy(),
        row=np.arange(1, count + 1, dtype=np.int64),
        source_of_row=np.zeros(count, dtype=np.int64),
        notes=(f"closed bars of {request.exchange} until {iso_time(request.end_ms)}",),
    )
