"""The frame of the report and its assembly: head, security policy, menu, sections, scripts, and the file itself.

The policy admits no script but the two of the page and no request at all. What a section says is written elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path

from trading_runtime.backtest.report.figures_table import metric_groups, months
from trading_runtime.backtest.report.headline import notices, tiles, title
from trading_runtime.backtest.report.markup import embedded_json, text_of
from trading_runtime.backtest.report.plots import chart_data, plots
from trading_runtime.backtest.report.provenance import provenance, refusals
from trading_runtime.backtest.report.sleeves import sleeves
from trading_runtime.backtest.report.subject import Subject, read_subject
from trading_runtime.backtest.report.trades import distribution, trade_list
from trading_runtime.core.errors import OutputError

REPORT_FILE = "report.html"


def write_report(result_folder: Path, out: Path | None = None) -> Path:
    """Write the report of a result folder to ``out`` (``report.html`` in it unless given) and return its path.

    Raises DataError when the folder holds no readable result, OutputError when the report cannot be written.
    The file appears whole or not at all.
    """
    path = result_folder / REPORT_FILE if out is None else out
    text = report_html(result_folder)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}") from error
    return path


def report_html(result_folder: Path) -> str:
    """Return the whole page as text."""
    return _page(read_subject(result_folder))


def _page(subject: Subject) -> str:
    """Return the page; scripts are admitted by their hashes, everything else by nothing."""
    library, script = _asset("uPlot.iife.min.js"), _asset("report.js")
    hashes = " ".join(f"'sha256-{_script_hash(text)}'" for text in (library, script))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    sections = [
        title(subject),
        notices(subject),
        tiles(subject),
        plots(subject),
        sleeves(subject),
        months(subject),
        distribution(subject),
        metric_groups(subject),
        trade_list(subject),
        refusals(subject),
        provenance(subject),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy, quote=False)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            '<link rel="icon" href="data:,">',
            f"<title>{text_of(subject.result['name'])} – backtest report</title>",
            f"<style>{_asset('uPlot.min.css')}</style>",
            f"<style>{_asset('report.css')}</style>",
            "</head>",
            "<body>",
            _top(subject),
            '<main id="main">',
            *[section for section in sections if section],
            "</main>",
            f'<script type="application/json" id="data">{embedded_json(chart_data(subject))}</script>',
            f"<!--\nuPlot\n{escape(_asset('uPlot.LICENSE.txt').strip(), quote=False)}\n-->",
            f"<script>{library}</script>",
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _top(subject: Subject) -> str:
    links = {"charts": "Charts"}
    if subject.result.get("sleeves"):
        links["sleeves"] = "Sleeves"
    links |= {"months": "Months", "metrics": "Metrics"}
    if subject.trades is not None:
        links["trades"] = "Trades"
    links["provenance"] = "Provenance"
    menu = "".join(f'<li><a href="#{key}">{label}</a></li>' for key, label in links.items())
    return f"""<a class="skip" href="#main">Skip to the result</a>
<header class="top">
<nav aria-label="Sections"><ul>{menu}</ul></nav>
<button type="button" id="theme" class="quiet" hidden>Dark</button>
</header>"""


@cache
def _asset(name: str) -> str:
    return resources.files("trading_runtime.backtest").joinpath("assets", name).read_text(encoding="utf-8")


def _script_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
