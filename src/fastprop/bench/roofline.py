"""How much a row costs at least, and what share of the machine's limits a rate is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastprop.bench.workload import Workload

__all__ = ["RowWork", "floor_seconds", "product_shapes", "row_work"]

LARGE = (1024, 1024, 1024)


@dataclass(frozen=True)
class RowWork:
    """What scoring one row moves and computes, in float32.

    Parameters
    ----------
    gathered_bytes : float
        Rows of the first layer's weight, one a non-zero.
    read_bytes : float
        The row itself: a column and a value a non-zero.
    written_bytes : float
        Its scores.
    sparse_operations, dense_operations : float
        Multiplications and additions of the sparse layer and of those after it.
    """

    gathered_bytes: float
    read_bytes: float
    written_bytes: float
    sparse_operations: float
    dense_operations: float

    @property
    def bytes(self) -> float:
        """All bytes that have to be moved."""
        return self.gathered_bytes + self.read_bytes + self.written_bytes

    @property
    def operations(self) -> float:
        """All operations."""
        return self.sparse_operations + self.dense_operations


def row_work(workload: Workload) -> RowWork | None:
    """Return the work of a mean row; None for a network that is not a chain of layers."""
    if not workload.layers:
        return None
    nonzeros = workload.nonzeros / workload.n_rows
    pairs = zip(workload.layers, workload.layers[1:])
    return RowWork(
        gathered_bytes=4 * nonzeros * workload.layers[0],
        read_bytes=8 * nonzeros,
        written_bytes=4 * workload.n_labels,
        sparse_operations=2 * nonzeros * workload.layers[0],
        dense_operations=2 * sum(before * after for before, after in pairs),
    )


def product_shapes(workload: Workload, batch_size: int) -> list[tuple[int, int, int]]:
    """Matrix products to time: those of the network's layers, and a large square one."""
    pairs = zip(workload.layers, workload.layers[1:])
    return [*((batch_size, before, after) for before, after in pairs), LARGE]


def floor_seconds(work: RowWork, limits: Mapping[str, Any]) -> float:
    """Least seconds a row by measured limits: random rows, products, one write of the scores.

    Parameters
    ----------
    work : RowWork
        What a row takes.
    limits : mapping
        What `probes.probe_machine` found, for some number of threads.
    """
    seconds = work.gathered_bytes / (limits["gather"] * 1e9)
    seconds += work.dense_operations / (limits["product"] * 1e9)
    return float(seconds + work.written_bytes / (limits["fill"] * 1e9))
