"""Keeps the account: every write of a cycle goes through here, under the lease's token, by compare-and-set.

    save     the whole document, at once; whoever saved in between wins, and this process stops
    record   an entry of the journal
    flush    what happened to the book since, as one entry; an entry that a crash left behind is not written twice

A save that fails leaves the store as it was or as it was meant to be, never in between, so a cycle that stops at any
point is continued by the next one from the document alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from trading_runtime.core.errors import StoreUnavailable
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.account import Account, account_from_json
from trading_runtime.cycle.clock import Clock
from trading_runtime.stores.documents import Conflict
from trading_runtime.stores.journal import START, Head, Journal
from trading_runtime.stores.lease import Held, Lease
from trading_runtime.stores.state_store import Saved, StateStore


class TakenOver(Exception):
    """Another process has the lease or has changed the document: it goes on, this one stops."""


class Stores(NamedTuple):
    """What a cycle keeps things in, for one account and strategy."""

    state: StateStore
    journal: Journal
    lease: Lease


class Keeper:
    """The account of one cycle and its place in the store. ``writes`` says of each save what it was for."""

    def __init__(self, stores: Stores, held: Held, clock: Clock) -> None:
        self._stores = stores
        self._held = held
        self._length_ms = held.expires_ms - clock.now_ms()
        self._clock = clock
        self._saved: Saved | None = None
        self._entries_saved = 0
        self._told = 0
        self.writes: list[str] = []
        self.account: Account

    @property
    def token(self) -> int:
        return self._held.token

    @property
    def holder(self) -> str:
        return self._held.holder

    def load(self) -> Account | None:
        """Return the account as it was left, None when there never was one."""
        self._saved = self._stores.state.load()
        if self._saved is None:
            return None
        if self._saved.token > self._held.token:
            # The lease's document was lost and its tokens began anew: go on from where the state knows they were.
            held = self._stores.lease.acquire(self._clock.now_ms(), above=self._saved.token)
            if held is None:
                raise TakenOver("the lease has passed to another process")
            self._held = held
        self.account = account_from_json(self._saved.content)
        self._entries_saved = self.account.entries
        self._follow_journal()
        return self.account

    def open(self, account: Account) -> None:
        """Write the document of a new account."""
        self.account = account
        try:
            self._saved = self._stores.state.create(account.to_json(), self.token)
        except Conflict as conflict:
            raise TakenOver("another process opened the account") from conflict
        self.writes.append("account_opened")

    def fence(self) -> None:
        """Put this process's token on the document: from here on no older holder of the lease can save."""
        if self._saved is not None and self._saved.token != self.token:
            self.save()

    def save(self) -> None:
        """Write the account; raises TakenOver when somebody else has written since, or holds a newer lease."""
        assert self._saved is not None
        entries = self.account.entries
        try:
            self._saved = self._stores.state.save(self.account.to_json(), self._saved, self.token)
        except Conflict as conflict:
            raise TakenOver("another process has changed the account") from conflict
        self._entries_saved = entries
        self.writes.append(self._reason())

    def _reason(self) -> str:
        """What was just saved, for reports: the last of what happened to the account since the save before."""
        happened = self.account.happened
        new, self._told = happened[self._told :], len(happened)
        if not new:
            return "checkpoint"
        last = new[-1]
        subject = last.get("order_id") or last.get("symbol") or last.get("movement")
        return str(last["event"]) if subject is None else f"{last['event']}:{subject}"

    def hold(self) -> None:
        """Make sure, just before something is sent, that the lease is still this process's; raises TakenOver."""
        now = self._clock.now_ms()
        if self._held.expires_ms - now < self._length_ms / 2:
            renewed = self._stores.lease.renew(now)
            if renewed is None:
                raise TakenOver("the lease has passed to another process")
            self._held = renewed
        elif not self._stores.lease.check(now):
            raise TakenOver("the lease has passed to another process")

    def release(self) -> None:
        """Give the lease back. Failing at that costs the next cycle some waiting, nothing else."""
        try:
            self._stores.lease.release()
        except (StoreUnavailable, Conflict):
            return

    def begin_session(self, session: str, slot: int, content: dict[str, Any]) -> None:
        """Start a chain of its own: from here on entries belong to ``session``."""
        self.flush(slot)
        before = self.account.session, self.account.head
        self.account.session, self.account.head, self.account.bars_kept = session, None, {}
        present = self._stores.journal.head(session)
        if present != START:  # a crash came between this entry and the save that names the session
            self.account.head = (present.sequence, present.hash)
        else:
            previous = None if before[0] is None else {"session": before[0], "head": before[1] and list(before[1])}
            self.record("session", slot, {**content, "previous": previous})
        self.save()

    def record(self, kind: str, slot: int, content: dict[str, Any]) -> None:
        """Append an entry to the journal. The document learns of it with the next save."""
        when = iso_time(self._clock.now_ms())
        try:
            self._append(kind, slot, when, content)
        except Conflict as conflict:
            # Either another process goes on here, or an older one has written its last entry before it was fenced off.
            if not self._stores.lease.check(self._clock.now_ms()):
                raise TakenOver("another process has written to the journal") from conflict
            self._follow_journal()
            if kind == "events":
                content = {"events": self.account.unjournaled}
                if not self.account.unjournaled:
                    return  # that last entry was this one
            try:
                self._append(kind, slot, when, content)
            except Conflict as again:
                raise TakenOver("another process has written to the journal") from again

    def _append(self, kind: str, slot: int, when: str, content: dict[str, Any]) -> None:
        account = self.account
        assert account.session is not None
        head = START if account.head is None else Head(*account.head)
        head = self._stores.journal.append(account.session, head, kind, slot, when, content)
        account.head = (head.sequence, head.hash)

    def flush(self, slot: int) -> None:
        """Write what happened to the book into the journal, if anything did. Only what the store has is written: an
        entry of a process that is fenced off would tell of things that never came to be.
        """
        account = self.account
        if not account.unjournaled or account.session is None:
            return
        if account.entries > self._entries_saved:
            self.save()
        self.record("events", slot, {"events": account.unjournaled})
        account.unjournaled = []

    def _follow_journal(self) -> None:
        """Follow the journal to its end: a crash may have come between an entry and the save that tells of it."""
        account = self.account
        if account.session is None:
            return
        first = 0 if account.head is None else account.head[0] + 1
        written = 0
        for entry in self._stores.journal.entries(account.session, first):
            account.head = (entry.sequence, entry.hash)
            if entry.kind == "events":
                written = max(written, entry.content["events"][-1]["number"])
        account.entries = max(account.entries, written)
        account.unjournaled = [event for event in account.unjournaled if event["number"] > written]
