"""The command as people meet it: what it prints, where it writes, how it fails, and that it starts anywhere."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import trading_runtime
from trading_runtime.cli.arguments import Parser
from trading_runtime.cli.main import main
from trading_runtime.cli.verbs import make_parser
from trading_runtime.strategies import REGISTERED

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / "trading_runtime/local/local.json"
PARTS = ROOT / "tests/data/parts"
EXAMPLES = [ROOT / "examples" / name for name in ("breakout.json", "buy_and_hold.yaml", "momentum_rotation.json")]
FILES = {"result.json", "journal.jsonl", "equity.parquet", "fills.parquet", "trades.parquet", "chart.parquet"}

Capture = pytest.CaptureFixture[str]

SLOW_STRATEGY = """
import time
from trading_runtime.core.strategy import Strategy
class Slow(Strategy):
    "Never ends."
    def decide(self, inputs):
        print("deciding", flush=True)
        time.sleep(60)  # until it is interrupted
class Wrong(Strategy):
    "Has a defect."
    def decide(self, inputs):
        return 1 / 0
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A short run over bundled data, in a folder of its own."""
    folder = tmp_path / "settings"
    folder.mkdir()
    document = {
        "name": "short",
        "strategy": {"class": "sma_cross", "fast": 10, "slow": 30},
        "data": [{"path": str(PARTS / "BTC-USDT-1h.parquet")}],
        "period": {"start": "2023-01-01", "end": "2023-02-01"},
        "instrument": {"taker_fee_rate": 0.001},
        "output": {"folder": "../out"},
    }
    path = folder / "short.json"
    path.write_text(json.dumps(document))
    return path


def run(capture: Capture, *words: str | Path) -> tuple[int, str, str]:
    """Run a command in this process: exit code, stdout, stderr."""
    code = main([str(word) for word in words])
    done = capture.readouterr()
    return code, done.out, done.err


def process(
    *words: str | Path, cwd: Path = ROOT, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with nothing but what is given in its environment."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=check,
    )


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# --- help


def parsers(parser: Parser, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], Parser]:
    """Every verb with its parser."""
    found = {words: parser}
    for name, below in parser.verbs().items():
        found |= parsers(below, (*words, name))
    return found


PARSERS = parsers(make_parser())


@pytest.mark.parametrize("words", list(PARSERS), ids=" ".join)
def test_every_command_has_help_and_an_example(words: tuple[str, ...]) -> None:
    """A sentence, a help text for every argument, and an example that the parser itself accepts."""
    parser = PARSERS[words]
    assert parser.description
    for action in parser._actions:
        assert action.help or isinstance(action, argparse._SubParsersAction), action.dest
    if words == ("data",):
        return  # its verbs have the examples
    examples = re.findall(r"(?m)^  trading-runtime (.+)$", parser.format_help())
    assert examples
    for example in examples:
        arguments = example.partition(" > ")[0].split()
        if "--help" in arguments:
            continue
        assert arguments[: len(words)] == list(words)
        _, unknown = make_parser().parse_known_args(arguments)
        assert not unknown, example


def test_version_names_the_commit(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image says by variable which commit it was built from."""
    monkeypatch.setenv("TRADING_RUNTIME_COMMIT", "0123456789abcdef0123456789abcdef01234567")
    code, out, _ = run(capsys, "--version")
    assert code == 0
    expected = f"trading-runtime {trading_runtime.__version__} (commit 0123456789abcdef0123456789abcdef01234567)\n"
    assert out == expected


def test_version_and_help_load_only_the_standard_library() -> None:
    """They answer at once, also in a bare clone."""
    for words in (["--version"], ["backtest", "--help"]):
        code = (
            "import sys; from trading_runtime.cli.main import main; "
            f"assert main({words!r}) == 0; "
            "foreign = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names; "
            "print(*sorted(name for name in foreign if not name.startswith(('_', 'distutils'))))"
        )
        done = process("-S", "-c", code, PYTHONPATH=str(ROOT))
        assert done.stdout.splitlines()[-1] == "trading_runtime"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "trading-runtime needs one of backtest, "),
        ("backtst", "trading-runtime has no 'backtst'; did you mean backtest?"),
        ("frobnicate", "trading-runtime has no 'frobnicate' (it has backtest, "),
        ("backtest", "trading-runtime backtest needs --config"),
        (
            "backtest --confg x.json",
            "trading-runtime backtest has no option --confg; did you mean --config?",
        ),
        ("backtest --config=x --jsn", "trading-runtime backtest has no option --jsn; did you mean --json?"),
        ("backtest --conf x.json", "trading-runtime backtest has no option --conf; did you mean --config?"),
        ("backtest --config x.json extra", "trading-runtime backtest does not take 'extra'"),
        ("strategies", "trading-runtime strategies needs one of list, show"),
        ("strategies lst", "trading-runtime strategies has no 'lst'; did you mean list?"),
        ("strategies show", "trading-runtime strategies show needs NAME"),
        ("compare one", "trading-runtime compare needs RESULT"),
        ("data chek", "trading-runtime data has no 'chek'; did you mean check?"),
        ("data check --require Z file", "--require must be one of A, B, C, D, not 'Z'"),
        ("config shw", "trading-runtime config has no 'shw'; did you mean show?"),
        ("verify", "trading-runtime verify needs "),
    ],
)
def test_a_wrong_word_is_answered_in_one_line(capsys: Capture, words: str, expected: str) -> None:
    """Exit code 2, the nearest right word, and where the help is."""
    code, out, err = run(capsys, *words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {expected}")
    assert err.count("\n") == 1


# --- backtest


def test_a_backtest_prints_a_table_and_writes_a_folder(capsys: Capture, config: Path) -> None:
    """What ran, how it went beside buying and holding, and where everything is."""
    code, out, err = run(capsys, "backtest", "--config", config)
    folder = config.parent.parent / "out"
    assert (code, err) == (0, "")
    assert {path.name for path in folder.iterdir()} >= {*FILES, "report.html"}
    result = json.loads((folder / "result.json").read_text())
    assert result["name"] == "short"
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert lines["strategy"].endswith("SmaCross (fast 10, slow 30, weight 0.95)")
    assert "2023-01-01 to 2023-02-01, 744 bars of 1h" in lines["period"]
    assert "grade A" in lines["data"]
    assert "buy and hold" in out
    assert f"{abs(result['metrics']['total_return_fraction']) * 100:.2f}%" in lines["Total return"]
    assert f"{abs(result['metrics']['benchmark_return_fraction']) * 100:.2f}%" in lines["Total return"]
    assert result["digest"] in lines["digest"]
    assert str(folder) in lines["result"]
    assert str(folder / "report.html") in lines["report"]


def test_json_goes_to_stdout_alone(capsys: Capture, config: Path, tmp_path: Path) -> None:
    """A program reads stdout; people read stderr."""
    out_folder = tmp_path / "elsewhere"
    code, out, err = run(capsys, "backtest", "--config", config, "--json", "--no-report", "--out", out_folder)
    assert code == 0
    assert json.loads(out) == json.loads((out_folder / "result.json").read_text())
    assert not (out_folder / "report.html").exists()
    assert err == f"result: {out_folder}\n"
    assert not (tmp_path / "out").exists()


def test_overrides_and_environment_reach_the_run(
    capsys: Capture, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parameter that matters changes the result."""
    command = ("backtest", "--config", config, "--no-report", "--json")
    first = json.loads(run(capsys, *command)[1])
    monkeypatch.setenv("TRADING_RUNTIME__ACCOUNT__CASH", "5000")
    second = json.loads(run(capsys, *command, "--set", "strategy.fast=20")[1])
    assert second["strategy"]["params"]["fast"] == 20
    assert second["account"]["start_cash"] == 5000.0
    assert first["digest"] != second["digest"]
    assert first["config_hash"] != second["config_hash"]


def test_another_strategy_is_named_on_the_command_line(
    capsys: Capture, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, by module, or as a file beside the one who asks; the first one's parameters are not its own."""
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas/idea.py").write_text(
        "from trading_runtime.strategies.buy_and_hold import BuyAndHold\nclass Idea(BuyAndHold):\n    'An idea.'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in (
        "buy_and_hold",
        "trading_runtime.strategies.buy_and_hold:BuyAndHold",
        "ideas/idea.py:Idea",
        "ideas.idea:Idea",
    ):
        code, out, err = run(capsys, "backtest", "--config", config, "--strategy", name, "--json", "--no-report")
        assert code == 0, err
        assert json.loads(out)["strategy"]["params"] == {"weight": 0.95}


def test_a_result_is_replaced_and_other_files_are_not(capsys: Capture, config: Path, tmp_path: Path) -> None:
    """A folder that holds something else is never touched."""
    command = ("backtest", "--config", config, "--no-report")
    assert run(capsys, *command)[0] == 0
    (tmp_path / "out/report.html").write_text("old")
    assert run(capsys, *command)[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    code, _, err = run(capsys, *command, "--out", tmp_path / "mine")
    assert code == 73
    assert "holds other files" in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_the_digest_does_not_depend_on_place_name_hash_seed_threads_or_path_of_the_engine(
    config: Path, tmp_path: Path
) -> None:
    """The same computation, started in different ways."""
    digests = set()
    for index, (seed, threads, changes) in enumerate(
        (
            ("0", "1", []),
            ("1", "2", ["--set", "name=other", "--set", "engine.path=general"]),
            ("2", "1", ["--set", "output.report=false"]),
        )
    ):
        folder = tmp_path / f"run-{index}"
        done = process(
            "-m",
            "trading_runtime",
            "backtest",
            "--config",
            config,
            "--no-report",
            "--json",
            "--out",
            folder,
            *changes,
            PYTHONHASHSEED=seed,
            OPENBLAS_NUM_THREADS=threads,
            PYTHONPATH=str(ROOT),
        )
        digests.add(json.loads(done.stdout)["digest"])
    assert len(digests) == 1


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_run(capsys: Capture, path: Path, tmp_path: Path) -> None:
    """Each bundled configuration trades."""
    code, out, _ = run(capsys, "backtest", "--config", path, "--out", tmp_path / "out", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["metrics"]["fills"] > 0
    assert result["warnings"] == []
    assert (tmp_path / "out/report.html").stat().st_size > 10_000


# --- what goes wrong

WRONG_RUNS: list[tuple[list[str], int, str]] = [
    (["--set", "acount.cash=1"], 77, "acount is not a setting; did you mean 'account'?"),
    (["--set", "account.cash=-1"], 77, "account.cash must be above 0"),
    (["--set", "nonsense"], 77, "write --set section.key=value"),
    (["--set", "data=[]"], 77, "data is empty"),
    (["--set", "data.0.path=nowhere.parquet"], 66, "there is no such file"),
    (["--set", "data.0.path=."], 66, "settings"),
    (["--set", "period={}", "--set", "period.start=2030-01-01"], 77, "no bar lies in the period"),
    (["--set", "period.end=2023-01-02"], 66, "bars before its first decision"),
    (["--set", "data.0.symbol=ETH/USDT"], 66, "holds symbol BTC/USDT, not ETH/USDT"),
    (["--set", "instruments.BTC/USD.tick=1"], 77, "did you mean 'BTC/USDT'?"),
    (["--set", "strategy.fats=1"], 77, "unknown parameter 'fats'; did you mean 'fast'?"),
    (["--set", "strategy.fast=0"], 77, "parameter 'fast' must be at least"),
    (["--set", "strategy.class=sma_crss"], 77, "did you mean 'sma_cross'?"),
    (["--strategy", "nowhere.py:X"], 77, "there is no such file"),
    (["--strategy", "json:JSONDecoder"], 70, "does not inherit"),
    (["--set", "strategy.class=breakout", "--set", "engine.path=compiled"], 77, "unknown parameter"),
]


@pytest.mark.parametrize(("words", "code", "expected"), WRONG_RUNS, ids=[" ".join(w) for w, _, _ in WRONG_RUNS])
def test_bad_input_is_one_line_an_exit_code_and_no_file(
    capsys: Capture, config: Path, tmp_path: Path, words: list[str], code: int, expected: str
) -> None:
    """What, where, what to do; and nothing is left behind."""
    before = everything(tmp_path)
    found, out, err = run(capsys, "backtest", "--config", config, *words)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert expected in err
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing.json", None, "there is no such file"),
        ("broken.json", '{"strategy": ', "line 1 column 14"),
        ("broken.yaml", "strategy: [", "line 1 column 12"),
        ("other.ini", "x=1", "ends in .json, .yaml or .yml"),
    ],
)
def test_a_bad_file_is_one_line_and_names_the_file(
    capsys: Capture, tmp_path: Path, name: str, content: str | None, expected: str
) -> None:
    """Every verb that takes a configuration says the same."""
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    before = everything(tmp_path)
    for verb in (("backtest",), ("config", "show")):
        code, out, err = run(capsys, *verb, "--config", path)
        assert (code, out) == (77, "")
        assert err.startswith(f"error: {path}: ")
        assert expected in err
        assert err.count("\n") == 1
    assert everything(tmp_path) == before


def test_a_bad_variable_is_told(capsys: Capture, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelled variable would be a setting that silently has no effect."""
    monkeypatch.setenv("TRADING_RUNTIME__ACCOUNT__CASSH", "1")
    code, _, err = run(capsys, "backtest", "--config", config)
    assert code == 77
    assert "did you mean TRADING_RUNTIME__ACCOUNT__CASH?" in err


def test_what_only_shows_in_the_build_names_the_file_too(capsys: Capture, config: Path) -> None:
    """Strategy parameters, symbols and periods are settings like others."""
    _, _, err = run(capsys, "backtest", "--config", config, "--set", "strategy.fats=1")
    assert err.startswith(f"error: {config}: strategy sma_cross: ")


def test_an_error_in_a_strategy_names_its_line(config: Path, tmp_path: Path) -> None:
    """What a strategy raises is told in one line: whose decide, what, in which line of which file, at which bar."""
    (tmp_path / "strategies.py").write_text(SLOW_STRATEGY)
    done = process(
        "-m",
        "trading_runtime",
        "backtest",
        "--config",
        config,
        "--strategy",
        tmp_path / "strategies.py:Wrong",
        check=False,
        PYTHONPATH=str(ROOT),
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 70
    assert line.startswith("error: Wrong.decide raised ZeroDivisionError: division by zero (strategies.py:")
    assert "at 20" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing(config: Path, tmp_path: Path, number: int, code: int) -> None:
    """Ctrl-C, and the SIGTERM that ends a pod."""
    (tmp_path / "strategies.py").write_text(SLOW_STRATEGY)
    before = {path for path in everything(tmp_path) if "__pycache__" not in path.parts}
    words = [
        "-m",
        "trading_runtime",
        "backtest",
        "--config",
        config,
        "--strategy",
        tmp_path / "strategies.py:Slow",
    ]
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "deciding\n"
        running.send_signal(number)
        _, err = running.communicate(timeout=20)
    assert running.returncode == code
    assert err == "interrupted: nothing was left half-written\n"
    assert {path for path in everything(tmp_path) if "__pycache__" not in path.parts} == before


def test_a_reader_that_leaves_is_no_error() -> None:
    """``trading-runtime config schema | head -1``."""
    with subprocess.Popen(
        [sys.executable, "-m", "trading_runtime", "config", "schema"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        err = running.stderr.read()
        running.wait(timeout=20)
    assert (running.returncode, err) == (141, "")


@pytest.mark.parametrize("library", ["numpy", "msgspec"])
def test_a_missing_library_is_told_with_the_way_to_install_it(library: str) -> None:
    """What somebody sees who starts a bare clone."""
    code = (
        f"import sys; sys.modules[{library!r}] = None; from trading_runtime.cli.main import main; "
        f"sys.exit(main(['backtest', '--config', {str(LOCAL)!r}]))"
    )
    done = process("-c", code, check=False, PYTHONPATH=str(ROOT))
    assert done.returncode == 77
    assert done.stderr.startswith(f"error: {library} is not installed; ")
    assert "make run" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_without_unicode_still_gets_its_table(config: Path) -> None:
    """Figures contain a minus sign and dashes that ASCII lacks."""
    done = process(
        "-m",
        "trading_runtime",
        "backtest",
        "--config",
        config,
        "--no-report",
        PYTHONPATH=str(ROOT),
        PYTHONIOENCODING="ascii",
    )
    assert "Total return" in done.stdout


# --- strategies, config, report


def test_strategies_are_listed_with_what_they_do(capsys: Capture) -> None:
    """As a table and as JSON."""
    code, out, _ = run(capsys, "strategies", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(REGISTERED)
    listed = json.loads(run(capsys, "strategies", "list", "--json")[1])
    assert {one["name"]: one["class"] for one in listed} == REGISTERED
    assert all(one["summary"] for one in listed)


@pytest.mark.parametrize("name", list(REGISTERED))
def test_a_strategy_is_shown_whole(capsys: Capture, name: str) -> None:
    """Docstring, parameters with their limits, columns, bars needed, code hash."""
    code, out, _ = run(capsys, "strategies", "show", name)
    assert code == 0
    shown: dict[str, Any] = json.loads(run(capsys, "strategies", "show", name, "--json")[1])
    assert shown["description"].splitlines()[0] in out
    for parameter, one in shown["parameters"].items():
        assert re.search(rf"(?m)^{parameter} +{re.escape(str(one['default']))} ", out)
        assert one["help"] in out
    for column in shown["columns"]:
        assert re.search(rf"(?m)^  {column} ", out)
    assert f"bars needed  {shown['bars_needed']} of 1h" in out
    assert shown["code_hash"] in out


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["sma_cros"], 77, "did you mean 'sma_cross'?"),
        (["sma_cross", "--timeframe", "1hh"], 77, "did you mean '1h'?"),
        (["json:JSONDecoder"], 70, "does not inherit"),
    ],
)
def test_a_strategy_that_cannot_be_shown_says_why(capsys: Capture, words: list[str], code: int, expected: str) -> None:
    """One line each."""
    found, out, err = run(capsys, "strategies", "show", *words)
    assert (found, out) == (code, "")
    assert expected in err
    assert err.count("\n") == 1


def test_config_show_says_what_is_in_effect_and_why(
    capsys: Capture, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters that nobody wrote are there too, with the strategy's defaults."""
    monkeypatch.setenv("TRADING_RUNTIME__ACCOUNT__CASH", "5000")
    command = ("config", "show", "--config", config, "--set", "execution.latency_bars=2")
    code, out, _ = run(capsys, *command)
    assert code == 0
    rows = {line.split()[0]: line.split(None, 2)[1:] for line in out.splitlines() if line}
    assert rows["account.cash"] == ["5000.0", "environment TRADING_RUNTIME__ACCOUNT__CASH"]
    assert rows["execution.latency_bars"] == ["2", "--set"]
    assert rows["strategy.fast"] == ["10", "file"]
    assert rows["strategy.weight"] == ["0.95", "default"]
    document = json.loads(run(capsys, *command, "--json")[1])
    assert document["settings"]["strategy"] == {
        "class": "sma_cross",
        "fast": 10,
        "slow": 30,
        "weight": 0.95,
    }
    assert document["origins"]["strategy.weight"] == "default"
    assert document["config_hash"] in out


def test_the_schema_is_printed(capsys: Capture) -> None:
    """Ready to be written into a file."""
    code, out, _ = run(capsys, "config", "schema")
    assert code == 0
    assert out == (ROOT / "docs/configuration.schema.json").read_text(encoding="utf-8")


def test_a_report_is_made_again_anywhere(
    capsys: Capture, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the folder or its result.json; its path is printed as one can paste it."""
    monkeypatch.chdir(tmp_path)
    run(capsys, "backtest", "--config", config)
    first = (tmp_path / "out/report.html").read_bytes()
    (tmp_path / "out/report.html").unlink()
    assert run(capsys, "report", "out")[:2] == (0, "out/report.html\n")
    assert (tmp_path / "out/report.html").read_bytes() == first
    assert run(capsys, "report", "out/result.json", "--out", "copy.html")[:2] == (0, "copy.html\n")
    assert (tmp_path / "copy.html").read_bytes() == first


@pytest.mark.parametrize("verb", ["report", "compare"])
def test_what_is_no_result_is_refused(capsys: Capture, tmp_path: Path, verb: str) -> None:
    """A missing folder, another one, a damaged one."""
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/result.json").write_text("{")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/result.json").write_text("{}")
    for name, expected in (
        ("nowhere", "there is no such result"),
        ("", "is no result: it holds no result.json"),
        ("damaged", "result.json"),
        ("other", "result.json"),
    ):
        before = everything(tmp_path)
        words = [tmp_path / name] * (2 if verb == "compare" else 1)
        code, out, err = run(capsys, verb, *words)
        assert (code, out) == (66, "")
        assert expected in err
        assert err.count("\n") == 1
        assert everything(tmp_path) == before


# --- started in every way


@pytest.mark.parametrize("way", ["path", "module", "relative"])
def test_the_local_backtest_starts_from_any_folder(tmp_path: Path, way: str) -> None:
    """As published: by its path, without the package being installed; or as a module."""
    script = ROOT / "trading_runtime/local/backtest.py"
    words: dict[str, tuple[list[str | Path], Path, dict[str, str]]] = {
        "path": ([script, "--config", LOCAL], tmp_path, {}),
        "module": (
            ["-m", "trading_runtime.local.backtest", "--config", LOCAL],
            tmp_path,
            {"PYTHONPATH": str(ROOT)},
        ),
        "relative": (["local/backtest.py", "--config", "local/local.json"], ROOT / "trading_runtime", {}),
    }
    arguments, cwd, environment = words[way]
    done = process(
        *arguments,
        "--out",
        tmp_path / "out",
        "--set",
        "period.end=2023-03-01",
        "--no-report",
        cwd=cwd,
        **environment,
    )
    assert "Total return" in done.stdout
    assert (tmp_path / "out/result.json").is_file()


def test_the_local_backtest_has_the_options_of_backtest() -> None:
    """One command, two ways to start it."""
    script = ROOT / "trading_runtime/local/backtest.py"
    by_path = process(script, "--help", COLUMNS="100").stdout
    by_module = process("-m", "trading_runtime", "backtest", "--help", COLUMNS="100").stdout
    assert by_path == by_module


def test_numpy_starts_no_threads_of_its_own() -> None:
    """Set before numpy is imported, and not over what somebody has set."""
    code = "import os; import trading_runtime.cli.main; print(os.environ['OPENBLAS_NUM_THREADS'])"
    assert process("-c", code, PYTHONPATH=str(ROOT)).stdout == "1\n"
    assert process("-c", code, PYTHONPATH=str(ROOT), OPENBLAS_NUM_THREADS="3").stdout == "3\n"


def test_version_loads_nothing_heavy() -> None:
    """What a person waits for is imports: none of the libraries is needed to say who one is."""
    code = (
        "import sys; from trading_runtime.cli.main import main; main(['--version']); "
        "print(sorted({'numpy', 'pyarrow', 'msgspec', 'numba', 'ccxt'} & set(sys.modules)))"
    )
    assert process("-c", code, PYTHONPATH=str(ROOT)).stdout.splitlines()[-1] == "[]"
