"""The whole backtest of one cell, made on demand from what the store holds: trades, chart, journal, report.

A cell's result is a few figures; everything else follows from the sweep's spec and data, computed again here and held
against the stored result. Where it is written is the command's business.
"""

from __future__ import annotations

import re

import msgspec

from trading_runtime.backtest.run import Run, finish, run_engine
from trading_runtime.config.load import config_hash, settings_json
from trading_runtime.config.schema import STRATEGY_CLASS
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.timeframes import iso_time
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.cell import CellError
from trading_runtime.sweep.data import SweepData, download
from trading_runtime.sweep.markets import Markets, starting_with
from trading_runtime.sweep.results import read_results
from trading_runtime.sweep.runner import Runner, Task
from trading_runtime.sweep.search import learn_recorded
from trading_runtime.sweep.spec import Sweep, load_sweep_spec

DIGITS_LEAST = 12  # as many as reports show of a cell's id
_CELL_ID = re.compile(rf"[0-9a-f]{{{DIGITS_LEAST},64}}")


def cell_run(store: ObjectStore, sweep_id: str, cell_id: str, *, strategy: str | None = None) -> tuple[str, Run]:
    """Return the whole id of a cell and its backtest; ``cell_id`` may be the first twelve digits or more.

    Raises ConfigurationError for a cell that the sweep does not have, DataError when the cell fails, or when what is
    stored of it is not what it comes to here.
    """
    sweep = load_sweep_spec(store, sweep_id, strategy=strategy)
    learn_recorded(store, sweep)
    data = download(store, sweep.content["data"], sweep.settings)
    runner = Runner(store, sweep, data=data, expected=1)
    task = _found(runner, sweep, cell_id)
    return task.cell_id, run_of(store, sweep, data, runner, task)


def run_of(store: ObjectStore, sweep: Sweep, data: SweepData, runner: Runner, task: Task) -> Run:
    """Return the backtest of a cell; raises DataError as ``cell_run``."""
    _refuse_another_result(store, runner, task)
    markets = Markets(sweep, data)
    prepared = markets.market(task.cell.period, task.needed, exact=True)
    cell = sweep.cell(task.cell.index)
    trace = run_engine(prepared.market, starting_with(cell.strategy, prepared, task.needed), prepared.account)
    given = sweep.settings.strategy[STRATEGY_CLASS]
    settings = msgspec.structs.replace(sweep.settings, strategy={STRATEGY_CLASS: given, **cell.parameters})
    run = finish(
        prepared.market,
        cell.strategy,
        prepared.account,
        trace,
        name=f"{sweep.name}: {cell.period.name}, cell {task.cell_id[:DIGITS_LEAST]}",
        manifests=[dict(manifest) for manifest in sweep.content["origin"]["manifests"]],
        config=settings_json(settings),
        config_hash=config_hash(settings),
        periods_per_year=settings.metrics.periods_per_year,
        risk_free_rate_annual=settings.metrics.risk_free_rate_annual,
    )
    if prepared.warm_up:
        run.result["warnings"].append(
            f"the {prepared.warm_up} bars before {iso_time(cell.period.start_ms)} only warm indicators up: nothing is "
            "decided in them, and figures that depend on the length of the run differ from the cell's own"
        )
    return run


def _found(runner: Runner, sweep: Sweep, cell_id: str) -> Task:
    if not _CELL_ID.fullmatch(cell_id):
        raise ConfigurationError(
            f"--cell {cell_id!r} is no id of a cell: it has 64 hexadecimal digits, of which the first {DIGITS_LEAST} do"
        )
    for index in sweep.indices():
        if sweep.is_decided(index) and (task := runner.task(index)).cell_id.startswith(cell_id):
            return task
    raise ConfigurationError(f"--cell {cell_id}: sweep {sweep.sweep_id} has no such cell; cells.parquet names them")


def _refuse_another_result(store: ObjectStore, runner: Runner, task: Task) -> None:
    (outcome,) = runner.outcomes([task])
    if isinstance(outcome, CellError):
        raise DataError(
            f"cell {task.cell_id[:DIGITS_LEAST]} fails, so that there is nothing to report: {outcome.message}"
        )
    (read,) = read_results(store, [task.cell_id])
    if read.damage is not None:
        raise DataError(f"{read.damage}: run the sweep again, which replaces it")
    if read.content is not None and read.content["metrics"] != outcome["metrics"]:
        raise DataError(
            f"cell {task.cell_id[:DIGITS_LEAST]} does not come to its stored result here: its code is the same, so "
            "look at the versions of libraries in sweep.json"
        )
