"""``trading-runtime journal``: verify, show and export what cycles have written down. Looking makes no store and writes
nothing into one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from trading_runtime.cli.arguments import Subparsers, add_verb, print_json, table
from trading_runtime.cli.sessions import OpenJournal, add_cycle_config, add_journal, chosen_session, opened_journal
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, ConfigurationError, DataError
from trading_runtime.core.timeframes import iso_time

if TYPE_CHECKING:
    from trading_runtime.stores.journal import Entry, Finding, Head, Journal

_KINDS = ("session", "bars", "decision", "events", "cycle")


def add_parser(subparsers: Subparsers) -> None:
    """Register the group and its verbs."""
    group = add_verb(
        subparsers,
        "journal",
        "verify, show and export what cycles have written down",
        "journal verify --config trading_runtime/local/paper.json",
        "journal show --config trading_runtime/local/paper.json --session newest --kind decision",
        "journal export --config trading_runtime/local/paper.json --output session.jsonl",
    )
    verbs = group.add_subparsers(dest="journal_verb", metavar="VERB", required=True)
    parser = add_verb(
        verbs,
        "verify",
        "prove that no entry was altered, dropped, moved or cut off; exits with 3 when one was",
        "journal verify --config trading_runtime/local/paper.json",
        "journal verify --journal session.jsonl",
    )
    add_journal(parser, "verify this exported session instead")
    parser.add_argument("--session", metavar="ID", help="one session only, or newest (all)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=_verify)
    parser = add_verb(
        verbs,
        "show",
        "list sessions, or the entries of one",
        "journal show --config trading_runtime/local/paper.json",
        "journal show --config trading_runtime/local/paper.json --session newest --slot 2023-06-05T15:00:00Z",
        "journal show --config trading_runtime/local/paper.json --entry 12",
    )
    add_journal(parser, "show this exported session instead")
    parser.add_argument("--session", metavar="ID", help="a session, or newest")
    parser.add_argument("--kind", choices=_KINDS, help="entries of this kind only")
    parser.add_argument("--slot", metavar="TIME", default="", help="entries of this slot only, ISO or epoch seconds")
    parser.add_argument("--entry", metavar="N", type=int, help="one entry, whole")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=_show)
    parser = add_verb(
        verbs,
        "export",
        "write a session as JSON lines, each exactly as it was recorded",
        "journal export --config trading_runtime/local/paper.json --output session.jsonl",
        "journal export --config trading_runtime/local/paper.json --session newest > session.jsonl",
    )
    add_cycle_config(parser)
    parser.add_argument("--session", metavar="ID", default="newest", help="a session (the newest)")
    parser.add_argument("--output", metavar="FILE", help="write to this file (standard output)")
    parser.set_defaults(handler=_export)


def _verify(arguments: argparse.Namespace) -> int:
    findings: dict[str, list[Finding]] = {}
    counts: dict[str, int] = {}
    if arguments.journal:
        from trading_runtime.stores.journal_check import verify_export

        lines = _lines(Path(arguments.journal))
        findings[arguments.journal] = verify_export(lines)
        counts[arguments.journal] = len(lines)
    else:
        with opened_journal(arguments) as opened:
            heads = _expected_heads(opened)
            sessions = sorted({*opened.journal.sessions(), *heads})
            if arguments.session is not None:
                sessions = [chosen_session(opened, arguments.session)]
            for session in sessions:
                findings[session] = opened.journal.verify(session, heads.get(session))
                counts[session] = _count(opened.journal, session)
    bad = any(findings.values())
    if arguments.json:
        print_json(
            {
                "intact": not bad,
                "sessions": [
                    {"session": name, "entries": counts[name], "findings": [one._asdict() for one in found]}
                    for name, found in findings.items()
                ],
            }
        )
    else:
        rows = [["session", "entries", "verdict"]]
        rows += [
            [name, f"{counts[name]:,}", f"{len(found)} finding(s)" if found else "intact"]
            for name, found in findings.items()
        ]
        print(table(rows, right=(1,)) if findings else "no session")
        for name, found in findings.items():
            for one in found:
                place = "the session" if one.sequence < 0 else f"entry {one.sequence}"
                print(f"{name}: {place}: {one.what}")
    return EXIT_FINDING if bad else EXIT_DONE


def _expected_heads(opened: OpenJournal) -> dict[str, Head]:
    """Return the last entry of each session as others know it: the account's document, and the session that came
    after.
    """
    from trading_runtime.core.errors import StoreDamaged
    from trading_runtime.stores.journal import Head

    heads: dict[str, Head] = {}
    for session in opened.journal.sessions():
        try:
            previous = opened.journal.entry(session, 0).content.get("previous")
        except (StoreDamaged, ConfigurationError):
            continue  # a finding of that session itself
        if previous and previous["head"]:
            heads[previous["session"]] = Head(*previous["head"])
    if opened.session is not None and opened.head is not None:
        heads[opened.session] = opened.head
    return heads


def _count(journal: Journal, session: str) -> int:
    from trading_runtime.core.errors import StoreDamaged

    try:
        return journal.head(session).sequence + 1
    except (StoreDamaged, ConfigurationError):
        return 0  # a finding


def _show(arguments: argparse.Namespace) -> int:
    is_one = arguments.session or arguments.kind or arguments.slot or arguments.entry is not None or arguments.journal
    if not is_one:
        with opened_journal(arguments) as opened:
            return _show_sessions(opened, as_json=arguments.json)
    if arguments.journal:
        from trading_runtime.stores.journal_check import read_export

        return _show_entries(arguments, list(read_export(_lines(Path(arguments.journal)))))
    with opened_journal(arguments) as opened:
        session = chosen_session(opened, arguments.session)
        if arguments.entry is not None:
            last = opened.journal.head(session).sequence
            if not 0 <= arguments.entry <= last:
                raise DataError(f"session {session} has no entry {arguments.entry}: the last one is {last}")
            entries = [opened.journal.entry(session, arguments.entry)]
        else:
            entries = list(opened.journal.entries(session))
    return _show_entries(arguments, entries)


def _show_sessions(opened: OpenJournal, *, as_json: bool) -> int:
    from trading_runtime.cycle.recorded import sessions_in_time

    found = []
    for session, first in sessions_in_time(opened.journal).items():
        content = first.content
        strategy = content.get("strategy")
        found.append(
            {
                "session": session,
                "entries": _count(opened.journal, session),
                "start_slot": iso_time(content["start_slot"]),
                "mode": content["mode"],
                "symbols": content["symbols"],
                "timeframe": content["timeframe"],
                "strategy": strategy.get("class") if isinstance(strategy, dict) else None,
                "commit": content.get("commit"),
                "newest": session == opened.session,
            }
        )
    if as_json:
        print_json(found)
        return EXIT_DONE
    rows = [["session", "entries", "first slot", "mode", "market", "strategy", "commit"]]
    for one in found:
        market = f"{', '.join(one['symbols'])} {one['timeframe']}"
        commit = (one["commit"] or "–")[:12]
        rows.append(
            [
                one["session"],
                f"{one['entries']:,}",
                one["start_slot"],
                one["mode"],
                market,
                one["strategy"] or "–",
                commit,
            ]
        )
    print(table(rows, right=(1,)) if found else f"the journal of {opened.journal.name} is empty")
    return EXIT_DONE


def _show_entries(arguments: argparse.Namespace, entries: list[Entry]) -> int:
    from trading_runtime.cli.cycle import parse_slot

    slot = parse_slot(arguments.slot)
    kept = [
        entry
        for entry in entries
        if (arguments.kind is None or entry.kind == arguments.kind)
        and (slot is None or entry.slot == slot)
        and (arguments.entry is None or entry.sequence == arguments.entry)
    ]
    if arguments.entry is not None and not kept:
        raise DataError(f"there is no entry {arguments.entry}: the last one is {entries[-1].sequence}")
    if arguments.entry is not None:
        print_json(kept[0]._asdict())
    elif arguments.json:
        print_json([entry._asdict() for entry in kept])
    else:
        rows = [["entry", "kind", "slot", "written", "content"]]
        for entry in kept:
            when = "–" if entry.slot is None else iso_time(entry.slot)
            rows.append([str(entry.sequence), entry.kind, when, entry.time, _summary(entry)])
        print(table(rows, right=(0,)))
    return EXIT_DONE


def _summary(entry: Entry) -> str:
    """Return what an entry holds, in a few words."""
    content = entry.content
    if entry.kind == "session":
        return f"{content['mode']}, {', '.join(content['symbols'])} {content['timeframe']}"
    if entry.kind == "decision":
        decision = content["decision"]
        counts = [f"{len(decision[name])} {name}" for name in ("orders", "cancels", "refusals") if decision[name]]
        return ", ".join(counts) or "nothing to do"
    if entry.kind == "events":
        return ", ".join(
            name if count == 1 else f"{name} ×{count}"
            for name, count in Counter(event["event"] for event in content["events"]).items()
        )
    if entry.kind == "bars":
        return ", ".join(f"{len(rows)} of {symbol}" for symbol, rows in content["rows"].items())
    if entry.kind == "cycle":
        return f"{content['status']}{': ' if content['reason'] else ''}{content['reason']}"
    return json.dumps(content)[:80]


def _export(arguments: argparse.Namespace) -> int:
    import io

    from trading_runtime.data.atomic import write_whole

    with opened_journal(arguments) as opened:
        session = chosen_session(opened, arguments.session)
        if arguments.output is None:
            sys.stdout.flush()
            head = opened.journal.export(session, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            whole = io.BytesIO()
            head = opened.journal.export(session, whole)
            write_whole(Path(arguments.output), whole.getvalue())
    print(f"session {session}: {head.sequence + 1:,} entries, the last one's hash is {head.hash}", file=sys.stderr)
    return EXIT_DONE


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
