"""What the cells of a sweep read, gathered once: candles, funding rates, publications; into the store and out of it.

The plan reads files and uploads blobs; shards download them, checked by their digests. Nothing here knows parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trading_runtime.backtest.market import FundingRate, Publication
from trading_runtime.config.build import (
    build_instrument,
    constant_funding,
    load_file,
    load_funding,
    load_publications,
    reserved_symbols,
)
from trading_runtime.config.schema import Settings
from trading_runtime.core.bars import Bars
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.strategy import Strategy
from trading_runtime.core.timeframes import parse_time
from trading_runtime.objects.blobs import get_blob, put_blob
from trading_runtime.objects.port import ObjectStore
from trading_runtime.sweep.candles import candle_bytes, read_candles


@dataclass(frozen=True, eq=False)
class SweepData:
    """Everything that is read, by symbol in the order of the settings. ``manifests`` say where it came from."""

    bars: Mapping[str, Bars]
    funding: Mapping[str, Sequence[FundingRate]]
    publications: Sequence[Publication]
    manifests: Sequence[Mapping[str, Any]] = ()

    def span(self, settings: Settings) -> tuple[int, int]:
        """Return open time of the first and close time of the last bar inside the backtest's own period."""
        start = None if settings.period.start is None else parse_time(settings.period.start)
        end = None if settings.period.end is None else parse_time(settings.period.end)
        parts = [bars.between(start, end) for bars in self.bars.values()]
        return (
            min(int(bars.open_time[0]) for bars in parts),
            max(int(bars.open_time[-1]) + bars.bar_ms for bars in parts),
        )


def load_data(settings: Settings, folder: Path, strategy: Strategy) -> SweepData:
    """Return what the backtest's files hold, whole: the period is cut later, so that what lies before it can warm up.
    ``strategy`` is the backtest's own: it says which symbols publications cannot have traded, the same for all cells.

    Raises what reading and judging candles raises, ConfigurationError for settings that do not fit the data.
    """
    bars: dict[str, Bars] = {}
    manifests: list[Mapping[str, Any]] = []
    for index, wanted in enumerate(settings.data):
        loaded, manifest = load_file(wanted, settings.quality, folder, f"data.{index}")
        if loaded.symbol in bars:
            raise ConfigurationError(f"data.{index}: {loaded.symbol} is given twice; keep one file per symbol")
        bars[loaded.symbol] = loaded
        manifests.append({**manifest, "name": Path(wanted.path).name})
    for section, named in (("instruments", settings.instruments), ("funding", settings.funding)):
        for symbol in named:
            if symbol not in bars:
                raise ConfigurationError(f"{section}.{symbol}: no data of this symbol (data holds {', '.join(bars)})")
    funding: dict[str, Sequence[FundingRate]] = {}
    for symbol, terms in settings.funding.items():
        series, instrument = bars[symbol], build_instrument(settings, symbol)
        first, last = int(series.open_time[0]) + series.bar_ms, int(series.open_time[-1]) + series.bar_ms
        funding[symbol], read = load_funding(instrument, terms, folder, first, last)
        if read is not None:
            manifests.append(read)
            if not any(first - series.bar_ms < rate.time_ms <= last for rate in funding[symbol]):
                raise ConfigurationError(f"funding.{symbol}.path {terms.path}: its rates lie outside the bars")
    publications: Sequence[Publication] = ()
    if settings.artifact is not None:
        publications, published = load_publications(settings.artifact, folder, bars, reserved_symbols(strategy))
        manifests.append(published)
    return SweepData(bars, funding, publications, manifests)


def upload(store: ObjectStore, data: SweepData, settings: Settings) -> dict[str, Any]:
    """Put everything into the store and return what names it: digests of blobs."""
    named: dict[str, Any] = {
        "candles": [put_blob(store, candle_bytes(bars)) for bars in data.bars.values()],
        "funding": {
            symbol: put_blob(store, canonical_json([[rate.time_ms, rate.rate] for rate in rates]))
            for symbol, rates in data.funding.items()
            if settings.funding[symbol].path is not None  # a constant rate follows from the settings
        },
        "publications": None,
    }
    if settings.artifact is not None:
        content = [[published.time_ms, published.artifact] for published in data.publications]
        named["publications"] = put_blob(store, canonical_json(content))
    return named


def download(store: ObjectStore, named: Mapping[str, Any], settings: Settings) -> SweepData:
    """Return what ``upload`` put there; raises ObjectMissing or ObjectDamaged when it is not there as it was."""
    bars: dict[str, Bars] = {}
    for digest in named["candles"]:
        series = read_candles(get_blob(store, digest), f"{store.label} blob {digest[:12]}")
        bars[series.symbol] = series
    funding: dict[str, Sequence[FundingRate]] = {}
    for symbol, terms in settings.funding.items():
        if terms.rate is not None:
            funding[symbol] = constant_funding(bars[symbol], terms.rate, terms.interval_hours)
        else:
            rates = _json(store, named["funding"][symbol])
            funding[symbol] = [FundingRate(int(time_ms), float(rate)) for time_ms, rate in rates]
    publications: Sequence[Publication] = ()
    if named["publications"] is not None:
        publications = [Publication(int(time), artifact) for time, artifact in _json(store, named["publications"])]
    return SweepData(bars, funding, publications)


def _json(store: ObjectStore, digest: str) -> Any:
    try:
        return json.loads(get_blob(store, digest))
    except ValueError:
        raise DataError(f"{store.label} blob {digest[:12]}: is no JSON") from None
