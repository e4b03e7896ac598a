"""Whether a pod's container keeps its bounds: user, memory, files, variables, and no parameter that a shell would run.

The fields that must be there at all are asked for in ``safety.py``; what is here may contradict them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from trading_runtime.argo.image import BUILDER_COMMAND
from trading_runtime.argo.lint.documents import Document, Finding
from trading_runtime.argo.settings import amount

_INTERPRETERS = re.compile(r"(ba|da|a|z|k)?sh|python[0-9.]*|perl|ruby|node|env|xargs|eval")
_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# Filled in by Argo and Kubernetes themselves; everything else may come from whoever starts the workflow.
_HARMLESS = re.compile(
    r"\s*(workflow\.(name|namespace|uid|status|scheduledTime|creationTimestamp.*)|pod\.name|retries)\s*"
)
_SECRET_MODE = 0o440


def containers(document: Document) -> Iterator[Finding]:
    """Yield findings about the containers of a workflow document."""
    for path, template in document.templates():
        kind = next((kind for kind in ("container", "script") if kind in template), None)
        if kind is None:
            continue
        container, inner = template[kind], f"{path}.{kind}"
        yield from _user(document, inner, container)
        yield from _memory(document, inner, container.get("resources") or {})
        yield from _variables(document, inner, container)
        yield from _volumes(document, path, template)
        yield from _mounts(document, inner, container)
        yield from _outputs(document, path, template, container)
        yield from _shell(document, inner, container)


def _user(document: Document, path: str, container: dict[str, Any]) -> Iterator[Finding]:
    """What the pod's own context says, a container may take back."""
    found, place = container.get("securityContext") or {}, f"{path}.securityContext"
    if found.get("runAsUser") == 0:
        yield document.finding(f"{place}.runAsUser", "is root: leave it to the pod")
    if found.get("runAsNonRoot") is False:
        yield document.finding(f"{place}.runAsNonRoot", "takes back what the pod says: must be true")
    if found.get("procMount") not in (None, "Default"):
        yield document.finding(f"{place}.procMount", "must be Default: it would show the kernel's files")
    if container.get("command") == [BUILDER_COMMAND]:
        if found.get("privileged") or (found.get("capabilities") or {}).get("add"):
            yield document.finding(place, "rootless means no rights: neither privileged nor added capabilities")
        return
    profile = (found.get("seccompProfile") or {}).get("type", "RuntimeDefault")
    if profile != "RuntimeDefault":
        yield document.finding(f"{place}.seccompProfile.type", f"must be RuntimeDefault, not {profile}")


def _memory(document: Document, path: str, resources: dict[str, Any]) -> Iterator[Finding]:
    for name, limit in (resources.get("limits") or {}).items():
        asked = (resources.get("requests") or {}).get(name)
        try:
            is_below = asked is not None and amount(str(limit)) < amount(str(asked))
        except (KeyError, ValueError):
            continue  # said by ``values``, or a unit nobody uses here
        if is_below:
            yield document.finding(
                f"{path}.resources.limits.{name}", f"{limit} is below the request {asked}: Kubernetes refuses the pod"
            )


def _variables(document: Document, path: str, container: dict[str, Any]) -> Iterator[Finding]:
    for name in _twice(one.get("name") for one in container.get("env") or []):
        yield document.finding(f"{path}.env[{name}]", "is given twice: the last one counts, whichever was meant")
    for source in container.get("envFrom") or []:
        if "secretRef" in source:
            yield document.finding(
                f"{path}.envFrom", "takes whatever the Secret holds: name each variable, or mount files"
            )


def _volumes(document: Document, path: str, template: dict[str, Any]) -> Iterator[Finding]:
    volumes = template.get("volumes") or []
    for name in _twice(one.get("name") for one in volumes):
        yield document.finding(f"{path}.volumes[{name}]", "is there twice: Kubernetes refuses the pod")
    for volume in [*volumes, *(document.spec.get("volumes") or [])]:
        place = f"{path}.volumes[{volume.get('name')}]"
        secret = volume.get("secret")
        for mode in [] if secret is None else _modes(secret):
            if mode & ~_SECRET_MODE:
                yield document.finding(
                    f"{place}.secret.defaultMode", f"0{mode:o} lets others read a secret: write 288, which is 0440"
                )
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield document.finding(f"{place}.emptyDir.sizeLimit", "is missing: one pod could fill the node's disk")


def _modes(secret: dict[str, Any]) -> Iterator[int]:
    default = secret.get("defaultMode", 0o644)
    yield default
    yield from (item["mode"] for item in secret.get("items") or [] if item.get("mode") is not None)


def _mounts(document: Document, path: str, container: dict[str, Any]) -> Iterator[Finding]:
    folders = (str(one.get("mountPath")).rstrip("/") for one in container.get("volumeMounts") or [])
    for folder in _twice(folders):
        yield document.finding(f"{path}.volumeMounts", f"{folder} is mounted twice: Kubernetes refuses the pod")


def _outputs(document: Document, path: str, template: dict[str, Any], container: dict[str, Any]) -> Iterator[Finding]:
    """A file that is to be an output must be where the container can write it."""
    if (container.get("securityContext") or {}).get("readOnlyRootFilesystem") is not True:
        return
    folders = [
        PurePosixPath(str(one.get("mountPath")))
        for one in container.get("volumeMounts") or []
        if not one.get("readOnly")
    ]
    outputs = template.get("outputs") or {}
    for kind in ("parameters", "artifacts"):
        for one in outputs.get(kind) or []:
            file = one.get("path") if kind == "artifacts" else (one.get("valueFrom") or {}).get("path")
            if file and not any(folder in PurePosixPath(file).parents for folder in folders):
                yield document.finding(
                    f"{path}.outputs.{kind}[{one.get('name')}]",
                    f"{file} is on the read-only root: write it to a folder that is mounted",
                )


def _shell(document: Document, path: str, container: dict[str, Any]) -> Iterator[Finding]:
    """What stands in braces is put in before the shell reads it: a parameter would be a program."""
    command = [str(word) for word in container.get("command") or []]
    if "source" in container:
        texts = [("source", str(container["source"]))]
    elif command and _INTERPRETERS.fullmatch(command[0].rpartition("/")[2]):
        texts = [("args", " ".join([*command[1:], *map(str, container.get("args") or [])]))]
    else:
        return
    for key, text in texts:
        for tag in _TAG.findall(text):
            if not _HARMLESS.fullmatch(tag):
                yield document.finding(
                    f"{path}.{key}", f"{{{{{tag}}}}} would be run as a part of the program: pass it as a variable"
                )


def _twice(names: Iterable[Any]) -> list[str]:
    return [str(name) for name, number in Counter(names).items() if number > 1]
