"""A rendered workflow's containers run here in the order Argo would run them: the same words, no cluster."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from argo_manifests import Document, template

from trading_runtime.argo.pods import COMMAND, OUT_FOLDER

_TAG = re.compile(r"\{\{([^}]*)\}\}")
# Runs the words of one container and returns its exit code; None for a pod that was lost.
Run = Callable[[str, list[str]], int | None]


def run_workflow(
    body: Document, entrypoint: str, given: Mapping[str, str], out: Path, run: Run, *, is_backwards: bool = False
) -> dict[str, str]:
    """Run a DAG of container templates and return each task's phase. ``out`` stands for the writable folder of a pod;
    ``is_backwards`` starts the pods of a sequence from the last.
    """
    values = {f"workflow.parameters.{one['name']}": one["value"] for one in body["spec"]["arguments"]["parameters"]}
    values |= {f"workflow.parameters.{name}": value for name, value in given.items()}
    phases: dict[str, str] = {}
    waiting = list(template(body, entrypoint)["dag"]["tasks"])
    while waiting:
        ready = [task for task in waiting if _is_ready(task, phases)]
        assert ready, f"{[task['name'] for task in waiting]} wait for ever"
        for task in ready:
            waiting.remove(task)
            phases[task["name"]] = _run_task(body, task, values, phases, out, run, is_backwards)
    return phases


def _run_task(
    body: Document,
    task: dict[str, Any],
    values: dict[str, str],
    phases: Mapping[str, str],
    out: Path,
    run: Run,
    is_backwards: bool,
) -> str:
    if not _is_wanted(task, phases):
        return "Omitted"
    called = template(body, task["template"])
    items: list[int | None] = [None]
    if "withSequence" in task:
        items = list(range(int(_filled(str(task["withSequence"]["count"]), values))))
        items = items[::-1] if is_backwards else items
    phase = "Succeeded"
    for item in items:
        scope = values if item is None else {**values, "item": str(item)}
        arguments = task["arguments"]["parameters"]
        inputs = {f"inputs.parameters.{one['name']}": _filled(one["value"], scope) for one in arguments}
        words = [_filled(word, {**values, **inputs}) for word in called["container"]["args"]]
        assert called["container"]["command"] == [COMMAND]
        if run(called["name"], [word.replace(OUT_FOLDER, str(out)) for word in words]) != 0:
            phase = "Failed"
            continue
        for output in (called.get("outputs") or {}).get("parameters", []):
            text = Path(output["valueFrom"]["path"].replace(OUT_FOLDER, str(out))).read_text()
            # Argo takes one line break from the end of what it reads.
            values[f"tasks.{task['name']}.outputs.parameters.{output['name']}"] = text.removesuffix("\n")
    return phase


def _is_ready(task: dict[str, Any], phases: Mapping[str, str]) -> bool:
    return all(name in phases for name in re.findall(r"([\w-]+)\.[A-Z]\w+", task.get("depends") or ""))


def _is_wanted(task: dict[str, Any], phases: Mapping[str, str]) -> bool:
    """Whether one of the ways to be reached is true; Errored is a failure that Argo itself saw."""
    ways = [way.strip() for way in (task.get("depends") or "").split("||") if way.strip()]
    return not ways or any(phases[way.rpartition(".")[0]] == way.rpartition(".")[2] for way in ways)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _TAG.sub(lambda tag: values[tag[1]], text)
