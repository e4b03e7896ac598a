"""``trading-runtime config``: what a configuration comes to and where each value is from; the schema for
editors.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from trading_runtime.cli.arguments import (
    Subparsers,
    add_settings,
    add_verb,
    configured_by,
    loaded_cycle_settings,
    loaded_settings,
    print_json,
    table,
)
from trading_runtime.core.errors import EXIT_DONE


def add_parser(subparsers: Subparsers) -> None:
    """Register the group and its verbs."""
    group = add_verb(
        subparsers,
        "config",
        "show effective settings and the schema",
        "config show --config trading_runtime/local/local.json",
        "config schema",
    )
    verbs = group.add_subparsers(dest="config_verb", metavar="VERB", required=True)
    parser = add_verb(
        verbs,
        "show",
        "show every setting with its value and where it comes from",
        "config show --config trading_runtime/local/local.json",
        "config show --config trading_runtime/local/local.json --set account.cash=5000 --json",
        "config show --cycle --config trading_runtime/local/paper.json",
    )
    add_settings(parser)
    parser.add_argument("--cycle", action="store_true", help="the file is a cycle's configuration, not a backtest's")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=_show)
    parser = add_verb(
        verbs,
        "schema",
        "print the JSON schema of configurations, for editors",
        "config schema > configuration.schema.json",
        "config schema --cycle > cycle-configuration.schema.json",
    )
    parser.add_argument("--cycle", action="store_true", help="the schema of a cycle's configuration, not a backtest's")
    parser.set_defaults(handler=_schema)


def _show(arguments: argparse.Namespace) -> int:
    loaded = loaded_cycle_settings(arguments) if arguments.cycle else loaded_settings(arguments)
    with configured_by(loaded.path):
        from trading_runtime.config.strategies import load_strategy

        strategy = load_strategy(loaded.settings, loaded.folder)
    from trading_runtime.config.load import config_hash, flatten, settings_json

    effective = settings_json(loaded.settings)
    effective["strategy"] |= strategy.params.to_json()
    origins = {key: loaded.origins.get(key, "default") for key, _ in flatten(effective)}
    digest = config_hash(loaded.settings)
    if arguments.json:
        print_json({"settings": effective, "origins": origins, "config_hash": digest})
        return EXIT_DONE
    rows = [["setting", "value", "from"]]
    rows += [[key, _shown(value), origins[key]] for key, value in flatten(effective)]
    print(table(rows))
    print(f"\nhash of what can change a result  {digest}")
    return EXIT_DONE


def _schema(arguments: argparse.Namespace) -> int:
    from trading_runtime.config.schema_json import cycle_json_schema, json_schema

    print_json(cycle_json_schema() if arguments.cycle else json_schema())
    return EXIT_DONE


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
