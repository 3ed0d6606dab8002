"""What every reader of a format is: a file cut into slices, and batches out of a slice."""

from __future__ import annotations

import contextlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from fastprop.errors import InvalidInputError
from fastprop.io.batches import RowBatch
from fastprop.io.routing import RoutedBatch

__all__ = ["Reader", "Slice", "reading"]


@dataclass(frozen=True)
class Slice:
    """A stretch of a file that can be read on its own.

    Parameters
    ----------
    start, stop : int
        Bounds in the format's own unit: row groups, record batches, rows or bytes.
    rows : int, optional
        Number of rows in it; None where that is known only after reading.
    first : int
        Number of its first row in the file, from 0.
    line : int
        Number of its first line in the file, from 1; 0 where a file has no lines.
    """

    start: int
    stop: int
    rows: int | None
    first: int
    line: int = 0


class Reader(Protocol):
    """Reads one file; made by `fastprop.io.readers.open_reader`.

    Notes
    -----
    A reader holds no file open between calls, and slices may be read in several threads at once.
    """

    @property
    def id_type(self) -> Any:
        """The Arrow type of the ids."""

    @property
    def kept_types(self) -> tuple[Any, ...]:
        """The Arrow types of the columns that are kept, in the order of `ReadOptions.keep`."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the file is read."""

    def slices(self) -> list[Slice]:
        """Cut the file into the smallest slices; the same for the same file, whoever asks."""

    def read(self, part: Slice) -> Iterator[RowBatch | RoutedBatch]:
        """Read a slice, or several that follow each other and were joined, in order."""


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn the errors of reading a file into `InvalidInputError` with its name."""
    try:
        yield
    except InvalidInputError:
        raise
    except FileNotFoundError as error:
        raise InvalidInputError(f"{name}: no such file") from error
    except (
        pa.ArrowException,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        RuntimeError,  # zipfile: encrypted, or a compression that it does not know
        SyntaxError,  # NumPy: of a header that is no Python literal
        tokenize.TokenError,
        OverflowError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InvalidInputError(f"{name}: cannot be read: {error}") from error
