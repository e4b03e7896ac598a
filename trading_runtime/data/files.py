"""Stored candles: Parquet with a manifest beside it, written whole, verified when loaded; and any raw file
loaded directly.

Parquet pages are plain and zstd-compressed. Measured on one core, reading plus hashing: 17,520 bars 1.7 ms
(uncompressed 1.4 ms), one million bars 77 ms (uncompressed 73 ms, byte-stream split 85 ms), at 44 % of the
uncompressed size.

This file imports numpy at most: pyarrow is loaded when a file is read or written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trading_runtime.core.bars import FIELDS, Bars
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError
from trading_runtime.core.instruments import split_symbol
from trading_runtime.core.timeframes import timeframe_ms
from trading_runtime.data.arrow_columns import arrow_column
from trading_runtime.data.atomic import write_together
from trading_runtime.data.findings import GRADE_DEFAULT, GRADES, Grade, QualityReport, is_below
from trading_runtime.data.manifest import (
    make_manifest,
    manifest_bytes,
    manifest_path,
    read_manifest,
    stored_grade,
)
from trading_runtime.data.quality import assess
from trading_runtime.data.raw import RawBars, Source, common_timeframe
from trading_runtime.data.readers import parse_raw, read_checked
from trading_runtime.data.repair import DROPPABLE, GapPolicy, Repair, repair


@dataclass(frozen=True, eq=False)
class LoadedBars:
    """Bars and the manifest that says where they came from, their grade and whether an exception was allowed
    for them.
    """

    bars: Bars
    manifest: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Accepted:
    """Raw bars that passed: mended and checked, with the report of the source, what was done and the grade
    after it.
    """

    bars: Bars
    report: QualityReport
    repairs: tuple[Repair, ...]
    grade: Grade


def load_bars(
    path: Path | str,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    gaps: GapPolicy = "refuse",
    quality_minimum: Grade = GRADE_DEFAULT,
    drop_errors: bool = False,
    columns: Mapping[str, str] | None = None,
    time_unit: str | None = None,
    now_ms: int | None = None,
) -> LoadedBars:
    """Return the bars of a stored file (its manifest is verified) or of any raw candle file (judged in
    memory).

    ``quality_minimum`` is the worst grade that passes; repairable trouble is mended when C passes.
    ``gaps="fill"`` lets missing bars pass and fills them. ``drop_errors`` leaves out rows that cannot be true
    (D must pass). The other arguments are those of ``read_raw``. Raises DataError or BarsError, in one line,
    for anything unreadable, changed since its import, or below the minimum.
    """
    path = Path(path)
    _check_choices(gaps, quality_minimum)
    raw, manifest = read_stored_or_raw(path, symbol=symbol, timeframe=timeframe, columns=columns, time_unit=time_unit)
    if manifest is not None:
        return _stored_bars(path, raw, manifest, gaps, quality_minimum)
    accepted = accept(
        raw,
        where=str(path),
        gaps=gaps,
        quality_minimum=quality_minimum,
        drop_errors=drop_errors,
        now_ms=now_ms,
    )
    made = make_manifest(
        accepted.bars,
        sources=raw.sources,
        source_kind="file",
        report=accepted.report,
        grade=accepted.grade,
        repairs=accepted.repairs,
        notes=raw.notes,
    )
    return LoadedBars(accepted.bars, _with_exception(made, accepted.report.grade))


def accept(
    raw: RawBars,
    *,
    where: str,
    gaps: GapPolicy = "refuse",
    quality_minimum: Grade = GRADE_DEFAULT,
    drop_errors: bool = False,
    now_ms: int | None = None,
    earlier: Bars | None = None,
) -> Accepted:
    """Return raw bars as checked Bars if they are good enough, mended as far as was allowed.

    Raises BarsError in one line when they are below ``quality_minimum`` or when gaps remain, DataError when
    symbol or timeframe are unknown.
    """
    _check_choices(gaps, quality_minimum)
    symbol, timeframe = identity(raw, where)
    bar_ms = timeframe_ms(timeframe)
    report = assess(raw, bar_ms, now_ms=now_ms, earlier=earlier)
    grade = report.grade
    only_gaps = all(finding.kind == "gaps" or finding.severity == "warning" for finding in report.findings)
    if is_below(grade, quality_minimum) and not (gaps == "fill" and only_gaps):
        raise BarsError(
            f"{where}: quality {grade} is below the required {quality_minimum}: "
            f"{report.worst()}{_remedy(grade, report)}"
        )
    drop = DROPPABLE if drop_errors else ()
    mended, repairs = repair(raw, report, bar_ms, gaps=gaps, drop=drop)
    if gaps == "refuse" and not repairs and grade in ("A", "B"):
        return Accepted(_bars(mended, symbol, timeframe, where), report, repairs, grade)
    after = assess(mended, bar_ms, now_ms=now_ms, earlier=earlier)
    missing = after.finding("gaps")
    if missing is not None:
        raise BarsError(f"{where}: {missing.message}; to fill them with flat bars allow it with --gaps fill")
    if after.grade == "D":
        raise BarsError(
            f"{where}: {after.worst()}; such rows are never used: leave them out with --drop-errors or mend the source"
        )
    return Accepted(_bars(mended, symbol, timeframe, where), report, repairs, stored_grade(after, repairs))


def identity(raw: RawBars, where: str) -> tuple[str, str]:
    """Return symbol and timeframe of raw bars.

    Raises DataError when either stays unknown, ConfigurationError when the symbol is not of a supported form.
    """
    if raw.symbol is None:
        raise DataError(f"{where}: neither the file nor its name says which symbol it holds; give --symbol BTC/USDT")
    split_symbol(raw.symbol)
    return raw.symbol, known_timeframe(raw, where)


def known_timeframe(raw: RawBars, where: str) -> str:
    """Return the timeframe of raw bars, from their most frequent step when nothing else says it.

    Raises DataError when that step is no timeframe either.
    """
    timeframe = raw.timeframe or common_timeframe(raw.open_time)
    if timeframe is None:
        raise DataError(f"{where}: neither the name nor the steps between rows say the timeframe; give --timeframe 1h")
    return timeframe


def read_stored_or_raw(
    path: Path,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    columns: Mapping[str, str] | None = None,
    time_unit: str | None = None,
) -> tuple[RawBars, dict[str, Any] | None]:
    """Return the rows of any candle file and, for a stored one, its manifest, which has been compared with
    the file.

    Raises DataError as ``read_raw`` does, and when a stored file has changed since its import or holds
    another symbol or timeframe than asked for.
    """
    content, digest = read_checked(path)
    manifest = read_manifest(path) if content.startswith(b"PAR1") else None
    if manifest is not None:
        if manifest["file_sha256"] != digest:
            raise DataError(
                f"{path}: changed since it was imported (SHA-256 {digest[:12]}..., manifest "
                f"{str(manifest['file_sha256'])[:12]}...); import it again, or remove "
                f"{manifest_path(path).name} "
                f"to have it judged anew"
            )
        for name, wanted in (("symbol", symbol), ("timeframe", timeframe)):
            if wanted is not None and wanted != manifest[name]:
                raise DataError(f"{path}: holds {name} {manifest[name]}, not {wanted}")
        symbol, timeframe = manifest["symbol"], manifest["timeframe"]
    raw = parse_raw(content, digest, path, symbol=symbol, timeframe=timeframe, columns=columns, time_unit=time_unit)
    return raw, manifest


def store(
    path: Path,
    bars: Bars,
    *,
    sources: Sequence[Source],
    source_kind: str,
    report: QualityReport,
    grade: Grade,
    repairs: Sequence[Repair] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Write bars to ``path`` (Parquet) and their manifest beside it, each whole or not at all; return the
    manifest.

    Raises OutputError when that is impossible. Were the program to stop between the two files, loading would
    say that they do not match.
    """
    content = parquet_bytes(bars)
    manifest = make_manifest(
        bars,
        sources=sources,
        source_kind=source_kind,
        report=report,
        grade=grade,
        repairs=repairs,
        notes=notes,
        file_sha256=hashlib.sha256(content).hexdigest(),
    )
    # The old manifest goes before the file changes: a file without one is judged anew, never trusted wrongly.
    beside = manifest_path(path)
    write_together([(path, content), (beside, manifest_bytes(manifest))], stale=beside)
    return manifest


def parquet_bytes(bars: Bars) -> bytes:
    """Return ``bars`` as a Parquet file; the same bars and pyarrow version give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet

    from trading_runtime.data.table_files import SYMBOL_KEY, TIMEFRAME_KEY

    fields = [
        pa.field("open_time", pa.int64(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in FIELDS),
    ]
    metadata = {SYMBOL_KEY: bars.symbol.encode(), TIMEFRAME_KEY: bars.timeframe.encode()}
    arrays = [
        arrow_column(bars.open_time),
        *(arrow_column(getattr(bars, name)) for name in FIELDS),
    ]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(
        table,
        sink,
        row_group_size=len(bars),
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        version="2.6",
    )
    return bytes(sink.getvalue())


def _stored_bars(
    path: Path, raw: RawBars, manifest: dict[str, Any], gaps: GapPolicy, quality_minimum: Grade
) -> LoadedBars:
    """Return stored rows as Bars when their grade passes; they were mended at their import and are not judged
    again.
    """
    grade: Grade = manifest["grade"]
    filled_only = grade == "C" and gaps == "fill"
    if is_below(grade, quality_minimum) and not filled_only:
        done = "; ".join(f"{one['action']} ({one['count']})" for one in manifest.get("repairs", []))
        raise BarsError(
            f"{path}: quality {grade} is below the required {quality_minimum}{': ' + done if done else ''}; "
            f"allow it with --quality {grade} or import better data"
        )
    bars = _bars(raw, manifest["symbol"], manifest["timeframe"], str(path))
    return LoadedBars(bars, _with_exception(manifest, grade))


def _with_exception(manifest: dict[str, Any], grade: Grade) -> dict[str, Any]:
    """Say in the manifest whether bars below the default minimum were let in."""
    return {**manifest, "exception_allowed": is_below(grade, GRADE_DEFAULT)}


def _check_choices(gaps: str, quality_minimum: str) -> None:
    if quality_minimum not in GRADES:
        raise ConfigurationError(f"quality must be one of {', '.join(GRADES)}, not {quality_minimum!r}")
    if gaps not in ("refuse", "fill"):
        raise ConfigurationError(f"gaps must be refuse or fill, not {gaps!r}")


def _bars(raw: RawBars, symbol: str, timeframe: str, where: str) -> Bars:
    try:
        return raw.to_bars(symbol, timeframe)
    except BarsError as error:
        raise BarsError(f"{where}: {error}") from error


def _remedy(grade: Grade, report: QualityReport) -> str:
    if grade == "D":
        return "; mend the source"
    kinds = [finding.kind for finding in report.findings if finding.severity == "repairable"]
    if kinds == ["gaps"]:
        return "; allow flat bars in their place with --gaps fill"
    if kinds:
        fill = " --gaps fill" if "gaps" in kinds else ""
        return f"; have it mended with --quality C{fill}"
    return ""
