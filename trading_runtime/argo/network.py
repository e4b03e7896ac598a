"""What pods may reach: nothing, but names, the API server and what their work needs.

Policies see packages after the translation of Service addresses, so the API server is its real address and port. They
hold only where the cluster's network enforces them (Calico on microk8s does).
"""

from __future__ import annotations

from trading_runtime.argo.access import Document, metadata
from trading_runtime.argo.settings import ArgoSettings

API_SERVER_POLICY = "allow-api-server"
# RFC 1918, RFC 6598, link-local with the clouds' metadata servers, loopback.
PRIVATE_ADDRESSES = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
_ANYWHERE = "0.0.0.0/0"


def network_policies(settings: ArgoSettings) -> list[Document]:
    """Return the network policies of the three namespaces."""
    network, spaces = settings.network, settings.namespaces
    found: list[Document] = []
    for namespace in (spaces.live, spaces.research, spaces.build):
        found.append(_policy(namespace, "default-deny", ["Ingress", "Egress"]))
        found.append(_policy(namespace, "allow-dns", ["Egress"], [_dns()]))
        # Argo's wait container reports to the API server from every pod.
        found.append(
            _policy(
                namespace,
                API_SERVER_POLICY,
                ["Egress"],
                [api_server_rule(network.api_server, network.api_server_port)],
            )
        )
    for namespace in (spaces.live, spaces.build):
        found.append(_policy(namespace, "allow-internet", ["Egress"], [_internet(_ANYWHERE, 443)]))
    store = _internet(network.object_store, network.object_store_port)
    found.append(_policy(spaces.research, "allow-object-store", ["Egress"], [store]))
    return found


def api_server_rule(addresses: str, port: int) -> Document:
    """Return the rule that lets pods reach the API server."""
    return {"to": [{"ipBlock": {"cidr": addresses}}], "ports": [{"port": port, "protocol": "TCP"}]}


def _policy(namespace: str, name: str, kinds: list[str], egress: list[Document] | None = None) -> Document:
    spec: Document = {"podSelector": {}, "policyTypes": kinds}
    if egress is not None:
        spec["egress"] = egress
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(name, namespace),
        "spec": spec,
    }


def _dns() -> Document:
    return {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    }


def _internet(addresses: str, port: int) -> Document:
    block: Document = {"cidr": addresses}
    if addresses == _ANYWHERE:  # whoever names the addresses of his own store means them
        block["except"] = list(PRIVATE_ADDRESSES)
    return {"to": [{"ipBlock": block}], "ports": [{"port": port, "protocol": "TCP"}]}
