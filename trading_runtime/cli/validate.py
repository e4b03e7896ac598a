"""``trading-runtime validate``: preflight's lines and the artifact, without trading and without writing anything.

What is asked is ``cycle/preflight/``'s. Exit 0: all is there; 77: a person must change something; 75: something was
not to be reached, try again.
"""

from __future__ import annotations

import argparse
import os

from trading_runtime.cli.arguments import Subparsers, add_settings, add_verb, loaded_cycle_settings, print_json
from trading_runtime.core.errors import ConfigurationError


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "validate",
        "check credentials, store, artifact, exchange and bars; nothing is sent, nothing is written",
        "validate --config examples/live_binance.yaml",
        "validate --config trading_runtime/local/paper.json --mode paper --json",
    )
    add_settings(parser)
    parser.add_argument("--mode", choices=("live", "paper"), default="live", help="what is to run (live)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=_validate)


def _validate(arguments: argparse.Namespace) -> int:
    from trading_runtime.cli.preflight import text_of
    from trading_runtime.cycle.clock import SystemClock
    from trading_runtime.cycle.preflight import VALIDATE_NAMES, exit_code, nothing_checked, validate

    try:
        loaded = loaded_cycle_settings(arguments)
    except ConfigurationError as error:
        checks = nothing_checked(error, VALIDATE_NAMES)
    else:
        checks = validate(loaded, arguments.mode, os.environ, SystemClock())
    code = exit_code(checks)
    if arguments.json:
        print_json({"mode": arguments.mode, "exit_code": code, "checks": [one.to_json() for one in checks]})
    else:
        print(text_of(checks, arguments.mode))
    return code
