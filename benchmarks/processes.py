"""What one whole process costs: wall seconds, CPU seconds, memory, with everything it started and waited for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# Runs the command as the only child of a small interpreter: a child's peak memory begins at its parent's.
_WATCH = """
import resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
wall = time.monotonic() - started
if done.returncode:
    sys.exit(done.stderr.decode(errors="replace") or f"exit code {done.returncode}")
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


class Cost(NamedTuple):
    """Wall seconds of whoever waits, CPU seconds of all its processes together, memory of the largest of them."""

    wall_seconds: float
    cpu_seconds: float
    mebibytes: float


def run_watched(name: str, command: list[str], folder: Path) -> Cost:
    """Run a command in ``folder`` and return its cost; ends with what it said when it fails."""
    watch = [sys.executable, "-c", _WATCH, *command]
    answer = subprocess.run(watch, capture_output=True, text=True, check=False, cwd=folder)
    if answer.returncode:
        raise SystemExit(f"{name} failed: {answer.stderr.strip()}")
    return Cost(*map(float, answer.stdout.split()))
