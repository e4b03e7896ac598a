"""The report of a finished run: one HTML file that opens anywhere, without a network.

Everything is read from the result folder, nothing is computed again that ``result.json`` already says, and the same
folder gives the same bytes. ``page`` frames and assembles it; ``headline``, ``figures_table``, ``plots``, ``trades``
and ``provenance`` write what a person reads, from one ``subject``. Nothing outside this package writes HTML.
"""

from trading_runtime.backtest.report.page import REPORT_FILE, report_html, write_report

__all__ = ["REPORT_FILE", "report_html", "write_report"]
