"""How the verbs that read recorded sessions (journal, replay, compare-live) find one: in the store of a configuration,
which is neither made nor written to, or in an exported file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trading_runtime.cli.arguments import configured_by
from trading_runtime.core.errors import ConfigurationError, DataError, nearest_name

if TYPE_CHECKING:
    from trading_runtime.core.strategy import Strategy
    from trading_runtime.cycle.recorded import RecordedSession
    from trading_runtime.stores.journal import Head, Journal

_PROGRESS_STEP = 200


class OpenJournal(NamedTuple):
    """A journal for reading, the newest session and its head as the account's document has them."""

    journal: Journal
    session: str | None
    head: Head | None


def add_journal(parser: argparse.ArgumentParser, journal_help: str) -> None:
    """Add the options that say where sessions are."""
    add_cycle_config(parser, is_required=False)
    parser.add_argument("--journal", metavar="FILE", help=journal_help)


def add_cycle_config(parser: argparse.ArgumentParser, *, is_required: bool = True) -> None:
    """Add the options that name a configuration of cycles."""
    parser.add_argument(
        "--config", required=is_required, metavar="FILE", help="configuration of the cycles, JSON or YAML"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting, for example account.name=other; may be given several times",
    )


@contextmanager
def opened_journal(arguments: argparse.Namespace) -> Iterator[OpenJournal]:
    """Open the journal of a configuration's account and strategy, for reading only, and close its store at the end."""
    from trading_runtime.config.cycle_build import load_strategy
    from trading_runtime.config.load import load_cycle_settings
    from trading_runtime.cycle.account import account_from_json
    from trading_runtime.cycle.build import open_store
    from trading_runtime.stores.journal import Head, Journal
    from trading_runtime.stores.overlay import OverlayDocuments
    from trading_runtime.stores.state_store import StateStore

    if not arguments.config:
        raise ConfigurationError("give --config FILE, whose store has the journal, or --journal FILE")
    loaded = load_cycle_settings(arguments.config, arguments.set, os.environ)
    with configured_by(loaded.path):
        owner = loaded.settings.account.name, type(load_strategy(loaded.settings, loaded.folder)).__qualname__
        documents = open_store(loaded.settings, loaded.folder, create=False)
    try:
        reading = OverlayDocuments(documents)  # whatever reading mends stays in memory
        saved = StateStore(reading, *owner).load()
        account = None if saved is None else account_from_json(saved.content)
        head = None if account is None or account.head is None else Head(*account.head)
        yield OpenJournal(Journal(reading, *owner), None if account is None else account.session, head)
    finally:
        documents.close()


def chosen_session(opened: OpenJournal, wanted: str | None) -> str:
    """Return the name of the session that is meant: the newest for None and "newest"."""
    sessions = opened.journal.sessions()
    if not sessions:
        raise DataError(f"the journal of {opened.journal.name} is empty: no cycle has decided in this store")
    if wanted is None or wanted == "newest":
        from trading_runtime.cycle.recorded import sessions_in_time

        return opened.session if opened.session in sessions else list(sessions_in_time(opened.journal))[-1]
    if wanted not in sessions:
        near = nearest_name(wanted, sessions)
        hint = f"; did you mean {near}?" if near else ""
        raise DataError(
            f"the journal of {opened.journal.name} has no session {wanted!r}{hint} "
            "(list them with `trading-runtime journal show`)"
        )
    return wanted


def recorded_session(arguments: argparse.Namespace, wanted: str | None) -> RecordedSession:
    """Return the session that a verb is about: of an exported file with --journal, else of the configured store."""
    from trading_runtime.cycle.recorded import read_exported_session, read_session

    if arguments.journal:
        recorded = read_exported_session(Path(arguments.journal))
        if wanted not in (None, "newest", recorded.session):
            raise DataError(f"{arguments.journal}: holds session {recorded.session}, not {wanted!r}")
        return recorded
    with opened_journal(arguments) as opened:
        return read_session(opened.journal, chosen_session(opened, wanted), told_progress("entries"))


def told_progress(what: str) -> Callable[[int, int], None] | None:
    """Return what tells a person at a terminal how far something is; a log needs no such thing."""
    if not sys.stderr.isatty():
        return None

    def tell(done: int, total: int) -> None:
        if done % _PROGRESS_STEP == 0 or done == total:
            end = "\r" if done < total else "\r\033[K"
            print(f"{done:,} of {total:,} {what}", end=end, file=sys.stderr, flush=True)

    return tell


def strategy_of(arguments: argparse.Namespace, recorded: RecordedSession) -> Strategy:
    """Return the strategy that decides again: --strategy, else the one that the session names."""
    from trading_runtime.cycle.replay import recorded_strategy

    # On the command line a path starts where one stands; what a session names starts at the configuration.
    folder = Path.cwd() if arguments.strategy or not arguments.config else Path(arguments.config).absolute().parent
    return recorded_strategy(recorded, override=arguments.strategy, folder=folder)
