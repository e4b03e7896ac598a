"""The ladder: which publication counts now. The first of four rungs that holds, and why those above it did not.

    1 fresh_upstream    what upstream publishes now; must be fresh               not degraded
    2 last_known_good   the last one that came fresh, kept with the account      degraded, for a limited number of days
    3 local_file        a file that an operator put there; must be fresh         degraded
    4 static            the built-in universe: an incident, told as one          degraded

    a given publication (a replay's): that one or an error, no rung stands in for it

Degraded means: no new entries unless explicitly allowed. Nothing upstream does makes ``resolve`` raise. Nothing is
written: what the next cycle may fall back on is returned, and kept by whoever keeps the account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from trading_runtime.artifacts.decision import NOTHING, artifact_json, execution_symbols
from trading_runtime.artifacts.manifest import ManifestError, manifest_findings, read_manifest
from trading_runtime.artifacts.payload import Payload, PayloadRules, Verdict, shown, validate_payload
from trading_runtime.artifacts.sources import LocalFile, Published, Upstream
from trading_runtime.core.errors import ConfigurationError, TradingRuntimeError
from trading_runtime.core.hashing import json_hash
from trading_runtime.core.timeframes import iso_time

FRESH_UPSTREAM = "fresh_upstream"
LAST_KNOWN_GOOD = "last_known_good"
LOCAL_FILE = "local_file"
STATIC = "static"
GIVEN = "given"

# The universe of last resort: large markets, chosen once, by nobody's ranking. It is valid by rules of its own: only
# this mode may have no date, and any size.
STATIC_RULES = PayloadRules(acceptable_modes=("static",), expected_size=None, is_dated=False)
STATIC_CONTENT: Mapping[str, Any] = {
    "as_of_date": "",
    "version": "static-fallback",
    "mode": "static",
    "symbols": [
        "ETHUSDT",
        "SOLUSDT",
        "XRPUSDT",
        "LINKUSDT",
        "AVAXUSDT",
        "ADAUSDT",
        "DOGEUSDT",
        "TRXUSDT",
        "ATOMUSDT",
        "LTCUSDT",
        "BCHUSDT",
    ],
    "source_project": "trading-runtime",
}


class Rung(NamedTuple):
    """One rung that was tried. ``messages`` are for people, also of a rung that held; ``errors`` are why it did not."""

    source_kind: str
    source_label: str
    errors: tuple[str, ...]
    messages: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        return {
            "source_kind": self.source_kind,
            "source_label": self.source_label,
            "holds": self.holds,
            "errors": list(self.errors),
            "messages": list(self.messages),
        }


@dataclass(frozen=True)
class Resolution:
    """Which publication counts, where it is from, and what was tried first. ``loaded_at_ms`` is when that was found
    out; ``last_good`` is what the next resolution may fall back on: of this one if it came fresh, else as it was.
    """

    source_kind: str
    source_label: str
    payload: Payload
    is_fresh: bool
    age_days: int | None
    loaded_at_ms: int
    rungs: tuple[Rung, ...]
    last_good: dict[str, Any] | None

    @property
    def degraded(self) -> bool:
        return self.source_kind not in (FRESH_UPSTREAM, GIVEN)

    @property
    def is_incident(self) -> bool:
        """Whether a person must act now: nothing that upstream ever published could be used."""
        return self.source_kind == STATIC

    @property
    def errors(self) -> tuple[str, ...]:
        """Why the rungs above this one did not hold, each with the rung's name."""
        return tuple(f"{rung.source_kind}: {error}" for rung in self.rungs for error in rung.errors)

    @property
    def messages(self) -> tuple[str, ...]:
        """All that is to be said, from the first rung down."""
        return tuple(f"{rung.source_kind}: {text}" for rung in self.rungs for text in (*rung.errors, *rung.messages))

    def symbols_in(self, quote: str) -> tuple[str, ...]:
        """Return our names of the symbols, in upstream's order, traded against ``quote``."""
        return execution_symbols(self.payload, quote)

    def for_decision(
        self,
        *,
        quote: str,
        reserved: Mapping[str, str] = NOTHING,
        not_traded: Mapping[str, str] = NOTHING,
        allow_new_entries: bool = False,
    ) -> dict[str, Any]:
        """Return what a decision sees of it; see ``decision.artifact_json``."""
        return artifact_json(
            self.payload,
            self.source_kind,
            degraded=self.degraded,
            allow_new_entries=allow_new_entries,
            quote=quote,
            reserved=reserved,
            not_traded=not_traded,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it for reports: the metadata of the source, with what was tried."""
        payload = self.payload
        return {
            "source_kind": self.source_kind,
            "source_label": self.source_label,
            "degraded": self.degraded,
            "is_fresh": self.is_fresh,
            "is_incident": self.is_incident,
            "loaded_at": iso_time(self.loaded_at_ms),
            "age_days": self.age_days,
            "as_of_date": payload.as_of_date,
            "version": payload.version,
            "mode": payload.mode,
            "source_project": payload.source_project,
            "pool_size": payload.pool_size,
            "official_symbols": list(payload.symbols),
            "symbol_map": dict(payload.symbol_map),
            "messages": list(self.messages),
            "errors": list(self.errors),
            "rungs": [rung.to_json() for rung in self.rungs],
        }


@dataclass(frozen=True)
class Ladder:
    """The sources of one strategy's publication. None of ``upstream``, ``local`` and ``manifest`` must be there;
    ``given`` leaves out all of them. ``last_known_good_days_max`` counts from the date of the publication.
    """

    rules: PayloadRules
    last_known_good_days_max: int = 90
    upstream: Upstream | None = None
    local: LocalFile | None = None
    manifest: LocalFile | None = None
    given: object = None

    def resolve(self, now_ms: int, last_good: Mapping[str, Any] | None) -> Resolution:
        """Return what counts at ``now_ms``; ``last_good`` is what the resolution before left behind.

        Raises ConfigurationError when a publication was given and is not a good one; for nothing else.
        """
        if self.given is not None:
            return self._given(now_ms, last_good)
        rungs: list[Rung] = []
        kept = None if last_good is None else dict(last_good)
        fresh = self._read(rungs, FRESH_UPSTREAM, self.upstream, now_ms, "no store to ask is configured")
        if fresh is not None and self.upstream is not None and fresh.payload is not None:
            return _resolution(rungs, fresh, now_ms, _last_good(fresh.payload, self.upstream.label, now_ms))
        verdict = self._last_known_good(rungs, now_ms, last_good)
        verdict = verdict or self._read(rungs, LOCAL_FILE, self.local, now_ms, "no file is configured")
        return _resolution(rungs, verdict or _static(rungs, now_ms), now_ms, kept)

    def _read(
        self, rungs: list[Rung], kind: str, source: Upstream | None, now_ms: int, nothing_configured: str
    ) -> Verdict | None:
        """Return the verdict on what a source holds when it is a good one; the rung is noted in any case."""
        if source is None:
            rungs.append(Rung(kind, "", (nothing_configured,), ()))
            return None
        label = source.label
        try:
            published = source.read()
        except TradingRuntimeError as error:
            rungs.append(Rung(kind, label, (_one_line(error),), ()))
            return None
        if published is None:
            rungs.append(Rung(kind, label, ("nothing is there",), ()))
            return None
        verdict = validate_payload(published.content, now_ms=now_ms, rules=self.rules)
        errors = list(verdict.errors)
        if verdict.ok and verdict.payload is not None:
            errors += self._manifest_findings(published, verdict.payload)
        rungs.append(Rung(kind, label, tuple(errors), verdict.warnings))
        return None if errors else verdict

    def _last_known_good(self, rungs: list[Rung], now_ms: int, last_good: Mapping[str, Any] | None) -> Verdict | None:
        if last_good is None:
            rungs.append(Rung(LAST_KNOWN_GOOD, "", ("there was none yet",), ()))
            return None
        content, source, loaded_at = (last_good.get(name) for name in ("payload", "source_label", "loaded_at"))
        label = source if isinstance(source, str) and source.isprintable() else ""
        verdict = validate_payload(content, now_ms=now_ms, rules=self.rules, enforce_freshness=False)
        errors = list(verdict.errors)
        if verdict.ok and verdict.payload is not None:
            if last_good.get("sha256") != json_hash(verdict.payload.to_json()):
                errors.append("it does not match its checksum: it was changed since it was kept")
            if verdict.age_days is None or verdict.age_days > self.last_known_good_days_max:
                errors.append(
                    f"its date {verdict.payload.as_of_date} is {verdict.age_days} days ago, at most "
                    f"{self.last_known_good_days_max} are accepted"
                )
        told = (*verdict.warnings, f"read from {shown(label)} at {shown(loaded_at)}")
        rungs.append(Rung(LAST_KNOWN_GOOD, label, tuple(errors), told))
        return None if errors else verdict

    def _manifest_findings(self, published: Published, payload: Payload) -> list[str]:
        """Return why the operator's manifest does not vouch for a payload; empty when it does, or there is none."""
        if self.manifest is None:
            return []
        try:
            read = self.manifest.read()
            if read is None:
                return [f"manifest {self.manifest.label}: there is no such file"]
            return manifest_findings(read_manifest(read.content), published, payload)
        except ManifestError as error:
            return [f"manifest {self.manifest.label}: {error}"]
        except TradingRuntimeError as error:
            return [f"manifest {_one_line(error)}"]

    def _given(self, now_ms: int, last_good: Mapping[str, Any] | None) -> Resolution:
        verdict = validate_payload(self.given, now_ms=now_ms, rules=self.rules)
        if not verdict.ok:
            raise ConfigurationError(f"the given publication is not a good one: {'; '.join(verdict.errors)}")
        rungs = [Rung(GIVEN, "given", (), verdict.warnings)]
        return _resolution(rungs, verdict, now_ms, None if last_good is None else dict(last_good))


def _static(rungs: list[Rung], now_ms: int) -> Verdict:
    verdict = validate_payload(STATIC_CONTENT, now_ms=now_ms, rules=STATIC_RULES)
    told = "nothing that upstream published could be used: an operator must look"
    rungs.append(Rung(STATIC, "built-in", verdict.errors, (*verdict.warnings, told)))
    return verdict


def _resolution(rungs: list[Rung], verdict: Verdict, now_ms: int, last_good: dict[str, Any] | None) -> Resolution:
    if verdict.payload is None:
        raise AssertionError("a verdict that is ok has a payload")
    held = rungs[-1]
    return Resolution(
        held.source_kind,
        held.source_label,
        verdict.payload,
        verdict.is_fresh,
        verdict.age_days,
        now_ms,
        tuple(rungs),
        last_good,
    )


def _last_good(payload: Payload, label: str, now_ms: int) -> dict[str, Any]:
    content = payload.to_json()
    return {
        "payload": content,
        "source_label": label,
        "loaded_at": iso_time(now_ms),
        "as_of_date": payload.as_of_date,
        "version": payload.version,
        "sha256": json_hash(content),
    }


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
