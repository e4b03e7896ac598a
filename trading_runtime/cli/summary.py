"""A finished run as a table for the terminal: what ran, on what, how it went beside buying and holding,
what was refused.

Only words and alignment; every figure comes from the result. The benchmark's own figures use the same
functions on the benchmark's equity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trading_runtime.backtest.figures import count, decimal, is_number, moment, percent, plain, significant
from trading_runtime.backtest.metrics import METRICS, Metric, compute_metrics
from trading_runtime.cli.arguments import table

if TYPE_CHECKING:
    from trading_runtime.backtest.run import Run

_KEYS = (
    "total_return_fraction",
    "annual_return_fraction",
    "volatility_annual_fraction",
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "maximum_drawdown_fraction",
    "maximum_drawdown_days",
    "end_equity",
    "exposure_time_fraction",
    "trades",
    "open_trades",
    "win_rate_fraction",
    "profit_factor",
    "expectancy",
    "fees",
    "slippage",
    "funding",
)
# What follows from an equity curve alone, and so can be said of the benchmark too.
_KEYS_OF_EQUITY = frozenset(_KEYS[:9])
_LABELS = {"maximum_drawdown_days": "  its duration"}


def summary(run: Run) -> str:
    """Return the table that ``backtest`` prints."""
    result = run.result
    described = result["strategy"]
    period = result["period"]
    parameters = ", ".join(f"{name} {plain(value)}" for name, value in described["params"].items()) or "no parameters"
    head = [
        ["run", result["name"]],
        ["strategy", f"{described['name']} ({parameters})"],
        ["symbols", ", ".join(result["symbols"])],
        [
            "period",
            f"{moment(period['start'])} to {moment(period['end'])}, "
            f"{count(period['bars'])} bars of {period['timeframe']}",
        ],
        ["data", "; ".join(_data(manifest) for manifest in result["data"])],
    ]
    rows = [["", "strategy", "buy and hold"]]
    benchmark = _benchmark(run)
    quote = result["quote"]
    known = {metric.key: metric for metric in METRICS}
    for key in _KEYS:
        value = result["metrics"][key]
        if key in ("funding", "open_trades") and not value:
            continue
        metric = known[key]
        other = figure(metric, benchmark[key], quote) if key in _KEYS_OF_EQUITY else ""
        rows.append([_LABELS.get(key, metric.label), figure(metric, value, quote), other])
    tail = [
        [
            "refused",
            ", ".join(f"{gate} {count(times)}" for gate, times in result["refusals"].items()) or "nothing",
        ]
    ]
    tail += [["warning", text] for text in result["warnings"]]
    tail.append(["digest", result["digest"]])
    return "\n\n".join([table(head), table(rows, right=(1, 2)), table(tail)])


def figure(metric: Metric, value: Any, quote: str = "") -> str:
    """Return a metric as people read it; what does not exist for this run is a dash."""
    if not is_number(value):
        return "–" if value is None else plain(value)
    if metric.kind == "fraction":
        return percent(value, sign=metric.key.endswith("return_fraction"))
    if metric.kind == "money":
        return f"{decimal(value, 2)} {quote}".rstrip()
    if metric.kind in ("count", "bars"):
        whole = count(value) if float(value).is_integer() else decimal(value, 1)
        return f"{whole} bars" if metric.kind == "bars" else whole
    if metric.kind == "days":
        return f"{decimal(value, 1)} days"
    return decimal(value, 2) if metric.kind == "ratio" else significant(value)


def _benchmark(run: Run) -> Mapping[str, Any]:
    tables, basis = run.tables, run.result["metrics"]
    return compute_metrics(
        replace(tables.equity, equity=tables.equity.benchmark),
        tables.trades,
        tables.fills,
        tables.funding,
        start_cash=basis["start_equity"],
        bar_ms=run.market.bar_ms,
        periods_per_year=basis["days_per_year"],
        risk_free_rate_annual=basis["risk_free_rate_annual"],
    )


def _data(manifest: Mapping[str, Any]) -> str:
    if manifest.get("kind") == "funding":
        return f"{manifest['symbol']} funding, {count(manifest['rows'])} rates"
    mended = f", {len(manifest['repairs'])} repair(s)" if manifest.get("repairs") else ""
    synthetic = ", synthetic" if manifest.get("source_kind") == "synthetic" else ""
    return f"{manifest['symbol']} grade {manifest['grade']}{synthetic}{mended}"
