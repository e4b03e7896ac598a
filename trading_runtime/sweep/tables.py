"""The table of a sweep's cells, one row each, as columns: ``cells.parquet`` and what reads it.

    index, cell_id, period, role, fold, p_<parameter> ..., m_<metric> ..., trades, digest, status

Rows are ordered by index. ``status`` is done, missing, failed or corrupt; whatever is not done has no figures.
``trades`` is always null: not every path of the engine knows the number of trades (see ``cell.py``); ``m_fills`` counts
fills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.parameters import Scalar
from trading_runtime.sweep.settings import Direction, MetricName
from trading_runtime.sweep.spec import Sweep

METRIC_NAMES: tuple[str, ...] = get_args(MetricName)
DONE, MISSING, FAILED, CORRUPT = "done", "missing", "failed", "corrupt"

Row = dict[str, Any]


@dataclass
class Cells:
    """Rows by column; ``columns`` all have one entry per cell."""

    parameters: tuple[str, ...]
    columns: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, sweep: Sweep) -> Cells:
        names = [
            *("index", "cell_id", "period", "role", "fold"),
            *(f"p_{name}" for name in sweep.space.values),
            *(f"m_{name}" for name in METRIC_NAMES),
            *("trades", "digest", "status"),
        ]
        return cls(tuple(sweep.space.values), {name: [] for name in names})

    def __len__(self) -> int:
        return len(self.columns["index"])

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; columns it does not have are null."""
        for name, column in self.columns.items():
            column.append(row.get(name))

    def row(self, position: int) -> Row:
        """Return one row."""
        return {name: column[position] for name, column in self.columns.items()}

    def rows(self) -> list[Row]:
        """Return all rows."""
        return [self.row(position) for position in range(len(self))]

    def swept(self, position: int) -> dict[str, Scalar]:
        """Return the swept parameters of a row."""
        return {name: self.columns[f"p_{name}"][position] for name in self.parameters}


def ranked(
    scores: Sequence[float | None], parameters: Sequence[Mapping[str, Scalar]], direction: Direction
) -> list[int]:
    """Return positions from best to worst; equal scores by the smallest canonical JSON of their parameters, those
    without a score last.
    """

    def order(position: int) -> tuple[bool, float, bytes]:
        score = scores[position]
        signed = 0.0 if score is None else -score if direction == "maximize" else score
        return score is None, signed, canonical_json(dict(parameters[position]))

    return sorted(range(len(scores)), key=order)


def write_cells(path: Path, cells: Cells, sweep: Sweep) -> None:
    """Write ``cells.parquet``."""
    import pyarrow as pa
    import pyarrow.parquet

    pa_types: dict[type, Any] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    kinds: dict[str, Any] = {"index": pa.int64(), "fold": pa.int64(), "trades": pa.int64()}
    for name in cells.columns:
        if name.startswith("p_"):
            kinds[name] = pa_types[type(sweep.kind.Params.declared[name[2:]].default)]
        elif name.startswith("m_"):
            kinds[name] = pa.float64()
        else:
            kinds.setdefault(name, pa.string())
    columns = {
        name: pa.array(
            [None if one is None else float(one) for one in column] if name.startswith("m_") else column, kinds[name]
        )
        for name, column in cells.columns.items()
    }
    pyarrow.parquet.write_table(pa.table(columns), path, compression="zstd", version="2.6")
