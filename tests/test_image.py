"""The image: what the Dockerfile and its guide say of each other, and that the check of an image fails when it must.

Building one needs a builder and minutes; the workflows do it, and ``scripts/check-image`` judges what came out.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs/image.md").read_text(encoding="utf-8")

# A runtime of containers that runs the command of this checkout instead, and spoils what SPOIL names.
RUNTIME = """#!/usr/bin/env bash
set -euo pipefail
printf '%s\\n' "$*" >> "$LOG"
volume="" entrypoint=trading-runtime
while [[ $1 != image:tag ]]; do
    case $1 in
        --volume) volume="${2%%:*}"; shift ;;
        --entrypoint) entrypoint="$2"; shift ;;
    esac
    shift
done
shift
if [[ $entrypoint == python ]]; then
    if [[ $SPOIL == rights ]]; then user=0; else user=10001; fi
    echo "{'user': $user, 'group': 10001, 'capabilities': 0, 'no_new_privileges': '1', 'writable': ['/tmp']," \\
        "'installers': [], 'network': []}"
    exit
fi
arguments=("$@")
for position in "${!arguments[@]}"; do
    case ${arguments[position]} in
        /objects) arguments[position]="$volume" ;;
        /tmp/out) arguments[position]="$(dirname "$LOG")/out" ;;
        /opt/trading-runtime/*) arguments[position]="${arguments[position]#/opt/trading-runtime/}" ;;
    esac
done
"$COMMAND" "${arguments[@]}" | if [[ $SPOIL == "$1" ]]; then sed -E 's/^digest   ..../digest   0000/'; else cat; fi
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what the check reads: its script, the example and a command."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy2(ROOT / "scripts/check-image", folder / "scripts")
    shutil.copytree(ROOT / "trading_runtime/local", folder / "trading_runtime/local")
    shutil.copytree(ROOT / "tests/data/parts", folder / "tests/data/parts")
    binaries = folder / ".venv/bin"
    binaries.mkdir(parents=True)
    for name, arguments in {"python": "", "trading-runtime": " -m trading_runtime"}.items():
        (binaries / name).write_text(
            f'#!/bin/sh\nPYTHONSAFEPATH=1 PYTHONPATH={ROOT} exec {sys.executable}{arguments} "$@"\n'
        )
        (binaries / name).chmod(0o755)
    (folder / "runtime").write_text(RUNTIME)
    (folder / "runtime").chmod(0o755)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(folder)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "x"], check=True)
    return folder


def check(
    checkout: Path, *arguments: str, spoil: str = "nothing", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts/check-image", *arguments],
        env={
            **os.environ,
            "CONTAINERS": str(checkout / "runtime"),
            "COMMAND": str(checkout / ".venv/bin/trading-runtime"),
            "LOG": str(checkout / "log"),
            "SPOIL": spoil,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_right_image_passes_and_every_run_of_it_is_without_rights(checkout: Path) -> None:
    done = check(checkout, "image:tag")

    assert done.returncode == 0, done.stderr
    assert "root digest of a sweep: " in done.stdout
    runs = (checkout / "log").read_text()
    assert runs.count("sweep run --sweep") == 2
    assert runs.count("sweep gather --sweep") == 1
    calls = re.findall(r"(?m)^run .*$", runs)
    assert len(calls) >= 6
    for call in calls:
        for option in ("--read-only", "--cap-drop=ALL", "no-new-privileges", "--user 10001:10001", "--network none"):
            assert option in call


@pytest.mark.parametrize(
    ("spoil", "said"),
    [("rights", "rights: the image gives"), ("backtest", "digest of the example backtest: the image gives 0000")],
)
def test_a_wrong_image_does_not(checkout: Path, spoil: str, said: str) -> None:
    done = check(checkout, "image:tag", spoil=spoil)

    assert done.returncode == 1
    assert said in done.stderr


def test_a_failing_shard_fails_the_check(checkout: Path) -> None:
    runtime = (
        (checkout / "runtime")
        .read_text()
        .replace("arguments=(", 'if [[ $* == *"--shard 1"* ]]; then exit 75; fi\narguments=(')
    )
    (checkout / "runtime").write_text(runtime)

    assert check(checkout, "image:tag").returncode == 75


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        ((), {}, 2, "name one image"),
        (("one", "two"), {}, 2, "name one image"),
        (("image:tag",), {"CONTAINERS": "no-such-runtime"}, 77, "no-such-runtime not found"),
    ],
)
def test_a_wrong_call_of_the_check_says_what_to_do(
    checkout: Path, arguments: tuple[str, ...], environment: dict[str, str], code: int, said: str
) -> None:
    done = check(checkout, *arguments, **environment)

    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_guide_lists_every_build_argument_with_its_default() -> None:
    declared = dict(re.findall(r"(?m)^ARG (\w+)=(\S+)$", DOCKERFILE))
    told = dict(re.findall(r"(?m)^\| `([A-Z_]+)` \| (.+?) \|", GUIDE))
    assert told.keys() == declared.keys()
    for name in ("BASE_IMAGE", "GIT_COMMIT", "SOURCE"):
        assert told[name] == f"`{declared[name]}`"


def test_what_runs_in_a_cluster_is_what_the_image_starts() -> None:
    """Manifests name user and command of their own; a difference would show only on a cluster."""
    from trading_runtime.argo.pods import COMMAND, USER_ID

    assert f'ENTRYPOINT ["{COMMAND}"]' in DOCKERFILE
    assert f"USER {USER_ID}:{USER_ID}" in DOCKERFILE


def test_files_that_the_package_reads_beside_its_code_are_installed() -> None:
    """The image installs a wheel: a file that is not declared is there in a checkout and missing in a pod."""
    import tomllib

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "trading_runtime"
    ]
    package = ROOT / "trading_runtime"
    files = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc") and "__pycache__" not in path.parts
    ]
    installed = {path.relative_to(package).as_posix() for pattern in declared for path in package.glob(pattern)}
    assert [name for name in sorted(files) if name not in installed] == []
