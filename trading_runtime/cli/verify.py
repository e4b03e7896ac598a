"""``trading-runtime verify``: prove on given candles that a strategy neither looks ahead nor remembers. The
proof is in ``trading_runtime/verify``; here are its arguments, its table and its progress.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.cli.arguments import (
    Subparsers,
    add_verb,
    configured_by,
    print_json,
    table,
)
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trading_runtime.backtest.engine import Account
    from trading_runtime.backtest.market import Market
    from trading_runtime.core.strategy import Strategy
    from trading_runtime.verify.certificate import Certificate, Difference

# All bars where that takes seconds, else a sample that does.
ALL_BARS_MAX = 20_000
SAMPLE_BARS = 5_000
_VALUE_LENGTH_MAX = 100


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "verify",
        "prove that a strategy neither looks ahead, nor further back than declared, nor remembers",
        "verify sma_cross --data data/BTC-USDT-1h.parquet",
        "verify my_strategies/idea.py:Idea --data btc.csv --symbol BTC/USDT --set fast=10 --all",
        "verify sma_cross --config trading_runtime/local/local.json --certificate certificate.json",
    )
    parser.add_argument("strategy", metavar="STRATEGY", help="a registered name, module:Class or path/to/file.py:Class")
    parser.add_argument("--data", action="append", default=[], metavar="FILE", help="candles; once for each symbol")
    parser.add_argument("--symbol", action="append", default=[], help="symbol of each file, in order (from the file)")
    parser.add_argument("--timeframe", help="length of the files' bars (from the file)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter of the strategy"
    )
    parser.add_argument("--config", metavar="FILE", help="take data, fees and filters from a configuration instead")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--sample",
        type=_positive,
        metavar="N",
        help=f"check a sample of N bars ({SAMPLE_BARS:,} when there are more than {ALL_BARS_MAX:,})",
    )
    amount.add_argument("--all", action="store_true", help="check every bar, however many there are")
    parser.add_argument("--seed", type=int, default=0, help="seed of sample, order and random bars (0)")
    parser.add_argument("--certificate", metavar="FILE", help="write what was proven to a JSON file")
    parser.add_argument("--json", action="store_true", help="print the certificate instead of a table")
    parser.set_defaults(handler=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    strategy, market, account = _configured(arguments) if arguments.config else _given(arguments)
    from trading_runtime.verify.probes import verify_strategy

    certificate = verify_strategy(
        strategy,
        market,
        account,
        bars=_bars(arguments, market.count),
        seed=arguments.seed,
        progress=_progress(),
    )
    if arguments.certificate:
        from trading_runtime.data.atomic import write_whole

        write_whole(Path(arguments.certificate), certificate.to_bytes())
    if arguments.json:
        print_json(certificate.to_json())
    else:
        print(text(certificate))
    return EXIT_DONE if certificate.passed else EXIT_FINDING


def _bars(arguments: argparse.Namespace, count: int) -> Any:
    if arguments.all:
        return "all"
    if arguments.sample is not None:
        return arguments.sample
    return SAMPLE_BARS if count > ALL_BARS_MAX else "all"


def _given(arguments: argparse.Namespace) -> tuple[Strategy, Market, Account]:
    """Return what the command line alone says: default filters, no fees."""
    from trading_runtime.backtest.market import Market
    from trading_runtime.config.build import build_account, build_instrument
    from trading_runtime.config.schema import DataSettings, Settings
    from trading_runtime.config.strategies import load_strategy
    from trading_runtime.data.files import load_bars

    if not arguments.data:
        raise ConfigurationError("give --data FILE once for each symbol, or --config FILE")
    if arguments.symbol and len(arguments.symbol) != len(arguments.data):
        raise ConfigurationError("give --symbol once for each --data, in the same order, or not at all")
    settings = Settings(
        strategy={"class": arguments.strategy, **dict(_assignment(one) for one in arguments.set)},
        data=[DataSettings(path=path) for path in arguments.data],
    )
    strategy = load_strategy(settings, Path.cwd())
    bars: dict[str, Any] = {}
    for index, path in enumerate(arguments.data):
        symbol = arguments.symbol[index] if arguments.symbol else None
        loaded = load_bars(path, symbol=symbol, timeframe=arguments.timeframe).bars
        if loaded.symbol in bars:
            raise ConfigurationError(f"{path}: {loaded.symbol} is given twice; keep one file per symbol")
        bars[loaded.symbol] = loaded
    market = Market(bars, {symbol: build_instrument(settings, symbol) for symbol in bars})
    return strategy, market, build_account(settings, market)


def _configured(arguments: argparse.Namespace) -> tuple[Strategy, Market, Account]:
    """Return what a configuration says, with the strategy of the command line."""
    from trading_runtime.config.load import load_settings

    if arguments.data or arguments.symbol or arguments.timeframe:
        raise ConfigurationError("--config names the data already: leave out --data, --symbol and --timeframe")
    strategy = arguments.strategy
    place, colon, name = strategy.rpartition(":")
    if colon and place.endswith(".py"):
        # On the command line a path starts where one stands; in a configuration it starts at the file.
        strategy = f"{os.path.relpath(place, Path(arguments.config).absolute().parent)}:{name}"
    overrides = [f"strategy.{one}" for one in arguments.set]
    loaded = load_settings(arguments.config, overrides, os.environ, strategy=strategy)
    with configured_by(loaded.path):
        from trading_runtime.config.build import build_account, build_market, load_strategy

        chosen = load_strategy(loaded.settings, loaded.folder)
        market, _ = build_market(loaded.settings, loaded.folder)
        return chosen, market, build_account(loaded.settings, market)


def _assignment(words: str) -> tuple[str, Any]:
    name, equals, value = words.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"--set takes NAME=VALUE, not {words!r}")
    try:
        return name.removeprefix("strategy."), json.loads(value)
    except ValueError:
        return name.removeprefix("strategy."), value


def _positive(words: str) -> int:
    if not words.isdecimal() or int(words) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of bars, not {words!r}")
    return int(words)


def _progress() -> Callable[[str, int, int], None] | None:
    """Return what tells a person at a terminal how far the proof is; a log needs no such thing."""
    if not sys.stderr.isatty():
        return None

    def tell(what: str, done: int, total: int) -> None:
        end = "\r" if done < total else "\r\033[K"
        print(f"{what}: {done:,} of {total:,} bars", end=end, file=sys.stderr, flush=True)

    return tell


def text(certificate: Certificate) -> str:
    """Return the certificate as a person reads it: what was asked, a table, the first difference of each failure."""
    from trading_runtime.verify.certificate import QUESTIONS

    checked = f"{certificate.bars_checked:,} of {certificate.bars:,} bars"
    head = [
        ["strategy", certificate.strategy],
        ["parameters", ", ".join(f"{name}={value}" for name, value in certificate.parameters.items()) or "none"],
        ["data", ", ".join(f"{one['symbol']} {one['timeframe']}" for one in certificate.data)],
        ["checked", f"{checked}, {certificate.bars_acting:,} of all with a proposal; seed {certificate.seed}"],
        ["bars needed", f"{certificate.bars_needed:,} for each decision"],
    ]
    rows = [["probe", "bars", "differ", "verdict", "what it proves"]]
    for probe in certificate.probes:
        counts = [f"{probe.bars:,}", f"{probe.differing:,}"] if probe.bars else ["", ""]
        rows.append([probe.name, *counts, probe.verdict, QUESTIONS[probe.name]])
    parts = [table(head), table(rows, right=(1, 2))]
    for probe in certificate.probes:
        if probe.first is not None:
            parts.append(_difference(probe.name, probe.first) + (f"\n  {probe.note}" if probe.note else ""))
    parts.append("verified" if certificate.passed else f"failed: {', '.join(certificate.failed())}")
    return "\n\n".join(parts)


def _difference(name: str, first: Difference) -> str:
    lines = [["  expected", _shown(first.expected)], ["  found", _shown(first.found)]]
    return f"{name} differs first at {first.time} in {first.field}\n{table(lines)}"


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return words if len(words) <= _VALUE_LENGTH_MAX else f"{words[: _VALUE_LENGTH_MAX - 3]}..."
