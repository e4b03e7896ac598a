"""A finished run as a table for the terminal: what ran, on what, how it went beside buying and holding,
what was refused.

Only words and alignment; every figure comes from the result. The benchmark's own figures use the same
functions on the benchmark's equity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
PARAMETERS_SHOWN = 8
LINE_LENGTH = 110


def summary(run: Run) -> str:
    """Return the table that ``backtest`` prints."""
    result = run.result
    described = result["strategy"]
    period = result["period"]
    head = [
        ["run", result["name"]],
        ["strategy", f"{described['name']} ({_parameters(result)})"],
        ["symbols", ", ".join(result["symbols"])],
        [
            "period",
            f"{moment(period['start'])} to {moment(period['end'])}, "
            f"{count(period['bars'])} bars of {period['timeframe']}",
        ],
    ]
    head += [["data" if place == 0 else "", words] for place, words in enumerate(_lines(_data(result["data"]), "; "))]
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
    tail = [["refused" if place == 0 else "", words] for place, words in enumerate(_refused(result))]
    if "artifact" in result:
        tail.append(["published", _published(result["artifact"])])
    tail += [["warning", text] for text in result["warnings"]]
    tail.append(["digest", result["digest"]])
    parts = [table(head), table(rows, right=(1, 2))]
    if "sleeves" in result:
        parts.append(_sleeves(result["sleeves"], quote))
    return "\n\n".join([*parts, table(tail)])


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


def _parameters(result: Mapping[str, Any]) -> str:
    """Return the parameters; of many only those that the configuration gives."""
    params = result["strategy"]["params"]
    if len(params) > PARAMETERS_SHOWN:
        given = [name for name in params if name in result["config"].get("strategy", {})]
        words = [f"{name} {plain(params[name])}" for name in given]
        return ", ".join([*words, f"{len(params) - len(given)} {'more ' if given else ''}parameters by default"])
    return ", ".join(f"{name} {plain(value)}" for name, value in params.items()) or "no parameters"


def _lines(parts: list[str], separator: str) -> list[str]:
    """Return the parts as lines that a terminal has room for."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(separator) + len(part) <= LINE_LENGTH:
            lines[-1] += separator + part
        else:
            if lines:
                lines[-1] += separator.rstrip()
            lines.append(part)
    return lines


def _refused(result: Mapping[str, Any]) -> list[str]:
    """Return what gates refused, one line for each category when there are several."""
    categories = result["refusals_by_category"]
    if not categories:
        return ["nothing"]
    lines: list[str] = []
    for category, gates in categories.items():
        told = _lines([f"{gate} {count(times)}" for gate, times in gates.items()], ", ")
        if len(categories) > 1:
            told = [f"{category}: {told[0]}", *(f"  {line}" for line in told[1:])]
        lines += told
    return lines


def _published(artifact: Mapping[str, Any]) -> str:
    changes = artifact["changes"]
    source = f" from {artifact['folder']}" if "folder" in artifact else ""
    changed = "1 change" if len(changes) == 1 else f"{count(len(changes))} changes"
    return f"{changed}{source}, {moment(changes[0]['time'])} to {moment(changes[-1]['time'])}" if changes else changed


def _sleeves(sleeves: Mapping[str, Mapping[str, Any]], quote: str) -> str:
    """Return a table of the sleeves and their sum, which is the run's profit."""
    columns = (
        ("net profit", "net_profit"),
        ("realised", "realised"),
        ("unrealised", "unrealised"),
        ("fees", "fees"),
        ("drawdown", "maximum_drawdown"),
    )
    rows = [["sleeve", "symbols", *(f"{label} {quote}" for label, _ in columns), "in market", "orders", "trades"]]
    for name, one in sleeves.items():
        rows.append(
            [
                name,
                count(len(one["symbols"])),
                *(decimal(one[key], 2) for _, key in columns),
                percent(one["time_in_market_fraction"]),
                count(one["orders"]),
                count(one["trades"]),
            ]
        )
    whole = ["all", count(sum(len(one["symbols"]) for one in sleeves.values()))]
    for _, key in columns:
        # Drawdowns of parts happen at different times and have no sum.
        whole.append("" if key == "maximum_drawdown" else decimal(sum(one[key] for one in sleeves.values()), 2))
    whole += ["", *(count(sum(one[key] for one in sleeves.values())) for key in ("orders", "trades"))]
    return table([*rows, whole], right=tuple(range(1, len(rows[0]))))


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


def _data(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what was read; symbols of which the same is to be said share the words."""
    symbols: dict[str, list[str]] = {}
    others: list[str] = []
    for manifest in manifests:
        if "kind" in manifest:
            others.append(_other_data(manifest))
        else:
            symbols.setdefault(_grade(manifest), []).append(manifest["symbol"])
    return [f"{', '.join(named)} {words}" for words, named in symbols.items()] + others


def _other_data(manifest: Mapping[str, Any]) -> str:
    if manifest["kind"] == "artifact":
        return f"{count(len(manifest['files']))} publications of {manifest['folder']}"
    return f"{manifest['symbol']} {manifest['kind']}, {count(manifest['rows'])} rates"


def _grade(manifest: Mapping[str, Any]) -> str:
    mended = f", {len(manifest['repairs'])} repair(s)" if manifest.get("repairs") else ""
    synthetic = ", synthetic" if manifest.get("source_kind") == "synthetic" else ""
    return f"grade {manifest['grade']}{synthetic}{mended}"
