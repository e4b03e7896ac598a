"""Compound growth, (1 + total) ** exponent - 1, to the same last digit on every machine.

Python's own power comes from the C library and differs in its last digits between platforms. ``by_definition`` is what
counts: decimal's ln and exp are correctly rounded everywhere. It is slow, so ``compound`` first computes whole numbers
in fixed point, with a bound on all that can be wrong with them, and goes by the definition only where that bound leaves
more than one float64 to choose from (Ziv, 1991). Tests hold both to each other.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal, DecimalException

# Enough that the last of 17 digits is right after a cancellation as strong as a return of 1e-9 over a minute.
_DECIMAL = Context(prec=40)

# Fixed point: whole numbers of 2**-112.
_BITS = 112
_ONE = 1 << _BITS
_LN_2 = 3599025928123676973540407451845619  # ln 2 in fixed point, rounded
# 1/3, 1/5, ... for the logarithm: 2 atanh(s) with |s| < 0.18, so that what is left out is below 2**-115.
_ODD_PARTS = tuple(_ONE // (2 * place + 1) for place in range(21, 0, -1))
# 1/11!, ..., 1/2! for the exponential of at most ln 2 / 2**7, which is then squared six times: what is left out is
# below 2**-112 in the end.
_FACTORIAL_PARTS = tuple(_ONE // math.factorial(place) for place in range(11, 1, -1))
_SQUARINGS = 6
_PART_MAX = _ONE * 7 // 5  # the logarithm is of a number from half of this to this
# Within these the errors of all steps come to less than 2**-92 of the power, the definition's own to less than
# 2**-119; the bound is sixteen times that.
_BOUND_BITS = 88
_EXPONENT_MAX = 1024.0
_POWER_BITS_MAX = 64


def compound(total: float, exponent: float) -> float | None:
    """Return (1 + total) ** exponent - 1; -1 after a loss of everything, None beyond that or beyond float64."""
    if not math.isfinite(total) or total < -1.0:
        return None
    if total == -1.0:
        return -1.0
    if total == 0.0:
        return 0.0  # the definition's ln(1) and exp(0) are exact
    quick = _in_fixed_point(total, exponent)
    return by_definition(total, exponent) if quick is None else quick


def by_definition(total: float, exponent: float) -> float | None:
    """Return what ``compound`` does for a total above -1, in the arithmetic that defines it."""
    try:
        growth = _DECIMAL.ln(_DECIMAL.add(Decimal(1), Decimal(total)))
        power = _DECIMAL.exp(_DECIMAL.multiply(growth, Decimal(exponent)))
        result = float(_DECIMAL.subtract(power, Decimal(1)))
    except DecimalException:
        return None
    return result if math.isfinite(result) else None


def _in_fixed_point(total: float, exponent: float) -> float | None:
    """Return the result when it is beyond doubt, else None."""
    if not abs(exponent) <= _EXPONENT_MAX:
        return None
    numerator, denominator = total.as_integer_ratio()
    growth = numerator + denominator  # (1 + total) * denominator, exactly; the denominator is a power of two
    size, bits = growth.bit_length() - denominator.bit_length(), growth.bit_length()
    if abs(size) > _POWER_BITS_MAX:
        return None
    # 1 + total = part * 2**size, with part from 0.7 to 1.4
    part = growth << (_BITS + 1 - bits) if bits <= _BITS + 1 else growth >> (bits - _BITS - 1)
    if part > _PART_MAX:
        part, size = part >> 1, size + 1
    offset = ((part - _ONE) << _BITS) // (part + _ONE)
    square = offset * offset >> _BITS
    series = 0
    for coefficient in _ODD_PARTS:
        series = (series + coefficient) * square >> _BITS
    logarithm = 2 * (offset + (offset * series >> _BITS)) + size * _LN_2

    numerator, denominator = exponent.as_integer_ratio()
    argument = logarithm * numerator // denominator
    size = (argument + (_LN_2 >> 1)) // _LN_2
    if abs(size) > _POWER_BITS_MAX:
        return None
    rest = (argument - size * _LN_2) >> _SQUARINGS
    series = 0
    for coefficient in _FACTORIAL_PARTS:
        series = (series + coefficient) * rest >> _BITS
    power = _ONE + rest + (rest * series >> _BITS)
    for _ in range(_SQUARINGS):
        power = power * power >> _BITS
    power = power << size if size >= 0 else power >> -size

    doubt = (power >> _BOUND_BITS) + 2
    least, most = (power - doubt - _ONE) / _ONE, (power + doubt - _ONE) / _ONE  # true division rounds correctly
    return least if least == most else None
