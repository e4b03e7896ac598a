"""The table of a sweep's cells, one row each, as columns: ``cells.parquet`` and what reads it.

    index, cell_id, period, role, fold, p_<parameter> ..., m_<metric> ..., trades, digest, status

Rows are ordered by index. ``status`` is done, missing, failed or corrupt; whatever is not done has no figures.
``trades`` is always null: not every path of the engine knows the number of trades (see ``cell.py``); ``m_fills`` counts
fills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, get_args

from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.parameters import Scalar
from trading_runtime.data.arrow_columns import nullable_column
from trading_runtime.sweep.settings import Direction, MetricName
from trading_runtime.sweep.spec import Sweep

METRIC_NAMES: tuple[str, ...] = get_args(MetricName)
DONE, MISSING, FAILED, CORRUPT = "done", "missing", "failed", "corrupt"

# Metrics of which less is better, for the words best and worst; for a sweep's own metric its own direction counts.
LESS_IS_BETTER = frozenset(
    {
        "volatility_annual_fraction",
        "maximum_drawdown_fraction",
        "maximum_drawdown_bars",
        "maximum_drawdown_days",
        "longest_drawdown_days",
        "average_drawdown_fraction",
        "value_at_risk_95_fraction",
        "expected_shortfall_95_fraction",
        "tracking_error_annual_fraction",
        "fees",
        "slippage",
        "funding",
    }
)

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


def direction_of(sweep: Sweep, metric: str | None) -> Direction:
    """Return which end of a metric is good: of the sweep's own what the sweep says, of others what they mean."""
    if metric is None or metric == sweep.metric:
        return sweep.direction
    return "minimize" if metric in LESS_IS_BETTER else "maximize"


class Swept(Sequence[Mapping[str, Scalar]]):
    """The swept parameters of combinations, each made when it is asked for: there may be millions."""

    def __init__(self, sweep: Sweep, combinations: Sequence[int]) -> None:
        self._sweep = sweep
        self._combinations = combinations

    def __len__(self) -> int:
        return len(self._combinations)

    def __getitem__(self, position: Any) -> Any:
        return self._sweep.swept(self._combinations[position])


def ranked(
    scores: Sequence[float | None], parameters: Sequence[Mapping[str, Scalar]], direction: Direction
) -> list[int]:
    """Return positions from best to worst; equal scores by the smallest canonical JSON of their parameters, those
    without a score last, in their own order.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    scored = sorted((sign * score, position) for position, score in enumerate(scores) if score is not None)
    order: list[int] = []
    for _, equal in groupby(scored, key=itemgetter(0)):
        positions = [position for _, position in equal]
        if len(positions) > 1:  # most scores stand alone, and a text costs more than everything else
            positions.sort(key=lambda position: canonical_json(dict(parameters[position])))
        order.extend(positions)
    return [*order, *(position for position, score in enumerate(scores) if score is None)]


def write_cells(path: Path, cells: Cells, sweep: Sweep) -> None:
    """Write ``cells.parquet``."""
    import pyarrow
    import pyarrow.parquet

    kinds: dict[str, type[bool | int | float | str]] = {"index": int, "fold": int, "trades": int}
    for name in cells.columns:
        if name.startswith("p_"):
            kinds[name] = type(sweep.kind.Params.declared[name[2:]].default)
        else:
            kinds.setdefault(name, float if name.startswith("m_") else str)
    columns = {name: nullable_column(column, kinds[name]) for name, column in cells.columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd", version="2.6")
