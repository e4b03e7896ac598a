"""The port every object store implements: bytes under keys, put-if-absent, listing. Nothing else is needed.

    sealed documents, blobs  ──►  ObjectStore  ──►  folder · S3-compatible · Google Cloud Storage · memory

An object is whole or not there: no reader ever sees a part of one. ``create`` is the only way results are written, so
that whatever is there was written once. ``put`` is for views that can be made again, ``delete`` for what is damaged.
What the bytes mean is the business of the files beside this one.

What is written outlives a power cut, as far as the store itself promises that. Waiting for a disk costs more than
computing a small result does, so ``many.create_many`` has ``recomputable``, for objects that can be made again and
carry a check of their own. All else still holds for these (written once; whole or not there for every reader, whoever
is killed), but after a power cut one may be gone, cut off or empty: whoever reads it must check it, and delete and
create it again when it is damaged. A folder makes use of this; other stores write such objects like any other.

A key is parts of the characters A-Z, a-z, 0-9, ``.``, ``_``, ``=`` and ``-``, joined by ``/``. No part begins with a
dot: those names are the stores' own. A key is never a folder of other keys: with ``a/b`` there can be no ``a``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from trading_runtime.core.errors import DataError, TemporaryError

# S3 and Google Cloud Storage stop at 1,024 bytes with the store's prefix; file systems at 255 bytes a part.
KEY_LENGTH_MAX = 700
_PART = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199}")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199}/)*(?:[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199})?")


class ObjectMissing(DataError):
    """There is no object under this key."""


class ObjectDamaged(DataError):
    """An object is not as it was written: not readable, or not matching its digest."""


class ObjectsUnavailable(TemporaryError):
    """The store cannot be reached, read or written now. What was to be written may or may not be there: repeating the
    same ``create``, ``put`` or ``delete`` is safe.
    """


class ObjectStore(Protocol):
    """Objects by key. Threads may share one; a process that was forked must open its own, where that is possible at all
    (``remote``): start workers with spawn and give them the address.

    Every method raises ObjectsUnavailable when the store cannot be asked, after a limited number of attempts;
    ConfigurationError when it refuses (credentials, a bucket that is not there); OutputError when the disk is full;
    ValueError for a key that no store takes. None of their texts contains a secret.
    """

    @property
    def label(self) -> str:
        """Where the objects are, as people write it; without secrets."""
        ...

    def get(self, key: str) -> bytes:
        """Return the object; raises ObjectMissing. Reads what was last written, by whomever."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Write a new object. True: it was written now; False: there was one already, and it was not touched.

        Of several writers at once exactly one is told True. Only when an answer got lost on the way and the store is
        then found to hold these very bytes is that a True as well: whose bytes they are, nobody can tell.
        """
        ...

    def put(self, key: str, content: bytes) -> None:
        """Write an object, over the one that may be there."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is an object under this key."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield every key that begins with ``prefix``, ascending by byte, page by page; all of them for "".

        Cheapest where ``prefix`` ends with ``/``. What is written or deleted meanwhile may or may not be among them.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none."""
        ...


def is_key(text: str) -> bool:
    """Whether every store takes ``text`` as a key."""
    return len(text) <= KEY_LENGTH_MAX and all(map(_PART.fullmatch, text.split("/")))


def checked_key(key: str) -> str:
    """Return the key; raises ValueError when no store would take it."""
    if not is_key(key):
        raise ValueError(f"not the key of an object: {key!r}")
    return key


def checked_prefix(prefix: str) -> str:
    """Return the beginning of keys; raises ValueError when no key can begin with it."""
    if len(prefix) > KEY_LENGTH_MAX or not _PREFIX.fullmatch(prefix):
        raise ValueError(f"no key of an object begins with {prefix!r}")
    return prefix
