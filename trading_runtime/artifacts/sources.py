"""Where a publication is read from: what the ladder needs of a source, and the one source that needs no store, a file.

Sources in stores lie beside the stores (``stores/published.py``). What is read is not judged here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from trading_runtime.core.errors import DataError

# A published pool has some hundred bytes; with its rankings inside, some ten thousand.
FILE_BYTES_MAX = 4 * 1024 * 1024


class Published(NamedTuple):
    """What a source holds: the content as plain JSON values, and the exact bytes it was published as where it has them
    (digests are of these), else None.
    """

    content: object
    exact_bytes: bytes | None = None


class Upstream(Protocol):
    """Where upstream publishes. Nothing is written to it."""

    @property
    def label(self) -> str:
        """What people call it, such as the path of the document."""
        ...

    def read(self) -> Published | None:
        """Return what is published now, None for nothing. Raises StoreUnavailable when it cannot be asked, another
        TradingRuntimeError for settings, rights or content that a person must correct.
        """
        ...


class LocalFile:
    """A JSON file on this machine; read anew every time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def label(self) -> str:
        return str(self.path)

    def read(self) -> Published | None:
        """Return what the file holds, None when there is none. Raises DataError when it cannot be read or is not
        JSON.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        if len(content) > FILE_BYTES_MAX:
            raise DataError(f"{self.path}: is larger than {FILE_BYTES_MAX} bytes; is it a publication?")
        return Published(parse_json(content, str(self.path)), content)


def parse_json(content: bytes, where: str) -> Any:
    """Return what JSON bytes mean; raises DataError naming ``where``. A key that is given twice is refused: readers
    would disagree about which one counts.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: line {error.lineno} column {error.colno}: not JSON: {error.msg}") from None
    except ValueError as error:  # a key twice, NaN, a number of thousands of digits
        raise DataError(f"{where}: not JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{where}: is nested too deeply to be a publication") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"key {json.dumps(twice[:60])} is given twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a finite number")
