"""The tables of figures: returns by month and year, and every metric of the run in its group.

Nothing is measured here: months come from the equity curve, metrics stand in ``result.json``.
"""

from __future__ import annotations

from html import escape
from itertools import groupby

from trading_runtime.backtest import charts
from trading_runtime.backtest.figures import percent, tone
from trading_runtime.backtest.metrics import METRICS, Metric
from trading_runtime.backtest.report.markup import scroll
from trading_runtime.backtest.report.subject import Subject

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SHADE_MOST = 50  # percent of colour in the strongest month; more would leave too little contrast to its figure


def months(subject: Subject) -> str:
    years = charts.monthly_returns(subject.equity["time_ms"], subject.equity["equity"], subject.start_equity)
    # One wild month must not make all others look the same: the strongest tenth share the full colour.
    sizes = sorted(abs(value) for year in years for value in year.months if value)
    strongest = sizes[-1 - len(sizes) // 10] if sizes else 0.0

    def cell(value: float | None) -> str:
        if value is None:
            return "<td></td>"
        if value == 0.0:
            return '<td class="none">0.0</td>'
        shade = round(min(abs(value) / strongest, 1.0) * SHADE_MOST)
        style = f' style="--shade:{shade}%;--tone:var(--{tone(value)})"' if shade else ""
        return f"<td{style}>{percent(value, sign=True, decimals=1, unit=False)}</td>"

    rows = ""
    for year in reversed(years):
        cells = "".join(cell(value) for value in year.months)
        total = "" if year.total is None else percent(year.total, sign=True, decimals=1, unit=False)
        rows += f'<tr><th scope="row">{year.year}</th>{cells}<td class="total">{total}</td></tr>'
    head = "".join(f'<th scope="col">{month}</th>' for month in MONTHS)
    head = f'<tr><td></td>{head}<th scope="col" class="total">Year</th></tr>'
    return f"""<section id="months" class="card" aria-labelledby="months-title">
<div class="bar"><h2 id="months-title">Monthly returns</h2><p class="unit">%, UTC months</p></div>
{scroll("Monthly returns", f'<table class="months"><thead>{head}</thead><tbody>{rows}</tbody></table>')}
</section>"""


def metric_groups(subject: Subject) -> str:
    known = {metric.key for metric in METRICS}
    others = [Metric(key, "Other", key.replace("_", " "), "number") for key in subject.metrics if key not in known]
    present = [metric for metric in METRICS if metric.key in subject.metrics] + others
    groups = ""
    for group, members in groupby(present, key=lambda metric: metric.group):
        rows = ""
        # One figure in two units (bars and days) is two metrics under one label: one row here.
        for label, alike in groupby(members, key=lambda metric: metric.label):
            values = dict.fromkeys(subject.value(metric.key) for metric in alike)
            figures = ", ".join(f"<span>{value}</span>" for value in values)
            rows += f"<div><dt>{escape(label)}</dt><dd>{figures}</dd></div>"
        groups += f"<section><h3>{escape(group)}</h3><dl>{rows}</dl></section>"
    unit = f"amounts in {escape(subject.quote)}" if subject.quote else ""
    return f"""<section id="metrics" class="card" aria-labelledby="metrics-title">
<div class="bar"><h2 id="metrics-title">Metrics</h2><p class="unit">{unit}</p></div>
<div class="metrics">{groups}</div>
</section>"""
