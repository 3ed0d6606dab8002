"""Which rows go to which part: the same plan for the same files, however often it is made."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from fastprop.errors import InvalidInputError
from fastprop.io.batches import ReadOptions
from fastprop.io.files import InputFile
from fastprop.io.readers import Reader, Slice, open_reader

__all__ = ["Part", "Plan", "make_plan"]

_OPEN_AT_ONCE = 8
_UNIT_ROWS = 1 << 16


@dataclass(frozen=True)
class Part:
    """What one output file holds.

    Parameters
    ----------
    number : int
        Of the part.
    slices : tuple of (int, Slice)
        Number of an input file, and a stretch of it.
    units : tuple of (int, Slice)
        The same in pieces of at least 65,536 rows, as far as the files can be cut: each is read at
        once. They depend on the files only, so that batches are the same whoever reads.
    """

    number: int
    slices: tuple[tuple[int, Slice], ...]
    units: tuple[tuple[int, Slice], ...]

    @property
    def rows(self) -> int | None:
        """Number of input rows, where it is known before reading."""
        rows = [piece.rows for _, piece in self.slices]
        return None if None in rows else sum(row for row in rows if row is not None)

    def to_json(self) -> list[list[int]]:
        """Return the slices as `[file, start, stop]`."""
        return [[file, piece.start, piece.stop] for file, piece in self.slices]


@dataclass(frozen=True, eq=False)
class Plan:
    """All parts of a run, and the readers of the input files."""

    files: list[InputFile]
    readers: list[Reader]
    parts: list[Part]
    id_type: Any
    kept_types: tuple[Any, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the files are read."""
        return tuple(note for reader in self.readers for note in reader.notes)


def make_plan(
    files: Sequence[InputFile],
    options: ReadOptions,
    *,
    part_rows: int | None,
    input_format: str | None = None,
) -> Plan:
    """Look at every file and share its rows out to parts.

    Parameters
    ----------
    files : sequence of InputFile
    options : ReadOptions
    part_rows : int or None
        Rows after which a part is full, as far as the files can be cut; None for one part.
    input_format : str, optional
        Format of all files; by default that of their extensions.

    Raises
    ------
    InvalidInputError
        If a file cannot be read, lacks a column, or has ids or columns to keep of another type
        than the first.
    """
    if not files:
        raise InvalidInputError("no input files")
    # A remote file takes a round trip or two to open, and there may be thousands.
    with ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        readers = list(
            pool.map(lambda file: open_reader(file, options, input_format=input_format), files)
        )
    for file, reader in zip(files, readers):
        _compare("the ids are", file, reader.id_type, files[0], readers[0].id_type)
        kept = zip(options.keep, reader.kept_types, readers[0].kept_types)
        for name, kind, first in kept:
            _compare(f"{name} is", file, kind, files[0], first)

    parts: list[Part] = []
    pending: list[tuple[int, Slice]] = []
    pending_rows = 0

    def add_part() -> None:
        slices: list[tuple[int, Slice]] = []
        units: list[tuple[int, Slice]] = []
        for number, piece in pending:
            _append(slices, number, piece, most=None)
            _append(units, number, piece, most=_UNIT_ROWS)
        parts.append(Part(len(parts), tuple(slices), tuple(units)))

    for number, reader in enumerate(readers):
        for piece in reader.slices():
            rows = part_rows if piece.rows is None else piece.rows
            full = part_rows is not None and pending_rows + (rows or 0) > part_rows
            if pending and full:
                add_part()
                pending, pending_rows = [], 0
            pending.append((number, piece))
            pending_rows += rows or 0
    # Without a row there is still one part, so that there is an output, if an empty one.
    if pending or not parts:
        add_part()
    return Plan(list(files), readers, parts, readers[0].id_type, readers[0].kept_types)


def _compare(what: str, file: InputFile, kind: Any, first: InputFile, first_kind: Any) -> None:
    if kind != first_kind:
        raise InvalidInputError(f"{file.name}: {what} {kind}, but {first_kind} in {first.name}")


def _append(pieces: list[tuple[int, Slice]], file: int, piece: Slice, *, most: int | None) -> None:
    """Add a slice, joined to the last one where it follows that and that is not full."""
    last = pieces[-1][1] if pieces else None
    full = most is not None and last is not None and (last.rows is None or last.rows >= most)
    if last is not None and pieces[-1][0] == file and last.stop == piece.start and not full:
        known = last.rows is not None and piece.rows is not None
        rows = (last.rows or 0) + (piece.rows or 0) if known else None
        pieces[-1] = (file, replace(last, stop=piece.stop, rows=rows))
    else:
        pieces.append((file, piece))
