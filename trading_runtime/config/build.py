"""From settings to the objects of a run: strategy, instruments, bars, funding, market, account.

Everything that two settings only say together is checked here, with the key to correct. Reading and judging
candles is ``data/files.py``'s work, running is ``backtest/run.py``'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from trading_runtime.backtest.engine import Account
from trading_runtime.backtest.market import FundingRate, Market
from trading_runtime.config.funding_files import read_funding_file
from trading_runtime.config.schema import DataSettings, Settings, SymbolSettings
from trading_runtime.config.strategies import load_strategy
from trading_runtime.core.bars import Bars, resample
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError, nearest_name
from trading_runtime.core.fills import Execution
from trading_runtime.core.gates import Caps
from trading_runtime.core.instruments import Instrument, Rules, make_rules, split_symbol
from trading_runtime.core.money import AMOUNT_MAX
from trading_runtime.core.strategy import Permissions
from trading_runtime.core.timeframes import HOUR_MS, iso_time, parse_time

__all__ = [
    "build_account",
    "build_execution",
    "build_instrument",
    "build_market",
    "constant_funding",
    "load_strategy",
]

_UNITS = ("quantity_unit", "quote_unit")
_RULES = (
    "tick",
    "lot",
    "quantity_minimum",
    "quantity_maximum",
    "notional_minimum",
    "maker_fee_rate",
    "taker_fee_rate",
)


def build_market(settings: Settings, folder: Path) -> tuple[Market, list[dict[str, Any]]]:
    """Return the market of a run, and the manifests of everything that was read for it: candles first, then
    funding files.
    """
    bars, manifests = _load_all_bars(settings, folder)
    _refuse_strangers("instruments", settings.instruments, bars)
    _refuse_strangers("funding", settings.funding, bars)
    instruments = {symbol: build_instrument(settings, symbol) for symbol in bars}
    execution = build_execution(settings)
    funding: dict[str, Sequence[FundingRate]] = {}
    for symbol, wanted in settings.funding.items():
        if (wanted.rate is None) == (wanted.path is None):
            raise ConfigurationError(f"funding.{symbol}: give either rate or path, exactly one of them")
        if instruments[symbol].kind != "perpetual":
            raise ConfigurationError(f"funding.{symbol}: spot pays no funding; remove the section")
        if wanted.path is not None:
            funding[symbol], manifest = read_funding_file(folder / wanted.path, symbol)
            manifests.append(manifest)
            _refuse_funding_elsewhere(funding[symbol], bars[symbol], wanted.path)
        else:
            assert wanted.rate is not None
            funding[symbol] = constant_funding(bars[symbol], wanted.rate, wanted.interval_hours)
    return Market(bars, instruments, execution, funding), manifests


def build_account(settings: Settings, market: Market) -> Account:
    """Return the account in the units of the market's money. Its name is fixed: a run's name must not reach
    its order ids.
    """
    wanted = settings.account
    instrument = market.instruments[market.symbols[0]]

    def units(name: str, money: float | str | None) -> int | None:
        if money is None:
            return None
        amount = instrument.money_units(money)
        if amount > AMOUNT_MAX // 2:
            raise ConfigurationError(
                f"account.{name} {money} is more than amounts can hold in units of {instrument.quote_unit}: "
                "choose a larger quote_unit"
            )
        return amount

    cash = units("cash", wanted.cash)
    assert cash is not None
    if cash < 1:
        raise ConfigurationError(
            f"account.cash {wanted.cash} is less than one unit of {instrument.quote_unit} {instrument.quote}"
        )
    caps = Caps(
        order_notional_max=units("order_notional_max", wanted.order_notional_max),
        symbol_notional_max=units("symbol_notional_max", wanted.symbol_notional_max),
        leverage_max=wanted.leverage_max,
    )
    return Account(start_cash=cash, caps=caps, permissions=Permissions(short=wanted.short))


def build_execution(settings: Settings) -> Execution:
    """Return how the simulated exchange executes."""
    return Execution(**msgspec.structs.asdict(settings.execution))


def build_instrument(settings: Settings, symbol: str) -> Instrument:
    """Return the instrument of ``symbol``: its own settings over those of ``instrument``, dated rules over
    both.
    """
    base, quote, kind = split_symbol(symbol)
    own = settings.instruments.get(symbol, SymbolSettings())
    values = {**msgspec.structs.asdict(settings.instrument), **_given(own)}
    where = f"instruments.{symbol}" if symbol in settings.instruments else "instrument"
    units: dict[str, Decimal] = {}
    for name in _UNITS:
        units[name] = Decimal(values[name])
        if units[name] <= 0:
            raise ConfigurationError(f"{where}.{name} must be positive, not {values[name]}")
    rules: list[Rules] = []
    dated: list[tuple[int, str, dict[str, Any]]] = [(0, "", {})]
    dated += [
        (parse_time(version.valid_from), f".rules.{index}", _given(version)) for index, version in enumerate(own.rules)
    ]
    for valid_from, suffix, changed in dated:
        if rules and valid_from <= rules[-1].valid_from:
            raise ConfigurationError(f"{where}{suffix}.valid_from must be later than the rules before it")
        chosen: dict[str, Any] = {name: changed.get(name, values[name]) for name in _RULES}
        rules.append(
            make_rules(
                **chosen,
                quantity_unit=units["quantity_unit"],
                quote_unit=units["quote_unit"],
                valid_from=valid_from,
                where=f"{where}{suffix}",
            )
        )
    return Instrument(symbol, kind, base, quote, units["quantity_unit"], units["quote_unit"], tuple(rules))


def constant_funding(bars: Bars, rate: float, interval_hours: int) -> list[FundingRate]:
    """Return ``rate`` at every whole interval since midnight UTC that lies within the bars' closes.

    An interval that does not divide the day starts again at each midnight, as exchanges do.
    """
    first, last = int(bars.open_time[0]) + bars.bar_ms, int(bars.open_time[-1]) + bars.bar_ms
    day_ms, step = 24 * HOUR_MS, interval_hours * HOUR_MS
    times = (
        time_ms
        for midnight in range(first // day_ms * day_ms, last + 1, day_ms)
        for time_ms in range(midnight, midnight + day_ms, step)
    )
    return [FundingRate(time_ms, rate) for time_ms in times if first <= time_ms <= last]


def _load_all_bars(settings: Settings, folder: Path) -> tuple[dict[str, Bars], list[dict[str, Any]]]:
    bars: dict[str, Bars] = {}
    manifests: list[dict[str, Any]] = []
    period = settings.period
    start = None if period.start is None else parse_time(period.start)
    end = None if period.end is None else parse_time(period.end)
    for index, wanted in enumerate(settings.data):
        loaded, manifest = _load_bars(settings, wanted, index, folder / wanted.path)
        if loaded.symbol in bars:
            raise ConfigurationError(f"data.{index}: {loaded.symbol} is given twice; keep one file per symbol")
        try:
            bars[loaded.symbol] = loaded.between(start, end)
        except BarsError as error:
            raise ConfigurationError(f"period: {error}") from None
        manifests.append(manifest)
    return bars, manifests


def _load_bars(settings: Settings, wanted: DataSettings, index: int, path: Path) -> tuple[Bars, dict[str, Any]]:
    # Imported here: reading candles loads pyarrow, which a configuration that is wrong never needs.
    from trading_runtime.data.files import load_bars

    quality = settings.quality
    try:
        loaded = load_bars(
            path,
            symbol=wanted.symbol,
            timeframe=wanted.timeframe,
            gaps=quality.gaps,
            quality_minimum=quality.minimum,
            drop_errors=quality.drop_errors,
            columns=wanted.columns or None,
            time_unit=wanted.time_unit,
        )
    except DataError as error:
        raise type(error)(_in_words_of_settings(str(error), index)) from error
    bars, manifest = loaded.bars, dict(loaded.manifest)
    if wanted.resample is not None and wanted.resample != bars.timeframe:
        bars = resample(bars, wanted.resample)
        manifest["resampled_to"] = wanted.resample
    if manifest.get("exception_allowed"):
        manifest["exception"] = f"grade {manifest['grade']} (quality.minimum {quality.minimum}, gaps {quality.gaps})"
    return bars, manifest


def _in_words_of_settings(message: str, index: int) -> str:
    """Return an error about candles with the settings to change instead of the options of ``trading-runtime
    data``.
    """
    for option, setting in (
        (r"--gaps fill", "quality.gaps=fill"),
        (r"--drop-errors", "quality.drop_errors=true"),
        (r"--quality ([A-D])", r"quality.minimum=\1"),
        (r"--symbol (\S+)", rf"data.{index}.symbol=\1"),
        (r"--timeframe (\S+)", rf"data.{index}.timeframe=\1"),
        (r"--column (\w+)=", rf"data.{index}.columns.\1="),
        (r"--time-unit", f"data.{index}.time_unit"),
    ):
        message = re.sub(option, setting, message)
    return message


def _refuse_strangers(section: str, named: Mapping[str, object], bars: Mapping[str, Bars]) -> None:
    for symbol in named:
        if symbol not in bars:
            near = nearest_name(symbol, list(bars))
            hint = f"; did you mean {near!r}?" if near else ""
            raise ConfigurationError(f"{section}.{symbol}: no data of this symbol{hint} (data holds {', '.join(bars)})")


def _refuse_funding_elsewhere(rates: Sequence[FundingRate], bars: Bars, path: str) -> None:
    first, last = int(bars.open_time[0]), int(bars.open_time[-1]) + bars.bar_ms
    if not any(first < rate.time_ms <= last for rate in rates):
        covered = f"{iso_time(rates[0].time_ms)} to {iso_time(rates[-1].time_ms)}"
        raise ConfigurationError(
            f"funding.{bars.symbol}.path {path}: its rates ({covered}) lie outside the bars "
            f"({iso_time(first)} to {iso_time(last)})"
        )


def _given(section: msgspec.Struct) -> dict[str, Any]:
    values = msgspec.structs.asdict(section)
    return {name: value for name, value in values.items() if value is not msgspec.UNSET and name in (*_RULES, *_UNITS)}
