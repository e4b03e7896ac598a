"""Fixtures around the API server on loopback, for modules that name this one in ``pytest_plugins``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from argo_manifests import SETTINGS
from argo_server import NAMESPACE, ApiServer, api_server

from trading_runtime.argo.client import Cluster, open_cluster
from trading_runtime.argo.settings import ArgoSettings, load_argo_settings


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Cluster:
    """A client that does not wait between its attempts."""
    return open_cluster(NAMESPACE, kubeconfig=server.kubeconfig(tmp_path), environment={}, wait=lambda seconds: None)


@pytest.fixture(scope="session")
def settings() -> ArgoSettings:
    return load_argo_settings(SETTINGS)


@pytest.fixture
def words(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options every verb of a cluster gets here; the kubeconfig comes from the environment."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return ["--settings", str(SETTINGS)]
