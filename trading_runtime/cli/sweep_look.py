"""``sweep status``, ``why-recomputed``, ``leaderboard`` and ``report``: what only reads the store."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from trading_runtime.backtest.run import write_run
from trading_runtime.cli.arguments import print_json, table
from trading_runtime.cli.backtest import shown_path
from trading_runtime.cli.sweep_run import best_rows, best_table, opened, progress_of
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, ConfigurationError, nearest_name
from trading_runtime.sweep.cell_report import DIGITS_LEAST, cell_run
from trading_runtime.sweep.gather import gather_sweep
from trading_runtime.sweep.settings import MetricName
from trading_runtime.sweep.status import ShardStatus, sweep_status
from trading_runtime.sweep.why import why_cell
from trading_runtime.sweep.why import why_recomputed as explain_sweep

CELLS_FOLDER = Path("results/cells")
SHARDS_SHOWN_MAX = 10_000  # each is a row of the table
_CELL_ID = re.compile(r"[0-9a-f]{64}")


def status(arguments: argparse.Namespace) -> int:
    if arguments.shards > SHARDS_SHOWN_MAX:
        raise ConfigurationError(f"--shards must be at most {SHARDS_SHOWN_MAX:,} here, not {arguments.shards:,}")
    store = opened(arguments)
    with progress_of("reading cells") as progress:
        sweep, shards = sweep_status(store, arguments.sweep, arguments.shards, progress=progress)
    complete = all(one.done == one.planned for one in shards)
    if arguments.json:
        print_json(
            {
                "sweep_id": sweep.sweep_id,
                "name": sweep.name,
                "complete": complete,
                "shards": [one.to_json() for one in shards],
            }
        )
    else:
        print(f"sweep {sweep.sweep_id} {sweep.name!r}: {'complete' if complete else 'incomplete'}\n")
        print(_status_table(shards))
    return EXIT_DONE if complete else EXIT_FINDING


def why_recomputed(arguments: argparse.Namespace) -> int:
    store = opened(arguments)
    if _CELL_ID.fullmatch(arguments.subject):
        if arguments.against is None:
            raise ConfigurationError("a cell is compared with the results of a sweep: name it with --against SWEEP")
        why = why_cell(store, arguments.subject, arguments.against)
    else:
        why = explain_sweep(store, arguments.subject, arguments.against)
    if arguments.json:
        print_json(why.to_json())
    else:
        print(f"{why.subject} against {why.against or 'nothing'}")
        for reason in why.reasons:
            print(f"  {reason}")
    return EXIT_DONE


def leaderboard(arguments: argparse.Namespace) -> int:
    known = list(get_args(MetricName))
    if arguments.metric is not None and arguments.metric not in known:
        near = nearest_name(arguments.metric, known)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ConfigurationError(
            f"--metric {arguments.metric!r} is no figure of cells{hint} (known: {', '.join(known)})"
        )
    if arguments.top < 1:
        raise ConfigurationError(f"--top must be at least 1, not {arguments.top}")
    found = gather_sweep(opened(arguments), arguments.sweep, is_kept=False)
    if arguments.json:
        print_json(
            {
                "sweep_id": found.sweep.sweep_id,
                "metric": arguments.metric or found.sweep.metric,
                "complete": found.is_complete,
                "rows": best_rows(found, arguments.metric, arguments.direction, arguments.top),
            }
        )
    else:
        print(best_table(found, arguments.metric, arguments.direction, arguments.top))
        if not found.is_complete:
            print(f"\nincomplete: {found.counts['done']:,} of {found.counts['planned']:,} cells are done")
    return EXIT_DONE if found.is_complete else EXIT_FINDING


def report(arguments: argparse.Namespace) -> int:
    cell_id, run = cell_run(opened(arguments), arguments.sweep, arguments.cell)
    folder = Path(arguments.folder) if arguments.folder else CELLS_FOLDER / cell_id[:DIGITS_LEAST]
    write_run(run, folder, report=True)
    if arguments.json:
        print_json(run.result)
    else:
        print(f"cell     {cell_id}")
        for warning in run.result["warnings"]:
            print(f"warning  {warning}")
        print(f"report   {shown_path(folder / 'report.html')}")
    return EXIT_DONE


def _status_table(shards: Sequence[ShardStatus]) -> str:
    names = ["shard", "planned", "done", "missing", "failed", "corrupt"]
    rows = [[f"{one.to_json()[name]:,}" for name in names] for one in shards]
    return table([names, *rows], right=range(len(names)))
