"""The ladder: which publication counts, which rungs failed and why, and that upstream can do nothing to break it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from artifact_samples import (
    NOW_MS,
    REAL,
    REAL_SYMBOLS,
    RULES,
    SYMBOLS,
    UNAVAILABLE,
    Shelf,
    file_bytes,
    manifest,
    payload,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from test_artifacts_payload import publications

from trading_runtime.artifacts.ladder import STATIC_CONTENT, STATIC_RULES, Ladder, Resolution
from trading_runtime.artifacts.manifest import CONTRACT_VERSIONS
from trading_runtime.artifacts.payload import PayloadRules, validate_payload
from trading_runtime.artifacts.sources import LocalFile
from trading_runtime.core.errors import ConfigurationError, DataError, StoreDamaged
from trading_runtime.core.hashing import canonical_json
from trading_runtime.core.timeframes import DAY_MS, parse_time

Write = Callable[[str, object], LocalFile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file, JSON unless it is bytes, and return it as a source."""

    def to_file(name: str, content: object) -> LocalFile:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else file_bytes(content))
        return LocalFile(path)

    return to_file


def last_good_of(content: object, now_ms: int = NOW_MS) -> dict[str, Any]:
    """What a fresh publication leaves behind, as a store gives it back."""
    found = Ladder(RULES, upstream=Shelf(content)).resolve(now_ms, None).last_good
    assert found is not None
    kept: dict[str, Any] = json.loads(canonical_json(found))
    return kept


def tried(resolution: Resolution) -> list[tuple[str, bool]]:
    return [(rung.source_kind, rung.holds) for rung in resolution.rungs]


# --- the four rungs


def test_what_is_fresh_upstream_counts_and_nothing_else_is_asked(write: Write) -> None:
    shelf = Shelf(payload())
    resolution = Ladder(RULES, upstream=shelf, local=write("local.json", payload(version="other"))).resolve(
        NOW_MS, last_good_of(payload(version="older"))
    )
    assert tried(resolution) == [("fresh_upstream", True)]
    assert shelf.reads == 1
    assert (resolution.degraded, resolution.is_fresh, resolution.is_incident) == (False, True, False)
    assert (resolution.age_days, resolution.source_label) == (5, "shelf")
    assert resolution.errors == resolution.messages == ()
    assert resolution.last_good is not None
    assert resolution.last_good["version"] == "2026-03-10-core_major"
    assert resolution.last_good["source_label"] == "shelf"
    assert resolution.last_good["loaded_at"] == "2026-03-15T00:00:00Z"


def test_the_real_file_46_days_after_its_date_is_the_last_known_good_degraded_and_without_new_entries() -> None:
    content = json.loads(REAL.read_text())
    kept = last_good_of(content, parse_time("2026-07-16T12:00:00Z"))
    resolution = Ladder(RULES, upstream=Shelf(content)).resolve(parse_time("2026-07-17T01:00:00Z"), kept)
    assert tried(resolution) == [("fresh_upstream", False), ("last_known_good", True)]
    assert (resolution.degraded, resolution.is_fresh, resolution.is_incident) == (True, False, False)
    assert resolution.errors == (
        "fresh_upstream: as_of_date 2026-06-01 is stale: 46 days old, at most 45 are accepted",
    )
    seen = resolution.for_decision(quote="USDT")
    assert seen["new_entries"] is False
    assert seen["official_symbols"] == list(REAL_SYMBOLS)
    assert seen["symbols"] == [f"{symbol[:-4]}/USDT" for symbol in REAL_SYMBOLS]
    assert resolution.last_good == kept
    assert resolution.last_good["loaded_at"] == "2026-07-16T12:00:00Z"


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        (None, "no store to ask is configured"),
        (Shelf(), "nothing is there"),
        (Shelf(error=UNAVAILABLE), "firestore demo/(default): DeadlineExceeded: 504"),
        (Shelf(error=ConfigurationError("this identity\nmay not")), "this identity may not"),
        (Shelf(error=StoreDamaged("checksum")), "checksum"),
        (Shelf(error=DataError("line 1: not JSON")), "line 1: not JSON"),
        (Shelf([1]), "a payload is a mapping of fields, not a list"),
        (Shelf(payload(mode="static")), 'mode "static" is not accepted (accepted: core_major)'),
    ],
)
def test_an_upstream_that_has_nothing_good_or_cannot_be_asked_is_a_rung_that_failed(
    upstream: Shelf | None, told: str
) -> None:
    kept = last_good_of(payload())
    resolution = Ladder(RULES, upstream=upstream).resolve(NOW_MS + DAY_MS, kept)
    assert tried(resolution) == [("fresh_upstream", False), ("last_known_good", True)]
    assert resolution.errors == (f"fresh_upstream: {told}",)
    assert resolution.degraded
    assert resolution.payload.symbols == tuple(SYMBOLS)
    assert resolution.last_good == kept


def test_the_last_known_good_one_counts_as_long_as_it_may_and_no_day_longer(write: Write) -> None:
    kept = last_good_of(payload())
    ladder = Ladder(RULES, 90, upstream=Shelf(error=UNAVAILABLE), local=write("x.json", payload("2026-06-08")))
    last = parse_time("2026-03-10") + 91 * DAY_MS - 1
    assert ladder.resolve(last, kept).source_kind == "last_known_good"
    after = ladder.resolve(last + 1, kept)
    assert tried(after) == [("fresh_upstream", False), ("last_known_good", False), ("local_file", True)]
    assert "last_known_good: its date 2026-03-10 is 91 days ago, at most 90 are accepted" in after.errors
    assert after.last_good == kept, "its provenance is kept"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sha256": "0" * 64}, "it does not match its checksum: it was changed since it was kept"),
        ({"payload": None}, "a payload is a mapping of fields, not None"),
        ({"payload": 5}, "a payload is a mapping of fields, not 5"),
        (
            {"payload": payload(symbols=SYMBOLS[::-1])},
            "it does not match its checksum: it was changed since it was kept",
        ),
        ({"payload": payload("2026-04-01")}, "as_of_date 2026-04-01 is in the future"),
    ],
)
def test_a_last_known_good_one_that_was_changed_is_not_used(change: dict[str, Any], told: str) -> None:
    resolution = Ladder(RULES).resolve(NOW_MS, last_good_of(payload()) | change)
    assert resolution.source_kind == "static"
    assert f"last_known_good: {told}" in resolution.errors


def test_a_local_file_must_be_fresh_and_is_degraded_all_the_same(write: Write) -> None:
    good = Ladder(RULES, local=write("local.json", payload())).resolve(NOW_MS, None)
    assert (good.source_kind, good.degraded, good.is_fresh) == ("local_file", True, True)
    assert good.source_label.endswith("local.json")
    assert good.last_good is None, "only what came fresh from upstream is one to fall back on"
    stale = Ladder(RULES, local=write("stale.json", payload("2026-01-01"))).resolve(NOW_MS, None)
    assert stale.source_kind == "static"
    assert any("local_file: as_of_date 2026-01-01 is stale" in text for text in stale.errors)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "line 1 column 2: not JSON: Expecting property name enclosed in double quotes"),
        (b'{"symbols": [], "symbols": []}', 'not JSON: key "symbols" is given twice'),
        (b'{"pool_size": NaN}', "not JSON: NaN is not a finite number"),
        (b"\xff", "not UTF-8 text (byte 0)"),
        (b"[" * 200_000, "is nested too deeply to be a publication"),
        (b"1" * 5000, "not JSON: Exceeds the limit"),
    ],
)
def test_a_local_file_that_cannot_be_read_is_a_rung_that_failed(write: Write, content: bytes, told: str) -> None:
    local = write("local.json", content)
    resolution = Ladder(RULES, local=local).resolve(NOW_MS, None)
    assert resolution.source_kind == "static"
    assert any(text.startswith(f"local_file: {local.path}: {told}") for text in resolution.errors)


def test_the_static_universe_is_valid_by_its_own_rules_and_an_incident(tmp_path: Path) -> None:
    resolution = Ladder(RULES, upstream=Shelf(), local=LocalFile(tmp_path / "none.json")).resolve(NOW_MS, None)
    assert [one.source_kind for one in resolution.rungs] == [
        "fresh_upstream",
        "last_known_good",
        "local_file",
        "static",
    ]
    assert (resolution.is_incident, resolution.degraded, resolution.is_fresh) == (True, True, False)
    assert resolution.to_json()["is_incident"] is True
    bases = [symbol.removesuffix("USDT") for symbol in resolution.payload.symbols]
    assert bases == ["ETH", "SOL", "XRP", "LINK", "AVAX", "ADA", "DOGE", "TRX", "ATOM", "LTC", "BCH"]
    assert (resolution.payload.version, resolution.payload.mode, resolution.payload.as_of_date) == (
        "static-fallback",
        "static",
        "",
    )
    assert validate_payload(STATIC_CONTENT, now_ms=NOW_MS, rules=STATIC_RULES).ok
    assert not validate_payload(STATIC_CONTENT, now_ms=NOW_MS, rules=RULES).ok
    assert resolution.for_decision(quote="USDT")["new_entries"] is False
    assert "static: nothing that upstream published could be used: an operator must look" in resolution.messages


def test_a_fresh_publication_replaces_the_last_good_one_and_nothing_else_does() -> None:
    first = last_good_of(payload())
    shelf = Shelf(payload("2026-04-10"))
    ladder = Ladder(RULES, upstream=shelf)
    now_ms = parse_time("2026-04-11")
    second = ladder.resolve(now_ms, first).last_good
    assert second is not None
    assert second["version"] == "2026-04-10-core_major"
    shelf.content = payload("2026-05-10", mode="other")
    third = ladder.resolve(now_ms + DAY_MS, second)
    assert (third.source_kind, third.last_good) == ("last_known_good", second)
    assert third.payload.as_of_date == "2026-04-10"


# --- a given publication


def test_a_given_publication_counts_alone_and_is_not_degraded() -> None:
    shelf = Shelf(payload(version="other"))
    resolution = Ladder(RULES, upstream=shelf, given=payload()).resolve(NOW_MS, None)
    assert (resolution.source_kind, resolution.degraded, resolution.is_fresh) == ("given", False, True)
    assert shelf.reads == 0
    assert resolution.for_decision(quote="USDT")["new_entries"] is True
    assert resolution.last_good is None


@pytest.mark.parametrize("content", [{}, [], payload("2025-01-01"), payload(pool_size=3)])
def test_a_given_publication_that_is_not_good_is_an_error_and_nothing_stands_in_for_it(content: object) -> None:
    ladder = Ladder(RULES, upstream=Shelf(payload()), given=content)
    with pytest.raises(ConfigurationError, match="the given publication is not a good one: "):
        ladder.resolve(NOW_MS, last_good_of(payload()))


# --- what a decision sees


def test_a_decision_sees_official_and_execution_pool_in_upstreams_order() -> None:
    resolution = Ladder(RULES, upstream=Shelf(payload())).resolve(NOW_MS, None)
    assert resolution.symbols_in("USDT") == ("ETH/USDT", "SOL/USDT", "XRP/USDT", "LTC/USDT", "BCH/USDT")
    assert resolution.for_decision(
        quote="USDT", reserved={"SOL/USDT": "reserved: fees"}, not_traded={"BCH/USDT": "not traded here: unknown"}
    ) == {
        "source_kind": "fresh_upstream",
        "degraded": False,
        "new_entries": True,
        "version": "2026-03-10-core_major",
        "as_of_date": "2026-03-10",
        "mode": "core_major",
        "source_project": "crypto-live-pool-pipelines",
        "official_symbols": SYMBOLS,
        "symbols": ["ETH/USDT", "XRP/USDT", "LTC/USDT"],
        "excluded": {"SOLUSDT": "reserved: fees", "BCHUSDT": "not traded here: unknown"},
    }


def test_equal_publications_give_equal_bytes_whenever_they_are_read() -> None:
    ladder = Ladder(RULES, upstream=Shelf(payload()))
    first, later = (ladder.resolve(NOW_MS + hours * 3_600_000, None) for hours in (0, 500))
    assert canonical_json(first.for_decision(quote="USDT")) == canonical_json(later.for_decision(quote="USDT"))


def test_new_entries_while_degraded_only_where_they_are_allowed() -> None:
    resolution = Ladder(RULES).resolve(NOW_MS, last_good_of(payload()))
    assert resolution.for_decision(quote="USDT")["new_entries"] is False
    assert resolution.for_decision(quote="USDT", allow_new_entries=True)["new_entries"] is True


def test_a_map_that_calls_a_market_another_coin_has_that_coin_excluded() -> None:
    content = payload(symbol_map={"ETHUSDT": {"base_asset": "BTC"}})
    resolution = Ladder(RULES, upstream=Shelf(content)).resolve(NOW_MS, None)
    seen = resolution.for_decision(quote="USDT")
    assert "BTC/USDT" not in (*resolution.symbols_in("USDT"), *seen["symbols"])
    assert seen["excluded"] == {"ETHUSDT": "contradiction: symbol_map gives ETHUSDT the base asset BTC"}


def test_another_quote_is_another_market_of_the_same_coin() -> None:
    resolution = Ladder(RULES, upstream=Shelf(payload())).resolve(NOW_MS, None)
    assert resolution.symbols_in("USDC")[0] == "ETH/USDC"
    assert resolution.for_decision(quote="USDC")["official_symbols"] == SYMBOLS


# --- manifests


def test_a_manifest_vouches_for_the_exact_bytes_of_a_file(write: Write) -> None:
    content = payload()
    local = write("live_pool_legacy.json", content)
    good = write("manifest.json", manifest(content, file_bytes(content)))
    assert Ladder(RULES, local=local, manifest=good).resolve(NOW_MS, None).source_kind == "local_file"
    other = hashlib.sha256(b"other").hexdigest()
    for name in ("live_pool", "live_pool_legacy"):
        wrong = manifest(content, b"", artifacts={name: {"path": "x", "sha256": other}})
        resolution = Ladder(RULES, local=local, manifest=write("wrong.json", wrong)).resolve(NOW_MS, None)
        assert resolution.source_kind == "static"
        assert f"the manifest names {name} {other[:12]}…" in "".join(resolution.errors)


def test_the_digest_of_another_artifact_vouches_for_no_pool(write: Write) -> None:
    content = payload()
    digest = hashlib.sha256(file_bytes(content)).hexdigest()
    artifacts = {"live_pool": {"sha256": "0" * 64}, "latest_universe": {"sha256": digest}}
    vouching = write("manifest.json", manifest(content, b"", artifacts=artifacts))
    local = write("live_pool_legacy.json", content)
    assert Ladder(RULES, local=local, manifest=vouching).resolve(NOW_MS, None).source_kind == "static"


def test_one_changed_byte_of_a_file_is_seen(write: Write) -> None:
    content = payload()
    vouching = write("manifest.json", manifest(content, file_bytes(content)))
    changed = write("live_pool_legacy.json", file_bytes(content) + b"\n")
    resolution = Ladder(RULES, local=changed, manifest=vouching).resolve(NOW_MS, None)
    assert resolution.source_kind == "static"
    assert "local_file: the bytes of the payload have the SHA-256 " in "".join(resolution.errors)


def test_a_document_is_vouched_for_by_the_text_that_it_carries(write: Write) -> None:
    content = payload(symbol_map=None)
    text = json.dumps(content)
    carried = {"contract_version": "1", "encoding": "utf-8", "utf8_text": text}
    vouching = write("manifest.json", manifest(content, text.encode()))
    good = Ladder(RULES, upstream=Shelf(content | {"live_pool_legacy_exact_bytes": carried}), manifest=vouching)
    assert good.resolve(NOW_MS, None).source_kind == "fresh_upstream"
    text_changed = {**carried, "utf8_text": text + " "}
    bad = Ladder(RULES, upstream=Shelf(content | {"live_pool_legacy_exact_bytes": text_changed}), manifest=vouching)
    assert "the text that the document carries have the SHA-256" in "".join(bad.resolve(NOW_MS, None).errors)
    swapped = {**content, "symbols": SYMBOLS[::-1], "live_pool_legacy_exact_bytes": carried}
    told = Ladder(RULES, upstream=Shelf(swapped), manifest=vouching).resolve(NOW_MS, None).errors
    assert any("its symbols are not the document's" in text for text in told)


def test_a_document_without_bytes_must_be_what_the_manifest_describes(write: Write) -> None:
    content = payload()
    vouching = write("manifest.json", manifest(content, b"whatever"))
    ladder = Ladder(RULES, upstream=Shelf(content), manifest=vouching)
    assert ladder.resolve(NOW_MS, None).source_kind == "fresh_upstream"
    for change, told in (
        ({"symbols": SYMBOLS[::-1]}, "the manifest's symbols ETHUSDT, SOLUSDT"),
        ({"version": "other"}, 'the manifest\'s version "2026-03-10-core_major" is not the payload\'s "other"'),
        ({"as_of_date": "2026-03-11"}, "the manifest's as_of_date"),
    ):
        failed = Ladder(RULES, upstream=Shelf(content | change), manifest=vouching).resolve(NOW_MS, None)
        assert failed.source_kind == "static"
        assert told in failed.errors[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "not JSON"),
        ([], "a manifest is a mapping of fields, not a list"),
        ({"manifest_type": "x"}, 'manifest_type must be strategy_artifact, not "x"'),
        ({"contract_version": "live_pool.v9"}, 'contract_version "live_pool.v9" is not known'),
        ({"artifact_type": "model"}, 'artifact_type must be live_pool, not "model"'),
        ({"symbols": {"a": 1}}, "symbols must be a list of texts"),
        ({"version": None}, "version must be text, not None"),
        ({"artifacts": None}, "artifacts must be a mapping of names to path and sha256"),
        ({"artifacts": {"live_pool": {"sha256": "abc"}}}, "has no SHA-256 of 64 hexadecimal digits"),
        (
            {"artifacts": {"latest_ranking": {"sha256": "0" * 64}}},
            "artifacts must name live_pool or live_pool_legacy",
        ),
    ],
)
def test_a_manifest_that_cannot_be_read_fails_the_rung(write: Write, content: object, told: str) -> None:
    whole = manifest(payload(), b"") | content if isinstance(content, dict) else content
    vouching = write("manifest.json", whole)
    resolution = Ladder(RULES, upstream=Shelf(payload()), manifest=vouching).resolve(NOW_MS, None)
    assert resolution.source_kind == "static"
    assert told in resolution.errors[0]
    assert str(vouching.path) in resolution.errors[0]


def test_a_manifest_that_is_not_there_fails_the_rung_and_both_known_contracts_are_read(
    write: Write, tmp_path: Path
) -> None:
    missing = Ladder(RULES, upstream=Shelf(payload()), manifest=LocalFile(tmp_path / "none.json"))
    assert "there is no such file" in missing.resolve(NOW_MS, None).errors[0]
    for contract in CONTRACT_VERSIONS:
        vouching = write("manifest.json", manifest(payload(), b"", contract_version=contract))
        ladder = Ladder(RULES, upstream=Shelf(payload()), manifest=vouching)
        assert ladder.resolve(NOW_MS, None).source_kind == "fresh_upstream"


def test_what_was_vouched_for_when_it_came_fresh_stays_good_when_the_next_manifest_is_there(write: Write) -> None:
    """The manifest is of the newest publication only: held to it, the last good one would never help."""
    kept = last_good_of(payload())
    newer = payload("2026-04-10")
    vouching = write("manifest.json", manifest(newer, file_bytes(newer)))
    resolution = Ladder(RULES, upstream=Shelf(error=UNAVAILABLE), manifest=vouching).resolve(NOW_MS, kept)
    assert resolution.source_kind == "last_known_good"


# --- anything whatever

TIMES = st.integers(parse_time("2025-06-01"), parse_time("2027-01-01"))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(publications(), publications(), TIMES, st.booleans())
def test_whatever_upstream_and_the_account_hold_something_counts(
    published: Any, kept: Any, now_ms: int, is_given_back: bool
) -> None:
    last_good = kept if isinstance(kept, dict) and not is_given_back else {"payload": kept, "source_label": kept}
    resolution = Ladder(PayloadRules(), upstream=Shelf(published)).resolve(now_ms, last_good)
    assert [one.holds for one in resolution.rungs] == [False] * (len(resolution.rungs) - 1) + [True]
    assert resolution.degraded is (resolution.source_kind != "fresh_upstream")
    assert resolution.source_kind in ("fresh_upstream", "static"), "nothing without its checksum is a last good one"
    canonical_json(resolution.to_json())
    canonical_json(resolution.for_decision(quote="USDT"))
    assert all("\n" not in text for text in resolution.messages)
    if resolution.source_kind == "fresh_upstream":
        again = Ladder(PayloadRules(), upstream=Shelf(error=UNAVAILABLE)).resolve(now_ms, resolution.last_good)
        assert again.source_kind == "last_known_good"
        assert again.payload == resolution.payload
    else:
        assert resolution.last_good == last_good
