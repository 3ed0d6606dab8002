"""ONNX Runtime, by two detours, because ONNX itself has no sparse rows.

One is `SparseToDenseMatMul`, a contributed operator that takes CSR; the other is `Gather` of the
weight's rows with a batched product, rows padded to the longest one of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastprop.bench.contenders.base import (
    Call,
    Contender,
    Form,
    MissingContenderError,
    optional,
    version_of,
)

__all__ = ["OnnxContender"]

SPARSE, GATHER = "SparseToDenseMatMul", "Gather and MatMul"
OPERATORS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
LARGEST_GATHER = 2**29  # bytes of weight rows a batch
LARGEST = 2**31 - 2**20  # what a protocol buffer can hold


class OnnxContender(Contender):
    """ONNX Runtime's CPU provider, outputs bound to the caller's array."""

    def import_library(self) -> None:
        """Import ONNX Runtime, and ONNX to make the graph with."""
        self.runtime = optional("onnxruntime")
        self.onnx = optional("onnx")

    def load(self) -> None:
        """Make a session a form, both over their own copy of the parameters."""
        self.sessions = {name: self.session(name) for name in (SPARSE, GATHER)}

    def session(self, name: str) -> Any:
        """Build the graph and load it."""
        plain = self.plain()
        if plain.sparse.weight.nbytes > LARGEST:
            raise MissingContenderError("the first layer is larger than an ONNX file can be (2 GB)")
        helper, kinds = self.onnx.helper, self.onnx.TensorProto
        arrays: dict[str, Any] = {"w0": plain.sparse.weight, "b0": plain.sparse.bias}
        nodes = []
        if name == SPARSE:
            shape = ["rows", self.workload.n_features]
            inputs = [helper.make_sparse_tensor_value_info("x", kinds.FLOAT, shape)]
            nodes.append(helper.make_node(SPARSE, ["x", "w0"], ["m"], domain="com.microsoft"))
        else:
            inputs = [
                helper.make_tensor_value_info("indices", kinds.INT64, ["rows", "width"]),
                helper.make_tensor_value_info("values", kinds.FLOAT, ["rows", 1, "width"]),
            ]
            arrays["axis"] = np.array([1])
            nodes += [
                helper.make_node("Gather", ["w0", "indices"], ["gathered"]),
                helper.make_node("MatMul", ["values", "gathered"], ["sums"]),
                helper.make_node("Squeeze", ["sums", "axis"], ["m"]),
            ]
        nodes.append(helper.make_node("Add", ["m", "b0"], ["y0"]))
        last = self.activation(nodes, "y0", plain.sparse.activation)
        for number, layer in enumerate(plain.dense, start=1):
            arrays[f"w{number}"], arrays[f"b{number}"] = layer.weight, layer.bias
            parts = [last, f"w{number}", f"b{number}"]
            nodes.append(helper.make_node("Gemm", parts, [f"y{number}"], transB=1))
            last = self.activation(nodes, f"y{number}", layer.activation)
        made = self.onnx.numpy_helper.from_array
        graph = helper.make_graph(
            nodes,
            "network",
            inputs,
            [helper.make_tensor_value_info(last, kinds.FLOAT, ["rows", self.workload.n_labels])],
            [made(np.ascontiguousarray(array), key) for key, array in arrays.items()],
        )
        domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=domains, ir_version=8)
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = self.spec.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return self.runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def activation(self, nodes: list[Any], name: str, kind: str) -> str:
        """Append an activation and return the name of its result."""
        if not kind:
            return name
        nodes.append(self.onnx.helper.make_node(OPERATORS[kind], [name], [f"{name}a"]))
        return f"{name}a"

    def forms(self) -> Sequence[Form]:
        """Either graph; gathered rows are large, so that small batches may be better."""
        size = self.spec.batch_size
        forms = [Form(f"{SPARSE}, {size} rows a batch", size)]
        # Rows are padded to the longest of their batch, and all their weight rows lie side by side.
        longest = int(np.diff(self.rows.indptr).max(initial=1))
        most = max(LARGEST_GATHER // (4 * longest * self.plain().sparse.weight.shape[1]), 1)
        for batch in sorted({min(max(size // 16, 1), most), min(size, most)}):
            forms.append(Form(f"{GATHER}, {batch} rows a batch", batch))
        return forms

    def call(self, begin: int, end: int) -> Call:
        """Score by the batch."""
        sparse = self.form.name.startswith(SPARSE)
        session = self.sessions[SPARSE if sparse else GATHER]
        output = session.get_outputs()[0].name
        parts = [
            (self.out[start:stop], *(self.csr if sparse else self.padded)(start, stop))
            for start, stop in self.batches(begin, end)
        ]

        def run_sparse() -> None:
            tensor = self.runtime.SparseTensor.sparse_csr_from_numpy
            wrap = self.runtime.OrtValue.ort_value_from_sparse_tensor
            device = self.runtime.OrtDevice.make("cpu", 0)
            for out, shape, data, indices, indptr in parts:
                rows = wrap(tensor(shape, data, indices, indptr, device))
                out[:] = session.run_with_ort_values([output], {"x": rows})[0].numpy()

        def run_padded() -> None:
            for out, indices, values in parts:
                binding = session.io_binding()
                binding.bind_cpu_input("indices", indices)
                binding.bind_cpu_input("values", values)
                binding.bind_output(output, "cpu", 0, np.float32, out.shape, out.ctypes.data)
                session.run_with_iobinding(binding)

        return run_sparse if sparse else run_padded

    def csr(self, start: int, stop: int) -> tuple[Any, ...]:
        """A batch as `SparseTensor` takes it."""
        rows = self.some_rows(start, stop)
        index = np.int64
        return list(rows.shape), rows.data, rows.indices.astype(index), rows.indptr.astype(index)

    def padded(self, start: int, stop: int) -> tuple[Any, ...]:
        """A batch with all rows as long as the longest: column 0 with a value of 0 fills up."""
        rows = self.some_rows(start, stop)
        counts = np.diff(rows.indptr)
        filled = np.arange(max(int(counts.max(initial=0)), 1)) < counts[:, None]
        indices = np.zeros(filled.shape, np.int64)
        values = np.zeros(filled.shape, np.float32)
        indices[filled], values[filled] = rows.indices, rows.data
        return indices, values[:, None]

    def facts(self) -> dict[str, Any]:
        """Versions and threads."""
        packages = ("onnxruntime", "onnx")
        return {
            "versions": {name: version_of(name) for name in packages},
            "threads": self.spec.threads,
        }
