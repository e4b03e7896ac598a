"""The numbers that ``assets/sweep.js`` draws: cells by column, pairs of train and test, and the stitched curve.

Distinct values of a parameter stand once and are referred to by place: ten thousand cells stay near a megabyte. Knows
no HTML and leaves nothing out but digits that no pixel shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trading_runtime.backtest.charts import compact, thinned_rows, time_steps
from trading_runtime.backtest.figures import is_number, moment
from trading_runtime.sweep.report.headline import stitched_metrics
from trading_runtime.sweep.report.subject import Subject, kind, label
from trading_runtime.sweep.statistics import rank_correlation
from trading_runtime.sweep.tables import LESS_IS_BETTER
from trading_runtime.sweep.walk_forward import METRIC, PARAMETER

ID_DIGITS = 16


def drawn(subject: Subject) -> dict[str, Any]:
    """Return everything as one JSON value."""
    columns = subject.columns
    rows = range(len(columns["cell_id"]))
    ids = [str(cell)[:ID_DIGITS] for cell in columns["cell_id"]]
    periods = list(dict.fromkeys(columns["period"]))
    best = subject.ranked()[:1]
    return {
        "metric": subject.metric,
        "highest": subject.highest,
        "best": best[0] if best else None,
        "index": columns.get("index") or list(rows),
        "id": ids,
        "trades": columns["trades"] if subject.knows_trades else None,
        "parameters": [{"name": name, **_codes(columns[PARAMETER + name])} for name in subject.parameters],
        "metrics": [
            {
                "key": key,
                "label": label(key),
                "kind": kind(key),
                "harm": key in LESS_IS_BETTER,
                "values": _short(columns[METRIC + key]),
            }
            for key in subject.metrics
        ],
        "periods": [_period(subject, name) for name in periods],
        "period": _places(columns["period"], periods),
        "status": _codes(columns["status"]),
        "links": {
            str(row): subject.links[cell] for row, cell in enumerate(columns["cell_id"]) if cell in subject.links
        },
        "pairs": pairs(subject),
        "equity": _curve(subject),
    }


def _codes(values: Sequence[Any]) -> dict[str, Any]:
    """Return the distinct values, numbers ascending before texts, and the place of each row's value among them."""

    def order(value: Any) -> tuple[int, float, str]:
        if value is None:
            return 3, 0.0, ""
        if isinstance(value, bool):
            return 1, float(value), ""
        return (0, value, "") if isinstance(value, int | float) else (2, 0.0, str(value))

    distinct = sorted(set(values), key=order)
    return {"values": distinct, "at": _places(values, distinct)}


def _places(values: Sequence[Any], distinct: Sequence[Any]) -> list[int]:
    places = {value: place for place, value in enumerate(distinct)}
    return [places[value] for value in values]


def _short(values: Sequence[Any]) -> list[float | int | None]:
    return compact(np.array([np.nan if value is None else value for value in values], dtype=np.float64))


def _period(subject: Subject, name: str) -> dict[str, Any]:
    planned = subject.sweep.get("periods")
    for one in planned if isinstance(planned, list) else []:
        if isinstance(one, dict) and one.get("name") == name:
            words = f"{moment(one.get('start', '?'))} to {moment(one.get('end', '?'))}"
            return {"name": name, "role": str(one.get("role", "")), "words": words}
    return {"name": str(name), "role": "", "words": ""}


def pairs(subject: Subject) -> dict[str, Any] | None:
    """Return the rows of train and test that hold the same parameters in the same fold, which of them were chosen, and
    Spearman's correlation of their metric; None without any.
    """
    columns = subject.columns
    values, roles, folds = columns.get(METRIC + subject.metric), columns.get("role"), columns.get("fold")
    if values is None or roles is None or folds is None:
        return None
    names = [name for name in columns if name.startswith(PARAMETER)]
    keys = [tuple(repr(columns[name][row]) for name in names) for row in range(len(values))]
    tests = {(folds[row], keys[row]): row for row, role in enumerate(roles) if role == "test"}
    told = subject.part("walk_forward").get("folds")
    chosen = {one.get("train_cell") for one in told if isinstance(one, dict)} if isinstance(told, list) else set()
    found = [
        (row, test)
        for row, role in enumerate(roles)
        if role == "train" and (test := tests.get((folds[row], keys[row]))) is not None
        if values[row] is not None and values[test] is not None
    ]
    if not found:
        return None
    correlation = rank_correlation([values[train] for train, _ in found], [values[test] for _, test in found])
    return {
        "train": [train for train, _ in found],
        "test": [test for _, test in found],
        "chosen": [int(columns["cell_id"][train] in chosen) for train, _ in found],
        "fold": [folds[train] for train, _ in found],
        "correlation": None if correlation is None else round(correlation, 6),
    }


def _curve(subject: Subject) -> dict[str, Any] | None:
    if subject.equity is None:
        return None
    began = stitched_metrics(subject).get("start_equity")
    time_ms = np.array(subject.equity["time_ms"], dtype=np.int64)
    equity = np.array(subject.equity["equity"], dtype=np.float64)
    fold = np.array(subject.equity["fold"], dtype=np.int64)
    edges = np.flatnonzero(np.diff(fold)) + 1
    kept = np.union1d(np.union1d(thinned_rows([equity]), edges), edges - 1)
    return {
        "time": time_steps(time_ms[kept]),
        "values": compact(equity[kept], 8),
        "fold": fold[kept].tolist(),
        "start": began if is_number(began) else None,
    }
