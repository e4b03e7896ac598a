"""Planning a sweep: settings, data and code become one spec in the store, from which everything else follows.

The same plan gives the same id, so that planning twice is one sweep. Cells of other sweeps that this one shares are
counted here, before anything of it is computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trading_runtime.config.build import load_strategy
from trading_runtime.config.load import load_settings, settings_json
from trading_runtime.config.schema import STRATEGY_CLASS
from trading_runtime.config.strategies import strategy_name
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.objects.port import ObjectDamaged, ObjectMissing, ObjectStore
from trading_runtime.objects.seal import seal, unseal
from trading_runtime.sweep.data import SweepData, load_data, upload
from trading_runtime.sweep.markets import refuse_empty
from trading_runtime.sweep.periods import make_periods
from trading_runtime.sweep.present import count_of, present_cells
from trading_runtime.sweep.runner import Runner
from trading_runtime.sweep.settings import CELLS_MAX, load_sweep
from trading_runtime.sweep.space import Places, Space, all_places, drawn_places, make_space
from trading_runtime.sweep.spec import (
    Sweep,
    code_of,
    id_of,
    load_sweep_spec,
    make_content,
    spec_key,
    store_places,
    write_spec,
)

Counted = Callable[[int, int], None]  # cells done, cells in all

BLOCK = 4096  # cells that are looked for together
NO_COMBINATION = "where: no combination holds all conditions and the strategy's own check; loosen them"
NAMED_MAX = 50  # sweeps of one name that are remembered


@dataclass(frozen=True, eq=False)
class Planned:
    """A sweep that stands in the store; ``is_new`` when this plan put it there. ``left_out`` combinations do not hold
    the conditions or the strategy's own check; None where that was not counted.
    """

    sweep: Sweep
    data: SweepData
    strategy: str
    is_new: bool
    reused: int
    left_out: int | None


def plan_sweep(
    path: Path | str, store: ObjectStore, environment: Mapping[str, str], progress: Counted | None = None
) -> Planned:
    """Plan the sweep that a file describes; ``progress`` is told how many cells of how many were looked for in a store
    that holds results already.

    Raises ConfigurationError or DataError for anything a person can mend.
    """
    loaded = load_sweep(path)
    wanted = loaded.settings
    try:
        backtest = load_settings(loaded.backtest_path, (), environment)
    except ConfigurationError as error:
        raise ConfigurationError(f"{loaded.path}: backtest {wanted.backtest!r}: {error}") from None
    settings = backtest.settings
    strategy = load_strategy(settings, backtest.folder)
    kind = type(strategy)
    try:
        if settings.artifact is not None:
            _refuse_swept_fuel(wanted.space)
        fixed = {name: value for name, value in strategy.params.to_json().items() if name not in wanted.space}
        space = make_space(wanted.space, wanted.where, kind.Params, fixed)
        places, count = _chosen(space, kind.Params, wanted.search.kind, wanted.search.count, wanted.search.seed)
        data = load_data(settings, backtest.folder, strategy)
        periods = make_periods(wanted.periods, *data.span(settings))
        refuse_empty(periods, data)
        if count * len(periods) > CELLS_MAX:
            raise ConfigurationError(
                f"{count:,} combinations in {len(periods)} periods are {count * len(periods):,} cells; "
                f"at most {CELLS_MAX:,} are allowed: use larger steps, fewer periods, or search.kind random"
            )
    except ConfigurationError as error:
        raise ConfigurationError(f"{loaded.path}: {error}") from None
    found_at = str(settings.strategy[STRATEGY_CLASS])
    locator = strategy_name(found_at, backtest.folder)
    content = make_content(
        name=wanted.name,
        metric=wanted.metric,
        direction=wanted.direction,
        settings=settings,
        kind=kind,
        space=space,
        where=list(wanted.where),
        search=_search(settings_json(wanted.search), wanted.search.kind),
        places=store_places(store, space, places, count),
        periods=periods,
        data=upload(store, data, settings),
        origin={
            "strategy": _portable(locator),
            "code": code_of(kind),
            "manifests": [dict(manifest) for manifest in data.manifests],
            "previous": _previous(store, wanted.name),
        },
    )
    left_out = space.count - count if wanted.search.kind == "grid" else None
    sweep_id = id_of(content)
    if store.exists(spec_key(sweep_id)):
        sweep = load_sweep_spec(store, sweep_id, strategy=locator)
        _remember(store, wanted.name, sweep_id)
        return Planned(sweep, data, locator, False, reused_count(store, sweep_id), left_out)
    # The spec last: whoever sees it may begin, and what was there before is then known.
    sweep = Sweep(sweep_id, content, settings, kind, space, tuple(periods), _none_yet() if places is None else places)
    reused = _count_present(store, sweep, data, progress)
    store.create(_reused_key(sweep_id), seal({"sweep_id": sweep_id, "reused": reused}))
    _, is_new = write_spec(store, content)
    _remember(store, wanted.name, sweep_id)
    return Planned(load_sweep_spec(store, sweep_id, strategy=locator), data, locator, is_new, reused, left_out)


def reused_count(store: ObjectStore, sweep_id: str) -> int:
    """Return how many of a sweep's cells were there when it was planned."""
    key = _reused_key(sweep_id)
    try:
        return int(unseal(f"{store.label}: {key}", store.get(key))["reused"])
    except (ObjectMissing, ObjectDamaged):
        return 0  # it changes no result, and nobody can count it any more


def named_sweeps(store: ObjectStore, name: str) -> list[str]:
    """Return the ids of the sweeps of this name, in the order they were planned last."""
    key = _name_key(name)
    try:
        return [str(one) for one in unseal(f"{store.label}: {key}", store.get(key))["sweeps"]]
    except (ObjectMissing, ObjectDamaged):
        return []  # a view that is made anew


def slug(name: str) -> str:
    """Return a name as it may stand in file names and keys."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:60] or "sweep"


def _refuse_swept_fuel(space: Mapping[str, Any]) -> None:
    """Publications are resolved once for all cells, without the coin that pays fees."""
    if "fuel_symbol" in space:
        raise ConfigurationError(
            "space.fuel_symbol: decides what publications may trade, which is the same for all cells; "
            "set it in the backtest's strategy, and plan a sweep for each"
        )


def _chosen(space: Space, parameters: Any, search: str, count: int | None, seed: int) -> tuple[Places | None, int]:
    if search == "grid":
        places = all_places(space, parameters)
        if not len(places):
            raise ConfigurationError(NO_COMBINATION)
        return places, len(places)
    assert count is not None
    if search == "random":
        if count > space.count:
            raise ConfigurationError(f"search.count {count}: the space has only {space.count} combinations")
        return drawn_places(space, parameters, count, seed), count
    if space.count <= CELLS_MAX:
        available = len(all_places(space, parameters))
        if not available:
            raise ConfigurationError(NO_COMBINATION)
        if count > available:
            raise ConfigurationError(f"search.count {count}: the space has only {available} combinations")
    return None, count


def _search(search: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the part of the search that decides: a grid has no seed, a draw no sampler."""
    used = {"grid": ("kind",), "random": ("kind", "count", "seed"), "optuna": tuple(search)}
    return {name: search[name] for name in used[kind]}


def _portable(locator: str) -> str:
    """Return a strategy file's path from where one stands, when it lies below: an image has it at the same place."""
    place, colon, attribute = locator.rpartition(":")
    here = Path.cwd()
    if colon and place.endswith(".py") and Path(place).is_relative_to(here):
        return f"{Path(place).relative_to(here).as_posix()}:{attribute}"
    return locator


def _none_yet() -> Places:
    import numpy as np

    return np.zeros(0, dtype=np.int64)


def _count_present(store: ObjectStore, sweep: Sweep, data: SweepData, progress: Counted | None) -> int:
    """Return how many cells have a result already."""
    if sweep.is_adaptive or next(iter(store.keys("cells/")), None) is None:
        return 0
    present = present_cells(store, sweep.count)
    runner = Runner(store, sweep, data=data, expected=1)
    found = 0
    for start in range(0, sweep.count, BLOCK):
        block = range(start, min(start + BLOCK, sweep.count))
        found += count_of(store, [runner.task(index).cell_id for index in block], present)
        if progress is not None:
            progress(block.stop, sweep.count)
    return found


def _previous(store: ObjectStore, name: str) -> str | None:
    before = named_sweeps(store, name)
    return before[-1] if before else None


def _remember(store: ObjectStore, name: str, sweep_id: str) -> None:
    """Make a sweep the last of its name, also one that was planned before: the next one is compared with it."""
    named = named_sweeps(store, name)
    if named[-1:] == [sweep_id]:
        return
    known = [one for one in named if one != sweep_id]
    content = {"name": name, "sweeps": [*known, sweep_id][-NAMED_MAX:]}
    store.put(_name_key(name), seal(content))


def _name_key(name: str) -> str:
    return f"sweep-names/{slug(name)}.json"


def _reused_key(sweep_id: str) -> str:
    return f"sweeps/{sweep_id}/reused.json"
