"""The report of a backtest, put together: which sections there are, and in which order.

What a section says is written in the files beside this one, the frame of the page in ``frame.py``.
"""

from __future__ import annotations

from pathlib import Path

from trading_runtime.backtest.report.figures_table import metric_groups, months
from trading_runtime.backtest.report.frame import asset, page_text, write_page
from trading_runtime.backtest.report.headline import notices, tiles, title
from trading_runtime.backtest.report.markup import text_of
from trading_runtime.backtest.report.plots import chart_data, plots
from trading_runtime.backtest.report.provenance import provenance, refusals
from trading_runtime.backtest.report.sleeves import sleeves
from trading_runtime.backtest.report.subject import Subject, read_subject
from trading_runtime.backtest.report.trades import distribution, trade_list

REPORT_FILE = "report.html"


def write_report(result_folder: Path, out: Path | None = None) -> Path:
    """Write the report of a result folder to ``out`` (``report.html`` in it unless given) and return its path.

    Raises DataError when the folder holds no readable result, OutputError when the report cannot be written.
    The file appears whole or not at all.
    """
    path = result_folder / REPORT_FILE if out is None else out
    write_page(path, report_html(result_folder))
    return path


def report_html(result_folder: Path) -> str:
    """Return the whole page as text."""
    return _page(read_subject(result_folder))


def _page(subject: Subject) -> str:
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
    return page_text(
        title=f"{text_of(subject.result['name'])} – backtest report",
        styles=[asset("uPlot.min.css"), asset("report.css")],
        menu=_menu(subject),
        sections=sections,
        data=chart_data(subject),
        scripts=[asset("uPlot.iife.min.js"), asset("report.js")],
        licence=f"uPlot\n{asset('uPlot.LICENSE.txt').strip()}",
    )


def _menu(subject: Subject) -> dict[str, str]:
    links = {"charts": "Charts"}
    if subject.result.get("sleeves"):
        links["sleeves"] = "Sleeves"
    links |= {"months": "Months", "metrics": "Metrics"}
    if subject.trades is not None:
        links["trades"] = "Trades"
    return {**links, "provenance": "Provenance"}
