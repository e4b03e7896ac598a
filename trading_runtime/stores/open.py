"""Opening a store from plain settings. Firestore's library is loaded only when Firestore is asked for."""

from __future__ import annotations

from pathlib import Path

from trading_runtime.core.errors import ConfigurationError, nearest_name
from trading_runtime.stores.documents import Documents

KINDS = ("sqlite", "firestore", "memory")


def open_documents(
    kind: str,
    *,
    path: str | Path | None = None,
    project: str | None = None,
    database: str = "(default)",
    prefix: str = "",
    create: bool = True,
) -> Documents:
    """Return the store of this ``kind``: "sqlite" at ``path`` (with ``create`` False it must be there already),
    "firestore" in ``project`` and ``database`` under collections that begin with ``prefix``, or "memory".

    Raises ConfigurationError for an unknown kind or what is missing, and what the store itself raises.
    """
    if kind == "memory":
        from trading_runtime.stores.memory import MemoryDocuments

        return MemoryDocuments()
    if kind == "sqlite":
        from trading_runtime.stores.sqlite import SqliteDocuments

        if not path:
            raise ConfigurationError("store.path: a sqlite store needs the path of its file")
        return SqliteDocuments(path, create=create)
    if kind == "firestore":
        from trading_runtime.stores.firestore import FirestoreDocuments

        if not project:
            raise ConfigurationError("store.project: a firestore store needs the id of its Google Cloud project")
        return FirestoreDocuments(project, database, prefix)
    near = nearest_name(kind, list(KINDS))
    hint = f"; did you mean {near}?" if near else ""
    raise ConfigurationError(f"store.kind: there is no store {kind!r}, there are {', '.join(KINDS)}{hint}")
