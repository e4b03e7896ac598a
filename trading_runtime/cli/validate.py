"""``trading-runtime validate``: preflight's lines and the artifact, without trading and without writing anything.

What is asked is ``cycle/preflight/``'s. Exit 0: all is there; 77: a person must change something; 75: something was
not to be reached, try again.
"""

from __future__ import annotations

import argparse
import os

from trading_runtime.cli.arguments import Subparsers, add_verb, loaded_cycle_settings
from trading_runtime.cli.preflight import add_options, tell
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
    add_options(parser)
    parser.set_defaults(handler=_validate)


def _validate(arguments: argparse.Namespace) -> int:
    from trading_runtime.cycle.clock import SystemClock
    from trading_runtime.cycle.preflight import VALIDATE_NAMES, nothing_checked, validate

    try:
        loaded = loaded_cycle_settings(arguments)
    except ConfigurationError as error:
        return tell(arguments, nothing_checked(error, VALIDATE_NAMES))
    return tell(arguments, validate(loaded, arguments.mode, os.environ, SystemClock()))
