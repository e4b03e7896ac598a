"""Stored candles and loading: what is written comes back, what was changed is refused, and bad data never
passes unnoticed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError, OutputError
from trading_runtime.core.timeframes import HOUR_MS, parse_time
from trading_runtime.data.files import LoadedBars, load_bars, parquet_bytes, store
from trading_runtime.data.findings import Grade
from trading_runtime.data.manifest import manifest_path
from trading_runtime.data.quality import assess
from trading_runtime.data.raw import Source, raw_of_bars
from trading_runtime.data.synth import synthesize

MARKET_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "market-data"
START = parse_time("2024-01-01")
BARS = synthesize("BTC/USDT", "1h", START, 200, 8)


def stored(path: Path, bars: Bars = BARS, grade: Grade | None = None) -> Path:
    source = Source("made.csv", "0" * 64, len(bars))
    report = assess(raw_of_bars(bars, source), bars.bar_ms)
    store(path, bars, sources=(source,), source_kind="file", report=report, grade=grade or report.grade)
    return path


def csv_lines(bars: Bars = BARS) -> list[str]:
    lines = ["time,open,high,low,close,volume"]
    for row in range(len(bars)):
        lines.append(
            ",".join([str(int(bars.open_time[row])), *(repr(float(getattr(bars, name)[row])) for name in FIELDS)])
        )
    return lines


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@given(
    seed=st.integers(0, 1_000),
    rows=st.integers(1, 400),
    symbol=st.sampled_from(["BTC/USDT", "BTC/USDT:USDT"]),
)
@settings(max_examples=25, deadline=None)
def test_stored_bars_come_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, symbol: str
) -> None:
    """Columns, symbol, timeframe and manifest survive; storing the same bars twice gives the same bytes."""
    bars = synthesize(symbol, "1h", START, rows, seed)
    folder = tmp_path_factory.mktemp("stored")
    one, two = stored(folder / "one.parquet", bars), stored(folder / "two.parquet", bars)

    loaded = load_bars(one)

    assert loaded.bars.content_hash() == bars.content_hash() == loaded.manifest["content_hash"]
    assert (loaded.bars.symbol, loaded.bars.timeframe) == (symbol, "1h")
    assert one.read_bytes() == two.read_bytes()
    assert manifest_path(one).read_bytes() == manifest_path(two).read_bytes()


def test_the_manifest_says_everything_and_nothing_of_this_machine(tmp_path: Path) -> None:
    """All promised keys are there; no path, no folder name and no date of today."""
    path = stored(tmp_path / "BTC-USDT-1h.parquet")

    text = manifest_path(path).read_text()
    manifest = json.loads(text)

    assert manifest_path(path).name == "BTC-USDT-1h.manifest.json"
    assert manifest["rows"] == 200
    assert (manifest["first_time"], manifest["first_time_ms"]) == ("2024-01-01T00:00:00Z", START)
    assert manifest["last_time_ms"] == START + 199 * HOUR_MS
    assert manifest["sources"] == [{"name": "made.csv", "rows": 200, "sha256": "0" * 64}]
    assert (manifest["schema_version"], manifest["grade"], manifest["exception_allowed"]) == (1, "A", False)
    assert str(tmp_path) not in text


def test_a_stored_file_is_plain_parquet_for_others(tmp_path: Path) -> None:
    """Any Parquet reader sees the six columns with their types."""
    table = pyarrow.parquet.ParquetFile(stored(tmp_path / "x.parquet")).read()

    assert table.column_names == ["open_time", *FIELDS]
    assert [str(field.type) for field in table.schema] == ["int64", *["double"] * 5]
    assert table.schema.metadata[b"trading_runtime.symbol"] == b"BTC/USDT"


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_one_changed_bit_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    """The file no longer matches its manifest, and the message says so."""
    path = stored(tmp_path_factory.mktemp("bit") / "x.parquet")
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(bytes(content))

    with pytest.raises(DataError) as error:
        load_bars(path)
    # A hit in the first four bytes hides that it is Parquet at all.
    assert place * len(content) < 4 or "changed since it was imported" in str(error.value)


def test_a_stored_file_without_manifest_is_judged_anew(tmp_path: Path) -> None:
    """Removing the manifest makes a raw file of it, which knows its symbol and is assessed."""
    path = stored(tmp_path / "whatever.parquet")
    manifest_path(path).unlink()

    loaded = load_bars(path)

    assert loaded.bars.content_hash() == BARS.content_hash()
    assert loaded.manifest["file_sha256"] is None
    assert loaded.manifest["grade"] == "A"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text[:50], "not readable JSON"),
        (lambda text: "[]", "not a manifest"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 99'), "schema version 99"),
        (lambda text: text.replace('"grade": "A"', '"grade": "S"'), "unknown grade"),
        (lambda text: "", "empty"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, damage: Callable[[str], str], expected: str) -> None:
    """Cut, foreign, newer, nonsensical and empty manifests are told in one line."""
    path = stored(tmp_path / "x.parquet")
    manifest_path(path).write_text(damage(manifest_path(path).read_text()))

    with pytest.raises(DataError, match=expected) as error:
        load_bars(path)
    assert "\n" not in str(error.value)


def test_asking_for_another_symbol_or_timeframe_is_refused(tmp_path: Path) -> None:
    """A stored file is what it says it is."""
    path = stored(tmp_path / "x.parquet")

    assert load_bars(path, symbol="BTC/USDT", timeframe="1h").bars.symbol == "BTC/USDT"
    with pytest.raises(DataError, match="holds symbol BTC/USDT, not ETH/USDT"):
        load_bars(path, symbol="ETH/USDT")
    with pytest.raises(DataError, match="holds timeframe 1h, not 4h"):
        load_bars(path, timeframe="4h")


def test_raw_files_are_loaded_directly_with_a_manifest_in_memory(tmp_path: Path) -> None:
    """A CSV and the stored file of the same bars are the same bars; nothing is written."""
    path = write_lines(tmp_path / "BTC-USDT-1h.csv", csv_lines())

    loaded = load_bars(path)

    assert isinstance(loaded, LoadedBars)
    assert loaded.bars.content_hash() == BARS.content_hash()
    assert loaded.manifest["sources"][0]["name"] == "BTC-USDT-1h.csv"
    assert [entry.name for entry in tmp_path.iterdir()] == ["BTC-USDT-1h.csv"]


def test_unknown_symbol_or_timeframe_is_asked_for(tmp_path: Path) -> None:
    """A file that does not say its symbol needs to be told; the timeframe is read from the steps, or asked
    for too.
    """
    path = write_lines(tmp_path / "candles.csv", csv_lines())
    with pytest.raises(DataError, match="give --symbol"):
        load_bars(path)
    assert load_bars(path, symbol="BTC/USDT").bars.timeframe == "1h"
    with pytest.raises(ConfigurationError, match="not of the form"):
        load_bars(path, symbol="BTCUSDT")
    single = write_lines(tmp_path / "one.csv", csv_lines()[:2])
    with pytest.raises(DataError, match="give --timeframe"):
        load_bars(single, symbol="BTC/USDT")
    assert len(load_bars(single, symbol="BTC/USDT", timeframe="1h").bars) == 1


def replaced(row: int, column: int, value: str) -> list[str]:
    lines = csv_lines()
    fields = lines[row].split(",")
    fields[column] = value
    lines[row] = ",".join(fields)
    return lines


SHUFFLED = [csv_lines()[0], *(csv_lines()[1 + (place * 7) % 200] for place in range(200))]
BAD_LINES: dict[str, tuple[list[str], str, str]] = {
    "gap": ([*csv_lines()[:50], *csv_lines()[52:]], "C", "2 bar.s. are missing.*first before row 51"),
    "duplicate": ([*csv_lines()[:50], *csv_lines()[49:]], "C", "repeat an earlier row exactly, first row 51"),
    "shuffled": (SHUFFLED, "C", "older than the row before, first row 31"),
    "not a number": (replaced(9, 4, ""), "D", "missing or not finite, first row 10"),
    "negative": (replaced(9, 2, "-5"), "D", "price of zero or less, first row 10"),
    "negative volume": (replaced(9, 5, "-5"), "D", "negative volume, first row 10"),
    "impossible": (replaced(9, 2, "1.5"), "D", "cannot be.*first row 10"),
    "conflict": (
        [*csv_lines()[:50], replaced(49, 5, "1")[49], *csv_lines()[50:]],
        "D",
        "repeat a time with other values",
    ),
    "other unit": (
        replaced(9, 0, str(START // 1000 + 8 * 3600)),
        "D",
        "time in another unit than the rest, first row 10",
    ),
    "off grid": (
        replaced(9, 0, str(START + 8 * HOUR_MS + 60_000)),
        "D",
        "not open on a bar boundary.*first row 10",
    ),
}


@pytest.mark.parametrize("kind", list(BAD_LINES))
def test_bad_files_are_refused_in_one_line_that_names_the_row(tmp_path: Path, kind: str) -> None:
    """Every kind of trouble: its grade, what it is, which line of which file, and what to do."""
    lines, grade, expected = BAD_LINES[kind]
    path = write_lines(tmp_path / "BTC-USDT-1h.csv", lines)

    with pytest.raises(BarsError, match=f"quality {grade} is below the required B: .*{expected}") as error:
        load_bars(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["duplicate", "shuffled"])
def test_lossless_repairs_need_leave_and_leave_good_bars(tmp_path: Path, kind: str) -> None:
    """With C allowed, doubled and shuffled rows give the original bars, graded A, and the manifest tells of
    the source's C.
    """
    path = write_lines(tmp_path / "BTC-USDT-1h.csv", BAD_LINES[kind][0])

    loaded = load_bars(path, quality_minimum="C")

    assert loaded.bars.content_hash() == BARS.content_hash()
    assert (loaded.manifest["grade"], loaded.manifest["source_grade"]) == ("A", "C")
    assert loaded.manifest["exception_allowed"] is True
    assert loaded.manifest["repairs"]


def test_gaps_are_filled_when_asked_and_never_forgotten(tmp_path: Path) -> None:
    """Filling needs no other leave than its own; the result stays grade C, in memory and stored."""
    path = write_lines(tmp_path / "BTC-USDT-1h.csv", BAD_LINES["gap"][0])
    with pytest.raises(BarsError, match="--gaps fill"):
        load_bars(path, quality_minimum="C")

    loaded = load_bars(path, gaps="fill")

    assert len(loaded.bars) == 200
    assert (loaded.manifest["grade"], loaded.manifest["exception_allowed"]) == ("C", True)
    again = stored(tmp_path / "again.parquet", loaded.bars, grade=loaded.manifest["grade"])
    with pytest.raises(BarsError, match="quality C is below the required B"):
        load_bars(again)
    assert load_bars(again, gaps="fill").manifest["exception_allowed"] is True
    assert load_bars(again, quality_minimum="C").manifest["grade"] == "C"


def test_errors_pass_only_with_every_leave(tmp_path: Path) -> None:
    """Grade D needs quality D, leave to drop rows and leave to fill the hole; the result is D for ever."""
    path = write_lines(tmp_path / "BTC-USDT-1h.csv", BAD_LINES["impossible"][0])

    with pytest.raises(BarsError, match="never used"):
        load_bars(path, quality_minimum="D")
    with pytest.raises(BarsError, match="missing"):
        load_bars(path, quality_minimum="D", drop_errors=True)
    loaded = load_bars(path, quality_minimum="D", drop_errors=True, gaps="fill")
    assert len(loaded.bars) == 200
    assert (loaded.manifest["grade"], loaded.manifest["exception_allowed"]) == ("D", True)


def test_an_open_bar_is_refused_or_dropped(tmp_path: Path) -> None:
    """Given the present time, a bar that has not closed is not history."""
    path = write_lines(tmp_path / "BTC-USDT-1h.csv", csv_lines())
    now = int(BARS.close_time[-1]) - 1

    with pytest.raises(BarsError, match="not closed yet, first row 201"):
        load_bars(path, now_ms=now)
    assert len(load_bars(path, now_ms=now, quality_minimum="C").bars) == 199


def test_wrong_choices_are_refused(tmp_path: Path) -> None:
    """Unknown grades and gap policies are configuration errors, for stored and raw files."""
    for path in (stored(tmp_path / "x.parquet"), write_lines(tmp_path / "BTC-USDT-1h.csv", csv_lines())):
        with pytest.raises(ConfigurationError, match="one of A, B, C, D"):
            load_bars(path, quality_minimum="E")
        with pytest.raises(ConfigurationError, match="refuse or fill"):
            load_bars(path, gaps="interpolate")


@pytest.mark.parametrize("step", ["fsync", "replace", "interrupt"])
def test_a_failed_write_leaves_the_old_file_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A full disk, a failing rename and Ctrl-C leave the earlier content readable and no temporary file."""
    path = stored(tmp_path / "x.parquet")
    before = path.read_bytes()
    failing: type[BaseException] = KeyboardInterrupt if step == "interrupt" else OSError

    def fail(*_: object) -> None:
        raise failing(28, "No space left on device")

    monkeypatch.setattr(f"trading_runtime.data.atomic.os.{'replace' if step == 'replace' else 'fsync'}", fail)
    with pytest.raises(KeyboardInterrupt if step == "interrupt" else OutputError):
        stored(path, synthesize("BTC/USDT", "1h", START, 300, 9))
    monkeypatch.undo()

    assert path.read_bytes() == before
    # Once renaming began the old manifest is gone: the file is judged anew instead of trusted.
    rest = ["x.parquet"] if step == "replace" else ["x.manifest.json", "x.parquet"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == rest
    assert load_bars(path).bars.content_hash() == BARS.content_hash()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file where a folder should be is one line, not a traceback."""
    (tmp_path / "data").write_text("a file")

    with pytest.raises(OutputError, match="cannot be written"):
        stored(tmp_path / "data" / "x.parquet")


def test_files_are_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    """Data is no secret: a stored file has the rights of any new file."""
    (tmp_path / "plain").write_text("x")
    path = stored(tmp_path / "x.parquet")

    assert path.stat().st_mode == os.stat(tmp_path / "plain").st_mode


def test_the_parquet_bytes_share_no_state_with_the_bars() -> None:
    """Writing does not change the bars or need them writable."""
    hash_before = BARS.content_hash()
    assert parquet_bytes(BARS) == parquet_bytes(BARS)
    assert BARS.content_hash() == hash_before


@pytest.mark.skipif(not MARKET_DATA.is_dir(), reason="the folder with real market data is not here")
def test_real_files_load_and_store(tmp_path: Path) -> None:
    """The real month has 45,031 bars of grade A or B; a copy made through Parquet is the same; the daily file
    has warnings.
    """
    minutes = load_bars(MARKET_DATA / "btc-perp-1m-2022-01.csv.gz", symbol="BTC/USDT:USDT")

    assert len(minutes.bars) == 45_031
    assert minutes.manifest["grade"] in ("A", "B")
    copy = load_bars(stored(tmp_path / "copy.parquet", minutes.bars))
    assert copy.bars.content_hash() == minutes.bars.content_hash()
    days = load_bars(MARKET_DATA / "btc-usd-1d-2011-2025.csv")
    assert (len(days.bars), days.manifest["grade"]) == (5_152, "B")
    four_hours = [load_bars(path).bars for path in sorted((MARKET_DATA / "binance-spot-4h").glob("*.csv"))]
    assert [len(bars) for bars in four_hours] == [500] * 4
    assert all(np.array_equal(bars.open_time, four_hours[0].open_time) for bars in four_hours)


def test_a_file_in_a_format_of_ours_moved_without_its_manifest_still_loads(tmp_path: Path) -> None:
    """Symbol and timeframe travel inside the Parquet file."""
    path = stored(tmp_path / "x.parquet")
    moved = tmp_path / "elsewhere.bin"
    shutil.move(path, moved)

    assert load_bars(moved).bars.symbol == "BTC/USDT"
