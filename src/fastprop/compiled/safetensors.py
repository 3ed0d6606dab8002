"""The safetensors format: a JSON header with the place of every tensor, then their data.

Read by mapping the file; every figure of the header is checked before it is used. Written with
every tensor at a multiple of 64 bytes, large ones at one of 4096. The format allows no gaps, so
that tensors named `padding/N` fill them.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fastprop.checkpoint.atomic import replacing
from fastprop.errors import ModelFormatError

__all__ = ["SafetensorsFile", "check_data", "read_safetensors", "write_safetensors"]

Tensor = npt.NDArray[Any]

# bfloat16 is held as its upper 16 bits.
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "BF16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items()}
PADDING = "padding/"
CHECKSUM = "sha256"
ALIGNMENT = 64
PAGE = 4096
LARGE = 1 << 20
CHUNK = 1 << 24
MAX_HEADER = 100_000_000
MAX_DIMENSIONS = 32
MAX_EXTENT = (1 << 48) - 1


@dataclass(frozen=True, eq=False)
class SafetensorsFile:
    """What a file holds.

    Parameters
    ----------
    path : Path
        The file.
    tensors : dict of str to ndarray
        Read-only views of the mapped file, without padding.
    metadata : dict of str to str
        What the header says beside them.
    data_begin : int
        Where the header ends.
    size : int
        Bytes of the file.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    data_begin: int
    size: int


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write tensors to a file, which appears whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    tensors : mapping of str to ndarray
        Of float32, uint16 (bfloat16), int32, int8 or uint8, C-contiguous.
    metadata : mapping of str to str
        Kept in the header; the data's SHA-256 is added as `sha256`.
    """
    entries: dict[str, Any] = {"__metadata__": {**metadata, CHECKSUM: "0" * 64}}
    pieces: list[Tensor] = []
    at = 0
    for name, tensor in tensors.items():
        gap = -at % (PAGE if tensor.nbytes >= LARGE else ALIGNMENT)
        if gap:
            padding = np.zeros(gap, np.uint8)
            entries[f"{PADDING}{len(pieces)}"] = entry(padding, at)
            pieces.append(padding)
            at += gap
        entries[name] = entry(tensor, at)
        pieces.append(tensor)
        at += tensor.nbytes
    with replacing(path) as stream:
        stream.write(header(entries))
        digest = hashlib.sha256()
        for piece in pieces:
            for chunk in chunks(piece):
                digest.update(chunk)
                stream.write(chunk)
        entries["__metadata__"][CHECKSUM] = digest.hexdigest()
        stream.seek(0)
        stream.write(header(entries))


def entry(tensor: Tensor, begin: int) -> dict[str, Any]:
    """What the header says of a tensor."""
    return {
        "dtype": NAMES[tensor.dtype.newbyteorder("<")],
        "shape": list(tensor.shape),
        "data_offsets": [begin, begin + tensor.nbytes],
    }


def header(entries: Mapping[str, Any]) -> bytes:
    """The header, filled with spaces so that the data begins on a page."""
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-(len(text) + 8) % PAGE)
    return len(text).to_bytes(8, "little") + text


def chunks(tensor: Tensor) -> Iterator[memoryview]:
    """The bytes of a tensor, a few at a time."""
    if tensor.nbytes:
        data = np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data
        for begin in range(0, len(data), CHUNK):
            yield data[begin : begin + CHUNK]


def read_safetensors(path: Path) -> SafetensorsFile:
    """Map a file and check its header.

    Returns
    -------
    SafetensorsFile
        Its tensors are views of the mapped file, which processes share; the data is not looked
        at (see `check_data`). The file must not be truncated while one of them lives.

    Raises
    ------
    ModelFormatError
        The file is no such file, truncated, or its header contradicts itself; says where.
    """
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < 8:
                raise ModelFormatError(
                    f"{path}: no compiled model: "
                    + (f"{size} bytes are too few for one" if size else "the file is empty")
                )
            mapped = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelFormatError(f"{path}: cannot be read: {error.strerror}") from error
    return HeaderReader(path, mapped, size).read()


class HeaderReader:
    """Reads the header of a mapped file, trusting nothing in it."""

    def __init__(self, path: Path, mapped: mmap.mmap, size: int) -> None:
        self.path = path
        self.mapped = mapped
        self.size = size
        length = int.from_bytes(mapped[:8], "little")
        if not 0 < length <= min(MAX_HEADER, size - 8):
            # The header's JSON tells what was such a file from what never was one.
            begins = 0 < length <= MAX_HEADER and mapped[8:9] in (b"{", b"")
            raise self.fail(
                ("truncated" if begins else "no compiled model, nor another safetensors file")
                + f" (a header of {length} bytes is announced, and the file has {size})"
            )
        self.data_begin = 8 + length

    def fail(self, message: str) -> ModelFormatError:
        return ModelFormatError(f"{self.path}: {message}")

    def read(self) -> SafetensorsFile:
        if sys.byteorder != "little":
            raise self.fail("tensors are little-endian, which this machine is not")
        entries = self.document()
        metadata = entries.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(
            isinstance(text, str) for text in metadata.values()
        ):
            raise self.fail("header: __metadata__ is not an object of texts")
        places = sorted(
            (self.place(name, item) for name, item in entries.items()), key=lambda place: place[1:3]
        )
        at = 0
        for name, begin, end, _, _ in places:
            if begin != at:
                raise self.fail(
                    f"header: tensor {name!r} begins at {begin}, and the one before it ends at {at}"
                )
            at = end
        if at != self.size - self.data_begin:
            raise self.fail(
                f"the tensors end after {at} bytes of data, and there are "
                f"{self.size - self.data_begin} (truncated?)"
            )
        return SafetensorsFile(
            path=self.path,
            tensors={
                name: self.view(begin, dtype, shape)
                for name, begin, _, dtype, shape in places
                if not name.startswith(PADDING)
            },
            metadata=metadata,
            data_begin=self.data_begin,
            size=self.size,
        )

    def document(self) -> dict[str, Any]:
        """The header's JSON."""

        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            if len(found) != len(pairs):
                raise self.fail("header: a name occurs twice")
            return found

        try:
            document = json.loads(
                self.mapped[8 : self.data_begin].decode("utf-8"), object_pairs_hook=unique
            )
        except UnicodeDecodeError as error:
            raise self.fail(f"header: not UTF-8 at byte {8 + error.start}") from None
        except json.JSONDecodeError as error:
            raise self.fail(f"header: not JSON at byte {8 + error.pos}: {error.msg}") from None
        except (RecursionError, ValueError) as error:
            raise self.fail(f"header: not JSON: {error}") from None
        if not isinstance(document, dict):
            raise self.fail("header: not an object")
        return document

    def place(self, name: str, item: Any) -> tuple[str, int, int, np.dtype[Any], tuple[int, ...]]:
        """Name, begin, end, type and shape of one tensor."""
        where = f"header: tensor {name!r}"
        if not isinstance(item, dict) or set(item) != {"dtype", "shape", "data_offsets"}:
            raise self.fail(f"{where} does not have dtype, shape and data_offsets alone")
        dtype: np.dtype[Any] | None = None
        if isinstance(item["dtype"], str):
            dtype = DTYPES.get(item["dtype"])
        if dtype is None:
            raise self.fail(f"{where} is of type {item['dtype']!r}, not of {', '.join(DTYPES)}")
        shape, offsets = item["shape"], item["data_offsets"]
        if not is_numbers(shape) or len(shape) > MAX_DIMENSIONS:
            raise self.fail(f"{where} has a shape that is no list of extents")
        if not is_numbers(offsets) or len(offsets) != 2:
            raise self.fail(f"{where} has data_offsets that are no begin and end")
        begin, end = offsets
        n_bytes = prod(shape) * dtype.itemsize
        if not begin <= end <= self.size - self.data_begin:
            raise self.fail(
                f"{where} is at [{begin}, {end}), and the file has "
                f"{self.size - self.data_begin} bytes of data (truncated?)"
            )
        if end - begin != n_bytes:
            raise self.fail(
                f"{where} of shape {tuple(shape)} takes {n_bytes} bytes, and has {end - begin}"
            )
        if (self.data_begin + begin) % dtype.itemsize:
            raise self.fail(f"{where} begins at {begin}, where its type cannot be read from")
        return name, begin, end, dtype, tuple(shape)

    def view(self, begin: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Tensor:
        """A tensor, as it lies in the file."""
        flat = np.frombuffer(
            self.mapped, dtype=dtype, count=prod(shape), offset=self.data_begin + begin
        )
        return flat.reshape(shape)


def is_numbers(value: Any) -> bool:
    """Whether it is a list of whole numbers, none of them negative or absurd."""
    return isinstance(value, list) and all(
        isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= MAX_EXTENT
        for item in value
    )


def check_data(file: SafetensorsFile) -> None:
    """Read all data and compare it with the checksum of the header.

    Raises
    ------
    ModelFormatError
        They differ, or there is no checksum.
    """
    expected = file.metadata.get(CHECKSUM)
    if expected is None:
        raise ModelFormatError(f"{file.path}: has no checksum")
    with open(file.path, "rb") as stream:
        found = digest_from(stream, file.data_begin)
    if found != expected:
        raise ModelFormatError(
            f"{file.path}: the data's SHA-256 is {found}, and {expected} was written: the file is "
            "damaged"
        )


def digest_from(stream: BinaryIO, begin: int) -> str:
    stream.seek(begin)
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
