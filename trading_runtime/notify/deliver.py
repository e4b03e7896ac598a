"""A message to all channels. Observability fails open: whatever a channel does, the others get the message and the
caller gets an answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from trading_runtime.notify.port import Delivery, Message, Notifier, delivery_of
from trading_runtime.telemetry.redact import redact

_DETAIL_LENGTH_MAX = 200


def deliver(notifiers: Sequence[Notifier], message: Message) -> list[Delivery]:
    """Send ``message`` to each channel, in their order; returns one delivery for each. Raises nothing a channel raises.

    Secrets are taken out of the text before any channel sees it; hash and length are those of the text that was sent.
    Only the end of the process (KeyboardInterrupt, which SIGTERM is too) passes: it is not the channel's doing.
    """
    if not notifiers:
        return []
    clean = message._replace(text=redact(message.text))
    return [_delivered(notifier, clean) for notifier in notifiers]


def _delivered(notifier: Notifier, message: Message) -> Delivery:
    channel = type(notifier).__name__
    try:
        channel = _one_line(notifier.channel)
        delivery: object = notifier.send(message)
        if isinstance(delivery, Delivery):
            # Hash and length are made here: what records keep of a message does not depend on a channel.
            return delivery_of(
                message,
                channel,
                delivered=delivery.delivered is True,
                detail=_one_line(delivery.detail),
                attempts=int(delivery.attempts),
            )
        detail = f"the channel answered with {type(delivery).__name__}, not with a delivery"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told in the delivery
        # The type alone: the message of a network error holds the address, and the address holds the token.
        detail = f"the channel failed: {type(error).__name__}"
    return delivery_of(message, channel, delivered=False, detail=detail, attempts=0)


def _one_line(text: object) -> str:
    line = " ".join(redact(str(text)).split())
    return line if len(line) <= _DETAIL_LENGTH_MAX else f"{line[: _DETAIL_LENGTH_MAX - 3]}..."
