"""What all verbs share: a parser that answers a wrong word with the nearest right one, in one line, and
text tables.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from trading_runtime.core.errors import EXIT_USAGE, ConfigurationError, nearest_name

Subparsers = Any  # argparse._SubParsersAction is generic only for type checkers


class Parser(argparse.ArgumentParser):
    """Options are never abbreviated, and what is wrong is told in one line with the nearest name there is."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)
        self._words: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._words = [str(word) for word in args or ()]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        self.exit(EXIT_USAGE, f"error: {self._explained(message)}\n")

    def unknown(self, words: Sequence[str]) -> NoReturn:
        """Refuse words that no argument takes."""
        options = [word for word in words if word.startswith("-")]
        if options:
            self.exit(EXIT_USAGE, f"error: {self._unknown_option(options[0])}\n")
        self.exit(EXIT_USAGE, f"error: {self.prog} does not take {words[0]!r} (see {self.prog} --help)\n")

    def verbs(self) -> dict[str, Parser]:
        """Return the parsers of the verbs below this one."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                return {name: parser for name, parser in action.choices.items() if isinstance(parser, Parser)}
        return {}

    def option_names(self) -> list[str]:
        """Return the long options this parser knows."""
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]

    def _explained(self, message: str) -> str:
        # Python's own wording varies from version to version; the argument and the word do not.
        wrong = re.match(r"argument (.+?): invalid choice: ('.*?'|\".*?\"|\S+)[ ,]", message)
        if wrong:
            word = wrong[2].strip("'\"")
            verbs = list(self.verbs())
            if wrong[1] in ("COMMAND", "VERB") and verbs:
                return f"{self.prog} has no {word!r}{_hint(word, verbs)} (it has {', '.join(verbs)})"
            choices = self._choices(wrong[1])
            return f"{wrong[1]} must be one of {', '.join(choices)}, not {word!r}{_hint(word, choices)}"
        if message.startswith("the following arguments are required: "):
            unknown = [word.partition("=")[0] for word in self._words if word.startswith("--")]
            unknown = [word for word in unknown if word not in self.option_names()]
            if unknown:
                return self._unknown_option(unknown[0])
            if self.verbs():
                return f"{self.prog} needs one of {', '.join(self.verbs())} (see {self.prog} --help)"
            missing = message.partition(": ")[2]
            return f"{self.prog} needs {missing} (see {self.prog} --help)"
        return f"{message} (see {self.prog} --help)"

    def _unknown_option(self, word: str) -> str:
        name = word.partition("=")[0]
        return f"{self.prog} has no option {name}{_hint(name, self.option_names())} (see {self.prog} --help)"

    def _choices(self, name: str) -> list[str]:
        for action in self._actions:
            if (
                name in (*action.option_strings, "/".join(action.option_strings), action.metavar, action.dest)
                and action.choices
            ):
                return [str(choice) for choice in action.choices]
        return []


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a command line; exits with 2, told by the verb they were meant for, when they
    are wrong.
    """
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        meant = parser
        for word in words:
            meant = meant.verbs().get(word, meant)
        meant.unknown(unknown)
    found: argparse.Namespace = arguments
    return found


def add_verb(subparsers: Subparsers, name: str, help_text: str, *lines: str) -> argparse.ArgumentParser:
    """Return the parser of a new verb whose help shows ``lines`` as examples."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help_text,
        description=f"{help_text[0].upper()}{help_text[1:]}.",
        epilog=examples(*lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def examples(*lines: str) -> str:
    """Return the end of a help text."""
    return "examples:\n" + "\n".join(f"  trading-runtime {line}" for line in lines)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a configuration."""
    parser.add_argument("--config", required=True, metavar="FILE", help="configuration, JSON or YAML")
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="another strategy: a registered name, module:Class or path/to/file.py:Class",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, for example strategy.fast=10; may be given several times",
    )


def loaded_settings(arguments: argparse.Namespace) -> Any:
    """Return the LoadedSettings of a verb that has the options above."""
    import os

    from trading_runtime.config.load import load_settings

    return load_settings(arguments.config, arguments.set, os.environ, strategy=_strategy_of(arguments))


def loaded_cycle_settings(arguments: argparse.Namespace) -> Any:
    """Return the LoadedCycleSettings of a verb that has the options above."""
    import os

    from trading_runtime.config.load import load_cycle_settings

    return load_cycle_settings(arguments.config, arguments.set, os.environ, strategy=_strategy_of(arguments))


def _strategy_of(arguments: argparse.Namespace) -> str | None:
    import os

    strategy: str | None = arguments.strategy
    if strategy is not None and strategy.rpartition(":")[0].endswith(".py"):
        # On the command line a path starts where one stands; in a configuration it starts at the file.
        path, _, name = strategy.rpartition(":")
        strategy = f"{os.path.relpath(path, Path(arguments.config).absolute().parent)}:{name}"
    return strategy


@contextmanager
def configured_by(path: Path) -> Iterator[None]:
    """Name the configuration file in errors about settings that only show when the run is built."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def print_json(document: Any) -> None:
    """Print a document as JSON for people and programs alike."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), indent: str = "") -> str:
    """Return rows as aligned text; columns named in ``right`` are numbers and end at the same place."""
    columns = max((len(row) for row in rows), default=0)
    widths = [max((len(row[column]) for row in rows if column < len(row)), default=0) for column in range(columns)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(widths[column]) if column in right else text.ljust(widths[column])
            for column, text in enumerate(row)
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def _hint(word: str, known: Sequence[str]) -> str:
    near = nearest_name(word, list(known))
    return f"; did you mean {near}?" if near else ""
