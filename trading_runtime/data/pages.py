"""Pages of a download that is under way: a folder beside the file to be, from which an interrupted download
goes on.

Every page covers fixed open times, is written whole, and never changes afterwards; the folder also says which
request it belongs to, with the end that was resolved when it began, so that a resumed download ends where the
first attempt would have ended. Nothing here talks to an exchange.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from trading_runtime.core.errors import DataError, OutputError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.timeframes import iso_time
from trading_runtime.data.atomic import write_whole

# One candle as exchanges answer it: open time in ms, open, high, low, close, volume; None where the exchange
# had none.
Candle = list[float | None]

SUFFIX = ".partial"
_REQUEST = "request.json"


@dataclass(frozen=True)
class Request:
    """What is downloaded: bars that open from ``start_ms`` on and before ``end_ms``, in pages of
    ``page_rows`` bars.

    ``end_asked`` is what the user gave (None for "until now"), ``end_ms`` what it came to when the download
    began.
    """

    exchange: str
    symbol: str
    timeframe: str
    start_ms: int
    end_asked: int | None
    end_ms: int
    page_rows: int


def partial_folder(path: Path) -> Path:
    """Return the folder in which the pages of the file ``path`` are collected."""
    return path.with_name(path.name + SUFFIX)


class Pages:
    """The pages of one request in one folder; opening it creates the folder or continues the one that is
    there.
    """

    def __init__(self, folder: Path, request: Request) -> None:
        self.folder = folder
        self.request = self._continued(request)

    def _continued(self, request: Request) -> Request:
        """Return the request of the folder if it asks for the same, else refuse; write it if the folder is
        new.
        """
        described = self.folder / _REQUEST
        if not described.exists():
            write_whole(described, canonical_json(asdict(request)))
            return request
        try:
            begun = Request(**json.loads(described.read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"{described}: not readable ({error}); remove the folder {self.folder} to start anew"
            ) from error
        if replace(begun, end_ms=request.end_ms, page_rows=request.page_rows) != request:
            raise DataError(
                f"{self.folder} holds a download of {begun.symbol} {begun.timeframe} from {begun.exchange} "
                "since "
                f"{iso_time(begun.start_ms)}, which is another request; finish it or remove the folder"
            )
        return begun

    def count(self) -> int:
        """Return how many pages are complete."""
        return sum(1 for _ in self.folder.glob("page-*.json"))

    def read(self, start_ms: int) -> list[Candle] | None:
        """Return the page that begins at ``start_ms``, or None when it is not there or not readable and must
        be fetched.
        """
        try:
            page = json.loads(self._path(start_ms).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return page if isinstance(page, list) else None

    def write(self, start_ms: int, candles: list[Candle]) -> None:
        """Store a complete page; raises OutputError when that is impossible."""
        write_whole(self._path(start_ms), canonical_json(candles))

    def remove(self) -> None:
        """Remove the folder after the download is stored; raises OutputError when that is impossible."""
        try:
            shutil.rmtree(self.folder)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be removed: {error.strerror or error}") from error

    def _path(self, start_ms: int) -> Path:
        return self.folder / f"page-{start_ms:015d}.json"
