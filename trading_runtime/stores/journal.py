"""The journal: an append-only record of what each cycle saw, decided, sent and learned, chained by hashes.

One document for each entry, one chain for each session, and a document that says the session exists:

    journal/<account>.<strategy>/sessions/<session>
    journal/<account>.<strategy>/sessions/<session>/entries/00000000

An entry names the hash of the one before, so whoever alters, drops or moves one is found (journal_check.py). What lies
after the last head that somebody else keeps, as the state does, can be cut off unnoticed: keep the head elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from trading_runtime.core.errors import HaltError, StoreDamaged
from trading_runtime.core.hashing import sha256_hex
from trading_runtime.stores.documents import Conflict, Documents, checked_name
from trading_runtime.stores.envelope import open_sealed, owner_name, seal

SCHEMA_VERSION = 1
_DIGITS = 8
SEQUENCE_MAX = 10**_DIGITS - 1


class Head(NamedTuple):
    """The last entry of a session: where the next one goes, and what it must name."""

    sequence: int
    hash: str


# The head of a session without entries: the hash of nothing.
START = Head(-1, sha256_hex(b""))


class Finding(NamedTuple):
    """What is wrong with one entry, or, as sequence −1, with the session. A run of missing entries is one finding."""

    session: str
    sequence: int
    what: str


class Entry(NamedTuple):
    """One record. ``journal`` is ``<account>.<strategy>``, ``slot`` the bar close in milliseconds (None: not about
    one), ``time`` the moment as ISO text, ``content`` any JSON; ``hash`` is over everything else.
    """

    journal: str
    session: str
    sequence: int
    previous: str
    kind: str
    slot: int | None
    time: str
    content: Any
    hash: str

    @property
    def head(self) -> Head:
        return Head(self.sequence, self.hash)


class Journal:
    """The journal of ``strategy`` on ``account``. Its methods raise StoreUnavailable when the store cannot be asked."""

    def __init__(self, documents: Documents, account: str, strategy: str) -> None:
        self._documents = documents
        self.name = owner_name(account, strategy)
        self._sessions = f"journal/{self.name}/sessions"

    def sessions(self, *, first: str = "", last: str | None = None, newest: int | None = None) -> list[str]:
        """Return the names of the sessions, ascending; narrowed like ``Documents.names``."""
        return self._documents.names(self._sessions, first=first, last=last, newest=newest)

    def append(self, session: str, head: Head, kind: str, slot: int | None, time: str, content: Any) -> Head:
        """Write the entry that follows ``head`` (``START`` for the first) and return the new head.

        Raises Conflict when another entry follows it already: there are two writers. The very same entry is fine, so
        an append that was cut off can be repeated. Raises DocumentTooLarge before anything is written, and
        StoreUnavailable when it is not known whether it was written: repeat it.
        """
        sequence = head.sequence + 1
        if sequence > SEQUENCE_MAX:
            raise HaltError(f"journal {self.name}: session {session} is full; begin a new session")
        path = self._path(session, sequence)
        whole = {
            "journal": self.name,
            "session": session,
            "sequence": sequence,
            "previous": head.hash,
            "kind": kind,
            "slot": slot,
            "time": time,
            "content": content,
        }
        raw, checksum = seal(path, whole, SCHEMA_VERSION)
        if sequence == 0:
            self._begin(session)
        try:
            self._documents.create(path, raw)
        except Conflict:
            there = self._documents.read(path)
            if there is None or there.content != raw:
                raise Conflict(f"{path} exists already and is another entry: somebody else writes here") from None
        return Head(sequence, checksum)

    def head(self, session: str) -> Head:
        """Return the last entry's head, ``START`` when there is none; raises StoreDamaged when it is not readable."""
        newest = self._documents.names(f"{self._session(session)}/entries", newest=1)
        if not newest:
            return START
        return self.entry(session, self._number(session, newest[0])).head

    def entry(self, session: str, sequence: int) -> Entry:
        """Return one entry; raises StoreDamaged when it is missing, altered or another one."""
        path = self._path(session, sequence)
        document = self._documents.read(path)
        if document is None:
            raise StoreDamaged(f"{path}: the entry is missing; verify the session, restore it from a backup")
        entry = read_entry(path, document.content)
        if (entry.journal, entry.session, entry.sequence) != (self.name, session, sequence):
            raise StoreDamaged(
                f"{path}: holds entry {entry.sequence} of session {entry.session} of {entry.journal}; "
                "verify the session, restore it from a backup"
            )
        return entry

    def entries(self, session: str, first: int = 0, last: int | None = None) -> Iterator[Entry]:
        """Yield the entries from ``first`` up to and including ``last``, each verified against the one before; raises
        StoreDamaged at the first that is missing, altered or out of its place.
        """
        top = self.head(session).sequence if last is None else last
        before = START if first == 0 else self.entry(session, first - 1).head
        for sequence in range(first, top + 1):
            entry = self.entry(session, sequence)
            if entry.previous != before.hash:
                raise StoreDamaged(f"{self._path(session, sequence)}: does not follow the entry before it")
            yield entry
            before = entry.head

    def verify(self, session: str, expected_head: Head | None = None) -> list[Finding]:
        """Return everything that is altered, missing, moved, duplicated, cut off or unreadable; empty: nothing is.

        ``expected_head`` is what the state carries; entries after it are fine, they were written later. Without it, a
        session that was cut off at its end, or whose last entry was written anew, looks whole.
        """
        from trading_runtime.stores.journal_check import Chain

        names = self._documents.names(f"{self._session(session)}/entries")
        chain = Chain(self.name, session)
        if names and self._documents.read(self._session(session)) is None:
            chain.note(-1, "the document of the session itself is missing")
        for name in names:
            try:
                sequence = self._number(session, name)
            except StoreDamaged as error:
                chain.note(-1, str(error))
                continue
            try:
                document = self._documents.read(self._path(session, sequence))
            except StoreDamaged as error:
                chain.unreadable(sequence, str(error))
                continue
            if document is not None:
                chain.add(sequence, self._path(session, sequence), document.content)
        return chain.findings(expected_head)

    def export(self, session: str, stream: IO[bytes]) -> Head:
        """Write the session as JSON lines, each exactly an entry's bytes, and return its head; raises StoreDamaged
        when an entry is not as it was written.
        """
        head = START
        for entry in self.entries(session):
            stream.write(entry_bytes(entry) + b"\n")
            head = entry.head
        return head

    def _begin(self, session: str) -> None:
        path = self._session(session)
        try:
            raw, _ = seal(path, {"journal": self.name, "session": session}, SCHEMA_VERSION)
            self._documents.create(path, raw)
        except Conflict:
            return  # begun before

    def _session(self, session: str) -> str:
        return f"{self._sessions}/{checked_name(session)}"

    def _path(self, session: str, sequence: int) -> str:
        return f"{self._session(session)}/entries/{sequence:0{_DIGITS}}"

    def _number(self, session: str, name: str) -> int:
        if len(name) != _DIGITS or not name.isascii() or not name.isdigit():
            raise StoreDamaged(f"{self._sessions}/{session}/entries/{name}: is no entry; who wrote it?")
        return int(name)


def read_entry(place: str, raw: bytes) -> Entry:
    """Return the entry of these bytes; raises StoreDamaged naming ``place`` when they are not as they were written,
    ConfigurationError when a newer program wrote them.
    """
    opened = open_sealed(place, raw, SCHEMA_VERSION)
    content = opened.content
    fields = {field: content.pop(field, None) for field in Entry._fields[:7]}
    texts = all(isinstance(fields[name], str) for name in ("journal", "session", "previous", "kind", "time"))
    slot = fields["slot"]
    if content.keys() != {"content"} or not texts or type(fields["sequence"]) is not int:
        raise StoreDamaged(f"{place}: is not an entry of a journal")
    if slot is not None and type(slot) is not int:
        raise StoreDamaged(f"{place}: is not an entry of a journal")
    return Entry(**fields, content=content["content"], hash=opened.sha256)


def entry_bytes(entry: Entry) -> bytes:
    """Return the bytes an entry was read from."""
    fields = entry._asdict()
    del fields["hash"]
    return seal(f"entry {entry.sequence}", fields, SCHEMA_VERSION)[0]
