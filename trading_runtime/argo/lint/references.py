"""Whether everything a workflow names is there: templates, tasks, parameters, other documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trading_runtime.argo.lint.documents import Document, Finding, strings
from trading_runtime.argo.lint.expressions import ExpressionError, names_of
from trading_runtime.argo.lint.tags import Scope, tag_problems
from trading_runtime.core.errors import nearest_name

# Argo allows a run that refers to a template these fields only, under templateReferencing: Strict (its security.md).
_STRICT_FIELDS = frozenset(
    {"arguments", "entrypoint", "shutdown", "suspend", "activeDeadlineSeconds", "priority", "ttlStrategy", "podGC"}
    | {"volumeClaimGC", "archiveLogs", "workflowMetadata", "workflowTemplateRef", "metrics", "artifactGC"}
)
_KINDS = ("container", "script", "resource", "dag", "steps", "suspend", "http", "plugin", "containerSet", "data")
_RESULTS = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed")
_LOOPS = ("withItems", "withParam", "withSequence")

Template = dict[str, Any]


def references(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    """Yield findings about what a workflow document names; ``documents`` are all that are checked together."""
    spec = document.spec
    if "workflowTemplateRef" in spec:
        yield from _started_template(document, documents)
        return
    templates = {str(template.get("name")): template for _, template in document.templates()}
    is_template = document.kind in ("WorkflowTemplate", "ClusterWorkflowTemplate")
    entrypoint = spec.get("entrypoint")
    if entrypoint is None and not is_template:
        yield document.finding(f"{document.spec_path}.entrypoint", "is missing")
    for key in ("entrypoint", "onExit"):
        name = spec.get(key)
        if name is None:
            continue
        if name not in templates:
            yield document.finding(
                f"{document.spec_path}.{key}", f"there is no template {name!r}{_hint(name, templates)}"
            )
            continue
        # What a run is given goes to these templates by its names.
        for wanted in sorted(_needed(templates[name]) - set(_names(spec.get("arguments")))):
            yield document.finding(
                f"{document.spec_path}.{key}", f"template {name!r} needs a value for {wanted!r}, which nobody gives"
            )
    yield from _given_twice(document)
    parameters = frozenset(_names(spec.get("arguments")))
    scope = Scope(parameters)
    top = strings({key: spec[key] for key in spec if key != "templates"}, document.spec_path)
    for path, text in top:
        for problem in tag_problems(text, scope):
            yield document.finding(path, problem)
    after_the_end = reachable(templates, exit_templates(spec))
    for path, template in document.templates():
        name = str(template.get("name"))
        inner = Scope(
            parameters,
            inputs=frozenset(_names(template.get("inputs"))),
            outputs=frozenset(_names(template.get("outputs"))),
            is_after_the_end=name in after_the_end,
            is_template=True,
        )
        yield from _kind(document, path, template)
        for place, text in strings(template, path, leave_out=("dag", "steps", "name")):
            for problem in tag_problems(text, inner):
                yield document.finding(place, problem)
        if "dag" in template:
            yield from _dag(document, path, template["dag"], templates, inner, documents)
        if "steps" in template:
            yield from _steps(document, path, template["steps"], templates, inner, documents)


def _started_template(document: Document, documents: Sequence[Document]) -> Iterator[Finding]:
    spec, path = document.spec, f"{document.spec_path}.workflowTemplateRef"
    for key in spec:
        if key not in _STRICT_FIELDS:
            yield document.finding(
                f"{document.spec_path}.{key}",
                "belongs on the template: a run that refers to one may not set it (Strict)",
            )
    reference = spec["workflowTemplateRef"]
    target = _target(document, str(reference.get("name")), bool(reference.get("clusterScope")), documents)
    if target is None:
        names = [
            one.name for one in documents if one.kind == "WorkflowTemplate" and one.namespace == document.namespace
        ]
        name = reference.get("name")
        yield document.finding(
            path,
            f"there is no WorkflowTemplate {name!r} in {document.namespace or 'that namespace'}"
            f"{_hint(str(name), names)}",
        )
        return
    templates = [template.get("name") for _, template in target.templates()]
    entrypoint = spec.get("entrypoint", target.spec.get("entrypoint"))
    if entrypoint not in templates:
        yield document.finding(
            f"{document.spec_path}.entrypoint",
            f"{target.name} has no template {entrypoint!r}{_hint(str(entrypoint), templates)}",
        )
    declared = set(_names(target.spec.get("arguments")))
    given = set(_names(spec.get("arguments")))
    for name in sorted(given - declared):
        yield document.finding(
            f"{document.spec_path}.arguments", f"{target.name} has no parameter {name!r}{_hint(name, declared)}"
        )
    for parameter in (target.spec.get("arguments") or {}).get("parameters") or []:
        if not {"value", "default", "valueFrom"} & set(parameter) and parameter["name"] not in given:
            yield document.finding(
                f"{document.spec_path}.arguments", f"{target.name} needs a value for {parameter['name']!r}"
            )
    scope = Scope(frozenset(given | declared))
    for place, text in strings(spec, document.spec_path):
        for problem in tag_problems(text, scope):
            yield document.finding(place, problem)


def _given_twice(document: Document) -> Iterator[Finding]:
    """Argo refuses two parameters of one name."""
    blocks = [(f"{document.spec_path}.arguments", document.spec.get("arguments"))]
    for path, template in document.templates():
        blocks += [(f"{path}.{kind}", template.get(kind)) for kind in ("inputs", "outputs")]
        for task in (template.get("dag") or {}).get("tasks") or []:
            blocks.append((f"{path}.dag.tasks[{task.get('name')}].arguments", task.get("arguments")))
    for path, block in blocks:
        names = _names(block)
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            yield document.finding(f"{path}.parameters[{name}]", "is given twice")


def _needed(template: Template) -> set[str]:
    return {
        str(one.get("name"))
        for one in (template.get("inputs") or {}).get("parameters") or []
        if not {"value", "default", "valueFrom"} & set(one)
    }


def _kind(document: Document, path: str, template: Template) -> Iterator[Finding]:
    kinds = [kind for kind in _KINDS if kind in template]
    if len(kinds) != 1:
        what = "does nothing" if not kinds else f"is {' and '.join(kinds)} at once"
        yield document.finding(path, f"{what}: a template is one of {', '.join(_KINDS[:6])}")
    for key in ("activeDeadlineSeconds", "timeout"):
        if key in template and ("dag" in template or "steps" in template):
            yield document.finding(f"{path}.{key}", "belongs on what runs a pod, or on the workflow")
    for kind in ("container", "script"):
        if kind in template and not template[kind].get("image"):
            yield document.finding(f"{path}.{kind}.image", "is missing")


def _dag(
    document: Document,
    path: str,
    dag: dict[str, Any],
    templates: Mapping[str, Template],
    scope: Scope,
    documents: Sequence[Document],
) -> Iterator[Finding]:
    tasks = {str(task.get("name")): task for task in dag.get("tasks") or []}
    if not tasks:
        yield document.finding(f"{path}.dag.tasks", "is empty: it would succeed without doing anything")
    if len(tasks) < len(dag.get("tasks") or []):
        yield document.finding(f"{path}.dag.tasks", "two tasks have one name")
    before: dict[str, set[str]] = {}
    for name, task in tasks.items():
        place = f"{path}.dag.tasks[{name}]"
        before[name] = set()
        if "depends" in task and "dependencies" in task:
            yield document.finding(place, "has depends and dependencies: use one")
        if "depends" in task and "continueOn" in task:
            yield document.finding(place, "has depends and continueOn: say what may fail in depends")
        if name[:1].isdigit():
            yield document.finding(place, "begins with a digit, which depends cannot read")
        for other in task.get("dependencies") or []:
            before[name].add(other)
        if "depends" in task:
            found, problems = _depends(task["depends"], tasks)
            before[name] |= found
            for problem in problems:
                yield document.finding(f"{place}.depends", problem)
        for other in sorted(before[name] - set(tasks)):
            yield document.finding(place, f"depends on {other!r}, which is no task here{_hint(other, tasks)}")
    ancestors = {name: _ancestors(name, before) for name in tasks}
    for name, task in tasks.items():
        place = f"{path}.dag.tasks[{name}]"
        if name in ancestors[name]:
            yield document.finding(place, "depends on itself, in a circle")
        ended = {one: _outputs(tasks[one], templates) for one in ancestors[name] if one in tasks}
        yield from _call(document, place, task, templates, replace(scope, tasks=ended), documents)
    for name in (dag.get("target") or "").split():
        if name not in tasks:
            yield document.finding(f"{path}.dag.target", f"{name!r} is no task here{_hint(name, tasks)}")


def _steps(
    document: Document,
    path: str,
    groups: Sequence[Sequence[dict[str, Any]]],
    templates: Mapping[str, Template],
    scope: Scope,
    documents: Sequence[Document],
) -> Iterator[Finding]:
    ended: dict[str, frozenset[str] | None] = {}
    for index, group in enumerate(groups):
        for step in group:
            place = f"{path}.steps[{index}][{step.get('name')}]"
            if step.get("name") in ended:
                yield document.finding(place, f"there are two steps {step.get('name')!r}")
            yield from _call(document, place, step, templates, replace(scope, tasks=dict(ended)), documents)
        ended |= {str(step.get("name")): _outputs(step, templates) for step in group}


def _call(
    document: Document,
    path: str,
    task: dict[str, Any],
    templates: Mapping[str, Template],
    scope: Scope,
    documents: Sequence[Document],
) -> Iterator[Finding]:
    loops = [loop for loop in _LOOPS if loop in task]
    if len(loops) > 1:
        yield document.finding(path, f"has {' and '.join(loops)}: use one")
    for place, text in strings(task, path, leave_out=("inline", "name", "depends")):
        has_item = bool(loops) and not place.startswith(tuple(f"{path}.{loop}" for loop in loops))
        for problem in tag_problems(text, replace(scope, has_item=has_item)):
            yield document.finding(place, problem)
    ways = [key for key in ("template", "templateRef", "inline") if task.get(key) is not None]
    if len(ways) != 1:
        yield document.finding(path, "needs one of template, templateRef and inline")
        return
    if ways == ["inline"]:
        yield document.finding(f"{path}.inline", "is a template that nobody checks: give it a name among the templates")
    called: Template | None = None
    if ways == ["template"]:
        called = templates.get(task["template"])
        if called is None:
            yield document.finding(
                f"{path}.template", f"there is no template {task['template']!r}{_hint(task['template'], templates)}"
            )
    elif ways == ["templateRef"]:
        reference = task["templateRef"]
        target = _target(document, str(reference.get("name")), bool(reference.get("clusterScope")), documents)
        if target is not None:
            called = next((one for _, one in target.templates() if one.get("name") == reference.get("template")), None)
        if called is None:
            wanted = f"{reference.get('name')}/{reference.get('template')}"
            yield document.finding(f"{path}.templateRef", f"there is no template {wanted!r}")
    if called is not None:
        yield from _arguments(document, path, task, called)


def _arguments(document: Document, path: str, task: dict[str, Any], called: Template) -> Iterator[Finding]:
    inputs = {one["name"]: one for one in (called.get("inputs") or {}).get("parameters") or []}
    given = set(_names(task.get("arguments")))
    for name, parameter in inputs.items():
        if name not in given and not {"value", "default", "valueFrom"} & set(parameter):
            yield document.finding(f"{path}.arguments", f"template {called.get('name')!r} needs a value for {name!r}")
    for name in sorted(given - set(inputs)):
        yield document.finding(
            f"{path}.arguments", f"template {called.get('name')!r} has no input {name!r}{_hint(name, inputs)}"
        )


def _depends(text: str, tasks: Mapping[str, Any]) -> tuple[set[str], list[str]]:
    """Return the tasks a ``depends`` names, and what is wrong with it. Argo, too, reads - in names as _."""
    written = {name.replace("-", "_"): name for name in tasks}
    try:
        names = names_of(re.sub(r"(?<=\w)-(?=\w)", "_", text))
    except ExpressionError as error:
        return set(), [f"{text!r} is no expression: {error}"]
    found, problems = set(), []
    for name in names:
        task, _, result = name.partition(".")
        found.add(written.get(task, task))
        if result and result not in _RESULTS:
            problems.append(f"a task is never {result!r}{_hint(result, _RESULTS)}")
    return found, problems


def _ancestors(name: str, before: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(before.get(name, ()))
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += before.get(one, ())
    return found


def _outputs(task: dict[str, Any], templates: Mapping[str, Template]) -> frozenset[str] | None:
    called = templates.get(str(task.get("template")))
    return None if called is None else frozenset(_names(called.get("outputs")))


def exit_templates(spec: dict[str, Any]) -> set[str]:
    """Return the templates that the exit handler and the hooks of a specification start."""
    found = {spec["onExit"]} if spec.get("onExit") else set()
    found |= {hook.get("template") for hook in (spec.get("hooks") or {}).values() if hook.get("template")}
    return {str(one) for one in found}


def reachable(templates: Mapping[str, Template], roots: set[str]) -> set[str]:
    """Return the names of ``roots`` and of every template that they call, themselves or through others."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found or name not in templates:
            continue
        found.add(name)
        body = templates[name]
        calls = [
            *((body.get("dag") or {}).get("tasks") or []),
            *(step for group in body.get("steps") or [] for step in group),
        ]
        waiting += [str(call.get("template")) for call in calls]
    return found


def _target(document: Document, name: str, is_cluster: bool, documents: Sequence[Document]) -> Document | None:
    kind = "ClusterWorkflowTemplate" if is_cluster else "WorkflowTemplate"
    for one in documents:
        if one.kind == kind and one.name == name and (is_cluster or one.namespace == document.namespace):
            return one
    return None


def _names(block: dict[str, Any] | None) -> list[str]:
    return [str(one.get("name")) for one in (block or {}).get("parameters") or []]


def _hint(name: str, known: Any) -> str:
    near = nearest_name(name, sorted(str(one) for one in known))
    return f"; did you mean {near}?" if near else ""
