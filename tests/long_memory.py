"""Strategies under the names of those in ``cycle_world``, as if a person had given them a longer memory."""

from __future__ import annotations

import cycle_world

from trading_runtime.core.columns import indicator
from trading_runtime.core.strategy import Inputs, Proposal, Strategy


class Alternate(Strategy):
    """Needs more bars than there are at first."""

    slow = indicator("sma", "close", length=60)

    def decide(self, inputs: Inputs) -> Proposal | None:
        return None


class Bracket(cycle_world.Bracket):
    """Needs more bars than there are at first."""

    slow = indicator("sma", "close", length=60)


class EntryExit(Strategy):
    """Needs three bars more than there are at first."""

    slow = indicator("sma", "close", length=53)

    def decide(self, inputs: Inputs) -> Proposal | None:
        return None
