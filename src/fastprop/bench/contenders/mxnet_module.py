"""MXNet's Module as its users call it: bound once, a batch a call, every head read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fastprop.bench.contenders.base import Call, Contender, MissingContenderError, version_of
from fastprop.errors import EngineError

__all__ = ["MxnetContender"]


class MxnetContender(Contender):
    """`mx.mod.Module`, bound at the batch size; the engine comes from the environment."""

    mx: Any = None
    module: Any = None

    def import_library(self) -> None:
        """Import MXNet's Python package."""
        from fastprop.training._mxnet import import_mxnet

        try:
            self.mx = import_mxnet()
        except EngineError as error:
            raise MissingContenderError(str(error)) from error

    def load(self) -> None:
        """Load the checkpoint and bind."""
        prefix = os.path.join(self.workload.model_directory, self.workload.model_name)
        network = self.model.network
        self.name = network.inputs[0].name
        self.module = self.mx.mod.Module.load(
            prefix,
            self.workload.epoch,
            data_names=[self.name],
            label_names=list(network.labels_inputs),
        )
        shape = (self.spec.batch_size, self.workload.n_features)
        self.module.bind(data_shapes=[(self.name, shape)], for_training=False)
        self.columns: dict[int, list[tuple[int, int]]] = {}
        for number, column in enumerate(self.model.columns):
            self.columns.setdefault(column.head, []).append((number, column.column))
        # Heads are read into rows and turned once, which is faster than writing columns.
        self.turned = np.empty((self.workload.n_labels, self.spec.batch_size), np.float32)

    def call(self, begin: int, end: int) -> Call:
        """Score by the batch; a last batch that is not full is filled up with empty rows."""
        size = self.spec.batch_size
        parts = []
        for start, stop in self.batches(begin, end):
            rows = self.some_rows(start, stop)
            indptr = np.append(rows.indptr, [rows.indptr[-1]] * (size - (stop - start)))
            parts.append(
                (start, stop, rows.data, rows.indices.astype(np.int64), indptr.astype(np.int64))
            )
        shape = (size, self.workload.n_features)
        mx, module, out, turned = self.mx, self.module, self.out, self.turned

        def run() -> None:
            for start, stop, data, indices, indptr in parts:
                matrix = mx.nd.sparse.csr_matrix((data, indices, indptr), shape=shape)
                module.forward(mx.io.DataBatch(data=[matrix], label=None), is_train=False)
                for head, output in enumerate(module.get_outputs()):
                    values = output.asnumpy().reshape(size, -1)
                    for number, column in self.columns.get(head, ()):
                        turned[number] = values[:, column]
                out[start:stop] = turned.T[: stop - start]

        return run

    def facts(self) -> dict[str, Any]:
        """Versions, and what the environment says to the engine."""
        names = ("MXNET_ENGINE_TYPE", "OMP_NUM_THREADS", "MXNET_SUBGRAPH_BACKEND")
        features = self.mx.runtime.Features()
        wanted = ("MKLDNN", "OPENMP", "BLAS_OPEN", "BLAS_MKL", "CPU_AVX", "F16C")
        return {
            "versions": {"mxnet": version_of("mxnet"), "numpy": np.__version__},
            "build": [name for name in wanted if name in features and features.is_enabled(name)],
            "environment": {name: os.environ.get(name, "not set") for name in names},
        }
