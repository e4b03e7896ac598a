"""Clocks of the venue: a virtual one that moves only when told, and a real one that may lie by an offset.

Both can be told to do something later (``at``): that is how a late request arrives.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Protocol

Action = Callable[[], None]


class VenueClock(Protocol):
    """Milliseconds UTC, waiting, and doing something at a later time."""

    def now_ms(self) -> int: ...

    def sleep(self, seconds: float) -> None: ...

    def at(self, time_ms: int, action: Action) -> None: ...


class VirtualClock:
    """Time that moves only by ``sleep`` and ``advance_to``; what is due on the way happens in order, at its time."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._due: list[tuple[int, int, Action]] = []
        self._counter = 0

    def now_ms(self) -> int:
        return self._now_ms

    def sleep(self, seconds: float) -> None:
        self.advance_to(self._now_ms + max(round(seconds * 1000), 0))

    def advance_to(self, time_ms: int) -> None:
        """Move to ``time_ms``, never back; actions may look at the clock, move it and plan more of themselves."""
        while self._due and self._due[0][0] <= time_ms:
            due_ms, _, action = heapq.heappop(self._due)
            self._now_ms = max(self._now_ms, due_ms)
            action()
        self._now_ms = max(self._now_ms, time_ms)

    def at(self, time_ms: int, action: Action) -> None:
        """Do ``action`` when the clock passes ``time_ms``; the past is due at the next move."""
        self._counter += 1
        heapq.heappush(self._due, (time_ms, self._counter, action))


class RealClock:
    """This computer's clock plus ``offset_ms``; actions run on threads of their own until ``close``."""

    def __init__(self, offset_ms: int = 0) -> None:
        self.offset_ms = offset_ms
        self._timers: list[threading.Timer] = []

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.offset_ms

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, 0.0))

    def at(self, time_ms: int, action: Action) -> None:
        timer = threading.Timer(max(time_ms - self.now_ms(), 0) / 1000.0, action)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def close(self) -> None:
        """Forget what has not happened yet, and wait for what is happening."""
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self._timers.clear()
