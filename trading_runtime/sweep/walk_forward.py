"""Walk-forward: in each fold the best of train is chosen, judged on test, and the tests are chained to one curve.

Pure functions on the rows of a sweep, as ``cells.parquet`` has them. Which periods there are is ``periods``' matter,
where cells are kept is ``gather``'s. The choice reads rows of the train period and nothing else: what a cell earned in
test can not reach it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from trading_runtime.backtest.metrics import METRICS, compute_metrics
from trading_runtime.backtest.return_metrics import Value, published, sampled_bars
from trading_runtime.backtest.tables import EquityTable, FillTable, Floats, Integers, no_funding
from trading_runtime.backtest.trades import build_trades
from trading_runtime.core.errors import ConfigurationError, DataError, nearest_name
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.timeframes import DAY_MS, iso_time

Direction = Literal["maximize", "minimize"]
Row = Mapping[str, Any]
Series = tuple[Integers, Floats]  # time_ms of closes and the equity at them, shape (n,) each

PARAMETER = "p_"
METRIC = "m_"
USABLE = frozenset({"done", "reused"})
NO_FOLD = -1

# What equity alone can tell. Fees, exposure and the rest belong to the accounts of the folds, each of which began with
# the starting cash: their sum would be the sum of different moneys.
_CURVE_GROUPS = frozenset({"Return", "Basis", "Risk", "Tail"})


@dataclass(frozen=True)
class Fold:
    """One fold, by the names of its periods."""

    fold: int
    train: str
    test: str


@dataclass(frozen=True)
class FoldResult:
    """What was chosen in a fold and how it did. ``ties`` counts the other cells with the very same train metric,
    ``candidates`` the cells of train that have one. ``refusal`` says why nothing was chosen or judged.
    """

    fold: int
    train: str
    test: str
    candidates: int
    chosen: dict[str, Any] | None = None
    train_metric: float | None = None
    test_metric: float | None = None
    ties: int = 0
    train_cell: str | None = None
    test_cell: str | None = None
    test_trades: int | None = None
    refusal: str | None = None


@dataclass(frozen=True, eq=False)
class Stitched:
    """The chained out-of-sample equity, shape (n,) each; ``fold`` is -1 in a gap between tests, where the account
    idles.
    """

    time_ms: Integers
    equity: Floats
    fold: Integers
    metrics: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class WalkForward:
    """All folds, the curve of their tests, and how steady the choice was. ``refusal`` says why there is no curve."""

    folds: tuple[FoldResult, ...]
    stability: dict[str, dict[str, Any]]
    stitched: Stitched | None
    refusal: str | None

    def document(self) -> dict[str, Any]:
        """Return the part ``walk_forward`` of ``sweep.json``."""
        return {
            "folds": [
                {
                    "fold": one.fold,
                    "train": one.train,
                    "test": one.test,
                    "chosen": one.chosen,
                    "train_metric": one.train_metric,
                    "test_metric": one.test_metric,
                    "ties": one.ties,
                    "candidates": one.candidates,
                    "train_cell": one.train_cell,
                    "test_cell": one.test_cell,
                    "refusal": one.refusal,
                }
                for one in self.folds
            ],
            "stitched": {"metrics": self.stitched.metrics if self.stitched else None, "refusal": self.refusal},
            "stability": self.stability,
        }


def walk_forward(
    rows: Sequence[Row],
    folds: Sequence[Fold],
    metric: str,
    direction: Direction,
    equity_of: Callable[[str], Series],
    *,
    start_cash: float,
    bar_ms: int,
    periods_per_year: float = 365,
    risk_free_rate_annual: float = 0.0,
) -> WalkForward:
    """Choose in each fold, chain the chosen cells' tests and measure the chain.

    ``equity_of`` returns the test equity of a cell by its id, at every bar close or at the last one of each UTC day:
    both give the same figures. It is asked only for cells that were chosen. ``start_cash`` is the equity of every cell
    before its first bar, ``bar_ms`` the length of its bars.

    Raises ConfigurationError for a metric that no row has, DataError for rows that contradict each other. A fold that
    cannot be decided is a refusal in its result, and then there is no curve: a curve without it would flatter.
    """
    chosen = choose(rows, folds, metric, direction)
    refusal = next((one.refusal for one in chosen if one.refusal), None) if chosen else "there is no fold"
    stitched = None
    if refusal is None:
        parts = [(one.fold, equity_of(str(one.test_cell))) for one in chosen]
        try:
            curve = stitch(parts, start_cash=start_cash, bar_ms=bar_ms)
        except DataError as error:
            refusal = str(error)
        else:
            metrics = curve_metrics(
                curve.time_ms,
                curve.equity,
                start_cash=start_cash,
                bar_ms=bar_ms,
                periods_per_year=periods_per_year,
                risk_free_rate_annual=risk_free_rate_annual,
            )
            trades = [one.test_trades for one in chosen if one.test_trades is not None]
            if len(trades) == len(chosen):
                metrics["trades"] = sum(trades)
            stitched = Stitched(curve.time_ms, curve.equity, curve.fold, metrics)
    return WalkForward(chosen, stability(chosen), stitched, refusal)


def choose(rows: Sequence[Row], folds: Sequence[Fold], metric: str, direction: Direction) -> tuple[FoldResult, ...]:
    """Return the choice of every fold, in the order given.

    The best is the highest or lowest train metric; a missing value, NaN or infinity never is. Of equal ones the
    smallest canonical JSON of the parameters, compared as bytes, is taken: a rule that knows neither order of rows nor
    luck.
    """
    if direction not in ("maximize", "minimize"):
        raise ConfigurationError(f'direction is {direction!r}: it must be "maximize" or "minimize"')
    column = METRIC + metric
    if rows and not any(column in row for row in rows):
        known = sorted({name.removeprefix(METRIC) for row in rows for name in row if name.startswith(METRIC)})
        near = nearest_name(metric, known)
        raise ConfigurationError(f"no cell has a metric {metric!r}" + (f': did you mean "{near}"?' if near else ""))
    periods = {name for fold in folds for name in (fold.train, fold.test)}
    by_period: dict[str, list[Row]] = {name: [] for name in periods}
    for row in rows:
        if row["period"] in periods:
            by_period[row["period"]].append(row)
    return tuple(_decide(fold, by_period[fold.train], by_period[fold.test], metric, direction) for fold in folds)


def _decide(fold: Fold, train: Sequence[Row], test: Sequence[Row], metric: str, direction: Direction) -> FoldResult:
    column = METRIC + metric
    valued = [(value, row) for row in train if (value := _value(row, column)) is not None]
    if not valued:
        return FoldResult(fold.fold, fold.train, fold.test, 0, refusal=_nothing_to_choose(fold, train, metric))
    best = (max if direction == "maximize" else min)(value for value, _ in valued)
    equal = sorted(
        (canonical_json(parameters(row)), place) for place, (value, row) in enumerate(valued) if value == best
    )
    if len({text for text, _ in equal}) < len(equal):
        raise DataError(
            f"fold {fold.fold}: period {fold.train} has two cells of the same parameters: {equal[0][0].decode()}"
        )
    winner = valued[equal[0][1]][1]
    chosen = parameters(winner)
    result = FoldResult(
        fold.fold,
        fold.train,
        fold.test,
        candidates=len(valued),
        chosen=chosen,
        train_metric=best,
        ties=len(equal) - 1,
        train_cell=str(winner["cell_id"]),
    )
    judged = [row for row in test if parameters(row) == chosen]
    if len(judged) > 1:
        raise DataError(f"fold {fold.fold}: period {fold.test} has {len(judged)} cells of the chosen parameters")
    if not judged or judged[0].get("status") not in USABLE:
        state = judged[0].get("status") if judged else "not planned"
        return replace(result, refusal=f"fold {fold.fold}: the chosen cell is {state} in {fold.test}")
    trades = judged[0].get("trades")
    return replace(
        result,
        test_metric=_value(judged[0], column),
        test_cell=str(judged[0]["cell_id"]),
        test_trades=None if trades is None else int(trades),
    )


def _nothing_to_choose(fold: Fold, train: Sequence[Row], metric: str) -> str:
    if not train:
        return f"fold {fold.fold}: there is no cell of period {fold.train}"
    states = Counter(str(row.get("status")) for row in train)
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"fold {fold.fold}: no cell of {fold.train} has a {metric} ({told})"


def parameters(row: Row) -> dict[str, Any]:
    """Return the parameters of a row as plain Python values, by name."""
    return {
        name.removeprefix(PARAMETER): value.item() if isinstance(value, np.generic) else value
        for name, value in row.items()
        if name.startswith(PARAMETER)
    }


def trials_of(rows: Sequence[Row], folds: Sequence[Fold]) -> dict[str, list[tuple[int, str]]]:
    """Return fold and cell id of every test, in the order of folds, for each set of parameters, as canonical JSON.

    Chained by ``stitch`` they are the trials that ``statistics`` compares. Sets that lack a test are left out.
    """
    fold_of = {fold.test: fold.fold for fold in folds}
    found: dict[str, dict[int, str]] = {}
    for row in rows:
        if row["period"] in fold_of and row.get("status") in USABLE:
            key = canonical_json(parameters(row)).decode()
            found.setdefault(key, {})[fold_of[row["period"]]] = str(row["cell_id"])
    order = [fold.fold for fold in folds]
    return {
        key: [(fold, cells[fold]) for fold in order] for key, cells in sorted(found.items()) if len(cells) == len(order)
    }


def _value(row: Row, column: str) -> float | None:
    value = row.get(column)
    if row.get("status") not in USABLE or value is None or not math.isfinite(value):
        return None
    return float(value)


def stitch(parts: Sequence[tuple[int, Series]], *, start_cash: float, bar_ms: int) -> Stitched:
    """Chain the equity of each fold's test onto the end of the one before, by returns; metrics are left empty.

    Every series began with ``start_cash``. Between tests that do not touch, equity stands still. A fold that leaves
    nothing ends the account: what follows stays where it ended. Raises DataError for a test without bars, in disorder,
    not finite, or overlapping another.
    """
    if not start_cash > 0.0:
        raise ValueError(f"start_cash must be positive, not {start_cash!r}")
    step_ms = max(bar_ms, DAY_MS)
    times: list[Integers] = []
    values: list[Floats] = []
    folds: list[Integers] = []
    level, last_ms, before = start_cash, None, None
    for number, (time_ms, equity) in parts:
        _check_series(number, time_ms, equity)
        if last_ms is not None:
            if int(time_ms[0]) <= last_ms:
                raise DataError(
                    f"the tests of folds {before} and {number} overlap: {number} begins before {iso_time(last_ms)}; "
                    "a chained curve needs a step of at least the test length"
                )
            idle = np.arange(last_ms + step_ms, int(time_ms[0]), step_ms, dtype=np.int64)
            times.append(idle)
            values.append(np.full(len(idle), level))
            folds.append(np.full(len(idle), NO_FOLD, dtype=np.int64))
        times.append(time_ms)
        values.append(equity * (level / start_cash) if level > 0.0 else np.full(len(equity), level))
        folds.append(np.full(len(equity), number, dtype=np.int64))
        level, last_ms, before = float(values[-1][-1]), int(time_ms[-1]), number
    if not times:
        raise DataError("there is no test to chain")
    return Stitched(np.concatenate(times), np.concatenate(values), np.concatenate(folds))


def _check_series(number: int, time_ms: Integers, equity: Floats) -> None:
    if not len(time_ms) or len(time_ms) != len(equity):
        raise DataError(f"fold {number}: the equity of its test has {len(time_ms)} times and {len(equity)} values")
    if not np.isfinite(equity).all() or (np.diff(time_ms) <= 0).any():
        raise DataError(f"fold {number}: the equity of its test is not finite or not in order of time")


def curve_metrics(
    time_ms: Integers,
    equity: Floats,
    *,
    start_cash: float,
    bar_ms: int,
    periods_per_year: float = 365,
    risk_free_rate_annual: float = 0.0,
) -> dict[str, Value]:
    """Return the metrics of ``backtest.metrics`` that an equity curve alone has, drawdowns among them at its samples:
    the last close of each UTC day, or every close of longer bars.
    """
    samples = sampled_bars(time_ms, bar_ms)
    curve = equity[samples]
    table = EquityTable(time_ms[samples], curve, curve, np.zeros(len(curve)), curve)
    fills = _no_fills()
    last_ms = int(time_ms[-1])
    metrics = compute_metrics(
        table,
        build_trades(fills, no_funding(), last_close=[], last_time_ms=last_ms, last_bar=len(curve) - 1),
        fills,
        no_funding(),
        start_cash=start_cash,
        bar_ms=max(bar_ms, DAY_MS),
        periods_per_year=periods_per_year,
        risk_free_rate_annual=risk_free_rate_annual,
    )
    told = {metric.key: metrics[metric.key] for metric in METRICS if metric.group in _CURVE_GROUPS}
    if bar_ms < DAY_MS:
        told["return_sample"] = "UTC day"
    return told


def _no_fills() -> FillTable:
    whole, real = np.zeros(0, dtype=np.int64), np.zeros(0)
    return FillTable(
        time_ms=whole,
        bar=whole,
        symbol_index=whole,
        side=np.zeros(0, dtype=np.int8),
        quantity_units=whole,
        price=real,
        value_units=whole,
        fee_units=whole,
        slippage_units=whole,
        is_maker=np.zeros(0, dtype=np.bool_),
        order_id=[],
        leg=[],
        reason=[],
        symbols=[],
        quantity_unit=[],
        quote_unit=1.0,
    )


def stability(folds: Sequence[FoldResult]) -> dict[str, dict[str, Any]]:
    """Return for each parameter how the choice moved over the folds: ``distinct`` values, ``changes`` from one fold to
    the next, ``mean`` and sample standard ``deviation`` of numbers, None for other kinds and for a deviation of one
    fold.
    """
    chosen = [one.chosen for one in folds if one.chosen is not None]
    return {name: _spread([one[name] for one in chosen]) for name in (chosen[0] if chosen else ())}


def _spread(values: Sequence[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "distinct": len({canonical_json(value) for value in values}),
        "changes": sum(before != after for before, after in pairwise(values)),
        "mean": None,
        "deviation": None,
    }
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        mean = math.fsum(values) / len(values)
        told["mean"] = published(mean)
        if len(values) > 1:
            squares = math.fsum((value - mean) * (value - mean) for value in values)
            told["deviation"] = published(math.sqrt(squares / (len(values) - 1)))
    return told
