"""The trades of the run and their reasons: the spread of their returns, what each reason earned, and the lists.

Written as tables that can be read, searched and printed without scripts; their marks on prices belong to ``plots``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from trading_runtime.backtest import charts
from trading_runtime.backtest.figures import count, decimal, percent, tone
from trading_runtime.backtest.report.markup import Json, scroll, text_of
from trading_runtime.backtest.report.subject import Subject

LISTED_TRADES = 50

# Heading, and whether it is text (aligned left, sorted by letter) or a number.
_TRADE_COLUMNS = (
    ("Symbol", True),
    ("Side", True),
    ("Entered", True),
    ("Left", True),
    ("Bars", False),
    ("Quantity", False),
    ("Entry", False),
    ("Exit", False),
    ("Return", False),
    ("PnL", False),
    ("Costs", False),
    ("Entry reason", True),
    ("Exit reason", True),
)


def distribution(subject: Subject) -> str:
    trades = subject.trades
    if trades is None or not subject.closed:
        return ""
    pnl: list[float] = trades["pnl"][subject.closed].tolist()
    returns: list[float] = trades["return_fraction"][subject.closed].tolist()
    held: list[int] = trades["bars_held"][subject.closed].tolist()
    reasons = [trades["exit_reason"][row] or "(none)" for row in subject.closed]
    tables = _group_table(subject, "Exit reason", charts.group_trades(reasons, pnl, returns, held))
    if subject.several:
        symbols = [trades["symbol"][row] for row in subject.closed]
        tables += _group_table(subject, "Symbol", charts.group_trades(symbols, pnl, returns, held))
    average = percent(sum(returns) / len(returns), sign=True)
    middle = percent(sorted(returns)[len(returns) // 2], sign=True)
    return f"""<section id="distribution" class="pair">
<div class="card">
<div class="bar"><h2>Returns of trades</h2>
<p class="unit">{count(len(returns))} closed, average {average}, median {middle}</p></div>
{_histogram(returns)}
</div>
<div class="card">
<div class="bar"><h2>Where the money came from</h2><p class="unit">{escape(subject.quote)}</p></div>
{tables}
</div>
</section>"""


def _group_table(subject: Subject, heading: str, groups: Sequence[charts.TradeGroup]) -> str:
    largest = max(abs(group.pnl) for group in groups) or 1.0
    rows = ""
    for group in groups:
        width = abs(group.pnl) / largest * 100
        rows += (
            f'<tr><th scope="row">{text_of(group.name)}</th><td>{count(group.trades)}</td>'
            f"<td>{percent(group.wins / group.trades, decimals=0)}</td>"
            f"<td>{percent(group.average_return, sign=True)}</td>"
            f"<td>{decimal(group.average_bars, 1)}</td>"
            f'<td class="gauge {tone(group.pnl)}">{subject.money(group.pnl, sign=True)}'
            f'<i style="width:{width:.1f}%"></i></td></tr>'
        )
    head = "".join(f'<th scope="col">{label}</th>' for label in (heading, "Trades", "Won", "Average", "Bars", "PnL"))
    table = f'<table class="groups"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return scroll(f"Trades by {heading.lower()}", table)


def _histogram(returns: Sequence[float]) -> str:
    bins = charts.histogram(returns)
    highest = max(column.count for column in bins)
    numbered = highest < 1000  # longer labels would run into each other
    columns = ""
    for column in bins:
        kind = "loss" if column.low is None or column.low < 0.0 else "gain"
        height = column.count / highest * 92  # the rest is room for the label
        label = f'data-count="{column.count}"' if numbered and column.count else 'class="none"'
        columns += (
            f'<span {label} title="{_bin_words(column)}: {count(column.count)}">'
            f'<i class="{kind}" style="height:{height:.2f}%"></i></span>'
        )
    low, high = bins[0], bins[-1]
    left = f"≤ {percent(low.high or 0.0, decimals=1)}" if low.low is None else percent(low.low, decimals=1)
    right = f"≥ {percent(high.low or 0.0, decimals=1)}" if high.high is None else percent(high.high, decimals=1)
    zero = sum(column.low is None or column.low < 0.0 for column in bins) / len(bins) * 100
    mark = f'<b style="left:{zero:.2f}%">0</b>' if 12.0 < zero < 88.0 else ""
    words = f"{count(len(returns))} returns of trades from {percent(min(returns))} to {percent(max(returns))}"
    return f"""<div class="histogram" role="img" aria-label="Histogram of {words}">
<div class="columns">{columns}</div></div>
<p class="edges"><span>{left}</span>{mark}<span>{right}</span></p>"""


def _bin_words(column: charts.Bin) -> str:
    if column.low is None:
        return f"below {percent(column.high or 0.0)}"
    if column.high is None:
        return f"{percent(column.low)} and above"
    return f"{percent(column.low)} to {percent(column.high)}"


def trade_list(subject: Subject) -> str:
    trades = subject.trades
    if trades is None:
        return ""
    rows = len(trades["pnl"])
    if not rows:
        return """<section id="trades" class="card"><div class="bar"><h2>Trades</h2></div>
<p class="empty">No trade was made.</p></section>"""
    newest = list(reversed(range(rows)))  # the table is in the order they closed, open ones last
    lists = {"last": newest[:LISTED_TRADES]}
    if rows > LISTED_TRADES:
        pnl = trades["pnl"].tolist()
        lists["best"] = sorted(subject.closed, key=lambda row: (-pnl[row], row))[:LISTED_TRADES]
        lists["worst"] = sorted(subject.closed, key=lambda row: (pnl[row], row))[:LISTED_TRADES]
    places = {name: {row: place for place, row in enumerate(listed)} for name, listed in lists.items()}
    shown = set().union(*lists.values())
    body = "".join(_trade_row(subject, trades, row, places) for row in newest if row in shown)
    buttons = "".join(
        f'<button type="button" data-list="{name}">{name.title()} {len(listed)}</button>'
        for name, listed in lists.items()
    )
    picker = ""
    if len(lists) > 1:
        picker = f'<div class="range" role="group" aria-label="Trades shown" id="lists" hidden>{buttons}</div>'
    head = "".join(
        f'<th scope="col"{" class=text" if is_text else ""}><button type="button">{label}</button></th>'
        for label, is_text in _TRADE_COLUMNS
        if subject.several or label != "Symbol"
    )
    unit = f"{count(rows)} in all, times in UTC" + (f", amounts in {escape(subject.quote)}" if subject.quote else "")
    parts = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    table = f'<table class="trades" id="trade-table">{parts}</table>'
    return f"""<section id="trades" class="card" aria-labelledby="trades-title">
<div class="bar"><h2 id="trades-title">Trades</h2><p class="unit">{unit}</p>{picker}</div>
{scroll("Trades", table, tall=True)}
</section>"""


def _trade_row(subject: Subject, trades: Json, row: int, places: Mapping[str, Mapping[int, int]]) -> str:
    """Return one trade; ``data-v`` holds what a column sorts by, ``data-last`` and its like the place in
    a list.
    """

    def text(value: str) -> str:
        return f'<td class="text">{escape(value)}</td>'

    def time(time_ms: int, shown: str) -> str:
        return f'<td class="text" data-v="{time_ms}">{shown}</td>'

    def number(value: float, shown: str, kind: str = "") -> str:
        return f'<td data-v="{value!r}"{f" class={kind}" if kind else ""}>{shown}</td>'

    pnl, fraction = float(trades["pnl"][row]), float(trades["return_fraction"][row])
    costs = float(trades["fees"][row]) + float(trades["funding"][row])
    entered, left = int(trades["entry_time_ms"][row]), int(trades["exit_time_ms"][row])
    held, quantity = int(trades["bars_held"][row]), float(trades["quantity"][row])
    entry, exit_ = float(trades["entry_price"][row]), float(trades["exit_price"][row])
    quantity_decimals, price_decimals = subject.decimals[trades["symbol"][row]]
    cells = [
        text(trades["symbol"][row]) if subject.several else "",
        text(trades["direction"][row]),
        time(entered, subject.time(entered)),
        time(left, "open" if trades["is_open"][row] else subject.time(left)),
        number(held, count(held)),
        number(quantity, decimal(quantity, quantity_decimals)),
        number(entry, decimal(entry, price_decimals)),
        number(exit_, decimal(exit_, price_decimals)),
        number(fraction, percent(fraction, sign=True), tone(fraction)),
        number(pnl, subject.money(pnl, sign=True), tone(pnl)),
        number(costs, subject.money(costs)),
        text(trades["entry_reason"][row]),
        text(trades["exit_reason"][row]),
    ]
    ranks = " ".join(f'data-{name}="{rank[row]}"' for name, rank in places.items() if row in rank)
    return f"<tr {ranks}>{''.join(cells)}</tr>"
