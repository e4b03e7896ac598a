"""``sweep run --reports N``: the whole backtests of the best cells, linked from the page; and how many workers run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from sweep_process import main
from sweep_samples import planned, write_sweep

from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.sweep import workers
from trading_runtime.sweep.workers import workers_for

SMALL: dict[str, Any] = {"space": {"fast": [2, 3, 5], "slow": [24, 40]}}
WORDS = ["sweep", "run", "--config", "sweep.json", "--store", "objects", "--folder", "results", "--workers", "1"]


def linked(folder: Path) -> list[str]:
    """The cells whose reports a page links to, in its order."""
    return re.findall(r'href="cells/([0-9a-f]{12})/report\.html"', (folder / "sweep.html").read_text())


def test_the_page_links_to_the_reports_of_the_best_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path, **SMALL, periods={"kind": "whole"})
    assert main([*WORDS, "--reports", "2"]) == 0
    cells = pyarrow.parquet.read_table(tmp_path / "results" / "cells.parquet").to_pylist()
    best = sorted(cells, key=lambda row: -row["m_sharpe_ratio"])[:2]

    assert linked(tmp_path / "results") == [row["cell_id"][:12] for row in best]
    for row in best:
        folder = tmp_path / "results" / "cells" / row["cell_id"][:12]
        result = json.loads((folder / "result.json").read_text())
        assert result["metrics"]["sharpe_ratio"] == row["m_sharpe_ratio"]
        assert "<html" in (folder / "report.html").read_text()

    assert main(WORDS) == 0, "asked for none, the folder has none: it appears whole, as asked for"
    assert linked(tmp_path / "results") == []
    assert not (tmp_path / "results" / "cells").exists()


def test_a_gather_into_a_folder_makes_reports_of_train_where_there_are_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path, **SMALL)
    assert main(WORDS) == 0
    sweep_id = json.loads((tmp_path / "results" / "sweep.json").read_text())["sweep_id"]
    words = ["sweep", "gather", "--sweep", sweep_id, "--store", "objects", "--folder", "again", "--reports", "1"]
    assert main(words) == 0
    (cell,) = linked(tmp_path / "again")
    rows = pyarrow.parquet.read_table(tmp_path / "again" / "cells.parquet").to_pylist()

    assert [row["role"] for row in rows if row["cell_id"].startswith(cell)] in (["train"], ["whole"], [None])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--config", "sweep.json", "--reports", "101"], "--reports must be 0 to 100, not 101"),
        (["run", "--config", "sweep.json", "--reports", "-1"], "--reports must be 0 to 100, not -1"),
        (["run", "--sweep", "0123456789abcdef", "--reports", "1"], "--reports belong to results of --config"),
        (["gather", "--sweep", "0123456789abcdef", "--reports", "1"], "--reports belong to results in a --folder"),
    ],
)
def test_reports_that_have_no_place_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(tmp_path, **SMALL)
    assert main(["sweep", *words, "--store", "objects"]) == 77
    assert message in capsys.readouterr().err
    assert not (tmp_path / "objects").exists()


def test_a_short_sweep_is_not_worth_a_second_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the work is worth, never more than there are processors; a longer period is worth more."""
    monkeypatch.setattr(workers, "_processors", lambda: 4)
    sweep = planned(write_sweep(tmp_path, **SMALL), MemoryObjects()).sweep
    chosen = [workers_for(sweep, cells) for cells in (1, 1_000, 40_000, 10_000_000)]

    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[1], chosen[-1]) == (1, 1, 4)
