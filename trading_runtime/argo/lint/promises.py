"""Whether a workflow keeps what the guide promises of it: cycles that are told of, one at a time, by the clock of UTC,
and sweeps that are gathered whatever happened. docs/cluster.md is the guide.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from trading_runtime.argo.lint.documents import Document, Finding
from trading_runtime.argo.lint.references import exit_templates, reachable
from trading_runtime.argo.lint.safety import is_order_pod, sends_orders
from trading_runtime.argo.pods import COMMAND

SLOT = "{{workflow.scheduledTime}}"
_UTC = ("Etc/UTC", "UTC")
_STARTING_SECONDS_MAX = 3_600


def promises(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    """Yield findings about promises of a workflow document; ``documents`` are all that are checked together."""
    if document.kind == "CronWorkflow":
        yield from _cron(document, documents)
    spec, path = document.spec, document.spec_path
    if "workflowTemplateRef" in spec:
        return
    for key, why in (
        ("podGC", "ended pods would stay for ever"),
        ("ttlStrategy", "ended workflows would fill the cluster's store"),
    ):
        if not spec.get(key):
            yield document.finding(f"{path}.{key}", f"is missing: {why}")
    yield from _deadlines(document)
    if any(is_order_pod(template) for _, template in document.templates()):
        yield from _orders(document, documents)
    yield from _gathering(document)


def _deadlines(document: Document) -> Iterator[Finding]:
    whole = document.spec.get("activeDeadlineSeconds")
    for path, template in document.templates():
        own = template.get("activeDeadlineSeconds")
        if str(own).isdigit() and str(whole).isdigit() and int(str(own)) > int(str(whole)):
            yield document.finding(
                f"{path}.activeDeadlineSeconds", f"{own} is later than the end of the whole workflow, {whole}"
            )


def _orders(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    spec, path = document.spec, document.spec_path
    templates = {str(template.get("name")): template for _, template in document.templates()}
    if not spec.get("onExit"):
        yield document.finding(f"{path}.onExit", "is missing: nobody would be told of a cycle that failed")
    for name in sorted(reachable(templates, exit_templates(spec))):
        if is_order_pod(templates[name]):
            yield document.finding(
                f"{path}.onExit", f"{name} sends orders: an exit handler or hook would trade beside the cycle"
            )
    if not isinstance((spec.get("podDisruptionBudget") or {}).get("minAvailable"), int):
        yield document.finding(
            f"{path}.podDisruptionBudget.minAvailable", "is missing: draining a node would cut a cycle off; write 9999"
        )
    for mutex in (spec.get("synchronization") or {}).get("mutexes") or []:
        name = str(mutex.get("name") or "")
        if not name or "{{" in name:
            yield document.finding(
                f"{path}.synchronization.mutexes",
                f"{name!r} differs from run to run or is empty: it must be the name of the account",
            )
    is_scheduled = any(
        one.kind == "CronWorkflow"
        and one.namespace == document.namespace
        and (one.spec.get("workflowTemplateRef") or {}).get("name") == document.name
        for one in documents
    )
    for place, template in document.templates():
        if not is_order_pod(template):
            continue
        for key in ("daemon", "memoize"):
            if template.get(key):
                yield document.finding(f"{place}.{key}", "has no place over a pod that sends orders")
        container = template.get("container") or {}
        words = [str(word) for word in [*(container.get("command") or []), *(container.get("args") or [])]]
        resources = container.get("resources") or {}
        limit, request = ((resources.get(kind) or {}).get("memory") for kind in ("limits", "requests"))
        if limit != request:
            yield document.finding(
                f"{place}.container.resources.limits.memory",
                f"{limit} is not the request {request}: a node that runs out of memory would kill a cycle first",
            )
        if is_scheduled and words[:1] == [COMMAND] and not _has_slot(words):
            yield document.finding(
                f"{place}.container.args",
                f"has no --slot {SLOT}: a cycle that starts late would decide for another bar",
            )


def _has_slot(words: Sequence[str]) -> bool:
    return f"--slot={SLOT}" in words or any(pair == ("--slot", SLOT) for pair in itertools.pairwise(words))


def _cron(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    outer = document.body["spec"]
    seconds = outer.get("startingDeadlineSeconds")
    if isinstance(seconds, int) and not 0 <= seconds <= _STARTING_SECONDS_MAX:
        yield document.finding(
            "spec.startingDeadlineSeconds", f"must be from 1 to {_STARTING_SECONDS_MAX}: later, the tick is of no use"
        )
    reference = (document.spec.get("workflowTemplateRef") or {}).get("name")
    started = [one for one in documents if one.name == reference and one.namespace == document.namespace]
    if not any(sends_orders(one, documents) for one in [document, *started]):
        return
    if outer.get("timezone") not in (None, *_UTC):
        yield document.finding(
            "spec.timezone",
            f"must be Etc/UTC for what sends orders, not {outer['timezone']}: summer time repeats an hour",
        )
    for key in ("when", "stopStrategy"):
        if outer.get(key):
            yield document.finding(
                f"spec.{key}", "stops cycles where nobody looks: the halt is a document of the store (`control halt`)"
            )


def _gathering(document: Document) -> Iterator[Finding]:
    """Gathering reports what is missing: it must run above all when something is."""
    gathers = {
        str(template.get("name"))
        for _, template in document.templates()
        if [str(word) for word in (template.get("container") or {}).get("args") or []][:2] == ["sweep", "gather"]
    }
    for path, template in document.templates():
        dag = template.get("dag") or {}
        for task in dag.get("tasks") or []:
            if task.get("template") not in gathers:
                continue
            place = f"{path}.dag.tasks[{task.get('name')}]"
            if dag.get("failFast") is not False:
                yield document.finding(f"{path}.dag.failFast", "must be false: one lost pod must not stop the others")
            missing = [
                result
                for result in ("Succeeded", "Skipped", "Failed", "Errored")
                if not re.search(rf"\.{result}\b", str(task.get("depends") or ""))
            ]
            if missing:
                yield document.finding(
                    f"{place}.depends", f"must run whatever happened: {', '.join(missing)} is not among its conditions"
                )
