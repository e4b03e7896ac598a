"""Whether plain objects have the shape that the other rules read: a list where a list belongs, a text for a text.

No schema of Kubernetes: the tests check the rendered objects against those. This keeps a slip of the pen a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trading_runtime.argo.lint.documents import Document, Finding

_TEXTS: Any = [str]
_LABELS: Any = {str: str}
_PEER: Any = {"ipBlock": {"cidr": str, "except": _TEXTS}, "namespaceSelector": {}, "podSelector": {}}
_RULE: Any = {"verbs": _TEXTS, "resources": _TEXTS, "apiGroups": _TEXTS}
_METADATA: Any = {"name": str, "namespace": str, "labels": _LABELS}
_ROLE: Any = {"rules": [_RULE]}
_BINDING: Any = {"roleRef": {"kind": str, "name": str}, "subjects": [{"kind": str, "name": str, "namespace": str}]}
# A type, a list of a shape, or the shapes of some fields; the key ``str`` stands for every field.
_SHAPES: dict[str, Any] = {
    "Kustomization": {"resources": _TEXTS, "patches": [{"path": str}]},
    "Role": _ROLE,
    "ClusterRole": _ROLE,
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "ConfigMap": {"data": {str: str}},
    "NetworkPolicy": {
        "spec": {"podSelector": {}, "policyTypes": _TEXTS, "ingress": [{}], "egress": [{"to": [_PEER], "ports": [{}]}]}
    },
}
_WORDS = {str: "a text", list: "a list", dict: "a mapping"}


def misshapen(document: Document) -> list[Finding]:
    """Return what has another shape than its kind has."""
    shape = {"metadata": _METADATA, **_SHAPES.get(document.kind, {})}
    return [document.finding(path, message) for path, message in _misfits(document.body, shape, "")]


def _misfits(value: Any, shape: Any, path: str) -> Iterator[tuple[str, str]]:
    kind: Any = shape if isinstance(shape, type) else type(shape)
    if not isinstance(value, kind):
        yield path, f"must be {_WORDS[kind]}, not {str(value)[:40]!r}"
    elif kind is list:
        for index, item in enumerate(value):
            yield from _misfits(item, shape[0], f"{path}[{index}]")
    elif kind is dict:
        for key, field in value.items():
            wanted = shape.get(key, shape.get(str))
            if wanted is not None:
                yield from _misfits(field, wanted, f"{path}.{key}".lstrip("."))
