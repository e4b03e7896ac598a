"""The draft of one decision: intents, refusals, what there is to tell of them, and the account as it would be after.

It knows which orders are still open and adds none to them, and keeps the attempts of the day. Which orders there should
be is decided elsewhere (``trend_orders.py``, ``core_orders.py``).
"""

from __future__ import annotations

from typing import Any

from trading_runtime.core.intents import Intent, close, market
from trading_runtime.core.refusals import Refusal
from trading_runtime.strategies.live_pool.allocation import Allocation, allocate, reallocated
from trading_runtime.strategies.live_pool.attempts import attempt_key, new_attempt, settled_attempts
from trading_runtime.strategies.live_pool.situation import Situation

BUY, SELL = 1, -1


class Draft:
    """Collects a decision. ``cash`` and ``trend_value`` are quote money at the prices of the slot, before fees, as they
    would be after what the draft has so far; ``before`` is the allocation without any of it.
    """

    def __init__(self, situation: Situation) -> None:
        inputs = situation.inputs
        orders = inputs.orders
        self._situation = situation
        self._open_sides = {(order.symbol, order.side) for order in orders}
        self.cash = inputs.cash
        self.trend_value = situation.trend_value
        self.before = allocate(
            situation.equity, self.cash, self.trend_value, situation.btc_value, situation.allocation_rules
        )
        self.attempts = settled_attempts(
            inputs.state.get("attempts", {}),
            situation.today,
            {attempt_key(order.symbol, order.leg) for order in orders},
            situation.position_of,
        )
        self.intents: list[Intent] = []
        self.refusals: list[Refusal] = []
        self.reasons: list[str] = []
        self.told: dict[str, dict[str, Any]] = {}

    def allocation(self) -> Allocation:
        """The budgets after the draft so far. Equity stays what it is: an order at the price of the slot moves none."""
        return reallocated(self.before, self.cash, self.trend_value)

    def refuse(self, gate: str, category: str, symbol: str, leg: str, detail: str) -> None:
        self.refusals.append(Refusal(gate, category, symbol, leg, detail))

    def buy(self, symbol: str, leg: str, quantity: float, told: dict[str, Any]) -> bool:
        """Buy ``quantity`` base units; returns whether the draft has it: not while another buy of the symbol is open.
        ``told`` are the facts of the intent, among them ``price`` and ``reason``.
        """
        if self._is_open(symbol, BUY, leg):
            return False
        self.intents.append(market(symbol, "buy", quantity=quantity, leg=leg, reason=told["reason"]))
        self.cash -= quantity * told["price"]
        self._add(symbol, leg, quantity, {"action": "buy", **told})
        return True

    def sell(self, symbol: str, leg: str, fraction: float, quantity: float, told: dict[str, Any]) -> bool:
        """Sell ``fraction`` of what is held, which is ``quantity`` base units; returns whether the draft has it: not
        while another sale of the symbol is open.
        """
        if self._is_open(symbol, SELL, leg):
            return False
        self.intents.append(close(symbol, fraction, leg=leg, reason=told["reason"]))
        self.cash += quantity * told["price"]
        self._add(symbol, leg, quantity, {"action": "sell", **told})
        return True

    def _is_open(self, symbol: str, side: int, leg: str) -> bool:
        if (symbol, side) not in self._open_sides:
            return False
        self.reasons.append(f"{symbol} {leg}: an earlier order of that side is still open")
        return True

    def _add(self, symbol: str, leg: str, quantity: float, told: dict[str, Any]) -> None:
        key = attempt_key(symbol, leg)
        self.told[key] = {"symbol": symbol, "quantity": quantity, **told}
        self.attempts[key] = new_attempt(self._situation.today, self._situation.position_of(symbol))
