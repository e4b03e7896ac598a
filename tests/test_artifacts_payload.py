"""One publication: what makes it good, what is said of it, and a verdict on anything whatever."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from artifact_samples import NOW_MS, REAL, REAL_SYMBOLS, RULES, SYMBOLS, payload
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_runtime.artifacts.payload import (
    PayloadRules,
    Verdict,
    validate_payload,
)
from trading_runtime.artifacts.release import ranking_findings, strict_findings
from trading_runtime.core.timeframes import DAY_MS, parse_time


def judged(content: object, now: str | int = NOW_MS, **options: Any) -> Verdict:
    now_ms = parse_time(now) if isinstance(now, str) else now
    return validate_payload(content, now_ms=now_ms, rules=options.pop("rules", RULES), **options)


# --- the real file


def test_the_real_file_is_good_with_one_warning_and_its_symbols_are_in_order() -> None:
    """No source_project; an absent symbol_map is nothing to warn of."""
    verdict = judged(json.loads(REAL.read_text()), "2026-06-10T12:00:00Z")
    assert verdict.ok
    assert verdict.errors == ()
    assert verdict.warnings == ("source_project is missing: 'unknown' is assumed",)
    assert verdict.age_days == 9
    assert verdict.is_fresh
    assert verdict.payload is not None
    assert verdict.payload.symbols == REAL_SYMBOLS
    assert dict(verdict.payload.symbol_map) == {symbol: symbol.removesuffix("USDT") for symbol in REAL_SYMBOLS}
    assert verdict.payload.to_json()["pool_size"] == 5


@pytest.mark.parametrize(("now", "is_fresh"), [("2026-07-16T23:59:59Z", True), ("2026-07-17T00:00:00Z", False)])
def test_the_real_file_is_stale_46_days_after_its_date(now: str, is_fresh: bool) -> None:
    verdict = judged(json.loads(REAL.read_text()), now)
    assert verdict.ok is is_fresh
    assert verdict.is_fresh is is_fresh
    if not is_fresh:
        assert verdict.errors == ("as_of_date 2026-06-01 is stale: 46 days old, at most 45 are accepted",)
        unforced = judged(json.loads(REAL.read_text()), now, enforce_freshness=False)
        assert unforced.ok
        assert not unforced.is_fresh


# --- single rules


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"as_of_date": None}, "as_of_date is missing"),
        ({"as_of_date": "   "}, "as_of_date is missing"),
        ({"as_of_date": "2026-02-30"}, 'as_of_date must be a date such as 2026-06-01, not "2026-02-30"'),
        ({"as_of_date": "2026-W11-2"}, 'as_of_date must be a date such as 2026-06-01, not "2026-W11-2"'),
        ({"as_of_date": "20260310"}, 'as_of_date must be a date such as 2026-06-01, not "20260310"'),
        ({"as_of_date": 20260310}, "as_of_date must be a date such as 2026-06-01, not 20260310"),
        ({"as_of_date": "2026-03-16"}, "as_of_date 2026-03-16 is in the future"),
        ({"as_of_date": "2026-01-28"}, "as_of_date 2026-01-28 is stale: 46 days old, at most 45 are accepted"),
        ({"mode": "core_minor"}, 'mode "core_minor" is not accepted (accepted: core_major)'),
        ({"mode": "static"}, 'mode "static" is not accepted (accepted: core_major)'),
        ({"mode": 7}, "mode must be text of one line, at most 200 characters, not 7"),
        ({"version": "a\nb"}, 'version must be text of one line, at most 200 characters, not "a\\nb"'),
        ({"version": ["1"]}, "version must be text of one line, at most 200 characters, not a list"),
        ({"pool_size": "five"}, 'pool_size must be a whole number, not "five"'),
        ({"pool_size": 4.5}, "pool_size must be a whole number, not 4.5"),
        ({"pool_size": True}, "pool_size must be a whole number, not True"),
        ({"pool_size": 4}, "pool_size is 4, but there are 5 symbols"),
        ({"symbols": SYMBOLS[:4], "pool_size": 4}, "there are 4 symbols, 5 are expected"),
        ({"symbols": SYMBOLS[:4], "pool_size": None}, "there are 4 symbols, 5 are expected"),
        ({"symbols": None}, "symbols is missing"),
        ({"symbols": "ETHUSDT"}, 'symbols must be a list or a mapping, not "ETHUSDT"'),
        ({"symbols": [], "pool_size": None}, "symbols has no USDT market"),
        ({"symbols": ["ETHBTC", 5, None], "pool_size": None}, "symbols has no USDT market"),
        ({"symbol_map": ["ETHUSDT"]}, "symbol_map must be a mapping, not a list"),
        ({"source_project": 5}, "source_project must be text of one line, at most 200 characters, not 5"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(changes: dict[str, Any], error: str) -> None:
    verdict = judged(payload(**changes))
    assert not verdict.ok
    assert error in verdict.errors
    assert all("\n" not in text for text in verdict.errors)


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"version": None}, "version is missing: 2026-03-10-core_major is assumed"),
        ({"mode": None}, "mode is missing: core_major is assumed"),
        ({"source_project": None}, "source_project is missing: 'unknown' is assumed"),
    ],
)
def test_what_is_assumed_is_warned_of_and_said(changes: dict[str, Any], warning: str) -> None:
    verdict = judged(payload(**changes))
    assert verdict.ok
    assert verdict.warnings == (warning,)


def test_the_first_accepted_mode_is_assumed_and_is_part_of_the_version() -> None:
    verdict = judged(payload(version=None, mode=None), rules=PayloadRules(acceptable_modes=("wide", "core_major")))
    assert verdict.ok
    assert verdict.payload is not None
    assert (verdict.payload.mode, verdict.payload.version) == ("wide", "2026-03-10-wide")


@pytest.mark.parametrize("stamp", ["2026-03-10", "2026-03-10T23:59:59.123456789Z", "2026-03-10 08:00:00+08:00"])
def test_of_a_stamp_the_date_counts(stamp: str) -> None:
    verdict = judged(payload(as_of_date=stamp, version="v"))
    assert verdict.ok
    assert verdict.payload is not None
    assert verdict.payload.as_of_date == "2026-03-10"
    assert verdict.age_days == 5


def test_a_list_drops_what_is_no_usdt_market_and_keeps_the_first_of_two() -> None:
    symbols = ["ETHUSDT", "ETHBTC", 7, "SOLUSDT", "ethusdt", None, "XRPUSDT", "USDT", "LTCUSDT", "ıUSDT", "BCHUSDT"]
    verdict = judged(payload(symbols=symbols))
    assert verdict.ok
    assert verdict.payload is not None
    assert list(verdict.payload.symbols) == SYMBOLS


def test_a_mapping_is_the_list_of_its_keys_with_their_base_assets() -> None:
    symbols = {symbol: {"base_asset": symbol.removesuffix("USDT")} for symbol in reversed(SYMBOLS)}
    verdict = judged(payload(symbols=symbols))
    assert verdict.ok
    assert verdict.payload is not None
    assert list(verdict.payload.symbols) == SYMBOLS[::-1]


def test_base_assets_come_from_the_map_then_the_mapping_then_the_name() -> None:
    symbols = {symbol: {"base_asset": "FROMSYMBOLS"} for symbol in SYMBOLS[:2]} | dict.fromkeys(SYMBOLS[2:])
    content = payload(symbols=symbols, symbol_map={SYMBOLS[0]: {"base_asset": "frommap"}, "ZZZUSDT": {}})
    verdict = judged(content)
    assert verdict.ok
    assert verdict.payload is not None
    assert list(verdict.payload.symbol_map.values()) == ["FROMMAP", "FROMSYMBOLS", "XRP", "LTC", "BCH"]


def test_fields_that_are_not_known_are_tolerated() -> None:
    extra = {
        "generated_at": "2026-03-10T09:00:00Z",
        "artifact_contract_version": "crypto_live_pool_rotation.live_pool.v1",
        "storage_prefix": "gs://bucket/x",
        "live_pool_uri": "gs://bucket/x/live_pool.json",
        "runtime_evidence_identity": {"a": 1},
        "live_pool_legacy_exact_bytes": {"contract_version": "1", "encoding": "utf-8", "utf8_text": "{"},
    }
    verdict = judged(payload(**extra))
    assert verdict == judged(payload())
    assert verdict.warnings == ()


def test_only_undated_rules_take_an_empty_date_and_then_nothing_is_fresh() -> None:
    content = payload(as_of_date="", version="static-fallback", mode="static")
    assert not judged(content, rules=PayloadRules(acceptable_modes=("static",))).ok
    verdict = judged(content, rules=PayloadRules(acceptable_modes=("static",), is_dated=False))
    assert verdict.ok
    assert (verdict.age_days, verdict.is_fresh) == (None, False)


# --- anything whatever

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(-(10**30)),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["\ud800", "2026-03-10", "2026-99-99", "core_major", "ETHUSDT", "ıUSDT", "5", "٥", " " * 300]),
)
ODD = st.one_of(
    st.binary(max_size=8),
    st.builds(object),
    st.dates(),
    st.datetimes(),
    st.decimals(),
    st.complex_numbers(),
    st.frozensets(st.integers(), max_size=3),
    st.just(MappingProxyType({"symbols": 1})),
    st.just(datetime(2026, 3, 10, tzinfo=UTC)),
    st.just(date(2026, 3, 10)),
    st.just(Decimal(5)),
    st.just(int),
)
KEYS = st.one_of(st.text(max_size=8), st.sampled_from([*SYMBOLS, "base_asset"]), st.integers(), st.none())
ANYTHING = st.recursive(
    st.one_of(SCALARS, ODD),
    lambda inner: st.one_of(
        st.lists(inner, max_size=7), st.dictionaries(KEYS, inner, max_size=7), st.tuples(inner, inner)
    ),
    max_leaves=12,
)
FIELDS = [*payload(), "symbol_map", "live_pool_legacy_exact_bytes", "generated_at"]
SYMBOL_LISTS = st.one_of(
    st.permutations(SYMBOLS),
    st.lists(st.sampled_from([*SYMBOLS, "ETHBTC", "DOGEUSDT", "", "usdt"]), max_size=8),
    st.dictionaries(st.sampled_from(SYMBOLS), st.fixed_dictionaries({"base_asset": SCALARS}), max_size=6),
)
DATES = st.dates(date(2025, 12, 1), date(2026, 4, 1)).map(date.isoformat)


@st.composite
def publications(draw: st.DrawFn) -> Any:
    """Good ones, good ones with fields that are anything, and anything whatever."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ANYTHING)
    content = payload(draw(DATES))
    if draw(st.booleans()):
        content["symbols"] = draw(SYMBOL_LISTS)
        content.pop("pool_size", None)
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=3)):
        if draw(st.booleans()):
            content.pop(name, None)
        else:
            content[name] = draw(ANYTHING)
    return content


SEEN = {"ok": 0, "not ok": 0}


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(publications(), st.booleans())
def check_any(content: Any, enforce_freshness: bool) -> None:
    verdict = validate_payload(content, now_ms=NOW_MS, rules=RULES, enforce_freshness=enforce_freshness)
    SEEN["ok" if verdict.ok else "not ok"] += 1
    assert verdict.ok is (not verdict.errors)
    for text in (*verdict.errors, *verdict.warnings):
        assert text
        assert "\n" not in text
        assert len(text) < 500
        text.encode()
    assert isinstance(strict_findings(content), tuple)
    assert isinstance(
        ranking_findings(content, [{"symbol": "ETHUSDT", "selected_flag": "1", "current_rank": "x"}]), tuple
    )
    if verdict.age_days is None or not 0 <= verdict.age_days <= RULES.max_age_days:
        assert not verdict.is_fresh
    if not verdict.ok:
        return
    found = verdict.payload
    assert found is not None
    assert len(found.symbols) == len(set(found.symbols)) == 5
    assert set(found.symbol_map) == set(found.symbols)
    assert enforce_freshness is False or verdict.is_fresh
    json.dumps(found.to_json(), allow_nan=False).encode()
    again = validate_payload(
        json.loads(json.dumps(found.to_json())), now_ms=NOW_MS, rules=RULES, enforce_freshness=enforce_freshness
    )
    assert again.ok
    assert again.payload == found
    assert again.warnings == ()
    assert again.age_days == verdict.age_days


def test_anything_whatever_gets_a_verdict_with_reasons_and_a_good_one_validates_to_itself() -> None:
    """1,500 random publications, of which enough are good and enough are not."""
    SEEN.update(dict.fromkeys(SEEN, 0))
    check_any()
    assert SEEN["ok"] >= 200, SEEN
    assert SEEN["not ok"] >= 200, SEEN


@pytest.mark.parametrize("content", [None, [], "x", 5, math.nan, b"{}", object(), {}, {1: 2}, [payload()]])
def test_what_is_no_payload_at_all_is_said_to_be_none(content: object) -> None:
    verdict = judged(content)
    assert not verdict.ok
    assert verdict.errors
    assert verdict.payload is None


@pytest.mark.parametrize("name", FIELDS)
def test_a_number_of_thousands_of_digits_is_told_without_its_digits(name: str) -> None:
    """Python refuses to write such a number as text."""
    verdict = judged(payload() | {name: 10**5000})
    assert verdict.ok is (name in FIELDS[-2:])
    assert verdict.ok or any("a huge number" in text for text in verdict.errors)


@given(st.integers(-(2**62), 2**62))
@settings(deadline=None)
def test_any_clock_is_taken(now_ms: int) -> None:
    verdict = validate_payload(payload(), now_ms=now_ms, rules=RULES)
    age = now_ms // DAY_MS - parse_time("2026-03-10") // DAY_MS
    assert verdict.age_days == age
    assert verdict.ok is (0 <= age <= 45)


# --- the publisher's own contract


def test_a_whole_release_breaks_nothing_of_the_publishers_contract() -> None:
    text = json.dumps(payload(symbols={symbol: {"base_asset": symbol[:-4]} for symbol in SYMBOLS}))
    carried = {"contract_version": "1", "encoding": "utf-8", "utf8_text": text}
    symbol_map = {symbol: {"base_asset": symbol[:-4]} for symbol in SYMBOLS}
    assert strict_findings(payload(live_pool_legacy_exact_bytes=carried, symbol_map=symbol_map)) == ()


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"version": "2026-03"}, 'version is "2026-03", it must be "2026-03-10-core_major"'),
        ({"source_project": None}, "source_project is missing"),
        ({"symbols": [*SYMBOLS, "ETHUSDT"]}, "symbols has ETHUSDT twice"),
        ({"symbols": [*SYMBOLS, "ETHBTC"]}, 'symbols has "ETHBTC", which is no USDT market'),
        ({"symbol_map": {"ETHUSDT": {"base_asset": "ETH"}}}, "symbol_map and symbols do not name the same markets"),
        (
            {"symbol_map": {symbol: {"base_asset": "BTC"} for symbol in SYMBOLS}},
            "symbol_map gives ETHUSDT the base asset BTC",
        ),
        (
            {"live_pool_legacy_exact_bytes": {"utf8_text": json.dumps(payload(symbols=SYMBOLS[::-1]))}},
            "live_pool_legacy_exact_bytes: its symbols are not the document's",
        ),
        (
            {"live_pool_legacy_exact_bytes": {"utf8_text": json.dumps(payload(version="other"))}},
            'live_pool_legacy_exact_bytes: its version "other" is not the document\'s "2026-03-10-core_major"',
        ),
        ({"live_pool_legacy_exact_bytes": {"utf8_text": "{"}}, "live_pool_legacy_exact_bytes: its text is not JSON"),
    ],
)
def test_what_breaks_the_publishers_contract_is_named(changes: dict[str, Any], finding: str) -> None:
    assert finding in strict_findings(payload(**changes))


def test_the_pool_must_be_the_rankings_selection_in_the_order_of_its_ranks() -> None:
    rows = [
        {"symbol": symbol, "selected_flag": "True", "current_rank": str(rank)}
        for rank, symbol in reversed(list(enumerate(SYMBOLS, start=1)))
    ]
    rows.append({"symbol": "DOGEUSDT", "selected_flag": "False", "current_rank": "0.5"})
    assert ranking_findings(payload(), rows) == ()
    swapped = payload(symbols=[SYMBOLS[1], SYMBOLS[0], *SYMBOLS[2:]])
    assert "the ranking selects ETHUSDT, SOLUSDT" in ranking_findings(swapped, rows)[0]
    foreign = payload(symbols=[*SYMBOLS[:4], "ADAUSDT"])
    assert "ADAUSDT is not in the ranking" in ranking_findings(foreign, rows)
