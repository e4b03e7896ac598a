"""A sweep as a workflow of a cluster: its name follows from the sweep, so that submitting twice is one sweep.

Also what a workflow tells of itself. Results are never taken from that: they are in the object store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trading_runtime.argo.client import AlreadyThere, Cluster, Workflow
from trading_runtime.argo.pods import PART_OF, labels
from trading_runtime.argo.settings import ArgoSettings
from trading_runtime.argo.sweep import COMPONENT, PLANNED_ENTRYPOINT
from trading_runtime.core.errors import ConfigurationError, TemporaryError

SWEEP_LABEL = f"{PART_OF}/sweep"
SHARDS_LABEL = f"{PART_OF}/shards"
SWEEPS = f"app.kubernetes.io/part-of={PART_OF},app.kubernetes.io/component={COMPONENT}"
_SWEEP_ID = re.compile(r"[0-9a-f]{16}")
_ENDED = ("Succeeded", "Failed", "Error")
_AGAIN_MAX = 99


@dataclass(frozen=True)
class Progress:
    """How far a workflow is, in its own words. ``done`` and ``planned`` count pods."""

    name: str
    sweep: str
    phase: str
    done: int
    planned: int
    message: str
    started: str
    finished: str

    @property
    def is_ended(self) -> bool:
        return self.phase in _ENDED

    @property
    def has_succeeded(self) -> bool:
        return self.phase == "Succeeded"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sweep": self.sweep,
            "phase": self.phase,
            "pods_done": self.done,
            "pods_planned": self.planned,
            "message": self.message or None,
            "started": self.started or None,
            "finished": self.finished or None,
        }


@dataclass(frozen=True)
class Submitted:
    """What became of a submission."""

    progress: Progress
    is_new: bool


def check_sweep_id(text: str) -> str:
    """Return a sweep's id; raises ConfigurationError for what is none."""
    if not _SWEEP_ID.fullmatch(text):
        raise ConfigurationError(
            f"--sweep: {text[:60]!r} is no id of a sweep: 16 of 0-9 and a-f, as `sweep plan` prints it"
        )
    return text


def sweep_workflow(settings: ArgoSettings, sweep: str, shards: int, again: int = 1) -> Workflow:
    """Return the workflow that computes a planned sweep. ``again`` counts the runs of one sweep."""
    name = f"{settings.sweep.name}-{sweep}" + (f"-{again}" if again > 1 else "")
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": name,
            "namespace": settings.namespaces.research,
            "labels": {**labels(COMPONENT), SWEEP_LABEL: sweep, SHARDS_LABEL: str(shards)},
        },
        "spec": {
            "workflowTemplateRef": {"name": settings.sweep.name},
            "entrypoint": PLANNED_ENTRYPOINT,
            "arguments": {"parameters": [{"name": "sweep", "value": sweep}, {"name": "shards", "value": str(shards)}]},
        },
    }


def submit(
    cluster: Cluster,
    settings: ArgoSettings,
    sweep: str,
    shards: int,
    *,
    is_again: bool = False,
    is_dry_run: bool = False,
) -> Submitted:
    """Start a planned sweep, unless the cluster has a run of it: then that, the newest one, is what became of it. With
    ``is_again`` a newest run that has ended is followed by another, which computes only what is missing;
    ConfigurationError is raised when it has not. ``is_dry_run`` lets the API server check everything and keep nothing.
    """
    runs = _runs(cluster, settings, sweep)
    number = max(runs, default=0)
    if number:
        newest = progress_of(runs[number])
        if not is_again:
            return Submitted(newest, False)
        if not newest.is_ended:
            raise ConfigurationError(
                f"{newest.name} is {newest.phase}: it goes on by itself; --again is for runs that ended"
            )
    if number >= _AGAIN_MAX:
        raise ConfigurationError(f"sweep {sweep} was run {_AGAIN_MAX} times: delete old workflows")
    workflow = sweep_workflow(settings, sweep, shards, number + 1)
    name = workflow["metadata"]["name"]
    try:
        return Submitted(progress_of(cluster.create(workflow, is_dry_run=is_dry_run)), True)
    except AlreadyThere:  # by somebody else meanwhile, or by this very call, whose answer was lost
        there = cluster.get(name)
        if there is None:
            raise TemporaryError(f"{name} was there and is gone: somebody deletes workflows; submit again") from None
        return Submitted(progress_of(there), False)


def _runs(cluster: Cluster, settings: ArgoSettings, sweep: str) -> dict[int, Workflow]:
    """Return the runs of a sweep by their number. Old ones are deleted by their age, the first before the second: what
    is there, not what is free, says which number is next.
    """
    first = sweep_workflow(settings, sweep, 1)["metadata"]["name"]
    numbered = re.compile(rf"{re.escape(first)}(-([0-9]{{1,2}}))?")
    found = {}
    for workflow in cluster.workflows(f"{SWEEPS},{SWEEP_LABEL}={sweep}"):
        name = numbered.fullmatch(str(workflow["metadata"]["name"]))
        if name is not None:
            found[int(name[2] or 1)] = workflow
    return found


def follow(cluster: Cluster, name: str, show: Callable[[Progress], None]) -> Progress:
    """Show a workflow's progress whenever it changes, until it ends; returns its last one."""
    last: Progress | None = None
    for progress in _progresses(cluster, name):
        if progress != last:
            show(progress)
            last = progress
        if progress.is_ended:
            return progress
    raise AssertionError("a followed workflow ends or is gone")


def progress_of(workflow: Workflow) -> Progress:
    """Return what a workflow tells of itself."""
    metadata, status = workflow["metadata"], workflow.get("status") or {}
    done, _, planned = str(status.get("progress") or "0/0").partition("/")
    return Progress(
        name=metadata["name"],
        sweep=(metadata.get("labels") or {}).get(SWEEP_LABEL, ""),
        phase=status.get("phase") or "Pending",
        done=int(done) if done.isdigit() else 0,
        planned=int(planned) if planned.isdigit() else 0,
        message=" ".join(str(status.get("message") or "").split()),
        started=status.get("startedAt") or "",
        finished=status.get("finishedAt") or "",
    )


def _progresses(cluster: Cluster, name: str) -> Iterator[Progress]:
    for workflow in cluster.follow(name):
        yield progress_of(workflow)
