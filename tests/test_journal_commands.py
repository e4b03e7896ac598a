"""The verbs that read journals: journal verify, show and export, replay and compare-live, on a store made by cycles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trading_runtime.cli.main import main
from trading_runtime.config.load import load_cycle_settings
from trading_runtime.core.hashing import canonical_json
from trading_runtime.cycle.build import open_parts
from trading_runtime.cycle.run import run_cycle
from trading_runtime.data.files import load_bars
from trading_runtime.stores.envelope import open_sealed, seal
from trading_runtime.stores.sqlite import SqliteDocuments
from trading_runtime.telemetry.log import EventLog

ROOT = Path(__file__).resolve().parents[1]
CANDLES = ROOT / "tests/data/parts/BTC-USDT-1h.parquet"
CYCLES = 40

# The same parameters as the strategy that decided, and another decision.
CONTRARY = """
from trading_runtime.core.intents import target
from trading_runtime.core.strategy import Proposal
from trading_runtime.strategies.sma_cross import SmaCross


class Contrary(SmaCross):
    targets = None

    def decide(self, inputs):
        return Proposal([target(inputs.symbol, 0.0, reason="contrary")])
"""

Run = Callable[..., tuple[int, str, str]]


def settings(candles: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "trading_runtime/local/paper.json").read_text(encoding="utf-8"))
    content["strategy"] = {"class": "sma_cross", "fast": 5, "slow": 20}
    content["feed"]["files"] = [{"path": str(candles)}]
    content["store"] = {"kind": "sqlite", "path": "state.sqlite"}
    content["output"] = {"folder": "cycles"}
    return content


def run_cycles(config: Path, count: int, **changed: Any) -> None:
    loaded = load_cycle_settings(config, [f"{key}={value}" for key, value in changed.items()], {})
    parts = open_parts(loaded, "paper", {}, "test", EventLog(level="off"))
    try:
        for number in range(count):
            report = run_cycle(parts.job, None, f"run {number}")
            assert report.status == "done", report.reason
    finally:
        parts.documents.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two sessions: the second begins where a setting changed."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "paper.json").write_text(json.dumps(settings(CANDLES)))
    run_cycles(folder / "paper.json", CYCLES)
    run_cycles(folder / "paper.json", 3, **{"risk.missed_slots_max": 5})
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy that a test may harm."""
    shutil.copytree(prepared, tmp_path / "paper")
    return tmp_path / "paper"


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str, config: bool = True) -> tuple[int, str, str]:
        capsys.readouterr()
        options = ["--config", str(folder / "paper.json")] if config else []
        code = main([*words, *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def sessions(run: Run) -> list[dict[str, Any]]:
    code, out, _ = run("journal", "show", "--json")
    assert code == 0
    found: list[dict[str, Any]] = json.loads(out)
    return found


def entry_path(session: str, sequence: int) -> str:
    return f"journal/paper.SmaCross/sessions/{session}/entries/{sequence:08}"


def alter(folder: Path, session: str, sequence: int) -> None:
    """Change one entry by somebody who knows the format: its own checksum fits."""
    documents = SqliteDocuments(folder / "state.sqlite", create=False)
    path = entry_path(session, sequence)
    there = documents.read(path)
    assert there is not None
    content = open_sealed(path, there.content, 1).content
    content["time"] = "1999-01-01T00:00:00Z"
    documents.replace(path, seal(path, content, 1)[0], there.version)
    documents.close()


def test_show_lists_the_sessions_with_what_they_are_of(run: Run) -> None:
    found = sessions(run)
    assert [one["newest"] for one in found] == [False, True]
    assert [one["mode"] for one in found] == ["paper", "paper"]
    assert found[0]["entries"] > 3 * CYCLES
    code, out, _ = run("journal", "show")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["session", "entries", "first", "slot", "mode", "market", "strategy", "commit"]
    assert found[0]["session"] in lines[1]
    assert "trading_runtime.strategies.sma_cross:SmaCross" in lines[1]


def test_show_lists_entries_narrowed_by_kind_and_slot(run: Run) -> None:
    first = sessions(run)[0]["session"]
    code, out, _ = run("journal", "show", "--session", first, "--kind", "decision", "--json")
    assert code == 0
    decisions = json.loads(out)
    assert len(decisions) == CYCLES
    slot = "2023-06-04T00:00:00Z"
    _, out, _ = run("journal", "show", "--session", first, "--slot", slot)
    rows = [line.split()[1] for line in out.splitlines()[1:]]
    assert rows == ["decision", "events", "cycle"]
    assert all(slot in line for line in out.splitlines()[1:])


def test_one_entry_is_shown_whole_and_an_unknown_one_is_named(run: Run) -> None:
    code, out, _ = run("journal", "show", "--entry", "1")
    assert code == 0
    entry = json.loads(out)
    assert entry["sequence"] == 1
    assert {"rows", "seen", "context", "decision"} == entry["content"].keys()
    code, _, err = run("journal", "show", "--entry", "9999")
    assert code == 66
    assert "has no entry 9999: the last one is " in err


def test_verify_finds_nothing_wrong_with_what_cycles_wrote(run: Run) -> None:
    code, out, _ = run("journal", "verify")
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines()] == ["verdict", "intact", "intact"]


@pytest.mark.parametrize("which", [0, 1], ids=["earlier session", "newest session"])
@pytest.mark.parametrize("last", [True, False], ids=["last entry", "an entry"])
def test_verify_names_an_entry_that_was_altered(folder: Path, run: Run, which: int, last: bool) -> None:
    session = sessions(run)[which]
    sequence = session["entries"] - 1 if last else 4
    alter(folder, session["session"], sequence)
    code, out, _ = run("journal", "verify")
    assert code == 3
    assert f"{session['session']}: entry {sequence}: altered" in out
    code, out, _ = run("journal", "verify", "--json")
    assert code == 3
    found = {one["session"]: one["findings"] for one in json.loads(out)["sessions"]}
    assert [finding["sequence"] for finding in found[session["session"]]] == [sequence]
    other = sessions(run)[1 - which]["session"]
    assert found[other] == []


def test_an_exported_session_is_verified_shown_and_replayed_without_a_store(
    folder: Path, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "session.jsonl"
    first = sessions(run)[0]
    code, out, err = run("journal", "export", "--session", first["session"], "--output", str(path))
    assert (code, out) == (0, "")
    assert f"{first['entries']:,} entries" in err
    (folder / "state.sqlite").unlink()
    code, out, _ = run("journal", "verify", "--journal", str(path), config=False)
    assert code == 0
    assert "intact" in out
    code, out, _ = run("journal", "show", "--journal", str(path), "--kind", "session", config=False)
    assert code == 0
    assert len(out.splitlines()) == 2
    code, out, _ = run("replay", "--journal", str(path), config=False)
    assert code == 0
    assert f"{CYCLES} decided again" in out
    code, out, _ = run("compare-live", "--journal", str(path), config=False)
    assert code == 0
    assert "every decision is the backtest's" in out
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[4:]))
    code, out, _ = run("journal", "verify", "--journal", str(path), config=False)
    assert code == 3
    assert "missing: entry 3" in out
    code, _, err = run("replay", "--journal", str(path), config=False)
    assert code == 78
    assert err == "error: line 4: entry 4 does not follow the line before it\n"


def test_export_to_standard_output_is_the_file(
    folder: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "session.jsonl"
    assert main(["journal", "export", "--config", str(folder / "paper.json"), "--output", str(path)]) == 0
    capfdbinary.readouterr()
    assert main(["journal", "export", "--config", str(folder / "paper.json")]) == 0
    assert capfdbinary.readouterr().out == path.read_bytes()


def test_replay_decides_all_or_one_slot_again(run: Run) -> None:
    first = sessions(run)[0]["session"]
    code, out, _ = run("replay", "--session", first, "--all", "--json")
    assert code == 0
    replay = json.loads(out)
    assert (replay["same"], replay["decisions"], replay["chain"]) == (True, CYCLES, None)
    code, out, _ = run("replay", "--session", first, "--slot", "2023-06-04T00:00:00Z")
    assert code == 0
    assert "1 decided again" in out
    code, _, err = run("replay", "--session", first, "--slot", "2030-01-01T00:00:00Z")
    assert code == 66
    assert "has no decision for 2030-01-01T00:00:00Z" in err
    code, out, _ = run("replay")
    assert code == 0
    assert "3 decided again" in out


def test_replay_with_another_strategy_ends_with_3_and_names_the_field(run: Run, tmp_path: Path) -> None:
    (tmp_path / "contrary.py").write_text(CONTRARY)
    first = sessions(run)[0]["session"]
    code, _, err = run("replay", "--session", first, "--strategy", "buy_and_hold")
    assert code == 77
    assert "does not take the recorded parameters" in err
    code, out, _ = run("replay", "--session", first, "--strategy", f"{tmp_path}/contrary.py:Contrary")
    assert code == 3
    assert "changed: " in out
    assert "intents.0" in out


def test_compare_live_shows_both_results_and_takes_other_data(run: Run, tmp_path: Path) -> None:
    first = sessions(run)[0]["session"]
    code, out, _ = run("compare-live", first)
    assert code == 0
    assert "difference    +0.00000000" in out
    code, out, _ = run("compare-live", first, "--data", str(CANDLES), "--json")
    assert code == 0
    content = json.loads(out)
    assert content["difference"] == 0
    assert content["live"] == content["backtest"] != 0
    revised = tmp_path / "revised.csv"
    bars = load_bars(CANDLES).bars
    columns = [getattr(bars, name).tolist() for name in ("open_time", "open", "high", "low", "volume")]
    lines = ["time,open,high,low,close,volume"]
    for time, opening, high, low, volume in zip(*columns, strict=True):
        lines.append(f"{time},{opening!r},{high * 1.001!r},{low!r},{high * 1.001!r},{volume!r}")
    revised.write_text("\n".join(lines))
    code, out, _ = run("compare-live", first, "--data", str(revised), "--json")
    assert code == 0
    content = json.loads(out)
    assert content["difference"] == sum(line["amount"] for line in content["lines"]) != 0
    assert content["unexplained"] == 0
    assert all("its bars were others" in one["reasons"] for one in content["differing"])
    code, out, _ = run("compare-live", first, "--data", str(revised))
    assert code == 0
    assert "for a recorded reason" in out


def test_looking_makes_no_store_and_writes_nothing(folder: Path, run: Run) -> None:
    before = stored(folder)
    for words in (["journal", "verify"], ["journal", "show"], ["replay"], ["compare-live"]):
        assert run(*words)[0] == 0
    assert stored(folder) == before
    (folder / "state.sqlite").unlink()
    for words in (["journal", "verify"], ["journal", "show"], ["journal", "export"], ["replay"], ["compare-live"]):
        code, _, err = run(*words)
        assert code == 75
        assert err == f"error: {folder / 'state.sqlite'}: there is no such store\n"
    assert not (folder / "state.sqlite").exists()


def stored(folder: Path) -> bytes:
    """Every document and its version."""
    import sqlite3

    with sqlite3.connect(folder / "state.sqlite") as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        content = {
            name: [list(map(repr, row)) for row in connection.execute(f'select * from "{name}"')] for name in tables
        }
    connection.close()
    assert sum(map(len, content.values())) > CYCLES
    return canonical_json(content)


def test_what_is_not_there_is_told_in_one_line(folder: Path, run: Run, tmp_path: Path) -> None:
    first = sessions(run)[0]["session"]
    cases = [
        (("replay", "--session", first[:-1] + "x"), 66, f"did you mean {first}?"),
        (("compare-live", "nothing"), 66, "has no session 'nothing'"),
        (("journal", "show", "--journal", str(tmp_path / "none.jsonl")), 66, "cannot be read"),
        (("replay", "--journal", str(tmp_path / "none.jsonl")), 66, "cannot be read"),
        (("journal", "export", "--output", str(folder / "paper.json" / "x")), 73, "cannot be written"),
        (("journal", "show", "--set", "account.name=other"), 0, ""),
        (("replay", "--set", "account.name=other"), 66, "is empty: no cycle has decided in this store"),
    ]
    for words, expected, message in cases:
        code, _, err = run(*words)
        assert code == expected, (words, err)
        assert message in err
        assert err.count("\n") <= 1
    code, _, err = run("replay", config=False)
    assert code == 77
    assert "give --config FILE" in err
