"""Finding what is wrong with a journal's session: in the store, or in an exported file alone.

Nothing here asks a store; it judges the bytes it is given. A chain is judged from its end, because an entry is vouched
for by the one that follows it, and the last one by a head that is kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from trading_runtime.core.errors import ConfigurationError, StoreDamaged
from trading_runtime.stores.journal import START, Entry, Finding, Head, read_entry


class _Link(NamedTuple):
    previous: str
    hash: str


class Chain:
    """The entries of one session, added in any order, and the judgement over them. Only hashes are kept."""

    def __init__(self, journal: str, session: str) -> None:
        self._journal, self._session = journal, session
        self._links: dict[int, _Link] = {}
        self._bad: set[int] = set()
        self._findings: list[Finding] = []

    def note(self, sequence: int, what: str) -> None:
        self._findings.append(Finding(self._session, sequence, what))

    def unreadable(self, sequence: int, what: str) -> None:
        """Note that the entry cannot be read, so that it is not reported as missing too."""
        self._bad.add(sequence)
        self.note(sequence, what)

    def add(self, sequence: int, place: str, raw: bytes) -> None:
        """Add what was found where the entry ``sequence`` belongs."""
        try:
            entry = read_entry(place, raw)
        except (StoreDamaged, ConfigurationError) as error:
            self.unreadable(sequence, str(error))
            return
        if (entry.journal, entry.session) != (self._journal, self._session):
            self.unreadable(sequence, f"{place}: belongs to session {entry.session} of {entry.journal}")
        elif entry.sequence != sequence:
            self.unreadable(sequence, f"{place}: holds entry {entry.sequence}: moved or duplicated")
        else:
            self._links[sequence] = _Link(entry.previous, entry.hash)

    def findings(self, expected_head: Head | None) -> list[Finding]:
        """Return all that is wrong, by sequence."""
        known = self._links.keys() | self._bad
        top = max(known, default=-1)
        expected = START if expected_head is None else expected_head
        self._missing(known, max(top, expected.sequence), expected)
        for sequence in sorted(self._links, reverse=True):
            link, after = self._links[sequence], self._links.get(sequence + 1)
            what = None
            if expected_head is not None and sequence == expected.sequence and link.hash != expected.hash:
                what = "altered: it is not the entry that was known as the last one"
            elif after is not None and sequence + 1 not in self._bad and after.previous != link.hash:
                what = f"altered: it is not the entry after which entry {sequence + 1} was written"
            elif sequence == 0 and link.previous != START.hash:
                what = "altered: it is not the beginning of a session"
            if what is not None:
                self._bad.add(sequence)  # whom it names as the one before it says nothing now
                self.note(sequence, what)
        return sorted(self._findings)

    def _missing(self, known: set[int], top: int, expected: Head) -> None:
        sequence = 0
        for there in [*sorted(number for number in known if number >= 0), top + 1]:
            if there > sequence:
                run = f"entry {sequence}" if there == sequence + 1 else f"entries {sequence} to {there - 1}"
                cut = "" if there <= max(known, default=-1) else f": cut off, {expected.sequence} was known as the last"
                self.note(sequence, f"missing: {run}{cut}")
            sequence = max(sequence, there + 1)


def read_export(lines: Iterable[bytes | str]) -> Iterator[Entry]:
    """Yield the entries of an exported session, each verified against the one before; raises StoreDamaged naming the
    first line that is altered, missing, moved, duplicated or of another session.
    """
    before: Entry | None = None
    for number, line in enumerate(lines, 1):
        entry = read_entry(f"line {number}", _without_end(line))
        wanted = START if before is None else before.head
        other = before is not None and (before.journal, before.session) != (entry.journal, entry.session)
        if other or entry.sequence != wanted.sequence + 1 or entry.previous != wanted.hash:
            raise StoreDamaged(f"line {number}: entry {entry.sequence} does not follow the line before it")
        yield entry
        before = entry


def verify_export(lines: Iterable[bytes | str], expected_head: Head | None = None) -> list[Finding]:
    """Return everything that is wrong with an exported session, like ``Journal.verify``."""
    chain: Chain | None = None
    early: list[tuple[int, str]] = []
    session, after, seen = "", 0, set[int]()
    for number, line in enumerate(lines, 1):
        place, raw = f"line {number}", _without_end(line)
        try:
            entry = read_entry(place, raw)
        except (StoreDamaged, ConfigurationError) as error:
            if chain is None:
                early.append((after, str(error)))
            else:
                chain.unreadable(after, str(error))
            seen.add(after)
            after += 1
            continue
        if chain is None:
            session = entry.session
            chain = Chain(entry.journal, session)
            for sequence, what in early:
                chain.unreadable(sequence, what)
        sequence = entry.sequence
        if sequence in seen:
            chain.note(sequence, f"{place}: entry {sequence} is duplicated, or another line is in its place")
            continue
        if sequence < after:
            chain.note(sequence, f"{place}: entry {sequence} is out of its order")
        chain.add(sequence, place, raw)
        seen.add(sequence)
        after = max(after, sequence + 1)
    if chain is None:
        chain = Chain("", session)
        for sequence, what in early:
            chain.unreadable(sequence, what)
    return chain.findings(expected_head)


def _without_end(line: bytes | str) -> bytes:
    raw = line.encode() if isinstance(line, str) else line
    return raw.removesuffix(b"\n")
