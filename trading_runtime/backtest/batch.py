"""Many parameter sets over one market in one process: what a sweep's worker runs.

Each set is simulated by the same kernel as a single compiled run, and its statistics are taken from the tape without
building tables. Threads share the market and the columns; the kernels hold no GIL. Results do not depend on the number
of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from trading_runtime.backtest import kernel
from trading_runtime.backtest.column_rows import ColumnRows
from trading_runtime.backtest.compiled import TAPE_ROWS_MIN, CompiledMarket, TapeBuffer, is_compilable, run_kernel
from trading_runtime.backtest.engine import Account, first_decision_bar, run_general
from trading_runtime.backtest.market import Market
from trading_runtime.backtest.return_metrics import ReturnStatistics, Value, published, sampled_bars
from trading_runtime.backtest.tables import unit_ratio
from trading_runtime.backtest.targets import Comparisons, TargetFinder, comparisons_of
from trading_runtime.core.bars import Floats, Integers
from trading_runtime.core.columns import resolve
from trading_runtime.core.errors import AmountError, ConfigurationError
from trading_runtime.core.evaluate import ColumnCache, Columns
from trading_runtime.core.expressions import parameter_names
from trading_runtime.core.strategy import Strategy

BLOCKS_PER_THREAD = 8
# Targets that change more often than this on average need a longer tape, and so a run of their own.
CHANGE_BARS_MIN = 8
_OUT_OF_RANGE = -(2**63)


class Basis:
    """What every row of a batch shares: the bars returns are sampled at, the quote unit, and how metrics are made."""

    def __init__(self, market: Market, account: Account, periods_per_year: float, risk_free_rate_annual: float) -> None:
        instrument = market.instruments[market.symbols[0]]
        times = market.start_ms + market.bar_ms * np.arange(1, market.count + 1, dtype=np.int64)
        self.samples = sampled_bars(times, market.bar_ms)
        self.unit = unit_ratio(float(instrument.quote_unit))
        start_cash = instrument.money_float(account.start_cash)
        self.returns = ReturnStatistics(
            self.unit, start_cash, times, market.bar_ms, periods_per_year, risk_free_rate_annual
        )


class BatchRow:
    """What one parameter set came to.

    ``equity_units`` is the equity after the last bar, ``samples`` the equity at the sampled bars (quote units),
    ``statistics`` what ``kernel.equity_statistics`` fills. ``metrics`` are computed when asked for: those of
    ``compute_metrics`` that need no list of trades, to the same digits.
    """

    def __init__(
        self, parameters: Mapping[str, Any], equity_units: int, samples: Integers, statistics: Floats, basis: Basis
    ) -> None:
        self.parameters = parameters
        self.equity_units = equity_units
        self.samples = samples
        self.statistics = statistics
        self._basis = basis

    @cached_property
    def metrics(self) -> dict[str, Value]:
        (values,) = self._basis.returns.values(self.samples[np.newaxis], self.statistics[np.newaxis])
        return {name: published(value) for name, value in values.items()}


def run_batch(
    market: Market,
    strategies: Sequence[Strategy],
    account: Account,
    *,
    threads: int = 1,
    cache: ColumnCache | None = None,
    columns: ColumnRows | None = None,
    progress: Callable[[int], None] | None = None,
    periods_per_year: float = 365,
    risk_free_rate_annual: float = 0.0,
) -> list[BatchRow]:
    """Run many parameter sets; the rows come in the order of ``strategies`` whatever the number of threads.

    Columns that several sets declare are computed once; ``cache`` and ``columns``, of this market, keep them for the
    next batch. ``progress`` is told the number of finished sets after each block. Raises StrategyError for a strategy
    without targets, ConfigurationError for spot beside perpetuals, AmountError where an amount leaves its range.
    """
    if not is_compilable(market):
        raise ConfigurationError("spot and perpetuals in one market cannot be run as a batch: run them one by one")
    batch = _Batch(market, account, cache, columns, Basis(market, account, periods_per_year, risk_free_rate_annual))
    rows: list[BatchRow] = []
    for group in batch.groups(strategies):
        workers = max(1, min(threads, group.count, os.cpu_count() or 1))
        size = max(1, -(-group.count // (workers * BLOCKS_PER_THREAD)))
        blocks = [range(start, min(start + size, group.count)) for start in range(0, group.count, size)]
        for block in _in_order(group.run, blocks, workers):
            rows.extend(block)
            if progress is not None:
                progress(len(rows))
    return rows


def _in_order(work: Callable[[range], list[BatchRow]], blocks: list[range], workers: int) -> Iterator[list[BatchRow]]:
    if workers == 1:
        yield from map(work, blocks)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, blocks)


class _Group(Protocol):
    """Parameter sets that are run alike; ``run`` gives the rows of a range of them."""

    count: int

    def run(self, cells: range) -> list[BatchRow]: ...


class _Batch:
    """One market prepared for many runs."""

    def __init__(
        self, market: Market, account: Account, cache: ColumnCache | None, columns: ColumnRows | None, basis: Basis
    ) -> None:
        self.market = market
        self.account = account
        self.basis = basis
        self.compiled = CompiledMarket(market)
        self.cache = cache if cache is not None else ColumnCache()
        self.columns = columns if columns is not None else ColumnRows(market, self.cache)

    def groups(self, strategies: Sequence[Strategy]) -> Iterator[_Group]:
        """Cut into runs of one class whose targets compare columns of one symbol, as long as their columns fit; others
        stay single.
        """
        start = 0
        while start < len(strategies):
            kind = type(strategies[start])
            targets = kind.targets
            plan = comparisons_of(targets) if targets is not None and len(self.market.symbols) == 1 else None
            if plan is None:
                yield _Singles(self, strategies[start : start + 1])
                start += 1
                continue
            group = _Cells(self, plan)
            while start < len(strategies) and type(strategies[start]) is kind and group.add(strategies[start]):
                start += 1
            self.columns.fill()
            yield group


class _Singles:
    """Parameter sets run one by one: targets of any kind, any number of symbols."""

    def __init__(self, batch: _Batch, strategies: Sequence[Strategy]) -> None:
        self.count = len(strategies)
        self._batch = batch
        self._strategies = strategies

    def run(self, cells: range) -> list[BatchRow]:
        return [run_single(self._batch, self._strategies[cell]) for cell in cells]


class _Cells:
    """Parameter sets whose targets compare columns of one symbol: a kernel runs a range of them without the
    interpreter.
    """

    def __init__(self, batch: _Batch, plan: Comparisons) -> None:
        self.count = 0
        self._batch = batch
        self._plan = plan
        self._parameters: list[Mapping[str, Any]] = []
        self._strategies: list[Strategy] = []
        self._operands = [(one, sorted(parameter_names(one))) for one in (*plan.left, *plan.right)]
        self._rows: list[list[int]] = []
        self._weights: list[list[float]] = []
        self._first: list[int] = []
        if not batch.columns.has_room(len(self._operands)):
            batch.columns.clear()

    def add(self, strategy: Strategy) -> bool:
        """Take in one more set; False when its columns would not fit any more."""
        market, columns = self._batch.market, self._batch.columns
        if not columns.has_room(len(self._operands)):
            return False
        values = strategy.params.to_json()
        self._rows.append([columns.row(one, names, values) for one, names in self._operands])
        self._weights.append([float(resolve(weight, values)) for weight in self._plan.weights])
        self._first.append(min(first_decision_bar(market, strategy), market.count))
        self._parameters.append(values)
        self._strategies.append(strategy)
        self.count += 1
        return True

    def run(self, cells: range) -> list[BatchRow]:
        batch, compiled, basis = self._batch, self._batch.compiled, self._batch.basis
        part, count = slice(cells.start, cells.stop), len(cells)
        rows, prices = TapeBuffer().of(TAPE_ROWS_MIN + 4 * batch.market.count // CHANGE_BARS_MIN)
        status, equity = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        samples = np.zeros((count, len(basis.samples)), dtype=np.int64)
        statistics = np.zeros((count, kernel.STATISTICS))
        operands = np.array(self._rows[part], dtype=np.int64)
        numerator, denominator = basis.unit
        kernel.run_cells(
            batch.columns.matrix,
            operands[:, : len(self._plan.left)].copy(),
            operands[:, len(self._plan.left) :].copy(),
            np.array([self._plan.or_equal] * count),
            np.array(self._weights[part]),
            np.array(self._first[part], dtype=np.int64),
            batch.market.count,
            compiled.quotes,
            compiled.volume,
            *compiled.arguments(batch.account),
            *(compiled.mark, compiled.block_high, compiled.block_low),
            *(float(numerator), float(denominator), basis.samples),
            *(rows, prices, status, equity, samples, statistics),
        )
        return [
            BatchRow(self._parameters[place], int(equity[cell]), samples[cell], statistics[cell], basis)
            if status[cell] == kernel.DONE and equity[cell] != _OUT_OF_RANGE
            else run_single(batch, self._strategies[place])
            for cell, place in enumerate(cells)
        ]


def run_single(batch: _Batch, strategy: Strategy) -> BatchRow:
    """Run one parameter set by itself, with a tape as long as it needs."""
    market, account, basis, compiled = batch.market, batch.account, batch.basis, batch.compiled
    values = strategy.params.to_json()
    first = min(first_decision_bar(market, strategy), market.count)
    changes = TargetFinder(market).find(strategy, Columns(market.bars, values, batch.cache), first)
    tape = run_kernel(compiled, account, first, changes, TapeBuffer())
    samples = np.zeros(len(basis.samples), dtype=np.int64)
    statistics = np.zeros(kernel.STATISTICS)
    numerator, denominator = basis.unit
    equity = _OUT_OF_RANGE
    if tape is not None:
        equity = kernel.equity_statistics(
            *(compiled.mark, compiled.block_high, compiled.block_low, compiled.per_unit),
            *(tape.rows, len(tape.rows), account.start_cash, float(numerator), float(denominator)),
            *(basis.samples, samples, statistics),
        )
    if equity == _OUT_OF_RANGE:
        run_general(
            market, strategy, account, batch.cache
        )  # says what left the range, if its wider integers mind at all
        raise AmountError(
            f"{type(strategy).__name__} {values}: an amount left the range that the compiled path can hold"
        )
    return BatchRow(values, int(equity), samples, statistics, basis)
