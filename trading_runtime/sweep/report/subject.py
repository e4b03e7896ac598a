"""What the report of a sweep is about: the parts of ``sweep.json``, the columns of its cells, and which cells are
shown.

Knows no HTML. Values that are missing or of another kind than expected become None here, so that no section has to ask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Any
from urllib.parse import quote

from trading_runtime.backtest.figures import count, decimal, duration, is_number, percent, plain, significant
from trading_runtime.backtest.metrics import METRICS, Kind
from trading_runtime.backtest.report.markup import NOTHING
from trading_runtime.core.errors import DataError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.sweep.walk_forward import METRIC, PARAMETER, USABLE

Json = dict[str, Any]

CELLS_SHOWN_MOST = (
    20_000  # more make the page slow: the best tenth of them and an even sample of the others stand for all
)
NEEDED = ("cell_id", "period", "status")

_KNOWN = {metric.key: metric for metric in METRICS}


@dataclass(frozen=True)
class Subject:
    """``columns`` hold the cells shown, in the order of their index; ``total`` counts all cells of the sweep."""

    sweep: Json
    columns: dict[str, list[Any]]
    total: int
    equity: dict[str, list[Any]] | None
    links: dict[str, str]

    def part(self, name: str) -> Json:
        """Return a part of sweep.json, empty when it is missing."""
        value = self.sweep.get(name)
        return value if isinstance(value, dict) else {}

    @property
    def metric(self) -> str:
        return str(self.sweep.get("metric", ""))

    @property
    def highest(self) -> bool:
        return self.sweep.get("direction") != "minimize"

    @property
    def parameters(self) -> list[str]:
        return [name.removeprefix(PARAMETER) for name in self.columns if name.startswith(PARAMETER)]

    @property
    def knows_trades(self) -> bool:
        """Tell whether any cell knows its number of trades: not every path of the engine does."""
        return any(value is not None for value in self.columns.get("trades", []))

    @property
    def metrics(self) -> list[str]:
        """The metrics of the cells, the one that the sweep is about first."""
        names = [name.removeprefix(METRIC) for name in self.columns if name.startswith(METRIC)]
        return sorted(names, key=lambda name: name != self.metric)

    def ranked(self) -> list[int]:
        """Return the rows that compete, best first: those of the whole data, or of train where there are folds."""
        roles = self.columns.get("role") or [None] * len(self.columns["period"])
        wanted = "whole" if "whole" in roles else "train" if "train" in roles else None
        values = self.columns.get(METRIC + self.metric, [])
        rows = [row for row, value in enumerate(values) if value is not None and roles[row] == wanted]
        rows.sort(key=lambda row: (-values[row] if self.highest else values[row], row))
        # Equal values by the smallest canonical JSON of their parameters, as everywhere in sweeps.
        names = self.parameters

        def text(row: int) -> bytes:
            return canonical_json({name: self.columns[PARAMETER + name][row] for name in names})

        return [row for _, equal in groupby(rows, key=values.__getitem__) for row in _sorted_if_several(equal, text)]


def _sorted_if_several(rows: Iterable[int], key: Callable[[int], bytes]) -> list[int]:
    """Most values stand alone, and a key costs more than everything else."""
    listed = list(rows)
    return sorted(listed, key=key) if len(listed) > 1 else listed


def label(metric: str) -> str:
    known = _KNOWN.get(metric)
    return known.label if known else metric.replace("_", " ")


def kind(metric: str) -> Kind:
    known = _KNOWN.get(metric)
    return known.kind if known else "number"


def figure(metric: str, value: Any, *, sign: bool = False) -> str:
    """Return the value of a metric as HTML, in the unit that it is read in."""
    if not is_number(value) or not math.isfinite(value):
        return NOTHING if value is None or is_number(value) else escape(plain(value))
    if kind(metric) == "fraction":
        return percent(value, sign=sign)
    if kind(metric) == "days":
        return " ".join(duration(value))
    if kind(metric) == "count":
        return count(value)
    return decimal(value, 2, sign=sign) if kind(metric) in ("ratio", "money") else significant(value, 5)


def read_subject(
    sweep: Mapping[str, Any],
    cells: Any,
    equity: Any = None,
    links: Mapping[str, str] | None = None,
) -> Subject:
    """Return the subject. ``cells`` and ``equity`` are Arrow tables or mappings of columns, as in ``cells.parquet`` and
    ``equity.parquet``; ``links`` leads from cell ids to paths beside the report.

    Raises DataError for columns that are missing or of different lengths, and for a link that leaves the report's
    folder.
    """
    names = _names(cells)
    for needed in NEEDED:
        if needed not in names:
            raise DataError(f"the cells of the sweep have no column {needed!r}")
    columns = {name: _column(cells, name) for name in names}
    total = len(columns["cell_id"])
    for name, values in columns.items():
        if len(values) != total:
            raise DataError(f"the column {name!r} of the cells has {len(values)} values beside {total} cells")
    told = dict(sweep), total, _equity(equity), _links(links or {})
    if total <= CELLS_SHOWN_MOST:
        return _subject(columns, *told)
    # Only what decides which cells are shown is looked at in all of them: there may be millions.
    deciding = [name for name in names if not name.startswith(METRIC) or name == METRIC + str(sweep.get("metric"))]
    best = _subject({name: columns[name] for name in deciding}, *told).ranked()[: CELLS_SHOWN_MOST // 10]
    step = -(-total // (CELLS_SHOWN_MOST - len(best)))
    kept = sorted(set(best) | set(range(0, total, step)))
    return _subject({name: [values[row] for row in kept] for name, values in columns.items()}, *told)


def _subject(
    columns: dict[str, list[Any]], sweep: Json, total: int, equity: dict[str, list[Any]] | None, links: dict[str, str]
) -> Subject:
    """Return the subject of some cells, whose figures count only where the cell is done."""
    shown = {
        name: [value if ok in USABLE else None for value, ok in zip(values, columns["status"], strict=True)]
        if name.startswith(METRIC)
        else values
        for name, values in columns.items()
    }
    return Subject(sweep, shown, total, equity, links)


def _names(table: Any) -> list[str]:
    return list(table.column_names if hasattr(table, "column_names") else table)


def _column(table: Any, name: str) -> list[Any]:
    """Return a column as plain values; NaN and infinity, which JSON does not have, as None."""
    values: Any = table.column(name) if hasattr(table, "column_names") else table[name]
    if hasattr(values, "to_pylist"):
        values = values.to_pylist()
    elif hasattr(values, "tolist"):
        values = values.tolist()
    if any(isinstance(value, float) and not math.isfinite(value) for value in values):
        return [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]
    return list(values) if not isinstance(values, list) else values


def _equity(table: Any) -> dict[str, list[Any]] | None:
    if table is None:
        return None
    columns = {name: _column(table, name) for name in ("time_ms", "equity", "fold")}
    if len({len(values) for values in columns.values()}) > 1:
        raise DataError("the columns of the stitched equity have different lengths")
    return columns if columns["time_ms"] else None


def _links(links: Mapping[str, str]) -> dict[str, str]:
    """Return links that can only lead to files beside the report: quoted, relative, never upwards."""
    checked = {}
    for cell, path in links.items():
        if path.startswith("/") or "\\" in path or ".." in path.split("/") or not path:
            raise DataError(f"the link of cell {cell} leaves the folder of the report: {path!r}")
        checked[cell] = quote(path, safe="/._-~")
    return checked


def words_of(names: Sequence[str], values: Sequence[Any]) -> str:
    """Return parameters as a reader says them: fast 10, slow 50."""
    return ", ".join(f"{name} {plain(value)}" for name, value in zip(names, values, strict=True) if value is not None)
