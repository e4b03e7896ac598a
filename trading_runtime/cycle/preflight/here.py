"""What is here: the configuration, the strategy, the code, what live trading asks for, who is told."""

from __future__ import annotations

from trading_runtime.config.cycle_build import load_strategy
from trading_runtime.config.load import config_hash
from trading_runtime.config.runtime_target import runtime_target_obstacles
from trading_runtime.cycle.bars import needs_of
from trading_runtime.cycle.build import live_obstacles
from trading_runtime.cycle.preflight.check import Check, Warned
from trading_runtime.cycle.preflight.ground import Ground
from trading_runtime.provenance import UNKNOWN, code_commit, image_digest, is_dirty
from trading_runtime.telemetry.redact import redact


def check_configuration(ground: Ground) -> str:
    account = ground.settings.account
    return f"{ground.loaded.path}: account {account.name}, hash {config_hash(ground.settings)[:12]}"


def check_strategy(ground: Ground) -> str:
    strategy = load_strategy(ground.settings, ground.loaded.folder)
    needs = needs_of(strategy, ground.bar_ms)
    ground.strategy = strategy
    longer = "".join(f" and {count} of {timeframe}" for timeframe, count in needs.longer.items())
    return f"{ground.settings.strategy['class']} needs {needs.own} bars of {ground.settings.market.timeframe}{longer}"


def check_code(ground: Ground) -> str:
    commit, dirty = code_commit(), is_dirty()
    tree = {True: "changed since", False: "clean", None: "not known whether changed"}[dirty]
    text = f"commit {commit}, {tree}; image digest {image_digest() or 'none'}"
    if commit == UNKNOWN or dirty is not False:
        raise Warned(text)
    return text


def check_live_gate(ground: Ground) -> str:
    """What a cycle asks before it starts, in the same words."""
    mode = "live" if ground.is_live else "paper"
    obstacles = runtime_target_obstacles(ground.settings, mode, ground.environment)
    if ground.is_live:
        obstacles += live_obstacles(ground.settings, ground.environment)
    if obstacles:
        ground.more += [Check("live gate", "failed", redact(one, ground.environment)) for one in obstacles]
        return ""
    if not ground.is_live:
        return "not needed: paper sends nothing"
    return f"real money of account {ground.settings.account.name} is acknowledged, credentials and code are in order"


def check_notifications(ground: Ground) -> str:
    from trading_runtime.notify.telegram import telegram_notifiers

    if not ground.settings.notify.telegram:
        raise Warned("notify.telegram is off: nobody is told of anything")
    chats = telegram_notifiers(ground.environment)
    if not chats:
        raise Warned("TG_TOKEN and TG_CHAT_ID or GLOBAL_TELEGRAM_CHAT_ID are not set: nobody is told of anything")
    return f"{len(chats)} Telegram chat(s)"
