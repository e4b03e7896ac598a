"""ccxt's structures read exactly: numbers there are decimal strings (see ``connection.py``), missing ones are None."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any


class OddAnswer(Exception):
    """A structure lacks what it must have, or holds what cannot be: the answer makes no sense."""


def decimal_of(value: object) -> Decimal | None:
    """Return a number as an exact decimal, None for a missing one; raises OddAnswer for what is no finite number."""
    if value is None or value == "":
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise OddAnswer(f"not a number: {str(value)[:40]!r}") from None
    if not number.is_finite():
        raise OddAnswer(f"not a finite number: {str(value)[:40]!r}")
    return number


def required(structure: Mapping[str, Any], name: str) -> Decimal:
    """Return a number that must be there; raises OddAnswer when it is not."""
    number = decimal_of(structure.get(name))
    if number is None:
        raise OddAnswer(f"{name} is missing")
    return number


def milliseconds_of(structure: Mapping[str, Any]) -> int:
    """Return the timestamp; raises OddAnswer when there is none."""
    return int(required(structure, "timestamp"))


def require_id(structure: Mapping[str, Any]) -> str:
    """Return the exchange's id of an order or a trade; raises OddAnswer when there is none."""
    told = structure.get("id")
    if told is None or told == "":
        raise OddAnswer("an order or a trade without an id")
    return str(told)


def side_of(structure: Mapping[str, Any]) -> int:
    """Return +1 for a buy, -1 for a sell; raises OddAnswer for anything else."""
    side = structure.get("side")
    if side not in ("buy", "sell"):
        raise OddAnswer(f"side is {str(side)[:20]!r}")
    return 1 if side == "buy" else -1


def signed_quantity(position: Mapping[str, Any]) -> Decimal:
    """Return a position's quantity, negative for a short; raises OddAnswer when its side is not told."""
    quantity = abs(required(position, "contracts"))
    side = position.get("side")
    if quantity and side not in ("long", "short"):
        raise OddAnswer(f"the side of a position is {str(side)[:20]!r}")
    return -quantity if side == "short" else quantity
