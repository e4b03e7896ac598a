"""``trading-runtime reconcile``: the book of an account against its exchange. Exit 0 when equal, 3 when not.

What is compared is ``cycle/reconcile.py``'s. Nothing is written, no lease is taken, no order is sent.
"""

from __future__ import annotations

import argparse
import os
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
from trading_runtime.core.errors import EXIT_DONE, EXIT_FINDING, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trading_runtime.config.load import LoadedCycleSettings
    from trading_runtime.cycle.clock import Clock
    from trading_runtime.cycle.reconcile import Reconciliation
    from trading_runtime.stores.documents import Documents


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "reconcile",
        "compare the book of an account with its exchange: holdings, money, orders and fills",
        "reconcile --config examples/live_binance.yaml",
        "reconcile --config trading_runtime/local/paper.json --mode paper --json",
    )
    add_settings(parser)
    parser.add_argument("--mode", choices=("live", "paper"), default=None, help="default: as the account itself is")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(handler=_reconcile)


def _reconcile(arguments: argparse.Namespace) -> int:
    from trading_runtime.cli.status import nothing_there, open_existing_store
    from trading_runtime.cycle.clock import SystemClock

    loaded = loaded_cycle_settings(arguments)
    documents = open_existing_store(loaded)
    if documents is None:
        raise ConfigurationError(nothing_there(loaded))
    try:
        with configured_by(loaded.path):
            found = compare(loaded, arguments.mode, os.environ, documents, SystemClock())
    finally:
        documents.close()
    if arguments.json:
        print_json(found.to_json())
    else:
        print(text_of(found))
    return EXIT_DONE if found.is_equal else EXIT_FINDING


def compare(
    loaded: LoadedCycleSettings,
    mode: str | None,
    environment: Mapping[str, str],
    documents: Documents,
    clock: Clock,
    *,
    base_url: str | None = None,
) -> Reconciliation:
    """Return the reconciliation of the configured account; ``mode`` None is the account's own. Live needs credentials,
    but neither the acknowledgement nor a clean commit: nothing is sent.
    """
    from trading_runtime.config.cycle_build import load_strategy
    from trading_runtime.core.timeframes import timeframe_ms
    from trading_runtime.cycle.build import open_live_exchange, open_parts
    from trading_runtime.cycle.reconcile import reconcile
    from trading_runtime.cycle.status import load_account
    from trading_runtime.cycle.suspended import instruments_of_suspended, stopped, suspensions
    from trading_runtime.cycle.universe import ask_instruments, configured_symbols, universe_of
    from trading_runtime.stores.journal import Journal

    settings = loaded.settings
    name = settings.account.name
    strategy = type(load_strategy(settings, loaded.folder)).__qualname__
    account = load_account(documents, name, strategy)
    if account is None:
        raise ConfigurationError(f"no cycle of {strategy} on account {name} has run in this store: nothing to compare")
    if mode is not None and mode != account.mode:
        raise ConfigurationError(
            f"account {name!r} in this store is a {account.mode} account: use --mode {account.mode}"
        )
    journal, owner = Journal(documents, name, strategy), (name, strategy)
    if account.mode == "live":
        live = open_live_exchange(loaded, environment, clock, base_url)
        try:
            universe = universe_of(configured_symbols(settings), account.universe, account)
            instruments, missing = ask_instruments(live, universe)
            suspended = suspensions(account, universe, missing)
            instruments |= instruments_of_suspended(account, suspended)
            is_all = settings.account.funds == "all"
            return reconcile(
                account, live, instruments, owner, journal, has_savings=is_all, suspended=stopped(suspended)
            )
        finally:
            close: Callable[[], None] | None = getattr(live, "close", None)
            if close is not None:
                close()
    from trading_runtime.telemetry.log import EventLog

    # The simulated exchange keeps its own account in the store, which is there; only questions are asked.
    parts = open_parts(loaded, "paper", environment, "reconcile", EventLog(level="off"), clock=clock, base_url=base_url)
    try:
        exchange = parts.job.exchange
        if account.state.slot is not None:  # history goes on where the last cycle left it, and no further
            timeframe = settings.market.timeframe
            exchange.newest_close(timeframe, account.state.slot - timeframe_ms(timeframe))
        instruments, _ = ask_instruments(exchange, universe_of(configured_symbols(settings), account.universe, account))
        return reconcile(account, exchange, instruments, owner, journal)
    finally:
        parts.documents.close()


def text_of(found: Reconciliation) -> str:
    """Return the reconciliation as people read it."""
    safe = sum(one["safe"] for one in found.differences)
    unsafe = len(found.differences) - safe
    head = f"equal: {found.exchange} has what the book says" if found.is_equal else f"{unsafe} difference(s)"
    if safe:
        head += f", {safe} safe difference(s)"
    facts = [
        ["account", f"{found.account} ({found.strategy})"],
        ["as of", found.time],
        ["last slot", found.slot or "–"],
    ]
    rows = [["", "book", found.exchange, "difference"]]
    rows += [[one["symbol"], *_sides(one)] for one in found.symbols]
    rows.append([found.money["currency"], *_sides(found.money)])
    parts = [head, table(facts), table(rows, right=(1, 2, 3))]
    if found.orders:
        lines = [["order", "symbol", "what", "book", found.exchange]]
        lines += [
            [one["order_id"], one["symbol"], one["order"], one["book"] or "unknown", one["exchange"] or "not open"]
            for one in found.orders
        ]
        parts.append("orders\n" + table(lines, indent="  "))
    if found.differences:
        lines = []
        for one in found.differences:
            lines.append([one["class"] + (" (safe)" if one["safe"] else ""), one["detail"]])
            lines.append(["", f"→ {one['to_do']}"])
        parts.append("differences\n" + table(lines, indent="  "))
    return "\n\n".join(parts)


def _sides(one: dict[str, Any]) -> list[str]:
    return [one["book"], one["exchange"], one["difference"]]
