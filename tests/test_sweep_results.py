"""Stored results of cells: what is read by position is what is read field by field, and every change is damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_samples import cell_files, planned, run_here, whole_run, write_sweep

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.core.hashing import canonical_json, sha256_hex
from trading_runtime.objects.folder import FolderObjects
from trading_runtime.objects.memory import MemoryObjects
from trading_runtime.objects.seal import seal, unseal
from trading_runtime.sweep.gather import gather_sweep
from trading_runtime.sweep.markets import IdentityText
from trading_runtime.sweep.results import _by_position, _field_by_field, result_bytes, understood

SMALL: dict[str, Any] = {"space": {"fast": [2, 5], "slow": [24]}, "periods": {"kind": "whole"}}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """The id and the bytes of a real cell's result."""
    store = MemoryObjects()
    whole_run(write_sweep(tmp_path_factory.mktemp("stored"), **SMALL), store)
    key = next(iter(store.keys("cells/")))
    return key.rpartition("/")[2].removesuffix(".json"), store.get(key)


def resealed(content: dict[str, Any]) -> bytes:
    """Return a document whose digest and checksum are right, whatever else it says."""
    measured = {"metrics": content["metrics"], "equity": content["equity_daily"]}
    return seal({**content, "digest": sha256_hex(canonical_json(measured))})


def with_checksum(body: bytes) -> bytes:
    return body + b',"sha256":"%b"}' % sha256_hex(body + b"}").encode()


def test_a_result_is_read_by_position_as_it_was_sealed(stored: tuple[str, bytes]) -> None:
    cell_id, raw = stored
    content = unseal("key", raw)

    found = _by_position(cell_id.encode(), raw)

    assert found is not None
    assert dict(found) == content
    assert seal(content) == raw
    assert {name: canonical_json(value) for name, value in content.items()} == found.texts
    assert _field_by_field(cell_id, raw, "store").content == content


def test_every_changed_missing_or_added_byte_is_damage(stored: tuple[str, bytes]) -> None:
    cell_id, raw = stored
    for position in range(len(raw)):
        for bit in (1, 4, 32):
            harmed = raw[:position] + bytes([raw[position] ^ bit]) + raw[position + 1 :]
            assert understood(cell_id, harmed, "store").content is None, (position, bit)
        assert understood(cell_id, raw[:position], "store").content is None, position
        assert _by_position(cell_id.encode(), raw[:position] + raw[position + 1 :]) is None, position
    for harmed in (raw + b" ", raw + b"\n", b" " + raw, raw + raw):
        assert understood(cell_id, harmed, "store").content is None


def test_nothing_passes_by_position_that_does_not_pass_field_by_field(stored: tuple[str, bytes]) -> None:
    """Documents whose checksum is right, made by a program that writes them otherwise."""
    cell_id, raw = stored
    body = raw[: raw.rindex(b',"sha256":')]
    changes = [
        (b'"fills":', b'"fills": '),
        (b'"fills":', b'"Fills":'),
        (b'"funding":0.0', b'"funding":0.00'),
        (b'"funding":0.0', b'"funding":0e0'),
        (b'"units":[', b'"units":[ '),
        (b'"units":[', b'"units":[0'),
        (b'"units":[', b'"units":[-0,'),
        (b'"unit":"', b'"unit":"\\u0031'),
        (b'"bar_ms":', b'"bar_ms":0,"bar_ms":'),
        (b'"parameters":{"fast"', b'"parameters":{ "fast"'),
        (b',"warm_up":false}', b',"warm_up":0}'),
        (b'"cell_id"', b'"cell_ID"'),
        (b'"metrics":{"annual', b'"metrics":{"a":NaN,"annual'),
    ]
    for old, new in changes:
        for places in (1, -1):
            parts = body.split(old)
            assert len(parts) > 1, old
            cut = 1 if places == 1 else len(parts) - 1
            changed = old.join(parts[:cut]) + new + old.join(parts[cut:])
            metrics, equity = changed.rindex(b',"metrics":{'), changed.index(b'"equity_daily":')
            measured = b'{"equity":%b,"metrics":%b}' % (
                changed[equity + 15 : changed.index(b',"identity":')],
                changed[metrics + 11 : changed.rindex(b',"parameters":{')],
            )
            at = changed.index(b'"digest":"') + 10
            digested = changed[:at] + sha256_hex(measured).encode() + changed[at + 64 :]
            for harmed in (with_checksum(changed), with_checksum(digested)):
                assert _by_position(cell_id.encode(), harmed) is None, (old, new)
                assert understood(cell_id, harmed, "store").content is None, (old, new)


@settings(max_examples=120)
@given(
    parameters=st.dictionaries(
        st.sampled_from(["metrics", "parameters", "period", "identity", "sha256", "a", 'b",'])
        | st.text(max_size=5),
        st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
        | st.sampled_from(['","sha256":"', ',"period":{', ',"metrics":{}', "\\", ',"identity":', "ä"])
        | st.text(max_size=8),
        max_size=4,
    )
)  # fmt: skip
def test_names_and_texts_of_parameters_mislead_nobody(stored: tuple[str, bytes], parameters: dict[str, Any]) -> None:
    _, raw = stored
    content = unseal("key", raw)
    identity = {**content["identity"], "parameters": parameters}
    cell_id = sha256_hex(canonical_json(identity))
    document = resealed({**content, "cell_id": cell_id, "identity": identity, "parameters": parameters})

    read = understood(cell_id, document, "store")

    assert read.content == unseal("key", document)
    assert read.content["parameters"] == parameters
    other = resealed({**content, "cell_id": cell_id, "identity": identity, "parameters": {**parameters, "a": "other"}})
    assert _by_position(cell_id.encode(), other) is None


def test_a_result_is_put_together_as_the_seal_of_its_content(stored: tuple[str, bytes]) -> None:
    cell_id, raw = stored
    found = _by_position(cell_id.encode(), raw)
    assert found is not None
    texts = found.texts
    outcome = type(found)({"metrics": texts["metrics"], "equity": texts["equity_daily"]})

    identity = IdentityText(texts["identity"], texts["parameters"], texts["period"])

    assert result_bytes(cell_id, identity, outcome) == raw == seal(json.loads(raw[: raw.rindex(b',"sha256"')] + b"}"))


@pytest.mark.parametrize("left", ["nothing", "a part", "zeros", "no file"])
def test_what_a_power_cut_leaves_of_results_is_told_and_computed_again(tmp_path: Path, left: str) -> None:
    """Results are not brought to the disk one by one, so that a power cut may empty them, cut them off or take them."""
    path = write_sweep(tmp_path, **SMALL)
    store = FolderObjects(tmp_path / "objects")
    before = whole_run(path, store)
    cells = cell_files(store)
    for key, content in cells.items():
        file = tmp_path / "objects" / key
        if left == "no file":
            file.unlink()
        else:
            file.write_bytes({"nothing": b"", "a part": content[:1000], "zeros": bytes(len(content))}[left])

    found = gather_sweep(store, before.sweep.sweep_id)

    damaged = 0 if left == "no file" else len(cells)
    assert found.counts["done"] == 0
    assert (len(found.corrupt), len(found.missing)) == (damaged, len(cells) - damaged)
    done = run_here(store, before.sweep.sweep_id)
    assert (done.computed, done.found, done.damaged) == (len(cells), 0, damaged)
    assert gather_sweep(store, before.sweep.sweep_id).root_digest == before.root_digest
    assert cell_files(store) == cells


def test_a_cell_that_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path / "objects")
    path = write_sweep(tmp_path, **SMALL)
    whole_run(path, store)
    files = {key: (tmp_path / "objects" / key).stat().st_ino for key in cell_files(store)}

    run_here(store, planned(path, store).sweep.sweep_id)

    assert {key: (tmp_path / "objects" / key).stat().st_ino for key in cell_files(store)} == files


def test_a_folder_that_takes_no_results_is_told(tmp_path: Path) -> None:
    store = FolderObjects(tmp_path / "objects")
    plan = planned(write_sweep(tmp_path, **SMALL), store)
    (tmp_path / "objects" / "cells").write_text("a file")

    with pytest.raises(ConfigurationError, match=r"cells/[0-9a-f]{2}/.* cannot be written"):
        run_here(store, plan.sweep.sweep_id)
