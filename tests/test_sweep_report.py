"""The report of a sweep: whole, safe, the same bytes again, and drawn without an error in a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from browser import Browser, find_browser
from sweep_report_samples import sample_sweep

from trading_runtime.core.errors import DataError, OutputError
from trading_runtime.sweep.report import sweep_report_html, write_sweep_report
from trading_runtime.sweep.report.subject import CELLS_SHOWN_MOST

HOSTILE = "</script><script>window.broken=1</script><!-- <img src=x onerror=window.broken=1> \"' & é"
THREE = {"fast": [5, 10, 15, 20], "slow": [20, 50, 100, 200, 300], "kind": ["ema", "sma"]}
HUNDRED = {
    "fast": list(range(5, 25)),
    "slow": list(range(20, 120, 4)),
    "stop": [round(0.01 * step, 2) for step in range(1, 21)],
}


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, scripts, and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = None


def words(text: str) -> str:
    return " ".join(" ".join(Page(text).words).split())


def data_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Page(text).scripts[0])
    return found


def test_what_counts_is_text_that_needs_no_script() -> None:
    sweep, cells, equity = sample_sweep(THREE, folds=3, failed=4, missing=1)
    told = words(sweep_report_html(sweep, cells, equity))
    for expected in (
        "crossing averages",
        sweep["root_digest"],
        "This sweep is not complete",
        "1 cell missing: not computed yet",
        "4 cells failed",
        "Deflated Sharpe ratio",
        "Chosen fold by fold and judged on what came after",
        "How steady the choice was over 3 folds",
        "2024-07-19 to 2024-08-28",
        "20, 50, 100, 200, 300",
    ):
        assert expected in told.replace("  ", " "), expected
    complete = words(sweep_report_html(*sample_sweep(THREE)))
    assert "not complete" not in complete
    assert "Fold by fold" not in complete


def test_the_best_cells_are_the_best_of_train_or_of_the_whole_in_the_wanted_direction() -> None:
    for folds, role in ((0, "whole"), (2, "train")):
        for direction, sign in (("maximize", -1), ("minimize", 1)):
            sweep, cells, equity = sample_sweep(THREE, folds=folds, failed=2)
            sweep["direction"] = direction
            rows = [row for row, one in enumerate(cells["role"]) if one == role and cells["status"][row] == "done"]
            best = sorted(rows, key=lambda row: (sign * cells["m_sharpe_ratio"][row], row))[:20]
            shown = re.findall(
                r'<td class="text code" title="([0-9a-f]{64})">', sweep_report_html(sweep, cells, equity)
            )
            assert shown == [cells["cell_id"][row] for row in best]


def test_of_equal_cells_the_smallest_parameter_text_stands_first() -> None:
    """As everywhere in sweeps: "10" before "5", whatever the order of rows."""
    sweep, cells, _ = sample_sweep({"fast": [5, 10, 7]})
    cells["m_sharpe_ratio"] = [1.0, 1.0, 2.0]
    shown = re.findall(r'<td class="text code" title="([0-9a-f]{64})">', sweep_report_html(sweep, cells))
    assert shown == [cells["cell_id"][row] for row in (2, 1, 0)]


def test_what_gather_knows_beside_figures_is_told() -> None:
    """Why cells failed, what is best on average over tests, conditions of the space, and provenance with its parts."""
    sweep, cells, equity = sample_sweep(THREE, folds=2, failed=3)
    sweep |= {
        "failed": {"a": "DataError: too few bars", "b": "DataError: too few bars", "c": "StrategyError: no"},
        "best": {"parameters": {"fast": 5, "slow": 20}, "value": 1.25},
        "where": ["fast < slow"],
        "search": {"kind": "random", "seed": 4},
        "strategy": {"class": "MovingAverageCross", "code_hash": "c0de", "fixed": {"stop": 0.1}},
    }
    sweep["provenance"]["libraries"] = {"numpy": "2.1"}
    cells["trades"] = [None] * len(cells["trades"])
    text = sweep_report_html(sweep, cells, equity)
    told = words(text)
    for expected in (
        "2 × DataError: too few bars",
        "On average over 2 tests the best, in hindsight, has 1.25 with fast 5, slow 20.",
        "fast < slow",
        '"seed": 4',
        "MovingAverageCross",
        "stop 0.1",
        '"numpy": "2.1"',
    ):
        assert expected in told, expected
    assert data_of(text)["trades"] is None
    assert ">Trades</th>" not in text


def test_a_refusal_stands_where_its_figure_would_be() -> None:
    sweep, cells, _ = sample_sweep(THREE, folds=2)
    sweep["walk_forward"]["folds"][1] |= {"chosen": None, "test_metric": None, "refusal": "fold 1: no cell has a value"}
    sweep["walk_forward"]["stitched"] = {"metrics": None, "refusal": "fold 1: no cell has a value"}
    sweep["statistics"]["backtest_overfitting"]["refusal"] = "there is one trial"
    told = words(sweep_report_html(sweep, cells))
    assert "There is no out-of-sample curve: fold 1: no cell has a value." in told
    assert "Not computed: there is one trial." in told


def test_a_table_of_arrow_and_plain_columns_give_the_same_bytes() -> None:
    sweep, cells, equity = sample_sweep(THREE, folds=2, failed=1)
    assert equity is not None
    text = sweep_report_html(sweep, cells, equity)
    assert sweep_report_html(sweep, pyarrow.table(cells), pyarrow.table(equity)) == text
    arrays = {
        name: np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        if name.startswith("m_")
        else values
        for name, values in cells.items()
    }
    assert sweep_report_html(sweep, arrays, equity) == text


def test_neither_time_nor_the_seed_of_hashes_reaches_the_page() -> None:
    code = (
        "import sys, hashlib; sys.path.insert(0, 'tests'); from sweep_report_samples import sample_sweep;"
        "from trading_runtime.sweep.report import sweep_report_html;"
        "s, c, e = sample_sweep({'fast': [1, 2], 'kind': ['a', 'b', 'c']}, folds=2, seed=5);"
        "print(hashlib.sha256(sweep_report_html(s, c, e).encode()).hexdigest(), 'pyarrow' in sys.modules)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent.parent,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert told.pop().split()[1] == "False", "a report of plain columns does not load pyarrow"


def hostile_sweep() -> tuple[dict[str, Any], dict[str, list[Any]], dict[str, Any] | None]:
    """A sweep in which every text is an attack."""
    sweep, cells, equity = sample_sweep({HOSTILE: [HOSTILE, "b"], "size": [1, 2, 3]}, folds=2)
    cells["period"] = [name + HOSTILE for name in cells["period"]]
    cells["status"] = ["done"] * (len(cells["status"]) - 1) + [HOSTILE]
    cells["m_" + HOSTILE] = [1.0] * len(cells["status"])
    cells["cell_id"] = [HOSTILE + cell for cell in cells["cell_id"]]
    for part in sweep["periods"]:
        part |= {"name": part["name"] + HOSTILE, "start": HOSTILE}
    sweep |= {"name": HOSTILE, "strategy": HOSTILE, "root_digest": HOSTILE, "sweep_id": HOSTILE}
    sweep["provenance"] = {HOSTILE: HOSTILE, "commit": HOSTILE}
    sweep["parameters"] = {HOSTILE: {"kind": HOSTILE, "range": {HOSTILE: HOSTILE}}, "size": HOSTILE}
    for fold in sweep["walk_forward"]["folds"]:
        fold |= {"train": HOSTILE, "test": HOSTILE, "refusal": HOSTILE}
    sweep["walk_forward"]["stability"] = {HOSTILE: {"distinct": 1}}
    sweep["statistics"]["deflated_sharpe"]["refusal"] = HOSTILE
    return sweep, cells, equity


def test_text_cannot_break_out() -> None:
    """Markup in names, parameters, periods and reasons stays text: two scripts, no image, no handler."""
    sweep, cells, equity = hostile_sweep()
    text = sweep_report_html(sweep, cells, equity, {cells["cell_id"][0]: HOSTILE.replace("/", "")})
    page = Page(text)
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert not any(tag == "img" for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "<!-- <img" not in text
    assert any(HOSTILE in one for one in page.words)
    assert data_of(text)["parameters"][0]["name"] == HOSTILE


def test_the_page_asks_nobody_for_anything() -> None:
    sweep, cells, equity = sample_sweep(THREE, folds=2)
    text = sweep_report_html(sweep, cells, equity, {cells["cell_id"][3]: "cells/javascript:alert(1).html"})
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset", "formaction"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:", "cells/")), (tag, name, value)
    assert not re.search(r"\b(?:fetch|XMLHttpRequest|WebSocket|import)\s*\(", text)
    assert not re.search(r"url\(|@import|https?://", text)
    policy = next(attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv"))
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("path", ["/etc/passwd", "../other.html", "a/../../b", "a\\b", ""])
def test_a_link_cannot_leave_the_folder_of_the_report(path: str) -> None:
    sweep, cells, _ = sample_sweep(THREE)
    with pytest.raises(DataError, match="leaves the folder"):
        sweep_report_html(sweep, cells, None, {cells["cell_id"][0]: path})


def test_a_link_has_no_scheme() -> None:
    sweep, cells, _ = sample_sweep(THREE)
    links = {cells["cell_id"][0]: "javascript:alert(1)", cells["cell_id"][1]: "cells/a b.html"}
    told = data_of(sweep_report_html(sweep, cells, None, links))["links"]
    assert told == {"0": "javascript%3Aalert%281%29", "1": "cells/a%20b.html"}


def test_cells_that_do_not_fit_together_are_refused() -> None:
    sweep, cells, _ = sample_sweep(THREE)
    with pytest.raises(DataError, match="no column 'status'"):
        sweep_report_html(sweep, {name: values for name, values in cells.items() if name != "status"})
    with pytest.raises(DataError, match="'trades' of the cells has 1 values beside 40 cells"):
        sweep_report_html(sweep, cells | {"trades": [1]})
    with pytest.raises(DataError, match="stitched equity"):
        sweep_report_html(sweep, cells, {"time_ms": [1], "equity": [], "fold": []})


def test_a_bare_sweep_still_makes_a_report() -> None:
    """No parameter, metric or statistics, values of the wrong kind: a part is left out or says what is missing."""
    cells = {"cell_id": ["a"], "period": ["whole"], "status": ["missing"]}
    told = words(sweep_report_html({}, cells))
    assert "No cell has a value" in told
    wrong = dict.fromkeys(
        ("counts", "parameters", "periods", "walk_forward", "statistics", "provenance", "strategy", "name"), 7
    )
    assert "<h1>7</h1>" in sweep_report_html(wrong, cells)
    sweep, full, _ = sample_sweep(THREE)
    full["m_sharpe_ratio"] = [None] * len(full["cell_id"])
    assert "No cell has a value of Sharpe ratio" in words(sweep_report_html(sweep, full))


def test_a_huge_sweep_shows_its_best_and_a_sample_and_says_so() -> None:
    count = 60_000
    sweep, cells, _ = sample_sweep({"step": list(range(count))})
    text = sweep_report_html(sweep, cells)
    told = data_of(text)
    assert CELLS_SHOWN_MOST * 0.7 < len(told["index"]) <= CELLS_SHOWN_MOST
    best = sorted(range(count), key=lambda row: -cells["m_sharpe_ratio"][row])[: CELLS_SHOWN_MOST // 10]
    assert set(best) <= set(told["index"])
    assert f"of {count:,} cells: the best ones and an even sample" in words(text)
    assert len(text) < 4_000_000


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    sweep, cells, equity = sample_sweep(THREE, folds=2)
    write_sweep_report(tmp_path / "sweep.html", sweep, cells, equity)
    assert (tmp_path / "sweep.html").read_text(encoding="utf-8") == sweep_report_html(sweep, cells, equity)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.html"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_sweep_report(tmp_path / "nowhere" / "sweep.html", sweep, cells, equity)


# The page in a browser.


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_browser()
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is not installed: the report was not looked at")
        pytest.skip("Chromium is not installed")
    with Browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten thousand cells of three parameters over the whole data."""
    path = tmp_path_factory.mktemp("large") / "sweep.html"
    write_sweep_report(path, *sample_sweep(HUNDRED))
    return path


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("folded") / "sweep.html"
    sweep, cells, equity = sample_sweep(THREE, folds=4, failed=2)
    write_sweep_report(path, sweep, cells, equity, {cells["cell_id"][row]: f"cells/{row}.html" for row in range(40)})
    return path


def checked(browser: Browser, charts: int) -> None:
    told = browser.evaluate("({...document.documentElement.dataset})")
    assert browser.problems == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "about:"))] == []
    assert (told["ready"], told["overflow"], told["charts"]) == ("yes", "0", str(charts))
    assert "error" not in told


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_draws_itself(browser: Browser, folded: Path, width: int, dark: bool) -> None:
    """Three drawings and a heat map, nothing sticks out, every text has the contrast it needs."""
    from test_report import CONTRAST

    browser.open(folded, width=width, height=844, dark=dark)
    checked(browser, 3)
    assert browser.evaluate("document.querySelectorAll('.heat td').length") == 20
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is dark
    assert browser.evaluate(CONTRAST) == []


@pytest.mark.browser
@pytest.mark.parametrize(
    "space", [{"threshold": [round(0.01 * step, 2) for step in range(200)]}, {"on": [True, False]}, {}]
)
def test_one_parameter_or_none_is_drawn_too(browser: Browser, tmp_path: Path, space: dict[str, list[Any]]) -> None:
    write_sweep_report(tmp_path / "sweep.html", *sample_sweep(space))
    browser.open(tmp_path / "sweep.html", width=1280, height=844)
    checked(browser, 1 if space else 0)
    assert browser.evaluate("document.querySelectorAll('#cell-table tbody tr').length") > 0


COLUMN = "[...document.querySelectorAll('#cell-table tbody tr')].map(row => row.cells[{place}].textContent)"


def column(browser: Browser, place: int) -> list[str]:
    found: list[str] = browser.evaluate(COLUMN.format(place=place))
    return found


def settled(browser: Browser) -> None:
    browser.evaluate("new Promise(done => setTimeout(() => requestAnimationFrame(done), 160))")


def filtered(browser: Browser, words: str) -> str:
    browser.evaluate(
        f"(() => {{ const f = document.getElementById('filter'); f.value = {json.dumps(words)};"
        " f.dispatchEvent(new Event('input')); })()"
    )
    settled(browser)
    told: str = browser.evaluate("document.getElementById('count').textContent")
    return told


@pytest.mark.browser
def test_ten_thousand_cells_are_sorted_filtered_and_paged(browser: Browser, large: Path) -> None:
    browser.open(large, width=1280, height=900)
    checked(browser, 1)
    cells = sample_sweep(HUNDRED)[1]
    assert len(column(browser, 0)) == 50
    best = sorted(cells["m_sharpe_ratio"], reverse=True)
    assert list(map(float, column(browser, 5))) == pytest.approx(best[:50], abs=0.00501)
    browser.evaluate("[...document.querySelectorAll('#pages button')].at(-1).click()")
    assert list(map(float, column(browser, 5))) == pytest.approx(best[50:100], abs=0.00501)
    browser.evaluate("document.querySelectorAll('#cell-table th button')[2].click()")
    assert column(browser, 2) == ["5"] * 50
    wanted = [
        row
        for row in range(10_000)
        if cells["p_fast"][row] >= 20 and cells["p_stop"][row] == 0.07 and cells["trades"][row] < 100
    ]
    assert filtered(browser, "fast>=20 stop=0.07 trades<100") == f"{len(wanted)} of 10,000 cells"
    assert sorted(map(int, column(browser, 2))) == sorted(cells["p_fast"][row] for row in wanted)[:50]
    assert filtered(browser, "fats>3") == "nothing is called fats"
    browser.evaluate("document.getElementById('clear').click()")
    assert browser.evaluate("document.getElementById('count').textContent") == "all 10,000 cells"
    assert browser.problems == []


@pytest.mark.browser
def test_the_heat_map_shows_any_two_parameters_and_the_rest_as_asked(browser: Browser, large: Path) -> None:
    browser.open(large, width=1280, height=900)
    cells = sample_sweep(HUNDRED)[1]
    for rest, combine in (("mean", np.mean), ("best", max), ("worst", min)):
        browser.evaluate(
            "(() => { for (const [id, value] of [['heat-x', 2], ['heat-y', 0], ['heat-rest', '" + rest + "']]) {"
            " const s = document.getElementById(id); s.value = value; s.onchange(); } })()"
        )
        titles = browser.evaluate("[...document.querySelectorAll('.heat td')].map(cell => cell.title)")
        assert len(titles) == 400
        values = [
            cells["m_sharpe_ratio"][row]
            for row in range(10_000)
            if (cells["p_stop"][row], cells["p_fast"][row]) == (0.03, 7)
        ]
        expected = f"{combine(values):.2f}".replace("-", "−")
        assert f"stop 0.03, fast 7: {expected} (25 cells)" in titles
    browser.evaluate(
        "[...document.querySelectorAll('.heat td')].find(c => c.title.startsWith('stop 0.03, fast 7:')).click()"
    )
    settled(browser)
    assert browser.evaluate("document.getElementById('count').textContent") == "25 of 10,000 cells"


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 800, 1280])
def test_headings_of_a_wide_heat_map_do_not_run_into_each_other(browser: Browser, large: Path, width: int) -> None:
    browser.open(large, width=width, height=900)
    ends = browser.evaluate(
        "[...document.querySelectorAll('.heat thead th, .heat tr:first-child th')].filter((one, i, all) => "
        "all.indexOf(one) === i && one.textContent && !one.classList.contains('corner')).map((one) => "
        "{ const range = document.createRange(); range.selectNodeContents(one); "
        "const box = range.getBoundingClientRect(); return [box.left, box.right, box.top]; })"
    )
    first = [(left, right) for left, right, top in ends if top == ends[0][2]]

    assert len(first) > 3
    assert all(right < left for (_, right), (left, _) in pairwise(first)), first


@pytest.mark.browser
def test_the_cells_id_is_seen_beside_four_parameters(browser: Browser, tmp_path: Path) -> None:
    space = {"channel": [20, 55], "profit_atr": [2.0, 4.0], "risk": [0.005, 0.01], "stop_atr": [1.0, 2.0]}
    write_sweep_report(tmp_path / "sweep.html", *sample_sweep(space))
    browser.open(tmp_path / "sweep.html", width=1280, height=900)

    assert browser.evaluate(
        "(() => { const cell = document.querySelector('#best td.code').getBoundingClientRect(); "
        "return cell.right <= document.querySelector('#best .scroll').getBoundingClientRect().right + 1; })()"
    )


def test_one_cell_is_one_cell_and_the_best_of_several_periods_names_its_own() -> None:
    sweep, columns, _ = sample_sweep({})
    page = sweep_report_html({**sweep, "statistics": None}, columns)
    assert "<li>1 cell</li>" in page
    assert "Skill, deflated" not in page

    sweep, columns, _ = sample_sweep(THREE)
    half = len(columns["period"]) // 2
    columns["period"] = ["bear"] * half + ["bull"] * (len(columns["period"]) - half)
    named = [{"name": name, "role": "whole", "fold": None} for name in ("bear", "bull")]
    best = max(range(2 * half), key=columns["m_sharpe_ratio"].__getitem__)
    page = sweep_report_html({**sweep, "periods": named}, columns)
    assert f"The best Sharpe ratio in period {columns['period'][best]} is <b>" in page


@pytest.mark.browser
def test_a_brush_on_an_axis_keeps_what_passes_there(browser: Browser, large: Path) -> None:
    """Dragging over the upper half of the first axis keeps the higher half of its values; a click lets go."""
    browser.open(large, width=1280, height=900)
    left, top, height = browser.evaluate(
        "(() => { const p = document.getElementById('parallel-plot');"
        " p.scrollIntoView({block: 'center', behavior: 'instant'});"
        " const r = p.getBoundingClientRect(); return [r.left, r.top, r.height]; })()"
    )
    x, middle, upper = left + 54, top + 30 + (height - 44) / 2, top + 20
    browser.mouse("mousePressed", x, upper, count=1)
    for share in (0.3, 0.7, 1.0):
        browser.mouse("mouseMoved", x, upper + (middle - upper) * share, count=1)
    browser.mouse("mouseReleased", x, middle, count=1)
    settled(browser)
    assert browser.evaluate("document.getElementById('count').textContent") == "5,000 of 10,000 cells"
    assert min(map(int, column(browser, 2))) >= 15
    browser.mouse("mousePressed", x, middle, count=1)
    browser.mouse("mouseReleased", x, middle, count=1)
    settled(browser)
    assert browser.evaluate("document.getElementById('count').textContent") == "all 10,000 cells"
    assert browser.problems == []


@pytest.mark.browser
def test_train_test_and_equity_can_be_read(browser: Browser, folded: Path) -> None:
    browser.open(folded, width=1280, height=900)
    assert browser.evaluate("document.getElementById('period').value") == "role:train"
    assert "rank correlation" in browser.evaluate("document.getElementById('scatter-told').textContent")
    last = browser.evaluate("document.getElementById('stitched-legend').textContent")
    assert re.match(r"2024-12-25 · fold 3 · [\d,.]+$", last)
    browser.evaluate("document.getElementById('stitched-plot').focus()")
    for _ in range(2):
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft")
    settled(browser)
    assert browser.evaluate("document.getElementById('stitched-legend').textContent").startswith("2024-12-23 · fold 3")
    links = browser.evaluate("[...document.querySelectorAll('#cell-table a')].map(a => a.getAttribute('href'))")
    assert links
    assert all(re.fullmatch(r"cells/\d+\.html", link) for link in links)
    assert browser.problems == []


@pytest.mark.browser
def test_hostile_text_runs_nothing_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    write_sweep_report(tmp_path / "sweep.html", *hostile_sweep())
    browser.open(tmp_path / "sweep.html", width=1280, height=800)
    checked(browser, 3)
    assert browser.evaluate("document.querySelector('h1').textContent") == HOSTILE
    assert browser.evaluate("window.broken") is None


@pytest.mark.browser
def test_the_page_prints(browser: Browser, folded: Path, tmp_path: Path) -> None:
    browser.open(folded, width=1280, height=900, dark=True)
    browser.pdf(tmp_path / "sweep.pdf")
    assert (tmp_path / "sweep.pdf").read_bytes().startswith(b"%PDF-")
    settled(browser)
    assert browser.evaluate("document.documentElement.dataset.theme") is None
    assert browser.problems == []
