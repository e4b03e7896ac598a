"""How ``benchmarks.sweeps`` prints what it measured: two tables with a yardstick as their first row, notes, or JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.sweep_rows import PEERS, PINS, Row

INSTALL = (
    "python3 -m venv .venv-peers && .venv-peers/bin/pip install "
    + " ".join(f"{name}=={version}" for name, version in PINS.items())
    + " && python -m benchmarks.sweeps --peers .venv-peers/bin/python"
)


@dataclass(frozen=True)
class Inner:
    """Sweeps inside one process: seconds of all cells, by round."""

    name: str
    cells: int
    seconds: list[float]
    aim: float | None = None
    is_wall: bool = False


def print_rows(rows: list[Row]) -> None:
    print(
        f"\n{'whole process':<64}{'wall s':>9}{'CPU s':>9}{'cells/s wall':>14}{'cells/s CPU':>13}{'peak MiB':>10}"
        f"{'x yardstick':>13}"
    )
    one = _medians(rows[0])["cpu_seconds"]
    for row in rows:
        cost = _medians(row)
        wall, cpu = cost["wall_seconds"], cost["cpu_seconds"]
        # A cell that is only planned is no work to compare with.
        ratio = f"{cpu / row.cells / one:.3f}" if row is rows[0] or row.grid is not None else ""
        print(
            f"{row.name:<64}{wall:>9.2f}{cpu:>9.2f}{row.cells / wall:>14,.1f}{row.cells / cpu:>13,.1f}"
            f"{cost['mebibytes']:>10.0f}{ratio:>13}"
        )


def print_inner(inner: list[Inner]) -> None:
    head = f"{'cells':>9}{'seconds':>9}{'cells/s':>14}{'aim':>13}{'x yardstick':>23}"
    print(f"\n{'inside one process, CPU, warm unless said':<64}{head}")
    one = statistics.median(inner[0].seconds)
    for row in inner:
        seconds = statistics.median(row.seconds)
        name = f"{row.name} (wall)" if row.is_wall else row.name
        aim = f"{row.aim:,.0f}" if row.aim else ""
        print(
            f"{name:<64}{row.cells:>9,}{seconds:>9.4f}{row.cells / seconds:>14,.1f}{aim:>13}"
            f"{seconds / row.cells / one:>23.4f}"
        )


def print_notes(versions: dict[str, str | None]) -> None:
    print("\nx yardstick: CPU of one cell over CPU of one combination by the bare loop, as a process or inside one.")
    for peer in PEERS:
        missing = [package for package in peer.packages if not versions[package]]
        if missing:
            print(f"{peer.name}: not measured, no {' and '.join(missing)}; to measure it: {INSTALL}")
        else:
            found = ", ".join(f"{package} {versions[package]}" for package in peer.packages)
            print(f"{peer.name}: {found}; no more than {peer.cells_max:,} cells, more would take over a minute")


def _medians(row: Row) -> dict[str, float]:
    return {name: statistics.median(getattr(one, name) for one in row.costs) for name in row.costs[0]._fields}


def as_json(bars: int, versions: dict[str, str | None], rows: list[Row], inner: list[Inner]) -> dict[str, Any]:
    """Return every round of everything; the first entry of each list is the yardstick."""
    return {
        "bars": bars,
        "peers": versions,
        "processes": [
            {"name": row.name, "cells": row.cells, "rounds": [one._asdict() for one in row.costs]} for row in rows
        ],
        "inner": [asdict(one) for one in inner],
    }
