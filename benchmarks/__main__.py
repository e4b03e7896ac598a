"""``python -m benchmarks [--data FILE] [--rounds N] [--json]``: every figure beside the yardstick of the same run.

Without ``--data`` 45,031 synthetic one-minute bars are used, so that anybody can repeat the run. Seconds are CPU
seconds unless a row says wall.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import reference
from benchmarks.candles import bars_of, write_csv
from benchmarks.measure import Process, Subject, measure, measure_processes
from trading_runtime.core.bars import Bars
from trading_runtime.core.timeframes import iso_time

_COLUMNS = ("open_time", "open", "high", "low", "close", "volume")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a candle file; synthetic bars when absent")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds, the median counts (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    from benchmarks.subjects import own_subjects, peer_subjects

    bars = bars_of(options.data)
    opening, close = bars.open.tolist(), bars.close.tolist()
    yardstick = Subject("yardstick: bare Python loop", lambda: reference.run(opening, close), len(bars), "bars")
    peers, missing = peer_subjects(bars)
    subjects = [yardstick, *own_subjects(bars), *peers]
    print(f"{len(bars):,} bars, {options.rounds} rounds", file=sys.stderr)
    measure(subjects, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        processes = _processes(bars, Path(folder))
        measure_processes(processes, options.rounds, Path(folder))
    if options.json:
        print(json.dumps(_as_json(subjects, processes, yardstick), indent=2))
    else:
        _print_subjects(subjects, yardstick)
        _print_processes(processes)
        if missing:
            print(f"not installed, so not measured: {', '.join(missing)}")
    return 0


def _processes(bars: Bars, folder: Path) -> list[Process]:
    """The whole process from a CSV file to a result on disk, without the report, beside the yardstick's own."""
    table = write_csv(folder / "BTC-USDT_USDT-1m.csv", bars)
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "strategy": {"class": "sma_cross", "fast": 20, "slow": 50},
                "data": [{"path": str(table), "symbol": "BTC/USDT:USDT", "timeframe": "1m"}],
                "account": {"cash": reference.START_CASH},
                "instrument": {"taker_fee_rate": reference.FEE, "maker_fee_rate": reference.FEE},
            }
        )
    )
    run = [sys.executable, "-m", "trading_runtime", "backtest", "--config", str(config), "--no-report"]
    cycle = ["cycle", "--config", str(_cycle_config(bars, folder)), "--json"]
    loaded = f"import ccxt, google.cloud.firestore, sys; from trading_runtime.cli.main import main; main({cycle!r})"
    return [
        Process("empty interpreter", [sys.executable, "-c", "pass"]),
        Process("yardstick: csv module and loop", [sys.executable, str(Path(reference.__file__)), str(table)]),
        Process("trading-runtime backtest, CSV to result", [*run, "--out", str(folder / "result")], 0.2, 60.0),
        Process("trading-runtime cycle, dry run", [sys.executable, "-m", "trading_runtime", *cycle], 0.15, 60.0),
        Process("the same with ccxt and Firestore loaded", [sys.executable, "-c", loaded], 0.9),
    ]


def _cycle_config(bars: Bars, folder: Path) -> Path:
    """A dry run on recorded bars and a local store: everything of a cycle but the network."""
    rows = zip(*(getattr(bars, name)[:600].tolist() for name in _COLUMNS), strict=True)
    lines = ["time,open,high,low,close,volume", *(",".join(map(repr, row)) for row in rows)]
    (folder / "recorded.csv").write_text("\n".join(lines) + "\n")
    content = {
        "strategy": {"class": "sma_cross", "fast": 20, "slow": 50},
        "market": {"exchange": "simulated", "symbols": [bars.symbol], "timeframe": bars.timeframe},
        "feed": {
            "files": [{"path": "recorded.csv", "symbol": bars.symbol, "timeframe": bars.timeframe}],
            "start": iso_time(int(bars.close_time[500])),
        },
    }
    path = folder / "cycle.json"
    path.write_text(json.dumps(content))
    return path


def _print_subjects(subjects: list[Subject], yardstick: Subject) -> None:
    print(f"\n{'subject':<46}{'seconds':>10}{'per second':>16}  {'unit':<6}{'x yardstick':>12}{'aim':>14}")
    per_bar = yardstick.median_seconds / yardstick.work
    for subject in subjects:
        rate = subject.work / subject.median_seconds
        # Cells are whole runs over all bars: the yardstick's cost of a cell is its cost of a run.
        cost = subject.median_seconds / subject.work / (per_bar if subject.unit == "bars" else yardstick.median_seconds)
        aim = f"{subject.aim:,.0f}" if subject.aim else ""
        name = f"{subject.name} (wall)" if subject.is_wall else subject.name
        print(f"{name:<46}{subject.median_seconds:>10.4f}{rate:>16,.0f}  {subject.unit:<6}{cost:>12.3f}{aim:>14}")


def _print_processes(processes: list[Process]) -> None:
    print(f"\n{'whole process':<46}{'seconds':>10}{'peak MiB':>10}{'x yardstick':>12}{'aim':>18}")
    yardstick = sorted(processes[1].seconds)[len(processes[1].seconds) // 2]
    for process in processes:
        middle = len(process.seconds) // 2
        seconds, memory = sorted(process.seconds)[middle], sorted(process.mebibytes)[middle]
        aims = [f"{process.aim_seconds} s"] if process.aim_seconds else []
        aims += [f"{process.aim_mebibytes:.0f} MiB"] if process.aim_mebibytes else []
        aim = ", ".join(aims)
        print(f"{process.name:<46}{seconds:>10.3f}{memory:>10.0f}{seconds / yardstick:>12.2f}{aim:>18}")


def _as_json(subjects: list[Subject], processes: list[Process], yardstick: Subject) -> dict[str, object]:
    return {
        "yardstick_seconds": yardstick.median_seconds,
        "subjects": [
            {
                "name": s.name,
                "unit": s.unit,
                "work": s.work,
                "seconds": s.seconds,
                "aim_per_second": s.aim,
                "wall": s.is_wall,
            }
            for s in subjects
        ],
        "processes": [{"name": p.name, "seconds": p.seconds, "mebibytes": p.mebibytes} for p in processes],
    }


if __name__ == "__main__":
    sys.exit(main())
