"""The way to the venue and back, on its clock: what faults do to a request, retried questions, old stamps refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from trading_runtime.core.errors import ConfigurationError, ExchangeUnavailable

from .clock import VenueClock
from .faults import OK, Fate, Faults
from .model import Venue
from .orders import VenueError

Answer = TypeVar("Answer")
Hook = Callable[[str], None]

# A request may be that much ahead of the server (Binance, "Timing security").
AHEAD_MS_MAX = 1000
ATTEMPTS_MAX = 3
_PAUSE_SECONDS = 0.5


class NoAnswerError(Exception):
    """The client has waited as long as it does."""


class Wire:
    """One process's connection to one account.

    timeout_ms   how long the client waits for an answer; lost requests and answers cost it that much time
    latency_ms   there and back, half each way
    before       called with the name of a call before it sends anything, ``after`` when its answer is there: either may
                 raise, as a crash at that point, or run another process
    """

    def __init__(
        self,
        venue: Venue,
        faults: Faults | None,
        clock: VenueClock,
        *,
        account: str,
        validity_window_ms: int,
        timeout_ms: int,
        latency_ms: int,
        before: Hook | None,
        after: Hook | None,
    ) -> None:
        self.venue = venue
        self.faults = faults or Faults()
        self.clock = clock
        self.account = account
        self.validity_window_ms = validity_window_ms
        self.timeout_ms = timeout_ms
        self.latency_ms = latency_ms
        self.before = before
        self.after = after

    def send(self, fate: Fate, execute: Callable[[], Answer]) -> Answer:
        """Return the answer as the client sees it; raises NoAnswerError, or VenueError."""
        if self.latency_ms:
            self.clock.sleep(self.latency_ms / 2000.0)
        if fate is OK or fate.way == "ok":
            answer = execute()
        elif fate.way == "slow_answer" and fate.delay_ms < self.timeout_ms:
            answer = execute()
            self.clock.sleep(fate.delay_ms / 1000.0)
        elif fate.way == "error":
            if fate.executed:
                self._quietly(execute)
            raise VenueError(fate.code, fate.message, fate.status, fate.retry_seconds)
        else:
            if fate.way in ("lost_answer", "slow_answer"):
                self._quietly(execute)
            elif fate.way == "late_request":
                self.clock.at(self.clock.now_ms() + fate.delay_ms, lambda: self._quietly(execute))
            self.clock.sleep(self.timeout_ms / 1000.0)
            raise NoAnswerError
        if self.latency_ms:
            self.clock.sleep(self.latency_ms / 2000.0)
        return answer

    @staticmethod
    def _quietly(execute: Callable[[], object]) -> None:
        """Do what arrived; its refusal is an answer that nobody gets."""
        try:
            execute()
        except VenueError:
            return

    def ask(
        self, kind: str, call: str, execute: Callable[[], Answer], *, answers: frozenset[int] = frozenset()
    ) -> Answer:
        """Return the answer, asked for a few times; raises VenueError for a code that is an answer too."""
        if self.before is not None:
            self.before(call)
        problem = "no answer"
        for attempt in range(ATTEMPTS_MAX):
            wait_seconds = _PAUSE_SECONDS * 2**attempt
            try:
                answer = self.send(self.faults.next(kind), execute)
            except NoAnswerError:
                problem = "no answer"
            except VenueError as rejection:
                if rejection.code in answers:
                    if self.after is not None:
                        self.after(call)
                    raise
                if rejection.code in (-2014, -2015, -1022, -1121):
                    raise ConfigurationError(f"the venue refuses {call}: {rejection.message}") from None
                problem = f"{rejection.status} {rejection}"
                wait_seconds = max(wait_seconds, rejection.retry_seconds or 0)
            else:
                if self.after is not None:
                    self.after(call)
                return answer
            if attempt + 1 < ATTEMPTS_MAX:
                self.clock.sleep(wait_seconds)
        raise ExchangeUnavailable(f"the venue did not answer {call} in {ATTEMPTS_MAX} attempts: {problem}")

    def check_stamp(self, stamp_ms: int) -> None:
        """Binance's rule of timestamp and recvWindow, by the venue's clock at the moment of arrival."""
        now = self.venue.now_ms()
        if not (stamp_ms < now + AHEAD_MS_MAX and now - stamp_ms <= self.validity_window_ms):
            raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
