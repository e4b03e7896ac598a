"""Sample sweeps for the tests of the report: parameters, periods and figures from a seed, statistics by our own
functions.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from trading_runtime.core.hashing import sha256_hex
from trading_runtime.core.timeframes import iso_time
from trading_runtime.sweep.statistics import sweep_statistics
from trading_runtime.sweep.walk_forward import Fold, walk_forward

DAY_MS = 86_400_000
START_MS = 1_704_067_200_000


def sample_sweep(
    space: dict[str, list[Any]],
    *,
    folds: int = 0,
    seed: int = 1,
    failed: int = 0,
    missing: int = 0,
    test_days: int = 40,
) -> tuple[dict[str, Any], dict[str, list[Any]], dict[str, Any] | None]:
    """Return sweep.json, the columns of cells.parquet and those of equity.parquet (None without folds)."""
    rng = np.random.default_rng(seed)
    combinations = list(itertools.product(*space.values()))
    skill = rng.normal(0.3, 0.8, len(combinations))
    names = [(f"fold-{fold:03d}-{role}", role, fold) for fold in range(folds) for role in ("train", "test")]
    periods = names or [("whole", "whole", -1)]
    columns: dict[str, list[Any]] = {name: [] for name in ("index", "cell_id", "period", "role", "fold")}
    columns |= {f"p_{name}": [] for name in space}
    metrics = (
        "sharpe_ratio",
        "total_return_fraction",
        "maximum_drawdown_fraction",
        "volatility_annual_fraction",
        "fees",
    )
    columns |= {f"m_{name}": [] for name in metrics}
    columns |= {"trades": [], "digest": [], "status": []}
    for (place, combination), (period, role, fold) in itertools.product(enumerate(combinations), periods):
        sharpe = float(
            skill[place] * (0.6 if role == "test" else 1.0) + rng.normal(0.5 if role == "train" else 0.0, 0.6)
        )
        values = (sharpe, sharpe * 0.12 + float(rng.normal(0, 0.03)), abs(float(rng.normal(0.2, 0.06))), 0.4, 812.5)
        index = len(columns["index"])
        status = "failed" if index < failed else "missing" if index < failed + missing else "done"
        cell = sha256_hex(f"{seed}/{index}".encode())
        for name, value in (("index", index), ("cell_id", cell), ("period", period), ("role", role), ("fold", fold)):
            columns[name].append(value)
        for name, value in zip(space, combination, strict=True):
            columns[f"p_{name}"].append(value)
        for name, figure in zip(metrics, values, strict=True):
            columns[f"m_{name}"].append(round(figure, 9) if status == "done" else None)
        columns["trades"].append(int(rng.integers(0, 400)) if status == "done" else 0)
        columns["digest"].append(sha256_hex(cell.encode()) if status == "done" else "")
        columns["status"].append(status)
    total = len(columns["index"])
    sweep: dict[str, Any] = {
        "schema_version": 1,
        "sweep_id": "0123456789abcdef",
        "root_digest": sha256_hex(b"root"),
        "name": "crossing averages",
        "strategy": "moving_average_cross",
        "metric": "sharpe_ratio",
        "direction": "maximize",
        "counts": {
            "planned": total,
            "done": total - failed - missing,
            "missing": missing,
            "failed": failed,
            "corrupt": 0,
            "reused": 7,
        },
        "parameters": {name: {"kind": "values", "values": values} for name, values in space.items()},
        "periods": [
            {"name": name, "role": role, "fold": None if fold < 0 else fold, **_times(role, fold, test_days)}
            for name, role, fold in periods
        ],
        "walk_forward": None,
        "statistics": sweep_statistics(
            rng.normal(0.0005, 0.02, (256, min(len(combinations), 60))),
            0,
            periods_per_year=365,
            trials=max(len(combinations), 60),
            blocks=8,
        ),
        "provenance": {"commit": "0" * 40, "dirty": False, "engine": 3},
    }
    if not folds:
        return sweep, columns, None
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    fold_of = dict(zip(columns["cell_id"], columns["fold"], strict=True))

    def equity_of(cell: str) -> Any:
        fold = fold_of[cell]
        times = START_MS + (np.arange(test_days, dtype=np.int64) + 1 + 200 + fold * test_days) * DAY_MS
        return times, 10_000.0 * np.cumprod(1 + np.random.default_rng(fold).normal(0.0005, 0.02, test_days))

    told = walk_forward(
        rows,
        [Fold(fold, f"fold-{fold:03d}-train", f"fold-{fold:03d}-test") for fold in range(folds)],
        "sharpe_ratio",
        "maximize",
        equity_of,
        start_cash=10_000.0,
        bar_ms=DAY_MS,
    )
    sweep["walk_forward"] = told.document()
    if told.stitched is None:
        return sweep, columns, None
    curve = {"time_ms": told.stitched.time_ms, "equity": told.stitched.equity, "fold": told.stitched.fold}
    return sweep, columns, curve


def _times(role: str, fold: int, test_days: int) -> dict[str, str]:
    start = 0 if role == "whole" else max(fold, 0) * test_days + (200 if role == "test" else 0)
    days = 400 if role == "whole" else test_days if role == "test" else 200
    return {"start": iso_time(START_MS + start * DAY_MS), "end": iso_time(START_MS + (start + days) * DAY_MS)}
