"""``trading-runtime sweep``: its verbs and their options. What they do is in ``sweep_run.py`` and ``sweep_look.py``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import Any

from trading_runtime.cli.arguments import Parser, Subparsers, add_verb, examples

STORE_DEFAULT = "results/objects"


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb and the verbs below it."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sweep",
        help="run many parameter sets and periods of a backtest, here or on a cluster",
        description="Run many parameter sets and periods of a backtest, here or on a cluster: the same bytes.",
        epilog=examples("sweep run --config examples/sweep/sma_cross.json", "sweep run --help"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="sweep_verb", metavar="VERB", required=True, parser_class=Parser)
    _add_plan(verbs)
    _add_run(verbs)
    _add_gather(verbs)
    _add_status(verbs)
    _add_why(verbs)
    _add_leaderboard(verbs)
    _add_report(verbs)


def _add_plan(verbs: Subparsers) -> None:
    parser = add_verb(
        verbs,
        "plan",
        "write what a sweep is into the object store, and print its id",
        "sweep plan --config sweep.json --store s3://bucket/research --id-file /tmp/sweep-id --measure",
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="configuration of the sweep, JSON or YAML")
    _store(parser)
    parser.add_argument("--id-file", metavar="PATH", help="write the id of the sweep to this file, and nothing else")
    parser.add_argument(
        "--measure", action="store_true", help="compute some cells to say how many shards of how many minutes it makes"
    )
    _json(parser)
    parser.set_defaults(handler=_handler("sweep_run", "plan"))


def _add_run(verbs: Subparsers) -> None:
    parser = add_verb(
        verbs,
        "run",
        "compute what is missing of a sweep: a whole one from its configuration, or a shard of a planned one",
        "sweep run --config examples/sweep/sma_cross.json --workers 4",
        "sweep run --sweep 0123456789abcdef --store s3://bucket/research --shard 3 --shards 20",
    )
    named = parser.add_mutually_exclusive_group(required=True)
    named.add_argument("--config", metavar="FILE", help="configuration: plan, run everything, gather")
    named.add_argument("--sweep", metavar="ID", help="a planned sweep: run a shard of it")
    _store(parser)
    parser.add_argument("--shard", type=int, default=0, metavar="K", help="which shard, from 0 (default 0)")
    parser.add_argument("--shards", type=int, default=1, metavar="N", help="how many shards there are (default 1)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: as many as the work is worth)")
    parser.add_argument("--retry-failed", action="store_true", help="compute cells anew whose strategy failed before")
    parser.add_argument("--folder", metavar="DIR", help="results of --config (default results/sweeps/NAME-ID)")
    _reports(parser)
    _json(parser)
    parser.set_defaults(handler=_handler("sweep_run", "run"))


def _reports(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reports",
        type=int,
        default=0,
        metavar="N",
        help="make the whole backtests of the N best cells too, and link the page to their reports (default 0)",
    )


def _add_gather(verbs: Subparsers) -> None:
    parser = add_verb(
        verbs,
        "gather",
        "read every cell of a sweep; exit 3 and a list when cells are missing, failed or corrupt",
        "sweep gather --sweep 0123456789abcdef --store s3://bucket/research",
        "sweep gather --sweep 0123456789abcdef --folder results/sweeps/mine",
    )
    _sweep(parser)
    _store(parser)
    parser.add_argument("--folder", metavar="DIR", help="write the results here instead of into the store")
    _reports(parser)
    _json(parser)
    parser.set_defaults(handler=_handler("sweep_run", "gather"))


def _add_status(verbs: Subparsers) -> None:
    parser = add_verb(
        verbs,
        "status",
        "say what is done and missing of a sweep, by shard",
        "sweep status --sweep 0123456789abcdef --shards 20",
    )
    _sweep(parser)
    _store(parser)
    parser.add_argument("--shards", type=int, default=1, metavar="N", help="how many shards there are (default 1)")
    _json(parser)
    parser.set_defaults(handler=_handler("sweep_look", "status"))


def _add_why(verbs: Subparsers) -> None:
    parser = add_verb(
        verbs,
        "why-recomputed",
        "say what a sweep or a cell has otherwise than an earlier one",
        "sweep why-recomputed 0123456789abcdef",
        "sweep why-recomputed 0123456789abcdef --against fedcba9876543210",
    )
    parser.add_argument("subject", metavar="SWEEP|CELL", help="id of a sweep (16 digits) or of a cell (64 digits)")
    parser.add_argument(
        "--against",
        metavar="SWEEP",
        help="the earlier sweep (default: the one of this name planned before; needed for a cell)",
    )
    _store(parser)
    _json(parser)
    parser.set_defaults(handler=_handler("sweep_look", "why_recomputed"))


def _add_leaderboard(verbs: Subparsers) -> None:
    parser = add_verb(
        verbs,
        "leaderboard",
        "list the best combinations of a sweep",
        "sweep leaderboard --sweep 0123456789abcdef --metric calmar_ratio --top 20",
    )
    _sweep(parser)
    _store(parser)
    parser.add_argument("--metric", metavar="NAME", help="another figure than the sweep's own")
    parser.add_argument(
        "--direction",
        choices=("maximize", "minimize"),
        help="which end is good (default: the sweep's for its own metric, minimize for drawdown, volatility and costs)",
    )
    parser.add_argument("--top", type=int, default=10, metavar="N", help="rows (default 10)")
    _json(parser)
    parser.set_defaults(handler=_handler("sweep_look", "leaderboard"))


def _add_report(verbs: Subparsers) -> None:
    parser = add_verb(
        verbs,
        "report",
        "make the whole backtest of one cell: result, tables, journal and report",
        "sweep report --sweep 0123456789abcdef --cell 0123456789ab",
    )
    _sweep(parser)
    parser.add_argument("--cell", required=True, metavar="CELL", help="id of the cell, or its first 12 digits")
    _store(parser)
    parser.add_argument("--folder", metavar="DIR", help="where (default results/cells/ and 12 digits of the id)")
    _json(parser)
    parser.set_defaults(handler=_handler("sweep_look", "report"))


def _sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sweep", required=True, metavar="ID", help="id of the sweep, as plan prints it")


def _store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        default=STORE_DEFAULT,
        metavar="ADDRESS",
        help=f"object store: a folder, s3://bucket/prefix or gs://bucket/prefix (default {STORE_DEFAULT})",
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _handler(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """Return a handler whose module is imported when it is called: the help of a verb loads nothing of it."""

    def handle(arguments: argparse.Namespace) -> int:
        found: Any = getattr(import_module(f"trading_runtime.cli.{module}"), name)
        code: int = found(arguments)
        return code

    return handle
