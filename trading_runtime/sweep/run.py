"""Running a sweep: a shard of it, or the whole with a search that learns from its results."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from multiprocessing import resource_tracker

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.data import download
from trading_runtime.sweep.results import read_results
from trading_runtime.sweep.runner import Done, Runner
from trading_runtime.sweep.search import learn_recorded, run_search
from trading_runtime.sweep.spec import Sweep, load_sweep_spec
from trading_runtime.sweep.workers import Job, Pool, Progress, workers_for

WORKERS_MAX = 1024  # each is a process with libraries of its own; more is a slip of the finger


@dataclass(frozen=True)
class RunOptions:
    """How a shard is run; nothing here changes a result."""

    address: str
    shard: int = 0
    shards: int = 1
    workers: int | None = 1  # None: as many as the work is worth
    retry_failed: bool = False
    strategy: str | None = None


def check_shard(shard: int, shards: int) -> None:
    """Raise ConfigurationError for a shard that does not exist."""
    if shards < 1:
        raise ConfigurationError(f"--shards must be at least 1, not {shards}")
    if not 0 <= shard < shards:
        raise ConfigurationError(f"--shard {shard} --shards {shards}: shards count from 0 to {shards - 1}")


def check_run(address: str, shard: int, shards: int, workers: int | None) -> None:
    """Raise ConfigurationError for what is wrong with how a sweep shall be run, whatever the sweep."""
    check_shard(shard, shards)
    if workers is not None and not 1 <= workers <= WORKERS_MAX:
        raise ConfigurationError(f"--workers must be 1 to {WORKERS_MAX}, not {workers}")
    if workers is not None and workers > 1 and address.startswith("memory:"):
        raise ConfigurationError("a store in memory belongs to one process: use --workers 1 or a folder")


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
    check_run(options.address, options.shard, options.shards, options.workers)
    sweep = load_sweep_spec(store, sweep_id, strategy=options.strategy)
    if sweep.is_adaptive and options.shards > 1:
        raise ConfigurationError(
            f"sweep {sweep_id} is searched by Optuna, which learns from every result: it has one coordinator; "
            "run it with --shards 1 and as many --workers as there are cores"
        )
    indices = sweep.indices(options.shard, options.shards)
    workers = options.workers
    if workers is None:
        workers = 1 if options.address.startswith("memory:") else workers_for(sweep, len(indices))
    expected = -(-len(indices) // workers)
    job = Job(options.address, sweep_id, options.strategy, options.retry_failed, expected)
    with ExitStack() as stack:
        with nullcontext() if workers == 1 else _interrupts_held():
            pool = stack.enter_context(Pool(job, store, sweep, workers))
        if not sweep.is_adaptive:
            return pool.run(indices, _telling(progress, Done(), len(indices)))
        return _coordinate(store, sweep, pool, progress)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM waiting while workers are started, and act on them as soon as all of them stand.

    Workers inherit that Ctrl-C, which a terminal sends to them too, waits: one that is still importing would end in a
    traceback. SIGTERM must reach them, so that here it is only noted.
    """
    mask = getattr(signal, "pthread_sigmask", None)  # not on Windows
    if mask is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing starts it with the first worker, and lets signals through then
    noted: list[int] = []
    handler = signal.signal(signal.SIGTERM, lambda number, _: noted.append(number))
    before = mask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        mask(signal.SIG_SETMASK, before)
        if noted:
            signal.raise_signal(signal.SIGTERM)


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
