"""The report: whole, safe, small, the same bytes again, and drawn without an error in a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backtest_samples import (
    DAY_MS,
    START_MS,
    make_equity,
    make_fills,
    make_funding,
    random_bars,
    write_sample_result,
)
from browser import Browser, find_browser
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.backtest import charts, figures, tables
from trading_runtime.backtest.report import report_html, write_report
from trading_runtime.backtest.report.markup import embedded_json
from trading_runtime.backtest.trades import build_trades
from trading_runtime.core.errors import DataError, OutputError

ASSETS = Path(tables.__file__).parent / "assets"
UNIT = 100_000_000
HOSTILE = "</script><script>window.broken=1</script><!-- <img src=x onerror=window.broken=1> \"' & é"


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A year of hours of one symbol."""
    return write_sample_result(tmp_path_factory.mktemp("hourly"), bars=9_000)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three symbols, long and short, with more trades than the lists hold."""
    symbols = ("BTC/USDT", "ETH/USDT", "SOL/USDT:USDT")
    folder = tmp_path_factory.mktemp("several")
    return write_sample_result(folder, bars=6_000, timeframe="15m", symbols=symbols, shorts=True, slow=80)


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = None


# The files of a result.


def sample_tables() -> dict[str, Any]:
    fills = make_fills(
        [(0, 0, UNIT, 100.0), (1, 1, 12_345, 0.5), (2, 0, -UNIT, 110.0)],
        fees=[10_000_001, -3, 11],
        slippage=[1, 0, 2],
        symbols=("BTC/USDT", "ETH/USDT"),
    )
    funding = make_funding([(START_MS + 1, 0, 7)])
    trades = build_trades(fills, funding, last_close=[100.0, 0.5], last_time_ms=START_MS + DAY_MS, last_bar=3)
    return {"equity": make_equity([1.0, 2.0, 3.0, 4.0]), "fills": fills, "trades": trades, "funding": funding}


def test_tables_on_disk_say_what_happened_in_plain_numbers(tmp_path: Path) -> None:
    """Amounts come back as the nearest float of their decimal, sides and liquidity as words, positions added
    up.
    """
    tables.write_tables(tmp_path, **sample_tables())
    fills = tables.read_table(tmp_path / "fills.parquet")
    assert list(fills) == [
        "time_ms", "bar", "symbol", "side", "quantity", "price", "value", "fee", "slippage",
        "liquidity", "order_id", "leg", "reason", "position_after",
    ]  # fmt: skip
    assert fills["side"] == ["buy", "buy", "sell"]
    assert fills["quantity"].tolist() == [1.0, 0.00012345, 1.0]
    assert fills["fee"].tolist() == [0.10000001, -3e-08, 1.1e-07]
    assert fills["position_after"].tolist() == [1.0, 0.00012345, 0.0]
    trades = tables.read_table(tmp_path / "trades.parquet")
    assert trades["symbol"] == ["BTC/USDT", "ETH/USDT"]
    assert trades["direction"] == ["long", "long"]
    assert trades["is_open"].tolist() == [False, True]
    assert trades["pnl"].tolist() == [9.89999981, 3e-08]
    assert tables.read_table(tmp_path / "funding.parquet")["amount"].tolist() == [7e-08]
    equity = tables.read_table(tmp_path / "equity.parquet")
    assert list(equity) == ["time_ms", "equity", "cash", "exposure", "benchmark"]
    assert equity["time_ms"].dtype == np.int64


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    """Two writes differ in nothing, and a run without funding has no file for it."""
    parts = sample_tables()
    names = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        names = [path.name for path in tables.write_tables(tmp_path / name, **parts)]
        tables.write_chart(tmp_path / name, [random_bars("BTC/USDT", "1h", 9_000, 1)])
    for file in [*names, "chart.parquet"]:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    parts["funding"] = tables.no_funding()
    assert [path.name for path in tables.write_tables(tmp_path, **parts)] == names[:3]


def test_tables_without_rows_keep_their_columns(tmp_path: Path) -> None:
    """A run that never traded writes empty tables that read back with every column."""
    fills = make_fills([])
    trades = build_trades(fills, tables.no_funding(), last_close=[1.0], last_time_ms=0, last_bar=0)
    tables.write_tables(tmp_path, equity=make_equity([1.0]), fills=fills, trades=trades)
    assert tables.read_table(tmp_path / "trades.parquet")["exit_reason"] == []
    assert len(tables.read_table(tmp_path / "fills.parquet")["price"]) == 0


def test_unreadable_and_unwritable_tables_are_named(tmp_path: Path) -> None:
    """A missing or broken file is a data error, a folder that is not there an output error, each with the
    path.
    """
    with pytest.raises(DataError, match=r"equity\.parquet is missing"):
        tables.read_table(tmp_path / "equity.parquet")
    (tmp_path / "equity.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(DataError, match=r"equity\.parquet cannot be read"):
        tables.read_table(tmp_path / "equity.parquet")
    with pytest.raises(OutputError, match=r"chart\.parquet cannot be written"):
        tables.write_chart(tmp_path / "nowhere", [random_bars("BTC/USDT", "1h", 10, 1)])


def test_metrics_and_trades_load_without_pyarrow() -> None:
    """A sweep worker that computes metrics does not pay for Parquet."""
    code = (
        "import sys; import trading_runtime.backtest.metrics, trading_runtime.backtest.trades;"
        "sys.exit('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False).returncode == 0


# Thinning and grouping.


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 300), most=st.integers(1, 50), seed=st.integers(0, 99))
def test_thinned_candles_lose_no_extreme(count: int, most: int, seed: int) -> None:
    """At most the wanted number of candles; first open, last close, highest high and lowest low survive."""
    bars = random_bars("BTC/USDT", "1m", count, seed)
    time_ms, open_, high, low, close = tables.downsample_ohlc(
        bars.open_time, bars.open, bars.high, bars.low, bars.close, most
    )
    assert 1 <= len(time_ms) <= most
    assert (open_[0], close[-1]) == (bars.open[0], bars.close[-1])
    assert (high.max(), low.min()) == (bars.high.max(), bars.low.min())
    assert (high >= np.maximum(open_, close)).all()
    assert (low <= np.minimum(open_, close)).all()
    assert (np.diff(time_ms) > 0).all()


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 500), buckets=st.integers(1, 40), seed=st.integers(0, 99))
def test_thinned_curves_keep_every_bucket_extreme(rows: int, buckets: int, seed: int) -> None:
    """First, last, and highest and lowest value of every series are among the rows kept, and they are few."""
    rng = np.random.default_rng(seed)
    series = [rng.normal(size=rows), rng.normal(size=rows)]
    kept = charts.thinned_rows(series, buckets)
    assert kept[0] == 0
    assert kept[-1] == rows - 1
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= max(4 * (buckets + 1) + 2, 4 * buckets)
    for values in series:
        assert values[kept].max() == values.max()
        assert values[kept].min() == values.min()


def test_times_travel_as_steps() -> None:
    """The first time, a unit and whole steps give every time back."""
    times = START_MS + 60_000 * np.array([0, 1, 5, 6, 100])
    packed = charts.time_steps(times)
    assert packed["unit"] == 60_000
    assert (packed["first"] + np.cumsum([0, *packed["steps"]]) * packed["unit"]).tolist() == times.tolist()


def test_months_and_years_by_hand() -> None:
    """Months end at their last close, a close at midnight belongs to the month before, years compound their
    months.
    """
    days = {
        31: 110.0,
        60: 99.0,
        366: 198.0,
        397: 99.0,
    }  # ends of January, February, December 2024, January 2025
    curve, value = [], 100.0
    for day in range(1, 398):
        value = days.get(day, value)
        curve.append(value)
    equity = make_equity(curve)
    years = charts.monthly_returns(equity.time_ms, equity.equity, 100.0)
    assert [year.year for year in years] == [2024, 2025]
    assert years[0].months[:3] == pytest.approx((0.1, -0.1, 0.0))
    assert years[0].months[11] == 1.0
    assert years[0].total == pytest.approx(0.98)
    assert years[1].months == (-0.5, *[None] * 11)
    assert years[1].total == -0.5


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1.0, 5.0), min_size=1, max_size=200))
def test_a_histogram_counts_everything_once(values: list[float]) -> None:
    """Bins touch, none straddles zero, the counts add up, and there are few of them."""
    bins = charts.histogram(values)
    assert sum(one.count for one in bins) == len(values)
    assert len(bins) <= charts.HISTOGRAM_BINS_MAX + 2
    for left, right in pairwise(bins):
        assert left.high == right.low
    for one in bins:
        assert not (one.low is not None and one.high is not None and one.low < 0.0 < one.high)
        outside = [
            value
            for value in values
            if (one.low is None or value >= one.low) and (one.high is None or value < one.high)
        ]
        assert abs(len(outside) - one.count) <= sum(
            math.isclose(value, edge, abs_tol=1e-12)
            for value in values
            for edge in (one.low, one.high)
            if edge is not None
        )


def test_groups_of_trades_add_up() -> None:
    """Each group counts its trades and wins, and the one that earned most comes first."""
    groups = charts.group_trades(["stop", "target", "stop"], [-1.0, 5.0, 0.5], [-0.1, 0.5, 0.05], [1, 2, 3])
    assert [(group.name, group.trades, group.wins, group.pnl) for group in groups] == [
        ("target", 1, 1, 5.0),
        ("stop", 2, 1, -0.5),
    ]
    assert groups[1].average_bars == 2.0


def test_marks_are_limited_to_the_trades_that_mattered() -> None:
    """With too many trades the ones that moved the account most are marked, in their order."""
    assert charts.marked_trades([1.0, -9.0, 2.0, 8.0], most=2) == [1, 3]
    assert charts.marked_trades([1.0, -9.0], most=2) == [0, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (figures.percent(0.12345), "12.35%"),
        (figures.percent(-0.12345, sign=True), "−12.35%"),
        (figures.percent(0.00001, sign=True), "0.00%"),
        (figures.percent(123.456), "12,346%"),
        (figures.decimal(-1234.5, 2), "−1,234.50"),
        (figures.count(-1234.0), "−1,234"),
        (figures.significant(0.000012345678), "0.0000123457"),
        (figures.significant(64_123.5), "64,123.5"),
        (figures.significant(0.0), "0"),
        (str(figures.decimals_for(1234.5)), "2"),
        (str(figures.decimals_for(0.00123)), "8"),
        (figures.moment("2024-01-31T12:30:00Z"), "2024-01-31 12:30"),
        (figures.moment(START_MS), "2024-01-01"),
        (figures.plain({"b": 1, "a": [True]}), '{"a": [true], "b": 1}'),
        (figures.plain(True), "yes"),
        (" ".join(figures.duration(44.3 / 1440)), "44.3 min"),
        (" ".join(figures.duration(16.7 / 24)), "16.7 hours"),
        (" ".join(figures.duration(31.04)), "31 days"),
        (" ".join(figures.duration(0.0)), "0 days"),
        (" ".join(figures.measured(1.0, "days")), "1 day"),
        (" ".join(figures.measured(1234.5, "bars")), "1,234.5 bars"),
    ],
)
def test_figures_read_well(text: str, expected: str) -> None:
    """Signs, separators and digits are those a person expects."""
    assert text == expected


# The page as text.


def test_vendored_files_are_the_ones_named() -> None:
    """Every vendored file has the hash written in the README beside it, and its licence lies there too."""
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| `([0-9a-f]{64})` \|$", (ASSETS / "README.md").read_text(), re.MULTILINE)
    assert {name for name, _ in rows} == {"uPlot.iife.min.js", "uPlot.min.css"}
    for name, digest in rows:
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == digest, name
    assert "Permission is hereby granted, free of charge" in (ASSETS / "uPlot.LICENSE.txt").read_text()


def test_the_report_is_written_beside_the_result(hourly: Path, tmp_path: Path) -> None:
    """The path is returned, another one can be asked for, and nothing else is left behind."""
    before = {path.name for path in hourly.iterdir()}
    assert write_report(hourly) == hourly / "report.html"
    assert {path.name for path in hourly.iterdir()} == before | {"report.html"}
    out = tmp_path / "elsewhere.html"
    assert write_report(hourly, out) == out
    assert out.read_bytes() == (hourly / "report.html").read_bytes()
    (hourly / "report.html").unlink()


def test_the_same_folder_gives_the_same_bytes(several: Path) -> None:
    """Neither time nor the seed of hashes reaches the page."""
    code = (
        "import sys, hashlib, pathlib; from trading_runtime.backtest.report import report_html;"
        "print(hashlib.sha256(report_html(pathlib.Path(sys.argv[1])).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(several)],
            cwd=Path(__file__).parent.parent,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {hashlib.sha256(report_html(several).encode()).hexdigest() + "\n"}


def test_the_page_asks_nobody_for_anything(several: Path) -> None:
    """No attribute or style leads outside, and the content security policy forbids what a test may have
    missed.
    """
    text = report_html(several)
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset", "formaction"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert not re.search(r"url\(|@import", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert not re.search(r"\b(?:fetch|XMLHttpRequest|WebSocket|import)\s*\(", text)
    policy = next(attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    for script in page.scripts[1:]:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def hostile_result(folder: Path) -> Path:
    """A result in which every text is an attack."""
    bars = [random_bars(HOSTILE + name, "1h", 3_000, 3 + place) for place, name in enumerate("AB")]
    changes = {
        "name": HOSTILE,
        "strategy": {"name": HOSTILE, "class": HOSTILE, "params": {HOSTILE: HOSTILE}, "code_hash": HOSTILE},
        "quote": HOSTILE,
        "refusals": {HOSTILE: 3},
        "assumptions": [HOSTILE],
        "warnings": [HOSTILE],
        "data": [{"symbol": HOSTILE, "source": HOSTILE, "quality": {"grade": HOSTILE, HOSTILE: HOSTILE}}],
        "provenance": {"commit": HOSTILE, HOSTILE: HOSTILE, "libraries": {HOSTILE: HOSTILE}},
        "config": {HOSTILE: [HOSTILE]},
        "account": {HOSTILE: HOSTILE},
    }
    write_sample_result(folder, all_bars=bars, slow=60, changes=changes)
    trades = tables.read_table(folder / "trades.parquet")
    trades["entry_reason"] = trades["exit_reason"] = [HOSTILE] * len(trades["pnl"])
    tables._write(folder / "trades.parquet", trades)
    return folder


def test_text_cannot_break_out(tmp_path: Path) -> None:
    """Markup in names, symbols, reasons and settings stays text: three scripts, no image, no comment but
    ours.
    """
    text = report_html(hostile_result(tmp_path))
    page = Page(text)
    assert sum(tag == "script" for tag, _ in page.tags) == 3
    assert not any(tag == "img" for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "<!-- <img" not in text
    assert json.loads(page.scripts[0])["prices"][0]["symbol"] == HOSTILE + "A"
    assert any(HOSTILE in words for words in page.words)


def test_embedded_json_holds_no_markup() -> None:
    """What could end or comment out a script is escaped, and the value still reads back."""
    text = embedded_json({"a": [HOSTILE, "\u2028", 0.1]})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": [HOSTILE, "\u2028", 0.1]}


def test_tables_and_figures_need_no_script(several: Path) -> None:
    """Metrics, months, trades, refusals and provenance stand in the page as text."""
    result = json.loads((several / "result.json").read_text())
    words = " ".join(Page(report_html(several)).words)
    for expected in (
        "Sharpe ratio",
        "Expected shortfall 95%",
        "symbol_cap",
        "crossed_back",
        "SOL/USDT:USDT",
        "Best 50",
        "Worst 50",
    ):
        assert expected in words, expected
    for text in (
        result["digest"],
        result["config_hash"],
        result["provenance"]["commit"],
        *result["assumptions"],
        *result["warnings"],
    ):
        assert text in words, text
    assert figures.percent(result["metrics"]["total_return_fraction"]) in words


def with_metrics(folder: Path, copy: Path, **metrics: object) -> Path:
    """Return a copy of a result with other metrics."""
    shutil.copytree(folder, copy)
    result = json.loads((folder / "result.json").read_text())
    result["metrics"] |= metrics
    (copy / "result.json").write_text(json.dumps(result))
    return copy


def test_one_figure_in_two_units_is_one_row(hourly: Path, tmp_path: Path) -> None:
    """Bars and days of the same thing stand beside each other, in a unit that shows how long it was."""
    changed = {
        "maximum_drawdown_bars": 44_890,
        "maximum_drawdown_days": 31.17,
        "average_holding_bars": 44.3,
        "average_holding_days": 44.3 / 1440,
    }
    text = report_html(with_metrics(hourly, tmp_path / "minutes", **changed))
    lasted = "<span>44,890 <small>bars</small></span>, <span>31.2 <small>days</small></span>"
    held = "<span>44.3 <small>bars</small></span>, <span>44.3 <small>min</small></span>"
    assert text.count("<dt>It lasted</dt>") == 1
    assert f"<dt>It lasted</dt><dd>{lasted}</dd>" in text
    assert f"<dt>Average holding time</dt><dd>{held}</dd>" in text
    text = report_html(with_metrics(hourly, tmp_path / "idle", average_holding_bars=None, average_holding_days=None))
    nothing = '<span><span class="none" title="not defined for this run">–</span></span>'
    assert f"<dt>Average holding time</dt><dd>{nothing}</dd>" in text, "what is not defined is said once"


def test_the_lists_of_trades_are_the_last_the_best_and_the_worst(several: Path) -> None:
    """Each list holds fifty rows in its order, and the newest trade comes first."""
    rows = [attributes for tag, attributes in Page(report_html(several)).tags if tag == "tr"]
    for name in ("last", "best", "worst"):
        places = sorted(int(row[f"data-{name}"] or "") for row in rows if f"data-{name}" in row)
        assert places == list(range(50)), name


def test_a_bare_result_still_makes_a_report(tmp_path: Path) -> None:
    """Name, metrics and equity are enough; every other part is left out or says that it is missing."""
    equity = make_equity([100.0])
    fills = make_fills([])
    trades = build_trades(fills, tables.no_funding(), last_close=[1.0], last_time_ms=0, last_bar=0)
    tables.write_tables(tmp_path, equity=equity, fills=fills, trades=trades)
    (tmp_path / "result.json").write_text('{"name": "bare", "metrics": {"made_up": 1.5, "sharpe_ratio": null}}')
    text = report_html(tmp_path)
    assert "No trade was made." in text
    assert "This result holds no prices to draw." in text
    assert "made up" in text
    for name in ("trades.parquet", "fills.parquet"):
        (tmp_path / name).unlink()
    assert 'id="trades"' not in report_html(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ({"quality": {"grade": "B", "gaps": 2}, "source": "archive"}, ["<b>B</b>", "gaps 2", ">archive<"]),
        (
            {
                "grade": "A",
                "source_grade": "C",
                "quality": {"grade": "C", "score": 0.5, "findings": [{"kind": "zero_volume", "count": 12}]},
                "repairs": [{"kind": "gaps"}],
                "sources": [{"name": "january.csv"}, {"name": "february.csv"}],
            },
            [
                "<b>A</b>",
                "source was C, score 0.5, zero volume 12, 1 kind of repair",
                ">january.csv and 1 more<",
            ],
        ),
        ({"quality": {"score": 1.0, "rows": 5, "expected": 5}}, ["<b>–</b> <small></small>"]),
    ],
)
def test_data_and_its_quality_are_told(
    hourly: Path, tmp_path: Path, manifest: dict[str, Any], expected: list[str]
) -> None:
    """Grade, findings, repairs and sources of each manifest stand in the data table, in few words."""
    for file in hourly.glob("*.parquet"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "result.json").write_text(json.dumps({"name": "x", "metrics": {}, "data": [manifest]}))
    text = report_html(tmp_path)
    for words in expected:
        assert words in text, words


@pytest.mark.parametrize(
    "content",
    [None, b"{", b"[]", b'{"name": "x"}', b'{"metrics": {}}', b'{"name": "x", "metrics": []}'],
)
def test_a_folder_without_a_result_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing, broken or foreign result.json is a data error that names the file."""
    if content is not None:
        (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(DataError, match=r"result\.json"):
        report_html(tmp_path)


def test_values_of_the_wrong_kind_do_no_harm(hourly: Path, tmp_path: Path) -> None:
    """Optional parts of another type than expected are ignored, not fatal."""
    for file in hourly.glob("*.parquet"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    wrong = dict.fromkeys(
        (
            "strategy",
            "period",
            "account",
            "refusals",
            "assumptions",
            "warnings",
            "data",
            "provenance",
            "symbols",
        ),
        7,
    )
    (tmp_path / "result.json").write_text(json.dumps({"name": 3, "metrics": {"fees": "many"}, **wrong}))
    assert "<h1>3</h1>" in report_html(tmp_path)


def test_an_unwritable_place_leaves_nothing(hourly: Path, tmp_path: Path) -> None:
    """Writing into a folder that does not exist is an output error."""
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(hourly, tmp_path / "nowhere" / "report.html")


def test_size_for_a_month_of_minutes_and_for_two_years_of_them(tmp_path: Path) -> None:
    """45,031 bars stay below one megabyte and a million below two."""
    month = write_sample_result(tmp_path / "month", bars=45_031, timeframe="1m", slow=200, shorts=True)
    assert write_report(month).stat().st_size < 1_000_000
    years = write_sample_result(tmp_path / "years", bars=1_000_000, timeframe="1m", slow=400, shorts=True)
    assert write_report(years).stat().st_size < 2_000_000


# The page in a browser.


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is not installed: the report was not looked at")
        pytest.skip("Chromium is not installed")
    with Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def checked(browser: Browser) -> dict[str, str]:
    """Return what the page says about itself, after the checks that hold for every page."""
    told: dict[str, str] = browser.evaluate("({...document.documentElement.dataset})")
    assert browser.problems == []
    outside = [url for url in browser.requests if not url.startswith(("file:", "data:", "about:"))]
    assert outside == []
    assert told["ready"] == "yes"
    assert told["overflow"] == "0"
    assert "error" not in told
    return told


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_draws_itself(browser: Browser, several: Path, width: int, dark: bool) -> None:
    """All four charts are drawn, nothing sticks out, no error and no request, at a desk and on a phone, by
    day and night.
    """
    page = write_report(several)
    browser.open(page, width=width, height=844, dark=dark)
    assert checked(browser)["charts"] == "4"
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is dark
    sizes = browser.evaluate("[...document.querySelectorAll('canvas')].map(c => [c.clientWidth, c.clientHeight])")
    assert all(canvas_width > 0.75 * (width - 120) and height > 80 for canvas_width, height in sizes)
    faint = browser.evaluate(CONTRAST)
    assert faint == []


# Key figures and metrics that are wider than the place they stand in.
CLIPPED = """
[...document.querySelectorAll(".tiles, .tiles > div, .tiles dt, .tiles dd, .metrics dl > div, .metrics dd")]
  .filter((one) => one.scrollWidth > one.clientWidth).map((one) => `${one.className} ${one.textContent}`)
"""
MONEY = {
    "usual": {},
    "large": {"fees": 583_706.39, "annual_return_fraction": -0.99999, "turnover_per_year": 11_221.48},
    "huge": {
        "fees": 123_456_789_012.34,
        "slippage": -123_456_789_012.34,
        "expectancy": -123_456_789_012.34,
        "total_return_fraction": -123_456.789,
        "turnover_per_year": 1_234_567.8,
    },
    "words": {"fees": "unreasonably" * 8},
}


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 1100, 768, 390])
@pytest.mark.parametrize("size", MONEY)
def test_no_key_figure_is_cut_off(browser: Browser, hourly: Path, tmp_path: Path, width: int, size: str) -> None:
    """However long the figures, every tile and every metric shows all of them, in letters that can be read."""
    page = write_report(with_metrics(hourly, tmp_path / size, **MONEY[size]))
    browser.open(page, width=width, height=844)
    checked(browser)
    assert browser.evaluate(CLIPPED) == []
    figures_shown = "[...document.querySelectorAll('.tiles dd:not(.note)')]"
    sizes = browser.evaluate(f"{figures_shown}.map(one => parseFloat(getComputedStyle(one).fontSize))")
    assert len(set(sizes)) == 1, "the figures share one size"
    assert sizes[0] >= 13
    if size != "words":
        lines = browser.evaluate(
            f"{figures_shown}.map(one => one.clientHeight / parseFloat(getComputedStyle(one).fontSize))"
        )
        assert max(lines) < 2, "a number stays on one line"


@pytest.mark.browser
@pytest.mark.parametrize(
    ("bars", "timeframe", "slow", "about"),
    [(2_000, "1h", 150, 20), (30_000, "1h", 60, 600), (260_000, "1m", 60, 5_500)],
)
def test_entries_and_exits_are_seen_at_first_glance(
    browser: Browser, tmp_path: Path, bars: int, timeframe: str, slow: int, about: int
) -> None:
    """Few trades are all marked; of many a sample is, the page says so, and zooming in marks the rest."""
    folder = write_sample_result(tmp_path, bars=bars, timeframe=timeframe, slow=slow, shorts=True)
    trades = len(tables.read_table(folder / "trades.parquet")["pnl"])
    assert 0.8 * about <= trades <= 1.2 * about
    browser.open(write_report(folder), width=1280, height=900)
    checked(browser)
    told = "document.getElementById('marked').textContent"
    if trades < 50:
        assert browser.evaluate(told) == ""
        return
    found = re.fullmatch(
        r"a sample of (\d+) of ([\d,]+) trades: zoom in to see the other entries and exits", browser.evaluate(told)
    )
    assert found is not None
    assert 20 <= int(found[1]) <= 60
    assert int(found[2].replace(",", "")) == trades
    browser.evaluate("document.getElementById('plot-price').focus()")
    for _ in range(20):
        browser.press("+")
    settled(browser)
    assert browser.evaluate(told) == ""


# Text whose contrast to what lies behind it is below 4.5 : 1, as the Web Content Accessibility Guidelines ask
# (AA).
CONTRAST = """
(() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
    return Array.from(context.getImageData(0, 0, 1, 1).data);
  };
  const light = (c) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = c.slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll("main *, header *")) {
    const own = Array.from(node.childNodes).some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length) continue;
    const a = light(rgb(getComputedStyle(node).color)), b = light(behind(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const words = node.textContent.trim().slice(0, 20);
    if (ratio < 4.5) faint.push(`${node.tagName}.${node.className} ${words} ${ratio.toFixed(2)}`);
  }
  return Array.from(new Set(faint));
})()
"""


@pytest.mark.browser
def test_hostile_text_runs_nothing_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """The attack stays visible as text: the title is exactly the name, and no script of it ran."""
    browser.open(write_report(hostile_result(tmp_path)), width=1280, height=800)
    checked(browser)
    assert browser.evaluate("document.querySelector('h1').textContent") == HOSTILE
    assert browser.evaluate("window.broken") is None


def legends(browser: Browser) -> list[str]:
    """Return the reading of each chart."""
    texts: list[str] = browser.evaluate("[...document.querySelectorAll('.legend')].map(one => one.textContent)")
    return texts


def settled(browser: Browser) -> None:
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.browser
def test_charts_share_cursor_zoom_and_keyboard(browser: Browser, hourly: Path) -> None:
    """Pointing at one chart reads all of them; dragging zooms all; keys move the cursor, zoom and reset."""
    browser.open(write_report(hourly), width=1280, height=900)
    box = browser.evaluate(
        "(() => { const p = document.getElementById('plot-equity'); p.scrollIntoView({block: 'center', "
        "behavior: 'instant'});"
        " const r = p.querySelector('.u-over').getBoundingClientRect(); return [r.left, r.top, r.width, "
        "r.height]; })()"
    )
    left, top, width, height = box
    at_rest = legends(browser)
    assert all(text.startswith("2025-01-") for text in at_rest)
    browser.mouse("mouseMoved", left + width / 2, top + height / 2)
    settled(browser)
    pointed = legends(browser)
    assert pointed != at_rest
    assert len({text[:7] for text in pointed}) == 1, "all charts read the same month"

    axis = "document.querySelectorAll('#range [aria-pressed=true]').length"
    assert browser.evaluate(axis) == 1
    browser.mouse("mousePressed", left + width * 0.25, top + height / 2, count=1)
    for step in range(6):
        browser.mouse("mouseMoved", left + width * (0.25 + step * 0.05), top + height / 2, count=1)
    browser.mouse("mouseReleased", left + width * 0.5, top + height / 2, count=1)
    settled(browser)
    assert browser.evaluate(axis) == 0, "the whole is no longer shown"
    browser.mouse("mouseMoved", 5, 5)
    settled(browser)
    zoomed = legends(browser)
    assert zoomed[0][:10] < "2024-08-01", "the last reading lies inside the zoomed part"
    assert len({text[:10] for text in zoomed}) == 1

    browser.evaluate("document.getElementById('plot-price').focus()")
    browser.press("ArrowLeft")
    settled(browser)
    first = browser.evaluate("document.getElementById('live').textContent")
    browser.press("ArrowLeft")
    settled(browser)
    second = browser.evaluate("document.getElementById('live').textContent")
    assert "close" in first
    assert second < first, "one point earlier"
    browser.press("0")
    settled(browser)
    assert browser.evaluate(axis) == 1
    browser.press("+")
    settled(browser)
    assert browser.evaluate(axis) == 0
    assert browser.problems == []


@pytest.mark.browser
def test_controls_of_the_page(browser: Browser, several: Path) -> None:
    """Log scale, symbol, theme, lists and sorting do what their labels say, without an error."""
    browser.open(write_report(several), width=1280, height=900, fragment="#theme=dark")
    assert browser.evaluate("document.documentElement.dataset.theme") == "dark"
    browser.evaluate("document.getElementById('theme').click()")
    assert browser.evaluate("document.documentElement.dataset.theme") == "light"
    before = legends(browser)
    browser.evaluate(
        "(() => { const s = document.getElementById('symbol'); s.value = 2; s.dispatchEvent(new Event('change')); })()"
    )
    settled(browser)
    assert legends(browser)[3] != before[3]
    browser.evaluate("document.getElementById('log').click()")
    settled(browser)
    assert browser.evaluate("document.getElementById('log').getAttribute('aria-pressed')") == "true"

    shown = "[...document.querySelectorAll('#trade-table tbody tr:not([hidden])')]"
    pnl = f"{shown}.map(row => Number(row.querySelectorAll('[data-v]')[7].dataset.v))"
    assert browser.evaluate(f"{shown}.length") == 50
    browser.evaluate("document.querySelector('[data-list=best]').click()")
    best = browser.evaluate(pnl)
    assert len(best) == 50
    assert best == sorted(best, reverse=True)
    browser.evaluate("document.querySelector('[data-list=worst]').click()")
    worst = browser.evaluate(pnl)
    assert worst == sorted(worst)
    assert worst[0] < best[-1]
    head = "[...document.querySelectorAll('#trade-table th')].find(th => th.textContent === 'PnL')"
    browser.evaluate(f"{head}.firstElementChild.click()")
    assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
    assert browser.evaluate(pnl) == sorted(worst, reverse=True)
    assert browser.problems == []


@pytest.mark.browser
def test_the_page_prints(browser: Browser, hourly: Path, tmp_path: Path) -> None:
    """Printing gives a document of several pages and leaves the page as it was."""
    browser.open(write_report(hourly), width=1280, height=900, dark=True)
    browser.pdf(tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b(?!s)", content)) <= 12
    settled(browser)
    assert browser.evaluate("document.documentElement.dataset.theme") is None
    assert browser.problems == []
