"""Channels of a dry run: what would have been sent is recorded with hash and length, and nothing is."""

from __future__ import annotations

from collections.abc import Sequence

from trading_runtime.notify.port import Delivery, Message, Notifier, delivery_of

SUPPRESSED = "dry run: not sent"


class SuppressedNotifier:
    """Stands where a channel of a real run would be."""

    def __init__(self, channel: str) -> None:
        self._channel = channel

    @property
    def channel(self) -> str:
        return self._channel

    def send(self, message: Message) -> Delivery:
        """Send nothing; the delivery says so."""
        return delivery_of(message, self.channel, delivered=False, detail=SUPPRESSED, attempts=0)


def suppressed(notifiers: Sequence[Notifier]) -> list[SuppressedNotifier]:
    """Return a channel that sends nothing for each one there is."""
    return [SuppressedNotifier(notifier.channel) for notifier in notifiers]
