"""The plain Kubernetes objects around the workflows: namespaces, priorities, quotas, settings, the controllers' map.

Kinds of clusters differ only in ``overlay_patches``. Argo itself is installed from its release manifest.
"""

from __future__ import annotations

from pathlib import Path

from trading_runtime.argo.access import Document, access_objects, metadata
from trading_runtime.argo.live import SETTINGS_FILE
from trading_runtime.argo.network import API_SERVER_POLICY, api_server_rule, network_policies
from trading_runtime.argo.pods import USER_ID
from trading_runtime.argo.settings import ArgoSettings, ClusterSettings
from trading_runtime.core.errors import ConfigurationError

CONTROLLER_MAP = "workflow-controller-configmap"
_LIVE_PRIORITY, _RESEARCH_PRIORITY = 100_000, -10
# Rootless BuildKit needs an unconfined seccomp profile, which only the profile "privileged" of the standards allows.
_BUILD_PROFILE = "privileged"

# What a workflow gets that says nothing itself: an end, a user, and to be swept up. No retry, see ``_controller``.
_WORKFLOW_DEFAULTS = f"""\
spec:
  activeDeadlineSeconds: 86400
  podGC: {{strategy: OnPodSuccess, deleteDelayDuration: 600s}}
  ttlStrategy: {{secondsAfterSuccess: 86400, secondsAfterFailure: 604800}}
  securityContext:
    runAsNonRoot: true
    runAsUser: {USER_ID}
    runAsGroup: {USER_ID}
    fsGroup: {USER_ID}
    seccompProfile: {{type: RuntimeDefault}}
"""


def base_objects(settings: ArgoSettings, folder: Path) -> list[Document]:
    """Return all plain objects; ``folder`` is that of the settings file, where the cycle's configuration lies.

    Raises ConfigurationError when that configuration cannot be read.
    """
    spaces = settings.namespaces
    found = [
        _namespace(spaces.live, "restricted"),
        _namespace(spaces.research, "restricted"),
        _namespace(spaces.build, _BUILD_PROFILE),
        _priority(f"{settings.priority_prefix}-live", _LIVE_PRIORITY, "PreemptLowerPriority", "cycles with real money"),
        _priority(
            f"{settings.priority_prefix}-research", _RESEARCH_PRIORITY, "Never", "sweeps and builds, which can wait"
        ),
        *access_objects(settings),
        *network_policies(settings),
        _quota(spaces.research, "16", "32Gi", 40),
        _quota(spaces.build, "4", "16Gi", 4),
        _limits(spaces.research),
        _limits(spaces.build),
        _config_map(spaces.live, settings.live.config_map, {SETTINGS_FILE: _cycle_settings(settings, folder)}),
    ]
    found += [_config_map(namespace, CONTROLLER_MAP, _controller(20, 20)) for namespace in spaces.controllers]
    return found


def overlay_patches(settings: ArgoSettings, cluster: ClusterSettings) -> list[Document]:
    """Return what changes in the base on one kind of cluster, as strategic merge patches."""
    spaces, network = settings.namespaces, settings.network
    found: list[Document] = []
    for namespace in (spaces.live, spaces.research, spaces.build):
        rule = api_server_rule(network.api_server, cluster.api_server_port)
        found.append(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": API_SERVER_POLICY, "namespace": namespace},
                "spec": {"egress": [rule]},
            }
        )
    quota = _quota(spaces.research, cluster.research_cpu, cluster.research_memory, cluster.research_pods)
    found.append({**quota, "metadata": {"name": quota["metadata"]["name"], "namespace": spaces.research}})
    for namespace in spaces.controllers:
        found.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": CONTROLLER_MAP, "namespace": namespace},
                "data": _controller_limits(cluster.parallelism, cluster.creations_per_second),
            }
        )
    return found


def _namespace(name: str, profile: str) -> Document:
    levels = {f"pod-security.kubernetes.io/{mode}": profile for mode in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(name, labels=levels)}


def _priority(name: str, value: int, preemption: str, description: str) -> Document:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": metadata(name),
        "value": value,
        "preemptionPolicy": preemption,
        "globalDefault": False,
        "description": description,
    }


def _quota(namespace: str, cpu: str, memory: str, pods: int) -> Document:
    hard = {"requests.cpu": cpu, "requests.memory": memory, "limits.memory": memory, "pods": str(pods)}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata("pods", namespace),
        "spec": {"hard": hard},
    }


def _limits(namespace: str) -> Document:
    """Return what a container gets that asks for nothing: with a quota it would be refused."""
    container = {
        "type": "Container",
        "default": {"memory": "256Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "64Mi"},
    }
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": metadata("defaults", namespace),
        "spec": {"limits": [container]},
    }


def _config_map(namespace: str, name: str, data: dict[str, str]) -> Document:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(name, namespace), "data": data}


def _cycle_settings(settings: ArgoSettings, folder: Path) -> str:
    """Return the text of the cycle's configuration, after it was read as one: a typo must not wait for a cluster."""
    from trading_runtime.config.load import load_cycle_settings

    path = folder / settings.live.configuration
    loaded = load_cycle_settings(path)
    found = loaded.settings
    if found.account.name != settings.live.account:
        raise ConfigurationError(
            f"{path}: account.name is {found.account.name!r}, live.account of the manifests {settings.live.account!r}"
        )
    if settings.live.mode != "dry-run" and found.store.kind != "firestore":
        raise ConfigurationError(
            f"{path}: store.kind is {found.store.kind}, which ends with its pod; "
            f"mode {settings.live.mode} needs firestore"
        )
    return path.read_text(encoding="utf-8-sig")


def _controller(parallelism: int, creations_per_second: int) -> dict[str, str]:
    """Return the controllers' settings (Argo's workflow-controller-configmap.yaml). Argo's own containers get no
    security context for container templates unless ``executor`` says so, and the profile restricted refuses them then.
    There is no default retry: it would stand over cycles too.
    """
    executor = f"""\
securityContext:
  runAsNonRoot: true
  runAsUser: {USER_ID}
  runAsGroup: {USER_ID}
  allowPrivilegeEscalation: false
  capabilities: {{drop: [ALL]}}
  seccompProfile: {{type: RuntimeDefault}}
resources:
  requests: {{cpu: 50m, memory: 64Mi}}
  limits: {{memory: 256Mi}}
"""
    return {
        **_controller_limits(parallelism, creations_per_second),
        "executor": executor,
        "failedPodRestart": "enabled: true\nmaxRestarts: 3\n",
        "metricsConfig": "enabled: true\nmetricsTTL: 10m\n",
        "workflowDefaults": _WORKFLOW_DEFAULTS,
        "workflowRestrictions": "templateReferencing: Strict\n",
    }


def _controller_limits(parallelism: int, creations_per_second: int) -> dict[str, str]:
    return {
        "parallelism": str(parallelism),
        "resourceRateLimit": f"limit: {creations_per_second}\nburst: {creations_per_second * 2}\n",
    }
