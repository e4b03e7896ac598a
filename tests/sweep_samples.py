"""Small sweeps on made-up candles, for tests: files in a folder, and verbs as calls or as processes of their own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from trading_runtime.core.bars import Bars
from trading_runtime.data.synth import synthesize
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.gather import Gathered, gather_sweep
from trading_runtime.sweep.plan import Planned, plan_sweep
from trading_runtime.sweep.run import RunOptions, run_sweep
from trading_runtime.sweep.runner import Done

BARS = 720
START_MS = 1_672_531_200_000  # 2023-01-01
SEED = 20_230_101

# 60 cells: 6 x 5 combinations over two periods.
SPACE = {"fast": [2, 3, 5, 8, 13, 21], "slow": {"start": 24, "stop": 56, "step": 8}}
PERIODS = {
    "kind": "list",
    "periods": [
        {"name": "first", "start": "2023-01-05", "end": "2023-01-15"},
        {"name": "second", "start": "2023-01-16", "end": "2023-01-30"},
    ],
}


def made_bars(count: int = BARS, seed: int = SEED) -> Bars:
    return synthesize("BTC/USDT", "1h", START_MS, count, seed, start_price="20000", tick="0.01")


def write_candles(path: Path, bars: Bars) -> None:
    """Write bars as a CSV with exact decimals."""
    lines = ["open_time_ms,open,high,low,close,volume"]
    for row in zip(
        bars.open_time.tolist(), *(getattr(bars, name).tolist() for name in ("open", "high", "low", "close", "volume")),
        strict=True,
    ):  # fmt: skip
        lines.append(",".join(repr(value) for value in row))
    path.write_text("\n".join(lines) + "\n")


def write_sweep(
    folder: Path, *, bars: Bars | None = None, backtest: dict[str, Any] | None = None, **settings: Any
) -> Path:
    """Write candles, backtest and sweep into ``folder`` and return the sweep's file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_candles(folder / "BTC-USDT-1h.csv", made_bars() if bars is None else bars)
    described = {
        "strategy": {"class": "sma_cross"},
        "data": [{"path": "BTC-USDT-1h.csv", "symbol": "BTC/USDT", "timeframe": "1h"}],
        "quality": {"minimum": "D"},
        "instrument": {"taker_fee_rate": 0.001},
        **(backtest or {}),
    }
    (folder / "backtest.json").write_text(json.dumps(described))
    path = folder / "sweep.json"
    chosen = {"name": "sample", "backtest": "backtest.json", "space": SPACE, "periods": PERIODS, **settings}
    path.write_text(json.dumps(chosen))
    return path


def planned(path: Path, store: ObjectStore) -> Planned:
    return plan_sweep(path, store, {})


def run_here(store: ObjectStore, sweep_id: str, **options: Any) -> Done:
    return run_sweep(store, sweep_id, RunOptions(store.label, **options))


def whole_run(path: Path, store: ObjectStore) -> Gathered:
    """Plan, run in this process and gather."""
    plan = planned(path, store)
    run_here(store, plan.sweep.sweep_id, strategy=plan.strategy)
    return gather_sweep(store, plan.sweep.sweep_id, strategy=plan.strategy)


def cell_files(store: FolderObjects) -> dict[str, bytes]:
    """Return every result's key and bytes."""
    return {key: store.get(key) for key in store.keys("cells/")}


def shard_command(store: str, sweep_id: str, *words: str) -> list[str]:
    """Return the command line of a shard's process."""
    return [
        *(sys.executable, str(Path(__file__).with_name("sweep_process.py"))),
        *("sweep", "run", "--sweep", sweep_id, "--store", store, *words),
    ]


def process_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
