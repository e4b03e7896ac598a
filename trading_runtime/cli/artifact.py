"""``trading-runtime artifact``: judge a publication, see which one counts now and why, publish one for local use.

What a good one is, and which counts, is ``artifacts/``'s. ``check`` and ``show`` write nothing. Exit 0: done, and what
was checked is good; 77: it is not, or the configuration is wrong.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trading_runtime.cli.arguments import (
    Subparsers,
    add_settings,
    add_verb,
    loaded_cycle_settings,
    print_json,
    table,
)
from trading_runtime.core.errors import EXIT_CONFIGURATION, EXIT_DONE, ConfigurationError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trading_runtime.artifacts.ladder import Resolution
    from trading_runtime.artifacts.payload import Verdict
    from trading_runtime.artifacts.sources import Published
    from trading_runtime.config.load import LoadedCycleSettings

_CONFIG = "--config live-pool.yaml"
_FILE = "2026-06-01-core_major.json"


def add_parser(subparsers: Subparsers) -> None:
    """Register the group and its verbs."""
    group = add_verb(
        subparsers,
        "artifact",
        "judge a publication that a strategy consumes, see which one counts, publish one",
        f"artifact check {_FILE}",
        f"artifact show {_CONFIG}",
        f"artifact publish {_FILE} {_CONFIG}",
    )
    verbs = group.add_subparsers(dest="artifact_verb", metavar="VERB", required=True)
    parser = add_verb(
        verbs,
        "check",
        "say whether a file is a good publication, and what is wrong with it",
        f"artifact check {_FILE}",
        f"artifact check {_FILE} --strict --ranking latest_ranking.csv",
        f"artifact check {_FILE} --now 2026-06-10 --json",
    )
    parser.add_argument("file", metavar="FILE", help="payload, JSON")
    parser.add_argument("--strict", action="store_true", help="also hold it to the publisher's own release contract")
    parser.add_argument("--ranking", metavar="CSV", help="ranking that the pool was selected from; with --strict")
    parser.add_argument("--manifest", metavar="FILE", help="artifact manifest that must vouch for the file")
    parser.add_argument("--max-age-days", type=_count, default=None, metavar="N", help="days until it is stale (45)")
    parser.add_argument("--modes", default=None, metavar="A,B", help="publisher's modes that are accepted (core_major)")
    parser.add_argument("--size", type=_count, default=None, metavar="N", help="number of symbols expected (5)")
    parser.add_argument("--now", metavar="TIME", help="judge its age at this UTC time (now)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=_check)
    parser = add_verb(
        verbs,
        "show",
        "show which publication a cycle would use now, rung by rung",
        f"artifact show {_CONFIG}",
        f"artifact show {_CONFIG} --json",
    )
    add_settings(parser)
    parser.add_argument("--now", metavar="TIME", help="judge ages at this UTC time (now)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=_show)
    parser = add_verb(
        verbs,
        "publish",
        "put a good publication where the configured cycle looks for it",
        f"artifact publish {_FILE} {_CONFIG}",
    )
    parser.add_argument("file", metavar="FILE", help="payload, JSON")
    add_settings(parser)
    parser.add_argument("--now", metavar="TIME", help="judge its age at this UTC time (now)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a line")
    parser.set_defaults(handler=_publish)


# check


def _check(arguments: argparse.Namespace) -> int:
    from trading_runtime.artifacts.payload import PayloadRules, validate_payload
    from trading_runtime.artifacts.release import ranking_findings, strict_findings

    if arguments.ranking is not None and not arguments.strict:
        raise ConfigurationError("--ranking is for --strict: add --strict")
    published = _read(arguments.file)
    rules = PayloadRules()
    rules = PayloadRules(
        arguments.max_age_days or rules.max_age_days,
        _modes(arguments.modes) or rules.acceptable_modes,
        arguments.size or rules.expected_size,
    )
    verdict = validate_payload(published.content, now_ms=_now_ms(arguments), rules=rules)
    strict: list[str] = []
    if arguments.strict:
        strict += strict_findings(published.content)
        if arguments.ranking is not None:
            strict += ranking_findings(published.content, _ranking_rows(Path(arguments.ranking)))
    digests = [] if arguments.manifest is None else _manifest_findings(Path(arguments.manifest), published, verdict)
    is_good = verdict.ok and not strict and not digests
    if arguments.json:
        _print_json(
            {
                "file": arguments.file,
                "ok": is_good,
                "errors": list(verdict.errors),
                "strict": strict if arguments.strict else None,
                "manifest": None if arguments.manifest is None else digests,
                "warnings": list(verdict.warnings),
                "age_days": verdict.age_days,
                "is_fresh": verdict.is_fresh,
                "payload": None if verdict.payload is None else verdict.payload.to_json(),
            }
        )
    else:
        _print(_check_text(verdict, strict, digests, is_good=is_good))
    return EXIT_DONE if is_good else EXIT_CONFIGURATION


def _check_text(verdict: Verdict, strict: list[str], digests: list[str], *, is_good: bool) -> str:
    rows = [["verdict", "good" if is_good else "not a good publication"]]
    rows += [["error", text] for text in verdict.errors]
    rows += [["strict", text] for text in strict]
    rows += [["manifest", text] for text in digests]
    rows += [["warning", text] for text in verdict.warnings]
    payload = verdict.payload
    if payload is not None:
        rows += [
            ["version", payload.version],
            ["date", f"{payload.as_of_date or '–'}{_age(verdict.age_days)}"],
            ["mode", payload.mode],
            ["source", payload.source_project],
        ]
        rows += [
            [f"symbol {place}", symbol if symbol.startswith(base) else f"{symbol} (base asset {base})"]
            for place, (symbol, base) in enumerate(payload.symbol_map.items(), start=1)
        ]
    return table(rows)


# show


def _show(arguments: argparse.Namespace) -> int:
    from trading_runtime.core.errors import TradingRuntimeError

    loaded = loaded_cycle_settings(arguments)
    _artifact_of(loaded)
    now_ms = _now_ms(arguments)
    notes: list[str] = []
    from trading_runtime.cli.status import open_existing_store, refuse_memory
    from trading_runtime.stores.memory import MemoryDocuments
    from trading_runtime.stores.published import open_ladder

    refuse_memory(loaded)
    documents = open_existing_store(loaded)
    if documents is None:
        notes.append(f"there is no store at {loaded.folder / loaded.settings.store.path} yet")
    try:
        last_good = None
        if documents is not None:
            try:
                last_good = _last_good(loaded, documents)
            except TradingRuntimeError as error:
                notes.append(f"the account cannot be read, so that no last good one is known: {error}")
        ladder = open_ladder(loaded.settings, loaded.folder, documents or MemoryDocuments())
        if ladder is None:
            raise AssertionError("the section artifact is there")
        resolution = ladder.resolve(now_ms, last_good)
    finally:
        if documents is not None:
            documents.close()
    quote = loaded.settings.market.symbols[0].partition("/")[2].partition(":")[0]
    allows = loaded.settings.artifact.allow_new_entries_on_degraded
    seen = resolution.for_decision(quote=quote, reserved=_reserved(loaded), allow_new_entries=allows)
    if arguments.json:
        added = {name: seen[name] for name in ("new_entries", "symbols", "excluded")}
        _print_json({**resolution.to_json(), **added, "notes": notes})
    else:
        _print(_show_text(resolution, seen, notes))
    return EXIT_DONE


def _show_text(resolution: Resolution, seen: Mapping[str, Any], notes: list[str]) -> str:
    payload = resolution.payload
    entries = "allowed" if seen["new_entries"] else "not allowed"
    if resolution.degraded and seen["new_entries"]:
        entries = "allowed although it is degraded (artifact.allow_new_entries_on_degraded)"
    facts = [
        ["counts", f"{resolution.source_kind}{' (degraded)' if resolution.degraded else ''}"],
        ["from", resolution.source_label],
        ["version", payload.version],
        ["date", f"{payload.as_of_date or '–'}{_age(resolution.age_days)}"],
        ["new entries", entries],
        ["official pool", ", ".join(payload.symbols)],
        ["execution pool", ", ".join(seen["symbols"]) or "–"],
    ]
    facts += [["excluded", f"{symbol}: {reason}"] for symbol, reason in seen["excluded"].items()]
    if resolution.is_incident:
        facts.insert(0, ["INCIDENT", "only the built-in universe is left; repair upstream"])
    rows = [["rung", "holds", "what was found"]]
    for rung in resolution.rungs:
        told = [*rung.errors, *rung.messages] or ["–"]
        rows.append([rung.source_kind, "yes" if rung.holds else "no", told[0]])
        rows += [["", "", text] for text in told[1:]]
    parts = [table(facts), table(rows)]
    if notes:
        parts.append("\n".join(f"note: {text}" for text in notes))
    return "\n\n".join(parts)


# publish


def _publish(arguments: argparse.Namespace) -> int:
    from trading_runtime.artifacts.payload import validate_payload
    from trading_runtime.cli.status import refuse_memory
    from trading_runtime.stores.open import open_documents
    from trading_runtime.stores.published import payload_rules, publish

    loaded = loaded_cycle_settings(arguments)
    artifact = _artifact_of(loaded)
    refuse_memory(loaded)
    published = _read(arguments.file)
    verdict = validate_payload(published.content, now_ms=_now_ms(arguments), rules=payload_rules(artifact))
    if not verdict.ok or verdict.payload is None or published.exact_bytes is None:
        raise ConfigurationError(f"{arguments.file}: not published: {'; '.join(verdict.errors)}")
    store = loaded.settings.store
    # Upstream's collection has no prefix of ours.
    documents = open_documents(
        store.kind, path=loaded.folder / store.path, project=store.project, database=store.database
    )
    try:
        publish(documents, artifact.collection, artifact.document, published.exact_bytes)
    finally:
        documents.close()
    place = f"{artifact.collection}/{artifact.document}"
    if arguments.json:
        _print_json({"published": place, "warnings": list(verdict.warnings), "payload": verdict.payload.to_json()})
    else:
        _print(f"published {verdict.payload.version} to {place}: {', '.join(verdict.payload.symbols)}")
        for text in verdict.warnings:
            _print(f"warning: {text}")
    return EXIT_DONE


# What they share


def _print_json(content: Mapping[str, Any]) -> None:
    """Print what somebody else has written: a publication may hold anything."""
    from trading_runtime.cycle.report_fields import cleaned

    print_json(cleaned(content))


def _print(text: str) -> None:
    from trading_runtime.telemetry.redact import redact

    print(redact(text))


def _read(name: str) -> Published:
    from trading_runtime.artifacts.sources import LocalFile

    try:
        published = LocalFile(Path(name)).read()
    except DataError as error:  # a file that is not JSON is no good publication either
        raise ConfigurationError(str(error)) from None
    if published is None:
        raise ConfigurationError(f"{name}: there is no such file")
    return published


def _manifest_findings(path: Path, published: Published, verdict: Verdict) -> list[str]:
    from trading_runtime.artifacts.manifest import ManifestError, manifest_findings, read_manifest

    if verdict.payload is None:
        return ["the payload cannot be read, so that nothing can vouch for it"]
    try:
        return manifest_findings(read_manifest(_read(str(path)).content), published, verdict.payload)
    except ManifestError as error:
        return [f"{path}: {error}"]


def _ranking_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path}: cannot be read as a CSV file: {error}") from None


def _last_good(loaded: LoadedCycleSettings, documents: Any) -> Mapping[str, Any] | None:
    """Return what the last cycle left to fall back on, None when there was none."""
    from trading_runtime.config.cycle_build import load_strategy
    from trading_runtime.cycle.status import load_account

    strategy = type(load_strategy(loaded.settings, loaded.folder)).__qualname__
    account = load_account(documents, loaded.settings.account.name, strategy)
    return None if account is None else account.last_good


def _reserved(loaded: LoadedCycleSettings) -> dict[str, str]:
    """Return what a publication cannot have traded, as a cycle with these settings sees it."""
    settings = loaded.settings
    found = dict.fromkeys(settings.market.symbols, "reserved: it is traded by the settings, not by the publication")
    if settings.treasury.fuel_symbol is not None:
        found[settings.treasury.fuel_symbol] = "reserved: fees are paid with it"
    return found


def _artifact_of(loaded: LoadedCycleSettings) -> Any:
    artifact = loaded.settings.artifact
    if artifact is None:
        raise ConfigurationError(f"{loaded.path}: has no section artifact: its strategy consumes no publication")
    return artifact


def _now_ms(arguments: argparse.Namespace) -> int:
    from trading_runtime.core.timeframes import parse_time
    from trading_runtime.cycle.clock import SystemClock

    return SystemClock().now_ms() if arguments.now is None else parse_time(arguments.now)


def _modes(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(name for part in text.split(",") if (name := part.strip()))


def _age(days: int | None) -> str:
    return "" if days is None else f" ({days} day{'' if days == 1 else 's'} old)"


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 3650 or len(text) > 9:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 3650, not {text[:60]!r}")
    return int(text)
