"""Finding a strategy class by what people write: a registered name, ``module:Class`` or
``path/to/file.py:Class``.

Only finding is here: parameters are validated by the class itself. A strategy that cannot be imported is
reported with the file and line at which its import failed, because that is what its author has to look at.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from types import ModuleType

from trading_runtime.core.errors import ConfigurationError, StrategyError, nearest_name
from trading_runtime.core.strategy import Strategy
from trading_runtime.strategies import REGISTERED

# Modules loaded from a file are kept apart from installed ones: a strategy in ``json.py`` must not become
# ``json``.
FILE_MODULE_PREFIX = "strategy_file_"


def find_strategy(name: str) -> type[Strategy]:
    """Return the strategy class that ``name`` stands for.

    Raises ConfigurationError when there is none of that name, StrategyError when its module cannot be
    imported or what was found is not a strategy.
    """
    written = name.strip()
    where = REGISTERED.get(written, written)
    place, colon, attribute = where.rpartition(":")
    if not colon:
        near = nearest_name(written, list(REGISTERED))
        hint = f"; did you mean {near!r}?" if near else ""
        known = ", ".join(REGISTERED)
        raise ConfigurationError(f"unknown strategy {written!r}{hint} (known: {known}; or write module:Class)")
    if not place or not attribute:
        raise ConfigurationError(f"strategy {written!r} is not of the form module:Class or path/to/file.py:Class")
    module = _module_of_file(place) if place.endswith(".py") else _module(place, written)
    return _strategy_in(module, attribute, written)


def strategies_in(module: ModuleType) -> list[str]:
    """Return the names of the strategies a module defines itself, in the order it defines them."""
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    ]


def _strategy_in(module: ModuleType, attribute: str, written: str) -> type[Strategy]:
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = strategies_in(module)
            near = nearest_name(attribute, known)
            hint = f"; did you mean {near!r}?" if near else ""
            listed = f" (strategies there: {', '.join(known)})" if known else " (it defines no strategy)"
            raise ConfigurationError(f"strategy {written!r}: {_place(module)} has no {attribute!r}{hint}{listed}")
        found = getattr(found, part)
    if not isinstance(found, type) or not issubclass(found, Strategy):
        kind = f"class {found.__qualname__}" if isinstance(found, type) else type(found).__name__
        raise StrategyError(
            f"strategy {written!r} is a {kind} that does not inherit trading_runtime.core.strategy.Strategy"
        )
    if found is Strategy:
        raise StrategyError(f"strategy {written!r} is the base class of strategies, not one of them")
    return found


def _module(name: str, written: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"strategy {written!r}: there is no module {error.name!r}; "
                "start the command where it can be imported, or write path/to/file.py:Class"
            ) from None
        raise _import_error(error, written) from error
    except Exception as error:
        raise _import_error(error, written) from error


def _module_of_file(path: str) -> ModuleType:
    stem = path.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
    name = f"{FILE_MODULE_PREFIX}{stem}"
    present = sys.modules.get(name)
    if present is not None and present.__file__ == path:
        return present
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"strategy file {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    # What lies beside the file can be imported by it, after everything that is installed.
    folder = path.rpartition("/")[0]
    if folder and folder not in sys.path:
        sys.path.append(folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, FileNotFoundError) and error.filename == path:
            raise ConfigurationError(f"strategy file {path}: there is no such file") from None
        if isinstance(error, Exception):
            raise _import_error(error, path) from error
        raise
    return module


def _import_error(error: Exception, written: str) -> StrategyError:
    """Return one line with the place in the strategy's own code at which importing it failed."""
    if isinstance(error, SyntaxError):
        return StrategyError(f"strategy {written!r}: {error.filename}: line {error.lineno}: {error.msg}")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename not in (__file__, importlib.__file__)
    ]
    place = f"{frames[-1].filename}: line {frames[-1].lineno}: " if frames else ""
    # An error of ours (a column that cannot be) happens deep inside the core; its author wrote the last
    # line outside.
    own = [frame for frame in frames if "/trading_runtime/core/" not in frame.filename.replace("\\", "/")]
    if own:
        place = f"{own[-1].filename}: line {own[-1].lineno}: "
    text = " ".join(str(error).split())
    return StrategyError(f"strategy {written!r} cannot be imported: {place}{type(error).__name__}: {text}")


def _place(module: ModuleType) -> str:
    return f"module {module.__name__}" if not module.__name__.startswith(FILE_MODULE_PREFIX) else f"{module.__file__}"
