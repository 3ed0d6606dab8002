"""Numbers and strings as text, by the column: what JSON lines and CSV are put together from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["MAX_ENTRIES", "csv_text", "float_text", "json_text", "rows_at_once", "text_bytes"]

# Entries that are made into text at once: about 100 bytes each, all in all.
MAX_ENTRIES = 1 << 20

_NEEDS_JSON_ESCAPE = r'["\\\x00-\x1f]'
_NEEDS_CSV_QUOTES = r'[",\r\n]'


def rows_at_once(width: int) -> int:
    """Return how many rows of `width` entries may be made into text at once."""
    return max(1, MAX_ENTRIES // max(1, width))


def float_text(values: npt.NDArray[np.float32], *, not_finite: str) -> Any:
    """Write float32 numbers in the shortest form that reads back as the same float32.

    Parameters
    ----------
    values : ndarray of float32, shape (n,)
    not_finite : str
        Text for NaN and infinities.

    Returns
    -------
    pyarrow.StringArray
        Whole numbers carry a `.0`, so that they read back as floats.
    """
    text = pc.cast(pa.array(values), pa.string())
    finite = np.isfinite(values)
    whole = finite & (values == np.trunc(values))
    if whole.any():
        mask = pa.array(whole)
        longer = pc.replace_substring_regex(text.filter(mask), r"^(-?[0-9]+)$", r"\1.0")
        text = pc.replace_with_mask(text, mask, longer)
    if not finite.all():
        text = pc.if_else(pa.array(finite), text, not_finite)
    return text


def json_text(values: Any) -> Any:
    """Write a column of integers, strings or anything else that casts to a string as JSON.

    Returns
    -------
    pyarrow.StringArray
        Numbers and booleans as they are, everything else as JSON strings; null as `null`.
    """
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return pc.fill_null(pc.cast(values, pa.string()), "null")
    if pa.types.is_floating(kind):
        text = pc.if_else(pc.is_finite(values), pc.cast(values, pa.string()), "null")
        return pc.fill_null(text, "null")
    text = _as_string(values)
    quoted = pc.binary_join_element_wise('"', text, '"', "")
    escape = pc.match_substring_regex(text, _NEEDS_JSON_ESCAPE)
    if pc.any(escape).as_py():
        rows = pc.indices_nonzero(escape).to_pylist()
        items = quoted.to_pylist()
        for row in rows:
            items[row] = json.dumps(text[row].as_py(), ensure_ascii=False)
        quoted = pa.array(items, pa.string())
    return pc.fill_null(quoted, "null")


def csv_text(values: Any) -> Any:
    """Write a column as CSV fields: quoted where needed, null as nothing."""
    text = _as_string(values)
    quote = pc.match_substring_regex(text, _NEEDS_CSV_QUOTES)
    if pc.any(quote).as_py():
        doubled = pc.replace_substring(text, '"', '""')
        text = pc.if_else(quote, pc.binary_join_element_wise('"', doubled, '"', ""), text)
    return pc.fill_null(text, "")


def text_bytes(lines: Any) -> Any:
    """Return the text of all lines, one after the other, as a buffer that is not a copy."""
    if len(lines) == 0:
        return pa.py_buffer(b"")
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)
    begin, end = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return lines.buffers()[2].slice(int(begin), int(end - begin))


def _as_string(values: Any) -> Any:
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return pa.array([None if v is None else v.hex() for v in values.to_pylist()], pa.string())
    return pc.cast(values, pa.string())
