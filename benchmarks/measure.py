"""Timing by interleaved rounds: each round runs the yardstick and then every subject, so that a busy machine slows all
of them alike.
"""

from __future__ import annotations

import gc
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field


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


# Runs the command as its only child, so that the child's own resource use can be read.
_WATCH = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
if done.returncode:
    sys.exit(done.stderr.decode())
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def measure_processes(processes: list[Process], rounds: int) -> None:
    """Fill each process's seconds (CPU) and peak memory, interleaved; the first round only warms the file cache."""
    for number in range(rounds + 1):
        for process in processes:
            answer = subprocess.run(
                [sys.executable, "-c", _WATCH, *process.command], capture_output=True, text=True, check=False
            )
            if answer.returncode:
                raise SystemExit(f"{process.name} failed: {answer.stderr.strip()}")
            seconds, mebibytes = map(float, answer.stdout.split())
            if number:
                process.seconds.append(seconds)
                process.mebibytes.append(mebibytes)


def peak_mebibytes() -> float:
    """Return this process's peak memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
