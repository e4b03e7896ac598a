"""Who may do what on the cluster: service accounts, roles and what binds them, as plain Kubernetes objects.

A pod's account may tell Argo its results and nothing else (Argo's workflow-rbac.md: executor role). People and
submitting jobs have roles of their own, bound to groups that the cluster's operator names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trading_runtime.argo.image import SERVICE_ACCOUNT as BUILD_ACCOUNT
from trading_runtime.argo.live import LIVE_ACCOUNT, WATCH_ACCOUNT
from trading_runtime.argo.pods import PART_OF
from trading_runtime.argo.settings import ArgoSettings
from trading_runtime.argo.sweep import SERVICE_ACCOUNT as SWEEP_ACCOUNT

Document = dict[str, Any]

SUBMITTER_ACCOUNT = "submitter"
OPERATORS_GROUP = "trading-operators"
_GROUP = "argoproj.io"
_EXECUTOR, _SUBMITTER, _OPERATOR = "executor", "submitter", "operator"


def access_objects(settings: ArgoSettings) -> list[Document]:
    """Return service accounts, roles and bindings of the three namespaces."""
    spaces = settings.namespaces
    found: list[Document] = []
    for namespace, accounts in (
        (spaces.live, (LIVE_ACCOUNT, WATCH_ACCOUNT)),
        (spaces.research, (SWEEP_ACCOUNT,)),
        (spaces.build, (BUILD_ACCOUNT,)),
    ):
        for account in accounts:
            found.append(_service_account(namespace, account, settings.pull_secret))
        found.append(_role(namespace, _EXECUTOR, [_rule(["workflowtaskresults"], ["create", "patch"])]))
        found.append(_binding(namespace, _EXECUTOR, [_account(namespace, account) for account in accounts]))
    found.append(_service_account(spaces.research, SUBMITTER_ACCOUNT, None))
    submitting = [
        _rule(["workflows"], ["create", "get", "list", "watch"]),
        _rule(["workflowtemplates"], ["get"]),
    ]
    found.append(_role(spaces.research, _SUBMITTER, submitting))
    found.append(_binding(spaces.research, _SUBMITTER, [_account(spaces.research, SUBMITTER_ACCOUNT)]))
    operating = [
        _rule(["cronworkflows"], ["get", "list", "watch", "patch"]),
        _rule(["workflows"], ["get", "list", "watch"]),
    ]
    found.append(_role(spaces.live, _OPERATOR, operating))
    group = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": OPERATORS_GROUP}
    found.append(_binding(spaces.live, _OPERATOR, [group]))
    return found


def metadata(name: str, namespace: str | None = None, labels: dict[str, str] | None = None) -> Document:
    """Return the metadata of an object of ours."""
    found: Document = {"name": name}
    if namespace is not None:
        found["namespace"] = namespace
    found["labels"] = {"app.kubernetes.io/part-of": PART_OF, **(labels or {})}
    return found


def _service_account(namespace: str, name: str, pull_secret: str | None) -> Document:
    document: Document = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name, namespace)}
    if pull_secret is not None:
        document["imagePullSecrets"] = [{"name": pull_secret}]
    return document


def _role(namespace: str, name: str, rules: Sequence[Document]) -> Document:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(name, namespace),
        "rules": list(rules),
    }


def _rule(resources: list[str], verbs: list[str]) -> Document:
    return {"apiGroups": [_GROUP], "resources": resources, "verbs": verbs}


def _account(namespace: str, name: str) -> Document:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def _binding(namespace: str, role: str, subjects: list[Document]) -> Document:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(role, namespace),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": subjects,
    }
