"""Two results side by side: what was different going in (code, settings, data, machine) and what came out
differently.

Outcomes are the same when every fill, trade, funding payment, equity row and metric is. Digests may differ
all the same, because they also cover settings: a default written out, for example. Everything is read from
the result folders; nothing is run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trading_runtime.backtest.figures import is_number
from trading_runtime.backtest.metrics import METRICS
from trading_runtime.backtest.return_metrics import published
from trading_runtime.backtest.tables import EQUITY_FILE, FILLS_FILE, FUNDING_FILE, TRADES_FILE, read_table
from trading_runtime.config.load import flatten
from trading_runtime.core.errors import DataError
from trading_runtime.core.timeframes import iso_time

Json = dict[str, Any]

RESULT_FILE = "result.json"
_TABLES = (("fills", FILLS_FILE), ("equity", EQUITY_FILE), ("trades", TRADES_FILE), ("funding", FUNDING_FILE))
_NEEDED = ("digest", "metrics", "strategy", "config")
# Where a run was called and put what it was called is no difference in what it computed.
_SETTINGS_WITHOUT_EFFECT = ("name", "output")


def result_folder(path: Path) -> Path:
    """Return the folder of a finished run, given it or its result.json; raises DataError in one line for
    anything else.
    """
    folder = path.parent if path.name == RESULT_FILE and not path.is_dir() else path
    if not folder.exists():
        raise DataError(f"{path}: there is no such result")
    if not (folder / RESULT_FILE).is_file():
        raise DataError(f"{path}: is no result: it holds no {RESULT_FILE}; make one with `trading-runtime backtest`")
    return folder


def compare_results(first: Path, second: Path) -> Json:
    """Return what differs between two results, as a document that is printed or published as JSON.

    ``same_outcome`` says whether they traded the same; ``first_rows`` holds, for each table, the first row
    and field that differ, or None. Raises DataError when one of them is no readable result.
    """
    folders = (result_folder(first), result_folder(second))
    results = [_read_result(folder / RESULT_FILE) for folder in folders]
    rows = {name: _first_row(*(_table(folder / file) for folder in folders)) for name, file in _TABLES}
    metrics = _metrics(results[0]["metrics"], results[1]["metrics"])
    refusals = _differences(*(result.get("refusals", {}) for result in results))
    return {
        "same_outcome": not any(rows.values())
        and not refusals
        and all(row["first"] == row["second"] for row in metrics),
        "digest": {"first": results[0]["digest"], "second": results[1]["digest"]},
        "differences": {
            "code": _differences(*(_code(result) for result in results)),
            "settings": _differences(*(_settings(result) for result in results)),
            "data": _differences(*(_data(result) for result in results)),
            "refusals": refusals,
            "environment": _differences(*(result.get("provenance", {}) for result in results)),
        },
        "first_rows": rows,
        "metrics": metrics,
    }


def _read_result(path: Path) -> Json:
    try:
        result = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError):
        raise DataError(f"{path}: is not JSON; the result is damaged, make it again") from None
    if not isinstance(result, dict) or not all(key in result for key in _NEEDED):
        raise DataError(f"{path}: is no result: it needs {', '.join(_NEEDED)}")
    return result


def _code(result: Json) -> Json:
    strategy = result["strategy"]
    return {
        **{key: strategy.get(key) for key in ("class", "code_hash")},
        "engine_semantics": result.get("engine_semantics"),
    }


def _settings(result: Json) -> Json:
    config = {key: value for key, value in result["config"].items() if key not in _SETTINGS_WITHOUT_EFFECT}
    # The parameters that were used, defaults included, and not only those that were written.
    strategy = {**config.get("strategy", {}), **result["strategy"].get("params", {})}
    return {**config, "strategy": strategy}


def _data(result: Json) -> Json:
    keys = ("timeframe", "rows", "first_time", "last_time", "grade", "content_hash", "sha256", "resampled_to")
    found: Json = {}
    for manifest in result.get("data", []):
        kind = f"{manifest.get('symbol', manifest.get('folder'))} {manifest.get('kind', 'bars')}"
        found[kind] = {key: manifest[key] for key in keys if key in manifest}
    return found


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[Json]:
    """Return (key, first, second) of every leaf that is not the same, in the order of the first, then the
    second.
    """
    values = [dict(flatten(first)), dict(flatten(second))]
    keys = dict.fromkeys([*values[0], *values[1]])
    return [
        {"key": key, "first": values[0].get(key), "second": values[1].get(key)}
        for key in keys
        if values[0].get(key) != values[1].get(key)
    ]


def _table(path: Path) -> Json:
    # A run without funding writes no such table.
    return {} if path.name == FUNDING_FILE and not path.exists() else read_table(path)


def _first_row(first: Json, second: Json) -> Json | None:
    """Return the first row at which two tables differ: its number, time, field and both values. None: they
    are the same.
    """
    lengths = [_rows(table) for table in (first, second)]
    shared = min(lengths)
    found: tuple[int, str] | None = None
    for name in first:
        if name in second:
            row = _first_difference(first[name][:shared], second[name][:shared])
            if row is not None and (found is None or row < found[0]):
                found = row, name
    if found is None:
        if lengths[0] == lengths[1]:
            return None
        longer = first if lengths[0] > lengths[1] else second
        return {
            "row": shared,
            "time": _time(longer, shared),
            "field": "rows",
            "first": lengths[0],
            "second": lengths[1],
        }
    row, name = found
    return {
        "row": row,
        "time": _time(first, row),
        "field": name,
        "first": _plain(first[name][row]),
        "second": _plain(second[name][row]),
    }


def _first_difference(first: Any, second: Any) -> int | None:
    if isinstance(first, list):
        return next(_positions(first, second), None)
    equal = (first == second) | ((first != first) & (second != second))  # NaN is the same as NaN here
    rows = np.flatnonzero(~equal)
    return int(rows[0]) if len(rows) else None


def _positions(first: list[Any], second: list[Any]) -> Iterator[int]:
    return (row for row, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)


def _rows(table: Json) -> int:
    return len(next(iter(table.values()))) if table else 0


def _time(table: Json, row: int) -> str | None:
    for name in ("time_ms", "entry_time_ms"):
        if name in table:
            return iso_time(int(table[name][row]))
    return None


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _metrics(first: Json, second: Json) -> list[Json]:
    rows = []
    for metric in METRICS:
        one, other = first.get(metric.key), second.get(metric.key)
        rows.append(
            {
                "key": metric.key,
                "label": metric.label,
                "first": one,
                "second": other,
                "difference": published(other - one) if is_number(one) and is_number(other) else None,
            }
        )
    return rows
