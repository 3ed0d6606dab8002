"""MXNet's `.params` files, read as views of the mapped file and written, without MXNet.

The layout is that of `NDArray::Save` and `NDArray::Load` (MXNet 1.9.1, src/ndarray/ndarray.cc):
a header, the arrays, their names. An array begins with a magic number that tells its age:

====================  ==========================================================================
``ndim`` (V0)         dense; `ndim` u32, then the extents as u32 (MXNet 0.8 to 0.11)
``0xF993FAC8`` (V1)   dense; `ndim` i32, the extents as i64
``0xF993FAC9`` (V2)   storage type, [storage shape], shape, context, type, [aux types and shapes]
``0xF993FACA`` (V3)   as V2, dense only; no dimensions means a scalar, -1 an unknown shape
====================  ==========================================================================

In V0 to V2 an array without dimensions is MXNet's "none": nothing follows its shape.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Union

import numpy as np

from fastprop.checkpoint.arrays import DenseArray, Parameter, RowSparseArray
from fastprop.checkpoint.atomic import replacing
from fastprop.errors import DTypeError, InvalidInputError, ModelFormatError, ShapeError
from fastprop.typing import CSR

__all__ = ["read_params", "write_params"]

LIST_MAGIC = 0x112
V1_MAGIC = 0xF993FAC8
V2_MAGIC = 0xF993FAC9
V3_MAGIC = 0xF993FACA

DENSE, ROW_SPARSE, CSR_STORAGE = 0, 1, 2
STORAGE_NAMES = {DENSE: "dense", ROW_SPARSE: "row_sparse", CSR_STORAGE: "csr"}
CPU_CONTEXT = struct.pack("<ii", 1, 0)

BFLOAT16 = 12
DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f8"),
    2: np.dtype("<f2"),
    3: np.dtype("u1"),
    4: np.dtype("<i4"),
    5: np.dtype("i1"),
    6: np.dtype("<i8"),
    7: np.dtype("?"),
    8: np.dtype("<i2"),
    9: np.dtype("<u2"),
    10: np.dtype("<u4"),
    11: np.dtype("<u8"),
    BFLOAT16: np.dtype("<u2"),
}
DTYPE_FLAGS = {dtype: flag for flag, dtype in DTYPES.items() if flag != BFLOAT16}

MAX_DIMENSIONS = 32
MAX_BYTES = (1 << 63) - 1
FLOAT32_BYTES = 4
SMALLEST_ARRAY = 4  # a "none" of V0: the magic alone
SMALLEST_NAME = 8  # its length


def read_params(path: Union[str, os.PathLike[str]]) -> dict[str, Parameter]:
    """Read a parameter file as `mx.nd.save`, `save_checkpoint` or Gluon wrote it.

    Parameters
    ----------
    path : path
        The file, in any form that MXNet 0.8 to 1.9 wrote.

    Returns
    -------
    dict of str to ndarray, RowSparseArray or CSR
        By the names of the file, prefixes (`arg:`, `aux:`) included, in its order. Arrays are
        read-only views of the mapped file, which stays mapped while one of them lives; the time
        taken does not depend on the size of dense data, and processes share the pages. Copies
        are made only where a view cannot serve: bfloat16 becomes float32, and data that the file
        places at an address that its type cannot be read from (after arrays of odd size) is
        copied, so every array returned is aligned. MXNet's "none" becomes an empty float32 array.

    Raises
    ------
    ModelFormatError
        The file is truncated, corrupt or foreign; has unnamed arrays, a name twice, or bytes
        after its end; or a sparse array has indices out of order or out of range. The message
        has the file, the offset, and what was expected there.
    OSError
        The file cannot be opened.

    Notes
    -----
    The content of dense arrays is not looked at. The file must not be truncated while mapped.
    """
    source = os.fspath(path)
    with open(source, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            raise ModelFormatError(f"{source}: empty file, not an MXNet parameter file")
        try:
            mapped = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
        except (OSError, MemoryError) as error:
            raise ModelFormatError(
                f"{source}: cannot be mapped, {size:,} bytes: {error}"
            ) from error
    return Reader(mapped, size, source).read()


class Reader:
    """A position in a mapped parameter file; every read is checked against the file's end."""

    def __init__(self, buffer: Any, size: int, source: str) -> None:
        self.buffer = buffer
        self.size = size
        self.source = source
        self.offset = 0

    def fail(self, message: str, offset: int | None = None) -> ModelFormatError:
        place = self.offset if offset is None else offset
        return ModelFormatError(f"{self.source}: at byte {place}: {message}")

    def take(self, n_bytes: int, what: str) -> int:
        """Advance over `n_bytes` and return where they begin."""
        begin = self.offset
        if n_bytes > self.size - begin:
            raise self.fail(
                f"expected {what} ({n_bytes} bytes), but the file ends after "
                f"{self.size - begin} more bytes (truncated?)"
            )
        self.offset = begin + n_bytes
        return begin

    def u32(self, what: str) -> int:
        return int(struct.unpack_from("<I", self.buffer, self.take(4, what))[0])

    def i32(self, what: str) -> int:
        return int(struct.unpack_from("<i", self.buffer, self.take(4, what))[0])

    def u64(self, what: str) -> int:
        return int(struct.unpack_from("<Q", self.buffer, self.take(8, what))[0])

    def read(self) -> dict[str, Parameter]:
        magic = self.u64("the magic number of an MXNet parameter file")
        if magic != LIST_MAGIC:
            raise self.fail(
                f"expected the magic number {LIST_MAGIC:#x}, found {magic:#x}: "
                "not an MXNet parameter file",
                offset=0,
            )
        self.u64("the reserved word")
        arrays = [self.array(i) for i in range(self.count("arrays", SMALLEST_ARRAY))]
        names_at = self.offset
        n_names = self.count("names", SMALLEST_NAME)
        if n_names != len(arrays):
            unnamed = " (a list of unnamed arrays)" if n_names == 0 else ""
            raise self.fail(
                f"expected {len(arrays)} names for {len(arrays)} arrays, found {n_names}{unnamed}",
                offset=names_at,
            )
        result: dict[str, Parameter] = {}
        for array in arrays:
            begin = self.offset
            name = self.name()
            if name in result:
                raise self.fail(f"the name {name!r} occurs twice", offset=begin)
            result[name] = array
        if self.offset != self.size:
            raise self.fail(
                f"expected the end of the file, found {self.size - self.offset} more bytes"
            )
        return result

    def count(self, what: str, smallest: int) -> int:
        begin = self.offset
        count = self.u64(f"the number of {what}")
        if count > (self.size - self.offset) // smallest:
            raise self.fail(
                f"{count} {what} announced, more than the remaining "
                f"{self.size - self.offset} bytes can hold",
                offset=begin,
            )
        return count

    def name(self) -> str:
        length = self.u64("the length of a name")
        begin = self.take(length, "a name")
        try:
            return bytes(self.buffer[begin : begin + length]).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail("a name is not UTF-8", offset=begin) from None

    def array(self, number: int) -> Parameter:
        magic = self.u32(f"array {number}")
        if magic in (V2_MAGIC, V3_MAGIC):
            return self.stored_array(number, scalars=magic == V3_MAGIC)
        if magic == V1_MAGIC:
            shape = self.shape(f"the shape of array {number}")
        else:
            self.offset -= 4
            shape = self.legacy_shape(number)
        if not shape:
            return none_array()
        return self.dense(self.type_flag(number), shape, f"array {number}")

    def legacy_shape(self, number: int) -> tuple[int, ...]:
        begin = self.offset
        ndim = self.u32(f"array {number}")
        if ndim > MAX_DIMENSIONS:
            raise self.fail(
                f"expected the magic number of array {number}, found {ndim:#x}", offset=begin
            )
        at = self.take(4 * ndim, f"the shape of array {number}")
        return tuple(struct.unpack_from(f"<{ndim}I", self.buffer, at))

    def shape(self, what: str, *, unknown_allowed: bool = False) -> tuple[int, ...] | None:
        """`ndim` as i32 and the extents as i64; None when unknown (and that is allowed)."""
        begin = self.offset
        ndim = self.i32(what)
        if ndim == -1 and unknown_allowed:
            return None
        if not 0 <= ndim <= MAX_DIMENSIONS:
            raise self.fail(
                f"{what}: expected 0 to {MAX_DIMENSIONS} dimensions, found {ndim}", offset=begin
            )
        at = self.take(8 * ndim, what)
        extents = struct.unpack_from(f"<{ndim}q", self.buffer, at)
        if unknown_allowed and any(extent == -1 for extent in extents):
            return None
        if any(extent < 0 for extent in extents):
            raise self.fail(f"{what}: negative extent in {extents}", offset=at)
        return extents

    def type_flag(self, number: int) -> int:
        """Read the context (ignored: data is in the file wherever it had lived) and the type."""
        self.take(8, f"the context of array {number}")
        return self.dtype_flag(f"the type of array {number}")

    def dtype_flag(self, what: str) -> int:
        begin = self.offset
        flag = self.i32(what)
        if flag not in DTYPES:
            raise self.fail(f"{what}: unknown type number {flag}", offset=begin)
        return flag

    def dense(self, flag: int, shape: tuple[int, ...], what: str) -> DenseArray:
        """Return a view of the next `shape` elements."""
        dtype = DTYPES[flag]
        widest = max(dtype.itemsize, FLOAT32_BYTES)  # bfloat16 is widened
        if prod(extent for extent in shape if extent) * widest > MAX_BYTES:
            raise self.fail(f"{what}: the shape {shape} is too large to be")
        n_elements = prod(shape)
        begin = self.take(n_elements * dtype.itemsize, f"the data of {what}, shape {shape},")
        view = np.frombuffer(self.buffer, dtype=dtype, count=n_elements, offset=begin)
        if flag == BFLOAT16:
            view = (view.astype(np.uint32) << np.uint32(16)).view(np.float32)
        if not view.flags.aligned:
            view = view.copy()
        view = view.reshape(shape)
        view.flags.writeable = False
        return view

    def stored_array(self, number: int, *, scalars: bool) -> Parameter:
        what = f"array {number}"
        begin = self.offset
        storage = self.i32(f"the storage type of {what}")
        if storage not in STORAGE_NAMES or (scalars and storage != DENSE):
            raise self.fail(f"{what}: unknown storage type {storage}", offset=begin)
        stored_shape: tuple[int, ...] | None = ()
        if storage != DENSE:
            stored_shape = self.shape(f"the storage shape of {what}")
        shape = self.shape(f"the shape of {what}", unknown_allowed=scalars)
        if shape is None or (not shape and not scalars):
            return none_array()
        flag = self.type_flag(number)
        if storage == DENSE:
            return self.dense(flag, shape, what)
        assert stored_shape is not None
        return self.sparse(storage, flag, stored_shape, shape, what)

    def sparse(
        self,
        storage: int,
        flag: int,
        stored_shape: tuple[int, ...],
        shape: tuple[int, ...],
        what: str,
    ) -> Parameter:
        begin = self.offset
        aux: list[tuple[int, tuple[int, ...]]] = []
        for part in ("indices",) if storage == ROW_SPARSE else ("indptr", "indices"):
            aux_flag = self.dtype_flag(f"the type of {what}'s {part}")
            aux_shape = self.shape(f"the shape of {what}'s {part}")
            if DTYPES[aux_flag].kind not in "iu" or aux_flag == BFLOAT16:
                raise self.fail(f"{what}: its {part} are not integers", offset=begin)
            if aux_shape is None or len(aux_shape) != 1:
                raise self.fail(
                    f"{what}: expected one dimension of {part}, found {aux_shape}", offset=begin
                )
            aux.append((aux_flag, aux_shape))
        n_stored = aux[-1][1][0]
        expected = (n_stored, *shape[1:]) if storage == ROW_SPARSE else (n_stored,)
        if stored_shape != expected:
            raise self.fail(
                f"{what}: expected {STORAGE_NAMES[storage]} data of shape {expected} for "
                f"{n_stored} indices and shape {shape}, found {stored_shape}",
                offset=begin,
            )
        data = self.dense(flag, stored_shape, what)
        at = self.offset
        parts = [
            self.dense(aux_flag, aux_shape, f"the indices of {what}").astype(np.int64, copy=False)
            for aux_flag, aux_shape in aux
        ]
        if storage == ROW_SPARSE:
            self.check_rows(parts[0], shape[0], what, at)
            return RowSparseArray(shape=shape, indices=parts[0], data=data)
        if len(shape) != 2:
            raise self.fail(f"{what}: a csr array has two dimensions, not {shape}", offset=begin)
        indptr, indices = parts
        if len(indptr) == 0 and n_stored == 0:
            # MXNet leaves the row pointers out of a matrix that was never filled. They are the
            # one thing here that the file need not pay for, hence the bound.
            if shape[0] > self.size:
                raise self.fail(f"{what}: {shape[0]} rows without row pointers", offset=begin)
            indptr = np.zeros(shape[0] + 1, dtype=np.int64)
        self.check_csr(indptr, indices, (shape[0], shape[1]), what, at)
        return CSR(indptr=indptr, indices=indices, data=data, shape=(shape[0], shape[1]))

    def check_rows(self, indices: DenseArray, n_rows: int, what: str, at: int) -> None:
        if len(indices) == 0:
            return
        if int(indices[0]) < 0 or int(indices[-1]) >= n_rows:
            raise self.fail(f"{what}: a row number is outside 0 to {n_rows - 1}", offset=at)
        if not bool(np.all(indices[1:] > indices[:-1])):
            raise self.fail(f"{what}: its row numbers do not ascend", offset=at)

    def check_csr(
        self, indptr: DenseArray, indices: DenseArray, shape: tuple[int, int], what: str, at: int
    ) -> None:
        n_rows, n_columns = shape
        if len(indptr) != n_rows + 1:
            raise self.fail(
                f"{what}: expected {n_rows + 1} row pointers, found {len(indptr)}", offset=at
            )
        if int(indptr[0]) != 0 or int(indptr[-1]) != len(indices):
            raise self.fail(
                f"{what}: its row pointers run from {indptr[0]} to {indptr[-1]}, "
                f"not from 0 to {len(indices)}",
                offset=at,
            )
        if not bool(np.all(indptr[1:] >= indptr[:-1])):
            raise self.fail(f"{what}: its row pointers decrease", offset=at)
        if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < n_columns):
            raise self.fail(f"{what}: a column number is outside 0 to {n_columns - 1}", offset=at)


def none_array() -> DenseArray:
    return np.empty(0, dtype=np.float32)


def write_params(path: Union[str, os.PathLike[str]], parameters: Mapping[str, Parameter]) -> None:
    """Write a parameter file, byte for byte as MXNet 1.9.1's `mx.nd.save` writes it (V2).

    Parameters
    ----------
    path : path
        The file; it appears whole or not at all.
    parameters : mapping of str to ndarray, RowSparseArray or CSR
        Arrays by name (prefixes included), written in the mapping's order.

    Raises
    ------
    ShapeError
        An array has no dimensions, which V2 cannot express, or sparse parts do not fit together.
    DTypeError
        MXNet has no number for an array's type.
    OSError
        The file cannot be written.
    """
    with replacing(Path(path)) as stream:
        stream.write(struct.pack("<QQQ", LIST_MAGIC, 0, len(parameters)))
        for name, parameter in parameters.items():
            write_array(stream, name, parameter)
        stream.write(struct.pack("<Q", len(parameters)))
        for name in parameters:
            encoded = name.encode("utf-8")
            stream.write(struct.pack("<Q", len(encoded)) + encoded)


def write_array(stream: BinaryIO, name: str, parameter: Parameter) -> None:
    """Write one array: header, data, index arrays."""
    aux: list[DenseArray] = []
    if isinstance(parameter, RowSparseArray):
        storage, data = ROW_SPARSE, np.asarray(parameter.data)
        aux = [np.asarray(parameter.indices, dtype=np.int64)]
        if data.shape != (len(aux[0]), *parameter.shape[1:]):
            raise ShapeError(
                f"parameter {name!r}: data of shape {data.shape} for {len(aux[0])} rows of "
                f"shape {parameter.shape}"
            )
    elif isinstance(parameter, CSR):
        storage, data = CSR_STORAGE, np.asarray(parameter.data)
        aux = [
            np.asarray(parameter.indptr, dtype=np.int64),
            np.asarray(parameter.indices, dtype=np.int64),
        ]
        if len(aux[0]) != parameter.shape[0] + 1 or data.shape != aux[1].shape:
            raise ShapeError(
                f"parameter {name!r}: {len(aux[0])} row pointers, {len(aux[1])} indices and "
                f"{len(data)} values for shape {tuple(parameter.shape)}"
            )
    elif isinstance(parameter, np.ndarray):
        storage, data = DENSE, parameter
    else:
        raise InvalidInputError(
            f"parameter {name!r}: expected an ndarray, RowSparseArray or CSR, "
            f"not {type(parameter).__name__}"
        )
    shape = tuple(parameter.shape)
    if not shape:
        raise ShapeError(f"parameter {name!r} has no dimensions; give it the shape (1,)")
    flag = dtype_flag(name, data.dtype)
    stream.write(struct.pack("<Ii", V2_MAGIC, storage))
    if aux:
        stream.write(packed_shape(data.shape))
    stream.write(packed_shape(shape) + CPU_CONTEXT + struct.pack("<i", flag))
    for part in aux:
        stream.write(struct.pack("<i", DTYPE_FLAGS[np.dtype("<i8")]) + packed_shape(part.shape))
    for part in (data, *aux):
        little = np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("<"))
        if little.size:
            stream.write(little.reshape(-1).view(np.uint8).data)


def packed_shape(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<i{len(shape)}q", len(shape), *shape)


def dtype_flag(name: str, dtype: np.dtype[Any]) -> int:
    flag = DTYPE_FLAGS.get(dtype.newbyteorder("<"))
    if flag is None:
        raise DTypeError(f"parameter {name!r}: MXNet has no type for {dtype}")
    return flag
