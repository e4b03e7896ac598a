"""The periods of a sweep: the whole data, named parts of it, or the folds of a walk-forward.

Only times are here. How many bars before a period warm indicators up depends on the parameters of a cell (what the
strategy declares to need) and is ``market.py``'s business.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.timeframes import DAY_MS, iso_time, parse_time
from trading_runtime.sweep.settings import PeriodsSettings

Role = Literal["whole", "train", "test"]

PERIODS_MAX = 10_000
NO_FOLD = -1


@dataclass(frozen=True)
class Period:
    """Bars that open at or after ``start_ms`` and close at or before ``end_ms``.

    With ``warm_up`` the bars before the period fill the windows of indicators, so that the first decision is at the
    close at ``start_ms``; without it a run begins with its first bar, as a backtest does. ``fold`` is -1 outside of
    walk-forward.
    """

    name: str
    role: Role
    fold: int
    start_ms: int
    end_ms: int
    warm_up: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain data that ``Period(**content)`` turns back."""
        return asdict(self)


def make_periods(wanted: PeriodsSettings, first_ms: int, last_ms: int) -> list[Period]:
    """Return the periods of data whose first bar opens at ``first_ms`` and whose last closes at ``last_ms``.

    Raises ConfigurationError for a period outside the data or folds that do not fit into it.
    """
    if wanted.kind == "whole":
        return [Period("whole", "whole", NO_FOLD, first_ms, last_ms, False)]
    if wanted.kind == "list":
        found = [
            Period(one.name, "whole", NO_FOLD, parse_time(one.start), parse_time(one.end), True)
            for one in wanted.periods
        ]
        for period in found:
            if period.start_ms < first_ms or period.end_ms > last_ms:
                raise ConfigurationError(
                    f"periods: {period.name} from {iso_time(period.start_ms)} to {iso_time(period.end_ms)} leaves the "
                    f"data, which covers {iso_time(first_ms)} to {iso_time(last_ms)}"
                )
        return found
    return _folds(wanted, first_ms, last_ms)


def _folds(wanted: PeriodsSettings, first_ms: int, last_ms: int) -> list[Period]:
    """Train and test of each fold in turn. A test that would leave the data is left out: a shorter one is no equal."""
    assert wanted.train_days is not None
    assert wanted.test_days is not None
    train_ms, test_ms = wanted.train_days * DAY_MS, wanted.test_days * DAY_MS
    step_ms = (wanted.step_days or wanted.test_days) * DAY_MS
    embargo_ms = wanted.embargo_days * DAY_MS
    found: list[Period] = []
    fold = 0
    while True:
        moved = first_ms + fold * step_ms
        train_end = moved + train_ms
        test_start = train_end + embargo_ms
        if test_start + test_ms > last_ms:
            break
        train_start = first_ms if wanted.mode == "anchored" else moved
        found.append(Period(f"fold-{fold:03d}-train", "train", fold, train_start, train_end, True))
        found.append(Period(f"fold-{fold:03d}-test", "test", fold, test_start, test_start + test_ms, True))
        fold += 1
        if len(found) > PERIODS_MAX:
            raise ConfigurationError(f"periods: more than {PERIODS_MAX // 2} folds; use longer steps")
    if not found:
        days = wanted.train_days + wanted.embargo_days + wanted.test_days
        raise ConfigurationError(
            f"periods: one fold needs {days} days, the data has {(last_ms - first_ms) / DAY_MS:.1f} "
            f"({iso_time(first_ms)} to {iso_time(last_ms)})"
        )
    return found
