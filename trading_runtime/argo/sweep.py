"""The WorkflowTemplate of sweeps: plan, shards, gather. Only ids travel as parameters; everything else is in the store.

Two entrypoints: ``planned`` runs a sweep whose specification is in the store already (``argo submit``), ``backtest``
plans one first from a configuration inside the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trading_runtime.argo.models import forbid_unknown_fields
from trading_runtime.argo.pods import (
    OUT_FOLDER,
    SECRET_FOLDER,
    Pod,
    command_template,
    google_mounts,
    retry_of_pure_work,
    secret_mount,
    workflow_template,
)
from trading_runtime.argo.settings import ArgoSettings

if TYPE_CHECKING:
    from hera.workflows import WorkflowTemplate

PLANNED_ENTRYPOINT = "planned"
COMPONENT = "sweep"
SERVICE_ACCOUNT = "sweep"
_SWEEP = "{{inputs.parameters.sweep}}"
# After shards that succeeded, failed or broke: what is missing is read from the store, never from Argo's word.
# Skipped: no shard at all, which a number of shards of 0 makes; without gathering that would pass for success.
_AFTER_SHARDS = "shards.Succeeded || shards.Skipped || shards.Failed || shards.Errored"


def build_sweep(settings: ArgoSettings) -> WorkflowTemplate:
    """Return the WorkflowTemplate that plans, fans out and gathers."""
    forbid_unknown_fields()
    from hera.workflows import DAG, Parameter, Task, models

    sweep = settings.sweep
    store = sweep.store
    mounts, variables = google_mounts(store.google)
    if store.secret is not None:
        # A Secret that is not there fails the pod's first request in words, and keeps no pod waiting for it.
        keys = {"access-key-id": "access-key-id", "secret-access-key": "secret-access-key"}
        mounts.append(secret_mount("object-store", store.secret, SECRET_FOLDER, keys, is_optional=True))
        variables["AWS_ACCESS_KEY_ID_FILE"] = f"{SECRET_FOLDER}/access-key-id"
        variables["AWS_SECRET_ACCESS_KEY_FILE"] = f"{SECRET_FOLDER}/secret-access-key"

    def pod(name: str, arguments: list[str], seconds: int, **more: object) -> Pod:
        return Pod(
            name=name,
            arguments=["sweep", *arguments, "--store", store.address],
            size=getattr(sweep, f"{name}_size"),
            deadline_seconds=seconds,
            variables={**store.variables, **variables},
            mounts=mounts,
            retry=retry_of_pure_work(3),
            **more,  # type: ignore[arg-type]
        )

    with workflow_template(
        settings,
        sweep.name,
        namespace=settings.namespaces.research,
        component=COMPONENT,
        priority="research",
        deadline_seconds=sweep.workflow_seconds,
        kept_seconds=604_800,
        entrypoint=sweep.name,
        arguments=[
            Parameter(name="sweep", value="", description="id of a sweep that is planned (entrypoint planned)"),
            Parameter(
                name="configuration",
                value=sweep.configuration or "",
                description="a sweep's configuration inside the image (entrypoint backtest)",
            ),
            Parameter(name="shards", value=str(sweep.shards), description="pods the cells are shared among, 1 to 500"),
        ],
        service_account_name=SERVICE_ACCOUNT,
        parallelism=sweep.parallelism,
    ) as workflow:
        plan = command_template(
            settings,
            pod(
                "plan",
                ["plan", "--config", "{{inputs.parameters.configuration}}", "--id-file", f"{OUT_FOLDER}/sweep-id"],
                sweep.plan_seconds,
                inputs=[Parameter(name="configuration")],
                outputs=[Parameter(name="sweep", value_from=models.ValueFrom(path=f"{OUT_FOLDER}/sweep-id"))],
            ),
        )
        shard = command_template(
            settings,
            pod(
                "shard",
                [
                    *("run", "--sweep", _SWEEP),
                    *("--shard", "{{inputs.parameters.shard}}", "--shards", "{{inputs.parameters.shards}}"),
                    *("--workers", str(sweep.workers)),
                ],
                sweep.shard_seconds,
                inputs=[Parameter(name="sweep"), Parameter(name="shard"), Parameter(name="shards")],
            ),
        )
        gather = command_template(
            settings,
            pod("gather", ["gather", "--sweep", _SWEEP], sweep.gather_seconds, inputs=[Parameter(name="sweep")]),
        )

        def fan_out(sweep_id: str, depends: str | None) -> None:
            Task(
                name="shards",
                template=shard,
                depends=depends,
                with_sequence=models.Sequence(count=models.IntOrString("{{workflow.parameters.shards}}")),
                arguments=[
                    Parameter(name="sweep", value=sweep_id),
                    Parameter(name="shard", value="{{item}}"),
                    Parameter(name="shards", value="{{workflow.parameters.shards}}"),
                ],
            )
            gathered = [Parameter(name="sweep", value=sweep_id)]
            Task(name="gather", template=gather, depends=_AFTER_SHARDS, arguments=gathered)

        with DAG(name=sweep.name, fail_fast=False):
            chosen = Parameter(name="configuration", value="{{workflow.parameters.configuration}}")
            Task(name="plan", template=plan, arguments=[chosen])
            fan_out("{{tasks.plan.outputs.parameters.sweep}}", "plan.Succeeded")
        with DAG(name=PLANNED_ENTRYPOINT, fail_fast=False):
            fan_out("{{workflow.parameters.sweep}}", None)
    return workflow
