"""Which slots a cycle decides: the newest close there is, what was asked for, and what nobody has come for.

The source's clock counts, never this computer's. What is decided at a slot is ``run.py``'s.
"""

from __future__ import annotations

from trading_runtime.core.errors import TemporaryError
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.cycle.job import Job

# A slot that is asked for a moment before its bar closes is waited for; cron and exchange are seconds apart.
CLOSE_SECONDS_MAX = 20.0


def newest_and_slot(job: Job, asked: int | None, last: int | None) -> tuple[int | None, int | None]:
    """Return the newest close, and the slot to decide; None where no bar has closed since ``last``, the account's last
    slot. ``asked`` is any time within a slot. Raises TemporaryError for one that has not closed yet.
    """
    exchange, timeframe, bar_ms = job.exchange, job.timeframe, timeframe_ms(job.timeframe)
    if asked is None:
        newest = exchange.newest_close(timeframe, last)
        return newest, newest
    slot = bucket_open_ms(asked, bar_ms)
    if last is not None and slot <= last:
        # History that is played back tells the time of the bar that was asked for last: never an earlier one.
        return exchange.newest_close(timeframe, last - bar_ms), slot
    waited = 0.0
    while True:
        newest = exchange.newest_close(timeframe, slot - bar_ms)
        if newest is not None and newest >= slot:
            return newest, slot
        ahead_seconds = (slot - exchange.server_time_ms()) / 1000.0
        if waited >= CLOSE_SECONDS_MAX or ahead_seconds > CLOSE_SECONDS_MAX:
            raise TemporaryError(f"no decision: the bar of slot {iso_time(slot)} has not closed yet")
        job.clock.sleep(1.0)
        waited += 1.0


def slots_to_decide(job: Job, last: int | None, slot: int | None) -> tuple[list[int], list[int]]:
    """Return the slots that are skipped, and those to decide, in order and with ``slot`` last: beyond the limit of
    missed slots the oldest are skipped.
    """
    if slot is None or (last is not None and slot <= last):
        return [], []
    if last is None:
        return [], [slot]
    bar_ms = timeframe_ms(job.timeframe)
    missed = list(range(last + bar_ms, slot, bar_ms))
    cut = max(len(missed) - job.missed_slots_max, 0)
    return missed[:cut], [*missed[cut:], slot]


def is_newest_slot(job: Job, slot: int, newest: int | None) -> bool:
    """Whether no bar has closed since, as far as the source tells, and the slot is not long past by its clock."""
    age_ms = job.exchange.server_time_ms() - slot
    return (newest is None or slot >= newest) and age_ms <= job.bar_age_ms_max
