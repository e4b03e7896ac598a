"""The live cycle on a cluster: one pod an hour, one process, one decision. And the jobs that only look at it.

Field values and their reasons: docs/cluster.md. Whatever Argo retries, repeats or forgets, the book is right: the
lease, the plan and the claims are in the store. What is here keeps Argo from adding anything of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trading_runtime.argo.models import forbid_unknown_fields
from trading_runtime.argo.pods import (
    SECRET_FOLDER,
    Mounted,
    Pod,
    command_template,
    config_map_mount,
    google_mounts,
    labels,
    retry_of_nothing_sent,
    secret_mount,
    secret_variable,
    workflow_template,
)
from trading_runtime.argo.settings import ArgoSettings, LookSettings, SizeSettings

if TYPE_CHECKING:
    from hera.workflows import CronWorkflow, WorkflowTemplate, models

SETTINGS_FOLDER = "/etc/trading-runtime"
SETTINGS_FILE = "cycle.yaml"
LIVE_ACCOUNT = "live-cycle"
WATCH_ACCOUNT = "watch"
NOTIFY = "notify"
# Larger than any number of pods, and a number: a text passes every schema and fails when the budget is created.
_NEVER_EVICTED = 9_999
_CONFIG = ["--config", f"{SETTINGS_FOLDER}/{SETTINGS_FILE}"]


def build_live(settings: ArgoSettings) -> WorkflowTemplate:
    """Return the WorkflowTemplate of one cycle."""
    forbid_unknown_fields()
    from hera.workflows import models

    live = settings.live
    with workflow_template(
        settings,
        live.name,
        namespace=settings.namespaces.live,
        component="live-cycle",
        priority="live",
        deadline_seconds=live.workflow_seconds,
        entrypoint="cycle",
        on_exit=NOTIFY,
        service_account_name=LIVE_ACCOUNT,
        # A second line only, kept in the controller's memory; the first is the lease in the store.
        synchronization=models.Synchronization(mutexes=[models.Mutex(name=f"cycle-{live.account}")]),
        pod_disruption_budget=models.PodDisruptionBudgetSpec(min_available=models.IntOrString(_NEVER_EVICTED)),
    ) as workflow:
        mounts, variables = _exchange_mounts(settings)
        command_template(
            settings,
            Pod(
                name="cycle",
                # Not filled in by hand-started runs: the command takes what begins with {{ as no slot.
                arguments=[
                    *("cycle", *_CONFIG, "--mode", live.mode),
                    *("--slot", "{{workflow.scheduledTime}}", "--run-id", "{{workflow.name}}"),
                ],
                size=live.size,
                deadline_seconds=live.pod_seconds,
                variables=variables,
                secret_variables=_telegram(settings),
                mounts=mounts,
                retry=retry_of_nothing_sent(),
                grace_seconds=live.grace_seconds,
            ),
        )
        command_template(settings, _watch_pod(settings, NOTIFY, 120, settings.watch.size))
    return workflow


def build_live_cron(settings: ArgoSettings) -> CronWorkflow:
    """Return the CronWorkflow that starts a cycle after every closed bar."""
    live = settings.live
    return _cron(
        settings,
        LookSettings(name=live.name, schedule=live.schedule, suspend=live.suspend),
        live.starting_deadline_seconds,
        failed_kept=72,
    )


def build_look(settings: ArgoSettings, verb: str) -> WorkflowTemplate:
    """Return the WorkflowTemplate of ``watch`` or ``reconcile``."""
    forbid_unknown_fields()
    look: LookSettings = getattr(settings, verb)
    # What compares with the exchange needs its keys and the identity that may use them; what watches must not.
    account = LIVE_ACCOUNT if verb == "reconcile" else WATCH_ACCOUNT
    with workflow_template(
        settings,
        look.name,
        namespace=settings.namespaces.live,
        component=verb,
        priority="live",
        deadline_seconds=look.pod_seconds * 2,
        entrypoint=verb,
        service_account_name=account,
    ) as workflow:
        if verb == "watch":
            command_template(settings, _watch_pod(settings, verb, look.pod_seconds, look.size))
        else:
            mounts, variables = _exchange_mounts(settings)
            command_template(
                settings,
                Pod(
                    name=verb,
                    arguments=[verb, *_CONFIG],
                    size=look.size,
                    deadline_seconds=look.pod_seconds,
                    variables=variables,
                    mounts=mounts,
                    retry=retry_of_nothing_sent(),
                ),
            )
    return workflow


def build_look_cron(settings: ArgoSettings, verb: str) -> CronWorkflow:
    """Return the CronWorkflow of ``watch`` or ``reconcile``."""
    return _cron(settings, getattr(settings, verb), 120, failed_kept=24)


def _cron(settings: ArgoSettings, look: LookSettings, starting_deadline_seconds: int, failed_kept: int) -> CronWorkflow:
    forbid_unknown_fields()
    from hera.workflows import CronWorkflow, models

    return CronWorkflow(
        name=look.name,
        namespace=settings.namespaces.live,
        labels=labels(look.name),
        schedules=[look.schedule],
        timezone="Etc/UTC",
        concurrency_policy="Forbid",
        # The default, 0, loses a tick while the controller restarts. A late one is judged by the age of its slot.
        starting_deadline_seconds=starting_deadline_seconds,
        cron_suspend=look.suspend,
        successful_jobs_history_limit=24,
        failed_jobs_history_limit=failed_kept,
        workflow_template_ref=models.WorkflowTemplateRef(name=look.name),
    )


def _watch_pod(settings: ArgoSettings, name: str, deadline_seconds: int, size: SizeSettings) -> Pod:
    mounts, variables = google_mounts(settings.live.google)
    return Pod(
        name=name,
        arguments=["watch", *_CONFIG, "--once"],
        size=size,
        deadline_seconds=deadline_seconds,
        variables=variables,
        secret_variables=_telegram(settings),
        mounts=[config_map_mount(settings.live.config_map, SETTINGS_FOLDER), *mounts],
        retry=retry_of_nothing_sent(),
    )


def _exchange_mounts(settings: ArgoSettings) -> tuple[list[Mounted], dict[str, str]]:
    """Return what a pod that asks the exchange reads: settings, credentials as files, Google's identity."""
    live = settings.live
    mounts, variables = google_mounts(live.google)
    mounts = [config_map_mount(live.config_map, SETTINGS_FOLDER), *mounts]
    if live.mode != "live":
        return mounts, variables
    variables["TRADING_RUNTIME_LIVE_ACCOUNT"] = live.account
    if live.exchange is not None:
        keys = live.exchange
        files = {"api-key": "api-key", "api-secret": "api-secret"}
        mounts.append(secret_mount("exchange", keys.secret, SECRET_FOLDER, files))
        variables[f"{keys.variables}_API_KEY_FILE"] = f"{SECRET_FOLDER}/api-key"
        variables[f"{keys.variables}_API_SECRET_FILE"] = f"{SECRET_FOLDER}/api-secret"
    return mounts, variables


def _telegram(settings: ArgoSettings) -> list[models.EnvVar]:
    secret = settings.live.telegram_secret
    if secret is None:
        return []
    return [secret_variable("TG_TOKEN", secret, "token"), secret_variable("TG_CHAT_ID", secret, "chat-id")]
