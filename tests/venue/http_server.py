"""A loopback HTTP server with faults: what every exchange's server shares. What it answers is the subclass's business.

Faults act on the way of a request: lost before it is looked at, executed with its answer lost, executed later, answered
slowly, answered with an error. A lost answer is a connection that is cut without one, at once or after a silence.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from .clock import RealClock, VenueClock
from .faults import OK, Fate, Faults
from .model import Venue


class Request(NamedTuple):
    """One request as it came; ``query`` and ``body`` are the raw texts that signatures are made of."""

    method: str
    path: str
    query: str
    body: str
    headers: dict[str, str]

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the query and of a form body, the body's taking precedence."""
        pairs = parse_qsl(self.query, keep_blank_values=True) + parse_qsl(self.body, keep_blank_values=True)
        return dict(pairs)


class Answer(NamedTuple):
    """Status, text and headers of an answer."""

    status: int
    body: str
    headers: dict[str, str]


class LoopbackServer:
    """A venue behind HTTP on 127.0.0.1: ``with BinanceServer(venue) as server: server.url``.

    requests   every request that reached the server, those included whose fate was to be lost
    defects    errors of the server itself; leaving the ``with`` raises the first one, so that no test takes a cut
               connection for a fault that was wanted
    lock       held while a request is executed; a test that moves prices meanwhile takes it
    """

    def __init__(self, venue: Venue, *, faults: Faults | None = None, clock: VenueClock | None = None) -> None:
        self.venue = venue
        self.faults = faults or Faults()
        self.clock = clock or RealClock()
        self.lock = threading.RLock()
        self.requests: list[Request] = []
        self.defects: list[Exception] = []
        self._is_closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closing.set()
        self._server.shutdown()
        self._thread.join()
        self.drop_connections()
        self._server.server_close()
        if isinstance(self.clock, RealClock):
            self.clock.close()
        if self.defects and error is None:
            raise self.defects[0]

    def drop_connections(self) -> None:
        """Cut every connection there is, idle ones too: clients that keep theirs find them dead at the next request."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def counts(self) -> Counter[tuple[str, str]]:
        """Return how many requests came for each (method, path)."""
        return Counter((request.method, request.path) for request in self.requests)

    # What an exchange's server says

    def kind(self, request: Request) -> str | None:
        """Return which kind of call this is, as ``faults`` names them; None is never hit by a fault."""
        raise NotImplementedError

    def respond(self, request: Request, fate: Fate) -> Answer:
        """Execute the request and answer it, refusals included."""
        raise NotImplementedError

    def refusal(self, fate: Fate) -> Answer:
        """Return the error answer that a fate asks for."""
        raise NotImplementedError

    # The way there and back

    def serve(self, request: Request) -> Answer | None:
        """Return the answer, None when there is none: the connection is cut."""
        with self.lock:
            self.requests.append(request)
            kind = self.kind(request)
            fate = OK if kind is None else self.faults.next(kind)
        if fate.way == "ok":
            return self._execute(request, fate)
        if fate.way == "slow_answer":
            answer = self._execute(request, fate)
            self._is_closing.wait(fate.delay_ms / 1000.0)
            return answer
        if fate.way == "error":
            if fate.executed:
                self._execute(request, fate)
            return self.refusal(fate)
        if fate.way == "lost_answer":
            self._execute(request, fate)
        elif fate.way == "late_request":
            self.clock.at(self.clock.now_ms() + fate.delay_ms, lambda: self._arrive_late(request, fate))
        self._is_closing.wait(fate.silence_ms / 1000.0)
        return None

    def _execute(self, request: Request, fate: Fate) -> Answer:
        with self.lock:
            try:
                return self.respond(request, fate)
            except Exception as defect:
                self.defects.append(defect)
                raise

    def _arrive_late(self, request: Request, fate: Fate) -> None:
        if not self._is_closing.is_set():
            self._execute(request, fate)

    def connected(self, connection: socket.socket) -> None:
        self._connections.add(connection)

    def disconnected(self, connection: socket.socket) -> None:
        self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, owner: LoopbackServer) -> None:
        self._owner = owner
        super().__init__(("127.0.0.1", 0), _handler_of(owner))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away in the middle of a request; anything else is a defect."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, OSError) and error not in self._owner.defects:
            self._owner.defects.append(error)


def _handler_of(owner: LoopbackServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # one packet for head and body

        def setup(self) -> None:
            super().setup()
            owner.connected(self.connection)

        def finish(self) -> None:
            owner.disconnected(self.connection)
            super().finish()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
            return

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_DELETE(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = owner.serve(Request(self.command, unquote(parts.path), parts.query, body, headers))
            if answer is None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            content = answer.body.encode()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler
