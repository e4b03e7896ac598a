"""Plain Kubernetes objects: names, what roles allow, levels of namespaces, and that kustomizations list what is there.

Their fields are checked in the tests against Kubernetes' published schemas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trading_runtime.argo.lint.documents import Document, Finding

KUSTOMIZATION = "kustomization.yaml"
_CLUSTER_WIDE = ("Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding", "ClusterWorkflowTemplate")
_LEVEL = "pod-security.kubernetes.io/enforce"


def plain_object(document: Document) -> Iterator[Finding]:
    """Yield findings about one object that is no workflow."""
    for key in ("apiVersion", "kind"):
        if not isinstance(document.body.get(key), str):
            yield document.finding(key, "is missing")
    if document.kind == "Kustomization":
        return
    if not document.name:
        yield document.finding("metadata.name", "is missing")
    if document.kind not in _CLUSTER_WIDE and not document.namespace:
        yield document.finding("metadata.namespace", "is missing: the object would land wherever the context points")
    if document.kind == "Secret" and not document.is_patch:
        yield document.finding("", "is a Secret: secrets are made in the cluster, never written down here")
    if document.kind in ("Role", "ClusterRole"):
        yield from _role(document)
    if document.kind == "Namespace" and _LEVEL not in ((document.body.get("metadata") or {}).get("labels") or {}):
        yield document.finding("metadata.labels", f"has no {_LEVEL}: any pod would be let in")


def duplicates(documents: Sequence[Document]) -> Iterator[Finding]:
    """Yield a finding for every object that is there twice."""
    seen: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        if document.is_patch or document.kind == "Kustomization":
            continue
        key = (document.kind, document.namespace, document.name)
        if key in seen and document.name:
            yield document.finding("metadata.name", f"{document.kind} {document.name!r} is in {seen[key].file} too")
        seen.setdefault(key, document)


def kustomizations(documents: Sequence[Document]) -> Iterator[Finding]:
    """Yield findings about what kustomizations list: files that are missing or forgotten, patches of nothing."""
    for document in documents:
        if document.kind != "Kustomization":
            continue
        folder = document.file.parent
        listed = [*(document.body.get("resources") or []), *patch_paths(document.body)]
        for name in listed:
            if not (folder / name).exists():
                yield document.finding("", f"lists {name}, which is not there")
        beside = {one.file.name for one in documents if one.file.parent == folder and one.file.name != KUSTOMIZATION}
        for name in sorted(beside - set(listed)):
            yield document.finding("", f"does not list {name}: it would not be applied")
    targets = {(one.kind, one.namespace, one.name) for one in documents if not one.is_patch}
    for document in documents:
        if document.is_patch and (document.kind, document.namespace, document.name) not in targets:
            yield document.finding("metadata.name", f"changes {document.kind} {document.name!r}, which is not there")


def patch_paths(kustomization: dict[str, Any]) -> list[str]:
    """Return the files a kustomization applies as patches."""
    patches = kustomization.get("patches")
    if not isinstance(patches, list):
        return []  # said by ``shapes``
    return [str(one["path"]) for one in patches if isinstance(one, dict) and "path" in one]


def is_patch(path: Path, kustomization: dict[str, Any] | None) -> bool:
    return kustomization is not None and path.name in patch_paths(kustomization)


def _role(document: Document) -> Iterator[Finding]:
    for index, rule in enumerate(document.body.get("rules") or []):
        for key in ("verbs", "resources", "apiGroups"):
            if "*" in (rule.get(key) or []):
                yield document.finding(f"rules[{index}].{key}", "allows everything: name what is needed")
        if "secrets" in (rule.get("resources") or []) and "" in (rule.get("apiGroups") or []):
            yield document.finding(
                f"rules[{index}].resources", "lets an account read secrets: mount the one it needs instead"
            )
