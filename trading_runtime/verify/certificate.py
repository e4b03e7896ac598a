"""The certificate: which strategy, on which data, was asked what about how many bars, and what came of it.

It holds no wall-clock time and no machine: the same code, data and seed give the same bytes anywhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SCHEMA_VERSION = 1

Verdict = Literal["pass", "fail", "not applicable"]

# What each probe asks, in the order of the report.
QUESTIONS: dict[str, str] = {
    "memory": "a fresh instance, asked in shuffled order, decides the same",
    "repeat": "asked again, at another time of day, columns and decisions are the same",
    "truncation": "all bars up to the bar give what all bars of the data gave",
    "window": "the declared bars alone give the same",
    "future": "other bars after the bar change nothing",
    "past": "other bars before the declared ones change nothing",
    "wake": "every bar with a proposal is a bar on which decide is called",
    "targets": "decide proposes what targets say",
    "purity": "instance and class are left as they were, the state is plain JSON and never changed in place",
}


@dataclass(frozen=True)
class Difference:
    """Where two answers part for the first time: at the bar that closes at ``time``, in which field."""

    bar: int
    time: str
    field: str
    expected: Any
    found: Any

    def to_json(self) -> dict[str, Any]:
        return {
            "bar": self.bar,
            "time": self.time,
            "field": self.field,
            "expected": plain(self.expected),
            "found": plain(self.found),
        }


@dataclass(frozen=True)
class Probe:
    """One question's answer: bars asked about, bars that differed, and the first of them."""

    name: str
    bars: int
    differing: int
    verdict: Verdict
    first: Difference | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "question": QUESTIONS[self.name],
            "bars": self.bars,
            "differing": self.differing,
            "verdict": self.verdict,
            "first": None if self.first is None else self.first.to_json(),
            "note": self.note,
        }


@dataclass(frozen=True)
class Certificate:
    """What was proven. ``bars`` are the decision bars there are, ``bars_checked`` those asked about. ``artifact`` names
    what was published meanwhile; None where nothing was.
    """

    strategy: str
    code_hash: str
    parameters: Mapping[str, Any]
    bars_needed: int
    data: tuple[Mapping[str, Any], ...]
    seed: int
    bars: int
    bars_checked: int
    bars_acting: int
    scrambled_bars: int
    probes: tuple[Probe, ...]
    artifact: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        return all(probe.verdict != "fail" for probe in self.probes)

    def probe(self, name: str) -> Probe:
        """Return the probe of that name; raises KeyError when there is none."""
        for probe in self.probes:
            if probe.name == name:
                return probe
        raise KeyError(name)

    def failed(self) -> list[str]:
        """Return the names of the probes that failed, in their order."""
        return [probe.name for probe in self.probes if probe.verdict == "fail"]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "strategy": self.strategy,
            "code_hash": self.code_hash,
            "parameters": dict(self.parameters),
            "bars_needed": self.bars_needed,
            "data": [dict(one) for one in self.data],
            "seed": self.seed,
            "bars": self.bars,
            "bars_checked": self.bars_checked,
            "bars_acting": self.bars_acting,
            "scrambled_bars": self.scrambled_bars,
            "probes": [probe.to_json() for probe in self.probes],
            "verdict": "pass" if self.passed else "fail",
            **({} if self.artifact is None else {"artifact": dict(self.artifact)}),
        }

    def to_bytes(self) -> bytes:
        """Return the file's content: JSON with sorted keys, for people and for programs."""
        text = json.dumps(self.to_json(), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: numbers that are none become words."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return value


def first_unlike(expected: str | None, found: str | None) -> tuple[str, Any, Any]:
    """Return (field, expected value, found value) of the first place where two outcomes, as JSON, differ."""
    first = None if expected is None else json.loads(expected)
    second = None if found is None else json.loads(found)
    for word in ("raised", "returned"):
        if isinstance(second, dict) and word in second:
            return "decide", _summary(first), f"{word} {second[word]}"
    if not isinstance(first, dict) or not isinstance(second, dict):
        return "proposal", _summary(first), _summary(second)
    return _walk("", first, second)


def _walk(path: str, first: Any, second: Any) -> tuple[str, Any, Any]:
    if isinstance(first, dict) and isinstance(second, dict):
        for key in [*first, *(key for key in second if key not in first)]:
            if key not in first or key not in second or _text(first[key]) != _text(second[key]):
                inner = f"{path}.{key}" if path else str(key)
                return _walk(inner, first.get(key), second.get(key))
    if isinstance(first, list) and isinstance(second, list):
        for index, (one, other) in enumerate(zip(first, second, strict=False)):
            if _text(one) != _text(other):
                return _walk(f"{path}[{index}]", one, other)
        return f"{path} (count)", len(first), len(second)
    return path, first, second


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _summary(proposal: Any) -> Any:
    """Nothing, or the intents: a whole state is too much to read in a line."""
    if isinstance(proposal, dict) and proposal.get("intents"):
        return proposal["intents"]
    return proposal
