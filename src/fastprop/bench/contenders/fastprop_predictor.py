"""fastprop itself, through its public face."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

import fastprop
from fastprop.bench.contenders.base import (
    Call,
    Contender,
    Form,
    MissingContenderError,
    version_of,
)
from fastprop.bench.oracle import check_scores, check_top_k
from fastprop.errors import EngineError, InvalidInputError
from fastprop.typing import SparseVector

__all__ = ["FastpropContender"]

OUT, RETURNED, STREAM = "predict(rows, out=)", "predict(rows)", "stream(rows)"
STAGES = ("assemble", "check", "fill", "sparse", "graph", "deliver")


class FastpropContender(Contender):
    """A predictor.

    Options: `predictor` (keyword arguments of `Model.predictor`), `top_k` (int), `rows`: `"csr"`
    (borrowed; the default) or `"vectors"` (a list of `SparseVector` over NumPy arrays).
    """

    predictor: Any = None

    def import_library(self) -> None:
        """Load libmxnet where the engine needs it, and see that the predictor has the options."""
        wanted = set(self.spec.options.get("predictor", ()))
        known = set(inspect.signature(fastprop.Model.predictor).parameters)
        if not wanted <= known:
            raise MissingContenderError(
                f"this version's predictors have no option {', '.join(sorted(wanted - known))}"
            )

    def load(self) -> None:
        """Load the checkpoint and warm the workers up."""
        options = dict(self.spec.options.get("predictor", {}))
        try:
            self.predictor = self.model.predictor(
                threads=self.spec.threads, batch_size=self.spec.batch_size, **options
            )
        except (EngineError, InvalidInputError) as error:
            raise MissingContenderError(str(error)) from error
        self.predictor.warm_up()

    def forms(self) -> Sequence[Form]:
        """Lists may be scored whole or as a stream; CSR goes to the caller's array."""
        size = self.spec.batch_size
        if self.spec.options.get("top_k"):
            return [Form("predict_top_k(rows)", size)]
        if self.spec.rows_per_call == 1:
            return [Form(RETURNED, size)]
        if self.spec.options.get("rows") == "vectors":
            return [Form(way, size) for way in (OUT, RETURNED, STREAM)]
        return [Form(OUT, size)]

    def call(self, begin: int, end: int) -> Call:
        """One call of the predictor, whatever the number of rows."""
        rows = self.given(begin, end)
        predictor = self.predictor
        k = self.spec.options.get("top_k")
        if k:

            def top() -> None:
                self.top = predictor.predict_top_k(rows, k=k)

            return top
        out = self.out[begin:end]
        if self.form.name == OUT:
            return lambda: predictor.predict(rows, out=out)
        if self.form.name == STREAM:
            return lambda: self.stream(rows, out)
        if self.spec.rows_per_call == 1:

            def one() -> None:
                out[:] = predictor.predict(rows)

            return one

        def returned() -> None:
            self.last = predictor.predict(rows)

        return returned

    def stream(self, rows: list[SparseVector], out: Any) -> None:
        """Score single rows as they come and gather what comes out."""
        done = 0
        for scores in self.predictor.stream(iter(rows)):
            out[done : done + len(scores)] = scores
            done += len(scores)

    def given(self, begin: int, end: int) -> Any:
        """Rows in the form that is asked for."""
        rows = self.some_rows(begin, end)
        if self.spec.options.get("rows") != "vectors":
            return rows
        bounds = zip(rows.indptr[:-1], rows.indptr[1:])
        width = rows.shape[1]
        return [SparseVector(width, rows.indices[b:e], rows.data[b:e]) for b, e in bounds]

    def check(self, expected: Any, tolerance: float) -> float:
        """Compare selected labels, scores in `out`, or scores that were returned."""
        n = len(expected)
        if self.spec.options.get("top_k"):
            self.call(0, n)()
            return check_top_k(self.top.indices, self.top.scores, expected, tolerance)
        if self.form.name == RETURNED and self.spec.rows_per_call != 1:
            self.call(0, n)()
            return check_scores(self.last, expected, tolerance)
        return super().check(expected, tolerance)

    def facts(self) -> dict[str, Any]:
        """Versions, the engine's library, instruction sets and threads."""
        from fastprop import _core

        library = _core.library_info() if _core.library_loaded() else None
        return {
            "versions": {
                "fastprop": fastprop.__version__,
                "numpy": np.__version__,
                "mxnet": version_of("mxnet"),
            },
            "build": {
                "instruction_sets": list(_core.instruction_sets()),
                "libmxnet": None if library is None else library.version,
            },
            "threads": self.predictor.threads,
            "options": {key: repr(value) for key, value in self.spec.options.items()},
        }

    def counters(self) -> dict[str, float]:
        """What `stats()` counts."""
        stats = self.predictor.stats()
        counted = {f"{stage}_seconds": getattr(stats, f"{stage}_seconds") for stage in STAGES}
        return {
            **counted,
            "rows": stats.rows,
            "tiles": stats.tiles,
            "bytes_copied": stats.bytes_copied,
            "bytes_assembled": stats.bytes_assembled,
            "pool_missed": stats.pool.missed,
            "pool_reused": stats.pool.reused,
            "pool_peak": stats.pool.peak,
        }

    def close(self) -> None:
        """Close the predictor."""
        if self.predictor is not None:
            self.predictor.close()
