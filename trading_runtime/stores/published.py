"""Publications in a store: where upstream leaves the live pool for us, read and never written by a cycle.

    FirestorePublished   a native document with one field for each of the payload's, as upstream's publisher writes it,
                         or one that ``publish`` wrote
    DocumentsPublished   JSON in any of our stores, as ``publish`` wrote it

Upstream's collection is no collection of ours: ``store.prefix`` is not put before it. What a publication means is
``artifacts/``'s.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.artifacts.ladder import Ladder
from trading_runtime.artifacts.payload import PayloadRules
from trading_runtime.artifacts.sources import LocalFile, Published, Upstream, parse_json
from trading_runtime.core.errors import ConfigurationError, StoreDamaged
from trading_runtime.core.hashing import sha256_hex
from trading_runtime.stores.documents import Conflict, Documents, checked_path
from trading_runtime.stores.firestore import REQUEST_SECONDS, FirestoreDocuments

if TYPE_CHECKING:
    from trading_runtime.config.cycle_schema import CycleSettings
    from trading_runtime.config.schema import PayloadSettings

# Beside the configuration, where settings name no file.
LOCAL_FILE = "artifacts/live_pool_legacy.json"


class DocumentsPublished:
    """What lies at ``collection/document`` of a store, the exact bytes included."""

    def __init__(self, documents: Documents, collection: str, document: str) -> None:
        self._documents = documents
        self._path = checked_path(f"{collection}/{document}")

    @property
    def label(self) -> str:
        return f"store {self._path}"

    def read(self) -> Published | None:
        found = self._documents.read(self._path)
        return None if found is None else Published(parse_json(found.content, self.label), found.content)

    def close(self) -> None:
        """Nothing of its own is open: the store belongs to whoever opened it."""


class FirestorePublished:
    """What lies at ``collection/document`` of Firestore. Requests, attempts and errors are those of
    ``FirestoreDocuments``; the library is loaded, and FIRESTORE_EMULATOR_HOST looked at, by the first ``read``.
    """

    def __init__(
        self,
        project: str,
        collection: str,
        document: str,
        database: str = "(default)",
        *,
        request_seconds: float = REQUEST_SECONDS,
    ) -> None:
        self._documents = _FirestoreFields(project, database, request_seconds=request_seconds)
        self._path = checked_path(f"{collection}/{document}")
        self._database = f"{project}/{database}"

    @property
    def label(self) -> str:
        return f"firestore {self._database} {self._path}"

    def read(self) -> Published | None:
        fields = self._documents.fields(self._path)
        if fields is None:
            return None
        # Fields of upstream's win: a publisher that merges its fields into a document of ours leaves our body behind.
        if "symbols" in fields or "body" not in fields:
            return Published(_plain(fields))
        body = fields["body"]
        content = body.encode() if isinstance(body, str) else body
        if not isinstance(content, bytes) or sha256_hex(content) != fields.get("sha256"):
            raise StoreDamaged(f"{self.label}: does not match its checksum; publish it again")
        return Published(parse_json(content, self.label), content)

    def close(self) -> None:
        """Release the connection, if there is one."""
        self._documents.close()


class _FirestoreFields(FirestoreDocuments):
    """Documents of other programs: their fields as they are."""

    def fields(self, path: str) -> dict[str, Any] | None:
        """Return the fields of a document, None when there is none; raises as ``read`` does."""
        reference = self._reference(path)
        snapshot = self._ask(path, lambda: self._snapshot(reference))
        return (snapshot.to_dict() or {}) if snapshot.exists else None


def publish(documents: Documents, collection: str, document: str, content: bytes) -> None:
    """Write a publication to ``collection/document``, in place of the one that is there: for local use. ``documents``
    must have no prefix.

    Raises ConfigurationError when what is there is not ours to replace or somebody else publishes at this moment,
    and what the store raises.
    """
    path = f"{collection}/{document}"
    try:
        there = documents.read(path)
    except StoreDamaged as error:
        raise ConfigurationError(
            f"{path} was published by another program ({error}): publish with that one, or name another "
            "artifact.document"
        ) from error
    try:
        if there is None:
            documents.create(path, content)
        elif there.content != content:
            documents.replace(path, content, there.version)
    except Conflict as conflict:
        raise ConfigurationError(f"{path}: somebody else published at the same time; look at it and try again") from (
            conflict
        )


def payload_rules(settings: PayloadSettings) -> PayloadRules:
    """Return the rules that settings describe."""
    return PayloadRules(settings.max_age_days, tuple(settings.acceptable_modes), settings.expected_size)


def open_upstream(settings: CycleSettings, documents: Documents) -> Upstream | None:
    """Return where upstream publishes for a cycle: the configured store's own service; None without an artifact.
    Raises ConfigurationError for names that no store takes.
    """
    artifact, store = settings.artifact, settings.store
    if artifact is None:
        return None
    try:
        if store.kind == "firestore" and store.project is not None:
            return FirestorePublished(store.project, artifact.collection, artifact.document, store.database)
        return DocumentsPublished(documents, artifact.collection, artifact.document)
    except ValueError as error:
        raise ConfigurationError(f"artifact.collection and artifact.document: {error}") from None


def open_ladder(settings: CycleSettings, folder: Path, documents: Documents) -> Ladder | None:
    """Return the ladder of a cycle whose configuration lies in ``folder``; None for a strategy without an artifact.
    Nothing is read yet.
    """
    artifact = settings.artifact
    if artifact is None:
        return None
    return Ladder(
        payload_rules(artifact),
        artifact.last_known_good_days_max,
        upstream=open_upstream(settings, documents),
        local=LocalFile(folder / (artifact.file if artifact.file is not None else LOCAL_FILE)),
        manifest=None if artifact.manifest_file is None else LocalFile(folder / artifact.manifest_file),
    )


def _plain(value: Any) -> Any:
    """Return Firestore's values as plain JSON. Its maps have no order: their keys are sorted, so that every read of
    one document gives one order.
    """
    if isinstance(value, dict):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return repr(value)  # bytes, places, references: no field of a payload, and tolerated like any unknown one
