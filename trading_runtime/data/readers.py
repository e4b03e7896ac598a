"""Reading candle files: any known format into ``RawBars``, told apart by content, never by suffix alone.

    zip (one member), gzip  ->  unpacked, then as below
    Parquet                 ->  ours or foreign
    Arrow feather           ->  freqtrade
    JSON list               ->  freqtrade, ccxt, Binance's API
    anything else           ->  CSV: Binance archive, CryptoDataDownload, Kraken, Bitstamp, any other header

Whatever is wrong with a *file* is a DataError of one line here; what is wrong with *candles* is for
``data/quality.py``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trading_runtime.core.errors import DataError, nearest_name
from trading_runtime.data.names import guess_from_name
from trading_runtime.data.raw import RawBars, join

# A year of one-second bars as CSV is below 3 GB; more is a mistake or a bomb.
CONTENT_BYTES_MAX = 4 * 1024**3
# What the zip module raises for damaged archives, found by damaging many.
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, OverflowError),
    *(zlib.error, lzma.LZMAError, struct.error),
)


def read_raw(
    path: Path | str,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    columns: Mapping[str, str] | None = None,
    time_unit: str | None = None,
) -> RawBars:
    """Return the candles of one file of any known format.

    ``columns`` maps time, open, high, low, close or volume to the file's own column names; ``time_unit`` is
    s, ms, us or ns. Symbol and timeframe come from the arguments, else from inside the file, else from its
    name, else they stay None. Raises DataError for a missing, empty, damaged or unknown file or a checksum
    that does not match.
    """
    path = Path(path)
    content, digest = read_checked(path)
    return parse_raw(content, digest, path, symbol=symbol, timeframe=timeframe, columns=columns, time_unit=time_unit)


def parse_raw(
    content: bytes,
    sha256: str,
    path: Path,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    columns: Mapping[str, str] | None = None,
    time_unit: str | None = None,
) -> RawBars:
    """Return the candles in ``content``, the bytes of ``path``: what ``read_raw`` does once the file is in
    memory.
    """
    where = str(path)
    guess = guess_from_name(path, timeframe_given=timeframe is not None)
    content = _unpacked(content, where)
    overrides = columns or {}
    # The file's own word about its symbol outweighs its name, so the name is only used afterwards.
    common = {"source_name": path.name, "sha256": sha256, "symbol": symbol, "timeframe": timeframe}
    raw = _parsed(content, overrides, time_unit, where, guess.symbol if symbol is None else symbol, common)
    if guess.futures and symbol is None and raw.symbol is not None and ":" not in raw.symbol:
        raw = _named(raw, f"{raw.symbol}:{raw.symbol.partition('/')[2]}", None)
    return _named(raw, symbol or raw.symbol or guess.symbol, timeframe or raw.timeframe or guess.timeframe)


def read_many(
    paths: Sequence[Path | str],
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    columns: Mapping[str, str] | None = None,
    time_unit: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> RawBars:
    """Return several files of one symbol (monthly archives) as one, in time order; ``progress`` is told how
    many are read.

    Raises DataError as ``read_raw`` does, and when the files disagree about symbol or timeframe or one is
    named twice.
    """
    names = [str(Path(path)) for path in paths]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise DataError(f"{doubled} is named twice")
    parts: list[RawBars] = []
    for count, path in enumerate(paths, start=1):
        parts.append(read_raw(path, symbol=symbol, timeframe=timeframe, columns=columns, time_unit=time_unit))
        if progress is not None:
            progress(count)
    return join(parts)


def read_checked(path: Path) -> tuple[bytes, str]:
    """Return a file's bytes and their SHA-256, compared with ``<name>.CHECKSUM`` beside it when there is one.

    Raises DataError for a missing file, a folder, an unreadable or empty file, or a checksum that does not
    match.
    """
    content = read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    checksum = path.with_name(path.name + ".CHECKSUM")
    if checksum.is_file():
        text = read_bytes(checksum).decode("utf-8", errors="replace")
        match = re.match(r"\s*([0-9a-fA-F]{64})(?:\s+\*?(\S+))?", text)
        if not match:
            raise DataError(
                f"{checksum}: not a checksum file (expected '<sha256>  <name>'); fetch it again or remove it"
            )
        if match.group(1).lower() != digest:
            raise DataError(
                f"{path}: the checksum does not match {checksum.name} (expected "
                f"{match.group(1)[:12].lower()}..., "
                f"found {digest[:12]}...); the file is damaged or was replaced: fetch both again"
            )
    return content, digest


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; raises DataError in one line for a missing file, a folder, or one that is empty
    or unreadable.
    """
    try:
        with path.open("rb") as file:
            content = file.read(CONTENT_BYTES_MAX + 1)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file{_neighbour(path)}") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; name the files in it") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not content:
        raise DataError(f"{path}: the file is empty (0 bytes)")
    if len(content) > CONTENT_BYTES_MAX:
        raise DataError(f"{path}: larger than {CONTENT_BYTES_MAX >> 30} GiB; split it")
    return content


def _parsed(
    content: bytes,
    overrides: Mapping[str, str],
    time_unit: str | None,
    where: str,
    likely_symbol: str | None,
    common: Mapping[str, str | None],
) -> RawBars:
    source_name, sha256 = str(common["source_name"]), str(common["sha256"])
    symbol, timeframe = common["symbol"], common["timeframe"]
    if content.startswith((b"PAR1", b"ARROW1", b"FEA1")):
        from trading_runtime.data.table_files import raw_of_table, read_feather_table, read_parquet_table

        read_table = read_parquet_table if content.startswith(b"PAR1") else read_feather_table
        return raw_of_table(
            read_table(content, where),
            source_name=source_name,
            sha256=sha256,
            symbol=symbol,
            timeframe=timeframe,
            overrides=overrides,
            time_unit=time_unit,
            where=where,
        )
    if content[:64].lstrip().startswith((b"[", b"{")):
        from trading_runtime.data.table_files import read_json

        return read_json(
            content,
            source_name=source_name,
            sha256=sha256,
            symbol=symbol,
            timeframe=timeframe,
            time_unit=time_unit,
            where=where,
        )
    from trading_runtime.data.text_files import read_csv

    return read_csv(
        content,
        source_name=source_name,
        sha256=sha256,
        symbol=symbol,
        likely_symbol=likely_symbol,
        timeframe=timeframe,
        overrides=overrides,
        time_unit=time_unit,
        where=where,
    )


def _unpacked(content: bytes, where: str) -> bytes:
    """Return what a zip of one member or a gzip holds; other content is returned as it is."""
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")) or where.lower().endswith(".zip"):
        return _unzipped(content, where)
    if content.startswith(b"\x1f\x8b") or where.lower().endswith(".gz"):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                unpacked = file.read(CONTENT_BYTES_MAX + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{where}: the gzip file is cut off or damaged ({error}); fetch it again") from None
        return _bounded(unpacked, where)
    return content


def _unzipped(content: bytes, where: str) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                names = ", ".join(member.filename for member in members[:4]) or "none"
                raise DataError(f"{where}: the zip must hold exactly one file and holds {len(members)} ({names})")
            if members[0].flag_bits & 0x1:
                raise DataError(f"{where}: the zip is protected by a password")
            with archive.open(members[0]) as member:
                unpacked = member.read(CONTENT_BYTES_MAX + 1)
    except _ZIP_ERRORS as error:
        raise DataError(f"{where}: the zip is cut off or damaged ({error}); fetch it again") from None
    return _bounded(unpacked, where)


def _bounded(unpacked: bytes, where: str) -> bytes:
    if not unpacked:
        raise DataError(f"{where}: nothing is inside (0 bytes)")
    if len(unpacked) > CONTENT_BYTES_MAX:
        raise DataError(f"{where}: unpacks to more than {CONTENT_BYTES_MAX >> 30} GiB; split it")
    return unpacked


def _named(raw: RawBars, symbol: str | None, timeframe: str | None) -> RawBars:
    return replace(raw, symbol=symbol, timeframe=timeframe or raw.timeframe)


def _neighbour(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (nor the folder {path.parent})"
    near = nearest_name(path.name, sorted(entry.name for entry in path.parent.iterdir()))
    return f"; did you mean {near}?" if near else ""
