"""The port to people: one message, one channel, and what became of it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """What people are told. ``kind`` is one word for the journal (trade, halt, error, ...), ``text`` is plain text,
    ``slot`` the bar's close in milliseconds, None for what belongs to no slot. ``once`` is empty for what is told
    whenever it happens; else a channel that has taken a message of this kind with the same ``once`` is not told again.
    """

    kind: str
    text: str
    slot: int | None = None
    once: str = ""


class Delivery(NamedTuple):
    """What became of a message on one channel: all that records keep of it.

    ``text_sha256`` and ``length`` (in characters) are of the whole text, also where a channel had to cut it;
    ``attempts`` counts requests. ``detail`` says in one line why it was not delivered, or what was cut.
    """

    channel: str
    delivered: bool
    detail: str
    text_sha256: str
    length: int
    attempts: int


class Notifier(Protocol):
    """One channel to people."""

    @property
    def channel(self) -> str:
        """What records call this channel; it holds no secret."""
        ...

    def send(self, message: Message) -> Delivery:
        """Try to deliver, within limits of attempts and seconds; what fails is told in the delivery, not raised."""
        ...


def delivery_of(message: Message, channel: str, *, delivered: bool, detail: str = "", attempts: int) -> Delivery:
    """Return the delivery of ``message`` with its hash and length."""
    # A lone surrogate is no UTF-8, but it has a hash.
    digest = hashlib.sha256(message.text.encode("utf-8", "surrogatepass")).hexdigest()
    return Delivery(channel, delivered, detail, digest, len(message.text), attempts)
