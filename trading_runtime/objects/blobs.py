"""Blobs: bytes whose key is their SHA-256, checked every time they are read. Equal bytes are stored once."""

from __future__ import annotations

import re

from trading_runtime.core.hashing import sha256_hex
from trading_runtime.objects.port import ObjectDamaged, ObjectMissing, ObjectStore

_DIGEST = re.compile(r"[0-9a-f]{64}")


def blob_key(digest: str) -> str:
    """Return where the bytes with this SHA-256 lie; raises ValueError for what is none."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"not a SHA-256 in lower-case hexadecimal digits: {digest!r}")
    return f"blobs/sha256/{digest[:2]}/{digest}"


def put_blob(store: ObjectStore, content: bytes) -> str:
    """Store the bytes and return their digest. Bytes that are there already are read and, if damaged, replaced: whoever
    has the content repairs it.
    """
    digest = sha256_hex(content)
    key = blob_key(digest)
    if store.create(key, content):
        return digest
    try:
        intact = sha256_hex(store.get(key)) == digest
    except ObjectMissing:  # somebody found it damaged and removed it meanwhile
        store.create(key, content)
        return digest
    if not intact:
        store.delete(key)
        store.create(key, content)
    return digest


def get_blob(store: ObjectStore, digest: str) -> bytes:
    """Return the bytes with this digest; raises ObjectMissing, and ObjectDamaged when what is there has another one.

    Read a second time before that is said: a body may also be spoilt on its way.
    """
    key = blob_key(digest)
    for _ in range(2):
        content = store.get(key)
        if sha256_hex(content) == digest:
            return content
    raise ObjectDamaged(f"{store.label}: {key} is damaged: it does not match its digest; plan again where the data is")
