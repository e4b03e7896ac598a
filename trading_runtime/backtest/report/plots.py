"""Curves and prices: the frames they are drawn in, the key to their marks, and the numbers that are drawn.

Drawing is the work of ``assets/report.js``; thinning that of ``charts`` and ``tables``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trading_runtime.backtest import charts
from trading_runtime.backtest.figures import count
from trading_runtime.backtest.metrics import drawdown
from trading_runtime.backtest.report.markup import Json, text_of
from trading_runtime.backtest.report.subject import Subject
from trading_runtime.backtest.tables import downsample_ohlc

PRICE_ROWS_MAX = 12_000  # over all symbols: a report of many symbols stays near a megabyte
PRICE_BUCKETS_MIN = 250


def plots(subject: Subject) -> str:
    log = '<button type="button" id="log" class="quiet" aria-pressed="false">Log scale</button>'
    frames = [
        _plot("equity", "Equity"),
        _plot("drawdown", "Below the last peak"),
        _plot("exposure", "Exposure"),
    ]
    if subject.sleeves:
        frames.insert(1, _plot("sleeves", "Profit by sleeve"))
    if len(subject.symbols) > 1:
        options = "".join(
            f'<option value="{index}">{text_of(name)}</option>' for index, name in enumerate(subject.symbols)
        )
        picker = f'<label class="pick">Symbol <select id="symbol">{options}</select></label>'
        frames.append(_plot("price", "Price and trades", picker, _key(subject)))
    elif subject.symbols:
        frames.append(_plot("price", f"{text_of(subject.symbols[0])} and trades", "", _key(subject)))
    else:
        frames.append('<p class="empty">This result holds no prices to draw.</p>')
    moves = {
        "left": ("Earlier", "←"),
        "right": ("Later", "→"),
        "in": ("Zoom in", "+"),
        "out": ("Zoom out", "−"),
    }
    buttons = "".join(
        f'<button type="button" data-move="{key}" aria-label="{label}">{sign}</button>'
        for key, (label, sign) in moves.items()
    )
    return f"""<section id="charts" class="card" aria-labelledby="charts-title">
<div class="bar">
<h2 id="charts-title">Charts</h2>
{log}
<div class="range" role="group" aria-label="Period shown" id="range"></div>
<div class="range" role="group" aria-label="Zoom and move" id="move" hidden>{buttons}</div>
</div>
<noscript><p class="empty">The curves need scripts; all figures below do not.</p></noscript>
{"".join(frames)}
<p class="hint">Drag to zoom, shift-drag or two fingers to move, double-click for everything.
With the keyboard: arrows, shift-arrows, + − and 0.</p>
<p id="live" class="unseen" aria-live="polite"></p>
</section>"""


def _plot(key: str, title: str, control: str = "", note: str = "") -> str:
    return f"""<figure class="chart">
<figcaption><h3>{title}</h3>{control}<span class="legend" id="legend-{key}"></span></figcaption>
<div class="plot" id="plot-{key}" tabindex="0" role="group"
 aria-roledescription="chart" aria-label="{title}"></div>
{note}
</figure>"""


def _key(subject: Subject) -> str:
    """Return the key to the marks of trades, and which trades the page knows when not all; the script says how many of
    them have room.
    """
    marks = {
        "up": "long entry",
        "down": "short entry",
        "out": "exit",
        "won": "won",
        "lost": "lost",
        "held": "still open",
    }
    items = [f'<i class="{kind}"></i>{label}' for kind, label in marks.items()]
    rows = 0 if subject.trades is None else len(subject.trades["pnl"])
    if rows > charts.MARKED_TRADES_MAX:
        items.append(f"of {count(rows)} trades the {count(charts.MARKED_TRADES_MAX)} that mattered most")
    listed = "".join(f"<span>{item}</span>" for item in items)
    return f'<p class="key">{listed}<strong id="marked"></strong></p>'


def chart_data(subject: Subject) -> Json:
    """Return what the page's script draws."""
    below = -drawdown(np.concatenate(([subject.start_equity], subject.equity["equity"])))[1:]
    series = {name: subject.equity[name] for name in ("equity", "benchmark", "exposure")} | {"drawdown": below}
    rows = charts.thinned_rows([*series.values(), *subject.sleeves.values()])
    curves: Json = {"time": charts.time_steps(subject.equity["time_ms"][rows])}
    for name, values in series.items():
        curves[name] = charts.compact(values[rows], 8 if name in ("equity", "benchmark") else 5)
    buckets = max(PRICE_ROWS_MAX // max(len(subject.symbols), 1), PRICE_BUCKETS_MIN)
    return {
        "hours": subject.with_hours,
        "decimals": subject.money_decimals,
        "curves": curves,
        "sleeves": [{"name": name, "profit": charts.compact(one[rows], 8)} for name, one in subject.sleeves.items()],
        "prices": [] if subject.chart is None else _price_data(subject.chart, subject.symbols, buckets),
        "trades": None if subject.trades is None else _mark_data(subject.trades, subject.symbols),
    }


def _price_data(chart: Json, symbols: Sequence[str], buckets: int) -> list[Json]:
    """Return each symbol's candles, thinned once more when many symbols share the page."""
    names = np.array(chart["symbol"], dtype=object)
    data: list[Json] = []
    for symbol in symbols:
        rows = np.flatnonzero(names == symbol)
        time_ms, open_, high, low, close = (chart[key][rows] for key in ("time_ms", "open", "high", "low", "close"))
        time_ms, open_, high, low, close = downsample_ohlc(time_ms, open_, high, low, close, buckets)
        data.append(
            {
                "symbol": symbol,
                "time": charts.time_steps(time_ms),
                "open": charts.compact(open_),
                "high": charts.compact(high),
                "low": charts.compact(low),
                "close": charts.compact(close),
            }
        )
    return data


def _mark_data(trades: Json, symbols: Sequence[str]) -> Json:
    """Return the trades a price chart marks, as columns; times in seconds."""
    places = {symbol: index for index, symbol in enumerate(symbols)}
    rows = [row for row in charts.marked_trades(trades["pnl"].tolist()) if trades["symbol"][row] in places]
    return {
        "symbol": [places[trades["symbol"][row]] for row in rows],
        "long": [int(trades["direction"][row] == "long") for row in rows],
        "open": [int(trades["is_open"][row]) for row in rows],
        "won": [int(trades["pnl"][row] > 0.0) for row in rows],
        "entered": (trades["entry_time_ms"][rows] // 1000).tolist(),
        "left": (trades["exit_time_ms"][rows] // 1000).tolist(),
        "from": charts.compact(trades["entry_price"][rows]),
        "to": charts.compact(trades["exit_price"][rows]),
    }
