"""``trading-runtime control``: a person halts, pauses, resumes or overrides; who and why are kept with it.

Works on the control document of the configured store and on nothing else: no strategy is loaded and no exchange asked,
so that an account can be halted when those are broken. What a halt means to a cycle is ``cycle/run.py``'s.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from trading_runtime.cli.arguments import (
    Subparsers,
    add_settings,
    add_verb,
    loaded_cycle_settings,
    print_json,
    table,
)
from trading_runtime.core.errors import (
    EXIT_DONE,
    EXIT_HALT,
    EXIT_USAGE,
    StoreDamaged,
    StoreUnavailable,
    TradingRuntimeError,
)

if TYPE_CHECKING:
    from trading_runtime.config.load import LoadedCycleSettings
    from trading_runtime.stores.control import Change, Control, ControlView
    from trading_runtime.stores.documents import Documents

_CONFIG = "--config examples/live_binance.yaml"
_LENGTH = re.compile(r"([1-9]\d{0,5})(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class WrongWord(TradingRuntimeError):
    """A time, a length of time or a name on the command line that cannot be meant."""

    exit_code = EXIT_USAGE


def add_parser(subparsers: Subparsers) -> None:
    """Register the group and its verbs."""
    group = add_verb(
        subparsers,
        "control",
        "halt, pause or resume an account, let a guard pass, and show what holds",
        f"control show {_CONFIG}",
        f"control halt {_CONFIG} --why wrong-fills --flatten",
        f"control resume {_CONFIG} --why feed-repaired",
    )
    verbs = group.add_subparsers(dest="control_verb", metavar="VERB", required=True)
    parser = add_verb(verbs, "show", "show what holds now and the last changes", f"control show {_CONFIG} --json")
    add_settings(parser)
    parser.add_argument("--changes", type=int, default=10, metavar="N", help="how many of the last changes (10)")
    _add_json(parser, _show)
    parser = add_verb(
        verbs,
        "halt",
        "no new risk from the next cycle on; with --flatten everything is closed",
        f"control halt {_CONFIG} --why wrong-fills",
        f"control halt {_CONFIG} --why exchange-in-trouble --flatten",
        f"control halt {_CONFIG} --why maintenance --for 2h",
    )
    _add_person(parser)
    _add_end(parser, required=False)
    parser.add_argument("--flatten", action="store_true", help="also close every position and cancel every order")
    _add_json(parser, _halt)
    parser = add_verb(
        verbs, "pause", "no new risk until a time", f"control pause {_CONFIG} --why rate-decision --for 2h"
    )
    _add_person(parser)
    _add_end(parser, required=True)
    _add_json(parser, _pause)
    parser = add_verb(
        verbs,
        "resume",
        "allow risk again; a breaker that has tripped starts anew",
        f"control resume {_CONFIG} --why feed-repaired",
    )
    _add_person(parser)
    _add_json(parser, _resume)
    parser = add_verb(
        verbs,
        "override",
        "let one guard pass until a time, at most a day",
        f"control override untracked_orders {_CONFIG} --why my-own-bid --for 4h",
    )
    _add_name(parser)
    _add_person(parser)
    _add_end(parser, required=True)
    _add_json(parser, _override)
    parser = add_verb(
        verbs,
        "revoke",
        "end an override now",
        f"control revoke untracked_orders {_CONFIG} --why bid-is-gone",
    )
    _add_name(parser)
    _add_person(parser)
    _add_json(parser, _revoke)


def _add_person(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)
    parser.add_argument("--why", required=True, metavar="TEXT", help="the reason; reports and messages show it")
    parser.add_argument("--who", default="", metavar="NAME", help="who does it; default: the name you are logged in as")


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="the guard: degraded, account_mismatch, breaker or untracked_orders"
    )


def _add_end(parser: argparse.ArgumentParser, *, required: bool) -> None:
    ends = parser.add_mutually_exclusive_group(required=required)
    ends.add_argument("--until", metavar="TIME", default=None, help="when it ends, such as 2026-01-31T12:00:00Z")
    ends.add_argument("--for", metavar="LENGTH", dest="length", default=None, help="how long, such as 30m, 2h or 1d")


def _add_json(parser: argparse.ArgumentParser, handler: Any) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=handler)


# Verbs


def _show(arguments: argparse.Namespace) -> int:
    from trading_runtime.cli.status import open_existing_store
    from trading_runtime.stores.control import Control

    loaded = loaded_cycle_settings(arguments)
    account = loaded.settings.account.name
    documents = open_existing_store(loaded)
    if documents is None:
        from trading_runtime.stores.memory import MemoryDocuments

        documents = MemoryDocuments()  # never written: nobody has halted
    try:
        control, now_ms = Control(documents, account), _now_ms()
        try:
            history = control.history()
        except StoreDamaged:
            history = ()  # what holds says why it cannot be read
        shown = control.read(now_ms)
        warning = _unknown_account(loaded, documents)
    finally:
        documents.close()
    kept = history[-arguments.changes :] if arguments.changes > 0 else ()
    if arguments.json:
        from trading_runtime.cycle.status import control_json

        print_json(
            {"account": account, **control_json(shown), "changes": [_change_json(one) for one in reversed(kept)]}
        )
    else:
        print(table(_holds(account, shown)))
        if kept:
            rows = [["when", "what", "who", "until", "why"], *(_change_row(one) for one in reversed(kept))]
            print("\nlast changes\n" + table(rows, indent="  "))
        _warn(warning)
    return EXIT_HALT if shown.unreadable else EXIT_DONE


def _halt(arguments: argparse.Namespace) -> int:
    def halt(control: Control, who: str, now_ms: int) -> ControlView:
        return control.halt(who, arguments.why, now_ms, arguments.flatten, _end_ms(arguments, now_ms))

    return _change(arguments, halt)


def _pause(arguments: argparse.Namespace) -> int:
    def pause(control: Control, who: str, now_ms: int) -> ControlView:
        return control.pause(who, arguments.why, now_ms, _required_end_ms(arguments, now_ms))

    return _change(arguments, pause)


def _resume(arguments: argparse.Namespace) -> int:
    return _change(arguments, lambda control, who, now_ms: control.resume(who, arguments.why, now_ms))


def _override(arguments: argparse.Namespace) -> int:
    def override(control: Control, who: str, now_ms: int) -> ControlView:
        return control.override(arguments.name, who, arguments.why, now_ms, _required_end_ms(arguments, now_ms))

    return _change(arguments, override)


def _revoke(arguments: argparse.Namespace) -> int:
    return _change(arguments, lambda control, who, now_ms: control.revoke(arguments.name, who, arguments.why, now_ms))


def _change(arguments: argparse.Namespace, change: Any) -> int:
    """Write the change and say what holds from now on."""
    from trading_runtime.cli.status import refuse_memory
    from trading_runtime.cycle.build import open_store
    from trading_runtime.stores.control import Control

    loaded = loaded_cycle_settings(arguments)
    settings = loaded.settings
    refuse_memory(loaded)
    who = arguments.who or _login()
    documents = open_store(settings, loaded.folder)
    try:
        try:
            after: ControlView = change(Control(documents, settings.account.name), who, _now_ms())
        except StoreDamaged as error:
            raise StoreDamaged(
                f"{error}; nothing was written. As long as it cannot be read every cycle acts as if halted"
            ) from error
        try:
            warning = _unknown_account(loaded, documents)
        except (StoreUnavailable, StoreDamaged) as error:
            warning = f"it is not known whether cycles of this account use this store: {error}"  # it was written
    finally:
        documents.close()
    if arguments.json:
        from trading_runtime.cycle.status import control_json

        print_json({"account": settings.account.name, **control_json(after)})
    else:
        print(table(_holds(settings.account.name, after)))
        if not after.allows_risk:
            print(_meaning(after, str(arguments.config)))
        _warn(warning)
    return EXIT_DONE


# What is said


def _holds(account: str, shown: ControlView) -> list[list[str]]:
    from trading_runtime.core.timeframes import iso_time

    rows = [["account", account], ["now", shown.reason or "run: risk is allowed"]]
    for one in shown.overrides:
        rows.append(["override", f"{one.name} until {iso_time(one.until_ms)} by {one.who}: {one.why}"])
    if shown.resumed_ms is not None:
        rows.append(["resumed", iso_time(shown.resumed_ms)])
    return rows


def _meaning(after: ControlView, config: str) -> str:
    lines = [
        "\nFrom the next cycle on no order that opens or adds to a position is sent. Reductions and cancels still pass."
    ]
    if after.flatten:
        lines.append(
            "The next cycle, also one of a slot that was decided already, cancels all orders and closes everything."
        )
    else:
        lines.append("Positions and resting orders stay as they are; halt again with --flatten to close everything.")
    lines.append("A cycle that runs right now has read the control document before: it still ends as it began.")
    lines.append(f"To act at once: trading-runtime cycle --config {config} --mode live (or paper, as the account is).")
    return "\n".join(lines)


def _unknown_account(loaded: LoadedCycleSettings, documents: Documents) -> str:
    """Return a warning when no strategy of the account has ever run in this store: it may be the wrong store."""
    account = loaded.settings.account.name
    known = documents.names("accounts", first=f"{account}.")
    if any(name.startswith(f"{account}.") for name in known):
        return ""
    store = loaded.settings.store
    where = str(loaded.folder / store.path) if store.kind == "sqlite" else f"{store.kind} {store.project}"
    return f"no cycle of account {account} has run in this store ({where}): make sure that its cycles use it"


def _warn(text: str) -> None:
    if text:
        import sys

        print(f"warning: {text}", file=sys.stderr)


def _change_row(one: Change) -> list[str]:
    from trading_runtime.core.timeframes import iso_time

    what = one.action + (f" {one.name}" if one.name else "") + (" and flatten" if one.flatten else "")
    until = "–" if one.until_ms is None else iso_time(one.until_ms)
    return [iso_time(one.at_ms), what, one.who, until, one.why]


def _change_json(one: Change) -> dict[str, Any]:
    from trading_runtime.core.timeframes import iso_time

    return {
        "action": one.action,
        "name": one.name,
        "flatten": one.flatten,
        "who": one.who,
        "why": one.why,
        "at": iso_time(one.at_ms),
        "until": None if one.until_ms is None else iso_time(one.until_ms),
    }


# What was asked


def _now_ms() -> int:
    from trading_runtime.cycle.clock import SystemClock

    return SystemClock().now_ms()


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        raise WrongWord("nobody is logged in by a name here: say who you are with --who NAME") from None


def _end_ms(arguments: argparse.Namespace, now_ms: int) -> int | None:
    from trading_runtime.core.errors import ConfigurationError
    from trading_runtime.core.timeframes import parse_time

    if arguments.length is not None:
        match = _LENGTH.fullmatch(arguments.length)
        if match is None:
            raise WrongWord(f"--for: not a length of time: {arguments.length!r} (write 90s, 30m, 2h, 1d or 1w)")
        return now_ms + int(match[1]) * _SECONDS[match[2]] * 1000
    if arguments.until is None:
        return None
    try:
        return parse_time(arguments.until)
    except ConfigurationError as error:
        raise WrongWord(f"--until: {error}") from None


def _required_end_ms(arguments: argparse.Namespace, now_ms: int) -> int:
    end_ms = _end_ms(arguments, now_ms)
    if end_ms is None:
        raise WrongWord("say when it ends: --until TIME or --for LENGTH")
    return end_ms
