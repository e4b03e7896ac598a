"""``trading-runtime replay``: decide recorded slots again, from the journal alone. The deciding is in
``trading_runtime/cycle/replay.py``.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from trading_runtime.cli.arguments import Subparsers, add_verb, print_json, table
from trading_runtime.cli.cycle import parse_slot
from trading_runtime.cli.sessions import add_journal, recorded_session, strategy_of, told_progress
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING
from trading_runtime.core.timeframes import iso_time

if TYPE_CHECKING:
    from trading_runtime.cycle.replay import SessionReplay

_SHOWN_MAX = 20
_VALUE_LENGTH_MAX = 80


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "replay",
        "decide recorded slots again from what they saw; exits with 3 when one comes out differently",
        "replay --config trading_runtime/local/paper.json",
        "replay --config trading_runtime/local/paper.json --slot 2023-06-05T15:00:00Z",
        "replay --journal session.jsonl --json",
    )
    add_journal(parser, "replay this exported session; no configuration is needed")
    parser.add_argument("--session", metavar="ID", help="a session (the newest)")
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--slot", metavar="TIME", default="", help="one slot only, ISO or epoch seconds")
    amount.add_argument("--all", action="store_true", help="every decision of the session (this is the default)")
    parser.add_argument(
        "--strategy", metavar="NAME", help="decide with another strategy than the recorded one, to see what it would do"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(handler=_replay)


def _replay(arguments: argparse.Namespace) -> int:
    from trading_runtime.cycle.replay import replay_session, replay_slot

    slot = parse_slot(arguments.slot)
    recorded = recorded_session(arguments, arguments.session)
    strategy = strategy_of(arguments, recorded)
    if slot is None:
        replay = replay_session(recorded, strategy, progress=told_progress("decisions"))
    else:
        replay = replay_slot(recorded, strategy, slot)
    if arguments.json:
        print_json(replay.to_json())
    else:
        print(text(replay))
    return EXIT_DONE if replay.is_same else EXIT_FINDING


def text(replay: SessionReplay) -> str:
    """Return a replay as people read it: the verdict, then each difference with the first field that differs."""
    count, differing = len(replay.decisions), replay.differing
    superseded = sum(one.superseded for one in replay.decisions)
    rows = [
        ["session", replay.session],
        ["strategy", replay.strategy],
        ["code", _code(replay)],
        ["decisions", f"{count:,} decided again" + (f", {superseded} of them superseded" if superseded else "")],
        ["", f"{len(differing):,} came out differently" if differing else "all came to the same bytes"],
        ["events", f"{replay.events:,}: {_chain(replay)}"],
    ]
    parts = [table(rows)]
    if differing:
        lines = [["entry", "slot", "first field that differs", "recorded", "now"]]
        for one in differing[:_SHOWN_MAX]:
            difference = one.difference
            cells = (
                [one.problem]
                if difference is None
                else [difference.path, *map(shown, (difference.recorded, difference.now))]
            )
            lines.append([str(one.sequence), iso_time(one.slot), *cells])
        parts.append(table(lines, right=(0,)))
    if len(differing) > _SHOWN_MAX:
        parts.append(f"and {len(differing) - _SHOWN_MAX:,} more (--json has all)")
    return "\n\n".join(parts)


def shown(value: Any) -> str:
    """Return a value on one line, cut where it is long."""
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return written if len(written) <= _VALUE_LENGTH_MAX else f"{written[: _VALUE_LENGTH_MAX - 3]}..."


def _code(replay: SessionReplay) -> str:
    if replay.recorded_code_hash is None:
        return f"{replay.code_hash[:12]} now; the session does not say which decided then"
    if replay.is_code_changed:
        return f"changed: {replay.recorded_code_hash[:12]} decided then, {replay.code_hash[:12]} now"
    return f"{replay.code_hash[:12]}, as recorded"


def _chain(replay: SessionReplay) -> str:
    broken = replay.chain
    if broken is None:
        return "they lead from the first state to each that a decision saw"
    where = f"they stop at entry {broken.sequence}"
    if broken.difference is None:
        return f"{where}: {broken.problem}"
    difference = broken.difference
    return f"{where}: {difference.path} was {shown(difference.recorded)}, they lead to {shown(difference.now)}"
