"""Instruments: what an exchange lets one trade of a symbol, at what cost, and from which date on.

An instrument fixes the integer units of its amounts for ever; its *rules* (tick, lot, limits, fees) may change and
carry the date they hold from, so that a backtest over years meets the filters of the day and not today's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, Literal

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.money import AMOUNT_MAX
from trading_runtime.core.timeframes import iso_time

Kind = Literal["spot", "perpetual"]

# Amounts must not depend on the decimal context of the process, which libraries change: ccxt sets ROUND_HALF_UP.
_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)

# The finest unit in common use: Binance, Bitfinex and Coinbase publish at most eight decimals for quantities and quote
# money.
DEFAULT_UNIT = "0.00000001"


@dataclass(frozen=True)
class Rules:
    """The filters and fees of an instrument from ``valid_from`` (milliseconds) on.

    Quantities are integers of the instrument's quantity unit, ``notional_minimum`` is an integer of its quote unit, a
    price is on the grid when it is a multiple of tick_numerator / tick_denominator, and fee rates are fractions of the
    traded value.
    """

    valid_from: int
    tick_numerator: int
    tick_denominator: int
    lot: int
    quantity_minimum: int
    quantity_maximum: int
    notional_minimum: int
    maker_fee_rate: float
    taker_fee_rate: float


@dataclass(frozen=True)
class Instrument:
    """One tradable symbol: ``BTC/USDT`` (spot) or ``BTC/USDT:USDT`` (perpetual), with its units and dated rules."""

    symbol: str
    kind: Kind
    base: str
    quote: str
    quantity_unit: Decimal
    quote_unit: Decimal
    rules: tuple[Rules, ...]
    # Quote units that one quantity unit is worth at a price of 1; a field because every amount needs it and decimals
    # divide slowly.
    value_per_unit: float = field(init=False)

    def __post_init__(self) -> None:
        dates = [rules.valid_from for rules in self.rules]
        if not dates or dates != sorted(set(dates)):
            raise ConfigurationError(
                f"{self.symbol}: rules must have rising, different dates and there must be at least one"
            )
        object.__setattr__(self, "value_per_unit", float(_CONTEXT.divide(self.quantity_unit, self.quote_unit)))

    def rules_at(self, time_ms: int) -> Rules:
        """Return the rules that hold at ``time_ms``; raises ConfigurationError for a time before the first ones."""
        index = bisect_right([rules.valid_from for rules in self.rules], time_ms) - 1
        if index < 0:
            first = iso_time(self.rules[0].valid_from)
            raise ConfigurationError(
                f"{self.symbol}: no rules hold at {iso_time(time_ms)}; the first are valid from {first}"
            )
        return self.rules[index]

    def quantity_units(self, quantity: float | str | Decimal) -> int:
        """Return a quantity in units, rounded down towards zero."""
        return int(_CONTEXT.divide(Decimal(str(quantity)), self.quantity_unit))

    def quantity_text(self, units: int) -> str:
        """Return the exact decimal string of a quantity, as an exchange expects it."""
        return decimal_text(_CONTEXT.multiply(Decimal(units), self.quantity_unit))

    def quantity_float(self, units: int) -> float:
        """Return a quantity as float64, for people and charts; decisions use the integer."""
        return float(_CONTEXT.multiply(Decimal(units), self.quantity_unit))

    def money_units(self, money: float | str | Decimal) -> int:
        """Return an amount of quote money in units, rounded half to even."""
        units = _CONTEXT.divide(Decimal(str(money)), self.quote_unit)
        return int(units.to_integral_value(ROUND_HALF_EVEN))

    def money_float(self, units: int) -> float:
        """Return an amount of quote money as float64, for people and charts."""
        return float(_CONTEXT.multiply(Decimal(units), self.quote_unit))

    def money_text(self, units: int) -> str:
        """Return the exact decimal string of an amount of quote money."""
        return decimal_text(_CONTEXT.multiply(Decimal(units), self.quote_unit))


def instrument_to_json(instrument: Instrument) -> dict[str, Any]:
    """Return plain data that ``instrument_from_json`` turns back into an equal instrument."""
    return {
        "symbol": instrument.symbol,
        "quantity_unit": str(instrument.quantity_unit),
        "quote_unit": str(instrument.quote_unit),
        "rules": [asdict(rules) for rules in instrument.rules],
    }


def instrument_from_json(content: Mapping[str, Any]) -> Instrument:
    """Return the instrument; raises ConfigurationError, KeyError or TypeError when it is not one."""
    base, quote, kind = split_symbol(content["symbol"])
    return Instrument(
        content["symbol"],
        kind,
        base,
        quote,
        Decimal(content["quantity_unit"]),
        Decimal(content["quote_unit"]),
        tuple(Rules(**rules) for rules in content["rules"]),
    )


def decimal_text(value: Decimal) -> str:
    """Return a plain decimal string without exponent or trailing zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def make_rules(
    *,
    quantity_unit: Decimal,
    quote_unit: Decimal,
    tick: str = "0.01",
    lot: str = DEFAULT_UNIT,
    quantity_minimum: str = "0",
    quantity_maximum: str | None = None,
    notional_minimum: str = "0",
    maker_fee_rate: float = 0.0,
    taker_fee_rate: float = 0.0,
    valid_from: int = 0,
    where: str = "instrument",
) -> Rules:
    """Return Rules from the decimal strings people and exchanges write; raises ConfigurationError naming the setting.

    A lot or quantity that is not a whole number of quantity units is refused: it could never be represented exactly.
    """
    tick_decimal = _decimal(tick, f"{where}.tick")
    if tick_decimal <= 0:
        raise ConfigurationError(f"{where}.tick must be positive, not {tick!r}")
    numerator, denominator = tick_decimal.as_integer_ratio()
    if max(numerator, denominator) > AMOUNT_MAX:
        raise ConfigurationError(f"{where}.tick {tick} is outside the range of amounts")
    lot_units = _units(lot, quantity_unit, f"{where}.lot")
    if lot_units <= 0:
        raise ConfigurationError(f"{where}.lot must be positive, not {lot!r}")
    maximum = (
        AMOUNT_MAX if quantity_maximum is None else _units(quantity_maximum, quantity_unit, f"{where}.quantity_maximum")
    )
    minimum = _units(quantity_minimum, quantity_unit, f"{where}.quantity_minimum")
    if minimum > maximum:
        raise ConfigurationError(
            f"{where}: quantity_minimum {quantity_minimum} exceeds quantity_maximum {quantity_maximum}"
        )
    for name, rate in (("maker_fee_rate", maker_fee_rate), ("taker_fee_rate", taker_fee_rate)):
        if not -0.01 <= rate < 1.0:
            raise ConfigurationError(f"{where}.{name} is a fraction of the value (0.001 is 0.1 %), not {rate!r}")
    return Rules(
        valid_from=valid_from,
        tick_numerator=numerator,
        tick_denominator=denominator,
        lot=lot_units,
        quantity_minimum=minimum,
        quantity_maximum=maximum,
        notional_minimum=_units(notional_minimum, quote_unit, f"{where}.notional_minimum"),
        maker_fee_rate=maker_fee_rate,
        taker_fee_rate=taker_fee_rate,
    )


def split_symbol(symbol: str) -> tuple[str, str, Kind]:
    """Return (base, quote, kind) of a ccxt unified symbol; ``BTC/USDT:USDT`` is a perpetual settled in its quote.

    Raises ConfigurationError for anything else, inverse contracts included.
    """
    pair, colon, settle = symbol.partition(":")
    base, slash, quote = pair.partition("/")
    if not (slash and base and quote) or "/" in quote or (colon and not settle):
        raise ConfigurationError(
            f"symbol {symbol!r} is not of the form BASE/QUOTE or BASE/QUOTE:SETTLE (BTC/USDT, BTC/USDT:USDT)"
        )
    if settle and settle != quote:
        raise ConfigurationError(f"symbol {symbol!r}: only contracts settled in their quote currency are supported")
    return base, quote, "perpetual" if settle else "spot"


def _decimal(text: str, where: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ConfigurationError(f"{where} must be a decimal number, not {text!r}") from None
    if not value.is_finite() or value < 0:
        raise ConfigurationError(f"{where} must be finite and not negative, not {text!r}")
    return value


def _units(text: str, unit: Decimal, where: str) -> int:
    units = _CONTEXT.divide(_decimal(text, where), unit)
    if units != units.to_integral_value():
        raise ConfigurationError(f"{where} {text} is not a whole multiple of the unit {unit}")
    if units > AMOUNT_MAX:
        raise ConfigurationError(f"{where} {text} is {units} units of {unit}: outside the range of amounts")
    return int(units)
