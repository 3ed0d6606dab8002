"""Rows for several models: a column, or the folder that a file is in, says which row goes where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fastprop.io.batches import (
    BadRow,
    Place,
    ReadOptions,
    RowBatch,
    bad_rows,
    checked_batch,
    located,
)
from fastprop.io.faults import RowFault

__all__ = ["Route", "RoutedBatch", "routed_batch"]


@dataclass(frozen=True)
class Route:
    """Where rows go.

    Parameters
    ----------
    column : str
        The column that names a row's model.
    n_features : mapping of str to int
        Number of columns of each model.
    """

    column: str
    n_features: Mapping[str, int]

    def no_model(self, name: str | None) -> str:
        """Say why a row has no model."""
        if name is None:
            return f"{self.column} is null, which names no model"
        known = ", ".join(sorted(self.n_features)[:5])
        more = ", …" if len(self.n_features) > 5 else ""
        return f"{self.column} is {name!r}, and there is no such model (there are: {known}{more})"


@dataclass(frozen=True, eq=False)
class RoutedBatch:
    """Rows of one stretch of a file, sorted by model.

    Parameters
    ----------
    groups : tuple of (str, RowBatch)
        A model's name and its rows, in the order of the file.
    bad : tuple of BadRow
        Rows without a model.
    """

    groups: tuple[tuple[str, RowBatch], ...]
    bad: tuple[BadRow, ...] = ()


def routed_batch(
    ids: Any,
    data: Any,
    models: Any,
    place: Place,
    options: ReadOptions,
    kept: tuple[Any, ...] = (),
) -> RoutedBatch:
    """Sort rows by model; borrowed where all are for one, else copied.

    Parameters
    ----------
    ids, data, place, options, kept
        As for `checked_batch`; the number of features is each model's own.
    models : pyarrow.Array
        The name of each row's model; `options.route` says which there are.

    Raises
    ------
    InvalidInputError
        If a row is faulty or has no model, and faults are not collected.
    """
    route = options.route
    assert route is not None
    encoded = models.cast(pa.string()).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    names = [*encoded.dictionary.to_pylist(), None]  # -1 is the last
    without = [
        RowFault(row, "", route.no_model(names[codes[row]]))
        for row in np.flatnonzero(
            ~np.array([name in route.n_features for name in names])[codes]
        ).tolist()
    ]
    if without and not options.collect_faults:
        raise located(without[0], ids, place)
    groups = []
    for code, name in enumerate(names[:-1]):
        if name not in route.n_features:
            continue
        own = replace(options, n_features=route.n_features[name], route=None)
        keep = codes == code
        if keep.all():
            groups.append((name, checked_batch(ids, data, place, own, kept)))
            continue
        mask = pa.array(keep)
        batch = checked_batch(
            ids.filter(mask),
            data.filter(mask),
            place.select(keep),
            own,
            tuple(column.filter(mask) for column in kept),
        )
        groups.append((name, batch))
    return RoutedBatch(tuple(groups), bad_rows(without, ids, place))
