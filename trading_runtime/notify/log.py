"""Messages as structured log lines: the channel that is always there."""

from __future__ import annotations

from trading_runtime.notify.port import Delivery, Message, delivery_of
from trading_runtime.telemetry.log import EventLog


class LogNotifier:
    """Writes each message as the event ``notification``. The log cleans the text as it does all others."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    @property
    def channel(self) -> str:
        return "log"

    def send(self, message: Message) -> Delivery:
        """Write the line; not delivered when the log's level or stream does not take it."""
        log = self._log if message.slot is None else self._log.bind(slot=message.slot)
        written = log.info("notification", kind=message.kind, text=message.text)
        detail = "" if written else "the log does not take lines of level info"
        return delivery_of(message, self.channel, delivered=written, detail=detail, attempts=1)
