"""A proxy in front of an S3 server that does wrong what networks, servers and proxies do wrong, when told to.

    lost_request   the connection ends before anything is passed on
    lost_answer    passed on, then the connection ends without an answer
    slow_down      503 SlowDown, not passed on
    written_503    passed on, then answered with 503
    conflict       409 ConditionalRequestConflict, not passed on
    cut            half of the body, then the end of the connection
    spoilt         one bit of the body is another
    late           passed on, and answered after ``late_seconds``
    400, 403 ...   that status with ``code``, not passed on
    backwards      a page of a listing in reverse order
    unconditional  passed on without its condition, as an old server does

Google Cloud Storage has the same interface but for the headers of condition and authorization: with ``google`` the
first is translated, the second replaced. Its client writes / as %2F, which this server would not take.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server", "host"})
_SIGNED = "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
_STATUS = {"slow_down": (503, "SlowDown"), "conflict": (409, "ConditionalRequestConflict")}


@dataclass
class Fault:
    """What shall go wrong with the next ``times`` requests of ``method`` whose path contains ``path``."""

    method: str
    action: str
    times: int = 1
    path: str = ""
    code: str = ""


class FaultyProxy:
    """A running proxy; ``requests`` lists the methods and paths that came, ``headers`` what came with each. With
    ``certificate``, a file with key and certificate, it speaks HTTPS.
    """

    def __init__(
        self, upstream: str, *, late_seconds: float = 0.0, google: bool = False, certificate: Path | None = None
    ) -> None:
        self.upstream = urlsplit(upstream)
        self.late_seconds, self.google = late_seconds, google
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.endpoint = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def fail(self, method: str, action: str, times: int = 1, *, path: str = "", code: str = "") -> None:
        self.faults.append(Fault(method, action, times, path, code))

    def fault_of(self, method: str, path: str, headers: dict[str, str]) -> Fault | None:
        with self._lock:
            self.requests.append((method, path))
            self.headers.append(headers)
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.path in path:
                    fault.times -= 1
                    return fault
        return None

    def count(self, method: str, path: str = "") -> int:
        return sum(1 for asked, where in self.requests if asked == method and path in where)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: FaultyProxy

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.proxy.fault_of(self.command, self.path, headers)
        action = fault.action if fault else ""
        if action == "lost_request":
            self.close_connection = True
            return
        if fault is not None and (action in _STATUS or action.isdigit()):
            status, code = _STATUS.get(action) or (int(action), fault.code)
            self.answer(status, {}, f"<Error><Code>{code}</Code><Message>signed by {KEYS}</Message></Error>".encode())
            return
        status, kept, content = self.pass_on(body, conditional=action != "unconditional")
        if action == "lost_answer":
            self.close_connection = True
        elif action == "written_503":
            self.answer(503, {}, b"<Error><Code>ServiceUnavailable</Code></Error>")
        elif action == "late":
            time.sleep(self.proxy.late_seconds)  # the fault itself: an answer that comes late
            self.close_connection = True
        elif action == "spoilt":
            self.answer(status, kept, bytes([content[0] ^ 1]) + content[1:])
        elif action == "backwards":
            found = re.findall(rb"<Contents>.*?</Contents>", content, re.DOTALL)
            before, after = content.split(found[0])[0], content.split(found[-1])[1]
            self.answer(status, kept, before + b"".join(reversed(found)) + after)
        elif action == "cut":
            self.answer(status, kept, content, sent=len(content) // 2)
            self.close_connection = True
        else:
            self.answer(status, kept, content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815 - names that http.server calls

    def pass_on(self, body: bytes, *, conditional: bool) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        path = self.path
        if self.proxy.google:
            where, question, asked = path.partition("?")
            path = unquote(where) + question + asked  # keys have no character that must be written otherwise
            headers = {name.lower(): value for name, value in headers.items()}
            headers["authorization"] = _SIGNED  # S3 knows no bearer tokens
            if headers.pop("x-goog-if-generation-match", None) == "0":
                headers["if-none-match"] = "*"
        if not conditional:
            headers = {name: value for name, value in headers.items() if name.lower() != "if-none-match"}
        upstream = self.proxy.upstream
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=20)
        try:
            connection.request(self.command, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            if self.command == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length") or "0"
            return answer.status, kept, content
        finally:
            connection.close()

    def answer(self, status: int, headers: dict[str, str], content: bytes, *, sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content if sent is None else content[:sent])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name for it
        return


# Stands in every error page: what must never reach a text of ours.
KEYS = "AWSAccessKeyId=test-key-id Signature=deadbeef"
