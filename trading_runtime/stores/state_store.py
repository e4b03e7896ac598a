"""The state of one strategy on one account: a single document, replaced by compare-and-set under a fencing token.

A second document, the marker, says that the account is *known*. The state is written first, the marker second, and
neither ``create`` nor ``load`` returns before both are there:

    crash before the state     nothing is there: a new account, rightly, since nobody was given a state to trade on
    crash between the two      the next ``load`` finds the state and writes the marker before it returns
    the state is lost later    the marker is there: StoreDamaged, never taken for a new account

The other order would leave a marker without a state after a crash: an account that looks lost and never was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from trading_runtime.core.errors import StoreDamaged
from trading_runtime.stores.documents import Conflict, Documents
from trading_runtime.stores.envelope import open_sealed, owner_name, seal

# 2: what is suspended, the last known prices (cycle/account.py). A program that does not know them would call the state
# damaged, which it is not: by the number it says that a newer one has written it.
SCHEMA_VERSION = 2


class StaleToken(Conflict):
    """A newer holder of the lease has written: this process may not write any more."""


class Saved(NamedTuple):
    """A state as it lies in the store. ``token`` is the fencing token of whoever wrote it."""

    content: dict[str, Any]
    version: str
    token: int


class StateStore:
    """The state of ``strategy`` on ``account``. Its methods raise StoreUnavailable, StoreDamaged, and
    ConfigurationError for a document of a newer program.
    """

    def __init__(self, documents: Documents, account: str, strategy: str) -> None:
        self._documents = documents
        self._account, self._strategy = account, strategy
        owner = owner_name(account, strategy)
        self._state_path, self._marker_path = f"state/{owner}", f"accounts/{owner}"

    def load(self) -> Saved | None:
        """Return the state, None for an account that never had one; raises StoreDamaged when the state of a known
        account is missing.
        """
        saved = self._read()
        marker = self._documents.read(self._marker_path)
        if saved is None and marker is not None:
            saved = self._read()  # both may have been written between the two questions
            if saved is None:
                raise StoreDamaged(
                    f"the state of account {self._account}, strategy {self._strategy} is missing ({self._state_path}) "
                    f"although the account is known ({self._marker_path}); restore it from a backup, or remove the "
                    "known account's document to begin anew"
                )
        if saved is not None and marker is None:
            self._mark()
        return saved

    def create(self, content: Mapping[str, Any], token: int) -> Saved:
        """Write the first state; raises Conflict when there is one, StoreDamaged when a known account's is missing,
        DocumentTooLarge before anything is written.
        """
        raw = self._sealed(content, token)
        if self.load() is not None:
            raise Conflict(f"{self._state_path} exists already")
        version = self._documents.create(self._state_path, raw)
        self._mark()
        return Saved(dict(content), version, token)

    def save(self, content: Mapping[str, Any], previous: Saved, token: int) -> Saved:
        """Write over ``previous``. Raises StaleToken when a newer token has written, Conflict when anybody has,
        DocumentTooLarge before anything is written; StoreUnavailable when it is not known whether it was written.
        """
        raw = self._sealed(content, token)
        if token < previous.token:
            raise self._stale(token, previous.token)
        try:
            version = self._documents.replace(self._state_path, raw, previous.version)
        except Conflict:
            there = self.load()
            if there is not None and token < there.token:
                raise self._stale(token, there.token) from None
            raise
        return Saved(dict(content), version, token)

    def _read(self) -> Saved | None:
        document = self._documents.read(self._state_path)
        if document is None:
            return None
        opened = open_sealed(self._state_path, document.content, SCHEMA_VERSION).content
        token, content = opened.get("token"), opened.get("state")
        if type(token) is not int or not isinstance(content, dict):
            raise StoreDamaged(f"{self._state_path}: is not a state; restore it from a backup")
        if (opened.get("account"), opened.get("strategy")) != (self._account, self._strategy):
            raise StoreDamaged(
                f"{self._state_path}: is the state of account {opened.get('account')}, strategy "
                f"{opened.get('strategy')}; restore the one of {self._account}, {self._strategy}"
            )
        return Saved(content, document.version, token)

    def _mark(self) -> None:
        """Make the account known; that it is already is fine."""
        content = {"account": self._account, "strategy": self._strategy}
        try:
            self._documents.create(self._marker_path, seal(self._marker_path, content, SCHEMA_VERSION)[0])
        except Conflict:
            return

    def _sealed(self, content: Mapping[str, Any], token: int) -> bytes:
        if token < 0:
            raise ValueError(f"a fencing token is not negative: {token}")
        whole = {"account": self._account, "strategy": self._strategy, "token": token, "state": dict(content)}
        return seal(self._state_path, whole, SCHEMA_VERSION)[0]

    def _stale(self, token: int, newer: int) -> StaleToken:
        return StaleToken(f"{self._state_path}: was written under token {newer}; this process's {token} is over")
