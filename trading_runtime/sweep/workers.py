"""Cells on several processes: one pipe each, chunks of cells out, counts back.

Workers are spawned, never forked (a store's connections and threads do not survive that), open the store themselves,
and write results themselves. A worker whose parent has gone finds its pipe closed and ends; a parent whose worker was
killed says so and ends: everything written by then is whole, and the next run goes on from there.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from trading_runtime.core.errors import (
    ConfigurationError,
    TemporaryError,
    TradingRuntimeError,
)
from trading_runtime.core.timeframes import timeframe_ms
from trading_runtime.objects.open import open_objects
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.runner import Done, Runner
from trading_runtime.sweep.spec import Sweep, load_sweep_spec

CHUNK_MAX = 512
# A chunk should take about this long: long enough that pipes do not matter, short enough that progress is seen.
CHUNK_SECONDS = 1.0
_ENDING_SECONDS = 5.0
# What the choice of workers goes by, measured roughly (docs/scaling.md): only time depends on it, never a result.
_WORKER_START_SECONDS = 1.5
_COMPILED_BARS_PER_SECOND = 4e8
_COMPILED_CELL_SECONDS = 1e-4
_GENERAL_BARS_PER_SECOND = 1e6

Progress = Callable[[Done], None]


@dataclass(frozen=True)
class Job:
    """What a worker must know to open the sweep by itself; plain values, they travel to another process."""

    address: str
    sweep_id: str
    strategy: str | None
    retry_failed: bool
    expected: int


def workers_for(sweep: Sweep, cells: int) -> int:
    """Return how many processes ``cells`` of a sweep are worth: each has to start before it computes, and no more than
    there are processors.
    """
    period_ms = sum(period.end_ms - period.start_ms for period in sweep.periods) // len(sweep.periods)
    candles = [one for one in sweep.content["origin"]["manifests"] if "timeframe" in one]
    bars = sum(min(int(one["rows"]), period_ms // timeframe_ms(one["timeframe"])) for one in candles)
    if sweep.kind.targets is None:
        seconds = cells * bars / _GENERAL_BARS_PER_SECOND
    else:
        seconds = cells * (bars / _COMPILED_BARS_PER_SECOND + _COMPILED_CELL_SECONDS)
    return max(1, min(_processors(), int(seconds / _WORKER_START_SECONDS)))


def _processors() -> int:
    """Return how many processors this process may use, as far as the system says it."""
    may_use = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(may_use(0)) if may_use is not None else os.cpu_count() or 1


class Pool:
    """Runs chunks of cells on ``workers`` processes, or in this one when that is 1. Use it in a ``with`` block."""

    def __init__(self, job: Job, store: ObjectStore, sweep: Sweep, workers: int) -> None:
        if workers < 1:
            raise ConfigurationError(f"--workers must be at least 1, not {workers}")
        if workers > 1 and job.address.startswith("memory:"):
            raise ConfigurationError("a store in memory belongs to one process: use --workers 1 or a folder")
        self._job = job
        self._sweep = sweep
        self._store = store
        self._workers = workers
        self._own: Runner | None = None
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> Pool:
        if self._workers > 1:
            context = multiprocessing.get_context("spawn")
            for number in range(self._workers):
                mine, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(theirs, self._job), name=f"sweep-worker-{number}", daemon=True
                )
                process.start()
                theirs.close()  # so that the worker's end is the only one, and its death closes it
                self._processes.append(process)
                self._pipes.append(mine)
        return self

    def __exit__(self, *reason: object) -> None:
        if self._own is not None:
            gc.unfreeze()
        for pipe in self._pipes:
            pipe.close()
        interrupted = reason[0] is not None
        for process in self._processes:
            if interrupted:
                process.terminate()
            process.join(_ENDING_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()

    def run(self, indices: Iterable[int], progress: Progress | None = None) -> Done:
        """Run cells and return what became of them; ``progress`` is told the same now and then."""
        chunks = _Chunks(self._sweep, indices)
        total = Done()
        for done in self._in_process(chunks) if self._workers == 1 else self._on_processes(chunks):
            total = total.plus(done)
            if progress is not None:
                progress(total)
        return total

    def learn(self, places: list[int]) -> None:
        """Tell this process and all workers which combinations an Optuna search has decided so far."""
        for pipe in self._pipes:
            pipe.send(("places", places))

    def _in_process(self, chunks: _Chunks) -> Iterator[Done]:
        if self._own is None:
            job = self._job
            self._own = Runner(self._store, self._sweep, retry_failed=job.retry_failed, expected=job.expected)
            gc.freeze()  # as in a worker, while cells are computed
        while chunk := chunks.take():
            started = time.monotonic()
            yield self._own.run(chunk)
            chunks.took(len(chunk), time.monotonic() - started)

    def _on_processes(self, chunks: _Chunks) -> Iterator[Done]:
        busy: dict[Connection, tuple[int, float]] = {}

        def give(pipe: Connection) -> None:
            chunk = chunks.take()
            if chunk:
                pipe.send(("cells", chunk))
                busy[pipe] = (len(chunk), time.monotonic())

        try:
            for pipe in self._pipes:
                give(pipe)
            while busy:
                for ready in wait(list(busy)):
                    assert isinstance(ready, Connection)
                    done = _received(ready.recv())
                    count, started = busy.pop(ready)
                    chunks.took(count, time.monotonic() - started)
                    give(ready)
                    yield done
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise TemporaryError(self._what_ended()) from None

    def _what_ended(self) -> str:
        for process in self._processes:
            process.join(0.2)
            if process.exitcode is not None:
                code = process.exitcode
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                hint = " (out of memory? use fewer --workers)" if code == -signal.SIGKILL else ""
                return f"{process.name} ended with {how}{hint}; what it had written is kept: run it again"
        return "a worker closed its pipe; what it had written is kept: run it again"


class _Chunks:
    """Cuts indices into chunks of one period that take about ``CHUNK_SECONDS``."""

    def __init__(self, sweep: Sweep, indices: Iterable[int]) -> None:
        self._combinations = sweep.combinations
        self._indices = iter(indices)
        self._held: list[int] = []
        self._size = 1

    def take(self) -> list[int]:
        """Return the next chunk; empty at the end."""
        need = self._size - len(self._held)
        if need > 0:
            self._held.extend(islice(self._indices, need))
        if not self._held:
            return []
        period = self._held[0] // self._combinations
        count = 0
        while count < min(self._size, len(self._held)) and self._held[count] // self._combinations == period:
            count += 1
        chunk, self._held = self._held[:count], self._held[count:]
        return chunk

    def took(self, count: int, seconds: float) -> None:
        """Learn from a finished chunk; only the size of later ones depends on it, never a result."""
        if seconds < CHUNK_SECONDS / 2 and count >= self._size:
            self._size = min(CHUNK_MAX, self._size * 4)
        elif seconds > 2 * CHUNK_SECONDS:
            self._size = max(1, self._size // 2)


def _work(pipe: Connection, job: Job) -> None:
    """The whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        runner: Runner | None = None
        store = open_objects(job.address, os.environ)
        sweep = load_sweep_spec(store, job.sweep_id, strategy=job.strategy)
        while True:
            kind, content = pipe.recv()
            if kind == "places":
                import numpy as np

                sweep.places = np.array(content, dtype=np.int64)
                continue
            if runner is None:
                runner = Runner(store, sweep, retry_failed=job.retry_failed, expected=job.expected)
                gc.freeze()  # what is loaded stays: searching it for garbage takes the time of cells
            pipe.send(tuple(runner.run(content)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has gone or has no more work
    except TradingRuntimeError as error:
        _tell(pipe, error)
    except Exception as error:  # noqa: BLE001 -- a defect: told with its place and raised where a person sees it
        import traceback

        _tell(pipe, RuntimeError("".join(traceback.format_exception(error))))


def _tell(pipe: Connection, error: Exception) -> None:
    try:
        pipe.send(error)
    except (BrokenPipeError, ConnectionResetError):
        return  # nobody is there to be told


def _received(answer: Any) -> Done:
    if isinstance(answer, Exception):
        raise answer
    return Done(*answer)
