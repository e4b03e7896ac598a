"""The pool: what upstream published, and the lock that keeps it the same until upstream publishes anew.

Order is upstream's, from the payload to the decision; nothing here ranks. Where an artifact comes from, whether it is
fresh and which of its symbols can be traded is decided before (``trading_runtime/artifacts``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from trading_runtime.core.errors import StrategyError


class Pool(NamedTuple):
    """The locked pool: ``symbols`` are traded (our names, upstream's order), ``official`` is all upstream named."""

    version: str
    as_of_date: str
    symbols: tuple[str, ...]
    official: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "as_of_date": self.as_of_date,
            "symbols": list(self.symbols),
            "official": list(self.official),
        }


class Publication(NamedTuple):
    """The artifact as this slot has it: its pool, and whether new positions may be based on it."""

    pool: Pool
    source_kind: str
    degraded: bool
    new_entries: bool


def publication_of(artifact: Any, reserved: Collection[str]) -> Publication | None:
    """Return what the artifact says, None when there is none. ``reserved`` symbols are never part of the pool: they
    belong to another sleeve. Raises StrategyError for something that is no artifact of a live pool.
    """
    if artifact is None:
        return None
    try:
        named = tuple(artifact["symbols"])
        symbols = tuple(symbol for index, symbol in enumerate(named) if named.index(symbol) == index)
        return Publication(
            Pool(
                str(artifact["version"]),
                str(artifact["as_of_date"]),
                tuple(symbol for symbol in symbols if symbol not in reserved),
                tuple(artifact["official_symbols"]),
            ),
            str(artifact["source_kind"]),
            artifact["degraded"] is not False,  # anything but a clear no is treated as degraded
            artifact["new_entries"] is True,
        )
    except (KeyError, TypeError) as error:
        raise StrategyError(f"the artifact is no live pool: {type(error).__name__}: {error}") from error


def locked_pool(kept: Mapping[str, Any] | None, publication: Publication | None) -> Pool | None:
    """Return the pool to trade: the kept one, unless upstream itself has published another version or date.

    A degraded source never replaces a lock; it only fills the place of a missing one. None: no pool is known.
    """
    lock = None
    if kept is not None:
        lock = Pool(kept["version"], kept["as_of_date"], tuple(kept["symbols"]), tuple(kept["official"]))
    if publication is None:
        return lock
    fresh = publication.pool
    if lock is None:
        return fresh
    changed = (fresh.version, fresh.as_of_date) != (lock.version, lock.as_of_date)
    return fresh if changed and not publication.degraded else lock
