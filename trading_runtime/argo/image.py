"""The WorkflowTemplate that builds the image inside the cluster, from one exact commit, by rootless BuildKit.

The commit is checked by our own command before anything is fetched. BuildKit itself fetches ``repository#commit``, so
there is no shell, no clone and no mutable branch. Its needs: github.com/moby/buildkit, docs/rootless.md and
examples/kubernetes/job.rootless.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trading_runtime.argo.models import forbid_unknown_fields
from trading_runtime.argo.pods import (
    OUT_FOLDER,
    TOKEN_FOLDER,
    Pod,
    command_template,
    resources,
    retry_of_pure_work,
    secret_mount,
    workflow_template,
)
from trading_runtime.argo.settings import ArgoSettings, SizeSettings

if TYPE_CHECKING:
    from hera.workflows import Container, WorkflowTemplate

SERVICE_ACCOUNT = "build"
BUILDER_COMMAND = "buildctl-daemonless.sh"
BUILDER_USER_ID = 1_000  # the user of BuildKit's rootless images
_BUILDER_HOME = "/home/user"
_COMMIT = "{{inputs.parameters.commit}}"


def build_image(settings: ArgoSettings) -> WorkflowTemplate:
    """Return the WorkflowTemplate: check the commit, then build and push the image it names."""
    forbid_unknown_fields()
    from hera.workflows import DAG, Parameter, Task

    build = settings.build
    with workflow_template(
        settings,
        build.name,
        namespace=settings.namespaces.build,
        component="build",
        priority="research",
        deadline_seconds=build.pod_seconds * 2,
        entrypoint=build.name,
        arguments=[Parameter(name="commit", description="the exact commit: 40 hexadecimal digits")],
        service_account_name=SERVICE_ACCOUNT,
    ) as workflow:
        check = command_template(
            settings,
            Pod(
                name="check-source",
                arguments=["argo", "check-source", "--repository", build.repository, "--commit", _COMMIT],
                size=SizeSettings(cpu="50m", memory="128Mi", scratch="16Mi"),
                deadline_seconds=120,
                inputs=[Parameter(name="commit")],
                retry=retry_of_pure_work(2),
            ),
        )
        push = _push_template(settings)
        with DAG(name=build.name, fail_fast=True):
            commit = [Parameter(name="commit", value="{{workflow.parameters.commit}}")]
            Task(name="check-source", template=check, arguments=commit)
            Task(name="push", template=push, arguments=commit, depends="check-source.Succeeded")
    return workflow


def _push_template(settings: ArgoSettings) -> Container:
    from hera.workflows import Container, Parameter, models

    build = settings.build
    credentials = secret_mount(
        "registry", build.push_secret, f"{_BUILDER_HOME}/.docker", {".dockerconfigjson": "config.json"}
    )
    folders = {
        "tmp": "/tmp",
        "out": OUT_FOLDER,
        "layers": f"{_BUILDER_HOME}/.local/share/buildkit",
        "no-token": TOKEN_FOLDER,
    }
    limits = dict.fromkeys(folders, build.size.scratch) | {"no-token": "1Mi"}
    volumes = [
        models.Volume(name=name, empty_dir=models.EmptyDirVolumeSource(size_limit=models.Quantity(limits[name])))
        for name in folders
    ]
    mounts = [models.VolumeMount(name=name, mount_path=folder) for name, folder in folders.items()]
    mounts.append(models.VolumeMount(name="registry", mount_path=credentials.folder, read_only=True))
    metadata_file = f"{OUT_FOLDER}/metadata.json"
    return Container(
        name="push",
        image=build.builder,
        image_pull_policy="IfNotPresent",
        command=[BUILDER_COMMAND],
        args=[
            "build",
            *("--frontend", "dockerfile.v0"),
            *("--opt", f"context={build.repository}#{_COMMIT}"),
            *("--opt", f"build-arg:GIT_COMMIT={_COMMIT}"),
            *("--opt", f"build-arg:SOURCE={build.repository.removesuffix('.git')}"),
            *("--opt", "attest:provenance=mode=max"),
            *("--output", f"type=image,name={build.image}:{_COMMIT},push=true"),
            *("--metadata-file", metadata_file),
        ],
        active_deadline_seconds=build.pod_seconds,
        # Rootless BuildKit makes its own user namespace: it needs the set-user-id helpers newuidmap and newgidmap and
        # system calls that the default seccomp profile blocks. Hence a namespace of its own, without any key.
        pod_security_context=models.PodSecurityContext(
            run_as_non_root=True,
            run_as_user=BUILDER_USER_ID,
            run_as_group=BUILDER_USER_ID,
            fs_group=BUILDER_USER_ID,
            seccomp_profile=models.SeccompProfile(type="Unconfined"),
        ),
        security_context=models.SecurityContext(
            run_as_non_root=True,
            app_armor_profile=models.AppArmorProfile(type="Unconfined"),
            seccomp_profile=models.SeccompProfile(type="Unconfined"),
        ),
        resources=resources(build.size),
        env=[
            models.EnvVar(name="BUILDKITD_FLAGS", value="--oci-worker-no-process-sandbox"),
            models.EnvVar(name="DOCKER_CONFIG", value=credentials.folder),
        ],
        volumes=[*volumes, credentials.volume],
        volume_mounts=mounts,
        inputs=[Parameter(name="commit")],
        # The name and digest of what was pushed, as BuildKit tells it.
        outputs=[Parameter(name="metadata", value_from=models.ValueFrom(path=metadata_file))],
        # BuildKit ends with 1 after everything, a registry that did not answer included.
        retry_strategy=retry_of_pure_work(2, expression=None),
    )
