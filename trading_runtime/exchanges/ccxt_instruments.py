"""From ccxt's markets to instruments: filters and fees as they are now, in exact units."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.instruments import DEFAULT_UNIT, Instrument, decimal_text, make_rules, split_symbol
from trading_runtime.core.money import AMOUNT_MAX
from trading_runtime.exchanges.structures import decimal_of


def instrument_of(
    market: Mapping[str, Any],
    *,
    tick: Decimal | None,
    lot: Decimal | None,
    maker_fee_rate: float,
    taker_fee_rate: float,
    where: str,
) -> Instrument:
    """Return the instrument of a market; raises ConfigurationError for one that cannot be traded here or that does not
    tell its steps.

    The narrower of the limits of limit and market orders holds for both; a maximum beyond the range of amounts is none.
    """
    symbol = str(market["symbol"])
    base, quote, kind = split_symbol(symbol)
    if market.get("active") is False:
        raise ConfigurationError(f"{where}: {symbol} is not trading")
    size = decimal_of(market.get("contractSize"))
    if kind == "perpetual" and size != 1:
        raise ConfigurationError(
            f"{where}: one contract of {symbol} is {size} {base}; only contracts of 1 are supported"
        )
    if not tick or not lot:
        raise ConfigurationError(f"{where}: {symbol} does not tell its steps of price and quantity")
    limits = market.get("limits") or {}
    lowest = [_limit(limits, name, "min") for name in ("amount", "market")]
    highest = [_limit(limits, name, "max") for name in ("amount", "market")]
    minimum = max((one for one in lowest if one is not None), default=Decimal(0))
    maximum = min((one for one in highest if one), default=None)
    unit = min(Decimal(DEFAULT_UNIT), _last_digit(lot), _last_digit(minimum), _last_digit(maximum))
    quote_unit = Decimal(DEFAULT_UNIT)
    if maximum is not None and maximum / unit > AMOUNT_MAX:
        maximum = None
    rules = make_rules(
        quantity_unit=unit,
        quote_unit=quote_unit,
        tick=decimal_text(tick),
        lot=decimal_text(lot),
        quantity_minimum=decimal_text(minimum),
        quantity_maximum=None if maximum is None else decimal_text(maximum),
        notional_minimum=decimal_text(_limit(limits, "cost", "min") or Decimal(0)),
        maker_fee_rate=maker_fee_rate,
        taker_fee_rate=taker_fee_rate,
        where=f"{where} {symbol}",
    )
    return Instrument(symbol, kind, base, quote, unit, quote_unit, (rules,))


def _limit(limits: Mapping[str, Any], name: str, end: str) -> Decimal | None:
    return decimal_of((limits.get(name) or {}).get(end))


def _last_digit(value: Decimal | None) -> Decimal:
    """Return the unit of the last decimal that is not zero; 1 for whole numbers."""
    if not value:
        return Decimal(1)
    exponent = value.normalize().as_tuple().exponent
    return Decimal(1).scaleb(min(int(exponent), 0))
