"""Manifests: the JSON document beside a stored candle file that says what it is, where it came from and how
good it is.

It holds no wall clock and no path, so that the same sources give the same manifest anywhere. Reading and
writing candles is in ``data/files.py``; this file only builds, writes and checks the document.

The grade of stored bars is that of the bars themselves, but never better than C once gaps were filled, nor
than D once rows were dropped for being wrong: what was invented or lost cannot be seen in the bars any more.
``source_grade`` is what the source had.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import DataError
from trading_runtime.core.timeframes import iso_time
from trading_runtime.data.findings import GRADE_DEFAULT, GRADES, Grade, QualityReport, is_below
from trading_runtime.data.raw import Source
from trading_runtime.data.readers import read_bytes
from trading_runtime.data.repair import Repair

SCHEMA_VERSION = 1
SUFFIX = ".manifest.json"
_REQUIRED = ("schema_version", "symbol", "timeframe", "rows", "grade", "content_hash", "file_sha256")


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a stored file lies: ``BTC-USDT-1h.parquet`` has
    ``BTC-USDT-1h.manifest.json``.
    """
    return path.with_name(path.name.removesuffix(path.suffix) + SUFFIX)


def stored_grade(after: QualityReport, repairs: Sequence[Repair]) -> Grade:
    """Return the grade of bars after repair: what was invented or lost keeps counting."""
    grade = after.grade
    for done in repairs:
        if done.action.startswith("filled"):
            grade = max(grade, "C")
        elif done.action.startswith("dropped") and done.action not in (
            "dropped identical_duplicates",
            "dropped unclosed_last_bar",
        ):
            grade = "D"
    return grade


def make_manifest(
    bars: Bars,
    *,
    sources: Sequence[Source],
    source_kind: str,
    report: QualityReport,
    grade: Grade,
    repairs: Sequence[Repair] = (),
    notes: Sequence[str] = (),
    file_sha256: str | None = None,
) -> dict[str, Any]:
    """Return the manifest of ``bars``; ``report`` is of the source as found, ``grade`` of the bars as they
    are now.
    """
    first, last = int(bars.open_time[0]), int(bars.open_time[-1])
    return {
        "schema_version": SCHEMA_VERSION,
        "symbol": bars.symbol,
        "timeframe": bars.timeframe,
        "rows": len(bars),
        "first_time": iso_time(first),
        "first_time_ms": first,
        "last_time": iso_time(last),
        "last_time_ms": last,
        "source_kind": source_kind,
        "sources": [{"name": source.name, "sha256": source.sha256, "rows": source.rows} for source in sources],
        "grade": grade,
        "source_grade": report.grade,
        "exception_allowed": is_below(grade, GRADE_DEFAULT),
        "quality": report.to_json(),
        "repairs": [done.to_json() for done in repairs],
        "notes": list(notes),
        "content_hash": bars.content_hash(),
        "file_sha256": file_sha256,
    }


def manifest_bytes(manifest: dict[str, Any]) -> bytes:
    """Return a manifest as the text that is stored: indented for people, keys sorted, one line end."""
    return (json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return the manifest beside the stored file ``path``, or None when there is none.

    Raises DataError when it is damaged or was written by a newer version.
    """
    beside = manifest_path(path)
    if not beside.is_file():
        return None
    try:
        manifest = json.loads(read_bytes(beside))
    except ValueError as error:
        raise DataError(f"{beside}: not readable JSON ({error}); import the data again") from error
    if not isinstance(manifest, dict) or not all(key in manifest for key in _REQUIRED):
        raise DataError(f"{beside}: not a manifest of candles; import the data again")
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise DataError(
            f"{beside}: schema version {manifest['schema_version']} is not the {SCHEMA_VERSION} this program reads"
        )
    if manifest["grade"] not in GRADES:
        raise DataError(f"{beside}: unknown grade {manifest['grade']!r}; import the data again")
    return manifest
