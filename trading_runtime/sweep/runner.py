"""Computes cells in one process: reads what is there, runs what is missing, writes it once.

A worker process has one of these, and so has a run without workers. Which path of the engine computes is decided by
cost alone: every path gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from trading_runtime.backtest.run import COMPILED_BARS_MIN
from trading_runtime.core.errors import StrategyError
from trading_runtime.core.hashing import sha256_hex
from trading_runtime.core.strategy import Strategy
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.cell import CellError, Measures, Outcome, batch_outcomes, general_outcome
from trading_runtime.sweep.data import SweepData, download
from trading_runtime.sweep.markets import IdentityText, Markets, PeriodMarket, starting_with
from trading_runtime.sweep.results import (
    cell_key,
    failed_ids,
    failure_bytes,
    failure_key,
    read_results,
    result_bytes,
    write_failures,
    write_results,
)
from trading_runtime.sweep.spec import Cell, Sweep


class Done(NamedTuple):
    """What became of some cells: computed now, found in the store, failed (now or before), and damaged results that
    were replaced; the last are among the computed ones.
    """

    computed: int = 0
    found: int = 0
    failed: int = 0
    damaged: int = 0

    def plus(self, other: Done) -> Done:
        return Done(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def total(self) -> int:
        """Cells in all."""
        return self.computed + self.found + self.failed


class Task(NamedTuple):
    """One cell with what names it. ``error`` is there when its parameters declare windows that cannot be: nothing then
    says how many bars it reads before its period, and it is named without any.
    """

    cell: Cell
    needed: int
    cell_id: str
    text: IdentityText
    error: CellError | None = None


class Runner:
    """Runs cells of one sweep. ``expected`` is how many there may be to compute: compiling must be worth it."""

    def __init__(
        self,
        store: ObjectStore,
        sweep: Sweep,
        *,
        data: SweepData | None = None,
        retry_failed: bool = False,
        expected: int,
    ) -> None:
        self._store = store
        self._sweep = sweep
        self._data = download(store, sweep.content["data"], sweep.settings) if data is None else data
        self._markets = Markets(sweep, self._data)
        bars = sum(len(series) for series in self._data.bars.values())
        self._batch = sweep.kind.targets is not None and expected * bars >= COMPILED_BARS_MIN
        self._failed = set() if retry_failed else failed_ids(store, sweep.sweep_id)
        self._retry_failed = retry_failed

    def run(self, indices: Sequence[int]) -> Done:
        """Make sure that every cell in ``indices``, all of one period, has a result or a failure in the store."""
        tasks = [self.task(index) for index in indices]
        failed_before = [task for task in tasks if task.cell_id in self._failed]
        waiting = [task for task in tasks if task.cell_id not in self._failed]
        missing: list[Task] = []
        found = damaged = 0
        for task, read in zip(waiting, read_results(self._store, [task.cell_id for task in waiting]), strict=True):
            if read.content is not None:
                found += 1
                continue
            if read.damage is not None:
                damaged += 1
                self._store.delete(cell_key(task.cell_id))
            missing.append(task)
        computed, failed = self._compute(missing)
        return Done(computed, found, failed + len(failed_before), damaged)

    def task(self, index: int) -> Task:
        """Return a cell with its id."""
        cell = self._sweep.cell(index)
        needed, error = 0, None
        try:
            needed = self._markets.needed(cell.strategy)
        except StrategyError as wrong:
            error = CellError(wrong)
        text = self._markets.identity_text(cell, needed)
        return Task(cell, needed, sha256_hex(text.whole), text, error)

    def identity(self, task: Task) -> dict[str, Any]:
        """Return what names a cell."""
        return self._markets.identity(task.cell, task.needed)

    def outcomes(self, tasks: Sequence[Task]) -> list[Outcome | CellError]:
        """Compute cells of one period and store nothing."""
        sound = [task for task in tasks if task.error is None]
        computed = iter(self._outcomes(sound) if sound else ())
        return [next(computed) if task.error is None else task.error for task in tasks]

    def _outcomes(self, tasks: Sequence[Task]) -> list[Outcome | CellError]:
        prepared = self._markets.market(tasks[0].cell.period, max(task.needed for task in tasks))
        settings = self._sweep.settings.metrics
        measures = Measures(prepared, settings.periods_per_year, settings.risk_free_rate_annual)
        strategies = [starting_with(task.cell.strategy, prepared, task.needed) for task in tasks]
        if self._batch:
            found = batch_outcomes(prepared, strategies, measures, None)
            if found is not None:
                return found
        return [_one(prepared, strategy, measures) for strategy in strategies]

    def _compute(self, missing: Sequence[Task]) -> tuple[int, int]:
        if not missing:
            return 0, 0
        results: list[tuple[str, bytes]] = []
        failures: list[tuple[str, bytes]] = []
        for task, outcome in zip(missing, self.outcomes(missing), strict=True):
            failed = failure_key(self._sweep.sweep_id, task.cell_id)
            if self._retry_failed:
                self._store.delete(failed)
            if isinstance(outcome, CellError):
                failures.append((failed, failure_bytes(task.cell_id, self.identity(task), outcome)))
            else:
                results.append((cell_key(task.cell_id), result_bytes(task.cell_id, task.text, outcome)))
        write_results(self._store, results)
        write_failures(self._store, failures)
        return len(results), len(failures)


def _one(prepared: PeriodMarket, strategy: Strategy, measures: Measures) -> Outcome | CellError:
    try:
        return general_outcome(prepared, strategy, measures)
    except CellError as error:
        return error
