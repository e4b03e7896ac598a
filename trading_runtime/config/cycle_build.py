"""From the settings of a cycle to what it works with: strategy, instruments, account, execution, files, funding.

The parts that a backtest has too are those of ``build.py``. A real exchange's own filters and fees always win; settings
fill in what it does not say. Nothing here opens a store, an exchange or a connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trading_runtime.config import strategies
from trading_runtime.config.build import account_terms, build_execution, build_instrument, load_file, load_funding
from trading_runtime.config.cycle_schema import BAR_AGE_GRACE_SECONDS, SIMULATED, CycleSettings
from trading_runtime.config.schema import DataSettings, Settings
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.gates import Caps
from trading_runtime.core.instruments import Instrument, Rules, decimal_text
from trading_runtime.core.money import AMOUNT_MAX
from trading_runtime.core.strategy import Permissions, Strategy
from trading_runtime.core.timeframes import iso_time, parse_time, timeframe_ms

if TYPE_CHECKING:
    from trading_runtime.backtest.market import FundingRate
    from trading_runtime.core.bars import Bars

__all__ = [
    "AccountTerms",
    "FeedFile",
    "bar_age_ms_max",
    "build_account",
    "build_execution",
    "build_feed_bars",
    "build_feed_files",
    "build_funding",
    "build_instruments",
    "feed_exchange",
    "feed_start_ms",
    "filled_in",
    "load_strategy",
]


class AccountTerms(NamedTuple):
    """What an account is called, starts with (in quote units) and may do."""

    name: str
    start_cash: int
    caps: Caps
    permissions: Permissions


class FeedFile(NamedTuple):
    """A file to play back: where it lies, what settings say about it, and the key that names it in errors."""

    path: Path
    settings: DataSettings
    key: str


def load_strategy(settings: CycleSettings, folder: Path) -> Strategy:
    """Return the strategy with its parameters, as for a backtest, of whose settings only the strategy is looked at."""
    return strategies.load_strategy(Settings(strategy=settings.strategy, data=[]), folder)


def build_account(settings: CycleSettings, instruments: Mapping[str, Instrument]) -> AccountTerms:
    """Return the account in the units of the market's money; ``instruments`` holds the traded symbols."""
    cash, caps, permissions = account_terms(settings.account, instruments[settings.market.symbols[0]])
    return AccountTerms(settings.account.name, cash, caps, permissions)


def build_instruments(settings: CycleSettings) -> dict[str, Instrument]:
    """Return the instruments of the simulated exchange by symbol, as settings describe them."""
    return {symbol: build_instrument(settings, symbol) for symbol in settings.market.symbols}


def filled_in(settings: CycleSettings, instrument: Instrument, time_ms: int) -> Instrument:
    """Return an exchange's instrument with what it leaves open (no minimum, no maximum, no fee) as settings say it at
    ``time_ms``. Units, tick and lot are the exchange's: an order on any other grid would be rejected.
    """
    own = build_instrument(settings, instrument.symbol)
    wanted = own.rules_at(time_ms)
    quantity = own.quantity_unit / instrument.quantity_unit
    money = own.quote_unit / instrument.quote_unit

    def units(name: str, ratio: Decimal) -> int:
        amount = getattr(wanted, name)
        converted = amount * ratio
        if amount == AMOUNT_MAX:
            return AMOUNT_MAX  # no limit
        if converted != converted.to_integral_value() or converted > AMOUNT_MAX:
            unit = own.quantity_unit if ratio is quantity else own.quote_unit
            raise ConfigurationError(
                f"instruments.{instrument.symbol}.{name} {decimal_text(amount * unit)} cannot be counted in the "
                "exchange's units; round it"
            )
        return int(converted)

    def filled(rules: Rules) -> Rules:
        return replace(
            rules,
            quantity_minimum=rules.quantity_minimum or units("quantity_minimum", quantity),
            quantity_maximum=(
                units("quantity_maximum", quantity) if rules.quantity_maximum == AMOUNT_MAX else rules.quantity_maximum
            ),
            notional_minimum=rules.notional_minimum or units("notional_minimum", money),
            maker_fee_rate=rules.maker_fee_rate or wanted.maker_fee_rate,
            taker_fee_rate=rules.taker_fee_rate or wanted.taker_fee_rate,
        )

    return replace(instrument, rules=tuple(filled(rules) for rules in instrument.rules))


def build_funding(
    settings: CycleSettings, folder: Path, instruments: Mapping[str, Instrument], first_ms: int, last_ms: int
) -> dict[str, Sequence[FundingRate]]:
    """Return what perpetuals pay at the simulated exchange from ``first_ms`` to ``last_ms``, both included."""
    found: dict[str, Sequence[FundingRate]] = {}
    for symbol, wanted in settings.funding.items():
        rates, _ = load_funding(instruments[symbol], wanted, folder, first_ms, last_ms)
        found[symbol] = [rate for rate in rates if first_ms <= rate.time_ms <= last_ms]
    return found


def build_feed_files(settings: CycleSettings, folder: Path) -> list[FeedFile]:
    """Return the files that are played back; empty when bars come from an exchange. Nothing is read."""
    return [
        FeedFile(folder / wanted.path, wanted, f"feed.files.{index}")
        for index, wanted in enumerate(settings.feed.files)
    ]


def build_feed_bars(settings: CycleSettings, folder: Path) -> tuple[dict[str, Bars], list[dict[str, Any]]]:
    """Return the bars of all files by symbol, with the files' manifests.

    Raises ConfigurationError when a traded symbol has no file or a file's bars do not make up the market's timeframe,
    DataError for a file that is missing, unreadable or not good enough.
    """
    bars: dict[str, Bars] = {}
    manifests: list[dict[str, Any]] = []
    market = settings.market
    for index, wanted in enumerate(settings.feed.files):
        key = f"feed.files.{index}"
        loaded, manifest = load_file(wanted, settings.quality, folder, key)
        if loaded.symbol in bars:
            raise ConfigurationError(f"{key}: {loaded.symbol} is given twice; keep one file per symbol")
        if timeframe_ms(market.timeframe) % loaded.bar_ms:
            raise ConfigurationError(
                f"{key}: bars of {loaded.timeframe} do not make up market.timeframe {market.timeframe}"
            )
        bars[loaded.symbol] = loaded
        manifests.append(manifest)
    for symbol in market.symbols:
        if symbol not in bars:
            raise ConfigurationError(
                f"market.symbols: no file in feed.files holds {symbol} (they hold {', '.join(bars)})"
            )
    start = feed_start_ms(settings)
    newest = min(int(bars[symbol].open_time[-1]) + bars[symbol].bar_ms for symbol in market.symbols)
    if start is not None and start > newest:
        raise ConfigurationError(f"feed.start {settings.feed.start}: the files end at {iso_time(newest)}")
    # A publication may name any of the symbols that there are files of.
    symbols = list(bars) if settings.artifact is not None else market.symbols
    return {symbol: bars[symbol] for symbol in symbols}, manifests


def feed_start_ms(settings: CycleSettings) -> int | None:
    """Return the time at or after which the first bar played back closes; None is the first bar there is."""
    return None if settings.feed.start is None else parse_time(settings.feed.start)


def feed_exchange(settings: CycleSettings) -> str | None:
    """Return ccxt's id of the exchange that bars come from; None when files are played back."""
    if settings.feed.files:
        return None
    if settings.feed.exchange is not None:
        return settings.feed.exchange
    # That `simulated` has a feed of its own is checked when settings are loaded.
    return None if settings.market.exchange == SIMULATED else settings.market.exchange


def bar_age_ms_max(settings: CycleSettings) -> int:
    """Return how long ago the newest bar may have closed, in milliseconds, before it counts as stale.

    Without a setting: one bar, since until then no newer one can have closed, and the time to publish the next.
    """
    seconds = settings.risk.bar_age_seconds_max
    if seconds is not None:
        return seconds * 1000
    return timeframe_ms(settings.market.timeframe) + BAR_AGE_GRACE_SECONDS * 1000
