"""PyTorch: `embedding_bag` with weights, linear layers and a sigmoid, heads fused.

Eager and compiled. Each form is tried with what an expert would choose from: 32-bit and 64-bit
indices, a new tensor a batch or the caller's memory, smaller and larger batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from fastprop.bench.contenders.base import Call, Contender, Form, MissingContenderError, optional

__all__ = ["TorchContender"]

IN_PLACE, NEW, NARROW = "into the caller's array", "a new tensor", "32-bit indices"


class TorchContender(Contender):
    """PyTorch on its own threads, inside `inference_mode`.

    Options: `compiled` (bool).
    """

    def import_library(self) -> None:
        """Import PyTorch and set its threads."""
        self.torch = optional("torch")
        self.torch.set_num_threads(self.spec.threads)
        self.functional = self.torch.nn.functional

    def load(self) -> None:
        """Copy parameters to memory of their own, which NumPy backs with huge pages."""
        torch = self.torch
        plain = self.plain()
        if not plain.dense:
            raise MissingContenderError("the network has no layer after the sparse one")
        self.weight = torch.from_numpy(np.array(plain.sparse.weight))
        self.bias = torch.from_numpy(np.array(plain.sparse.bias))
        self.first = plain.sparse.activation
        self.layers = [
            (
                torch.from_numpy(np.array(layer.weight)),
                torch.from_numpy(np.array(layer.bias)),
                layer.activation,
            )
            for layer in plain.dense
        ]
        self.compiled: Any = None
        if self.spec.options.get("compiled"):
            self.compiled = torch.compile(self.network_into)

    def forms(self) -> Sequence[Form]:
        """Ways to try. Each shape costs a compilation, so that the compiled one has one."""
        size = self.spec.batch_size
        if self.spec.rows_per_call == 1:
            return [Form(way, 1) for way in (NEW, IN_PLACE)]
        if self.compiled is not None:
            return [Form(IN_PLACE, size)]
        most = self.workload.n_rows
        sizes = sorted({max(size // 2, 1), size, min(4 * size, most), min(16 * size, most)})
        forms = [Form(f"{way}, {n} rows a batch", n) for n in sizes for way in (NEW, IN_PLACE)]
        return [*forms, Form(f"{IN_PLACE}, {NARROW}, {size} rows a batch", size)]

    def call(self, begin: int, end: int) -> Call:
        """Score by the batch."""
        torch, name = self.torch, self.form.name
        kind = np.int32 if NARROW in name else np.int64
        parts = []
        for start, stop in self.batches(begin, end):
            rows = self.some_rows(start, stop)
            tensors = (
                torch.from_numpy(rows.indices.astype(kind)),
                torch.from_numpy(rows.indptr.astype(kind)),
                torch.from_numpy(rows.data),
            )
            parts.append((tensors, self.out[start:stop], torch.from_numpy(self.out[start:stop])))
        into: Callable[..., Any] = self.compiled if self.compiled is not None else self.into

        def in_place() -> None:
            with torch.inference_mode():
                for tensors, _, view in parts:
                    into(*tensors, view)

        def new() -> None:
            with torch.inference_mode():
                for tensors, out, _ in parts:
                    out[:] = self.network(*tensors).numpy()

        return in_place if IN_PLACE in name else new

    def hidden(self, indices: Any, offsets: Any, values: Any) -> Any:
        """Everything before the last layer."""
        hidden = self.functional.embedding_bag(
            indices,
            self.weight,
            offsets,
            mode="sum",
            per_sample_weights=values,
            include_last_offset=True,
        )
        hidden = self.activate(hidden + self.bias, self.first)
        for weight, bias, activation in self.layers[:-1]:
            hidden = self.activate(self.functional.linear(hidden, weight, bias), activation)
        return hidden

    def network(self, indices: Any, offsets: Any, values: Any) -> Any:
        """The network, as anyone would write it."""
        weight, bias, activation = self.layers[-1]
        hidden = self.hidden(indices, offsets, values)
        return self.activate(self.functional.linear(hidden, weight, bias), activation)

    def network_into(self, indices: Any, offsets: Any, values: Any, out: Any) -> None:
        """The same into a tensor that is there; what the compiler is given."""
        out.copy_(self.network(indices, offsets, values))

    def into(self, indices: Any, offsets: Any, values: Any, out: Any) -> None:
        """The same by hand: the last product and its activation in the caller's memory."""
        weight, bias, activation = self.layers[-1]
        hidden = self.hidden(indices, offsets, values)
        self.torch.addmm(bias, hidden, weight.t(), out=out)
        if activation:
            getattr(out, f"{activation}_")()

    def activate(self, values: Any, activation: str) -> Any:
        """Apply an activation."""
        return getattr(self.torch, activation)(values) if activation else values

    def facts(self) -> dict[str, Any]:
        """Versions, build and threads."""
        torch = self.torch
        lines = [line.strip(" -") for line in torch.__config__.show().splitlines()]
        wanted = ("oneAPI", "MKL-DNN", "OpenMP", "CPU capability", "GCC")
        return {
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
            "build": [line for line in lines if any(word in line[:60] for word in wanted)],
            "threads": torch.get_num_threads(),
            "compiled": self.compiled is not None,
        }
