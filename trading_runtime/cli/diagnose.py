"""``trading-runtime diagnose``: why was there no trade? For one cycle, a day or a month, as a table or JSON.

It reads the journal of a configuration's account; no store is made and nothing is written into one.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trading_runtime.cli.arguments import Subparsers, add_verb, print_json, table
from trading_runtime.cli.sessions import add_cycle_config, opened_journal, told_progress
from trading_runtime.core.errors import EXIT_DONE, ConfigurationError

if TYPE_CHECKING:
    from trading_runtime.cycle.diagnose import Diagnosis, Period
    from trading_runtime.stores.journal import Journal

_TRADES_SHOWN = 20
_DETAIL_LENGTH_MAX = 160


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "diagnose",
        "why was there no trade? for a cycle, a day or a month",
        "diagnose --config trading_runtime/local/paper.json",
        "diagnose --config trading_runtime/local/paper.json --day 2023-06-05",
        "diagnose --config trading_runtime/local/paper.json --month 2023-06 --json",
    )
    add_cycle_config(parser)
    period = parser.add_mutually_exclusive_group()
    period.add_argument(
        "--slot", metavar="TIME", default="", help="the bar close of one cycle, ISO or epoch seconds (the newest)"
    )
    period.add_argument("--day", metavar="YYYY-MM-DD", help="a day, UTC")
    period.add_argument("--month", metavar="YYYY-MM", help="a month, UTC")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer, and return the exit code."""
    from trading_runtime.cycle.diagnose import diagnose

    period = _asked(arguments)
    with opened_journal(arguments) as opened:
        if period is None:
            period = _newest(opened.journal)
        if period is None:
            text = f"the journal of {opened.journal.name} is empty: no cycle has decided in this store"
            if arguments.json:
                print_json({"journal": opened.journal.name, "period": None, "answer": text})
            else:
                print(text)
            return EXIT_DONE
        found = diagnose(opened.journal, period, told_progress("slots"), os.environ)
    if arguments.json:
        print_json(found.to_json())
    else:
        print(diagnosis_text(found))
    return EXIT_DONE


def diagnosis_text(found: Diagnosis) -> str:
    """Return the answer as people read it."""
    missing = found.slots_without_decision
    rows = [
        ["journal", found.journal],
        ["period", f"{found.period.kind} {found.period.label} (UTC)"],
        ["answer", found.answer],
        ["decisions", f"{found.decisions:,}"],
    ]
    if missing["count"]:
        between = missing["first"] if missing["count"] == 1 else f"{missing['first']} to {missing['last']}"
        rows.append(["without", f"{missing['count']:,} slot(s) have no decision: {between}; see the cycles' reports"])
    for status, one in sorted(found.undecided.items()):
        reason = f": {_cut(one['last_reason'])}" if one["last_reason"] else ""
        rows.append(["cycles", f"{one['count']:,} ended as {status} without a decision{reason}"])
    for span in found.degraded:
        rows.append(["degraded", f"{span['source_kind']}, {span['decisions']:,} decision(s), {_span(span)}"])
    parts = [table(rows)]
    if found.trades:
        parts.append(_trades(found.trades))
    for title, gates in found.gates.items():
        if gates:
            lines = [["gate", "count", "symbols", "last slot", "last detail"]]
            lines += [
                [one.gate, f"{one.count:,}", ", ".join(one.symbols) or "–", one.last_slot, _cut(one.last_detail)]
                for one in gates
            ]
            parts.append(f"{title}\n{table(lines, right=(1,), indent='  ')}")
    if found.candidates:
        rows = _candidates(found)
        parts.append(f"Candidates\n{table(rows, right=(1, 2), indent='  ')}")
    return "\n\n".join(parts)


def _asked(arguments: argparse.Namespace) -> Period | None:
    """Return the period that was asked for, None for the newest slot."""
    from trading_runtime.cli.cycle import parse_slot
    from trading_runtime.core.timeframes import DAY_MS, iso_time, parse_time
    from trading_runtime.cycle.diagnose import Period

    if arguments.day:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", arguments.day):
            raise ConfigurationError(f"--day: {arguments.day!r} is not a day such as 2023-06-05")
        first = _time("--day", arguments.day, parse_time)
        return Period("day", arguments.day, first, first + DAY_MS)
    if arguments.month:
        if not re.fullmatch(r"\d{4}-\d{2}", arguments.month):
            raise ConfigurationError(f"--month: {arguments.month!r} is not a month such as 2023-06")
        first = _time("--month", f"{arguments.month}-01", parse_time)
        # The 31st day after a first is always of the next month.
        later = iso_time(first + 31 * DAY_MS)[:7]
        return Period("month", arguments.month, first, parse_time(f"{later}-01"))
    slot = parse_slot(arguments.slot)
    return None if slot is None else _of_slot(slot)


def _time(option: str, text: str, parse: Any) -> int:
    try:
        time_ms: int = parse(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{option}: {error}") from None
    return time_ms


def _newest(journal: Journal) -> Period | None:
    from trading_runtime.cycle.diagnose import newest_slot

    slot = newest_slot(journal)
    return None if slot is None else _of_slot(slot)


def _of_slot(slot: int) -> Period:
    from trading_runtime.core.timeframes import iso_time
    from trading_runtime.cycle.diagnose import Period

    return Period("slot", iso_time(slot), slot, slot + 1)


def _trades(trades: Sequence[dict[str, Any]]) -> str:
    lines = [["slot", "side", "quantity", "symbol", "price", "value", "order"]]
    lines += [
        [
            one["slot"],
            one["side"],
            "–" if one["quantity"] is None else one["quantity"],
            one["symbol"],
            repr(one["price"]),
            "–" if one["value"] is None else one["value"],
            one["order_id"],
        ]
        for one in trades[-_TRADES_SHOWN:]
    ]
    more = len(trades) - _TRADES_SHOWN
    title = f"Trades (the last {_TRADES_SHOWN} of {len(trades):,})" if more > 0 else "Trades"
    return f"{title}\n{table(lines, right=(2, 4, 5), indent='  ')}"


def _candidates(found: Diagnosis) -> list[list[str]]:
    if found.period.kind == "slot":
        lines = [["symbol", "score", "momentum", "selected", "reasons"]]
        for one in found.candidates:
            numbers = [
                "unknown" if one[name] is None else f"{one[name]:.6f}"
                for name in ("relative_score", "absolute_momentum")
            ]
            lines.append([one["symbol"], *numbers, _yes(one["selected"]), ", ".join(one["reasons"]) or "–"])
        return lines
    lines = [["symbol", "decisions", "selected", "rejected for"]]
    for one in found.candidates:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in one["reasons"].items())
        lines.append([one["symbol"], f"{one['decisions']:,}", f"{one['selected']:,}", reasons or "–"])
    return lines


def _yes(value: bool | None) -> str:
    return "unknown" if value is None else "yes" if value else "no"


def _span(span: dict[str, Any]) -> str:
    return span["first"] if span["first"] == span["last"] else f"{span['first']} to {span['last']}"


def _cut(text: str) -> str:
    return text if len(text) <= _DETAIL_LENGTH_MAX else f"{text[: _DETAIL_LENGTH_MAX - 1]}…"
