"""SciPy's sparse product and NumPy's dense ones, heads fused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastprop.bench.contenders.base import Call, Contender, Form, optional
from fastprop.bench.plain import Layer

__all__ = ["ScipyContender"]


class ScipyContender(Contender):
    """`csr @ weight`, then `matmul` into arrays that are there, `expit` in place."""

    def import_library(self) -> None:
        """Import SciPy."""
        self.sparse = optional("scipy.sparse")
        self.expit = optional("scipy.special").expit

    def load(self) -> None:
        """Copy the first layer to memory of its own, which NumPy backs with huge pages."""
        plain = self.plain()
        self.weight = np.array(plain.sparse.weight)
        self.first = plain.sparse
        self.layers = [
            (np.ascontiguousarray(layer.weight.T), layer, index == len(plain.dense) - 1)
            for index, layer in enumerate(plain.dense)
        ]

    def forms(self) -> Sequence[Form]:
        """By the batch, smaller and larger, for what stays in the caches."""
        size = self.spec.batch_size
        return [Form(f"{batch} rows a batch", batch) for batch in (max(size // 4, 1), size)]

    def call(self, begin: int, end: int) -> Call:
        """Score by the batch."""
        parts = []
        for start, stop in self.batches(begin, end):
            rows = self.some_rows(start, stop)
            matrix = self.sparse.csr_matrix(
                (rows.data, rows.indices, rows.indptr), shape=rows.shape, copy=False
            )
            parts.append((self.out[start:stop], matrix))

        def run() -> None:
            for out, matrix in parts:
                hidden = self.activate(matrix @ self.weight, self.first)
                for weight, layer, is_last in self.layers:
                    hidden = np.matmul(hidden, weight, out=out if is_last else None)
                    hidden = self.activate(hidden, layer)
                if not self.layers:
                    out[:] = hidden

        return run

    def activate(self, values: Any, layer: Layer) -> Any:
        """Add the bias and apply the activation in place."""
        values += layer.bias
        if layer.activation == "relu":
            np.maximum(values, 0, out=values)
        elif layer.activation == "sigmoid":
            self.expit(values, out=values)
        elif layer.activation == "tanh":
            np.tanh(values, out=values)
        return values

    def facts(self) -> dict[str, Any]:
        """Versions and the BLAS."""
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        return {
            "versions": {"scipy": optional("scipy").__version__, "numpy": np.__version__},
            "build": blas_of_numpy(),
            "environment": {name: os.environ.get(name, "not set") for name in names},
        }


def blas_of_numpy() -> str:
    """NumPy's BLAS by name and version, where NumPy tells."""
    show: Any = np.show_config
    try:
        blas = show(mode="dicts")["Build Dependencies"]["blas"]
    except (TypeError, KeyError):
        return "unknown BLAS"
    return f"{blas.get('name', 'BLAS')} {blas.get('version', '')}".strip()
