"""Whatever is done to a journal, in the store or to an exported file, is found and named."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as generate

from trading_runtime.core.errors import ConfigurationError, StoreDamaged
from trading_runtime.core.hashing import canonical_json
from trading_runtime.stores.envelope import seal
from trading_runtime.stores.journal import START, Finding, Head, Journal
from trading_runtime.stores.journal_check import read_export, verify_export
from trading_runtime.stores.memory import MemoryDocuments

SESSION = "2024-01-01T00"
JSON = generate.recursive(
    generate.none()
    | generate.booleans()
    | generate.integers()
    | generate.floats(allow_nan=False, allow_infinity=False)
    | generate.text(max_size=4),
    lambda inner: (
        generate.lists(inner, max_size=2) | generate.dictionaries(generate.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
CONTENTS = generate.lists(JSON, min_size=2, max_size=6)
Lines = list[bytes]


def written(contents: list[Any]) -> tuple[Lines, Head]:
    """Write a session and return the bytes of its entries, and its head."""
    journal = Journal(MemoryDocuments(), "main", "sma_cross")
    head = START
    for number, content in enumerate(contents):
        head = journal.append(SESSION, head, "kind", number, f"time {number}", content)
    stream = io.BytesIO()
    assert journal.export(SESSION, stream) == head
    return stream.getvalue().split(b"\n")[:-1], head


def verified_store(lines: dict[int, bytes], expected_head: Head | None) -> list[Finding]:
    """Put these bytes in these places of a store, and verify."""
    documents = MemoryDocuments()
    journal = Journal(documents, "main", "sma_cross")
    documents.create(f"journal/main.sma_cross/sessions/{SESSION}", b"there")
    for place, line in lines.items():
        documents.create(f"journal/main.sma_cross/sessions/{SESSION}/entries/{place:08}", line)
    findings = journal.verify(SESSION, expected_head)
    if findings and expected_head is not None:
        check_reading_stops(journal, expected_head)
    return findings


def check_reading_stops(journal: Journal, expected_head: Head) -> None:
    """What is not whole is not read to its end, or else does not end as the state knows it."""
    try:
        entries = list(journal.entries(SESSION))
    except StoreDamaged:
        return
    assert expected_head not in [START, *(entry.head for entry in entries)]


def verified_export(lines: Lines, expected_head: Head | None) -> list[Finding]:
    findings = verify_export((line + b"\n" for line in lines), expected_head)
    try:
        entries = list(read_export(lines))
    except StoreDamaged:
        assert findings
    else:
        if expected_head is not None:
            assert bool(findings) == (expected_head not in [START, *(entry.head for entry in entries)])
    return findings


def heads(lines: Lines) -> list[Head]:
    return [entry.head for entry in read_export(lines)]


def named(findings: list[Finding]) -> set[int]:
    assert all(finding.what and "\n" not in finding.what for finding in findings)
    return {finding.sequence for finding in findings}


def resealed(line: bytes, **changes: Any) -> bytes:
    """Return the entry with changed fields and a checksum that fits: the work of somebody who knows the format."""
    fields = json.loads(line)
    del fields["sha256"], fields["schema_version"]
    return seal("forged", {**fields, **changes}, 1)[0]


@given(contents=CONTENTS)
def test_nothing_is_found_where_nothing_was_done(contents: list[Any]) -> None:
    lines, head = written(contents)
    for expected in (head, None):
        assert verified_store(dict(enumerate(lines)), expected) == []
        assert verified_export(lines, expected) == []
    for entry, content in zip(read_export(lines), contents, strict=True):
        assert canonical_json(entry.content) == canonical_json(content)


@given(contents=CONTENTS)
def test_entries_written_after_the_known_head_are_fine(contents: list[Any]) -> None:
    lines, _ = written(contents)
    for head in [START, *heads(lines)]:
        assert verified_store(dict(enumerate(lines)), head) == []
        assert verified_export(lines, head) == []


@given(contents=CONTENTS, data=generate.data())
def test_any_byte_altered_is_found_at_its_entry(contents: list[Any], data: generate.DataObject) -> None:
    lines, head = written(contents)
    place = data.draw(generate.integers(0, len(lines) - 1))
    line = lines[place]
    index = data.draw(generate.integers(0, len(line) - 1))
    byte = data.draw(generate.integers(0, 255).filter(lambda value: value != line[index]))
    lines[place] = line[:index] + bytes([byte]) + line[index + 1 :]
    for expected in (head, None):
        assert named(verified_store(dict(enumerate(lines)), expected)) == {place}
        assert named(verified_export(lines, expected)) == {place}


@given(contents=CONTENTS, data=generate.data())
def test_bytes_added_or_cut_out_are_found_at_their_entry(contents: list[Any], data: generate.DataObject) -> None:
    lines, head = written(contents)
    place = data.draw(generate.integers(0, len(lines) - 1))
    line = lines[place]
    index = data.draw(generate.integers(0, len(line) - 1))
    cut = data.draw(generate.integers(0, 3))
    added = data.draw(generate.binary(max_size=3))
    changed = line[:index] + added + line[index + cut :]
    if changed == line:
        return
    lines[place] = changed
    assert named(verified_store(dict(enumerate(lines)), head)) == {place}
    assert named(verified_export(lines, head)) >= {place}


@given(contents=CONTENTS, data=generate.data())
def test_any_field_forged_with_a_fitting_checksum_is_found_at_its_entry(
    contents: list[Any], data: generate.DataObject
) -> None:
    lines, head = written(contents)
    place = data.draw(generate.integers(0, len(lines) - 1))
    field, value = data.draw(
        generate.sampled_from(
            [
                ("kind", "other"),
                ("time", "later"),
                ("slot", None),
                ("slot", 99),
                ("content", {"forged": True}),
                ("previous", "0" * 64),
                ("session", "other"),
                ("journal", "other.sma_cross"),
                ("sequence", 77),
                ("sequence", -1),
                ("more", 1),
                ("slot", "text"),
                ("kind", 1),
            ]
        )
    )
    forged = resealed(lines[place], **{field: value})
    assert forged != lines[place]
    lines[place] = forged
    assert named(verified_store(dict(enumerate(lines)), head)) == {place}
    findings = named(verified_export(lines, head))
    assert findings
    if field not in ("sequence", "session", "journal"):  # in a file these say what entry the line is
        assert findings == {place}


@given(contents=CONTENTS, data=generate.data())
def test_entries_dropped_or_cut_off_are_found_and_named(contents: list[Any], data: generate.DataObject) -> None:
    lines, head = written(contents)
    first = data.draw(generate.integers(0, len(lines) - 1))
    last = data.draw(generate.integers(first, len(lines) - 1))
    kept = {place: line for place, line in enumerate(lines) if not first <= place <= last}
    found = [verified_store(kept, head), verified_export(list(kept.values()), head)]
    for findings in found:
        assert [finding.sequence for finding in findings] == [first]
        assert ("cut off" in findings[0].what) == (last == len(lines) - 1)
        assert (f"entries {first} to {last}" in findings[0].what) == (last > first)


@given(contents=CONTENTS, data=generate.data())
def test_entries_that_changed_places_are_found_and_named(contents: list[Any], data: generate.DataObject) -> None:
    lines, head = written(contents)
    one, other = sorted(data.draw(generate.permutations(range(len(lines))))[:2])
    lines[one], lines[other] = lines[other], lines[one]
    assert named(verified_store(dict(enumerate(lines)), head)) == {one, other}
    assert named(verified_export(lines, head)) & {one, other}


@given(contents=CONTENTS, data=generate.data())
def test_an_entry_written_twice_is_found_and_named(contents: list[Any], data: generate.DataObject) -> None:
    lines, head = written(contents)
    what = data.draw(generate.integers(0, len(lines) - 1))
    over = data.draw(generate.integers(0, len(lines)).filter(lambda place: place != what))
    store = {**dict(enumerate(lines)), over: lines[what]}
    assert named(verified_store(store, head)) == {over}
    place = data.draw(generate.integers(0, len(lines)))
    findings = verified_export([*lines[:place], lines[what], *lines[place:]], head)
    assert findings
    assert what in named(findings) or "out of its order" in findings[0].what


@given(contents=CONTENTS, data=generate.data())
def test_a_history_rewritten_to_its_end_is_found_by_the_head(contents: list[Any], data: generate.DataObject) -> None:
    lines, head = written(contents)
    place = data.draw(generate.integers(0, len(lines) - 1))
    other = [*contents[:place], {"rewritten": contents[place]}, *contents[place + 1 :]]
    rewritten, _ = written(other)
    assert named(verified_store(dict(enumerate(rewritten)), head)) == {len(lines) - 1}
    assert named(verified_export(rewritten, head)) == {len(lines) - 1}


@given(contents=CONTENTS)
def test_the_session_of_another_account_is_not_this_one(contents: list[Any]) -> None:
    documents = MemoryDocuments()
    foreign = Journal(documents, "other", "sma_cross")
    head = START
    for content in contents:
        head = foreign.append(SESSION, head, "kind", 1, "time", content)
    stream = io.BytesIO()
    foreign.export(SESSION, stream)
    lines = stream.getvalue().splitlines()
    assert named(verified_store(dict(enumerate(lines)), head)) == set(range(len(lines)))


def test_a_session_that_claims_to_follow_something_is_not_whole() -> None:
    """Its beginning was cut off, and the rest numbered and chained anew."""
    before = "1" * 64
    lines = []
    for number in range(3):
        raw = resealed(written([number])[0][0], sequence=number, previous=before)
        before = json.loads(raw)["sha256"]
        lines.append(raw)
    assert named(verified_store(dict(enumerate(lines)), Head(2, before))) == {0}
    assert named(verify_export(lines, Head(2, before))) == {0}


def test_an_export_that_is_empty_lacks_what_was_known() -> None:
    lines, head = written([1, 2])
    assert verify_export([], START) == verify_export([]) == []
    assert named(verify_export([], head)) == {0}
    assert named(verify_export([b"\n"], None)) == {0}
    with pytest.raises(StoreDamaged, match=r"^line 2: entry 0 does not follow"):
        list(read_export([lines[0], lines[0]]))
    with pytest.raises(StoreDamaged, match=r"^line 1: entry 1 does not follow"):
        list(read_export(lines[1:]))


def test_an_entry_of_a_newer_program_is_told_from_a_damaged_one() -> None:
    fields = json.loads(written([1])[0][0])
    del fields["sha256"], fields["schema_version"]
    newer, _ = seal("newer", fields, 5)
    with pytest.raises(ConfigurationError, match=r"^line 1: .*schema 5, this one knows 1"):
        list(read_export([newer]))
    assert "schema 5" in verify_export([newer])[0].what
