"""The settings of a sweep: every key with its type, limits and meaning, and reading them from a file.

What the parameters' ranges come to is ``space.py``'s work, what the periods come to is ``periods.py``'s; the backtest
that is swept has a configuration of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from trading_runtime.config.checking import SettingError, check_tree
from trading_runtime.config.files import Tree, read_tree
from trading_runtime.config.schema import Section, TimeText
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.timeframes import parse_time

# The metrics that every path of the engine gives to the same digits (backtest.return_metrics.ReturnStatistics); a test
# keeps both in step.
MetricName = Literal[
    "sharpe_ratio",
    "sortino_ratio",
    "calmar_ratio",
    "total_return_fraction",
    "annual_return_fraction",
    "volatility_annual_fraction",
    "maximum_drawdown_fraction",
    "exposure_time_fraction",
    "end_equity",
    "fills",
    "fees",
    "slippage",
    "funding",
]
Direction = Literal["maximize", "minimize"]
CELLS_MAX = 10_000_000

# The keys that each kind of search or of periods does not read: a key without effect is a misunderstanding.
_UNUSED = {
    "search": {
        "grid": ("seed", "sampler", "rounds"),
        "random": ("sampler", "rounds"),
        "optuna": (),
    },
    "periods": {
        "whole": ("mode", "step_days", "embargo_days"),
        "list": ("mode", "step_days", "embargo_days"),
        "walk_forward": (),
    },
}
_PERIOD_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class SearchSettings(Section, frozen=True, kw_only=True):
    """Which of the combinations are computed."""

    kind: Annotated[
        Literal["grid", "random", "optuna"],
        Meta(description="grid takes all; random draws some without replacement; optuna learns from earlier results"),
    ] = "grid"
    count: Annotated[
        Annotated[int, Meta(ge=1, le=CELLS_MAX)] | None, Meta(description="combinations to compute; not for grid")
    ] = None
    seed: Annotated[int, Meta(ge=0, lt=2**31, description="seed of random and optuna")] = 0
    sampler: Annotated[Literal["tpe", "random"], Meta(description="optuna's sampler")] = "tpe"
    rounds: Annotated[
        int, Meta(ge=1, le=1000, description="optuna decides in this many rounds, each before its results are known")
    ] = 10


class NamedPeriod(Section, frozen=True, kw_only=True):
    """One part of the data; the bars before it warm the indicators up."""

    name: Annotated[str, Meta(min_length=1, max_length=60, extra_json_schema={"pattern": _PERIOD_NAME})]
    start: Annotated[TimeText, Meta(description="first bar opens at or after this UTC time")]
    end: Annotated[TimeText, Meta(description="last bar closes at or before this UTC time")]


class PeriodsSettings(Section, frozen=True, kw_only=True):
    """Over which parts of the data every combination is run."""

    kind: Annotated[
        Literal["whole", "list", "walk_forward"],
        Meta(description="whole is what a backtest runs over; list names periods; walk_forward trains and tests"),
    ] = "whole"
    periods: Annotated[list[NamedPeriod], Meta(description="for list: the periods, in the order of results")] = field(
        default_factory=list
    )
    mode: Annotated[
        Literal["anchored", "rolling"],
        Meta(description="for walk_forward: training begins at the first bar (anchored) or moves along (rolling)"),
    ] = "rolling"
    train_days: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="for walk_forward: days of training")] = (
        None
    )
    test_days: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="for walk_forward: days of test")] = None
    step_days: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="for walk_forward: days from one fold to the next; without it test_days"),
    ] = None
    embargo_days: Annotated[
        int, Meta(ge=0, description="for walk_forward: days between training and test that neither uses")
    ] = 0


class SweepSettings(Section, frozen=True, kw_only=True):
    """Configuration of a sweep: which backtest, which parameters, which periods, which figure decides."""

    name: Annotated[str, Meta(min_length=1, max_length=120, description="what this sweep is called in reports")] = (
        "sweep"
    )
    backtest: Annotated[
        str, Meta(min_length=1, description="configuration of the backtest, relative to this file, JSON or YAML")
    ]
    space: Annotated[
        dict[str, Any],
        Meta(
            description="values of each swept parameter: a list, {start, stop, step} with both ends included, "
            "or `declared` for what the strategy declares"
        ),
    ] = field(default_factory=dict)
    where: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(description="conditions between parameters that every combination must hold, such as fast < slow"),
    ] = field(default_factory=list)
    search: Annotated[SearchSettings, Meta(description="which combinations are computed")] = SearchSettings()
    periods: Annotated[PeriodsSettings, Meta(description="over which parts of the data")] = PeriodsSettings()
    metric: Annotated[MetricName, Meta(description="the figure combinations are compared by")] = "sharpe_ratio"
    direction: Annotated[Direction, Meta(description="which end of the metric is the good one")] = "maximize"


@dataclass(frozen=True)
class LoadedSweep:
    """Settings of a sweep, their file, and the configuration of its backtest."""

    settings: SweepSettings
    path: Path
    backtest_path: Path


def load_sweep(path: Path | str) -> LoadedSweep:
    """Return the settings of a sweep; raises ConfigurationError, one line, for anything missing, unknown or wrong."""
    path = Path(path)
    tree = read_tree(path)
    try:
        settings = check_tree(tree, {}, SweepSettings)
        _refuse_unused(tree, settings)
        _check(settings)
    except SettingError as problem:
        raise ConfigurationError(f"{path}: {problem.key} {problem.message}") from None
    return LoadedSweep(settings, path, path.absolute().parent / settings.backtest)


def _refuse_unused(tree: Tree, settings: SweepSettings) -> None:
    """Refuse keys that are written and that nothing would read; the settings alone do not tell them from defaults."""
    for section, kind in (("search", settings.search.kind), ("periods", settings.periods.kind)):
        for name in _UNUSED[section][kind]:
            if name in tree.get(section, {}):
                users = " and ".join(one for one, unused in _UNUSED[section].items() if name not in unused)
                raise SettingError(f"{section}.{name}", f"is for kind {users}, and {section}.kind is {kind}: remove it")


def _check(settings: SweepSettings) -> None:
    """What settings only say together."""
    search, periods = settings.search, settings.periods
    if search.kind == "grid" and search.count is not None:
        raise SettingError("search.count", "is for random and optuna; a grid takes every combination: remove it")
    if search.kind != "grid" and search.count is None:
        raise SettingError("search.count", f"is missing: how many combinations shall {search.kind} compute?")
    if search.kind == "optuna" and periods.kind == "walk_forward":
        raise SettingError(
            "search.kind", "optuna cannot search walk_forward folds, which choose for themselves: use grid or random"
        )
    if (periods.kind == "list") != bool(periods.periods):
        raise SettingError("periods.periods", "must name at least one period for kind list, and is for list alone")
    names = [period.name for period in periods.periods]
    for index, period in enumerate(periods.periods):
        if not re.match(_PERIOD_NAME, period.name):
            raise SettingError(
                f"periods.periods.{index}.name",
                f"must be of letters, digits, '.', '_' and '-' and begin with a letter or digit, not {period.name!r}",
            )
        if period.name in names[:index]:
            raise SettingError(f"periods.periods.{index}.name", f"{period.name!r} is given twice")
        if parse_time(period.start) >= parse_time(period.end):
            raise SettingError(f"periods.periods.{index}.end", f"must be after start {period.start}, not {period.end}")
    lengths = {"train_days": periods.train_days, "test_days": periods.test_days}
    for name, length in lengths.items():
        if (length is None) == (periods.kind == "walk_forward"):
            said = "is missing: walk_forward needs it" if length is None else "is for kind walk_forward alone"
            raise SettingError(f"periods.{name}", said)
