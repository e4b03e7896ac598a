"""The lease: who may run now, in one document, by compare-and-set, with a fencing token that only grows.

Expiry is judged by the clock of whoever asks, and clocks differ: two processes may both believe that they hold the
lease for a while, and one may pause for hours between asking and acting. So the lease only keeps processes from
getting in each other's way. What makes it safe is the token: each acquisition has a greater one, the state document
carries it, and a write under a smaller one is refused (state_store.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from trading_runtime.core.errors import StoreDamaged, StoreUnavailable
from trading_runtime.stores.documents import Conflict, Documents, checked_name
from trading_runtime.stores.envelope import open_sealed, seal

SCHEMA_VERSION = 1
# Others that write between our reading and writing are few; more than this means that something is wrong.
_ATTEMPTS_MAX = 10


class Held(NamedTuple):
    """A lease that was acquired: ``token`` is unique to this acquisition and greater than all before."""

    name: str
    holder: str
    token: int
    expires_ms: int


class _Written(NamedTuple):
    """The lease's document: ``released`` says that nobody holds it, whatever its expiry."""

    held: Held
    released: bool
    version: str


class Lease:
    """The lease ``name`` for ``holder``, valid for ``seconds`` from each acquisition or renewal.

    ``other`` is who holds it, after ``acquire``, ``renew`` or ``check`` found it held by somebody else. Every method
    raises StoreUnavailable when the store cannot be asked, StoreDamaged when the document is not readable.
    """

    def __init__(self, documents: Documents, name: str, holder: str, seconds: float) -> None:
        if not holder or seconds <= 0.0:
            raise ValueError(f"a lease needs a holder and a positive length: {holder!r}, {seconds} s")
        self._documents = documents
        self._path = f"leases/{checked_name(name)}"
        self._name, self._holder, self._length_ms = name, holder, round(seconds * 1000)
        self._held: Held | None = None
        self.other: Held | None = None

    def acquire(self, now_ms: int, *, above: int = 0) -> Held | None:
        """Take the lease when it is free, expired, released or held under this very name (a process of the same name
        that ended or hangs: it is fenced off by the new token). None when somebody else holds it, see ``other``.

        The token is greater than ``above`` too: a lease document that was lost begins anew at 1, and a state that was
        written under a greater token tells from where to go on.
        """
        self._held = None
        for _ in range(_ATTEMPTS_MAX):
            there = self._read()
            if there is not None and self._is_others(there, now_ms):
                self.other = there.held
                return None
            token = max(above, 0 if there is None else there.held.token) + 1
            held = Held(self._name, self._holder, token, now_ms + self._length_ms)
            if self._write(held, False, there):
                self._held, self.other = held, None
                return held
        raise self._too_often()

    def renew(self, now_ms: int) -> Held | None:
        """Hold it for another ``seconds`` from now under the same token, also after it has expired if nobody took it.
        None when it was taken: whatever was to be done under the token must not be done any more.
        """
        for _ in range(_ATTEMPTS_MAX):
            there = self._mine()
            if there is None:
                return None
            held = there.held._replace(expires_ms=now_ms + self._length_ms)
            if self._write(held, False, there):
                self._held = held
                return held
        raise self._too_often()

    def release(self) -> None:
        """Let others have it at once; nothing when it was taken. The document stays: its token goes on growing."""
        for _ in range(_ATTEMPTS_MAX):
            there = self._mine()
            if there is None or self._write(there.held, True, there):
                self._held = None
                return
        raise self._too_often()

    def check(self, now_ms: int) -> bool:
        """Ask the store: is the lease still ours, under our token, and not expired?"""
        there = self._mine()
        return there is not None and there.held.expires_ms > now_ms

    def _mine(self) -> _Written | None:
        """Return the document if it is that of our own acquisition."""
        if self._held is None:
            return None
        there = self._read()
        if there is None:
            return None
        if there.released or (there.held.holder, there.held.token) != (self._holder, self._held.token):
            self.other = None if there.released else there.held
            return None
        return there

    def _is_others(self, there: _Written, now_ms: int) -> bool:
        return not there.released and there.held.holder != self._holder and there.held.expires_ms > now_ms

    def _read(self) -> _Written | None:
        document = self._documents.read(self._path)
        if document is None:
            return None
        content = open_sealed(self._path, document.content, SCHEMA_VERSION).content
        holder, token, expires_ms = content.get("holder"), content.get("token"), content.get("expires_ms")
        released = content.get("released")
        if (
            content.get("name") != self._name
            or not isinstance(holder, str)
            or type(token) is not int
            or type(expires_ms) is not int
            or not isinstance(released, bool)
        ):
            raise StoreDamaged(f"{self._path}: is not a lease of this name; restore it from a backup")
        return _Written(Held(self._name, holder, token, expires_ms), released, document.version)

    def _write(self, held: Held, released: bool, there: _Written | None) -> bool:
        """Compare and set; False when somebody else was first."""
        content: dict[str, Any] = {**held._asdict(), "released": released}
        raw, _ = seal(self._path, content, SCHEMA_VERSION)
        try:
            if there is None:
                self._documents.create(self._path, raw)
            else:
                self._documents.replace(self._path, raw, there.version)
        except Conflict:
            return False
        return True

    def _too_often(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self._path}: was changed by others {_ATTEMPTS_MAX} times in a row; try again later")
