"""What the tests of heartbeat and watch share: ends of cycles, a store that fails, channels that keep what they got."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from venue.clock import VirtualClock

from trading_runtime.core.errors import StoreUnavailable
from trading_runtime.cycle.heartbeat import beat
from trading_runtime.notify.port import Delivery, Message, delivery_of
from trading_runtime.notify.telegram import TelegramNotifier
from trading_runtime.stores.documents import Conflict, Document, Documents
from trading_runtime.telemetry.log import EventLog

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
OWNER = "main.Alternate"
TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
QUIET = EventLog(level="off")


class End(NamedTuple):
    """How a cycle ended, as its report says it."""

    status: str = "done"
    exit_code: int = 0
    slot: int | None = None
    reason: str = ""
    run_id: str = "run"
    mode: str = "live"
    account: str = "main"
    strategy: str = "Alternate"
    publication: dict[str, Any] | None = None


class FlakyDocuments:
    """Documents that fail for as often as they are told to; with ``before`` something happens before a write."""

    def __init__(self, base: Documents) -> None:
        self.base = base
        self.failures = 0
        self.conflicts = 0
        self.reads_only = False
        self.closed = 0
        self.fails_at: int | None = None

    def _fail(self) -> None:
        if self.fails_at is not None:
            self.fails_at -= 1
            if self.fails_at == -1:
                self.fails_at = None
                raise StoreUnavailable("the store does not answer")
        if self.failures > 0:
            self.failures -= 1
            raise StoreUnavailable("the store does not answer")

    def read(self, path: str) -> Document | None:
        self._fail()
        return self.base.read(path)

    def create(self, path: str, content: bytes) -> str:
        self._write()
        return self.base.create(path, content)

    def replace(self, path: str, content: bytes, version: str) -> str:
        self._write()
        return self.base.replace(path, content, version)

    def _write(self) -> None:
        self._fail()
        if self.reads_only:
            raise StoreUnavailable("writing is not permitted")
        if self.conflicts > 0:
            self.conflicts -= 1
            raise Conflict("somebody else was first")

    def names(
        self, collection: str, *, first: str = "", last: str | None = None, newest: int | None = None
    ) -> list[str]:
        self._fail()
        return self.base.names(collection, first=first, last=last, newest=newest)

    def close(self) -> None:
        self.closed += 1


class Channel:
    """A channel to people that keeps what it got; it answers as its script says, then delivers."""

    def __init__(self, name: str = "telegram:TG_CHAT_ID") -> None:
        self.channel = name
        self.got: list[Message] = []
        self.tried = 0
        self.script: list[str] = []

    def send(self, message: Message) -> Delivery:
        self.tried += 1
        detail = self.script.pop(0) if self.script else ""
        if detail:
            return delivery_of(message, self.channel, delivered=False, detail=detail, attempts=1)
        self.got.append(message)
        return delivery_of(message, self.channel, delivered=True, attempts=1)

    def kinds(self) -> list[str]:
        return [message.kind for message in self.got]


def end(documents: Documents, clock: VirtualClock, ended: End, *, bar_ms: int | None = HOUR_MS) -> bool:
    """Write the heartbeat of a cycle that ended now."""
    return beat(documents, OWNER, ended, clock, bar_ms=bar_ms, log=QUIET)


class BotServer:
    """Telegram's sendMessage over loopback: the next status of its script for each request (0 cuts the connection),
    then ok.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.requests = 0
        self.script: list[int] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests += 1
                status = server.script.pop(0) if server.script else 200
                if status == 0:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                if status == 200:
                    server.texts.append(content["text"])
                body = json.dumps({"ok": status == 200, "description": "said the script"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def notifier(self) -> TelegramNotifier:
        """A channel to this server; its own short repeats take no time."""
        return TelegramNotifier(TOKEN, "-1001", base_url=self.url, sleep=lambda seconds: None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
