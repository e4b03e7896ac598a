"""``trading-runtime strategies``: which strategies there are, and what one of them takes and needs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trading_runtime.cli.arguments import Subparsers, add_verb, print_json, table
from trading_runtime.core.errors import EXIT_DONE
from trading_runtime.core.timeframes import timeframe_ms


def add_parser(subparsers: Subparsers) -> None:
    """Register the group and its verbs."""
    group = add_verb(
        subparsers, "strategies", "list strategies, show one", "strategies list", "strategies show sma_cross"
    )
    verbs = group.add_subparsers(dest="strategies_verb", metavar="VERB", required=True)
    parser = add_verb(verbs, "list", "list the registered strategies", "strategies list", "strategies list --json")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=_list)
    parser = add_verb(
        verbs,
        "show",
        "show what a strategy does, its parameters, its columns and the bars it needs",
        "strategies show sma_cross",
        "strategies show my_strategies/idea.py:Idea --timeframe 15m --json",
    )
    parser.add_argument("name", metavar="NAME", help="a registered name, module:Class or path/to/file.py:Class")
    parser.add_argument("--timeframe", default="1h", help="length of the bars it would run on (1h)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(handler=_show)


def _list(arguments: argparse.Namespace) -> int:
    from trading_runtime.strategies import REGISTERED
    from trading_runtime.strategies.registry import find_strategy

    found = [
        {
            "name": name,
            "class": where,
            "summary": _summary(find_strategy(name)),
            "parameters": list(find_strategy(name).Params.declared),
        }
        for name, where in REGISTERED.items()
    ]
    if arguments.json:
        print_json(found)
        return EXIT_DONE
    rows = [["name", "parameters", "what it does"]]
    rows += [[str(one["name"]), ", ".join(one["parameters"]), str(one["summary"])] for one in found]
    print(table(rows))
    return EXIT_DONE


def _show(arguments: argparse.Namespace) -> int:
    import inspect

    from trading_runtime.config.strategies import strategy_name
    from trading_runtime.source import strategy_code_hash
    from trading_runtime.strategies.registry import find_strategy

    bar_ms = timeframe_ms(arguments.timeframe)
    kind = find_strategy(strategy_name(arguments.name, Path.cwd()))
    strategy = kind()
    values = strategy.params.to_json()
    module = inspect.getmodule(kind)
    document: dict[str, Any] = {
        "name": arguments.name,
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "summary": _summary(kind),
        "description": inspect.getdoc(module) or "" if module is not None else "",
        "parameters": {
            name: {
                "type": one.kind.__name__,
                "default": one.default,
                "minimum": one.minimum,
                "maximum": one.maximum,
                "step": one.step,
                "choices": None if one.choices is None else list(one.choices),
                "help": one.help,
            }
            for name, one in kind.Params.declared.items()
        },
        "columns": {name: expression.key(values) for name, expression in kind.columns.items()},
        "targets": None if kind.targets is None else kind.targets.key(values),
        "wake": None if kind.wake is None else kind.wake.key(values),
        "bars_needed": strategy.bars_needed(bar_ms),
        "timeframe": arguments.timeframe,
        "code_hash": strategy_code_hash(kind),
    }
    if arguments.json:
        print_json(document)
    else:
        print(_text(document))
    return EXIT_DONE


def _text(document: dict[str, Any]) -> str:
    parts = [f"{document['name']}  ({document['class']})\n{document['summary']}"]
    if document["description"]:
        parts.append(document["description"])
    rows = [["parameter", "default", "minimum", "maximum", "step", "what it is"]]
    for name, one in document["parameters"].items():
        choices = f" (one of {', '.join(str(choice) for choice in one['choices'])})" if one["choices"] else ""
        limits = ["" if one[key] is None else str(one[key]) for key in ("default", "minimum", "maximum", "step")]
        rows.append([name, *limits, f"{one['help']}{choices}"])
    parts.append(table(rows, right=(1, 2, 3, 4)) if len(rows) > 1 else "no parameters")
    columns = [[name, text] for name, text in document["columns"].items()]
    columns += [[name, document[name]] for name in ("targets", "wake") if document[name] is not None]
    if columns:
        parts.append("columns, with the defaults\n" + table(columns, indent="  "))
    parts.append(
        table(
            [
                ["bars needed", f"{document['bars_needed']} of {document['timeframe']}, with the defaults"],
                ["code hash", document["code_hash"]],
            ]
        )
    )
    return "\n\n".join(parts)


def _summary(kind: type) -> str:
    import inspect

    text = inspect.getdoc(kind) or ""
    return text.partition("\n\n")[0].replace("\n", " ").replace("``", "")
