"""Documents in Google Cloud Firestore: the store that several machines share.

One Firestore document each, with four fields: ``body`` (the content as text, readable in the console), ``sha256`` over
it, ``name`` (the document's own, for listing from the end) and ``write_id`` (different for every attempt to write).

No transactions: ``create`` and ``update`` with the time of the last update as precondition. The library's own retries
are off, so that each request is sent once. A write without an answer is asked for by its ``write_id`` afterwards:

    found                                written
    a precondition failed, not found     Conflict
    anything else                        StoreUnavailable: it may still arrive

``write_id`` also keeps a write from changing nothing: Firestore leaves the time of the last update as it was then, and
two processes with the same content would both win. The library is loaded when the first document is asked for.
FIRESTORE_EMULATOR_HOST is respected by it.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from trading_runtime.core.errors import ConfigurationError, StoreDamaged, StoreUnavailable, TradingRuntimeError
from trading_runtime.core.hashing import sha256_hex
from trading_runtime.stores.documents import (
    Conflict,
    Document,
    checked_collection,
    checked_content,
    checked_path,
)

if TYPE_CHECKING:
    from google.cloud.firestore import Client, CollectionReference, DocumentReference, DocumentSnapshot

# Each request on its own; an ordinary one takes tens of milliseconds.
REQUEST_SECONDS = 10.0
ATTEMPTS_MAX = 4
# Before the second attempt to read; each next wait is twice as long.
WAIT_SECONDS_FIRST = 0.25
# How many names one answer may hold.
_PAGE_NAMES = 500
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,100}")
_ROLE = "roles/datastore.user"

Answer = TypeVar("Answer")


class FirestoreDocuments:
    """Documents in ``database`` of ``project``; ``collection_prefix`` is put before the first part of every path.

    Threads may share one; a process that was forked must open its own (gRPC's rule). Raises ConfigurationError for
    credentials or settings that are missing or refused, StoreUnavailable for everything that may pass. ``wait`` sleeps
    the given seconds.
    """

    def __init__(
        self,
        project: str,
        database: str = "(default)",
        collection_prefix: str = "",
        *,
        request_seconds: float = REQUEST_SECONDS,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        if not _PREFIX.fullmatch(collection_prefix):
            raise ConfigurationError(
                f"store.prefix: {collection_prefix!r} may have letters, digits, '.', '_' and '-' only, at most 100"
            )
        self._project, self._database, self._prefix = project, database, collection_prefix
        self._request_seconds, self._wait = request_seconds, wait
        self._lock = threading.Lock()
        self._opened: Client | None = None

    def read(self, path: str) -> Document | None:
        reference = self._reference(path)
        snapshot = self._ask(path, lambda: self._snapshot(reference))
        return self._document(path, snapshot) if snapshot.exists else None

    def create(self, path: str, content: bytes) -> str:
        reference, fields = self._reference(path), _fields(path, content)
        return self._write(
            path,
            fields["write_id"],
            None,
            lambda: reference.create(fields, retry=None, timeout=self._request_seconds).update_time,
        )

    def replace(self, path: str, content: bytes, version: str) -> str:
        reference, fields = self._reference(path), _fields(path, content)
        try:
            updated = _timestamp(version)
        except ValueError:
            raise Conflict(f"{path} was never at version {version!r}") from None
        option = self._client().write_option(last_update_time=updated)
        return self._write(
            path,
            fields["write_id"],
            version,
            lambda: reference.update(fields, option=option, retry=None, timeout=self._request_seconds).update_time,
        )

    def names(
        self, collection: str, *, first: str = "", last: str | None = None, newest: int | None = None
    ) -> list[str]:
        if newest is not None and newest < 0:
            raise ValueError(f"newest must not be negative: {newest}")
        reference = self._client().collection(self._prefix + checked_collection(collection))
        if newest is not None:
            return self._newest_names(collection, reference, first, last, newest)
        return self._all_names(collection, reference, first, last)

    def close(self) -> None:
        with self._lock:
            client, self._opened = self._opened, None
        if client is not None:
            client.close()  # type: ignore[no-untyped-call]

    # --- asking

    def _snapshot(self, reference: DocumentReference) -> DocumentSnapshot[Any]:
        snapshots = list(self._client().get_all([reference], retry=None, timeout=self._request_seconds))
        if len(snapshots) != 1:  # ``reference.get`` takes an empty answer for a document that is not there
            raise StoreUnavailable(f"{self._place}: gave {len(snapshots)} answers to one question")
        return snapshots[0]

    def _document(self, path: str, snapshot: DocumentSnapshot[Any]) -> Document:
        fields = snapshot.to_dict() or {}
        body = fields.get("body")
        content = body.encode() if isinstance(body, str) else body
        if not isinstance(content, bytes) or sha256_hex(content) != fields.get("sha256"):
            raise StoreDamaged(f"{self._place}: {path} does not match its checksum; restore it from a backup")
        return Document(content, snapshot.update_time.rfc3339())

    def _all_names(self, path: str, collection: CollectionReference, first: str, last: str | None) -> list[str]:
        """Ascending by document name, which needs no field and so leaves no document out."""
        names: list[str] = []
        query = collection.order_by("__name__").select([]).limit(_PAGE_NAMES)
        if first:
            query = query.where(filter=_compared("__name__", ">=", collection.document(first)))
        if last is not None:
            if not last:
                return names
            query = query.where(filter=_compared("__name__", "<=", collection.document(last)))
        while True:
            page = query if not names else query.start_after({"__name__": collection.document(names[-1])})
            found = self._ask(path, partial(page.get, retry=None, timeout=self._request_seconds))
            names.extend(snapshot.id for snapshot in found)
            if len(found) < _PAGE_NAMES:
                return names

    def _newest_names(
        self, path: str, collection: CollectionReference, first: str, last: str | None, newest: int
    ) -> list[str]:
        """Descending by the field ``name``: descending by document name would need an index of its own, while every
        field has one in both directions by itself.
        """
        if newest == 0:
            return []
        query = collection.order_by("name", direction="DESCENDING").select(["name"]).limit(newest)
        if first:
            query = query.where(filter=_compared("name", ">=", first))
        if last is not None:
            query = query.where(filter=_compared("name", "<=", last))
        found = self._ask(path, partial(query.get, retry=None, timeout=self._request_seconds))
        return [snapshot.id for snapshot in reversed(list(found))]

    def _ask(self, path: str, question: Callable[[], Answer]) -> Answer:
        """Return the answer to a question that changes nothing, asked again after what may pass."""
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError

        pause = WAIT_SECONDS_FIRST
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return question()
            except (GoogleAPICallError, GoogleAuthError, StoreUnavailable) as error:
                told = self._told(path, error)
                if not isinstance(told, StoreUnavailable) or attempt == ATTEMPTS_MAX:
                    raise told from error
            self._wait(pause)
            pause *= 2.0
        raise AssertionError("the last attempt returns or raises")

    # --- writing

    def _write(self, path: str, write_id: str, replaced: str | None, request: Callable[[], Any]) -> str:
        """Send one write once and return the new version; ``replaced`` is the version it needs, None to create."""
        from google.api_core.exceptions import (
            AlreadyExists,
            FailedPrecondition,
            GoogleAPICallError,
            InvalidArgument,
            NotFound,
        )
        from google.auth.exceptions import GoogleAuthError

        try:
            return str(request().rfc3339())
        except (GoogleAPICallError, GoogleAuthError) as error:
            told = self._told(path, error)
            # A version later than the stored one, as after a restored backup, is an invalid argument.
            ambiguous = replaced is not None and isinstance(error, InvalidArgument)
            refused = isinstance(error, (AlreadyExists, FailedPrecondition, NotFound))
            if not refused and not ambiguous and not isinstance(told, StoreUnavailable):
                raise told from error
            found, version = self._last_write(path)
            if found == write_id and version is not None:
                return version
            if refused or (ambiguous and version != replaced):
                raise Conflict(f"{path}: is not as it was believed to be ({type(error).__name__})") from error
            if ambiguous:
                raise told from error
            raise StoreUnavailable(f"{told}; it is not known whether {path} was written") from error

    def _last_write(self, path: str) -> tuple[str | None, str | None]:
        """Return the ``write_id`` and the version of the document as it is now."""
        reference = self._reference(path)
        snapshot = self._ask(path, lambda: self._snapshot(reference))
        if not snapshot.exists:
            return None, None
        return (snapshot.to_dict() or {}).get("write_id"), str(snapshot.update_time.rfc3339())

    # --- opening, and telling what went wrong

    def _reference(self, path: str) -> DocumentReference:
        return self._client().document(self._prefix + checked_path(path))

    def _client(self) -> Client:
        with self._lock:
            if self._opened is None:
                from google.auth.exceptions import GoogleAuthError
                from google.cloud.firestore import Client

                try:
                    self._opened = Client(project=self._project, database=self._database)
                except GoogleAuthError as error:
                    raise self._told("", error) from error
                except ValueError as error:
                    raise ConfigurationError(f"{self._place}: cannot be opened: {_one_line(error)}") from error
            return self._opened

    @property
    def _place(self) -> str:
        return f"firestore {self._project}/{self._database}"

    def _told(self, path: str, error: Exception) -> TradingRuntimeError:
        """Return what an error means for people: settings and rights, or something that may pass."""
        from google.api_core import exceptions
        from google.auth.exceptions import GoogleAuthError

        if isinstance(error, TradingRuntimeError):
            return error
        if isinstance(error, GoogleAuthError):
            if error.retryable:
                return StoreUnavailable(f"{self._place}: no credentials at the moment ({type(error).__name__})")
            return ConfigurationError(
                f"{self._place}: there are no valid credentials ({type(error).__name__}); set "
                f"GOOGLE_APPLICATION_CREDENTIALS or run where an identity with {_ROLE} is given"
            )
        if isinstance(error, (exceptions.PermissionDenied, exceptions.Unauthenticated)):
            return ConfigurationError(
                f"{self._place}: this identity may not use the database; grant it {_ROLE} ({_one_line(error)})"
            )
        if isinstance(error, exceptions.NotFound):  # of a question: documents that are missing are no error there
            return ConfigurationError(f"{self._place}: there is no such database; create it in Firestore's native mode")
        if isinstance(error, (exceptions.InvalidArgument, exceptions.FailedPrecondition)):
            return ConfigurationError(f"{self._place}: refuses {path}: {_one_line(error)}")
        return StoreUnavailable(f"{self._place}: {_one_line(error)}")


def _fields(path: str, content: bytes) -> dict[str, Any]:
    """Return what is stored. Text where the bytes are text, so that a person can read it."""
    content = bytes(checked_content(checked_path(path), content))
    body: str | bytes
    try:
        body = content.decode()
    except UnicodeDecodeError:
        body = content
    return {
        "body": body,
        "sha256": sha256_hex(content),
        "name": path.rpartition("/")[2],
        "write_id": secrets.token_hex(16),
    }


def _timestamp(version: str) -> Any:
    """Return the moment that a version names, to the nanosecond: a plain datetime would end at microseconds."""
    from google.api_core.datetime_helpers import DatetimeWithNanoseconds

    return DatetimeWithNanoseconds.from_rfc3339(version).timestamp_pb()  # type: ignore[no-untyped-call]


def _compared(field: str, operator: str, value: object) -> Any:
    from google.cloud.firestore import FieldFilter

    return FieldFilter(field, operator, value)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
