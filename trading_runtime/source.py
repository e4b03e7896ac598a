"""The hash of a strategy's code: what it is made of, whatever it looks like.

    class's module ──imports──► the project's and the user's modules ──► canonical syntax ──► SHA-256

Comments, docstrings, white space, quoting and line breaks do not count; any other change does. The hash is
the same on every supported Python: ``ast.dump`` is not, so the syntax tree is written out here. Imports are
followed by reading, never by importing.

Left out: the standard library and installed packages (the image pins them), the engine (it has a version of
its own), imports that only type checkers see, and data files. Imports whose name is computed while running
cannot be followed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

from trading_runtime.core.errors import StrategyError

_PROJECT = "trading_runtime"
# Fields that say nothing about behaviour: expression contexts follow from the position, kind is the u of u"".
_SILENT_FIELDS = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_NAMES_OF_INSTALLED = frozenset({"site-packages", "dist-packages"})
_IMPORTING_CALLS = frozenset({"import_module", "__import__"})


class _Import(NamedTuple):
    """``import module`` has no names; ``from module import a, b`` has; ``level`` counts the leading dots."""

    module: str
    names: tuple[str, ...]
    level: int


class _Read(NamedTuple):
    """What a file's content comes to."""

    digest: str
    imports: tuple[_Import, ...]


class _Module(NamedTuple):
    name: str
    path: Path
    is_package: bool


_READ: dict[bytes, _Read] = {}  # by SHA-256 of the content, so that it can never be out of date
# The same for this package's own files, kept on disk beside the bytecode: parsing them costs as much as a backtest.
_KEPT_FILE = Path(__file__).parent / "__pycache__" / "code-hashes.json"
_KEPT_MAX = 256  # versions of files; beyond, only what this process has read is kept
_KEPT: list[set[bytes]] = []  # once loaded: the keys of what is on disk
_PACKAGE = Path(__file__).resolve().parent
_OWN: set[bytes] = set()  # keys of this package's files that this process has read
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}


def strategy_code_hash(strategy_class: type) -> str:
    """Return the SHA-256 over the class's name and the canonical syntax of every module in its closure.

    Raises StrategyError when the class has no source file or a file of its closure cannot be read.
    """
    digest = hashlib.sha256(f"class {strategy_class.__qualname__}\n".encode())
    kept = _load_kept()
    for name, path in _closure(strategy_class):
        digest.update(f"{name} {_read(path).digest}\n".encode())
    if not kept >= _OWN:
        _keep(kept)
    return digest.hexdigest()


def closure_files(strategy_class: type) -> dict[str, str]:
    """Return file -> SHA-256 of its canonical syntax for every module of the closure, by module name."""
    return {str(path): _read(path).digest for _, path in _closure(strategy_class)}


def canonical_source(text: str) -> str:
    """Return the one text that stands for the code of ``text``: made to be hashed, not to be read."""
    parts: list[str] = []
    _write(ast.parse(text), parts)
    return "".join(parts)


# --- what is kept on disk -----------------------------------------------------------------------------------


def _load_kept() -> set[bytes]:
    """Read what earlier processes found and return its keys; anything unreadable counts as nothing found."""
    if _KEPT:
        return _KEPT[0]
    found: dict[bytes, _Read] = {}
    try:
        kept = json.loads(_KEPT_FILE.read_bytes())
        if kept["made_by"] == _own_hash():
            for key, (digest, imports) in kept["files"].items():
                named = tuple(_Import(name, tuple(names), level) for name, names, level in imports)
                found[bytes.fromhex(key)] = _Read(digest, named)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found.clear()
    _READ.update(found)
    _KEPT.append(set(found))
    return _KEPT[0]


def _keep(kept: set[bytes]) -> None:
    """Write what is known of this package's files; where nothing can be written (an image), it is found again."""
    keys = _OWN if len(kept | _OWN) > _KEPT_MAX else kept | _OWN
    files = {key.hex(): [_READ[key].digest, _READ[key].imports] for key in sorted(keys)}
    temporary = _KEPT_FILE.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps({"made_by": _own_hash(), "files": files}))
        os.replace(temporary, _KEPT_FILE)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    kept |= _OWN  # also when it could not be written: once is enough to have tried


def _own_hash() -> str:
    """The hash of this file: what it found is only true for the rules it found it by."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


# --- the canonical syntax -----------------------------------------------------------------------------------


def _write(value: Any, parts: list[str]) -> None:
    """Append ``value``: a node as Name(field=value ...), a list in brackets, other things by repr."""
    kind = type(value)
    if kind is ast.Constant:
        _write_constant(value.value, parts)
    elif isinstance(value, ast.AST):
        if isinstance(value, ast.JoinedStr):
            _write_formatted(value, parts)
            return
        fields = _FIELDS.get(kind)
        if fields is None:
            # Sorted, because versions add fields in different places.
            fields = _FIELDS[kind] = tuple(sorted(set(kind._fields) - _SILENT_FIELDS))
        parts.append(kind.__name__)
        parts.append("(")
        for name in fields:
            content = getattr(value, name, None)
            # Empty fields are left out, so that one a later version adds (type_params) changes nothing.
            if content is None or content == []:
                continue
            parts.append(name)
            parts.append("=")
            _write(content, parts)
        parts.append(")")
    elif kind is list:
        parts.append("[")
        for item in value:
            # A statement that is nothing but a text is a docstring, wherever it stands.
            if type(item) is ast.Expr and type(item.value) is ast.Constant and type(item.value.value) is str:
                continue
            _write(item, parts)
            parts.append(",")
        parts.append("]")
    else:
        _write_constant(value, parts)


def _write_constant(value: Any, parts: list[str]) -> None:
    # Hexadecimal, because repr refuses whole numbers of more than 4300 digits.
    parts.append(f"{type(value).__name__}:{hex(value) if type(value) is int else ascii(value)}")


def _write_formatted(node: ast.JoinedStr, parts: list[str]) -> None:
    """Write an f-string with its literal parts merged: versions differ in how they cut them."""
    merged: list[str | ast.FormattedValue] = []
    for piece in _pieces(node):
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        elif piece != "":
            merged.append(piece)
    parts.append("Formatted(")
    for piece in merged:
        if isinstance(piece, str):
            _write_constant(piece, parts)
        else:
            parts.append(f"{{{piece.conversion}:")
            _write(piece.value, parts)
            if isinstance(piece.format_spec, ast.JoinedStr) and piece.format_spec.values:
                parts.append(":")
                _write_formatted(piece.format_spec, parts)
            parts.append("}")
        parts.append(",")
    parts.append(")")


def _pieces(node: ast.JoinedStr) -> Iterator[str | ast.FormattedValue]:
    for value in node.values:
        if isinstance(value, ast.JoinedStr):
            yield from _pieces(value)
        elif isinstance(value, ast.Constant):
            yield str(value.value)
        elif isinstance(value, ast.FormattedValue):
            yield value
        else:  # pragma: no cover - no released Python puts anything else there
            raise StrategyError(f"an f-string holds a {type(value).__name__}, which this version cannot hash")


# --- imports ------------------------------------------------------------------------------------------------


def _read(path: Path) -> _Read:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StrategyError(f"{path}: cannot be read for its code hash: {error.strerror or error}") from error
    key = hashlib.sha256(content).digest()
    if _PACKAGE in path.parents:
        _OWN.add(key)
    found = _READ.get(key)
    if found is None:
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError) as error:
            raise StrategyError(f"{path}: cannot be parsed for its code hash: {error}") from error
        parts: list[str] = []
        try:
            _write(tree, parts)
        except RecursionError:
            raise StrategyError(f"{path}: is nested too deeply for its code hash") from None
        found = _READ[key] = _Read(hashlib.sha256("".join(parts).encode()).hexdigest(), tuple(_imports(tree)))
    return found


def _imports(tree: ast.AST) -> Iterator[_Import]:
    """Yield every import of a file, those inside functions too, but not those under ``if TYPE_CHECKING``.

    Only statements, calls and what contains them are visited: most nodes of a file are neither.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _Import(alias.name, (), 0)
        elif isinstance(node, ast.ImportFrom):
            yield _Import(node.module or "", tuple(alias.name for alias in node.names), node.level)
        elif isinstance(node, ast.Call) and _called(node) in _IMPORTING_CALLS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield _Import(first.value, (), 0)
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, (ast.Name, ast.Constant, ast.Import, ast.ImportFrom)):
            continue
        for name in node._fields:
            child = getattr(node, name, None)
            if isinstance(child, list):
                waiting.extend(item for item in child if isinstance(item, ast.AST))
            elif isinstance(child, ast.AST) and name != "ctx":
                waiting.append(child)


def _called(call: ast.Call) -> str:
    return _last_name(call.func)


def _is_type_checking(test: ast.expr) -> bool:
    return _last_name(test) == "TYPE_CHECKING"


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


# --- the closure --------------------------------------------------------------------------------------------


def _closure(strategy_class: type) -> list[tuple[str, Path]]:
    """Return (name, file) of every module the class reaches, by name.

    The class's own file goes by the name ``strategy``: how it was loaded, as a module or as a file, is no
    matter.
    """
    root = _root(strategy_class)
    own = {_PROJECT, root.name.partition(".")[0]}
    seen = {root.path: "strategy"}
    waiting = [root]
    while waiting:
        module = waiting.pop()
        for found in _reached(module, _read(module.path).imports, own, root.path.parent):
            if found.path not in seen:
                seen[found.path] = found.name
                waiting.append(found)
    return sorted((name, path) for path, name in seen.items())


def _root(strategy_class: type) -> _Module:
    module = sys.modules.get(strategy_class.__module__)
    present: Any = module
    for part in strategy_class.__qualname__.split("."):
        present = getattr(present, part, None)
    file = getattr(module, "__file__", None)
    if present is not strategy_class:
        # Never registered as a module, or another file has taken its name: its own functions know the file.
        functions = [value for value in vars(strategy_class).values() if isinstance(value, FunctionType)]
        own = [one for one in functions if one.__module__ == strategy_class.__module__]
        file = own[0].__code__.co_filename if own else file
    path = Path(file or "")
    if path.suffix != ".py" or not path.is_file():
        raise StrategyError(f"{strategy_class.__qualname__} has no source file: its code has no hash")
    return _Module(strategy_class.__module__, path.resolve(), path.name == "__init__.py")


def _reached(module: _Module, imports: Iterable[_Import], own: set[str], folder: Path) -> Iterator[_Module]:
    for found in imports:
        name = _absolute(module, found)
        if not name:
            continue
        target = _find(name, own, folder)
        if target is None:
            continue
        # ``from package import name``: the name may be a module; then our own packages add nothing to it.
        inside = [_find(f"{name}.{one}", own, folder) for one in found.names] if target.is_package else []
        yield from (one for one in inside if one is not None)
        if not inside or None in inside or not _is_ours(name):
            yield target
        if not _is_ours(name):  # a user's packages may do anything when imported; ours only say what they hold
            parents = name.split(".")[:-1]
            for length in range(1, len(parents) + 1):
                parent = _find(".".join(parents[:length]), own, folder)
                if parent is not None:
                    yield parent


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == _PROJECT


def _absolute(module: _Module, found: _Import) -> str:
    if not found.level:
        return found.module
    parts = module.name.split(".")
    package = parts if module.is_package else parts[:-1]
    kept = package[: len(package) - (found.level - 1)]
    return ".".join([*kept, found.module] if found.module else kept)


def _find(name: str, own: set[str], folder: Path) -> _Module | None:
    """Return the module if it has a source file that is neither standard library nor an installed package."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return None
    path = _locate(name, [str(folder)])
    if path is None or path.suffix != ".py":
        return None
    if top not in own and _NAMES_OF_INSTALLED & set(path.parts):
        return None
    return _Module(name, path.resolve(), path.name == "__init__.py")


_LOCATED: dict[tuple[str, str], Path | None] = {}


def _locate(name: str, extra: Sequence[str]) -> Path | None:
    """Return where a module's source lies: on a search path, or beside a strategy given as a file."""
    key = (name, extra[0])
    if key not in _LOCATED:
        origin = _origin(name, None) or _origin(name, extra)
        if origin is None:
            return None  # not remembered: it may be written later
        _LOCATED[key] = Path(origin)
    return _LOCATED[key]


def _origin(name: str, folders: Sequence[str] | None) -> str | None:
    """Follow a dotted name through Python's own finders; importlib.util.find_spec would run packages."""
    search = folders
    origin: str | None = None
    prefix = ""
    for part in name.split("."):
        prefix = f"{prefix}.{part}" if prefix else part
        spec = None
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            try:
                spec = find_spec(prefix, search, None) if find_spec is not None else None
            except KeyError:
                # A namespace package inside another that is not imported (google.cloud) cannot be looked into; only
                # installed packages are made so, and those do not count.
                return None
            if spec is not None:
                break
        if spec is None:
            return None
        origin = spec.origin
        search = spec.submodule_search_locations
        if search is None and prefix != name:
            return None
    return origin
