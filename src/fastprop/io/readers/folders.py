"""Columns that the folders of a file name, `day=1/region=eu/`, beside those that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Callable

import pyarrow as pa

from fastprop.io.batches import ReadOptions, RowBatch
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Reader, Slice
from fastprop.io.routing import RoutedBatch

__all__ = ["FolderReader"]


class FolderReader:
    """A file some of whose kept columns are in the names of its folders; these are strings.

    Parameters
    ----------
    file : InputFile
    options : ReadOptions
        With the columns to keep.
    make : callable
        Makes the reader of the file's format, which is asked for the other columns.
    """

    def __init__(
        self,
        file: InputFile,
        options: ReadOptions,
        make: Callable[[InputFile, ReadOptions], Reader],
    ) -> None:
        self._keep = options.keep
        self._folders = file.partition
        inner = tuple(column for column in options.keep if column not in self._folders)
        self._reader = make(file, replace(options, keep=inner))

    @property
    def id_type(self) -> Any:
        """The Arrow type of the ids."""
        return self._reader.id_type

    @property
    def kept_types(self) -> tuple[Any, ...]:
        """The Arrow types of the columns that are kept."""
        inner = iter(self._reader.kept_types)
        return tuple(pa.string() if name in self._folders else next(inner) for name in self._keep)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the file is read."""
        return self._reader.notes

    def slices(self) -> list[Slice]:
        """Cut the file as its format has it."""
        return self._reader.slices()

    def read(self, part: Slice) -> Iterator[RowBatch | RoutedBatch]:
        """Read a slice."""
        for batch in self._reader.read(part):
            if isinstance(batch, RowBatch):
                yield self._with_folders(batch)
            else:
                groups = ((name, self._with_folders(rows)) for name, rows in batch.groups)
                yield replace(batch, groups=tuple(groups))

    def _with_folders(self, batch: RowBatch) -> RowBatch:
        inner = iter(batch.kept)
        kept = (
            pa.repeat(pa.scalar(self._folders[name], pa.string()), batch.n_rows)
            if name in self._folders
            else next(inner)
            for name in self._keep
        )
        return replace(batch, kept=tuple(kept))
