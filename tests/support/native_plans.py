"""Plans of native engines written by hand, and predictors of the core on them."""

from __future__ import annotations

import numpy as np

from fastprop import _core

ROWS = ("rows", 0, 0, 0, 4)


def scores(width=2, first=0):
    return ("scores", 0, 0, first, width)


def step(op, function="", inputs=(ROWS,), output=None, tensors=(), **numbers):
    """One step; `tensors` are taken by the names that the step has for them."""
    names = {name: name for name in tensors}
    return ("it", op, function, list(inputs), output or scores(), names, numbers)


def engine(*steps, tensors=None, sparse=False, n_columns=4, further=(), slots=(), n_scores=2):
    return _core.NativeEngine(
        sparse=sparse,
        n_columns=n_columns,
        further=list(further),
        slots=list(slots),
        steps=list(steps),
        n_scores=n_scores,
        tensors=tensors or {},
        isa="best",
    )


def predictor(engine, *, threads=1, batch_size=8, pool_limit=0, finite=True):
    return _core.Predictor(
        engine,
        threads=threads,
        batch_size=batch_size,
        pool_limit=pool_limit,
        finite=finite,
        isa="best",
    )


def score(engine, rows, further=()):
    """Scores of dense rows or of a CSR tuple, whatever their elements."""
    n_rows = len(rows[0]) - 1 if isinstance(rows, tuple) else len(rows)
    out = np.full((n_rows, engine.n_scores), 7, np.float32)
    predictor(engine, finite=False).score(rows, list(further), out, 0)
    return out
