"""``trading-runtime preflight``: whether everything a start needs is there, line by line.

What is asked is ``cycle/preflight/``'s. Exit 0: all is there; 77: a person must change something; 75: something was
not to be reached, try again. No order is sent.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from trading_runtime.cli.arguments import (
    Subparsers,
    add_settings,
    add_verb,
    loaded_cycle_settings,
    print_json,
    table,
)
from trading_runtime.core.errors import ConfigurationError

if TYPE_CHECKING:
    from trading_runtime.cycle.preflight import Check


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "preflight",
        "check everything a live or paper start needs; no order is sent",
        "preflight --config examples/live_binance.yaml",
        "preflight --config trading_runtime/local/paper.json --mode paper --json",
    )
    add_options(parser)
    parser.set_defaults(handler=_preflight)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a verb that checks."""
    add_settings(parser)
    parser.add_argument("--mode", choices=("live", "paper"), default="live", help="what is to be started (live)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _preflight(arguments: argparse.Namespace) -> int:
    from trading_runtime.cycle.clock import SystemClock
    from trading_runtime.cycle.preflight import nothing_checked, preflight

    try:
        loaded = loaded_cycle_settings(arguments)
    except ConfigurationError as error:
        return tell(arguments, nothing_checked(error))
    return tell(arguments, preflight(loaded, arguments.mode, os.environ, SystemClock()))


def tell(arguments: argparse.Namespace, checks: list[Check]) -> int:
    """Print what was checked, and return the exit code."""
    from trading_runtime.cycle.preflight import exit_code

    code = exit_code(checks)
    if arguments.json:
        print_json({"mode": arguments.mode, "exit_code": code, "checks": [one.to_json() for one in checks]})
    else:
        print(text_of(checks, arguments.mode))
    return code


def text_of(checks: list[Check], mode: str) -> str:
    """Return the lines as people read them, and one that sums them up."""
    counts = {outcome: sum(one.outcome == outcome for one in checks) for outcome in _SUMMARY}
    told = [f"{count} × {outcome}" for outcome, count in counts.items() if count]
    blocked = counts["failed"] or counts["unreachable"]
    end = f"not ready for {mode}" if blocked else f"ready for {mode}"
    return (
        f"{table([[one.outcome, one.name, one.detail] for one in checks])}\n\n{end}{': ' * bool(told)}{', '.join(told)}"
    )


_SUMMARY = ("failed", "unreachable", "not checked", "warning")
