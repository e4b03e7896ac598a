"""Write the sample candles of ``tests/data/parts``: two years of aligned hourly bars for three symbols, the
same bytes every time.

Usage: python tests/data/scripts/generate_parts.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # started by its path: look for packages in the repository
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from trading_runtime.core.timeframes import HOUR_MS, parse_time
from trading_runtime.data.files import store
from trading_runtime.data.names import file_stem
from trading_runtime.data.quality import assess
from trading_runtime.data.raw import Source, raw_of_bars
from trading_runtime.data.synth import synthesize

# Chosen among the first twenty for its shape: rises and falls, and ends neither at the top nor at nothing.
SEED = 1
START = "2023-01-01"
ROWS = 2 * 365 * 24
# Symbol, price at the start (levels of January 2023), tick, lots of volume an hour, lot, size of the moves in
# percent.
MARKETS = (
    ("BTC/USDT", "16500", "0.01", 6_000_000, "0.001", 90),
    ("ETH/USDT", "1200", "0.01", 40_000_000, "0.001", 110),
    ("SOL/USDT", "10", "0.001", 900_000, "0.1", 140),
    ("BTC/USDT:USDT", "16500", "0.1", 14_000_000, "0.001", 90),
)


def generate(folder: Path) -> list[Path]:
    """Write every part with its manifest into ``folder`` and return the Parquet files."""
    written = []
    for symbol, price, tick, volume_lots, lot, move_percent in MARKETS:
        bars = synthesize(
            symbol,
            "1h",
            parse_time(START),
            ROWS,
            SEED,
            start_price=price,
            tick=tick,
            volume_lots=volume_lots,
            lot=lot,
            move_percent=move_percent,
        )
        source = Source(f"synthetic seed {SEED}", bars.content_hash(), len(bars))
        report = assess(raw_of_bars(bars, source), HOUR_MS)
        path = folder / f"{file_stem(symbol, '1h')}.parquet"
        store(path, bars, sources=(source,), source_kind="synthetic", report=report, grade=report.grade)
        written.append(path)
    return written


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1] / "parts"
    for part in generate(Path(sys.argv[1]) if len(sys.argv) > 1 else here):
        print(part.name, part.stat().st_size, "bytes")
