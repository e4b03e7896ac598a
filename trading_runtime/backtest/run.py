"""One backtest from settings to a folder of results: the loop that both the command line and sweeps call.

    settings → market and strategy → engine → tables, metrics, digest → a folder that appears whole or not at all

The digest covers everything that a result says about trading: code hash, settings, data, fills, equity, trades,
metrics, journal. It leaves out what differs between machines without changing the result (versions, platform, commit),
which stands in ``provenance`` beside it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.backtest.engine import Account, Progress, run_general
from trading_runtime.backtest.market import Market
from trading_runtime.backtest.metrics import compute_metrics
from trading_runtime.backtest.result import (
    Tables,
    build_tables,
    journal_lines,
    refusals_by_category,
    refusals_by_gate,
)
from trading_runtime.backtest.sleeves import build_sleeves, sleeve_table, sleeves_json
from trading_runtime.backtest.tables import SleeveTable, write_chart, write_tables
from trading_runtime.backtest.trace import ENGINE_SEMANTICS, Trace
from trading_runtime.core.errors import ConfigurationError, DataError, OutputError
from trading_runtime.core.hashing import array_hash, json_hash, sha256_hex
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import iso_time
from trading_runtime.provenance import environment
from trading_runtime.source import strategy_code_hash

if TYPE_CHECKING:
    from trading_runtime.config.load import LoadedSettings

RESULT_SCHEMA_VERSION = 1
RESULT_FILE = "result.json"
JOURNAL_FILE = "journal.jsonl"
# The compiled path needs about 0.4 s of imports before its first bar; the general one does a million bars of a targets
# strategy in that time.
COMPILED_BARS_MIN = 2_000_000
_WHERE_LIMITS_FILL = {"through": "beyond", "touch": "at"}


@dataclass
class Run:
    """A finished backtest in memory: ``result`` is the content of result.json, ``journal`` that of journal.jsonl."""

    result: dict[str, Any]
    tables: Tables
    journal: bytes
    market: Market
    trace: Trace
    sleeves: SleeveTable | None = None


def run_backtest(loaded: LoadedSettings, progress: Progress | None = None) -> Run:
    """Run the backtest that ``loaded`` describes. Raises a TradingRuntimeError for anything the user can mend.

    ``progress`` is called now and then with (bars done, bars in all).
    """
    from trading_runtime.config.build import build_account, build_market, load_strategy
    from trading_runtime.config.load import config_hash, settings_json

    settings = loaded.settings
    strategy = load_strategy(settings, loaded.folder)
    market, manifests = build_market(settings, loaded.folder)
    account = build_account(settings, market)
    needed = strategy.bars_needed(market.bar_ms)
    if needed > market.count:
        raise DataError(
            f"{type(strategy).__name__} needs {needed} bars before its first decision, the data has {market.count}: "
            "use more data or shorter parameters"
        )
    trace = run_engine(market, strategy, account, settings.engine.path, progress)
    return finish(
        market,
        strategy,
        account,
        trace,
        name=settings.name,
        manifests=manifests,
        config=settings_json(settings),
        config_hash=config_hash(settings),
        periods_per_year=settings.metrics.periods_per_year,
        risk_free_rate_annual=settings.metrics.risk_free_rate_annual,
    )


def run_engine(
    market: Market, strategy: Strategy, account: Account, path: str = "auto", progress: Progress | None = None
) -> Trace:
    """Run the general or the compiled path; both give the same trace. ``auto`` takes the one that is done first."""
    if path == "auto":
        worth_compiling = strategy.targets is not None and market.count * len(market.symbols) >= COMPILED_BARS_MIN
        path = "compiled" if worth_compiling else "general"
    if path == "general":
        return run_general(market, strategy, account, progress=progress)
    if strategy.targets is None:
        raise ConfigurationError(
            f"engine.path is 'compiled', but {type(strategy).__name__} declares no targets: use 'auto' or 'general'"
        )
    from trading_runtime.backtest.compiled import run_compiled

    return run_compiled(market, strategy, account)


def finish(
    market: Market,
    strategy: Strategy,
    account: Account,
    trace: Trace,
    *,
    name: str,
    manifests: list[dict[str, Any]],
    config: dict[str, Any],
    config_hash: str,
    periods_per_year: float = 365,
    risk_free_rate_annual: float = 0.0,
) -> Run:
    """Derive everything a result says from a trace."""
    tables = build_tables(market, trace, account.start_cash)
    instrument = market.instruments[market.symbols[0]]
    start_cash = instrument.money_float(account.start_cash)
    metrics = compute_metrics(
        tables.equity,
        tables.trades,
        tables.fills,
        tables.funding,
        start_cash=start_cash,
        bar_ms=market.bar_ms,
        periods_per_year=periods_per_year,
        risk_free_rate_annual=risk_free_rate_annual,
    )
    journal = b"".join(journal_lines(market, trace))
    sleeves = build_sleeves(market, trace, tables, account.start_cash, strategy.sleeve_of)
    turnover = metrics["turnover_per_year"]
    kind = type(strategy)
    described = {
        "name": kind.__name__,
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "params": strategy.params.to_json(),
        "code_hash": strategy_code_hash(kind),
    }
    outcome = {
        "schema_version": RESULT_SCHEMA_VERSION,
        "engine_semantics": ENGINE_SEMANTICS,
        "strategy": described,
        "period": {
            "start": iso_time(market.start_ms),
            "end": iso_time(market.close_time(market.count - 1)),
            "bars": market.count,
            "first_decision": iso_time(market.close_time(min(trace.first_bar, market.count - 1))),
            "timeframe": market.bars[market.symbols[0]].timeframe,
        },
        "symbols": list(market.symbols),
        "quote": instrument.quote,
        "account": {"start_cash": start_cash, "name": account.name},
        "metrics": metrics,
        "refusals": refusals_by_gate(trace),
        "config_hash": config_hash,
    }
    # Keys of their own, so that a result without sleeves or publications keeps the digest it always had.
    if sleeves:
        outcome["sleeves"] = sleeves_json(
            sleeves, tables.fills.quote_unit, turnover if isinstance(turnover, float) else None
        )
    if market.publications:
        outcome["artifact"] = _artifact(market, manifests)
    digest = json_hash(
        {
            **outcome,
            "data": [market.bars[symbol].content_hash() for symbol in market.symbols],
            "funding": json_hash(market.funding_bars),
            "tables": _tables_hash(tables),
            "journal": sha256_hex(journal),
        }
    )
    result = {
        "name": name,
        **outcome,
        "refusals_by_category": refusals_by_category(trace),
        "assumptions": _assumptions(market),
        "warnings": _warnings(market, manifests, tables),
        "data": manifests,
        "provenance": environment(),
        "config": config,
        "digest": digest,
    }
    curves = sleeve_table(sleeves, tables.equity.time_ms, tables.fills.quote_unit) if sleeves else None
    return Run(result, tables, journal, market, trace, curves)


def write_run(run: Run, folder: Path, *, report: bool = False, overwrite: bool = True) -> None:
    """Write a run into ``folder``, which appears whole or not at all; an earlier result in its place is replaced.

    With ``report``, report.html is among it.

    Raises OutputError when it cannot be written, or when ``folder`` holds something that is not a result.
    """
    folder = folder.absolute()
    if folder.exists():
        if not folder.is_dir():
            raise OutputError(f"{folder} is a file: name a folder for the results")
        if any(folder.iterdir()) and not (folder / RESULT_FILE).exists():
            raise OutputError(f"{folder} holds other files and no earlier result: name another folder")
        if not overwrite and any(folder.iterdir()):
            raise OutputError(f"{folder} already holds a result")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        os.chmod(temporary, 0o755)
        write_tables(temporary, run.tables.equity, run.tables.fills, run.tables.trades, run.tables.funding, run.sleeves)
        write_chart(temporary, [run.market.bars[symbol] for symbol in run.market.symbols])
        (temporary / JOURNAL_FILE).write_bytes(run.journal)
        text = json.dumps(run.result, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / RESULT_FILE).write_text(text + "\n", encoding="utf-8")
        if report:
            from trading_runtime.backtest.report import write_report

            write_report(temporary)
        _replace_folder(temporary, folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(temporary: Path, folder: Path) -> None:
    """Put ``temporary`` in the place of ``folder``: a folder cannot be renamed over another, so the old one steps aside
    first.
    """
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    try:
        os.rename(folder, old / "result")
        os.rename(temporary, folder)
    finally:
        if not folder.exists():
            os.rename(old / "result", folder)
        shutil.rmtree(old, ignore_errors=True)


def _artifact(market: Market, manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """What was published, as it was seen: the files it came from and the closes at which it changed."""
    source: dict[str, Any] = next((one for one in manifests if one.get("kind") == "artifact"), {})
    return {
        **{name: source[name] for name in ("folder", "content_hash", "files") if name in source},
        "timeline_hash": json_hash([list(published) for published in market.publication_bars]),
        "changes": [_change(market, bar, artifact) for bar, artifact in market.publication_bars],
    }


def _change(market: Market, bar: int, artifact: Any) -> dict[str, Any]:
    told = artifact if isinstance(artifact, dict) else {}
    known = {name: told[name] for name in ("version", "as_of_date", "degraded", "symbols") if name in told}
    return {"time": iso_time(market.close_time(bar)), "in_force": artifact is not None, **known}


def _tables_hash(tables: Tables) -> str:
    fills, trades = tables.fills, tables.trades
    return array_hash(
        tables.equity_units,
        tables.equity.exposure,
        tables.equity.benchmark,
        *(fills.time_ms, fills.symbol_index, fills.side, fills.quantity_units, fills.price),
        *(fills.value_units, fills.fee_units, fills.slippage_units, fills.is_maker),
        *(tables.funding.time_ms, tables.funding.symbol_index, tables.funding.amount_units),
        *(trades.symbol_index, trades.direction, trades.entry_bar, trades.exit_bar, trades.pnl_units),
    )


def _assumptions(market: Market) -> list[str]:
    """What the simulation took for granted, in words for the report; ``LIMITATIONS.md`` says what each one costs."""
    execution = market.execution
    delay = f"{execution.latency_bars} bar(s) after" if execution.latency_bars else "at"
    said = [
        f"A decision at a bar's close reaches the exchange {delay} the next bar's open.",
        "Inside a bar the order of prices is unknown and the one that hurts is assumed: stops before profits.",
        f"Takers lose {execution.slippage_fraction:.4%} slippage and half of a {execution.spread_fraction:.4%} spread.",
        f"A resting limit order fills when the price trades {_WHERE_LIMITS_FILL[execution.limit_fill]} it.",
    ]
    if execution.volume_fraction_max is None:
        said.append("Orders fill whole, whatever the bar's volume.")
    else:
        said.append(f"At most {execution.volume_fraction_max:.2%} of a bar's volume fills; the rest waits.")
    if not execution.zero_volume_fills:
        said.append("A bar without volume fills nothing.")
    if any(market.instruments[symbol].kind == "perpetual" for symbol in market.symbols):
        said.append("Margin calls and liquidation are not simulated.")
        if not market.funding_bars:
            said.append("No funding is paid: none was configured.")
    said.append("Positions open at the end are marked at the last close.")
    return said


def _warnings(market: Market, manifests: list[dict[str, Any]], tables: Tables) -> list[str]:
    found = []
    for manifest in manifests:
        exception = manifest.get("exception") or manifest.get("quality_exception")
        if exception:
            found.append(f"{manifest.get('symbol')}: data below the required quality was allowed: {exception}")
    if not len(tables.fills):
        found.append("Nothing was traded: see the refusals, the parameters and the length of the data.")
    if int(tables.equity_units.min()) <= 0:
        found.append("Equity reached zero: an exchange would have liquidated the account before.")
    return found
