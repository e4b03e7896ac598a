"""Periods of sweeps: folds of walk-forward, and settings of sweeps that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.timeframes import DAY_MS, HOUR_MS
from trading_runtime.sweep.periods import make_periods
from trading_runtime.sweep.settings import NamedPeriod, PeriodsSettings, load_sweep


def folds(days: int, **settings: Any) -> list[tuple[str, float, float]]:
    """Return (role, first day, last day) of each period of ``days`` days of data."""
    wanted = PeriodsSettings(kind="walk_forward", **settings)
    return [
        (period.role, period.start_ms / DAY_MS, period.end_ms / DAY_MS)
        for period in make_periods(wanted, 0, days * DAY_MS)
    ]


def test_rolling_folds_move_train_and_test_along() -> None:
    assert folds(100, train_days=40, test_days=20) == [
        *(("train", 0, 40), ("test", 40, 60)),
        *(("train", 20, 60), ("test", 60, 80)),
        *(("train", 40, 80), ("test", 80, 100)),
    ]


def test_anchored_folds_train_from_the_first_bar_on() -> None:
    assert folds(100, mode="anchored", train_days=40, test_days=20, step_days=30) == [
        *(("train", 0, 40), ("test", 40, 60)),
        *(("train", 0, 70), ("test", 70, 90)),
    ]


def test_an_embargo_lies_between_train_and_test() -> None:
    assert folds(70, train_days=40, test_days=20, embargo_days=5) == [("train", 0, 40), ("test", 45, 65)]


@given(
    days=st.integers(1, 400),
    train=st.integers(1, 90),
    test=st.integers(1, 60),
    step=st.integers(1, 60),
    embargo=st.integers(0, 20),
    mode=st.sampled_from(["rolling", "anchored"]),
)
def test_no_test_reaches_into_its_train_or_beyond_the_data(
    days: int, train: int, test: int, step: int, embargo: int, mode: str
) -> None:
    settings = {"train_days": train, "test_days": test, "step_days": step, "embargo_days": embargo, "mode": mode}
    if train + embargo + test > days:
        with pytest.raises(ConfigurationError, match="one fold needs"):
            folds(days, **settings)
        return
    found = folds(days, **settings)
    for number, ((_, _, train_end), (_, test_start, test_end)) in enumerate(zip(found[::2], found[1::2], strict=True)):
        assert test_start == train_end + embargo
        assert test_end == test_start + test <= days
        assert train_end == number * step + train
    # one more fold would leave the data
    assert found[-1][2] + step > days


def test_a_named_period_must_lie_in_the_data() -> None:
    wanted = PeriodsSettings(kind="list", periods=[NamedPeriod(name="late", start="1970-01-02", end="1970-01-09")])
    with pytest.raises(ConfigurationError, match="late from 1970-01-02T00:00:00Z to 1970-01-09T00:00:00Z leaves the"):
        make_periods(wanted, 0, 5 * DAY_MS)


def test_the_whole_period_has_no_bars_to_warm_up_with() -> None:
    (period,) = make_periods(PeriodsSettings(), HOUR_MS, 9 * HOUR_MS)

    assert (period.role, period.start_ms, period.end_ms, period.warm_up) == ("whole", HOUR_MS, 9 * HOUR_MS, False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spaces": {}}, "spaces is not a setting; did you mean 'space'?"),
        ({"metric": "sharp_ratio"}, "metric must be one of"),
        ({"search": {"kind": "random"}}, "search.count is missing: how many combinations shall random compute?"),
        ({"search": {"count": 5}}, "search.count is for random and optuna"),
        ({"search": {"kind": "optuna", "count": 0}}, "search.count must be at least 1"),
        ({"periods": {"kind": "walk_forward", "test_days": 3}}, "periods.train_days is missing"),
        ({"periods": {"train_days": 3}}, "periods.train_days is for kind walk_forward alone"),
        ({"periods": {"kind": "list"}}, "periods.periods must name at least one period"),
        ({"periods": {"embargo_days": 2}}, "periods.embargo_days is for kind walk_forward, and periods.kind is whole"),
        (
            {"periods": {"kind": "list", "periods": [{"name": "a", "start": "2023-02-01", "end": "2023-01-01"}]}},
            "periods.periods.0.end must be after start 2023-02-01",
        ),
        (
            {
                "search": {"kind": "optuna", "count": 5},
                "periods": {"kind": "walk_forward", "train_days": 5, "test_days": 3},
            },
            "search.kind optuna cannot search walk_forward folds",
        ),
    ],
)
def test_wrong_settings_are_one_line_with_their_key(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({"backtest": "backtest.json", **settings}))

    with pytest.raises(ConfigurationError) as caught:
        load_sweep(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
