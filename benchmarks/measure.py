"""Timing by interleaved rounds: each round runs the yardstick and then every subject, so that a busy machine slows all
of them alike.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import run_watched


@dataclass
class Subject:
    """Something to measure: ``run`` does ``work`` units of it; ``unit`` names them; an ``aim`` is in units per
    second.
    """

    name: str
    run: Callable[[], object]
    work: float
    unit: str
    aim: float | None = None
    is_wall: bool = False
    seconds: list[float] = field(default_factory=list)

    @property
    def median_seconds(self) -> float:
        return statistics.median(self.seconds)


def measure(subjects: list[Subject], rounds: int) -> None:
    """Fill each subject's ``seconds``: CPU seconds of this process, or wall seconds where several threads work."""
    for subject in subjects:
        subject.run()  # warm: imports, caches, page faults
    for _ in range(rounds):
        for subject in subjects:
            gc.collect()
            clock = time.perf_counter if subject.is_wall else time.process_time
            started = clock()
            subject.run()
            subject.seconds.append(clock() - started)


@dataclass
class Process:
    """A whole process: CPU seconds and peak memory of a command."""

    name: str
    command: list[str]
    aim_seconds: float | None = None
    aim_mebibytes: float | None = None
    seconds: list[float] = field(default_factory=list)
    mebibytes: list[float] = field(default_factory=list)


def measure_processes(processes: list[Process], rounds: int, folder: Path) -> None:
    """Fill each process's seconds (CPU) and peak memory, interleaved; the first round only warms the file cache."""
    for number in range(rounds + 1):
        for process in processes:
            cost = run_watched(process.name, process.command, folder)
            if number:
                process.seconds.append(cost.cpu_seconds)
                process.mebibytes.append(cost.mebibytes)
