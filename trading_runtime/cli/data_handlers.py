"""What the verbs of ``trading-runtime data`` do: tables, JSON and progress; the work is in ``trading_runtime/data``.

Nothing heavy is imported before a verb runs. Errors travel as exceptions of ``core/errors.py``, which the main program
tells in one line. The arguments are declared in ``data.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, ConfigurationError, DataError


def synth(arguments: argparse.Namespace) -> int:
    from trading_runtime.core.timeframes import parse_time, timeframe_ms
    from trading_runtime.data.files import store
    from trading_runtime.data.quality import assess
    from trading_runtime.data.raw import Source, raw_of_bars
    from trading_runtime.data.synth import synthesize

    for symbol in arguments.symbol or ["BTC/USDT"]:
        bars = synthesize(
            symbol,
            arguments.timeframe,
            parse_time(arguments.start),
            arguments.rows,
            arguments.seed,
            start_price=arguments.start_price,
            tick=arguments.tick,
        )
        source = Source(f"synthetic seed {arguments.seed}", bars.content_hash(), len(bars))
        report = assess(raw_of_bars(bars, source), timeframe_ms(arguments.timeframe))
        path = _target(arguments.out, symbol, arguments.timeframe)
        _tell_stored(
            path,
            store(path, bars, sources=(source,), source_kind="synthetic", report=report, grade=report.grade),
        )
    return EXIT_DONE


def import_files(arguments: argparse.Namespace) -> int:
    from trading_runtime.data.files import accept, store
    from trading_runtime.data.readers import read_many

    earlier = _earlier(arguments)
    raw = read_many(
        arguments.sources,
        symbol=arguments.symbol,
        timeframe=arguments.timeframe,
        columns=_columns(arguments.column),
        time_unit=arguments.time_unit,
        progress=_file_progress(len(arguments.sources)),
    )
    where = str(arguments.sources[0]) if len(arguments.sources) == 1 else raw.name
    accepted = accept(
        raw,
        where=where,
        gaps=arguments.gaps,
        quality_minimum=arguments.quality,
        drop_errors=arguments.drop_errors,
        now_ms=_clock_ms(),
        earlier=earlier,
    )
    path = _target(arguments.out, accepted.bars.symbol, accepted.bars.timeframe)
    manifest = store(
        path,
        accepted.bars,
        sources=raw.sources,
        source_kind="file",
        report=accepted.report,
        grade=accepted.grade,
        repairs=accepted.repairs,
        notes=raw.notes,
    )
    if arguments.json:
        _print_json({"file": str(path), **manifest})
        return EXIT_DONE
    _tell_stored(path, manifest)
    for line in (
        *raw.notes,
        *(f"{done.action}: {done.count}, first {done.first_time}" for done in accepted.repairs),
    ):
        print(f"  {line}")
    if accepted.report.findings:
        print(accepted.report.table())
    return EXIT_DONE


def fetch(arguments: argparse.Namespace) -> int:
    from trading_runtime.core.timeframes import parse_time
    from trading_runtime.data.fetch import fetch_bars, resume_hint

    path = _target(arguments.out, arguments.symbol, arguments.timeframe)
    try:
        manifest = fetch_bars(
            path,
            exchange=arguments.exchange,
            symbol=arguments.symbol,
            timeframe=arguments.timeframe,
            start_ms=parse_time(arguments.start),
            end_ms=None if arguments.end is None else parse_time(arguments.end),
            gaps=arguments.gaps,
            quality_minimum=arguments.quality,
            base_url=arguments.base_url,
            page_rows=arguments.page_rows,
            wait=_wait_told,
        )
    except KeyboardInterrupt:
        print(f"interrupted: {resume_hint(path)}", file=sys.stderr)
        raise
    _tell_stored(path, manifest)
    return EXIT_DONE


def check(arguments: argparse.Namespace) -> int:
    from trading_runtime.core.timeframes import parse_time, timeframe_ms
    from trading_runtime.data.files import known_timeframe, read_stored_or_raw
    from trading_runtime.data.findings import is_below
    from trading_runtime.data.quality import assess

    raw, manifest = read_stored_or_raw(
        Path(arguments.file),
        symbol=arguments.symbol,
        timeframe=arguments.timeframe,
        columns=_columns(arguments.column),
        time_unit=arguments.time_unit,
    )
    timeframe = known_timeframe(raw, arguments.file)
    now_ms = _clock_ms() if arguments.now is None else parse_time(arguments.now)
    report = assess(raw, timeframe_ms(timeframe), now_ms=now_ms, earlier=_earlier(arguments))
    # What was filled or dropped at import cannot be seen in the bars any more; the manifest remembers it.
    grade = report.grade if manifest is None else max(report.grade, manifest["grade"])
    is_good = not is_below(grade, arguments.require)
    if arguments.json:
        document = {
            "file": arguments.file,
            "symbol": raw.symbol,
            "timeframe": timeframe,
            "required": arguments.require,
        }
        document |= {"passed": is_good, "notes": list(raw.notes), **report.to_json(), "grade": grade}
        _print_json(document)
    else:
        if report.findings:
            print(report.table())
        verdict = "good enough" if is_good else "not good enough"
        imported = (
            "" if manifest is None or grade == report.grade else " (graded at its import: gaps filled or rows dropped)"
        )
        print(
            f"{arguments.file}: {raw.symbol or 'symbol unknown'} {timeframe}, {report.rows} rows, score "
            f"{report.score:.6f}, "
            f"grade {grade}{imported}: {verdict} (required {arguments.require})"
        )
    return EXIT_DONE if is_good else EXIT_FINDING


def resample(arguments: argparse.Namespace) -> int:
    from trading_runtime.core.bars import resample
    from trading_runtime.core.timeframes import timeframe_ms
    from trading_runtime.data.files import load_bars, store
    from trading_runtime.data.quality import assess
    from trading_runtime.data.raw import Source, raw_of_bars

    timeframe_ms(arguments.to)
    loaded = load_bars(
        arguments.file,
        symbol=arguments.symbol,
        timeframe=arguments.timeframe,
        gaps=arguments.gaps,
        quality_minimum=arguments.quality,
        columns=_columns(arguments.column),
        time_unit=arguments.time_unit,
    )
    bars = resample(loaded.bars, arguments.to)
    source = Source(Path(arguments.file).name, loaded.manifest["content_hash"], len(loaded.bars))
    report = assess(raw_of_bars(bars, source), bars.bar_ms)
    path = _target(arguments.out, bars.symbol, arguments.to)
    manifest = store(
        path,
        bars,
        sources=(source,),
        source_kind="resampled",
        report=report,
        grade=max(report.grade, loaded.manifest["grade"]),
        notes=(f"resampled from {loaded.bars.timeframe} (grade {loaded.manifest['grade']})",),
    )
    _tell_stored(path, manifest)
    return EXIT_DONE


def list_files(arguments: argparse.Namespace) -> int:
    from trading_runtime.data.manifest import manifest_path, read_manifest

    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; make data with `trading-runtime data synth` or `import`")
    entries: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*.parquet")):
        manifest = read_manifest(path) if manifest_path(path).is_file() else None
        name = str(path.relative_to(folder))
        keys = ("symbol", "timeframe", "rows", "first_time", "last_time", "grade", "content_hash")
        entries.append({"file": name, **{key: None if manifest is None else manifest[key] for key in keys}})
    if arguments.json:
        _print_json(entries)
        return EXIT_DONE
    if not entries:
        print(f"{folder}: no stored candle files")
        return EXIT_DONE
    lines = [["file", "symbol", "timeframe", "rows", "first bar", "last bar", "grade", "content"]]
    for entry in entries:
        values = [
            entry["file"],
            *(entry[key] for key in ("symbol", "timeframe", "rows", "first_time", "last_time", "grade")),
        ]
        digest = "no manifest" if entry["content_hash"] is None else entry["content_hash"][:12]
        lines.append([*("-" if value is None else str(value) for value in values), digest])
    _print_table(lines)
    return EXIT_DONE


def _target(folder: str, symbol: str, timeframe: str) -> Path:
    from trading_runtime.core.instruments import split_symbol
    from trading_runtime.core.timeframes import timeframe_ms
    from trading_runtime.data.names import file_stem

    split_symbol(symbol)
    timeframe_ms(timeframe)
    return Path(folder) / f"{file_stem(symbol, timeframe)}.parquet"


def _earlier(arguments: argparse.Namespace) -> Any:
    """Return the bars of the earlier import, or None; its grade does not matter, it is only compared."""
    from trading_runtime.data.files import load_bars

    if arguments.earlier is None:
        return None
    return load_bars(arguments.earlier, symbol=arguments.symbol, quality_minimum="C", gaps="fill").bars


def _columns(texts: Sequence[str]) -> Mapping[str, str]:
    columns: dict[str, str] = {}
    for text in texts:
        name, equals, column = text.partition("=")
        if not equals or not column:
            raise ConfigurationError(f"--column {text}: write NAME=COLUMN, for example time=Date")
        columns[name.strip()] = column.strip()
    return columns


def _file_progress(count: int) -> Any:
    """Return a function that shows how many files are read, on a terminal and only for many; else None."""
    if count < 4 or not sys.stderr.isatty():
        return None

    def show(done: int) -> None:
        end = "\n" if done == count else ""
        print(f"\rread {done} of {count} files", end=end, file=sys.stderr, flush=True)

    return show


def _wait_told(wait_seconds: float) -> None:
    """Sleep before another attempt, saying so: a silent pause looks like a hang."""
    print(f"the exchange cannot be asked right now; next attempt in {wait_seconds:.0f} s", file=sys.stderr, flush=True)
    time.sleep(wait_seconds)


def _clock_ms() -> int:
    """Return the present time: only used to tell a bar that is still open, never stored."""
    return time.time_ns() // 1_000_000


def _tell_stored(path: Path, manifest: Mapping[str, Any]) -> None:
    print(
        f"{path}: {manifest['symbol']} {manifest['timeframe']}, {manifest['rows']} bars, "
        f"{manifest['first_time']} to "
        f"{manifest['last_time']}, grade {manifest['grade']}, content {manifest['content_hash'][:12]}"
    )


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False))


def _print_table(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())
