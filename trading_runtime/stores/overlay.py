"""Documents over other documents: reads fall through, writes stay in memory. A dry run sees its own writes and the
store underneath never does.

What others write underneath is seen until this process has written the same document itself.
"""

from __future__ import annotations

import threading

from trading_runtime.stores.documents import (
    Conflict,
    Document,
    Documents,
    checked_content,
    checked_path,
    selected_names,
)
from trading_runtime.stores.memory import MemoryDocuments

# Both kinds of versions are marked, so that one of the store below never passes for one of the memory above.
_ABOVE, _BELOW = "above-", "below-"


class OverlayDocuments:
    """``base`` as far as reading goes; ``close`` leaves it open, since it belongs to whoever opened it."""

    def __init__(self, base: Documents) -> None:
        self._base = base
        self._above = MemoryDocuments()
        self._lock = threading.Lock()

    def read(self, path: str) -> Document | None:
        above = self._above.read(path)
        if above is not None:
            return Document(above.content, _ABOVE + above.version)
        below = self._base.read(path)
        return None if below is None else Document(below.content, _BELOW + below.version)

    def create(self, path: str, content: bytes) -> str:
        checked_content(checked_path(path), content)
        with self._lock:
            if self.read(path) is not None:
                raise Conflict(f"{path} exists already")
            return _ABOVE + self._above.create(path, content)

    def replace(self, path: str, content: bytes, version: str) -> str:
        checked_content(checked_path(path), content)
        with self._lock:
            there = self.read(path)
            if there is None:
                raise Conflict(f"{path} is not there")
            if there.version != version:
                raise Conflict(f"{path} was changed meanwhile")
            if version.startswith(_BELOW):
                return _ABOVE + self._above.create(path, content)
            return _ABOVE + self._above.replace(path, content, version.removeprefix(_ABOVE))

    def names(
        self, collection: str, *, first: str = "", last: str | None = None, newest: int | None = None
    ) -> list[str]:
        above = self._above.names(collection, first=first, last=last, newest=newest)
        below = self._base.names(collection, first=first, last=last, newest=newest)
        return selected_names({*above, *below}, first, last, newest)

    def close(self) -> None:
        return None
