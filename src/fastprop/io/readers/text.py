"""Text files as blocks of whole lines, cut at places that do not depend on who asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fastprop.errors import InvalidInputError
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Slice

__all__ = ["COMPRESSIONS", "Block", "compression_of", "read_blocks", "scan"]

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}

_SLICE_BYTES = 8 << 20
_BLOCK_BYTES = 16 << 20
_MAX_LINE_BYTES = 256 << 20
_NEWLINE, _RETURN, _SPACE, _TAB, _HASH = b"\n\r \t#"


@dataclass(frozen=True, eq=False)
class Block:
    """Whole lines of a file.

    Parameters
    ----------
    data : bytes
        The lines with their line ends.
    starts, stops : ndarray of int64, shape (n_rows,)
        Bounds in `data` of the lines that hold a row: not empty, not a comment.
    lines : ndarray of int64, shape (n_rows,)
        Their line numbers, from 1.
    first_line : int
        Number of the first line, whether it holds a row or not.
    n_lines : int
        Number of all lines.
    """

    data: bytes
    starts: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    first_line: int
    n_lines: int

    @classmethod
    def of(cls, data: bytes, first_line: int, *, comments: bool) -> Block:
        """Find the lines of some text; those that begin with `#` are left out on request."""
        text = np.frombuffer(data, dtype=np.uint8)
        ends = np.flatnonzero(text == _NEWLINE)
        if text.size and text[-1] != _NEWLINE:
            ends = np.append(ends, text.size)
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[: ends.size]
        first = np.full(ends.size, _NEWLINE, dtype=np.uint8)
        filled = ends > starts
        first[filled] = text[starts[filled]]
        is_row = (first != _NEWLINE) & (first != _RETURN)
        for line in np.flatnonzero((first == _SPACE) | (first == _TAB)).tolist():
            rest = data[starts[line] : ends[line]].strip()
            is_row[line] = bool(rest) and not (comments and rest.startswith(b"#"))
        if comments:
            is_row &= first != _HASH
        lines = np.flatnonzero(is_row)
        return cls(data, starts[lines], ends[lines], lines + first_line, first_line, ends.size)

    def line(self, row: int) -> bytes:
        """Return the text of a row."""
        return self.data[self.starts[row] : self.stops[row]]


def compression_of(name: str) -> str | None:
    """Return the compression that a file's name tells of, if any."""
    for suffix, compression in COMPRESSIONS.items():
        if name.lower().endswith(suffix):
            return compression
    return None


def scan(file: InputFile, *, comments: bool) -> Iterator[tuple[Slice, Block]]:
    """Cut a plain text file into slices of some megabytes; reads it once.

    Yields
    ------
    Slice, Block
        The slice in bytes, and its lines.
    """
    position, row = 0, 0
    for block, line in _blocks(file, 0, file.size, _SLICE_BYTES, 1, comments):
        rows = int(block.lines.size)
        yield Slice(position, position + len(block.data), rows, row, line), block
        position += len(block.data)
        row += rows


def read_blocks(file: InputFile, part: Slice, *, comments: bool) -> Iterator[tuple[Block, int]]:
    """Read a slice as blocks of whole lines.

    Yields
    ------
    Block, int
        The lines, and the number in the file of the block's first row.
    """
    row = part.first
    blocks = _blocks(file, part.start, part.stop, _BLOCK_BYTES, max(part.line, 1), comments)
    for block, _ in blocks:
        yield block, row
        row += int(block.lines.size)


def _blocks(
    file: InputFile, start: int, stop: int, size: int, line: int, comments: bool
) -> Iterator[tuple[Block, int]]:
    for data in _whole_lines(file, start, stop, size):
        block = Block.of(data, line, comments=comments)
        yield block, line
        line += block.n_lines


def _whole_lines(file: InputFile, start: int, stop: int, size: int) -> Iterator[bytes]:
    rest = b""
    with _open(file, start) as source:
        left = stop - start if compression_of(file.name) is None else None
        while left is None or left > 0:
            data = source.read(size if left is None else min(size, left))
            if not data:
                break
            if left is not None:
                left -= len(data)
            data = rest + data if rest else data
            cut = data.rfind(b"\n") + 1
            data, rest = (data, b"") if cut == len(data) else (data[:cut], data[cut:])
            if len(rest) > _MAX_LINE_BYTES:
                raise InvalidInputError(
                    f"{file.name}: a line of more than {_MAX_LINE_BYTES >> 20} MiB"
                )
            if data:
                yield data
    if rest:
        yield rest


def _open(file: InputFile, start: int) -> Any:
    location = file.location
    compression = compression_of(file.name)
    if compression is not None:
        raw = location.filesystem.open_input_stream(location.path, compression=None)
        return pa.CompressedInputStream(raw, compression)
    source = location.filesystem.open_input_file(location.path)
    source.seek(start)
    return source
