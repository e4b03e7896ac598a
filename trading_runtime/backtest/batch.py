"""Many parameter sets over one market in one process: what a sweep's worker runs.

Each set is simulated by the same kernel as a single compiled run, and its statistics are taken from the tape without
building tables. Threads share the market and the columns; the kernels hold no GIL. Results do not depend on the number
of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np

from trading_runtime.backtest import kernel
from trading_runtime.backtest.compiled import CompiledMarket, TapeBuffer, is_compilable, run_kernel
from trading_runtime.backtest.engine import Account, first_decision_bar, run_general
from trading_runtime.backtest.market import Market
from trading_runtime.backtest.metrics import Value, return_statistics, sampled_bars
from trading_runtime.backtest.tables import unit_ratio
from trading_runtime.backtest.targets import TargetChanges, TargetFinder
from trading_runtime.core.bars import Floats, Integers
from trading_runtime.core.errors import AmountError, ConfigurationError
from trading_runtime.core.evaluate import ColumnCache, Columns
from trading_runtime.core.strategy import Strategy

BLOCKS_PER_THREAD = 8


class Basis:
    """What every row of a batch shares: times, the bars returns are sampled at, units and annualisation."""

    def __init__(self, market: Market, account: Account, periods_per_year: float, risk_free_rate_annual: float) -> None:
        instrument = market.instruments[market.symbols[0]]
        self.times = market.start_ms + market.bar_ms * np.arange(1, market.count + 1, dtype=np.int64)
        self.bar_ms = market.bar_ms
        self.samples = sampled_bars(self.times, market.bar_ms)
        self.unit = unit_ratio(float(instrument.quote_unit))
        self.start_cash = instrument.money_float(account.start_cash)
        self.periods_per_year = periods_per_year
        self.risk_free_rate_annual = risk_free_rate_annual


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
        basis = self._basis
        return return_statistics(
            self.samples,
            self.statistics,
            basis.unit,
            basis.start_cash,
            basis.times,
            basis.bar_ms,
            basis.periods_per_year,
            basis.risk_free_rate_annual,
        )


def run_batch(
    market: Market,
    strategies: Sequence[Strategy],
    account: Account,
    *,
    threads: int = 1,
    cache: ColumnCache | None = None,
    progress: Callable[[int], None] | None = None,
    periods_per_year: float = 365,
    risk_free_rate_annual: float = 0.0,
) -> list[BatchRow]:
    """Run many parameter sets; the rows come in the order of ``strategies`` whatever the number of threads.

    Columns that several sets declare are computed once. ``progress`` is told the number of finished sets after each
    block. Raises StrategyError for a strategy without targets, AmountError where an amount leaves its range.
    """
    if not is_compilable(market):
        raise ConfigurationError("spot and perpetuals in one market cannot be run as a batch: run them one by one")
    batch = _Batch(market, account, cache, Basis(market, account, periods_per_year, risk_free_rate_annual))
    workers = max(1, min(threads, len(strategies), os.cpu_count() or 1))
    size = max(1, -(-len(strategies) // (workers * BLOCKS_PER_THREAD)))
    blocks = [strategies[start : start + size] for start in range(0, len(strategies), size)]
    rows: list[BatchRow] = []
    with ThreadPoolExecutor(workers) as pool:
        finished = map(batch.run_block, blocks) if workers == 1 else pool.map(batch.run_block, blocks)
        for block in finished:
            rows.extend(block)
            if progress is not None:
                progress(len(rows))
    return rows


class _Batch:
    """One market prepared for many runs; buffers are per thread."""

    def __init__(self, market: Market, account: Account, cache: ColumnCache | None, basis: Basis) -> None:
        self._market = market
        self._account = account
        self._compiled = CompiledMarket(market)
        self._cache = cache if cache is not None else ColumnCache()
        self._basis = basis
        self._local = threading.local()

    def run_block(self, strategies: Sequence[Strategy]) -> list[BatchRow]:
        if not hasattr(self._local, "buffer"):
            self._local.buffer, self._local.finder = TapeBuffer(), TargetFinder(self._market)
        return [self._run(strategy, self._local.buffer, self._local.finder) for strategy in strategies]

    def _run(self, strategy: Strategy, buffer: TapeBuffer, finder: TargetFinder) -> BatchRow:
        market, account, basis, compiled = self._market, self._account, self._basis, self._compiled
        values = strategy.params.to_json()
        first = first_decision_bar(market, strategy)
        if first < market.count:
            changes = finder.find(strategy, Columns(market.bars, values, self._cache), first)
        else:
            changes, first = TargetChanges(*(np.zeros(0, dtype=kind) for kind in ("i8", "i8", "f8"))), market.count
        tape = run_kernel(compiled, account, first, changes, buffer)
        if tape is None:
            run_general(
                market, strategy, account, self._cache
            )  # says what left the range, if its wider integers mind at all
            raise AmountError(
                f"{type(strategy).__name__} {values}: an amount left the range that the compiled path can hold"
            )
        samples = np.zeros(len(basis.samples), dtype=np.int64)
        statistics = np.zeros(7)
        numerator, denominator = basis.unit
        equity = kernel.equity_statistics(
            compiled.mark,
            compiled.block_high,
            compiled.block_low,
            compiled.per_unit,
            tape.rows,
            len(tape.rows),
            account.start_cash,
            float(numerator),
            float(denominator),
            basis.samples,
            samples,
            statistics,
        )
        return BatchRow(values, int(equity), samples, statistics, basis)
