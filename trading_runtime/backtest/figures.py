"""Numbers and times as people read them: signs, separators, units, and no exponent.

Every function returns plain text that holds no markup character. Rounding here is for the eye; files keep the
digits.
"""

from __future__ import annotations

import json
from typing import Any, TypeGuard

from trading_runtime.core.timeframes import iso_time

MINUS = "−"  # as wide as a plus, so that columns of figures stay in line


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value from JSON is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def signed(text: str, value: float, always: bool = False) -> str:
    """Return the text of a size with the sign of its value; what reads as zero has none."""
    if not any(digit in "123456789" for digit in text):
        return text
    return f"{MINUS}{text}" if value < 0 else f"+{text}" if always else text


def percent(value: float, *, sign: bool = False, decimals: int = 2, unit: bool = True) -> str:
    """Return a fraction as percent: 0.1234 is 12.34%; thousands of percent need no decimals."""
    size = abs(value) * 100.0
    text = f"{size:,.{decimals if size < 1000 else 0}f}"
    return signed(text, value, sign) + ("%" if unit else "")


def count(value: float) -> str:
    """Return a whole number with separators."""
    return signed(f"{abs(value):,.0f}", value)


def decimal(value: float, decimals: int, *, sign: bool = False) -> str:
    """Return a number with a fixed number of decimals."""
    return signed(f"{abs(value):,.{decimals}f}", value, sign)


def decimals_for(value: float, digits: int = 6) -> int:
    """Return how many decimals show ``digits`` significant digits of a value of this size."""
    if value == 0.0:
        return 0
    return min(max(digits - 1 - int(f"{abs(value):e}".partition("e")[2]), 0), 12)


def significant(value: float, digits: int = 6) -> str:
    """Return a number with at most ``digits`` significant digits, trailing zeros dropped: quantities and
    prices.
    """
    if value == 0.0:
        return "0"
    shown = float(f"{abs(value):.{digits}g}")
    text = f"{shown:,.12f}".rstrip("0").rstrip(".") if shown < 1e15 else f"{shown:.3g}"
    return signed(text, value)


def measured(value: float, unit: str) -> tuple[str, str]:
    """Return a number, with a decimal unless that is zero, and its unit: 1 and day, 31.2 and days."""
    text = decimal(value, 1).removesuffix(".0")
    return text, unit.removesuffix("s") if text == "1" else unit


def duration(days: float) -> tuple[str, str]:
    """Return a span of time as a number and the unit that fits its size: 44.3 and min, 0 and days."""
    if 0.0 < abs(days) < 2 / 24:
        return measured(days * 1440, "min")
    if 0.0 < abs(days) < 2:
        return measured(days * 24, "hours")
    return measured(days, "days")


def moment(value: Any) -> str:
    """Return a time, given as ISO text or milliseconds: midnight needs no hour and UTC no letter."""
    text = iso_time(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text.removesuffix("T00:00:00Z").replace("T", " ").removesuffix(":00Z").removesuffix("Z")


def plain(value: Any) -> str:
    """Return any JSON value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    return str(value)


def tone(value: float) -> str:
    """Return the style of a value: gain, loss or even."""
    return "gain" if value > 0 else "loss" if value < 0 else "even"
