"""Why cells were, or must be, computed anew: what a sweep or a cell has otherwise than an earlier one.

Sweeps are compared by their specs, with the file of code, the parameter's default and the first differing candle named;
single cells by the identities that their results carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.timeframes import iso_time
from trading_runtime.objects.blobs import get_blob
from trading_runtime.objects.port import ObjectDamaged, ObjectMissing, ObjectStore
from trading_runtime.sweep.candles import first_difference, read_candles
from trading_runtime.sweep.markets import explained
from trading_runtime.sweep.plan import named_sweeps, reused_count
from trading_runtime.sweep.results import cells_key, read_results
from trading_runtime.sweep.spec import read_content

CELLS_COMPARED_MAX = 20_000
ENTRIES_SHOWN = 5  # of a list that differs


@dataclass
class Why:
    """The answer: ``reasons`` as lines for people, most likely cause first; ``parts`` name them for programs."""

    subject: str
    against: str | None
    reasons: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    def say(self, part: str, text: str) -> None:
        """Add a reason."""
        self.reasons.append(text)
        if part not in self.parts:
            self.parts.append(part)

    def to_json(self) -> dict[str, Any]:
        return {"subject": self.subject, "against": self.against, "parts": self.parts, "reasons": self.reasons}


def why_recomputed(store: ObjectStore, sweep_id: str, against: str | None = None) -> Why:
    """Return what a sweep has otherwise than ``against``, or than the one of its name that was planned before it."""
    content = read_content(store, sweep_id)
    if against is None:
        named = named_sweeps(store, str(content["name"]))
        place = named.index(sweep_id) if sweep_id in named else len(named)
        against = named[place - 1] if place else content["origin"]["previous"]
    why = Why(sweep_id, against)
    if against is None:
        why.say("first", f"{sweep_id} is the first sweep called {content['name']!r} here; name another with --against")
        return why
    other = read_content(store, against)
    _compare_code(content, other, why)
    if content["engine_semantics"] != other["engine_semantics"]:
        why.say(
            "engine semantics",
            f"engine semantics: {other['engine_semantics']} before, {content['engine_semantics']} now",
        )
    _compare_candles(store, content, other, why)
    for name in ("funding", "publications"):
        if content["data"][name] != other["data"][name]:
            why.say(name, f"{name}: other content than before")
    _compare_settings(content, other, why)
    _compare_mapping("parameters", content["strategy"]["fixed"], other["strategy"]["fixed"], "parameter", why)
    for part in ("space", "search", "periods"):
        if content[part] != other[part]:
            why.say(part, f"{part}: other cells were planned; equal ones are shared")
    if not why.reasons:
        why.say("nothing", "nothing that could change a result differs: equal cells are shared, none is recomputed")
    else:
        why.reasons.append(f"{reused_count(store, sweep_id)} cell(s) were there when {sweep_id} was planned")
    return why


def why_cell(store: ObjectStore, cell_id: str, against: str) -> Why:
    """Return what a cell's identity has otherwise than the nearest result of another sweep: the one that differs in the
    fewest parts.
    """
    (read,) = read_results(store, [cell_id])
    if read.content is None:
        raise ConfigurationError(f"{store.label} holds no result of cell {cell_id}: {read.damage or 'it is missing'}")
    identity = read.content["identity"]
    nearest: tuple[int, str, Mapping[str, Any]] | None = None
    for other_id, other in _results_of(store, against):
        if other_id == cell_id:
            why = Why(cell_id, against)
            why.say("nothing", f"sweep {against} has this very cell: it is shared")
            return why
        parts = explained(identity, other)
        parameters = sum(identity["parameters"].get(name) != value for name, value in other["parameters"].items())
        distance = 100 * len(parts) + parameters
        if nearest is None or (distance, other_id) < (nearest[0], nearest[1]):
            nearest = (distance, other_id, other)
    if nearest is None:
        raise ConfigurationError(f"sweep {against} has no result to compare with: run it first")
    why = Why(cell_id, nearest[1])
    for part in explained(identity, nearest[2]):
        _compare(part, part, identity.get(part), nearest[2].get(part), why)
    return why


def _results_of(store: ObjectStore, sweep_id: str) -> Any:
    """Yield (cell id, identity) of the results of a sweep, as gather listed them."""
    key = cells_key(sweep_id)
    try:
        lines = store.get(key).decode().splitlines()
    except ObjectMissing:
        raise ConfigurationError(f"sweep {sweep_id} was not gathered: run `sweep gather` first") from None
    ids = iter([line.partition(" ")[0] for line in lines[:CELLS_COMPARED_MAX]])
    while block := list(islice(ids, 1024)):
        for read in read_results(store, block):
            if read.content is not None:
                yield read.cell_id, read.content["identity"]


def _compare_code(content: Mapping[str, Any], other: Mapping[str, Any], why: Why) -> None:
    mine, theirs = content["strategy"], other["strategy"]
    if mine["class"] != theirs["class"]:
        why.say("strategy", f"strategy: {theirs['class']} before, {mine['class']} now")
    if mine["code_hash"] == theirs["code_hash"]:
        return
    before, now = other["origin"]["code"], content["origin"]["code"]
    for name in sorted({*before["files"], *now["files"]}):
        if before["files"].get(name) != now["files"].get(name):
            how = (
                "changed"
                if name in before["files"] and name in now["files"]
                else "is " + ("new" if name in now["files"] else "gone")
            )
            why.say("code", f"code: {name} {how}")
    _compare_mapping("parameter default", now["defaults"], before["defaults"], "default of parameter", why)


def _compare_candles(store: ObjectStore, content: Mapping[str, Any], other: Mapping[str, Any], why: Why) -> None:
    before = dict(zip(_symbols(other), other["data"]["candles"], strict=False))
    now = dict(zip(_symbols(content), content["data"]["candles"], strict=False))
    for symbol in {**now, **before}:
        if now.get(symbol) == before.get(symbol):
            continue
        name = next((one["name"] for one in content["origin"]["manifests"] if one.get("symbol") == symbol), symbol)
        if symbol not in now or symbol not in before:
            why.say("candles", f"candles: {symbol} is {'new' if symbol in now else 'gone'}")
            continue
        try:
            mine = read_candles(get_blob(store, now[symbol]), symbol)
            theirs = read_candles(get_blob(store, before[symbol]), symbol)
        except (ObjectMissing, ObjectDamaged) as error:
            why.say("candles", f"candles: {name} ({symbol}) differs; where cannot be said: {error}")
            continue
        first = first_difference(mine, theirs)
        where = "" if first is None else f", first in the bar that opens at {iso_time(first)}"
        why.say("candles", f"candles: {name} ({symbol}) differs{where}")


def _symbols(content: Mapping[str, Any]) -> list[str]:
    return [str(one["symbol"]) for one in content["origin"]["manifests"] if "name" in one]


def _compare_settings(content: Mapping[str, Any], other: Mapping[str, Any], why: Why) -> None:
    """Costs, cash and conventions: every section of the backtest that can change a result."""
    for section in content["backtest"]:
        mine, theirs = content["backtest"][section], other["backtest"].get(section)
        if mine == theirs or section in ("strategy", "data", "quality"):
            continue
        _compare(section, section, mine, theirs, why)


def _compare_mapping(part: str, mine: Mapping[str, Any], theirs: Mapping[str, Any], label: str, why: Why) -> None:
    for name in {**mine, **theirs}:
        if mine.get(name) != theirs.get(name):
            _compare(part, f"{label} {name}", mine.get(name), theirs.get(name), why)


def _compare(part: str, label: str, mine: Any, theirs: Any, why: Why) -> None:
    """Say what differs at its place: inside sections, and inside lists that are as long as before."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        _compare_mapping(part, mine, theirs, label, why)
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        places = [place for place, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other]
        for place in places[:ENTRIES_SHOWN]:
            _compare(part, label if len(mine) == 1 else f"{label} {place}", mine[place], theirs[place], why)
        if len(places) > ENTRIES_SHOWN:
            why.say(part, f"{label}: {len(places) - ENTRIES_SHOWN:,} more entries differ")
    else:
        why.say(part, f"{label}: {_short(theirs)} before, {_short(mine)} now")


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
