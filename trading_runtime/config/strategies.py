"""The strategy that settings name, with its parameters. Apart from ``build.py`` so that showing settings
loads no engine.
"""

from __future__ import annotations

from pathlib import Path

from trading_runtime.config.schema import STRATEGY_CLASS, Settings
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.strategy import Strategy
from trading_runtime.strategies.registry import find_strategy


def load_strategy(settings: Settings, folder: Path, *, override: str | None = None) -> Strategy:
    """Return the strategy with its parameters; ``override`` names another class, which then has its own
    defaults.

    Raises ConfigurationError for an unknown name or parameter, StrategyError for a class that cannot be used.
    """
    configured = str(settings.strategy[STRATEGY_CLASS])
    name = configured if override is None else override
    parameters = {key: value for key, value in settings.strategy.items() if key != STRATEGY_CLASS}
    if name != configured:
        parameters = {}
    kind = find_strategy(strategy_name(name, folder))
    try:
        return kind(parameters)
    except ConfigurationError as error:
        raise ConfigurationError(f"strategy {name}: {error}") from None


def strategy_name(name: str, folder: Path) -> str:
    """Return a strategy's name with the path of ``path/to/file.py:Class`` made absolute from ``folder``."""
    place, colon, attribute = name.rpartition(":")
    return f"{(folder / place).resolve()}:{attribute}" if colon and place.endswith(".py") else name
