"""``trading-runtime watch``: an independent look at the cycles of an account; alerts people when they stop or fail.

What is judged is ``cycle/watch.py``'s. With ``--once``: exit 0 when healthy, parked or deferred, 78 for an alert, 75
when the store could not be reached and 77 when it refused, both after having tried to alert. Without it: a loop that
ends when the process is ended.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING

from trading_runtime.cli.arguments import (
    Subparsers,
    add_settings,
    add_verb,
    configured_by,
    loaded_cycle_settings,
    print_json,
)
from trading_runtime.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trading_runtime.config.load import LoadedCycleSettings
    from trading_runtime.cycle.clock import Clock
    from trading_runtime.cycle.watch import Assessment
    from trading_runtime.cycle.watch_loop import Watcher
    from trading_runtime.notify.port import Notifier
    from trading_runtime.telemetry.log import EventLog

_SECONDS_MAX = 31 * 86_400
# The original's watchdog looked every 10 minutes at hourly runs: six times a bar.
_LOOKS_PER_BAR = 6
_EVERY_SECONDS_MIN, _EVERY_SECONDS_MAX = 10.0, 600.0


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "watch",
        "watch from outside whether cycles run and end well, and alert people when they do not",
        "watch --config examples/live_binance.yaml --once",
        "watch --config examples/live_binance.yaml --every 600",
        "watch --config examples/live_binance.yaml --once --slots-missed 1 --json",
    )
    add_settings(parser)
    parser.add_argument("--once", action="store_true", help="look once and end with an exit code")
    parser.add_argument(
        "--every", type=_seconds, metavar="SECONDS", help="time between two looks (a sixth of a bar, from 10 to 600)"
    )
    parser.add_argument(
        "--heartbeat-seconds",
        type=_seconds,
        metavar="SECONDS",
        help="age of the heartbeat that alerts (a bar and a quarter; 4500 for hourly bars)",
    )
    parser.add_argument(
        "--slots-missed", type=_count, default=2, metavar="N", help="slots in a row that may be missed (2)"
    )
    parser.add_argument(
        "--failures",
        type=_count,
        default=2,
        metavar="N",
        help="runs in a row that may end with exit code 75 (2); any other failure alerts at once",
    )
    parser.add_argument(
        "--run-seconds",
        type=_seconds,
        metavar="SECONDS",
        help="how long a run may be in progress (a bar, from 300 to 3600)",
    )
    parser.add_argument(
        "--repeat-seconds",
        type=_seconds,
        default=21_600.0,
        metavar="SECONDS",
        help="after how long an alert that lasts is told again (21600)",
    )
    parser.add_argument(
        "--retry-seconds",
        type=_seconds,
        default=15.0,
        metavar="SECONDS",
        help="wait after the first of 4 attempts to reach store or Telegram; then twice, then three times that (15)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON: a document, or in a loop a line for each look")
    parser.set_defaults(handler=_watch)


def _watch(arguments: argparse.Namespace) -> int:
    from trading_runtime.core.timeframes import timeframe_ms
    from trading_runtime.cycle.clock import SystemClock
    from trading_runtime.cycle.watch_loop import watch
    from trading_runtime.notify.log import LogNotifier
    from trading_runtime.telemetry.log import log_from_environment

    loaded = loaded_cycle_settings(arguments)
    settings = loaded.settings
    log = log_from_environment(os.environ).bind(account=settings.account.name)
    notifiers = [LogNotifier(log), *_people(loaded, os.environ)]
    clock = SystemClock()
    watcher = make_watcher(loaded, arguments, notifiers, clock, log)
    if arguments.once:
        found = watcher.look()
        if arguments.json:
            print_json(found.to_json())
        else:
            print(text_of(found))
        return found.exit_code
    bar_seconds = timeframe_ms(settings.market.timeframe) / 1000
    every = arguments.every
    if every is None:
        every = min(max(bar_seconds / _LOOKS_PER_BAR, _EVERY_SECONDS_MIN), _EVERY_SECONDS_MAX)

    def show(found: Assessment) -> None:
        print(json.dumps(found.to_json(), ensure_ascii=False) if arguments.json else text_of(found), flush=True)

    watch(watcher, every, clock, show)
    return EXIT_DONE


def make_watcher(
    loaded: LoadedCycleSettings,
    arguments: argparse.Namespace,
    notifiers: list[Notifier],
    clock: Clock,
    log: EventLog,
) -> Watcher:
    """Return the watcher of a configuration. Raises ConfigurationError for a store that no other process can share."""
    from trading_runtime.cli.status import nothing_there, open_existing_store, refuse_memory
    from trading_runtime.config.cycle_build import load_strategy
    from trading_runtime.core.timeframes import timeframe_ms
    from trading_runtime.cycle.watch_alerts import Telling
    from trading_runtime.cycle.watch_facts import Retry, Watched
    from trading_runtime.cycle.watch_limits import limits_of
    from trading_runtime.cycle.watch_loop import Watcher

    settings = loaded.settings
    refuse_memory(loaded)
    with configured_by(loaded.path):
        strategy = type(load_strategy(settings, loaded.folder)).__qualname__
    bar_ms = timeframe_ms(settings.market.timeframe)
    watched = Watched(
        settings.account.name,
        strategy,
        None if settings.feed.files else bar_ms,
        settings.lease.seconds * 1000,
        nothing_there(loaded),
    )
    limits = limits_of(
        bar_ms,
        heartbeat_seconds=arguments.heartbeat_seconds,
        slots_missed=arguments.slots_missed,
        failures=arguments.failures,
        run_seconds=arguments.run_seconds,
    )
    telling = Telling(
        notifiers,
        Retry(base_seconds=arguments.retry_seconds),
        round(arguments.repeat_seconds * 1000),
        settings.notify.language,
    )
    return Watcher(lambda: open_existing_store(loaded), watched, limits, telling, clock, log)


def text_of(found: Assessment) -> str:
    """Return an assessment as people read it."""
    from trading_runtime.core.timeframes import iso_time

    head = f"{iso_time(found.as_of_ms // 1000 * 1000)} {found.account} ({found.strategy}): {found.state}"
    lines = [head, *(f"  {one.state}: {one.text}" for one in found.reasons), *(f"  note: {one}" for one in found.notes)]
    beat = found.beat
    if beat is not None:
        slot = "no slot" if beat.slot is None else f"slot {iso_time(beat.slot)}"
        ended = iso_time(beat.time_ms // 1000 * 1000)
        lines.append(f"  last cycle: {beat.status} (exit code {beat.exit_code}), {slot}, ended {ended}")
    return "\n".join(lines)


def _people(loaded: LoadedCycleSettings, environment: Mapping[str, str]) -> list[Notifier]:
    from trading_runtime.notify.telegram import telegram_notifiers

    return [*telegram_notifiers(environment)] if loaded.settings.notify.telegram else []


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= _SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"must be seconds from 1 to {_SECONDS_MAX}, not {text!r}")
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 1000, not {text!r}")
    return int(text)
