"""``trading-runtime cycle``: one live, paper or dry-run cycle for one closed bar, its report, its exit code.

What a cycle does is ``cycle/run.py``'s; here it is started, told about and written down. Nothing that fails after the
cycle (a report that cannot be written, a message that is not delivered) changes its status.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.cli.arguments import (
    Subparsers,
    add_settings,
    add_verb,
    configured_by,
    loaded_cycle_settings,
    print_json,
    table,
)
from trading_runtime.core.errors import EXIT_DEFECT, ConfigurationError, TradingRuntimeError

if TYPE_CHECKING:
    from trading_runtime.config.cycle_schema import NotifySettings
    from trading_runtime.cycle.report import CycleReport
    from trading_runtime.stores.documents import Documents
    from trading_runtime.telemetry.log import EventLog

MODES = ("dry-run", "paper", "live")
_SLOT_MAX = 16**8 * 1000 - 1  # what order ids can tell, see core/orders.py


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "cycle",
        "decide once for one closed bar: dry-run (default), paper or live",
        "cycle --config trading_runtime/local/paper.json --mode paper",
        "cycle --config examples/live_binance.yaml",
        "cycle --config examples/live_binance.yaml --mode live --slot 2026-01-31T12:00:00Z",
    )
    add_settings(parser)
    parser.add_argument(
        "--mode", choices=MODES, default="dry-run", help="dry-run sends and keeps nothing; live trades real money"
    )
    parser.add_argument(
        "--slot",
        metavar="TIME",
        default="",
        help="the bar close to decide for, ISO or epoch seconds; without it, or if it begins with {{, the newest",
    )
    parser.add_argument(
        "--open-account",
        action="store_true",
        help="live only: the account is new to this store; without it a store that was lost cannot pass for a new one",
    )
    parser.add_argument("--run-id", metavar="ID", default="", help="what logs and the report call this run")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of a table")
    parser.set_defaults(handler=_cycle)


def parse_slot(text: str) -> int | None:
    """Return the milliseconds of a slot; None for nothing, and for a template that was not filled in."""
    text = text.strip()
    if not text or text.startswith("{{"):
        return None
    if text.isascii() and text.isdigit() and len(text) not in (8,):
        number = int(text)
        slot = number if number >= 10**11 else number * 1000
        if slot > _SLOT_MAX:
            raise ConfigurationError(
                f"--slot: {text} is neither seconds nor milliseconds since 1970 before the year 2106"
            )
        return slot
    from trading_runtime.core.timeframes import parse_time

    try:
        return parse_time(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"--slot: {error}") from None


def _cycle(arguments: argparse.Namespace) -> int:
    from trading_runtime.core.timeframes import timeframe_ms
    from trading_runtime.cycle.build import open_parts
    from trading_runtime.cycle.clock import SystemClock
    from trading_runtime.cycle.heartbeat import beat, beat_refused_start
    from trading_runtime.cycle.report_fields import deployment_of
    from trading_runtime.cycle.run import run_cycle
    from trading_runtime.stores.envelope import owner_name
    from trading_runtime.telemetry.log import log_from_environment
    from trading_runtime.telemetry.redact import redact

    slot = parse_slot(arguments.slot)
    loaded = loaded_cycle_settings(arguments)
    settings = loaded.settings
    run_id = arguments.run_id or _run_id(arguments.mode)
    log = log_from_environment(os.environ).bind(run_id=run_id, account=settings.account.name)
    with configured_by(loaded.path):
        try:
            parts = open_parts(
                loaded, arguments.mode, os.environ, _holder(), log, may_open_account=arguments.open_account
            )
        except TradingRuntimeError as error:
            beat_refused_start(loaded, arguments.mode, run_id, error, SystemClock(), log)
            raise
    try:
        log.info("cycle_started", mode=arguments.mode)
        report = run_cycle(parts.job, slot, run_id)
        report.deployment = deployment_of(os.environ, settings.market.exchange, str(settings.strategy["class"]))
        _notify(report, parts.documents, log, settings.notify)
        if report.mode != "dry-run":
            owner = owner_name(report.account, report.strategy)
            bar_ms = None if settings.feed.files else timeframe_ms(settings.market.timeframe)
            beat(parts.documents, owner, report, parts.job.clock, bar_ms=bar_ms, log=log)
    finally:
        parts.documents.close()
    log.write(
        "info" if report.exit_code == 0 else "error",
        "cycle_ended",
        {"status": report.status, "exit_code": report.exit_code, "reason": report.reason},
    )
    path = _write(report, loaded.folder / settings.output.folder, log)
    if arguments.json:
        print_json(report.to_json())
    else:
        print(summary(report, path))
    if report.defect:
        print(redact(report.defect), file=sys.stderr)
        return EXIT_DEFECT
    if report.exit_code and not arguments.json:
        print(f"error: {report.reason}", file=sys.stderr)
    return report.exit_code


def summary(report: CycleReport, path: Path | None) -> str:
    """Return the report as people read it."""
    from trading_runtime.core.timeframes import iso_time
    from trading_runtime.cycle.suspended import suspended_text

    rows = [
        ["slot", "–" if report.slot is None else iso_time(report.slot)],
        ["mode", report.mode],
        ["account", f"{report.account} ({report.strategy})"],
        ["status", f"{report.status} (exit code {report.exit_code})"],
    ]
    if report.reason:
        rows.append(["reason", report.reason])
    if report.missed_slots or report.skipped_slots:
        rows.append(["missed", f"{len(report.missed_slots)} slot(s) worked off, {len(report.skipped_slots)} skipped"])
    if report.publication is not None:
        rows.append(["pool", pool_line(report.publication)])
    for decision in report.decisions:
        wanted = [f"{order['kind']} {_side(order)} {order['symbol']} ({order['leg']})" for order in decision["orders"]]
        wanted += [f"cancel {one['order_id']}" for one in decision["cancels"]]
        rows.append(["decided", ", ".join(wanted) or "nothing"])
        rows += [["refused", _refusal(one)] for one in decision["refusals"]]
    for fill in report.fills:
        rows.append(["filled", f"{fill['side']} {fill['quantity']} {fill['symbol']} at {fill['price']!r}"])
    rows += [
        ["savings", f"{note['kind']} {note['amount']} {note['asset']} ({note['cause']})"]
        for note in report.notes
        if note["event"] == "savings_moved"
    ]
    rows += [["not done", f"{one['leg']}: {one['detail']}"] for one in report.rejected]
    rows += [
        ["not done", f"{note['order_id']}: {note.get('reason') or note.get('detail', '')}"]
        for note in report.notes
        if note["event"] in ("order_dropped", "order_rejected")
    ]
    for order in report.orders:
        rows.append(
            ["open", f"{order['kind']} {order['side']} {order['quantity']} {order['symbol']} ({order['phase']})"]
        )
    rows += [["account", one["detail"]] for one in report.mismatches]
    rows += [["suspended", suspended_text(one)] for one in report.suspended]
    rows += [["quarantine", f"{symbol}: {reason}"] for symbol, reason in report.quarantine.items()]
    if report.equity:
        held = [f"{one['quantity']} {one['symbol']}" for one in report.equity["positions"] if one["quantity"] != "0"]
        rows.append(["equity", f"{report.equity['equity']} {report.equity['currency']}"])
        rows.append(["holds", ", ".join([*held, f"{report.equity['cash']} {report.equity['currency']}"])])
    if path is not None:
        rows.append(["report", os.path.relpath(path)])
    return table(rows)


def pool_line(publication: Mapping[str, Any]) -> str:
    """Return which publication is in force, in one line."""
    from trading_runtime.telemetry.redact import redact

    state = publication["source_kind"] + (", degraded" if publication["degraded"] else "")
    names = ", ".join(publication["symbols"]) or "no symbol"
    left_out = f"; left out: {', '.join(publication['excluded'])}" if publication["excluded"] else ""
    return redact(f"{publication['version']} ({state}): {names}{left_out}")


def _refusal(refusal: Mapping[str, str]) -> str:
    what = " ".join(word for word in (refusal["symbol"], refusal["leg"]) if word)
    return ": ".join(part for part in (refusal["gate"], what, refusal["detail"]) if part)


def _side(order: dict[str, Any]) -> str:
    return "buy" if order["side"] > 0 else "sell"


def _holder() -> str:
    """Who this process is: unique, and readable by people."""
    return f"{socket.gethostname()}-{os.getpid()}"


def _run_id(mode: str) -> str:
    from trading_runtime.core.timeframes import iso_time
    from trading_runtime.cycle.clock import SystemClock

    now = iso_time(SystemClock().now_ms() // 1000 * 1000).replace(":", "").replace("-", "")
    return f"{mode}-{now}-{os.getpid()}"


def _write(report: CycleReport, folder: Path, log: EventLog) -> Path | None:
    """Write the report; that it cannot be written is said and changes nothing."""
    from trading_runtime.core.errors import TradingRuntimeError
    from trading_runtime.core.hashing import canonical_json
    from trading_runtime.core.timeframes import iso_time
    from trading_runtime.data.atomic import write_whole

    slot = "no-slot" if report.slot is None else iso_time(report.slot).replace(":", "")
    path = folder / f"{slot}-{report.run_id}.json"
    try:
        write_whole(path, canonical_json(report.to_json()) + b"\n")
    except (TradingRuntimeError, OSError, ValueError, TypeError) as error:
        log.error("report_not_written", path=str(path), detail=str(error))
        return None
    return path


def _notify(report: CycleReport, documents: Documents, log: EventLog, settings: NotifySettings) -> None:
    """Tell people; what became of it is recorded, and changes nothing else."""
    from trading_runtime.cycle.told.record import ToldRecord
    from trading_runtime.cycle.told.telling import channels_of, tell

    channels = channels_of(report.mode, log, os.environ, telegram=settings.telegram)
    record = ToldRecord(documents, report.account, report.strategy)
    tell(report, channels, record, log, language=settings.language, status_hours=settings.status_hours)
