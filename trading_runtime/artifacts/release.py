"""Upstream's own release contract, which is stricter than what is accepted here: what a publisher checks before it
publishes, and a person who doubts a publication.

All forms in which a pool is given must agree: ``symbols``, ``symbol_map``, the text of the published file that a
document carries (``live_pool_legacy_exact_bytes``), the ranking it was selected from. Pure; a finding is one line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from trading_runtime.artifacts.payload import (
    PUBLISHED_QUOTE,
    base_asset_of,
    entries_of,
    is_absent,
    ordered_symbols,
    published_symbol,
    shown,
)

EXACT_BYTES_FIELD = "live_pool_legacy_exact_bytes"


def strict_findings(content: object) -> tuple[str, ...]:
    """Return what of upstream's own release contract a publication breaks, one line each; empty when nothing.

    Stricter than what is accepted: version is ``<as_of_date>-<mode>``, every field of the normal form is there, no
    symbol is given twice or would be dropped, and all forms in which the pool is given agree.
    """
    if not isinstance(content, dict | MappingProxyType):
        return (f"a payload is a mapping of fields, not {shown(content)}",)
    found = [
        f"{name} is missing"
        for name in ("as_of_date", "version", "mode", "pool_size", "symbols", "source_project")
        if is_absent(content.get(name))
    ]
    as_of_date, mode, version = (content.get(name) for name in ("as_of_date", "mode", "version"))
    wanted = f"{as_of_date[:10]}-{mode}" if isinstance(as_of_date, str) and isinstance(mode, str) else None
    if wanted is not None and not is_absent(version) and version != wanted:
        found.append(f"version is {shown(version)}, it must be {shown(wanted)}")
    entries = entries_of(content.get("symbols"))
    seen: set[str] = set()
    for entry in entries:
        symbol = published_symbol(entry)
        if symbol is None:
            found.append(f"symbols has {shown(entry)}, which is no {PUBLISHED_QUOTE} market")
        elif symbol in seen:
            found.append(f"symbols has {symbol} twice")
        else:
            seen.add(symbol)
    symbol_map = content.get("symbol_map")
    if isinstance(symbol_map, dict):
        named = {published_symbol(entry) for entry in symbol_map}
        if named != seen:
            found.append("symbol_map and symbols do not name the same markets")
        for symbol in sorted(seen):
            base = base_asset_of(symbol_map.get(symbol))
            if base is not None and base + PUBLISHED_QUOTE != symbol:
                found.append(f"symbol_map gives {symbol} the base asset {base}")
    text = exact_text(content)
    if text is not None:
        found += exact_text_findings(content, text)
    return tuple(found)


def ranking_findings(content: object, rows: list[dict[str, str]]) -> tuple[str, ...]:
    """Return in what a publication disagrees with the rows of its ranking (upstream's ranking CSV: ``symbol``,
    ``selected_flag``, ``current_rank``): the pool is the selected rows, ordered by rank.
    """
    if not isinstance(content, dict):
        return ("the payload is not a mapping of fields",)
    if not rows or not {"symbol", "selected_flag", "current_rank"} <= set(rows[0]):
        return ("the ranking needs rows with the columns symbol, selected_flag and current_rank",)
    ranked: list[tuple[float, str]] = []
    for number, row in enumerate(rows, start=1):
        if (row["selected_flag"] or "").strip().lower() not in ("true", "1", "1.0", "yes"):
            continue
        try:
            rank = float(row["current_rank"])
        except (TypeError, ValueError):
            rank = math.nan
        if not math.isfinite(rank):
            return (f"the ranking's row {number} has the rank {shown(row['current_rank'])}",)
        ranked.append((rank, (row["symbol"] or "").strip().upper()))
    selected = [symbol for _, symbol in sorted(ranked, key=lambda one: one[0])]
    pool = ordered_symbols(content)
    found = []
    if pool != selected:
        found.append(f"the pool is {', '.join(pool)}, the ranking selects {', '.join(selected) or 'nothing'}")
    universe = {(row["symbol"] or "").strip().upper() for row in rows}
    found += [f"{symbol} is not in the ranking" for symbol in pool if symbol not in universe]
    return tuple(found)


def exact_text(content: Mapping[str, Any]) -> str | None:
    """Return the text of the published file that a document carries with it, None when it carries none."""
    field = content.get(EXACT_BYTES_FIELD)
    text = field.get("utf8_text") if isinstance(field, dict) else None
    return text if isinstance(text, str) and text else None


def exact_text_findings(content: Mapping[str, Any], text: str) -> list[str]:
    """Return in what a document and the text of the file that it carries disagree, one line each."""
    try:
        carried = json.loads(text)
    except (ValueError, RecursionError):
        return [f"{EXACT_BYTES_FIELD}: its text is not JSON"]
    if not isinstance(carried, dict):
        return [f"{EXACT_BYTES_FIELD}: its text is no mapping of fields"]
    found = []
    if ordered_symbols(carried) != ordered_symbols(content):
        found.append(f"{EXACT_BYTES_FIELD}: its symbols are not the document's")
    for name in ("as_of_date", "version", "mode"):
        own, other = content.get(name), carried.get(name)
        if name == "as_of_date" and isinstance(own, str) and isinstance(other, str):
            own, other = own[:10], other[:10]
        if not is_absent(other) and own != other:
            found.append(f"{EXACT_BYTES_FIELD}: its {name} {shown(other)} is not the document's {shown(own)}")
    return found
