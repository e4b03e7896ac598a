"""The dry run sends nothing and shows what orders would have done; the feed of files plays history back."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as generate
from market_samples import BTC, COIN, ETH, HOUR_MS, PERP, START_MS, make_bars, make_instrument, random_bars

from trading_runtime.core.bars import FIELDS, Bars, resample
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError, TradingRuntimeError
from trading_runtime.core.fills import Execution
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.orders import client_order_id
from trading_runtime.core.state import Order
from trading_runtime.core.timeframes import iso_time
from trading_runtime.data.files import load_bars
from trading_runtime.exchanges.dry_run import DryRunExchange
from trading_runtime.exchanges.file_feed import FileFeed, load_candles
from trading_runtime.exchanges.plain_csv import read_plain_csv
from trading_runtime.exchanges.port import Balance, NotPlaced, OrderReport, Trade

FLAT = (100.0, 101.0, 99.0, 100.0)
SLOT = START_MS + HOUR_MS


# --- the dry run --------------------------------------------------------------------------------------------------


def a_dry_run(**changed: Any) -> DryRunExchange:
    """A thousand dollars and one coin, bars that closed at 100, a fee of 0.1 %."""
    options: dict[str, Any] = {
        "instruments": {symbol: make_instrument(symbol, taker_fee_rate=0.001) for symbol in (BTC, PERP)},
        "execution": Execution(slippage_fraction=0.01),
        "timeframe": "1h",
        "balances": {"USDT": Balance(Decimal(1000), Decimal(1000)), "BTC": Balance(Decimal(1), Decimal(1))},
        **changed,
    }
    return DryRunExchange(FileFeed([make_bars([FLAT] * 2, symbol=symbol) for symbol in (BTC, PERP)]), **options)


def an_order(
    leg: str = "entry", kind: str = "market", side: int = 1, coins: float = 1.0, *, symbol: str = BTC, **options: Any
) -> Order:
    order_id = client_order_id("main", "Strategy", symbol, SLOT, leg)
    return Order(order_id, symbol, kind, side, round(coins * COIN), slot=SLOT, leg=leg, **options)


def test_a_market_order_fills_at_the_worsened_close_and_the_balances_follow() -> None:
    exchange = a_dry_run()
    report = exchange.place(an_order(), 0)
    assert (report.status, report.filled) == ("filled", 1)
    (trade,) = exchange.trades(report)
    assert (trade.price, trade.value, trade.fees) == (101.0, 101, (("USDT", Decimal("0.101")),))
    assert exchange.balances() == {
        "USDT": (Decimal("898.899"), Decimal("898.899")),
        "BTC": (Decimal(2), Decimal(2)),
    }
    exchange.place(an_order("exit", side=-1, coins=2.0), 0)
    assert exchange.balances() == {"USDT": (Decimal("1096.701"), Decimal("1096.701"))}
    assert [one.side for one in exchange.trades_since(BTC, 0)] == [1, -1]
    assert exchange.order(an_order()) == report


def test_a_symbol_that_is_looked_up_trades_like_the_others() -> None:
    def look_up(symbol: str) -> Instrument:
        if symbol != BTC:
            raise ConfigurationError(f"nobody has {symbol}")
        return make_instrument(BTC, taker_fee_rate=0.001)

    exchange = a_dry_run(instruments={PERP: make_instrument(PERP)}, lookup=look_up)
    with pytest.raises(NotPlaced):
        exchange.place(an_order(), 0)
    assert list(exchange.instruments([BTC, PERP])) == [BTC, PERP]
    assert exchange.place(an_order(), 0).status == "filled"
    assert exchange.balances()["BTC"].total == Decimal(2)
    with pytest.raises(ConfigurationError, match="nobody has ETH/USDT"):
        exchange.instruments([ETH])
    with pytest.raises(ConfigurationError, match="the dry run has no ETH/USDT"):
        a_dry_run().instruments([ETH])


def test_a_contract_moves_the_position_and_its_fee() -> None:
    exchange = a_dry_run(positions={PERP: Decimal("0.5")})
    exchange.place(an_order(symbol=PERP, side=-1, coins=2.0), 0)
    assert exchange.positions([PERP]) == {PERP: Decimal("-1.5")}
    assert exchange.positions([BTC]) == {}
    assert exchange.balances()["USDT"].total == Decimal(1000) - Decimal("0.198")


def test_a_reduction_never_turns_a_position_round() -> None:
    exchange = a_dry_run(positions={PERP: Decimal("0.5")})
    report = exchange.place(an_order(symbol=PERP, side=-1, coins=2.0, reduce_only=True), 0)
    assert (report.status, report.filled, report.reason) == ("cancelled", Decimal("0.5"), "no_position")
    assert exchange.positions([PERP]) == {}
    with pytest.raises(NotPlaced, match="no position to reduce"):
        exchange.place(an_order("again", symbol=PERP, side=-1, reduce_only=True), 0)


def test_orders_rest_and_lock_and_end_when_cancelled() -> None:
    exchange = a_dry_run()
    bid, stop = an_order("bid", "limit", coins=2.0, price=90.0), an_order("stop", "stop", -1, price=80.0)
    assert [exchange.place(order, 0).status for order in (bid, stop)] == ["open", "open"]
    assert exchange.balances()["USDT"] == (Decimal("819.82"), Decimal(1000))
    assert exchange.balances()["BTC"] == (0, 1)
    assert [report.client_order_id for report in exchange.open_orders([])] == [bid.order_id, stop.order_id]
    for _ in range(2):
        exchange.cancel(bid, 0)
    assert exchange.balances()["USDT"] == (Decimal(1000), Decimal(1000))
    report = exchange.order(bid)
    assert report is not None
    assert report.status == "cancelled"


@pytest.mark.parametrize(
    ("order", "outcome"),
    [
        (an_order(kind="limit", price=100.5), ("filled", 100.5)),
        (an_order(kind="limit", price=200.0), ("filled", 101.0)),
        (an_order(kind="limit", side=-1, price=95.0), ("filled", 99.0)),
        (an_order(kind="limit", price=95.0), ("open", None)),
        (an_order(kind="limit", price=95.0, time_in_force="ioc"), ("expired", None)),
        (an_order(kind="take_profit", side=-1, price=120.0), ("open", None)),
        (an_order(kind="limit", price=105.0, post_only=True), "post_only"),
        (an_order(kind="limit"), "filters"),
        (an_order(coins=10.0), "funds"),
        (an_order(side=-1, coins=1.5), "funds"),
        (an_order(kind="limit", price=99.0, coins=20.0), "funds"),
        (an_order(symbol=ETH), "rejected"),
    ],
)
def test_what_becomes_of_an_order(order: Order, outcome: Any) -> None:
    exchange = a_dry_run()
    if isinstance(outcome, str):
        with pytest.raises(NotPlaced) as refused:
            exchange.place(order, 0)
        assert refused.value.reason == outcome
        assert exchange.order(order) is None
        return
    report = exchange.place(order, 0)
    prices = [trade.price for trade in exchange.trades(report)]
    assert (report.status, prices[0] if prices else None) == outcome
    with pytest.raises(NotPlaced, match="is known already"):
        exchange.place(order, 0)


def test_of_the_real_account_it_knows_what_it_was_given() -> None:
    given = an_order("given", "limit", price=50.0)
    report = OrderReport(given.order_id, "7", BTC, 1, "limit", Decimal(1), Decimal(0), 50.0, "open", False, START_MS)
    trade = Trade("3", 3, "tr-old", "6", BTC, 1, Decimal(1), 99.0, Decimal(99), (), START_MS, True)
    exchange = a_dry_run(orders=[report], trades=[trade], quote_prices={"BNB": 600.0})
    assert exchange.open_orders([]) == [report]
    assert exchange.trades_since(BTC, 0) == [trade]
    exchange.cancel(given, 0)
    assert exchange.open_orders([]) == []
    assert [exchange.quote_price(asset, "USDT") for asset in ("USDT", "BNB", "XRP")] == [1.0, 600.0, None]
    assert exchange.funding_since(PERP, 0) == []
    with pytest.raises(ConfigurationError, match="has no ETH/USDT"):
        exchange.instruments([ETH])


# --- the feed of files --------------------------------------------------------------------------------------------


def test_history_is_told_bar_by_bar() -> None:
    feed = FileFeed([make_bars([FLAT] * 3)])
    close, told = feed.newest_close("1h", None), []
    while close is not None:
        told.append(close)
        assert feed.server_time_ms() == close + 1_000
        assert feed.bars(BTC, "1h", 10, close).close_time[-1] == close
        close = feed.newest_close("1h", close)
    assert told == [SLOT, SLOT + HOUR_MS, SLOT + 2 * HOUR_MS]


@pytest.mark.parametrize(
    ("start_ms", "first"),
    [(SLOT, SLOT), (SLOT + 1, SLOT + HOUR_MS), (START_MS - HOUR_MS, SLOT), (SLOT + 5 * HOUR_MS, None)],
)
def test_history_begins_at_the_start_it_is_given(start_ms: int, first: int | None) -> None:
    assert FileFeed([make_bars([FLAT] * 3)], start_ms=start_ms).newest_close("1h", None) == first


def test_the_clock_runs_over_all_symbols() -> None:
    early, late = make_bars([FLAT] * 2), make_bars([FLAT] * 2, symbol=ETH, start_ms=START_MS + 3 * HOUR_MS)
    feed = FileFeed([early, late])
    closes = [feed.newest_close("1h", SLOT + hours * HOUR_MS) for hours in (0, 1, 2, 3, 4)]
    assert closes == [SLOT + hours * HOUR_MS for hours in (1, 2, 3, 4)] + [None]
    with pytest.raises(DataError, match="has no bar that closed at 2024-01-01T03:00:00Z"):
        feed.bars(BTC, "1h", 1, SLOT + 2 * HOUR_MS)
    assert feed.span(ETH, "1h") == (START_MS + 3 * HOUR_MS, START_MS + 5 * HOUR_MS)


@settings(max_examples=30)
@given(generate.integers(0, 2**32), generate.integers(1, 40), generate.integers(1, 8))
def test_a_window_of_longer_bars_is_what_resampling_gives(seed: int, rows: int, count: int) -> None:
    bars = random_bars(seed, rows)
    feed = FileFeed([bars])
    close = feed.newest_close("4h", None)
    if rows < 4:
        assert close is None
        assert feed.span(BTC, "4h") is None
        return
    whole = resample(bars, "4h")
    while close is not None:
        window = feed.bars(BTC, "4h", count, close)
        stop = int(np.searchsorted(whole.close_time, close)) + 1
        assert window.content_hash() == whole.slice(max(stop - count, 0), stop).content_hash(), f"seed {seed}"
        close = feed.newest_close("4h", close)


@pytest.mark.parametrize(
    ("ask", "error", "text"),
    [
        (lambda feed: feed.bars(ETH, "1h", 1, SLOT), ConfigurationError, "no file holds ETH/USDT; there is BTC/USDT"),
        (lambda feed: feed.bars(BTC, "1h", 1, SLOT + 1), DataError, "has no bar that closed at"),
        (lambda feed: feed.bars(BTC, "4h", 1, SLOT), DataError, "does not fill one bar of 4h"),
        (lambda feed: feed.bars(BTC, "1m", 1, SLOT), ConfigurationError, "cannot be made into bars of 1m"),
        (lambda feed: FileFeed([]), ConfigurationError, "at least one file"),
        (lambda feed: FileFeed([make_bars([FLAT])] * 2), ConfigurationError, "given twice"),
    ],
)
def test_what_the_files_do_not_hold_is_named(ask: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ask(FileFeed([make_bars([FLAT] * 3)]))


def write_csv(path: Path, bars: Bars, time: Any, *, ending: str = "\n") -> None:
    rows = zip(bars.open_time.tolist(), *(getattr(bars, name).tolist() for name in FIELDS), strict=True)
    lines = ["time,open,high,low,close,volume", *(",".join([time(row[0]), *map(repr, row[1:])]) for row in rows)]
    path.write_text(ending.join(lines) + ending, newline="")


TIMES = {
    "milliseconds": str,
    "seconds": lambda time_ms: str(time_ms // 1_000),
    "ISO": iso_time,
    "ISO without a zone": lambda time_ms: iso_time(time_ms).removesuffix("Z").replace("T", " "),
}
PRICE = generate.floats(1e-6, 1e9, allow_nan=False)
MOVE = generate.floats(0.995, 1.005)
VOLUME = generate.floats(1e-9, 1e9)


@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("time", TIMES.values(), ids=list(TIMES))
def test_a_plain_csv_gives_the_bits_that_the_general_reader_gives(time: Any, ending: str, tmp_path: Path) -> None:
    path = tmp_path / "BTC-USDT-1h.csv"
    accepted = []

    @settings(max_examples=15)
    @given(PRICE, generate.lists(generate.tuples(MOVE, MOVE, VOLUME), min_size=3, max_size=20))
    def check(price: float, rows: list[tuple[float, float, float]]) -> None:
        candles = [
            (price * one, price * max(one, two), price * min(one, two), price * two, volume)
            for one, two, volume in rows
        ]
        write_csv(path, make_bars(candles), time, ending=ending)
        plain = read_plain_csv(path)
        if plain is None:
            with pytest.raises(TradingRuntimeError):
                load_bars(path)
            return
        general = load_bars(path).bars
        assert (plain.symbol, plain.timeframe) == (general.symbol, general.timeframe)
        assert plain.content_hash() == general.content_hash()
        accepted.append(plain)

    check()
    assert len(accepted) > 5


@pytest.mark.parametrize(
    "content",
    [
        "Open time;Open;High;Low;Close;Volume\n1704067200000;1;1;1;1;1\n",
        "time,open,high,low,close,volume\n1704067200000,1,1,1,1\n",
        "time,open,high,low,close,volume\n1704067200000,1,1_0,1,1,1\n",
        "time,open,high,low,close,volume\n1704067200000,1,x,1,1,1\n",
        "time,open,high,low,close,volume\n1704067200000, 1,1,1,1,1\n",
        "time,open,high,low,close,volume\n1704067200000,1,1,1,1,+1\n",
        'time,open,high,low,close,volume\n1704067200000,"1",1,1,1,1\n',
        "time,open,high,low,close,volume\n",
        "",
    ],
)
def test_any_other_layout_is_left_to_the_general_reader(content: str, tmp_path: Path) -> None:
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text(content)
    assert read_plain_csv(path) is None
    assert read_plain_csv(tmp_path / "absent.csv") is None


def test_bars_that_are_not_good_enough_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "BTC-USDT-1h.csv"
    write_csv(path, random_bars(1, 10, zero_volume=0.0), str)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], *lines[6:]]) + "\n")
    assert read_plain_csv(path) is None
    with pytest.raises(BarsError, match="gap"):
        FileFeed([path])


def test_newest_first_files_are_turned_around(tmp_path: Path) -> None:
    bars = random_bars(1, 10, zero_volume=0.0)
    path = tmp_path / "BTC-USDT-1h.csv"
    write_csv(path, bars, str)
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(lines)]) + "\n")
    assert read_plain_csv(path) is None
    assert load_candles(path).content_hash() == bars.content_hash()


def test_files_are_named_and_may_be_told_their_symbols(tmp_path: Path) -> None:
    bars = random_bars(1, 10, zero_volume=0.0)
    write_csv(tmp_path / "mine.csv", bars, str)
    feed = FileFeed({ETH: tmp_path / "mine.csv"}, timeframe="1h")
    assert (feed.name, feed.symbols) == ("mine.csv", (ETH,))
    with pytest.raises(DataError, match="says which symbol it holds"):
        FileFeed([tmp_path / "mine.csv"])


def test_a_cycle_on_a_plain_csv_loads_no_heavy_library(tmp_path: Path) -> None:
    path = tmp_path / "BTC-USDT-1h.csv"
    write_csv(path, random_bars(1, 50, zero_volume=0.0), str)
    program = f"""
import sys
from trading_runtime.exchanges.file_feed import FileFeed
import trading_runtime.exchanges.simulated, trading_runtime.exchanges.dry_run
feed = FileFeed([{str(path)!r}])
feed.bars("BTC/USDT", "1h", 10, feed.newest_close("1h", None))
print(sorted({{"numba", "pyarrow", "plotly", "ccxt", "google.cloud"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
