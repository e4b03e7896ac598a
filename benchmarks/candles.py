"""The candles that every benchmark reads: a file of one's own, or synthetic ones that anybody can make again."""

from __future__ import annotations

import csv
from pathlib import Path

from trading_runtime.core.bars import Bars

BARS = 45_031
SEED = 20_220_101
SYMBOL, TIMEFRAME = "BTC/USDT:USDT", "1m"


def bars_of(path: Path | None) -> Bars:
    """Return the bars of a candle file; ``BARS`` synthetic ones without one."""
    if path is not None:
        from trading_runtime.data.files import load_bars

        return load_bars(path, symbol=None if path.suffix == ".parquet" else SYMBOL).bars
    from trading_runtime.data.synth import synthesize

    return synthesize(SYMBOL, TIMEFRAME, 1_640_991_660_000, BARS, SEED, start_price="46319", tick="0.5")


def write_csv(path: Path, bars: Bars) -> Path:
    """Write the candles as everybody reads them; return ``path``."""
    columns = (bars.open_time, bars.open, bars.high, bars.low, bars.close, bars.volume)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["open_time_ms", "open", "high", "low", "close", "volume"])
        rows.writerows(zip(*(column.tolist() for column in columns), strict=True))
    return path
