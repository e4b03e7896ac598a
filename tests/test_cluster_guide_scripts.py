"""The scripts by which a cluster is set up and an image is brought to it, run with a client that only writes down what
it was asked: the cluster is not ours, everything up to it is.
"""

import json
import os
import re
import subprocess
import threading
from base64 import b64decode
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from argo_manifests import workflows
from argo_server import ApiServer
from argo_steps import run_workflow
from s3_server import s3_server  # noqa: F401 - a fixture, used by its name

from trading_runtime.cli.main import main

pytest_plugins = ["argo_fixtures"]  # its fixtures: server

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "ghcr.io/owner/trading-runtime@sha256:" + "a" * 64
TOKEN = "ghp_" + "Zq3" * 12

# Answers `get ... --output json` with $SCHEDULES; keeps everything else.
CLIENT = """#!/usr/bin/env bash
set -euo pipefail
number="$$" # processes of one pipe begin together
printf '%s\\n' "$@" > "$LOG/$number.arguments"
env > "$LOG/$number.environment"
case " $* " in
    *" get "*) if [[ -n ${UNREACHABLE:-} ]]; then exit 1; fi; printf '%s' "${SCHEDULES:-$NONE}" ;;
    *" create secret "*) cat | tee "$LOG/$number.input" ;;
    *" --kustomize "*) cp -r "${@: -1}" "$LOG/$number.folder" ;;
    *) cat > "$LOG/$number.input" ;;
esac
"""


def cronworkflows(**suspended: bool) -> str:
    """What kubectl prints of the schedules of prod-live."""
    items = [
        {
            "kind": "CronWorkflow",
            "metadata": {"namespace": "prod-live", "name": name.replace("_", "-")},
            "spec": {"suspend": is_suspended},
        }
        for name, is_suspended in suspended.items()
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


class Client:
    """The stand-in, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.log.mkdir()
        self.path = folder / "kubectl-stand-in"
        self.path.write_text(CLIENT)
        self.path.chmod(0o755)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        names = ("PATH", "HOME", "LANG", "TMPDIR")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return subprocess.run(
            [ROOT / "scripts" / script, *arguments],
            env={**kept, "KUBECTL": str(self.path), "LOG": str(self.log), "NONE": cronworkflows(), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def asked(self) -> list[list[str]]:
        files = sorted(self.log.glob("*.arguments"), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_text().splitlines() for path in files]

    def folders(self) -> list[Path]:
        return sorted(self.log.glob("*.folder"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


# --- the pull secret


def test_the_pull_secret_holds_the_token_in_the_form_of_docker(client: Client) -> None:
    done = client.run("pull-secret", "trading-live", "trading-research", GHCR_TOKEN=TOKEN, GHCR_USER="owner")

    assert (done.returncode, done.stderr) == (0, "")
    asked = client.asked()
    made = [words for words in asked if words[:2] == ["create", "secret"]]
    assert [words[words.index("--namespace") + 1] for words in made] == ["trading-live", "trading-research"]
    for words in made:
        assert words[2:4] == ["docker-registry", "ghcr-secret"]
        assert "--dry-run=client" in words
    assert sum(words[:2] == ["apply", "--server-side"] for words in asked) == 2
    for path in client.log.glob("*.input"):
        assert json.loads(path.read_text()).keys() == {"auths"}
        [(registry, entry)] = json.loads(path.read_text())["auths"].items()
        assert registry == "ghcr.io"
        assert b64decode(entry["auth"]).decode() == f"owner:{TOKEN}"


def test_the_token_is_in_no_arguments_no_environment_and_no_output(client: Client) -> None:
    done = client.run("pull-secret", "trading-live", GHCR_TOKEN=TOKEN, GHCR_USER="owner")

    assert TOKEN not in done.stdout + done.stderr
    files = [*client.log.glob("*.arguments"), *client.log.glob("*.environment")]
    assert len(files) == 4
    for path in files:
        assert TOKEN not in path.read_text(), path


@pytest.mark.parametrize(
    ("namespaces", "environment", "code", "said"),
    [
        ([], {"GHCR_TOKEN": TOKEN, "GHCR_USER": "owner"}, 2, "name at least one namespace"),
        (["trading-live"], {"GHCR_USER": "owner"}, 77, "GHCR_TOKEN is not set"),
        (["trading-live"], {"GHCR_TOKEN": TOKEN + '","x":"', "GHCR_USER": "owner"}, 77, "does not look like a token"),
        (["trading-live"], {"GHCR_TOKEN": TOKEN, "GHCR_USER": "a:b"}, 77, "GHCR_USER"),
        (["trading-live"], {"GHCR_TOKEN": TOKEN, "GHCR_USER": "owner", "KUBECTL": "no-such-client"}, 77, "not found"),
    ],
)
def test_a_wrong_call_of_pull_secret_asks_the_cluster_nothing(
    client: Client, namespaces: list[str], environment: dict[str, str], code: int, said: str
) -> None:
    done = client.run("pull-secret", *namespaces, **environment)

    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert TOKEN not in done.stderr
    assert client.asked() == []


# --- Argo's release


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["Argo"], {}, "is not the name of a namespace"),
        ([], {"ARGO_VERSION": "latest"}, "ARGO_VERSION latest is not v4."),
        ([], {"ARGO_VERSION": "v3.7.1"}, "ARGO_VERSION v3.7.1 is not v4."),
        ([], {"ARGO_SHA256": "abc"}, "ARGO_SHA256 is not 64"),
    ],
)
def test_a_wrong_call_of_install_argo_downloads_nothing(
    client: Client, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    done = client.run("install-argo", *arguments, **environment)

    assert done.returncode == 77
    assert said in done.stderr
    assert client.asked() == []


# --- a deployment


def documents(folder: Path) -> list[dict[str, object]]:
    return [
        yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml")) if path.name != "kustomization.yaml"
    ]


def schedules(folder: Path) -> dict[str, bool]:
    found = [one for one in documents(folder) if one["kind"] == "CronWorkflow"]
    return {one["metadata"]["name"]: one["spec"]["suspend"] for one in found}


def test_a_deployment_applies_what_is_rendered_for_its_image_and_namespaces(client: Client) -> None:
    done = client.run(
        "deploy-argo",
        *("apply", "dev", IMAGE),
        GHCR_TOKEN=TOKEN,
        GHCR_USER="owner",
        OBJECT_STORE_ADDRESS="s3://bucket/dev",
        OBJECT_STORE_ENDPOINT="https://objects.example.org",
    )

    assert done.returncode == 0, done.stderr
    applied = [words for words in client.asked() if "--kustomize" in words]
    assert [words[-1].split("/argo", 1)[1] for words in applied] == ["/overlays/microk8s", ""]
    for words in applied:
        assert {"--server-side", "--force-conflicts"} <= set(words)
    rendered = documents(client.folders()[-1])
    assert {one["kind"] for one in rendered} == {"WorkflowTemplate", "CronWorkflow"}
    assert {one["metadata"]["namespace"] for one in rendered} == {"dev-live", "dev-research", "dev-build"}
    text = "".join(path.read_text() for path in client.folders()[-1].glob("*.yaml"))
    assert IMAGE in text
    assert set(re.findall(r"\b(?:s3|gs)://[^\s'\"]+", text)) == {"s3://bucket/dev"}
    assert set(re.findall(r"AWS_ENDPOINT_URL\s+value: (\S+)", text)) == {"https://objects.example.org"}
    assert set(schedules(client.folders()[-1]).values()) == {True}, "a first deployment starts nothing"


@pytest.mark.parametrize("suspended", [True, False])
def test_a_deployment_leaves_schedules_as_an_operator_left_them(client: Client, suspended: bool) -> None:
    done = client.run(
        "deploy-argo",
        *("apply", "prod", IMAGE),
        ARGO_SET="live.name=hourly watch.name=look",
        SCHEDULES=cronworkflows(hourly=suspended, reconcile=not suspended, live_cycle=False),
    )

    assert done.returncode == 0, done.stderr
    assert schedules(client.folders()[-1]) == {"hourly": suspended, "reconcile": not suspended, "look": True}
    assert "schedule prod-live/live-cycle runs on" in done.stderr, "one that was renamed"


def test_a_cluster_that_does_not_answer_is_not_taken_for_an_empty_one(client: Client) -> None:
    done = client.run("deploy-argo", "apply", "prod", IMAGE, UNREACHABLE="1")

    assert done.returncode != 0
    assert [words[0] for words in client.asked()] == ["get"]


def test_an_answer_that_is_no_list_of_schedules_ends_a_deployment(client: Client) -> None:
    done = client.run("deploy-argo", "apply", "prod", IMAGE, SCHEDULES="No resources found")

    assert done.returncode == 77
    assert "is not what `kubectl get cronworkflows" in done.stderr
    assert [words[0] for words in client.asked()] == ["get"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage"),
        (["aply", "prod", IMAGE], "usage"),
        (["apply", "Prod", IMAGE], "cannot begin the name of a namespace"),
        (["apply", "prod", "ghcr.io/owner/trading-runtime:main"], "a tag can move"),
        (["apply", "prod", IMAGE[:-1]], "does not end in @sha256:DIGEST"),
    ],
)
def test_a_wrong_call_of_deploy_argo_asks_the_cluster_nothing(client: Client, arguments: list[str], said: str) -> None:
    done = client.run("deploy-argo", *arguments)

    assert done.returncode in (2, 77)
    assert said in done.stderr
    assert client.asked() == []


class Controller:
    """What Argo's controller does with the sweeps of the API server on loopback: runs their pods, here one by one, and
    says how far it is. ``fails`` lets every pod be lost.
    """

    def __init__(self, server: ApiServer, namespace: str, address: str, out: Path) -> None:
        self.fails = False
        self._server, self._namespace, self._address, self._out = server, namespace, address, out
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Controller":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while not self._is_over.wait(0.05):
            for (namespace, name), body in list(self._server.workflows.items()):
                if namespace == self._namespace and not body.get("status"):
                    self._compute(name, {one["name"]: one["value"] for one in body["spec"]["arguments"]["parameters"]})

    def _compute(self, name: str, given: dict[str, str]) -> None:
        self._server.advance(self._namespace, name, phase="Running", progress="0/3")
        template = workflows(f"sweep.store.address={self._address}")["workflowtemplate-backtest.yaml"]
        phases = run_workflow(
            template, "planned", given, self._out, lambda pod, words: None if self.fails else main(words)
        )
        phase = "Succeeded" if set(phases.values()) == {"Succeeded"} else "Failed"
        self._server.advance(self._namespace, name, phase=phase, progress="3/3")


def test_a_smoke_sweep_ends_with_the_digest_of_this_checkout_and_only_a_failed_one_is_run_again(
    client: Client,
    server: ApiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    s3_server: Any,  # noqa: F811 - a fixture, used by its name
) -> None:
    address, endpoint = f"s3://{s3_server.new_bucket()}/sweeps", s3_server.environment["AWS_ENDPOINT_URL"]
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    environment = {
        **s3_server.environment,
        "KUBECONFIG": str(server.kubeconfig(tmp_path)),
        "OBJECT_STORE_ADDRESS": address,
        "OBJECT_STORE_ENDPOINT": endpoint,
        "ARGO_SET": f"network.object_store=127.0.0.1/32 network.object_store_port={urlsplit(endpoint).port}",
    }

    def smoke() -> subprocess.CompletedProcess[str]:
        return client.run("deploy-argo", "smoke", "dev", IMAGE, **environment)

    with Controller(server, "dev-research", address, tmp_path) as controller:
        controller.fails = True
        assert smoke().returncode == 3
        controller.fails = False
        done = smoke()
        assert done.returncode == 0, done.stderr
        assert re.search(r"sweep [0-9a-f]{16}: root digest [0-9a-f]{64}, as in this checkout", done.stdout)
        again = smoke()
        assert (again.returncode, again.stdout.splitlines()[-1]) == (0, done.stdout.splitlines()[-1])
    assert len(server.workflows) == 2, "the one that failed, and the one that made up for it"


def test_a_setting_that_is_none_stops_a_deployment(client: Client) -> None:
    done = client.run("deploy-argo", "apply", "prod", IMAGE, ARGO_SET="live.moed=live")

    assert done.returncode == 77
    assert "live.moed" in done.stderr
    assert not any("apply" in words for words in client.asked())
