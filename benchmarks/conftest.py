"""What the suites share: a checkpoint of the usual shape, its rows, and their right scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import fastprop
from fastprop.bench.settings import WorkloadSettings
from fastprop.bench.workload import prepare_workload, read_expected

SHAPE = WorkloadSettings(
    "suite", n_features=100_000, nonzeros=200, hidden=(256, 128), categories=3000, n_rows=2048
)


@dataclass(frozen=True)
class Suite:
    """A loaded checkpoint, rows for it, and the float64 scores of the first 512."""

    directory: str
    model: fastprop.Model
    rows: fastprop.CSR
    expected: Any

    @property
    def vectors(self) -> list[fastprop.SparseVector]:
        bounds = zip(self.rows.indptr[:-1], self.rows.indptr[1:])
        width, indices, data = self.rows.shape[1], self.rows.indices, self.rows.data
        return [fastprop.SparseVector(width, indices[b:e], data[b:e]) for b, e in bounds]


@pytest.fixture(scope="session")
def suite() -> Iterator[Suite]:
    with prepare_workload(SHAPE) as workload:
        yield Suite(
            workload.model_directory,
            workload.load_model(),
            workload.load_rows(),
            read_expected(workload),
        )
