"""Which cells have a result in a store, from one listing instead of one question for each cell.

A listing names a thousand keys a request, and nothing is read: of a million cells of which a thousand are done, a
thousand are read. What a result holds is ``results``' matter.
"""

from __future__ import annotations

from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor

from trading_runtime.objects.many import THREADS
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.results import cell_key

_PREFIX = "cells/"
# Asking for a cell costs about as much as listing this many; and no listing is kept that is larger than the second.
_LISTED_PER_CELL = 50
_LISTED_LEAST = 10_000
_LISTED_MAX = 2_000_000  # keys in memory: about 200 MB


class Present(Container[str]):
    """The ids of the cells that have a result, sound or not, as the store said when this was made."""

    def __init__(self, ids: set[bytes]) -> None:
        self._ids = ids

    def __contains__(self, cell_id: object) -> bool:
        return isinstance(cell_id, str) and bytes.fromhex(cell_id) in self._ids


def present_cells(store: ObjectStore, count: int) -> Present | None:
    """Return which cells have a result, for ``count`` that will be looked for; None when the store holds so many more
    that asking for each is cheaper.
    """
    ids: set[bytes] = set()
    most = min(_LISTED_MAX, max(_LISTED_LEAST, _LISTED_PER_CELL * count))
    for key in store.keys(_PREFIX):
        name = key.rpartition("/")[2].removesuffix(".json")
        try:
            ids.add(bytes.fromhex(name))
        except ValueError:
            continue  # something else lies there
        if len(ids) > most:
            return None
    return Present(ids)


def count_of(store: ObjectStore, cell_ids: list[str], present: Present | None) -> int:
    """Return how many of some cells have a result."""
    if present is not None:
        return sum(one in present for one in cell_ids)
    with ThreadPoolExecutor(THREADS) as threads:
        return sum(threads.map(store.exists, map(cell_key, cell_ids)))
