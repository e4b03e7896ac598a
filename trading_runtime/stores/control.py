"""The control document of an account: halt, pause and overrides by a person, kept outside every process.

    never written                     run: nobody has ever halted
    unreadable, newer, unreachable    halt, with the reason
    halted or paused until a time     over from that time on

Only ``resume`` loosens: a halt over a halt or a pause keeps the longer end and the wish to flatten, a pause never
replaces a halt. Deleting the document by hand resumes the account: do not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

import msgspec

from trading_runtime.core.errors import EXIT_USAGE, StoreDamaged, StoreUnavailable, TradingRuntimeError
from trading_runtime.stores.documents import Conflict, Documents, checked_name
from trading_runtime.stores.envelope import open_sealed, seal

SCHEMA_VERSION = 1
OVERRIDES = ("degraded", "account_mismatch", "breaker", "untracked_orders")
OVERRIDE_HOURS_MAX = 24
HISTORY_MAX = 50
TEXT_MAX = 500
_ATTEMPTS_MAX = 10

Risk = Literal["run", "halt", "pause"]
# From 1970 to the end of the year 9999: what can be told to people as a time.
Moment = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]


class ControlRefused(TradingRuntimeError):
    """What was asked of the control document is not possible; nothing was written."""

    exit_code = EXIT_USAGE


class Override(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person lets one guard pass until a time."""

    name: str
    who: str
    why: str
    since_ms: Moment
    until_ms: Moment


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the history: ``action`` is halt, pause, resume, override or revoke."""

    action: str
    who: str
    why: str
    at_ms: Moment
    until_ms: Moment | None = None
    flatten: bool = False
    name: str = ""


class ControlDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is stored. ``until_ms`` None: until somebody resumes. ``resumed_ms`` is when somebody last did."""

    account: str
    risk: Risk = "run"
    flatten: bool = False
    who: str = ""
    why: str = ""
    since_ms: Moment = 0
    until_ms: Moment | None = None
    overrides: tuple[Override, ...] = ()
    resumed_ms: Moment | None = None
    history: tuple[Change, ...] = ()


class ControlView(NamedTuple):
    """What holds at one moment. ``reason`` is a sentence for people, empty when risk is allowed; ``overrides`` are
    those in force; ``resumed_ms`` acknowledges what was latched before it; ``unreadable`` says that nobody halted but
    the document could not be read.
    """

    risk: Risk
    allows_risk: bool
    flatten: bool
    reason: str
    overrides: tuple[Override, ...]
    resumed_ms: int | None
    until_ms: int | None
    unreadable: bool

    def overrides_guard(self, name: str) -> bool:
        """Tell whether a person lets the guard ``name`` pass now."""
        return any(override.name == name for override in self.overrides)


class Control:
    """The control document of ``account``.

    The writers raise ControlRefused for what is not possible, StoreUnavailable when the store cannot be asked or it is
    not known whether it was written (look, and repeat), StoreDamaged when the document is not readable.
    """

    def __init__(self, documents: Documents, account: str) -> None:
        self._documents = documents
        self._account = account
        self._path = f"control/{checked_name(account)}"

    def read(self, now_ms: int) -> ControlView:
        """Return what holds now. Never raises for what is wrong with the document or the store: that is a halt."""
        try:
            document, _ = self._read()
        except TradingRuntimeError as error:
            reason = f"the control document cannot be read, so there is no new risk: {error}"
            return ControlView("halt", False, False, reason, (), None, None, True)
        return view(document, now_ms)

    def history(self) -> tuple[Change, ...]:
        """Return the last changes, oldest first."""
        return self._read()[0].history

    def halt(self, who: str, why: str, now_ms: int, flatten: bool = False, until_ms: int | None = None) -> ControlView:
        """No new risk, and with ``flatten`` no positions. Also replaces a document that is not readable."""

        def halted(before: ControlDocument) -> ControlDocument:
            end, flat = until_ms, flatten
            if _in_force(before, now_ms):
                end = None if until_ms is None or before.until_ms is None else max(until_ms, before.until_ms)
                flat = flatten or before.flatten
            after = _replaced(before, risk="halt", flatten=flat, who=who, why=why, since_ms=now_ms, until_ms=end)
            return _noted(after, Change("halt", who, why, now_ms, until_ms, flatten))

        self._check_end(now_ms, until_ms)
        return self._change(who, why, now_ms, halted, mends=True)

    def pause(self, who: str, why: str, now_ms: int, until_ms: int) -> ControlView:
        """No new risk until ``until_ms``; raises ControlRefused while the account is halted."""

        def paused(before: ControlDocument) -> ControlDocument:
            end = until_ms
            if _in_force(before, now_ms):
                if before.risk == "halt":
                    raise ControlRefused(
                        f"account {self._account} is halted by {before.who} ({before.why}): a pause would end that; "
                        "resume first if that is meant"
                    )
                end = max(until_ms, before.until_ms or until_ms)
            after = _replaced(before, risk="pause", flatten=False, who=who, why=why, since_ms=now_ms, until_ms=end)
            return _noted(after, Change("pause", who, why, now_ms, until_ms))

        self._check_end(now_ms, until_ms)
        return self._change(who, why, now_ms, paused)

    def resume(self, who: str, why: str, now_ms: int) -> ControlView:
        """Allow risk again and acknowledge what was latched. Raises ControlRefused when somebody halts or pauses at
        the same time: that halt was not seen.
        """
        seen: list[tuple[Risk, int, str]] = []

        def resumed(before: ControlDocument) -> ControlDocument:
            now = (before.risk, before.since_ms, before.who)
            seen.append(now)
            if now != seen[0]:
                raise ControlRefused(
                    f"account {self._account} was changed by {before.who} ({before.why}) at the same time; "
                    "look again before you resume"
                )
            after = _replaced(before, risk="run", flatten=False, who=who, why=why, since_ms=now_ms, until_ms=None)
            return _noted(_replaced(after, resumed_ms=now_ms), Change("resume", who, why, now_ms))

        return self._change(who, why, now_ms, resumed)

    def override(self, name: str, who: str, why: str, now_ms: int, until_ms: int) -> ControlView:
        """Let the guard ``name`` (one of ``OVERRIDES``) pass until ``until_ms``, at most a day from now."""
        self._check_end(now_ms, until_ms)
        if until_ms - now_ms > OVERRIDE_HOURS_MAX * 3_600_000:
            raise ControlRefused(f"an override lasts at most {OVERRIDE_HOURS_MAX} hours; give an earlier end")
        given = Override(_known(name), who, why, now_ms, until_ms)

        def overridden(before: ControlDocument) -> ControlDocument:
            others = tuple(one for one in before.overrides if one.name != name and one.until_ms > now_ms)
            after = _replaced(before, overrides=(*others, given))
            return _noted(after, Change("override", who, why, now_ms, until_ms, name=name))

        return self._change(who, why, now_ms, overridden)

    def revoke(self, name: str, who: str, why: str, now_ms: int) -> ControlView:
        """End the override ``name`` now; fine when there is none."""
        _known(name)

        def revoked(before: ControlDocument) -> ControlDocument:
            others = tuple(one for one in before.overrides if one.name != name and one.until_ms > now_ms)
            return _noted(_replaced(before, overrides=others), Change("revoke", who, why, now_ms, name=name))

        return self._change(who, why, now_ms, revoked)

    def _change(
        self,
        who: str,
        why: str,
        now_ms: int,
        changed: Callable[[ControlDocument], ControlDocument],
        *,
        mends: bool = False,
    ) -> ControlView:
        for what, text in (("who", who), ("why", why)):
            if not text.strip() or len(text) > TEXT_MAX:
                raise ControlRefused(f"say {what}: a text of 1 to {TEXT_MAX} characters is required")
        for _ in range(_ATTEMPTS_MAX):
            document, version = self._read(mends=mends)
            after = changed(document)
            content = msgspec.to_builtins(after)
            try:
                msgspec.convert(content, ControlDocument)  # else it would be written and never read again
            except msgspec.ValidationError as error:
                raise ControlRefused(f"{self._path}: nothing was written: {error}") from error
            raw, _ = seal(self._path, content, SCHEMA_VERSION)
            try:
                if version is None:
                    self._documents.create(self._path, raw)
                else:
                    self._documents.replace(self._path, raw, version)
            except Conflict:
                continue
            return view(after, now_ms)
        raise StoreUnavailable(f"{self._path}: was changed by others {_ATTEMPTS_MAX} times in a row; try again")

    def _read(self, *, mends: bool = False) -> tuple[ControlDocument, str | None]:
        """Return the document and its version; with ``mends`` an empty one in place of one that is not readable."""
        there = self._documents.read(self._path)
        if there is None:
            return ControlDocument(self._account), None
        try:
            return self._opened(there.content), there.version
        except StoreDamaged:
            if not mends:
                raise
            return ControlDocument(self._account), there.version

    def _opened(self, raw: bytes) -> ControlDocument:
        content = open_sealed(self._path, raw, SCHEMA_VERSION).content
        try:
            document = msgspec.convert(content, ControlDocument)
        except msgspec.ValidationError as error:
            raise StoreDamaged(
                f"{self._path}: is not a control document ({error}); halt the account, which writes it anew"
            ) from error
        if document.account != self._account:
            raise StoreDamaged(
                f"{self._path}: is the control document of account {document.account}; halt the account, which writes "
                "it anew"
            )
        return document

    def _check_end(self, now_ms: int, until_ms: int | None) -> None:
        if until_ms is not None and until_ms <= now_ms:
            raise ControlRefused(f"the end, {until_ms} ms, is not after now, {now_ms} ms; give a later one")


def view(document: ControlDocument, now_ms: int) -> ControlView:
    """Return what a document says at ``now_ms``."""
    overrides = tuple(sorted((one for one in document.overrides if one.until_ms > now_ms), key=lambda one: one.name))
    if not _in_force(document, now_ms):
        return ControlView("run", True, False, "", overrides, document.resumed_ms, None, False)
    end = "until somebody resumes" if document.until_ms is None else f"until {_time(document.until_ms)}"
    verb = "halted" if document.risk == "halt" else "paused"
    flat = ", positions are to be closed" if document.flatten else ""
    reason = f"{verb} by {document.who} since {_time(document.since_ms)} {end}{flat}: {document.why}"
    return ControlView(
        document.risk, False, document.flatten, reason, overrides, document.resumed_ms, document.until_ms, False
    )


def _in_force(document: ControlDocument, now_ms: int) -> bool:
    """Tell whether a halt or a pause holds at ``now_ms``."""
    return document.risk != "run" and (document.until_ms is None or document.until_ms > now_ms)


def _known(name: str) -> str:
    if name not in OVERRIDES:
        raise ControlRefused(f"there is no override {name!r}; there are {', '.join(OVERRIDES)}")
    return name


def _replaced(document: ControlDocument, **changes: object) -> ControlDocument:
    return msgspec.structs.replace(document, **changes)


def _noted(document: ControlDocument, change: Change) -> ControlDocument:
    return _replaced(document, history=(*document.history, change)[-HISTORY_MAX:])


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
