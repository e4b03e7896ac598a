"""From when on what a watcher sees is an alert: plain numbers, scaled to the length of a bar unless said otherwise.

The numbers for hourly bars are those of the system this replaces: a watchdog at 4500 s, two missed runs tolerated, a
workflow that may take an hour. What is measured against them is in ``watch.py``.
"""

from __future__ import annotations

from typing import NamedTuple

_GRACE_MS_MAX = 900_000
_RUN_MS_MIN, _RUN_MS_MAX = 300_000, 3_600_000


class Limits(NamedTuple):
    """From when on something is an alert.

    heartbeat_ms_max   age of the heartbeat
    slots_missed_max   slots in a row that may be missed
    slot_grace_ms      how long after its close a slot may be worked on before it counts as missed
    failures_max       failures in a row that the next run may mend (exit code 75); any other failure alerts at once
    run_ms_max         how long a run may be in progress
    """

    heartbeat_ms_max: int
    slots_missed_max: int
    slot_grace_ms: int
    failures_max: int
    run_ms_max: int


def limits_of(
    bar_ms: int,
    *,
    heartbeat_seconds: float | None = None,
    slots_missed: int = 2,
    failures: int = 2,
    run_seconds: float | None = None,
) -> Limits:
    """Return the limits for bars of ``bar_ms``. Of hourly bars: a heartbeat older than 4500 s (a bar and a quarter), a
    run of more than 3600 s (a bar, but from 300 to 3600 s), a slot that is not done 900 s after its close.
    """
    heartbeat_ms = bar_ms * 5 // 4 if heartbeat_seconds is None else round(heartbeat_seconds * 1000)
    run_ms = min(max(bar_ms, _RUN_MS_MIN), _RUN_MS_MAX) if run_seconds is None else round(run_seconds * 1000)
    return Limits(heartbeat_ms, slots_missed, min(bar_ms // 4, _GRACE_MS_MAX), failures, run_ms)
