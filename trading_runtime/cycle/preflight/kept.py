"""What is in the store: state, control and lease, and whether it can be read and written."""

from __future__ import annotations

import os
from pathlib import Path

from trading_runtime.core.instruments import split_symbol
from trading_runtime.core.timeframes import iso_time
from trading_runtime.cycle.build import open_store
from trading_runtime.cycle.preflight.check import Failed, NotChecked, Warned
from trading_runtime.cycle.preflight.ground import Ground, needed
from trading_runtime.cycle.status import holder_of, is_store_there, load_account
from trading_runtime.cycle.universe import dust_of, in_use
from trading_runtime.stores.control import Control
from trading_runtime.stores.documents import Conflict, Documents
from trading_runtime.stores.envelope import seal

_PROBE_SCHEMA = 1


def check_store(ground: Ground) -> str:
    settings, account = ground.settings, ground.settings.account.name
    store = settings.store
    if store.kind == "memory":
        ground.is_store_absent = True
        raise Warned("kind memory forgets everything when the process ends: only to try things out")
    path = ground.loaded.folder / store.path
    if store.kind == "sqlite" and not is_store_there(path):
        ground.is_state_known = ground.is_store_absent = True
        return f"{path} is not there yet: the first cycle creates it, in {_writable_folder(path)}"
    documents = open_store(settings, ground.loaded.folder, create=False)
    ground.documents = documents
    probe = f"preflight/{account}"
    where = str(path) if store.kind == "sqlite" else f"{store.kind}, project {store.project}"
    if not ground.may_write:
        documents.read(probe)
        return f"{where}: can be read; trading-runtime preflight proves that it can be written"
    _write_probe(documents, probe, account)
    return f"{where}: can be read and written (proved on the document {probe})"


def check_state(ground: Ground) -> str:
    settings, name = ground.settings, ground.settings.account.name
    strategy = needed(ground.strategy, "the strategy")
    if ground.documents is not None:
        ground.account = load_account(ground.documents, name, type(strategy).__qualname__)
        ground.is_state_known = True
    elif settings.store.kind == "memory":
        ground.is_state_known = True
    elif not ground.is_state_known:
        raise NotChecked("the store cannot be used")
    account = ground.account
    mode = "live" if ground.is_live else "paper"
    if account is None:
        quote = split_symbol(settings.market.symbols[0])[1]
        return f"a new account: its first {mode} cycle opens it with {settings.account.cash:.10g} {quote}"
    if account.mode != mode:
        raise Failed(
            f"account {name!r} in this store is a {account.mode} account: give the {mode} one another account.name "
            "or another store"
        )
    # With an artifact a symbol that it no longer names stays tradable until it is flat.
    gone = sorted(in_use(account) - dust_of(account) - set(ground.universe().symbols))
    if gone:
        raise Failed(f"{', '.join(gone)} is held or has open orders: keep it in market.symbols until it is flat")
    slot = "no slot yet" if account.state.slot is None else f"last slot {iso_time(account.state.slot)}"
    if account.quarantine or account.in_phase("claimed"):
        raise Warned(f"{slot}; the fate of an order is unknown, the next cycle asks: see trading-runtime status")
    return f"a {mode} account, {slot}, {len(account.records)} unfinished order(s)"


def check_control(ground: Ground) -> str:
    if ground.documents is None:
        if not ground.is_state_known:
            raise NotChecked("the store cannot be used")
        return "never written: risk is allowed"
    shown = Control(ground.documents, ground.settings.account.name).read(ground.clock.now_ms())
    if shown.unreadable:
        raise Failed(shown.reason)
    given = ", ".join(f"{one.name} until {iso_time(one.until_ms)}" for one in shown.overrides)
    text = f"; overridden: {given}" if given else ""
    if not shown.allows_risk:
        raise Warned(f"{shown.reason}: a cycle only reduces{text}")
    return f"risk is allowed{text}"


def check_lease(ground: Ground) -> str:
    strategy = needed(ground.strategy, "the strategy")
    if ground.documents is None:
        if not ground.is_state_known:
            raise NotChecked("the store cannot be used")
        return "free"
    held = holder_of(ground.documents, ground.settings.account.name, type(strategy).__qualname__)
    if held is None or held.expires_ms <= ground.clock.now_ms():
        return "free"
    raise Warned(f"{held.holder} has it until {iso_time(held.expires_ms)}: a cycle started now ends as not_mine")


def _writable_folder(path: Path) -> Path:
    """Return the nearest folder there is above a file to be created; raises Failed when it cannot be written to."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise Failed(f"{path} cannot be created: {folder} is not a folder that can be written to")
    return folder


def _write_probe(documents: Documents, path: str, account: str) -> None:
    """Write the document that proves that the store can be written to."""
    content = {"account": account, "purpose": "written by trading-runtime preflight; read by nobody"}
    raw, _ = seal(path, content, _PROBE_SCHEMA)
    there = documents.read(path)
    try:
        if there is None:
            documents.create(path, raw)
        else:
            documents.replace(path, raw, there.version)
    except Conflict:
        return  # another preflight has written it just now: that is a proof, too
