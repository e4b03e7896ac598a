"""``trading-runtime status``: how an account is, from its store alone. Exit 0 when healthy, 3 when a person is needed.

What is looked at and what needs a person is decided in ``cycle/status.py``. Nothing is written, no store is created.
"""

from __future__ import annotations

import argparse
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
    from trading_runtime.config.load import LoadedCycleSettings
    from trading_runtime.cycle.status import AccountStatus
    from trading_runtime.stores.documents import Documents

_REASON_LENGTH_MAX = 60
_CYCLES_MAX = 1000


def add_parser(subparsers: Subparsers) -> None:
    """Register the verb."""
    parser = add_verb(
        subparsers,
        "status",
        "show the last cycles, the book and open orders of an account, and whether a person is needed",
        "status --config trading_runtime/local/paper.json",
        "status --config examples/live_binance.yaml --cycles 24 --json",
    )
    add_settings(parser)
    parser.add_argument("--cycles", type=_count, default=10, metavar="N", help="how many of the last cycles (10)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(handler=_status)


def open_existing_store(loaded: LoadedCycleSettings) -> Documents | None:
    """Return the configured store to read from, None when its file is not there. Raises ConfigurationError for a store
    that no other process can share, StoreUnavailable and StoreDamaged.
    """
    from trading_runtime.cycle.build import open_store
    from trading_runtime.cycle.status import is_store_there

    settings = loaded.settings
    refuse_memory(loaded)
    if settings.store.kind == "sqlite" and not is_store_there(loaded.folder / settings.store.path):
        return None
    return open_store(settings, loaded.folder, create=False)


def refuse_memory(loaded: LoadedCycleSettings) -> None:
    """Raise ConfigurationError for a store of kind memory: it is another, empty one in every process."""
    if loaded.settings.store.kind == "memory":
        raise ConfigurationError(
            f"{loaded.path}: store.kind memory is seen by no other process: there is nothing to look at or to change; "
            "use sqlite or firestore"
        )


def nothing_there(loaded: LoadedCycleSettings) -> str:
    """Say in one line that the store's file is missing."""
    path = loaded.folder / loaded.settings.store.path
    return f"there is no store at {path}: no cycle has run with this configuration, or store.path names another place"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _CYCLES_MAX:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to {_CYCLES_MAX}, not {text!r}")
    return int(text)


def _status(arguments: argparse.Namespace) -> int:
    from trading_runtime.cycle.clock import SystemClock
    from trading_runtime.cycle.status import AccountStatus, read_status

    loaded = loaded_cycle_settings(arguments)
    settings = loaded.settings
    with configured_by(loaded.path):
        from trading_runtime.config.cycle_build import load_strategy

        strategy = type(load_strategy(settings, loaded.folder)).__qualname__
    now_ms = SystemClock().now_ms()
    documents = open_existing_store(loaded)
    if documents is None:
        from trading_runtime.core.timeframes import iso_time

        status = AccountStatus(settings.account.name, strategy, iso_time(now_ms), reasons=[nothing_there(loaded)])
    else:
        try:
            status = read_status(
                documents,
                settings.account.name,
                strategy,
                settings.market.timeframe,
                now_ms,
                cycles=arguments.cycles,
                plays_back=bool(settings.feed.files),
            )
        finally:
            documents.close()
    if arguments.json:
        print_json(status.to_json())
    else:
        print(text_of(status))
    return EXIT_FINDING if status.reasons else EXIT_DONE


def text_of(status: AccountStatus) -> str:
    """Return the status as people read it; one line where nothing is there."""
    verdict = [f"{status.verdict}: {status.reasons[0] if status.reasons else _in_a_word(status)}"]
    if not status.is_known and not status.notes and len(status.reasons) == 1:
        return verdict[0]
    verdict += [f"  and: {reason}" for reason in status.reasons[1:]]
    verdict += [f"  note: {note}" for note in status.notes]
    parts = ["\n".join(verdict), table(_facts(status))]
    if status.cycles:
        rows = [["slot", "status", "sent", "orders", "fills", "refused", "reason"]]
        rows += [_cycle_row(one) for one in status.cycles]
        parts.append("last cycles\n" + table(rows, right=(2, 3, 4, 5), indent="  "))
    if status.orders:
        rows = [["order", "symbol", "kind", "side", "quantity", "filled", "price", "phase", "slot"]]
        rows += [_order_row(one) for one in status.orders]
        parts.append("orders\n" + table(rows, right=(4, 5, 6), indent="  "))
    return "\n\n".join(parts)


def _in_a_word(status: AccountStatus) -> str:
    if status.slots_behind is None:
        return f"the last slot is {status.slot}" if status.slot else "no slot was decided yet"
    behind = status.slots_behind
    return f"slot {status.slot}, {behind} slot{'' if behind == 1 else 's'} behind"


def _facts(status: AccountStatus) -> list[list[str]]:
    rows = [["account", f"{status.account} ({status.strategy})" + (f", {status.mode}" if status.mode else "")]]
    if status.session:
        rows.append(["session", status.session])
    if status.slot:
        behind = "" if status.slots_behind is None else f", {status.slots_behind} slots behind at {status.as_of}"
        rows.append(["last slot", f"{status.slot}{behind}"])
    book = status.book
    if book:
        currency = book["currency"]
        known = "unknown: no price was recorded" if book["equity"] is None else _money(book, "equity")
        rows.append(["equity", known + (f" at the close of {status.marked}" if status.marked else "")])
        rows.append(["cash", _money(book, "cash")])
        rows += [["position", _position(one, currency)] for one in book["positions"] if one["quantity"] != "0"]
        rows += [[name, _money(book, name)] for name in ("realised", "fees", "funding", "flows")]
    rows += [["quarantine", f"{symbol}: {reason}"] for symbol, reason in status.quarantine.items()]
    rows += [["account sync", f"{one['kind']}: {one['detail']}"] for one in status.mismatches]
    control = status.control
    rows.append(["control", control["reason"] or "run: risk is allowed"])
    rows += [
        ["override", f"{one['name']} until {one['until']} by {one['who']}: {one['why']}"]
        for one in control["overrides"]
    ]
    if status.risk is not None:
        tripped = status.risk["tripped"]
        rows.append(["breakers", "none has tripped" if tripped is None else tripped["detail"]])
    lease = status.lease
    if lease:
        text = lease["state"]
        if text != "free":
            text = f"{text} by {lease['holder']} until {lease['expires']} (token {lease['token']})"
        rows.append(["lease", text])
    return rows


def _money(book: dict[str, Any], name: str) -> str:
    return f"{book[name]} {book['currency']}"


def _position(one: dict[str, Any], currency: str) -> str:
    mark = "" if one["mark"] is None else f" at {one['mark']!r} = {one['value']} {currency}"
    return f"{one['quantity']} {one['symbol']}{mark}"


def _cycle_row(one: dict[str, Any]) -> list[str]:
    reason = one["reason"] or "; ".join(one["refusals"])
    if len(reason) > _REASON_LENGTH_MAX:
        reason = f"{reason[: _REASON_LENGTH_MAX - 1]}…"
    sent = "–" if one["sent"] is None else str(one["sent"])
    counts = [str(one["orders"]), str(one["fills"]), str(len(one["refusals"]))]
    return [one["slot"] or "–", one["status"], sent, *counts, reason]


def _order_row(one: dict[str, Any]) -> list[str]:
    price = "–" if one["price"] is None else repr(one["price"])
    phase = one["phase"] + (" (to be cancelled)" if one["cancel"] else "")
    quantities = [one["quantity"], one["filled"], price]
    return [one["order_id"], one["symbol"], one["kind"], one["side"], *quantities, phase, one["slot"]]
