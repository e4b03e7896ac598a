"""numpy columns as Arrow arrays, without copying, and without what pyarrow's own conversion does: it imports pandas
where that is installed, which costs more than a backtest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow

_KINDS = {"int64": "int64", "float64": "float64", "int8": "int8"}


def arrow_column(values: npt.NDArray[Any] | list[str], known: npt.NDArray[np.bool_] | None = None) -> pyarrow.Array:
    """Return a column as an Arrow array: int64, float64, int8, bool or text; null where it is not ``known``. Raises
    TypeError for any other kind.
    """
    import pyarrow as arrow

    there = None if known is None or known.all() else arrow.py_buffer(np.packbits(known, bitorder="little"))
    if isinstance(values, list):
        encoded = [value.encode() for value in values]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        text = b"".join(encoded)
        return arrow.StringArray.from_buffers(len(values), arrow.py_buffer(ends), arrow.py_buffer(text), there)
    column = np.ascontiguousarray(values)
    if column.dtype == np.bool_:
        bits = np.packbits(column, bitorder="little")
        return arrow.Array.from_buffers(arrow.bool_(), len(column), [there, arrow.py_buffer(bits)])
    kind = _KINDS.get(column.dtype.name)
    if kind is None:
        raise TypeError(f"no Arrow type for a column of {column.dtype}")
    return arrow.Array.from_buffers(getattr(arrow, kind)(), len(column), [there, arrow.py_buffer(column)])


def nullable_column(values: Sequence[Any], kind: type[bool | int | float | str]) -> pyarrow.Array:
    """Return values of one kind, some of them None, as an Arrow array: None becomes null. Integers are int64."""
    known = np.fromiter((value is not None for value in values), dtype=np.bool_, count=len(values))
    filled: list[Any] = [kind() if value is None else value for value in values]
    if kind is str:
        return arrow_column(filled, known)
    return arrow_column(np.array(filled, dtype=np.int64 if kind is int else kind), known)
