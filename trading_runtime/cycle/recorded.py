"""A recorded session as replay and comparison read it: identity, start state, decisions, bars, events.

    journal, or an exported file alone  ──►  entries, verified one after the other  ──►  RecordedSession

What was written and later taken back by a crash is told from what stands: a decision that no ``slot_decided`` follows
was never acted on, and an event whose number comes again was never saved. Deciding again and comparing are elsewhere,
and nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError, StoreDamaged, StrategyError
from trading_runtime.core.slot import SlotInputs, slot_inputs_from_json
from trading_runtime.core.state import State, state_from_json
from trading_runtime.core.timeframes import iso_time, parse_time, timeframe_ms
from trading_runtime.cycle.bars import bars_from_rows, is_longer_name, longer_name
from trading_runtime.stores.journal import Entry, Journal

# What changes the book; every other event of a journal is a note.
BOOKED = frozenset(
    {
        "order_placed",
        "order_filled",
        "order_ended",
        "funding_paid",
        "cash_moved",
        "base_fee_paid",
        "coins_spent",
        "slot_decided",
    }
)

Progress = Callable[[int, int], None]
Rows = Mapping[str, Sequence[Sequence[float]]]


class BarsRecorded(NamedTuple):
    """Rows [open time, open, high, low, close, volume] by symbol; a later row of the same time takes an earlier one's
    place.
    """

    sequence: int
    rows: Rows


class EventsRecorded(NamedTuple):
    """What happened to the account, in order: events of the book with the facts they came from, and notes."""

    sequence: int
    slot: int | None
    events: Sequence[Mapping[str, Any]]


@dataclass
class DecisionRecorded:
    """One decision: what it saw, what surrounded it, what it came to. ``superseded`` when no cycle acted on it: the
    process ended before it was saved.
    """

    sequence: int
    slot: int
    time: str
    rows: Rows
    seen: Mapping[str, Any]
    context: Mapping[str, Any]
    decision: Mapping[str, Any]
    superseded: bool = False


Step = BarsRecorded | EventsRecorded | DecisionRecorded


@dataclass
class RecordedSession:
    """A session in memory. ``identity`` is all that its first entry says but the start state, ``start`` that state;
    ``steps`` are in the order they were written; ``entries`` counts all entries, ``head`` is the hash of the last.
    """

    journal: str
    session: str
    identity: Mapping[str, Any]
    start: State
    steps: list[Step] = field(default_factory=list)
    entries: int = 0
    head: str = ""

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self.identity["symbols"])

    @property
    def timeframe(self) -> str:
        return str(self.identity["timeframe"])

    @property
    def mode(self) -> str:
        return str(self.identity["mode"])

    def decisions(self) -> list[DecisionRecorded]:
        """Every decision, superseded ones included, in the order they were written."""
        return [step for step in self.steps if isinstance(step, DecisionRecorded)]

    def walk(self) -> Iterator[tuple[Step, RecordedBars]]:
        """Yield each step with the bars that were recorded up to and with it."""
        bars = RecordedBars(self.timeframe)
        for step in self.steps:
            if not isinstance(step, EventsRecorded):
                bars.add(step.rows)
            yield step, bars


class RecordedBars:
    """Bars put together from rows, as the journal has them so far. Series of longer timeframes have names of their own
    (``cycle/bars.py``).
    """

    def __init__(self, timeframe: str) -> None:
        self._timeframe, self._bar_ms = timeframe, timeframe_ms(timeframe)
        self._rows: dict[str, dict[int, Sequence[float]]] = {}

    def add(self, rows: Rows) -> None:
        for symbol, lines in rows.items():
            self._rows.setdefault(symbol, {}).update((int(line[0]), line) for line in lines)

    def window(self, symbol: str, first_open: int, count: int, timeframe: str | None = None) -> Bars:
        """Return ``count`` bars from ``first_open`` on; raises BarsError when one was never recorded."""
        name = symbol if timeframe is None else longer_name(symbol, timeframe)
        known = self._rows.get(name, {})
        bar_ms = self._bar_ms if timeframe is None else timeframe_ms(timeframe)
        times = range(first_open, first_open + count * bar_ms, bar_ms)
        try:
            return bars_from_rows(symbol, timeframe or self._timeframe, [known[time] for time in times])
        except KeyError as error:
            raise BarsError(f"{name}: the journal has no bar that opens at {iso_time(error.args[0])}") from None

    def whole(self, last_close: int) -> dict[str, Bars]:
        """Return all bars of each symbol up to a close; raises BarsError where one is missing in between."""
        found = {}
        for symbol, known in self._rows.items():
            if is_longer_name(symbol):
                continue
            times = [time for time in known if time + self._bar_ms <= last_close]
            if times:
                first = min(times)
                found[symbol] = self.window(symbol, first, (max(times) - first) // self._bar_ms + 1)
        return found


def read_session(journal: Journal, session: str, progress: Progress | None = None) -> RecordedSession:
    """Return a session of a journal; ``progress`` is called with (entries read, entries in all).

    Raises StoreDamaged for an entry that is not as it was written, DataError when there is no such session, or it is
    empty.
    """
    last = journal.head(session).sequence

    def told() -> Iterator[Entry]:
        for entry in journal.entries(session, last=last):
            yield entry
            if progress is not None:
                progress(entry.sequence + 1, last + 1)

    return session_from_entries(told(), f"session {session} of {journal.name}")


def read_exported_session(path: Path) -> RecordedSession:
    """Return the session of an exported file; raises as ``read_session``, DataError for a file that cannot be read."""
    from trading_runtime.stores.journal_check import read_export

    try:
        with path.open("rb") as lines:
            return session_from_entries(read_export(lines), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def sessions_in_time(journal: Journal) -> dict[str, Entry]:
    """Return the first entry of each session, oldest first: by when it was written, and where one names the other as
    the session before it, in that order. Names end in a hash, so by them two that began at one slot stand anyhow.
    """
    firsts = {
        session: journal.entry(session, 0) for session in journal.sessions() if journal.head(session).sequence >= 0
    }
    ordered: dict[str, Entry] = {}
    for name in sorted(firsts, key=lambda one: (_written_ms(firsts[one]), one)):
        chain: list[str] = []
        session: str | None = name
        while session in firsts and session not in ordered and session not in chain:
            chain.append(session)
            previous = firsts[session].content.get("previous")
            session = previous["session"] if previous else None
        ordered |= {one: firsts[one] for one in reversed(chain)}
    return ordered


def _written_ms(entry: Entry) -> int:
    """When an entry was written; one that does not say so counts as the oldest."""
    try:
        return parse_time(entry.time)
    except ConfigurationError:
        return 0


def session_from_entries(entries: Iterable[Entry], where: str) -> RecordedSession:
    """Return the session that ``entries`` are, from its first one on; ``where`` names it in errors."""
    recorded: RecordedSession | None = None
    instruments: Any = None
    undecided: DecisionRecorded | None = None
    for entry in entries:
        try:
            if recorded is None:
                recorded = _begun(entry, where)
            elif entry.kind == "decision":
                if undecided is not None:
                    undecided.superseded = True
                undecided = _decision(entry)
                if undecided.seen["instruments"] == instruments:  # mostly the same: kept once
                    undecided.seen = {**undecided.seen, "instruments": instruments}
                instruments = undecided.seen["instruments"]
                recorded.steps.append(undecided)
            elif entry.kind == "events":
                events = entry.content["events"]
                recorded.steps.append(EventsRecorded(entry.sequence, entry.slot, events))
                if undecided is not None and _decides(events, undecided.slot):
                    undecided = None
            elif entry.kind == "bars":
                recorded.steps.append(BarsRecorded(entry.sequence, entry.content["rows"]))
        except (KeyError, TypeError, AttributeError, StrategyError) as error:
            raise StoreDamaged(
                f"{where}: entry {entry.sequence} is not as a cycle writes it: {type(error).__name__}: {error}"
            ) from error
        recorded.entries, recorded.head = entry.sequence + 1, entry.hash
    if recorded is None:
        raise DataError(f"{where}: there is no such session, or nothing in it")
    return recorded


def inputs_of(decision: DecisionRecorded, bars: RecordedBars) -> SlotInputs:
    """Return what the decision was made of. Raises BarsError when its bars are not recorded, StrategyError when they
    are others than it saw, or what it saw is damaged.
    """
    windows = {
        symbol: bars.window(symbol, reference["first_open"], reference["count"])
        for symbol, reference in decision.seen["bars"].items()
    }
    longer = {
        timeframe: {
            symbol: bars.window(symbol, reference["first_open"], reference["count"], timeframe)
            for symbol, reference in of_symbols.items()
        }
        for timeframe, of_symbols in decision.seen.get("longer", {}).items()
    }
    return slot_inputs_from_json(decision.seen, windows, longer)


def standing_events(recorded: RecordedSession) -> list[tuple[int, Mapping[str, Any]]]:
    """Return (sequence of the entry, event) of all that was saved, in order. An event whose number comes again was
    written by a process that ended before it could save it: what came again counts.
    """
    standing: list[tuple[int, Mapping[str, Any]]] = []
    for step in recorded.steps:
        if isinstance(step, EventsRecorded):
            for event in step.events:
                while standing and standing[-1][1]["number"] >= event["number"]:
                    standing.pop()
                standing.append((step.sequence, event))
    return standing


def _begun(entry: Entry, where: str) -> RecordedSession:
    if entry.kind != "session" or entry.sequence != 0:
        raise StoreDamaged(f"{where}: does not begin with the session's own entry")
    identity = {name: value for name, value in entry.content.items() if name != "state"}
    for name, kind in (("symbols", list), ("timeframe", str), ("mode", str)):
        if not isinstance(identity[name], kind):
            raise TypeError(f"{name} is {identity[name]!r}")
    return RecordedSession(entry.journal, entry.session, identity, state_from_json(entry.content["state"]))


def _decision(entry: Entry) -> DecisionRecorded:
    content = entry.content
    # JSON sorts its keys, but a strategy knows its symbols in an order of their own.
    seen = dict(content["seen"])
    for name, suspended in (("bars", ()), ("instruments", seen.get("suspended", ()))):
        symbols = (*seen["symbols"], *suspended)
        seen[name] = {symbol: seen[name][symbol] for symbol in symbols if symbol in seen[name]}
        if len(seen[name]) != len(content["seen"][name]):
            raise TypeError(f"{name} of symbols that are not the decision's")
    return DecisionRecorded(
        entry.sequence, seen["slot"], entry.time, content["rows"], seen, content["context"], content["decision"]
    )


def _decides(events: Sequence[Mapping[str, Any]], slot: int) -> bool:
    return any(event["event"] == "slot_decided" and event["slot"] == slot for event in events)
