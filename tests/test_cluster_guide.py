"""The cluster guide says what is: its commands are ones, its files are there, its names are those of the manifests."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trading_runtime.argo.render import workflow_documents
from trading_runtime.argo.settings import load_argo_settings
from trading_runtime.cli.verbs import make_parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "docs/cluster.md", ROOT / "docs/scaling.md", ROOT / "docs/image.md"]
GUIDE = PAGES[0].read_text(encoding="utf-8")
SCRIPTS = ["deploy-argo", "install-argo", "pull-secret", "e2e-cluster", "check-image"]
# Words in capitals that a reader replaces, and what a test puts there.
BLANKS = {"SWEEP_ID": "0123456789abcdef", "DIGEST": "a" * 64, "OWNER": "owner", "COMMIT": "0" * 40}
# Namespaces of Kubernetes, of Argo, and those of the examples of a deployment.
OTHER_NAMESPACES = {"kube-system", "argo", "prod-live"}


def blocks(text: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)


def lines(text: str) -> list[str]:
    """Every command of the shell blocks, continued lines joined, comments and here-documents left out."""
    found = []
    for block in blocks(text):
        commands = re.sub(r"<<'END'\n.*?\nEND\n", "\n", block, flags=re.DOTALL).replace("\\\n", " ")
        found += [line.strip() for line in commands.splitlines() if line.strip()]
    return found


def own_commands() -> list[str]:
    found = {line for page in PAGES for line in lines(page.read_text()) if line.startswith("trading-runtime ")}
    return sorted(found)


def manifests() -> list[dict[str, Any]]:
    files = [path for path in sorted((ROOT / "argo").rglob("*.yaml")) if "configuration" not in path.parts]
    documents = [yaml.safe_load(path.read_text()) for path in files]
    return [one for one in documents if isinstance(one, dict) and "kind" in one]


def test_the_guide_has_commands() -> None:
    """A pattern that finds nothing proves nothing."""
    assert len(own_commands()) > 20
    assert len(lines(GUIDE)) > 50


@pytest.mark.parametrize("command", own_commands())
def test_our_own_parser_takes_every_command(command: str) -> None:
    for blank, value in BLANKS.items():
        command = command.replace(blank, value)
    words = shlex.split(command, comments=True)
    assert make_parser(words[1:]).parse_args(words[1:]).handler is not None


def test_commands_in_the_text_are_ones_too() -> None:
    parser = make_parser()
    for page in PAGES:
        for command in re.findall(r"`(trading-runtime [a-z][^`]*)`", page.read_text()):
            words = shlex.split(command.replace("...", ""))[1:]
            known = parser.format_help()
            assert re.search(rf"(?m)^    {words[0]}\b", known), command
            if len(words) > 1 and not words[1].startswith("-"):
                with pytest.raises(SystemExit) as ended:
                    make_parser([words[0]]).parse_args([words[0], words[1], "--help"])
                assert ended.value.code == 0, command


@pytest.mark.parametrize("block", blocks(GUIDE), ids=lambda block: block.strip().splitlines()[0][:40])
def test_every_block_is_shell(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_it_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = re.findall(
        r"(?<![\w./-])((?:argo|scripts|examples|\.github|docs|benchmarks|trading_runtime)/[\w./-]*\w)", text
    )
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_namespace_it_names_is_rendered() -> None:
    rendered = {one["metadata"]["name"] for one in manifests() if one["kind"] == "Namespace"}
    named = set(re.findall(r"--namespace ([a-z-]+)", GUIDE))
    assert rendered <= named | set(re.findall(r"`(trading-[a-z]+)`", GUIDE))
    assert named - OTHER_NAMESPACES <= rendered


def test_every_object_it_names_is_rendered() -> None:
    """What is patched, asked for or granted on the cluster is there under that name, in that namespace."""
    rendered = {
        (one["kind"].lower(), one["metadata"].get("namespace"), one["metadata"]["name"])
        for one in manifests()
        if "metadata" in one
    }
    found = re.findall(r"--namespace (trading-[a-z]+) (?:patch|get) (cronworkflow|workflowtemplate) ([a-z-]+)", GUIDE)
    assert len(found) >= 5
    for namespace, kind, name in found:
        assert (kind, namespace, name) in rendered, (namespace, kind, name)
    for namespace, name in re.findall(r"system:serviceaccount:(trading-[a-z]+):([a-z-]+)", GUIDE):
        assert ("serviceaccount", namespace, name) in rendered, (namespace, name)
    for namespace, name in re.findall(r"--namespace (trading-[a-z]+) .*--role=([a-z-]+)", GUIDE):
        assert ("role", namespace, name) in rendered, (namespace, name)
    for name in re.findall(r"workflowTemplateRef: \{name: ([a-z-]+)\}", GUIDE):
        assert any(kind == "workflowtemplate" and name == one for kind, _, one in rendered), name


def secrets_of(value: object) -> set[tuple[str, str]]:
    """Every (Secret, key) that a manifest refers to."""
    found: set[tuple[str, str]] = set()
    if isinstance(value, dict):
        if isinstance(value.get("secretKeyRef"), dict):
            found.add((value["secretKeyRef"]["name"], value["secretKeyRef"]["key"]))
        if isinstance(value.get("secret"), dict) and "secretName" in value["secret"]:
            found |= {(value["secret"]["secretName"], item["key"]) for item in value["secret"].get("items", [])}
        for item in value.values():
            found |= secrets_of(item)
    elif isinstance(value, list):
        for item in value:
            found |= secrets_of(item)
    return found


def live_manifests() -> list[dict[str, Any]]:
    """The workflows in mode live: only they are given the exchange's credentials."""
    overrides = ["live.mode=live", "image=ghcr.io/owner/trading-runtime@sha256:" + "a" * 64]
    return workflow_documents(load_argo_settings(ROOT / "argo/settings.yaml", overrides))


def test_the_table_of_secrets_is_what_the_manifests_read() -> None:
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| `(trading-[a-z]+)` \| (.+?) \| (.+) \|$", GUIDE)
    told = {(name, space, key) for name, space, keys, _ in rows for key in re.findall(r"`([\w.-]+)`", keys)}
    read = {
        (name, one["metadata"]["namespace"], key)
        for one in live_manifests()
        if one["kind"] == "WorkflowTemplate"
        for name, key in secrets_of(one)
    }
    assert told == read


def test_it_creates_every_secret_that_is_read_with_all_its_keys() -> None:
    made = {
        (name, space, key)
        for space, name, rest in re.findall(r"--namespace (\S+) create secret generic (\S+)(.*)", GUIDE)
        for key in re.findall(r"--from-file=([\w-]+)", rest)
    }
    rows = re.findall(r"(?m)^\| `([a-z-]+)` \| `(trading-[a-z]+)` \| (.+?) \| (.+) \|$", GUIDE)
    told = {(name, space, key) for name, space, keys, _ in rows for key in re.findall(r"`([\w.-]+)`", keys)}
    assert made == {one for one in told if one[0] != "ghcr-push"}


def test_no_command_puts_a_secret_into_arguments() -> None:
    for line in lines(GUIDE):
        assert not re.search(r"--from-literal|--docker-password|(?i:token|secret|password)=[^.\s\"']", line), line


def test_what_is_applied_is_applied_server_side() -> None:
    applied = [line for line in lines(GUIDE) if re.search(r"kubectl apply ", line)]
    assert len(applied) >= 3
    assert [line for line in applied if "--server-side" not in line] == []


def test_ports_and_deadlines_are_those_of_the_manifests() -> None:
    settings = yaml.safe_load((ROOT / "argo/settings.yaml").read_text())
    for name, cluster in settings["clusters"].items():
        assert f"{cluster['api_server_port']}" in GUIDE, name
    crons = {one["metadata"]["name"]: one["spec"] for one in manifests() if one["kind"] == "CronWorkflow"}
    assert set(crons) == {"live-cycle", "watch", "reconcile"}
    assert all(spec["suspend"] is True for spec in crons.values()), "the guide says that all arrive suspended"
    assert f"less than {crons['live-cycle']['startingDeadlineSeconds']} s" in GUIDE


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_how_it_is_called_and_what_its_exit_codes_mean(name: str) -> None:
    head = []
    for line in (ROOT / "scripts" / name).read_text().splitlines():
        if not line.startswith("#"):
            break
        head.append(line)
    text = "\n".join(head)
    assert f"scripts/{name}" in text
    assert "Exit codes: 0 " in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_calls_what_exists(name: str) -> None:
    text = (ROOT / "scripts" / name).read_text()
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")).replace("\\\n", " ")
    for called in re.findall(r"(?m)(?<![\w$])scripts/([a-z0-9-]+)", code):
        assert (ROOT / "scripts" / called).exists(), called


def script_commands() -> list[str]:
    """Every call of our own program in the scripts, with values in the place of variables."""
    found = []
    for name in SCRIPTS:
        code = (ROOT / "scripts" / name).read_text().replace("\\\n", " ")
        calls = re.findall(r'(?m)(?:"\$command"|\.venv/bin/trading-runtime) ([a-z].*)$', code)
        calls += re.findall(r'(?m)(?:run .*"\$image"|^ +)\s+((?:sweep|backtest) .*--.*)$', code)
        for call in calls:
            words = re.split(r" (?:2?>|\||\|\|) ", call)[0].removesuffix(')"')
            words = words.replace('"${settings[@]}"', "--settings argo/settings.yaml --set key=value")
            words = words.replace('"${again[@]}"', "--again").replace('"$shard"', "1")
            found.append(re.sub(r'"\$\([^)]*\)"|"[^"]*\$[^"]*"', "0123456789abcdef", words))
    return sorted(set(found))


def test_the_scripts_have_commands() -> None:
    verbs = {tuple(command.split()[:2]) for command in script_commands()}
    assert {("argo", "render"), ("argo", "lint"), ("argo", "submit"), ("argo", "fetch-results")} <= verbs
    assert {("sweep", "plan"), ("sweep", "run"), ("sweep", "gather")} <= verbs
    assert {verb for verb, *_ in verbs} == {"argo", "sweep", "backtest", "cycle"}


@pytest.mark.parametrize("command", script_commands())
def test_our_own_parser_takes_every_command_of_the_scripts(command: str) -> None:
    words = shlex.split(command)
    assert make_parser(words).parse_args(words).handler is not None
