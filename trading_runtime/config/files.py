"""A configuration file as plain values: JSON or YAML, strict about keys, every error with its place.

JSON is read with the standard library, because it says line and column; YAML in ``yaml_files.py``, imported
only for YAML. What the values mean is checked elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trading_runtime.core.errors import ConfigurationError

Tree = dict[str, Any]

# A configuration is written by people; what is larger is a mistake, most likely a data file.
FILE_BYTES_MAX = 4 * 1024 * 1024


def read_tree(path: Path) -> Tree:
    """Return the content of a JSON or YAML file as plain values; raises ConfigurationError when that is
    impossible.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise ConfigurationError(f"{path}: is a folder; --config names a JSON or YAML file")
    if suffix not in (".json", ".yaml", ".yml"):
        raise ConfigurationError(f"{path}: a configuration's name ends in .json, .yaml or .yml")
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there is no such file; --config names a JSON or YAML file") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if len(content) > FILE_BYTES_MAX:
        raise ConfigurationError(f"{path}: is larger than {FILE_BYTES_MAX} bytes; is it a configuration?")
    try:
        tree = _parse_json(text, path) if suffix == ".json" else _parse_yaml(text, path)
    except RecursionError:
        raise ConfigurationError(f"{path}: is nested too deeply to be a configuration") from None
    if not isinstance(tree, dict):
        kind = "is empty" if tree is None else f"holds {type(tree).__name__}"
        raise ConfigurationError(f"{path}: {kind}; a configuration is one section of keys, at least strategy and data")
    return tree


def parse_value(text: str, where: str) -> Any:
    """Return ``text`` as JSON, or as text when it is none."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    except _DuplicateError as error:
        raise ConfigurationError(f"{where}: key {str(error)!r} is given twice; remove one") from None


class _DuplicateError(Exception):
    """A key that a JSON object gives twice."""


def _unique(pairs: list[tuple[str, Any]]) -> Tree:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateError(next(name for name in names if names.count(name) > 1))
    return tree


class _NotFiniteError(ValueError):
    """NaN or Infinity, which Python's JSON allows and JSON does not."""


def _no_constant(text: str) -> Any:
    raise _NotFiniteError(text)


def _parse_json(text: str, path: Path) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        # What comments and a last comma look like to the parser; Python 3.13 names the comma and points at it.
        is_likely = text[error.pos : error.pos + 1] in ("/", "#", "}", "]") or "trailing comma" in error.msg
        hint = "; JSON has no comments and no comma before a closing bracket" if is_likely else ""
        raise ConfigurationError(
            f"{path}: line {error.lineno} column {error.colno}: not JSON: {error.msg}{hint}"
        ) from None
    except _DuplicateError as error:
        raise ConfigurationError(f"{path}: key {str(error)!r} is given twice in one section; remove one") from None
    except _NotFiniteError as error:
        raise ConfigurationError(f"{path}: {error} is not a finite number") from None
    except ValueError:  # Python refuses to read a whole number of more than 4300 digits
        raise ConfigurationError(f"{path}: a number has thousands of digits") from None


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        from trading_runtime.config.yaml_files import parse_yaml
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        raise ConfigurationError(
            f"{path}: YAML needs PyYAML: pip install PyYAML, or write the settings as JSON"
        ) from None
    return parse_yaml(text, str(path))
