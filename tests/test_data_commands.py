"""The ``data`` verbs as a user runs them: what they print, what they write, how they end."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from trading_runtime.cli.data import add_parser
from trading_runtime.core.bars import FIELDS, Bars, resample
from trading_runtime.core.errors import BarsError, ConfigurationError, DataError
from trading_runtime.core.timeframes import parse_time
from trading_runtime.data.files import load_bars
from trading_runtime.data.synth import synthesize

START = parse_time("2024-01-01")
BARS = synthesize("BTC/USDT", "1h", START, 24 * 91, 6)  # January, February, March of 2024

Run = Callable[..., int]


def run(*words: object) -> int:
    """Parse and run one command as the main program would, letting errors through."""
    parser = argparse.ArgumentParser(prog="trading-runtime")
    add_parser(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["data", *map(str, words)])
    code = arguments.handler(arguments)
    assert isinstance(code, int)
    return code


def archive(folder: Path, month: str, bars: Bars, *, unit: int = 1) -> Path:
    """One monthly archive with its checksum, as Binance publishes them."""
    lines = []
    for row in range(len(bars)):
        time_ms = int(bars.open_time[row])
        prices = ",".join(repr(float(getattr(bars, name)[row])) for name in FIELDS)
        lines.append(f"{time_ms * unit},{prices},{(time_ms + bars.bar_ms) * unit - 1},1,1,1,1,0")
    path = folder / f"BTCUSDT-1h-{month}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"BTCUSDT-1h-{month}.csv", "\n".join(lines))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".CHECKSUM").write_text(f"{digest}  {path.name}\n")
    return path


@pytest.fixture
def months(tmp_path: Path) -> list[Path]:
    days = (0, 31, 60, 91)
    pieces = [BARS.slice(24 * days[i], 24 * days[i + 1]) for i in range(3)]
    return [archive(tmp_path, f"2024-0{i + 1}", piece) for i, piece in enumerate(pieces)]


def csv_file(path: Path, bars: Bars = BARS) -> Path:
    lines = ["time,open,high,low,close,volume"]
    for row in range(len(bars)):
        prices = ",".join(repr(float(getattr(bars, name)[row])) for name in FIELDS)
        lines.append(f"{int(bars.open_time[row])},{prices}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_monthly_archives_are_joined_into_one_stored_file(
    tmp_path: Path, months: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Three archives in any order give the original series, and the output says what was stored where."""
    out = tmp_path / "out"

    assert run("import", months[2], months[0], months[1], "--out", out) == 0

    path = out / "BTC-USDT-1h.parquet"
    assert load_bars(path).bars.content_hash() == BARS.content_hash()
    assert (
        f"{path}: BTC/USDT 1h, 2184 bars, 2024-01-01T00:00:00Z to 2024-03-31T23:00:00Z, grade A"
        in capsys.readouterr().out
    )
    assert sorted(entry.name for entry in out.iterdir()) == [
        "BTC-USDT-1h.manifest.json",
        "BTC-USDT-1h.parquet",
    ]


def test_the_order_of_sources_does_not_change_a_byte(tmp_path: Path, months: list[Path]) -> None:
    """File and manifest are the same whichever archive was named first."""
    run("import", *months, "--out", tmp_path / "one")
    run("import", *months[::-1], "--out", tmp_path / "two")

    for name in ("BTC-USDT-1h.parquet", "BTC-USDT-1h.manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_missing_month_is_refused_or_filled_as_told(tmp_path: Path, months: list[Path]) -> None:
    """A gap of a month stops the import unless filling is asked for, and then marks the result."""
    out = tmp_path / "out"
    with pytest.raises(BarsError, match=r"696 bar\(s\) are missing in 1 gap"):
        run("import", months[0], months[2], "--out", out)
    assert not out.exists()

    assert run("import", months[0], months[2], "--out", out, "--gaps", "fill") == 0
    assert json.loads((out / "BTC-USDT-1h.manifest.json").read_text())["grade"] == "C"


def test_a_changed_archive_is_refused(tmp_path: Path, months: list[Path]) -> None:
    """The checksum beside an archive is verified at import."""
    months[1].write_bytes(months[1].read_bytes() + b"\x00")

    with pytest.raises(DataError, match="checksum does not match"):
        run("import", *months, "--out", tmp_path / "out")


def test_import_as_json_and_with_mapping_and_earlier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The manifest is printed; columns are mapped; rows that changed since an earlier import are reported."""
    source = csv_file(tmp_path / "candles.csv")
    run("import", source, "--symbol", "BTC/USDT", "--out", tmp_path / "old")
    text = source.read_text().replace("time,", "moment,", 1).splitlines()
    text[5] = ",".join([*text[5].split(",")[:5], "123.5"])
    source.write_text("\n".join(text))
    capsys.readouterr()

    code = run(
        *(
            "import",
            source,
            "--symbol",
            "BTC/USDT",
            "--column",
            "time=moment",
            "--out",
            tmp_path / "new",
            "--json",
        ),
        *("--earlier", tmp_path / "old" / "BTC-USDT-1h.parquet"),
    )

    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert document["grade"] == "B"
    assert [(one["kind"], one["count"]) for one in document["quality"]["findings"]] == [("revisions", 1)]
    with pytest.raises(ConfigurationError, match="NAME=COLUMN"):
        run("import", source, "--symbol", "BTC/USDT", "--column", "moment")


def test_check_prints_findings_and_a_verdict_and_ends_with_three_below_the_requirement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Good data ends with 0; worse than required with 3; the table names row and time; JSON says the same."""
    good = csv_file(tmp_path / "BTC-USDT-1h.csv")
    assert run("check", good, "--require", "A") == 0
    assert (
        capsys.readouterr().out
        == f"{good}: BTC/USDT 1h, 2184 rows, score 1.000000, grade A: good enough (required A)\n"
    )

    lines = good.read_text().splitlines()
    bad = tmp_path / "bad-BTC-USDT-1h.csv"
    bad.write_text("\n".join([*lines[:10], *lines[12:]]))
    assert run("check", bad) == 3
    shown = capsys.readouterr().out
    assert "gaps" in shown
    assert "11 (2024-01-01T11:00:00Z)" in shown
    assert shown.splitlines()[-1].endswith("grade C: not good enough (required B)")
    assert run("check", bad, "--require", "C") == 0
    capsys.readouterr()
    assert run("check", bad, "--json") == 3
    document = json.loads(capsys.readouterr().out)
    assert (document["grade"], document["passed"], document["findings"][0]["count"]) == ("C", False, 2)


def test_check_needs_no_symbol_knows_the_present_and_remembers_filled_gaps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file without symbol can be judged; an open bar is found with --now; a stored file keeps the grade of
    its import.
    """
    source = csv_file(tmp_path / "candles.csv")
    assert run("check", source) == 0
    assert "symbol unknown 1h" in capsys.readouterr().out
    assert run("check", source, "--now", "2024-03-31T23:30:00Z") == 3
    assert "unclosed_last_bar" in capsys.readouterr().out

    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines[:10], *lines[12:]]))
    run("import", source, "--symbol", "BTC/USDT", "--gaps", "fill", "--out", tmp_path)
    capsys.readouterr()
    assert run("check", tmp_path / "BTC-USDT-1h.parquet") == 3
    assert "grade C (graded at its import" in capsys.readouterr().out


def test_unreadable_files_are_data_errors(tmp_path: Path) -> None:
    """A missing file is no finding but an error of its own exit code."""
    with pytest.raises(DataError, match="no such file") as error:
        run("check", tmp_path / "nothing.csv")

    assert error.value.exit_code == 66


def test_synth_resample_and_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made bars are stored for each symbol, aggregated as the core does it, and listed with range, grade and
    hash.
    """
    out = tmp_path / "data"
    assert run("synth", "--symbol", "BTC/USDT", "--symbol", "ETH/USDT:USDT", "--rows", 100, "--out", out) == 0
    assert run("resample", out / "BTC-USDT-1h.parquet", "--to", "4h", "--out", out) == 0
    hourly, longer = load_bars(out / "BTC-USDT-1h.parquet").bars, load_bars(out / "BTC-USDT-4h.parquet")
    assert longer.bars.content_hash() == resample(hourly, "4h").content_hash()
    assert longer.manifest["source_kind"] == "resampled"
    (out / "foreign.parquet").write_bytes(b"PAR1")
    capsys.readouterr()

    assert run("list", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["file", "symbol", "timeframe", "rows"]
    assert [line.split()[0] for line in lines[1:]] == [
        "BTC-USDT-1h.parquet",
        "BTC-USDT-4h.parquet",
        "ETH-USDT_USDT-1h.parquet",
        "foreign.parquet",
    ]
    assert hourly.content_hash()[:12] in lines[1]
    assert run("list", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)[2]["symbol"] == "ETH/USDT:USDT"


def test_list_of_nothing_and_of_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder is said to be empty; a missing one is an error that tells how to begin."""
    assert run("list", tmp_path) == 0
    assert "no stored candle files" in capsys.readouterr().out
    with pytest.raises(DataError, match="data synth"):
        run("list", tmp_path / "nowhere")


def test_resampling_keeps_the_grade_of_its_source(tmp_path: Path) -> None:
    """Bars made from filled gaps are no better for being longer, and need the same leave."""
    source = csv_file(tmp_path / "BTC-USDT-1h.csv")
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines[:10], *lines[12:]]))

    with pytest.raises(BarsError, match="missing"):
        run("resample", source, "--to", "4h", "--out", tmp_path)
    assert run("resample", source, "--to", "4h", "--gaps", "fill", "--out", tmp_path) == 0
    assert json.loads((tmp_path / "BTC-USDT-4h.manifest.json").read_text())["grade"] == "C"


@pytest.mark.parametrize("verb", ["synth", "import", "fetch", "check", "resample", "list"])
def test_every_verb_explains_itself_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Help names the verb's purpose and shows commands that can be copied."""
    with pytest.raises(SystemExit) as ended:
        run(verb, "--help")

    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"trading-runtime data {verb}" in shown
    assert "examples:" in shown


PROGRAM = """
import argparse, sys
from trading_runtime.cli.data import add_parser
from trading_runtime.core.errors import TradingRuntimeError
parser = argparse.ArgumentParser()
add_parser(parser.add_subparsers(required=True))
arguments = parser.parse_args(sys.argv[1:])
print("begun", flush=True)
try:
    sys.exit(arguments.handler(arguments))
except KeyboardInterrupt:
    sys.exit(130)
except TradingRuntimeError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def test_an_interrupted_import_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C at several moments of an import: the folder holds the whole result or nothing, never a part."""
    sources = []
    day = 1_440
    minutes = synthesize("BTC/USDT", "1m", START, 60 * day, 2)
    for number in range(60):
        piece = minutes.slice(number * day, (number + 1) * day)
        month, date = 1 + number // 31, 1 + number % 31
        path = tmp_path / f"BTCUSDT-1m-2024-{month:02d}-{date:02d}.csv"
        sources.append(csv_file(path, piece))
    out = tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, "data", "import", *map(str, sources), "--out", str(out)]
    stopped = 0
    for wait_seconds in (0.05, 0.2, 0.35, 0.5):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_seconds)  # to be interrupted at different places, whichever they are
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        present = sorted(entry.name for entry in out.iterdir()) if out.exists() else []
        assert present in ([], ["BTC-USDT-1m.manifest.json", "BTC-USDT-1m.parquet"])
        if present:
            assert load_bars(out / "BTC-USDT-1m.parquet").bars.content_hash() == minutes.content_hash()
            break
        assert process.returncode == 130
        stopped += 1
    assert stopped >= 1
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "86400 bars" in finished.stdout


def test_errors_end_with_their_code_and_one_line(tmp_path: Path) -> None:
    """What a shell sees: one line on standard error and the exit code of the error."""
    command = [sys.executable, "-c", PROGRAM, "data", "check", str(tmp_path / "no.csv")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert ended.returncode == 66
    assert ended.stderr.count("\n") == 1


def test_registering_the_verbs_loads_nothing_heavy() -> None:
    """The command line stays quick: numpy and pyarrow come with the verb that needs them."""
    program = (
        "import sys, trading_runtime.cli.data\nprint(sorted({'numpy', 'pyarrow', 'ccxt', 'tqdm'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert shown.stdout.strip() == "[]"


def test_every_command_of_the_document_is_understood() -> None:
    """What docs/data.md shows can be typed: each command parses."""
    document = Path(__file__).parents[1] / "docs" / "data.md"
    prefix = "trading-runtime data "
    lines = [line for line in document.read_text(encoding="utf-8").splitlines() if line.startswith(prefix)]
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))

    assert len(lines) >= 6
    for line in lines:
        assert callable(parser.parse_args(["data", *shlex.split(line.removeprefix(prefix))]).handler)
