"""Five years of a generated market for the live pool: BTC and twelve symbols on 4h bars, a pool for each month, and
what goes wrong in real ones: a crash, a hole in the candles, a late listing, months in which nobody published.

Everything is made from one seed, as files and a configuration, so that a run goes the whole way a user's goes.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from trading_runtime.core.bars import Bars
from trading_runtime.core.timeframes import DAY_MS, parse_time
from trading_runtime.data.files import store
from trading_runtime.data.quality import assess
from trading_runtime.data.raw import Source, raw_of_bars
from trading_runtime.data.synth import synthesize

SEED = 1
START, YEARS = "2020-01-01", 5
BAR_MS = DAY_MS // 6
CORE = "BTC"
POOLED = ("ETH", "SOL", "XRP", "LINK", "AVAX", "ADA", "DOGE", "TRX", "ATOM", "LTC", "BCH", "DOT")
# DOT is listed when the run is two years old and is in the pool of every month from the next one on.
LISTED_LATE, LISTED = "DOT", "2022-03-01"
# Nobody trades LTC for two days: the rows are missing in its file.
HOLED, HOLE_FIRST, HOLE_BARS = "LTC", "2022-10-10", 12
# Everything but the core falls by a sixth within one UTC day.
CRASH, CRASH_FACTOR = "2023-04-12T08:00:00Z", 0.84
# XRP is held when it leaves the pool.
RETIRED, RETIRED_IN = "XRP", (2021, 9)
# Nobody publishes in these months.
SILENT = ((2022, 8), (2022, 9))


def write_world(folder: Path) -> Path:
    """Write candles, pools and a configuration below ``folder``; return the configuration's path."""
    (folder / "candles").mkdir(parents=True)
    (folder / "pools").mkdir()
    data = []
    for name in (CORE, *POOLED):
        bars = candles(name)
        path = folder / "candles" / f"{name}.{'csv' if name == HOLED else 'parquet'}"
        if name == HOLED:
            _write_csv(path, bars)
            data.append({"path": f"candles/{path.name}", "symbol": bars.symbol, "timeframe": "4h"})
        else:
            source = Source(f"seed {SEED}", bars.content_hash(), len(bars))
            report = assess(raw_of_bars(bars, source), BAR_MS)
            store(path, bars, sources=(source,), source_kind="synthetic", report=report, grade=report.grade)
            data.append({"path": f"candles/{path.name}"})
    for date, pool in pools():
        content = {
            "version": f"{date}-core_major",
            "as_of_date": date,
            "mode": "core_major",
            "pool_size": len(pool),
            "symbols": [f"{name}USDT" for name in pool],
            "source_project": "generated",
            "generated_at": f"{date}T09:08:51.691178+00:00",
        }
        (folder / "pools" / f"{date}.json").write_text(json.dumps(content), encoding="utf-8")
    settings: dict[str, Any] = {
        "name": "Five generated years",
        "strategy": {"class": "crypto_live_pool_rotation"},
        "data": data,
        "artifact": {"folder": "pools"},
        "account": {"cash": 10_000},
        "instrument": {"lot": "0.001", "notional_minimum": "5", "maker_fee_rate": 0.001, "taker_fee_rate": 0.001},
        "instruments": {"BTC/USDT": {"lot": "0.00001"}},
        "execution": {"slippage_fraction": 0.0005},
        "quality": {"gaps": "fill", "minimum": "D"},
    }
    path = folder / "backtest.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def candles(name: str) -> Bars:
    """The bars of one symbol with the crash in them, and with the late start; the hole is in its file only."""
    rows = YEARS * 365 * 6
    core = name == CORE
    bars = synthesize(
        f"{name}/USDT",
        "4h",
        parse_time(START),
        rows,
        SEED,
        start_price="30000" if core else "100",
        move_percent=100 if core else 130,
    )
    keep = np.ones(rows, dtype=np.bool_)
    if name == LISTED_LATE:
        keep &= bars.open_time >= parse_time(LISTED)
    factor = np.where((bars.open_time >= parse_time(CRASH)) & (not core), CRASH_FACTOR, 1.0)
    open_, high, low, close = (np.round(column * factor, 2) for column in (bars.open, bars.high, bars.low, bars.close))
    # The first bar of the crash opens where the one before it closed.
    fallen = np.flatnonzero(bars.open_time == parse_time(CRASH))
    if not core:
        open_[fallen] = np.round(bars.open[fallen], 2)
        high[fallen] = np.maximum(high[fallen], open_[fallen])
    columns = (column[keep] for column in (bars.open_time, open_, high, low, close, bars.volume))
    return Bars(bars.symbol, bars.timeframe, *columns)


def pools() -> list[tuple[str, list[str]]]:
    """(date, five names in order) of every month that has a publication."""
    random = Random(SEED)
    pool = list(POOLED[:5])
    found = []
    for month in range(YEARS * 12):
        year, number = 2020 + month // 12, month % 12 + 1
        waiting = [name for name in POOLED if name not in pool]
        if LISTED_LATE in waiting and (year, number) <= (2022, 3):
            waiting.remove(LISTED_LATE)
        gone = random.randrange(len(pool))
        joins = LISTED_LATE if LISTED_LATE in waiting and (year, number) > (2022, 3) else random.choice(waiting)
        if pool[gone] != LISTED_LATE:
            pool[gone] = joins
        if (year, number) == RETIRED_IN:
            pool[pool.index(RETIRED)] = random.choice([name for name in waiting if name not in pool])
        if (year, number) not in SILENT:
            found.append((f"{year}-{number:02d}-01", list(pool)))
    return found


def _write_csv(path: Path, bars: Bars) -> None:
    rows = zip(
        *(getattr(bars, name).tolist() for name in ("open_time", "open", "high", "low", "close", "volume")), strict=True
    )
    hole = range(parse_time(HOLE_FIRST), parse_time(HOLE_FIRST) + HOLE_BARS * BAR_MS)
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [",".join(map(repr, row)) for row in rows if row[0] not in hole]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
