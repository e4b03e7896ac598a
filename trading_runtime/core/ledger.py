"""The ledger: positions at average cost, FIFO lots, and the identity that every run is held to.

    equity = start + flows + realised + unrealised - fees - funding

All amounts are integers (quantity units, quote units), so the identity holds exactly, not within a tolerance.
"""

from __future__ import annotations

from collections import deque


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded half to even, exactly, for a positive denominator."""
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    return quotient + (1 if twice > denominator or (twice == denominator and quotient % 2) else 0)


class Position:
    """One symbol's holding: signed quantity, signed cost (what it cost to build, average-cost method) and what it has
    earned and paid.
    """

    __slots__ = ("cost", "fees", "funding", "quantity", "realised", "symbol")

    def __init__(
        self, symbol: str, quantity: int = 0, cost: int = 0, realised: int = 0, fees: int = 0, funding: int = 0
    ) -> None:
        self.symbol = symbol
        self.quantity = quantity
        self.cost = cost
        self.realised = realised
        self.fees = fees
        self.funding = funding

    def filled(self, side: int, quantity: int, value: int, fee: int) -> Position:
        """Return the position after a fill of ``quantity`` > 0 units worth ``value`` on ``side`` (+1 buy, -1 sell).

        A fill beyond zero closes the position and opens the opposite one; its value is split so that the parts add up.
        """
        held = self.quantity
        cost, realised = self.cost, self.realised
        if held * side >= 0:
            cost += side * value
        else:
            closing = min(quantity, abs(held))
            closed_value = value if closing == quantity else divide_half_even(value * closing, quantity)
            closed_cost = cost if closing == abs(held) else divide_half_even(cost * closing, abs(held))
            realised += -side * closed_value - closed_cost
            cost += side * (value - closed_value) - closed_cost
        return Position(self.symbol, held + side * quantity, cost, realised, self.fees + fee, self.funding)

    def funded(self, amount: int) -> Position:
        """Return the position after paying ``amount`` (negative: receiving it) at a funding time."""
        return Position(self.symbol, self.quantity, self.cost, self.realised, self.fees, self.funding + amount)

    def profit(self, value: int) -> int:
        """Return what it has earned since it was first opened, in quote units, fees and funding paid. ``value`` is what
        is held now is worth.
        """
        return self.realised + value - self.cost - self.fees - self.funding

    def to_json(self) -> dict[str, int | str]:
        return {name: getattr(self, name) for name in ("symbol", "quantity", "cost", "realised", "fees", "funding")}


class FifoLots:
    """Open lots of one symbol, oldest first, for realised profit by the first-in-first-out method.

    The method changes *when* profit is realised, never the sum of realised and unrealised.
    """

    __slots__ = ("_lots", "realised")

    def __init__(self) -> None:
        self._lots: deque[tuple[int, int, int]] = deque()  # side, quantity, value
        self.realised = 0

    def filled(self, side: int, quantity: int, value: int) -> int:
        """Book a fill; return the profit it realised, in quote units, before fees."""
        realised = 0
        while quantity and self._lots and self._lots[0][0] != side:
            lot_side, lot_quantity, lot_value = self._lots.popleft()
            closing = min(quantity, lot_quantity)
            part_in = lot_value if closing == lot_quantity else divide_half_even(lot_value * closing, lot_quantity)
            part_out = value if closing == quantity else divide_half_even(value * closing, quantity)
            realised += lot_side * (part_out - part_in)
            quantity -= closing
            value -= part_out
            if closing < lot_quantity:
                self._lots.appendleft((lot_side, lot_quantity - closing, lot_value - part_in))
        if quantity:
            self._lots.append((side, quantity, value))
        self.realised += realised
        return realised

    def cost(self) -> int:
        """Signed cost of what is still held."""
        return sum(side * value for side, _, value in self._lots)

    def quantity(self) -> int:
        """Signed quantity still held."""
        return sum(side * quantity for side, quantity, _ in self._lots)
