"""Google's Firestore emulator as a child process: one for each test session (each worker, with pytest-xdist).

A test without it is skipped with the reason, unless CI=true, where it fails: there it was meant to be installed.
"""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# Where Debian's package google-cloud-cli-firestore-emulator and gcloud's own component put it; FIRESTORE_EMULATOR_JAR
# names another place.
_INSIDE = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_START_SECONDS_MAX = 60.0
_STOP_SECONDS_MAX = 20.0
_PROJECTS = itertools.count(1)
_RUNNING: list[Emulator] = []


def find_emulator() -> Path | None:
    """Return the emulator's jar, None when it is not installed."""
    named = os.environ.get("FIRESTORE_EMULATOR_JAR")
    if named:
        return Path(named)
    gcloud = shutil.which("gcloud")
    folders = [Path("/usr/lib/google-cloud-sdk"), Path.home() / "google-cloud-sdk"]
    if gcloud is not None:
        folders.insert(0, Path(gcloud).resolve().parent.parent)
    return next((folder / _INSIDE for folder in folders if (folder / _INSIDE).is_file()), None)


def missing() -> str | None:
    """Return why there can be no emulator, None when there can."""
    if shutil.which("java") is None:
        return "the Firestore emulator needs Java, and there is none"
    jar = find_emulator()
    if jar is None or not jar.is_file():
        return "the Firestore emulator is not installed (see docs/stores.md)"
    return None


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().strip() == b"Ok"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Emulator:
    """A running emulator; ``host`` is what FIRESTORE_EMULATOR_HOST must be."""

    def __init__(self, folder: Path) -> None:
        jar = find_emulator()
        assert jar is not None
        log = folder / "emulator.log"
        # The port may be taken between finding and using it, so that it is tried with another.
        for _ in range(3):
            port = _free_port()
            command = ["java", "-Duser.language=en", "-Xmx256m", "-cp", str(jar)]
            command += ["com.google.cloud.datastore.emulator.firestore.CloudFirestore"]
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [*command, "--host=127.0.0.1", f"--port={port}"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                )
            self.host = f"127.0.0.1:{port}"
            deadline = time.monotonic() + _START_SECONDS_MAX
            while time.monotonic() < deadline and self._process.poll() is None:
                if _answers(port):
                    return
                time.sleep(0.05)  # between two looks for its answer
            self.stop()
        raise RuntimeError(f"the Firestore emulator did not start:\n{log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="session")
def firestore_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The emulator of this session. FIRESTORE_EMULATOR_HOST is set by ``firestore_project``, for one test only."""
    reason = missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; in CI it must be there")
        pytest.skip(reason)
    if not _RUNNING:  # pytest counts the fixture once for each module that imports it
        _RUNNING.append(Emulator(tmp_path_factory.mktemp("firestore")))
    yield _RUNNING[0]
    while _RUNNING:
        _RUNNING.pop().stop()


@pytest.fixture
def firestore_project(firestore_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a project of its own: empty, and the test's process is led to the emulator."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_emulator.host)
    return f"demo-{os.getpid()}-{next(_PROJECTS)}"
