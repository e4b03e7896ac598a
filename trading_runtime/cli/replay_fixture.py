"""``trading-runtime replay-fixture``: one cycle of the live-pool strategy on four snapshot files, dry, to the byte.

The cycle is in ``trading_runtime/cycle/fixture``; here it is started, printed and written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trading_runtime.cli.arguments import Subparsers, add_verb, print_json

NOW = "2026-03-15T00:00:00Z"


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "replay-fixture",
        "run one dry cycle of crypto_live_pool_rotation on fixed snapshots; two runs give the same bytes",
        "replay-fixture --fixtures-dir tests/data/cycle_replay",
        "replay-fixture --fixtures-dir tests/data/cycle_replay --run-id local-check --output report.json",
    )
    parser.add_argument(
        "--fixtures-dir",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder with account_balances_snapshot.json, initial_state_snapshot.json, market_data_snapshot.json and "
        "pool_input_snapshot.json",
    )
    parser.add_argument("--run-id", metavar="ID", default="replay-cycle", help="what the report calls this run")
    parser.add_argument("--now", metavar="TIME", default=NOW, help=f"the time it is, UTC ({NOW})")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write the report as JSON to this file")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of a table")
    parser.set_defaults(handler=_replay_fixture)


def _replay_fixture(arguments: argparse.Namespace) -> int:
    from trading_runtime.cli.cycle import summary
    from trading_runtime.core.hashing import canonical_json
    from trading_runtime.core.timeframes import parse_time
    from trading_runtime.cycle.fixture.run import run_fixture
    from trading_runtime.data.atomic import write_whole

    report = run_fixture(arguments.fixtures_dir, parse_time(arguments.now), arguments.run_id)
    if arguments.output is not None:
        write_whole(arguments.output, canonical_json(report.to_json()) + b"\n")
    if arguments.json:
        print_json(report.to_json())
    else:
        print(summary(report, arguments.output))
    if report.defect:
        print(report.defect, file=sys.stderr)
    if report.exit_code and not arguments.json:
        print(f"error: {report.reason}", file=sys.stderr)
    return report.exit_code
