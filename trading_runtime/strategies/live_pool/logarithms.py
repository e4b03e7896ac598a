"""Natural logarithm and exponential that give the same bits on every machine.

A C library's log and exp are not correctly rounded, and which variant runs is up to the processor. These are worked out
in decimals, in software, to ten digits more than float64 holds. No other mathematics is here.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

# A context of our own: that of the process is changed by libraries.
_CONTEXT = Context(prec=27, rounding=ROUND_HALF_EVEN)


def logarithm(value: float) -> float:
    """Return ln(value) of a positive, finite value."""
    return float(Decimal(value).ln(_CONTEXT))


def exponential(value: float) -> float:
    """Return e**value of a finite value."""
    return float(Decimal(value).exp(_CONTEXT))
