"""What the steps of one cycle share: the parts they work with, and what they have found out so far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trading_runtime.core.instruments import Instrument
from trading_runtime.core.slot import whole_lots
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.booking import Booker
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.keeper import Keeper
from trading_runtime.exchanges.port import Exchange
from trading_runtime.stores.control import Control
from trading_runtime.telemetry.log import EventLog
from trading_runtime.telemetry.redact import redact

if TYPE_CHECKING:
    from trading_runtime.cycle.suspended import Suspension
    from trading_runtime.cycle.treasury import Treasury

# Nothing tells how soon an exchange shows an order that it has accepted; Binance's own answer arrives within this.
VISIBILITY_MS = 3_000
# An exchange without a validity window may in theory still act on a request for as long; then it is given up.
FORGOTTEN_MS = 15 * 60 * 1000
ATTEMPTS_MAX = 3


@dataclass(frozen=True)
class Patience:
    """How long placement waits: for the fate of one order, and for the fills of one that is done."""

    confirm_seconds: float = 20.0
    pause_seconds: float = 0.5


@dataclass
class Context:
    """One cycle's parts. ``slot`` is the one being worked, ``sent`` counts orders and cancels that were sent,
    ``missing`` are accepted orders that the exchange does not show. Unless ``is_risk_allowed`` only reductions are
    sent, and of ``distrusted`` symbols in any case. ``instruments`` grow when a publication brings new symbols; of what
    is ``suspended`` they tell the units alone, and nothing is sent.
    """

    exchange: Exchange
    keeper: Keeper
    booker: Booker
    clock: Clock
    log: EventLog
    instruments: dict[str, Instrument]
    patience: Patience
    slot: int = 0
    sent: int = 0
    is_risk_allowed: bool = False
    distrusted: frozenset[str] = frozenset()
    missing: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    control: Control | None = None
    treasury: Treasury | None = None
    suspended: dict[str, Suspension] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def account(self) -> Account:
        return self.keeper.account

    def tradable(self, symbol: str) -> int:
        """The signed quantity held that can be traded, in units; of what is suspended that is none."""
        return 0 if symbol in self.suspended else self.whole_lots(symbol)

    def whole_lots(self, symbol: str) -> int:
        """The signed quantity held in whole lots, in units. None of a symbol that nobody trades any more: what is held
        of others is always among the instruments, see ``opening.check_account``.
        """
        quantity = self.account.state.quantity(symbol)
        if not quantity or symbol not in self.instruments:
            return 0
        return whole_lots(quantity, self.instruments[symbol], self.slot)

    def looks(self) -> Iterator[None]:
        """Yield for each time that something is asked: at once, then after growing pauses, until patience ends."""
        waited, pause = 0.0, 0.0
        while True:
            yield
            if waited >= self.patience.confirm_seconds:
                return
            pause = min(max(pause * 2.0, 0.1), self.patience.pause_seconds * 4.0)
            self.clock.sleep(pause)
            waited += pause

    def note(self, event: str, **facts: Any) -> None:
        """Say something that journal, report and log should tell; a detail may be what somebody else has written."""
        if isinstance(facts.get("detail"), str):
            facts["detail"] = redact(facts["detail"])
        self.notes.append({"event": event, **facts})
        self.account.note({"event": event, **facts})
        self.log.info(event, **facts)
