"""``trading-runtime backtest``: one configuration, one run, one folder of results. The run itself is
``backtest/run.py``'s.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trading_runtime.cli.arguments import (
    Subparsers,
    add_settings,
    add_verb,
    configured_by,
    loaded_settings,
    print_json,
)
from trading_runtime.core.errors import EXIT_DONE

PROGRESS_AFTER_SECONDS = 1.0


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "backtest",
        "run one strategy over bars and write result, tables and report",
        "backtest --config trading_runtime/local/local.json",
        "backtest --config trading_runtime/local/local.json --set strategy.fast=10 --out results/fast-10",
        "backtest --config trading_runtime/local/local.json --strategy my_strategies/idea.py:Idea --json",
    )
    add_settings(parser)
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the result, instead of output.folder; replaced as a whole"
    )
    parser.add_argument("--json", action="store_true", help="print the content of result.json instead of a table")
    parser.add_argument("--no-report", action="store_true", help="make no report.html")
    parser.set_defaults(handler=_backtest)


def _backtest(arguments: argparse.Namespace) -> int:
    loaded = loaded_settings(arguments)
    settings = loaded.settings
    folder = Path(arguments.out) if arguments.out else loaded.folder / settings.output.folder
    with configured_by(loaded.path):
        from trading_runtime.backtest.run import run_backtest, write_run

        with progress_of_bars() as progress:
            run = run_backtest(loaded, progress)
    with_report = settings.output.report and not arguments.no_report
    write_run(run, folder, report=with_report)
    report = folder / "report.html" if with_report else None
    if arguments.json:
        print_json(run.result)
        for warning in run.result["warnings"]:
            print(f"warning: {warning}", file=sys.stderr)
        print(f"result: {shown_path(report or folder)}", file=sys.stderr)
        return EXIT_DONE
    from trading_runtime.cli.summary import summary

    print(summary(run))
    print(f"\nresult   {shown_path(folder)}")
    if report is not None:
        print(f"report   {shown_path(report)}")
    return EXIT_DONE


@contextmanager
def progress_of_bars() -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal, once a run has taken long enough for anybody to wonder; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    started = time.monotonic()
    bar: Any = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and time.monotonic() - started >= PROGRESS_AFTER_SECONDS:
            from tqdm import tqdm

            bar = tqdm(total=total, unit=" bars", unit_scale=True, leave=False)
        if bar is not None:
            bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def shown_path(path: Path) -> str:
    """Return a path as people can paste it: relative to where they stand when it lies below, else whole."""
    whole = path.resolve()
    here = Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)
