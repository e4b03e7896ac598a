"""An API server on loopback: what `argo submit` and `argo status` ask of Kubernetes' custom objects, with its rules.

Real HTTP, real objects with versions, watches that stream; one bearer token. Faults are asked for by the test.
"""

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

NAMESPACE = "trading-research"
TOKEN = "of-the-submitter"
PREFIX = "/apis/argoproj.io/v1alpha1/namespaces/"


class ApiServer:
    """The objects of a cluster and the server that holds them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.version = 100
        self.workflows: dict[tuple[str, str], dict[str, Any]] = {}
        self.templates: set[tuple[str, str]] = set()
        self.watchers: list[tuple[str, str, queue.Queue[dict[str, Any]]]] = []
        self.requests: list[str] = []
        # Status codes to answer with before anything else, "drop" to close without an answer, "lost" to do what is
        # asked and then close without an answer, "page" for what a proxy answers that wants a login.
        self.faults: list[int | str] = []
        self.page_rows = 500
        owner = self

        class Handler(_Handler):
            server_state = owner

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def kubeconfig(self, folder: Path, token: str = TOKEN) -> Path:
        path = folder / "kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def put(self, namespace: str, body: dict[str, Any], kind: str) -> dict[str, Any]:
        """Keep an object with a new version and tell it to everybody who watches."""
        with self.lock:
            self.version += 1
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
            self.workflows[namespace, body["metadata"]["name"]] = body
            for watched, name, events in self.watchers:
                if watched == namespace and name in ("", body["metadata"]["name"]):
                    events.put({"type": kind, "object": body})
            return body

    def advance(self, namespace: str, name: str, **status: Any) -> None:
        """Change a workflow's status, as the controller does."""
        with self.lock:
            body = self.workflows[namespace, name]
            self.put(namespace, {**body, "status": {**body.get("status", {}), **status}}, "MODIFIED")

    def is_watched(self) -> bool:
        with self.lock:
            return bool(self.watchers)


@contextmanager
def api_server() -> Iterator[ApiServer]:
    state = ApiServer()
    thread = threading.Thread(target=state.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        with state.lock:
            for _, _, events in state.watchers:
                events.put({"type": "END"})
        state.server.shutdown()
        state.server.server_close()
        thread.join(timeout=10)


class _Handler(BaseHTTPRequestHandler):
    server_state: ApiServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        state = self.server_state
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        with state.lock:
            state.requests.append(f"{method} {self.path}")
            fault = state.faults.pop(0) if state.faults else None
        if isinstance(fault, int):
            self._status(fault, "InternalError", "the server is not well")
            return
        if fault == "drop":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "page":
            self._send_bytes(200, "text/html", b"<html>log in</html>")
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._status(401, "Unauthorized", "Unauthorized")
            return
        words = parts.path.removeprefix(PREFIX).split("/")
        if not parts.path.startswith(PREFIX) or len(words) not in (2, 3) or words[1] != "workflows":
            self._status(404, "NotFound", "the server could not find the requested resource")
            return
        if method == "POST":
            self._create(words[0], json.loads(body), query, is_lost=fault == "lost")
        elif len(words) == 3:
            found = state.workflows.get((words[0], words[2]))
            if found is None:
                self._status(404, "NotFound", f'workflows.argoproj.io "{words[2]}" not found')
            else:
                self._send(200, found)
        elif query.get("watch") in ("true", "True"):
            self._watch(words[0], query)
        else:
            self._list(words[0], query)

    def _create(self, namespace: str, body: dict[str, Any], query: dict[str, str], *, is_lost: bool) -> None:
        state = self.server_state
        name = body["metadata"]["name"]
        unknown = set(body["spec"]) - {"workflowTemplateRef", "entrypoint", "arguments"}
        if body.get("kind") != "Workflow" or body["metadata"].get("namespace") != namespace or unknown:
            self._status(400, "BadRequest", f"strict decoding error: unknown field {sorted(unknown)}")
            return
        for parameter in body["spec"]["arguments"]["parameters"]:
            if not isinstance(parameter["value"], str):
                self._status(422, "Invalid", f"spec.arguments.parameters.{parameter['name']}: must be of type string")
                return
        if len(name) > 63 or not all(letter.isalnum() or letter == "-" for letter in name):
            self._status(422, "Invalid", f'Workflow "{name}" is invalid: metadata.name')
            return
        with state.lock:
            if (namespace, name) in state.workflows:
                self._status(409, "AlreadyExists", f'workflows.argoproj.io "{name}" already exists')
                return
            if query.get("dryRun") == "All":
                self._send(201, body)
                return
            kept = state.put(namespace, body, "ADDED")
        if is_lost:
            self.close_connection = True
            self.connection.close()
            return
        self._send(201, kept)

    def _list(self, namespace: str, query: dict[str, str]) -> None:
        state = self.server_state
        wanted = dict(pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair)
        with state.lock:
            found = [
                body
                for (space, _), body in sorted(state.workflows.items(), reverse=True)
                if space == namespace and wanted.items() <= body["metadata"].get("labels", {}).items()
            ]
        start = int(query.get("continue") or 0)
        rows = min(int(query.get("limit") or 10**6), state.page_rows)
        more = str(start + rows) if start + rows < len(found) else ""
        metadata = {"resourceVersion": str(state.version), **({"continue": more} if more else {})}
        self._send(200, {"kind": "WorkflowList", "metadata": metadata, "items": found[start : start + rows]})

    def _watch(self, namespace: str, query: dict[str, str]) -> None:
        state = self.server_state
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        since = int(query.get("resourceVersion") or 0)
        events: queue.Queue[dict[str, Any]] = queue.Queue()
        with state.lock:
            for (space, one), body in state.workflows.items():
                if space == namespace and one == name and int(body["metadata"]["resourceVersion"]) > since:
                    events.put({"type": "MODIFIED", "object": body})
            state.watchers.append((namespace, name, events))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while True:
                event = events.get(timeout=30)
                if event["type"] == "END":
                    self.wfile.write(b"0\r\n\r\n")
                    break
                if event["type"] == "BREAK":  # the connection is lost in the middle of the stream
                    self.connection.close()
                    break
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
        except (OSError, queue.Empty):
            pass
        finally:
            self.close_connection = True
            with state.lock:
                state.watchers = [one for one in state.watchers if one[2] is not events]

    def _status(self, code: int, reason: str, message: str) -> None:
        self._send(code, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})

    def _send(self, code: int, body: dict[str, Any]) -> None:
        self._send_bytes(code, "application/json", json.dumps(body).encode())

    def _send_bytes(self, code: int, kind: str, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
