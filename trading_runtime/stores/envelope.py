"""How every stored document looks: canonical JSON with a schema version, and a SHA-256 over everything else in it.

    {"schema_version": 1, ..., "sha256": "..."}

The bytes themselves are canonical: a document that was reformatted by hand is damaged like one that was altered. This
rule holds for every schema version, so that a newer document can be told from a damaged one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from trading_runtime.core.errors import ConfigurationError, HaltError, StoreDamaged
from trading_runtime.core.hashing import canonical_json, sha256_hex
from trading_runtime.stores.documents import checked_name

# Below what a store takes (documents.DOCUMENT_BYTES_MAX), so that what grows is noticed here, with its name.
CONTENT_BYTES_MAX = 400 * 1024


class DocumentTooLarge(HaltError):
    """Something would be stored that has grown beyond what a document may have. Nothing was written."""


class Opened(NamedTuple):
    """A verified document: ``content`` without version and checksum."""

    content: dict[str, Any]
    schema_version: int
    sha256: str


def seal(path: str, content: Mapping[str, Any], schema_version: int) -> tuple[bytes, str]:
    """Return the document's bytes and their ``sha256``; raises DocumentTooLarge naming ``path``, ValueError for what
    is no JSON or uses the names of the envelope.
    """
    if "schema_version" in content or "sha256" in content:
        raise ValueError(f"{path}: 'schema_version' and 'sha256' belong to the envelope")
    rest = {**content, "schema_version": schema_version}
    checksum = sha256_hex(canonical_json(rest))
    raw = canonical_json({**rest, "sha256": checksum})
    if len(raw) > CONTENT_BYTES_MAX:
        raise DocumentTooLarge(
            f"{path}: {len(raw)} bytes are more than the {CONTENT_BYTES_MAX} a document may have; nothing was written"
        )
    return raw, checksum


def open_sealed(path: str, raw: bytes, schema_version: int) -> Opened:
    """Return what ``seal`` was given. Raises StoreDamaged naming ``path`` when a single byte is not as it was written,
    ConfigurationError when it was written by a program newer than ``schema_version``.
    """
    try:
        value = json.loads(raw)
        intact = isinstance(value, dict) and canonical_json(value) == raw
    except (ValueError, RecursionError) as error:
        raise StoreDamaged(f"{path}: is not readable ({type(error).__name__}); restore it from a backup") from error
    if not intact:
        raise StoreDamaged(f"{path}: is not as this program writes documents; restore it from a backup")
    checksum = value.pop("sha256", None)
    if checksum != sha256_hex(canonical_json(value)):
        raise StoreDamaged(f"{path}: does not match its checksum; restore it from a backup")
    found = value.pop("schema_version", None)
    if type(found) is not int or found < 1:
        raise StoreDamaged(f"{path}: has no schema version; restore it from a backup")
    if found > schema_version:
        raise ConfigurationError(
            f"{path}: was written by a newer program (schema {found}, this one knows {schema_version}); "
            "use that program"
        )
    return Opened(value, found, checksum)


def owner_name(account: str, strategy: str) -> str:
    """Return the part of a path that belongs to one strategy on one account: ``main.sma_cross``.

    ``module:Class`` becomes ``module-Class``; what is stored names both in full. Raises ValueError for an account with
    a dot, which would make two owners look alike, and for what cannot be part of a path.
    """
    if "." in account or not account or not strategy:
        raise ValueError(f"not an account and a strategy: {account!r}, {strategy!r}")
    return checked_name(f"{account}.{strategy.replace(':', '-')}")
