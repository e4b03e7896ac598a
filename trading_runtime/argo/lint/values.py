"""Whether single values are ones that Argo and Kubernetes accept: words, quantities, names, schedules, numbers.

Sources: Argo's fields.md and its validation (workflow/validate), Kubernetes' API conventions for names and quantities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from trading_runtime.argo.lint.documents import Document, Finding
from trading_runtime.argo.lint.expressions import ExpressionError, names_of
from trading_runtime.argo.schedules import schedule_problem
from trading_runtime.argo.settings import CRON_NAME_MAX
from trading_runtime.core.errors import nearest_name
from trading_runtime.sweep.shards import SHARDS_MAX

NAME_MAX = 63
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_TEMPLATE_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_QUANTITY = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?")
_WORDS = {
    "concurrencyPolicy": ("Allow", "Forbid", "Replace"),
    "retryPolicy": ("Always", "OnFailure", "OnError", "OnTransientError"),
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "podGC.strategy": ("OnPodCompletion", "OnPodSuccess", "OnWorkflowCompletion", "OnWorkflowSuccess"),
    "seccompProfile.type": ("RuntimeDefault", "Localhost", "Unconfined"),
    "dnsPolicy": ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    "restartPolicy": ("Always", "OnFailure", "Never"),
}
_LAST_RETRY = ("lastRetry.exitCode", "lastRetry.status", "lastRetry.duration", "lastRetry.message")
_FUNCTIONS = ("asInt()", "asFloat()", "int()", "float()", "string()", "len()")
# Go's durations, and whole seconds, which Argo takes too.
_DURATION = re.compile(r"[0-9]+|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+")
_DURATIONS = ("duration", "maxDuration", "deleteDelayDuration", "timeout")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_NO_NUMBER = -(10**9)
_TAG = re.compile(r"\{\{.*?\}\}")


def values(document: Document) -> Iterator[Finding]:
    """Yield findings about single values of a workflow document."""
    yield from _names(document)
    if document.kind == "CronWorkflow":
        yield from _schedules(document)
    for path, key, value in _walk(document.body, ""):
        yield from _value(document, path, key, value)
    seen: set[str] = set()
    for path, template in document.templates():
        name = str(template.get("name", ""))
        if name in seen:
            yield document.finding(path, f"there are two templates {name!r}")
        seen.add(name)
        if not _TEMPLATE_NAME.fullmatch(name) or len(name) > NAME_MAX + 65:
            yield document.finding(path, f"{name!r} is no name of a template: letters, digits and -")


def _names(document: Document) -> Iterator[Finding]:
    limit = CRON_NAME_MAX if document.kind == "CronWorkflow" else NAME_MAX
    if len(document.name) > limit:
        yield document.finding(
            "metadata.name", f"has {len(document.name)} characters; Argo allows {limit} for a {document.kind}"
        )
    if not _NAME.fullmatch(
        document.name.rstrip("-") if "generateName" in document.body.get("metadata", {}) else document.name
    ):
        yield document.finding(
            "metadata.name", f"{document.name!r} is no name: a-z, 0-9 and -, beginning and ending in one"
        )


def _schedules(document: Document) -> Iterator[Finding]:
    spec = document.body["spec"]
    if not spec.get("schedules"):
        yield document.finding("spec.schedules", "is empty: nothing would ever start")
    for index, schedule in enumerate(spec.get("schedules") or []):
        problem = schedule_problem(schedule)
        if problem is not None:
            yield document.finding(f"spec.schedules[{index}]", f"{schedule!r} {problem}")
    zone = spec.get("timezone")
    if zone is None:
        yield document.finding("spec.timezone", "is missing: the controller's own would be used; write Etc/UTC")
    elif not _is_zone(zone):
        yield document.finding("spec.timezone", f"{zone!r} is no time zone; write Etc/UTC")


def _value(document: Document, path: str, key: str, value: Any) -> Iterator[Finding]:
    parent = path.split(".")[-2].partition("[")[0] if "." in path else ""
    words = _WORDS.get(key) or _WORDS.get(f"{parent}.{key}")
    if words is not None and isinstance(value, str) and value not in words:
        near = nearest_name(value, list(words))
        yield document.finding(
            path, f"must be one of {', '.join(words)}, not {value!r}" + (f"; did you mean {near}?" if near else "")
        )
    if key in ("limits", "requests") and isinstance(value, dict):
        for name, quantity in value.items():
            if not _QUANTITY.fullmatch(str(quantity)):
                yield document.finding(f"{path}.{name}", f"{quantity!r} is no quantity: write 512Mi, 1Gi or 250m")
    if key == "sizeLimit" and not _QUANTITY.fullmatch(str(value)):
        yield document.finding(path, f"{value!r} is no quantity: write 512Mi or 1Gi")
    if key in ("minAvailable", "maxUnavailable") and isinstance(value, str) and not re.fullmatch(r"[0-9]{1,3}%", value):
        yield document.finding(
            path, f"must be a number or a percentage, not the text {value!r}: it fails when the budget is created"
        )
    if key == "podSpecPatch" and isinstance(value, str):
        yield from _patch(document, path, value)
    if key in _DURATIONS and isinstance(value, str) and not _DURATION.fullmatch(_TAG.sub("1", value)):
        yield document.finding(path, f"{value!r} is no duration: write 30s, 5m or 1h")
    if key == "parallelism" and isinstance(value, int) and value < 1:
        yield document.finding(path, f"{value} lets no pod start")
    if key == "labels" and isinstance(value, dict):
        for name, text in value.items():
            if not _LABEL.fullmatch(_TAG.sub("x", str(text))):
                yield document.finding(f"{path}.{name}", f"{text!r} is no label: at most 63 letters, digits, - _ .")
    if key == "retryStrategy" and isinstance(value, dict):
        yield from _retry(document, path, value)
    if key == "withSequence" and isinstance(value, dict):
        yield from _sequence(document, path, value)
    if key == "image" and value == "":
        yield document.finding(path, "is empty")


def _patch(document: Document, path: str, text: str) -> Iterator[Finding]:
    import yaml

    try:
        patch = yaml.safe_load(_TAG.sub("0", text))
    except yaml.YAMLError as error:
        yield document.finding(path, f"is not YAML: {' '.join(str(error).split())[:120]}")
        return
    if not isinstance(patch, dict):
        yield document.finding(path, f"must be a mapping of a pod's fields, not {text[:40]!r}")
    elif not isinstance(patch.get("terminationGracePeriodSeconds", 0), int):
        yield document.finding(path, "terminationGracePeriodSeconds must be a whole number")


def _retry(document: Document, path: str, retry: dict[str, Any]) -> Iterator[Finding]:
    limit = retry.get("limit")
    if limit is None:
        yield document.finding(f"{path}.limit", "is missing: it would be retried for ever")
    elif not re.fullmatch(r"[0-9]+|\{\{.*\}\}", str(limit)):
        yield document.finding(f"{path}.limit", f"must be a whole number, not {limit!r}")
    factor = (retry.get("backoff") or {}).get("factor", 1)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?|\{\{.*\}\}", str(factor)):
        yield document.finding(f"{path}.backoff.factor", f"must be a number, not {factor!r}")
    expression = retry.get("expression")
    if expression is None:
        return
    try:
        names = names_of(_TAG.sub("0", expression))
    except ExpressionError as error:
        yield document.finding(f"{path}.expression", f"{expression!r} is no expression: {error}")
        return
    for name in names:
        known = _FUNCTIONS if name.endswith("()") else _LAST_RETRY
        if name not in known and not name.startswith("sprig."):
            near = nearest_name(name, list(known))
            yield document.finding(
                f"{path}.expression", f"knows no {name}" + (f"; did you mean {near}?" if near else "")
            )


def _sequence(document: Document, path: str, sequence: dict[str, Any]) -> Iterator[Finding]:
    if ("count" in sequence) == ("end" in sequence):
        yield document.finding(path, "needs either count or end")
    for key in ("count", "start", "end"):
        value = sequence.get(key)
        if value is not None and not re.fullmatch(r"-?[0-9]+|\{\{.*\}\}", str(value)):
            yield document.finding(f"{path}.{key}", f"must be a whole number, not {value!r}")
    key = "count" if "count" in sequence else "end"
    pods = _whole(document, sequence.get(key))
    if key == "end" and pods is not None:
        start = _whole(document, sequence.get("start", "0"))
        pods = None if start is None else abs(pods - start) + 1
    if pods == _NO_NUMBER:
        yield document.finding(f"{path}.{key}", f"{sequence[key]} begins as no whole number: the run would fail")
    elif isinstance(pods, int) and pods > SHARDS_MAX:
        yield document.finding(
            f"{path}.{key}", f"{pods} pods: more than {SHARDS_MAX} outgrow the workflow's object; use larger shards"
        )
    elif isinstance(pods, int) and pods < 1:
        yield document.finding(f"{path}.{key}", f"{pods} pods: nothing would be done")


def _whole(document: Document, value: Any) -> int | None:
    """Return the number that a text is, or that the workflow's parameter it names begins with; None when unknown."""
    found = re.fullmatch(r"\{\{\s*workflow\.parameters\.([\w-]+)\s*\}\}", str(value))
    if found is not None:
        parameters = (document.spec.get("arguments") or {}).get("parameters") or []
        value = next((one.get("value") for one in parameters if one.get("name") == found[1]), None)
        if value and not re.fullmatch(r"-?[0-9]+|.*\{\{.*", str(value)):
            return _NO_NUMBER
    return int(str(value)) if re.fullmatch(r"-?[0-9]+", str(value)) else None


def _walk(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            place = f"{path}.{key}" if path else str(key)
            yield place, str(key), inner
            yield from _walk(inner, place)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            name = inner.get("name", index) if isinstance(inner, dict) else index
            yield from _walk(inner, f"{path}[{name}]")


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return name in ("Etc/UTC", "UTC")  # known everywhere, also where no database of zones is installed
    return True
