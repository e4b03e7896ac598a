"""Optuna's search: one seeded coordinator, rounds of fixed size, every decision recorded before it is used.

    sweeps/<sweep_id>/optuna/round-0000.json     the combinations of a round, written once

A round is asked as a whole, its cells are computed in any order by any number of workers, and the results are told in
the order of the cells: what a sampler sees does not depend on workers. A continued sweep takes the recorded rounds and
replays them into the sampler, so that it goes on as if it had never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.parameters import Scalar
from trading_runtime.objects.port import ObjectMissing, ObjectStore
from trading_runtime.objects.seal import seal, unseal
from trading_runtime.sweep.space import is_accepted
from trading_runtime.sweep.spec import Sweep

ASKS_PER_COMBINATION_MAX = 50

# What a combination came to over all periods; None when a cell of it failed or has no such figure.
Scores = Callable[[Sequence[int]], list[float | None]]


def round_key(sweep_id: str, number: int) -> str:
    return f"sweeps/{sweep_id}/optuna/round-{number:04d}.json"


def recorded_places(store: ObjectStore, sweep: Sweep) -> list[list[int]]:
    """Return the combinations of the rounds that are recorded, round by round."""
    found: list[list[int]] = []
    while True:
        key = round_key(sweep.sweep_id, len(found))
        try:
            found.append([int(place) for place in unseal(f"{store.label}: {key}", store.get(key))["places"]])
        except ObjectMissing:
            return found


def learn_recorded(store: ObjectStore, sweep: Sweep) -> None:
    """Let a sweep know the combinations that are decided so far."""
    if sweep.is_adaptive:
        places = [place for one in recorded_places(store, sweep) for place in one]
        sweep.places = np.array(places, dtype=np.int64)


def run_search(store: ObjectStore, sweep: Sweep, compute: Callable[[list[int]], None], scores: Scores) -> None:
    """Decide round after round; ``compute`` makes sure that the cells of new combinations (by number) have results.

    Raises ConfigurationError when the space has no more combinations to offer.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = sweep.content["search"]
    count, rounds = sweep.combinations, min(int(search["rounds"]), sweep.combinations)
    size = -(-count // rounds)
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.TPESampler(seed=int(search["seed"]), multivariate=False)
        if search["sampler"] == "tpe"
        else optuna.samplers.RandomSampler(seed=int(search["seed"]))
    )
    study = optuna.create_study(direction=sweep.direction, sampler=sampler)
    known: dict[int, float | None] = {}
    recorded = recorded_places(store, sweep)
    decided: list[int] = []
    number = 0
    while len(decided) < count:
        asked = _asked(study, sweep, known, min(size, count - len(decided)))
        if number < len(recorded):
            # The record counts: another version of a library may ask otherwise, the sweep stays what it was.
            asked = _as_recorded(study, sweep, asked, recorded[number])
        else:
            content = {"round": number, "places": [place for place, _ in asked]}
            key = round_key(sweep.sweep_id, number)
            if not store.create(key, seal(content)):
                raise DataError(f"{key} was written meanwhile: two coordinators run this sweep; stop one of them")
        numbers = list(range(len(decided), len(decided) + len(asked)))
        decided.extend(place for place, _ in asked)
        sweep.places = np.array(decided, dtype=np.int64)
        compute(numbers)
        for (place, trial), score in zip(asked, scores(numbers), strict=True):
            known[place] = score
            _tell(study, trial, score)
        number += 1


def _asked(study: Any, sweep: Sweep, known: dict[int, float | None], size: int) -> list[tuple[int, Any]]:
    """Return new combinations with their trials; what is refused or known already is told at once and asked anew."""
    found: list[tuple[int, Any]] = []
    taken: set[int] = set()
    for _ in range(ASKS_PER_COMBINATION_MAX * size):
        if len(found) == size:
            return found
        trial = study.ask()
        place = sweep.space.place({name: _index(trial, name, values) for name, values in sweep.space.values.items()})
        if place in known:
            _tell(study, trial, known[place])
        elif place in taken or not is_accepted(sweep.space, place, sweep.kind.Params):
            _tell(study, trial, None)
        else:
            taken.add(place)
            found.append((place, trial))
    # The sampler has settled on what is known; the rest of the round is the first of what is left.
    for place in range(sweep.space.count):
        if len(found) == size:
            break
        if place not in known and place not in taken and is_accepted(sweep.space, place, sweep.kind.Params):
            found.append((place, None))
    if len(found) < size:
        raise ConfigurationError(
            f"search.count {sweep.combinations}: the space has fewer combinations; lower the count"
        )
    return found


def _as_recorded(study: Any, sweep: Sweep, asked: list[tuple[int, Any]], places: list[int]) -> list[tuple[int, Any]]:
    """Return the recorded combinations with the trials that asked for them; trials that were not recorded are ended."""
    trials = dict(asked)
    found = [(place, trials.pop(place, None)) for place in places]
    for trial in trials.values():
        _tell(study, trial, None)
    return found


def _index(trial: Any, name: str, values: Sequence[Scalar]) -> int:
    """Ask for the index of a value: numbers have an order that a sampler can learn, others have none."""
    if len(values) > 1 and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return int(trial.suggest_int(name, 0, len(values) - 1))
    return int(trial.suggest_categorical(name, list(range(len(values)))))


def _tell(study: Any, trial: Any, score: float | None) -> None:
    if trial is None:
        return
    if score is None or not math.isfinite(score):
        from optuna.trial import TrialState

        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, score)
