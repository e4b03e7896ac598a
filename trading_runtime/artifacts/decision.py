"""What a decision sees of a publication (``Inputs.artifact``): plain JSON, the same live, in a backtest and a replay.

No clock value is in it, so that equal publications give equal JSON. Symbols here have two names: upstream's
(``ETHUSDT``, *official*) and ours (``ETH/USDT``, the *execution* pool: what of the official one can be traded here).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from trading_runtime.artifacts.payload import PUBLISHED_QUOTE, Payload

NOTHING: Mapping[str, str] = MappingProxyType({})


def symbol_in(payload: Payload, official: str, quote: str) -> str:
    """Return our name of an official symbol, traded against ``quote``."""
    return f"{payload.symbol_map[official]}/{quote}"


def execution_symbols(payload: Payload, quote: str) -> tuple[str, ...]:
    """Return our names of the symbols that are what upstream calls them, in its order."""
    return tuple(
        symbol_in(payload, official, quote) for official in payload.symbols if _contradiction(payload, official) is None
    )


def artifact_json(
    payload: Payload,
    source_kind: str,
    *,
    degraded: bool,
    allow_new_entries: bool = False,
    quote: str = PUBLISHED_QUOTE,
    reserved: Mapping[str, str] = NOTHING,
    not_traded: Mapping[str, str] = NOTHING,
) -> dict[str, Any]:
    """Return what a decision sees. ``reserved`` and ``not_traded`` say of symbols, by our names, why the publication
    cannot have them traded; ``allow_new_entries`` allows them although it is degraded.
    """
    symbols: list[str] = []
    excluded: dict[str, str] = {}
    for official in payload.symbols:
        symbol = symbol_in(payload, official, quote)
        reason = _contradiction(payload, official) or reserved.get(symbol) or not_traded.get(symbol)
        if reason is None:
            symbols.append(symbol)
        else:
            excluded[official] = reason
    return {
        "source_kind": source_kind,
        "degraded": degraded,
        "new_entries": allow_new_entries or not degraded,
        "version": payload.version,
        "as_of_date": payload.as_of_date,
        "mode": payload.mode,
        "source_project": payload.source_project,
        "official_symbols": list(payload.symbols),
        "symbols": symbols,
        "excluded": excluded,
    }


def _contradiction(payload: Payload, official: str) -> str | None:
    """Return why a symbol is not the market that it is called, None when it is: a map that calls ETHUSDT a market of
    BTC would have the wrong coin bought.
    """
    base = payload.symbol_map[official]
    if base + PUBLISHED_QUOTE == official:
        return None
    return f"contradiction: symbol_map gives {official} the base asset {base}"
