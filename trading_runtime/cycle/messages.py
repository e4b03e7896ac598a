"""What people are told of a cycle: nothing when nothing happened, else a few lines of plain text."""

from __future__ import annotations

from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.report import CycleReport
from trading_runtime.notify.port import Message

# These end a cycle that had nothing to tell.
_QUIET = frozenset({"done", "already_done", "nothing_new", "not_mine", "warming_up"})
_LINES_MAX = 12


def message_of(report: CycleReport) -> Message | None:
    """Return the message of a cycle, None when nobody needs one."""
    lines = [
        f"{'bought' if fill['side'] == 'buy' else 'sold'} {fill['quantity']} {fill['symbol']} at {fill['price']!r}"
        for fill in report.fills
    ]
    lines += [
        f"not done: {note['order_id']} {note.get('reason') or note.get('detail', '')}".rstrip()
        for note in report.notes
        if note["event"] in ("order_dropped", "order_rejected")
    ]
    lines += [f"not done: {one['order_id']} {one['detail']}" for one in report.rejected]
    lines += [f"fate unknown: {one['order_id']}" for one in report.orders if one["phase"] == "claimed"]
    lines += [f"account: {one['detail']}" for one in report.mismatches if one["blocks"]]
    is_quiet = report.status in _QUIET
    if is_quiet and not lines:
        return None
    if not is_quiet:
        lines.insert(0, report.reason or report.status)
    slot = "" if report.slot is None else f" {iso_time(report.slot)}"
    head = f"{report.account} {report.strategy} [{report.mode}]{slot}: {report.status}"
    kind = "trade" if is_quiet else report.status
    more = [f"and {len(lines) - _LINES_MAX} more"] if len(lines) > _LINES_MAX else []
    return Message(kind, "\n".join([head, *lines[:_LINES_MAX], *more]), report.slot)
