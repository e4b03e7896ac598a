"""What the artifact ladder gives right now: freshness and shape of the publication that the strategy consumes.

Stale upstream is never healthy: a publication that does not come fresh fails the line, unless somebody has allowed new
entries all the same, and the built-in universe fails it in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from trading_runtime.artifacts.ladder import FRESH_UPSTREAM, Ladder, Resolution
from trading_runtime.config.cycle_schema import SIMULATED, ArtifactSettings
from trading_runtime.core.errors import TemporaryError, TradingRuntimeError
from trading_runtime.core.hashing import json_hash
from trading_runtime.core.instruments import split_symbol
from trading_runtime.cycle.preflight.check import Failed, NotChecked, Warned
from trading_runtime.cycle.preflight.ground import Ground
from trading_runtime.cycle.universe import ask_instruments, universe_of
from trading_runtime.stores.control import Control
from trading_runtime.stores.memory import MemoryDocuments
from trading_runtime.stores.published import open_ladder


def check_artifact(ground: Ground) -> str:
    settings = ground.settings.artifact
    if settings is None:
        if ground.strategy is not None and ground.strategy.needs_artifact:
            raise Failed("the strategy consumes a publication, and the section artifact is missing")
        return "not needed: the strategy consumes none"
    if ground.documents is None and not ground.is_store_absent:
        raise NotChecked("the store cannot be used")
    documents = MemoryDocuments() if ground.documents is None else ground.documents
    ladder = open_ladder(ground.settings, ground.loaded.folder, documents)
    if ladder is None:
        raise AssertionError("the section artifact is there")
    try:
        unanswered = _unanswered(ladder)
        last_good = None if ground.account is None else ground.account.last_good
        found = ladder.resolve(_now_ms(ground), last_good)
    finally:
        close: Callable[[], None] | None = getattr(ladder.upstream, "close", None)
        if close is not None:
            close()
    excluded = _excluded(ground, found)
    text = _text(found, settings, excluded)
    if found.degraded:
        _tell_degraded(ground, found, text, unanswered)
    if not ground.is_state_known:
        raise Warned(f"{text}; whether there is a last good one is not known: the state cannot be read")
    if any(not reason.startswith("reserved") for reason in excluded.values()):
        raise Warned(text)
    return text


def _now_ms(ground: Ground) -> int:
    """Return the time that ages are measured by: of history that is played back, the time it has got to."""
    if ground.settings.feed.files and ground.feed is not None and ground.is_feed_there:
        return ground.feed.server_time_ms()
    return ground.clock.now_ms()


def _unanswered(ladder: Ladder) -> str:
    """Return why upstream could not be asked for now, empty when it answered: what may pass by itself needs nobody."""
    try:
        if ladder.upstream is not None:
            ladder.upstream.read()
    except TemporaryError as error:
        return str(error)
    except TradingRuntimeError:
        return ""  # the ladder tells it
    return ""


def _tell_degraded(ground: Ground, found: Resolution, text: str, unanswered: str) -> NoReturn:
    why = "; ".join(found.errors)
    if found.is_incident:
        raise Failed(f"INCIDENT, only the built-in universe is left: repair upstream ({why}); {text}")
    if unanswered:
        raise TemporaryError(f"upstream cannot be asked: {unanswered}; meanwhile {text}")
    if ground.settings.artifact is not None and ground.settings.artifact.allow_new_entries_on_degraded:
        allowed = "artifact.allow_new_entries_on_degraded"
    elif ground.documents is not None and _is_overridden(ground):
        allowed = "control override degraded"
    else:
        raise Failed(f"degraded, there are no new entries: repair upstream ({why}); {text}")
    raise Warned(f"degraded, new entries are allowed by {allowed}: better repair upstream ({why}); {text}")


def _is_overridden(ground: Ground) -> bool:
    if ground.documents is None:
        return False
    shown = Control(ground.documents, ground.settings.account.name).read(ground.clock.now_ms())
    return shown.overrides_guard("degraded")


def _excluded(ground: Ground, found: Resolution) -> Mapping[str, str]:
    """Return why symbols of the publication cannot be traded here, as far as that can be asked."""
    settings, account = ground.settings, ground.account
    quote = split_symbol(settings.market.symbols[0])[1]
    not_traded: dict[str, str] = {}
    feed: Any = ground.feed
    can_ask = ground.is_feed_there and getattr(feed, "instruments", None) is not None
    if can_ask and settings.market.exchange != SIMULATED:
        universe = universe_of(ground.configured_symbols, found.symbols_in(quote), account)
        missing = ask_instruments(feed, universe)[1]
        # What is held stays in the pool: it is frozen, not left out.
        not_traded = {symbol: reason for symbol, reason in missing.items() if symbol not in universe.held}
    reserved = dict.fromkeys(settings.market.symbols, "reserved: it is traded by the settings, not by the publication")
    if settings.treasury.fuel_symbol is not None:
        reserved[settings.treasury.fuel_symbol] = "reserved: fees are paid with it"
    seen = found.for_decision(quote=quote, reserved=reserved, not_traded=not_traded)
    excluded: dict[str, str] = seen["excluded"]
    return excluded


def _text(found: Resolution, settings: ArtifactSettings, excluded: Mapping[str, str]) -> str:
    payload = found.payload
    if found.age_days is None:
        age = "without a date"
    else:
        age = f"of {payload.as_of_date}, {found.age_days} day(s) old, at most {settings.max_age_days} are fresh"
    parts = [
        f"{found.source_kind} from {found.source_label}: {payload.version} {age}",
        f"mode {payload.mode}",
        f"{payload.pool_size} symbols: {', '.join(payload.symbols)}",
        f"sha256 {json_hash(payload.to_json())}",
    ]
    if settings.manifest_file is not None and found.source_kind == FRESH_UPSTREAM:
        parts.append(f"vouched for by {settings.manifest_file}")
    parts += [f"{symbol} is left out ({reason})" for symbol, reason in excluded.items()]
    held = found.rungs[-1]
    parts += held.messages if not found.degraded else ()
    return "; ".join(parts)
