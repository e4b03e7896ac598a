"""The table of sleeves: what each part of the portfolio earned and cost, and their sum, which is the whole.

Nothing is measured here: the figures stand in ``result.json``, the lines are drawn from ``sleeves.parquet``.
"""

from __future__ import annotations

from html import escape

from trading_runtime.backtest.figures import count, is_number, percent, significant, tone
from trading_runtime.backtest.report.markup import NOTHING, Json, mapping, scroll, text_of, texts
from trading_runtime.backtest.report.subject import Subject

_MONEY = (
    ("Net profit", "net_profit"),
    ("Realised", "realised"),
    ("Unrealised", "unrealised"),
    ("Fees", "fees"),
    ("Funding", "funding"),
)
_COUNTS = (("Orders", "orders"), ("Fills", "fills"), ("Trades", "trades"), ("Open", "open_trades"))


def sleeves(subject: Subject) -> str:
    """Return the section, empty for a strategy that names no sleeves."""
    found = mapping(subject.result, "sleeves")
    parts = {name: figures for name, figures in found.items() if isinstance(figures, dict)}
    if not parts:
        return ""
    labels = [label for label, _ in _MONEY] + ["Share", "Drawdown", "In the market", "Turnover a year"]
    labels += [label for label, _ in _COUNTS]
    head = '<th scope="col" class="text">Sleeve</th>' + "".join(f'<th scope="col">{label}</th>' for label in labels)
    rows = "".join(_row(subject, name, figures) for name, figures in parts.items())
    rows += _sum(subject, list(parts.values()))
    table = f'<table class="sleeves"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    symbols = "".join(
        f"<div><dt>{text_of(name)}</dt><dd>{escape(', '.join(texts(figures.get('symbols'))))}</dd></div>"
        for name, figures in parts.items()
    )
    return f"""<section id="sleeves" class="card" aria-labelledby="sleeves-title">
<div class="bar"><h2 id="sleeves-title">Sleeves</h2><p class="unit">amounts in {escape(subject.quote)}</p></div>
{scroll("Sleeves", table)}
<dl class="facts-list sleeve-symbols">{symbols}</dl>
</section>"""


def _row(subject: Subject, name: str, figures: Json) -> str:
    money = "".join(f"<td{_tone(key, figures)}>{_money(subject, figures.get(key))}</td>" for _, key in _MONEY)
    others = [
        _percent(figures.get("profit_share_fraction")),
        _money(subject, figures.get("maximum_drawdown")),
        _percent(figures.get("time_in_market_fraction")),
        _times(figures.get("turnover_per_year")),
        *(_count(figures.get(key)) for _, key in _COUNTS),
    ]
    return f'<tr><th scope="row">{text_of(name)}</th>{money}{"".join(f"<td>{text}</td>" for text in others)}</tr>'


def _sum(subject: Subject, parts: list[Json]) -> str:
    """Return the last row. Drawdowns and times in the market of parts overlap, so that they have no sum."""

    def total(key: str) -> float:
        return sum(value for part in parts if is_number(value := part.get(key)))

    money = "".join(f"<td>{_money(subject, total(key))}</td>" for _, key in _MONEY)
    counts = "".join(f"<td>{_count(total(key))}</td>" for _, key in _COUNTS)
    turnover = _times(total("turnover_per_year"))
    return f'<tr class="sum"><th scope="row">All</th>{money}<td></td><td></td><td></td><td>{turnover}</td>{counts}</tr>'


def _tone(key: str, figures: Json) -> str:
    value = figures.get(key)
    return f' class="{tone(value)}"' if key == "net_profit" and is_number(value) else ""


def _money(subject: Subject, value: object) -> str:
    return subject.money(value) if is_number(value) else NOTHING


def _percent(value: object) -> str:
    return percent(value, decimals=1) if is_number(value) else NOTHING


def _times(value: object) -> str:
    return significant(value, 3) if is_number(value) else NOTHING


def _count(value: object) -> str:
    return count(value) if is_number(value) else NOTHING
