"""Synthetic candles: the same bytes everywhere, good bars, a decimal grid, and symbols that move together."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trading_runtime.core.bars import FIELDS, Bars, Floats
from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.timeframes import HOUR_MS, parse_time
from trading_runtime.data.files import load_bars
from trading_runtime.data.synth import synthesize

START = parse_time("2024-01-01")
PARTS = Path(__file__).parent / "data" / "parts"
SCRIPT = Path(__file__).parent / "data" / "scripts" / "generate_parts.py"


def closes(symbol: str, **arguments: int | str) -> Floats:
    return synthesize(symbol, "1h", START, 5_000, 9, **arguments).close


def test_the_bytes_of_a_seed_are_fixed() -> None:
    """The content hash of two seeds, computed once and written here, on any platform and numpy version."""
    one = synthesize("BTC/USDT", "1h", START, 1_000, 1)
    two = synthesize("ETH/USDT:USDT", "15m", START, 1_000, 2, start_price="2300.5", tick="0.05", move_percent=120)

    assert one.content_hash() == "dca0e290b1019c0b56b6510aaccda6e4f49ae9e7f4b492b96035eaf2c1e588aa"
    assert two.content_hash() == "072abc66008da5359129724dd4c4e4d9a85c4d446e4486161c327fdd49a1a1b6"


def test_hash_seed_and_threads_do_not_matter() -> None:
    """Another process with another hash seed gives the same bars."""
    program = (
        "from trading_runtime.data.synth import synthesize\n"
        f"print(synthesize('BTC/USDT', '1h', {START}, 1000, 1).content_hash())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"}
    shown = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=60,
    )

    assert shown.stdout.strip() == synthesize("BTC/USDT", "1h", START, 1_000, 1).content_hash()


@given(
    seed=st.integers(-(2**70), 2**70),
    timeframe=st.sampled_from(["1s", "1m", "1h", "1d", "3d"]),
    rows=st.integers(1, 600),
    tick=st.sampled_from(["1", "0.5", "0.25", "0.1", "0.05", "0.01", "0.001", "10"]),
    move_percent=st.sampled_from([1, 100, 1000]),
)
@example(seed=849492980338562587421, timeframe="3d", rows=285, tick="0.01", move_percent=1000)
@example(seed=649111080437421861648, timeframe="3d", rows=540, tick="0.001", move_percent=1000)
@settings(max_examples=80, deadline=None)
def test_any_arguments_give_possible_bars_on_the_grid(
    seed: int, timeframe: str, rows: int, tick: str, move_percent: int
) -> None:
    """Bars check themselves; every price is the nearest float of a whole number of ticks; volumes are
    positive.
    """
    start = START // 259_200_000 * 259_200_000
    bars = synthesize("X/USDT", timeframe, start, rows, seed, start_price="4000", tick=tick, move_percent=move_percent)

    assert isinstance(bars, Bars)
    assert bars.volume.min() > 0.0
    for name in FIELDS[:4]:
        for price in getattr(bars, name)[:: max(rows // 20, 1)].tolist():
            ticks = Decimal(repr(price)) / Decimal(tick)
            assert ticks == ticks.to_integral_value()


def test_a_longer_series_begins_like_a_shorter_one() -> None:
    """Bars do not depend on how many follow."""
    short, long = synthesize("BTC/USDT", "1h", START, 300, 4), synthesize("BTC/USDT", "1h", START, 900, 4)

    assert long.slice(0, 300).content_hash() == short.content_hash()


def test_symbols_of_one_seed_move_together_and_seeds_differ() -> None:
    """Two symbols correlate like coins do, a perpetual follows its spot, another seed is another market."""
    btc, eth = np.diff(np.log(closes("BTC/USDT"))), np.diff(np.log(closes("ETH/USDT")))
    perpetual = closes("BTC/USDT:USDT")

    assert 0.4 < np.corrcoef(btc, eth)[0, 1] < 0.9
    assert np.max(np.abs(perpetual / closes("BTC/USDT") - 1.0)) < 0.005
    assert (
        synthesize("BTC/USDT", "1h", START, 50, 1).content_hash()
        != synthesize("BTC/USDT", "1h", START, 50, 2).content_hash()
    )


def test_markets_have_quiet_and_wild_times() -> None:
    """Weeks differ in how much they move, years trend both ways, and prices stay in a believable range."""
    bars = synthesize("BTC/USDT", "1h", START, 3 * 8_760, 2)
    moves = np.diff(np.log(bars.close))
    weekly = moves[: len(moves) // 168 * 168].reshape(-1, 168)
    sizes, drifts = weekly.std(axis=1), weekly.sum(axis=1)

    assert sizes.max() / sizes.min() > 2.0
    assert drifts.max() > 0.08
    assert drifts.min() < -0.08
    assert bars.low.min() > 1_000
    assert bars.high.max() < 500_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"start_ms": START + 1},
        {"rows": 0},
        {"rows": 10**9},
        {"tick": "0"},
        {"tick": "-1"},
        {"tick": "x"},
        {"start_price": "0.0001"},
        {"symbol": "BTCUSDT"},
        {"timeframe": "1month"},
        {"volume_lots": 0},
        {"move_percent": 0},
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object]) -> None:
    """Each wrong setting is a configuration error of one line."""
    given_arguments = {
        "symbol": "BTC/USDT",
        "timeframe": "1h",
        "start_ms": START,
        "rows": 10,
        "seed": 1,
    } | arguments
    with pytest.raises(ConfigurationError) as error:
        synthesize(**given_arguments)

    assert "\n" not in str(error.value)


def test_the_shipped_parts_are_what_their_script_makes(tmp_path: Path) -> None:
    """Regenerated parts have the same content; with the pyarrow that wrote them, also the same bytes.

    A Parquet file names the version of its writer, so bytes are only compared when that is the same; the
    content hash covers every value and does not depend on it.
    """
    import pyarrow.parquet

    subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], check=True, capture_output=True, timeout=120)
    shipped = sorted(path.name for path in PARTS.iterdir())

    assert sorted(path.name for path in tmp_path.iterdir()) == shipped
    for name in (name for name in shipped if name.endswith(".parquet")):
        old, new = load_bars(PARTS / name), load_bars(tmp_path / name)
        assert old.bars.content_hash() == new.bars.content_hash() == old.manifest["content_hash"]
        writers = {pyarrow.parquet.ParquetFile(folder / name).metadata.created_by for folder in (PARTS, tmp_path)}
        if len(writers) == 1:
            assert (PARTS / name).read_bytes() == (tmp_path / name).read_bytes()
            manifest = name.replace(".parquet", ".manifest.json")
            assert (PARTS / manifest).read_bytes() == (tmp_path / manifest).read_bytes()


def test_the_shipped_parts_are_small_aligned_and_good() -> None:
    """Two years of hours for each symbol, the same open times, grade A, together below 4 MB."""
    loaded = [load_bars(path) for path in sorted(PARTS.glob("*.parquet"))]

    assert {one.bars.symbol for one in loaded} == {"BTC/USDT", "ETH/USDT", "SOL/USDT", "BTC/USDT:USDT"}
    for one in loaded:
        assert len(one.bars) == 17_520
        assert one.bars.bar_ms == HOUR_MS
        assert one.manifest["grade"] == "A"
        assert np.array_equal(one.bars.open_time, loaded[0].bars.open_time)
    assert sum(path.stat().st_size for path in PARTS.iterdir()) < 4_000_000
