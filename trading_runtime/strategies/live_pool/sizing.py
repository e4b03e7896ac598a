"""From money to lots, in exact decimals: what a float computes a hair below 3 lots is 3 lots, never 2.

Placing and normalising to a market's filters is the runtime's work; a strategy floors only to know beforehand what its
budgets come to. No rule of when to trade is here.
"""

from __future__ import annotations

from fractions import Fraction


def decimal_value(value: float) -> Fraction:
    """Return the decimal that a float stands for: its first fifteen digits, all that arithmetic leaves reliable.

    0.1 + 0.7 is 0.7999999999999999 as a float and 0.8 here.
    """
    return Fraction(format(value, ".15g"))


def lots_for_budget(budget: float, fraction: float, price: float, lot: float) -> int:
    """Return how many lots (``lot`` base units each) ``fraction`` of ``budget`` quote money buys at ``price``, rounded
    down; 0 where nothing can be bought.
    """
    if not (budget > 0.0 and fraction > 0.0 and price > 0.0 and lot > 0.0):
        return 0
    return (decimal_value(budget) * decimal_value(fraction)) // (decimal_value(price) * decimal_value(lot))


def lots_of_share(quantity: float, share: float, lot: float) -> int:
    """Return how many whole lots ``share`` of ``quantity`` base units has, rounded down."""
    if not (quantity > 0.0 and share > 0.0 and lot > 0.0):
        return 0
    return (decimal_value(quantity) * decimal_value(share)) // decimal_value(lot)


def quantity_of_lots(lots: int, lot: float) -> float:
    """Return ``lots`` lots in base units: the float nearest to the exact decimal."""
    return float(lots * decimal_value(lot))
