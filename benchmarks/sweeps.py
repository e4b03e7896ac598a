"""``python -m benchmarks.sweeps``: sweeps as whole processes and inside one, beside vectorbt and backtesting.py.

Everything reads the same CSV (45,031 synthetic one-minute bars unless ``--data`` names a candle file), does the same
work (``sweep_work.py``) and is refused when it did not. Wall seconds are of whoever waits, CPU seconds of all processes
together, memory is the largest process's; rounds are interleaved, medians count. The runtime's processes also write
thirteen figures and the equity of each day for every cell, statistics and a report; the peers' keep equity and fills.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import reference
from benchmarks.candles import bars_of, write_csv
from benchmarks.measure import Subject, measure
from benchmarks.processes import run_watched
from benchmarks.subjects import own_subjects
from benchmarks.sweep_rows import (
    EVERY_BAR,
    PEERS,
    ROOT,
    SYMBOL,
    TIMEFRAME,
    Peer,
    Row,
    again,
    own_row,
    peer_row,
    plan_row,
    versions_of,
    write_sweep,
    yardstick_row,
)
from benchmarks.sweep_tables import INSTALL, Inner, as_json, print_inner, print_notes, print_rows
from benchmarks.sweep_work import (
    CHECK,
    HUNDRED,
    OWN_TOLERANCE,
    PEER_TOLERANCE,
    TEN_THOUSAND,
    THOUSAND,
    Figures,
    Grid,
    expected,
    few_enough,
    refuse_other_work,
)
from trading_runtime.backtest.run import COMPILED_BARS_MIN
from trading_runtime.core.bars import Bars
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.sweep.plan import plan_sweep
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.workers import CHUNK_MAX

SMALL = Grid("small", HUNDRED.fasts[:2], HUNDRED.slows[:2])


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _options(words)
    grids = [SMALL] if options.small else [HUNDRED, THOUSAND, TEN_THOUSAND]
    bars = bars_of(options.data)
    if (bars.symbol, bars.timeframe) != (SYMBOL, TIMEFRAME):
        raise SystemExit(f"--data {options.data}: {bars.symbol} {bars.timeframe} is not {SYMBOL} {TIMEFRAME}")
    versions = versions_of(options.peers)
    peers = [peer for peer in PEERS if all(versions[package] for package in peer.packages)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        candles = write_csv(folder / "candles.csv", bars)
        yardstick, rows, warm = _rows(folder, candles, bars, grids, options.workers, options.peers, peers)
        bare, subjects = _subjects(folder, bars, grids)
        wanted = {grid.name: expected(grid, bars.open.tolist(), bars.close.tolist()) for grid in (CHECK, grids[0])}
        for row in _checks(folder, candles, options.peers, peers):
            _run(row, folder / "check", wanted)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for row in [yardstick, *rows, *warm]:
                _run(row, folder / f"round-{number}", wanted)
            shutil.rmtree(folder / f"round-{number}")
            measure([bare, *subjects], 1)
    inner = [*_own_inner(subjects), *_peer_inner(warm), *_peer_inner([row for row in rows if _is_loop(row)])]
    yard = Inner(bare.name, 1, bare.seconds)
    if options.json:
        print(json.dumps(as_json(len(bars), versions, [yardstick, *rows], [yard, *inner]), indent=2))
        return 0
    print(f"{len(bars):,} bars, medians of {options.rounds} round(s), {os.cpu_count()} cores")
    print_rows([yardstick, *rows])
    print_inner([yard, *inner])
    print_notes(versions)
    return 0


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweeps",
        description=__doc__,
        epilog=f"The peers pin other versions, so they live in a Python of their own:\n{INSTALL}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help=f"a candle file of {SYMBOL} {TIMEFRAME}; synthetic bars when absent")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds, the median counts (default 3)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of processes (default 1 2)")
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable, help="a Python that has the peers")
    parser.add_argument("--small", action="store_true", help="four combinations only: is everything there?")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args(words)
    if options.rounds < 1 or min(options.workers) < 1:
        parser.error("--rounds and --workers must be at least 1")
    return options


def _rows(
    folder: Path, candles: Path, bars: Bars, grids: list[Grid], workers: list[int], python: str, peers: list[Peer]
) -> tuple[Row, list[Row], list[Row]]:
    """Return the yardstick, the rows to print, and the peers' processes that sweep twice for their inner figure."""
    first = grids[0]
    rows: list[Row] = []
    for grid in grids:
        own = [own_row(folder, f"sweep run, {_sized(grid, count)}", grid, count) for count in workers]
        rows += [
            *own,
            *(peer_row(folder, candles, python, one, grid) for one in peers if len(grid.pairs) <= one.cells_max),
        ]
        if grid is grids[-1]:
            rows.append(again(own[0], f"the same again, {len(grid.pairs):,} cells found, none computed"))
    part = few_enough(first, len(bars), COMPILED_BARS_MIN)
    if part is not None:
        rows.append(own_row(folder, f"sweep run through decide, gated, {_sized(part, 1)}", part, 1))
    for count in workers:
        name = f"sweep run through decide, every bar, {_sized(first, count)}"
        rows.append(own_row(folder, name, first, count, EVERY_BAR))
    if first is not SMALL:
        rows.append(plan_row(folder))
    warm = [peer_row(folder, candles, python, one, first, calls=2) for one in peers if one.packages[0] == "vectorbt"]
    return yardstick_row(candles), rows, warm


def _sized(grid: Grid, workers: int) -> str:
    return f"{len(grid.pairs):,} cells, {workers} worker{'s' if workers > 1 else ''}"


def _checks(folder: Path, candles: Path, python: str, peers: list[Peer]) -> list[Row]:
    """Everybody's run of (20, 50): the same work, and what is compiled once per machine is compiled."""
    own = [own_row(folder, "check", CHECK, 1), own_row(folder, "check of every bar", CHECK, 1, EVERY_BAR)]
    return [*own, *(peer_row(folder, candles, python, peer, CHECK) for peer in peers)]


def _run(row: Row, place: Path, wanted: dict[str, list[Figures]]) -> None:
    """Run a row once and hold its results against what the grid must give: the reference's, for larger grids what the
    first row of it gave.
    """
    place.mkdir(exist_ok=True)
    row.costs.append(run_watched(row.name, row.command(place), ROOT))
    if row.read is None or row.grid is None:
        return
    found = row.read(place)
    tolerance, fills = (OWN_TOLERANCE, 0) if row.peer is None else (PEER_TOLERANCE, row.peer.fills_tolerance)
    pairs = set(row.grid.pairs)
    known = wanted.setdefault(row.grid.name.removesuffix("-part"), found)
    refuse_other_work(row.name, found, [one for one in known if (one.fast, one.slow) in pairs], tolerance, fills)


def _subjects(folder: Path, bars: Bars, grids: list[Grid]) -> tuple[Subject, list[Subject]]:
    """Return the bare loop, and the runtime's sweeps inside this process: kernels alone, then with all that makes a
    cell (named, sealed, kept) in a store in memory.
    """
    opening, close = bars.open.tolist(), bars.close.tolist()
    bare = Subject("yardstick: bare loop, one combination", lambda: reference.run(opening, close), 1, "cells")
    subjects = [one for one in own_subjects(bars) if one.unit == "cells"]
    for grid in grids:
        planned = plan_sweep(write_sweep(folder, f"{grid.name}-memory", grid.settings()), MemoryObjects(), os.environ)
        count = len(grid.pairs)

        def run(planned: Any = planned, count: int = count) -> None:
            runner = Runner(MemoryObjects(), planned.sweep, data=planned.data, expected=count)
            parts = (range(start, min(start + CHUNK_MAX, count)) for start in range(0, count, CHUNK_MAX))
            computed = sum(runner.run(part).computed for part in parts)
            if computed != count:
                raise SystemExit(f"{computed} of {count} cells were computed in memory")

        subjects.append(Subject(f"{count:,} cells named, sealed, in a store in memory", run, count, "cells"))
    return bare, subjects


def _own_inner(subjects: list[Subject]) -> list[Inner]:
    return [Inner(one.name, int(one.work), one.seconds, one.aim, one.is_wall) for one in subjects]


def _peer_inner(rows: list[Row]) -> list[Inner]:
    """What the peers timed in their own processes: every call of a round apart, the first one is not warm."""
    return [
        Inner(f"{row.name}, call {call + 1}", row.cells, list(seconds))
        for row in rows
        for call, seconds in enumerate(zip(*row.inner_seconds, strict=True))
    ]


def _is_loop(row: Row) -> bool:
    """Whether a row is of a peer that compiles nothing: then its only call is its inner figure too."""
    return row.peer is not None and row.peer.packages[0] != "vectorbt"


if __name__ == "__main__":
    sys.exit(main())
