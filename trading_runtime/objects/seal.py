"""Sealed documents: canonical JSON that carries the SHA-256 of everything else in it.

    {..., "sha256": "..."}

One content has one text, so that two writers of the same result write the same bytes; one byte changed anywhere, also
white space, is damage. What the fields mean is the business of whoever writes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trading_runtime.core.hashing import canonical_json, sha256_hex
from trading_runtime.objects.port import ObjectDamaged

_CHECKSUM = "sha256"


def seal(content: Mapping[str, Any]) -> bytes:
    """Return the document's bytes; raises ValueError when ``content`` has a field "sha256", NaN or infinity, TypeError
    for what is no JSON.
    """
    if _CHECKSUM in content:
        raise ValueError(f"the field {_CHECKSUM!r} of a sealed document is its checksum")
    rest = dict(content)
    return canonical_json({**rest, _CHECKSUM: sha256_hex(canonical_json(rest))})


def unseal(key: str, raw: bytes) -> dict[str, Any]:
    """Return what ``seal`` was given (tuples as lists); raises ObjectDamaged naming ``key`` when a single byte is not
    as it was written.
    """
    try:
        value = json.loads(raw)
        intact = isinstance(value, dict) and canonical_json(value) == raw
    except (ValueError, RecursionError) as error:
        raise ObjectDamaged(f"{key}: is damaged: not readable ({type(error).__name__})") from None
    if not intact:
        raise ObjectDamaged(f"{key}: is damaged: not as this program writes documents")
    checksum = value.pop(_CHECKSUM, None)
    if checksum != sha256_hex(canonical_json(value)):
        raise ObjectDamaged(f"{key}: is damaged: it does not match its checksum")
    return dict(value)
