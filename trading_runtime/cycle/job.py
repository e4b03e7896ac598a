"""What a cycle runs: whose account, which strategy, on what, within which limits. Plain parts, made by ``build.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from trading_runtime.core.decision import Identity
from trading_runtime.core.gates import Caps
from trading_runtime.core.instruments import split_symbol
from trading_runtime.core.risk import RiskLimits
from trading_runtime.core.strategy import Permissions, Strategy
from trading_runtime.core.treasury import TreasuryTerms
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.context import Patience
from trading_runtime.cycle.keeper import Stores
from trading_runtime.exchanges.port import Exchange
from trading_runtime.stores.control import Control
from trading_runtime.telemetry.log import EventLog

if TYPE_CHECKING:
    from trading_runtime.artifacts.ladder import Resolution


class Publications(Protocol):
    """Where the artifact of a strategy comes from: a ladder of sources, of which the first good one counts."""

    def resolve(self, now_ms: int, last_good: Mapping[str, Any] | None) -> Resolution:
        """Return what is in force, never an error; ``last_good`` is what the last fresh one left behind."""
        ...


@dataclass(frozen=True)
class Job:
    """The parts of one cycle. ``start_cash`` is in quote units and counts when the account is opened.

    ``publications`` are asked for the artifact that the strategy consumes; ``degraded_entries`` lets it open positions
    by one that did not come fresh. With ``has_all_funds`` all money of the exchange's account is the strategy's, and
    the coins of ``adopt`` when the account is opened. ``columns`` replace the computed ones: a number by name, or one
    by symbol.
    """

    mode: str
    account: str
    strategy: Strategy
    symbols: tuple[str, ...]
    timeframe: str
    start_cash: int
    exchange: Exchange
    stores: Stores
    control: Control
    clock: Clock
    log: EventLog
    identity: Mapping[str, Any]
    caps: Caps = field(default_factory=Caps)
    permissions: Permissions = field(default_factory=Permissions)
    limits: RiskLimits = field(default_factory=RiskLimits)
    patience: Patience = field(default_factory=Patience)
    missed_slots_max: int = 48
    bar_age_ms_max: int = 2**62
    may_open_account: bool = True
    publications: Publications | None = None
    degraded_entries: bool = False
    treasury: TreasuryTerms | None = None
    has_all_funds: bool = False
    adopt: tuple[str, ...] = ()
    columns: Mapping[str, Any] | None = None

    @property
    def configured_symbols(self) -> tuple[str, ...]:
        """The symbols that are there whatever is published: those of the settings, and the market of the fuel."""
        fuel = None if self.treasury is None else self.treasury.fuel_symbol
        return self.symbols if fuel is None or fuel in self.symbols else (*self.symbols, fuel)

    @property
    def quote(self) -> str:
        """The currency that everything is settled in."""
        return split_symbol(self.symbols[0])[1]

    @property
    def reserved(self) -> dict[str, str]:
        """Symbols that a publication cannot have traded, and why."""
        found = dict.fromkeys(self.symbols, "reserved: it is traded by the settings, not by the publication")
        if self.treasury is not None and self.treasury.fuel_symbol is not None:
            found[self.treasury.fuel_symbol] = "reserved: fees are paid with it"
        return found

    def given_columns(self, symbols: tuple[str, ...]) -> Mapping[str, Any] | None:
        """Return the columns that somebody else computed, for ``symbols`` in their order; None when there are none."""
        if self.columns is None:
            return None
        return {
            name: [values.get(symbol) for symbol in symbols] if isinstance(values, Mapping) else values
            for name, values in self.columns.items()
        }

    @property
    def owner(self) -> Identity:
        return Identity(self.account, type(self.strategy).__qualname__)
