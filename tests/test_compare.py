"""Two results side by side: the same, different, and where they first differ."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trading_runtime.backtest.compare import compare_results, result_folder
from trading_runtime.backtest.metrics import METRICS
from trading_runtime.backtest.run import run_backtest, write_run
from trading_runtime.cli.main import main
from trading_runtime.config.load import load_settings
from trading_runtime.core.errors import DataError

PARTS = Path(__file__).resolve().parent / "data/parts"


def make(folder: Path, **changes: Any) -> Path:
    """Run a short backtest into ``folder``."""
    document = {
        "strategy": {"class": "sma_cross", "fast": 10, "slow": 30},
        "data": [{"path": str(PARTS / "BTC-USDT_USDT-1h.parquet")}],
        "period": {"start": "2023-01-01", "end": "2023-02-01"},
        "instrument": {"taker_fee_rate": 0.001},
        **changes,
    }
    settings = folder.with_suffix(".json")
    settings.write_text(json.dumps(document))
    write_run(run_backtest(load_settings(settings)), folder)
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("first") / "result")


def keys(rows: list[dict[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {row["key"]: (row["first"], row["second"]) for row in rows}


def test_a_result_is_the_same_as_itself(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing differs, and the exit code says so."""
    comparison = compare_results(first, first / "result.json")
    assert comparison["same_outcome"]
    assert not any(comparison["differences"].values())
    assert not any(comparison["first_rows"].values())
    assert main(["compare", str(first), str(first)]) == 0
    assert capsys.readouterr().out.startswith("the same outcome")


def test_a_default_written_out_changes_the_digest_but_not_the_outcome(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Digests cover settings as written; outcomes are what was traded."""
    strategy = {"class": "sma_cross", "fast": 10, "slow": 30, "weight": 0.95}
    second = make(tmp_path / "second", strategy=strategy, name="other", output={"folder": "x"})
    comparison = compare_results(first, second)
    assert comparison["digest"]["first"] != comparison["digest"]["second"]
    assert comparison["same_outcome"]
    assert comparison["differences"]["settings"] == []
    assert main(["compare", str(first), str(second)]) == 0
    assert comparison["digest"]["second"] in capsys.readouterr().out


def test_different_parameters_are_named_down_to_the_first_row(
    first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings by dotted key; the first fill and equity row that differ, with field and both values."""
    second = make(tmp_path / "second", strategy={"class": "sma_cross", "fast": 10, "slow": 40})
    comparison = compare_results(first, second)
    assert not comparison["same_outcome"]
    assert keys(comparison["differences"]["settings"]) == {"strategy.slow": (30, 40)}
    for name in ("fills", "equity", "trades"):
        row = comparison["first_rows"][name]
        assert row["first"] != row["second"]
        assert row["field"]
        assert row["time"].startswith("2023-01-")
    metrics = {row["key"]: row for row in comparison["metrics"]}
    assert list(metrics) == [metric.key for metric in METRICS]
    total = metrics["total_return_fraction"]
    assert total["difference"] == pytest.approx(total["second"] - total["first"], rel=1e-9)
    assert main(["compare", str(first), str(second)]) == 3
    out = capsys.readouterr().out
    assert out.startswith("different outcomes")
    assert "strategy.slow" in out
    assert "first differing row of fills" in out
    assert main(["compare", str(first), str(second), "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == comparison


def test_a_fee_changes_money_and_not_when_it_was_traded(first: Path, tmp_path: Path) -> None:
    """The first differing field is the one that was changed."""
    second = make(tmp_path / "second", instrument={"taker_fee_rate": 0.0011})
    comparison = compare_results(first, second)
    assert keys(comparison["differences"]["settings"]) == {"instrument.taker_fee_rate": (0.001, 0.0011)}
    fill = comparison["first_rows"]["fills"]
    assert (fill["row"], fill["field"]) == (0, "fee")
    assert fill["second"] == pytest.approx(1.1 * fill["first"], rel=1e-6)


def test_other_strategies_data_and_periods_are_told_apart(first: Path, tmp_path: Path) -> None:
    """Code by hash, data by content."""
    strategy = {"class": "buy_and_hold"}
    comparison = compare_results(first, make(tmp_path / "code", strategy=strategy))
    code = keys(comparison["differences"]["code"])
    assert set(code) == {"class", "code_hash"}
    data = [{"path": str(PARTS / "BTC-USDT-1h.parquet")}]
    comparison = compare_results(first, make(tmp_path / "data", data=data))
    changed = keys(comparison["differences"]["data"])
    assert "BTC/USDT bars.content_hash" in changed
    assert "BTC/USDT:USDT bars.content_hash" in changed
    period = {"start": "2023-01-01", "end": "2023-01-20"}
    comparison = compare_results(first, make(tmp_path / "period", period=period))
    assert keys(comparison["differences"]["settings"]) == {
        "period.end": ("2023-02-01", "2023-01-20"),
    }
    row = comparison["first_rows"]["equity"]
    assert (row["field"], row["first"], row["second"]) == ("rows", 31 * 24, 19 * 24)


def test_funding_is_compared_even_when_only_one_has_it(first: Path, tmp_path: Path) -> None:
    """A table that one result lacks is an empty one."""
    comparison = compare_results(first, make(tmp_path / "paid", funding={"BTC/USDT:USDT": {"rate": 0.0001}}))
    row = comparison["first_rows"]["funding"]
    assert (row["row"], row["field"], row["first"]) == (0, "rows", 0)
    assert row["second"] > 0


def test_what_is_no_result_is_refused(first: Path, tmp_path: Path) -> None:
    """A missing folder, a damaged file, a missing table: one line each."""
    with pytest.raises(DataError, match="there is no such result"):
        result_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds no result\.json"):
        result_folder(tmp_path)
    for content, expected in (("{", "is not JSON"), ("[]", "is no result"), ("{}", "it needs digest")):
        copy = tmp_path / "copy"
        shutil.copytree(first, copy, dirs_exist_ok=True)
        (copy / "result.json").write_text(content)
        with pytest.raises(DataError, match=expected):
            compare_results(first, copy)
    shutil.copy2(first / "result.json", copy)
    (copy / "fills.parquet").unlink()
    with pytest.raises(DataError, match=r"fills\.parquet is missing"):
        compare_results(first, copy)
