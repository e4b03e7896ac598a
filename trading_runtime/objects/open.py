"""Opening an object store from its address. What a store needs to be reached comes from the environment.

results/objects, /data/objects    a folder
file:///data/objects              the same, as an address
s3://bucket/prefix                S3 and what is compatible with it: see ``s3``
gs://bucket/prefix                Google Cloud Storage: see ``gcs``
memory://name                     this process's memory; one name is one store
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from trading_runtime.core.errors import ConfigurationError, nearest_name
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.objects.port import KEY_LENGTH_MAX, ObjectStore, is_key

SCHEMES = ("file", "s3", "gs", "memory")
# S3's rule, and but for a few longer names with dots also that of Google Cloud Storage.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PREFIX_LENGTH_MAX = 1_000 - KEY_LENGTH_MAX

_memories: dict[str, MemoryObjects] = {}
_memories_lock = threading.Lock()


def open_objects(address: str, environment: Mapping[str, str] = os.environ) -> ObjectStore:
    """Return the store at ``address``; raises ConfigurationError for an address or settings that cannot be used.

    Nothing is sent or written yet. No address contains credentials, and none is repeated in an error where it might.
    """
    found = _SCHEME.match(address)
    if found is None:
        if not address.strip():
            raise ConfigurationError("the address of the object store is empty; give a folder, s3://... or gs://...")
        return FolderObjects(address)
    scheme = found[1].lower()
    if scheme not in SCHEMES:
        near = nearest_name(scheme, list(SCHEMES))
        known = ", ".join(f"{name}://" for name in SCHEMES)
        hint = f"; did you mean {near}://?" if near else ""
        raise ConfigurationError(f"no object store begins with {scheme}://, there are {known} and folders{hint}")
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"{scheme}://: an address of objects must not hold credentials; they come from the environment"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{scheme}://: an address of objects has neither ? nor #")
    if scheme == "file":
        if parts.netloc or len(parts.path) < 2:
            raise ConfigurationError(f"{address}: an address of a folder is file:// and its whole path: file:///data")
        return FolderObjects(unquote(parts.path))
    if scheme == "memory":
        return _memory(address[len("memory://") :])
    prefix = parts.path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc):
        raise ConfigurationError(f"{address}: {parts.netloc!r} is not the name of a bucket")
    if prefix and (not is_key(prefix) or len(prefix) > _PREFIX_LENGTH_MAX):
        raise ConfigurationError(
            f"{address}: what follows the bucket must be parts of A-Z, a-z, 0-9, '.', '_', '=', '-' joined by '/', "
            f"at most {_PREFIX_LENGTH_MAX} characters"
        )
    if scheme == "s3":
        from trading_runtime.objects.s3 import open_s3

        return open_s3(parts.netloc, prefix, environment)
    from trading_runtime.objects.gcs import open_gcs

    return open_gcs(parts.netloc, prefix, environment)


def _memory(name: str) -> MemoryObjects:
    with _memories_lock:
        return _memories.setdefault(name, MemoryObjects(name))
