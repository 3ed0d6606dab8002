"""A file whose folder says which model its rows are for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Callable

from fastprop.errors import InvalidInputError
from fastprop.io.batches import ReadOptions, RowBatch, bad_rows
from fastprop.io.faults import RowFault
from fastprop.io.files import InputFile
from fastprop.io.readers.base import Reader, Slice
from fastprop.io.routing import RoutedBatch

__all__ = ["OneModelReader"]


class OneModelReader:
    """A file whose folder, `region=eu/`, names the model of all its rows.

    Parameters
    ----------
    file : InputFile
    options : ReadOptions
        With a route, by one of whose folders the file lies.
    make : callable
        Makes the reader of the file's format.

    Raises
    ------
    InvalidInputError
        If there is no such model and faults are not collected.
    """

    def __init__(
        self,
        file: InputFile,
        options: ReadOptions,
        make: Callable[[InputFile, ReadOptions], Reader],
    ) -> None:
        route = options.route
        assert route is not None
        model = file.partition[route.column]
        n_features = None if model is None else route.n_features.get(model)
        if n_features is None and not options.collect_faults:
            raise InvalidInputError(f"{file.name}: {route.no_model(model)}")
        self._model = None if n_features is None else model
        self._no_model = route.no_model(model)
        self._reader = make(file, replace(options, route=None, n_features=n_features or 0))

    @property
    def id_type(self) -> Any:
        """The Arrow type of the ids."""
        return self._reader.id_type

    @property
    def kept_types(self) -> tuple[Any, ...]:
        """The Arrow types of the columns that are kept."""
        return self._reader.kept_types

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the file is read."""
        return self._reader.notes

    def slices(self) -> list[Slice]:
        """Cut the file as its format has it."""
        return self._reader.slices()

    def read(self, part: Slice) -> Iterator[RoutedBatch]:
        """Read a slice; without a model all rows are bad."""
        for batch in self._reader.read(part):
            assert isinstance(batch, RowBatch)
            if self._model is not None:
                yield RoutedBatch(((self._model, batch),))
                continue
            faults = [RowFault(row, "", self._no_model) for row in range(batch.n_rows)]
            others = tuple(replace(row, reason=self._no_model) for row in batch.bad)
            yield RoutedBatch((), bad_rows(faults, batch.ids, batch.place) + others)
