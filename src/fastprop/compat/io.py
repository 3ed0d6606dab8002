"""Batches and the iterator over arrays, as far as scoring scripts use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastprop.checks import check_choice, flag, shown, whole_number
from fastprop.compat.nd import NDArray, to_numpy, to_rows
from fastprop.errors import DTypeError, InvalidInputError, ShapeError
from fastprop.typing import CSR

__all__ = ["DataBatch", "DataDesc", "NDArrayIter"]


class DataDesc(NamedTuple):
    """Name and shape of an input."""

    name: str
    shape: tuple[int, ...]


class DataBatch:
    """The arrays of one batch.

    Parameters
    ----------
    data : sequence of arrays
        One for each input, in the order of the module's `data_names`.
    label : sequence of arrays, optional
        Not looked at.
    pad : int, optional
        Rows at the end that only fill the batch up.
    """

    def __init__(
        self,
        data: Sequence[Any],
        label: Sequence[Any] | None = None,
        pad: int | None = None,
        index: Any = None,
        bucket_key: Any = None,
        provide_data: Any = None,
        provide_label: Any = None,
    ) -> None:
        self.data = data
        self.label = label
        self.pad = pad
        self.index = index
        self.bucket_key = bucket_key
        self.provide_data = provide_data
        self.provide_label = provide_label


class NDArrayIter:
    """Batches of arrays held in memory; the last one is filled up from the beginning.

    Parameters
    ----------
    data : array, sequence of arrays or mapping of str to array
        The inputs; sparse ones as SciPy CSR, `fastprop.CSR` or MXNet's CSRNDArray.
    label : array, optional
        Not looked at.
    batch_size : int
        Rows a batch.
    last_batch_handle : {"pad", "discard"}
        What to do with an incomplete last batch.
    """

    def __init__(
        self,
        data: Any,
        label: Any = None,
        batch_size: int = 1,
        shuffle: bool = False,
        last_batch_handle: str = "pad",
        data_name: str = "data",
        label_name: str = "softmax_label",  # noqa: ARG002
    ) -> None:
        if flag("shuffle", shuffle):
            raise InvalidInputError("shuffle is for training; scores are wanted in order")
        check_choice("last_batch_handle", last_batch_handle, ("pad", "discard"))
        batch_size = whole_number("batch_size", batch_size, 1 << 62)
        if not isinstance(data_name, str):
            raise DTypeError(f"data_name is {shown(data_name)}, and a str is needed")
        self._arrays = named(data, data_name)
        for name, array in self._arrays.items():
            if not getattr(array, "shape", None):
                raise DTypeError(f"{name} is {shown(array)}, and an array is needed")
        self._labels = [] if label is None else list(named(label, "label").values())
        if not self._arrays:
            raise InvalidInputError("there are no inputs")
        counts = {array.shape[0] for array in self._arrays.values()}
        if len(counts) != 1:
            raise ShapeError(f"the inputs have different numbers of rows: {sorted(counts)}")
        self._n_rows = counts.pop()
        self.batch_size = batch_size
        self._discard = last_batch_handle == "discard"
        self._at = 0
        if self._n_rows < batch_size:
            raise ShapeError(f"batch_size is {batch_size}, and there are {self._n_rows} rows")

    @property
    def provide_data(self) -> list[DataDesc]:
        """Names and shapes of the inputs of a batch."""
        return [
            DataDesc(name, (self.batch_size, *array.shape[1:]))
            for name, array in self._arrays.items()
        ]

    @property
    def provide_label(self) -> list[DataDesc]:
        """Names and shapes of the labels of a batch: none are looked at."""
        return []

    def reset(self) -> None:
        """Start from the first row again."""
        self._at = 0

    def __iter__(self) -> Iterator[DataBatch]:
        return self

    def __next__(self) -> DataBatch:
        end = self._at + self.batch_size
        if self._at >= self._n_rows or (self._discard and end > self._n_rows):
            raise StopIteration
        pad = max(0, end - self._n_rows)
        order = np.arange(self._at, end) % self._n_rows
        self._at = end
        return DataBatch([take(array, order) for array in self._arrays.values()], [], pad=pad)

    next = __next__


def named(data: Any, name: str) -> dict[str, Any]:
    if isinstance(data, (list, tuple)):
        if len(data) == 1:
            data = data[0]
        else:
            data = {f"_{i}_{name}": value for i, value in enumerate(data)}
    if not isinstance(data, Mapping):
        data = {name: data}
    # In the order of their names, as MXNet has them.
    return {key: to_rows(data[key]) for key in sorted(data)}


def take(array: Any, order: Any) -> Any:
    """Rows of a dense array or of a CSR matrix, in the order given."""
    if not hasattr(array, "indptr"):
        return NDArray(np.asarray(to_numpy(array))[order])
    begins, ends = np.asarray(array.indptr)[order], np.asarray(array.indptr)[order + 1]
    lengths = ends - begins
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    entries = np.arange(indptr[-1]) + np.repeat(begins - indptr[:-1], lengths)
    return CSR(
        indptr,
        np.asarray(array.indices)[entries],
        np.asarray(array.data)[entries],
        (len(order), array.shape[1]),
    )
