"""Messages by the Telegram Bot API (``sendMessage``, https://core.telegram.org/bots/api#sendmessage), as plain text.

``TG_TOKEN`` names the bot, ``TG_CHAT_ID`` and ``GLOBAL_TELEGRAM_CHAT_ID`` the chats. The token is part of the address
of every request, so no text here is made from an address or from a library's error message.

A timeout is not repeated, since the message may have arrived and its time is used up; neither is an answer that makes
no sense. A refused or cut connection, a 5xx and a 429 with a short wait are repeated once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from trading_runtime.notify.port import Delivery, Message, delivery_of
from trading_runtime.telemetry.redact import HIDDEN, redact

BASE_URL: Final = "https://api.telegram.org"
TOKEN_VARIABLE: Final = "TG_TOKEN"
CHAT_VARIABLES: Final = ("TG_CHAT_ID", "GLOBAL_TELEGRAM_CHAT_ID")

# "1-4096 characters" (Bot API, sendMessage); Telegram counts UTF-16 code units.
TEXT_UNITS_MAX: Final = 4096
ATTEMPTS_MAX: Final = 2
RETRY_WAIT_SECONDS: Final = 1.0
# A longer retry_after is not waited for: the cycle has better things to do.
RETRY_AFTER_SECONDS_MAX: Final = 10.0
_ANSWER_BYTES_MAX = 64 * 1024
_DETAIL_LENGTH_MAX = 160


class _Answer(NamedTuple):
    """What one request came to: an HTTP status with a body, or no status and the reason in one word or two."""

    status: int | None
    body: bytes = b""
    reason: str = ""
    may_repeat: bool = False


class TelegramNotifier:
    """One chat of one bot."""

    def __init__(
        self,
        token: str,
        chat: str,
        *,
        channel: str = "telegram",
        base_url: str = BASE_URL,
        timeout_seconds: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``channel`` is what records call this chat; ``timeout_seconds`` bounds one request as a whole.

        Raises ValueError for an address that would send the token unencrypted over a network.
        """
        place = urlsplit(base_url)
        if place.scheme != "https" and not (place.scheme == "http" and place.hostname in ("127.0.0.1", "localhost")):
            raise ValueError("the address of the Telegram Bot API must begin with https://")
        self._token = token
        self._chat = chat
        self._channel = channel
        self._url = f"{base_url.rstrip('/')}/bot{quote(token, safe=':')}/sendMessage"
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"TelegramNotifier({self._channel})"

    @property
    def channel(self) -> str:
        return self._channel

    def send(self, message: Message) -> Delivery:
        """Send the message; see the file's head for what is repeated."""
        text, cut = cut_text(message.text)
        body = json.dumps({"chat_id": self._chat, "text": text, "link_preview_options": {"is_disabled": True}}).encode()
        for attempt in range(1, ATTEMPTS_MAX + 1):
            answer = self._ask(body)
            delivered, detail, wait_seconds = self._judged(answer)
            if delivered:
                return delivery_of(message, self.channel, delivered=True, detail=cut, attempts=attempt)
            if wait_seconds is None or attempt == ATTEMPTS_MAX:
                return delivery_of(message, self.channel, delivered=False, detail=detail, attempts=attempt)
            self._sleep(wait_seconds)
        raise AssertionError("unreachable: the last attempt returns")

    def _judged(self, answer: _Answer) -> tuple[bool, str, float | None]:
        """Return whether the message was delivered, what to say if not, and the seconds until a repeat makes sense."""
        if answer.status is None:
            return False, answer.reason, RETRY_WAIT_SECONDS if answer.may_repeat else None
        content = _json(answer.body)
        if answer.status == 200 and content.get("ok") is True:
            return True, "", None
        description = self._clean(content.get("description"))
        detail = f"HTTP {answer.status}" + (f": {description}" if description else "")
        if answer.status == 200:
            return False, f"{detail}: the answer says nothing about the message" if not description else detail, None
        if answer.status in (401, 404):
            # An unknown token is 401, one that has not even the form of a token 404.
            return False, f"{detail} (is {TOKEN_VARIABLE} right?)", None
        if answer.status == 429:
            seconds = _retry_after(content)
            if seconds > RETRY_AFTER_SECONDS_MAX:
                return False, f"{detail} (too many messages; not waited for {seconds:g} s)", None
            return False, detail, seconds
        return False, detail, RETRY_WAIT_SECONDS if answer.status >= 500 else None

    def _clean(self, text: Any) -> str:
        if not isinstance(text, str):
            return ""
        for secret in (self._token, quote(self._token, safe=":"), quote(self._token, safe="")):
            text = text.replace(secret, HIDDEN) if secret else text
        line = " ".join(redact(text).split())
        return line if len(line) <= _DETAIL_LENGTH_MAX else f"{line[: _DETAIL_LENGTH_MAX - 3]}..."

    def _ask(self, body: bytes) -> _Answer:
        """Send one request in a thread of its own: looking up a name, a handshake and an answer that comes byte by byte
        have no common timeout otherwise. A thread that hangs is left behind and ends with the process.
        """
        answers: SimpleQueue[_Answer] = SimpleQueue()
        Thread(target=lambda: answers.put(self._request(body)), name="telegram", daemon=True).start()
        try:
            return answers.get(timeout=self._timeout_seconds)
        except Empty:
            return _Answer(None, reason=f"no answer within {self._timeout_seconds:g} s; it may have arrived")

    def _request(self, body: bytes) -> _Answer:
        # Imported here: a cycle without messages does not load them.
        import ssl
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import HTTPRedirectHandler, Request, build_opener

        class NoRedirect(HTTPRedirectHandler):
            """A redirect would carry the token to another place."""

            def redirect_request(self, *_: Any, **__: Any) -> None:
                return None

        request = Request(self._url, data=body, headers={"Content-Type": "application/json"}, method="POST")
        try:
            with build_opener(NoRedirect).open(request, timeout=self._timeout_seconds) as response:
                return _Answer(response.status, response.read(_ANSWER_BYTES_MAX))
        except HTTPError as error:
            with error:
                try:
                    return _Answer(error.code, error.read(_ANSWER_BYTES_MAX))
                except (OSError, HTTPException):
                    return _Answer(error.code)
        except (URLError, OSError, HTTPException, ValueError) as error:
            cause = error.reason if isinstance(error, URLError) else error
            if isinstance(cause, TimeoutError):
                return _Answer(None, reason="no answer in time; it may have arrived")
            if isinstance(cause, ssl.SSLError):
                return _Answer(None, reason="no trusted connection (TLS)")
            may_repeat = isinstance(cause, OSError | HTTPException)
            return _Answer(None, reason=f"no connection ({type(cause).__name__})", may_repeat=may_repeat)
        except Exception as error:  # noqa: BLE001 - of a thread: unheard it would look like a timeout
            return _Answer(None, reason=f"request failed ({type(error).__name__})")


def telegram_notifiers(environment: Mapping[str, str], *, base_url: str = BASE_URL) -> list[TelegramNotifier]:
    """Return one notifier for each different chat that the environment names; none without a token or a chat."""
    token = environment.get(TOKEN_VARIABLE, "").strip()
    if not token:
        return []
    chats: dict[str, str] = {}
    for variable in CHAT_VARIABLES:
        chat = environment.get(variable, "").strip()
        if chat:
            chats.setdefault(chat, variable)
    return [
        TelegramNotifier(token, chat, channel=f"telegram:{variable}", base_url=base_url)
        for chat, variable in chats.items()
    ]


def cut_text(text: str) -> tuple[str, str]:
    """Return the text as Telegram takes it and, when it had to be cut, what to say about it."""
    # JSON would carry a lone surrogate, Telegram refuses it.
    clean = text.encode("utf-8", "replace").decode()
    if _units(clean) <= TEXT_UNITS_MAX:
        return clean, ""
    kept = clean.encode("utf-16-le")[: 2 * (TEXT_UNITS_MAX - 1)].decode("utf-16-le", "ignore")
    return f"{kept}…", f"cut to {TEXT_UNITS_MAX} characters"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _json(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _retry_after(content: Mapping[str, Any]) -> float:
    parameters = content.get("parameters")
    seconds = parameters.get("retry_after") if isinstance(parameters, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        return RETRY_WAIT_SECONDS
    return float(min(seconds, 1e9))
