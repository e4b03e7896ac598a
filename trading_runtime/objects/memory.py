"""Objects in this process's memory: for tests and what need not outlive the process. Threads may share one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from trading_runtime.objects.port import ObjectMissing, checked_key, checked_prefix


class MemoryObjects:
    """Objects that are gone with the process."""

    def __init__(self, name: str = "") -> None:
        self.label = f"memory://{name}"
        self._lock = threading.Lock()
        self._objects: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        with self._lock:
            content = self._objects.get(checked_key(key))
        if content is None:
            raise ObjectMissing(f"{self.label}: there is no {key}")
        return content

    def create(self, key: str, content: bytes) -> bool:
        checked_key(key)
        with self._lock:
            if key in self._objects:
                return False
            self._objects[key] = bytes(content)
            return True

    def put(self, key: str, content: bytes) -> None:
        checked_key(key)
        with self._lock:
            self._objects[key] = bytes(content)

    def exists(self, key: str) -> bool:
        with self._lock:
            return checked_key(key) in self._objects

    def keys(self, prefix: str) -> Iterator[str]:
        checked_prefix(prefix)
        with self._lock:
            found = sorted(key for key in self._objects if key.startswith(prefix))
        return iter(found)

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(checked_key(key), None)

    def __repr__(self) -> str:
        return f"MemoryObjects({self.label!r})"
