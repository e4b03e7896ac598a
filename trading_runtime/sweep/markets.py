"""From a period and what a strategy needs to the market a cell runs over, and to what names the cell.

Every cell of a period may run over one market that reaches further back than it needs: a column's value depends on its
declared window only, so that what counts, and what is hashed, is the cell's own window. A property test holds both to
the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from trading_runtime.backtest.column_rows import ColumnRows
from trading_runtime.backtest.engine import Account
from trading_runtime.backtest.market import Market
from trading_runtime.backtest.trace import ENGINE_SEMANTICS
from trading_runtime.config.build import account_terms, build_account, build_execution, build_instrument
from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.evaluate import ColumnCache
from trading_runtime.core.hashing import canonical_json, json_hash
from trading_runtime.core.instruments import Instrument, instrument_to_json
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import iso_time
from trading_runtime.objects.seal import object_text
from trading_runtime.sweep.candles import CandleHashes
from trading_runtime.sweep.data import SweepData
from trading_runtime.sweep.periods import Period
from trading_runtime.sweep.spec import Cell, Sweep

# What cells hold and how their figures are cut out of a run; part of every cell's identity.
CELL_SEMANTICS = 1
_PARAMETERS = "parameters"


class IdentityText(NamedTuple):
    """The canonical JSON of a cell's identity, and of two parts of it; the SHA-256 of the whole is the cell's id."""

    whole: bytes
    parameters: bytes
    period: bytes


@dataclass(frozen=True, eq=False)
class PeriodMarket:
    """A market that reaches ``warm_up`` bars before its period, with the account and the columns its cells share."""

    market: Market
    account: Account
    warm_up: int
    cache: ColumnCache
    columns: ColumnRows


class Markets:
    """Makes markets and identities; keeps the last market of a period, as cells come period by period."""

    def __init__(self, sweep: Sweep, data: SweepData) -> None:
        self._sweep = sweep
        self._data = data
        settings = sweep.settings
        self._instruments: dict[str, Instrument] = {symbol: build_instrument(settings, symbol) for symbol in data.bars}
        self._execution = build_execution(settings)
        self._hashes = {symbol: CandleHashes(bars) for symbol, bars in data.bars.items()}
        self._kept: tuple[Period, PeriodMarket] | None = None
        self._read: dict[tuple[Period, int], dict[str, Any]] = {}
        self._texts: dict[tuple[Period, int], tuple[bytes, bytes, bytes]] = {}
        self.bar_ms = next(iter(data.bars.values())).bar_ms

    def needed(self, strategy: Strategy) -> int:
        """Return the number of closed bars that one decision depends on."""
        return strategy.bars_needed(self.bar_ms)

    def market(self, period: Period, needed: int, *, exact: bool = False) -> PeriodMarket:
        """Return a market of ``period`` with at least ``needed`` bars before it, where there are as many; with no more
        than those when it is ``exact``.

        Raises DataError when no bar lies in the period, ConfigurationError for bars that do not go together.
        """
        # Cells with somewhat longer windows then find it made.
        reach = needed if exact else 1 << max(needed - 1, 0).bit_length()
        if (
            not exact
            and self._kept is not None
            and self._kept[0] == period
            and self._kept[1].warm_up >= min(needed if period.warm_up else 0, self._before(period))
        ):
            return self._kept[1]
        rows = self._rows(period, reach)
        bars = {symbol: self._data.bars[symbol].slice(*edges) for symbol, edges in rows.items()}
        funding = {symbol: self._data.funding[symbol] for symbol in bars if symbol in self._data.funding}
        market = Market(bars, self._instruments, self._execution, funding, self._data.publications)
        cache = ColumnCache()
        made = PeriodMarket(
            market,
            build_account(self._sweep.settings, market),
            min(reach, self._before(period)) if period.warm_up else 0,
            cache,
            ColumnRows(market, cache),
        )
        self._kept = (period, made)
        return made

    def identity(self, cell: Cell, needed: int) -> dict[str, Any]:
        """Return everything that can change the cell's result; its canonical JSON's SHA-256 is the cell's id."""
        return {**self._read_by(cell.period, needed), _PARAMETERS: cell.parameters}

    def identity_text(self, cell: Cell, needed: int) -> IdentityText:
        """Return the canonical JSON of ``identity``; all but the parameters is written once for a period."""
        key = (cell.period, needed)
        if key not in self._texts:
            parts = {name: canonical_json(value) for name, value in self._read_by(*key).items()}
            before = object_text({name: text for name, text in parts.items() if name < _PARAMETERS})
            after = object_text({name: text for name, text in parts.items() if name > _PARAMETERS})
            opened = before[:-1] + b"," + canonical_json(_PARAMETERS) + b":"
            self._texts[key] = (opened, b"," + after[1:], parts["period"])
        before, after, period = self._texts[key]
        parameters = canonical_json(cell.parameters)
        return IdentityText(before + parameters + after, parameters, period)

    def _read_by(self, period: Period, needed: int) -> dict[str, Any]:
        key = (period, needed)
        if key not in self._read:
            self._read[key] = self._identity(period, needed)
        return self._read[key]

    def _identity(self, period: Period, needed: int) -> dict[str, Any]:
        sweep, settings = self._sweep, self._sweep.settings
        rows = self._rows(period, needed)
        instrument = self._instruments[next(iter(rows))]
        start, end = period.start_ms, period.end_ms
        cash, caps, permissions = account_terms(settings.account, instrument)
        metrics = settings.metrics
        return {
            "cell_semantics": CELL_SEMANTICS,
            "engine_semantics": ENGINE_SEMANTICS,
            "strategy": {key: sweep.content["strategy"][key] for key in ("class", "code_hash")},
            "period": {"start": iso_time(start), "end": iso_time(end), "warm_up": period.warm_up},
            "account": {
                "cash": instrument.money_text(cash),
                "caps": dict(caps._asdict()),
                "short": permissions.short,
            },
            "execution": asdict(self._execution),
            "instruments": [instrument_to_json(self._instruments[symbol]) for symbol in rows],
            "metrics": {
                "periods_per_year": metrics.periods_per_year,
                "risk_free_rate_annual": metrics.risk_free_rate_annual,
            },
            "candles": {symbol: self._hashes[symbol].between(*edges) for symbol, edges in rows.items()},
            "symbols": list(rows),
            "funding": {
                symbol: self._funding_hash(symbol, start, end) for symbol in rows if symbol in settings.funding
            },
            "publications": self._publications_hash(start, end) if settings.artifact is not None else None,
        }

    def _rows(self, period: Period, needed: int) -> dict[str, tuple[int, int]]:
        """Return the rows (start, stop) that a cell of the period reads of each symbol that has a bar inside it."""
        found: dict[str, tuple[int, int]] = {}
        for symbol, bars in self._data.bars.items():
            start, stop = _inside(bars, period)
            if stop <= start:
                continue
            if period.warm_up:
                grid = _grid(bars, period.start_ms) - needed * bars.bar_ms
                start = int(np.searchsorted(bars.open_time, grid, side="left"))
            found[symbol] = (start, stop)
        if not found:
            raise DataError(
                f"period {period.name}: no bar lies from {iso_time(period.start_ms)} to {iso_time(period.end_ms)}"
            )
        return found

    def _before(self, period: Period) -> int:
        """Bars of the clock that the data has before the period, of the symbols inside it."""
        return max(
            0,
            *(
                (_grid(bars, period.start_ms) - int(bars.open_time[0])) // bars.bar_ms
                for bars in (self._data.bars[symbol] for symbol in self._rows(period, 0))
            ),
        )

    def _funding_hash(self, symbol: str, start: int, end: int) -> str:
        rates = self._data.funding[symbol]
        return json_hash([[rate.time_ms, rate.rate] for rate in rates if start < rate.time_ms <= end])

    def _publications_hash(self, start: int, end: int) -> str:
        """Name what is in force at the period's start and every change inside it."""
        before: list[Any] = []
        inside: list[Any] = []
        for time_ms, artifact in self._data.publications:
            if time_ms <= start:
                before = [[start, artifact]]
            elif time_ms <= end:
                inside.append([time_ms, artifact])
        return json_hash(before + inside)


def starting_with(strategy: Strategy, prepared: PeriodMarket, needed: int) -> Strategy:
    """Make a strategy's first decision fall on the close at its period's start, however far back the market reaches;
    later where bars are missing before it.
    """
    bars = max(needed, prepared.warm_up)
    strategy.bars_needed = lambda bar_ms: bars  # type: ignore[method-assign]  # of this one object
    return strategy


def starting_cash(sweep: Sweep, data: SweepData) -> float:
    """Return the cash every cell starts with, in quote money."""
    symbol = next(iter(data.bars))
    instrument = build_instrument(sweep.settings, symbol)
    return instrument.money_float(instrument.money_units(sweep.settings.account.cash))


def explained(identity: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts in which two identities differ, in the order of the first."""
    return [name for name in {**identity, **other} if identity.get(name) != other.get(name)]


def refuse_empty(periods: Sequence[Period], data: SweepData) -> None:
    """Raise ConfigurationError for a period in which no bar lies: none of its cells could be computed."""
    for period in periods:
        edges = [_inside(bars, period) for bars in data.bars.values()]
        if all(stop <= start for start, stop in edges):
            raise ConfigurationError(
                f"periods: no bar lies in {period.name} from {iso_time(period.start_ms)} to {iso_time(period.end_ms)}"
            )


def _inside(bars: Bars, period: Period) -> tuple[int, int]:
    start = int(np.searchsorted(bars.open_time, period.start_ms, side="left"))
    return start, int(np.searchsorted(bars.open_time, period.end_ms - bars.bar_ms, side="right"))


def _grid(bars: Bars, time_ms: int) -> int:
    """Return the first bar boundary at or after a time."""
    first = int(bars.open_time[0])
    return first - (first - time_ms) // bars.bar_ms * bars.bar_ms
