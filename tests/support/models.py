"""Networks as checkpoints on disk, loaded, with an oracle for their scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import fastprop
from fastprop._reference import reference_outputs
from fastprop.checkpoint.directory import write_checkpoint
from fastprop.graph.network import Network
from support.networks import propensity, random_rows

TOLERANCE = 2e-6


def saved(directory: Path, network: Network, **options: Any) -> fastprop.Model:
    """The network, written as a checkpoint and loaded."""
    write_checkpoint(directory, "model", 1, network)
    return fastprop.load_model(directory, **options)


def retail(directory: Path, seed: int = 0, **options: Any) -> fastprop.Model:
    """A small network of the usual family."""
    options.setdefault("n_features", 200)
    options.setdefault("n_heads", 7)
    return saved(directory, propensity(np.random.default_rng(seed), **options))


def rows_for(model: fastprop.Model, n_rows: int, seed: int = 1) -> fastprop.CSR:
    return random_rows(np.random.default_rng(seed), n_rows, model.n_features, density=0.1)


def feeds_of(model: fastprop.Model, rows: Any, inputs: dict[str, Any] | None = None) -> Any:
    return {model.inputs[0].name: rows, **(inputs or {})}


def expected_heads(model: fastprop.Model, feeds: Any) -> list[np.ndarray]:
    """The heads in float64, by plain NumPy."""
    return reference_outputs(model.network, feeds)


def expected_scores(model: fastprop.Model, feeds: Any) -> np.ndarray:
    """The score columns in float64, by plain NumPy."""
    n_rows = next(iter(feeds.values())).shape[0]
    heads = [head.reshape(n_rows, -1) for head in expected_heads(model, feeds)]
    return np.stack([heads[column.head][:, column.column] for column in model.columns], axis=1)


def listed(rows: fastprop.CSR) -> list[tuple[np.ndarray, np.ndarray]]:
    """CSR rows as a list of (indices, values)."""
    return [
        (rows.indices[begin:end], rows.data[begin:end])
        for begin, end in zip(rows.indptr[:-1], rows.indptr[1:])
    ]
