"""Reading settings: defaults < file < environment < ``--set``, with where each value came from, and what
names them. For a cycle the environment has two kinds of names, the short ones (``aliases.py``) below TRADING_RUNTIME__.

The layers themselves are in ``layers.py``. Paths inside settings are relative to the file's folder and
resolved where they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trading_runtime.config.aliases import apply_aliases
from trading_runtime.config.checking import Root, SettingError, check_tree, dotted
from trading_runtime.config.files import Tree, read_tree
from trading_runtime.config.layers import Layers
from trading_runtime.config.schema import Section, Settings
from trading_runtime.core.errors import ConfigurationError, nearest_name
from trading_runtime.core.instruments import split_symbol
from trading_runtime.core.timeframes import parse_time

if TYPE_CHECKING:
    from trading_runtime.config.cycle_schema import CycleSettings

# Sections that cannot change a result: name and output say what it is called and where it goes, all engine
# paths give the same bytes; a cycle decides the same wherever its state is kept, however long its lease lasts and
# whoever is told.
SECTIONS_WITHOUT_EFFECT: Final = ("name", "output", "engine", "store", "lease", "notify")


@dataclass(frozen=True)
class LoadedSettings:
    """Settings, where each came from (``default``, ``file``, ``environment NAME``, ``--set``), their file
    and its folder.
    """

    settings: Settings
    origins: Mapping[str, str]
    path: Path
    folder: Path


@dataclass(frozen=True)
class LoadedCycleSettings:
    """The same for the settings of a cycle."""

    settings: CycleSettings
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
    if _is_cycle(tree):
        raise ConfigurationError(
            f"{path}: this is a cycle's configuration: it has the section market; a backtest's has data instead "
            "(see it with `trading-runtime config show --cycle`)"
        )
    settings, origins = _load(path, tree, Settings, _check_backtest, overrides, environment, strategy)
    return LoadedSettings(settings, origins, path, path.absolute().parent)


def load_cycle_settings(
    path: Path | str,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    strategy: str | None = None,
) -> LoadedCycleSettings:
    """Return the settings of a cycle; everything else is as for ``load_settings``."""
    from trading_runtime.config.cycle_schema import CycleSettings

    path = Path(path)
    tree = read_tree(path)
    if _is_backtest(tree):
        raise ConfigurationError(
            f"{path}: this is a backtest's configuration: it has the section data; a cycle's has market instead, and "
            "names files to play back in feed.files"
        )
    settings, origins = _load(path, tree, CycleSettings, _check_cycle, overrides, environment, strategy)
    return LoadedCycleSettings(settings, origins, path, path.absolute().parent)


def settings_json(settings: Section) -> dict[str, Any]:
    """Return the effective settings as plain JSON: every key with its value, in the schema's order."""
    content: dict[str, Any] = msgspec.to_builtins(settings)
    return content


def config_hash(settings: Settings | CycleSettings) -> str:
    """Return the SHA-256 of everything in the settings that can change a result, a decision or a fill, the same
    wherever the files lie.

    Paths of data and funding are left out: what those files hold counts, and the manifests of a result name
    it by hash.
    """
    # Imported here: core.hashing needs numpy, which reading settings does not.
    from trading_runtime.core.hashing import json_hash

    content = settings_json(settings)
    files = content["data"] if isinstance(settings, Settings) else content["feed"]["files"]
    for source in (*files, *content["funding"].values()):
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


def _load(
    path: Path,
    tree: Tree,
    root: type[Root],
    check: Callable[[Root], None],
    overrides: Sequence[str],
    environment: Mapping[str, str] | None,
    strategy: str | None,
) -> tuple[Root, dict[str, str]]:
    layers = Layers(tree, root)
    if strategy is not None:
        layers.replace_strategy(strategy)
    if root is not Settings and environment:
        apply_aliases(layers, environment)
    layers.apply_environment({} if environment is None else environment)
    for text in overrides:
        layers.apply_override(text)
    try:
        settings = check_tree(layers.tree, layers.texts, root)
        check(settings)
    except SettingError as problem:
        raise ConfigurationError(f"{layers.source_of(problem.key, path)}: {problem.key} {problem.message}") from None
    return settings, {key: layers.origin_of(key) for key, _ in flatten(settings_json(settings))}


def _is_cycle(tree: Tree) -> bool:
    return "market" in tree and "data" not in tree


def _is_backtest(tree: Tree) -> bool:
    return "data" in tree and "market" not in tree


def _check_backtest(settings: Settings) -> None:
    start, end = settings.period.start, settings.period.end
    if start is not None and end is not None and parse_time(start) >= parse_time(end):
        raise SettingError("period.end", f"must be after period.start {start}, not {end}")


def _check_cycle(settings: CycleSettings) -> None:
    """What settings of a cycle only say together."""
    _check_market(settings)
    _check_feed(settings)
    if settings.store.kind == "firestore" and settings.store.project is None:
        # The project of whatever credentials are at hand would be another, empty store: a new account.
        raise SettingError("store.project", "is missing: kind firestore needs the name of the Google Cloud project")
    _check_treasury(settings)
    placement = settings.placement
    if placement.confirm_seconds * 1000 <= placement.validity_window_ms:
        raise SettingError(
            "placement.confirm_seconds",
            f"must be longer than placement.validity_window_ms {placement.validity_window_ms}: "
            f"until then an order may still arrive, not {placement.confirm_seconds}",
        )


def _check_treasury(settings: CycleSettings) -> None:
    account, treasury, symbols = settings.account, settings.treasury, settings.market.symbols
    _, quote, kind = split_symbol(symbols[0])
    if account.funds == "all" and kind != "spot":
        raise SettingError("account.funds", "can be all on spot only; of perpetuals name the money in account.cash")
    for index, symbol in enumerate(account.adopt):
        key = f"account.adopt.{index}"
        if account.funds != "all":
            raise SettingError(key, "needs account.funds all: coins of an account that is the strategy's as a whole")
        _check_spot_symbol(key, symbol, quote)
        if symbol not in (*symbols, treasury.fuel_symbol) and settings.artifact is None:
            raise SettingError(key, f"is not traded: name {symbol} in market.symbols")
    if treasury.fuel_symbol is not None:
        if kind != "spot":
            raise SettingError("treasury.fuel_symbol", "is bought on spot only; remove it for perpetuals")
        _check_spot_symbol("treasury.fuel_symbol", treasury.fuel_symbol, quote)
    if treasury.earn_buffer and account.funds != "all":
        raise SettingError("treasury.earn_buffer", "needs account.funds all: savings hold all the account's money")
    if treasury.buffer_minimum > treasury.buffer_maximum:
        raise SettingError(
            "treasury.buffer_minimum",
            f"must not exceed treasury.buffer_maximum {treasury.buffer_maximum!r}, not {treasury.buffer_minimum!r}",
        )


def _check_spot_symbol(key: str, symbol: str, quote: str) -> None:
    try:
        _, own_quote, kind = split_symbol(symbol)
    except ConfigurationError as error:
        raise SettingError(key, f"is wrong: {error}") from None
    if kind != "spot" or own_quote != quote:
        raise SettingError(key, f"must be a spot market against {quote}, not {symbol}")


def _check_market(settings: CycleSettings) -> None:
    symbols = settings.market.symbols
    quotes: dict[str, str] = {}
    for index, symbol in enumerate(symbols):
        key = f"market.symbols.{index}"
        try:
            _, quote, _ = split_symbol(symbol)
        except ConfigurationError as error:
            raise SettingError(key, f"is wrong: {error}") from None
        if symbol in symbols[:index]:
            raise SettingError(key, f"names {symbol} a second time; name each symbol once")
        quotes.setdefault(quote, symbol)
    if len(quotes) > 1:
        settled = ", ".join(f"{symbol} in {quote}" for quote, symbol in quotes.items())
        raise SettingError("market.symbols", f"must all be settled in one currency, not {settled}")
    for section, named in (("instruments", settings.instruments), ("funding", settings.funding)):
        for symbol in named:
            if symbol not in symbols and settings.artifact is None:  # a publication may name any symbol
                near = nearest_name(symbol, symbols)
                hint = f"; did you mean {near!r}?" if near else ""
                traded = ", ".join(symbols)
                raise SettingError(f"{section}.{symbol}", f"is not traded{hint} (market.symbols has {traded})")


def _check_feed(settings: CycleSettings) -> None:
    from trading_runtime.config.cycle_schema import SIMULATED

    market, feed = settings.market, settings.feed
    if feed.files and feed.exchange is not None:
        raise SettingError("feed", "has both files and exchange: bars come from one of them; remove the other")
    if feed.start is not None and not feed.files:
        raise SettingError("feed.start", "is only for files that are played back; remove it or name feed.files")
    if feed.exchange == SIMULATED:
        raise SettingError("feed.exchange", "must be a real exchange: the simulated one has no bars of its own")
    if market.exchange != SIMULATED:
        if feed.files:
            raise SettingError(
                "feed.files", f"are played back at market.exchange simulated only, not at {market.exchange}"
            )
        return
    if market.sandbox:
        raise SettingError("market.sandbox", "is for a real exchange's test network; the simulated exchange has none")
    if not feed.files and feed.exchange is None:
        raise SettingError("feed", "is missing: market.exchange simulated has bars from feed.files or feed.exchange")
