"""``sweep plan``, ``sweep run`` and ``sweep gather``: what changes the store, and the progress of it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trading_runtime.cli.arguments import print_json, table
from trading_runtime.cli.backtest import shown_path
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, ConfigurationError, OutputError
from trading_runtime.data.atomic import write_whole
from trading_runtime.objects.open import open_objects
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.gather import (
    Gathered,
    combination_scores,
    gather_sweep,
    results_name,
    upload_results,
    write_results,
)
from trading_runtime.sweep.measure import measure_sweep, measured_text
from trading_runtime.sweep.plan import Planned, plan_sweep
from trading_runtime.sweep.result_folder import clear_leftovers, refuse_other_folder
from trading_runtime.sweep.run import RunOptions, check_run, run_sweep
from trading_runtime.sweep.runner import Done
from trading_runtime.sweep.tables import direction_of, ranked

RESULTS_FOLDER = Path("results/sweeps")
BEST_SHOWN = 10
REPORTS_MAX = 100
LOG_SECONDS = 15.0
_TROUBLE_SHOWN = 5


def plan(arguments: argparse.Namespace) -> int:
    if arguments.id_file:
        _refuse_unwritable(Path(arguments.id_file), "--id-file")
    store = open_objects(arguments.store, os.environ)
    with progress_of("counting known cells") as progress:
        planned = plan_sweep(arguments.config, store, os.environ, progress)
    measured = measure_sweep(store, planned.sweep, planned.data).to_json() if arguments.measure else None
    if arguments.id_file:
        write_whole(Path(arguments.id_file), f"{planned.sweep.sweep_id}\n".encode())
    if arguments.json:
        print_json({**_planned_json(planned), "store": store.label, "measured": measured})
        return EXIT_DONE
    print(_planned_text(planned))
    if measured is not None:
        print(measured_text(measured))
    return EXIT_DONE


def run(arguments: argparse.Namespace) -> int:
    """Everything that options alone can have wrong is refused before the store is touched."""
    check_run(arguments.store, arguments.shard, arguments.shards, arguments.workers)
    if arguments.sweep is not None and arguments.folder is not None:
        raise ConfigurationError("--folder is for `sweep run --config`; a planned sweep is gathered by `sweep gather`")
    _check_reports(arguments, "of --config", arguments.config)
    if arguments.config is not None and arguments.shards > 1:
        raise ConfigurationError("--config runs the whole sweep; for shards plan it and use --sweep ID")
    if arguments.folder is not None:
        refuse_other_folder(Path(arguments.folder))
    store = open_objects(arguments.store, os.environ)
    if arguments.sweep is not None:
        options = RunOptions(
            arguments.store, arguments.shard, arguments.shards, arguments.workers, arguments.retry_failed
        )
        with progress_of(f"sweep {arguments.sweep} shard {options.shard} of {options.shards}") as progress:
            done = run_sweep(store, arguments.sweep, options, lambda done, count: progress(done.total, count))
        if arguments.json:
            print_json(
                {"sweep_id": arguments.sweep, "shard": options.shard, "shards": options.shards, **done._asdict()}
            )
        else:
            print(_done_text(done))
        return EXIT_DONE  # what failed is a fact for gather to report: repeating the shard would not mend it
    with progress_of("counting known cells") as counting:
        planned = plan_sweep(arguments.config, store, os.environ, counting)
    sweep_id = planned.sweep.sweep_id
    folder = Path(arguments.folder) if arguments.folder else RESULTS_FOLDER / results_name(planned.sweep)
    refuse_other_folder(folder)
    print(_planned_text(planned), file=sys.stderr)
    options = RunOptions(
        arguments.store, workers=arguments.workers, retry_failed=arguments.retry_failed, strategy=planned.strategy
    )
    with progress_of(f"sweep {sweep_id}") as progress:
        done = run_sweep(store, sweep_id, options, lambda done, count: progress(done.total, count))
    with progress_of(f"gather {sweep_id}") as progress:
        found = gather_sweep(store, sweep_id, strategy=planned.strategy, progress=progress)
    files = _written(store, found, folder, arguments.reports)
    if arguments.json:
        print_json({**_gathered_json(found), "run": done._asdict(), "files": [shown_path(path) for path in files]})
    else:
        print(f"{_done_text(done)}\n\n{best_table(found, None, None, BEST_SHOWN)}\n\n{_gathered_text(found)}")
        for path in files:
            print(f"file     {shown_path(path)}")
    return EXIT_DONE if found.is_complete else EXIT_FINDING


def gather(arguments: argparse.Namespace) -> int:
    _check_reports(arguments, "in a --folder", arguments.folder)
    if arguments.folder:
        refuse_other_folder(Path(arguments.folder))
    store = open_objects(arguments.store, os.environ)
    with progress_of(f"gather {arguments.sweep}") as progress:
        found = gather_sweep(store, arguments.sweep, progress=progress)
    if arguments.folder:
        places = [shown_path(path) for path in _written(store, found, Path(arguments.folder), arguments.reports)]
    else:
        places = [f"{store.label}/{key}" for key in upload_results(store, found)]
    if arguments.json:
        print_json({**_gathered_json(found), "files": places})
    else:
        print(_gathered_text(found))
        for place in places:
            print(f"file     {place}")
    return EXIT_DONE if found.is_complete else EXIT_FINDING


def _written(store: ObjectStore, found: Gathered, folder: Path, reports: int) -> list[Path]:
    clear_leftovers(folder)
    return write_results(store, found, folder, reports)


def _check_reports(arguments: argparse.Namespace, where: str, given: str | None) -> None:
    """Raise ConfigurationError for a number of reports that cannot be made, or where there is no folder for them."""
    if not 0 <= arguments.reports <= REPORTS_MAX:
        raise ConfigurationError(f"--reports must be 0 to {REPORTS_MAX}, not {arguments.reports}")
    if arguments.reports and given is None:
        raise ConfigurationError(f"--reports belong to results {where}; `sweep report` makes a cell's from the store")


def best_table(found: Gathered, metric: str | None, direction: str | None, top: int) -> str:
    """Return the best combinations as a table."""
    rows = best_rows(found, metric, direction, top)
    chosen = metric or found.sweep.metric
    names = list(found.sweep.space.values)
    lines = [["rank", chosen, *names]]
    lines += [
        [
            str(row["rank"]),
            "-" if row["value"] is None else f"{row['value']:.6g}",
            *(str(row["parameters"][name]) for name in names),
        ]
        for row in rows
    ]
    return table(lines, right=range(len(lines[0])))


def best_rows(found: Gathered, metric: str | None, direction: str | None, top: int) -> list[dict[str, Any]]:
    """Return the best combinations: rank, mean of the metric over the periods that judge, parameters, ids of cells."""
    sweep = found.sweep
    combinations, values = combination_scores(found.cells, sweep, metric or sweep.metric)
    swept = [sweep.swept(one) for one in combinations]
    chosen: Any = direction or direction_of(sweep, metric)
    ids = dict(zip(found.cells.columns["index"], found.cells.columns["cell_id"], strict=True))
    judged = [number for number, period in enumerate(sweep.periods) if period.role != "train"]
    return [
        {
            "rank": rank,
            "value": values[one],
            "parameters": swept[one],
            "cells": [ids[number * sweep.combinations + combinations[one]] for number in judged],
        }
        for rank, one in enumerate(ranked(values, swept, chosen)[:top], start=1)
    ]


@contextmanager
def progress_of(label: str) -> Iterator[Callable[[int, int], None]]:
    """Cells done, rate and remaining time, on stderr: a bar on a terminal, now and then a line elsewhere."""
    from tqdm import tqdm

    bar: Any = None
    last = time.monotonic()
    started = last

    def show(done: int, count: int) -> None:
        nonlocal bar, last
        if sys.stderr.isatty():
            if bar is None:
                bar = tqdm(total=count, unit=" cells", desc=label, leave=False)
            bar.update(done - bar.n)
        elif time.monotonic() - last >= LOG_SECONDS:
            last = time.monotonic()
            meter = tqdm.format_meter(done, count, last - started, unit=" cells", ncols=0)
            print(f"{label}: {meter}", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _planned_json(planned: Planned) -> dict[str, Any]:
    sweep = planned.sweep
    return {
        "sweep_id": sweep.sweep_id,
        "name": sweep.name,
        "new": planned.is_new,
        "cells": sweep.count,
        "combinations": sweep.combinations,
        "periods": len(sweep.periods),
        "left_out": planned.left_out,
        "reused": planned.reused,
    }


def _planned_text(planned: Planned) -> str:
    sweep = planned.sweep
    left_out = f", {planned.left_out:,} left out by conditions" if planned.left_out else ""
    reused = f", {planned.reused:,} of them known from other sweeps" if planned.reused else ""
    again = "" if planned.is_new else " (planned before)"
    combinations = f"{sweep.combinations:,} combinations{left_out}"
    return (
        f"sweep    {sweep.sweep_id}{again}\n"
        f"cells    {sweep.count:,}: {combinations} x {len(sweep.periods)} period(s){reused}"
    )


def _done_text(done: Done) -> str:
    parts = [f"{done.computed:,} computed", f"{done.found:,} found"]
    parts += [f"{done.failed:,} failed"] if done.failed else []
    parts += [f"{done.damaged:,} damaged and replaced"] if done.damaged else []
    return f"run      {', '.join(parts)}"


def _gathered_json(found: Gathered) -> dict[str, Any]:
    return {
        "sweep_id": found.sweep.sweep_id,
        "root_digest": found.root_digest,
        "complete": found.is_complete,
        "counts": found.counts,
        "failed": found.failed,
        "corrupt": found.corrupt,
    }


def _gathered_text(found: Gathered) -> str:
    counts = found.counts
    said = ", ".join(f"{counts[name]:,} {name}" for name in ("done", "missing", "failed", "corrupt") if counts[name])
    lines = [f"cells    {said or 'none done'} of {counts['planned']:,}", f"digest   {found.root_digest}"]
    for kind, trouble in (("failed", found.failed), ("corrupt", found.corrupt)):
        for cell_id, message in list(trouble.items())[:_TROUBLE_SHOWN]:
            lines.append(f"{kind:<8} {cell_id[:12]}: {message}")
        if len(trouble) > _TROUBLE_SHOWN:
            lines.append(f"         and {len(trouble) - _TROUBLE_SHOWN:,} more {kind}")
    if not found.is_complete:
        lines.append("incomplete: run it again for what is missing or corrupt, with --retry-failed for what failed")
    return "\n".join(lines)


def _refuse_unwritable(path: Path, option: str) -> None:
    """Raise OutputError for a file that cannot be written because of where it would lie."""
    above = next(one for one in path.absolute().parents if one.exists())
    if path.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
        raise OutputError(f"{option} {path}: cannot be written there; name a file in a folder that you may write to")


def opened(arguments: argparse.Namespace) -> ObjectStore:
    """Return the store that the options name."""
    return open_objects(arguments.store, os.environ)
