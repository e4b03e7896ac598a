"""The GitHub workflows hold together, ask for no more rights than they need, and call what exists.

What GitHub itself would only say after a push is asked here offline: zizmor for security, our own checks for the rest.
"""

import copy
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from trading_runtime.cli.verbs import make_parser

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github/workflows"
PATHS = sorted(FOLDER.glob("*.y*ml"))
Workflow = dict[Any, Any]

# Whoever can open a pull request or an issue must not run code with our rights.
FORBIDDEN_EVENTS = {
    "pull_request_target",
    "workflow_run",
    "issue_comment",
    "issues",
    "discussion",
    "repository_dispatch",
}
# The only jobs that may write anything, and what.
WRITERS = {("build-image.yaml", "build"): {"packages", "id-token", "attestations"}}
# Images named by a version, which the registry could move: their digests are not known here. No other is let through.
VERSIONED_IMAGES = {"image=moby/buildkit:v0.25.1"}


def load(path: Path) -> Workflow:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    workflow["on"] = workflow.pop(True)  # YAML 1.1 reads the key "on" as a truth value
    return workflow


def steps(workflow: Workflow) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in workflow["jobs"].items():
        for step in job["steps"]:
            yield name, step


def texts(value: object) -> Iterator[str]:
    """Every text anywhere in a document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def expressions(value: object) -> set[str]:
    return {found for text in texts(value) for found in re.findall(r"\$\{\{(.*?)\}\}", text, flags=re.DOTALL)}


# --- the checks: each gives the findings in a workflow of the given file name


def wrong_rights(name: str, workflow: Workflow) -> Iterator[str]:
    if workflow.get("permissions") != {"contents": "read"}:
        yield "the workflow's permissions are not contents: read alone"
    for job_name, job in workflow["jobs"].items():
        for right, level in job.get("permissions", {}).items():
            if level != "read" and right not in WRITERS.get((name, job_name), set()):
                yield f"job {job_name} may {level} {right}"


def wrong_events(name: str, workflow: Workflow) -> Iterator[str]:
    events = set(workflow["on"])
    yield from (f"event {event}" for event in sorted(events & FORBIDDEN_EVENTS))
    for job_name, job in workflow["jobs"].items():
        if "self-hosted" in job["runs-on"] and "pull_request" in events:
            yield f"job {job_name} would run code of a pull request on our own machine"
        if "pull_request" in events and any("secrets." in text for text in texts(job)):
            yield f"job {job_name} gives secrets to a pull request"


def wrong_limits(name: str, workflow: Workflow) -> Iterator[str]:
    if "concurrency" not in workflow:
        yield "no concurrency: two runs could meet"
    for job_name, job in workflow["jobs"].items():
        if not 1 <= job.get("timeout-minutes", 0) <= 60:
            yield f"job {job_name} has no deadline within an hour"
        if "self-hosted" in job["runs-on"] and "environment" not in job:
            yield f"job {job_name} deploys without an environment, which could ask for a reviewer"


def wrong_references(name: str, workflow: Workflow) -> Iterator[str]:
    jobs = workflow["jobs"]
    for job_name, job in jobs.items():
        needs = job.get("needs", [])
        needs = {needs} if isinstance(needs, str) else set(needs)
        yield from (f"job {job_name} needs {needed}, which is none" for needed in sorted(needs - set(jobs)))
        ids = {step["id"] for step in job["steps"] if "id" in step}
        for expression in sorted(expressions(job)):
            for step_id in re.findall(r"steps\.([\w-]+)\.", expression):
                if step_id not in ids:
                    yield f"job {job_name} asks step {step_id}, which is none"
            for other, output in re.findall(r"needs\.([\w-]+)\.outputs\.([\w-]+)", expression):
                if other not in needs or output not in jobs.get(other, {}).get("outputs", {}):
                    yield f"job {job_name} asks {other} for {output}, which it does not give"
            for given in re.findall(r"inputs\.([\w-]+)", expression):
                dispatch = workflow["on"].get("workflow_dispatch") or {}
                if given not in dispatch.get("inputs", {}):
                    yield f"job {job_name} reads input {given}, which is none"
            for key in re.findall(r"matrix\.([\w-]+)", expression):
                if key not in job.get("strategy", {}).get("matrix", {}):
                    yield f"job {job_name} reads matrix.{key}, which is none"
            if expression.count("(") != expression.count(")") or expression.count("'") % 2:
                yield f"job {job_name}: {expression.strip()} is not an expression"


def wrong_outputs(name: str, workflow: Workflow) -> Iterator[str]:
    """An output of a step of ours is one that its script writes."""
    for job_name, job in workflow["jobs"].items():
        written = {
            step["id"]: set(re.findall(r'echo "([\w-]+)=.*>> "\$GITHUB_OUTPUT"', step["run"]))
            for step in job["steps"]
            if "id" in step and "run" in step
        }
        for expression in expressions(job):
            for step_id, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", expression):
                if step_id in written and output not in written[step_id]:
                    yield f"job {job_name}: step {step_id} never writes {output}"


def wrong_scripts(name: str, workflow: Workflow) -> Iterator[str]:
    if workflow.get("defaults", {}).get("run", {}).get("shell") != "bash":
        yield "the shell is not bash, which alone stops when a pipe breaks"
    for job_name, step in steps(workflow):
        script = step.get("run")
        if script is None:
            continue
        lines = script.strip().splitlines()
        if len(lines) > 1 and lines[0] != "set -euo pipefail":
            yield f"job {job_name}: a script does not begin with set -euo pipefail: {lines[0]}"
        if "${{" in script.replace("${{ matrix.", ""):
            yield f"job {job_name}: an expression is pasted into a script; pass it by env: {lines[0]}"
        parsed = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        if parsed.returncode:
            yield f"job {job_name}: {parsed.stderr.strip()}"


def wrong_names(name: str, workflow: Workflow) -> Iterator[str]:
    """Files, targets and verbs that scripts call exist."""
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    for job_name, step in steps(workflow):
        script = step.get("run", "")
        for path in re.findall(r"(?<![\w./-])((?:scripts|\.ci|examples|argo|\.devcontainer)/[\w./-]+)", script):
            if not (ROOT / path.rstrip("/.")).exists():
                yield f"job {job_name} names {path}, which is not there"
        for words in re.findall(r"(?m)^\s*scripts/deploy-argo (.*)$", script):
            if not re.fullmatch(r'(apply|smoke) "\$SPACE" "\$IMAGE"', words):
                yield f"job {job_name} calls scripts/deploy-argo {words}, which it does not take"
        for target in re.findall(r"(?m)^\s*make (\w+)", script):
            if target not in targets:
                yield f"job {job_name} makes {target}, which is no target"
        for line in re.findall(r"(?m)^.*trading-runtime (?!:)[a-z].*$", script):
            if make_parser().parse_args(line.split("trading-runtime ", 1)[1].split()).handler is None:
                yield f"job {job_name}: {line.strip()}"
        for pattern in (workflow["on"].get("push") or {}).get("paths", []):
            if not list(ROOT.glob(pattern.replace("/**", ""))):
                yield f"the event waits for {pattern}, which is not there"


def wrong_pins(name: str, workflow: Workflow) -> Iterator[str]:
    for job_name, job in workflow["jobs"].items():
        for image in [job.get("container"), *job.get("services", {}).values()]:
            named = image.get("image") if isinstance(image, dict) else image
            if named is not None and not re.search(r"@sha256:[0-9a-f]{64}$", named):
                yield f"job {job_name} runs {named}, which can move"
    for job_name, step in steps(workflow):
        used = step.get("uses")
        if used is not None and not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", used):
            yield f"job {job_name} uses {used}, which is not pinned by its commit"
        options = str(step.get("with", {}).get("driver-opts", ""))
        if "image=" in options and options not in VERSIONED_IMAGES and "@sha256:" not in options:
            yield f"job {job_name} builds with {options}, which can move"
        if used is not None and used.startswith("docker/setup-buildx-action@") and "image=" not in options:
            yield f"job {job_name} builds with whatever BuildKit is stable today"
        for image in re.findall(r"docker (?:run|pull)(?: -\S+)* (\S+)", step.get("run", "")):
            if not image.startswith('"$') and "@sha256:" not in image:
                yield f"job {job_name} pulls {image}, which can move"


CHECKS: list[Callable[[str, Workflow], Iterator[str]]] = [
    wrong_rights,
    wrong_events,
    wrong_limits,
    wrong_references,
    wrong_outputs,
    wrong_scripts,
    wrong_names,
    wrong_pins,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_a_workflow_is_right(path: Path, check: Callable[[str, Workflow], Iterator[str]]) -> None:
    assert list(check(path.name, load(path))) == []


def test_the_workflows_that_must_be_there_are() -> None:
    assert {path.name for path in PATHS} == {
        "tests.yaml",
        "build-image.yaml",
        "deploy_argo_template.yaml",
        "e2e-cluster.yaml",
    }


def put(*path: str | int, value: object) -> Callable[[Workflow], None]:
    """A mistake: a value written somewhere into a workflow."""

    def plant(workflow: Workflow) -> None:
        place: Any = workflow
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return plant


def run_step(script: str) -> Callable[[Workflow], None]:
    return lambda workflow: next(iter(workflow["jobs"].values()))["steps"].append({"run": script})


MISTAKES: list[tuple[str, Callable[[Workflow], None], str]] = [
    ("tests.yaml", put("permissions", value="write-all"), "contents: read alone"),
    ("tests.yaml", put("permissions", "packages", value="write"), "contents: read alone"),
    ("e2e-cluster.yaml", put("jobs", "cluster", "permissions", value={"contents": "write"}), "may write contents"),
    ("build-image.yaml", put("jobs", "check", "permissions", "packages", value="write"), "may write packages"),
    ("build-image.yaml", put("on", "pull_request_target", value={}), "event pull_request_target"),
    ("deploy_argo_template.yaml", put("on", "workflow_run", value={}), "event workflow_run"),
    ("deploy_argo_template.yaml", put("on", "pull_request", value={}), "on our own machine"),
    ("deploy_argo_template.yaml", put("on", "pull_request", value={}), "secrets to a pull request"),
    ("tests.yaml", lambda workflow: workflow.pop("concurrency"), "no concurrency"),
    ("tests.yaml", lambda workflow: workflow["jobs"]["tests"].pop("timeout-minutes"), "no deadline"),
    (
        "deploy_argo_template.yaml",
        lambda workflow: workflow["jobs"]["deploy"].pop("environment"),
        "without an environment",
    ),
    ("build-image.yaml", put("jobs", "check", "needs", value="bulid"), "needs bulid"),
    ("build-image.yaml", put("jobs", "check", "needs", value=[]), "which it does not give"),
    ("build-image.yaml", put("jobs", "build", "outputs", value={"image": "x"}), "asks build for digest"),
    (
        "build-image.yaml",
        put("jobs", "build", "outputs", "digest", value="${{ steps.psuh.outputs.digest }}"),
        "step psuh",
    ),
    ("build-image.yaml", put("jobs", "build", "outputs", "x", value="${{ steps.name.outputs.y }}"), "never writes y"),
    ("deploy_argo_template.yaml", put("on", "workflow_dispatch", "inputs", value={}), "reads input digest"),
    ("tests.yaml", put("jobs", "tests", "strategy", "matrix", value={"pyton": ["3.11"]}), "reads matrix.python"),
    (
        "tests.yaml",
        put("jobs", "image", "if", value="${{ startsWith(github.ref, 'refs/tags/' }}"),
        "is not an expression",
    ),
    ("tests.yaml", lambda workflow: workflow.pop("defaults"), "the shell is not bash"),
    ("tests.yaml", run_step("cd /tmp\nls"), "does not begin with set -euo pipefail"),
    ("tests.yaml", run_step("echo ${{ github.head_ref }}"), "pasted into a script"),
    ("tests.yaml", run_step("if true; then"), "syntax error"),
    ("tests.yaml", run_step("scripts/deploy-agro apply"), "which is not there"),
    ("tests.yaml", run_step("make tset"), "makes tset"),
    (
        "deploy_argo_template.yaml",
        run_step('scripts/deploy-argo "$SPACE" "$IMAGE"'),
        "which it does not take",
    ),
    ("e2e-cluster.yaml", put("on", "push", "paths", value=["agro/**"]), "waits for agro/**"),
    ("tests.yaml", run_step("docker run --rm alpine:3"), "pulls alpine:3"),
    ("tests.yaml", put("jobs", "tests", "container", value="python:3.11"), "runs python:3.11"),
    ("tests.yaml", put("jobs", "tests", "services", value={"s": {"image": "redis:7"}}), "runs redis:7"),
    ("tests.yaml", put("jobs", "tests", "steps", 0, "uses", value="actions/checkout@v5"), "not pinned by its commit"),
    ("tests.yaml", put("jobs", "tests", "steps", 0, "uses", value="docker://alpine:3"), "not pinned by its commit"),
]


@pytest.mark.parametrize(("name", "plant", "said"), MISTAKES, ids=[f"{name}-{said}" for name, _, said in MISTAKES])
def test_a_mistake_is_found(name: str, plant: Callable[[Workflow], None], said: str) -> None:
    right = load(FOLDER / name)
    wrong = copy.deepcopy(right)
    plant(wrong)

    assert any(said in finding for check in CHECKS for finding in check(name, wrong))
    assert not any(said in finding for check in CHECKS for finding in check(name, right))


def test_a_verb_that_does_not_exist_is_found() -> None:
    workflow = load(FOLDER / "tests.yaml")
    run_step(".venv/bin/trading-runtime swep run")(workflow)
    with pytest.raises(SystemExit):
        list(wrong_names("tests.yaml", workflow))


def test_an_action_is_pinned_to_one_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for path in PATHS:
        for action, commit in re.findall(r"uses: ([\w./-]+)@([0-9a-f]{40} # v[\d.]+)$", path.read_text(), flags=re.M):
            pins.setdefault(action, set()).add(commit)
    assert pins
    assert {action: commits for action, commits in pins.items() if len(commits) > 1} == {}


def test_a_security_audit_finds_nothing() -> None:
    """zizmor, offline, as strict as it can be."""
    program = ROOT / ".venv/bin/zizmor"
    command = [
        str(program) if program.exists() else "zizmor",
        "--offline",
        "--no-progress",
        "--pedantic",
        "--format=plain",
    ]
    done = subprocess.run([*command, FOLDER], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout


def test_the_audit_would_find_something(tmp_path: Path) -> None:
    text = (FOLDER / "tests.yaml").read_text().replace("run: .ci/run", "run: .ci/run ${{ github.head_ref }}")
    (tmp_path / "tests.yaml").write_text(text)
    program = ROOT / ".venv/bin/zizmor"
    command = [str(program) if program.exists() else "zizmor", "--offline", "--no-progress", "--format=plain"]
    done = subprocess.run([*command, tmp_path / "tests.yaml"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "template-injection" in done.stdout


def test_every_secret_and_variable_is_explained() -> None:
    for path in PATHS:
        text = path.read_text()
        head = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
        for name in set(re.findall(r"\b(?:secrets|vars)\.([A-Z_]+)", text)):
            assert name in head, f"{path.name} does not say what {name} is"


def test_deployments_go_where_their_branch_says() -> None:
    deploy = load(FOLDER / "deploy_argo_template.yaml")["jobs"]["deploy"]
    main = "github.ref == 'refs/heads/main'"
    assert deploy["env"]["SPACE"] == "${{ " + main + " && 'prod' || 'dev' }}"
    assert deploy["environment"] == "${{ " + main + " && 'production' || 'development' }}"


def test_what_is_pushed_is_tagged_by_its_commit_alone() -> None:
    build = load(FOLDER / "build-image.yaml")["jobs"]["build"]
    push = next(step for step in build["steps"] if step.get("id") == "push")["with"]
    assert push["tags"] == "${{ steps.name.outputs.image }}:${{ github.sha }}"
    assert (push["provenance"], push["sbom"], push["push"]) == ("mode=max", True, True)
    arguments = {line.split("=")[0] for line in push["build-args"].splitlines() if "=" in line.split("{{")[0]}
    declared = set(re.findall(r"(?m)^ARG (\w+)", (ROOT / "Dockerfile").read_text()))
    assert arguments <= declared
    attested = next(step for step in build["steps"] if "attest-build-provenance" in step.get("uses", ""))["with"]
    assert attested["subject-digest"] == "${{ steps.push.outputs.digest }}"
