"""Whether accounts, roles, priorities, levels and network policies fit the workflows that are checked with them.

An object is missed only where others of its kind are among the documents: a few files alone raise no false alarm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trading_runtime.argo.image import BUILDER_COMMAND
from trading_runtime.argo.lint.documents import Document, Finding
from trading_runtime.argo.lint.safety import sends_orders
from trading_runtime.argo.network import API_SERVER_POLICY
from trading_runtime.core.errors import nearest_name

_RESULTS = "workflowtaskresults"
_STRONG_ROLES = ("cluster-admin", "admin", "edit", "system:masters")
_STRONG_VERBS = ("escalate", "bind", "impersonate")
_INTO_PODS = ("pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "nodes/proxy")
_LEVEL = "pod-security.kubernetes.io/enforce"
_ANYWHERE = ("0.0.0.0/0", "::/0")
_METADATA = "169.254.0.0/16"


def rights(documents: Sequence[Document]) -> Iterator[Finding]:
    """Yield findings about objects that are applied together."""
    whole = [one for one in documents if not one.is_patch]
    for document in whole:
        if document.is_workflow:
            yield from _account(document, whole)
            yield from _priority(document, whole)
            yield from _config_maps(document, whole)
        elif document.kind in ("RoleBinding", "ClusterRoleBinding"):
            yield from _binding(document, whole)
        elif document.kind in ("Role", "ClusterRole"):
            yield from _role(document)
        elif document.kind == "Namespace":
            yield from _namespace(document, whole)
    for document in documents:
        if document.kind == "NetworkPolicy":
            yield from _policy(document)


def _names(documents: Sequence[Document], kind: str, namespace: str = "") -> list[str]:
    return [one.name for one in documents if one.kind == kind and one.namespace == namespace]


def _account(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    accounts = {document.spec.get("serviceAccountName")}
    accounts |= {template.get("serviceAccountName") for _, template in document.templates()}
    known = _names(documents, "ServiceAccount", document.namespace)
    for account in sorted(str(one) for one in accounts if one):
        place = f"{document.spec_path}.serviceAccountName"
        if not known:
            continue
        if account not in known:
            yield document.finding(
                place, f"there is no ServiceAccount {account!r} in {document.namespace}{_hint(account, known)}"
            )
            continue
        if not _names(documents, "Role", document.namespace):
            continue
        rules = list(_rules_of(account, document.namespace, documents))
        if not any(
            _RESULTS in _list(rule, "resources") and {"create", "patch"} <= set(_list(rule, "verbs")) for rule in rules
        ):
            yield document.finding(
                place, f"{account} may not create and patch {_RESULTS}: its workflows would be Running for ever"
            )
        more = {resource for rule in rules for resource in _list(rule, "resources")} - {_RESULTS}
        if more:
            yield document.finding(
                place, f"{account} may more than tell Argo its results: {', '.join(sorted(more))}; a pod needs no more"
            )


def _rules_of(account: str, namespace: str, documents: Sequence[Document]) -> Iterator[dict[str, Any]]:
    for binding in documents:
        if binding.kind != "RoleBinding" or binding.namespace != namespace:
            continue
        if not any(_is_account(subject, account, namespace) for subject in _list(binding.body, "subjects")):
            continue
        wanted = (binding.body.get("roleRef") or {}).get("name")
        for role in documents:
            if role.kind == "Role" and role.namespace == namespace and role.name == wanted:
                yield from _list(role.body, "rules")


def _is_account(subject: Any, account: str, namespace: str) -> bool:
    return (
        isinstance(subject, dict)
        and subject.get("kind") == "ServiceAccount"
        and (subject.get("name"), subject.get("namespace")) == (account, namespace)
    )


def _priority(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    name, known = document.spec.get("podPriorityClassName"), _names(documents, "PriorityClass")
    if name and known and name not in known:
        yield document.finding(
            f"{document.spec_path}.podPriorityClassName", f"there is no PriorityClass {name!r}{_hint(name, known)}"
        )


def _config_maps(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    """Some maps are made by hand (google-federation): only what is nearly the name of one that is there is wrong."""
    known = _names(documents, "ConfigMap", document.namespace)
    for path, template in document.templates():
        for volume in template.get("volumes") or []:
            name = str((volume.get("configMap") or {}).get("name") or "")
            near = nearest_name(name, sorted(known)) if name and name not in known else None
            if near:
                yield document.finding(
                    f"{path}.volumes[{volume.get('name')}]", f"there is no ConfigMap {name!r}; did you mean {near}?"
                )


def _binding(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    reference = document.body.get("roleRef") or {}
    name = str(reference.get("name"))
    if document.kind == "ClusterRoleBinding":
        yield document.finding("roleRef", "holds in every namespace: bind a Role of one namespace")
    if name in _STRONG_ROLES:
        yield document.finding("roleRef.name", f"{name} allows everything: name a role with what is needed")
    elif reference.get("kind") == "Role":
        known = _names(documents, "Role", document.namespace)
        if known and name not in known:
            yield document.finding("roleRef.name", f"there is no Role {name!r}{_hint(name, known)}")
    for subject in _list(document.body, "subjects"):
        if not isinstance(subject, dict) or subject.get("kind") != "ServiceAccount":
            continue
        known = _names(documents, "ServiceAccount", str(subject.get("namespace") or ""))
        if known and subject.get("name") not in known:
            yield document.finding(
                "subjects",
                f"there is no ServiceAccount {subject.get('name')!r}{_hint(str(subject.get('name')), known)}",
            )


def _role(document: Document) -> Iterator[Finding]:
    for index, rule in enumerate(_list(document.body, "rules")):
        for verb in _STRONG_VERBS:
            if verb in _list(rule, "verbs"):
                yield document.finding(f"rules[{index}].verbs", f"{verb} lets an account take more rights than it has")
        for resource in _INTO_PODS:
            if resource in _list(rule, "resources"):
                yield document.finding(f"rules[{index}].resources", f"{resource} opens pods, and what they hold")


def _namespace(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    inside = [one for one in documents if one.is_workflow and one.namespace == document.name]
    level = ((document.body.get("metadata") or {}).get("labels") or {}).get(_LEVEL)
    is_builder = any(_builds(one) for one in inside) and not any(sends_orders(one, documents) for one in inside)
    if inside and level not in (None, "restricted") and not is_builder:
        yield document.finding(
            f"metadata.labels.{_LEVEL}", f"must be restricted, not {level}: only rootless building needs more"
        )
    policies = [one for one in documents if one.kind == "NetworkPolicy" and one.namespace == document.name]
    is_checked = any(one.kind == "NetworkPolicy" for one in documents)
    if is_checked and inside and not any(_denies_all(one.body.get("spec") or {}) for one in policies):
        yield document.finding("", "has no network policy that denies everything first: what is not named is open")


def _builds(document: Document) -> bool:
    return any(
        (template.get("container") or {}).get("command") == [BUILDER_COMMAND] for _, template in document.templates()
    )


def _denies_all(spec: dict[str, Any]) -> bool:
    return (
        not spec.get("podSelector")
        and {"Ingress", "Egress"} <= set(_list(spec, "policyTypes"))
        and not spec.get("egress")
        and not spec.get("ingress")
    )


def _policy(document: Document) -> Iterator[Finding]:
    for index, rule in enumerate(_list(document.body.get("spec"), "egress")):
        place = f"spec.egress[{index}]"
        for key, what in (("to", "addresses"), ("ports", "ports")):
            if not _list(rule, key):
                yield document.finding(f"{place}.{key}", f"is missing: all {what} would be open")
        for peer in _list(rule, "to"):
            block = peer.get("ipBlock") if isinstance(peer, dict) else None
            if not isinstance(block, dict) or block.get("cidr") not in _ANYWHERE:
                continue
            if document.name != API_SERVER_POLICY and _METADATA not in _list(block, "except"):
                yield document.finding(
                    f"{place}.to", f"opens the cluster's own network and {_METADATA}, where clouds hand out credentials"
                )


def _list(body: Any, key: str) -> list[Any]:
    found = body.get(key) if isinstance(body, dict) else None
    return found if isinstance(found, list) else []


def _hint(name: str, known: Sequence[str]) -> str:
    near = nearest_name(name, sorted(known))
    return f"; did you mean {near}?" if near else ""
