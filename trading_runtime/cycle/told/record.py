"""What each channel has been told already, so that it is told once: one small document, ``told/<account>.<strategy>``.

    {"channels": {"telegram:TG_CHAT_ID": {"status": "2026060100", "artifact": "..."}}}

By channel and kind of message the ``once`` of the last one that was acknowledged. It is observability and fails open:
when it cannot be read people are told twice, when it cannot be written again next time. Nothing of it is ever traded
by, so two processes that write at once lose a line at worst.
"""

from __future__ import annotations

from typing import Any

from trading_runtime.core.errors import ConfigurationError, StoreDamaged, StoreUnavailable
from trading_runtime.cycle.told.facts import part_of, text_of
from trading_runtime.notify.port import Message
from trading_runtime.stores.documents import Conflict, Documents
from trading_runtime.stores.envelope import open_sealed, owner_name, seal

SCHEMA_VERSION = 1


class ToldRecord:
    """The document of one strategy on one account. Its methods raise nothing of the store; ``trouble`` says what was
    wrong with it.
    """

    def __init__(self, documents: Documents, account: str, strategy: str) -> None:
        self._documents = documents
        self.path = f"told/{owner_name(account, strategy)}"
        self._channels: dict[str, dict[str, str]] | None = None
        self._news: dict[str, dict[str, str]] = {}
        self._version: str | None = None
        self._is_newer = False
        self.trouble = ""

    def is_told(self, channel: str, message: Message) -> bool:
        """Whether the channel has acknowledged this already; False for what is told whenever it happens."""
        if not message.once:
            return False
        channels = self._read() if self._channels is None else self._channels
        return channels.get(channel, {}).get(message.kind) == message.once

    def note(self, channel: str, message: Message) -> None:
        """Remember that the channel has acknowledged it; ``save`` writes it down."""
        if message.once:
            self._news.setdefault(channel, {})[message.kind] = message.once

    def save(self) -> None:
        """Write what is new; when somebody else has written meanwhile, on top of theirs, once."""
        if not self._news:
            return
        for _ in range(2):
            channels = self._read() if self._channels is None else self._channels
            if self._is_newer:
                return
            whole = {name: dict(kinds) for name, kinds in channels.items()}
            for name, kinds in self._news.items():
                whole.setdefault(name, {}).update(kinds)
            raw, _ = seal(self.path, {"channels": whole}, SCHEMA_VERSION)
            try:
                if self._version is None:
                    self._documents.create(self.path, raw)
                else:
                    self._documents.replace(self.path, raw, self._version)
            except Conflict:
                self._channels = None
                continue
            except StoreUnavailable as error:
                self.trouble = str(error)
            return
        self.trouble = f"{self.path}: others write it at the same time"

    def _read(self) -> dict[str, dict[str, str]]:
        self._channels, self._version = {}, None
        try:
            document = self._documents.read(self.path)
            if document is not None:
                self._version = document.version
                content: Any = open_sealed(self.path, document.content, SCHEMA_VERSION).content
                channels = part_of(content, "channels")
                self._channels = {
                    name: {kind: text_of(channels[name], kind) for kind in part_of(channels, name)} for name in channels
                }
        except ConfigurationError as error:  # a newer program's: not ours to write over
            self.trouble, self._is_newer = str(error), True
        except (StoreUnavailable, StoreDamaged) as error:
            self.trouble = str(error)
        return self._channels
