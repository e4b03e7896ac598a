"""Reading settings: defaults < file < environment < ``--set``, with where each value came from, and what
names them.

The layers themselves are in ``layers.py``. Paths inside settings are relative to the file's folder and
resolved where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from trading_runtime.config.checking import SettingError, check_settings, dotted
from trading_runtime.config.files import read_tree
from trading_runtime.config.layers import Layers
from trading_runtime.config.schema import Settings
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.timeframes import parse_time

# Sections that cannot change a result: name and output say what it is called and where it goes, all engine
# paths give the same bytes.
SECTIONS_WITHOUT_EFFECT: Final = ("name", "output", "engine")


@dataclass(frozen=True)
class LoadedSettings:
    """Settings, where each came from (``default``, ``file``, ``environment NAME``, ``--set``), their file
    and its folder.
    """

    settings: Settings
    origins: Mapping[str, str]
    path: Path
    folder: Path


def load_settings(
    path: Path | str,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    strategy: str | None = None,
) -> LoadedSettings:
    """Return the settings of a file with overrides ``key=value`` and the environment's applied.

    ``strategy`` takes the place of the file's strategy; when it names another class, the file's parameters,
    which belong to the other one, are left out. Raises ConfigurationError, one line, for anything that is
    missing, unknown or malformed.
    """
    path = Path(path)
    tree = read_tree(path)
    layers = Layers(tree)
    if strategy is not None:
        layers.replace_strategy(strategy)
    layers.apply_environment({} if environment is None else environment)
    for text in overrides:
        layers.apply_override(text)
    try:
        settings = check_settings(layers.tree, layers.texts)
        _check_period(settings)
    except SettingError as problem:
        raise ConfigurationError(f"{layers.source_of(problem.key, path)}: {problem.key} {problem.message}") from None
    origins = {key: layers.origin_of(key) for key, _ in flatten(settings_json(settings))}
    return LoadedSettings(settings, origins, path, path.absolute().parent)


def settings_json(settings: Settings) -> dict[str, Any]:
    """Return the effective settings as plain JSON: every key with its value, in the schema's order."""
    content: dict[str, Any] = msgspec.to_builtins(settings)
    return content


def config_hash(settings: Settings) -> str:
    """Return the SHA-256 of everything in the settings that can change a result, the same wherever the
    files lie.

    Paths of data and funding are left out: what those files hold counts, and the manifests of a result name
    it by hash.
    """
    # Imported here: core.hashing needs numpy, which reading settings does not.
    from trading_runtime.core.hashing import json_hash

    content = settings_json(settings)
    for source in (*content["data"], *content["funding"].values()):
        source["path"] = source["path"] is not None
    return json_hash({key: value for key, value in content.items() if key not in SECTIONS_WITHOUT_EFFECT})


def flatten(tree: Mapping[str, Any], key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of every leaf; an empty section or list, and a list of plain values, is a
    leaf.
    """
    for name, value in tree.items():
        yield from _flattened(value, dotted(key, name))


def _flattened(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        yield from flatten(value, key)
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _flattened(item, dotted(key, index))
    else:
        yield key, value


def _check_period(settings: Settings) -> None:
    start, end = settings.period.start, settings.period.end
    if start is not None and end is not None and parse_time(start) >= parse_time(end):
        raise SettingError("period.end", f"must be after period.start {start}, not {end}")
