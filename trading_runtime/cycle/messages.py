"""What people are told of a cycle: nothing when nothing happened, else a message for each kind of thing that did.

Texts are plain, bounded and without secrets. Which channel gets them, and which it has had already, is decided in
``told/telling.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from trading_runtime.core.errors import EXIT_DEFECT
from trading_runtime.core.hashing import json_hash
from trading_runtime.core.orders import parse_client_order_id
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.report import CycleReport
from trading_runtime.cycle.told.effects import movements_of
from trading_runtime.cycle.told.facts import flag_of, mapping_of, number_of, part_of, text_of, texts_of
from trading_runtime.cycle.told.status_message import has_status, status_bucket, status_lines
from trading_runtime.cycle.told.wording import Wording
from trading_runtime.notify.port import Message
from trading_runtime.telemetry.redact import redact

# These end a cycle that had nothing to tell by itself.
_QUIET: Final = frozenset({"done", "already_done", "nothing_new", "not_mine", "warming_up"})
_LINES_MAX: Final = 12
_LINE_LENGTH_MAX: Final = 400
# What the ladder says of its steps: the last word is the reason.
_ARTIFACT_MESSAGES_MAX: Final = 3
# The error of a crash, in characters: what a library put into it may be long.
CRASH_LENGTH_MAX: Final = 200

# Gates that are no news: the market gives no signal, or what was wanted has been done today already. The report and
# ``diagnose`` have them all.
QUIET_GATES: Final = frozenset(
    {
        "trend_no_selected_candidate",
        "trend_no_eligible_buy",
        "trend_buy_duplicate_cooldown",
        "circuit_breaker_sell_below_min_position",
        "btc_dca_pool_too_small",
        "btc_dca_buy_valuation_gate_off",
        "btc_dca_buy_duplicate_cooldown",
        "btc_dca_sell_below_min_position",
        "btc_dca_sell_duplicate_cooldown",
    }
)


def messages_of(report: CycleReport, language: str = "en", *, status_hours: int = 0) -> list[Message]:
    """Return the messages of a cycle, the gravest first, in ``language`` (en or zh).

    ``status_hours`` is the interval of the periodic status, 0 for none. Raises ValueError for an unknown language.
    """
    wording = Wording(language)
    found = [
        _general(report, wording),
        _breaker(report, wording),
        _failures(report, wording),
        _trades(report, wording),
        _missed(report, wording),
        _artifact(report, wording),
        _excluded(report, wording),
        _suspended(report, wording),
        _skipped(report, wording),
        _status(report, wording, status_hours),
    ]
    return [message._replace(text=redact(message.text)) for message in found if message is not None]


def message_of(report: CycleReport) -> Message | None:
    """Return all messages of a cycle as one, in English; None when nobody needs one."""
    messages = messages_of(report)
    if not messages:
        return None
    return messages[0]._replace(text="\n\n".join(message.text for message in messages), once="")


def last_facts(report: CycleReport) -> Mapping[str, Any]:
    """Return the facts of the decision for the report's slot, empty when it made none."""
    if not report.decisions or report.slot is None:
        return {}
    last = report.decisions[-1]
    return part_of(last, "facts") if last.get("slot") == iso_time(report.slot) else {}


def intent_facts(report: CycleReport, order_id: str, symbol: str) -> Mapping[str, Any]:
    """Return what a decision of this cycle said of the intent that an order came from."""
    parts = parse_client_order_id(order_id)
    if parts is None:
        return {}
    for decision in report.decisions:
        if decision.get("slot") == iso_time(parts.slot):
            found = part_of(part_of(decision.get("facts"), "intents"), f"{symbol} {parts.leg}")
            if found:
                return found
    return {}


def _message(
    report: CycleReport, wording: Wording, kind: str, title: str, lines: Sequence[str], once: str = ""
) -> Message:
    slot = "" if report.slot is None else f" {iso_time(report.slot)}"
    who = f"{report.account} {report.strategy} [{report.mode}]{slot}"
    kept = [_bounded(line) for line in lines[:_LINES_MAX]]
    if len(lines) > _LINES_MAX:
        kept.append(wording("more", count=len(lines) - _LINES_MAX))
    return Message(kind, "\n".join([wording("head", who=who, title=title), *kept]), report.slot, once)


def _bounded(line: str) -> str:
    line = " ".join(redact(line).split())  # before the cut: half a secret is no longer recognised
    return line if len(line) <= _LINE_LENGTH_MAX else f"{line[: _LINE_LENGTH_MAX - 1]}…"


def _day(report: CycleReport) -> str:
    return "" if report.slot is None else iso_time(report.slot)[:10]


def _general(report: CycleReport, wording: Wording) -> Message | None:
    """How the cycle ended, when that is not as usual."""
    accounts = [wording("account", detail=one["detail"]) for one in report.mismatches if one["blocks"]]
    if report.defect or (report.status == "failed" and report.exit_code == EXIT_DEFECT):
        error = redact(report.reason)[:CRASH_LENGTH_MAX]
        return _message(report, wording, "crash", wording("title_crash"), [wording("crash", error=error), *accounts])
    fates = [wording("fate_unknown", order=one["order_id"]) for one in report.orders if one["phase"] == "claimed"]
    if report.status in _QUIET:
        if not accounts and not fates:
            return None
        return _message(report, wording, "account", wording("title_account"), [*fates, *accounts])
    title = wording.named("status", report.status)
    return _message(report, wording, report.status, title, [report.reason or title, *fates, *accounts])


def _breaker(report: CycleReport, wording: Wording) -> Message | None:
    """The strategy's own breaker, in the cycle it trips in; that of the account is how the cycle ended."""
    for decision in report.decisions:
        breaker = part_of(decision.get("facts"), "breaker")
        if flag_of(breaker, "tripped"):
            loss = wording(
                "breaker_loss",
                profit=wording.money(number_of(breaker, "profit")),
                base=wording.money(number_of(breaker, "base")),
                currency=_currency(report),
                fraction=wording.change(number_of(breaker, "profit_fraction")),
            )
            lines = [loss, wording("breaker_until")]
            return _message(report, wording, "breaker", wording("title_breaker"), lines)
    return None


def _failures(report: CycleReport, wording: Wording) -> Message | None:
    """Orders and savings operations that were wanted and not done, or may or may not have been."""
    lines = [
        wording("not_done", order=note["order_id"], detail=note.get("reason") or note.get("detail", ""))
        for note in report.notes
        if note["event"] in ("order_dropped", "order_rejected")
    ]
    lines += [wording("not_done", order=one["order_id"], detail=one["detail"]) for one in report.rejected]
    for one in movements_of(report):
        if one.outcome in ("failed", "unknown"):
            action = wording(one.action) if one.action in ("subscribe", "redeem") else one.action
            values = {"action": action, "amount": one.amount, "asset": one.asset}
            detail = {"detail": one.detail} if one.outcome == "failed" else {}
            lines.append(wording(f"earn_{one.outcome}", **values, **detail))
    return _message(report, wording, "failed_order", wording("title_failed"), lines) if lines else None


def _trades(report: CycleReport, wording: Wording) -> Message | None:
    lines = []
    for fill in report.fills:
        key = "bought" if fill["side"] == "buy" else "sold"
        trade = wording(key, quantity=fill["quantity"], symbol=fill["symbol"], price=wording.price(fill["price"]))
        told = _told_of(intent_facts(report, fill["order_id"], fill["symbol"]), wording)
        lines.append(wording("with_facts", trade=trade, facts=", ".join(told)) if told else trade)
    return _message(report, wording, "trade", wording("title_trade"), lines) if lines else None


def _told_of(facts: Mapping[str, Any], wording: Wording) -> list[str]:
    """Return what the decision said of an intent, as far as it did."""
    forms = {
        "budget": wording.money,
        "weight": wording.score,
        "relative_score": wording.score,
        "ahr999": wording.score,
        "zscore": wording.score,
        "sell_fraction": wording.share,
    }
    values = {name: number_of(facts, name) for name in forms}
    lines = [wording(name, value=form(values[name])) for name, form in forms.items() if values[name] is not None]
    reason = text_of(facts, "reason")
    return [*lines, wording("reason", value=wording.named("reason", reason))] if reason else lines


def _missed(report: CycleReport, wording: Wording) -> Message | None:
    """Bars that no cycle came for in time. Whoever plays history back misses none."""
    if not report.skipped_slots and not report.missed_slots:
        return None
    line = wording("missed", missed=len(report.missed_slots), skipped=len(report.skipped_slots))
    return _message(report, wording, "missed", wording("title_missed"), [line])


def _artifact(report: CycleReport, wording: Wording) -> Message | None:
    """The pool did not come fresh from upstream: once a day, and whenever that changes."""
    facts, publication = last_facts(report), mapping_of(report.publication)
    pool = part_of(facts, "pool") if text_of(part_of(facts, "pool"), "source_kind") else publication
    source, version, date = (text_of(pool, name) for name in ("source_kind", "version", "as_of_date"))
    is_missing = "pool" in facts and not source
    if not is_missing and not flag_of(pool, "degraded"):
        return None
    kind = "missing" if is_missing else "static" if source == "static" else "degraded"
    lines = []
    if not is_missing:
        unknown = wording("unknown")
        named = wording.named("source", source)
        lines.append(wording("artifact_source", source=named, version=version or unknown, date=date or unknown))
    lines += [_rung_line(text, wording) for text in texts_of(publication, "messages")[-_ARTIFACT_MESSAGES_MAX:]]
    lines.append(wording("artifact_entries"))
    once = f"{_day(report)} {json_hash([kind, source, version, date])[:16]}"
    return _message(report, wording, "artifact", wording(f"title_artifact_{kind}"), lines, once)


def _rung_line(text: str, wording: Wording) -> str:
    """What the ladder says of one of its steps: the step's name, and what was found."""
    rung, colon, found = text.partition(": ")
    return wording("rung", rung=wording.named("rung", rung), found=wording.said(found)) if colon else wording.said(text)


def _excluded(report: CycleReport, wording: Wording) -> Message | None:
    """Symbols of the pool that cannot be traded here: whenever they are others than before."""
    publication = mapping_of(report.publication)
    excluded = part_of(publication, "excluded")
    back = [symbol for note in report.notes if note["event"] == "pool_excluded" for symbol in note["back"]]
    lines = [
        wording("pool_excluded", symbol=symbol, reason=wording.said(str(excluded[symbol])))
        for symbol in sorted(excluded)
    ]
    lines += [wording("pool_back", symbol=symbol) for symbol in back]
    if not lines:
        return None
    # Told until a channel has it. That nothing is left out any more is told in the cycle that finds it.
    once = json_hash([sorted(excluded), text_of(publication, "excluded_since")])[:16] if excluded else ""
    return _message(report, wording, "excluded", wording("title_excluded"), lines, once)


def _suspended(report: CycleReport, wording: Wording) -> Message | None:
    """Holdings whose market does not trade: whenever they are others than before."""
    lines = [
        wording(
            "suspended",
            **{name: one[name] for name in ("symbol", "quantity", "since", "priced")},
            reason=wording.said(one["reason"]),
            price=wording.price(one["price"]),
        )
        for one in report.suspended
    ]
    lines += [wording("resumed", symbol=note["symbol"]) for note in report.notes if note["event"] == "holding_resumed"]
    if not lines:
        return None
    once = json_hash([[one["symbol"], one["since"]] for one in report.suspended])[:16] if report.suspended else ""
    return _message(report, wording, "suspended", wording("title_suspended"), lines, once)


def _skipped(report: CycleReport, wording: Wording) -> Message | None:
    """What gates have blocked of the newest decision: once a day, and whenever other gates block."""
    if not report.decisions:
        return None
    refusals = [one for one in report.decisions[-1]["refusals"] if one["gate"] not in QUIET_GATES]
    if not refusals:
        return None
    lines = []
    for one in refusals:
        what = " ".join(_present(one["symbol"], one["leg"])) or one["category"] or report.strategy
        gate = wording.named("gate", one["gate"])
        key = "blocked_detail" if one["detail"] else "blocked"
        lines.append(wording(key, what=what, gate=gate, **({"detail": one["detail"]} if one["detail"] else {})))
    names = sorted({(one["gate"], one["symbol"], one["leg"]) for one in refusals})
    once = f"{_day(report)} {json_hash([list(name) for name in names])[:16]}"
    return _message(report, wording, "skipped", wording("title_skipped"), lines, once)


def _status(report: CycleReport, wording: Wording, status_hours: int) -> Message | None:
    facts = last_facts(report)
    bucket = "" if report.slot is None else status_bucket(report.slot, status_hours)
    if not bucket or not has_status(facts):
        return None
    lines = status_lines(facts, _currency(report), wording)
    return _message(report, wording, "status", wording("title_status"), lines, bucket)


def _currency(report: CycleReport) -> str:
    return text_of(mapping_of(report.equity), "currency")


def _present(*texts: str) -> Iterable[str]:
    return [text for text in texts if text]
