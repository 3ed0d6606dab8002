"""Labels selected from a matrix of scores, in the order of `Predictor.predict_top_k`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.results import TopK

__all__ = ["best_labels", "labels_above"]

_NEVER = np.iinfo(np.int64).min


def best_labels(scores: npt.NDArray[np.float32], k: int) -> TopK:
    """Select the best labels of each row, equal scores by ascending label.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_rows, n_labels)
    k : int
        Most labels a row; padded with -1 and NaN where there are fewer.

    Notes
    -----
    Score and label make one integer that orders as they do, so that a partial sort, which is not
    stable, cannot mix up equal scores.
    """
    n_rows, n_labels = scores.shape
    bits = np.ascontiguousarray(scores + np.float32(0)).view(np.int32).astype(np.int64)  # no -0.0
    rising = np.where(bits < 0, np.int64(-(2**31)) - bits, bits)
    keys = (rising << 31) - np.arange(n_labels, dtype=np.int64)
    keys[np.isnan(scores)] = _NEVER
    n_selected = min(k, n_labels)
    if n_selected < n_labels:
        keys = np.partition(keys, n_labels - n_selected, axis=1)[:, n_labels - n_selected :]
    keys = np.sort(keys, axis=1)[:, ::-1]
    labels = -keys & (2**31 - 1)
    indices = np.full((n_rows, k), -1, np.int32)
    best = np.full((n_rows, k), np.nan, np.float32)
    indices[:, :n_selected] = np.where(keys == _NEVER, -1, labels)
    found = np.take_along_axis(scores, np.maximum(indices[:, :n_selected], 0), axis=1)
    best[:, :n_selected] = np.where(keys == _NEVER, np.nan, found)
    return TopK(indices=indices, scores=best)


def labels_above(
    scores: npt.NDArray[np.float32], limits: npt.NDArray[np.float32], labels: Any
) -> Any:
    """Name the labels whose score reaches its limit, best first, as a `list<string>` array.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_rows, n_labels)
    limits : ndarray of float32, shape (n_labels,)
    labels : pyarrow.StringArray, shape (n_labels,)
    """
    rows, numbers = np.nonzero(scores >= limits)
    order = np.lexsort((-scores[rows, numbers], rows))
    offsets = np.zeros(len(scores) + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=len(scores)), out=offsets[1:])
    names = labels.take(pa.array(numbers[order]))
    return pa.ListArray.from_arrays(pa.array(offsets), names)
