"""How many shards a sweep is divided into: the same arithmetic for a plan's measurement and for a submission."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_runtime.core.errors import ConfigurationError
from trading_runtime.sweep.shards import SHARD_SECONDS, SHARDS_MAX, size_shards


def test_shards_take_about_ten_minutes() -> None:
    assert size_shards(1_000, 60.0).shards == 100
    assert size_shards(1_000, 60.0, workers=4).shards == 25
    assert size_shards(1_000, 0.001).shards == 1
    assert size_shards(10**6, 60.0).shards == SHARDS_MAX
    assert str(size_shards(1_000, 6.0)) == "1000 cells in 10 shard(s) of about 10.0 minutes, at most 100 cells each"
    assert str(size_shards(10, None, wanted=3)) == "10 cells in 3 shard(s) of unknown length, at most 4 cells each"


@given(st.integers(1, 10**7), st.floats(0, 1e6), st.integers(1, 64))
def test_no_shard_is_empty_and_none_is_longer_than_it_must_be(cells: int, cell_seconds: float, workers: int) -> None:
    sizing = size_shards(cells, cell_seconds, workers=workers)
    assert 1 <= sizing.shards <= min(SHARDS_MAX, cells)
    assert sizing.shard_seconds is not None
    if sizing.shards < min(SHARDS_MAX, cells):
        total = cells * cell_seconds / workers
        assert total / sizing.shards <= SHARD_SECONDS * (1 + 1e-12)
        assert sizing.shards == 1 or total / (sizing.shards - 1) > SHARD_SECONDS * (1 - 1e-12)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((0, 1.0), {}, "nothing to share"),
        ((10, 1.0), {"wanted": 11}, "11 shards of 10 cells"),
        ((10, 1.0), {"wanted": 501}, "from 1 to 500"),
        ((10, None), {}, "give --shards N"),
        ((10, float("nan")), {}, "measure it again"),
        ((10, -1.0), {}, "measure it again"),
        ((10, 1.0), {"workers": 0}, "cannot compute"),
        ((10**6, 60.0), {"deadline_seconds": 3600}, "longer than their deadline of 60.0 minutes"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        size_shards(*arguments, **options)
