"""One publication of the live pool: an ordered list of symbols, its date, its version. Judged, never repaired.

    content (plain JSON, whoever gave it)  ──►  validate_payload  ──►  Verdict: errors, warnings, Payload

Pure: time is an argument, nothing is read. The shape is upstream's live-pool payload (its contract
``crypto_live_pool_rotation.live_pool.v1``); fields that are not known are tolerated. Where publications come from is
``sources.py``'s, which of several counts is ``ladder.py``'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

from trading_runtime.core.timeframes import DAY_MS

# Upstream publishes spot markets against this currency only, written without a slash: ETHUSDT.
PUBLISHED_QUOTE = "USDT"
UNKNOWN_PROJECT = "unknown"

_SYMBOL = re.compile(rf"([A-Z0-9]{{1,30}}){PUBLISHED_QUOTE}")
_BASE = re.compile(r"[A-Z0-9]{1,30}")
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ].*)?", re.ASCII | re.DOTALL)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_TEXT_LENGTH_MAX = 200
_SHOWN_MAX = 60
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class PayloadRules:
    """When a publication is accepted: the greatest age in whole days since its date, the publisher's modes, the number
    of symbols (None: any). ``is_dated`` False lets the date be empty.
    """

    max_age_days: int = 45
    acceptable_modes: tuple[str, ...] = ("core_major",)
    expected_size: int | None = 5
    is_dated: bool = True


@dataclass(frozen=True)
class Payload:
    """A publication in its normal form. ``symbols`` are upstream's names in upstream's order, ``symbol_map`` their base
    assets; ``as_of_date`` is YYYY-MM-DD, the day the pool was made for, empty for none.
    """

    as_of_date: str
    version: str
    mode: str
    symbols: tuple[str, ...]
    symbol_map: Mapping[str, str]
    source_project: str

    @property
    def pool_size(self) -> int:
        return len(self.symbols)

    def to_json(self) -> dict[str, Any]:
        """Return it as upstream would publish it; it validates to itself."""
        return {
            "as_of_date": self.as_of_date,
            "version": self.version,
            "mode": self.mode,
            "pool_size": self.pool_size,
            "symbols": list(self.symbols),
            "symbol_map": {symbol: {"base_asset": base} for symbol, base in self.symbol_map.items()},
            "source_project": self.source_project,
        }

    def age_days(self, now_ms: int) -> int | None:
        """Return the whole UTC days since its date, negative before it, None where it has no date."""
        if not self.as_of_date:
            return None
        return now_ms // DAY_MS - (date.fromisoformat(self.as_of_date).toordinal() - _EPOCH_DAY)


class Verdict(NamedTuple):
    """What was found. ``payload`` is there whenever date, version, mode and symbols could be read, also of a payload
    that is not ``ok``: then it is to be shown, not to be used. ``age_days`` is None where there is no date.
    """

    ok: bool
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    age_days: int | None
    is_fresh: bool
    payload: Payload | None


def validate_payload(content: object, *, now_ms: int, rules: PayloadRules, enforce_freshness: bool = True) -> Verdict:
    """Return the verdict on a publication. Never raises, whatever ``content`` is; errors and warnings are one line
    each. A payload that is too old is an error only with ``enforce_freshness``.
    """
    if not isinstance(content, dict | MappingProxyType):
        return Verdict(False, (f"a payload is a mapping of fields, not {shown(content)}",), (), None, False, None)
    errors: list[str] = []
    warnings: list[str] = []
    as_of_date = _as_of_date(content, rules, errors)
    mode = _mode(content, rules, errors, warnings)
    version = _version(content, as_of_date, mode, errors, warnings)
    symbols, given = _symbols(content, errors)
    _check_size(content, symbols, rules, errors)
    symbol_map = _symbol_map(content, symbols, given, errors)
    source_project = _source_project(content, errors, warnings)
    payload = None
    if None not in (as_of_date, mode, version, source_project) and symbols:
        payload = Payload(
            as_of_date or "",
            version or "",
            mode or "",
            tuple(symbols),
            MappingProxyType(symbol_map),
            source_project or UNKNOWN_PROJECT,
        )
    age_days = None if payload is None else payload.age_days(now_ms)
    is_fresh = age_days is not None and 0 <= age_days <= rules.max_age_days
    if age_days is not None and age_days < 0:
        errors.append(f"as_of_date {as_of_date} is in the future")
    elif age_days is not None and enforce_freshness and not is_fresh:
        errors.append(
            f"as_of_date {as_of_date} is stale: {age_days} days old, at most {rules.max_age_days} are accepted"
        )
    return Verdict(not errors, tuple(errors), tuple(warnings), age_days, is_fresh, payload)


def ordered_symbols(content: Mapping[str, Any]) -> list[str]:
    """Return the markets that a payload names, in its order, each once; what is no market of ours is left out."""
    found = [published_symbol(entry) for entry in entries_of(content.get("symbols"))]
    return list(dict.fromkeys(symbol for symbol in found if symbol is not None))


def shown(value: object) -> str:
    """Return a value for a message: one line, cut when it is long, never an error."""
    if isinstance(value, str):
        text = json.dumps(value[: _SHOWN_MAX + 1])
    elif value is None or isinstance(value, bool | float):
        text = repr(value)
    elif isinstance(value, int):
        text = str(value) if abs(value) < 10**18 else "a huge number"
    else:
        return {"dict": "a mapping", "list": "a list"}.get(type(value).__name__, f"a {type(value).__name__}")
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


def is_absent(value: object) -> bool:
    """Whether a field is not there: none, null, or text of nothing but spaces."""
    return value is None or (isinstance(value, str) and not value.strip())


def _as_of_date(content: Mapping[str, Any], rules: PayloadRules, errors: list[str]) -> str | None:
    value = content.get("as_of_date")
    if is_absent(value):
        if not rules.is_dated:
            return ""
        errors.append("as_of_date is missing")
        return None
    match = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        try:
            return date.fromisoformat(match[1]).isoformat()
        except ValueError:  # a day that no month has
            pass
    errors.append(f"as_of_date must be a date such as 2026-06-01, not {shown(value)}")
    return None


def _text(content: Mapping[str, Any], name: str, errors: list[str]) -> str | None:
    """Return a field that is there as text, None with an error when it is none that could be shown."""
    value = content.get(name)
    text = value.strip() if isinstance(value, str) else None
    if text is None or len(text) > _TEXT_LENGTH_MAX or not text.isprintable():
        errors.append(f"{name} must be text of one line, at most {_TEXT_LENGTH_MAX} characters, not {shown(value)}")
        return None
    return text


def _mode(content: Mapping[str, Any], rules: PayloadRules, errors: list[str], warnings: list[str]) -> str | None:
    if is_absent(content.get("mode")):
        mode = rules.acceptable_modes[0]
        warnings.append(f"mode is missing: {mode} is assumed")
        return mode
    found = _text(content, "mode", errors)
    if found is not None and found not in rules.acceptable_modes:
        errors.append(f"mode {shown(found)} is not accepted (accepted: {', '.join(rules.acceptable_modes)})")
    return found


def _version(
    content: Mapping[str, Any], as_of_date: str | None, mode: str | None, errors: list[str], warnings: list[str]
) -> str | None:
    if not is_absent(content.get("version")):
        return _text(content, "version", errors)
    if as_of_date is None or mode is None:
        return None  # what it would be made of is wrong, and said to be
    version = f"{as_of_date}-{mode}"
    warnings.append(f"version is missing: {version} is assumed")
    return version


def _source_project(content: Mapping[str, Any], errors: list[str], warnings: list[str]) -> str | None:
    if is_absent(content.get("source_project")):
        warnings.append(f"source_project is missing: {UNKNOWN_PROJECT!r} is assumed")
        return UNKNOWN_PROJECT
    return _text(content, "source_project", errors)


def entries_of(symbols: object) -> list[object]:
    """Return the entries of either form of ``symbols``: a list, or a mapping by symbol."""
    return list(symbols) if isinstance(symbols, list | tuple | dict | MappingProxyType) else []


def published_symbol(entry: object) -> str | None:
    """Return the market that an entry of ``symbols`` names, None when it is none of ours."""
    if not isinstance(entry, str) or not entry.isascii():
        return None
    symbol = entry.strip().upper()
    return symbol if _SYMBOL.fullmatch(symbol) else None


def _symbols(content: Mapping[str, Any], errors: list[str]) -> tuple[list[str], Mapping[str, Any]]:
    """Return the symbols, and what a mapping of them says of each."""
    value = content.get("symbols")
    symbols = ordered_symbols(content)
    if value is None:
        errors.append("symbols is missing")
    elif not isinstance(value, list | tuple | dict | MappingProxyType):
        errors.append(f"symbols must be a list or a mapping, not {shown(value)}")
    elif not symbols:
        errors.append(f"symbols has no {PUBLISHED_QUOTE} market")
    return symbols, value if isinstance(value, dict | MappingProxyType) else {}


def _check_size(content: Mapping[str, Any], symbols: list[str], rules: PayloadRules, errors: list[str]) -> None:
    size = len(symbols)
    value = content.get("pool_size")
    if not is_absent(value):
        declared = _whole_number(value)
        if declared is None:
            errors.append(f"pool_size must be a whole number, not {shown(value)}")
        elif declared != size:
            errors.append(f"pool_size is {shown(declared)}, but there are {size} symbols")
    if rules.expected_size is not None and symbols and size != rules.expected_size:
        errors.append(f"there are {size} symbols, {rules.expected_size} are expected")


def _whole_number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):  # a document store may keep every number as a float
        return int(value) if value.is_integer() else None
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) else None


def _symbol_map(
    content: Mapping[str, Any], symbols: list[str], given: Mapping[str, Any], errors: list[str]
) -> dict[str, str]:
    """Return the base asset of every symbol: as symbol_map says, as a mapping of symbols says, as its name says."""
    value = content.get("symbol_map")
    if value is not None and not isinstance(value, dict | MappingProxyType):
        errors.append(f"symbol_map must be a mapping, not {shown(value)}")
        value = None
    said = [_by_symbol(one) for one in (value or {}, given)]
    return {
        symbol: next(
            (base for one in said if (base := base_asset_of(one.get(symbol))) is not None),
            symbol.removesuffix(PUBLISHED_QUOTE),
        )
        for symbol in symbols
    }


def _by_symbol(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry, value in mapping.items():
        symbol = published_symbol(entry)
        if symbol is not None:
            found.setdefault(symbol, value)
    return found


def base_asset_of(entry: object) -> str | None:
    """Return what ``{base_asset}`` says, None when it says nothing that could be one."""
    value = entry.get("base_asset") if isinstance(entry, dict | MappingProxyType) else None
    if not isinstance(value, str) or not value.isascii():
        return None
    base = value.strip().upper()
    return base if _BASE.fullmatch(base) else None
