"""The trace of a run: what happened, in order, before anything is derived from it.

Both paths of the engine write the same trace; equity, trades, metrics, journal and tables are all computed from it,
once, elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from trading_runtime.core.intents import Intent
from trading_runtime.core.refusals import Refusal
from trading_runtime.core.state import Order

# The meaning of the simulation. Raise it with every change that can alter a fill, an amount or a refusal: it is part of
# every result's digest and of every sweep cell's identity.
ENGINE_SEMANTICS = 1


class Fill(NamedTuple):
    """One execution. ``bar`` is the clock's bar it happened in; amounts are units; slippage is the cost against the
    reference price.
    """

    bar: int
    symbol_index: int
    order: Order
    quantity: int
    price: float
    value: int
    fee: int
    slippage: int
    is_maker: bool


class Ended(NamedTuple):
    """An order that left the book before it was filled in full."""

    bar: int
    order_id: str
    status: str
    reason: str


class Funded(NamedTuple):
    """A funding payment: ``amount`` quote units, positive when paid."""

    bar: int
    symbol_index: int
    rate: float
    amount: int


NO_FACTS: Mapping[str, Any] = MappingProxyType({})


class Decided(NamedTuple):
    """A decision at the close of ``bar``. ``facts``, what it was made from, are kept of those that wanted something:
    those of every hour of three years would fill the memory.
    """

    bar: int
    slot: int
    intents: tuple[Intent, ...]
    orders: tuple[Order, ...]
    refusals: tuple[Refusal, ...]
    reasons: tuple[str, ...]
    facts: Mapping[str, Any] = NO_FACTS


Entry = Fill | Ended | Funded | Decided


@dataclass
class Trace:
    """Entries in the order they happened, and the bar at which the first decision could be made."""

    first_bar: int
    entries: list[Entry] = field(default_factory=list)
    strategy_state: Any = None

    def fills(self) -> list[Fill]:
        return [entry for entry in self.entries if type(entry) is Fill]

    def funding(self) -> list[Funded]:
        return [entry for entry in self.entries if type(entry) is Funded]

    def decisions(self) -> list[Decided]:
        return [entry for entry in self.entries if type(entry) is Decided]
