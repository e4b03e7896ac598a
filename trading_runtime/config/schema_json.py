"""The JSON schema of configurations, made from the typed schema: editors complete and check files with it.

``docs/configuration.schema.json`` and ``docs/cycle-configuration.schema.json`` are these documents, committed;
tests hold them in step.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trading_runtime.config.checking import fields_of, is_marked, item_of, section_of
from trading_runtime.config.schema import STRATEGY_CLASS, Section, Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(root: type[Section] = Settings, title: str = "Trading Runtime configuration") -> dict[str, Any]:
    """Return the schema of ``root``, the settings themselves at its root."""
    generated = msgspec.json.schema(root)
    definitions: dict[str, Any] = generated["$defs"]
    for section in _sections(root):
        _widen(definitions[section.__name__], section)
    shape = definitions.pop(root.__name__)
    strategy = shape["properties"]["strategy"]
    strategy["required"] = [STRATEGY_CLASS]
    strategy["properties"] = {STRATEGY_CLASS: {"type": "string", "minLength": 1, "description": "which strategy"}}
    return {
        "$schema": DIALECT,
        **shape,
        "title": title,
        "$defs": dict(sorted(definitions.items())),
    }


def cycle_json_schema() -> dict[str, Any]:
    """Return the schema of a cycle's configuration."""
    from trading_runtime.config.cycle_schema import CycleSettings

    return json_schema(CycleSettings, "Trading Runtime cycle configuration")


def _widen(definition: dict[str, Any], section: type[msgspec.Struct]) -> None:
    """Let decimals be numbers too and times be whole numbers (20240131), as reading does."""
    for name, field in fields_of(section).items():
        wider = "number" if is_marked(field.type, "decimal") else "integer" if is_marked(field.type, "time") else None
        if wider is None:
            continue
        shape = definition["properties"][name]
        alternatives = shape.get("anyOf", [shape])
        for alternative in alternatives:
            if alternative.get("type") == "string":
                alternative["type"] = ["string", wider]


def _sections(section: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    found = [section]
    for field in fields_of(section).values():
        for kind in (field.type, item_of(field.type, list), item_of(field.type, dict)):
            nested = section_of(kind)
            if nested is not None:
                found += [one for one in _sections(nested) if one not in found]
    return found
