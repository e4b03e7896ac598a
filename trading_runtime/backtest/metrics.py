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

from trading_runtime.backtest.compound import compound
from trading_runtime.backtest.tables import (
    EquityTable,
    FillTable,
    Floats,
    FundingTable,
    Integers,
    TradeTable,
    money_float,
)
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.timeframes import DAY_MS

Value = float | int | str | None
Kind = Literal["fraction", "ratio", "money", "count", "bars", "days", "text", "number"]

# Twelve of float64's nearly sixteen digits are published: the rest is rounding, and a reader who recomputes a
# figure in another order of operations still finds the same text.
PUBLISHED_DIGITS = 12

# Returns are quotients near 1 less 1 and so carry an error near 2**-53; a spread below this is that error,
# not risk.
_NO_SPREAD = 2.0**-50

# Between these a float of PUBLISHED_DIGITS digits has one text of so few digits, and ``repr`` and the format "g" agree
# on it.
_PLAIN_MIN, _PLAIN_MAX = 1e-300, 1e11


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
    basis = _Basis(equity.time_ms, bar_ms, periods_per_year, risk_free_rate_annual)
    returns_per_year, free_rate = basis.returns_per_year, basis.free_rate
    returns = _returns(sampled)
    benchmark = [start_cash, *equity.benchmark[samples].tolist()]
    values = _return_values(sampled, basis)
    values |= _risks(np.array([sampled]), basis)[0]
    values |= _drawdowns(equity.equity, start_cash, bar_ms)
    values["calmar_ratio"] = _quotient(values["annual_return_fraction"], values["maximum_drawdown_fraction"])
    values |= _tail(returns)
    values |= _activity(equity, fills, basis.years)
    values |= _trade_values(trades, bar_ms)
    values |= _costs(fills, funding)
    values |= _against_benchmark(returns, _returns(benchmark), free_rate, returns_per_year)
    values["benchmark_return_fraction"] = (benchmark[-1] - start_cash) / start_cash
    return {metric.key: published(values[metric.key]) for metric in METRICS}


class ReturnStatistics:
    """The metrics of many runs over the same bars that a kernel's statistics suffice for, to the same digits as
    ``compute_metrics``. What the runs share is computed once.

    ``unit`` is the quote unit as a fraction, ``time_ms`` the bars' closes.
    """

    def __init__(
        self,
        unit: tuple[int, int],
        start_cash: float,
        time_ms: Integers,
        bar_ms: int,
        periods_per_year: float = 365,
        risk_free_rate_annual: float = 0.0,
    ) -> None:
        self._unit = unit
        self._start_cash = start_cash
        self._bars = len(time_ms)
        self._basis = _Basis(time_ms, bar_ms, periods_per_year, risk_free_rate_annual)
        self._templates: dict[int, tuple[str, list[str]]] = {}

    def values(self, samples: Integers, statistics: Floats) -> list[dict[str, Value]]:
        """Return the metrics of each run, not yet rounded to what is published.

        ``samples`` is the equity, in quote units, at ``sampled_bars``, shape (runs, samples); ``statistics`` is what
        ``kernel.equity_statistics`` fills, shape (runs, 6).
        """
        varying = self._varying(samples, statistics)
        return [{**self._shared(samples.shape[1]), **values} for values in varying]

    def texts(self, samples: Integers, statistics: Floats) -> list[bytes]:
        """Return the canonical JSON of each run's published metrics; arguments as ``values``."""
        varying = self._varying(samples, statistics)
        if not varying:
            return []
        count = samples.shape[1]
        if count not in self._templates:
            self._templates[count] = _template(self._shared(count), varying[0])
        template, names = self._templates[count]
        return [(template % tuple([published_text(values[name]) for name in names])).encode() for values in varying]

    def _shared(self, count: int) -> dict[str, Value]:
        return {**self._basis.values, "return_count": count, "start_equity": self._start_cash}

    def _varying(self, samples: Integers, statistics: Floats) -> list[dict[str, Value]]:
        numerator, denominator = self._unit
        sampled = np.empty((len(samples), samples.shape[1] + 1))
        sampled[:, 0] = self._start_cash
        sampled[:, 1:] = samples.astype(np.float64) * numerator / denominator
        start, exponent = self._start_cash, 1.0 / self._basis.years
        found: list[dict[str, Value]] = []
        for end, risk, figures in zip(
            sampled[:, -1].tolist(), _risks(sampled, self._basis), statistics.tolist(), strict=True
        ):
            deepest, fees, slippage, funding, fills, exposed = figures
            total = (end - start) / start
            annual = compound(total, exponent)
            found.append(
                {
                    "end_equity": end,
                    "total_return_fraction": total,
                    "annual_return_fraction": annual,
                    "maximum_drawdown_fraction": deepest,
                    "calmar_ratio": _quotient(annual, deepest),
                    "exposure_time_fraction": int(exposed) / self._bars,
                    "fills": int(fills),
                    "fees": fees * numerator / denominator,
                    "slippage": slippage * numerator / denominator,
                    "funding": funding * numerator / denominator,
                    **risk,
                }
            )
        return found


class _Basis:
    """What returns are measured over: the sample, periods per year and the risk-free rate of one period."""

    def __init__(self, time_ms: Integers, bar_ms: int, periods_per_year: float, risk_free_rate_annual: float) -> None:
        self.daily = bar_ms < DAY_MS
        self.days_per_year = float(periods_per_year)
        self.returns_per_year = self.days_per_year if self.daily else periods_per_year * DAY_MS / bar_ms
        elapsed_ms = int(time_ms[-1]) - int(time_ms[0]) + bar_ms
        self.years = elapsed_ms / (periods_per_year * DAY_MS)
        exponent = 1.0 / self.returns_per_year
        self.free_rate = compound(risk_free_rate_annual, exponent) if risk_free_rate_annual else 0.0
        self.root = math.sqrt(self.returns_per_year)
        self.values: dict[str, Value] = {
            "return_sample": "UTC day" if self.daily else "bar",
            "periods_per_year": self.returns_per_year,
            "days_per_year": self.days_per_year,
            "risk_free_rate_annual": risk_free_rate_annual,
            "period_days": elapsed_ms / DAY_MS,
        }


def _return_values(sampled: list[float], basis: _Basis) -> dict[str, Value]:
    """Return the metrics of the first and last equity; ``sampled`` begins with the starting cash."""
    start, total = sampled[0], (sampled[-1] - sampled[0]) / sampled[0]
    return {
        **basis.values,
        "return_count": len(sampled) - 1,
        "start_equity": start,
        "end_equity": sampled[-1],
        "total_return_fraction": total,
        "annual_return_fraction": compound(total, 1.0 / basis.years),
    }


def sampled_bars(time_ms: Integers, bar_ms: int) -> Integers:
    """Return the bars at whose close returns are sampled: the last of each UTC day, or every bar of a day or
    longer.
    """
    return _day_ends(time_ms) if bar_ms < DAY_MS else np.arange(len(time_ms))


def published(value: Value) -> Value:
    """Return a float rounded to ``PUBLISHED_DIGITS`` significant digits, None when it is not finite; others
    unchanged.
    """
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return float(f"{value:.{PUBLISHED_DIGITS - 1}e}") + 0.0  # adding zero turns -0.0 into 0.0


def published_text(value: Value) -> str:
    """Return the canonical JSON of ``published(value)``."""
    if type(value) is int:
        return str(value)
    if not isinstance(value, float):
        return canonical_json(value).decode()
    if _PLAIN_MIN < value < _PLAIN_MAX or -_PLAIN_MAX < value < -_PLAIN_MIN:
        text = f"{value:.{PUBLISHED_DIGITS}g}"
        return text if "." in text or "e" in text else f"{text}.0"
    if value == 0.0:  # as costs often are
        return "0.0"
    return canonical_json(published(value)).decode()


def _template(shared: dict[str, Value], varying: dict[str, Value]) -> tuple[str, list[str]]:
    """Return the canonical JSON of metrics with %s in place of each that varies, and the names of those in order."""
    parts = []
    for name in sorted({*shared, *varying}):
        text = "%s" if name in varying else published_text(shared[name]).replace("%", "%%")
        parts.append(f'"{name}":{text}')
    return "{" + ",".join(parts) + "}", sorted(varying)


def _day_ends(time_ms: Integers) -> Integers:
    """Return the index of the last close of each UTC day; a close at midnight belongs to the day it ends."""
    day = (time_ms - 1) // DAY_MS
    return np.append(np.flatnonzero(day[1:] != day[:-1]), len(day) - 1)


def _returns(values: Sequence[float]) -> list[float] | None:
    """Return simple returns, or None when one does not exist because the value before it is not positive."""
    if not all(math.isfinite(value) for value in values) or any(value <= 0.0 for value in values[:-1]):
        return None
    return [(after - before) / before for before, after in pairwise(values)]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    """Return the sample variance (n - 1); zero for a spread that is only rounding."""
    mean = _mean(values)
    variance = math.fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1)
    return variance if variance > _NO_SPREAD * _NO_SPREAD else 0.0


def _deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, None for fewer than two values."""
    return math.sqrt(_variance(values)) if len(values) > 1 else None


def _quotient(dividend: Value, divisor: Value) -> float | None:
    """Return dividend / divisor, None when either is missing or the divisor is zero."""
    if not isinstance(dividend, int | float) or not isinstance(divisor, int | float) or not divisor:
        return None
    return dividend / divisor


def _risks(sampled: Floats, basis: _Basis) -> list[dict[str, Value]]:
    """Return volatility, Sharpe and Sortino ratio of each run: ``sampled`` is equity, shape (runs, samples), beginning
    with the starting cash.

    None where returns do not exist, because equity before one is not positive, and where there are too few of them.
    """
    with np.errstate(all="ignore"):  # of runs that have no returns
        known = np.isfinite(sampled).all(axis=1) & (sampled[:, :-1] > 0.0).all(axis=1)
        returns = (sampled[:, 1:] - sampled[:, :-1]) / sampled[:, :-1]
    unknown: dict[str, Value] = dict.fromkeys(("volatility_annual_fraction", "sharpe_ratio", "sortino_ratio"))
    found = [unknown] * len(sampled)
    places = np.flatnonzero(known)
    for place, values in zip(places.tolist(), _known_risks(returns[places], basis), strict=True):
        found[place] = values
    return found


def _known_risks(returns: Floats, basis: _Basis) -> list[dict[str, Value]]:
    count, free_rate, root = returns.shape[1], basis.free_rate, basis.root
    means = [math.fsum(row) / count for row in returns.tolist()]
    with np.errstate(all="ignore"):  # beyond float64 is infinity, which is published as None
        offsets = returns - np.array(means)[:, np.newaxis]
        squares = (offsets * offsets).tolist()
        excess = returns if not free_rate else returns - free_rate
        losses = np.where(excess < 0.0, excess, 0.0)
        downsides = (losses * losses).tolist()
    if excess is not returns:
        means = [math.fsum(row) / count for row in excess.tolist()]
    found: list[dict[str, Value]] = []
    for mean, square, downside in zip(means, squares, downsides, strict=True):
        volatility = sharpe = sortino = None
        below = math.sqrt(math.fsum(downside) / count)
        if count > 1:
            variance = math.fsum(square) / (count - 1)
            deviation = math.sqrt(variance) if variance > _NO_SPREAD * _NO_SPREAD else 0.0
            volatility = deviation * root
            if free_rate is not None:
                sharpe = mean / deviation * root if deviation else None
                sortino = mean / below * root if below > _NO_SPREAD else None
        found.append({"volatility_annual_fraction": volatility, "sharpe_ratio": sharpe, "sortino_ratio": sortino})
    return found


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
        "average_drawdown_fraction": _mean(depth[1:].tolist()),
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
    values["expected_shortfall_95_fraction"] = -_mean(ranked[: below + 1])
    if _deviation(returns):
        mean = _mean(returns)
        offsets = [value - mean for value in returns]
        squares = [offset * offset for offset in offsets]
        variance = _mean(squares)
        third = _mean([square * offset for square, offset in zip(squares, offsets, strict=True)])
        values["skewness"] = third / (variance * math.sqrt(variance))
        values["excess_kurtosis"] = _mean([square * square for square in squares]) / (variance * variance) - 3.0
    return values


def _activity(equity: EquityTable, fills: FillTable, years: float) -> dict[str, Value]:
    traded = money_float(sum(fills.value_units.tolist()), fills.quote_unit)
    mean_equity = _mean(equity.equity.tolist())
    # Once equity is gone exposure is 0, whatever is held; its value still parts equity from cash.
    is_held = (equity.exposure != 0.0) | (equity.equity != equity.cash)
    return {
        "exposure_time_fraction": int(np.count_nonzero(is_held)) / len(equity),
        "exposure_mean_fraction": _mean(equity.exposure.tolist()),
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
    values["profit_factor"] = _quotient(sum(wins), -sum(losses))
    values["expectancy"] = money_float(total, unit) / len(pnl)
    values["average_trade_return_fraction"] = _mean(returns)
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
    tracking = _deviation(difference)
    assert tracking is not None, "two returns have a deviation"
    values["tracking_error_annual_fraction"] = tracking * math.sqrt(per_year)
    information = _quotient(_mean(difference), tracking)
    values["information_ratio"] = None if information is None else information * math.sqrt(per_year)
    own_variance, other_variance = _variance(returns), _variance(benchmark)
    if not other_variance:
        return values
    own_mean, other_mean = _mean(returns), _mean(benchmark)
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
