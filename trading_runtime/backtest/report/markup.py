"""Text on its way into HTML and JSON: escaping, and the few pieces of markup that several sections share.

Whatever came from a configuration, a symbol or a reason is text and passes through here. Knows no run and no section.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trading_runtime.backtest.figures import moment, plain

Json = dict[str, Any]

NOTHING = '<span class="none" title="not defined for this run">–</span>'

# Values that are names of bytes or code: set in a fixed-width face.
_CODE = ("Result digest", "Configuration hash", "Commit", "Strategy", "Strategy code hash", "Content hash")


def embedded_json(value: Any) -> str:
    """Return JSON that no text inside it can end or comment out: markup characters are written as escapes."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def text_of(value: Any) -> str:
    """Return any value as HTML text."""
    return escape(plain(value))


def texts(value: Any) -> list[str]:
    return [plain(item) for item in value] if isinstance(value, list) else []


def mapping(parent: Mapping[str, Any], key: str) -> Json:
    """Return a part of the result, empty when it is missing or not what it should be."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def span(parent: Mapping[str, Any], first: str, last: str) -> str:
    return f"{moment(parent.get(first, '?'))} to {moment(parent.get(last, '?'))}"


def scroll(label: str, table: str, tall: bool = False) -> str:
    """Return a table in a frame of its own: a wide table scrolls inside it and never widens the page."""
    kind = "scroll tall" if tall else "scroll"
    return f'<div class="{kind}" tabindex="0" role="region" aria-label="{label}">{table}</div>'


def facts(rows: Sequence[tuple[str, Any]], kind: str = "") -> str:
    items = "".join(
        f"<div><dt>{escape(label)}</dt><dd{' class=code' if label in _CODE else ''}>{text_of(value)}</dd></div>"
        for label, value in rows
        if value not in (None, "", {}, [])
    )
    return f'<dl class="facts-list {kind}">{items}</dl>'
