"""The code hash: insensitive to looks, sensitive to code, the same on every Python, over everything a class reaches."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from trading_runtime import source
from trading_runtime.core.errors import StrategyError
from trading_runtime.source import canonical_source, closure_files, strategy_code_hash
from trading_runtime.strategies.registry import find_strategy
from trading_runtime.strategies.sma_cross import SmaCross

ROOT = Path(__file__).resolve().parent.parent

SAMPLE = '''
"""A module."""
import math
from typing import TYPE_CHECKING

LIMIT = 10_000
RATE = 1e-3


class Thing(dict):
    """What it is."""

    size: int = 3
    "what size means"

    def area(self, width, *, height=2.0, **rest):
        """Multiply."""
        # a comment
        if width > LIMIT and not rest:
            return f"{width!r:>{height}} of {math.pi:.3f} {{x}}"
        return [item * height for item in range(width) if item % 2 == 1]
'''


def test_looks_do_not_count() -> None:
    """Comments, docstrings, white space, quoting, line breaks, parentheses and number spellings change nothing."""
    other = '''
import math
from typing import (
    TYPE_CHECKING,  # a comment
)
LIMIT = 10000
RATE = 0.001
class Thing(dict):
    """Something else entirely."""
    size: int = 3
    def area(self, width, *, height = 2.0, **rest):
        if (width > LIMIT) and (not rest):


            return f'{width!r:>{height}} of ' f"{math.pi:.3f} {{x}}"
        return [
            item * height
            for item in range(width)
            if item % 2 == 1
        ]
'''
    assert canonical_source(SAMPLE) == canonical_source(other)


CHANGES = [
    ("10_000", "10_001"),
    ("1e-3", "1e-4"),
    ("RATE = 1e-3", "RATE = 1"),
    ("(dict)", "(list)"),
    ("size: int = 3", "size: int = 3.0"),
    ("size: int = 3", "size: float = 3"),
    ("height=2.0", "height=3.0"),
    ("*, height", "height"),
    ("**rest", "**more"),
    ("width > LIMIT", "width >= LIMIT"),
    ("width > LIMIT", "LIMIT > width"),
    (" and not", " or not"),
    ("!r", "!s"),
    ("!r", ""),
    (":.3f", ":.4f"),
    ("{{x}}", "{x}"),
    (" of ", " off "),
    ("[item * height for item in range(width) if item % 2 == 1]", "{item * height for item in range(width)}"),
    ("import math\n", "import math as math2\n"),
    ("import math\n", "import cmath\n"),
    ("TYPE_CHECKING\n", "TYPE_CHECKING\nfrom typing import Any\n"),
    ("LIMIT = 10_000\nRATE = 1e-3\n", "RATE = 1e-3\nLIMIT = 10_000\n"),
    ("def area", "async def area"),
    ("    size: int = 3", "    size: int = True"),
]


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_every_change_of_code_counts(old: str, new: str) -> None:
    """Values, types, operators, order, names, defaults and formats each change the canonical text."""
    changed = SAMPLE.replace(old, new)
    assert changed != SAMPLE
    assert canonical_source(changed) != canonical_source(SAMPLE)


def test_texts_that_a_careless_writer_confuses_stay_apart() -> None:
    """1 and True, 1 and 1.0, text and bytes, empty containers, and joined names."""
    snippets = [
        "x = 1", "x = 1.0", "x = True", "x = '1'", "x = b'1'", "x = 1j", "x = None", "x = ...", "x = -1",
        "x = ()", "x = []", "x = {}", "x = (1,)", "x = [1]", "x = {1}", "x = {1: 1}", "x = {**{1: 1}}",
        "f(a, b)", "f(a)(b)", "f(*a, b)", "f(a=b)", "f(**a)", "x = y[1:]", "x = y[:1]", "x = y[1::]  ; pass",
        "x = a if b else c", "x = b if a else c", "x = f'{a}{b}'", "x = f'{a} {b}'", "x = f'{a:{b}}'",
        "x = 1e999", "x = 0.1 + 0.2", "x = 0.30000000000000004", "x = '\\ud800'",
    ]  # fmt: skip
    texts = [canonical_source(snippet) for snippet in snippets]
    assert len(set(texts)) == len(texts)
    assert canonical_source(f"x = 0x{'f' * 5000}") != canonical_source(f"x = 0x{'f' * 4999}e")


def test_the_canonical_text_is_the_same_on_every_python() -> None:
    """All files of the project and files of this Python's own library, hashed by each supported version."""
    script = textwrap.dedent(
        """
        import hashlib, json, sys
        sys.path.insert(0, sys.argv[1])
        from trading_runtime.source import canonical_source
        sys.setrecursionlimit(10_000)
        digests = {}
        for path in sys.stdin.read().splitlines():
            with open(path, encoding="utf-8") as file:
                try:
                    text = canonical_source(file.read())
                except SyntaxError:
                    continue  # a newer library may be written in newer syntax
            digests[path] = hashlib.sha256(text.encode()).hexdigest()
        print(json.dumps(digests))
        """
    )
    library = Path(os.__file__).parent
    files = sorted((ROOT / "trading_runtime").rglob("*.py"))
    files += [library / f"{name}.py" for name in ("dataclasses", "datetime", "enum", "inspect", "typing", "tarfile")]
    listed = "\n".join(str(path) for path in files if path.exists())
    found = {}
    for python in _pythons():
        done = subprocess.run(
            [python, "-W", "ignore", "-c", script, str(ROOT)], input=listed, capture_output=True, text=True, check=True
        )
        found[python] = json.loads(done.stdout)
    first = found[sys.executable]
    for python, digests in found.items():
        shared = digests.keys() & first.keys()

        assert len(shared) > len(files) - 6, python
        assert {path: digests[path] for path in shared} == {path: first[path] for path in shared}, python


def _pythons() -> list[str]:
    """This Python, and any other supported one that is installed: CI runs the test on each of them besides."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    folders = [Path.home() / ".pyenv" / "versions", *(Path(folder) for folder in ("/usr/bin", "/usr/local/bin"))]
    for version in ("3.11", "3.12", "3.13"):
        places = [place for folder in folders for place in sorted(folder.glob(f"{version}*/bin/python"))]
        places += [Path(place) for place in [shutil.which(f"python{version}")] if place]
        for place in places:
            works = subprocess.run([place, "--version"], capture_output=True, text=True, check=False)
            if works.returncode == 0 and works.stdout.startswith(f"Python {version}"):
                found.setdefault(version, str(place))
    return list(found.values())


# --- the closure ---


def test_an_example_reaches_the_core_it_declares_with_and_nothing_else() -> None:
    """Columns, indicators and intents are part of the strategy's code; engine, registry and version are not."""
    names = {Path(path).name for path in closure_files(SmaCross)}
    assert {"sma_cross.py", "columns.py", "indicators.py", "windows.py", "strategy.py", "intents.py"} <= names
    assert not names & {"__init__.py", "engine.py", "evaluate.py", "state.py", "registry.py"}
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in closure_files(SmaCross).values())


def test_different_strategies_have_different_hashes() -> None:
    """Each example has a hash of its own, the same each time."""
    hashes = [
        strategy_code_hash(find_strategy(name))
        for name in ("buy_and_hold", "sma_cross", "breakout", "momentum_rotation")
    ]
    assert len(set(hashes)) == 4
    assert hashes[1] == strategy_code_hash(SmaCross)


STRATEGY = """
from __future__ import annotations
from typing import TYPE_CHECKING
from trading_runtime.core.strategy import Strategy
import helper_{tag}
from package_{tag}.inner import deep
from package_{tag} import sibling
if TYPE_CHECKING:
    import only_types_{tag}

class Idea(Strategy):
    def decide(self, inputs):
        from late_{tag} import found
        return None
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder: a strategy, modules beside it, a package with relative imports, a late import."""
    tag = re.sub(r"\W", "_", tmp_path.name)
    files = {
        f"idea_{tag}.py": STRATEGY.format(tag=tag),
        f"helper_{tag}.py": "import json, numpy\nVALUE = 1\n",
        f"package_{tag}/__init__.py": "from . import sibling\nSETTING = 1\n",
        f"package_{tag}/sibling.py": "A = 1\n",
        f"package_{tag}/inner/__init__.py": "",
        f"package_{tag}/inner/deep.py": "from ..sibling import A\nfrom .. import other\n",
        f"package_{tag}/other.py": "B = 2\n",
        f"package_{tag}/unrelated.py": "C = 3\n",
        f"late_{tag}.py": "found = 1\n",
        f"only_types_{tag}.py": "T = 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def idea(project: Path) -> type:
    (path,) = project.glob("idea_*.py")
    sys.modules.pop(f"strategy_file_{path.stem}", None)
    importlib.invalidate_caches()
    return find_strategy(f"{path}:Idea")


def test_the_closure_of_a_file_holds_what_it_imports_and_what_that_imports(project: Path) -> None:
    """Neighbours, packages, relative and late imports are followed; types-only imports and libraries are not."""
    names = {
        Path(path).relative_to(project).as_posix() for path in closure_files(idea(project)) if str(project) in path
    }
    tag = next(project.glob("idea_*.py")).stem.removeprefix("idea_")
    assert names == {
        f"idea_{tag}.py",
        f"helper_{tag}.py",
        f"late_{tag}.py",
        f"package_{tag}/__init__.py",
        f"package_{tag}/sibling.py",
        f"package_{tag}/other.py",
        f"package_{tag}/inner/__init__.py",
        f"package_{tag}/inner/deep.py",
    }


def test_only_files_in_the_closure_change_the_hash(project: Path) -> None:
    """A changed value anywhere in the closure changes the hash; a comment there, or code elsewhere, does not."""
    before = strategy_code_hash(idea(project))
    for path in sorted(project.rglob("*.py")):
        text = path.read_text()
        path.write_text(text + "\n# a remark\n")
        assert strategy_code_hash(idea(project)) == before, path
        path.write_text(text + "\nADDED = 1\n")
        is_outside = path.stem.startswith("only_types") or path.stem == "unrelated"
        assert (strategy_code_hash(idea(project)) == before) == is_outside, path
        path.write_text(text)
    assert strategy_code_hash(idea(project)) == before


def test_a_file_has_one_hash_wherever_it_lies_and_however_it_is_loaded(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy in another folder, and the same file imported as a module, have the hash of the first."""
    first = strategy_code_hash(idea(project))
    (path,) = project.glob("idea_*.py")
    monkeypatch.syspath_prepend(str(project))
    assert strategy_code_hash(importlib.import_module(path.stem).Idea) == first
    copy = tmp_path_factory.mktemp("copy") / "renamed.py"
    copy.write_text(path.read_text())
    assert strategy_code_hash(find_strategy(f"{copy}:Idea")) == first


def test_two_files_of_one_name_keep_their_own_hashes(tmp_path: Path) -> None:
    """The module of the first is replaced by the second when it is loaded; the first class still knows its file."""
    kinds = []
    for number in (1, 2):
        path = tmp_path / str(number) / "same.py"
        path.parent.mkdir()
        path.write_text(
            "from trading_runtime.core.strategy import Strategy\n"
            f"class Same(Strategy):\n    def decide(self, inputs):\n        return None if {number} else 0\n"
        )
        kinds.append(find_strategy(f"{path}:Same"))
    assert kinds[0] is not kinds[1]
    assert strategy_code_hash(kinds[0]) != strategy_code_hash(kinds[1])
    assert [Path(next(file for file in closure_files(kind) if "same" in file)).parent.name for kind in kinds] == [
        "1",
        "2",
    ]


def test_a_class_without_a_file_has_no_hash() -> None:
    """What was typed into a prompt cannot be named by its code, and says so."""
    typed = type("Typed", (), {"__module__": "__nowhere__"})
    with pytest.raises(StrategyError, match="has no source file"):
        strategy_code_hash(typed)


def test_nothing_heavy_is_imported_and_nothing_of_the_user_is_run(project: Path) -> None:
    """Hashing loads no numpy and does not execute the modules it follows."""
    marker = project / "ran"
    helper = next(project.glob("helper_*.py"))
    kind = idea(project)
    helper.write_text(f"open({str(marker)!r}, 'w').close()\n")
    assert strategy_code_hash(kind)
    assert not marker.exists()
    code = "import sys, trading_runtime.source; print(sorted({'numpy', 'inspect', 'msgspec'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process that has read nothing yet; returns the file in which it keeps what it finds."""
    kept = tmp_path / "kept.json"
    for name in ("_READ", "_LOCATED"):
        monkeypatch.setattr(source, name, {})
    monkeypatch.setattr(source, "_OWN", set())
    monkeypatch.setattr(source, "_KEPT", [])
    monkeypatch.setattr(source, "_KEPT_FILE", kept)
    return kept


def forget() -> None:
    for known in (source._READ, source._LOCATED, source._OWN, source._KEPT):
        known.clear()


def test_what_is_kept_on_disk_changes_no_hash(nothing_known: Path, project: Path) -> None:
    """The hash is the same without the file, with it, with a damaged one and with one made by other rules."""
    kinds = [SmaCross, idea(project)]
    expected = [strategy_code_hash(kind) for kind in kinds]
    whole = nothing_known.read_bytes()
    other = {**json.loads(whole), "made_by": "0" * 64}
    other["files"] = {key: ["1" * 64, []] for key in other["files"]}
    for content in (
        whole,
        whole[:-9],
        b"",
        b"[]",
        b'{"made_by": 1}',
        whole.replace(b'"files"', b'"filed"'),
        json.dumps(other).encode(),
    ):
        nothing_known.write_bytes(content)
        forget()
        assert [strategy_code_hash(kind) for kind in kinds] == expected, content[:40]
        assert json.loads(nothing_known.read_bytes())["made_by"] == json.loads(whole)["made_by"]


def test_only_files_of_this_package_are_kept(nothing_known: Path, project: Path) -> None:
    """A user's files come and go; keeping them would never end."""
    strategy_code_hash(idea(project))
    kept = set(json.loads(nothing_known.read_bytes())["files"])
    own = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (ROOT / "trading_runtime").rglob("*.py")}
    assert kept
    assert kept <= own


def test_where_nothing_can_be_kept_the_hash_is_found_all_the_same(
    nothing_known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that does not exist stands for an image that cannot be written to."""
    expected = strategy_code_hash(SmaCross)
    forget()
    monkeypatch.setattr(source, "_KEPT_FILE", nothing_known.parent / "nowhere" / "kept.json")
    assert strategy_code_hash(SmaCross) == expected
    assert not (nothing_known.parent / "nowhere").exists()


def test_hashing_is_quick(nothing_known: Path) -> None:
    """A closure of a dozen files: about 25 ms of CPU when nothing is known, a few when it is on disk, one when read."""
    best = {"cold": 1.0, "kept": 1.0, "known": 1.0}
    for _ in range(3):
        forget()
        nothing_known.unlink(missing_ok=True)
        for name, before in best.items():
            if name == "kept":
                forget()
            start = time.process_time()
            strategy_code_hash(SmaCross)
            best[name] = min(before, time.process_time() - start)
    assert best["cold"] < 0.25, best  # ten times what a desktop needs: CI machines are slower and shared
    assert best["kept"] < 0.05, best
    assert best["known"] < 0.02, best
