"""Rows with a rule to be learned, for the tests of training."""

from __future__ import annotations

import numpy as np

from fastprop.features import SparseRows
from fastprop.features.sparse import from_pairs


def random_rows(
    seed: int, n_rows: int, *, n_features: int = 30, n_labels: int = 4, classes: int = 2
) -> SparseRows:
    """Label i is true where feature i is there, and of the rest one time in twenty."""
    generator = np.random.default_rng(seed)
    present = generator.random((n_rows, n_features)) < 0.2
    true = present[:, :n_labels] | (generator.random((n_rows, n_labels)) < 0.05)
    rows, columns = np.nonzero(present)
    values = generator.random(len(rows)) + 0.5
    label_rows, labels = np.nonzero(true)
    kinds = generator.integers(0, classes - 1, len(labels)).astype(np.float32)
    return SparseRows(
        customer_ids=np.arange(n_rows) + 1000 * seed,
        features=from_pairs(rows, columns, values, shape=present.shape),
        labels=from_pairs(label_rows, labels, kinds, shape=true.shape),
    )
