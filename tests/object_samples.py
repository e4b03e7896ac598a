"""Object stores for the contract suite: each kind opened, opened again by somebody else, and harmed behind its back."""

from __future__ import annotations

from pathlib import Path

import pytest
from s3_faults import FaultyProxy
from s3_server import S3Server

from trading_runtime.objects.open import open_objects
from trading_runtime.objects.port import ObjectStore

KINDS = ("folder", "memory", "s3", "gs")


class Objects:
    """One store of the contract suite. ``another`` opens it once more, as another process would."""

    def __init__(self, kind: str, address: str, environment: dict[str, str]) -> None:
        self.kind, self.address, self.environment = kind, address, environment
        self.store = self.another()

    def another(self) -> ObjectStore:
        return open_objects(self.address, self.environment)


def new_objects(kind: str, folder: Path, request: pytest.FixtureRequest) -> Objects:
    """Make an empty store of this kind; servers are asked for only where they are needed."""
    if kind == "folder":
        return Objects(kind, str(folder / "objects"), {})
    if kind == "memory":
        return Objects(kind, f"memory://{folder}", {})
    server: S3Server = request.getfixturevalue("s3_server")
    if kind == "s3":
        return Objects(kind, f"s3://{server.new_bucket()}/some/prefix", server.environment)
    proxy = FaultyProxy(server.endpoint, google=True)
    request.addfinalizer(proxy.stop)
    return Objects(kind, f"gs://{server.new_bucket()}/some/prefix", {"STORAGE_EMULATOR_HOST": proxy.endpoint})
