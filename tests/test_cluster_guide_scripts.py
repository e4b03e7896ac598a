"""The scripts by which a cluster is set up and an image is brought to it, run with a client that only writes down what
it was asked: the cluster is not ours, everything up to it is.
"""

import json
import os
import re
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "ghcr.io/owner/trading-runtime@sha256:" + "a" * 64
TOKEN = "ghp_" + "Zq3" * 12

# Answers `get ... --output name` with $SCHEDULES, `get ... jsonpath` with $SUSPENDED; keeps everything else.
CLIENT = """#!/usr/bin/env bash
set -euo pipefail
number="$$" # processes of one pipe begin together
printf '%s\\n' "$@" > "$LOG/$number.arguments"
env > "$LOG/$number.environment"
case " $* " in
    *" get "*" --output name "*) if [[ -n ${UNREACHABLE:-} ]]; then exit 1; fi; printf '%s\\n' ${SCHEDULES:-} ;;
    *" get "*) printf '%s' "${SUSPENDED:-true}" ;;
    *" create secret "*) cat | tee "$LOG/$number.input" ;;
    *" --kustomize "*) cp -r "${@: -1}" "$LOG/$number.folder" ;;
    *) cat > "$LOG/$number.input" ;;
esac
"""


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
            env={**kept, "KUBECTL": str(self.path), "LOG": str(self.log), **environment},
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


@pytest.mark.parametrize(("suspended", "expected"), [("true", True), ("false", False)])
def test_a_deployment_leaves_schedules_as_an_operator_left_them(client: Client, suspended: str, expected: bool) -> None:
    done = client.run(
        "deploy-argo",
        *("apply", "prod", IMAGE),
        SCHEDULES="cronworkflow.argoproj.io/live-cycle cronworkflow.argoproj.io/reconcile",
        SUSPENDED=suspended,
    )

    assert done.returncode == 0, done.stderr
    assert schedules(client.folders()[-1]) == {"live-cycle": expected, "reconcile": expected, "watch": True}


def test_a_cluster_that_does_not_answer_is_not_taken_for_an_empty_one(client: Client) -> None:
    done = client.run("deploy-argo", "apply", "prod", IMAGE, UNREACHABLE="1")

    assert done.returncode != 0
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


def test_a_setting_that_is_none_stops_a_deployment(client: Client) -> None:
    done = client.run("deploy-argo", "apply", "prod", IMAGE, ARGO_SET="live.moed=live")

    assert done.returncode == 77
    assert "live.moed" in done.stderr
    assert not any("apply" in words for words in client.asked())
