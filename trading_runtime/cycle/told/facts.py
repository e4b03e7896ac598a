"""Reading the facts of a decision (``Proposal.facts``): plain JSON that any strategy may have written in any shape.

What is absent, of another kind or no finite number is unknown (None, empty), never an error and never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any


def mapping_of(value: Any) -> Mapping[str, Any]:
    """Return ``value`` where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def part_of(content: Any, name: str) -> Mapping[str, Any]:
    """Return a mapping within a mapping."""
    return mapping_of(mapping_of(content).get(name))


def parts_of(content: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the mappings of a list within a mapping."""
    value = mapping_of(content).get(name)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, (list, tuple)) else []


def number_of(content: Any, name: str) -> float | None:
    """Return a finite number, None for anything else."""
    value = mapping_of(content).get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def flag_of(content: Any, name: str) -> bool | None:
    """Return True or False, None for anything else."""
    value = mapping_of(content).get(name)
    return value if isinstance(value, bool) else None


def text_of(content: Any, name: str) -> str:
    """Return a text, an empty one for anything else."""
    value = mapping_of(content).get(name)
    return value if isinstance(value, str) else ""


def texts_of(content: Any, name: str) -> list[str]:
    """Return the texts of a list."""
    value = mapping_of(content).get(name)
    return [one for one in value if isinstance(one, str)] if isinstance(value, (list, tuple)) else []
