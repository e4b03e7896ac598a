"""How many shards a sweep is divided into: large enough that starting them costs little, small enough to lose one.

A pod costs 5 to 15 seconds before its command starts and several writes to the API server, so 10 minutes of work keep
that below 3 %. Pure arithmetic, of which ``plan --measure`` and ``argo submit`` share every line; the cost of a cell is
measured elsewhere (``measure.py``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from trading_runtime.core.errors import ConfigurationError

SHARDS_MAX = 500  # beyond, the workflow's own object nears the 1 MiB that Kubernetes stores
SHARD_SECONDS = 600.0


@dataclass(frozen=True)
class Sizing:
    """A number of shards and, when a cell's cost is known, how long each takes. ``is_learning``: a search by Optuna."""

    shards: int
    cells: int
    shard_seconds: float | None
    is_learning: bool = False

    def __str__(self) -> str:
        if self.is_learning:
            return f"{self.cells} cells in 1 shard: Optuna learns from every result, so that one pod computes them all"
        each = math.ceil(self.cells / self.shards)
        time = "of unknown length" if self.shard_seconds is None else f"of about {_minutes(self.shard_seconds)}"
        return f"{self.cells} cells in {self.shards} shard(s) {time}, at most {each} cells each"


def size_shards(
    cells: int,
    cell_seconds: float | None,
    *,
    workers: int = 1,
    wanted: int | None = None,
    deadline_seconds: float | None = None,
) -> Sizing:
    """Return how ``cells`` of ``cell_seconds`` (processor time of one) are shared among pods of ``workers`` processes:
    shards = clamp(ceil(all processor seconds / workers / 600), 1, min(500, cells)), or as many as are ``wanted``.

    Raises ConfigurationError for numbers that make no sense: more shards than cells, shards that outlast
    ``deadline_seconds``, no measurement where one is needed.
    """
    if cells < 1:
        raise ConfigurationError(f"a sweep of {cells} cells has nothing to share among pods")
    if workers < 1:
        raise ConfigurationError(f"{workers} workers cannot compute anything")
    if cell_seconds is not None and not 0.0 <= cell_seconds < math.inf:
        raise ConfigurationError(f"a cell cannot take {cell_seconds} seconds: measure it again")
    if wanted is not None:
        if not 1 <= wanted <= SHARDS_MAX:
            raise ConfigurationError(f"--shards: must be from 1 to {SHARDS_MAX}, not {wanted}")
        if wanted > cells:
            raise ConfigurationError(f"--shards: {wanted} shards of {cells} cells: some would have nothing to do")
        shards = wanted
    elif cell_seconds is None:
        raise ConfigurationError("the cost of a cell is not known: give --shards N, or let the plan measure it")
    else:
        shards = min(max(math.ceil(cells * cell_seconds / workers / SHARD_SECONDS), 1), SHARDS_MAX, cells)
    if cell_seconds is None:
        return Sizing(shards, cells, None)
    shard_seconds = math.ceil(math.ceil(cells / shards) / workers) * cell_seconds
    if deadline_seconds is not None and shard_seconds > deadline_seconds:
        raise ConfigurationError(
            f"{cells} cells in {shards} shards take {_minutes(shard_seconds)} each, longer than their deadline of "
            f"{_minutes(deadline_seconds)}: use more shards or workers, fewer cells (coarse first, then fine), or "
            "raise sweep.shard_seconds"
        )
    return Sizing(shards, cells, shard_seconds)


def refuse_shards_of_learning(wanted: int | None) -> None:
    """Raise ConfigurationError when a search that learns is to be shared among pods."""
    if wanted is not None and wanted != 1:
        raise ConfigurationError(
            f"--shards {wanted}: Optuna learns from every result, so that one pod computes the whole search: leave "
            "--shards out, and give that pod processors (sweep.workers and sweep.shard_size.cpu of the settings)"
        )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"
