"""The whole crash matrix: every point under every behaviour, and many more seeds. ``pytest -m soak``, for minutes."""

from __future__ import annotations

import pytest
from crash_interleaving import play_interleaved
from crash_matrix import crash_cases, failures, pause_cases
from crash_process import Violation
from crash_scenarios import SCENARIOS, Scenario, behaviours_of
from crash_table import SOAK_SEEDS

pytestmark = [
    pytest.mark.soak,
    pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=list(SCENARIOS)),
]


def test_every_crash_point_under_every_behaviour(scenario: Scenario) -> None:
    found = failures(scenario, crash_cases(scenario, behaviours_of(scenario)))
    assert not found, "\n\n".join(found)


def test_every_pause_under_every_behaviour(scenario: Scenario) -> None:
    found = failures(scenario, pause_cases(scenario, behaviours_of(scenario)))
    assert not found, "\n\n".join(found)


@pytest.mark.parametrize("storm", [0.05, 0.25])
def test_many_interleavings_of_processes_in_worse_and_worse_weather(scenario: Scenario, storm: float) -> None:
    for seed in range(1_000, 1_000 + SOAK_SEEDS // 2):
        for processes in (2, 3):
            try:
                play_interleaved(scenario, seed, processes, storm=storm)
            except Violation as violation:
                pytest.fail(f"seed {seed}, {processes} processes, storm {storm}, {scenario.name}: {violation}")
