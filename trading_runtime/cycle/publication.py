"""The publication of a cycle: what the ladder gives, which of its symbols can be traded here, and whether to trust it.

Which rung holds is the ladder's (``artifacts/ladder.py``), which symbols a cycle has is ``universe.py``'s. Nothing here
decides, and nothing is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.context import Context
from trading_runtime.cycle.job import Job
from trading_runtime.cycle.universe import Universe, admit, ask_instruments, universe_of


class Published(NamedTuple):
    """What is in force: ``artifact`` as decisions see it, ``report`` for people. ``untrusted`` are symbols that take no
    new risk because of it, and why; ``has_new_symbols`` says that the account has not been held against them yet.
    """

    artifact: Mapping[str, Any] | None
    universe: Universe
    report: dict[str, Any] | None = None
    untrusted: Mapping[str, str] = MappingProxyType({})
    has_new_symbols: bool = False


def read_publication(job: Job, context: Context, universe: Universe, *, is_degraded_allowed: bool) -> Published:
    """Return what is in force, and let the account remember it; ``universe`` is what stays without a publication.
    Raises ExchangeUnavailable, and ConfigurationError for a given publication that is not a good one.
    """
    if job.publications is None:
        return Published(None, universe)
    account = context.account
    # By the source's time: of history that is played back, a publication is as old as it was then.
    resolution = job.publications.resolve(job.exchange.server_time_ms(), account.last_good)
    wanted = universe_of(job.configured_symbols, resolution.symbols_in(job.quote), account)
    # What was asked for a moment ago is not asked for again.
    new = tuple(symbol for symbol in wanted.symbols if symbol not in context.instruments)
    found, missing = ask_instruments(job.exchange, Universe(new, wanted.optional)) if new else ({}, {})
    found = {**context.instruments, **found}
    allows = resolution.degraded and (job.degraded_entries or is_degraded_allowed)
    artifact = resolution.for_decision(
        quote=job.quote, reserved=job.reserved, not_traded=missing, allow_new_entries=allows
    )
    account.last_good = resolution.last_good
    universe = universe_of(job.configured_symbols, artifact["symbols"], account)
    account.universe = [one for one in universe.symbols if one not in job.configured_symbols]
    has_new_symbols = bool(admit(context.instruments, {one: found[one] for one in universe.symbols}))
    if resolution.degraded:
        job.log.warning("publication_degraded", source=resolution.source_kind, messages=list(resolution.messages))
    untrusted = {}
    if not artifact["new_entries"]:
        untrusted = dict.fromkeys(artifact["symbols"], f"the publication is {resolution.source_kind}: no new entries")
    report = {**resolution.to_json(), "symbols": artifact["symbols"], "excluded": artifact["excluded"]}
    excluded_since = _note_excluded(context, sorted(artifact["excluded"]))
    if excluded_since is not None:
        report["excluded_since"] = iso_time(excluded_since)
    return Published(artifact, universe, report, untrusted, has_new_symbols)


def _note_excluded(context: Context, symbols: list[str]) -> int | None:
    """Remember which symbols of the publication are left out, and say so when they are others than before. Returns the
    slot since which it is these, None when there are none.
    """
    account = context.account
    before = account.excluded.get("symbols", [])
    if symbols != before:
        back = [symbol for symbol in before if symbol not in symbols]
        context.note("pool_excluded", symbols=symbols, back=back)
        account.excluded = {"symbols": symbols, "since": context.slot} if symbols else {}
    return account.excluded.get("since")
