"""What a cell costs here, and how many shards of how many minutes a sweep makes of that: measured, never in a spec."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.data import SweepData
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.spec import Sweep

SHARD_SECONDS = 600.0
SHARDS_MAX = 500
SHARD_HOURS_MAX = 6.0
_SAMPLE = 64


@dataclass(frozen=True)
class Measured:
    """CPU seconds of one core. ``cells_measured`` were computed, spread evenly over the sweep."""

    cells: int
    cells_measured: int
    cpu_seconds_per_cell: float
    start_seconds: float
    cpu_seconds: float
    shards: int
    shard_minutes: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_sweep(store: ObjectStore, sweep: Sweep, data: SweepData) -> Measured:
    """Compute a sample of cells, store nothing, and say what the whole costs.

    Raises ConfigurationError for a search that learns (its cells are not known yet) and for a sweep beyond reason.
    """
    if sweep.is_adaptive:
        raise ConfigurationError("--measure: what an Optuna search computes is not known yet; it runs as one shard")
    runner = Runner(store, sweep, data=data, expected=sweep.count)
    step = max(1, sweep.count // _SAMPLE)
    sample = list(range(0, sweep.count, step))[:_SAMPLE]
    by_period: dict[int, list[int]] = {}
    for index in sample:
        by_period.setdefault(index // sweep.combinations, []).append(index)
    started = time.process_time()
    runner.outcomes([runner.task(sample[0])])
    start_seconds = time.process_time() - started
    started = time.process_time()
    for indices in by_period.values():
        runner.outcomes([runner.task(index) for index in indices])
    seconds = (time.process_time() - started) / len(sample)
    total = seconds * sweep.count
    shards = shards_for(total)
    return Measured(sweep.count, len(sample), seconds, start_seconds, total, shards, total / shards / 60)


def shards_for(cpu_seconds: float) -> int:
    """Return how many shards make the work about ten minutes each, at most ``SHARDS_MAX``.

    Raises ConfigurationError when even so each would take longer than ``SHARD_HOURS_MAX`` hours.
    """
    if not math.isfinite(cpu_seconds) or cpu_seconds < 0:
        raise ValueError(f"seconds must be finite and not negative, not {cpu_seconds!r}")
    shards = min(SHARDS_MAX, max(1, math.ceil(cpu_seconds / SHARD_SECONDS)))
    if cpu_seconds / shards > SHARD_HOURS_MAX * 3600:
        raise ConfigurationError(
            f"the sweep needs {cpu_seconds / 3600:,.0f} hours of one core: {SHARDS_MAX} shards of "
            f"{cpu_seconds / shards / 3600:,.1f} hours; use fewer combinations, periods or bars"
        )
    return shards


def measured_text(measured: Mapping[str, Any]) -> str:
    """Return the measurement as one line for people."""
    return (
        f"a cell takes {1000 * measured['cpu_seconds_per_cell']:.3g} ms of one core (measured on "
        f"{measured['cells_measured']}): {measured['shards']} shard(s) of {measured['shard_minutes']:.1f} minutes"
    )
