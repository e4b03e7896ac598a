"""One connection to an exchange through ccxt: its clock, questions with bounded retries, and orders sent exactly once.

    ask    a question that changes nothing: tried again after temporary trouble, limited in attempts and seconds
    send   an order or a cancel: one request on a fresh connection, never repeated, redirected or followed up

Every failure leaves here as a ``Trouble`` with a text of our own: ccxt's texts hold whole signed addresses. ccxt and
requests are imported when a connection is opened and not before.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable, TradingRuntimeError, nearest_name
from trading_runtime.exchanges.answers import Answer, Trouble, Word, http_word, shown
from trading_runtime.exchanges.credentials import Credentials, variable_names

ATTEMPTS_MAX = 4
WAIT_SECONDS_FIRST = 0.5  # each next wait is twice as long, or as long as the exchange asks for
WAIT_SECONDS_MAX = 20.0  # of all waits for one question; a ban is longer: stop and come back later
CLOCK_AGE_MS_MAX = 5 * 60_000
_STATUS_MOVED = 300
_STATUS_REFUSED = 400

Result = TypeVar("Result")
Judge = Callable[[Answer, Exception], Word | None]


class Clock(Protocol):
    """Milliseconds UTC, and waiting."""

    def now_ms(self) -> int: ...

    def sleep(self, seconds: float) -> None: ...


class Failure(Exception):
    """A request that failed; what is known about it is ``trouble``."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


class Connection:
    """A ccxt client that keeps what HTTP said, and the exchange's clock.

    ``burst_seconds`` is how much of its allowance the exchange lets one use at once. Raises ConfigurationError for an
    exchange that ccxt does not know, or a sandbox that it does not have.
    """

    def __init__(
        self,
        exchange_id: str,
        judge: Judge,
        *,
        options: Mapping[str, Any],
        credentials: Credentials | None,
        sandbox: Callable[[Any], None] | None,
        base_url: str | None,
        timeout_seconds: float,
        burst_seconds: float,
        clock: Clock,
    ) -> None:
        import ccxt
        import requests

        self.exchange_id = exchange_id
        self.clock = clock
        self._ccxt = ccxt
        self._judge = judge
        self._credentials = credentials
        self._answer: Answer | None = None
        self._was_sent = False
        self._offset_ms = 0
        self._measured_ms: int | None = None
        self._burst_ms = self._budget_ms = burst_seconds * 1000.0
        self._spent_ms: int | None = None
        if exchange_id not in ccxt.exchanges:
            near = nearest_name(exchange_id, list(ccxt.exchanges))
            hint = f"; did you mean {near}?" if near else ""
            raise ConfigurationError(f"unknown exchange {exchange_id!r}{hint}")
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.max_redirects = 0  # a signed request goes where it was meant to go, or nowhere
        self._request = self._session.request
        self._session.request = self._counted  # type: ignore[method-assign]
        self.client: Any = getattr(ccxt, exchange_id)(self._settings(timeout_seconds))
        self.client.on_rest_response = self._noted
        # Numbers stay the decimals that were sent: ccxt's structures then hold strings and no float.
        self.client.on_json_response = lambda text: json.loads(text, parse_float=str)
        self.client.milliseconds = self._milliseconds
        self.client.throttle = self._throttle
        for name, value in options.items():
            self.client.options[name] = value
        if "timeDifference" in self.client.options:
            self.client.options["timeDifference"] = 0
        if sandbox is not None:
            try:
                sandbox(self.client)
            except ccxt.BaseError:
                raise ConfigurationError(f"{exchange_id} has no sandbox: use paper mode") from None
        if base_url is not None:
            self.client.urls["api"] = _moved(self.client.urls["api"], base_url)
        # urllib3 writes whole addresses at DEBUG, their signatures included.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

    def close(self) -> None:
        """Close the sockets that are held open."""
        self._session.close()

    def has(self, ability: str) -> bool:
        """Whether ccxt knows how to do it with this exchange; ``emulated`` counts as no."""
        return self.client.has.get(ability) is True

    def require_credentials(self) -> None:
        """Raise ConfigurationError, naming what is missing, for a connection without credentials."""
        if self._credentials is None:
            key, secret, _ = variable_names(self.exchange_id)
            raise ConfigurationError(f"{self.exchange_id}: {key} and {secret} are not set; its account needs them")

    # Time

    def server_time_ms(self) -> int:
        """Return the exchange's time; measured again when the last measurement is older than a few minutes.

        Raises ExchangeUnavailable when it must be measured and cannot be.
        """
        age = None if self._measured_ms is None else self.clock.now_ms() - self._measured_ms
        if age is None or not 0 <= age <= CLOCK_AGE_MS_MAX:
            self._measure()
        return self._milliseconds()

    def doubt_the_clock(self) -> None:
        """Measure before the time is needed next: the exchange has called a stamp of ours wrong."""
        self._measured_ms = None

    def _measure(self) -> None:
        """Take the offset as if the exchange had looked at its clock halfway through the round trip."""
        if self.has("fetchTime"):

            def look() -> int:
                sent_ms = self.clock.now_ms()
                told_ms = int(self.client.fetch_time())
                return told_ms - (sent_ms + self.clock.now_ms()) // 2

            self._offset_ms = self._attempts("its time", look)
        self._measured_ms = self.clock.now_ms()

    def _milliseconds(self) -> int:
        return self.clock.now_ms() + self._offset_ms

    def _throttle(self, cost: float | None = None) -> None:
        """Wait so that requests cost no more than the exchange allows in the long run.

        In place of ccxt's own wait, which knows no burst (a question that costs 40 waits 2 s, though nothing was asked
        before) and is as long as a clock was set back, be it an hour.
        """
        now_ms = self.clock.now_ms()
        elapsed_ms = max(now_ms - self._spent_ms, 0) if self._spent_ms is not None else 0
        self._spent_ms = now_ms
        self._budget_ms = min(self._budget_ms + elapsed_ms, self._burst_ms)
        self._budget_ms -= float(self.client.rateLimit) * (1.0 if cost is None else float(cost))
        if self._budget_ms < 0:
            self.clock.sleep(-self._budget_ms / 1000.0)

    # Questions

    def ask(self, what: str, question: Callable[[], Result]) -> Result:
        """Return the answer to a question that changes nothing.

        Raises ExchangeUnavailable, or ConfigurationError for credentials that are refused.
        """
        try:
            return self._attempts(what, question)
        except Failure as failure:
            text = failure.trouble.text
        raise ExchangeUnavailable(f"{self.exchange_id} does not tell {what}: {text}")

    def ask_privately(self, what: str, question: Callable[[], Result]) -> Result:
        """Return the answer to a signed question; raises ConfigurationError without credentials, too."""
        self.require_credentials()
        self.server_time_ms()
        return self.ask(what, question)

    def ask_for_order(self, what: str, question: Callable[[], Result | None]) -> Result | None:
        """Return an order, None where the exchange says that it certainly has none."""
        self.require_credentials()
        self.server_time_ms()
        try:
            return self._attempts(what, question)
        except Failure:
            return None

    def _attempts(self, what: str, question: Callable[[], Result]) -> Result:
        waited, pause, attempt = 0.0, WAIT_SECONDS_FIRST, 1
        while True:
            result, trouble = self.attempt(question)
            if trouble is None:
                return result  # type: ignore[return-value]
            if trouble.word == "unknown_order":
                raise Failure(trouble)
            if trouble.word == "credentials":
                raise ConfigurationError(f"{self.exchange_id} refuses to tell {what}: {trouble.text}")
            wanted = max(pause, trouble.retry_seconds or 0.0)
            if not trouble.is_temporary or attempt == ATTEMPTS_MAX or waited + wanted > WAIT_SECONDS_MAX:
                raise ExchangeUnavailable(
                    f"{self.exchange_id} does not tell {what} ({attempt} attempt(s), {waited:.1f} s of waiting): "
                    f"{trouble.text}"
                )
            self.clock.sleep(wanted)
            waited, pause, attempt = waited + wanted, pause * 2.0, attempt + 1
            if trouble.word == "too_late" and self._measured_ms is not None:
                self._measured_ms = None
                self._measure()

    # Orders

    def send(self, request: Callable[[], Result]) -> Result:
        """Make one request that changes something, once, on a connection of its own; raises Failure.

        An idle connection may have been closed by the other side at any moment: reusing one would turn that into an
        order whose fate is unknown.
        """
        self._session.close()
        throttles, self.client.enableRateLimit = self.client.enableRateLimit, False
        try:
            result, trouble = self.attempt(request)
        finally:
            self.client.enableRateLimit = throttles
        if trouble is not None:
            if trouble.word == "too_late":
                self.doubt_the_clock()
            raise Failure(trouble)
        return result  # type: ignore[return-value]

    # What happened

    def attempt(self, request: Callable[[], Result]) -> tuple[Result | None, Trouble | None]:
        """Return the result or the trouble. Errors end here: what is raised later has no chain that could be shown."""
        self._answer, self._was_sent = None, False
        try:
            return request(), None
        except TradingRuntimeError:
            raise
        except Exception as error:  # noqa: BLE001 - ccxt raises whatever an unexpected answer leads to; it is told below
            return None, self._trouble(error)

    def _trouble(self, error: Exception) -> Trouble:
        ccxt, answer = self._ccxt, self._answer
        secrets = self._credentials.secrets if self._credentials else ()
        name = type(error).__name__
        if answer is not None:
            word = http_word(answer) or self._judge(answer, error)
            code = "" if answer.code is None else f" {answer.code}"
            detail = shown(answer.message, secrets) or name
            if answer.status < _STATUS_MOVED and not isinstance(error, ccxt.BaseError):
                detail = f"{name}: {shown(str(error), secrets)}"  # of its content we could make nothing
            is_temporary = word in ("too_late", "rate_limit") or (
                word is None and not _STATUS_REFUSED <= answer.status < 500
            )
            return Trouble(word, f"HTTP {answer.status}{code}: {detail}", is_temporary, answer.retry_seconds, True)
        if not self._was_sent:
            if isinstance(error, ccxt.AuthenticationError):
                return Trouble("credentials", f"the credentials are incomplete ({name})", False, None, False)
            return Trouble("rejected", f"{name}: {shown(str(error), secrets)}", False, None, False)
        if _never_connected(error):
            return Trouble("unreachable", f"no connection ({name})", True, None, False)
        cause = _innermost_name(error)
        detail = name if cause == name else f"{name}, {cause}"
        return Trouble(None, f"no answer ({detail})", True, None, True)

    def _counted(self, *arguments: Any, **settings: Any) -> Any:
        self._was_sent = True
        return self._request(*arguments, **settings)

    def _noted(self, status: int, _reason: str, _url: str, _method: str, headers: Any, body: str, *_: Any) -> str:
        """Remember an HTTP answer, which ccxt keeps nowhere, and refuse one that is neither an error nor JSON: ccxt
        would turn it into an empty answer.
        """
        wait = str((headers or {}).get("Retry-After", ""))
        retry_seconds = float(wait) if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", wait) else None
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        self._answer = Answer(status, content, retry_seconds)
        if status < _STATUS_REFUSED and (status >= _STATUS_MOVED or content is None):
            raise self._ccxt.BadResponse("the answer is not JSON")
        return body.strip()

    def _settings(self, timeout_seconds: float) -> dict[str, Any]:
        silent = logging.Logger("ccxt")  # ccxt writes keys and signatures at DEBUG: to a logger that nobody hears
        silent.disabled = True
        settings: dict[str, Any] = {
            "session": self._session,
            "logger": silent,
            "enableRateLimit": True,
            "timeout": round(timeout_seconds * 1000),
            "number": str,
        }
        if self._credentials is not None:
            settings |= {"apiKey": self._credentials.key, "secret": self._credentials.secret}
            if self._credentials.password is not None:
                settings["password"] = self._credentials.password
        return settings


def _never_connected(error: BaseException) -> bool:
    """Whether no connection came about, so that not one byte of the request left: certain only for these two."""
    from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError

    cause = error.__cause__
    inner = cause.args[0] if cause is not None and cause.args else None
    reason = inner.reason if isinstance(inner, MaxRetryError) else None
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError))


def _innermost_name(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__


def _moved(urls: Any, base_url: str) -> Any:
    """Return ccxt's addresses with another scheme and host; paths stay."""
    if isinstance(urls, dict):
        return {key: _moved(value, base_url) for key, value in urls.items()}
    if isinstance(urls, str) and urls.startswith("http"):
        return base_url.rstrip("/") + urlsplit(urls).path
    return urls
