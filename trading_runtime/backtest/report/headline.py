"""What a reader sees first: the name of the run, what happened in words, warnings, and the tiles of key figures.

Every figure here stands again, with all others, in ``figures_table``.
"""

from __future__ import annotations

import re
from html import escape, unescape

from trading_runtime.backtest.figures import count, duration, percent, plain, significant
from trading_runtime.backtest.report.markup import mapping, span, text_of, texts
from trading_runtime.backtest.report.subject import Subject

SYMBOLS_NAMED = 6
LONG_FIGURE = 11  # characters; longer ones leave no room for eight tiles beside each other

_TAG = re.compile("<[^>]*>")


def title(subject: Subject) -> str:
    strategy, period = mapping(subject.result, "strategy"), mapping(subject.result, "period")
    symbols = texts(subject.result.get("symbols"))
    if len(symbols) > SYMBOLS_NAMED:
        symbols = [*symbols[: SYMBOLS_NAMED - 1], f"{len(symbols) - SYMBOLS_NAMED + 1} more"]
    facts = [
        plain(strategy.get("name") or strategy.get("class") or ""),
        ", ".join(symbols),
        plain(period.get("timeframe", "")),
        span(period, "start", "end") if {"start", "end"} <= set(period) else "",
        f"{count(len(subject.equity['time_ms']))} bars",
    ]
    listed = "".join(f"<li>{escape(fact)}</li>" for fact in facts if fact)
    return f"""<div class="title">
<p class="over">Backtest report</p>
<h1>{text_of(subject.result["name"])}</h1>
<ul class="facts">{listed}</ul>
<p class="lead">{_sentence(subject)}</p>
</div>"""


def _sentence(subject: Subject) -> str:
    """Say in words what happened, from the figures that exist."""
    total, days = subject.number("total_return_fraction"), subject.number("period_days")
    other = subject.number("benchmark_return_fraction")
    deepest, lasted = subject.number("maximum_drawdown_fraction"), subject.number("maximum_drawdown_days")
    sentences = []
    if total is not None:
        word = "gained" if total > 0 else "lost" if total < 0 else "ended where it began:"
        sentence = f"The account {word} <b>{percent(abs(total))}</b>"
        if days is not None and days >= 2:
            sentence += f" in {count(days)} days"
        if other is not None:
            side = "ahead of" if total >= other else "behind"
            points = f"{abs(total - other) * 100:,.1f} points"
            sentence += f", {points} {side} buying and holding ({percent(other, sign=True)})"
        sentences.append(f"{sentence}.")
    if deepest is not None and deepest > 0:
        sentence = f"Its deepest drawdown was <b>{percent(deepest)}</b>"
        if lasted is not None and lasted >= 1:
            sentence += f" and lasted {count(lasted)} days"
        sentences.append(f"{sentence}.")
    return " ".join(sentences)


def notices(subject: Subject) -> str:
    warnings = texts(subject.result.get("warnings"))
    if mapping(subject.result, "provenance").get("dirty") is True:
        warnings.append("The code had changes that no commit holds: its commit alone cannot reproduce this result.")
    if not warnings:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    label = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
    return f'<aside class="notice" aria-label="Warnings"><p>{label}</p><ul>{items}</ul></aside>'


def tiles(subject: Subject) -> str:
    value = subject.value
    lasted, turnover = subject.number("maximum_drawdown_days"), subject.number("turnover_per_year")
    signs = {"sign": True}
    figures = [
        (
            "Total return",
            value("total_return_fraction", **signs),
            f"hold {value('benchmark_return_fraction', **signs)}",
        ),
        (
            "Annual return",
            value("annual_return_fraction", **signs),
            f"volatility {value('volatility_annual_fraction')}",
        ),
        ("Sharpe", value("sharpe_ratio"), f"Sortino {value('sortino_ratio')}"),
        (
            "Max. drawdown",
            value("maximum_drawdown_fraction"),
            "" if lasted is None else " ".join(duration(lasted)),
        ),
        ("Win rate", value("win_rate_fraction"), f"{value('trades')} closed trades"),
        ("Profit factor", value("profit_factor"), f"SQN {value('sqn')}"),
        (
            "In the market",
            value("exposure_time_fraction"),
            ""
            if turnover is None
            else f"turnover {significant(turnover, 4)}\N{NO-BREAK SPACE}× a\N{NO-BREAK SPACE}year",
        ),
        ("Fees", value("fees"), f"slippage {value('slippage')}"),
    ]
    cells = "".join(
        f'<div><dt>{label}</dt><dd>{figure}</dd><dd class="note">{note}</dd></div>' for label, figure, note in figures
    )
    # All figures share one size, at which the longest of them fits into its tile.
    longest = max(len(unescape(_TAG.sub("", figure))) for _, figure, _ in figures)
    kind = "tiles long" if longest > LONG_FIGURE else "tiles"
    return f'<dl class="{kind}" style="--characters:{longest}" aria-label="Key figures">{cells}</dl>'
