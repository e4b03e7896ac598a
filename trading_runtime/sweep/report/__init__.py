"""The report of a sweep: one HTML file that opens anywhere, needs no network and says what the sweep showed and did
not.

``page`` assembles it, ``subject`` holds what is read, ``headline`` and ``sections`` write what can be read without
scripts, ``drawn`` gives ``assets/sweep.js`` its numbers. Nothing here computes a metric, chooses a cell or reads a
store.
"""

from trading_runtime.sweep.report.page import sweep_report_html, write_sweep_report

__all__ = ["sweep_report_html", "write_sweep_report"]
