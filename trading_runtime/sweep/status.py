"""How far a sweep is: done, failed, missing and corrupt by shard. Facts only; how fast it goes is not one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.data import download
from trading_runtime.sweep.present import present_cells
from trading_runtime.sweep.results import failed_ids, read_results
from trading_runtime.sweep.run import check_shard
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.search import learn_recorded
from trading_runtime.sweep.spec import Sweep, load_sweep_spec

BLOCK = 1024


@dataclass(frozen=True)
class ShardStatus:
    """What the store holds of a shard's cells."""

    shard: int
    planned: int
    done: int
    failed: int
    corrupt: int

    @property
    def missing(self) -> int:
        return self.planned - self.done - self.failed - self.corrupt

    def to_json(self) -> dict[str, int]:
        names = ("shard", "planned", "done", "missing", "failed", "corrupt")
        return {name: getattr(self, name) for name in names}


def sweep_status(
    store: ObjectStore,
    sweep_id: str,
    shards: int = 1,
    *,
    strategy: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Sweep, list[ShardStatus]]:
    """Return a sweep and the status of each of its shards; every result is read and checked. ``progress`` is told how
    many cells of how many were looked at.
    """
    check_shard(0, shards)
    sweep = load_sweep_spec(store, sweep_id, strategy=strategy)
    learn_recorded(store, sweep)
    runner = Runner(store, sweep, data=download(store, sweep.content["data"], sweep.settings), expected=1)
    failed_before = failed_ids(store, sweep_id)
    present = present_cells(store, sweep.count)
    seen = 0
    found = []
    for shard in range(shards):
        planned = len(sweep.indices(shard, shards))
        counts: dict[str, Any] = {"done": 0, "failed": 0, "corrupt": 0}
        decided = (index for index in sweep.indices(shard, shards) if sweep.is_decided(index))
        while block := list(islice(decided, BLOCK)):
            ids = [runner.task(index).cell_id for index in block]
            there = ids if present is None else [one for one in ids if one in present]
            reads = {read.cell_id: read for read in read_results(store, there)}
            for one in ids:
                read = reads.get(one)
                if read is not None and read.content is not None:
                    counts["done"] += 1
                elif read is not None and read.damage is not None:
                    counts["corrupt"] += 1
                elif one in failed_before:
                    counts["failed"] += 1
            seen += len(block)
            if progress is not None:
                progress(seen, sweep.count)
        found.append(ShardStatus(shard, planned, **counts))
    return sweep, found
