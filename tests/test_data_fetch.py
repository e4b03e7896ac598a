"""Downloading candles over real HTTP from a loopback exchange that speaks Binance's public REST, with faults
on demand.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from trading_runtime.cli.data import add_parser
from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError
from trading_runtime.core.timeframes import HOUR_MS, parse_time
from trading_runtime.data.exchange_candles import ATTEMPTS_MAX
from trading_runtime.data.fetch import fetch_bars
from trading_runtime.data.files import load_bars
from trading_runtime.data.pages import partial_folder
from trading_runtime.data.synth import synthesize

START = parse_time("2024-01-01")
ROWS = 250
BARS = synthesize("BTC/USDT", "1h", START, ROWS, 12)
# Half an hour into the last bar: it is published, and it is not closed.
NOW = int(BARS.open_time[-1]) + HOUR_MS // 2
CLOSED = BARS.slice(0, ROWS - 1)


class LoopbackExchange:
    """Binance's exchangeInfo, klines and time over HTTP; ``faults`` are served first, one for each kline
    request.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.time_faults: list[str] = []
        self.asked: list[int] = []
        self.limit_max = 1_000
        self.missing: set[int] = set()
        self.pause_seconds = 0.0
        exchange = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                exchange.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/api/v3/exchangeInfo":
            self.send(request, 200, EXCHANGE_INFO)
        elif parts.path == "/api/v3/time":
            if self.time_faults:
                self.fail(request, self.time_faults.pop(0))
            else:
                self.send(request, 200, {"serverTime": NOW})
        elif parts.path == "/api/v3/klines":
            self.asked.append(int(query.get("startTime", "0")))
            time.sleep(self.pause_seconds)  # a slow exchange: there is something left to interrupt
            if self.faults:
                self.fail(request, self.faults.pop(0))
            else:
                self.send(request, 200, self.klines(query))
        else:
            self.send(request, 404, {"code": -1, "msg": f"no such path {parts.path}"})

    def klines(self, query: dict[str, str]) -> list[list[Any]]:
        start, limit = int(query.get("startTime", "0")), min(int(query.get("limit", "500")), self.limit_max)
        rows = [row for row in range(ROWS) if int(BARS.open_time[row]) >= start and row not in self.missing][:limit]
        return [
            [
                int(BARS.open_time[row]),
                *(f"{float(getattr(BARS, name)[row]):.8f}" for name in FIELDS),
                int(BARS.close_time[row]) - 1,
                *("1.0", 5, "0.5", "0.5", "0"),
            ]
            for row in rows
        ]

    def fail(self, request: BaseHTTPRequestHandler, fault: str) -> None:
        if fault == "cut":
            request.send_response(200)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", "5000")
            request.end_headers()
            request.wfile.write(b'[[1704067200000,"42')
            request.close_connection = True
        elif fault == "not json":
            self.send(request, 200, None, text="<html>maintenance</html>")
        else:
            status, _, retry_after = fault.partition(" after ")
            headers = {"Retry-After": retry_after} if retry_after else {}
            self.send(request, int(status), {"code": -1003, "msg": "as told"}, headers=headers)

    def send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        document: Any,
        *,
        text: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        content = (json.dumps(document) if text is None else text).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json" if text is None else "text/html")
        request.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.end_headers()
        # The client may have been interrupted, as some tests mean it to be.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            request.wfile.write(content)


def market(base: str) -> dict[str, Any]:
    return {
        "symbol": f"{base}USDT",
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "permissions": ["SPOT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
        ],
    }


EXCHANGE_INFO = {
    "timezone": "UTC",
    "serverTime": NOW,
    "rateLimits": [],
    "symbols": [market("BTC"), market("ETH")],
}


@pytest.fixture
def exchange() -> Iterator[LoopbackExchange]:
    loopback = LoopbackExchange()
    yield loopback
    loopback.close()


def fetch(loopback: LoopbackExchange, path: Path, **changes: Any) -> tuple[dict[str, Any], list[float]]:
    """Fetch everything in pages of 60; return the manifest and the waits that were asked for."""
    waits: list[float] = []
    arguments: dict[str, Any] = {
        "exchange": "binance",
        "symbol": "BTC/USDT",
        "timeframe": "1h",
        "start_ms": START,
        "base_url": loopback.url,
        "page_rows": 60,
        "progress": False,
        "wait": waits.append,
    }
    manifest = fetch_bars(path, **{**arguments, **changes})
    return manifest, waits


def files(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in sorted(folder.iterdir())}


def test_pages_are_joined_without_the_open_bar(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """All closed bars are there once, the bar that is still open is not, and nothing is left of the pages."""
    path = tmp_path / "BTC-USDT-1h.parquet"

    manifest, waits = fetch(exchange, path)

    assert load_bars(path).bars.content_hash() == CLOSED.content_hash()
    assert manifest["rows"] == ROWS - 1
    assert (manifest["grade"], manifest["source_kind"], manifest["sources"][0]["name"]) == (
        "A",
        "exchange",
        "binance",
    )
    assert waits == []
    assert sorted(files(tmp_path)) == ["BTC-USDT-1h.manifest.json", "BTC-USDT-1h.parquet"]


@pytest.mark.parametrize(("page_rows", "limit_max"), [(1_000, 1_000), (249, 1_000), (50, 1_000), (60, 17), (7, 3)])
def test_the_bytes_do_not_depend_on_pages(
    exchange: LoopbackExchange, tmp_path: Path, page_rows: int, limit_max: int
) -> None:
    """Pages of any size, and an exchange that gives fewer candles than asked for, make the same file."""
    fetch(exchange, tmp_path / "one" / "x.parquet")
    exchange.limit_max = limit_max

    fetch(exchange, tmp_path / "two" / "x.parquet", page_rows=page_rows)

    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_start_and_end_are_kept(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """Bars open at or after the start and close at or before the end, also off a boundary or in the future."""
    path = tmp_path / "x.parquet"

    fetch(exchange, path, start_ms=START + 30 * HOUR_MS - 1, end_ms=START + 90 * HOUR_MS + 5)

    assert load_bars(path).bars.content_hash() == BARS.slice(30, 90).content_hash()

    fetch(exchange, path, end_ms=NOW + 100 * HOUR_MS)

    assert load_bars(path).bars.content_hash() == CLOSED.content_hash()


def test_years_before_the_listing_cost_one_request(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """The first candle offered says where to begin; the years before are not asked page by page."""
    path = tmp_path / "x.parquet"

    fetch(exchange, path, start_ms=parse_time("2019-01-01"))

    assert load_bars(path).bars.content_hash() == CLOSED.content_hash()
    assert len(exchange.asked) < 10


@pytest.mark.parametrize(
    ("faults", "expected_waits"),
    [
        (["500"], [1.0]),
        (["503", "502", "504"], [1.0, 2.0, 4.0]),
        (["429 after 7"], [7.0]),
        (["418 after 60", "429"], [60.0, 2.0]),
        (["cut"], [1.0]),
        (["not json"], [1.0]),
        (["cut", "500", "429 after 3", "not json"], [1.0, 2.0, 4.0, 8.0]),
    ],
)
def test_temporary_faults_are_waited_out(
    exchange: LoopbackExchange, tmp_path: Path, faults: list[str], expected_waits: list[float]
) -> None:
    """Server errors, limits with their Retry-After, and connections cut in the middle change nothing in the
    bytes.
    """
    fetch(exchange, tmp_path / "calm" / "x.parquet")
    exchange.faults = list(faults)

    _, waits = fetch(exchange, tmp_path / "stormy" / "x.parquet")

    assert waits == expected_waits
    assert files(tmp_path / "calm") == files(tmp_path / "stormy")


def test_retries_end_and_the_download_goes_on_later(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """After the last attempt the error is one line that says how to go on; complete pages are not asked
    again.
    """
    fetch(exchange, tmp_path / "calm" / "x.parquet")
    path = tmp_path / "stormy" / "x.parquet"
    answered = exchange.klines
    served: list[int] = []

    def two_pages_then_none(query: dict[str, str]) -> list[list[Any]]:
        served.append(1)
        if len(served) == 2:
            exchange.faults = ["500"] * ATTEMPTS_MAX
        return answered(query)

    exchange.klines = two_pages_then_none
    with pytest.raises(DataError, match=r"2 complete page\(s\) are kept in .*run the same command again") as error:
        fetch(exchange, path)
    assert "\n" not in str(error.value)
    assert not path.exists()
    exchange.klines = answered
    exchange.asked.clear()

    fetch(exchange, path)

    assert exchange.asked[0] == START + 120 * HOUR_MS
    assert files(tmp_path / "calm") == files(tmp_path / "stormy")


@pytest.mark.parametrize("fault", ["418 after 3600", "451", "403"])
def test_a_long_ban_or_a_refusal_ends_at_once(exchange: LoopbackExchange, tmp_path: Path, fault: str) -> None:
    """An hour's ban is not slept through in a loop, and a refusal is not asked again."""
    exchange.faults = [fault]

    with pytest.raises(DataError, match="binance"):
        fetch(exchange, tmp_path / "x.parquet")
    assert len(exchange.asked) == 1


def test_a_gap_at_the_exchange_is_refused_and_the_pages_stay(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """Missing bars are not hidden; with leave to fill them the same download is finished without asking
    again.
    """
    exchange.missing = {70, 71}
    path = tmp_path / "x.parquet"
    with pytest.raises(BarsError, match=r"2 bar\(s\) are missing"):
        fetch(exchange, path)
    assert partial_folder(path).is_dir()
    exchange.asked.clear()

    manifest, _ = fetch(exchange, path, gaps="fill")

    assert exchange.asked == []
    assert (manifest["rows"], manifest["grade"]) == (ROWS - 1, "C")
    assert not partial_folder(path).exists()


def test_pages_of_another_request_are_not_mixed_in(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """A folder of pages belongs to one request; damaged pages are fetched again."""
    path = tmp_path / "x.parquet"
    exchange.missing = {70}
    with pytest.raises(BarsError):
        fetch(exchange, path)
    with pytest.raises(DataError, match="another request"):
        fetch(exchange, path, start_ms=START + HOUR_MS)
    exchange.missing = set()
    page = sorted(partial_folder(path).glob("page-*.json"))[1]
    page.write_text(page.read_text()[:40])

    fetch(exchange, path)

    assert load_bars(path).bars.content_hash() == CLOSED.content_hash()


def test_unknown_names_are_told_with_the_nearest(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """Exchange, symbol and timeframe: one line each, with what was probably meant."""
    path = tmp_path / "x.parquet"
    with pytest.raises(ConfigurationError, match="unknown exchange 'binanse'; did you mean binance"):
        fetch(exchange, path, exchange="binanse")
    with pytest.raises(ConfigurationError, match="binance has no BTC/USDC; did you mean BTC/USDT"):
        fetch(exchange, path, symbol="BTC/USDC")
    with pytest.raises(ConfigurationError, match="unknown timeframe '1hour'"):
        fetch(exchange, path, timeframe="1hour")
    with pytest.raises(ConfigurationError, match="no 1h bar closes between"):
        fetch(exchange, path, start_ms=NOW)
    assert list(tmp_path.iterdir()) == []


def test_nothing_in_the_period_is_told(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """A period before the listing has no bars; no file and no folder remain."""
    with pytest.raises(DataError, match="has no BTC/USDT 1h bars"):
        fetch(
            exchange,
            tmp_path / "x.parquet",
            start_ms=parse_time("2020-01-01"),
            end_ms=parse_time("2020-02-01"),
        )

    assert list(tmp_path.iterdir()) == []


def test_the_time_of_the_exchange_is_asked_with_patience_too(exchange: LoopbackExchange, tmp_path: Path) -> None:
    """A fault of the clock's answer is retried like any other."""
    exchange.time_faults = ["500", "cut"]

    _, waits = fetch(exchange, tmp_path / "x.parquet")

    assert waits == [1.0, 2.0]


PROGRAM = """
import argparse, sys
from trading_runtime.cli.data import add_parser
parser = argparse.ArgumentParser()
add_parser(parser.add_subparsers(required=True))
arguments = parser.parse_args(sys.argv[1:])
try:
    sys.exit(arguments.handler(arguments))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupted_download_goes_on_and_ends_with_the_same_bytes(
    exchange: LoopbackExchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the middle keeps complete pages and says how to go on; the finished file equals an
    undisturbed one.
    """
    words = [
        "data",
        "fetch",
        "--exchange",
        "binance",
        "--symbol",
        "BTC/USDT",
        "--timeframe",
        "1h",
        "--start",
        "2024-01-01",
    ]
    words += ["--base-url", exchange.url, "--page-rows", "20"]
    exchange.pause_seconds = 0.15
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words, "--out", str(tmp_path / "two")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pages = partial_folder(tmp_path / "two" / "BTC-USDT-1h.parquet")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and len(list(pages.glob("page-*.json")) if pages.exists() else []) < 3:
        time.sleep(0.01)  # between two looks for the pages
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "run the same command again" in told
    assert "Traceback" not in told
    kept = len(list(pages.glob("page-*.json")))
    assert 3 <= kept < 13
    assert sorted(entry.name for entry in (tmp_path / "two").iterdir()) == ["BTC-USDT-1h.parquet.partial"]

    exchange.pause_seconds = 0.0
    exchange.asked.clear()
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    for folder in ("two", "one"):
        arguments = parser.parse_args([*words, "--out", str(tmp_path / folder)])
        assert arguments.handler(arguments) == 0

    assert exchange.asked[0] == START + kept * 20 * HOUR_MS
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert load_bars(tmp_path / "one" / "BTC-USDT-1h.parquet").bars.content_hash() == CLOSED.content_hash()
    assert "249 bars" in capsys.readouterr().out


def test_the_loopback_exchange_is_what_it_claims() -> None:
    """The bars it serves are checked bars with an open one at the end."""
    assert isinstance(CLOSED, Bars)
    assert int(BARS.close_time[-1]) > NOW > int(CLOSED.close_time[-1]) - 1
    assert np.array_equal(np.round(BARS.close, 8), BARS.close)
