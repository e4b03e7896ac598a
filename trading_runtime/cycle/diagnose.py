"""Why was there no trade? The answer for a cycle, a day or a month, from the journal alone.

    every session of the account ──► decisions, fills, ends of cycles of the period ──► refusals by section and gate

A decision that no cycle acted on is left out, as everywhere (``recorded.py``). Only the entries of the period are read,
found by halving: an account's journal grows for years. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from trading_runtime.core.instruments import instrument_from_json
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.cycle.recorded import sessions_in_time
from trading_runtime.cycle.report import fill_json
from trading_runtime.cycle.told.facts import flag_of, number_of, part_of, parts_of, text_of, texts_of
from trading_runtime.stores.journal import Entry, Journal
from trading_runtime.telemetry.redact import Redactor

# Titles by category of a refusal, in the order they are told; what is in neither is the runtime's own.
SECTIONS: Final = {"btc_dca": "BTC Core", "trend": "Trend Rotation"}
RUNTIME: Final = "Runtime"
TITLES: Final = (*SECTIONS.values(), RUNTIME)

Progress = Callable[[int, int], None]


class Period(NamedTuple):
    """Slots from ``first`` on and before ``end``; ``kind`` is slot, day or month, ``label`` what people call it."""

    kind: str
    label: str
    first: int
    end: int


@dataclass
class GateCount:
    """How often a gate refused in the period, of what, and what it said last."""

    gate: str
    category: str
    count: int = 0
    symbols: list[str] = field(default_factory=list)
    last_slot: str = ""
    last_detail: str = ""


@dataclass
class Diagnosis:
    """The answer. ``candidates`` are the results of the newest decision for a single slot, else counts by symbol;
    ``degraded`` are spans without a fresh publication; ``undecided`` counts cycles without a decision by status.
    """

    journal: str
    period: Period
    decisions: int = 0
    trades: list[dict[str, Any]] = field(default_factory=list)
    gates: dict[str, list[GateCount]] = field(default_factory=lambda: {title: [] for title in TITLES})
    candidates: list[dict[str, Any]] = field(default_factory=list)
    degraded: list[dict[str, Any]] = field(default_factory=list)
    undecided: dict[str, dict[str, Any]] = field(default_factory=dict)
    slots_without_decision: dict[str, Any] = field(default_factory=lambda: {"count": 0, "first": None, "last": None})
    answer: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the journal has nothing of the period."""
        return not (self.decisions or self.trades or self.undecided)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain JSON."""
        return {
            "journal": self.journal,
            "period": {
                "kind": self.period.kind,
                "label": self.period.label,
                "first": iso_time(self.period.first),
                "end": iso_time(self.period.end),
            },
            "answer": self.answer,
            "decisions": self.decisions,
            "slots_without_decision": self.slots_without_decision,
            "cycles_without_decision": self.undecided,
            "trades": self.trades,
            "sections": [
                {"title": title, "gates": [vars(one) for one in gates]} for title, gates in self.gates.items()
            ],
            "candidates": self.candidates,
            "degraded": self.degraded,
        }


def diagnose(
    journal: Journal,
    period: Period,
    progress: Progress | None = None,
    environment: Mapping[str, str] | None = None,
) -> Diagnosis:
    """Return why there was no trade in ``period``, or which there were; ``progress`` is called with (slots read, slots
    in all). Secrets of ``environment`` are left out of what is told.

    Raises StoreDamaged for an entry that cannot be read, StoreUnavailable when the store cannot be asked.
    """
    reading = _Reading(journal.name, period, Redactor({} if environment is None else environment))
    total = 0
    for session, first in sessions_in_time(journal).items():
        reading.begin(first)
        total = (period.end - period.first) // reading.bar_ms
        for entry in _entries(journal, session, reading):
            reading.take(entry)
            if progress is not None and entry.slot is not None and entry.kind == "cycle":
                progress(min(max(entry.slot - period.first, 0) // reading.bar_ms, total), total)
    if progress is not None:
        progress(total, total)
    return reading.result()


def newest_slot(journal: Journal) -> int | None:
    """Return the newest slot that the journal knows of, None when it is empty."""
    slots = []
    for session in journal.sessions():
        sequence = journal.head(session).sequence
        slot = None if sequence < 0 else journal.entry(session, sequence).slot
        slots += [] if slot is None else [slot]
    return max(slots, default=None)


def _entries(journal: Journal, session: str, reading: _Reading) -> Iterator[Entry]:
    """Yield the session's entries of the period, and those behind it that a decision of it still waits for."""
    last = journal.head(session).sequence
    low, high = 0, last + 1
    while low < high:
        middle = (low + high) // 2
        slot = journal.entry(session, middle).slot
        if slot is not None and slot >= reading.period.first:
            high = middle
        else:
            low = middle + 1
    for entry in journal.entries(session, low, last):
        if entry.slot is not None and entry.slot >= reading.period.end and not reading.is_waiting:
            reading.know(entry.slot)
            return
        yield entry


class _Reading:
    """What was read so far, entry by entry, oldest first."""

    def __init__(self, name: str, period: Period, redactor: Redactor) -> None:
        self.period = period
        self.bar_ms = 1
        self._name = name
        self._redactor = redactor
        self._first_slot: int | None = None
        self._last_slot: int | None = None
        self._waiting: Mapping[str, Any] | None = None
        self._has_decided = False
        self._decisions: list[Mapping[str, Any]] = []
        self._fills: list[tuple[int, int, Mapping[str, Any]]] = []
        self._instruments: dict[str, Any] = {}
        self._undecided: dict[str, dict[str, Any]] = {}
        self._decided_slots: set[int] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether it is still open if a cycle acted on the last decision."""
        return self._waiting is not None

    def begin(self, entry: Entry) -> None:
        """Take note of a session's identity."""
        start = int(entry.content["start_slot"])
        if start < self.period.end:
            self.bar_ms = timeframe_ms(entry.content["timeframe"])
        self.know(start)

    def know(self, slot: int) -> None:
        """Take note of a slot that the account has worked at."""
        self._first_slot = slot if self._first_slot is None else min(self._first_slot, slot)
        self._last_slot = slot if self._last_slot is None else max(self._last_slot, slot)

    def take(self, entry: Entry) -> None:
        """Take one entry in."""
        content, slot = entry.content, entry.slot
        is_in_period = slot is not None and self.period.first <= slot < self.period.end
        if slot is not None:
            self.know(slot)
        if entry.kind == "decision":
            self._waiting = None  # what was decided before and not acted on by now never will be
            if is_in_period:
                seen = content["seen"]
                decision = content["decision"]
                # Nothing else is told: a month of all that decisions saw is large.
                told = {"refusals": decision["refusals"], "facts": decision.get("facts")}
                self._waiting = {"slot": slot, "decision": told, "artifact": seen.get("artifact")}
                self._instruments.update(seen["instruments"])
            self._has_decided = True
        elif entry.kind == "events":
            for event in content["events"]:
                self._take_event(event, entry, is_in_period=is_in_period)
        elif entry.kind == "cycle":
            if is_in_period and not self._has_decided:
                known = self._undecided.setdefault(content["status"], {"count": 0, "last_slot": "", "last_reason": ""})
                known["count"] += 1
                known |= {"last_slot": iso_time(slot or 0), "last_reason": self._redactor(content["reason"])}
            self._has_decided = False

    def _take_event(self, event: Mapping[str, Any], entry: Entry, *, is_in_period: bool) -> None:
        if self._waiting is not None and event["event"] == "slot_decided" and event["slot"] == self._waiting["slot"]:
            self._decisions.append(self._waiting)
            self._waiting = None
        if event["event"] == "slot_decided":
            self._decided_slots.add(event["slot"])
        number = event["number"]
        while self._fills and self._fills[-1][0] >= number:  # written by a process that could not save it
            self._fills.pop()
        if event["event"] == "order_filled" and is_in_period:
            self._fills.append((number, entry.slot or 0, event))

    def result(self) -> Diagnosis:
        """Return what has been found."""
        if self._waiting is not None:  # the newest decision there is: its events are not flushed yet
            self._decisions.append(self._waiting)
            self._decided_slots.add(self._waiting["slot"])
            self._waiting = None
        found = Diagnosis(self._name, self.period, decisions=len(self._decisions), undecided=self._undecided)
        found.trades = self._trades()
        self._count_gates(found)
        of_slot = self.period.kind == "slot"
        found.candidates = self._candidates_of_slot() if of_slot else self._candidates_counted()
        found.degraded = self._degraded()
        self._count_missing(found)
        found.answer = _answer(found)
        return found

    def _trades(self) -> list[dict[str, Any]]:
        instruments = {symbol: instrument_from_json(one) for symbol, one in self._instruments.items()}
        trades = []
        for _, slot, event in self._fills:
            if event["symbol"] in instruments:
                told = fill_json(event, instruments)
            else:  # no decision of the period saw it: its units are not known here
                side = "buy" if event["side"] > 0 else "sell"
                told = {"order_id": event["order_id"], "symbol": event["symbol"], "side": side, "quantity": None,
                        "price": event["price"], "value": None, "fee": None}  # fmt: skip
            trades.append({"slot": iso_time(slot), **told})
        return trades

    def _count_gates(self, found: Diagnosis) -> None:
        counts: dict[tuple[str, str, str], GateCount] = {}
        for one in self._decisions:
            for refusal in one["decision"]["refusals"]:
                gate, category = refusal["gate"], refusal["category"]
                title = SECTIONS.get(category, RUNTIME)
                key = (title, gate, category)
                if key not in counts:
                    counts[key] = GateCount(gate, category)
                    found.gates[title].append(counts[key])
                count = counts[key]
                count.count += 1
                if refusal["symbol"] and refusal["symbol"] not in count.symbols:
                    count.symbols.append(refusal["symbol"])
                count.last_slot = iso_time(one["slot"])
                count.last_detail = self._redactor(refusal["detail"])
        for gates in found.gates.values():
            gates.sort(key=lambda one: (-one.count, one.gate, one.category))
            for one_gate in gates:
                one_gate.symbols.sort()

    def _candidates_of_slot(self) -> list[dict[str, Any]]:
        """The filters' results of the newest decision, in the pool's order."""
        if not self._decisions:
            return []
        return [
            {
                "symbol": text_of(one, "symbol"),
                "selected": flag_of(one, "selected"),
                "reasons": texts_of(one, "reasons"),
                **{name: number_of(one, name) for name in ("relative_score", "absolute_momentum", "weight")},
            }
            for one in parts_of(self._facts(self._decisions[-1]), "candidates")
        ]

    def _candidates_counted(self) -> list[dict[str, Any]]:
        """How often each symbol was looked at, selected, and rejected for which reason; most often first."""
        counts: dict[str, dict[str, Any]] = {}
        for one in self._decisions:
            for candidate in parts_of(self._facts(one), "candidates"):
                symbol = text_of(candidate, "symbol")
                count = counts.setdefault(symbol, {"symbol": symbol, "decisions": 0, "selected": 0, "reasons": {}})
                count["decisions"] += 1
                count["selected"] += flag_of(candidate, "selected") is True
                for reason in texts_of(candidate, "reasons"):
                    count["reasons"][reason] = count["reasons"].get(reason, 0) + 1
        for count in counts.values():
            count["reasons"] = dict(sorted(count["reasons"].items(), key=lambda item: (-item[1], item[0])))
        return list(counts.values())

    def _degraded(self) -> list[dict[str, Any]]:
        """Spans of decisions that had no fresh publication, by its source."""
        spans: list[dict[str, Any]] = []
        is_open = False
        for one in self._decisions:
            facts = self._facts(one)
            pool = part_of(facts, "pool") or part_of(one, "artifact")
            is_missing = "pool" in facts and not text_of(pool, "source_kind")
            if not flag_of(pool, "degraded") and not is_missing:
                is_open = False
                continue
            source, slot = text_of(pool, "source_kind") or "unavailable", iso_time(one["slot"])
            if is_open and spans[-1]["source_kind"] == source:
                spans[-1] |= {"last": slot, "decisions": spans[-1]["decisions"] + 1}
            else:
                spans.append({"source_kind": source, "first": slot, "last": slot, "decisions": 1})
            is_open = True
        return spans

    def _count_missing(self, found: Diagnosis) -> None:
        """Count slots that passed without a decision, between the account's first and the newest that is known."""
        if self._first_slot is None or self._last_slot is None:
            return
        start = max(self.period.first, self._first_slot)
        first = bucket_open_ms(start + self.bar_ms - 1, self.bar_ms)
        end = min(self.period.end, self._last_slot + 1)
        decided = self._decided_slots
        missing = [slot for slot in range(first, end, self.bar_ms) if slot not in decided]
        if missing:
            ends = {"first": iso_time(missing[0]), "last": iso_time(missing[-1])}
            found.slots_without_decision = {"count": len(missing), **ends}

    @staticmethod
    def _facts(one: Mapping[str, Any]) -> Mapping[str, Any]:
        return part_of(one["decision"], "facts")


def _answer(found: Diagnosis) -> str:
    """Return the answer in one sentence."""
    label, missing = found.period.label, found.slots_without_decision["count"]
    if found.is_empty:
        gap = f": {missing} slot(s) passed without a decision" if missing else ""
        return f"nothing is recorded for {label}{gap}"
    if found.trades:
        orders = len({trade["order_id"] for trade in found.trades})
        return f"there were trades: {orders} order(s) filled in {found.decisions} decision(s)"
    if not found.decisions:
        statuses = ", ".join(f"{one['count']} × {status}" for status, one in sorted(found.undecided.items()))
        return f"no trade: no cycle came to a decision ({statuses})"
    reasons = [
        f"{title}: {gates[0].gate} ({gates[0].count} of {found.decisions} decision(s))"
        for title, gates in found.gates.items()
        if gates
    ]
    return f"no trade: {'; '.join(reasons)}" if reasons else "no trade: the strategy wanted none, no gate refused one"
