"""The verbs of ``trading-runtime data``: synth, import, fetch, check, resample, list.

Arguments, tables and JSON only; the work is done in ``trading_runtime/data``. Nothing heavy is imported
before a verb runs, and errors travel as exceptions of ``core/errors.py``, which the main program tells in one
line.
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

_FOLDER_DEFAULT = "data"
_GRADES = ("A", "B", "C", "D")
_Subparsers = Any  # argparse._SubParsersAction is generic only for type checkers


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register ``data`` and its verbs; each verb's parser sets ``handler``, a function of the parsed
    arguments to an exit code.
    """
    parser = subparsers.add_parser(
        "data",
        help="make, import, fetch, check, resample and list candle files",
        description="Candle files: any format in, Parquet with a manifest out.",
    )
    verbs = parser.add_subparsers(dest="data_verb", metavar="VERB", required=True)
    _add_synth(verbs)
    _add_import(verbs)
    _add_fetch(verbs)
    _add_check(verbs)
    _add_resample(verbs)
    _add_list(verbs)


def _verb(verbs: _Subparsers, name: str, help_text: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=help_text,
        description=f"{help_text[0].upper()}{help_text[1:]}.",
        epilog="examples:\n" + "\n".join(f"  trading-runtime data {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_synth(verbs: _Subparsers) -> None:
    parser = _verb(
        verbs,
        "synth",
        "make synthetic candles, the same bytes for the same seed on every machine",
        (
            "synth --symbol BTC/USDT --timeframe 1h --start 2024-01-01 --rows 8760",
            "synth --symbol BTC/USDT --symbol ETH/USDT --rows 2000 --seed 7 --out data",
        ),
    )
    parser.add_argument(
        "--symbol", action="append", help="BTC/USDT or BTC/USDT:USDT; may be given several times (BTC/USDT)"
    )
    parser.add_argument("--timeframe", default="1h", help="length of a bar (1h)")
    parser.add_argument("--start", default="2024-01-01", help="open time of the first bar, UTC (2024-01-01)")
    parser.add_argument("--rows", type=int, default=8_760, help="number of bars (8760)")
    parser.add_argument("--seed", type=int, default=1, help="symbols of one seed move together (1)")
    parser.add_argument("--start-price", default="30000", help="price of the first bar (30000)")
    parser.add_argument("--tick", default="0.01", help="price step (0.01)")
    _add_out(parser)
    parser.set_defaults(handler=_synth)


def _add_import(verbs: _Subparsers) -> None:
    parser = _verb(
        verbs,
        "import",
        "read candle files of any known format, judge and mend them, and store them",
        (
            "import BTCUSDT-1h-2024-*.zip --out data",
            "import candles.csv --symbol BTC/USDT --timeframe 1h --column time=Date --column volume=Amount",
            "import kraken.csv --symbol BTC/USD --gaps fill --quality C",
        ),
    )
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="files of one symbol, in any order; they are joined"
    )
    _add_reading(parser)
    parser.add_argument(
        "--quality", choices=_GRADES, default="B", help="worst grade that is stored (B); C has it mended"
    )
    _add_gaps(parser)
    parser.add_argument(
        "--drop-errors", action="store_true", help="leave out rows that cannot be true (needs --quality D)"
    )
    parser.add_argument(
        "--earlier", metavar="FILE", help="earlier import of the same market: rows that changed are reported"
    )
    _add_out(parser)
    _add_json(parser)
    parser.set_defaults(handler=_import)


def _add_fetch(verbs: _Subparsers) -> None:
    parser = _verb(
        verbs,
        "fetch",
        "download closed candles from an exchange; run again to go on after an interruption",
        (
            "fetch --exchange binance --symbol BTC/USDT --timeframe 1h --start 2024-01-01",
            "fetch --exchange kraken --symbol ETH/USD --timeframe 1d --start 2024-01-01 --end 2025-01-01 --gaps fill",
        ),
    )
    parser.add_argument("--exchange", required=True, help="name in ccxt: binance, kraken, coinbase, ...")
    parser.add_argument("--symbol", required=True, help="BTC/USDT, or BTC/USDT:USDT for a perpetual")
    parser.add_argument("--timeframe", required=True, help="1m, 1h, 1d, ...")
    parser.add_argument("--start", required=True, help="first open time, UTC: 2024-01-01")
    parser.add_argument("--end", help="last close time, UTC (the last closed bar)")
    parser.add_argument("--quality", choices=_GRADES, default="B", help="worst grade that is stored (B)")
    _add_gaps(parser)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    parser.add_argument("--page-rows", type=int, help=argparse.SUPPRESS)
    _add_out(parser)
    parser.set_defaults(handler=_fetch)


def _add_check(verbs: _Subparsers) -> None:
    parser = _verb(
        verbs,
        "check",
        "judge a candle file and say what is wrong with it; nothing is changed",
        ("check data/BTC-USDT-1h.parquet", "check candles.csv --symbol BTC/USDT --require A --json"),
    )
    parser.add_argument("file", metavar="FILE", help="stored or raw candle file")
    _add_reading(parser)
    parser.add_argument("--require", choices=_GRADES, default="B", help="exit with 3 when the grade is worse (B)")
    parser.add_argument("--now", metavar="TIME", help="present time for bars that are not closed yet (the clock)")
    parser.add_argument(
        "--earlier", metavar="FILE", help="earlier import of the same market: rows that changed are reported"
    )
    _add_json(parser)
    parser.set_defaults(handler=_check)


def _add_resample(verbs: _Subparsers) -> None:
    parser = _verb(
        verbs,
        "resample",
        "aggregate candles to a longer timeframe; incomplete first and last bars are left out",
        (
            "resample data/BTC-USDT-1h.parquet --to 4h",
            "resample minutes.csv --symbol BTC/USDT --to 1d --out data",
        ),
    )
    parser.add_argument("file", metavar="FILE", help="stored or raw candle file")
    parser.add_argument("--to", required=True, metavar="TIMEFRAME", help="timeframe of the result, a whole multiple")
    _add_reading(parser)
    parser.add_argument("--quality", choices=_GRADES, default="B", help="worst grade that is read (B)")
    _add_gaps(parser)
    _add_out(parser)
    parser.set_defaults(handler=_resample)


def _add_list(verbs: _Subparsers) -> None:
    parser = _verb(verbs, "list", "list the stored candle files of a folder", ("list data", "list data --json"))
    parser.add_argument(
        "folder",
        nargs="?",
        default=_FOLDER_DEFAULT,
        metavar="FOLDER",
        help=f"folder to look in ({_FOLDER_DEFAULT})",
    )
    _add_json(parser)
    parser.set_defaults(handler=_list)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--symbol", help="BTC/USDT, or BTC/USDT:USDT for a perpetual (from the file or its name)")
    parser.add_argument("--timeframe", help="length of a bar (from the file, its name or its rows)")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="column of time, open, high, low, close or volume",
    )
    parser.add_argument(
        "--time-unit", choices=("s", "ms", "us", "ns"), help="unit of numeric times (from their magnitude)"
    )


def _add_gaps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gaps",
        choices=("refuse", "fill"),
        default="refuse",
        help="fill: flat bars for missing ones (refuse)",
    )


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default=_FOLDER_DEFAULT, metavar="FOLDER", help=f"folder for the result ({_FOLDER_DEFAULT})"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _synth(arguments: argparse.Namespace) -> int:
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


def _import(arguments: argparse.Namespace) -> int:
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


def _fetch(arguments: argparse.Namespace) -> int:
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


def _check(arguments: argparse.Namespace) -> int:
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


def _resample(arguments: argparse.Namespace) -> int:
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


def _list(arguments: argparse.Namespace) -> int:
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
