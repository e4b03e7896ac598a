"""What a cycle runs: whose account, which strategy, on what, within which limits. Plain parts, made by ``build.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trading_runtime.core.decision import Identity
from trading_runtime.core.gates import Caps
from trading_runtime.core.risk import RiskLimits
from trading_runtime.core.strategy import Permissions, Strategy
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.context import Patience
from trading_runtime.cycle.keeper import Stores
from trading_runtime.exchanges.port import Exchange
from trading_runtime.stores.control import Control
from trading_runtime.telemetry.log import EventLog


@dataclass(frozen=True)
class Job:
    """The parts of one cycle. ``start_cash`` is in quote units and counts when the account is opened."""

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

    @property
    def owner(self) -> Identity:
        return Identity(self.account, type(self.strategy).__qualname__)
