"""From settings to the objects of a run: strategy, instruments, bars, funding, market, account.

Everything that two settings only say together is checked here, with the key to correct. Reading and judging
candles is ``data/files.py``'s work, running is ``backtest/run.py``'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from trading_runtime.config.schema import (
    AccountSettings,
    ArtifactHistorySettings,
    DataSettings,
    FundingSettings,
    QualitySettings,
    Settings,
    SymbolSettings,
)
from trading_runtime.config.strategies import load_strategy
from trading_runtime.core.bars import Bars, resample
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError, nearest_name
from trading_runtime.core.fills import Execution
from trading_runtime.core.gates import Caps
from trading_runtime.core.instruments import Instrument, Rules, make_rules, split_symbol
from trading_runtime.core.money import AMOUNT_MAX
from trading_runtime.core.strategy import Permissions, Strategy
from trading_runtime.core.timeframes import HOUR_MS, iso_time, parse_time

if TYPE_CHECKING:
    # The engine is imported where it is used: a live cycle builds instruments and caps without it.
    from trading_runtime.backtest.engine import Account
    from trading_runtime.backtest.market import FundingRate, Market, Publication
    from trading_runtime.config.cycle_schema import CycleSettings

__all__ = [
    "account_terms",
    "build_account",
    "build_execution",
    "build_instrument",
    "build_market",
    "constant_funding",
    "load_file",
    "load_funding",
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
    funding files, then the publications.
    """
    from trading_runtime.backtest.market import Market

    bars, manifests = _load_all_bars(settings, folder)
    _refuse_strangers("instruments", settings.instruments, bars)
    _refuse_strangers("funding", settings.funding, bars)
    instruments = {symbol: build_instrument(settings, symbol) for symbol in bars}
    execution = build_execution(settings)
    funding: dict[str, Sequence[FundingRate]] = {}
    for symbol, wanted in settings.funding.items():
        series = bars[symbol]
        first, last = int(series.open_time[0]) + series.bar_ms, int(series.open_time[-1]) + series.bar_ms
        funding[symbol], manifest = load_funding(instruments[symbol], wanted, folder, first, last)
        if manifest is not None:
            manifests.append(manifest)
            _refuse_funding_elsewhere(funding[symbol], series, str(wanted.path))
    publications: list[Publication] = []
    if settings.artifact is not None:
        reserved = reserved_symbols(load_strategy(settings, folder))
        publications, manifest = load_publications(settings.artifact, folder, bars, reserved)
        manifests.append(manifest)
    return Market(bars, instruments, execution, funding, publications), manifests


def build_account(settings: Settings, market: Market) -> Account:
    """Return the account in the units of the market's money. Its name is fixed: a run's name must not reach
    its order ids.
    """
    from trading_runtime.backtest.engine import Account

    cash, caps, permissions = account_terms(settings.account, market.instruments[market.symbols[0]])
    return Account(start_cash=cash, caps=caps, permissions=permissions)


def account_terms(wanted: AccountSettings, instrument: Instrument) -> tuple[int, Caps, Permissions]:
    """Return cash in units of the instrument's quote money, caps and permissions."""

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
    return cash, caps, Permissions(short=wanted.short)


def build_execution(settings: Settings | CycleSettings) -> Execution:
    """Return how the simulated exchange executes."""
    return Execution(**msgspec.structs.asdict(settings.execution))


def build_instrument(settings: Settings | CycleSettings, symbol: str) -> Instrument:
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


def load_funding(
    instrument: Instrument, wanted: FundingSettings, folder: Path, first_ms: int, last_ms: int
) -> tuple[Sequence[FundingRate], dict[str, Any] | None]:
    """Return the rates that settings name for ``instrument``, with the manifest of the file they are from.

    A constant rate is given from ``first_ms`` to ``last_ms``, both included; a file's rates are all of them.
    """
    symbol = instrument.symbol
    if (wanted.rate is None) == (wanted.path is None):
        raise ConfigurationError(f"funding.{symbol}: give either rate or path, exactly one of them")
    if instrument.kind != "perpetual":
        raise ConfigurationError(f"funding.{symbol}: spot pays no funding; remove the section")
    if wanted.path is not None:
        from trading_runtime.config.funding_files import read_funding_file

        return read_funding_file(folder / wanted.path, symbol)
    assert wanted.rate is not None
    return _constant_funding(first_ms, last_ms, wanted.rate, wanted.interval_hours), None


def constant_funding(bars: Bars, rate: float, interval_hours: int) -> list[FundingRate]:
    """Return ``rate`` at every whole interval since midnight UTC that lies within the bars' closes.

    An interval that does not divide the day starts again at each midnight, as exchanges do.
    """
    first, last = int(bars.open_time[0]) + bars.bar_ms, int(bars.open_time[-1]) + bars.bar_ms
    return _constant_funding(first, last, rate, interval_hours)


def reserved_symbols(strategy: Strategy) -> dict[str, str]:
    """Return which symbols a publication cannot have traded, and why: the coin that pays fees, as in a live cycle. No
    candles of it are needed.
    """
    fuel = getattr(strategy.params, "fuel_symbol", None)
    return {} if fuel is None else {fuel: "reserved: fees are paid with it"}


def load_publications(
    wanted: ArtifactHistorySettings,
    folder: Path,
    bars: Mapping[str, Bars],
    reserved: Mapping[str, str] = MappingProxyType({}),
) -> tuple[list[Publication], dict[str, Any]]:
    """Return what was in force at some close of ``bars`` and when it changed, with the manifest of its files.
    ``reserved`` says of symbols why they are never traded by a publication.

    Raises ConfigurationError when nothing was, and when a pool in force names symbols without candles; whatever
    ``PoolHistory.load`` raises for a file that is none.
    """
    from trading_runtime.artifacts.history import PoolHistory
    from trading_runtime.artifacts.payload import PayloadRules
    from trading_runtime.backtest.market import Publication

    history = PoolHistory.load(
        folder / wanted.folder,
        PayloadRules(wanted.max_age_days, tuple(wanted.acceptable_modes), wanted.expected_size),
        wanted.publication_hours,
        last_known_good_days_max=wanted.last_known_good_days_max,
        allow_new_entries_on_degraded=wanted.allow_new_entries_on_degraded,
        quote=split_symbol(next(iter(bars)))[1],
        reserved=reserved,
    )
    first = min(int(series.open_time[0]) + series.bar_ms for series in bars.values())
    last = max(int(series.open_time[-1]) + series.bar_ms for series in bars.values())
    publications = [Publication(time_ms, artifact) for time_ms, artifact in history.changes(first, last)]
    in_force = [published for published in publications if published.artifact is not None]
    if not in_force:
        raise ConfigurationError(
            f"artifact.folder {wanted.folder}: none of its publications was in force from {iso_time(first)} to "
            f"{iso_time(last)}, the period of the candles"
        )
    missing: dict[str, int] = {}
    for published in in_force:
        for symbol in published.artifact["symbols"]:
            if symbol not in bars:
                missing.setdefault(symbol, published.time_ms)
    if missing:
        named = ", ".join(f"{symbol} (in force from {iso_time(time_ms)})" for symbol, time_ms in missing.items())
        raise ConfigurationError(
            f"artifact.folder {wanted.folder}: its pools name symbols without candles: {named}; add a file for each "
            "to data, or shorten the period"
        )
    manifest: dict[str, Any] = {
        "kind": "artifact",
        "folder": (folder / wanted.folder).resolve().name,
        "files": [one.name for one in history.publications],
        "content_hash": history.content_hash(),
        "publications": len(publications),
    }
    return publications, manifest


def _constant_funding(first: int, last: int, rate: float, interval_hours: int) -> list[FundingRate]:
    from trading_runtime.backtest.market import FundingRate

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
        loaded, manifest = load_file(wanted, settings.quality, folder, f"data.{index}")
        if loaded.symbol in bars:
            raise ConfigurationError(f"data.{index}: {loaded.symbol} is given twice; keep one file per symbol")
        try:
            bars[loaded.symbol] = loaded.between(start, end)
        except BarsError as error:
            raise ConfigurationError(f"period: {error}") from None
        manifests.append(manifest)
    return bars, manifests


def load_file(wanted: DataSettings, quality: QualitySettings, folder: Path, key: str) -> tuple[Bars, dict[str, Any]]:
    """Return the bars of one file, resampled as wanted, with its manifest; ``key`` is where settings name it."""
    # Imported here: reading candles loads pyarrow, which a configuration that is wrong never needs.
    from trading_runtime.data.files import load_bars

    try:
        loaded = load_bars(
            folder / wanted.path,
            symbol=wanted.symbol,
            timeframe=wanted.timeframe,
            gaps=quality.gaps,
            quality_minimum=quality.minimum,
            drop_errors=quality.drop_errors,
            columns=wanted.columns or None,
            time_unit=wanted.time_unit,
        )
    except DataError as error:
        raise type(error)(_in_words_of_settings(str(error), key)) from error
    bars, manifest = loaded.bars, dict(loaded.manifest)
    if wanted.resample is not None and wanted.resample != bars.timeframe:
        bars = resample(bars, wanted.resample)
        manifest["resampled_to"] = wanted.resample
    if manifest.get("exception_allowed"):
        manifest["exception"] = f"grade {manifest['grade']} (quality.minimum {quality.minimum}, gaps {quality.gaps})"
    return bars, manifest


def _in_words_of_settings(message: str, key: str) -> str:
    """Return an error about candles with the settings to change instead of the options of ``trading-runtime
    data``.
    """
    for option, setting in (
        (r"--gaps fill", "quality.gaps=fill"),
        (r"--drop-errors", "quality.drop_errors=true"),
        (r"--quality ([A-D])", r"quality.minimum=\1"),
        (r"--symbol (\S+)", rf"{key}.symbol=\1"),
        (r"--timeframe (\S+)", rf"{key}.timeframe=\1"),
        (r"--column (\w+)=", rf"{key}.columns.\1="),
        (r"--time-unit", f"{key}.time_unit"),
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
