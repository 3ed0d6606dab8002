"""Scores as Arrow arrays, built without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.checks import flag, shown
from fastprop.errors import DTypeError, ShapeError

__all__ = ["label_names", "scores_to_arrow", "top_k_to_arrow"]

_MAX_INT32 = np.iinfo(np.int32).max


def scores_to_arrow(
    scores: npt.NDArray[np.float32], *, null_rows: npt.NDArray[np.bool_] | None = None
) -> Any:
    """Turn a matrix of scores into a `list<float>` array, a list a row.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_rows, n_labels)
        Borrowed where it is in C order and no row is null; the array keeps it alive.
    null_rows : ndarray of bool, shape (n_rows,), optional
        Rows whose result is null.

    Returns
    -------
    pyarrow.ListArray

    Raises
    ------
    ShapeError
        If the matrix has more entries than a list array can address (2**31 - 1), or is none.
    DTypeError
        If it holds no numbers.
    """
    scores = _array("scores", scores, "fiu")
    if scores.ndim != 2:
        raise ShapeError(f"scores: expected two dimensions, got {scores.ndim}")
    n_rows, n_labels = scores.shape
    null_rows = _null_rows(null_rows, n_rows)
    lengths = np.full(n_rows, n_labels, dtype=np.int64)
    if null_rows is not None:
        lengths[null_rows] = 0
        scores = scores[~null_rows]
    flat = np.ascontiguousarray(scores, dtype=np.float32).reshape(-1)
    return _list_array(lengths, pa.array(flat), null_rows)


def top_k_to_arrow(
    indices: npt.NDArray[np.int32],
    scores: npt.NDArray[np.float32],
    labels: Sequence[str] | Any,
    *,
    null_rows: npt.NDArray[np.bool_] | None = None,
    dictionary: bool = False,
) -> Any:
    """Turn the best labels of each row into a `list<struct<label: string, score: float>>` array.

    Parameters
    ----------
    indices : ndarray of int32, shape (n_rows, k)
        Label numbers, best first; -1 pads rows that have fewer.
    scores : ndarray of float32, shape (n_rows, k)
        Score of each.
    labels : sequence of str or pyarrow.StringArray
        Name of each label.
    null_rows : ndarray of bool, shape (n_rows,), optional
        Rows whose result is null.
    dictionary : bool
        Give the label as `dictionary<int32, string>`: no name is copied. Parquet files written
        from it hold plain strings.

    Returns
    -------
    pyarrow.ListArray

    Raises
    ------
    ShapeError
        If the arrays differ in shape, hold more entries than a list array can address, or name
        more labels than there are.
    DTypeError
        If the labels are no names, or the indices no integers.
    """
    indices, scores = _array("indices", indices, "iu"), _array("scores", scores, "f")
    dictionary = flag("dictionary", dictionary)
    if indices.ndim != 2 or indices.shape != scores.shape:
        raise ShapeError(
            f"indices and scores: expected equal shapes (n_rows, k), got {indices.shape} "
            f"and {scores.shape}"
        )
    used = indices >= 0
    null_rows = _null_rows(null_rows, len(indices))
    if null_rows is not None:
        used &= ~null_rows[:, None]
    lengths = used.sum(axis=1, dtype=np.int64)
    if used.all():
        flat_indices, flat_scores = indices.reshape(-1), scores.reshape(-1)
    else:
        flat_indices, flat_scores = indices[used], scores[used]
    names = label_names("labels", labels)
    numbers = pa.array(flat_indices.astype(np.int32, copy=False))
    try:
        named = (
            pa.DictionaryArray.from_arrays(numbers, names) if dictionary else names.take(numbers)
        )
    except IndexError:
        raise ShapeError(
            f"labels: expected a name for each label, such as model.labels, got {len(names)}, and "
            f"the greatest of the indices is {flat_indices.max()}"
        ) from None
    values = pa.array(flat_scores.astype(np.float32, copy=False))
    return _list_array(lengths, pa.StructArray.from_arrays([named, values], _TOP_NAMES), null_rows)


_TOP_NAMES = ["label", "score"]
_KINDS = {"fiu": "numbers", "iu": "integers", "f": "floats", "b": "a bool for each row"}


def _array(name: str, given: Any, kinds: str) -> npt.NDArray[Any]:
    """An array of one of NumPy's kinds."""
    try:
        array = np.asarray(given)
    except ValueError as error:  # such as lists of unequal lengths
        raise ShapeError(f"{name}: is no array: {error}") from None
    if array.dtype.kind not in kinds:
        got = f"an array of {array.dtype}" if array.ndim else shown(given)
        raise DTypeError(f"{name}: expected {_KINDS[kinds]}, got {got}")
    return array


def _null_rows(given: Any, n_rows: int) -> npt.NDArray[np.bool_] | None:
    """Which rows are null; None for none."""
    if given is None:
        return None
    array = _array("null_rows", given, "b")
    if array.shape != (n_rows,):
        raise ShapeError(
            f"null_rows: expected a bool for each of {n_rows} rows, got shape {array.shape}"
        )
    return array


def label_names(name: str, labels: Any) -> Any:
    """The labels as an Arrow array of strings, without a null."""
    names = labels
    if not isinstance(labels, pa.Array):
        if isinstance(labels, (str, bytes, set, frozenset)):
            raise _no_names(name, shown(labels))
        try:
            names = pa.array(labels, pa.string())
        except (TypeError, ValueError) as error:  # Arrow's errors are of these, too
            raise _no_names(name, f"{shown(labels)} ({error})") from None
    if not (pa.types.is_string(names.type) or pa.types.is_large_string(names.type)):
        raise _no_names(name, f"an array of {names.type}")
    if names.null_count:
        raise _no_names(name, f"null as {name}[{names.is_null().index(True).as_py()}]")
    return names


def _no_names(name: str, given: str) -> DTypeError:
    return DTypeError(f"{name}: expected strings, such as model.labels, got {given}")


def _list_array(
    lengths: npt.NDArray[np.int64], values: Any, null_rows: npt.NDArray[np.bool_] | None
) -> Any:
    offsets = np.zeros(lengths.size + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] > _MAX_INT32:
        raise ShapeError(
            f"{int(offsets[-1]):,} scores do not fit one list array ({_MAX_INT32:,}): "
            "score fewer rows at a time"
        )
    validity = None
    if null_rows is not None and null_rows.any():
        validity = pa.array(~null_rows).buffers()[1]
    buffers = [validity, pa.py_buffer(offsets.astype(np.int32))]
    return pa.Array.from_buffers(pa.list_(values.type), lengths.size, buffers, children=[values])
