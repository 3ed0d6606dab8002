"""SciPy's NPZ of a CSR matrix, read without SciPy and without holding it in memory.

A row's id is its number, from 0, as no id is there.
"""

from __future__ import annotations

import contextlib
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.errors import DTypeError, InvalidInputError, ShapeError
from fastprop.io.arrow import ArrowRows
from fastprop.io.batches import Place, ReadOptions, RowBatch
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Slice, reading
from fastprop.typing import CSR

__all__ = ["NpzReader"]

_SLICE_ROWS = 65536
_SMALL = 1 << 16  # bytes; the members that describe the matrix are smaller
_NPY: Any = np.lib.format  # its functions carry no types
_LOCAL_HEADER = struct.Struct("<26xHH")


@dataclass(frozen=True)
class _Member:
    """An array in the archive."""

    file: str
    dtype: Any
    shape: tuple[int, ...]
    header: int  # bytes before the first element
    offset: int | None  # where the stored member begins in the archive; None if compressed


class NpzReader:
    """A file made by `scipy.sparse.save_npz` from a CSR matrix or array.

    Parameters
    ----------
    file : InputFile
    options : ReadOptions

    Notes
    -----
    A compressed archive, which is SciPy's default, can only be read from its beginning: it is
    one slice. With `compressed=False` it is cut like any other file.
    """

    notes: tuple[str, ...] = ()
    kept_types: tuple[Any, ...] = ()

    def __init__(self, file: InputFile, options: ReadOptions) -> None:
        self._file = file
        self._options = options
        with reading(file.name), self._open() as (_, archive):
            self._describe(archive)

    @property
    def id_type(self) -> Any:
        """The Arrow type of the ids: int64."""
        return pa.int64()

    def slices(self) -> list[Slice]:
        """Return slices of rows, or one slice where the archive is compressed."""
        if any(member.offset is None for member in self._arrays.values()):
            return [Slice(0, self._n_rows, self._n_rows, 0)] if self._n_rows else []
        return [
            Slice(start, stop, stop - start, start)
            for start in range(0, self._n_rows, _SLICE_ROWS)
            for stop in [min(start + _SLICE_ROWS, self._n_rows)]
        ]

    def read(self, part: Slice) -> Iterator[RowBatch]:
        """Read the rows of a slice in order."""
        name = self._file.name
        with reading(name), contextlib.ExitStack() as stack:
            indptr = self._stream(stack, "indptr", part.start)
            bounds = indptr.take(1)
            streams: list[_Stream] = []
            for row in range(part.start, part.stop, self._options.batch_rows):
                rows = min(self._options.batch_rows, part.stop - row)
                bounds = np.concatenate([bounds[-1:], indptr.take(rows)])
                if not streams:
                    self._check(bounds[:1], row)
                    streams = [
                        self._stream(stack, array, int(bounds[0])) for array in ("indices", "data")
                    ]
                self._check(bounds, row)
                count = int(bounds[-1] - bounds[0])
                columns, values = (stream.take(count) for stream in streams)
                csr = CSR(bounds - bounds[0], columns, values, (rows, self._options.n_features))
                yield RowBatch(
                    ids=pa.array(np.arange(row, row + rows)),
                    rows=ArrowRows(csr, None),
                    place=Place(name, "row", row),
                )

    def _check(self, bounds: npt.NDArray[Any], row: int) -> None:
        stored = self._arrays["indices"].shape[0]
        wrong = np.flatnonzero(np.diff(bounds) < 0)
        if wrong.size:
            raise InvalidInputError(
                f"{self._file.name}: indptr decreases after row {row + int(wrong[0])}"
            )
        if int(bounds[0]) < 0 or int(bounds[-1]) > stored:
            raise InvalidInputError(
                f"{self._file.name}: indptr points outside the {stored} entries near row {row}"
            )

    def _describe(self, archive: zipfile.ZipFile) -> None:
        name = self._file.name
        present = set(archive.namelist())
        if "format.npy" not in present:
            raise InvalidInputError(
                f"{name}: holds no sparse matrix (no 'format'; there are: "
                f"{', '.join(sorted(present))})"
            )
        kind = self._small(archive, "format").item()
        kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
        if kind != "csr":
            raise InvalidInputError(
                f"{name}: holds a {kind!r} matrix; save it as 'csr' (matrix.tocsr())"
            )
        missing = {"indptr.npy", "indices.npy", "data.npy", "shape.npy"} - present
        if missing:
            raise InvalidInputError(f"{name}: {', '.join(sorted(missing))} missing")
        shape = self._small(archive, "shape").ravel().tolist()
        if len(shape) != 2 or shape[1] != self._options.n_features:
            raise ShapeError(
                f"{name}: a matrix of shape {tuple(shape)}; "
                f"the model has {self._options.n_features} features"
            )
        self._n_rows = int(shape[0])
        self._arrays = {
            array: self._member(archive, array) for array in ("indptr", "indices", "data")
        }
        lengths = {array: member.shape for array, member in self._arrays.items()}
        if lengths["indptr"] != (self._n_rows + 1,) or lengths["indices"] != lengths["data"]:
            raise ShapeError(
                f"{name}: {self._n_rows} rows, but indptr has shape {lengths['indptr']}, "
                f"indices {lengths['indices']} and data {lengths['data']}"
            )

    def _small(self, archive: zipfile.ZipFile, array: str) -> npt.NDArray[Any]:
        if archive.getinfo(f"{array}.npy").file_size > _SMALL:
            raise InvalidInputError(f"{self._file.name}: {array!r} is too large")
        with archive.open(f"{array}.npy") as source:
            values: npt.NDArray[Any] = _NPY.read_array(source, allow_pickle=False)
        return values

    def _member(self, archive: zipfile.ZipFile, array: str) -> _Member:
        info = archive.getinfo(f"{array}.npy")
        with archive.open(info) as source:
            version = _NPY.read_magic(source)
            read = {
                (1, 0): _NPY.read_array_header_1_0,
                (2, 0): _NPY.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise InvalidInputError(f"{self._file.name}: {array}.npy has version {version}")
            shape, _, dtype = read(source)
            header = source.tell()
        kinds = "if" if array == "data" else "i"
        if dtype.kind not in kinds or (
            dtype.kind == "i" and dtype.itemsize < 4 and array != "data"
        ):
            raise DTypeError(f"{self._file.name}: {array} has type {dtype}")
        if len(shape) != 1 or info.file_size != header + shape[0] * dtype.itemsize:
            raise ShapeError(f"{self._file.name}: {array} does not have the size it states")
        offset = None
        if info.compress_type == zipfile.ZIP_STORED:
            offset = info.header_offset
        return _Member(info.filename, dtype, shape, header, offset)

    def _stream(self, stack: contextlib.ExitStack, array: str, start: int) -> _Stream:
        member = self._arrays[array]
        raw, archive = stack.enter_context(self._open())
        source: Any
        if member.offset is None:
            source = stack.enter_context(archive.open(member.file))
            source.read(member.header)
            if start:
                raise InvalidInputError(f"{self._file.name}: indptr does not begin at 0")
        else:
            source = raw
            source.seek(member.offset)
            name_length, extra_length = _LOCAL_HEADER.unpack(source.read(_LOCAL_HEADER.size))
            begin = member.offset + _LOCAL_HEADER.size + name_length + extra_length
            source.seek(begin + member.header + start * member.dtype.itemsize)
        return _Stream(source, member, self._file.name)

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, zipfile.ZipFile]]:
        location = self._file.location
        source = location.filesystem.open_input_file(location.path)
        with source as raw, zipfile.ZipFile(raw) as archive:
            yield raw, archive


class _Stream:
    """Elements of a member from some place on."""

    def __init__(self, source: Any, member: _Member, name: str) -> None:
        self._source = source
        self._member = member
        self._name = name

    def take(self, count: int) -> npt.NDArray[Any]:
        """Read the next elements, in the machine's byte order."""
        dtype = self._member.dtype
        data = self._source.read(count * dtype.itemsize)
        if len(data) != count * dtype.itemsize:
            raise InvalidInputError(f"{self._name}: {self._member.file} ends too early")
        values = np.frombuffer(data, dtype=dtype)
        if dtype.kind == "i" and self._member.file == "data.npy":
            return values.astype(np.float64)
        if dtype.kind == "f" and dtype.itemsize not in (4, 8):
            return values.astype(np.float64)
        return values.astype(dtype.newbyteorder("="), copy=False)
