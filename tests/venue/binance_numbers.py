"""How Binance writes numbers, symbols and candles in its JSON answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trading_runtime.core.bars import Bars
from trading_runtime.core.instruments import decimal_text

from .orders import ZERO

Json = dict[str, Any]
WORDS = {1: "BUY", -1: "SELL"}


def eight(value: Decimal | None) -> str:
    """Spot writes every amount with eight decimals."""
    return f"{value or ZERO:.8f}"


def on_grid(value: Decimal | None, step: Decimal) -> str:
    """USD-M writes prices and quantities with the decimals of their step."""
    return format((value or ZERO).quantize(step), "f")


def market_id(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "")


def klines(bars: Bars, first: int, last: int, seen_ms: int) -> list[list[Any]]:
    """Rows ``first`` to ``last`` (exclusive); the one that is not closed at ``seen_ms`` shows only its open."""
    rows: list[list[Any]] = []
    for row in range(first, last):
        opened = int(bars.open_time[row])
        is_closed = opened + bars.bar_ms <= seen_ms
        prices = [float(getattr(bars, name)[row]) for name in ("open", "high", "low", "close")]
        if not is_closed:
            prices = [prices[0]] * 4
        volume = float(bars.volume[row]) if is_closed else float(bars.volume[row]) / 2.0
        rows.append(
            [
                opened,
                *(decimal_text(Decimal(repr(price))) for price in prices),
                decimal_text(Decimal(repr(volume))),
                opened + bars.bar_ms - 1,
                decimal_text(Decimal(repr(volume * prices[3]))),
                100,
                "0",
                "0",
                "0",
            ]
        )
    return rows
