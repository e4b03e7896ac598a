"""The README says what is: every command in it is one, every link leads somewhere, every verb is mentioned."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from trading_runtime.cli.main import main
from trading_runtime.cli.verbs import make_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if path.is_file()]


def commands() -> list[str]:
    """Every line of a shell block that calls the program, and every one in back quotes."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    found = [line.split("#")[0].strip() for line in lines if "trading-runtime " in line]
    return [command.removeprefix(".venv/bin/") for command in found]


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_readme_is_one(command: str) -> None:
    """The program's own parser accepts it."""
    words = shlex.split(command)

    assert words[0] == "trading-runtime"
    assert make_parser().parse_args(words[1:]).handler is not None


def test_the_readme_shows_every_verb() -> None:
    """A verb that nobody can find does not exist."""
    verbs = re.findall(r"^    (\w+)", make_parser().format_help(), flags=re.MULTILINE)

    assert len(verbs) >= 7
    assert [verb for verb in verbs if f"trading-runtime {verb}" not in README] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link names a file that exists."""
    text = document.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]

    assert [link for link in links if link and not (document.parent / link).exists()] == []


def test_the_readme_has_no_holes() -> None:
    """Nothing that was to be filled in is left."""
    assert "<<" not in README


def test_the_readmes_sweep_prints_what_the_readme_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every line, the digest and the sweep's id too; what is not shown are the other ranks and files."""
    command = next(one for one in commands() if one.startswith("trading-runtime sweep run --config"))
    shown = README.split(command, 1)[1].split("```")[2].strip().splitlines()
    words = shlex.split(command)[1:]
    words[words.index("--config") + 1] = str(ROOT / words[words.index("--config") + 1])
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    printed = capsys.readouterr().out.splitlines()

    assert len(shown) > 5
    assert [line for line in shown if line not in printed] == []
