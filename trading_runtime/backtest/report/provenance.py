"""What stands behind the result: what the gates refused, what made it, and the data it was made from.

Names and hashes are shown as they were recorded; nothing is checked or looked up.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from trading_runtime.backtest.figures import count, is_number, moment, plain
from trading_runtime.backtest.report.markup import NOTHING, Json, facts, mapping, scroll, span, text_of, texts
from trading_runtime.backtest.report.subject import Subject


def refusals(subject: Subject) -> str:
    refusals = {gate: times for gate, times in mapping(subject.result, "refusals").items() if is_number(times)}
    if not refusals:
        return ""
    most = max(refusals.values()) or 1
    groups = {
        category: gates
        for category in mapping(subject.result, "refusals_by_category")
        if (gates := mapping(mapping(subject.result, "refusals_by_category"), category))
    }
    named = len(groups) > 1  # one category needs no name
    counted = [
        (times, gate, category)
        for category, gates in (groups or {"": refusals}).items()
        for gate, times in gates.items()
        if is_number(times)
    ]
    rows = "".join(
        f'<tr><th scope="row">{text_of(gate)}</th>'
        + (f'<td class="text">{text_of(category)}</td>' if named else "")
        + f'<td class="gauge">{count(times)}'
        f'<i class="plain" style="width:{abs(times) / abs(most) * 100:.1f}%"></i></td></tr>'
        for times, gate, category in sorted(counted, key=lambda one: (-one[0], one[1], one[2]))
    )
    kind = '<th scope="col" class="text">Category</th>' if named else ""
    head = f'<th scope="col">Gate</th>{kind}<th scope="col">Intents</th>'
    return f"""<section id="refusals" class="card" aria-labelledby="refusals-title">
<div class="bar"><h2 id="refusals-title">Refusals</h2>
<p class="unit">intents that a gate did not let through</p></div>
<table class="groups narrow"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>
</section>"""


def provenance(subject: Subject) -> str:
    result = subject.result
    parts = [facts(_origin(subject)), _data_table(subject)]
    artifact = mapping(result, "artifact")
    if artifact:
        parts.append(_publications(artifact))
    parameters = mapping(mapping(result, "strategy"), "params")
    if parameters:
        parts.insert(1, "<h3>Parameters</h3>" + facts(list(parameters.items()), "parameters"))
    for key, title in (("assumptions", "Assumptions"), ("warnings", "Warnings")):
        items = "".join(f"<li>{escape(text)}</li>" for text in texts(result.get(key)))
        if items:
            parts.append(f'<h3>{title}</h3><ul class="prose">{items}</ul>')
    if result.get("config"):
        text = json.dumps(result["config"], indent=2, sort_keys=True, ensure_ascii=False)
        parts.append(f"<details><summary>Whole configuration</summary><pre>{escape(text)}</pre></details>")
    return f"""<section id="provenance" class="card" aria-labelledby="provenance-title">
<div class="bar"><h2 id="provenance-title">Provenance</h2><p class="unit">what made this result</p></div>
{"".join(parts)}
</section>"""


def _origin(subject: Subject) -> list[tuple[str, Any]]:
    """Return what names the result: hashes, code, period, account and versions, then whatever else was
    recorded.
    """
    result = subject.result
    strategy, period = mapping(result, "strategy"), mapping(result, "period")
    account, provenance = mapping(result, "account"), mapping(result, "provenance")
    commit = provenance.get("commit")
    if commit and commit != "unknown" and isinstance(provenance.get("dirty"), bool):
        commit = f"{commit} ({'with uncommitted changes' if provenance['dirty'] else 'clean'})"
    libraries = mapping(provenance, "libraries")
    named = {"commit", "dirty", "package_version", "python", "libraries", "platform"}
    return [
        ("Result digest", result.get("digest")),
        ("Configuration hash", result.get("config_hash")),
        ("Commit", commit),
        ("Strategy", strategy.get("class")),
        ("Strategy code hash", strategy.get("code_hash")),
        ("Period", span(period, "start", "end") if period else None),
        (
            "Account",
            ", ".join(f"{key.replace('_', ' ')} {plain(value)}" for key, value in account.items()),
        ),
        ("Trading Runtime", provenance.get("package_version")),
        ("Python", provenance.get("python")),
        (
            "Libraries",
            ", ".join(f"{name} {plain(version)}" for name, version in sorted(libraries.items())),
        ),
        ("Platform", provenance.get("platform")),
        *[(key.replace("_", " ").capitalize(), provenance[key]) for key in provenance if key not in named],
    ]


def _data_table(subject: Subject) -> str:
    data = subject.result.get("data")
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    manifests = [entry for entry in entries if entry.get("kind") != "artifact"]  # told of by themselves
    if not manifests:
        return ""
    rows = ""
    for entry in manifests:
        grade, remarks = _quality(entry)
        bars = entry.get("rows")
        rows += (
            f'<tr><th scope="row">{text_of(entry.get("symbol", ""))}</th>'
            f'<td class="text">{text_of(entry.get("timeframe", ""))}</td>'
            f"<td>{count(bars) if is_number(bars) else NOTHING}</td>"
            f'<td class="text">{escape(span(entry, "first_time", "last_time"))}</td>'
            f'<td class="text wrap"><b>{escape(grade)}</b> <small>{escape(remarks)}</small></td>'
            f'<td class="text wrap">{escape(_source(entry))}</td>'
            f'<td class="text code">{text_of(entry.get("content_hash", ""))}</td></tr>'
        )
    labels = ("Symbol", "Bars of", "Bars", "Period", "Quality", "Source", "Content hash")
    head = "".join(f'<th scope="col"{"" if label == "Bars" else " class=text"}>{label}</th>' for label in labels)
    table = f'<table class="data"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f"<h3>Data</h3>{scroll('Data', table)}"


def _publications(artifact: Json) -> str:
    """Return what was published meanwhile: where it is from, and each change with what it named."""
    changes = [one for one in artifact.get("changes") or [] if isinstance(one, dict)]
    rows = "".join(
        f'<tr><th scope="row">{escape(moment(one.get("time", "")))}</th>'
        f'<td class="text">{text_of(one.get("version", "")) if one.get("in_force") else "nothing in force"}</td>'
        f'<td class="text">{"degraded" if one.get("degraded") else ""}</td>'
        f'<td class="text wrap">{escape(", ".join(texts(one.get("symbols"))))}</td></tr>'
        for one in changes
    )
    labels = ("Known from", "Version", "", "Symbols, in order")
    head = "".join(f'<th scope="col" class="text">{label}</th>' for label in labels)
    table = f'<table class="data"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    named = [("Folder", artifact.get("folder")), ("Content hash", artifact.get("content_hash"))]
    return f"<h3>Publications</h3>{facts(named)}{scroll('Publications', table, tall=True)}"


def _quality(manifest: Json) -> tuple[str, str]:
    """Return the grade of data and what was found in it, in words."""
    quality = mapping(manifest, "quality")
    grade = manifest.get("grade", quality.get("grade", "–"))
    remarks = []
    if "source_grade" in manifest and manifest["source_grade"] != grade:
        remarks.append(f"source was {plain(manifest['source_grade'])}")
    for key, value in quality.items():
        if key == "findings" and isinstance(value, list):
            found = [finding for finding in value if isinstance(finding, dict)]
            remarks += [f"{plain(one.get('kind', '?'))} {plain(one.get('count', ''))}".strip() for one in found]
        elif key == "score" and value == 1:
            continue
        elif key not in ("grade", "rows", "expected") and value not in (None, [], {}, ""):
            remarks.append(f"{key} {plain(value)}")
    repairs = manifest.get("repairs")
    if isinstance(repairs, list) and repairs:
        remarks.append(f"{len(repairs)} kinds of repair" if len(repairs) > 1 else "1 kind of repair")
    return plain(grade), ", ".join(remark.replace("_", " ") for remark in remarks)


def _source(manifest: Json) -> str:
    """Return where data came from: a word, or the names of the files it was made of."""
    sources = manifest.get("sources")
    if not isinstance(sources, list) or not sources:
        return plain(manifest.get("source", manifest.get("source_kind", "")))
    names = [plain(one.get("name", "?")) if isinstance(one, dict) else plain(one) for one in sources]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
