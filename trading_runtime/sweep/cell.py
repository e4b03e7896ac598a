"""One cell's result: the figures of a run inside its period, and its equity at the ends of days.

Both paths of the engine end in the same few numbers (equity at sampled bars, deepest drawdown, costs, fills, bars with
a position), from which the metrics are computed once: a cell's bytes do not depend on the path. What only lists of
trades can tell (win rate, number of trades) is therefore no part of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from trading_runtime.backtest.engine import first_decision_bar, run_general
from trading_runtime.backtest.result import Curve, build_curve, symbol_holdings
from trading_runtime.backtest.return_metrics import ReturnStatistics, sampled_bars
from trading_runtime.backtest.tables import Floats, Integers, money_floats, unit_ratio
from trading_runtime.core.errors import DataError, TradingRuntimeError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import iso_time
from trading_runtime.objects.seal import Fields
from trading_runtime.sweep.markets import PeriodMarket

Outcome = Fields  # "metrics" and "equity"


class CellError(Exception):
    """A cell that cannot be computed: the kind of its error and what it says."""

    def __init__(self, error: TradingRuntimeError) -> None:
        super().__init__(str(error))
        self.kind = type(error).__name__
        self.message = " ".join(str(error).split())


class Measures:
    """What the outcomes of one market share: times, the bars returns are sampled at, and what metrics are made of."""

    def __init__(self, prepared: PeriodMarket, periods_per_year: float, risk_free_rate_annual: float) -> None:
        market, account = prepared.market, prepared.account
        instrument = market.instruments[market.symbols[0]]
        times = market.start_ms + market.bar_ms * np.arange(1, market.count + 1, dtype=np.int64)
        self.samples = sampled_bars(times, market.bar_ms)
        # Before the period nothing is held, so that only times are cut off.
        self._inside = self.samples >= prepared.warm_up
        inside = times[prepared.warm_up :]
        self._metrics = ReturnStatistics(
            unit_ratio(float(instrument.quote_unit)),
            instrument.money_float(account.start_cash),
            inside,
            market.bar_ms,
            periods_per_year,
            risk_free_rate_annual,
        )
        before = {
            "bar_ms": market.bar_ms,
            "first_close_ms": int(inside[0]),
            "last_close_ms": int(inside[-1]),
            "unit": str(instrument.quote_unit),
        }
        self._before_units = canonical_json(before)[:-1] + b',"units":'

    def outcomes(self, samples: Integers, statistics: Floats) -> list[Outcome]:
        """Return metrics and equity inside the period of runs over the market: ``samples`` has the shape (runs,
        sampled bars), ``statistics`` is what ``kernel.equity_statistics`` fills, shape (runs, 6).
        """
        inside = samples[:, self._inside]
        metrics = self._metrics.texts(inside, statistics)
        return [
            Outcome({"metrics": figures, "equity": self._before_units + msgspec.json.encode(units) + b"}"})
            for figures, units in zip(metrics, inside.tolist(), strict=True)
        ]


def equity_series(equity: Mapping[str, Any]) -> tuple[Integers, Floats]:
    """Return times (closes, milliseconds) and equity of a cell's result, shape (n,): at the last close of each UTC day,
    at every close for bars of a day or longer.
    """
    times = _sample_times(int(equity["first_close_ms"]), int(equity["last_close_ms"]), int(equity["bar_ms"]))
    numerator, denominator = unit_ratio(float(equity["unit"]))
    units = np.array(equity["units"], dtype=np.int64)
    return times, units.astype(np.float64) * numerator / denominator


@lru_cache(maxsize=64)  # all cells of a period have the same
def _sample_times(first_close_ms: int, last_close_ms: int, bar_ms: int) -> Integers:
    times = np.arange(first_close_ms, last_close_ms + 1, bar_ms, dtype=np.int64)
    sampled = times[sampled_bars(times, bar_ms)]
    sampled.flags.writeable = False
    return sampled


def general_outcome(prepared: PeriodMarket, strategy: Strategy, measures: Measures) -> Outcome:
    """Compute one cell on the general path; raises CellError when the cell itself is at fault."""
    try:
        refuse_too_short(prepared, strategy)
        market, account = prepared.market, prepared.account
        trace = run_general(market, strategy, account, prepared.cache)
        curve = build_curve(market, trace, account.start_cash)
    except TradingRuntimeError as error:
        raise CellError(error) from error
    samples, statistics = curve.equity_units[measures.samples], _statistics(prepared, curve)
    (outcome,) = measures.outcomes(samples[np.newaxis], statistics[np.newaxis])
    return outcome


def batch_outcomes(
    prepared: PeriodMarket, strategies: Sequence[Strategy], measures: Measures, progress: Callable[[int], None] | None
) -> list[Outcome | CellError] | None:
    """Compute cells with the batch kernel; those whose windows never fill fail alone. None when one of the others is at
    fault, which the general path then names.
    """
    from trading_runtime.backtest.batch import run_batch

    found = [_too_short(prepared, strategy) for strategy in strategies]
    enough = [strategy for strategy, failed in zip(strategies, found, strict=True) if failed is None]
    if not enough:
        return [failed for failed in found if failed is not None]
    try:
        rows = run_batch(
            prepared.market,
            enough,
            prepared.account,
            cache=prepared.cache,
            columns=prepared.columns,
            progress=progress,
        )
    except TradingRuntimeError:
        return None
    samples, statistics = np.array([row.samples for row in rows]), np.array([row.statistics for row in rows])
    computed = iter(measures.outcomes(samples, statistics))
    return [next(computed) if failed is None else failed for failed in found]


def _too_short(prepared: PeriodMarket, strategy: Strategy) -> CellError | None:
    try:
        refuse_too_short(prepared, strategy)
    except DataError as error:
        return CellError(error)
    return None


def refuse_too_short(prepared: PeriodMarket, strategy: Strategy) -> None:
    """Raise DataError when the windows of ``strategy`` never fill inside the period."""
    market = prepared.market
    first = first_decision_bar(market, strategy)
    if first >= market.count:
        raise DataError(
            f"{type(strategy).__name__} {strategy.params.to_json()} needs {first + 1} bars before its first decision, "
            f"the data has {market.count} up to {iso_time(market.close_time(market.count - 1))}: "
            "use more data or shorter parameters"
        )


def _statistics(prepared: PeriodMarket, curve: Curve) -> Floats:
    """Return what ``kernel.equity_statistics`` fills, from the curve of a run."""
    market, fills, funding = prepared.market, curve.fills, curve.funding
    instrument = market.instruments[market.symbols[0]]
    start = instrument.money_float(prepared.account.start_cash)
    equity = np.concatenate(([start], money_floats(curve.equity_units, fills.quote_unit)))
    peak = np.maximum.accumulate(equity)
    held = np.zeros(market.count, dtype=np.bool_)
    for index in range(len(market.symbols)):
        holdings = symbol_holdings(market, fills, funding, index)
        if holdings is not None:
            held |= holdings.quantity != 0
    amounts = (fills.fee_units, fills.slippage_units, funding.amount_units)
    deepest = float(((peak - equity) / peak).max())
    totals = [float(sum(column.tolist())) for column in amounts]
    return np.array([deepest, *totals, len(fills), int(held.sum())], dtype=np.float64)
