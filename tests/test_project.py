"""The files around the package keep their promises: lock, pins, image, workflows, make targets, imports."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import trading_runtime

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.txt", "requirements-dev.txt")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GOOD_IMAGE = "python:3.11-slim-bookworm@sha256:" + "a" * 64


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- the lock


def pinned(name: str) -> dict[str, list[str]]:
    """Each pin of a lock file, with its hashes."""
    pins: dict[str, list[str]] = {}
    for line in read(name).replace("\\\n", " ").splitlines():
        if line and not line.lstrip().startswith("#"):
            pins[line.split()[0]] = re.findall(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)", line)
    return pins


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_one_exact_version_with_a_hash(name: str) -> None:
    pins = pinned(name)
    assert pins
    for pin, hashes in pins.items():
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[^=<>!~*;@\s]+", pin), pin
        assert hashes, f"{pin} has no hash"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index_and_no_path(name: str) -> None:
    without_hashes = re.sub(r"--hash=sha256:[0-9a-f]{64}", "", read(name))
    found = re.findall(r"(?m)^\s*-.*$|--\S+|\S+://\S*|@ \S+|(?<!\S)[./~]\S*/\S*", without_hashes)
    assert found == []


def test_what_runs_is_what_is_tested() -> None:
    run, develop = (pinned(name) for name in LOCKS)
    assert run.items() <= develop.items()


def test_the_lock_holds_everything_that_is_asked_for() -> None:
    asked = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=!~ ;\[]", text)[0].lower().replace("_", "-") for text in asked}
    locked = {pin.split("==")[0] for pin in pinned("requirements-dev.txt")}
    assert names <= locked


def test_the_build_backend_is_locked_too() -> None:
    assert PROJECT["build-system"]["requires"] == PROJECT["project"]["optional-dependencies"]["build"]
    assert any(pin.startswith("setuptools==") for pin in pinned("requirements.txt"))


def test_wheels_of_every_platform_are_in_the_lock() -> None:
    """A lock made from one machine's builds would hold one or two hashes for a compiled package."""
    by_name = {pin.split("==")[0]: hashes for pin, hashes in pinned("requirements-dev.txt").items()}
    for name in ("numpy", "numba", "pyarrow", "msgspec"):
        assert len(by_name[name]) > 10, name


# --- the pins of .env


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts/compile-requirements.sh", tmp_path / "scripts")
    for name in ("pyproject.toml", *LOCKS):
        shutil.copy2(ROOT / name, tmp_path)
    return tmp_path


def compile_requirements(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [folder / "scripts/compile-requirements.sh", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("option", [(), ("--check",), ("--upgrade",), ("--pins",)])
@pytest.mark.parametrize(
    "line",
    [
        "BASE_IMAGE=python:3.11-slim-bookworm",
        "BASE_IMAGE=python@sha256:" + "a" * 64,
        "BASE_IMAGE=" + GOOD_IMAGE[:-1],
        "BASE_IMAGE=" + GOOD_IMAGE + "0",
        "BASE_IMAGE=" + GOOD_IMAGE.replace("a", "g"),
        "BASE_IMAGE=$(touch touched)",
        "TRADING_RUNTIME_COMMIT=abc123",
        "TRADING_RUNTIME_COMMIT=" + "a" * 41,
        "TRADING_RUNTIME_COMMIT=main",
        "export TRADING_RUNTIME_COMMIT='1234567-dirty'",
    ],
)
def test_a_malformed_pin_stops_everything(copy: Path, line: str, option: tuple[str, ...]) -> None:
    (copy / ".env").write_text(f"# pins\n\n{line}\n")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    done = compile_requirements(copy, *option)

    assert done.returncode == 77
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    name = "BASE_IMAGE" if "BASE_IMAGE" in line else "TRADING_RUNTIME_COMMIT"
    assert f".env line 3: {name} is not " in done.stderr
    assert "correct it" in done.stderr
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_good_pins_are_read(copy: Path) -> None:
    (copy / ".env").write_text(
        f'export BASE_IMAGE="{GOOD_IMAGE}" # the base\r\nTRADING_RUNTIME_COMMIT=\nOTHER=x y\n'
        "TRADING_RUNTIME_COMMIT = 0123abc"
    )
    done = compile_requirements(copy, "--pins")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [f"BASE_IMAGE={GOOD_IMAGE}", "TRADING_RUNTIME_COMMIT=0123abc"]


def test_the_example_of_pins_is_accepted(copy: Path) -> None:
    shutil.copy2(ROOT / ".env.example", copy / ".env")
    done = compile_requirements(copy, "--pins")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_an_unknown_option_is_named(copy: Path) -> None:
    done = compile_requirements(copy, "--chek")
    assert done.returncode == 2
    assert "--chek" in done.stderr


# --- make, scripts, workflows


def test_every_make_target_says_what_it_does() -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", read("Makefile")))
    explained = dict(re.findall(r"(?m)^([a-z]+):.*## (.+)$", read("Makefile")))
    assert targets - set(explained) == {"bootstrap"}
    assert {"run", "test", "check", "lock", "lint", "format", "image", "clean", "bench", "data"} <= targets

    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target, text in explained.items():
        assert re.search(rf"(?m)^{target} +{re.escape(text)}$", shown), target


SCRIPTS = [".ci/run", ".devcontainer/post-create.sh"]
SCRIPTS += [f"scripts/{path.name}" for path in sorted((ROOT / "scripts").iterdir())]


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_executable_and_stop_at_the_first_failure(name: str) -> None:
    assert (ROOT / name).stat().st_mode & 0o111
    assert read(name).startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in read(name)
    subprocess.run(["bash", "-n", ROOT / name], check=True)


def workflows() -> list[Path]:
    return sorted((ROOT / ".github/workflows").glob("*.y*ml"))


@pytest.mark.parametrize("path", workflows(), ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_hold_no_credentials(path: Path) -> None:
    text = path.read_text()
    used = re.findall(r"(?m)^\s*(?:- )?uses:\s*(.+)$", text)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"]
        for step in job["steps"]:
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_ci_tests_every_supported_python() -> None:
    declared = {line.rsplit(" ", 1)[1] for line in PROJECT["project"]["classifiers"] if "Python :: 3." in line}
    workflow = yaml.safe_load(read(".github/workflows/tests.yaml"))
    assert set(workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]) == declared
    assert PROJECT["project"]["requires-python"] == ">=" + min(declared, key=lambda text: int(text[2:]))


def test_the_development_container_installs_from_the_lock() -> None:
    container = json.loads(read(".devcontainer/devcontainer.json"))
    assert container["postCreateCommand"] == ".devcontainer/post-create.sh"
    assert "\nscripts/bootstrap\n" in read(".devcontainer/post-create.sh")
    assert "--require-hashes -r requirements-dev.txt" in read("scripts/bootstrap")


# --- the image


def test_the_image_runs_as_a_numbered_user_without_rights() -> None:
    users = re.findall(r"(?m)^USER (.+)$", read("Dockerfile"))
    assert users == ["10001:10001"]


def test_the_image_holds_no_secret_and_asks_for_no_frontend() -> None:
    text = read("Dockerfile")
    assert not re.search(r"(?im)^\s*#\s*syntax\s*=", text), "a syntax line makes offline builds fail"
    for line in re.findall(r"(?m)^(?:ARG|ENV|LABEL)\s.*(?:\\\n.*)*", text):
        assert not re.search(r"(?i)secret|token|password|passwd|api_?key|credential", line), line
    assert not re.search(r"(?m)^COPY (?:--\S+ )*\. ", text), "name what is copied"
    rules = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "nothing enters but what is named"


def test_the_image_is_labelled_with_this_version_and_its_commit() -> None:
    text = read("Dockerfile")
    assert f"ARG VERSION={trading_runtime.__version__}\n" in text
    for label in ("title", "source", "revision", "version", "licenses"):
        assert f"org.opencontainers.image.{label}=" in text
    assert "TRADING_RUNTIME_COMMIT=${GIT_COMMIT}" in text
    assert "--require-hashes" in text


def test_every_file_the_image_copies_is_let_through() -> None:
    allowed = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    for sources in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", read("Dockerfile")):
        for source in sources.split():
            assert any(source == name or source.startswith(name + "/") for name in allowed), source


# --- the package


def test_one_version() -> None:
    assert PROJECT["project"]["version"] == trading_runtime.__version__
    assert f"## [{trading_runtime.__version__}]" in read("CHANGELOG.md")


@pytest.mark.parametrize("package", ["core", "strategies"])
def test_the_core_and_the_strategies_import_only_the_standard_library_and_numpy(package: str) -> None:
    """The contracts in pyproject.toml forbid what is known to be heavy; this allows what is light."""
    allowed = {*sys.stdlib_module_names, "numpy"}
    for path in sorted((ROOT / "trading_runtime" / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.name}: imports are absolute"
                names = [node.module or ""]
            for name in names:
                inside = name.startswith(("trading_runtime.core", f"trading_runtime.{package}"))
                assert inside or name.split(".")[0] in allowed, f"{path.name} imports {name}"
