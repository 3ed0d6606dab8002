"""Rows to MXNet: batches from memory or from Parquet, and the iterator that makes NDArrays of them.

A source knows rows only, and MXNet only meets them in `sparse_iterator`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from fastprop.checks import instance, whole_number
from fastprop.errors import InvalidInputError, ShapeError
from fastprop.features.files import data_paths, reading
from fastprop.features.hashing import CustomerSplit
from fastprop.features.rows import SparseRows, read_rows
from fastprop.training._mxnet import import_mxnet
from fastprop.training.network import label_shapes
from fastprop.training.settings import NetworkSettings
from fastprop.typing import CSR

__all__ = ["MemorySource", "ParquetSource", "RowSource", "label_targets", "sparse_iterator"]


class RowSource(Protocol):
    """Where batches of rows come from."""

    @property
    def n_rows(self) -> int:
        """Rows of an epoch."""

    def batches(self, batch_size: int, epoch: int) -> Iterator[SparseRows]:
        """Give the rows of an epoch; all batches are full but the last."""


class MemorySource:
    """Rows that are in memory.

    Parameters
    ----------
    rows : SparseRows
        Borrowed.
    seed : int, optional
        Each epoch has an order of its own that follows from it; without it, the order is kept.
    """

    def __init__(self, rows: SparseRows, *, seed: int | None = None) -> None:
        self._rows = instance("rows", rows, SparseRows)
        self._seed = seed

    @property
    def n_rows(self) -> int:
        """Rows of an epoch."""
        return len(self._rows)

    def batches(self, batch_size: int, epoch: int) -> Iterator[SparseRows]:
        """Give the rows of an epoch; all batches are full but the last."""
        order = np.arange(self.n_rows)
        if self._seed is not None:
            order = np.random.default_rng([self._seed, epoch]).permutation(self.n_rows)
        for start in range(0, self.n_rows, batch_size):
            yield self._rows.take(order[start : start + batch_size])


class ParquetSource:
    """Rows streamed from Parquet files that `fastprop.features` wrote, shuffled as they pass.

    Parameters
    ----------
    paths : sequence of paths
        Files with equal columns and widths.
    seed : int, optional
        Decides the order; without it, the order of the files is kept.
    split : CustomerSplit, optional
        Use the rows of these customers only.
    buffer_rows : int
        Rows held at a time, and no more than these and a row group are in memory. Files come in a
        random order; half of the buffer leaves in a random order whenever it is full, so that rows
        far apart in the files meet in a batch.

    Raises
    ------
    InvalidInputError
        If there is no file, or one cannot be read.
    """

    def __init__(
        self,
        paths: Sequence[str | PathLike[str]],
        *,
        seed: int | None = None,
        split: CustomerSplit | None = None,
        buffer_rows: int = 1 << 16,
    ) -> None:
        self._paths = data_paths("paths", paths)
        if not self._paths:
            raise InvalidInputError("ParquetSource: no files")
        buffer_rows = whole_number("buffer_rows", buffer_rows, (1 << 31) - 1, least=2)
        if seed is not None:
            seed = whole_number("seed", seed, 1 << 62, least=0)
        self._seed = seed
        self._buffer_rows = buffer_rows
        self._split = split
        self._n_rows = 0
        for path in self._paths:
            with reading(path):
                self._n_rows += self._count(path)

    @property
    def n_rows(self) -> int:
        """Rows of an epoch."""
        return self._n_rows

    def batches(self, batch_size: int, epoch: int) -> Iterator[SparseRows]:
        """Give the rows of an epoch; all batches are full but the last."""
        held: list[SparseRows] = []
        for piece in self._pieces(epoch):
            held.append(piece)
            ready = sum(map(len, held))
            if ready >= batch_size:
                together = SparseRows.concatenate(held)
                whole = ready // batch_size * batch_size
                for start in range(0, whole, batch_size):
                    yield together.take(np.arange(start, start + batch_size))
                held = [together.take(np.arange(whole, ready))] if whole < ready else []
        if held:
            yield SparseRows.concatenate(held)

    def _count(self, path: Path) -> int:
        if self._split is None:
            return int(pq.read_metadata(path).num_rows)
        with pq.ParquetFile(path) as file:
            if "customer_id" not in file.schema_arrow.names:
                raise InvalidInputError(f"{path}: no column 'customer_id'")
            batches = file.iter_batches(columns=["customer_id"])
            return sum(int(self._split.mask(batch.column(0)).sum()) for batch in batches)

    def _read(self, path: Path, chunk: int) -> Iterator[SparseRows]:
        for rows in read_rows(path, batch_rows=chunk):
            if self._split is None:
                yield rows
            else:
                chosen = np.flatnonzero(self._split.mask(rows.customer_ids))
                if len(chosen):
                    yield rows.take(chosen)

    def _pieces(self, epoch: int) -> Iterator[SparseRows]:
        """Give rows in the order in which they are used."""
        chunk = max(1, self._buffer_rows // 4)
        if self._seed is None:
            for path in self._paths:
                yield from self._read(path, chunk)
            return
        generator = np.random.default_rng([self._seed, epoch])
        held: list[SparseRows] = []
        count = 0
        for number in generator.permutation(len(self._paths)):
            for rows in self._read(self._paths[number], chunk):
                held.append(rows)
                count += len(rows)
                if count >= self._buffer_rows:
                    buffer = SparseRows.concatenate(held)
                    order = generator.permutation(count)
                    yield buffer.take(order[: count // 2])
                    held = [buffer.take(order[count // 2 :])]
                    count -= count // 2
        if held:
            yield SparseRows.concatenate(held).take(generator.permutation(count))


def label_targets(labels: CSR, *, classes: int, smoothing: float = 0.0) -> npt.NDArray[np.float32]:
    """Turn labels into the probabilities that a softmax is trained towards.

    Parameters
    ----------
    labels : CSR, shape (n_rows, n_labels)
        See `SparseRows.labels`: a value is a class, no entry is the last class.
    classes : int
        Classes of a label.
    smoothing : float
        Share that is spread evenly over the classes.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_labels, classes)
        With two classes and no smoothing, [label, 1 - label].

    Raises
    ------
    InvalidInputError
        If a value is not a class; names the row.
    """
    chosen = labels.data.astype(np.int64)
    wrong = np.flatnonzero((chosen != labels.data) | (chosen < 0) | (chosen >= classes))
    rows = np.repeat(np.arange(labels.shape[0]), np.diff(labels.indptr))
    if len(wrong):
        raise InvalidInputError(
            f"labels[{rows[wrong[0]]}]: {labels.data[wrong[0]]:g} is not one of {classes} classes"
        )
    low = smoothing / classes
    high = 1.0 - smoothing + low
    targets = np.full((*labels.shape, classes), low, np.float32)
    targets[:, :, -1] = high
    targets[rows, labels.indices, -1] = low
    targets[rows, labels.indices, chosen] = high
    return targets


def sparse_iterator(
    source: RowSource,
    network: NetworkSettings,
    *,
    batch_size: int,
    label_smoothing: float = 0.0,
    labelled: bool = True,
) -> Any:
    """Return an `mxnet.io.DataIter` over the rows of a source.

    Parameters
    ----------
    source : RowSource
        `reset()` begins its next epoch.
    network : NetworkSettings
        Says how wide rows are and what form labels have: with separate heads a list of N arrays of
        shape (batch, classes), with fused heads one of shape (batch, N, classes).
    batch_size : int
        Every batch has so many rows. A last one that would be shorter is filled up with rows from
        the first batch of the epoch, and its `pad` says how many they are.
    label_smoothing : float
        See `FitSettings`.
    labelled : bool
        Whether batches have labels.

    Returns
    -------
    mxnet.io.DataIter
        Batches of a CSR NDArray `data`; `batch.index` holds the customer ids. Not to be shared
        between threads.

    Raises
    ------
    ShapeError
        Where a batch comes whose widths are not those of the network.
    """
    mx = import_mxnet()
    data_shape = (batch_size, network.n_features)

    class SparseIterator(mx.io.DataIter):  # type: ignore[misc, name-defined]
        """Batches of sparse rows."""

        def __init__(self) -> None:
            super().__init__(batch_size)
            self._epoch = 0
            self._first: SparseRows | None = None
            self._batches = source.batches(batch_size, 0)

        @property
        def provide_data(self) -> list[Any]:
            """Name and shape of the rows."""
            return [mx.io.DataDesc("data", data_shape)]

        @property
        def provide_label(self) -> list[Any]:
            """Name and shape of each label."""
            shapes = label_shapes(network, batch_size) if labelled else []
            return [mx.io.DataDesc(name, shape) for name, shape in shapes]

        def reset(self) -> None:
            """Begin the next epoch."""
            self._epoch += 1
            self._first = None
            self._batches = source.batches(batch_size, self._epoch)

        def next(self) -> Any:
            """Return the next batch, or raise StopIteration at the end of the epoch."""
            rows = next(self._batches)
            self._first = self._first or rows
            pad = batch_size - len(rows)
            if pad:
                fill = self._first.take(np.arange(pad) % len(self._first))
                padded = SparseRows.concatenate([rows, fill])
            else:
                padded = rows
            label = _label_arrays(mx, padded, network, label_smoothing) if labelled else []
            return mx.io.DataBatch(
                data=[_csr_array(mx, padded.features, network.n_features)],
                label=label,
                pad=pad,
                index=rows.customer_ids,
                provide_data=self.provide_data,
                provide_label=self.provide_label,
            )

    return SparseIterator()


def _csr_array(mx: Any, features: CSR, n_features: int) -> Any:
    if features.shape[1] != n_features:
        raise ShapeError(f"rows have {features.shape[1]} features, the network {n_features}")
    # MXNet's kernels read int64 indices only, and nothing in it checks them.
    if len(features.indices) and not 0 <= int(features.indices.max()) < n_features:
        raise ShapeError(f"a row has a feature that is not below {n_features}")
    return mx.nd.sparse.csr_matrix(
        (
            features.data.astype(np.float32, copy=False),
            features.indices.astype(np.int64),
            features.indptr.astype(np.int64, copy=False),
        ),
        shape=features.shape,
    )


def _label_arrays(mx: Any, rows: SparseRows, network: NetworkSettings, smoothing: float) -> Any:
    if rows.labels is None or rows.labels.shape[1] != network.n_labels:
        found = "no labels" if rows.labels is None else f"{rows.labels.shape[1]} labels"
        raise ShapeError(f"rows have {found}, the network {network.n_labels}")
    targets = label_targets(rows.labels, classes=network.classes, smoothing=smoothing)
    if network.heads == "fused":
        return [mx.nd.array(targets)]
    return [mx.nd.array(targets[:, number]) for number in range(network.n_labels)]
