"""Events of an account as plain data, for the journal: whoever replays them from the first state has every later
state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trading_runtime.core.errors import StrategyError
from trading_runtime.core.state import (
    BaseFeePaid,
    CashMoved,
    CoinsSpent,
    Event,
    FundingPaid,
    Order,
    OrderEnded,
    OrderFilled,
    OrderPlaced,
    SlotDecided,
)

_KINDS: dict[str, type[Any]] = {
    "order_placed": OrderPlaced,
    "order_filled": OrderFilled,
    "order_ended": OrderEnded,
    "funding_paid": FundingPaid,
    "cash_moved": CashMoved,
    "base_fee_paid": BaseFeePaid,
    "coins_spent": CoinsSpent,
    "slot_decided": SlotDecided,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def order_from_json(content: Mapping[str, Any]) -> Order:
    """Return the order that ``Order.to_json`` wrote; raises TypeError when it is not one."""
    return Order(**{**content, "fallback": tuple(content.get("fallback", ()))})


def event_to_json(event: Event) -> dict[str, Any]:
    """Return plain data that ``event_from_json`` turns back into an equal event."""
    content: dict[str, Any] = {"event": _NAMES[type(event)]}
    for name in type(event).__slots__:
        value = getattr(event, name)
        content[name] = value.to_json() if isinstance(value, Order) else dict(value) if _is_mapping(value) else value
    return content


def event_from_json(content: Mapping[str, Any]) -> Event:
    """Return the event, without the facts a journal notes beside it; raises StrategyError when it is not one."""
    kind = _KINDS.get(content.get("event", ""))
    if kind is None:
        raise StrategyError(f"{content.get('event')!r} is no event of an account")
    values = {name: content[name] for name in kind.__slots__ if name in content}
    try:
        if kind is OrderPlaced:
            values["order"] = order_from_json(values["order"])
        event: Event = kind(**values)
    except (TypeError, KeyError) as error:
        raise StrategyError(f"an event {content.get('event')!r} is damaged: {error}") from error
    return event


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)
