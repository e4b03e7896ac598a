"""Running a sweep: a shard of it, or the whole with a search that learns from its results."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.data import download
from trading_runtime.sweep.results import read_results
from trading_runtime.sweep.runner import Done, Runner
from trading_runtime.sweep.search import learn_recorded, run_search
from trading_runtime.sweep.spec import Sweep, load_sweep_spec
from trading_runtime.sweep.workers import Job, Pool, Progress


@dataclass(frozen=True)
class RunOptions:
    """How a shard is run; nothing here changes a result."""

    address: str
    shard: int = 0
    shards: int = 1
    workers: int = 1
    retry_failed: bool = False
    strategy: str | None = None


def check_shard(shard: int, shards: int) -> None:
    """Raise ConfigurationError for a shard that does not exist."""
    if shards < 1 or not 0 <= shard < shards:
        raise ConfigurationError(f"--shard {shard} --shards {shards}: shards count from 0 to {max(shards, 1) - 1}")


def run_sweep(
    store: ObjectStore,
    sweep_id: str,
    options: RunOptions,
    progress: Callable[[Done, int], None] | None = None,
) -> Done:
    """Compute what is missing of a shard and return what became of its cells; ``progress`` is told that and the number
    of cells in all.

    Raises ConfigurationError when the code here is not the code that was planned, or for a shard of a search that
    learns: that has one coordinator.
    """
    check_shard(options.shard, options.shards)
    sweep = load_sweep_spec(store, sweep_id, strategy=options.strategy)
    indices = sweep.indices(options.shard, options.shards)
    expected = -(-len(indices) // max(options.workers, 1))
    job = Job(options.address, sweep_id, options.strategy, options.retry_failed, expected)
    with Pool(job, store, sweep, options.workers) as pool:
        if not sweep.is_adaptive:
            return pool.run(indices, _telling(progress, Done(), len(indices)))
        if options.shards > 1:
            raise ConfigurationError(
                f"sweep {sweep_id} is searched by Optuna, which learns from every result: it has one coordinator; "
                "run it with --shards 1 and as many --workers as there are cores"
            )
        return _coordinate(store, sweep, pool, progress)


def scores(store: ObjectStore, sweep: Sweep, runner: Runner, combinations: Sequence[int]) -> list[float | None]:
    """Return what each combination came to: the mean of the metric over the periods that judge; None where one is
    missing.
    """
    judged = [number for number, period in enumerate(sweep.periods) if period.role != "train"]
    ids = [runner.task(number * sweep.combinations + one).cell_id for one in combinations for number in judged]
    values = [
        None if read.content is None else read.content["metrics"].get(sweep.metric) for read in read_results(store, ids)
    ]
    return [mean_of(values[start : start + len(judged)]) for start in range(0, len(values), len(judged))]


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean, None when a value is missing: a combination that failed somewhere is no candidate."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    return math.fsum(known) / len(known)


def _coordinate(store: ObjectStore, sweep: Sweep, pool: Pool, progress: Callable[[Done, int], None] | None) -> Done:
    learn_recorded(store, sweep)
    runner = Runner(store, sweep, data=download(store, sweep.content["data"], sweep.settings), expected=1)
    total = Done()

    def compute(combinations: list[int]) -> None:
        nonlocal total
        pool.learn([int(place) for place in sweep.places])
        indices = chain.from_iterable(
            (number * sweep.combinations + one for one in combinations) for number in range(len(sweep.periods))
        )
        total = total.plus(pool.run(indices, _telling(progress, total, sweep.count)))

    run_search(store, sweep, compute, lambda combinations: scores(store, sweep, runner, combinations))
    return total


def _telling(progress: Callable[[Done, int], None] | None, before: Done, count: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done: progress(before.plus(done), count)
