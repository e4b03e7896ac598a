"""Whether a workflow keeps what people rely on: no order sent twice, an end to everything, no needless rights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from trading_runtime.argo.image import BUILDER_COMMAND
from trading_runtime.argo.lint.documents import Document, Finding, strings
from trading_runtime.argo.pods import COMMAND, SAFE_RETRY, TOKEN_FOLDER, USEFUL_RETRY
from trading_runtime.argo.settings import is_by_digest, looks_secret

_SEEDS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAKIA[A-Z0-9]{16}\b|\bya29\.[\w-]{20,}"
)
# What a command is called that only its parser and the exchange tell apart from any other.
_ORDER_VERBS = ("cycle",)
_POD_KINDS = ("container", "script", "containerSet", "data")
# What a patch of the pod may say; anything else could take back what the template sets.
_PATCHED = frozenset(
    {"terminationGracePeriodSeconds", "nodeSelector", "tolerations", "affinity", "topologySpreadConstraints"}
    | {"runtimeClassName", "hostUsers", "dnsConfig", "enableServiceLinks", "schedulingGates"}
)


def safety(document: Document, documents: Sequence[Document], *, is_production: bool) -> Iterator[Finding]:
    """Yield findings about deadlines, retries, rights, images and secrets of a workflow document."""
    yield from _secrets(document)
    if document.kind == "CronWorkflow":
        yield from _cron(document, documents)
    spec, path = document.spec, document.spec_path
    if "workflowTemplateRef" in spec:
        return
    if not _is_seconds(spec.get("activeDeadlineSeconds")):
        yield document.finding(f"{path}.activeDeadlineSeconds", "is missing: a run that hangs would hang for ever")
    if not spec.get("serviceAccountName") or spec["serviceAccountName"] == "default":
        yield document.finding(
            f"{path}.serviceAccountName", "is missing: name the account with the least rights, not default"
        )
    if spec.get("hostNetwork"):
        yield document.finding(f"{path}.hostNetwork", "must not be set")
    yield from _patch(document, path, spec)
    yield from _patch(document, f"{path}.templateDefaults", spec.get("templateDefaults") or {})
    if sends_orders(document, documents):
        yield from _retries_of_orders(document)
        if not (spec.get("synchronization") or {}).get("mutexes"):
            yield document.finding(f"{path}.synchronization.mutexes", "is missing: runs started by hand would overlap")
    for place, template in document.templates():
        if any(kind in template for kind in _POD_KINDS):
            yield from _pod(document, place, template, is_production)


def sends_orders(document: Document, documents: Sequence[Document]) -> bool:
    """Return whether a pod of the workflow can send orders: one of its own, or of a template that it calls."""
    if any(is_order_pod(template) for _, template in document.templates()):
        return True
    names = {reference.get("name") for reference in _called(document)}
    return any(
        is_order_pod(template)
        for other in documents
        if other is not document and other.name in names
        for _, template in other.templates()
    )


def _called(document: Document) -> Iterator[dict[str, Any]]:
    for _, template in document.templates():
        for group in ((template.get("dag") or {}).get("tasks") or [], *(template.get("steps") or [])):
            yield from (task["templateRef"] for task in group if task.get("templateRef"))


def is_order_pod(template: dict[str, Any]) -> bool:
    """Return whether a template runs a command that can send orders."""
    container = template.get("container") or template.get("script") or {}
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    words.append(str((template.get("script") or {}).get("source", "")))
    return any(word == verb or f"{COMMAND} {verb}" in word for word in words for verb in _ORDER_VERBS)


def _retries_of_orders(document: Document) -> Iterator[Finding]:
    """Every retry of such a document counts: one around the pod repeats it as well."""
    spec, path = document.spec, document.spec_path
    for key, holder in (
        ("retryStrategy", spec),
        ("templateDefaults.retryStrategy", spec.get("templateDefaults") or {}),
    ):
        if holder.get("retryStrategy") is not None:
            yield document.finding(
                f"{path}.{key}", "stands over a pod that sends orders: only its own template may say what is retried"
            )
    for place, template in document.templates():
        retry = template.get("retryStrategy")
        if retry is None:
            continue
        written = re.sub(r"\s+", "", str(retry.get("expression", "")))
        if written != SAFE_RETRY.replace(" ", ""):
            yield document.finding(
                f"{place}.retryStrategy",
                f"could send an order again: the expression must be {SAFE_RETRY} (nothing was sent)",
            )
        if retry.get("retryPolicy") not in ("Always", "OnFailure"):
            yield document.finding(
                f"{place}.retryStrategy.retryPolicy",
                f"must be Always with that expression, not {retry.get('retryPolicy')!r}",
            )


def _useful_retry(document: Document, path: str, retry: dict[str, Any]) -> Iterator[Finding]:
    if "lastRetry.exitCode" not in str(retry.get("expression", "")):
        yield document.finding(
            path, f"repeats wrong words and wrong configuration as well: give an expression, such as {USEFUL_RETRY}"
        )


def _cron(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    outer = document.body["spec"]
    reference = (document.spec.get("workflowTemplateRef") or {}).get("name")
    started = [
        one
        for one in documents
        if one.kind == "WorkflowTemplate" and one.name == reference and one.namespace == document.namespace
    ]
    if outer.get("concurrencyPolicy") is None:
        yield document.finding("spec.concurrencyPolicy", "is missing: the default lets runs overlap; write Forbid")
    elif any(sends_orders(one, documents) for one in [document, *started]) and outer["concurrencyPolicy"] != "Forbid":
        yield document.finding(
            "spec.concurrencyPolicy", f"must be Forbid for what sends orders, not {outer['concurrencyPolicy']}"
        )
    if not outer.get("startingDeadlineSeconds"):
        yield document.finding(
            "spec.startingDeadlineSeconds", "is missing: a tick while the controller restarts would be lost"
        )


def _pod(document: Document, path: str, template: dict[str, Any], is_production: bool) -> Iterator[Finding]:
    container = template.get("container") or template.get("script") or {}
    inner = f"{path}.{'script' if 'script' in template else 'container'}"
    if "container" not in template and "script" not in template:
        yield document.finding(path, "is a kind of pod that cannot be checked here: use container")
        return
    for more in ("sidecars", "initContainers"):
        if template.get(more):
            yield document.finding(f"{path}.{more}", "are containers that nobody checks: leave them out")
    yield from _patch(document, path, template)
    if not _is_seconds(template.get("activeDeadlineSeconds")):
        yield document.finding(f"{path}.activeDeadlineSeconds", "is missing: a pod that hangs would hang for ever")
    if not container.get("command"):
        yield document.finding(f"{inner}.command", "is missing: the controller would have to ask the registry")
    yield from _image(document, inner, str(container.get("image") or ""), is_production)
    yield from _sizes(document, inner, container.get("resources") or {})
    if container.get("command") == [COMMAND] and template.get("retryStrategy") and not is_order_pod(template):
        yield from _useful_retry(document, f"{path}.retryStrategy", template["retryStrategy"])
    is_builder = container.get("command") == [BUILDER_COMMAND]
    yield from _pod_security(document, path, template, is_builder)
    if not is_builder:
        yield from _container_security(document, inner, container.get("securityContext") or {})
    mounts = {mount.get("mountPath"): mount.get("name") for mount in container.get("volumeMounts") or []}
    volumes = {
        one.get("name"): one for one in [*(document.spec.get("volumes") or []), *(template.get("volumes") or [])]
    }
    for folder, name in mounts.items():
        if name not in volumes:
            yield document.finding(f"{inner}.volumeMounts", f"{folder}: there is no volume {name!r}")
    is_mounted = template.get("automountServiceAccountToken", document.spec.get("automountServiceAccountToken"))
    if is_mounted is not False and "emptyDir" not in volumes.get(mounts.get(TOKEN_FOLDER), {}):
        yield document.finding(
            f"{inner}.volumeMounts", f"needs an emptyDir over {TOKEN_FOLDER}: the command must not see the API token"
        )
    for name, volume in volumes.items():
        if "hostPath" in volume:
            yield document.finding(
                f"{path}.volumes[{name}]", "is a hostPath: it ties the pod to a node and opens the node to it"
            )


def _patch(document: Document, path: str, holder: dict[str, Any]) -> Iterator[Finding]:
    import yaml

    try:
        patch = yaml.safe_load(holder.get("podSpecPatch") or "{}")
    except yaml.YAMLError:
        return  # said by ``values``
    for key in sorted(set(patch) - _PATCHED) if isinstance(patch, dict) else ():
        yield document.finding(f"{path}.podSpecPatch", f"must not change {key}: it could take back what is set here")


def _image(document: Document, path: str, image: str, is_production: bool) -> Iterator[Finding]:
    if not image or is_by_digest(image):
        return
    if "@" in image:
        yield document.finding(f"{path}.image", f"{image} ends in no digest: sha256: and 64 of 0-9 and a-f")
    elif is_production:
        yield document.finding(f"{path}.image", f"{image} is a tag, which can move: production needs @sha256:DIGEST")
    elif ":" not in image.rpartition("/")[2] or image.endswith(":latest"):
        yield document.finding(f"{path}.image", f"{image} names no version: give a tag that is not latest, or a digest")


def _sizes(document: Document, path: str, resources: dict[str, Any]) -> Iterator[Finding]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for kind, name, held in (
        ("requests", "cpu", requests),
        ("requests", "memory", requests),
        ("limits", "memory", limits),
    ):
        if name not in held:
            yield document.finding(f"{path}.resources.{kind}.{name}", "is missing")


def _pod_security(document: Document, path: str, template: dict[str, Any], is_builder: bool) -> Iterator[Finding]:
    found = {**(document.spec.get("securityContext") or {}), **(template.get("securityContext") or {})}
    if found.get("runAsNonRoot") is not True:
        yield document.finding(f"{path}.securityContext.runAsNonRoot", "must be true")
    if not found.get("runAsUser"):
        yield document.finding(
            f"{path}.securityContext.runAsUser", "is missing, or root: name an ordinary user's number"
        )
    profile = (found.get("seccompProfile") or {}).get("type")
    if profile != "RuntimeDefault" and not is_builder:
        yield document.finding(f"{path}.securityContext.seccompProfile.type", f"must be RuntimeDefault, not {profile}")


def _container_security(document: Document, path: str, found: dict[str, Any]) -> Iterator[Finding]:
    place = f"{path}.securityContext"
    if found.get("allowPrivilegeEscalation") is not False:
        yield document.finding(f"{place}.allowPrivilegeEscalation", "must be false")
    if found.get("readOnlyRootFilesystem") is not True:
        yield document.finding(f"{place}.readOnlyRootFilesystem", "must be true")
    capabilities = found.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield document.finding(f"{place}.capabilities", "must drop ALL and add none")
    if found.get("privileged"):
        yield document.finding(f"{place}.privileged", "must not be set")


def _secrets(document: Document) -> Iterator[Finding]:
    spec, path = document.spec, document.spec_path
    blocks = [(f"{path}.arguments", spec.get("arguments"))]
    for place, template in document.templates():
        blocks += [(f"{place}.{kind}", template.get(kind)) for kind in ("inputs", "outputs")]
        container = template.get("container") or template.get("script") or {}
        for variable in container.get("env") or []:
            if (
                looks_secret(str(variable.get("name")))
                and variable.get("value")
                and not _is_path(str(variable["value"]))
            ):
                yield document.finding(
                    f"{place}.container.env[{variable['name']}]",
                    "holds a secret in the manifest: use valueFrom.secretKeyRef, or a mounted file",
                )
    for place, block in blocks:
        for parameter in (block or {}).get("parameters") or []:
            if looks_secret(str(parameter.get("name"))):
                yield document.finding(
                    f"{place}.parameters[{parameter['name']}]",
                    "is a secret as a parameter: it would show in status, logs and archive",
                )
    for place, text in strings(document.body, ""):
        if _SEEDS.search(text):
            yield document.finding(place.lstrip("."), "holds what looks like a secret; remove it and make it invalid")


def _is_path(text: str) -> bool:
    return text.startswith("/")


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, str)) and str(value).isdigit() and int(value) > 0
