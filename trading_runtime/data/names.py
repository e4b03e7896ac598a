"""File names of candle files: which symbol and timeframe they say, and the names this project gives its own
files.

Only names are read here, never contents. A guess may be None; whoever asks then needs to be told by a person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from trading_runtime.core.errors import DataError
from trading_runtime.core.timeframes import TIMEFRAME_MS

# Currencies that prices are quoted in, by what Binance, Coinbase, Kraken and Bitstamp list; stable and state
# money first.
_MONEY = (
    *(
        "USDT",
        "USDC",
        "FDUSD",
        "BUSD",
        "TUSD",
        "USDP",
        "USDE",
        "USD1",
        "DAI",
        "PAX",
        "UST",
        "USD",
        "EURI",
        "EUR",
        "GBP",
        "JPY",
        "TRY",
    ),
    *(
        "BRL",
        "AUD",
        "CAD",
        "CHF",
        "KRW",
        "PLN",
        "RUB",
        "UAH",
        "NGN",
        "ZAR",
        "MXN",
        "ARS",
        "COP",
        "CZK",
        "RON",
        "IDR",
        "INR",
    ),
)
_COINS = ("BTC", "XBT", "ETH", "BNB", "SOL", "XRP", "TRX", "DOGE", "DOT")
QUOTES = (*_MONEY, *_COINS)

_SUFFIXES = {".zip", ".gz", ".csv", ".txt", ".json", ".feather", ".parquet", ".arrow", ".pq"}
# How Binance's archive and freqtrade write a month; no fixed length, so no bar of it can be checked.
_MONTHS = {"1mo", "1M"}
# BTCUSDT_240628 (a contract that ends) and BTCUSD_PERP (settled in the coin) are not the pair they begin with.
_DATED_CONTRACT = re.compile(r"_(\d{6}|PERP)(?=[-_.]|$)")


@dataclass(frozen=True)
class NameGuess:
    """What a file name says; ``futures`` when its folders or suffix say so; None where it says nothing."""

    symbol: str | None
    timeframe: str | None
    futures: bool = False


def stem_of(name: str) -> str:
    """Return a file name without the suffixes of candle files and compression."""
    stem = name
    while (suffix := Path(stem).suffix.lower()) in _SUFFIXES:
        stem = stem[: -len(suffix)]
    return stem


def guess_from_name(path: Path, *, timeframe_given: bool = False) -> NameGuess:
    """Return what the path says: BTCUSDT-1h-2024-01.zip, BTC_USDT-1h.feather, BTC-USDT_USDT-1h.parquet,
    Bitstamp_BTCUSD_1h.csv.

    Raises DataError for months, unless the timeframe is known anyway: ``1mo`` of the Binance archive has no
    fixed length.
    """
    tokens = [token for token in re.split(r"[-_ .]+", stem_of(path.name)) if token]
    months = _MONTHS.intersection(tokens)
    if months and not timeframe_given:
        raise DataError(
            f"{path}: bars of {months.pop()} have no fixed length and are not supported; import 1d bars instead"
        )
    if _DATED_CONTRACT.search(stem_of(path.name)):
        return NameGuess(None, next((token for token in tokens if token in TIMEFRAME_MS), None))
    timeframe = next((token for token in tokens if token in TIMEFRAME_MS), None)
    folders = {part.lower() for part in path.parts[:-1]}
    futures = "futures" in tokens or bool(folders & {"um", "futures"})
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        pair = _pair(token, following)
        if pair is not None:
            quote = pair[1]
            settled = position + 2 < len(tokens) and tokens[position + 2].upper() == quote
            return NameGuess(_symbol(pair, perpetual=settled or futures), timeframe, futures)
    for token in tokens:
        pair = split_joined(token)
        if pair is not None:
            return NameGuess(_symbol(pair, perpetual=futures), timeframe, futures)
    return NameGuess(None, timeframe, futures)


def split_joined(token: str) -> tuple[str, str] | None:
    """Return (base, quote) of a joined pair such as BTCUSDT, or None; lower case is believed only with money
    as quote.
    """
    known = QUOTES if token == token.upper() else _MONEY
    upper = token.upper()
    # The longest quote that fits: BTCUSDT ends in USDT, not in a currency called T.
    for quote in sorted(known, key=len, reverse=True):
        base = upper.removesuffix(quote)
        if base != upper and 2 <= len(base) <= 12 and base.isalnum() and not base.isdigit():
            return base, quote
    return None


def symbol_of_text(text: str) -> str | None:
    """Return the unified symbol of ``BTC/USDT``, ``BTC-USDT``, ``BTC_USDT`` or ``BTCUSDT``; None when it is
    none of these.
    """
    match = re.fullmatch(r"([A-Za-z0-9]+)[/_-]([A-Za-z0-9]+)(:[A-Za-z0-9]+)?", text.strip())
    if match:
        base, quote, settle = match.groups(default="")
        return f"{base}/{quote}{settle}".upper()
    pair = split_joined(text.strip())
    return None if pair is None else _symbol(pair, perpetual=False)


def file_stem(symbol: str, timeframe: str) -> str:
    """Return the name a symbol is stored under: BTC-USDT-1h, and BTC-USDT_USDT-1h for a perpetual."""
    return f"{symbol.replace('/', '-').replace(':', '_')}-{timeframe}"


def _pair(base: str, quote: str) -> tuple[str, str] | None:
    known = QUOTES if base == base.upper() and quote == quote.upper() else _MONEY
    if (
        quote.upper() in known
        and base.isalnum()
        and not base.isdigit()
        and len(base) <= 12
        and base not in TIMEFRAME_MS
    ):
        return base.upper(), quote.upper()
    return None


def _symbol(pair: tuple[str, str], *, perpetual: bool) -> str:
    base, quote = pair
    return f"{base}/{quote}:{quote}" if perpetual else f"{base}/{quote}"
