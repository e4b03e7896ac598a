"""After a cycle: its messages to each channel that has not had them, and what became of each, into the report.

Nothing that happens here changes how the cycle ended: a channel that fails, a record that cannot be read, even a defect
in making a text are told in ``report.notifications`` and the log, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trading_runtime.cycle.messages import messages_of
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.told.record import ToldRecord
from trading_runtime.notify.deliver import deliver
from trading_runtime.notify.port import Delivery, Message, Notifier
from trading_runtime.telemetry.log import EventLog


def channels_of(mode: str, log: EventLog, environment: Mapping[str, str], *, telegram: bool) -> list[Notifier]:
    """Return who is told: the log, and the chats that the environment names if ``telegram`` is wanted. A dry run sends
    nothing to them, and records that.
    """
    from trading_runtime.notify.log import LogNotifier

    log_channel: list[Notifier] = [LogNotifier(log)]
    if not telegram:
        return log_channel
    from trading_runtime.notify import telegram as chats
    from trading_runtime.notify.dry_run import suppressed

    found = chats.telegram_notifiers(environment)
    return [*log_channel, *(suppressed(found) if mode == "dry-run" else found)]


def tell(
    report: CycleReport,
    notifiers: Sequence[Notifier],
    record: ToldRecord | None,
    log: EventLog,
    *,
    language: str = "en",
    status_hours: int = 0,
) -> None:
    """Deliver the messages of ``report`` and note the deliveries in it: hash, length and fate, never the text.

    Without a ``record`` everything is told each time. Raises nothing but what ends the process.
    """
    try:
        for message in messages_of(report, language, status_hours=status_hours):
            for notifier in notifiers:
                if record is not None and record.is_told(_name(notifier), message):
                    continue
                for delivery in deliver([notifier], message):
                    _note(report, record, message, delivery)
        if record is not None:
            record.save()
            if record.trouble:
                log.warning("told_record_unusable", path=record.path, detail=record.trouble)
    except Exception as error:  # noqa: BLE001 - told in the report and the log; the cycle is over and done
        detail = f"the messages of this cycle failed: {type(error).__name__}"
        report.notifications.append({"kind": "", **Delivery("", False, detail, "", 0, 0)._asdict()})
        log.error("telling_failed", detail=f"{type(error).__name__}: {error}")


def _note(report: CycleReport, record: ToldRecord | None, message: Message, delivery: Delivery) -> None:
    report.notifications.append({"kind": message.kind, **delivery._asdict()})
    if record is not None and delivery.delivered:
        record.note(delivery.channel, message)


def _name(notifier: Notifier) -> str:
    """What the channel is called; whatever is wrong with it, ``deliver`` says."""
    try:
        return notifier.channel
    except Exception:  # noqa: BLE001 - see above
        return ""
