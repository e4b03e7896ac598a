"""Notifications: what Telegram answers, each way to fail, and that no channel harms the caller or shows the token."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trading_runtime.notify.deliver import deliver
from trading_runtime.notify.dry_run import suppressed
from trading_runtime.notify.log import LogNotifier
from trading_runtime.notify.port import Delivery, Message, delivery_of
from trading_runtime.notify.telegram import TEXT_UNITS_MAX, TelegramNotifier, cut_text, telegram_notifiers
from trading_runtime.telemetry.log import EventLog

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
MESSAGE = Message("trade", "Bought 0.1 BTC/USDT\nat 42000 — ok", 1_706_702_400_000)

Answer = Callable[[BaseHTTPRequestHandler], None]


class BotApi:
    """A loopback server that speaks sendMessage: it takes one answer of its script for each request, then says ok."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.script: list[Answer] = []
        self.released = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                api.requests.append((self.path, json.loads(content)))
                (api.script.pop(0) if api.script else ok)(self)

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                # A client that stops reading is part of these tests; anything else is told as usual.
                if not isinstance(sys.exc_info()[1], ConnectionError):
                    super().handle_error(request, client_address)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


def says(status: int, content: Any, *, raw: bytes | None = None, location: str = "") -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = json.dumps(content).encode() if raw is None else raw
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        if location:
            handler.send_header("Location", location)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def fails(status: int, description: str, **parameters: Any) -> Answer:
    content: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    return says(status, {**content, **({"parameters": parameters} if parameters else {})})


def cut(handler: BaseHTTPRequestHandler) -> None:
    """The connection ends without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\xff\x00 no HTTP at all\r\n\r\n")
    cut(handler)


ok = says(200, {"ok": True, "result": {"message_id": 1}})


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[BotApi]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = BotApi()
    yield server
    server.close()


def notifier_of(api: BotApi, waits: list[float] | None = None, *, timeout_seconds: float = 20.0) -> TelegramNotifier:
    return TelegramNotifier(
        TOKEN,
        "-1001",
        base_url=api.url,
        timeout_seconds=timeout_seconds,
        sleep=([] if waits is None else waits).append,
    )


# --- Telegram


def test_a_message_arrives_as_plain_text(api: BotApi) -> None:
    delivery = notifier_of(api).send(MESSAGE)

    ((path, content),) = api.requests
    assert path == f"/bot{TOKEN}/sendMessage"
    assert content == {"chat_id": "-1001", "text": MESSAGE.text, "link_preview_options": {"is_disabled": True}}
    assert delivery == Delivery(
        "telegram", True, "", hashlib.sha256(MESSAGE.text.encode()).hexdigest(), len(MESSAGE.text), 1
    )


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (fails(401, "Unauthorized"), "HTTP 401: Unauthorized (is TG_TOKEN right?)"),
        (fails(404, "Not Found"), "HTTP 404: Not Found (is TG_TOKEN right?)"),
        (fails(400, "Bad Request: chat not found"), "HTTP 400: Bad Request: chat not found"),
        (fails(403, "Forbidden: bot was blocked by the user"), "HTTP 403: Forbidden: bot was blocked by the user"),
        (
            fails(429, "Too Many Requests: retry after 3600", retry_after=3600),
            "HTTP 429: Too Many Requests: retry after 3600 (too many messages; not waited for 3600 s)",
        ),
        (fails(429, "Slow", retry_after=float("inf")), "HTTP 429: Slow (too many messages; not waited for 1e+09 s)"),
        (says(200, None, raw=b"<html>"), "HTTP 200: the answer says nothing about the message"),
        (says(200, None, raw=b"["), "HTTP 200: the answer says nothing about the message"),
        (says(200, [1]), "HTTP 200: the answer says nothing about the message"),
        (says(200, {"ok": False, "description": "No"}), "HTTP 200: No"),
        (says(200, {"ok": "true"}), "HTTP 200: the answer says nothing about the message"),
        (says(302, {}, location="http://127.0.0.1:1/"), "HTTP 302"),
        (says(307, {}, location="http://127.0.0.1:1/"), "HTTP 307"),
    ],
)
def test_a_refused_message_is_told_and_not_repeated(api: BotApi, answer: Answer, detail: str) -> None:
    api.script = [answer]
    waits: list[float] = []

    delivery = notifier_of(api, waits).send(MESSAGE)

    assert (delivery.delivered, delivery.detail, delivery.attempts) == (False, detail, 1)
    assert (len(api.requests), waits) == (1, [])


TEMPORARY: list[tuple[Answer, float, str]] = [
    (fails(429, "Too Many Requests", retry_after=3), 3.0, "HTTP 429: Too Many Requests"),
    (fails(429, "Too Many Requests"), 1.0, "HTTP 429: Too Many Requests"),
    (fails(429, "Too Many Requests", retry_after="soon"), 1.0, "HTTP 429: Too Many Requests"),
    (fails(429, "Too Many Requests", retry_after=-5), 1.0, "HTTP 429: Too Many Requests"),
    (fails(500, "Internal Server Error"), 1.0, "HTTP 500: Internal Server Error"),
    (says(502, None, raw=b"<html>Bad Gateway</html>"), 1.0, "HTTP 502"),
    (cut, 1.0, "no connection (RemoteDisconnected)"),
    (no_http, 1.0, "no connection (BadStatusLine)"),
]
NAMES = ["429", "429 alone", "429 text", "429 negative", "500", "502", "cut", "no http"]


@pytest.mark.parametrize(("answer", "wait", "detail"), TEMPORARY, ids=NAMES)
def test_what_may_pass_is_repeated_once(api: BotApi, answer: Answer, wait: float, detail: str) -> None:
    waits: list[float] = []
    api.script = [answer]

    delivery = notifier_of(api, waits).send(MESSAGE)

    assert (delivery.delivered, delivery.detail, delivery.attempts) == (True, "", 2)
    assert waits == [wait]
    assert api.requests[0] == api.requests[1]


@pytest.mark.parametrize(("answer", "wait", "detail"), TEMPORARY, ids=NAMES)
def test_what_does_not_pass_is_given_up_after_the_second_time(
    api: BotApi, answer: Answer, wait: float, detail: str
) -> None:
    waits: list[float] = []
    api.script = [answer, answer, answer]

    delivery = notifier_of(api, waits).send(MESSAGE)

    assert (delivery.delivered, delivery.detail, delivery.attempts) == (False, detail, 2)
    assert (len(api.requests), waits) == (2, [wait])


def test_nobody_at_the_address_is_repeated_once(api: BotApi) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        waits: list[float] = []
        port = taken.getsockname()[1]
        notifier = TelegramNotifier(TOKEN, "1", base_url=f"http://127.0.0.1:{port}", sleep=waits.append)
        delivery = notifier.send(MESSAGE)
    assert (delivery.delivered, delivery.attempts, waits) == (False, 2, [1.0])
    assert delivery.detail == "no connection (ConnectionRefusedError)"


def test_a_server_that_hangs_costs_its_time_once(api: BotApi) -> None:
    api.script = [lambda _: api.released.wait(60) and None]

    delivery = notifier_of(api, timeout_seconds=0.2).send(MESSAGE)

    assert (delivery.delivered, delivery.attempts) == (False, 1)
    assert "may have arrived" in delivery.detail


def test_a_server_that_answers_byte_by_byte_costs_no_more_than_one_that_hangs(api: BotApi) -> None:
    """Each byte is in time for a socket's timeout; the whole answer never is."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not api.released.wait(0.02):
            try:
                handler.wfile.write(b" ")
            except OSError:
                return

    api.script = [drip]
    delivery = notifier_of(api, timeout_seconds=0.3).send(MESSAGE)

    assert (delivery.delivered, delivery.attempts) == (False, 1)
    assert delivery.detail == "no answer within 0.3 s; it may have arrived"


def test_an_answer_without_end_is_not_read_to_its_end(api: BotApi) -> None:
    api.script = [says(200, None, raw=b"x" * 5_000_000)]
    assert notifier_of(api).send(MESSAGE).detail == "HTTP 200: the answer says nothing about the message"


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_the_token_is_in_no_answer_even_when_the_server_sends_it_back(api: BotApi, status: int) -> None:
    api.script = [fails(status, f"no bot{TOKEN} here\nand {TOKEN}")] * 2
    notifier = notifier_of(api)

    delivery = notifier.send(MESSAGE)

    assert not delivery.delivered
    assert TOKEN.partition(":")[2] not in str(delivery)
    assert "\n" not in delivery.detail
    assert TOKEN not in repr(notifier)


def test_an_unusual_token_is_not_shown_either(api: BotApi) -> None:
    """It goes into the address and may hold anything."""
    token = "my secret/../tok?en\n"
    api.script = [fails(400, f"who is {token}?"), fails(400, "who is my%20secret%2F..%2Ftok%3Fen%0A?")]
    notifier = TelegramNotifier(token, "1", base_url=api.url)

    details = [notifier.send(MESSAGE).detail for _ in range(2)]

    assert details == ["HTTP 400: who is ***?"] * 2
    assert api.requests[0][0] == "/botmy%20secret%2F..%2Ftok%3Fen%0A/sendMessage"


@pytest.mark.parametrize("url", ["http://api.telegram.org", "http://127.0.0.1.example.com", "ftp://x", "file:///etc"])
def test_the_token_is_not_sent_unencrypted(url: str) -> None:
    with pytest.raises(ValueError, match="must begin with https://"):
        TelegramNotifier(TOKEN, "1", base_url=url)


@pytest.mark.parametrize(
    ("environment", "channels"),
    [
        ({}, []),
        ({"TG_TOKEN": TOKEN}, []),
        ({"TG_CHAT_ID": "1"}, []),
        ({"TG_TOKEN": " ", "TG_CHAT_ID": "1"}, []),
        ({"TG_TOKEN": TOKEN, "TG_CHAT_ID": "1"}, ["telegram:TG_CHAT_ID"]),
        ({"TG_TOKEN": TOKEN, "TG_CHAT_ID": "", "GLOBAL_TELEGRAM_CHAT_ID": "2"}, ["telegram:GLOBAL_TELEGRAM_CHAT_ID"]),
        (
            {"TG_TOKEN": TOKEN, "TG_CHAT_ID": "1", "GLOBAL_TELEGRAM_CHAT_ID": "2"},
            ["telegram:TG_CHAT_ID", "telegram:GLOBAL_TELEGRAM_CHAT_ID"],
        ),
        ({"TG_TOKEN": TOKEN, "TG_CHAT_ID": "1", "GLOBAL_TELEGRAM_CHAT_ID": " 1 "}, ["telegram:TG_CHAT_ID"]),
    ],
)
def test_every_chat_of_the_environment_is_told_once(
    api: BotApi, environment: dict[str, str], channels: list[str]
) -> None:
    notifiers = telegram_notifiers(environment, base_url=api.url)

    deliveries = deliver(notifiers, MESSAGE)

    assert [delivery.channel for delivery in deliveries] == channels
    assert all(delivery.delivered for delivery in deliveries)
    chats = [content["chat_id"] for _, content in api.requests]
    assert chats == sorted({chat.strip() for name, chat in environment.items() if "CHAT" in name and chat and channels})


def test_a_long_message_arrives_cut_and_says_so(api: BotApi) -> None:
    message = Message("error", "x" * 5000)

    delivery = notifier_of(api).send(message)

    assert api.requests[0][1]["text"] == "x" * 4095 + "…"
    assert (delivery.delivered, delivery.detail) == (True, "cut to 4096 characters")
    assert (delivery.length, delivery.text_sha256) == (5000, hashlib.sha256(b"x" * 5000).hexdigest())


@given(text=st.text(st.characters(), max_size=30).map(lambda text: text * 400) | st.text())
@example(text="😀" * 2048)
@example(text="😀" * 2049)
@example(text="x" + "😀" * 2048)
@example(text="\ud83d" * 5000)
def test_no_text_is_too_long_or_half_a_character(text: str) -> None:
    """Telegram counts UTF-16 code units."""
    sent, detail = cut_text(text)

    assert len(sent.encode("utf-16-le")) // 2 <= TEXT_UNITS_MAX
    clean = text.encode("utf-8", "replace").decode()
    assert sent == clean if not detail else clean.startswith(sent.removesuffix("…"))
    assert bool(detail) == (len(clean.encode("utf-16-le")) // 2 > TEXT_UNITS_MAX)


# --- the log as a channel


def test_the_log_is_a_channel() -> None:
    stream = io.StringIO()
    notifier = LogNotifier(EventLog(stream=stream, environment={"TG_TOKEN": "hush-hush"}))

    delivery = notifier.send(MESSAGE._replace(text="it is hush-hush"))

    line = json.loads(stream.getvalue())
    assert (line["event"], line["kind"], line["slot"]) == ("notification", "trade", "2024-01-31T12:00:00Z")
    assert line["text"] == "it is ***"
    assert (delivery.channel, delivery.delivered, delivery.attempts) == ("log", True, 1)


def test_a_log_that_is_off_does_not_claim_to_have_told_anybody() -> None:
    delivery = LogNotifier(EventLog(level="off", stream=io.StringIO())).send(Message("trade", "text"))
    assert (delivery.delivered, delivery.detail) == (False, "the log does not take lines of level info")


# --- all channels


class Misbehaving:
    """A channel that does whatever it is told to."""

    def __init__(self, act: Callable[[], Any], channel: Any = "odd") -> None:
        self._act = act
        self._channel = channel

    @property
    def channel(self) -> Any:
        return self._channel() if callable(self._channel) else self._channel

    def send(self, message: Message) -> Any:
        return self._act()


def raises(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


@pytest.mark.parametrize(
    ("notifier", "channel", "detail"),
    [
        (Misbehaving(raises(RuntimeError(f"https://x/bot{TOKEN}/"))), "odd", "the channel failed: RuntimeError"),
        (Misbehaving(raises(SystemExit(3))), "odd", "the channel failed: SystemExit"),
        (Misbehaving(raises(MemoryError())), "odd", "the channel failed: MemoryError"),
        (Misbehaving(lambda: None), "odd", "the channel answered with NoneType, not with a delivery"),
        (Misbehaving(lambda: True), "odd", "the channel answered with bool, not with a delivery"),
        (Misbehaving(lambda: Delivery("", True, "", "", 0, None)), "odd", "the channel failed: TypeError"),
        (Misbehaving(lambda: None, raises(OSError())), "Misbehaving", "the channel failed: OSError"),
        (object(), "object", "the channel failed: AttributeError"),
    ],
)
def test_whatever_a_channel_does_the_others_are_told(notifier: Any, channel: str, detail: str) -> None:
    stream = io.StringIO()
    log = LogNotifier(EventLog(stream=stream))

    before, failed, after = deliver([log, notifier, log], MESSAGE)

    assert (failed.channel, failed.delivered, failed.detail) == (channel, False, detail)
    assert (failed.length, failed.text_sha256) == (before.length, before.text_sha256)
    assert before.delivered
    assert after.delivered
    assert len(stream.getvalue().splitlines()) == 2


def test_what_a_channel_says_is_cleaned_and_cut() -> None:
    def act() -> Delivery:
        return delivery_of(
            Message("x", "another text"), "a lie", delivered=False, detail=f"bot{TOKEN}\n" + "x" * 500, attempts=2
        )

    (delivery,) = deliver([Misbehaving(act)], MESSAGE)

    assert delivery.detail.startswith("bot*** x")
    assert len(delivery.detail) == 200
    assert (delivery.channel, delivery.attempts) == ("odd", 2)
    assert delivery.text_sha256 == hashlib.sha256(MESSAGE.text.encode()).hexdigest()


def test_the_end_of_the_process_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        deliver([Misbehaving(raises(KeyboardInterrupt()))], MESSAGE)


def test_nobody_to_tell_is_no_error() -> None:
    assert deliver([], MESSAGE) == []


@given(text=st.text(st.characters()))
def test_records_keep_hash_and_length_of_any_text(text: str) -> None:
    delivery = delivery_of(Message("trade", text), "log", delivered=True, attempts=1)
    assert delivery.length == len(text)
    assert len(delivery.text_sha256) == 64
    assert text not in delivery or text in ("", "log")


def test_no_channel_ever_sees_a_secret_and_the_hash_is_of_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_API_SECRET", "hush-hush")
    seen: list[Message] = []

    class Keeps(Misbehaving):
        def send(self, message: Message) -> Delivery:
            seen.append(message)
            return delivery_of(message, "odd", delivered=True, attempts=1)

    (delivery,) = deliver([Keeps(lambda: None)], MESSAGE._replace(text=f"it is hush-hush, bot{TOKEN}"))

    assert seen[0].text == "it is ***, bot***"
    assert delivery.text_sha256 == hashlib.sha256(b"it is ***, bot***").hexdigest()
    assert delivery.length == len("it is ***, bot***")


def test_a_suppressed_channel_sends_nothing_and_records_what_it_would_have(api: BotApi) -> None:
    (channel,) = suppressed([notifier_of(api)])

    (delivery,) = deliver([channel], MESSAGE)

    assert api.requests == []
    assert (delivery.channel, delivery.delivered, delivery.attempts) == ("telegram", False, 0)
    assert delivery.detail == "dry run: not sent"
    assert delivery.text_sha256 == hashlib.sha256(MESSAGE.text.encode()).hexdigest()
