"""What the lines of one check share: the configuration, and what each line found that the next ones use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from trading_runtime.config.cycle_schema import CycleSettings
from trading_runtime.config.load import LoadedCycleSettings
from trading_runtime.core.instruments import Instrument
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import timeframe_ms
from trading_runtime.cycle.account import Account
from trading_runtime.cycle.clock import Clock
from trading_runtime.cycle.preflight.check import Check, NotChecked
from trading_runtime.cycle.suspended import Suspension
from trading_runtime.cycle.sync import Finding
from trading_runtime.cycle.universe import Universe, configured_symbols, fixed_universe, universe_of
from trading_runtime.exchanges.port import Balance, Exchange, Feed
from trading_runtime.stores.documents import Documents

NOT_IN_PAPER = "not needed: paper trades at the simulated exchange"
_Value = TypeVar("_Value")


@dataclass
class Ground:
    """What one line finds the next ones use; None where it is not there. With ``may_write`` the store is proved to be
    writable by a document that nobody reads.
    """

    loaded: LoadedCycleSettings
    mode: str
    environment: Mapping[str, str]
    clock: Clock
    base_url: str | None
    may_write: bool
    more: list[Check] = field(default_factory=list)  # lines that come before the one at work
    strategy: Strategy | None = None
    documents: Documents | None = None
    is_store_absent: bool = False  # there is none yet, or it forgets everything: nothing is known, rightly
    is_state_known: bool = False
    account: Account | None = None
    feed: Feed | None = None
    is_feed_there: bool = False
    opened: list[Feed] = field(default_factory=list)
    private: Exchange | None = None
    instruments: Mapping[str, Instrument] | None = None
    suspended: Mapping[str, Suspension] = field(default_factory=dict)
    balances: Mapping[str, Balance] | None = None
    findings: list[Finding] | None = None

    @property
    def settings(self) -> CycleSettings:
        return self.loaded.settings

    @property
    def is_live(self) -> bool:
        return self.mode == "live"

    @property
    def bar_ms(self) -> int:
        return timeframe_ms(self.settings.market.timeframe)

    @property
    def configured_symbols(self) -> tuple[str, ...]:
        """The symbols that are there whatever is published: those of the settings, and the market of the fuel."""
        return configured_symbols(self.settings)

    def universe(self) -> Universe:
        """The symbols of the next cycle, as far as the account knows them: of a new publication it learns by then."""
        if self.settings.artifact is None:
            return fixed_universe(self.configured_symbols, self.account)
        published = () if self.account is None else self.account.universe
        return universe_of(self.configured_symbols, published, self.account)

    def reached(self) -> Feed:
        """Return where bars come from, or say that nothing can be asked there."""
        if self.feed is None or not self.is_feed_there:
            raise NotChecked("the exchange cannot be asked")
        return self.feed

    def known_state(self) -> Account | None:
        """Return the account, None for a new one, or say that nobody knows."""
        if not self.is_state_known:
            raise NotChecked("the state cannot be read")
        return self.account

    def close(self) -> None:
        """Close the store and the sockets of exchanges; a feed of files has none."""
        if self.documents is not None:
            self.documents.close()
        for one in self.opened:
            close: Callable[[], None] | None = getattr(one, "close", None)
            if close is not None:
                close()


def needed(value: _Value | None, what: str) -> _Value:
    """Return what an earlier line has found, or say that it could not be had."""
    if value is None:
        raise NotChecked(f"{what} could not be had")
    return value
