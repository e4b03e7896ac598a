"""An S3 that speaks HTTP on 127.0.0.1: moto's, as a child process, one for each test session (each worker, with xdist).

It runs under this Python where moto is installed here, else under the one that S3_SERVER_PYTHON names or that
scripts/s3-server made. A test without it is skipped with the reason, unless CI=true, where it fails: there it was meant
to be installed. Run as a script, this file is the server: it prints its port and serves until it is ended.

One request at a time: whether something is there and writing it are then one step, as S3 promises.
"""

from __future__ import annotations

import http.client
import importlib.util
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

KEY_ID, SECRET = "test-key-id", "test-secret-key-that-nobody-may-see"
_STOP_SECONDS_MAX = 20.0
_BUCKETS = itertools.count(1)
_RUNNING: list[S3Server] = []


def serve() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()

    def one_at_a_time(environ: Any, start_response: Any) -> Iterable[bytes]:
        with lock:
            return list(application(environ, start_response))

    server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
    print(server.port, flush=True)
    server.serve_forever()


def server_python() -> str | None:
    """Return the Python that has moto, None when none is known."""
    if importlib.util.find_spec("moto") is not None:
        return sys.executable
    own = Path(__file__).resolve().parents[1] / ".venv-s3/bin/python"  # made by scripts/s3-server
    return os.environ.get("S3_SERVER_PYTHON") or (str(own) if own.exists() else None)


class S3Server:
    """A running server. ``environment`` is what a store of the project needs to reach it."""

    def __init__(self, folder: Path) -> None:
        python = server_python()
        assert python is not None
        log = folder / "s3-server.log"
        # Neither our settings nor our credentials are the server's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [python, str(Path(__file__).resolve())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=folder,
                env=environment,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-2000:]}")
        self.port = int(line)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return environment_for(self.endpoint)

    def new_bucket(self) -> str:
        """Make an empty bucket and return its name."""
        name = f"bucket-{next(_BUCKETS)}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("PUT", f"/{name}")
            status = connection.getresponse().status
        finally:
            connection.close()
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"the S3 server made no bucket: {status}")
        return name

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def environment_for(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


if __name__ == "__main__":
    serve()
else:
    import pytest

    @pytest.fixture(scope="session")
    def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
        """The server of this session."""
        if server_python() is None:
            reason = "there is no S3 server: run scripts/s3-server, which makes a Python with moto"
            if os.environ.get("CI") == "true":
                pytest.fail(f"{reason}; in CI it must be there")
            pytest.skip(reason)
        if not _RUNNING:  # pytest counts the fixture once for each module that imports it
            _RUNNING.append(S3Server(tmp_path_factory.mktemp("s3")))
        yield _RUNNING[0]
        while _RUNNING:
            _RUNNING.pop().stop()
