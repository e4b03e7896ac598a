"""The guards of a decision: what a person, the account and the exchange say about taking risk now, and why.

Pure: what is known is given. Which gate reads what is in ``core/gates.py``; placement goes by the same
(``Context.is_risk_allowed``, ``Context.distrusted``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from trading_runtime.core.gates import Guards
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.sync import Finding
from trading_runtime.stores.control import ControlView


def guards_of(
    account: Account,
    control: ControlView,
    findings: Sequence[Finding],
    *,
    is_newest: bool,
    untrusted: Mapping[str, str] = MappingProxyType({}),
) -> Guards:
    """Return the guards of a slot; ``is_newest`` says whether no bar has closed since, ``untrusted`` are symbols whose
    publication is degraded, and why.
    """
    details: dict[str, str] = {}
    tripped = None if account.risk is None else account.risk.tripped
    breakers = tripped is None or control.overrides_guard("breaker")
    if tripped is not None:
        details["breakers"] = tripped.detail
    if not control.allows_risk:
        details["control"] = control.reason
    risk_state = is_newest
    if not is_newest:
        details["risk_state"] = "a missed slot: only the newest may open risk"
    blocking = [one for one in findings if one.blocks and not control.overrides_guard(one.override)]
    for one in blocking:
        if one.blocks == "all":
            risk_state = False
            details["risk_state"] = f"{one.kind}: {one.detail}"
    distrusted = {one.symbol: f"{one.kind}: {one.detail}" for one in blocking if one.blocks == "symbol" and one.symbol}
    distrusted = {**untrusted, **distrusted, **account.quarantine}
    frozen = {
        record.order.symbol
        for record in account.records.values()
        if record.phase == "claimed" or (record.phase == "open" and record.cancel is not None)
    }
    details |= {f"data_quality:{symbol}": reason for symbol, reason in distrusted.items()}
    return Guards(
        control_allows_risk=control.allows_risk,
        risk_state_allows_risk=risk_state,
        breakers_allow_risk=breakers,
        distrusted_symbols=frozenset(distrusted),
        frozen_symbols=frozenset(frozen),
        details=details,
    )
