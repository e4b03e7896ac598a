"""The words of ``trading-runtime data``: its verbs synth, import, fetch, check, resample, list and their arguments.

What a verb does with them is in ``data_handlers.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from trading_runtime.cli import data_handlers

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
    parser.set_defaults(handler=data_handlers.synth)


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
    parser.set_defaults(handler=data_handlers.import_files)


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
    parser.set_defaults(handler=data_handlers.fetch)


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
    parser.set_defaults(handler=data_handlers.check)


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
    parser.set_defaults(handler=data_handlers.resample)


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
    parser.set_defaults(handler=data_handlers.list_files)


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
