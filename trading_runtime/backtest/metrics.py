"""Metrics of a finished run, the same digits on every machine. Formulas and sources: ``docs/metrics.md``.

Every reduction is exactly rounded (``math.fsum``), done on integers, or the pick of one element; logarithm
and exponential are those of ``compound.py``, specified to the last digit. numpy is used only
where IEEE-754 fixes the result (element by element, maxima, comparisons): its ``sum``, ``mean``, ``std``,
``dot``, ``exp`` and ``log`` order their additions or choose their polynomials by processor and version.

A value that does not exist (no trade, no spread of returns, equity at or below zero) is None, never NaN or
infinity. Drawing and formatting belong to ``report.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from trading_runtime.backtest.return_metrics import (
    Basis,
    Value,
    deviation_of,
    mean_of,
    published,
    quotient_of,
    return_values,
    risks_of,
    sampled_bars,
    variance_of,
)
from trading_runtime.backtest.tables import (
    EquityTable,
    FillTable,
    Floats,
    FundingTable,
    TradeTable,
    money_float,
)
from trading_runtime.core.timeframes import DAY_MS

Kind = Literal["fraction", "ratio", "money", "count", "bars", "days", "text", "number"]


@dataclass(frozen=True)
class Metric:
    """How a key of ``compute_metrics`` is shown: its group, its label, and what kind of number it is."""

    key: str
    group: str
    label: str
    kind: Kind


# The order of this list is the order of the result. Signs: drawdowns, value at risk, expected shortfall and
# costs are positive numbers; losses of trades are negative ones.
METRICS: tuple[Metric, ...] = (
    Metric("total_return_fraction", "Return", "Total return", "fraction"),
    Metric("annual_return_fraction", "Return", "Annual return (CAGR)", "fraction"),
    Metric("start_equity", "Return", "Equity at the start", "money"),
    Metric("end_equity", "Return", "Equity at the end", "money"),
    Metric("period_days", "Return", "Period", "days"),
    Metric("return_sample", "Basis", "Returns sampled at", "text"),
    Metric("return_count", "Basis", "Returns", "count"),
    Metric("periods_per_year", "Basis", "Returns per year", "number"),
    Metric("days_per_year", "Basis", "Days per year", "number"),
    Metric("risk_free_rate_annual", "Basis", "Risk-free rate, annual", "fraction"),
    Metric("volatility_annual_fraction", "Risk", "Volatility, annual", "fraction"),
    Metric("sharpe_ratio", "Risk", "Sharpe ratio", "ratio"),
    Metric("sortino_ratio", "Risk", "Sortino ratio", "ratio"),
    Metric("calmar_ratio", "Risk", "Calmar ratio", "ratio"),
    Metric("maximum_drawdown_fraction", "Risk", "Maximum drawdown", "fraction"),
    Metric("maximum_drawdown_bars", "Risk", "It lasted", "bars"),
    Metric("maximum_drawdown_days", "Risk", "It lasted", "days"),
    Metric("longest_drawdown_days", "Risk", "Longest drawdown", "days"),
    Metric("average_drawdown_fraction", "Risk", "Average drawdown", "fraction"),
    Metric("skewness", "Tail", "Skewness", "ratio"),
    Metric("excess_kurtosis", "Tail", "Excess kurtosis", "ratio"),
    Metric("value_at_risk_95_fraction", "Tail", "Value at risk 95%", "fraction"),
    Metric("expected_shortfall_95_fraction", "Tail", "Expected shortfall 95%", "fraction"),
    Metric("exposure_time_fraction", "Activity", "Time in the market", "fraction"),
    Metric("exposure_mean_fraction", "Activity", "Mean exposure", "fraction"),
    Metric("turnover_per_year", "Activity", "Turnover per year", "ratio"),
    Metric("fills", "Activity", "Fills", "count"),
    Metric("trades", "Trades", "Closed trades", "count"),
    Metric("open_trades", "Trades", "Open at the end", "count"),
    Metric("open_pnl", "Trades", "PnL of open trades", "money"),
    Metric("win_rate_fraction", "Trades", "Win rate", "fraction"),
    Metric("profit_factor", "Trades", "Profit factor", "ratio"),
    Metric("expectancy", "Trades", "Expectancy per trade", "money"),
    Metric("sqn", "Trades", "SQN", "ratio"),
    Metric("average_trade_return_fraction", "Per trade", "Average trade", "fraction"),
    Metric("best_trade_return_fraction", "Per trade", "Best trade", "fraction"),
    Metric("worst_trade_return_fraction", "Per trade", "Worst trade", "fraction"),
    Metric("average_win", "Per trade", "Average win", "money"),
    Metric("average_loss", "Per trade", "Average loss", "money"),
    Metric("average_holding_bars", "Per trade", "Average holding time", "bars"),
    Metric("average_holding_days", "Per trade", "Average holding time", "days"),
    Metric("fees", "Costs", "Fees paid", "money"),
    Metric("slippage", "Costs", "Slippage", "money"),
    Metric("funding", "Costs", "Funding paid", "money"),
    Metric("benchmark_return_fraction", "Benchmark", "Benchmark return", "fraction"),
    Metric("alpha_annual_fraction", "Benchmark", "Alpha, annual", "fraction"),
    Metric("beta", "Benchmark", "Beta", "ratio"),
    Metric("correlation", "Benchmark", "Correlation", "ratio"),
    Metric("information_ratio", "Benchmark", "Information ratio", "ratio"),
    Metric("tracking_error_annual_fraction", "Benchmark", "Tracking error, annual", "fraction"),
)


def compute_metrics(
    equity: EquityTable,
    trades: TradeTable,
    fills: FillTable,
    funding: FundingTable,
    *,
    start_cash: float,
    bar_ms: int,
    periods_per_year: float = 365,
    risk_free_rate_annual: float = 0.0,
) -> dict[str, Value]:
    """Return every metric of ``METRICS``, in that order, ready to be published.

    ``periods_per_year`` counts days: crypto trades on all 365. Bars shorter than a day are sampled at the
    last close of each UTC day; longer ones are taken as they are, with their own number of periods per year.
    Equity is ``start_cash`` before the first bar. Raises ValueError without bars or with a start that is not
    positive.
    """
    if not len(equity):
        raise ValueError("there is no bar to compute metrics of")
    if not start_cash > 0.0:
        raise ValueError(f"start_cash must be positive, not {start_cash!r}")
    samples = sampled_bars(equity.time_ms, bar_ms)
    sampled = [start_cash, *equity.equity[samples].tolist()]
    basis = Basis(equity.time_ms, bar_ms, periods_per_year, risk_free_rate_annual)
    returns_per_year, free_rate = basis.returns_per_year, basis.free_rate
    returns = _returns(sampled)
    benchmark = [start_cash, *equity.benchmark[samples].tolist()]
    values = return_values(sampled, basis)
    values |= risks_of(np.array([sampled]), basis)[0]
    values |= _drawdowns(equity.equity, start_cash, bar_ms)
    values["calmar_ratio"] = quotient_of(values["annual_return_fraction"], values["maximum_drawdown_fraction"])
    values |= _tail(returns)
    values |= _activity(equity, fills, basis.years)
    values |= _trade_values(trades, bar_ms)
    values |= _costs(fills, funding)
    values |= _against_benchmark(returns, _returns(benchmark), free_rate, returns_per_year)
    values["benchmark_return_fraction"] = (benchmark[-1] - start_cash) / start_cash
    return {metric.key: published(values[metric.key]) for metric in METRICS}


def _returns(values: Sequence[float]) -> list[float] | None:
    """Return simple returns, or None when one does not exist because the value before it is not positive."""
    if not all(math.isfinite(value) for value in values) or any(value <= 0.0 for value in values[:-1]):
        return None
    return [(after - before) / before for before, after in pairwise(values)]


def _drawdowns(equity: Floats, start_cash: float, bar_ms: int) -> dict[str, Value]:
    """Return depth and duration of drawdowns at bar closes; they begin at the last peak and end at recovery
    or the end.
    """
    curve = np.concatenate(([start_cash], equity))  # position i is the close of bar i - 1, 0 the start
    depth = drawdown(curve)
    deepest = int(np.argmax(depth))
    last = len(curve) - 1
    at_peak = np.flatnonzero(depth <= 0.0)
    spans = np.diff(at_peak)  # from peak to peak; 1 is a rise without anything below it
    unrecovered = last - int(at_peak[-1])
    longest_bars = max(unrecovered, int(np.max(spans[spans > 1], initial=0)))
    bars = 0
    if depth[deepest] > 0.0:
        recovery = int(np.searchsorted(at_peak, deepest))
        end = int(at_peak[recovery]) if recovery < len(at_peak) else last
        bars = end - int(at_peak[recovery - 1])
    return {
        "maximum_drawdown_fraction": float(depth[deepest]),
        "maximum_drawdown_bars": bars,
        "maximum_drawdown_days": bars * bar_ms / DAY_MS,
        "longest_drawdown_days": longest_bars * bar_ms / DAY_MS,
        "average_drawdown_fraction": mean_of(depth[1:].tolist()),
    }


def drawdown(curve: Floats) -> Floats:
    """Return how far each value lies below the highest one so far, as a fraction of that one."""
    peak = np.maximum.accumulate(curve)
    depth: Floats = (peak - curve) / peak
    return depth


def _tail(returns: list[float] | None) -> dict[str, Value]:
    keys = ("skewness", "excess_kurtosis", "value_at_risk_95_fraction", "expected_shortfall_95_fraction")
    values: dict[str, Value] = dict.fromkeys(keys)
    if returns is None or len(returns) < 2:
        return values
    ranked = sorted(returns)
    place = 0.05 * (len(ranked) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    values["value_at_risk_95_fraction"] = -(ranked[below] + (ranked[above] - ranked[below]) * (place - below))
    values["expected_shortfall_95_fraction"] = -mean_of(ranked[: below + 1])
    if deviation_of(returns):
        mean = mean_of(returns)
        offsets = [value - mean for value in returns]
        squares = [offset * offset for offset in offsets]
        variance = mean_of(squares)
        third = mean_of([square * offset for square, offset in zip(squares, offsets, strict=True)])
        values["skewness"] = third / (variance * math.sqrt(variance))
        values["excess_kurtosis"] = mean_of([square * square for square in squares]) / (variance * variance) - 3.0
    return values


def _activity(equity: EquityTable, fills: FillTable, years: float) -> dict[str, Value]:
    traded = money_float(sum(fills.value_units.tolist()), fills.quote_unit)
    mean_equity = mean_of(equity.equity.tolist())
    # Once equity is gone exposure is 0, whatever is held; its value still parts equity from cash.
    is_held = (equity.exposure != 0.0) | (equity.equity != equity.cash)
    return {
        "exposure_time_fraction": int(np.count_nonzero(is_held)) / len(equity),
        "exposure_mean_fraction": mean_of(equity.exposure.tolist()),
        "turnover_per_year": traded / mean_equity / years if mean_equity > 0.0 else None,
        "fills": len(fills),
    }


def _trade_values(trades: TradeTable, bar_ms: int) -> dict[str, Value]:
    """Return the statistics of closed trades; open ones are only counted and valued."""
    unit = trades.quote_unit
    closed = ~trades.is_open
    pnl: list[int] = trades.pnl_units[closed].tolist()
    wins = [profit for profit in pnl if profit > 0]
    losses = [profit for profit in pnl if profit < 0]
    values: dict[str, Value] = dict.fromkeys(
        metric.key for metric in METRICS if metric.group in ("Trades", "Per trade")
    )
    values["trades"] = len(pnl)
    values["open_trades"] = len(trades) - len(pnl)
    values["open_pnl"] = money_float(sum(trades.pnl_units[trades.is_open].tolist()), unit)
    if not pnl:
        return values
    returns: list[float] = trades.return_fraction[closed].tolist()
    held: list[int] = trades.bars_held[closed].tolist()
    duration_ms = sum((trades.exit_time_ms[closed] - trades.entry_time_ms[closed]).tolist())
    total = sum(pnl)
    values["win_rate_fraction"] = len(wins) / len(pnl)
    values["profit_factor"] = quotient_of(sum(wins), -sum(losses))
    values["expectancy"] = money_float(total, unit) / len(pnl)
    values["average_trade_return_fraction"] = mean_of(returns)
    values["best_trade_return_fraction"] = max(returns)
    values["worst_trade_return_fraction"] = min(returns)
    values["average_win"] = money_float(sum(wins), unit) / len(wins) if wins else None
    values["average_loss"] = money_float(sum(losses), unit) / len(losses) if losses else None
    values["average_holding_bars"] = sum(held) / len(held)
    values["average_holding_days"] = duration_ms / len(pnl) / DAY_MS
    # n * sum(x^2) - sum(x)^2 cancels badly in floats and not at all in integers.
    spread = len(pnl) * sum(profit * profit for profit in pnl) - total * total
    if spread > 0:
        values["sqn"] = total * math.sqrt((len(pnl) - 1) / spread)
    return values


def _costs(fills: FillTable, funding: FundingTable) -> dict[str, Value]:
    unit = fills.quote_unit
    return {
        "fees": money_float(sum(fills.fee_units.tolist()), unit),
        "slippage": money_float(sum(fills.slippage_units.tolist()), unit),
        "funding": money_float(sum(funding.amount_units.tolist()), unit),
    }


def _against_benchmark(
    returns: list[float] | None, benchmark: list[float] | None, free_rate: float | None, per_year: float
) -> dict[str, Value]:
    values: dict[str, Value] = dict.fromkeys(metric.key for metric in METRICS if metric.group == "Benchmark")
    if returns is None or benchmark is None or len(returns) < 2:
        return values
    difference = [own - other for own, other in zip(returns, benchmark, strict=True)]
    tracking = deviation_of(difference)
    assert tracking is not None, "two returns have a deviation"
    values["tracking_error_annual_fraction"] = tracking * math.sqrt(per_year)
    information = quotient_of(mean_of(difference), tracking)
    values["information_ratio"] = None if information is None else information * math.sqrt(per_year)
    own_variance, other_variance = variance_of(returns), variance_of(benchmark)
    if not other_variance:
        return values
    own_mean, other_mean = mean_of(returns), mean_of(benchmark)
    products = [(own - own_mean) * (other - other_mean) for own, other in zip(returns, benchmark, strict=True)]
    covariance = math.fsum(products) / (len(returns) - 1)
    beta = covariance / other_variance
    values["beta"] = beta
    if own_variance:
        values["correlation"] = covariance / (math.sqrt(own_variance) * math.sqrt(other_variance))
    if free_rate is not None:
        own_excess, other_excess = own_mean - free_rate, other_mean - free_rate
        values["alpha_annual_fraction"] = (own_excess - beta * other_excess) * per_year
    return values
