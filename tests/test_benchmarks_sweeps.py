"""The benchmark of sweeps: it refuses to compare different work, and everything it compares is there."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.processes import run_watched
from benchmarks.sweep_rows import PEERS, PINS, ROOT, Row
from benchmarks.sweep_tables import print_notes
from benchmarks.sweep_work import (
    CHECK,
    HUNDRED,
    PEER_TOLERANCE,
    TEN_THOUSAND,
    THOUSAND,
    Figures,
    Grid,
    expected,
    few_enough,
    refuse_other_work,
)
from benchmarks.sweeps import _run, write_csv
from trading_runtime.core.parameters import Scalar
from trading_runtime.data.synth import synthesize
from trading_runtime.strategies.sma_cross import SmaCross

WANTED = [Figures(5, 20, 900.0, 40), Figures(5, 40, 1_100.0, 20)]


def test_equal_work_passes_also_where_a_peer_does_not_tell_its_fills() -> None:
    refuse_other_work("peer", [Figures(5, 40, 1_101.0, None), Figures(5, 20, 901.0, 40)], WANTED, 0.01)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ([WANTED[0]], "1 results for 2 combinations"),
        ([WANTED[0], WANTED[0]], "2 results for 2 combinations, or others"),
        ([WANTED[0], WANTED[1]._replace(slow=60)], "or others"),
        ([WANTED[0], WANTED[1]._replace(fills=21)], r"21 fills of \(5, 40\), not 20"),
        ([WANTED[0], WANTED[1]._replace(equity=1_121.0)], "add up to 2,021.00, not 2,000.00 within 1.00%"),
        ([WANTED[0], WANTED[1]._replace(equity=math.nan)], "add up to nan"),
    ],
)
def test_other_work_is_refused_in_one_line(found: list[Figures], says: str) -> None:
    with pytest.raises(SystemExit, match=says) as ended:
        refuse_other_work("peer", found, WANTED, 0.01)
    assert "\n" not in str(ended.value)


def test_a_peer_that_starts_a_bar_later_may_miss_one_trade_and_no_more() -> None:
    refuse_other_work("peer", [WANTED[0], WANTED[1]._replace(fills=18)], WANTED, 0.01, fills_tolerance=2)
    with pytest.raises(SystemExit, match="17 fills"):
        refuse_other_work("peer", [WANTED[0], WANTED[1]._replace(fills=17)], WANTED, 0.01, fills_tolerance=2)


def test_a_row_whose_process_wrote_other_results_ends_the_benchmark(tmp_path: Path) -> None:
    def read(place: Path) -> list[Figures]:
        return [Figures(*row) for row in json.loads((place / "rows.json").read_text())]

    def row_of(equity: float) -> Row:
        program = f"import json, sys; json.dump([[20, 50, {equity}, 4]], open(sys.argv[1], 'w'))"
        return Row(
            "peer", 1, lambda place: [sys.executable, "-c", program, str(place / "rows.json")], read, CHECK, PEERS[0]
        )

    wanted = {CHECK.name: [Figures(20, 50, 1_000.0, 4)]}
    good = row_of(1_000.0 * (1 + 0.9 * PEER_TOLERANCE))
    _run(good, tmp_path, wanted)
    assert len(good.costs) == 1
    with pytest.raises(SystemExit, match="peer did other work"):
        _run(row_of(1_000.0 * (1 + 1.1 * PEER_TOLERANCE)), tmp_path, wanted)


def test_grids_have_the_sizes_they_are_named_for_and_every_combination_is_allowed() -> None:
    # Of the 100 combinations of the first, two have equal lengths.
    assert [len(grid.pairs) for grid in (CHECK, HUNDRED, THOUSAND, TEN_THOUSAND)] == [1, 98, 1_000, 10_000]
    for grid in (CHECK, HUNDRED, THOUSAND, TEN_THOUSAND):
        for fast, slow in grid.pairs:
            values: dict[str, Scalar] = {"fast": fast, "slow": slow}
            SmaCross(values)


def test_the_part_for_the_general_path_stays_below_the_bars_at_which_a_sweep_compiles() -> None:
    part = few_enough(HUNDRED, 45_031, 2_000_000)
    assert part is not None
    assert len(part.pairs) == 38
    assert set(part.pairs) < set(HUNDRED.pairs)
    assert few_enough(HUNDRED, 1_000_000, 2_000_000) is None


def test_a_process_is_watched_with_its_children_and_its_failure_is_told(tmp_path: Path) -> None:
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytearray(80_000_000)'], check=True)"
    small = run_watched("small", [sys.executable, "-c", "pass"], tmp_path)
    large = run_watched("large", [sys.executable, "-c", nested], tmp_path)
    assert 0 < small.mebibytes < 60 < large.mebibytes
    assert min(*small, *large) > 0
    with pytest.raises(SystemExit, match="broken failed: no such thing"):
        run_watched("broken", [sys.executable, "-c", "import sys; sys.exit('no such thing')"], tmp_path)


def test_peers_that_are_absent_are_listed_with_how_to_install_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_notes(dict.fromkeys(PINS))
    said = capsys.readouterr().out
    for peer in PEERS:
        assert f"{peer.name}: not measured" in said
    for name, version in PINS.items():
        assert f"{name}=={version}" in said


def test_a_small_run_measures_every_kind_of_row_and_all_do_the_same_work(tmp_path: Path) -> None:
    bars = synthesize("BTC/USDT:USDT", "1m", 1_640_991_660_000, 1_500, 7, start_price="46319", tick="0.5")
    assert sum(one.fills or 0 for one in expected(Grid("", [5, 10], [20, 40]), bars.open.tolist(), bars.close.tolist()))
    write_csv(tmp_path / "candles.csv", bars)
    words = ["--small", "--rounds", "1", "--workers", "1", "--json", "--data", str(tmp_path / "candles.csv")]
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.sweeps", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    measured = json.loads(answer.stdout)
    assert measured["bars"] == 1_500
    names = [row["name"] for row in measured["processes"]]
    peers = {peer for peer in PEERS if all(measured["peers"][package] for package in peer.packages)}
    assert [name for name in names if not name.startswith(tuple(peer.name for peer in PEERS))] == [
        "yardstick: csv module and loop",
        "sweep run, 4 cells, 1 worker",
        "the same again, 4 cells found, none computed",
        "sweep run through decide, gated, 4 cells, 1 worker",
        "sweep run through decide, every bar, 4 cells, 1 worker",
    ]
    assert len(names) == 5 + len(peers)
    for row in (*measured["processes"], *measured["inner"]):
        assert len(row.get("rounds", row.get("seconds"))) == 1, row
    assert "4 cells named, sealed, in a store in memory" in [row["name"] for row in measured["inner"]]
