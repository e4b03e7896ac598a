"""Checks a tree of settings against the schema and says in one line what is wrong: which key, why, what was
probably meant.

msgspec reports paths like ``$.instruments[...].tick`` and stops at types; people need the key they wrote
and the name they meant. So sections are walked here and msgspec judges single values. Where a value came
from is known to ``load.py``.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec

from trading_runtime.config.files import Tree
from trading_runtime.config.schema import Section, Settings
from trading_runtime.core.errors import ConfigurationError, nearest_name
from trading_runtime.core.instruments import decimal_text
from trading_runtime.core.timeframes import parse_time

_SHOWN_MAX = 60
_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a section",
    "null": "null",
}
_BOUNDS = {">": "above", ">=": "at least", "<": "below", "<=": "at most"}

Root = TypeVar("Root", bound=Section)


class SettingError(Exception):
    """A setting that is wrong: its dotted key and what is wrong with it."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(key, message)
        self.key = key
        self.message = message


def check_settings(tree: Tree, texts: Mapping[str, str]) -> Settings:
    """Return the settings of a backtest that a tree of plain values describes; see ``check_tree``."""
    return check_tree(tree, texts, Settings)


def check_tree(tree: Tree, texts: Mapping[str, str], root: type[Root]) -> Root:
    """Return what a tree of plain values describes, with ``root`` as its schema; raises SettingError for the
    first thing that is wrong.

    ``texts`` holds what people wrote on the command line or in the environment, by key: where the schema
    wants text, ``20240131`` is text although it reads as a number.
    """
    return msgspec.convert(_checked(tree, root, "", _Source(texts, root)), root)


def section_of(kind: Any) -> type[msgspec.Struct] | None:
    """Return the section a field's type stands for, or None."""
    base = _base(kind)
    return base if isinstance(base, type) and issubclass(base, msgspec.Struct) else None


def item_of(kind: Any, container: type) -> Any | None:
    """Return the type of the items of a list (or of the values of a dict), or None when the type is not
    that container.
    """
    base = _base(kind)
    return get_args(base)[-1] if get_origin(base) is container else None


@cache
def fields_of(section: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """Return the fields of a section by name, in the schema's order."""
    return {field.name: field for field in msgspec.structs.fields(section)}


def is_marked(kind: Any, mark: str) -> bool:
    """Whether a field's type carries a mark such as ``decimal`` in the ``extra`` of its Meta."""
    return mark_of(kind, mark) is not None


def mark_of(kind: Any, mark: str) -> Any | None:
    """Return what a mark in the ``extra`` of a field's Meta says, None when the type does not carry it."""
    if get_origin(kind) is Annotated:
        for meta in kind.__metadata__:
            if isinstance(meta, msgspec.Meta) and mark in (meta.extra or {}):
                return (meta.extra or {})[mark]
        return mark_of(kind.__origin__, mark)
    if _is_union(kind):
        return next((found for member in get_args(kind) if (found := mark_of(member, mark)) is not None), None)
    return None


def dotted(key: str, name: object) -> str:
    """Return the key of ``name`` inside ``key``, as ``--set`` takes it."""
    return f"{key}.{name}" if key else str(name)


def shown(value: Any) -> str:
    """Return a value as JSON for a message, cut when it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


class _Source(NamedTuple):
    """What a check must know beside the value: what people wrote outside the file, by key, and the schema."""

    texts: Mapping[str, str]
    root: type[Section]


def _checked(value: Any, kind: Any, key: str, source: _Source) -> Any:
    if value is None:
        return _leaf(None, kind, key, {})
    section = section_of(kind)
    if section is not None:
        return _checked_section(value, section, key, source)
    item = item_of(kind, dict)
    if item is not None:
        if not isinstance(value, dict):
            raise SettingError(key, f"must be a section, not {shown(value)}")
        checked = {name: _checked(inner, item, dotted(key, name), source) for name, inner in value.items()}
        if key == "strategy" and not checked.get("class"):
            raise SettingError("strategy.class", 'is missing: name a strategy, for example {"class": "buy_and_hold"}')
        return checked
    item = item_of(kind, list)
    if item is not None:
        if not isinstance(value, list):
            raise SettingError(key, f"must be a list, not {shown(value)}")
        checked_items = [_checked(inner, item, dotted(key, index), source) for index, inner in enumerate(value)]
        if not checked_items and key == "data":
            raise SettingError(
                key,
                'is empty: name at least one file of candles, for example [{"path": "BTC-USDT-1h.parquet"}]',
            )
        if not checked_items:
            _leaf([], kind, key, {})  # whether a list may be empty is for its type to say
        return checked_items
    if is_marked(kind, "decimal"):
        return _decimal(source.texts.get(key, value), key)
    if is_marked(kind, "time"):
        return _time(source.texts.get(key, value), key)
    return _leaf(value, kind, key, source.texts)


def _checked_section(value: Any, section: type[msgspec.Struct], key: str, source: _Source) -> Tree:
    fields = fields_of(section)
    if not isinstance(value, dict):
        raise SettingError(
            key, f"must be a section with keys such as {', '.join(list(fields)[:3])}, not {shown(value)}"
        )
    for name in value:
        if name not in fields:
            raise SettingError(dotted(key, name), unknown_key(name, list(fields), source.root))
    for name, field in fields.items():
        if field.required and name not in value:
            raise SettingError(dotted(key, name), f"is missing: {_description(field.type)}")
    return {
        name: _checked(value[name], fields[name].type, dotted(key, name), source) for name in fields if name in value
    }


def unknown_key(name: str, known: list[str], root: type[Section] = Settings) -> str:
    """Return what to say about a key that its section does not know."""
    near = nearest_name(name, known)
    if near is not None:
        return f"is not a setting; did you mean {near!r}?"
    elsewhere = [key for key in known_keys(root) if key.rsplit(".", 1)[-1] == name]
    if elsewhere:
        return f"is not a setting here; did you mean {elsewhere[0]}?"
    return f"is not a setting (known here: {', '.join(known)})"


@cache
def known_keys(root: type[Section] = Settings) -> dict[str, msgspec.structs.FieldInfo]:
    """Return every key of a schema with its field; ``N`` stands for a place in a list, ``SYMBOL`` for a
    symbol.
    """
    found: dict[str, msgspec.structs.FieldInfo] = {}

    def collect(section: type[msgspec.Struct], key: str) -> None:
        for name, field in fields_of(section).items():
            inner = dotted(key, name)
            found[inner] = field
            for kind, suffix in (
                (field.type, ""),
                (item_of(field.type, list), ".N"),
                (item_of(field.type, dict), ".SYMBOL"),
            ):
                nested = section_of(kind)
                if nested is not None:
                    collect(nested, inner + suffix)

    collect(root, "")
    return found


def _leaf(value: Any, kind: Any, key: str, texts: Mapping[str, str]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingError(key, f"must be finite, not {value!r}")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        if key in texts and not isinstance(value, str):
            try:
                return msgspec.convert(texts[key], kind)
            except msgspec.ValidationError:
                pass  # not text either: what was wrong with the value itself is the better message
        raise SettingError(key, _message(str(error), value, kind)) from None


def _decimal(value: Any, key: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SettingError(key, f'must be a decimal number such as "0.01", not {shown(value)}')
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise SettingError(key, f'must be a decimal number such as "0.01", not {shown(value)}') from None
    if not number.is_finite() or number < 0:
        raise SettingError(key, f"must be finite and not negative, not {shown(value)}")
    # An exponent like 1e999999 is a number, but its plain text would fill the memory.
    if abs(number.adjusted()) > 40 or len(number.as_tuple().digits) > 40:
        raise SettingError(key, f"has more digits than any amount: {shown(value)}")
    return decimal_text(number)


def _time(value: Any, key: str) -> str:
    # YAML and JSON read 20240131 as a number; the core reads it as a date.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise SettingError(key, f"must be a time such as 2024-01-31, not {shown(value)}")
    try:
        parse_time(text)
    except ConfigurationError as error:
        raise SettingError(key, f"is {error}") from None
    return text


def _message(message: str, value: Any, kind: Any) -> str:
    """Turn msgspec's words into ours; what is not foreseen is passed on as it is."""
    if message.startswith("Invalid enum value"):
        choices = [str(choice) for choice in _choices(kind)]
        near = nearest_name(str(value), choices)
        hint = f"; did you mean {near!r}?" if near else ""
        return f"must be one of {', '.join(choices)}, not {shown(value)}{hint}"
    bound = re.fullmatch(r"Expected `\w+` ([<>]=?) (\S+)", message)
    if bound:
        limit = bound[2].removesuffix(".0")
        return f"must be {_BOUNDS[bound[1]]} {limit}, not {shown(value)}"
    length = re.fullmatch(r"Expected `\w+` of length ([<>]=) (\d+)", message)
    if length:
        return "must not be empty" if length[1] == ">=" else f"must have at most {length[2]} characters"
    form = mark_of(kind, "form")
    if form is not None and "matching regex" in message:
        return f"must be {form}, not {shown(value)}"
    expected = re.match(r"Expected `([^`]+)`, got `[^`]+`", message)
    if expected:
        words = [_WORDS.get(word, word) for word in expected[1].split(" | ")]
        return f"must be {' or '.join(words)}, not {shown(value)}"
    if message.endswith("out of range"):
        return f"is out of range: {shown(value)}"
    return f"{message}: {shown(value)}"


def _choices(kind: Any) -> tuple[Any, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    inner = (kind.__origin__,) if get_origin(kind) is Annotated else get_args(kind) if _is_union(kind) else ()
    return tuple(choice for member in inner for choice in _choices(member))


def _description(kind: Any) -> str:
    for meta in getattr(kind, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    return "it has no default"


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, types.UnionType)


def _base(kind: Any) -> Any:
    """Return a type without its annotations, and without None and "not given" where one type remains."""
    while get_origin(kind) is Annotated:
        kind = kind.__origin__
    if _is_union(kind):
        members = [member for member in get_args(kind) if member not in (types.NoneType, msgspec.UnsetType)]
        if len(members) == 1:
            return _base(members[0])
    return kind
