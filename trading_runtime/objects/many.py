"""Many objects at once: a request to a store takes milliseconds of waiting, a file that must outlive a power cut too.

Threads that wait side by side; results come in the order asked for, whoever is done first.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.objects.port import ObjectMissing, ObjectStore

THREADS = 16
# How many requests may be begun before the first result is taken, for each thread: bounds the memory.
_AHEAD = 4
# Objects whose writing tells whether it is waiting: for each this long, and a local disk is ten times as fast.
_SAMPLE = 8
_WAITED_SECONDS = 0.001

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def create_many(
    store: ObjectStore, objects: Iterable[tuple[str, bytes]], *, threads: int = THREADS, recomputable: bool = False
) -> list[bool]:
    """Return for each (key, content), in the order given, what ``store.create`` says. The first error is raised; what
    was begun by then is finished, the rest is not begun.

    ``recomputable`` is for objects that can be made again and are checked whenever they are read, and for nothing else:
    see ``port.py``.
    """
    if recomputable and isinstance(store, FolderObjects):
        return _create_in_folder(store, list(objects), threads)
    if isinstance(store, MemoryObjects):  # nothing to wait for
        return [store.create(key, content) for key, content in objects]
    return list(_in_order(lambda pair: store.create(*pair), objects, threads))


def _create_in_folder(store: FolderObjects, objects: list[tuple[str, bytes]], threads: int) -> list[bool]:
    """Write one after the other, for that takes a local disk's folder less time than threads do; with threads when the
    first few show that writing is waiting, as it is on the folder of another machine.
    """
    first, rest = objects[:_SAMPLE], objects[_SAMPLE:]
    before = time.monotonic() - time.thread_time()
    created = store.create_recomputable(first)
    waited = time.monotonic() - time.thread_time() - before
    if not rest or waited < _WAITED_SECONDS * len(first):
        return created + store.create_recomputable(rest)
    parts = [rest[start : start + _SAMPLE] for start in range(0, len(rest), _SAMPLE)]
    return created + [one for part in _in_order(store.create_recomputable, parts, threads) for one in part]


def get_many(store: ObjectStore, keys: Iterable[str], *, threads: int = THREADS) -> Iterator[tuple[str, bytes | None]]:
    """Yield each key, in the order given, with its object, None where there is none. Errors as ``create_many``."""

    def read(key: str) -> tuple[str, bytes | None]:
        try:
            return key, store.get(key)
        except ObjectMissing:
            return key, None

    return _in_order(read, keys, threads)


def _in_order(work: Callable[[Asked], Answer], items: Iterable[Asked], threads: int) -> Iterator[Answer]:
    if threads < 1:
        raise ValueError(f"threads must be at least 1: {threads}")
    return _worked(work, items, threads)


def _worked(work: Callable[[Asked], Answer], items: Iterable[Asked], threads: int) -> Iterator[Answer]:
    pool = ThreadPoolExecutor(threads, thread_name_prefix="objects")
    begun: deque[Future[Answer]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            if len(begun) >= threads * _AHEAD:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
