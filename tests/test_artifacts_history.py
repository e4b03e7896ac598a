"""The publications of the past: each from its own time on, as the ladder of a live cycle would have found it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from artifact_samples import REAL, RULES, SYMBOLS, Shelf, file_bytes, payload

from trading_runtime.artifacts.history import PoolHistory
from trading_runtime.artifacts.ladder import Ladder
from trading_runtime.artifacts.payload import PayloadRules
from trading_runtime.core.errors import EXIT_DATA, DataError
from trading_runtime.core.timeframes import DAY_MS, HOUR_MS, iso_time, parse_time

Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Write payloads by file name into a folder."""

    def write(**contents: Any) -> Path:
        for name, content in contents.items():
            data = content if isinstance(content, bytes) else file_bytes(content)
            (tmp_path / f"{name}.json").write_bytes(data)
        return tmp_path

    return write


def versions(changes: list[tuple[int, dict[str, Any] | None]]) -> list[tuple[str, str | None, bool | None]]:
    return [
        (iso_time(time_ms), None, None) if one is None else (iso_time(time_ms), one["version"], one["degraded"])
        for time_ms, one in changes
    ]


def test_a_payload_is_known_from_its_generated_at_and_not_a_millisecond_before() -> None:
    history = PoolHistory.load(REAL.parent, RULES)
    known = parse_time("2026-06-01T09:08:51.692Z")  # 09:08:51.691178 is within the millisecond before
    assert history.at(known - 1) is None
    seen = history.at(known)
    assert seen is not None
    assert seen["source_kind"] == "history"
    assert seen["version"] == "2026-06-01-core_major"
    assert seen["symbols"] == ["TRX/USDT", "DOGE/USDT", "XRP/USDT", "LTC/USDT", "LINK/USDT"]
    assert (seen["degraded"], seen["new_entries"]) == (False, True)


def test_without_a_time_of_its_own_it_is_known_some_hours_after_its_date(folder: Folder) -> None:
    history = PoolHistory.load(folder(a=payload()), RULES, 24)
    assert versions(history.changes(0, parse_time("2026-03-20"))) == [
        ("2026-03-11T00:00:00Z", "2026-03-10-core_major", False)
    ]
    assert PoolHistory.load(folder(a=payload()), RULES, 30).at(parse_time("2026-03-11T05:59:59Z")) is None


def test_it_is_never_known_before_its_date_even_if_it_was_made_earlier(folder: Folder) -> None:
    early = payload(generated_at="2026-03-08T22:00:00+02:00")
    history = PoolHistory.load(folder(a=early), RULES)
    assert history.changes(0, parse_time("2026-03-20"))[0][0] == parse_time("2026-03-10")


def test_it_grows_stale_then_ends_and_the_next_one_is_fresh_again(folder: Folder) -> None:
    place = folder(a=payload("2026-01-01"), b=payload("2026-06-01"))
    history = PoolHistory.load(place, RULES, 24, last_known_good_days_max=90)
    assert versions(history.changes(0, parse_time("2026-07-01"))) == [
        ("2026-01-02T00:00:00Z", "2026-01-01-core_major", False),
        ("2026-02-16T00:00:00Z", "2026-01-01-core_major", True),
        ("2026-04-02T00:00:00Z", None, None),
        ("2026-06-02T00:00:00Z", "2026-06-01-core_major", False),
    ]
    stale = history.at(parse_time("2026-03-01"))
    assert stale is not None
    assert stale["new_entries"] is False
    allowed = replace(history, allow_new_entries_on_degraded=True).at(parse_time("2026-03-01"))
    assert allowed is not None
    assert allowed["new_entries"] is True


def test_changes_begin_with_what_counts_at_first_and_keep_to_the_span(folder: Folder) -> None:
    place = folder(a=payload("2026-01-01"), b=payload("2026-02-01"))
    history = PoolHistory.load(place, RULES)
    first, last = parse_time("2026-01-20"), parse_time("2026-02-02")
    assert versions(history.changes(first, last)) == [
        ("2026-01-20T00:00:00Z", "2026-01-01-core_major", False),
        ("2026-02-02T00:00:00Z", "2026-02-01-core_major", False),
    ]
    assert versions(history.changes(first, last - 1)) == [("2026-01-20T00:00:00Z", "2026-01-01-core_major", False)]
    assert history.changes(0, 1) == []


def test_a_republished_earlier_version_counts_from_the_day_it_was_published_again(folder: Folder) -> None:
    place = folder(
        a=payload("2026-01-01", generated_at="2026-01-01T09:00:00Z"),
        b=payload("2026-02-01", generated_at="2026-02-01T09:00:00Z", symbols=SYMBOLS[::-1]),
        c=payload("2026-01-01", generated_at="2026-02-03T09:00:00Z"),
    )
    history = PoolHistory.load(place, RULES)
    assert [(time, one) for time, one, _ in versions(history.changes(0, parse_time("2026-02-10")))] == [
        ("2026-01-01T09:00:00Z", "2026-01-01-core_major"),
        ("2026-02-01T09:00:00Z", "2026-02-01-core_major"),
        ("2026-02-03T09:00:00Z", "2026-01-01-core_major"),
    ]


def test_a_payload_that_is_stale_when_it_comes_leaves_the_last_good_one_in_force(folder: Folder) -> None:
    place = folder(
        a=payload("2026-02-20", generated_at="2026-02-20T09:00:00Z"),
        b=payload("2026-01-01", generated_at="2026-03-01T09:00:00Z"),
    )
    history = PoolHistory.load(place, RULES)
    assert versions(history.changes(0, parse_time("2026-03-10"))) == [
        ("2026-02-20T09:00:00Z", "2026-02-20-core_major", False),
        ("2026-03-01T09:00:00Z", "2026-02-20-core_major", True),
    ]


def test_at_every_hour_it_says_what_a_live_ladder_would_have_said(folder: Folder) -> None:
    """Six random histories; the ladder runs each hour and keeps its last good one from hour to hour."""
    for seed in range(6):
        random_ = random.Random(seed)
        start = parse_time("2026-01-01")
        contents: dict[str, dict[str, Any]] = {}
        for number in range(5):
            made = start + random_.randrange(0, 90 * 24) * HOUR_MS + number
            day = iso_time((made // DAY_MS - random_.randrange(0, 12)) * DAY_MS)[:10]
            symbols = random_.sample(SYMBOLS, 5)
            contents[f"p{number}"] = payload(day, version=f"v{number}", generated_at=iso_time(made), symbols=symbols)
        place = folder(**contents)
        rules = PayloadRules(max_age_days=random_.choice([5, 15, 40]))
        days_max = random_.choice([3, 20, 45])
        history = PoolHistory.load(place, rules, last_known_good_days_max=days_max)
        shelf, last_good = Shelf(), None
        ladder = Ladder(rules, days_max, upstream=shelf)
        for hour in range(1, 110 * 24):
            now_ms = start + hour * HOUR_MS
            known = [one for one in history.publications if one.in_force_ms <= now_ms]
            shelf.content = contents[known[-1].name.removesuffix(".json")] if known else None
            resolution = ladder.resolve(now_ms, last_good)
            last_good = resolution.last_good
            live = None if resolution.is_incident else resolution.for_decision(quote="USDT")
            assert history.at(now_ms) == (live and live | {"source_kind": "history"}), (
                f"seed {seed}, {iso_time(now_ms)}"
            )


def test_changes_say_the_same_as_asking_every_hour(folder: Folder) -> None:
    place = folder(**{f"p{month}": payload(f"2025-{month:02}-01") for month in (1, 2, 4, 9, 10)})
    history = PoolHistory.load(place, RULES, 13)
    first, last = parse_time("2025-01-20"), parse_time("2026-03-01")
    changes = dict(history.changes(first, last))
    present = None
    for time_ms in range(first, last + 1, HOUR_MS):
        present = changes.pop(time_ms, present)
        assert history.at(time_ms) == present, iso_time(time_ms)
    assert not changes, "every change is at a full hour here"


def test_symbols_are_all_that_were_ever_in_the_pool_and_may_be_traded(folder: Folder) -> None:
    place = folder(
        a=payload("2026-01-01"),
        b=payload("2026-02-01", symbols=["ADAUSDT", *SYMBOLS[:4]]),
        c=payload("2026-03-01", symbols=["BNBUSDT", *SYMBOLS[:4]], symbol_map={"XRPUSDT": {"base_asset": "BTC"}}),
    )
    history = PoolHistory.load(place, RULES, reserved={"BNB/USDT": "reserved: fees"})
    assert history.symbols() == ("ETH/USDT", "SOL/USDT", "XRP/USDT", "LTC/USDT", "BCH/USDT", "ADA/USDT")
    without = replace(history, not_traded={"ADA/USDT": "no data"})
    assert "ADA/USDT" not in without.symbols()
    seen = without.at(parse_time("2026-02-10"))
    assert seen is not None
    assert seen["excluded"] == {"ADAUSDT": "no data"}
    last = without.at(parse_time("2026-03-10"))
    assert last is not None
    assert set(last["excluded"]) == {"BNBUSDT", "XRPUSDT"}


def test_its_hash_is_of_the_bytes_and_not_of_the_names(folder: Folder, tmp_path: Path) -> None:
    place = folder(a=payload("2026-01-01"), b=payload("2026-02-01"))
    digest = PoolHistory.load(place, RULES).content_hash()
    (place / "a.json").rename(place / "z.json")
    assert PoolHistory.load(place, RULES).content_hash() == digest
    folder(b=file_bytes(payload("2026-02-01")) + b" ")
    assert PoolHistory.load(place, RULES).content_hash() != digest


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (payload(pool_size=4), "bad.json: pool_size is 4, but there are 5 symbols"),
        (payload(mode="other"), 'bad.json: mode "other" is not accepted'),
        (payload(generated_at="soon"), "bad.json: generated_at must be a time such as"),
        (payload(generated_at=5), "bad.json: generated_at must be a time such as"),
        (b"{", "bad.json: line 1 column 2: not JSON"),
        (payload(version="again"), "good.json: comes into force at 2026-03-11T00:00:00Z, as bad.json does"),
    ],
)
def test_a_file_that_is_wrong_is_named(folder: Folder, content: object, told: str) -> None:
    with pytest.raises(DataError) as caught:
        PoolHistory.load(folder(good=payload(), bad=content), RULES)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == EXIT_DATA


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: cannot be read as a folder of payloads"):
        PoolHistory.load(tmp_path / "none", RULES)
    with pytest.raises(DataError, match="holds no payload"):
        PoolHistory.load(tmp_path, RULES)
