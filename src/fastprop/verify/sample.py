"""What is scored: given rows, made-up rows, and rows at the edges of what is allowed.

Made-up rows have the lengths and the values of given ones, where there are any. Models with dense
rows and further inputs get numbers of a normal distribution, or category numbers where an
embedding reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastprop.checks import shown
from fastprop.csr_parts import stacked_rows
from fastprop.errors import DTypeError, InvalidInputError, ShapeError
from fastprop.io.faults import csr_faults, raise_first
from fastprop.model import Model
from fastprop.rows import from_csr, is_csr
from fastprop.typing import CSR
from fastprop.verify.categories import category_limit
from fastprop.verify.oracle import some_rows
from fastprop.verify.settings import VerifySettings

__all__ = ["EDGE_CASES", "Sample", "make_sample"]

USUAL_LENGTH = 200
LONG_LENGTH = 4096
EDGE_CASES = (
    "one non-zero",
    "first column",
    "last column",
    "unsorted columns",
    "duplicate columns",
    "duplicates that cancel",
    "stored zeros",
    "negative values",
    "many non-zeros",
    "empty row",
)
Row = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows and the further inputs that belong to them.

    Parameters
    ----------
    rows : CSR or ndarray of float32
        Given rows first, then those made up, then the edge cases.
    inputs : mapping of str to ndarray
        Further inputs, by name.
    n_given, n_random : int
        How many rows are given and made up.
    edges : tuple of str
        What each of the other rows is.
    """

    rows: Any
    inputs: Mapping[str, npt.NDArray[Any]]
    n_given: int
    n_random: int
    edges: tuple[str, ...]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.rows.shape[0])

    def describe(self, row: int) -> str:
        """Name a row: `given row 17`, `random row 3`, `edge case: empty row`."""
        if row < self.n_given:
            return f"given row {row}"
        row -= self.n_given
        if row < self.n_random:
            return f"random row {row}"
        return f"edge case: {self.edges[row - self.n_random]}"

    def part(self, begin: int, end: int) -> tuple[Any, dict[str, npt.NDArray[Any]]]:
        """Rows [begin, end) and their further inputs."""
        further = {name: value[begin:end] for name, value in self.inputs.items()}
        return some_rows(self.rows, begin, end), further


def make_sample(model: Model, settings: VerifySettings, given: CSR | None = None) -> Sample:
    """Gather what a model is verified with.

    Parameters
    ----------
    model : Model
    settings : VerifySettings
    given : CSR, optional
        Rows of the user.

    Returns
    -------
    Sample
        Of an odd number of rows, so that a last tile is partial.

    Raises
    ------
    InvalidInputError
        Rows are given to a model of dense rows, or have another number of columns.
    """
    rng = np.random.default_rng(settings.seed)
    first = model.inputs[0]
    sparse = first.storage == "csr"
    if given is not None and not sparse:
        raise InvalidInputError(
            f"model {model.name} takes dense rows, and sparse rows were given to verify it with"
        )
    if given is not None:
        if not is_csr(given):
            raise DTypeError(f"rows is {shown(given)}, and a CSR matrix is needed: fastprop.CSR")
        from_csr(given)  # refuses arrays that do not fit together
    if given is not None and given.shape[1] != model.n_features:
        raise ShapeError(
            f"the given rows have {given.shape[1]} columns, and model {model.name} takes "
            f"{model.n_features}"
        )
    if given is not None:
        check_rows(given)
    n_given = 0 if given is None else int(given.shape[0])
    edges = EDGE_CASES if sparse else ("row of zeros",)
    if (n_given + settings.random_rows + len(edges)) % 2 == 0:
        edges = (*edges, edges[-1])
    if sparse:
        rows: Any = stacked_rows(
            [
                *([] if given is None else [as_float32(given)]),
                random_rows(rng, settings.random_rows, model.n_features, given),
                from_rows([edge(name, rng, model.n_features) for name in edges], model.n_features),
            ]
        )
    else:
        n_random = settings.random_rows
        rows = np.zeros((n_random + len(edges), *model.input_row_shapes[first.name]), np.float32)
        rows[:n_random] = random_input(rng, model, first.name, n_random)
    n_rows = int(rows.shape[0])
    return Sample(
        rows=rows,
        inputs={
            spec.name: random_input(rng, model, spec.name, n_rows) for spec in model.inputs[1:]
        },
        n_given=n_given,
        n_random=settings.random_rows,
        edges=edges,
    )


def check_rows(rows: CSR) -> None:
    """Refuse what no model can be given; the oracle trusts its rows."""
    borrowed = from_csr(rows)
    if borrowed.n_rows and (np.diff(borrowed.indptr) < 0).any():
        raise InvalidInputError("rows.indptr decreases")
    if borrowed.indptr[0] < 0 or borrowed.indptr[-1] > len(borrowed.indices):
        raise InvalidInputError("rows.indptr leads past rows.indices")
    raise_first(csr_faults(rows, n_features=rows.shape[1]))


def as_float32(rows: CSR) -> CSR:
    """The rows with float32 values, which is what a model takes; the rest is the same."""
    return CSR(rows.indptr, rows.indices, np.asarray(rows.data, np.float32), rows.shape)


def random_rows(rng: np.random.Generator, n_rows: int, n_features: int, like: CSR | None) -> CSR:
    """Rows of distinct random columns; values in (0, 2), or those of the rows to be like."""
    values = np.zeros(0, np.float32) if like is None else np.asarray(like.data, np.float32)
    if like is not None and like.shape[0]:
        lengths = rng.choice(np.diff(like.indptr), n_rows)
    else:
        lengths = rng.integers(1, 2 * USUAL_LENGTH, n_rows)
    rows: list[Row] = []
    for length in np.minimum(lengths, n_features):
        columns = some_columns(rng, n_features, int(length))
        chosen = rng.choice(values, len(columns)) if values.size else uniform(rng, len(columns))
        rows.append((columns, chosen))
    return from_rows(rows, n_features)


def edge(name: str, rng: np.random.Generator, n_features: int) -> Row:
    """The row of an edge case."""
    usual = np.sort(some_columns(rng, n_features, min(USUAL_LENGTH, n_features)))
    values = uniform(rng, len(usual))
    if name == "empty row":
        return usual[:0], values[:0]
    if name == "one non-zero":
        return usual[:1], values[:1]
    if name == "first column":
        return np.zeros(1, np.int64), values[:1]
    if name == "last column":
        return np.full(1, n_features - 1), values[:1]
    if name == "unsorted columns":
        return usual[::-1], values
    if name == "duplicate columns":
        return np.concatenate([usual, usual[::-1]]), np.concatenate([values, values]) / 2
    if name == "duplicates that cancel":
        return np.concatenate([usual, usual]), np.concatenate([values, -values])
    if name == "stored zeros":
        return usual, np.zeros(len(usual), np.float32)
    if name == "negative values":
        return usual, -values
    assert name == "many non-zeros", name
    columns = some_columns(rng, n_features, min(LONG_LENGTH, n_features))
    # As large in all as a usual row, so that scores do not saturate and hide differences.
    return columns, uniform(rng, len(columns)) * np.float32(len(usual) / len(columns))


def some_columns(rng: np.random.Generator, n_features: int, count: int) -> Any:
    if count > n_features // 2:
        return rng.permutation(n_features)[:count]
    return rng.choice(n_features, count, replace=False, shuffle=False)


def uniform(rng: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    return np.asarray(2 * rng.random(count, dtype=np.float32), np.float32)


def from_rows(rows: Sequence[Row], n_features: int) -> CSR:
    indptr = np.cumsum([0, *(len(columns) for columns, _ in rows)])
    return CSR(
        indptr,
        np.concatenate([np.zeros(0, np.int64), *(columns for columns, _ in rows)]),
        np.concatenate([np.zeros(0, np.float32), *(values for _, values in rows)]),
        (len(rows), n_features),
    )


def random_input(
    rng: np.random.Generator, model: Model, name: str, n_rows: int
) -> npt.NDArray[np.float32]:
    """A further input: numbers of categories where the graph looks them up, else any numbers."""
    shape = (n_rows, *model.input_row_shapes[name])
    limit = category_limit(model, name)
    if limit is not None:
        return rng.integers(0, limit, shape).astype(np.float32)
    return rng.standard_normal(shape).astype(np.float32)
