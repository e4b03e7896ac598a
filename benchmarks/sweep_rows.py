"""The rows of ``benchmarks.sweeps``: which whole processes are run, and how their results are read.

A row knows its command and how to read what it wrote; ``sweeps.py`` runs and prints.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import reference
from benchmarks.candles import SYMBOL, TIMEFRAME
from benchmarks.processes import Cost
from benchmarks.sweep_work import Figures, Grid

ROOT = Path(__file__).resolve().parents[1]
EVERY_BAR = "benchmarks.subjects:EveryBar"
# What plans a million: 99 x 300 x 34 = 1,009,800.
MILLION: dict[str, Any] = {
    "space": {
        "fast": {"start": 2, "stop": 100, "step": 1},
        "slow": {"start": 101, "stop": 400, "step": 1},
        "weight": {"start": 0.01, "stop": 0.34, "step": 0.01},
    }
}
MILLION_CELLS = 1_009_800


@dataclass(frozen=True)
class Peer:
    """Another backtester: the packages it needs (the first is the one imported), the engine it is told to use, how many
    cells it is asked for (more would take it over a minute), and how many fills it may be off by.
    """

    name: str
    packages: tuple[str, ...]
    engine: str | None
    cells_max: int
    fills_tolerance: int = 0


# Versions that were tested; `sweeps.py` tells how to install them.
PINS = {"vectorbt": "1.2.0", "vectorbt-rust": "1.2.0", "backtesting": "0.6.6"}
PEERS = (
    Peer("vectorbt", ("vectorbt",), "numba", 1_000),
    Peer("vectorbt with its Rust engine", ("vectorbt", "vectorbt-rust"), "auto", 1_000),
    # It decides first one bar after its windows are full, and may so miss one trade.
    Peer("backtesting.py, optimize()", ("backtesting",), None, 100, fills_tolerance=2),
)


@dataclass
class Row:
    """One whole process: ``command`` is told the folder of the round, ``read`` gives what it wrote there.

    ``wanted`` names the grid whose results it must have; ``inner_seconds`` are CPU seconds of the calls that a peer
    timed in its own process, by round.
    """

    name: str
    cells: int
    command: Callable[[Path], list[str]]
    read: Callable[[Path], list[Figures]] | None = None
    grid: Grid | None = None
    peer: Peer | None = None
    costs: list[Cost] = field(default_factory=list)
    inner_seconds: list[list[float]] = field(default_factory=list)


def write_sweep(folder: Path, name: str, settings: dict[str, Any], strategy: str = "sma_cross") -> Path:
    """Write a sweep over ``candles.csv`` of ``folder`` and its backtest; return the path of the sweep."""
    backtest = {
        "strategy": {"class": strategy},
        "data": [{"path": "candles.csv", "symbol": SYMBOL, "timeframe": TIMEFRAME}],
        "account": {"cash": reference.START_CASH},
        "instrument": {"taker_fee_rate": reference.FEE, "maker_fee_rate": reference.FEE},
    }
    (folder / f"{name}-backtest.json").write_text(json.dumps(backtest))
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"name": name, "backtest": f"{name}-backtest.json", **settings}))
    return path


def yardstick_row(candles: Path) -> Row:
    """The bare loop over one combination, as a whole process."""
    command = [sys.executable, str(Path(reference.__file__)), str(candles)]
    return Row("yardstick: csv module and loop", 1, lambda _: command)


def own_row(folder: Path, name: str, grid: Grid, workers: int, strategy: str = "sma_cross") -> Row:
    """``sweep run``: plan, cells, gather, statistics, report, into a new store."""
    label = f"{grid.name}-{strategy.rpartition(':')[2]}-{workers}"
    config = write_sweep(folder, label, grid.settings(), strategy)

    def command(place: Path) -> list[str]:
        words = ["run", "--config", str(config), "--store", str(place / label), "--folder", str(place / f"{label}-out")]
        return [sys.executable, "-m", "trading_runtime", "sweep", *words, "--workers", str(workers)]

    return Row(name, len(grid.pairs), command, lambda place: read_cells(place / f"{label}-out"), grid)


def again(row: Row, name: str) -> Row:
    """The same command on the store that ``row`` has just filled."""
    return Row(name, row.cells, row.command, row.read, row.grid)


def plan_row(folder: Path) -> Row:
    """``sweep plan`` of a million cells into an empty store."""
    config = write_sweep(folder, "million", MILLION)

    def command(place: Path) -> list[str]:
        words = ["plan", "--config", str(config), "--store", str(place / "million")]
        return [sys.executable, "-m", "trading_runtime", "sweep", *words]

    return Row(f"sweep plan of {MILLION_CELLS:,} cells", MILLION_CELLS, command)


def read_cells(folder: Path) -> list[Figures]:
    """Return what ``sweep run`` wrote."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(folder / "cells.parquet")
    columns = [table.column(name).to_pylist() for name in ("p_fast", "p_slow", "m_end_equity", "m_fills", "status")]
    rows = list(zip(*columns, strict=True))
    failed = [row for row in rows if row[4] != "done"]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(rows)} cells in {folder} are not done")
    return [Figures(fast, slow, equity, int(fills)) for fast, slow, equity, fills, _ in rows]


def peer_row(folder: Path, candles: Path, python: str, peer: Peer, grid: Grid, calls: int = 1) -> Row:
    """A peer's sweep in its own Python; with two calls the second one is warm, and the process is no row of its own."""
    label = f"{grid.name}-{'-'.join(peer.packages)}-{calls}"
    job = folder / f"{label}-job.json"
    job.write_text(json.dumps(job_of(candles, peer, grid, calls)))
    script = str(ROOT / "benchmarks" / "sweep_peers.py")

    def command(place: Path) -> list[str]:
        return [python, script, str(job), str(place / f"{label}.json")]

    row = Row(f"{peer.name}, {len(grid.pairs):,} cells", len(grid.pairs), command, grid=grid, peer=peer)

    def read(place: Path) -> list[Figures]:
        content = json.loads((place / f"{label}.json").read_text())
        row.inner_seconds.append(content["cpu_seconds"])
        return [Figures(*values) for values in content["rows"]]

    row.read = read
    return row


def job_of(candles: Path, peer: Peer, grid: Grid, calls: int) -> dict[str, Any]:
    """Return what ``sweep_peers.py`` is told: the package and its engine, candles, combinations, the numbers of the
    rule, and how often to sweep.
    """
    return {
        "package": peer.packages[0],
        "engine": peer.engine,
        "candles": str(candles),
        "pairs": grid.pairs,
        "fee": reference.FEE,
        "weight": reference.WEIGHT,
        "cash": reference.START_CASH,
        "calls": calls,
    }


def versions_of(python: str) -> dict[str, str | None]:
    """Return the versions of the peers' packages that another Python has, None for those it has not."""
    find = (
        "import importlib.metadata as known, json, sys\n"
        "have = {one.metadata['Name'].lower(): one.version for one in known.distributions()}\n"
        "print(json.dumps({name: have.get(name) for name in sys.argv[1:]}))"
    )
    try:
        answer = subprocess.run([python, "-c", find, *PINS], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"--peers {python}: {error}") from None
    found: dict[str, str | None] = json.loads(answer.stdout)
    return found
