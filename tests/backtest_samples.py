"""Sample tables for the tests of trades, metrics and report: small ones by hand, large ones from a seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trading_runtime.backtest.metrics import compute_metrics
from trading_runtime.backtest.tables import (
    EquityTable,
    FillTable,
    FundingTable,
    no_funding,
    positions_after,
    write_chart,
    write_tables,
)
from trading_runtime.backtest.trades import build_trades
from trading_runtime.core.bars import Bars
from trading_runtime.core.money import quote_value
from trading_runtime.core.timeframes import iso_time, timeframe_ms

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z


def make_fills(
    rows: Sequence[tuple[int, int, int, float]],
    *,
    fees: Sequence[int] | None = None,
    slippage: Sequence[int] | None = None,
    reasons: Sequence[str] | None = None,
    bar_ms: int = HOUR_MS,
    symbols: Sequence[str] = ("BTC/USDT",),
    quantity_unit: float = 1e-8,
    quote_unit: float = 1e-8,
) -> FillTable:
    """Return fills from (bar, symbol index, signed quantity in units, price)."""
    count = len(rows)
    quantity = [abs(row[2]) for row in rows]
    ratio = round(quantity_unit / quote_unit) if quantity_unit >= quote_unit else quantity_unit / quote_unit
    return FillTable(
        time_ms=np.array([START_MS + row[0] * bar_ms for row in rows], dtype=np.int64),
        bar=np.array([row[0] for row in rows], dtype=np.int64),
        symbol_index=np.array([row[1] for row in rows], dtype=np.int64),
        side=np.array([1 if row[2] > 0 else -1 for row in rows], dtype=np.int8),
        quantity_units=np.array(quantity, dtype=np.int64),
        price=np.array([row[3] for row in rows], dtype=np.float64),
        value_units=np.array(
            [quote_value(row[3], units, float(ratio)) for row, units in zip(rows, quantity, strict=True)],
            dtype=np.int64,
        ),
        fee_units=np.array(fees if fees is not None else [0] * count, dtype=np.int64),
        slippage_units=np.array(slippage if slippage is not None else [0] * count, dtype=np.int64),
        is_maker=np.zeros(count, dtype=np.bool_),
        order_id=[f"order-{index}" for index in range(count)],
        leg=["entry" if row[2] > 0 else "exit" for row in rows],
        reason=list(reasons) if reasons is not None else [f"reason-{index}" for index in range(count)],
        symbols=list(symbols),
        quantity_unit=[quantity_unit] * len(symbols),
        quote_unit=quote_unit,
    )


def make_funding(rows: Sequence[tuple[int, int, int]]) -> FundingTable:
    """Return funding payments from (time_ms, symbol index, amount in units)."""
    columns = [np.array([row[position] for row in rows], dtype=np.int64) for position in range(3)]
    return FundingTable(*columns)


def make_equity(
    equity: Sequence[float], *, bar_ms: int = DAY_MS, benchmark: Sequence[float] | None = None
) -> EquityTable:
    """Return an equity table of consecutive bars; cash equals equity and nothing is held."""
    values = np.array(equity, dtype=np.float64)
    return EquityTable(
        time_ms=START_MS + bar_ms * np.arange(1, len(values) + 1, dtype=np.int64),
        equity=values,
        cash=values,
        exposure=np.zeros(len(values)),
        benchmark=values if benchmark is None else np.array(benchmark, dtype=np.float64),
    )


def random_bars(symbol: str, timeframe: str, count: int, seed: int, *, yearly_spread: float = 0.6) -> Bars:
    """Return a random walk with calm and wild stretches, from a seed."""
    rng = np.random.default_rng(seed)
    bar_ms = timeframe_ms(timeframe)
    spread = yearly_spread * np.sqrt(bar_ms / (365 * DAY_MS))
    mood = np.exp(0.5 * np.sin(np.arange(count) / count * 23.0) + rng.normal(0, 0.2, count))
    pull = 0.25 * spread * np.sin(np.arange(count) * 2 * np.pi / max(count / 9, 2)) * np.sqrt(9 / count * 4)
    close = 40_000.0 / (1 + 12 * (seed % 5)) * np.exp(np.cumsum(rng.normal(0, 1, count) * spread * mood + pull))
    close = np.round(close, 2)
    open_ = np.concatenate((close[:1], close[:-1]))
    high = np.round(np.maximum(open_, close) * (1 + np.abs(rng.normal(0, 0.4 * spread, count))), 2)
    low = np.round(np.minimum(open_, close) * (1 - np.abs(rng.normal(0, 0.4 * spread, count))), 2)
    times = START_MS + bar_ms * np.arange(count, dtype=np.int64)
    return Bars(symbol, timeframe, times, open_, high, low, close, rng.lognormal(3, 1, count))


def crossing_fills(all_bars: Sequence[Bars], *, slow: int, shorts: bool, cash: float) -> FillTable:
    """Return the fills of a moving-average crossing that invests equal parts, with a stop at 4 %."""
    rows: list[tuple[int, int, int, float]] = []
    reasons: list[str] = []
    for index, bars in enumerate(all_bars):
        sums = np.cumsum(bars.close)
        fast = np.full(len(bars), np.nan)
        long_run = np.full(len(bars), np.nan)
        quick = max(slow // 4, 2)
        fast[quick:] = (sums[quick:] - sums[:-quick]) / quick
        long_run[slow:] = (sums[slow:] - sums[:-slow]) / slow
        wanted = np.where(fast > long_run, 1, -1 if shorts else 0) * ~np.isnan(long_run)
        held, entry = 0, 0.0
        for bar in (np.flatnonzero(wanted[1:] != wanted[:-1]) + 1).tolist():
            if bar + 1 >= len(bars):
                break
            price = float(bars.open[bar + 1])
            if held:
                past = bars.low[rows[-1][0] : bar + 1] if held > 0 else bars.high[rows[-1][0] : bar + 1]
                hit = np.flatnonzero(past <= entry * 0.96 if held > 0 else past >= entry * 1.04)
                stopped = len(hit) > 0
                out = entry * (0.96 if held > 0 else 1.04) if stopped else price * (1 - 0.0003 * np.sign(held))
                rows.append((rows[-1][0] + int(hit[0]) if stopped else bar + 1, index, -held, round(float(out), 2)))
                reasons.append("stop" if stopped else "crossed_back")
                held = 0
            if wanted[bar]:
                entry = round(price * (1 + 0.0003 * int(wanted[bar])), 2)
                held = int(cash / len(all_bars) / entry * 1e8) * int(wanted[bar])
                rows.append((bar + 1, index, held, entry))
                reasons.append("trend_up" if held > 0 else "trend_down")
    order = sorted(range(len(rows)), key=lambda row: (rows[row][0], row))
    rows, reasons = [rows[row] for row in order], [reasons[row] for row in order]
    values = [quote_value(row[3], abs(row[2]), 1.0) for row in rows]
    return make_fills(
        rows,
        fees=[value // 1000 for value in values],
        slippage=[value * 3 // 10_000 for value in values],
        reasons=reasons,
        bar_ms=all_bars[0].bar_ms,
        symbols=[bars.symbol for bars in all_bars],
    )


def equity_of(all_bars: Sequence[Bars], fills: FillTable, cash: float) -> EquityTable:
    """Return the equity that the fills imply at every bar close, and that of holding equal parts."""
    count = len(all_bars[0])
    flow = np.zeros(count)
    np.add.at(flow, fills.bar, -(fills.side * fills.value_units + fills.fee_units) * fills.quote_unit)
    money = cash + np.cumsum(flow)
    value, gross, hold = np.zeros(count), np.zeros(count), np.zeros(count)
    after = positions_after(fills)
    for index, bars in enumerate(all_bars):
        mine = fills.symbol_index == index
        held = np.zeros(count)
        place = np.searchsorted(fills.bar[mine], np.arange(count), side="right")
        held = np.concatenate(([0], after[mine]))[place] * 1e-8
        value += held * bars.close
        gross += np.abs(held) * bars.close
        hold += cash / len(all_bars) * bars.close / bars.open[1]
    equity = money + value
    hold[0] = cash
    return EquityTable(
        all_bars[0].close_time,
        equity,
        money,
        np.where(equity > 0, gross / np.maximum(equity, 1e-9), 0.0),
        hold,
    )


def write_sample_result(
    folder: Path,
    *,
    bars: int = 4_000,
    timeframe: str = "1h",
    symbols: Sequence[str] = ("BTC/USDT",),
    seed: int = 7,
    slow: int = 120,
    shorts: bool = False,
    all_bars: Sequence[Bars] | None = None,
    changes: dict[str, Any] | None = None,
) -> Path:
    """Write the folder of a finished run, as the engine would: tables, chart and result.json."""
    folder.mkdir(parents=True, exist_ok=True)
    cash = 10_000.0
    data = all_bars or [random_bars(name, timeframe, bars, seed + place) for place, name in enumerate(symbols)]
    fills = crossing_fills(data, slow=slow, shorts=shorts, cash=cash)
    equity = equity_of(data, fills, cash)
    trades = build_trades(
        fills,
        no_funding(),
        last_close=[float(one.close[-1]) for one in data],
        last_time_ms=int(equity.time_ms[-1]),
        last_bar=len(equity) - 1,
    )
    metrics = compute_metrics(equity, trades, fills, no_funding(), start_cash=cash, bar_ms=data[0].bar_ms)
    write_tables(folder, equity=equity, fills=fills, trades=trades)
    write_chart(folder, data)
    first, last = iso_time(int(data[0].open_time[0])), iso_time(int(data[0].close_time[-1]))
    result: dict[str, Any] = {
        "schema_version": 1,
        "name": "Moving averages, hourly",
        "strategy": {
            "name": "sma_crossing",
            "class": "trading_runtime.strategies.sma:SmaCrossing",
            "params": {"fast": slow // 4, "slow": slow, "stop_fraction": 0.04, "shorts": shorts},
            "code_hash": "5f0c" * 16,
        },
        "period": {"start": first, "end": last, "bars": len(equity), "timeframe": data[0].timeframe},
        "symbols": [one.symbol for one in data],
        "quote": "USDT",
        "account": {"start_cash": cash, "leverage": 1},
        "metrics": metrics,
        "refusals": {"cash": 14, "minimum_notional": 3, "symbol_cap": 121},
        "assumptions": [
            "Orders decided at a bar's close are filled from the next bar's open.",
            "Inside one bar the stop is assumed to be hit before the take-profit.",
            "Taker fee 0.1 %, slippage 3 basis points of the reference price.",
        ],
        "warnings": ["12 bars of ETH/USDT have no volume; limit orders were not filled in them."],
        "data": [
            {
                "symbol": one.symbol,
                "timeframe": one.timeframe,
                "rows": len(one),
                "first_time": first,
                "last_time": last,
                "source": "generated from a seed",
                "content_hash": one.content_hash(),
                "quality": {"grade": "A", "gaps": 0, "duplicates": 0, "zero_volume_bars": 12},
            }
            for one in data
        ],
        "provenance": {
            "commit": "9c1e" * 10,
            "dirty": False,
            "package_version": "0.1.0",
            "python": "3.11.9",
            "libraries": {"numpy": "2.3.1", "pyarrow": "20.0.0", "numba": "0.62.0"},
            "platform": "Linux x86_64",
        },
        "config_hash": "a7d3" * 16,
        "digest": "42be" * 16,
        "config": {"mode": "backtest", "symbols": [one.symbol for one in data], "fees": {"taker": 0.001}},
    }
    result |= changes or {}
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return folder
