"""The tree of verbs: which exist and in which order the help lists them. What each one does is in its own
file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from trading_runtime.cli.arguments import Parser, examples

# Verb and its module, in the order of the help.
VERBS = {
    "backtest": "backtest",
    "sweep": "sweep",
    "cycle": "cycle",
    "status": "status",
    "diagnose": "diagnose",
    "control": "control",
    "watch": "watch",
    "preflight": "preflight",
    "validate": "validate",
    "artifact": "artifact",
    "reconcile": "reconcile",
    "replay": "replay",
    "replay-fixture": "replay_fixture",
    "compare-live": "compare_live",
    "journal": "journal",
    "strategies": "strategies",
    "data": "data",
    "verify": "verify",
    "report": "report",
    "compare": "compare",
    "argo": "argo",
    "config": "config",
}


class _Version(argparse.Action):
    """``--version``: the commit is looked up only when somebody asks."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        import trading_runtime
        from trading_runtime.provenance import code_commit

        print(f"trading-runtime {trading_runtime.__version__} (commit {code_commit()})")
        parser.exit()


def make_parser(words: Sequence[str] = ()) -> Parser:
    """Return the parser of the whole command; of one verb alone when ``words`` begin with it, which loads and costs a
    quarter.
    """
    parser = Parser(
        prog="trading-runtime",
        description="One runtime for crypto strategies: "
        "the live decision and the backtest decision come from one pure function.",
        epilog=examples(
            "backtest --config trading_runtime/local/local.json",
            "strategies show sma_cross",
            "backtest --help",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print version and commit")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    wanted = words[0] if words else ""
    for module in [VERBS[wanted]] if wanted in VERBS else VERBS.values():
        import_module(f"trading_runtime.cli.{module}").add_parser(verbs)
    return parser
