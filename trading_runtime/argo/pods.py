"""What every pod has: the image and command, the security contexts, writable folders, sizes, deadline.

Templates are made by ``command_template`` alone, so that none can forget a field. Facts about the fields:
Argo's fields.md, and the Pod Security Standards (profile ``restricted``) of Kubernetes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trading_runtime.argo.settings import ArgoSettings, GoogleSettings, SizeSettings
from trading_runtime.core.errors import EXIT_TEMPORARY

if TYPE_CHECKING:
    from hera.workflows import Container, Parameter, WorkflowTemplate, models

COMMAND = "trading-runtime"
USER_ID = 10_001  # USER of the Dockerfile
OUT_FOLDER = "/mnt/out"
# Where Kubernetes mounts the pod's API token. Argo's own containers need it, the command never does: an empty folder
# mounted here makes the admission leave it out of the main container alone.
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
SECRET_FOLDER = "/etc/trading-runtime-secrets"
GOOGLE_FOLDER = "/var/run/secrets/google"
GOOGLE_TOKEN_SECONDS = 3_600
PART_OF = "trading-runtime"
# The one retry that may stand over anything that sends orders: the command's own word that nothing was sent.
SAFE_RETRY = f"asInt(lastRetry.exitCode) == {EXIT_TEMPORARY}"
# What may heal of pure work: the command's own word for it, and whatever is not the command's word. lastRetry.exitCode
# is a text: the code of the main container, or "-1" where none is known, of a pod that was deleted (status Error) or
# whose node was lost or shut down (Failed). 0 of a pod that did not succeed: the command ended well, what Argo does
# after it did not. 64 and 65 are those of Argo's executor; from 128 on the command was killed, or never started. Every
# other code is the command's: wrong words, a finding, configuration, a defect. Another attempt would only repeat it.
# (argo-workflows, workflow/controller/operator.go: buildRetryStrategyLocalScope, inferFailedReason.)
USEFUL_RETRY = " || ".join(
    f"asInt(lastRetry.exitCode) {codes}" for codes in ("<= 0", "== 64", "== 65", f"== {EXIT_TEMPORARY}", ">= 128")
)


@dataclass(frozen=True)
class Mounted:
    """Something a pod reads: its volume and the folder it appears in."""

    volume: models.Volume
    folder: str


@dataclass(frozen=True)
class Pod:
    """What differs between pods."""

    name: str
    arguments: Sequence[str]
    size: SizeSettings
    deadline_seconds: int
    variables: Mapping[str, str] = field(default_factory=dict)
    secret_variables: Sequence[models.EnvVar] = ()
    mounts: Sequence[Mounted] = ()
    inputs: Sequence[Parameter] = ()
    outputs: Sequence[Parameter] = ()
    retry: models.RetryStrategy | None = None
    grace_seconds: int | None = None


def workflow_template(
    settings: ArgoSettings,
    name: str,
    *,
    namespace: str,
    component: str,
    priority: str,
    deadline_seconds: int,
    kept_seconds: int = 86_400,
    **fields: Any,
) -> WorkflowTemplate:
    """Return a WorkflowTemplate with what all of them have: labels, user, priority, an end, and when it is swept up.
    ``kept_seconds`` is how long a run that succeeded is kept, one that failed is for a week; ``fields`` are hera's.
    """
    from hera.workflows import WorkflowTemplate, models

    return WorkflowTemplate(
        name=name,
        namespace=namespace,
        labels=labels(component),
        security_context=pod_security(),
        pod_metadata=models.Metadata(labels=labels(component)),
        pod_priority_class_name=f"{settings.priority_prefix}-{priority}",
        active_deadline_seconds=deadline_seconds,
        pod_gc=models.PodGC(strategy="OnPodSuccess", delete_delay_duration="600s"),
        ttl_strategy=models.TTLStrategy(seconds_after_success=kept_seconds, seconds_after_failure=604_800),
        **fields,
    )


def command_template(settings: ArgoSettings, pod: Pod) -> Container:
    """Return the template of a pod that runs ``trading-runtime`` with the given arguments."""
    from hera.workflows import Container, models

    mounts = [*_writable(pod.size), *pod.mounts]
    variables = {"HOME": "/tmp", **pod.variables}
    if settings.digest is not None:
        variables["TRADING_RUNTIME_IMAGE_DIGEST"] = settings.digest
    patch = None if pod.grace_seconds is None else {"terminationGracePeriodSeconds": pod.grace_seconds}
    return Container(
        name=pod.name,
        image=settings.image,
        image_pull_policy="IfNotPresent",
        command=[COMMAND],  # without it the controller asks the registry for the entrypoint
        args=list(pod.arguments),
        active_deadline_seconds=pod.deadline_seconds,
        pod_security_context=pod_security(),
        security_context=container_security(),
        resources=resources(pod.size),
        env=[*(models.EnvVar(name=name, value=variables[name]) for name in sorted(variables)), *pod.secret_variables],
        volumes=[mounted.volume for mounted in mounts],
        volume_mounts=[
            models.VolumeMount(name=mounted.volume.name, mount_path=mounted.folder, read_only=_is_read_only(mounted))
            for mounted in mounts
        ],
        inputs=list(pod.inputs) or None,
        outputs=list(pod.outputs) or None,
        retry_strategy=pod.retry,
        pod_spec_patch=None if patch is None else json.dumps(patch),
    )


def pod_security() -> models.PodSecurityContext:
    """Return the pod's security context: one ordinary user for all of its containers."""
    from hera.workflows import models

    return models.PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER_ID,
        run_as_group=USER_ID,
        fs_group=USER_ID,
        seccomp_profile=models.SeccompProfile(type="RuntimeDefault"),
    )


def container_security() -> models.SecurityContext:
    """Return the container's security context: nothing but reading its image and writing its folders."""
    from hera.workflows import models

    return models.SecurityContext(
        run_as_non_root=True,
        allow_privilege_escalation=False,
        read_only_root_filesystem=True,
        capabilities=models.Capabilities(drop=["ALL"]),
        seccomp_profile=models.SeccompProfile(type="RuntimeDefault"),
    )


def resources(size: SizeSettings) -> models.ResourceRequirements:
    """Return requests for processor and memory, and a limit of memory equal to its request."""
    from hera.workflows import models

    return models.ResourceRequirements(
        requests={"cpu": models.Quantity(size.cpu), "memory": models.Quantity(size.memory)},
        limits={"memory": models.Quantity(size.memory)},
    )


def retry_of_nothing_sent() -> models.RetryStrategy:
    """Return the retry of anything near money: after exit code 75 only. A lost pod has the code -1: no retry."""
    from hera.workflows import models

    return models.RetryStrategy(
        limit=models.IntOrString(2),
        retry_policy="Always",
        expression=SAFE_RETRY,
        backoff=models.Backoff(duration="30s", factor=models.IntOrString(2), max_duration="5m"),
    )


def retry_of_pure_work(limit: int, expression: str | None = USEFUL_RETRY) -> models.RetryStrategy:
    """Return the retry of work that writes each result once: whatever happened, doing it again is safe; ``expression``
    says when it is useful. None: always, for a program whose exit codes do not tell.
    """
    from hera.workflows import models

    return models.RetryStrategy(
        limit=models.IntOrString(limit),
        retry_policy="Always",
        expression=expression,
        backoff=models.Backoff(duration="15s", factor=models.IntOrString(2), max_duration="10m"),
    )


def config_map_mount(name: str, folder: str) -> Mounted:
    """Return a ConfigMap as files."""
    from hera.workflows import models

    return Mounted(models.Volume(name="settings", config_map=models.ConfigMapVolumeSource(name=name)), folder)


def secret_mount(
    volume: str, secret: str, folder: str, keys: Mapping[str, str], *, is_optional: bool = False
) -> Mounted:
    """Return keys of a Secret as files (key: file name) that only the pod's user and group may read. Where an optional
    Secret is not there the folder is empty; a pod with another one waits for it.
    """
    from hera.workflows import models

    source = models.SecretVolumeSource(
        secret_name=secret,
        default_mode=0o440,
        optional=True if is_optional else None,
        items=[models.KeyToPath(key=key, path=path) for key, path in keys.items()],
    )
    return Mounted(models.Volume(name=volume, secret=source), folder)


def secret_variable(variable: str, secret: str, key: str) -> models.EnvVar:
    """Return a variable whose value is in a Secret; one that is not there leaves the variable unset."""
    from hera.workflows import models

    selector = models.SecretKeySelector(name=secret, key=key, optional=True)
    return models.EnvVar(name=variable, value_from=models.EnvVarSource(secret_key_ref=selector))


def google_mounts(google: GoogleSettings | None) -> tuple[list[Mounted], dict[str, str]]:
    """Return the volumes and variables by which Google's libraries exchange the pod's own token; no key is anywhere."""
    from hera.workflows import models

    if google is None:
        return [], {}
    token = models.ServiceAccountTokenProjection(
        audience=google.audience, expiration_seconds=GOOGLE_TOKEN_SECONDS, path="token"
    )
    settings = models.ConfigMapProjection(
        name=google.config_map, items=[models.KeyToPath(key="credentials.json", path="credentials.json")]
    )
    source = models.ProjectedVolumeSource(
        default_mode=0o440,
        sources=[
            models.VolumeProjection(service_account_token=token),
            models.VolumeProjection(config_map=settings),
        ],
    )
    mounted = Mounted(models.Volume(name="google", projected=source), GOOGLE_FOLDER)
    return [mounted], {"GOOGLE_APPLICATION_CREDENTIALS": f"{GOOGLE_FOLDER}/credentials.json"}


def labels(component: str) -> dict[str, str]:
    """Return the labels by which network policies and people find things."""
    return {"app.kubernetes.io/part-of": PART_OF, "app.kubernetes.io/component": component}


def _writable(size: SizeSettings) -> list[Mounted]:
    from hera.workflows import models

    def empty(name: str, limit: str) -> models.Volume:
        return models.Volume(name=name, empty_dir=models.EmptyDirVolumeSource(size_limit=models.Quantity(limit)))

    return [
        Mounted(empty("tmp", size.scratch), "/tmp"),
        Mounted(empty("out", size.scratch), OUT_FOLDER),
        Mounted(empty("no-token", "1Mi"), TOKEN_FOLDER),
    ]


def _is_read_only(mounted: Mounted) -> bool | None:
    return None if mounted.volume.empty_dir is not None else True
