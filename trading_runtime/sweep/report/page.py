"""The report of a sweep, put together: which sections there are, in which order, and the frames of the drawings.

Looks are those of the backtest report, and so is the frame of the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trading_runtime.backtest.report.frame import asset, page_text, write_page
from trading_runtime.backtest.report.markup import text_of
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
    write_page(path, sweep_report_html(sweep, cells, equity, links))


def sweep_report_html(
    sweep: Mapping[str, Any], cells: Any, equity: Any = None, links: Mapping[str, str] | None = None
) -> str:
    """Return the whole page as text."""
    subject = read_subject(sweep, cells, equity, links)
    content = drawn(subject)
    sections = {
        "best": best_cells(subject),
        "stitched": stitched(subject),
        "folds": folds(subject),
        "statistics": statistics(subject),
        "scatter": _scatter(content["pairs"]),
        "explore": _explore(subject),
        "cells": _cells(subject),
        "provenance": provenance(subject),
    }
    return page_text(
        title=f"{text_of(sweep.get('name', 'sweep'))} – sweep report",
        styles=[asset("report.css"), asset("sweep.css", _PACKAGE)],
        menu={key: word for key, word in _MENU.items() if sections[key]},
        sections=[title(subject), notices(subject), tiles(subject), *sections.values()],
        data=content,
        scripts=[asset("sweep.js", _PACKAGE)],
    )


_PACKAGE = "trading_runtime.sweep.report"
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


def _cells(subject: Subject) -> str:
    chosen = " The filter and the brushes above choose what is listed." if subject.parameters else ""
    return f"""<section id="cells" class="card" aria-labelledby="cells-title">
<div class="bar"><h2 id="cells-title">Cells</h2><p class="unit" id="cells-told"></p> <div class="range" role="group"
aria-label="Pages" id="pages" hidden></div></div> <div class="scroll" tabindex="0" role="region"
aria-label="Cells"><table class="trades cells" id="cell-table"></table></div> <p class="hint">Click a heading to
sort.{chosen}</p> </section>
"""
