"""The tree of settings while the environment and ``--set`` are put on it, and who gave what.

Keys are dotted, as people write them: ``account.cash``, ``data.0.path``, ``instruments.BTC/USDT.tick``.
Whether a key exists and its value fits is for ``checking.py``; only the names of environment variables,
which have no case, must be understood here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trading_runtime.config.checking import fields_of, item_of, known_keys, section_of
from trading_runtime.config.files import Tree, parse_value
from trading_runtime.config.schema import STRATEGY_CLASS, Section, Settings
from trading_runtime.core.errors import ConfigurationError, nearest_name

ENVIRONMENT_PREFIX = "TRADING_RUNTIME__"


class Layers:
    """The tree of settings while layers are put on it, and who gave what."""

    def __init__(self, tree: Tree, root: type[Section] = Settings) -> None:
        self.tree = tree
        self._root = root  # the schema that names are spelled by
        self.texts: dict[str, str] = {}  # what was written outside the file, by key
        self._given: dict[str, str] = {}  # keys given outside the file, and by whom
        self._aliased: set[str] = set()  # of those, the keys that a variable of another name gave

    def replace_strategy(self, name: str) -> None:
        present = self.tree.get("strategy")
        same = isinstance(present, dict) and present.get(STRATEGY_CLASS) == name
        self.tree["strategy"] = (
            {**present, STRATEGY_CLASS: name} if same and isinstance(present, dict) else {STRATEGY_CLASS: name}
        )
        self._given[f"strategy.{STRATEGY_CLASS}"] = "--strategy"

    def apply_alias(self, key: str, value: Any, name: str) -> None:
        """Apply the value of an environment variable that has a name of its own; every later layer may replace it."""
        words = key.split(".")
        target: Any = self.tree
        for word in words[:-1]:
            if target.get(word) is None:
                target[word] = {}
            target = target[word]
            if not isinstance(target, dict):
                return  # the file's section is none, which checking says of the file
        target[words[-1]] = value
        self._given[key] = f"environment {name}"
        self._aliased.add(key)

    def apply_environment(self, environment: Mapping[str, str]) -> None:
        """Apply ``TRADING_RUNTIME__SECTION__KEY`` variables, in the order of their names; names are not
        case-sensitive.
        """
        for name in sorted(environment):
            if not name.startswith(ENVIRONMENT_PREFIX):
                continue
            words = name.removeprefix(ENVIRONMENT_PREFIX).split("__")
            if not all(words):
                raise ConfigurationError(f"environment variable {name}: write TRADING_RUNTIME__SECTION__KEY")
            key = self._environment_key(name, words)
            origin = f"environment {name}"
            if key in self._given and key not in self._aliased and self._given[key] != "--strategy":
                raise ConfigurationError(f"environment variable {name}: {self._given[key]} sets {key} too; remove one")
            self._put(key.split("."), environment[name], origin)

    def apply_override(self, text: str) -> None:
        """Apply one ``section.key=value``."""
        key, equals, value = text.partition("=")
        words = key.strip().split(".")
        if not equals or not all(words):
            raise ConfigurationError(f"--set {text}: write --set section.key=value, for example --set strategy.fast=10")
        self._put(words, value, "--set")

    def origin_of(self, key: str) -> str:
        """Return who gave the value of a key of the checked settings."""
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            given = self._given.get(".".join(parts[:length]))
            if given is not None:
                # A whole section that was given: the keys it does not hold are defaults.
                return given if _holds(self.tree, parts) else "default"
        for given, origin in reversed(self._given.items()):
            if given.startswith(f"{key}."):  # one item of a list of plain values, which is shown as a whole
                return origin
        return "file" if _holds(self.tree, parts) else "default"

    def source_of(self, key: str, path: Path) -> str:
        """Return the words for the place to correct a wrong key at."""
        for given, origin in reversed(self._given.items()):
            if key == given or key.startswith(f"{given}.") or given.startswith(f"{key}."):
                return f"environment variable {origin.split()[1]}" if origin.startswith("environment") else origin
        return str(path)

    def _put(self, words: list[str], text: str, origin: str) -> None:
        key = ".".join(words)
        value = parse_value(text, f"{origin}: {key}")
        target: Any = self.tree
        kind: Any = self._root
        for position, word in enumerate(words[:-1]):
            kind = _kind_inside(kind, word)
            target = _step(target, word, kind, ".".join(words[: position + 1]), origin)
        last = words[-1]
        if isinstance(target, list):
            index = _index(target, last, key, origin)
            target[index : index + 1] = [value]
        elif isinstance(target, dict):
            target[last] = value
        else:
            raise ConfigurationError(f"{origin}: {key}: {'.'.join(words[:-1])} is not a section")
        for given in [given for given in self._given if given == key or given.startswith(f"{key}.")]:
            del self._given[given]
            self._aliased.discard(given)
            self.texts.pop(given, None)
        self._given[key] = origin
        self.texts[key] = text

    def _environment_key(self, name: str, words: list[str]) -> str:
        """Return the dotted key that the words of a variable name mean, spelled as the schema or the file
        spells it.
        """
        kind: Any = self._root
        present: Any = self.tree
        found: list[str] = []
        for word in words:
            section = section_of(kind)
            known = fields_of(section) if section is not None else present if isinstance(present, dict) else ()
            match = next((one for one in known if one.lower() == word.lower()), None)
            if section is not None and match is None:
                raise ConfigurationError(
                    f"environment variable {name} names no setting{_variable_hint(words, self._root)}"
                )
            spelled = match if match is not None else word.lower() if found == ["strategy"] else word
            found.append(spelled)
            kind = _kind_inside(kind, spelled)
            if kind is None:
                raise ConfigurationError(
                    f"environment variable {name} goes deeper than the settings: {'.'.join(found[:-1])} is one value"
                )
            if isinstance(present, list) and word.isdigit() and int(word) < len(present):
                present = present[int(word)]
            else:
                present = present.get(spelled) if isinstance(present, dict) else None
        return ".".join(found)


def _variable_hint(words: Sequence[str], root: type[Section]) -> str:
    """Return "did you mean" for variable names: the nearest name, or the one that ends in the same key."""
    known = {f"{ENVIRONMENT_PREFIX}{key.replace('.', '__').upper()}": key for key in known_keys(root)}
    last = words[-1].lower()
    near = next((name for name, key in known.items() if key.rsplit(".", 1)[-1] == last), None)
    wanted = ENVIRONMENT_PREFIX + "__".join(words).upper()
    near = near or nearest_name(wanted, list(known))
    return f"; did you mean {near}?" if near else ""


def _kind_inside(kind: Any, word: str) -> Any:
    """Return the type of what ``word`` names inside a section, list or mapping of type ``kind``; None:
    nothing.
    """
    section = section_of(kind)
    if section is not None:
        field = fields_of(section).get(word)
        return None if field is None else field.type
    return item_of(kind, dict) or item_of(kind, list)


def _step(target: Any, word: str, kind: Any, key: str, origin: str) -> Any:
    """Return the section or list that ``word`` names inside ``target``, made when missing."""
    if isinstance(target, list):
        index = _index(target, word, key, origin)
        if index == len(target):
            target.append({})
        return target[index]
    if not isinstance(target, dict):
        raise ConfigurationError(f"{origin}: {key}: {key.rpartition('.')[0]} is not a section")
    if target.get(word) is None:
        target[word] = [] if item_of(kind, list) is not None else {}
    return target[word]


def _index(target: list[Any], word: str, key: str, origin: str) -> int:
    if not word.isdecimal() or int(word) > len(target):
        raise ConfigurationError(f"{origin}: {key}: write a place in the list, 0 to {len(target)}, not {word!r}")
    return int(word)


def _holds(tree: Any, parts: Sequence[str]) -> bool:
    for part in parts:
        if isinstance(tree, dict) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return False
    return True
