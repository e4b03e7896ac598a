"""Arrow columns made without pyarrow's own conversion are the columns that it would have made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_runtime.data.arrow_columns import arrow_column, nullable_column

KINDS: dict[type, tuple[Any, st.SearchStrategy[Any]]] = {
    bool: (pyarrow.bool_(), st.booleans()),
    int: (pyarrow.int64(), st.integers(-(2**63), 2**63 - 1)),
    float: (pyarrow.float64(), st.floats(allow_nan=False)),
    str: (pyarrow.string(), st.text(st.characters(exclude_categories=["Cs"]))),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_values_with_and_without_gaps(kind: Any, data: st.DataObject) -> None:
    arrow, one = KINDS[kind]
    values = data.draw(st.lists(st.none() | one, max_size=20))
    column = nullable_column(values, kind)
    column.validate(full=True)

    assert column.equals(pyarrow.array(values, arrow))
    assert column.null_count == values.count(None)


def test_a_kind_that_no_column_has_is_refused() -> None:
    with pytest.raises(TypeError, match="no Arrow type for a column of complex128"):
        arrow_column(np.zeros(3, dtype=np.complex128))
