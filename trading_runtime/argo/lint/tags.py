"""The ``{{...}}`` of a manifest: which name each asks for, and whether that name means anything where it stands.

Source: Argo's variables.md. Argo leaves a name that it does not know in the text, as braces, or refuses the workflow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from trading_runtime.argo.lint.expressions import ExpressionError, names_of
from trading_runtime.core.errors import nearest_name

_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_WORKFLOW = frozenset(
    {
        *("name", "namespace", "uid", "mainEntrypoint", "serviceAccountName", "priority", "creationTimestamp"),
        *("creationTimestamp.RFC3339", "creationTimestamp.s", "scheduledTime", "parameters", "parameters.json"),
        *("annotations", "annotations.json", "labels", "labels.json"),
    }
)
_AFTER_THE_END = frozenset({"status", "failures", "duration"})
_POD = frozenset({"pod.name", "node.name", "retries", "steps.name", "tasks.name"})
_TASK = frozenset({"id", "ip", "status", "startedAt", "finishedAt", "hostNodeName", "exitCode", "outputs.result"})
_ROOTS = frozenset({"workflow", "inputs", "outputs", "tasks", "steps", "item", "pod", "node", "retries", "lastRetry"})


@dataclass(frozen=True)
class Scope:
    """What names mean something at a place."""

    workflow_parameters: frozenset[str]
    inputs: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    # Tasks that have ended before this place is reached, with the outputs of their templates; None: not known here.
    tasks: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    has_item: bool = False
    is_after_the_end: bool = False
    is_template: bool = False
    # Workflow parameters of a template that others refer to come from them.
    is_open: bool = False


def tag_problems(text: str, scope: Scope) -> Iterator[str]:
    """Yield what is wrong with the tags of a text."""
    for content in _TAG.findall(text):
        if content.startswith("="):
            try:
                names = names_of(content[1:])
            except ExpressionError as error:
                yield f"{{{{{content}}}}} is no expression: {error}"
                continue
        else:
            names = [content.strip()]
        for name in names:
            root = name.partition(".")[0].removesuffix("()")
            if content.startswith("=") and root not in _ROOTS:
                continue  # a function, or sprig's
            problem = _problem(name, scope)
            if problem:
                yield f"{{{{{content}}}}}: {problem}"
    rest = _TAG.sub("", text)
    if "{{" in rest:
        yield f"{text[:60]!r} opens {{{{ and never closes it"


def _problem(name: str, scope: Scope) -> str | None:
    root, _, rest = name.partition(".")
    if root == "workflow":
        return _workflow_problem(rest, scope)
    if root == "inputs" and scope.is_template:
        kind, _, inner = rest.partition(".")
        if kind == "artifacts" or rest == "parameters":
            return None
        return _declared(kind, inner, "inputs", scope.inputs)
    if root == "outputs" and scope.is_template:
        kind, _, inner = rest.partition(".")
        return (
            None
            if kind in ("artifacts", "result")
            else _declared(kind, inner.removesuffix(".path"), "outputs", scope.outputs)
        )
    if root in ("tasks", "steps") and name not in _POD:
        return _task_problem(rest, scope)
    if root == "item":
        return (
            None
            if scope.has_item
            else "there is no item here: only in a task with withItems, withParam or withSequence"
        )
    if (name in _POD or root == "lastRetry") and scope.is_template:
        return None
    return "nothing of that name exists here"


def _workflow_problem(rest: str, scope: Scope) -> str | None:
    if rest in _WORKFLOW or rest.startswith(("annotations.", "labels.", "outputs.")):
        return None
    if rest in _AFTER_THE_END:
        return None if scope.is_after_the_end else "is known only to exit handlers"
    kind, _, parameter = rest.partition(".")
    if kind == "parameters":
        if scope.is_open or parameter in scope.workflow_parameters:
            return None
        return f"the workflow has no parameter {parameter!r}{_hint(parameter, scope.workflow_parameters)}"
    return f"a workflow has no {rest!r}{_hint(rest, _WORKFLOW | _AFTER_THE_END)}"


def _declared(kind: str, name: str, what: str, known: frozenset[str]) -> str | None:
    if kind == "parameters" and name in known:
        return None
    return f"the template's {what} have no parameter {name or kind!r}{_hint(name, known)}"


def _task_problem(rest: str, scope: Scope) -> str | None:
    task, _, field_ = rest.partition(".")
    if task not in scope.tasks:
        return f"{task!r} is no task that has ended by then{_hint(task, scope.tasks)}"
    outputs = scope.tasks[task]
    if field_ in _TASK or outputs is None:
        return None
    kind, _, inner = field_.partition(".")
    part, _, name = inner.partition(".")
    if kind == "outputs" and part == "artifacts":
        return None
    if kind == "outputs" and part == "parameters" and name in outputs:
        return None
    return f"task {task!r} has no {field_}{_hint(name, outputs)}"


def _hint(name: str, known: object) -> str:
    near = nearest_name(name, sorted(known)) if isinstance(known, (frozenset, Mapping)) else None
    return f"; did you mean {near}?" if near else ""
