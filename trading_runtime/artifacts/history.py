"""The publications of the past, for backtests: each is known from its own time on and never before.

    a folder of payloads (*.json)  ──►  PoolHistory  ──►  at(time), changes(first, last): what a decision saw then

A payload is in force from its ``generated_at`` where it has one (never before its date), else from its date, 00:00 UTC,
and ``publication_hours``. What a live cycle's ladder would have said is kept to: a payload that has grown stale counts
on, degraded, as the last known good one does, and after ``last_known_good_days_max`` days nothing counts. The static
universe is no history: nobody published it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from trading_runtime.artifacts.decision import NOTHING, artifact_json, execution_symbols
from trading_runtime.artifacts.payload import PUBLISHED_QUOTE, Payload, PayloadRules, shown, validate_payload
from trading_runtime.artifacts.sources import LocalFile
from trading_runtime.core.errors import DataError
from trading_runtime.core.hashing import json_hash, sha256_hex
from trading_runtime.core.timeframes import DAY_MS, HOUR_MS, iso_time

SOURCE_KIND = "history"

# Later than any date: whether a publication lies in the future of a moment is asked of its own time, not of ours.
_END_MS = (date.max.toordinal() - date(1970, 1, 1).toordinal()) * DAY_MS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PastPublication(NamedTuple):
    """One payload and the file it is from; a decision at ``in_force_ms`` or later can know it."""

    in_force_ms: int
    payload: Payload
    name: str


class _Span(NamedTuple):
    """From ``start_ms`` until the next span: what counts, None for nothing."""

    start_ms: int
    artifact: dict[str, Any] | None


@dataclass(frozen=True)
class PoolHistory:
    """Publications in the order they came into force, and what a decision sees of them. ``reserved`` and ``not_traded``
    say of symbols, by our names, why they cannot be traded; ``dataclasses.replace`` gives the same history with others.
    """

    publications: tuple[PastPublication, ...]
    rules: PayloadRules
    last_known_good_days_max: int = 90
    allow_new_entries_on_degraded: bool = False
    quote: str = PUBLISHED_QUOTE
    reserved: Mapping[str, str] = field(default_factory=dict)
    not_traded: Mapping[str, str] = field(default_factory=dict)
    digests: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        folder: Path | str,
        rules: PayloadRules,
        publication_hours: int = 24,
        *,
        last_known_good_days_max: int = 90,
        allow_new_entries_on_degraded: bool = False,
        quote: str = PUBLISHED_QUOTE,
        reserved: Mapping[str, str] = NOTHING,
        not_traded: Mapping[str, str] = NOTHING,
    ) -> PoolHistory:
        """Return the history in a folder. Raises DataError, naming the file, for a folder without payloads, a payload
        that is not a good one, and two that come into force at the same moment.
        """
        place = Path(folder)
        try:
            paths = sorted(path for path in place.iterdir() if path.suffix == ".json" and path.is_file())
        except OSError as error:
            raise DataError(f"{place}: cannot be read as a folder of payloads: {error.strerror or error}") from None
        if not paths:
            raise DataError(f"{place}: holds no payload; name a folder of files such as 2026-06-01-core_major.json")
        found: list[PastPublication] = []
        digests: list[str] = []
        for path in paths:
            publication, digest = _load_one(path, rules, publication_hours)
            found.append(publication)
            digests.append(digest)
        found.sort(key=lambda one: (one.in_force_ms, one.name))
        for earlier, later in pairwise(found):
            if earlier.in_force_ms == later.in_force_ms:
                raise DataError(
                    f"{place / later.name}: comes into force at {iso_time(later.in_force_ms)}, as {earlier.name} does; "
                    "keep one of them"
                )
        return cls(
            tuple(found),
            rules,
            last_known_good_days_max,
            allow_new_entries_on_degraded,
            quote,
            reserved,
            not_traded,
            tuple(digests),
        )

    def at(self, time_ms: int) -> dict[str, Any] | None:
        """Return what a decision at ``time_ms`` sees, None when nothing counts then."""
        spans = self._spans
        index = bisect_right([span.start_ms for span in spans], time_ms) - 1
        return None if index < 0 else spans[index].artifact

    def changes(self, first_ms: int, last_ms: int) -> list[tuple[int, dict[str, Any] | None]]:
        """Return (time, artifact) of every change from ``first_ms`` to ``last_ms``, both included, ascending; the first
        is what counts at ``first_ms``, left out when that is nothing.
        """
        found: list[tuple[int, dict[str, Any] | None]] = []
        present: dict[str, Any] | None = None
        for start_ms, artifact in [(first_ms, self.at(first_ms)), *self._spans]:
            if (start_ms > first_ms or not found) and first_ms <= start_ms <= last_ms and artifact != present:
                found.append((start_ms, artifact))
                present = artifact
        return found

    def symbols(self) -> tuple[str, ...]:
        """Return our names of every symbol that was ever in the pool and may be traded, in the order they came."""
        named = (symbol for one in self.publications for symbol in execution_symbols(one.payload, self.quote))
        return tuple(
            symbol for symbol in dict.fromkeys(named) if symbol not in self.reserved and symbol not in self.not_traded
        )

    def content_hash(self) -> str:
        """Return the SHA-256 that names the bytes of all payloads, whatever their files are called."""
        return json_hash(sorted(self.digests))

    @cached_property
    def _spans(self) -> list[_Span]:
        """Return what counts from when on, ascending, as the ladder of an hourly cycle would have found it."""
        moments: set[int] = set()
        for one in self.publications:
            moments |= {one.in_force_ms, self._stale_ms(one), self._ended_ms(one)}
        return list(self._spans_at(sorted(moments)))

    def _spans_at(self, moments: Iterable[int]) -> Iterable[_Span]:
        last_good: PastPublication | None = None
        following = 0
        newest: PastPublication | None = None
        for moment in moments:
            while following < len(self.publications) and self.publications[following].in_force_ms <= moment:
                newest = self.publications[following]
                following += 1
            if newest is None:
                continue
            if moment < self._stale_ms(newest):
                last_good = newest
                yield _Span(moment, self._seen(newest, degraded=False))
            elif last_good is not None and moment < self._ended_ms(last_good):
                yield _Span(moment, self._seen(last_good, degraded=True))
            else:
                yield _Span(moment, None)

    def _stale_ms(self, one: PastPublication) -> int:
        """The first moment at which a payload is older than is accepted."""
        return _date_ms(one.payload) + (self.rules.max_age_days + 1) * DAY_MS

    def _ended_ms(self, one: PastPublication) -> int:
        """The first moment at which a payload no longer counts as the last known good one either."""
        return _date_ms(one.payload) + (self.last_known_good_days_max + 1) * DAY_MS

    def _seen(self, one: PastPublication, *, degraded: bool) -> dict[str, Any]:
        return artifact_json(
            one.payload,
            SOURCE_KIND,
            degraded=degraded,
            allow_new_entries=self.allow_new_entries_on_degraded,
            quote=self.quote,
            reserved=self.reserved,
            not_traded=self.not_traded,
        )


def _load_one(path: Path, rules: PayloadRules, publication_hours: int) -> tuple[PastPublication, str]:
    """Return a publication and the SHA-256 of its bytes."""
    read = LocalFile(path).read()
    if read is None or read.exact_bytes is None:
        raise DataError(f"{path}: has gone while the folder was read")
    verdict = validate_payload(read.content, now_ms=_END_MS, rules=rules, enforce_freshness=False)
    if not verdict.ok or verdict.payload is None or not isinstance(read.content, dict):
        raise DataError(f"{path}: {'; '.join(verdict.errors)}")
    if not verdict.payload.as_of_date:
        raise DataError(f"{path}: as_of_date is missing")
    in_force_ms = _date_ms(verdict.payload) + publication_hours * HOUR_MS
    generated_at = read.content.get("generated_at")
    if generated_at is not None:
        in_force_ms = max(_generated_ms(generated_at, path), _date_ms(verdict.payload))
    return PastPublication(in_force_ms, verdict.payload, path.name), sha256_hex(read.exact_bytes)


def _generated_ms(value: object, path: Path) -> int:
    """Return the first whole millisecond at or after a time stamp; one without a zone is UTC."""
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise DataError(f"{path}: generated_at must be a time such as 2026-06-01T09:08:51Z, not {shown(value)}")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return -((_EPOCH - moment) // timedelta(milliseconds=1))


def _date_ms(payload: Payload) -> int:
    return (date.fromisoformat(payload.as_of_date).toordinal() - _EPOCH.toordinal()) * DAY_MS
