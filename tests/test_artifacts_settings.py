"""Environment names of the artifact's settings, and of what a process was meant to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trading_runtime.config.load import LoadedCycleSettings, load_cycle_settings, load_settings
from trading_runtime.config.runtime_target import runtime_target_obstacles
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.strategies import REGISTERED

PROFILE = "crypto_live_pool_rotation"
BASE: dict[str, Any] = {
    "strategy": {"class": PROFILE},
    "market": {"exchange": "binance", "symbols": ["BTC/USDT"], "timeframe": "1h"},
    "artifact": {"max_age_days": 30},
}


def loaded(tmp_path: Path, environment: dict[str, str], *overrides: str, **changes: Any) -> LoadedCycleSettings:
    path = tmp_path / "cycle.json"
    content = {name: value for name, value in {**BASE, **changes}.items() if value is not None}
    path.write_text(json.dumps(content), encoding="utf-8")
    return load_cycle_settings(path, overrides, environment)


def test_every_name_reaches_its_setting_and_says_so(tmp_path: Path) -> None:
    environment = {
        "STRATEGY_ARTIFACT_FIRESTORE_COLLECTION": "pools",
        "STRATEGY_ARTIFACT_FIRESTORE_DOCUMENT": "LIVE",
        "STRATEGY_ARTIFACT_FILE": "here/pool.json",
        "STRATEGY_ARTIFACT_MANIFEST_FILE": "here/artifact_manifest.json",
        "STRATEGY_ARTIFACT_MAX_AGE_DAYS": " 50 ",
        "STRATEGY_ARTIFACT_ACCEPTABLE_MODES": "core_major, core_wide,",
        "STRATEGY_ARTIFACT_EXPECTED_SIZE": "7",
        "STRATEGY_ARTIFACT_ALLOW_NEW_ENTRIES_ON_DEGRADED": "True",
        "NOTIFY_LANG": "zh-CN",
        "BTC_STATUS_REPORT_INTERVAL_HOURS": "6",
    }
    found = loaded(tmp_path, environment)
    artifact, notify = found.settings.artifact, found.settings.notify
    assert artifact is not None
    assert (artifact.collection, artifact.document) == ("pools", "LIVE")
    assert (artifact.file, artifact.manifest_file) == ("here/pool.json", "here/artifact_manifest.json")
    assert (artifact.max_age_days, artifact.expected_size) == (50, 7)
    assert artifact.acceptable_modes == ["core_major", "core_wide"]
    assert artifact.allow_new_entries_on_degraded is True
    assert (notify.language, notify.status_hours) == ("zh", 6)
    by_variable = {origin.split()[1] for origin in found.origins.values() if origin.startswith("environment")}
    assert by_variable == set(environment)
    assert found.origins["artifact.max_age_days"] == "environment STRATEGY_ARTIFACT_MAX_AGE_DAYS"
    assert found.origins["artifact.last_known_good_days_max"] == "default"


def test_the_defaults_are_the_documented_ones(tmp_path: Path) -> None:
    artifact = loaded(tmp_path, {}, artifact={}).settings.artifact
    assert artifact is not None
    assert (artifact.collection, artifact.document) == ("strategy", "CRYPTO_LIVE_POOL_ROTATION_LIVE_POOL")
    assert (artifact.max_age_days, artifact.acceptable_modes, artifact.expected_size) == (45, ["core_major"], 5)
    assert (artifact.file, artifact.manifest_file, artifact.allow_new_entries_on_degraded) == (None, None, False)


def test_they_stand_above_the_file_and_below_everything_else(tmp_path: Path) -> None:
    name, full = "STRATEGY_ARTIFACT_MAX_AGE_DAYS", "TRADING_RUNTIME__ARTIFACT__MAX_AGE_DAYS"

    def days(environment: dict[str, str], *overrides: str) -> tuple[int, str]:
        found = loaded(tmp_path, environment, *overrides)
        assert found.settings.artifact is not None
        return found.settings.artifact.max_age_days, found.origins["artifact.max_age_days"]

    assert days({}) == (30, "file")
    assert days({name: "31"}) == (31, f"environment {name}")
    assert days({name: "31", full: "32"}) == (32, f"environment {full}")
    assert days({name: "31", full: "32"}, "artifact.max_age_days=33") == (33, "--set")


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"STRATEGY_ARTIFACT_MAX_AGE_DAYS": "", "NOTIFY_LANG": "  "})
    assert found.origins["artifact.max_age_days"] == "file"
    assert found.settings.notify.language == "en"


def test_without_the_section_nothing_is_meant_for_this_configuration(tmp_path: Path) -> None:
    environment = {"STRATEGY_ARTIFACT_MAX_AGE_DAYS": "nonsense", "STRATEGY_ARTIFACT_FILE": "x.json"}
    assert loaded(tmp_path, environment, artifact=None).settings.artifact is None


def test_a_backtest_knows_none_of_these_names(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    content = {"strategy": {"class": "sma_cross"}, "data": [{"path": "x.csv"}], "artifact": {"folder": "pools"}}
    path.write_text(json.dumps(content))
    found = load_settings(path, [], {"STRATEGY_ARTIFACT_MAX_AGE_DAYS": "nonsense", "NOTIFY_LANG": "de"})
    assert found.settings.artifact is not None
    assert found.settings.artifact.max_age_days == 45


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STRATEGY_ARTIFACT_MAX_AGE_DAYS", "soon", "must be a whole number, not 'soon'"),
        ("STRATEGY_ARTIFACT_MAX_AGE_DAYS", "0", "artifact.max_age_days must be at least 1, not 0"),
        ("STRATEGY_ARTIFACT_EXPECTED_SIZE", "5.5", "must be a whole number, not '5.5'"),
        ("STRATEGY_ARTIFACT_EXPECTED_SIZE", "1000", "artifact.expected_size must be at most 200, not 1000"),
        ("STRATEGY_ARTIFACT_ACCEPTABLE_MODES", ",", "must be names with commas between them, not ','"),
        ("STRATEGY_ARTIFACT_ALLOW_NEW_ENTRIES_ON_DEGRADED", "maybe", "must be true or false, not 'maybe'"),
        ("STRATEGY_ARTIFACT_FIRESTORE_DOCUMENT", "a/b", "artifact.document must be letters, digits, . _ and -"),
        ("NOTIFY_LANG", "de", "must be en or zh, not 'de'"),
        ("BTC_STATUS_REPORT_INTERVAL_HOURS", "daily", "must be a whole number, not 'daily'"),
    ],
)
def test_a_malformed_variable_is_one_line_that_names_it(tmp_path: Path, name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, {name: value})
    message = str(caught.value)
    assert message.startswith(f"environment variable {name}")
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize(("text", "hours"), [("0", 0), ("-5", 0), ("1", 1), ("24", 24), ("100", 24)])
def test_hours_of_the_status_message_are_clamped(tmp_path: Path, text: str, hours: int) -> None:
    found = loaded(tmp_path, {"BTC_STATUS_REPORT_INTERVAL_HOURS": text})
    assert found.settings.notify.status_hours == hours


# --- what a process was meant to run


def target(**changes: Any) -> str:
    content = {"platform_id": "binance", "strategy_profile": PROFILE, "dry_run_only": False} | changes
    return json.dumps({name: value for name, value in content.items() if value is not None})


@pytest.mark.parametrize("profile", [PROFILE, "crypto_leader_rotation", " crypto_live_pool_rotation "])
def test_the_profile_may_be_called_by_its_earlier_name(tmp_path: Path, profile: str) -> None:
    settings = loaded(tmp_path, {}).settings
    assert runtime_target_obstacles(settings, "live", {"STRATEGY_PROFILE": profile}) == []
    earlier = loaded(tmp_path, {}, strategy={"class": "crypto_leader_rotation"}).settings
    assert runtime_target_obstacles(earlier, "live", {"STRATEGY_PROFILE": profile}) == []


def test_a_strategy_named_by_its_place_is_the_registered_one(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {}, strategy={"class": REGISTERED["sma_cross"]}).settings
    assert runtime_target_obstacles(settings, "live", {"STRATEGY_PROFILE": "sma_cross"}) == []
    assert runtime_target_obstacles(settings, "live", {"STRATEGY_PROFILE": "breakout"}) == [
        "STRATEGY_PROFILE is 'breakout', the configured strategy is sma_cross"
    ]


@pytest.mark.parametrize(
    ("mode", "changes", "obstacles"),
    [
        ("live", {}, []),
        ("dry-run", {"dry_run_only": True}, []),
        ("paper", {"dry_run_only": True}, []),
        ("live", {"strategy_profile": "crypto_leader_rotation", "more": 1}, []),
        ("live", {"platform_id": "Binance"}, []),
        (
            "live",
            {"dry_run_only": True},
            ["RUNTIME_TARGET_JSON: dry_run_only is true (real money must not be traded), the mode is live"],
        ),
        (
            "dry-run",
            {},
            ["RUNTIME_TARGET_JSON: dry_run_only is false (this is where real money is traded), the mode is dry-run"],
        ),
        ("live", {"dry_run_only": "false"}, ["RUNTIME_TARGET_JSON: dry_run_only must be true or false"]),
        ("live", {"dry_run_only": None}, ["RUNTIME_TARGET_JSON: dry_run_only must be true or false"]),
        ("live", {"platform_id": None}, ["RUNTIME_TARGET_JSON: platform_id must name the exchange"]),
        (
            "live",
            {"platform_id": "okx"},
            ["RUNTIME_TARGET_JSON: platform_id is 'okx', the exchange is binance"],
        ),
        ("live", {"strategy_profile": None}, ["RUNTIME_TARGET_JSON: strategy_profile must name the strategy"]),
        (
            "live",
            {"strategy_profile": "x"},
            [f"RUNTIME_TARGET_JSON: strategy_profile is 'x', the configured strategy is {PROFILE}"],
        ),
    ],
)
def test_a_target_must_agree_in_all_it_says(
    tmp_path: Path, mode: str, changes: dict[str, Any], obstacles: list[str]
) -> None:
    settings = loaded(tmp_path, {}).settings
    assert runtime_target_obstacles(settings, mode, {"RUNTIME_TARGET_JSON": target(**changes)}) == obstacles


def test_a_target_that_cannot_be_read_is_an_obstacle_and_none_is_none(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {}).settings
    assert runtime_target_obstacles(settings, "live", {}) == []
    assert runtime_target_obstacles(settings, "live", {"RUNTIME_TARGET_JSON": " ", "STRATEGY_PROFILE": ""}) == []
    assert runtime_target_obstacles(settings, "live", {"RUNTIME_TARGET_JSON": "{"}) == [
        "RUNTIME_TARGET_JSON is not JSON"
    ]
    told = runtime_target_obstacles(settings, "live", {"RUNTIME_TARGET_JSON": "[]"})
    assert told == ["RUNTIME_TARGET_JSON must be an object with platform_id, strategy_profile and dry_run_only"]
