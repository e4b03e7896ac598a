"""The clock of a cycle: where wall time enters, and waiting. Everything else is told the time.

Wall time decides leases, waiting and freshness only; what is decided depends on the slot alone.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Milliseconds UTC, and waiting."""

    def now_ms(self) -> int: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """This computer's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, 0.0))
