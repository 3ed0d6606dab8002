"""CSV: a header, then id, what is kept, label and score, a line a score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastprop.io.writers.base import OutputSchema, ScoredBatch, present_entries
from fastprop.io.writers.text import csv_text, float_text, rows_at_once, text_bytes

__all__ = ["CsvWriter"]


class CsvWriter:
    """Writes a line a score; rows without a result have no line.

    Parameters
    ----------
    sink : pyarrow.NativeFile
        Where to write; closed by the writer.
    schema : OutputSchema
    """

    def __init__(self, sink: Any, schema: OutputSchema) -> None:
        self._sink = sink
        self._labels = csv_text(schema.labels)
        names = csv_text(pa.array(["id", *(name for name, _ in schema.kept), "label", "score"]))
        self._sink.write(",".join(names.to_pylist()).encode("utf-8") + b"\n")

    def write(self, batch: ScoredBatch) -> None:
        """Write the lines of a batch."""
        step = rows_at_once(batch.scores.shape[1])
        for start in range(0, len(batch.ids), step):
            self._sink.write(text_bytes(self._lines(batch.slice(start, start + step))))

    def _lines(self, batch: ScoredBatch) -> Any:
        lengths, numbers, scores = present_entries(batch)
        rows = pa.array(np.repeat(np.arange(lengths.size), lengths))
        columns = [csv_text(column).take(rows) for column in (batch.ids, *batch.kept)]
        labels = self._labels.take(pa.array(numbers))
        texts = float_text(scores, not_finite="")
        fields = pc.binary_join_element_wise(*columns, labels, texts, ",")
        return pc.binary_join_element_wise(fields, "", "\n")

    def close(self) -> None:
        """Close the file."""
        self._sink.close()

    def abort(self) -> None:
        """Close the file as it is."""
        self._sink.close()
