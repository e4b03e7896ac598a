"""``python -m benchmarks.sweeps``: what planning a million cells and running a thousand cost, with process start.

Candles are synthetic, 45,031 one-minute bars unless ``--data`` names a file that `trading-runtime data import` made.
CPU seconds are of all processes together, wall seconds of whoever waits; memory is the largest process's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.__main__ import BARS, SEED
from trading_runtime.data.files import parquet_bytes
from trading_runtime.data.synth import synthesize

# 99 x 300 x 34 = 1,009,800 and 50 x 20 = 1,000 combinations.
MILLION = {
    "fast": {"start": 2, "stop": 100, "step": 1},
    "slow": {"start": 101, "stop": 400, "step": 1},
    "weight": {"start": 0.01, "stop": 0.34, "step": 0.01},
}
THOUSAND = {"fast": {"start": 2, "stop": 100, "step": 2}, "slow": {"start": 110, "stop": 300, "step": 10}}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="stored candles; synthetic ones when absent")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes (default 1 2)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = options.data
        if data is None:
            data = folder / "candles.parquet"
            bars = synthesize("BTC/USDT:USDT", "1m", 1_640_991_660_000, BARS, SEED, start_price="46319", tick="0.5")
            data.write_bytes(parquet_bytes(bars))
        backtest = {
            "strategy": {"class": "sma_cross"},
            "data": [{"path": str(data.resolve())}],
            "account": {"cash": 100_000},
            "instrument": {"taker_fee_rate": 0.0005, "maker_fee_rate": 0.0005},
        }
        (folder / "backtest.json").write_text(json.dumps(backtest))
        million, thousand = _sweep(folder, "million", MILLION), _sweep(folder, "thousand", THOUSAND)
        _print("plan of 1,009,800 cells", _run(folder, "plan", million, "million"), 1_009_800)
        for workers in options.workers:
            words = ("run", thousand, f"thousand-{workers}", "--workers", str(workers), "--folder", str(folder / "out"))
            _print(f"run of 1,000 cells, gathered, {workers} worker(s)", _run(folder, *words), 1_000)
            _print(f"the same again, nothing to compute, {workers} worker(s)", _run(folder, *words), 1_000)
    return 0


def _sweep(folder: Path, name: str, space: dict[str, Any]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"name": name, "backtest": "backtest.json", "space": space}))
    return path


def _run(folder: Path, verb: str, config: Path, store: str, *words: str) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and megabytes of one command."""
    command = [sys.executable, "-m", "trading_runtime", "sweep", verb, "--config", str(config)]
    command += ["--store", str(folder / store), *words]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ})
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, processor, after.ru_maxrss / 1024


def _print(label: str, measured: tuple[float, float, float], cells: int) -> None:
    wall, processor, megabytes = measured
    print(
        f"{label:<52}{wall:8.2f} s wall {processor:8.2f} s CPU {cells / wall:12,.0f} cells/s wall "
        f"{cells / processor:12,.0f} cells/s CPU {megabytes:6.0f} MB at most"
    )


if __name__ == "__main__":
    sys.exit(main())
