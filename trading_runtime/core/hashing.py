"""Canonical JSON and content hashes: the same content gives the same bytes on every machine and Python version.

Canonical JSON here: UTF-8, keys sorted, no white space, shortest float form (``repr``), no NaN or infinity.
Nothing in this file reads files or knows about strategies; see ``core/source.py`` for hashes of code.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of ``value``; raises ValueError for NaN, infinity or circular values, TypeError for keys
    that are no texts: JSON would turn 1 into "1", so that two values would share a text and not be read back.
    """
    text = _ENCODER.encode(value)  # before the keys: it ends on circular values
    _check_keys(value)
    return text.encode()


def _check_keys(value: Any) -> None:
    if isinstance(value, dict):
        if not _TEXT.issuperset(map(type, value)) and not all(isinstance(key, str) for key in value):
            raise TypeError(f"JSON's keys are texts: a mapping with keys {list(value)} changes when it is stored")
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for inner in value:
        if type(inner) not in _SCALARS:
            _check_keys(inner)


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of ``content`` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def json_hash(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``."""
    return sha256_hex(canonical_json(value))


def array_hash(*arrays: npt.NDArray[Any]) -> str:
    """Return the SHA-256 over shapes, kinds and little-endian bytes of the arrays, in the order given."""
    digest = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{little.dtype.str}{little.shape}".encode())
        digest.update(little.data if little.size else b"")
    return digest.hexdigest()
