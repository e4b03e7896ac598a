"""YAML as configuration needs it: the words of YAML 1.2, no surprises, every error with its line. Imported
only for YAML files.

PyYAML reads YAML 1.1, where ``NO`` is false, ``1:30`` is ninety, ``5e-4`` is text and ``2024-01-31`` a date
object. Here ``true`` and ``false`` are the only truth values, numbers are those of JSON and times stay
text. Duplicate keys, aliases and NaN are refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from trading_runtime.core.errors import ConfigurationError


class _RefusedError(Exception):
    """Something YAML allows and a configuration does not, with its place."""

    def __init__(self, message: str, mark: yaml.Mark) -> None:
        super().__init__(message)
        self.mark = mark


class _Loader(yaml.SafeLoader):
    """SafeLoader with the resolvers below, strict about keys and without aliases."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _RefusedError(f"aliases (*{event.anchor}) are not supported: write the value out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise _RefusedError("keys must be text: put quotes around this one", key_node.start_mark)
            if key in seen:
                raise _RefusedError(f"key {key!r} is given twice in one section; remove one", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=True)


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = loader.construct_scalar(node)
    if text.lstrip("+-") in (".nan", ".inf"):
        raise _RefusedError(f"{text} is not a finite number", node.start_mark)
    return float(text)


_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern})$"), _first)
_Loader.add_constructor(_TAG + "int", _whole_number)
_Loader.add_constructor(_TAG + "float", _number)


def parse_yaml(text: str, where: str) -> Any:
    """Return the plain values of one YAML document; raises ConfigurationError with line and column."""
    try:
        # A subclass of SafeLoader: it makes plain values only.
        return yaml.load(text, Loader=_Loader)
    except _RefusedError as error:
        raise ConfigurationError(
            f"{where}: line {error.mark.line + 1} column {error.mark.column + 1}: {error}"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" line {mark.line + 1} column {mark.column + 1}:" if mark else ""
        raise ConfigurationError(f"{where}:{place} not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except ValueError as error:  # a tag such as !!int before something else, or thousands of digits
        raise ConfigurationError(f"{where}: {error}") from None
