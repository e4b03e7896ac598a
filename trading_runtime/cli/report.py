"""``trading-runtime report``: makes the HTML report of a finished run, again or somewhere else."""

from __future__ import annotations

import argparse
from pathlib import Path

from trading_runtime.cli.arguments import Subparsers, add_verb
from trading_runtime.cli.backtest import shown_path
from trading_runtime.core.errors import EXIT_DONE


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "report",
        "make the HTML report of a finished run",
        "report results/local",
        "report results/local --out local.html",
    )
    parser.add_argument("result", metavar="RESULT", help="folder of a finished run, or its result.json")
    parser.add_argument("--out", metavar="FILE", help="where the report goes (report.html in the folder)")
    parser.set_defaults(handler=_report)


def _report(arguments: argparse.Namespace) -> int:
    from trading_runtime.backtest.compare import result_folder
    from trading_runtime.backtest.report import write_report

    folder = result_folder(Path(arguments.result))
    print(shown_path(write_report(folder, None if arguments.out is None else Path(arguments.out))))
    return EXIT_DONE
