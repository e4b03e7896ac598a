"""Canonical JSON and hashes: one content, one text, one hash, in any process on any machine."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as generate

from trading_runtime.core.hashing import array_hash, canonical_json, json_hash, sha256_hex

SCALARS = (
    generate.none() | generate.booleans() | generate.integers() | generate.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = generate.text(generate.characters(codec="utf-8"), max_size=5)
VALUES = generate.recursive(
    SCALARS | TEXTS,
    lambda inner: generate.lists(inner, max_size=4) | generate.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def shuffled(value: Any) -> Any:
    """The same value with every dictionary in the other order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_the_text_is_read_back_as_the_value_and_ignores_order(value: Any) -> None:
    """Canonical JSON is JSON, loses nothing, and has one text whatever order keys were written in."""
    text = canonical_json(value)

    assert json.loads(text) == value
    assert canonical_json(shuffled(value)) == text
    assert canonical_json(json.loads(text)) == text


def test_the_text_is_fixed() -> None:
    """The bytes that digests of results were taken of, for ever."""
    value = {"b": [1, 2.5, True, None], "a": "é", "c": {"z": -0.0, "y": 1e22}}

    assert canonical_json(value) == '{"a":"é","b":[1,2.5,true,null],"c":{"y":1e+22,"z":-0.0}}'.encode()
    assert json_hash(value) == sha256_hex(canonical_json(value))
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}])
def test_what_json_has_no_word_for_is_refused(value: Any) -> None:
    """NaN and infinity would not be read back."""
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    """No endless text."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="Circular"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {2.5: 1}}, {None: 1}, {True: 1}])
def test_keys_that_are_no_texts_are_refused(value: Any) -> None:
    """JSON would turn the key 1 into "1": two different values would share a hash and not be read back."""
    with pytest.raises((TypeError, ValueError)):
        canonical_json(value)


@pytest.mark.parametrize("seed", ["0", "17"])
def test_no_hash_seed_changes_a_hash(seed: str) -> None:
    """Another process with another PYTHONHASHSEED hashes alike."""
    program = "from trading_runtime.core.hashing import json_hash as f; print(f({'b': 1, 'a': [2.5, 'é']}))"
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    assert json_hash({"a": [2.5, "é"], "b": 1}) == printed.stdout.strip()


def test_an_arrays_hash_is_of_kind_shape_and_values() -> None:
    """Order in memory and of bytes do not matter; kind, shape, order and every value do."""
    base = np.arange(6, dtype=np.float64)
    same = [base.astype(">f8"), np.repeat(base, 2)[::2], base.copy()]
    other = [base.astype(np.int64), base.astype(np.float32), base.reshape(2, 3), base[:5], base + 1.0, base[::-1]]

    assert {array_hash(base)} == {array_hash(each) for each in same}
    assert array_hash(base) not in {array_hash(each) for each in other}
    assert array_hash(base.reshape(2, 3)) == array_hash(np.asfortranarray(base.reshape(2, 3)))


@given(generate.lists(generate.integers(0, 5), max_size=6), generate.integers(0, 6))
def test_where_one_array_ends_and_the_next_begins_matters(values: list[int], split: int) -> None:
    """Two arrays never hash like one that holds the values of both."""
    column = np.array(values, dtype=np.int64)

    assert array_hash(column) != array_hash(column[:split], column[split:])


def test_hashes_of_arrays_are_fixed() -> None:
    """The hash that names data, for ever; also of no values at all."""
    assert array_hash(np.array([1.0, 2.0])) == sha256_hex(b"<f8(2,)" + np.array([1.0, 2.0], dtype="<f8").tobytes())
    assert array_hash(np.array([], dtype=np.int64)) == sha256_hex(b"<i8(0,)")
