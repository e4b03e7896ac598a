"""Objects in a store that speaks HTTP, through obstore: S3 and what is compatible with it, Google Cloud Storage.

The library's own retries are off: after a lost answer it would send a ``create`` again, be told that there is an
object, and nobody could tell whose. Here each request is sent once, and what its failure means decides (``failures``):

    create    not known         sent again; "there already" is then resolved by reading and comparing
              there already     believed once it was seen: 409 says it while another writer may still fail
    anything  temporary         again, after a growing wait, limited in attempts and seconds
              permanent         ConfigurationError

A server that ignores the condition of a ``create`` would overwrite in silence. So the first ``create`` of a process
first writes the same small object twice, and goes no further where both succeed. obstore is loaded with the first
request.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from trading_runtime.core.errors import ConfigurationError, TradingRuntimeError
from trading_runtime.objects.failures import Failure, failure_of
from trading_runtime.objects.port import ObjectMissing, ObjectsUnavailable, checked_key, checked_prefix, is_key

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore as Client

ATTEMPTS_MAX = 6
# No attempt begins later than this after the first one.
SECONDS_MAX = 120.0
# Before the second attempt; each next wait is twice as long, and each is shortened by up to a half, by chance: workers
# that were sent away together shall not come back together.
WAIT_SECONDS_FIRST = 0.5
WAIT_SECONDS_MAX = 8.0
# How many names a page of S3 and of Google Cloud Storage may hold.
_PAGE_NAMES = 1_000
# Begins with a dot: no key, never listed.
_PROBE = ".trading-runtime/put-if-absent"

# The process whose threads the library runs in. It has one set of them, and they do not live on in a forked child,
# where the first request would wait for ever.
_process: int | None = None

Answer = TypeVar("Answer")


class RemoteObjects:
    """Objects in the bucket that ``open_client`` opens. ``label`` names it without secrets; ``wait`` sleeps the given
    seconds.
    """

    def __init__(
        self, label: str, open_client: Callable[[], Client], *, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self.label = label
        self._open_client, self._wait = open_client, wait
        self._lock = threading.Lock()
        self._opened: Client | None = None
        self._creates_once = self._bucket_seen = False

    def get(self, key: str) -> bytes:
        import obstore

        client = self._client()
        checked_key(key)
        return self._ask(key, lambda: bytes(obstore.get(client, key).bytes()))

    def create(self, key: str, content: bytes) -> bool:
        client = self._client()
        checked_key(key)
        self._check_creates_once(client)
        attempts = _Attempts(self, key)
        unknown = False
        while True:
            failure = _put(client, key, content, "create")
            if failure is None:
                return True
            if failure.kind == "exists":
                if not unknown and self.exists(key):
                    return False
                if unknown and (ours := self._is_there(key, content)) is not None:
                    return ours
            elif failure.kind != "temporary":
                raise self._refused(key, failure)
            else:
                unknown = True
            attempts.again(failure)

    def put(self, key: str, content: bytes) -> None:
        client = self._client()
        checked_key(key)
        attempts = _Attempts(self, key)
        while (failure := _put(client, key, content, "overwrite")) is not None:
            if failure.kind == "permanent":
                raise self._refused(key, failure)
            attempts.again(failure)

    def exists(self, key: str) -> bool:
        import obstore

        client = self._client()
        checked_key(key)
        try:
            self._ask(key, lambda: obstore.head(client, key))
        except ObjectMissing:
            self._check_bucket(client)
            return False
        return True

    def keys(self, prefix: str) -> Iterator[str]:
        # checked now, not when the first key is asked for
        return self._keys(self._client(), checked_prefix(prefix))

    def delete(self, key: str) -> None:
        import obstore

        client = self._client()
        checked_key(key)
        try:
            self._ask(key, lambda: obstore.delete(client, key))
        except ObjectMissing:
            return

    def __repr__(self) -> str:
        return f"RemoteObjects({self.label!r})"

    def _client(self) -> Client:
        global _process
        with self._lock:
            if _process not in (None, os.getpid()):
                raise TradingRuntimeError(
                    f"{self.label}: this process was forked from one that used object storage, which cannot work; "
                    "start workers with spawn"
                )
            if self._opened is None:
                _process = os.getpid()
                self._opened = self._open_client()
            return self._opened

    def _ask(self, key: str, request: Callable[[], Answer]) -> Answer:
        """Return the answer to a request that may be sent twice."""
        attempts = _Attempts(self, key)
        while True:
            try:
                return request()
            except _library_errors() as error:
                failure = failure_of(error)
            if failure.kind == "missing":
                raise ObjectMissing(f"{self.label}: there is no {key}")
            if failure.kind == "permanent":
                raise self._refused(key, failure)
            attempts.again(failure)

    def _is_there(self, key: str, content: bytes) -> bool | None:
        """Whether these bytes are there; None when nothing is."""
        try:
            return self.get(key) == content
        except ObjectMissing:
            return None

    def _keys(self, client: Client, prefix: str) -> Iterator[str]:
        import obstore

        folder = prefix.rpartition("/")[0] or None
        last: str | None = None
        attempts = _Attempts(self, f"{prefix}*")
        pages = iter(obstore.list(client, folder, chunk_size=_PAGE_NAMES))
        while True:
            try:
                page: Sequence[ObjectMeta] | None = next(pages, None)
            except _library_errors() as error:
                failure = failure_of(error)
                if failure.kind != "temporary":
                    raise self._refused(f"{prefix}*", failure) from None
                attempts.again(failure)
                pages = iter(obstore.list(client, folder, offset=last, chunk_size=_PAGE_NAMES))
                continue
            if page is None:
                self._bucket_seen = True
                return
            attempts = _Attempts(self, f"{prefix}*")
            for meta in page:
                key = meta["path"]
                if last is not None and key <= last:
                    raise ConfigurationError(
                        f"{self.label}: lists its objects out of order, as directory buckets do; use a general purpose "
                        "bucket"
                    )
                last = key
                if key.startswith(prefix):
                    if is_key(key):
                        yield key
                elif key > prefix:
                    return

    def _check_bucket(self, client: Client) -> None:
        """Raise ConfigurationError when the whole bucket is missing: a question about one object does not tell that
        from an object that is not there.
        """
        import obstore

        if not self._bucket_seen:
            self._ask("its objects", lambda: next(iter(obstore.list(client, _PROBE)), None))
            self._bucket_seen = True

    def _check_creates_once(self, client: Client) -> None:
        with self._lock:
            if self._creates_once:
                return
            attempts = _Attempts(self, _PROBE)
            written = 0
            while not self._creates_once:
                failure = _put(client, _PROBE, b"%d\n" % written, "create")
                if failure is None:
                    written += 1
                    if written > 1:
                        raise ConfigurationError(
                            f"{self.label}: this server overwrites objects that must be written once (it ignores "
                            "If-None-Match); use a newer version of it, or another store"
                        )
                elif failure.kind == "exists":
                    self._creates_once = self._bucket_seen = True
                elif failure.kind != "temporary":
                    raise self._refused("its objects", failure)
                else:
                    attempts.again(failure)

    def _refused(self, key: str, failure: Failure) -> ConfigurationError:
        return ConfigurationError(f"{self.label}: {key}: {failure.text}")


class _Attempts:
    """The attempts at one request, limited in number and seconds."""

    def __init__(self, store: RemoteObjects, key: str) -> None:
        self._store, self._key = store, key
        self._failed = 0
        self._wait_seconds = WAIT_SECONDS_FIRST
        self._began = time.monotonic()

    def again(self, failure: Failure) -> None:
        """Wait before the next attempt; raises ObjectsUnavailable when there shall be none."""
        self._failed += 1
        late = time.monotonic() + self._wait_seconds > self._began + SECONDS_MAX
        if late or self._failed >= ATTEMPTS_MAX:
            raise ObjectsUnavailable(
                f"{self._store.label}: {self._key}: {failure.text} ({self._failed} attempts); try again later"
            ) from None
        self._store._wait(self._wait_seconds * (1 - random.random() / 2))
        self._wait_seconds = min(2 * self._wait_seconds, WAIT_SECONDS_MAX)


def _put(client: Client, key: str, content: bytes, mode: Any) -> Failure | None:
    """Send one object; None when it was written, otherwise why not."""
    import obstore

    try:
        obstore.put(client, key, content, mode=mode, use_multipart=False)
    except _library_errors() as error:
        failure = failure_of(error)
        if failure.kind == "missing":  # nothing can be missing for a write but where it goes
            return Failure("permanent", "there is no such bucket; create it, or correct the address")
        return failure
    return None


def _library_errors() -> tuple[type[Exception], ...]:
    """What the library raises; what our own code does wrong is not among it."""
    from obstore.exceptions import BaseError

    return (BaseError, FileNotFoundError)
