"""The frame of a sweep's report and its assembly: head, security policy, menu, frames of the drawings, and the file
itself.

The policy admits the one script of the page and no request at all. Looks are those of the backtest report.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from trading_runtime.backtest.report.markup import embedded_json, text_of
from trading_runtime.core.errors import OutputError
from trading_runtime.sweep.report.drawn import drawn
from trading_runtime.sweep.report.headline import notices, tiles, title
from trading_runtime.sweep.report.sections import best_cells, folds, provenance, statistics, stitched
from trading_runtime.sweep.report.subject import Subject, read_subject


def write_sweep_report(
    path: Path,
    sweep: Mapping[str, Any],
    cells: Any,
    equity: Any = None,
    links: Mapping[str, str] | None = None,
) -> None:
    """Write the report of a sweep; the file appears whole or not at all, and the same sweep gives the same bytes.

    ``sweep`` is the content of ``sweep.json``; ``cells`` and ``equity`` are Arrow tables or mappings of columns as in
    ``cells.parquet`` and ``equity.parquet``; ``links`` leads from cell ids to reports, by paths beside ``path``.
    Raises DataError for columns that are missing, OutputError when the file cannot be written.
    """
    text = sweep_report_html(sweep, cells, equity, links)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error}") from error


def sweep_report_html(
    sweep: Mapping[str, Any], cells: Any, equity: Any = None, links: Mapping[str, str] | None = None
) -> str:
    """Return the whole page as text."""
    subject = read_subject(sweep, cells, equity, links)
    content = drawn(subject)
    script = _asset("trading_runtime.sweep.report", "sweep.js")
    policy = (
        f"default-src 'none'; script-src 'sha256-{_hash(script)}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    sections = {
        "best": best_cells(subject),
        "stitched": stitched(subject),
        "folds": folds(subject),
        "statistics": statistics(subject),
        "scatter": _scatter(content["pairs"]),
        "explore": _explore(subject),
        "cells": _cells(),
        "provenance": provenance(subject),
    }
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
            f"<title>{text_of(sweep.get('name', 'sweep'))} – sweep report</title>",
            f"<style>{_asset('trading_runtime.backtest', 'report.css')}</style>",
            f"<style>{_asset('trading_runtime.sweep.report', 'sweep.css')}</style>",
            "</head>",
            "<body>",
            _top(sections),
            '<main id="main">',
            title(subject),
            notices(subject),
            tiles(subject),
            *[section for section in sections.values() if section],
            "</main>",
            f'<script type="application/json" id="data">{embedded_json(content)}</script>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


_MENU = {
    "best": "Best",
    "stitched": "Out of sample",
    "folds": "Folds",
    "statistics": "Statistics",
    "scatter": "Train and test",
    "explore": "Explore",
    "cells": "Cells",
    "provenance": "Provenance",
}


def _top(sections: Mapping[str, str]) -> str:
    menu = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name in _MENU.items() if sections[key])
    return f"""<a class="skip" href="#main">Skip to the result</a>
<header class="top">
<nav aria-label="Sections"><ul>{menu}</ul></nav>
<button type="button" id="theme" class="quiet" hidden>Dark</button>
</header>"""


def _scatter(pairs: Mapping[str, Any] | None) -> str:
    if pairs is None:
        return ""
    label = "Metric in train against metric in test"
    return f"""<section id="scatter" class="card" aria-labelledby="scatter-title">
<div class="bar"><h2 id="scatter-title">Train against test</h2><p class="unit" id="scatter-told"></p></div>
<figure class="chart">
<figcaption><p class="legend" id="scatter-legend"></p></figcaption>
<div class="drawing tall-drawing" id="scatter-plot" role="img" tabindex="0" aria-label="{label}"></div>
</figure>
<p class="hint">One point for each set of parameters and fold; rings are what was chosen.
On the dashed line test is as good as train. Where the cloud has no slope, train says nothing about test.</p>
</section>"""


def _explore(subject: Subject) -> str:
    if not subject.parameters:
        return ""
    rests = {"mean": "mean", "best": "best", "worst": "worst", "count": "number of cells"}
    options = "".join(f'<option value="{key}">{word}</option>' for key, word in rests.items())
    label = "Parameters and metric of each cell as a line"
    return f"""<section id="explore" class="card" aria-labelledby="explore-title">
<div class="bar controls">
<h2 id="explore-title">Explore</h2>
<label class="pick">Metric <select id="metric"></select></label>
<label class="pick">Period <select id="period"></select></label>
<label class="pick">Filter <input id="filter" type="text" autocomplete="off" spellcheck="false"></label>
<button type="button" id="clear" class="quiet">Clear</button>
<p class="unit" id="count" aria-live="polite"></p>
</div>
<noscript><p class="empty">The drawings and the list of all cells need scripts; the rest does not.</p></noscript>
<figure class="chart" id="parallel-figure">
<figcaption><h3>Parallel coordinates</h3><p class="legend" id="parallel-legend"></p></figcaption>
<div class="drawing tall-drawing" id="parallel-plot" role="img" aria-label="{label}"></div>
<p class="hint">Drag along an axis to keep what passes there; click the axis to let go.
The filter does the same by keyboard.</p>
</figure>
<figure class="chart" id="heat-figure">
<figcaption>
<h3>Heat map</h3>
<label class="pick">Across <select id="heat-x"></select></label>
<label class="pick">Down <select id="heat-y"></select></label>
<label class="pick">Over the rest <select id="heat-rest">{options}</select></label>
<p class="legend" id="heat-legend"></p>
</figcaption>
<div class="scroll" tabindex="0" role="region" aria-label="Heat map" id="heat"></div>
</figure>
</section>"""


def _cells() -> str:
    return """<section id="cells" class="card" aria-labelledby="cells-title">
<div class="bar"><h2 id="cells-title">Cells</h2><p class="unit" id="cells-told"></p> <div class="range" role="group"
aria-label="Pages" id="pages" hidden></div></div> <div class="scroll" tabindex="0" role="region"
aria-label="Cells"><table class="trades cells" id="cell-table"></table></div> <p class="hint">Click a heading to sort.
The filter and the brushes above choose what is listed.</p> </section>
"""


@cache
def _asset(package: str, name: str) -> str:
    return resources.files(package).joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
