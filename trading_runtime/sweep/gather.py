"""Gathering a sweep: what the store holds of every cell, and a folder of results made from it.

    complete: every cell is done; incomplete: lists of what is missing, failed or corrupt

Nothing is believed that a shard said: every result is read, checked against its digest and its identity. The root
digest is over the sorted lines ``cell_id digest`` of what is done; of a complete sweep it names the whole.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from trading_runtime.core.errors import DataError, OutputError
from trading_runtime.core.hashing import sha256_hex
from trading_runtime.core.timeframes import iso_time
from trading_runtime.data.arrow_columns import arrow_column
from trading_runtime.objects.port import ObjectStore
from trading_runtime.objects.seal import seal
from trading_runtime.provenance import environment
from trading_runtime.sweep.cell import equity_series
from trading_runtime.sweep.data import SweepData, download
from trading_runtime.sweep.folder_lock import alone_in
from trading_runtime.sweep.markets import starting_cash
from trading_runtime.sweep.plan import reused_count, slug
from trading_runtime.sweep.present import present_cells
from trading_runtime.sweep.results import Read, cells_key, failed_ids, read_failure, read_results
from trading_runtime.sweep.run import mean_of
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.search import learn_recorded
from trading_runtime.sweep.spec import Sweep, load_sweep_spec
from trading_runtime.sweep.statistics import returns_matrix, sweep_statistics
from trading_runtime.sweep.tables import CORRUPT, DONE, FAILED, METRIC_NAMES, MISSING, Cells, Swept, ranked, write_cells
from trading_runtime.sweep.walk_forward import Fold, Series, WalkForward, stitch, walk_forward

SCHEMA_VERSION = 1
BLOCK = 1024  # cells that are read together
LISTED_MAX = 1000  # of each kind of trouble, in documents for people; counts count all
TRIALS_MAX = 5000  # cells whose returns are compared; beyond, an even sample stands for all

SWEEP_FILE, CELLS_FILE, EQUITY_FILE, REPORT_FILE = "sweep.json", "cells.parquet", "equity.parquet", "sweep.html"
_LIBRARIES = ("numpy", "numba", "pyarrow", "msgspec")
CELLS_FOLDER = "cells"  # whole backtests of some cells, when asked for


@dataclass(eq=False)
class Gathered:
    """The facts about a sweep. ``failed`` and ``corrupt`` say why, by cell id; ``missing`` holds
    indices.
    """

    sweep: Sweep
    data: SweepData
    cells: Cells
    root_digest: str
    counts: dict[str, int]
    missing: list[int] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    corrupt: dict[str, str] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        return self.counts["done"] == self.counts["planned"]


def gather_sweep(
    store: ObjectStore,
    sweep_id: str,
    *,
    strategy: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    is_kept: bool = True,
) -> Gathered:
    """Read every cell of a sweep and write ``gathered.json`` and the list of what is done, unless it shall not be kept;
    nothing is computed. ``progress`` is told how many cells of how many were looked at.
    """
    sweep = load_sweep_spec(store, sweep_id, strategy=strategy)
    learn_recorded(store, sweep)
    data = download(store, sweep.content["data"], sweep.settings)
    found, lines = _read(store, sweep, data, progress)
    if is_kept:
        store.put(cells_key(sweep_id), lines)
        store.put(f"sweeps/{sweep_id}/gathered.json", seal(_document(found)))
    return found


def write_results(store: ObjectStore, found: Gathered, folder: Path, reports: int = 0) -> list[Path]:
    """Write the folder of results, which appears whole or not at all; return its files. With ``reports`` the whole
    backtests of as many of the best cells are made too, below ``cells/``, and the page links to their reports.

    Raises OutputError when it cannot be written or holds something that is not a sweep's results.
    """
    folder = folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(folder.parent):
            if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not holds_results(folder))):
                raise OutputError(f"{folder} holds other things than results of a sweep: name another folder")
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            os.chmod(temporary, 0o755)
            _write_files(store, found, temporary, reports)
            names = sorted(path.name for path in temporary.iterdir() if path.is_file())
            with alone_in(folder.parent):
                _put_in_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    return [folder / name for name in names]


def _put_in_place(temporary: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.rename(folder, old / "results")
    os.rename(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)


def holds_results(folder: Path) -> bool:
    """Whether a folder is one that ``write_results`` wrote."""
    return (folder / SWEEP_FILE).exists()


def upload_results(store: ObjectStore, found: Gathered) -> list[str]:
    """Put the results under ``sweeps/<sweep_id>/results/`` and return their keys, ``cells.parquet`` first and
    ``sweep.json`` last: who reads them the other way round sees whether they are of one gather. What an older gather
    left besides is deleted.
    """
    prefix = f"sweeps/{found.sweep.sweep_id}/results/"
    with tempfile.TemporaryDirectory() as folder:
        files = {path.name: path for path in write_results(store, found, Path(folder) / "results")}
        names = sorted(files, key=lambda name: (name == SWEEP_FILE, name != CELLS_FILE, name))
        for name in names:
            if name == SWEEP_FILE:
                for key in list(store.keys(prefix)):
                    if key.removeprefix(prefix) not in files:
                        store.delete(key)
            store.put(prefix + name, files[name].read_bytes())
    return [prefix + name for name in names]


def results_name(sweep: Sweep) -> str:
    """Return what the folder of a sweep's results is called."""
    return f"{slug(sweep.name)}-{sweep.sweep_id}"


def combination_scores(cells: Cells, sweep: Sweep, metric: str) -> tuple[list[int], list[float | None]]:
    """Return the combinations that are decided and the mean of a metric over the periods that judge them: tests where
    there are folds, else all. None where a cell is not done.
    """
    values = cells.columns[f"m_{metric}"]
    index = cells.columns["index"]  # ascending; the cells themselves, but for combinations that are not decided yet
    position: Mapping[int, int] | range = (
        range(len(index)) if len(index) == sweep.count else {one: place for place, one in enumerate(index)}
    )
    judged = [number for number, period in enumerate(sweep.periods) if period.role != "train"]
    combinations = list(range(len(sweep.places)))
    found = [
        mean_of([values[position[number * sweep.combinations + one]] for number in judged]) for one in combinations
    ]
    return combinations, found


def _read(
    store: ObjectStore, sweep: Sweep, data: SweepData, progress: Callable[[int, int], None] | None
) -> tuple[Gathered, bytes]:
    runner = Runner(store, sweep, data=data, expected=1)
    failed_before = failed_ids(store, sweep.sweep_id)
    present = present_cells(store, sweep.count)
    cells, lines = Cells.of(sweep), set[str]()
    figures = [(name, f"m_{name}") for name in METRIC_NAMES]
    found = Gathered(sweep, data, cells, "", {})
    done = 0
    decided = (index for index in sweep.indices() if sweep.is_decided(index))
    while block := list(islice(decided, BLOCK)):
        tasks = [runner.task(index) for index in block]
        there = [one.cell_id for one in tasks if present is None or one.cell_id in present]
        reads = {read.cell_id: read for read in read_results(store, there)}
        for index, task in zip(block, tasks, strict=True):
            read = reads.get(task.cell_id, Read(task.cell_id, None))
            period = task.cell.period
            row: dict[str, Any] = {
                **{"index": index, "cell_id": task.cell_id, "period": period.name},
                **{"role": period.role, "fold": period.fold},
                **{f"p_{name}": value for name, value in sweep.swept(index).items()},
            }
            if read.content is not None:
                done += 1
                metrics, digest = read.content["metrics"], read.content["digest"]
                row |= {column: metrics.get(name) for name, column in figures}
                row |= {"digest": digest, "status": DONE}
                lines.add(f"{task.cell_id} {digest}")
            elif read.damage is not None:
                row["status"] = CORRUPT
                found.corrupt[task.cell_id] = read.damage
            elif task.cell_id in failed_before:
                row["status"] = FAILED
                failure = read_failure(store, sweep.sweep_id, task.cell_id)
                found.failed[task.cell_id] = f"{failure['kind']}: {failure['message']}"
            else:
                row["status"] = MISSING
                found.missing.append(index)
            cells.add(row)
        if progress is not None:
            progress(len(cells), sweep.count)
    undecided = sweep.count - len(cells)
    ordered = "".join(f"{line}\n" for line in sorted(lines)).encode()
    found.root_digest = sha256_hex(ordered)
    found.counts = {
        "planned": sweep.count,
        "done": done,
        "missing": len(found.missing) + undecided,
        "failed": len(found.failed),
        "corrupt": len(found.corrupt),
        "reused": reused_count(store, sweep.sweep_id),
    }
    return found, ordered


def _document(found: Gathered) -> dict[str, Any]:
    """Return ``gathered.json``: facts only, the same whenever the store holds the same."""
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": found.sweep.sweep_id,
        "root_digest": found.root_digest,
        "complete": found.is_complete,
        "counts": found.counts,
        "missing": found.missing[:LISTED_MAX],
        "failed": dict(islice(found.failed.items(), LISTED_MAX)),
        "corrupt": dict(islice(found.corrupt.items(), LISTED_MAX)),
    }


def _write_files(store: ObjectStore, found: Gathered, folder: Path, reports: int) -> None:
    sweep = found.sweep
    write_cells(folder / CELLS_FILE, found.cells, sweep)
    folds = _walk_forward(store, found)
    content = {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": sweep.sweep_id,
        "root_digest": found.root_digest,
        "name": sweep.name,
        "strategy": sweep.content["strategy"],
        "metric": sweep.metric,
        "direction": sweep.direction,
        "search": sweep.content["search"],
        "where": sweep.content["space"]["where"],
        "counts": found.counts,
        "missing": found.missing[:LISTED_MAX],
        "failed": dict(islice(found.failed.items(), LISTED_MAX)),
        "corrupt": dict(islice(found.corrupt.items(), LISTED_MAX)),
        "parameters": {
            name: {"kind": type(values[0]).__name__, "values": list(values)}
            for name, values in sweep.space.values.items()
        },
        "periods": [
            {
                **{"name": period.name, "role": period.role, "fold": None if period.fold < 0 else period.fold},
                **{"start": iso_time(period.start_ms), "end": iso_time(period.end_ms)},
            }
            for period in sweep.periods
        ],
        "best": _best(found),
        "walk_forward": None if folds is None else folds.document(),
        "statistics": _statistics(store, found),
        "provenance": {
            **environment(),
            "libraries": _libraries(),
            "engine_semantics": sweep.content["engine_semantics"],
            "backtest": sweep.content["backtest"],
            "data": [_source(manifest) for manifest in sweep.content["origin"]["manifests"]],
        },
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SWEEP_FILE).write_text(text + "\n", encoding="utf-8")
    equity = None
    if folds is not None and folds.stitched is not None:
        equity = _equity_table(folder / EQUITY_FILE, folds)
    from trading_runtime.sweep.report import write_sweep_report
    from trading_runtime.sweep.report.subject import read_subject

    columns = found.cells.columns
    best = read_subject(content, columns).ranked()[:reports] if reports else []
    links = _write_cell_reports(store, found, folder, best)
    write_sweep_report(folder / REPORT_FILE, content, columns, equity, links)


def _write_cell_reports(store: ObjectStore, found: Gathered, folder: Path, rows: Sequence[int]) -> dict[str, str]:
    """Write the backtests of some rows' cells; return the path of each one's report beside the sweep's."""
    links: dict[str, str] = {}
    if rows:
        from trading_runtime.backtest.run import write_run
        from trading_runtime.sweep.cell_report import DIGITS_LEAST, run_of

        runner = Runner(store, found.sweep, data=found.data, expected=1)
        for row in rows:
            task = runner.task(found.cells.columns["index"][row])
            place = Path(CELLS_FOLDER, task.cell_id[:DIGITS_LEAST])
            write_run(run_of(store, found.sweep, found.data, runner, task), folder / place, report=True)
            links[task.cell_id] = (place / "report.html").as_posix()
    return links


def _best(found: Gathered) -> dict[str, Any] | None:
    """Return the best combination by the sweep's own metric."""
    combinations, values = combination_scores(found.cells, found.sweep, found.sweep.metric)
    order = ranked(values, Swept(found.sweep, combinations), found.sweep.direction)
    if not order or values[order[0]] is None:
        return None
    return {"parameters": found.sweep.swept(combinations[order[0]]), "value": values[order[0]]}


def _walk_forward(store: ObjectStore, found: Gathered) -> WalkForward | None:
    sweep = found.sweep
    trains = [period for period in sweep.periods if period.role == "train"]
    if not trains:
        return None
    tests = {period.fold: period.name for period in sweep.periods if period.role == "test"}
    settings = sweep.settings.metrics

    def equity_of(cell_id: str) -> Any:
        (read,) = read_results(store, [cell_id])
        if read.content is None:
            raise DataError(f"cell {cell_id}: its result has gone while the sweep was gathered: gather it again")
        return equity_series(read.content["equity_daily"])

    return walk_forward(
        found.cells.rows(),
        [Fold(period.fold, period.name, tests[period.fold]) for period in trains],
        sweep.metric,
        sweep.direction,
        equity_of,
        start_cash=starting_cash(sweep, found.data),
        bar_ms=next(iter(found.data.bars.values())).bar_ms,
        periods_per_year=settings.periods_per_year,
        risk_free_rate_annual=settings.risk_free_rate_annual,
    )


def _statistics(store: ObjectStore, found: Gathered) -> dict[str, Any] | None:
    """Return statistics that count the trials, with at least two of them done: of a sweep over one period, or of the
    chained tests of a walk-forward. Trials over other periods cannot be compared.

    The trial that is judged is the best combination of the sweep; in a walk-forward that is the best one in hindsight,
    not the choice fold by fold, which saw none of the tests.
    """
    sweep = found.sweep
    judged = [number for number, period in enumerate(sweep.periods) if period.role != "train"]
    if len(judged) > 1 and len(judged) == len(sweep.periods):
        return None
    combinations, values = combination_scores(found.cells, sweep, sweep.metric)
    order = ranked(values, Swept(sweep, combinations), sweep.direction)
    columns = found.cells.columns
    cells = {
        index: cell_id
        for index, cell_id, status in zip(columns["index"], columns["cell_id"], columns["status"], strict=True)
        if status == DONE
    }
    done = [one for one in combinations if all(number * sweep.combinations + one in cells for number in judged)]
    indices = {one: [number * sweep.combinations + one for number in judged] for one in done}
    if len(done) < 2 or values[order[0]] is None:
        return None
    sample = sorted({*done[:: -(-len(done) * len(judged) // TRIALS_MAX)], order[0]})
    bar_ms, start_cash = next(iter(found.data.bars.values())).bar_ms, starting_cash(sweep, found.data)
    series: list[Series] = []
    returns_per_year = sweep.settings.metrics.periods_per_year
    many = max(1, BLOCK // len(judged))  # trials that are read together
    for start in range(0, len(sample), many):
        block = sample[start : start + many]
        reads = iter(read_results(store, [cells[index] for one in block for index in indices[one]]))
        for _ in block:
            parts: list[tuple[int, Series]] = []
            for number, read in zip(judged, islice(reads, len(judged)), strict=True):
                if read.content is None:
                    raise DataError(
                        f"cell {read.cell_id}: its result has gone while the sweep was gathered: gather it again"
                    )
                parts.append((sweep.periods[number].fold, equity_series(read.content["equity_daily"])))
                returns_per_year = float(read.content["metrics"]["periods_per_year"])
            try:
                chained = stitch(parts, start_cash=start_cash, bar_ms=bar_ms)
            except DataError:
                return None  # tests that overlap: the chosen ones' curve is refused with the same reason
            series.append((chained.time_ms, chained.equity))
    returns = returns_matrix(series, start_cash=start_cash, bar_ms=bar_ms)
    return sweep_statistics(
        returns,
        sample.index(order[0]),
        periods_per_year=returns_per_year,
        trials=len(done),
    )


def _equity_table(path: Path, folds: WalkForward) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    assert folds.stitched is not None
    curve = folds.stitched
    columns = {"time_ms": curve.time_ms, "equity": curve.equity, "fold": curve.fold}
    table = pa.table({name: arrow_column(values) for name, values in columns.items()})
    pyarrow.parquet.write_table(table, path, compression="zstd", version="2.6")
    return table


def _libraries() -> dict[str, str]:
    """Return the versions that are installed of what computes cells: workers of which this process may have loaded
    nothing did that, and who gathers must not show in the results.
    """
    found = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _source(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what people need to know about a source."""
    known = (
        "name",
        "kind",
        "symbol",
        "timeframe",
        "rows",
        "first_time",
        "last_time",
        "grade",
        "content_hash",
        "exception",
    )
    return {name: manifest[name] for name in known if name in manifest}
