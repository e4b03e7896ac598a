"""Sealed documents: canonical JSON that carries the SHA-256 of everything else in it.

    {..., "sha256": "..."}

One content has one text, so that two writers of the same result write the same bytes; one byte changed anywhere, also
white space, is damage. What the fields mean is the business of whoever writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from trading_runtime.core.hashing import canonical_json, sha256_hex
from trading_runtime.objects.port import ObjectDamaged

_CHECKSUM = "sha256"


class Fields(Mapping[str, Any]):
    """A document's fields, kept as the canonical JSON of each and read when they are asked for."""

    __slots__ = ("_read", "texts")

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self.texts = texts
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._read:
            self._read[name] = json.loads(self.texts[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)


def seal(content: Mapping[str, Any]) -> bytes:
    """Return the document's bytes; raises ValueError when ``content`` has a field "sha256", NaN or infinity, TypeError
    for what is no JSON.
    """
    return seal_texts({name: canonical_json(value) for name, value in content.items()})


def seal_texts(texts: Mapping[str, bytes]) -> bytes:
    """Return the bytes that ``seal`` returns, from the canonical JSON of each field: large ones are written once."""
    if _CHECKSUM in texts:
        raise ValueError(f"the field {_CHECKSUM!r} of a sealed document is its checksum")
    return object_text({**texts, _CHECKSUM: canonical_json(sha256_hex(object_text(texts)))})


def object_text(texts: Mapping[str, bytes]) -> bytes:
    """Return the canonical JSON of an object from the canonical JSON of each field. Raises TypeError for a field that
    is named by anything but a text.
    """
    for name in texts:
        if not isinstance(name, str):
            raise TypeError(f"JSON's keys are texts: {name!r} is none")
    return b"{" + b",".join([_field(name) + texts[name] for name in sorted(texts)]) + b"}"


@lru_cache(maxsize=1024)  # documents have few fields, and there are many documents
def _field(name: str) -> bytes:
    return canonical_json(name) + b":"


def unseal(key: str, raw: bytes) -> dict[str, Any]:
    """Return what ``seal`` was given (tuples as lists); raises ObjectDamaged naming ``key`` when a single byte is not
    as it was written.
    """
    return unseal_texts(key, raw)[0]


def unseal_texts(key: str, raw: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what ``unseal`` returns, and the canonical JSON of each field."""
    try:
        value = json.loads(raw)
        texts = {name: canonical_json(field) for name, field in value.items()} if isinstance(value, dict) else {}
        intact = bool(texts) and object_text(texts) == raw
    except (ValueError, RecursionError) as error:
        raise ObjectDamaged(f"{key}: is damaged: not readable ({type(error).__name__})") from None
    if not intact:
        raise ObjectDamaged(f"{key}: is damaged: not as this program writes documents")
    checksum = value.pop(_CHECKSUM, None)
    texts.pop(_CHECKSUM, None)
    if checksum != sha256_hex(object_text(texts)):
        raise ObjectDamaged(f"{key}: is damaged: it does not match its checksum")
    return value, texts
