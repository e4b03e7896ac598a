"""numpy columns as Arrow arrays, without copying, and without what pyarrow's own conversion does: it imports pandas
where that is installed, which costs more than a backtest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow

_KINDS = {"int64": "int64", "float64": "float64", "int8": "int8"}


def arrow_column(values: npt.NDArray[Any] | list[str]) -> pyarrow.Array:
    """Return a column as an Arrow array: int64, float64, int8, bool or text. Raises TypeError for any other kind."""
    import pyarrow as arrow

    if isinstance(values, list):
        encoded = [value.encode() for value in values]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        text = b"".join(encoded)
        return arrow.StringArray.from_buffers(len(values), arrow.py_buffer(ends), arrow.py_buffer(text))
    column = np.ascontiguousarray(values)
    if column.dtype == np.bool_:
        bits = np.packbits(column, bitorder="little")
        return arrow.Array.from_buffers(arrow.bool_(), len(column), [None, arrow.py_buffer(bits)])
    kind = _KINDS.get(column.dtype.name)
    if kind is None:
        raise TypeError(f"no Arrow type for a column of {column.dtype}")
    return arrow.Array.from_buffers(getattr(arrow, kind)(), len(column), [None, arrow.py_buffer(column)])
