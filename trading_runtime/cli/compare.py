"""``trading-runtime compare``: what differs between two results, down to the first fill that does. The
comparing is elsewhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trading_runtime.cli.arguments import Subparsers, add_verb, print_json, table
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING
from trading_runtime.core.timeframes import iso_time


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "compare",
        "say what differs between two results; exits with 3 when they traded differently",
        "compare results/local results/fast-10",
        "compare results/local results/fast-10 --json",
    )
    parser.add_argument("first", metavar="RESULT", help="folder of a finished run, or its result.json")
    parser.add_argument("second", metavar="RESULT", help="another one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(handler=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from trading_runtime.backtest.compare import compare_results

    comparison = compare_results(Path(arguments.first), Path(arguments.second))
    if arguments.json:
        print_json(comparison)
    else:
        print(_text(comparison))
    return EXIT_DONE if comparison["same_outcome"] else EXIT_FINDING


def _text(comparison: dict[str, Any]) -> str:
    digests = comparison["digest"]
    verdict = (
        "the same outcome: every fill, trade, equity value and metric"
        if comparison["same_outcome"]
        else "different outcomes"
    )
    if digests["first"] == digests["second"]:
        head = [["digest", digests["first"], "the same"]]
    else:
        head = [["digest", digests["first"], "first"], ["", digests["second"], "second"]]
    parts = [verdict, table(head)]
    for section, rows in comparison["differences"].items():
        if rows:
            lines = [[section, "first", "second"]]
            lines += [[f"  {row['key']}", _shown(row["first"]), _shown(row["second"])] for row in rows]
            parts.append(table(lines))
    first_rows = [
        [f"first differing row of {name}", _row(row)] for name, row in comparison["first_rows"].items() if row
    ]
    if first_rows:
        parts.append(table(first_rows))
    changed = [row for row in comparison["metrics"] if row["first"] != row["second"]]
    if changed:
        lines = [["metrics that differ", "first", "second", "difference"]]
        lines += [
            [f"  {row['label']}", _metric(row, "first"), _metric(row, "second"), _metric(row, "difference")]
            for row in changed
        ]
        parts.append(table(lines, right=(1, 2, 3)))
    return "\n\n".join(parts)


def _row(row: dict[str, Any]) -> str:
    when = f" ({row['time']})" if row.get("time") else ""
    if row["field"].endswith("time_ms"):
        row = {**row, "first": iso_time(row["first"]), "second": iso_time(row["second"])}
    return f"row {row['row']}{when}: {row['field']} {_shown(row['first'])} and {_shown(row['second'])}"


def _metric(row: dict[str, Any], side: str) -> str:
    from trading_runtime.backtest.metrics import METRICS
    from trading_runtime.cli.summary import figure

    metric = next(metric for metric in METRICS if metric.key == row["key"])
    return figure(metric, row[side])


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    text = str(value)
    return text if len(text) <= 64 else f"{text[:61]}..."
