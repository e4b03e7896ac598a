"""What a reader sees first: what was swept, what came out of it in words, whether it is complete, and how far to trust
it.

Every figure here stands again in a section of its own.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape, unescape

from trading_runtime.backtest.figures import count, is_number, percent, plain
from trading_runtime.backtest.report.markup import text_of
from trading_runtime.sweep.report.subject import Json, Subject, figure, label, words_of
from trading_runtime.sweep.walk_forward import METRIC, PARAMETER

REASONS_SHOWN = 20
LONG_FIGURE = 11  # characters; longer ones leave no room for eight tiles beside each other
SKILL = 0.95  # what Bailey and López de Prado ask of a deflated Sharpe ratio

_LACKING = {
    "missing": "not computed yet",
    "failed": "the strategy ended in an error",
    "corrupt": "the result was damaged and is to be computed again",
}
_TAG = re.compile("<[^>]*>")


def title(subject: Subject) -> str:
    planned, periods = _count(subject, "planned"), subject.sweep.get("periods")
    cells = subject.total if planned is None else planned
    strategy = subject.sweep.get("strategy")
    facts = [
        plain(strategy.get("name") or strategy.get("class") or "")
        if isinstance(strategy, dict)
        else plain(strategy or ""),
        f"{count(cells)} {'cell' if cells == 1 else 'cells'}",
        f"{count(len(periods))} periods" if isinstance(periods, list) and len(periods) > 1 else "",
        f"by {label(subject.metric)}, {'highest' if subject.highest else 'lowest'} first",
    ]
    listed = "".join(f"<li>{escape(fact)}</li>" for fact in facts if fact)
    root = subject.sweep.get("root_digest")
    digest = f'<p class="root">Root digest <span class="code">{text_of(root)}</span></p>' if root else ""
    return f"""<div class="title">
<p class="over">Sweep report</p>
<h1>{text_of(subject.sweep.get("name", "sweep"))}</h1>
<ul class="facts">{listed}</ul>
<p class="lead">{" ".join(_sentences(subject))}</p>
{digest}
</div>"""


def _sentences(subject: Subject) -> list[str]:
    """Say in words what came out, and at once what it is worth."""
    sentences = []
    rows = subject.ranked()
    if rows:
        names = subject.parameters
        chosen = escape(words_of(names, [subject.columns[PARAMETER + name][rows[0]] for name in names]))
        value = figure(subject.metric, subject.columns[METRIC + subject.metric][rows[0]])
        in_train = (subject.columns.get("role") or [""])[rows[0]] == "train"
        period = subject.columns["period"][rows[0]]
        several = len(_listed(subject, "periods")) > 1
        where = " in train" if in_train else f" in period {escape(plain(period))}" if several else ""
        with_ = f" with {chosen}" if chosen else ""
        sentences.append(f"The best {escape(label(subject.metric))}{where} is <b>{value}</b>{with_}.")
    best = subject.part("best")
    judged = sum(isinstance(one, dict) and one.get("role") != "train" for one in _listed(subject, "periods"))
    if judged > 1 and is_number(best.get("value")) and isinstance(best.get("parameters"), dict):
        value = figure(subject.metric, best["value"])
        chosen = escape(words_of(list(best["parameters"]), list(best["parameters"].values())))
        where = "tests" if subject.part("walk_forward") else "periods"
        sentences.append(f"On average over {judged} {where} the best, in hindsight, has {value} with {chosen}.")
    metrics = stitched_metrics(subject)
    if is_number(metrics.get("total_return_fraction")):
        total = figure("total_return_fraction", metrics["total_return_fraction"], sign=True)
        sharpe = figure("sharpe_ratio", metrics.get("sharpe_ratio"))
        sentences.append(f"Chosen fold by fold and judged on what came after: <b>{total}</b>, Sharpe ratio {sharpe}.")
    statistics = subject.part("statistics")
    deflated, overfitting = (_part(statistics, name) for name in ("deflated_sharpe", "backtest_overfitting"))
    if is_number(skill := deflated.get("probability")):
        trials = statistics.get("trials")
        counted = f"{count(trials)} trials" if is_number(trials) else "the trials"
        verdict = "" if skill >= SKILL else ": that is no evidence of skill"
        which = "the best in hindsight" if metrics else "it"  # not the choice fold by fold, which is told before
        sentences.append(
            f"With {counted} counted, {which} is real with a probability of "
            f"<b>{percent(skill, decimals=1)}</b>{verdict}."
        )
    if is_number(share := overfitting.get("probability")):
        often = percent(share, decimals=1)
        sentences.append(f"In {often} of all halvings, the best of one half is not above the median of the other.")
    return sentences


def notices(subject: Subject) -> str:
    lacking = [(name, number) for name in _LACKING if (number := _count(subject, name))]
    text = ""
    if lacking:
        items = "".join(
            f"<li><b>{count(number)}</b> {'cell' if number == 1 else 'cells'} {name}: {_LACKING[name]}</li>"
            for name, number in lacking
        )
        heading = "<p>This sweep is not complete</p>"
        text += (
            f'<aside class="notice alarm" aria-label="Incomplete">{heading}<ul>{items}</ul>{_reasons(subject)}</aside>'
        )
    remarks = []
    shown = len(subject.columns["cell_id"])
    if shown < subject.total:
        remarks.append(
            f"This page shows {count(shown)} of {count(subject.total)} cells: the best ones and an even sample of the "
            "others. cells.parquet holds all."
        )
    if subject.part("provenance").get("dirty") is True:
        remarks.append("The code had changes that no commit holds: its commit alone cannot reproduce this sweep.")
    if remarks:
        items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
        text += f'<aside class="notice" aria-label="Remarks"><ul>{items}</ul></aside>'
    return text


def tiles(subject: Subject) -> str:
    rows = subject.ranked()
    best = subject.columns[METRIC + subject.metric][rows[0]] if rows else None
    statistics = subject.part("statistics")
    deflated, overfitting = (_part(statistics, name) for name in ("deflated_sharpe", "backtest_overfitting"))
    figures = [
        ("Cells", _told(subject, "planned"), "", ""),
        ("Done", _told(subject, "done"), f"{_told(subject, 'reused')} reused", ""),
        *((name.capitalize(), _told(subject, name), "", "bad" if _count(subject, name) else "") for name in _LACKING),
        (f"Best {label(subject.metric)}", figure(subject.metric, best), "before counting trials", ""),
    ]
    metrics = stitched_metrics(subject)
    if metrics:
        total, sharpe = (metrics.get(key) for key in ("total_return_fraction", "sharpe_ratio"))
        figures += [
            ("Out of sample", figure("total_return_fraction", total, sign=True), "all tests, chained", ""),
            ("Sharpe", figure("sharpe_ratio", sharpe), "out of sample", ""),
        ]
    elif statistics:
        figures += [
            ("Skill, deflated", _share(deflated.get("probability")), "deflated Sharpe", ""),
            ("Overfitting", _share(overfitting.get("probability")), "probability, CSCV", ""),
        ]
    cells = "".join(
        f'<div class="{kind}"><dt>{escape(name)}</dt><dd>{value}</dd><dd class="note">{note}</dd></div>'
        for name, value, note, kind in figures
    )
    longest = max(len(unescape(_TAG.sub("", value))) for _, value, _, _ in figures)
    form = "tiles long" if longest > LONG_FIGURE else "tiles"
    return f'<dl class="{form}" style="--characters:{longest}" aria-label="Key figures">{cells}</dl>'


def stitched_metrics(subject: Subject) -> Json:
    return _part(_part(subject.part("walk_forward"), "stitched"), "metrics")


def _part(parent: Json, name: str) -> Json:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _listed(subject: Subject, name: str) -> list[object]:
    value = subject.sweep.get(name)
    return value if isinstance(value, list) else []


def _reasons(subject: Subject) -> str:
    """Return why cells failed or were damaged, each reason once, with how many cells it met."""
    reasons = Counter(plain(reason) for name in ("failed", "corrupt") for reason in subject.part(name).values())
    items = "".join(
        f"<li><b>{count(number)}</b> × {escape(reason)}</li>" for reason, number in reasons.most_common(REASONS_SHOWN)
    )
    return f"<details><summary>Reasons</summary><ul>{items}</ul></details>" if items else ""


def _count(subject: Subject, name: str) -> int | None:
    value = subject.part("counts").get(name)
    if isinstance(value, list):
        return len(value)
    return int(value) if is_number(value) else None


def _told(subject: Subject, name: str) -> str:
    value = _count(subject, name)
    return figure("fills", value)


def _share(value: object) -> str:
    return percent(value, decimals=1) if is_number(value) else figure("", None)
