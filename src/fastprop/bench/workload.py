"""Workloads on disk: a checkpoint, rows for it, and the right scores of the first rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fastprop.bench.network import random_network
from fastprop.bench.settings import WorkloadSettings
from fastprop.checkpoint.directory import write_checkpoint
from fastprop.csr_parts import row_range
from fastprop.errors import InvalidInputError
from fastprop.model import Model, load_model
from fastprop.typing import CSR, FloatArray
from fastprop.verify.oracle import expected_scores

__all__ = ["CHECKED_ROWS", "Workload", "prepare_workload", "random_rows", "read_expected"]

CHECKED_ROWS = 512
MODEL = "bench"
PARTS = ("indptr", "indices", "data")


@dataclass(frozen=True)
class Workload:
    """A workload on disk, as every process of a run finds it.

    Parameters
    ----------
    name : str
        What it is called.
    model_directory, model_name, epoch
        The checkpoint.
    rows_directory : str
        Holds the rows and the expected scores as NPY files.
    n_rows, n_features, n_labels, nonzeros : int
        Rows, columns, score columns, entries of all rows.
    layers : tuple of int
        Widths of the layers from the sparse one to the scores, where the network is a plain chain
        of layers; empty where it is not.
    description : str
        One line for people.
    """

    name: str
    model_directory: str
    model_name: str
    epoch: int | None
    rows_directory: str
    n_rows: int
    n_features: int
    n_labels: int
    nonzeros: int
    layers: tuple[int, ...]
    description: str

    def load_model(self) -> Model:
        """Load the checkpoint; parameters are mapped."""
        return load_model(self.model_directory, self.model_name, self.epoch)

    def load_rows(self) -> CSR:
        """Read the rows: int32 indices as SciPy has them, float32 values."""
        parts = [np.load(Path(self.rows_directory, f"{part}.npy")) for part in PARTS]
        return CSR(parts[0], parts[1], parts[2], (self.n_rows, self.n_features))


def read_expected(workload: Workload) -> Any:
    """Read the right scores of the first rows: float64, shape (at most 512, n_labels)."""
    return np.load(Path(workload.rows_directory, "expected.npy"), mmap_mode="r")


@contextmanager
def prepare_workload(
    settings: WorkloadSettings | None = None,
    *,
    model: Model | None = None,
    rows: CSR | None = None,
    name: str | None = None,
    directory: str | None = None,
) -> Iterator[Workload]:
    """Write a workload to a temporary directory and take it away in the end.

    Parameters
    ----------
    settings : WorkloadSettings, optional
        What to make up. With `rows`, only the checkpoint is made up, of their width.
    model : Model, optional
        A user's model, in place of a made-up one; then `rows` is needed.
    rows : CSR, optional
        Rows to score.
    name : str, optional
        What a user's workload is called.
    directory : str, optional
        Where the temporary directory is made.

    Raises
    ------
    InvalidInputError
        The model takes more than sparse rows, or there is no row.
    """
    with TemporaryDirectory(prefix="fastprop-bench-", dir=directory) as folder:
        if model is None:
            if settings is None:
                raise InvalidInputError("prepare_workload: neither settings nor a model")
            made = random_rows(settings) if rows is None else rows
            longest = longest_row(made) if settings.ragged else None
            network = random_network(settings, longest=longest)
            write_checkpoint(folder, MODEL, 1, network)
            del network
            rows = made
            model = load_model(folder, MODEL)
            place = (folder, MODEL, 1)
        else:
            place = (str(model.path.parent), model.name, model.epoch or 0)
        if rows is None:
            raise InvalidInputError("prepare_workload: a model of your own needs rows")
        yield write_rows(
            model, rows, name or (settings.name if settings else model.name), folder, place
        )


def write_rows(
    model: Model, rows: CSR, name: str, folder: str, place: tuple[str, str, int]
) -> Workload:
    from fastprop.bench.plain import plain_network

    if len(model.inputs) != 1 or model.inputs[0].storage != "csr":
        inputs = ", ".join(f"{spec.name} ({spec.storage})" for spec in model.inputs)
        raise InvalidInputError(
            f"model {model.name}: the benchmark scores sparse rows only, and this model takes "
            f"{inputs}"
        )
    n_rows = rows.shape[0]
    if n_rows == 0:
        raise InvalidInputError(f"workload {name}: there is no row to score")
    if rows.shape[1] != model.n_features:
        raise InvalidInputError(
            f"workload {name}: rows have {rows.shape[1]} columns, and model {model.name} takes "
            f"{model.n_features}"
        )
    index = np.int32 if max(model.n_features, len(rows.indices)) < 2**31 else np.int64
    for part, dtype in zip(PARTS, (index, index, np.float32)):
        np.save(Path(folder, f"{part}.npy"), np.asarray(getattr(rows, part), dtype=dtype))
    checked = row_range(rows, 0, min(n_rows, CHECKED_ROWS))
    np.save(Path(folder, "expected.npy"), expected_scores(model, checked))
    plain = plain_network(model)
    layers = () if isinstance(plain, str) else plain.widths
    nonzeros = int(rows.indptr[-1] - rows.indptr[0])
    shape = " - ".join(f"{width:,}" for width in layers) or "layers of its own kind"
    return Workload(
        name=name,
        model_directory=place[0],
        model_name=place[1],
        epoch=place[2],
        rows_directory=folder,
        n_rows=n_rows,
        n_features=model.n_features,
        n_labels=model.n_labels,
        nonzeros=nonzeros,
        layers=layers,
        description=(
            f"{model.n_features:,} features, {nonzeros / n_rows:,.0f} non-zeros a row, {shape} "
            f"({model.n_labels:,} scores), {n_rows:,} rows, float32"
        ),
    )


def random_rows(settings: WorkloadSettings) -> CSR:
    """Make up rows: distinct sorted columns, values in (0, 2), the same for the same settings."""
    rng = np.random.default_rng(settings.seed + 1)
    counts = np.full(settings.n_rows, settings.nonzeros)
    if settings.ragged:
        spread = 1.1
        drawn = rng.lognormal(np.log(settings.nonzeros) - spread**2 / 2, spread, settings.n_rows)
        counts = np.clip(np.rint(drawn).astype(np.int64), 1, settings.n_features // 2)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = np.empty(indptr[-1], np.int32)
    for begin, end in zip(indptr[:-1], indptr[1:]):
        indices[begin:end] = random_columns(rng, int(end - begin), settings)
    data = (2 * rng.random(indptr[-1], dtype=np.float32)).astype(np.float32)
    return CSR(indptr, indices, data, (settings.n_rows, settings.n_features))


def random_columns(rng: np.random.Generator, count: int, settings: WorkloadSettings) -> Any:
    """Sorted distinct columns; those that were drawn twice are drawn anew."""
    n = settings.n_features
    if count > n // 2:
        return np.sort(rng.permutation(n)[:count])
    found = np.empty(0, np.int64)
    while len(found) < count:
        drawn = np.floor(n * rng.random(count - len(found)) ** settings.skew).astype(np.int64)
        found = np.union1d(found, drawn)
    return found


def longest_row(rows: CSR) -> float:
    """Euclidean length of the longest row."""
    begin, end = int(rows.indptr[0]), int(rows.indptr[-1])
    squares = np.asarray(rows.data[begin:end], np.float64) ** 2
    sums = np.concatenate([[0.0], np.cumsum(squares)])
    places = np.asarray(rows.indptr) - begin
    return float(np.sqrt(np.diff(sums[places]).max(initial=0.0)))


def empty_scores(n_rows: int, n_labels: int) -> FloatArray:
    """Memory for scores, touched already: NaN where nothing has been scored yet."""
    return np.full((n_rows, n_labels), np.nan, dtype=np.float32)
