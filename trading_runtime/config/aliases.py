"""Environment variables with names of their own for settings of a cycle: those that earlier installations set.

    STRATEGY_ARTIFACT_*                where the configuration has a section ``artifact``
    NOTIFY_LANG, BTC_STATUS_REPORT_INTERVAL_HOURS

They stand above the file and below TRADING_RUNTIME__ and ``--set``. A variable that is empty counts as not set. What
only has to agree with the settings (STRATEGY_PROFILE, RUNTIME_TARGET_JSON) is ``runtime_target.py``'s; secrets are no
settings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from trading_runtime.config.layers import Layers
from trading_runtime.core.errors import ConfigurationError

ARTIFACT_SECTION: Final = "artifact"
_STATUS_HOURS_MAX = 24
_WHOLE = re.compile(r"[+-]?\d{1,9}", re.ASCII)
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


class _MalformedError(ValueError):
    """What a variable must be instead."""


class Alias(NamedTuple):
    """The setting a variable stands for, and what its text means there."""

    key: str
    value_of: Callable[[str], Any]


def _text(text: str) -> str:
    return text


def _whole_number(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise _MalformedError("must be a whole number")
    return int(text)


def _names(text: str) -> list[str]:
    names = [name for part in text.split(",") if (name := part.strip())]
    if not names:
        raise _MalformedError("must be names with commas between them")
    return names


def _yes_or_no(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise _MalformedError("must be true or false")


def _language(text: str) -> str:
    """Languages may be written with a country: zh-CN, en_US."""
    language = re.split(r"[-_.]", text.lower(), maxsplit=1)[0]
    if language not in ("en", "zh"):
        raise _MalformedError("must be en or zh")
    return language


def _status_hours(text: str) -> int:
    """Zero and below send none; more than a day is a day."""
    return min(max(_whole_number(text), 0), _STATUS_HOURS_MAX)


ALIASES: Final[Mapping[str, Alias]] = {
    "STRATEGY_ARTIFACT_FIRESTORE_COLLECTION": Alias("artifact.collection", _text),
    "STRATEGY_ARTIFACT_FIRESTORE_DOCUMENT": Alias("artifact.document", _text),
    "STRATEGY_ARTIFACT_FILE": Alias("artifact.file", _text),
    "STRATEGY_ARTIFACT_MANIFEST_FILE": Alias("artifact.manifest_file", _text),
    "STRATEGY_ARTIFACT_MAX_AGE_DAYS": Alias("artifact.max_age_days", _whole_number),
    "STRATEGY_ARTIFACT_ACCEPTABLE_MODES": Alias("artifact.acceptable_modes", _names),
    "STRATEGY_ARTIFACT_EXPECTED_SIZE": Alias("artifact.expected_size", _whole_number),
    "STRATEGY_ARTIFACT_ALLOW_NEW_ENTRIES_ON_DEGRADED": Alias("artifact.allow_new_entries_on_degraded", _yes_or_no),
    "NOTIFY_LANG": Alias("notify.language", _language),
    "BTC_STATUS_REPORT_INTERVAL_HOURS": Alias("notify.status_hours", _status_hours),
}


def apply_aliases(layers: Layers, environment: Mapping[str, str]) -> None:
    """Put what the variables say on the settings of a cycle; raises ConfigurationError, one line, for one that is
    malformed.
    """
    has_artifact = isinstance(layers.tree.get(ARTIFACT_SECTION), dict)
    for name, alias in ALIASES.items():
        text = environment.get(name, "").strip()
        if not text or (alias.key.startswith(f"{ARTIFACT_SECTION}.") and not has_artifact):
            continue
        try:
            value = alias.value_of(text)
        except _MalformedError as error:
            raise ConfigurationError(f"environment variable {name} {error}, not {text[:60]!r}") from None
        layers.apply_alias(alias.key, value, name)
