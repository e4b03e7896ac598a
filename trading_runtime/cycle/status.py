"""The status of an account as its store tells it: cycles, book, orders, control, lease, and whether a person is needed.

The journal and the state document are the truth; reports in files are copies. Reads only: what the stores' own readers
would mend on the way stays in memory. No exchange is asked (``reconcile.py`` does that), nothing is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trading_runtime.core.errors import ConfigurationError, HaltError, StoreUnavailable
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.timeframes import bucket_open_ms, iso_time, timeframe_ms
from trading_runtime.cycle.account import Account, account_from_json, instrument_in_units
from trading_runtime.cycle.report import equity_json, order_json
from trading_runtime.cycle.suspended import suspended_json, suspended_text
from trading_runtime.stores.control import Control, ControlView
from trading_runtime.stores.documents import Documents
from trading_runtime.stores.journal import Entry, Journal
from trading_runtime.stores.lease import Held, Lease
from trading_runtime.stores.overlay import OverlayDocuments
from trading_runtime.stores.state_store import StateStore

# One slot may be in work, one may have failed and be tried again; with more something has stopped.
SLOTS_BEHIND_MAX = 2
# A cycle leaves a handful of entries; hundreds in a row without one that ends a cycle tell nothing more.
ENTRIES_PER_CYCLE_MAX = 100


@dataclass
class AccountStatus:
    """What is known of one strategy's account at ``as_of``. Amounts are exact decimal texts, times ISO texts.

    ``reasons`` say what needs a person, ``notes`` what is worth knowing; ``slots_behind`` is None where wall time means
    nothing (history that is played back). ``marked`` is the close whose prices value the book. ``is_known`` is False
    for an account that no cycle has opened.
    """

    account: str
    strategy: str
    as_of: str
    is_known: bool = False
    mode: str | None = None
    session: str | None = None
    slot: str | None = None
    slots_behind: int | None = None
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cycles: list[dict[str, Any]] = field(default_factory=list)
    book: dict[str, Any] = field(default_factory=dict)
    marked: str | None = None
    orders: list[dict[str, Any]] = field(default_factory=list)
    quarantine: dict[str, str] = field(default_factory=dict)
    suspended: list[dict[str, Any]] = field(default_factory=list)
    mismatches: list[dict[str, Any]] = field(default_factory=list)
    risk: dict[str, Any] | None = None
    control: dict[str, Any] = field(default_factory=dict)
    lease: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return "attention" if self.reasons else "healthy"

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict, **vars(self)}


def read_status(
    documents: Documents,
    account: str,
    strategy: str,
    timeframe: str,
    now_ms: int,
    *,
    cycles: int = 10,
    plays_back: bool = False,
) -> AccountStatus:
    """Return the status of ``strategy`` on ``account``, with its last ``cycles``. ``plays_back`` says that its bars are
    history. Raises StoreUnavailable when the store cannot be asked; what is damaged in it is a reason in the status.
    """
    status = AccountStatus(account, strategy, iso_time(now_ms))
    control = Control(documents, account).read(now_ms)
    status.control = control_json(control)
    if control.unreadable:
        status.reasons.append(control.reason)
    elif not control.allows_risk:
        status.notes.append(control.reason)
    held = _read_lease(status, documents, now_ms)
    found = _read_account(status, documents)
    if found is None:
        return status
    status.is_known, status.mode, status.session = True, found.mode, found.session
    status.risk = None if found.risk is None else found.risk.to_json()
    instruments = instruments_of(found)
    marks = _read_journal(status, found, Journal(documents, account, strategy), timeframe, cycles)
    marks |= {symbol: one["price"] for symbol, one in found.suspended.items()}
    status.suspended = suspended_json(found)
    status.reasons += [suspended_text(one) for one in status.suspended]
    status.book = book_json(found, marks, instruments)
    status.orders = [order_json(record, instruments) for record in found.records.values()]
    _judge_slots(status, found, timeframe_ms(timeframe), now_ms, plays_back=plays_back)
    _judge_orders(status, found, is_running=held is not None and held.expires_ms > now_ms)
    _judge_sync(status, control)
    _judge_risk(status, found, control)
    return status


def is_store_there(path: Path) -> bool:
    """Return whether the file of a store exists; raises StoreUnavailable when that cannot be seen."""
    try:
        return path.exists()
    except OSError as error:
        raise StoreUnavailable(f"{path}: cannot be looked for: {error.strerror or error}") from error


def load_account(documents: Documents, account: str, strategy: str) -> Account | None:
    """Return the account as it was left, None when there never was one; nothing is written, nor can be through it.

    Raises StoreUnavailable, StoreDamaged, and ConfigurationError for a state of a newer program.
    """
    saved = StateStore(OverlayDocuments(documents), account, strategy).load()
    return None if saved is None else account_from_json(saved.content)


def instruments_of(account: Account) -> dict[str, Instrument]:
    """Return what the account counts in, by symbol, without any filter or fee: enough to write amounts as text."""
    return {symbol: instrument_in_units(symbol, units) for symbol, units in account.units.items()}


def holder_of(documents: Documents, account: str, strategy: str) -> Held | None:
    """Return the lease that was not given back, also when it has expired; None when nobody has it. Takes nothing.

    Asked at the beginning of time every lease that was not released counts as held; were it free, it would be taken in
    memory only. Raises StoreUnavailable and StoreDamaged.
    """
    lease = Lease(OverlayDocuments(documents), f"{account}.{strategy}", "nobody", 1.0)
    lease.acquire(0)
    return lease.other


def entries_backwards(journal: Journal, session: str | None) -> Iterator[Entry]:
    """Yield the entries of ``session`` and of those before it, the newest first. Raises StoreDamaged at the first that
    is missing or altered.
    """
    while session is not None:
        previous = None
        for sequence in range(journal.head(session).sequence, -1, -1):
            entry = journal.entry(session, sequence)
            if entry.kind == "session":
                previous = entry.content["previous"]
            yield entry
        session = None if previous is None else previous["session"]


def book_json(account: Account, marks: Mapping[str, float], instruments: Mapping[str, Instrument]) -> dict[str, Any]:
    """Return the book: what ``equity_json`` says, with the sums of what was realised and paid. Without a mark for a
    position that is held, equity is None: it is not known.
    """
    if not instruments:
        return {}
    first = next(iter(instruments.values()))
    positions = list(account.state.positions.values())
    content = equity_json(account.state, marks, instruments)
    content |= {name: first.money_text(sum(getattr(one, name) for one in positions)) for name in _SUMS}
    unmarked = [one.symbol for one in positions if one.quantity and one.symbol not in marks]
    return {**content, "equity": None} if unmarked else content


_SUMS = ("realised", "fees", "funding")


def control_json(control: ControlView) -> dict[str, Any]:
    """Return what holds now as plain data."""
    return {
        "risk": control.risk,
        "allows_risk": control.allows_risk,
        "flatten": control.flatten,
        "reason": control.reason,
        "until": None if control.until_ms is None else iso_time(control.until_ms),
        "resumed": None if control.resumed_ms is None else iso_time(control.resumed_ms),
        "unreadable": control.unreadable,
        "overrides": [
            {
                "name": one.name,
                "who": one.who,
                "why": one.why,
                "since": iso_time(one.since_ms),
                "until": iso_time(one.until_ms),
            }
            for one in control.overrides
        ],
    }


def _read_lease(status: AccountStatus, documents: Documents, now_ms: int) -> Held | None:
    try:
        held = holder_of(documents, status.account, status.strategy)
    except (HaltError, ConfigurationError) as error:
        status.reasons.append(str(error))
        return None
    if held is None:
        status.lease = {"state": "free"}
        return None
    state = "held" if held.expires_ms > now_ms else "expired"
    status.lease = {"state": state, "holder": held.holder, "token": held.token, "expires": iso_time(held.expires_ms)}
    if state == "expired":
        status.notes.append(
            f"{held.holder} ended without giving the lease back; it expired {iso_time(held.expires_ms)}"
        )
    return held


def _read_account(status: AccountStatus, documents: Documents) -> Account | None:
    try:
        found = load_account(documents, status.account, status.strategy)
    except (HaltError, ConfigurationError) as error:
        status.reasons.append(str(error))
        return None
    if found is None:
        status.reasons.append(f"no cycle of {status.strategy} on account {status.account} has run in this store yet")
    return found


def _read_journal(
    status: AccountStatus, account: Account, journal: Journal, timeframe: str, cycles: int
) -> dict[str, float]:
    """Fill in the last cycles and what they found; return the newest close that was recorded of each symbol."""
    marks: dict[str, tuple[int, float]] = {}
    wanted = set(account.units) - set(account.suspended)
    try:
        if account.session is not None and account.head is not None:
            end = journal.head(account.session).sequence
            if end < account.head[0]:
                status.reasons.append(
                    f"the journal ends at entry {end} of session {account.session}, the state knows of "
                    f"{account.head[0]}: entries were lost; restore the store from a backup"
                )
        current: dict[str, Any] | None = None
        is_synced = False
        for count, entry in enumerate(entries_backwards(journal, account.session)):
            _note_marks(marks, entry, wanted)
            if entry.kind == "cycle" or (current is None and entry.kind != "session"):
                if len(status.cycles) >= cycles:
                    current = {}
                else:
                    current = _cycle_json(entry)
                    status.cycles.append(current)
            if entry.kind == "decision" and not is_synced:
                status.mismatches, is_synced = list(entry.content["context"]["mismatches"]), True
            if current:
                _add(current, entry)
            is_full = len(status.cycles) >= cycles and not current
            if (is_full and wanted <= marks.keys()) or count >= ENTRIES_PER_CYCLE_MAX * max(cycles, 1):
                break
    except HaltError as error:
        status.reasons.append(f"the journal is damaged: {error}")
    if marks:
        status.marked = iso_time(min(time_ms for time_ms, _ in marks.values()) + timeframe_ms(timeframe))
    return {symbol: close for symbol, (_, close) in marks.items()}


def _cycle_json(entry: Entry) -> dict[str, Any]:
    """Begin the line of a cycle with the entry that ended it; with any other, it has not ended."""
    has_ended = entry.kind == "cycle"
    return {
        "slot": None if entry.slot is None else iso_time(entry.slot),
        "ended": entry.time if has_ended else None,
        "status": entry.content["status"] if has_ended else "not ended",
        "reason": entry.content["reason"] if has_ended else "the last cycle was cut off, or runs now",
        "run_id": entry.content["run_id"] if has_ended else None,
        "sent": entry.content["sent"] if has_ended else None,
        "session": entry.session,
        "decisions": 0,
        "orders": 0,
        "cancels": 0,
        "fills": 0,
        "refusals": [],
    }


def _add(cycle: dict[str, Any], entry: Entry) -> None:
    if entry.kind == "decision":
        decision = entry.content["decision"]
        cycle["decisions"] += 1
        cycle["orders"] += len(decision["orders"])
        cycle["cancels"] += len(decision["cancels"])
        cycle["refusals"] = [f"{one['symbol']}: {one['detail']}" for one in decision["refusals"]] + cycle["refusals"]
    elif entry.kind == "events":
        cycle["fills"] += sum(one["event"] == "order_filled" for one in entry.content["events"])


def _note_marks(marks: dict[str, tuple[int, float]], entry: Entry, wanted: Set[str]) -> None:
    """Keep the newest close of each wanted symbol: rows are [open time, open, high, low, close, volume]."""
    if entry.kind not in ("decision", "bars"):
        return
    for symbol, rows in entry.content["rows"].items():
        if rows and symbol in wanted and (symbol not in marks or rows[-1][0] > marks[symbol][0]):
            marks[symbol] = (int(rows[-1][0]), float(rows[-1][4]))


def _judge_slots(status: AccountStatus, account: Account, bar_ms: int, now_ms: int, *, plays_back: bool) -> None:
    slot = account.state.slot
    if slot is None:
        status.notes.append("no slot has been decided yet")
        return
    status.slot = iso_time(slot)
    if plays_back:
        status.notes.append("history is played back: how far it is behind says nothing")
        return
    status.slots_behind = behind = (bucket_open_ms(now_ms, bar_ms) - slot) // bar_ms
    if behind > SLOTS_BEHIND_MAX:
        status.reasons.append(f"{behind} slots behind: cycles do not run or do not get to a decision; see their logs")
    elif behind < 0:
        status.reasons.append(f"the last slot {status.slot} lies ahead of this computer's clock: set the clock")


def _judge_orders(status: AccountStatus, account: Account, *, is_running: bool) -> None:
    """What a cycle has claimed a moment ago is normal while it runs, and a finding when nobody is at work."""
    found = [
        f"the fate of order {record.order.order_id} ({record.order.symbol}) is unknown: the next cycle asks"
        for record in account.in_phase("claimed")
    ]
    found += [
        f"not all fills of order {record.order.order_id} ({record.order.symbol}) are in the book: the next cycle asks"
        for record in account.in_phase("open")
        if not record.is_booked
    ]
    found += [
        f"how {record.name} ended is not known: the next cycle asks"
        for record in account.earn.values()
        if record.phase != "planned"
    ]
    status.quarantine = dict(account.quarantine)
    if is_running:
        status.notes += [f"a cycle is at work: {text}" for text in found]
    else:
        status.reasons += found
    status.reasons += [f"{symbol} is in quarantine: {reason}" for symbol, reason in account.quarantine.items()]
    newest = status.cycles[0] if status.cycles else None
    if newest is not None and newest["status"] == "unresolved" and not found:
        status.reasons.append(f"the last cycle ended unresolved: {newest['reason']}")


def _judge_sync(status: AccountStatus, control: ControlView) -> None:
    for one in status.mismatches:
        if one["blocks"] and control.overrides_guard(one["override"]):
            status.notes.append(f"overridden ({one['override']}): {one['detail']}")
        elif one["blocks"]:
            status.reasons.append(f"no new risk since the last decision: {one['detail']} ({one['kind']})")


def _judge_risk(status: AccountStatus, account: Account, control: ControlView) -> None:
    tripped = None if account.risk is None else account.risk.tripped
    if tripped is None:
        return
    if tripped.is_acknowledged(control.resumed_ms):
        status.notes.append(f"a breaker tripped and a person has resumed since: {tripped.detail}")
    elif control.overrides_guard("breaker"):
        status.notes.append(f"a breaker has tripped and is overridden: {tripped.detail}")
    else:
        status.reasons.append(f"a breaker has tripped: {tripped.detail}; resume when you have looked into it")
