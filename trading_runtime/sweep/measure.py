"""What a cell costs here, and how many shards of how many minutes a sweep makes of that: measured, never in a spec."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.data import SweepData
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.shards import SHARDS_MAX, size_shards
from trading_runtime.sweep.spec import Sweep

SHARD_HOURS_MAX = 6.0
_SAMPLE = 64


@dataclass(frozen=True)
class Measured:
    """CPU seconds of one core. ``cells_measured`` were computed, spread evenly over the sweep. A search that learns is
    one shard, whose cells are not known before it runs: nothing of it is measured, and the figures are None.
    """

    cells: int
    cells_measured: int
    cpu_seconds_per_cell: float | None
    start_seconds: float | None
    cpu_seconds: float | None
    shards: int
    shard_minutes: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_sweep(store: ObjectStore, sweep: Sweep, data: SweepData) -> Measured:
    """Compute a sample of cells, store nothing, and say what the whole costs.

    Raises ConfigurationError for a sweep beyond reason: one whose shards would take longer than ``SHARD_HOURS_MAX``.
    """
    if sweep.is_adaptive:
        return Measured(sweep.count, 0, None, None, None, 1, None)
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
    shards = size_shards(sweep.count, seconds).shards
    if total / shards > SHARD_HOURS_MAX * 3600:
        raise ConfigurationError(
            f"the sweep needs {total / 3600:,.0f} hours of one core: {shards} shards, of {SHARDS_MAX} at most, of "
            f"{total / shards / 3600:,.1f} hours; use fewer combinations, periods or bars"
        )
    return Measured(sweep.count, len(sample), seconds, start_seconds, total, shards, total / shards / 60)


def measured_text(measured: Mapping[str, Any]) -> str:
    """Return the measurement as one line for people."""
    if measured["cpu_seconds_per_cell"] is None:
        return (
            "1 shard: Optuna learns from every result, so that one process decides what comes next; nothing is measured"
        )
    return (
        f"a cell takes {1000 * measured['cpu_seconds_per_cell']:.3g} ms of one core (measured on "
        f"{measured['cells_measured']}): {measured['shards']} shard(s) of {measured['shard_minutes']:.1f} minutes"
    )
