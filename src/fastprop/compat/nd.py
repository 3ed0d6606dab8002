"""Arrays with the reading face of MXNet's NDArray, held in NumPy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.checks import shown
from fastprop.errors import DTypeError
from fastprop.typing import CSR

__all__ = ["NDArray", "array", "csr_matrix", "sparse", "to_rows"]


class NDArray:
    """A dense array as MXNet's scripts read it: `.asnumpy()`, `.shape`, indexing."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        self._values = values

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return tuple(self._values.shape)

    @property
    def dtype(self) -> type:
        """Type of the elements."""
        return self._values.dtype.type

    @property
    def stype(self) -> str:
        """Storage type, always "default"."""
        return "default"

    def asnumpy(self) -> npt.NDArray[Any]:
        """Return a copy of the values."""
        return self._values.copy()

    def asscalar(self) -> Any:
        """Return the only element."""
        return self._values.item()

    def wait_to_read(self) -> None:
        """Return: the values are there."""

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        values = np.asarray(self._values, dtype=dtype)
        return values.copy() if copy else values

    def __getitem__(self, key: Any) -> NDArray:
        return NDArray(np.asarray(self._values[key]))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"\n{self._values}\n<NDArray {'x'.join(map(str, self.shape))} @cpu(0)>"


def as_array(source: Any, dtype: Any = None) -> npt.NDArray[Any]:
    try:
        if source is None or isinstance(source, (str, bytes)):  # which NumPy would read as numbers
            raise TypeError("numbers are needed")
        return np.asarray(source, dtype=dtype)
    except Exception as error:  # NumPy has several for what it cannot take
        of = "" if dtype is None else f" of {shown(dtype)}"
        raise DTypeError(f"no array{of} can be made of {shown(source)}: {error}") from None


def array(source: Any, ctx: Any = None, dtype: Any = None) -> NDArray:  # noqa: ARG001
    """Make a dense array; float32 unless `dtype`, or an NDArray's own type, says otherwise."""
    if dtype is None:
        dtype = source.dtype if hasattr(source, "asnumpy") else np.float32
    return NDArray(as_array(to_numpy(source), dtype).copy())


def csr_matrix(
    source: Any,
    shape: tuple[int, int] | None = None,
    ctx: Any = None,  # noqa: ARG001
    dtype: Any = None,
) -> CSR:
    """Make sparse rows of `(data, indices, indptr)`, a SciPy CSR matrix or a dense matrix."""
    if isinstance(source, tuple) and len(source) == 3:
        data, indices, indptr = (as_array(to_numpy(part)) for part in source)
        if shape is None:
            shape = (len(indptr) - 1, int(indices.max()) + 1 if len(indices) else 0)
    elif hasattr(source, "indptr"):
        data, indices, indptr = source.data, source.indices, source.indptr
        shape = tuple(source.shape) if shape is None else shape
    else:
        dense = as_array(to_numpy(source))
        if dense.ndim != 2:
            raise DTypeError(f"csr_matrix cannot be made of {type(source).__name__}")
        rows, indices = np.nonzero(dense)
        data = dense[rows, indices]
        indptr = np.searchsorted(rows, np.arange(len(dense) + 1))
        shape = (dense.shape[0], dense.shape[1]) if shape is None else shape
    return CSR(indptr, indices, as_array(data, np.float32 if dtype is None else dtype), shape)


sparse = SimpleNamespace(csr_matrix=csr_matrix)


def to_numpy(values: Any) -> Any:
    """NumPy values of an array of MXNet's or ours; anything else as it is."""
    return values.asnumpy() if hasattr(values, "asnumpy") else values


def to_rows(values: Any) -> Any:
    """What a predictor takes for an array of MXNet's, of ours, or of SciPy's or NumPy's."""
    if getattr(values, "stype", None) == "csr":
        return CSR(
            to_numpy(values.indptr),
            to_numpy(values.indices),
            to_numpy(values.data),
            tuple(values.shape),
        )
    return to_numpy(values)
