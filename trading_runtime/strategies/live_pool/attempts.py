"""Attempts: what was ordered on which UTC date, so that what did happen is not done again on that date.

An attempt counts as done when the quantity held has changed by the next decision. One that changed nothing (refused,
not filled) is forgotten, and may be made again. Kept as plain JSON by "<symbol> <leg>"; attempts of other dates are
dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

Attempts = dict[str, dict[str, Any]]


def attempt_key(symbol: str, leg: str) -> str:
    return f"{symbol} {leg}"


def settled_attempts(
    kept: Mapping[str, Mapping[str, Any]], date: str, open_keys: Collection[str], quantity_of: Callable[[str], float]
) -> Attempts:
    """Return the attempts of ``date`` that were done, or whose order (``open_keys``) is still open."""
    settled: Attempts = {}
    for key in sorted(kept):
        attempt = kept[key]
        if attempt["date"] != date:
            continue
        symbol = key.rpartition(" ")[0]
        done = attempt["done"] or quantity_of(symbol) != attempt["quantity_before"]
        if done or key in open_keys:
            settled[key] = {**attempt, "done": done}
    return settled


def new_attempt(date: str, quantity_before: float) -> dict[str, Any]:
    return {"date": date, "quantity_before": quantity_before, "done": False}


def is_done(attempts: Mapping[str, Mapping[str, Any]], symbol: str, leg: str) -> bool:
    """Whether it has been done on the date that the attempts were settled for."""
    attempt = attempts.get(attempt_key(symbol, leg))
    return attempt is not None and attempt["done"] is True
