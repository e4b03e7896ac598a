"""The sections that need no script: the best cells, folds and stability, statistics, and where the sweep came from.

Figures come from ``sweep.json`` as they are; the frames of what is drawn stand in ``page``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from trading_runtime.backtest.figures import count, decimal, is_number, moment, percent, plain, significant
from trading_runtime.backtest.report.markup import NOTHING, facts, scroll, text_of
from trading_runtime.sweep.report.headline import stitched_metrics
from trading_runtime.sweep.report.subject import Json, Subject, figure, label, words_of
from trading_runtime.sweep.walk_forward import METRIC, PARAMETER

BEST_SHOWN = 20
BEST_METRICS = 9  # as many columns of parameters and metrics as a desk's width holds
BEST_METRICS_LEAST = 3
VALUES_SHOWN = 12

_STITCHED = (
    "total_return_fraction",
    "annual_return_fraction",
    "sharpe_ratio",
    "sortino_ratio",
    "maximum_drawdown_fraction",
    "volatility_annual_fraction",
    "longest_drawdown_days",
    "trades",
)


def best_cells(subject: Subject) -> str:
    rows = subject.ranked()[:BEST_SHOWN]
    names, columns = subject.parameters, subject.columns
    if not rows:
        body = f'<p class="empty">No cell has a value of {escape(label(subject.metric))}.</p>'
        return _card("best", "Best cells", "", body)
    several = len(set(columns["period"])) > 1
    metrics = subject.metrics[: max(BEST_METRICS_LEAST, BEST_METRICS - several - len(names))]
    trades_head = ["Trades"] if subject.knows_trades else []
    linked = any(columns["cell_id"][row] in subject.links for row in rows)
    heads = ["", *names, *(label(metric) for metric in metrics), *trades_head, "Cell"]
    heads[1:1] = ["Period"] if several else []
    heads += ["Report"] if linked else []
    texts = {"Period", "Cell", "Report"}
    head = "".join(f'<th scope="col"{" class=text" if one in texts else ""}>{escape(one)}</th>' for one in heads)
    body = ""
    for place, row in enumerate(rows, start=1):
        cell = str(columns["cell_id"][row])
        body += f'<tr><th scope="row">{place}</th>'
        body += f'<td class="text">{text_of(columns["period"][row])}</td>' if several else ""
        body += "".join(f"<td>{text_of(columns[PARAMETER + name][row])}</td>" for name in names)
        body += "".join(f"<td>{figure(metric, columns[METRIC + metric][row])}</td>" for metric in metrics)
        body += f"<td>{figure('trades', columns['trades'][row])}</td>" if trades_head else ""
        body += f'<td class="text code" title="{escape(cell)}">{escape(cell[:12])}</td>'
        if linked:
            link = subject.links.get(cell)
            body += f'<td class="text"><a href="{escape(link)}">open</a></td>' if link else "<td></td>"
        body += "</tr>"
    table = f'<table class="best"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    in_train = (columns.get("role") or [""])[rows[0]] == "train"
    unit = f"{len(rows)} of {count(subject.total)}" + (
        ", in train: what they were chosen by, not what they earned" if in_train else ""
    )
    return _card("best", "Best cells", unit, scroll("Best cells", table) + _how_to_report(subject, rows[0]))


def _how_to_report(subject: Subject, row: int) -> str:
    """The command that makes the report of a cell: trades and charts are not stored, they are computed again."""
    sweep_id = subject.sweep.get("sweep_id")
    if not isinstance(sweep_id, str):
        return ""
    cell = str(subject.columns["cell_id"][row])[:12]
    command = f"trading-runtime sweep report --sweep {sweep_id} --cell {cell}"
    return (
        f'<p class="hint">Trades, charts and journal of a cell: <code>{escape(command)}</code>, with the '
        "<code>--store</code> of the sweep.</p>"
    )


def folds(subject: Subject) -> str:
    walk = subject.part("walk_forward")
    listed = [one for one in walk.get("folds", []) if isinstance(one, dict)]
    if not listed:
        return ""
    names = subject.parameters
    heads = ["Fold", "Train", "Test", *names, "In train", "In test", "Ties", "Candidates"]
    head = "".join(
        f'<th scope="col"{" class=text" if one in ("Train", "Test") else ""}>{escape(one)}</th>' for one in heads
    )
    spans = _spans(subject)
    body = ""
    for one in listed:
        chosen = one.get("chosen")
        body += f'<tr><th scope="row">{text_of(one.get("fold"))}</th>'
        body += "".join(
            f'<td class="text">{text_of(spans.get(one.get(key), one.get(key)))}</td>' for key in ("train", "test")
        )
        if isinstance(chosen, dict):
            body += "".join(f"<td>{text_of(chosen.get(name, ''))}</td>" for name in names)
        elif names:
            body += f'<td class="text" colspan="{len(names)}"></td>'
        body += "".join(f"<td>{figure(subject.metric, one.get(key))}</td>" for key in ("train_metric", "test_metric"))
        body += f"<td>{text_of(one.get('ties', ''))}</td><td>{text_of(one.get('candidates', ''))}</td></tr>"
        if one.get("refusal"):
            reason = f'<td class="text" colspan="{len(heads) - 1}">{text_of(one["refusal"])}</td>'
            body += f'<tr class="refused"><td></td>{reason}</tr>'
    table = f'<table class="folds"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    unit = f"{count(len(listed))} folds, {escape(label(subject.metric))}"
    return _card("folds", "Fold by fold", unit, scroll("Folds", table) + _stability(subject, walk))


def _stability(subject: Subject, walk: Json) -> str:
    steady = walk.get("stability")
    if not isinstance(steady, dict) or not steady:
        return ""
    folds_ = len(walk.get("folds", []))
    heads = ("Parameter", "Distinct", "Changes", "Mean", "Deviation")
    head = "".join(f'<th scope="col"{" class=text" if one == "Parameter" else ""}>{one}</th>' for one in heads)
    body = ""
    for name, one in steady.items():
        if not isinstance(one, dict):
            continue
        values = "".join(
            f"<td>{significant(value, 5) if is_number(value := one.get(key)) else NOTHING}</td>"
            for key in ("distinct", "changes", "mean", "deviation")
        )
        body += f'<tr><th scope="row">{text_of(name)}</th>{values}</tr>'
    table = f'<table class="groups narrow"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    told = f"How steady the choice was over {count(folds_)} folds"
    return f'<h3 class="below">{told}</h3>{scroll("Stability of parameters", table)}'


def _spans(subject: Subject) -> dict[Any, str]:
    periods = subject.sweep.get("periods")
    return {
        one.get("name"): f"{moment(one.get('start', '?'))} to {moment(one.get('end', '?'))}"
        for one in (periods if isinstance(periods, list) else [])
        if isinstance(one, dict)
    }


def stitched(subject: Subject) -> str:
    walk = subject.part("walk_forward")
    if not walk:
        return ""
    metrics = stitched_metrics(subject)
    refusal = walk.get("stitched", {}).get("refusal") if isinstance(walk.get("stitched"), dict) else None
    if subject.equity is None or not metrics:
        reason = text_of(refusal or "this sweep has no stitched equity")
        body = f'<p class="empty">There is no out-of-sample curve: {reason}.</p>'
        return _card("stitched", "Out of sample", "", body)
    told = "".join(
        f"<div><dt>{escape(label(key))}</dt><dd>{figure(key, metrics[key])}</dd></div>"
        for key in _STITCHED
        if key in metrics
    )
    name = "Stitched out-of-sample equity"
    body = f"""<figure class="chart">
<figcaption><h3>Equity of the chosen cells, test after test</h3><p class="legend" id="stitched-legend"></p></figcaption>
<div class="drawing" id="stitched-plot" role="img" tabindex="0" aria-label="{name}"></div>
</figure>
<dl class="figures">{told}</dl>
<p class="hint">Each test began with the starting cash and is chained onto the one before; bands are folds.
Drawdown at the ends of days.</p>"""
    return _card("stitched", "Out of sample", "", body)


def statistics(subject: Subject) -> str:
    told = subject.part("statistics")
    if not told:
        return ""
    parts = []
    for name, heading, rows in (
        ("deflated_sharpe", "Deflated Sharpe ratio", _deflated),
        ("backtest_overfitting", "Probability of backtest overfitting", _overfitting),
    ):
        part = told.get(name)
        if not isinstance(part, dict):
            continue
        if part.get("refusal"):
            body = f'<p class="empty">Not computed: {text_of(part["refusal"])}.</p>'
        else:
            items = "".join(f"<div><dt>{escape(key)}</dt><dd>{value}</dd></div>" for key, value in rows(part))
            body = f'<dl class="figures one">{items}</dl>' + _rank_bars(part.get("rank_shares"))
            if subject.part("walk_forward"):
                body += '<p class="hint">Over the chained tests; the chosen cell is the best of them in hindsight.</p>'
        parts.append(f'<div class="card"><div class="bar"><h2>{heading}</h2></div>{body}</div>')
    return f'<section id="statistics" class="pair even">{"".join(parts)}</section>' if parts else ""


def _deflated(part: Json) -> Sequence[tuple[str, str]]:
    needed, years = part.get("minimum_track_record_returns"), _number(part.get("minimum_track_record_years"), 1)
    length = f"{_number(needed, 0)} returns, {years} years" if is_number(needed) else "none is long enough"
    return (
        ("Probability that it is real, all trials counted", _percent(part.get("probability"))),
        ("The same, had it been the only trial", _percent(part.get("probability_positive"))),
        ("Sharpe ratio of the chosen cell, annual", _number(part.get("sharpe"), 2)),
        ("What the best of as many without skill shows", _number(part.get("expected_maximum"), 2)),
        ("Trials", _number(part.get("trials"), 0)),
        ("Spread of their Sharpe ratios", _number(part.get("trials_deviation"), 2)),
        ("Returns", _number(part.get("returns"), 0)),
        ("Skewness and kurtosis", f"{_number(part.get('skewness'), 2)} and {_number(part.get('kurtosis'), 2)}"),
        ("Track record needed for 95%, one trial", length),
    )


def _overfitting(part: Json) -> Sequence[tuple[str, str]]:
    return (
        ("The best of one half is in the lower half of the other", _percent(part.get("probability"))),
        ("It loses there", _percent(part.get("probability_of_loss"))),
        ("Sharpe ratio where it was chosen, annual", _number(part.get("sharpe_in_sample"), 2)),
        ("Sharpe ratio where it was not", _number(part.get("sharpe_out_of_sample"), 2)),
        ("Median logit of its rank", _number(part.get("logit_median"), 2)),
        ("Combinations", _number(part.get("combinations"), 0)),
        ("Blocks, trials, returns", ", ".join(_number(part.get(key), 0) for key in ("blocks", "trials", "returns"))),
    )


def _rank_bars(shares: Any) -> str:
    if not isinstance(shares, list) or not shares or not all(is_number(share) for share in shares):
        return ""
    highest = max(shares) or 1.0
    bars = ""
    for place, share in enumerate(shares):
        kind = "loss" if 2 * place < len(shares) else "gain"
        bar = f'<i class="{kind}" style="height:{share / highest * 100:.2f}%"></i>'
        bars += f'<span class="none" title="{percent(share, decimals=1)}">{bar}</span>'
    told = ", ".join(percent(share, decimals=1) for share in shares)
    return f"""<h3 class="below">Where the best of one half ranks in the other</h3>
<div class="histogram ranks" role="img" aria-label="Shares of relative ranks, worst to best: {told}">
<div class="columns">{bars}</div></div>
<p class="edges"><span>worst</span><b style="left:50%">median</b><span>best</span></p>"""


def provenance(subject: Subject) -> str:
    searched = subject.part("parameters")
    rows = "".join(
        f'<tr><th scope="row">{text_of(name)}</th><td class="text">{escape(_space(one))}</td></tr>'
        for name, one in searched.items()
    )
    space = ""
    if rows:
        table = f'<table class="groups space"><tbody>{rows}</tbody></table>'
        space = f"<h3>Parameters searched</h3>{scroll('Parameters searched', table)}"
    named = _spans(subject)
    periods = "".join(
        f'<tr><th scope="row">{text_of(name)}</th><td class="text">{escape(span)}</td></tr>'
        for name, span in named.items()
    )
    if periods:
        table = f'<table class="groups space"><tbody>{periods}</tbody></table>'
        space += f"<h3>Periods</h3>{scroll('Periods', table, tall=True)}"
    strategy = subject.sweep.get("strategy")
    told = strategy if isinstance(strategy, dict) else {"class": strategy}
    fixed = told.get("fixed")
    conditions = subject.sweep.get("where")
    known = [
        ("Sweep", subject.sweep.get("sweep_id")),
        ("Root digest", subject.sweep.get("root_digest")),
        ("Strategy", told.get("class")),
        ("Strategy code hash", told.get("code_hash")),
        ("Fixed parameters", words_of(list(fixed), list(fixed.values())) if isinstance(fixed, dict) else None),
        ("Conditions", ", ".join(map(plain, conditions)) if isinstance(conditions, list) else conditions),
    ]
    made = sorted(subject.part("provenance").items())
    known += [(key.replace("_", " "), value) for key, value in made if not isinstance(value, dict | list)]
    details = {key: value for key, value in made if isinstance(value, dict | list)}
    if search := subject.part("search"):
        details["search"] = search
    listed = "".join(
        f"<details><summary>{text_of(key.replace('_', ' '))}</summary>"
        f"<pre>{escape(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))}</pre></details>"
        for key, value in details.items()
        if value
    )
    body = f"{space}<h3>Made by</h3>{facts(known)}{listed}"
    return _card("provenance", "What was swept, and by what", "", body)


def _space(one: Any) -> str:
    if not isinstance(one, dict):
        return plain(one)
    if isinstance(values := one.get("values"), list):
        shown = ", ".join(plain(value) for value in values[:VALUES_SHOWN])
        more = f", … {plain(values[-1])} ({count(len(values))} values)" if len(values) > VALUES_SHOWN else ""
        return shown + more
    if isinstance(span := one.get("range"), dict):
        return words_of(list(span), list(span.values()))
    return plain(one.get("range", one))


def _percent(value: Any) -> str:
    return percent(value, decimals=1) if is_number(value) else NOTHING


def _number(value: Any, decimals: int) -> str:
    return decimal(value, decimals) if is_number(value) else NOTHING


def _card(key: str, heading: str, unit: str, body: str) -> str:
    return f"""<section id="{key}" class="card" aria-labelledby="{key}-title">
<div class="bar"><h2 id="{key}-title">{heading}</h2><p class="unit">{unit}</p></div>
{body}
</section>"""
