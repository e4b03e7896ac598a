"""What the environment says a process is meant to run, held against what it would run: a start that is not the one that
was meant is refused.

    STRATEGY_PROFILE      the strategy, by its registered name
    RUNTIME_TARGET_JSON   {"platform_id", "strategy_profile", "dry_run_only"}: where, what, and whether with real money

Neither changes a setting. Nothing here reads the environment by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from trading_runtime.config.schema import STRATEGY_CLASS
from trading_runtime.strategies import REGISTERED

if TYPE_CHECKING:
    from trading_runtime.config.cycle_schema import CycleSettings

PROFILE_VARIABLE: Final = "STRATEGY_PROFILE"
TARGET_VARIABLE: Final = "RUNTIME_TARGET_JSON"
# Profiles that were called otherwise before.
PROFILE_ALIASES: Final = {"crypto_leader_rotation": "crypto_live_pool_rotation"}
_LIVE = "live"


def runtime_target_obstacles(settings: CycleSettings, mode: str, environment: Mapping[str, str]) -> list[str]:
    """Return in what the environment's target and what would run disagree, one line each; empty when they agree, or
    nothing is said. ``mode`` is dry-run, paper or live.
    """
    found = []
    profile = environment.get(PROFILE_VARIABLE, "").strip()
    if profile:
        found += _profile_obstacles(PROFILE_VARIABLE, profile, settings)
    text = environment.get(TARGET_VARIABLE, "").strip()
    if text:
        found += _target_obstacles(text, settings, mode)
    return found


def _target_obstacles(text: str, settings: CycleSettings, mode: str) -> list[str]:
    try:
        target: Any = json.loads(text)
    except (ValueError, RecursionError):
        return [f"{TARGET_VARIABLE} is not JSON"]
    if not isinstance(target, dict):
        return [f"{TARGET_VARIABLE} must be an object with platform_id, strategy_profile and dry_run_only"]
    found = []
    platform = target.get("platform_id")
    if not isinstance(platform, str) or not platform.strip():
        found.append(f"{TARGET_VARIABLE}: platform_id must name the exchange")
    elif (exchange := _exchange(settings)) is not None and platform.strip().lower() != exchange:
        found.append(f"{TARGET_VARIABLE}: platform_id is {platform.strip()[:60]!r}, the exchange is {exchange}")
    profile = target.get("strategy_profile")
    if not isinstance(profile, str) or not profile.strip():
        found.append(f"{TARGET_VARIABLE}: strategy_profile must name the strategy")
    else:
        found += _profile_obstacles(f"{TARGET_VARIABLE}: strategy_profile", profile.strip(), settings)
    dry_run_only = target.get("dry_run_only")
    if not isinstance(dry_run_only, bool):
        found.append(f"{TARGET_VARIABLE}: dry_run_only must be true or false")
    elif dry_run_only == (mode == _LIVE):
        allowed = "real money must not be traded" if dry_run_only else "this is where real money is traded"
        found.append(f"{TARGET_VARIABLE}: dry_run_only is {str(dry_run_only).lower()} ({allowed}), the mode is {mode}")
    return found


def _profile_obstacles(what: str, profile: str, settings: CycleSettings) -> list[str]:
    configured = _registered_name(str(settings.strategy[STRATEGY_CLASS]))
    if PROFILE_ALIASES.get(profile, profile) == configured:
        return []
    return [f"{what} is {profile[:60]!r}, the configured strategy is {configured}"]


def _registered_name(configured: str) -> str:
    """Return the registered name of a strategy that may be written as module:Class, or by an earlier name."""
    for name, place in REGISTERED.items():
        if configured == place:
            return name
    return PROFILE_ALIASES.get(configured, configured)


def _exchange(settings: CycleSettings) -> str | None:
    """Return the exchange whose market is traded, that of the bars for the simulated one; None when it is none."""
    from trading_runtime.config.cycle_schema import SIMULATED

    exchange = settings.market.exchange
    return settings.feed.exchange if exchange == SIMULATED else exchange
