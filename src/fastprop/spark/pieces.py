"""Pieces of a model's files, read by the workers that save it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from fastprop.spark.host import worker_directory
from fastprop.spark.source import ModelSource

__all__ = ["PIECE", "read_pieces"]

PIECE = 4 << 20  # Spark Connect's messages hold 128 MiB


def read_pieces(sources: dict[str, ModelSource], batches: Iterator[Any]) -> Iterator[Any]:
    """Add the content to rows of (digest, file, piece), a record batch a piece."""
    for batch in batches:
        for number in range(batch.num_rows):
            row = batch.slice(number, 1)
            digest, name, piece = (column[0].as_py() for column in row.columns)
            path = os.path.join(worker_directory(sources[digest]), name)
            with open(path, "rb") as file:
                file.seek(piece * PIECE)
                content = pa.array([file.read(PIECE)], pa.binary())
            yield pa.RecordBatch.from_arrays(
                [*row.columns, content], names=[*row.schema.names, "content"]
            )
