"""Reading candle files: every format, unit and layout gives the same columns, and every damaged file is told
in one line.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import ConfigurationError, DataError, TradingRuntimeError
from trading_runtime.core.timeframes import iso_time, parse_time
from trading_runtime.data.files import load_bars, parquet_bytes
from trading_runtime.data.names import file_stem, guess_from_name
from trading_runtime.data.raw import RawBars
from trading_runtime.data.readers import read_many, read_raw
from trading_runtime.data.synth import synthesize

MARKET_DATA = Path(__file__).resolve().parents[1].parent / "shared" / "market-data"
START = parse_time("2024-12-31T12:00:00Z")
BARS = synthesize("BTC/USDT", "1h", START, 24, 5)


def kline_lines(bars: Bars, *, unit: int = 1, header: bool = False) -> list[str]:
    """Binance's twelve columns; ``unit`` multiplies milliseconds."""
    lines = []
    if header:
        lines.append(
            "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
        )
    for row in range(len(bars)):
        time = int(bars.open_time[row])
        prices = ",".join(repr(float(getattr(bars, name)[row])) for name in FIELDS)
        lines.append(f"{time * unit},{prices},{(time + bars.bar_ms) * unit - 1},1.5,7,0.5,0.5,0")
    return lines


def write_zip(path: Path, text: str, *, member: str | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member or path.name.replace(".zip", ".csv"), text)
    return path


def same_columns(raw: RawBars, bars: Bars = BARS) -> bool:
    return bool(np.array_equal(raw.open_time, bars.open_time)) and all(
        np.array_equal(getattr(raw, name), getattr(bars, name)) for name in FIELDS
    )


def csv_text(bars: Bars, times: list[str], header: str = "time,open,high,low,close,volume", mark: str = ",") -> str:
    rows = [
        mark.join([times[row], *(repr(float(getattr(bars, name)[row])) for name in FIELDS)]) for row in range(len(bars))
    ]
    return "\n".join([header.replace(",", mark), *rows]) + "\n"


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("header", [False, True])
def test_archive_zip_is_read_with_symbol_and_timeframe_from_its_name(tmp_path: Path, unit: int, header: bool) -> None:
    """Milliseconds and microseconds, with and without header, give the same columns."""
    path = write_zip(tmp_path / "BTCUSDT-1h-2024-12.zip", "\n".join(kline_lines(BARS, unit=unit, header=header)))

    raw = read_raw(path)

    assert same_columns(raw)
    assert (raw.symbol, raw.timeframe) == ("BTC/USDT", "1h")
    assert raw.row[0] == (2 if header else 1)
    assert raw.flaws == {}


def test_files_in_different_units_are_joined_into_one_in_any_order(tmp_path: Path) -> None:
    """An archive of 2024 in milliseconds and one of 2025 in microseconds are one series, whichever is named
    first.
    """
    lines_ms, lines_us = kline_lines(BARS)[:12], kline_lines(BARS, unit=1000)[12:]
    old = write_zip(tmp_path / "BTCUSDT-1h-2024-12.zip", "\n".join(lines_ms))
    new = write_zip(tmp_path / "BTCUSDT-1h-2025-01.zip", "\n".join(lines_us))

    forward, backward = read_many([old, new]), read_many([new, old])

    assert same_columns(forward)
    assert same_columns(backward)
    assert [source.name for source in backward.sources] == [old.name, new.name]
    assert forward.flaws == {}


def test_the_archive_switch_to_microseconds_inside_one_file_is_noted_and_any_other_mix_is_a_flaw(
    tmp_path: Path,
) -> None:
    """Milliseconds before 2025-01-01 and microseconds after is what the archive does; other mixes are damage."""
    ms, us = kline_lines(BARS), kline_lines(BARS, unit=1000)
    switch = tmp_path / "BTCUSDT-1h-2024-12.csv"
    switch.write_text("\n".join(ms[:12] + us[12:]))
    damaged = tmp_path / "BTCUSDT-1h-2024-11.csv"
    damaged.write_text("\n".join([*ms[:5], us[5], *ms[6:]]))

    assert same_columns(read_raw(switch))
    assert read_raw(switch).flaws["unit_switch"].tolist() == [12]
    assert same_columns(read_raw(damaged))
    assert read_raw(damaged).flaws["mixed_units"].tolist() == [5]


def test_checksum_beside_the_archive_is_verified(tmp_path: Path) -> None:
    """A matching checksum passes, another one is refused, and so is something that is no checksum."""
    path = write_zip(tmp_path / "BTCUSDT-1h-2024-12.zip", "\n".join(kline_lines(BARS)))
    checksum = path.with_name(path.name + ".CHECKSUM")
    checksum.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")

    assert same_columns(read_raw(path))

    checksum.write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(DataError, match="checksum does not match") as error:
        read_raw(path)
    assert "fetch both again" in one_line(error)

    checksum.write_text("<html>not found</html>")
    with pytest.raises(DataError, match="not a checksum file"):
        read_raw(path)


def test_damaged_archives_are_refused_in_one_line(tmp_path: Path) -> None:
    """Two members, no member, 0 bytes, a cut, a flipped byte and a text that calls itself zip."""
    good = write_zip(tmp_path / "BTCUSDT-1h-2024-12.zip", "\n".join(kline_lines(BARS)))
    content = good.read_bytes()
    two = io.BytesIO()
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "2")
    none = io.BytesIO()
    with zipfile.ZipFile(none, "w"):
        pass
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 0xFF
    cases = {
        "several": (two.getvalue(), "exactly one file and holds 2"),
        "none": (none.getvalue(), "exactly one file and holds 0"),
        "empty": (b"", "empty"),
        "cut": (content[: len(content) // 2], "cut off or damaged"),
        "flipped": (bytes(flipped), "cut off or damaged"),
        "text": (b"time,open\n1,2\n", "cut off or damaged"),
    }
    for name, (damaged, expected) in cases.items():
        path = tmp_path / f"{name}-BTCUSDT-1h.zip"
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=expected) as error:
            read_raw(path)
        assert str(path) in one_line(error)


@pytest.mark.parametrize(
    ("name", "symbol", "timeframe"),
    [
        ("BTCUSDT-1h-2024-01.zip", "BTC/USDT", "1h"),
        ("ETHBTC-15m-2024-01-31.zip", "ETH/BTC", "15m"),
        ("1000SHIBUSDT-1d-2024-01.csv", "1000SHIB/USDT", "1d"),
        ("um/BTCUSDT-1h-2024-01.zip", "BTC/USDT:USDT", "1h"),
        ("BTC_USDT-1h.feather", "BTC/USDT", "1h"),
        ("BTC_USDT_USDT-4h-futures.feather", "BTC/USDT:USDT", "4h"),
        ("BTC-USDT-1h.parquet", "BTC/USDT", "1h"),
        ("BTC-USDT_USDT-1h.parquet", "BTC/USDT:USDT", "1h"),
        ("Bitstamp_BTCUSD_1h.csv", "BTC/USD", "1h"),
        ("btc-usd-1d-2011-2025.csv", "BTC/USD", "1d"),
        ("SOL-FDUSD.csv.gz", "SOL/FDUSD", None),
        ("my-btc.csv", None, None),
        ("candles.csv", None, None),
        ("btc-perp-1m-2022-01.csv.gz", None, "1m"),
        ("BTCUSDT_240628-1h-2024-01.zip", None, "1h"),
        ("BTCUSD_PERP-1h-2024-01.zip", None, "1h"),
    ],
)
def test_names_say_symbol_and_timeframe(name: str, symbol: str | None, timeframe: str | None) -> None:
    """The usual names of archives and programs are understood, and nothing is read into other names."""
    guess = guess_from_name(Path(name))

    assert (guess.symbol, guess.timeframe) == (symbol, timeframe)


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTC/USDT:USDT", "1000PEPE/USDC", "ETH/BTC"])
def test_own_file_names_are_read_back(symbol: str) -> None:
    """A stored file's name says the symbol it was stored under."""
    guess = guess_from_name(Path(file_stem(symbol, "15m") + ".parquet"))

    assert (guess.symbol, guess.timeframe) == (symbol, "15m")


def test_months_are_refused_clearly(tmp_path: Path) -> None:
    """A month has no fixed length, so its bars are not read."""
    path = write_zip(tmp_path / "BTCUSDT-1mo-2024-01.zip", "\n".join(kline_lines(BARS)))

    with pytest.raises(DataError, match="no fixed length"):
        read_raw(path)


TIMES: dict[str, Callable[[int], str]] = {
    "s": lambda ms: str(ms // 1000),
    "ms": str,
    "us": lambda ms: str(ms * 1000),
    "ns": lambda ms: str(ms * 1_000_000),
    "float seconds": lambda ms: f"{ms / 1000:.1f}",
    "iso": lambda ms: iso_time(ms).removesuffix("Z"),
    "iso Z": iso_time,
    "iso space": lambda ms: iso_time(ms).replace("T", " ").removesuffix("Z"),
    "iso micro": lambda ms: iso_time(ms).removesuffix("Z") + ".000000",
    "iso offset": lambda ms: iso_time(ms + 7_200_000).removesuffix("Z") + "+02:00",
    "iso utc": lambda ms: iso_time(ms).replace("T", " ").removesuffix("Z") + " UTC",
}


@pytest.mark.parametrize("kind", list(TIMES))
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_every_way_to_write_a_time_gives_the_same_milliseconds(tmp_path: Path, kind: str, mark: str) -> None:
    """Units by magnitude, ISO texts with and without zone, three delimiters: one result."""
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text(csv_text(BARS, [TIMES[kind](int(time)) for time in BARS.open_time], mark=mark))

    assert same_columns(read_raw(path))


@given(
    order=st.permutations(range(6)),
    names=st.tuples(
        st.sampled_from(
            [
                "timestamp",
                "Open_Time",
                "open_time_ms",
                "unix_timestamp",
                "Time",
                "DATE",
                "datetime",
                "ts",
                "Unix",
            ]
        ),
        st.sampled_from(["open", "O", "Open Price", " open "]),
        st.sampled_from(["HIGH", "h", "High"]),
        st.sampled_from(["low", "L", "price_low"]),
        st.sampled_from(["Close", "c", "CLOSE"]),
        st.sampled_from(["volume", "Vol", "v", "Volume BTC", "volume_(btc)"]),
    ),
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
)
@settings(max_examples=60, deadline=None)
def test_column_order_and_names_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], names: tuple[str, ...], unit: str
) -> None:
    """Any order of columns under any of their usual names gives the same columns."""
    path = tmp_path_factory.mktemp("order") / "BTC-USDT-1h.csv"
    columns = [[TIMES[unit](int(time)) for time in BARS.open_time]]
    columns += [[repr(float(value)) for value in getattr(BARS, name)] for name in FIELDS]
    lines = [",".join(names[place] for place in order)]
    lines += [",".join(columns[place][row] for place in order) for row in range(len(BARS))]
    path.write_text("\n".join(lines))

    assert same_columns(read_raw(path))


def test_pandas_reads_the_same_numbers(tmp_path: Path) -> None:
    """An independent reader agrees on every value to the last bit."""
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text(csv_text(BARS, [iso_time(int(time)) for time in BARS.open_time]))
    frame = pd.read_csv(path, parse_dates=["time"])

    raw = read_raw(path)

    milliseconds = frame["time"].dt.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    assert np.array_equal(raw.open_time, milliseconds)
    for name in FIELDS:
        assert np.array_equal(getattr(raw, name), frame[name].to_numpy())


def test_titles_marks_line_ends_and_empty_lines_do_not_disturb_and_rows_keep_their_line(
    tmp_path: Path,
) -> None:
    """A title line, a byte order mark, CRLF and empty lines are passed over; row numbers are lines of the
    file.
    """
    body = csv_text(BARS, [str(int(time)) for time in BARS.open_time]).splitlines()
    lines = ["https://www.example.com/candles", body[0], *body[1:4], "", "", *body[4:]]
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())

    raw = read_raw(path)

    assert same_columns(raw)
    assert raw.row[:5].tolist() == [3, 4, 5, 8, 9]


def test_decimal_commas_are_understood_between_semicolons(tmp_path: Path) -> None:
    """A spreadsheet of a country that writes 1,5 is read as 1.5."""
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text(csv_text(BARS, [str(int(time)) for time in BARS.open_time], mark=";").replace(".", ","))

    assert same_columns(read_raw(path))


def test_newest_first_is_an_order_and_not_damage(tmp_path: Path) -> None:
    """A file that runs backwards is turned around, noted, and rows keep their line."""
    lines = csv_text(BARS, [str(int(time)) for time in BARS.open_time]).splitlines()
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text("\n".join([lines[0], *lines[:0:-1]]))

    raw = read_raw(path)

    assert same_columns(raw)
    assert "rows were newest first" in raw.notes
    assert raw.row[0] == len(BARS) + 1


def test_several_time_columns_must_agree_and_the_number_is_preferred(tmp_path: Path) -> None:
    """The numeric column is read; a text that says another time is refused with the row and the way out."""
    lines = ["date,unix,open,high,low,close,volume"]
    for row in range(len(BARS)):
        time = int(BARS.open_time[row])
        prices = ",".join(repr(float(getattr(BARS, name)[row])) for name in FIELDS)
        lines.append(f"{iso_time(time)},{time // 1000},{prices}")
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text("\n".join(lines))
    assert same_columns(read_raw(path))

    lines[5] = lines[5].replace(iso_time(int(BARS.open_time[4])), iso_time(int(BARS.open_time[9])))
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"row 6: columns 'unix'.*disagree") as error:
        read_raw(path)
    assert "--column time=unix" in one_line(error)
    assert same_columns(read_raw(path, columns={"time": "unix"}))


def test_the_volume_in_the_base_currency_is_chosen(tmp_path: Path) -> None:
    """Of Volume BTC and Volume USDT the first is the volume; of two coins the symbol decides; otherwise it is
    asked.
    """
    lines = ["unix,open,high,low,close,Volume USDT,Volume BTC"]
    for row in range(len(BARS)):
        values = [repr(float(getattr(BARS, name)[row])) for name in FIELDS]
        lines.append(",".join([str(int(BARS.open_time[row])), *values[:4], "1.0", values[4]]))
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text("\n".join(lines))
    assert same_columns(read_raw(path))

    path = tmp_path / "candles.csv"
    path.write_text("\n".join(lines).replace("USDT", "ETH"))
    assert same_columns(read_raw(path, symbol="BTC/ETH"))
    with pytest.raises(DataError, match="no column for volume"):
        read_raw(path)
    assert same_columns(read_raw(path, columns={"volume": "volume btc"}))


def test_a_symbol_column_names_the_symbol_and_two_symbols_are_refused(tmp_path: Path) -> None:
    """A constant symbol column is believed; a file that mixes symbols is not one series."""
    lines = ["unix,symbol,open,high,low,close,volume"]
    for row in range(len(BARS)):
        prices = ",".join(repr(float(getattr(BARS, name)[row])) for name in FIELDS)
        lines.append(f"{int(BARS.open_time[row])},ETH/USDT,{prices}")
    path = tmp_path / "candles.csv"
    path.write_text("\n".join(lines))
    assert read_raw(path).symbol == "ETH/USDT"

    path.write_text("\n".join([*lines[:-1], lines[-1].replace("ETH/USDT", "BTC/USDT")]))
    with pytest.raises(DataError, match="several symbols"):
        read_raw(path)


def test_unknown_layouts_say_what_was_found_and_how_to_map_it(tmp_path: Path) -> None:
    """One line with the columns found and the option; the mapping then works, wrong mappings are told."""
    text = csv_text(BARS, [str(int(time)) for time in BARS.open_time], header="moment,open,high,low,final,amount")
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="no column for time, close, volume") as error:
        read_raw(path)
    assert "found: moment, open, high, low, final, amount" in one_line(error)
    assert "--column time=NAME" in one_line(error)
    assert same_columns(read_raw(path, columns={"time": "moment", "close": "Final", "volume": "6"}))
    with pytest.raises(ConfigurationError, match="no such column"):
        read_raw(path, columns={"time": "moments"})
    with pytest.raises(ConfigurationError, match="unknown name"):
        read_raw(path, columns={"tim": "moment"})


def test_headerless_tables_are_read_by_their_number_of_columns_or_by_numbers(tmp_path: Path) -> None:
    """Six, seven and twelve columns are known; others are refused until their columns are numbered."""
    lines = csv_text(BARS, [str(int(time)) for time in BARS.open_time]).splitlines()[1:]
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text("\n".join(lines))
    assert same_columns(read_raw(path))
    path.write_text("\n".join(f"{line},9" for line in lines))
    assert same_columns(read_raw(path))
    path.write_text("\n".join(f"x,{line},9" for line in lines))
    with pytest.raises(DataError, match="no header and 8 columns"):
        read_raw(path)
    numbers = {"time": "2", "open": "3", "high": "4", "low": "5", "close": "6", "volume": "7"}
    assert same_columns(read_raw(path, columns=numbers))
    with pytest.raises(ConfigurationError, match="from 1 to 8"):
        read_raw(path, columns={**numbers, "volume": "9"})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda lines: [*lines[:4], lines[4].replace(".", ".x", 1), *lines[5:]],
            r"row 5: column 'open' holds .* not a number",
        ),
        (lambda lines: [*lines[:-1], lines[-1][:20]], r"row 25 has \d columns instead of 6"),
        (lambda lines: [*lines[:7], lines[7] + ",1", *lines[8:]], "row 8 has 7 columns instead of 6"),
        (lambda lines: [lines[0]], "no rows"),
        (lambda lines: [*lines[:3], "," + lines[3].partition(",")[2], *lines[4:]], "row 4 has no time"),
        (
            lambda lines: [*lines[:3], "12345," + lines[3].partition(",")[2], *lines[4:]],
            "row 4: 12345 is not a time",
        ),
        (
            lambda lines: [*lines[:3], "yesterday," + lines[3].partition(",")[2], *lines[4:]],
            "row 4 has 'yesterday'",
        ),
    ],
)
def test_values_that_cannot_be_read_are_named_by_line_and_column(
    tmp_path: Path, change: Callable[[list[str]], list[str]], expected: str
) -> None:
    """The line of the file and the column are in the message."""
    lines = csv_text(BARS, [str(int(time)) for time in BARS.open_time]).splitlines()
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text("\n".join(change(lines)))

    with pytest.raises(DataError, match=expected) as error:
        read_raw(path)
    assert str(path) in one_line(error)


def test_files_that_are_no_candle_files_are_refused_in_one_line(tmp_path: Path) -> None:
    """Missing, folder, empty, blank, cut gzip, empty gzip, UTF-16, binary, prose, JSON object, damaged
    Parquet.
    """
    (tmp_path / "BTC-USDT-1h.csv").write_text("x")
    packed = gzip.compress(csv_text(BARS, [str(int(time)) for time in BARS.open_time]).encode())
    cases: dict[str, tuple[bytes, str]] = {
        "blank.csv": (b"\n \n", "empty"),
        "cut.csv.gz": (packed[:-30], "cut off or damaged"),
        "not.csv.gz": (b"time,open", "cut off or damaged"),
        "empty.csv.gz": (gzip.compress(b""), "nothing is inside"),
        "wide.csv": ("a,b".encode("utf-16"), "UTF-16"),
        "binary.csv": (b"\x00\x01\x02" * 50, "no format that is known"),
        "prose.csv": (b"hello\nworld\n", "no table of candles"),
        "object.json": (b'{"code": -1121, "msg": "Invalid symbol."}', "this is not one"),
        "cut.json": (b"[[1704067200000, 1, 2", "not readable JSON"),
        "ragged.json": (b"[[1704067200000, 1, 2, 0.5, 1, 3], [1704070800000, 1, 2]]", "row 2 is not"),
        "cut.parquet": (b"PAR1" + b"\x00" * 40, "not a readable Parquet"),
        "cut.feather": (b"ARROW1\x00\x00" + b"\x00" * 40, "not a readable feather"),
        "old.feather": (b"FEA1" + b"\x00" * 40, "version 1"),
    }
    for name, (content, expected) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=expected) as error:
            read_raw(path)
        assert str(path) in one_line(error)
    with pytest.raises(DataError, match=r"no such file; did you mean BTC-USDT-1h\.csv"):
        read_raw(tmp_path / "BTC-USDT-2h.csv")
    with pytest.raises(DataError, match="nor the folder"):
        read_raw(tmp_path / "nowhere" / "a.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_raw(tmp_path)


def test_freqtrade_feather_and_json_and_api_lists_are_read(tmp_path: Path) -> None:
    """Frames as freqtrade stores them, plain and gzipped JSON, and the exchange's lists of texts give the
    same columns.
    """
    frame = pd.DataFrame(
        {"date": pd.to_datetime(BARS.open_time, unit="ms", utc=True)} | {n: getattr(BARS, n) for n in FIELDS}
    )
    feather = tmp_path / "BTC_USDT-1h.feather"
    pyarrow.feather.write_feather(pa.Table.from_pandas(frame), feather, compression="lz4")
    rows = [[int(BARS.open_time[i]), *(float(getattr(BARS, n)[i]) for n in FIELDS)] for i in range(len(BARS))]
    plain = tmp_path / "BTC_USDT-1h.json"
    plain.write_text(json.dumps(rows))
    packed = tmp_path / "BTC_USDT-1h.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(rows).encode()))
    texts = tmp_path / "ETH_USDT-1h.json"
    texts.write_text(json.dumps([[row[0], *map(str, row[1:]), row[0] + 1, "1", 3] for row in rows]))
    for path in (feather, plain, packed, texts):
        raw = read_raw(path)

        assert same_columns(raw)
        assert raw.timeframe == "1h"
    assert read_raw(feather).symbol == "BTC/USDT"


def test_foreign_parquet_is_read_whatever_its_types(tmp_path: Path) -> None:
    """An index of times, texts, integers, missing values and nanoseconds come into the same columns."""
    frame = pd.DataFrame(
        {name: getattr(BARS, name) for name in FIELDS}, index=pd.to_datetime(BARS.open_time, unit="ms")
    )
    indexed = tmp_path / "BTC-USDT-1h.parquet"
    frame.to_parquet(indexed)
    assert same_columns(read_raw(indexed))

    table = pa.table(
        {
            "ts": pa.array(BARS.open_time * 1_000_000, type=pa.timestamp("ns", tz="UTC")),
            "o": pa.array([f"{value}" for value in BARS.open]),
            "h": BARS.high,
            "l": BARS.low,
            "c": BARS.close,
            "v": pa.array([None, *[3] * (len(BARS) - 1)], type=pa.int32()),
        }
    )
    typed = tmp_path / "ETH-USDT-1h.parquet"
    pyarrow.parquet.write_table(table, typed)
    raw = read_raw(typed)
    assert np.array_equal(raw.open_time, BARS.open_time)
    assert np.array_equal(raw.open, BARS.open)
    assert np.isnan(raw.volume[0])
    assert raw.volume[1] == 3.0

    wrong = tmp_path / "SOL-USDT-1h.parquet"
    pyarrow.parquet.write_table(table.set_column(1, "o", pa.array(["x"] * len(BARS))), wrong)
    with pytest.raises(DataError, match="column 'o' holds string, not numbers"):
        read_raw(wrong)


def test_an_explicit_time_unit_is_obeyed(tmp_path: Path) -> None:
    """Times near 1970 are no candle times by magnitude, but may be read when their unit is given."""
    bars = Bars("BTC/USDT", "1h", BARS.open_time - START, *(getattr(BARS, name) for name in FIELDS))
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text(csv_text(bars, [str(int(time)) for time in bars.open_time]))
    with pytest.raises(DataError, match="--time-unit"):
        read_raw(path)

    assert same_columns(read_raw(path, time_unit="ms"), bars)
    with pytest.raises(ConfigurationError, match="unknown time unit"):
        read_raw(path, time_unit="days")


def test_a_missing_value_is_a_number_that_is_missing(tmp_path: Path) -> None:
    """Empty fields and NaN become NaN, for the judge of quality, and do not stop the reading."""
    lines = csv_text(BARS, [str(int(time)) for time in BARS.open_time]).splitlines()
    lines[3] = ",".join([*lines[3].split(",")[:5], ""])
    lines[4] = ",".join([lines[4].split(",")[0], "nan", *lines[4].split(",")[2:]])
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text("\n".join(lines))

    raw = read_raw(path)

    assert np.flatnonzero(np.isnan(raw.volume)).tolist() == [2]
    assert np.flatnonzero(np.isnan(raw.open)).tolist() == [3]


def test_joining_needs_one_symbol_and_each_file_once(tmp_path: Path) -> None:
    """Archives of two symbols, or one named twice, are refused."""
    one = write_zip(tmp_path / "BTCUSDT-1h-2024-12.zip", "\n".join(kline_lines(BARS)))
    other = write_zip(tmp_path / "ETHUSDT-1h-2024-12.zip", "\n".join(kline_lines(BARS)))
    with pytest.raises(DataError, match="holds symbol"):
        read_many([one, other])
    with pytest.raises(DataError, match="named twice"):
        read_many([one, one])
    with pytest.raises(DataError, match="no files"):
        read_many([])


def test_reading_loads_neither_pandas_nor_the_exchange_libraries(tmp_path: Path) -> None:
    """Importing the module needs numpy only; reading a CSV or Parquet adds pyarrow and never pandas."""
    path = tmp_path / "BTC-USDT-1h.csv"
    path.write_text(csv_text(BARS, [iso_time(int(time)) for time in BARS.open_time]))
    part = Path(__file__).parent / "data" / "parts" / "BTC-USDT-1h.parquet"
    program = (
        "import sys, trading_runtime.data.files as f\n"
        "heavy = {'pandas', 'pyarrow', 'ccxt', 'tqdm', 'msgspec', 'numba', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        f"f.load_bars({str(path)!r}); f.load_bars({str(part)!r})\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert shown.stdout.splitlines() == ["[]", "['pyarrow']"]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, remove, insert, cut or repeat bytes at one to four places."""
    bad = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at, way = rng.randrange(len(bad) + 1), rng.randrange(6)
        if way == 0 and at < len(bad):
            bad[at] ^= 1 << rng.randrange(8)
        elif way == 1 and at < len(bad):
            bad[at] = rng.choice(b'0123456789.,;-\n\t"eENaT: \x00\xff[]{}')
        elif way == 2:
            del bad[at : at + rng.randint(1, 40)]
        elif way == 3:
            bad[at:at] = bytes(rng.choice(b'0123456789.,\n"-e ') for _ in range(rng.randint(1, 20)))
        elif way == 4:
            bad = bad[:at]
        else:
            bad[at:at] = bad[at // 2 : at // 2 + rng.randint(1, 200)]
    return bytes(bad)


def sample_files(folder: Path) -> dict[str, bytes]:
    """Every format once."""
    text = csv_text(BARS, [str(int(time)) for time in BARS.open_time]).encode()
    iso = csv_text(BARS, [iso_time(int(time)) for time in BARS.open_time], mark=";").encode()
    rows = [[int(BARS.open_time[i]), *(float(getattr(BARS, n)[i]) for n in FIELDS)] for i in range(len(BARS))]
    frame = pd.DataFrame(
        {"date": pd.to_datetime(BARS.open_time, unit="ms", utc=True)} | {n: getattr(BARS, n) for n in FIELDS}
    )
    feather = folder / "made.feather"
    pyarrow.feather.write_feather(pa.Table.from_pandas(frame), feather)
    return {
        "BTC-USDT-1h.csv": text,
        "iso-BTC-USDT-1h.csv": iso,
        "BTC-USDT-1h.csv.gz": gzip.compress(text),
        "BTCUSDT-1h-2024-12.zip": write_zip(folder / "made.zip", "\n".join(kline_lines(BARS))).read_bytes(),
        "BTC_USDT-1h.json": json.dumps(rows).encode(),
        "BTC_USDT-1h.feather": feather.read_bytes(),
        "BTC-USDT-1h.parquet": parquet_bytes(BARS),
    }


@pytest.mark.parametrize("seed", range(7))
def test_damaged_bytes_never_end_in_anything_but_one_line(tmp_path: Path, seed: int) -> None:
    """Whatever happens to a file's bytes, it loads as checked bars or is refused in one line; nothing else
    escapes.
    """
    rng = random.Random(seed)
    name, content = list(sample_files(tmp_path).items())[seed]
    path = tmp_path / name
    told: list[str] = []
    for _ in range(150):
        path.write_bytes(damaged(content, rng))
        for leave in ({}, {"quality_minimum": "D", "drop_errors": True, "gaps": "fill"}):
            try:
                load_bars(path, **leave)
            except TradingRuntimeError as error:
                told.append(str(error))

    assert len(told) > 150
    assert [text for text in told if "\n" in text] == []


@pytest.mark.skipif(not MARKET_DATA.is_dir(), reason="the folder with real market data is not here")
def test_real_files_are_read_right() -> None:
    """A real month of minutes, years of days in an odd column order, and four markets of four hours."""
    minutes = read_raw(MARKET_DATA / "btc-perp-1m-2022-01.csv.gz")
    days = read_raw(MARKET_DATA / "btc-usd-1d-2011-2025.csv")

    assert (len(minutes), minutes.timeframe, iso_time(int(minutes.open_time[0]))) == (
        45_031,
        "1m",
        "2021-12-31T23:01:00Z",
    )
    assert minutes.close[1] == 46_411.0
    assert (len(days), days.symbol, days.timeframe) == (5_152, "BTC/USD", "1d")
    last = [float(getattr(days, name)[-1]) for name in FIELDS]
    assert last == [112_017.21, 113_950.0, 111_066.07, 113_700.11, 2_759.81435394]
    for name in ("BTC", "ETH", "SOL", "BNB"):
        raw = read_raw(MARKET_DATA / "binance-spot-4h" / f"{name}-USDT.csv")
        assert (len(raw), raw.symbol) == (500, f"{name}/USDT")
